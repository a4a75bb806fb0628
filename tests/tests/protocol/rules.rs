//! What a repository's rules refuse: with DENIED and a message that says why and what to do, and nothing changed.

use serde_json::json;
use supercargo_tests::http::{Connection, Request, Response};
use supercargo_tests::image::{Blob, OCI_INDEX, OCI_MANIFEST};
use supercargo_tests::{Client, Image, Server};

use crate::expect_error;

fn configure(server: &Server, settings: &[&str]) {
    let command = [&["repo", "configure", "docker-local"], settings].concat();
    server.cli(&command).expect_success();
}

/// Fails the test unless a rule refused it, in words that hold these.
#[track_caller]
fn expect_denied(answer: &Response, words: &[&str]) {
    expect_error(answer, 403, "DENIED");
    let message = answer.json()["errors"][0]["message"].as_str().unwrap().to_owned();
    for word in words {
        assert!(message.contains(word), "no {word:?} in {message:?}");
    }
}

fn put(client: &Client, reference: &str, media_type: &str, body: &[u8]) -> Response {
    let request = Request::new("PUT", &format!("/v2/a/manifests/{reference}"));
    client.send(&request.header("Content-Type", media_type).body(body)).unwrap()
}

#[test]
fn an_immutable_tag_does_not_move() {
    let server = Server::start();
    let client = server.client();
    let (one, two) = (Image::generate(1, 1, 100), Image::generate(2, 1, 100));
    for (tag, image) in [("v1.0", &one), ("latest", &one), ("two", &two)] {
        client.push_image("a", tag, image).unwrap();
    }
    configure(&server, &["--immutable-tags", "v*,release-**"]);
    let before = server.log_size();
    let refused = put(&client, "v1.0", OCI_MANIFEST, &two.manifest.bytes);
    expect_denied(&refused, &["v1.0 is immutable", &one.manifest.digest, "another tag"]);
    // One of several refuses them all.
    let several = format!("{}?tag=new&tag=v1.0", two.manifest.digest);
    expect_denied(&put(&client, &several, OCI_MANIFEST, &two.manifest.bytes), &["v1.0"]);
    // The same digest again passes, and changes nothing.
    put(&client, "v1.0", OCI_MANIFEST, &one.manifest.bytes).expect(201);
    assert_eq!(server.log_size(), before, "something was recorded");
    client.pull_and_check("a", "v1.0", &one).unwrap();
    // Others move as ever; and whoever deletes it means to.
    put(&client, "latest", OCI_MANIFEST, &two.manifest.bytes).expect(201);
    put(&client, "v2.0", OCI_MANIFEST, &two.manifest.bytes).expect(201);
    client.delete_manifest("a", "v1.0").unwrap();
    put(&client, "v1.0", OCI_MANIFEST, &two.manifest.bytes).expect(201);
    configure(&server, &["--immutable-tags", ""]);
    put(&client, "v1.0", OCI_MANIFEST, &one.manifest.bytes).expect(201);
    server.stop().verify();
}

#[test]
fn manifests_are_taken_by_kind_and_size() {
    let server = Server::start();
    let client = server.client();
    let image = Image::generate(1, 1, 100);
    client.push_image("a", "1", &image).unwrap();
    let index = json!({ "schemaVersion": 2, "manifests": [] }).to_string();
    let chart = json!({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST, "layers": [],
        "config": image.config.descriptor("application/vnd.cncf.helm.config.v1+json"),
    })
    .to_string();
    let size = image.manifest.bytes.len();
    configure(
        &server,
        &[
            "--media-types",
            "application/vnd.oci.image.manifest.v1+json",
            "--artifact-types",
            "application/vnd.oci.image.config.*",
            "--manifest-max",
            &format!("{size}B"),
        ],
    );
    let before = server.log_size();
    put(&client, "1", OCI_MANIFEST, &image.manifest.bytes).expect(201);
    expect_denied(&put(&client, "x", OCI_INDEX, index.as_bytes()), &[OCI_INDEX, OCI_MANIFEST]);
    let refused = put(&client, "x", OCI_MANIFEST, chart.as_bytes());
    expect_denied(&refused, &["vnd.cncf.helm.config.v1+json", "application/vnd.oci.image.config.*"]);
    let longer = [&*image.manifest.bytes, b" "].concat();
    expect_denied(&put(&client, "x", OCI_MANIFEST, &longer), &[&(size + 1).to_string(), &size.to_string()]);
    // One that is no small blob is not left behind either.
    let large = [&*image.manifest.bytes, &[b' '; 100_000]].concat();
    expect_denied(&put(&client, "x", OCI_MANIFEST, &large), &[&size.to_string()]);
    assert_eq!(server.log_size(), before, "something was recorded");
    configure(&server, &["--media-types", "", "--artifact-types", "", "--manifest-max", "0B"]);
    put(&client, "x", OCI_INDEX, index.as_bytes()).expect(201);
    put(&client, "x", OCI_MANIFEST, chart.as_bytes()).expect(201);
    put(&client, "x", OCI_MANIFEST, &large).expect(201);
    server.stop().verify();
}

