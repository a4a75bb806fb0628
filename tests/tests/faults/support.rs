//! What the tests of several modules do to a server that dies, and look at in what it leaves.

use std::path::Path;

pub(crate) use supercargo_tests::server::stored_files;
use supercargo_tests::server::{Settings, Stopped, sizes_below};
pub(crate) use supercargo_tests::wait_until;
use supercargo_tests::{Image, Server};

/// Names the point at which a debug build kills itself, and perhaps the passage (`commit.before:2`).
pub(crate) const CRASH_AT: &str = "SUPERCARGO_CRASH_AT";

/// A server that was told to kill itself at that point, on a folder that holds an image as `kept:1`.
#[track_caller]
pub(crate) fn server_with(kept: &Image, settings: Settings, point: &str) -> Server {
    let server = settings.start();
    server.client().push_image("kept", "1", kept).unwrap();
    start_to_crash(server.stop(), point)
}

/// Starts a server that is to kill itself at that point.
#[track_caller]
pub(crate) fn start_to_crash(stopped: Stopped, point: &str) -> Server {
    stopped.into_settings().variable(CRASH_AT, point).start()
}

/// Starts a server again that had a point to crash at, without one.
#[track_caller]
pub(crate) fn start_again(crashed: Stopped) -> Server {
    crashed.into_settings().variable(CRASH_AT, "").start()
}

/// How many bytes each of the upload sessions on disk has.
pub(crate) fn upload_sizes(data: &Path) -> Vec<u64> {
    sizes_below(&data.join("uploads"))
}
