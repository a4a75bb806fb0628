//! The surface as a whole, over a registry in a folder of its own, without sockets.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use http::{HeaderMap, Request};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use supercargo_eventlog::Record;
use supercargo_model::Reference;
use supercargo_registry::{Api, Caller, Condition, ManifestPush, Options, Peer, Registry};
use tower::ServiceExt;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";

struct Fixture {
    registry: Arc<Registry>,
    router: Router,
    _folder: tempfile::TempDir,
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    #[track_caller]
    fn expect(self, status: u16) -> Answer {
        assert_eq!(self.status, status, "{}", String::from_utf8_lossy(&self.body));
        self
    }

    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The code of an error, whose message must say something.
    #[track_caller]
    fn code(&self) -> String {
        let error = &self.json()["error"];
        assert!(!error["message"].as_str().unwrap().is_empty());
        error["code"].as_str().unwrap().to_owned()
    }

    fn lines(&self) -> Vec<Value> {
        self.body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(parse).collect()
    }
}

fn parse(line: &[u8]) -> Value {
    serde_json::from_slice(line).unwrap()
}

fn request(method: &str, path: &str, body: Option<&Value>) -> Request<Body> {
    let request = Request::builder()
        .method(method)
        .uri(format!("{}{path}", crate::BASE))
        .header("user-agent", "test/1")
        .header("x-request-id", "r-1")
        .extension(Peer(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7))));
    match body {
        Some(body) => request.header("content-type", "application/json").body(Body::from(body.to_string())),
        None => request.body(Body::empty()),
    }
    .unwrap()
}

impl Fixture {
    async fn new() -> Fixture {
        let folder = tempfile::tempdir().unwrap();
        let registry = Registry::open(Options::new(folder.path())).unwrap();
        registry.ensure_first_repository().await.unwrap();
        let router = crate::router(Arc::clone(&registry), None);
        Fixture { registry, router, _folder: folder }
    }

    async fn ask(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer { status: parts.status.as_u16(), headers: parts.headers, body }
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask(request("GET", path, None)).await
    }

    async fn post(&self, path: &str) -> Answer {
        self.ask(request("POST", path, None)).await
    }

    /// Pushes a manifest that needs nothing else: two records, one where the tag is there already.
    async fn push(&self, name: &str, tag: &str, what: &str) -> String {
        let bytes = json!({
            "schemaVersion": 2, "mediaType": INDEX, "manifests": [], "annotations": { "what": what }
        });
        let pushed = self
            .registry
            .push_manifest(
                &Caller::system(Api::Cli),
                &"docker-local".parse().unwrap(),
                &name.parse().unwrap(),
                ManifestPush::new(
                    Reference::Tag(tag.parse().unwrap()),
                    INDEX,
                    Bytes::from(bytes.to_string()),
                ),
            )
            .await
            .unwrap();
        pushed.digest.to_string()
    }

    async fn delete(&self, name: &str, tag: &str) {
        let reference = Reference::Tag(tag.parse().unwrap());
        let (repository, name) = ("docker-local".parse().unwrap(), name.parse().unwrap());
        self.registry
            .delete_manifest(&Caller::system(Api::Cli), &repository, &name, &reference, &Condition::default())
            .await
            .unwrap();
    }
}

fn seqs(records: &[Value]) -> Vec<u64> {
    records.iter().map(|record| record["seq"].as_u64().unwrap()).collect()
}

