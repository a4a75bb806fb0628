//! Two images whose digests were computed with docker's own code, and what they become.

use super::*;
use crate::{Manifest, RepoName, Tag, media_type};

macro_rules! fixture {
    ($name:literal) => {
        include_bytes!(concat!("../../../../fixtures/v1/", $name))
    };
}

const BASE: &[u8] = fixture!("base.json");
const TOP: &[u8] = fixture!("top.json");
const BASE_LAYER: &[u8] = fixture!("base.tar.gz");
const TOP_LAYER: &[u8] = fixture!("top.tar.gz");
const BASE_DIFF_ID: &str = "dbafc68eb8c0a0c3336db69c4ef3c4cc5c9fdedd1b0d99285906c2a2e6f6899d";
const TOP_DIFF_ID: &str = "2c0e7a4d0da916ff5231432bc2fb48efe616334513995ae9bf849e3c421aec90";
const CONFIG: &[u8] = fixture!("config.json");
const CONFIG_ID: &str = "df824a0edc2de1b280399212326196bb2ad169ec7b795f66a5c86c64f6e114ac";

fn image<'j>(fill: u8, json: &'j [u8], layer: &[u8], diff_id: &str) -> ChainImage<'j> {
    ChainImage {
        id: ImageId::from_bytes([fill; 32]),
        json,
        diff_id: Digest::parse(&format!("sha256:{diff_id}")).unwrap(),
        blob: sha256(layer),
        blob_size: layer.len() as u64,
    }
}

/// The chain of both, the top with this JSON.
fn chain(top: &[u8]) -> [ChainImage<'_>; 2] {
    [image(0x11, BASE, BASE_LAYER, BASE_DIFF_ID), image(0x22, top, TOP_LAYER, TOP_DIFF_ID)]
}