/// What is known to be too large is refused before its bytes are sent, and a stream as soon as it is.
#[test]
fn a_blob_may_not_be_larger_than_the_rule_says() {
    let server = Server::start();
    let client = server.client();
    configure(&server, &["--blob-max", "100KiB"]);
    let blob = Blob::generate(1, 102_401);
    let before = server.log_size();
    let session = || client.start_upload("a").unwrap();
    let digest = format!("digest={}", blob.digest);
    let post = format!("/v2/a/blobs/uploads/?{digest}");
    let (patch, put) = (session(), format!("{}?{digest}", session()));
    for (method, target) in [("POST", &post), ("PATCH", &patch), ("PUT", &put)] {
        // Nothing of the body is sent until the server asks for it, and it does not.
        let mut connection = Connection::open(server.address()).unwrap();
        let request = Request::new(method, target).header("Expect", "100-continue");
        connection.send(&request.header("Content-Length", &blob.bytes.len().to_string()).to_bytes()).unwrap();
        expect_denied(&connection.receive(method).unwrap(), &["102400", "layer"]);
    }
    let pieces = || blob.bytes.chunks(10_000).map(<[u8]>::to_vec).collect::<Vec<_>>();
    for (method, target) in [("POST", post), ("PATCH", session()), ("PUT", format!("{}?{digest}", session()))]
    {
        let streamed = Request::new(method, &target).chunked(pieces());
        expect_denied(&client.send(&streamed).unwrap(), &["102400"]);
        if method == "PATCH" {
            // What can't be finished is not kept.
            expect_error(&client.get(&target).unwrap(), 404, "BLOB_UPLOAD_UNKNOWN");
        }
    }
    // In chunks, each of which would pass.
    let chunked = session();
    client.send(&Request::new("PATCH", &chunked).body(&blob.bytes[..60_000])).unwrap().expect(202);
    expect_denied(
        &client.send(&Request::new("PATCH", &chunked).body(&blob.bytes[60_000..])).unwrap(),
        &["102400"],
    );
    client.get(&chunked).unwrap().expect(204).expect_header("Range", "0-59999");
    assert_eq!(server.log_size(), before, "something was recorded");
    assert!(!client.has_blob("a", &blob.digest).unwrap());
    client.push_blob("a", &Blob::new(&blob.bytes[..102_400])).unwrap();
    // A finished upload is asked for again as ever.
    let put = format!("{chunked}?digest={}", Blob::new(&blob.bytes[..102_400]).digest);
    client.send(&Request::new("PUT", &put).body(&blob.bytes[60_000..102_400])).unwrap().expect(201);
    client.send(&Request::new("PUT", &put).body(&blob.bytes[60_000..102_400])).unwrap().expect(201);
    server.stop().verify();
}

#[test]
fn a_quota_is_not_exceeded() {
    let server = Server::settings()
        .variable("SUPERCARGO_GC__LEASE", "0s")
        .variable("SUPERCARGO_GC__KEEP_DELETED", "0s")
        .start();
    let client = server.client();
    configure(&server, &["--quota", "300KiB", "--name-quotas", "small/**=1KiB, a=1MiB"]);
    let blob = |seed: u64, size: usize| Blob::generate(seed, size);
    let (first, second) = (blob(1, 200 << 10), blob(2, 90 << 10));
    client.push_blob("a", &first).unwrap();
    client.push_blob("a", &second).unwrap();
    let before = server.log_size();
    let third = blob(3, 11 << 10);
    let post = |name: &str, blob: &Blob| {
        let request = Request::new("POST", &format!("/v2/{name}/blobs/uploads/?digest={}", blob.digest));
        client.send(&request.body(&*blob.bytes)).unwrap()
    };
    expect_denied(&post("a", &third), &["repository docker-local", "307200", "delete", "larger quota"]);
    let streamed = Request::new("PATCH", &client.start_upload("a").unwrap()).chunked([third.bytes.clone()]);
    expect_denied(&client.send(&streamed).unwrap(), &["307200"]);
    let mount = Request::new("POST", &format!("/v2/b/blobs/uploads/?mount={}&from=a", first.digest));
    expect_denied(&client.send(&mount).unwrap(), &["307200"]);
    expect_denied(&post("small/one", &blob(4, 1025)), &["repository name small/one", "1024"]);
    let index = |padding: usize| format!("{}{{\"manifests\":[]}}", " ".repeat(padding)).into_bytes();
    expect_denied(&put(&client, "x", OCI_INDEX, &index(11 << 10)), &["307200"]);
    assert_eq!(server.log_size(), before, "something was recorded");
    // What is there is there: to push it again takes no room.
    post("a", &first).expect(201);
    post("small/one", &blob(4, 1024)).expect(201);
    // People hear of it before it is used up.
    let warned = put(&client, "x", OCI_INDEX, &index(0)).expect(201);
    let warning = warned.require("Warning");
    assert!(warning.contains("repository docker-local may hold 307200 bytes"), "{warning}");
    // What is deleted and collected leaves room.
    client.delete(&format!("/v2/a/blobs/{}", first.digest)).unwrap().expect(202);
    server.cli(&["gc"]).expect_success();
    post("a", &third).expect(201);
    assert_eq!(put(&client, "y", OCI_INDEX, &index(1)).expect(201).header("Warning"), None);
    server.stop().verify();
}

