//! The tables: what each holds, its key and its row.
//!
//! All are kept in one redb table, and keys are made so that what changes together lies together: a commit
//! that touches many tables still writes few pages. The key's first byte is a table's number; what belongs
//! to one repository name begins with `BY_NAME` and the name's number, and all that is known of one
//! digest there, or of one blob over all names, is side by side:
//!
//! ```text
//! [table] key…                                repositories, names, orphans, folders, …
//! [9] [digest] [part]…                        part 0 blob, 1 its holders, 2 what is in the layer, 3 its other hashes,
//!                                              4 the labels in the config
//! [24] repository id name                     V1 images by id
//! [0x80] [name id, 4 bytes] [0]               the name's usage
//! [0x80] [name id, 4 bytes] [1] tag           tags
//! [0x80] [name id, 4 bytes] [2] tag seq       tag history
//! [0x80] [name id, 4 bytes] [3] [digest] [part]…   part 0 content, 1 manifest, 2 references, 3 referrers,
//!                                                  4 V1 image, 5 what a manifest is to V1 clients
//! [0x80] [name id, 4 bytes] [4] tag           where a tag was migrated from
//! ```

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use supercargo_eventlog::{Actor, PackedLayer, RepositoryConfig, V1Image};
use supercargo_model::{Digest, ImageId, Manifest, RepoKey, RepoName, Tag, Timestamp};

use crate::codec::{KeyReader, KeyWriter};

pub use accounts::{
    Administrators, GroupRow, Groups, Members, Memberships, PermissionTargets, Permissions, Tokens,
    TokensByExpiry, TokensOf, Users,
};

/// The first byte of every key that belongs to one name.
pub(crate) const BY_NAME: u8 = 0x80;

/// A repository name's number: given once, in the order of first use, and never again to another name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NameId(pub u32);

/// A table: a name for people, and what its keys and rows are.
pub trait Table: 'static {
    /// What people call it.
    const NAME: &'static str;
    /// Its key.
    type Key: Clone + Eq + Ord + std::hash::Hash + std::fmt::Debug + Send;
    /// Its row.
    type Row: Clone + PartialEq + std::fmt::Debug + Serialize + DeserializeOwned + Send;
    /// The whole key, prefix and all.
    fn write_key(key: &Self::Key, out: &mut Vec<u8>);
    /// The key from its bytes, prefix and all; `None` for the key of another table.
    fn read_key(bytes: &[u8]) -> Option<Self::Key>;
    /// About how many bytes of memory a row takes besides its own size, where that may be many.
    fn row_bytes_beside(_: &Self::Row) -> usize {
        0
    }
}

macro_rules! table {
    ($(#[$doc:meta])* $name:ident $text:literal: $key_ty:ty => $row:ty,
        write($key:ident, $out:ident) $write:block, read($reader:ident) $read:block
        $(, beside($row_arg:ident) $beside:block)?) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub enum $name {}

        impl Table for $name {
            const NAME: &'static str = $text;
            type Key = $key_ty;
            type Row = $row;

            fn write_key($key: &Self::Key, $out: &mut Vec<u8>) $write

            fn read_key(bytes: &[u8]) -> Option<Self::Key> {
                let mut reader = KeyReader(bytes);
                let $reader = &mut reader;
                let key = $read;
                $reader.is_empty().then_some(key)
            }

            $(fn row_bytes_beside($row_arg: &Self::Row) -> usize $beside)?
        }
    };
}

mod accounts;

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
    /// V1 images.
    #[serde(default)]
    pub images: u64,
    /// Blobs that are neither.
    pub blobs: u64,
    /// Bytes of contents that only this name holds.
    pub own_bytes: u64,
    /// Bytes of contents that other names hold too.
    pub shared_bytes: u64,
}

impl Usage {
    /// Whether there is nothing at all.
    pub fn is_empty(&self) -> bool {
        self.tags == 0 && self.manifests == 0 && self.images == 0 && self.blobs == 0
    }
}

/// A repository's counts: those of its names, added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RepositoryUsage {
    /// Names that hold something.
    pub names: u64,
    /// Tags.
    pub tags: u64,
    /// Manifests.
    pub manifests: u64,
    /// V1 images, counted in each name that holds them.
    #[serde(default)]
    pub images: u64,
    /// Blobs that are neither, counted in each name that holds them.
    pub blobs: u64,
    /// Bytes of contents, counted in each name that holds them.
    pub bytes: u64,
}

