//! Clients that vanish, drip, lie about lengths, or just sit there: the server goes on, and in little memory.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use supercargo_tests::http::{Connection, Request, Response};
use supercargo_tests::image::{Blob, OCI_MANIFEST};
use supercargo_tests::process::raise_open_files_limit;
use supercargo_tests::{Image, Server};

/// A push that stops at any byte leaves nothing but the session, which says how far it came.
#[test]
fn a_client_may_vanish_at_any_byte() {
    let server = Server::start();
    let client = server.client();
    let before = server.log_size();
    let blob = Blob::generate(1, 200_000);
    for cut in [0, 1, 10, 60, 200, 300, 70_000, 150_000, 200_100] {
        let session = client.start_upload("a").unwrap();
        // It says where it belongs: however late the server gets to read it, it does no harm.
        let range = format!("0-{}", blob.bytes.len() - 1);
        let request = Request::new("PATCH", &session).header("Content-Range", &range);
        let request = request.body(&*blob.bytes).to_bytes();
        let mut connection = Connection::open(server.address()).unwrap();
        connection.send(&request[..cut.min(request.len() - 1)]).unwrap();
        drop(connection);
        // The session can be asked, and gone on with; while the server looks at the other request, it says that it
        // is busy.
        let received = loop {
            let received = received(&client.get(&session).unwrap().expect(204));
            let range = format!("{received}-{received}");
            let next = Request::new("PATCH", &session).header("Content-Range", &range);
            if client.send(&next.body(&blob.bytes[received..=received])).unwrap().status == 202 {
                break received + 1;
            }
        };
        let put = Request::new("PUT", &format!("{session}?digest={}", blob.digest));
        let range = format!("{received}-{}", blob.bytes.len() - 1);
        let put = put.header("Content-Range", &range).body(&blob.bytes[received..]);
        let stored = loop {
            let answer = client.send(&put).unwrap();
            if answer.status != 416 {
                break answer;
            }
        };
        stored.expect(201);
        client.delete(&format!("/v2/a/blobs/{}", blob.digest)).unwrap().expect(202);
    }
    // Added and deleted once for each cut, and nothing else.
    assert_eq!(server.log_size(), before + 18);
    server.stop().verify();
}

/// How many bytes a session holds, by its Range: `0-0` is none, as the protocol has it.
fn received(status: &Response) -> usize {
    match status.require("Range").strip_prefix("0-").unwrap().parse().unwrap() {
        0 => 0,
        last => last + 1,
    }
}

#[test]
fn a_manifest_that_ends_early_is_refused() {
    let server = Server::start();
    let before = server.log_size();
    let image = Image::generate(1, 1, 100);
    let request = Request::new("PUT", "/v2/a/manifests/1")
        .header("Content-Type", OCI_MANIFEST)
        .header("Content-Length", &(image.manifest.bytes.len() + 10).to_string())
        .body(&*image.manifest.bytes);
    let mut connection = Connection::open(server.address()).unwrap();
    connection.send(&request.to_bytes()).unwrap();
    connection.finish_sending().unwrap();
    // It may answer or close; it must not store.
    if let Ok(answer) = connection.receive("PUT") {
        assert_eq!(answer.status, 400, "{answer:?}");
    }
    server.client().get("/v2/a/tags/list").unwrap().expect(404);
    assert_eq!(server.log_size(), before);
}

/// Bytes after a body are the next request, and if they are none, that is refused.
#[test]
fn a_body_longer_than_its_length_is_cut_there() {
    let server = Server::start();
    let client = server.client();
    let session = client.start_upload("a").unwrap();
    let request = Request::new("PATCH", &session).header("Content-Length", "5").body("12345GARBAGE\r\n\r\n");
    let mut connection = Connection::open(server.address()).unwrap();
    connection.send(&request.to_bytes()).unwrap();
    connection.receive("PATCH").unwrap().expect(202).expect_header("Range", "0-4");
    connection.receive("GET").unwrap().expect(400);
    assert!(connection.is_closed());
    client.get(&session).unwrap().expect(204).expect_header("Range", "0-4");
}

