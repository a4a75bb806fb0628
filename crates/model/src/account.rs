//! Accounts: who may be known to the registry, and what each may do.
//!
//! What lives here: the types, and which texts are names. What does not: passwords and tokens as people hold
//! them, which no record and no table ever sees; they are hashed and checked in `supercargo-access`.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Timestamp;
pub use crate::names::{GroupName, PermissionTargetName, UserName};
use crate::pattern::Pattern;
use crate::{ParseError, PathPattern, RepoKey, RepoName};

/// Names an access token or a refresh token: public, part of what its holder sends.
pub type TokenId = Uuid;

/// A user: a person, or a service that has tokens and no password.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Whether it is a service account. It can't have a password.
    pub service: bool,
    /// Whether it may do everything, and administer accounts.
    pub administrator: bool,
    /// Whether it is locked out: nothing that it holds is taken.
    pub disabled: bool,
    /// Its password's hash.
    pub password: Option<PasswordHash>,
    /// Where it can be written to, as whoever keeps the accounts has it.
    pub email: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
}

/// A password's hash in PHC string format, with algorithm, parameters and salt. Not shown by `Debug`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PasswordHash(String);

impl PasswordHash {
    /// A hash as the hasher writes it.
    pub fn new(phc: impl Into<String>) -> PasswordHash {
        PasswordHash(phc.into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}

/// What a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenKind {
    /// In place of a password.
    Access,
    /// For bearer tokens alone, at the token endpoint.
    Refresh,
}

/// A token that a user was given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// Whose it is.
    pub user: UserName,
    /// What it is for.
    pub kind: TokenKind,
    /// What its owner calls it.
    pub description: String,
    /// The SHA-256 of its secret part, which has 256 bits of chance in it: nobody finds it by guessing, so
    /// nothing slower is needed.
    #[serde(with = "hex")]
    pub secret_sha256: [u8; 32],
    /// When it was given.
    pub issued_at: Timestamp,
    /// From when on it is not taken.
    pub expires_at: Option<Timestamp>,
    /// When it was last used, to within what is counted together.
    pub used_at: Option<Timestamp>,
}

/// What may be done with the content of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Actions {
    /// Pull and list.
    pub read: bool,
    /// Push and tag.
    pub write: bool,
    /// Delete tags, manifests, blobs and names.
    pub delete: bool,
    /// Everything else, and so all of these: change rules, and say who may do what, within what is managed.
    pub manage: bool,
}

impl Actions {
    /// None.
    pub const NONE: Actions = Actions { read: false, write: false, delete: false, manage: false };
    /// All.
    pub const ALL: Actions = Actions { read: true, write: true, delete: true, manage: true };
    /// To read alone.
    pub const READ: Actions = Actions { read: true, ..Actions::NONE };
    /// To write alone.
    pub const WRITE: Actions = Actions { write: true, ..Actions::NONE };
    /// To delete alone.
    pub const DELETE: Actions = Actions { delete: true, ..Actions::NONE };
    /// To manage alone.
    pub const MANAGE: Actions = Actions { manage: true, ..Actions::NONE };

    /// Whether there are none.
    pub const fn is_empty(self) -> bool {
        !(self.read || self.write || self.delete || self.manage)
    }

    /// Those that are in either.
    #[must_use]
    pub const fn or(self, other: Actions) -> Actions {
        Actions {
            read: self.read || other.read,
            write: self.write || other.write,
            delete: self.delete || other.delete,
            manage: self.manage || other.manage,
        }
    }

    /// Those that are in both.
    #[must_use]
    pub const fn and(self, other: Actions) -> Actions {
        Actions {
            read: self.read && other.read,
            write: self.write && other.write,
            delete: self.delete && other.delete,
            manage: self.manage && other.manage,
        }
    }

    /// Whether all of the others are among them.
    pub fn contain(self, others: Actions) -> bool {
        self.and(others) == others
    }
}

impl fmt::Display for Actions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words =
            [(self.read, "read"), (self.write, "write"), (self.delete, "delete"), (self.manage, "manage")];
        let mut separator = "";
        for (_, word) in words.iter().filter(|(has, _)| *has) {
            write!(f, "{separator}{word}")?;
            separator = ",";
        }
        if self.is_empty() { f.write_str("nothing") } else { Ok(()) }
    }
}

