//! Connections over TLS that misbehave, wait or are there when the server stops.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use supercargo_tests::client::with_query;
use supercargo_tests::http::{Connection, Request, connect};
use supercargo_tests::image::Blob;
use supercargo_tests::process::raise_open_files_limit;
use supercargo_tests::tls::{open, settings};
use supercargo_tests::wait_until;

use crate::{made_authority, self_signed};

#[test]
fn a_handshake_that_fails_or_drips_costs_nothing() {
    let server = self_signed().variable("SUPERCARGO_HTTP__HEADER_TIMEOUT", "1s").start();
    let address = server.next_address();
    // Another protocol, and what is none.
    for words in [&Request::new("GET", "/v2/").to_bytes()[..], b"\x16\x03\x01\xff\xff", &[0; 1000]] {
        let mut connection = connect(address).unwrap();
        connection.write_all(words).unwrap();
        // Whatever it says, it closes; a reset is an end, too.
        let _ = connection.read_to_end(&mut Vec::new());
    }
    // A client that does not trust the server.
    let strange = settings(&supercargo_tests::tls::Authority::new("another").pem, None, &[]);
    open(address, &strange).unwrap_err();
    // One that begins, and says no more.
    let mut slow = connect(address).unwrap();
    slow.write_all(&[0x16, 3, 1, 2, 0, 1]).unwrap();
    assert!(Connection::over(slow).is_closed());

    let authority = std::fs::read_to_string(made_authority(&server)).unwrap();
    let mut good = open(address, &settings(&authority, None, &[])).unwrap();
    good.send(&Request::new("GET", "/v2/").to_bytes()).unwrap();
    good.receive("GET").unwrap().expect(200);
    let log = server.stop().log();
    assert!(!log.contains("ERROR") && !log.contains("WARN"), "{log}");
}

/// A session that has been agreed on and says nothing costs what TLS keeps of it, and no buffers of HTTP.
#[test]
fn idle_connections_are_cheap() {
    let wanted =
        usize::try_from(raise_open_files_limit().saturating_sub(200)).unwrap_or(usize::MAX).min(2_000);
    for (protocol, asked) in [("http/1.1", false), ("h2", false), ("http/1.1", true)] {
        // Each by itself: memory that others have given back would be counted as none.
        let server = self_signed().start();
        let address = server.next_address();
        let authority = std::fs::read_to_string(made_authority(&server)).unwrap();
        let client = settings(&authority, None, &[protocol]);
        let before = server.process().memory_bytes("VmRSS");
        let idle: Vec<_> = (0..wanted)
            .map(|_| {
                let mut connection = open(address, &client).unwrap();
                if asked {
                    connection.send(&Request::new("GET", "/v2/").to_bytes()).unwrap();
                    connection.receive("GET").unwrap().expect(200);
                }
                connection
            })
            .collect();
        assert!(server.metric("supercargo_http_connections") >= wanted as u64);
        let grown = server.process().memory_bytes("VmRSS").saturating_sub(before);
        let each = grown / wanted as u64;
        eprintln!(
            "{each} bytes for each of {wanted} idle connections ({protocol}, after a request: {asked})"
        );
        assert!(each < 32 * 1024, "{each} bytes for each of {wanted} connections");
        drop(idle);
        server.stop();
    }
}

#[test]
fn the_server_stops_while_connections_are_open() {
    let server = self_signed().start();
    let address = server.next_address();
    let authority = std::fs::read_to_string(made_authority(&server)).unwrap();
    let client = settings(&authority, None, &["http/1.1"]);
    let get = Request::new("GET", "/v2/").to_bytes();
    let silent = connect(address).unwrap();
    let mut half = connect(address).unwrap();
    half.write_all(&[0x16, 3, 1]).unwrap();
    let mut shaken = open(address, &client).unwrap();
    let mut asked = open(address, &client).unwrap();
    asked.send(&get).unwrap();
    asked.receive("GET").unwrap().expect(200);

    // A request that is under way is answered.
    let blob = Blob::generate(1, 3_000_000);
    let session = server.client().start_upload("a").unwrap();
    let target = with_query(&session, &format!("digest={}", blob.digest));
    let request = Request::new("PUT", &target).body(&blob.bytes[..]).to_bytes();
    let (first, rest) = request.split_at(request.len() - 500_000);
    let mut busy = open(address, &client).unwrap();
    busy.send(first).unwrap();
    wait_until("a part is received", || server.metric("supercargo_http_received_bytes_total") > 1_000_000);
    server.tell_to_stop();
    for mut closed in [Connection::over(silent), Connection::over(half)] {
        assert!(closed.is_closed());
    }
    assert!(shaken.is_closed());
    assert!(asked.is_closed());
    wait_until("nobody is let in any more", || TcpStream::connect(address).is_err());
    busy.send(rest).unwrap();
    busy.receive("PUT").unwrap().expect(201);
    assert!(busy.is_closed());
    server.wait_for_stop().verify();
}

#[test]
fn a_connection_without_requests_is_closed_in_time() {
    let server = self_signed().variable("SUPERCARGO_HTTP__IDLE_TIMEOUT", "1s").start();
    let authority = std::fs::read_to_string(made_authority(&server)).unwrap();
    let client = settings(&authority, None, &["http/1.1"]);
    let began = std::time::Instant::now();
    let mut shaken = open(server.next_address(), &client).unwrap();
    assert!(shaken.is_closed());
    assert!(began.elapsed() > Duration::from_millis(900));
    server.stop();
}
