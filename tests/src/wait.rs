//! Waiting for what nobody tells of.

use std::time::{Duration, Instant};

/// How long something may take that the server does by itself.
const PATIENCE: Duration = Duration::from_secs(20);

/// Waits for what the server does in its own time and tells nobody of; fails the test if it never comes.
#[track_caller]
pub fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
