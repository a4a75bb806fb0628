//! From a verified session to a blob that can be read, and its removal.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};
use supercargo_blobs::{Existing, StoreError};

use crate::support::*;

const REPLACE: Existing = Existing::Replace;

#[tokio::test]
async fn the_same_bytes_are_stored_once() {
    let (folder, store) = store();
    let bytes = content(1, 5000);
    assert!(!publish(&store, &bytes, KEEP).await.deduplicated());
    let digest = digest(SHA256, &bytes);
    let inode = fs::metadata(blob_path(folder.path(), &digest)).unwrap().ino();
    assert!(publish(&store, &bytes, KEEP).await.deduplicated());
    assert!(store.put_bytes(digest, bytes.clone(), KEEP).await.unwrap().deduplicated());
    assert_eq!(fs::metadata(blob_path(folder.path(), &digest)).unwrap().ino(), inode);
    assert_eq!(files(&store), [(digest, 5000)]);
    assert!(upload_files(folder.path()).is_empty());
}

#[tokio::test]
async fn bytes_without_a_session_are_stored_whole() {
    let (folder, store) = store();
    for algorithm in [SHA256, SHA512] {
        for len in [0, 1, 5000] {
            let (bytes, digest) = (content(1, len), digest(algorithm, &content(1, len)));
            assert!(!store.put_bytes(digest, bytes.clone(), KEEP).await.unwrap().deduplicated());
            assert_eq!(read(&store, &digest, 0..u64::MAX).await.unwrap(), bytes);
        }
    }
    assert_eq!(files(&store).len(), 6);
    assert!(upload_files(folder.path()).is_empty());
}

#[tokio::test]
async fn a_rotten_file_is_kept_until_it_is_to_be_replaced() {
    let (folder, store) = store();
    let (bytes, rotten) = (content(1, 5000), content(2, 5000));
    let digest = digest(SHA256, &bytes);
    let path = blob_path(folder.path(), &digest);
    for by_session in [true, false] {
        fs::write(&path, &rotten).unwrap();
        assert!(publish(&store, &bytes, KEEP).await.deduplicated());
        let reader = store.read(&digest).unwrap();
        assert_ne!(reader.hash(SHA256).unwrap(), digest);
        let published = if by_session {
            publish(&store, &bytes, REPLACE).await
        } else {
            store.put_bytes(digest, bytes.clone(), REPLACE).await.unwrap()
        };
        assert!(!published.deduplicated());
        drop(published);
        assert_eq!(store.read(&digest).unwrap().hash(SHA256).unwrap(), digest);
        // Who was reading goes on reading the same file.
        assert_eq!(reader.bytes().unwrap(), rotten);
        assert_eq!(files(&store), [(digest, 5000)]);
        assert!(upload_files(folder.path()).is_empty());
    }
}

#[tokio::test]
async fn a_file_of_another_size_is_never_kept() {
    let (folder, store) = store();
    let bytes = content(1, 5000);
    let digest = digest(SHA256, &bytes);
    for wrong in [0, 4999, 5001] {
        fs::write(blob_path(folder.path(), &digest), content(1, wrong)).unwrap();
        assert!(!publish(&store, &bytes, KEEP).await.deduplicated());
        assert_eq!(store.read(&digest).unwrap().hash(SHA256).unwrap(), digest);
    }
    assert!(upload_files(folder.path()).is_empty());
}

#[tokio::test]
async fn a_published_session_can_be_published_again_and_not_changed() {
    let (folder, mut store) = store();
    let bytes = content(1, 5000);
    let digest = digest(SHA256, &bytes);
    let id = session(&store, SHA256, &bytes).await;
    // As when a commit fails after each of these; also when the process is another.
    for existing in [KEEP, KEEP, REPLACE] {
        drop(store.publish(verified(&store, id, digest).await, existing).await.unwrap());
        let outcome = store.append(OWNER, id, None, body(&content(2, 10))).await;
        assert!(matches!(outcome, Err(StoreError::OutOfOrder { received: 5000 })), "{outcome:?}");
        assert_eq!(store.append(OWNER, id, Some((5000, 0)), body(&Bytes::new())).await.unwrap(), 5000);
        drop(store);
        store = open(folder.path());
    }
    assert_eq!(upload_files(folder.path()).len(), 1);
    // The wrong digest ends the session and leaves the blob alone.
    store.verify(OWNER, id, self::digest(SHA256, b"")).await.unwrap_err();
    assert!(upload_files(folder.path()).is_empty());
    assert_eq!(read(&store, &digest, 0..u64::MAX).await.unwrap(), bytes);
}

#[tokio::test]
async fn once_its_blob_is_gone_a_session_goes_on() {
    let (_folder, store) = store();
    let bytes = content(1, 5000);
    let id = session(&store, SHA256, &bytes).await;
    drop(store.publish(verified(&store, id, digest(SHA256, &bytes)).await, KEEP).await.unwrap());
    assert!(store.remove(&digest(SHA256, &bytes), || true).await.unwrap());
    assert_eq!(store.append(OWNER, id, None, body(&bytes)).await.unwrap(), 10_000);
    let twice = [&bytes[..], &bytes].concat();
    drop(store.publish(verified(&store, id, digest(SHA256, &twice)).await, KEEP).await.unwrap());
    assert_eq!(read(&store, &digest(SHA256, &twice), 0..u64::MAX).await.unwrap(), twice);
}

