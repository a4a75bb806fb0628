//! The log on redb: appending, reading, following, reopening.
#![expect(clippy::unwrap_used, reason = "these are tests, helpers included")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use redb::TableDefinition;
use supercargo_eventlog::{Actor, Api, Db, DbError, Event, Log, LogError, Origin, Record, RedbLog, codec};
use supercargo_model::Timestamp;
use uuid::Uuid;

const RAW: TableDefinition<'static, u64, &'static [u8]> = TableDefinition::new("log");

fn open(folder: &Path) -> (Arc<Db>, RedbLog) {
    let db = Arc::new(Db::open(&folder.join("log.redb"), 1 << 20).unwrap());
    let log = RedbLog::new(Arc::clone(&db)).unwrap();
    (db, log)
}

fn record(seq: u64) -> Record {
    Record {
        seq,
        at: Timestamp::from_micros(seq.cast_signed()),
        id: Uuid::from_u128(u128::from(seq)),
        actor: Actor::System,
        origin: Origin::local(Api::Worker),
        event: Event::RepositoryRemoved { repository: format!("r{seq}").parse().unwrap() },
    }
}

fn records(seqs: std::ops::Range<u64>) -> Vec<Record> {
    seqs.map(record).collect()
}

fn read(log: &RedbLog, range: std::ops::Range<u64>) -> Vec<Record> {
    log.read(range).unwrap().collect::<Result<_, _>>().unwrap()
}

#[test]
fn what_is_appended_is_read_and_outlives_the_handle() {
    let folder = tempfile::tempdir().unwrap();
    {
        let (_, log) = open(folder.path());
        assert_eq!((log.size().unwrap(), log.last().unwrap()), (0, None));
        assert_eq!(read(&log, 0..10), []);
        log.append(0, &records(0..3)).unwrap();
        log.append(3, &records(3..5)).unwrap();
        log.append(5, &[]).unwrap();
    }
    let (_, log) = open(folder.path());
    assert_eq!(log.size().unwrap(), 5);
    assert_eq!(log.last().unwrap(), Some(record(4)));
    assert_eq!(read(&log, 0..u64::MAX), records(0..5));
    assert_eq!(read(&log, 1..3), records(1..3));
    assert_eq!(read(&log, 4..9), records(4..5));
    for empty in [5..9, 2..2] {
        assert_eq!(read(&log, empty), []);
    }
}

#[test]
fn an_append_at_another_place_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (_, log) = open(folder.path());
    log.append(0, &records(0..2)).unwrap();
    for expected in [0, 1, 3] {
        let refused = log.append(expected, &records(expected..expected + 1));
        assert!(
            matches!(refused, Err(LogError::Conflict { expected: e, actual: 2 }) if e == expected),
            "{refused:?}"
        );
    }
    assert_eq!(read(&log, 0..9), records(0..2));
    log.append(2, &records(2..3)).unwrap();
}

#[test]
fn a_batch_is_appended_whole_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let (db, log) = open(folder.path());
    log.append(0, &records(0..1)).unwrap();
    for broken in [vec![record(1), record(3)], vec![record(1), record(1)], vec![record(0)]] {
        assert!(matches!(log.append(1, &broken), Err(LogError::Conflict { .. })));
        assert_eq!(log.size().unwrap(), 1);
    }
    // Nor is it there if who commits does not.
    let txn = db.begin_write().unwrap();
    assert_eq!(log.append_in(&txn, 1, &records(1..4)).unwrap(), 4);
    txn.abort().unwrap();
    assert_eq!(log.size().unwrap(), 1);
}

#[test]
fn readers_see_one_commit() {
    let folder = tempfile::tempdir().unwrap();
    let (db, log) = open(folder.path());
    log.append(0, &records(0..2)).unwrap();
    let txn = db.begin_read().unwrap();
    let begun = log.read(0..9).unwrap();
    log.append(2, &records(2..4)).unwrap();
    assert_eq!(begun.collect::<Result<Vec<_>, _>>().unwrap(), records(0..2));
    assert_eq!(log.size_in(&txn).unwrap(), 2);
    let then: Vec<_> = log.read_in(&txn, 1..9).unwrap().collect::<Result<_, _>>().unwrap();
    assert_eq!(then, records(1..2));
    assert_eq!(log.size().unwrap(), 4);
}

#[test]
fn holes_and_damage_are_named_by_their_seq() {
    let folder = tempfile::tempdir().unwrap();
    let (db, log) = open(folder.path());
    let txn = db.begin_write().unwrap();
    {
        let mut raw = txn.open_table(RAW).unwrap();
        for seq in [0, 1, 3] {
            raw.insert(seq, codec::encode(&record(seq)).unwrap().as_slice()).unwrap();
        }
        raw.insert(4, [0xff, 1, 2].as_slice()).unwrap();
    }
    txn.commit().unwrap();
    let mut from_begin = log.read(0..9).unwrap();
    assert_eq!(from_begin.next().unwrap().unwrap(), record(0));
    assert_eq!(from_begin.next().unwrap().unwrap(), record(1));
    assert!(matches!(from_begin.next(), Some(Err(LogError::Hole(2)))));
    assert!(matches!(log.read(2..9).unwrap().next(), Some(Err(LogError::Hole(2)))));
    assert!(matches!(log.read(4..9).unwrap().next(), Some(Err(LogError::Codec { seq: 4, .. }))));
    assert!(matches!(log.last(), Err(LogError::Codec { seq: 4, .. })));
}

