//! Repositories, tags and contents as people look at them: listings, histories, inspection, properties.

use serde::{Deserialize, Serialize};

use supercargo_eventlog::{Actor, RepositoryConfig, V1Image};
use supercargo_model::{
    Descriptor, Digest, ImageId, Reference, RepoKey, RepoName, Tag, Timestamp, media_type,
};
use supercargo_projections::prefix_end;
use supercargo_projections::tables::{
    Blobs, ContentRow, Contents, Images, Manifests, NameUsage, Names, ReferenceKind, References, Referrers,
    Repositories, RepositoryUsage, Source, TagChange, TagHistory, TagRow, Tags, Usage, UsageByRepository,
    prefix,
};

use crate::command::Command;
use crate::ledger::Payload;
use crate::reads::Page;
use crate::registry::{Caller, Registry};
use crate::{Error, RepositoryChange, Result};

/// A repository as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepositoryInfo {
    /// Its key.
    pub key: RepoKey,
    /// Its settings.
    pub config: RepositoryConfig,
    /// When it was created.
    pub created_at: Timestamp,
    /// What it holds.
    pub holds: RepositoryUsage,
}

/// A name as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NameInfo {
    /// The name.
    pub name: RepoName,
    /// What it holds.
    pub usage: Usage,
}

/// A tag as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TagInfo {
    /// The tag.
    pub tag: Tag,
    /// The manifest it points to.
    pub digest: Digest,
    /// That manifest's media type.
    pub media_type: Option<String>,
    /// The V1 image that it points to, or that the manifest is known to be to V1 clients.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageId>,
    /// Since when.
    pub at: Timestamp,
    /// Who set it.
    pub by: Actor,
    /// The record that set it.
    pub seq: u64,
}

/// One change of a tag, as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TagChangeInfo {
    /// The record of the change.
    pub seq: u64,
    /// The manifest it points to from then on; none where it was deleted.
    pub digest: Option<Digest>,
    /// The manifest it pointed to before.
    pub previous: Option<Digest>,
    /// The V1 image that it points to from then on, or that the manifest is known to be to V1 clients, while that is
    /// here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageId>,
    /// When.
    pub at: Timestamp,
    /// Who did it.
    pub by: Actor,
}

/// All that is known of a manifest or blob in a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inspection {
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Whether it is here as a blob.
    pub blob: bool,
    /// What is read from it, where it is here as a manifest.
    pub manifest: Option<InspectedManifest>,
    /// The V1 image whose JSON it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<V1Image>,
    /// The tags on it. At most [`INSPECTED_MAX`].
    pub tags: Vec<Tag>,
    /// The manifests and images that hold it, and as what. At most [`INSPECTED_MAX`].
    pub listed_by: Vec<(Digest, ReferenceKind)>,
    /// The manifests that name it as their subject. At most [`INSPECTED_MAX`].
    pub referrers: Vec<Digest>,
    /// Whether a tag reaches it through any edge.
    pub in_use: bool,
    /// How many names hold its bytes, over all repositories. None for whom that is not to be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_by_names: Option<u32>,
    /// When its bytes were first stored. None also for whom that is not to be told.
    pub first_seen: Option<Timestamp>,
    /// Whether a scrub found its bytes damaged.
    pub rotten: bool,
}

/// What is read from a manifest, as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InspectedManifest {
    /// The media type it was pushed as.
    pub media_type: String,
    /// What kind of artifact it says it is.
    pub artifact_type: Option<String>,
    /// Its configuration.
    pub config: Option<Descriptor>,
    /// Its layers.
    pub layers: Vec<Descriptor>,
    /// The manifests that it lists.
    pub children: Vec<Descriptor>,
    /// The manifest that it says something about.
    pub subject: Option<Digest>,
    /// Its annotations.
    pub annotations: Vec<(String, String)>,
    /// When it was pushed.
    pub at: Timestamp,
    /// Who pushed it.
    pub by: Actor,
    /// The record that says so.
    pub seq: u64,
}

/// How many of each kind an inspection lists.
pub const INSPECTED_MAX: usize = 1000;

impl Registry {
    /// All repositories, by key.
    ///
    /// # Errors
    /// Storage errors.
    pub fn repositories(&self) -> Result<Vec<RepositoryInfo>> {
        let snapshot = self.snapshot()?;
        let mut found = Vec::new();
        snapshot
            .visit::<Repositories>(
                &prefix::repositories(),
                &prefix_end(&prefix::repositories()),
                |key, row| {
                    found.push((key, row));
                    true
                },
            )
            .map_err(Error::internal)?;
        found
            .into_iter()
            .map(|(key, row)| {
                let holds =
                    snapshot.get::<UsageByRepository>(&key).map_err(Error::internal)?.unwrap_or_default();
                Ok(RepositoryInfo { key, config: row.config, created_at: row.created_at, holds })
            })
            .collect()
    }

