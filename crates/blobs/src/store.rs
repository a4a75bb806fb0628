//! The store as its callers see it: sessions to blobs, blobs to readers, and the removal of both.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::Stream;
use supercargo_model::{Algorithm, Digest};
use tokio::sync::{OwnedMutexGuard, Semaphore};
use uuid::Uuid;

use crate::StoreError;
use crate::append;
use crate::crash::crash_point;
use crate::disk;
use crate::hasher::Hasher;
use crate::layout::{Layout, OwnerKey};
use crate::lock::{DigestGuard, DigestLocks};
use crate::read::{BlobFile, read_whole};
use crate::session::{FileGuard, KeptBytes, Session, Sessions, State};

/// Most bytes of small sessions that are kept in memory, all together. Those without room are read again.
const KEPT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The store's limits.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// Bytes of the disk that uploads leave free (64 MiB).
    pub reserve_bytes: u64,
    /// Up to this many bytes a verified upload is handed back in memory instead of as a file (64 KiB).
    pub inline_bytes_max: u64,
    /// How long a client may send nothing in the midst of a body (60 s).
    pub body_idle_timeout: Duration,
    /// Upload sessions at a time (10 000). Each costs a file and about half a kilobyte of memory.
    pub sessions_max: usize,
    /// Bytes of body held in memory at a time, of all uploads together (32 MiB).
    pub body_bytes_max: u32,
    /// Bytes that are hashed and written in one go (512 KiB). An upload holds up to two of these.
    pub piece_bytes: u32,
}

impl Default for StoreOptions {
    fn default() -> Self {
        StoreOptions {
            reserve_bytes: 64 * 1024 * 1024,
            inline_bytes_max: 64 * 1024,
            body_idle_timeout: Duration::from_secs(60),
            sessions_max: 10_000,
            body_bytes_max: 32 * 1024 * 1024,
            piece_bytes: 512 * 1024,
        }
    }
}

/// Somebody's part of the upload sessions that there may be. Those that an earlier process started are of nobody's.
#[derive(Debug, Clone, Copy)]
pub struct Share<'a> {
    /// Whose: any text.
    pub of: &'a str,
    /// Most sessions at a time.
    pub max: usize,
}

impl Share<'_> {
    fn key(self) -> (OwnerKey, usize) {
        (OwnerKey::of(self.of), self.max)
    }
}

/// What a session's bytes turned out to be: its digest's, in one of two forms.
#[derive(Debug)]
pub enum Verified {
    /// No more than [`StoreOptions::inline_bytes_max`]. Not durable: the caller keeps them elsewhere.
    Small(Bytes),
    /// A durable file, to be published.
    Large(LargeBlob),
}

/// A verified upload session, on disk and ready to be published. Nobody else can use the session until this
/// is published or dropped.
#[must_use = "not yet a blob: publish it"]
pub struct LargeBlob {
    session: Arc<Session>,
    digest: Digest,
    size: u64,
    _state: OwnedMutexGuard<State>,
}

impl LargeBlob {
    /// Its size in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// What it was verified to be.
    pub fn digest(&self) -> Digest {
        self.digest
    }
}

impl fmt::Debug for LargeBlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LargeBlob")
            .field("digest", &self.digest)
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

/// What publishing does with a file that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// Leaves it, unless its size shows that it can't be right.
    Keep,
    /// Puts the new one in its place, in one step: it was found rotten.
    Replace,
}

/// A blob is in its place, durably, and nobody can remove it until this is dropped. Held until the record
/// that mentions the blob is committed.
#[derive(Debug)]
#[must_use = "the blob may be removed as soon as this is dropped"]
pub struct Published {
    deduplicated: bool,
    _lock: DigestGuard,
}

impl Published {
    /// Whether the store had the blob already.
    pub fn deduplicated(&self) -> bool {
        self.deduplicated
    }
}

/// What a sweep removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SweptSessions {
    /// Expired upload sessions.
    pub count: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Content-addressed bytes in a data folder. Copies share one store.
#[derive(Clone)]
pub struct BlobStore {
    inner: Arc<Inner>,
}

impl fmt::Debug for BlobStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlobStore").field("layout", &self.inner.layout).finish_non_exhaustive()
    }
}

/// What the copies of a store share.
pub(crate) struct Inner {
    pub(crate) options: StoreOptions,
    pub(crate) sessions: Sessions,
    /// Bytes of bodies in memory.
    pub(crate) body_budget: Arc<Semaphore>,
    /// Bytes of small sessions in memory.
    pub(crate) kept_budget: Arc<Semaphore>,
    layout: Layout,
    locks: Arc<DigestLocks>,
}

