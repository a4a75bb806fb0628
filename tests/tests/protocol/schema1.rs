//! Docker's schema 1, as docker pushed it before 1.10: signatures written into the manifest, and a digest that is
//! the payload's.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use supercargo_tests::http::Request;
use supercargo_tests::image::{Blob, sha256, sha512};
use supercargo_tests::{Client, Server};

use crate::expect_error;

const SCHEMA1: &str = "application/vnd.docker.distribution.manifest.v1+json";
const SCHEMA1_SIGNED: &str = "application/vnd.docker.distribution.manifest.v1+prettyjws";

/// A payload as docker wrote it, filled up to a size with what its history says.
fn payload(layers: &[&Blob], size: usize) -> String {
    let layers: Vec<String> = layers
        .iter()
        .map(|layer| format!("      {{\n         \"blobSum\": \"{}\"\n      }}", layer.digest))
        .collect();
    let with = |history: &str| {
        format!(
            "{{\n   \"schemaVersion\": 1,\n   \"name\": \"a\",\n   \"tag\": \"old\",\n   \"architecture\": \"amd64\",\n   \
             \"fsLayers\": [\n{}\n   ],\n   \"history\": [\n      {{\n         \"v1Compatibility\": \"{history}\"\n      }}\n   ]\n}}",
            layers.join(",\n")
        )
    };
    with(&"x".repeat(size.saturating_sub(with("").len())))
}

/// Signs a payload in libtrust's "pretty" form, with that text for a signature.
fn sign(payload: &str, signature: &str) -> String {
    let head = payload.strip_suffix("\n}").unwrap();
    let protected = BASE64.encode(format!(
        "{{\"formatLength\":{},\"formatTail\":\"{}\",\"time\":\"2015-03-01T00:00:00Z\"}}",
        head.len(),
        BASE64.encode("\n}")
    ));
    format!(
        "{head},\n   \"signatures\": [\n      {{\n         \"header\": {{\"alg\": \"ES256\"}},\n         \
         \"signature\": \"{signature}\",\n         \"protected\": \"{protected}\"\n      }}\n   ]\n}}"
    )
}

fn put(client: &Client, reference: &str, media_type: &str, body: &str) -> supercargo_tests::http::Response {
    let request = Request::new("PUT", &format!("/v2/a/manifests/{reference}"));
    client.send(&request.header("Content-Type", media_type).body(body)).unwrap()
}

#[test]
fn a_signed_manifest_is_known_by_its_payload_and_served_as_it_came() {
    let server = Server::start();
    let client = server.client();
    let (one, two) = (Blob::new("one layer"), Blob::new("another"));
    [&one, &two].into_iter().for_each(|blob| client.push_blob("a", blob).unwrap());
    // The second is large enough to be a file of its own.
    for (tag, size) in [("small", 0), ("large", 200_000)] {
        let payload = payload(&[&one, &two, &one], size);
        let digest = sha256(payload.as_bytes());
        let pushed = sign(&payload, "by-the-first-key");
        let answer = put(&client, tag, SCHEMA1_SIGNED, &pushed).expect(201);
        assert_eq!(answer.require("Docker-Content-Digest"), digest);
        assert_eq!(answer.require("Location"), format!("/v2/a/manifests/{digest}"));
        // People hear that it is old.
        let warning = answer.require("Warning");
        assert!(warning.starts_with("299 - \"schema 1 manifests are deprecated"), "{warning}");
        assert!(warning.ends_with('"'), "{warning}");
        let served = |reference: &str, expected: &str| {
            for method in ["GET", "HEAD"] {
                let request = Request::new(method, &format!("/v2/a/manifests/{reference}"));
                let got = client.send(&request).unwrap().expect(200);
                assert_eq!(got.require("Content-Type"), SCHEMA1_SIGNED);
                assert_eq!(got.require("Docker-Content-Digest"), digest);
                assert_eq!(got.require("Content-Length"), expected.len().to_string());
                assert_eq!(got.text(), if method == "GET" { expected } else { "" });
            }
        };
        served(tag, &pushed);
        served(&digest, &pushed);
        // By its digest it is taken too, by the payload's alone.
        let wrong = put(&client, &sha256(pushed.as_bytes()), SCHEMA1_SIGNED, &pushed);
        expect_error(&wrong, 400, "DIGEST_INVALID");
        put(&client, &digest, SCHEMA1_SIGNED, &pushed).expect(201);
        put(&client, &sha512(payload.as_bytes()), SCHEMA1_SIGNED, &pushed).expect(201);
        // Signed by another, it is the same manifest, with the other's signature.
        let again = sign(&payload, "by-the-second-key");
        put(&client, tag, SCHEMA1_SIGNED, &again).expect(201);
        served(tag, &again);
        served(&digest, &again);
    }
    // Nothing of it is collected while a tag is on it, and bytes and digests agree.
    server.cli(&["gc"]).expect_success();
    for blob in [&one, &two] {
        assert!(client.has_blob("a", &blob.digest).unwrap());
    }
    let server = server.restart();
    let large = server.client().get("/v2/a/manifests/large").unwrap().expect(200).text();
    assert!(large.contains("by-the-second-key") && large.len() > 200_000);
    server.stop().verify();
}

