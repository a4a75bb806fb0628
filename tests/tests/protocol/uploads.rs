//! Upload sessions row by row: what each answer says of the session, and that what is refused leaves it as it
//! was.

use supercargo_tests::http::{Connection, Request, Response};
use supercargo_tests::image::Blob;
use supercargo_tests::{Client, Server};

use crate::expect_error;

/// Every answer about a session says which it is, where it is, and how much of it is there.
#[track_caller]
fn expect_session(answer: Response, status: u16, session: &str, range: &str) {
    let id = session.rsplit('/').next().unwrap();
    let answer = answer.expect(status).expect_header("Location", session).expect_header("Range", range);
    assert_eq!(answer.header("Docker-Upload-UUID"), Some(id));
    assert!(answer.body.is_empty());
}

fn chunk(client: &Client, session: &str, range: &str, bytes: &str) -> Response {
    client.send(&Request::new("PATCH", session).header("Content-Range", range).body(bytes)).unwrap()
}

#[test]
fn a_session_says_where_it_is() {
    let server = Server::start();
    let client = server.client();
    let opened = client.send(&Request::new("POST", "/v2/deep/name/blobs/uploads/")).unwrap();
    let session = opened.require("Location").to_owned();
    let id = session.strip_prefix("/v2/deep/name/blobs/uploads/").unwrap();
    assert_eq!((id.len(), id.matches('-').count()), (36, 4), "{id} is no UUID");
    expect_session(opened, 202, &session, "0-0");
    expect_session(client.get(&session).unwrap(), 204, &session, "0-0");
    expect_session(chunk(&client, &session, "0-4", "01234"), 202, &session, "0-4");
    // The prefix is not in the protocol, and some clients send it.
    expect_session(chunk(&client, &session, "bytes 5-9", "56789"), 202, &session, "0-9");
    expect_session(client.send(&Request::new("PATCH", &session).body("ab")).unwrap(), 202, &session, "0-11");
    expect_session(client.get(&session).unwrap(), 204, &session, "0-11");

    let blob = Blob::new("0123456789abcd");
    let put = Request::new("PUT", &format!("{session}?digest={}", blob.digest)).body("cd");
    let early = client.send(&put.clone().header("Content-Range", "11-12")).unwrap();
    expect_error(&early, 416, "BLOB_UPLOAD_INVALID");
    let stored = client.send(&put.header("Content-Range", "12-13")).unwrap().expect(201);
    assert_eq!(stored.require("Location"), format!("/v2/deep/name/blobs/{}", blob.digest));
    assert_eq!(stored.require("Docker-Content-Digest"), blob.digest);
    assert_eq!(client.get(stored.require("Location")).unwrap().expect(200).body, blob.bytes);
    server.stop().verify();
}

#[test]
fn a_chunk_that_does_not_fit_leaves_the_session_as_it_was() {
    let server = Server::start();
    let client = server.client();
    let session = client.start_upload("a").unwrap();
    chunk(&client, &session, "0-4", "01234").expect(202);
    for range in [
        "4-8",
        "6-10",
        "0-4",
        "5-8",
        "5-10",
        "9-5",
        "5-",
        "-5",
        "5",
        "",
        "bytes",
        "items 5-9",
        "bytes 5-9/9",
        "5-18446744073709551615",
        "99999999999999999999-99999999999999999999",
    ] {
        let refused = chunk(&client, &session, range, "56789");
        assert_eq!(refused.header("Location"), Some(session.as_str()), "{range}: {refused:?}");
        assert_eq!(refused.header("Range"), Some("0-4"), "{range}: {refused:?}");
        expect_error(&refused, 416, "BLOB_UPLOAD_INVALID");
    }
    expect_session(client.get(&session).unwrap(), 204, &session, "0-4");
    expect_session(chunk(&client, &session, "5-9", "56789"), 202, &session, "0-9");
}

