//! The tree of folders that a browser of a repository sees: those of its names, of their tags, of manifests without tags
//! and of V1 images. Files have no rows: what a folder is of says which are in it. Their own properties go with what
//! they are about; `supercargo_model::tree` says where everything stands.

use supercargo_eventlog::{Actor, Record};
use supercargo_model::tree::{self, BLOB_FILES, IMAGE_FILES, INDEX, MANIFEST, V1_TAG};
use supercargo_model::{Digest, ImageId, RepoKey, Tag, Timestamp};

use super::{Name, properties};
use crate::tables::{EmptyFolders, FolderRow, Folders, Manifests, Properties, Table as _, TagRow};
use crate::working::{Base, Rows as _, Working, prefix_end};

/// Since when there is more in a folder, and who put it there.
#[derive(Clone, Copy)]
struct Made<'e> {
    at: Timestamp,
    by: &'e Actor,
}

fn folder_of(name: Name<'_>, tag: &Tag, row: &TagRow) -> String {
    if row.image { tree::v1_tag_folder(name.name, tag) } else { tree::tag_folder(name.name, tag) }
}

/// A tag points to something else than it did.
pub(super) fn tag_set<B: Base>(
    state: &mut Working<B>,
    name: Name<'_>,
    tag: &Tag,
    before: Option<&TagRow>,
    now: &TagRow,
) {
    let moved = before.is_none_or(|before| before.image != now.image);
    if moved {
        let made = Made { at: now.at, by: &now.by };
        add_child(state, name.repository, &folder_of(name, tag, now), made);
    }
    match before {
        Some(before) if moved => tag_deleted(state, name, tag, before, now.at),
        Some(before) => forget_tag_files(state, name, &folder_of(name, tag, before), before),
        None => {}
    }
}

/// A tag does not point to what it did.
pub(super) fn tag_deleted<B: Base>(
    state: &mut Working<B>,
    name: Name<'_>,
    tag: &Tag,
    before: &TagRow,
    at: Timestamp,
) {
    let folder = folder_of(name, tag, before);
    forget_tag_files(state, name, &folder, before);
    remove_child(state, name.repository, &folder, at);
}

/// A manifest has a folder of its own from now on, or none any more. With the folder goes what is said of it and of its
/// files.
pub(super) fn settle_alone<B: Base>(
    state: &mut Working<B>,
    name: Name<'_>,
    digest: Digest,
    alone: bool,
    at: Timestamp,
) {
    let path = tree::untagged_folder(name.name, &digest);
    let key = (name.repository.clone(), path);
    if !alone {
        if has_file_properties(state, name.repository, &key.1) {
            forget_manifest_files(state, name, &key.1, digest);
        }
        forget_folder(state, name.repository, &key.1);
        state.remove::<Folders>(&key);
        remove_child(state, name.repository, name.name.as_str(), at);
        return;
    }
    let Some((at, by)) = state.get::<Manifests>(&(name.id, digest)).map(|row| (row.at, row.by.clone()))
    else {
        return;
    };
    let made = Made { at, by: &by };
    // Nothing else has such a path.
    state.put_new::<Folders>(&key, FolderRow { children: 1, ..FolderRow::new(made.at, made.by) });
    add_child(state, name.repository, name.name.as_str(), made);
}

/// A name holds a V1 image of an id.
pub(super) fn image_added<B: Base>(state: &mut Working<B>, name: Name<'_>, id: &ImageId, record: &Record) {
    if !name.name.is_waiting_room() {
        let made = Made { at: record.at, by: &record.actor };
        add_child(state, name.repository, &tree::image_folder(id), made);
    }
}

/// A name does not hold a V1 image of an id any more.
pub(super) fn image_removed<B: Base>(state: &mut Working<B>, name: Name<'_>, id: &ImageId, at: Timestamp) {
    if name.name.is_waiting_room() {
        return;
    }
    let folder = tree::image_folder(id);
    remove_child(state, name.repository, &folder, at);
    let row = state.get::<Folders>(&(name.repository.clone(), folder.clone()));
    if row.is_some_and(|row| row.children == 0 && row.file_properties > 0) {
        for file in IMAGE_FILES {
            forget_file(state, name.repository, &format!("{folder}/{file}"));
        }
        if has_file_properties(state, name.repository, &folder) {
            forget_all_files(state, name.repository, &folder);
        }
    }
}

/// One more folder or file in a folder; the folders above are made where they are missing.
fn add_child<B: Base>(state: &mut Working<B>, repository: &RepoKey, path: &str, made: Made<'_>) {
    let mut path = path;
    loop {
        let key = (repository.clone(), path.to_owned());
        let parent = path.rsplit_once('/').map(|(parent, _)| parent);
        let is_new = state.get::<Folders>(&key).is_none();
        if is_new && parent.is_some_and(|parent| has_file_properties(state, repository, parent)) {
            // What was a file is a folder now.
            properties::dropped(state, repository, path);
        }
        let was_empty = state.update::<Folders, _>(&key, |row| {
            let row = row.get_or_insert_with(|| FolderRow::new(made.at, made.by));
            row.children = row.children.saturating_add(1);
            row.empty_since.take()
        });
        if let Some(since) = was_empty {
            state.remove::<EmptyFolders>(&(since, key.0, key.1));
        }
        match parent {
            Some(parent) if is_new => path = parent,
            _ => break,
        }
    }
}

