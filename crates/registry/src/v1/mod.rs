//! Docker V1: images by id, their upload in three parts, and tags on them.
//!
//! What lives here: what the V1 surface asks of the registry, in the registry's words. An image belongs to the names
//! whose tags reach it, like a manifest; until a tag does, it stands in the waiting room of whoever pushed it. `uploads` takes
//! images in, `tags` sets and reads tags, `migration` takes tags into repositories of V2, `views` makes images of manifests and manifests of images. What does not:
//! the protocol (docker-v1), and how one is converted into the other (`supercargo_model::v1`).

mod brought;
mod files;
mod layers;
mod migration;
mod tags;
#[cfg(test)]
mod tests;
mod uploads;
mod views;

use std::sync::Arc;

use bytes::Bytes;
use supercargo_eventlog::{V1Image, V1Parent};
use supercargo_model::{Digest, ImageId, RepoKey, RepoName, Timestamp, limits};
use supercargo_projections::tables::{
    Blobs, ContentState, Contents, ImageRow, Images, ImagesById, NameId, NamesById, Views, Wait, prefix,
};
use supercargo_projections::{Snapshot, prefix_end};

use crate::hot::{HotKey, HotValue};
use crate::leases::{ANYWHERE, Taken};
use crate::reads::name_id;
use crate::registry::{Caller, Registry};
use crate::{BlobContent, Error, Result, small};

pub(crate) use layers::Unpacking;
pub use migration::{
    MIGRATION_LISTED_MAX, MayMigrate, MigratedTag, MigrationProgress, MigrationReport, MigrationRequest,
    MigrationStep, TagMigration,
};
pub(crate) use tags::images_of;
pub use tags::{HasTags, V1Found, V1ListedImage};

/// How many names that hold an image are looked at, at most.
const NAMES_MAX: usize = 16 * 1024;

/// How often something is tried that rests on where an image is, which changes when a tag brings it into a name.
const TRIES: usize = 8;

/// Through whose eyes images are looked up. An image is seen in the name that the session is about, in the waiting
/// room by whoever pushed it, and in other names: by whoever looks, in those that it may read, and by whoever pushes, in
/// those that it may read and write. Nothing ties ids to bytes, so that others' images of an id are no reason not to push one.
#[derive(Clone, Copy)]
pub struct Viewer<'v> {
    /// Who asks.
    pub caller: &'v Caller,
    /// The name that the session is about, which the caller may read; looked in first.
    pub name: Option<&'v RepoName>,
    /// Whether the caller may read a name.
    pub may_read: &'v (dyn Fn(&RepoName) -> bool + Send + Sync),
    /// Whether the caller may read and write a name: who may write alone is told nothing of what is there.
    pub may_write: &'v (dyn Fn(&RepoName) -> bool + Send + Sync),
}

impl Viewer<'_> {
    /// The eyes of one that pushes.
    fn pushing(self) -> Self {
        Viewer { may_read: self.may_write, ..self }
    }
}

impl std::fmt::Debug for Viewer<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Viewer")
            .field("caller", &self.caller)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// A complete V1 image, as somebody found it.
#[derive(Debug, Clone)]
pub struct V1ImageInfo {
    /// The image.
    pub image: V1Image,
    /// When it came where it was found.
    pub pushed_at: Timestamp,
    /// The name that holds it.
    pub(crate) held_in: RepoName,
    pub(crate) name_id: NameId,
    /// Its JSON, where that is in memory.
    json: Option<Bytes>,
}

impl Registry {
    /// A complete image. One that a manifest is to V1 clients is made at the first question for it.
    ///
    /// # Errors
    /// [`Error::ImageUnknown`], also where the caller may not see it; those of a commit.
    pub async fn v1_image(
        &self,
        repository: &RepoKey,
        viewer: Viewer<'_>,
        id: &ImageId,
    ) -> Result<V1ImageInfo> {
        let unknown = || Error::ImageUnknown(*id);
        if let Some(found) = self.v1_find(repository, viewer, id)? {
            return Ok(found);
        }
        // What the session's name holds comes first, also where it is no image yet.
        if let Some(name) = viewer.name
            && self.v1_view_in(repository, [name.clone()], id).await?
        {
            return self.v1_find(repository, viewer, id)?.ok_or_else(unknown);
        }
        let names = self.v1_names_with_config(repository, viewer, id)?;
        self.v1_view_in(repository, names, id).await?;
        elsewhere(&self.snapshot()?, repository, viewer, id, None)?.ok_or_else(unknown)
    }

