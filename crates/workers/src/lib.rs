//! The schedule and the jobs.