/// A name that holds something: since when, and what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct NameRow {
    /// When it came to hold something.
    pub created_at: Timestamp,
    /// What it holds.
    pub usage: Usage,
}

/// Where a tag points.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TagRow {
    /// The manifest, or the JSON of the V1 image.
    pub digest: Digest,
    /// Whether it is a V1 image.
    pub image: bool,
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

impl Wait {
    /// Every reason.
    pub const ALL: [Wait; 4] = [Wait::Pending, Wait::Untagged, Wait::Deleted, Wait::Unheld];
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
    /// Whether it is the JSON of a V1 image.
    pub image: bool,
    /// How many tags point to it.
    pub tags: u32,
    /// How many manifests and images that are in use hold it.
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
        image: false,
        tags: 0,
        holders: 0,
        referrers: 0,
        subject_live: false,
        state: ContentState::Absent,
    };

    /// Whether it is here at all.
    pub fn present(&self) -> bool {
        self.blob || self.manifest || self.image
    }

    /// Whether a tag reaches it through any edge.
    pub fn reached(&self) -> bool {
        self.tags > 0 || self.holders > 0 || self.subject_live
    }

    /// Whether it is a manifest that has a place of its own in the tree: no tag points to it, and nobody deleted what did.
    pub fn stands_alone(&self) -> bool {
        self.manifest && self.tags == 0 && self.holds()
    }

    /// Whether what it refers to is in use because of it.
    pub(crate) fn holds(&self) -> bool {
        (self.manifest || self.image)
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
    /// A manifest that lists it, or a V1 image that is made of it.
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
    /// A V1 image was made from it.
    Parent,
    /// It is what the manifest is to V1 clients.
    View,
}

/// A V1 image in a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageRow {
    /// The image.
    pub image: V1Image,
    /// When it came into the name.
    pub at: Timestamp,
    /// Who pushed it, or set the tag that it came with.
    pub by: Actor,
    /// The record that says so.
    pub seq: u64,
}

/// What is in a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerRow {
    /// The SHA-256 of what it unpacks to.
    pub diff_id: Digest,
    /// How many bytes that has.
    pub unpacked_size: u64,
    /// The same layer as gzip, where it is packed otherwise.
    pub packed: Option<PackedLayer>,
}

/// A folder of a repository's tree. The repository itself has none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FolderRow {
    /// How many folders are in it, and things with files there: tags, manifests without tags, V1 images of names.
    pub children: u32,
    /// How many properties are set on it.
    pub properties: u32,
    /// How many properties are set on files that are directly in it.
    pub file_properties: u32,
    /// When it was made.
    pub created_at: Timestamp,
    /// Who made it.
    pub created_by: Actor,
    /// Since when it is empty.
    pub empty_since: Option<Timestamp>,
}

/// The other hashes of a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobHashesRow {
    /// Its MD5.
    pub md5: [u8; 16],
    /// Its SHA-1.
    pub sha1: [u8; 20],
}

/// Where a tag was migrated from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MigrationRow {
    /// The manifest that the tag was set on. Where it points at another by now, somebody else has moved it.
    pub digest: Digest,
    /// The repository that it came from.
    pub from_repository: RepoKey,
    /// The name that it came from.
    pub from_name: RepoName,
    /// What it was called there.
    pub from_tag: Tag,
    /// The image that it pointed to there.
    pub image: ImageId,
}

/// Properties of one folder or file, by their names, in order.
pub type PropertiesRow = std::collections::BTreeMap<String, Vec<String>>;

impl FolderRow {
    /// A folder with nothing in it yet.
    pub(crate) fn new(created_at: Timestamp, created_by: &Actor) -> FolderRow {
        FolderRow {
            children: 0,
            properties: 0,
            file_properties: 0,
            created_at,
            created_by: created_by.clone(),
            empty_since: None,
        }
    }
}

/// Counters that numbers are given from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Counter {
    /// The next [`NameId`].
    NextName = 0,
}

// ---- tables ----

/// Numbers of tables, in the first byte of keys.
///
/// A repository's usage lies right behind the blobs that wait for their manifest: both change with every
/// push, and the newest of those are the last, so that a commit finds them in one page.
pub(crate) mod number {
    use super::Wait;

