//! Promotion and migration, as the documentation's examples ask for them.

use serde_json::{Value, json};
use supercargo_tests::http::Request;
use supercargo_tests::image::{DOCKER_MANIFEST, Image};
use supercargo_tests::{Server, image};

use crate::{example, example_json, old_server, refusal};

const DOCKER: &str = "http://localhost:8081/artifactory/api/docker";

/// Promotes out of `docker-local`, as the documentation has it.
fn promote(server: &Server, version: &str, body: &Value) -> (u16, String) {
    let curl = "curl -uadmin:password -X POST -H \"Content-Type: application/json\"";
    example(server, &format!("{curl} \"{DOCKER}/docker-local/{version}/promote\" -d '{body}'"))
}

/// Migrates `docker-local`, as the documentation has it.
fn migrate(server: &Server, accept: &str, query: &str, body: &Value) -> (u16, String) {
    let curl = "curl -uadmin:password -X POST -H \"Content-Type: application/json\"";
    let url = format!("{DOCKER}/docker-local/v1/migrate{query}");
    example(server, &format!("{curl} -H 'Accept: {accept}' \"{url}\" -d '{body}'"))
}

fn tags(server: &Server, key: &str, name: &str) -> Vec<String> {
    let (status, body) = example(server, &format!("curl {DOCKER}/{key}/v2/{name}/tags/list"));
    if status == 404 {
        return Vec::new();
    }
    let told: Value = serde_json::from_str(&body).unwrap();
    told["tags"].as_array().unwrap().iter().map(|tag| tag.as_str().unwrap().to_owned()).collect()
}

const DONE: &str = "Promotion ended successfully";

#[test]
fn promote_docker_image() {
    let server = Server::start();
    server.cli(&["repo", "create", "docker-prod", "--docker-api-version", "V2"]).expect_success();
    let first = Image::generate(4, 2, 2_000);
    server.client().push_image("jfrog/ubuntu", "rc1", &first).unwrap();
    server.client().push_image("jfrog/ubuntu", "rc2", &Image::generate(5, 1, 2_000)).unwrap();
    let says = |body: Value| {
        let (status, text) = promote(&server, "v2", &body);
        assert_eq!((status, text.as_str()), (200, DONE), "{body}");
    };
    // Copied, and called otherwise.
    says(json!({
        "targetRepo": "docker-prod", "dockerRepository": "jfrog/ubuntu", "tag": "rc1", "targetTag": "1.0", "copy": true,
    }));
    assert_eq!(tags(&server, "docker-prod", "jfrog/ubuntu"), ["1.0"]);
    assert_eq!(tags(&server, "docker-local", "jfrog/ubuntu"), ["rc1", "rc2"]);
    let path = "/artifactory/api/docker/docker-prod/v2/jfrog/ubuntu/manifests/1.0";
    let pulled = server.client().get(path).unwrap().expect(200);
    assert_eq!(pulled.body, first.manifest.bytes);
    // Moved, under another name; null and empty are as good as nothing.
    says(json!({
        "targetRepo": "docker-prod", "dockerRepository": "jfrog/ubuntu", "targetDockerRepository": "jfrog/debian",
        "tag": "rc2", "targetTag": null, "copy": false,
    }));
    assert_eq!(tags(&server, "docker-prod", "jfrog/debian"), ["rc2"]);
    assert_eq!(tags(&server, "docker-local", "jfrog/ubuntu"), ["rc1"]);
    // The whole name, which is moved where nothing else is said.
    says(json!({ "targetRepo": "docker-prod", "dockerRepository": "jfrog/ubuntu", "tag": "" }));
    assert_eq!(tags(&server, "docker-prod", "jfrog/ubuntu"), ["1.0", "rc1"]);
    assert_eq!(tags(&server, "docker-local", "jfrog/ubuntu"), [""; 0]);
    server.stop().verify();
}

#[test]
fn promote_in_v1_repositories() {
    let (server, client, chain) = old_server();
    server.cli(&["repo", "create", "docker-prod", "--docker-api-version", "V1"]).expect_success();
    let body = json!({
        "targetRepo": "docker-prod", "dockerRepository": "jfrog/ubuntu", "tag": "12.04", "targetTag": "stable",
        "copy": false,
    });
    assert_eq!(promote(&server, "v1", &body), (200, DONE.to_owned()));
    let v1 = "v1/repositories/jfrog/ubuntu/tags";
    let listed = |key: &str| example_json(&server, &format!("curl {DOCKER}/{key}/{v1}"));
    assert_eq!(listed("docker-prod"), json!({ "stable": chain.id() }));
    assert_eq!(listed("docker-local"), json!({ "latest": chain.id() }));
    assert_eq!(client.pull("jfrog/ubuntu", "latest").unwrap().ids(), chain.ids());
    // Between the two ways to keep images it is migration.
    let body = json!({ "targetRepo": "docker-local2", "dockerRepository": "jfrog/ubuntu", "copy": true });
    let (status, text) = promote(&server, "v1", &body);
    assert_eq!((status, refusal(&text).0), (400, 400), "{text}");
    server.stop().verify();
}

