//! One crash at one point, each of them where it matters most (debug builds kill themselves there).

use supercargo_tests::http::Request;
use supercargo_tests::image::{Blob, OCI_MANIFEST};
use supercargo_tests::{Client, Image, Server};

use crate::support::{
    CRASH_AT, server_with, start_again, start_to_crash, stored_files, upload_sizes, wait_until,
};

/// Layers that are files in each image of these tests: they are above 64 KiB. Config and manifest are not.
const LAYERS: usize = 2;

fn images() -> (Image, Image) {
    (Image::generate(1, LAYERS, 200_000), Image::generate(2, LAYERS, 200_000))
}

/// Pushes an image as `new:1` until the server is gone, and says which blobs it was told are there.
fn push_until_the_crash<'a>(client: &Client, image: &'a Image) -> Vec<&'a Blob> {
    let mut answered = Vec::new();
    for blob in image.blobs() {
        match client.push_blob("new", blob) {
            Ok(()) => answered.push(blob),
            Err(error) => {
                assert!(error.is_no_answer(), "{error}");
                return answered;
            }
        }
    }
    let error = client.push_manifest("new", "1", OCI_MANIFEST, &image.manifest.bytes).unwrap_err();
    assert!(error.is_no_answer(), "{error}");
    answered
}

/// A push meets the point, when so many of its blobs are answered. Those are there. What was not answered is
/// there as a whole if its commit came before the crash (`committed`), else not at all. Pushed again by a
/// client that knows of nothing, all of it is there, and nothing is left behind.
fn a_push_crashes_at(point: &str, answered: usize, committed: bool) {
    let (kept, pushed) = images();
    let server = server_with(&kept, Server::settings(), point);
    let told = push_until_the_crash(&server.client(), &pushed);
    assert_eq!(told.len(), answered, "{point}");
    let crashed = server.wait_for_crash();
    crashed.verify();

    let server = start_again(crashed);
    let client = server.client();
    client.pull_and_check("kept", "1", &kept).unwrap();
    for (number, blob) in pushed.blobs().enumerate() {
        let there = number < answered || (number == answered && committed);
        assert_eq!(client.has_blob("new", &blob.digest).unwrap(), there, "{point}: blob {number}");
    }
    let tagged = committed && answered == pushed.blobs().count();
    assert_eq!(client.resolve("new", "1").unwrap().is_some(), tagged, "{point}");
    if tagged {
        client.pull_and_check("new", "1", &pushed).unwrap();
    }
    client.push_image("new", "1", &pushed).unwrap();
    client.pull_and_check("new", "1", &pushed).unwrap();
    server.cli(&["sweep"]).expect_success();
    assert_eq!(stored_files(&server.data()), 2 * LAYERS, "{point}: the layers and nothing else");
    server.stop().verify();
}

#[test]
fn when_bytes_are_written() {
    a_push_crashes_at("blob.written", 0, false);
    a_push_crashes_at("blob.written:2", 1, false);
}

#[test]
fn when_bytes_are_in_their_place() {
    a_push_crashes_at("blob.renamed", 0, false);
    a_push_crashes_at("blob.renamed:2", 1, false);
}

#[test]
fn before_a_commit() {
    // One commit for each layer and the config, and one for manifest and tag.
    for answered in 0..=LAYERS + 1 {
        a_push_crashes_at(&format!("commit.before:{}", answered + 1), answered, false);
    }
}

#[test]
fn after_a_commit() {
    for answered in 0..=LAYERS + 1 {
        a_push_crashes_at(&format!("commit.after:{}", answered + 1), answered, true);
    }
}

/// Nobody comes back for a push that crashed between a file's place and its record: the server that starts
/// next removes the file by itself.
#[test]
fn files_that_no_record_mentions_are_swept_after_the_start() {
    for (point, mentioned) in [("blob.renamed", 0), ("commit.before", 0), ("commit.before:2", 1)] {
        let (kept, pushed) = images();
        let server = server_with(&kept, Server::settings(), point);
        assert_eq!(push_until_the_crash(&server.client(), &pushed).len(), mentioned, "{point}");
        let crashed = server.wait_for_crash();
        assert_eq!(stored_files(&crashed.data()), LAYERS + mentioned + 1, "{point}: one more than mentioned");
        // Sessions of clients that are gone expire.
        let settings = crashed.into_settings().variable("SUPERCARGO_UPLOADS__EXPIRE_AFTER", "0s");
        let server = settings.variable(CRASH_AT, "").start();
        let data = server.data();
        wait_until("the orphaned file is gone", || stored_files(&data) == LAYERS + mentioned);
        wait_until("the upload session is gone", || upload_sizes(&data).is_empty());
        server.client().pull_and_check("kept", "1", &kept).unwrap();
        server.stop().verify();
    }
}

