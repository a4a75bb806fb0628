//! Blobs: uploaded, mounted, deleted, found rotten.

use supercargo_eventlog::event::Rot;
use supercargo_eventlog::{ContentRules, Event};
use supercargo_model::{Digest, RepoKey, RepoName};
use supercargo_projections::Rows;
use supercargo_projections::tables::{BlobHashes, Blobs, ContentState, Contents, Holders, NamesById, prefix};

use super::{name_id, repository};
use crate::command::{Decision, Outcome};
use crate::rules::Room;
use crate::{Error, Result};

/// How many names are asked, at most, for a blob that may be mounted from anywhere.
const MOUNT_NAMES_MAX: usize = 1024;

/// Whether the name has the blob, sound and in use: nothing to record then.
fn has_it(view: &mut impl Rows, key: &RepoKey, name: &RepoName, digest: Digest) -> bool {
    let Some(id) = name_id(view, key, name) else { return false };
    let there = view
        .row::<Contents>(&(id, digest))
        .is_some_and(|content| content.blob && content.state == ContentState::Live);
    there && view.row::<Blobs>(&digest).is_some_and(|blob| !blob.rotten)
}

/// Refuses a blob that is too large, or for which the name has no room. One that the name holds already, in
/// whatever state, takes no more.
fn check_room(
    view: &mut impl Rows,
    rules: &ContentRules,
    key: &RepoKey,
    name: &RepoName,
    digest: Digest,
    size: u64,
) -> Result<()> {
    let id = name_id(view, key, name);
    if id.is_some_and(|id| view.row::<Contents>(&(id, digest)).is_some_and(|content| content.present())) {
        return Ok(());
    }
    Ok(Room::of(view, rules, key, name, id).check_blob(size)?)
}

pub(super) fn add(
    view: &mut impl Rows,
    key: &RepoKey,
    name: &RepoName,
    digest: Digest,
    size: u64,
) -> Result<Decision> {
    let rules = repository(view, key)?.config.rules;
    if has_it(view, key, name, digest) {
        return Ok(Decision::done(Vec::new()));
    }
    check_room(view, &rules, key, name, digest, size)?;
    Ok(Decision::done(vec![Event::BlobAdded { repository: key.clone(), name: name.clone(), digest, size }]))
}

pub(super) fn mount(
    view: &mut impl Rows,
    key: &RepoKey,
    name: &RepoName,
    digest: Digest,
    from: Option<&RepoName>,
) -> Result<Decision> {
    let rules = repository(view, key)?.config.rules;
    let not_here = || Ok(Decision { events: Vec::new(), outcome: Outcome::Mounted(None) });
    let Some(blob) = view.row::<Blobs>(&digest).filter(|blob| !blob.rotten) else {
        return not_here();
    };
    let mounted = Outcome::Mounted(Some(blob.size));
    if has_it(view, key, name, digest) {
        return Ok(Decision { events: Vec::new(), outcome: mounted });
    }
    let Some(from_name) = source(view, key, digest, from) else {
        return not_here();
    };
    check_room(view, &rules, key, name, digest, blob.size)?;
    let event = Event::BlobMounted {
        repository: key.clone(),
        name: name.clone(),
        digest,
        size: blob.size,
        from_repository: key.clone(),
        from_name,
    };
    Ok(Decision { events: vec![event], outcome: mounted })
}

/// A name of the repository that holds the blob as a blob.
fn source(view: &mut impl Rows, key: &RepoKey, digest: Digest, from: Option<&RepoName>) -> Option<RepoName> {
    if let Some(from) = from {
        let id = name_id(view, key, from)?;
        return view.row::<Contents>(&(id, digest)).filter(|content| content.blob).map(|_| from.clone());
    }
    let holders = view.scan_prefix::<Holders>(&prefix::holders(&digest), None, MOUNT_NAMES_MAX);
    holders.into_iter().find_map(|((_, id), ())| {
        let (repository, name) = view.row::<NamesById>(&id)?;
        let as_blob = view.row::<Contents>(&(id, digest)).is_some_and(|content| content.blob);
        (repository == *key && as_blob && !name.is_waiting_room()).then_some(name)
    })
}

pub(super) fn delete(
    view: &mut impl Rows,
    key: &RepoKey,
    name: &RepoName,
    digest: Digest,
) -> Result<Decision> {
    repository(view, key)?;
    let there = name_id(view, key, name)
        .and_then(|id| view.row::<Contents>(&(id, digest)))
        .is_some_and(|content| content.blob);
    if !there {
        return Err(Error::BlobUnknown(digest));
    }
    Ok(Decision::done(vec![Event::BlobDeleted { repository: key.clone(), name: name.clone(), digest }]))
}

pub(super) fn record_rot(view: &mut impl Rows, digest: Digest, rot: Rot) -> Result<Decision> {
    let sound = view.row::<Blobs>(&digest).is_some_and(|blob| !blob.rotten && blob.holders > 0);
    Ok(Decision::done(if sound { vec![Event::BlobRotFound { digest, rot }] } else { Vec::new() }))
}

pub(super) fn record_hashes(
    view: &mut impl Rows,
    blob: Digest,
    md5: [u8; 16],
    sha1: [u8; 20],
) -> Result<Decision> {
    let sound = view.row::<Blobs>(&blob).is_some_and(|row| !row.rotten && row.holders > 0);
    let known = view.row::<BlobHashes>(&blob).is_some();
    let events = if sound && !known { vec![Event::BlobHashed { blob, md5, sha1 }] } else { Vec::new() };
    Ok(Decision::done(events))
}
