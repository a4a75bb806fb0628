//! From a chain of V1 images to a V2 manifest and its config, as docker does it when it pulls such an image: the
//! config's digest is the id that a docker from 1.10 on shows for it.
//!
//! What lives here: the config and the two forms of manifest. What does not: the layers. Whoever has them says what
//! they are.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::history::Step;
use super::raw::{self, ObjectWriter};
use super::typed::{self, Malformed};
use super::{ConvertError, legacy, sha256};
use crate::{Digest, ImageId, media_type};

/// One image of a chain, with what is to be known of its layer.
#[derive(Debug, Clone, Copy)]
pub struct ChainImage<'j> {
    /// The image's id.
    pub id: ImageId,
    /// Its JSON, byte for byte as it was pushed.
    pub json: &'j [u8],
    /// The digest of its layer's tar, uncompressed.
    pub diff_id: Digest,
    /// The digest of its layer as a gzip blob.
    pub blob: Digest,
    /// The size of that blob in bytes.
    pub blob_size: u64,
}

/// Which kind of manifest a chain becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Docker's schema 2, to the byte as docker/distribution writes it.
    Docker,
    /// An OCI image manifest. It differs from docker's also in its config, for images that don't say what they run on:
    /// OCI wants an architecture and a system, and gets `amd64` and `linux`.
    Oci,
}

impl Form {
    /// The media type of such a manifest.
    pub const fn manifest_type(self) -> &'static str {
        match self {
            Form::Docker => media_type::DOCKER_MANIFEST,
            Form::Oci => media_type::OCI_MANIFEST,
        }
    }

    /// The media type of its config.
    pub const fn config_type(self) -> &'static str {
        match self {
            Form::Docker => media_type::DOCKER_CONFIG,
            Form::Oci => media_type::OCI_CONFIG,
        }
    }

    /// The media type of its layers.
    pub const fn layer_type(self) -> &'static str {
        match self {
            Form::Docker => media_type::DOCKER_LAYER,
            Form::Oci => media_type::OCI_LAYER_GZIP,
        }
    }
}

/// What a chain became.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Converted {
    /// The config's bytes.
    pub config: Vec<u8>,
    /// Their digest.
    pub config_digest: Digest,
    /// The manifest's bytes. It names the config, and the blobs of the chain's layers.
    pub manifest: Vec<u8>,
    /// Their digest.
    pub manifest_digest: Digest,
}

/// Converts a chain, its base first. The same chain always gives the same bytes. Each image gives one layer, but for
/// those that say that they are `throwaway`, which manifests of schema 1 left behind.
///
/// # Errors
/// [`ConvertError::EmptyChain`], and [`ConvertError::Image`] where docker could not read an image's JSON either.
pub fn to_v2(chain: &[ChainImage<'_>], form: Form) -> Result<Converted, ConvertError> {
    let top = chain.last().ok_or(ConvertError::EmptyChain)?;
    let (mut steps, mut layers) = (Vec::with_capacity(chain.len()), Vec::with_capacity(chain.len()));
    for image in chain {
        let step =
            typed::utf8(image.json).and_then(Step::of_image).map_err(|e| ConvertError::image(image.id, e))?;
        if !step.empty_layer {
            layers.push(image);
        }
        steps.push(step);
    }
    let config = typed::utf8(top.json)
        .and_then(|json| config(json, &steps, &layers, form))
        .map_err(|e| ConvertError::image(top.id, e))?
        .into_bytes();
    let config_digest = sha256(&config);
    let manifest = manifest(form, config.len(), &config_digest, &layers).into_bytes();
    let manifest_digest = sha256(&manifest);
    Ok(Converted { config, config_digest, manifest, manifest_digest })
}

/// The config of the image with the JSON `top`.
fn config(
    top: &str,
    steps: &[Step<'_>],
    layers: &[&ChainImage<'_>],
    form: Form,
) -> Result<String, Malformed> {
    let [docker_version] = typed::pick(top, ["docker_version"])?;
    let top = if legacy::is_rewritten(&typed::string("docker_version", docker_version)?) {
        Cow::Owned(legacy::rewritten(top)?)
    } else {
        Cow::Borrowed(top)
    };
    let mut rootfs = String::new();
    let mut object = ObjectWriter::new(&mut rootfs);
    object.string("type", "layers");
    raw::write_list(object.member("diff_ids"), layers, |out, layer| {
        raw::write_string(out, &layer.diff_id.to_string());
    });
    object.end();
    let mut history = String::new();
    raw::write_list(&mut history, steps, |out, step| step.write(out));

    let mut members = BTreeMap::new();
    typed::members(&top, |name, value| {
        members.insert(name, value);
    })?;
    // What says which V1 image it was; the size is that of one layer, and docker doesn't believe it.
    for name in ["id", "parent", "Size", "parent_id", "layer_id", "throwaway"] {
        members.remove(name);
    }
    if form == Form::Oci {
        for (name, usual) in [("architecture", "\"amd64\""), ("os", "\"linux\"")] {
            if matches!(members.get(name), None | Some(&"null" | &"\"\"")) {
                members.insert(Cow::Borrowed(name), usual);
            }
        }
    }
    members.insert(Cow::Borrowed("rootfs"), &rootfs);
    members.insert(Cow::Borrowed("history"), &history);
    Ok(write_members(&members))
}

/// Writes an object with the members in the order of their names, their values as they are but without white space.
pub(super) fn write_members(members: &BTreeMap<Cow<'_, str>, &str>) -> String {
    let mut out = String::new();
    let mut object = ObjectWriter::new(&mut out);
    for (name, value) in members {
        raw::write_compact(object.member(name), value);
    }
    object.end();
    out
}

/// Writes a manifest. Nothing in it needs escapes.
fn manifest(form: Form, config_size: usize, config: &Digest, layers: &[&ChainImage<'_>]) -> String {
    let (own_type, config_type, layer_type) = (form.manifest_type(), form.config_type(), form.layer_type());
    match form {
        Form::Docker => {
            let descriptor = |indent: &str, kind: &str, size: u64, digest: &Digest| {
                format!(
                    "{{\n{indent}   \"mediaType\": \"{kind}\",\n{indent}   \"size\": {size},\n{indent}   \"digest\": \"{digest}\"\n{indent}}}"
                )
            };
            let config = descriptor("   ", config_type, config_size as u64, config);
            let layers: Vec<String> = layers
                .iter()
                .map(|layer| {
                    format!("\n      {}", descriptor("      ", layer_type, layer.blob_size, &layer.blob))
                })
                .collect();
            let end = if layers.is_empty() { "" } else { "\n   " };
            format!(
                "{{\n   \"schemaVersion\": 2,\n   \"mediaType\": \"{own_type}\",\n   \"config\": {config},\n   \"layers\": [{}{end}]\n}}",
                layers.join(",")
            )
        }
        Form::Oci => {
            let descriptor = |kind: &str, size: u64, digest: &Digest| {
                format!(r#"{{"mediaType":"{kind}","digest":"{digest}","size":{size}}}"#)
            };
            let config = descriptor(config_type, config_size as u64, config);
            let layers: Vec<String> =
                layers.iter().map(|layer| descriptor(layer_type, layer.blob_size, &layer.blob)).collect();
            format!(
                r#"{{"schemaVersion":2,"mediaType":"{own_type}","config":{config},"layers":[{}]}}"#,
                layers.join(",")
            )
        }
    }
}
