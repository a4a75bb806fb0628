//! Images as old clients have them: chains of JSON and gzipped layers, with ids that the client chose, and the two
//! checksums that it sends. Nothing here asks a server.

use std::io::{self, Read, Write};

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::files::{Files, read_tar, write_tar};
use crate::image::hex;
use crate::random::Random;
use crate::v1::client::Version;

/// An image: a layer, and what is said of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct V1Image {
    /// 64 hexadecimal digits.
    pub id: String,
    /// The JSON, as it is sent.
    pub json: Vec<u8>,
    /// The layer, as it is sent.
    pub layer: Vec<u8>,
}

impl V1Image {
    /// What `X-Docker-Checksum-Payload` says of it.
    pub fn payload(&self) -> String {
        payload(&self.json, &self.layer)
    }

    /// What `X-Docker-Checksum` says of it.
    pub fn tarsum(&self) -> String {
        tarsum(&self.json, &self.layer)
    }

    /// The files of its layer.
    pub fn files(&self) -> Files {
        read_tar(unpacked(&self.layer))
    }
}

/// An image and what it is built on, the base first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    /// The images.
    pub images: Vec<V1Image>,
}

impl Chain {
    /// New images with a layer each of about `layer_bytes` that do not compress, and JSON in that version's style.
    /// Layers that are above each other replace the file `top`.
    pub fn generate(random: &mut Random, version: Version, layers: usize, layer_bytes: usize) -> Chain {
        Chain { images: Vec::new() }.extended(random, version, layers, layer_bytes)
    }

    /// The same images, with new ones on top of them.
    #[must_use]
    pub fn extended(
        &self,
        random: &mut Random,
        version: Version,
        layers: usize,
        layer_bytes: usize,
    ) -> Chain {
        let mut images = self.images.clone();
        let all = images.len() + layers;
        for number in images.len()..all {
            let layer = gzip(&write_tar(&Files::from([
                (format!("layers/{number}"), random.bytes(layer_bytes)),
                ("top".to_owned(), number.to_string().into_bytes()),
            ])));
            let id = new_id(random);
            let parent = images.last().map(|image| image.id.as_str());
            let json = version.image_json(&id, parent, number, number + 1 == all);
            images.push(V1Image { id, json, layer });
        }
        Chain { images }
    }

    /// The id that a tag is set to.
    pub fn id(&self) -> &str {
        &self.top().id
    }

    /// The image that a tag is set to.
    pub fn top(&self) -> &V1Image {
        self.images.last().expect("a chain has a base")
    }

    /// Ids, the base first.
    pub fn ids(&self) -> Vec<&str> {
        self.images.iter().map(|image| image.id.as_str()).collect()
    }

    /// What is in the image when its layers lie on each other.
    pub fn files(&self) -> Files {
        self.images.iter().flat_map(V1Image::files).collect()
    }
}

impl Version {
    fn image_json(self, id: &str, parent: Option<&str>, number: usize, is_top: bool) -> Vec<u8> {
        // From 1.10 on images below the top are made up for the push, and nothing is said of them.
        if self == Version::V1_12 && !is_top {
            return match parent {
                Some(parent) => format!(r#"{{"id":"{id}","parent":"{parent}"}}"#),
                None => format!(r#"{{"id":"{id}"}}"#),
            }
            .into_bytes();
        }
        let docker_version = match self {
            Version::V1_5 => "1.5.0",
            Version::V1_9 => "1.9.1",
            Version::V1_12 => "1.12.6",
        };
        let config = |cmd: Value, env: Value| {
            json!({
                "Hostname": "", "Domainname": "", "User": "", "AttachStdin": false, "AttachStdout": false,
                "AttachStderr": false, "Tty": false, "OpenStdin": false, "StdinOnce": false, "Env": env,
                "Cmd": cmd, "Image": "", "Volumes": null, "WorkingDir": "", "Entrypoint": null,
                "OnBuild": null, "Labels": null,
            })
        };
        let mut image = json!({
            "id": id,
            "created": format!("2014-05-13T16:{:02}:{:02}.123456789Z", number / 60, number % 60),
            "container": "0".repeat(64),
            "container_config": config(json!(["/bin/sh", "-c", format!("#(nop) layer {number}")]), json!(null)),
            "docker_version": docker_version,
            "author": "Ann <ann@example.test>",
            "config": config(json!(["/nothing"]), json!(["PATH=/bin", format!("L={number}")])),
            "architecture": "amd64",
            "os": "linux",
        });
        if let Some(parent) = parent {
            image["parent"] = json!(parent);
        }
        if self != Version::V1_12 {
            image["Size"] = json!(number);
        }
        image.to_string().into_bytes()
    }
}

/// An id that nothing has yet.
pub fn new_id(random: &mut Random) -> String {
    hex(&random.bytes(32))
}

/// What `X-Docker-Checksum-Payload` says of JSON and layer, as they are sent.
pub fn payload(json: &[u8], layer: &[u8]) -> String {
    let mut payload = Payload::new(json);
    payload.update(layer);
    payload.finish()
}

/// The payload checksum of a layer that comes piece by piece.
#[derive(Debug)]
pub struct Payload {
    hash: Sha256,
}

impl Payload {
    /// Of an image with that JSON.
    pub fn new(json: &[u8]) -> Payload {
        Payload { hash: Sha256::new().chain_update(json).chain_update(b"\n") }
    }

    /// Takes the next bytes of the layer.
    pub fn update(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
    }

    /// The checksum.
    pub fn finish(self) -> String {
        format!("sha256:{}", hex(&self.hash.finalize()))
    }
}

/// What `X-Docker-Checksum` says of JSON and layer: version 0 of the sum over a tar archive. For archives
/// with plain headers alone, such as are made here.
pub fn tarsum(json: &[u8], layer: &[u8]) -> String {
    let mut archive = tar::Archive::new(unpacked(layer));
    let mut sums: Vec<String> = Vec::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let header = entry.header().clone();
        let text = |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned();
        // A field that was left empty is 0.
        let fields = [
            ("name", text(Some(&header.path_bytes()))),
            ("mode", header.mode().unwrap_or_default().to_string()),
            ("uid", header.uid().unwrap_or_default().to_string()),
            ("gid", header.gid().unwrap_or_default().to_string()),
            ("size", header.size().unwrap().to_string()),
            ("mtime", header.mtime().unwrap_or_default().to_string()),
            ("typeflag", char::from(header.entry_type().as_byte()).to_string()),
            ("linkname", text(header.link_name_bytes().as_deref())),
            ("uname", text(header.username_bytes())),
            ("gname", text(header.groupname_bytes())),
            ("devmajor", header.device_major().ok().flatten().unwrap_or_default().to_string()),
            ("devminor", header.device_minor().ok().flatten().unwrap_or_default().to_string()),
        ];
        let mut hash = Sha256::new();
        for (key, value) in fields {
            hash.update(key);
            hash.update(value);
        }
        let mut contents = Vec::new();
        entry.read_to_end(&mut contents).unwrap();
        hash.update(&contents);
        sums.push(hex(&hash.finalize()));
    }
    sums.sort_unstable();
    let mut hash = Sha256::new().chain_update(json);
    sums.iter().for_each(|sum| hash.update(sum));
    format!("tarsum+sha256:{}", hex(&hash.finalize()))
}

/// A layer's archive, be it compressed or not.
fn unpacked(layer: &[u8]) -> Box<dyn Read + '_> {
    if layer.starts_with(&[0x1f, 0x8b]) { Box::new(MultiGzDecoder::new(layer)) } else { Box::new(layer) }
}

