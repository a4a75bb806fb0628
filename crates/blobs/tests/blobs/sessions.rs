//! Upload sessions: what is received, in what order, and what is left when a body does not end as it should.

use std::fs;
use std::io;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::{FutureExt, Stream, StreamExt, stream};
use supercargo_blobs::{StoreError, StoreOptions, Verified};
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::support::*;

/// A body that is sent while its request goes on.
fn receiver(
    frames: mpsc::UnboundedReceiver<io::Result<Bytes>>,
) -> impl Stream<Item = io::Result<Bytes>> + Send + Unpin {
    Box::pin(stream::unfold(frames, async |mut frames| Some((frames.recv().await?, frames))))
}

#[tokio::test]
async fn frames_of_any_size_add_up() {
    let (_folder, store) = store();
    let bytes = content(1, 30_000);
    for len in [1, 999, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 20_000, 30_000] {
        let id = store.start(OWNER, SHA256).await.unwrap();
        assert_eq!(store.append(OWNER, id, None, frames(&bytes, len)).await.unwrap(), 30_000);
        assert_eq!(store.received(OWNER, id).unwrap(), 30_000);
        drop(store.publish(verified(&store, id, digest(SHA256, &bytes)).await, KEEP).await.unwrap());
        assert_eq!(read(&store, &digest(SHA256, &bytes), 0..u64::MAX).await.unwrap(), bytes);
        store.remove(&digest(SHA256, &bytes), || true).await.unwrap();
        store.discard(OWNER, id).await.unwrap();
    }
}

#[tokio::test]
async fn a_session_is_its_owners_alone() {
    let (_folder, store) = store();
    let id = session(&store, SHA256, &content(1, 10)).await;
    let digest = digest(SHA256, &content(1, 10));
    for (owner, id) in [("docker-local/library/debian", id), ("", id), (OWNER, Uuid::now_v7())] {
        let unknown = |error| assert!(matches!(error, StoreError::SessionUnknown), "{error}");
        unknown(store.received(owner, id).unwrap_err());
        unknown(store.append(owner, id, None, body(&content(2, 10))).await.unwrap_err());
        unknown(store.verify(owner, id, digest).await.unwrap_err());
        unknown(store.discard(owner, id).await.unwrap_err());
    }
    assert_eq!(store.received(OWNER, id).unwrap(), 10);
}

#[tokio::test]
async fn a_range_that_does_not_follow_changes_nothing() {
    let (_folder, store) = store();
    let (head, tail) = (content(1, 5000), content(2, 5000));
    let id = session(&store, SHA256, &head).await;
    // Starts before and after; fewer and more bytes than announced, by one and by pieces.
    for (start, len) in [(0, 5000), (4999, 5000), (5001, 5000), (u64::MAX, 5000)]
        .into_iter()
        .chain([0, 1, 4999, 5001, 50_000, u64::MAX].map(|len| (5000, len)))
    {
        for frame in [100, 5000] {
            match store.append(OWNER, id, Some((start, len)), frames(&tail, frame)).await {
                Err(StoreError::OutOfOrder { received: 5000 }) => {}
                other => panic!("{start}+{len}: {other:?}"),
            }
            assert_eq!(store.received(OWNER, id).unwrap(), 5000);
        }
    }
    assert_eq!(store.append(OWNER, id, Some((5000, 5000)), frames(&tail, 100)).await.unwrap(), 10_000);
    let whole = Bytes::from([head, tail].concat());
    assert_eq!(verified(&store, id, digest(SHA256, &whole)).await.size(), 10_000);
}

#[tokio::test]
async fn no_more_is_taken_than_was_announced() {
    let (folder, store) = store();
    let id = store.start(OWNER, SHA256).await.unwrap();
    let mut sent = 0;
    let endless = frames(&content(1, 100 * PIECE_BYTES), PIECE_BYTES).inspect(|_| sent += 1);
    let outcome = store.append(OWNER, id, Some((0, 5000)), endless).await;
    assert!(matches!(outcome, Err(StoreError::OutOfOrder { received: 0 })), "{outcome:?}");
    assert_eq!(sent, 2);
    assert_eq!(fs::metadata(&upload_files(folder.path())[0]).unwrap().len(), 0);
}

