//! Rebuilding the tables from the log, beside the ones in use.
//!
//! Tables come in generations: `tables.1`, `tables.2`, … The table `generations` names the one in use and,
//! while a rebuild is under way, the one being built and how far it has come. A rebuild that is interrupted
//! leaves the old generation in use, and the next one goes on where it stopped; the switch is one commit.

use std::ops::ControlFlow;

use redb::{ReadTransaction, ReadableTable, TableDefinition, TableError, WriteTransaction};
use supercargo_eventlog::{Db, DbError, Log, LogError, RedbLog};

use crate::batch::{open_batch, write_batch};
use crate::folds::fold;
use crate::sieve::Sieve;
use crate::working::{Stored, StoredSnapshot};

/// `in use` and `building` → (generation, seq folded up to).
const GENERATIONS: TableDefinition<'static, &'static str, (u64, u64)> = TableDefinition::new("generations");
const IN_USE: &str = "in use";
const BUILDING: &str = "building";

/// `layout in use` and `layout building` → (the [`LAYOUT`] that those tables have, 0).
const LAYOUT_IN_USE: &str = "layout in use";
const LAYOUT_BUILDING: &str = "layout building";

/// How keys and rows are written, and what the folds make of records. It is raised with every change of either, and
/// tables that have another are folded anew when their data folder is opened.
pub const LAYOUT: u64 = 3;

/// What a batch holds in memory before it is written. Writing it takes as much again.
const BATCH_BYTES: usize = 128 << 20;
/// Records between two looks at the clock of whoever watches.
const PROGRESS_RECORDS: u64 = 20_000;

/// Why a rebuild stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RebuildError {
    /// The log can't be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The storage failed.
    #[error(transparent)]
    Storage(#[from] DbError),
    /// It was interrupted; the next one goes on from there.
    #[error(
        "interrupted at record {at}: the tables in use are the old ones, and running it again goes on there"
    )]
    Interrupted {
        /// How many records were folded and kept.
        at: u64,
    },
}

/// How far a rebuild has come.
#[derive(Debug, Clone, Copy)]
pub struct RebuildProgress {
    /// Records folded.
    pub folded: u64,
    /// Records to fold.
    pub of: u64,
}

/// A redb table of that name, typed as all tables of rows are.
pub fn table_definition(name: &str) -> TableDefinition<'_, &'static [u8], &'static [u8]> {
    TableDefinition::new(name)
}

pub(crate) fn table_name(generation: u64) -> String {
    format!("tables.{generation}")
}

/// The generation in use; 1 where nothing was ever rebuilt.
///
/// # Errors
/// Storage errors.
pub fn generation(txn: &ReadTransaction) -> Result<u64, redb::Error> {
    match txn.open_table(GENERATIONS) {
        Ok(table) => Ok(table.get(IN_USE)?.map_or(1, |row| row.value().0)),
        Err(TableError::TableDoesNotExist(_)) => Ok(1),
        Err(e) => Err(e.into()),
    }
}

/// Opens the tables in use for reading; `None` where nothing was ever committed.
///
/// # Errors
/// Storage errors.
pub fn open_generation(txn: &ReadTransaction) -> Result<Option<StoredSnapshot>, redb::Error> {
    match txn.open_table(table_definition(&table_name(generation(txn)?))) {
        Ok(table) => Ok(Some(table)),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

/// Opens the tables of a generation for writing.
///
/// # Errors
/// Storage errors.
pub fn open_for_writing(txn: &WriteTransaction, generation: u64) -> Result<Stored<'_>, redb::Error> {
    Ok(txn.open_table(table_definition(&table_name(generation)))?)
}

/// Folds the log into a fresh generation.
#[derive(Debug)]
pub struct Rebuilder<'d> {
    db: &'d Db,
    log: &'d RedbLog,
    batch_bytes: usize,
}

