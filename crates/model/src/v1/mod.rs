//! Docker V1 images as bytes: what is checked of an image's JSON, and how a chain of images becomes a manifest.
//!
//! What lives here: pure functions of bytes and of facts about layers. What does not: layers themselves, which are
//! only named by their digests, and where images and manifests are kept.

mod convert;
mod history;
mod json;
mod legacy;
mod raw;
mod typed;
#[cfg(test)]
mod vectors;

use sha2::{Digest as _, Sha256};

pub use convert::{ChainImage, Converted, Form, to_v2};
pub use json::{ImageJson, ImageJsonError};

use crate::{Digest, ImageId};
use typed::Malformed;

/// Why a conversion is not possible. The text is fit to be shown to a person.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConvertError {
    /// A chain without images.
    #[error("a chain of images has one image at least")]
    EmptyChain,
    /// An image's JSON is not what docker could read.
    #[error("image {id} can't be converted: {reason}")]
    Image {
        /// Which image.
        id: ImageId,
        /// What is wrong with its JSON.
        reason: String,
    },
}

impl ConvertError {
    fn image(id: ImageId, Malformed(reason): Malformed) -> ConvertError {
        ConvertError::Image { id, reason }
    }
}

/// The digest of bytes that are ids or small documents; content is hashed as it streams in, elsewhere.
fn sha256(bytes: &[u8]) -> Digest {
    Digest::sha256(Sha256::digest(bytes).into())
}
