//! Repositories and whole names: created, configured, removed.

use supercargo_eventlog::{DockerApiVersion, Event, RepositoryConfig};
use supercargo_model::tree::TreePath;
use supercargo_model::{RepoKey, RepoName, Tag, limits};
use supercargo_projections::Rows;
use supercargo_projections::tables::{Contents, Images, NameUsage, Names, Repositories, Tags, prefix};

use super::{manifests, name_id, repository};
use crate::command::Decision;
use crate::{Error, RepositoryChange, Result};

pub(super) fn create(view: &mut impl Rows, key: &RepoKey, config: &RepositoryConfig) -> Result<Decision> {
    if view.row::<Repositories>(key).is_some() {
        return Err(Error::RepositoryExists(key.clone()));
    }
    check_config(view, key, config)?;
    Ok(Decision::done(vec![Event::RepositoryCreated { repository: key.clone(), config: config.clone() }]))
}

/// Refuses settings that would cost too much or contradict another repository's. Rules are looked at with every push.
fn check_config(view: &mut impl Rows, key: &RepoKey, config: &RepositoryConfig) -> Result<()> {
    let patterns = config.rules.patterns() + config.includes.len() + config.excludes.len();
    if patterns > limits::RULE_PATTERNS_MAX {
        return Err(Error::Invalid(format!(
            "the rules have {patterns} patterns, and {} are the most: say more with each, as `**` can",
            limits::RULE_PATTERNS_MAX
        )));
    }
    let kept: usize = config.attributes.iter().map(|(name, value)| name.len() + value.len()).sum();
    if kept > limits::REPOSITORY_ATTRIBUTES_BYTES_MAX {
        return Err(Error::Invalid(format!(
            "the settings that mean nothing here have {kept} bytes, and {} are the most that are kept",
            limits::REPOSITORY_ATTRIBUTES_BYTES_MAX
        )));
    }
    // A port is one repository's: else nobody knew which was meant.
    if let Some(port) = config.docker_port {
        let all = view.scan_prefix::<Repositories>(&prefix::repositories(), None, usize::MAX);
        let taken = all.into_iter().find(|(other, row)| other != key && row.config.docker_port == Some(port));
        if let Some((other, _)) = taken {
            return Err(Error::Invalid(format!(
                "port {port} is repository {other}'s already: choose another"
            )));
        }
    }
    Ok(())
}

pub(super) fn configure(view: &mut impl Rows, key: &RepoKey, change: &RepositoryChange) -> Result<Decision> {
    let known = repository(view, key)?.config;
    let config = change.clone().apply(known.clone());
    if known == config {
        return Ok(Decision::done(Vec::new()));
    }
    check_config(view, key, &config)?;
    // Tags of a repository that speaks V1 alone point at images, and those of the others at manifests, which can be
    // shown as images at any time.
    if known.docker_api_version == DockerApiVersion::V1
        && config.docker_api_version != DockerApiVersion::V1
        && let Some((name, tag)) = tag_on_image(view, key)
    {
        return Err(Error::TagsPointAtImages { repository: key.clone(), name, tag });
    }
    Ok(Decision::done(vec![Event::RepositoryConfigured { repository: key.clone(), config }]))
}

/// The first tag of a repository that points at an image.
fn tag_on_image(view: &mut impl Rows, key: &RepoKey) -> Option<(RepoName, Tag)> {
    let names = view.scan_prefix::<Names>(&prefix::names(key), None, usize::MAX);
    names.into_iter().filter(|((_, name), _)| !name.is_waiting_room()).find_map(|((_, name), id)| {
        // Names without images, which may have many tags, are not looked through.
        view.row::<NameUsage>(&id).filter(|row| row.usage.images > 0)?;
        let tags = view.scan_prefix::<Tags>(&prefix::tags(id), None, usize::MAX);
        let mut tags = tags.into_iter();
        tags.find(|(_, row)| view.row::<Images>(&(id, row.digest)).is_some()).map(|((_, tag), _)| (name, tag))
    })
}

pub(super) fn remove(view: &mut impl Rows, key: &RepoKey, force: bool) -> Result<Decision> {
    repository(view, key)?;
    let names = view.scan_prefix::<Names>(&prefix::names(key), None, usize::MAX);
    let held = names.iter().filter(|((_, name), _)| !name.is_waiting_room()).count() as u64;
    if held > 0 && !force {
        return Err(Error::RepositoryNotEmpty { repository: key.clone(), names: held });
    }
    let mut events = Vec::new();
    for ((_, name), _) in names {
        empty_name(view, key, &name, &mut events);
    }
    // Another of this key has none of its folders, and nothing of what was said of them.
    events.extend(super::tree::pruned(view, key, &TreePath::root(), |_| true));
    events.push(Event::RepositoryRemoved { repository: key.clone() });
    Ok(Decision::done(events))
}

pub(super) fn delete_name(view: &mut impl Rows, key: &RepoKey, name: &RepoName) -> Result<Decision> {
    repository(view, key)?;
    if name_id(view, key, name).is_none() {
        return Err(Error::NameUnknown(name.clone()));
    }
    let mut events = Vec::new();
    empty_name(view, key, name, &mut events);
    Ok(Decision::done(events))
}

/// Deletes all that a name holds, thing by thing, so that each is found in the log by its own name.
fn empty_name(view: &mut impl Rows, key: &RepoKey, name: &RepoName, events: &mut Vec<Event>) {
    let Some(id) = name_id(view, key, name) else { return };
    for ((_, digest), content) in view.scan_prefix::<Contents>(&prefix::contents(id), None, usize::MAX) {
        if content.manifest {
            events.extend(manifests::delete_by_digest(view, key, name, id, digest));
        }
        if content.image
            && let Some(row) = view.row::<Images>(&(id, digest))
        {
            events.extend(manifests::tags_on_deleted(view, key, name, id, digest));
            let (repository, name, id) = (key.clone(), name.clone(), row.image.id);
            events.push(Event::V1ImageDeleted { repository, name, id, digest });
        }
        if content.blob {
            events.push(Event::BlobDeleted { repository: key.clone(), name: name.clone(), digest });
        }
    }
    events.push(Event::RepositoryNameDeleted { repository: key.clone(), name: name.clone() });
}
