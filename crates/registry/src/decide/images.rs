//! V1 images: pushed into the waiting room, brought into a name by its tag, made of a manifest for V1 clients.

use std::fmt::Display;

use supercargo_eventlog::{DockerApiVersion, Event, V1Image};
use supercargo_model::{Digest, ImageId, Manifest, RepoKey, RepoName, Tag, limits, media_type, tree};
use supercargo_projections::Rows;
use supercargo_projections::tables::{
    Blobs, ContentState, Contents, Images, ImagesById, Layers, Manifests, NameId, References, Source, Tags,
    Views, Wait, prefix,
};

use super::manifests::{self, beyond_the_limit, manifest_file};
use super::{name_id, repository};
use crate::command::{Conversion, Decision, Inspected};
use crate::rules::{self, Room};
use crate::{Error, Result};

/// An image as rules see manifests.
pub(super) fn as_manifest(image: &V1Image) -> Manifest {
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

/// Whether there are bytes of that digest that nothing is wrong with.
pub(super) fn sound(view: &mut impl Rows, digest: &Digest) -> bool {
    view.row::<Blobs>(digest).is_some_and(|blob| blob.holders > 0 && !blob.rotten)
}

/// An image of a name, where the name has all of it: a layer can be deleted by itself, and rot.
fn whole(view: &mut impl Rows, name: NameId, json: Digest) -> Option<V1Image> {
    let image = view.row::<Images>(&(name, json))?.image;
    let layer = view.row::<Contents>(&(name, image.layer)).is_some_and(|layer| layer.blob);
    (layer && sound(view, &json) && sound(view, &image.layer)).then_some(image)
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
        if content.is_some_and(|content| !deleted(content.state)) && whole(view, room, image.json).is_some() {
            return Ok(Decision::done(Vec::new()));
        }
    }
    let mut depth = 1;
    if let Some(parent) = image.parent {
        let held_in = parent_in.and_then(|name| name_id(view, key, name));
        let found = [held_in, room].into_iter().flatten().find_map(|id| whole(view, id, parent.json));
        depth += found.ok_or(Error::ParentUnknown(parent.id))?.depth;
    }
    if depth as usize > limits::IMAGE_CHAIN_MAX {
        return Err(Error::ChainTooDeep);
    }
    if let Some(room) = room {
        check_no_ring(view, room, image)?;
    }
    let image = V1Image { depth, ..image.clone() };
    check_layers(view, room, std::slice::from_ref(&image))?;
    let bytes = new_bytes(view, room, std::slice::from_ref(&image));
    let room = Room::of(view, &rules, key, room_name, room);
    room.check_blob(image.layer_size)?;
    room.check(bytes)?;
    let (repository, name) = (key.clone(), room_name.clone());
    Ok(Decision::done(vec![Event::V1ImagePushed { repository, name, image }]))
}

/// Refuses an image that would be made from itself: by way of images of the waiting room, whose parents can be what
/// other names have under the same ids. Such a ring would hold itself for ever.
fn check_no_ring(view: &mut impl Rows, room: NameId, image: &V1Image) -> Result<()> {
    // Where nothing in the room was made from it, there is none.
    if view.row::<Contents>(&(room, image.json)).is_none() {
        return Ok(());
    }
    let mut parent = image.parent;
    for _ in 0..=limits::IMAGE_CHAIN_MAX {
        match parent {
            None => return Ok(()),
            Some(parent) if parent.json == image.json => {
                return Err(Error::Invalid(format!("image {} would be made from itself", image.id)));
            }
            Some(above) => {
                parent = view.row::<Images>(&(room, above.json)).and_then(|row| row.image.parent);
            }
        }
    }
    Err(Error::ChainTooDeep)
}

