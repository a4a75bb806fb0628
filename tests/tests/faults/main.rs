//! Crashes: the server is killed with SIGKILL at named points and at random moments, started again, and asked
//! for everything that was promised. What was answered is there; what was not is whole or not there at all.
//!
//! [`points`] has one crash at each named point, [`uploads`] what becomes of an upload that was under way,
//! [`migration`] one of a large repository, [`promotion`] those of what comes from another, [`replay`] the rebuild of the tables, [`stop`] the orderly end, [`random`] kills that nobody placed, and [`v1`] what
//! old clients are in the midst of.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "these are tests, helpers included")]

mod migration;
mod points;
mod promotion;
mod random;
mod replay;
mod stop;
mod support;
mod uploads;
mod v1;
