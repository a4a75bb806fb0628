//! Pages of listings: the `n` and `last` parameters, and the Link header that leads to the next page (OCI
//! distribution specification, "Listing Tags"). The listings themselves are elsewhere.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use supercargo_model::limits;

use crate::query::Query;

/// RFC 3986's unreserved characters stay as they are.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Which page of a listing is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageRequest<'q> {
    /// How many entries at most; never more than [`limits::PAGE_ENTRIES_MAX`].
    pub n: usize,
    /// Only entries after this one.
    pub last: Option<&'q str>,
}

/// `n` is not a whole number from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("n must be a whole number, 0 or more")]
pub struct PageNumberInvalid;

impl<'q> PageRequest<'q> {
    /// Reads `n` and `last`. Without `n` a page is as long as a page may be.
    ///
    /// # Errors
    /// [`PageNumberInvalid`] where `n` is there and is not a whole number. One too large is cut, however
    /// large it is.
    pub fn parse(query: &'q Query<'_>) -> Result<PageRequest<'q>, PageNumberInvalid> {
        let n = match query.get_all("n").next() {
            None => limits::PAGE_ENTRIES_MAX,
            Some(digits) if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => {
                digits.parse().unwrap_or(usize::MAX).min(limits::PAGE_ENTRIES_MAX)
            }
            Some(_) => return Err(PageNumberInvalid),
        };
        Ok(PageRequest { n, last: query.get("last") })
    }
}

/// A Link header's text for the page after `last`: a path, so that it holds behind any host name and proxy.
/// `filter` is a parameter that the next page needs too.
pub fn next_link(path: &str, n: usize, last: &str, filter: Option<(&str, &str)>) -> String {
    let last = utf8_percent_encode(last, ENCODED);
    match filter {
        None => format!("<{path}?n={n}&last={last}>; rel=\"next\""),
        Some((key, value)) => {
            let value = utf8_percent_encode(value, ENCODED);
            format!("<{path}?{key}={value}&n={n}&last={last}>; rel=\"next\"")
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn n_is_a_whole_number_within_the_limit() {
        let parse = |query: &'static str| PageRequest::parse(&Query::parse(Some(query))).map(|page| page.n);
        for (query, expected) in [
            ("", limits::PAGE_ENTRIES_MAX),
            ("n=0", 0),
            ("n=007", 7),
            ("n=10000", 10_000),
            ("n=10001", limits::PAGE_ENTRIES_MAX),
            ("n=99999999999999999999999999", limits::PAGE_ENTRIES_MAX),
        ] {
            assert_eq!(parse(query), Ok(expected), "{query}");
        }
        for bad in ["n=", "n=-1", "n=+1", "n=a", "n=1.5", "n=%31x", "n"] {
            assert_eq!(parse(bad), Err(PageNumberInvalid), "{bad}");
        }
    }

    #[test]
    fn links_lead_on_below_the_prefix() {
        assert_eq!(
            next_link("/p/v2/a/b/tags/list", 2, "v1.0", None),
            "</p/v2/a/b/tags/list?n=2&last=v1.0>; rel=\"next\""
        );
        assert_eq!(
            next_link("/v2/a/referrers/d", 2, "sha256:00", Some(("artifactType", "a/b+c&d>"))),
            "</v2/a/referrers/d?artifactType=a%2Fb%2Bc%26d%3E&n=2&last=sha256%3A00>; rel=\"next\""
        );
    }

    proptest! {
        #[test]
        fn parse_never_panics(n in "[-+0-9]{0,30}|\\PC{0,20}", last in "\\PC{0,40}") {
            let query = format!("n={n}&last={last}");
            let query = Query::parse(Some(&query));
            if let Ok(page) = PageRequest::parse(&query) {
                prop_assert!(page.n <= limits::PAGE_ENTRIES_MAX);
            }
        }

        #[test]
        fn a_link_is_read_back_as_it_was_written(n in 0..limits::PAGE_ENTRIES_MAX, last in "\\PC{1,40}", kind in "\\PC{1,40}") {
            let link = next_link("/v2/a/tags/list", n, &last, Some(("artifactType", &kind)));
            prop_assert!(http::HeaderValue::from_str(&link).is_ok());
            let target = link.strip_prefix("</v2/a/tags/list?").unwrap().strip_suffix(">; rel=\"next\"").unwrap();
            let query = Query::parse(Some(target));
            prop_assert_eq!(query.get("artifactType"), Some(kind.as_str()));
            let page = PageRequest::parse(&query).unwrap();
            prop_assert_eq!(page, PageRequest { n, last: Some(last.as_str()) });
        }
    }
}
