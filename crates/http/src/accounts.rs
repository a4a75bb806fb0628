//! Accounts between the registry, which keeps them, and those who ask for them: the registry as a directory of them; and
//! passwords and tokens as people hold them, on their way into the registry, which keeps what may be kept: hashes.

use std::sync::Arc;
use std::time::Duration;

use supercargo_access::{
    Directory, DirectoryError, PasswordError, Passwords, Secret, Targets, check_new_password, token,
};
use supercargo_eventlog::DockerApiVersion;
use supercargo_model::account::{
    GroupName, PasswordHash, Permission, Token, TokenId, TokenKind, User, UserName,
};
use supercargo_registry::{Caller, Error, Registry};

/// The registry, asked for accounts.
#[derive(Debug)]
pub struct RegistryDirectory(pub Arc<Registry>);

impl Directory for RegistryDirectory {
    fn user(&self, name: &UserName) -> Result<Option<User>, DirectoryError> {
        self.0.user(name).map_err(DirectoryError::new)
    }

    fn groups(&self, name: &UserName) -> Result<Vec<GroupName>, DirectoryError> {
        self.0.groups_of(name).map_err(DirectoryError::new)
    }

    fn token(&self, id: TokenId) -> Result<Option<Token>, DirectoryError> {
        self.0.token(id).map_err(DirectoryError::new)
    }

    fn permissions(&self) -> Result<Vec<Permission>, DirectoryError> {
        self.0.permissions().map_err(DirectoryError::new)
    }

    fn targets(&self) -> Result<Targets, DirectoryError> {
        let targets = self.0.permission_targets().map_err(DirectoryError::new)?;
        let repositories = self.0.repositories().map_err(DirectoryError::new)?.into_iter();
        let v1 = repositories.filter(|info| info.config.docker_api_version == DockerApiVersion::V1);
        Ok(Targets {
            targets: targets.into_iter().map(|(_, target)| target).collect(),
            v1_repositories: v1.map(|info| info.key).collect(),
        })
    }

    fn epoch(&self) -> u64 {
        self.0.accounts_epoch()
    }
}

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
