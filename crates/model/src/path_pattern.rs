//! Patterns over paths of a repository's tree, as Artifactory writes them: which paths a permission target is about, or
//! which may be deployed to.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::pattern::matches;
use crate::{ParseError, limits};

/// A pattern, matched against a whole path: `**/` stands for any folders, also none, `**` for anything at all, `*` for anything
/// without a slash and `?` for one byte that is none; `/**` at the end also for nothing, and a slash at the end for `/**`.
/// 1 to 255 bytes, without control characters and without `,`, by which lists of them are divided.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PathPattern(Arc<str>);

impl PathPattern {
    /// Parses a pattern.
    ///
    /// # Errors
    /// [`ParseError::PathPattern`].
    pub fn parse(s: &str) -> Result<PathPattern, ParseError> {
        let valid = (1..=limits::PATTERN_BYTES_MAX).contains(&s.len())
            && !s.chars().any(|c| c.is_control() || c == ',')
            && s.trim() == s
            && !s.contains("***");
        if valid { Ok(PathPattern(Arc::from(s))) } else { Err(ParseError::PathPattern(ParseError::clip(s))) }
    }

    /// Parses a list that is divided by commas. Nothing between two of them is passed over.
    ///
    /// # Errors
    /// [`ParseError::PathPattern`], of the first that is none.
    pub fn parse_list(s: &str) -> Result<Vec<PathPattern>, ParseError> {
        let parts = s.split(',').map(str::trim).filter(|part| !part.is_empty());
        parts.map(PathPattern::parse).collect()
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it matches every path.
    pub fn is_everything(&self) -> bool {
        matches!(&*self.0, "**" | "**/*" | "**/**")
    }

    /// Whether it matches the whole path, which has no slash at either end. Takes time in proportion to both lengths
    /// multiplied, at most.
    pub fn matches(&self, path: &str) -> bool {
        let mut pattern = self.0.strip_prefix('/').unwrap_or(&self.0).to_owned();
        if pattern.ends_with('/') {
            pattern.push_str("**");
        }
        let whole = |pattern: &str| {
            let found = |pattern: &str| matches(pattern.as_bytes(), path.as_bytes(), true);
            found(pattern) || pattern.strip_suffix("/**").is_some_and(found)
        };
        // Folders that there may be none of.
        whole(&pattern) || pattern.strip_prefix("**/").is_some_and(whole)
    }
}

impl FromStr for PathPattern {
    type Err = ParseError;

    fn from_str(s: &str) -> Result<PathPattern, ParseError> {
        PathPattern::parse(s)
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl Serialize for PathPattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for PathPattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<PathPattern, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        PathPattern::parse(&text).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_matched_as_artifactory_does() {
        for (pattern, yes, no) in [
            ("**", &["", "a", "a/b/c"][..], &[][..]),
            ("**/*", &["a", "a/b/c"], &[]),
            (
                "repositories/jfrog/**",
                &["repositories/jfrog", "repositories/jfrog/ubuntu"],
                &["repositories/x"],
            ),
            (
                "repositories/jfrog/",
                &["repositories/jfrog", "repositories/jfrog/ubuntu"],
                &["repositories/jfrogx"],
            ),
            ("/a/*", &["a/b"], &["a", "a/b/c"]),
            ("**/latest/**", &["latest", "app/latest", "a/b/latest/manifest.json"], &["a/latests"]),
            ("a?c", &["abc"], &["ac", "a/c", "abbc"]),
            ("v1.0+x~y", &["v1.0+x~y"], &["v1.0"]),
        ] {
            let pattern = PathPattern::parse(pattern).unwrap();
            yes.iter().for_each(|path| assert!(pattern.matches(path), "{pattern} {path}"));
            no.iter().for_each(|path| assert!(!pattern.matches(path), "{pattern} {path}"));
        }
        assert!(PathPattern::parse("**/*").unwrap().is_everything());
    }

    #[test]
    fn lists_are_divided_by_commas() {
        let list = PathPattern::parse_list(" a/**, ,b ").unwrap();
        assert_eq!(list.iter().map(PathPattern::as_str).collect::<Vec<_>>(), ["a/**", "b"]);
        assert_eq!(PathPattern::parse_list(""), Ok(Vec::new()));
        for bad in ["a,***", "a\0", &"a".repeat(256)] {
            assert!(PathPattern::parse_list(bad).is_err(), "{bad:?}");
        }
    }
}
