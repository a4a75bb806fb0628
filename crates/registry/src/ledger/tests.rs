//! The writer: groups, refusals, bounds, time, and a disk that is full.

use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};

use supercargo_blobs::StoreOptions;
use supercargo_eventlog::{Actor, Api, Log, Origin, RepositoryConfig};
use supercargo_model::{Algorithm, Reference, RepoKey, RepoName, media_type};

use super::*;
use crate::{Condition, GcPolicy, ManifestPush, Options, Registry};

#[derive(Debug, Default)]
struct ManualClock(AtomicI64);

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::SeqCst))
    }
}

fn temp() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap()
}

fn caller() -> Caller {
    Caller { actor: Actor::User("root".to_owned()), origin: Origin::local(Api::Cli) }
}

fn create(key: &str) -> Command {
    Command::CreateRepository { repository: key.parse().unwrap(), config: RepositoryConfig::default() }
}

fn records(registry: &Registry) -> Vec<Record> {
    registry.log.read(0..u64::MAX).unwrap().collect::<Result<_, _>>().unwrap()
}

type Answer = tokio::task::JoinHandle<Result<Outcome>>;

/// Submits a command as somebody else would, and waits until it is in the queue or past it.
async fn submit(registry: &Arc<Registry>, command: Command) -> Answer {
    submit_with(registry, command, Payload::None).await
}

async fn submit_with(registry: &Arc<Registry>, command: Command, payload: Payload) -> Answer {
    let handle = tokio::spawn({
        let registry = Arc::clone(registry);
        async move { registry.ledger.submit(&caller(), command, payload).await }
    });
    // One thread runs all tasks: after its turn, the task waits for its answer or for room in the queue.
    tokio::task::yield_now().await;
    handle
}

async fn until(what: impl Fn() -> bool) {
    let turns = async {
        while !what() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), turns).await.expect("it never comes to that");
}

/// A registry whose writer has taken a first command and waits for the file, which the test holds.
async fn held_up(registry: &Arc<Registry>) -> (redb::WriteTransaction, Answer) {
    let held = registry.db.begin_write().unwrap();
    let first = submit(registry, create("first")).await;
    until(|| registry.queued_commands() == 0).await;
    (held, first)
}

#[tokio::test]
async fn what_waits_together_is_committed_together_and_refusals_leave_no_trace() {
    let folder = temp();
    let registry = Registry::open(Options::new(folder.path())).unwrap();
    let (held, first) = held_up(&registry).await;
    let mut waiting = Vec::new();
    for key in ["a", "b", "a", "c", "first"] {
        waiting.push(submit(&registry, create(key)).await);
    }
    assert_eq!(registry.queued_commands(), 5);
    held.abort().unwrap();
    assert!(first.await.unwrap().is_ok());
    let mut answers = Vec::new();
    for handle in waiting {
        answers.push(handle.await.unwrap());
    }
    // Decided one after another: the second `a` sees the first, though nothing was committed between.
    let refused: Vec<bool> =
        answers.iter().map(|answer| matches!(answer, Err(Error::RepositoryExists(_)))).collect();
    assert_eq!(refused, [false, false, true, false, true], "{answers:?}");
    let created: Vec<String> =
        records(&registry).iter().map(|record| record.event.repository().unwrap().to_string()).collect();
    assert_eq!(created, ["first", "a", "b", "c"]);
    let (groups, commands) = registry.stats.group_commands.read();
    assert_eq!(groups.iter().map(|(_, count)| count).sum::<u64>(), 2, "two commits for six commands");
    assert!((commands - 6.0).abs() < 0.01, "{commands}");
    assert_eq!(registry.stats.refused.load(Ordering::Relaxed), 2);
    registry.close();
    assert!(registry.folder().verify(true, |_| std::ops::ControlFlow::Continue(())).unwrap().is_clean());
}

