//! Repository keys, repository names and tags: the strings that clients choose.
//!
//! Each is checked once, here, and from then on can stand in a key, a message or a listing without another
//! look: none holds a NUL, a control character, an empty path component or a `..`.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{ParseError, limits};

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $valid:expr, $error:path $(, binary: $binary:expr)?) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Parses the text, as the type's own documentation says.
            ///
            /// # Errors
            /// The [`ParseError`] that names this type and shows the rule.
            pub fn parse(s: &str) -> Result<Self, ParseError> {
                if $valid(s) { Ok(Self(Arc::from(s))) } else { Err($error(ParseError::clip(s))) }
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = ParseError;

            fn from_str(s: &str) -> Result<Self, ParseError> {
                Self::parse(s)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Visitor(fn(&str) -> Result<$name, ParseError>);

                impl de::Visitor<'_> for Visitor {
                    type Value = $name;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str(stringify!($name))
                    }

                    fn visit_str<E: de::Error>(self, s: &str) -> Result<$name, E> {
                        (self.0)(s).map_err(E::custom)
                    }
                }

                let parse = Visitor($name::parse);
                $(let parse = if deserializer.is_human_readable() { parse } else { Visitor($binary) };)?
                deserializer.deserialize_str(parse)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(self.as_str(), f)
            }
        }
    };
}

name_type! {
    /// The key of a hosted repository, such as `docker-local`: 1 to 64 letters, digits, dots and hyphens,
    /// starting with a letter or digit. No underscore: docker clients can't use one in a host name.
    RepoKey, is_repo_key, ParseError::RepoKey
}

name_type! {
    /// What a client calls a repository, such as `library/ubuntu`: components of
    /// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*` joined by `/`, 255 bytes at most (OCI distribution
    /// specification, "Pulling manifests").
    RepoName, is_repo_name, ParseError::RepoName,
    // The log and the tables: no client writes them.
    binary: RepoName::parse_stored
}

/// What waiting rooms are called: so, or so with a user's name behind a slash. No client can call anything so.
const WAITING_ROOM: &str = ".images";

fn is_waiting_room(s: &str) -> bool {
    s.strip_prefix(WAITING_ROOM).is_some_and(|rest| {
        rest.is_empty() || rest.strip_prefix('/').is_some_and(|user| !user.is_empty() && !user.contains('\0'))
    })
}

impl RepoName {
    /// Where V1 images stand in a repository that a user pushed and no tag reaches yet; without a user, those that were
    /// pushed by nobody in particular. A name of the registry's own, which no client can ask for and no listing shows.
    pub fn waiting_room(user: Option<&str>) -> RepoName {
        // Nobody's name holds a NUL, which ends texts in keys.
        match user.filter(|user| !user.is_empty() && !user.contains('\0')) {
            Some(user) => RepoName(format!("{WAITING_ROOM}/{user}").into()),
            None => RepoName(Arc::from(WAITING_ROOM)),
        }
    }

    /// Whether it is a waiting room.
    pub fn is_waiting_room(&self) -> bool {
        is_waiting_room(self.as_str())
    }

    /// A name as records and tables have it: what [`RepoName::parse`] takes, and waiting rooms.
    ///
    /// # Errors
    /// As [`RepoName::parse`].
    pub fn parse_stored(s: &str) -> Result<RepoName, ParseError> {
        if is_waiting_room(s) { Ok(RepoName(Arc::from(s))) } else { RepoName::parse(s) }
    }
}

/// Names in records, as [`RepoName::parse_stored`] takes them, for serde's `with`. `Deserialize` alone takes in texts
/// what clients may ask for, so that no parameter of theirs is ever a waiting room; and all in what only the registry
/// writes, its log and its tables.
pub mod stored_name {
    use std::fmt;

    use serde::{Deserializer, Serialize, Serializer, de};

    use super::RepoName;

