//! Referrers: what names a manifest as its subject, whichever of the two came first.

use serde_json::{Value, json};
use supercargo_tests::client::with_query;
use supercargo_tests::image::{Blob, OCI_INDEX, OCI_MANIFEST};
use supercargo_tests::{Client, Image, Server};

use crate::expect_error;

const EMPTY: &str = "application/vnd.oci.empty.v1+json";

fn listed(client: &Client, path: &str) -> Vec<Value> {
    let answer = client.get(path).unwrap().expect(200);
    assert_eq!(answer.require("Content-Type"), OCI_INDEX);
    let index = answer.json();
    assert_eq!((&index["schemaVersion"], &index["mediaType"]), (&json!(2), &json!(OCI_INDEX)));
    index["manifests"].as_array().unwrap().clone()
}

#[test]
fn there_is_always_a_listing() {
    let server = Server::start();
    let client = server.client();
    let image = Image::generate(1, 1, 100);
    client.push_image("a", "1", &image).unwrap();
    let unknown = Blob::new("unknown").digest;
    for (name, digest) in [("a", &image.manifest.digest), ("a", &unknown), ("never", &unknown)] {
        assert!(listed(&client, &format!("/v2/{name}/referrers/{digest}")).is_empty());
    }
    for malformed in ["1", "sha256:00", "md5:d41d8cd98f00b204e9800998ecf8427e"] {
        let answer = client.get(&format!("/v2/a/referrers/{malformed}")).unwrap();
        expect_error(&answer, 400, "DIGEST_INVALID");
    }
}

#[test]
fn a_descriptor_says_what_the_referrer_is() {
    let server = Server::start();
    let client = server.client();
    let subject = Image::generate(1, 1, 100);
    let config = Blob::new("{}");
    client.push_blob("a", &config).unwrap();
    let naming = subject.manifest.descriptor(OCI_MANIFEST);
    let path = format!("/v2/a/referrers/{}", subject.manifest.digest);
    for (media_type, manifest, kind) in [
        (
            OCI_MANIFEST,
            json!({ "artifactType": "application/vnd.said", "config": config.descriptor(EMPTY), "layers": [] }),
            json!("application/vnd.said"),
        ),
        (
            OCI_MANIFEST,
            json!({ "config": config.descriptor("application/vnd.of-the-config"), "layers": [] }),
            json!("application/vnd.of-the-config"),
        ),
        (
            OCI_INDEX,
            json!({ "artifactType": "application/vnd.said", "manifests": [] }),
            json!("application/vnd.said"),
        ),
        (OCI_INDEX, json!({ "manifests": [] }), Value::Null),
    ] {
        let mut manifest = manifest;
        manifest["schemaVersion"] = json!(2);
        manifest["subject"] = naming.clone();
        manifest["annotations"] = json!({ "kind": kind.to_string() });
        let manifest = Blob::new(manifest.to_string());
        let pushed = client.push_manifest("a", &manifest.digest, media_type, &manifest.bytes).unwrap();
        assert_eq!(pushed.require("OCI-Subject"), subject.manifest.digest);
        let all = listed(&client, &path);
        let found = all.iter().find(|entry| entry["digest"] == json!(manifest.digest)).unwrap();
        let mut expected = manifest.descriptor(media_type);
        expected["annotations"] = json!({ "kind": kind.to_string() });
        if kind.is_string() {
            expected["artifactType"] = kind.clone();
        }
        assert_eq!(found, &expected);
        // Deleted, it is listed no more.
        client.delete_manifest("a", &manifest.digest).unwrap();
        assert!(listed(&client, &path).is_empty());
    }
    server.stop().verify();
}

#[test]
fn listings_are_filtered_and_paged() {
    let server = Server::start();
    let client = server.client();
    let subject = Image::generate(1, 1, 100);
    let config = Blob::new("{}");
    client.push_blob("a", &config).unwrap();
    let mut expected: [Vec<String>; 2] = Default::default();
    for number in 0..9 {
        let kind = number % 2;
        let manifest = Blob::new(
            json!({ "schemaVersion": 2, "artifactType": format!("application/vnd.kind{kind}+x"), "number": number,
                "config": config.descriptor(EMPTY), "layers": [],
                "subject": subject.manifest.descriptor(OCI_MANIFEST) })
            .to_string(),
        );
        client.push_manifest("a", &manifest.digest, OCI_MANIFEST, &manifest.bytes).unwrap();
        expected[kind].push(manifest.digest);
    }
    let path = format!("/v2/a/referrers/{}", subject.manifest.digest);
    let walk = |query: &str| {
        let (mut found, mut pages) = (Vec::new(), 0);
        let mut next = Some(with_query(&path, query));
        while let Some(path) = next {
            let page = client.get(&path).unwrap().expect(200);
            let filtered = query.contains("artifactType").then_some("artifactType");
            assert_eq!(page.header("OCI-Filters-Applied"), filtered, "{path}");
            let entries = page.json()["manifests"].as_array().unwrap().clone();
            assert!(entries.len() <= 2);
            found.extend(entries.iter().map(|entry| entry["digest"].as_str().unwrap().to_owned()));
            pages += 1;
            next = page.header("Link").map(|link| {
                let target = link.strip_prefix('<').unwrap().strip_suffix(">; rel=\"next\"").unwrap();
                target.to_owned()
            });
        }
        found.sort();
        (found, pages)
    };
    expected.iter_mut().for_each(|digests| digests.sort());
    assert_eq!(walk("n=2&artifactType=application/vnd.kind0%2Bx"), (expected[0].clone(), 3));
    assert_eq!(walk("n=2&artifactType=application/vnd.kind1%2Bx"), (expected[1].clone(), 2));
    let mut all = expected.concat();
    all.sort();
    assert_eq!(walk("n=2"), (all, 5));
}

/// Clients of registries without this listing keep an index under a tag made of the digest. Here that is a tag
/// like any other, and what it lists is in the listing as well.
#[test]
fn the_tag_that_stood_in_for_the_listing_is_an_ordinary_tag() {
    let server = Server::start();
    let client = server.client();
    let subject = Image::generate(1, 1, 100);
    client.push_image("a", "1", &subject).unwrap();
    let config = Blob::new("{}");
    client.push_blob("a", &config).unwrap();
    let referrer = Blob::new(
        json!({ "schemaVersion": 2, "config": config.descriptor(EMPTY), "layers": [],
            "subject": subject.manifest.descriptor(OCI_MANIFEST) })
        .to_string(),
    );
    client.push_manifest("a", &referrer.digest, OCI_MANIFEST, &referrer.bytes).unwrap();
    let index = json!({ "schemaVersion": 2, "manifests": [referrer.descriptor(OCI_MANIFEST)] }).to_string();
    let tag = subject.manifest.digest.replace(':', "-");
    for tag in [&tag, &format!("{tag}.sig")] {
        client.push_manifest("a", tag, OCI_INDEX, index.as_bytes()).unwrap();
        assert_eq!(client.get(&format!("/v2/a/manifests/{tag}")).unwrap().expect(200).text(), index);
    }
    let tags = client.get("/v2/a/tags/list").unwrap().expect(200).json();
    assert_eq!(tags["tags"], json!(["1", tag, format!("{tag}.sig")]));
    let found = listed(&client, &format!("/v2/a/referrers/{}", subject.manifest.digest));
    assert_eq!(found.len(), 1);
    assert_eq!(found[0]["digest"], json!(referrer.digest));
    server.stop().verify();
}
