//! The surface as a whole, over a registry in a folder of its own, without sockets. What a connection adds, real
//! clients and crashes are in the workspace's `tests` package.

use std::net::IpAddr;

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, header};
use http_body_util::BodyExt;
use serde_json::Value;
use sha2::{Digest as _, Sha256, Sha512};
use supercargo_eventlog::event::ORIGIN_TEXT_BYTES_MAX;
use supercargo_eventlog::{DockerApiVersion, Origin, RepositoryConfig};
use supercargo_http::request::REQUEST_ID;
use supercargo_model::{Algorithm, Digest, media_type};
use supercargo_registry::Options;
use tower::ServiceExt;

use super::*;

const PREFIX: &str = "/below/docker-local";

/// A surface over an empty registry, which goes when it is dropped.
struct Fixture {
    router: Router,
    registry: Arc<Registry>,
    prefix: &'static str,
    _folder: tempfile::TempDir,
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn code(&self) -> String {
        self.json()["errors"][0]["code"].as_str().unwrap().to_owned()
    }
}

impl Fixture {
    async fn new(prefix: &'static str) -> Fixture {
        let folder = tempfile::tempdir().unwrap();
        let registry = Registry::open(Options::new(folder.path())).unwrap();
        registry.ensure_first_repository().await.unwrap();
        let mount = Mount::alone(RepoKey::parse("docker-local").unwrap(), prefix);
        let settings = Settings { authority: None, body_timeout: Duration::from_secs(30) };
        let router = router(Arc::clone(&registry), settings).layer(Extension(mount));
        Fixture { router, registry, prefix, _folder: folder }
    }

    /// `path` begins with the prefix where it is a Location.
    async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        let below = path.strip_prefix(self.prefix).unwrap_or(path);
        let mut request = http::Request::builder().method(method).uri(below).header("x-request-id", "r-1");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.router.clone().oneshot(request.body(body.into()).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        assert_eq!(parts.headers[response::API_VERSION], "registry/2.0", "{method} {path}");
        let body = body.collect().await.unwrap().to_bytes();
        Answer { status: parts.status.as_u16(), headers: parts.headers, body }
    }

    async fn ask(&self, method: &str, path: &str) -> Answer {
        self.send(method, path, &[], Body::empty()).await
    }

    async fn push_blob(&self, name: &str, bytes: &'static [u8]) -> String {
        let digest = sha256(bytes);
        let path = format!("/v2/{name}/blobs/uploads/?digest={digest}");
        let pushed = self.send("POST", &path, &[], bytes).await;
        assert_eq!(pushed.status, 201, "{:?}", pushed.body);
        digest
    }

    async fn push_manifest(&self, name: &str, reference: &str, media_type: &str, json: &str) -> Answer {
        let path = format!("/v2/{name}/manifests/{reference}");
        self.send("PUT", &path, &[("content-type", media_type)], json.to_owned()).await
    }

    /// An image of a config and a layer under a tag; answers with its digest.
    async fn push_image(&self, name: &str, tag: &str, more: &str) -> String {
        let json = self.image(name, more).await;
        let pushed = self.push_manifest(name, tag, media_type::OCI_MANIFEST, &json).await;
        assert_eq!(pushed.status, 201, "{:?}", pushed.body);
        sha256(json.as_bytes())
    }

    async fn image(&self, name: &str, more: &str) -> String {
        let config = self.push_blob(name, b"{}").await;
        let layer = self.push_blob(name, b"layer").await;
        format!(
            r#"{{"schemaVersion":2,"mediaType":"{}","config":{{"mediaType":"c/d","digest":"{config}","size":2}},
            "layers":[{{"mediaType":"l/m","digest":"{layer}","size":5}}]{more}}}"#,
            media_type::OCI_MANIFEST
        )
    }
}

fn sha256(bytes: &[u8]) -> String {
    Digest::from_hash(Algorithm::Sha256, &Sha256::digest(bytes)).unwrap().to_string()
}

