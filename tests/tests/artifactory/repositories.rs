//! Repositories by curl, and what their settings do to pushes.

use serde_json::json;
use supercargo_tests::{Image, Server};

use crate::curl;

fn set(server: &Server, method: &str, key: &str, settings: &serde_json::Value) -> String {
    let url = format!("http://{}/artifactory/api/repositories/{key}", server.address());
    let settings = settings.to_string();
    curl(&["--request", method, "--header", "Content-Type: application/json", "--data", &settings, &url]).text
}

#[test]
fn what_is_set_by_one_interface_is_seen_by_the_other() {
    let server = Server::start();
    let settings = json!({
        "rclass": "local", "packageType": "docker", "description": "d", "maxUniqueTags": 2, "dockerPort": 5444,
        "includesPattern": "team-a/**,team-b/**", "excludesPattern": "**/tmp/**", "xrayIndex": true,
    });
    assert_eq!(set(&server, "PUT", "made", &settings), "Successfully created repository 'made'");
    let shown = server.cli(&["--json", "repo", "show", "made"]).expect_success().json();
    let config = &shown["config"];
    assert_eq!((&config["max-unique-tags"], &config["docker-port"]), (&json!(2), &json!(5444)), "{shown}");
    assert_eq!(config["includes"], json!(["team-a/**", "team-b/**"]));
    assert_eq!(config["attributes"], json!([["xrayIndex", "true"]]));
    let arguments =
        ["repo", "configure", "made", "--max-unique-tags", "3", "--includes", "", "--excludes", "a/**,b"];
    let arguments = [&arguments[..], &["--docker-port", "0", "--blacked-out", "true"]].concat();
    let config = server.cli(&arguments).expect_success().json()["config"].clone();
    assert_eq!((&config["blacked-out"], &config["docker-port"]), (&json!(true), &json!(null)), "{config}");
    let url = format!("http://{}/artifactory/api/repositories/made", server.address());
    let shown = curl(&[&url]).json();
    for (member, value) in [
        ("maxUniqueTags", json!(3)),
        ("includesPattern", json!("**/*")),
        ("excludesPattern", json!("a/**,b")),
        ("blackedOut", json!(true)),
        ("xrayIndex", json!(true)),
        ("description", json!("d")),
    ] {
        assert_eq!(shown[member], value, "{member}: {shown}");
    }
    assert_eq!(shown.get("dockerPort"), None);
    let removed = curl(&["--request", "DELETE", &url]).text;
    assert!(removed.starts_with("Repository 'made' and all its content have been removed successfully."));
}

#[test]
fn pushes_are_held_to_the_limit_of_tags_and_to_the_patterns() {
    let server = Server::start();
    set(&server, "POST", "docker-local", &json!({ "maxUniqueTags": 2, "excludesPattern": "secret/**" }));
    let client = server.client();
    let image = Image::generate(1, 1, 1000);
    for tag in ["1", "2", "3"] {
        client.push_image("app", tag, &image).unwrap();
    }
    let tags = client.get("/v2/app/tags/list").unwrap().expect(200).json();
    assert_eq!(tags["tags"], json!(["2", "3"]));
    let refused = client.push_image("secret/app", "1", &image).unwrap_err().to_string();
    assert!(refused.contains("403") || refused.contains("DENIED"), "{refused}");
    set(&server, "POST", "docker-local", &json!({ "excludesPattern": "" }));
    client.push_image("secret/app", "1", &image).unwrap();
    server.stop().verify();
}
