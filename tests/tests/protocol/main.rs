//! The protocol as it goes over the wire, against the real binary: statuses, headers and bodies; everything
//! that can be wrong with a request; connections that misbehave; and a server in trouble.
#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

mod connections;
mod refusals;
mod rows;
mod trouble;