#[tokio::test]
async fn the_base_answers_at_the_root_and_below_a_prefix() {
    for prefix in ["", PREFIX] {
        let surface = Fixture::new(prefix).await;
        for path in ["/v2", "/v2/"] {
            let base = surface.ask("GET", path).await;
            assert_eq!((base.status, &base.body[..]), (200, &b"{}"[..]));
        }
    }
}

#[tokio::test]
async fn what_is_refused_at_the_edge_has_its_status_and_code() {
    let manifest = "/v2/a/manifests/b";
    for prefix in ["", PREFIX] {
        let surface = Fixture::new(prefix).await;
        for (method, path, status, code) in [
            ("GET", "/v2/a", 404, "UNSUPPORTED"),
            ("POST", "/v2/", 405, "UNSUPPORTED"),
            ("OPTIONS", manifest, 405, "UNSUPPORTED"),
            ("GET", "/v2/A/tags/list", 400, "NAME_INVALID"),
            ("GET", "/v2/a%2Fb/tags/list", 400, "NAME_INVALID"),
            ("GET", "/v2/a/../../etc/manifests/passwd", 400, "NAME_INVALID"),
            ("GET", "/v2/a/blobs/sha256:x", 400, "DIGEST_INVALID"),
            ("GET", "/v2/a/manifests/md5:00", 400, "DIGEST_INVALID"),
            ("GET", "/v2/a/referrers/x", 400, "DIGEST_INVALID"),
            ("GET", "/v2/a/referrers/x?last=x", 400, "DIGEST_INVALID"),
            ("GET", "/v2/a/manifests/.x", 404, "MANIFEST_UNKNOWN"),
            ("PUT", "/v2/a/manifests/.x", 400, "MANIFEST_INVALID"),
            ("PUT", manifest, 400, "MANIFEST_INVALID"),
            ("PUT", "/v2/a/manifests/b?tag=.x", 400, "MANIFEST_INVALID"),
            ("GET", "/v2/a/tags/list?n=x", 400, "PAGINATION_NUMBER_INVALID"),
            ("GET", "/v2/_catalog?n=-1", 400, "PAGINATION_NUMBER_INVALID"),
            ("POST", "/v2/a/blobs/uploads/?digest=x", 400, "DIGEST_INVALID"),
            ("POST", "/v2/a/blobs/uploads/?mount=x&from=b", 400, "DIGEST_INVALID"),
            ("POST", "/v2/a/blobs/uploads/?digest-algorithm=md5", 400, "DIGEST_INVALID"),
            ("PUT", "/v2/a/blobs/uploads/01890a5d-ac96-774b-bcce-b302099a8057", 400, "DIGEST_INVALID"),
            ("PATCH", "/v2/a/blobs/uploads/x", 404, "BLOB_UPLOAD_UNKNOWN"),
            ("PATCH", "/v2/a/blobs/uploads/01890a5d-ac96-774b-bcce-b302099a8057", 404, "BLOB_UPLOAD_UNKNOWN"),
            ("GET", "/v2/a/tags/list", 404, "NAME_UNKNOWN"),
            ("GET", manifest, 404, "MANIFEST_UNKNOWN"),
        ] {
            let refused = surface.ask(method, path).await;
            assert_eq!((refused.status, refused.code().as_str()), (status, code), "{method} {prefix}{path}");
            assert_eq!(refused.header("content-type"), "application/json");
            assert_eq!(refused.headers.contains_key(header::ALLOW), status == 405);
        }
    }
}

#[tokio::test]
async fn a_refused_head_has_no_body() {
    let surface = Fixture::new("").await;
    let refused = surface.ask("HEAD", "/v2/a/blobs/sha256:x").await;
    assert_eq!((refused.status, refused.body.len()), (400, 0));
}