/// An image and those that it was made from, down to its base: as the name has them that they are to be in, else as one
/// of those does in which the caller found them.
pub(super) fn chain(
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
        let image = names.iter().find_map(|name| whole(view, *name, json)).ok_or(Error::ImageUnknown(id))?;
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

/// Images that a name is to hold, each after its parent, less those that it holds already with all that they are.
pub(super) fn missing(
    view: &mut impl Rows,
    key: &RepoKey,
    id: Option<NameId>,
    images: impl Iterator<Item = V1Image>,
) -> Result<Vec<V1Image>> {
    let mut missing: Vec<V1Image> = Vec::new();
    for image in images {
        if let Some(id) = id {
            if whole(view, id, image.json).is_some() {
                continue;
            }
            let known = view.row::<ImagesById>(&(key.clone(), image.id, id));
            let taken = known.is_some_and(|known| known != image.json);
            if taken || view.row::<Manifests>(&(id, image.json)).is_some() {
                return Err(Error::ImageExists(image.id));
            }
        }
        // Two of an id in one chain can come from different names.
        if missing.iter().any(|other| other.id == image.id) {
            return Err(Error::ImageExists(image.id));
        }
        missing.push(image);
    }
    Ok(missing)
}

/// Refuses images with layers that hold something themselves, in the name or in one another: what such a layer holds
/// could hold the image, and neither would ever be collected.
pub(super) fn check_layers(view: &mut impl Rows, id: Option<NameId>, images: &[V1Image]) -> Result<()> {
    let content = |view: &mut _, digest| id.and_then(|id| Rows::row::<Contents>(view, &(id, digest)));
    for V1Image { id, json, layer, .. } in images {
        let holds = images.iter().any(|other| other.json == *layer)
            || content(view, *layer).is_some_and(|content| content.image || content.manifest);
        if holds {
            return Err(Error::Invalid(format!(
                "layer {layer} of image {id} is itself an image or a manifest"
            )));
        }
        if content(view, *json).is_some_and(|content| content.blob) {
            return Err(Error::Invalid(format!(
                "the JSON of image {id}, {json}, is there as a layer or another blob"
            )));
        }
    }
    Ok(())
}

/// Refuses images that a name has with other layers: an image's JSON says nothing of its layer, and what comes there has
/// to be what it was where it comes from.
pub(super) fn check_same_layers(view: &mut impl Rows, id: Option<NameId>, images: &[V1Image]) -> Result<()> {
    let Some(id) = id else { return Ok(()) };
    let other = images
        .iter()
        .find(|image| whole(view, id, image.json).is_some_and(|known| known.layer != image.layer));
    other.map_or(Ok(()), |image| Err(Error::ImageExists(image.id)))
}

/// How many bytes would come into a name with these images.
pub(super) fn new_bytes(view: &mut impl Rows, id: Option<NameId>, images: &[V1Image]) -> u64 {
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

/// How many bytes leave a waiting room with these images.
fn left_bytes(view: &mut impl Rows, key: &RepoKey, room: &RepoName, images: &[V1Image]) -> u64 {
    let Some(room) = name_id(view, key, room) else { return 0 };
    let mut bytes = 0_u64;
    let mut asked: Vec<Digest> = Vec::new();
    for image in images {
        if view.row::<Images>(&(room, image.json)).is_none() {
            continue;
        }
        bytes = bytes.saturating_add(image.json_size);
        if asked.contains(&image.layer) {
            continue;
        }
        asked.push(image.layer);
        // Where there are more than could leave, one of them stays.
        let sources =
            view.scan_prefix::<References>(&prefix::references(room, &image.layer), None, images.len() + 1);
        let leaves = |source: &Source| match source {
            Source::Manifest(other) => images.iter().any(|image| image.json == *other),
            Source::Tag(_) => false,
        };
        if sources.iter().all(|((_, _, source), _)| leaves(source)) {
            bytes = bytes.saturating_add(image.layer_size);
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
    let config = repository(view, key)?.config;
    if conversion.is_none() && config.docker_api_version != DockerApiVersion::V1 {
        // It speaks V2 too since the image was looked up: whoever asks finds it again, and converts it.
        return Err(Error::ImageUnknown(image.0));
    }
    let id = name_id(view, key, name);
    let target = conversion.map_or(image.1, |conversion| conversion.digest);
    let previous = id.and_then(|id| view.row::<Tags>(&(id, tag.clone()))).map(|row| row.digest);
    rules::check_tag(&config.rules, tag, previous, target)?;
    rules::check_path(&config, || match conversion {
        Some(conversion) => manifest_file(&tree::tag_folder(name, tag), &conversion.manifest),
        None => format!("{}/{}", tree::v1_tag_folder(name, tag), tree::V1_TAG),
    })?;
    let chain = chain(view, key, id, image, held_in)?;
    let added = missing(view, key, id, chain.iter().rev().cloned())?;
    check_layers(view, id, &added)?;
    let mut events = Vec::new();
    let mut bytes = new_bytes(view, id, &added);
    let from = held_in.iter().find(|name| name.is_waiting_room()).cloned();
    let left = from.as_ref().map_or(0, |room| left_bytes(view, key, room, &added));
    if !added.is_empty() {
        let (repository, name) = (key.clone(), name.clone());
        events.push(Event::V1ImagesAdded { repository, name, from, images: added.clone() });
    }
    if let Some(conversion) = conversion {
        let (more, more_bytes) = convert(view, (key, name, id), &chain, &added, (key, held_in), conversion)?;
        events.extend(more);
        events.extend(view_of(view, (key, name, id), conversion.digest, image.1));
        bytes = bytes.saturating_add(more_bytes);
    }
    Room::of(view, &config.rules, key, name, id).less(left).check(bytes)?;
    if previous != Some(target) {
        let (repository, name, tag) = (key.clone(), name.clone(), tag.clone());
        events.push(Event::TagSet { repository, name, tag, digest: target, previous });
    }
    events.extend(beyond_the_limit(view, key, name, id, config.max_unique_tags, &events));
    Ok(Decision::done(events))
}

/// Whether it is one of these layers packed anew, and kept in whichever name: as good as made again.
fn is_packed_of(view: &mut impl Rows, layers: &[Digest], digest: Digest) -> bool {
    let packed = layers.iter().any(|layer| {
        view.row::<Layers>(layer).and_then(|row| row.packed).is_some_and(|packed| packed.digest == digest)
    });
    packed && sound(view, &digest)
}

/// What an image is converted to comes into the name. `chain`: the image and those that it was made from; `added`:
/// those of them that come with it; `held_in`: the names of a repository that hold them. Answers with how many bytes that
/// brings.
pub(super) fn convert(
    view: &mut impl Rows,
    (key, name, id): (&RepoKey, &RepoName, Option<NameId>),
    chain: &[V1Image],
    added: &[V1Image],
    held_in: (&RepoKey, &[RepoName]),
    conversion: &Conversion,
) -> Result<(Vec<Event>, u64)> {
    let (from_key, held_in) = held_in;
    let Some(top) = chain.first() else { return Ok((Vec::new(), 0)) };
    let layers: Vec<Digest> = chain.iter().map(|image| image.layer).collect();
    let mut bytes = 0_u64;
    let mut events: Vec<Event> = conversion.inspected.iter().map(Inspected::event).collect();
    let Conversion { digest, manifest, .. } = conversion;
    let content = |view: &mut _, digest| id.and_then(|id| Rows::row::<Contents>(view, &(id, digest)));
    let mut seen = Vec::new();
    for part in manifest.config.iter().chain(&manifest.layers) {
        if seen.contains(&part.digest) || added.iter().any(|image| image.layer == part.digest) {
            continue;
        }
        seen.push(part.digest);
        let sound = sound(view, &part.digest);
        if sound && content(view, part.digest).is_some_and(|content| content.blob) {
            continue;
        }
        let from = held_in.iter().filter(|name| sound && !name.is_waiting_room()).find_map(|name| {
            let id = name_id(view, from_key, name)?;
            let content = view.row::<Contents>(&(id, part.digest)).filter(|content| content.blob)?;
            Some((name, content.size))
        });
        // What is there has the size that it has, and not the one that a manifest says.
        let size = from.map_or(part.size, |(_, size)| size);
        bytes = bytes.saturating_add(size);
        let (repository, name) = (key.clone(), name.clone());
        events.push(match from {
            Some((from, _)) => {
                let (from_repository, from_name) = (from_key.clone(), from.clone());
                Event::BlobMounted { repository, name, digest: part.digest, size, from_repository, from_name }
            }
            None if conversion.brought.contains(&part.digest) || is_packed_of(view, &layers, part.digest) => {
                Event::BlobAdded { repository, name, digest: part.digest, size }
            }
            None => return Err(Error::ImageUnknown(top.id)),
        });
    }
    let kept = sound(view, digest);
    if !kept || !content(view, *digest).is_some_and(|content| content.manifest) {
        if !kept && !conversion.brought.contains(digest) {
            return Err(Error::ImageUnknown(top.id));
        }
        bytes = bytes.saturating_add(manifest.size);
        let (repository, name, manifest) = (key.clone(), name.clone(), manifest.clone());
        events.push(Event::ManifestPushed { repository, name, digest: *digest, manifest });
    }
    events.extend(manifests::config_read(view, manifest, &conversion.labels));
    Ok((events, bytes))
}

/// From now on a manifest is to V1 clients what the image is that it was converted from.
pub(super) fn view_of(
    view: &mut impl Rows,
    (key, name, id): (&RepoKey, &RepoName, Option<NameId>),
    manifest: Digest,
    image: Digest,
) -> Option<Event> {
    let known = id.and_then(|id| view.row::<Views>(&(id, manifest)));
    let (repository, name) = (key.clone(), name.clone());
    known.is_none().then_some(Event::V1ViewAdded { repository, name, manifest, image })
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
    let rules = repository(view, key)?.config.rules;
    let unknown = || Error::ManifestUnknown(manifest.to_string());
    let id = name_id(view, key, name).ok_or_else(unknown)?;
    let row = view.row::<Manifests>(&(id, manifest)).ok_or_else(unknown)?;
    let layers: Vec<Digest> = row.manifest.layers.iter().map(|layer| layer.digest).collect();
    let Some(top) = images.last().filter(|_| view.row::<Views>(&(id, manifest)).is_none()) else {
        return Ok(Decision::done(Vec::new()));
    };
    let added = missing(view, key, Some(id), images.iter().cloned())?;
    let not = |why: &dyn Display| {
        Error::NotConvertible(format!("manifest {manifest} can't be shown to V1 clients: {why}"))
    };
    check_layers(view, Some(id), &added).map_err(|error| not(&error))?;
    // Whoever only reads learns that it can't be shown, and breaks no quota.
    let bytes = new_bytes(view, Some(id), &added);
    Room::of(view, &rules, key, name, Some(id)).check(bytes).map_err(|broken| not(&broken))?;
    let mut events: Vec<Event> = inspected.iter().map(Inspected::event).collect();
    for image in &added {
        let there = view.row::<Contents>(&(id, image.layer)).is_some_and(|content| content.blob);
        let brought = brought.contains(&image.layer) || is_packed_of(view, &layers, image.layer);
        if !there && !brought {
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

#[cfg(test)]
mod tests;
