//! URLs that are meant for the client, where a proxy is in between: made of what the proxy says, if it is trusted.

use supercargo_tests::Server;
use supercargo_tests::accounts::{Guarded, PASSWORD, basic};
use supercargo_tests::http::{Connection, Request};
use supercargo_tests::image::Blob;

use crate::expect_error;

const TRUSTED: &str = "127.0.0.0/8";

fn behind(trusted: &str) -> Guarded {
    Guarded::start(Server::settings().variable("SUPERCARGO_TRUSTED_PROXIES", trusted))
}

/// The URL of the token endpoint that a request with these headers is told.
#[track_caller]
fn realm(guarded: &Guarded, headers: &[(&str, &str)]) -> String {
    let request = headers
        .iter()
        .fold(Request::new("GET", "/v2/"), |request, (name, value)| request.header(name, value));
    let answer = guarded.send(request, None);
    expect_error(&answer, 401, "UNAUTHORIZED");
    let challenge = answer.require("WWW-Authenticate");
    let (realm, rest) = challenge.strip_prefix("Bearer realm=\"").unwrap().split_once('"').unwrap();
    assert_eq!(rest, r#",service="docker-local""#, "nothing got out of the quotes: {challenge}");
    realm.to_owned()
}

#[test]
fn a_trusted_proxy_says_whom_the_client_asked_and_how() {
    let guarded = behind(TRUSTED);
    for (headers, expected) in [
        (&[][..], "http://localhost/v2/token"),
        (&[("Host", "r.example:5000")], "http://r.example:5000/v2/token"),
        (&[("Host", "r.example"), ("X-Forwarded-Proto", "https")], "https://r.example/v2/token"),
        (&[("X-Forwarded-Host", "r.example"), ("X-Forwarded-Proto", "https")], "https://r.example/v2/token"),
        (
            &[("Host", "r.example"), ("X-Forwarded-Proto", "https"), ("X-Forwarded-Port", "8443")],
            "https://r.example:8443/v2/token",
        ),
        (&[("Forwarded", "for=192.0.2.1;host=r.example;proto=https")], "https://r.example/v2/token"),
        (
            &[
                ("Forwarded", "host=\"r.example:8443\";proto=https"),
                ("X-Forwarded-Host", "other.example"),
                ("X-Forwarded-Proto", "http"),
            ],
            "https://r.example:8443/v2/token",
        ),
        // What can be no host is nobody's.
        (&[("Host", "r.example"), ("X-Forwarded-Host", "a b")], "http://r.example/v2/token"),
        (&[("Host", "r.example"), ("X-Forwarded-Host", "a\",scope=\"x")], "http://r.example/v2/token"),
        (&[("Host", "r.example"), ("X-Forwarded-Host", "user@evil.example")], "http://r.example/v2/token"),
        (&[("Host", "r.example"), ("X-Forwarded-Host", "evil.example/path")], "http://r.example/v2/token"),
        (
            &[("Host", "r.example"), ("Forwarded", "host=\"a\\\"b\";proto=gopher")],
            "http://r.example/v2/token",
        ),
        (&[("Host", "r.example"), ("X-Forwarded-Port", "99999")], "http://r.example/v2/token"),
        // Nor is it in the request's own.
        (&[("Host", "a\",scope=\"x")], "/v2/token"),
        (&[("Host", "user@evil.example")], "/v2/token"),
    ] {
        assert_eq!(realm(&guarded, headers), expected, "{headers:?}");
    }
}

#[test]
fn nobody_else_says_anything() {
    for trusted in ["", "192.0.2.1"] {
        let guarded = behind(trusted);
        let headers = [
            ("Host", "r.example:5000"),
            ("Forwarded", "host=evil.example;proto=https"),
            ("X-Forwarded-Host", "evil.example"),
            ("X-Forwarded-Proto", "https"),
            ("X-Forwarded-Port", "666"),
        ];
        assert_eq!(realm(&guarded, &headers), "http://r.example:5000/v2/token", "{trusted}");
    }
}

/// A client can't hide the address that the proxy added behind a line that can't be read.
#[test]
fn a_line_that_cannot_be_read_ends_the_search_for_the_client() {
    let guarded = behind(TRUSTED);
    let request = Request::new("PUT", "/api/supercargo/v1/groups/made")
        .header("Authorization", &basic("admin", PASSWORD))
        .header("Content-Type", "application/json")
        .header("X-Forwarded-For", "192.0.2.9")
        .header("X-Forwarded-For", "?, 192.0.2.1")
        .body("{}");
    let bytes = request.to_bytes().into_iter().map(|byte| if byte == b'?' { 0xff } else { byte });
    let mut connection = Connection::open(guarded.server.address()).unwrap();
    connection.send(&bytes.collect::<Vec<u8>>()).unwrap();
    connection.receive("PUT").unwrap().expect(201);
    let log = guarded.admin("GET", "/log?kind=GroupCreated", "", 200);
    assert_ne!(log["records"][0]["origin"]["remote"], "192.0.2.9", "{log}");
}

/// They hold behind any proxy, whatever it says.
#[test]
fn locations_and_links_are_paths() {
    let guarded = behind(TRUSTED);
    let login = basic("admin", PASSWORD);
    let blob = Blob::new("x");
    let upload = |query: &str| {
        let request = Request::new("POST", &format!("/v2/a/blobs/uploads/{query}"))
            .header("X-Forwarded-Host", "r.example")
            .header("X-Forwarded-Proto", "https");
        guarded.send(request.body(&*blob.bytes), Some(&login))
    };
    let stored = upload(&format!("?digest={}", blob.digest)).expect(201);
    assert_eq!(stored.require("Location"), format!("/v2/a/blobs/{}", blob.digest));
    let session = upload("").expect(202);
    assert!(session.require("Location").starts_with("/v2/a/blobs/uploads/"), "{session:?}");
}
