//! Content-addressed bytes under the data folder: upload sessions, blobs, their removal and their reading.
//!
//! This crate knows digests and bytes. It knows no events, no repositories (a session's owner is only a
//! text to it) and no HTTP; whether a blob is wanted is for its caller to say. What it promises:
//!
//! - A file under `blobs/` is whole, was checked against its name and is on disk before anybody is told of it.
//! - What was answered by [`BlobStore::append`] survives the death of the process.
//! - A full disk, a client that vanishes or a request that is dropped at any point leaves the store as if
//!   that request had stopped at a boundary that the method names.
//!
//! One process at a time may have a data folder open; this crate trusts its caller to see to that.

mod append;
mod crash;
mod disk;
mod error;
mod hasher;
mod layout;
mod lock;
mod read;
mod session;
mod store;

pub use crash::crash_point;
pub use error::StoreError;
pub use read::{BlobFile, BlobReader};
pub use store::{BlobStore, Existing, LargeBlob, Published, Share, StoreOptions, SweptSessions, Verified};
