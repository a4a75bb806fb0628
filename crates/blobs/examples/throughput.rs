//! What the store costs, beside what the machine allows. Every figure is printed with what it is held against.
//!
//! ```text
//! cargo run --release -p supercargo-blobs --example throughput -- [upload|parallel|small|read]… [--dir FOLDER]
//! ```
//!
//! - `upload`: 512 MiB in frames of 64 KiB, verified and published, against the serial limit: the time that
//!   `dd conv=fdatasync` takes for the same bytes, plus that of `openssl dgst -sha256` on the file it wrote.
//!   Alternating rounds, medians. Another client's share of a core is not in it: frames come from memory,
//!   copied once, as from a socket.
//! - `parallel`: 16 uploads of 128 MiB at once, and the most memory that the process has held (run it alone).
//! - `small`: a session from start to discard with 1 KiB in it.
//! - `read`: 512 MiB that the page cache holds, streamed.

#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a measurement, for a person to read")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, io};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use sha2::{Digest as _, Sha256};
use supercargo_blobs::{BlobStore, Existing, StoreOptions, Verified};
use supercargo_model::{Algorithm, Digest};

const MIB: u64 = 1024 * 1024;
const UPLOAD_BYTES: u64 = 512 * MIB;
const PARALLEL: usize = 16;
const PARALLEL_BYTES: u64 = 128 * MIB;
const FRAME_BYTES: u64 = 64 * 1024;
const ROUNDS: usize = 5;
const SMALL_SESSIONS: u32 = 5_000;

#[tokio::main]
async fn main() {
    let mut arguments: Vec<String> = env::args().skip(1).collect();
    let parent = match arguments.iter().position(|argument| argument == "--dir") {
        Some(at) => PathBuf::from(arguments.drain(at..at + 2).nth(1).unwrap()),
        // Not the system's temporary folder, which may be memory.
        None => env::current_dir().unwrap(),
    };
    let folder = tempfile::tempdir_in(parent).unwrap();
    let store = BlobStore::open(folder.path(), StoreOptions::default()).unwrap();
    let asked = |name: &str| arguments.is_empty() || arguments.iter().any(|argument| argument == name);
    if asked("parallel") {
        parallel(&store).await;
    }
    if asked("upload") {
        upload(&store, folder.path()).await;
    }
    if asked("small") {
        small(&store).await;
    }
    if asked("read") {
        read(&store).await;
    }
}

async fn upload(store: &BlobStore, folder: &Path) {
    let source = folder.join("source");
    let mut file = fs::File::create(&source).unwrap();
    frames(0, UPLOAD_BYTES).for_each(|frame| io::Write::write_all(&mut file, &frame).unwrap());
    file.sync_all().unwrap();
    let digest = digest_of(0, UPLOAD_BYTES);

    let (mut ours, mut limits) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let written = folder.join("written");
        let (from, to) = (format!("if={}", source.display()), format!("of={}", written.display()));
        let limit = timed(Command::new("dd").args([&from, &to, "bs=1M", "conv=fdatasync"]))
            + timed(Command::new("openssl").args(["dgst", "-sha256"]).arg(&written));
        fs::remove_file(&written).unwrap();

        let start = Instant::now();
        put(store, 0, UPLOAD_BYTES, digest).await;
        let taken = start.elapsed();
        store.remove(&digest, || true).await.unwrap();
        println!(
            "upload     round: {:.0} MiB/s, serial limit {:.0} MiB/s",
            rate(UPLOAD_BYTES, taken),
            rate(UPLOAD_BYTES, limit)
        );
        ours.push(taken);
        limits.push(limit);
    }
    let (ours, limit) = (median(ours), median(limits));
    println!(
        "upload     {:.0} MiB/s, {:.2} of the serial limit ({:.0} MiB/s)",
        rate(UPLOAD_BYTES, ours),
        limit.as_secs_f64() / ours.as_secs_f64(),
        rate(UPLOAD_BYTES, limit)
    );
}

