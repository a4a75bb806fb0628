//! Logging in by every way: challenges lead to the token endpoint of the way that a client came by, and tokens are good for
//! what was asked for in the client's words, and for nothing else.

use supercargo_tests::accounts::{Guarded, PASSWORD, basic};
use supercargo_tests::http::{Request, Response};
use supercargo_tests::image::{Image, OCI_MANIFEST};
use supercargo_tests::v1::{Chain, V1Client, Version, Wire};
use supercargo_tests::{Random, Server};

use crate::support::{KEYS, Way, every_way};

fn guarded(version: &str) -> Guarded {
    let guarded = Guarded::start(every_way());
    let settings = format!(r#"{{"docker-api-version":"{version}"}}"#);
    guarded.admin("PATCH", "/repositories/docker-local", &settings, 200);
    for key in KEYS {
        guarded.admin("PUT", &format!("/repositories/{key}"), &settings, 201);
    }
    guarded.admin("PATCH", "/repositories/ported", r#"{"docker-port":4443}"#, 200);
    guarded
}

/// The realm, the service and the scope of a challenge.
#[track_caller]
fn challenge(answer: &Response) -> (String, String, String) {
    let challenge = answer.require("WWW-Authenticate");
    let part = |name: &str| {
        let found = challenge.split_once(&format!("{name}=\"")).and_then(|(_, rest)| rest.split_once('"'));
        found.unwrap_or_else(|| panic!("no {name} in {challenge}")).0.to_owned()
    };
    (part("realm"), part("service"), part("scope"))
}

/// A token for these scopes from the token endpoint at a path, and the scope that it says it has.
#[track_caller]
fn token(way: &Way, path: &str, service: &str, scopes: &[&str], login: &str) -> (String, String) {
    let scopes = scopes.iter().map(|scope| format!("&scope={scope}")).collect::<String>();
    let request = Request::new("GET", &format!("{path}?service={service}{scopes}"));
    let answer = way.send(request.header("Authorization", login)).expect(200).json();
    let text = |name: &str| answer[name].as_str().unwrap().to_owned();
    (format!("Bearer {}", text("token")), text("scope"))
}

#[test]
fn a_challenge_leads_to_a_token_that_is_good_where_it_was_asked_for() {
    let guarded = guarded("V2");
    let login = basic("admin", PASSWORD);
    let image = Image::generate(1, 1, 10);
    for way in Way::all(&guarded.server) {
        let called = way.called("app");
        let path = way.path(&format!("/v2/{called}/manifests/t"));
        let asked = way.send(Request::new("PUT", &path).body("{}")).expect(401);
        let (realm, service, scope) = challenge(&asked);
        let token_path = way.path("/v2/token");
        assert_eq!(realm, format!("http://{}{token_path}", way.host), "{way:?}");
        assert_eq!(scope, format!("repository:{called}:pull,push"), "{way:?}");
        let (bearer, said) = token(&way, &token_path, &service, &[&scope], &login);
        assert_eq!(said, scope, "{way:?}");
        for blob in image.blobs() {
            let path = way.path(&format!("/v2/{called}/blobs/uploads/?digest={}", blob.digest));
            let upload = Request::new("POST", &path).header("Authorization", &bearer);
            way.send(upload.body(&*blob.bytes)).expect(201);
        }
        let put =
            Request::new("PUT", &path).header("Content-Type", OCI_MANIFEST).header("Authorization", &bearer);
        way.send(put.body(&*image.manifest.bytes)).expect(201);
        let other = way.path(&format!("/v2/{}/manifests/t", way.called("other")));
        let refused = way.send(Request::new("GET", &other).header("Authorization", &bearer)).expect(401);
        assert_eq!(challenge(&refused).2, format!("repository:{}:pull", way.called("other")), "{way:?}");
    }
}

/// A token of the root, for several repositories at once, is good for those and at the root.
#[test]
fn a_token_of_the_root_is_good_for_the_repositories_that_were_named() {
    let guarded = guarded("V2");
    let login = basic("admin", PASSWORD);
    let all = Way::all(&guarded.server);
    let root = all.last().unwrap();
    let scopes = ["repository:team-a/app:pull", "repository:bound/app:pull", "repository:x/y:pull"];
    let (bearer, said) = token(root, "/v2/token", "docker-local", &scopes, &login);
    assert_eq!(said, scopes.join(" "));
    let status = |way: &Way, path: &str| {
        let request = Request::new("GET", &way.path(path)).header("Authorization", &bearer);
        way.send(request).status
    };
    for (path, expected) in [
        ("/v2/team-a/app/tags/list", 404),
        ("/v2/bound/app/tags/list", 404),
        ("/v2/x/y/tags/list", 404),
        ("/v2/docker-local/x/y/tags/list", 404),
        // What was not named.
        ("/v2/app/tags/list", 401),
        ("/v2/docker-local/app/tags/list", 401),
        ("/v2/team-a/x/y/tags/list", 401),
        ("/v2/own/app/tags/list", 401),
        ("/v2/team-a/other/tags/list", 401),
    ] {
        assert_eq!(status(root, path), expected, "{path}");
    }
    // Elsewhere it is another service's.
    for way in all.iter().filter(|way| way.repository == "team-a" && way.before.is_empty()) {
        assert_eq!(status(way, "/v2/app/tags/list"), 401, "{way:?}");
    }
}

/// Who may do something in one repository may do nothing by that in another, whatever names are called.
#[test]
fn rights_are_those_of_the_repository_that_is_reached() {
    let guarded = guarded("V2");
    guarded.admin("PUT", "/users/ann", &format!(r#"{{"password":"{PASSWORD}"}}"#), 201);
    let permission =
        r#"{"grantee":"user:ann","repositories":"team-a","names":"app/**","actions":"read,write"}"#;
    guarded.admin("PUT", "/permissions", permission, 200);
    let login = basic("ann", PASSWORD);
    for way in Way::all(&guarded.server) {
        let may = way.repository == "team-a";
        for (name, allowed) in [("app/web", may), ("other/web", false)] {
            let path = way.path(&format!("/v2/{}/blobs/uploads/", way.called(name)));
            let request = Request::new("POST", &path).header("Authorization", &login);
            let status = way.send(request).status;
            assert_eq!(status, if allowed { 202 } else { 403 }, "{way:?} {name}");
        }
    }
}

/// Old clients that log in reach every repository: by tokens in the clear, by their cookie and password over https.
#[test]
fn old_clients_log_in_by_every_way() {
    let mut random = Random::from_environment("old_clients_log_in_by_every_way");
    let guarded = guarded("V1");
    let own = guarded.server.next_address();
    let server: &Server = &guarded.server;
    for version in Version::ALL {
        for (address, name) in
            [(server.address(), "team-a/app"), (server.address(), "ann/app"), (own, "ann/app")]
        {
            let client = V1Client::new(Wire::plain(address), version);
            let chain = Chain::generate(&mut random, version, 2, 1000);
            assert!(client.push(name, &["t"], &chain).is_err());
            let client = client.logged_in("admin", PASSWORD);
            assert!(client.log_in().unwrap());
            client.push(name, &["t"], &chain).unwrap();
            assert_eq!(client.pull(name, "t").unwrap(), chain, "{version:?} {name}");
        }
    }
}
