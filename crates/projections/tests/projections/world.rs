//! A small world to fold: a few names and waiting rooms, blobs, manifests and V1 images that refer to each other in
//! every way there is, and a plain account of what the events so far left in it.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::ProptestConfig;
use redb::StorageError;
use supercargo_eventlog::event::{CollectedBlob, CollectedContents, Rot};
use supercargo_eventlog::{
    Actor, Api, Event, Origin, PackedLayer, Record, RepositoryConfig, V1Image, V1Parent,
};
use supercargo_model::{
    Descriptor, Digest, ImageId, Manifest, RepoKey, RepoName, Tag, Timestamp, media_type, tree,
};
use supercargo_projections::tables::{
    BlobHashesRow, ContentRow, ContentState, Contents, EmptyFolders, Folders, LayerRow, NameId, NameIds,
    NamesById, Orphans, ReferenceKind, Wait, prefix,
};
use supercargo_projections::{Base, Changes, Empty, Rows, Tracked, Working, fold, targets};
use uuid::Uuid;

/// How many cases a property gets: `usual`, and as many times more as `PROPTEST_CASES` is more than 256.
pub fn cases(usual: u32) -> ProptestConfig {
    let default = ProptestConfig::default();
    ProptestConfig { cases: (usual * default.cases).div_ceil(256), ..default }
}

pub const NAMES: [(&str, &str); 5] =
    [("one", "a"), ("one", "a/b"), ("one", "lib/x"), ("two", "a"), ("one", "library/a")];
/// `b` under name `a` is the folder that name `a/b` has too. `a` and `library/a` are one to V1.
pub const TAGS: [&str; 3] = ["b", "latest", "v1"];
/// Whose waiting rooms there are in the first repository.
pub const ROOMS: [Option<&str>; 3] = [None, Some("ann"), Some("bob")];
/// Names, and then waiting rooms.
pub const PLACES: usize = NAMES.len() + ROOMS.len();
pub const BLOBS: u8 = 8;
pub const MANIFESTS: u8 = 10;
pub const IMAGES: u8 = 8;

pub type Name = (RepoKey, RepoName);

pub fn name(index: usize) -> Name {
    let (repository, name) = NAMES[index % NAMES.len()];
    (repository.parse().unwrap(), name.parse().unwrap())
}