#[tokio::test]
async fn the_log_is_listed_by_what_records_are_about() {
    let fixture = Fixture::new().await;
    // 0: the first repository; then ManifestPushed and TagSet, each.
    for (name, tag) in [("shop/web", "v1"), ("shop/web", "v2"), ("tools", "v1")] {
        fixture.push(name, tag, tag).await;
    }
    fixture.delete("shop/web", "v1").await;
    let all = fixture.get("/log").await.expect(200).json();
    let all = all["records"].as_array().unwrap();
    assert_eq!(seqs(all), [7, 6, 5, 4, 3, 2, 1, 0]);
    let at = |seq: usize| all[7 - seq]["at"].as_i64().unwrap();
    for (query, expected) in [
        ("oldest_first=true", vec![0, 1, 2, 3, 4, 5, 6, 7]),
        ("oldest_first=true&limit=2", vec![0, 1]),
        ("limit=2", vec![7, 6]),
        ("limit=0", vec![]),
        ("from=2&to=4", vec![3, 2]),
        ("from=6", vec![7, 6]),
        ("from=9", vec![]),
        ("name=shop/web", vec![7, 4, 3, 2, 1]),
        ("name=shop%2Fweb&tag=v1", vec![7, 2]),
        ("repository=docker-local&kind=TagSet", vec![6, 4, 2]),
        ("repository=other", vec![]),
        ("kind=RepositoryCreated", vec![0]),
        ("actor=anonymous", vec![]),
        ("actor=system&to=1", vec![0]),
        (&format!("since={}", at(7)), vec![7]),
        (&format!("until={}&oldest_first=true", at(0)), vec![0]),
        (&format!("since={}&until={}&oldest_first=true", at(3), at(4)), vec![3, 4]),
        (&format!("since={}", at(7) + 1), vec![]),
    ] {
        let page = fixture.get(&format!("/log?{query}")).await.expect(200).json();
        assert_eq!(seqs(page["records"].as_array().unwrap()), expected, "{query}");
    }
    assert_eq!(fixture.get("/log/2").await.expect(200).json(), all[5]);
}

#[tokio::test]
async fn a_listing_goes_on_where_the_last_page_ended() {
    let fixture = Fixture::new().await;
    for number in 0..10 {
        fixture.push("n", &format!("t{number}"), "same").await;
    }
    for (parameters, go_on) in
        [("kind=TagSet&limit=3&oldest_first=true", "from"), ("kind=TagSet&limit=3", "to")]
    {
        let (mut found, mut next) = (Vec::new(), None);
        loop {
            let place = next.map_or_else(String::new, |next| format!("&{go_on}={next}"));
            let page = fixture.get(&format!("/log?{parameters}{place}")).await.expect(200).json();
            found.extend(seqs(page["records"].as_array().unwrap()));
            next = page["next"].as_u64();
            if next.is_none() {
                break;
            }
        }
        assert_eq!(found.len(), 10, "{parameters}: {found:?}");
        assert!(found.is_sorted_by(|a, b| if go_on == "from" { a < b } else { a > b }), "{found:?}");
    }
}

#[tokio::test]
async fn an_export_is_every_record_as_it_is() {
    let fixture = Fixture::new().await;
    for number in 0..600 {
        fixture.push("n", &format!("t{number}"), "same").await;
    }
    let answer = fixture.get("/log/export").await.expect(200);
    assert_eq!(answer.headers["content-type"], "application/x-ndjson");
    let records: Vec<Record> =
        answer.lines().into_iter().map(|line| serde_json::from_value(line).unwrap()).collect();
    let log: Vec<Record> = supercargo_eventlog::Log::read(fixture.registry.log(), 0..u64::MAX)
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(records, log);
    let part = fixture.get("/log/export?from=510&to=515").await.expect(200);
    assert_eq!(seqs(&part.lines()), [510, 511, 512, 513, 514]);
    assert!(fixture.get("/log/export?from=99999").await.expect(200).lines().is_empty());
}

#[tokio::test]
async fn followers_see_what_is_committed_and_end_with_the_server() {
    let fixture = Fixture::new().await;
    let response = fixture.router.clone().oneshot(request("GET", "/log/follow?from=0", None)).await.unwrap();
    let mut body = response.into_body();
    let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(parse(&first)["seq"], 0);
    fixture.push("n", "t", "a").await;
    let second = body.frame().await.unwrap().unwrap().into_data().unwrap();
    let second = Answer { status: 200, headers: HeaderMap::new(), body: second };
    assert_eq!(seqs(&second.lines()), [1, 2]);
    fixture.registry.begin_close();
    assert!(body.frame().await.is_none());
}

