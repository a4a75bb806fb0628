//! Properties of folders and files.

use supercargo_model::RepoKey;

use crate::tables::{Folders, Properties, prefix};
use crate::working::{Base, Rows, Working};

pub(super) fn set<B: Base>(
    state: &mut Working<B>,
    repository: &RepoKey,
    path: &str,
    set: &[(String, Vec<String>)],
    removed: &[String],
) {
    let mut more = 0_u32;
    let mut fewer = 0_u32;
    for (property, values) in set {
        let key = (repository.clone(), path.to_owned(), property.clone());
        let before = state.update::<Properties, _>(&key, |row| row.replace(values.clone()));
        more += u32::from(before.is_none());
    }
    for property in removed {
        let key = (repository.clone(), path.to_owned(), property.clone());
        if state.get::<Properties>(&key).is_some() {
            state.remove::<Properties>(&key);
            fewer += 1;
        }
    }
    state.update::<Folders, _>(&(repository.clone(), path.to_owned()), |row| {
        if let Some(row) = row {
            row.properties = row.properties.saturating_add(more).saturating_sub(fewer);
        }
    });
}

/// A folder is gone, and its properties with it.
pub(super) fn dropped<B: Base>(state: &mut Working<B>, repository: &RepoKey, path: &str) {
    let prefix = prefix::properties(repository, path);
    for (key, _) in state.scan_prefix::<Properties>(&prefix, None, usize::MAX) {
        state.remove::<Properties>(&key);
    }
}
