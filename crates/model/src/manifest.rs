//! What the registry needs to know of a manifest, read from its bytes. The bytes themselves are kept and
//! served as they came; nothing is ever written back from what is parsed here.
//!
//! Taken: OCI image manifests and indexes, Docker schema 2 manifests and lists, Docker schema 1, and any
//! other JSON object with a content type, as artifact clients push them. References are read from `config`,
//! `layers`, `blobs`, `manifests`, `fsLayers` and `subject`, whichever are there.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::{Digest, ParseError, Signed, limits, media_type};

/// What a manifest says of a piece of content (OCI image specification, "Content Descriptors").
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Descriptor {
    /// The content's media type; empty where the manifest gives none.
    pub media_type: String,
    /// The content's digest.
    pub digest: Digest,
    /// The content's size in bytes; 0 where the manifest gives none (schema 1).
    pub size: u64,
    /// `os/architecture[/variant]`, where an index says which platform an entry is for.
    pub platform: Option<String>,
    /// Whether the content may be missing here: a foreign or non-distributable layer with its own urls.
    pub foreign: bool,
}

/// What was read from a manifest's bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The media type it was pushed as, without parameters.
    pub media_type: String,
    /// The size in bytes of what its digest is of: of a signed manifest, of its payload.
    pub size: u64,
    /// What kind of artifact it says it is (`artifactType`).
    pub artifact_type: Option<String>,
    /// Its configuration blob.
    pub config: Option<Descriptor>,
    /// Its layers or blobs, in order.
    pub layers: Vec<Descriptor>,
    /// The manifests that it lists, in order. An entry may turn out to be a blob, as build caches have it.
    pub children: Vec<Descriptor>,
    /// The manifest that it says something about.
    pub subject: Option<Digest>,
    /// Its annotations, sorted by key.
    pub annotations: Vec<(String, String)>,
    /// What it has beyond its payload, if it was pushed with its signatures written into it (schema 1).
    pub signed: Option<Signed>,
}

