//! From a V2 image's config to the chain of V1 images that docker makes of it when it pushes it to a V1 registry.
//!
//! What lives here: reading a config, the ids of the images and their JSON. What does not: layers, which stay the
//! blobs that they are.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::convert::write_members;
use super::raw::{self, ObjectWriter};
use super::typed::{self, Malformed};
use super::{ConvertError, hashed_id, sha256};
use crate::{Digest, ImageId};

/// An image that was never pushed, but is what a V1 client sees of a V2 image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SynthesisedImage {
    /// Its id: of the top, the hash of the config; of the others, their chain id.
    pub id: ImageId,
    /// The image that it is built on; none for the base.
    pub parent: Option<ImageId>,
    /// Its JSON.
    pub json: Vec<u8>,
    /// Which of the manifest's layers is its layer; none for [`super::EMPTY_LAYER`], where the manifest has no layers.
    pub layer: Option<usize>,
}

/// The images that a V2 image with this config and so many layers is to V1 clients, its base first, its top last. There
/// is one for each layer, or one if there are no layers. The same bytes always give the same images.
///
/// # Errors
/// [`ConvertError::Config`] where the config is not that of an image, and [`ConvertError::LayerCount`].
pub fn from_v2(config: &[u8], layers: usize) -> Result<Vec<SynthesisedImage>, ConvertError> {
    let malformed = |e| ConvertError::config(config, e);
    let text = typed::utf8(config).map_err(malformed)?;
    let diff_ids = diff_ids(text).map_err(malformed)?;
    if diff_ids.len() != layers {
        return Err(ConvertError::LayerCount { digest: sha256(config), expected: diff_ids.len(), layers });
    }
    let mut images = Vec::with_capacity(layers.max(1));
    let mut parent = None;
    for (layer, chain_id) in chain_ids(&diff_ids).iter().enumerate().take(layers.saturating_sub(1)) {
        // Chain ids are SHA-256 but for the first, which is whatever the config says.
        let hash = chain_id.hash_bytes().try_into().map_err(|_| {
            malformed(Malformed(format!("rootfs.diff_ids has {chain_id}, and V1 images need sha256")))
        })?;
        let id = ImageId::from_bytes(hash);
        let mut json = String::new();
        let mut object = ObjectWriter::new(&mut json);
        object.string("id", &id.to_string());
        if let Some(parent) = parent {
            object.string("parent", &ImageId::to_string(&parent));
        }
        object.end();
        images.push(SynthesisedImage { id, parent, json: json.into_bytes(), layer: Some(layer) });
        parent = Some(id);
    }
    let id = hashed_id(text);
    let unknown_to_v1 = ["rootfs", "history", "os.version", "os.features"];
    let json = v1_json(text, &unknown_to_v1, &id, parent.as_ref(), false).map_err(malformed)?;
    images.push(SynthesisedImage { id, parent, json: json.into_bytes(), layer: layers.checked_sub(1) });
    Ok(images)
}

/// The chain ids of these layers, base first: what stands for a layer and all that are below it (OCI image
/// specification, "Layer ChainID").
pub fn chain_ids(diff_ids: &[Digest]) -> Vec<Digest> {
    let mut ids: Vec<Digest> = Vec::with_capacity(diff_ids.len());
    for diff_id in diff_ids {
        ids.push(match ids.last() {
            Some(below) => sha256(format!("{below} {diff_id}").as_bytes()),
            None => *diff_id,
        });
    }
    ids
}

/// The layers that a config speaks of, base first.
pub(super) fn diff_ids(config: &str) -> Result<Vec<Digest>, Malformed> {
    let [rootfs] = typed::pick(config, ["rootfs"])?;
    if rootfs.is_none() {
        return Err(Malformed("it has no rootfs, so it is not the config of an image".to_owned()));
    }
    let [diff_ids] = typed::pick_within("rootfs", rootfs, ["diff_ids"])?;
    let diff_ids = typed::strings("diff_ids", diff_ids).map_err(|e| e.within("rootfs"))?.unwrap_or_default();
    diff_ids
        .iter()
        .map(|id| Digest::parse(id).map_err(|e| Malformed(format!("rootfs.diff_ids: {e}"))))
        .collect()
}

/// The JSON of the V1 image that is a whole V2 image: its config, without what is `unknown` to V1. A parent that the
/// config names is not in a registry, so it goes even where no other takes its place.
pub(super) fn v1_json(
    config: &str,
    unknown: &[&str],
    id: &ImageId,
    parent: Option<&ImageId>,
    throwaway: bool,
) -> Result<String, Malformed> {
    let quoted = |id: &ImageId| {
        let mut text = String::new();
        raw::write_string(&mut text, &id.to_string());
        text
    };
    let (id, parent) = (quoted(id), parent.map(quoted));
    let mut members = BTreeMap::new();
    typed::members(config, |name, value| {
        members.insert(name, value);
    })?;
    for name in unknown.iter().chain(&["parent"]) {
        members.remove(*name);
    }
    members.insert(Cow::Borrowed("id"), &id);
    if let Some(parent) = &parent {
        members.insert(Cow::Borrowed("parent"), parent);
    }
    if throwaway {
        members.insert(Cow::Borrowed("throwaway"), "true");
    }
    Ok(write_members(&members))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(diff_ids: &[&str], rest: &str) -> String {
        format!(r#"{{"rootfs":{{"type":"layers","diff_ids":{diff_ids:?}}}{rest}}}"#)
    }

    fn one(image: &[SynthesisedImage]) -> &str {
        assert_eq!(image.len(), 1);
        std::str::from_utf8(&image[0].json).unwrap()
    }

    #[test]
    fn what_only_v2_knows_goes() {
        let rest = r#","os.version":"10","os.features":[],"history":[{"empty_layer":true}],"os":"linux","parent":"p""#;
        let ids = ["00", "11"].map(|byte| format!("sha256:{}", byte.repeat(32)));
        for diff_ids in [&[][..], &[ids[0].as_str()]] {
            let images = from_v2(config(diff_ids, rest).as_bytes(), diff_ids.len()).unwrap();
            assert_eq!(one(&images), format!(r#"{{"id":"{}","os":"linux"}}"#, images[0].id));
            assert_eq!((images[0].parent, images[0].layer), (None, diff_ids.len().checked_sub(1)));
        }
        // Items of the history that made no layer are no images.
        let images = from_v2(config(&[&ids[0], &ids[1]], rest).as_bytes(), 2).unwrap();
        assert_eq!(images.len(), 2);
    }

    #[test]
    fn a_refusal_names_the_config() {
        let (short, long) = (format!("sha256:{}", "0".repeat(64)), format!("sha512:{}", "0".repeat(128)));
        for (config, reason) in [
            ("[]".to_owned(), "it is not a JSON object"),
            ("{}".to_owned(), "it has no rootfs"),
            (r#"{"rootfs":[]}"#.to_owned(), "rootfs must be an object"),
            (r#"{"rootfs":{"diff_ids":{}}}"#.to_owned(), "rootfs.diff_ids must be a list of strings"),
            (config(&["sha256:00"], ""), "rootfs.diff_ids: digest"),
            (config(&[&long, &short], ""), "V1 images need sha256"),
            (config(&[&short], ""), "is of 1 layers, but the manifest has 2"),
        ] {
            let error = from_v2(config.as_bytes(), 2).unwrap_err().to_string();
            assert!(error.starts_with(&format!("the config {} ", sha256(config.as_bytes()))), "{error}");
            assert!(error.contains(reason), "{error}");
        }
    }
}
