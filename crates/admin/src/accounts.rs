//! The operations on accounts, as functions of a registry. Passwords and tokens come in and go out here; what is
//! kept of them is made in `supercargo-access`.

use futures_util::{StreamExt as _, stream};
use supercargo_access::{Htpasswd, HtpasswdRefused, HtpasswdUser, Passwords, Secret};
use supercargo_model::account::{GroupName, PasswordHash, UserName};
use supercargo_registry::{Caller, Error, Registry};

use crate::api::{
    GroupInfo, ImportParameters, ImportReport, IssuedToken, NewToken, RefusedLine, TokenInfo, UserInfo,
};

/// The hash of a password that somebody chose.
///
/// # Errors
/// [`Error::Invalid`] for one that is too short or too long, [`Error::Busy`] where too many are hashed at once.
pub async fn hash(passwords: &Passwords, password: String) -> Result<PasswordHash, Error> {
    supercargo_http::accounts::hash(passwords, Secret::new(password)).await
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

/// How many users of a file are on their way to the log at a time: those share commits.
const IMPORTED_AT_ONCE: usize = 64;

/// Takes users over from an htpasswd file, with the passwords that they have. What can't be taken over is reported,
/// and the rest goes on. Users that were made stay where it breaks off; importing the file again does the rest.
///
/// # Errors
/// Those of a commit.
pub async fn import(
    registry: &Registry,
    caller: &Caller,
    file: &[u8],
    parameters: ImportParameters,
) -> Result<ImportReport, Error> {
    // A name in some other encoding is no name here, and its line is refused.
    let Htpasswd { users, refused } = Htpasswd::parse(&String::from_utf8_lossy(file));
    let mut report = ImportReport { dry_run: parameters.dry_run, ..ImportReport::default() };
    let mut imported = stream::iter(users)
        .map(async |user| {
            let outcome = import_user(registry, caller, &user, parameters).await;
            (user, outcome)
        })
        .buffered(IMPORTED_AT_ONCE);
    while let Some((HtpasswdUser { line, name, .. }, outcome)) = imported.next().await {
        match outcome {
            Ok(Imported::Created) => report.created.push(name),
            Ok(Imported::Replaced) => report.replaced.push(name),
            Ok(Imported::Skipped) => report.skipped.push(name),
            Err(Error::Invalid(reason)) => report.refused.push(RefusedLine { line, reason }),
            Err(error) => return Err(error),
        }
    }
    let refused = refused.into_iter();
    report.refused.extend(refused.map(|HtpasswdRefused { line, reason }| {
        let reason = reason.to_string();
        RefusedLine { line, reason }
    }));
    report.refused.sort_by_key(|refused| refused.line);
    Ok(report)
}

/// What became of a user in a file.
enum Imported {
    Created,
    Replaced,
    Skipped,
}

async fn import_user(
    registry: &Registry,
    caller: &Caller,
    HtpasswdUser { name, password, .. }: &HtpasswdUser,
    ImportParameters { replace, dry_run }: ImportParameters,
) -> Result<Imported, Error> {
    match registry.user(name)? {
        None if dry_run => Ok(Imported::Created),
        None => {
            let created = registry.create_user(caller, name.clone(), false, false, Some(password.clone()));
            match created.await {
                Ok(()) => Ok(Imported::Created),
                // Whoever made it meanwhile knows its password better.
                Err(Error::UserExists(_)) => Ok(Imported::Skipped),
                Err(error) => Err(error),
            }
        }
        // Setting the password that it has would log the user out for nothing.
        Some(user) if !replace || user.password.as_ref() == Some(password) => Ok(Imported::Skipped),
        Some(user) if user.service => {
            Err(Error::Invalid(format!("{name} is a service account here, which has no password")))
        }
        Some(_) if dry_run => Ok(Imported::Replaced),
        Some(_) => {
            registry.set_password(caller, name.clone(), Some(password.clone())).await?;
            Ok(Imported::Replaced)
        }
    }
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
    let (description, lasts) = (wanted.description.clone(), wanted.lasts());
    let (id, secret) =
        supercargo_http::accounts::issue_access_token(registry, caller, user.clone(), description, lasts)
            .await?;
    let token = registry.token(id)?.ok_or(Error::TokenUnknown(id))?;
    Ok(IssuedToken { token: TokenInfo::new(id, token), secret: secret.expose().to_owned() })
}
