//! Docker V1 images as bytes: what is checked of an image's JSON, and how a chain of images becomes a manifest and a
//! manifest a chain of images.
//!
//! What lives here: pure functions of bytes and of facts about layers. What does not: layers themselves, which are
//! only named by their digests, and where images and manifests are kept.

mod config;
mod convert;
mod history;
mod json;
mod legacy;
mod name;
#[cfg(test)]
mod properties;
mod raw;
pub mod schema1;
mod tag_json;
mod typed;
#[cfg(test)]
mod vectors;

use sha2::{Digest as _, Sha256};

pub use config::{SynthesisedImage, chain_ids, from_v2};
pub use convert::{ChainImage, Converted, Form, to_v2};
pub use json::{ImageJson, ImageJsonError};
pub use name::V1Name;
pub use tag_json::TagJson;

use crate::{Digest, ImageId};
use typed::Malformed;

/// The smallest layer there is, as docker writes it: the gzip of 1024 zero bytes. Manifests of schema 1 name it where
/// an image changed nothing, and an image without layers has it as its only one.
pub const EMPTY_LAYER: [u8; 32] = [
    31, 139, 8, 0, 0, 9, 110, 136, 0, 255, 98, 24, 5, 163, 96, 20, 140, 88, 0, 8, 0, 0, 255, 255, 46, 175,
    181, 239, 0, 4, 0, 0,
];

/// The digest of [`EMPTY_LAYER`].
pub fn empty_layer() -> Digest {
    sha256(&EMPTY_LAYER)
}

/// Why a conversion is not possible. The text is fit to be shown to a person.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConvertError {
    /// A chain without images.
    #[error("a chain of images has one image at least")]
    EmptyChain,
    /// A chain whose images say too much.
    #[error(
        "the JSON of an image and of those that it was made from, or the config that they become, has more than {} bytes",
        crate::limits::IMAGE_CHAIN_JSON_BYTES_MAX
    )]
    TooLarge,
    /// An image's JSON is not what docker could read.
    #[error("image {id} can't be converted: {reason}")]
    Image {
        /// Which image.
        id: ImageId,
        /// What is wrong with its JSON.
        reason: String,
    },
    /// A config is not what docker could read, or not that of an image.
    #[error("the config {digest} can't be converted: {reason}")]
    Config {
        /// Which config.
        digest: Digest,
        /// What is wrong with it.
        reason: String,
    },
    /// A manifest of schema 1 is not one of images.
    #[error("the manifest {digest} can't be converted: {reason}")]
    Manifest {
        /// Which manifest, by its payload.
        digest: Digest,
        /// What is wrong with it.
        reason: String,
    },
    /// A manifest and its config disagree.
    #[error("the config {digest} is of {expected} layers, but the manifest has {layers}")]
    LayerCount {
        /// Which config.
        digest: Digest,
        /// How many layers the config speaks of.
        expected: usize,
        /// How many layers the manifest has.
        layers: usize,
    },
}

impl ConvertError {
    fn image(id: ImageId, Malformed(reason): Malformed) -> ConvertError {
        ConvertError::Image { id, reason }
    }

    fn config(bytes: &[u8], Malformed(reason): Malformed) -> ConvertError {
        ConvertError::Config { digest: sha256(bytes), reason }
    }
}

/// The digest of bytes that are ids or small documents; content is hashed as it streams in, elsewhere.
fn sha256(bytes: &[u8]) -> Digest {
    Digest::sha256(Sha256::digest(bytes).into())
}

/// The id that is the hash of `text`.
fn hashed_id(text: &str) -> ImageId {
    ImageId::from_bytes(Sha256::digest(text).into())
}