    /// Writes the name's text.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(name: &RepoName, serializer: S) -> Result<S::Ok, S::Error> {
        name.serialize(serializer)
    }

    /// Reads a name or a waiting room.
    ///
    /// # Errors
    /// Where it is neither, and those of the deserializer.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<RepoName, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = RepoName;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("RepoName")
            }

            fn visit_str<E: de::Error>(self, s: &str) -> Result<RepoName, E> {
                RepoName::parse_stored(s).map_err(E::custom)
            }
        }

        deserializer.deserialize_str(Visitor)
    }

    /// The same, where there may be none.
    pub mod option {
        use serde::{Deserialize, Deserializer, Serialize, Serializer};

        use super::RepoName;

        #[derive(Deserialize)]
        struct Stored(#[serde(with = "super")] RepoName);

        /// Writes the name's text, if there is one.
        ///
        /// # Errors
        /// Those of the serializer.
        pub fn serialize<S: Serializer>(name: &Option<RepoName>, serializer: S) -> Result<S::Ok, S::Error> {
            name.serialize(serializer)
        }

        /// Reads a name or a waiting room, if there is one.
        ///
        /// # Errors
        /// Where it is neither, and those of the deserializer.
        pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<RepoName>, D::Error> {
            Ok(Option::<Stored>::deserialize(deserializer)?.map(|Stored(name)| name))
        }
    }
}

name_type! {
    /// A tag: `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`.
    Tag, is_tag, ParseError::Tag
}

name_type! {
    /// What a user is called: 1 to 64 letters, digits and `.` `_` `-` `@` `+`, starting with a letter or digit.
    /// Upper and lower case differ. Nobody is called `anonymous` or `system`: records say so of those who are nobody.
    UserName, is_user_name, ParseError::UserName
}

name_type! {
    /// What a group is called: as a user's name.
    GroupName, is_account_name, ParseError::GroupName
}

name_type! {
    /// What a permission target is called: 1 to 64 characters, none of them a control character or one of
    /// `/ \ : | ? * " < >`, and no space at either end.
    PermissionTargetName, is_permission_target_name, ParseError::PermissionTargetName
}

fn is_permission_target_name(s: &str) -> bool {
    (1..=limits::ACCOUNT_NAME_BYTES_MAX).contains(&s.chars().count())
        && s.trim() == s
        && !s
            .chars()
            .any(|c| c.is_control() || matches!(c, '/' | '\\' | ':' | '|' | '?' | '*' | '"' | '<' | '>'))
}

fn is_user_name(s: &str) -> bool {
    is_account_name(s) && s != "anonymous" && s != "system"
}

/// No colon: HTTP's Basic scheme ends a user's name with one (RFC 7617, section 2).
fn is_account_name(s: &str) -> bool {
    let bytes = s.as_bytes();
    (1..=limits::ACCOUNT_NAME_BYTES_MAX).contains(&bytes.len())
        && bytes[0].is_ascii_alphanumeric()
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'@' | b'+'))
}

fn is_repo_key(s: &str) -> bool {
    let bytes = s.as_bytes();
    (1..=limits::REPO_KEY_BYTES_MAX).contains(&bytes.len())
        && bytes[0].is_ascii_alphanumeric()
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-'))
        && !s.contains("..")
}

