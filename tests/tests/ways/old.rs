//! The old protocol by every way: whole sessions of clients that know hosts and ports alone, and scripted ones of those
//! that keep what stands before.

use serde_json::json;
use supercargo_tests::http::{Request, Response};
use supercargo_tests::v1::{Chain, V1Client, Version, Wire};
use supercargo_tests::{Random, Server};

use crate::support::{Way, create, every_way};

/// A session of a push and a pull, by a client that sends what it was given and goes where it was sent: by tokens, or by
/// its cookie alone.
#[track_caller]
fn session(way: &Way, name: &str, chain: &Chain, by_cookie: bool) {
    let called = way.called(name);
    way.get("/v1/_ping").expect(200).expect_header("X-Docker-Registry-Standalone", "true");
    let begin = Request::new("PUT", &way.path(&format!("/v1/repositories/{called}/")));
    let begun = way.send(begin.body(json!([{ "id": chain.id(), "Tag": "t" }]).to_string())).expect(200);
    assert_eq!(begun.require("X-Docker-Endpoints"), way.host, "{way:?}");
    let token = begun.require("X-Docker-Token");
    assert!(token.contains(&format!("{called}\"")) || way.before.is_empty(), "{way:?}: {token}");
    let proof = |answer: &Response| match by_cookie {
        true => ("Cookie", answer.require("Set-Cookie").split(';').next().unwrap().to_owned()),
        false => ("Authorization", format!("Token {}", answer.require("X-Docker-Token"))),
    };
    let (header, value) = proof(&begun);
    let send = |method: &str, path: String, headers: &[(&str, &str)], body: &[u8]| {
        let request = Request::new(method, &way.path(&path)).header(header, &value).body(body);
        way.send(headers.iter().fold(request, |request, (name, value)| request.header(name, value)))
    };
    for image in &chain.images {
        let path = |part: &str| format!("/v1/images/{}/{part}", image.id);
        send("GET", path("json"), &[], b"").expect(404);
        send("PUT", path("json"), &[], &image.json).expect(200);
        send("PUT", path("layer"), &[], &image.layer).expect(200);
        let checksum = image.payload();
        send("PUT", path("checksum"), &[("X-Docker-Checksum-Payload", &checksum)], b"").expect(200);
    }
    send("PUT", format!("/v1/repositories/{called}/tags/t"), &[], format!("\"{}\"", chain.id()).as_bytes())
        .expect(200);
    send("PUT", format!("/v1/repositories/{called}/images"), &[], b"[]").expect(204);

    let begun = way.send(
        Request::new("GET", &way.path(&format!("/v1/repositories/{called}/images")))
            .header("X-Docker-Token", "true"),
    );
    let (header, value) = proof(&begun.expect(200));
    let get =
        |path: String| way.send(Request::new("GET", &way.path(&path)).header(header, &value)).expect(200);
    assert_eq!(get(format!("/v1/repositories/{called}/tags")).json(), json!({ "t": chain.id() }), "{way:?}");
    let ancestry = get(format!("/v1/images/{}/ancestry", chain.id())).json();
    assert_eq!(ancestry.as_array().unwrap().len(), chain.images.len());
    for image in &chain.images {
        assert_eq!(get(format!("/v1/images/{}/json", image.id)).body, image.json);
        assert_eq!(get(format!("/v1/images/{}/layer", image.id)).body, image.layer);
    }
}

#[test]
fn sessions_of_the_old_protocol_reach_every_repository() {
    let mut random = Random::from_environment("sessions_of_the_old_protocol_reach_every_repository");
    let server = every_way().start();
    create(&server, "V1");
    for (at, way) in Way::all(&server).iter().enumerate() {
        for by_cookie in [false, true] {
            let chain = Chain::generate(&mut random, Version::V1_5, 2, 1000);
            session(way, &format!("way{at}/app{}", u8::from(by_cookie)), &chain, by_cookie);
            // By no other repository's, though the client asks at the same place.
            let path = format!("/artifactory/api/docker/{}/v1/images/{}/json", way.repository, chain.id());
            server.client().get(&path).unwrap().expect(200);
            let other = if way.repository == "own" { "bound" } else { "own" };
            let path = format!("/artifactory/api/docker/{other}/v1/images/{}/json", chain.id());
            server.client().get(&path).unwrap().expect(404);
        }
    }
    server.stop().verify();
}

/// docker knows a host and a port, and says the rest in the name.
#[test]
fn old_dockers_push_and_pull_by_the_name_and_by_the_port() {
    let mut random = Random::from_environment("old_dockers_push_and_pull_by_the_name_and_by_the_port");
    let server = every_way().start();
    create(&server, "V1");
    let own = server.next_address();
    for version in Version::ALL {
        for (address, name) in
            [(server.address(), "team-a/app"), (server.address(), "ann/app"), (own, "ann/app"), (own, "app")]
        {
            let (client, chain) = (
                V1Client::new(Wire::plain(address), version),
                Chain::generate(&mut random, version, 3, 1000),
            );
            client.push(name, &["latest"], &chain).unwrap();
            assert_eq!(client.pull(name, "latest").unwrap(), chain);
        }
    }
    server.stop().verify();
}

/// A root whose default repository speaks V2 alone still leads old clients to those that speak V1.
#[test]
fn old_repositories_are_reached_at_a_root_that_speaks_v2() {
    let mut random = Random::from_environment("old_repositories_are_reached_at_a_root_that_speaks_v2");
    let server = Server::start();
    server.client().get("/v1/_ping").unwrap().expect(404);
    server.cli(&["repo", "create", "old", "--docker-api-version", "V1"]).expect_success();
    let root = Way {
        address: server.address(),
        host: "localhost".to_owned(),
        prefix: String::new(),
        before: "old/",
        repository: "old",
    };
    session(&root, "app", &Chain::generate(&mut random, Version::V1_5, 2, 1000), false);
    root.get("/v2/").expect(200);
    // Without a sign of V2, by which a client would know that it need not go on to V1.
    let refused = root.get("/v2/old/app/manifests/t").expect(404);
    assert_eq!(refused.header("Docker-Distribution-Api-Version"), None);
    let refused = root.get("/v1/repositories/app/images").expect(404).json();
    assert_eq!(refused, json!({ "error": "Unsupported docker v1 repository request for 'docker-local'" }));
}

/// A host is of one protocol to a client: where the default repository speaks V1 alone, so does the root.
#[test]
fn a_root_of_an_old_repository_shows_nothing_of_v2() {
    let server = Server::start();
    server.cli(&["repo", "create", "new"]).expect_success();
    server.cli(&["repo", "configure", "docker-local", "--docker-api-version", "V1"]).expect_success();
    let ping = server.client().get("/v2/").unwrap().expect(404);
    assert_eq!(ping.header("Docker-Distribution-Api-Version"), None);
    server.client().get("/v1/_ping").unwrap().expect(200);
    server
        .client()
        .get("/v2/new/app/tags/list")
        .unwrap()
        .expect(404)
        .expect_header("Docker-Distribution-Api-Version", "registry/2.0");
}
