//! Manifests and tags: pushed, moved, deleted.

use std::collections::HashSet;

use supercargo_eventlog::Event;
use supercargo_model::{Digest, Manifest, Reference, RepoKey, RepoName, Tag, media_type, tree};
use supercargo_projections::Rows;
use supercargo_projections::tables::{
    Blobs, ConfigLabels, ContentState, Contents, Manifests, NameId, References, Source, Tags, Wait, prefix,
};

use super::{name_id, repository};
use crate::command::Decision;
use crate::condition::Condition;
use crate::rules::{self, Room};
use crate::{Error, Result};

/// Where a manifest is in the tree, in the folder of a tag or of its own.
pub(super) fn manifest_file(folder: &str, manifest: &Manifest) -> String {
    let file = if media_type::is_index(&manifest.media_type) { tree::INDEX } else { tree::MANIFEST };
    format!("{folder}/{file}")
}

/// The manifest that a reference stands for.
fn present(view: &mut impl Rows, id: Option<NameId>, reference: &Reference) -> Option<Digest> {
    let id = id?;
    match reference {
        Reference::Tag(tag) => view.row::<Tags>(&(id, tag.clone())).map(|row| row.digest),
        Reference::Digest(digest) => {
            view.row::<Contents>(&(id, *digest)).filter(|content| content.manifest).map(|_| *digest)
        }
    }
}

/// Refuses where the condition does not hold of what is there.
fn check(
    view: &mut impl Rows,
    id: Option<NameId>,
    reference: &Reference,
    condition: &Condition,
) -> Result<()> {
    let present = present(view, id, reference);
    if condition.holds(present) { Ok(()) } else { Err(Error::Changed { present }) }
}

pub(super) fn push(
    view: &mut impl Rows,
    key: &RepoKey,
    name: &RepoName,
    reference: &Reference,
    digest: Digest,
    manifest: &Manifest,
    tags: &[Tag],
    condition: &Condition,
) -> Result<Decision> {
    let config = repository(view, key)?.config;
    let id = name_id(view, key, name);
    check(view, id, reference, condition)?;
    rules::check_manifest(&config.rules, manifest)?;
    for tag in tags {
        let present = present(view, id, &Reference::Tag(tag.clone()));
        rules::check_tag(&config.rules, tag, present, digest)?;
        rules::check_path(&config, || manifest_file(&tree::tag_folder(name, tag), manifest))?;
    }
    if tags.is_empty() {
        rules::check_path(&config, || manifest_file(&tree::untagged_folder(name, &digest), manifest))?;
    }
    let missing = missing(view, id, manifest, config.sparse_index);
    if !missing.is_empty() {
        return Err(Error::ManifestBlobUnknown(missing));
    }
    let mut events = Vec::with_capacity(1 + tags.len());
    let content = id.and_then(|id| view.row::<Contents>(&(id, digest)));
    if !content.is_some_and(|content| content.present()) {
        Room::of(view, &config.rules, key, name, id).check(manifest.size)?;
    }
    if content.is_some_and(|content| content.image) {
        return Err(Error::Invalid(format!(
            "{digest} is the JSON of a V1 image, and can't be a manifest too"
        )));
    }
    let known = content.filter(|content| content.manifest);
    // One that is there already is recorded again only where that changes something: its wait begins anew.
    let renewed = tags.is_empty()
        && known.is_some_and(|content| {
            matches!(content.state, ContentState::Waiting { wait: Wait::Deleted, .. })
        });
    // Signed by others, the same payload is served with their signatures from now on.
    let signed_anew = manifest.signed.is_some()
        && id
            .and_then(|id| view.row::<Manifests>(&(id, digest)))
            .is_some_and(|row| row.manifest.signed != manifest.signed);
    let rotten = view.row::<Blobs>(&digest).is_some_and(|blob| blob.rotten);
    if known.is_none() || renewed || signed_anew || rotten {
        events.push(Event::ManifestPushed {
            repository: key.clone(),
            name: name.clone(),
            digest,
            manifest: manifest.clone(),
        });
    }
    for tag in tags {
        let previous = id.and_then(|id| view.row::<Tags>(&(id, tag.clone()))).map(|row| row.digest);
        let twice = events.iter().any(|event| event.tag() == Some(tag));
        if previous != Some(digest) && !twice {
            events.push(Event::TagSet {
                repository: key.clone(),
                name: name.clone(),
                tag: tag.clone(),
                digest,
                previous,
            });
        }
    }
    events.extend(beyond_the_limit(view, key, name, id, config.max_unique_tags, &events));
    Ok(Decision::done(events))
}

/// What has to be said of labels that a manifest's config says, where that is not known.
pub(super) fn config_read(
    view: &mut impl Rows,
    manifest: &Manifest,
    labels: &[(String, String)],
) -> Option<Event> {
    let config = manifest.config.as_ref().filter(|_| !labels.is_empty())?.digest;
    let known = view.row::<ConfigLabels>(&config);
    known.is_none_or(|known| known != labels).then(|| Event::ConfigRead { config, labels: labels.to_vec() })
}

