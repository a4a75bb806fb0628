//! Tags as V1 clients see them: set on images, and read as the image that they, or what they point at, stand for.

use serde::Serialize;
use supercargo_eventlog::{DockerApiVersion, Log as _, V1Image};
use supercargo_model::{Digest, ImageId, Reference, RepoKey, RepoName, Tag, Timestamp, media_type};
use supercargo_projections::tables::{
    ContentState, Contents, Images, Manifests, NameId, NameUsage, Names, Repositories, Tags, Views, prefix,
};
use supercargo_projections::{Snapshot, prefix_end};

use super::brought::Brought;
use super::{TRIES, V1ImageInfo, Viewer, image_row};
use crate::command::Command;
use crate::labels::is_image_config;
use crate::leases::{ANYWHERE, Principal};
use crate::ledger::Payload;
use crate::maintenance::blocking;
use crate::reads::{known_repository, name_id, resolve};
use crate::registry::{Caller, Registry};
use crate::{Error, Result};

/// Names that a search found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct V1Found {
    /// How many match.
    pub total: u64,
    /// Those of the page, in order.
    pub names: Vec<RepoName>,
}

/// An image as it is listed for clients. Never with a tag: some would set it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct V1ListedImage {
    /// What its maker called it.
    pub id: ImageId,
    /// The SHA-256 of its JSON, a newline and its layer, where it came with one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checksum: Option<Digest>,
}

/// Says whether a name has tags.
pub type HasTags<'a> = &'a dyn Fn(&RepoName) -> Result<bool>;

impl Registry {
    /// The image that a tag stands for.
    ///
    /// # Errors
    /// [`Error::NameUnknown`], [`Error::TagUnknown`]; [`Error::NotConvertible`] where it points at what V1 clients
    /// can't be shown.
    pub async fn v1_tag(&self, repository: &RepoKey, name: &RepoName, tag: &Tag) -> Result<ImageId> {
        let (id, digest) = {
            let snapshot = self.snapshot()?;
            let id = self.known_name(&snapshot, repository, name)?;
            let row = snapshot.get::<Tags>(&(id, tag.clone())).map_err(Error::internal)?;
            (id, row.ok_or_else(|| Error::TagUnknown(tag.clone()))?.digest)
        };
        self.v1_view_schema1(repository, name, digest).await?;
        stands_for(&self.snapshot()?, id, digest)?.ok_or_else(|| {
            Error::NotConvertible(format!("tag {tag} points at something that is no image for linux/amd64"))
        })
    }

    /// All tags of a name with the images that they stand for, less those that V1 clients can't be shown.
    ///
    /// # Errors
    /// [`Error::NameUnknown`], also where it has no tags.
    pub async fn v1_tags(&self, repository: &RepoKey, name: &RepoName) -> Result<Vec<(Tag, ImageId)>> {
        let (id, tags) = {
            let snapshot = self.snapshot()?;
            let id = self.known_name(&snapshot, repository, name)?;
            let mut tags = Vec::new();
            let prefix = prefix::tags(id);
            snapshot
                .visit::<Tags>(&prefix, &prefix_end(&prefix), |(_, tag), row| {
                    tags.push((tag, row.digest));
                    true
                })
                .map_err(Error::internal)?;
            (id, tags)
        };
        // What is left of a name without tags is for a collection to take.
        if tags.is_empty() {
            return Err(Error::NameUnknown(name.clone()));
        }
        for (_, digest) in &tags {
            match self.v1_view_schema1(repository, name, *digest).await {
                Ok(())
                | Err(
                    Error::NotConvertible(_)
                    | Error::LayerUnreadable { .. }
                    | Error::ManifestUnknown(_)
                    | Error::ChainTooDeep,
                ) => {}
                Err(e) => return Err(e),
            }
        }
        let snapshot = self.snapshot()?;
        let mut shown = Vec::with_capacity(tags.len());
        for (tag, digest) in tags {
            shown.extend(stands_for(&snapshot, id, digest)?.map(|image| (tag, image)));
        }
        Ok(shown)
    }

    /// The images of a name that its tags reach, with their checksums where they came with one.
    ///
    /// # Errors
    /// [`Error::NameUnknown`], also where it has no tags.
    pub fn v1_images_of(&self, repository: &RepoKey, name: &RepoName) -> Result<Vec<V1ListedImage>> {
        let snapshot = self.snapshot()?;
        let id = self.known_name(&snapshot, repository, name)?;
        if !has_tags(&snapshot, id)? {
            return Err(Error::NameUnknown(name.clone()));
        }
        images_of(&snapshot, id)
    }

