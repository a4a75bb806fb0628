//! What records say happened, as places in trees: how items are found by when they were made or changed.
//!
//! An item's time is that of the record that put it there: what is there since a moment is found by reading the records
//! since, each of which leads to what is of its own moment. Nothing is held but the places of one moment. Setting properties
//! is not told of: it leaves times as they are.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use supercargo_eventlog::{Event, Log as _, RedbLog, first_at};
use supercargo_model::tree::{image_folder, tag_folder, untagged_folder, v1_folder, v1_tag_folder};
use supercargo_model::{RepoKey, Timestamp};

use super::drivers::{Candidate, Each, Flow};
use crate::{Error, Result};

/// How many records there are since a moment; `None` where they are most of all: then most of what is there is of
/// them, and walking comes upon it sooner.
pub(crate) fn count(log: &RedbLog, since: Timestamp) -> Result<Option<u64>> {
    let size = log.size().map_err(Error::internal)?;
    let records = size - first_at(log, size, |at| at >= since).map_err(Error::internal)?;
    Ok(Some(records).filter(|records| *records <= size / 2))
}

/// Tells of the places that the records since a moment mention, each once for each moment.
pub(crate) fn places(
    log: &RedbLog,
    since: Timestamp,
    repositories: &BTreeSet<RepoKey>,
    each: &mut Each<'_>,
) -> Flow {
    let size = log.size().map_err(Error::internal)?;
    let first = first_at(log, size, |at| at >= since).map_err(Error::internal)?;
    let mut places = Places { repositories, at: since, told: BTreeSet::new(), each };
    for record in log.read(first..size).map_err(Error::internal)? {
        let record = record.map_err(Error::internal)?;
        if record.at != places.at {
            places.at = record.at;
            places.told.clear();
        }
        if places.add(&record.event)?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(()))
}

struct Places<'p, 'e> {
    repositories: &'p BTreeSet<RepoKey>,
    /// The moment of the records that are looked at.
    at: Timestamp,
    /// What was told of it.
    told: BTreeSet<(RepoKey, Candidate)>,
    each: &'p mut Each<'e>,
}

impl Places<'_, '_> {
    fn add(&mut self, event: &Event) -> Flow {
        match event {
            Event::RepositoryCreated { repository, .. } => self.folder(repository, ""),
            Event::TagSet { repository, name, tag, .. } => {
                let folders = [tag_folder(name, tag), v1_tag_folder(name, tag), v1_folder(name)];
                self.folders(repository, folders)
            }
            Event::ManifestPushed { repository, name, digest, .. } => {
                self.folder(repository, &untagged_folder(name, digest))
            }
            Event::V1ImagesAdded { repository, images, .. } => {
                self.folders(repository, images.iter().map(|image| image_folder(&image.id)))
            }
            _ => Ok(ControlFlow::Continue(())),
        }
    }

    fn folders(&mut self, repository: &RepoKey, paths: impl IntoIterator<Item = String>) -> Flow {
        for path in paths {
            if self.folder(repository, &path)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// The files of a folder, itself, and the folders that it is in, which may have been made with it.
    fn folder(&mut self, repository: &RepoKey, path: &str) -> Flow {
        if !self.repositories.contains(repository) {
            return Ok(ControlFlow::Continue(()));
        }
        let mut flow = self.tell(repository, Candidate::FilesOf(self.at, path.to_owned()))?;
        let mut next = Some(path);
        while let Some(path) = next.filter(|_| flow == Some(ControlFlow::Continue(()))) {
            flow = self.tell(repository, Candidate::FolderOf(self.at, path.to_owned()))?;
            let above = path.rsplit_once('/').map_or("", |(parent, _)| parent);
            next = Some(above).filter(|_| !path.is_empty());
        }
        Ok(flow.unwrap_or(ControlFlow::Continue(())))
    }

    /// Tells of a place; `None` where it was told of.
    fn tell(&mut self, repository: &RepoKey, candidate: Candidate) -> Result<Option<ControlFlow<()>>> {
        if !self.told.insert((repository.clone(), candidate.clone())) {
            return Ok(None);
        }
        (self.each)(repository, candidate).map(Some)
    }
}
