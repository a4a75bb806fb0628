//! The writer: one thread that owns every write transaction.
//!
//! It takes what is waiting in the queue, and for each command decides against the state as it stands after
//! the commands before, appends the records and folds them. One commit makes the group durable; then every
//! caller is answered. A refused command leaves no trace and does not disturb its group. When a commit
//! fails, its whole group is told so, and the file is reopened at its last commit before anything else is
//! decided: what is in memory is never trusted after an unknown outcome.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use supercargo_blobs::{Published, crash_point};
use supercargo_eventlog::{Db, Event, Record, RedbLog};
use supercargo_model::{Digest, Timestamp};
use supercargo_projections::{Rebuilder, Rows, Working, fold, generation, open_for_writing};
use tokio::sync::{mpsc, oneshot};
use uuid::{NoContext, Uuid};

use crate::command::{Command, Outcome};
use crate::decide::decide;
use crate::hot::Hot;
use crate::leases::Leases;
use crate::stats::Stats;
use crate::{Caller, Clock, Error, Result, small};

/// The bytes that a command is about, until its record is committed.
///
/// They travel with the command: whoever asked for it may vanish while it waits, and is no keeper of them.
#[derive(Debug, Clone)]
pub(crate) enum Payload {
    /// There are none, or they need nobody to look after them.
    None,
    /// Few: they become durable with the record.
    Small(Digest, Bytes),
    /// Those of a file, which nobody can remove meanwhile.
    File(Arc<Published>),
    /// Those of several.
    Many(Vec<Payload>),
}

/// A command on its way.
struct Submission {
    caller: Caller,
    command: Command,
    payload: Payload,
    reply: oneshot::Sender<Result<Outcome>>,
}

/// How the writer groups and how long callers wait for it.
#[derive(Debug, Clone, Copy)]
pub struct WriterOptions {
    /// How many commands may wait (`writer.queue`).
    pub queue: usize,
    /// How long a caller waits for a place in the queue (`writer.queue_wait`).
    pub queue_wait: Duration,
    /// How many commands share a commit at most (`writer.group_max`).
    pub group_max: usize,
}

impl Default for WriterOptions {
    fn default() -> WriterOptions {
        WriterOptions { queue: 1024, queue_wait: Duration::from_secs(5), group_max: 512 }
    }
}

/// The handle that commands are submitted through.
#[derive(Debug)]
pub(crate) struct Ledger {
    queue: RwLock<Option<mpsc::Sender<Submission>>>,
    queue_wait: Duration,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
}

/// What the writer thread works with.
pub(crate) struct Parts {
    pub(crate) db: Arc<Db>,
    pub(crate) log: RedbLog,
    pub(crate) leases: Arc<Leases>,
    pub(crate) hot: Arc<Hot>,
    pub(crate) stats: Arc<Stats>,
    pub(crate) clock: Arc<dyn Clock>,
    /// Whether it is not known what came of the last commit: the file must be reopened before it is used, and
    /// no file of a blob is removed because no record mentions it.
    pub(crate) in_doubt: Arc<AtomicBool>,
    /// How often anything of the accounts changed.
    pub(crate) accounts_epoch: Arc<AtomicU64>,
    /// How often a repository was made, changed or removed.
    pub(crate) repositories_epoch: Arc<AtomicU64>,
    /// Free bytes on the disk below which nothing is appended.
    pub(crate) reserve_bytes: u64,
    pub(crate) free_bytes: Box<dyn Fn() -> std::io::Result<u64> + Send>,
}

