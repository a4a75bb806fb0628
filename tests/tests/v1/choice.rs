//! Which protocol is spoken: what a client finds out before it does anything, and what the other protocol's clients
//! are told.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use serde_json::json;
use supercargo_tests::files::assert_same;
use supercargo_tests::http::{Connection, Request, Response};
use supercargo_tests::tls::{self, Authority};
use supercargo_tests::v1::{Chain, Version};
use supercargo_tests::{Image, Random, Server};

use crate::support::{Rows, client, delete, get, guarded, put, speaking, wire};

/// Requests of the newer protocol, also those that would change something.
fn newer() -> Vec<Request> {
    let digest = format!("sha256:{}", "0".repeat(64));
    vec![
        get("/v2/"),
        get("/v2"),
        get("/v2/_catalog"),
        get("/v2/team/app/tags/list"),
        get("/v2/team/app/manifests/latest"),
        Request::new("HEAD", "/v2/team/app/manifests/latest"),
        put("/v2/team/app/manifests/latest", "{}"),
        delete("/v2/team/app/manifests/latest"),
        Request::new("POST", "/v2/team/app/blobs/uploads/"),
        get(&format!("/v2/team/app/blobs/{digest}")),
        get("/v2/anything"),
    ]
}

fn is_silent(answer: &Response) -> bool {
    ["Docker-Distribution-Api-Version", "WWW-Authenticate"].iter().all(|name| answer.header(name).is_none())
}

/// Section 2, rule 1: with accounts, too, and with a password or without.
#[test]
fn where_the_old_protocol_is_spoken_alone_the_newer_is_not_there() {
    let open = speaking("V1");
    let guarded = guarded(Server::settings());
    for (kind, server) in [("open", &open), ("with accounts", &guarded.server)] {
        let rows = Rows::of(wire(server));
        for request in newer() {
            let answer = rows.status(kind, &request, 404);
            rows.holds(kind, &format!("{request} should say nothing of it"), is_silent(&answer), &answer);
        }
        rows.finish();
    }
    open.stop().verify();
    guarded.server.stop().verify();
}

