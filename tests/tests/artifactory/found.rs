//! Searches, as the reference's examples ask for them.

use serde_json::json;
use supercargo_tests::{Image, Server};

use crate::{example, example_json, old_server, refusal, texts};

const SEARCH: &str = "http://localhost:8081/artifactory/api/search";

fn new_server() -> (Server, Image) {
    let server = Server::start();
    let image = Image::generate(3, 1, 2_000);
    for (name, tag) in [("team-a/web", "1.0"), ("team-a/web", "latest"), ("team-b/web", "1.0")] {
        server.client().push_image(name, tag, &image).unwrap();
    }
    let item = "http://localhost:8081/artifactory/api/storage/docker-local/team-a/web/1.0/manifest.json";
    let set = format!("curl -X PUT '{item}?properties=os=win,linux;qa=done'");
    assert_eq!(example(&server, &set).0, 204);
    (server, image)
}

/// The paths of what an example finds.
#[track_caller]
fn finds(server: &Server, line: &str) -> Vec<String> {
    let told = example_json(server, &format!("curl -u admin:password {line}"));
    let uris = texts(&told, "results", "uri").into_iter();
    let mut paths: Vec<_> =
        uris.map(|uri| uri.split_once("/api/storage/docker-local/").unwrap().1.to_owned()).collect();
    paths.sort();
    paths
}

#[test]
fn property_search() {
    let (server, _) = new_server();
    let one = ["team-a/web/1.0/manifest.json"];
    let both = ["team-a/web/1.0/manifest.json", "team-a/web/latest/manifest.json"];
    assert_eq!(finds(&server, &format!("'{SEARCH}/prop?os=linux,mac&qa=done&repos=docker-local'")), one);
    assert_eq!(finds(&server, &format!("'{SEARCH}/prop?docker.repoName=team-a/web'")), both);
    assert_eq!(finds(&server, &format!("'{SEARCH}/prop?os=*&docker.manifest=1.?'")), one);
    assert_eq!(finds(&server, &format!("'{SEARCH}/prop?os=linux&qa=no'")), [""; 0]);
    let detail = format!("curl -H 'X-Result-Detail: info, properties' '{SEARCH}/prop?os=win'");
    let told = example_json(&server, &detail)["results"][0].clone();
    assert_eq!(told["path"], "/team-a/web/1.0/manifest.json");
    assert_eq!(told["originalChecksums"], told["checksums"]);
    assert_eq!(told["properties"]["os"], json!(["win", "linux"]));
}

#[test]
fn property_search_of_a_v1_repository() {
    let (server, _, chain) = old_server();
    assert_eq!(
        finds(&server, &format!("'{SEARCH}/prop?docker.repoName=jfrog/ubuntu'")),
        [
            "repositories/jfrog/ubuntu",
            "repositories/jfrog/ubuntu/12.04/tag.json",
            "repositories/jfrog/ubuntu/latest/tag.json",
        ]
    );
    let image = |file: &str| format!(".images/{}/{}/{file}", &chain.id()[..2], chain.id());
    let found = finds(&server, &format!("'{SEARCH}/prop?docker.imageId={}'", chain.id()));
    assert_eq!(found, [image("json.json"), image("layer.tar")]);
}

#[test]
fn artifact_and_checksum_search() {
    let (server, image) = new_server();
    let found = finds(&server, &format!("'{SEARCH}/artifact?name=MANIFEST.*&repos=docker-local'"));
    assert_eq!(found.len(), 3);
    let layer = image.blobs().last().unwrap().digest.strip_prefix("sha256:").unwrap().to_owned();
    let folders = ["team-a/web/1.0", "team-a/web/latest", "team-b/web/1.0"];
    let files = folders.map(|folder| format!("{folder}/sha256__{layer}"));
    assert_eq!(finds(&server, &format!("'{SEARCH}/checksum?sha256={layer}&repos=docker-local'")), files);
}

#[test]
fn artifactory_query_language() {
    let (server, _) = new_server();
    let aql = |query: &str| {
        let curl = "curl -u admin:password -X POST -H 'Content-Type: text/plain'";
        example(&server, &format!("{curl} {SEARCH}/aql -d '{query}'"))
    };
    let query = r#"items.find({"repo":{"$eq":"docker-local"},"name":{"$match":"manifest*"},"@os":"linux"})"#;
    let (status, body) = aql(query);
    let told: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        (status, &told["range"]),
        (200, &json!({ "start_pos": 0, "end_pos": 1, "total": 1 })),
        "{body}"
    );
    let row = &told["results"][0];
    assert_eq!((&row["repo"], &row["path"]), (&json!("docker-local"), &json!("team-a/web/1.0")));
    assert_eq!((&row["name"], &row["type"]), (&json!("manifest.json"), &json!("file")));
    for member in ["size", "created", "created_by", "modified", "modified_by", "updated"] {
        assert!(!row[member].is_null(), "{member}: {row}");
    }
    let sorted = r#"items.find({"$or":[{"path":"team-b/web/1.0"},{"@qa":{"$ne":"x"}}],"name":"manifest.json"})
        .include("path").sort({"$desc":["path"]}).offset(0).limit(1)"#;
    let (status, body) = aql(sorted);
    let told: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &told["results"]), (200, &json!([{ "path": "team-b/web/1.0" }])), "{body}");
    let (status, body) = aql(r#"items.find({"repo":"#);
    assert_eq!(status, 400);
    assert!(refusal(&body).1.starts_with("Failed to parse query"), "{body}");
}
