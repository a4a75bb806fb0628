//! What is pushed: blobs, images and manifests, made from numbers, so that every side gets the same bytes
//! and no two rounds get one blob twice.

use bytes::Bytes;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use supercargo_model::Digest;

/// Media type of an OCI image manifest.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Media type of an OCI image configuration.
pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// Media type of an OCI layer.
pub const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// Layers of an image.
const LAYERS: u64 = 3;
/// A layer's least and greatest size, in bytes.
const LAYER_BYTES: (u64, u64) = (1 << 10, 16 << 10);

/// A splitmix64 generator: small, fast, with no bad seeds. Not for secrets.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The generator that a seed gives.
    pub const fn from_seed(seed: u64) -> Random {
        Random(seed)
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Bytes that do not compress.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        for piece in bytes.chunks_mut(8) {
            piece.copy_from_slice(&self.number().to_le_bytes()[..piece.len()]);
        }
        bytes
    }
}

/// A blob: a head of its own and a tail that it may share with others, so that many large blobs cost the
/// memory of one.
#[derive(Debug, Clone)]
pub struct Blob {
    /// Its first bytes.
    pub head: Bytes,
    /// The rest.
    pub tail: Bytes,
    /// The digest of both.
    pub digest: Digest,
}

impl Blob {
    /// The blob of these bytes.
    pub fn new(bytes: impl Into<Bytes>) -> Blob {
        Blob::of(bytes.into(), Bytes::new())
    }

    /// A blob as long as `base` that differs from it, and from those with other numbers, in its first bytes.
    pub fn numbered(base: &Bytes, number: u64) -> Blob {
        let head = Bytes::copy_from_slice(&Random::from_seed(number).number().to_le_bytes());
        let skip = head.len().min(base.len());
        Blob::of(head, base.slice(skip..))
    }

    fn of(head: Bytes, tail: Bytes) -> Blob {
        let digest = Digest::sha256(Sha256::new().chain_update(&head).chain_update(&tail).finalize().into());
        Blob { head, tail, digest }
    }

    /// Its size in bytes.
    pub fn size(&self) -> u64 {
        (self.head.len() + self.tail.len()) as u64
    }
}

/// A small image, as a build that changes a little gives: configuration, three layers of 1 to 16 KiB, and
/// the manifest.
#[derive(Debug, Clone)]
pub struct Image {
    /// Configuration and layers, in the order they are pushed.
    pub blobs: Vec<Blob>,
    /// The manifest's bytes.
    pub manifest: Bytes,
    /// The manifest's digest.
    pub digest: Digest,
}

impl Image {
    /// The image of a number.
    pub fn numbered(number: u64) -> Image {
        let mut random = Random::from_seed(number);
        let layers: Vec<Blob> = (0..LAYERS)
            .map(|_| {
                let size = LAYER_BYTES.0 + random.number() % (LAYER_BYTES.1 - LAYER_BYTES.0);
                // Below 16 KiB: fits whatever a pointer's width is.
                Blob::new(random.bytes(size as usize))
            })
            .collect();
        Image::of(number, layers)
    }

    fn of(number: u64, layers: Vec<Blob>) -> Image {
        let config = Blob::new(
            json!({
                "architecture": "amd64",
                "os": "linux",
                "config": { "Env": [format!("BUILD={number}")] },
                "rootfs": {
                    "type": "layers",
                    "diff_ids": layers.iter().map(|layer| layer.digest.to_string()).collect::<Vec<_>>(),
                },
            })
            .to_string(),
        );
        let manifest = manifest(&config, &layers, None);
        let digest = digest_of(&manifest);
        Image { blobs: std::iter::once(config).chain(layers).collect(), manifest, digest }
    }

    /// The image of a number with layers of so many bytes.
    pub fn of_layers(number: u64, sizes: &[usize]) -> Image {
        let mut random = Random::from_seed(number);
        let layers = sizes.iter().map(|bytes| Blob::new(random.bytes(*bytes))).collect();
        Image::of(number, layers)
    }

    /// Another manifest over the same blobs, told apart by an annotation.
    pub fn variant(&self, number: u64) -> (Bytes, Digest) {
        let (config, layers) = (&self.blobs[0], &self.blobs[1..]);
        let manifest = manifest(config, layers, Some(number));
        let digest = digest_of(&manifest);
        (manifest, digest)
    }
}

fn manifest(config: &Blob, layers: &[Blob], number: Option<u64>) -> Bytes {
    let descriptor = |media_type: &str, blob: &Blob| json!({ "mediaType": media_type, "digest": blob.digest.to_string(), "size": blob.size() });
    let mut manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": descriptor(CONFIG, config),
        "layers": layers.iter().map(|layer| descriptor(LAYER, layer)).collect::<Vec<_>>(),
    });
    if let Some(number) = number {
        manifest["annotations"] = json!({ "supercargo.bench.number": number.to_string() });
    }
    manifest.to_string().into()
}

fn digest_of(bytes: &[u8]) -> Digest {
    Digest::sha256(Sha256::digest(bytes).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_gives_the_same_image_and_another_number_another() {
        assert_eq!(Image::numbered(1).digest, Image::numbered(1).digest);
        assert_ne!(Image::numbered(1).digest, Image::numbered(2).digest);
        let image = Image::numbered(3);
        assert_ne!(image.variant(0).1, image.variant(1).1);
    }

    #[test]
    fn an_image_is_what_the_registry_reads_from_its_manifest() {
        let image = Image::numbered(4);
        let (read, _) = supercargo_model::Manifest::parse(MANIFEST, &image.manifest).unwrap();
        let named: Vec<_> = read.config.iter().chain(&read.layers).map(|d| (d.digest, d.size)).collect();
        let made: Vec<_> = image.blobs.iter().map(|blob| (blob.digest, blob.size())).collect();
        assert_eq!(named, made);
    }

    #[test]
    fn numbered_blobs_share_all_but_their_head() {
        let base = Bytes::from(Random::from_seed(5).bytes(1000));
        let (one, two) = (Blob::numbered(&base, 1), Blob::numbered(&base, 2));
        assert_eq!((one.size(), two.size()), (1000, 1000));
        assert_ne!(one.digest, two.digest);
        assert_eq!(one.tail.as_ptr(), two.tail.as_ptr());
        assert_eq!(one.digest, digest_of(&[&one.head[..], &one.tail[..]].concat()));
    }
}