impl<'d> Rebuilder<'d> {
    /// A rebuilder of the tables of a file from the log in it.
    pub fn new(db: &'d Db, log: &'d RedbLog) -> Rebuilder<'d> {
        Rebuilder { db, log, batch_bytes: BATCH_BYTES }
    }

    /// Sets what a batch may hold in memory before it is written, in bytes. It holds one record at least.
    #[must_use]
    pub fn batch_bytes(mut self, bytes: usize) -> Rebuilder<'d> {
        self.batch_bytes = bytes;
        self
    }

    fn storage<E: Into<redb::Error>>(&self, e: E) -> RebuildError {
        RebuildError::Storage(self.db.error(e))
    }

    /// Rebuilds and switches. `watch` is told of progress, at least once per written batch, and may break it
    /// off. Nobody else may write to the file meanwhile.
    ///
    /// # Errors
    /// [`RebuildError`], as its variants say. Whatever it is, the tables in use are whole.
    pub fn run(
        &self,
        mut watch: impl FnMut(RebuildProgress) -> ControlFlow<()>,
    ) -> Result<RebuildProgress, RebuildError> {
        let of = self.log.size()?;
        let (generation, mut at) = self.resume()?;
        let mut records = self.log.read(at..of)?;
        let mut sieve = self.sieve(generation, at)?;
        while at < of {
            // Durable each time: only then are the pages that a batch replaces used again by the next, and the
            // file does not grow with every batch.
            let txn = self.db.begin_write()?;
            let mut broken_off = false;
            {
                let mut batch = open_batch(&txn, generation, sieve).map_err(|e| self.storage(e))?;
                let from = at;
                while at < of && (batch.bytes_held() < self.batch_bytes || at == from) {
                    let Some(record) = records.next() else { break };
                    fold(&mut batch, &record?);
                    at += 1;
                    if at.is_multiple_of(PROGRESS_RECORDS)
                        && watch(RebuildProgress { folded: at, of }).is_break()
                    {
                        broken_off = true;
                        break;
                    }
                }
                sieve = write_batch(&txn, generation, batch).map_err(|e| self.storage(e))?;
                let mut generations = txn.open_table(GENERATIONS).map_err(|e| self.storage(e))?;
                generations.insert(BUILDING, (generation, at)).map_err(|e| self.storage(e))?;
                generations.insert(LAYOUT_BUILDING, (LAYOUT, 0)).map_err(|e| self.storage(e))?;
            }
            txn.commit().map_err(|e| self.storage(e))?;
            if broken_off || watch(RebuildProgress { folded: at, of }).is_break() {
                return Err(RebuildError::Interrupted { at });
            }
        }
        self.switch(generation, of)?;
        Ok(RebuildProgress { folded: at, of })
    }

    /// What an interrupted rebuild wrote.
    fn sieve(&self, generation: u64, at: u64) -> Result<Sieve, RebuildError> {
        let mut sieve = Sieve::default();
        if at > 0 {
            let txn = self.db.begin_read()?;
            let table = txn.open_table(table_definition(&table_name(generation)));
            let table = table.map_err(|e| self.storage(e))?;
            for row in table.iter().map_err(|e| self.storage(e))? {
                sieve.insert(row.map_err(|e| self.storage(e))?.0.value());
            }
        }
        Ok(sieve)
    }

    /// Whether the tables in use have this program's [`LAYOUT`]. Those of a new file have none.
    ///
    /// # Errors
    /// Storage errors.
    pub fn is_current(&self) -> Result<bool, RebuildError> {
        let layout = self.row(&self.db.begin_read()?, LAYOUT_IN_USE)?;
        Ok(layout.is_some_and(|(layout, _)| layout == LAYOUT))
    }

    /// Gives the tables of a new file, in which nothing is yet, this program's [`LAYOUT`]. One durable commit.
    ///
    /// # Errors
    /// Storage errors.
    pub fn begin(&self) -> Result<(), RebuildError> {
        let txn = self.db.begin_write()?;
        {
            let mut generations = txn.open_table(GENERATIONS).map_err(|e| self.storage(e))?;
            generations.insert(LAYOUT_IN_USE, (LAYOUT, 0)).map_err(|e| self.storage(e))?;
        }
        txn.commit().map_err(|e| self.storage(e))
    }

    /// The generation to build and how far it has come. One that another program began, with another layout, is given
    /// up.
    fn resume(&self) -> Result<(u64, u64), RebuildError> {
        let txn = self.db.begin_read()?;
        let begun = self.row(&txn, LAYOUT_BUILDING)?;
        if begun.is_none_or(|(layout, _)| layout != LAYOUT) {
            self.abandon()?;
        }
        let txn = self.db.begin_read()?;
        let in_use = generation(&txn).map_err(|e| self.storage(e))?;
        Ok(self.row(&txn, BUILDING)?.unwrap_or((in_use + 1, 0)))
    }

    /// One durable commit: the new generation is in use, the old one is gone.
    fn switch(&self, generation: u64, position: u64) -> Result<(), RebuildError> {
        let txn = self.db.begin_write()?;
        {
            let mut generations = txn.open_table(GENERATIONS).map_err(|e| self.storage(e))?;
            let old = generations.get(IN_USE).map_err(|e| self.storage(e))?.map_or(1, |row| row.value().0);
            generations.remove(BUILDING).map_err(|e| self.storage(e))?;
            generations.remove(LAYOUT_BUILDING).map_err(|e| self.storage(e))?;
            generations.insert(LAYOUT_IN_USE, (LAYOUT, 0)).map_err(|e| self.storage(e))?;
            generations.insert(IN_USE, (generation, position)).map_err(|e| self.storage(e))?;
            // Made even where the log is empty, so that the generation in use always exists.
            drop(open_for_writing(&txn, generation).map_err(|e| self.storage(e))?);
            txn.delete_table(table_definition(&table_name(old))).map_err(|e| self.storage(e))?;
        }
        txn.commit().map_err(|e| self.storage(e))
    }

    /// Gives up a rebuild that was interrupted, and the room that its tables take. A server does so before it
    /// writes first; [`Rebuilder::run`] could go on, since it folds up to where the log ends by then.
    ///
    /// # Errors
    /// Storage errors.
    pub fn abandon(&self) -> Result<bool, RebuildError> {
        if self.row(&self.db.begin_read()?, BUILDING)?.is_none() {
            return Ok(false);
        }
        let txn = self.db.begin_write()?;
        {
            let mut generations = txn.open_table(GENERATIONS).map_err(|e| self.storage(e))?;
            generations.remove(LAYOUT_BUILDING).map_err(|e| self.storage(e))?;
            let building =
                generations.remove(BUILDING).map_err(|e| self.storage(e))?.map(|row| row.value().0);
            if let Some(generation) = building {
                txn.delete_table(table_definition(&table_name(generation))).map_err(|e| self.storage(e))?;
            }
        }
        txn.commit().map_err(|e| self.storage(e))?;
        Ok(true)
    }

    /// A row of the table of generations.
    fn row(&self, txn: &ReadTransaction, key: &str) -> Result<Option<(u64, u64)>, RebuildError> {
        match txn.open_table(GENERATIONS) {
            Ok(table) => Ok(table.get(key).map_err(|e| self.storage(e))?.map(|row| row.value())),
            Err(TableError::TableDoesNotExist(_)) => Ok(None),
            Err(e) => Err(self.storage(e)),
        }
    }
}
