//! What can go wrong with stored bytes, one variant for each outcome that a caller treats differently.

use std::io;

use rustix::io::Errno;
use supercargo_model::Digest;

/// Why the store did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The owner has no such upload session: never started, finished, cancelled or expired.
    #[error("no such upload session")]
    SessionUnknown,
    /// There are as many upload sessions as there may be.
    #[error("there are {max} upload sessions already")]
    TooManySessions {
        /// How many there may be.
        max: usize,
    },
    /// The bytes do not follow those received, their number is not the announced one, or another request
    /// is writing to the session. The session holds what it held before.
    #[error("the session holds {received} bytes and takes what follows them")]
    OutOfOrder {
        /// How many bytes the session holds.
        received: u64,
    },
    /// The body broke off. Without a range, what came of it is kept.
    #[error("the body broke off; the session holds {received} bytes: {source}")]
    BodyIncomplete {
        /// How many bytes the session holds.
        received: u64,
        /// What the connection said.
        source: io::Error,
    },
    /// The client sent nothing for [`crate::StoreOptions::body_idle_timeout`]. Without a range, what came
    /// is kept.
    #[error("the client stopped sending; the session holds {received} bytes")]
    BodyTimeout {
        /// How many bytes the session holds.
        received: u64,
    },
    /// The bytes hash to something else. Nothing was stored and the session is gone.
    #[error("the bytes are {actual}")]
    DigestMismatch {
        /// What they hash to.
        actual: Digest,
    },
    /// There is no file of that digest.
    #[error("no such blob")]
    NotFound,
    /// The disk is full, or would be beyond the reserve. What the request wrote is removed.
    #[error("the disk is full")]
    DiskFull,
    /// The storage failed.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl StoreError {
    /// Wraps an error of the system, for `map_err`; a full disk or quota is told apart.
    pub(crate) fn doing(doing: &'static str) -> impl FnOnce(io::Error) -> StoreError {
        move |source| match Errno::from_io_error(&source) {
            Some(Errno::NOSPC | Errno::DQUOT) => StoreError::DiskFull,
            _ => StoreError::Io { doing, source },
        }
    }
}