/// Bytes beside the tables come and go by the commit of their records, also where one group holds both.
#[tokio::test]
async fn a_blob_that_is_collected_and_added_in_one_group_ends_as_the_last_of_them_says() {
    let folder = temp();
    let gc = GcPolicy { lease: Duration::ZERO, ..GcPolicy::default() };
    let registry = Registry::open(Options { gc, ..Options::new(folder.path()) }).unwrap();
    let (repository, name): (RepoKey, RepoName) = ("r".parse().unwrap(), "a".parse().unwrap());
    registry.ledger.submit(&caller(), create("r"), Payload::None).await.unwrap();
    let (old, new) = (Bytes::from_static(b"old"), Bytes::from_static(b"new"));
    let digest = |bytes: &Bytes| crate::pushes::digest_of(Algorithm::Sha256, bytes);
    let add = |bytes: &Bytes| {
        let (repository, name) = (repository.clone(), name.clone());
        let (digest, size) = (digest(bytes), bytes.len() as u64);
        (Command::AddBlob { repository, name, digest, size }, Payload::Small(digest, bytes.clone()))
    };
    let collect = || Command::Collect { policy: gc, cursor: crate::command::CollectCursor::default() };
    let (command, bytes) = add(&old);
    registry.ledger.submit(&caller(), command, bytes).await.unwrap();

    let (held, first) = held_up(&registry).await;
    let mut waiting = vec![first];
    // `new` comes and goes: from its name, and then from the store. `old` goes and comes.
    let (command, bytes) = add(&new);
    waiting.push(submit_with(&registry, command, bytes).await);
    waiting.push(submit(&registry, collect()).await);
    waiting.push(submit(&registry, collect()).await);
    let (command, bytes) = add(&old);
    waiting.push(submit_with(&registry, command, bytes).await);
    held.abort().unwrap();
    for handle in waiting {
        handle.await.unwrap().unwrap();
    }
    let (groups, _) = registry.stats.group_commands.read();
    assert_eq!(groups.iter().map(|(_, count)| count).sum::<u64>(), 4, "the four were one group");
    let txn = registry.db.begin_read().unwrap();
    assert_eq!(small::get(&txn, &digest(&old)).unwrap(), Some(old));
    assert_eq!(small::get(&txn, &digest(&new)).unwrap(), None);
    registry.close();
    assert!(registry.folder().verify(true, |_| std::ops::ControlFlow::Continue(())).unwrap().is_clean());
}