#[tokio::test]
async fn a_blob_comes_back_whole_and_in_parts() {
    let surface = Fixture::new(PREFIX).await;
    let digest = surface.push_blob("a/b", b"0123456789").await;
    let path = format!("/v2/a/b/blobs/{digest}");
    let etag = format!("\"{digest}\"");

    let whole = surface.ask("GET", &path).await;
    assert_eq!((whole.status, &whole.body[..]), (200, &b"0123456789"[..]));
    assert_eq!(whole.header("content-length"), "10");
    assert_eq!(whole.header("docker-content-digest"), digest);
    assert_eq!(whole.header("etag"), etag);
    assert_eq!(whole.header("accept-ranges"), "bytes");
    assert_eq!(whole.header("content-type"), "application/octet-stream");
    assert!(whole.header("cache-control").contains("immutable"));

    let head = surface.send("HEAD", &path, &[("range", "bytes=0-1")], Body::empty()).await;
    assert_eq!((head.status, head.body.len(), head.header("content-length")), (200, 0, "10"));

    for (headers, status, body, range) in [
        (&[("range", "bytes=2-4")][..], 206, "234", "bytes 2-4/10"),
        (&[("range", "bytes=8-99")], 206, "89", "bytes 8-9/10"),
        (&[("range", "bytes=-3")], 206, "789", "bytes 7-9/10"),
        (&[("range", "bytes=5-0")], 200, "0123456789", ""),
        (&[("range", "bytes=0-0,2-2")], 200, "0123456789", ""),
        (&[("range", "bytes=2-4"), ("if-range", &etag)], 206, "234", "bytes 2-4/10"),
        (&[("range", "bytes=2-4"), ("if-range", "\"other\"")], 200, "0123456789", ""),
        (&[("if-none-match", &etag)], 304, "", ""),
        (&[("if-none-match", &etag), ("range", "bytes=2-4")], 304, "", ""),
    ] {
        let part = surface.send("GET", &path, headers, Body::empty()).await;
        assert_eq!((part.status, &part.body[..]), (status, body.as_bytes()), "{headers:?}");
        assert_eq!(part.header("content-range"), range, "{headers:?}");
    }
    let past = surface.send("GET", &path, &[("range", "bytes=10-")], Body::empty()).await;
    assert_eq!((past.status, past.header("content-range")), (416, "bytes */10"));

    assert_eq!(surface.ask("DELETE", &path).await.status, 202);
    for method in ["GET", "HEAD", "DELETE"] {
        assert_eq!(surface.ask(method, &path).await.status, 404, "{method}");
    }
}

#[tokio::test]
async fn a_chunked_upload_keeps_its_place() {
    let surface = Fixture::new(PREFIX).await;
    let started = surface.ask("POST", "/v2/a/blobs/uploads/").await;
    assert_eq!((started.status, started.header("range")), (202, "0-0"));
    let location = started.header("location").to_owned();
    assert_eq!(location, format!("{PREFIX}/v2/a/blobs/uploads/{}", started.header("docker-upload-uuid")));

    let chunk = |range: &'static str, body: &'static str| {
        let (surface, location) = (&surface, &location);
        async move { surface.send("PATCH", location, &[("content-range", range)], body).await }
    };
    let first = chunk("0-3", "0123").await;
    assert_eq!(
        (first.status, first.header("range"), first.header("location")),
        (202, "0-3", location.as_str())
    );
    for misfit in ["5-8", "0-3", "4-9999", "nonsense"] {
        let refused = chunk(misfit, "4567").await;
        assert_eq!((refused.status, refused.header("range")), (416, "0-3"), "{misfit}");
        assert_eq!(refused.header("location"), location, "{misfit}");
    }
    let wrong_length =
        surface.send("PATCH", &location, &[("content-range", "4-9"), ("content-length", "4")], "4567").await;
    assert_eq!((wrong_length.status, wrong_length.header("range")), (416, "0-3"));
    assert_eq!(chunk("bytes 4-7", "4567").await.header("range"), "0-7");
    let status = surface.ask("GET", &location).await;
    assert_eq!((status.status, status.header("range")), (204, "0-7"));

    let digest = sha256(b"0123456789");
    let finish = format!("{location}?digest={digest}");
    for _ in 0..2 {
        let finished = surface.send("PUT", &finish, &[("content-range", "8-9")], "89").await;
        assert_eq!((finished.status, finished.header("docker-content-digest")), (201, digest.as_str()));
        assert_eq!(finished.header("location"), format!("{PREFIX}/v2/a/blobs/{digest}"));
    }
    assert_eq!(&surface.ask("GET", &format!("/v2/a/blobs/{digest}")).await.body[..], b"0123456789");
}

