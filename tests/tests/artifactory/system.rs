//! What clients ask before anything else, and listings of repositories that speak V1 alone.

use serde_json::json;
use supercargo_tests::Server;
use supercargo_tests::http::Request;

use crate::curl;

#[test]
fn a_server_says_that_it_is_there_and_what_it_is() {
    let server = Server::start();
    let base = format!("http://{}/artifactory", server.address());
    assert_eq!(curl(&[&format!("{base}/api/system/ping")]).text, "OK");
    let version = curl(&[&format!("{base}/api/system/version")]).json();
    assert!(version["version"].as_str().unwrap().starts_with("7."), "{version}");
    let list = curl(&[&format!("{base}/api/repositories")]).json();
    assert_eq!(list[0]["url"], format!("{base}/docker-local"), "{list}");
    assert!(curl(&[&format!("http://{}/metrics", server.address())]).text.contains("route=\"system\""));
}

#[test]
fn names_of_a_v1_repository_are_listed_and_no_docker_takes_it_for_v2() {
    let server = Server::start();
    server.cli(&["repo", "create", "old", "--docker-api-version", "V1"]).expect_success();
    let client = server.client();
    let path = "/artifactory/api/docker/old/v2";
    let listed = client.get(&format!("{path}/_catalog")).unwrap().expect(200);
    assert_eq!(listed.json(), json!({ "repositories": [] }));
    assert_eq!(listed.header("Docker-Distribution-Api-Version"), None);
    for (method, below) in [("GET", "/"), ("GET", "/a/manifests/x"), ("POST", "/a/blobs/uploads/")] {
        let refused = client.send(&Request::new(method, &format!("{path}{below}"))).unwrap().expect(404);
        assert_eq!(refused.header("Docker-Distribution-Api-Version"), None, "{method} {below}");
    }
    let v2 = client.get("/artifactory/api/docker/docker-local/v2/_catalog").unwrap().expect(200);
    assert_eq!(v2.header("Docker-Distribution-Api-Version"), Some("registry/2.0"));
}
