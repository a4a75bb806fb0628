//! Patterns over names: which repositories, names, tags or media types a permission or a rule is about.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{ParseError, limits};

/// A pattern, matched against a whole text: `*` stands for anything without a slash, `**` for anything at all,
/// and `/**` at the end also for nothing; everything else stands for itself. `team-a/**` matches `team-a`,
/// `team-a/web` and `team-a/web/cache`; `team-a/*` only the second. 1 to 255 bytes of lower- and upper-case letters, digits and
/// `.` `_` `-` `+` `/` `*`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pattern(Arc<str>);

impl Pattern {
    /// Parses a pattern.
    ///
    /// # Errors
    /// [`ParseError::Pattern`].
    pub fn parse(s: &str) -> Result<Pattern, ParseError> {
        let allowed =
            |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'+' | b'/' | b'*');
        let valid = (1..=limits::PATTERN_BYTES_MAX).contains(&s.len())
            && s.bytes().all(allowed)
            && !s.contains("***")
            && !s.starts_with('/')
            && !s.ends_with('/')
            && !s.contains("//");
        if valid { Ok(Pattern(Arc::from(s))) } else { Err(ParseError::Pattern(ParseError::clip(s))) }
    }

    /// The pattern that matches everything.
    pub fn everything() -> Pattern {
        Pattern(Arc::from("**"))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it matches the whole text. Takes time in proportion to both lengths multiplied, at most.
    pub fn matches(&self, text: &str) -> bool {
        pattern_matches(&self.0, text)
    }

    /// Whether it matches whatever another pattern matches, as far as that can be seen at once: the other is the same
    /// or has no stars and is matched, or this is `**`, or `start/**` and the other begins with `start`. `false` may
    /// be too strict, `true` is never wrong.
    pub fn covers(&self, other: &Pattern) -> bool {
        if self == other || &*self.0 == "**" || (!other.0.contains('*') && self.matches(&other.0)) {
            return true;
        }
        self.0.strip_suffix("/**").filter(|start| !start.contains('*')).is_some_and(|start| {
            other.0.strip_prefix(start).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    }
}

/// Whether a pattern matches a whole text, as [`Pattern`] says it: for patterns over texts that are not names, and hold
/// other characters. Takes time in proportion to both lengths multiplied, at most.
pub fn pattern_matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    if let Some(whole) = pattern.strip_suffix(b"/**")
        && matches(whole, text, false)
    {
        return true;
    }
    matches(pattern, text, false)
}

/// Compares from the left. Where a star took too little, it takes one byte more: the last `*` first, and
/// where that may not go on over a slash, the last `**`. An earlier star never needs to be tried again, since whatever
/// it could take more, the later one can take as well.
/// `any_byte`: whether `?` stands for any byte but a slash.
pub(crate) fn matches(pattern: &[u8], text: &[u8], any_byte: bool) -> bool {
    let (mut p, mut t) = (0, 0);
    // Where to go on when a star takes one byte more: the place after it, and how far it has come.
    let mut star = None::<(usize, usize)>;
    let mut deep = None::<(usize, usize)>;
    loop {
        if pattern[p..].starts_with(b"**") {
            p += 2;
            (deep, star) = (Some((p, t)), None);
            continue;
        }
        if pattern.get(p) == Some(&b'*') {
            p += 1;
            star = Some((p, t));
            continue;
        }
        match (pattern.get(p), text.get(t)) {
            (None, None) => return true,
            (Some(expected), Some(found))
                if expected == found || (any_byte && *expected == b'?' && *found != b'/') =>
            {
                (p, t) = (p + 1, t + 1);
                continue;
            }
            _ => {}
        }
        if let Some((after, reached)) = star
            && text.get(reached).is_some_and(|byte| *byte != b'/')
        {
            star = Some((after, reached + 1));
            (p, t) = (after, reached + 1);
        } else if let Some((after, reached)) = deep
            && reached < text.len()
        {
            (deep, star) = (Some((after, reached + 1)), None);
            (p, t) = (after, reached + 1);
        } else {
            return false;
        }
    }
}

impl FromStr for Pattern {
    type Err = ParseError;

    fn from_str(s: &str) -> Result<Pattern, ParseError> {
        Pattern::parse(s)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl Serialize for Pattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Pattern, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Pattern::parse(&text).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pattern(s: &str) -> Pattern {
        Pattern::parse(s).unwrap()
    }

    #[test]
    fn stars_stop_at_slashes_and_double_stars_do_not() {
        for (given, yes, no) in [
            ("**", &["a", "a/b/c"][..], &[][..]),
            ("*", &["a", "abc"], &["a/b"]),
            ("team-a/*", &["team-a/web"], &["team-a", "team-a/web/cache", "team-b/web"]),
            ("team-a/**", &["team-a", "team-a/web", "team-a/web/cache"], &["team-ab", "team-b"]),
            ("**/cache", &["a/cache", "a/b/cache"], &["cache", "a/caches"]),
            ("v*.*", &["v1.0", "v1.2.3"], &["v1", "1.0"]),
            ("a*b*c", &["abc", "aXbXbYc"], &["abcd", "ab/c"]),
            ("**/x*/y", &["a/x1/y", "a/xb/x/y"], &["a/x/b/y", "x/y"]),
            ("a", &["a"], &["b", "aa", "a/a"]),
            ("application/*+json", &["application/x.v1+json"], &["application/json"]),
        ] {
            for text in yes {
                assert!(pattern(given).matches(text), "{given} {text}");
            }
            for text in no {
                assert!(!pattern(given).matches(text), "{given} {text}");
            }
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for bad in ["", "/a", "a/", "a//b", "***", "a b", "a?", "ä", "a\0", &"a".repeat(256)] {
            assert!(Pattern::parse(bad).is_err(), "{bad:?}");
        }
    }

    /// What the documentation says, word for word, without a thought for time.
    fn reference(pattern: &str, text: &str) -> bool {
        if let Some(rest) = pattern.strip_prefix("**") {
            (0..=text.len()).any(|at| reference(rest, &text[at..]))
        } else if let Some(rest) = pattern.strip_prefix('*') {
            (0..=text.len())
                .take_while(|at| !text[..*at].contains('/'))
                .any(|at| reference(rest, &text[at..]))
        } else {
            match (pattern.chars().next(), text.chars().next()) {
                (None, None) => true,
                (Some(p), Some(t)) if p == t => reference(&pattern[1..], &text[1..]),
                _ => false,
            }
        }
    }

    proptest! {
        #[test]
        fn it_matches_what_it_says(given in "[ab*/]{1,10}", text in "[ab/]{0,10}") {
            if let Ok(pattern) = Pattern::parse(&given) {
                let whole = given.strip_suffix("/**").is_some_and(|whole| reference(whole, &text));
                prop_assert_eq!(pattern.matches(&text), whole || reference(&given, &text));
            }
        }
    }

    #[test]
    fn some_patterns_are_seen_to_cover_others() {
        for (outer, yes, no) in [
            ("**", &["**", "a", "*", "a/**"][..], &[][..]),
            ("a/**", &["a", "a/**", "a/b", "a/*", "a/b/**"], &["**", "*", "a*", "ab/**", "b/**"]),
            ("a/*", &["a/*", "a/b"], &["a/**", "a/*/c", "a/b*"]),
            ("a*/**", &["a*/**", "ab/c"], &["ab/**"]),
            ("a", &["a"], &["*", "b"]),
        ] {
            yes.iter().for_each(|inner| assert!(pattern(outer).covers(&pattern(inner)), "{outer} {inner}"));
            no.iter().for_each(|inner| assert!(!pattern(outer).covers(&pattern(inner)), "{outer} {inner}"));
        }
    }

    proptest! {
        #[test]
        fn what_is_covered_is_matched(outer in "[ab*/]{1,6}", inner in "[ab*/]{1,6}", text in "[ab/]{0,8}") {
            if let (Ok(outer), Ok(inner)) = (Pattern::parse(&outer), Pattern::parse(&inner))
                && outer.covers(&inner)
                && inner.matches(&text)
            {
                prop_assert!(outer.matches(&text));
            }
        }
    }

    #[test]
    fn a_pattern_of_many_stars_takes_no_time() {
        let many = "a*".repeat(100);
        assert!(!pattern(&format!("{many}b")).matches(&"a".repeat(10_000)));
        let many = "a/**/".repeat(40);
        assert!(!pattern(&format!("{many}b")).matches(&"a/".repeat(5_000)));
    }
}
