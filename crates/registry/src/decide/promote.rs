//! Promotion: tags come into other names, or other repositories, with all that they reach and all that says something
//! about it. No bytes are copied: both names hold them from then on.
//!
//! A promotion is one command, whatever it is of: readers see all of it or nothing.

use foldhash::HashSet;
use supercargo_eventlog::{DockerApiVersion, Event, RepositoryConfig};
use supercargo_model::{Digest, RepoKey, RepoName, Tag, tree};
use supercargo_projections::Rows;
use supercargo_projections::tables::{
    ContentRow, Contents, Folders, Images, Manifests, NameId, Properties, PropertiesRow, Referrers, Tags,
    Views, prefix,
};

use super::images::{self, sound};
use super::{manifests, name_id, repository};
use crate::command::{Decision, Outcome, PromotedTag, Promotion};
use crate::rules::{self, Room};
use crate::{Error, Result};

/// Most tags of one promotion.
const TAGS_MAX: usize = 10_000;
/// Most records of one promotion.
const EVENTS_MAX: usize = 250_000;
/// Most tags that go by the digest of what they are about, as cosign names signatures, and so come along with it.
const COMPANIONS_MAX: usize = 64;

/// Where tags come from.
struct Source<'c> {
    key: &'c RepoKey,
    name: &'c RepoName,
    id: NameId,
}

/// Where they come.
struct Target<'c> {
    key: &'c RepoKey,
    name: &'c RepoName,
    id: Option<NameId>,
    config: &'c RepositoryConfig,
    /// Whether its tags may be overwritten.
    overwriting: bool,
    /// What this command has looked at already, as what: a blob can be a manifest too.
    manifests: HashSet<Digest>,
    blobs: HashSet<Digest>,
    images: HashSet<Digest>,
    /// What it brings.
    brought: HashSet<Digest>,
    /// How many bytes that has.
    bytes: u64,
    missing: Vec<Digest>,
}

impl Target<'_> {
    fn content(&self, view: &mut impl Rows, digest: Digest) -> Option<ContentRow> {
        view.row::<Contents>(&(self.id?, digest))
    }

    /// Counts what comes, once, where nothing is there under that digest.
    fn count(&mut self, view: &mut impl Rows, digest: Digest, size: u64) {
        let there = self.content(view, digest).is_some_and(|content| content.present());
        if !there && self.brought.insert(digest) {
            self.bytes = self.bytes.saturating_add(size);
        }
    }
}

pub(super) fn promote(view: &mut impl Rows, promotion: &Promotion) -> Result<Decision> {
    let Promotion { from, to, names, tag, copy, overwriting } = promotion;
    let source = repository(view, from)?.config;
    let config = repository(view, to)?.config;
    let (from_version, to_version) = (source.docker_api_version, config.docker_api_version);
    if (from_version == DockerApiVersion::V1) != (to_version == DockerApiVersion::V1) {
        return Err(Error::ProtocolsDiffer { from: from.clone(), from_version, to: to.clone(), to_version });
    }
    let mut events = Vec::new();
    let mut promoted = Vec::new();
    let mut bytes = 0_u64;
    for (name, to_name) in names {
        let id = name_id(view, from, name).ok_or_else(|| Error::NameUnknown(name.clone()))?;
        let source = Source { key: from, name, id };
        let tags = tags_of(view, &source, tag.as_ref())?;
        if promoted.len() + tags.len() > TAGS_MAX {
            return Err(Error::Invalid(format!(
                "more than {TAGS_MAX} tags would be promoted at once: promote names, or tags, one by one"
            )));
        }
        let id = name_id(view, to, to_name);
        let of_name = events.len();
        let mut target = Target {
            key: to,
            name: to_name,
            id,
            config: &config,
            overwriting: overwriting.reach(to_name),
            manifests: HashSet::default(),
            blobs: HashSet::default(),
            images: HashSet::default(),
            brought: HashSet::default(),
            bytes: 0,
            missing: Vec::new(),
        };
        for (from_tag, to_tag, digest) in tags {
            if (from, name, &from_tag) == (to, to_name, &to_tag) {
                return Err(Error::Invalid(format!(
                    "{from}/{name}:{from_tag} would be promoted onto itself"
                )));
            }
            let before = events.len();
            bring(view, &source, &mut target, digest, &mut events)?;
            if tag.is_some() {
                bring_companions(view, &source, &mut target, digest, &mut events)?;
            }
            let present = set_tag(view, &source, &target, &to_tag, digest, &mut events)?;
            let kept = present == Some(digest);
            copy_properties(view, &source, &from_tag, &target, &to_tag, digest, kept, &mut events);
            let changed = !copy || events.len() > before;
            if changed {
                events.push(Event::Promoted {
                    repository: to.clone(),
                    name: to_name.clone(),
                    tag: to_tag.clone(),
                    digest,
                    from_repository: from.clone(),
                    from_name: name.clone(),
                    from_tag: from_tag.clone(),
                    moved: !copy,
                });
            }
            if !copy {
                events.push(manifests::tag_deleted(from, name, from_tag.clone(), digest));
            }
            if events.len() > EVENTS_MAX {
                return Err(Error::Invalid(format!(
                    "the promotion would make more than {EVENTS_MAX} records: promote names, or tags, one by one"
                )));
            }
            let (from_name, name) = (name.clone(), to_name.clone());
            promoted.push(PromotedTag { from_name, from_tag, name, tag: to_tag, digest, changed });
        }
        let limit = config.max_unique_tags;
        events.extend(manifests::beyond_the_limit(view, to, to_name, id, limit, &events[of_name..]));
        if !target.missing.is_empty() {
            return Err(Error::ManifestBlobUnknown(target.missing));
        }
        Room::of(view, &config.rules, to, to_name, target.id).more(bytes).check(target.bytes)?;
        bytes = bytes.saturating_add(target.bytes);
    }
    Ok(Decision { events, outcome: Outcome::Promoted(promoted) })
}

