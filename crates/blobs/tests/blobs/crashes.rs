//! Processes that are killed: a child runs the test of the same name with the part to play in its environment,
//! and the parent looks at what it left.

use std::env;
use std::io::{BufRead, BufReader, Write, stdout};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use supercargo_blobs::{Existing, Verified};
use uuid::Uuid;

use crate::support::*;

const SIGKILL: i32 = 9;
const FOLDER: &str = "SUPERCARGO_TEST_CRASH_FOLDER";

/// The folder to work in, if this process is the child that will be killed.
fn child_folder() -> Option<PathBuf> {
    env::var_os(FOLDER).map(PathBuf::from)
}

/// Starts the test of that name in a process of its own, to be killed at the crash point or from here.
fn child(test: &str, folder: &Path, crash_at: &str) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(FOLDER, folder)
        .env("SUPERCARGO_CRASH_AT", crash_at)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Tells the parent, at once.
fn say(text: impl std::fmt::Display) {
    let mut out = stdout().lock();
    writeln!(out, "\nchild: {text}").unwrap();
    out.flush().unwrap();
}

/// What the child says until it dies or somebody stops listening.
fn said(child: &mut Child) -> impl Iterator<Item = String> + use<> {
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    lines.map_while(Result::ok).filter_map(|line| line.strip_prefix("child: ").map(str::to_owned))
}

#[cfg(debug_assertions)]
#[tokio::test]
async fn killed_between_verifying_and_answering() {
    let bytes = content(1, 50_000);
    let digest = digest(SHA256, &bytes);
    if let Some(folder) = child_folder() {
        let store = open(&folder);
        drop(publish(&store, &content(2, 5000), KEEP).await);
        let id = session(&store, SHA256, &bytes).await;
        say(id);
        drop(store.publish(verified(&store, id, digest).await, KEEP).await.unwrap());
        unreachable!("killed before this");
    }
    // At the second passage: what the first published is whole.
    for (crash_at, in_its_place) in [("blob.written:2", false), ("blob.renamed:2", true)] {
        let folder = tempfile::tempdir().unwrap();
        let mut child = child("crashes::killed_between_verifying_and_answering", folder.path(), crash_at);
        let id: Uuid = said(&mut child).last().unwrap().parse().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(SIGKILL), "{crash_at}");

        let store = open(folder.path());
        assert_eq!(files(&store).len(), if in_its_place { 2 } else { 1 });
        assert_eq!(store.read(&self::digest(SHA256, &content(2, 5000))).unwrap().size(), 5000);
        assert_eq!(upload_files(folder.path()).len(), 1);
        // A client that asks again gets its blob.
        assert_eq!(store.received(OWNER, id).unwrap(), 50_000);
        let published = store.publish(verified(&store, id, digest).await, KEEP).await.unwrap();
        assert_eq!(published.deduplicated(), in_its_place);
        drop(published);
        store.discard(OWNER, id).await.unwrap();
        assert_eq!(store.read(&digest).unwrap().hash(SHA256).unwrap(), digest);
    }
}

#[tokio::test]
async fn what_an_append_answered_for_survives() {
    // Parts of one kilobyte are written as they come; those of a hundred are many pieces.
    for (number, part) in [(7, 1000), (20, 100_000)] {
        if let Some(folder) = child_folder() {
            // The child plays the part that its folder is named after.
            if !folder.ends_with(part.to_string()) {
                continue;
            }
            let store = open(&folder);
            let id = store.start(OWNER, SHA256).await.unwrap();
            say(id);
            for seed in (0..=u8::MAX).cycle() {
                say(store.append(OWNER, id, None, frames(&content(seed, part), 700)).await.unwrap());
            }
        }
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join(part.to_string());
        let mut child = child("crashes::what_an_append_answered_for_survives", &folder, "");
        let mut said = said(&mut child);
        let id: Uuid = said.next().unwrap().parse().unwrap();
        let mut answered: u64 = said.nth(number).unwrap().parse().unwrap();
        child.kill().unwrap();
        // What it had said when it died.
        answered = said.last().map_or(answered, |last| last.parse().unwrap());
        assert_eq!(child.wait().unwrap().signal(), Some(SIGKILL));

        let store = open(&folder);
        let received = store.received(OWNER, id).unwrap();
        assert!(received >= answered, "{received} of {answered}");
        let parts = (0..=u8::MAX).cycle().flat_map(|seed| content(seed, part));
        let whole: Vec<u8> = parts.take(received as usize).collect();
        store.append(OWNER, id, Some((received, 9)), body(&content(0, 9))).await.unwrap();
        let whole = [&whole[..], &content(0, 9)].concat();
        drop(verified(&store, id, digest(SHA256, &whole)).await);
    }
}

#[tokio::test]
async fn killed_at_any_moment_the_store_is_whole() {
    let bytes = content(1, 300_000);
    let digest = digest(SHA256, &bytes);
    if let Some(folder) = child_folder() {
        let store = open(&folder);
        for round in 0_u32.. {
            let existing = if round % 3 == 0 { Existing::Replace } else { KEEP };
            let id = session(&store, SHA256, &bytes).await;
            drop(store.publish(verified(&store, id, digest).await, existing).await.unwrap());
            store.discard(OWNER, id).await.unwrap();
            if round % 2 == 0 {
                store.remove(&digest, || true).await.unwrap();
                drop(store.put_bytes(digest, bytes.clone(), KEEP).await.unwrap());
            }
            say(round);
        }
    }
    let folder = tempfile::tempdir().unwrap();
    for rounds in 0..12 {
        let mut child = child("crashes::killed_at_any_moment_the_store_is_whole", folder.path(), "");
        let mut said = said(&mut child);
        said.nth(rounds).unwrap();
        // Somewhere in the next round, later each time: there is nothing to wait for.
        std::thread::sleep(Duration::from_micros(200) * rounds as u32);
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(SIGKILL));
        drop(said);

        let store = open(folder.path());
        for (file, size) in files(&store) {
            assert_eq!((file, size), (digest, 300_000));
            assert_eq!(store.read(&file).unwrap().hash(SHA256).unwrap(), digest);
        }
        // At most the one session, a part of the whole; no temporary file.
        let left = upload_files(folder.path());
        assert!(left.len() <= 1 && left.iter().all(|path| path.extension().unwrap() == "sha256"), "{left:?}");
        for path in left {
            let id: Uuid = path.file_stem().unwrap().to_str().unwrap().parse().unwrap();
            let received = store.received(OWNER, id).unwrap();
            if received < 300_000 {
                let rest = bytes.slice(received as usize..);
                store.append(OWNER, id, Some((received, rest.len() as u64)), body(&rest)).await.unwrap();
            }
            assert!(matches!(store.verify(OWNER, id, digest).await.unwrap(), Verified::Large(_)));
            store.discard(OWNER, id).await.unwrap();
        }
    }
}
