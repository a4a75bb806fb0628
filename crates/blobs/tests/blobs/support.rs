//! What all these tests use: a store with small limits, bodies, and looks at what lies on disk.

use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, TryStreamExt, stream};
use sha2::{Digest as _, Sha256, Sha512};
use supercargo_blobs::{BlobStore, Existing, LargeBlob, Published, StoreError, StoreOptions, Verified};
use supercargo_model::{Algorithm, Digest};
use tempfile::TempDir;
use uuid::Uuid;

pub const SHA256: Algorithm = Algorithm::Sha256;
pub const SHA512: Algorithm = Algorithm::Sha512;
pub const KEEP: Existing = Existing::Keep;

pub const OWNER: &str = "docker-local/library/ubuntu";

/// More bytes than this make a file, fewer are handed back.
pub const INLINE_BYTES_MAX: u64 = 1000;

pub const PIECE_BYTES: usize = 4096;

/// Limits so small that a few kilobytes reach all of them.
pub fn options() -> StoreOptions {
    StoreOptions {
        reserve_bytes: 0,
        inline_bytes_max: INLINE_BYTES_MAX,
        body_idle_timeout: Duration::from_millis(10),
        sessions_max: 8,
        body_bytes_max: 10_000,
        piece_bytes: PIECE_BYTES as u32,
    }
}

pub fn open(folder: &Path) -> BlobStore {
    open_with(folder, options())
}

pub fn open_with(folder: &Path, options: StoreOptions) -> BlobStore {
    BlobStore::open(folder, options).unwrap()
}

/// A store in a folder of its own.
pub fn store() -> (TempDir, BlobStore) {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    (folder, store)
}

/// Bytes that differ from those of any other seed.
pub fn content(seed: u8, len: usize) -> Bytes {
    (0..len).map(|at| (at / 7) as u8 ^ (at as u8).wrapping_mul(31) ^ seed).collect()
}

pub fn digest(algorithm: Algorithm, bytes: &[u8]) -> Digest {
    match algorithm {
        SHA256 => Digest::from_hash(algorithm, &Sha256::digest(bytes)).unwrap(),
        SHA512 => Digest::from_hash(algorithm, &Sha512::digest(bytes)).unwrap(),
    }
}

/// The bytes as a body in frames of `len`.
pub fn frames(bytes: &Bytes, len: usize) -> impl Stream<Item = io::Result<Bytes>> + Send + Unpin + use<> {
    let cut = |at: usize| Ok(bytes.slice(at..bytes.len().min(at + len)));
    stream::iter((0..bytes.len()).step_by(len).map(cut).collect::<Vec<_>>())
}

/// The bytes as a body of one frame.
pub fn body(bytes: &Bytes) -> impl Stream<Item = io::Result<Bytes>> + Send + Unpin + use<> {
    frames(bytes, bytes.len().max(1))
}

/// A session that holds the bytes.
pub async fn session(store: &BlobStore, algorithm: Algorithm, bytes: &Bytes) -> Uuid {
    let id = store.start(OWNER, algorithm).await.unwrap();
    assert_eq!(store.append(OWNER, id, None, body(bytes)).await.unwrap(), bytes.len() as u64);
    id
}

/// Verifies a session that must hold a large blob.
pub async fn verified(store: &BlobStore, id: Uuid, digest: Digest) -> LargeBlob {
    match store.verify(OWNER, id, digest).await.unwrap() {
        Verified::Large(large) => large,
        Verified::Small(bytes) => panic!("{} bytes are a small blob", bytes.len()),
    }
}

/// Uploads and publishes the bytes, which must make a large blob.
pub async fn publish(store: &BlobStore, bytes: &Bytes, existing: Existing) -> Published {
    let digest = digest(SHA256, bytes);
    let id = session(store, SHA256, bytes).await;
    let published = store.publish(verified(store, id, digest).await, existing).await.unwrap();
    store.discard(OWNER, id).await.unwrap();
    published
}

/// What streaming the range gives.
pub async fn read(store: &BlobStore, digest: &Digest, range: Range<u64>) -> Result<Vec<u8>, StoreError> {
    let pieces: Vec<Bytes> = store.read(digest)?.stream(range).try_collect().await.unwrap();
    Ok(pieces.concat())
}

/// Every blob that the store has, in order.
pub fn files(store: &BlobStore) -> Vec<(Digest, u64)> {
    let mut files: Vec<_> = store.files().map(Result::unwrap).collect();
    files.sort_unstable_by_key(|(digest, _)| digest.to_string());
    files
}

/// Where a blob lies.
pub fn blob_path(folder: &Path, digest: &Digest) -> PathBuf {
    let hex = digest.hex();
    folder.join("blobs").join(digest.algorithm().as_str()).join(&hex[..2]).join(hex)
}

/// Every file below `uploads/`.
pub fn upload_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder.join("uploads")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}
