//! What can't be meant: refused in Artifactory's shape, and nothing has changed.

use serde_json::json;
use supercargo_tests::http::Request;
use supercargo_tests::{Image, Server};

use crate::{old_server, refusal};

/// Sends each, and expects a refusal of that status, or of any where it is 0.
fn refuses(server: &Server, requests: impl IntoIterator<Item = (u16, Request)>) {
    let size = server.log_size();
    for (status, request) in requests {
        let answer = server.client().send(&request).unwrap();
        let shown = format!("{request}: {answer:?}").chars().take(600).collect::<String>();
        assert!((400..500).contains(&answer.status), "{shown}");
        assert!(status == 0 || answer.status == status, "not {status}: {shown}");
        assert_eq!(answer.header("Content-Type"), Some("application/json"), "{shown}");
        let (told, message) = refusal(&answer.text());
        assert!(told == u64::from(answer.status) && !message.is_empty(), "{shown}");
        assert_eq!(server.log_size(), size, "{shown}");
    }
}

fn post(path: &str, body: impl Into<Vec<u8>>) -> Request {
    let request = Request::new("POST", &format!("/artifactory/api/{path}"));
    request.header("Content-Type", "application/json").body(body)
}

/// Bodies that are no object of the members that one has, whichever they are.
fn no_objects() -> Vec<Vec<u8>> {
    let mut bodies: Vec<Vec<u8>> = [
        "",
        "{",
        "[]",
        "null",
        "1",
        "\"x\"",
        "{}",
        "{\"targetRepo\":null}",
        "{\"targetRepo\":\"\"}",
        "\u{feff}{}",
    ]
    .map(|text| text.as_bytes().to_vec())
    .into();
    bodies.push(b"{\"targetRepo\":\"\xff\"}".to_vec());
    bodies.push(vec![b'['; 100_000]);
    bodies.push([vec![b' '; 100_000], b"x".to_vec()].concat());
    bodies
}

/// Values that are no name or tag of anything.
fn no_names() -> Vec<serde_json::Value> {
    let long = "a".repeat(300);
    let texts = ["../x", "a/../b", "A B", "a\u{0}b", "a\nb", "a\u{1b}[2J", "-", "a//b", "ü", "%2e%2e", &long];
    texts.iter().map(|text| json!(text)).chain([json!(1), json!([]), json!({}), json!(true)]).collect()
}

#[test]
fn promotions_that_can_not_be_meant() {
    let server = Server::start();
    for (key, version) in [("docker-prod", "V2"), ("docker-old", "V1")] {
        server.cli(&["repo", "create", key, "--docker-api-version", version]).expect_success();
    }
    server.client().push_image("team/app", "1", &Image::generate(1, 1, 2_000)).unwrap();
    let promote = |body: serde_json::Value| post("docker/docker-local/v2/promote", body.to_string());
    let good =
        json!({ "targetRepo": "docker-prod", "dockerRepository": "team/app", "tag": "1", "copy": true });
    let with = |member: &str, value: serde_json::Value| {
        let mut body = good.clone();
        body[member] = value;
        promote(body)
    };
    refuses(
        &server,
        no_objects().into_iter().map(|body| (400, post("docker/docker-local/v2/promote", body))),
    );
    for member in ["targetRepo", "dockerRepository", "targetDockerRepository", "tag", "targetTag"] {
        refuses(&server, no_names().into_iter().map(|value| (400, with(member, value))));
    }
    let twice = r#"{"targetRepo":"docker-prod","targetRepo":"docker-local","dockerRepository":"team/app"}"#;
    let full = vec![b' '; 2 * 1024 * 1024];
    let requests = [
        (404, with("targetRepo", json!("none"))),
        (404, with("dockerRepository", json!("team/none"))),
        (404, with("tag", json!("none"))),
        (400, with("copy", json!("yes"))),
        (400, with("targetRepo", json!("docker-local"))),
        (400, with("targetRepo", json!("docker-old"))),
        (
            400,
            promote(json!({ "targetRepo": "docker-prod", "dockerRepository": "team/app", "targetTag": "2" })),
        ),
        (400, promote(json!({ "targetRepo": "docker-prod", "tag": "1" }))),
        (400, promote(json!({ "targetRepo": "docker-prod", "targetDockerRepository": "x" }))),
        (400, post("docker/docker-local/v2/promote", twice)),
        (413, post("docker/docker-local/v2/promote", full)),
        (404, post("docker/none/v2/promote", good.to_string())),
        (404, post("docker/a%00b/v2/promote", good.to_string())),
        (0, post("docker/%2e%2e/v2/promote", good.to_string())),
        (404, post("docker/docker-local/v3/promote", good.to_string())),
        (405, Request::new("GET", "/artifactory/api/docker/docker-local/v2/promote")),
    ];
    refuses(&server, requests);
    server.stop().verify();
}