    /// Whether an image is there, for somebody who pushes and may rely on it: takes a lease on it, and with it on what it
    /// is made of.
    ///
    /// # Errors
    /// As [`Registry::v1_image`].
    pub async fn v1_check_image(
        &self,
        repository: &RepoKey,
        viewer: Viewer<'_>,
        id: &ImageId,
    ) -> Result<V1ImageInfo> {
        let viewer = viewer.pushing();
        let mut epoch = self.leases.epoch();
        'again: loop {
            let found = self.v1_image(repository, viewer, id).await?;
            let promised = self.v1_relied_on(repository, viewer, &found)?;
            for (name, json) in promised {
                // It moves when it is tagged. That it is not removed at this moment is known of where it stands alone.
                let _ = self.lease(viewer.caller, (ANYWHERE, json), epoch);
                match self.lease(viewer.caller, (name, json), epoch) {
                    Taken::Held => {}
                    Taken::Condemned => return Err(Error::ImageUnknown(*id)),
                    Taken::LookAgain(now) => {
                        epoch = now;
                        continue 'again;
                    }
                }
            }
            return Ok(found);
        }
    }

    /// What has to be promised of an image, so that all of it stays: itself, and where it is in the waiting room, the
    /// first of those that it was made from which is not. A name that holds an image holds all that it was made from.
    ///
    /// # Errors
    /// [`Error::ImageUnknown`] where some of it is gone.
    fn v1_relied_on(
        &self,
        repository: &RepoKey,
        viewer: Viewer<'_>,
        found: &V1ImageInfo,
    ) -> Result<Vec<(NameId, Digest)>> {
        let snapshot = self.snapshot()?;
        let mut promised = vec![(found.name_id, found.image.json)];
        let content = snapshot.get::<Contents>(&promised[0]).map_err(Error::internal)?;
        match content.map(|content| content.state) {
            Some(ContentState::Live) => return Ok(promised),
            Some(ContentState::Waiting { wait: Wait::Untagged, .. }) => {}
            // What it was made from may be partly collected.
            _ => {
                let chain = self.v1_chain(repository, viewer, found.clone())?;
                let elsewhere = chain.windows(2).filter(|pair| pair[0].name_id != pair[1].name_id);
                promised.extend(elsewhere.map(|pair| (pair[1].name_id, pair[1].image.json)));
                return Ok(promised);
            }
        }
        let mut parent = found.image.parent;
        while let Some(V1Parent { id, json }) = parent {
            if let Some(row) = image_row(&snapshot, (found.name_id, json))? {
                // It is held by the one above.
                parent = row.image.parent;
                continue;
            }
            let beyond = find(&snapshot, repository, viewer, &id, Some(&json))?;
            let beyond = beyond.ok_or(Error::ImageUnknown(id))?;
            let key = (beyond.name_id, json);
            let content = snapshot.get::<Contents>(&key).map_err(Error::internal)?;
            if content.is_none_or(|content| content.state != ContentState::Live) {
                self.v1_chain(repository, viewer, beyond)?;
            }
            promised.push(key);
            break;
        }
        Ok(promised)
    }

    /// An image's JSON, as it was pushed.
    ///
    /// # Errors
    /// [`Error::ImageUnknown`] where it was collected since it was found.
    pub fn v1_image_json(&self, image: &V1ImageInfo) -> Result<Bytes> {
        if let Some(json) = &image.json {
            return Ok(json.clone());
        }
        let snapshot = self.snapshot()?;
        let V1Image { json, json_size, id, .. } = image.image;
        let blob = snapshot.get::<Blobs>(&json).map_err(Error::internal)?;
        if blob.is_none_or(|blob| blob.rotten) {
            return Err(Error::ImageUnknown(id));
        }
        self.bytes_of(&snapshot, &json, json_size)?.ok_or(Error::ImageUnknown(id))
    }

    /// An image's layer, opened for reading.
    ///
    /// # Errors
    /// [`Error::ImageUnknown`] where it was collected since it was found, or deleted.
    pub fn v1_layer(&self, image: &V1ImageInfo) -> Result<BlobContent> {
        let snapshot = self.snapshot()?;
        let V1Image { layer, layer_size, id, .. } = image.image;
        let unknown = || Error::ImageUnknown(id);
        let content = snapshot.get::<Contents>(&(image.name_id, layer)).map_err(Error::internal)?;
        let blob = snapshot.get::<Blobs>(&layer).map_err(Error::internal)?;
        if content.is_none_or(|content| !content.blob) || blob.is_none_or(|blob| blob.rotten) {
            return Err(unknown());
        }
        if layer_size <= limits::INLINE_BLOB_BYTES_MAX
            && let Some(bytes) = small::get(snapshot.transaction(), &layer).map_err(Error::internal)?
        {
            return Ok(BlobContent::Inline(bytes));
        }
        self.file(&layer, layer_size)?.map(BlobContent::File).ok_or_else(unknown)
    }

    /// The ids of an image and of those that it was made from: itself first, its base last.
    ///
    /// # Errors
    /// As [`Registry::v1_image`].
    pub async fn v1_ancestry(
        &self,
        repository: &RepoKey,
        viewer: Viewer<'_>,
        id: &ImageId,
    ) -> Result<Vec<ImageId>> {
        let found = self.v1_image(repository, viewer, id).await?;
        let chain = self.v1_chain(repository, viewer, found)?;
        Ok(chain.iter().map(|found| found.image.id).collect())
    }

    /// An image and those that it was made from, as the caller sees them: itself first, its base last.
    pub(crate) fn v1_chain(
        &self,
        repository: &RepoKey,
        viewer: Viewer<'_>,
        top: V1ImageInfo,
    ) -> Result<Vec<V1ImageInfo>> {
        let snapshot = self.snapshot()?;
        let mut chain = vec![top];
        while let Some(above) = chain.last()
            && let Some(parent) = above.image.parent
        {
            if chain.len() == limits::IMAGE_CHAIN_MAX {
                return Err(Error::ChainTooDeep);
            }
            let beside = whole(&snapshot, (above.name_id, parent.json))?;
            let found = match beside {
                Some(row) => Some(V1ImageInfo {
                    image: row.image,
                    pushed_at: row.at,
                    held_in: above.held_in.clone(),
                    name_id: above.name_id,
                    json: None,
                }),
                // Its child is in the waiting room.
                None => find(&snapshot, repository, viewer, &parent.id, Some(&parent.json))?,
            };
            chain.push(found.ok_or(Error::ImageUnknown(parent.id))?);
        }
        Ok(chain)
    }

    /// A complete image in the session's name, or in the caller's waiting room.
    pub(crate) fn v1_find(
        &self,
        repository: &RepoKey,
        viewer: Viewer<'_>,
        id: &ImageId,
    ) -> Result<Option<V1ImageInfo>> {
        let Some(name) = viewer.name else {
            return near(&self.snapshot()?, repository, viewer, id, None);
        };
        let key = HotKey::Image(repository.clone(), name.clone(), *id);
        if let Some(HotValue::Image(found)) = self.hot.get(&key) {
            return Ok(Some((*found).clone()));
        }
        // Counted before the snapshot: what changes after it makes this entry stale at once.
        let changes = self.hot.changes(repository, name);
        let snapshot = self.snapshot()?;
        let mut found = near(&snapshot, repository, viewer, id, None)?;
        if let Some(found) = found.as_mut().filter(|found| found.held_in == *name) {
            found.json = self.bytes_of(&snapshot, &found.image.json, found.image.json_size)?;
            self.hot.put(key, changes, HotValue::Image(Arc::new(found.clone())));
        }
        Ok(found)
    }

    /// The bytes of something small enough to be held in memory; `None` where there are none.
    pub(crate) fn bytes_of(&self, snapshot: &Snapshot, digest: &Digest, size: u64) -> Result<Option<Bytes>> {
        match small::get(snapshot.transaction(), digest).map_err(Error::internal)? {
            Some(bytes) => Ok(Some(bytes)),
            None => match self.file(digest, size)? {
                Some(file) => file.bytes().map(Some).map_err(Error::internal),
                None => Ok(None),
            },
        }
    }
}

