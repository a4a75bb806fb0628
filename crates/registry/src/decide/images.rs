//! V1 images: pushed into the waiting room, brought into a name by its tag, made of a manifest for V1 clients.

use supercargo_eventlog::{Event, V1Image};
use supercargo_model::{Digest, ImageId, Manifest, RepoKey, RepoName, Tag, limits, media_type};
use supercargo_projections::Rows;
use supercargo_projections::tables::{
    Blobs, ContentState, Contents, ImageRow, Images, ImagesById, Manifests, NameId, Tags, Views, Wait, prefix,
};

use super::{name_id, repository};
use crate::command::{Conversion, Decision, Inspected};
use crate::rules::{self, Room};
use crate::{Error, Result};

/// An image as rules see manifests.
fn as_manifest(image: &V1Image) -> Manifest {
    Manifest {
        media_type: media_type::DOCKER_V1_IMAGE.to_owned(),
        size: image.json_size,
        artifact_type: None,
        config: None,
        layers: Vec::new(),
        children: Vec::new(),
        subject: None,
        annotations: Vec::new(),
        signed: None,
    }
}

/// A complete image comes into its pusher's waiting room. `parent_in`: the name that holds its parent.
pub(super) fn push(
    view: &mut impl Rows,
    key: &RepoKey,
    room_name: &RepoName,
    image: &V1Image,
    parent_in: Option<&RepoName>,
) -> Result<Decision> {
    let rules = repository(view, key)?.config.rules;
    rules::check_manifest(&rules, &as_manifest(image))?;
    let room = name_id(view, key, room_name);
    if let Some(room) = room {
        let known = view.row::<ImagesById>(&(key.clone(), image.id, room));
        if known.is_some_and(|known| known != image.json) {
            return Err(Error::ImageExists(image.id));
        }
        // Pushed by two at the same time, from the same JSON: the first one's layer is as good.
        let content = view.row::<Contents>(&(room, image.json)).filter(|content| content.image);
        let deleted = |state| matches!(state, ContentState::Waiting { wait: Wait::Deleted, .. });
        let sound = view.row::<Blobs>(&image.layer).is_none_or(|blob| !blob.rotten);
        if content.is_some_and(|content| !deleted(content.state)) && sound {
            return Ok(Decision::done(Vec::new()));
        }
    }
    let mut depth = 1;
    if let Some(parent) = image.parent {
        let held_in = parent_in.and_then(|name| name_id(view, key, name));
        let near: Vec<NameId> = [held_in, room].into_iter().flatten().collect();
        depth += image_row(view, key, &near, (parent.id, parent.json))
            .ok_or(Error::ParentUnknown(parent.id))?
            .image
            .depth;
    }
    if depth as usize > limits::IMAGE_CHAIN_MAX {
        return Err(Error::ChainTooDeep);
    }
    let room = Room::of(view, &rules, key, room_name, room);
    room.check_blob(image.layer_size)?;
    room.check(image.json_size.saturating_add(image.layer_size))?;
    let image = V1Image { depth, ..image.clone() };
    let (repository, name) = (key.clone(), room_name.clone());
    Ok(Decision::done(vec![Event::V1ImagePushed { repository, name, image }]))
}

/// An image as one of these names has it, else as any does: it may have moved since the caller found it, from a waiting
/// room into a name whose tag was set.
fn image_row(
    view: &mut impl Rows,
    key: &RepoKey,
    near: &[NameId],
    (id, json): (ImageId, Digest),
) -> Option<ImageRow> {
    near.iter().find_map(|name| view.row::<Images>(&(*name, json))).or_else(|| {
        let held = view.scan_prefix::<ImagesById>(&prefix::images_by_id(key, &id), None, usize::MAX);
        let same = held.into_iter().filter(|(_, held)| *held == json);
        same.into_iter().find_map(|((_, _, name), json)| view.row::<Images>(&(name, json)))
    })
}