#[test]
fn migrations_that_can_not_be_meant() {
    let (server, _, _) = old_server();
    let migrate = |body: serde_json::Value| post("docker/docker-local/v1/migrate", body.to_string());
    let good = json!({ "targetRepo": "docker-local2", "dockerRepository": "jfrog/ubuntu", "tag": "12.04" });
    let with = |member: &str, value: serde_json::Value| {
        let mut body = good.clone();
        body[member] = value;
        migrate(body)
    };
    refuses(
        &server,
        no_objects().into_iter().map(|body| (400, post("docker/docker-local/v1/migrate", body))),
    );
    for member in ["targetRepo", "dockerRepository", "tag"] {
        refuses(&server, no_names().into_iter().map(|value| (400, with(member, value))));
    }
    let requests = [
        (404, with("targetRepo", json!("none"))),
        (404, with("dockerRepository", json!("jfrog/none"))),
        (404, with("tag", json!("none"))),
        (400, with("targetRepo", json!("docker-local"))),
        (400, migrate(json!({ "targetRepo": "docker-local2", "tag": "12.04" }))),
        (400, post("docker/docker-local/v1/migrate?force=maybe", good.to_string())),
        (400, post("docker/docker-local2/v1/migrate", json!({ "targetRepo": "docker-local2" }).to_string())),
        (404, post("docker/none/v1/migrate", good.to_string())),
        (405, Request::new("PUT", "/artifactory/api/docker/docker-local/v1/migrate")),
    ];
    refuses(&server, requests);
    let lines = with("dockerRepository", json!("jfrog/none")).header("Accept", "application/x-ndjson");
    refuses(&server, [(404, lines)]);
    server.stop().verify();
}