#[test]
fn its_layers_must_be_there() {
    let server = Server::start();
    let client = server.client();
    let layer = Blob::new("a layer");
    let pushed = sign(&payload(&[&layer], 0), "x");
    let refused = put(&client, "1", SCHEMA1_SIGNED, &pushed);
    expect_error(&refused, 400, "MANIFEST_BLOB_UNKNOWN");
    assert_eq!(refused.json()["errors"][0]["detail"]["digest"], layer.digest);
    client.push_blob("a", &layer).unwrap();
    put(&client, "1", SCHEMA1_SIGNED, &pushed).expect(201);
    server.stop().verify();
}

/// Docker of that age sends it as mere JSON, or says nothing; and without signatures it is its own payload.
#[test]
fn it_is_known_without_its_media_type() {
    let server = Server::start();
    let client = server.client();
    let layer = Blob::new("a layer");
    client.push_blob("a", &layer).unwrap();
    let unsigned = payload(&[&layer], 0);
    let digest = sha256(unsigned.as_bytes());
    let signed = sign(&unsigned, "x");
    for (tag, sent, body, kept) in [
        ("json", Some("application/json"), &signed, SCHEMA1_SIGNED),
        ("nothing", None, &signed, SCHEMA1_SIGNED),
        ("said", Some(SCHEMA1), &signed, SCHEMA1),
        ("unsigned", Some(SCHEMA1), &payload(&[&layer], 1000), SCHEMA1),
        ("unsigned-json", Some("application/json"), &payload(&[&layer], 1001), SCHEMA1),
    ] {
        let request = Request::new("PUT", &format!("/v2/{tag}/manifests/1")).body(body.as_str());
        let request = sent.into_iter().fold(request, |request, sent| request.header("Content-Type", sent));
        client.push_blob(tag, &layer).unwrap();
        let pushed = client.send(&request).unwrap().expect(201);
        let expected = if body == &signed { digest.clone() } else { sha256(body.as_bytes()) };
        assert_eq!(pushed.require("Docker-Content-Digest"), expected, "{tag}");
        let got = client.get(&format!("/v2/{tag}/manifests/1")).unwrap().expect(200);
        assert_eq!((got.require("Content-Type"), &got.text()), (kept, body), "{tag}");
    }
    server.stop().verify();
}

#[test]
fn signatures_that_do_not_say_what_they_are_of_are_refused() {
    let server = Server::start();
    let client = server.client();
    let layer = Blob::new("a layer");
    client.push_blob("a", &layer).unwrap();
    let signed = sign(&payload(&[&layer], 0), "x");
    let protected = signed.split("\"protected\": \"").nth(1).unwrap().split('"').next().unwrap();
    let before = server.log_size();
    let header = |length: &str, tail: &str| {
        BASE64.encode(format!("{{\"formatLength\":{length},\"formatTail\":\"{tail}\"}}"))
    };
    for bad in [
        "",
        "e30",
        "***",
        &header("-1", ""),
        &header("1e9", ""),
        &header("99999999", "fQ"),
        &header("1", "?"),
    ] {
        let refused = put(&client, "1", SCHEMA1_SIGNED, &signed.replace(protected, bad));
        expect_error(&refused, 400, "MANIFEST_INVALID");
    }
    // A payload that is cut elsewhere is no JSON.
    let refused = put(&client, "1", SCHEMA1_SIGNED, &signed.replace(protected, &header("9", "fQ")));
    expect_error(&refused, 400, "MANIFEST_INVALID");
    assert_eq!(server.log_size(), before, "something was recorded");
    server.stop().verify();
}
