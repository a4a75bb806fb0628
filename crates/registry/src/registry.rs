//! The registry of one data folder: its parts, its opening and its end.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use supercargo_blobs::{BlobStore, StoreOptions};
use supercargo_eventlog::{Actor, Api, Db, Log, Origin, RedbLog, RepositoryConfig};
use supercargo_model::{RepoKey, Timestamp};
use supercargo_projections::tables::{Orphans, Wait, prefix};
use supercargo_projections::{Snapshot, prefix_end};
use tokio::sync::watch;

use crate::command::{Command, GcPolicy};
use crate::folder::{DataFolder, OpenError};
use crate::hot::Hot;
use crate::leases::Leases;
use crate::ledger::{Ledger, Parts, Payload, WriterOptions};
use crate::stats::Stats;
use crate::{Error, Result};

/// Who is asking, and through what.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Who.
    pub actor: Actor,
    /// Through what.
    pub origin: Origin,
}

impl Caller {
    /// The registry itself.
    pub const fn system(api: Api) -> Caller {
        Caller { actor: Actor::System, origin: Origin::local(api) }
    }
}

/// The client's address, as the server leaves it in the extensions of each request for the surfaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer(pub std::net::IpAddr);

/// How the client speaks to the server, or to the proxy before it: what a URL that is meant for it begins with.
/// Left in the extensions of each request for the surfaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// In the clear.
    Http,
    /// Over TLS.
    Https,
}

impl Scheme {
    /// `http` or `https`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }

    /// The port that goes without saying.
    pub const fn port(self) -> u16 {
        match self {
            Scheme::Http => 80,
            Scheme::Https => 443,
        }
    }
}

/// The host that the client asked for, and the port where it is not the scheme's own, as a trusted proxy says, or else the
/// configuration. Nothing else is in it, so that it can stand in a URL. Left in the extensions of each request of which one
/// of them says so; of others the request itself does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForwardedHost(pub String);

/// Who the client is by a certificate that it showed and that the listener's authorities vouch for. Left in the
/// extensions of each request of such a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The subject's distinguished name, as `CN=robot, O=Example`.
    pub subject: String,
    /// The subject's common name, if it has one.
    pub common_name: Option<String>,
    /// The alternative names that are DNS names, mail addresses or URIs.
    pub alternative_names: Vec<String>,
}

/// Where the time comes from. Only the edges ask.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// The present moment.
    fn now(&self) -> Timestamp;
}

/// The clock of the machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }
}

/// A clock that never goes back, nor behind the log's last record: what was promised for a while by a clock
/// that was then set right would otherwise have run out already.
#[derive(Debug)]
struct Forward {
    clock: Arc<dyn Clock>,
    latest: AtomicI64,
}

impl Clock for Forward {
    fn now(&self) -> Timestamp {
        let now = self.clock.now().as_micros();
        Timestamp::from_micros(self.latest.fetch_max(now, Ordering::Relaxed).max(now))
    }
}

/// How a registry is opened.
#[derive(Debug, Clone)]
pub struct Options {
    /// The data folder.
    pub data: PathBuf,
    /// Whether it is made where there is none.
    pub create: bool,
    /// How long what nothing refers to is kept.
    pub gc: GcPolicy,
    /// How long a folder is empty before it is pruned (`prune.empty_after`).
    pub prune_empty_after: Duration,
    /// How long an upload session may lie idle (`uploads.expire_after`).
    pub uploads_expire_after: Duration,
    /// The writer's queue.
    pub writer: WriterOptions,
    /// The blob store.
    pub store: StoreOptions,
    /// Bytes of redb's page cache (`storage.cache`).
    pub cache_bytes: usize,
    /// Bytes of manifests and tag listings kept in memory (`cache.responses`).
    pub hot_bytes: u64,
    /// Free bytes on the disk below which nothing but what frees room is appended to the log. Less than the
    /// blob store's own reserve, so that a disk filled by uploads leaves room for records.
    pub log_reserve_bytes: u64,
    /// The clock.
    pub clock: Arc<dyn Clock>,
}

