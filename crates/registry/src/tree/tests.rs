//! The tree against a plain account of what was pushed: every way of reading it agrees with what the account lists.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::FutureExt as _;
use proptest::collection::vec;
use proptest::prelude::*;
use supercargo_eventlog::{Actor, Api, Event, Origin, Record, RepositoryConfig, V1Image};
use supercargo_model::{Descriptor, ImageId, Manifest, media_type};
use supercargo_projections::{Empty, Rows, Working, fold};

use super::*;

fn key() -> RepoKey {
    "r".parse().unwrap()
}

fn path(text: &str) -> TreePath {
    text.parse().unwrap()
}

/// `a/b` under `a` is a folder of a tag and of a name; `x` and `library/x` are one to V1; tags can be called as files are.
const NAMES: [&str; 7] = ["a", "a/b", "a-b", "x", "library/x", "repositories/a", "team/one/two"];
const TAGS: [&str; 5] = ["b", "latest", "v1", "manifest.json", "1.0-rc"];

fn blob(byte: u8) -> Digest {
    Digest::sha256([byte; 32])
}

fn manifest_digest(byte: u8) -> Digest {
    Digest::sha256([0x80 | byte; 32])
}

fn image(byte: u8) -> V1Image {
    V1Image {
        id: ImageId::from_bytes([byte / 2; 32]),
        parent: None,
        depth: 1,
        // Two of each id, which names disagree on.
        json: Digest::sha256([0x40 | byte; 32]),
        json_size: 20,
        layer: blob(byte),
        layer_size: 7,
        checksum: None,
        tarsum: None,
    }
}

fn manifest(byte: u8) -> Manifest {
    let descriptor = |digest| Descriptor {
        media_type: media_type::OCI_LAYER_GZIP.to_owned(),
        digest,
        size: 7,
        platform: None,
        foreign: false,
    };
    let is_index = byte == 3;
    Manifest {
        media_type: if is_index { media_type::OCI_INDEX } else { media_type::OCI_MANIFEST }.to_owned(),
        size: 30,
        artifact_type: None,
        config: (!is_index).then(|| descriptor(blob(0))),
        layers: if is_index { Vec::new() } else { vec![descriptor(blob(byte)), descriptor(blob(0))] },
        children: if is_index { vec![descriptor(manifest_digest(0))] } else { Vec::new() },
        subject: None,
        annotations: Vec::new(),
        signed: None,
    }
}

#[derive(Debug, Clone)]
enum Op {
    Tag(usize, usize, u8),
    Push(usize, u8),
    TagImage(usize, usize, u8),
    Untag(usize, usize),
    Prune,
}

fn op() -> impl Strategy<Value = Op> {
    let (name, tag, thing) = (0..NAMES.len(), 0..TAGS.len(), 0..4_u8);
    prop_oneof![
        6 => (name.clone(), tag.clone(), thing.clone()).prop_map(|(name, tag, thing)| Op::Tag(name, tag, thing)),
        2 => (name.clone(), thing.clone()).prop_map(|(name, thing)| Op::Push(name, thing)),
        5 => (name.clone(), tag.clone(), thing).prop_map(|(name, tag, thing)| Op::TagImage(name, tag, thing)),
        2 => (name, tag).prop_map(|(name, tag)| Op::Untag(name, tag)),
        1 => Just(Op::Prune),
    ]
}

struct World {
    state: Working<Empty>,
    seq: u64,
    tags: BTreeMap<(RepoName, Tag), (Digest, bool)>,
    manifests: BTreeSet<(RepoName, u8)>,
    images: BTreeSet<(RepoName, u8)>,
}

impl World {
    fn new() -> World {
        let mut world = World {
            state: Working::new(Empty),
            seq: 0,
            tags: BTreeMap::new(),
            manifests: BTreeSet::new(),
            images: BTreeSet::new(),
        };
        world.record(Event::RepositoryCreated { repository: key(), config: RepositoryConfig::default() });
        world
    }

    fn record(&mut self, event: Event) {
        self.seq += 1;
        let record = Record {
            seq: self.seq,
            at: Timestamp::from_micros(self.seq.cast_signed()),
            id: uuid::Uuid::nil(),
            actor: Actor::User("ann".to_owned()),
            origin: Origin::local(Api::Cli),
            event,
        };
        fold(&mut self.state, &record);
    }

