//! Repositories: their settings.

use supercargo_eventlog::RepositoryConfig;
use supercargo_model::{RepoKey, Timestamp};

use super::properties;
use crate::tables::{Repositories, RepositoryRow, RepositoryUsage, UsageByRepository};
use crate::working::{Base, Working};

pub(super) fn created<B: Base>(
    state: &mut Working<B>,
    repository: &RepoKey,
    config: &RepositoryConfig,
    at: Timestamp,
) {
    state.put::<Repositories>(repository, RepositoryRow { config: config.clone(), created_at: at });
    state.update::<UsageByRepository, _>(repository, |row| {
        row.get_or_insert_default();
    });
}

pub(super) fn configured<B: Base>(state: &mut Working<B>, repository: &RepoKey, config: &RepositoryConfig) {
    state.update::<Repositories, _>(repository, |row| {
        if let Some(row) = row {
            row.config = config.clone();
        }
    });
}

pub(super) fn removed<B: Base>(state: &mut Working<B>, repository: &RepoKey) {
    state.remove::<Repositories>(repository);
    properties::dropped(state, repository, "");
    // Kept where names still count in it, which no log of ours says.
    state.update::<UsageByRepository, _>(repository, |row| {
        if *row == Some(RepositoryUsage::default()) {
            *row = None;
        }
    });
}