impl Options {
    /// The defaults, for a data folder.
    pub fn new(data: impl Into<PathBuf>) -> Options {
        Options {
            data: data.into(),
            create: true,
            gc: GcPolicy::default(),
            prune_empty_after: Duration::from_secs(5 * 60),
            uploads_expire_after: Duration::from_secs(24 * 60 * 60),
            writer: WriterOptions::default(),
            store: StoreOptions::default(),
            cache_bytes: 16 << 20,
            hot_bytes: 16 << 20,
            log_reserve_bytes: 16 << 20,
            clock: Arc::new(SystemClock),
        }
    }
}

/// The key of the repository that the first start makes.
pub const FIRST_REPOSITORY: &str = "docker-local";

/// The registry of one data folder. Shared as an `Arc`.
#[derive(Debug)]
pub struct Registry {
    pub(crate) folder: DataFolder,
    pub(crate) db: Arc<Db>,
    pub(crate) log: RedbLog,
    pub(crate) blobs: BlobStore,
    pub(crate) ledger: Ledger,
    pub(crate) leases: Arc<Leases>,
    pub(crate) hot: Arc<Hot>,
    pub(crate) stats: Arc<Stats>,
    /// Whether it is not known what came of the last commit.
    pub(crate) in_doubt: Arc<AtomicBool>,
    pub(crate) accounts_epoch: Arc<AtomicU64>,
    /// How often a repository was made, changed or removed.
    pub(crate) repositories_epoch: Arc<AtomicU64>,
    pub(crate) hosted: parking_lot::RwLock<crate::hosted::LastRead>,
    pub(crate) unpacking: crate::v1::Unpacking,
    pub(crate) walks: crate::tree::Walks,
    pub(crate) options: Options,
    /// One collection, one pruning, one scrub at a time.
    pub(crate) collecting: tokio::sync::Mutex<()>,
    pub(crate) pruning: tokio::sync::Mutex<()>,
    pub(crate) scrubbing: tokio::sync::Mutex<()>,
    /// One large file at a time whose checksums are found out.
    pub(crate) hashing: tokio::sync::Mutex<()>,
    closing: watch::Sender<bool>,
}

impl Registry {
    /// Opens the data folder and starts the writer. Blocks. Nothing is written to a folder that is there
    /// already, until a command is.
    ///
    /// # Errors
    /// [`OpenError`], as its variants say.
    pub fn open(mut options: Options) -> Result<Arc<Registry>, OpenError> {
        let folder =
            DataFolder::open(&options.data, options.create, options.cache_bytes, options.store.clone())?;
        let storage = |message: String| OpenError::Storage { path: folder.path.clone(), message };
        let last = folder.log.last().map_err(|e| storage(e.to_string()))?;
        let latest = AtomicI64::new(last.map_or(i64::MIN, |record| record.at.as_micros()));
        options.clock = Arc::new(Forward { clock: options.clock, latest });
        // A disk without a byte left is full whatever the reserve.
        options.log_reserve_bytes = options.log_reserve_bytes.max(1);
        let leases = Arc::new(Leases::default());
        let hot = Arc::new(Hot::new(options.hot_bytes));
        let stats = Arc::new(Stats::default());
        let in_doubt = Arc::new(AtomicBool::new(false));
        let accounts_epoch = Arc::new(AtomicU64::new(0));
        // 0 is what memory begins with.
        let repositories_epoch = Arc::new(AtomicU64::new(1));
        let store = folder.blobs.clone();
        let parts = Parts {
            db: Arc::clone(&folder.db),
            log: folder.log.clone(),
            leases: Arc::clone(&leases),
            hot: Arc::clone(&hot),
            stats: Arc::clone(&stats),
            clock: Arc::clone(&options.clock),
            in_doubt: Arc::clone(&in_doubt),
            accounts_epoch: Arc::clone(&accounts_epoch),
            repositories_epoch: Arc::clone(&repositories_epoch),
            reserve_bytes: options.log_reserve_bytes,
            free_bytes: Box::new(move || store.free_bytes()),
        };
        let ledger = Ledger::start(parts, options.writer).map_err(|e| storage(e.to_string()))?;
        Ok(Arc::new(Registry {
            db: Arc::clone(&folder.db),
            log: folder.log.clone(),
            blobs: folder.blobs.clone(),
            folder,
            ledger,
            leases,
            hot,
            stats,
            in_doubt,
            accounts_epoch,
            repositories_epoch,
            hosted: parking_lot::RwLock::default(),
            unpacking: crate::v1::Unpacking::default(),
            walks: crate::tree::Walks::default(),
            options,
            collecting: tokio::sync::Mutex::default(),
            pruning: tokio::sync::Mutex::default(),
            scrubbing: tokio::sync::Mutex::default(),
            hashing: tokio::sync::Mutex::default(),
            closing: watch::Sender::new(false),
        }))
    }

