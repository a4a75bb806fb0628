//! Entity tags. The tag of what is served is a digest in quotes: strong, for content never changes below its digest. What
//! lives here is how clients' conditions compare with it (RFC 9110, section 13).

use http::{HeaderMap, HeaderValue, header};

use crate::response::{Unfit, header_value};

/// The entity tag of what has this digest.
///
/// # Errors
/// [`Unfit`], which a digest's text never is.
pub fn of(digest: &str) -> Result<HeaderValue, Unfit> {
    header_value(format!("\"{digest}\""))
}

/// Whether If-None-Match says that the client has this entity, so that 304 is the answer. Weak tags match
/// like strong ones (section 13.1.2), and `*` matches whatever there is.
pub fn is_cached(headers: &HeaderMap, etag: &HeaderValue) -> bool {
    headers.get_all(header::IF_NONE_MATCH).iter().any(|header| lists(header.as_bytes(), etag.as_bytes()))
}

/// Whether If-Range lets a range be served: where it is absent or is exactly this entity. A date never is,
/// since no Last-Modified was ever sent.
pub fn range_applies(headers: &HeaderMap, etag: &HeaderValue) -> bool {
    headers.get(header::IF_RANGE).is_none_or(|header| header.as_bytes().trim_ascii() == etag.as_bytes())
}

/// Whether a list of entity tags has this one, or is `*`. It ends where it is malformed.
fn lists(list: &[u8], etag: &[u8]) -> bool {
    list.trim_ascii() == b"*" || EntityTags(list).map_while(Result::ok).any(|tag| tag.quoted == etag)
}

/// One entity tag, with its quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntityTag<'a> {
    quoted: &'a [u8],
    weak: bool,
}

impl<'a> EntityTag<'a> {
    /// Whether it is a weak one.
    pub fn is_weak(&self) -> bool {
        self.weak
    }

    /// What stands between its quotes, where that is UTF-8.
    pub fn text(&self) -> Option<&'a str> {
        std::str::from_utf8(self.quoted.strip_prefix(b"\"")?.strip_suffix(b"\"")?).ok()
    }
}

/// The entity tags of a list, one by one. They may hold commas within their quotes.
#[derive(Debug, Clone)]
pub struct EntityTags<'a>(&'a [u8]);

impl<'a> EntityTags<'a> {
    /// Those that a header lists.
    pub fn of(header: &'a [u8]) -> EntityTags<'a> {
        EntityTags(header)
    }
}

/// What follows in a list is no entity tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoEntityTag;

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

    proptest! {
        #[test]
        fn a_list_never_panics(list in proptest::collection::vec(prop_oneof![Just(b'"'), Just(b','), Just(b'W'), Just(b'/'), any::<u8>()], 0..60)) {
            let _ = lists(&list, b"\"sha256:00\"");
        }
    }
}
