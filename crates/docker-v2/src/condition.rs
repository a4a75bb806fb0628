//! Conditions on a change, by entity tags: the digests that a tag points to (RFC 9110, section 13). Entity tags
//! themselves are `supercargo-http`'s.

use http::{HeaderMap, HeaderName, header};
use supercargo_http::etag::EntityTags;
use supercargo_model::Digest;
use supercargo_registry::{Condition, Expected};

use crate::error::{Code, Failure};

/// What If-Match and If-None-Match ask of a change: digests, of which a tag points to one or to none. A tag of
/// another kind is no digest's, so that it matches nothing; and weak tags never match in If-Match (section
/// 13.1.1).
///
/// # Errors
/// Where a header is neither `*` nor a list of entity tags. To ignore it would lose the very update that the
/// client wants to protect.
pub(crate) fn read(headers: &HeaderMap) -> Result<Condition, Failure> {
    let expected = |name: HeaderName, weak_too: bool| -> Result<Option<Expected>, Failure> {
        let mut digests = None::<Vec<Digest>>;
        for header in headers.get_all(&name) {
            let digests = digests.get_or_insert_default();
            if header.as_bytes().trim_ascii() == b"*" {
                return Ok(Some(Expected::Anything));
            }
            for tag in EntityTags::of(header.as_bytes()) {
                let Ok(tag) = tag else {
                    let message = format!("{name} is neither * nor digests, each in double quotes");
                    return Err(Failure::new(Code::ArgumentUnsupported).message(message));
                };
                if weak_too || !tag.is_weak() {
                    digests.extend(tag.text().and_then(|text| Digest::parse(text).ok()));
                }
            }
        }
        Ok(digests.map(Expected::OneOf))
    };
    Ok(Condition {
        matches: expected(header::IF_MATCH, false)?,
        matches_none: expected(header::IF_NONE_MATCH, true)?,
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn conditions_are_read_from_both_headers() {
        let [one, two] = [1, 2].map(|byte| Digest::sha256([byte; 32]));
        let sent = |name: &'static str, values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(name, HeaderValue::from_str(value).unwrap());
            }
            read(&headers).map(|condition| (condition.matches, condition.matches_none))
        };
        let of = |digests: &[Digest]| Some(Expected::OneOf(digests.to_vec()));
        let list = format!("\"{one}\", W/\"{two}\",\"other\"");
        assert_eq!(read(&HeaderMap::new()).unwrap(), Condition::default());
        assert_eq!(sent("if-match", &[&list]).unwrap(), (of(&[one]), None));
        assert_eq!(sent("if-none-match", &[&list]).unwrap(), (None, of(&[one, two])));
        assert_eq!(
            sent("if-match", &[&format!("\"{one}\""), &format!("\"{two}\"")]).unwrap(),
            (of(&[one, two]), None)
        );
        for none_of_ours in ["", ",", "\"x\""] {
            assert_eq!(sent("if-match", &[none_of_ours]).unwrap(), (of(&[]), None));
        }
        assert_eq!(sent("if-match", &["\"x\"", " * "]).unwrap(), (Some(Expected::Anything), None));
        for malformed in [&*one.to_string(), "x", "\"x", "\"x\" y", "W/", "**"] {
            assert_eq!(sent("if-match", &[malformed]).unwrap_err().code(), Code::ArgumentUnsupported);
        }
    }
}
