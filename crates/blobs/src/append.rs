//! The way of a body into its upload session: frames are collected into pieces, and each piece is hashed
//! and written in one hop to a blocking thread while the next is being collected.
//!
//! At most one piece of a request is being written and one collected, and all requests together hold no
//! more than the store's budget of body bytes. A slow client holds neither a thread nor, for longer than
//! [`LINGER`], any of that budget. What a hop needs moves into it: if the request is dropped meanwhile, the hop
//! still ends before anybody else gets the session.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use tokio::sync::{OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::StoreError;
use crate::disk;
use crate::hasher::Hasher;
use crate::session::{KeptBytes, Progress, Session, State};
use crate::store::{Inner, blocking};

/// Bytes written between two early write-backs. They keep the last one, which the client waits for, short.
const WRITE_BACK_BYTES: u64 = 16 * 1024 * 1024;

/// How long the first bytes of a piece wait for the rest of it.
const LINGER: Duration = Duration::from_millis(100);

/// From so many bytes on a piece's second hash, where it has one, is made beside the first.
const HASHED_ASIDE_BYTES: u64 = 128 * 1024;

/// Most frames of one piece, so that what describes tiny ones stays less than a piece's bytes.
const PIECE_FRAMES_MAX: usize = 512;

/// Appends the body to the session; says how many bytes the session then holds. See
/// [`crate::BlobStore::append`].
pub(crate) async fn append<S>(
    inner: &Arc<Inner>,
    session: Arc<Session>,
    range: Option<(u64, u64)>,
    body: S,
) -> Result<u64, StoreError>
where
    S: Stream<Item = io::Result<Bytes>> + Send + Unpin,
{
    let state = session.take()?;
    let before = state.progress.clone();
    let announced = match range {
        Some((start, _)) if start != before.received => {
            return Err(StoreError::OutOfOrder { received: before.received });
        }
        Some((_, len)) => Some(len),
        None => None,
    };

    let mut body = Body::new(inner, body);
    let mut writer = Writer::Idle(Appending {
        inner: Arc::clone(inner),
        session: Arc::clone(&session),
        state,
        next: before.clone(),
        before,
        whole: announced.is_some(),
        file: None,
    });
    let mut came = 0;
    let end = loop {
        let (piece, end) = body.next_piece().await;
        came += piece.len;
        let mut appending = writer.idle().await?;
        if announced.is_some_and(|len| came > len) {
            writer = Writer::Idle(appending);
            break End::Excess;
        }
        appending.start_write_back().await?;
        writer = if piece.frames.is_empty() {
            Writer::Idle(appending)
        } else {
            Writer::Busy(tokio::task::spawn_blocking(move || appending.write(&piece)))
        };
        if let Some(end) = end {
            break end;
        }
    };
    let appending = writer.idle().await?;

    match end {
        End::Whole if announced.is_none_or(|len| len == came) => appending.finish(),
        end => Err(appending.give_up(end).await),
    }
}

/// How a body ended.
enum End {
    /// As its sender meant it to.
    Whole,
    /// With more bytes than were announced.
    Excess,
    /// With an error of the connection.
    Broken(io::Error),
    /// In silence.
    Idle,
}

/// Frames that are hashed and written together.
#[derive(Default)]
struct Piece {
    frames: Vec<Bytes>,
    len: u64,
    /// Their part of the budget; given back when the piece has been written.
    room: Option<OwnedSemaphorePermit>,
}

/// A body, cut into pieces.
struct Body<S> {
    frames: S,
    budget: Arc<Semaphore>,
    budget_bytes: u32,
    piece_bytes: u64,
    idle_timeout: Duration,
    /// A frame that came when there was no room for it.
    stashed: Option<Bytes>,
}

impl<S: Stream<Item = io::Result<Bytes>> + Send + Unpin> Body<S> {
    fn new(inner: &Inner, frames: S) -> Body<S> {
        Body {
            frames,
            budget: Arc::clone(&inner.body_budget),
            budget_bytes: inner.options.body_bytes_max,
            // A piece of nothing would be the end of the body.
            piece_bytes: u64::from(inner.options.piece_bytes.max(1)),
            idle_timeout: inner.options.body_idle_timeout,
            stashed: None,
        }
    }