/// An image and those that it was made from, down to its base: as the name has them that they are to be in, else as one
/// of those does in which the caller found them.
fn chain(
    view: &mut impl Rows,
    key: &RepoKey,
    target: Option<NameId>,
    (mut id, mut json): (ImageId, Digest),
    held_in: &[RepoName],
) -> Result<Vec<V1Image>> {
    let held_in = held_in.iter().filter_map(|name| name_id(view, key, name));
    let names: Vec<NameId> = target.into_iter().chain(held_in).collect();
    let mut chain: Vec<V1Image> = Vec::new();
    loop {
        let row = image_row(view, key, &names, (id, json));
        let image = row.ok_or(Error::ImageUnknown(id))?.image;
        let parent = image.parent;
        chain.push(image);
        if chain.len() > limits::IMAGE_CHAIN_MAX {
            return Err(Error::ChainTooDeep);
        }
        match parent {
            Some(parent) => (id, json) = (parent.id, parent.json),
            None => return Ok(chain),
        }
    }
}

/// Images that a name is to hold, each after its parent, less those that it holds already.
fn missing(
    view: &mut impl Rows,
    key: &RepoKey,
    id: Option<NameId>,
    images: impl Iterator<Item = V1Image>,
) -> Result<Vec<V1Image>> {
    let mut missing = Vec::new();
    for image in images {
        if let Some(id) = id {
            if view.row::<Images>(&(id, image.json)).is_some() {
                continue;
            }
            let taken = view.row::<ImagesById>(&(key.clone(), image.id, id)).is_some();
            if taken || view.row::<Manifests>(&(id, image.json)).is_some() {
                return Err(Error::ImageExists(image.id));
            }
        }
        missing.push(image);
    }
    Ok(missing)
}

/// How many bytes would come into a name with these images.
fn new_bytes(view: &mut impl Rows, id: Option<NameId>, images: &[V1Image]) -> u64 {
    let mut seen: Vec<Digest> = Vec::new();
    let mut bytes = 0_u64;
    for (digest, size) in
        images.iter().flat_map(|image| [(image.json, image.json_size), (image.layer, image.layer_size)])
    {
        let there =
            id.is_some_and(|id| view.row::<Contents>(&(id, digest)).is_some_and(|content| content.present()));
        if !there && !seen.contains(&digest) {
            seen.push(digest);
            bytes = bytes.saturating_add(size);
        }
    }
    bytes
}

/// A tag is set on an image, or on what that is converted to.
pub(super) fn set_tag(
    view: &mut impl Rows,
    key: &RepoKey,
    name: &RepoName,
    tag: &Tag,
    image: (ImageId, Digest),
    held_in: &[RepoName],
    conversion: Option<&Conversion>,
) -> Result<Decision> {
    let rules = repository(view, key)?.config.rules;
    let id = name_id(view, key, name);
    let target = conversion.map_or(image.1, |conversion| conversion.digest);
    let previous = id.and_then(|id| view.row::<Tags>(&(id, tag.clone()))).map(|row| row.digest);
    rules::check_tag(&rules, tag, previous, target)?;
    let chain = chain(view, key, id, image, held_in)?;
    let added = missing(view, key, id, chain.into_iter().rev())?;
    let mut events = Vec::new();
    let mut bytes = new_bytes(view, id, &added);
    if !added.is_empty() {
        let (repository, name) = (key.clone(), name.clone());
        let from = held_in.iter().find(|name| name.is_waiting_room()).cloned();
        events.push(Event::V1ImagesAdded { repository, name, from, images: added.clone() });
    }
    if let Some(conversion) = conversion {
        let came = |digest: Digest| added.iter().any(|image| image.layer == digest);
        let (more, more_bytes) = convert(view, key, name, id, image, held_in, conversion, came)?;
        events.extend(more);
        bytes = bytes.saturating_add(more_bytes);
    }
    Room::of(view, &rules, key, name, id).check(bytes)?;
    if previous != Some(target) {
        let (repository, name, tag) = (key.clone(), name.clone(), tag.clone());
        events.push(Event::TagSet { repository, name, tag, digest: target, previous });
    }
    Ok(Decision::done(events))
}