    /// When a tag was set, and the user agent that set it.
    ///
    /// # Errors
    /// [`Error::NameUnknown`], [`Error::TagUnknown`].
    pub fn v1_tag_origin(
        &self,
        repository: &RepoKey,
        name: &RepoName,
        tag: &Tag,
    ) -> Result<(Timestamp, Option<String>)> {
        let snapshot = self.snapshot()?;
        let id = self.known_name(&snapshot, repository, name)?;
        let row = snapshot.get::<Tags>(&(id, tag.clone())).map_err(Error::internal)?;
        let row = row.ok_or_else(|| Error::TagUnknown(tag.clone()))?;
        let mut records = self.log.read(row.seq..row.seq + 1).map_err(Error::internal)?;
        let record = records.next().transpose().map_err(Error::internal)?;
        Ok((row.at, record.and_then(|record| record.origin.user_agent)))
    }

    /// Sets a tag on an image that the caller sees. In a repository that speaks both protocols it is set on the
    /// manifest that the image is converted to.
    ///
    /// # Errors
    /// [`Error::ImageUnknown`], [`Error::ImageExists`] where the name holds another image of an id of the chain,
    /// [`Error::AgainstRule`], [`Error::LayerUnreadable`] and [`Error::NotConvertible`] where the image can't be
    /// converted, and those of a commit.
    pub async fn v1_set_tag(
        &self,
        repository: &RepoKey,
        viewer: Viewer<'_>,
        name: &RepoName,
        tag: &Tag,
        id: &ImageId,
    ) -> Result<()> {
        let viewer = viewer.pushing();
        let viewer = Viewer { name: Some(name).filter(|name| (viewer.may_read)(name)), ..viewer };
        for _ in 0..TRIES {
            let row = self.snapshot()?.get::<Repositories>(repository).map_err(Error::internal)?;
            let version =
                row.ok_or_else(|| Error::RepositoryUnknown(repository.clone()))?.config.docker_api_version;
            // What the caller has just pushed is meant, before what the name holds already.
            let waiting = Viewer { name: None, ..viewer };
            let pushed = super::near(&self.snapshot()?, repository, waiting, id, None)?;
            let eyes = if pushed.is_some() { waiting } else { viewer };
            let image = self.v1_check_image(repository, eyes, id).await?;
            let json = image.image.json;
            let chain = self.v1_chain(repository, viewer, image)?;
            let mut held_in: Vec<RepoName> = Vec::new();
            for found in &chain {
                if !held_in.contains(&found.held_in) {
                    held_in.push(found.held_in.clone());
                }
            }
            let mut brought = Brought::default();
            let conversion = match version {
                DockerApiVersion::V1 => None,
                DockerApiVersion::V2 | DockerApiVersion::Both => {
                    let target = name_id(&self.snapshot()?, repository, name)?;
                    Some(Box::new(self.v1_convert(target, &chain, &mut brought).await?))
                }
            };
            let command = Command::SetImageTag {
                repository: repository.clone(),
                name: name.clone(),
                tag: tag.clone(),
                id: *id,
                json,
                held_in,
                conversion,
            };
            match self.submit_brought(viewer.caller, command, brought).await {
                // It left the waiting room, or its name, since it was looked up: it is somewhere else now. Or what the
                // repository speaks is something else.
                Err(Error::ImageUnknown(_)) => {}
                Err(e) => return Err(e),
                Ok(_) => return self.v1_end_leases(repository, viewer, name, &chain),
            }
        }
        Err(Error::ImageUnknown(*id))
    }

    /// The caller's tag reaches the image: its leases on the chain have done their work, where that was and where it
    /// is now.
    fn v1_end_leases(
        &self,
        repository: &RepoKey,
        viewer: Viewer<'_>,
        name: &RepoName,
        chain: &[V1ImageInfo],
    ) -> Result<()> {
        let target = name_id(&self.snapshot()?, repository, name)?;
        let ended = chain.iter().flat_map(|found| {
            let places = [Some(found.name_id), Some(ANYWHERE), target].into_iter().flatten();
            places.map(|name| (name, found.image.json))
        });
        self.leases.end(ended, &Principal::of(viewer.caller));
        Ok(())
    }

    /// Deletes all tags of a name. What only they reached goes with a collection, and not before a push that was told of it
    /// is over.
    ///
    /// # Errors
    /// [`Error::NameUnknown`] where it has no tags, and those of a commit.
    pub async fn v1_delete_tags(&self, caller: &Caller, repository: &RepoKey, name: &RepoName) -> Result<()> {
        let command = Command::DeleteTags { repository: repository.clone(), name: name.clone() };
        self.ledger.submit(caller, command, Payload::None).await.map(|_| ())
    }

