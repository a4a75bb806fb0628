//! The details that clients stumble over where a registry gets them wrong: headers whole, forms exact, and what
//! lies between two rows of the protocol's table.

use serde_json::json;
use supercargo_tests::http::{Request, Response};
use supercargo_tests::image::{Blob, OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST, sha256, sha512};
use supercargo_tests::{Client, Image, Server};

use crate::expect_error;

/// The headers that a registry answers with, without those of the connection and the request.
fn headers(answer: &Response) -> Vec<(String, String)> {
    let mut headers: Vec<(String, String)> = answer
        .headers
        .iter()
        .map(|(name, value)| (name.to_ascii_lowercase(), value.clone()))
        .filter(|(name, _)| !matches!(&**name, "date" | "x-request-id" | "connection"))
        .collect();
    headers.sort();
    headers
}

fn named(headers: &[(&str, &str)]) -> Vec<(String, String)> {
    let mut headers: Vec<(String, String)> =
        headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    headers.push(("docker-distribution-api-version".to_owned(), "registry/2.0".to_owned()));
    headers.sort();
    headers
}

fn send(client: &Client, method: &str, path: &str, headers: &[(&str, &str)]) -> Response {
    let request = Request::new(method, path);
    let request = headers.iter().fold(request, |request, (name, value)| request.header(name, value));
    client.send(&request).unwrap()
}

#[test]
fn a_blob_has_these_headers_and_no_others() {
    let server = Server::start();
    let client = server.client();
    for size in [1000_usize, 200_000] {
        let blob = Blob::generate(size as u64, size);
        client.push_blob("a", &blob).unwrap();
        let path = format!("/v2/a/blobs/{}", blob.digest);
        let (length, etag) = (size.to_string(), format!("\"{}\"", blob.digest));
        let described = [
            ("docker-content-digest", blob.digest.as_str()),
            ("etag", &etag),
            ("cache-control", "max-age=31536000, immutable"),
            ("accept-ranges", "bytes"),
        ];
        let octets = ("content-type", "application/octet-stream");
        let whole = named(&[&described[..], &[octets, ("content-length", &length)]].concat());
        for method in ["GET", "HEAD"] {
            let answer = send(&client, method, &path, &[]).expect(200);
            assert_eq!(headers(&answer), whole, "{method}");
            assert_eq!(answer.body.len(), if method == "GET" { size } else { 0 });
            // What a client has already, it is not sent.
            for condition in [&*etag, "*", &format!("\"x\", W/{etag}")] {
                let known = send(&client, method, &path, &[("If-None-Match", condition)]).expect(304);
                let length = ("content-length", &*length);
                let expected =
                    if method == "GET" { described.to_vec() } else { [&described[..], &[length]].concat() };
                assert_eq!(headers(&known), named(&expected), "{method} {condition}");
            }
            send(&client, method, &path, &[("If-None-Match", "\"x\"")]).expect(200);
        }
        let part = send(&client, "GET", &path, &[("Range", "bytes=2-4")]).expect(206);
        let range = format!("bytes 2-4/{size}");
        let expected =
            [&described[..], &[octets, ("content-length", "3"), ("content-range", &range)]].concat();
        assert_eq!(headers(&part), named(&expected));
        // What is no range of bytes is no range at all.
        for ignored in ["bytes=500-0", "bytes=a-b", "bytes=0-1,3-4", "lines=0-1", "bytes", "bytes=-"] {
            let answer = send(&client, "GET", &path, &[("Range", ignored)]).expect(200);
            assert_eq!(headers(&answer), whole, "{ignored}");
            assert!(answer.body == blob.bytes, "{ignored}");
        }
        for past in [format!("bytes={size}-"), "bytes=-0".to_owned()] {
            let refused = send(&client, "GET", &path, &[("Range", &past)]);
            expect_error(&refused, 416, "RANGE_INVALID");
            assert_eq!(refused.require("Content-Range"), format!("bytes */{size}"));
        }
    }
}

#[test]
fn every_read_has_its_head() {
    let server = Server::start();
    let client = server.client();
    let image = Image::generate(1, 1, 100);
    client.push_image("a", "1", &image).unwrap();
    for path in [
        "/v2/".to_owned(),
        "/v2/_catalog?n=1".to_owned(),
        "/v2/a/tags/list".to_owned(),
        "/v2/a/manifests/1".to_owned(),
        format!("/v2/a/manifests/{}", image.manifest.digest),
        format!("/v2/a/blobs/{}", image.config.digest),
        format!("/v2/a/referrers/{}?artifactType=a/b", image.manifest.digest),
    ] {
        let got = client.get(&path).unwrap().expect(200);
        let head = client.head(&path).unwrap().expect(200);
        assert_eq!(headers(&head), headers(&got), "{path}");
        assert_eq!(got.require("Content-Length"), got.body.len().to_string(), "{path}");
    }
    // Mirrors are asked with the name of what they mirror.
    client.get("/v2/a/manifests/1?ns=registry.example").unwrap().expect(200);
}

