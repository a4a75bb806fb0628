//! Two images whose digests were computed with docker's own code, and what they become.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::*;
use crate::{Manifest, RepoName, Tag, media_type};

/// The JSON of the base.
pub(super) const A: &str = r##"{"id":"1111111111111111111111111111111111111111111111111111111111111111","created":"2014-05-13T16:53:20Z","container_config":{"Cmd":["/bin/sh","-c","#(nop) ADD file:base in /"]},"docker_version":"1.9.1","architecture":"amd64","os":"linux","Size":9}"##;
/// The JSON of the top.
pub(super) const B: &str = r##"{"id":"2222222222222222222222222222222222222222222222222222222222222222","parent":"1111111111111111111111111111111111111111111111111111111111111111","created":"2014-05-13T16:54:00.5Z","author":"Ann <ann@example.test>","container_config":{"Cmd":["/bin/sh","-c","#(nop) CMD [\"/bin/hi\"]"]},"config":{"Cmd":["/bin/hi"],"Env":["PATH=/bin"]},"docker_version":"1.9.1","architecture":"amd64","os":"linux","Size":18}"##;
const LAYER_A: &str = "H4sIAAAAAAAA/+3RQQqAIBBA0Vl3Cm+Qo6OeJ0poYQhmnT9xGVQrg2jeZmR0IXyfxx4ak4Uzps7iPOsZldZE5OoepbYEwsALtjUPqXwlxZjv3j3df5Qv/ZeYp9b9LdF1f8RTf1SkQEju39zsQ4hixw4YY4z9yQFJV+zdAAoAAA==";
const LAYER_B: &str = "H4sIAAAAAAAA/+3USw6EIAwG4K49BRMPIBSYnkeNCSRmSHzcfypLFxoXOJnYb1MCLEh+2i5+GihMM/I+V7aveW3QWucc5X2j7duA8nCDdV7aiZ8ypbQc3Ts7/1Md5x/ij/NH3OdPmvPXkn9x9avZvsAcqqEPSYVYgXiQ3P/DOKbS/U90Yf4bQgKFpQeT9L8Q4sG+Bxc2kQAMAAA=";
const DIFF_ID_A: &str = "sha256:dbafc68eb8c0a0c3336db69c4ef3c4cc5c9fdedd1b0d99285906c2a2e6f6899d";
const DIFF_ID_B: &str = "sha256:2c0e7a4d0da916ff5231432bc2fb48efe616334513995ae9bf849e3c421aec90";
const CONFIG: &str = r##"{"architecture":"amd64","author":"Ann \u003cann@example.test\u003e","config":{"Cmd":["/bin/hi"],"Env":["PATH=/bin"]},"container_config":{"Cmd":["/bin/sh","-c","#(nop) CMD [\"/bin/hi\"]"]},"created":"2014-05-13T16:54:00.5Z","docker_version":"1.9.1","history":[{"created":"2014-05-13T16:53:20Z","created_by":"/bin/sh -c #(nop) ADD file:base in /"},{"created":"2014-05-13T16:54:00.5Z","author":"Ann \u003cann@example.test\u003e","created_by":"/bin/sh -c #(nop) CMD [\"/bin/hi\"]"}],"os":"linux","rootfs":{"type":"layers","diff_ids":["sha256:dbafc68eb8c0a0c3336db69c4ef3c4cc5c9fdedd1b0d99285906c2a2e6f6899d","sha256:2c0e7a4d0da916ff5231432bc2fb48efe616334513995ae9bf849e3c421aec90"]}}"##;
const CONFIG_ID: &str = "df824a0edc2de1b280399212326196bb2ad169ec7b795f66a5c86c64f6e114ac";

fn image(fill: u8, json: &str, layer: &str, diff_id: &str) -> ChainImage<'static> {
    let layer = BASE64_STANDARD.decode(layer).unwrap();
    ChainImage {
        id: ImageId::from_bytes([fill; 32]),
        json: Box::leak(json.to_owned().into_boxed_str()).as_bytes(),
        diff_id: Digest::parse(diff_id).unwrap(),
        blob: sha256(&layer),
        blob_size: layer.len() as u64,
    }
}

/// The chain of both, the top with this JSON.
pub(super) fn chain(top: &str) -> [ChainImage<'static>; 2] {
    [image(0x11, A, LAYER_A, DIFF_ID_A), image(0x22, top, LAYER_B, DIFF_ID_B)]
}

#[test]
fn the_images_are_those_of_the_vectors() {
    let [a, b] = chain(B);
    assert_eq!((a.json.len(), a.blob_size, b.json.len(), b.blob_size), (248, 127, 409, 155));
    assert_eq!(a.blob.hex(), "a7cb710153040fad4f2f4ef2992aec051de157cf68ea90ccce5967ef928cede4");
    assert_eq!(b.blob.hex(), "84cd0a416143dc3fd0824b0a33b3fbbe9adfdd6e610cd8ff1b7c0314b3aa9127");
    assert_eq!(ImageJson::check(a.json, &a.id), Ok(ImageJson { id: a.id, parent: None }));
    assert_eq!(ImageJson::check(b.json, &b.id), Ok(ImageJson { id: b.id, parent: Some(a.id) }));
    for (image, layer, payload) in [
        (a, LAYER_A, "071e41208551403f2494d086022d3641461e69e750d5e75c0cc46019d278a401"),
        (b, LAYER_B, "3aedb7b414198721e627c7ff90a57216ca7380238166c9fc0d668ac16cc67270"),
    ] {
        let layer = BASE64_STANDARD.decode(layer).unwrap();
        assert_eq!(sha256(&[image.json, b"\n", &layer].concat()).hex(), payload);
    }
}

