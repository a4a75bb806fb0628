//! One crash at one point, each of them where it matters most (debug builds kill themselves there).

use std::path::Path;
use std::process::{Command, Stdio};

use supercargo_tests::client::with_query;
use supercargo_tests::http::Request;
use supercargo_tests::image::Blob;
use supercargo_tests::process::died_by;
use supercargo_tests::server::{Settings, Stopped, binary};
use supercargo_tests::{Client, Image, Server};

const CRASH_AT: &str = "SUPERCARGO_CRASH_AT";

/// A server that was told to kill itself at that point, on a folder that holds an image as `kept:1`.
fn server_with(kept: &Image, settings: Settings, point: &str) -> Server {
    let server = settings.start();
    server.client().push_image("kept", "1", kept).unwrap();
    server.stop().into_settings().variable(CRASH_AT, point).start()
}

fn start_again(crashed: Stopped) -> Server {
    crashed.into_settings().variable(CRASH_AT, "").start()
}

/// How many files lie under `blobs/`.
fn stored_files(data: &Path) -> usize {
    let mut files = 0;
    let mut folders = vec![data.join("blobs")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            } else {
                files += 1;
            }
        }
    }
    files
}

/// A push meets the point: nobody was told that it succeeded, so it may be there or not, but never in part.
/// Pushed again, it is there, and nothing else is left behind.
fn a_push_crashes_at(point: &str) {
    // Layers above 64 KiB are files; the config is not.
    let (kept, pushed) = (Image::generate(1, 2, 200_000), Image::generate(2, 2, 200_000));
    let server = server_with(&kept, Server::settings(), point);
    let error = server.client().push_image("new", "1", &pushed).unwrap_err();
    assert!(error.is_no_answer(), "{point}: {error}");
    let crashed = server.wait_for_crash();
    crashed.verify();

    let server = start_again(crashed);
    let client = server.client();
    client.pull_and_check("kept", "1", &kept).unwrap();
    if client.resolve("new", "1").unwrap().is_some() {
        client.pull_and_check("new", "1", &pushed).unwrap();
    }
    client.push_image("new", "1", &pushed).unwrap();
    client.pull_and_check("new", "1", &pushed).unwrap();
    server.cli(&["sweep"]).expect_success();
    assert_eq!(stored_files(&server.data()), 4, "{point}: two layers of each image, and nothing else");
    server.stop().verify();
}

#[test]
fn when_bytes_are_written() {
    a_push_crashes_at("blob.written");
}

#[test]
fn when_bytes_are_in_their_place() {
    a_push_crashes_at("blob.renamed");
    a_push_crashes_at("blob.renamed:2");
}

#[test]
fn before_a_commit() {
    // One commit for each layer and the config, and one for manifest and tag.
    for nth in 1..=4 {
        a_push_crashes_at(&format!("commit.before:{nth}"));
    }
}

#[test]
fn after_a_commit() {
    for nth in 1..=4 {
        a_push_crashes_at(&format!("commit.after:{nth}"));
    }
}

/// A collection meets the point: what is in use is untouched, what was collected is gone, and files that it
/// did not come to are the sweep's.
fn a_collection_crashes_at(point: &str) {
    let (kept, gone) = (Image::generate(1, 2, 200_000), Image::generate(2, 3, 200_000));
    let server = Server::settings().variable("SUPERCARGO_GC__LEASE", "0s").start();
    server.client().push_image("kept", "1", &kept).unwrap();
    server.client().push_image("gone", "1", &gone).unwrap();
    server.client().delete_manifest("gone", &gone.manifest.digest).unwrap();
    let server = server.stop().into_settings().variable(CRASH_AT, point).start();
    assert!(!server.cli(&["gc"]).status.success(), "{point}: the server should have died");
    let crashed = server.wait_for_crash();
    crashed.verify();

    let server = start_again(crashed);
    let client = server.client();
    client.pull_and_check("kept", "1", &kept).unwrap();
    server.cli(&["gc"]).expect_success();
    for layer in &gone.layers {
        assert!(!client.has_blob("gone", &layer.digest).unwrap(), "{point}");
    }
    assert_eq!(stored_files(&server.data()), kept.layers.len(), "{point}");
    client.push_image("gone", "1", &gone).unwrap();
    client.pull_and_check("gone", "1", &gone).unwrap();
    server.stop().verify();
}