#[test]
fn migrate_a_tag_a_name_and_a_repository() {
    let (server, client, chain) = old_server();
    client.push("jfrog/debian", &["7"], &chain).unwrap();
    let one = json!({ "targetRepo": "docker-local2", "dockerRepository": "jfrog/ubuntu", "tag": "12.04" });
    let (status, text) = migrate(&server, "*/*", "", &one);
    assert_eq!(status, 200, "{text}");
    assert!(text.starts_with("Migration ended successfully: 1 migrated, 0 unchanged, 0 failed"), "{text}");
    assert_eq!(tags(&server, "docker-local2", "jfrog/ubuntu"), ["12.04"]);
    // The documentation's own example.
    let name = json!({ "targetRepo": "docker-local2", "dockerRepository": "jfrog/ubuntu", "tag": "" });
    let (status, text) = migrate(&server, "application/json", "", &name);
    let told: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (status, &told["migrated"][0]["tag"], &told["failed"]),
        (200, &json!("latest"), &json!([])),
        "{text}"
    );
    assert_eq!(
        (&told["unchanged"][0]["tag"], &told["unchanged"][0]["repo"]),
        (&json!("12.04"), &json!("jfrog/ubuntu"))
    );
    let (status, text) =
        migrate(&server, "application/x-ndjson", "", &json!({ "targetRepo": "docker-local2" }));
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let last = lines.last().unwrap();
    assert_eq!(
        (status, &last["counts"]["migrated"], &last["counts"]["unchanged"]),
        (200, &json!(1), &json!(2)),
        "{text}"
    );
    // The source is as it was, and once more changes nothing.
    assert_eq!(client.pull("jfrog/debian", "7").unwrap().ids(), chain.ids());
    let size = server.log_size();
    assert_eq!(migrate(&server, "*/*", "", &json!({ "targetRepo": "docker-local2" })).0, 200);
    assert_eq!(server.log_size(), size);
    // What a docker of today pulls.
    let path = "/artifactory/api/docker/docker-local2/v2/jfrog/ubuntu/manifests/12.04";
    let request = Request::new("GET", path).header("Accept", DOCKER_MANIFEST);
    let manifest =
        server.client().send(&request).unwrap().expect(200).expect_header("Content-Type", DOCKER_MANIFEST);
    assert_eq!(manifest.json()["layers"].as_array().unwrap().len(), chain.images.len());
    assert_eq!(manifest.require("Docker-Content-Digest"), image::sha256(&manifest.body));
    server.stop().verify();
}

#[test]
fn migrate_onto_what_others_pushed() {
    let (server, _, _) = old_server();
    let put = |image: &Image| {
        let api = "/artifactory/api/docker/docker-local2/v2/jfrog/ubuntu";
        for blob in image.blobs() {
            let path = format!("{api}/blobs/uploads/?digest={}", blob.digest);
            server.client().send(&Request::new("POST", &path).body(&*blob.bytes)).unwrap().expect(201);
        }
        let manifest = Request::new("PUT", &format!("{api}/manifests/latest"))
            .header("Content-Type", image::OCI_MANIFEST);
        server.client().send(&manifest.body(&*image.manifest.bytes)).unwrap().expect(201);
    };
    let pushed = Image::generate(6, 1, 2_000);
    put(&pushed);
    let body = json!({ "targetRepo": "docker-local2", "dockerRepository": "jfrog/ubuntu" });
    let (status, text) = migrate(&server, "application/json", "", &body);
    let told: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (status, &told["migrated"][0]["tag"], &told["failed"][0]["tag"]),
        (409, &json!("12.04"), &json!("latest"))
    );
    assert!(told["failed"][0]["reason"].as_str().unwrap().len() > 10, "{text}");
    let (status, text) = migrate(&server, "*/*", "", &body);
    assert_eq!(status, 409);
    assert!(text.contains("jfrog/ubuntu:latest: "), "{text}");
    let digest = || {
        server.client().get("/artifactory/api/docker/docker-local2/v2/jfrog/ubuntu/manifests/latest").unwrap()
    };
    assert_eq!(digest().expect(200).require("Docker-Content-Digest"), pushed.manifest.digest);
    assert_eq!(migrate(&server, "*/*", "?force=true", &body).0, 200);
    assert_ne!(digest().expect(200).require("Docker-Content-Digest"), pushed.manifest.digest);
    server.stop().verify();
}
