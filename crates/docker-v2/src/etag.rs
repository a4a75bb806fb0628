//! Entity tags. The tag of a blob or manifest is its digest in quotes: strong, for content never changes
//! below its digest. What lives here is how clients' conditions compare with it (RFC 9110, section 13).

use http::{HeaderMap, HeaderName, HeaderValue, header};
use supercargo_model::Digest;
use supercargo_registry::{Condition, Expected};

use crate::error::{Code, Failure};
use crate::response;

/// The entity tag of what has this digest.
///
/// # Errors
/// Internal, if the digest's text were not fit for a header.
pub(crate) fn of(digest: &str) -> Result<HeaderValue, Failure> {
    response::header_value(format!("\"{digest}\""))
}

/// Whether If-None-Match says that the client has this entity, so that 304 is the answer. Weak tags match
/// like strong ones (section 13.1.2), and `*` matches whatever there is.
pub(crate) fn is_cached(headers: &HeaderMap, etag: &HeaderValue) -> bool {
    headers.get_all(header::IF_NONE_MATCH).iter().any(|header| lists(header.as_bytes(), etag.as_bytes()))
}

/// Whether If-Range lets a range be served: where it is absent or is exactly this entity. A date never is,
/// since no Last-Modified was ever sent.
pub(crate) fn range_applies(headers: &HeaderMap, etag: &HeaderValue) -> bool {
    headers.get(header::IF_RANGE).is_none_or(|header| header.as_bytes().trim_ascii() == etag.as_bytes())
}

/// What If-Match and If-None-Match ask of a change: digests, of which a tag points to one or to none. A tag of
/// another kind is no digest's, so that it matches nothing; and weak tags never match in If-Match (section
/// 13.1.1).
///
/// # Errors
/// Where a header is neither `*` nor a list of entity tags. To ignore it would lose the very update that the
/// client wants to protect.
pub(crate) fn condition(headers: &HeaderMap) -> Result<Condition, Failure> {
    let expected = |name: HeaderName, weak_too: bool| -> Result<Option<Expected>, Failure> {
        let mut digests = None::<Vec<Digest>>;
        for header in headers.get_all(&name) {
            let digests = digests.get_or_insert_default();
            if header.as_bytes().trim_ascii() == b"*" {
                return Ok(Some(Expected::Anything));
            }
            for tag in EntityTags(header.as_bytes()) {
                let Ok(tag) = tag else {
                    let message = format!("{name} is neither * nor digests, each in double quotes");
                    return Err(Failure::new(Code::ArgumentUnsupported).message(message));
                };
                if weak_too || !tag.weak {
                    digests.extend(tag.digest());
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

/// Whether a list of entity tags has this one, or is `*`. It ends where it is malformed.
fn lists(list: &[u8], etag: &[u8]) -> bool {
    list.trim_ascii() == b"*" || EntityTags(list).map_while(Result::ok).any(|tag| tag.quoted == etag)
}

/// One entity tag, with its quotes.
struct EntityTag<'a> {
    quoted: &'a [u8],
    weak: bool,
}

impl EntityTag<'_> {
    fn digest(&self) -> Option<Digest> {
        let text = self.quoted.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
        Digest::parse(std::str::from_utf8(text).ok()?).ok()
    }
}

/// The entity tags of a list, one by one. They may hold commas within their quotes.
struct EntityTags<'a>(&'a [u8]);

/// What follows in a list is no entity tag.
#[derive(Debug)]
struct NoEntityTag;

impl<'a> Iterator for EntityTags<'a> {
    type Item = Result<EntityTag<'a>, NoEntityTag>;

    fn next(&mut self) -> Option<Self::Item> {
        let start = self.0.iter().position(|b| !matches!(b, b' ' | b'\t' | b','))?;
        let tag = &self.0[start..];
        self.0 = &[];
        let strong = tag.strip_prefix(b"W/").unwrap_or(tag);
        let close = strong.strip_prefix(b"\"").and_then(|rest| rest.iter().position(|b| *b == b'"'));
        let Some(close) = close else { return Some(Err(NoEntityTag)) };
        // One quote before what is between the quotes, one after.
        let (quoted, rest) = strong.split_at(close + 2);
        self.0 = rest;
        Some(Ok(EntityTag { quoted, weak: strong.len() < tag.len() }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_list_is_searched_for_the_tag() {
        let etag = b"\"sha256:00\"";
        for list in [
            "*",
            " * ",
            "\"sha256:00\"",
            "W/\"sha256:00\"",
            "\"a,b\", \"sha256:00\"",
            "\"a\",,W/\"b\" ,\t\"sha256:00\"",
        ] {
            assert!(lists(list.as_bytes(), etag), "{list:?}");
        }
        for list in
            ["", ",", "sha256:00", "\"sha256:00", "\"sha256:0\"", "\"a\" x \"sha256:00\"", "\"*\"", "W/"]
        {
            assert!(!lists(list.as_bytes(), etag), "{list:?}");
        }
    }

    #[test]
    fn a_range_applies_to_the_very_entity_alone() {
        let etag = HeaderValue::from_static("\"sha256:00\"");
        let mut headers = HeaderMap::new();
        assert!(range_applies(&headers, &etag));
        for (value, applies) in [
            ("\"sha256:00\"", true),
            ("W/\"sha256:00\"", false),
            ("\"sha256:01\"", false),
            ("Wed, 21 Oct 2026 07:28:00 GMT", false),
        ] {
            headers.insert(header::IF_RANGE, HeaderValue::from_static(value));
            assert_eq!(range_applies(&headers, &etag), applies, "{value}");
        }
    }

    #[test]
    fn conditions_are_read_from_both_headers() {
        let [one, two] = [1, 2].map(|byte| Digest::sha256([byte; 32]));
        let read = |name: &'static str, values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(name, HeaderValue::from_str(value).unwrap());
            }
            condition(&headers).map(|condition| (condition.matches, condition.matches_none))
        };
        let of = |digests: &[Digest]| Some(Expected::OneOf(digests.to_vec()));
        let list = format!("\"{one}\", W/\"{two}\",\"other\"");
        assert_eq!(condition(&HeaderMap::new()).unwrap(), Condition::default());
        assert_eq!(read("if-match", &[&list]).unwrap(), (of(&[one]), None));
        assert_eq!(read("if-none-match", &[&list]).unwrap(), (None, of(&[one, two])));
        assert_eq!(
            read("if-match", &[&format!("\"{one}\""), &format!("\"{two}\"")]).unwrap(),
            (of(&[one, two]), None)
        );
        for none_of_ours in ["", ",", "\"x\""] {
            assert_eq!(read("if-match", &[none_of_ours]).unwrap(), (of(&[]), None));
        }
        assert_eq!(read("if-match", &["\"x\"", " * "]).unwrap(), (Some(Expected::Anything), None));
        for malformed in [&*one.to_string(), "x", "\"x", "\"x\" y", "W/", "**"] {
            assert_eq!(read("if-match", &[malformed]).unwrap_err().code(), Code::ArgumentUnsupported);
        }
    }

    proptest! {
        #[test]
        fn a_list_never_panics(list in proptest::collection::vec(prop_oneof![Just(b'"'), Just(b','), Just(b'W'), Just(b'/'), any::<u8>()], 0..60)) {
            let _ = lists(&list, b"\"sha256:00\"");
        }
    }
}
