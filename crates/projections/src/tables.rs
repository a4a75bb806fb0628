//! The tables: what each holds, its key and its row.
//!
//! All are kept in one redb table, so that a commit that touches many of them still writes few pages. The
//! key's first byte is the table's number; in tables that belong to one repository name it is
//! [`BY_NAME`], then the name's id, then the table's number, so that all that is known of a small name
//! lies side by side:
//!
//! ```text
//! [table] key…                      repositories, names, blobs, orphans, folders, …
//! [0x80] [name id, 4 bytes] [table] key…   tags, tag history, manifests, contents, references, referrers
//! ```

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use supercargo_eventlog::{Actor, RepositoryConfig};
use supercargo_model::{Digest, Manifest, RepoKey, RepoName, Tag, Timestamp};

use crate::codec::{KeyReader, KeyWriter};

/// The first byte of every key that belongs to one name.
pub(crate) const BY_NAME: u8 = 0x80;

/// A repository name's number: given once, in the order of first use, and never again to another name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NameId(pub u32);

/// A table: a name for people, a number for keys, and what its keys and rows are.
pub trait Table: 'static {
    /// What people call it.
    const NAME: &'static str;
    /// Its number in keys.
    const ID: u8;
    /// Its key.
    type Key: Clone + Eq + Ord + std::hash::Hash + std::fmt::Debug + Send;
    /// Its row.
    type Row: Clone + PartialEq + std::fmt::Debug + Serialize + DeserializeOwned + Send;
    /// The whole key, prefix and all.
    fn write_key(key: &Self::Key, out: &mut Vec<u8>);
    /// The key from its bytes, prefix and all.
    fn read_key(bytes: &[u8]) -> Option<Self::Key>;
}

macro_rules! table {
    ($(#[$doc:meta])* $name:ident = $id:literal $text:literal: ($($part:ident: $ty:ty),*) => $row:ty,
        by_name, write($key:ident, $out:ident) $write:block, read($reader:ident, $rid:ident) $read:block) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub enum $name {}

        impl Table for $name {
            const NAME: &'static str = $text;
            const ID: u8 = $id;
            type Key = ($($ty),*);
            type Row = $row;

            fn write_key($key: &Self::Key, $out: &mut Vec<u8>) {
                $out.push(BY_NAME);
                $out.name_id($key.0);
                $out.push($id);
                $write
            }

            fn read_key(bytes: &[u8]) -> Option<Self::Key> {
                let mut reader = KeyReader(bytes);
                let $reader = &mut reader;
                if $reader.byte()? != BY_NAME {
                    return None;
                }
                let $rid = $reader.name_id()?;
                if $reader.byte()? != $id {
                    return None;
                }
                let key = $read;
                $reader.is_empty().then_some(key)
            }
        }
    };
    ($(#[$doc:meta])* $name:ident = $id:literal $text:literal: $key_ty:ty => $row:ty,
        global, write($key:ident, $out:ident) $write:block, read($reader:ident) $read:block) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub enum $name {}

        impl Table for $name {
            const NAME: &'static str = $text;
            const ID: u8 = $id;
            type Key = $key_ty;
            type Row = $row;

            fn write_key($key: &Self::Key, $out: &mut Vec<u8>) {
                $out.push($id);
                $write
            }

            fn read_key(bytes: &[u8]) -> Option<Self::Key> {
                let mut reader = KeyReader(bytes);
                let $reader = &mut reader;
                if $reader.byte()? != $id {
                    return None;
                }
                let key = $read;
                $reader.is_empty().then_some(key)
            }
        }
    };
}

// ---- rows ----

/// A repository's settings and what it holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepositoryRow {
    /// Its settings.
    pub config: RepositoryConfig,
    /// When it was created.
    pub created_at: Timestamp,
}

/// Counts and bytes of a repository or of one name in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Usage {
    /// Tags.
    pub tags: u64,
    /// Manifests.
    pub manifests: u64,
    /// Blobs that are not manifests.
    pub blobs: u64,
    /// Bytes of contents that only this name holds.
    pub own_bytes: u64,
    /// Bytes of contents that other names hold too.
    pub shared_bytes: u64,
}

