//! A small world to fold: a few names, blobs and manifests that refer to each other in every way there is,
//! and a plain account of what the events so far left in it.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::ProptestConfig;
use redb::StorageError;
use supercargo_eventlog::event::{CollectedBlob, CollectedContents, Rot};
use supercargo_eventlog::{Actor, Api, Event, Origin, Record, RepositoryConfig};
use supercargo_model::{Descriptor, Digest, Manifest, RepoKey, RepoName, Tag, Timestamp, media_type};
use supercargo_projections::tables::{
    ContentRow, ContentState, Contents, EmptyFolders, NameId, NameIds, NamesById, Orphans, Wait, prefix,
};
use supercargo_projections::{Base, Changes, Empty, Rows, Tracked, Working, fold};
use uuid::Uuid;

/// How many cases a property gets: `usual`, and as many times more as `PROPTEST_CASES` is more than 256.
pub fn cases(usual: u32) -> ProptestConfig {
    let default = ProptestConfig::default();
    ProptestConfig { cases: (usual * default.cases).div_ceil(256), ..default }
}

pub const NAMES: [(&str, &str); 4] = [("one", "a"), ("one", "a/b"), ("one", "lib/x"), ("two", "a")];
/// `b` under name `a` is the folder that name `a/b` has too.
pub const TAGS: [&str; 3] = ["b", "latest", "v1"];
pub const BLOBS: u8 = 6;
pub const MANIFESTS: u8 = 10;

pub type Name = (RepoKey, RepoName);

pub fn name(index: usize) -> Name {
    let (repository, name) = NAMES[index % NAMES.len()];
    (repository.parse().unwrap(), name.parse().unwrap())
}

pub fn tag(index: usize) -> Tag {
    TAGS[index % TAGS.len()].parse().unwrap()
}

/// The digest of a blob.
pub fn b(index: u8) -> Digest {
    Digest::sha256([index; 32])
}

/// The digest of a manifest.
pub fn m(index: u8) -> Digest {
    if index == 9 { Digest::sha512([0x89; 64]) } else { Digest::sha256([0x80 + index; 32]) }
}

/// Any digest of the world: blobs first, then manifests.
pub fn any_digest(index: u8) -> Digest {
    let index = index % (BLOBS + MANIFESTS);
    if index < BLOBS { b(index) } else { m(index - BLOBS) }
}

pub fn blob_size(index: u8) -> u64 {
    10 * (u64::from(index) + 1)
}

pub fn size_of(digest: &Digest) -> u64 {
    (0..BLOBS)
        .find(|index| b(*index) == *digest)
        .map(blob_size)
        .or_else(|| (0..MANIFESTS).find(|index| m(*index) == *digest).map(|index| manifest(index).size))
        .unwrap()
}

pub fn descriptor(digest: Digest) -> Descriptor {
    Descriptor { media_type: String::new(), digest, size: 0, platform: None, foreign: false }
}

fn made_of(
    index: u8,
    config: Option<u8>,
    layers: &[u8],
    children: &[Digest],
    subject: Option<u8>,
) -> Manifest {
    Manifest {
        media_type: if children.is_empty() { media_type::OCI_MANIFEST } else { media_type::OCI_INDEX }
            .to_owned(),
        size: 1000 + u64::from(index),
        artifact_type: None,
        config: config.map(|index| descriptor(b(index))),
        layers: layers.iter().map(|index| descriptor(b(*index))).collect(),
        children: children.iter().map(|digest| descriptor(*digest)).collect(),
        subject: subject.map(m),
        annotations: Vec::new(),
        signed: None,
    }
}

