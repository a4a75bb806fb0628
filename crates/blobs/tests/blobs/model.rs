//! Random steps on a store and on a plain model of it, side by side: after every step both hold the same.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, stream};
use proptest::collection::vec;
use proptest::prelude::*;
use supercargo_blobs::{BlobStore, Existing, StoreError, StoreOptions, Verified};
use supercargo_model::{Algorithm, Digest};
use uuid::Uuid;

use crate::support::*;

const OWNERS: [&str; 2] = ["docker-local/a", "docker-local/b"];
const SESSIONS_MAX: usize = 4;

/// Sizes on both sides of every limit.
const SIZES: [usize; 9] = [0, 1, 500, 999, 1000, 1001, 4096, 9000, 25_000];

#[derive(Debug, Clone)]
enum Step {
    Start { owner: usize, algorithm: Algorithm },
    Append { session: usize, size: usize, frame: usize, seed: u8, range: Range, end: End },
    Finish { session: usize, algorithm: Algorithm, right: bool, existing: Existing, discard: bool },
    Discard { session: usize },
    PutBytes { size: usize, seed: u8, algorithm: Algorithm },
    Rot { blob: usize },
    Remove { blob: usize, unwanted: bool },
    Sweep { all: bool },
    Restart,
}

/// What a client says of the body it sends.
#[derive(Debug, Clone, Copy)]
enum Range {
    Unsaid,
    Right,
    WrongStart,
    TooShort,
    TooLong,
}

/// How the body ends.
#[derive(Debug, Clone, Copy)]
enum End {
    Whole,
    Broken,
    Silent,
    /// The request is dropped after it was polled so many times.
    Dropped(u8),
}

fn algorithm() -> impl Strategy<Value = Algorithm> {
    prop_oneof![3 => Just(SHA256), 1 => Just(SHA512)]
}

fn step() -> impl Strategy<Value = Step> {
    let size = || prop::sample::select(&SIZES[..]);
    let append = (
        any::<usize>(),
        size(),
        prop::sample::select(&[1000_usize, 100, 4096, 12_000][..]),
        0..3_u8,
        prop_oneof![
            4 => Just(Range::Unsaid),
            4 => Just(Range::Right),
            1 => Just(Range::WrongStart),
            1 => Just(Range::TooShort),
            1 => Just(Range::TooLong)
        ],
        prop_oneof![
            8 => Just(End::Whole),
            2 => Just(End::Broken),
            1 => Just(End::Silent),
            2 => (0..4_u8).prop_map(End::Dropped)
        ],
    );
    let existing = prop_oneof![4 => Just(Existing::Keep), 1 => Just(Existing::Replace)];
    prop_oneof![
        4 => (0..2_usize, algorithm()).prop_map(|(owner, algorithm)| Step::Start { owner, algorithm }),
        10 => append.prop_map(|(session, size, frame, seed, range, end)| Step::Append {
            session, size, frame, seed, range, end
        }),
        4 => (any::<usize>(), algorithm(), prop::bool::weighted(0.8), existing, any::<bool>()).prop_map(
            |(session, algorithm, right, existing, discard)| Step::Finish {
                session, algorithm, right, existing, discard
            }
        ),
        1 => any::<usize>().prop_map(|session| Step::Discard { session }),
        1 => (size(), 0..3_u8, algorithm()).prop_map(|(size, seed, algorithm)| Step::PutBytes {
            size, seed, algorithm
        }),
        1 => any::<usize>().prop_map(|blob| Step::Rot { blob }),
        2 => (any::<usize>(), any::<bool>()).prop_map(|(blob, unwanted)| Step::Remove { blob, unwanted }),
        1 => any::<bool>().prop_map(|all| Step::Sweep { all }),
        2 => Just(Step::Restart),
    ]
}

/// What a session must hold.
struct Session {
    owner: &'static str,
    id: Uuid,
    bytes: Vec<u8>,
    /// What dropped requests may have left in the file beyond these, each: it counts for the next process.
    beyond: Vec<Bytes>,
    /// The blob that is the same file.
    published: Option<Digest>,
}

