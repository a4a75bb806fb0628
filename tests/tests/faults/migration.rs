//! A large repository of the old protocol becomes one that newer clients pull from, with a crash in the middle.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;
use supercargo_tests::docker::Docker;
use supercargo_tests::http::Request;
use supercargo_tests::image::{DOCKER_MANIFEST, sha256};
use supercargo_tests::v1::{Chain, V1Client, Version, Wire, unpack};
use supercargo_tests::{Random, Server};

use crate::support::{start_again, start_to_crash};

const NAMES: usize = 200;
const IMAGES_OF_A_NAME: usize = 10;
/// Clients that push or pull at a time.
const CLIENTS: usize = 4;
/// The commit at which the server dies: of those that migrate, some are before it and some after.
const CRASH_AT_COMMIT: usize = 80;

fn name(number: usize) -> String {
    format!("team{}/app{number}", number % 7)
}

/// Does something with each name, as many at a time as there are clients.
fn of_each_name(work: impl Fn(usize) + Sync) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                loop {
                    match next.fetch_add(1, Ordering::Relaxed) {
                        number @ 0..NAMES => work(number),
                        _ => break,
                    }
                }
            });
        }
    });
}

/// What a chain's layers unpack to, as docker names them.
fn diff_ids(chain: &Chain) -> Vec<String> {
    chain.images.iter().map(|image| sha256(&unpack(&image.layer))).collect()
}

#[test]
fn a_repository_of_two_thousand_images_is_migrated_through_a_crash() {
    let mut random =
        Random::from_environment("a_repository_of_two_thousand_images_is_migrated_through_a_crash");
    let chains: Vec<Chain> = (0..NAMES)
        .map(|number| {
            let version = Version::ALL[number % Version::ALL.len()];
            Chain::generate(&mut random, version, IMAGES_OF_A_NAME, 2000)
        })
        .collect();
    let server = Server::start();
    server.cli(&["repo", "configure", "docker-local", "--docker-api-version", "V1"]).expect_success();
    server.cli(&["repo", "create", "new"]).expect_success();
    let address = server.address();
    of_each_name(|number| {
        let version = Version::ALL[number % Version::ALL.len()];
        let client = V1Client::new(Wire::plain(address), version).knowing_v1_alone();
        client.push(&name(number), &["latest"], &chains[number]).unwrap();
    });

    // The crash, between two tags.
    let server = start_to_crash(server.stop(), &format!("commit.after:{CRASH_AT_COMMIT}"));
    let broken_off = server.cli(&["migrate", "docker-local", "new"]);
    assert!(!broken_off.status.success());
    let crashed = server.wait_for_crash();
    crashed.verify();

    // What was done stays done, and the rest is done now.
    let server = start_again(crashed);
    let report = server.cli(&["migrate", "docker-local", "new"]).expect_success().json();
    let count = |report: &Value, of: &str| report["progress"][of].as_u64().unwrap();
    let (migrated, unchanged) = (count(&report, "migrated"), count(&report, "unchanged"));
    assert_eq!(migrated + unchanged, NAMES as u64);
    assert!(migrated > 0 && unchanged > 0, "{migrated} and {unchanged}");
    let size = server.log_size();
    let again = server.cli(&["migrate", "docker-local", "new"]).expect_success().json();
    assert_eq!(count(&again, "unchanged"), NAMES as u64);
    assert_eq!(server.log_size(), size, "a second run records nothing");

    // Every tag is what docker makes of it.
    let docker = Docker::start();
    let address = server.address();
    let reference = |number: usize| format!("{address}/new/{}:latest", name(number));
    of_each_name(|number| {
        docker.run(&["pull", "--quiet", &reference(number)]);
    });
    for (number, chain) in chains.iter().enumerate() {
        let layers =
            docker.run(&["image", "inspect", "--format", "{{json .RootFS.Layers}}", &reference(number)]);
        assert_eq!(layers.json(), serde_json::json!(diff_ids(chain)), "{}", name(number));
    }
    let files = docker.files(&reference(0));
    let added: Vec<&String> = files.keys().filter(|path| !Docker::adds(path)).collect();
    assert_eq!(added, chains[0].files().keys().collect::<Vec<_>>());

    // The old repository is as it was, and what the new one has does not need it.
    let client = V1Client::new(Wire::plain(server.address()), Version::V1_9).knowing_v1_alone();
    assert_eq!(client.pull(&name(7), "latest").unwrap(), chains[7]);
    server.cli(&["repo", "remove", "docker-local", "--force"]).expect_success();
    server.cli(&["gc"]).expect_success();
    let manifest = Request::new("GET", &format!("/v2/new/{}/manifests/latest", name(7)));
    let manifest =
        server.client().send(&manifest.header("Accept", DOCKER_MANIFEST)).unwrap().expect(200).json();
    for layer in manifest["layers"].as_array().unwrap() {
        let blob = format!("/v2/new/{}/blobs/{}", name(7), layer["digest"].as_str().unwrap());
        server.client().get(&blob).unwrap().expect(200);
    }
    server.stop().verify();
}