/// Many at once share what is left; the writer decides who gets it.
#[test]
fn a_quota_holds_against_many_at_once() {
    let server = Server::start();
    configure(&server, &["--quota", "500KiB"]);
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let running: Vec<_> = (0..10)
            .map(|seed| {
                let client = server.client();
                scope.spawn(move || {
                    let blob = Blob::generate(seed, 100 << 10);
                    let path = format!("/v2/a/blobs/uploads/?digest={}", blob.digest);
                    client.send(&Request::new("POST", &path).body(&*blob.bytes)).unwrap().status
                })
            })
            .collect();
        running.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 5, "{statuses:?}");
    assert!(statuses.iter().all(|status| matches!(status, 201 | 403)), "{statuses:?}");
    let usage = server.cli(&["repo", "show", "docker-local"]).expect_success().json();
    assert_eq!(usage["holds"]["bytes"], 500 << 10);
    server.stop().verify();
}

#[test]
fn rules_are_set_shown_and_taken_away() {
    let server = Server::start();
    let client = server.client();
    let path = "/api/supercargo/v1/repositories/docker-local";
    let patch = |body: serde_json::Value| {
        let request = Request::new("PATCH", path).header("Content-Type", "application/json");
        client.send(&request.body(body.to_string())).unwrap()
    };
    let none = json!({
        "immutable-tags": [], "media-types": [], "artifact-types": [], "manifest-bytes-max": null,
        "blob-bytes-max": null, "quota": null, "name-quotas": [],
    });
    let rules = || client.get(path).unwrap().expect(200).json()["config"]["rules"].clone();
    assert_eq!(rules(), none);
    let all = json!({
        "immutable-tags": ["v*"], "media-types": ["application/**"], "artifact-types": ["**"],
        "manifest-bytes-max": 1000, "blob-bytes-max": 2000, "quota": 3000,
        "name-quotas": [{ "names": "a/**", "bytes": 500 }],
    });
    patch(json!({ "rules": all })).expect(200);
    assert_eq!(rules(), all);
    // What is not named stays.
    patch(json!({ "description": "x" })).expect(200);
    patch(json!({ "rules": { "quota": 4000 } })).expect(200);
    let mut expected = all;
    expected["quota"] = json!(4000);
    assert_eq!(rules(), expected);
    let shown = server.cli(&["repo", "show", "docker-local"]).expect_success().json();
    assert_eq!(shown["config"]["rules"], expected);
    for bad in [
        json!({ "rules": { "immutable-tags": ["a b"] } }),
        json!({ "rules": { "quota": -1 } }),
        json!({ "rules": { "nope": 1 } }),
        json!({ "rules": { "immutable-tags": vec!["a"; 101] } }),
    ] {
        assert_eq!(patch(bad).expect(400).json()["error"]["code"], "invalid");
    }
    assert_eq!(rules(), expected);
    let unset = json!({
        "immutable-tags": [], "media-types": [], "artifact-types": [], "manifest-bytes-max": 0, "blob-bytes-max": 0,
        "quota": 0, "name-quotas": [],
    });
    patch(json!({ "rules": unset })).expect(200);
    assert_eq!(rules(), none);
    let stopped = server.stop();
    stopped
        .cli(&["repo", "configure", "docker-local", "--name-quotas", "a=1KiB", "--quota", "1MiB"])
        .expect_success();
    let shown = stopped.cli(&["repo", "show", "docker-local"]).expect_success().json();
    assert_eq!(shown["config"]["rules"]["name-quotas"], json!([{ "names": "a", "bytes": 1024 }]));
    assert!(!stopped.cli(&["repo", "configure", "docker-local", "--name-quotas", "a"]).status.success());
    stopped.verify();
}
