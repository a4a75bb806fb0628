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
use super::{ChainImage, ConvertError, ImageJson, empty_layer, hashed_id, sha256};
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

/// The V1 images that a manifest of schema 1 is made of, base first, each with the blob of its layer: what is in its
/// payload. An image that is listed twice in a row is one.
///
/// # Errors
/// [`ConvertError::Manifest`] where the images are no chain.
pub fn images(payload: &[u8]) -> Result<Vec<(ImageJson, String, Digest)>, ConvertError> {
    read_images(payload)
        .map_err(|Malformed(reason)| ConvertError::Manifest { digest: sha256(payload), reason })
}

fn read_images(payload: &[u8]) -> Result<Vec<(ImageJson, String, Digest)>, Malformed> {
    let text = typed::utf8(payload)?;
    let [layers, history] = typed::pick(text, ["fsLayers", "history"])?;
    let list = |name: &str, value: Option<&str>| {
        let elements = value.and_then(raw::elements);
        elements
            .map(|list| list.into_iter().map(str::to_owned).collect::<Vec<_>>())
            .ok_or_else(|| Malformed::new(name, "a list"))
    };
    let (layers, history) = (list("fsLayers", layers)?, list("history", history)?);
    if layers.len() != history.len() || history.is_empty() {
        let (layers, images) = (layers.len(), history.len());
        return Err(Malformed(format!("it has {layers} layers and {images} images")));
    }
    let mut images: Vec<(ImageJson, String, Digest)> = Vec::with_capacity(history.len());
    for (layer, item) in layers.iter().zip(&history).rev() {
        let [sum] = typed::pick_within("fsLayers", Some(layer.as_str()), ["blobSum"])?;
        let [json] = typed::pick_within("history", Some(item.as_str()), ["v1Compatibility"])?;
        let blob = Digest::parse(&typed::string("blobSum", sum)?).map_err(|e| Malformed(e.to_string()))?;
        let json = typed::string("v1Compatibility", json)?.into_owned();
        let [id] = typed::pick(&json, ["id"])?;
        let id = ImageId::parse(&typed::string("id", id)?).map_err(|e| Malformed(e.to_string()))?;
        let checked = ImageJson::check(json.as_bytes(), &id).map_err(|e| Malformed(e.to_string()))?;
        let below = images.last().map(|(below, ..)| below.id);
        if below == Some(id) {
            continue;
        }
        if checked.parent != below {
            return Err(Malformed(format!("the parent of image {id} is not the one below it")));
        }
        images.push((checked, json, blob));
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
    let mut out = String::new();
    let mut manifest = ObjectWriter::new(&mut out);
    manifest.member("schemaVersion").push('1');
    manifest.string("name", name.as_str());
    manifest.string("tag", tag.as_str());
    manifest.string("architecture", &architecture.unwrap_or_default());
    let one_member = |out: &mut String, name: &str, value: &str| {
        let mut object = ObjectWriter::new(out);
        object.string(name, value);
        object.end();
    };
    raw::write_list(manifest.member("fsLayers"), images.iter().rev(), |out, image| {
        one_member(out, "blobSum", &image.blob.to_string());
    });
    raw::write_list(manifest.member("history"), images.iter().rev(), |out, image| {
        one_member(out, "v1Compatibility", &image.v1_compatibility);
    });
    manifest.end();
    raw::indented(&out).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_images_of_a_payload_are_those_that_it_was_made_of() {
        let json = |id: u8, parent: Option<u8>| {
            let id_of = |byte| ImageId::from_bytes([byte; 32]);
            let parent = parent.map(|parent| format!(r#","parent":"{}""#, id_of(parent))).unwrap_or_default();
            format!(r#"{{"id":"{}"{parent},"comment":"<\u00e9>"}}"#, id_of(id))
        };
        let made = |chain: &[(u8, Option<u8>)]| {
            let images: Vec<Schema1Image<'_>> = chain
                .iter()
                .map(|(id, parent)| Schema1Image {
                    id: ImageId::from_bytes([*id; 32]),
                    blob: Digest::sha256([*id; 32]),
                    v1_compatibility: json(*id, *parent).into(),
                })
                .collect();
            payload(&"a/b".parse().unwrap(), &"t".parse().unwrap(), &images)
        };
        let chain = [(1, None), (2, Some(1)), (2, Some(1)), (3, Some(2))];
        let read = images(&made(&chain)).unwrap();
        let read: Vec<_> =
            read.iter().map(|(checked, json, blob)| (checked.id, json.clone(), *blob)).collect();
        let expected: Vec<_> = [chain[0], chain[1], chain[3]]
            .map(|(id, parent)| (ImageId::from_bytes([id; 32]), json(id, parent), Digest::sha256([id; 32])))
            .into();
        assert_eq!(read, expected);
        for wrong in [&[(1, Some(9))][..], &[(1, None), (2, None)], &[(1, None), (2, Some(3))], &[]] {
            assert!(images(&made(wrong)).is_err(), "{wrong:?}");
        }
        for wrong in [
            "",
            "{}",
            "[]",
            r#"{"fsLayers":[],"history":[]}"#,
            r#"{"fsLayers":[{}],"history":[{}]}"#,
            r#"{"fsLayers":[{"blobSum":"x"}],"history":[{"v1Compatibility":"{}"}]}"#,
        ] {
            let error = images(wrong.as_bytes()).unwrap_err();
            assert!(matches!(error, ConvertError::Manifest { .. }), "{error}");
        }
    }

    #[test]
    fn a_config_without_a_history_of_its_layers_is_refused() {
        let blob = Digest::sha256([0; 32]);
        for (history, layers, reason) in [
            ("null", 1, "it has no history"),
            ("[]", 1, "it has no history"),
            ("{}", 1, "history must be a list"),
            (r#"[{"created":7}]"#, 1, "history.created must be a time"),
            ("[7]", 1, "an item of history must be an object"),
            ("[null,null]", 1, "is of 2 layers, but the manifest has 1"),
            ("[{}]", 0, "is of 1 layers, but the manifest has 0"),
            ("[{},{}]", 1, "is of 2 layers, but the manifest has 1"),
            (r#"[{"empty_layer":true}]"#, 1, "is of 0 layers, but the manifest has 1"),
        ] {
            let config = format!(r#"{{"rootfs":{{"diff_ids":["{blob}"]}},"history":{history}}}"#);
            let error = from_config(config.as_bytes(), &[blob][..layers]).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }
}
