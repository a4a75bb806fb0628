//! How much a layer may ask of those who read it.

use std::sync::atomic::{AtomicBool, Ordering};

/// Most bytes that a layer may come to uncompressed, where the caller says nothing else: 64 GiB. The largest
/// layers that people push, of machine-learning models, come to some tens of GiB; a bomb of a few MiB that is
/// gzip's 1000 to 1 stops there within minutes.
pub const UNCOMPRESSED_BYTES_MAX: u64 = 64 * 1024 * 1024 * 1024;
/// Most bytes that an xz dictionary or a zstd window may have: 128 MiB, twice what `xz -9` uses and what
/// `zstd -d` takes unasked. Decoders hold that much in memory.
pub const WINDOW_BYTES_MAX: u64 = 128 * 1024 * 1024;
/// Most bytes of one extended header, pax or GNU: 1 MiB. It is held in memory.
pub const EXTENDED_HEADER_BYTES_MAX: u64 = 1024 * 1024;
/// Most entries of a layer where the caller says nothing else. A tarsum holds about 100 bytes for each.
pub const ENTRIES_MAX: u32 = 1_000_000;

/// How much one reading of a layer may come to, and how it is stopped.
#[derive(Debug, Clone, Copy)]
pub struct InspectLimits<'s> {
    /// Most uncompressed bytes; past them [`LayerError::TooLarge`](crate::LayerError::TooLarge).
    pub uncompressed_bytes: u64,
    /// Most entries of the tar; past them [`LayerError::TooManyEntries`](crate::LayerError::TooManyEntries).
    /// What doesn't look into the tar doesn't count them.
    pub entries: u32,
    /// Once it is true, the reading ends within a piece, with [`LayerError::Stopped`](crate::LayerError::Stopped).
    pub stop: Option<&'s AtomicBool>,
}

impl InspectLimits<'_> {
    pub(crate) fn stopped(&self) -> bool {
        self.stop.is_some_and(|stop| stop.load(Ordering::Relaxed))
    }
}

impl Default for InspectLimits<'_> {
    fn default() -> Self {
        InspectLimits { uncompressed_bytes: UNCOMPRESSED_BYTES_MAX, entries: ENTRIES_MAX, stop: None }
    }
}