impl BlobStore {
    /// Opens the store in a data folder, or makes it; finds the upload sessions that are there and tidies what
    /// a crash left of others' work. Blocks.
    ///
    /// # Errors
    /// [`StoreError::Io`], [`StoreError::DiskFull`].
    pub fn open(data: &Path, options: StoreOptions) -> Result<BlobStore, StoreError> {
        let layout = Layout::open(data).map_err(StoreError::doing("making the blob folders"))?;
        let sessions = Sessions::new(options.sessions_max);
        for found in layout.sessions() {
            let found = found.map_err(StoreError::doing("looking for upload sessions"))?;
            let touched = found.metadata.modified().map_err(StoreError::doing("reading a session's age"))?;
            let path = layout.session(found.owner, found.id, found.algorithm);
            let received = found.metadata.len();
            sessions.restore(Session::found(found.owner, found.id, path, found.algorithm, received, touched));
        }
        let body_budget = Arc::new(Semaphore::new(options.body_bytes_max as usize));
        let kept_budget = Arc::new(Semaphore::new(KEPT_BYTES_MAX));
        let locks = Arc::default();
        Ok(BlobStore {
            inner: Arc::new(Inner { options, sessions, body_budget, kept_budget, layout, locks }),
        })
    }

    /// Starts an upload session whose bytes will be hashed by `algorithm`; verifying by another one works
    /// and costs a second reading. `owner` is any text; the session is found under the same text alone.
    ///
    /// # Errors
    /// [`StoreError::TooManySessions`], [`StoreError::DiskFull`], [`StoreError::Io`].
    pub async fn start(&self, owner: &str, algorithm: Algorithm) -> Result<Uuid, StoreError> {
        let (inner, owner, id) = (Arc::clone(&self.inner), OwnerKey::of(owner), Uuid::now_v7());
        blocking(move || {
            inner
                .start(algorithm, owner, id, |path| Session::started(owner, id, algorithm, None, path))
                .map(|()| id)
        })
        .await
    }

    /// Starts an upload session under an id that the caller chose, to be hashed by SHA-256; one that there is under
    /// it already ends. `prefix`: bytes that [`BlobStore::hashes`] will be asked to hash before the session's own.
    /// It is one of `share`.
    ///
    /// # Errors
    /// As [`BlobStore::start`].
    pub async fn start_anew(
        &self,
        owner: &str,
        id: Uuid,
        share: Share<'_>,
        prefix: Option<Bytes>,
    ) -> Result<(), StoreError> {
        let (inner, owner, share) = (Arc::clone(&self.inner), OwnerKey::of(owner), share.key());
        blocking(move || {
            let held = inner.sessions.lock_file(id);
            inner.end_former(&held, owner, id)?;
            inner.start(Algorithm::Sha256, owner, id, |path| {
                Session::started(owner, id, Algorithm::Sha256, prefix.as_deref(), path).of(share)
            })
        })
        .await
    }

    /// Starts an upload session under an id that the caller chose, with all of its bytes, which are few; one that there is
    /// under it already ends. It is one of `share`.
    ///
    /// # Errors
    /// As [`BlobStore::start`].
    pub async fn start_whole(
        &self,
        owner: &str,
        id: Uuid,
        share: Share<'_>,
        bytes: Bytes,
    ) -> Result<(), StoreError> {
        let (inner, owner, share) = (Arc::clone(&self.inner), OwnerKey::of(owner), share.key());
        blocking(move || {
            let held = inner.sessions.lock_file(id);
            inner.end_former(&held, owner, id)?;
            inner.check_space(bytes.len() as u64)?;
            let path = inner.layout.session(owner, id, Algorithm::Sha256);
            let file =
                inner.create(owner, &path).map_err(StoreError::doing("making an upload session's file"))?;
            let written = match bytes.is_empty() {
                true => Ok(()),
                false => disk::write_all_at(&file, std::slice::from_ref(&bytes), 0),
            };
            let kept = KeptBytes::join(&inner.kept_budget, &bytes, &[]);
            let added = written.map_err(StoreError::doing("writing to an upload session")).and_then(|()| {
                inner.sessions.add(Session::whole(owner, id, path.clone(), &bytes, kept).of(share))
            });
            if added.is_err() {
                // If that fails the next process finds part of a session, which expires.
                drop(disk::remove_file(&path));
            }
            added
        })
        .await
    }

