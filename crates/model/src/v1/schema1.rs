//! Manifests of schema 1, as V2 clients want them that know no other: a list of V1 images' JSON beside the blobs of
//! their layers.
//!
//! What lives here: the images that such a manifest has, and its payload. What does not: signatures, which hold a time
//! and so are made once and kept.

use std::borrow::Cow;

use super::config::{diff_ids, v1_json};
use super::history::Step;
use super::raw::{self, ObjectWriter};
use super::typed::{self, Malformed};
use super::{ChainImage, ConvertError, empty_layer, hashed_id, sha256};
use crate::{Digest, ImageId, RepoName, Tag};

/// One image of a schema 1 manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schema1Image<'j> {
    /// Its id.
    pub id: ImageId,
    /// The blob of its layer. For an image without one it is [`super::empty_layer`], which the registry then has to
    /// hold.
    pub blob: Digest,
    /// Its V1 JSON.
    pub v1_compatibility: Cow<'j, str>,
}

/// The images of a chain of V1 images, base first.
///
/// # Errors
/// [`ConvertError::Image`] where one's JSON is not text.
pub fn from_chain<'j>(chain: &[ChainImage<'j>]) -> Result<Vec<Schema1Image<'j>>, ConvertError> {
    chain
        .iter()
        .map(|image| {
            let json = typed::utf8(image.json).map_err(|e| ConvertError::image(image.id, e))?;
            Ok(Schema1Image { id: image.id, blob: image.blob, v1_compatibility: Cow::Borrowed(json) })
        })
        .collect()
}

/// The images of an image with this config and these blobs as layers, base first, as docker/distribution makes them
/// up: one for each step of its history.
///
/// # Errors
/// [`ConvertError::Config`] where the config is not that of an image or has no history, and
/// [`ConvertError::LayerCount`] where the blobs are not as many as its `diff_ids`, or as the steps that made a layer.
pub fn from_config(config: &[u8], blobs: &[Digest]) -> Result<Vec<Schema1Image<'static>>, ConvertError> {
    let malformed = |e| ConvertError::config(config, e);
    let (text, steps, diff_ids) = read(config).map_err(malformed)?;
    let made = steps.iter().filter(|step| !step.empty_layer).count();
    for expected in [diff_ids.len(), made] {
        if expected != blobs.len() {
            return Err(ConvertError::LayerCount { digest: sha256(config), expected, layers: blobs.len() });
        }
    }
    let mut blobs = blobs.iter();
    let mut images: Vec<Schema1Image<'_>> = Vec::with_capacity(steps.len());
    for (at, step) in steps.iter().enumerate() {
        let blob = if step.empty_layer { None } else { blobs.next().copied() }.unwrap_or_else(empty_layer);
        let parent = images.last().map(|below| below.id);
        let below = parent.map(|id| id.to_string()).unwrap_or_default();
        let (id, json) = if at + 1 == steps.len() {
            let id = hashed_id(&format!("{} {below} {text}", blob.hex()));
            let json = v1_json(text, &["rootfs", "history"], &id, parent.as_ref(), step.empty_layer);
            (id, json.map_err(malformed)?)
        } else {
            let id = hashed_id(&format!("{} {below}", blob.hex()));
            (id, step_json(step, &id, &below))
        };
        images.push(Schema1Image { id, blob, v1_compatibility: Cow::Owned(json) });
    }
    Ok(images)
}

fn read(config: &[u8]) -> Result<(&str, Vec<Step<'_>>, Vec<Digest>), Malformed> {
    let text = typed::utf8(config)?;
    let [history] = typed::pick(text, ["history"])?;
    let steps = Step::of_config(history)?;
    if steps.is_empty() {
        return Err(Malformed("it has no history, and schema 1 is made of it".to_owned()));
    }
    Ok((text, steps, diff_ids(text)?))
}

/// The JSON of an image below the top: it can't be run, but it says how it came to be.
fn step_json(step: &Step<'_>, id: &ImageId, parent: &str) -> String {
    let mut out = String::new();
    let mut json = ObjectWriter::new(&mut out);
    json.string("id", &id.to_string());
    json.string_if_any("parent", parent);
    json.string_if_any("comment", &step.comment);
    json.string("created", &step.created);
    let mut container = ObjectWriter::new(json.member("container_config"));
    raw::write_list(container.member("Cmd"), [&step.created_by], |out, text| raw::write_string(out, text));
    container.end();
    json.string_if_any("author", &step.author);
    if step.empty_layer {
        json.member("throwaway").push_str("true");
    }
    json.end();
    out
}

/// The payload of a manifest of these images, which come base first: to the byte what docker/distribution signs, so
/// with the top first. Its architecture is what the top says.
pub fn payload(name: &RepoName, tag: &Tag, images: &[Schema1Image<'_>]) -> Vec<u8> {
    let architecture = images.last().and_then(|top| {
        let [architecture] = typed::pick(&top.v1_compatibility, ["architecture"]).ok()?;
        raw::string(architecture?)
    });
    let mut out = String::from("{\n   \"schemaVersion\": 1,\n   \"name\": ");
    raw::write_string(&mut out, name.as_str());
    out.push_str(",\n   \"tag\": ");
    raw::write_string(&mut out, tag.as_str());
    out.push_str(",\n   \"architecture\": ");
    raw::write_string(&mut out, &architecture.unwrap_or_default());
    write_objects(&mut out, "fsLayers", "blobSum", images.iter().rev().map(|image| image.blob.to_string()));
    write_objects(
        &mut out,
        "history",
        "v1Compatibility",
        images.iter().rev().map(|image| &image.v1_compatibility),
    );
    out.push_str("\n}");
    out.into_bytes()
}

/// Writes the member `name`, a list of objects that have one member each.
fn write_objects(out: &mut String, name: &str, member: &str, values: impl Iterator<Item = impl AsRef<str>>) {
    out.push_str(&format!(",\n   \"{name}\": ["));
    let mut between = "";
    for value in values {
        out.push_str(&format!("{between}\n      {{\n         \"{member}\": "));
        raw::write_string(out, value.as_ref());
        out.push_str("\n      }");
        between = ",";
    }
    out.push_str(if between.is_empty() { "]" } else { "\n   ]" });
}
