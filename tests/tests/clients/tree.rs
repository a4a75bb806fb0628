//! The tree as curl sees it through Artifactory's interface, of what skopeo and a client of the old protocol pushed; and as
//! the command line does, on the server and on its data folder.

use serde_json::{Value, json};
use supercargo_tests::image::write_layout;
use supercargo_tests::program::{Printed, require, run, skopeo};
use supercargo_tests::random::Random;
use supercargo_tests::v1::{Chain, V1Client, Version, Wire};
use supercargo_tests::{Image, Server};

fn curl(arguments: &[&str]) -> Printed {
    run(require("curl").args(["--silent", "--show-error", "--fail-with-body"]).args(arguments))
}

/// The status of a request without a body.
fn status(method: &str, url: &str) -> String {
    let written =
        ["--silent", "--output", "/dev/null", "--write-out", "%{http_code}", "--request", method, url];
    run(require("curl").args(written)).text
}

fn uris(list: &Value, of: &str) -> Vec<String> {
    list[of].as_array().unwrap().iter().map(|item| item["uri"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn what_skopeo_pushed_is_a_tree_with_properties() {
    let server = Server::start();
    let folder = tempfile::tempdir().unwrap();
    let image = Image::generate(1, 2, 200_000);
    write_layout(&folder.path().join("layout"), &[("x", &image)], None).unwrap();
    let layout = format!("oci:{}:x", folder.path().join("layout").display());
    let remote = format!("docker://{}", server.reference("team/app:v1"));
    let copy = ["copy", "--quiet", "--preserve-digests", "--dest-tls-verify=false"];
    run(skopeo(&copy).args([layout, remote]));

    let base = format!("http://{}/artifactory", server.address());
    let storage = format!("{base}/api/storage/docker-local/team/app/v1");
    assert_eq!(uris(&curl(&[&storage]).json(), "children").len(), 4);
    let manifest = curl(&[&format!("{storage}/manifest.json")]).json();
    assert_eq!(manifest["checksums"]["sha256"], image.manifest.digest["sha256:".len()..]);
    let raw = curl(&[manifest["downloadUri"].as_str().unwrap()]);
    assert_eq!(raw.text.as_bytes(), image.manifest.bytes.as_slice());

    let set = format!("{storage}?properties=state=approved,final%7Cby=ann%5C,bob");
    assert_eq!(status("PUT", &set), "204");
    let said = server.cli(&["properties", "get", "docker-local", "team/app/v1"]).expect_success().json();
    assert_eq!(said, json!({ "state": ["approved", "final"], "by": ["ann,bob"] }));
    let unset = ["properties", "unset", "docker-local", "team/app/v1", "by", "--recursive"];
    server.cli(&unset).expect_success();
    let properties = curl(&[&format!("{storage}/manifest.json?properties=state,by")]).json();
    assert_eq!(properties["properties"], json!({ "state": ["approved", "final"] }));

    let listed = server.cli(&["tree", "ls", "docker-local", "team/app"]).expect_success().json_lines();
    assert_eq!(listed[0]["path"], "team/app/v1");
    assert_eq!(status("DELETE", &format!("{base}/docker-local/team/app/v1")), "204");
    assert_eq!(status("GET", &storage), "404");
    let stopped = server.stop();
    assert_eq!(
        stopped.cli(&["tree", "ls", "docker-local", "team/app"]).expect_success().json_lines().len(),
        0
    );
    stopped.verify();
}

#[test]
fn what_an_old_client_pushed_has_the_old_layout() {
    let server = Server::start();
    server.cli(&["repo", "configure", "docker-local", "--docker-api-version", "V1"]).expect_success();
    let chain = Chain::generate(&mut Random::from_seed(7), Version::V1_9, 2, 100_000);
    let client = V1Client::new(Wire::plain(server.address()), Version::V1_9);
    client.push("ubuntu", &["12.04"], &chain).unwrap();

    let base = format!("http://{}/artifactory", server.address());
    let storage = format!("{base}/api/storage/docker-local");
    let files = uris(&curl(&[&format!("{storage}?list&deep=1")]).json(), "files");
    assert_eq!(files.len(), 2 * 4 + 2, "{files:?}");
    let top = format!(".images/{}/{}", &chain.id()[..2], chain.id());
    assert!(files.contains(&format!("/{top}/layer.tar")), "{files:?}");
    let ancestry = curl(&[&format!("{base}/docker-local/{top}/ancestry.json")]).json();
    assert_eq!(ancestry[0], chain.id());
    let tag = "repositories/library/ubuntu/12.04/tag.json";
    let properties = curl(&[&format!("{storage}/{tag}?properties")]).json();
    assert_eq!(properties["properties"]["docker.tag.content"], json!([chain.id()]));
    assert_eq!(properties["properties"]["docker.repoName"], json!(["library/ubuntu"]));

    assert_eq!(status("DELETE", &format!("{base}/docker-local/{top}")), "409");
    assert_eq!(status("DELETE", &format!("{base}/docker-local/{tag}")), "204");
    assert_eq!(status("DELETE", &format!("{base}/docker-local/{top}")), "204");
    assert_eq!(status("GET", &format!("{storage}/{top}")), "404");
    server.stop().verify();
}