/// The store and what it must hold.
struct Pair {
    folder: tempfile::TempDir,
    store: BlobStore,
    sessions: Vec<Session>,
    blobs: BTreeMap<String, (Digest, Bytes)>,
}

fn limits() -> StoreOptions {
    StoreOptions { sessions_max: SESSIONS_MAX, ..options() }
}

impl Pair {
    fn new() -> Pair {
        let folder = tempfile::tempdir().unwrap();
        let store = open_with(folder.path(), limits());
        Pair { folder, store, sessions: Vec::new(), blobs: BTreeMap::new() }
    }

    fn session(&self, number: usize) -> Option<usize> {
        number.checked_rem(self.sessions.len())
    }

    fn blob(&self, number: usize) -> Option<(Digest, Bytes)> {
        self.blobs.values().nth(number.checked_rem(self.blobs.len())?).cloned()
    }

    async fn take(&mut self, step: Step) {
        match step {
            Step::Start { owner, algorithm } => {
                let owner = OWNERS[owner];
                match self.store.start(owner, algorithm).await {
                    Ok(id) => self.sessions.push(Session {
                        owner,
                        id,
                        bytes: Vec::new(),
                        beyond: Vec::new(),
                        published: None,
                    }),
                    Err(StoreError::TooManySessions { max: SESSIONS_MAX }) => {
                        assert!(self.sessions.len() >= SESSIONS_MAX);
                    }
                    Err(other) => panic!("{other}"),
                }
                assert!(self.sessions.len() <= SESSIONS_MAX);
            }
            Step::Append { session, size, frame, seed, range, end } => {
                let Some(number) = self.session(session) else { return };
                let session = &mut self.sessions[number];
                append(&self.store, session, content(seed, size), frame, range, end).await;
            }
            Step::Finish { session, algorithm, right, existing, discard } => {
                let Some(number) = self.session(session) else { return };
                self.finish(number, algorithm, right, existing, discard).await;
            }
            Step::Discard { session } => {
                let Some(number) = self.session(session) else { return };
                let Session { owner, id, .. } = self.sessions.swap_remove(number);
                self.store.discard(owner, id).await.unwrap();
                assert!(matches!(self.store.discard(owner, id).await, Err(StoreError::SessionUnknown)));
            }
            Step::PutBytes { size, seed, algorithm } => {
                let bytes = content(seed, size);
                let digest = digest(algorithm, &bytes);
                let published = self.store.put_bytes(digest, bytes.clone(), KEEP).await.unwrap();
                let known = self.blobs.insert(digest.to_string(), (digest, bytes));
                assert_eq!(published.deduplicated(), known.is_some());
            }
            Step::Rot { blob } => {
                let Some((digest, bytes)) = self.blob(blob) else { return };
                // A new file, as when a disk gives other bytes: sessions keep theirs.
                let path = blob_path(self.folder.path(), &digest);
                fs::remove_file(&path).unwrap();
                fs::write(&path, vec![b'?'; bytes.len()]).unwrap();
                self.sessions
                    .iter_mut()
                    .filter(|session| session.published == Some(digest))
                    .for_each(|session| session.published = None);
                // Whoever finds it replaces it; until then the model would have to know of it everywhere.
                let replaced = self.store.put_bytes(digest, bytes, Existing::Replace).await.unwrap();
                assert!(!replaced.deduplicated());
            }
            Step::Remove { blob, unwanted } => {
                let Some((digest, _)) = self.blob(blob) else { return };
                assert_eq!(self.store.remove(&digest, move || unwanted).await.unwrap(), unwanted);
                if unwanted {
                    self.blobs.remove(&digest.to_string());
                    assert!(matches!(self.store.read(&digest), Err(StoreError::NotFound)));
                    for session in &mut self.sessions {
                        session.published = session.published.filter(|published| *published != digest);
                    }
                }
            }
            Step::Sweep { all } => {
                let hour = Duration::from_secs(3600);
                let now = SystemTime::now();
                let swept = self.store.sweep_sessions(if all { now + hour } else { now - hour }).unwrap();
                if all {
                    assert_eq!(swept.count, self.sessions.len() as u64);
                    let held = self.sessions.iter().map(|session| session.bytes.len() as u64).sum::<u64>();
                    assert_eq!(swept.bytes, held);
                    self.sessions.clear();
                } else {
                    assert_eq!(swept, Default::default());
                }
            }
            Step::Restart => {
                self.store = open_with(self.folder.path(), limits());
                for session in &mut self.sessions {
                    let received = self.store.received(session.owner, session.id).unwrap() as usize;
                    let beyond = received.checked_sub(session.bytes.len()).unwrap();
                    if beyond > 0 {
                        let file = fs::read(file_of(self.folder.path(), session.id)).unwrap();
                        let tail = &file[session.bytes.len()..];
                        assert!(session.beyond.iter().any(|dropped| dropped.starts_with(tail)));
                        session.bytes.extend_from_slice(tail);
                    }
                    session.beyond.clear();
                }
            }
        }
    }

