//! What the registry knows of accounts, asked per look-up. The registry implements it; nothing here writes.

use supercargo_model::RepoKey;
use supercargo_model::account::{GroupName, Permission, PermissionTarget, Token, TokenId, User, UserName};

/// The accounts and permissions, as they are now. Called on async threads: an implementation answers from memory
/// or from a snapshot, and never waits for the writer.
pub trait Directory: Send + Sync {
    /// A user.
    ///
    /// # Errors
    /// The registry could not be read.
    fn user(&self, name: &UserName) -> Result<Option<User>, DirectoryError>;

    /// The groups that a user is a member of.
    ///
    /// # Errors
    /// The registry could not be read.
    fn groups(&self, name: &UserName) -> Result<Vec<GroupName>, DirectoryError>;

    /// An access token or refresh token. Asked for at each use.
    ///
    /// # Errors
    /// The registry could not be read.
    fn token(&self, id: TokenId) -> Result<Option<Token>, DirectoryError>;

    /// All permissions. Asked for once per epoch.
    ///
    /// # Errors
    /// The registry could not be read.
    fn permissions(&self) -> Result<Vec<Permission>, DirectoryError>;

    /// All permission targets. Asked for once per epoch. A directory may have none.
    ///
    /// # Errors
    /// The registry could not be read.
    fn targets(&self) -> Result<Targets, DirectoryError> {
        Ok(Targets::default())
    }

    /// A count that moves with every change of a user, a group, a permission or a repository: after the change can be read, and
    /// before anybody is told of it. What is kept here is tied to the count that was read before it was, so that
    /// nobody who was told of a change meets what was before. Tokens are asked for each time: a new one, a revoked
    /// one and a noted use need not move it.
    fn epoch(&self) -> u64;
}

/// All permission targets, and what has to be known to tell which paths a name is at.
#[derive(Debug, Clone, Default)]
pub struct Targets {
    /// The targets.
    pub targets: Vec<PermissionTarget>,
    /// The repositories that keep names where V1 has them in the tree.
    pub v1_repositories: Vec<RepoKey>,
}

/// The registry could not be read. The cause is for the log, not for the client.
#[derive(Debug, thiserror::Error)]
#[error("accounts can't be read: {0}")]
pub struct DirectoryError(#[source] Box<dyn std::error::Error + Send + Sync>);

impl DirectoryError {
    /// An error with this cause.
    pub fn new(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> DirectoryError {
        DirectoryError(cause.into())
    }
}
