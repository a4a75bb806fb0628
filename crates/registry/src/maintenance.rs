//! Maintenance that runs beside everything else, in small steps: collection, pruning, sweep and scrub.
//!
//! Each step is one command, re-decided inside the writer. Stopping between two steps loses nothing: what
//! is left is found by the next run.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use supercargo_blobs::crash_point;
use supercargo_eventlog::event::Rot;
use supercargo_eventlog::{Actor, Api, Event, Origin, Record};
use supercargo_model::{Digest, RepoKey, Timestamp};
use supercargo_projections::tables::{BlobRow, Blobs, prefix};
use supercargo_projections::{Snapshot, Working, fold, prefix_end};

use crate::command::{CollectCursor, Collected, Command, Outcome};
use crate::decide::decide;
use crate::ledger::Payload;
use crate::reads::{after_blob, blobs_after};
use crate::registry::{Caller, Registry};
use crate::{Error, Result};

/// What a sweep removed: bytes that no record mentions, and sessions that expired.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Swept {
    /// Files of blobs that no record mentions.
    pub files: u64,
    /// Their bytes.
    pub file_bytes: u64,
    /// Upload sessions that lay idle for too long.
    pub sessions: u64,
    /// Their bytes.
    pub session_bytes: u64,
}

/// What a scrub found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scrubbed {
    /// Blobs read.
    pub blobs: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Blobs that are rotten, with what is wrong.
    pub rotten: Vec<(Digest, Rot)>,
}

/// How a scrub is run.
#[derive(Debug, Clone, Copy, Default)]
pub struct ScrubOptions {
    /// How fast it reads at most, in bytes per second.
    pub bytes_per_second: Option<u64>,
    /// The blob after which it begins: the last one that an interrupted scrub read.
    pub after: Option<Digest>,
}

/// How far a scrub has come.
#[derive(Debug, Clone, Copy)]
pub struct ScrubProgress {
    /// The blob that was read last.
    pub last: Digest,
    /// Bytes read.
    pub done: u64,
    /// Bytes to read, as they were counted at its begin.
    pub of: u64,
}

impl Registry {
    /// What a collection would remove now, given to `each` step by step. Leases are not asked: a plan shows
    /// what is due. Answers with the plan's hash: another one differs in what it would remove.
    ///
    /// # Errors
    /// Storage errors.
    pub fn plan_collection(&self, mut each: impl FnMut(Collected)) -> Result<String> {
        let snapshot = self.snapshot()?;
        let mut hasher = Sha256::new();
        if let Some(stored) = snapshot.stored() {
            // Read-only tables below: what is folded here is forgotten with it.
            let mut state = Working::new(stored);
            let mut cursor = CollectCursor::default();
            loop {
                let command = Command::Collect { policy: self.options.gc, cursor: cursor.clone() };
                let decision = decide(&mut state, &command, self.now(), None)?;
                for event in decision.events {
                    fold(&mut state, &plan_record(event, self.now()));
                }
                let Outcome::Collected { collected: step, cursor: next, more } = decision.outcome else {
                    return Err(Error::unexpected(&decision.outcome));
                };
                for contents in &step.contents {
                    for digest in &contents.digests {
                        hasher.update(format!("{}/{}@{digest}\n", contents.repository, contents.name));
                    }
                }
                for blob in &step.blobs {
                    hasher.update(format!("{}\n", blob.digest));
                }
                each(step);
                cursor = next;
                if !more {
                    break;
                }
            }
            state.finish().map_err(Error::internal)?;
        }
        Ok(Digest::sha256(hasher.finalize().into()).hex())
    }

    /// Collects orphans until there is nothing left that may go, and gives what each step removed to `each`.
    /// With `plan`, only where it would do what that plan said.
    ///
    /// # Errors
    /// [`Error::Precondition`] where the plan is another by now; those of a commit.
    pub async fn collect(
        &self,
        caller: &Caller,
        plan: Option<&str>,
        mut each: impl FnMut(Collected) + Send,
    ) -> Result<()> {
        let _one_at_a_time = self.collecting.lock().await;
        if let Some(plan) = plan {
            let present = self.plan_collection(|_| {})?;
            if present != plan {
                return Err(Error::Precondition(format!("the plan is {present} by now; look at it again")));
            }
        }
        let mut cursor = CollectCursor::default();
        loop {
            let (step, next, more) = self.collect_step(caller, cursor).await?;
            self.unlink(&step).await?;
            each(step);
            cursor = next;
            if !more {
                return Ok(());
            }
        }
    }