#[tokio::test]
async fn of_a_body_that_breaks_off_only_one_without_a_range_counts() {
    let (folder, store) = store();
    let bytes = content(1, 9000);
    let broken = || frames(&bytes, 1000).chain(stream::iter([Err(io::ErrorKind::ConnectionReset.into())]));

    let id = store.start(OWNER, SHA256).await.unwrap();
    match store.append(OWNER, id, Some((0, 10_000)), broken()).await {
        Err(StoreError::BodyIncomplete { received: 0, source }) => {
            assert_eq!(source.kind(), io::ErrorKind::ConnectionReset);
        }
        other => panic!("{other:?}"),
    }
    // The room is given back at once.
    assert_eq!(fs::metadata(&upload_files(folder.path())[0]).unwrap().len(), 0);

    let kept = store.append(OWNER, id, None, broken()).await;
    assert!(matches!(kept, Err(StoreError::BodyIncomplete { received: 9000, .. })), "{kept:?}");
    assert_eq!(verified(&store, id, digest(SHA256, &bytes)).await.size(), 9000);
}

#[tokio::test]
async fn a_client_that_falls_silent_is_given_up() {
    let (_folder, store) = store();
    let bytes = content(1, 9000);
    let silent = || frames(&bytes, 1000).chain(stream::pending());

    let id = store.start(OWNER, SHA256).await.unwrap();
    let outcome = store.append(OWNER, id, Some((0, 10_000)), silent()).await;
    assert!(matches!(outcome, Err(StoreError::BodyTimeout { received: 0 })), "{outcome:?}");
    let outcome = store.append(OWNER, id, None, silent()).await;
    assert!(matches!(outcome, Err(StoreError::BodyTimeout { received: 9000 })), "{outcome:?}");
    let outcome = store.append(OWNER, id, None, stream::pending()).await;
    assert!(matches!(outcome, Err(StoreError::BodyTimeout { received: 9000 })), "{outcome:?}");
    assert_eq!(verified(&store, id, digest(SHA256, &bytes)).await.size(), 9000);
}

/// Limits under which a body may pause for as long as a test takes.
fn patient() -> StoreOptions {
    StoreOptions { body_idle_timeout: Duration::from_secs(600), ..options() }
}

#[tokio::test]
async fn a_second_request_is_turned_away_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_with(folder.path(), patient());
    let first = content(1, 9000);
    let id = session(&store, SHA256, &first).await;

    let (sender, frames) = mpsc::unbounded_channel();
    let mut appending = Box::pin(store.append(OWNER, id, None, receiver(frames)));
    assert!((&mut appending).now_or_never().is_none());
    let second = store.append(OWNER, id, None, body(&content(2, 10))).await;
    assert!(matches!(second, Err(StoreError::OutOfOrder { received: 9000 })), "{second:?}");
    let second = store.verify(OWNER, id, digest(SHA256, &first)).await;
    assert!(matches!(second, Err(StoreError::OutOfOrder { received: 9000 })), "{second:?}");
    // Nor does the sweep touch it, however old it is.
    let later = SystemTime::now() + Duration::from_secs(3600);
    assert_eq!(store.sweep_sessions(later).unwrap().count, 0);

    sender.send(Ok(content(3, 1000))).unwrap();
    drop(sender);
    assert_eq!(appending.await.unwrap(), 10_000);
    let whole = Bytes::from([first, content(3, 1000)].concat());
    assert_eq!(verified(&store, id, digest(SHA256, &whole)).await.size(), 10_000);
}

#[tokio::test]
async fn a_request_learns_that_its_session_was_cancelled() {
    let long = Some((0, 50_000));
    // With more to come, which is not waited for, and at the end of the body.
    for (range, more) in [(None, true), (long, true), (None, false), (Some((0, PIECE_BYTES as u64)), false)] {
        let folder = tempfile::tempdir().unwrap();
        let store = open_with(folder.path(), patient());
        let id = store.start(OWNER, SHA256).await.unwrap();
        let (sender, frames) = mpsc::unbounded_channel();
        let appending = tokio::spawn({
            let store = store.clone();
            async move { store.append(OWNER, id, range, receiver(frames)).await }
        });
        sender.send(Ok(content(1, PIECE_BYTES))).unwrap();
        let path = upload_files(folder.path()).remove(0);
        while fs::metadata(&path).unwrap().len() == 0 {
            tokio::task::yield_now().await;
        }
        store.discard(OWNER, id).await.unwrap();
        let still_open = more.then(|| {
            sender.send(Ok(content(1, PIECE_BYTES))).unwrap();
            sender.send(Ok(content(1, PIECE_BYTES))).unwrap();
            sender.clone()
        });
        drop(sender);
        let outcome = appending.await.unwrap();
        drop(still_open);
        assert!(matches!(outcome, Err(StoreError::SessionUnknown)), "{outcome:?}");
        assert!(upload_files(folder.path()).is_empty());
    }
}