#[test]
fn links_are_paths_of_exactly_this_form() {
    let server = Server::start();
    let client = server.client();
    let image = Image::generate(1, 1, 100);
    for tag in ["B", "a", "a.1", "b"] {
        client.push_image("deep/name", tag, &image).unwrap();
    }
    client.push_image("other", "1", &image).unwrap();
    let link = |path: &str| client.get(path).unwrap().expect(200).header("Link").map(str::to_owned);
    let tags = "/v2/deep/name/tags/list";
    for (query, next) in [
        ("?n=1", Some("n=1&last=B")),
        ("?n=3", Some("n=3&last=a.1")),
        ("?n=2&last=B", Some("n=2&last=a.1")),
        ("?last=A&n=1", Some("n=1&last=B")),
        ("?n=3&last=B", None),
        ("?n=4", None),
        ("?n=0", None),
        ("?n=0&last=B", None),
        ("", None),
        ("?last=b", None),
        ("?n=1&last=zzz", None),
    ] {
        let expected = next.map(|next| format!("<{tags}?{next}>; rel=\"next\""));
        assert_eq!(link(&format!("{tags}{query}")), expected, "{query}");
    }
    assert_eq!(
        link("/v2/_catalog?n=1").as_deref(),
        Some("</v2/_catalog?n=1&last=deep%2Fname>; rel=\"next\"")
    );
    assert_eq!(link("/v2/_catalog?n=1&last=deep%2Fname"), None);
    let empty = client.get("/v2/_catalog?n=0").unwrap().expect(200);
    assert_eq!((empty.json(), empty.header("Link")), (json!({ "repositories": [] }), None));
    // What is listed after something need not have that something.
    let after = client.get("/v2/deep/name/tags/list?last=a.0").unwrap().expect(200).json();
    assert_eq!(after, json!({ "name": "deep/name", "tags": ["a.1", "b"] }));
}

#[test]
fn a_blob_is_pushed_with_one_request_or_mounted_with_none_of_its_bytes() {
    let server = Server::start();
    let client = server.client();
    let post = |query: &str, body: &[u8]| {
        client.send(&Request::new("POST", &format!("/v2/a/blobs/uploads/{query}")).body(body)).unwrap()
    };
    for bytes in [b"".as_slice(), b"some", &[7; 100_000]] {
        for digest in [sha256(bytes), sha512(bytes)] {
            let stored = post(&format!("?digest={digest}"), bytes).expect(201);
            let location = format!("/v2/a/blobs/{digest}");
            let length = ("content-length", "0");
            let expected = [("location", &*location), ("docker-content-digest", &*digest), length];
            assert_eq!(headers(&stored), named(&expected));
            assert!(client.get(&location).unwrap().expect(200).body == bytes);
            let from = |query: &str, name: &str| {
                client.send(&Request::new("POST", &format!("/v2/{name}/blobs/uploads/{query}"))).unwrap()
            };
            let mounted = from(&format!("?mount={digest}&from=a"), "b").expect(201);
            assert_eq!(mounted.require("Location"), format!("/v2/b/blobs/{digest}"));
            assert_eq!(mounted.require("Docker-Content-Digest"), digest);
            from(&format!("?mount={digest}"), "c").expect(201);
            assert!(client.get(&format!("/v2/c/blobs/{digest}")).unwrap().expect(200).body == bytes);
        }
    }
    // Where it can't be mounted, for whatever reason, the answer is a session, the same for all.
    let (known, unknown) = (sha256(b"some"), sha256(b"nowhere"));
    for query in [
        format!("?mount={unknown}&from=a"),
        format!("?mount={unknown}"),
        format!("?mount={known}&from=nobody"),
        format!("?mount={known}&from=NO-NAME"),
    ] {
        let session = client.send(&Request::new("POST", &format!("/v2/d/blobs/uploads/{query}"))).unwrap();
        let location = session.expect(202).expect_header("Range", "0-0").require("Location").to_owned();
        let put = Request::new("PUT", &format!("{location}?digest={unknown}")).body("nowhere");
        client.send(&put).unwrap().expect(201);
        client.delete(&format!("/v2/d/blobs/{unknown}")).unwrap().expect(202);
    }
    server.stop().verify();
}

