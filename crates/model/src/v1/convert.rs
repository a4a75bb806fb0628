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
use crate::{Digest, ImageId, limits, media_type};

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
/// [`ConvertError::EmptyChain`], [`ConvertError::Image`] where docker could not read an image's JSON either, and
/// [`ConvertError::TooLarge`] where the JSON of all images, or the config that they would become, is over
/// [`limits::IMAGE_CHAIN_JSON_BYTES_MAX`].
pub fn to_v2(chain: &[ChainImage<'_>], form: Form) -> Result<Converted, ConvertError> {
    let top = chain.last().ok_or(ConvertError::EmptyChain)?;
    let fits = |bytes: usize| match bytes {
        ..=limits::IMAGE_CHAIN_JSON_BYTES_MAX => Ok(()),
        _ => Err(ConvertError::TooLarge),
    };
    fits(chain.iter().map(|image| image.json.len()).sum())?;
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
    // What is escaped in it is longer than it was.
    fits(config.len())?;
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

/// Writes a manifest.
fn manifest(form: Form, config_size: usize, config: &Digest, layers: &[&ChainImage<'_>]) -> String {
    let descriptor = |out: &mut String, kind: &str, size: u64, digest: &Digest| {
        let (size, digest) = (size.to_string(), digest.to_string());
        let mut object = ObjectWriter::new(out);
        object.string("mediaType", kind);
        match form {
            Form::Docker => {
                object.member("size").push_str(&size);
                object.string("digest", &digest);
            }
            Form::Oci => {
                object.string("digest", &digest);
                object.member("size").push_str(&size);
            }
        }
        object.end();
    };
    let mut out = String::new();
    let mut object = ObjectWriter::new(&mut out);
    object.member("schemaVersion").push('2');
    object.string("mediaType", form.manifest_type());
    descriptor(object.member("config"), form.config_type(), config_size as u64, config);
    raw::write_list(object.member("layers"), layers, |out, layer| {
        descriptor(out, form.layer_type(), layer.blob_size, &layer.blob);
    });
    object.end();
    match form {
        Form::Docker => raw::indented(&out),
        Form::Oci => out,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Manifest;

    fn convert(jsons: &[&str], form: Form) -> Result<(serde_json::Value, Manifest), ConvertError> {
        let image = |(n, json)| ChainImage {
            id: ImageId::from_bytes([n; 32]),
            json: str::as_bytes(json),
            diff_id: Digest::sha256([n; 32]),
            blob: Digest::sha256([n; 32]),
            blob_size: 1,
        };
        let chain: Vec<_> = (0..).zip(jsons.iter().copied()).map(image).collect();
        let converted = to_v2(&chain, form)?;
        let (manifest, _) = Manifest::parse(form.manifest_type(), &converted.manifest).unwrap();
        Ok((serde_json::from_slice(&converted.config).unwrap(), manifest))
    }

    #[test]
    fn oci_says_what_an_image_runs_on() {
        for json in [
            r#"{"docker_version":"1.9.1"}"#,
            r#"{"docker_version":"1.9.1","architecture":"","os":null}"#,
            r#"{"os":""}"#,
        ] {
            let (config, _) = convert(&[json], Form::Oci).unwrap();
            assert_eq!(
                (&config["architecture"], &config["os"]),
                (&"amd64".into(), &"linux".into()),
                "{json}"
            );
            let (config, _) = convert(&[json], Form::Docker).unwrap();
            assert_ne!(
                (&config["architecture"], &config["os"]),
                (&"amd64".into(), &"linux".into()),
                "{json}"
            );
        }
        let (config, _) = convert(&[r#"{"architecture":"arm","os":"windows"}"#], Form::Oci).unwrap();
        assert_eq!((&config["architecture"], &config["os"]), (&"arm".into(), &"windows".into()));
    }

    #[test]
    fn what_is_throwaway_has_no_layer() {
        let jsons = ["{}", r#"{"throwaway":true}"#, r#"{"throwaway":"true","docker_version":"1.9.1"}"#];
        let (config, manifest) = convert(&jsons, Form::Docker).unwrap();
        let (first, last) = (Digest::sha256([0; 32]), Digest::sha256([2; 32]));
        assert_eq!(config["rootfs"]["diff_ids"], serde_json::json!([first, last]));
        assert_eq!(manifest.layers.iter().map(|layer| layer.digest).collect::<Vec<_>>(), [first, last]);
        let steps: Vec<_> = (0..3).map(|step| config["history"][step]["empty_layer"].as_bool()).collect();
        assert_eq!(steps, [None, Some(true), None]);
        assert!(config.get("throwaway").is_none());
    }

    #[test]
    fn what_a_chain_says_of_itself_has_a_limit() {
        let max = limits::IMAGE_CHAIN_JSON_BYTES_MAX;
        let json = |bytes: usize| format!(r#"{{"x":"{}"}}"#, "x".repeat(bytes - 8));
        let (half, more) = (json(max / 2), json(max / 2 + 1));
        assert!(convert(&[&half, &half], Form::Docker).is_ok());
        assert_eq!(convert(&[&half, &more], Form::Docker), Err(ConvertError::TooLarge));
        // Each of these is six characters in the config's history.
        let escaped = format!(r#"{{"comment":"{}"}}"#, "<".repeat(max / 5));
        assert_eq!(convert(&[&escaped, "{}"], Form::Docker), Err(ConvertError::TooLarge));
        assert_eq!(convert(&["{}", &escaped], Form::Oci), Err(ConvertError::TooLarge));
    }

    #[test]
    fn a_refusal_names_the_image() {
        assert_eq!(convert(&[], Form::Docker), Err(ConvertError::EmptyChain));
        for (json, reason) in [
            ("", "it is not a JSON object: EOF while parsing a value at line 1 column 0"),
            (r#"{"created":"yesterday"}"#, "created must be a time as RFC 3339 has it"),
            (
                r#"{"container_config":{"Cmd":[7]}}"#,
                "container_config.Cmd must be a string or a list of strings",
            ),
        ] {
            let error = convert(&["{}", json, "{}"], Form::Docker).unwrap_err().to_string();
            assert_eq!(error, format!("image {} can't be converted: {reason}", "01".repeat(32)));
        }
    }
}
