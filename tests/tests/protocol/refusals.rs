//! Everything that can be wrong with a request: the right status and code in the protocol's shape, and nothing
//! stored.

use supercargo_tests::http::Request;
use supercargo_tests::image::{Blob, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST};
use supercargo_tests::{Image, Server};

use crate::expect_error;

const SHA: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

#[test]
fn what_is_malformed_is_refused_and_changes_nothing() {
    let server = Server::start();
    let client = server.client();
    let image = Image::generate(1, 1, 100);
    client.push_image("good", "1", &image).unwrap();
    let session = client.start_upload("good").unwrap();
    let long = "a".repeat(256);
    let id = "0190d3a1-0000-7000-8000-000000000000";
    let get = |path: &str| Request::new("GET", path);
    let manifest = |media_type: &str, body: &str| {
        Request::new("PUT", "/v2/good/manifests/x").header("Content-Type", media_type).body(body)
    };
    let missing = format!(
        r#"{{"schemaVersion":2,"mediaType":"{OCI_MANIFEST}","config":{{"mediaType":"a/b","digest":"{SHA}","size":1}},"layers":[]}}"#
    );
    let manifest_at = |path: &str| {
        Request::new("PUT", path).header("Content-Type", OCI_MANIFEST).body(&*image.manifest.bytes)
    };
    let layer = image.layers[0].descriptor("a/b").to_string();
    let many = missing.replace("[]", &format!("[{}]", vec![layer.as_str(); 16_385].join(",")));
    let before = server.log_size();
    let cases: Vec<(Request, u16, &str)> = vec![
        // Names.
        (get("/v2/UPPER/tags/list"), 400, "NAME_INVALID"),
        (get("/v2/a..b/tags/list"), 400, "NAME_INVALID"),
        (get("/v2/-a/tags/list"), 400, "NAME_INVALID"),
        (get("/v2/a//b/tags/list"), 400, "NAME_INVALID"),
        (get(&format!("/v2/{long}/tags/list")), 400, "NAME_INVALID"),
        (get("/v2/../../etc/passwd/tags/list"), 400, "NAME_INVALID"),
        (get("/v2/%2e%2e/tags/list"), 400, "NAME_INVALID"),
        (get("/v2/a%2fb/tags/list"), 400, "NAME_INVALID"),
        (get("/v2/a%00b/tags/list"), 400, "NAME_INVALID"),
        (get(&format!("/v2/{}a/tags/list", "a/".repeat(128))), 400, "NAME_INVALID"),
        (get("/v2/a___b/tags/list"), 400, "NAME_INVALID"),
        (get("/v2/a%/tags/list"), 400, "NAME_INVALID"),
        (get("/v2/%ff/tags/list"), 400, "NAME_INVALID"),
        (get("/v2/a%20b/manifests/1"), 400, "NAME_INVALID"),
        (Request::new("DELETE", "/v2/A/manifests/1"), 400, "NAME_INVALID"),
        (manifest_at("/v2/A/manifests/1"), 400, "NAME_INVALID"),
        (get("/v2/nothing/here/tags/list"), 404, "NAME_UNKNOWN"),
        (Request::new("POST", "/v2/UPPER/blobs/uploads/"), 400, "NAME_INVALID"),
        // Tags and digests.
        (get("/v2/good/manifests/.bad"), 404, "MANIFEST_UNKNOWN"),
        (get("/v2/good/manifests/nope"), 404, "MANIFEST_UNKNOWN"),
        (get(&format!("/v2/good/manifests/{}", "a".repeat(129))), 404, "MANIFEST_UNKNOWN"),
        (get("/v2/good/manifests/a%2fb"), 404, "MANIFEST_UNKNOWN"),
        (get("/v2/good/manifests/a:b"), 400, "DIGEST_INVALID"),
        (manifest_at(&format!("/v2/good/manifests/{}", "a".repeat(129))), 400, "MANIFEST_INVALID"),
        (manifest_at("/v2/good/manifests/a%20b"), 400, "MANIFEST_INVALID"),
        (manifest_at("/v2/good/manifests/sha256:00"), 400, "DIGEST_INVALID"),
        (get("/v2/good/blobs/latest"), 400, "DIGEST_INVALID"),
        (get(&format!("/v2/good/blobs/sha512:{}", "0".repeat(64))), 400, "DIGEST_INVALID"),
        (get(&format!("/v2/good/blobs/sha256:{}", "g".repeat(64))), 400, "DIGEST_INVALID"),
        (get(&format!("/v2/good/blobs/{}0", SHA)), 400, "DIGEST_INVALID"),
        (get("/v2/good/manifests/sha256:00"), 400, "DIGEST_INVALID"),
        (get(&format!("/v2/good/manifests/{SHA}")), 404, "MANIFEST_UNKNOWN"),
        (get("/v2/good/blobs/sha256:00"), 400, "DIGEST_INVALID"),
        (get(&format!("/v2/good/blobs/{}", SHA.to_uppercase())), 400, "DIGEST_INVALID"),
        (get(&format!("/v2/good/blobs/{}", SHA.replace("sha256", "md5"))), 400, "DIGEST_INVALID"),
        (get("/v2/good/blobs/..%2f..%2fetc%2fpasswd"), 400, "DIGEST_INVALID"),
        (get(&format!("/v2/good/blobs/{SHA}")), 404, "BLOB_UNKNOWN"),
        (Request::new("DELETE", &format!("/v2/good/blobs/{SHA}")), 404, "BLOB_UNKNOWN"),
        (Request::new("DELETE", "/v2/good/manifests/nope"), 404, "MANIFEST_UNKNOWN"),
        (get("/v2/good/referrers/sha256:00"), 400, "DIGEST_INVALID"),
        // Queries.
        (get("/v2/good/tags/list?n=-1"), 400, "PAGINATION_NUMBER_INVALID"),
        (get("/v2/good/tags/list?n=many"), 400, "PAGINATION_NUMBER_INVALID"),
        (get("/v2/_catalog?n=1.5"), 400, "PAGINATION_NUMBER_INVALID"),
        (get("/v2/_catalog?n="), 400, "PAGINATION_NUMBER_INVALID"),
        (get("/v2/good/tags/list?n=%zz"), 400, "PAGINATION_NUMBER_INVALID"),
        (get(&format!("/v2/good/referrers/{SHA}?n=-1")), 400, "PAGINATION_NUMBER_INVALID"),
        (Request::new("POST", "/v2/good/blobs/uploads/?digest=sha256:00"), 400, "DIGEST_INVALID"),
        (Request::new("POST", "/v2/good/blobs/uploads/?mount=sha256:00"), 400, "DIGEST_INVALID"),
        (Request::new("POST", "/v2/good/blobs/uploads/?digest-algorithm=md5"), 400, "DIGEST_INVALID"),
        (
            Request::new("POST", &format!("/v2/good/blobs/uploads/?digest={SHA}")).body("x"),
            400,
            "DIGEST_INVALID",
        ),
        // Upload sessions.
        (get(&format!("/v2/good/blobs/uploads/{id}")), 404, "BLOB_UPLOAD_UNKNOWN"),
        (get("/v2/good/blobs/uploads/not-an-id"), 404, "BLOB_UPLOAD_UNKNOWN"),
        (get(&session.replace("/good/", "/other/")), 404, "BLOB_UPLOAD_UNKNOWN"),
        (
            Request::new("PATCH", &format!("/v2/good/blobs/uploads/{id}")).body("x"),
            404,
            "BLOB_UPLOAD_UNKNOWN",
        ),
        (Request::new("PUT", &session), 400, "DIGEST_INVALID"),
        (Request::new("PUT", &format!("{session}?digest=")), 400, "DIGEST_INVALID"),
        (Request::new("PUT", &format!("{session}?digest=sha256:00")).body("x"), 400, "DIGEST_INVALID"),
        (Request::new("PUT", &format!("{session}?digest=md5:00")).body("x"), 400, "DIGEST_INVALID"),
        (
            Request::new("PATCH", &session).header("Content-Range", "5-9").body("12345"),
            416,
            "BLOB_UPLOAD_INVALID",
        ),
        (
            Request::new("PATCH", &session).header("Content-Range", "0-9").body("12345"),
            416,
            "BLOB_UPLOAD_INVALID",
        ),
        (
            Request::new("PATCH", &session).header("Content-Range", "9-0").body("12345"),
            416,
            "BLOB_UPLOAD_INVALID",
        ),
        (
            Request::new("PATCH", &session).header("Content-Range", "x").body("12345"),
            416,
            "BLOB_UPLOAD_INVALID",
        ),
        // Manifests.
        (manifest(OCI_MANIFEST, ""), 400, "MANIFEST_INVALID"),
        (manifest(OCI_MANIFEST, "{"), 400, "MANIFEST_INVALID"),
        (manifest(OCI_MANIFEST, "[]"), 400, "MANIFEST_INVALID"),
        (manifest(OCI_MANIFEST, "null"), 400, "MANIFEST_INVALID"),
        (manifest(OCI_MANIFEST, &"[".repeat(1 << 20)), 400, "MANIFEST_INVALID"),
        (manifest(OCI_MANIFEST, &format!("{missing} trailing")), 400, "MANIFEST_INVALID"),
        (manifest(OCI_MANIFEST, &missing.replace("\"size\":1", "\"size\":-1")), 400, "MANIFEST_INVALID"),
        (manifest(OCI_MANIFEST, &missing.replace("\"size\":1", "\"size\":1e99")), 400, "MANIFEST_INVALID"),
        (manifest(OCI_MANIFEST, &missing.replace(SHA, "sha256:00")), 400, "DIGEST_INVALID"),
        (manifest(OCI_MANIFEST, &missing.replace("[]", "{}")), 400, "MANIFEST_INVALID"),
        (manifest(OCI_MANIFEST, &missing.replace("[]", "[7]")), 400, "MANIFEST_INVALID"),
        (manifest(OCI_MANIFEST, &many), 400, "MANIFEST_INVALID"),
        (
            Request::new("PUT", "/v2/good/manifests/x")
                .header("Content-Type", OCI_MANIFEST)
                .body(*b"{\"a\":\"\xff\"}"),
            400,
            "MANIFEST_INVALID",
        ),
        (Request::new("PUT", "/v2/good/manifests/x").body("{}"), 400, "MANIFEST_INVALID"),
        (manifest(&format!("a/{}", "b".repeat(300)), "{}"), 400, "MANIFEST_INVALID"),
        (manifest(OCI_MANIFEST, "{}"), 400, "MANIFEST_INVALID"),
        (manifest(OCI_INDEX, &String::from_utf8_lossy(&image.manifest.bytes)), 400, "MANIFEST_INVALID"),
        (manifest(DOCKER_MANIFEST, &String::from_utf8_lossy(&image.manifest.bytes)), 400, "MANIFEST_INVALID"),
        (manifest("no media type", "{}"), 400, "MANIFEST_INVALID"),
        (manifest(OCI_MANIFEST, &missing), 400, "MANIFEST_BLOB_UNKNOWN"),
        (manifest(OCI_MANIFEST, &" ".repeat((4 << 20) + 1)), 413, "SIZE_INVALID"),
        (
            Request::new("PUT", "/v2/good/manifests/.x").header("Content-Type", OCI_MANIFEST).body("{}"),
            400,
            "MANIFEST_INVALID",
        ),
        (
            Request::new("PUT", &format!("/v2/good/manifests/{SHA}"))
                .header("Content-Type", OCI_MANIFEST)
                .body(&*image.manifest.bytes),
            400,
            "DIGEST_INVALID",
        ),
        // Endpoints and methods.
        (get("/v2/good"), 404, "UNSUPPORTED"),
        (get("/v2/good/manifests/"), 404, "MANIFEST_UNKNOWN"),
        (Request::new("POST", "/v2/good/tags/list"), 405, "UNSUPPORTED"),
        (Request::new("PATCH", "/v2/good/manifests/1").body("x"), 405, "UNSUPPORTED"),
        (Request::new("DELETE", "/v2/_catalog"), 405, "UNSUPPORTED"),
    ];
    for (request, status, code) in cases {
        let shown =
            String::from_utf8_lossy(&request.to_bytes()).lines().next().unwrap_or_default().to_owned();
        let answer = client.send(&request).unwrap();
        assert_eq!(answer.status, status, "{shown}: {answer:?}");
        expect_error(&answer, status, code);
        if status == 405 {
            answer.require("Allow");
        }
    }
    assert_eq!(server.log_size(), before, "something was recorded");
    client.get(&session).unwrap().expect(204).expect_header("Range", "0-0");
    client.pull_and_check("good", "1", &image).unwrap();
    server.stop().verify();
}

