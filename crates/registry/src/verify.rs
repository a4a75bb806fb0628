//! Verifying: the log has no holes and decodes, every table equals its fold, every blob that a record
//! mentions is there. Reads only; also beside a server at work, by one snapshot.

use std::ops::ControlFlow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use supercargo_blobs::{BlobStore, StoreError};
use supercargo_eventlog::event::Rot;
use supercargo_eventlog::{Db, LogError};
use supercargo_model::{Digest, limits};
use supercargo_projections::tables::{BlobRow, Blobs, prefix};
use supercargo_projections::{
    Fingerprints, Sieve, Snapshot, compare, fingerprints, fold, open_batch, prefix_end, write_batch,
};

use crate::folder::DataFolder;
use crate::pushes::digest_of;
use crate::{Error, Result, small};

/// What the fold of a verification holds in memory before it is written down. Writing it takes as much again.
const FOLD_BYTES: usize = 32 << 20;
/// How many differences of the tables are named.
const DIFFERENCES_MAX: usize = 100;

/// What a verification found.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct VerifyReport {
    /// Whether blobs were read and hashed.
    pub deep: bool,
    /// Records read.
    pub records: u64,
    /// Blobs looked for.
    pub blobs: u64,
    /// Bytes that those blobs have by their records.
    pub bytes: u64,
    /// A fingerprint per table.
    pub fingerprints: std::collections::BTreeMap<String, String>,
    /// What is wrong.
    pub problems: Vec<Problem>,
}

impl VerifyReport {
    /// Whether nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.problems.is_empty()
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// What it is about: `log`, a table's name, or `blob`.
    pub subject: String,
    /// What is wrong, for a person.
    pub message: String,
}

/// How far a verification has come.
#[derive(Debug, Clone, Copy)]
pub struct VerifyProgress {
    /// What it is doing.
    pub step: VerifyStep,
    /// How much of it is done: records, or bytes.
    pub done: u64,
    /// How much there is.
    pub of: u64,
}

/// The steps of a verification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VerifyStep {
    /// Reading and folding the log.
    Folding,
    /// Looking at the blobs.
    Blobs,
}

impl DataFolder {
    /// Verifies the folder at its last commit. `watch` is told of progress and may break it off. Blocks.
    ///
    /// # Errors
    /// [`Error::Unavailable`] where it was broken off; [`Error::Internal`] where it could not be done.
    pub fn verify(
        &self,
        deep: bool,
        mut watch: impl FnMut(VerifyProgress) -> ControlFlow<()>,
    ) -> Result<VerifyReport> {
        let snapshot = Snapshot::open(&self.db).map_err(Error::internal)?;
        let mut report = VerifyReport { deep, ..VerifyReport::default() };
        let present: Fingerprints = fingerprints(snapshot.stored()).map_err(Error::internal)?;
        report.fingerprints =
            present.iter().map(|(name, print)| ((*name).to_owned(), print.clone())).collect();
        self.verify_tables(&snapshot, &mut report, &mut watch)?;
        self.verify_blobs(&snapshot, deep, &mut report, &mut watch)?;
        Ok(report)
    }

    /// Folds the log into tables of its own and compares.
    fn verify_tables(
        &self,
        snapshot: &Snapshot,
        report: &mut VerifyReport,
        watch: &mut impl FnMut(VerifyProgress) -> ControlFlow<()>,
    ) -> Result<()> {
        let of = self.log.size_in(snapshot.transaction()).map_err(Error::internal)?;
        let scratch = scratch(self)?;
        let mut records = self.log.read_in(snapshot.transaction(), 0..of).map_err(Error::internal)?;
        let mut last_at = None;
        let mut sieve = Sieve::default();
        let mut ended = false;
        while !ended {
            let mut txn = scratch.begin_write().map_err(Error::internal)?;
            txn.set_durability(redb::Durability::None).map_err(Error::internal)?;
            {
                let mut batch = open_batch(&txn, 1, sieve).map_err(Error::internal)?;
                while batch.bytes_held() < FOLD_BYTES {
                    let record = match records.next() {
                        None => {
                            ended = true;
                            break;
                        }
                        Some(Ok(record)) => record,
                        Some(Err(LogError::Storage(e))) => return Err(Error::internal(e)),
                        Some(Err(e)) => {
                            // What follows can't be folded on top of what is missing.
                            report.problem("log", e.to_string());
                            return Ok(());
                        }
                    };
                    if record.seq != report.records {
                        report.problem(
                            "log",
                            format!("record {} says that it is {}", report.records, record.seq),
                        );
                    }
                    if last_at.is_some_and(|last| record.at < last) {
                        report
                            .problem("log", format!("record {} is earlier than the one before", record.seq));
                    }
                    last_at = Some(record.at);
                    fold(&mut batch, &record);
                    report.records += 1;
                    if report.records.is_multiple_of(50_000)
                        && watch(VerifyProgress { step: VerifyStep::Folding, done: report.records, of })
                            .is_break()
                    {
                        return Err(Error::Unavailable);
                    }
                }
                sieve = write_batch(&txn, 1, batch).map_err(Error::internal)?;
            }
            txn.commit().map_err(Error::internal)?;
        }
        if report.records != of {
            report.problem("log", format!("it ends after {} of {of} records", report.records));
        }
        let folded = Snapshot::open(&scratch).map_err(Error::internal)?;
        if let (Some(expected), Some(actual)) = (folded.stored(), snapshot.stored()) {
            compare(expected, actual, DIFFERENCES_MAX, |table, key, what| {
                report.problem(table, format!("the row of {} {what}", readable(key)));
            })
            .map_err(Error::internal)?;
        }
        Ok(())
    }

