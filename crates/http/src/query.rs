//! Query parameters as registries' protocols use them. Decoding alone; each value is parsed where it is used.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// A request's query parameters, decoded, in order.
///
/// A plus sign stays a plus sign, unlike in an HTML form: nothing that a protocol puts into a query may
/// hold a space, and media types (`artifactType=application/vnd.example+json`) hold plus signs that not
/// every client encodes.
#[derive(Debug)]
pub struct Query<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Query<'a> {
    /// Splits and decodes a URI's query. What does not decode to UTF-8 stays as it came, for the parser that
    /// is asked next to refuse.
    pub fn parse(query: Option<&'a str>) -> Query<'a> {
        let decode = |text: &'a str| percent_decode_str(text).decode_utf8().unwrap_or(Cow::Borrowed(text));
        let pairs = query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(key), decode(value))
        });
        Query(pairs.collect())
    }

    /// The first value of a parameter. An empty one counts as absent.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.get_all(key).next().filter(|value| !value.is_empty())
    }

    /// Every value of a parameter, in order, the empty ones too.
    pub fn get_all(&self, key: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(name, _)| name == key).map(|(_, value)| value.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_are_decoded_and_plus_is_plus() {
        let query = Query::parse(Some("digest=sha256%3A00&tag=a&tag=b&x&artifactType=a/b+json&bad=%ff&&e="));
        assert_eq!(query.get("digest"), Some("sha256:00"));
        assert_eq!(query.get_all("tag").collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(query.get("artifactType"), Some("a/b+json"));
        assert_eq!(query.get("bad"), Some("%ff"));
        assert_eq!((query.get("x"), query.get("e"), query.get("none")), (None, None, None));
        assert_eq!(query.get_all("e").count(), 1);
        assert_eq!(Query::parse(None).get("a"), None);
    }

    proptest! {
        #[test]
        fn parse_never_panics(query in "[a-z%&=+]{0,40}|\\PC{0,60}") {
            let query = Query::parse(Some(&query));
            let _ = query.get("a");
        }
    }
}