impl Usage {
    /// Whether there is nothing at all.
    pub fn is_empty(&self) -> bool {
        self.tags == 0 && self.manifests == 0 && self.blobs == 0
    }
}

/// A repository's counts: those of its names, added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RepositoryUsage {
    /// Names that hold something.
    pub names: u64,
    /// What they hold.
    pub usage: Usage,
}

/// A name that holds something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct NameRow {
    /// Its number.
    pub id: NameId,
    /// When it came to hold something.
    pub created_at: Timestamp,
    /// What it holds.
    pub usage: Usage,
}

/// Where a tag points.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TagRow {
    /// The manifest.
    pub digest: Digest,
    /// Since when.
    pub at: Timestamp,
    /// Who set it.
    pub by: Actor,
    /// The record that set it.
    pub seq: u64,
}

/// One change of a tag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TagChange {
    /// The manifest it points to from then on; `None` where it was deleted.
    pub digest: Option<Digest>,
    /// The manifest it pointed to before.
    pub previous: Option<Digest>,
    /// When.
    pub at: Timestamp,
    /// Who did it.
    pub by: Actor,
}

/// A manifest in a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestRow {
    /// What was read from it.
    pub manifest: Manifest,
    /// When it was pushed.
    pub at: Timestamp,
    /// Who pushed it.
    pub by: Actor,
    /// The record that says so.
    pub seq: u64,
}

/// Why something that no tag reaches is still there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wait {
    /// A blob that no manifest referred to yet: a push may be on its way.
    Pending = 0,
    /// A manifest that never had a tag, or lost its last by being overwritten.
    Untagged = 1,
    /// What reached it was deleted.
    Deleted = 2,
    /// A blob that no name holds any more.
    Unheld = 3,
}

/// What becomes of a content of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ContentState {
    /// It is not here, but something refers to it.
    Absent,
    /// Something that is in use refers to it.
    Live,
    /// Nothing in use refers to it.
    Waiting {
        /// Since when.
        since: Timestamp,
        /// Why it is still here.
        wait: Wait,
    },
}

/// A blob or manifest of one name, and what refers to it there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContentRow {
    /// Its size in bytes; 0 where it is absent.
    pub size: u64,
    /// Whether it was uploaded or mounted as a blob.
    pub blob: bool,
    /// Whether it was pushed as a manifest.
    pub manifest: bool,
    /// How many tags point to it.
    pub tags: u32,
    /// How many manifests that are in use list it.
    pub holders: u32,
    /// How many manifests name it as their subject.
    pub referrers: u32,
    /// Whether it is a manifest whose subject is in use.
    pub subject_live: bool,
    /// What becomes of it.
    pub state: ContentState,
}

impl ContentRow {
    /// Nothing known of it.
    pub(crate) const ABSENT: ContentRow = ContentRow {
        size: 0,
        blob: false,
        manifest: false,
        tags: 0,
        holders: 0,
        referrers: 0,
        subject_live: false,
        state: ContentState::Absent,
    };

    /// Whether it is here at all.
    pub fn present(&self) -> bool {
        self.blob || self.manifest
    }

    /// Whether a tag reaches it through any edge.
    pub fn reached(&self) -> bool {
        self.tags > 0 || self.holders > 0 || self.subject_live
    }

    /// Whether what it refers to is in use because of it.
    pub(crate) fn holds(&self) -> bool {
        self.manifest
            && match self.state {
                ContentState::Absent => false,
                ContentState::Live => true,
                ContentState::Waiting { wait, .. } => wait == Wait::Untagged,
            }
    }
}

/// A blob whose bytes the registry keeps, in whichever names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobRow {
    /// Its size in bytes.
    pub size: u64,
    /// When it was first stored.
    pub first_seen: Timestamp,
    /// How many names hold it, as a blob or as a manifest.
    pub holders: u32,
    /// The numbers of those names, combined by exclusive or: with one holder left, that is the holder, and
    /// its share becomes its own without a search.
    pub holders_xor: u32,
    /// Since when no name holds it.
    pub unheld_since: Option<Timestamp>,
    /// Whether a scrub found its bytes damaged.
    pub rotten: bool,
}

