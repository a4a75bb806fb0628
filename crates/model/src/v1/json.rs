//! What is checked of a V1 image's JSON before it is kept. The bytes are kept and served as they came.
//!
//! What lives here: the checks that need nothing but the bytes and the path. What does not: whether the parent exists
//! and how long the chain is, which only a registry knows.

use super::raw;
use crate::{ImageId, limits};

/// What a registry needs to know of an image's JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageJson {
    /// The image's id.
    pub id: ImageId,
    /// The image that it is built on; none for a base.
    pub parent: Option<ImageId>,
}

/// Why an image's JSON was refused. Where the V1 protocol has a text of its own for it, it is that text exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ImageJsonError {
    /// Larger than [`limits::IMAGE_JSON_BYTES_MAX`].
    #[error("Image JSON is larger than {} bytes", limits::IMAGE_JSON_BYTES_MAX)]
    TooLarge,
    /// Not UTF-8, or not one JSON object.
    #[error("Invalid JSON")]
    Invalid,
    /// Nested deeper than [`limits::IMAGE_JSON_DEPTH_MAX`].
    #[error("Image JSON is nested deeper than {} levels", limits::IMAGE_JSON_DEPTH_MAX)]
    TooDeep,
    /// It has no `id`.
    #[error("Missing key `id' in JSON")]
    IdMissing,
    /// Its `id` is not a string, or not the one in the path.
    #[error("JSON data contains invalid id")]
    IdMismatch,
    /// Its `parent` is neither empty nor an image's id.
    #[error("JSON data contains invalid parent: use the 64 lower-case hexadecimal digits of an image's id")]
    Parent,
    /// Its `parent` is itself.
    #[error("Image depends on itself")]
    OwnParent,
}

