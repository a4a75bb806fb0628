//! Migration: a tag on a V1 image becomes a tag on the manifest that the image is converted to, in another repository.
//!
//! What it is converted to is a function of what was pushed, so that nothing is left to do where it was done before.

use supercargo_eventlog::{DockerApiVersion, Event};
use supercargo_model::tree;
use supercargo_projections::Rows;
use supercargo_projections::tables::{Images, MigrationRow, Migrations, Tags};

use super::{images, manifests, name_id, promote, repository};
use crate::command::{Decision, Migration, Outcome};
use crate::rules::{self, Room};
use crate::{Error, Result};

pub(super) fn migrate(view: &mut impl Rows, migration: &Migration) -> Result<Decision> {
    let Migration { from, name, tag, json, layers, to, conversion, force } = migration;
    let version = repository(view, from)?.config.docker_api_version;
    if version != DockerApiVersion::V1 {
        let why = "only what a repository of version V1 holds is migrated";
        return Err(Error::WrongProtocol { repository: from.clone(), version, why });
    }
    let config = repository(view, to)?.config;
    if config.docker_api_version == DockerApiVersion::V1 {
        let (version, why) = (config.docker_api_version, "migration is into a repository of version V2");
        return Err(Error::WrongProtocol { repository: to.clone(), version, why });
    }
    let source = name_id(view, from, name).ok_or_else(|| Error::NameUnknown(name.clone()))?;
    let row = view.row::<Tags>(&(source, tag.clone())).ok_or_else(|| Error::TagUnknown(tag.clone()))?;
    let image = view.row::<Images>(&(source, *json)).filter(|_| row.digest == *json);
    let Some(top) = image.map(|row| row.image) else {
        return Err(Error::Precondition(format!(
            "tag {tag} of {from}/{name} points at another image by now"
        )));
    };
    let id = name_id(view, to, name);
    let key = id.map(|id| (id, tag.clone()));
    let present = key.as_ref().and_then(|key| view.row::<Tags>(key)).map(|row| row.digest);
    let known = key.as_ref().and_then(|key| view.row::<Migrations>(key));
    let digest = conversion.digest;
    if let Some(present) = present.filter(|present| *present != digest)
        && !force
        && known.as_ref().is_none_or(|known| known.digest != present)
    {
        return Err(Error::TagInTheWay { name: name.clone(), tag: tag.clone(), present });
    }
    rules::check_tag(&config.rules, tag, present, digest)?;
    rules::check_manifest(&config.rules, &conversion.manifest)?;
    let (source_folder, folder) = (tree::v1_tag_folder(name, tag), tree::tag_folder(name, tag));
    rules::check_path(&config, || manifests::manifest_file(&folder, &conversion.manifest))?;
    let place = (to, name, id);
    let held_in = std::slice::from_ref(name);
    let chain = images::chain(view, from, None, (top.id, *json), held_in)?;
    if !chain.iter().map(|image| &image.layer).eq(layers) {
        return Err(Error::Precondition(format!(
            "image {} of {from}/{name} has other layers by now than those that were converted",
            top.id
        )));
    }
    images::check_same_layers(view, id, &chain)?;
    // Who is served both finds the image under the id that it always had.
    let added = match config.docker_api_version {
        DockerApiVersion::Both => images::missing(view, to, id, chain.iter().rev().cloned())?,
        DockerApiVersion::V1 | DockerApiVersion::V2 => Vec::new(),
    };
    images::check_layers(view, id, &added)?;
    let mut bytes = images::new_bytes(view, id, &added);
    let mut events = Vec::new();
    if !added.is_empty() {
        let (repository, name) = (to.clone(), name.clone());
        events.push(Event::V1ImagesAdded { repository, name, from: None, images: added.clone() });
    }
    let (more, more_bytes) = images::convert(view, place, &chain, &added, (from, held_in), conversion)?;
    events.extend(more);
    bytes = bytes.saturating_add(more_bytes);
    if config.docker_api_version == DockerApiVersion::Both {
        events.extend(images::view_of(view, place, digest, *json));
    }
    let room = Room::of(view, &config.rules, to, name, id);
    for layer in &conversion.manifest.layers {
        room.check_blob(layer.size)?;
    }
    room.check(bytes)?;
    if present != Some(digest) {
        let (repository, name, tag) = (to.clone(), name.clone(), tag.clone());
        events.push(Event::TagSet { repository, name, tag, digest, previous: present });
    }
    let now = MigrationRow {
        digest,
        from_repository: from.clone(),
        from_name: name.clone(),
        from_tag: tag.clone(),
        image: top.id,
    };
    // What somebody else had put there, just so, stays theirs.
    if known.as_ref() != Some(&now) && (present != Some(digest) || known.is_some()) {
        events.push(Event::Migrated {
            repository: to.clone(),
            name: name.clone(),
            tag: tag.clone(),
            digest,
            from_repository: from.clone(),
            from_name: name.clone(),
            from_tag: tag.clone(),
            image: top.id,
        });
    }
    events.extend(manifests::beyond_the_limit(view, to, name, id, config.max_unique_tags, &events));
    for (below, row) in promote::properties_of_tag(view, from, &source_folder, true) {
        let path = match below.strip_prefix('/') {
            Some(tree::V1_TAG) => format!("{folder}/{}", tree::MANIFEST),
            _ => format!("{folder}{below}"),
        };
        let kept = below.is_empty() || present == Some(digest);
        events.extend(promote::said_too(view, to, path, &row, kept));
    }
    let changed = !events.is_empty();
    Ok(Decision { events, outcome: Outcome::Migrated { digest, changed } })
}

#[cfg(test)]
mod tests;
