//! Names: that they exist while they hold something, their numbers, and how much they hold.

use supercargo_model::{RepoKey, RepoName, Timestamp};

use super::Name;
use crate::tables::{
    Counter, Counters, NameId, NameIds, NameRow, NameUsage, Names, NamesById, RepositoryUsage, Usage,
    UsageByRepository,
};
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
    state.put::<NameUsage>(&id, NameRow { created_at: at, usage: Usage::default() });
    state.put::<Names>(&key, id);
    state.update::<UsageByRepository, _>(repository, |row| {
        let row = row.get_or_insert_default();
        row.names += u64::from(!name.is_waiting_room());
    });
    Name { repository, name, id }
}

/// The name, if it holds something.
pub(super) fn find<'e, B: Base>(
    state: &mut Working<B>,
    repository: &'e RepoKey,
    name: &'e RepoName,
) -> Option<Name<'e>> {
    let id = *state.get::<Names>(&(repository.clone(), name.clone()))?;
    Some(Name { repository, name, id })
}

/// Removes the name when it holds nothing any more.
pub(super) fn settle<B: Base>(state: &mut Working<B>, name: Name<'_>) {
    if state.get::<NameUsage>(&name.id).is_some_and(|row| row.usage.is_empty()) {
        state.remove::<NameUsage>(&name.id);
        state.remove::<Names>(&(name.repository.clone(), name.name.clone()));
        let counted = u64::from(!name.name.is_waiting_room());
        count_in_repository(state, name.repository, |usage| {
            usage.names = usage.names.saturating_sub(counted);
        });
    }
}

/// Changes what a name is counted to hold.
pub(super) fn count<B: Base>(state: &mut Working<B>, id: NameId, change: impl FnOnce(&mut Usage)) {
    state.update::<NameUsage, _>(&id, |row| {
        if let Some(row) = row {
            change(&mut row.usage);
        }
    });
}

/// Changes what a repository is counted to hold.
pub(super) fn count_in_repository<B: Base>(
    state: &mut Working<B>,
    repository: &RepoKey,
    change: impl FnOnce(&mut RepositoryUsage),
) {
    state.update::<UsageByRepository, _>(repository, |row| {
        if let Some(row) = row {
            change(row);
        }
    });
}

/// A count, up or down by what came or went.
pub(super) fn step(count: &mut u64, was: bool, is: bool) {
    *count = count.saturating_add(u64::from(is)).saturating_sub(u64::from(was));
}