#[test]
fn the_chain_becomes_the_config_and_manifests_of_docker() {
    for (form, size, digest) in [
        (Form::Docker, 730, "419c7d1a698166738855a902000097b626add756aafd5138c3b33de5e4009c0e"),
        (Form::Oci, 555, "147bac39d8623cbd12f217dd2ee6d1c3804ce9a55cf8789600daeb1cc7cb29ef"),
    ] {
        let converted = to_v2(&chain(B), form).unwrap();
        assert_eq!(String::from_utf8(converted.config.clone()).unwrap(), CONFIG);
        assert_eq!((converted.config.len(), converted.config_digest.hex().as_str()), (680, CONFIG_ID));
        assert_eq!((converted.manifest.len(), converted.manifest_digest.hex().as_str()), (size, digest));
        assert_eq!(sha256(&converted.manifest), converted.manifest_digest);
        let (manifest, _) = Manifest::parse(form.manifest_type(), &converted.manifest).unwrap();
        assert_eq!(manifest.config.unwrap().media_type, form.config_type());
        assert_eq!(manifest.layers[1].digest, chain(B)[1].blob);
    }
}

#[test]
fn the_json_of_an_old_docker_becomes_what_docker_makes_of_it() {
    let top = B.replace("1.9.1", "1.5.0");
    let converted = to_v2(&chain(&top), Form::Docker).unwrap();
    assert_eq!(converted.config.len(), 1169);
    assert_eq!(
        converted.config_digest.hex(),
        "49dfe5653312df0809b30359527e52be786e6d45cbb5a7a3bd43ea90b4419558"
    );
}

#[test]
fn the_chain_id_of_both_layers() {
    let ids = chain_ids(&[DIFF_ID_A, DIFF_ID_B].map(|id| Digest::parse(id).unwrap()));
    assert_eq!(ids[0].to_string(), DIFF_ID_A);
    assert_eq!(ids[1].hex(), "17bc436bef284a828e3f88862afa71bc48ce822deb87c81d3a4811ab73d889ed");
}

#[test]
fn the_config_becomes_the_images_that_docker_pushes() {
    let [base, top] = from_v2(CONFIG.as_bytes(), 2).unwrap().try_into().unwrap();
    let base_id = &DIFF_ID_A["sha256:".len()..];
    assert_eq!((base.id.to_string().as_str(), base.parent, base.layer), (base_id, None, Some(0)));
    assert_eq!(String::from_utf8(base.json).unwrap(), format!(r#"{{"id":"{base_id}"}}"#));
    assert_eq!((top.id.to_string().as_str(), top.parent, top.layer), (CONFIG_ID, Some(base.id), Some(1)));
    let json = CONFIG[..CONFIG.find(r#""history""#).unwrap()].to_owned()
        + &format!(r#""id":"{CONFIG_ID}","os":"linux","parent":"{base_id}"}}"#);
    assert_eq!(String::from_utf8(top.json).unwrap(), json);
}

#[test]
fn the_config_becomes_the_schema1_images_of_docker() {
    let blobs = chain(B).map(|image| image.blob);
    let [base, top] = schema1::from_config(CONFIG.as_bytes(), &blobs).unwrap().try_into().unwrap();
    assert_eq!(base.id.to_string(), "42cf339b21b8a604fdc18035c135d71b6b7dedbeeebf84e0fce7facb32dab00c");
    assert_eq!(top.id.to_string(), "42e78d4361301c8aea8128508d0ebeb97595216e7444d2e6cf41f8ce9831cb7a");
    assert_eq!([base.blob, top.blob], blobs);
    assert_eq!(
        base.v1_compatibility,
        format!(
            r#"{{"id":"{}","created":"2014-05-13T16:53:20Z","container_config":{{"Cmd":["/bin/sh -c #(nop) ADD file:base in /"]}}}}"#,
            base.id
        )
    );
    let json = CONFIG[..CONFIG.find(r#""history""#).unwrap()].to_owned()
        + &format!(r#""id":"{}","os":"linux","parent":"{}"}}"#, top.id, base.id);
    assert_eq!(top.v1_compatibility, json);
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
    let images = schema1::from_chain(&chain(B)).unwrap();
    let (name, tag) = (RepoName::parse("team/app").unwrap(), Tag::parse("v1").unwrap());
    let payload = schema1::payload(&name, &tag, &images);
    let (manifest, covered) = Manifest::parse(media_type::DOCKER_SCHEMA1, &payload).unwrap();
    assert_eq!(*covered, payload);
    assert_eq!(manifest.layers[1].digest, images[0].blob);
    let text = String::from_utf8(payload.clone()).unwrap();
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
    assert!(text.starts_with(&head), "{text}");
    assert!(text.contains(r#"Ann \u003cann@example.test\u003e"#), "{text}");
    assert!(text.ends_with("\"Size\\\":9}\"\n      }\n   ]\n}"), "{text}");
    let read: serde_json::Value = serde_json::from_slice(&payload).unwrap();
    assert_eq!(read["history"][0]["v1Compatibility"], B);
    assert_eq!(read["history"][1]["v1Compatibility"], A);
}