    /// Looks for the bytes of every blob that the tables mention.
    fn verify_blobs(
        &self,
        snapshot: &Snapshot,
        deep: bool,
        report: &mut VerifyReport,
        watch: &mut impl FnMut(VerifyProgress) -> ControlFlow<()>,
    ) -> Result<()> {
        let (start, end) = (prefix::blobs(), prefix_end(&prefix::blobs()));
        let mut of = 0;
        let count = |_, row: BlobRow| {
            of += row.size;
            true
        };
        snapshot.visit::<Blobs>(&start, &end, count).map_err(Error::internal)?;
        let mut ended = Ok(());
        // A blob that is known to be rotten, or waits to be collected, is expected all the same: its bytes go
        // after the record that says so.
        let look = |digest: Digest, row: BlobRow| {
            report.blobs += 1;
            report.bytes += row.size;
            if let Some(rot) = examine(snapshot, &self.blobs, &digest, row.size, deep) {
                match self.is_still_mentioned(&digest) {
                    // Beside a server, the bytes of a blob that was collected since are gone rightly.
                    Ok(false) => {}
                    Ok(true) => {
                        let known = if row.rotten { " (as its record says)" } else { "" };
                        report.problem("blob", format!("{digest}: {}{known}", rot_text(rot)));
                    }
                    Err(e) => {
                        ended = Err(e);
                        return false;
                    }
                }
            }
            let progress = VerifyProgress { step: VerifyStep::Blobs, done: report.bytes, of };
            if watch(progress).is_break() {
                ended = Err(Error::Unavailable);
            }
            ended.is_ok()
        };
        snapshot.visit::<Blobs>(&start, &end, look).map_err(Error::internal)?;
        ended
    }

    fn is_still_mentioned(&self, digest: &Digest) -> Result<bool> {
        let now = Snapshot::open(&self.db).map_err(Error::internal)?;
        Ok(now.get::<Blobs>(digest).map_err(Error::internal)?.is_some())
    }
}

impl VerifyReport {
    fn problem(&mut self, subject: &str, message: String) {
        self.problems.push(Problem { subject: subject.to_owned(), message });
    }
}

const fn rot_text(rot: Rot) -> &'static str {
    match rot {
        Rot::Missing => "its bytes are missing",
        Rot::WrongSize => "it has more or fewer bytes than its record says",
        Rot::WrongDigest => "its bytes hash to something else",
        Rot::Unreadable => "its bytes can't be read",
    }
}

/// What is wrong with a stored blob. Blocks; `deep` reads it whole.
pub(crate) fn examine(
    snapshot: &Snapshot,
    store: &BlobStore,
    digest: &Digest,
    size: u64,
    deep: bool,
) -> Option<Rot> {
    if size <= limits::INLINE_BLOB_BYTES_MAX {
        match small::get(snapshot.transaction(), digest) {
            Ok(Some(bytes)) if bytes.len() as u64 != size => return Some(Rot::WrongSize),
            Ok(Some(bytes)) => {
                return (deep && digest_of(digest.algorithm(), &bytes) != *digest)
                    .then_some(Rot::WrongDigest);
            }
            Ok(None) => {}
            Err(_) => return Some(Rot::Unreadable),
        }
    }
    let file = match store.read(digest) {
        Ok(file) => file,
        Err(StoreError::NotFound) => return Some(Rot::Missing),
        Err(_) => return Some(Rot::Unreadable),
    };
    if file.size() != size {
        return Some(Rot::WrongSize);
    }
    if !deep {
        return None;
    }
    match file.hash(digest.algorithm()) {
        Ok(actual) => (actual != *digest).then_some(Rot::WrongDigest),
        Err(_) => Some(Rot::Unreadable),
    }
}

/// A key for a person: what can be printed of it, and the rest in hex.
fn readable(key: &[u8]) -> String {
    key.iter()
        .map(|byte| match byte {
            b' '..=b'~' => char::from(*byte).to_string(),
            other => format!("\\{other:02x}"),
        })
        .collect()
}

/// A database in a file that nothing names: whatever ends the process, its room is free again.
fn scratch(folder: &DataFolder) -> Result<Arc<Db>> {
    let path = folder.path.join(format!("verify-{}.redb", uuid::Uuid::now_v7()));
    let db = Db::open(&path, 64 << 20).map_err(Error::internal)?;
    std::fs::remove_file(&path).map_err(Error::internal)?;
    Ok(Arc::new(db))
}