#[tokio::test]
async fn what_was_verified_is_what_is_published() {
    let (_folder, store) = store();
    let bytes = content(1, 5000);
    let digest = digest(SHA256, &bytes);
    let id = session(&store, SHA256, &bytes).await;
    let large = verified(&store, id, digest).await;
    // Nobody gets in between, not even the sweep.
    let outcome = store.append(OWNER, id, None, body(&bytes)).await;
    assert!(matches!(outcome, Err(StoreError::OutOfOrder { received: 5000 })), "{outcome:?}");
    let outcome = store.verify(OWNER, id, digest).await;
    assert!(matches!(outcome, Err(StoreError::OutOfOrder { received: 5000 })), "{outcome:?}");
    let later = SystemTime::now() + Duration::from_secs(60);
    assert_eq!(store.sweep_sessions(later).unwrap().count, 0);
    drop(store.publish(large, KEEP).await.unwrap());
    assert_eq!(read(&store, &digest, 0..u64::MAX).await.unwrap(), bytes);
    assert_eq!(store.sweep_sessions(later).unwrap().count, 1);
}

#[tokio::test]
async fn a_session_that_was_cancelled_is_not_published() {
    let (folder, store) = store();
    let bytes = content(1, 5000);
    let id = session(&store, SHA256, &bytes).await;
    let large = verified(&store, id, digest(SHA256, &bytes)).await;
    store.discard(OWNER, id).await.unwrap();
    let outcome = store.publish(large, KEEP).await;
    assert!(matches!(outcome, Err(StoreError::SessionUnknown)), "{outcome:?}");
    assert!(files(&store).is_empty());
    assert!(upload_files(folder.path()).is_empty());
}

#[tokio::test]
async fn while_it_is_published_a_blob_is_not_removed() {
    let (_folder, store) = store();
    let bytes = content(1, 5000);
    let digest = digest(SHA256, &bytes);
    let published = publish(&store, &bytes, KEEP).await;
    let mut removal = Box::pin(store.remove(&digest, || true));
    assert!((&mut removal).now_or_never().is_none());
    assert!((&mut removal).now_or_never().is_none());
    // Others are not concerned.
    assert!(!store.remove(&self::digest(SHA256, b"other"), || true).await.unwrap());
    assert!(store.read(&digest).is_ok());
    drop(published);
    assert!(removal.await.unwrap());
    assert!(matches!(store.read(&digest), Err(StoreError::NotFound)));
}

#[tokio::test]
async fn what_came_back_is_not_removed() {
    let (_folder, store) = store();
    let bytes = content(1, 5000);
    let digest = digest(SHA256, &bytes);
    drop(publish(&store, &bytes, KEEP).await);
    assert!(!store.remove(&digest, || false).await.unwrap());
    assert!(store.read(&digest).is_ok());
    assert!(store.remove(&digest, || true).await.unwrap());
    assert!(!store.remove(&digest, || true).await.unwrap());
    assert!(files(&store).is_empty());
}

#[tokio::test]
async fn ranges_are_cut_to_the_blob() {
    let (_folder, store) = store();
    // Several pieces of a stream and a bit.
    let bytes = content(1, 1_000_001);
    let digest = digest(SHA256, &bytes);
    drop(store.put_bytes(digest, bytes.clone(), KEEP).await.unwrap());
    assert_eq!(store.read(&digest).unwrap().size(), 1_000_001);
    for (start, end) in [
        (0, 1_000_001),
        (0, u64::MAX),
        (0, 0),
        (0, 1),
        (262_143, 262_145),
        (262_144, 524_288),
        (1_000_000, 1_000_001),
        (1_000_000, 1_000_002),
        (1_000_001, 1_000_002),
        (u64::MAX - 1, u64::MAX),
        (7, 3),
    ] {
        let expected =
            &bytes[start.min(1_000_001) as usize..end.clamp(start.min(1_000_001), 1_000_001) as usize];
        assert!(read(&store, &digest, start..end).await.unwrap() == expected, "{start}..{end}");
    }
}

#[tokio::test]
async fn pieces_that_the_reader_keeps_do_not_change() {
    let (_folder, store) = store();
    let bytes = content(1, 3_000_000);
    let digest = digest(SHA256, &bytes);
    drop(store.put_bytes(digest, bytes.clone(), KEEP).await.unwrap());
    // Every third is kept and the others dropped, so that the memory of some is used again.
    let mut pieces = std::pin::pin!(store.read(&digest).unwrap().stream(0..u64::MAX));
    let (mut at, mut kept) = (0, Vec::new());
    while let Some(piece) = pieces.next().await {
        let piece = piece.unwrap();
        assert!(piece == bytes[at..at + piece.len()]);
        at += piece.len();
        if kept.len() * 3 * 256 * 1024 < at {
            kept.push((at - piece.len(), piece));
        }
    }
    assert_eq!(at, bytes.len());
    assert!(kept.len() > 3);
    assert!(kept.iter().all(|(at, piece)| *piece == bytes[*at..at + piece.len()]));
}