/// What refers to a content.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// A tag.
    Tag(Tag),
    /// A manifest that lists it.
    Manifest(Digest),
}

/// As what a manifest or tag refers to something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReferenceKind {
    /// A tag points to it.
    Tag,
    /// It is the config.
    Config,
    /// It is a layer.
    Layer,
    /// It is listed by an index.
    Child,
}

/// A folder of a repository's tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FolderRow {
    /// How many folders and files are in it.
    pub children: u32,
    /// How many properties are set on it.
    pub properties: u32,
    /// When it was made.
    pub created_at: Timestamp,
    /// Since when it is empty.
    pub empty_since: Option<Timestamp>,
}

/// Counters that numbers are given from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Counter {
    /// The next [`NameId`].
    NextName = 0,
}

// ---- tables ----

table! {
    /// Counters.
    Counters = 1 "counters": Counter => u32,
    global,
    write(key, out) { out.push(*key as u8) },
    read(r) { (r.byte()? == 0).then_some(Counter::NextName)? }
}

table! {
    /// Repositories by key.
    Repositories = 2 "repositories": RepoKey => RepositoryRow,
    global,
    write(key, out) { out.text(key.as_str()) },
    read(r) { RepoKey::parse(r.text()?).ok()? }
}

table! {
    /// Counts and bytes of each repository.
    UsageByRepository = 3 "usage": RepoKey => RepositoryUsage,
    global,
    write(key, out) { out.text(key.as_str()) },
    read(r) { RepoKey::parse(r.text()?).ok()? }
}

table! {
    /// Names that hold something, with their usage.
    Names = 4 "names": (RepoKey, RepoName) => NameRow,
    global,
    write(key, out) { out.text(key.0.as_str()); out.text(key.1.as_str()) },
    read(r) { (RepoKey::parse(r.text()?).ok()?, RepoName::parse(r.text()?).ok()?) }
}

table! {
    /// The number of every name that ever was.
    NameIds = 5 "name ids": (RepoKey, RepoName) => NameId,
    global,
    write(key, out) { out.text(key.0.as_str()); out.text(key.1.as_str()) },
    read(r) { (RepoKey::parse(r.text()?).ok()?, RepoName::parse(r.text()?).ok()?) }
}

table! {
    /// The name of every number.
    NamesById = 6 "names by id": NameId => (RepoKey, RepoName),
    global,
    write(key, out) { out.name_id(*key) },
    read(r) { r.name_id()? }
}

table! {
    /// Blobs by digest, manifests' bytes included.
    Blobs = 7 "blobs": Digest => BlobRow,
    global,
    write(key, out) { out.digest(key) },
    read(r) { r.digest()? }
}

table! {
    /// Which names hold a blob.
    Holders = 8 "holders": (Digest, NameId) => (),
    global,
    write(key, out) { out.digest(&key.0); out.name_id(key.1) },
    read(r) { (r.digest()?, r.name_id()?) }
}

table! {
    /// What nothing in use refers to, by why and since when. [`Wait::Unheld`] has no name: its number is 0.
    Orphans = 9 "orphans": (Wait, Timestamp, NameId, Digest) => (),
    global,
    write(key, out) { out.push(key.0 as u8); out.time(key.1); out.name_id(key.2); out.digest(&key.3) },
    read(r) {
        let wait = match r.byte()? {
            0 => Wait::Pending,
            1 => Wait::Untagged,
            2 => Wait::Deleted,
            3 => Wait::Unheld,
            _ => return None,
        };
        (wait, r.time()?, r.name_id()?, r.digest()?)
    }
}

table! {
    /// Folders of each repository's tree, by path without leading slash.
    Folders = 10 "folders": (RepoKey, String) => FolderRow,
    global,
    write(key, out) { out.text(key.0.as_str()); out.text(&key.1) },
    read(r) { (RepoKey::parse(r.text()?).ok()?, r.text()?.to_owned()) }
}

