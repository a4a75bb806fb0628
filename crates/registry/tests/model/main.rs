//! Random commands on a registry and on a plain model of it, side by side: after every command both hold the
//! same, and at the end the log, the tables and the bytes agree. `PROPTEST_CASES` sets how many cases.
#![expect(clippy::unwrap_used, reason = "these are tests, helpers included")]
#![expect(unreachable_pub, reason = "modules of one test")]

mod commands;
mod content;
mod images;
mod plain;
