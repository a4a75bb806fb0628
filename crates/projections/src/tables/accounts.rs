//! The tables of accounts: users, groups, tokens, permissions, and what each is found by.

use serde::{Deserialize, Serialize};
use supercargo_model::account::{
    Actions, Grant, Grantee, GroupName, PermissionTarget, PermissionTargetName, Token, TokenId, User,
    UserName,
};
use supercargo_model::{Pattern, Timestamp};

use super::{Table, number};
use crate::codec::{KeyReader, KeyWriter};

/// A group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupRow {
    /// What it is for, in its owner's words.
    pub description: String,
    /// When it was made.
    pub created_at: Timestamp,
}

table! {
    /// Users by name.
    Users "users": UserName => User,
    write(key, out) { out.push(number::USERS); out.text(key.as_str()) },
    read(r) { r.expect(number::USERS)?; UserName::parse(r.text()?).ok()? }
}

table! {
    /// Users who are administrators and not disabled: there is always one, once there is any.
    Administrators "administrators": UserName => (),
    write(key, out) { out.push(number::ADMINISTRATORS); out.text(key.as_str()) },
    read(r) { r.expect(number::ADMINISTRATORS)?; UserName::parse(r.text()?).ok()? }
}

table! {
    /// Groups by name.
    Groups "groups": GroupName => GroupRow,
    write(key, out) { out.push(number::GROUPS); out.text(key.as_str()) },
    read(r) { r.expect(number::GROUPS)?; GroupName::parse(r.text()?).ok()? }
}

table! {
    /// The members of each group.
    Members "members": (GroupName, UserName) => (),
    write(key, out) { out.push(number::MEMBERS); out.text(key.0.as_str()); out.text(key.1.as_str()) },
    read(r) {
        r.expect(number::MEMBERS)?;
        (GroupName::parse(r.text()?).ok()?, UserName::parse(r.text()?).ok()?)
    }
}

table! {
    /// The groups of each user.
    Memberships "memberships": (UserName, GroupName) => (),
    write(key, out) { out.push(number::MEMBERSHIPS); out.text(key.0.as_str()); out.text(key.1.as_str()) },
    read(r) {
        r.expect(number::MEMBERSHIPS)?;
        (UserName::parse(r.text()?).ok()?, GroupName::parse(r.text()?).ok()?)
    }
}

table! {
    /// Tokens by id.
    Tokens "tokens": TokenId => Token,
    write(key, out) { out.push(number::TOKENS); out.extend_from_slice(key.as_bytes()) },
    read(r) { r.expect(number::TOKENS)?; r.uuid()? }
}

table! {
    /// The tokens of each user. Ids are in the order of issue.
    TokensOf "tokens by user": (UserName, TokenId) => (),
    write(key, out) {
        out.push(number::TOKENS_OF);
        out.text(key.0.as_str());
        out.extend_from_slice(key.1.as_bytes());
    },
    read(r) { r.expect(number::TOKENS_OF)?; (UserName::parse(r.text()?).ok()?, r.uuid()?) }
}

table! {
    /// Tokens that end by themselves, by when.
    TokensByExpiry "tokens by expiry": (Timestamp, TokenId) => (),
    write(key, out) {
        out.push(number::TOKENS_BY_EXPIRY);
        out.time(key.0);
        out.extend_from_slice(key.1.as_bytes());
    },
    read(r) { r.expect(number::TOKENS_BY_EXPIRY)?; (r.time()?, r.uuid()?) }
}

table! {
    /// Permissions by whom they are given to.
    Permissions "permissions": Grant => Actions,
    write(key, out) {
        out.push(number::PERMISSIONS);
        grantee(&key.grantee, out);
        out.text(key.repositories.as_str());
        out.text(key.names.as_str());
    },
    read(r) {
        r.expect(number::PERMISSIONS)?;
        let grantee = match r.byte()? {
            0 => Grantee::Anonymous,
            1 => Grantee::User(UserName::parse(r.text()?).ok()?),
            2 => Grantee::Group(GroupName::parse(r.text()?).ok()?),
            _ => return None,
        };
        Grant {
            grantee,
            repositories: Pattern::parse(r.text()?).ok()?,
            names: Pattern::parse(r.text()?).ok()?,
        }
    }
}

table! {
    /// Permission targets by name.
    PermissionTargets "permission targets": PermissionTargetName => PermissionTarget,
    write(key, out) { out.push(number::PERMISSION_TARGETS); out.text(key.as_str()) },
    read(r) { r.expect(number::PERMISSION_TARGETS)?; PermissionTargetName::parse(r.text()?).ok()? }
}

fn grantee(grantee: &Grantee, out: &mut Vec<u8>) {
    match grantee {
        Grantee::Anonymous => out.push(0),
        Grantee::User(name) => {
            out.push(1);
            out.text(name.as_str());
        }
        Grantee::Group(name) => {
            out.push(2);
            out.text(name.as_str());
        }
    }
}

/// What the keys of things that belong together begin with.
pub(super) mod prefix {
    use super::{Grantee, GroupName, KeyWriter, UserName, number};

    /// All users.
    pub fn users() -> Vec<u8> {
        vec![number::USERS]
    }

    /// All administrators.
    pub fn administrators() -> Vec<u8> {
        vec![number::ADMINISTRATORS]
    }

    /// All groups.
    pub fn groups() -> Vec<u8> {
        vec![number::GROUPS]
    }

    /// The members of a group.
    pub fn members(group: &GroupName) -> Vec<u8> {
        let mut out = vec![number::MEMBERS];
        out.text(group.as_str());
        out
    }

    /// The groups of a user.
    pub fn memberships(user: &UserName) -> Vec<u8> {
        let mut out = vec![number::MEMBERSHIPS];
        out.text(user.as_str());
        out
    }

    /// The tokens of a user.
    pub fn tokens_of(user: &UserName) -> Vec<u8> {
        let mut out = vec![number::TOKENS_OF];
        out.text(user.as_str());
        out
    }

    /// All tokens that end by themselves, the first to end first.
    pub fn tokens_by_expiry() -> Vec<u8> {
        vec![number::TOKENS_BY_EXPIRY]
    }

    /// All permissions.
    pub fn permissions() -> Vec<u8> {
        vec![number::PERMISSIONS]
    }

    /// All permission targets.
    pub fn permission_targets() -> Vec<u8> {
        vec![number::PERMISSION_TARGETS]
    }

    /// The permissions that are given to somebody.
    pub fn permissions_of(grantee: &Grantee) -> Vec<u8> {
        let mut out = vec![number::PERMISSIONS];
        super::grantee(grantee, &mut out);
        out
    }
}