table! {
    /// Empty folders, by since when.
    EmptyFolders = 11 "empty folders": (Timestamp, RepoKey, String) => (),
    global,
    write(key, out) { out.time(key.0); out.text(key.1.as_str()); out.text(&key.2) },
    read(r) { (r.time()?, RepoKey::parse(r.text()?).ok()?, r.text()?.to_owned()) }
}

table! {
    /// Properties of folders and files of the tree.
    Properties = 12 "properties": (RepoKey, String, String) => Vec<String>,
    global,
    write(key, out) { out.text(key.0.as_str()); out.text(&key.1); out.text(&key.2) },
    read(r) { (RepoKey::parse(r.text()?).ok()?, r.text()?.to_owned(), r.text()?.to_owned()) }
}

table! {
    /// Where each tag points.
    Tags = 32 "tags": (id: NameId, tag: Tag) => TagRow,
    by_name,
    write(key, out) { out.text(key.1.as_str()) },
    read(r, id) { (id, Tag::parse(r.text()?).ok()?) }
}

table! {
    /// Every change of every tag, in order.
    TagHistory = 33 "tag history": (id: NameId, tag: Tag, seq: u64) => TagChange,
    by_name,
    write(key, out) { out.text(key.1.as_str()); out.number(key.2) },
    read(r, id) { (id, Tag::parse(r.text()?).ok()?, r.number()?) }
}

table! {
    /// Manifests of a name.
    Manifests = 34 "manifests": (id: NameId, digest: Digest) => ManifestRow,
    by_name,
    write(key, out) { out.digest(&key.1) },
    read(r, id) { (id, r.digest()?) }
}

table! {
    /// Blobs and manifests of a name, with the counts of what refers to them there.
    Contents = 35 "contents": (id: NameId, digest: Digest) => ContentRow,
    by_name,
    write(key, out) { out.digest(&key.1) },
    read(r, id) { (id, r.digest()?) }
}

table! {
    /// Who refers to a content of a name.
    References = 36 "references": (id: NameId, target: Digest, source: Source) => ReferenceKind,
    by_name,
    write(key, out) {
        out.digest(&key.1);
        match &key.2 {
            Source::Tag(tag) => { out.push(0); out.text(tag.as_str()) }
            Source::Manifest(digest) => { out.push(1); out.digest(digest) }
        }
    },
    read(r, id) {
        let target = r.digest()?;
        let source = match r.byte()? {
            0 => Source::Tag(Tag::parse(r.text()?).ok()?),
            1 => Source::Manifest(r.digest()?),
            _ => return None,
        };
        (id, target, source)
    }
}

table! {
    /// The manifests that name a subject.
    Referrers = 37 "referrers": (id: NameId, subject: Digest, referrer: Digest) => (),
    by_name,
    write(key, out) { out.digest(&key.1); out.digest(&key.2) },
    read(r, id) { (id, r.digest()?, r.digest()?) }
}

/// The name of the table that a stored key belongs to, for messages and fingerprints.
pub fn table_of(key: &[u8]) -> Option<&'static str> {
    let id = match key.first()? {
        &BY_NAME => *key.get(5)?,
        id => *id,
    };
    ALL.iter().find(|(number, _)| *number == id).map(|(_, name)| *name)
}

/// Every table's number and name.
pub const ALL: [(u8, &str); 18] = [
    (Counters::ID, Counters::NAME),
    (Repositories::ID, Repositories::NAME),
    (UsageByRepository::ID, UsageByRepository::NAME),
    (Names::ID, Names::NAME),
    (NameIds::ID, NameIds::NAME),
    (NamesById::ID, NamesById::NAME),
    (Blobs::ID, Blobs::NAME),
    (Holders::ID, Holders::NAME),
    (Orphans::ID, Orphans::NAME),
    (Folders::ID, Folders::NAME),
    (EmptyFolders::ID, EmptyFolders::NAME),
    (Properties::ID, Properties::NAME),
    (Tags::ID, Tags::NAME),
    (TagHistory::ID, TagHistory::NAME),
    (Manifests::ID, Manifests::NAME),
    (Contents::ID, Contents::NAME),
    (References::ID, References::NAME),
    (Referrers::ID, Referrers::NAME),
];
