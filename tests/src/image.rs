//! Images made here: layers that are real tar archives, a config and a manifest, the same for the same seed;
//! in memory, or as an OCI layout that other programs read. Nothing is ever fetched.

use std::fs;
use std::io::{self, Read, Write};
use std::path::Path;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256, Sha512};

use crate::files::{Files, write_tar};
use crate::random::Random;

/// An OCI image manifest's media type.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// An OCI image index's media type.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// An OCI image config's media type.
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// An uncompressed OCI layer's media type.
pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// Docker's schema 2 manifest's media type.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Docker's manifest list's media type.
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

/// The SHA-256 digest of bytes, as `sha256:<hex>`.
pub fn sha256(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(&Sha256::digest(bytes)))
}

/// The SHA-512 digest of bytes, as `sha512:<hex>`.
pub fn sha512(bytes: &[u8]) -> String {
    format!("sha512:{}", hex(&Sha512::digest(bytes)))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Takes bytes and forgets all but their digest and number.
#[derive(Debug, Default)]
pub struct DigestSink {
    hash: Sha256,
    size: u64,
}

impl DigestSink {
    /// The digest of all there was, as `sha256:<hex>`, and how many bytes.
    pub fn finish(self) -> (String, u64) {
        (format!("sha256:{}", hex(&self.hash.finalize())), self.size)
    }
}

impl Write for DigestSink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.hash.update(bytes);
        self.size += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Bytes with their digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    /// The digest, as `sha256:<hex>`.
    pub digest: String,
    /// The bytes.
    pub bytes: Vec<u8>,
}

impl Blob {
    /// Computes the digest.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Blob {
        let bytes = bytes.into();
        Blob { digest: sha256(&bytes), bytes }
    }

    /// Bytes that no other seed gives.
    pub fn generate(seed: u64, len: usize) -> Blob {
        Blob::new(Random::from_seed(seed).bytes(len))
    }

    /// The descriptor of these bytes as that media type.
    pub fn descriptor(&self, media_type: &str) -> Value {
        json!({ "mediaType": media_type, "digest": self.digest, "size": self.bytes.len() })
    }
}

/// An image of one platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The config.
    pub config: Blob,
    /// The layers, lowest first.
    pub layers: Vec<Blob>,
    /// The manifest.
    pub manifest: Blob,
    /// What is in the image when its layers lie on each other.
    pub files: Files,
    architecture: String,
}

impl Image {
    /// An image for linux/amd64 with a layer for each of these; later layers replace files of earlier ones.
    pub fn from_layers(layers: &[Files]) -> Image {
        Image::for_architecture("amd64", layers)
    }

    /// An image for linux on that architecture.
    pub fn for_architecture(architecture: &str, layers: &[Files]) -> Image {
        let mut files = Files::new();
        let blobs: Vec<Blob> = layers
            .iter()
            .map(|layer| {
                files.extend(layer.clone());
                Blob::new(write_tar(layer))
            })
            .collect();
        let config = json!({
            "created": "2001-02-03T04:05:06Z",
            "architecture": architecture,
            "os": "linux",
            "config": { "Cmd": ["/bin/nothing"] },
            "rootfs": {
                "type": "layers",
                // Not compressed, so that a layer's digest and its diff id are one.
                "diff_ids": blobs.iter().map(|blob| &blob.digest).collect::<Vec<_>>(),
            },
            "history": blobs.iter().map(|_| json!({ "created_by": "a test" })).collect::<Vec<_>>(),
        });
        let config = Blob::new(config.to_string());
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": config.descriptor(OCI_CONFIG),
            "layers": blobs.iter().map(|blob| blob.descriptor(OCI_LAYER)).collect::<Vec<_>>(),
        });
        let manifest = Blob::new(manifest.to_string());
        Image { config, layers: blobs, manifest, files, architecture: architecture.to_owned() }
    }

    /// An image with `layers` layers of a few files, each layer about `layer_bytes` long, all of it new.
    pub fn generate(seed: u64, layers: usize, layer_bytes: usize) -> Image {
        let mut random = Random::from_seed(seed);
        let layers: Vec<Files> = (0..layers)
            .map(|number| {
                let (first, second) = (layer_bytes / 2, layer_bytes - layer_bytes / 2);
                Files::from([
                    (format!("layer-{number}/one"), random.bytes(first)),
                    (format!("layer-{number}/two"), random.bytes(second)),
                    ("top".to_owned(), number.to_string().into_bytes()),
                ])
            })
            .collect();
        Image::from_layers(&layers)
    }

    /// Config and layers.
    pub fn blobs(&self) -> impl Iterator<Item = &Blob> {
        self.layers.iter().chain([&self.config])
    }

    /// The image's entry in an index.
    pub fn platform_descriptor(&self) -> Value {
        let mut descriptor = self.manifest.descriptor(OCI_MANIFEST);
        descriptor["platform"] = json!({ "architecture": self.architecture, "os": "linux" });
        descriptor
    }
}

/// An index over images of several platforms.
pub fn index_of(images: &[Image]) -> Blob {
    let manifests: Vec<Value> = images.iter().map(Image::platform_descriptor).collect();
    let index = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests });
    Blob::new(index.to_string())
}

