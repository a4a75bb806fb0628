//! The tree of folders that a browser of a repository sees: a folder for each component of a name, and in
//! it one for each tag, which holds the tag's manifest.

use supercargo_model::{RepoKey, Tag, Timestamp};

use super::{Name, properties};
use crate::tables::{EmptyFolders, FolderRow, Folders};
use crate::working::{Base, Working};

pub(super) fn tag_set<B: Base>(state: &mut Working<B>, name: Name<'_>, tag: &Tag, at: Timestamp) {
    add_child(state, name.repository, &format!("{}/{tag}", name.name), at);
}

pub(super) fn tag_deleted<B: Base>(state: &mut Working<B>, name: Name<'_>, tag: &Tag, at: Timestamp) {
    remove_child(state, name.repository, &format!("{}/{tag}", name.name), at);
}

/// One more folder or file in a folder; the folders above are made where they are missing.
fn add_child<B: Base>(state: &mut Working<B>, repository: &RepoKey, path: &str, at: Timestamp) {
    let mut path = path;
    loop {
        let key = (repository.clone(), path.to_owned());
        let mut was_empty = None;
        let made = state.update::<Folders, _>(&key, |row| {
            let made = row.is_none();
            let row = row.get_or_insert(FolderRow {
                children: 0,
                properties: 0,
                created_at: at,
                empty_since: None,
            });
            was_empty = row.empty_since.take();
            row.children = row.children.saturating_add(1);
            made
        });
        if let Some(since) = was_empty {
            state.remove::<EmptyFolders>(&(since, key.0, key.1));
        }
        match path.rsplit_once('/') {
            Some((parent, _)) if made => path = parent,
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
    let Some(row) = state.get::<Folders>(&key).copied() else { return };
    if row.children > 0 {
        return;
    }
    let since = row.empty_since.unwrap_or(at);
    state.remove::<Folders>(&key);
    state.remove::<EmptyFolders>(&(since, key.0, key.1));
    if row.properties > 0 {
        properties::dropped(state, repository, path);
    }
    if let Some((parent, _)) = path.rsplit_once('/') {
        remove_child(state, repository, parent, since);
    }
}
