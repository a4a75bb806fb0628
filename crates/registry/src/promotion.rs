//! Promotion as whoever asks for it sees it: from which names, and what came of it.

use supercargo_eventlog::DockerApiVersion;
use supercargo_model::v1::V1Name;
use supercargo_model::{RepoKey, RepoName, Tag};
use supercargo_projections::tables::{NameUsage, Names, prefix};

use crate::command::{Command, Outcome, PromotedTag, Promotion};
use crate::ledger::Payload;
use crate::registry::{Caller, Registry};
use crate::tree::Reach;
use crate::{Error, Result};

/// What somebody wants to be promoted of a repository.
#[derive(Debug, Clone, Default)]
pub struct PromotionWish {
    /// The name that it comes from; all names, where there is none.
    pub name: Option<RepoName>,
    /// The name that it comes into; the same, where there is none.
    pub to_name: Option<RepoName>,
    /// The tag of the name; all tags, where there is none.
    pub tag: Option<Tag>,
    /// What the tag is called there; the same, where there is none.
    pub to_tag: Option<Tag>,
}

/// What is promoted.
#[derive(Debug, Clone)]
pub struct ToPromote {
    /// The names that tags come from, and those that they come into.
    pub names: Vec<(RepoName, RepoName)>,
    /// The one tag that comes, and what it is called there; else all.
    pub tag: Option<(Tag, Tag)>,
    /// The names that they come into of which tags may be overwritten; all, unless something else is said.
    pub overwriting: Reach,
}

impl Registry {
    /// Tags come into other names with all that they reach: manifests with what they list and what refers to them, V1 images
    /// with those that they were made from, and the properties of both. All of it at once, or nothing. No bytes are copied.
    ///
    /// `copy`: whether they also stay where they are.
    ///
    /// # Errors
    /// [`Error::RepositoryUnknown`], [`Error::NameUnknown`], [`Error::TagUnknown`]; [`Error::ProtocolsDiffer`];
    /// [`Error::Invalid`] where something would come where it is, or very much at once; [`Error::ImageExists`],
    /// [`Error::AgainstRule`]; [`Error::TagForbidden`]; [`Error::ManifestBlobUnknown`] where the source is not whole; those of a commit.
    pub async fn promote(
        &self,
        caller: &Caller,
        (from, to): (&RepoKey, &RepoKey),
        ToPromote { names, tag, overwriting }: ToPromote,
        copy: bool,
    ) -> Result<Vec<PromotedTag>> {
        let promotion = Promotion { from: from.clone(), to: to.clone(), names, tag, copy, overwriting };
        match self.ledger.submit(caller, Command::Promote(promotion), Payload::None).await? {
            Outcome::Promoted(tags) => Ok(tags),
            other => Err(Error::unexpected(&other)),
        }
    }

    /// What a promotion is of: the names, each with the one that it comes into, and the tag of a single one. Names that
    /// whoever asks does not see are as good as not there.
    ///
    /// # Errors
    /// [`Error::RepositoryUnknown`]; [`Error::Invalid`] for what can't be meant.
    pub fn to_promote(
        &self,
        from: &RepoKey,
        wish: PromotionWish,
        sees: impl Fn(&RepoName) -> bool,
    ) -> Result<ToPromote> {
        let refuse = |why: &str| Err(Error::Invalid(why.to_owned()));
        let PromotionWish { name, to_name, tag, to_tag } = wish;
        let tag = match (&name, tag, to_tag) {
            (Some(_), Some(tag), to_tag) => Some((tag.clone(), to_tag.unwrap_or(tag))),
            (_, None, None) => None,
            (None, Some(_), _) => return refuse("a tag goes with a name: say of which it is"),
            (_, None, Some(_)) => {
                return refuse("all tags can't come into one tag: say which is to be called so");
            }
        };
        let names = match (name, to_name) {
            (Some(name), to_name) => {
                let name = self.name_meant(from, &name, &sees)?;
                vec![(name.clone(), to_name.unwrap_or(name))]
            }
            (None, Some(_)) => return refuse("the names of a whole repository can't all come into one name"),
            (None, None) => {
                let names = self.tagged_names(from)?.into_iter().filter(sees);
                names.map(|name| (name.clone(), name)).collect()
            }
        };
        Ok(ToPromote { names, tag, overwriting: Reach::all() })
    }

    /// The names of a repository that have tags, in order.
    fn tagged_names(&self, repository: &RepoKey) -> Result<Vec<RepoName>> {
        let snapshot = self.snapshot()?;
        crate::reads::known_repository(&snapshot, repository)?;
        let prefix = prefix::names(repository);
        let page =
            crate::reads::page::<Names, _>(&snapshot, &prefix, &prefix, usize::MAX, |(_, name), id| {
                Some((name, id)).filter(|(name, _)| !name.is_waiting_room())
            })?;
        let mut tagged = Vec::new();
        for (name, id) in page.entries {
            let row = snapshot.get::<NameUsage>(&id).map_err(Error::internal)?;
            tagged.extend(row.filter(|row| row.usage.tags > 0).map(|_| name));
        }
        Ok(tagged)
    }

    /// The name that is meant where a repository that V1 clients use is asked for one: `x` and `library/x` are the same to
    /// them. One that whoever asks does not see is not meant where the other is.
    ///
    /// # Errors
    /// [`Error::RepositoryUnknown`].
    pub fn name_meant(
        &self,
        repository: &RepoKey,
        name: &RepoName,
        sees: impl Fn(&RepoName) -> bool,
    ) -> Result<RepoName> {
        let hosted = self.hosted()?.get(repository);
        match hosted.ok_or_else(|| Error::RepositoryUnknown(repository.clone()))?.docker_api_version {
            DockerApiVersion::V2 => Ok(name.clone()),
            DockerApiVersion::Both if sees(name) && self.has_tags(repository, name)? => Ok(name.clone()),
            DockerApiVersion::V1 | DockerApiVersion::Both => {
                V1Name::of(name).resolve(sees, |name| self.has_tags(repository, name))
            }
        }
    }
}
