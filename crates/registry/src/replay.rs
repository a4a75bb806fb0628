//! Replaying: the tables from the log, in place or, up to a record or a moment, into another folder; and
//! the log itself from an export.

use std::io::BufRead;
use std::ops::ControlFlow;
use std::path::Path;

use serde::{Deserialize, Serialize};
use supercargo_blobs::StoreOptions;
use supercargo_eventlog::{Log, LogError, Record, RedbLog};
use supercargo_model::{Timestamp, limits};
use supercargo_projections::tables::{Blobs, prefix};
use supercargo_projections::{RebuildError, RebuildProgress, Rebuilder, Snapshot, prefix_end};

use crate::folder::{DataFolder, OpenError};
use crate::reads::blobs_after;
use crate::{Error, small};

/// Records that are copied in one commit.
const BATCH_RECORDS: usize = 10_000;
/// Blobs that are copied in one commit. The small ones wait in memory for it: 64 MiB at most.
const BATCH_BLOBS: usize = 1000;

/// Up to where a log is replayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// Up to and with the record of this seq.
    Seq(u64),
    /// Up to and with the last record at or before this moment.
    Time(Timestamp),
}

/// What a replay did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replayed {
    /// Records folded.
    pub records: u64,
    /// Blobs of the tables whose bytes were given to the other folder; none where there is no other.
    pub blobs: u64,
    /// Blobs of the tables whose bytes were collected since.
    pub blobs_missing: u64,
}

/// How far a replay or an import has come.
#[derive(Debug, Clone, Copy)]
pub struct ReplayProgress {
    /// What it is doing.
    pub step: ReplayStep,
    /// How much of it is done: records, or blobs.
    pub done: u64,
    /// How much there is, where that is known.
    pub of: Option<u64>,
}

/// The steps of a replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplayStep {
    /// Putting records into a log.
    Records,
    /// Folding them.
    Folding,
    /// Putting bytes into the other folder.
    Blobs,
}

impl From<RebuildProgress> for ReplayProgress {
    fn from(progress: RebuildProgress) -> ReplayProgress {
        ReplayProgress { step: ReplayStep::Folding, done: progress.folded, of: Some(progress.of) }
    }
}

/// Why a log was not filled with records.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FillError {
    /// The log holds records already, and not the same.
    #[error("the data folder holds other records than these, from record {0} on: use an empty one")]
    Differs(u64),
    /// It was interrupted; the next one goes on from there.
    #[error("interrupted at record {0}: running it again goes on there")]
    Interrupted(u64),
    /// The log can't be read or written.
    #[error(transparent)]
    Log(#[from] LogError),
}

