//! Session tokens: what a client of Docker Registry V1 is given with the answer to its first request, and sends with
//! those that follow.
//!
//! A token says who its holder is and what it was asked for, never what they may do: that is looked up at each use. It
//! is authenticated with HMAC-SHA256 (RFC 2104) under a key that lies beside the ones that sign bearer tokens, and also
//! over the hash of the password that it was had by: a new password ends it, though the hash is not in it. One that was
//! had by an access token ends with that. Losing the key costs clients a login and nothing else.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use supercargo_model::account::{Actions, PasswordHash, TokenId, UserName};
use supercargo_model::{RepoKey, RepoName, Timestamp};
use zeroize::Zeroizing;

use crate::bearer::{Vouched, seconds};
use crate::key_file::{self, KeyError};
use crate::secret::{hmac_of, random, same};
use crate::{AUTHORIZATION_BYTES_MAX, Authority, DirectoryError, Identity, Login, Method, NoRandom, Subject};

/// How long a session token is good. The pushes of all layers of an image may take that long, and nothing renews it on
/// the way.
pub const SESSION_LASTS: Duration = Duration::from_secs(2 * 60 * 60);

const FILE: &str = "session-key.pem";
const PEM_TAG: &str = "SUPERCARGO SESSION KEY";
const KEY_BYTES: usize = 32;
/// What a session's id has of chance, in bytes.
const ID_BYTES: usize = 16;

/// The key that authenticates session tokens.
pub struct SessionKey(hmac::Key);

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionKey(…)")
    }
}

/// What a session token was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Tells the session from others.
    pub id: String,
    /// The repository that it was asked of.
    pub repository: RepoKey,
    /// The name that it is about.
    pub name: RepoName,
    /// What may be done with it, as far as its holder may.
    pub actions: Actions,
}

/// Why a session token is not taken.
#[derive(Debug, thiserror::Error)]
pub enum SessionRefused {
    /// It is none of ours: malformed, or authenticated with another key; or what it was had by is no longer good.
    #[error("the token is not valid")]
    Invalid,
    /// Its time is over.
    #[error("the token has expired")]
    Expired,
    /// It can't be found out.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
}

#[derive(Serialize, Deserialize)]
struct Claims {
    #[serde(flatten)]
    session: Session,
    /// `None` for anonymous.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    user: Option<UserName>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    vouched: Option<Vouched>,
    /// The access token that it was had by.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    token: Option<TokenId>,
    /// Whether it was had by a password.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    password: bool,
    issued: i64,
    expires: i64,
}

impl SessionKey {
    /// Reads the key of a folder. Makes it where there is none. Blocks on the disk.
    ///
    /// # Errors
    /// The key can't be read or made, or everybody may read it.
    pub fn open(folder: &Path) -> Result<SessionKey, KeyError> {
        let path = folder.join(FILE);
        let key = match key_file::read(&path, PEM_TAG)? {
            Some(key) if key.len() == KEY_BYTES => key,
            Some(_) => return Err(KeyError::Malformed(path)),
            None => {
                let key = draw().map_err(|_| KeyError::NoRandom)?;
                key_file::make(&path, PEM_TAG, &key)?;
                key
            }
        };
        Ok(SessionKey(hmac::Key::new(hmac::HMAC_SHA256, &key)))
    }

    /// A key that is kept nowhere: tokens end with the process.
    ///
    /// # Errors
    /// There are no random bytes.
    pub fn ephemeral() -> Result<SessionKey, NoRandom> {
        Ok(SessionKey(hmac::Key::new(hmac::HMAC_SHA256, &draw()?)))
    }

    /// Makes a token for whoever has logged in. A text of letters, digits, `-`, `_` and a dot.
    pub fn issue(&self, session: &Session, login: &Login, now: Timestamp) -> String {
        let Subject { user, vouched } = login.subject().clone();
        let token = match login.method {
            Method::Token(id) => Some(id),
            _ => None,
        };
        let claims = Claims {
            session: session.clone(),
            user,
            vouched,
            token,
            password: login.password().is_some(),
            issued: seconds(now),
            expires: seconds(now.plus(SESSION_LASTS)),
        };
        // Texts, numbers and flags: nothing that serde_json could refuse.
        let claims = serde_json::to_vec(&claims).unwrap_or_default();
        let mac = self.mac(&claims, login.password());
        format!("{}.{}", URL_SAFE_NO_PAD.encode(claims), URL_SAFE_NO_PAD.encode(mac))
    }