    /// One repository.
    ///
    /// # Errors
    /// [`Error::RepositoryUnknown`].
    pub fn repository(&self, key: &RepoKey) -> Result<RepositoryInfo> {
        let snapshot = self.snapshot()?;
        let row = snapshot.get::<Repositories>(key).map_err(Error::internal)?;
        let row = row.ok_or_else(|| Error::RepositoryUnknown(key.clone()))?;
        let holds = snapshot.get::<UsageByRepository>(key).map_err(Error::internal)?.unwrap_or_default();
        Ok(RepositoryInfo { key: key.clone(), config: row.config, created_at: row.created_at, holds })
    }

    /// Names of a repository after `last`, at most `n`, with what they hold.
    ///
    /// # Errors
    /// [`Error::RepositoryUnknown`].
    pub fn names(&self, key: &RepoKey, last: Option<&RepoName>, n: usize) -> Result<Page<NameInfo>> {
        self.repository(key)?;
        let snapshot = self.snapshot()?;
        let prefix = prefix::names(key);
        let mut start = prefix.clone();
        if let Some(last) = last {
            start.extend_from_slice(last.as_str().as_bytes());
            start.push(1);
        }
        let page = crate::reads::page::<Names, _>(&snapshot, &prefix, &start, n, |(_, name), id| {
            Some((name, id)).filter(|(name, _)| !name.is_waiting_room())
        })?;
        let entries = page.entries.into_iter().map(|(name, id)| {
            let row = snapshot.get::<NameUsage>(&id).map_err(Error::internal)?;
            Ok(NameInfo { name, usage: row.map(|row| row.usage).unwrap_or_default() })
        });
        Ok(Page { entries: entries.collect::<Result<_>>()?, more: page.more })
    }

    /// Creates a repository.
    ///
    /// # Errors
    /// [`Error::RepositoryExists`], and those of a commit.
    pub async fn create_repository(
        &self,
        caller: &Caller,
        repository: &RepoKey,
        config: RepositoryConfig,
    ) -> Result<()> {
        let command = Command::CreateRepository { repository: repository.clone(), config };
        self.ledger.submit(caller, command, Payload::None).await.map(|_| ())
    }

    /// Changes some of a repository's settings: of those that it has when that is decided, so that of two changes at
    /// the same time none is lost.
    ///
    /// # Errors
    /// [`Error::RepositoryUnknown`]; [`Error::RepositoryNotEmpty`] where the Docker API version would change;
    /// those of a commit.
    pub async fn configure_repository(
        &self,
        caller: &Caller,
        repository: &RepoKey,
        change: RepositoryChange,
    ) -> Result<()> {
        let change = Box::new(change);
        let command = Command::ConfigureRepository { repository: repository.clone(), change };
        self.ledger.submit(caller, command, Payload::None).await.map(|_| ())
    }

    /// Removes a repository; with `force`, also one that holds something.
    ///
    /// # Errors
    /// [`Error::RepositoryUnknown`], [`Error::RepositoryNotEmpty`], and those of a commit.
    pub async fn remove_repository(&self, caller: &Caller, repository: &RepoKey, force: bool) -> Result<()> {
        let command = Command::RemoveRepository { repository: repository.clone(), force };
        self.ledger.submit(caller, command, Payload::None).await.map(|_| ())
    }

    /// Tags after `last`, at most `n`, with where they point.
    ///
    /// # Errors
    /// [`Error::NameUnknown`], [`Error::RepositoryUnknown`].
    pub fn tag_infos(
        &self,
        repository: &RepoKey,
        name: &RepoName,
        last: Option<&Tag>,
        n: usize,
    ) -> Result<Page<TagInfo>> {
        let snapshot = self.snapshot()?;
        let id = self.known_name(&snapshot, repository, name)?;
        let prefix = prefix::tags(id);
        let mut start = prefix.clone();
        if let Some(last) = last {
            start.extend_from_slice(last.as_str().as_bytes());
            start.push(1);
        }
        let page =
            crate::reads::page::<Tags, _>(&snapshot, &prefix, &start, n, |(_, tag), row| Some((tag, row)))?;
        let entries = page.entries.into_iter().map(|(tag, row)| {
            let manifest = snapshot.get::<Manifests>(&(id, row.digest)).map_err(Error::internal)?;
            let image = crate::v1::image_of(&snapshot, id, &row.digest)?;
            let media_type = manifest.map(|row| row.manifest.media_type);
            let media_type = media_type.or_else(|| image.map(|_| media_type::DOCKER_V1_IMAGE.to_owned()));
            let TagRow { digest, at, by, seq, .. } = row;
            Ok(TagInfo { tag, digest, media_type, image, at, by, seq })
        });
        Ok(Page { entries: entries.collect::<Result<_>>()?, more: page.more })
    }

