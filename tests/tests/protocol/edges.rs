//! The edges of what the protocol allows: the longest and strangest that must pass, what must not stand anywhere, and
//! what a broken registry says.

use serde_json::{Value, json};
use supercargo_tests::http::{Request, Response};
use supercargo_tests::image::{Blob, OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST, index_of, sha256};
use supercargo_tests::{Client, Image, Server};

use crate::expect_error;

fn put(client: &Client, path: &str, media_type: &str, body: impl Into<Vec<u8>>) -> Response {
    client.send(&Request::new("PUT", path).header("Content-Type", media_type).body(body)).unwrap()
}

#[test]
fn the_strangest_names_and_tags_that_are_allowed_work_everywhere() {
    let server = Server::start();
    let client = server.client();
    let image = Image::generate(1, 1, 100);
    let longest = format!("{}/{}", "a".repeat(127), "b".repeat(127));
    let names = [
        "a",
        "0",
        "a.b",
        "a_b",
        "a__b",
        "a-b",
        "a---b",
        "tags/list",
        "blobs/uploads",
        "manifests/x",
        &longest,
    ];
    let tags = ["_", "A", "0", "a.b-c_D", "tags", "sha256-00", &"t".repeat(128)];
    for name in names {
        client.push_image(name, tags[0], &image).unwrap();
        for tag in tags {
            client.push_manifest(name, tag, OCI_MANIFEST, &image.manifest.bytes).unwrap();
            client.pull_and_check(name, tag, &image).unwrap();
        }
        let listed = client.get(&format!("/v2/{name}/tags/list")).unwrap().expect(200).json();
        let mut sorted = tags;
        sorted.sort_unstable();
        assert_eq!(listed, json!({ "name": name, "tags": sorted }));
        client.get(&format!("/v2/{name}/referrers/{}", image.manifest.digest)).unwrap().expect(200);
        client.delete_manifest(name, tags[1]).unwrap();
    }
    let mut sorted = names;
    sorted.sort_unstable();
    let catalog = client.get("/v2/_catalog").unwrap().expect(200);
    assert_eq!(catalog.json(), json!({ "repositories": sorted }));
    assert_eq!(catalog.require("Content-Type"), "application/json");
    server.stop().verify();
}

/// Of another algorithm, or malformed: 400 for every method of every path and parameter that takes a digest.
#[test]
fn what_is_no_digest_is_refused_wherever_it_stands() {
    let server = Server::start();
    let client = server.client();
    client.push_image("a", "1", &Image::generate(1, 1, 100)).unwrap();
    let session = client.start_upload("a").unwrap();
    let before = server.log_size();
    let valid = sha256(b"x");
    for digest in [
        "sha256:",
        "sha256:00",
        "sha1:da39a3ee5e6b4b0d3255bfef95601890afd80709",
        "blake3:af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262",
        &format!("sha512:{}", "0".repeat(64)),
        &format!("sha256:{}", "0".repeat(128)),
        &format!("sha256:{}", "A".repeat(64)),
        &format!("SHA256:{}", "a".repeat(64)),
        &format!("{valid}0"),
        &format!("{valid}%00"),
    ] {
        let mut requests = Vec::new();
        for path in [format!("/v2/a/blobs/{digest}"), format!("/v2/a/manifests/{digest}")] {
            requests.extend(["GET", "HEAD", "DELETE"].map(|method| Request::new(method, &path)));
        }
        requests.extend(
            [
                format!("/v2/a/referrers/{digest}"),
                format!("/v2/never/referrers/{digest}"),
                format!("/v2/a/referrers/{valid}?last={digest}"),
            ]
            .map(|path| Request::new("GET", &path)),
        );
        requests.extend(
            ["digest=", "mount=", "from=a&mount="].map(|query| {
                Request::new("POST", &format!("/v2/a/blobs/uploads/?{query}{digest}")).body("x")
            }),
        );
        requests.push(Request::new("PUT", &format!("{session}?digest={digest}")).body("x"));
        requests.push(
            Request::new("PUT", &format!("/v2/a/manifests/{digest}"))
                .header("Content-Type", OCI_MANIFEST)
                .body("{}"),
        );
        for request in requests {
            let answer = client.send(&request).unwrap();
            assert_eq!(answer.status, 400, "{request:?}: {answer:?}");
            if request.method() != "HEAD" {
                expect_error(&answer, 400, "DIGEST_INVALID");
            }
        }
    }
    assert_eq!(server.log_size(), before);
    client.get(&session).unwrap().expect(204).expect_header("Range", "0-0");
}