#[test]
fn what_is_no_http_is_refused() {
    let server = Server::start();
    for garbage in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"[..],
        b"GET\r\n\r\n",
        b"GET / HTTP/9\r\n\r\n",
        b"\0\0\0\0\r\n\r\n",
    ] {
        let mut connection = Connection::open(server.address()).unwrap();
        connection.send(garbage).unwrap();
        if let Ok(answer) = connection.receive("GET") {
            assert!((400..=505).contains(&answer.status), "{answer:?}");
        }
        assert!(connection.is_closed());
    }
    let huge = Request::new("GET", "/v2/").header("X-Huge", &"x".repeat(1 << 20));
    let mut connection = Connection::open(server.address()).unwrap();
    // Refused before all of it is read.
    let _ = connection.send(&huge.to_bytes());
    if let Ok(answer) = connection.receive("GET") {
        assert_eq!(answer.status, 431, "{answer:?}");
    }
    server.client().get("/v2/").unwrap().expect(200);
}

/// Where a body ends must not be a matter of opinion: what is in between may hold another.
#[test]
fn a_body_without_a_clear_end_is_refused() {
    let server = Server::start();
    let client = server.client();
    let before = server.log_size();
    let digest = Blob::new("12345").digest;
    for (framing, body) in [
        ("Content-Length: 5\r\nContent-Length: 6\r\n", "12345"),
        ("Content-Length: 5, 6\r\n", "12345"),
        ("Content-Length: -5\r\n", "12345"),
        ("Content-Length: +5\r\n", "12345"),
        ("Content-Length: 5x\r\n", "12345"),
        ("Content-Length: 99999999999999999999\r\n", "12345"),
        ("Content-Length: 50\r\n", "12345"),
        ("Transfer-Encoding: gzip\r\n", "12345"),
        ("Transfer-Encoding: chunked, gzip\r\n", "12345"),
        ("Transfer-Encoding: chunked\r\n", "zz\r\n12345\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\n", "-5\r\n12345\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\n", "fffffffffffffffff\r\n12345\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\n", "5\r\n12345678\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\n", "5\r\n12345\r\n"),
    ] {
        for target in ["/v2/a/blobs/uploads/".to_owned(), client.start_upload("a").unwrap()] {
            let method = if target.ends_with('/') { "POST" } else { "PUT" };
            let head = format!("{method} {target}?digest={digest} HTTP/1.1\r\nHost: x\r\n{framing}\r\n");
            let mut connection = Connection::open(server.address()).unwrap();
            connection.send((head + body).as_bytes()).unwrap();
            connection.finish_sending().unwrap();
            let answer = connection.receive(method).unwrap();
            assert_eq!(answer.status, 400, "{framing:?} {body:?}: {answer:?}");
            assert!(connection.is_closed(), "{framing:?} {body:?}");
        }
    }
    assert!(!client.has_blob("a", &digest).unwrap());
    assert_eq!(server.log_size(), before);
    server.stop().verify();
}