    async fn finish(
        &mut self,
        number: usize,
        algorithm: Algorithm,
        right: bool,
        existing: Existing,
        discard: bool,
    ) {
        let Session { owner, id, ref bytes, .. } = self.sessions[number];
        let bytes = Bytes::from(bytes.clone());
        let actual = digest(algorithm, &bytes);
        if !right {
            match self.store.verify(owner, id, digest(algorithm, b"something else")).await {
                Err(StoreError::DigestMismatch { actual: told }) => assert_eq!(told, actual),
                other => panic!("{other:?}"),
            }
            self.sessions.swap_remove(number);
            return;
        }
        match self.store.verify(owner, id, actual).await.unwrap() {
            Verified::Small(small) => {
                assert!(small.len() as u64 <= INLINE_BYTES_MAX);
                assert_eq!(small, bytes);
            }
            Verified::Large(large) => {
                assert!(large.size() > INLINE_BYTES_MAX);
                let published = self.store.publish(large, existing).await.unwrap();
                let known = self.blobs.insert(actual.to_string(), (actual, bytes));
                assert_eq!(published.deduplicated(), known.is_some() && existing == KEEP);
                drop(published);
                if !published_is_other(self.folder.path(), &self.sessions[number], &actual) {
                    // Others who shared the file that was replaced are free again.
                    for session in &mut self.sessions {
                        session.published = session.published.filter(|published| *published != actual);
                    }
                    self.sessions[number].published = Some(actual);
                }
                self.sessions[number].beyond.clear();
            }
        }
        if discard {
            self.sessions.swap_remove(number);
            self.store.discard(owner, id).await.unwrap();
        }
    }

    /// The store holds what the model holds, and nothing else.
    async fn check(&self) {
        for session in &self.sessions {
            let received = self.store.received(session.owner, session.id).unwrap();
            assert_eq!(received, session.bytes.len() as u64);
        }
        let expected: Vec<_> =
            self.blobs.values().map(|(digest, bytes)| (*digest, bytes.len() as u64)).collect();
        assert_eq!(files(&self.store), expected);
        for (digest, bytes) in self.blobs.values() {
            let (start, end) = (bytes.len() as u64 / 3, bytes.len() as u64);
            assert!(read(&self.store, digest, start..end).await.unwrap() == bytes[start as usize..]);
            assert_eq!(self.store.read(digest).unwrap().hash(digest.algorithm()).unwrap(), *digest);
        }
        assert_eq!(upload_files(self.folder.path()).len(), self.sessions.len());
    }
}

/// Whether the blob of that digest is another file than the session's.
fn published_is_other(folder: &Path, session: &Session, digest: &Digest) -> bool {
    use std::os::unix::fs::MetadataExt;

    let inode = |path: &Path| fs::metadata(path).unwrap().ino();
    inode(&file_of(folder, session.id)) != inode(&blob_path(folder, digest))
}

