//! Users, groups, tokens and permissions: changing them, and looking at them.
//!
//! What is kept here is what may be kept: hashes. Passwords and tokens as people hold them are made and checked
//! in `supercargo-access`, which asks for what it needs by the reads below.

use std::sync::atomic::Ordering;

use supercargo_eventlog::event::TokenUse;
use supercargo_model::Timestamp;
use supercargo_model::account::{
    Actions, Grant, GroupName, PasswordHash, Permission, PermissionTarget, PermissionTargetName, Token,
    TokenId, TokenKind, User, UserName,
};
use supercargo_projections::tables::{
    GroupRow, Groups, Members, Memberships, PermissionTargets, Permissions, Tokens, TokensOf, Users, prefix,
};
use supercargo_projections::{Tracked, prefix_end};

use crate::command::{AccountCommand, Command, GroupSettings, UserSettings};
use crate::ledger::Payload;
use crate::registry::{Caller, Registry};
use crate::{Error, Result};

impl Registry {
    async fn account(&self, caller: &Caller, command: AccountCommand) -> Result<()> {
        self.ledger.submit(caller, Command::Accounts(command), Payload::None).await.map(|_| ())
    }

    /// Makes a user. A service account has no password.
    ///
    /// # Errors
    /// [`Error::UserExists`], [`Error::Invalid`], and those of a commit.
    pub async fn create_user(
        &self,
        caller: &Caller,
        user: UserName,
        service: bool,
        administrator: bool,
        password: Option<PasswordHash>,
    ) -> Result<()> {
        self.account(caller, AccountCommand::CreateUser { user, service, administrator, password }).await
    }

    /// Makes a user an administrator or takes that away, locks one out or lets one in; `None` leaves it as it is.
    ///
    /// # Errors
    /// [`Error::UserUnknown`], [`Error::LastAdministrator`], and those of a commit.
    pub async fn change_user(
        &self,
        caller: &Caller,
        user: UserName,
        administrator: Option<bool>,
        disabled: Option<bool>,
    ) -> Result<()> {
        self.account(caller, AccountCommand::ChangeUser { user, administrator, disabled }).await
    }

    /// Gives a user another password, or none. Its refresh tokens end with that.
    ///
    /// # Errors
    /// [`Error::UserUnknown`], [`Error::Invalid`] for a service account, and those of a commit.
    pub async fn set_password(
        &self,
        caller: &Caller,
        user: UserName,
        password: Option<PasswordHash>,
    ) -> Result<()> {
        self.account(caller, AccountCommand::SetPassword { user, password }).await
    }

    /// Records a better hash of the password that a user has. Nothing, where it has another by now. Where it can't be
    /// recorded the server's log says so: the old hash goes on being good, so a login need not fail with this.
    pub async fn upgrade_password(
        &self,
        caller: &Caller,
        user: UserName,
        replaces: PasswordHash,
        hash: PasswordHash,
    ) {
        let command = AccountCommand::UpgradePassword { user, replaces, hash };
        if let Err(error) = self.account(caller, command).await {
            tracing::warn!(%error, "a password's better hash was not recorded");
        }
    }

    /// Removes a user with its tokens, memberships and permissions.
    ///
    /// # Errors
    /// [`Error::UserUnknown`], [`Error::LastAdministrator`], and those of a commit.
    pub async fn remove_user(&self, caller: &Caller, user: UserName) -> Result<()> {
        self.account(caller, AccountCommand::RemoveUser { user }).await
    }

    /// Makes a group.
    ///
    /// # Errors
    /// [`Error::GroupExists`], [`Error::Invalid`], and those of a commit.
    pub async fn create_group(&self, caller: &Caller, group: GroupName, description: String) -> Result<()> {
        self.account(caller, AccountCommand::CreateGroup { group, description }).await
    }

    /// Removes a group with its permissions.
    ///
    /// # Errors
    /// [`Error::GroupUnknown`], and those of a commit.
    pub async fn remove_group(&self, caller: &Caller, group: GroupName) -> Result<()> {
        self.account(caller, AccountCommand::RemoveGroup { group }).await
    }

    /// Puts a user into a group.
    ///
    /// # Errors
    /// [`Error::GroupUnknown`], [`Error::UserUnknown`], and those of a commit.
    pub async fn add_member(&self, caller: &Caller, group: GroupName, user: UserName) -> Result<()> {
        self.account(caller, AccountCommand::AddMember { group, user }).await
    }

    /// Takes a user out of a group.
    ///
    /// # Errors
    /// [`Error::GroupUnknown`]; [`Error::UserUnknown`] where it is not in it; those of a commit.
    pub async fn remove_member(&self, caller: &Caller, group: GroupName, user: UserName) -> Result<()> {
        self.account(caller, AccountCommand::RemoveMember { group, user }).await
    }

