//! Reading the tables at one commit, without waiting for the writer.

use std::sync::Arc;

use redb::{ReadTransaction, StorageError};
use supercargo_eventlog::{Db, DbError};

use crate::codec::decode_row;
use crate::rebuild::open_generation;
use crate::tables::Table;
use crate::working::{Base, Rows, StoredSnapshot, Tracked};

/// The tables as one commit left them.
pub struct Snapshot {
    db: Arc<Db>,
    txn: ReadTransaction,
    table: Option<StoredSnapshot>,
    error: Option<StorageError>,
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot").finish_non_exhaustive()
    }
}

impl Snapshot {
    /// The tables at the last commit.
    ///
    /// # Errors
    /// Storage errors.
    pub fn open(db: &Arc<Db>) -> Result<Snapshot, DbError> {
        let txn = db.begin_read()?;
        let table = open_generation(&txn).map_err(|e| db.error(e))?;
        Ok(Snapshot { db: Arc::clone(db), txn, table, error: None })
    }

    /// The transaction that it reads in, for reading the log or bytes at the same commit.
    pub fn transaction(&self) -> &ReadTransaction {
        &self.txn
    }

    /// The table that all rows are in; `None` where nothing was ever committed.
    pub fn stored(&self) -> Option<&StoredSnapshot> {
        self.table.as_ref()
    }

    /// One row.
    ///
    /// # Errors
    /// Storage errors, a row that does not decode among them.
    pub fn get<T: Table>(&self, key: &T::Key) -> Result<Option<T::Row>, DbError> {
        let Some(table) = &self.table else { return Ok(None) };
        let mut bytes = Vec::with_capacity(96);
        T::write_key(key, &mut bytes);
        match Base::get(table, &bytes, decode_row::<T::Row>).map_err(|e| self.db.error(e))? {
            None => Ok(None),
            Some(Some(row)) => Ok(Some(row)),
            Some(None) => {
                Err(self.db.error(StorageError::Corrupted(format!("a row of {} does not decode", T::NAME))))
            }
        }
    }

    /// Visits rows from `start` up to but without `end`, in order, until told to stop.
    ///
    /// # Errors
    /// Storage errors, a row that does not decode among them.
    pub fn visit<T: Table>(
        &self,
        start: &[u8],
        end: &[u8],
        mut visit: impl FnMut(T::Key, T::Row) -> bool,
    ) -> Result<(), DbError> {
        let Some(table) = &self.table else { return Ok(()) };
        let mut corrupted = false;
        let mut each = |key: &[u8], row: &[u8]| {
            // Rows of other tables may lie between.
            let Some(key) = T::read_key(key) else { return true };
            match decode_row::<T::Row>(row) {
                Some(row) => visit(key, row),
                None => {
                    corrupted = true;
                    false
                }
            }
        };
        Base::scan(table, start, end, &mut each).map_err(|e| self.db.error(e))?;
        if corrupted {
            return Err(self
                .db
                .error(StorageError::Corrupted(format!("a row of {} does not decode", T::NAME))));
        }
        Ok(())
    }

    /// The first error that reading through [`Rows`] met.
    ///
    /// # Errors
    /// That error.
    pub fn check(&mut self) -> Result<(), DbError> {
        match self.error.take() {
            Some(error) => Err(self.db.error(error)),
            None => Ok(()),
        }
    }
}

impl Rows for Snapshot {
    fn row<T: Tracked>(&mut self, key: &T::Key) -> Option<T::Row> {
        let mut reader = Reader { snapshot: self, error: None };
        let row = reader.row::<T>(key);
        let error = reader.error;
        self.error = self.error.take().or(error);
        row
    }

    fn scan<T: Tracked>(&mut self, start: &[u8], end: &[u8], limit: usize) -> Vec<(T::Key, T::Row)> {
        let mut reader = Reader { snapshot: self, error: None };
        let rows = reader.scan::<T>(start, end, limit);
        let error = reader.error;
        self.error = self.error.take().or(error);
        rows
    }
}

/// Reads a snapshot that others read too.
#[derive(Debug)]
pub struct Reader<'s> {
    snapshot: &'s Snapshot,
    error: Option<StorageError>,
}

impl<'s> Reader<'s> {
    /// Reads this one.
    pub fn new(snapshot: &'s Snapshot) -> Reader<'s> {
        Reader { snapshot, error: None }
    }

    /// The first error that was met.
    ///
    /// # Errors
    /// That error.
    pub fn check(&mut self) -> Result<(), DbError> {
        match self.error.take() {
            Some(error) => Err(self.snapshot.db.error(error)),
            None => Ok(()),
        }
    }
}

impl Rows for Reader<'_> {
    fn row<T: Tracked>(&mut self, key: &T::Key) -> Option<T::Row> {
        self.snapshot.get::<T>(key).unwrap_or_else(|e| {
            self.error.get_or_insert_with(|| StorageError::Corrupted(e.to_string()));
            None
        })
    }

    fn scan<T: Tracked>(&mut self, start: &[u8], end: &[u8], limit: usize) -> Vec<(T::Key, T::Row)> {
        let mut found = Vec::new();
        if limit == 0 {
            return found;
        }
        let visited = self.snapshot.visit::<T>(start, end, |key, row| {
            found.push((key, row));
            found.len() < limit
        });
        if let Err(e) = visited {
            self.error.get_or_insert_with(|| StorageError::Corrupted(e.to_string()));
        }
        found
    }
}
