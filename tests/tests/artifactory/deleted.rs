//! Lists, and deletion with what is cleaned up after it, in every form that the documentation names.

use serde_json::json;
use supercargo_tests::server::stored_files;
use supercargo_tests::{Image, Server};

use crate::{example, example_json, old_server, refusal, texts};

const DOCKER: &str = "http://localhost:8081/artifactory/api/docker";
const RAW: &str = "http://localhost:8081/artifactory/docker-local";
const STORAGE: &str = "http://localhost:8081/artifactory/api/storage/docker-local";

fn new_server() -> Server {
    // Large enough to be files of their own.
    let server = Server::settings().variable("SUPERCARGO_PRUNE__EMPTY_AFTER", "0s").start();
    for (seed, tag) in [(7, "1"), (8, "2")] {
        server.client().push_image("busybox", tag, &Image::generate(seed, 1, 200_000)).unwrap();
    }
    server
}

/// What the collector and the pruner do, and have done by then.
fn clean_up(server: &Server) {
    server.cli(&["gc"]).expect_success();
    server.cli(&["prune"]).expect_success();
}

fn delete(server: &Server, url: &str) -> (u16, String) {
    example(server, &format!("curl -uadmin:password -X DELETE \"{url}\""))
}

#[track_caller]
fn is_empty(server: &Server) {
    clean_up(server);
    let root = example_json(server, &format!("curl {STORAGE}"));
    assert_eq!(root["children"], json!([]), "{root}");
    assert_eq!(stored_files(&server.data()), 0);
}

#[test]
fn list_docker_repositories_and_tags() {
    let server = new_server();
    let told = example_json(&server, &format!("curl -uadmin:password {DOCKER}/docker-local/v2/_catalog"));
    assert_eq!(told, json!({ "repositories": ["busybox"] }));
    let told =
        example_json(&server, &format!("curl -uadmin:password {DOCKER}/docker-local/v2/busybox/tags/list"));
    assert_eq!(told, json!({ "name": "busybox", "tags": ["1", "2"] }));
    let (_, headers) = example(
        &server,
        &format!("curl -uadmin:password -I '{DOCKER}/docker-local/v2/busybox/tags/list?n=1'"),
    );
    assert!(headers.contains("rel=\"next\""), "{headers}");
    let (old, _, chain) = old_server();
    let told = example_json(&old, &format!("curl -uadmin:password {DOCKER}/docker-local/v2/_catalog"));
    assert_eq!(told, json!({ "repositories": ["jfrog/ubuntu"] }));
    let told = example_json(
        &old,
        &format!("curl -uadmin:password {DOCKER}/docker-local/v1/repositories/jfrog/ubuntu/tags"),
    );
    assert_eq!(told, json!({ "12.04": chain.id(), "latest": chain.id() }));
    let told =
        example_json(&old, &format!("curl -uadmin:password '{DOCKER}/docker-local/v1/search?q=ubuntu'"));
    assert_eq!(texts(&told, "results", "name"), ["jfrog/ubuntu"]);
}

#[test]
fn delete_an_image_by_its_path() {
    let server = new_server();
    assert_eq!(delete(&server, &format!("{RAW}/busybox/1")).0, 204);
    let told = example_json(&server, &format!("curl {DOCKER}/docker-local/v2/busybox/tags/list"));
    assert_eq!(told["tags"], json!(["2"]));
    assert_eq!(stored_files(&server.data()), 2);
    clean_up(&server);
    assert_eq!(stored_files(&server.data()), 1);
    assert_eq!(delete(&server, &format!("{RAW}/busybox")).0, 204);
    let (status, body) = delete(&server, &format!("{RAW}/busybox/2"));
    assert_eq!((status, refusal(&body).0), (404, 404));
    is_empty(&server);
    server.stop().verify();
}

#[test]
fn delete_a_v1_tag_then_its_repository() {
    let (server, client, chain) = old_server();
    assert_eq!(stored_files(&server.data()), 2);
    let url = format!("{DOCKER}/docker-local/v1/repositories/jfrog/ubuntu");
    assert_eq!(delete(&server, &format!("{url}/tags/12.04")).0, 200);
    let told = example_json(&server, &format!("curl {url}/tags"));
    assert_eq!(told, json!({ "latest": chain.id() }));
    assert_eq!(client.pull("jfrog/ubuntu", "latest").unwrap().ids(), chain.ids());
    for form in ["", "/", "/tags"] {
        client.push("jfrog/ubuntu", &["12.04"], &chain).unwrap();
        assert_eq!(delete(&server, &format!("{url}{form}")).0, 200, "{form:?}");
        assert_eq!(example(&server, &format!("curl {url}/tags")).0, 404, "{form:?}");
    }
    is_empty(&server);
    server.stop().verify();
}

#[test]
fn delete_in_a_v1_repository_by_path() {
    let (server, client, chain) = old_server();
    let image = format!("{RAW}/.images/{}/{}", &chain.id()[..2], chain.id());
    let base = format!("{RAW}/.images/{}/{}", &chain.images[0].id[..2], chain.images[0].id);
    for used in [&image, &base] {
        let size = server.log_size();
        let (status, body) = delete(&server, used);
        assert_eq!((status, refusal(&body).0, server.log_size()), (409, 409, size), "{body}");
    }
    assert_eq!(delete(&server, &format!("{RAW}/repositories/jfrog/ubuntu/12.04")).0, 204);
    assert_eq!(client.pull("jfrog/ubuntu", "latest").unwrap().ids(), chain.ids());
    assert_eq!(delete(&server, &image).0, 409);
    assert_eq!(delete(&server, &format!("{RAW}/repositories/jfrog/ubuntu")).0, 204);
    assert_eq!(delete(&server, &image).0, 204);
    assert_eq!(example(&server, &format!("curl {image}/json.json")).0, 404);
    is_empty(&server);
    server.stop().verify();
}
