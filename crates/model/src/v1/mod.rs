//! Docker V1 images as bytes: what is checked of an image's JSON, and how a chain of images becomes a manifest and a
//! manifest a chain of images.
//!
//! What lives here: pure functions of bytes and of facts about layers. What does not: layers themselves, which are
//! only named by their digests, and where images and manifests are kept.

mod json;
mod raw;

pub use json::{ImageJson, ImageJsonError};