    pub(crate) const COUNTERS: u8 = 1;
    pub(crate) const REPOSITORIES: u8 = 2;
    pub(crate) const NAMES: u8 = 3;
    pub(crate) const NAME_IDS: u8 = 4;
    pub(crate) const NAMES_BY_ID: u8 = 5;
    pub(crate) const FOLDERS: u8 = 6;
    pub(crate) const EMPTY_FOLDERS: u8 = 7;
    pub(crate) const PROPERTIES: u8 = 8;
    pub(crate) const BLOBS: u8 = 9;
    pub(crate) const ORPHANS_DELETED: u8 = 10;
    pub(crate) const ORPHANS_UNHELD: u8 = 11;
    pub(crate) const ORPHANS_PENDING: u8 = 12;
    pub(crate) const USAGE: u8 = 13;
    pub(crate) const ORPHANS_UNTAGGED: u8 = 14;
    pub(crate) const USERS: u8 = 15;
    pub(crate) const ADMINISTRATORS: u8 = 16;
    pub(crate) const GROUPS: u8 = 17;
    pub(crate) const MEMBERS: u8 = 18;
    pub(crate) const MEMBERSHIPS: u8 = 19;
    pub(crate) const TOKENS: u8 = 20;
    pub(crate) const TOKENS_OF: u8 = 21;
    pub(crate) const TOKENS_BY_EXPIRY: u8 = 22;
    pub(crate) const PERMISSIONS: u8 = 23;
    pub(crate) const IMAGES_BY_ID: u8 = 24;
    pub(crate) const TAG_NAMES: u8 = 25;
    pub(crate) const PROPERTY_VALUES: u8 = 26;
    pub(crate) const BLOBS_BY_MD5: u8 = 27;
    pub(crate) const BLOBS_BY_SHA1: u8 = 28;
    pub(crate) const LABEL_VALUES: u8 = 29;
    pub(crate) const PERMISSION_TARGETS: u8 = 30;

    /// The number of the orphans that wait for a reason.
    pub(crate) const fn orphans(wait: Wait) -> u8 {
        match wait {
            Wait::Pending => ORPHANS_PENDING,
            Wait::Untagged => ORPHANS_UNTAGGED,
            Wait::Deleted => ORPHANS_DELETED,
            Wait::Unheld => ORPHANS_UNHELD,
        }
    }

    /// What a number says of orphans.
    pub(crate) const fn wait(number: u8) -> Option<Wait> {
        match number {
            ORPHANS_PENDING => Some(Wait::Pending),
            ORPHANS_UNTAGGED => Some(Wait::Untagged),
            ORPHANS_DELETED => Some(Wait::Deleted),
            ORPHANS_UNHELD => Some(Wait::Unheld),
            _ => None,
        }
    }
}

/// Regions of a name, in the byte after its number.
pub(crate) mod region {
    pub(crate) const USAGE: u8 = 0;
    pub(crate) const TAGS: u8 = 1;
    pub(crate) const TAG_HISTORY: u8 = 2;
    pub(crate) const CONTENTS: u8 = 3;
    pub(crate) const MIGRATIONS: u8 = 4;
}

/// Parts of what is known of a digest: of a blob, or of a content of a name.
pub(crate) mod part {
    pub(crate) const BLOB: u8 = 0;
    pub(crate) const HOLDER: u8 = 1;
    pub(crate) const CONTENT: u8 = 0;
    pub(crate) const MANIFEST: u8 = 1;
    pub(crate) const REFERENCE: u8 = 2;
    pub(crate) const REFERRER: u8 = 3;
    pub(crate) const IMAGE: u8 = 4;
    pub(crate) const VIEW: u8 = 5;
    pub(crate) const LAYER: u8 = 2;
    pub(crate) const HASHES: u8 = 3;
    pub(crate) const LABELS: u8 = 4;
}

fn in_name(out: &mut Vec<u8>, id: NameId, region: u8) {
    out.push(BY_NAME);
    out.name_id(id);
    out.push(region);
}

fn of_content(out: &mut Vec<u8>, id: NameId, digest: &Digest, part: u8) {
    in_name(out, id, region::CONTENTS);
    out.digest(digest);
    out.push(part);
}

impl KeyReader<'_> {
    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.byte()? == byte).then_some(())
    }

    fn name(&mut self, region: u8) -> Option<NameId> {
        self.expect(BY_NAME)?;
        let id = self.name_id()?;
        self.expect(region)?;
        Some(id)
    }

    fn content(&mut self, part: u8) -> Option<(NameId, Digest)> {
        let id = self.name(region::CONTENTS)?;
        let digest = self.digest()?;
        self.expect(part)?;
        Some((id, digest))
    }
}

