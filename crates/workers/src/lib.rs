//! The schedule and the jobs: collection, pruning, sweep and scrub, by themselves, while everything runs.
//!
//! What lives here: when jobs run, that none runs twice at once, and what became of them. What does not:
//! what they do, which is the registry's, and which also runs on demand.

mod jobs;
mod schedule;

pub use jobs::{JobState, Settings, Workers, WorkersError};
pub use schedule::{Schedule, ScheduleError};
