//! The tree: its properties, and what is deleted from it by its paths.

use std::collections::{BTreeMap, BTreeSet};

use supercargo_eventlog::Event;
use supercargo_model::tree::{self, IMAGES, Meaning, TreePath, V1_NAMES};
use supercargo_model::{Digest, ImageId, RepoKey, RepoName, limits};
use supercargo_projections::Rows;
use supercargo_projections::prefix_end;
use supercargo_projections::tables::{
    ContentRow, ContentState, Contents, Folders, ImagesById, NameId, Names, Properties, Table as _, Tags,
    Wait, prefix,
};

use super::manifests::tag_deleted;
use super::repository;
use crate::command::Decision;
use crate::tree::{
    File, Item, Numbered, Place, PropertiesChange, Reach, Tree, check_name, check_values, images_below,
    names_below,
};
use crate::{Error, Result};

/// How many pruned folders one record names at most.
const PRUNED_PATHS_MAX: usize = 1000;

pub(super) fn set_properties(
    view: &mut impl Rows,
    key: &RepoKey,
    changes: &[PropertiesChange],
) -> Result<Decision> {
    repository(view, key)?;
    let mut events = Vec::new();
    for (index, change) in changes.iter().enumerate() {
        for (property, values) in &*change.set {
            check_name(property)?;
            check_values(property, values)?;
        }
        if !is_there(view, key, &change.path) {
            // What is below an item may go while it is looked for.
            if index == 0 {
                return Err(Error::ItemUnknown(change.path.clone()));
            }
            continue;
        }
        let path = change.path.as_str().to_owned();
        let row = view.row::<Properties>(&(key.clone(), path.clone())).unwrap_or_default();
        let mut set: Vec<(String, Vec<String>)> = Vec::new();
        for (property, values) in &*change.set {
            let distinct = distinct(values);
            if row.get(property) != Some(&distinct) {
                set.retain(|(known, _)| known != property);
                set.push((property.clone(), distinct));
            }
        }
        let removed: Vec<String> =
            change.removed.iter().filter(|property| row.contains_key(*property)).cloned().collect();
        let mut after = row;
        after.extend(set.iter().cloned());
        if after.values().map(Vec::len).sum::<usize>() > limits::PROPERTY_VALUES_MAX {
            return Err(Error::Invalid(format!(
                "{:?} would have more than {} values of properties",
                change.path,
                limits::PROPERTY_VALUES_MAX
            )));
        }
        if !set.is_empty() || !removed.is_empty() {
            events.push(Event::PropertiesSet { repository: key.clone(), path, set, removed });
        }
    }
    Ok(Decision::done(events))
}

/// Values, each once, where it came first.
fn distinct(values: &[String]) -> Vec<String> {
    let mut distinct: Vec<String> = Vec::with_capacity(values.len());
    for value in values {
        if !distinct.contains(value) {
            distinct.push(value.clone());
        }
    }
    distinct
}

/// Whether anybody could see something at a path.
fn is_there(view: &mut impl Rows, key: &RepoKey, path: &TreePath) -> bool {
    let everybody = Reach::all();
    let mut tree = Tree::new(view, key, &everybody);
    if tree.item(path).is_some() {
        return true;
    }
    // Those who may read all names do not see an image that they disagree on, and others do.
    let id = |folder: &TreePath| match folder.meanings().first() {
        Some(Meaning::Image(id)) => Some(*id),
        _ => None,
    };
    let is_file = tree::IMAGE_FILES.contains(&path.name());
    let image = id(path).or_else(|| path.parent().filter(|_| is_file).and_then(|folder| id(&folder)));
    image.is_some_and(|id| !tree.images(&id).is_empty())
}

/// What is deleted, as it is found out.
struct Deletion<'d, R> {
    view: &'d mut R,
    key: &'d RepoKey,
    eyes: &'d Reach,
    hands: &'d Reach,
    path: &'d TreePath,
    events: Vec<Event>,
}

pub(super) fn delete(
    view: &mut impl Rows,
    key: &RepoKey,
    path: &TreePath,
    eyes: &Reach,
    hands: &Reach,
) -> Result<Decision> {
    repository(view, key)?;
    if path.is_root() {
        return Err(Error::Invalid(
            "this would delete all that the repository holds: delete its folders, or the repository itself"
                .to_owned(),
        ));
    }
    let item = Tree::new(view, key, eyes).item(path);
    let item = item.ok_or_else(|| Error::ItemUnknown(path.clone()))?;
    let mut deletion = Deletion { view, key, eyes, hands, path, events: Vec::new() };
    match &item.file {
        Some(file) => deletion.file(&item, file)?,
        None if path.components().next() == Some(IMAGES) => {
            deletion.images()?;
            deletion.folders();
        }
        None => {
            deletion.names()?;
            deletion.folders();
        }
    }
    // There was nothing in it, and it is not theirs.
    if deletion.events.is_empty() {
        return Err(Error::ItemForbidden(path.clone()));
    }
    Ok(Decision::done(deletion.events))
}

