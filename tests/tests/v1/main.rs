//! The protocol of docker before 1.6, against the real binary: what each endpoint answers, whole sessions of clients
//! that are gone, pushes that meet each other, a restart or a collection, and what clients of the two protocols make
//! of each other's images.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "these are tests, helpers included")]

mod both;
mod choice;
mod interruptions;
mod refusals;
mod rights;
mod rows;
mod sessions;
mod shapes;
mod sharing;
mod states;
mod support;
