//! Media types: the constants that clients send, and one parser for those that they make up.

use crate::{ParseError, limits};

/// OCI image manifest.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// OCI image index.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// OCI empty descriptor, the config of artifacts that have none.
pub const OCI_EMPTY: &str = "application/vnd.oci.empty.v1+json";
/// OCI image configuration.
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// OCI layer: a tar, gzipped.
pub const OCI_LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// Docker image manifest, schema 2.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Docker manifest list.
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// Docker image configuration, of schema 2.
pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
/// Docker layer, of schema 2: a tar, gzipped.
pub const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
/// Docker image manifest, schema 1, signed.
pub const DOCKER_SCHEMA1_SIGNED: &str = "application/vnd.docker.distribution.manifest.v1+prettyjws";
/// Docker image manifest, schema 1, unsigned.
pub const DOCKER_SCHEMA1: &str = "application/vnd.docker.distribution.manifest.v1+json";

/// JSON of a Docker V1 image. No specification names it; this is what listings show and rules are asked about.
pub const DOCKER_V1_IMAGE: &str = "application/vnd.docker.image.v1+json";

/// Whether a manifest of this media type lists other manifests.
pub fn is_index(media_type: &str) -> bool {
    matches!(media_type, OCI_INDEX | DOCKER_LIST)
}

/// Whether it is one of Docker's schema 1, which may have its signatures written into it.
pub fn is_schema1(media_type: &str) -> bool {
    matches!(media_type, DOCKER_SCHEMA1_SIGNED | DOCKER_SCHEMA1)
}

/// Whether a layer of this media type may be missing from the registry: its descriptor says where else it
/// is to be had (OCI image specification, "Non-distributable layers"; Docker's foreign layers).
pub fn is_foreign_layer(media_type: &str) -> bool {
    media_type.starts_with("application/vnd.oci.image.layer.nondistributable.")
        || media_type.starts_with("application/vnd.docker.image.rootfs.foreign.")
}

/// The media type in a Content-Type header: parameters cut off, lower case.
///
/// # Errors
/// [`ParseError::MediaType`] where what is left is not `type/subtype` of RFC 6838's characters.
pub fn parse(header: &str) -> Result<String, ParseError> {
    let bare = header.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let restricted = |part: &str| {
        part.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric)
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b))
    };
    match bare.split_once('/') {
        Some((kind, subtype))
            if bare.len() <= limits::MEDIA_TYPE_BYTES_MAX && restricted(kind) && restricted(subtype) =>
        {
            Ok(bare)
        }
        _ => Err(ParseError::MediaType(ParseError::clip(header))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_cut_off() {
        assert_eq!(parse("Application/JSON; charset=utf-8").unwrap(), "application/json");
        for bad in ["", "a", "/", "a/", "/b", "a/b/c", "a b/c", "text/html\r\nx: y", "é/b", "*/*"] {
            assert!(parse(bad).is_err(), "{bad:?} passed");
        }
    }
}