    /// The session's bytes, where they are no more than `max`; `None` where they are more.
    ///
    /// # Errors
    /// [`StoreError::SessionUnknown`], [`StoreError::OutOfOrder`] if another request has the session,
    /// [`StoreError::Io`].
    pub async fn session_bytes(&self, owner: &str, id: Uuid, max: u64) -> Result<Option<Bytes>, StoreError> {
        let session = self.inner.sessions.get(owner, id)?;
        let state = session.take()?;
        if state.progress.received > max {
            return Ok(None);
        }
        if let Some(kept) = &state.progress.kept {
            return Ok(Some(kept.bytes.clone()));
        }
        blocking(move || {
            let file = session.open(&state.progress)?.file;
            let bytes = read_whole(&file, state.progress.received);
            bytes.map(Some).map_err(StoreError::doing("reading an upload session"))
        })
        .await
    }

    /// The SHA-256 of the session's bytes, and that of `prefix` and them. They are not read again where the session was
    /// started with that very prefix, and no other process started it.
    ///
    /// # Errors
    /// As [`BlobStore::session_bytes`].
    pub async fn hashes(&self, owner: &str, id: Uuid, prefix: Bytes) -> Result<(Digest, Digest), StoreError> {
        let session = self.inner.sessions.get(owner, id)?;
        let state = session.take()?;
        let own = state.progress.hash.clone().filter(|hash| hash.algorithm() == Algorithm::Sha256);
        let of_prefix = Hasher::of_bytes(Algorithm::Sha256, &prefix);
        let prefixed = state.progress.prefixed.clone().filter(|_| state.progress.prefix == Some(of_prefix));
        if let (Some(own), Some(prefixed)) = (own, prefixed) {
            return Ok((own.finish(), prefixed.finish()));
        }
        blocking(move || {
            let file = session.open(&state.progress)?.file;
            let (mut own, mut prefixed) = (Hasher::new(Algorithm::Sha256), Hasher::after(&prefix));
            Hasher::read_into(&mut [&mut own, &mut prefixed], &file, state.progress.received)
                .map_err(StoreError::doing("reading an upload session"))?;
            Ok((own.finish(), prefixed.finish()))
        })
        .await
    }

    /// Opens the session's bytes for reading, as they are now.
    ///
    /// # Errors
    /// As [`BlobStore::session_bytes`].
    pub async fn open_session(&self, owner: &str, id: Uuid) -> Result<File, StoreError> {
        let session = self.inner.sessions.get(owner, id)?;
        let state = session.take()?;
        blocking(move || Ok(session.open(&state.progress)?.file)).await
    }

    /// How many bytes the session holds.
    ///
    /// # Errors
    /// [`StoreError::SessionUnknown`].
    pub fn received(&self, owner: &str, id: Uuid) -> Result<u64, StoreError> {
        Ok(self.inner.sessions.get(owner, id)?.received())
    }

    /// Appends a body to the session, and says how many bytes the session then holds. They outlive the
    /// process, though not yet the machine.
    ///
    /// `range` is where the body starts and how many bytes it has, if the client said so. Such a body
    /// counts as a whole or not at all, unless the process dies in the midst of it: the next one knows only the
    /// file, so it counts what was written. Without a range, what came of a body counts even if it breaks off.
    ///
    /// # Errors
    /// [`StoreError::OutOfOrder`] if the start is not the session's end, if the length is another, if
    /// another request is writing to the session (it does not wait), or if the session's bytes have become a
    /// blob. [`StoreError::BodyIncomplete`], [`StoreError::BodyTimeout`], [`StoreError::DiskFull`],
    /// [`StoreError::SessionUnknown`] (also when the session is cancelled meanwhile), [`StoreError::Io`].
    pub async fn append<S>(
        &self,
        owner: &str,
        id: Uuid,
        range: Option<(u64, u64)>,
        body: S,
    ) -> Result<u64, StoreError>
    where
        S: Stream<Item = io::Result<Bytes>> + Send + Unpin,
    {
        append::append(&self.inner, self.inner.sessions.get(owner, id)?, range, body).await
    }

    /// Checks that the session's bytes are those of the digest. The session stays, for a retry of what the
    /// caller does next, until [`BlobStore::discard`].
    ///
    /// # Errors
    /// [`StoreError::DigestMismatch`]: the session is gone. [`StoreError::OutOfOrder`] if another request
    /// has the session, [`StoreError::SessionUnknown`]. [`StoreError::DiskFull`] and [`StoreError::Io`]: if
    /// the bytes could not be made durable the session is gone, since they can't be relied on any more.
    pub async fn verify(&self, owner: &str, id: Uuid, digest: Digest) -> Result<Verified, StoreError> {
        let session = self.inner.sessions.get(owner, id)?;
        let mut state = session.take()?;
        if let Some(kept) = state.progress.kept.as_ref().map(|kept| kept.bytes.clone()) {
            let actual = match &state.progress.hash {
                Some(hash) if hash.algorithm() == digest.algorithm() => hash.clone().finish(),
                _ => Hasher::of_bytes(digest.algorithm(), &kept),
            };
            if actual == digest {
                return Ok(Verified::Small(kept));
            }
        }
        let written_back = state.synced().await;
        let inner = Arc::clone(&self.inner);
        blocking(move || inner.verify_file(&session, state, written_back, digest)).await
    }

