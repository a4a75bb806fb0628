//! Crashes in the midst of a promotion and of a migration: all of a tag has come, or nothing has.

use supercargo_tests::http::Request;
use supercargo_tests::image::{DOCKER_MANIFEST, sha256};
use supercargo_tests::server::stored_files;
use supercargo_tests::v1::{Chain, V1Client, Version, Wire};
use supercargo_tests::{Image, Random, Server};

use crate::support::{start_again, start_to_crash};

const LAYERS: usize = 2;

/// The status of a path, which nobody redirects.
fn status(server: &Server, path: &str) -> u16 {
    let accepting = Request::new("GET", path).header("Accept", DOCKER_MANIFEST);
    server.client().send(&accepting).unwrap().status
}

/// A promotion of a whole repository meets the point. Two tags, one of which is there from then on only with the other.
fn a_promotion_crashes_at(point: &str, committed: bool, moved: bool) {
    let (first, second) = (Image::generate(1, LAYERS, 100_000), Image::generate(2, LAYERS, 100_000));
    let server = Server::start();
    server.cli(&["repo", "create", "prod"]).expect_success();
    server.client().push_image("team/one", "1", &first).unwrap();
    server.client().push_image("team/two", "1", &second).unwrap();
    let server = start_to_crash(server.stop(), point);
    let mut command = vec!["promote", "docker-local", "prod"];
    command.extend(moved.then_some("--move"));
    assert!(!server.cli(&command).status.success(), "{point}: the server should have died");
    let crashed = server.wait_for_crash();
    crashed.verify();

    let server = start_again(crashed);
    let there = if committed { 200 } else { 404 };
    for (name, image) in [("team/one", &first), ("team/two", &second)] {
        assert_eq!(status(&server, &format!("/v2/prod/{name}/manifests/1")), there, "{point}");
        for blob in image.blobs() {
            assert_eq!(status(&server, &format!("/v2/prod/{name}/blobs/{}", blob.digest)), there, "{point}");
        }
        if committed && moved {
            assert_eq!(server.client().resolve(name, "1").unwrap(), None, "{point}");
        } else {
            server.client().pull_and_check(name, "1", image).unwrap();
        }
    }
    // Asked again, as whoever had no answer does, it is done; or there is nothing left to be done.
    let again = server.cli(&command);
    assert!(again.status.success() || (committed && moved), "{point}");
    // What came does not need what it came from.
    server.cli(&["repo", "remove", "docker-local", "--force"]).expect_success();
    server.cli(&["gc"]).expect_success();
    for (name, image) in [("team/one", &first), ("team/two", &second)] {
        assert_eq!(status(&server, &format!("/v2/prod/{name}/manifests/1")), 200, "{point}");
        for blob in image.blobs() {
            assert_eq!(status(&server, &format!("/v2/prod/{name}/blobs/{}", blob.digest)), 200, "{point}");
        }
    }
    assert_eq!(stored_files(&server.data()), 2 * LAYERS, "{point}");
    server.stop().verify();
}

#[test]
fn around_the_commit_of_a_promotion() {
    for moved in [false, true] {
        a_promotion_crashes_at("commit.before", false, moved);
        a_promotion_crashes_at("commit.after", true, moved);
    }
}

/// A migration of one tag meets a point for the nth time. False where it passes the point less often.
fn a_migration_crashes_at(point: &str, speaks: &str) -> bool {
    let mut random = Random::from_seed(11);
    let chain = Chain::generate(&mut random, Version::V1_9, LAYERS, 200_000);
    let server = Server::start();
    server.cli(&["repo", "configure", "docker-local", "--docker-api-version", "V1"]).expect_success();
    server.cli(&["repo", "create", "new", "--docker-api-version", speaks]).expect_success();
    let old =
        |server: &Server| V1Client::new(Wire::plain(server.address()), Version::V1_9).knowing_v1_alone();
    old(&server).push("team/app", &["1"], &chain).unwrap();
    let server = start_to_crash(server.stop(), point);
    let command = ["migrate", "docker-local", "new"];
    if server.cli(&command).status.success() {
        return false;
    }
    let crashed = server.wait_for_crash();
    crashed.verify();

    let server = start_again(crashed);
    let manifest = "/v2/new/team/app/manifests/1";
    let whole = |server: &Server| {
        let accepting = Request::new("GET", manifest).header("Accept", DOCKER_MANIFEST);
        let read = server.client().send(&accepting).unwrap().expect(200).json();
        let parts: Vec<_> =
            read["layers"].as_array().unwrap().iter().chain([&read["config"]]).cloned().collect();
        assert_eq!(parts.len(), LAYERS + 1);
        for part in parts {
            let digest = part["digest"].as_str().unwrap();
            let blob = format!("/v2/new/team/app/blobs/{digest}");
            let body = server.client().get(&blob).unwrap().expect(200).body;
            assert_eq!(sha256(&body), digest, "{point}");
        }
    };
    match status(&server, manifest) {
        200 => whole(&server),
        other => assert_eq!(other, 404, "{point}"),
    }
    assert_eq!(old(&server).pull("team/app", "1").unwrap(), chain, "{point}");
    let report = server.cli(&command).expect_success().json();
    assert_eq!(report["progress"]["failed"], 0, "{point}");
    whole(&server);
    server.cli(&["repo", "remove", "docker-local", "--force"]).expect_success();
    server.cli(&["gc"]).expect_success();
    server.cli(&["sweep"]).expect_success();
    whole(&server);
    assert_eq!(stored_files(&server.data()), LAYERS, "{point}: the layers and nothing else");
    server.stop().verify();
    true
}

#[test]
fn at_every_point_of_a_migration() {
    for speaks in ["V2", "both"] {
        for point in ["commit.before", "commit.after"] {
            let crashes = (1..).take_while(|nth| a_migration_crashes_at(&format!("{point}:{nth}"), speaks));
            assert!(crashes.count() >= 1, "{point}");
        }
        // Layers that are packed already are not written again.
        for point in ["blob.written", "blob.renamed"] {
            (1..).take_while(|nth| a_migration_crashes_at(&format!("{point}:{nth}"), speaks)).count();
        }
    }
}
