//! Crashes: the server is killed with SIGKILL at named points and at random moments, started again, and asked
//! for everything that was promised. What was answered is there; what was not is whole or not there at all.
#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

mod points;
mod random;
