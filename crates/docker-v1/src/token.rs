//! How session tokens stand in headers (the V1 specification, 3.2). What is in them is `supercargo-access`'s.
//!
//! A client sends back what it was given, behind the word `Token`. Some servers give a value that begins with that
//! word, and clients then send it twice. Only the signature counts: what stands beside it is for people.

use http::{HeaderName, HeaderValue, header};
use supercargo_access::{Credentials, CredentialsError};
use supercargo_http::response::{Unfit, header_value};
use supercargo_model::account::Actions;

/// By which a token is given out.
pub(crate) const TOKEN: HeaderName = HeaderName::from_static("x-docker-token");

const SCHEME: &str = "token";

/// What an `Authorization` header offers.
#[derive(Debug)]
pub(crate) enum Sent {
    /// Nothing: no header, or one that says nothing. docker sends an empty name with an empty password, and `Token`
    /// with nothing behind it, where it has no login.
    Nothing,
    /// A name and a password.
    Basic(Credentials),
    /// A token's signature. Empty where it has none.
    Token(String),
}

/// Why an `Authorization` header is not understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SentError {
    /// Its scheme, or what follows it.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// A scheme of other protocols.
    #[error("the Authorization header uses a scheme that is not known here: use Basic or Token")]
    Scheme,
    /// Several headers.
    #[error("send one Authorization header")]
    Several,
}

impl Sent {
    /// Reads a request's `Authorization`.
    ///
    /// # Errors
    /// [`SentError`].
    pub(crate) fn parse(headers: &http::HeaderMap) -> Result<Sent, SentError> {
        let mut all = headers.get_all(header::AUTHORIZATION).iter();
        let Some(sent) = all.next() else { return Ok(Sent::Nothing) };
        if all.next().is_some() {
            return Err(SentError::Several);
        }
        if let Some(value) = sent.to_str().ok().and_then(after_scheme) {
            return Ok(if value.is_empty() {
                Sent::Nothing
            } else {
                Sent::Token(signature(value).to_owned())
            });
        }
        match Credentials::parse(sent.as_bytes())? {
            Credentials::Bearer(_) => Err(SentError::Scheme),
            Credentials::Basic { user, password } if user.is_empty() && password.expose().is_empty() => {
                Ok(Sent::Nothing)
            }
            basic @ Credentials::Basic { .. } => Ok(Sent::Basic(basic)),
        }
    }
}

/// What stands behind the word `Token`, or behind several of them.
fn after_scheme(value: &str) -> Option<&str> {
    let without = |value: &str| {
        let value = value.trim_ascii();
        let (word, rest) = value.split_at_checked(SCHEME.len())?;
        let ends = rest.is_empty() || rest.starts_with([' ', '\t']);
        (word.eq_ignore_ascii_case(SCHEME) && ends).then(|| rest.trim_ascii_start().len())
    };
    let mut rest = value.trim_ascii();
    let mut is_token = false;
    while let Some(left) = without(rest) {
        rest = &rest[rest.len() - left..];
        is_token = true;
    }
    is_token.then_some(rest)
}

/// The signature among `key=value`, `key="value"` or `key:value` pairs. Of several tokens in one header the first one's.
fn signature(pairs: &str) -> &str {
    let mut pairs = pairs.split(',').filter_map(|pair| pair.split_once(['=', ':']));
    let found = pairs.find(|(key, _)| key.trim_ascii().eq_ignore_ascii_case("signature"));
    found.map_or("", |(_, value)| value.trim_ascii().trim_matches('"'))
}

/// The values of `X-Docker-Token` and `WWW-Authenticate` that give out a token. `name` is shown in them.
///
/// # Errors
/// [`Unfit`], which what tokens and names are made of never is.
pub(crate) fn given_out(
    signature: &str,
    name: &str,
    actions: Actions,
) -> Result<(HeaderValue, HeaderValue), Unfit> {
    let access = if actions.write {
        "write"
    } else if actions.delete {
        "delete"
    } else {
        "read"
    };
    let value = format!("signature={signature},repository=\"{name}\",access={access}");
    let challenge = header_value(format!("Token {value}"))?;
    Ok((header_value(value)?, challenge))
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use proptest::prelude::*;

    use super::*;

    fn parse(value: &[u8]) -> Result<Sent, SentError> {
        let headers =
            HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::from_bytes(value).unwrap())]);
        Sent::parse(&headers)
    }

    #[test]
    fn a_token_is_found_in_every_form_that_clients_send() {
        for sent in [
            "Token signature=a-b_c.d,repository=\"ann/app\",access=write",
            "Token Token signature=a-b_c.d,repository=\"ann/app\",access=write",
            "token  TOKEN signature=\"a-b_c.d\", access=read",
            "Token signature:a-b_c.d,repository:ann/app",
            "Token repository=\"ann/app\",signature=a-b_c.d,signature=other",
        ] {
            assert!(matches!(parse(sent.as_bytes()), Ok(Sent::Token(token)) if token == "a-b_c.d"), "{sent}");
        }
        for without in ["Token x", "Token repository=\"a/b\"", "Token signature"] {
            assert!(
                matches!(parse(without.as_bytes()), Ok(Sent::Token(token)) if token.is_empty()),
                "{without}"
            );
        }
    }

    #[test]
    fn what_says_nothing_is_nothing() {
        assert!(matches!(Sent::parse(&HeaderMap::new()), Ok(Sent::Nothing)));
        for nothing in ["Token", "Token ", "Token Token", "Basic Og==", "basic Og"] {
            assert!(matches!(parse(nothing.as_bytes()), Ok(Sent::Nothing)), "{nothing}");
        }
    }

    #[test]
    fn other_schemes_are_none() {
        assert!(matches!(parse(b"Basic YTpi"), Ok(Sent::Basic(_))));
        assert_eq!(parse(b"Bearer abc").unwrap_err(), SentError::Scheme);
        for unknown in ["", "Digest x", "Tokens x", "Tok"] {
            assert_eq!(
                parse(unknown.as_bytes()).unwrap_err(),
                SentError::Credentials(CredentialsError::Scheme)
            );
        }
        let mut twice = HeaderMap::new();
        twice.append(header::AUTHORIZATION, HeaderValue::from_static("Token a"));
        twice.append(header::AUTHORIZATION, HeaderValue::from_static("Token b"));
        assert_eq!(Sent::parse(&twice).unwrap_err(), SentError::Several);
    }

    #[test]
    fn a_token_comes_back_as_it_was_given_out() {
        for (actions, access) in [
            (Actions::READ, "read"),
            (Actions::WRITE.or(Actions::READ), "write"),
            (Actions::DELETE, "delete"),
        ] {
            let (token, challenge) = given_out("a.b", "ann/app", actions).unwrap();
            assert_eq!(token, format!("signature=a.b,repository=\"ann/app\",access={access}"));
            let sent = [b"Token ", token.as_bytes()].concat();
            assert_eq!(sent, challenge.as_bytes());
            assert!(matches!(parse(&sent), Ok(Sent::Token(token)) if token == "a.b"));
        }
    }

    proptest! {
        #[test]
        fn no_header_panics(value in prop::collection::vec(32..=255_u8, 0..80), twice: bool) {
            let mut value = value;
            if twice {
                value.splice(0..0, *b"Token Token ");
            }
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                let _ = Sent::parse(&HeaderMap::from_iter([(header::AUTHORIZATION, value)]));
            }
        }
    }
}