#[tokio::test]
async fn what_is_not_understood_is_refused_and_leaves_nothing() {
    let fixture = Fixture::new().await;
    fixture.push("n", "t", "a").await;
    let before = supercargo_eventlog::Log::size(fixture.registry.log()).unwrap();
    for path in [
        "/log?kind=Nope",
        "/log?limit=-1",
        "/log?limit=x",
        "/log?name=UPPER",
        "/log?tag=-",
        "/log?repository=a/b",
        "/log?since=yesterday",
        "/log?nonsense=1",
        "/log/x",
        "/log/-1",
        "/log/99999999999999999999999",
        "/log/export?from=x",
        "/log/follow?from=x",
        "/repositories/a%2Fb",
        "/repositories/docker-local/tags",
        "/repositories/docker-local/tags?name=..",
        "/repositories/docker-local/names?n=x",
        "/repositories/docker-local/history?name=n",
        "/repositories/docker-local/inspect?name=n&reference=sha256:12",
    ] {
        assert_eq!(fixture.get(path).await.expect(400).code(), "invalid", "{path}");
    }
    for path in [
        "/log/3",
        "/nothing",
        "/repositories/none",
        "/repositories/none/names",
        "/repositories/none/tags?name=n",
        "/repositories/docker-local/tags?name=none",
        "/repositories/docker-local/history?name=n&tag=none",
        "/repositories/docker-local/inspect?name=n&reference=none",
    ] {
        assert_eq!(fixture.get(path).await.expect(404).code(), "not_found", "{path}");
    }
    for path in ["/gc?dry_run=perhaps", "/scrub?rate=fast", "/scrub?after=x", "/verify?deep=1", "/prune?x=y"]
    {
        assert_eq!(fixture.post(path).await.expect(400).code(), "invalid", "{path}");
    }
    for (method, body, status, code) in [
        ("PUT", json!({ "colour": "red" }), 400, "invalid"),
        ("PUT", json!({ "docker-api-version": "V3" }), 400, "invalid"),
        ("PUT", json!(7), 400, "invalid"),
        ("PATCH", json!({ "description": 1 }), 400, "invalid"),
        ("PATCH", json!({}), 404, "not_found"),
        ("POST", json!({}), 405, "method_not_allowed"),
    ] {
        let answer = fixture.ask(request(method, "/repositories/team-a", Some(&body))).await.expect(status);
        assert_eq!(answer.code(), code, "{method} {body}");
    }
    let mut foreign = request("DELETE", "/repositories/docker-local?force=true", None);
    foreign.headers_mut().insert("origin", "http://elsewhere.example".parse().unwrap());
    assert_eq!(fixture.ask(foreign).await.expect(403).code(), "forbidden");
    assert_eq!(supercargo_eventlog::Log::size(fixture.registry.log()).unwrap(), before);
}

#[tokio::test]
async fn repositories_come_change_and_go() {
    let fixture = Fixture::new().await;
    let settings = json!({ "description": "of team A", "docker-api-version": "both" });
    let made = fixture.ask(request("PUT", "/repositories/team-a", Some(&settings))).await.expect(201).json();
    assert_eq!(made["config"]["description"], "of team A");
    let again = fixture.ask(request("PUT", "/repositories/team-a", Some(&settings))).await.expect(409);
    assert_eq!(again.code(), "conflict");

    // What is not named stays.
    let change = json!({ "sparse-index": true, "rules": { "quota": 7 } });
    let changed =
        fixture.ask(request("PATCH", "/repositories/team-a", Some(&change))).await.expect(200).json();
    let rules = json!({
        "immutable-tags": [], "media-types": [], "artifact-types": [], "manifest-bytes-max": null,
        "blob-bytes-max": null, "quota": 7, "name-quotas": [],
    });
    let config = json!({
        "description": "of team A", "docker-api-version": "both", "sparse-index": true, "rules": rules,
        "login": "token", "verify-tarsum": false, "docker-port": null, "blacked-out": false,
        "max-unique-tags": 0, "includes": [], "excludes": [], "attributes": [],
    });
    assert_eq!(changed["config"], config);
    assert_eq!(fixture.get("/repositories/team-a").await.expect(200).json(), changed);
    let all = fixture.get("/repositories").await.expect(200).json();
    let keys: Vec<&str> = all.as_array().unwrap().iter().map(|one| one["key"].as_str().unwrap()).collect();
    assert_eq!(keys, ["docker-local", "team-a"]);

    fixture.ask(request("DELETE", "/repositories/team-a", None)).await.expect(204);
    fixture.get("/repositories/team-a").await.expect(404);

    fixture.push("n", "t", "a").await;
    let full = fixture.ask(request("DELETE", "/repositories/docker-local", None)).await.expect(409);
    assert_eq!(full.code(), "conflict");
    fixture.ask(request("DELETE", "/repositories/docker-local?force=true", None)).await.expect(204);

    // Records say who did it, through what.
    let last = &fixture.get("/log?limit=1").await.expect(200).json()["records"][0];
    assert_eq!(last["event"], json!({ "RepositoryRemoved": { "repository": "docker-local" } }));
    assert_eq!(last["actor"], "anonymous");
    let origin =
        json!({ "api": "admin", "remote": "192.0.2.7", "user_agent": "test/1", "request_id": "r-1" });
    assert_eq!(last["origin"], origin);
}