/// One image may mix both algorithms, at every level.
#[test]
fn algorithms_mix() {
    let server = Server::start();
    let client = server.client();
    let push = |bytes: &[u8], digest: String| {
        // The session is told, or finds out at its end.
        for query in ["?digest-algorithm=sha512", "?digest-algorithm=sha256", ""] {
            let start = Request::new("POST", &format!("/v2/a/blobs/uploads/{query}"));
            let session = client.send(&start).unwrap().expect(202).require("Location").to_owned();
            let patch = Request::new("PATCH", &session).body(bytes);
            client.send(&patch).unwrap().expect(202);
            let put = Request::new("PUT", &format!("{session}?digest={digest}"));
            client.send(&put).unwrap().expect(201).expect_header("Docker-Content-Digest", &digest);
        }
        digest
    };
    let config = push(b"{}", sha512(b"{}"));
    let layers = [push(b"one", sha256(b"one")), push(b"two", sha512(b"two"))];
    let image = json!({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST,
        "config": { "mediaType": OCI_CONFIG, "digest": config, "size": 2 },
        "layers": layers.map(|digest| json!({ "mediaType": OCI_LAYER, "digest": digest, "size": 3 })),
    })
    .to_string();
    let (short, long) = (sha256(image.as_bytes()), sha512(image.as_bytes()));
    for digest in [&short, &long] {
        client.push_manifest("a", digest, OCI_MANIFEST, image.as_bytes()).unwrap();
    }
    let child = |digest: &str| json!({ "mediaType": OCI_MANIFEST, "digest": digest, "size": image.len() });
    let index = json!({ "schemaVersion": 2, "manifests": [child(&short), child(&long)] }).to_string();
    let name = sha512(index.as_bytes());
    let path = format!("/v2/a/manifests/{name}?tag=long&tag=too");
    let put = Request::new("PUT", &path).header("Content-Type", OCI_INDEX).body(index.as_str());
    let pushed = client.send(&put).unwrap().expect(201);
    assert_eq!(
        (pushed.require("Docker-Content-Digest"), pushed.headers("OCI-Tag")),
        (&*name, vec!["long", "too"])
    );
    let referrer = json!({
        "schemaVersion": 2, "config": { "mediaType": OCI_CONFIG, "digest": config, "size": 2 }, "layers": [],
        "subject": { "mediaType": OCI_INDEX, "digest": name, "size": index.len() },
    })
    .to_string();
    let referrer = client.push_manifest("a", &sha512(referrer.as_bytes()), OCI_MANIFEST, referrer.as_bytes());
    assert_eq!(referrer.unwrap().require("OCI-Subject"), name);
    server.cli(&["gc"]).expect_success();
    let got = client.get("/v2/a/manifests/long").unwrap().expect(200);
    assert_eq!(
        (got.require("Docker-Content-Digest"), got.require("ETag")),
        (&*name, &*format!("\"{name}\""))
    );
    for digest in [&short, &long] {
        assert_eq!(client.get(&format!("/v2/a/manifests/{digest}")).unwrap().expect(200).text(), image);
    }
    let listed = client.get(&format!("/v2/a/referrers/{name}")).unwrap().expect(200).json();
    assert_eq!(listed["manifests"].as_array().unwrap().len(), 1);
    server.stop().verify();
}

/// User interfaces that are served from elsewhere are let in by name, and nobody else's pages are.
#[test]
fn pages_of_configured_origins_may_use_the_registry() {
    const OURS: &str = "https://ui.example.org";
    let ask = |server: &Server, method: &str, path: &str, origin: &str| {
        let preflight: &[(&str, &str)] = match method {
            "OPTIONS" => &[
                ("Access-Control-Request-Method", "DELETE"),
                ("Access-Control-Request-Headers", "authorization"),
            ],
            _ => &[],
        };
        send(&server.client(), method, path, &[&[("Origin", origin)], preflight].concat())
    };
    let allowed = |answer: &Response| answer.header("Access-Control-Allow-Origin").map(str::to_owned);

    let server = Server::start();
    server.client().push_image("a", "1", &Image::generate(1, 1, 100)).unwrap();
    assert_eq!(allowed(&ask(&server, "GET", "/v2/", OURS).expect(200)), None);
    expect_error(&ask(&server, "OPTIONS", "/v2/a/manifests/1", OURS), 405, "UNSUPPORTED");

    let settings = server.stop().into_settings();
    let server = settings.variable("SUPERCARGO_HTTP__CORS_ORIGINS", OURS).start();
    let preflight = ask(&server, "OPTIONS", "/v2/a/manifests/1", OURS).expect(200);
    assert_eq!(allowed(&preflight).as_deref(), Some(OURS));
    assert!(preflight.require("Access-Control-Allow-Methods").contains("DELETE"));
    assert!(preflight.require("Access-Control-Allow-Headers").contains("authorization"));
    assert_eq!(preflight.require("Access-Control-Allow-Credentials"), "true");
    assert_eq!(preflight.require("Docker-Distribution-API-Version"), "registry/2.0");
    for (path, status) in [("/v2/a/manifests/1", 200), ("/v2/a/manifests/2", 404)] {
        let answer = ask(&server, "GET", path, OURS).expect(status);
        assert_eq!(allowed(&answer).as_deref(), Some(OURS));
        let exposed = answer.require("Access-Control-Expose-Headers");
        for header in ["docker-content-digest", "link", "www-authenticate"] {
            assert!(exposed.contains(header), "{exposed}");
        }
    }
    for (method, path) in [("OPTIONS", "/v2/a/manifests/1"), ("GET", "/v2/a/manifests/1")] {
        assert_eq!(allowed(&ask(&server, method, path, "https://elsewhere.example")), None);
    }
    // Administration is no business of pages.
    assert_eq!(allowed(&ask(&server, "GET", "/api/supercargo/v1/repositories", OURS)), None);

    let settings = server.stop().into_settings();
    let server = settings.variable("SUPERCARGO_HTTP__CORS_ORIGINS", "*").start();
    let answer = ask(&server, "GET", "/v2/a/tags/list", "https://elsewhere.example").expect(200);
    assert_eq!(allowed(&answer).as_deref(), Some("*"));
    assert_eq!(answer.header("Access-Control-Allow-Credentials"), None);
    server.stop().verify();
}