/// A session's file.
fn file_of(folder: &Path, id: Uuid) -> PathBuf {
    let name = id.to_string();
    let mut files = upload_files(folder).into_iter();
    files.find(|path| path.file_stem().is_some_and(|stem| stem == name.as_str())).unwrap()
}

/// One append to both.
async fn append(
    store: &BlobStore,
    session: &mut Session,
    bytes: Bytes,
    frame: usize,
    range: Range,
    end: End,
) {
    let (before, len) = (session.bytes.len() as u64, bytes.len() as u64);
    let said = match range {
        Range::Unsaid => None,
        Range::Right => Some((before, len)),
        Range::WrongStart => Some((before + 1, len)),
        Range::TooShort => Some((before, len.saturating_sub(1))),
        Range::TooLong => Some((before, len + 1)),
    };
    let sealed = session.published.is_some();
    let body = frames(&bytes, frame);
    let append = |body| store.append(session.owner, session.id, said, body);
    let outcome = match end {
        End::Whole => append(body.boxed()).await,
        End::Broken => {
            append(body.chain(stream::iter([Err(io::ErrorKind::ConnectionReset.into())])).boxed()).await
        }
        End::Silent => append(body.chain(stream::pending()).boxed()).await,
        End::Dropped(polls) => {
            let mut appending = Box::pin(append(body.chain(stream::pending()).boxed()));
            let mut outcome = None;
            for _ in 0..=polls {
                outcome = outcome.or_else(|| (&mut appending).now_or_never());
                tokio::task::yield_now().await;
            }
            drop(appending);
            match outcome {
                Some(outcome) => outcome,
                None => return dropped(store, session, bytes, said.is_none()).await,
            }
        }
    };
    // What the body adds, and whether the request says that all is well.
    let came_whole = matches!(end, End::Whole);
    let (added, right) = match range {
        _ if sealed && len > 0 => (false, false),
        Range::WrongStart => (false, false),
        Range::Unsaid => (true, came_whole),
        Range::Right => (came_whole, came_whole),
        Range::TooShort if len == 0 => (came_whole, came_whole),
        Range::TooShort | Range::TooLong => (false, false),
    };
    if added {
        session.bytes.extend_from_slice(&bytes);
    }
    if added && len > 0 {
        session.beyond.clear();
    }
    let holds = session.bytes.len() as u64;
    match (outcome, end) {
        (Ok(received), _) if right => assert_eq!(received, holds),
        (Err(StoreError::OutOfOrder { received }), _) if !right => assert_eq!(received, holds),
        (Err(StoreError::BodyIncomplete { received, .. }), End::Broken) => assert_eq!(received, holds),
        (Err(StoreError::BodyTimeout { received }), End::Silent | End::Dropped(_)) => {
            assert_eq!(received, holds);
        }
        (other, _) => panic!("{other:?} for {range:?}, {end:?}, {len} bytes, sealed: {sealed}"),
    }
}

/// What a dropped request left: of a body without a range as much as was written, else nothing.
async fn dropped(store: &BlobStore, session: &mut Session, bytes: Bytes, counts: bool) {
    // The piece that was under way is still written; then the session is free.
    let received = loop {
        match store.append(session.owner, session.id, None, stream::empty()).await {
            Err(StoreError::OutOfOrder { .. }) => tokio::task::yield_now().await,
            outcome => break outcome.unwrap() as usize,
        }
    };
    let added = received.checked_sub(session.bytes.len()).unwrap();
    assert!(counts || added == 0);
    session.bytes.extend_from_slice(&bytes[..added]);
    if added > 0 {
        session.beyond.clear();
    } else {
        session.beyond.push(bytes);
    }
}

/// As many cases as take a few seconds, and as many times more as `PROPTEST_CASES` is more than 256.
fn cases() -> ProptestConfig {
    let default = ProptestConfig::default();
    ProptestConfig { cases: (32 * default.cases).div_ceil(256), ..default }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn the_store_holds_what_the_model_holds(steps in vec(step(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let mut pair = Pair::new();
            for step in steps {
                pair.take(step).await;
                pair.check().await;
            }
        });
    }
}