/// Why a manifest was refused. The text is fit to be shown to a person.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// Larger than [`limits::MANIFEST_BYTES_MAX`].
    #[error("the manifest is larger than {} bytes", limits::MANIFEST_BYTES_MAX)]
    TooLarge,
    /// Not a JSON object, or a member is not of the kind that the specification gives it.
    #[error("the manifest is not valid: {0}")]
    Malformed(String),
    /// A digest in it is none, or of another algorithm.
    #[error("the manifest is not valid: {0}")]
    Digest(#[from] ParseError),
    /// The `mediaType` member contradicts the Content-Type header.
    #[error("the manifest's mediaType is {inside:?} but it was sent as {sent:?}")]
    MediaTypeMismatch {
        /// What the manifest says.
        inside: String,
        /// What the request said.
        sent: String,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    media_type: Option<String>,
    artifact_type: Option<String>,
    config: Option<WireDescriptor>,
    #[serde(default)]
    layers: Option<Vec<WireDescriptor>>,
    #[serde(default)]
    blobs: Option<Vec<WireDescriptor>>,
    #[serde(default)]
    manifests: Option<Vec<WireDescriptor>>,
    #[serde(default)]
    fs_layers: Option<Vec<WireFsLayer>>,
    subject: Option<WireDescriptor>,
    #[serde(default)]
    annotations: Option<std::collections::BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireDescriptor {
    #[serde(default)]
    media_type: String,
    digest: String,
    #[serde(default)]
    size: u64,
    #[serde(default)]
    urls: Option<Vec<String>>,
    platform: Option<WirePlatform>,
}

#[derive(Deserialize)]
struct WirePlatform {
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    os: String,
    #[serde(default)]
    variant: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireFsLayer {
    blob_sum: String,
}

impl TryFrom<WireDescriptor> for Descriptor {
    type Error = ManifestError;

    fn try_from(wire: WireDescriptor) -> Result<Descriptor, ManifestError> {
        // A foreign layer is one whose media type says so; urls alone, on an ordinary layer, are a hint.
        let foreign =
            media_type::is_foreign_layer(&wire.media_type) && wire.urls.is_some_and(|u| !u.is_empty());
        let platform = wire.platform.map(|p| match p.variant {
            Some(variant) if !variant.is_empty() => format!("{}/{}/{variant}", p.os, p.architecture),
            _ => format!("{}/{}", p.os, p.architecture),
        });
        let digest = Digest::parse(&wire.digest)?;
        Ok(Descriptor { media_type: wire.media_type, digest, size: wire.size, platform, foreign })
    }
}

impl Manifest {
    /// Reads a manifest that was sent as `media_type` (already without parameters). Answers also with what
    /// its digest is of: all of it, or of a signed one its payload.
    ///
    /// # Errors
    /// [`ManifestError`], as its variants say.
    pub fn parse<'b>(media_type: &str, bytes: &'b [u8]) -> Result<(Manifest, Cow<'b, [u8]>), ManifestError> {
        if bytes.len() > limits::MANIFEST_BYTES_MAX {
            return Err(ManifestError::TooLarge);
        }
        let split = if media_type::is_schema1(media_type) { Signed::split(bytes)? } else { None };
        let (payload, signed) = match split {
            Some((payload, signed)) => (Cow::Owned(payload), Some(signed)),
            None => (Cow::Borrowed(bytes), None),
        };
        let manifest = Manifest::parse_payload(media_type, &payload, signed)?;
        Ok((manifest, payload))
    }

    /// What is not under the digest is not believed: of a signed manifest only the payload is read.
    fn parse_payload(
        media_type: &str,
        payload: &[u8],
        signed: Option<Signed>,
    ) -> Result<Manifest, ManifestError> {
        let wire: Wire =
            serde_json::from_slice(payload).map_err(|e| ManifestError::Malformed(e.to_string()))?;
        if let Some(inside) = wire.media_type.filter(|inside| !inside.is_empty())
            && !inside.eq_ignore_ascii_case(media_type)
        {
            return Err(ManifestError::MediaTypeMismatch { inside, sent: media_type.to_owned() });
        }
        let descriptors = |list: Option<Vec<WireDescriptor>>| {
            list.unwrap_or_default().into_iter().map(Descriptor::try_from)
        };
        let schema1_layers = wire.fs_layers.unwrap_or_default().into_iter().map(|layer| {
            Ok(Descriptor {
                media_type: String::new(),
                digest: Digest::parse(&layer.blob_sum)?,
                size: 0,
                platform: None,
                foreign: false,
            })
        });
        let layers = descriptors(wire.layers).chain(descriptors(wire.blobs)).chain(schema1_layers);
        let manifest = Manifest {
            media_type: media_type.to_owned(),
            size: payload.len() as u64,
            artifact_type: wire.artifact_type.filter(|kind| !kind.is_empty()),
            config: wire.config.map(Descriptor::try_from).transpose()?,
            layers: layers.collect::<Result<_, ManifestError>>()?,
            children: descriptors(wire.manifests).collect::<Result<_, ManifestError>>()?,
            subject: wire.subject.map(Descriptor::try_from).transpose()?.map(|subject| subject.digest),
            annotations: wire.annotations.unwrap_or_default().into_iter().collect(),
            signed,
        };
        manifest.check_kind()?;
        Ok(manifest)
    }

    /// The kinds that the specifications define must have what makes them that kind.
    fn check_kind(&self) -> Result<(), ManifestError> {
        let malformed = |what: &str| Err(ManifestError::Malformed(what.to_owned()));
        if self.config.is_some() as usize + self.layers.len() + self.children.len()
            > limits::MANIFEST_REFERENCES_MAX
        {
            return malformed("it refers to more than 16384 things");
        }
        match self.media_type.as_str() {
            media_type::OCI_MANIFEST | media_type::DOCKER_MANIFEST if self.config.is_none() => {
                malformed("an image manifest needs a config")
            }
            media_type::OCI_MANIFEST | media_type::DOCKER_MANIFEST if !self.children.is_empty() => {
                malformed("an image manifest has no manifests; send it as an index")
            }
            media_type::OCI_INDEX | media_type::DOCKER_LIST
                if self.config.is_some() || !self.layers.is_empty() =>
            {
                malformed("an index has no config and no layers; send it as an image manifest")
            }
            _ => Ok(()),
        }
    }

    /// The artifact type that a referrers listing shows: for an image manifest without one its config's
    /// media type (OCI distribution specification, "Listing Referrers").
    pub fn listed_artifact_type(&self) -> Option<&str> {
        self.artifact_type
            .as_deref()
            .or_else(|| self.config.as_ref().map(|config| config.media_type.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(media_type: &str, bytes: &[u8]) -> Result<Manifest, ManifestError> {
        Manifest::parse(media_type, bytes).map(|(manifest, _)| manifest)
    }

    fn digest(n: u8) -> String {
        format!("sha256:{}", format!("{n:02x}").repeat(32))
    }

    #[test]
    fn an_image_manifest_gives_its_references() {
        let json = format!(
            r#"{{"schemaVersion":2,"mediaType":"{}","config":{{"mediaType":"c/d","digest":"{}","size":7}},
            "layers":[{{"mediaType":"l/m","digest":"{}","size":8}}],"annotations":{{"b":"2","a":"1"}},
            "subject":{{"mediaType":"x/y","digest":"{}","size":1}}}}"#,
            media_type::OCI_MANIFEST,
            digest(1),
            digest(2),
            digest(3)
        );
        let manifest = parse(media_type::OCI_MANIFEST, json.as_bytes()).unwrap();
        assert_eq!(manifest.config.as_ref().unwrap().size, 7);
        assert_eq!(manifest.layers[0].digest.to_string(), digest(2));
        assert_eq!(manifest.subject.unwrap().to_string(), digest(3));
        assert_eq!(manifest.annotations[0].0, "a");
        assert_eq!(manifest.listed_artifact_type(), Some("c/d"));
    }

    #[test]
    fn a_schema1_manifest_gives_its_layers() {
        let json =
            format!(r#"{{"schemaVersion":1,"fsLayers":[{{"blobSum":"{}"}}],"history":[]}}"#, digest(4));
        let manifest = parse(media_type::DOCKER_SCHEMA1_SIGNED, json.as_bytes()).unwrap();
        assert_eq!(manifest.layers.len(), 1);
        assert_eq!(manifest.signed, None);
    }

    /// What stands beside the payload is covered by no digest.
    #[test]
    fn a_signed_manifest_is_read_from_its_payload() {
        use base64::Engine as _;
        use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
        let head = format!(r#"{{"schemaVersion":1,"fsLayers":[{{"blobSum":"{}"}}]"#, digest(4));
        let protected = BASE64.encode(format!(
            r#"{{"formatLength":{},"formatTail":"{}"}}"#,
            head.len(),
            BASE64.encode("}")
        ));
        let pushed = format!(
            r#"{head},"layers":[{{"digest":"{}"}}],"signatures":[{{"protected":"{protected}"}}]}}"#,
            digest(5)
        );
        for media_type in [media_type::DOCKER_SCHEMA1_SIGNED, media_type::DOCKER_SCHEMA1] {
            let (manifest, payload) = Manifest::parse(media_type, pushed.as_bytes()).unwrap();
            assert_eq!(payload, format!("{head}}}").as_bytes());
            assert_eq!((manifest.layers.len(), manifest.size), (1, payload.len() as u64));
            assert_eq!(manifest.signed.unwrap().join(&payload), pushed.as_bytes());
        }
        // To other kinds signatures mean nothing.
        let (manifest, whole) = Manifest::parse("a/b", pushed.as_bytes()).unwrap();
        assert_eq!((manifest.layers.len(), &*whole), (2, pushed.as_bytes()));
    }

    #[test]
    fn an_unknown_kind_is_read_for_what_it_has() {
        let json = format!(r#"{{"blobs":[{{"digest":"{}"}}],"manifests":null}}"#, digest(5));
        let manifest = parse("application/vnd.oci.artifact.manifest.v1+json", json.as_bytes()).unwrap();
        assert_eq!(manifest.layers.len(), 1);
    }

    #[test]
    fn only_a_foreign_layer_may_be_missing() {
        let json = |kind: &str| {
            format!(
                r#"{{"config":{{"digest":"{}"}},"layers":[{{"mediaType":"{kind}","digest":"{}","urls":["u"]}}]}}"#,
                digest(1),
                digest(2)
            )
        };
        let foreign = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
        let read = |kind: &str| parse(media_type::DOCKER_MANIFEST, json(kind).as_bytes()).unwrap();
        assert!(read(foreign).layers[0].foreign);
        assert!(!read("application/vnd.docker.image.rootfs.diff.tar.gzip").layers[0].foreign);
    }

    #[test]
    fn what_is_no_manifest_is_refused() {
        let oci = media_type::OCI_MANIFEST;
        for bad in [
            "",
            "[]",
            "null",
            "7",
            "{",
            "{}",
            r#"{"config":7}"#,
            r#"{"config":{"digest":"sha256:00"}}"#,
            r#"{"config":{"size":-1}}"#,
            r#"{"layers":{}}"#,
            &format!(r#"{{"mediaType":"a/b","config":{{"digest":"{}"}}}}"#, digest(1)),
        ] {
            assert!(parse(oci, bad.as_bytes()).is_err(), "{bad:?} passed");
        }
        for digest in ["sha256:00", "", "md5:00000000000000000000000000000000"] {
            for place in [r#""subject":X"#, r#""layers":[X]"#, r#""manifests":[X]"#, r#""blobs":[X]"#] {
                let json = format!("{{{}}}", place.replace('X', &format!(r#"{{"digest":"{digest}"}}"#)));
                assert!(matches!(parse("a/b", json.as_bytes()), Err(ManifestError::Digest(_))), "{json}");
            }
            let json = format!(r#"{{"fsLayers":[{{"blobSum":"{digest}"}}]}}"#);
            assert!(matches!(parse("a/b", json.as_bytes()), Err(ManifestError::Digest(_))), "{json}");
        }
        let large = vec![b' '; limits::MANIFEST_BYTES_MAX + 1];
        assert_eq!(parse(oci, &large), Err(ManifestError::TooLarge));
    }

    proptest! {
        #[test]
        fn parse_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(media_type::OCI_MANIFEST, &bytes);
        }
    }
}