/// A manifest may be uploaded as a blob too, and then it is both until one of the two is deleted.
#[test]
fn what_is_blob_and_manifest_is_both() {
    let server = Server::start();
    let client = server.client();
    let image = Image::generate(1, 1, 100);
    client.push_image("a", "1", &image).unwrap();
    client.push_blob("a", &image.manifest).unwrap();
    let digest = &image.manifest.digest;
    let (blob, manifest) = (format!("/v2/a/blobs/{digest}"), format!("/v2/a/manifests/{digest}"));
    client.head(&blob).unwrap().expect(200);
    client.delete(&blob).unwrap().expect(202);
    expect_error(&client.get(&blob).unwrap(), 404, "BLOB_UNKNOWN");
    client.get(&manifest).unwrap().expect(200);
    client.push_blob("a", &image.manifest).unwrap();
    client.delete(&manifest).unwrap().expect(202);
    expect_error(&client.get(&manifest).unwrap(), 404, "MANIFEST_UNKNOWN");
    assert_eq!(client.get(&blob).unwrap().expect(200).body, image.manifest.bytes);
    server.stop().verify();
}

/// Clusters pull by digest what a tag has moved on from.
#[test]
fn what_a_tag_moved_on_from_is_still_pulled_by_digest() {
    let server = Server::start();
    let client = server.client();
    let (old, new) = (Image::generate(1, 2, 100), Image::generate(2, 2, 100));
    client.push_image("a", "latest", &old).unwrap();
    client.push_image("a", "latest", &new).unwrap();
    server.cli(&["gc"]).expect_success();
    client.pull_and_check("a", "latest", &new).unwrap();
    client.pull_and_check("a", &old.manifest.digest, &old).unwrap();
    server.stop().verify();
}

/// An index may list what is a blob here, as build caches do; what it lists is then held as a blob.
#[test]
fn what_an_index_lists_may_be_a_blob() {
    let server = Server::settings().variable("SUPERCARGO_GC__LEASE", "0s").start();
    let client = server.client();
    let (layer, config) = (Blob::new("a cached layer"), Blob::new("{\"layers\":[]}"));
    [&layer, &config].into_iter().for_each(|blob| client.push_blob("cache", blob).unwrap());
    let cache = json!({
        "schemaVersion": 2, "mediaType": OCI_INDEX,
        "manifests": [layer.descriptor(OCI_LAYER), config.descriptor("application/vnd.buildkit.cacheconfig.v0")],
    })
    .to_string();
    client.push_manifest("cache", "main", OCI_INDEX, cache.as_bytes()).unwrap();
    server.cli(&["gc"]).expect_success();
    for blob in [&layer, &config] {
        assert_eq!(
            client.get(&format!("/v2/cache/blobs/{}", blob.digest)).unwrap().expect(200).body,
            blob.bytes
        );
        let as_manifest = client.get(&format!("/v2/cache/manifests/{}", blob.digest)).unwrap();
        expect_error(&as_manifest, 404, "MANIFEST_UNKNOWN");
    }
    client.delete_manifest("cache", "main").unwrap();
    client.delete_manifest("cache", &sha256(cache.as_bytes())).unwrap();
    server.cli(&["gc"]).expect_success();
    assert!(!client.has_blob("cache", &layer.digest).unwrap());
    server.stop().verify();
}
