//! Counts are kept as edges come and go. Here they are counted again from nothing, by walking.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use supercargo_eventlog::Event;
use supercargo_model::{Digest, RepoKey, tree};
use supercargo_projections::Rows;
use supercargo_projections::tables::{
    BlobHashes, Blobs, BlobsByMd5, BlobsBySha1, ConfigLabels, ContentRow, ContentState, Contents, Counter,
    Counters, EmptyFolders, Folders, Holders, Images, ImagesById, LabelValues, Layers, Manifests, Migrations,
    NameId, NameIds, NameUsage, Names, NamesById, Orphans, Properties, PropertyValues, ReferenceKind,
    References, Referrers, RepositoryUsage, Source, TagHistory, TagNames, Tags, Usage, UsageByRepository,
    Views, Wait,
};

use crate::world::{
    BLOBS, DIGESTS, Holdings, IMAGES, MANIFESTS, Memory, NAMES, Name, PLACES, Path, Thing, World, any_digest,
    b, cases, folded, j, m, name, place, size_of, tag,
};

#[derive(Debug, Clone)]
enum Op {
    AddBlob(usize, u8),
    Mount(usize, u8, usize),
    DeleteBlob(usize, u8),
    Push(usize, u8),
    PushTagged(usize, u8, usize),
    SetTag(usize, usize, u8),
    DeleteTag(usize, usize),
    DeleteManifest(usize, u8),
    DeleteName(usize),
    Rot(u8),
    Collect(Vec<Wait>),
    Prune,
    SetProperties(usize, usize, bool),
    PushImage(usize, u8),
    /// A whole push: the chain into the waiting room, then the tag.
    PushChain(usize, u8, usize, usize),
    TagImage(usize, usize, u8, Vec<usize>),
    View(usize, u8, u8),
    DeleteImage(usize, u8),
    Inspect(u8, Option<u8>),
    Hash(u8),
    ReadConfig(u8, bool),
    Migrate(usize, usize),
    Pass(i64),
}

fn op() -> impl Strategy<Value = Op> {
    let (name, blob, manifest, tag) = (0..NAMES.len(), 0..BLOBS, 0..MANIFESTS, 0..3_usize);
    let (room, image) = (NAMES.len()..PLACES, 0..IMAGES);
    let digest = 0..DIGESTS;
    let sources = proptest::sample::subsequence((0..PLACES).collect::<Vec<_>>(), 0..=PLACES);
    let waits = proptest::sample::subsequence(Wait::ALL.to_vec(), 1..=4);
    prop_oneof![
        2 => (name.clone(), blob.clone()).prop_map(|(name, blob)| Op::AddBlob(name, blob)),
        2 => (name.clone(), blob.clone(), name.clone()).prop_map(|(to, blob, from)| Op::Mount(to, blob, from)),
        1 => (name.clone(), digest.clone()).prop_map(|(name, digest)| Op::DeleteBlob(name, digest)),
        6 => (name.clone(), manifest.clone()).prop_map(|(name, manifest)| Op::Push(name, manifest)),
        6 => (name.clone(), manifest.clone(), tag.clone())
            .prop_map(|(name, manifest, tag)| Op::PushTagged(name, manifest, tag)),
        4 => (name.clone(), tag.clone(), manifest.clone())
            .prop_map(|(name, tag, manifest)| Op::SetTag(name, tag, manifest)),
        4 => (name.clone(), tag.clone()).prop_map(|(name, tag)| Op::DeleteTag(name, tag)),
        2 => (name.clone(), manifest.clone())
            .prop_map(|(name, manifest)| Op::DeleteManifest(name, manifest)),
        1 => (0..PLACES).prop_map(Op::DeleteName),
        1 => digest.prop_map(Op::Rot),
        3 => (room.clone(), image.clone()).prop_map(|(room, image)| Op::PushImage(room, image)),
        7 => (room, image.clone(), name.clone(), tag.clone())
            .prop_map(|(room, image, name, tag)| Op::PushChain(room, image, name, tag)),
        5 => (name.clone(), tag, image.clone(), sources)
            .prop_map(|(name, tag, image, sources)| Op::TagImage(name, tag, image, sources)),
        1 => blob.clone().prop_map(Op::Hash),
        1 => (blob.clone(), any::<bool>()).prop_map(|(config, more)| Op::ReadConfig(config, more)),
        1 => (name.clone(), 0..3_usize).prop_map(|(name, tag)| Op::Migrate(name, tag)),
        4 => (name, manifest, image.clone())
            .prop_map(|(name, manifest, image)| Op::View(name, manifest, image)),
        1 => (0..PLACES, image).prop_map(|(place, image)| Op::DeleteImage(place, image)),
        2 => (blob.clone(), proptest::option::of(blob))
            .prop_map(|(layer, packed)| Op::Inspect(layer, packed)),
        3 => waits.prop_map(Op::Collect),
        1 => Just(Op::Prune),
        1 => (0..20_usize, 0..8_usize, any::<bool>())
            .prop_map(|(folder, file, set)| Op::SetProperties(folder, file, set)),
        3 => (0..5_i64).prop_map(Op::Pass),
    ]
}