#[tokio::test]
async fn of_a_request_that_is_dropped_only_one_without_a_range_counts() {
    let (_folder, store) = store();
    for range in [None, Some((0, 50_000))] {
        let id = store.start(OWNER, SHA256).await.unwrap();
        let bytes = content(1, 2 * PIECE_BYTES);
        let (sender, frames) = mpsc::unbounded_channel();
        let mut appending = Box::pin(store.append(OWNER, id, range, receiver(frames)));
        sender.send(Ok(bytes.clone())).unwrap();
        // Up to the hop to the other thread, which goes on by itself.
        assert!((&mut appending).now_or_never().is_none());
        drop(appending);
        let received = loop {
            match store.append(OWNER, id, None, stream::empty()).await {
                Err(StoreError::OutOfOrder { .. }) => tokio::task::yield_now().await,
                outcome => break outcome.unwrap(),
            }
        };
        let expected = if range.is_none() { bytes.clone() } else { Bytes::new() };
        assert_eq!(received, expected.len() as u64);
        // What does not count is not in the way either.
        let tail = content(2, 2000);
        store.append(OWNER, id, Some((received, 2000)), body(&tail)).await.unwrap();
        let whole = [expected, tail].concat();
        let digest = digest(SHA256, &whole);
        drop(store.publish(verified(&store, id, digest).await, KEEP).await.unwrap());
        assert_eq!(read(&store, &digest, 0..u64::MAX).await.unwrap(), whole);
    }
}

#[tokio::test]
async fn many_bodies_larger_than_the_budget_all_end() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_with(folder.path(), StoreOptions { sessions_max: 32, ..patient() });
    let uploads: Vec<_> = (0..32)
        .map(|seed| {
            let store = store.clone();
            tokio::spawn(async move {
                let bytes = content(seed, 40_000);
                let id = store.start(OWNER, SHA256).await.unwrap();
                // Frames of all sizes, one of them larger than the whole budget.
                let len = [7, 300, 3000, 12_000][usize::from(seed % 4)];
                let slow = frames(&bytes, len).then(async |frame| {
                    tokio::task::yield_now().await;
                    frame
                });
                store.append(OWNER, id, None, Box::pin(slow)).await.unwrap();
                assert_eq!(verified(&store, id, digest(SHA256, &bytes)).await.size(), 40_000);
            })
        })
        .collect();
    for upload in uploads {
        upload.await.unwrap();
    }
}

#[tokio::test]
async fn either_algorithm_verifies_a_session_of_either() {
    let (_folder, store) = store();
    for started in [SHA256, SHA512] {
        for asked in [SHA256, SHA512] {
            let bytes = content(1, 300);
            let id = session(&store, started, &bytes).await;
            match store.verify(OWNER, id, digest(asked, &bytes)).await.unwrap() {
                Verified::Small(small) => assert_eq!(small, bytes),
                Verified::Large(_) => panic!("300 bytes are a small blob"),
            }
            store.discard(OWNER, id).await.unwrap();

            let (bytes, digest) = (content(2, 30_000), digest(asked, &content(2, 30_000)));
            let id = session(&store, started, &bytes).await;
            let published = store.publish(verified(&store, id, digest).await, KEEP).await.unwrap();
            assert_eq!(published.deduplicated(), started == SHA512);
            drop(published);
            store.discard(OWNER, id).await.unwrap();
            assert_eq!(read(&store, &digest, 0..u64::MAX).await.unwrap(), bytes);
        }
    }
}

#[tokio::test]
async fn another_digest_ends_the_session() {
    for len in [0, 1, 1000, 1001, 30_000] {
        for (started, asked) in [(SHA256, SHA256), (SHA256, SHA512), (SHA512, SHA256)] {
            let (folder, store) = store();
            let bytes = content(1, len);
            let id = session(&store, started, &bytes).await;
            let wrong = digest(asked, b"something else");
            match store.verify(OWNER, id, wrong).await {
                Err(StoreError::DigestMismatch { actual }) => assert_eq!(actual, digest(asked, &bytes)),
                other => panic!("{other:?}"),
            }
            assert!(matches!(store.received(OWNER, id), Err(StoreError::SessionUnknown)));
            assert!(upload_files(folder.path()).is_empty());
            assert!(files(&store).is_empty());
        }
    }
}

