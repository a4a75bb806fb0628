//! A full disk: refused where the reserve begins, and where the system says so in the midst of it.

use std::fs;
use std::os::unix::fs::symlink;

use futures_util::StreamExt;
use rustix::fs::{FallocateFlags, fallocate};
use supercargo_blobs::{BlobStore, StoreError, StoreOptions};

use crate::support::*;

/// Limits under which nothing may be written.
fn full() -> StoreOptions {
    StoreOptions { reserve_bytes: u64::MAX, ..options() }
}

fn assert_full<T: std::fmt::Debug>(outcome: &Result<T, StoreError>) {
    assert!(matches!(outcome, Err(StoreError::DiskFull)), "{outcome:?}");
}

#[tokio::test]
async fn nothing_is_begun_on_a_full_disk_and_all_that_was_there_can_be_used() {
    let (folder, store) = store();
    let bytes = content(1, 5000);
    let digest = digest(SHA256, &bytes);
    let id = session(&store, SHA256, &bytes).await;
    drop(store);

    let store = BlobStore::open(folder.path(), full()).unwrap();
    assert_full(&store.start(OWNER, SHA256).await);
    assert_full(&store.append(OWNER, id, None, body(&content(2, 10))).await);
    assert_full(&store.append(OWNER, id, Some((5000, 10)), body(&content(2, 10))).await);
    assert_full(&store.put_bytes(digest, bytes.clone(), KEEP).await);
    assert!(files(&store).is_empty());
    assert_eq!(upload_files(folder.path()).len(), 1);
    // A blob's name takes no room to speak of.
    assert_eq!(store.received(OWNER, id).unwrap(), 5000);
    drop(store.publish(verified(&store, id, digest).await, KEEP).await.unwrap());
    assert_eq!(read(&store, &digest, 0..u64::MAX).await.unwrap(), bytes);
    store.discard(OWNER, id).await.unwrap();
    assert!(store.remove(&digest, || true).await.unwrap());
}

#[tokio::test]
async fn a_disk_that_fills_up_under_a_body_takes_that_body_and_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let free = open(folder.path()).free_bytes().unwrap();
    // Beyond what others may write or free meanwhile.
    let margin = (free / 16).min(1 << 30);
    let store = open_with(folder.path(), StoreOptions { reserve_bytes: free - margin, ..options() });
    let head = content(1, 5000);
    for range in [None, Some((5000, 1 << 40))] {
        let id = session(&store, SHA256, &head).await;
        let (path, ballast) = (upload_files(folder.path()).remove(0), folder.path().join("ballast"));
        let mut sent = 0;
        let filling = frames(&content(2, 100 * PIECE_BYTES), PIECE_BYTES).map(|frame| {
            sent += 1;
            if sent == 50 {
                // Frames are sent two pieces ahead of what is written.
                assert!(fs::metadata(&path).unwrap().len() > 40 * PIECE_BYTES as u64);
                let file = fs::File::create(&ballast).unwrap();
                fallocate(&file, FallocateFlags::empty(), 0, 2 * margin).unwrap();
            }
            frame
        });
        assert_full(&store.append(OWNER, id, range, filling).await);
        assert_eq!(store.received(OWNER, id).unwrap(), 5000);
        assert_eq!(fs::metadata(&path).unwrap().len(), 5000);
        fs::remove_file(&ballast).unwrap();

        // With room again it goes on as if nothing had been.
        let tail = content(3, 5000);
        store.append(OWNER, id, Some((5000, 5000)), body(&tail)).await.unwrap();
        let whole = [head.clone(), tail].concat();
        drop(verified(&store, id, digest(SHA256, &whole)).await);
        store.discard(OWNER, id).await.unwrap();
    }
}

/// `/dev/full` takes nothing, as a disk without room that nobody foresaw.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_write_for_which_there_is_no_room_is_a_full_disk() {
    let (folder, store) = store();
    for range in [None, Some((0, 5000))] {
        let id = store.start(OWNER, SHA256).await.unwrap();
        let path = upload_files(folder.path()).remove(0);
        fs::remove_file(&path).unwrap();
        symlink("/dev/full", &path).unwrap();
        assert_full(&store.append(OWNER, id, range, body(&content(1, 5000))).await);
        assert_eq!(store.received(OWNER, id).unwrap(), 0);

        fs::remove_file(&path).unwrap();
        fs::write(&path, "").unwrap();
        assert_eq!(store.append(OWNER, id, range, body(&content(1, 5000))).await.unwrap(), 5000);
        store.discard(OWNER, id).await.unwrap();
    }
}