#[tokio::test]
async fn a_follower_reads_from_the_middle_and_then_waits() {
    let folder = tempfile::tempdir().unwrap();
    let (_, log) = open(folder.path());
    log.append(0, &records(0..5)).unwrap();
    let mut follower = log.follow(3);
    assert_eq!(follower.position(), 3);
    assert_eq!(follower.next_batch().await.unwrap(), records(3..5));
    assert_eq!(follower.position(), 5);
    // Ahead of the log: nothing until the log is past it.
    let mut ahead = log.follow(7);
    let nothing = tokio::time::timeout(Duration::from_millis(20), ahead.next_batch()).await;
    assert!(nothing.is_err(), "{nothing:?}");
    log.append(5, &records(5..7)).unwrap();
    assert_eq!(follower.next_batch().await.unwrap(), records(5..7));
    let nothing = tokio::time::timeout(Duration::from_millis(20), ahead.next_batch()).await;
    assert!(nothing.is_err(), "{nothing:?}");
    log.append(7, &records(7..8)).unwrap();
    assert_eq!(ahead.next_batch().await.unwrap(), records(7..8));
}

#[tokio::test(flavor = "multi_thread")]
async fn followers_get_every_record_once_and_in_order_while_others_append() {
    const SIZE: u64 = 600;
    let folder = tempfile::tempdir().unwrap();
    let (_, log) = open(folder.path());
    let followers: Vec<_> = [0, 0, 250]
        .into_iter()
        .map(|from| {
            let mut follower = log.follow(from);
            tokio::spawn(async move {
                let mut seen = Vec::new();
                while follower.position() < SIZE {
                    let batch = follower.next_batch().await.unwrap();
                    assert!(!batch.is_empty());
                    seen.extend(batch);
                }
                assert_eq!(seen, records(from..SIZE));
            })
        })
        .collect();
    // Two appenders who do not know of each other: each looks where the log is, and tries again.
    let appenders: Vec<_> = [1, 7]
        .into_iter()
        .map(|length| {
            let log = log.clone();
            tokio::task::spawn_blocking(move || {
                loop {
                    let size = log.size().unwrap();
                    if size == SIZE {
                        return;
                    }
                    match log.append(size, &records(size..(size + length).min(SIZE))) {
                        Ok(()) | Err(LogError::Conflict { .. }) => {}
                        Err(e) => panic!("{e}"),
                    }
                }
            })
        })
        .collect();
    let all = async {
        for task in appenders.into_iter().chain(followers) {
            task.await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(60), all).await.expect("a follower waits for ever");
    assert_eq!(read(&log, 0..u64::MAX), records(0..SIZE));
}

#[tokio::test]
async fn a_follower_that_does_not_read_costs_the_writer_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (_, log) = open(folder.path());
    let mut follower = log.follow(0);
    let (writer, appended) = (log.clone(), 1000);
    let appending = tokio::task::spawn_blocking(move || {
        for first in (0..appended).step_by(20) {
            writer.append(first, &records(first..first + 20)).unwrap();
        }
    });
    // The follower exists, has seen nothing, and reads nothing until the writer is done.
    tokio::time::timeout(Duration::from_secs(60), appending).await.expect("the writer waits").unwrap();
    let mut seen = Vec::new();
    while seen.len() < 1000 {
        let batch = follower.next_batch().await.unwrap();
        assert!(batch.len() <= 256, "a batch of {} is not bounded", batch.len());
        seen.extend(batch);
    }
    assert_eq!(seen, records(0..1000));
}

#[tokio::test]
async fn a_batch_that_nobody_took_is_given_again() {
    let folder = tempfile::tempdir().unwrap();
    let (_, log) = open(folder.path());
    log.append(0, &records(0..3)).unwrap();
    let mut follower = log.follow(0);
    {
        // Polled once, so that the read is under way, and dropped.
        let mut dropped = std::pin::pin!(follower.next_batch());
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        let _ = dropped.as_mut().poll(&mut context);
    }
    assert_eq!(follower.next_batch().await.unwrap(), records(0..3));
}

#[test]
fn one_handle_at_a_time_has_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let (db, _log) = open(folder.path());
    let second = Db::open(&folder.path().join("log.redb"), 1 << 20);
    assert!(matches!(second, Err(DbError::Held(_))), "{second:?}");
    drop((db, _log));
    assert!(Db::open(&folder.path().join("log.redb"), 1 << 20).is_ok());
}

#[test]
fn a_reopened_file_is_at_its_last_commit() {
    let folder = tempfile::tempdir().unwrap();
    let (db, log) = open(folder.path());
    log.append(0, &records(0..2)).unwrap();
    db.reopen().unwrap();
    assert_eq!(read(&log, 0..9), records(0..2));
    log.append(2, &records(2..3)).unwrap();
    db.reopen().unwrap();
    assert_eq!(read(&log, 0..9), records(0..3));
}

#[test]
fn a_file_is_reopened_under_its_readers() {
    let folder = tempfile::tempdir().unwrap();
    let (db, log) = open(folder.path());
    log.append(0, &records(0..2)).unwrap();
    let reader = db.begin_read().unwrap();
    db.reopen().unwrap();
    log.append(2, &records(2..4)).unwrap();
    assert_eq!(read(&log, 0..9), records(0..4));
    // The reader of the old handle has what it had or an error, and never what came after.
    if let Ok(then) = log.read_in(&reader, 0..9) {
        let seen: Vec<_> = then.map_while(Result::ok).collect();
        assert!(records(0..2).starts_with(&seen), "{seen:?}");
    }
}