/// The tags that come, what they are called then, and what they point to.
fn tags_of(
    view: &mut impl Rows,
    source: &Source<'_>,
    tag: Option<&(Tag, Tag)>,
) -> Result<Vec<(Tag, Tag, Digest)>> {
    if let Some((tag, to_tag)) = tag {
        let row = view.row::<Tags>(&(source.id, tag.clone()));
        let row = row.ok_or_else(|| Error::TagUnknown(tag.clone()))?;
        return Ok(vec![(tag.clone(), to_tag.clone(), row.digest)]);
    }
    let tags = view.scan_prefix::<Tags>(&prefix::tags(source.id), None, TAGS_MAX + 1);
    if tags.is_empty() {
        return Err(Error::NameUnknown(source.name.clone()));
    }
    Ok(tags.into_iter().map(|((_, tag), row)| (tag.clone(), tag, row.digest)).collect())
}

/// What a tag points to comes into the name: a manifest, with all that it reaches and all that refers to it, or an image
/// with those that it was made from. What is there already stays as it is.
fn bring(
    view: &mut impl Rows,
    source: &Source<'_>,
    target: &mut Target<'_>,
    digest: Digest,
    events: &mut Vec<Event>,
) -> Result<()> {
    if view.row::<Images>(&(source.id, digest)).is_some() {
        return bring_image(view, source, target, digest, events);
    }
    // What holds something comes after what it holds. Lists of lists can be nested deeply.
    let mut waiting = vec![(digest, false)];
    while let Some((digest, parts_are_there)) = waiting.pop() {
        if parts_are_there {
            bring_manifest(view, source, target, digest, events)?;
            continue;
        }
        if !target.manifests.insert(digest) {
            continue;
        }
        let Some(row) = view.row::<Manifests>(&(source.id, digest)) else {
            target.missing.push(digest);
            continue;
        };
        rules::check_manifest(&target.config.rules, &row.manifest)?;
        waiting.push((digest, true));
        for part in row.manifest.config.iter().chain(&row.manifest.layers).filter(|part| !part.foreign) {
            bring_blob(view, source, target, part.digest, events)?;
        }
        for child in &row.manifest.children {
            let content = view.row::<Contents>(&(source.id, child.digest));
            match content {
                Some(content) if content.manifest => waiting.push((child.digest, false)),
                Some(content) if content.blob => {
                    bring_blob(view, source, target, child.digest, events)?;
                }
                _ if target.config.sparse_index => {}
                _ => target.missing.push(child.digest),
            }
        }
        let referrers = prefix::referrers(source.id, &digest);
        let referrers = view.scan_prefix::<Referrers>(&referrers, None, usize::MAX);
        waiting.extend(referrers.into_iter().map(|((_, _, referrer), ())| (referrer, false)));
    }
    Ok(())
}

