//! What an `Authorization` header says: Basic (RFC 7617) or Bearer (RFC 6750).

use base64::Engine;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroizing;

use crate::Secret;

/// Longest `Authorization` header that is read, in bytes: an identity token with many groups has some thousand.
pub const AUTHORIZATION_BYTES_MAX: usize = 16 * 1024;

/// With or without padding: some clients leave it out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What somebody offers to prove who they are.
#[derive(Debug, Clone)]
pub enum Credentials {
    /// A user's name, and a password or what stands in its place.
    Basic {
        /// The name as it was sent; it need not be one that a user can have.
        user: String,
        /// The password.
        password: Secret,
    },
    /// A bearer token.
    Bearer(Secret),
}

/// Why a header is not understood. None shows what the header held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CredentialsError {
    /// It is too long.
    #[error("the Authorization header is longer than {AUTHORIZATION_BYTES_MAX} bytes")]
    TooLong,
    /// Its scheme is another.
    #[error("the Authorization header uses a scheme that is not known here: use Basic or Bearer")]
    Scheme,
    /// What follows `Basic` is not base64 of UTF-8 with a colon in it.
    #[error("the Basic credentials are not base64 of user:password in UTF-8")]
    Basic,
    /// What follows `Bearer` is not a token.
    #[error("the Bearer token holds a character that no token has")]
    Bearer,
}

impl Credentials {
    /// Parses the value of an `Authorization` header.
    ///
    /// # Errors
    /// Says what part is malformed.
    pub fn parse(header: &[u8]) -> Result<Credentials, CredentialsError> {
        if header.len() > AUTHORIZATION_BYTES_MAX {
            return Err(CredentialsError::TooLong);
        }
        let header = header.trim_ascii();
        let space = header.iter().position(|byte| *byte == b' ').unwrap_or(header.len());
        let (scheme, rest) = header.split_at(space);
        let rest = rest.trim_ascii_start();
        // The scheme is the same in any case of letters (RFC 9110, section 11.1).
        if scheme.eq_ignore_ascii_case(b"basic") {
            basic(rest).ok_or(CredentialsError::Basic)
        } else if scheme.eq_ignore_ascii_case(b"bearer") {
            bearer(rest).ok_or(CredentialsError::Bearer)
        } else {
            Err(CredentialsError::Scheme)
        }
    }
}

/// The name ends at the first colon: a name can't hold one, a password can (RFC 7617, section 2).
fn basic(encoded: &[u8]) -> Option<Credentials> {
    let decoded = Zeroizing::new(BASE64.decode(encoded).ok()?);
    let (user, password) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
    // No control characters (RFC 7617, section 2), which also keeps a name from breaking a line of a log.
    if user.chars().chain(password.chars()).any(char::is_control) {
        return None;
    }
    Some(Credentials::Basic { user: user.to_owned(), password: Secret::new(password) })
}

/// The `b64token` of RFC 6750, section 2.1.
fn bearer(token: &[u8]) -> Option<Credentials> {
    let allowed = |byte: u8| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'+' | b'/' | b'=')
    };
    if token.is_empty() || !token.iter().copied().all(allowed) {
        return None;
    }
    Some(Credentials::Bearer(Secret::new(std::str::from_utf8(token).ok()?)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The value of a header that sends these, as a client makes it.
    fn basic_header(user: &str, password: &str) -> String {
        format!("Basic {}", BASE64.encode(format!("{user}:{password}")))
    }

    fn parsed(header: &str) -> Option<(String, String)> {
        match Credentials::parse(header.as_bytes()) {
            Ok(Credentials::Basic { user, password }) => Some((user, password.expose().to_owned())),
            _ => None,
        }
    }

    #[test]
    fn a_password_may_hold_colons_and_letters_of_any_script() {
        for (user, password) in
            [("ann", "a:b:c"), ("ann", ""), ("", ""), ("björn", "пароль"), ("<token>", "x")]
        {
            assert_eq!(parsed(&basic_header(user, password)), Some((user.to_owned(), password.to_owned())));
        }
    }

    #[test]
    fn the_scheme_is_read_in_any_case_and_padding_may_be_missing() {
        for header in ["Basic YTpi", "basic YTpi", "BASIC  YTpi ", "Basic YTpiYw", "Basic YTpiYw=="] {
            assert!(parsed(header).is_some(), "{header}");
        }
        assert!(matches!(
            Credentials::parse(b"bearer abc.def-_~+/="),
            Ok(Credentials::Bearer(token)) if token.expose() == "abc.def-_~+/="
        ));
    }

    #[test]
    fn what_is_malformed_is_refused_by_its_part() {
        for (header, expected) in [
            ("", CredentialsError::Scheme),
            ("Digest abc", CredentialsError::Scheme),
            ("YTpi", CredentialsError::Scheme),
            ("Basic", CredentialsError::Basic),
            ("Basic !!!", CredentialsError::Basic),
            ("Basic YWI=", CredentialsError::Basic),
            ("Basic /zr/", CredentialsError::Basic),
            ("Basic YQo6Yg==", CredentialsError::Basic),
            ("Bearer", CredentialsError::Bearer),
            ("Bearer a b", CredentialsError::Bearer),
            ("Bearer \u{e9}", CredentialsError::Bearer),
        ] {
            assert_eq!(Credentials::parse(header.as_bytes()).unwrap_err(), expected, "{header}");
        }
        let long = format!("Bearer {}", "a".repeat(AUTHORIZATION_BYTES_MAX));
        assert_eq!(Credentials::parse(long.as_bytes()).unwrap_err(), CredentialsError::TooLong);
    }

    proptest! {
        #[test]
        fn no_header_panics(header in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Credentials::parse(&header);
        }

        #[test]
        fn no_basic_credentials_panic(inside in prop::collection::vec(any::<u8>(), 0..60)) {
            let encoded = BASE64.encode(inside);
            let _ = Credentials::parse(format!("Basic {encoded}").as_bytes());
        }

        #[test]
        fn what_a_client_sends_comes_back(user in "[^:\\pC]{0,20}", password in "\\PC{0,40}") {
            prop_assert_eq!(parsed(&basic_header(&user, &password)), Some((user, password)));
        }
    }
}
