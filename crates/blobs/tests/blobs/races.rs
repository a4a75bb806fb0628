//! Requests that meet: whatever the order, what is published stays whole and what ends leaves nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use supercargo_blobs::{Existing, StoreError, StoreOptions, Verified};
use tokio::task::JoinSet;

use crate::support::*;

const ROUNDS: usize = 300;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_wanted_blob_is_never_removed() {
    let (_folder, store) = store();
    let bytes = content(1, 2000);
    let digest = digest(SHA256, &bytes);
    for round in 0..ROUNDS {
        // What a commit would record: set while the blob is held.
        let wanted = Arc::new(AtomicBool::new(false));
        let mut tasks = JoinSet::new();
        for _ in 0..2 {
            let (store, wanted) = (store.clone(), Arc::clone(&wanted));
            tasks.spawn(async move {
                let wanted_now = move || !wanted.load(Ordering::SeqCst);
                store.remove(&digest, wanted_now).await.unwrap();
            });
        }
        let (publisher, bytes, wanting) = (store.clone(), bytes.clone(), Arc::clone(&wanted));
        tasks.spawn(async move {
            let existing = if round % 4 == 3 { Existing::Replace } else { KEEP };
            let published = if round % 2 == 0 {
                publish(&publisher, &bytes, existing).await
            } else {
                publisher.put_bytes(digest, bytes, existing).await.unwrap()
            };
            tokio::task::yield_now().await;
            wanting.store(true, Ordering::SeqCst);
            drop(published);
        });
        tasks.join_all().await;
        assert_eq!(store.read(&digest).unwrap().size(), 2000, "round {round}");
        // Every second round starts without it.
        if round % 2 == 0 {
            store.remove(&digest, || true).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn bodies_never_mix() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_with(folder.path(), StoreOptions { body_bytes_max: 1 << 20, ..options() });
    for _ in 0..ROUNDS / 10 {
        let id = store.start(OWNER, SHA256).await.unwrap();
        let mut tasks = JoinSet::new();
        for writer in 0..4 {
            let store = store.clone();
            tasks.spawn(async move {
                let mut written = Vec::new();
                for part in 0..5 {
                    let bytes = Bytes::from(vec![writer * 10 + part; 3 * PIECE_BYTES]);
                    match store.append(OWNER, id, None, frames(&bytes, 1000)).await {
                        Ok(received) => written.push((received - bytes.len() as u64, bytes)),
                        Err(StoreError::OutOfOrder { .. }) => tokio::task::yield_now().await,
                        Err(other) => panic!("{other}"),
                    }
                }
                written
            });
        }
        let mut written = tasks.join_all().await.concat();
        written.sort_unstable_by_key(|(at, _)| *at);
        assert!(!written.is_empty());
        let whole = written.into_iter().map(|(_, bytes)| bytes).collect::<Vec<_>>().concat();
        drop(verified(&store, id, digest(SHA256, &whole)).await);
        store.discard(OWNER, id).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_sweep_keeps_no_request_from_a_session_that_is_not_idle() {
    let (_folder, store) = store();
    let id = store.start(OWNER, SHA256).await.unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let mut sweeps = JoinSet::new();
    for _ in 0..4 {
        let (store, over) = (store.clone(), Arc::clone(&over));
        sweeps.spawn_blocking(move || {
            while !over.load(Ordering::SeqCst) {
                let swept = store.sweep_sessions(SystemTime::now() - Duration::from_secs(3600)).unwrap();
                assert_eq!(swept.count, 0);
            }
        });
    }
    let mut appended = Ok(0);
    for _ in 0..40 * ROUNDS {
        appended = store.append(OWNER, id, None, frames(&Bytes::from_static(b"a"), 1)).await;
        if appended.is_err() {
            break;
        }
    }
    over.store(true, Ordering::SeqCst);
    sweeps.join_all().await;
    assert_eq!(appended.unwrap(), 40 * ROUNDS as u64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_session_that_everybody_wants_at_once() {
    let (folder, store) = store();
    for round in 0..ROUNDS {
        let bytes = content(round as u8, 2000 + round);
        let digest = digest(SHA256, &bytes);
        let id = session(&store, SHA256, &bytes).await;
        let mut tasks = JoinSet::new();
        for _ in 0..2 {
            let (store, bytes) = (store.clone(), bytes.clone());
            tasks.spawn(async move {
                let large = match store.verify(OWNER, id, digest).await {
                    Ok(Verified::Large(large)) => large,
                    other => return other.map(drop),
                };
                let published = store.publish(large, KEEP).await?;
                assert_eq!(read(&store, &digest, 0..u64::MAX).await?, bytes);
                drop(published);
                Ok(())
            });
        }
        let appender = store.clone();
        tasks.spawn(async move {
            appender.append(OWNER, id, None, frames(&content(9, 9000), 1000)).await.map(drop)
        });
        let ender = store.clone();
        if round % 2 == 0 {
            tasks.spawn(async move { ender.discard(OWNER, id).await });
        } else {
            let later = SystemTime::now() + Duration::from_secs(60);
            tasks.spawn_blocking(move || {
                ender.sweep_sessions(later).unwrap();
                Ok(())
            });
        }
        for outcome in tasks.join_all().await {
            match outcome {
                Ok(()) | Err(StoreError::SessionUnknown | StoreError::OutOfOrder { .. }) => {}
                // The other body came first.
                Err(StoreError::DigestMismatch { actual }) => assert_ne!(actual, digest),
                Err(other) => panic!("round {round}: {other}"),
            }
        }
        // The blob, if there is one, is no longer than it was when it was verified.
        match read(&store, &digest, 0..u64::MAX).await {
            Ok(published) => assert!(published == bytes, "round {round}"),
            Err(error) => assert!(matches!(error, StoreError::NotFound)),
        }
        store.remove(&digest, || true).await.unwrap();
        store.sweep_sessions(SystemTime::now() + Duration::from_secs(60)).unwrap();
        assert!(upload_files(folder.path()).is_empty(), "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_session_that_starts_while_others_are_swept_is_found_or_leaves_nothing() {
    let (folder, store) = store();
    for _ in 0..ROUNDS {
        let later = SystemTime::now() + Duration::from_secs(60);
        let sweeper = store.clone();
        let sweep = tokio::task::spawn_blocking(move || sweeper.sweep_sessions(later).unwrap());
        let id = store.start(OWNER, SHA256).await.unwrap();
        sweep.await.unwrap();
        assert_eq!(upload_files(folder.path()).len(), usize::from(store.received(OWNER, id).is_ok()));
    }
}
