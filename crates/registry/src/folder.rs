//! The data folder: where its parts lie, and that one process at a time has it.
//!
//! ```text
//! <data>/supercargo.redb     the log, the projections, small blobs (redb; locked while open)
//! <data>/blobs/…             larger blobs by digest   (see supercargo-blobs)
//! <data>/uploads/…           upload sessions          (see supercargo-blobs)
//! ```

use std::ops::ControlFlow;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use supercargo_blobs::{BlobStore, StoreOptions};
use supercargo_eventlog::{Db, DbError, Log, RedbLog};
use supercargo_projections::{RebuildError, Rebuilder};

/// The file in a data folder that holds the log and the tables.
pub const DATABASE_FILE: &str = "supercargo.redb";

/// Records between two lines that say how far the folding of a whole log has come: some seconds.
const TOLD_EVERY_RECORDS: u64 = 500_000;

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
    /// Opens a data folder. `create` makes one where there is none. Blocks; for as long as a replay takes where
    /// another version of the program wrote the tables in another layout.
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
            // It holds hashes of passwords, and content that not everybody may read.
            let made = std::fs::DirBuilder::new().recursive(true).mode(0o750).create(path);
            made.map_err(|e| storage(e.to_string()))?;
        } else if !file.exists() {
            return Err(OpenError::Missing(path.to_owned()));
        }
        let db = Db::open(&file, cache_bytes).map_err(|e| match e {
            DbError::Held(_) => OpenError::Held(path.to_owned()),
            other => storage(other.to_string()),
        })?;
        let db = Arc::new(db);
        let log = RedbLog::new(Arc::clone(&db)).map_err(|e| storage(e.to_string()))?;
        lay_out(&db, &log).map_err(|e| storage(e.to_string()))?;
        let blobs = BlobStore::open(path, store).map_err(|e| storage(e.to_string()))?;
        Ok(DataFolder { path: path.to_owned(), db, log, blobs })
    }

    /// The log.
    pub fn log(&self) -> &RedbLog {
        &self.log
    }
}

/// Folds the log again where the tables are not laid out as this program reads and writes them. If that is interrupted
/// the next one goes on.
fn lay_out(db: &Db, log: &RedbLog) -> Result<(), RebuildError> {
    let rebuilder = Rebuilder::new(db, log);
    if rebuilder.is_current()? {
        return Ok(());
    }
    let records = log.size()?;
    if records == 0 {
        return rebuilder.begin();
    }
    tracing::warn!(records, "the tables are those of another version of the program: folding the log anew");
    let mut told = 0;
    rebuilder.run(|progress| {
        if progress.folded - told >= TOLD_EVERY_RECORDS {
            told = progress.folded;
            tracing::info!(folded = progress.folded, of = progress.of, "folding the log anew");
        }
        ControlFlow::Continue(())
    })?;
    tracing::info!(records, "the log is folded");
    Ok(())
}

#[cfg(test)]
mod tests {
    use redb::TableDefinition;
    use supercargo_eventlog::{Actor, Api, Event, Origin, Record, RepositoryConfig};
    use supercargo_model::{RepoKey, Timestamp};
    use supercargo_projections::tables::Repositories;
    use supercargo_projections::{LAYOUT, Snapshot};

    use super::*;

    fn open(path: &Path) -> DataFolder {
        DataFolder::open(path, true, 1 << 20, StoreOptions::default()).unwrap()
    }

    #[test]
    fn a_new_folder_is_not_for_everybody() {
        use std::os::unix::fs::PermissionsExt as _;

        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("some/data");
        drop(open(&data));
        assert_eq!(std::fs::metadata(&data).unwrap().permissions().mode() & 0o007, 0);
    }

    #[test]
    fn tables_of_another_layout_are_folded_anew() {
        let folder = tempfile::tempdir().unwrap();
        let key = RepoKey::parse("docker-local").unwrap();
        let data = open(folder.path());
        assert!(Rebuilder::new(&data.db, &data.log).is_current().unwrap());
        let origin = Origin { api: Api::Startup, remote: None, user_agent: None, request_id: None };
        let event = Event::RepositoryCreated { repository: key.clone(), config: RepositoryConfig::default() };
        let record = Record {
            seq: 0,
            id: uuid::Uuid::nil(),
            at: Timestamp::default(),
            actor: Actor::Anonymous,
            origin,
            event,
        };
        // In the log and, as another program might have it, in no table of ours.
        data.log.append(0, &[record]).unwrap();
        let txn = data.db.begin_write().unwrap();
        txn.open_table(TableDefinition::<&str, (u64, u64)>::new("generations"))
            .unwrap()
            .insert("layout in use", (LAYOUT + 1, 0))
            .unwrap();
        txn.commit().unwrap();
        drop(data);

        let data = open(folder.path());
        assert!(Rebuilder::new(&data.db, &data.log).is_current().unwrap());
        assert!(Snapshot::open(&data.db).unwrap().get::<Repositories>(&key).unwrap().is_some());
    }
}
