//! Administration: looking into the log and the registry, and running its maintenance.
//!
//! What lives here: the operations in the words of [`api`], as functions of a registry ([`ops`]), and as an
//! HTTP surface below `/api/supercargo/v1` ([`router`]). The command line runs the same operations on a data
//! folder. What does not: pushing and pulling, and any rule about what may be done.

pub mod accounts;
pub mod api;
mod error;
mod http;
pub mod ops;

pub use error::{ErrorBody, ErrorDetail};
pub use http::{BASE, router};

#[cfg(test)]
mod tests;
