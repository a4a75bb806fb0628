//! Users from an htpasswd file, as other registries and web servers keep them.
//!
//! bcrypt hashes (`htpasswd -B`) are kept as they are, and replaced at each user's next login; argon2 hashes too.
//! What is weaker is refused, line by line: a SHA-1, an MD5 or a DES hash gives its password away to whoever reads it,
//! so nothing is gained by carrying it over.

use std::collections::HashSet;

use foldhash::fast::RandomState;
use supercargo_model::ParseError;
use supercargo_model::account::{PasswordHash, UserName};

use crate::{HashRefused, check_hash};

/// What a file holds.
#[derive(Debug, Default)]
pub struct Htpasswd {
    /// The users that can be taken over.
    pub users: Vec<HtpasswdUser>,
    /// The lines that can't.
    pub refused: Vec<HtpasswdRefused>,
}

/// A user, with the password's hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HtpasswdUser {
    /// The line, counted from one.
    pub line: usize,
    /// The name.
    pub name: UserName,
    /// The hash.
    pub password: PasswordHash,
}

/// A line that is not taken over. Shows nothing of a hash.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct HtpasswdRefused {
    /// The line, counted from one.
    pub line: usize,
    /// Why.
    pub reason: HtpasswdReason,
}

/// Why a line is not taken over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HtpasswdReason {
    /// It has no colon.
    #[error("not of the form user:hash")]
    Form,
    /// Its user can't be one here.
    #[error(transparent)]
    Name(#[from] ParseError),
    /// Its user was there before.
    #[error("the user {0} is on an earlier line")]
    Twice(UserName),
    /// Its hash gives the password away.
    #[error("the password of {user} is kept as {kind}, which is too weak; set it anew with htpasswd -B")]
    TooWeak {
        /// Whose.
        user: UserName,
        /// As what.
        kind: WeakKind,
    },
    /// Its hash can't be used.
    #[error("the password of {user} can't be taken over: {reason}")]
    Hash {
        /// Whose.
        user: UserName,
        /// Why.
        reason: HashRefused,
    },
}

/// Kinds of hashes that are too weak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WeakKind {
    /// `{SHA}`.
    #[error("SHA-1")]
    Sha1,
    /// `$apr1$` and `$1$`.
    #[error("MD5")]
    Md5,
    /// `$5$` and `$6$`: quick to compute in bulk.
    #[error("SHA-crypt")]
    ShaCrypt,
    /// Anything else: DES, or the password itself.
    #[error("plain text or crypt")]
    PlainOrCrypt,
}

impl Htpasswd {
    /// Reads a file's text. Empty lines and lines that begin with `#` are passed over.
    pub fn parse(text: &str) -> Htpasswd {
        let mut file = Htpasswd::default();
        let mut seen = HashSet::<UserName, RandomState>::default();
        // Some editors put a mark before the first line.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        for (line, text) in (1..).zip(text.lines()) {
            let text = text.trim();
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            let user = parse_line(text).and_then(|(name, password)| {
                if seen.insert(name.clone()) {
                    Ok((name, password))
                } else {
                    Err(HtpasswdReason::Twice(name))
                }
            });
            match user {
                Ok((name, password)) => file.users.push(HtpasswdUser { line, name, password }),
                Err(reason) => file.refused.push(HtpasswdRefused { line, reason }),
            }
        }
        file
    }
}

fn parse_line(line: &str) -> Result<(UserName, PasswordHash), HtpasswdReason> {
    let (name, hash) = line.split_once(':').ok_or(HtpasswdReason::Form)?;
    let user = UserName::parse(name)?;
    if let Some(kind) = weak_kind(hash) {
        return Err(HtpasswdReason::TooWeak { user, kind });
    }
    let password = PasswordHash::new(hash);
    match check_hash(&password) {
        Ok(()) => Ok((user, password)),
        Err(reason) => Err(HtpasswdReason::Hash { user, reason }),
    }
}