/// A deletion meets the point: it has happened if its commit came before the crash, else nothing has.
fn a_deletion_crashes_at(point: &str, committed: bool) {
    let (kept, deleted) = images();
    for by_digest in [false, true] {
        let server = Server::start();
        server.client().push_image("kept", "1", &kept).unwrap();
        server.client().push_image("gone", "1", &deleted).unwrap();
        let reference = if by_digest { &deleted.manifest.digest } else { "1" };
        let server = start_to_crash(server.stop(), point);
        let error = server.client().delete_manifest("gone", reference).unwrap_err();
        assert!(error.is_no_answer(), "{point}: {error}");
        let crashed = server.wait_for_crash();
        crashed.verify();

        let server = start_again(crashed);
        let client = server.client();
        assert_eq!(client.resolve("gone", "1").unwrap().is_none(), committed, "{point}");
        if !committed {
            client.pull_and_check("gone", "1", &deleted).unwrap();
        }
        // Asked again, as a client does that had no answer: done, or done already.
        let path = format!("/v2/gone/manifests/{reference}");
        let again = client.send(&Request::new("DELETE", &path)).unwrap();
        again.expect(if committed { 404 } else { 202 });
        assert_eq!(client.resolve("gone", "1").unwrap(), None, "{point}");
        client.pull_and_check("kept", "1", &kept).unwrap();
        server.stop().verify();
    }
}

#[test]
fn around_the_commit_of_a_deletion() {
    a_deletion_crashes_at("commit.before", false);
    a_deletion_crashes_at("commit.after", true);
}

/// A server that is to kill itself at a point of its next collection, which has an image to take.
struct Collecting {
    server: Server,
    /// In use as `kept:1`.
    kept: Image,
    /// Was `gone:1`, and deleted.
    gone: Image,
}

impl Collecting {
    fn until(point: &str) -> Collecting {
        let (kept, gone) = images();
        let server = Server::settings().variable("SUPERCARGO_GC__LEASE", "0s").start();
        server.client().push_image("kept", "1", &kept).unwrap();
        server.client().push_image("gone", "1", &gone).unwrap();
        server.client().delete_manifest("gone", &gone.manifest.digest).unwrap();
        let server = start_to_crash(server.stop(), point);
        Collecting { server, kept, gone }
    }
}

/// A collection meets the point: what is in use is untouched, what was collected is gone, and files that it
/// did not come to are the sweep's. Answers how many files were left that no record mentions.
fn a_collection_crashes_at(point: &str, pushed_again_first: bool) -> usize {
    let Collecting { server, kept, gone } = Collecting::until(point);
    assert!(!server.cli(&["gc"]).status.success(), "{point}: the server should have died");
    let crashed = server.wait_for_crash();
    crashed.verify();
    let left = stored_files(&crashed.data()) - LAYERS;

    let server = start_again(crashed);
    let client = server.client();
    client.pull_and_check("kept", "1", &kept).unwrap();
    for blob in gone.blobs().chain([&gone.manifest]) {
        assert!(!client.has_blob("gone", &blob.digest).unwrap(), "{point}");
    }
    if pushed_again_first {
        // While the sweep that follows a start may be removing the same files.
        client.push_image("gone", "1", &gone).unwrap();
    }
    server.cli(&["gc"]).expect_success();
    if !pushed_again_first {
        assert_eq!(stored_files(&server.data()), LAYERS, "{point}");
        client.push_image("gone", "1", &gone).unwrap();
    }
    client.pull_and_check("gone", "1", &gone).unwrap();
    assert_eq!(stored_files(&server.data()), 2 * LAYERS, "{point}");
    server.stop().verify();
    left
}

#[test]
fn when_a_collection_is_committed_and_its_files_are_not_gone() {
    for pushed_again_first in [false, true] {
        assert_eq!(a_collection_crashes_at("collect.committed", pushed_again_first), LAYERS);
    }
}

#[test]
fn between_two_files_of_a_collection() {
    for pushed_again_first in [false, true] {
        // Layers, config and manifest go in the order of their digests; the last two have no files.
        let left: Vec<usize> = (1..=LAYERS + 2)
            .map(|nth| a_collection_crashes_at(&format!("collect.unlinked:{nth}"), pushed_again_first))
            .collect();
        assert!(left.is_sorted_by(|earlier, later| earlier >= later), "{left:?}");
        assert!(left.contains(&(LAYERS - 1)), "a crash between two files: {left:?}");
        assert_eq!(left.last(), Some(&0), "{left:?}");
    }
}

/// The commits of the collection itself: contents leave their names, then their bytes are given up. Whichever
/// it is, no file goes before its commit, and the next collection does what is left. Answers whether the
/// server died, or passed fewer commits than that.
fn a_collection_crashes_around_commit(point: &str) -> bool {
    let Collecting { server, kept, .. } = Collecting::until(point);
    if server.cli(&["gc"]).status.success() {
        return false;
    }
    let crashed = server.wait_for_crash();
    crashed.verify();
    assert_eq!(stored_files(&crashed.data()), 2 * LAYERS, "{point}");
    let server = start_again(crashed);
    server.cli(&["gc"]).expect_success();
    assert_eq!(stored_files(&server.data()), LAYERS, "{point}");
    server.client().pull_and_check("kept", "1", &kept).unwrap();
    server.stop().verify();
    true
}

#[test]
fn around_the_commits_of_a_collection() {
    for point in ["commit.before", "commit.after"] {
        let crashes = (1..).take_while(|nth| a_collection_crashes_around_commit(&format!("{point}:{nth}")));
        assert_eq!(crashes.count(), 2, "{point}");
    }
}
