//! The use cases.

mod error;

pub use error::Error;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use supercargo_eventlog::{Actor, Origin, RepositoryConfig};
use supercargo_model::{Algorithm, Descriptor, Digest, Manifest, Reference, RepoKey, RepoName, Tag, Timestamp};
use uuid::Uuid;

/// A use case's outcome.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Who is asking, and through what.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Who.
    pub actor: Actor,
    /// Through what.
    pub origin: Origin,
}

/// A manifest as it is served.
#[derive(Debug)]
pub struct StoredManifest {
    /// Its digest.
    pub digest: Digest,
    /// The media type it was pushed as.
    pub media_type: String,
    /// Its bytes, as pushed.
    pub bytes: Bytes,
    /// Its digest as text, ready for headers.
    pub digest_text: String,
}

/// A page of a listing in byte order.
#[derive(Debug)]
pub struct Page<T> {
    /// The entries.
    pub entries: Vec<T>,
    /// Whether more follow.
    pub more: bool,
}

/// What a referrers listing shows of one manifest.
#[derive(Debug)]
pub struct Referrer {
    /// Its digest.
    pub digest: Digest,
    /// What was read from it.
    pub manifest: Manifest,
}

/// What a manifest push did.
#[derive(Debug)]
pub struct PushedManifest {
    /// The manifest's digest.
    pub digest: Digest,
    /// The manifest it says something about.
    pub subject: Option<Digest>,
}

/// Names an upload session.
pub type UploadId = Uuid;

/// The bytes of a blob, or a range of them.
#[derive(Debug)]
pub enum BlobContent {
    /// All of it, in memory.
    Inline(Bytes),
}

/// The registry of one data folder. Shared as an `Arc`.
#[derive(Debug)]
pub struct Registry {}

#[expect(unused_variables, clippy::todo, missing_docs, clippy::needless_pass_by_value, reason = "signatures first")]
impl Registry {
    // ---- reads: never wait for the writer ----
    /// A manifest by tag or digest. From memory where it is hot.
    pub fn manifest(&self, repository: &RepoKey, name: &RepoName, reference: &Reference) -> Result<Arc<StoredManifest>> { todo!() }
    /// Whether a manifest is there, for somebody who may rely on it: takes a lease on it.
    pub fn check_manifest(&self, caller: &Caller, repository: &RepoKey, name: &RepoName, reference: &Reference) -> Result<Arc<StoredManifest>> { todo!() }
    /// The size of a blob, for somebody who may rely on it: takes a lease on it.
    pub fn check_blob(&self, caller: &Caller, repository: &RepoKey, name: &RepoName, digest: &Digest) -> Result<u64> { todo!() }
    /// Opens a blob for reading. `blobs::BlobReader { size(), stream(start, len) }`
    pub fn open_blob(&self, repository: &RepoKey, name: &RepoName, digest: &Digest) -> Result<BlobContent> { todo!() }
    /// Tags after `last`, at most `n`, in byte order. NameUnknown where the name holds nothing.
    pub fn tags(&self, repository: &RepoKey, name: &RepoName, last: Option<&str>, n: usize) -> Result<Page<Tag>> { todo!() }
    /// The rendered JSON body `{"name":…,"tags":[…]}` of a tags page, kept in memory while nothing changes, and the last tag where more follow.
    pub fn tags_json(&self, repository: &RepoKey, name: &RepoName, last: Option<&str>, n: usize) -> Result<Arc<TagsBody>> { todo!() }
    pub fn catalog(&self, repository: &RepoKey, last: Option<&str>, n: usize) -> Result<Page<RepoName>> { todo!() }
    pub fn referrers(&self, repository: &RepoKey, name: &RepoName, subject: &Digest, artifact_type: Option<&str>, last: Option<&Digest>, n: usize) -> Result<Page<Referrer>> { todo!() }

    // ---- uploads: bytes first ----
    pub async fn start_upload(&self, caller: &Caller, repository: &RepoKey, name: &RepoName, algorithm: Algorithm) -> Result<UploadId> { todo!() }
    /// How many bytes the session holds.
    pub async fn upload_received(&self, repository: &RepoKey, name: &RepoName, id: UploadId) -> Result<u64> { todo!() }
    /// Appends the body; answers with how many bytes the session then holds. `range`: Content-Range start and length.
    pub async fn append_upload<S>(&self, repository: &RepoKey, name: &RepoName, id: UploadId, range: Option<(u64, u64)>, body: S) -> Result<u64>
    where S: Stream<Item = std::io::Result<Bytes>> + Send + Unpin { todo!() }
    /// Appends the body, verifies the digest, stores the blob and commits it. Ok again for a lost answer.
    pub async fn finish_upload<S>(&self, caller: &Caller, repository: &RepoKey, name: &RepoName, id: UploadId, digest: Digest, range: Option<(u64, u64)>, body: S) -> Result<()>
    where S: Stream<Item = std::io::Result<Bytes>> + Send + Unpin { todo!() }
    pub async fn cancel_upload(&self, repository: &RepoKey, name: &RepoName, id: UploadId) -> Result<()> { todo!() }
    /// `true` where it was mounted, `false` where an upload is needed. `from: None` looks in every name of the repository.
    pub async fn mount_blob(&self, caller: &Caller, repository: &RepoKey, name: &RepoName, digest: Digest, from: Option<&RepoName>) -> Result<bool> { todo!() }

    // ---- commands ----
    /// `media_type` without parameters. By digest the bytes must hash to it. `tags`: more tags to set, atomically.
    pub async fn push_manifest(&self, caller: &Caller, repository: &RepoKey, name: &RepoName, reference: &Reference, tags: &[Tag], media_type: &str, bytes: Bytes) -> Result<PushedManifest> { todo!() }
    /// By tag: that tag alone; by digest: the manifest and every tag on it.
    pub async fn delete_manifest(&self, caller: &Caller, repository: &RepoKey, name: &RepoName, reference: &Reference) -> Result<()> { todo!() }
    pub async fn delete_blob(&self, caller: &Caller, repository: &RepoKey, name: &RepoName, digest: Digest) -> Result<()> { todo!() }
}

/// A rendered tags page.
#[derive(Debug)]
pub struct TagsBody {
    /// The JSON body.
    pub body: Bytes,
    /// The last tag of the page, where more follow.
    pub next: Option<Tag>,
}

/// How a data folder is to be opened.
#[derive(Debug, Clone)]
pub struct Options {
    /// The data folder.
    pub data: PathBuf,
    /// Placeholder for the policies.
    pub lease: Duration,
}

#[expect(dead_code, reason = "signatures first")]
fn placeholder(_: Descriptor, _: Timestamp, _: RepositoryConfig) {}