/// Prefixes of rows that are looked through together.
pub mod prefix {
    pub use super::accounts::prefix::*;
    use super::{BY_NAME, KeyWriter, NameId, Wait, in_name, number, of_content, part, region};
    use supercargo_model::{Digest, ImageId, RepoKey};

    /// All repositories.
    pub fn repositories() -> Vec<u8> {
        vec![number::REPOSITORIES]
    }

    /// The names of a repository that hold something.
    pub fn names(repository: &RepoKey) -> Vec<u8> {
        let mut out = vec![number::NAMES];
        out.text(repository.as_str());
        out
    }

    /// The names of a repository that hold something, or did.
    pub fn name_ids(repository: &RepoKey) -> Vec<u8> {
        let mut out = vec![number::NAME_IDS];
        out.text(repository.as_str());
        out
    }

    /// All blobs, and their holders between them.
    pub fn blobs() -> Vec<u8> {
        vec![number::BLOBS]
    }

    /// The names that hold a blob.
    pub fn holders(digest: &Digest) -> Vec<u8> {
        let mut out = vec![number::BLOBS];
        out.digest(digest);
        out.push(part::HOLDER);
        out
    }

    /// The names of a repository that hold a V1 image of an id.
    pub fn images_by_id(repository: &RepoKey, id: &ImageId) -> Vec<u8> {
        let mut out = vec![number::IMAGES_BY_ID];
        out.text(repository.as_str());
        out.extend_from_slice(id.as_bytes());
        out
    }

    /// Orphans that wait for the same reason.
    pub fn orphans(wait: Wait) -> Vec<u8> {
        vec![number::orphans(wait)]
    }

    /// The folders of a repository's tree.
    pub fn folders(repository: &RepoKey) -> Vec<u8> {
        let mut out = vec![number::FOLDERS];
        out.text(repository.as_str());
        out
    }

    /// All empty folders.
    pub fn empty_folders() -> Vec<u8> {
        vec![number::EMPTY_FOLDERS]
    }

    /// Properties in a repository of what has a path that begins so.
    pub fn properties(repository: &RepoKey, path: &str) -> Vec<u8> {
        let mut out = vec![number::PROPERTIES];
        out.text(repository.as_str());
        out.extend_from_slice(path.as_bytes());
        out
    }

    /// What has a property, by its values.
    pub fn property(property: &str) -> Vec<u8> {
        let mut out = vec![number::PROPERTY_VALUES];
        out.text(property);
        out
    }

    /// What has a property of this value.
    pub fn property_value(property: &str, value: &str) -> Vec<u8> {
        let mut out = self::property(property);
        out.text(value);
        out
    }

    /// The names that have a tag.
    pub fn tag_names(tag: &supercargo_model::Tag) -> Vec<u8> {
        let mut out = vec![number::TAG_NAMES];
        out.text(tag.as_str());
        out
    }

    /// The blobs of an MD5.
    pub fn blobs_by_md5(md5: &[u8; 16]) -> Vec<u8> {
        let mut out = vec![number::BLOBS_BY_MD5];
        out.extend_from_slice(md5);
        out
    }

    /// The blobs of a SHA-1.
    pub fn blobs_by_sha1(sha1: &[u8; 20]) -> Vec<u8> {
        let mut out = vec![number::BLOBS_BY_SHA1];
        out.extend_from_slice(sha1);
        out
    }

    /// Configs that have a label, by its values.
    pub fn label(label: &str) -> Vec<u8> {
        let mut out = vec![number::LABEL_VALUES];
        out.text(label);
        out
    }

    /// Configs that have a label of this value.
    pub fn label_value(label: &str, value: &str) -> Vec<u8> {
        let mut out = self::label(label);
        out.text(value);
        out
    }

    /// The tags of a name.
    pub fn tags(id: NameId) -> Vec<u8> {
        let mut out = Vec::new();
        in_name(&mut out, id, region::TAGS);
        out
    }

    /// The changes of a tag.
    pub fn tag_history(id: NameId, tag: &supercargo_model::Tag) -> Vec<u8> {
        let mut out = Vec::new();
        in_name(&mut out, id, region::TAG_HISTORY);
        out.text(tag.as_str());
        out
    }

