//! Replaying: the tables from the log, in place or, up to a record or a moment, into another folder; and
//! the log itself from an export.

use std::io::BufRead;
use std::ops::ControlFlow;
use std::path::Path;

use serde::{Deserialize, Serialize};
use supercargo_blobs::StoreOptions;
use supercargo_eventlog::{Log, LogError, Record};
use supercargo_model::{Timestamp, limits};
use supercargo_projections::tables::{Blobs, prefix};
use supercargo_projections::{RebuildError, RebuildProgress, Rebuilder, Snapshot, prefix_end};

use crate::folder::{DATABASE_FILE, DataFolder, OpenError};
use crate::{Error, small};

/// Records that are copied in one commit.
const BATCH_RECORDS: usize = 10_000;

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
    /// Blobs of the tables whose bytes are there.
    pub blobs: u64,
    /// Blobs of the tables whose bytes were collected since.
    pub blobs_missing: u64,
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
    /// The other folder holds a registry already.
    #[error("there is a registry in {0} already: replay into an empty folder")]
    NotEmpty(String),
    /// Copying failed.
    #[error("{0}")]
    Copy(String),
}

/// Why an export can't be imported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The log is not empty.
    #[error("the log holds {0} records: import into an empty data folder")]
    NotEmpty(u64),
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
    /// The log can't be written.
    #[error(transparent)]
    Log(#[from] LogError),
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
        mut watch: impl FnMut(RebuildProgress) -> ControlFlow<()>,
    ) -> Result<Replayed, ReplayError> {
        let done = Rebuilder::new(&self.db, &self.log).run(|progress| {
            crate::crash_point("rebuild.batch");
            watch(progress)
        })?;
        Ok(Replayed { records: done.folded, blobs: 0, blobs_missing: 0 })
    }

    /// Makes another data folder as this one was: its log up to a point, the tables of that, and the bytes
    /// that are still there, linked where the file system can and copied where it can't. Blocks.
    ///
    /// # Errors
    /// [`ReplayError`], as its variants say. The other folder is of no use then.
    pub fn replay_into(
        &self,
        target: &Path,
        until: Option<Until>,
        store: StoreOptions,
        mut watch: impl FnMut(RebuildProgress) -> ControlFlow<()>,
    ) -> Result<Replayed, ReplayError> {
        if target.join(DATABASE_FILE).exists() {
            return Err(ReplayError::NotEmpty(target.display().to_string()));
        }
        let other = DataFolder::open(target, true, 16 << 20, store)?;
        let source = Snapshot::open(&self.db).map_err(copying)?;
        let size = self.log.size_in(source.transaction()).map_err(copying)?;
        let mut copied = 0;
        let mut batch = Vec::with_capacity(BATCH_RECORDS);
        for record in self.log.read_in(source.transaction(), 0..size).map_err(copying)? {
            let record = record.map_err(copying)?;
            let past = match until {
                Some(Until::Seq(seq)) => record.seq > seq,
                Some(Until::Time(at)) => record.at > at,
                None => false,
            };
            if past {
                break;
            }
            batch.push(record);
            if batch.len() == BATCH_RECORDS {
                append(&other, &mut copied, &mut batch)?;
            }
        }
        append(&other, &mut copied, &mut batch)?;
        let done = Rebuilder::new(&other.db, &other.log).run(&mut watch)?;
        let (blobs, blobs_missing) = self.copy_blobs(&source, &other)?;
        Ok(Replayed { records: done.folded, blobs, blobs_missing })
    }

    /// Gives another folder the bytes that its tables mention.
    fn copy_blobs(&self, source: &Snapshot, other: &DataFolder) -> Result<(u64, u64), ReplayError> {
        let tables = Snapshot::open(&other.db).map_err(copying)?;
        let mut wanted = Vec::new();
        tables
            .visit::<Blobs>(&prefix::blobs(), &prefix_end(&prefix::blobs()), |digest, row| {
                wanted.push((digest, row.size));
                true
            })
            .map_err(copying)?;
        let (mut there, mut missing) = (0, 0);
        for chunk in wanted.chunks(BATCH_RECORDS) {
            let txn = other.db.begin_write().map_err(copying)?;
            for (digest, size) in chunk {
                let bytes = match *size <= limits::INLINE_BLOB_BYTES_MAX {
                    true => small::get(source.transaction(), digest).map_err(copying)?,
                    false => None,
                };
                let found = match bytes {
                    Some(bytes) => {
                        small::write(&txn, &[(*digest, bytes)], &[]).map_err(copying)?;
                        true
                    }
                    None => self.blobs.copy_to(&other.blobs, digest).map_err(copying)?,
                };
                if found { there += 1 } else { missing += 1 }
            }
            txn.commit().map_err(copying)?;
        }
        Ok((there, missing))
    }

    /// Fills an empty log from an export, one record a line, and folds it. Blobs are not part of an export.
    /// Blocks.
    ///
    /// # Errors
    /// [`ImportError`], as its variants say. What was imported before the line that is wrong stays.
    pub fn import(
        &self,
        lines: impl BufRead,
        watch: impl FnMut(RebuildProgress) -> ControlFlow<()>,
    ) -> Result<u64, ImportError> {
        let present = self.log.size()?;
        if present > 0 {
            return Err(ImportError::NotEmpty(present));
        }
        let mut size = 0;
        let mut last_at = Timestamp::from_micros(i64::MIN);
        let mut batch = Vec::with_capacity(BATCH_RECORDS);
        for (line, text) in (1..).zip(lines.lines()) {
            let text = text?;
            let wrong = |message: String| ImportError::Line { line, message };
            let record: Record = serde_json::from_str(&text).map_err(|e| wrong(e.to_string()))?;
            let expected = size + batch.len() as u64;
            if record.seq != expected {
                return Err(wrong(format!("record {} where {expected} should follow", record.seq)));
            }
            if record.at < last_at {
                return Err(wrong(format!("record {} is earlier than the one before", record.seq)));
            }
            last_at = record.at;
            batch.push(record);
            if batch.len() == BATCH_RECORDS {
                self.log.append(size, &batch)?;
                size += batch.len() as u64;
                batch.clear();
            }
        }
        if !batch.is_empty() {
            self.log.append(size, &batch)?;
            size += batch.len() as u64;
        }
        Rebuilder::new(&self.db, &self.log).run(watch)?;
        Ok(size)
    }
}

fn append(other: &DataFolder, copied: &mut u64, batch: &mut Vec<Record>) -> Result<(), ReplayError> {
    if !batch.is_empty() {
        other.log.append(*copied, batch).map_err(copying)?;
        *copied += batch.len() as u64;
        batch.clear();
    }
    Ok(())
}

fn copying(error: impl std::fmt::Display) -> ReplayError {
    ReplayError::Copy(Error::internal(error).to_string())
}
