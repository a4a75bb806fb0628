//! Access tokens and refresh tokens, as people and machines hold them.
//!
//! `sct_<id>_<secret><check>`, and `scr_…` for a refresh token: fixed prefixes, so that secret scanners know one
//! when they see it; the id as 32 hexadecimal digits of a UUID v7, so that tokens sort by age; 256 bits of chance; and
//! four bytes of a hash over all before them, so that a scanner can tell a token from what looks like one, and a
//! mistyped one is refused without a look-up. Hexadecimal all through: a double click selects all of it.

use std::fmt::Write as _;

use supercargo_model::Timestamp;
use supercargo_model::account::{Token, TokenId, TokenKind};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::secret::{random, same, sha256};
use crate::{NoRandom, Secret};

/// Bytes of chance in a token.
const SECRET_BYTES: usize = 32;
/// Bytes of the check at the end.
const CHECK_BYTES: usize = 4;
/// The length of a token's text: prefix, id, separator, secret and check.
const TEXT_BYTES: usize = 4 + 32 + 1 + 2 * (SECRET_BYTES + CHECK_BYTES);

/// A token that was just made.
#[derive(Debug)]
pub struct MintedToken {
    /// What its owner is given, once.
    pub text: Secret,
    /// Its name.
    pub id: TokenId,
    /// What is kept of its secret.
    pub secret_sha256: [u8; 32],
}

/// A token as somebody sent it. Well-formed, which says nothing of whether it is known.
#[derive(Debug, Clone)]
pub struct SentToken {
    /// Its name.
    pub id: TokenId,
    /// What it was sent as.
    pub kind: TokenKind,
    secret_sha256: [u8; 32],
}

/// Why a token is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenRefused {
    /// It is not the token of its name.
    #[error("the token is not known here")]
    Unknown,
    /// It is for something else.
    #[error("the token is of another kind: a refresh token is for the token endpoint alone")]
    Kind,
    /// Its time is over.
    #[error("the token has expired")]
    Expired,
}

/// Makes a token.
///
/// # Errors
/// There are no random bytes.
pub fn mint(kind: TokenKind, now: Timestamp) -> Result<MintedToken, NoRandom> {
    let millis = u64::try_from(now.as_micros() / 1000).unwrap_or(0);
    let id = uuid::Builder::from_unix_timestamp_millis(millis, &random()?).into_uuid();
    let secret = Zeroizing::new(random::<SECRET_BYTES>()?);
    let mut text = String::with_capacity(TEXT_BYTES);
    let _ = write!(text, "{}{}_", prefix(kind), id.simple());
    push_hex(&mut text, secret.as_slice());
    let check = check(&text);
    push_hex(&mut text, &check);
    Ok(MintedToken { text: Secret::new(text), id, secret_sha256: sha256(secret.as_slice()) })
}

impl SentToken {
    /// Parses a token. `None` where the text is none.
    pub fn parse(text: &str) -> Option<SentToken> {
        if text.len() != TEXT_BYTES || !text.is_ascii() {
            return None;
        }
        let kind = [TokenKind::Access, TokenKind::Refresh]
            .into_iter()
            .find(|kind| text.starts_with(prefix(*kind)))?;
        let (rest, sent_check) = text.split_at(TEXT_BYTES - 2 * CHECK_BYTES);
        if from_hex::<CHECK_BYTES>(sent_check)? != check(rest) {
            return None;
        }
        let (id, secret) = rest.get(prefix(kind).len()..)?.split_once('_')?;
        let id = Uuid::from_bytes(from_hex::<16>(id)?);
        let secret = Zeroizing::new(from_hex::<SECRET_BYTES>(secret)?);
        Some(SentToken { id, kind, secret_sha256: sha256(secret.as_slice()) })
    }