#[test]
fn a_tag_may_come_with_others() {
    let server = Server::start();
    let client = server.client();
    let image = Image::generate(1, 1, 100);
    image.blobs().for_each(|blob| client.push_blob("a", blob).unwrap());
    let pushed =
        put(&client, "/v2/a/manifests/one?tag=two&tag=three&other=x", OCI_MANIFEST, &*image.manifest.bytes);
    assert_eq!(pushed.expect(201).headers("OCI-Tag"), ["two", "three"]);
    let before = server.log_size();
    for query in ["tag=", "tag=.x", "tag=a%2Fb", &format!("tag={}", "t".repeat(129))] {
        let path = format!("/v2/a/manifests/one?tag=fine&{query}");
        let refused = put(&client, &path, OCI_MANIFEST, &*image.manifest.bytes);
        expect_error(&refused, 400, "MANIFEST_INVALID");
    }
    assert_eq!(server.log_size(), before);
    let tags = client.get("/v2/a/tags/list").unwrap().expect(200).json();
    assert_eq!(tags["tags"], json!(["one", "three", "two"]));
}

/// A manifest of a kind that nobody knows is asked for what it names, as every other.
#[test]
fn what_an_unknown_kind_names_must_be_there_and_its_subject_is_listed() {
    let server = Server::settings().variable("SUPERCARGO_GC__LEASE", "0s").start();
    let client = server.client();
    let kind = "application/vnd.example.thing.v1+json";
    let blobs: Vec<Blob> = ["config", "layer", "blob"].map(Blob::new).into();
    let child = Image::generate(1, 1, 100);
    let subject = Blob::new("not there yet").descriptor(OCI_MANIFEST);
    let thing = Blob::new(
        json!({
            "config": blobs[0].descriptor("a/config"), "layers": [blobs[1].descriptor("a/layer")],
            "blobs": [blobs[2].descriptor("a/blob")], "manifests": [child.manifest.descriptor(OCI_MANIFEST)],
            "subject": subject, "artifactType": "a/thing", "annotations": { "k": "v" },
        })
        .to_string(),
    );
    let refused = put(&client, "/v2/a/manifests/thing", kind, &*thing.bytes);
    expect_error(&refused, 400, "MANIFEST_BLOB_UNKNOWN");
    let mut named: Vec<String> = refused.json()["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| error["detail"]["digest"].as_str().unwrap().to_owned())
        .collect();
    let mut missing: Vec<String> = blobs.iter().map(|blob| blob.digest.clone()).collect();
    missing.push(child.manifest.digest.clone());
    named.sort();
    missing.sort();
    assert_eq!(named, missing);

    blobs.iter().for_each(|blob| client.push_blob("a", blob).unwrap());
    child.blobs().for_each(|blob| client.push_blob("a", blob).unwrap());
    client.push_manifest("a", &child.manifest.digest, OCI_MANIFEST, &child.manifest.bytes).unwrap();
    let pushed = put(&client, "/v2/a/manifests/thing", kind, &*thing.bytes).expect(201);
    assert_eq!(pushed.require("OCI-Subject"), subject["digest"].as_str().unwrap());
    let listed = client.get(&format!("/v2/a/referrers/{}", subject["digest"].as_str().unwrap())).unwrap();
    let mut expected = thing.descriptor(kind);
    (expected["artifactType"], expected["annotations"]) = (json!("a/thing"), json!({ "k": "v" }));
    assert_eq!(listed.expect(200).json()["manifests"], json!([expected]));
    // All of it is held by the tag.
    server.cli(&["gc"]).expect_success();
    blobs.iter().for_each(|blob| assert!(client.has_blob("a", &blob.digest).unwrap()));
    client.pull_and_check("a", &child.manifest.digest, &child).unwrap();
    server.stop().verify();
}

#[test]
fn pages_of_nothing_lead_nowhere() {
    let server = Server::start();
    let client = server.client();
    let subject = Image::generate(1, 1, 100);
    client.push_image("a", "1", &subject).unwrap();
    let index =
        json!({ "schemaVersion": 2, "manifests": [], "subject": subject.manifest.descriptor(OCI_MANIFEST) });
    client.push_manifest("a", "2", OCI_INDEX, index.to_string().as_bytes()).unwrap();
    let referrers = format!("/v2/a/referrers/{}", subject.manifest.digest);
    let list = |path: &str| client.get(path).unwrap().expect(200);
    assert_eq!(list(&referrers).json()["manifests"].as_array().unwrap().len(), 1);
    let none = list(&format!("{referrers}?n=0"));
    assert_eq!((&none.json()["manifests"], none.header("Link")), (&json!([]), None));
    assert_eq!(none.header("OCI-Filters-Applied"), None);
    // An empty filter is none.
    let all = list(&format!("{referrers}?artifactType="));
    assert_eq!(all.json()["manifests"].as_array().unwrap().len(), 1);
    assert_eq!(all.header("OCI-Filters-Applied"), None);
    // A name that holds blobs alone has no tags, and is no name that nothing is known of.
    client.push_blob("b", &subject.config).unwrap();
    let tags = list("/v2/b/tags/list").json();
    assert_eq!(tags, json!({ "name": "b", "tags": Value::Array(Vec::new()) }));
}

#[test]
fn an_index_varies_and_what_is_no_index_does_not() {
    let server = Server::start();
    let client = server.client();
    let image = Image::for_architecture("amd64", &[]);
    client.push_image("a", "image", &image).unwrap();
    let index = index_of(std::slice::from_ref(&image));
    client.push_manifest("a", "index", OCI_INDEX, &index.bytes).unwrap();
    for (reference, accept, varies) in [
        ("index", "*/*", Some("Accept")),
        ("index", OCI_INDEX, Some("Accept")),
        ("index", "application/vnd.docker.distribution.manifest.v2+json", Some("Accept")),
        ("image", "*/*", None),
        (&index.digest, "*/*", None),
        (&index.digest, "application/vnd.docker.distribution.manifest.v2+json", None),
    ] {
        for method in ["GET", "HEAD"] {
            let path = format!("/v2/a/manifests/{reference}");
            let answer =
                client.send(&Request::new(method, &path).header("Accept", accept)).unwrap().expect(200);
            assert_eq!(answer.header("Vary"), varies, "{method} {reference} {accept}");
        }
    }
}

#[test]
fn ranges_of_an_empty_blob_are_none() {
    let server = Server::start();
    let client = server.client();
    let empty = Blob::new("");
    client.push_blob("a", &empty).unwrap();
    for range in ["bytes=0-", "bytes=0-0", "bytes=-1", "bytes=5-"] {
        let request = Request::new("GET", &format!("/v2/a/blobs/{}", empty.digest)).header("Range", range);
        let whole = client.send(&request).unwrap().expect(200).expect_header("Content-Length", "0");
        assert_eq!((whole.header("Content-Range"), whole.body.len()), (None, 0));
    }
}

/// A last chunk that does not fit says where the session is, as any other.
#[test]
fn a_last_chunk_that_does_not_fit_leaves_the_session_as_it_was() {
    let server = Server::start();
    let client = server.client();
    let session = client.start_upload("a").unwrap();
    client.send(&Request::new("PATCH", &session).body("01234")).unwrap().expect(202);
    let digest = sha256(b"0123456789");
    let finish = |range: &str, body: &str| {
        let put = Request::new("PUT", &format!("{session}?digest={digest}")).header("Content-Range", range);
        client.send(&put.body(body)).unwrap()
    };
    for range in ["4-8", "6-10", "0-4", "5-8", "5-10", "9-5", "x"] {
        let refused = finish(range, "56789");
        expect_error(&refused, 416, "BLOB_UPLOAD_INVALID");
        assert_eq!(refused.header("Location"), Some(&*session), "{range}");
        assert_eq!(refused.header("Range"), Some("0-4"), "{range}");
    }
    finish("5-9", "56789").expect(201);
    server.stop().verify();
}

/// What no client caused is said with the request's id, and nothing else.
#[test]
fn a_broken_registry_says_nothing_of_itself() {
    let server = Server::start();
    let client = server.client();
    let image = Image::generate(1, 1, 100_000);
    client.push_image("a", "1", &image).unwrap();
    let digest = &image.layers[0].digest;
    let hex = &digest["sha256:".len()..];
    std::fs::remove_file(server.data().join("blobs/sha256").join(&hex[..2]).join(hex)).unwrap();
    let request = Request::new("GET", &format!("/v2/a/blobs/{digest}")).header("X-Request-Id", "r-1");
    let broken = client.send(&request).unwrap();
    expect_error(&broken, 500, "UNKNOWN");
    assert_eq!(broken.header("X-Request-Id"), Some("r-1"));
    let told = broken.text();
    assert!(told.contains("r-1"), "{told}");
    for inside in [hex, "blobs", "No such file", server.data().to_str().unwrap()] {
        assert!(!told.contains(inside), "{told}");
    }
    // The rest goes on.
    client.get("/v2/a/manifests/1").unwrap().expect(200);
    client.push_blob("b", &image.config).unwrap();
}

/// Layers that are elsewhere need not come, and the same descriptors of ordinary layers must.
#[test]
fn the_data_in_a_descriptor_stands_for_no_blob() {
    let server = Server::start();
    let client = server.client();
    let config = Blob::new("{}");
    let mut embedded = config.descriptor(OCI_CONFIG);
    embedded["data"] = json!("e30=");
    let manifest = json!({ "schemaVersion": 2, "config": embedded, "layers": [] }).to_string();
    expect_error(&put(&client, "/v2/a/manifests/1", OCI_MANIFEST, &*manifest), 400, "MANIFEST_BLOB_UNKNOWN");
    client.push_blob("a", &config).unwrap();
    put(&client, "/v2/a/manifests/1", OCI_MANIFEST, &*manifest).expect(201);
    // A layer may be listed twice.
    let layer = Blob::new("layer");
    client.push_blob("a", &layer).unwrap();
    let twice = [layer.descriptor(OCI_LAYER), layer.descriptor(OCI_LAYER)];
    let manifest = json!({ "schemaVersion": 2, "config": embedded, "layers": twice }).to_string();
    put(&client, "/v2/a/manifests/2", OCI_MANIFEST, manifest).expect(201);
    server.stop().verify();
}
