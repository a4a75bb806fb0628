//! Tags: where they point, and where they pointed.

use supercargo_eventlog::Record;
use supercargo_model::{Digest, Tag};

use super::contents::{self, Change};
use super::{Loss, Name, names, tree};
use crate::tables::{
    Contents, MigrationRow, Migrations, ReferenceKind, References, Source, TagChange, TagHistory, TagNames,
    TagRow, Tags, Wait,
};
use crate::working::{Base, Working};

pub(super) fn set<B: Base>(
    state: &mut Working<B>,
    name: Name<'_>,
    tag: &Tag,
    digest: Digest,
    previous: Option<Digest>,
    record: &Record,
) {
    let key = (name.id, tag.clone());
    let before = state.get::<Tags>(&key).cloned();
    let image = match &before {
        Some(before) if before.digest == digest => before.image,
        // Its row is looked at anyway, as it gains a tag.
        _ => state.get::<Contents>(&(name.id, digest)).is_some_and(|row| row.image),
    };
    let now = TagRow { digest, image, at: record.at, by: record.actor.clone(), seq: record.seq };
    state.update::<Tags, _>(&key, |row| *row = Some(now.clone()));
    remember(state, name, tag, Some(digest), previous, record);
    if before.as_ref().is_some_and(|before| before.digest == digest) {
        return;
    }
    tree::tag_set(state, name, tag, before.as_ref(), &now);
    // First what it points to now, so that what both the old and the new manifest hold is never let go.
    state.put_new::<References>(&(name.id, digest, Source::Tag(tag.clone())), ReferenceKind::Tag);
    contents::change(state, name, digest, Change::Gained, |row| row.tags = row.tags.saturating_add(1));
    match before {
        Some(before) => {
            unpoint(state, name, tag, before.digest, Loss { since: record.at, wait: Wait::Untagged });
        }
        None => {
            names::count(state, name.id, |usage| names::step(&mut usage.tags, false, true));
            names::count_in_repository(state, name.repository, |usage| {
                names::step(&mut usage.tags, false, true);
            });
            state.put_new::<TagNames>(&(tag.clone(), name.id), ());
        }
    }
}

pub(super) fn deleted<B: Base>(
    state: &mut Working<B>,
    name: Name<'_>,
    tag: &Tag,
    previous: Digest,
    record: &Record,
) {
    let key = (name.id, tag.clone());
    let Some(before) = state.get::<Tags>(&key).cloned() else { return };
    state.remove::<Tags>(&key);
    remember(state, name, tag, None, Some(previous), record);
    unpoint(state, name, tag, before.digest, Loss { since: record.at, wait: Wait::Deleted });
    names::count(state, name.id, |usage| names::step(&mut usage.tags, true, false));
    names::count_in_repository(state, name.repository, |usage| names::step(&mut usage.tags, true, false));
    state.remove::<TagNames>(&(tag.clone(), name.id));
    state.remove::<Migrations>(&key);
    tree::tag_deleted(state, name, tag, &before, record.at);
}

/// It is known where a tag came from that points where it was set then.
pub(super) fn migrated<B: Base>(state: &mut Working<B>, name: Name<'_>, tag: &Tag, from: MigrationRow) {
    let key = (name.id, tag.clone());
    if state.get::<Tags>(&key).is_some_and(|row| row.digest == from.digest) {
        state.put::<Migrations>(&key, from);
    }
}

fn unpoint<B: Base>(state: &mut Working<B>, name: Name<'_>, tag: &Tag, from: Digest, loss: Loss) {
    state.remove::<References>(&(name.id, from, Source::Tag(tag.clone())));
    contents::change(state, name, from, Change::Lost(loss), |row| row.tags = row.tags.saturating_sub(1));
}

fn remember<B: Base>(
    state: &mut Working<B>,
    name: Name<'_>,
    tag: &Tag,
    digest: Option<Digest>,
    previous: Option<Digest>,
    record: &Record,
) {
    let change = TagChange { digest, previous, at: record.at, by: record.actor.clone() };
    state.put_new::<TagHistory>(&(name.id, tag.clone(), record.seq), change);
}