    /// Every change of a tag, oldest first; also of one that is gone, in a name that is gone.
    ///
    /// # Errors
    /// [`Error::ManifestUnknown`] where there never was such a tag.
    pub fn tag_history(
        &self,
        repository: &RepoKey,
        name: &RepoName,
        tag: &Tag,
    ) -> Result<Vec<TagChangeInfo>> {
        use supercargo_projections::tables::NameIds;
        let snapshot = self.snapshot()?;
        let unknown = || Error::ManifestUnknown(tag.to_string());
        let id = snapshot.get::<NameIds>(&(repository.clone(), name.clone())).map_err(Error::internal)?;
        let id = id.ok_or_else(unknown)?;
        let prefix = prefix::tag_history(id, tag);
        let page = crate::reads::page::<TagHistory, _>(
            &snapshot,
            &prefix,
            &prefix,
            usize::MAX,
            |(_, _, seq), row: TagChange| {
                Some(TagChangeInfo {
                    seq,
                    digest: row.digest,
                    previous: row.previous,
                    image: None,
                    at: row.at,
                    by: row.by,
                })
            },
        )?;
        let mut changes = page.entries;
        for change in &mut changes {
            if let Some(digest) = &change.digest {
                change.image = crate::v1::image_of(&snapshot, id, digest)?;
            }
        }
        if changes.is_empty() { Err(unknown()) } else { Ok(changes) }
    }

    /// All that is known of a manifest or blob in a name.
    ///
    /// # Errors
    /// [`Error::ManifestUnknown`].
    pub fn inspect(
        &self,
        repository: &RepoKey,
        name: &RepoName,
        reference: &Reference,
    ) -> Result<Inspection> {
        let snapshot = self.snapshot()?;
        let id = self.known_name(&snapshot, repository, name)?;
        let unknown = || Error::ManifestUnknown(reference.to_string());
        let digest = crate::reads::resolve(&snapshot, id, reference)?;
        let content = snapshot.get::<Contents>(&(id, digest)).map_err(Error::internal)?;
        let content = content.filter(ContentRow::present).ok_or_else(unknown)?;
        let manifest = snapshot.get::<Manifests>(&(id, digest)).map_err(Error::internal)?;
        let image = snapshot.get::<Images>(&(id, digest)).map_err(Error::internal)?;
        let blob = snapshot.get::<Blobs>(&digest).map_err(Error::internal)?;
        let references = prefix::references(id, &digest);
        let (mut tags, mut listed_by) = (Vec::new(), Vec::new());
        crate::reads::page::<References, ()>(
            &snapshot,
            &references,
            &references,
            INSPECTED_MAX,
            |(_, _, source), kind| {
                match source {
                    Source::Tag(tag) if tags.len() < INSPECTED_MAX => tags.push(tag),
                    Source::Manifest(manifest) if listed_by.len() < INSPECTED_MAX => {
                        listed_by.push((manifest, kind));
                    }
                    _ => return Some(()),
                }
                None
            },
        )?;
        let prefix = prefix::referrers(id, &digest);
        let referrers = crate::reads::page::<Referrers, _>(
            &snapshot,
            &prefix,
            &prefix,
            INSPECTED_MAX,
            |(_, _, referrer), ()| Some(referrer),
        )?;
        Ok(Inspection {
            digest,
            size: content.size,
            blob: content.blob,
            manifest: manifest.map(|row| InspectedManifest {
                media_type: row.manifest.media_type,
                artifact_type: row.manifest.artifact_type,
                config: row.manifest.config,
                layers: row.manifest.layers,
                children: row.manifest.children,
                subject: row.manifest.subject,
                annotations: row.manifest.annotations,
                at: row.at,
                by: row.by,
                seq: row.seq,
            }),
            image: image.map(|row| row.image),
            tags,
            listed_by,
            referrers: referrers.entries,
            in_use: content.reached(),
            held_by_names: Some(blob.map_or(0, |blob| blob.holders)),
            first_seen: blob.map(|blob| blob.first_seen),
            rotten: blob.is_some_and(|blob| blob.rotten),
        })
    }
}
