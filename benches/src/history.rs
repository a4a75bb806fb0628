//! A made-up past: the records that a registry of a few hundred busy names would have written, from a seed.
//! Each image adds three blobs to the base layer that its name has already, is pushed, and sets a tag; the
//! oldest are deleted, and now and then what nothing refers to any more is collected.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use supercargo_eventlog::event::{CollectedBlob, CollectedContents};
use supercargo_eventlog::{Actor, Api, Event, Origin, Record, RepositoryConfig};
use supercargo_model::{Descriptor, Digest, Manifest, RepoKey, RepoName, Tag, Timestamp};
use supercargo_registry::{Caller, FIRST_REPOSITORY};
use uuid::Uuid;

use crate::content::{CONFIG, LAYER, MANIFEST, Random};
use crate::{Error, Result};

/// Names that are pushed to, in so many groups.
const NAMES: u64 = 400;
const GROUPS: u64 = 20;
/// Versions of a name that are kept; the one before them is deleted.
const VERSIONS_KEPT: usize = 64;
/// Every which build moves `latest` instead of making a version.
const LATEST_EVERY: u64 = 4;
/// Records between two collections, and images that one of them removes at most.
const COLLECT_EVERY: u64 = 10_000;
const COLLECTED_MAX: usize = 256;
/// Between two records.
const STEP: Duration = Duration::from_millis(700);
/// When it began: 2024-01-01, in microseconds since the epoch.
const BEGAN: i64 = 1_704_067_200_000_000;
/// A manifest of such an image, in bytes.
const MANIFEST_BYTES: u64 = 870;

/// Somebody who pushes from this machine with the Docker client.
pub fn docker_client() -> Caller {
    let origin = Origin {
        api: Api::DockerV2,
        remote: Some(std::net::Ipv4Addr::LOCALHOST.into()),
        user_agent: Some("docker/27.5.1 go/go1.22.11 git-commit/4c9b3b0 os/linux arch/amd64".to_owned()),
        request_id: None,
    };
    Caller { actor: Actor::Anonymous, origin }
}

/// Content with its size in bytes.
pub(crate) type Content = (Digest, u64);

#[derive(Debug, Clone)]
struct Image {
    manifest: Content,
    /// What it does not share: its configuration and two layers.
    own: [Content; 3],
}

#[derive(Debug)]
struct Name {
    name: RepoName,
    base: Option<Content>,
    builds: u64,
    latest: Option<Image>,
    versions: VecDeque<(Tag, Image)>,
}

/// The records, as many as are asked for.
#[derive(Debug)]
pub struct History {
    random: Random,
    repository: RepoKey,
    caller: Caller,
    names: Vec<Name>,
    /// Images that nothing refers to any more, with the place of their name.
    waiting: VecDeque<(usize, Image)>,
    collected_at: u64,
    /// Events that belong to what was begun.
    ready: VecDeque<Event>,
    next: u64,
}

impl History {
    /// The beginning.
    ///
    /// # Errors
    /// Where a name that is made here is none to the model.
    pub fn new() -> Result<History> {
        History::of_names(NAMES)
    }

    fn of_names(count: u64) -> Result<History> {
        let repository = RepoKey::parse(FIRST_REPOSITORY).map_err(Error::ledger)?;
        let names = (0..count)
            .map(|number| {
                let name = RepoName::parse(&format!("team-{}/app-{number}", number % GROUPS));
                let name = name.map_err(Error::ledger)?;
                Ok(Name { name, base: None, builds: 0, latest: None, versions: VecDeque::new() })
            })
            .collect::<Result<_>>()?;
        let created =
            Event::RepositoryCreated { repository: repository.clone(), config: RepositoryConfig::default() };
        Ok(History {
            random: Random::from_seed(0),
            repository,
            caller: docker_client(),
            names,
            waiting: VecDeque::new(),
            collected_at: 0,
            ready: VecDeque::from([created]),
            next: 0,
        })
    }

