//! What URLs begin with, in text: a configured base URL, one that a proxy says, and paths in front of paths.

use std::fmt;
use std::str::FromStr;

use hyper::Uri;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use supercargo_registry::Scheme;

use super::forwarded::host_and_port;

/// A scheme, a host and a path in front of others: `https://registry.example:8443/artifactory`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BaseUrl {
    /// What is spoken there.
    pub(crate) scheme: Scheme,
    /// The host, with the port where it is not the scheme's own.
    pub(crate) host: String,
    /// What paths begin with.
    pub(crate) path: PathPrefix,
}

/// What a path begins with: nothing, or a path with a slash in front and none behind, of characters that mean nothing
/// anywhere.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct PathPrefix(String);

/// Why a text is no such thing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BaseUrlError {
    /// Not a URL that others can begin with.
    #[error(
        "{0:?} is no base URL: write http://HOST or https://HOST, with a port and a path where there are any"
    )]
    Url(String),
    /// Not a path that others can begin with.
    #[error(
        "{0:?} is no path that others can begin with: write a slash, then letters, digits, hyphens, dots, underscores and \
         more slashes"
    )]
    Path(String),
}

impl PathPrefix {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PathPrefix {
    type Err = BaseUrlError;

    fn from_str(text: &str) -> Result<PathPrefix, BaseUrlError> {
        let refused = || BaseUrlError::Path(text.to_owned());
        let prefix = text.strip_suffix('/').unwrap_or(text);
        if prefix.is_empty() {
            return Ok(PathPrefix::default());
        }
        let harmless = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
        let is_segment = |segment: &str| !matches!(segment, "" | "." | "..") && segment.bytes().all(harmless);
        let below = prefix.strip_prefix('/').ok_or_else(refused)?;
        if below.split('/').all(is_segment) { Ok(PathPrefix(prefix.to_owned())) } else { Err(refused()) }
    }
}

impl FromStr for BaseUrl {
    type Err = BaseUrlError;

    fn from_str(text: &str) -> Result<BaseUrl, BaseUrlError> {
        let refused = || BaseUrlError::Url(text.to_owned());
        let uri: Uri = text.parse().map_err(|_| refused())?;
        let scheme = match uri.scheme_str() {
            Some("http") => Scheme::Http,
            Some("https") => Scheme::Https,
            _ => return Err(refused()),
        };
        let authority =
            uri.authority().and_then(|authority| host_and_port(authority.as_str())).ok_or_else(refused)?;
        if uri.query().is_some() {
            return Err(refused());
        }
        let host = match authority.port_u16().filter(|port| *port != scheme.port()) {
            Some(port) => format!("{}:{port}", authority.host()),
            None => authority.host().to_owned(),
        };
        Ok(BaseUrl { scheme, host, path: uri.path().parse().map_err(|_| refused())? })
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme.as_str(), self.host, self.path.as_str())
    }
}

impl Serialize for PathPrefix {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for PathPrefix {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<PathPrefix, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// A base URL that may be left out, as an empty text.
pub(crate) mod optional {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(url: &Option<BaseUrl>, serializer: S) -> Result<S::Ok, S::Error> {
        match url {
            Some(url) => serializer.collect_str(url),
            None => serializer.serialize_str(""),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<BaseUrl>, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.is_empty() { Ok(None) } else { text.parse().map(Some).map_err(de::Error::custom) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn base_urls_are_read_and_written() {
        for (text, host, path, written) in [
            ("http://a.example", "a.example", "", "http://a.example"),
            ("https://a.example/", "a.example", "", "https://a.example"),
            (
                "https://a.example:443/artifactory",
                "a.example",
                "/artifactory",
                "https://a.example/artifactory",
            ),
            ("https://a.example:80/x/y/", "a.example:80", "/x/y", "https://a.example:80/x/y"),
            ("http://[::1]:8081/artifactory", "[::1]:8081", "/artifactory", "http://[::1]:8081/artifactory"),
        ] {
            let url: BaseUrl = text.parse().unwrap();
            assert_eq!((&*url.host, url.path.as_str(), &*url.to_string()), (host, path, written), "{text}");
        }
        for bad in [
            "",
            "a.example",
            "ftp://a.example",
            "https://",
            "https://u@a.example",
            "https://a.example?x",
            "https://a.example/?x=1",
            "https://a.example/%41",
            "https://a.example//b",
            "https://a.example/..",
            "https://a.example:x",
            "/artifactory",
        ] {
            assert!(bad.parse::<BaseUrl>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn prefixes_hold_nothing_that_means_something() {
        for (text, prefix) in [("", ""), ("/", ""), ("/a", "/a"), ("/a/b.c/", "/a/b.c")] {
            assert_eq!(text.parse::<PathPrefix>().unwrap().as_str(), prefix);
        }
        for bad in ["a", "//", "/a//b", "/.", "/a/..", "/a b", "/%2f", "/a?b", "/{a}", "/a\"b", "/*"] {
            assert!(bad.parse::<PathPrefix>().is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(text in "https?://[a-z]{1,5}(:[0-9]{1,4})?(/[a-z.]{1,4}){0,3}/?") {
            if let Ok(url) = text.parse::<BaseUrl>() {
                prop_assert_eq!(url.to_string().parse::<BaseUrl>().unwrap(), url);
            }
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,60}", path in "[a-z/.%?]{0,30}") {
            let _ = (text.parse::<BaseUrl>(), text.parse::<PathPrefix>(), format!("http://a{path}").parse::<BaseUrl>());
        }
    }
}