/// Section 2, rule 2: all clients search the old way.
#[test]
fn where_the_newer_protocol_is_spoken_alone_the_old_has_search_alone() {
    let server = speaking("V2");
    let image = Image::generate(1, 1, 100);
    server.client().push_image("team/app", "1", &image).unwrap();
    let id = "1".repeat(64);
    let rows = Rows::of(wire(&server));
    rows.status("ping", &get("/v1/_ping"), 404);
    rows.status("ping", &get("/_ping"), 404);
    for request in [
        put("/v1/repositories/team/app/", "[]"),
        get("/v1/repositories/team/app/images"),
        get("/v1/repositories/team/app/tags"),
        put("/v1/repositories/team/app/tags/1", format!("\"{id}\"")),
        delete("/v1/repositories/team/app/tags/1"),
        delete("/v1/repositories/team/app/"),
        get(&format!("/v1/images/{id}/json")),
        put(&format!("/v1/images/{id}/json"), format!(r#"{{"id":"{id}"}}"#)),
    ] {
        rows.error("other", &request, 404, "*");
    }
    let found = rows.status("search", &get("/v1/search?q=app"), 200);
    rows.holds("search", "the name", found.json()["results"][0]["name"] == "team/app", &found);
    rows.finish();
    server.client().pull_and_check("team/app", "1", &image).unwrap();
    server.stop().verify();
}

/// Section 2, rule 3.
#[test]
fn where_both_are_spoken_both_are_there() {
    let server = speaking("both");
    let rows = Rows::of(wire(&server));
    let base = rows.status("newer", &get("/v2/"), 200);
    rows.header("newer", &base, "Docker-Distribution-Api-Version", "registry/2.0");
    rows.status("old", &get("/v1/_ping"), 200);
    rows.finish();
    server.stop().verify();
}

/// What a repository speaks may change, and what it holds stays. Tags that point at images alone can't be shown to
/// newer clients: such a repository is left as it is.
#[test]
fn a_repository_changes_what_it_speaks() {
    let mut random = Random::from_environment("a_repository_changes_what_it_speaks");
    let server = speaking("both");
    let speak =
        |version: &str| server.cli(&["repo", "configure", "docker-local", "--docker-api-version", version]);
    let chain = Chain::generate(&mut random, Version::V1_9, 2, 1000);
    let image = Image::generate(2, 2, 1000);
    let old = client(&server, Version::V1_9);
    old.clone().knowing_v1_alone().push("team/app", &["1"], &chain).unwrap();
    server.client().push_image("team/app", "2", &image).unwrap();

    speak("V2").expect_success();
    server.client().pull_and_check("team/app", "2", &image).unwrap();
    assert!(server.client().resolve("team/app", "1").unwrap().is_some());
    old.send(&get("/v1/repositories/team/app/tags")).unwrap().expect(404);
    speak("both").expect_success();
    speak("V1").expect_success();
    assert_eq!(old.pull("team/app", "1").unwrap(), chain);
    assert_same(&old.pull("team/app", "2").unwrap().files(), &image.files, |_| false);
    server.client().get("/v2/team/app/tags/list").unwrap().expect(404);
    server.stop().verify();

    let server = speaking("V1");
    let old = client(&server, Version::V1_9);
    old.push("team/app", &["1"], &chain).unwrap();
    for version in ["V2", "both"] {
        let refusal =
            server.cli(&["repo", "configure", "docker-local", "--docker-api-version", version]).stderr;
        assert!(refusal.contains("point at V1 images"), "{refusal}");
    }
    assert_eq!(old.pull("team/app", "1").unwrap(), chain);
    server.stop().verify();
}

/// Section 2.1.
#[test]
fn the_ping() {
    let open = speaking("V1");
    let guarded = guarded(Server::settings());
    for (kind, server) in [("open", &open), ("with accounts", &guarded.server)] {
        let rows = Rows::of(wire(server));
        for path in ["/v1/_ping", "/v1/_ping/", "/_ping", "/_ping/"] {
            let row = format!("{kind} {path}");
            let answer = rows.status(&row, &get(path), 200);
            let body = answer.body == b"true" || answer.body == b"{}";
            rows.holds(&row, "the body should be true or {}", body, &answer);
            rows.header(&row, &answer, "Content-Type", "application/json");
            rows.header(&row, &answer, "X-Docker-Registry-Standalone", "true");
            rows.header(&row, &answer, "X-Docker-Registry-Version", "*");
            let head = rows.status(&row, &Request::new("HEAD", path), 200);
            rows.header(&row, &head, "X-Docker-Registry-Standalone", "true");
        }
        rows.finish();
    }
    open.stop().verify();
    guarded.server.stop().verify();
}

/// A client tries https first: what it says then must not be waited on as if it were the beginning of a request.
#[test]
fn tls_is_refused_at_once_where_http_is_spoken() {
    let server = speaking("V1");
    let settings = tls::settings(&Authority::new("nobody").pem, None, &[]);
    let begun = Instant::now();
    let error = tls::open(server.address(), &settings).unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(2), "refused after {:?}", begun.elapsed());
    assert_ne!(error.kind(), ErrorKind::WouldBlock, "{error}");
    // Also where it is not from a library that we know: the first bytes alone, and nothing after them.
    let mut connection = Connection::open(server.address()).unwrap();
    connection.send(&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03]).unwrap();
    let begun = Instant::now();
    if let Ok(answer) = connection.receive("GET") {
        answer.expect(400);
        assert!(connection.is_closed());
    }
    assert!(begun.elapsed() < Duration::from_secs(2), "refused after {:?}", begun.elapsed());
    server.stop().verify();
}

/// Section 8, the last two rows: what is nowhere.
#[test]
fn what_is_not_there() {
    let server = speaking("V1");
    let rows = Rows::of(wire(&server));
    for path in ["/v1/nothing", "/v1/images", "/v1/repositories", "/v1/images/x/y/z", "/v1/users/a/b/c"] {
        rows.error("unknown path", &get(path), 404, "*");
    }
    for path in ["/v1/_ping", "/v1/search", "/v1/repositories/team/app/tags", "/v1/users/"] {
        let answer = rows.status("wrong method", &Request::new("PATCH", path), 405);
        rows.header("wrong method", &answer, "Allow", "*GET*");
    }
    for path in ["/v1/", "/v1"] {
        rows.status("the root", &get(path), 200);
    }
    let found = rows.status("search", &get("/v1/search"), 200);
    rows.holds("search", "no results", found.json()["results"] == json!([]), &found);
    rows.finish();
    server.stop().verify();
}
