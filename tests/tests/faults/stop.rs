//! The orderly end: told to stop (SIGTERM), the server finishes what runs, and ends with success.

use std::sync::Barrier;

use supercargo_tests::client::with_query;
use supercargo_tests::http::{Connection, Request};
use supercargo_tests::image::Blob;
use supercargo_tests::{Client, Image, Server};

use crate::support::{upload_sizes, wait_until};

const PUSHERS: u64 = 4;

fn name(pusher: u64) -> String {
    format!("p{pusher}")
}

/// Pushes one image after the other until the server takes no more, and says what was answered.
fn push_on(client: &Client, pusher: u64) -> Vec<(String, Image)> {
    let mut answered = Vec::new();
    for number in 0.. {
        let image = Image::generate(pusher * 1_000_000 + number, 2, 100_000);
        let tag = format!("t{number}");
        match client.push_image(&name(pusher), &tag, &image) {
            Ok(()) => answered.push((tag, image)),
            Err(error) => {
                let refused = error.is_no_answer() || error.status() == Some(503);
                assert!(refused, "a server that stops said: {error}");
                break;
            }
        }
    }
    answered
}

#[test]
fn under_load_keeps_what_was_answered() {
    let mut server = Server::start();
    for round in 0..5 {
        let address = server.address();
        let started = Barrier::new(usize::try_from(PUSHERS).unwrap() + 1);
        let (stopped, answered) = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..PUSHERS)
                .map(|pusher| {
                    let started = &started;
                    scope.spawn(move || {
                        started.wait();
                        push_on(&Client::new(address), 10 * round + pusher)
                    })
                })
                .collect();
            started.wait();
            // Until each has something to lose.
            let client = server.client();
            for pusher in 0..PUSHERS {
                let name = name(10 * round + pusher);
                wait_until("a push is answered", || client.resolve(&name, "t1").unwrap().is_some());
            }
            let stopped = server.stop();
            (stopped, threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>())
        });
        stopped.verify();
        server = stopped.start();
        let client = server.client();
        for (pusher, answered) in (0..).zip(answered) {
            assert!(!answered.is_empty());
            for (tag, image) in answered {
                client.pull_and_check(&name(10 * round + pusher), &tag, &image).unwrap();
            }
        }
    }
}

/// A request that is being sent when the signal comes is answered, and what it was answered is true.
#[test]
fn waits_for_an_upload_that_runs() {
    let blob = Blob::generate(1, 3_000_000);
    let server = Server::start();
    let session = server.client().start_upload("a").unwrap();
    let target = with_query(&session, &format!("digest={}", blob.digest));
    let request = Request::new("PUT", &target).body(&blob.bytes[..]).to_bytes();
    let (first, rest) = request.split_at(request.len() - 500_000);
    let mut connection = Connection::open(server.address()).unwrap();
    connection.send(first).unwrap();
    let data = server.data();
    wait_until("a part is written", || upload_sizes(&data).iter().sum::<u64>() > 0);
    server.tell_to_stop();
    let address = server.address();
    wait_until("nobody is let in any more", || Connection::open(address).is_err());
    connection.send(rest).unwrap();
    connection.receive("PUT").unwrap().expect(201);
    drop(connection);
    let stopped = server.wait_for_stop();
    stopped.verify();
    let server = stopped.start();
    let there = server.client().get(&format!("/v2/a/blobs/{}", blob.digest)).unwrap().expect(200).body;
    assert!(there == blob.bytes);
}