#[tokio::test]
async fn an_upload_that_lies_stores_nothing() {
    let surface = Fixture::new("").await;
    let digest = sha256(b"right");
    let pushed = surface.send("POST", &format!("/v2/a/blobs/uploads/?digest={digest}"), &[], "wrong").await;
    assert_eq!((pushed.status, pushed.code().as_str()), (400, "DIGEST_INVALID"));
    let started = surface.ask("POST", "/v2/a/blobs/uploads/").await;
    let location = started.header("location");
    let finished = surface.send("PUT", &format!("{location}?digest={digest}"), &[], "wrong").await;
    assert_eq!((finished.status, finished.code().as_str()), (400, "DIGEST_INVALID"));
    for digest in [digest, sha256(b"wrong")] {
        assert_eq!(surface.ask("HEAD", &format!("/v2/a/blobs/{digest}")).await.status, 404);
    }
}

#[tokio::test]
async fn a_cancelled_upload_is_gone() {
    let surface = Fixture::new("").await;
    let started = surface.ask("POST", "/v2/a/blobs/uploads/").await;
    let location = started.header("location");
    assert_eq!(surface.ask("DELETE", location).await.status, 204);
    for method in ["GET", "PATCH", "DELETE"] {
        let gone = surface.ask(method, location).await;
        assert_eq!((gone.status, gone.code().as_str()), (404, "BLOB_UPLOAD_UNKNOWN"), "{method}");
    }
}

#[tokio::test]
async fn the_algorithm_may_be_chosen() {
    let surface = Fixture::new("").await;
    let digest = Digest::from_hash(Algorithm::Sha512, &Sha512::digest(b"x")).unwrap();
    let started = surface.ask("POST", "/v2/a/blobs/uploads/?digest-algorithm=sha512").await;
    let finish = format!("{}?digest={digest}", started.header("location"));
    assert_eq!(surface.send("PUT", &finish, &[], "x").await.status, 201);
    assert_eq!(surface.ask("HEAD", &format!("/v2/a/blobs/{digest}")).await.status, 200);
}

#[tokio::test]
async fn a_mount_is_made_or_becomes_a_session() {
    let surface = Fixture::new("").await;
    let digest = surface.push_blob("a", b"shared").await;
    let absent = sha256(b"absent");
    for (name, query, status) in [
        ("b", format!("mount={digest}&from=a"), 201),
        ("c", format!("mount={digest}"), 201),
        ("d", format!("mount={digest}&from=nobody"), 202),
        ("d", format!("mount={digest}&from=NOT-A-NAME"), 202),
        ("d", format!("mount={absent}&from=a"), 202),
        ("d", format!("mount={absent}"), 202),
    ] {
        let answer = surface.ask("POST", &format!("/v2/{name}/blobs/uploads/?{query}")).await;
        assert_eq!(answer.status, status, "{name} {query}");
        let mounted = surface.ask("HEAD", &format!("/v2/{name}/blobs/{digest}")).await;
        assert_eq!(mounted.status == 200, status == 201, "{name} {query}");
    }
}