/// One folder or file less in a folder.
fn remove_child<B: Base>(state: &mut Working<B>, repository: &RepoKey, path: &str, since: Timestamp) {
    let key = (repository.clone(), path.to_owned());
    let emptied = state.update::<Folders, _>(&key, |row| {
        let Some(row) = row else { return false };
        row.children = row.children.saturating_sub(1);
        let emptied = row.children == 0 && row.empty_since.is_none();
        if emptied {
            row.empty_since = Some(since);
        }
        emptied
    });
    if emptied {
        state.put_new::<EmptyFolders>(&(since, key.0, key.1), ());
    }
}

/// An empty folder is gone. The one above, if that empties it, counts as empty for as long: a branch of
/// empty folders falls in one run.
pub(super) fn pruned<B: Base>(state: &mut Working<B>, repository: &RepoKey, path: &str, at: Timestamp) {
    let key = (repository.clone(), path.to_owned());
    let Some(row) = state.get::<Folders>(&key) else { return };
    if row.children > 0 {
        return;
    }
    let since = row.empty_since.unwrap_or(at);
    forget_folder(state, repository, path);
    state.remove::<Folders>(&key);
    state.remove::<EmptyFolders>(&(since, key.0, key.1));
    if let Some((parent, _)) = path.rsplit_once('/') {
        remove_child(state, repository, parent, since);
    }
}

fn has_file_properties<B: Base>(state: &mut Working<B>, repository: &RepoKey, folder: &str) -> bool {
    let key = (repository.clone(), folder.to_owned());
    state.get::<Folders>(&key).is_some_and(|row| row.file_properties > 0)
}

/// The properties of a folder that has no folders in it, and of its files.
fn forget_folder<B: Base>(state: &mut Working<B>, repository: &RepoKey, path: &str) {
    let key = (repository.clone(), path.to_owned());
    let Some(row) = state.get::<Folders>(&key) else { return };
    let (own, of_files) = (row.properties > 0, row.file_properties > 0);
    if of_files {
        forget_all_files(state, repository, path);
    }
    if own {
        properties::dropped(state, repository, path);
    }
}

/// The properties of all files of a folder that has no folders in it.
fn forget_all_files<B: Base>(state: &mut Working<B>, repository: &RepoKey, folder: &str) {
    forget_beginning_with(state, repository, &format!("{folder}/"));
}

/// The properties of the files that stand for a tag. Other names may have folders and files in the same folder.
fn forget_tag_files<B: Base>(state: &mut Working<B>, name: Name<'_>, folder: &str, before: &TagRow) {
    if !has_file_properties(state, name.repository, folder) {
        return;
    }
    if before.image {
        forget_file(state, name.repository, &format!("{folder}/{V1_TAG}"));
        return;
    }
    forget_manifest_files(state, name, folder, before.digest);
    if has_file_properties(state, name.repository, folder) {
        for begin in BLOB_FILES {
            forget_beginning_with(state, name.repository, &format!("{folder}/{begin}"));
        }
    }
}

/// The properties of a manifest's file and of those of what it lists. They are known without looking through others,
/// which costs more the more there are: nearly always none are left then.
fn forget_manifest_files<B: Base>(state: &mut Working<B>, name: Name<'_>, folder: &str, digest: Digest) {
    for file in [MANIFEST, INDEX] {
        forget_file(state, name.repository, &format!("{folder}/{file}"));
    }
    let Some(row) = state.get::<Manifests>(&(name.id, digest)) else { return };
    let listed = row.manifest.config.iter().chain(&row.manifest.layers);
    let files: Vec<String> = listed.map(|part| tree::blob_file(&part.digest)).collect();
    for file in files {
        forget_file(state, name.repository, &format!("{folder}/{file}"));
    }
}

/// The properties of the files of a folder whose paths begin so.
fn forget_beginning_with<B: Base>(state: &mut Working<B>, repository: &RepoKey, begin: &str) {
    let mut start = Vec::new();
    Properties::write_key(&(repository.clone(), begin.to_owned()), &mut start);
    // The key ends the path, and others go on.
    start.pop();
    let folder_len = begin.rfind('/').map_or(0, |slash| slash + 1);
    let found = state.scan::<Properties>(&start, &prefix_end(&start), usize::MAX);
    for ((_, path), _) in found {
        if !path[folder_len..].contains('/') {
            forget_file(state, repository, &path);
        }
    }
}

fn forget_file<B: Base>(state: &mut Working<B>, repository: &RepoKey, path: &str) {
    if state.get::<Folders>(&(repository.clone(), path.to_owned())).is_none() {
        properties::dropped(state, repository, path);
    }
}
