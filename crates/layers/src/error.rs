//! Why a layer can't be read, one variant for each outcome that a caller treats differently.

use std::io;

use crate::Compression;

/// Why something about a layer could not be found out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LayerError {
    /// The stored bytes could not be read. Says nothing about the layer.
    #[error("the layer's stored bytes can't be read: {0}")]
    Read(#[source] io::Error),
    /// What was made of the layer could not be written. Says nothing about the layer.
    #[error("the repacked layer can't be written: {0}")]
    Write(#[source] io::Error),
    /// The bytes are not what their first ones promise: damaged, cut off, followed by something else, or in
    /// need of more memory than [`WINDOW_BYTES_MAX`](crate::WINDOW_BYTES_MAX).
    #[error("the layer can't be read as {compression}: {source}")]
    Unreadable {
        /// What the first bytes promise.
        compression: Compression,
        /// What the decoder says.
        source: io::Error,
    },
    /// More uncompressed bytes than the caller allows.
    #[error("the layer is larger than {limit} bytes uncompressed")]
    TooLarge {
        /// Most bytes that it may come to.
        limit: u64,
    },
    /// The uncompressed bytes are not a tar.
    #[error("the layer is not a tar that can be read: {reason}, at byte {at} of it")]
    Tar {
        /// Where the header stands, in uncompressed bytes.
        at: u64,
        /// What is wrong there.
        reason: &'static str,
    },
    /// More entries than the caller allows.
    #[error("the layer has more than {limit} entries")]
    TooManyEntries {
        /// Most entries that it may have.
        limit: u32,
    },
    /// A tarsum was asked for, and the layer holds a sparse file. Its tarsum is over the holes, too, and old
    /// clients disagree about where they are.
    #[error("the layer holds a sparse file, for which no tarsum is defined")]
    SparseFile,
    /// The caller's [`stop`](crate::InspectLimits::stop) became true.
    #[error("reading the layer was stopped")]
    Stopped,
}

/// A text that is not a tarsum of version 0 or 1 with SHA-256.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "tarsum {0:?} is not valid: use tarsum+sha256: or tarsum.v1+sha256: and 64 lower-case hexadecimal digits"
)]
pub struct TarsumParseError(pub(crate) String);