    /// The next records.
    ///
    /// # Errors
    /// As [`History::new`].
    pub fn take(&mut self, count: u64) -> Result<Vec<Record>> {
        (0..count).map(|_| self.record()).collect()
    }

    fn record(&mut self) -> Result<Record> {
        let event = loop {
            match self.ready.pop_front() {
                Some(event) => break event,
                None if self.next - self.collected_at >= COLLECT_EVERY && !self.waiting.is_empty() => {
                    self.collect();
                }
                None => self.build()?,
            }
        };
        let seq = self.next;
        self.next += 1;
        Ok(record_of(seq, &mut self.random, &self.caller, event))
    }

    /// An image is built and pushed to one of the names, and what is too old there is deleted.
    fn build(&mut self) -> Result<()> {
        let place = (self.random.number() % self.names.len() as u64) as usize;
        let base = match self.names[place].base {
            Some(base) => base,
            None => {
                let base = content(&mut self.random, 30 << 20);
                self.add_blob(place, base);
                self.names[place].base = Some(base);
                base
            }
        };
        let mut own = [8 << 10, 20 << 20, 1 << 20];
        let own = own.each_mut().map(|size| content(&mut self.random, *size));
        for blob in own {
            self.add_blob(place, blob);
        }
        let manifest = (content(&mut self.random, 1).0, MANIFEST_BYTES);
        let image = Image { manifest, own };
        let repository = self.repository.clone();
        let site = &mut self.names[place];
        let name = site.name.clone();
        self.ready.push_back(Event::ManifestPushed {
            repository: repository.clone(),
            name: name.clone(),
            digest: manifest.0,
            manifest: described(&image, base),
        });
        site.builds += 1;
        let latest = site.builds.is_multiple_of(LATEST_EVERY);
        let tag = if latest { "latest".to_owned() } else { format!("1.0.{}", site.builds) };
        let tag = Tag::parse(&tag).map_err(Error::ledger)?;
        let replaced = if latest { site.latest.replace(image) } else { None };
        self.ready.push_back(Event::TagSet {
            repository: repository.clone(),
            name: name.clone(),
            tag: tag.clone(),
            digest: manifest.0,
            previous: replaced.as_ref().map(|image| image.manifest.0),
        });
        self.waiting.extend(replaced.map(|image| (place, image)));
        if latest {
            return Ok(());
        }
        site.versions.push_back((tag, Image { manifest, own }));
        if site.versions.len() > VERSIONS_KEPT
            && let Some((tag, old)) = site.versions.pop_front()
        {
            let digest = old.manifest.0;
            self.ready.push_back(Event::TagDeleted {
                repository: repository.clone(),
                name: name.clone(),
                tag,
                previous: digest,
            });
            self.ready.push_back(Event::ManifestDeleted { repository, name, digest });
            self.waiting.push_back((place, old));
        }
        Ok(())
    }

    fn add_blob(&mut self, place: usize, (digest, size): Content) {
        let (repository, name) = (self.repository.clone(), self.names[place].name.clone());
        self.ready.push_back(Event::BlobAdded { repository, name, digest, size });
    }

    fn collect(&mut self) {
        self.collected_at = self.next;
        let mut by_name: BTreeMap<usize, Vec<Digest>> = BTreeMap::new();
        let mut blobs = Vec::new();
        for (place, image) in self.waiting.drain(..self.waiting.len().min(COLLECTED_MAX)) {
            for (digest, size) in std::iter::once(image.manifest).chain(image.own) {
                by_name.entry(place).or_default().push(digest);
                blobs.push(CollectedBlob { digest, size });
            }
        }
        let contents = by_name.into_iter().map(|(place, digests)| CollectedContents {
            repository: self.repository.clone(),
            name: self.names[place].name.clone(),
            digests,
        });
        self.ready.push_back(Event::OrphansCollected { contents: contents.collect(), blobs });
    }
}