/// What an image is converted to comes into the name. Answers with how many bytes that brings.
fn convert(
    view: &mut impl Rows,
    key: &RepoKey,
    name: &RepoName,
    id: Option<NameId>,
    (id_of_image, image): (ImageId, Digest),
    held_in: &[RepoName],
    conversion: &Conversion,
    came: impl Fn(Digest) -> bool,
) -> Result<(Vec<Event>, u64)> {
    let mut bytes = 0_u64;
    let mut events: Vec<Event> = conversion.inspected.iter().map(Inspected::event).collect();
    let Conversion { digest, manifest, .. } = conversion;
    let content = |view: &mut _, digest| id.and_then(|id| Rows::row::<Contents>(view, &(id, digest)));
    let mut seen = Vec::new();
    for part in manifest.config.iter().chain(&manifest.layers) {
        if seen.contains(&part.digest) || came(part.digest) {
            continue;
        }
        seen.push(part.digest);
        if content(view, part.digest).is_some_and(|content| content.blob) {
            continue;
        }
        bytes = bytes.saturating_add(part.size);
        let (repository, name, size) = (key.clone(), name.clone(), part.size);
        let from = held_in.iter().filter(|name| !name.is_waiting_room()).find(|name| {
            name_id(view, key, name)
                .and_then(|id| view.row::<Contents>(&(id, part.digest)))
                .is_some_and(|content| content.blob)
        });
        events.push(match from {
            Some(from) => {
                let (from_repository, from_name) = (key.clone(), from.clone());
                Event::BlobMounted { repository, name, digest: part.digest, size, from_repository, from_name }
            }
            None if conversion.brought.contains(&part.digest) => {
                Event::BlobAdded { repository, name, digest: part.digest, size }
            }
            None => return Err(Error::ImageUnknown(id_of_image)),
        });
    }
    if !content(view, *digest).is_some_and(|content| content.manifest) {
        let kept = view.row::<Blobs>(digest).is_some_and(|blob| blob.holders > 0 && !blob.rotten);
        if !kept && !conversion.brought.contains(digest) {
            return Err(Error::ImageUnknown(id_of_image));
        }
        bytes = bytes.saturating_add(manifest.size);
        let (repository, name, manifest) = (key.clone(), name.clone(), manifest.clone());
        events.push(Event::ManifestPushed { repository, name, digest: *digest, manifest });
    }
    if id.and_then(|id| view.row::<Views>(&(id, *digest))).is_none() {
        let (repository, name) = (key.clone(), name.clone());
        events.push(Event::V1ViewAdded { repository, name, manifest: *digest, image });
    }
    Ok((events, bytes))
}

/// Images that were made of a manifest come into its name: what it is to V1 clients. `images`: each after its parent.
pub(super) fn add_view(
    view: &mut impl Rows,
    key: &RepoKey,
    name: &RepoName,
    manifest: Digest,
    images: &[V1Image],
    inspected: &[Inspected],
    brought: &[Digest],
) -> Result<Decision> {
    repository(view, key)?;
    let unknown = || Error::ManifestUnknown(manifest.to_string());
    let id = name_id(view, key, name).ok_or_else(unknown)?;
    if view.row::<Manifests>(&(id, manifest)).is_none() {
        return Err(unknown());
    }
    let Some(top) = images.last().filter(|_| view.row::<Views>(&(id, manifest)).is_none()) else {
        return Ok(Decision::done(Vec::new()));
    };
    let added = missing(view, key, Some(id), images.iter().cloned())?;
    let mut events: Vec<Event> = inspected.iter().map(Inspected::event).collect();
    for image in &added {
        let there = view.row::<Contents>(&(id, image.layer)).is_some_and(|content| content.blob);
        if !there && !brought.contains(&image.layer) {
            return Err(unknown());
        }
    }
    if !added.is_empty() {
        let (repository, name) = (key.clone(), name.clone());
        events.push(Event::V1ImagesAdded { repository, name, from: None, images: added });
    }
    let (repository, name) = (key.clone(), name.clone());
    events.push(Event::V1ViewAdded { repository, name, manifest, image: top.json });
    Ok(Decision::done(events))
}
