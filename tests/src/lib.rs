//! The harness of the tests that need a running server or a real client: it starts the real binary on a
//! free port with a data folder of its own, speaks to it byte by byte or through the programs people use,
//! and makes the images that are pushed. The tests themselves are in `tests/`, one binary per family.
//! Nothing here knows how the registry works inside: what is asserted is what can be seen from outside.
//!
//! A harness may panic: whatever it can't do is a failed test, and the panic says what was wrong. It never
//! skips: a client program that is not installed fails the test that needs it.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "support code of tests: what goes wrong here is a failed test"
)]

pub mod accounts;
pub mod client;
pub mod docker;
pub mod files;
pub mod http;
pub mod identity_provider;
pub mod image;
pub mod process;
pub mod program;
pub mod proxy;
pub mod random;
pub mod server;
pub mod tls;
pub mod v1;
pub mod wait;

pub use client::Client;
pub use image::Image;
pub use random::Random;
pub use server::{Server, Stopped};
pub use wait::wait_until;