    /// Makes a verified session's bytes the blob of their digest, durably. Waits for whoever publishes or
    /// removes that digest.
    ///
    /// # Errors
    /// [`StoreError::SessionUnknown`] if the session was cancelled meanwhile, [`StoreError::DiskFull`],
    /// [`StoreError::Io`].
    pub async fn publish(&self, blob: LargeBlob, existing: Existing) -> Result<Published, StoreError> {
        let lock = self.inner.locks.lock(blob.digest).await;
        let inner = Arc::clone(&self.inner);
        blocking(move || {
            // Else the link could be to the bytes of the session that comes after this one under its id.
            let _held = inner.sessions.lock_file(blob.session.id());
            blob.session.alive()?;
            let deduplicated = match inner.place(blob.session.path(), &blob.digest, blob.size, existing) {
                // A cancellation can come between the question above and the link.
                Err(e) if e.kind() == io::ErrorKind::NotFound => blob.session.alive().and(Err(e_place(e))),
                placed => placed.map_err(e_place),
            }?;
            crash_point("blob.renamed");
            Ok(Published { deduplicated, _lock: lock })
        })
        .await
    }

    /// Makes `bytes` the blob of their digest, durably. For bytes that came without an upload session; that
    /// they hash to `digest` is the caller's word.
    ///
    /// # Errors
    /// [`StoreError::DiskFull`], [`StoreError::Io`].
    pub async fn put_bytes(
        &self,
        digest: Digest,
        bytes: Bytes,
        existing: Existing,
    ) -> Result<Published, StoreError> {
        let lock = self.inner.locks.lock(digest).await;
        let inner = Arc::clone(&self.inner);
        blocking(move || {
            debug_assert_eq!(Hasher::of_bytes(digest.algorithm(), &bytes), digest);
            inner.check_space(bytes.len() as u64)?;
            let temp = inner.layout.temp();
            let placed = write_durably(&temp, &bytes)
                .and_then(|()| inner.place(&temp, &digest, bytes.len() as u64, existing));
            // If it can't be removed now the sweep does it.
            drop(disk::remove_file(&temp));
            let deduplicated = placed.map_err(e_place)?;
            Ok(Published { deduplicated, _lock: lock })
        })
        .await
    }

    /// Ends the session; its bytes are gone. A request that is writing to it learns of it.
    ///
    /// # Errors
    /// [`StoreError::SessionUnknown`], [`StoreError::Io`].
    pub async fn discard(&self, owner: &str, id: Uuid) -> Result<(), StoreError> {
        let session = self.inner.sessions.get(owner, id)?;
        let inner = Arc::clone(&self.inner);
        blocking(move || inner.sessions.remove(&session)).await
    }