#[tokio::test]
async fn a_manifest_comes_back_as_it_was_pushed() {
    let surface = Fixture::new(PREFIX).await;
    let json = surface.image("a", "").await;
    let digest = sha256(json.as_bytes());
    let sent = format!("{}; charset=utf-8", media_type::OCI_MANIFEST);
    let pushed = surface.push_manifest("a", "v1", &sent, &json).await;
    assert_eq!((pushed.status, pushed.header("docker-content-digest")), (201, digest.as_str()));
    assert_eq!(pushed.header("location"), format!("{PREFIX}/v2/a/manifests/{digest}"));

    for reference in ["v1", digest.as_str()] {
        let path = format!("/v2/a/manifests/{reference}");
        let got = surface.ask("GET", &path).await;
        assert_eq!((got.status, &got.body[..]), (200, json.as_bytes()));
        assert_eq!(got.header("content-type"), media_type::OCI_MANIFEST);
        assert_eq!(got.header("docker-content-digest"), digest);
        assert_eq!(got.header("content-length"), json.len().to_string());
        let head = surface.ask("HEAD", &path).await;
        assert_eq!((head.status, head.body.len()), (200, 0));
        assert_eq!(head.headers, got.headers);
        let cached =
            surface.send("GET", &path, &[("if-none-match", got.header("etag"))], Body::empty()).await;
        assert_eq!((cached.status, cached.body.len(), cached.header("etag")), (304, 0, got.header("etag")));
    }
    let as_blob = surface.ask("GET", &format!("/v2/a/blobs/{digest}")).await;
    assert_eq!((as_blob.status, as_blob.code().as_str()), (404, "BLOB_UNKNOWN"));
}

#[tokio::test]
async fn tags_may_come_with_a_digest() {
    let surface = Fixture::new("").await;
    let json = surface.image("a", "").await;
    let digest = sha256(json.as_bytes());
    let tags: Vec<String> = (0..12).map(|n| format!("t{n:02}")).collect();
    let query: Vec<String> = tags.iter().map(|tag| format!("tag={tag}")).collect();
    let reference = format!("{digest}?{}", query.join("&"));
    let pushed = surface.push_manifest("a", &reference, media_type::OCI_MANIFEST, &json).await;
    assert_eq!(pushed.status, 201);
    let set: Vec<&str> = pushed.headers.get_all("oci-tag").iter().map(|tag| tag.to_str().unwrap()).collect();
    assert_eq!(set, tags);
    let listed = surface.ask("GET", "/v2/a/tags/list").await;
    assert_eq!(listed.json(), serde_json::json!({ "name": "a", "tags": tags }));

    let other = format!("{}?tag=x", sha256(b"other"));
    let refused = surface.push_manifest("a", &other, media_type::OCI_MANIFEST, &json).await;
    assert_eq!((refused.status, refused.code().as_str()), (400, "DIGEST_INVALID"));
}

#[tokio::test]
async fn a_manifest_that_can_not_be_taken_says_why() {
    let surface = Fixture::new("").await;
    let json = surface.image("a", "").await;
    let elsewhere = surface.push_manifest("b", "v1", media_type::OCI_MANIFEST, &json).await;
    assert_eq!((elsewhere.status, elsewhere.code().as_str()), (400, "MANIFEST_BLOB_UNKNOWN"));
    assert_eq!(elsewhere.json()["errors"].as_array().unwrap().len(), 2);

    let contradicting = surface.push_manifest("a", "v1", media_type::DOCKER_MANIFEST, &json).await;
    assert_eq!((contradicting.status, contradicting.code().as_str()), (400, "MANIFEST_INVALID"));

    let large = " ".repeat(supercargo_model::limits::MANIFEST_BYTES_MAX + 1);
    let refused = surface.push_manifest("a", "v1", media_type::OCI_MANIFEST, &large).await;
    assert_eq!((refused.status, refused.code().as_str()), (413, "SIZE_INVALID"));

    let headers = [("content-type", media_type::OCI_MANIFEST), ("if-match", "no entity tag")];
    let unreadable = surface.send("PUT", "/v2/a/manifests/v1", &headers, json).await;
    assert_eq!((unreadable.status, unreadable.code().as_str()), (400, "UNSUPPORTED"));
    assert_eq!(surface.ask("GET", "/v2/a/manifests/v1").await.status, 404);
}