/// Where only some of a piece is in memory the rest comes from the disk.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn what_the_page_cache_lost_is_read_from_the_disk() {
    use rustix::fs::{Advice, fadvise};

    let (folder, store) = store();
    let bytes = content(1, 600_000);
    let digest = digest(SHA256, &bytes);
    drop(store.put_bytes(digest, bytes.clone(), KEEP).await.unwrap());
    let file = fs::File::open(blob_path(folder.path(), &digest)).unwrap();
    for lost in [0..600_000, 0..100_000, 131_072..600_000, 300_000..400_000] {
        fadvise(&file, lost.start, (lost.end - lost.start).try_into().ok(), Advice::DontNeed).unwrap();
        assert!(read(&store, &digest, 0..u64::MAX).await.unwrap() == bytes, "{lost:?}");
    }
}

#[tokio::test]
async fn a_reader_keeps_a_removed_blob_and_notices_a_cut_one() {
    let (folder, store) = store();
    let bytes = content(1, 600_000);
    let digest = digest(SHA256, &bytes);
    drop(store.put_bytes(digest, bytes.clone(), KEEP).await.unwrap());
    let (reader, cut) = (store.read(&digest).unwrap(), store.read(&digest).unwrap());
    store.remove(&digest, || true).await.unwrap();
    assert_eq!(reader.bytes().unwrap(), bytes);

    drop(reader);
    drop(store.put_bytes(digest, bytes.clone(), KEEP).await.unwrap());
    drop(cut);
    let cut = store.read(&digest).unwrap();
    let file = fs::File::options().write(true).open(blob_path(folder.path(), &digest)).unwrap();
    file.set_len(300_000).unwrap();
    let pieces: Vec<_> = cut.stream(0..600_000).collect().await;
    assert!(pieces[0].is_ok());
    assert!(pieces[1].is_err(), "{pieces:?}");
    assert_eq!(pieces.len(), 2);
}

#[tokio::test]
async fn a_copy_is_a_link_where_it_can_be() {
    let (from_folder, from) = store();
    let bytes = content(1, 5000);
    for algorithm in [SHA256, SHA512] {
        let digest = digest(algorithm, &bytes);
        drop(from.put_bytes(digest, bytes.clone(), KEEP).await.unwrap());

        let (to_folder, to) = store();
        assert!(from.copy_to(&to, &digest).unwrap());
        // Again, and over one that can't be right.
        assert!(from.copy_to(&to, &digest).unwrap());
        let copy = blob_path(to_folder.path(), &digest);
        let original = blob_path(from_folder.path(), &digest);
        assert_eq!(fs::metadata(&copy).unwrap().ino(), fs::metadata(&original).unwrap().ino());
        fs::remove_file(&copy).unwrap();
        fs::write(&copy, "short").unwrap();
        assert!(from.copy_to(&to, &digest).unwrap());
        assert_eq!(read(&to, &digest, 0..u64::MAX).await.unwrap(), bytes);

        // Neither store loses what the other removes.
        to.remove(&digest, || true).await.unwrap();
        assert!(from.read(&digest).is_ok());
        assert!(!to.copy_to(&from, &digest).unwrap());
        assert!(upload_files(to_folder.path()).is_empty());
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn onto_another_file_system_bytes_are_copied() {
    let Ok(memory) = tempfile::tempdir_in("/dev/shm") else { return };
    let (folder, from) = store();
    if fs::metadata(memory.path()).unwrap().dev() == fs::metadata(folder.path()).unwrap().dev() {
        return;
    }
    let bytes = content(1, 5000);
    let digest = digest(SHA256, &bytes);
    drop(from.put_bytes(digest, bytes.clone(), KEEP).await.unwrap());
    let to = open(memory.path());
    assert!(from.copy_to(&to, &digest).unwrap());
    fs::write(blob_path(folder.path(), &digest), "other").unwrap();
    assert_eq!(read(&to, &digest, 0..u64::MAX).await.unwrap(), bytes);
    assert!(upload_files(memory.path()).is_empty());
}

#[tokio::test]
async fn a_large_upload_is_written_back_on_its_way() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_with(folder.path(), supercargo_blobs::StoreOptions::default());
    let bytes = content(1, 50_000_000);
    let digest = digest(SHA256, &bytes);
    let id = store.start(OWNER, SHA256).await.unwrap();
    for (start, part) in [(0, 0..30_000_000), (30_000_000, 30_000_000..50_000_000)] {
        let part = bytes.slice(part);
        store.append(OWNER, id, Some((start, part.len() as u64)), frames(&part, 65_536)).await.unwrap();
    }
    drop(store.publish(verified(&store, id, digest).await, KEEP).await.unwrap());
    assert_eq!(store.read(&digest).unwrap().hash(SHA256).unwrap(), digest);
}
