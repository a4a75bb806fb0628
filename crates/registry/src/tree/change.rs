//! What people change of a tree: properties of its items, and what is deleted.

use std::sync::Arc;

use supercargo_model::tree::{Meaning, TreePath};
use supercargo_model::{ImageId, RepoKey, RepoName};
use supercargo_projections::Rows;

use super::look::{Place, Tree};
use super::properties::{TAG_CONTENT, is_built_in};
use super::{File, Item, Reach, RepositoryTree, Visit, check_name, check_values};
use crate::command::Command;
use crate::ledger::Payload;
use crate::maintenance::blocking;
use crate::registry::{Caller, Registry};
use crate::v1::Viewer;
use crate::{Error, Result};

/// How many paths one change of properties is about at most: the writer does it at once.
pub const TREE_PATHS_MAX: usize = 20_000;
/// How many bytes one change of properties comes to at most, with all that is set on all paths.
const CHANGE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// How many paths are changed at a time, where they need not change together.
const STEP_PATHS: usize = 1000;

/// What is to become of the properties of one path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PropertiesChange {
    /// The path.
    pub path: TreePath,
    /// Properties that get these values, in place of those that they have.
    pub set: Arc<[(String, Vec<String>)]>,
    /// Properties that go.
    pub removed: Arc<[String]>,
}

/// On what properties are set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spread {
    /// Also on all that is below.
    pub recursive: bool,
    /// On all or on nothing.
    pub atomic: bool,
}

impl Registry {
    /// Sets and removes properties of an item, and of what is below it that `eyes` see and `hands` reach. A property that says what a tag
    /// on a V1 image points at moves the tag; others that say what is there are passed over where they say what is so.
    ///
    /// # Errors
    /// [`Error::RepositoryUnknown`], [`Error::ItemUnknown`]; [`Error::ItemForbidden`] where the hands do not reach something of it, and
    /// then nothing has changed; [`Error::Invalid`], also for more than [`TREE_PATHS_MAX`] paths; and those of a commit.
    pub async fn set_properties(
        self: &Arc<Self>,
        caller: &Caller,
        repository: &RepoKey,
        (eyes, hands): (&Reach, &Reach),
        path: &TreePath,
        (set, removed): (Vec<(String, Vec<String>)>, Vec<String>),
        spread: Spread,
    ) -> Result<()> {
        let (contents, mut set): (Vec<_>, Vec<_>) =
            set.into_iter().partition(|(property, _)| property == TAG_CONTENT);
        if set.iter().any(|(property, _)| is_built_in(property)) {
            // Clients that read all properties and write them back say what is so in any case.
            let mut tree = self.tree(repository, eyes.clone())?;
            let item = tree.known_item(path)?;
            let properties = tree.properties(&item)?;
            set.retain(|(property, values)| {
                !is_built_in(property) || properties.get(property) != Some(values)
            });
        }
        for (property, values) in &set {
            check_name(property)?;
            check_values(property, values)?;
        }
        removed.iter().try_for_each(|property| check_name(property))?;
        if let Some((_, values)) = contents.last() {
            self.move_v1_tag(caller, repository, (eyes, hands), path, values).await?;
            if set.is_empty() && removed.is_empty() {
                return Ok(());
            }
        }
        let (set, removed): (Arc<[_]>, Arc<[_]>) = (set.into(), removed.into());
        let change = |path| PropertiesChange { path, set: Arc::clone(&set), removed: Arc::clone(&removed) };
        let below = Below { registry: self, repository, eyes, hands, path, spread };
        let paths = below.check().await?;
        let each = set
            .iter()
            .map(|(property, values)| property.len() + values.iter().map(String::len).sum::<usize>());
        let bytes = each.sum::<usize>().saturating_mul(paths);
        if spread.atomic && bytes > CHANGE_BYTES_MAX {
            return Err(Error::Invalid(format!(
                "this would write {bytes} bytes at once, and {CHANGE_BYTES_MAX} are the most: set fewer or shorter \
                 values, or set them on what is below a folder at a time"
            )));
        }
        let step = if spread.atomic { TREE_PATHS_MAX } else { STEP_PATHS };
        let mut from = None;
        loop {
            let (paths, last) = below.step(from, step).await?;
            // The item itself is among each, since with it all of this goes.
            let changes = std::iter::once(path.clone()).chain(paths).map(change).collect();
            let command = Command::SetProperties { repository: repository.clone(), changes };
            self.ledger.submit(caller, command, Payload::None).await?;
            match last {
                Some(last) if !spread.atomic => from = Some(last),
                _ => return Ok(()),
            }
        }
    }