/// A name or a waiting room.
pub fn place(index: usize) -> Name {
    match index.checked_sub(NAMES.len()) {
        None => name(index),
        Some(room) => ("one".parse().unwrap(), RepoName::waiting_room(ROOMS[room % ROOMS.len()])),
    }
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

/// The digest of an image's JSON.
pub fn j(index: u8) -> Digest {
    image(index).json
}

/// How many digests there are.
pub const DIGESTS: u8 = BLOBS + MANIFESTS + IMAGES;

/// Any digest of the world: blobs first, then manifests, then the JSON of images.
pub fn any_digest(index: u8) -> Digest {
    match index % DIGESTS {
        blob if blob < BLOBS => b(blob),
        other if other < BLOBS + MANIFESTS => m(other - BLOBS),
        json => j(json - BLOBS - MANIFESTS),
    }
}

pub fn blob_size(index: u8) -> u64 {
    10 * (u64::from(index) + 1)
}

pub fn size_of(digest: &Digest) -> u64 {
    (0..BLOBS)
        .find(|index| b(*index) == *digest)
        .map(blob_size)
        .or_else(|| (0..MANIFESTS).find(|index| m(*index) == *digest).map(|index| manifest(index).size))
        .or_else(|| (0..IMAGES).find(|index| j(*index) == *digest).map(|index| image(index).json_size))
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

/// The V1 images of the world.
pub fn image(index: u8) -> V1Image {
    // (id, JSON, parent, layer)
    let (id, json, parent, layer) = match index {
        // A base whose layer manifests have too.
        0 => (0, 0, None, b(1)),
        1 => (1, 1, Some(0), b(2)),
        2 => (2, 2, Some(1), b(6)),
        // From the same base, with another's layer.
        3 => (3, 3, Some(0), b(6)),
        // Another image of an id that there is.
        4 => (1, 4, None, b(7)),
        5 => (5, 5, Some(4), b(1)),
        // Its layer is the JSON of an image.
        6 => (6, 6, Some(3), Digest::sha256([0xc5; 32])),
        // The first again, packed by somebody else.
        _ => (0, 0, None, b(7)),
    };
    let parent = parent.map(image).map(|parent| V1Parent { id: parent.id, json: parent.json });
    V1Image {
        id: ImageId::from_bytes([id; 32]),
        parent,
        depth: 1,
        json: Digest::sha256([0xc0 + json; 32]),
        json_size: 100 + u64::from(json),
        layer,
        layer_size: if index == 6 { 105 } else { (0..BLOBS).find(|at| b(*at) == layer).map_or(0, blob_size) },
        checksum: None,
        tarsum: None,
    }
}

/// What an image holds, and as what.
pub fn parts(image: &V1Image) -> Vec<(Digest, ReferenceKind)> {
    let parent = image.parent.map(|parent| (parent.json, ReferenceKind::Parent));
    [(image.layer, ReferenceKind::Layer)].into_iter().chain(parent).collect()
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
    /// By the digest of their JSON.
    pub images: BTreeMap<Digest, V1Image>,
    /// What manifests are to V1 clients.
    pub views: BTreeMap<Digest, Digest>,
    pub tags: BTreeMap<Tag, Digest>,
    /// What tags were migrated to.
    pub migrated: BTreeMap<Tag, Digest>,
}

impl Holdings {
    pub fn is_empty(&self) -> bool {
        self.blobs.is_empty() && self.manifests.is_empty() && self.images.is_empty() && self.tags.is_empty()
    }

    pub fn has(&self, digest: &Digest) -> bool {
        self.blobs.contains(digest) || self.manifests.contains_key(digest) || self.images.contains_key(digest)
    }

    /// What a manifest or an image holds, and as what.
    pub fn targets(&self, digest: &Digest) -> Vec<(Digest, ReferenceKind)> {
        let listed = self.manifests.get(digest).map(targets).unwrap_or_default();
        let view = self.views.get(digest).map(|image| (*image, ReferenceKind::View));
        let parts = self.images.get(digest).map(parts).unwrap_or_default();
        listed.into_iter().chain(view).chain(parts).collect()
    }

    fn take(&mut self, digest: &Digest) {
        self.blobs.remove(digest);
        self.manifests.remove(digest);
        self.images.remove(digest);
        self.views.remove(digest);
    }
}

/// What makes a folder have files.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Thing {
    /// A tag, on a V1 image or on a manifest.
    Tag { name: RepoName, tag: Tag, digest: Digest, image: bool },
    /// A manifest without tags.
    Alone(RepoName, Digest),
    /// A V1 image of a name.
    Image(RepoName, Digest),
}

/// A path of a repository.
pub type Path = (RepoKey, String);

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
    /// What was found out about layers.
    pub layers: BTreeMap<Digest, LayerRow>,
    /// What was found out about blobs.
    pub hashes: BTreeMap<Digest, BlobHashesRow>,
    pub labels: BTreeMap<Digest, Vec<(String, String)>>,
    /// Properties of folders and files.
    pub properties: BTreeMap<Path, BTreeMap<String, Vec<String>>>,
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
            layers: BTreeMap::new(),
            hashes: BTreeMap::new(),
            labels: BTreeMap::new(),
            properties: BTreeMap::new(),
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
        let before = self.subjects();
        self.account(&event);
        let record = record(self.records.len() as u64, self.at(), event);
        fold(&mut self.state, &record);
        self.records.push(record);
        self.held.retain(|_, held| !held.is_empty());
        let after = self.subjects();
        self.properties.retain(|path, _| before.get(path).is_none_or(|before| after[path] == *before));
    }

    /// The things of every folder that has files.
    pub fn things(&mut self) -> BTreeMap<Path, BTreeSet<Thing>> {
        let deleted = |state| matches!(state, ContentState::Waiting { wait: Wait::Deleted, .. });
        let mut fates = BTreeSet::new();
        for (key, name) in self.held.keys().filter(|(_, name)| !name.is_waiting_room()) {
            let Some(id) = self.state.row::<NameIds>(&(key.clone(), name.clone())) else { continue };
            let contents = self.state.scan_prefix::<Contents>(&prefix::contents(id), None, usize::MAX);
            let gone = contents.into_iter().filter(|(_, row)| deleted(row.state));
            fates.extend(gone.map(|((_, digest), _)| (key, name, digest)));
        }
        let mut things: BTreeMap<Path, BTreeSet<Thing>> = BTreeMap::new();
        for ((key, name), held) in &self.held {
            let mut add = |folder, thing| things.entry((key.clone(), folder)).or_default().insert(thing);
            for (tag, digest) in &held.tags {
                let image = held.images.contains_key(digest);
                let folder = if image { tree::v1_tag_folder(name, tag) } else { tree::tag_folder(name, tag) };
                add(folder, Thing::Tag { name: name.clone(), tag: tag.clone(), digest: *digest, image });
            }
            let untagged = held.manifests.keys().filter(|digest| held.tags.values().all(|to| to != *digest));
            // What became of it is counted anew elsewhere.
            for digest in untagged.filter(|digest| !fates.contains(&(key, name, **digest))) {
                add(tree::untagged_folder(name, digest), Thing::Alone(name.clone(), *digest));
            }
            for (json, image) in held.images.iter().filter(|_| !name.is_waiting_room()) {
                add(tree::image_folder(&image.id), Thing::Image(name.clone(), *json));
            }
        }
        things
    }

    /// What each path that has properties is about: with that they go.
    fn subjects(&mut self) -> BTreeMap<Path, String> {
        let things = self.things();
        let paths: Vec<Path> = self.properties.keys().cloned().collect();
        paths.into_iter().map(|path| (path.clone(), self.subject(&things, &path))).collect()
    }

    fn subject(&mut self, things: &BTreeMap<Path, BTreeSet<Thing>>, path: &Path) -> String {
        if self.state.row::<Folders>(path).is_some() {
            return "a folder".to_owned();
        }
        let Some((folder, file)) = path.1.rsplit_once('/') else { return "nothing".to_owned() };
        let here = things.get(&(path.0.clone(), folder.to_owned())).into_iter().flatten();
        let about = here.filter(|thing| match thing {
            Thing::Tag { image: true, .. } => file == tree::V1_TAG,
            Thing::Tag { image: false, .. } | Thing::Alone(..) => {
                file == tree::MANIFEST || file == tree::INDEX || tree::blob_of_file(file).is_some()
            }
            Thing::Image(..) => tree::IMAGE_FILES.contains(&file),
        });
        let mut about: Vec<&Thing> = about.collect();
        // Of images of an id, the last takes them along.
        about.sort();
        match about[..] {
            [] => "nothing".to_owned(),
            [Thing::Image(..), ..] => "an image".to_owned(),
            _ => format!("{about:?}"),
        }
    }

    /// Sets a property of a path, or removes it.
    pub fn set_property(&mut self, (repository, path): Path, property: &str, value: Option<&str>) {
        let set = value.map(|value| (property.to_owned(), vec![value.to_owned()])).into_iter().collect();
        let removed = if value.is_some() { Vec::new() } else { vec![property.to_owned()] };
        self.apply(Event::PropertiesSet { repository, path, set, removed });
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
                let held = self.held.get_mut(&(repository, name)).unwrap();
                held.manifests.remove(&digest);
                held.views.remove(&digest);
            }
            Event::V1ImagePushed { repository, name, image } => {
                self.rotten.remove(&image.json);
                self.rotten.remove(&image.layer);
                self.takes_image(&(repository, name), image);
            }
            Event::V1ImagesAdded { repository, name, from, images } => {
                for image in &images {
                    self.takes_image(&(repository.clone(), name.clone()), image.clone());
                }
                if let Some(room) = from.filter(|room| *room != name) {
                    self.leave(&(repository, room), &images);
                }
            }
            Event::V1ImageDeleted { repository, name, digest, .. } => {
                self.held.get_mut(&(repository, name)).unwrap().images.remove(&digest);
            }
            Event::V1ViewAdded { repository, name, manifest, image } => {
                self.held.get_mut(&(repository, name)).unwrap().views.insert(manifest, image);
            }
            Event::LayerInspected { layer, diff_id, unpacked_size, packed } => {
                self.layers.insert(layer, LayerRow { diff_id, unpacked_size, packed });
            }
            Event::TagSet { repository, name, tag, digest, .. } => {
                self.held.get_mut(&(repository, name)).unwrap().tags.insert(tag, digest);
            }
            Event::TagDeleted { repository, name, tag, .. } => {
                let held = self.held.get_mut(&(repository, name)).unwrap();
                held.tags.remove(&tag);
                held.migrated.remove(&tag);
            }
            Event::OrphansCollected { contents, blobs } => {
                for contents in contents {
                    let held = self.held.get_mut(&(contents.repository, contents.name)).unwrap();
                    for digest in contents.digests {
                        held.take(&digest);
                    }
                }
                for blob in blobs {
                    self.stored.remove(&blob.digest);
                    self.rotten.remove(&blob.digest);
                    self.layers.remove(&blob.digest);
                    self.hashes.remove(&blob.digest);
                    self.labels.remove(&blob.digest);
                }
            }
            Event::BlobRotFound { digest, .. } => {
                self.rotten.insert(digest);
            }
            Event::RepositoryCreated { .. }
            | Event::RepositoryConfigured { .. }
            | Event::RepositoryRemoved { .. }
            | Event::RepositoryNameDeleted { .. }
            | Event::Promoted { .. }
            | Event::FoldersPruned { .. } => {}
            Event::PropertiesSet { repository, path, set, removed } => {
                let row = self.properties.entry((repository.clone(), path.clone())).or_default();
                row.extend(set);
                row.retain(|property, _| !removed.contains(property));
                if row.is_empty() {
                    self.properties.remove(&(repository, path));
                }
            }
            Event::BlobHashed { blob, md5, sha1 } => {
                self.hashes.entry(blob).or_insert(BlobHashesRow { md5, sha1 });
            }
            Event::ConfigRead { config, labels } => {
                self.labels.insert(config, labels);
            }
            Event::Migrated { repository, name, tag, digest, .. } => {
                self.held.get_mut(&(repository, name)).unwrap().migrated.insert(tag, digest);
            }
            other => assert!(other.is_of_accounts(), "{other:?} is about no content"),
        }
    }

    fn takes_image(&mut self, name: &Name, image: V1Image) {
        self.stores(name.clone(), image.layer).blobs.insert(image.layer);
        self.stores(name.clone(), image.json).images.insert(image.json, image);
    }

    /// Images that came into a name leave the waiting room, each with its layer where no other there has that.
    fn leave(&mut self, room: &Name, images: &[V1Image]) {
        let Some(held) = self.held.get_mut(room) else { return };
        let left: Vec<&V1Image> =
            images.iter().filter(|image| held.images.remove(&image.json).is_some()).collect();
        for V1Image { layer, .. } in left {
            let mut others = held.images.values().flat_map(parts);
            if others.all(|(part, _)| part != *layer) {
                held.blobs.remove(layer);
            }
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
        if self.held.get(&name).is_some_and(|held| held.manifests.contains_key(&m(index))) {
            self.point(name, tag, m(index));
        }
    }

    fn point(&mut self, name: Name, tag: Tag, digest: Digest) {
        let previous = self.held[&name].tags.get(&tag).copied();
        if previous != Some(digest) {
            let (repository, name) = name;
            self.apply(Event::TagSet { repository, name, tag, digest, previous });
        }
    }

    /// Whether the place has the image with its layer.
    fn has_whole(&self, place: &Name, json: &Digest) -> bool {
        self.held
            .get(place)
            .is_some_and(|held| held.images.get(json).is_some_and(|image| held.blobs.contains(&image.layer)))
    }

    /// Whether an image may come into a place: one that has no other of its id.
    fn may_take(&self, place: &Name, image: &V1Image) -> bool {
        self.held.get(place).is_none_or(|held| {
            held.images.values().all(|other| other.id != image.id || other.json == image.json)
        })
    }

    /// Pushes an image whose parent is anywhere into a waiting room.
    pub fn push_image(&mut self, room: Name, index: u8) {
        let image = image(index);
        let parent_there = image.parent.is_none_or(|parent| {
            self.held.iter().any(|(name, held)| name.0 == room.0 && held.images.contains_key(&parent.json))
        });
        if parent_there && self.may_take(&room, &image) {
            let (repository, name) = room;
            self.apply(Event::V1ImagePushed { repository, name, image });
        }
    }

    /// Pushes an image and what it was made from, as a client does.
    pub fn push_chain(&mut self, room: Name, index: u8) {
        if let Some(parent) = image(index).parent {
            let parent = (0..IMAGES).find(|other| j(*other) == parent.json).unwrap();
            self.push_chain(room.clone(), parent);
        }
        self.push_image(room, index);
    }

    /// Sets a tag on an image that is in one of these places, or in the name itself.
    pub fn tag_image(&mut self, name: Name, tag: Tag, index: u8, sources: &[Name]) {
        let sources: Vec<&Name> =
            [&name].into_iter().chain(sources.iter().filter(|source| source.0 == name.0)).collect();
        let (mut added, mut next) = (Vec::new(), Some(j(index)));
        while let Some(json) = next {
            let Some(source) = sources.iter().find(|source| self.has_whole(source, &json)) else { return };
            let image = self.held[*source].images[&json].clone();
            next = image.parent.map(|parent| parent.json);
            if **source != name {
                added.push(image);
            }
        }
        if !added.iter().all(|image| self.may_take(&name, image)) {
            return;
        }
        added.reverse();
        let from = sources.iter().map(|source| &source.1).find(|source| source.is_waiting_room()).cloned();
        if !added.is_empty() {
            let (repository, name) = name.clone();
            self.apply(Event::V1ImagesAdded { repository, name, from, images: added });
        }
        self.point(name, tag, j(index));
    }

    /// A manifest is an image to V1 clients, which is made for that where it is not there.
    pub fn view(&mut self, name: Name, manifest: u8, index: u8) {
        let held = self.held.get(&name).cloned().unwrap_or_default();
        if !held.manifests.contains_key(&m(manifest)) || held.views.contains_key(&m(manifest)) {
            return;
        }
        let (mut images, mut next) = (Vec::new(), Some(index));
        while let Some(index) = next {
            let image = image(index);
            next = image.parent.and_then(|parent| (0..IMAGES).find(|other| j(*other) == parent.json));
            images.push(image);
        }
        images.retain(|image| !held.images.contains_key(&image.json));
        if !images.iter().all(|image| self.may_take(&name, image)) {
            return;
        }
        images.reverse();
        let (repository, name) = name;
        if !images.is_empty() {
            let (repository, name) = (repository.clone(), name.clone());
            self.apply(Event::V1ImagesAdded { repository, name, from: None, images });
        }
        self.apply(Event::V1ViewAdded { repository, name, manifest: m(manifest), image: j(index) });
    }

    pub fn delete_image(&mut self, place: Name, digest: Digest) {
        let Some(image) = self.held.get(&place).and_then(|held| held.images.get(&digest)).cloned() else {
            return;
        };
        self.delete_tags_on(&place, digest);
        let (repository, name) = place;
        self.apply(Event::V1ImageDeleted { repository, name, id: image.id, digest });
    }

    pub fn inspect(&mut self, blob: u8, packed: Option<u8>) {
        if self.stored.contains_key(&b(blob)) {
            let packed = packed.map(|packed| PackedLayer { digest: b(packed), size: blob_size(packed) });
            let (layer, diff_id) = (b(blob), Digest::sha256([0xd0 + blob; 32]));
            self.apply(Event::LayerInspected { layer, diff_id, unpacked_size: 7, packed });
        }
    }

    pub fn hash(&mut self, blob: u8) {
        if self.stored.contains_key(&b(blob)) {
            // Some share one.
            self.apply(Event::BlobHashed { blob: b(blob), md5: [blob / 2; 16], sha1: [blob; 20] });
        }
    }

    pub fn read_config(&mut self, blob: u8, labels: &[(&str, &str)]) {
        if self.stored.contains_key(&b(blob)) {
            let labels =
                labels.iter().map(|(label, value)| ((*label).to_owned(), (*value).to_owned())).collect();
            self.apply(Event::ConfigRead { config: b(blob), labels });
        }
    }

    pub fn migrate(&mut self, name: Name, tag: Tag) {
        if let Some(digest) = self.held.get(&name).and_then(|held| held.tags.get(&tag)).copied() {
            let (repository, name) = name;
            self.apply(Event::Migrated {
                from_repository: repository.clone(),
                from_name: name.clone(),
                from_tag: tag.clone(),
                image: ImageId::from_bytes([1; 32]),
                repository,
                name,
                tag,
                digest,
            });
        }
    }

    pub fn delete_tag(&mut self, name: Name, tag: Tag) {
        if let Some(previous) = self.held.get(&name).and_then(|held| held.tags.get(&tag)).copied() {
            let (repository, name) = name;
            self.apply(Event::TagDeleted { repository, name, tag, previous });
        }
    }

    pub fn delete_manifest(&mut self, name: Name, digest: Digest) {
        if self.held.get(&name).is_some_and(|held| held.manifests.contains_key(&digest)) {
            self.delete_tags_on(&name, digest);
            let (repository, name) = name;
            self.apply(Event::ManifestDeleted { repository, name, digest });
        }
    }

    fn delete_tags_on(&mut self, name: &Name, digest: Digest) {
        let tags = self.held[name].tags.iter().filter(|(_, to)| **to == digest);
        let tags: Vec<Tag> = tags.map(|(tag, _)| tag.clone()).collect();
        for tag in tags {
            self.delete_tag(name.clone(), tag);
        }
    }

    pub fn delete_name(&mut self, name: Name) {
        let Some(held) = self.held.get(&name).cloned() else { return };
        let manifests = held.manifests.keys().chain(held.images.keys());
        let digests: BTreeSet<Digest> = held.blobs.iter().chain(manifests).copied().collect();
        for digest in digests {
            self.delete_manifest(name.clone(), digest);
            self.delete_image(name.clone(), digest);
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