    /// Records that a user was given an access token, whose secret part has this SHA-256.
    ///
    /// # Errors
    /// [`Error::UserUnknown`]; [`Error::Invalid`] where the user is disabled or has too many; those of a commit.
    pub async fn issue_access_token(
        &self,
        caller: &Caller,
        token: TokenId,
        user: UserName,
        description: String,
        secret_sha256: [u8; 32],
        expires_at: Option<Timestamp>,
    ) -> Result<()> {
        let (kind, password) = (TokenKind::Access, None);
        let command = AccountCommand::IssueToken {
            token,
            user,
            kind,
            description,
            secret_sha256,
            expires_at,
            password,
        };
        self.account(caller, command).await
    }

    /// Records that a user was given a refresh token for a password, which must still be theirs: a new password ends
    /// what was given for the old one, and must not come before it.
    ///
    /// # Errors
    /// As [`Registry::issue_access_token`]; [`Error::Invalid`] also where the user has another password by now.
    pub async fn issue_refresh_token(
        &self,
        caller: &Caller,
        token: TokenId,
        user: UserName,
        password: PasswordHash,
        description: String,
        secret_sha256: [u8; 32],
        expires_at: Timestamp,
    ) -> Result<()> {
        let (kind, password, expires_at) = (TokenKind::Refresh, Some(password), Some(expires_at));
        let command = AccountCommand::IssueToken {
            token,
            user,
            kind,
            description,
            secret_sha256,
            expires_at,
            password,
        };
        self.account(caller, command).await
    }

    /// Takes a token back.
    ///
    /// # Errors
    /// [`Error::TokenUnknown`], and those of a commit.
    pub async fn revoke_token(&self, caller: &Caller, token: TokenId) -> Result<()> {
        self.account(caller, AccountCommand::RevokeToken { token }).await
    }

    /// Records when tokens were last used. Those that are gone are passed over.
    ///
    /// # Errors
    /// Those of a commit.
    pub async fn record_token_uses(&self, caller: &Caller, uses: Vec<TokenUse>) -> Result<()> {
        self.account(caller, AccountCommand::RecordTokenUses { uses }).await
    }

    /// Takes away tokens that ended by themselves, a thousand at a time.
    ///
    /// # Errors
    /// Those of a commit.
    pub async fn remove_ended_tokens(&self, caller: &Caller) -> Result<()> {
        self.account(caller, AccountCommand::RemoveEndedTokens).await
    }

    /// Lets somebody do something somewhere, in place of what was allowed there.
    ///
    /// # Errors
    /// [`Error::UserUnknown`], [`Error::GroupUnknown`], [`Error::Invalid`] for no actions, and those of a commit.
    pub async fn set_permission(&self, caller: &Caller, grant: Grant, actions: Actions) -> Result<()> {
        self.account(caller, AccountCommand::SetPermission { grant, actions }).await
    }

    /// Takes a permission away.
    ///
    /// # Errors
    /// [`Error::PermissionUnknown`], and those of a commit.
    pub async fn remove_permission(&self, caller: &Caller, grant: Grant) -> Result<()> {
        self.account(caller, AccountCommand::RemovePermission { grant }).await
    }

    /// Brings a user to these settings, all at once. `make`: also one that is not there.
    ///
    /// # Errors
    /// [`Error::UserUnknown`], [`Error::GroupUnknown`], [`Error::LastAdministrator`]; [`Error::Invalid`] for an address that
    /// is none, and for a service account's password; those of a commit.
    pub async fn save_user(
        &self,
        caller: &Caller,
        user: UserName,
        make: bool,
        settings: UserSettings,
    ) -> Result<()> {
        self.account(caller, AccountCommand::SaveUser { user, make, settings }).await
    }

    /// Brings a group to these settings, all at once. `make`: also one that is not there.
    ///
    /// # Errors
    /// [`Error::GroupUnknown`], [`Error::UserUnknown`], [`Error::Invalid`], and those of a commit.
    pub async fn save_group(
        &self,
        caller: &Caller,
        group: GroupName,
        make: bool,
        settings: GroupSettings,
    ) -> Result<()> {
        self.account(caller, AccountCommand::SaveGroup { group, make, settings }).await
    }

    /// Makes a permission target, or has it say something else.
    ///
    /// # Errors
    /// [`Error::UserUnknown`], [`Error::GroupUnknown`]; [`Error::Invalid`] for too many patterns; those of a commit.
    pub async fn set_permission_target(
        &self,
        caller: &Caller,
        target: PermissionTargetName,
        permissions: PermissionTarget,
    ) -> Result<()> {
        self.account(caller, AccountCommand::SetPermissionTarget { target, permissions }).await
    }