    /// All that is known of the contents of a name.
    pub fn contents(id: NameId) -> Vec<u8> {
        let mut out = vec![BY_NAME];
        out.name_id(id);
        out.push(region::CONTENTS);
        out
    }

    /// What refers to a content: tags first, then manifests.
    pub fn references(id: NameId, target: &Digest) -> Vec<u8> {
        let mut out = Vec::new();
        of_content(&mut out, id, target, part::REFERENCE);
        out
    }

    /// The tags that point to a content.
    pub fn references_by_tags(id: NameId, target: &Digest) -> Vec<u8> {
        let mut out = references(id, target);
        out.push(0);
        out
    }

    /// The manifests that name a subject.
    pub fn referrers(id: NameId, subject: &Digest) -> Vec<u8> {
        let mut out = Vec::new();
        of_content(&mut out, id, subject, part::REFERRER);
        out
    }
}

table! {
    /// Counters.
    Counters "counters": Counter => u32,
    write(key, out) { out.push(number::COUNTERS); out.push(*key as u8) },
    read(r) { r.expect(number::COUNTERS)?; (r.byte()? == 0).then_some(Counter::NextName)? }
}

table! {
    /// Repositories by key.
    Repositories "repositories": RepoKey => RepositoryRow,
    write(key, out) { out.push(number::REPOSITORIES); out.text(key.as_str()) },
    read(r) { r.expect(number::REPOSITORIES)?; RepoKey::parse(r.text()?).ok()? }
}

table! {
    /// Counts and bytes of each repository.
    UsageByRepository "usage": RepoKey => RepositoryUsage,
    write(key, out) { out.push(number::USAGE); out.text(key.as_str()) },
    read(r) { r.expect(number::USAGE)?; RepoKey::parse(r.text()?).ok()? }
}

table! {
    /// Names that hold something, with their numbers.
    Names "names": (RepoKey, RepoName) => NameId,
    write(key, out) { out.push(number::NAMES); out.text(key.0.as_str()); out.text(key.1.as_str()) },
    read(r) {
        r.expect(number::NAMES)?;
        (RepoKey::parse(r.text()?).ok()?, RepoName::parse_stored(r.text()?).ok()?)
    }
}

table! {
    /// The number of every name that ever was.
    NameIds "name ids": (RepoKey, RepoName) => NameId,
    write(key, out) { out.push(number::NAME_IDS); out.text(key.0.as_str()); out.text(key.1.as_str()) },
    read(r) {
        r.expect(number::NAME_IDS)?;
        (RepoKey::parse(r.text()?).ok()?, RepoName::parse_stored(r.text()?).ok()?)
    }
}

table! {
    /// The name of every number.
    NamesById "names by id": NameId => (RepoKey, RepoName),
    write(key, out) { out.push(number::NAMES_BY_ID); out.name_id(*key) },
    read(r) { r.expect(number::NAMES_BY_ID)?; r.name_id()? }
}

table! {
    /// Blobs by digest, manifests' bytes included.
    Blobs "blobs": Digest => BlobRow,
    write(key, out) { out.push(number::BLOBS); out.digest(key); out.push(part::BLOB) },
    read(r) {
        r.expect(number::BLOBS)?;
        let digest = r.digest()?;
        r.expect(part::BLOB)?;
        digest
    }
}

table! {
    /// Which names hold a blob.
    Holders "holders": (Digest, NameId) => (),
    write(key, out) {
        out.push(number::BLOBS);
        out.digest(&key.0);
        out.push(part::HOLDER);
        out.name_id(key.1);
    },
    read(r) {
        r.expect(number::BLOBS)?;
        let digest = r.digest()?;
        r.expect(part::HOLDER)?;
        (digest, r.name_id()?)
    }
}

table! {
    /// What nothing in use refers to, by why and since when. [`Wait::Unheld`] has no name: its number is 0.
    Orphans "orphans": (Wait, Timestamp, NameId, Digest) => (),
    write(key, out) {
        out.push(number::orphans(key.0));
        out.time(key.1);
        out.name_id(key.2);
        out.digest(&key.3);
    },
    read(r) {
        let wait = number::wait(r.byte()?)?;
        (wait, r.time()?, r.name_id()?, r.digest()?)
    }
}

