//! What is said about users, groups, tokens and permissions.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use supercargo_model::account::{
    Actions, Grant, Grantee, GroupName, Permission, Token, TokenId, TokenKind, User, UserName,
};
use supercargo_model::{Pattern, Timestamp};

/// A text type as its text.
mod as_text {
    use std::borrow::Cow;
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<T: Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(super) fn deserialize<'de, T, D>(deserializer: D) -> Result<T, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        Cow::<'de, str>::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// A user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserInfo {
    /// Its name.
    pub name: UserName,
    /// Whether it is a service account.
    pub service: bool,
    /// Whether it may do everything.
    pub administrator: bool,
    /// Whether it is locked out.
    pub disabled: bool,
    /// Whether it can log in with a password.
    pub password: bool,
    /// The groups that it is in.
    pub groups: Vec<GroupName>,
    /// When it was made.
    pub created_at: Timestamp,
}

impl UserInfo {
    pub(crate) fn new(name: UserName, user: &User, groups: Vec<GroupName>) -> UserInfo {
        UserInfo {
            name,
            service: user.service,
            administrator: user.administrator,
            disabled: user.disabled,
            password: user.password.is_some(),
            groups,
            created_at: user.created_at,
        }
    }
}

/// A user to be made.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NewUser {
    /// Whether it is a service account.
    pub service: bool,
    /// Whether it may do everything.
    pub administrator: bool,
    /// Its password, 8 characters at least, 1024 bytes at most. Without one it can't log in with a password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
}

/// What a user should be instead; what is not said stays.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UserChange {
    /// Whether it may do everything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub administrator: Option<bool>,
    /// Whether it is locked out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
}

/// Another password, or none.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewPassword {
    /// The password, 8 characters at least, 1024 bytes at most; `null` takes it away.
    pub password: Option<String>,
}

/// How users are taken over from an htpasswd file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ImportParameters {
    /// Whether users that are there already get the file's password.
    pub replace: bool,
    /// Whether nothing is changed, and only said what would be.
    pub dry_run: bool,
}

/// What became of an htpasswd file, or would: each user and each line is in one of the lists, in the file's order.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ImportReport {
    /// Whether nothing was changed.
    pub dry_run: bool,
    /// Users that were made.
    pub created: Vec<UserName>,
    /// Users that were there, and got the file's password.
    pub replaced: Vec<UserName>,
    /// Users that were there, and stay as they are.
    pub skipped: Vec<UserName>,
    /// Lines that can't be taken over.
    pub refused: Vec<RefusedLine>,
}

/// A line of an htpasswd file that can't be taken over. Shows nothing of a hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedLine {
    /// The line, counted from one.
    pub line: usize,
    /// Why.
    pub reason: String,
}

/// A group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupInfo {
    /// Its name.
    pub name: GroupName,
    /// What it is for.
    pub description: String,
    /// Who is in it.
    pub members: Vec<UserName>,
    /// When it was made.
    pub created_at: Timestamp,
}

/// A group to be made.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NewGroup {
    /// What it is for.
    pub description: String,
}

/// A token, without what only its holder knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenInfo {
    /// Its id, which is also the first part of what its holder has.
    pub id: TokenId,
    /// Whose it is.
    pub user: UserName,
    /// What it is for.
    pub kind: TokenKind,
    /// What its owner calls it.
    pub description: String,
    /// When it was given.
    pub issued_at: Timestamp,
    /// From when on it is not taken.
    pub expires_at: Option<Timestamp>,
    /// When it was last used, to within some minutes.
    pub used_at: Option<Timestamp>,
}

impl TokenInfo {
    pub(crate) fn new(id: TokenId, token: Token) -> TokenInfo {
        TokenInfo {
            id,
            user: token.user,
            kind: token.kind,
            description: token.description,
            issued_at: token.issued_at,
            expires_at: token.expires_at,
            used_at: token.used_at,
        }
    }
}

/// A token to be given.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NewToken {
    /// What its owner calls it.
    pub description: String,
    /// For how many seconds it is taken; for ever, where it is not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<u64>,
}

impl NewToken {
    /// How long it is taken.
    pub fn lasts(&self) -> Option<Duration> {
        self.expires_in.map(Duration::from_secs)
    }
}

/// A token that was given. Its secret is shown this once.
#[derive(Clone, Serialize, Deserialize)]
pub struct IssuedToken {
    /// What may be known of it.
    #[serde(flatten)]
    pub token: TokenInfo,
    /// What its holder sends in place of a password.
    pub secret: String,
}

/// Who may do what, where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PermissionInfo {
    /// Who and where.
    #[serde(flatten)]
    pub about: GrantInfo,
    /// What: `read`, `write`, `delete`, `manage`, with commas between.
    #[serde(with = "as_text")]
    pub actions: Actions,
}

impl From<Permission> for PermissionInfo {
    fn from(permission: Permission) -> PermissionInfo {
        let Grant { grantee, repositories, names } = permission.grant;
        PermissionInfo { about: GrantInfo { grantee, repositories, names }, actions: permission.actions }
    }
}

/// What a permission is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantInfo {
    /// `anonymous`, `user:NAME` or `group:NAME`.
    #[serde(with = "as_text")]
    pub grantee: Grantee,
    /// Keys of repositories.
    pub repositories: Pattern,
    /// Names in them.
    pub names: Pattern,
}

impl From<GrantInfo> for Grant {
    fn from(about: GrantInfo) -> Grant {
        Grant { grantee: about.grantee, repositories: about.repositories, names: about.names }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permission_is_said_in_words() {
        let json = serde_json::json!({
            "grantee": "group:builders", "repositories": "docker-*", "names": "team-a/**", "actions": "read,write",
        });
        let permission: PermissionInfo = serde_json::from_value(json.clone()).unwrap();
        assert_eq!(serde_json::to_value(&permission).unwrap(), json);
        for (field, bad) in [("grantee", "builders"), ("names", "a b"), ("actions", "push")] {
            let mut json = json.clone();
            json[field] = bad.into();
            assert!(serde_json::from_value::<PermissionInfo>(json).is_err(), "{field} {bad}");
        }
    }
}