#[test]
fn a_wrong_digest_ends_the_session() {
    let server = Server::start();
    let client = server.client();
    let before = server.log_size();
    for size in [10, 100_000] {
        let session = client.start_upload("a").unwrap();
        let body = Blob::generate(1, size).bytes;
        let put = Request::new("PUT", &format!("{session}?digest={SHA}")).body(body);
        assert_eq!(client.send(&put).unwrap().expect(400).json()["errors"][0]["code"], "DIGEST_INVALID");
        client.get(&session).unwrap().expect(404);
    }
    assert_eq!(server.log_size(), before);
    server.stop().verify();
}

#[test]
fn a_head_that_is_refused_has_no_body() {
    let server = Server::start();
    let client = server.client();
    for path in
        ["/v2/a/manifests/1".to_owned(), format!("/v2/a/blobs/{SHA}"), "/v2/UPPER/manifests/1".to_owned()]
    {
        let answer = client.head(&path).unwrap();
        assert!(matches!(answer.status, 400 | 404), "{answer:?}");
        assert!(answer.body.is_empty());
    }
    // The connection is still in step.
    client.get("/v2/").unwrap().expect(200);
}

#[test]
fn administration_refuses_in_its_own_shape() {
    let server = Server::start();
    let client = server.client();
    let before = server.log_size();
    let base = "/api/supercargo/v1";
    for (request, status) in [
        (Request::new("GET", &format!("{base}/log?kind=Nope")), 400),
        (Request::new("GET", &format!("{base}/log?nope=1")), 400),
        (Request::new("GET", &format!("{base}/log/none")), 400),
        (Request::new("GET", &format!("{base}/log/999")), 404),
        (Request::new("GET", &format!("{base}/nowhere")), 404),
        (Request::new("DELETE", &format!("{base}/log")), 405),
        (Request::new("GET", &format!("{base}/repositories/a_b")), 400),
        (Request::new("GET", &format!("{base}/repositories/nope")), 404),
        (
            Request::new("PUT", &format!("{base}/repositories/docker-local"))
                .header("Content-Type", "application/json")
                .body("{}"),
            409,
        ),
        (
            Request::new("PUT", &format!("{base}/repositories/x"))
                .header("Content-Type", "application/json")
                .body("{\"nope\":1}"),
            400,
        ),
        (Request::new("DELETE", &format!("{base}/repositories/nope")), 404),
        (Request::new("POST", &format!("{base}/gc?plan=another")), 412),
        (Request::new("POST", &format!("{base}/gc")).header("Origin", "http://elsewhere.example"), 403),
    ] {
        let answer = client.send(&request).unwrap();
        assert_eq!(answer.status, status, "{request:?}: {answer:?}");
        assert!(answer.json()["error"]["message"].is_string(), "{answer:?}");
    }
    assert_eq!(server.log_size(), before);
}