fn bring_blob(
    view: &mut impl Rows,
    source: &Source<'_>,
    target: &mut Target<'_>,
    digest: Digest,
    events: &mut Vec<Event>,
) -> Result<()> {
    if !target.blobs.insert(digest) {
        return Ok(());
    }
    let sound = sound(view, &digest);
    let there = target.content(view, digest);
    if sound && there.is_some_and(|content| content.blob) {
        return Ok(());
    }
    // What a manifest says of its size is what its pusher says.
    let held = view.row::<Contents>(&(source.id, digest)).filter(|content| sound && content.blob);
    let Some(ContentRow { size, .. }) = held else {
        target.missing.push(digest);
        return Ok(());
    };
    let rules = &target.config.rules;
    Room::of(view, rules, target.key, target.name, target.id).check_blob(size)?;
    target.count(view, digest, size);
    events.push(Event::BlobMounted {
        repository: target.key.clone(),
        name: target.name.clone(),
        digest,
        size,
        from_repository: source.key.clone(),
        from_name: source.name.clone(),
    });
    Ok(())
}

/// A manifest comes into the name, after all that it holds.
fn bring_manifest(
    view: &mut impl Rows,
    source: &Source<'_>,
    target: &mut Target<'_>,
    digest: Digest,
    events: &mut Vec<Event>,
) -> Result<()> {
    let Some(row) = view.row::<Manifests>(&(source.id, digest)) else { return Ok(()) };
    if !sound(view, &digest) {
        target.missing.push(digest);
        return Ok(());
    }
    let there = target.content(view, digest);
    if there.is_some_and(|content| content.image) {
        let (name, key) = (target.name, target.key);
        return Err(Error::Invalid(format!("{digest} is the JSON of a V1 image in {key}/{name}")));
    }
    if !there.is_some_and(|content| content.manifest) {
        target.count(view, digest, row.manifest.size);
        let (repository, name) = (target.key.clone(), target.name.clone());
        events.push(Event::ManifestPushed { repository, name, digest, manifest: row.manifest });
    }
    bring_view(view, source, target, digest, events);
    Ok(())
}

/// What a manifest is to V1 clients comes along where they are served: else it would be called otherwise. Where other
/// images have those ids, it is made anew as it is asked for.
fn bring_view(
    view: &mut impl Rows,
    source: &Source<'_>,
    target: &mut Target<'_>,
    manifest: Digest,
    events: &mut Vec<Event>,
) {
    let known = target.id.and_then(|id| view.row::<Views>(&(id, manifest)));
    let image = view.row::<Views>(&(source.id, manifest));
    let (DockerApiVersion::Both, None, Some(image)) = (target.config.docker_api_version, known, image) else {
        return;
    };
    let before = events.len();
    if bring_image(view, source, target, image, events).is_err() {
        events.truncate(before);
        return;
    }
    let (repository, name) = (target.key.clone(), target.name.clone());
    events.push(Event::V1ViewAdded { repository, name, manifest, image });
}

/// An image comes into the name, with those that it was made from.
fn bring_image(
    view: &mut impl Rows,
    source: &Source<'_>,
    target: &mut Target<'_>,
    json: Digest,
    events: &mut Vec<Event>,
) -> Result<()> {
    let Some(row) = view.row::<Images>(&(source.id, json)) else {
        target.missing.push(json);
        return Ok(());
    };
    let top = (row.image.id, json);
    let chain = images::chain(view, source.key, None, top, std::slice::from_ref(source.name))?;
    images::check_same_layers(view, target.id, &chain)?;
    let chain = chain.into_iter().rev().filter(|image| !target.images.contains(&image.json));
    let added = images::missing(view, target.key, target.id, chain)?;
    images::check_layers(view, target.id, &added)?;
    let room = Room::of(view, &target.config.rules, target.key, target.name, target.id);
    for image in &added {
        rules::check_manifest(&target.config.rules, &images::as_manifest(image))?;
        room.check_blob(image.layer_size)?;
    }
    for image in &added {
        target.count(view, image.json, image.json_size);
        target.count(view, image.layer, image.layer_size);
        target.images.insert(image.json);
        target.blobs.insert(image.layer);
    }
    if !added.is_empty() {
        let (repository, name) = (target.key.clone(), target.name.clone());
        events.push(Event::V1ImagesAdded { repository, name, from: None, images: added });
    }
    Ok(())
}