/// Writes images into an OCI layout (image-layout specification 1.1) at `folder`: each under the name it is
/// given, and one index over all of them under `index_name`, where there is one.
pub fn write_layout(folder: &Path, images: &[(&str, &Image)], index_name: Option<&str>) -> io::Result<()> {
    let blobs = folder.join("blobs/sha256");
    fs::create_dir_all(&blobs)?;
    let write = |blob: &Blob| fs::write(blobs.join(&blob.digest["sha256:".len()..]), &blob.bytes);
    let named = |mut descriptor: Value, name: &str| {
        descriptor["annotations"] = json!({ "org.opencontainers.image.ref.name": name });
        descriptor
    };
    let mut entries = Vec::new();
    for (name, image) in images {
        image.blobs().chain([&image.manifest]).try_for_each(write)?;
        entries.push(named(image.platform_descriptor(), name));
    }
    if let Some(name) = index_name {
        let index = index_of(&images.iter().map(|(_, image)| (*image).clone()).collect::<Vec<_>>());
        write(&index)?;
        entries.push(named(index.descriptor(OCI_INDEX), name));
    }
    write_layout_frame(folder, &entries)
}

fn write_layout_frame(folder: &Path, entries: &[Value]) -> io::Result<()> {
    fs::write(folder.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)?;
    let index = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries });
    fs::write(folder.join("index.json"), index.to_string())
}

/// Writes an OCI layout with one image called `name`, whose only layer is a tar of one file of `size` bytes
/// that do not compress. Never holds the layer in memory. Answers the layer's digest.
pub fn write_large_layout(folder: &Path, name: &str, seed: u64, size: u64) -> io::Result<String> {
    let blobs = folder.join("blobs/sha256");
    fs::create_dir_all(&blobs)?;
    let unnamed = blobs.join("layer");
    let mut layer = Tee { file: fs::File::create(&unnamed)?, digest: DigestSink::default() };
    let mut archive = tar::Builder::new(io::BufWriter::with_capacity(1 << 20, &mut layer));
    let mut header = tar::Header::new_ustar();
    header.set_size(size);
    header.set_mode(0o644);
    header.set_mtime(0);
    archive.append_data(&mut header, "large", Noise::new(seed).take(size))?;
    archive.into_inner()?.into_inner().map_err(io::IntoInnerError::into_error)?;
    let (digest, size) = layer.digest.finish();
    fs::rename(unnamed, blobs.join(&digest["sha256:".len()..]))?;

    let descriptor = json!({ "mediaType": OCI_LAYER, "digest": digest, "size": size });
    let config = Blob::new(
        json!({
            "architecture": "amd64", "os": "linux", "config": {},
            "rootfs": { "type": "layers", "diff_ids": [digest] },
        })
        .to_string(),
    );
    let manifest = Blob::new(
        json!({
            "schemaVersion": 2, "mediaType": OCI_MANIFEST,
            "config": config.descriptor(OCI_CONFIG), "layers": [descriptor],
        })
        .to_string(),
    );
    for blob in [&config, &manifest] {
        fs::write(blobs.join(&blob.digest["sha256:".len()..]), &blob.bytes)?;
    }
    let mut entry = manifest.descriptor(OCI_MANIFEST);
    entry["annotations"] = json!({ "org.opencontainers.image.ref.name": name });
    write_layout_frame(folder, &[entry])?;
    Ok(digest)
}

struct Tee {
    file: fs::File,
    digest: DigestSink,
}

impl Write for Tee {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.digest.write(&bytes[..written])
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Endless bytes, fast: one random block again and again, each time with its number in front.
#[derive(Debug)]
pub struct Noise {
    block: Vec<u8>,
    number: u64,
    at: usize,
}

impl Noise {
    /// Those of that seed.
    pub fn new(seed: u64) -> Noise {
        Noise { block: Random::from_seed(seed).bytes(256 * 1024), number: 0, at: 0 }
    }
}

impl Read for Noise {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.block.len() {
            self.at = 0;
            self.number += 1;
            self.block[..8].copy_from_slice(&self.number.to_le_bytes());
        }
        let read = buffer.len().min(self.block.len() - self.at);
        buffer[..read].copy_from_slice(&self.block[self.at..self.at + read]);
        self.at += read;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_image() {
        let image = Image::generate(1, 2, 1000);
        assert_eq!(image, Image::generate(1, 2, 1000));
        assert_ne!(image.manifest, Image::generate(2, 2, 1000).manifest);
        assert_eq!(image.layers.len(), 2);
        assert_eq!(image.files["top"], b"1");
    }

    #[test]
    fn a_large_layer_is_what_its_digest_says() {
        let folder = tempfile::tempdir().unwrap();
        let digest = write_large_layout(folder.path(), "x", 3, 1_000_000).unwrap();
        let bytes = fs::read(folder.path().join("blobs/sha256").join(&digest["sha256:".len()..])).unwrap();
        assert_eq!(sha256(&bytes), digest);
        assert!(bytes.len() > 1_000_000);
    }

    #[test]
    fn digests_are_those_of_the_standard() {
        assert!(sha256(b"").starts_with("sha256:e3b0c44298fc1c14"));
        assert!(sha512(b"").starts_with("sha512:cf83e1357eefb8bd"));
    }
}
