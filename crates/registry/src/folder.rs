//! The data folder: where its parts lie, and that one process at a time has it.
//!
//! ```text
//! <data>/supercargo.redb     the log, the projections, small blobs (redb; locked while open)
//! <data>/blobs/…             larger blobs by digest   (see supercargo-blobs)
//! <data>/uploads/…           upload sessions          (see supercargo-blobs)
//! ```

use std::path::{Path, PathBuf};
use std::sync::Arc;

use supercargo_blobs::{BlobStore, StoreOptions};
use supercargo_eventlog::{Db, DbError, RedbLog};

/// The file in a data folder that holds the log and the tables.
pub const DATABASE_FILE: &str = "supercargo.redb";

/// Why a data folder can't be opened. The text is fit to be shown to a person.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process has it.
    #[error(
        "another process, most likely a server, has the data folder {}: stop it, or talk to it with --server URL",
        .0.display()
    )]
    Held(PathBuf),
    /// There is no registry in it.
    #[error("there is no registry in {}: `supercargo serve --data {}` makes one", .0.display(), .0.display())]
    Missing(PathBuf),
    /// The storage failed.
    #[error("the data folder {}: {message}", path.display())]
    Storage {
        /// The folder.
        path: PathBuf,
        /// What went wrong.
        message: String,
    },
}

/// An open data folder, with no writer at work in it.
#[derive(Debug, Clone)]
pub struct DataFolder {
    pub(crate) path: PathBuf,
    pub(crate) db: Arc<Db>,
    pub(crate) log: RedbLog,
    pub(crate) blobs: BlobStore,
}

impl DataFolder {
    /// Opens a data folder. `create` makes one where there is none. Blocks.
    ///
    /// # Errors
    /// [`OpenError`], as its variants say.
    pub fn open(
        path: &Path,
        create: bool,
        cache_bytes: usize,
        store: StoreOptions,
    ) -> Result<DataFolder, OpenError> {
        let storage = |message: String| OpenError::Storage { path: path.to_owned(), message };
        let file = path.join(DATABASE_FILE);
        if create {
            std::fs::create_dir_all(path).map_err(|e| storage(e.to_string()))?;
        } else if !file.exists() {
            return Err(OpenError::Missing(path.to_owned()));
        }
        let db = Db::open(&file, cache_bytes).map_err(|e| match e {
            DbError::Held(_) => OpenError::Held(path.to_owned()),
            other => storage(other.to_string()),
        })?;
        let db = Arc::new(db);
        let log = RedbLog::new(Arc::clone(&db)).map_err(|e| storage(e.to_string()))?;
        let blobs = BlobStore::open(path, store).map_err(|e| storage(e.to_string()))?;
        Ok(DataFolder { path: path.to_owned(), db, log, blobs })
    }

    /// The log.
    pub fn log(&self) -> &RedbLog {
        &self.log
    }
}