/// Tags that are called by the digest of what they are about come along with it: clients that know no referrers keep
/// signatures so.
fn bring_companions(
    view: &mut impl Rows,
    source: &Source<'_>,
    target: &mut Target<'_>,
    digest: Digest,
    events: &mut Vec<Event>,
) -> Result<()> {
    let mut start = prefix::tags(source.id);
    start.extend_from_slice(digest.to_string().replacen(':', "-", 1).as_bytes());
    for ((_, tag), row) in view.scan_prefix::<Tags>(&start, None, COMPANIONS_MAX) {
        bring(view, source, target, row.digest, events)?;
        set_tag(view, source, target, &tag, row.digest, events)?;
    }
    Ok(())
}

/// Sets a tag of the target, and says where it pointed before.
fn set_tag(
    view: &mut impl Rows,
    source: &Source<'_>,
    target: &Target<'_>,
    tag: &Tag,
    digest: Digest,
    events: &mut Vec<Event>,
) -> Result<Option<Digest>> {
    let present = target.id.and_then(|id| view.row::<Tags>(&(id, tag.clone()))).map(|row| row.digest);
    rules::check_tag(&target.config.rules, tag, present, digest)?;
    if !target.overwriting && present.is_some_and(|present| present != digest) {
        let (repository, name, tag) = (target.key.clone(), target.name.clone(), tag.clone());
        return Err(Error::TagForbidden { repository, name, tag });
    }
    let manifest = view.row::<Manifests>(&(source.id, digest)).map(|row| row.manifest);
    rules::check_path(target.config, || match manifest {
        Some(manifest) => manifests::manifest_file(&tree::tag_folder(target.name, tag), &manifest),
        None => format!("{}/{}", tree::v1_tag_folder(target.name, tag), tree::V1_TAG),
    })?;
    if present != Some(digest) {
        let (repository, name, tag) = (target.key.clone(), target.name.clone(), tag.clone());
        events.push(Event::TagSet { repository, name, tag, digest, previous: present });
    }
    Ok(present)
}

/// What people said of a tag, and of the files beside it, is said of it there too. `kept`: it points there already, so that
/// what is said there of its files still holds.
fn copy_properties(
    view: &mut impl Rows,
    source: &Source<'_>,
    from_tag: &Tag,
    target: &Target<'_>,
    to_tag: &Tag,
    digest: Digest,
    kept: bool,
    events: &mut Vec<Event>,
) {
    let image = view.row::<Images>(&(source.id, digest)).is_some();
    let folder = if image { tree::v1_tag_folder } else { tree::tag_folder };
    let (from, to) = (folder(source.name, from_tag), folder(target.name, to_tag));
    for (below, row) in properties_of_tag(view, source.key, &from, image) {
        let path = format!("{to}{below}");
        events.extend(said_too(view, target.key, path, &row, kept || below.is_empty()));
    }
}

/// The properties of a tag's folder and of the files in it that stand for the tag, by what their paths have behind the
/// folder's. Names may have folders and files of their own in it. `image`: whether the tag is one on a V1 image.
pub(super) fn properties_of_tag(
    view: &mut impl Rows,
    key: &RepoKey,
    folder: &str,
    image: bool,
) -> Vec<(String, PropertiesRow)> {
    let is_of_tag = |file: &str| match file {
        tree::V1_TAG => image,
        tree::MANIFEST | tree::INDEX => !image,
        file => !image && tree::blob_of_file(file).is_some(),
    };
    let mut found = Vec::new();
    found.extend(view.row::<Properties>(&(key.clone(), folder.to_owned())).map(|row| (String::new(), row)));
    let rows = prefix::properties(key, &format!("{folder}/"));
    for ((key, path), row) in view.scan_prefix::<Properties>(&rows, None, usize::MAX) {
        let below = path.get(folder.len()..).unwrap_or_default();
        if is_of_tag(below.trim_start_matches('/')) && view.row::<Folders>(&(key, path.clone())).is_none() {
            found.push((below.to_owned(), row));
        }
    }
    found
}

/// What has to be said of a path, so that all of these are properties of it. `kept`: those that it has still hold.
pub(super) fn said_too(
    view: &mut impl Rows,
    key: &RepoKey,
    path: String,
    row: &PropertiesRow,
    kept: bool,
) -> Option<Event> {
    let known = view.row::<Properties>(&(key.clone(), path.clone())).filter(|_| kept).unwrap_or_default();
    let set = row.iter().filter(|(property, values)| known.get(*property) != Some(*values));
    let set: Vec<_> = set.map(|(property, values)| (property.clone(), values.clone())).collect();
    (!set.is_empty()).then(|| Event::PropertiesSet {
        repository: key.clone(),
        path,
        set,
        removed: Vec::new(),
    })
}

#[cfg(test)]
mod tests;