/// Each is of what is there when it is decided, not of what was there when it was asked for.
#[tokio::test]
async fn changes_of_settings_at_the_same_time_are_all_made() {
    let fixture = Fixture::new().await;
    let patch = |change: Value| {
        let request = request("PATCH", "/repositories/docker-local", Some(&change));
        fixture.ask(request)
    };
    let answers = tokio::join!(
        patch(json!({ "description": "changed" })),
        patch(json!({ "sparse-index": true })),
        patch(json!({ "docker-api-version": "both" })),
        patch(json!({ "rules": { "quota": 7 }, "login": "basic" })),
        patch(json!({ "rules": { "blob-bytes-max": 5, "immutable-tags": ["v*"] } })),
    );
    for answer in [answers.0, answers.1, answers.2, answers.3, answers.4] {
        answer.expect(200);
    }
    let config = &fixture.get("/repositories/docker-local").await.expect(200).json()["config"];
    let rules = &config["rules"];
    assert_eq!(
        (&config["description"], &config["sparse-index"], &config["docker-api-version"], &config["login"]),
        (&json!("changed"), &json!(true), &json!("both"), &json!("basic"))
    );
    assert_eq!(
        (&rules["quota"], &rules["blob-bytes-max"], &rules["immutable-tags"]),
        (&json!(7), &json!(5), &json!(["v*"]))
    );
}

#[tokio::test]
async fn names_tags_and_histories_are_shown_by_the_page() {
    let fixture = Fixture::new().await;
    let first = fixture.push("b/c", "t", "one").await;
    let second = fixture.push("b/c", "t", "two").await;
    fixture.push("b/c", "u", "two").await;
    fixture.push("a", "t", "one").await;

    let names = fixture.get("/repositories/docker-local/names?n=1").await.expect(200).json();
    assert_eq!((&names["names"][0]["name"], &names["more"]), (&json!("a"), &json!(true)));
    let names = fixture.get("/repositories/docker-local/names?n=1&last=a").await.expect(200).json();
    assert_eq!((&names["names"][0]["name"], &names["more"]), (&json!("b/c"), &json!(false)));
    assert_eq!(names["names"][0]["usage"]["tags"], 2);

    let tags = fixture.get("/repositories/docker-local/tags?name=b/c&last=t").await.expect(200).json();
    assert_eq!(tags["tags"].as_array().unwrap().len(), 1);
    assert_eq!((&tags["tags"][0]["tag"], &tags["tags"][0]["digest"]), (&json!("u"), &json!(second)));

    fixture.delete("b/c", "t").await;
    let history = fixture.get("/repositories/docker-local/history?name=b/c&tag=t").await.expect(200).json();
    let points: Vec<&Value> = history.as_array().unwrap().iter().map(|change| &change["digest"]).collect();
    assert_eq!(points, [&json!(first), &json!(second), &Value::Null]);

    let path = "/repositories/docker-local/inspect?name=b/c&reference=u";
    let inspection = fixture.get(path).await.expect(200).json();
    assert_eq!((&inspection["digest"], &inspection["tags"]), (&json!(second), &json!(["u"])));
    assert_eq!(
        fixture.get(&path.replace("reference=u", &format!("reference={second}"))).await.json(),
        inspection
    );

    fixture.ask(request("DELETE", "/repositories/docker-local/names?name=b/c", None)).await.expect(204);
    fixture.get("/repositories/docker-local/tags?name=b/c").await.expect(404);
    let gone =
        fixture.ask(request("DELETE", "/repositories/docker-local/names?name=b/c", None)).await.expect(404);
    assert_eq!(gone.code(), "not_found");
}

