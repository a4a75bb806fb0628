//! Manifests row by row: every kind there is, what each must bring along, and what is served to whom.

use serde_json::{Value, json};
use supercargo_tests::http::{Request, Response};
use supercargo_tests::image::{
    Blob, DOCKER_LIST, DOCKER_MANIFEST, OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST, index_of, sha512,
};
use supercargo_tests::{Client, Image, Server};

use crate::expect_error;

const MANIFEST_BYTES_MAX: usize = 4 << 20;

fn put(client: &Client, path: &str, media_type: &str, body: impl Into<Vec<u8>>) -> Response {
    client.send(&Request::new("PUT", path).header("Content-Type", media_type).body(body)).unwrap()
}

#[test]
fn a_manifest_comes_back_as_it_was_pushed() {
    let server = Server::start();
    let client = server.client();
    let image = Image::generate(1, 2, 100);
    image.blobs().for_each(|blob| client.push_blob("a", blob).unwrap());
    // White space of one's own: what is kept is the bytes.
    let spaced = Blob::new([b"\n  ", &*image.manifest.bytes, b"\t\n"].concat());
    let sent_as = format!("{OCI_MANIFEST}; charset=utf-8");
    let pushed = put(&client, "/v2/a/manifests/v1", &sent_as, &*spaced.bytes).expect(201);
    assert_eq!(pushed.require("Location"), format!("/v2/a/manifests/{}", spaced.digest));
    assert_eq!(pushed.require("Docker-Content-Digest"), spaced.digest);
    assert_eq!((pushed.header("OCI-Subject"), pushed.header("Warning")), (None, None));
    assert!(pushed.body.is_empty());

    let etag = format!("\"{}\"", spaced.digest);
    for reference in ["v1", &spaced.digest] {
        let path = format!("/v2/a/manifests/{reference}");
        for method in ["GET", "HEAD"] {
            let answer = client.send(&Request::new(method, &path)).unwrap().expect(200);
            assert_eq!(answer.require("Content-Type"), OCI_MANIFEST);
            assert_eq!(answer.require("Content-Length"), spaced.bytes.len().to_string());
            assert_eq!(answer.require("Docker-Content-Digest"), spaced.digest);
            assert_eq!(answer.require("ETag"), etag);
            assert_eq!(answer.body, if method == "GET" { &*spaced.bytes } else { &[] });
            let known = Request::new(method, &path).header("If-None-Match", &etag);
            assert!(client.send(&known).unwrap().expect(304).expect_header("ETag", &etag).body.is_empty());
        }
    }
    // A manifest is no blob.
    let as_blob = format!("/v2/a/blobs/{}", spaced.digest);
    expect_error(&client.get(&as_blob).unwrap(), 404, "BLOB_UNKNOWN");
    client.head(&as_blob).unwrap().expect(404);
    server.stop().verify();
}

#[test]
fn tags_may_come_with_a_digest() {
    let server = Server::start();
    let client = server.client();
    let image = Image::generate(1, 1, 100);
    image.blobs().for_each(|blob| client.push_blob("a", blob).unwrap());
    let tags: Vec<String> = (0..12).map(|number| format!("t{number:02}")).collect();
    let query: Vec<String> = tags.iter().map(|tag| format!("tag={tag}")).collect();
    let path = |digest: &str, query: &str| format!("/v2/a/manifests/{digest}?{query}");

    let before = server.log_size();
    let bad = format!("{}&tag=.bad", query.join("&"));
    let refused = put(&client, &path(&image.manifest.digest, &bad), OCI_MANIFEST, &*image.manifest.bytes);
    expect_error(&refused, 400, "MANIFEST_INVALID");
    let other = path(&Blob::new("other").digest, &query.join("&"));
    let refused = put(&client, &other, OCI_MANIFEST, &*image.manifest.bytes);
    expect_error(&refused, 400, "DIGEST_INVALID");
    assert_eq!(server.log_size(), before);

    let whole = path(&image.manifest.digest, &query.join("&"));
    let pushed = put(&client, &whole, OCI_MANIFEST, &*image.manifest.bytes).expect(201);
    assert_eq!(pushed.headers("OCI-Tag"), tags);
    let listed = client.get("/v2/a/tags/list").unwrap().expect(200).json();
    assert_eq!(listed, json!({ "name": "a", "tags": tags }));
    for tag in &tags {
        client.pull_and_check("a", tag, &image).unwrap();
    }

    // The other algorithm names the same bytes.
    let long = sha512(&image.manifest.bytes);
    let pushed = put(&client, &path(&long, "tag=long"), OCI_MANIFEST, &*image.manifest.bytes).expect(201);
    assert_eq!(pushed.require("Docker-Content-Digest"), long);
    assert_eq!(client.get("/v2/a/manifests/long").unwrap().expect(200).body, image.manifest.bytes);
    server.stop().verify();
}

