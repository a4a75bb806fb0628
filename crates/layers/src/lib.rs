//! What is inside a layer: how it is compressed, what its uncompressed bytes hash to, which files it holds,
//! and what Docker's tarsum says of it.
//!
//! Everything here streams and blocks: callers hand in a [`std::io::Read`] over a layer's *stored* bytes,
//! whatever their compression, on a thread that may block. Nothing here knows of blobs, images, events or HTTP,
//! and nothing is written to disk.
//!
//! Layers come from anybody, so nothing grows with a layer's size, and what a layer may ask for is bounded:
//!
//! - bytes out of the decoder: [`InspectLimits::uncompressed_bytes`], [`UNCOMPRESSED_BYTES_MAX`] by default;
//! - memory of the decoder: [`WINDOW_BYTES_MAX`];
//! - one entry's names and attributes: [`EXTENDED_HEADER_BYTES_MAX`];
//! - entries that a tarsum sorts, about 100 bytes each: [`InspectLimits::entries`], [`ENTRIES_MAX`] by default.
//!
//! A layer that is read, is read to its end, also past the end of the tar in it: a success means that the
//! checksums of its compression are right and that nothing is missing.

mod compression;
mod error;
mod facts;
mod limits;
mod listing;
mod repack;
mod stream;
mod tar;
mod tarsum;
#[cfg(test)]
mod testing;
mod zstd;

pub use compression::Compression;
pub use error::{LayerError, TarsumParseError};
pub use facts::{LayerFacts, inspect};
pub use limits::{
    ENTRIES_MAX, EXTENDED_HEADER_BYTES_MAX, InspectLimits, UNCOMPRESSED_BYTES_MAX, WINDOW_BYTES_MAX,
};
pub use listing::{Listing, Row, listing};
pub use repack::{Repacked, repack};
pub use tarsum::{Tarsum, TarsumVersion, tarsum};
