//! What is pushed: a few blobs, small and large, and manifests that refer to each other in every way.

use std::sync::LazyLock;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use supercargo_model::{Digest, media_type};

/// Up to this many bytes a blob is kept beside the tables here, so that both ways are taken.
pub const INLINE_BYTES_MAX: u64 = 100;

pub struct Blob {
    pub bytes: Bytes,
    pub digest: Digest,
}

pub struct Manifest {
    pub bytes: Bytes,
    pub digest: Digest,
    pub media_type: &'static str,
    /// Config and layers.
    pub blobs: Vec<Digest>,
    pub children: Vec<Digest>,
    pub subject: Option<Digest>,
}

impl Manifest {
    /// All that it holds.
    pub fn targets(&self) -> impl Iterator<Item = Digest> + '_ {
        self.blobs.iter().chain(&self.children).copied()
    }
}

pub fn digest_of(bytes: &[u8]) -> Digest {
    Digest::sha256(Sha256::digest(bytes).into())
}

/// Blobs, and last the bytes of a manifest, which somebody uploads as a blob.
pub static BLOBS: LazyLock<Vec<Blob>> = LazyLock::new(|| {
    let bytes = (0..5_u8).map(|index| Bytes::from(vec![index; if index < 3 { 40 } else { 3000 }]));
    let all = bytes.chain([MANIFESTS[0].bytes.clone()]);
    all.map(|bytes| Blob { digest: digest_of(&bytes), bytes }).collect()
});

fn blob(index: u8) -> Digest {
    digest_of(&vec![index; if index < 3 { 40 } else { 3000 }])
}

pub static MANIFESTS: LazyLock<Vec<Manifest>> = LazyLock::new(|| {
    let mut all: Vec<Manifest> = Vec::new();
    // (config and layers, children, subject, padding): indices into the blobs, and into what was made before.
    type Recipe = (&'static [u8], &'static [usize], Option<usize>, usize);
    let recipes: [Recipe; 9] = [
        (&[0, 1, 3], &[], None, 0),
        (&[0, 3], &[], None, 0),
        // Larger than what is kept beside the tables.
        (&[1, 4, 2], &[], None, 70_000),
        (&[], &[0, 1], None, 0),
        (&[], &[3, 2], None, 0),
        (&[0, 2], &[], Some(0), 0),
        (&[4], &[], Some(5), 0),
        (&[0], &[], Some(3), 0),
        (&[2, 3], &[], Some(4), 0),
    ];
    for (blobs, children, subject, padding) in recipes {
        let index = !children.is_empty();
        let media_type = if index { media_type::OCI_INDEX } else { media_type::OCI_MANIFEST };
        let blobs: Vec<Digest> = blobs.iter().map(|index| blob(*index)).collect();
        let children: Vec<Digest> = children.iter().map(|index| all[*index].digest).collect();
        let subject = subject.map(|index| all[index].digest);
        let descriptor =
            |digest: &Digest| serde_json::json!({"mediaType": "a/b", "digest": digest, "size": 1});
        let mut json = serde_json::json!({"schemaVersion": 2, "mediaType": media_type});
        if index {
            json["manifests"] = children.iter().map(descriptor).collect();
        } else {
            json["config"] = descriptor(&blobs[0]);
            json["layers"] = blobs[1..].iter().map(descriptor).collect();
        }
        if let Some(subject) = &subject {
            json["subject"] = descriptor(subject);
        }
        if padding > 0 {
            json["annotations"] = serde_json::json!({"padding": "p".repeat(padding)});
        }
        let bytes = Bytes::from(json.to_string());
        all.push(Manifest { digest: digest_of(&bytes), bytes, media_type, blobs, children, subject });
    }
    all
});

/// The manifest of a digest.
pub fn manifest(digest: &Digest) -> Option<&'static Manifest> {
    MANIFESTS.iter().find(|manifest| manifest.digest == *digest)
}

pub fn size_of(digest: &Digest) -> u64 {
    let blobs = BLOBS.iter().map(|blob| (&blob.digest, &blob.bytes));
    let manifests = MANIFESTS.iter().map(|manifest| (&manifest.digest, &manifest.bytes));
    blobs.chain(manifests).find(|(known, _)| *known == digest).map(|(_, bytes)| bytes.len() as u64).unwrap()
}