fn is_repo_name(s: &str) -> bool {
    s.len() <= limits::REPO_NAME_BYTES_MAX && s.split('/').all(is_component)
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_component(component: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = component.as_bytes();
    let mut at = 0;
    loop {
        let start = at;
        while at < bytes.len() && alphanumeric(bytes[at]) {
            at += 1;
        }
        if at == start {
            return false;
        }
        let separator = at;
        while at < bytes.len() && !alphanumeric(bytes[at]) {
            at += 1;
        }
        match &bytes[separator..at] {
            [] => return true,
            [b'.' | b'_'] | [b'_', b'_'] => {}
            hyphens if hyphens.iter().all(|b| *b == b'-') => {}
            _ => return false,
        }
    }
}

fn is_tag(s: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let bytes = s.as_bytes();
    (1..=limits::TAG_BYTES_MAX).contains(&bytes.len())
        && word(bytes[0])
        && bytes.iter().all(|b| word(*b) || matches!(b, b'.' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_waiting_room_is_no_name_of_a_clients() {
        for room in [None, Some(""), Some("ann"), Some("Zoë"), Some("a\0b")].map(RepoName::waiting_room) {
            assert!(room.is_waiting_room());
            assert!(RepoName::parse(room.as_str()).is_err());
            assert_eq!(RepoName::parse_stored(room.as_str()), Ok(room.clone()));
            let json = serde_json::to_string(&room).unwrap();
            assert!(serde_json::from_str::<RepoName>(&json).is_err(), "a client may send it");
            // Records come back from what they are exported as.
            let mut stored = serde_json::Deserializer::from_str(&json);
            assert_eq!(stored_name::deserialize(&mut stored).unwrap(), room);
            let mut stored = serde_json::Deserializer::from_str(&json);
            assert_eq!(stored_name::option::deserialize(&mut stored).unwrap(), Some(room));
        }
        assert_ne!(RepoName::waiting_room(Some("ann")), RepoName::waiting_room(None));
        assert_eq!(RepoName::parse_stored("a/b"), RepoName::parse("a/b"));
        for no in [".image", ".images/", ".images\0", ".imagesx", "a/.images"] {
            assert!(RepoName::parse_stored(no).is_err(), "{no:?}");
        }
    }

    #[test]
    fn names_follow_the_specification() {
        for good in
            ["a", "hello", "library/ubuntu", "a.b", "a_b", "a__b", "a-b", "a---b", "0/1/2", "a1.b2_c3/d"]
        {
            assert!(RepoName::parse(good).is_ok(), "{good:?} refused");
        }
        for bad in [
            "", "/", "a/", "/a", "a//b", "A", "a/B", ".a", "a.", "a..b", "a___b", "a._b", "-a", "a-",
            "a/../b", "..", "a b", "a\0b", "é", "a/./b", "a%2fb", "_a", "a_",
        ] {
            assert!(RepoName::parse(bad).is_err(), "{bad:?} passed");
        }
        assert!(RepoName::parse(&"a".repeat(255)).is_ok());
        assert!(RepoName::parse(&"a".repeat(256)).is_err());
    }

    #[test]
    fn tags_follow_the_specification() {
        for good in ["latest", "v1.0", "_x", "A", "1", "sha256-abc.sig", &"a".repeat(128)] {
            assert!(Tag::parse(good).is_ok(), "{good:?} refused");
        }
        for bad in ["", ".a", "-a", "a/b", "a b", "a:b", "a\n", "é", &"a".repeat(129)] {
            assert!(Tag::parse(bad).is_err(), "{bad:?} passed");
        }
    }

    #[test]
    fn keys_are_fit_for_a_host_name() {
        for good in ["docker-local", "d", "Docker.V1", "0"] {
            assert!(RepoKey::parse(good).is_ok(), "{good:?} refused");
        }
        for bad in ["", "-a", ".a", "a_b", "a/b", "a..b", "é", &"a".repeat(65)] {
            assert!(RepoKey::parse(bad).is_err(), "{bad:?} passed");
        }
    }

    proptest! {
        #[test]
        fn parsers_never_panic(s in "\\PC{0,300}") {
            let _ = (RepoKey::parse(&s), RepoName::parse(&s), Tag::parse(&s));
        }

        #[test]
        fn what_the_grammar_makes_is_taken(s in "[a-z0-9]{1,8}((\\.|_|__|-{1,3})[a-z0-9]{1,8}){0,3}(/[a-z0-9]{1,8}){0,3}") {
            prop_assert!(RepoName::parse(&s).is_ok());
        }
    }
}
