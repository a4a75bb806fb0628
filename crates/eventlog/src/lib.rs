//! The log: what happened, in order, for ever.
//!
//! What lives here: events and records, the codec with its versions, the [`Log`] trait and its redb
//! implementation, following. What does not: what events mean (projections), and whether they may happen
//! (registry).

pub mod event;

pub use event::{Actor, Api, DockerApiVersion, Event, Origin, Record, RepositoryConfig};
