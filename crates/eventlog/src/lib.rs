//! The log: what happened, in order, for ever.
//!
//! What lives here: events and records ([`event`], [`rules`]), the codec with its versions ([`codec`]), the [`Log`]
//! trait with its redb implementation, and following. What does not: what events mean (projections), and
//! whether they may happen (registry).

pub mod codec;
mod db;
pub mod event;
mod follow;
mod log;
mod redb_log;
pub mod rules;

pub use db::{Db, DbError};
pub use event::{
    Actor, Api, DockerApiVersion, Event, LoginMethod, Origin, PackedLayer, Record, RepositoryConfig, V1Image,
    V1Parent,
};
pub use follow::Follower;
pub use log::{Log, LogError, RecordIter, first_at};
pub use redb_log::RedbLog;
pub use rules::{ContentRules, NameQuota};
