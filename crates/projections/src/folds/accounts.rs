//! Accounts: users, groups and who is in them, tokens, permissions.
//!
//! What belongs to a user or a group is taken away by records of its own before it is gone, so no fold has to
//! look for it.

use supercargo_model::Timestamp;
use supercargo_model::account::{Actions, Grant, GroupName, PasswordHash, Token, TokenId, User, UserName};

use crate::tables::{
    Administrators, GroupRow, Groups, Members, Memberships, Permissions, Tokens, TokensByExpiry, TokensOf,
    Users,
};
use crate::working::{Base, Working};

pub(super) fn user_created<B: Base>(
    state: &mut Working<B>,
    name: &UserName,
    service: bool,
    administrator: bool,
    password: Option<&PasswordHash>,
    at: Timestamp,
) {
    let user = User {
        service,
        administrator,
        disabled: false,
        password: password.cloned(),
        email: None,
        created_at: at,
    };
    state.put::<Users>(name, user);
    count_administrator(state, name, administrator);
}

pub(super) fn user_changed<B: Base>(
    state: &mut Working<B>,
    name: &UserName,
    administrator: bool,
    disabled: bool,
) {
    let known = state.update::<Users, _>(name, |row| {
        if let Some(user) = row {
            (user.administrator, user.disabled) = (administrator, disabled);
        }
        row.is_some()
    });
    count_administrator(state, name, known && administrator && !disabled);
}

fn count_administrator<B: Base>(state: &mut Working<B>, name: &UserName, is_one: bool) {
    if is_one {
        state.put::<Administrators>(name, ());
    } else {
        state.remove::<Administrators>(name);
    }
}

pub(super) fn password_set<B: Base>(
    state: &mut Working<B>,
    name: &UserName,
    password: Option<&PasswordHash>,
) {
    state.update::<Users, _>(name, |row| {
        if let Some(user) = row {
            user.password = password.cloned();
        }
    });
}

pub(super) fn user_described<B: Base>(state: &mut Working<B>, name: &UserName, email: Option<&str>) {
    state.update::<Users, _>(name, |row| {
        if let Some(user) = row {
            user.email = email.map(str::to_owned);
        }
    });
}

pub(super) fn user_removed<B: Base>(state: &mut Working<B>, name: &UserName) {
    state.remove::<Users>(name);
    state.remove::<Administrators>(name);
}

pub(super) fn group_created<B: Base>(
    state: &mut Working<B>,
    name: &GroupName,
    description: &str,
    at: Timestamp,
) {
    state.put::<Groups>(name, GroupRow { description: description.to_owned(), created_at: at });
}

pub(super) fn group_described<B: Base>(state: &mut Working<B>, name: &GroupName, description: &str) {
    state.update::<Groups, _>(name, |row| {
        if let Some(group) = row {
            description.clone_into(&mut group.description);
        }
    });
}

pub(super) fn group_removed<B: Base>(state: &mut Working<B>, name: &GroupName) {
    state.remove::<Groups>(name);
}

pub(super) fn member_added<B: Base>(state: &mut Working<B>, group: &GroupName, user: &UserName) {
    state.put::<Members>(&(group.clone(), user.clone()), ());
    state.put::<Memberships>(&(user.clone(), group.clone()), ());
}

pub(super) fn member_removed<B: Base>(state: &mut Working<B>, group: &GroupName, user: &UserName) {
    state.remove::<Members>(&(group.clone(), user.clone()));
    state.remove::<Memberships>(&(user.clone(), group.clone()));
}

pub(super) fn token_issued<B: Base>(state: &mut Working<B>, id: TokenId, token: Token) {
    // An id that is used again, which no log of ours says, is the later token's alone.
    token_revoked(state, id);
    state.put::<TokensOf>(&(token.user.clone(), id), ());
    if let Some(end) = token.expires_at {
        state.put::<TokensByExpiry>(&(end, id), ());
    }
    state.put::<Tokens>(&id, token);
}

pub(super) fn token_revoked<B: Base>(state: &mut Working<B>, id: TokenId) {
    let Some(token) = state.get::<Tokens>(&id) else { return };
    let (user, end) = (token.user.clone(), token.expires_at);
    state.remove::<TokensOf>(&(user, id));
    if let Some(end) = end {
        state.remove::<TokensByExpiry>(&(end, id));
    }
    state.remove::<Tokens>(&id);
}

pub(super) fn token_used<B: Base>(state: &mut Working<B>, id: TokenId, at: Timestamp) {
    state.update::<Tokens, _>(&id, |row| {
        if let Some(token) = row {
            token.used_at = token.used_at.max(Some(at));
        }
    });
}

pub(super) fn permission_set<B: Base>(state: &mut Working<B>, grant: &Grant, actions: Actions) {
    state.put::<Permissions>(grant, actions);
}

pub(super) fn permission_removed<B: Base>(state: &mut Working<B>, grant: &Grant) {
    state.remove::<Permissions>(grant);
}