#[tokio::test]
async fn a_collection_does_what_its_plan_said_or_nothing() {
    let fixture = Fixture::new().await;
    let digest = fixture.push("n", "t", "one").await;
    fixture.push("n", "kept", "two").await;
    fixture.delete("n", "t").await;

    let plan = fixture.post("/gc?dry_run=true").await.expect(200).json();
    assert_eq!((&plan["dry_run"], &plan["contents"], &plan["blobs"]), (&json!(true), &json!(1), &json!(1)));
    assert_eq!(plan["listed_blobs"][0]["digest"], json!(digest));
    assert_eq!(plan["bytes"], plan["listed_blobs"][0]["size"]);
    let wrong = fixture.post("/gc?plan=0000").await.expect(412);
    assert_eq!(wrong.code(), "precondition_failed");
    assert_eq!(fixture.post("/gc?dry_run=true").await.expect(200).json(), plan, "nothing was done");

    let done = fixture.post(&format!("/gc?plan={}", plan["plan"].as_str().unwrap())).await.expect(200).json();
    for what in ["contents", "blobs", "bytes", "listed_contents", "listed_blobs"] {
        assert_eq!(done[what], plan[what], "{what}");
    }
    let again = fixture.post("/gc").await.expect(200).json();
    assert_eq!((&again["contents"], &again["blobs"]), (&json!(0), &json!(0)));
}

#[tokio::test]
async fn maintenance_says_what_it_did() {
    let fixture = Fixture::new().await;
    fixture.push("n", "t", "one").await;
    let verified = fixture.post("/verify?deep=true").await.expect(200).json();
    assert_eq!(
        (&verified["problems"], &verified["records"], &verified["blobs"]),
        (&json!([]), &json!(3), &json!(1))
    );
    let scrubbed = fixture.post("/scrub").await.expect(200).json();
    assert_eq!((&scrubbed["blobs"], &scrubbed["rotten"]), (&json!(1), &json!([])));
    let last = "f".repeat(64);
    let rest = fixture.post(&format!("/scrub?after=sha256:{last}")).await.expect(200).json();
    assert_eq!(rest["blobs"], 0);
    let swept = fixture.post("/sweep").await.expect(200).json();
    assert_eq!(swept, json!({ "files": 0, "file_bytes": 0, "sessions": 0, "session_bytes": 0 }));
    let pruned = fixture.post("/prune?dry_run=true").await.expect(200).json();
    assert_eq!(pruned, json!({ "dry_run": true, "folders": [] }));
}

/// A client that goes away, and a server that stops, end what takes long; another can follow.
#[tokio::test]
async fn long_work_ends_with_whoever_waits_for_it() {
    let fixture = Fixture::new().await;
    fixture.push("n", "t", "one").await;
    let slow = fixture.ask(request("POST", "/scrub?rate=1", None));
    assert!(
        tokio::time::timeout(Duration::from_millis(200), slow).await.is_err(),
        "it reads a byte a second"
    );
    fixture.post("/scrub").await.expect(200);

    let slow = fixture.ask(request("POST", "/scrub?rate=1", None));
    let closing = async {
        // Where this comes first, the scrub finds the registry closing: the same answer.
        tokio::task::yield_now().await;
        fixture.registry.begin_close();
    };
    let (answer, ()) = tokio::join!(slow, closing);
    assert_eq!(answer.expect(503).code(), "unavailable");
}