fn run(world: &mut World, op: Op) {
    match op {
        Op::AddBlob(to, blob) => world.add_blob(name(to), blob),
        Op::Mount(to, blob, from) => world.mount(name(to), blob, name(from)),
        Op::DeleteBlob(from, digest) => world.delete_blob(name(from), any_digest(digest)),
        Op::Push(to, manifest) => world.push(name(to), manifest),
        Op::PushTagged(to, manifest, with) => {
            world.push(name(to), manifest);
            world.set_tag(name(to), tag(with), manifest);
        }
        Op::SetTag(of, which, manifest) => world.set_tag(name(of), tag(which), manifest),
        Op::DeleteTag(of, which) => world.delete_tag(name(of), tag(which)),
        Op::DeleteManifest(from, manifest) => world.delete_manifest(name(from), m(manifest)),
        Op::DeleteName(which) => world.delete_name(place(which)),
        Op::PushImage(room, image) => world.push_image(place(room), image),
        Op::PushChain(room, image, to, with) => {
            world.push_chain(place(room), image);
            world.tag_image(name(to), tag(with), image, &[place(room)]);
        }
        Op::TagImage(of, with, image, sources) => {
            let sources: Vec<Name> = sources.into_iter().map(place).collect();
            world.tag_image(name(of), tag(with), image, &sources);
        }
        Op::View(of, manifest, image) => world.view(name(of), manifest, image),
        Op::DeleteImage(from, image) => world.delete_image(place(from), j(image)),
        Op::Inspect(layer, packed) => world.inspect(layer, packed),
        Op::Hash(blob) => world.hash(blob),
        Op::ReadConfig(config, more) => {
            let labels = [("a", "1"), ("b", "x\0y"), ("c", "2"), ("c", "3")];
            world.read_config(config, if more { &labels } else { &labels[..2] });
        }
        Op::Migrate(of, which) => world.migrate(name(of), tag(which)),
        Op::Rot(digest) => world.rot(any_digest(digest)),
        Op::Collect(waits) => {
            world.collect(&waits);
        }
        Op::Prune => world.prune(),
        Op::SetProperties(which, file, set) => {
            let folders = world.state.scan::<Folders>(&[], &[u8::MAX], usize::MAX);
            if folders.is_empty() {
                return;
            }
            let (mut path, _) = folders[which % folders.len()].clone();
            // Of the folder itself, or of a file in it.
            if let Some(file) = files_in(world, &path).get(file) {
                path.1 = format!("{}/{file}", path.1);
            }
            world.set_property(path, "k", set.then_some("v"));
        }
        Op::Pass(micros) => world.now += micros,
    }
}

/// Some files of a folder, by what is there.
fn files_in(world: &mut World, folder: &Path) -> Vec<String> {
    let things = world.things();
    let files = things.get(folder).into_iter().flatten().flat_map(|thing| match thing {
        Thing::Tag { image: true, .. } => vec![tree::V1_TAG.to_owned()],
        Thing::Tag { .. } | Thing::Alone(..) => vec![tree::MANIFEST.to_owned(), tree::blob_file(&b(0))],
        Thing::Image(..) => tree::IMAGE_FILES.map(str::to_owned).to_vec(),
    });
    files.collect()
}

/// The account, and the tables that are to agree with it.
struct Recount<'w> {
    world: &'w World,
    things: BTreeMap<Path, BTreeSet<Thing>>,
    tables: Memory,
    ids: BTreeMap<Name, NameId>,
    states: BTreeMap<(NameId, Digest), ContentRow>,
}

fn mentions(held: &Holdings) -> BTreeSet<Digest> {
    let holding = held.manifests.keys().chain(held.images.keys());
    let inside = holding.clone().flat_map(|digest| held.targets(digest)).map(|(digest, _)| digest);
    let subjects = held.manifests.values().filter_map(|manifest| manifest.subject);
    held.blobs
        .iter()
        .chain(holding)
        .chain(held.tags.values())
        .copied()
        .chain(inside)
        .chain(subjects)
        .collect()
}