    /// Checks it against what is known under its name. Whether its user may use it is asked elsewhere.
    ///
    /// # Errors
    /// Says why it is not taken.
    pub fn verify(&self, known: &Token, kind: TokenKind, now: Timestamp) -> Result<(), TokenRefused> {
        // The secret first: the rest is told to its owner alone.
        if !same(&self.secret_sha256, &known.secret_sha256) || self.kind != known.kind {
            return Err(TokenRefused::Unknown);
        }
        if known.kind != kind {
            return Err(TokenRefused::Kind);
        }
        if known.expires_at.is_some_and(|end| now >= end) {
            return Err(TokenRefused::Expired);
        }
        Ok(())
    }
}

/// Whether a text begins as a token does.
pub(crate) fn looks_like_one(text: &str) -> bool {
    text.starts_with(prefix(TokenKind::Access)) || text.starts_with(prefix(TokenKind::Refresh))
}

fn prefix(kind: TokenKind) -> &'static str {
    match kind {
        TokenKind::Access => "sct_",
        TokenKind::Refresh => "scr_",
    }
}

fn check(text: &str) -> [u8; CHECK_BYTES] {
    let hash = sha256(text.as_bytes());
    [hash[0], hash[1], hash[2], hash[3]]
}

fn push_hex(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
}

/// Bytes from exactly as many pairs of lower-case digits.
fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    if text.len() != 2 * N {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use supercargo_model::account::UserName;

    use super::*;

    const NOW: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);

    fn known(minted: &MintedToken, kind: TokenKind, expires_at: Option<Timestamp>) -> Token {
        Token {
            user: UserName::parse("ann").unwrap(),
            kind,
            description: String::new(),
            secret_sha256: minted.secret_sha256,
            issued_at: NOW,
            expires_at,
            used_at: None,
        }
    }

    #[test]
    fn a_token_is_known_by_its_secret_until_it_expires() {
        for kind in [TokenKind::Access, TokenKind::Refresh] {
            let minted = mint(kind, NOW).unwrap();
            let sent = SentToken::parse(minted.text.expose()).unwrap();
            assert_eq!(sent.id, minted.id);
            let end = NOW.plus(std::time::Duration::from_secs(1));
            let token = known(&minted, kind, Some(end));
            assert_eq!(sent.verify(&token, kind, NOW), Ok(()));
            assert_eq!(sent.verify(&token, kind, end), Err(TokenRefused::Expired));

            let other = mint(kind, NOW).unwrap();
            assert_eq!(sent.verify(&known(&other, kind, None), kind, NOW), Err(TokenRefused::Unknown));
        }
    }

    #[test]
    fn a_token_is_good_for_its_kind_alone() {
        let minted = mint(TokenKind::Refresh, NOW).unwrap();
        let sent = SentToken::parse(minted.text.expose()).unwrap();
        let token = known(&minted, TokenKind::Refresh, None);
        assert_eq!(sent.verify(&token, TokenKind::Access, NOW), Err(TokenRefused::Kind));
        // Nor does another prefix make it one, were the check right.
        let disguised = SentToken { kind: TokenKind::Access, ..sent };
        assert_eq!(disguised.verify(&token, TokenKind::Access, NOW), Err(TokenRefused::Unknown));
    }

    #[test]
    fn tokens_sort_by_age_and_a_scanner_knows_them() {
        let old = mint(TokenKind::Access, NOW).unwrap();
        let new = mint(TokenKind::Access, NOW.plus(std::time::Duration::from_millis(1))).unwrap();
        assert!(old.text.expose() < new.text.expose() && old.id < new.id);
        assert_eq!(old.text.expose().len(), TEXT_BYTES);
        assert!(looks_like_one(old.text.expose()));
        assert_eq!(old.id.get_version_num(), 7);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,150}", near in "sc[tr]_[0-9a-fé_]{100,110}") {
            let _ = (SentToken::parse(&text), SentToken::parse(&near));
        }

        #[test]
        fn a_mistyped_token_is_none(at in 0..TEXT_BYTES, typed in "[0-9a-zA-Z_]") {
            let minted = mint(TokenKind::Access, NOW).unwrap();
            let mut text = minted.text.expose().to_owned();
            text.replace_range(at..=at, &typed);
            prop_assert_eq!(SentToken::parse(&text).is_some(), text == minted.text.expose());
        }
    }
}