impl ImageJson {
    /// Checks the JSON of the image that the path calls `id`. Of members of the same name the last one counts.
    ///
    /// # Errors
    /// [`ImageJsonError`]: the first of its variants, in their order, that is true of the bytes.
    pub fn check(bytes: &[u8], id: &ImageId) -> Result<ImageJson, ImageJsonError> {
        if bytes.len() > limits::IMAGE_JSON_BYTES_MAX {
            return Err(ImageJsonError::TooLarge);
        }
        let text = std::str::from_utf8(bytes).map_err(|_| ImageJsonError::Invalid)?;
        let (mut own, mut parent) = (None, None);
        raw::members(text, |name, value| match &*name {
            "id" => own = Some(value),
            "parent" => parent = Some(value),
            _ => {}
        })
        .map_err(|_| ImageJsonError::Invalid)?;
        if raw::depth(text) > limits::IMAGE_JSON_DEPTH_MAX {
            return Err(ImageJsonError::TooDeep);
        }
        let own = raw::string(own.ok_or(ImageJsonError::IdMissing)?).ok_or(ImageJsonError::IdMismatch)?;
        if ImageId::parse(&own).as_ref() != Ok(id) {
            return Err(ImageJsonError::IdMismatch);
        }
        let parent = match parent.map(|text| raw::string(text).ok_or(ImageJsonError::Parent)).transpose()? {
            Some(parent) if !parent.is_empty() => {
                Some(ImageId::parse(&parent).map_err(|_| ImageJsonError::Parent)?)
            }
            _ => None,
        };
        if parent.as_ref() == Some(id) {
            return Err(ImageJsonError::OwnParent);
        }
        Ok(ImageJson { id: *id, parent })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: ImageId = ImageId::from_bytes([0x11; 32]);
    const PARENT: ImageId = ImageId::from_bytes([0x22; 32]);

    fn check(json: &str) -> Result<Option<ImageId>, ImageJsonError> {
        ImageJson::check(json.as_bytes(), &ID).map(|json| json.parent)
    }

    #[test]
    fn an_image_has_its_id_and_perhaps_a_parent() {
        for (rest, parent) in [
            (String::new(), None),
            (r#","parent":"""#.to_owned(), None),
            (format!(r#","parent":"{PARENT}""#), Some(PARENT)),
            (format!(r#","parent":7,"parent":"{PARENT}","Size":1e999"#), Some(PARENT)),
            (format!(r#","parent":"{PARENT}","pare\u006et":"","a":"\ud800""#), None),
        ] {
            assert_eq!(check(&format!(r#" {{"id":"{ID}"{rest}}} "#)), Ok(parent), "{rest}");
        }
    }

    #[test]
    fn a_refusal_says_what_the_protocol_says() {
        let id = format!(r#""id":"{ID}""#);
        for (json, text) in [
            (String::new(), "Invalid JSON"),
            ("[]".to_owned(), "Invalid JSON"),
            ("null".to_owned(), "Invalid JSON"),
            (format!("{{{id}}}x"), "Invalid JSON"),
            (format!("{{{id},}}"), "Invalid JSON"),
            (format!("{{{id},\"a\":\"\u{1}\"}}"), "Invalid JSON"),
            ("{}".to_owned(), "Missing key `id' in JSON"),
            (r#"{"ID":"x","parent":7}"#.to_owned(), "Missing key `id' in JSON"),
            (r#"{"id":null}"#.to_owned(), "JSON data contains invalid id"),
            (r#"{"id":7}"#.to_owned(), "JSON data contains invalid id"),
            (format!(r#"{{"id":"{PARENT}"}}"#), "JSON data contains invalid id"),
            (format!(r#"{{{id},"id":"","parent":7}}"#), "JSON data contains invalid id"),
        ] {
            assert_eq!(check(&json).unwrap_err().to_string(), text, "{json}");
        }
        assert_eq!(ImageJson::check(b"{\"id\":\"\xff\"}", &ID), Err(ImageJsonError::Invalid));
        for parent in
            ["7", "null", "[]", r#""x""#, &format!(r#""sha256:{PARENT}""#), &format!(r#""{PARENT} ""#)]
        {
            assert_eq!(
                check(&format!(r#"{{{id},"parent":{parent}}}"#)),
                Err(ImageJsonError::Parent),
                "{parent}"
            );
        }
        assert_eq!(check(&format!(r#"{{{id},"parent":"{ID}"}}"#)), Err(ImageJsonError::OwnParent));
    }

    #[test]
    fn size_and_depth_are_bounded() {
        let nested =
            |levels: usize| format!(r#"{{"id":"{ID}","a":{}{}}}"#, "[".repeat(levels), "]".repeat(levels));
        assert_eq!(check(&nested(limits::IMAGE_JSON_DEPTH_MAX - 1)), Ok(None));
        assert_eq!(check(&nested(limits::IMAGE_JSON_DEPTH_MAX)), Err(ImageJsonError::TooDeep));
        let deep = nested((limits::IMAGE_JSON_BYTES_MAX - 100) / 2);
        assert_eq!(check(&deep), Err(ImageJsonError::TooDeep));
        assert_eq!(check(&deep[..deep.len() - 1]), Err(ImageJsonError::Invalid));
        let mut large = format!(r#"{{"id":"{ID}"}}"#);
        large.extend(std::iter::repeat_n(' ', limits::IMAGE_JSON_BYTES_MAX - large.len()));
        assert_eq!(check(&large), Ok(None));
        large.push(' ');
        assert_eq!(check(&large), Err(ImageJsonError::TooLarge));
    }

    proptest! {
        #[test]
        fn any_bytes_are_checked_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = ImageJson::check(&bytes, &ID);
        }

        /// What another parser takes for an object is one here, and nothing else is.
        #[test]
        fn objects_are_what_another_parser_takes_for_objects(
            text in r#"\{([\[\]{}":, ]|"a"|-?[0-9.]|true|null|\\n|\{"b":|:\[|\],|"a":1,?){0,12}\}"#,
        ) {
            let object = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&text);
            prop_assert_eq!(check(&text) == Err(ImageJsonError::Invalid), object.is_err());
        }
    }
}
