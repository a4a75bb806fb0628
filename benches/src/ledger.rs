//! The ledger without a server around it: commits through the registry's own writer, and the log folded
//! again from its beginning.

use std::cell::{Cell, RefCell};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::TryStreamExt as _;
use futures_util::stream::{self, FuturesUnordered};
use supercargo_eventlog::{Db, Log as _, Record, RedbLog};
use supercargo_model::{Algorithm, Digest, Reference, RepoKey, RepoName, Tag};
use supercargo_projections::{Empty, Rebuilder, Working, fold};
use supercargo_registry::{Caller, DATABASE_FILE, FIRST_REPOSITORY, ManifestPush, Options, Registry};

use crate::content::{Image, MANIFEST};
use crate::floor::appends_per_second;
use crate::folder::Folder;
use crate::history::{History, docker_client};
use crate::report::{Expected, Row, Unit};
use crate::rounds::alternate;
use crate::settings::Settings;
use crate::{Error, Result};

/// Writers, and how many times what one of them commits so many should.
const WAITING: [(usize, f64); 2] = [(32, 5.0), (128, 8.0)];
/// What one writer should come to, by what a bare append with a sync does.
const ONE_WRITER_OF_FLOOR: f64 = 0.4;
/// Events per second of a replay.
const INTO_MEMORY: f64 = 400_000.0;
const INTO_TABLES: f64 = 80_000.0;
/// Images that writers push to one name after the other: their blobs are there, and are mounted.
const IMAGES: u64 = 64;
/// The name that holds the images' blobs.
const SHELF: &str = "bench/shelf";
/// Records that are appended by one commit while a log is made up.
pub(crate) const BATCH: u64 = 20_000;

/// What a round of commits measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Commits {
    Floor,
    Writers(usize),
}

/// Commits of one event each through [`Registry`], on a log that has a past: blobs mounted, manifests
/// pushed, tags set.
pub(crate) async fn commits(settings: &Settings) -> Result<Vec<Row>> {
    let folder = folder_with_events(settings, settings.replay_events)?;
    let registry = Registry::open(Options::new(folder.path())).map_err(Error::ledger)?;
    let shelf = Shelf::fill(&registry).await?;
    let kinds = [Commits::Floor, Commits::Writers(1)]
        .into_iter()
        .chain(WAITING.map(|(writers, _)| Commits::Writers(writers)))
        .collect::<Vec<_>>();
    let slowest = RefCell::new(Vec::new());
    let samples = alternate(settings.rounds, &kinds, async |kind, _| match kind {
        Commits::Floor => appends_per_second(settings),
        Commits::Writers(writers) => {
            let done = shelf.write(writers, settings.duration).await?;
            slowest.borrow_mut().push((writers, done.p99.as_secs_f64() * 1e3));
            Ok(done.per_second)
        }
    })
    .await?;
    registry.close();
    let slowest = slowest.take();
    let p99 = |writers: usize| -> Vec<f64> {
        slowest.iter().filter(|(by, _)| *by == writers).map(|(_, milliseconds)| *milliseconds).collect()
    };
    let floor = samples.of(Commits::Floor);
    let one = samples.of(Commits::Writers(1));
    let expected = Expected::RatioAtLeast(ONE_WRITER_OF_FLOOR);
    let mut rows =
        vec![Row::beside("commits, 1 writer", Unit::PerSecond, one, "append and fdatasync", floor, expected)];
    for (writers, bound) in WAITING {
        let many = samples.of(Commits::Writers(writers));
        let name = format!("commits, {writers} writers");
        let expected = Expected::RatioAtLeast(bound);
        rows.push(Row::beside(&name, Unit::PerSecond, many, "1 writer", one, expected));
        rows.push(Row::alone(format!("{name}, p99"), Unit::Milliseconds, &p99(writers), Expected::Nothing));
    }
    Ok(rows)
}

/// What writers did.
struct Written {
    per_second: f64,
    /// The time that all but one in a hundred commits took no longer than.
    p99: Duration,
}

/// A registry with images on it, to be pushed to names that do not have them.
struct Shelf<'r> {
    registry: &'r Registry,
    caller: Caller,
    repository: RepoKey,
    name: RepoName,
    images: Vec<Image>,
    /// So that no name and no manifest is used twice.
    used: Cell<u64>,
}