/// The deletion of the tags that a name has too many of, once `events` have set some: the oldest go, and none of those
/// that are set now. Those that `events` delete are gone already.
pub(super) fn beyond_the_limit(
    view: &mut impl Rows,
    key: &RepoKey,
    name: &RepoName,
    id: Option<NameId>,
    max: u32,
    events: &[Event],
) -> Vec<Event> {
    let Some(id) = id.filter(|_| max > 0) else { return Vec::new() };
    let of_name =
        || events.iter().filter(|event| event.repository() == Some(key) && event.name() == Some(name));
    let set: HashSet<&Tag> =
        of_name().filter(|event| matches!(event, Event::TagSet { .. })).filter_map(Event::tag).collect();
    if set.is_empty() {
        return Vec::new();
    }
    let gone: HashSet<&Tag> =
        of_name().filter(|event| matches!(event, Event::TagDeleted { .. })).filter_map(Event::tag).collect();
    let tags = view.scan_prefix::<Tags>(&prefix::tags(id), None, usize::MAX);
    let is_other = |tag: &Tag| !set.contains(tag) && !gone.contains(tag);
    let mut others: Vec<_> = tags.into_iter().filter(|((_, tag), _)| is_other(tag)).collect();
    let kept = (max as usize).saturating_sub(set.len());
    let surplus = others.len().saturating_sub(kept);
    others.sort_by_key(|(_, row)| row.seq);
    others.truncate(surplus);
    others.into_iter().map(|((_, tag), row)| tag_deleted(key, name, tag, row.digest)).collect()
}

/// What a manifest refers to and the name does not hold. A subject may be missing, and so may a foreign
/// layer; an index may lack manifests where its repository says so.
fn missing(view: &mut impl Rows, id: Option<NameId>, manifest: &Manifest, sparse: bool) -> Vec<Digest> {
    let mut has = |digest: Digest, as_manifest: bool| {
        let content = id.and_then(|id| view.row::<Contents>(&(id, digest)));
        let there = content.is_some_and(|content| content.blob || (as_manifest && content.manifest));
        there && view.row::<Blobs>(&digest).is_some_and(|blob| !blob.rotten)
    };
    let mut missing = Vec::new();
    for blob in manifest.config.iter().chain(&manifest.layers) {
        if !blob.foreign && !missing.contains(&blob.digest) && !has(blob.digest, false) {
            missing.push(blob.digest);
        }
    }
    for child in &manifest.children {
        if !sparse && !missing.contains(&child.digest) && !has(child.digest, true) {
            missing.push(child.digest);
        }
    }
    missing
}

pub(super) fn delete(
    view: &mut impl Rows,
    key: &RepoKey,
    name: &RepoName,
    reference: &Reference,
    condition: &Condition,
) -> Result<Decision> {
    repository(view, key)?;
    let unknown = || Error::ManifestUnknown(reference.to_string());
    let id = name_id(view, key, name).ok_or_else(unknown)?;
    let digest = present(view, Some(id), reference).ok_or_else(unknown)?;
    check(view, Some(id), reference, condition)?;
    Ok(Decision::done(match reference {
        Reference::Tag(tag) => vec![tag_deleted(key, name, tag.clone(), digest)],
        Reference::Digest(_) => delete_by_digest(view, key, name, id, digest),
    }))
}

/// Every tag of a name, which must have one.
pub(super) fn delete_tags(view: &mut impl Rows, key: &RepoKey, name: &RepoName) -> Result<Decision> {
    repository(view, key)?;
    let unknown = || Error::NameUnknown(name.clone());
    let id = name_id(view, key, name).ok_or_else(unknown)?;
    let tags = view.scan_prefix::<Tags>(&prefix::tags(id), None, usize::MAX);
    if tags.is_empty() {
        return Err(unknown());
    }
    let deleted = tags.into_iter().map(|((_, tag), row)| tag_deleted(key, name, tag, row.digest));
    Ok(Decision::done(deleted.collect()))
}

/// The manifest and every tag on it.
pub(super) fn delete_by_digest(
    view: &mut impl Rows,
    key: &RepoKey,
    name: &RepoName,
    id: NameId,
    digest: Digest,
) -> Vec<Event> {
    let mut events = tags_on_deleted(view, key, name, id, digest);
    events.push(Event::ManifestDeleted { repository: key.clone(), name: name.clone(), digest });
    events
}

/// Every tag on a manifest or V1 image.
pub(super) fn tags_on_deleted(
    view: &mut impl Rows,
    key: &RepoKey,
    name: &RepoName,
    id: NameId,
    digest: Digest,
) -> Vec<Event> {
    let tags = view.scan_prefix::<References>(&prefix::references_by_tags(id, &digest), None, usize::MAX);
    let tags = tags.into_iter().filter_map(|((_, _, source), _)| match source {
        Source::Tag(tag) => Some(tag_deleted(key, name, tag, digest)),
        Source::Manifest(_) => None,
    });
    tags.collect()
}

pub(super) fn tag_deleted(key: &RepoKey, name: &RepoName, tag: Tag, previous: Digest) -> Event {
    Event::TagDeleted { repository: key.clone(), name: name.clone(), tag, previous }
}