/// Where what somebody pushed stands until a tag reaches it.
fn waiting_room(caller: &Caller) -> RepoName {
    RepoName::waiting_room(caller.actor.user())
}

/// A complete image that the caller sees; with that JSON, where one is given.
fn find(
    snapshot: &Snapshot,
    repository: &RepoKey,
    viewer: Viewer<'_>,
    id: &ImageId,
    wanted: Option<&Digest>,
) -> Result<Option<V1ImageInfo>> {
    match near(snapshot, repository, viewer, id, wanted)? {
        Some(found) => Ok(Some(found)),
        None => elsewhere(snapshot, repository, viewer, id, wanted),
    }
}

fn info(name_id: NameId, held_in: RepoName, row: ImageRow) -> V1ImageInfo {
    V1ImageInfo { image: row.image, pushed_at: row.at, held_in, name_id, json: None }
}

/// An image in the session's name, or in the caller's waiting room.
fn near(
    snapshot: &Snapshot,
    repository: &RepoKey,
    viewer: Viewer<'_>,
    id: &ImageId,
    wanted: Option<&Digest>,
) -> Result<Option<V1ImageInfo>> {
    let room = waiting_room(viewer.caller);
    for name in viewer.name.into_iter().chain([&room]) {
        let Some(name_id) = name_id(snapshot, repository, name)? else { continue };
        let key = (repository.clone(), *id, name_id);
        let json = snapshot.get::<ImagesById>(&key).map_err(Error::internal)?;
        if let Some(json) = json.filter(|json| wanted.is_none_or(|wanted| wanted == json))
            && let Some(row) = whole(snapshot, (name_id, json))?
        {
            return Ok(Some(info(name_id, name.clone(), row)));
        }
    }
    Ok(None)
}