    /// One step: decided and committed, the files not yet unlinked.
    pub(crate) async fn collect_step(
        &self,
        caller: &Caller,
        cursor: CollectCursor,
    ) -> Result<(Collected, CollectCursor, bool)> {
        let command = Command::Collect { policy: self.options.gc, cursor };
        match self.ledger.submit(caller, command, Payload::None).await? {
            Outcome::Collected { collected, cursor, more } => {
                let freed = collected.bytes();
                self.stats.collected_blobs.fetch_add(collected.blobs.len() as u64, Relaxed);
                self.stats.collected_bytes.fetch_add(freed, Relaxed);
                if !collected.is_empty() {
                    crash_point("collect.committed");
                }
                Ok((collected, cursor, more))
            }
            other => Err(Error::unexpected(&other)),
        }
    }

    /// Unlinks the files of collected blobs, each only if the blob did not come back meanwhile. A crash
    /// before or between leaves files that no record mentions: the sweep's work.
    pub(crate) async fn unlink(&self, collected: &Collected) -> Result<()> {
        for blob in &collected.blobs {
            self.remove_unmentioned(blob.digest).await?;
            crash_point("collect.unlinked");
        }
        Ok(())
    }

    /// Removes a blob's file under the lock that publishing takes, unless a record mentions the blob.
    pub(crate) async fn remove_unmentioned(&self, digest: Digest) -> Result<bool> {
        let (db, in_doubt) = (Arc::clone(&self.db), Arc::clone(&self.in_doubt));
        let unmentioned = move || {
            !in_doubt.load(Acquire)
                && Snapshot::open(&db)
                    .and_then(|snapshot| snapshot.get::<Blobs>(&digest))
                    .is_ok_and(|row| row.is_none())
        };
        Ok(self.blobs.remove(&digest, unmentioned).await?)
    }

    /// What pruning would remove now.
    ///
    /// # Errors
    /// Storage errors.
    pub fn plan_pruning(&self) -> Result<Vec<(RepoKey, String)>> {
        let snapshot = self.snapshot()?;
        let mut all = Vec::new();
        let Some(stored) = snapshot.stored() else { return Ok(all) };
        let mut state = Working::new(stored);
        loop {
            let command = Command::Prune { empty_after: self.options.prune_empty_after };
            let decision = decide(&mut state, &command, self.now(), None)?;
            for event in decision.events {
                fold(&mut state, &plan_record(event, self.now()));
            }
            let Outcome::Pruned { folders, more } = decision.outcome else {
                return Err(Error::unexpected(&decision.outcome));
            };
            all.extend(folders);
            if !more {
                state.finish().map_err(Error::internal)?;
                return Ok(all);
            }
        }
    }

    /// Prunes empty folders, and those that this empties.
    ///
    /// # Errors
    /// Those of a commit.
    pub async fn prune(&self, caller: &Caller) -> Result<Vec<(RepoKey, String)>> {
        let _one_at_a_time = self.pruning.lock().await;
        let mut all = Vec::new();
        loop {
            let command = Command::Prune { empty_after: self.options.prune_empty_after };
            match self.ledger.submit(caller, command, Payload::None).await? {
                Outcome::Pruned { folders, more } => {
                    self.stats.pruned_folders.fetch_add(folders.len() as u64, Relaxed);
                    all.extend(folders);
                    if !more {
                        return Ok(all);
                    }
                }
                other => return Err(Error::unexpected(&other)),
            }
        }
    }

    /// Removes upload sessions that lay idle for `uploads.expire_after`.
    ///
    /// # Errors
    /// Storage errors.
    pub async fn sweep_sessions(&self) -> Result<Swept> {
        let store = self.blobs.clone();
        let idle_before = SystemTime::now()
            .checked_sub(self.options.uploads_expire_after)
            .unwrap_or(SystemTime::UNIX_EPOCH);
        let sessions = blocking(move || store.sweep_sessions(idle_before).map_err(Error::internal)).await?;
        Ok(Swept { sessions: sessions.count, session_bytes: sessions.bytes, ..Swept::default() })
    }

    /// Removes what no record mentions: sessions that expired, and files that a crash left behind. Walks
    /// the stored files, so it belongs after a start and into quiet hours.
    ///
    /// # Errors
    /// Storage errors.
    pub async fn sweep(&self) -> Result<Swept> {
        let mut swept = self.sweep_sessions().await?;
        let store = self.blobs.clone();
        let db = Arc::clone(&self.db);
        let unmentioned = blocking(move || {
            let snapshot = Snapshot::open(&db).map_err(Error::internal)?;
            let mut unmentioned = Vec::new();
            for file in store.files() {
                let (digest, size) = file.map_err(Error::internal)?;
                if snapshot.get::<Blobs>(&digest).map_err(Error::internal)?.is_none() {
                    unmentioned.push((digest, size));
                }
            }
            Ok(unmentioned)
        })
        .await?;
        for (digest, size) in unmentioned {
            if self.remove_unmentioned(digest).await? {
                swept.files += 1;
                swept.file_bytes += size;
            }
        }
        Ok(swept)
    }

