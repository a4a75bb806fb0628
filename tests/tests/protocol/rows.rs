//! What each endpoint answers when all is well. The surface's own tests have every branch; here is what the
//! listener, the HTTP library and the binary make of it.

use serde_json::json;
use supercargo_tests::client::with_query;
use supercargo_tests::http::Request;
use supercargo_tests::image::{Blob, OCI_INDEX, OCI_MANIFEST, sha512};
use supercargo_tests::{Image, Server};

#[test]
fn the_base_says_what_this_is() {
    let server = Server::start();
    let client = server.client();
    for path in ["/v2/", "/v2"] {
        let answer = client.get(path).unwrap().expect(200);
        assert_eq!(answer.require("Docker-Distribution-API-Version"), "registry/2.0");
        assert_eq!(answer.body, b"{}");
        assert!(!answer.require("X-Request-Id").is_empty());
    }
    let named = Request::new("GET", "/v2/").header("X-Request-Id", "my-own.id");
    client.send(&named).unwrap().expect(200).expect_header("X-Request-Id", "my-own.id");
    let broken = Request::new("GET", "/v2/").header("X-Request-Id", "<script>");
    assert_ne!(client.send(&broken).unwrap().expect(200).require("X-Request-Id"), "<script>");
}

#[test]
fn a_blob_comes_in_in_every_way() {
    let server = Server::start();
    let client = server.client();
    for (number, size) in [0, 1, 1000, 65_536, 65_537, 1_000_000].into_iter().enumerate() {
        let blob = |way: u64| Blob::generate(number as u64 * 10 + way, size);
        let check = |blob: &Blob| {
            let path = format!("/v2/a/blobs/{}", blob.digest);
            let length = blob.bytes.len().to_string();
            let head = client.head(&path).unwrap().expect(200);
            assert_eq!(head.require("Content-Length"), length);
            assert_eq!(head.require("Docker-Content-Digest"), blob.digest);
            let got = client.get(&path).unwrap().expect(200);
            assert_eq!(got.require("Content-Length"), length);
            assert_eq!(got.require("ETag"), format!("\"{}\"", blob.digest));
            assert!(got.body == blob.bytes, "{size} bytes");
        };
        let uploads = "/v2/a/blobs/uploads/";

        let at_once = blob(1);
        let post = Request::new("POST", &with_query(uploads, &format!("digest={}", at_once.digest)));
        let stored = client.send(&post.body(&*at_once.bytes)).unwrap().expect(201);
        assert_eq!(stored.require("Location"), format!("/v2/a/blobs/{}", at_once.digest));
        assert_eq!(stored.require("Docker-Content-Digest"), at_once.digest);
        check(&at_once);

        let in_one_put = blob(2);
        let session = client.start_upload("a").unwrap();
        let put = Request::new("PUT", &with_query(&session, &format!("digest={}", in_one_put.digest)));
        client.send(&put.clone().body(&*in_one_put.bytes)).unwrap().expect(201);
        check(&in_one_put);
        // The answer may have been lost: asked again, it is given again.
        client.send(&put).unwrap().expect(201);

        let streamed = blob(3);
        client.push_blob("a", &streamed).unwrap();
        check(&streamed);

        let chunked = blob(4);
        let session = client.start_upload("a").unwrap();
        let mut sent = 0;
        for chunk in chunked.bytes.chunks(300_000) {
            let range = format!("{sent}-{}", sent + chunk.len() - 1);
            let patch = Request::new("PATCH", &session).header("Content-Range", &range).body(chunk);
            sent += chunk.len();
            let answer = client.send(&patch).unwrap().expect(202);
            assert_eq!(answer.require("Range"), format!("0-{}", sent - 1));
            client.get(&session).unwrap().expect(204).expect_header("Range", &format!("0-{}", sent - 1));
        }
        let put = Request::new("PUT", &with_query(&session, &format!("digest={}", chunked.digest)));
        client.send(&put).unwrap().expect(201);
        check(&chunked);
        client.get(&session).unwrap().expect(404);
    }
    server.stop().verify();
}

