//! V1 images: contents of a name that hold their layer and their parent, found by the ids that their makers chose, and
//! what manifests are to V1 clients.

use supercargo_eventlog::{Record, V1Image};
use supercargo_model::{Digest, RepoName, Timestamp};

use super::contents::{self, Change};
use super::{Loss, Name, names, tree};
use crate::tables::{
    Contents, ImageRow, Images, ImagesById, LayerRow, Layers, Manifests, ReferenceKind, References, Source,
    Views, Wait, prefix,
};
use crate::working::{Base, Rows, Working};

/// An image was pushed into a name, with its layer.
pub(super) fn pushed<B: Base>(state: &mut Working<B>, name: Name<'_>, image: &V1Image, record: &Record) {
    let key = (name.id, image.json);
    // The same bytes can't be both: what they hold is counted once.
    if state.get::<Manifests>(&key).is_some() {
        return;
    }
    let known = state.get::<Images>(&key).map(|row| row.image.layer);
    // Packed anew by whoever pushed it: what it was made of before is let go.
    if known.is_some_and(|layer| layer != image.layer) {
        removed(state, name, image.json, record.at, record.at);
    }
    if !state.get::<Contents>(&(name.id, image.layer)).is_some_and(|layer| layer.blob) {
        contents::add_blob(state, name, image.layer, image.layer_size, record.at);
    }
    if known == Some(image.layer) {
        // Pushed again while it waits: the wait begins anew.
        contents::change(state, name, image.json, Change::Pushed(record.at), |_| {});
        return;
    }
    let by = record.actor.clone();
    state.put_new::<Images>(&key, ImageRow { image: image.clone(), at: record.at, by, seq: record.seq });
    // The first to have the id in this name keeps it.
    let by_id = (name.repository.clone(), image.id, name.id);
    if state.get::<ImagesById>(&by_id).is_none() {
        state.put::<ImagesById>(&by_id, image.json);
        tree::image_added(state, name, &image.id, record);
    }
    for (target, kind) in targets(image) {
        state.put_new::<References>(&(name.id, target, Source::Manifest(image.json)), kind);
    }
    contents::change(state, name, image.json, Change::Pushed(record.at), |row| {
        row.image = true;
        row.size = image.json_size;
    });
}

/// An image came into a name, and so need not wait in the waiting room any more.
pub(super) fn leave_waiting_room<B: Base>(
    state: &mut Working<B>,
    name: Name<'_>,
    room: &RepoName,
    image: &V1Image,
    at: Timestamp,
) {
    let Some(room) = names::find(state, name.repository, room).filter(|room| room.id != name.id) else {
        return;
    };
    if state.get::<Images>(&(room.id, image.json)).is_none() {
        return;
    }
    removed(state, room, image.json, at, at);
    let layer = state.get::<Contents>(&(room.id, image.layer)).copied();
    // One that waits there to be collected, and so holds nothing, still has its layer until it is.
    if layer.is_some_and(|layer| layer.blob && !layer.reached())
        && state.scan_prefix::<References>(&prefix::references(room.id, &image.layer), None, 1).is_empty()
    {
        contents::remove_blob(state, room, image.layer, at);
    }
    names::settle(state, room);
}

/// The image is gone from the name; what only it held waits since `since`.
pub(super) fn removed<B: Base>(
    state: &mut Working<B>,
    name: Name<'_>,
    json: Digest,
    since: Timestamp,
    at: Timestamp,
) {
    let key = (name.id, json);
    let Some(row) = state.get::<Images>(&key) else { return };
    let (id, held) = (row.image.id, targets(&row.image));
    let lost = Change::Lost(Loss { since, wait: Wait::Deleted });
    contents::change(state, name, json, lost, |row| row.image = false);
    for (target, _) in held {
        state.remove::<References>(&(name.id, target, Source::Manifest(json)));
    }
    state.remove::<Images>(&key);
    let by_id = (name.repository.clone(), id, name.id);
    if state.get::<ImagesById>(&by_id).is_some_and(|known| *known == json) {
        state.remove::<ImagesById>(&by_id);
        tree::image_removed(state, name, &id, at);
    }
}

/// What an image holds: its layer, and the image that it was made from.
pub(super) fn targets(image: &V1Image) -> Vec<(Digest, ReferenceKind)> {
    let mut targets = vec![(image.layer, ReferenceKind::Layer)];
    if let Some(parent) = image.parent.filter(|parent| parent.json != image.layer) {
        targets.push((parent.json, ReferenceKind::Parent));
    }
    targets
}

/// A manifest holds what it is to V1 clients.
pub(super) fn view_added<B: Base>(state: &mut Working<B>, name: Name<'_>, manifest: Digest, image: Digest) {
    let key = (name.id, manifest);
    if state.get::<Manifests>(&key).is_none() || state.get::<Views>(&key).is_some() {
        return;
    }
    // What it lists it holds already.
    let source = Source::Manifest(manifest);
    if state.get::<References>(&(name.id, image, source.clone())).is_some() {
        return;
    }
    state.put_new::<Views>(&key, image);
    state.put_new::<References>(&(name.id, image, source), ReferenceKind::View);
    if state.get::<Contents>(&(name.id, manifest)).is_some_and(|row| row.holds()) {
        contents::change(state, name, image, Change::Gained, |row| {
            row.holders = row.holders.saturating_add(1);
        });
    }
}

/// What is in a layer, as long as its bytes are kept.
pub(super) fn layer_inspected<B: Base>(state: &mut Working<B>, layer: Digest, row: LayerRow) {
    if state.get::<crate::tables::Blobs>(&layer).is_some() {
        state.put::<Layers>(&layer, row);
    }
}