impl Recount<'_> {
    fn check(&self) {
        self.names();
        self.contents();
        self.edges();
        self.images();
        self.blobs();
        self.usage();
        self.orphans();
        self.folders();
        self.found_by();
    }

    /// What things are found by, and what is known of them besides.
    fn found_by(&self) {
        let by_tag = self.tables.all::<Tags>().into_keys().map(|(id, tag)| (tag, id));
        assert_eq!(
            self.tables.all::<TagNames>().into_keys().collect::<BTreeSet<_>>(),
            by_tag.collect::<BTreeSet<_>>()
        );
        let hashes = &self.world.hashes;
        assert_eq!(self.tables.all::<BlobHashes>(), *hashes);
        let by_md5: BTreeSet<_> = hashes.iter().map(|(digest, row)| (row.md5, *digest)).collect();
        assert_eq!(self.tables.all::<BlobsByMd5>().into_keys().collect::<BTreeSet<_>>(), by_md5);
        let by_sha1: BTreeSet<_> = hashes.iter().map(|(digest, row)| (row.sha1, *digest)).collect();
        assert_eq!(self.tables.all::<BlobsBySha1>().into_keys().collect::<BTreeSet<_>>(), by_sha1);
        assert_eq!(self.tables.all::<ConfigLabels>(), self.world.labels);
        let by_label = self.world.labels.iter().flat_map(|(digest, labels)| {
            let found = labels.iter().filter(|(_, value)| !value.contains('\0'));
            found.map(|(label, value)| (label.clone(), value.clone(), *digest))
        });
        let by_label: BTreeSet<_> = by_label.collect();
        assert_eq!(self.tables.all::<LabelValues>().into_keys().collect::<BTreeSet<_>>(), by_label);
        let by_value = self.tables.all::<Properties>().into_iter().flat_map(|((repository, path), row)| {
            let values = row.into_iter().flat_map(|(property, values)| {
                values.into_iter().map(move |value| (property.clone(), value))
            });
            values
                .map(|(property, value)| (property, value, repository.clone(), path.clone()))
                .collect::<Vec<_>>()
        });
        assert_eq!(
            self.tables.all::<PropertyValues>().into_keys().collect::<BTreeSet<_>>(),
            by_value.collect::<BTreeSet<_>>()
        );
        let migrated = self.world.held.iter().flat_map(|(name, held)| {
            held.migrated.iter().map(|(tag, digest)| ((self.ids[name], tag.clone()), *digest))
        });
        let rows = self.tables.all::<Migrations>().into_iter().map(|(key, row)| (key, row.digest));
        assert_eq!(rows.collect::<BTreeMap<_, _>>(), migrated.collect::<BTreeMap<_, _>>());
    }

    fn names(&self) {
        let numbers = (1..).map(NameId);
        let ever: BTreeMap<Name, NameId> = self.world.ever.iter().cloned().zip(numbers).collect();
        assert_eq!(self.tables.all::<NameIds>(), ever);
        let by_id: BTreeMap<NameId, Name> = ever.iter().map(|(name, id)| (*id, name.clone())).collect();
        assert_eq!(self.tables.all::<NamesById>(), by_id);
        let next = u32::try_from(ever.len()).unwrap() + 1;
        let counter = BTreeMap::from([(Counter::NextName, next)]);
        assert_eq!(self.tables.all::<Counters>(), if ever.is_empty() { BTreeMap::new() } else { counter });
        let holding: BTreeMap<Name, NameId> =
            self.world.held.keys().map(|name| (name.clone(), ever[name])).collect();
        assert_eq!(self.tables.all::<Names>(), holding);
    }

    /// Manifests and images of a name that keep what they hold: in use, or waiting for a tag.
    fn holding<'h>(&self, id: NameId, held: &'h Holdings) -> BTreeSet<&'h Digest> {
        held.manifests
            .keys()
            .chain(held.images.keys())
            .filter(|digest| match self.states[&(id, **digest)].state {
                ContentState::Live => true,
                ContentState::Waiting { wait, .. } => wait == Wait::Untagged,
                ContentState::Absent => false,
            })
            .collect()
    }

    /// What tags reach, and manifests and images that wait for a tag, through any edge.
    fn reached(&self, id: NameId, held: &Holdings) -> BTreeSet<Digest> {
        let mut reached = BTreeSet::new();
        let untagged = held.manifests.keys().chain(held.images.keys()).filter(|digest| {
            let state = self.states[&(id, **digest)].state;
            matches!(state, ContentState::Waiting { wait: Wait::Untagged, .. })
        });
        let mut to_walk: Vec<Digest> = untagged.copied().collect();
        for digest in held.tags.values() {
            reached.insert(*digest);
            to_walk.push(*digest);
        }
        while let Some(digest) = to_walk.pop() {
            if !held.manifests.contains_key(&digest) && !held.images.contains_key(&digest) {
                continue;
            }
            let lists = held.targets(&digest).into_iter().map(|(target, _)| target);
            let referrers = held.manifests.iter().filter(|(_, other)| other.subject == Some(digest));
            for next in lists.chain(referrers.map(|(digest, _)| *digest)) {
                if reached.insert(next) {
                    to_walk.push(next);
                }
            }
        }
        reached
    }

    fn contents(&self) {
        let mut expected = BTreeMap::new();
        for (name, held) in &self.world.held {
            let id = self.ids[name];
            let (holding, reached) = (self.holding(id, held), self.reached(id, held));
            for digest in mentions(held) {
                let count = |number: usize| u32::try_from(number).unwrap();
                let manifest = held.manifests.get(&digest);
                let image = held.images.contains_key(&digest);
                let found = self.states.get(&(id, digest)).copied();
                let state = match found.map(|row| row.state) {
                    _ if !held.has(&digest) => ContentState::Absent,
                    _ if reached.contains(&digest) => ContentState::Live,
                    Some(waiting @ ContentState::Waiting { wait, .. }) => {
                        match wait {
                            Wait::Pending => {
                                assert!(manifest.is_none() && !image, "{digest} is a manifest or an image");
                            }
                            // What was an image and is a blob still waits as the image did.
                            Wait::Untagged => {
                                assert!(manifest.is_some() || image || digest == j(5), "{digest} is a blob");
                            }
                            Wait::Deleted => {}
                            Wait::Unheld => panic!("{digest} is held"),
                        }
                        waiting
                    }
                    other => panic!("nothing reaches {digest} of {name:?}, and it is {other:?}"),
                };
                let holders = holding
                    .iter()
                    .filter(|holder| held.targets(holder).iter().any(|(target, _)| *target == digest));
                let row = ContentRow {
                    size: if held.has(&digest) { size_of(&digest) } else { 0 },
                    blob: held.blobs.contains(&digest),
                    manifest: manifest.is_some(),
                    image,
                    tags: count(held.tags.values().filter(|to| **to == digest).count()),
                    holders: count(holders.count()),
                    referrers: count(
                        held.manifests.values().filter(|other| other.subject == Some(digest)).count(),
                    ),
                    subject_live: manifest
                        .and_then(|manifest| manifest.subject)
                        .is_some_and(|subject| holding.contains(&subject)),
                    state,
                };
                assert_eq!(row.reached(), reached.contains(&digest), "{digest} of {name:?}: {row:?}");
                // Listed by what does not hold it any more: known to the edges, and to nobody else.
                let known = row.present() || row.tags > 0 || row.holders > 0 || row.referrers > 0;
                if known {
                    expected.insert((id, digest), row);
                }
            }
        }
        assert_eq!(self.states, expected);
    }

    fn edges(&self) {
        let mut tags = BTreeMap::new();
        let mut manifests = BTreeMap::new();
        let mut references = BTreeMap::new();
        let mut referrers = BTreeSet::new();
        for (name, held) in &self.world.held {
            let id = self.ids[name];
            for (tag, digest) in &held.tags {
                tags.insert((id, tag.clone()), *digest);
                references.insert((id, *digest, Source::Tag(tag.clone())), ReferenceKind::Tag);
            }
            for digest in held.manifests.keys().chain(held.images.keys()) {
                let held = held.targets(digest).into_iter();
                references.extend(held.map(|(target, kind)| ((id, target, Source::Manifest(*digest)), kind)));
            }
            for (digest, manifest) in &held.manifests {
                manifests.insert((id, *digest), manifest.clone());
                referrers.extend(manifest.subject.map(|subject| (id, subject, *digest)));
            }
        }
        let found = self.tables.all::<Tags>();
        assert_eq!(found.into_iter().map(|(key, row)| (key, row.digest)).collect::<BTreeMap<_, _>>(), tags);
        let found = self.tables.all::<Manifests>();
        let found: BTreeMap<_, _> = found.into_iter().map(|(key, row)| (key, row.manifest)).collect();
        assert_eq!(found, manifests);
        assert_eq!(self.tables.all::<References>(), references);
        assert_eq!(self.tables.all::<Referrers>().into_keys().collect::<BTreeSet<_>>(), referrers);

        let mut history = BTreeMap::new();
        for record in &self.world.records {
            let (repository, name, tag, change) = match record.event.clone() {
                Event::TagSet { repository, name, tag, digest, previous } => {
                    (repository, name, tag, (previous, Some(digest)))
                }
                Event::TagDeleted { repository, name, tag, previous } => {
                    (repository, name, tag, (Some(previous), None))
                }
                _ => continue,
            };
            history.insert((self.ids[&(repository, name)], tag, record.seq), change);
        }
        let found = self.tables.all::<TagHistory>();
        let found: BTreeMap<_, _> =
            found.into_iter().map(|(key, row)| (key, (row.previous, row.digest))).collect();
        assert_eq!(found, history);
    }

    fn images(&self) {
        let (mut images, mut by_id, mut views) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for (name, held) in &self.world.held {
            let id = self.ids[name];
            for (json, image) in &held.images {
                images.insert((id, *json), image.clone());
                by_id.insert((name.0.clone(), image.id, id), *json);
            }
            views.extend(held.views.iter().map(|(manifest, image)| ((id, *manifest), *image)));
        }
        let found = self.tables.all::<Images>();
        let found: BTreeMap<_, _> = found.into_iter().map(|(key, row)| (key, row.image)).collect();
        assert_eq!(found, images);
        assert_eq!(self.tables.all::<ImagesById>(), by_id);
        assert_eq!(self.tables.all::<Views>(), views);
        assert_eq!(self.tables.all::<Layers>(), self.world.layers);
    }

    /// Names that hold a blob.
    fn holders(&self, digest: &Digest) -> Vec<NameId> {
        let held = self.world.held.iter().filter(|(_, held)| held.has(digest));
        held.map(|(name, _)| self.ids[name]).collect()
    }

    fn blobs(&self) {
        let rows = self.tables.all::<Blobs>();
        assert_eq!(rows.keys().collect::<Vec<_>>(), self.world.stored.keys().collect::<Vec<_>>());
        let mut holders = BTreeSet::new();
        for (digest, row) in &rows {
            let held_by = self.holders(digest);
            assert_eq!(row.size, size_of(digest));
            assert_eq!(row.first_seen, self.world.stored[digest]);
            assert_eq!(row.holders as usize, held_by.len(), "{digest}");
            assert_eq!(row.holders_xor, held_by.iter().fold(0, |xor, id| xor ^ id.0), "{digest}");
            assert_eq!(row.unheld_since.is_some(), held_by.is_empty(), "{digest}");
            assert_eq!(row.rotten, self.world.rotten.contains(digest), "{digest}");
            holders.extend(held_by.into_iter().map(|id| (*digest, id)));
        }
        assert_eq!(self.tables.all::<Holders>().into_keys().collect::<BTreeSet<_>>(), holders);
    }

    fn usage(&self) {
        let mut by_repository: BTreeMap<RepoKey, RepositoryUsage> =
            ["one", "two"].map(|key| (key.parse().unwrap(), RepositoryUsage::default())).into();
        let mut by_name = BTreeMap::new();
        for (name, held) in &self.world.held {
            let holding = held.manifests.keys().chain(held.images.keys());
            let present: BTreeSet<&Digest> = held.blobs.iter().chain(holding).collect();
            let bytes = |own: bool| {
                let share = present.iter().filter(|digest| (self.holders(digest).len() == 1) == own);
                share.map(|digest| size_of(digest)).sum::<u64>()
            };
            let usage = Usage {
                tags: held.tags.len() as u64,
                manifests: held.manifests.len() as u64,
                images: held.images.len() as u64,
                blobs: (present.len() - held.manifests.len() - held.images.len()) as u64,
                own_bytes: bytes(true),
                shared_bytes: bytes(false),
            };
            let repository = by_repository.get_mut(&name.0).unwrap();
            repository.names += u64::from(!name.1.is_waiting_room());
            repository.tags += usage.tags;
            repository.manifests += usage.manifests;
            repository.images += usage.images;
            repository.blobs += usage.blobs;
            repository.bytes += usage.own_bytes + usage.shared_bytes;
            by_name.insert(self.ids[name], usage);
        }
        let found = self.tables.all::<NameUsage>();
        assert_eq!(found.into_iter().map(|(id, row)| (id, row.usage)).collect::<BTreeMap<_, _>>(), by_name);
        assert_eq!(self.tables.all::<UsageByRepository>(), by_repository);
    }

    fn orphans(&self) {
        let waiting = self.states.iter().filter_map(|((id, digest), row)| match row.state {
            ContentState::Waiting { since, wait } => Some((wait, since, *id, *digest)),
            ContentState::Absent | ContentState::Live => None,
        });
        let unheld = self.tables.all::<Blobs>().into_iter().filter_map(|(digest, row)| {
            row.unheld_since.map(|since| (Wait::Unheld, since, NameId(0), digest))
        });
        let expected: BTreeSet<_> = waiting.chain(unheld).collect();
        assert_eq!(self.tables.all::<Orphans>().into_keys().collect::<BTreeSet<_>>(), expected);
    }

    fn folders(&self) {
        let folders = self.tables.all::<Folders>();
        let things = &self.things;
        for path in things.keys() {
            assert!(folders.contains_key(path), "{path:?} has something in it and no folder");
        }
        let properties = self.tables.all::<Properties>();
        assert_eq!(properties, self.world.properties);
        let mut empty = BTreeSet::new();
        for ((repository, path), row) in &folders {
            let inside = folders.keys().filter(|(other, below)| {
                other == repository && below.rsplit_once('/').is_some_and(|(parent, _)| parent == path)
            });
            let held = things.get(&(repository.clone(), path.clone())).map_or(0, BTreeSet::len);
            assert_eq!(row.children as usize, inside.count() + held, "{path}");
            if let Some((parent, _)) = path.rsplit_once('/') {
                assert!(
                    folders.contains_key(&(repository.clone(), parent.to_owned())),
                    "{path} hangs in the air"
                );
            }
            let set = properties.get(&(repository.clone(), path.clone())).map_or(0, |row| row.len());
            assert_eq!(row.properties as usize, set, "{path}");
            let of_files = properties.iter().filter(|((key, file), _)| {
                let parent = file.rsplit_once('/').map(|(parent, _)| parent);
                key == repository
                    && parent == Some(path)
                    && !folders.contains_key(&(key.clone(), file.clone()))
            });
            assert_eq!(
                row.file_properties as usize,
                of_files.map(|(_, row)| row.len()).sum::<usize>(),
                "{path}"
            );
            assert_eq!(row.empty_since.is_some(), row.children == 0, "{path}");
            empty.extend(row.empty_since.map(|since| (since, repository.clone(), path.clone())));
        }
        assert_eq!(self.tables.all::<EmptyFolders>().into_keys().collect::<BTreeSet<_>>(), empty);
    }
}