    /// At the first start, makes the repository that everybody expects.
    ///
    /// # Errors
    /// Those of a commit.
    pub async fn ensure_first_repository(&self) -> Result<()> {
        if self.log.size().map_err(Error::internal)? > 0 {
            return Ok(());
        }
        let repository = RepoKey::parse(FIRST_REPOSITORY).map_err(Error::internal)?;
        let config = RepositoryConfig {
            description: "Made at the first start".to_owned(),
            ..RepositoryConfig::default()
        };
        let command = Command::CreateRepository { repository, config };
        match self.ledger.submit(&Caller::system(Api::Startup), command, Payload::None).await {
            Ok(_) | Err(Error::RepositoryExists(_)) => Ok(()),
            Err(e) => Err(e),
        }
    }

    /// Tells those who follow the log that the registry is about to close: [`Registry::closing`] returns.
    pub fn begin_close(&self) {
        self.unpacking.stop();
        self.closing.send_replace(true);
    }

    /// Whether the registry is about to close.
    pub fn is_closing(&self) -> bool {
        *self.closing.borrow()
    }

    /// Waits until the registry is about to close.
    pub async fn closing(&self) {
        // The sender lives as long as the registry does, so this can't fail.
        let _ = self.closing.subscribe().wait_for(|closing| *closing).await;
    }

    /// Whether commands would be taken and written: the writer is at work and the disk has room.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::DiskFull`].
    pub fn check_ready(&self) -> Result<()> {
        if self.is_closing() || !self.ledger.at_work() {
            return Err(Error::Unavailable);
        }
        self.snapshot()?;
        let free = self.blobs.free_bytes().map_err(Error::internal)?;
        if free < self.options.log_reserve_bytes { Err(Error::DiskFull) } else { Ok(()) }
    }

    /// How much waits to be collected, for whatever reason. Counts up to `limit` of it.
    ///
    /// # Errors
    /// Storage errors.
    pub fn orphans(&self, limit: u64) -> Result<u64> {
        let snapshot = self.snapshot()?;
        let mut count = 0;
        for wait in Wait::ALL {
            let orphans = prefix::orphans(wait);
            snapshot
                .visit::<Orphans>(&orphans, &prefix_end(&orphans), |_, ()| {
                    count += 1;
                    count < limit
                })
                .map_err(Error::internal)?;
        }
        Ok(count)
    }

    /// Takes no more commands and finishes those that are queued. Blocks.
    pub fn close(&self) {
        self.begin_close();
        self.ledger.finish();
    }

    /// The log.
    pub fn log(&self) -> &RedbLog {
        &self.log
    }

    /// The data folder.
    pub fn folder(&self) -> &DataFolder {
        &self.folder
    }

    /// What it was opened with.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// What it did.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// How many commands wait for the writer.
    pub fn queued_commands(&self) -> usize {
        self.ledger.queued()
    }

    /// How many leases are held.
    pub fn leases_held(&self) -> usize {
        self.leases.held()
    }

    /// How often a manifest or listing was found in memory, and how often not.
    pub fn hot_hits_and_misses(&self) -> (u64, u64) {
        self.hot.hits_and_misses()
    }

    /// The present moment.
    pub fn now(&self) -> Timestamp {
        self.options.clock.now()
    }

    pub(crate) fn snapshot(&self) -> Result<Snapshot> {
        Snapshot::open(&self.db).map_err(Error::internal)
    }
}