    fn run(&mut self, op: &Op) {
        let repository = key();
        match *op {
            Op::Push(name, thing) => self.push(&NAMES[name].parse().unwrap(), thing),
            Op::Tag(name, tag, thing) => {
                let name = NAMES[name].parse().unwrap();
                self.push(&name, thing);
                self.point(&name, &TAGS[tag].parse().unwrap(), manifest_digest(thing), false);
            }
            Op::TagImage(name, tag, thing) => {
                let name: RepoName = NAMES[name].parse().unwrap();
                // A name has one image of an id.
                if self.images.contains(&(name.clone(), thing ^ 1)) {
                    return;
                }
                if self.images.insert((name.clone(), thing)) {
                    let images = vec![image(thing)];
                    self.record(Event::V1ImagesAdded { repository, name: name.clone(), from: None, images });
                }
                self.point(&name, &TAGS[tag].parse().unwrap(), image(thing).json, true);
            }
            Op::Untag(name, tag) => {
                let (name, tag): (RepoName, Tag) = (NAMES[name].parse().unwrap(), TAGS[tag].parse().unwrap());
                if let Some((previous, _)) = self.tags.remove(&(name.clone(), tag.clone())) {
                    self.record(Event::TagDeleted { repository, name, tag, previous });
                }
            }
            Op::Prune => {
                use supercargo_projections::tables::{EmptyFolders, prefix};
                loop {
                    let empty = prefix::empty_folders();
                    let empty = self.state.scan_prefix::<EmptyFolders>(&empty, None, usize::MAX);
                    let paths: Vec<String> = empty.into_iter().map(|((_, _, path), ())| path).collect();
                    if paths.is_empty() {
                        return;
                    }
                    self.record(Event::FoldersPruned { repository: key(), paths });
                }
            }
        }
    }

    fn push(&mut self, name: &RepoName, thing: u8) {
        if thing == 3 {
            self.push(name, 0);
        }
        let repository = key();
        if self.manifests.insert((name.clone(), thing)) {
            for blob in [blob(0), blob(thing)] {
                let (repository, name) = (repository.clone(), name.clone());
                self.record(Event::BlobAdded { repository, name, digest: blob, size: 7 });
            }
            let (name, digest) = (name.clone(), manifest_digest(thing));
            self.record(Event::ManifestPushed { repository, name, digest, manifest: manifest(thing) });
        }
    }

    fn point(&mut self, name: &RepoName, tag: &Tag, digest: Digest, image: bool) {
        let previous =
            self.tags.insert((name.clone(), tag.clone()), (digest, image)).map(|(digest, _)| digest);
        if previous != Some(digest) {
            let (name, tag) = (name.clone(), tag.clone());
            self.record(Event::TagSet { repository: key(), name, tag, digest, previous });
        }
    }

    /// All paths, folders with a slash behind, as whoever sees `eyes` has them. Folders are those of the table.
    fn paths(&mut self, eyes: &Reach) -> BTreeSet<String> {
        use supercargo_projections::tables::{Contents, Folders, Names};
        let rows = self.state.scan::<Folders>(&[], &[u8::MAX], usize::MAX);
        let folders: BTreeSet<String> = rows.into_iter().map(|((_, path), _)| path).collect();
        let mut files = BTreeSet::new();
        let seen = |name: &RepoName| eyes.reach(name);
        let beside = |thing: u8, folder: &str| {
            let read = manifest(thing);
            let called = if thing == 3 { tree::INDEX } else { tree::MANIFEST };
            let blobs = read.config.iter().chain(&read.layers).map(|blob| tree::blob_file(&blob.digest));
            let names = std::iter::once(called.to_owned()).chain(blobs);
            names.map(|file| format!("{folder}/{file}")).collect::<Vec<_>>()
        };
        for ((name, tag), (digest, image)) in self.tags.clone() {
            if !seen(&name) {
                continue;
            }
            if image {
                files.insert(format!("{}/{}", tree::v1_tag_folder(&name, &tag), tree::V1_TAG));
                files.insert(format!("{}/{}", tree::v1_folder(&name), tree::V1_INDEX));
            } else {
                let thing = (0..4).find(|thing| manifest_digest(*thing) == digest).unwrap();
                files.extend(beside(thing, &tree::tag_folder(&name, &tag)));
            }
        }
        for (name, thing) in self.manifests.clone() {
            let id = self.state.row::<Names>(&(key(), name.clone())).unwrap();
            let row = self.state.row::<Contents>(&(id, manifest_digest(thing)));
            if seen(&name) && row.is_some_and(|row| row.stands_alone()) {
                files.extend(beside(thing, &tree::untagged_folder(&name, &manifest_digest(thing))));
            }
        }
        let mut ids: BTreeMap<ImageId, BTreeSet<u8>> = BTreeMap::new();
        for (_, thing) in self.images.iter().filter(|(name, _)| seen(name)) {
            ids.entry(image(*thing).id).or_default().insert(*thing);
        }
        for id in ids.iter().filter(|(_, things)| things.len() == 1).map(|(id, _)| id) {
            files.extend(tree::IMAGE_FILES.map(|file| format!("{}/{file}", tree::image_folder(id))));
        }
        files.retain(|file| !folders.contains(file));
        let mut all = files;
        if eyes.reach_all() {
            let unclear = |folder: &String| {
                let id = folder.strip_prefix(".images/").and_then(|rest| rest.split_once('/'));
                id.is_some_and(|(_, id)| ids.get(&id.parse().unwrap()).is_some_and(|things| things.len() > 1))
            };
            all.extend(folders.iter().filter(|folder| !unclear(folder)).map(|folder| format!("{folder}/")));
        }
        all
    }

