//! The tree of folders and files that people see of a repository: what stands where, what is in it, what is said of it.
//!
//! What lives here: the tree as one snapshot has it, read through somebody's eyes (`look`, `walk`), the bytes and
//! checksums of its files (`content`), its properties (`properties`), and how people change it (`change`). Files have no
//! rows: they are derived when they are read, from tags, manifests and images. Where what stands is
//! `supercargo_model::tree`'s to say, and what is decided about it `decide::tree`'s. What does not: any protocol.

mod change;
mod content;
mod look;
mod properties;
#[cfg(test)]
mod tests;
mod walk;
mod walks;

use std::sync::Arc;

use supercargo_eventlog::{Actor, RedbLog, V1Image};
use supercargo_model::tree::{self, TreePath};
use supercargo_model::{Digest, ParseError, RepoKey, RepoName, Tag, Timestamp};
use supercargo_projections::Snapshot;
use supercargo_projections::tables::{NameId, PropertiesRow, Repositories};

use crate::reads::Page;
use crate::registry::Registry;
use crate::{Error, Result};

pub use change::{PropertiesChange, Spread, TREE_PATHS_MAX};
pub use content::Checksums;
pub(crate) use content::Content;
pub(crate) use look::{Place, Tree, images_below, names_below};
pub use properties::TAG_CONTENT;
pub(crate) use properties::{LABEL, check_name, check_values, is_built_in};
pub use walk::Visit;
pub use walks::{WALKS_MAX, Walk, WalkPlace, Walks};

/// The names of a repository that somebody's eyes or hands reach. An item is seen by whoever may read a name that it belongs
/// to, and what may not be read is not there; it is changed by whoever may do that with the name.
#[derive(Clone)]
pub struct Reach(Option<Arc<Test>>);

type Test = dyn Fn(&RepoName) -> bool + Send + Sync;

impl Reach {
    /// Every name, whatever it is called.
    pub const fn all() -> Reach {
        Reach(None)
    }

    /// Those that pass a test.
    pub fn of(test: impl Fn(&RepoName) -> bool + Send + Sync + 'static) -> Reach {
        Reach(Some(Arc::new(test)))
    }

    /// Whether a name is one of them.
    pub fn reach(&self, name: &RepoName) -> bool {
        self.0.as_ref().is_none_or(|test| test(name))
    }

    /// Whether all are, whatever they are called.
    pub const fn reach_all(&self) -> bool {
        self.0.is_none()
    }
}

impl std::fmt::Debug for Reach {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.reach_all() { "Reach::all" } else { "Reach::of" })
    }
}

/// A folder or file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Where it is.
    pub path: TreePath,
    /// Since when it is there, or what it is of.
    pub at: Timestamp,
    /// Who put it there. Nobody is remembered of the repository itself.
    pub by: Option<Actor>,
    /// What it is of; none for a folder.
    pub file: Option<File>,
}

impl Item {
    /// Whether it is a folder.
    pub const fn is_folder(&self) -> bool {
        self.file.is_none()
    }
}

/// What a file is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum File {
    /// A manifest.
    Manifest {
        /// The name that holds it.
        name: RepoName,
        /// Its digest.
        digest: Digest,
        /// The tag that it stands under, if it does.
        tag: Option<Tag>,
        /// The media type it was pushed as.
        media_type: String,
        /// Its config, which says its labels.
        config: Option<Digest>,
        /// Its size in bytes.
        size: u64,
    },
    /// A config or layer, beside its manifest.
    Blob {
        /// The name that holds it.
        name: RepoName,
        /// Its digest.
        digest: Digest,
        /// Its size in bytes.
        size: u64,
    },
    /// One of a V1 image's files.
    Image {
        /// A name that holds it and is seen.
        name: RepoName,
        /// The image.
        image: V1Image,
        /// Which file.
        part: ImagePart,
    },
    /// A tag on a V1 image.
    V1Tag {
        /// The name.
        name: RepoName,
        /// The tag.
        tag: Tag,
        /// The image.
        image: V1Image,
        /// The record that set it.
        seq: u64,
    },
    /// The images of a V1 name.
    V1Index {
        /// The name.
        name: RepoName,
    },
}

/// The files of a V1 image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImagePart {
    /// Its JSON, as it was pushed.
    Json,
    /// Its layer, as it was pushed.
    Layer,
    /// Its id and those of what it was made from.
    Ancestry,
    /// Its checksums.
    Checksum,
}

impl File {
    /// The name that it belongs to: for an image's, one of those that it belongs to.
    pub const fn name(&self) -> &RepoName {
        match self {
            File::Manifest { name, .. }
            | File::Blob { name, .. }
            | File::Image { name, .. }
            | File::V1Tag { name, .. }
            | File::V1Index { name } => name,
        }
    }

    /// The blob that it is, and its size in bytes; none for a file that is written when it is read.
    pub const fn blob(&self) -> Option<(Digest, u64)> {
        match self {
            File::Manifest { digest, size, .. } | File::Blob { digest, size, .. } => Some((*digest, *size)),
            File::Image { image, part: ImagePart::Json, .. } => Some((image.json, image.json_size)),
            File::Image { image, part: ImagePart::Layer, .. } => Some((image.layer, image.layer_size)),
            File::Image { .. } | File::V1Tag { .. } | File::V1Index { .. } => None,
        }
    }

