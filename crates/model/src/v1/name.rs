//! What V1 clients call a repository: a namespace and a name, or a name alone, which is short for one in the namespace
//! `library` (the V1 specification, section 4).
//!
//! The registry keeps `x` and `library/x` apart, as V2 does, and clients of V1 mean the same by them: they push `x` and
//! pull `library/x`. What lives here is which of the two is meant.

use crate::{ParseError, RepoName};

const LIBRARY: &str = "library/";

/// A name as a V1 client means it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct V1Name {
    /// Without `library/`, where the client means a name of that namespace.
    short: RepoName,
    /// With it, where the name can be written so.
    long: Option<RepoName>,
}

impl V1Name {
    /// Parses what stands in a path.
    ///
    /// # Errors
    /// [`ParseError::RepoName`].
    pub fn parse(text: &str) -> Result<V1Name, ParseError> {
        RepoName::parse(text).map(|name| V1Name::of(&name))
    }

    /// What a V1 client calls a name of the registry.
    pub fn of(name: &RepoName) -> V1Name {
        let below = name.as_str().strip_prefix(LIBRARY).unwrap_or(name.as_str());
        if below.contains('/') {
            return V1Name { short: name.clone(), long: None };
        }
        // A part of a name at a slash is a name.
        let short = RepoName::parse(below).unwrap_or_else(|_| name.clone());
        V1Name { long: RepoName::parse(&format!("{LIBRARY}{below}")).ok(), short }
    }

    /// How it is shown: with its namespace.
    pub fn shown(&self) -> &str {
        self.long.as_ref().unwrap_or(&self.short).as_str()
    }

    /// The names of the registry that are shown so: `library/x` before `x`.
    pub fn written(&self) -> impl Iterator<Item = &RepoName> {
        self.long.iter().chain(Some(&self.short).filter(|short| self.long.as_ref() != Some(short)))
    }

    /// The name of the namespace, where `name` is what clients write short for it.
    pub fn shadowing(name: &RepoName) -> Option<RepoName> {
        V1Name::of(name).long.filter(|long| long != name)
    }

    /// The name of the registry that is meant: `library/x` where there is one, else `x`. Names that the caller has no
    /// business with do not count as being there.
    ///
    /// Whoever may make an `x` does not get between others and their `library/x` by that.
    ///
    /// # Errors
    /// Those of `exists`.
    pub fn resolve<E>(
        &self,
        concerns: impl Fn(&RepoName) -> bool,
        exists: impl Fn(&RepoName) -> Result<bool, E>,
    ) -> Result<RepoName, E> {
        let Some(long) = &self.long else { return Ok(self.short.clone()) };
        for name in [long, &self.short] {
            if concerns(name) && exists(name)? {
                return Ok(name.clone());
            }
        }
        let made = if !concerns(&self.short) && concerns(long) { long } else { &self.short };
        Ok(made.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::*;

    fn resolved(text: &str, concerned: &[&str], existing: &[&str]) -> String {
        let exists = |name: &RepoName| Ok::<_, Infallible>(existing.contains(&name.as_str()));
        let resolved =
            V1Name::parse(text).unwrap().resolve(|name| concerned.contains(&name.as_str()), exists);
        resolved.unwrap().to_string()
    }

    #[test]
    fn a_name_alone_is_one_of_the_library() {
        for (text, shown) in [
            ("x", "library/x"),
            ("library/x", "library/x"),
            ("library", "library/library"),
            ("library/library", "library/library"),
            ("a/b", "a/b"),
            ("a/b/c", "a/b/c"),
            ("library/a/b", "library/a/b"),
        ] {
            assert_eq!(V1Name::parse(text).unwrap().shown(), shown, "{text}");
        }
        assert_eq!(V1Name::parse("x"), V1Name::parse("library/x"));
        assert_ne!(V1Name::parse("a/b"), V1Name::parse("library/a/b"));
    }

    #[test]
    fn the_short_name_is_meant_unless_the_long_one_is_there() {
        let both = &["x", "library/x"];
        for text in ["x", "library/x"] {
            assert_eq!(resolved(text, both, &[]), "x");
            assert_eq!(resolved(text, both, &["x"]), "x");
            assert_eq!(resolved(text, both, both), "library/x");
            assert_eq!(resolved(text, both, &["library/x"]), "library/x");
        }
        assert_eq!(resolved("a/b", &["a/b"], &["a/b"]), "a/b");
        assert_eq!(resolved("library/a/b", &[], &[]), "library/a/b");
    }

    #[test]
    fn what_is_none_of_the_callers_business_is_not_there() {
        assert_eq!(resolved("x", &["library/x"], &["x", "library/x"]), "library/x");
        assert_eq!(resolved("x", &["library/x"], &["x"]), "library/x");
        assert_eq!(resolved("x", &["x"], &["library/x"]), "x");
        assert_eq!(resolved("x", &[], &["library/x"]), "x");
        assert_eq!(resolved("library/x", &["x"], &["x", "library/x"]), "x");
    }

    #[test]
    fn only_the_short_way_to_write_a_name_has_a_long_one_before_it() {
        let shadowing =
            |text: &str| V1Name::shadowing(&RepoName::parse(text).unwrap()).map(|name| name.to_string());
        assert_eq!(shadowing("x").as_deref(), Some("library/x"));
        assert_eq!(shadowing("library").as_deref(), Some("library/library"));
        for none in ["library/x", "a/b", "library/a/b", "library/library"] {
            assert_eq!(shadowing(none), None, "{none}");
        }
    }

    #[test]
    fn a_name_too_long_for_a_namespace_has_none() {
        let name = "a".repeat(255);
        assert_eq!(V1Name::parse(&name).unwrap().shown(), name);
    }

    proptest! {
        #[test]
        fn parse_never_panics_and_resolves_to_a_way_to_write_it(text in "(library/)?[a-z0-9._/-]{0,20}|\\PC{0,40}", there: bool) {
            if let Ok(name) = V1Name::parse(&text) {
                let found = name.resolve(|_| true, |_| Ok::<_, Infallible>(there)).unwrap();
                prop_assert_eq!(V1Name::of(&found), name);
            }
        }
    }
}
