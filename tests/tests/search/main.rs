//! Searches of what clients pushed, against the real binary: over Artifactory's paths, and by the command line.
#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

use std::collections::BTreeSet;

use serde_json::{Value, json};
use supercargo_tests::accounts::{Guarded, PASSWORD, basic};
use supercargo_tests::http::{Request, Response};
use supercargo_tests::v1::{Chain, V1Client, Version, Wire};
use supercargo_tests::{Image, Random, Server};

const API: &str = "/artifactory/api";

fn get(server: &Server, path: &str) -> Response {
    server.client().send(&Request::new("GET", &format!("{API}/search/{path}"))).unwrap()
}

/// The paths that were found, below the storage interface.
fn paths(found: &Value) -> BTreeSet<String> {
    let results = found["results"].as_array().unwrap();
    let uris = results.iter().map(|result| result["uri"].as_str().unwrap());
    uris.map(|uri| uri.split_once("/api/storage/").unwrap().1.to_owned()).collect()
}

fn aql(server: &Server, query: &str) -> Response {
    let request = Request::new("POST", &format!("{API}/search/aql")).header("Content-Type", "text/plain");
    server.client().send(&request.body(query)).unwrap()
}

fn set(texts: &[&str]) -> BTreeSet<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

/// A server with four tags, three of them on one image.
fn filled() -> (Server, Image) {
    let server = Server::start();
    let image = Image::generate(1, 2, 2_000);
    for (name, tag) in [("team-a/web", "1.0"), ("team-a/web", "latest"), ("team-b/web", "1.0")] {
        server.client().push_image(name, tag, &image).unwrap();
    }
    server.client().push_image("team-b/other", "1.0", &Image::generate(2, 1, 2_000)).unwrap();
    (server, image)
}

#[test]
fn what_docker_pushed_is_found_by_its_properties() {
    let (server, image) = filled();
    let manifest = |of: &str| format!("docker-local/{of}/manifest.json");
    for (query, expected) in [
        ("docker.repoName=team-a/web", vec!["team-a/web/1.0", "team-a/web/latest"]),
        ("docker.repoName=team-a/*&docker.manifest=1.0", vec!["team-a/web/1.0"]),
        ("docker.manifest=1.0&docker.repoName=*/web", vec!["team-a/web/1.0", "team-b/web/1.0"]),
        ("docker.manifest=latest,none", vec!["team-a/web/latest"]),
        ("docker.repoName=team-b/other&docker.manifest=", vec!["team-b/other/1.0"]),
        ("docker.repoName=team-a/web&repos=elsewhere", vec![]),
        ("docker.repoName=none", vec![]),
    ] {
        let found = get(&server, &format!("prop?{query}")).expect(200);
        let expected: BTreeSet<String> = expected.into_iter().map(manifest).collect();
        assert_eq!(paths(&found.json()), expected, "{query}");
    }
    let digest = &image.manifest.digest;
    let found = get(&server, &format!("prop?docker.manifest.digest={digest}")).expect(200).json();
    assert_eq!(paths(&found).len(), 3);
    get(&server, "prop").expect(400);
    get(&server, "prop?repos=docker-local").expect(400);
}

#[test]
fn files_are_found_by_name_and_by_checksum() {
    let (server, image) = filled();
    let found = get(&server, "artifact?name=MANIFEST&repos=docker-local").expect(200).json();
    assert_eq!(paths(&found).len(), 4);
    let layer = image.blobs().last().unwrap().digest.strip_prefix("sha256:").unwrap().to_owned();
    let expected: BTreeSet<String> = ["team-a/web/1.0", "team-a/web/latest", "team-b/web/1.0"]
        .iter()
        .map(|folder| format!("docker-local/{folder}/sha256__{layer}"))
        .collect();
    let found = get(&server, &format!("checksum?sha256={}", layer.to_uppercase())).expect(200).json();
    assert_eq!(paths(&found), expected);
    let found = get(&server, &format!("artifact?name=*{}*", &layer[10..])).expect(200).json();
    assert_eq!(paths(&found), expected);
    for bad in ["checksum", "checksum?sha256=ab", "artifact", "artifact?name=", "artifact?title=x"] {
        get(&server, bad).expect(400);
    }
}

#[test]
fn results_say_more_where_more_is_asked_for() {
    let (server, _) = filled();
    let path = format!("{API}/search/prop?docker.repoName=team-b/other");
    let request = Request::new("GET", &path).header("X-Result-Detail", "info, properties");
    let found = server.client().send(&request).unwrap().expect(200).json();
    let result = &found["results"][0];
    assert_eq!(result["repo"], "docker-local");
    assert_eq!(result["path"], "/team-b/other/1.0/manifest.json");
    assert_eq!(result["properties"]["docker.manifest"], json!(["1.0"]));
    assert!(
        result["downloadUri"]
            .as_str()
            .unwrap()
            .ends_with("/artifactory/docker-local/team-b/other/1.0/manifest.json")
    );
    assert_eq!(result["checksums"]["sha256"].as_str().unwrap().len(), 64);
    let request = Request::new("GET", &path).header("X-Result-Detail", "everything");
    server.client().send(&request).unwrap().expect(400);
}

