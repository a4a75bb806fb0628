//! What records say happened, as places in trees: how items are found by when they were made or changed.
//!
//! An item's time is that of the record that put it there, so that what is there since a moment is among what is told here
//! of the records since. Setting properties is not told: it leaves times as they are.

use std::collections::BTreeSet;

use supercargo_eventlog::{Event, Log, RedbLog, first_at};
use supercargo_model::tree::{V1_INDEX, image_folder, tag_folder, untagged_folder, v1_folder, v1_tag_folder};
use supercargo_model::{RepoKey, Timestamp};

use super::drivers::Candidate;
use crate::{Error, Result};

/// How many records are read at most.
pub(crate) const RECORDS_MAX: u64 = 10_000;

/// How many records there are since a moment.
pub(crate) fn count(log: &RedbLog, since: Timestamp) -> Result<u64> {
    let size = log.size().map_err(Error::internal)?;
    Ok(size - first_at(log, size, |at| at >= since).map_err(Error::internal)?)
}

/// The places that the records since a moment mention, in order.
pub(crate) fn places(
    log: &RedbLog,
    since: Timestamp,
    repositories: &BTreeSet<RepoKey>,
) -> Result<BTreeSet<(RepoKey, Candidate)>> {
    let size = log.size().map_err(Error::internal)?;
    let first = first_at(log, size, |at| at >= since).map_err(Error::internal)?;
    let mut places = Places { repositories, found: BTreeSet::new() };
    for record in log.read(first..size).map_err(Error::internal)? {
        places.add(&record.map_err(Error::internal)?.event);
    }
    // What is told of with its folder is not told of twice.
    let Places { mut found, .. } = places;
    let folders: BTreeSet<(RepoKey, String)> = found
        .iter()
        .filter_map(|(repository, candidate)| match candidate {
            Candidate::In(path) => Some((repository.clone(), path.clone())),
            Candidate::Item(_) => None,
        })
        .collect();
    found.retain(|(repository, candidate)| match candidate {
        Candidate::Item(path) => {
            let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
            path.is_empty() || !folders.contains(&(repository.clone(), parent.to_owned()))
        }
        Candidate::In(_) => true,
    });
    Ok(found)
}

struct Places<'p> {
    repositories: &'p BTreeSet<RepoKey>,
    found: BTreeSet<(RepoKey, Candidate)>,
}

impl Places<'_> {
    fn add(&mut self, event: &Event) {
        match event {
            Event::RepositoryCreated { repository, .. } => self.item(repository, ""),
            Event::TagSet { repository, name, tag, .. } => {
                self.folder(repository, &tag_folder(name, tag));
                self.folder(repository, &v1_tag_folder(name, tag));
                self.item(repository, &format!("{}/{V1_INDEX}", v1_folder(name)));
            }
            Event::ManifestPushed { repository, name, digest, .. } => {
                self.folder(repository, &untagged_folder(name, digest));
            }
            Event::V1ImagesAdded { repository, images, .. } => {
                images.iter().for_each(|image| self.folder(repository, &image_folder(&image.id)));
            }
            _ => {}
        }
    }

    /// A folder, and what is in it.
    fn folder(&mut self, repository: &RepoKey, path: &str) {
        if self.repositories.contains(repository) {
            self.found.insert((repository.clone(), Candidate::In(path.to_owned())));
            self.item(repository, path);
        }
    }

    /// An item, and the folders that it is in, which may have been made with it.
    fn item(&mut self, repository: &RepoKey, path: &str) {
        if !self.repositories.contains(repository) {
            return;
        }
        let mut path = path;
        while self.found.insert((repository.clone(), Candidate::Item(path.to_owned()))) && !path.is_empty() {
            path = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        }
    }
}