#[test]
fn sha512_is_as_good() {
    let server = Server::start();
    let client = server.client();
    for size in [10, 100_000] {
        let bytes = Blob::generate(5, size).bytes;
        let digest = sha512(&bytes);
        let session = client.send(&Request::new("POST", "/v2/a/blobs/uploads/?digest-algorithm=sha512"));
        let session = session.unwrap().expect(202).require("Location").to_owned();
        let put = Request::new("PUT", &with_query(&session, &format!("digest={digest}"))).body(&*bytes);
        client.send(&put).unwrap().expect(201).expect_header("Docker-Content-Digest", &digest);
        let got = client.get(&format!("/v2/a/blobs/{digest}")).unwrap().expect(200);
        assert!(got.body == bytes);
    }
    server.stop().verify();
}

#[test]
fn ranges_and_conditions_hold_for_small_and_large() {
    let server = Server::start();
    let client = server.client();
    for size in [1000_usize, 500_000] {
        let blob = Blob::generate(size as u64, size);
        client.push_blob("a", &blob).unwrap();
        let path = format!("/v2/a/blobs/{}", blob.digest);
        let ask = |headers: &[(&str, &str)]| {
            let request = Request::new("GET", &path);
            let request = headers.iter().fold(request, |request, (name, value)| request.header(name, value));
            client.send(&request).unwrap()
        };
        for (range, from, to) in [
            ("bytes=0-0", 0, 1),
            ("bytes=10-19", 10, 20),
            ("bytes=990-", 990, size),
            ("bytes=-7", size - 7, size),
            ("bytes=5-99999999", 5, size),
        ] {
            let part = ask(&[("Range", range)]).expect(206);
            assert!(part.body == blob.bytes[from..to], "{range}");
            let expected = format!("bytes {from}-{}/{size}", to - 1);
            assert_eq!(part.require("Content-Range"), expected);
        }
        let past = ask(&[("Range", "bytes=99999999-")]).expect(416);
        assert_eq!(past.require("Content-Range"), format!("bytes */{size}"));
        let etag = format!("\"{}\"", blob.digest);
        assert!(ask(&[("If-None-Match", &etag)]).expect(304).body.is_empty());
        ask(&[("Range", "bytes=0-9"), ("If-Range", &etag)]).expect(206);
        ask(&[("Range", "bytes=0-9"), ("If-Range", "\"other\"")]).expect(200);
    }
}

#[test]
fn listings_are_walked_by_their_links() {
    let server = Server::start();
    let client = server.client();
    let image = Image::generate(1, 1, 100);
    for number in 0..7 {
        client.push_image(&format!("n{number}"), "1", &image).unwrap();
        client.push_image("many", &format!("t{number}"), &image).unwrap();
    }
    let walk = |first: &str, field: &str| {
        let mut found = Vec::new();
        let mut next = Some(first.to_owned());
        while let Some(path) = next {
            let page = client.get(&path).unwrap().expect(200);
            found.extend(
                page.json()[field].as_array().unwrap().iter().map(|entry| entry.as_str().unwrap().to_owned()),
            );
            next = page.header("Link").map(|link| {
                let (path, relation) = link.strip_prefix('<').unwrap().split_once('>').unwrap();
                assert_eq!(relation, "; rel=\"next\"");
                path.to_owned()
            });
        }
        found
    };
    let tags: Vec<String> = (0..7).map(|number| format!("t{number}")).collect();
    assert_eq!(walk("/v2/many/tags/list?n=3", "tags"), tags);
    assert_eq!(walk("/v2/many/tags/list", "tags"), tags);
    let names: Vec<String> =
        ["many".to_owned()].into_iter().chain((0..7).map(|number| format!("n{number}"))).collect();
    assert_eq!(walk("/v2/_catalog?n=2", "repositories"), names);
    assert_eq!(
        client.get("/v2/many/tags/list?n=0").unwrap().expect(200).json(),
        json!({"name": "many", "tags": []})
    );
}