table! {
    /// Folders of each repository's tree, by path without leading slash.
    Folders "folders": (RepoKey, String) => FolderRow,
    write(key, out) { out.push(number::FOLDERS); out.text(key.0.as_str()); out.text(&key.1) },
    read(r) {
        r.expect(number::FOLDERS)?;
        (RepoKey::parse(r.text()?).ok()?, r.text()?.to_owned())
    }
}

table! {
    /// Empty folders, by since when.
    EmptyFolders "empty folders": (Timestamp, RepoKey, String) => (),
    write(key, out) {
        out.push(number::EMPTY_FOLDERS);
        out.time(key.0);
        out.text(key.1.as_str());
        out.text(&key.2);
    },
    read(r) {
        r.expect(number::EMPTY_FOLDERS)?;
        (r.time()?, RepoKey::parse(r.text()?).ok()?, r.text()?.to_owned())
    }
}

table! {
    /// Properties of folders and files of the tree.
    Properties "properties": (RepoKey, String) => PropertiesRow,
    write(key, out) { out.push(number::PROPERTIES); out.text(key.0.as_str()); out.text(&key.1) },
    read(r) { r.expect(number::PROPERTIES)?; (RepoKey::parse(r.text()?).ok()?, r.text()?.to_owned()) },
    beside(row) {
        let bytes = |text: &String| size_of::<String>() + text.len();
        row.iter().map(|(property, values)| bytes(property) + values.iter().map(bytes).sum::<usize>()).sum()
    }
}

table! {
    /// What has a property of a value: a folder or file, by its repository and its path.
    PropertyValues "property values": (String, String, RepoKey, String) => (),
    write(key, out) {
        out.push(number::PROPERTY_VALUES);
        out.text(&key.0);
        out.text(&key.1);
        out.text(key.2.as_str());
        out.text(&key.3);
    },
    read(r) {
        r.expect(number::PROPERTY_VALUES)?;
        let (property, value) = (r.text()?.to_owned(), r.text()?.to_owned());
        (property, value, RepoKey::parse(r.text()?).ok()?, r.text()?.to_owned())
    }
}

table! {
    /// The names that have a tag.
    TagNames "names by tag": (Tag, NameId) => (),
    write(key, out) { out.extend(prefix::tag_names(&key.0)); out.name_id(key.1) },
    read(r) { r.expect(number::TAG_NAMES)?; (Tag::parse(r.text()?).ok()?, r.name_id()?) }
}

table! {
    /// Where tags were migrated from.
    Migrations "migrations": (NameId, Tag) => MigrationRow,
    write(key, out) { in_name(out, key.0, region::MIGRATIONS); out.text(key.1.as_str()) },
    read(r) { (r.name(region::MIGRATIONS)?, Tag::parse(r.text()?).ok()?) }
}

table! {
    /// The other hashes of blobs.
    BlobHashes "blob hashes": Digest => BlobHashesRow,
    write(key, out) { out.push(number::BLOBS); out.digest(key); out.push(part::HASHES) },
    read(r) {
        r.expect(number::BLOBS)?;
        let digest = r.digest()?;
        r.expect(part::HASHES)?;
        digest
    }
}

table! {
    /// Blobs by MD5, as far as that was computed.
    BlobsByMd5 "blobs by md5": ([u8; 16], Digest) => (),
    write(key, out) { out.extend(prefix::blobs_by_md5(&key.0)); out.digest(&key.1) },
    read(r) { r.expect(number::BLOBS_BY_MD5)?; (r.array()?, r.digest()?) }
}

table! {
    /// Blobs by SHA-1, as far as that was computed.
    BlobsBySha1 "blobs by sha1": ([u8; 20], Digest) => (),
    write(key, out) { out.extend(prefix::blobs_by_sha1(&key.0)); out.digest(&key.1) },
    read(r) { r.expect(number::BLOBS_BY_SHA1)?; (r.array()?, r.digest()?) }
}

table! {
    /// The labels of images, by their configs.
    ConfigLabels "labels": Digest => Vec<(String, String)>,
    write(key, out) { out.push(number::BLOBS); out.digest(key); out.push(part::LABELS) },
    read(r) {
        r.expect(number::BLOBS)?;
        let digest = r.digest()?;
        r.expect(part::LABELS)?;
        digest
    },
    beside(row) {
        row.iter().map(|(label, value)| 2 * size_of::<String>() + label.len() + value.len()).sum()
    }
}