#[tokio::test]
async fn an_old_client_gets_the_image_and_not_the_index() {
    let surface = Fixture::new("").await;
    let amd64 = surface.push_image("a", "amd64", "").await;
    let index = format!(
        r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"{}","digest":"{amd64}","size":1,
        "platform":{{"os":"linux","architecture":"amd64"}}}}]}}"#,
        media_type::OCI_INDEX
    );
    assert_eq!(surface.push_manifest("a", "all", media_type::OCI_INDEX, &index).await.status, 201);
    let accept = |accept| [("accept", accept)];
    for (accepted, digest) in [
        (media_type::DOCKER_MANIFEST, amd64.clone()),
        (media_type::OCI_INDEX, sha256(index.as_bytes())),
        ("*/*", sha256(index.as_bytes())),
    ] {
        for method in ["GET", "HEAD"] {
            let got = surface.send(method, "/v2/a/manifests/all", &accept(accepted), Body::empty()).await;
            assert_eq!(
                (got.header("docker-content-digest"), got.header("vary")),
                (digest.as_str(), "Accept")
            );
        }
    }
}

#[tokio::test]
async fn deleting_a_tag_leaves_the_manifest_and_deleting_it_takes_every_tag() {
    let surface = Fixture::new("").await;
    let digest = surface.push_image("a", "v1", "").await;
    surface.push_image("a", "v2", "").await;
    surface.push_image("a", "v3", "").await;
    assert_eq!(surface.ask("DELETE", "/v2/a/manifests/v1").await.status, 202);
    assert_eq!(surface.ask("GET", "/v2/a/manifests/v1").await.status, 404);
    assert_eq!(surface.ask("GET", &format!("/v2/a/manifests/{digest}")).await.status, 200);
    assert_eq!(surface.ask("DELETE", &format!("/v2/a/manifests/{digest}")).await.status, 202);
    for reference in ["v2", "v3", digest.as_str()] {
        let gone = surface.ask("GET", &format!("/v2/a/manifests/{reference}")).await;
        assert_eq!((gone.status, gone.code().as_str()), (404, "MANIFEST_UNKNOWN"));
    }
}

/// Follows Link headers and collects what `entries` finds on each page.
async fn walk(surface: &Fixture, first: &str, entries: impl Fn(&Value) -> Vec<String>) -> Vec<Vec<String>> {
    let mut pages = Vec::new();
    let mut next = Some(first.to_owned());
    while let Some(path) = next {
        let page = surface.ask("GET", &path).await;
        assert_eq!(page.status, 200, "{path}");
        pages.push(entries(&page.json()));
        next = page.headers.get(header::LINK).map(|link| {
            let link = link.to_str().unwrap();
            link.strip_prefix('<').unwrap().strip_suffix(">; rel=\"next\"").unwrap().to_owned()
        });
    }
    pages
}

