//! The Artifactory surface as its clients use it, against the real binary: curl, and the Python clients that scripts are
//! written with.
//!
//! Which test is about what of Artifactory's reference; each is named by what it is about there.
//!
//! | of the reference | tests |
//! |---|---|
//! | Repositories: create, update, get, list, delete | `repositories`, `python` |
//! | Folder Info, File Info, File List, Item Properties, Item Statistics | `items` |
//! | Set, Delete and Update Item Properties | `items`, `refused` |
//! | Retrieve Artifact: ranges, checksums | `items` |
//! | Property, Artifact and Checksum Search, AQL | `found`, `refused` |
//! | Promote Docker Image | `moved`, `refused` |
//! | Migrating a V1 repository | `moved`, `refused` |
//! | List Docker Repositories, List Docker Tags | `deleted`, `system` |
//! | Deletion and clean-up, by V1, by V2 and by path | `deleted` |
//! | Users, groups, permission targets, tokens | `security`, `python` |
//! | System ping, version | `system` |
//! | Set Me Up, reverse proxy configuration | `guides` |
#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

mod deleted;
mod found;
mod guides;
mod items;
mod moved;
mod python;
mod refused;
mod repositories;
mod security;
mod system;

use serde_json::Value;
use supercargo_tests::Server;
use supercargo_tests::program::{Printed, require, run};
use supercargo_tests::random::Random;
use supercargo_tests::v1::{Chain, V1Client, Version, Wire};

/// Runs curl, which fails with the answer where that is an error.
fn curl(arguments: &[&str]) -> Printed {
    run(require("curl").args(["--silent", "--show-error", "--fail-with-body"]).args(arguments))
}

/// Runs curl as somebody, and answers with the status and the body.
fn curl_as(login: &str, arguments: &[&str]) -> (u16, String) {
    let told = run(require("curl")
        .args(["--silent", "--show-error", "--user", login, "--write-out", "\n%{http_code}"])
        .args(arguments));
    let (body, status) = told.text.rsplit_once('\n').unwrap();
    (status.parse().unwrap(), body.to_owned())
}

/// Runs an example of the documentation by a shell, as it stands there but for the host; answers with status and body.
#[track_caller]
fn example(server: &Server, line: &str) -> (u16, String) {
    let line = line.replace("localhost:8081", &server.address().to_string());
    let line = format!("{line} --silent --show-error --write-out '\n%{{http_code}}'");
    let told = run(require("sh").args(["-c", &line]));
    let (body, status) = told.text.rsplit_once('\n').unwrap_or(("", &told.text));
    (status.parse().unwrap(), body.to_owned())
}

/// The same, of an example that is answered so, with JSON.
#[track_caller]
fn example_json(server: &Server, line: &str) -> Value {
    let (status, body) = example(server, line);
    assert_eq!(status, 200, "{line}: {body}");
    serde_json::from_str(&body).unwrap_or_else(|error| panic!("{line}: {error}: {body}"))
}

/// The status and the text of a refusal in Artifactory's shape.
#[track_caller]
fn refusal(body: &str) -> (u64, String) {
    let told: Value = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {body}"));
    let error = &told["errors"][0];
    (error["status"].as_u64().unwrap(), error["message"].as_str().unwrap().to_owned())
}

/// The members of a list under a name, as texts.
#[track_caller]
fn texts(told: &Value, list: &str, member: &str) -> Vec<String> {
    let list = told[list].as_array().unwrap_or_else(|| panic!("no {list}: {told}"));
    list.iter().map(|each| each[member].as_str().unwrap().to_owned()).collect()
}

/// A server whose `docker-local` speaks V1, with `jfrog/ubuntu` in it as docker of that time pushed it; and
/// `docker-local2`, which speaks V2.
fn old_server() -> (Server, V1Client, Chain) {
    let server = Server::settings().variable("SUPERCARGO_PRUNE__EMPTY_AFTER", "0s").start();
    server.cli(&["repo", "configure", "docker-local", "--docker-api-version", "V1"]).expect_success();
    server.cli(&["repo", "create", "docker-local2", "--docker-api-version", "V2"]).expect_success();
    let chain = Chain::generate(&mut Random::from_seed(9), Version::V1_9, 2, 100_000);
    let client = V1Client::new(Wire::plain(server.address()), Version::V1_9);
    client.push("jfrog/ubuntu", &["12.04", "latest"], &chain).unwrap();
    (server, client, chain)
}