/// Why a replay did not come to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// The tables could not be rebuilt.
    #[error(transparent)]
    Rebuild(#[from] RebuildError),
    /// The other folder can't be used.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The other folder's log could not be filled.
    #[error(transparent)]
    Fill(#[from] FillError),
    /// It was interrupted with the log and the tables made; the next one goes on with the bytes.
    #[error("interrupted after {0} blobs: running it again does the rest")]
    Interrupted(u64),
    /// Copying failed.
    #[error("{0}")]
    Copy(String),
}

/// Why an export can't be imported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// A line is not a record, or not the one that should follow.
    #[error("line {line}: {message}")]
    Line {
        /// The line, from 1.
        line: u64,
        /// What is wrong with it.
        message: String,
    },
    /// The export can't be read.
    #[error("reading the export: {0}")]
    Read(#[from] std::io::Error),
    /// The log could not be filled.
    #[error(transparent)]
    Fill(#[from] FillError),
    /// The tables could not be rebuilt.
    #[error(transparent)]
    Rebuild(#[from] RebuildError),
}

impl DataFolder {
    /// Rebuilds the tables from the log. Interrupted, it leaves the old ones in use and goes on where it
    /// stopped when it is called again. Blocks.
    ///
    /// # Errors
    /// [`ReplayError::Rebuild`].
    pub fn replay(
        &self,
        mut watch: impl FnMut(ReplayProgress) -> ControlFlow<()>,
    ) -> Result<Replayed, ReplayError> {
        let done = Rebuilder::new(&self.db, &self.log).run(|progress| {
            crate::crash_point("rebuild.batch");
            watch(progress.into())
        })?;
        Ok(Replayed { records: done.folded, blobs: 0, blobs_missing: 0 })
    }

    /// Makes another data folder as this one was: its log up to a point, the tables of that, and the bytes
    /// that are still there, linked where the file system can and copied where it can't. A folder that holds
    /// the first of those records is taken to be an interrupted replay, which goes on. Blocks.
    ///
    /// # Errors
    /// [`ReplayError`], as its variants say.
    pub fn replay_into(
        &self,
        target: &Path,
        until: Option<Until>,
        store: StoreOptions,
        mut watch: impl FnMut(ReplayProgress) -> ControlFlow<()>,
    ) -> Result<Replayed, ReplayError> {
        let other = DataFolder::open(target, true, 16 << 20, store)?;
        let source = Snapshot::open(&self.db).map_err(copying)?;
        let size = self.log.size_in(source.transaction()).map_err(copying)?;
        let records = self
            .log
            .read_in(source.transaction(), 0..size)
            .map_err(copying)?
            .map(|record| record.map_err(copying))
            .take_while(|record| match (record, until) {
                (Ok(record), Some(Until::Seq(seq))) => record.seq <= seq,
                (Ok(record), Some(Until::Time(at))) => record.at <= at,
                _ => true,
            });
        fill(&other.log, records, |done| {
            watch(ReplayProgress { step: ReplayStep::Records, done, of: Some(size) })
        })?;
        let done = Rebuilder::new(&other.db, &other.log).run(|progress| watch(progress.into()))?;
        let (blobs, blobs_missing) = self.copy_blobs(&source, &other, &mut watch)?;
        Ok(Replayed { records: done.folded, blobs, blobs_missing })
    }

    /// Gives another folder the bytes that its tables mention.
    fn copy_blobs(
        &self,
        source: &Snapshot,
        other: &DataFolder,
        watch: &mut impl FnMut(ReplayProgress) -> ControlFlow<()>,
    ) -> Result<(u64, u64), ReplayError> {
        let tables = Snapshot::open(&other.db).map_err(copying)?;
        let mut of = 0;
        let count = |_, _| {
            of += 1;
            true
        };
        let blobs = prefix::blobs();
        tables.visit::<Blobs>(&blobs, &prefix_end(&blobs), count).map_err(copying)?;
        let (mut there, mut missing) = (0, 0);
        let mut after = None;
        loop {
            let chunk = blobs_after(&tables, after.as_ref(), BATCH_BLOBS).map_err(copying)?;
            let Some((last, _)) = chunk.last() else { return Ok((there, missing)) };
            after = Some(*last);
            let txn = other.db.begin_write().map_err(copying)?;
            for (digest, row) in chunk {
                let bytes = match row.size <= limits::INLINE_BLOB_BYTES_MAX {
                    true => small::get(source.transaction(), &digest).map_err(copying)?,
                    false => None,
                };
                let found = match bytes {
                    Some(bytes) => {
                        small::write(&txn, &[(digest, bytes)], &[]).map_err(copying)?;
                        true
                    }
                    None => self.blobs.copy_to(&other.blobs, &digest).map_err(copying)?,
                };
                if found {
                    there += 1;
                } else {
                    missing += 1;
                }
                let progress =
                    ReplayProgress { step: ReplayStep::Blobs, done: there + missing, of: Some(of) };
                if watch(progress).is_break() {
                    return Err(ReplayError::Interrupted(there + missing));
                }
            }
            txn.commit().map_err(copying)?;
        }
    }

    /// Fills a log from an export, one record a line, and folds it. A log that holds the first of those
    /// records is taken to be an interrupted import, which goes on. Blobs are not part of an export. Blocks.
    ///
    /// # Errors
    /// [`ImportError`], as its variants say. What was imported before the line that is wrong stays.
    pub fn import(
        &self,
        lines: impl BufRead,
        mut watch: impl FnMut(ReplayProgress) -> ControlFlow<()>,
    ) -> Result<u64, ImportError> {
        let mut last_at = Timestamp::from_micros(i64::MIN);
        let records = (0..).zip(lines.lines()).map(|(expected, text)| {
            let text = text?;
            let wrong = |message: String| ImportError::Line { line: expected + 1, message };
            let record: Record = serde_json::from_str(&text).map_err(|e| wrong(e.to_string()))?;
            if record.seq != expected {
                return Err(wrong(format!("record {} where {expected} should follow", record.seq)));
            }
            if record.at < last_at {
                return Err(wrong(format!("record {} is earlier than the one before", record.seq)));
            }
            last_at = record.at;
            Ok(record)
        });
        let size = fill(&self.log, records, |done| {
            watch(ReplayProgress { step: ReplayStep::Records, done, of: None })
        })?;
        Rebuilder::new(&self.db, &self.log).run(|progress| watch(progress.into()))?;
        Ok(size)
    }
}

/// Gives a log these records, of which it may hold the first already: what was broken off goes on. Answers with
/// how many there are. `watch` is told how far it has come, and may break it off.
fn fill<E: From<FillError>>(
    log: &RedbLog,
    records: impl Iterator<Item = Result<Record, E>>,
    mut watch: impl FnMut(u64) -> ControlFlow<()>,
) -> Result<u64, E> {
    let mut present = Some(log.read(0..u64::MAX).map_err(FillError::from)?);
    let mut size = 0;
    let mut batch = Vec::with_capacity(BATCH_RECORDS);
    for record in records {
        let record = record?;
        match present.as_mut().and_then(Iterator::next) {
            Some(known) if known.as_ref().is_ok_and(|known| *known != record) => {
                return Err(FillError::Differs(record.seq).into());
            }
            Some(known) => {
                known.map_err(FillError::from)?;
                size += 1;
            }
            None => {
                // The snapshot that it reads from would keep pages from being used again.
                present = None;
                batch.push(record);
            }
        }
        if batch.len() == BATCH_RECORDS {
            append(log, &mut size, &mut batch)?;
        }
        let done = size + batch.len() as u64;
        if done.is_multiple_of(BATCH_RECORDS as u64) && watch(done).is_break() {
            append(log, &mut size, &mut batch)?;
            return Err(FillError::Interrupted(size).into());
        }
    }
    if present.is_some_and(|mut present| present.next().is_some()) {
        return Err(FillError::Differs(size).into());
    }
    append(log, &mut size, &mut batch)?;
    Ok(size)
}

fn append(log: &RedbLog, size: &mut u64, batch: &mut Vec<Record>) -> Result<(), FillError> {
    if !batch.is_empty() {
        log.append(*size, batch)?;
        *size += batch.len() as u64;
        batch.clear();
    }
    Ok(())
}

fn copying(error: impl std::fmt::Display) -> ReplayError {
    ReplayError::Copy(Error::internal(error).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Options, Registry};

    fn go_on(_: ReplayProgress) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn open(path: &Path) -> DataFolder {
        DataFolder::open(path, true, 1 << 20, StoreOptions::default()).unwrap()
    }

    fn records(folder: &DataFolder) -> Vec<Record> {
        folder.log.read(0..u64::MAX).unwrap().collect::<Result<_, _>>().unwrap()
    }

    /// A log with so many records, of repositories that are created.
    async fn filled(path: &Path, count: usize) -> Vec<Record> {
        let registry = Registry::open(Options::new(path)).unwrap();
        let caller = crate::Caller::system(supercargo_eventlog::Api::Cli);
        for number in 0..count {
            let key = format!("r{number}").parse().unwrap();
            registry.create_repository(&caller, &key, Default::default()).await.unwrap();
        }
        registry.close();
        records(registry.folder())
    }

    fn lines(records: &[Record]) -> Vec<u8> {
        records
            .iter()
            .flat_map(|record| serde_json::to_vec(record).unwrap().into_iter().chain([b'\n']))
            .collect()
    }

    #[tokio::test]
    async fn an_import_goes_on_where_another_stopped_and_nowhere_else() {
        let root = tempfile::tempdir().unwrap();
        let all = filled(&root.path().join("a"), 5).await;
        let copy = open(&root.path().join("b"));
        assert_eq!(copy.import(&lines(&all[..3])[..], go_on).unwrap(), 3);
        assert_eq!(copy.import(&lines(&all)[..], go_on).unwrap(), 5);
        assert_eq!(records(&copy), all);
        assert!(copy.verify(false, |_| ControlFlow::Continue(())).unwrap().is_clean());

        // Fewer records than there are, and others than there are.
        let fewer = copy.import(&lines(&all[..4])[..], go_on);
        assert!(matches!(fewer, Err(ImportError::Fill(FillError::Differs(4)))), "{fewer:?}");
        let mut others = all.clone();
        others[1].actor = supercargo_eventlog::Actor::Anonymous;
        let others = copy.import(&lines(&others)[..], go_on);
        assert!(matches!(others, Err(ImportError::Fill(FillError::Differs(1)))), "{others:?}");
        assert_eq!(records(&copy), all);
    }

    #[tokio::test]
    async fn lines_that_are_not_the_next_record_are_named() {
        let root = tempfile::tempdir().unwrap();
        let all = filled(&root.path().join("a"), 3).await;
        let copy = open(&root.path().join("b"));
        let mut early = all.clone();
        early[2].at = Timestamp::from_micros(1);
        for (export, line) in [
            (lines(&all[1..]), 1),
            (lines(&[all[0].clone(), all[2].clone()]), 2),
            (lines(&early), 3),
            (b"{}\n".to_vec(), 1),
            (b"\n".to_vec(), 1),
        ] {
            let refused = copy.import(&export[..], go_on);
            assert!(matches!(refused, Err(ImportError::Line { line: at, .. }) if at == line), "{refused:?}");
        }
    }

    #[tokio::test]
    async fn a_replay_into_another_folder_is_the_past_and_goes_on() {
        let root = tempfile::tempdir().unwrap();
        let all = filled(&root.path().join("a"), 4).await;
        let here = open(&root.path().join("a"));
        let then = root.path().join("then");
        let store = StoreOptions::default;
        for (until, count) in [(Some(Until::Seq(1)), 2), (Some(Until::Time(all[2].at)), 3), (None, 4)] {
            let replayed = here.replay_into(&then, until, store(), go_on).unwrap();
            assert_eq!(replayed.records, count);
            let folder = open(&then);
            assert_eq!(records(&folder), all[..usize::try_from(count).unwrap()]);
            assert!(folder.verify(false, |_| ControlFlow::Continue(())).unwrap().is_clean());
        }
        let less = here.replay_into(&then, Some(Until::Seq(1)), store(), go_on);
        assert!(matches!(less, Err(ReplayError::Fill(FillError::Differs(2)))), "{less:?}");
    }
}