fn strings(list: &Value) -> Vec<String> {
    list.as_array().unwrap().iter().map(|entry| entry.as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn listings_are_walked_by_their_links() {
    let surface = Fixture::new(PREFIX).await;
    for (name, tag) in [("c/d", "v1"), ("a", "v10"), ("a", "v1"), ("a", "V2"), ("b", "v1")] {
        surface.push_image(name, tag, "").await;
    }
    let tags = |json: &Value| strings(&json["tags"]);
    assert_eq!(walk(&surface, "/v2/a/tags/list", tags).await, [["V2", "v1", "v10"]]);
    assert_eq!(walk(&surface, "/v2/a/tags/list?n=2", tags).await, [vec!["V2", "v1"], vec!["v10"]]);
    assert_eq!(walk(&surface, "/v2/a/tags/list?n=3&last=V", tags).await, [["V2", "v1", "v10"]]);
    assert_eq!(walk(&surface, "/v2/a/tags/list?last=v1", tags).await, [["v10"]]);
    assert_eq!(walk(&surface, "/v2/a/tags/list?n=0", tags).await, [Vec::<String>::new()]);

    let names = |json: &Value| strings(&json["repositories"]);
    assert_eq!(walk(&surface, "/v2/_catalog", names).await, [["a", "b", "c/d"]]);
    assert_eq!(walk(&surface, "/v2/_catalog?n=1", names).await, [["a"], ["b"], ["c/d"]]);
    assert_eq!(walk(&surface, "/v2/_catalog?n=0", names).await, [Vec::<String>::new()]);
}

#[tokio::test]
async fn referrers_are_listed_filtered_and_paged() {
    let surface = Fixture::new(PREFIX).await;
    let subject = surface.push_image("a", "v1", "").await;
    let mut referrers = Vec::new();
    for n in 0..3 {
        let more = format!(
            r#","artifactType":"kind/{}","annotations":{{"n":"{n}"}},
            "subject":{{"mediaType":"x/y","digest":"{subject}","size":1}}"#,
            n % 2
        );
        let json = surface.image("a", &more).await;
        let pushed = surface.push_manifest("a", &format!("r{n}"), media_type::OCI_MANIFEST, &json).await;
        assert_eq!((pushed.status, pushed.header("oci-subject")), (201, subject.as_str()));
        referrers.push((sha256(json.as_bytes()), n % 2));
    }
    referrers.sort();
    let all: Vec<&str> = referrers.iter().map(|(digest, _)| digest.as_str()).collect();
    let even: Vec<&str> =
        referrers.iter().filter(|(_, kind)| *kind == 0).map(|(digest, _)| digest.as_str()).collect();

    let path = format!("/v2/a/referrers/{subject}");
    let listed = surface.ask("GET", &path).await;
    assert_eq!((listed.status, listed.header("content-type")), (200, media_type::OCI_INDEX));
    assert!(!listed.headers.contains_key("oci-filters-applied"));
    assert!(listed.json()["manifests"][0]["annotations"]["n"].is_string());
    let filtered = surface.ask("GET", &format!("{path}?artifactType=kind/0")).await;
    assert_eq!(filtered.header("oci-filters-applied"), "artifactType");

    let digests = |json: &Value| {
        let manifests = json["manifests"].as_array().unwrap();
        manifests.iter().map(|manifest| manifest["digest"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(walk(&surface, &path, digests).await.concat(), all);
    assert_eq!(walk(&surface, &format!("{path}?n=2"), digests).await, [&all[..2], &all[2..]]);
    assert_eq!(
        walk(&surface, &format!("{path}?artifactType=kind/0&n=1"), digests).await,
        [[even[0]], [even[1]]]
    );

    for nothing in [format!("/v2/a/referrers/{}", sha256(b"none")), format!("/v2/nobody/referrers/{subject}")]
    {
        assert_eq!(walk(&surface, &nothing, digests).await, [Vec::<String>::new()]);
    }
}

#[tokio::test]
async fn a_caller_is_who_the_request_says_within_limits() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::open(Options::new(folder.path())).unwrap();
    let mount = Mount::alone(RepoKey::parse("r").unwrap(), "");
    let surface = Surface {
        registry,
        mount,
        settings: Settings { authority: None, body_timeout: Duration::from_secs(1) },
    };
    let mut parts = http::Request::new(()).into_parts().0;
    assert_eq!(surface.caller(&parts).origin, Origin::local(Api::DockerV2));
    let agent = "é".repeat(ORIGIN_TEXT_BYTES_MAX);
    parts.headers.insert(header::USER_AGENT, HeaderValue::from_bytes(agent.as_bytes()).unwrap());
    parts.headers.insert(REQUEST_ID, HeaderValue::from_static("r-1"));
    parts.extensions.insert(Peer(IpAddr::from([127, 0, 0, 1])));
    let origin = surface.caller(&parts).origin;
    assert_eq!(origin.user_agent.unwrap().len(), ORIGIN_TEXT_BYTES_MAX);
    assert_eq!(origin.request_id.as_deref(), Some("r-1"));
    assert_eq!(origin.remote, Some(IpAddr::from([127, 0, 0, 1])));
}

/// Clients that speak both go on to V1 where nothing looks like V2.
#[tokio::test]
async fn a_repository_that_speaks_v1_alone_shows_nothing_of_v2() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::open(Options::new(folder.path())).unwrap();
    let repository = RepoKey::parse("old").unwrap();
    let config = RepositoryConfig { docker_api_version: DockerApiVersion::V1, ..RepositoryConfig::default() };
    let system = supercargo_registry::Caller::system(Api::Startup);
    registry.create_repository(&system, &repository, config).await.unwrap();
    let mount = Mount::alone(repository, "");
    let settings = Settings { authority: None, body_timeout: Duration::from_secs(30) };
    let router = router(registry, settings).layer(Extension(mount));
    for (method, path) in [
        ("GET", "/v2/"),
        ("GET", "/v2"),
        ("GET", "/v2/token"),
        ("POST", "/v2/a/blobs/uploads/"),
        ("PUT", "/v2/a/manifests/latest"),
        ("GET", "/v2/a/tags/list"),
        ("GET", "/v2/x"),
    ] {
        let request = http::Request::builder().method(method).uri(path).body(Body::from("x")).unwrap();
        let refused = router.clone().oneshot(request).await.unwrap();
        assert_eq!(refused.status(), 404, "{method} {path}");
        for header in [response::API_VERSION, header::WWW_AUTHENTICATE] {
            assert!(!refused.headers().contains_key(&header), "{method} {path}: {header}");
        }
    }
}

/// Docker before 1.10 reads no manifest of its successors', and goes on to V1 where it hears that there is none.
#[tokio::test]
async fn a_docker_that_knows_schema_1_alone_is_sent_to_v1_where_that_is_spoken() {
    let surface = Fixture::new("").await;
    surface.push_image("a", "t", "").await;
    let (old, new) = (("user-agent", "docker/1.9.1 go/go1.4.2"), ("user-agent", "docker/1.10.3"));
    let path = "/v2/a/manifests/t";
    assert_eq!(surface.send("GET", path, &[old], Body::empty()).await.status, 200);
    let both = supercargo_registry::RepositoryChange {
        docker_api_version: Some(DockerApiVersion::Both),
        ..Default::default()
    };
    let (system, repository) =
        (supercargo_registry::Caller::system(Api::Startup), RepoKey::parse("docker-local").unwrap());
    surface.registry.configure_repository(&system, &repository, both).await.unwrap();
    let refused = surface.send("GET", path, &[old], Body::empty()).await;
    assert_eq!((refused.status, &*refused.code()), (404, "MANIFEST_UNKNOWN"));
    assert_eq!(surface.send("GET", path, &[new], Body::empty()).await.status, 200);
    // What it can read it gets.
    let layer = surface.push_blob("a", b"layer").await;
    let schema1 = format!(r#"{{"schemaVersion":1,"fsLayers":[{{"blobSum":"{layer}"}}],"history":[{{}}]}}"#);
    assert_eq!(surface.push_manifest("a", "u", media_type::DOCKER_SCHEMA1, &schema1).await.status, 201);
    assert_eq!(surface.send("GET", "/v2/a/manifests/u", &[old], Body::empty()).await.status, 200);
}