impl<R: Rows> Deletion<'_, R> {
    /// Refuses where the hands do not reach a name.
    fn reach(&self, name: &RepoName) -> Result<()> {
        if self.hands.reach(name) { Ok(()) } else { Err(Error::ItemForbidden(self.path.clone())) }
    }

    fn in_use(&self, why: &'static str) -> Error {
        Error::ItemInUse { path: self.path.clone(), why }
    }

    fn file(&mut self, item: &Item, file: &File) -> Result<()> {
        match file {
            File::Manifest { name, tag: None, digest, .. } => {
                let of = self.numbered(name)?;
                self.untagged(&of, *digest)
            }
            File::Manifest { name, tag: Some(tag), digest, .. } => {
                self.reach(name)?;
                self.events.push(tag_deleted(self.key, name, tag.clone(), *digest));
                Ok(())
            }
            File::V1Tag { name, tag, image, .. } => {
                self.reach(name)?;
                self.events.push(tag_deleted(self.key, name, tag.clone(), image.json));
                Ok(())
            }
            File::Image { image, .. } => self.image(&image.id).map(|_| ()),
            File::Blob { .. } => {
                Err(self.in_use("the manifest beside it needs it; delete the folder that both are in"))
            }
            File::V1Index { .. } => {
                debug_assert_eq!(item.path.name(), tree::V1_INDEX, "only the index is one");
                Err(self
                    .in_use("it lists the images of the tags beside it; delete the folder that they are in"))
            }
        }
    }

    fn numbered(&mut self, name: &RepoName) -> Result<Numbered> {
        let id =
            super::name_id(self.view, self.key, name).ok_or_else(|| Error::ItemUnknown(self.path.clone()))?;
        Ok(Numbered { name: name.clone(), id })
    }

    /// A manifest that no tag points to. It stays while something in use refers to it.
    fn untagged(&mut self, of: &Numbered, digest: Digest) -> Result<()> {
        self.reach(&of.name)?;
        if self.view.row::<Contents>(&(of.id, digest)).is_some_and(|content| content.reached()) {
            return Err(self.in_use("an index or a manifest in use refers to it; delete that first"));
        }
        let (repository, name) = (self.key.clone(), of.name.clone());
        self.events.push(Event::ManifestDeleted { repository, name, digest });
        Ok(())
    }

    /// An image from all names in which it is seen. It stays while a tag needs it.
    fn image(&mut self, id: &ImageId) -> Result<()> {
        let everybody = Reach::all();
        let held = Tree::new(self.view, self.key, &everybody).images(id);
        for (of, row) in held.into_iter().filter(|(of, _)| self.eyes.reach(&of.name)) {
            self.reach(&of.name)?;
            let json = row.image.json;
            if self.view.row::<Contents>(&(of.id, json)).is_some_and(|content| content.reached()) {
                return Err(self.in_use("a tag's images need it; delete the tag first"));
            }
            let repository = self.key.clone();
            self.events.push(Event::V1ImageDeleted { repository, name: of.name, id: *id, digest: json });
        }
        Ok(())
    }

    /// The images that stand at or below the path.
    fn images(&mut self) -> Result<()> {
        let Some(begin) = images_below(self.key, self.path) else { return Ok(()) };
        let ids = self.view.scan_prefix::<ImagesById>(&begin, None, usize::MAX);
        let ids: BTreeSet<ImageId> = ids.into_iter().map(|((_, id, _), _)| id).collect();
        for id in ids {
            if TreePath::parse(&tree::image_folder(&id)).is_ok_and(|folder| folder.is_at_or_below(self.path))
            {
                self.image(&id)?;
            }
        }
        Ok(())
    }

    /// What stands at or below the path that belongs to names.
    fn names(&mut self) -> Result<()> {
        for meaning in self.path.meanings() {
            match Tree::new(self.view, self.key, self.eyes).place(&meaning) {
                Some(Place::Tag { of, tag, row, .. } | Place::V1Tag { of, tag, row, .. }) => {
                    self.reach(&of.name)?;
                    self.events.push(tag_deleted(self.key, &of.name, tag, row.digest));
                }
                Some(Place::Untagged { of, digest, .. }) => self.untagged(&of, digest)?,
                Some(Place::V1Name { .. } | Place::Image { .. }) | None => {}
            }
        }
        let mut names: BTreeMap<RepoName, NameId> = BTreeMap::new();
        for begin in names_below(self.path) {
            let begin = [prefix::names(self.key).as_slice(), begin.as_bytes()].concat();
            let found = self.view.scan_prefix::<Names>(&begin, None, usize::MAX);
            names.extend(found.into_iter().map(|((_, name), id)| (name, id)));
        }
        for name in self.path.meanings().iter().filter_map(Meaning::repo_name) {
            if let Some(id) = super::name_id(self.view, self.key, name) {
                names.insert(name.clone(), id);
            }
        }
        let at_or_below =
            |folder: &str| TreePath::parse(folder).is_ok_and(|folder| folder.is_at_or_below(self.path));
        let is_v1 = self.path.components().next() == Some(V1_NAMES);
        let found: Vec<(Numbered, bool, bool)> = names
            .into_iter()
            .filter(|(name, _)| !name.is_waiting_room() && self.eyes.reach(name))
            .map(|(name, id)| {
                let v2 = at_or_below(name.as_str());
                let v1 = is_v1 && at_or_below(&tree::v1_folder(&name));
                (Numbered { name, id }, v2, v1)
            })
            .filter(|(_, v2, v1)| *v2 || *v1)
            .collect();
        for (of, v2, v1) in found {
            self.whole_name(&of, v2, v1)?;
        }
        Ok(())
    }

    /// All tags of a name, on manifests or on images, and with the first also its manifests.
    fn whole_name(&mut self, of: &Numbered, manifests: bool, images: bool) -> Result<()> {
        let tags = self.view.scan_prefix::<Tags>(&prefix::tags(of.id), None, usize::MAX);
        for ((_, tag), row) in tags {
            if if row.image { images } else { manifests } {
                self.reach(&of.name)?;
                self.events.push(tag_deleted(self.key, &of.name, tag, row.digest));
            }
        }
        if manifests {
            // What else there is without tags goes with what refers to it.
            let untagged = |content: &ContentRow| {
                let waits = matches!(content.state, ContentState::Waiting { wait: Wait::Untagged, .. });
                content.stands_alone() && waits
            };
            let contents = self.view.scan_prefix::<Contents>(&prefix::contents(of.id), None, usize::MAX);
            for ((_, digest), _) in contents.into_iter().filter(|(_, content)| untagged(content)) {
                self.untagged(of, digest)?;
            }
        }
        Ok(())
    }

    /// The folders at or below the path that are empty now, or will be, as far as the hands reach a name that they may have
    /// been of. Those that are not empty stay, and so do those of others until they are pruned.
    fn folders(&mut self) {
        let events = pruned(self.view, self.key, self.path, |path| reaches_folder(self.hands, path));
        self.events.extend(events);
    }
}