    /// Ends those of the sessions that there are; their bytes are gone.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub async fn discard_all(&self, owner: &str, ids: &[Uuid]) -> Result<(), StoreError> {
        let sessions: Vec<_> = ids.iter().filter_map(|id| self.inner.sessions.get(owner, *id).ok()).collect();
        if sessions.is_empty() {
            return Ok(());
        }
        let inner = Arc::clone(&self.inner);
        blocking(move || sessions.iter().try_for_each(|session| inner.end(session))).await
    }

    /// Opens a blob. A few microseconds, without waiting.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Io`].
    pub fn read(&self, digest: &Digest) -> Result<BlobFile, StoreError> {
        match File::open(self.inner.layout.blob(digest)).and_then(BlobFile::new) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Err(StoreError::NotFound),
            opened => opened.map_err(StoreError::doing("opening a blob")),
        }
    }

    /// Removes a blob's file, if `still_unwanted` says so once nobody is publishing that digest; it is asked
    /// on a blocking thread. Says whether a file was removed. After a crash of the machine it may be back:
    /// the sweep of [`BlobStore::files`] finds it.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub async fn remove(
        &self,
        digest: &Digest,
        still_unwanted: impl FnOnce() -> bool + Send + 'static,
    ) -> Result<bool, StoreError> {
        let digest = *digest;
        let lock = self.inner.locks.lock(digest).await;
        let inner = Arc::clone(&self.inner);
        blocking(move || {
            let _lock = lock;
            if !still_unwanted() {
                return Ok(false);
            }
            disk::remove_file(&inner.layout.blob(&digest)).map_err(StoreError::doing("removing a blob"))
        })
        .await
    }

    /// Puts the blob into another store too, durably: as a link of the same file where both are on one file
    /// system, else as a copy. Says whether this store has it. Takes no lock, so nobody may be removing blobs
    /// from the other store. Blocks.
    ///
    /// # Errors
    /// [`StoreError::DiskFull`], [`StoreError::Io`].
    pub fn copy_to(&self, other: &BlobStore, digest: &Digest) -> Result<bool, StoreError> {
        let source = self.inner.layout.blob(digest);
        let size = match fs::metadata(&source) {
            Ok(metadata) => metadata.len(),
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(e) => return Err(StoreError::doing("looking for a blob")(e)),
        };
        match other.inner.place(&source, digest, size, Existing::Keep) {
            Ok(_) => return Ok(true),
            // Another file system, or one without links.
            Err(e) if matches!(e.kind(), io::ErrorKind::CrossesDevices | io::ErrorKind::Unsupported) => {}
            // Removed since it was looked for.
            Err(e) if e.kind() == io::ErrorKind::NotFound && !source.exists() => return Ok(false),
            Err(e) => return Err(e_place(e)),
        }
        other.inner.check_space(size)?;
        let temp = other.inner.layout.temp();
        let copied = fs::copy(&source, &temp)
            .and_then(|_| File::open(&temp)?.sync_all())
            .and_then(|()| other.inner.place(&temp, digest, size, Existing::Keep));
        drop(disk::remove_file(&temp));
        copied.map(|_| true).map_err(e_place)
    }

    /// Every blob on disk with its size in bytes, in no order that is promised; walks one folder at a time as
    /// it is asked, and blocks. What comes or goes meanwhile may be in it or not.
    pub fn files(&self) -> impl Iterator<Item = io::Result<(Digest, u64)>> + Send + use<> {
        self.inner.layout.blobs()
    }

    /// Ends the upload sessions that nobody has written to since `idle_before`, except those in use. Blocks.
    ///
    /// # Errors
    /// What the system says; what was not done is done by the next sweep, if need be of the next process.
    pub fn sweep_sessions(&self, idle_before: SystemTime) -> io::Result<SweptSessions> {
        let mut swept = SweptSessions::default();
        for session in self.inner.sessions.all() {
            // A request that came while this one was only looked at would be refused.
            if !session.is_idle_since(idle_before) {
                continue;
            }
            let Ok(state) = session.take() else { continue };
            // Somebody may have been faster.
            if !session.is_idle_since(idle_before) {
                continue;
            }
            match self.inner.sessions.remove(&session) {
                Ok(()) => {
                    swept.count += 1;
                    swept.bytes += state.progress.received;
                }
                Err(StoreError::SessionUnknown) => {}
                Err(e) => return Err(io::Error::other(e)),
            }
        }
        for owner in self.inner.layout.owners() {
            // Only an empty one goes; a session that starts in it at this moment makes it anew.
            drop(fs::remove_dir(owner?.1));
        }
        Ok(swept)
    }

    /// Bytes that may still be written to the disk, reserve included.
    ///
    /// # Errors
    /// What the system says.
    pub fn free_bytes(&self) -> io::Result<u64> {
        disk::free_bytes(self.inner.layout.root())
    }
}

#[cfg(test)]
impl BlobStore {
    /// For the tests of the parts that work on it.
    pub(crate) fn inner(&self) -> &Arc<Inner> {
        &self.inner
    }
}

impl Inner {
    /// # Errors
    /// [`StoreError::DiskFull`] if that many bytes more would take of the reserve.
    pub(crate) fn check_space(&self, bytes: u64) -> Result<(), StoreError> {
        let free =
            disk::free_bytes(self.layout.root()).map_err(StoreError::doing("asking for free space"))?;
        if free < self.options.reserve_bytes.saturating_add(bytes).max(1) {
            Err(StoreError::DiskFull)
        } else {
            Ok(())
        }
    }

    /// Ends a session, if it has not ended yet; blocks.
    fn end(&self, session: &Session) -> Result<(), StoreError> {
        match self.sessions.remove(session) {
            Ok(()) | Err(StoreError::SessionUnknown) => Ok(()),
            Err(e) => Err(e),
        }
    }