    /// The next piece, and how the body ended if it did. A piece may be smaller than its target (or empty,
    /// at the end) but is never larger by more than one frame.
    async fn next_piece(&mut self) -> (Piece, Option<End>) {
        let mut piece = Piece::default();
        let mut until = Instant::now() + self.idle_timeout;
        while piece.len < self.piece_bytes && piece.frames.len() < PIECE_FRAMES_MAX {
            let frame = match self.stashed.take() {
                Some(frame) => frame,
                None => match tokio::time::timeout_at(until, self.frames.next()).await {
                    Ok(Some(Ok(frame))) if frame.is_empty() => continue,
                    Ok(Some(Ok(frame))) => frame,
                    Ok(Some(Err(e))) => return (piece, Some(End::Broken(e))),
                    Ok(None) => return (piece, Some(End::Whole)),
                    Err(_) if piece.frames.is_empty() => return (piece, Some(End::Idle)),
                    Err(_) => break,
                },
            };
            let Some(room) = self.room_for(&frame, piece.frames.is_empty()).await else {
                self.stashed = Some(frame);
                break;
            };
            if piece.frames.is_empty() {
                until = Instant::now() + LINGER.min(self.idle_timeout);
            }
            piece.len += frame.len() as u64;
            piece.frames.push(frame);
            match &mut piece.room {
                Some(held) => held.merge(room),
                none => *none = Some(room),
            }
        }
        (piece, None)
    }

    /// Room in the budget for a frame. Only those who hold none wait for it: others get `None` and write
    /// what they hold first, so that all who wait are waited for by nobody.
    async fn room_for(&mut self, frame: &Bytes, may_wait: bool) -> Option<OwnedSemaphorePermit> {
        // A frame above the whole budget may come when it is the only one.
        let bytes = u32::try_from(frame.len()).unwrap_or(u32::MAX).min(self.budget_bytes);
        match Arc::clone(&self.budget).try_acquire_many_owned(bytes) {
            Ok(room) => Some(room),
            Err(_) if may_wait => Arc::clone(&self.budget).acquire_many_owned(bytes).await.ok(),
            Err(_) => None,
        }
    }
}

/// Where an [`Appending`] is.
enum Writer {
    Idle(Appending),
    Busy(JoinHandle<Result<Appending, StoreError>>),
}

impl Writer {
    /// Waits for the piece that is being written.
    async fn idle(self) -> Result<Appending, StoreError> {
        match self {
            Writer::Idle(appending) => Ok(appending),
            Writer::Busy(hop) => hop.await.unwrap_or_else(|e| {
                Err(StoreError::Io { doing: "writing to an upload session", source: io::Error::other(e) })
            }),
        }
    }
}

/// One request's work on a session.
struct Appending {
    inner: Arc<Inner>,
    session: Arc<Session>,
    /// The session's state, which is this request's alone. Its progress is what is sure to stay.
    state: OwnedMutexGuard<State>,
    /// The progress with all that this request wrote.
    next: Progress,
    /// The progress as this request found it.
    before: Progress,
    /// Whether the body counts as a whole or not at all.
    whole: bool,
    /// The session's file, from the first byte on.
    file: Option<Arc<File>>,
}

impl Appending {
    /// Hashes and writes a piece; blocks.
    fn write(mut self, piece: &Piece) -> Result<Appending, StoreError> {
        match self.try_write(piece) {
            Ok(()) => Ok(self),
            Err(e) => {
                if matches!(e, StoreError::DiskFull) {
                    let before = self.before.clone();
                    self.session.commit(&mut self.state, before);
                }
                self.cut();
                if matches!(e, StoreError::SessionUnknown) {
                    // Somebody took the file away: the session ends here, if it has not yet.
                    drop(self.inner.sessions.remove(&self.session));
                }
                Err(e)
            }
        }
    }