table! {
    /// Configs that have a label of a value, as far as they can stand in a key.
    LabelValues "configs by label": (String, String, Digest) => (),
    write(key, out) { out.extend(prefix::label_value(&key.0, &key.1)); out.digest(&key.2) },
    read(r) {
        r.expect(number::LABEL_VALUES)?;
        (r.text()?.to_owned(), r.text()?.to_owned(), r.digest()?)
    }
}

table! {
    /// What each name that holds something holds.
    NameUsage "name usage": NameId => NameRow,
    write(key, out) { in_name(out, *key, region::USAGE) },
    read(r) { r.name(region::USAGE)? }
}

table! {
    /// Where each tag points.
    Tags "tags": (NameId, Tag) => TagRow,
    write(key, out) { in_name(out, key.0, region::TAGS); out.text(key.1.as_str()) },
    read(r) { (r.name(region::TAGS)?, Tag::parse(r.text()?).ok()?) }
}

table! {
    /// Every change of every tag, in order.
    TagHistory "tag history": (NameId, Tag, u64) => TagChange,
    write(key, out) {
        in_name(out, key.0, region::TAG_HISTORY);
        out.text(key.1.as_str());
        out.number(key.2);
    },
    read(r) { (r.name(region::TAG_HISTORY)?, Tag::parse(r.text()?).ok()?, r.number()?) }
}

table! {
    /// Blobs and manifests of a name, with the counts of what refers to them there.
    Contents "contents": (NameId, Digest) => ContentRow,
    write(key, out) { of_content(out, key.0, &key.1, part::CONTENT) },
    read(r) { r.content(part::CONTENT)? }
}

table! {
    /// Manifests of a name.
    Manifests "manifests": (NameId, Digest) => ManifestRow,
    write(key, out) { of_content(out, key.0, &key.1, part::MANIFEST) },
    read(r) { r.content(part::MANIFEST)? },
    beside(row) {
        let Manifest { config, layers, children, annotations, signed, .. } = &row.manifest;
        let listed = config.iter().chain(layers).chain(children);
        let listed = listed.map(|descriptor| size_of_val(descriptor) + descriptor.media_type.len());
        let texts = annotations.iter();
        let texts = texts.map(|(key, value)| 2 * size_of::<String>() + key.len() + value.len());
        listed.sum::<usize>() + texts.sum::<usize>() + signed.as_ref().map_or(0, |signed| signed.rest.len())
    }
}

