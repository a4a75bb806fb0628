//! Supercargo beside its peers and beside what the hardware allows, measured in the same minutes.
//!
//! What lives here: the peers and how they are started ([`peer`]), the load generator ([`http`], [`docker`],
//! [`load`]), the hardware's floors ([`floor`]), a made-up log ([`history`]), the scenarios ([`scenario`]) and the report ([`report`]).
//! What does not: tests, and anything that a daily build needs. docs/benchmarks.md says how to read the
//! figures.

pub mod content;
pub mod docker;
pub mod docker_v1;
pub mod error;
pub mod floor;
pub mod folder;
pub mod history;
pub mod http;
pub mod ledger;
pub mod load;
pub mod peer;
pub mod process;
pub mod report;
pub mod rounds;
pub mod scenario;
pub mod settings;
pub mod wrk;

pub use error::{Error, Result};