/// The chain of these two, whose layers are made up.
fn made_up<'j>(base: &'j [u8], top: &'j [u8]) -> [ChainImage<'j>; 2] {
    [0, 1].map(|n| ChainImage {
        id: ImageId::from_bytes([n; 32]),
        json: [base, top][usize::from(n)],
        diff_id: Digest::sha256([n; 32]),
        blob: Digest::sha256([n; 32]),
        blob_size: 1,
    })
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// The config without its end, which V1 doesn't know, but with this one.
fn config_ending_in(end: &str) -> String {
    let config = text(CONFIG);
    config[..config.find(r#""history""#).unwrap()].to_owned() + end
}

#[test]
fn the_images_are_those_of_the_vectors() {
    let [a, b] = chain(TOP);
    assert_eq!((a.json.len(), a.blob_size, b.json.len(), b.blob_size), (248, 127, 409, 155));
    assert_eq!(a.blob.hex(), "a7cb710153040fad4f2f4ef2992aec051de157cf68ea90ccce5967ef928cede4");
    assert_eq!(b.blob.hex(), "84cd0a416143dc3fd0824b0a33b3fbbe9adfdd6e610cd8ff1b7c0314b3aa9127");
    assert_eq!(ImageJson::check(a.json, &a.id), Ok(ImageJson { id: a.id, parent: None }));
    assert_eq!(ImageJson::check(b.json, &b.id), Ok(ImageJson { id: b.id, parent: Some(a.id) }));
    // What a client says of its upload.
    for (image, layer, payload) in [
        (a, BASE_LAYER, "071e41208551403f2494d086022d3641461e69e750d5e75c0cc46019d278a401"),
        (b, TOP_LAYER, "3aedb7b414198721e627c7ff90a57216ca7380238166c9fc0d668ac16cc67270"),
    ] {
        assert_eq!(sha256(&[image.json, b"\n", layer].concat()).hex(), payload);
    }
}

#[test]
fn the_chain_becomes_the_config_and_manifests_of_docker() {
    for (form, size, digest) in [
        (Form::Docker, 730, "419c7d1a698166738855a902000097b626add756aafd5138c3b33de5e4009c0e"),
        (Form::Oci, 555, "147bac39d8623cbd12f217dd2ee6d1c3804ce9a55cf8789600daeb1cc7cb29ef"),
    ] {
        let converted = to_v2(&chain(TOP), form).unwrap();
        assert_eq!(text(&converted.config), text(CONFIG));
        assert_eq!((converted.config.len(), converted.config_digest.hex().as_str()), (680, CONFIG_ID));
        assert_eq!((converted.manifest.len(), converted.manifest_digest.hex().as_str()), (size, digest));
        assert_eq!(sha256(&converted.manifest), converted.manifest_digest);
        let (manifest, _) = Manifest::parse(form.manifest_type(), &converted.manifest).unwrap();
        assert_eq!(manifest.config.unwrap().media_type, form.config_type());
        assert_eq!(manifest.layers[1].digest, chain(TOP)[1].blob);
    }
}

#[test]
fn the_json_of_an_old_docker_becomes_what_docker_makes_of_it() {
    let top = text(TOP).replace("1.9.1", "1.5.0");
    let converted = to_v2(&chain(top.as_bytes()), Form::Docker).unwrap();
    assert_eq!(converted.config.len(), 1169);
    assert_eq!(
        converted.config_digest.hex(),
        "49dfe5653312df0809b30359527e52be786e6d45cbb5a7a3bd43ea90b4419558"
    );
}

#[test]
fn what_is_hard_to_carry_over_is_carried_over_as_docker_does() {
    for (top, config) in [
        (&fixture!("escapes-top.json")[..], &fixture!("escapes-config.json")[..]),
        (fixture!("old-top.json"), fixture!("old-config.json")),
    ] {
        let converted = to_v2(&made_up(fixture!("escapes-base.json"), top), Form::Docker).unwrap();
        assert_eq!(text(&converted.config), text(config));
    }
    let images =
        schema1::from_config(fixture!("steps-config.json"), &[0, 1].map(|n| Digest::sha256([n; 32])));
    let images: Vec<_> = images.unwrap().into_iter().map(|image| image.v1_compatibility).collect();
    assert_eq!(images.join("\n"), text(fixture!("steps-schema1.jsonl")));
}

#[test]
fn the_chain_id_of_both_layers() {
    let ids = chain_ids(&chain(TOP).map(|image| image.diff_id));
    assert_eq!(ids[0].hex(), BASE_DIFF_ID);
    assert_eq!(ids[1].hex(), "17bc436bef284a828e3f88862afa71bc48ce822deb87c81d3a4811ab73d889ed");
}

#[test]
fn the_config_becomes_the_images_that_docker_pushes() {
    let [base, top] = from_v2(CONFIG, 2).unwrap().try_into().unwrap();
    assert_eq!((base.id.to_string().as_str(), base.parent, base.layer), (BASE_DIFF_ID, None, Some(0)));
    assert_eq!(text(&base.json), format!(r#"{{"id":"{BASE_DIFF_ID}"}}"#));
    assert_eq!((top.id.to_string().as_str(), top.parent, top.layer), (CONFIG_ID, Some(base.id), Some(1)));
    let end = format!(r#""id":"{CONFIG_ID}","os":"linux","parent":"{BASE_DIFF_ID}"}}"#);
    assert_eq!(text(&top.json), config_ending_in(&end));
}

#[test]
fn the_config_becomes_the_schema1_images_of_docker() {
    let blobs = chain(TOP).map(|image| image.blob);
    let [base, top] = schema1::from_config(CONFIG, &blobs).unwrap().try_into().unwrap();
    assert_eq!(base.id.to_string(), "42cf339b21b8a604fdc18035c135d71b6b7dedbeeebf84e0fce7facb32dab00c");
    assert_eq!(top.id.to_string(), "42e78d4361301c8aea8128508d0ebeb97595216e7444d2e6cf41f8ce9831cb7a");
    assert_eq!([base.blob, top.blob], blobs);
    assert_eq!(
        base.v1_compatibility,
        format!(
            r#"{{"id":"{}","created":"2014-05-13T16:53:20Z","container_config":{{"Cmd":["{}"]}}}}"#,
            base.id, "/bin/sh -c #(nop) ADD file:base in /"
        )
    );
    let end = format!(r#""id":"{}","os":"linux","parent":"{}"}}"#, top.id, base.id);
    assert_eq!(top.v1_compatibility, config_ending_in(&end));
}

#[test]
fn the_empty_layer_is_dockers() {
    assert_eq!(
        empty_layer().to_string(),
        "sha256:a3ed95caeb02ffe68cdd9fd84406680ae93d633cb16422d00e8a7c22955b46d4"
    );
}

#[test]
fn a_schema1_payload_has_the_top_first() {
    let images = schema1::from_chain(&chain(TOP)).unwrap();
    let (name, tag) = (RepoName::parse("team/app").unwrap(), Tag::parse("v1").unwrap());
    let payload = schema1::payload(&name, &tag, &images);
    let (manifest, covered) = Manifest::parse(media_type::DOCKER_SCHEMA1, &payload).unwrap();
    assert_eq!(*covered, payload);
    assert_eq!(manifest.layers[1].digest, images[0].blob);
    let written = text(&payload);
    let head = format!(
        r#"{{
   "schemaVersion": 1,
   "name": "team/app",
   "tag": "v1",
   "architecture": "amd64",
   "fsLayers": [
      {{
         "blobSum": "{}"
      }},
      {{
         "blobSum": "{}"
      }}
   ],
   "history": [
      {{
         "v1Compatibility": "{{\"id\":\"2222"#,
        images[1].blob, images[0].blob
    );
    assert!(written.starts_with(&head), "{written}");
    assert!(written.contains(r#"Ann \u003cann@example.test\u003e"#), "{written}");
    assert!(written.ends_with("\\\"Size\\\":9}\"\n      }\n   ]\n}"), "{written}");
    let read: serde_json::Value = serde_json::from_slice(&payload).unwrap();
    assert_eq!(read["history"][0]["v1Compatibility"], text(TOP));
    assert_eq!(read["history"][1]["v1Compatibility"], text(BASE));
}