#[test]
fn aql_finds_sorts_and_pages() {
    let (server, _) = filled();
    let all = aql(&server, r#"items.find({"name":"manifest.json"}).sort({"$asc":["path"]}).include("path")"#);
    let all = all.expect(200).json();
    let folders: Vec<&str> =
        all["results"].as_array().unwrap().iter().map(|row| row["path"].as_str().unwrap()).collect();
    assert_eq!(folders, ["team-a/web/1.0", "team-a/web/latest", "team-b/other/1.0", "team-b/web/1.0"]);
    assert_eq!(all["range"], json!({"start_pos": 0, "end_pos": 4, "total": 4}));

    let page =
        r#"items.find({"name":"manifest.json"}).sort({"$desc":["path"]}).offset(1).limit(2).include("path")"#;
    let page = aql(&server, page).expect(200).json();
    assert_eq!(page["results"], json!([{"path": "team-b/other/1.0"}, {"path": "team-a/web/latest"}]));
    assert_eq!(page["range"], json!({"start_pos": 1, "end_pos": 3, "total": 2, "limit": 2}));

    let query = r#"items.find({"$or":[{"@docker.repoName":"team-b/other"},{"@docker.manifest":"latest"}]})
        .include("name","path","property.*")"#;
    let found = aql(&server, query).expect(200).json();
    let found = found["results"].as_array().unwrap().clone();
    assert_eq!(found.len(), 2);
    for row in &found {
        let pairs = row["properties"].as_array().unwrap();
        assert!(pairs.iter().any(|pair| pair["key"] == "docker.repoName"), "{row}");
    }

    let folders = aql(&server, r#"items.find({"type":"folder","depth":1})"#).expect(200).json();
    let row = &folders["results"][0];
    assert_eq!((&row["path"], &row["type"], &row["size"]), (&json!("."), &json!("folder"), &json!(0)));
    for member in ["repo", "name", "created", "created_by", "modified", "modified_by", "updated"] {
        assert!(row[member].is_string(), "{member}: {row}");
    }
    let recent = aql(&server, r#"items.find({"created":{"$last":"1d"}}).include("name")"#).expect(200).json();
    assert_eq!(recent["range"]["total"], 4 + 3 * 3 + 2);

    let refused = aql(&server, "items.find({\"name\":}").expect(400);
    assert!(refused.text().contains("line 1, column 20"), "{}", refused.text());
}

#[test]
fn what_old_clients_pushed_is_found_by_its_images() {
    let mut random = Random::from_environment("what_old_clients_pushed_is_found_by_its_images");
    let server = Server::start();
    server.cli(&["repo", "configure", "docker-local", "--docker-api-version", "V1"]).expect_success();
    let chain = Chain::generate(&mut random, Version::ALL[0], 2, 2_000);
    let client = V1Client::new(Wire::plain(server.address()), Version::ALL[0]);
    client.push("web", &["1.0"], &chain).unwrap();
    let id = &chain.images.last().unwrap().id;
    let tag = "docker-local/repositories/library/web/1.0/tag.json";
    let folder = "docker-local/repositories/library/web";
    let image = |file: &str| format!("docker-local/.images/{}/{id}/{file}", &id[..2]);
    for (query, expected) in [
        ("docker.repoName=library/web".to_owned(), set(&[tag, folder])),
        (format!("docker.tag.content={id}"), set(&[tag])),
        ("docker.tag.name=1.0".to_owned(), set(&[tag])),
        (format!("docker.imageId={id}"), BTreeSet::from([image("json.json"), image("layer.tar")])),
    ] {
        let found = get(&server, &format!("prop?{query}")).expect(200).json();
        assert_eq!(paths(&found), expected, "{query}");
    }
}

#[test]
fn only_what_may_be_read_is_found() {
    let guarded = Guarded::start(Server::settings());
    guarded.user("ann", "team-a/**", "read");
    let admin = basic("admin", PASSWORD);
    let image = Image::generate(3, 1, 2_000);
    guarded.push("team-a/web", "1.0", &image, &admin);
    guarded.push("team-b/web", "1.0", &image, &admin);
    let ann = basic("ann", PASSWORD);
    let find = |login: Option<&str>| {
        let request = Request::new("POST", &format!("{API}/search/aql"));
        guarded.send(request.body(r#"items.find({"@docker.manifest":"1.0"}).include("path")"#), login)
    };
    let found = find(Some(&ann)).expect(200).json();
    assert_eq!(found["results"], json!([{"path": "team-a/web/1.0"}]));
    assert_eq!(find(Some(&admin)).expect(200).json()["range"]["total"], 2);
    find(None).expect(401);
    let path = format!("{API}/search/prop?docker.manifest=1.0");
    let found = guarded.ask("GET", &path, Some(&ann)).expect(200).json();
    assert_eq!(paths(&found), set(&["docker-local/team-a/web/1.0/manifest.json"]));
}

#[test]
fn the_command_line_finds_the_same_on_a_server_and_in_a_folder() {
    let (server, image) = filled();
    let digest = image.manifest.digest.strip_prefix("sha256:").unwrap();
    let searches: [&[&str]; 4] = [
        &["--json", "search", "--property", "docker.manifest=1.*", "--repo", "docker-local"],
        &["--json", "search", "--name", "manifest*", "--limit", "2"],
        &["--json", "search", "--checksum", digest],
        &["--json", "search", "--aql", r#"items.find({"@docker.repoName":{"$match":"team-b/*"}})"#],
    ];
    let asked: Vec<_> =
        searches.iter().map(|search| server.cli(search).expect_success().json_lines()).collect();
    let counts: Vec<usize> = asked.iter().map(Vec::len).collect();
    assert_eq!(counts, [3, 2, 3, 2]);
    assert_eq!(asked[2][0]["sha256"], digest);
    let refused = server.cli(&["search", "--aql", "items.find("]);
    assert_eq!(refused.status.code(), Some(2), "{}", refused.stderr);
    assert!(!server.cli(&["search"]).status.success());
    let stopped = server.stop();
    let local: Vec<_> =
        searches.iter().map(|search| stopped.cli(search).expect_success().json_lines()).collect();
    assert_eq!(local, asked);
}
