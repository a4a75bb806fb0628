//! Passwords and tokens as people hold them, on their way into the registry, which keeps what may be kept: hashes.

use std::time::Duration;

use supercargo_access::{PasswordError, Passwords, Secret, check_new_password, token};
use supercargo_model::account::{PasswordHash, TokenId, TokenKind, UserName};
use supercargo_registry::{Caller, Error, Registry};

/// The hash of a password that somebody chose.
///
/// # Errors
/// [`Error::Invalid`] for one that is too short or too long, [`Error::Busy`] where too many are hashed at once.
pub async fn hash(passwords: &Passwords, password: Secret) -> Result<PasswordHash, Error> {
    check_new_password(&password).map_err(|e| Error::Invalid(e.to_string()))?;
    passwords.hash(password).await.map_err(|error| match error {
        PasswordError::Busy => Error::Busy { retry_after: Duration::from_secs(1) },
        other => Error::Internal(other.to_string()),
    })
}

/// Gives a user an access token: its id, and what its owner is given, once. `lasts` is how long it is good for; for ever
/// without.
///
/// # Errors
/// [`Error::UserUnknown`], [`Error::Invalid`], and those of a commit.
pub async fn issue_access_token(
    registry: &Registry,
    caller: &Caller,
    user: UserName,
    description: String,
    lasts: Option<Duration>,
) -> Result<(TokenId, Secret), Error> {
    let now = registry.now();
    let minted = token::mint(TokenKind::Access, now).map_err(|e| Error::Internal(e.to_string()))?;
    let (hash, ends) = (minted.secret_sha256, lasts.map(|lasts| now.plus(lasts)));
    registry.issue_access_token(caller, minted.id, user, description, hash, ends).await?;
    Ok((minted.id, minted.text))
}