/// Every kind of manifest that tools push, each with what it must bring along.
#[test]
fn every_kind_is_kept() {
    let server = Server::start();
    let client = server.client();
    let (config, layer, empty) = (Blob::new(r#"{"a":1}"#), Blob::new("a layer"), Blob::new("{}"));
    [&config, &layer, &empty].into_iter().for_each(|blob| client.push_blob("a", blob).unwrap());
    let image = Image::generate(1, 1, 100);
    client.push_image("a", "image", &image).unwrap();
    let child = image.platform_descriptor();
    let docker_layer = "application/vnd.docker.image.rootfs.diff.tar.gzip";
    let docker_config = "application/vnd.docker.container.image.v1+json";
    let foreign = |media_type: &str| {
        let mut descriptor = Blob::new("elsewhere").descriptor(media_type);
        descriptor["urls"] = json!(["http://elsewhere.example/layer"]);
        descriptor
    };
    let mut embedded = empty.descriptor("application/vnd.oci.empty.v1+json");
    embedded["data"] = json!("e30=");
    let kinds: Vec<(&str, &str, Value)> = vec![
        (
            "docker",
            DOCKER_MANIFEST,
            json!({ "schemaVersion": 2, "mediaType": DOCKER_MANIFEST, "config": config.descriptor(docker_config),
                "layers": [layer.descriptor(docker_layer)] }),
        ),
        (
            "docker-list",
            DOCKER_LIST,
            json!({ "schemaVersion": 2, "mediaType": DOCKER_LIST, "manifests": [child] }),
        ),
        ("oci-index", OCI_INDEX, json!({ "schemaVersion": 2, "manifests": [child] })),
        ("empty-index", OCI_INDEX, json!({ "schemaVersion": 2, "manifests": [] })),
        (
            "windows",
            DOCKER_MANIFEST,
            json!({ "schemaVersion": 2, "config": config.descriptor(docker_config), "layers":
                [foreign("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"), layer.descriptor(docker_layer)] }),
        ),
        (
            "nondistributable",
            OCI_MANIFEST,
            json!({ "schemaVersion": 2, "config": config.descriptor(OCI_CONFIG), "layers":
                [foreign("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip")] }),
        ),
        (
            "helm",
            OCI_MANIFEST,
            json!({ "schemaVersion": 2, "config": config.descriptor("application/vnd.cncf.helm.config.v1+json"),
                "layers": [layer.descriptor("application/vnd.cncf.helm.chart.content.v1.tar+gzip")] }),
        ),
        (
            "artifact",
            OCI_MANIFEST,
            json!({ "schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": "application/vnd.example",
                "config": embedded, "layers": [embedded] }),
        ),
        (
            "build-cache",
            OCI_INDEX,
            json!({ "schemaVersion": 2, "manifests": [layer.descriptor(OCI_LAYER),
                config.descriptor("application/vnd.buildkit.cacheconfig.v0")] }),
        ),
        (
            "oras",
            "application/vnd.oci.artifact.manifest.v1+json",
            json!({ "artifactType": "a/b", "blobs": [layer.descriptor("text/plain")] }),
        ),
        ("anything", "application/vnd.example.thing+json", json!({ "of": ["my", "own"] })),
        (
            "schema1",
            "application/vnd.docker.distribution.manifest.v1+json",
            json!({ "schemaVersion": 1, "name": "a", "tag": "schema1", "architecture": "amd64",
                "fsLayers": [{ "blobSum": layer.digest }], "history": [{ "v1Compatibility": "{}" }] }),
        ),
    ];
    for (tag, media_type, manifest) in &kinds {
        let manifest = Blob::new(manifest.to_string());
        client
            .push_manifest("a", tag, media_type, &manifest.bytes)
            .unwrap_or_else(|error| panic!("{tag}: {error}"));
        let got = client.get(&format!("/v2/a/manifests/{tag}")).unwrap().expect(200);
        assert_eq!((got.require("Content-Type"), &got.body), (*media_type, &manifest.bytes), "{tag}");
        assert_eq!(got.require("Docker-Content-Digest"), manifest.digest, "{tag}");
    }
    // What a tag holds is not collected.
    server.cli(&["gc"]).expect_success();
    for (tag, ..) in &kinds {
        client.get(&format!("/v2/a/manifests/{tag}")).unwrap().expect(200);
    }
    server.stop().verify();
}

#[test]
fn what_is_missing_is_named_each_by_itself() {
    let server = Server::settings().variable("SUPERCARGO_GC__LEASE", "0s").start();
    let client = server.client();
    let image = Image::generate(1, 2, 100);
    client.push_blob("a", &image.layers[0]).unwrap();
    let before = server.log_size();
    let path = "/v2/a/manifests/x";
    let named = |answer: &Response| -> Vec<String> {
        expect_error(answer, 400, "MANIFEST_BLOB_UNKNOWN");
        let errors = answer.json()["errors"].as_array().unwrap().clone();
        errors.iter().map(|error| error["detail"]["digest"].as_str().unwrap().to_owned()).collect()
    };
    let refused = put(&client, path, OCI_MANIFEST, &*image.manifest.bytes);
    let missing = named(&refused);
    assert_eq!(missing.len(), 2, "{refused:?}");
    assert!(missing.contains(&image.config.digest) && missing.contains(&image.layers[1].digest));

    // An index needs its children, unless its repository is set to take it without. Urls alone do not make
    // an ordinary layer one that may be missing.
    let index = index_of(std::slice::from_ref(&image));
    assert_eq!(
        named(&put(&client, path, OCI_INDEX, &*index.bytes)),
        std::slice::from_ref(&image.manifest.digest)
    );
    let mut layer = image.layers[1].descriptor(OCI_LAYER);
    layer["urls"] = json!(["http://elsewhere.example/"]);
    let with_urls =
        json!({ "schemaVersion": 2, "config": image.layers[0].descriptor(OCI_CONFIG), "layers": [layer] });
    assert_eq!(
        named(&put(&client, path, OCI_MANIFEST, with_urls.to_string())),
        std::slice::from_ref(&image.layers[1].digest)
    );
    assert_eq!(server.log_size(), before, "something was recorded");

    server.cli(&["repo", "configure", "docker-local", "--sparse-index", "true"]).expect_success();
    put(&client, path, OCI_INDEX, &*index.bytes).expect(201);
    expect_error(
        &client.get(&format!("/v2/a/manifests/{}", image.manifest.digest)).unwrap(),
        404,
        "MANIFEST_UNKNOWN",
    );
    // What comes later is held by the index that was there first.
    image.blobs().for_each(|blob| client.push_blob("a", blob).unwrap());
    client.push_manifest("a", &image.manifest.digest, OCI_MANIFEST, &image.manifest.bytes).unwrap();
    server.cli(&["gc"]).expect_success();
    client.pull_and_check("a", &image.manifest.digest, &image).unwrap();
    server.stop().verify();
}

#[test]
fn four_mebibytes_pass_and_one_byte_more_does_not() {
    let server = Server::start();
    let client = server.client();
    let image = Image::generate(1, 1, 100);
    image.blobs().for_each(|blob| client.push_blob("a", blob).unwrap());
    let mut bytes = image.manifest.bytes;
    bytes.resize(MANIFEST_BYTES_MAX, b' ');
    put(&client, "/v2/a/manifests/large", OCI_MANIFEST, &*bytes).expect(201);
    assert!(client.get("/v2/a/manifests/large").unwrap().expect(200).body == bytes);
    let before = server.log_size();
    bytes.push(b' ');
    let sized = Request::new("PUT", "/v2/a/manifests/larger").header("Content-Type", OCI_MANIFEST);
    let chunked = sized.clone().chunked(bytes.chunks(1 << 20).map(<[u8]>::to_vec));
    for request in [sized.body(bytes), chunked] {
        expect_error(&client.send(&request).unwrap(), 413, "SIZE_INVALID");
    }
    assert_eq!(server.log_size(), before);
    server.stop().verify();
}

/// Docker of an age that knows no indexes gets the image that it can run.
#[test]
fn an_old_client_gets_the_image_and_not_the_index() {
    let server = Server::start();
    let client = server.client();
    let images = ["arm64", "amd64"].map(|architecture| Image::for_architecture(architecture, &[]));
    for image in &images {
        client.push_image("a", "built", image).unwrap();
    }
    let index = index_of(&images);
    client.push_manifest("a", "multi", OCI_INDEX, &index.bytes).unwrap();
    client.push_manifest("a", "arm", OCI_INDEX, &index_of(&images[..1]).bytes).unwrap();
    let ask = |method: &str, reference: &str, accept: &str| {
        let path = format!("/v2/a/manifests/{reference}");
        client.send(&Request::new(method, &path).header("Accept", accept)).unwrap()
    };
    let old = format!("{DOCKER_MANIFEST}, application/vnd.docker.distribution.manifest.v1+prettyjws");
    for method in ["GET", "HEAD"] {
        let answer = ask(method, "multi", &old).expect(200).expect_header("Vary", "Accept");
        assert_eq!(answer.require("Docker-Content-Digest"), images[1].manifest.digest);
        assert_eq!(answer.require("Content-Type"), OCI_MANIFEST);
    }
    ask("HEAD", "arm", &old).expect(404);
    expect_error(&ask("GET", "arm", &old), 404, "MANIFEST_UNKNOWN");
    // One that knows indexes, one that does not say, and one that asks by digest get what they ask for.
    let by_digest = [("multi", OCI_INDEX), ("multi", "*/*"), (index.digest.as_str(), old.as_str())];
    for (reference, accept) in by_digest {
        let answer = ask("GET", reference, accept).expect(200);
        assert_eq!(answer.require("Docker-Content-Digest"), index.digest, "{reference} {accept}");
    }
}

#[test]
fn a_name_without_tags_is_known_while_it_holds_something() {
    let server = Server::settings()
        .variable("SUPERCARGO_GC__LEASE", "0s")
        .variable("SUPERCARGO_GC__UNTAGGED_AFTER", "0s")
        .variable("SUPERCARGO_GC__KEEP_DELETED", "0s")
        .start();
    let client = server.client();
    let image = Image::generate(1, 1, 100);
    client.push_image("a", "1", &image).unwrap();
    client.delete_manifest("a", "1").unwrap();
    expect_error(&client.delete("/v2/a/manifests/1").unwrap(), 404, "MANIFEST_UNKNOWN");
    let path = "/v2/a/tags/list";
    assert_eq!(client.get(path).unwrap().expect(200).json(), json!({ "name": "a", "tags": [] }));
    client.get(&format!("/v2/a/manifests/{}", image.manifest.digest)).unwrap().expect(200);
    // Deleted by digest, a manifest takes its tags with it at once.
    client.push_image("a", "1", &image).unwrap();
    client.push_image("a", "2", &image).unwrap();
    client.delete_manifest("a", &image.manifest.digest).unwrap();
    for reference in ["1", "2", image.manifest.digest.as_str()] {
        let gone = format!("/v2/a/manifests/{reference}");
        expect_error(&client.get(&gone).unwrap(), 404, "MANIFEST_UNKNOWN");
        client.head(&gone).unwrap().expect(404);
        expect_error(&client.delete(&gone).unwrap(), 404, "MANIFEST_UNKNOWN");
    }
    expect_error(&client.get("/v2/never/tags/list").unwrap(), 404, "NAME_UNKNOWN");
    server.stop().verify();
}

/// A condition on a change holds of what is there when it is decided, or nothing is changed and the client hears
/// what is there.
#[test]
fn a_change_may_have_a_condition() {
    let server = Server::start();
    let client = server.client();
    let (first, second) = (Image::generate(1, 1, 100), Image::generate(2, 1, 100));
    client.push_image("a", "1", &first).unwrap();
    client.push_image("a", "2", &second).unwrap();
    let (one, two) = (first.manifest.digest.as_str(), second.manifest.digest.as_str());
    let quoted = |digest: &str| format!("\"{digest}\"");
    let send = |method: &str, reference: &str, header: (&str, &str)| {
        let request =
            Request::new(method, &format!("/v2/a/manifests/{reference}")).header(header.0, header.1);
        client
            .send(&match method {
                "PUT" => request.header("Content-Type", OCI_MANIFEST).body(&*second.manifest.bytes),
                _ => request,
            })
            .unwrap()
    };

    let before = server.log_size();
    let stale = quoted(two);
    for method in ["PUT", "DELETE"] {
        for (reference, header, present) in [
            ("1", ("If-Match", stale.as_str()), Some(one)),
            ("1", ("If-Match", "\"of another server\""), Some(one)),
            ("1", ("If-Match", &format!("W/{}", quoted(one))), Some(one)),
            ("1", ("If-None-Match", "*"), Some(one)),
            ("1", ("If-None-Match", &format!("\"x\", {}", quoted(one))), Some(one)),
            ("1", ("If-None-Match", &format!("W/{}", quoted(one))), Some(one)),
            (two, ("If-None-Match", "*"), Some(two)),
            ("new", ("If-Match", "*"), None),
            ("new", ("If-Match", &stale), None),
        ] {
            let answer = send(method, reference, header);
            if method == "DELETE" && present.is_none() {
                expect_error(&answer, 404, "MANIFEST_UNKNOWN");
                continue;
            }
            expect_error(&answer, 412, "PRECONDITION_FAILED");
            assert_eq!(answer.header("Docker-Content-Digest"), present, "{reference} {header:?}");
            assert_eq!(
                answer.header("ETag").map(str::to_owned),
                present.map(quoted),
                "{reference} {header:?}"
            );
        }
        for unreadable in [one, "\"", "\"a\" b"] {
            expect_error(&send(method, "1", ("If-Match", unreadable)), 400, "UNSUPPORTED");
        }
    }
    assert_eq!(server.log_size(), before, "something was recorded");

    // And where it holds, the change is made.
    send("PUT", "1", ("If-Match", &quoted(one))).expect(201).expect_header("Docker-Content-Digest", two);
    send("PUT", "3", ("If-None-Match", "*")).expect(201);
    send("PUT", "3", ("If-Match", "*")).expect(201);
    send("PUT", "3", ("If-None-Match", &quoted(one))).expect(201);
    assert_eq!(client.resolve("a", "1").unwrap().as_deref(), Some(two));
    send("DELETE", "1", ("If-Match", &format!("\"x\",{}", quoted(two)))).expect(202);
    assert_eq!(client.resolve("a", "1").unwrap(), None);
    send("DELETE", two, ("If-Match", &quoted(two))).expect(202);
    server.stop().verify();
}

/// Of many that move a tag from the same manifest, one does, whatever their order.
#[test]
fn a_conditional_move_is_made_once() {
    let server = Server::start();
    let client = server.client();
    let images: Vec<Image> = (0..9).map(|seed| Image::generate(seed, 1, 100)).collect();
    for image in &images {
        client.push_image("a", &image.manifest.digest.replace(':', "-"), image).unwrap();
    }
    client.push_image("a", "current", &images[0]).unwrap();
    for round in 0..5 {
        let present = client.resolve("a", "current").unwrap().unwrap();
        let rivals: Vec<&Image> = images.iter().filter(|image| image.manifest.digest != present).collect();
        let answers: Vec<(Response, &Image)> = std::thread::scope(|scope| {
            let running: Vec<_> = rivals
                .iter()
                .map(|image| {
                    let request = Request::new("PUT", "/v2/a/manifests/current")
                        .header("Content-Type", OCI_MANIFEST)
                        .header("If-Match", &format!("\"{present}\""))
                        .body(&*image.manifest.bytes);
                    let client = server.client();
                    scope.spawn(move || (client.send(&request).unwrap(), *image))
                })
                .collect();
            running.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let (made, refused): (Vec<_>, Vec<_>) =
            answers.into_iter().partition(|(answer, _)| answer.status == 201);
        let [(_, winner)] = &made[..] else { panic!("round {round}: {} moves", made.len()) };
        assert_eq!(client.resolve("a", "current").unwrap().as_ref(), Some(&winner.manifest.digest));
        for (answer, _) in &refused {
            expect_error(answer, 412, "PRECONDITION_FAILED");
            assert_eq!(answer.header("Docker-Content-Digest"), Some(winner.manifest.digest.as_str()));
        }
    }
    server.stop().verify();
}
