//! Uploads that a crash comes into: they go on where the server says that they are.

use supercargo_tests::client::with_query;
use supercargo_tests::http::{Connection, Request};
use supercargo_tests::image::Blob;
use supercargo_tests::{Client, Server};

use crate::support::{start_again, start_to_crash, stored_files, upload_sizes, wait_until};

/// How many bytes the server says that a session has.
fn received(client: &Client, session: &str) -> usize {
    let status = client.get(session).unwrap().expect(204);
    let last = status.require("Range").strip_prefix("0-").unwrap();
    last.parse::<usize>().unwrap() + 1
}

fn patch(client: &Client, session: &str, blob: &Blob, from: usize, to: usize) {
    let range = format!("{from}-{}", to - 1);
    let request = Request::new("PATCH", session).header("Content-Range", &range);
    client.send(&request.body(&blob.bytes[from..to])).unwrap().expect(202);
}

/// The PUT that sends a session's last bytes and makes it a blob.
fn finish(session: &str, blob: &Blob, from: usize) -> Request {
    Request::new("PUT", &with_query(session, &format!("digest={}", blob.digest))).body(&blob.bytes[from..])
}

/// The blob is there, byte for byte.
#[track_caller]
fn check(client: &Client, blob: &Blob) {
    let body = client.get(&format!("/v2/a/b/blobs/{}", blob.digest)).unwrap().expect(200).body;
    assert!(body == blob.bytes, "{} bytes, and not those that were pushed", body.len());
}

#[test]
fn between_chunks() {
    let blob = Blob::generate(3, 300_000);
    let server = Server::start();
    let session = server.client().start_upload("a/b").unwrap();
    patch(&server.client(), &session, &blob, 0, 100_000);
    let server = server.kill_hard().start();
    let client = server.client();
    assert_eq!(received(&client, &session), 100_000);
    patch(&client, &session, &blob, 100_000, 250_000);
    let server = server.kill_hard().start();
    let client = server.client();
    assert_eq!(received(&client, &session), 250_000);
    client.send(&finish(&session, &blob, 250_000)).unwrap().expect(201);
    check(&client, &blob);
    server.stop().verify();
}

/// Killed in the midst of a stream, the server goes on with what it had written by then.
#[test]
fn in_the_midst_of_a_chunk() {
    const WHOLE: usize = 6_000_000;
    const SENT: usize = 4_000_000;
    let blob = Blob::generate(4, WHOLE);
    let server = Server::start();
    let session = server.client().start_upload("a/b").unwrap();
    let mut connection = Connection::open(server.address()).unwrap();
    let whole = Request::new("PATCH", &session).body(&blob.bytes[..]).to_bytes();
    connection.send(&whole[..whole.len() - (WHOLE - SENT)]).unwrap();
    let data = server.data();
    wait_until("a part is written", || upload_sizes(&data).iter().sum::<u64>() > 0);
    let stopped = server.kill_hard();
    assert!(connection.receive("PATCH").is_err(), "a chunk that was not sent whole was answered");
    let on_disk: u64 = upload_sizes(&data).iter().sum();
    stopped.verify();

    let server = stopped.start();
    let client = server.client();
    let there = received(&client, &session);
    assert!(there > 0 && there <= SENT && there as u64 == on_disk, "{there} of {SENT}, {on_disk} on disk");
    patch(&client, &session, &blob, there, WHOLE);
    client.send(&finish(&session, &blob, WHOLE)).unwrap().expect(201);
    check(&client, &blob);
    server.stop().verify();
}

/// The crash comes while an upload becomes a blob: its session still has every byte, and the same request once
/// more, without them, finishes it.
#[test]
fn while_it_becomes_a_blob() {
    // Larger than 64 KiB it becomes a file; smaller, a row, which the first two points are not on the way to.
    for (len, points) in [
        (300_000, &["blob.written", "blob.renamed", "commit.before", "commit.after"][..]),
        (30_000, &["commit.before", "commit.after"][..]),
    ] {
        for point in points {
            let blob = Blob::generate(5, len);
            let server = start_to_crash(Server::start().stop(), point);
            let client = server.client();
            let session = client.start_upload("a/b").unwrap();
            patch(&client, &session, &blob, 0, len / 2);
            let error = client.send(&finish(&session, &blob, len / 2)).unwrap_err();
            assert!(error.is_no_answer(), "{point}: {error}");
            let crashed = server.wait_for_crash();
            crashed.verify();

            let server = start_again(crashed);
            let client = server.client();
            assert_eq!(received(&client, &session), len, "{point}");
            client.send(&finish(&session, &blob, len)).unwrap().expect(201);
            check(&client, &blob);
            client.get(&session).unwrap().expect(404);
            let data = server.data();
            assert_eq!(stored_files(&data), usize::from(len > 64 * 1024), "{point}");
            assert!(upload_sizes(&data).is_empty(), "{point}");
            server.stop().verify();
        }
    }
}

/// A session that was cancelled, and one that became a blob, are not there again after a crash.
#[test]
fn what_ended_stays_ended() {
    let blob = Blob::generate(6, 300_000);
    let server = Server::start();
    let client = server.client();
    let (cancelled, finished) = (client.start_upload("a/b").unwrap(), client.start_upload("a/b").unwrap());
    patch(&client, &cancelled, &blob, 0, 200_000);
    client.delete(&cancelled).unwrap().expect(204);
    client.send(&finish(&finished, &blob, 0)).unwrap().expect(201);
    let server = server.kill_hard().start();
    let client = server.client();
    for session in [cancelled, finished] {
        client.get(&session).unwrap().expect(404);
    }
    check(&client, &blob);
    server.stop().verify();
}