    /// Takes a permission target away.
    ///
    /// # Errors
    /// [`Error::PermissionTargetUnknown`], and those of a commit.
    pub async fn remove_permission_target(
        &self,
        caller: &Caller,
        target: PermissionTargetName,
    ) -> Result<()> {
        self.account(caller, AccountCommand::RemovePermissionTarget { target }).await
    }

    /// Moves whenever a user, group, token, permission or repository changed. What was read after asking is at least as new.
    pub fn accounts_epoch(&self) -> u64 {
        self.accounts_epoch.load(Ordering::Acquire)
    }

    fn all<T: Tracked>(&self, prefix: &[u8]) -> Result<Vec<(T::Key, T::Row)>> {
        let mut found = Vec::new();
        self.snapshot()?
            .visit::<T>(prefix, &prefix_end(prefix), |key, row| {
                found.push((key, row));
                true
            })
            .map_err(Error::internal)?;
        Ok(found)
    }

    /// A user.
    ///
    /// # Errors
    /// Storage errors.
    pub fn user(&self, name: &UserName) -> Result<Option<User>> {
        self.snapshot()?.get::<Users>(name).map_err(Error::internal)
    }

    /// All users, by name.
    ///
    /// # Errors
    /// Storage errors.
    pub fn users(&self) -> Result<Vec<(UserName, User)>> {
        self.all::<Users>(&prefix::users())
    }

    /// All groups, by name.
    ///
    /// # Errors
    /// Storage errors.
    pub fn groups(&self) -> Result<Vec<(GroupName, GroupRow)>> {
        self.all::<Groups>(&prefix::groups())
    }

    /// A group.
    ///
    /// # Errors
    /// Storage errors.
    pub fn group(&self, name: &GroupName) -> Result<Option<GroupRow>> {
        self.snapshot()?.get::<Groups>(name).map_err(Error::internal)
    }

    /// The members of a group.
    ///
    /// # Errors
    /// [`Error::GroupUnknown`].
    pub fn members(&self, group: &GroupName) -> Result<Vec<UserName>> {
        if self.snapshot()?.get::<Groups>(group).map_err(Error::internal)?.is_none() {
            return Err(Error::GroupUnknown(group.clone()));
        }
        Ok(self.all::<Members>(&prefix::members(group))?.into_iter().map(|((_, user), ())| user).collect())
    }

    /// The groups that a user is in.
    ///
    /// # Errors
    /// Storage errors.
    pub fn groups_of(&self, user: &UserName) -> Result<Vec<GroupName>> {
        let all = self.all::<Memberships>(&prefix::memberships(user))?;
        Ok(all.into_iter().map(|((_, group), ())| group).collect())
    }

    /// A token.
    ///
    /// # Errors
    /// Storage errors.
    pub fn token(&self, id: TokenId) -> Result<Option<Token>> {
        self.snapshot()?.get::<Tokens>(&id).map_err(Error::internal)
    }

    /// The tokens of a user, the oldest first.
    ///
    /// # Errors
    /// [`Error::UserUnknown`].
    pub fn tokens_of(&self, user: &UserName) -> Result<Vec<(TokenId, Token)>> {
        let snapshot = self.snapshot()?;
        if snapshot.get::<Users>(user).map_err(Error::internal)?.is_none() {
            return Err(Error::UserUnknown(user.clone()));
        }
        let mut found = Vec::new();
        for ((_, id), ()) in self.all::<TokensOf>(&prefix::tokens_of(user))? {
            // Revoked since the ids were read.
            let Some(token) = snapshot.get::<Tokens>(&id).map_err(Error::internal)? else { continue };
            found.push((id, token));
        }
        Ok(found)
    }

    /// All permission targets, by name.
    ///
    /// # Errors
    /// Storage errors.
    pub fn permission_targets(&self) -> Result<Vec<(PermissionTargetName, PermissionTarget)>> {
        self.all::<PermissionTargets>(&prefix::permission_targets())
    }

    /// A permission target.
    ///
    /// # Errors
    /// [`Error::PermissionTargetUnknown`].
    pub fn permission_target(&self, name: &PermissionTargetName) -> Result<PermissionTarget> {
        let found = self.snapshot()?.get::<PermissionTargets>(name).map_err(Error::internal)?;
        found.ok_or_else(|| Error::PermissionTargetUnknown(name.clone()))
    }

    /// All permissions, by whom they are given to.
    ///
    /// # Errors
    /// Storage errors.
    pub fn permissions(&self) -> Result<Vec<Permission>> {
        let all = self.all::<Permissions>(&prefix::permissions())?;
        Ok(all.into_iter().map(|(grant, actions)| Permission { grant, actions }).collect())
    }
}