    /// Names that have tags and that `matches`; page `page` of `n` names, counted from 1. `matches` is asked on a blocking
    /// thread, and given what says whether another name has tags, as of the same moment.
    ///
    /// # Errors
    /// [`Error::RepositoryUnknown`], and those of `matches`.
    pub async fn v1_search(
        &self,
        repository: &RepoKey,
        page: usize,
        n: usize,
        mut matches: impl FnMut(&RepoName, HasTags<'_>) -> Result<bool> + Send + 'static,
    ) -> Result<V1Found> {
        let (snapshot, repository) = (self.snapshot()?, repository.clone());
        known_repository(&snapshot, &repository)?;
        blocking(move || {
            let there = |name: &RepoName| {
                name_id(&snapshot, &repository, name)?.map_or(Ok(false), |id| has_tags(&snapshot, id))
            };
            let prefix = prefix::names(&repository);
            let first = (page.saturating_sub(1) as u64).saturating_mul(n as u64);
            let mut found = V1Found { total: 0, names: Vec::new() };
            let mut failed = None;
            snapshot
                .visit::<Names>(&prefix, &prefix_end(&prefix), |(_, name), id| {
                    if name.is_waiting_room() {
                        return true;
                    }
                    match matches(&name, &there).and_then(|matches| Ok(matches && has_tags(&snapshot, id)?)) {
                        Ok(false) => {}
                        Ok(true) => {
                            if found.total >= first && found.names.len() < n {
                                found.names.push(name);
                            }
                            found.total += 1;
                        }
                        Err(e) => failed = Some(e),
                    }
                    failed.is_none()
                })
                .map_err(Error::internal)?;
            failed.map_or(Ok(found), Err)
        })
        .await
    }

    /// Whether a name has tags: what is left of one without is for a collection to take.
    ///
    /// # Errors
    /// Storage errors.
    pub fn has_tags(&self, repository: &RepoKey, name: &RepoName) -> Result<bool> {
        let snapshot = self.snapshot()?;
        name_id(&snapshot, repository, name)?.map_or(Ok(false), |id| has_tags(&snapshot, id))
    }

    /// The digest that a tag points at.
    ///
    /// # Errors
    /// [`Error::NameUnknown`], [`Error::ManifestUnknown`].
    pub fn tag_target(&self, repository: &RepoKey, name: &RepoName, tag: &Tag) -> Result<Digest> {
        let snapshot = self.snapshot()?;
        let id = self.known_name(&snapshot, repository, name)?;
        resolve(&snapshot, id, &Reference::Tag(tag.clone()))
    }
}

/// The images of a name that its tags reach.
pub(crate) fn images_of(snapshot: &Snapshot, name: NameId) -> Result<Vec<V1ListedImage>> {
    let mut images = Vec::new();
    let prefix = prefix::contents(name);
    snapshot
        .visit::<Images>(&prefix, &prefix_end(&prefix), |_, row| {
            images.push(row.image);
            true
        })
        .map_err(Error::internal)?;
    let mut reached = Vec::with_capacity(images.len());
    for V1Image { id, json, checksum, .. } in images {
        let content = snapshot.get::<Contents>(&(name, json)).map_err(Error::internal)?;
        if content.is_some_and(|content| content.state == ContentState::Live) {
            reached.push(V1ListedImage { id, checksum });
        }
    }
    Ok(reached)
}

fn has_tags(snapshot: &Snapshot, name: NameId) -> Result<bool> {
    let row = snapshot.get::<NameUsage>(&name).map_err(Error::internal)?;
    Ok(row.is_some_and(|row| row.usage.tags > 0))
}

/// The image that something a tag points at stands for: itself, what it was remembered to be, or what it will be made
/// into when it is asked for.
fn stands_for(snapshot: &Snapshot, name: NameId, digest: Digest) -> Result<Option<ImageId>> {
    if let Some(row) = image_row(snapshot, (name, digest))? {
        return Ok(Some(row.image.id));
    }
    if let Some(json) = snapshot.get::<Views>(&(name, digest)).map_err(Error::internal)?
        && let Some(row) = image_row(snapshot, (name, json))?
    {
        return Ok(Some(row.image.id));
    }
    let Some((_, row)) = image_manifest(snapshot, name, digest)? else { return Ok(None) };
    // Docker's id of an image is the hash of its config.
    let config = row.config.filter(|config| is_image_config(&config.media_type)).map(|config| config.digest);
    Ok(config.and_then(|config| <[u8; 32]>::try_from(config.hash_bytes()).ok()).map(ImageId::from_bytes))
}

/// An image's manifest: itself, or the one for linux/amd64 that an index lists.
pub(super) fn image_manifest(
    snapshot: &Snapshot,
    name: NameId,
    digest: Digest,
) -> Result<Option<(Digest, supercargo_model::Manifest)>> {
    let manifest = |digest| snapshot.get::<Manifests>(&(name, digest)).map_err(Error::internal);
    let Some(row) = manifest(digest)? else { return Ok(None) };
    if !media_type::is_index(&row.manifest.media_type) {
        return Ok(Some((digest, row.manifest)));
    }
    let platform = |wanted: &str| {
        row.manifest.children.iter().find(|child| {
            child.platform.as_deref().is_some_and(|platform| {
                platform == wanted || platform.strip_prefix(wanted).is_some_and(|rest| rest.starts_with('/'))
            })
        })
    };
    let Some(child) = platform("linux/amd64") else { return Ok(None) };
    let row = manifest(child.digest)?;
    Ok(row.filter(|row| row.manifest.children.is_empty()).map(|row| (child.digest, row.manifest)))
}
