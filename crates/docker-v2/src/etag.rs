//! Entity tags. The tag of a blob or manifest is its digest in quotes: strong, for content never changes
//! below its digest. What lives here is how clients' conditions compare with it (RFC 9110, section 13).

use http::{HeaderMap, HeaderValue, header};

use crate::error::Failure;
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

/// Whether a list of entity tags has this one. Other tags may hold commas within their quotes.
fn lists(mut list: &[u8], etag: &[u8]) -> bool {
    if list.trim_ascii() == b"*" {
        return true;
    }
    loop {
        let separator = |b: &u8| matches!(b, b' ' | b'\t' | b',');
        list = &list[list.iter().position(|b| !separator(b)).unwrap_or(list.len())..];
        list = list.strip_prefix(b"W/").unwrap_or(list);
        let Some(quoted) = list.strip_prefix(b"\"") else { return false };
        let Some(close) = quoted.iter().position(|b| *b == b'"') else { return false };
        // One quote before what is between the quotes, one after.
        let (tag, rest) = list.split_at(close + 2);
        if tag == etag {
            return true;
        }
        list = rest;
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

    proptest! {
        #[test]
        fn a_list_never_panics(list in proptest::collection::vec(prop_oneof![Just(b'"'), Just(b','), Just(b'W'), Just(b'/'), any::<u8>()], 0..60)) {
            let _ = lists(&list, b"\"sha256:00\"");
        }
    }
}