/// An image in another name that the caller sees. Where names disagree on what the image of that id is, nobody can say
/// which is meant, and it is none.
fn elsewhere(
    snapshot: &Snapshot,
    repository: &RepoKey,
    viewer: Viewer<'_>,
    id: &ImageId,
    wanted: Option<&Digest>,
) -> Result<Option<V1ImageInfo>> {
    let mut found: Option<V1ImageInfo> = None;
    for (name_id, json) in held_by(snapshot, repository, id)? {
        if wanted.is_some_and(|wanted| *wanted != json) {
            continue;
        }
        let name = snapshot.get::<NamesById>(&name_id).map_err(Error::internal)?;
        let Some((_, name)) = name.filter(|(_, name)| !name.is_waiting_room()) else { continue };
        if !(viewer.may_read)(&name) {
            continue;
        }
        let Some(row) = whole(snapshot, (name_id, json))? else { continue };
        match &found {
            None => found = Some(info(name_id, name, row)),
            Some(found) if (found.image.json, found.image.layer) == (row.image.json, row.image.layer) => {}
            Some(_) => return Ok(None),
        }
    }
    Ok(found)
}

fn image_row(snapshot: &Snapshot, key: (NameId, Digest)) -> Result<Option<ImageRow>> {
    snapshot.get::<Images>(&key).map_err(Error::internal)
}

/// An image of a name, where the name has all of it. One whose layer was deleted by itself, or whose bytes are damaged,
/// is to be pushed again, and whoever was told that it is there would not.
fn whole(snapshot: &Snapshot, key: (NameId, Digest)) -> Result<Option<ImageRow>> {
    let Some(row) = image_row(snapshot, key)? else { return Ok(None) };
    let layer = snapshot.get::<Contents>(&(key.0, row.image.layer)).map_err(Error::internal)?;
    let mut there = layer.is_some_and(|layer| layer.blob);
    for digest in [&row.image.json, &row.image.layer] {
        let blob = snapshot.get::<Blobs>(digest).map_err(Error::internal)?;
        there &= blob.is_some_and(|blob| !blob.rotten);
    }
    Ok(there.then_some(row))
}

/// The image that a digest of a name is the JSON of, or that a manifest of that digest is known to be to V1 clients.
pub(crate) fn image_of(snapshot: &Snapshot, name: NameId, digest: &Digest) -> Result<Option<ImageId>> {
    let view = snapshot.get::<Views>(&(name, *digest)).map_err(Error::internal)?;
    let row = image_row(snapshot, (name, view.unwrap_or(*digest)))?;
    Ok(row.map(|row| row.image.id))
}

/// The names that hold an image of that id, and which JSON it has there; not all of them where they are very many.
fn held_by(snapshot: &Snapshot, repository: &RepoKey, id: &ImageId) -> Result<Vec<(NameId, Digest)>> {
    let prefix = prefix::images_by_id(repository, id);
    let mut found = Vec::new();
    snapshot
        .visit::<ImagesById>(&prefix, &prefix_end(&prefix), |(_, _, name), json| {
            found.push((name, json));
            found.len() < NAMES_MAX
        })
        .map_err(Error::internal)?;
    Ok(found)
}
