//! Names: that they exist while they hold something, their numbers, and how much they hold.

use supercargo_model::{RepoKey, RepoName, Timestamp};

use super::Name;
use crate::tables::{Counter, Counters, NameId, NameIds, NameRow, Names, NamesById, Usage, UsageByRepository};
use crate::working::{Base, Working};

/// The name, made if it is not there.
pub(super) fn ensure<'e, B: Base>(
    state: &mut Working<B>,
    repository: &'e RepoKey,
    name: &'e RepoName,
    at: Timestamp,
) -> Name<'e> {
    if let Some(found) = find(state, repository, name) {
        return found;
    }
    let key = (repository.clone(), name.clone());
    let id = match state.get::<NameIds>(&key) {
        Some(id) => *id,
        None => {
            let id = NameId(state.update::<Counters, _>(&Counter::NextName, |next| {
                // Numbers start at 1: 0 stands for no name.
                let id = next.unwrap_or(1);
                *next = Some(id.wrapping_add(1));
                id
            }));
            state.put::<NameIds>(&key, id);
            state.put::<NamesById>(&id, key.clone());
            id
        }
    };
    state.put::<Names>(&key, NameRow { id, created_at: at, usage: Usage::default() });
    state.update::<UsageByRepository, _>(repository, |row| row.get_or_insert_default().names += 1);
    Name { repository, name, id }
}

/// The name, if it holds something.
pub(super) fn find<'e, B: Base>(
    state: &mut Working<B>,
    repository: &'e RepoKey,
    name: &'e RepoName,
) -> Option<Name<'e>> {
    let id = state.get::<Names>(&(repository.clone(), name.clone()))?.id;
    Some(Name { repository, name, id })
}

/// Removes the name's row when it holds nothing any more.
pub(super) fn settle<B: Base>(state: &mut Working<B>, name: Name<'_>) {
    let key = (name.repository.clone(), name.name.clone());
    if state.get::<Names>(&key).is_some_and(|row| row.usage.is_empty()) {
        state.remove::<Names>(&key);
        state.update::<UsageByRepository, _>(name.repository, |row| {
            if let Some(row) = row {
                row.names = row.names.saturating_sub(1);
            }
        });
    }
}

/// Changes what a name is counted to hold, and its repository with it.
pub(super) fn count<B: Base>(
    state: &mut Working<B>,
    repository: &RepoKey,
    name: &RepoName,
    change: impl Fn(&mut Usage),
) {
    state.update::<Names, _>(&(repository.clone(), name.clone()), |row| {
        if let Some(row) = row {
            change(&mut row.usage);
        }
    });
    state.update::<UsageByRepository, _>(repository, |row| {
        if let Some(row) = row {
            change(&mut row.usage);
        }
    });
}

/// As [`count`], for a name known by its number.
pub(super) fn count_by_id<B: Base>(state: &mut Working<B>, id: NameId, change: impl Fn(&mut Usage)) {
    if let Some((repository, name)) = state.get::<NamesById>(&id).cloned() {
        count(state, &repository, &name, change);
    }
}
