//! Real client programs against the real binary: what a client of our own making would get wrong in the same
//! way on both sides shows here. One module per client. A client that is missing fails its tests.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "these are tests, helpers included")]

mod accounts;
mod curl;
mod docker;
mod large;
mod podman_and_buildah;
mod skopeo;
mod tree;
