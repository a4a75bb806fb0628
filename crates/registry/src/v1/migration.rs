//! Migration: what V1 clients pushed into one repository becomes what V2 clients pull from another.
//!
//! Tag by tag, each in a command of its own, so that it can be broken off at any moment and begun again: what is done
//! already is found done. What can't be migrated is said, with the reason, and the rest goes on.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::BoxStream;
use futures_util::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use supercargo_eventlog::DockerApiVersion;
use supercargo_model::{Digest, RepoKey, RepoName, Tag};
use supercargo_projections::tables::{Images, Manifests, NameUsage, Tags};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use super::brought::Brought;
use super::{TRIES, V1ImageInfo, Viewer};
use crate::command::{Command, Migration, Outcome};
use crate::reads::name_id;
use crate::registry::{Caller, Registry};
use crate::{Error, Result};

/// Names and tags that are listed at a time.
const PAGE_ENTRIES: usize = 1000;
/// Tags that are on their way at a time: while layers of one are looked into, others are written.
const TAGS_AT_ONCE: usize = 4;
/// How often it is said how far a migration is.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// What is to be migrated.
#[derive(Debug, Clone)]
pub struct MigrationRequest {
    /// The repository that it comes from, of version V1.
    pub from: RepoKey,
    /// The repository that it comes into, which speaks V2.
    pub to: RepoKey,
    /// The name; all names, where there is none.
    pub name: Option<RepoName>,
    /// The tag of that name; all tags, where there is none.
    pub tag: Option<Tag>,
    /// Whether tags are overwritten that no migration has set.
    pub force: bool,
}

/// What became of a tag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MigratedTag {
    /// The name.
    pub name: RepoName,
    /// The tag.
    pub tag: Tag,
    /// What became of it.
    pub outcome: TagMigration,
}

/// What a migration did of one tag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TagMigration {
    /// It points at this manifest from now on.
    Migrated(Digest),
    /// It was migrated before, and nothing has changed since.
    Unchanged(Digest),
    /// It was not, and why.
    Failed(String),
}

/// How many tags were migrated, and how many there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct MigrationProgress {
    /// Tags that there were when it began.
    pub total: u64,
    /// Those that were migrated now.
    pub migrated: u64,
    /// Those that had been before.
    pub unchanged: u64,
    /// Those that could not be.
    pub failed: u64,
}

impl MigrationProgress {
    /// How many tags were looked at.
    pub fn done(&self) -> u64 {
        self.migrated + self.unchanged + self.failed
    }

    fn count(&mut self, outcome: &TagMigration) {
        *match outcome {
            TagMigration::Migrated(_) => &mut self.migrated,
            TagMigration::Unchanged(_) => &mut self.unchanged,
            TagMigration::Failed(_) => &mut self.failed,
        } += 1;
    }
}

/// What became of all tags.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct MigrationReport {
    /// How many.
    pub progress: MigrationProgress,
    /// Those that were migrated now. Of these and of the others as many as [`MIGRATION_LISTED_MAX`].
    pub migrated: Vec<MigratedTag>,
    /// Those that had been before.
    pub unchanged: Vec<MigratedTag>,
    /// Those that could not be.
    pub failed: Vec<MigratedTag>,
}

/// How many tags of each outcome a report lists; all of them are counted.
pub const MIGRATION_LISTED_MAX: usize = 10_000;

impl MigrationReport {
    fn add(&mut self, tag: MigratedTag, progress: MigrationProgress) {
        self.progress = progress;
        let list = match tag.outcome {
            TagMigration::Migrated(_) => &mut self.migrated,
            TagMigration::Unchanged(_) => &mut self.unchanged,
            TagMigration::Failed(_) => &mut self.failed,
        };
        if list.len() < MIGRATION_LISTED_MAX {
            list.push(tag);
        }
    }
}

/// How far a migration is, or what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MigrationStep {
    /// It goes on.
    Progress(MigrationProgress),
    /// It is over.
    Finished(MigrationReport),
}

/// Whether the caller may have a name migrated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MayMigrate {
    /// It may.
    Yes,
    /// It may not write it where it would come.
    No,
    /// It is not even to know that there is such a name.
    Hidden,
}

