//! Search, which all clients do by V1, whatever they push and pull by (the V1 specification, 8).

use axum::extract::Query;
use axum::response::Response;
use http::request::Parts;
use serde::Serialize;
use supercargo_model::RepoName;
use supercargo_registry::v1::{HasTags, V1Found};

use crate::Surface;
use crate::error::{Code, Failure};
use crate::gate::Admitted;
use supercargo_model::v1::V1Name;

/// How long a page is where nobody says.
const PAGE_DEFAULT: usize = 25;
/// Longest page.
const PAGE_MAX: usize = 100;

/// What is searched for, and which page of it is wanted.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    term: String,
    n: usize,
    page: usize,
}

#[derive(Serialize)]
struct Found<'a> {
    query: &'a str,
    num_results: u64,
    num_pages: u64,
    page: usize,
    page_size: usize,
    results: Vec<FoundName>,
}

#[derive(Serialize)]
struct FoundName {
    name: String,
    description: &'static str,
    star_count: u64,
    is_official: bool,
    is_trusted: bool,
    is_automated: bool,
}

impl Wanted {
    /// Reads `q`, `n` and `page`; each is what it is given last. Numbers that are too small or too large are the nearest
    /// that will do.
    fn parse(uri: &http::Uri) -> Result<Wanted, Failure> {
        let wrong = |message: String| Failure::new(Code::ArgumentInvalid).message(message);
        let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(uri)
            .map_err(|_| wrong("The query can't be read".to_owned()))?;
        let mut wanted = Wanted { term: String::new(), n: PAGE_DEFAULT, page: 1 };
        for (key, value) in pairs {
            let number = |value: &str| {
                let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
                // Too large for a number is past any end.
                digits.then(|| value.parse().unwrap_or(usize::MAX).max(1))
            };
            let number =
                || number(&value).ok_or_else(|| wrong(format!("{key} is not a whole number from 1")));
            match key.as_str() {
                "n" => wanted.n = number()?.min(PAGE_MAX),
                "page" => wanted.page = number()?,
                "q" => wanted.term = value,
                _ => {}
            }
        }
        Ok(wanted)
    }
}

/// `GET /v1/search?q=&n=&page=`: the repositories that have the term in their names and that the caller may read.
pub(crate) async fn search(
    surface: &Surface,
    parts: &Parts,
    admitted: Admitted,
) -> Result<Response, Failure> {
    let Wanted { term, n, page } = Wanted::parse(&parts.uri)?;
    let found = if admitted.may_read_nothing(surface) {
        V1Found { total: 0, names: Vec::new() }
    } else {
        // Names hold no other letters than small ones.
        let lower = term.to_lowercase();
        let matches = move |name: &RepoName, has_tags: HasTags<'_>| {
            if !admitted.may_read(name) || !V1Name::of(name).shown().contains(&lower) {
                return Ok(false);
            }
            // Else both would be shown, by the same name, and only the one could be pulled.
            match V1Name::shadowing(name).filter(|long| admitted.may_read(long)) {
                Some(long) => has_tags(&long).map(|there| !there),
                None => Ok(true),
            }
        };
        surface.registry.v1_search(surface.repository(), page, n, matches).await?
    };
    let results = found.names.iter().map(|name| FoundName {
        name: V1Name::of(name).shown().to_owned(),
        description: "",
        star_count: 0,
        is_official: false,
        is_trusted: false,
        is_automated: false,
    });
    crate::json(&Found {
        query: &term,
        num_results: found.total,
        num_pages: found.total.div_ceil(n as u64),
        page,
        page_size: n,
        results: results.collect(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn wanted(query: &str) -> Result<Wanted, Code> {
        Wanted::parse(&format!("/v1/search?{query}").parse().unwrap()).map_err(|failure| failure.code())
    }

    #[test]
    fn a_page_is_what_was_asked_for_within_bounds() {
        for (query, term, n, page) in [
            ("", "", 25, 1),
            ("q=ub", "ub", 25, 1),
            ("q=a%2Fb+c&n=10&page=3", "a/b c", 10, 3),
            ("q=&n=0&page=0", "", 1, 1),
            ("n=101", "", 100, 1),
            ("n=99999999999999999999&page=99999999999999999999", "", 100, usize::MAX),
            ("q=a&q=b&other=1", "b", 25, 1),
        ] {
            assert_eq!(wanted(query), Ok(Wanted { term: term.to_owned(), n, page }), "{query}");
        }
        for bad in ["n=", "n=x", "n=-1", "page=1.5", "page=+1"] {
            assert_eq!(wanted(bad), Err(Code::ArgumentInvalid), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_query_panics(query in "[a-z0-9=&%+.-]{0,40}") {
            if let Ok(Wanted { n, page, .. }) = wanted(&query) {
                prop_assert!((1..=PAGE_MAX).contains(&n) && page > 0);
            }
        }
    }
}