    async fn move_v1_tag(
        self: &Arc<Self>,
        caller: &Caller,
        repository: &RepoKey,
        (eyes, hands): (&Reach, &Reach),
        path: &TreePath,
        values: &[String],
    ) -> Result<()> {
        let item = self.tree(repository, eyes.clone())?.known_item(path)?;
        let Some(File::V1Tag { name, tag, image, .. }) = &item.file else {
            return Err(Error::Invalid(format!("only a tag's file has {TAG_CONTENT}, and {path:?} is none")));
        };
        let [value] = values else {
            return Err(Error::Invalid(format!("{TAG_CONTENT} has one value: an image's id")));
        };
        let id = ImageId::parse(value).map_err(|e| Error::Invalid(e.to_string()))?;
        if !hands.reach(name) {
            return Err(Error::ItemForbidden(path.clone()));
        }
        if image.id == id {
            return Ok(());
        }
        let (may_read, may_write) =
            (|name: &RepoName| eyes.reach(name), |name: &RepoName| eyes.reach(name) && hands.reach(name));
        let viewer = Viewer { caller, name: Some(name), may_read: &may_read, may_write: &may_write };
        self.v1_set_tag(repository, viewer, name, tag, &id).await.map_err(|error| match error {
            Error::ImageUnknown(id) => {
                Error::Invalid(format!("there is no image {id} that {TAG_CONTENT} could say: push it first"))
            }
            error => error,
        })
    }

    /// Deletes an item and all that is below it that `eyes` see: tags, manifests without tags, V1 images that no tag reaches. What
    /// only they reached goes with a collection.
    ///
    /// # Errors
    /// [`Error::RepositoryUnknown`], [`Error::ItemUnknown`]; [`Error::ItemForbidden`] where the hands do not reach something of it;
    /// [`Error::ItemInUse`]; [`Error::Invalid`] for the repository itself; and those of a commit. With any of them, nothing
    /// has changed.
    pub async fn delete_item(
        &self,
        caller: &Caller,
        repository: &RepoKey,
        (eyes, hands): (&Reach, &Reach),
        path: &TreePath,
    ) -> Result<()> {
        let command = Command::DeleteItem {
            repository: repository.clone(),
            path: path.clone(),
            eyes: eyes.clone(),
            hands: hands.clone(),
        };
        self.ledger.submit(caller, command, Payload::None).await.map(|_| ())
    }
}

/// What is below an item, for whoever changes properties of all of it. It is walked step by step: of a large tree no more
/// than a step is in memory.
struct Below<'b> {
    registry: &'b Arc<Registry>,
    repository: &'b RepoKey,
    eyes: &'b Reach,
    hands: &'b Reach,
    path: &'b TreePath,
    spread: Spread,
}