impl Registry {
    /// Migrates while it is asked what comes next, and says now and then how far it is. Whoever asks no more, or goes away,
    /// stops it between two tags; so does the registry's end. The last is the report, or what stopped it.
    pub fn migrating(
        self: &Arc<Registry>,
        caller: Caller,
        request: MigrationRequest,
        may: impl Fn(&RepoName) -> MayMigrate + Send + Sync + 'static,
    ) -> BoxStream<'static, Result<MigrationStep>> {
        let registry = Arc::clone(self);
        let progress = watch::Sender::new(MigrationProgress::default());
        let (so_far, seen) = (progress.subscribe(), progress);
        let migrating = async move {
            let mut report = MigrationReport::default();
            let each = |tag, progress| {
                report.add(tag, progress);
                seen.send_replace(progress);
            };
            tokio::select! {
                migrated = registry.migrate(&caller, &request, may, each) => report.progress = migrated?,
                () = registry.closing() => return Err(Error::Unavailable),
            }
            Ok(report)
        };
        let mut ticks = tokio::time::interval(PROGRESS_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let begun = Some((Box::pin(migrating), so_far, ticks));
        let steps = stream::unfold(begun, |running| async move {
            let (mut migrating, so_far, mut ticks) = running?;
            tokio::select! {
                biased;
                report = &mut migrating => Some((report.map(MigrationStep::Finished), None)),
                _ = ticks.tick() => {
                    let progress = *so_far.borrow();
                    Some((Ok(MigrationStep::Progress(progress)), Some((migrating, so_far, ticks))))
                }
            }
        });
        steps.boxed()
    }

    /// Migrates, and tells `each` what became of a tag and how far it is. Names that the caller may not know of are passed
    /// over.
    ///
    /// # Errors
    /// [`Error::RepositoryUnknown`], [`Error::WrongProtocol`], [`Error::NameUnknown`], [`Error::TagUnknown`],
    /// [`Error::Invalid`] for a tag without a name; and what concerns more than one tag: those of a commit. What was done
    /// until then stays done.
    pub async fn migrate(
        &self,
        caller: &Caller,
        request: &MigrationRequest,
        may: impl Fn(&RepoName) -> MayMigrate,
        mut each: impl FnMut(MigratedTag, MigrationProgress),
    ) -> Result<MigrationProgress> {
        self.check_protocols(request)?;
        let mut progress =
            MigrationProgress { total: self.tags_to_migrate(request, &may)?, ..Default::default() };
        let mut after: Option<RepoName> = None;
        loop {
            let (names, more) = match &request.name {
                Some(name) => (vec![name.clone()], false),
                None => {
                    let page = self.names(&request.from, after.as_ref(), PAGE_ENTRIES)?;
                    let tagged = page.entries.iter().filter(|entry| entry.usage.tags > 0);
                    after = page.entries.last().map(|entry| entry.name.clone());
                    (tagged.map(|entry| entry.name.clone()).collect(), page.more)
                }
            };
            for name in names {
                let may = may(&name);
                if may == MayMigrate::Hidden {
                    continue;
                }
                self.migrate_name(caller, request, &name, may, &mut progress, &mut each).await?;
            }
            if !more {
                return Ok(progress);
            }
        }
    }

    async fn migrate_name(
        &self,
        caller: &Caller,
        request: &MigrationRequest,
        name: &RepoName,
        may: MayMigrate,
        progress: &mut MigrationProgress,
        each: &mut impl FnMut(MigratedTag, MigrationProgress),
    ) -> Result<()> {
        let mut after: Option<Tag> = None;
        loop {
            let (tags, more) = match &request.tag {
                Some(tag) => (vec![tag.clone()], false),
                None => {
                    let listed =
                        self.tags(&request.from, name, after.as_ref().map(Tag::as_str), PAGE_ENTRIES);
                    let page = match listed {
                        // Gone since it was listed.
                        Err(Error::NameUnknown(_)) if request.name.is_none() => return Ok(()),
                        page => page?,
                    };
                    after = page.entries.last().cloned();
                    (page.entries, page.more)
                }
            };
            let mut migrating = stream::iter(tags)
                .map(|tag| async move {
                    let outcome = match may {
                        MayMigrate::Yes => self.migrate_tag(caller, request, name, &tag).await,
                        MayMigrate::No | MayMigrate::Hidden => Ok(Some(TagMigration::Failed(format!(
                            "you may not push to {name} in repository {}",
                            request.to
                        )))),
                    };
                    outcome.map(|outcome| outcome.map(|outcome| (tag, outcome)))
                })
                .buffered(TAGS_AT_ONCE);
            while let Some(migrated) = migrating.next().await {
                let Some((tag, outcome)) = migrated? else { continue };
                progress.count(&outcome);
                each(MigratedTag { name: name.clone(), tag, outcome }, *progress);
            }
            if !more {
                return Ok(());
            }
        }
    }

    /// Migrates a tag. `None`: it is gone since it was listed.
    async fn migrate_tag(
        &self,
        caller: &Caller,
        request: &MigrationRequest,
        name: &RepoName,
        tag: &Tag,
    ) -> Result<Option<TagMigration>> {
        for _ in 0..TRIES {
            let migrated = self.migrate_tag_as_it_is(caller, request, name, tag).await;
            return match migrated {
                // It moved meanwhile.
                Err(Error::Precondition(_)) => continue,
                Err(Error::TagUnknown(_) | Error::NameUnknown(_)) if request.tag.is_none() => Ok(None),
                // Says nothing of the other tags.
                Err(
                    error @ (Error::ImageUnknown(_)
                    | Error::ImageExists(_)
                    | Error::ImageJson(_)
                    | Error::ChainTooDeep
                    | Error::LayerUnreadable { .. }
                    | Error::NotConvertible(_)
                    | Error::ManifestInvalid(_)
                    | Error::AgainstRule(_)
                    | Error::TagInTheWay { .. }
                    | Error::Invalid(_)),
                ) => Ok(Some(TagMigration::Failed(error.to_string()))),
                Err(error) => Err(error),
                Ok(outcome) => Ok(Some(outcome)),
            };
        }
        Ok(Some(TagMigration::Failed("the tag moved over and over while it was migrated".to_owned())))
    }

