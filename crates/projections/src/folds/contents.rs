//! Contents of a name: the graph of tags, manifests, V1 images and blobs, and what of it is in use.
//!
//! A content is *reached* while a tag points to it, a manifest or image in use holds it, or it is a referrer of a
//! subject in use. What stops being reached waits for collection, and what it held stops being held with
//! it, at once and along every edge. Each edge is counted when it comes and goes, so that nobody ever has
//! to walk the graph to know what is unused.

use supercargo_model::{Digest, Timestamp};

use super::{Loss, Name, blobs, images, manifests, names, targets, tree};
use crate::tables::{
    ContentRow, ContentState, Contents, Images, Manifests, NameId, Orphans, ReferenceKind, Views, Wait,
};
use crate::working::{Base, Working};

/// What a change of a content was for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Change {
    /// It was pushed: where nothing reaches it, its wait begins anew.
    Pushed(Timestamp),
    /// Something came to refer to it.
    Gained,
    /// Something that referred to it is gone.
    Lost(Loss),
}

/// Changes a content, and everything whose state follows from it.
pub(super) fn change<B: Base>(
    state: &mut Working<B>,
    name: Name<'_>,
    digest: Digest,
    why: Change,
    edit: impl FnOnce(&mut ContentRow),
) {
    let mut flipped = Vec::new();
    change_one(state, name, digest, why, edit, &mut flipped);
    // Each manifest that came into or out of use passes that on. The edges are hashes of what they point
    // to, so they have no cycle; and were a log to claim one, a turn only counts in one direction, so that
    // every manifest turns at most once and this ends.
    while let Some((digest, holds, since)) = flipped.pop() {
        pass_on(state, name, digest, holds, since, &mut flipped);
    }
}

type Flipped = Vec<(Digest, bool, Timestamp)>;

fn change_one<B: Base>(
    state: &mut Working<B>,
    name: Name<'_>,
    digest: Digest,
    why: Change,
    edit: impl FnOnce(&mut ContentRow),
    flipped: &mut Flipped,
) {
    let key = (name.id, digest);
    let (old, new) = state.update::<Contents, _>(&key, |row| {
        let old = row.unwrap_or(ContentRow::ABSENT);
        let mut new = old;
        edit(&mut new);
        new.state = next_state(&old, &new, why);
        if !new.present() {
            new.size = 0;
        }
        *row = (new != ContentRow::ABSENT).then_some(new);
        (old, new)
    });
    if old.state != new.state {
        if let ContentState::Waiting { since, wait } = old.state {
            state.remove::<Orphans>(&(wait, since, name.id, digest));
        }
        if let ContentState::Waiting { since, wait } = new.state {
            state.put_new::<Orphans>(&(wait, since, name.id, digest), ());
        }
    }
    count_presence(state, name, digest, &old, &new, why);
    if old.stands_alone() != new.stands_alone() {
        let at = match why {
            Change::Lost(loss) => loss.since,
            Change::Pushed(at) => at,
            // A tag that has a folder beside it.
            Change::Gained => Timestamp::default(),
        };
        tree::settle_alone(state, name, digest, new.stands_alone(), at);
    }
    if old.holds() != new.holds() {
        let since = match (new.state, why) {
            (ContentState::Waiting { since, .. }, _) => since,
            (_, Change::Lost(loss)) => loss.since,
            (_, Change::Pushed(at)) => at,
            // What is gained holds; nothing is lost with it.
            (_, Change::Gained) => Timestamp::default(),
        };
        flipped.push((digest, new.holds(), since));
    }
}

fn next_state(old: &ContentRow, new: &ContentRow, why: Change) -> ContentState {
    if !new.present() {
        return ContentState::Absent;
    }
    if new.reached() {
        return ContentState::Live;
    }
    match (why, old.state) {
        (Change::Pushed(at), _) => {
            let wait = if new.manifest || new.image { Wait::Untagged } else { Wait::Pending };
            ContentState::Waiting { since: at, wait }
        }
        (_, waiting @ ContentState::Waiting { .. }) => waiting,
        (Change::Lost(loss), _) => ContentState::Waiting { since: loss.since, wait: loss.wait },
        // Not reached before and not by what it gained: as if it had been lost at the dawn of time, which
        // no log of ours says.
        (Change::Gained, _) => ContentState::Waiting { since: Timestamp::default(), wait: Wait::Deleted },
    }
}

