//! Repositories by curl, and what their settings do to pushes.

use serde_json::json;
use supercargo_tests::{Image, Server};

use crate::{curl, example, example_json, refusal};

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

#[test]
fn repositories_are_made_changed_listed_and_deleted_as_the_reference_has_it() {
    let server = Server::start();
    let api = "http://localhost:8081/artifactory/api/repositories";
    let send = |method: &str, key: &str, body: &str| {
        let curl = format!("curl -u admin:password -X {method} -H 'Content-Type: application/json'");
        example(&server, &format!("{curl} -d '{body}' {api}/{key}"))
    };
    let body =
        r#"{"key":"docker-old","rclass":"local","packageType":"docker","dockerApiVersion":"V1","notes":"n"}"#;
    let made = "Successfully created repository 'docker-old'".to_owned();
    assert_eq!(send("PUT", "docker-old", body), (200, made));
    let told = example_json(&server, &format!("curl -u admin:password {api}/docker-old"));
    let expected = json!({
        "key": "docker-old", "rclass": "local", "packageType": "docker", "dockerApiVersion": "V1", "notes": "n",
        "description": "", "includesPattern": "**/*", "excludesPattern": "", "maxUniqueTags": 0, "blackedOut": false,
    });
    for (member, value) in expected.as_object().unwrap() {
        assert_eq!(told[member], *value, "{member}: {told}");
    }
    let changed = "Successfully updated repository 'docker-old'".to_owned();
    assert_eq!(send("POST", "docker-old", r#"{"description":"d"}"#), (200, changed));
    let list = format!("curl -u admin:password '{api}?type=local&packageType=docker'");
    let (status, body) = example(&server, &list);
    let told: serde_json::Value = serde_json::from_str(&body).unwrap();
    let row = json!({
        "key": "docker-old", "description": "d", "type": "LOCAL", "packageType": "Docker",
        "url": format!("http://{}/artifactory/docker-old", server.address()),
    });
    assert!(status == 200 && told.as_array().unwrap().contains(&row), "{told}");
    let size = server.log_size();
    for (method, key, body, expected) in [
        ("PUT", "docker-old", r#"{"rclass":"local","packageType":"docker"}"#, 400),
        ("PUT", "new", r#"{"packageType":"docker"}"#, 400),
        ("PUT", "new", r#"{"rclass":"remote","packageType":"docker"}"#, 400),
        ("PUT", "new", r#"{"rclass":"local","packageType":"maven"}"#, 400),
        ("PUT", "new", r#"{"key":"other","rclass":"local"}"#, 400),
        ("PUT", "a_b", r#"{"rclass":"local","packageType":"docker"}"#, 400),
        ("POST", "none", "{}", 404),
        ("DELETE", "none", "", 404),
        ("GET", "none", "", 404),
    ] {
        let (status, told) = send(method, key, body);
        assert_eq!(
            (status, refusal(&told).0),
            (expected, u64::from(expected)),
            "{method} {key} {body}: {told}"
        );
        assert_eq!(server.log_size(), size, "{method} {key} {body}");
    }
    let (status, text) = send("DELETE", "docker-old", "");
    assert_eq!(status, 200);
    assert!(
        text.starts_with("Repository 'docker-old' and all its content have been removed successfully."),
        "{text}"
    );
    server.stop().verify();
}

#[test]
fn what_is_blacked_out_is_not_listed_either() {
    let server = Server::start();
    for (key, version) in [("old", "V1"), ("new", "V2")] {
        server.cli(&["repo", "create", key, "--docker-api-version", version]).expect_success();
        set(&server, "POST", key, &json!({ "blackedOut": true }));
        for path in
            ["v2/_catalog", "v2/a/tags/list", "v1/search?q=a", "v1/repositories/a/tags", "v2/a/manifests/x"]
        {
            let url = format!("http://localhost:8081/artifactory/api/docker/{key}/{path}");
            let (status, body) = example(&server, &format!("curl '{url}'"));
            assert!(status == 404 && body.contains("is blacked out"), "{url}: {status} {body}");
        }
    }
}