/// The manifests of the world.
pub fn manifest(index: u8) -> Manifest {
    match index {
        0 => made_of(index, Some(0), &[1, 2], &[], None),
        1 => made_of(index, Some(3), &[1], &[], None),
        // A layer twice, and one that is the config too.
        2 => made_of(index, Some(4), &[2, 2, 5, 4], &[], None),
        3 => made_of(index, None, &[], &[m(0), m(1)], None),
        4 => made_of(index, None, &[], &[m(3), m(2)], None),
        5 => made_of(index, Some(0), &[], &[], Some(0)),
        6 => made_of(index, None, &[3], &[], Some(5)),
        7 => made_of(index, None, &[5], &[], Some(3)),
        // A build cache lists blobs among its manifests.
        8 => made_of(index, Some(0), &[], &[b(1), b(5), m(2)], None),
        _ => made_of(index, Some(0), &[5], &[], None),
    }
}

/// Rows by encoded key: a table in memory, to fold over and to compare.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Memory(pub BTreeMap<Vec<u8>, Vec<u8>>);

impl Memory {
    pub fn write(&mut self, changes: &Changes) {
        for (key, row) in changes.iter() {
            match row {
                Some(row) => self.0.insert(key.to_vec(), row.to_vec()),
                None => self.0.remove(key),
            };
        }
    }

    /// All rows of one table.
    pub fn all<T: Tracked>(&self) -> BTreeMap<T::Key, T::Row> {
        Working::new(self).scan::<T>(&[], &[u8::MAX], usize::MAX).into_iter().collect()
    }
}

impl Base for Memory {
    fn get<R>(&self, key: &[u8], read: impl FnOnce(&[u8]) -> R) -> Result<Option<R>, StorageError> {
        Ok(self.0.get(key).map(|row| read(row)))
    }

    fn scan(
        &self,
        start: &[u8],
        end: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), StorageError> {
        for (key, row) in self.0.range(start.to_vec()..end.to_vec()) {
            if !visit(key, row) {
                break;
            }
        }
        Ok(())
    }
}

/// Folds records over nothing.
pub fn folded(records: &[Record]) -> Memory {
    let mut state = Working::new(Empty);
    for record in records {
        fold(&mut state, record);
    }
    let mut memory = Memory::default();
    memory.write(&state.finish().unwrap().1);
    memory
}

pub fn record(seq: u64, at: Timestamp, event: Event) -> Record {
    let origin = Origin::local(Api::DockerV2);
    Record { seq, at, id: Uuid::from_u128(u128::from(seq)), actor: Actor::Anonymous, origin, event }
}

/// What a name holds, by the events alone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Holdings {
    pub blobs: BTreeSet<Digest>,
    pub manifests: BTreeMap<Digest, Manifest>,
    pub tags: BTreeMap<Tag, Digest>,
}

impl Holdings {
    pub fn is_empty(&self) -> bool {
        self.blobs.is_empty() && self.manifests.is_empty() && self.tags.is_empty()
    }

    pub fn has(&self, digest: &Digest) -> bool {
        self.blobs.contains(digest) || self.manifests.contains_key(digest)
    }
}

/// The world: its records, its folded state, and the plain account.
pub struct World {
    pub records: Vec<Record>,
    pub state: Working<Empty>,
    pub now: i64,
    pub held: BTreeMap<Name, Holdings>,
    /// Names that ever held something, in the order of first use.
    pub ever: Vec<Name>,
    /// Blobs whose bytes are kept, and since when.
    pub stored: BTreeMap<Digest, Timestamp>,
    pub rotten: BTreeSet<Digest>,
}

impl World {
    pub fn new() -> World {
        let mut world = World {
            records: Vec::new(),
            state: Working::new(Empty),
            now: 0,
            held: BTreeMap::new(),
            ever: Vec::new(),
            stored: BTreeMap::new(),
            rotten: BTreeSet::new(),
        };
        for repository in ["one", "two"] {
            let repository = repository.parse().unwrap();
            world.apply(Event::RepositoryCreated { repository, config: RepositoryConfig::default() });
        }
        world
    }

    fn at(&self) -> Timestamp {
        Timestamp::from_micros(self.now)
    }

    /// Records an event, folds it, and keeps account of it.
    pub fn apply(&mut self, event: Event) {
        self.account(&event);
        let record = record(self.records.len() as u64, self.at(), event);
        fold(&mut self.state, &record);
        self.records.push(record);
        self.held.retain(|_, held| !held.is_empty());
    }