#[test]
fn when_a_collection_is_committed_and_its_files_are_not_gone() {
    a_collection_crashes_at("collect.committed");
}

#[test]
fn between_two_files_of_a_collection() {
    a_collection_crashes_at("collect.unlinked");
    a_collection_crashes_at("collect.unlinked:3");
}

#[test]
fn during_a_rebuild() {
    let image = Image::generate(1, 2, 1000);
    let server = Server::start();
    server.client().push_image("a", "1", &image).unwrap();
    let stopped = server.stop();
    let replay = |crash_at: Option<&str>| {
        let mut command = Command::new(binary());
        command.args(["replay", "--data"]).arg(stopped.data());
        command.envs(crash_at.map(|point| (CRASH_AT, point)));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap()
    };
    assert!(died_by(replay(Some("rebuild.batch")), rustix::process::Signal::KILL));
    stopped.verify();
    // Finished, from where it was.
    assert!(replay(None).success());
    stopped.verify();

    // Broken off again, a server runs on the old tables, and what it writes is not lost to the new ones.
    assert!(died_by(replay(Some("rebuild.batch")), rustix::process::Signal::KILL));
    let server = stopped.start();
    let client = server.client();
    client.pull_and_check("a", "1", &image).unwrap();
    let other = Image::generate(2, 1, 1000);
    client.push_image("b", "1", &other).unwrap();
    let stopped = server.stop();
    stopped.verify();
    stopped.cli(&["replay"]).expect_success();
    stopped.verify();
    let server = stopped.start();
    server.client().pull_and_check("a", "1", &image).unwrap();
    server.client().pull_and_check("b", "1", &other).unwrap();
}

#[test]
fn an_upload_goes_on_where_the_server_says_that_it_is() {
    let blob = Blob::generate(3, 300_000);
    let server = Server::start();
    let session = server.client().start_upload("a/b").unwrap();
    let patch = |client: &Client, from: usize, to: usize| {
        let range = format!("{from}-{}", to - 1);
        let request = Request::new("PATCH", &session).header("Content-Range", &range);
        client.send(&request.body(&blob.bytes[from..to])).unwrap().expect(202);
    };
    patch(&server.client(), 0, 100_000);
    let server = server.kill_hard().start();
    let client = server.client();
    client.get(&session).unwrap().expect(204).expect_header("Range", "0-99999");
    patch(&client, 100_000, 250_000);
    let server = server.kill_hard().start();
    let client = server.client();
    client.get(&session).unwrap().expect(204).expect_header("Range", "0-249999");
    let finish = Request::new("PUT", &with_query(&session, &format!("digest={}", blob.digest)));
    client.send(&finish.body(&blob.bytes[250_000..])).unwrap().expect(201);
    assert!(client.has_blob("a/b", &blob.digest).unwrap());
    server.stop().verify();
}

/// Told to stop while it is pushed to, the server finishes what runs: what was answered is there.
#[test]
fn a_stop_under_load_keeps_what_was_answered() {
    let server = Server::start();
    let address = server.address();
    let pushers: Vec<_> = (0..4_u64)
        .map(|pusher| {
            std::thread::spawn(move || {
                let client = Client::new(address);
                let mut answered = Vec::new();
                for number in 0.. {
                    let image = Image::generate(pusher * 1000 + number, 2, 100_000);
                    let tag = format!("t{number}");
                    match client.push_image(&format!("p{pusher}"), &tag, &image) {
                        Ok(()) => answered.push((tag, image)),
                        Err(_) => break,
                    }
                }
                answered
            })
        })
        .collect();
    // Until each has something to lose.
    let client = server.client();
    while (0..4).any(|pusher| client.resolve(&format!("p{pusher}"), "t1").unwrap().is_none()) {
        std::thread::yield_now();
    }
    let server = server.stop().start();
    let client = server.client();
    for (pusher, thread) in pushers.into_iter().enumerate() {
        let answered = thread.join().unwrap();
        assert!(answered.len() >= 2);
        for (tag, image) in answered {
            client.pull_and_check(&format!("p{pusher}"), &tag, &image).unwrap();
        }
    }
    server.stop().verify();
}