    /// Ends the session that there is under an id, if there is one; blocks.
    fn end_former(&self, held: &FileGuard<'_>, owner: OwnerKey, id: Uuid) -> Result<(), StoreError> {
        let Ok(former) = self.sessions.find((owner, id)) else { return Ok(()) };
        match self.sessions.remove_under(held, &former) {
            Ok(()) | Err(StoreError::SessionUnknown) => Ok(()),
            Err(e) => Err(e),
        }
    }

    /// Starts a session; blocks.
    fn start(
        &self,
        algorithm: Algorithm,
        owner: OwnerKey,
        id: Uuid,
        session: impl FnOnce(PathBuf) -> Session,
    ) -> Result<(), StoreError> {
        self.check_space(0)?;
        let path = self.layout.session(owner, id, algorithm);
        drop(self.create(owner, &path).map_err(StoreError::doing("making an upload session's file"))?);
        let added = self.sessions.add(session(path.clone()));
        if added.is_err() {
            // If that fails the next process finds an empty session, which expires.
            drop(disk::remove_file(&path));
        }
        added
    }

    /// Makes a session's empty file, and the owner's folder if need be.
    fn create(&self, owner: OwnerKey, path: &Path) -> io::Result<File> {
        loop {
            match OpenOptions::new().write(true).create_new(true).open(path) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => {
                    match fs::create_dir(self.layout.owner(owner)) {
                        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
                        // Again: the folder is there now, unless a sweep takes it at this moment.
                        _ => {}
                    }
                }
                opened => return opened,
            }
        }
    }

    /// Hashes what is not hashed yet, and makes a large session durable. `written_back` is the outcome of
    /// the last early write-back.
    fn verify_file(
        &self,
        session: &Arc<Session>,
        state: OwnedMutexGuard<State>,
        written_back: io::Result<()>,
        digest: Digest,
    ) -> Result<Verified, StoreError> {
        // Ended already is as good; that the bytes could not be removed must not hide the reason.
        let end = || drop(self.sessions.remove(session));

        written_back.inspect_err(|_| end()).map_err(StoreError::doing("writing back an upload session"))?;
        let opened = session.open(&state.progress);
        if matches!(opened, Err(StoreError::SessionUnknown)) {
            end();
        }
        let file = opened?.file;
        let size = state.progress.received;
        let small = if size <= self.options.inline_bytes_max {
            let bytes = read_whole(&file, size);
            Some(bytes.map_err(StoreError::doing("reading an upload session"))?)
        } else {
            None
        };
        let actual = match (&small, &state.progress.hash) {
            (Some(bytes), _) => Hasher::of_bytes(digest.algorithm(), bytes),
            (None, Some(hash)) if hash.algorithm() == digest.algorithm() => hash.clone().finish(),
            (None, _) => Hasher::of_file(digest.algorithm(), &file, size)
                .map_err(StoreError::doing("reading an upload session"))?,
        };
        if actual != digest {
            end();
            return Err(StoreError::DigestMismatch { actual });
        }
        if let Some(bytes) = small {
            return Ok(Verified::Small(bytes));
        }
        file.sync_data()
            .inspect_err(|_| end())
            .map_err(StoreError::doing("making an upload session durable"))?;
        crash_point("blob.written");
        Ok(Verified::Large(LargeBlob { session: Arc::clone(session), digest, size, _state: state }))
    }

    /// Gives a durable file the blob's name too, and makes the name durable. The caller holds the digest's
    /// lock. Says whether the blob was there already.
    fn place(&self, source: &Path, digest: &Digest, size: u64, existing: Existing) -> io::Result<bool> {
        let target = self.layout.blob(digest);
        let linked = match fs::hard_link(source, &target) {
            Err(e) if e.kind() == io::ErrorKind::NotFound && source.exists() => {
                self.layout.make_blob_folder(digest)?;
                fs::hard_link(source, &target)
            }
            linked => linked,
        };
        let deduplicated = match linked {
            Ok(()) => false,
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                let right = existing == Existing::Keep && fs::metadata(&target)?.len() == size;
                if !right {
                    let temp = self.layout.temp();
                    fs::hard_link(source, &temp)?;
                    let renamed = fs::rename(&temp, &target);
                    // A rename onto another name of the same file does nothing, and leaves this one.
                    disk::remove_file(&temp)?;
                    renamed?;
                }
                right
            }
            Err(e) => return Err(e),
        };
        // Also for one that was there: a crash may have come between its link and this.
        disk::sync_folder(&self.layout.blob_folder(digest))?;
        Ok(deduplicated)
    }
}

/// The error of [`Inner::place`].
fn e_place(source: io::Error) -> StoreError {
    StoreError::doing("putting a blob in its place")(source)
}