    /// Its media type, by what it is called.
    pub const fn mime_type(&self) -> &'static str {
        match self {
            File::Blob { .. } => "application/octet-stream",
            File::Image { part: ImagePart::Layer, .. } => "application/x-tar",
            File::Manifest { .. } | File::Image { .. } | File::V1Tag { .. } | File::V1Index { .. } => {
                "application/json"
            }
        }
    }
}

/// An item's place among its siblings: where the next page of them begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sibling {
    /// A folder of that name. Folders come first.
    Folder(String),
    /// A file of that name.
    File(String),
}

impl Sibling {
    /// An item's place.
    pub fn of(item: &Item) -> Sibling {
        let name = item.path.name().to_owned();
        if item.is_folder() { Sibling::Folder(name) } else { Sibling::File(name) }
    }
}

/// The tree of one repository, as one commit left it and somebody sees it. Its reads block.
#[derive(Debug)]
pub struct RepositoryTree {
    snapshot: Snapshot,
    log: RedbLog,
    registry: Arc<Registry>,
    repository: RepoKey,
    eyes: Reach,
}

impl Registry {
    /// The tree of a repository.
    ///
    /// # Errors
    /// [`Error::RepositoryUnknown`].
    pub fn tree(self: &Arc<Self>, repository: &RepoKey, eyes: Reach) -> Result<RepositoryTree> {
        let snapshot = self.snapshot()?;
        crate::reads::known_repository(&snapshot, repository)?;
        let (log, registry) = (self.log.clone(), Arc::clone(self));
        Ok(RepositoryTree { snapshot, log, registry, repository: repository.clone(), eyes })
    }
}

impl RepositoryTree {
    /// The repository.
    pub fn repository(&self) -> &RepoKey {
        &self.repository
    }

    fn look<O>(&mut self, look: impl FnOnce(&mut Tree<'_, Snapshot>) -> O) -> Result<O> {
        let mut tree = Tree::new(&mut self.snapshot, &self.repository, &self.eyes);
        let found = look(&mut tree);
        self.snapshot.check().map_err(Error::internal)?;
        Ok(found)
    }

    /// What is at a path; none where nothing is, or nothing that is seen.
    ///
    /// # Errors
    /// Storage errors.
    pub fn item(&mut self, path: &TreePath) -> Result<Option<Item>> {
        self.look(|tree| tree.item(path))
    }

    /// What is at a path.
    ///
    /// # Errors
    /// [`Error::ItemUnknown`] where nothing is, or nothing that is seen.
    pub fn known_item(&mut self, path: &TreePath) -> Result<Item> {
        self.item(path)?.ok_or_else(|| Error::ItemUnknown(path.clone()))
    }

    /// What is in a folder: folders first, then files, each by name; at most `n` after `after`. It costs what it returns,
    /// whatever lies below.
    ///
    /// # Errors
    /// Storage errors.
    pub fn children(&mut self, folder: &TreePath, after: Option<&Sibling>, n: usize) -> Result<Page<Item>> {
        self.look(|tree| tree.children(folder, after, n))
    }

    /// Visits what is below a folder, each folder before what is in it, in the order of [`TreePath`], after `from` where
    /// one is given; no deeper than `depth` below it.
    ///
    /// # Errors
    /// Storage errors.
    pub fn walk(
        &mut self,
        from: Option<&TreePath>,
        below: &TreePath,
        depth: usize,
        visit: impl FnMut(Item) -> Visit,
    ) -> Result<()> {
        self.look(|tree| tree.walk(from, below, depth, visit))
    }

    /// The properties that people set on an item.
    ///
    /// # Errors
    /// Storage errors.
    pub fn own_properties(&mut self, item: &Item) -> Result<PropertiesRow> {
        self.look(|tree| tree.own_properties(&item.path))
    }

    /// All properties of an item: those that are derived from what it is, and those that people set.
    ///
    /// # Errors
    /// Storage errors.
    pub fn properties(&mut self, item: &Item) -> Result<PropertiesRow> {
        self.look(|tree| tree.properties(item))
    }

    /// When the repository was created.
    ///
    /// # Errors
    /// Storage errors.
    pub fn created_at(&self) -> Result<Timestamp> {
        let row = self.snapshot.get::<Repositories>(&self.repository).map_err(Error::internal)?;
        Ok(row.map_or_else(Timestamp::default, |row| row.created_at))
    }
}

/// A path of a folder and what is called so in it: what stands in a tree always has one.
fn child(folder: &TreePath, name: &str) -> Result<TreePath, ParseError> {
    folder.join(name)
}

fn image_part(file: &str) -> Option<ImagePart> {
    match file {
        tree::IMAGE_JSON => Some(ImagePart::Json),
        tree::IMAGE_LAYER => Some(ImagePart::Layer),
        tree::IMAGE_ANCESTRY => Some(ImagePart::Ancestry),
        tree::IMAGE_CHECKSUM => Some(ImagePart::Checksum),
        _ => None,
    }
}

/// A name and its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Numbered {
    pub(crate) name: RepoName,
    pub(crate) id: NameId,
}