table! {
    /// Who refers to a content of a name.
    References "references": (NameId, Digest, Source) => ReferenceKind,
    write(key, out) {
        of_content(out, key.0, &key.1, part::REFERENCE);
        match &key.2 {
            Source::Tag(tag) => {
                out.push(0);
                out.text(tag.as_str());
            }
            Source::Manifest(digest) => {
                out.push(1);
                out.digest(digest);
            }
        }
    },
    read(r) {
        let (id, target) = r.content(part::REFERENCE)?;
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
    Referrers "referrers": (NameId, Digest, Digest) => (),
    write(key, out) {
        of_content(out, key.0, &key.1, part::REFERRER);
        out.digest(&key.2);
    },
    read(r) {
        let (id, subject) = r.content(part::REFERRER)?;
        (id, subject, r.digest()?)
    }
}

table! {
    /// V1 images of a name, by the digests of their JSON.
    Images "V1 images": (NameId, Digest) => ImageRow,
    write(key, out) { of_content(out, key.0, &key.1, part::IMAGE) },
    read(r) { r.content(part::IMAGE)? },
    beside(row) { row.image.tarsum.as_ref().map_or(0, String::len) }
}

table! {
    /// Which names hold V1 images of an id, and the digests of their JSON there.
    ImagesById "V1 images by id": (RepoKey, ImageId, NameId) => Digest,
    write(key, out) {
        out.extend(prefix::images_by_id(&key.0, &key.1));
        out.name_id(key.2);
    },
    read(r) {
        r.expect(number::IMAGES_BY_ID)?;
        (RepoKey::parse(r.text()?).ok()?, r.image_id()?, r.name_id()?)
    }
}

table! {
    /// What manifests of a name are to V1 clients: the digests of images' JSON.
    Views "V1 views": (NameId, Digest) => Digest,
    write(key, out) { of_content(out, key.0, &key.1, part::VIEW) },
    read(r) { r.content(part::VIEW)? }
}

table! {
    /// What is in layers that were looked into.
    Layers "layers": Digest => LayerRow,
    write(key, out) { out.push(number::BLOBS); out.digest(key); out.push(part::LAYER) },
    read(r) {
        r.expect(number::BLOBS)?;
        let digest = r.digest()?;
        r.expect(part::LAYER)?;
        digest
    }
}

/// The name of the table that a stored key belongs to, for messages and fingerprints.
pub fn table_of(key: &[u8]) -> Option<&'static str> {
    let mut reader = KeyReader(key);
    Some(match reader.byte()? {
        number::COUNTERS => Counters::NAME,
        number::REPOSITORIES => Repositories::NAME,
        number::USAGE => UsageByRepository::NAME,
        number::NAMES => Names::NAME,
        number::NAME_IDS => NameIds::NAME,
        number::NAMES_BY_ID => NamesById::NAME,
        number::BLOBS => {
            reader.digest()?;
            match reader.byte()? {
                part::BLOB => Blobs::NAME,
                part::HOLDER => Holders::NAME,
                part::LAYER => Layers::NAME,
                part::HASHES => BlobHashes::NAME,
                part::LABELS => ConfigLabels::NAME,
                _ => return None,
            }
        }
        number if number::wait(number).is_some() => Orphans::NAME,
        number::FOLDERS => Folders::NAME,
        number::EMPTY_FOLDERS => EmptyFolders::NAME,
        number::PROPERTIES => Properties::NAME,
        number::USERS => Users::NAME,
        number::ADMINISTRATORS => Administrators::NAME,
        number::GROUPS => Groups::NAME,
        number::MEMBERS => Members::NAME,
        number::MEMBERSHIPS => Memberships::NAME,
        number::TOKENS => Tokens::NAME,
        number::TOKENS_OF => TokensOf::NAME,
        number::TOKENS_BY_EXPIRY => TokensByExpiry::NAME,
        number::PERMISSIONS => Permissions::NAME,
        number::IMAGES_BY_ID => ImagesById::NAME,
        number::TAG_NAMES => TagNames::NAME,
        number::PROPERTY_VALUES => PropertyValues::NAME,
        number::BLOBS_BY_MD5 => BlobsByMd5::NAME,
        number::BLOBS_BY_SHA1 => BlobsBySha1::NAME,
        number::LABEL_VALUES => LabelValues::NAME,
        number::PERMISSION_TARGETS => PermissionTargets::NAME,
        BY_NAME => {
            reader.name_id()?;
            match reader.byte()? {
                region::USAGE => NameUsage::NAME,
                region::TAGS => Tags::NAME,
                region::TAG_HISTORY => TagHistory::NAME,
                region::MIGRATIONS => Migrations::NAME,
                region::CONTENTS => {
                    reader.digest()?;
                    match reader.byte()? {
                        part::CONTENT => Contents::NAME,
                        part::MANIFEST => Manifests::NAME,
                        part::REFERENCE => References::NAME,
                        part::REFERRER => Referrers::NAME,
                        part::IMAGE => Images::NAME,
                        part::VIEW => Views::NAME,
                        _ => return None,
                    }
                }
                _ => return None,
            }
        }
        _ => return None,
    })
}

/// Every table's name.
pub const ALL: [&str; 41] = [
    Counters::NAME,
    Repositories::NAME,
    UsageByRepository::NAME,
    Names::NAME,
    NameIds::NAME,
    NamesById::NAME,
    Blobs::NAME,
    Holders::NAME,
    Orphans::NAME,
    Folders::NAME,
    EmptyFolders::NAME,
    Properties::NAME,
    NameUsage::NAME,
    Tags::NAME,
    TagHistory::NAME,
    Contents::NAME,
    Manifests::NAME,
    References::NAME,
    Referrers::NAME,
    Users::NAME,
    Administrators::NAME,
    Groups::NAME,
    Members::NAME,
    Memberships::NAME,
    Tokens::NAME,
    TokensOf::NAME,
    TokensByExpiry::NAME,
    Permissions::NAME,
    Images::NAME,
    ImagesById::NAME,
    Views::NAME,
    Layers::NAME,
    PropertyValues::NAME,
    TagNames::NAME,
    Migrations::NAME,
    BlobHashes::NAME,
    BlobsByMd5::NAME,
    BlobsBySha1::NAME,
    ConfigLabels::NAME,
    LabelValues::NAME,
    PermissionTargets::NAME,
];