#[test]
fn a_request_says_which_host_it_is_for() {
    let server = Server::start();
    for (head, status) in [
        ("GET /v2/ HTTP/1.1\r\n\r\n", 400),
        ("GET /v2/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        ("GET /v2/ HTTP/1.1\r\nHost: a\r\n\r\n", 200),
        ("GET http://a/v2/ HTTP/1.1\r\nHost: a\r\n\r\n", 200),
    ] {
        let mut connection = Connection::open(server.address()).unwrap();
        connection.send(head.as_bytes()).unwrap();
        assert_eq!(connection.receive("GET").unwrap().status, status, "{head:?}");
    }
}

#[test]
fn slow_clients_are_given_up() {
    let server = Server::settings()
        .variable("SUPERCARGO_HTTP__HEADER_TIMEOUT", "1s")
        .variable("SUPERCARGO_HTTP__BODY_TIMEOUT", "1s")
        .variable("SUPERCARGO_HTTP__IDLE_TIMEOUT", "2s")
        .start();
    let client = server.client();
    let session = client.start_upload("a").unwrap();
    let began = Instant::now();

    let mut head = Connection::open(server.address()).unwrap();
    head.send(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n").unwrap();
    let mut idle = Connection::open(server.address()).unwrap();
    idle.send(&Request::new("GET", "/v2/").to_bytes()).unwrap();
    idle.receive("GET").unwrap().expect(200);
    let mut body = Connection::open(server.address()).unwrap();
    body.send(&Request::new("PATCH", &session).header("Content-Length", "100").body("ten bytes!").to_bytes())
        .unwrap();
    let mut manifest = Connection::open(server.address()).unwrap();
    let half = Request::new("PUT", "/v2/a/manifests/1")
        .header("Content-Type", OCI_MANIFEST)
        .header("Content-Length", "100");
    manifest.send(&half.body("{").to_bytes()).unwrap();

    assert!(head.is_closed());
    body.receive("PATCH").unwrap().expect(408);
    manifest.receive("PUT").unwrap().expect(408);
    assert!(idle.is_closed());
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(1900) && took < Duration::from_secs(20), "{took:?}");
    // What came of the stream is kept, and can be gone on from.
    client.get(&session).unwrap().expect(204).expect_header("Range", "0-9");
    server.stop().verify();
}

/// Connections that say nothing cost a socket each, and not the server.
#[test]
fn ten_thousand_idle_connections_are_cheap() {
    // Both ends of each are files of this machine.
    let wanted =
        usize::try_from(raise_open_files_limit().saturating_sub(200)).unwrap_or(usize::MAX).min(10_000);
    assert!(wanted >= 1000, "too few open files are allowed here");
    let server = Server::settings().variable("SUPERCARGO_HTTP__HEADER_TIMEOUT", "10m").start();
    let before = server.process().memory_bytes("VmRSS");
    let idle: Vec<TcpStream> = (0..wanted)
        .map(|number| {
            let mut stream = TcpStream::connect(server.address()).unwrap();
            if number % 10 == 0 {
                // Some have begun to say something.
                stream.write_all(b"GET /v2/ HTT").unwrap();
            }
            stream
        })
        .collect();
    let image = Image::generate(1, 2, 100_000);
    server.client().push_image("a", "1", &image).unwrap();
    server.client().pull_and_check("a", "1", &image).unwrap();
    assert!(server.metric("supercargo_http_connections") >= wanted as u64);
    let grown = server.process().memory_bytes("VmRSS").saturating_sub(before);
    let each = grown / wanted as u64;
    assert!(each < 8 * 1024, "{each} bytes for each of {wanted} connections");
    drop(idle);
    server.client().get("/v2/").unwrap().expect(200);
    server.stop();
}

#[test]
fn past_the_limit_connections_wait() {
    let server = Server::settings().variable("SUPERCARGO_HTTP__CONNECTIONS_MAX", "4").start();
    let mut held: Vec<Connection> = (0..4).map(|_| Connection::open(server.address()).unwrap()).collect();
    for connection in &mut held {
        connection.send(&Request::new("GET", "/v2/").to_bytes()).unwrap();
        connection.receive("GET").unwrap().expect(200);
    }
    let mut waiting = Connection::open(server.address()).unwrap();
    waiting.send(&Request::new("GET", "/v2/").to_bytes()).unwrap();
    drop(held.pop());
    waiting.receive("GET").unwrap().expect(200);
}

#[test]
fn requests_may_follow_each_other_without_waiting() {
    let server = Server::start();
    let mut connection = Connection::open(server.address()).unwrap();
    let one = Request::new("GET", "/v2/").to_bytes();
    connection.send(&one.repeat(20)).unwrap();
    for _ in 0..20 {
        connection.receive("GET").unwrap().expect(200);
    }
}
