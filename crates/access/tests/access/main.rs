//! From credentials to decisions, over a directory in memory.
#![expect(clippy::unwrap_used, reason = "these are tests, helpers included")]

mod directory;
mod identity_tokens;
mod logins;
mod sessions;
mod tokens;