/// Bytes before records: between a file's place and its record, nobody takes the file away, though no record
/// mentions it yet. Not even where the one who pushed it has gone.
#[tokio::test]
async fn a_file_is_held_until_its_record_is_committed() {
    let folder = temp();
    let store = StoreOptions { inline_bytes_max: 10, ..StoreOptions::default() };
    let registry = Registry::open(Options { store, ..Options::new(folder.path()) }).unwrap();
    let (repository, name): (RepoKey, RepoName) = ("r".parse().unwrap(), "a".parse().unwrap());
    registry.ledger.submit(&caller(), create("r"), Payload::None).await.unwrap();
    let padding = "p".repeat(usize::try_from(supercargo_model::limits::INLINE_BLOB_BYTES_MAX).unwrap());
    for (as_manifest, gone) in [(false, false), (false, true), (true, false), (true, true)] {
        let bytes = Bytes::from(match as_manifest {
            true => format!(r#"{{"layers":[],"annotations":{{"p":"{padding}","gone":"{gone}"}}}}"#),
            false => format!("{padding}{gone}"),
        });
        let digest = crate::pushes::digest_of(Algorithm::Sha256, &bytes);
        let id = registry.start_upload(&caller(), &repository, &name, Algorithm::Sha256).await.unwrap();
        // The writer takes this one and waits for the file; the push waits behind it.
        let held = registry.db.begin_write().unwrap();
        let first = submit(&registry, create("r")).await;
        until(|| registry.queued_commands() == 0).await;
        let pushing = tokio::spawn({
            let (registry, repository, name) = (Arc::clone(&registry), repository.clone(), name.clone());
            async move {
                if as_manifest {
                    let reference = Reference::Digest(digest);
                    let pushed = registry
                        .push_manifest(
                            &caller(),
                            &repository,
                            &name,
                            ManifestPush::new(reference, "a/b", bytes),
                        )
                        .await;
                    pushed.map(|_| ())
                } else {
                    let body = futures_util::stream::iter([Ok(bytes)]);
                    registry.finish_upload(&caller(), &repository, &name, id, digest, None, body).await
                }
            }
        });
        until(|| registry.queued_commands() == 1).await;
        let pushed = match gone {
            true => {
                pushing.abort();
                assert!(pushing.await.unwrap_err().is_cancelled());
                None
            }
            false => Some(pushing),
        };
        let collected = crate::Collected {
            blobs: vec![supercargo_eventlog::event::CollectedBlob { digest, size: 1 }],
            ..Default::default()
        };
        // A collection that was decided before: it has to wait, and to find that the blob is back.
        let mut unlinking = tokio::spawn({
            let registry = Arc::clone(&registry);
            async move { registry.unlink(&collected).await }
        });
        let early = tokio::time::timeout(Duration::from_millis(100), &mut unlinking).await;
        assert!(early.is_err(), "it does not wait for the record");
        held.abort().unwrap();
        assert!(matches!(first.await.unwrap(), Err(Error::RepositoryExists(_))));
        if let Some(pushed) = pushed {
            pushed.await.unwrap().unwrap();
        }
        unlinking.await.unwrap().unwrap();
        assert!(registry.blobs.read(&digest).is_ok(), "its file is gone");
    }
    registry.close();
    assert!(registry.folder().verify(true, |_| std::ops::ControlFlow::Continue(())).unwrap().is_clean());
}

/// A commit that failed may have become durable all the same.
#[tokio::test]
async fn while_it_is_not_known_what_was_committed_no_file_is_removed() {
    let folder = temp();
    let registry = Registry::open(Options::new(folder.path())).unwrap();
    let bytes = Bytes::from(vec![7; 100_000]);
    let digest = crate::pushes::digest_of(Algorithm::Sha256, &bytes);
    drop(registry.blobs.put_bytes(digest, bytes, supercargo_blobs::Existing::Keep).await.unwrap());
    registry.in_doubt.store(true, Ordering::Release);
    assert!(!registry.remove_unmentioned(digest).await.unwrap());
    assert_eq!(registry.sweep().await.unwrap().files, 0);
    // The next command finds out.
    registry.ledger.submit(&caller(), create("r"), Payload::None).await.unwrap();
    assert!(!registry.in_doubt.load(Ordering::Acquire));
    assert!(registry.remove_unmentioned(digest).await.unwrap());
}

#[tokio::test]
async fn a_group_has_a_bound() {
    let folder = temp();
    let writer = WriterOptions { group_max: 2, ..WriterOptions::default() };
    let registry = Registry::open(Options { writer, ..Options::new(folder.path()) }).unwrap();
    let (held, first) = held_up(&registry).await;
    let mut waiting = vec![first];
    for key in ["a", "b", "c", "d"] {
        waiting.push(submit(&registry, create(key)).await);
    }
    held.abort().unwrap();
    for handle in waiting {
        handle.await.unwrap().unwrap();
    }
    let (groups, _) = registry.stats.group_commands.read();
    assert_eq!(groups.iter().map(|(_, count)| count).sum::<u64>(), 3);
}

#[tokio::test]
async fn a_full_queue_is_busy() {
    let folder = temp();
    let writer = WriterOptions { queue: 2, queue_wait: Duration::from_millis(20), group_max: 512 };
    let registry = Registry::open(Options { writer, ..Options::new(folder.path()) }).unwrap();
    let (held, first) = held_up(&registry).await;
    let waiting = [submit(&registry, create("a")).await, submit(&registry, create("b")).await];
    let busy = submit(&registry, create("c")).await.await.unwrap();
    assert!(
        matches!(busy, Err(Error::Busy { retry_after }) if retry_after >= Duration::from_secs(1)),
        "{busy:?}"
    );
    held.abort().unwrap();
    first.await.unwrap().unwrap();
    for handle in waiting {
        handle.await.unwrap().unwrap();
    }
    assert_eq!(records(&registry).len(), 3, "who was told to come again is not recorded");
}

#[tokio::test]
async fn what_is_queued_is_finished_at_the_end_and_nothing_after_it() {
    let folder = temp();
    let registry = Registry::open(Options::new(folder.path())).unwrap();
    let (held, first) = held_up(&registry).await;
    let queued = submit(&registry, create("a")).await;
    let closing = tokio::task::spawn_blocking({
        let registry = Arc::clone(&registry);
        move || registry.close()
    });
    until(|| !registry.ledger.at_work()).await;
    let late = registry.ledger.submit(&caller(), create("late"), Payload::None).await;
    assert!(matches!(late, Err(Error::Unavailable)), "{late:?}");
    held.abort().unwrap();
    closing.await.unwrap();
    first.await.unwrap().unwrap();
    queued.await.unwrap().unwrap();
    assert_eq!(records(&registry).len(), 2);
}

#[tokio::test]
async fn time_never_runs_backwards_in_the_log() {
    let folder = temp();
    let clock = Arc::new(ManualClock::default());
    let options = Options { clock: Arc::<ManualClock>::clone(&clock), ..Options::new(folder.path()) };
    let registry = Registry::open(options.clone()).unwrap();
    for (micros, key) in [(1000, "a"), (400, "b"), (1500, "c")] {
        clock.0.store(micros, Ordering::SeqCst);
        registry.ledger.submit(&caller(), create(key), Payload::None).await.unwrap();
    }
    registry.close();
    drop(registry);
    // Nor over a restart.
    clock.0.store(7, Ordering::SeqCst);
    let registry = Registry::open(options).unwrap();
    registry.ledger.submit(&caller(), create("d"), Payload::None).await.unwrap();
    let times: Vec<i64> = records(&registry).iter().map(|record| record.at.as_micros()).collect();
    assert_eq!(times, [1000, 1000, 1500, 1500]);
    let seqs: Vec<u64> = records(&registry).iter().map(|record| record.seq).collect();
    assert_eq!(seqs, [0, 1, 2, 3]);
}

async fn pushed(registry: &Registry, repository: &RepoKey, name: &RepoName) -> (Digest, Digest) {
    let config = Bytes::from_static(b"config");
    let digest = crate::pushes::digest_of(Algorithm::Sha256, &config);
    let id = registry.start_upload(&caller(), repository, name, Algorithm::Sha256).await.unwrap();
    let body = futures_util::stream::iter([Ok(config)]);
    registry.finish_upload(&caller(), repository, name, id, digest, None, body).await.unwrap();
    let manifest = Bytes::from(format!(r#"{{"config":{{"digest":"{digest}"}}}}"#));
    let reference = Reference::Tag("latest".parse().unwrap());
    let pushed = registry
        .push_manifest(
            &caller(),
            repository,
            name,
            ManifestPush::new(reference, media_type::OCI_MANIFEST, manifest),
        )
        .await
        .unwrap();
    (digest, pushed.digest)
}

/// A promise lasts by the log's time, not by a clock that was turned back: else what was promised would be
/// collected at once.
#[tokio::test]
async fn a_promise_survives_a_clock_that_is_turned_back() {
    let folder = temp();
    let clock = Arc::new(ManualClock::default());
    let gc = GcPolicy { lease: Duration::from_micros(100), ..GcPolicy::default() };
    let options = Options { gc, clock: Arc::<ManualClock>::clone(&clock), ..Options::new(folder.path()) };
    let registry = Registry::open(options).unwrap();
    let (repository, name) = ("r".parse().unwrap(), "a".parse().unwrap());
    clock.0.store(10_000, Ordering::SeqCst);
    registry.ledger.submit(&caller(), create("r"), Payload::None).await.unwrap();
    let (config, _) = pushed(&registry, &repository, &name).await;
    clock.0.store(1, Ordering::SeqCst);
    registry.check_blob(&caller(), &repository, &name, &config).unwrap();
    let latest = Reference::Tag("latest".parse().unwrap());
    registry.delete_manifest(&caller(), &repository, &name, &latest, &Condition::default()).await.unwrap();
    registry.collect(&caller(), None, |_| {}).await.unwrap();
    assert!(registry.check_blob(&caller(), &repository, &name, &config).is_ok());
    clock.0.store(10_100, Ordering::SeqCst);
    registry.collect(&caller(), None, |_| {}).await.unwrap();
    assert!(matches!(
        registry.check_blob(&caller(), &repository, &name, &config),
        Err(Error::BlobUnknown(_))
    ));
}

#[tokio::test]
async fn a_full_disk_takes_no_pushes_and_still_lets_go() {
    let folder = temp();
    let (repository, name): (RepoKey, RepoName) = ("r".parse().unwrap(), "a".parse().unwrap());
    let gc = GcPolicy { lease: Duration::ZERO, ..GcPolicy::default() };
    let options = Options { gc, ..Options::new(folder.path()) };
    let manifest = {
        let registry = Registry::open(options.clone()).unwrap();
        registry.ledger.submit(&caller(), create("r"), Payload::None).await.unwrap();
        let (_, manifest) = pushed(&registry, &repository, &name).await;
        registry.close();
        manifest
    };
    // More than any disk has free.
    let full = Options { log_reserve_bytes: u64::MAX, ..options };
    let registry = Registry::open(full).unwrap();
    assert!(matches!(registry.check_ready(), Err(Error::DiskFull)));
    let before = records(&registry).len();
    let refused = registry.ledger.submit(&caller(), create("s"), Payload::None).await;
    assert!(matches!(refused, Err(Error::DiskFull)), "{refused:?}");
    let bytes = registry.manifest(&repository, &name, &Reference::Digest(manifest)).unwrap().bytes.clone();
    let other = Reference::Tag("other".parse().unwrap());
    let refused = registry
        .push_manifest(
            &caller(),
            &repository,
            &name,
            ManifestPush::new(other, media_type::OCI_MANIFEST, bytes),
        )
        .await;
    assert!(matches!(refused, Err(Error::DiskFull)), "{refused:?}");
    assert_eq!(records(&registry).len(), before);

    let reference = Reference::Digest(manifest);
    registry.delete_manifest(&caller(), &repository, &name, &reference, &Condition::default()).await.unwrap();
    let mut freed = 0;
    registry.collect(&caller(), None, |step| freed += step.blobs.len()).await.unwrap();
    assert_eq!(freed, 2, "the manifest and its config");
    registry.prune(&caller()).await.unwrap();
    registry.close();
    assert!(registry.folder().verify(true, |_| std::ops::ControlFlow::Continue(())).unwrap().is_clean());
}

/// The store's own reserve is asked before anything is taken.
#[tokio::test]
async fn an_upload_to_a_full_disk_is_refused_before_it_begins() {
    let folder = temp();
    let store = StoreOptions { reserve_bytes: u64::MAX, ..StoreOptions::default() };
    let registry = Registry::open(Options { store, ..Options::new(folder.path()) }).unwrap();
    registry.ledger.submit(&caller(), create("r"), Payload::None).await.unwrap();
    let refused = registry
        .start_upload(&caller(), &"r".parse().unwrap(), &"a".parse().unwrap(), Algorithm::Sha256)
        .await;
    assert!(matches!(refused, Err(Error::DiskFull)), "{refused:?}");
}
