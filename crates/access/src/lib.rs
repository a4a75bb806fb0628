//! Who somebody is, and what they may do.
//!
//! What lives here: whatever knows secrets (passwords, tokens, signing keys, identity providers), whatever slows
//! guessing down, and the decision whether an identity may do a thing to a name. What does not: the accounts and
//! permissions themselves, which the registry records and tells this crate through [`Directory`]; HTTP as a
//! server; clocks, since every call that depends on the time is told it.

mod credentials;
mod directory;
mod identity;
mod permissions;
mod scope;
mod secret;

pub use credentials::{AUTHORIZATION_BYTES_MAX, Credentials, CredentialsError};
pub use directory::{Directory, DirectoryError};
pub use identity::{Identity, KnownUser};
pub use permissions::{Permissions, Rights};
pub use scope::{Access, Resource, SCOPES_MAX};
pub use secret::{NoRandom, Secret};