    /// Whose token it is, and what it was asked for. Without an authority, where nobody is known, it is nobody's.
    ///
    /// # Errors
    /// Says why it is not taken.
    pub fn verify(
        &self,
        text: &str,
        authority: Option<&Authority>,
        now: Timestamp,
    ) -> Result<(Session, Identity), SessionRefused> {
        let (bytes, mac) = decode(text).ok_or(SessionRefused::Invalid)?;
        // Read before it is known to be ours: whose password it must have been had by stands in it.
        let claims: Claims = serde_json::from_slice(&bytes).map_err(|_| SessionRefused::Invalid)?;
        let password = match (&claims.user, authority) {
            (Some(user), Some(authority)) if claims.password => authority.password_of(user)?,
            _ => None,
        };
        if !same(&mac, &self.mac(&bytes, password.as_ref())) || password.is_some() != claims.password {
            return Err(SessionRefused::Invalid);
        }
        if seconds(now) >= claims.expires {
            return Err(SessionRefused::Expired);
        }
        let identity = match authority {
            None => Identity::Anonymous,
            Some(authority) => {
                if let (Some(id), Some(user)) = (claims.token, &claims.user)
                    && !authority.knows_token(id, user, now)?
                {
                    return Err(SessionRefused::Invalid);
                }
                let subject = Subject { user: claims.user, vouched: claims.vouched };
                authority.resolve(&subject, claims.issued)?.ok_or(SessionRefused::Invalid)?
            }
        };
        Ok((claims.session, identity))
    }

    fn mac(&self, claims: &[u8], password: Option<&PasswordHash>) -> [u8; 32] {
        hmac_of(&self.0, &[claims, password.map_or(&[][..], |hash| hash.as_str().as_bytes())])
    }
}

impl Session {
    /// An id that no other session has: 32 hexadecimal digits.
    ///
    /// # Errors
    /// There are no random bytes.
    pub fn draw_id() -> Result<String, NoRandom> {
        let bytes: [u8; ID_BYTES] = random()?;
        Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
    }

    /// Whether a text may be an id.
    pub fn is_id(text: &str) -> bool {
        text.len() == 2 * ID_BYTES && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    }
}

fn draw() -> Result<Zeroizing<Vec<u8>>, NoRandom> {
    let key = Zeroizing::new(random::<KEY_BYTES>()?);
    Ok(Zeroizing::new(key.to_vec()))
}

fn decode(text: &str) -> Option<(Vec<u8>, [u8; 32])> {
    if text.len() > AUTHORIZATION_BYTES_MAX {
        return None;
    }
    let (claims, mac) = text.split_once('.')?;
    let mac = URL_SAFE_NO_PAD.decode(mac).ok()?;
    Some((URL_SAFE_NO_PAD.decode(claims).ok()?, mac.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp::from_micros(1_000_000_000);

    fn session() -> Session {
        Session {
            id: Session::draw_id().unwrap(),
            repository: RepoKey::parse("r").unwrap(),
            name: RepoName::parse("a/b").unwrap(),
            actions: Actions::WRITE,
        }
    }

    #[test]
    fn a_token_comes_back_as_it_was_issued_until_its_time_is_over() {
        let key = SessionKey::ephemeral().unwrap();
        let session = session();
        let token = key.issue(&session, &Login::anonymous(), NOW);
        assert!(token.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)), "{token}");
        let (found, identity) = key.verify(&token, None, NOW).unwrap();
        assert_eq!((found, identity), (session, Identity::Anonymous));
        let last = NOW.plus(SESSION_LASTS - Duration::from_secs(1));
        assert!(key.verify(&token, None, last).is_ok());
        let over = key.verify(&token, None, NOW.plus(SESSION_LASTS));
        assert!(matches!(over, Err(SessionRefused::Expired)));
    }

    #[test]
    fn no_changed_token_and_none_of_another_key_is_taken() {
        let (key, other) = (SessionKey::ephemeral().unwrap(), SessionKey::ephemeral().unwrap());
        let token = key.issue(&session(), &Login::anonymous(), NOW);
        assert!(matches!(other.verify(&token, None, NOW), Err(SessionRefused::Invalid)));
        for at in 0..token.len() {
            let mut changed = token.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert!(key.verify(&changed, None, NOW).is_err(), "{at}");
        }
        for nothing in ["", ".", "a.b", "a", &format!("{token}.x"), &"a".repeat(AUTHORIZATION_BYTES_MAX + 1)]
        {
            assert!(key.verify(nothing, None, NOW).is_err());
        }
    }

    #[test]
    fn the_first_start_makes_a_key_that_later_ones_read() {
        let folder = tempfile::tempdir().unwrap();
        let token = SessionKey::open(folder.path()).unwrap().issue(&session(), &Login::anonymous(), NOW);
        assert!(SessionKey::open(folder.path()).unwrap().verify(&token, None, NOW).is_ok());
        std::fs::write(folder.path().join(FILE), "nonsense").unwrap();
        assert!(matches!(SessionKey::open(folder.path()), Err(KeyError::Malformed(_))));
    }

    #[test]
    fn ids_differ_and_are_ids() {
        let [one, other] = [(); 2].map(|()| Session::draw_id().unwrap());
        assert_ne!(one, other);
        assert!(Session::is_id(&one));
        for wrong in ["", &one[1..], &one.replace(|_| true, "G"), "ann"] {
            assert!(!Session::is_id(wrong), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics_or_is_taken(text in "\\PC{0,80}") {
            let key = SessionKey::ephemeral().unwrap();
            prop_assert!(key.verify(&text, None, NOW).is_err());
        }
    }
}