/// What a layer unpacks to.
pub fn unpack(layer: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    unpacked(layer).read_to_end(&mut bytes).expect("a layer that can be unpacked");
    bytes
}

/// Compresses a layer.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("memory takes everything");
    encoder.finish().expect("memory takes everything")
}

/// Writes a gzipped layer with one file of `size` bytes, as they come from `contents`, piece by piece. They are not
/// compressed, for they are taken for bytes that can't be.
///
/// # Errors
/// What `sink` and `contents` give.
pub fn write_large_layer(contents: impl Read, size: u64, sink: &mut dyn Write) -> io::Result<()> {
    let encoder = GzEncoder::new(io::BufWriter::with_capacity(1 << 20, sink), Compression::none());
    let mut archive = tar::Builder::new(encoder);
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(tar::EntryType::Regular);
    header.set_size(size);
    header.set_mode(0o644);
    header.set_mtime(0);
    archive.append_data(&mut header, "large", contents)?;
    archive.into_inner()?.finish()?.flush()
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    /// The base image of the protocol description's examples.
    const JSON: &str = concat!(
        r#"{"id":"1111111111111111111111111111111111111111111111111111111111111111","#,
        r##""created":"2014-05-13T16:53:20Z","container_config":{"Cmd":["/bin/sh","-c","#(nop) ADD "##,
        r#"file:base in /"]},"docker_version":"1.9.1","architecture":"amd64","os":"linux","Size":9}"#,
    );
    const LAYER: &str = concat!(
        "H4sIAAAAAAAA/+3RQQqAIBBA0Vl3Cm+Qo6OeJ0poYQhmnT9xGVQrg2jeZmR0IXyfxx4ak4Uzps7iPOsZldZE5OoepbYEwsAL",
        "tjUPqXwlxZjv3j3df5Qv/ZeYp9b9LdF1f8RTf1SkQEju39zsQ4hixw4YY4z9yQFJV+zdAAoAAA==",
    );

    #[test]
    fn checksums_are_those_of_real_clients() {
        let layer = STANDARD.decode(LAYER).unwrap();
        assert_eq!(JSON.len(), 248);
        let payload_sum = "sha256:071e41208551403f2494d086022d3641461e69e750d5e75c0cc46019d278a401";
        assert_eq!(payload(JSON.as_bytes(), &layer), payload_sum);
        let tar_sum = "tarsum+sha256:256b050b18c9cb679677ef0c1009c27623ef29a4adfa055e4a33d5119b91e3f0";
        assert_eq!(tarsum(JSON.as_bytes(), &layer), tar_sum);
    }

    #[test]
    fn a_chain_is_linked_from_the_base_on() {
        let mut random = Random::from_seed(1);
        for version in Version::ALL {
            let base = Chain::generate(&mut random, version, 2, 100);
            let chain = base.extended(&mut random, version, 1, 100);
            let parents: Vec<Value> =
                chain.images.iter().map(|image| parse(image)["parent"].clone()).collect();
            assert_eq!(parents, [json!(null), json!(chain.images[0].id), json!(chain.images[1].id)]);
            assert_eq!(chain.images[..2], base.images);
            assert_eq!(chain.files()["top"], b"2");
            assert_eq!(chain.files().len(), 4);
        }
    }

    fn parse(image: &V1Image) -> Value {
        let json: Value = serde_json::from_slice(&image.json).unwrap();
        assert_eq!(json["id"], *image.id);
        json
    }

    #[test]
    fn a_large_layer_is_read_back() {
        let mut layer = Vec::new();
        write_large_layer(&[7; 100_000][..], 100_000, &mut layer).unwrap();
        let image = V1Image { id: new_id(&mut Random::from_seed(1)), json: Vec::new(), layer };
        assert_eq!(image.files()["large"], [7; 100_000]);
    }
}