    fn tree<'t>(&'t mut self, repository: &'t RepoKey, eyes: &'t Reach) -> Tree<'t, Working<Empty>> {
        Tree::new(&mut self.state, repository, eyes)
    }
}

fn text(item: &Item) -> String {
    if item.is_folder() { format!("{}/", item.path) } else { item.path.to_string() }
}

fn walked(
    tree: &mut Tree<'_, Working<Empty>>,
    from: Option<&TreePath>,
    below: &TreePath,
    depth: usize,
) -> Vec<Item> {
    let mut items = Vec::new();
    tree.walk(from, below, depth, |item| {
        items.push(item);
        Visit::On
    });
    items
}

fn world(ops: &[Op]) -> World {
    let mut world = World::new();
    ops.iter().for_each(|op| world.run(op));
    world
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_walk_visits_what_is_there_in_order_from_anywhere(ops in vec(op(), 0..40), depth in 1..6_usize) {
        let (mut world, repository, eyes) = (world(&ops), key(), Reach::all());
        let expected = world.paths(&eyes);
        let mut tree = world.tree(&repository, &eyes);
        let root = TreePath::root();
        let items = walked(&mut tree, None, &root, usize::MAX);
        prop_assert_eq!(items.iter().map(text).collect::<BTreeSet<_>>(), expected);
        prop_assert!(items.windows(2).all(|pair| pair[0].path < pair[1].path), "{:?}", items);
        for (at, item) in items.iter().enumerate() {
            prop_assert_eq!(tree.item(&item.path), Some(item.clone()));
            prop_assert_eq!(&walked(&mut tree, Some(&item.path), &root, usize::MAX)[..], &items[at + 1..]);
            let below: Vec<Item> =
                items.iter().filter(|other| other.path.is_at_or_below(&item.path) && other.path != item.path).cloned().collect();
            prop_assert_eq!(walked(&mut tree, None, &item.path, usize::MAX), below);
        }
        let shallow: Vec<Item> = items.iter().filter(|item| item.path.depth() <= depth).cloned().collect();
        prop_assert_eq!(walked(&mut tree, None, &root, depth), shallow.clone());
        if let Some(at) = shallow.len().checked_sub(1).map(|last| last / 2) {
            let rest = walked(&mut tree, Some(&shallow[at].path), &root, depth);
            prop_assert_eq!(&rest[..], &shallow[at + 1..]);
        }
    }

    #[test]
    fn pages_of_a_folder_are_its_children(ops in vec(op(), 0..40), n in 1..4_usize) {
        let (mut world, repository, eyes) = (world(&ops), key(), Reach::all());
        let mut tree = world.tree(&repository, &eyes);
        let items = walked(&mut tree, None, &TreePath::root(), usize::MAX);
        let folders = items.iter().filter(|item| item.is_folder()).map(|item| item.path.clone());
        for folder in std::iter::once(TreePath::root()).chain(folders) {
            let inside = items.iter().filter(|item| item.path.parent().as_ref() == Some(&folder));
            let (mut expected, files): (Vec<Item>, Vec<Item>) = inside.cloned().partition(Item::is_folder);
            expected.extend(files);
            let (mut found, mut after) = (Vec::new(), None);
            loop {
                let page = tree.children(&folder, after.as_ref(), n);
                prop_assert!(page.entries.len() <= n && (!page.more || page.entries.len() == n));
                found.extend(page.entries);
                if !page.more {
                    break;
                }
                after = found.last().map(Sibling::of);
            }
            prop_assert_eq!(&found, &expected, "{}", folder);
        }
    }

    /// What somebody may not read leaves no file, and no folder that is of it alone.
    #[test]
    fn what_may_not_be_read_is_not_there(ops in vec(op(), 0..40), readable in proptest::sample::subsequence(NAMES.to_vec(), 0..NAMES.len())) {
        let (mut world, repository) = (world(&ops), key());
        let may_read = readable.clone();
        let eyes = Reach::of(move |name| may_read.contains(&name.as_str()));
        let expected = world.paths(&eyes);
        let everything = world.paths(&Reach::all());
        let mut tree = world.tree(&repository, &eyes);
        let items = walked(&mut tree, None, &TreePath::root(), usize::MAX);
        let (folders, files): (Vec<&Item>, Vec<&Item>) = items.iter().partition(|item| item.is_folder());
        prop_assert_eq!(files.into_iter().map(text).collect::<BTreeSet<_>>(), expected);
        for folder in &folders {
            // Readable at or below it, or beside it where it is a tag's; images are anybody's that has one.
            let path = folder.path.as_str();
            let of = |name: &&str| {
                let v1 = tree::v1_folder(&name.parse().unwrap());
                [name.to_string(), v1].iter().any(|shown| {
                    shown == path || shown.starts_with(&format!("{path}/")) || path.rsplit_once('/').is_some_and(|(parent, _)| parent == shown)
                })
            };
            let below = items.iter().any(|item| !item.is_folder() && item.path.is_at_or_below(&folder.path));
            prop_assert!(below || (!path.starts_with(".images") && readable.iter().any(of)), "{path} is seen");
        }
        for hidden in everything.iter().filter(|path| !items.iter().any(|item| text(item) == **path)) {
            let found = tree.item(&path(hidden.strip_suffix('/').unwrap_or(hidden)));
            prop_assert!(found.is_none_or(|found| items.contains(&found)), "{hidden}");
        }
    }
}