#[tokio::test]
async fn few_bytes_are_handed_back_and_more_are_a_file() {
    let (_folder, store) = store();
    for (len, small) in [(0, true), (1, true), (1000, true), (1001, false)] {
        let bytes = content(1, len);
        let id = session(&store, SHA256, &bytes).await;
        let verified = store.verify(OWNER, id, digest(SHA256, &bytes)).await.unwrap();
        assert_eq!(matches!(&verified, Verified::Small(handed) if *handed == bytes), small, "{len}");
        drop(verified);
        // A retry of what comes next finds the session as it was.
        assert_eq!(store.received(OWNER, id).unwrap(), len as u64);
        store.verify(OWNER, id, digest(SHA256, &bytes)).await.unwrap();
        store.discard(OWNER, id).await.unwrap();
    }
}

#[tokio::test]
async fn few_bytes_are_kept_in_memory_and_read_again_after_a_restart() {
    let (folder, store) = store();
    let (head, tail) = (content(1, 400), content(2, 400));
    let whole = Bytes::from([head.clone(), tail.clone()].concat());
    let id = session(&store, SHA256, &head).await;
    store.append(OWNER, id, None, frames(&tail, 7)).await.unwrap();
    // What the file holds shows which of the two was taken.
    fs::write(&upload_files(folder.path())[0], content(3, 800)).unwrap();
    let verified = store.verify(OWNER, id, digest(SHA256, &whole)).await.unwrap();
    assert!(matches!(verified, Verified::Small(bytes) if bytes == whole));

    drop(store);
    let store = open(folder.path());
    let verified = store.verify(OWNER, id, digest(SHA256, &content(3, 800))).await.unwrap();
    assert!(matches!(verified, Verified::Small(bytes) if bytes == content(3, 800)));
}

#[tokio::test]
async fn a_session_goes_on_after_a_restart() {
    for algorithm in [SHA256, SHA512] {
        let (folder, mut store) = store();
        let id = store.start(OWNER, algorithm).await.unwrap();
        let mut whole = Vec::new();
        for (seed, len) in [0, 100, 20_000, 1].into_iter().enumerate() {
            drop(store);
            store = open(folder.path());
            assert_eq!(store.received(OWNER, id).unwrap(), whole.len() as u64);
            let part = content(seed as u8, len);
            store.append(OWNER, id, Some((whole.len() as u64, len as u64)), body(&part)).await.unwrap();
            whole.extend_from_slice(&part);
        }
        assert_eq!(verified(&store, id, digest(algorithm, &whole)).await.size(), 20_101);
    }
}

#[tokio::test]
async fn bytes_that_were_lost_are_an_error_and_not_the_end() {
    let (folder, store) = store();
    let bytes = content(1, 9000);
    let id = session(&store, SHA256, &bytes).await;
    let path = upload_files(folder.path()).remove(0);
    fs::File::options().write(true).open(&path).unwrap().set_len(8999).unwrap();
    let outcome = store.append(OWNER, id, None, body(&content(2, 10))).await;
    assert!(matches!(outcome, Err(StoreError::Io { .. })), "{outcome:?}");
    let outcome = store.verify(OWNER, id, digest(SHA256, &bytes)).await;
    assert!(matches!(outcome, Err(StoreError::Io { .. })), "{outcome:?}");
    // Put back, by whoever did that, they are good.
    fs::write(&path, &bytes).unwrap();
    assert_eq!(verified(&store, id, digest(SHA256, &bytes)).await.size(), 9000);

    // A file that is gone is a session that has ended.
    fs::remove_file(&path).unwrap();
    let outcome = store.verify(OWNER, id, digest(SHA256, &bytes)).await;
    assert!(matches!(outcome, Err(StoreError::SessionUnknown)), "{outcome:?}");
    assert!(matches!(store.received(OWNER, id), Err(StoreError::SessionUnknown)));
}

#[tokio::test]
async fn no_more_sessions_than_there_may_be() {
    let (folder, store) = store();
    let mut ids = Vec::new();
    for _ in 0..8 {
        ids.push(store.start(OWNER, SHA256).await.unwrap());
    }
    let refused = store.start("docker-local/other", SHA256).await;
    assert!(matches!(refused, Err(StoreError::TooManySessions { max: 8 })), "{refused:?}");
    assert_eq!(upload_files(folder.path()).len(), 8);
    store.discard(OWNER, ids[0]).await.unwrap();
    store.start(OWNER, SHA256).await.unwrap();

    // Those that are there stay when fewer may be.
    drop(store);
    let store = open_with(folder.path(), StoreOptions { sessions_max: 2, ..options() });
    assert!(ids[1..].iter().all(|id| store.received(OWNER, *id).is_ok()));
    assert!(matches!(store.start(OWNER, SHA256).await, Err(StoreError::TooManySessions { max: 2 })));
}