    /// Reads every stored blob and compares it with its digest. Rot is recorded as it is found. Stopped by
    /// dropping the future, between two blobs; `watch` is told of each, so that another scrub can go on there.
    ///
    /// # Errors
    /// Storage errors of the tables; those of a blob are its rot.
    pub async fn scrub(
        &self,
        caller: &Caller,
        options: ScrubOptions,
        mut watch: impl FnMut(ScrubProgress) + Send,
    ) -> Result<Scrubbed> {
        let _one_at_a_time = self.scrubbing.lock().await;
        let of = self.bytes_to_scrub(options.after.as_ref())?;
        let mut scrubbed = Scrubbed::default();
        let mut after = options.after;
        while let Some((digest, size)) = self.next_to_scrub(after.as_ref())? {
            after = Some(digest);
            let began = Instant::now();
            let found = self.examine(digest, size).await?;
            scrubbed.blobs += 1;
            scrubbed.bytes += size;
            self.stats.scrubbed_blobs.fetch_add(1, Relaxed);
            if let Some(rot) = found {
                self.stats.rotten_blobs.fetch_add(1, Relaxed);
                tracing::error!(digest = %digest, rot = ?rot, "a stored blob is rotten");
                self.ledger.submit(caller, Command::RecordRot { digest, rot }, Payload::None).await?;
                scrubbed.rotten.push((digest, rot));
            }
            watch(ScrubProgress { last: digest, done: scrubbed.bytes, of });
            if let Some(rate) = options.bytes_per_second.filter(|rate| *rate > 0) {
                #[expect(clippy::cast_precision_loss, reason = "a rate")]
                let should_take = Duration::from_secs_f64(size as f64 / rate as f64);
                tokio::time::sleep(should_take.saturating_sub(began.elapsed())).await;
            }
        }
        Ok(scrubbed)
    }

    fn next_to_scrub(&self, after: Option<&Digest>) -> Result<Option<(Digest, u64)>> {
        let snapshot = self.snapshot()?;
        let mut after = after.copied();
        loop {
            let Some((digest, row)) = blobs_after(&snapshot, after.as_ref(), 1)?.pop() else {
                return Ok(None);
            };
            if is_scrubbed(&row) {
                return Ok(Some((digest, row.size)));
            }
            after = Some(digest);
        }
    }

    fn bytes_to_scrub(&self, after: Option<&Digest>) -> Result<u64> {
        let mut bytes = 0;
        let count = |_, row: BlobRow| {
            if is_scrubbed(&row) {
                bytes += row.size;
            }
            true
        };
        let start = after_blob(after);
        self.snapshot()?
            .visit::<Blobs>(&start, &prefix_end(&prefix::blobs()), count)
            .map_err(Error::internal)?;
        Ok(bytes)
    }

    /// What is wrong with a stored blob.
    async fn examine(&self, digest: Digest, size: u64) -> Result<Option<Rot>> {
        let snapshot = self.snapshot()?;
        let store = self.blobs.clone();
        let rot =
            blocking(move || Ok(crate::verify::examine(&snapshot, &store, &digest, size, true))).await?;
        if rot.is_some() && self.snapshot()?.get::<Blobs>(&digest).map_err(Error::internal)?.is_none() {
            // Collected while it was looked at.
            return Ok(None);
        }
        Ok(rot)
    }
}

/// Whether a scrub reads a blob: not what waits to be collected, nor what is known to be rotten.
const fn is_scrubbed(row: &BlobRow) -> bool {
    row.holders > 0 && !row.rotten
}

/// An event of a plan in the envelope that folds want; nobody sees it.
fn plan_record(event: Event, at: Timestamp) -> Record {
    let origin = Origin::local(Api::Worker);
    Record { seq: u64::MAX, at, id: uuid::Uuid::nil(), actor: Actor::System, origin, event }
}

/// Runs what blocks away from the async threads.
pub(crate) async fn blocking<O: Send + 'static>(
    work: impl FnOnce() -> Result<O> + Send + 'static,
) -> Result<O> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|e| Err(Error::internal(e)))
}

#[cfg(test)]
mod tests;
