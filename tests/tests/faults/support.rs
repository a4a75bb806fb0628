//! What the tests of several modules do to a server that dies, and look at in what it leaves.

use std::path::Path;

use supercargo_tests::server::{Settings, Stopped};
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

/// How many files lie under `blobs/`.
pub(crate) fn stored_files(data: &Path) -> usize {
    sizes_below(&data.join("blobs")).len()
}

/// How many bytes each of the upload sessions on disk has.
pub(crate) fn upload_sizes(data: &Path) -> Vec<u64> {
    sizes_below(&data.join("uploads"))
}

fn sizes_below(folder: &Path) -> Vec<u64> {
    let mut sizes = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        // What a server removes while it is looked at counts as gone.
        let Ok(entries) = std::fs::read_dir(folder) else { continue };
        for entry in entries {
            let entry = entry.unwrap();
            match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => folders.push(entry.path()),
                Ok(metadata) => sizes.push(metadata.len()),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => panic!("{}: {error}", entry.path().display()),
            }
        }
    }
    sizes
}