#[test]
fn referrers_are_found_when_the_subject_comes_later() {
    let server = Server::start();
    let client = server.client();
    let subject = Image::generate(1, 1, 100);
    let empty = Blob::new("{}");
    client.push_blob("a", &empty).unwrap();
    let referrer = json!({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": "application/vnd.example.sbom",
        "config": empty.descriptor("application/vnd.oci.empty.v1+json"), "layers": [],
        "subject": subject.manifest.descriptor(OCI_MANIFEST), "annotations": {"by": "a test"},
    });
    let referrer = Blob::new(referrer.to_string());
    let pushed = client.push_manifest("a", &referrer.digest, OCI_MANIFEST, &referrer.bytes).unwrap();
    assert_eq!(pushed.require("OCI-Subject"), subject.manifest.digest);
    let path = format!("/v2/a/referrers/{}", subject.manifest.digest);
    for _ in 0..2 {
        let listed = client.get(&path).unwrap().expect(200);
        assert_eq!(listed.require("Content-Type"), OCI_INDEX);
        let listed = listed.json();
        assert_eq!(listed["manifests"][0]["digest"], referrer.digest);
        assert_eq!(listed["manifests"][0]["artifactType"], "application/vnd.example.sbom");
        assert_eq!(listed["manifests"][0]["annotations"]["by"], "a test");
        client.push_image("a", "1", &subject).unwrap();
    }
    // In use because its subject is, though no tag points to it.
    server.cli(&["gc"]).expect_success();
    client.get(&format!("/v2/a/manifests/{}", referrer.digest)).unwrap().expect(200);
    let none = client.get(&format!("{path}?artifactType=application/vnd.other")).unwrap().expect(200);
    assert_eq!(none.json()["manifests"], json!([]));
    assert_eq!(none.require("OCI-Filters-Applied"), "artifactType");
    server.stop().verify();
}

#[test]
fn deletes_take_what_they_say_and_no_more() {
    let server = Server::settings().variable("SUPERCARGO_GC__LEASE", "0s").start();
    let client = server.client();
    let (one, two) = (Image::generate(1, 2, 100), Image::generate(2, 2, 100));
    for (tag, image) in [("a", &one), ("b", &one), ("c", &two)] {
        client.push_image("x", tag, image).unwrap();
    }
    client.delete_manifest("x", "a").unwrap();
    assert_eq!(client.resolve("x", "a").unwrap(), None);
    client.pull_and_check("x", "b", &one).unwrap();
    client.delete_manifest("x", &one.manifest.digest).unwrap();
    assert_eq!(client.resolve("x", "b").unwrap(), None);
    client.get(&format!("/v2/x/manifests/{}", one.manifest.digest)).unwrap().expect(404);
    client.pull_and_check("x", "c", &two).unwrap();
    client.delete(&format!("/v2/x/blobs/{}", one.layers[0].digest)).unwrap().expect(202);
    assert!(!client.has_blob("x", &one.layers[0].digest).unwrap());
    let dry = server.cli(&["gc", "--dry-run"]).expect_success().json();
    let done = server.cli(&["gc"]).expect_success().json();
    assert_eq!(dry["bytes"], done["bytes"]);
    assert!(done["bytes"].as_u64().unwrap() > 0);
    client.pull_and_check("x", "c", &two).unwrap();
    server.stop().verify();
}

#[test]
fn a_mount_needs_no_bytes() {
    let server = Server::start();
    let client = server.client();
    let blob = Blob::generate(1, 100_000);
    client.push_blob("from/here", &blob).unwrap();
    let mount = |name: &str, query: &str| {
        client
            .send(&Request::new("POST", &format!("/v2/{name}/blobs/uploads/?mount={}{query}", blob.digest)))
            .unwrap()
    };
    mount("to/there", "&from=from/here").expect(201);
    mount("to/elsewhere", "").expect(201);
    assert!(client.has_blob("to/there", &blob.digest).unwrap());
    assert!(client.has_blob("to/elsewhere", &blob.digest).unwrap());
    let session = mount("to/nowhere", "&from=not/there").expect(202).require("Location").to_owned();
    client.delete(&session).unwrap().expect(204);
    client.get(&session).unwrap().expect(404);
    server.stop().verify();
}

#[test]
fn probes_and_metrics_are_on_every_listener() {
    let server = Server::start();
    let client = server.client();
    client.push_image("a", "1", &Image::generate(1, 1, 100)).unwrap();
    client.get("/healthz").unwrap().expect(200);
    client.get("/readyz").unwrap().expect(200);
    let page = client.get("/metrics").unwrap().expect(200);
    let text = page.text();
    for metric in [
        "supercargo_http_requests_total{method=\"PUT\",route=\"manifest\",status=\"201\"} 1",
        "supercargo_log_size 5",
        "supercargo_projections_position 5",
        "supercargo_commit_duration_seconds_count",
        "supercargo_commit_group_commands_bucket",
        "supercargo_orphans 0",
        "supercargo_job_runs_total{job=\"sweep\",outcome=\"failed\"} 0",
        "supercargo_http_received_bytes_total",
        "# EOF",
    ] {
        assert!(text.contains(metric), "no {metric} in\n{text}");
    }
}