fn check(world: &mut World) {
    let things = world.things();
    let tables = folded(&world.records);
    let ids = tables.all::<NameIds>();
    let states = tables.all::<Contents>();
    Recount { world, things, tables, ids, states }.check();
}

proptest! {
    #![proptest_config(cases(192))]

    #[test]
    fn counts_are_what_a_recount_gives(ops in proptest::collection::vec(op(), 1..70)) {
        let mut world = World::new();
        for op in ops {
            run(&mut world, op);
        }
        check(&mut world);
    }

    /// Whatever was done: once everything is deleted and collected, nothing is left but history.
    #[test]
    fn an_emptied_registry_is_empty(ops in proptest::collection::vec(op(), 1..70)) {
        let mut world = World::new();
        for op in ops {
            run(&mut world, op);
        }
        for index in 0..PLACES {
            world.delete_name(place(index));
        }
        while world.collect(&Wait::ALL) > 0 {}
        world.prune();
        check(&mut world);
        let tables = folded(&world.records);
        prop_assert!(tables.all::<Contents>().is_empty());
        prop_assert!(tables.all::<Blobs>().is_empty());
        prop_assert!(tables.all::<Folders>().is_empty());
        prop_assert!(tables.all::<Orphans>().is_empty());
        prop_assert!(tables.all::<References>().is_empty());
        prop_assert!(tables.all::<Properties>().is_empty());
        prop_assert!(tables.all::<PropertyValues>().is_empty());
        prop_assert!(tables.all::<TagNames>().is_empty());
        prop_assert!(tables.all::<Migrations>().is_empty());
        prop_assert!(tables.all::<Layers>().is_empty());
        prop_assert!(tables.all::<BlobHashes>().is_empty());
        prop_assert!(tables.all::<ConfigLabels>().is_empty());
    }
}