    fn stores(&mut self, name: Name, digest: Digest) -> &mut Holdings {
        let at = self.at();
        self.stored.entry(digest).or_insert(at);
        if !self.ever.contains(&name) {
            self.ever.push(name.clone());
        }
        self.held.entry(name).or_default()
    }

    fn account(&mut self, event: &Event) {
        match event.clone() {
            Event::BlobAdded { repository, name, digest, .. } => {
                self.stores((repository, name), digest).blobs.insert(digest);
                self.rotten.remove(&digest);
            }
            Event::BlobMounted { repository, name, digest, .. } => {
                self.stores((repository, name), digest).blobs.insert(digest);
            }
            Event::BlobDeleted { repository, name, digest } => {
                self.held.get_mut(&(repository, name)).unwrap().blobs.remove(&digest);
            }
            Event::ManifestPushed { repository, name, digest, manifest } => {
                self.stores((repository, name), digest).manifests.insert(digest, manifest);
                self.rotten.remove(&digest);
            }
            Event::ManifestDeleted { repository, name, digest } => {
                self.held.get_mut(&(repository, name)).unwrap().manifests.remove(&digest);
            }
            Event::TagSet { repository, name, tag, digest, .. } => {
                self.held.get_mut(&(repository, name)).unwrap().tags.insert(tag, digest);
            }
            Event::TagDeleted { repository, name, tag, .. } => {
                self.held.get_mut(&(repository, name)).unwrap().tags.remove(&tag);
            }
            Event::OrphansCollected { contents, blobs } => {
                for contents in contents {
                    let held = self.held.get_mut(&(contents.repository, contents.name)).unwrap();
                    for digest in contents.digests {
                        held.blobs.remove(&digest);
                        held.manifests.remove(&digest);
                    }
                }
                for blob in blobs {
                    self.stored.remove(&blob.digest);
                    self.rotten.remove(&blob.digest);
                }
            }
            Event::BlobRotFound { digest, .. } => {
                self.rotten.insert(digest);
            }
            Event::RepositoryCreated { .. }
            | Event::RepositoryConfigured { .. }
            | Event::RepositoryRemoved { .. }
            | Event::RepositoryNameDeleted { .. }
            | Event::PropertiesSet { .. }
            | Event::FoldersPruned { .. } => {}
            other => assert!(other.is_of_accounts(), "{other:?} is about no content"),
        }
    }

    // ---- what somebody may do, as the registry would record it ----

    pub fn add_blob(&mut self, (repository, name): Name, blob: u8) {
        self.apply(Event::BlobAdded { repository, name, digest: b(blob), size: blob_size(blob) });
    }

    pub fn mount(&mut self, (repository, name): Name, blob: u8, from: Name) {
        if self.held.get(&from).is_some_and(|held| held.blobs.contains(&b(blob))) {
            let (from_repository, from_name) = from;
            self.apply(Event::BlobMounted {
                repository,
                name,
                digest: b(blob),
                size: blob_size(blob),
                from_repository,
                from_name,
            });
        }
    }

    pub fn delete_blob(&mut self, name: Name, digest: Digest) {
        if self.held.get(&name).is_some_and(|held| held.blobs.contains(&digest)) {
            let (repository, name) = name;
            self.apply(Event::BlobDeleted { repository, name, digest });
        }
    }

    /// Pushes a manifest whose config, layers and children are there; its blobs come with it.
    pub fn push(&mut self, name: Name, index: u8) {
        let manifest = manifest(index);
        let held = self.held.get(&name).cloned().unwrap_or_default();
        for blob in (0..BLOBS).filter(|blob| {
            manifest.config.iter().chain(&manifest.layers).any(|descriptor| descriptor.digest == b(*blob))
                && !held.blobs.contains(&b(*blob))
        }) {
            self.add_blob(name.clone(), blob);
        }
        let held = self.held.get(&name).cloned().unwrap_or_default();
        if manifest.children.iter().all(|child| held.has(&child.digest)) {
            let (repository, name) = name;
            self.apply(Event::ManifestPushed { repository, name, digest: m(index), manifest });
        }
    }