impl<'r> Shelf<'r> {
    async fn fill(registry: &'r Registry) -> Result<Shelf<'r>> {
        let shelf = Shelf {
            registry,
            caller: docker_client(),
            repository: RepoKey::parse(FIRST_REPOSITORY).map_err(Error::ledger)?,
            name: RepoName::parse(SHELF).map_err(Error::ledger)?,
            images: (0..IMAGES).map(Image::numbered).collect(),
            used: Cell::new(0),
        };
        let blobs = shelf.images.iter().flat_map(|image| &image.blobs);
        blobs
            .map(async |blob| {
                let Shelf { caller, repository, name, .. } = &shelf;
                let upload = registry.start_upload(caller, repository, name, Algorithm::Sha256).await?;
                let body = stream::iter([Ok(blob.head.clone())]);
                registry.finish_upload(caller, repository, name, upload, blob.digest, None, body).await
            })
            .collect::<FuturesUnordered<_>>()
            .try_collect::<()>()
            .await
            .map_err(Error::ledger)?;
        Ok(shelf)
    }

    /// Lets so many writers commit for so long, each its next when its last is durable.
    async fn write(&self, writers: usize, duration: Duration) -> Result<Written> {
        let before = self.log_size()?;
        let start = Instant::now();
        let took = RefCell::new(Vec::new());
        (0..writers)
            .map(async |_| self.write_until(start + duration, &took).await)
            .collect::<FuturesUnordered<_>>()
            .try_collect::<()>()
            .await?;
        let elapsed = start.elapsed();
        let mut took = took.take();
        let events = self.log_size()? - before;
        if events != took.len() as u64 {
            return Err(Error::Wrong(format!("{} commands made {events} events", took.len())));
        }
        took.sort_unstable();
        let p99 = took.get(took.len() * 99 / 100).copied().unwrap_or_default();
        Ok(Written { per_second: events as f64 / elapsed.as_secs_f64(), p99 })
    }

    /// Pushes images to one fresh name after the other. Each step is a command that makes one event.
    async fn write_until(&self, end: Instant, took: &RefCell<Vec<Duration>>) -> Result<()> {
        let done = |began: Instant| {
            let now = Instant::now();
            took.borrow_mut().push(now - began);
            now >= end
        };
        loop {
            let name = RepoName::parse(&format!("bench/app-{}", self.number())).map_err(Error::ledger)?;
            for image in &self.images {
                for blob in &image.blobs {
                    let began = Instant::now();
                    self.mount(&name, blob.digest).await?;
                    if done(began) {
                        return Ok(());
                    }
                }
                let number = self.number();
                let (manifest, digest) = image.variant(number);
                let tag = Tag::parse(&format!("v{number}")).map_err(Error::ledger)?;
                for reference in [Reference::Digest(digest), Reference::Tag(tag)] {
                    let began = Instant::now();
                    let Shelf { registry, caller, repository, .. } = self;
                    let push = ManifestPush::new(reference, MANIFEST, manifest.clone());
                    registry.push_manifest(caller, repository, &name, push).await.map_err(Error::ledger)?;
                    if done(began) {
                        return Ok(());
                    }
                }
            }
        }
    }

    async fn mount(&self, name: &RepoName, digest: Digest) -> Result<()> {
        let mounted =
            self.registry.mount_blob(&self.caller, &self.repository, name, digest, Some(&self.name)).await;
        if mounted.map_err(Error::ledger)? {
            return Ok(());
        }
        Err(Error::Wrong(format!("{digest} is not in {}", self.name)))
    }

    fn number(&self) -> u64 {
        self.used.replace(self.used.get() + 1)
    }

    fn log_size(&self) -> Result<u64> {
        self.registry.log().size().map_err(Error::ledger)
    }
}

/// What a round of replays measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Replay {
    Decode,
    Memory,
    Tables,
}

/// The log read and decoded; folded into memory; folded into tables that take the place of those in use.
pub(crate) async fn replay(settings: &Settings) -> Result<Vec<Row>> {
    let folder = folder_with_events(settings, settings.replay_events)?;
    let (db, log) = open(folder.path())?;
    let events = settings.replay_events;
    let kinds = [Replay::Decode, Replay::Memory, Replay::Tables];
    let samples = alternate(settings.rounds, &kinds, async |kind, _| {
        let start = Instant::now();
        match kind {
            Replay::Decode => {
                for record in log.read(0..events).map_err(Error::ledger)? {
                    std::hint::black_box(record.map_err(Error::ledger)?);
                }
            }
            Replay::Memory => {
                let mut tables = Working::new(Empty);
                for record in log.read(0..events).map_err(Error::ledger)? {
                    fold(&mut tables, &record.map_err(Error::ledger)?);
                }
                let elapsed = start.elapsed();
                // Giving the memory back is no part of it.
                drop(tables);
                return Ok(events as f64 / elapsed.as_secs_f64());
            }
            Replay::Tables => rebuild(&db, &log)?,
        }
        Ok(events as f64 / start.elapsed().as_secs_f64())
    })
    .await?;
    let row = |what: &str, kind, expected| {
        Row::alone(format!("replay, {what}"), Unit::PerSecond, samples.of(kind), expected)
    };
    Ok(vec![
        row("read and decoded", Replay::Decode, Expected::Nothing),
        row("into memory", Replay::Memory, Expected::AtLeast(INTO_MEMORY)),
        row("into tables", Replay::Tables, Expected::AtLeast(INTO_TABLES)),
    ])
}

/// A data folder whose log holds so many records, with the tables folded from them. The records' blobs are
/// not there.
///
/// # Errors
/// Where it can't be written.
pub(crate) fn folder_with_events(settings: &Settings, events: u64) -> Result<Folder> {
    let mut history = History::new()?;
    let mut left = events;
    folder_with(settings, || {
        let batch = BATCH.min(left);
        left -= batch;
        history.take(batch)
    })
}

/// As [`folder_with_events`], with the records that are given, until there are none.
///
/// # Errors
/// Where it can't be written.
pub(crate) fn folder_with(
    settings: &Settings,
    mut next: impl FnMut() -> Result<Vec<Record>>,
) -> Result<Folder> {
    let folder = Folder::new(settings, "log-")?;
    let (db, log) = open(folder.path())?;
    let mut size = 0;
    loop {
        let batch = next()?;
        if batch.is_empty() {
            break;
        }
        log.append(size, &batch).map_err(Error::ledger)?;
        size += batch.len() as u64;
    }
    rebuild(&db, &log)?;
    Ok(folder)
}

fn open(folder: &Path) -> Result<(Arc<Db>, RedbLog)> {
    let options = Options::new(folder);
    let db = Arc::new(Db::open(&folder.join(DATABASE_FILE), options.cache_bytes).map_err(Error::ledger)?);
    let log = RedbLog::new(Arc::clone(&db)).map_err(Error::ledger)?;
    Ok((db, log))
}

fn rebuild(db: &Db, log: &RedbLog) -> Result<()> {
    Rebuilder::new(db, log).run(|_| ControlFlow::Continue(())).map(|_| ()).map_err(Error::ledger)
}
