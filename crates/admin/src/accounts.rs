//! The operations on accounts, as functions of a registry. Passwords and tokens come in and go out here; what is
//! kept of them is made in `supercargo-access`.

use supercargo_access::{Passwords, Secret, check_new_password, token};
use supercargo_model::account::{GroupName, PasswordHash, TokenId, TokenKind, UserName};
use supercargo_registry::{Caller, Error, Registry};

use crate::api::{GroupInfo, IssuedToken, NewToken, TokenInfo, UserInfo};

/// The hash of a password that somebody chose.
///
/// # Errors
/// [`Error::Invalid`] for one that is too short or too long, [`Error::Busy`] where too many are hashed at once.
pub async fn hash(passwords: &Passwords, password: String) -> Result<PasswordHash, Error> {
    let password = Secret::new(password);
    check_new_password(&password).map_err(|e| Error::Invalid(e.to_string()))?;
    passwords.hash(password).await.map_err(|error| match error {
        supercargo_access::PasswordError::Busy => {
            Error::Busy { retry_after: std::time::Duration::from_secs(1) }
        }
        other => Error::Internal(other.to_string()),
    })
}

/// A user.
///
/// # Errors
/// [`Error::UserUnknown`].
pub fn user(registry: &Registry, name: &UserName) -> Result<UserInfo, Error> {
    let user = registry.user(name)?.ok_or_else(|| Error::UserUnknown(name.clone()))?;
    Ok(UserInfo::new(name.clone(), &user, registry.groups_of(name)?))
}

/// All users, by name.
///
/// # Errors
/// Errors of the storage.
pub fn users(registry: &Registry) -> Result<Vec<UserInfo>, Error> {
    let users = registry.users()?.into_iter();
    users.map(|(name, user)| Ok(UserInfo::new(name.clone(), &user, registry.groups_of(&name)?))).collect()
}

/// All groups, by name.
///
/// # Errors
/// Errors of the storage.
pub fn groups(registry: &Registry) -> Result<Vec<GroupInfo>, Error> {
    let groups = registry.groups()?.into_iter();
    groups
        .map(|(name, row)| {
            let members = registry.members(&name)?;
            Ok(GroupInfo { name, description: row.description, members, created_at: row.created_at })
        })
        .collect()
}

/// A group.
///
/// # Errors
/// [`Error::GroupUnknown`].
pub fn group(registry: &Registry, name: &GroupName) -> Result<GroupInfo, Error> {
    let found = groups(registry)?.into_iter().find(|group| group.name == *name);
    found.ok_or_else(|| Error::GroupUnknown(name.clone()))
}

/// The tokens of a user, the oldest first.
///
/// # Errors
/// [`Error::UserUnknown`].
pub fn tokens(registry: &Registry, user: &UserName) -> Result<Vec<TokenInfo>, Error> {
    let tokens = registry.tokens_of(user)?.into_iter();
    Ok(tokens.map(|(id, token)| TokenInfo::new(id, token)).collect())
}

/// Gives a user an access token.
///
/// # Errors
/// [`Error::UserUnknown`], [`Error::Invalid`], and those of a commit.
pub async fn issue_token(
    registry: &Registry,
    caller: &Caller,
    user: &UserName,
    wanted: &NewToken,
) -> Result<IssuedToken, Error> {
    let now = registry.now();
    let minted = token::mint(TokenKind::Access, now).map_err(|e| Error::Internal(e.to_string()))?;
    let id: TokenId = minted.id;
    registry
        .issue_token(
            caller,
            id,
            user.clone(),
            TokenKind::Access,
            wanted.description.clone(),
            minted.secret_sha256,
            wanted.lasts().map(|lasts| now.plus(lasts)),
        )
        .await?;
    let token = registry.token(id)?.ok_or(Error::TokenUnknown(id))?;
    Ok(IssuedToken { token: TokenInfo::new(id, token), secret: minted.text.expose().to_owned() })
}