#[tokio::test]
async fn the_sweep_takes_what_was_idle_and_no_more() {
    let (folder, store) = store();
    let old = session(&store, SHA256, &content(1, 2000)).await;
    let between = store.start("docker-local/emptied", SHA256).await.unwrap();
    let touched = session(&store, SHA256, &content(2, 10)).await;
    let now = SystemTime::now();
    assert_eq!(store.sweep_sessions(now - Duration::from_secs(60)).unwrap(), Default::default());
    store.append(OWNER, touched, None, body(&content(3, 10))).await.unwrap();

    let swept = store.sweep_sessions(now).unwrap();
    assert_eq!((swept.count, swept.bytes), (2, 2000));
    assert!(matches!(store.received(OWNER, old), Err(StoreError::SessionUnknown)));
    assert!(matches!(store.received("docker-local/emptied", between), Err(StoreError::SessionUnknown)));
    assert_eq!(store.received(OWNER, touched).unwrap(), 20);
    assert_eq!(upload_files(folder.path()).len(), 1);
    // The folder of an owner without sessions goes too, and comes back when it is needed.
    assert_eq!(fs::read_dir(folder.path().join("uploads")).unwrap().count(), 1);
    store.start("docker-local/emptied", SHA256).await.unwrap();
}

#[tokio::test]
async fn age_outlives_a_restart() {
    let (folder, store) = store();
    let id = session(&store, SHA256, &content(1, 10)).await;
    drop(store);
    let hour = Duration::from_secs(3600);
    let path = upload_files(folder.path()).remove(0);
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_modified(SystemTime::now() - 2 * hour).unwrap();
    let store = open(folder.path());
    assert_eq!(store.received(OWNER, id).unwrap(), 10);
    assert_eq!(store.sweep_sessions(SystemTime::now() - 3 * hour).unwrap().count, 0);
    assert_eq!(store.sweep_sessions(SystemTime::now() - hour).unwrap().count, 1);
}

#[tokio::test]
async fn what_lies_about_is_passed_over() {
    let (folder, store) = store();
    let id = session(&store, SHA256, &content(1, 2000)).await;
    drop(publish(&store, &content(2, 2000), KEEP).await);
    drop(store);

    let uploads = folder.path().join("uploads");
    let owner = upload_files(folder.path())[0].parent().unwrap().to_owned();
    fs::write(uploads.join("0".repeat(32)), "a file in the place of an owner's folder").unwrap();
    fs::write(uploads.join("notes.txt"), "").unwrap();
    fs::write(owner.join("notes.txt"), "").unwrap();
    fs::create_dir(owner.join(format!("{}.sha256", Uuid::now_v7()))).unwrap();
    let fan = folder.path().join("blobs/sha256/ab");
    fs::write(fan.join("ab"), "").unwrap();
    fs::write(fan.join("cd".repeat(32)), "in another's folder").unwrap();
    fs::create_dir(fan.join("ab".repeat(32))).unwrap();
    fs::write(folder.path().join("blobs/notes.txt"), "").unwrap();
    let stray = uploads.join(format!("{}.tmp", Uuid::now_v7()));
    fs::write(&stray, "what a crash left").unwrap();

    let store = open(folder.path());
    assert!(!stray.exists());
    assert_eq!(store.received(OWNER, id).unwrap(), 2000);
    assert_eq!(files(&store), [(digest(SHA256, &content(2, 2000)), 2000)]);
    assert_eq!(store.sweep_sessions(SystemTime::now() + Duration::from_secs(60)).unwrap().count, 1);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn sessions_that_wait_hold_no_file_open() {
    let (folder, store) = store();
    let mut ids = Vec::new();
    for seed in 0..8 {
        ids.push(session(&store, SHA256, &content(seed, 2000)).await);
    }
    drop(verified(&store, ids[0], digest(SHA256, &content(0, 2000))).await);
    let open = fs::read_dir("/proc/self/fd").unwrap().filter_map(|fd| fs::read_link(fd.ok()?.path()).ok());
    assert_eq!(open.filter(|path| path.starts_with(folder.path())).count(), 0);
}