    pub fn set_tag(&mut self, name: Name, tag: Tag, index: u8) {
        let Some(held) = self.held.get(&name).filter(|held| held.manifests.contains_key(&m(index))) else {
            return;
        };
        let previous = held.tags.get(&tag).copied();
        if previous != Some(m(index)) {
            let (repository, name) = name;
            self.apply(Event::TagSet { repository, name, tag, digest: m(index), previous });
        }
    }

    pub fn delete_tag(&mut self, name: Name, tag: Tag) {
        if let Some(previous) = self.held.get(&name).and_then(|held| held.tags.get(&tag)).copied() {
            let (repository, name) = name;
            self.apply(Event::TagDeleted { repository, name, tag, previous });
        }
    }

    pub fn delete_manifest(&mut self, name: Name, digest: Digest) {
        let Some(held) = self.held.get(&name).filter(|held| held.manifests.contains_key(&digest)) else {
            return;
        };
        let tags: Vec<Tag> =
            held.tags.iter().filter(|(_, to)| **to == digest).map(|(tag, _)| tag.clone()).collect();
        for tag in tags {
            self.delete_tag(name.clone(), tag);
        }
        let (repository, name) = name;
        self.apply(Event::ManifestDeleted { repository, name, digest });
    }

    pub fn delete_name(&mut self, name: Name) {
        let Some(held) = self.held.get(&name).cloned() else { return };
        let digests: BTreeSet<Digest> = held.blobs.iter().chain(held.manifests.keys()).copied().collect();
        for digest in digests {
            self.delete_manifest(name.clone(), digest);
            self.delete_blob(name.clone(), digest);
        }
        let (repository, name) = name;
        self.apply(Event::RepositoryNameDeleted { repository, name });
    }

    pub fn rot(&mut self, digest: Digest) {
        let held = self.held.values().any(|held| held.has(&digest));
        if held && !self.rotten.contains(&digest) {
            self.apply(Event::BlobRotFound { digest, rot: Rot::WrongDigest });
        }
    }

    /// Collects what waits for these reasons, as a step of the collector does; how much it took.
    pub fn collect(&mut self, waits: &[Wait]) -> usize {
        let mut contents: BTreeMap<Name, Vec<Digest>> = BTreeMap::new();
        let mut blobs = Vec::new();
        for wait in waits {
            for ((_, _, id, digest), ()) in
                self.state.scan_prefix::<Orphans>(&prefix::orphans(*wait), None, usize::MAX)
            {
                if id == NameId(0) {
                    blobs.push(CollectedBlob { digest, size: size_of(&digest) });
                } else {
                    contents.entry(self.state.row::<NamesById>(&id).unwrap()).or_default().push(digest);
                }
            }
        }
        let taken = contents.values().map(Vec::len).sum::<usize>() + blobs.len();
        if taken > 0 {
            let contents = contents
                .into_iter()
                .map(|((repository, name), digests)| CollectedContents { repository, name, digests })
                .collect();
            self.apply(Event::OrphansCollected { contents, blobs });
        }
        taken
    }

    /// Prunes what is empty, as a run of the pruning worker does.
    pub fn prune(&mut self) {
        loop {
            let empty = self.state.scan_prefix::<EmptyFolders>(&prefix::empty_folders(), None, usize::MAX);
            if empty.is_empty() {
                return;
            }
            for ((_, repository, path), ()) in empty {
                self.apply(Event::FoldersPruned { repository, paths: vec![path] });
            }
        }
    }

    // ---- what became of it ----

    pub fn id(&mut self, name: &Name) -> NameId {
        self.state.row::<NameIds>(name).unwrap()
    }

    pub fn content(&mut self, name: &Name, digest: Digest) -> Option<ContentRow> {
        let id = self.id(name);
        self.state.row::<Contents>(&(id, digest))
    }

    pub fn fate(&mut self, name: &Name, digest: Digest) -> ContentState {
        self.content(name, digest).map_or(ContentState::Absent, |row| row.state)
    }
}