#[test]
fn a_folder_costs_what_is_in_it_and_not_what_lies_below() {
    let mut world = World::new();
    for number in 0..300_u32 {
        let name: RepoName = format!("deep/n{}", number / 100).parse().unwrap();
        world.push(&name, 1);
        world.point(&name, &format!("t{number}").parse().unwrap(), manifest_digest(1), false);
    }
    let (repository, eyes) = (key(), Reach::all());
    let mut counted = Counted { rows: &mut world.state, read: 0 };
    let page = Tree::new(&mut counted, &repository, &eyes).children(&path("deep"), None, 2);
    assert_eq!(page.entries.iter().map(text).collect::<Vec<_>>(), ["deep/n0/", "deep/n1/"]);
    assert!(page.more && counted.read < 30, "{} rows for a page of two", counted.read);
}

/// Counts what is read.
struct Counted<'c> {
    rows: &'c mut Working<Empty>,
    read: usize,
}

impl Rows for Counted<'_> {
    fn row<T: supercargo_projections::Tracked>(&mut self, key: &T::Key) -> Option<T::Row> {
        self.read += 1;
        self.rows.row::<T>(key)
    }

    fn scan<T: supercargo_projections::Tracked>(
        &mut self,
        start: &[u8],
        end: &[u8],
        limit: usize,
    ) -> Vec<(T::Key, T::Row)> {
        let found = self.rows.scan::<T>(start, end, limit);
        self.read += found.len();
        found
    }
}

#[tokio::test]
async fn so_many_walk_at_a_time_and_more_wait() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::open(crate::Options::new(folder.path())).unwrap();
    let mut places = Vec::new();
    for _ in 0..super::walks::WALKS_MAX {
        places.push(registry.walks().place().await.unwrap());
    }
    let mut next = Box::pin(registry.walks().place());
    assert!((&mut next).now_or_never().is_none());
    places.pop();
    assert!((&mut next).now_or_never().is_some());
    registry.close();
}