impl Below<'_> {
    /// How many paths change, with the item's own.
    ///
    /// # Errors
    /// [`Error::ItemUnknown`]; [`Error::ItemForbidden`] where the hands do not reach one of them; [`Error::Invalid`] for too many
    /// to be changed at once.
    async fn check(&self) -> Result<usize> {
        let mut tree = self.registry.tree(self.repository, self.eyes.clone())?;
        let (hands, path, spread) = (self.hands.clone(), self.path.clone(), self.spread);
        blocking(move || {
            let item = tree.known_item(&path)?;
            let is_walked = spread.recursive && item.is_folder();
            let (mut items, mut count, mut from) = (vec![item], 0, None);
            loop {
                count += items.len();
                if spread.atomic && count > TREE_PATHS_MAX {
                    return Err(Error::Invalid(format!(
                        "{path:?} has more than {TREE_PATHS_MAX} folders and files, which can't change at once: set \
                         properties on what is below a folder at a time, or not atomically"
                    )));
                }
                if let Some(item) = tree.out_of_reach(&hands, &items)? {
                    return Err(Error::ItemForbidden(item.path.clone()));
                }
                if !is_walked {
                    return Ok(count);
                }
                items = tree.some_below(&path, from.as_ref(), STEP_PATHS)?;
                match items.last() {
                    Some(last) => from = Some(last.path.clone()),
                    None => return Ok(count),
                }
            }
        })
        .await
    }

    /// The next paths below the item, and after which of them more may follow. What came there since it was checked, and is
    /// not reached, is passed over.
    async fn step(&self, from: Option<TreePath>, n: usize) -> Result<(Vec<TreePath>, Option<TreePath>)> {
        if !self.spread.recursive {
            return Ok((Vec::new(), None));
        }
        let mut tree = self.registry.tree(self.repository, self.eyes.clone())?;
        let (hands, path) = (self.hands.clone(), self.path.clone());
        // The item itself goes with them.
        let n = n - 1;
        blocking(move || {
            let mut items = tree.some_below(&path, from.as_ref(), n)?;
            let last = items.last().filter(|_| items.len() == n).map(|last| last.path.clone());
            if !hands.reach_all() {
                tree.look(|tree| items.retain(|item| may_change(tree, &hands, item)))?;
            }
            Ok((items.into_iter().map(|item| item.path).collect(), last))
        })
        .await
    }
}

impl RepositoryTree {
    /// At most so many items below a folder, after one of them; none below a file.
    fn some_below(&mut self, folder: &TreePath, from: Option<&TreePath>, n: usize) -> Result<Vec<Item>> {
        let mut items = Vec::new();
        self.walk(from, folder, usize::MAX, |item| {
            items.push(item);
            if items.len() == n { Visit::Stop } else { Visit::On }
        })?;
        Ok(items)
    }

    /// The first item that hands do not reach.
    fn out_of_reach<'i>(&mut self, hands: &Reach, items: &'i [Item]) -> Result<Option<&'i Item>> {
        if hands.reach_all() {
            return Ok(None);
        }
        self.look(|tree| items.iter().find(|item| !may_change(tree, hands, item)))
    }
}

/// Whether hands reach an item: a file's name, any name that holds an image, and of a folder a name that it is of or would
/// be. Folders above names are for hands that reach what is below them alone.
fn may_change<R: Rows>(tree: &mut Tree<'_, R>, hands: &Reach, item: &Item) -> bool {
    let folder = match &item.file {
        Some(File::Image { .. }) => match item.path.parent() {
            Some(folder) => folder,
            None => return false,
        },
        Some(file) => return hands.reach(file.name()),
        None => item.path.clone(),
    };
    folder.meanings().iter().any(|meaning| match meaning {
        Meaning::Image(id) => tree.images(id).iter().any(|(of, _)| hands.reach(&of.name)),
        Meaning::Name(name) => hands.reach(name),
        _ => tree.place(meaning).is_some_and(|place| hands.reach(place_name(&place))),
    })
}

pub(crate) const fn place_name(place: &Place) -> &RepoName {
    match place {
        Place::Tag { of, .. }
        | Place::Untagged { of, .. }
        | Place::V1Tag { of, .. }
        | Place::V1Name { of }
        | Place::Image { of, .. } => &of.name,
    }
}
