//! Properties of folders and files, and what has which.

use supercargo_model::RepoKey;

use crate::tables::{Folders, Properties, PropertyValues};
use crate::working::{Base, Working};

pub(super) fn set<B: Base>(
    state: &mut Working<B>,
    repository: &RepoKey,
    path: &str,
    set: &[(String, Vec<String>)],
    removed: &[String],
) {
    let key = (repository.clone(), path.to_owned());
    let (before, after) = state.update::<Properties, _>(&key, |row| {
        let before = row.clone().unwrap_or_default();
        let mut after = before.clone();
        after.extend(set.iter().cloned());
        after.retain(|property, _| !removed.contains(property));
        *row = Some(after.clone()).filter(|after| !after.is_empty());
        (before, after)
    });
    for (property, values) in &before {
        if after.get(property) != Some(values) {
            forget(state, repository, path, property, values);
        }
    }
    for (property, values) in &after {
        if before.get(property) != Some(values) {
            for value in values {
                state.put::<PropertyValues>(&of_value(repository, path, property, value), ());
            }
        }
    }
    count(state, key, before.len(), after.len());
}

/// Counts the properties of a path: at itself, where it is a folder, and else at the folder that it is in.
fn count<B: Base>(state: &mut Working<B>, key: (RepoKey, String), before: usize, after: usize) {
    let number = |properties: usize| u32::try_from(properties).unwrap_or(u32::MAX);
    let (before, after) = (number(before), number(after));
    if state.get::<Folders>(&key).is_some() {
        state.update::<Folders, _>(&key, |row| {
            if let Some(row) = row {
                row.properties = after;
            }
        });
    } else if let Some((parent, _)) = key.1.rsplit_once('/') {
        state.update::<Folders, _>(&(key.0, parent.to_owned()), |row| {
            if let Some(row) = row {
                row.file_properties = row.file_properties.saturating_sub(before).saturating_add(after);
            }
        });
    }
}

/// A folder or file is gone, and its properties with it.
pub(super) fn dropped<B: Base>(state: &mut Working<B>, repository: &RepoKey, path: &str) {
    let key = (repository.clone(), path.to_owned());
    let Some(row) = state.get::<Properties>(&key).cloned() else { return };
    for (property, values) in &row {
        forget(state, repository, path, property, values);
    }
    state.remove::<Properties>(&key);
    count(state, key, row.len(), 0);
}

fn forget<B: Base>(
    state: &mut Working<B>,
    repository: &RepoKey,
    path: &str,
    property: &str,
    values: &[String],
) {
    for value in values {
        state.remove::<PropertyValues>(&of_value(repository, path, property, value));
    }
}

fn of_value(
    repository: &RepoKey,
    path: &str,
    property: &str,
    value: &str,
) -> (String, String, RepoKey, String) {
    (property.to_owned(), value.to_owned(), repository.clone(), path.to_owned())
}
