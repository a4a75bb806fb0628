//! The redb file that holds the log, the projections and small blobs, and can be reopened in place.
//!
//! After an I/O error redb refuses to go on until the file is opened anew, which finds the last commit.
//! [`Db::reopen`] does that without a restart of the process: readers of the old handle get an error,
//! those that come after get the new one.

use std::path::{Path, PathBuf};

use parking_lot::RwLock;
use redb::{Builder, Database, ReadTransaction, ReadableDatabase, WriteTransaction};

/// Why the file can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DbError {
    /// Another process has it open.
    #[error("another process has {} open", .0.display())]
    Held(PathBuf),
    /// It can't be opened or read.
    #[error("{}: {source}", path.display())]
    Storage {
        /// The file.
        path: PathBuf,
        /// What redb said.
        source: redb::Error,
    },
    /// A reopening failed, and the next has not been tried yet.
    #[error("the database is closed after a storage error")]
    Closed,
}

/// An open redb file.
#[derive(Debug)]
pub struct Db {
    path: PathBuf,
    cache_bytes: usize,
    inner: RwLock<Option<Database>>,
}

impl Db {
    /// Opens the file, or makes it. Blocks; after a crash it walks the file once.
    ///
    /// `cache_bytes` bounds redb's page cache.
    ///
    /// # Errors
    /// [`DbError::Held`] where another process has the file open.
    pub fn open(path: &Path, cache_bytes: usize) -> Result<Db, DbError> {
        let database = open_file(path, cache_bytes)?;
        Ok(Db { path: path.to_owned(), cache_bytes, inner: RwLock::new(Some(database)) })
    }

    /// A snapshot to read from.
    ///
    /// # Errors
    /// Storage errors, and [`DbError::Closed`].
    pub fn begin_read(&self) -> Result<ReadTransaction, DbError> {
        let inner = self.inner.read();
        let database = inner.as_ref().ok_or(DbError::Closed)?;
        database.begin_read().map_err(|e| self.error(e))
    }

    /// The write transaction; waits for the one before it.
    ///
    /// # Errors
    /// Storage errors, and [`DbError::Closed`].
    pub fn begin_write(&self) -> Result<WriteTransaction, DbError> {
        let inner = self.inner.read();
        let database = inner.as_ref().ok_or(DbError::Closed)?;
        database.begin_write().map_err(|e| self.error(e))
    }

    /// Closes the file and opens it anew, at its last commit.
    ///
    /// # Errors
    /// As [`Db::open`]. The database stays closed until a later call succeeds.
    pub fn reopen(&self) -> Result<(), DbError> {
        let mut inner = self.inner.write();
        // What closing says does not matter: the file is given up either way.
        drop(inner.take().map(Database::close));
        *inner = Some(open_file(&self.path, self.cache_bytes)?);
        Ok(())
    }

    /// Wraps an error of redb with the file's path.
    pub fn error(&self, source: impl Into<redb::Error>) -> DbError {
        DbError::Storage { path: self.path.clone(), source: source.into() }
    }
}

fn open_file(path: &Path, cache_bytes: usize) -> Result<Database, DbError> {
    Builder::new().set_cache_size(cache_bytes).create(path).map_err(|e| match e {
        redb::DatabaseError::DatabaseAlreadyOpen => DbError::Held(path.to_owned()),
        other => DbError::Storage { path: path.to_owned(), source: other.into() },
    })
}