/// Counts what came and went in the name, the repository and over all names.
fn count_presence<B: Base>(
    state: &mut Working<B>,
    name: Name<'_>,
    digest: Digest,
    old: &ContentRow,
    new: &ContentRow,
    why: Change,
) {
    if (old.blob, old.manifest, old.image) != (new.blob, new.manifest, new.image) {
        let mere_blob = |row: &ContentRow| row.blob && !row.manifest && !row.image;
        let (was_blob, is_blob) = (mere_blob(old), mere_blob(new));
        names::count(state, name.id, |usage| {
            names::step(&mut usage.blobs, was_blob, is_blob);
            names::step(&mut usage.manifests, old.manifest, new.manifest);
            names::step(&mut usage.images, old.image, new.image);
        });
        names::count_in_repository(state, name.repository, |usage| {
            names::step(&mut usage.blobs, was_blob, is_blob);
            names::step(&mut usage.manifests, old.manifest, new.manifest);
            names::step(&mut usage.images, old.image, new.image);
        });
    }
    match (old.present(), new.present(), why) {
        (false, true, Change::Pushed(at)) => blobs::held(state, name, digest, new.size, at),
        (true, false, Change::Lost(loss)) => blobs::released(state, name, digest, loss.since),
        _ => {}
    }
}

/// What a manifest or an image holds: what it lists, or is made of, and what it is to V1 clients.
fn held<B: Base>(state: &mut Working<B>, key: &(NameId, Digest)) -> Vec<Digest> {
    let of = |targets: Vec<(Digest, ReferenceKind)>| targets.into_iter().map(|(target, _)| target).collect();
    let Some(row) = state.get::<Manifests>(key) else {
        return state.get::<Images>(key).map_or_else(Vec::new, |row| of(images::targets(&row.image)));
    };
    let mut held: Vec<Digest> = of(targets(&row.manifest));
    held.extend(state.get::<Views>(key).copied());
    held
}

/// A manifest or an image came into use, or went out of it: so does what it holds, and who refers to it.
fn pass_on<B: Base>(
    state: &mut Working<B>,
    name: Name<'_>,
    digest: Digest,
    holds: bool,
    since: Timestamp,
    flipped: &mut Flipped,
) {
    let held = held(state, &(name.id, digest));
    let why = if holds { Change::Gained } else { Change::Lost(Loss { since, wait: Wait::Deleted }) };
    for target in held {
        change_one(
            state,
            name,
            target,
            why,
            |row| {
                row.holders =
                    if holds { row.holders.saturating_add(1) } else { row.holders.saturating_sub(1) };
            },
            flipped,
        );
    }
    if state.get::<Contents>(&(name.id, digest)).is_some_and(|row| row.referrers > 0) {
        for referrer in state.referrers_of(name.id, digest) {
            change_one(state, name, referrer, why, |row| row.subject_live = holds, flipped);
        }
    }
}

/// A blob was uploaded or mounted.
pub(super) fn add_blob<B: Base>(
    state: &mut Working<B>,
    name: Name<'_>,
    digest: Digest,
    size: u64,
    at: Timestamp,
) {
    change(state, name, digest, Change::Pushed(at), |row| {
        row.blob = true;
        row.size = size;
    });
}

/// A blob was deleted by somebody who wanted just that.
pub(super) fn remove_blob<B: Base>(state: &mut Working<B>, name: Name<'_>, digest: Digest, at: Timestamp) {
    let loss = Loss { since: at, wait: Wait::Deleted };
    change(state, name, digest, Change::Lost(loss), |row| row.blob = false);
}

/// A collection removed a content: it is gone since its wait began.
pub(super) fn collected<B: Base>(state: &mut Working<B>, name: Name<'_>, digest: Digest, at: Timestamp) {
    let Some(row) = state.get::<Contents>(&(name.id, digest)).copied() else { return };
    let since = match row.state {
        ContentState::Waiting { since, .. } => since,
        ContentState::Absent | ContentState::Live => at,
    };
    if row.manifest {
        manifests::removed(state, name, digest, since, at);
    }
    if row.image {
        images::removed(state, name, digest, since, at);
    }
    if row.blob {
        remove_blob(state, name, digest, since);
    }
}
