//! What a log is, whichever engine keeps it.

use std::ops::Range;

use supercargo_model::Timestamp;

use crate::{DbError, Follower, Record, codec::CodecError};

/// Records in order, read lazily.
pub type RecordIter = Box<dyn Iterator<Item = Result<Record, LogError>> + Send>;

/// Why the log could not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// The log is not where the appender thought. Nothing was written; read what is new and decide again.
    #[error("the log is at {actual}, not at {expected}")]
    Conflict {
        /// Where the appender thought it was.
        expected: u64,
        /// Where it is.
        actual: u64,
    },
    /// A seq is missing.
    #[error("the log has a hole at {0}")]
    Hole(u64),
    /// A record does not decode.
    #[error("record {seq}: {source}")]
    Codec {
        /// Its seq.
        seq: u64,
        /// Why.
        source: CodecError,
    },
    /// The storage failed. Whether an append took effect is not known: reopen, and look.
    #[error(transparent)]
    Storage(#[from] DbError),
}

/// An append-only sequence of records, seq from 0, no holes.
pub trait Log: Send + Sync {
    /// How many records there are: the seq of the next.
    ///
    /// # Errors
    /// Storage errors.
    fn size(&self) -> Result<u64, LogError>;

    /// Appends a batch, whole or not at all. Durable when it returns.
    ///
    /// # Errors
    /// [`LogError::Conflict`] where the log's size is not `expected`.
    fn append(&self, expected: u64, batch: &[Record]) -> Result<(), LogError>;

    /// The records of a range, as far as there are any, at one snapshot.
    ///
    /// # Errors
    /// Storage errors; a hole or a record that does not decode is the iterator's item.
    fn read(&self, range: Range<u64>) -> Result<RecordIter, LogError>;

    /// Follows the log from a seq: committed records in order, none missed, none twice.
    fn follow(&self, from: u64) -> Follower;
}

/// The first seq below `size` whose record's time passes a test that all later ones pass too, or `size`: times never run
/// backwards in the log, so it is found by halving.
///
/// # Errors
/// As [`Log::read`].
pub fn first_at(log: &dyn Log, size: u64, passes: impl Fn(Timestamp) -> bool) -> Result<u64, LogError> {
    let (mut low, mut high) = (0, size);
    while low < high {
        let middle = low + (high - low) / 2;
        let record = log.read(middle..middle + 1)?.next().ok_or(LogError::Hole(middle))??;
        if passes(record.at) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    Ok(low)
}