impl std::str::FromStr for Actions {
    type Err = ParseError;

    /// Reads what `Display` writes: words with commas between, or `all`.
    fn from_str(s: &str) -> Result<Actions, ParseError> {
        s.split(',').try_fold(Actions::NONE, |actions, word| {
            let action = match word.trim() {
                "read" => Actions::READ,
                "write" => Actions::WRITE,
                "delete" => Actions::DELETE,
                "manage" => Actions::MANAGE,
                "all" => Actions::ALL,
                _ => return Err(ParseError::Actions(ParseError::clip(s))),
            };
            Ok(actions.or(action))
        })
    }
}

/// Whom a permission is given to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Grantee {
    /// Everybody, also those who are not logged in.
    Anonymous,
    /// One user.
    User(UserName),
    /// The members of a group, and those whom an identity provider counts among it.
    Group(GroupName),
}

impl fmt::Display for Grantee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Grantee::Anonymous => f.write_str("anonymous"),
            Grantee::User(name) => write!(f, "user:{name}"),
            Grantee::Group(name) => write!(f, "group:{name}"),
        }
    }
}

impl std::str::FromStr for Grantee {
    type Err = ParseError;

    fn from_str(s: &str) -> Result<Grantee, ParseError> {
        match s.split_once(':') {
            None if s == "anonymous" => Ok(Grantee::Anonymous),
            Some(("user", name)) => UserName::parse(name).map(Grantee::User),
            Some(("group", name)) => GroupName::parse(name).map(Grantee::Group),
            _ => Err(ParseError::Grantee(ParseError::clip(s))),
        }
    }
}

/// What a permission is about. There is one permission for each.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Grant {
    /// Who.
    pub grantee: Grantee,
    /// In which repositories, by their keys.
    pub repositories: Pattern,
    /// On which names in them.
    pub names: Pattern,
}

impl Grant {
    /// Whether it is about this name.
    pub fn covers(&self, repository: &RepoKey, name: &RepoName) -> bool {
        self.repositories.matches(repository.as_str()) && self.names.matches(name.as_str())
    }
}

/// A permission: who may do what, where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Permission {
    /// Who, and where.
    pub grant: Grant,
    /// What.
    pub actions: Actions,
}

/// What a permission target gives to somebody, in Artifactory's letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TargetActions {
    /// `r`: to pull and list.
    pub read: bool,
    /// `w`: to push and tag.
    pub deploy: bool,
    /// `n`: to set properties.
    pub annotate: bool,
    /// `d`: to delete, and to overwrite.
    pub delete: bool,
    /// `m`: everything else, and so all of these.
    pub manage: bool,
}

/// Which repositories a permission target is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TargetRepositories {
    /// All, as `ANY`, `ANY LOCAL` or another text of Artifactory's that says so here, where all are local.
    Any(String),
    /// One.
    Key(RepoKey),
}

/// Who may do what on some paths of some repositories: a permission with a name, in Artifactory's form.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PermissionTarget {
    /// Which repositories it is about.
    pub repositories: Vec<TargetRepositories>,
    /// Which paths in them.
    pub includes: Vec<PathPattern>,
    /// Which not, of those.
    pub excludes: Vec<PathPattern>,
    /// What users may do there.
    pub users: Vec<(UserName, TargetActions)>,
    /// What members of groups may do there.
    pub groups: Vec<(GroupName, TargetActions)>,
}

/// A hash as text where people read it, and as it is elsewhere.
pub mod hex {
    use std::fmt;

    use serde::ser::SerializeTuple as _;
    use serde::{Deserializer, Serializer, de};

