//! Upload sessions: what is known of each while the process runs, and the table of all of them.
//!
//! A session is its file; all that is kept here beside the file's path and length saves work (the hash so
//! far, the bytes of a small session) and is done without after a restart. The moving of bytes is in
//! [`crate::append`].

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::SystemTime;

use bytes::{Bytes, BytesMut};
use parking_lot::{Mutex, MutexGuard};
use supercargo_model::{Algorithm, Digest};
use tokio::sync::{OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::StoreError;
use crate::disk;
use crate::hasher::Hasher;
use crate::layout::OwnerKey;

/// How far a session has come.
#[derive(Clone)]
pub(crate) struct Progress {
    /// How many of the file's bytes count. The file is longer only while or after a request that was
    /// dropped; the next one cuts it.
    pub(crate) received: u64,
    /// Their hash. `None` after a restart: then the file is hashed when the session is verified.
    pub(crate) hash: Option<Hasher>,
    /// The SHA-256 of what its starter put before them, and of them. `None` where nothing was, and after a restart.
    pub(crate) prefixed: Option<Box<Hasher>>,
    /// What that was: its SHA-256.
    pub(crate) prefix: Option<Digest>,
    /// All of them, if they are few and there is room to keep them.
    pub(crate) kept: Option<KeptBytes>,
}

/// The bytes of a small session, in memory, so that it need not be read again.
#[derive(Clone)]
pub(crate) struct KeptBytes {
    pub(crate) bytes: Bytes,
    _room: Arc<OwnedSemaphorePermit>,
}

impl KeptBytes {
    /// Keeps copies of both, one after the other; `None` if there is no room.
    pub(crate) fn join(room: &Arc<Semaphore>, head: &[u8], tail: &[Bytes]) -> Option<KeptBytes> {
        let len = head.len() + tail.iter().map(Bytes::len).sum::<usize>();
        let permit = Arc::clone(room).try_acquire_many_owned(u32::try_from(len).ok()?).ok()?;
        // Copied, because a slice of a connection's buffer would keep all of that buffer alive.
        let mut bytes = BytesMut::with_capacity(len);
        bytes.extend_from_slice(head);
        tail.iter().for_each(|frame| bytes.extend_from_slice(frame));
        Some(KeptBytes { bytes: bytes.freeze(), _room: Arc::new(permit) })
    }
}

/// What only the one request that works on the session may touch.
pub(crate) struct State {
    pub(crate) progress: Progress,
    /// Bytes written since the last write-back was started.
    pub(crate) unsynced: u64,
    /// A write-back under way. An error of it is told here and perhaps nowhere else, so it must be asked
    /// before the bytes are called durable.
    pub(crate) syncing: Option<JoinHandle<io::Result<()>>>,
}

impl State {
    /// The outcome of the write-back under way, if there is one. Safe to drop while waiting.
    pub(crate) async fn synced(&mut self) -> io::Result<()> {
        let Some(syncing) = &mut self.syncing else { return Ok(()) };
        let outcome = syncing.await;
        self.syncing = None;
        outcome.unwrap_or_else(|e| Err(io::Error::other(e)))
    }
}

/// One upload session.
pub(crate) struct Session {
    owner: OwnerKey,
    /// Of whose share of the sessions it is, and how many these are.
    share: Option<(OwnerKey, usize)>,
    id: Uuid,
    path: PathBuf,
    /// As `State::progress.received`, for those who do not hold the state.
    received: AtomicU64,
    /// When somebody last wrote to it. Beside the state, so that whoever looks for idle sessions keeps no
    /// request from one that is not.
    touched: Mutex<SystemTime>,
    /// Set when the session ends, for the request that is writing to it at that moment.
    removed: AtomicBool,
    state: Arc<tokio::sync::Mutex<State>>,
}

impl Session {
    pub(crate) fn started(
        owner: OwnerKey,
        id: Uuid,
        algorithm: Algorithm,
        prefix: Option<&[u8]>,
        path: PathBuf,
    ) -> Session {
        let prefixed = prefix.map(|prefix| Box::new(Hasher::after(prefix)));
        let prefix = prefixed.as_deref().map(|hash| hash.clone().finish());
        let hash = Some(Hasher::new(algorithm));
        let progress = Progress { received: 0, hash, prefixed, prefix, kept: None };
        Session::new(owner, id, path, progress, SystemTime::now())
    }

    /// A session that has all its bytes, which are in its file.
    pub(crate) fn whole(
        owner: OwnerKey,
        id: Uuid,
        path: PathBuf,
        bytes: &[u8],
        kept: Option<KeptBytes>,
    ) -> Session {
        let hash = Some(Hasher::after(bytes));
        let progress = Progress { received: bytes.len() as u64, hash, prefixed: None, prefix: None, kept };
        Session::new(owner, id, path, progress, SystemTime::now())
    }

    pub(crate) fn found(
        owner: OwnerKey,
        id: Uuid,
        path: PathBuf,
        algorithm: Algorithm,
        received: u64,
        touched: SystemTime,
    ) -> Session {
        let hash = (received == 0).then(|| Hasher::new(algorithm));
        let progress = Progress { received, hash, prefixed: None, prefix: None, kept: None };
        Session::new(owner, id, path, progress, touched)
    }

    fn new(owner: OwnerKey, id: Uuid, path: PathBuf, progress: Progress, touched: SystemTime) -> Session {
        Session {
            owner,
            share: None,
            id,
            path,
            received: AtomicU64::new(progress.received),
            touched: Mutex::new(touched),
            removed: AtomicBool::new(false),
            state: Arc::new(tokio::sync::Mutex::new(State { progress, unsynced: 0, syncing: None })),
        }
    }

    /// The same one, of somebody's share.
    pub(crate) fn of(self, share: (OwnerKey, usize)) -> Session {
        Session { share: Some(share), ..self }
    }

    pub(crate) fn id(&self) -> Uuid {
        self.id
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// How many bytes the session holds.
    pub(crate) fn received(&self) -> u64 {
        self.received.load(Ordering::Acquire)
    }

    /// Whether nobody has written to it since then.
    pub(crate) fn is_idle_since(&self, then: SystemTime) -> bool {
        *self.touched.lock() < then
    }

    /// The session for one request alone.
    ///
    /// # Errors
    /// [`StoreError::OutOfOrder`] if another request has it, [`StoreError::SessionUnknown`] if it has ended.
    pub(crate) fn take(&self) -> Result<OwnedMutexGuard<State>, StoreError> {
        let state = Arc::clone(&self.state)
            .try_lock_owned()
            .map_err(|_| StoreError::OutOfOrder { received: self.received() })?;
        self.alive().map(|()| state)
    }

    /// # Errors
    /// [`StoreError::SessionUnknown`] if the session has ended.
    pub(crate) fn alive(&self) -> Result<(), StoreError> {
        if self.removed.load(Ordering::Acquire) { Err(StoreError::SessionUnknown) } else { Ok(()) }
    }

    /// From here on these bytes count.
    pub(crate) fn commit(&self, state: &mut State, progress: Progress) {
        self.received.store(progress.received, Ordering::Release);
        state.progress = progress;
        *self.touched.lock() = SystemTime::now();
    }

    /// Opens the file, cut to what counts; blocks. The caller holds the state. A blob's bytes are not cut.
    ///
    /// # Errors
    /// [`StoreError::SessionUnknown`] if somebody removed the file.
    pub(crate) fn open(&self, progress: &Progress) -> Result<SessionFile, StoreError> {
        use std::cmp::Ordering::{Equal, Greater, Less};
        use std::os::unix::fs::MetadataExt;

        let file = match OpenOptions::new().read(true).write(true).open(&self.path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(StoreError::SessionUnknown),
            opened => opened.map_err(StoreError::doing("opening an upload session's file"))?,
        };
        // Else it may be the file of the session that came after this one under its id.
        self.alive()?;
        let metadata = file.metadata().map_err(StoreError::doing("reading an upload session's length"))?;
        // A second name is a blob's: these bytes were published and must never change again.
        let sealed = metadata.nlink() > 1;
        match metadata.len().cmp(&progress.received) {
            Less => return Err(changed("it lost bytes that were received")),
            Greater if sealed => return Err(changed("it holds more bytes than were published")),
            Greater => {
                let cut = file.set_len(progress.received);
                cut.map_err(StoreError::doing("cutting an upload session's file"))?;
            }
            Equal => {}
        }
        Ok(SessionFile { file, sealed })
    }
}

/// Somebody else has been at a session's file.
fn changed(how: &'static str) -> StoreError {
    let source = io::Error::new(io::ErrorKind::InvalidData, how);
    StoreError::Io { doing: "opening an upload session's file", source }
}

/// An upload session's file, open for reading and writing.
pub(crate) struct SessionFile {
    pub(crate) file: File,
    /// Whether its bytes are also a blob's.
    pub(crate) sealed: bool,
}

/// Locks that the sessions' files are made, linked and removed under; several ids share one.
const FILE_LOCKS: usize = 1024;

#[derive(Default)]
struct Table {
    sessions: HashMap<(OwnerKey, Uuid), Arc<Session>>,
    /// How many of them are whose, where somebody's are counted; those that an earlier process started are not.
    shares: HashMap<OwnerKey, usize>,
}

/// All upload sessions of the store.
pub(crate) struct Sessions {
    max: usize,
    table: Mutex<Table>,
    files: Box<[Mutex<()>]>,
}

/// Nobody else makes, links or removes the file of a session of that id until this is dropped.
pub(crate) struct FileGuard<'a>(#[expect(dead_code, reason = "held, not read")] MutexGuard<'a, ()>);

impl Sessions {
    pub(crate) fn new(max: usize) -> Sessions {
        let files = std::iter::repeat_with(Mutex::default).take(FILE_LOCKS).collect();
        Sessions { max, table: Mutex::default(), files }
    }

    /// Waits for whoever makes, links or removes the file of a session of that id; blocks. A path is one session's after
    /// another's where callers choose the ids, so that what is done to a path is done to the session that was meant only
    /// under this.
    pub(crate) fn lock_file(&self, id: Uuid) -> FileGuard<'_> {
        FileGuard(self.files[(id.as_u128() % FILE_LOCKS as u128) as usize].lock())
    }

    /// Adds a session, whose file is there: from now on it may be found, and swept. No other has its id.
    ///
    /// # Errors
    /// [`StoreError::TooManySessions`].
    pub(crate) fn add(&self, session: Session) -> Result<(), StoreError> {
        let mut table = self.table.lock();
        if table.sessions.len() >= self.max {
            return Err(StoreError::TooManySessions { max: self.max });
        }
        if let Some((of, max)) = session.share {
            let held = table.shares.entry(of).or_default();
            if *held >= max {
                return Err(StoreError::TooManySessions { max });
            }
            *held += 1;
        }
        table.sessions.insert((session.owner, session.id), Arc::new(session));
        Ok(())
    }

    /// Adds a session that an earlier process started, even beyond the limit.
    pub(crate) fn restore(&self, session: Session) {
        self.table.lock().sessions.insert((session.owner, session.id), Arc::new(session));
    }

    /// # Errors
    /// [`StoreError::SessionUnknown`].
    pub(crate) fn get(&self, owner: &str, id: Uuid) -> Result<Arc<Session>, StoreError> {
        self.find((OwnerKey::of(owner), id))
    }

    /// # Errors
    /// [`StoreError::SessionUnknown`].
    pub(crate) fn find(&self, key: (OwnerKey, Uuid)) -> Result<Arc<Session>, StoreError> {
        self.table.lock().sessions.get(&key).cloned().ok_or(StoreError::SessionUnknown)
    }

    /// Ends a session and removes its file, if it has not ended yet; blocks.
    ///
    /// # Errors
    /// [`StoreError::SessionUnknown`] if it has ended.
    pub(crate) fn remove(&self, session: &Session) -> Result<(), StoreError> {
        self.remove_under(&self.lock_file(session.id), session)
    }

    /// As [`Sessions::remove`], for who has its file's lock already.
    pub(crate) fn remove_under(&self, _held: &FileGuard<'_>, session: &Session) -> Result<(), StoreError> {
        if session.removed.swap(true, Ordering::AcqRel) {
            return Err(StoreError::SessionUnknown);
        }
        let mut table = self.table.lock();
        let ended = table.sessions.remove(&(session.owner, session.id));
        if let Some((of, _)) = ended.and_then(|ended| ended.share)
            && let Entry::Occupied(mut held) = table.shares.entry(of)
        {
            *held.get_mut() -= 1;
            if *held.get() == 0 {
                held.remove();
            }
        }
        drop(table);
        disk::remove_file(&session.path).map_err(StoreError::doing("removing an upload session's file"))?;
        Ok(())
    }

    /// Whether nobody's sessions are counted.
    #[cfg(test)]
    pub(crate) fn has_no_shares(&self) -> bool {
        self.table.lock().shares.is_empty()
    }

    /// Every session, as of now.
    pub(crate) fn all(&self) -> Vec<Arc<Session>> {
        self.table.lock().sessions.values().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_bytes_are_kept_only_while_there_is_room() {
        let room = Arc::new(Semaphore::new(10));
        let tail = [Bytes::from_static(b"cd"), Bytes::from_static(b"e")];
        let first = KeptBytes::join(&room, b"ab", &tail).unwrap();
        assert_eq!((&first.bytes[..], room.available_permits()), (&b"abcde"[..], 5));
        assert!(KeptBytes::join(&room, b"abc", &tail).is_none());
        // A copy is the same bytes, and shares their room.
        let copy = first.clone();
        drop(first);
        assert_eq!(room.available_permits(), 5);
        drop(copy);
        assert_eq!(room.available_permits(), 10);
    }
}