fn weak_kind(hash: &str) -> Option<WeakKind> {
    let begins = |prefixes: &[&str]| prefixes.iter().any(|prefix| hash.starts_with(prefix));
    if begins(&["{SHA}", "{SSHA}"]) {
        Some(WeakKind::Sha1)
    } else if begins(&["$apr1$", "$1$"]) {
        Some(WeakKind::Md5)
    } else if begins(&["$5$", "$6$"]) {
        Some(WeakKind::ShaCrypt)
    } else if !begins(&["$2", "$argon2"]) {
        Some(WeakKind::PlainOrCrypt)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Of the password `correct horse`, made with the least cost.
    fn bcrypt_hash() -> String {
        bcrypt::hash("correct horse", 4).unwrap()
    }

    #[test]
    fn users_with_good_hashes_are_taken_over_as_they_are() {
        let (a, b, c) = (
            bcrypt_hash(),
            bcrypt_hash().replacen("$2b$", "$2y$", 1),
            "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0$BztdyfEefG5V18ZNlztPrfZaU5duVFKZiI6dJeWht0o",
        );
        let text = format!("\u{feff}ann:{a}\r\n\n# comment:x\nbob:{b}\n  cy@x.y:{c}");
        let file = Htpasswd::parse(&text);
        assert_eq!(file.refused, []);
        let found = file.users.iter().map(|user| (user.line, user.name.as_str(), user.password.as_str()));
        assert_eq!(found.collect::<Vec<_>>(), [(1, "ann", &*a), (4, "bob", &*b), (5, "cy@x.y", c)]);
    }

    #[test]
    fn other_lines_are_refused_with_their_number_and_a_reason() {
        let good = bcrypt_hash();
        let text = format!(
            "nothing\n\
             an n:{good}\n\
             sha:{{SHA}}qvTGHdzF6KLavt4PO0gs2a6pQ00=\n\
             apr:$apr1$x$abcdefghijklmnopqrstuv\n\
             plain:hunter2\n\
             crypt:rqXexS6ZhobKA\n\
             six:$6$salt$hash\n\
             costly:{}\n\
             broken:$2y$05$abc\n\
             ann:{good}\n\
             ann:{good}\n",
            good.replacen("$04$", "$31$", 1),
        );
        let file = Htpasswd::parse(&text);
        assert_eq!(file.users.len(), 1);
        let user = |name: &str| UserName::parse(name).unwrap();
        let weak = |name: &str, kind| HtpasswdReason::TooWeak { user: user(name), kind };
        let hash = |name: &str, reason| HtpasswdReason::Hash { user: user(name), reason };
        let HtpasswdReason::Hash { reason: malformed @ HashRefused::Malformed(_), .. } =
            &file.refused[8].reason
        else {
            panic!("{:?}", file.refused[8]);
        };
        let expected = [
            HtpasswdReason::Form,
            HtpasswdReason::Name(ParseError::UserName("an n".to_owned())),
            weak("sha", WeakKind::Sha1),
            weak("apr", WeakKind::Md5),
            weak("plain", WeakKind::PlainOrCrypt),
            weak("crypt", WeakKind::PlainOrCrypt),
            weak("six", WeakKind::ShaCrypt),
            hash("costly", HashRefused::TooCostly),
            hash("broken", malformed.clone()),
            HtpasswdReason::Twice(user("ann")),
        ];
        let lines = [1, 2, 3, 4, 5, 6, 7, 8, 9, 11];
        let expected = lines.into_iter().zip(expected).map(|(line, reason)| HtpasswdRefused { line, reason });
        assert_eq!(file.refused, expected.collect::<Vec<_>>());
        assert!(file.refused.iter().all(|refused| !refused.to_string().contains("hunter2")));
    }

    proptest! {
        #[test]
        fn no_file_panics_and_no_line_is_lost(text in "([a-z#:$ 0-9.{}/]{0,30}\n?){0,10}", any in "\\PC{0,100}") {
            let _ = Htpasswd::parse(&any);
            let file = Htpasswd::parse(&text);
            let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
            prop_assert_eq!(file.users.len() + file.refused.len(), lines.count());
        }
    }
}