    fn try_write(&mut self, piece: &Piece) -> Result<(), StoreError> {
        self.session.alive()?;
        self.inner.check_space(piece.len)?;
        let file = match &self.file {
            Some(file) => file,
            None => {
                let opened = self.session.open(&self.state.progress)?;
                if opened.sealed {
                    return Err(StoreError::OutOfOrder { received: self.before.received });
                }
                self.file.insert(Arc::new(opened.file))
            }
        };
        let Progress { received, hash, prefixed, .. } = &mut self.next;
        let update = |hash: &mut Hasher| piece.frames.iter().for_each(|frame| hash.update(frame));
        let mut write_and_hash = || {
            let written = disk::write_all_at(file, &piece.frames, *received);
            hash.iter_mut().for_each(update);
            written
        };
        let written = match prefixed {
            // Two hashes of much take longer than a thread does to start.
            Some(prefixed) if piece.len >= HASHED_ASIDE_BYTES => std::thread::scope(|scope| {
                scope.spawn(|| update(prefixed));
                write_and_hash()
            }),
            prefixed => {
                let written = write_and_hash();
                prefixed.iter_mut().for_each(|prefixed| update(prefixed));
                written
            }
        };
        written.map_err(StoreError::doing("writing to an upload session"))?;
        let kept = match self.next.kept.take() {
            Some(kept) => Some(kept.bytes),
            None if self.next.received == 0 => Some(Bytes::new()),
            None => None,
        };
        self.next.received += piece.len;
        let small = self.next.received <= self.inner.options.inline_bytes_max;
        self.next.kept = kept
            .filter(|_| small)
            .and_then(|kept| KeptBytes::join(&self.inner.kept_budget, &kept, &piece.frames));
        self.state.unsynced += piece.len;
        if !self.whole {
            self.session.commit(&mut self.state, self.next.clone());
        }
        Ok(())
    }

    /// Starts the early write-back of what has been written, if it is due and the last one has ended.
    async fn start_write_back(&mut self) -> Result<(), StoreError> {
        let Some(file) = &self.file else { return Ok(()) };
        let busy = self.state.syncing.as_ref().is_some_and(|syncing| !syncing.is_finished());
        if self.state.unsynced < WRITE_BACK_BYTES || busy {
            return Ok(());
        }
        if let Err(e) = self.state.synced().await {
            // Bytes that were answered for may be lost.
            let (inner, session) = (Arc::clone(&self.inner), Arc::clone(&self.session));
            blocking(move || inner.sessions.remove(&session)).await?;
            return Err(StoreError::doing("writing back an upload session")(e));
        }
        let file = Arc::clone(file);
        self.state.syncing = Some(tokio::task::spawn_blocking(move || file.sync_data()));
        self.state.unsynced = 0;
        Ok(())
    }

    /// All of the body was written: it counts.
    fn finish(mut self) -> Result<u64, StoreError> {
        self.session.alive()?;
        let received = self.next.received;
        self.session.commit(&mut self.state, self.next);
        Ok(received)
    }

    /// The body did not end as it should have: what counts is kept, and the error says how much that is.
    async fn give_up(self, end: End) -> StoreError {
        if let Err(ended) = self.session.alive() {
            return ended;
        }
        let received = self.state.progress.received;
        if self.next.received > received
            && let Err(e) = blocking(move || {
                self.cut();
                Ok(())
            })
            .await
        {
            return e;
        }
        match end {
            End::Whole | End::Excess => StoreError::OutOfOrder { received },
            // Whoever hands the body over may have lost patience first.
            End::Broken(source) if source.kind() == io::ErrorKind::TimedOut => {
                StoreError::BodyTimeout { received }
            }
            End::Broken(source) => StoreError::BodyIncomplete { received, source },
            End::Idle => StoreError::BodyTimeout { received },
        }
    }

