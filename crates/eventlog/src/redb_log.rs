//! The log in a redb table: seq → record bytes, in the same file as the projections, so that one commit
//! holds both.

use std::ops::Range;
use std::sync::Arc;

use redb::{ReadTransaction, ReadableTable, TableDefinition, TableError, WriteTransaction};
use tokio::sync::watch;

use crate::{Db, Follower, Log, LogError, Record, RecordIter, codec};

/// The table. Seqs are big-endian under redb's own integer keys, so appends go to the last leaf.
const LOG: TableDefinition<'static, u64, &'static [u8]> = TableDefinition::new("log");

/// The log of a data folder.
#[derive(Debug, Clone)]
pub struct RedbLog {
    db: Arc<Db>,
    size: watch::Sender<u64>,
}

impl RedbLog {
    /// The log in an open file.
    ///
    /// # Errors
    /// Storage errors.
    pub fn new(db: Arc<Db>) -> Result<RedbLog, LogError> {
        let size = size_in(&db, &db.begin_read()?)?;
        Ok(RedbLog { db, size: watch::Sender::new(size) })
    }

    /// Appends inside a transaction that somebody else commits. Answers with the log's size after it.
    ///
    /// # Errors
    /// As [`Log::append`].
    pub fn append_in<'r>(
        &self,
        txn: &WriteTransaction,
        expected: u64,
        batch: impl IntoIterator<Item = &'r Record>,
    ) -> Result<u64, LogError> {
        let storage = |e: redb::Error| LogError::Storage(self.db.error(e));
        let mut table = txn.open_table(LOG).map_err(|e| storage(e.into()))?;
        let actual = table.last().map_err(|e| storage(e.into()))?.map_or(0, |(seq, _)| seq.value() + 1);
        if actual != expected {
            return Err(LogError::Conflict { expected, actual });
        }
        let mut size = actual;
        let mut bytes = Vec::with_capacity(512);
        for record in batch {
            if record.seq != size {
                return Err(LogError::Conflict { expected: record.seq, actual: size });
            }
            bytes.clear();
            codec::encode_into(record, &mut bytes).map_err(|source| LogError::Codec { seq: size, source })?;
            table.insert(size, bytes.as_slice()).map_err(|e| storage(e.into()))?;
            size += 1;
        }
        Ok(size)
    }

    /// The records of a range at the snapshot of a transaction.
    ///
    /// # Errors
    /// As [`Log::read`].
    pub fn read_in(&self, txn: &ReadTransaction, range: Range<u64>) -> Result<RecordIter, LogError> {
        let Some(table) = open(&self.db, txn)? else {
            return Ok(Box::new(std::iter::empty()));
        };
        let db = Arc::clone(&self.db);
        let mut expected = range.start;
        let rows = table.range_owned(range).map_err(|e| LogError::Storage(db.error(e)))?;
        Ok(Box::new(rows.map(move |row| {
            let (key, bytes) = row.map_err(|e| LogError::Storage(db.error(e)))?;
            let seq = key.value();
            if seq != expected {
                return Err(LogError::Hole(expected));
            }
            expected += 1;
            codec::decode(bytes.value()).map_err(|source| LogError::Codec { seq, source })
        })))
    }

    /// How many records the snapshot of a transaction holds.
    ///
    /// # Errors
    /// Storage errors.
    pub fn size_in(&self, txn: &ReadTransaction) -> Result<u64, LogError> {
        size_in(&self.db, txn)
    }

    /// The last record of the log, whose time the next may not be before.
    ///
    /// # Errors
    /// Storage errors, or that it does not decode.
    pub fn last(&self) -> Result<Option<Record>, LogError> {
        let size = self.size()?;
        match size.checked_sub(1) {
            None => Ok(None),
            Some(seq) => self.read(seq..size)?.next().transpose(),
        }
    }

    /// Wakes followers: the log now durably holds `size` records.
    pub fn committed(&self, size: u64) {
        self.size.send_replace(size);
    }
}

fn open(db: &Db, txn: &ReadTransaction) -> Result<Option<redb::ReadOnlyTable<u64, &'static [u8]>>, LogError> {
    match txn.open_table(LOG) {
        Ok(table) => Ok(Some(table)),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(e) => Err(LogError::Storage(db.error(e))),
    }
}

fn size_in(db: &Db, txn: &ReadTransaction) -> Result<u64, LogError> {
    match open(db, txn)? {
        None => Ok(0),
        Some(table) => Ok(table
            .last()
            .map_err(|e| LogError::Storage(db.error(e)))?
            .map_or(0, |(seq, _)| seq.value() + 1)),
    }
}

impl Log for RedbLog {
    fn size(&self) -> Result<u64, LogError> {
        self.size_in(&self.db.begin_read()?)
    }

    fn append(&self, expected: u64, batch: &[Record]) -> Result<(), LogError> {
        let txn = self.db.begin_write()?;
        let size = self.append_in(&txn, expected, batch)?;
        txn.commit().map_err(|e| LogError::Storage(self.db.error(e)))?;
        self.committed(size);
        Ok(())
    }

    fn read(&self, range: Range<u64>) -> Result<RecordIter, LogError> {
        self.read_in(&self.db.begin_read()?, range)
    }

    fn follow(&self, from: u64) -> Follower {
        Follower::new(Arc::new(self.clone()), from, self.size.subscribe())
    }
}
