//! Properties of items: those that are derived from what an item is, and those that people set.
//!
//! The derived ones are Artifactory's of Docker repositories. `docker.size` is in bytes: it is the number that V1 clients
//! are told as the size of a layer, and read as bytes.

use supercargo_model::tree::TreePath;
use supercargo_model::v1::V1Name;
use supercargo_model::{Algorithm, limits};
use supercargo_projections::Rows;
use supercargo_projections::tables::{ConfigLabels, Properties, PropertiesRow};

use super::look::{Place, Tree};
use super::{File, ImagePart, Item};
use crate::{Error, Result};

/// An image's id.
const IMAGE_ID: &str = "docker.imageId";
/// The size of an image's layer in bytes.
const SIZE: &str = "docker.size";
/// A tag on an image.
const TAG_NAME: &str = "docker.tag.name";
/// The property that says the id of the image that a tag on a V1 image points at. Whoever sets it moves the tag, so it takes
/// what pushing takes.
pub const TAG_CONTENT: &str = "docker.tag.content";
/// A name.
const REPO_NAME: &str = "docker.repoName";
/// A tag on a manifest.
const MANIFEST: &str = "docker.manifest";
/// A manifest's digest.
const MANIFEST_DIGEST: &str = "docker.manifest.digest";
/// A manifest's media type.
const MANIFEST_TYPE: &str = "docker.manifest.type";
/// What the labels of a config are called, with this before their own names.
pub(crate) const LABEL: &str = "docker.label.";
/// A manifest's SHA-256, as hexadecimal digits.
const SHA256: &str = "sha256";

/// Whether a property is derived, so that nobody sets or removes it.
pub(crate) fn is_built_in(property: &str) -> bool {
    matches!(
        property,
        IMAGE_ID
            | SIZE
            | TAG_NAME
            | TAG_CONTENT
            | REPO_NAME
            | MANIFEST
            | MANIFEST_DIGEST
            | MANIFEST_TYPE
            | SHA256
    ) || property.starts_with(LABEL)
}

/// Checks the name of a property that somebody sets.
///
/// # Errors
/// [`Error::Invalid`].
pub(crate) fn check_name(property: &str) -> Result<()> {
    const TAKEN: &str = ")(}{][*+^$\\/~!@#%&<>;=,±§` ";
    if property.is_empty() || property.len() > limits::PROPERTY_NAME_BYTES_MAX {
        return Err(Error::Invalid(format!(
            "the name of a property has 1 to {} bytes",
            limits::PROPERTY_NAME_BYTES_MAX
        )));
    }
    if let Some(bad) = property.chars().find(|c| TAKEN.contains(*c) || c.is_control()) {
        return Err(Error::Invalid(format!(
            "the name of a property can't hold {bad:?}, as {property:?} does"
        )));
    }
    if is_built_in(property) {
        return Err(Error::Invalid(format!("property {property} says what is there: nobody sets it")));
    }
    Ok(())
}

/// Checks the values of a property that somebody sets.
///
/// # Errors
/// [`Error::Invalid`].
pub(crate) fn check_values(property: &str, values: &[String]) -> Result<()> {
    if let Some(long) = values.iter().find(|value| value.len() > limits::PROPERTY_VALUE_BYTES_MAX) {
        return Err(Error::Invalid(format!(
            "a value of property {property} has {} bytes, and {} are the most",
            long.len(),
            limits::PROPERTY_VALUE_BYTES_MAX
        )));
    }
    // Controls end texts in keys, or terminals obey them.
    if values.iter().any(|value| value.contains(char::is_control)) {
        return Err(Error::Invalid(format!(
            "the values of property {property} can't hold control characters"
        )));
    }
    if values.is_empty() {
        return Err(Error::Invalid(format!("property {property} has no value")));
    }
    Ok(())
}

impl<R: Rows> Tree<'_, R> {
    /// The properties that people set on a path.
    pub(crate) fn own_properties(&mut self, path: &TreePath) -> PropertiesRow {
        let key = (self.repository.clone(), path.as_str().to_owned());
        self.rows.row::<Properties>(&key).unwrap_or_default()
    }

    /// All properties of an item.
    pub(crate) fn properties(&mut self, item: &Item) -> PropertiesRow {
        let mut properties = self.own_properties(&item.path);
        let mut add = |property: &str, value: String| {
            properties.insert(property.to_owned(), vec![value]);
        };
        let shown = |name| V1Name::of(name).shown().to_owned();
        match &item.file {
            None => {
                let places = self.places(&item.path).into_iter();
                let v1_name = places.filter_map(|place| match place {
                    Place::V1Name { of } => Some(of.name),
                    _ => None,
                });
                if let Some(name) = v1_name.last() {
                    add(REPO_NAME, shown(&name));
                }
            }
            Some(File::Manifest { name, digest, tag, media_type, config, .. }) => {
                add(MANIFEST, tag.as_ref().map_or_else(|| digest.to_string(), ToString::to_string));
                add(MANIFEST_DIGEST, digest.to_string());
                add(MANIFEST_TYPE, media_type.clone());
                add(REPO_NAME, name.to_string());
                if digest.algorithm() == Algorithm::Sha256 {
                    add(SHA256, digest.hex());
                }
                let labels = config.and_then(|config| self.rows.row::<ConfigLabels>(&config));
                for (label, value) in labels.into_iter().flatten() {
                    add(&format!("{LABEL}{label}"), value);
                }
            }
            Some(File::Image { image, part: ImagePart::Json | ImagePart::Layer, .. }) => {
                add(IMAGE_ID, image.id.to_string());
                add(SIZE, image.layer_size.to_string());
            }
            Some(File::V1Tag { name, tag, image, .. }) => {
                add(TAG_NAME, tag.to_string());
                add(TAG_CONTENT, image.id.to_string());
                add(REPO_NAME, shown(name));
            }
            Some(File::Blob { .. } | File::Image { .. } | File::V1Index { .. }) => {}
        }
        properties
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_and_values_have_limits() {
        for good in
            ["a", "build.name", "a-b_c:d", "ü", "docker.labels", "docker", "sha-256", &"a".repeat(255)]
        {
            check_name(good).unwrap();
        }
        for bad in ["", "a b", "a=b", "a,b", "a;b", "a/b", "a\\b", "§", "±", "`", "a\n", &"a".repeat(256)] {
            assert!(matches!(check_name(bad), Err(Error::Invalid(_))), "{bad:?}");
        }
        for built_in in [IMAGE_ID, TAG_CONTENT, SHA256, "docker.label.x", "docker.manifest"] {
            assert!(check_name(built_in).is_err(), "{built_in}");
        }
        let values = |value: &str| check_values("a", &[value.to_owned()]);
        values("").unwrap();
        values(&"ä".repeat(1200)).unwrap();
        assert!(values(&"x".repeat(2401)).is_err() && values("\0").is_err() && values("\n").is_err());
        assert!(check_values("a", &[]).is_err());
    }

    proptest! {
        #[test]
        fn what_is_checked_never_panics(text in "\\PC{0,300}|[\\x00-\\x7f]{0,20}") {
            let _ = (check_name(&text), check_values(&text, std::slice::from_ref(&text)));
        }
    }
}
