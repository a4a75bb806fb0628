//! Collecting orphans and pruning empty folders, a step at a time. The same functions make a plan on a
//! snapshot and do the work inside the writer.

use std::collections::BTreeMap;
use std::time::Duration;

use foldhash::HashSet;
use supercargo_eventlog::Event;
use supercargo_eventlog::event::{CollectedBlob, CollectedContents};
use supercargo_model::{Digest, RepoKey, RepoName, Timestamp};
use supercargo_projections::tables::{
    Blobs, ContentState, Contents, EmptyFolders, NameId, NamesById, Orphans, References, Source, Table, Wait,
    prefix,
};
use supercargo_projections::{KeyWriter, Rows};

use crate::Result;
use crate::command::{CollectCursor, Collected, Decision, GcPolicy, Outcome};
use crate::leases::{ANYWHERE, StillLeases};

/// How many orphans one step looks at, per kind. Bounds how long the writer is kept from others.
const STEP_CONTENTS: usize = 256;
/// How many manifests are asked, at most, whether a push relies on what they hold. With more than that,
/// none of them in use, the answer waits until they are fewer.
const RELYING_MANIFESTS_MAX: usize = 1024;

pub(super) fn collect(
    view: &mut impl Rows,
    policy: &GcPolicy,
    cursor: &CollectCursor,
    now: Timestamp,
    leases: Option<&StillLeases<'_>>,
) -> Result<Decision> {
    let mut cursor = cursor.clone();
    let mut more = false;
    let mut contents: BTreeMap<(RepoKey, RepoName), Vec<Digest>> = BTreeMap::new();
    let mut blobs = Vec::new();
    for (wait, kept) in [
        (Wait::Pending, policy.lease),
        (Wait::Untagged, policy.untagged_after.saturating_add(policy.keep_deleted)),
        (Wait::Deleted, policy.keep_deleted),
        (Wait::Unheld, policy.keep_deleted),
    ] {
        let after = &mut cursor.after[wait as usize];
        let due = due(view, wait, now.minus(kept), after.as_deref());
        more |= due.len() == STEP_CONTENTS;
        for (_, since, id, digest) in due {
            let mut key = Vec::new();
            Orphans::write_key(&(wait, since, id, digest), &mut key);
            *after = Some(key);
            if wait == Wait::Unheld {
                if let Some(blob) = view.row::<Blobs>(&digest).filter(|blob| blob.holders == 0) {
                    blobs.push(CollectedBlob { digest, size: blob.size });
                }
                continue;
            }
            // The tables say so by their own rules; asked again all the same, because this deletes.
            let unused = view.row::<Contents>(&(id, digest)).is_some_and(|content| {
                !content.reached() && content.state == ContentState::Waiting { since, wait }
            });
            if unused
                && !leases.is_some_and(|leases| relied_on(view, leases, id, digest, now))
                && let Some(name) = view.row::<NamesById>(&id)
            {
                contents.entry(name).or_default().push(digest);
            }
        }
    }
    let contents: Vec<CollectedContents> = contents
        .into_iter()
        .map(|((repository, name), digests)| CollectedContents { repository, name, digests })
        .collect();
    cursor.found |= !contents.is_empty();
    if !more && cursor.found {
        // What was collected may leave more to collect (children, blobs that no name holds any more), which
        // waits for as long as that did: also before where this pass has come to. Another pass, from the start.
        cursor = CollectCursor::default();
        more = true;
    }
    let collected = Collected { contents, blobs };
    let events = if collected.is_empty() {
        Vec::new()
    } else {
        vec![Event::OrphansCollected { contents: collected.contents.clone(), blobs: collected.blobs.clone() }]
    };
    Ok(Decision { events, outcome: Outcome::Collected { collected, cursor, more } })
}

/// Orphans that have waited since `until` or longer.
fn due(
    view: &mut impl Rows,
    wait: Wait,
    until: Timestamp,
    after: Option<&[u8]>,
) -> Vec<(Wait, Timestamp, NameId, Digest)> {
    let start = match after {
        Some(after) => [after, &[0]].concat(),
        None => prefix::orphans(wait),
    };
    let mut end = prefix::orphans(wait);
    end.time(Timestamp::from_micros(until.as_micros().saturating_add(1)));
    if start >= end {
        return Vec::new();
    }
    view.scan::<Orphans>(&start, &end, STEP_CONTENTS).into_iter().map(|(key, ())| key).collect()
}

/// Whether a push in flight was promised this content, or a manifest that needs it.
fn relied_on(
    view: &mut impl Rows,
    leases: &StillLeases<'_>,
    id: NameId,
    digest: Digest,
    now: Timestamp,
) -> bool {
    let mut asked = HashSet::default();
    let mut to_ask = vec![digest];
    while let Some(digest) = to_ask.pop() {
        if leases.leased((id, digest), now) {
            return true;
        }
        // A V1 image that was promised wherever it stands: it may have moved since.
        if leases.leased((ANYWHERE, digest), now) {
            return true;
        }
        if !asked.insert(digest) {
            continue;
        }
        let references = prefix::references(id, &digest);
        let sources = view.scan_prefix::<References>(&references, None, RELYING_MANIFESTS_MAX);
        if sources.len() == RELYING_MANIFESTS_MAX || asked.len() > RELYING_MANIFESTS_MAX {
            return true;
        }
        to_ask.extend(sources.into_iter().filter_map(|((_, _, source), _)| match source {
            Source::Manifest(manifest) => Some(manifest),
            Source::Tag(_) => None,
        }));
    }
    false
}

pub(super) fn prune(view: &mut impl Rows, empty_after: Duration, now: Timestamp) -> Result<Decision> {
    let start = prefix::empty_folders();
    let mut end = start.clone();
    end.time(Timestamp::from_micros(now.minus(empty_after).as_micros().saturating_add(1)));
    let due = view.scan::<EmptyFolders>(&start, &end, STEP_CONTENTS);
    // A folder that this empties is found by the next step.
    let more = !due.is_empty();
    let mut by_repository: BTreeMap<RepoKey, Vec<String>> = BTreeMap::new();
    let mut folders = Vec::with_capacity(due.len());
    for ((_, repository, path), ()) in due {
        by_repository.entry(repository.clone()).or_default().push(path.clone());
        folders.push((repository, path));
    }
    let events = by_repository
        .into_iter()
        .map(|(repository, mut paths)| {
            paths.sort_by_key(|path| std::cmp::Reverse(path.matches('/').count()));
            Event::FoldersPruned { repository, paths }
        })
        .collect();
    Ok(Decision { events, outcome: Outcome::Pruned { folders, more } })
}