/// An event in its envelope.
pub(crate) fn record_of(seq: u64, random: &mut Random, caller: &Caller, event: Event) -> Record {
    let (actor, origin) = match event {
        Event::OrphansCollected { .. } => (Actor::System, Origin::local(Api::Worker)),
        _ => (caller.actor.clone(), caller.origin.clone()),
    };
    Record {
        seq,
        at: time_of(seq),
        id: Uuid::from_u64_pair(random.number(), random.number()),
        actor,
        origin,
        event,
    }
}

/// When a record was written.
pub(crate) fn time_of(seq: u64) -> Timestamp {
    let elapsed = STEP.saturating_mul(u32::try_from(seq).unwrap_or(u32::MAX));
    Timestamp::from_micros(BEGAN).plus(elapsed)
}

/// Content that was never there before, of any size below a bound.
pub(crate) fn content(random: &mut Random, below: u64) -> Content {
    let mut bytes = [0; 32];
    for piece in bytes.chunks_mut(8) {
        piece.copy_from_slice(&random.number().to_le_bytes());
    }
    (Digest::sha256(bytes), random.number() % below)
}

/// What is read from the manifest of an image.
fn described(image: &Image, base: Content) -> Manifest {
    let [config, layers @ ..] = image.own;
    manifest_of(config, std::iter::once(base).chain(layers))
}

/// What is read from a manifest.
pub(crate) fn manifest_of(config: Content, layers: impl IntoIterator<Item = Content>) -> Manifest {
    let descriptor = |media_type: &str, (digest, size): Content| Descriptor {
        media_type: media_type.to_owned(),
        digest,
        size,
        platform: None,
        foreign: false,
    };
    Manifest {
        media_type: MANIFEST.to_owned(),
        size: MANIFEST_BYTES,
        artifact_type: None,
        config: Some(descriptor(CONFIG, config)),
        layers: layers.into_iter().map(|layer| descriptor(LAYER, layer)).collect(),
        children: Vec::new(),
        subject: None,
        annotations: Vec::new(),
        signed: None,
    }
}

#[cfg(test)]
mod tests {
    use supercargo_projections::tables::{Blobs, Names, Tags};
    use supercargo_projections::{Empty, Rows, Working, fold};

    use super::*;

    #[test]
    fn it_is_a_log() {
        let records = History::new().unwrap().take(5_000).unwrap();
        assert!(records.iter().zip(0..).all(|(record, seq)| record.seq == seq));
        assert!(records.is_sorted_by_key(|record| record.at));
        let again = History::new().unwrap().take(5_000).unwrap();
        assert_eq!(records, again);
    }

    #[test]
    fn the_tables_hold_what_was_kept_and_not_what_was_collected() {
        let mut history = History::of_names(20).unwrap();
        let mut tables = Working::new(Empty);
        let mut collected = Vec::new();
        let mut kinds = BTreeMap::<&str, u64>::new();
        for record in history.take(80_000).unwrap() {
            fold(&mut tables, &record);
            *kinds.entry(record.event.kind()).or_default() += 1;
            if let Event::OrphansCollected { blobs, .. } = record.event {
                collected.extend(blobs.into_iter().map(|blob| blob.digest));
            }
        }
        // Whatever was begun by the last image is folded too.
        for event in std::mem::take(&mut history.ready) {
            history.ready.push_back(event);
            fold(&mut tables, &history.record().unwrap());
        }
        assert!(kinds["BlobAdded"] >= 3 * kinds["ManifestPushed"], "{kinds:?}");
        assert!(kinds["TagDeleted"] > 1000, "{kinds:?}");
        assert!(collected.len() > 4 * 1000, "{}", collected.len());
        assert!(collected.iter().all(|digest| tables.row::<Blobs>(digest).is_none()));
        for name in history.names.iter().filter(|name| name.builds > 0) {
            let id = tables.row::<Names>(&(history.repository.clone(), name.name.clone())).unwrap();
            for (tag, image) in &name.versions {
                assert_eq!(tables.row::<Tags>(&(id, tag.clone())).unwrap().digest, image.manifest.0);
            }
        }
    }
}