    /// # Errors
    /// The serializer's.
    pub fn serialize<S: Serializer, const N: usize>(
        hash: &[u8; N],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return serializer.collect_str(&format_args!("{}", Hex(hash)));
        }
        // As an array: no length before it.
        let mut array = serializer.serialize_tuple(N)?;
        for byte in hash {
            array.serialize_element(byte)?;
        }
        array.end()
    }

    /// # Errors
    /// Where it is not as many bytes, as lower-case hexadecimal digits or as they are.
    pub fn deserialize<'de, D: Deserializer<'de>, const N: usize>(
        deserializer: D,
    ) -> Result<[u8; N], D::Error> {
        if deserializer.is_human_readable() {
            deserializer.deserialize_str(Digits)
        } else {
            deserializer.deserialize_tuple(N, Bytes)
        }
    }

    struct Digits<const N: usize>;

    impl<const N: usize> de::Visitor<'_> for Digits<N> {
        type Value = [u8; N];

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "{} lower-case hexadecimal digits", 2 * N)
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<[u8; N], E> {
            parse(text).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
        }
    }

    struct Bytes<const N: usize>;

    impl<'de, const N: usize> de::Visitor<'de> for Bytes<N> {
        type Value = [u8; N];

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "{N} bytes")
        }

        fn visit_seq<A: de::SeqAccess<'de>>(self, mut bytes: A) -> Result<[u8; N], A::Error> {
            let mut hash = [0; N];
            for (at, byte) in hash.iter_mut().enumerate() {
                *byte = bytes.next_element()?.ok_or_else(|| de::Error::invalid_length(at, &self))?;
            }
            Ok(hash)
        }
    }

    /// A hash of its digits; `None` where these are others, or more or fewer.
    pub fn parse<const N: usize>(text: &str) -> Option<[u8; N]> {
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'a'..=b'f' => Some(byte - b'a' + 10),
            _ => None,
        };
        let text = text.as_bytes();
        if text.len() != 2 * N {
            return None;
        }
        let mut hash = [0; N];
        for (byte, digits) in hash.iter_mut().zip(text.chunks_exact(2)) {
            *byte = digit(digits[0])? << 4 | digit(digits[1])?;
        }
        Some(hash)
    }

    /// A hash, to be shown as its digits.
    #[derive(Debug)]
    pub struct Hex<'h>(pub &'h [u8]);

    impl fmt::Display for Hex<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_are_a_set() {
        let pull_push = Actions::READ.or(Actions::WRITE);
        assert!(pull_push.contain(Actions::READ) && !pull_push.contain(Actions::ALL));
        assert!(pull_push.contain(Actions::NONE) && !Actions::NONE.contain(Actions::READ));
        assert_eq!(Actions::ALL.and(pull_push), pull_push);
        assert_eq!(pull_push.to_string(), "read,write");
        assert_eq!(Actions::NONE.to_string(), "nothing");
    }

    #[test]
    fn what_is_shown_is_read_again() {
        for actions in [Actions::READ, Actions::ALL, Actions::WRITE.or(Actions::MANAGE)] {
            assert_eq!(actions.to_string().parse(), Ok(actions));
        }
        assert_eq!("all".parse(), Ok(Actions::ALL));
        for bad in ["", "nothing", "read;write", "read,", "READ"] {
            assert!(bad.parse::<Actions>().is_err(), "{bad:?}");
        }
        for text in ["anonymous", "user:ann@example", "group:builders"] {
            assert_eq!(text.parse::<Grantee>().unwrap().to_string(), text);
        }
        for bad in ["", "ann", "user:", "user:a b", "role:x", "anonymous:"] {
            assert!(bad.parse::<Grantee>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_hash_is_not_shown_by_accident() {
        assert!(!format!("{:?}", PasswordHash::new("$argon2id$secret")).contains("secret"));
    }

    #[test]
    fn a_grant_is_about_a_repository_and_a_name() {
        let grant = Grant {
            grantee: Grantee::Anonymous,
            repositories: Pattern::parse("docker-*").unwrap(),
            names: Pattern::parse("team-a/**").unwrap(),
        };
        let (local, other) = (RepoKey::parse("docker-local").unwrap(), RepoKey::parse("other").unwrap());
        let (web, foreign) = (RepoName::parse("team-a/web").unwrap(), RepoName::parse("team-b/web").unwrap());
        assert!(grant.covers(&local, &web));
        assert!(!grant.covers(&other, &web) && !grant.covers(&local, &foreign));
    }
}