#[test]
fn paths_that_are_none() {
    let server = Server::start();
    server.client().push_image("team/app", "1", &Image::generate(1, 1, 2_000)).unwrap();
    let (deep, long) = ("a/".repeat(2_000), "a".repeat(5_000));
    let paths = [
        "none",
        "team/app/1/none",
        "team/app/1/manifest.json/x",
        "..",
        "team/..",
        "%2e%2e",
        "team/%2e%2e/team",
        ".",
        "%2e",
        "team//app",
        "team%2Fapp%2F..",
        "%00",
        "team/a%00b",
        "team%0Aapp",
        "%ff",
        "team/%E2%28%A1",
        "%",
        "%zz",
        "team/app/1%00/manifest.json",
        "team\\app",
        ".images",
        ".images/../team",
        "_uploads",
        &deep,
        &long,
    ];
    for path in paths {
        let storage = format!("/artifactory/api/storage/docker-local/{path}");
        let raw = format!("/artifactory/docker-local/{path}");
        let metadata = format!("/artifactory/api/metadata/docker-local/{path}");
        let requests = [
            Request::new("GET", &storage),
            Request::new("GET", &format!("{storage}?list&deep=1")),
            Request::new("GET", &format!("{storage}?properties")),
            Request::new("GET", &format!("{storage}?stats")),
            Request::new("PUT", &format!("{storage}?properties=a=b")),
            Request::new("DELETE", &format!("{storage}?properties=a")),
            Request::new("PATCH", &metadata).body(r#"{"props":{"a":"b"}}"#),
            Request::new("GET", &raw),
            Request::new("DELETE", &raw),
            Request::new("PUT", &raw).body("x"),
        ];
        refuses(&server, requests.map(|request| (0, request)));
    }
    let storage = "/artifactory/api/storage/docker-local/team";
    let queries = [
        "?list&deep=2",
        "?list&deep=1&depth=x",
        "?list&deep=1&depth=-1",
        "?list&listFolders=maybe",
        "?list&properties",
        "?list&stats",
        "?n=0",
        "?n=x",
        "?list&deep=1&depth=99999999999999999999999",
    ];
    refuses(&server, queries.map(|query| (400, Request::new("GET", &format!("{storage}{query}")))));
    refuses(
        &server,
        [
            (400, Request::new("DELETE", "/artifactory/docker-local")),
            (404, Request::new("GET", "/artifactory/api/storage/none")),
            (0, Request::new("GET", "/artifactory/api/storage/%2e%2e/docker-local")),
            (0, Request::new("GET", "/artifactory/../../etc/passwd")),
        ],
    );
    server.stop().verify();
}

#[test]
fn properties_that_can_not_be() {
    let server = Server::start();
    server.client().push_image("team/app", "1", &Image::generate(1, 1, 2_000)).unwrap();
    let item = "docker-local/team/app/1/manifest.json";
    let put = |query: &str| Request::new("PUT", &format!("/artifactory/api/storage/{item}?{query}"));
    let long = format!("properties=a={}", "x".repeat(2_401));
    let name = format!("properties={}=x", "n".repeat(256));
    let many = format!("properties=a={}", (0..1_001).map(|n| n.to_string()).collect::<Vec<_>>().join(","));
    let queries = [
        "",
        "properties",
        "properties=",
        "properties=a",
        "properties==x",
        "properties=a%20b=x",
        "properties=a/b=x",
        "properties=a%5Cb=x",
        "properties=a%C2%A7=x",
        "properties=a=%00",
        "properties=a=%0A",
        "properties=a%0A=x",
        "properties=a=%1B%5B2J",
        "properties=a=%ff",
        "properties=a=x&recursive=maybe",
        "properties=sha256=x",
        "properties=docker.repoName=x",
        "properties=docker.label.x=y",
        "properties=docker.tag.content=x",
        &long,
        &name,
        &many,
    ];
    refuses(&server, queries.map(|query| (0, put(query))));
    let delete = |query: &str| Request::new("DELETE", &format!("/artifactory/api/storage/{item}?{query}"));
    let queries = [
        "",
        "properties",
        "properties=",
        "properties=docker.repoName",
        "properties=a%00",
        "properties=a%20b",
    ];
    refuses(&server, queries.map(|query| (0, delete(query))));
    let patch =
        |body: Vec<u8>| Request::new("PATCH", &format!("/artifactory/api/metadata/{item}")).body(body);
    let bodies = [
        r#"{"props":null}"#,
        r#"{"props":1}"#,
        r#"{"props":[]}"#,
        r#"{"props":{"a":{}}}"#,
        r#"{"props":{"a":[[]]}}"#,
        r#"{"props":{"a b":"x"}}"#,
        r#"{"props":{"":"x"}}"#,
        r#"{"props":{"a":"\u0000"}}"#,
        r#"{"props":{"a":"\n"}}"#,
        r#"{"props":{"good":"x","sha256":null}}"#,
        r#"{"props":{"good":"x","bad;":"y"}}"#,
        r#"{"property":{"a":"b"}}"#,
    ];
    let bodies = bodies.map(|text| text.as_bytes().to_vec()).into_iter().chain(no_objects());
    refuses(&server, bodies.map(|body| (400, patch(body))));
    let storage = format!("/artifactory/api/storage/{item}");
    refuses(&server, [(405, Request::new("POST", &storage)), (405, Request::new("PATCH", &storage))]);
    server.stop().verify();
}

#[test]
fn searches_that_can_not_be_meant() {
    let server = Server::start();
    server.client().push_image("team/app", "1", &Image::generate(1, 1, 2_000)).unwrap();
    let deep = format!("items.find({}{})", "{\"$and\":[".repeat(10_000), "]}".repeat(10_000));
    let wide = format!("items.find({{\"$or\":[{}]}})", vec!["{\"name\":\"x\"}"; 10_000].join(","));
    let long = format!("items.find({{\"name\":{{\"$match\":\"{}\"}}}})", "*a".repeat(100_000));
    let queries = [
        "",
        "items",
        "items.find",
        "items.find(",
        "items.find({)",
        "items.find({})x",
        "builds.find({})",
        "items.find([])",
        "items.find({\"none\":\"x\"})",
        "items.find({\"name\":{\"$none\":\"x\"}})",
        "items.find({\"size\":\"x\"})",
        "items.find({\"size\":{\"$gt\":-1}})",
        "items.find({\"created\":\"yesterday\"})",
        "items.find({}).limit(-1)",
        "items.find({}).limit(99999999999999999999999)",
        "items.find({}).sort({\"$up\":[\"name\"]})",
        "items.find({}).include()",
        "items.find({}).include(\"none\")",
        "items.find({}).delete()",
        "items.find({\"$and\":{}})",
        "items.find({\"$or\":1})",
        "items.find({\"name\":\"\\ud800\"})",
        "{\"name\":\"x\"}",
        &deep,
        &wide,
        &long,
    ];
    refuses(&server, queries.map(|query| (400, post("search/aql", query))));
    refuses(&server, [(400, post("search/aql", b"items.find({\"name\":\"\xff\"})".to_vec()))]);
    refuses(&server, [(413, post("search/aql", vec![b' '; 2 * 1024 * 1024]))]);
    let queries = [
        "prop",
        "prop?",
        "prop?repos=docker-local",
        "prop?repos=a%00&p=x",
        "prop?=x",
        "artifact",
        "artifact?name=",
        "artifact?repos=docker-local",
        "checksum",
        "checksum?sha256=xyz",
        "checksum?sha1=ab",
        "checksum?md5=",
        "checksum?sha256=%00",
        "none",
        "aql",
    ];
    refuses(
        &server,
        queries.map(|query| (0, Request::new("GET", &format!("/artifactory/api/search/{query}")))),
    );
    server.stop().verify();
}