impl Ledger {
    /// Starts the writer.
    pub(crate) fn start(parts: Parts, options: WriterOptions) -> Result<Ledger> {
        let (queue, waiting) = mpsc::channel(options.queue.max(1));
        let mut writer = Writer::new(parts, options.group_max.max(1))?;
        let thread = std::thread::Builder::new()
            .name("ledger".to_owned())
            .spawn(move || writer.run(waiting))
            .map_err(|e| Error::Internal(format!("the writer thread: {e}")))?;
        Ok(Ledger {
            queue: RwLock::new(Some(queue)),
            queue_wait: options.queue_wait,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Submits a command and waits for its commit.
    ///
    /// # Errors
    /// The refusal; [`Error::Busy`] where the queue stayed full; [`Error::Unavailable`] or
    /// [`Error::DiskFull`] where the group did not commit.
    pub(crate) async fn submit(
        &self,
        caller: &Caller,
        command: Command,
        payload: Payload,
    ) -> Result<Outcome> {
        let (reply, answer) = oneshot::channel();
        let submission = Submission { caller: caller.clone(), command, payload, reply };
        let queue = self.queue.read().clone().ok_or(Error::Unavailable)?;
        match queue.send_timeout(submission, self.queue_wait).await {
            Ok(()) => {}
            Err(mpsc::error::SendTimeoutError::Timeout(_)) => {
                return Err(Error::Busy { retry_after: self.queue_wait.max(Duration::from_secs(1)) });
            }
            Err(mpsc::error::SendTimeoutError::Closed(_)) => return Err(Error::Unavailable),
        }
        answer.await.unwrap_or(Err(Error::Unavailable))
    }

    /// Whether the writer takes commands.
    pub(crate) fn at_work(&self) -> bool {
        self.queue.read().as_ref().is_some_and(|queue| !queue.is_closed())
    }

    /// How many commands wait.
    pub(crate) fn queued(&self) -> usize {
        self.queue.read().as_ref().map_or(0, |queue| queue.max_capacity() - queue.capacity())
    }

    /// Takes no more commands, lets the writer finish what is queued, and waits for its end. Blocks.
    pub(crate) fn finish(&self) {
        drop(self.queue.write().take());
        if let Some(thread) = self.thread.lock().take()
            && thread.join().is_err()
        {
            tracing::error!("the writer thread panicked");
        }
    }
}

struct Writer {
    parts: Parts,
    group_max: usize,
    /// The seq of the next record.
    next: u64,
    /// The time of the last record.
    last_at: Timestamp,
    generation: u64,
    /// Whether it was seen to that no unfinished rebuild is in the file.
    alone: bool,
}

/// What a group leaves to be done once it is committed, and told to its callers.
#[derive(Default)]
struct Group {
    answers: Vec<(oneshot::Sender<Result<Outcome>>, Outcome)>,
    /// Let go of when the commit is over.
    files: Vec<Arc<Published>>,
    records: Vec<Record>,
    put: Vec<(Digest, Bytes)>,
    remove: Vec<Digest>,
}

impl Group {
    /// Keeps a command's bytes: small ones to be written with its records, if there are `events`, files from being
    /// removed until then.
    fn keep(&mut self, payload: Payload, events: bool) {
        match payload {
            Payload::Small(digest, bytes) if events => {
                self.remove.retain(|removed| *removed != digest);
                self.put.push((digest, bytes));
            }
            Payload::File(published) => self.files.push(published),
            Payload::Many(payloads) => payloads.into_iter().for_each(|payload| self.keep(payload, events)),
            Payload::Small(..) | Payload::None => {}
        }
    }
}

impl Writer {
    fn new(parts: Parts, group_max: usize) -> Result<Writer> {
        let mut writer =
            Writer { parts, group_max, next: 0, last_at: Timestamp::default(), generation: 1, alone: false };
        writer.load()?;
        Ok(writer)
    }

    /// Learns from the file where the log ends.
    fn load(&mut self) -> Result<()> {
        let last = self.parts.log.last().map_err(Error::internal)?;
        self.next = last.as_ref().map_or(0, |record| record.seq + 1);
        self.last_at = last.map_or(Timestamp::default(), |record| record.at);
        let txn = self.parts.db.begin_read().map_err(Error::internal)?;
        self.generation = generation(&txn).map_err(|e| Error::Internal(e.to_string()))?;
        Ok(())
    }

    fn run(&mut self, mut waiting: mpsc::Receiver<Submission>) {
        let mut group = Vec::with_capacity(self.group_max);
        // Everything that waits goes into one commit, up to the bound.
        while let Some(first) = waiting.blocking_recv() {
            group.push(first);
            while group.len() < self.group_max {
                match waiting.try_recv() {
                    Ok(more) => group.push(more),
                    Err(_) => break,
                }
            }
            self.write(&mut group);
            group.clear();
        }
    }

    /// Decides, appends, folds and commits a group, and answers all of it.
    fn write(&mut self, submissions: &mut Vec<Submission>) {
        let began = Instant::now();
        let commands = submissions.len();
        if self.parts.in_doubt.load(Ordering::Acquire) && !self.recover() {
            answer_all(submissions, || Error::Unavailable);
            return;
        }
        if let Ok(free) = (self.parts.free_bytes)()
            && free < self.parts.reserve_bytes
        {
            // What frees room may still be written: that is what the rest of the reserve is for.
            refuse(submissions, |command| !command.frees_room(), || Error::DiskFull);
        }
        if submissions.is_empty() {
            return;
        }
        if !self.alone {
            // Whoever broke a rebuild off to serve has no use for the room it takes.
            match Rebuilder::new(&self.parts.db, &self.parts.log).abandon() {
                Ok(_) => self.alone = true,
                Err(error) => {
                    tracing::error!(%error, "an unfinished rebuild can't be given up");
                    answer_all(submissions, || Error::Unavailable);
                    return;
                }
            }
        }
        let mut group = Group::default();
        match self.commit(submissions, &mut group) {
            Ok(()) => {
                let records = group.records.len() as u64;
                if records > 0 {
                    self.next += records;
                    self.last_at = group.records.last().map_or(self.last_at, |record| record.at);
                    self.parts.hot.changed(group.records.iter().map(|record| &record.event));
                    if group.records.iter().any(|record| {
                        // What a permission target is about depends on where a repository keeps its names.
                        record.event.changes_rights() || record.event.is_of_repository()
                    }) {
                        self.parts.accounts_epoch.fetch_add(1, Ordering::Release);
                    }
                    if group.records.iter().any(|record| record.event.is_of_repository()) {
                        self.parts.repositories_epoch.fetch_add(1, Ordering::Release);
                    }
                    // Not before memory knows: whoever finds something there must not be promised it then.
                    self.parts.leases.acquit();
                    self.parts.log.committed(self.next);
                    self.parts.stats.committed(commands, records, began.elapsed());
                }
                drop(group.files);
                for (reply, outcome) in group.answers {
                    // Whoever asked may have gone; it is done all the same.
                    let _ = reply.send(Ok(outcome));
                }
            }
            Err(error) => {
                tracing::error!(error = %error, commands, "a group of commands did not commit");
                self.parts.stats.failed_groups.fetch_add(1, Ordering::Relaxed);
                // Before the group's files are let go of.
                self.parts.in_doubt.store(true, Ordering::Release);
                let full = is_disk_full(&error);
                for (reply, _) in group.answers {
                    let _ = reply.send(Err(if full { Error::DiskFull } else { Error::Unavailable }));
                }
                answer_all(submissions, || if full { Error::DiskFull } else { Error::Unavailable });
            }
        }
    }

    /// Everything up to the commit. What it can't tell its callers before the commit it leaves in `group`.
    fn commit(&mut self, submissions: &mut Vec<Submission>, group: &mut Group) -> Result<(), redb::Error> {
        let db = Arc::clone(&self.parts.db);
        let txn = db.begin_write().map_err(into_redb)?;
        let table = open_for_writing(&txn, self.generation)?;
        let mut working = Working::new(table);
        for submission in submissions.drain(..) {
            self.take_in(&mut working, submission, group);
        }
        if group.records.is_empty() {
            drop(working);
            return Ok(txn.abort()?);
        }
        working.flush()?;
        small::write(&txn, &group.put, &group.remove)?;
        self.parts.log.append_in(&txn, self.next, &group.records).map_err(|e| match e {
            supercargo_eventlog::LogError::Storage(e) => into_redb(e),
            other => redb::Error::Corrupted(other.to_string()),
        })?;
        crash_point("commit.before");
        txn.commit()?;
        crash_point("commit.after");
        Ok(())
    }

    /// Decides one command and folds what it makes.
    fn take_in<B: supercargo_projections::Base>(
        &self,
        working: &mut Working<B>,
        submission: Submission,
        group: &mut Group,
    ) {
        let Submission { caller, command, payload, reply } = submission;
        let last_at = group.records.last().map_or(self.last_at, |record| record.at);
        // Time never runs backwards in the log, whatever the clock does.
        let at = self.parts.clock.now().max(last_at);
        let leases = matches!(command, Command::Collect { .. }).then(|| self.parts.leases.still());
        let decision = match decide(working, &command, at, leases.as_ref()) {
            Ok(decision) => decision,
            Err(refusal) => {
                self.parts.stats.refused.fetch_add(1, Ordering::Relaxed);
                drop(payload);
                let _ = reply.send(Err(refusal));
                return;
            }
        };
        if let Some(leases) = leases {
            leases.condemn(condemned(working, &decision.events));
        }
        let events = !decision.events.is_empty();
        for event in decision.events {
            if let Event::OrphansCollected { blobs, .. } = &event {
                group.remove.extend(blobs.iter().map(|blob| blob.digest));
                group.put.retain(|(digest, _)| !blobs.iter().any(|blob| blob.digest == *digest));
            }
            let record = Record {
                seq: self.next + group.records.len() as u64,
                at,
                id: record_id(at),
                actor: caller.actor.clone(),
                origin: caller.origin.clone(),
                event,
            };
            fold(working, &record);
            group.records.push(record);
        }
        group.keep(payload, events);
        group.answers.push((reply, decision.outcome));
    }

    /// Reopens the file at its last commit.
    fn recover(&mut self) -> bool {
        let recovered = self.parts.db.reopen().map_err(Error::internal).and_then(|()| self.load());
        match recovered {
            Ok(()) => {
                // What the failed commit wrote may have become durable after all.
                self.parts.hot.changed_all();
                self.parts.accounts_epoch.fetch_add(1, Ordering::Release);
                self.parts.repositories_epoch.fetch_add(1, Ordering::Release);
                // So what the collector named stayed condemned until it was known what became of it.
                self.parts.leases.acquit();
                self.parts.log.committed(self.next);
                self.parts.in_doubt.store(false, Ordering::Release);
                tracing::info!(log_size = self.next, "the log was reopened at its last commit");
                true
            }
            Err(error) => {
                tracing::error!(error = %error, "the log can't be reopened");
                false
            }
        }
    }
}

fn condemned(
    view: &mut impl Rows,
    events: &[Event],
) -> Vec<(supercargo_projections::tables::NameId, Digest)> {
    use supercargo_projections::tables::Names;
    let mut condemned = Vec::new();
    for event in events {
        let Event::OrphansCollected { contents, .. } = event else { continue };
        for contents in contents {
            if let Some(id) = view.row::<Names>(&(contents.repository.clone(), contents.name.clone())) {
                condemned.extend(contents.digests.iter().map(|digest| (id, *digest)));
            }
        }
    }
    condemned
}

fn answer_all(submissions: &mut Vec<Submission>, error: impl Fn() -> Error) {
    for submission in submissions.drain(..) {
        let _ = submission.reply.send(Err(error()));
    }
}

fn refuse(submissions: &mut Vec<Submission>, which: impl Fn(&Command) -> bool, error: impl Fn() -> Error) {
    for submission in submissions.extract_if(.., |submission| which(&submission.command)) {
        let _ = submission.reply.send(Err(error()));
    }
}

fn record_id(at: Timestamp) -> Uuid {
    let micros = at.as_micros().max(0).unsigned_abs();
    let nanos = u32::try_from(micros % 1_000_000).unwrap_or(0) * 1000;
    Uuid::new_v7(uuid::Timestamp::from_unix(NoContext, micros / 1_000_000, nanos))
}

fn into_redb(error: supercargo_eventlog::DbError) -> redb::Error {
    match error {
        supercargo_eventlog::DbError::Storage { source, .. } => source,
        other => redb::Error::Corrupted(other.to_string()),
    }
}

fn is_disk_full(error: &redb::Error) -> bool {
    matches!(error, redb::Error::Io(e) if matches!(e.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded))
}

#[cfg(test)]
mod tests;