/// A new file with these bytes, durable but for its name.
fn write_durably(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    file.write_all(bytes)?;
    file.sync_data()
}

/// Runs what blocks on a thread that may.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let outcome = tokio::task::spawn_blocking(work).await;
    outcome.unwrap_or_else(|e| Err(StoreError::Io { doing: "a storage task", source: io::Error::other(e) }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::stream;

    const SHARE: Share<'_> = Share { of: "ann", max: 3 };

    #[tokio::test]
    async fn a_session_can_be_started_with_all_its_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let store = BlobStore::open(folder.path(), StoreOptions::default()).unwrap();
        let (one, two) = (Uuid::from_u128(1), Uuid::from_u128(2));
        for text in ["{}", "another", ""] {
            let bytes = Bytes::from(text);
            store.start_whole("owner", one, SHARE, bytes.clone()).await.unwrap();
            assert_eq!(store.session_bytes("owner", one, 9).await.unwrap(), Some(bytes.clone()));
            let digest = Hasher::of_bytes(Algorithm::Sha256, &bytes);
            assert!(matches!(store.verify("owner", one, digest).await, Ok(Verified::Small(_))));
            // Another process finds it.
            let other = BlobStore::open(folder.path(), StoreOptions::default()).unwrap();
            assert_eq!(other.session_bytes("owner", one, 9).await.unwrap(), Some(bytes));
        }
        let room = store.inner.kept_budget.available_permits();
        store.start_whole("owner", two, SHARE, Bytes::from_static(b"more")).await.unwrap();
        store.discard_all("owner", &[one, Uuid::from_u128(3), two]).await.unwrap();
        for id in [one, two] {
            assert!(matches!(store.received("owner", id), Err(StoreError::SessionUnknown)));
        }
        assert_eq!(store.inner.kept_budget.available_permits(), room);
        store.discard_all("owner", &[one]).await.unwrap();
    }

    #[tokio::test]
    async fn a_session_is_hashed_with_and_without_what_was_put_before_it() {
        let folder = tempfile::tempdir().unwrap();
        let store = BlobStore::open(folder.path(), StoreOptions::default()).unwrap();
        let (id, prefix) = (Uuid::from_u128(7), Bytes::from_static(b"{}\n"));
        for size in [3, 100_000] {
            let bytes = Bytes::from(vec![size as u8; size]);
            let expected = |prefix: &[u8]| {
                let after = [prefix, &bytes[..]].concat();
                (Hasher::of_bytes(Algorithm::Sha256, &bytes), Hasher::of_bytes(Algorithm::Sha256, &after))
            };
            // What was there under the id is gone each time.
            store.start_anew("owner", id, SHARE, Some(prefix.clone())).await.unwrap();
            store.append("owner", id, None, stream::iter([Ok(bytes.clone())])).await.unwrap();
            for prefix in [&prefix, &Bytes::from_static(b"[]\n")] {
                assert_eq!(
                    store.hashes("owner", id, prefix.clone()).await.unwrap(),
                    expected(prefix),
                    "also of what it was not started with"
                );
            }
            let expected = expected(&prefix);
            assert_eq!(store.session_bytes("owner", id, size as u64).await.unwrap(), Some(bytes));
            assert_eq!(store.session_bytes("owner", id, size as u64 - 1).await.unwrap(), None);
            // Another process knows the file alone.
            let other = BlobStore::open(folder.path(), StoreOptions::default()).unwrap();
            assert_eq!(other.hashes("owner", id, prefix.clone()).await.unwrap(), expected);
        }
        assert!(matches!(store.hashes("other", id, prefix).await, Err(StoreError::SessionUnknown)));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn who_starts_a_session_of_one_id_at_the_same_time_has_it_one_after_another() {
        let folder = tempfile::tempdir().unwrap();
        let store = BlobStore::open(folder.path(), StoreOptions::default()).unwrap();
        let id = Uuid::from_u128(1);
        let mut tasks = tokio::task::JoinSet::new();
        for n in 0..90_u8 {
            let store = store.clone();
            tasks.spawn(async move {
                match n % 3 {
                    0 => store.start_whole("owner", id, SHARE, Bytes::from(vec![n; usize::from(n)])).await,
                    1 => store.start_anew("owner", id, SHARE, None).await,
                    _ => store.discard_all("owner", &[id]).await,
                }
            });
        }
        while let Some(done) = tasks.join_next().await {
            done.unwrap().unwrap();
        }
        // The last one's file is there, and is the only one.
        store.start_whole("owner", id, SHARE, Bytes::from_static(b"last")).await.unwrap();
        let other = BlobStore::open(folder.path(), StoreOptions::default()).unwrap();
        assert_eq!(other.session_bytes("owner", id, 9).await.unwrap(), Some(Bytes::from_static(b"last")));
    }

    #[tokio::test]
    async fn nobody_has_more_sessions_than_their_share() {
        let folder = tempfile::tempdir().unwrap();
        let store = BlobStore::open(folder.path(), StoreOptions::default()).unwrap();
        let id = |n: usize| Uuid::from_u128(n as u128);
        let whole = async |n, share| store.start_whole("owner", id(n), share, Bytes::new()).await;
        for n in 0..SHARE.max {
            whole(n, SHARE).await.unwrap();
        }
        let beyond = store.start_anew("other", id(9), SHARE, None).await;
        assert!(matches!(beyond, Err(StoreError::TooManySessions { max: 3 })));
        assert!(matches!(whole(9, SHARE).await, Err(StoreError::TooManySessions { max: 3 })));
        // One in the place of another is not one more, and what ends makes room.
        whole(0, SHARE).await.unwrap();
        store.discard("owner", id(1)).await.unwrap();
        whole(9, SHARE).await.unwrap();
        assert!(matches!(whole(1, SHARE).await, Err(StoreError::TooManySessions { .. })));
        whole(1, Share { of: "bob", max: 1 }).await.unwrap();
        store.start("owner", Algorithm::Sha256).await.unwrap();
        store.sweep_sessions(SystemTime::now() + Duration::from_secs(1)).unwrap();
        assert!(store.inner.sessions.has_no_shares());
    }

    #[tokio::test]
    async fn without_room_to_keep_them_few_bytes_are_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let store = BlobStore::open(folder.path(), StoreOptions::default()).unwrap();
        let bytes = Bytes::from_static(b"a config");
        let digest = Hasher::of_bytes(Algorithm::Sha256, &bytes);
        let taken = store.inner.kept_budget.acquire_many(KEPT_BYTES_MAX as u32).await.unwrap();
        let id = store.start("owner", Algorithm::Sha256).await.unwrap();
        store.append("owner", id, None, stream::iter([Ok(bytes.clone())])).await.unwrap();
        let verified = store.verify("owner", id, digest).await.unwrap();
        assert!(matches!(verified, Verified::Small(small) if small == bytes));
        drop(taken);
        // It has been kept nowhere, so nothing is given back.
        store.discard("owner", id).await.unwrap();
        assert_eq!(store.inner.kept_budget.available_permits(), KEPT_BYTES_MAX);
    }

    #[tokio::test]
    async fn a_session_that_ends_gives_back_the_room_of_its_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let store = BlobStore::open(folder.path(), StoreOptions::default()).unwrap();
        let frame = |size| stream::iter([Ok(Bytes::from(vec![7; size]))]);
        let id = store.start("owner", Algorithm::Sha256).await.unwrap();
        store.append("owner", id, None, frame(1000)).await.unwrap();
        assert_eq!(store.inner.kept_budget.available_permits(), KEPT_BYTES_MAX - 1000);
        // No longer few.
        store.append("owner", id, None, frame(64 * 1024)).await.unwrap();
        assert_eq!(store.inner.kept_budget.available_permits(), KEPT_BYTES_MAX);
        let id = store.start("owner", Algorithm::Sha256).await.unwrap();
        store.append("owner", id, None, frame(1000)).await.unwrap();
        store.discard("owner", id).await.unwrap();
        assert_eq!(store.inner.kept_budget.available_permits(), KEPT_BYTES_MAX);
    }

    #[tokio::test]
    async fn a_session_whose_write_back_failed_is_not_verified() {
        let folder = tempfile::tempdir().unwrap();
        let store = BlobStore::open(folder.path(), StoreOptions::default()).unwrap();
        let bytes = Bytes::from(vec![7; 100_000]);
        let digest = Hasher::of_bytes(Algorithm::Sha256, &bytes);
        let id = store.start("owner", Algorithm::Sha256).await.unwrap();
        store.append("owner", id, None, stream::iter([Ok(bytes)])).await.unwrap();
        let session = store.inner.sessions.get("owner", id).unwrap();
        let failed = tokio::task::spawn_blocking(|| Err(io::Error::from(io::ErrorKind::InvalidData)));
        session.take().unwrap().syncing = Some(failed);
        let outcome = store.verify("owner", id, digest).await;
        assert!(matches!(outcome, Err(StoreError::Io { doing: "writing back an upload session", .. })));
        assert!(matches!(store.received("owner", id), Err(StoreError::SessionUnknown)));
        assert!(!session.path().exists());
    }
}