#[test]
fn a_session_that_is_gone_is_unknown_to_everything() {
    let server = Server::start();
    let client = server.client();
    let digest = Blob::new("x").digest;
    let finished = client.start_upload("a").unwrap();
    client.send(&Request::new("PUT", &format!("{finished}?digest={digest}")).body("x")).unwrap().expect(201);
    let cancelled = client.start_upload("a").unwrap();
    chunk(&client, &cancelled, "0-0", "x").expect(202);
    client.delete(&cancelled).unwrap().expect(204);
    // An id in other letters is another address, and none that was given out.
    let shouted = client.start_upload("a").unwrap();
    let (path, id) = shouted.rsplit_once('/').unwrap();
    let shouted = format!("{path}/{}", id.to_uppercase());
    let other = Blob::new("other").digest;
    for session in [&finished, &cancelled, &shouted] {
        for request in [
            Request::new("GET", session),
            Request::new("PATCH", session).body("x"),
            Request::new("PATCH", session).header("Content-Range", "0-0").body("x"),
            Request::new("PUT", &format!("{session}?digest={other}")).body("other"),
            Request::new("DELETE", session),
        ] {
            expect_error(&client.send(&request).unwrap(), 404, "BLOB_UPLOAD_UNKNOWN");
        }
    }
    assert!(!client.has_blob("a", &other).unwrap());
    server.stop().verify();
}

/// Two clients that send at once would mix their bytes: the second is told where the session is.
#[test]
fn a_session_takes_one_body_at_a_time() {
    let server = Server::start();
    let client = server.client();
    let blob = Blob::generate(1, 300_000);
    let session = client.start_upload("a").unwrap();
    let request = Request::new("PATCH", &session).body(&*blob.bytes).to_bytes();
    let (begun, rest) = request.split_at(200_000);
    let mut sender = Connection::open(server.address()).unwrap();
    sender.send(begun).unwrap();
    while client.get(&session).unwrap().expect(204).header("Range") == Some("0-0") {
        std::thread::yield_now();
    }
    let put = format!("{session}?digest={}", blob.digest);
    for intruder in [Request::new("PATCH", &session).body("x"), Request::new("PUT", &put).body("x")] {
        expect_error(&client.send(&intruder).unwrap(), 416, "BLOB_UPLOAD_INVALID");
    }
    sender.send(rest).unwrap();
    sender.receive("PATCH").unwrap().expect(202).expect_header("Range", "0-299999");
    client.send(&Request::new("PUT", &put)).unwrap().expect(201);
    assert!(client.get(&format!("/v2/a/blobs/{}", blob.digest)).unwrap().expect(200).body == blob.bytes);
    server.stop().verify();
}

/// A deletion holds at once, for every way to the blob through that name, and for no other name.
#[test]
fn a_deleted_blob_is_gone_from_its_name_alone() {
    let server = Server::start();
    let client = server.client();
    for size in [100, 100_000] {
        let blob = Blob::generate(size as u64, size);
        client.push_blob("a", &blob).unwrap();
        client.push_blob("b", &blob).unwrap();
        let path = format!("/v2/a/blobs/{}", blob.digest);
        client.delete(&path).unwrap().expect(202);
        expect_error(&client.get(&path).unwrap(), 404, "BLOB_UNKNOWN");
        client.head(&path).unwrap().expect(404);
        expect_error(&client.delete(&path).unwrap(), 404, "BLOB_UNKNOWN");
        let mount = |from: &str| {
            let query = format!("mount={}&from={from}", blob.digest);
            client.send(&Request::new("POST", &format!("/v2/c/blobs/uploads/?{query}"))).unwrap()
        };
        mount("a").expect(202);
        mount("b").expect(201);
        let got = client.get(&format!("/v2/b/blobs/{}", blob.digest)).unwrap().expect(200);
        assert!(got.body == blob.bytes);
    }
    server.stop().verify();
}