    async fn migrate_tag_as_it_is(
        &self,
        caller: &Caller,
        request: &MigrationRequest,
        name: &RepoName,
        tag: &Tag,
    ) -> Result<TagMigration> {
        let MigrationRequest { from, to, force, .. } = request;
        let (top, target) = {
            let snapshot = self.snapshot()?;
            let id = self.known_name(&snapshot, from, name)?;
            let row = snapshot.get::<Tags>(&(id, tag.clone())).map_err(Error::internal)?;
            let digest = row.ok_or_else(|| Error::TagUnknown(tag.clone()))?.digest;
            let Some(row) = snapshot.get::<Images>(&(id, digest)).map_err(Error::internal)? else {
                let manifest = snapshot.get::<Manifests>(&(id, digest)).map_err(Error::internal)?;
                return Err(Error::NotConvertible(match manifest {
                    Some(_) => {
                        format!("tag {tag} points at a manifest, not at a V1 image: push or promote it")
                    }
                    None => format!("what tag {tag} points at is not here any more"),
                }));
            };
            (super::info(id, name.clone(), row), name_id(&snapshot, to, name)?)
        };
        let nowhere = |_: &RepoName| false;
        // A name holds all that its tags reach.
        let viewer = Viewer { caller, name: Some(name), may_read: &nowhere, may_write: &nowhere };
        let json = top.image.json;
        let chain: Vec<V1ImageInfo> = self.v1_chain(from, viewer, top)?;
        let mut brought = Brought::default();
        let conversion = self.v1_convert(target, &chain, &mut brought).await?;
        let migration = Migration {
            from: from.clone(),
            name: name.clone(),
            tag: tag.clone(),
            json,
            layers: chain.iter().map(|found| found.image.layer).collect(),
            to: to.clone(),
            conversion,
            force: *force,
        };
        match self.submit_brought(caller, Command::Migrate(Box::new(migration)), brought).await? {
            Outcome::Migrated { digest, changed: true } => Ok(TagMigration::Migrated(digest)),
            Outcome::Migrated { digest, changed: false } => Ok(TagMigration::Unchanged(digest)),
            other => Err(Error::unexpected(&other)),
        }
    }

    /// Refuses what could not be migrated at all, before anything is.
    fn check_protocols(&self, request: &MigrationRequest) -> Result<()> {
        let MigrationRequest { from, to, name, tag, .. } = request;
        if tag.is_some() && name.is_none() {
            return Err(Error::Invalid("a tag without the name that it is of: say which".to_owned()));
        }
        let version = |key: &RepoKey| {
            let hosted = self.hosted()?.get(key).ok_or_else(|| Error::RepositoryUnknown(key.clone()));
            hosted.map(|hosted| hosted.docker_api_version)
        };
        let wrong = |repository: &RepoKey, version, why| {
            Err(Error::WrongProtocol { repository: repository.clone(), version, why })
        };
        match (version(from)?, version(to)?) {
            (DockerApiVersion::V1, DockerApiVersion::V1) => {
                wrong(to, DockerApiVersion::V1, "migration is into a repository of version V2")
            }
            (DockerApiVersion::V1, _) => Ok(()),
            (other, _) => wrong(from, other, "only what a repository of version V1 holds is migrated"),
        }
    }

    /// How many tags there are to migrate. Those of names that the caller may not know of are not counted.
    fn tags_to_migrate(
        &self,
        request: &MigrationRequest,
        may: impl Fn(&RepoName) -> MayMigrate,
    ) -> Result<u64> {
        let MigrationRequest { from, name, tag, .. } = request;
        let Some(name) = name else {
            let (mut total, mut after): (u64, Option<RepoName>) = (0, None);
            loop {
                let page = self.names(from, after.as_ref(), PAGE_ENTRIES)?;
                let known = page.entries.iter().filter(|entry| may(&entry.name) != MayMigrate::Hidden);
                total += known.map(|entry| entry.usage.tags).sum::<u64>();
                match page.entries.into_iter().next_back() {
                    Some(last) if page.more => after = Some(last.name),
                    _ => return Ok(total),
                }
            }
        };
        let snapshot = self.snapshot()?;
        let id = self.known_name(&snapshot, from, name)?;
        let row = snapshot.get::<NameUsage>(&id).map_err(Error::internal)?;
        match row.map_or(0, |row| row.usage.tags) {
            0 => Err(Error::NameUnknown(name.clone())),
            tags => Ok(if tag.is_some() { 1 } else { tags }),
        }
    }
}