async fn parallel(store: &BlobStore) {
    let digests: Vec<Digest> = (0..PARALLEL).map(|seed| digest_of(seed as u64, PARALLEL_BYTES)).collect();
    let start = Instant::now();
    let uploads: Vec<_> = digests
        .iter()
        .enumerate()
        .map(|(seed, &digest)| {
            let store = store.clone();
            tokio::spawn(async move { put(&store, seed as u64, PARALLEL_BYTES, digest).await })
        })
        .collect();
    for upload in uploads {
        upload.await.unwrap();
    }
    let taken = start.elapsed();
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap().trim().to_owned();
    println!(
        "parallel   {PARALLEL} at once: {:.0} MiB/s together, peak memory {peak}",
        rate(PARALLEL as u64 * PARALLEL_BYTES, taken)
    );
    for digest in digests {
        store.remove(&digest, || true).await.unwrap();
    }
}

async fn small(store: &BlobStore) {
    let bytes = Bytes::from(vec![7; 1024]);
    let digest = Digest::sha256(Sha256::digest(&bytes).into());
    // On a worker, as a server's requests are, rather than on the thread that started the runtime.
    let store = store.clone();
    let taken = tokio::spawn(async move {
        let mut taken = Vec::new();
        for _ in 0..SMALL_SESSIONS {
            let start = Instant::now();
            let id = store.start("owner", Algorithm::Sha256).await.unwrap();
            store.append("owner", id, None, stream::iter([Ok(bytes.clone())])).await.unwrap();
            assert!(matches!(store.verify("owner", id, digest).await.unwrap(), Verified::Small(_)));
            store.discard("owner", id).await.unwrap();
            taken.push(start.elapsed());
        }
        taken
    });
    let taken = taken.await.unwrap();
    let mean = taken.iter().sum::<Duration>() / SMALL_SESSIONS;
    println!("small      {:.0} µs median, {:.0} µs mean", micros(median(taken)), micros(mean));
}

async fn read(store: &BlobStore) {
    let digest = digest_of(0, UPLOAD_BYTES);
    put(store, 0, UPLOAD_BYTES, digest).await;
    let store = store.clone();
    let taken = tokio::spawn(async move {
        let mut taken = Vec::new();
        for _ in 0..ROUNDS {
            let start = Instant::now();
            let mut pieces = std::pin::pin!(store.read(&digest).unwrap().stream(0..u64::MAX));
            let mut bytes = 0;
            while let Some(piece) = pieces.next().await {
                bytes += piece.unwrap().len() as u64;
            }
            assert_eq!(bytes, UPLOAD_BYTES);
            taken.push(start.elapsed());
        }
        store.remove(&digest, || true).await.unwrap();
        taken
    });
    println!("read       {:.2} GiB/s", rate(UPLOAD_BYTES, median(taken.await.unwrap())) / 1024.0);
}

/// One upload from start to a published blob.
async fn put(store: &BlobStore, seed: u64, bytes: u64, digest: Digest) {
    let id = store.start("owner", Algorithm::Sha256).await.unwrap();
    store.append("owner", id, Some((0, bytes)), stream::iter(frames(seed, bytes).map(Ok))).await.unwrap();
    let Verified::Large(large) = store.verify("owner", id, digest).await.unwrap() else {
        unreachable!("more bytes than are kept in memory")
    };
    drop(store.publish(large, Existing::Keep).await.unwrap());
    store.discard("owner", id).await.unwrap();
}

/// The bytes of an upload: no two frames and no two seeds alike.
fn frames(seed: u64, bytes: u64) -> impl Iterator<Item = Bytes> + Send {
    let mut frame: Vec<u8> = (0..FRAME_BYTES).map(|at| (at * at / 251) as u8).collect();
    (0..bytes / FRAME_BYTES).map(move |number| {
        frame[..8].copy_from_slice(&(seed << 32 | number).to_le_bytes());
        Bytes::copy_from_slice(&frame)
    })
}

fn digest_of(seed: u64, bytes: u64) -> Digest {
    let mut hash = Sha256::new();
    frames(seed, bytes).for_each(|frame| hash.update(&frame));
    Digest::sha256(hash.finalize().into())
}

fn timed(command: &mut Command) -> Duration {
    let start = Instant::now();
    assert!(command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success());
    start.elapsed()
}

fn median(mut taken: Vec<Duration>) -> Duration {
    taken.sort_unstable();
    taken[taken.len() / 2]
}

fn rate(bytes: u64, taken: Duration) -> f64 {
    bytes as f64 / MIB as f64 / taken.as_secs_f64()
}

fn micros(taken: Duration) -> f64 {
    taken.as_secs_f64() * 1e6
}