/// Whether hands reach a name that a folder may have been of.
fn reaches_folder(hands: &Reach, path: &str) -> bool {
    let of = |path: TreePath| {
        let meanings = path.meanings();
        meanings.iter().filter_map(Meaning::repo_name).any(|name| hands.reach(name))
    };
    hands.reach_all() || TreePath::parse(path).is_ok_and(of)
}

/// The pruning of all folders at or below a path that are empty, or will be once what is in them is gone, as far as they are
/// `wanted`.
pub(super) fn pruned(
    view: &mut impl Rows,
    key: &RepoKey,
    path: &TreePath,
    wanted: impl Fn(&str) -> bool,
) -> Vec<Event> {
    let begin = if path.is_root() { String::new() } else { format!("{path}/") };
    let mut start = Vec::new();
    Folders::write_key(&(key.clone(), begin), &mut start);
    // The key ends the path, and others go on.
    start.pop();
    let below = view.scan::<Folders>(&start, &prefix_end(&start), usize::MAX);
    let below = below.into_iter().map(|((_, path), _)| path);
    // Those of manifests without tags go with their manifests.
    let mut paths: Vec<String> = below.filter(|path| !path.contains(':')).collect();
    if !path.is_root() {
        paths.push(path.as_str().to_owned());
    }
    paths.retain(|path| wanted(path));
    paths.sort_by_key(|path| std::cmp::Reverse(path.matches('/').count()));
    let pruned = |paths: &[String]| Event::FoldersPruned { repository: key.clone(), paths: paths.to_vec() };
    paths.chunks(PRUNED_PATHS_MAX).map(pruned).collect()
}