    /// Gives back the room of what does not count; blocks. If that fails the next to open the file does it.
    fn cut(&self) {
        if let Some(file) = &self.file
            && let Err(e) = file.set_len(self.state.progress.received)
        {
            tracing::debug!(error = %e, "could not cut an upload session's file");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BlobStore, StoreOptions};
    use futures_util::{FutureExt, stream};
    use supercargo_model::Algorithm;

    fn store(body_bytes_max: u32) -> (tempfile::TempDir, BlobStore) {
        let folder = tempfile::tempdir().unwrap();
        let options =
            StoreOptions { body_bytes_max, piece_bytes: 1000, reserve_bytes: 0, ..Default::default() };
        let store = BlobStore::open(folder.path(), options).unwrap();
        (folder, store)
    }

    /// Frames that come one after another, so many milliseconds apart.
    fn slow(sizes: &[usize], apart: u64) -> impl Stream<Item = io::Result<Bytes>> + Send + Unpin + use<> {
        let frames: Vec<_> = sizes.iter().map(|size| Ok(Bytes::from(vec![7; *size]))).collect();
        Box::pin(stream::unfold(frames.into_iter(), move |mut frames| async move {
            let frame = frames.next()?;
            tokio::time::sleep(Duration::from_millis(apart)).await;
            Some((frame, frames))
        }))
    }

    #[tokio::test(start_paused = true)]
    async fn a_piece_waits_for_the_rest_of_it_only_so_long() {
        let (_folder, store) = store(100_000);
        let mut body = Body::new(store.inner(), slow(&[1; 10], 40));
        let begun = Instant::now();
        let (piece, end) = body.next_piece().await;
        // At 40, 80 and 120 ms; the next would come at 160.
        assert_eq!((piece.len, end.is_none()), (3, true));
        assert_eq!(begun.elapsed(), Duration::from_millis(140));
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_counted_from_the_last_piece() {
        let (_folder, store) = store(100_000);
        let idle = store.inner().options.body_idle_timeout;
        let mut body = Body::new(store.inner(), slow(&[10, 0, 0, 10], idle.as_millis() as u64 / 2));
        assert_eq!(body.next_piece().await.0.len, 10);
        // Frames of nothing are silence.
        let begun = Instant::now();
        assert!(matches!(body.next_piece().await, (piece, Some(End::Idle)) if piece.len == 0));
        assert_eq!(begun.elapsed(), idle);
    }

    #[tokio::test]
    async fn a_piece_is_full_or_all_that_there_is_room_for() {
        let (_folder, store) = store(1500);
        let frames = || stream::iter([600, 600, 600].map(|size| Ok(Bytes::from(vec![7; size]))));
        let budget = &store.inner().body_budget;

        let mut first = Body::new(store.inner(), frames());
        let (full, _) = first.next_piece().await;
        assert_eq!((full.len, budget.available_permits()), (1200, 300));
        // There is no room for another's first frame until the other's is written.
        let mut second = Body::new(store.inner(), frames());
        let mut waiting = Box::pin(second.next_piece());
        assert!((&mut waiting).now_or_never().is_none());
        drop(full);
        assert_eq!(waiting.await.0.len, 1200);
        assert_eq!(budget.available_permits(), 1500);

        // One who holds something does not wait for more.
        let _held = budget.acquire_many(700).await.unwrap();
        let (part, end) = first.next_piece().await;
        assert_eq!((part.len, end.is_some()), (600, true));
        let mut third = Body::new(store.inner(), frames());
        drop(part);
        let (part, end) = third.next_piece().await;
        assert_eq!((part.len, end.is_none()), (600, true));
        drop(part);
        // The frame that there was no room for is the next one.
        assert_eq!(third.next_piece().await.0.len, 600);
    }

    #[tokio::test]
    async fn a_piece_of_many_frames_is_written_whole() {
        let folder = tempfile::tempdir().unwrap();
        let store = BlobStore::open(folder.path(), StoreOptions::default()).unwrap();
        let id = store.start("owner", Algorithm::Sha256).await.unwrap();
        let frames = stream::iter((0..5000).map(|at| Ok(Bytes::from(vec![at as u8]))));
        assert_eq!(store.append("owner", id, Some((0, 5000)), frames).await.unwrap(), 5000);
        let expected: Vec<u8> = (0..5000).map(|at| at as u8).collect();
        let digest = crate::hasher::Hasher::of_bytes(Algorithm::Sha512, &expected);
        assert!(store.verify("owner", id, digest).await.is_ok());
    }

    #[tokio::test]
    async fn however_a_body_ends_its_room_is_given_back() {
        let (_folder, store) = store(3000);
        let id = store.start("owner", Algorithm::Sha256).await.unwrap();
        let frames = || stream::iter([900; 5].map(|size| Ok(Bytes::from(vec![7; size]))));
        store.append("owner", id, None, frames()).await.unwrap();
        store.append("owner", id, Some((4500, 1)), frames()).await.unwrap_err();
        let broken = frames().chain(stream::iter([Err(io::ErrorKind::ConnectionReset.into())]));
        store.append("owner", id, None, broken).await.unwrap_err();
        let mut dropped = Box::pin(store.append("owner", id, None, frames().chain(stream::pending())));
        assert!((&mut dropped).now_or_never().is_none());
        drop(dropped);
        // All of it at once, when the piece that was under way has been written.
        drop(store.inner().body_budget.acquire_many(3000).await.unwrap());
    }
}
