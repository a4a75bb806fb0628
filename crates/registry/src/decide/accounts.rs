//! Users, groups, tokens and permissions.
//!
//! What belongs to a user or a group goes before it does, thing by thing, so that each is found in the log by
//! its own name. There is always an administrator, once there is any.

use supercargo_eventlog::Event;
use supercargo_eventlog::event::TokenUse;
use supercargo_model::account::{
    Grant, Grantee, GroupName, PasswordHash, TokenId, TokenKind, User, UserName,
};
use supercargo_model::{Timestamp, limits};
use supercargo_projections::Rows;
use supercargo_projections::tables::{
    Administrators, Groups, Members, Memberships, Permissions, Tokens, TokensByExpiry, TokensOf, Users,
    prefix,
};

use crate::command::AccountCommand;
use crate::{Error, Result};

/// Tokens that ended by themselves and are taken away by one command.
const ENDED_MAX: usize = 1000;

pub(super) fn decide(view: &mut impl Rows, command: &AccountCommand, now: Timestamp) -> Result<Vec<Event>> {
    match command {
        AccountCommand::CreateUser { user, service, administrator, password } => {
            create_user(view, user, *service, *administrator, password.as_ref())
        }
        AccountCommand::ChangeUser { user, administrator, disabled } => {
            change_user(view, user, *administrator, *disabled)
        }
        AccountCommand::SetPassword { user, password } => set_password(view, user, password.as_ref()),
        AccountCommand::UpgradePassword { user: name, replaces, hash } => {
            let known = user(view, name)?;
            let same = known.password.as_ref() == Some(replaces);
            let event = Event::PasswordSet { user: name.clone(), password: Some(hash.clone()) };
            Ok(if same { vec![event] } else { Vec::new() })
        }
        AccountCommand::RemoveUser { user } => remove_user(view, user),
        AccountCommand::CreateGroup { group, description } => create_group(view, group, description),
        AccountCommand::RemoveGroup { group } => remove_group(view, group),
        AccountCommand::AddMember { group, user } => add_member(view, group, user),
        AccountCommand::RemoveMember { group, user } => remove_member(view, group, user),
        AccountCommand::IssueToken {
            token,
            user,
            kind,
            description,
            secret_sha256,
            expires_at,
            password,
        } => {
            let mut events = room_for_token(view, user, *kind, password.as_ref())?;
            text(description)?;
            events.push(Event::TokenIssued {
                token: *token,
                user: user.clone(),
                token_kind: *kind,
                description: description.clone(),
                secret_sha256: *secret_sha256,
                expires_at: *expires_at,
            });
            Ok(events)
        }
        AccountCommand::RevokeToken { token } => revoke_token(view, *token),
        AccountCommand::RecordTokenUses { uses } => Ok(record_uses(view, uses)),
        AccountCommand::RemoveEndedTokens => Ok(remove_ended(view, now)),
        AccountCommand::SetPermission { grant, actions } => {
            grantee(view, &grant.grantee)?;
            if actions.is_empty() {
                return Err(Error::Invalid("a permission to do nothing is none: remove it".to_owned()));
            }
            if view.row::<Permissions>(grant) == Some(*actions) {
                return Ok(Vec::new());
            }
            Ok(vec![Event::PermissionSet { grant: grant.clone(), actions: *actions }])
        }
        AccountCommand::RemovePermission { grant } => match view.row::<Permissions>(grant) {
            Some(_) => Ok(vec![Event::PermissionRemoved { grant: grant.clone() }]),
            None => Err(Error::PermissionUnknown),
        },
    }
}

fn user(view: &mut impl Rows, name: &UserName) -> Result<User> {
    view.row::<Users>(name).ok_or_else(|| Error::UserUnknown(name.clone()))
}

fn group(view: &mut impl Rows, name: &GroupName) -> Result<()> {
    view.row::<Groups>(name).map(|_| ()).ok_or_else(|| Error::GroupUnknown(name.clone()))
}

fn grantee(view: &mut impl Rows, grantee: &Grantee) -> Result<()> {
    match grantee {
        Grantee::Anonymous => Ok(()),
        Grantee::User(name) => user(view, name).map(|_| ()),
        Grantee::Group(name) => group(view, name),
    }
}

fn text(text: &str) -> Result<()> {
    if text.len() > limits::DESCRIPTION_BYTES_MAX || text.contains(char::is_control) {
        let message = format!(
            "a description is at most {} bytes without control characters",
            limits::DESCRIPTION_BYTES_MAX
        );
        return Err(Error::Invalid(message));
    }
    Ok(())
}

fn without_password(service: bool, password: Option<&PasswordHash>) -> Result<()> {
    if service && password.is_some() {
        let message = "a service account has tokens and no password";
        return Err(Error::Invalid(message.to_owned()));
    }
    Ok(())
}

fn create_user(
    view: &mut impl Rows,
    name: &UserName,
    service: bool,
    administrator: bool,
    password: Option<&PasswordHash>,
) -> Result<Vec<Event>> {
    if view.row::<Users>(name).is_some() {
        return Err(Error::UserExists(name.clone()));
    }
    without_password(service, password)?;
    Ok(vec![Event::UserCreated { user: name.clone(), service, administrator, password: password.cloned() }])
}

fn change_user(
    view: &mut impl Rows,
    name: &UserName,
    administrator: Option<bool>,
    disabled: Option<bool>,
) -> Result<Vec<Event>> {
    let known = user(view, name)?;
    let administrator = administrator.unwrap_or(known.administrator);
    let disabled = disabled.unwrap_or(known.disabled);
    if (administrator, disabled) == (known.administrator, known.disabled) {
        return Ok(Vec::new());
    }
    if !administrator || disabled {
        not_the_last_administrator(view, name)?;
    }
    Ok(vec![Event::UserChanged { user: name.clone(), administrator, disabled }])
}

/// # Errors
/// [`Error::LastAdministrator`], where nobody else is one.
fn not_the_last_administrator(view: &mut impl Rows, name: &UserName) -> Result<()> {
    if view.row::<Administrators>(name).is_some()
        && view.scan_prefix::<Administrators>(&prefix::administrators(), None, 2).len() < 2
    {
        return Err(Error::LastAdministrator(name.clone()));
    }
    Ok(())
}

fn set_password(
    view: &mut impl Rows,
    name: &UserName,
    password: Option<&PasswordHash>,
) -> Result<Vec<Event>> {
    let known = user(view, name)?;
    without_password(known.service, password)?;
    // Whoever was logged in with the old one has to log in again.
    let mut events = tokens(view, name, Some(TokenKind::Refresh));
    if known.password.as_ref() != password {
        events.push(Event::PasswordSet { user: name.clone(), password: password.cloned() });
    }
    Ok(events)
}

/// The revocation of a user's tokens.
fn tokens(view: &mut impl Rows, name: &UserName, kind: Option<TokenKind>) -> Vec<Event> {
    let all = view.scan_prefix::<TokensOf>(&prefix::tokens_of(name), None, usize::MAX);
    all.into_iter()
        .map(|((_, token), ())| token)
        .filter(|token| {
            kind.is_none() || view.row::<Tokens>(token).is_some_and(|token| Some(token.kind) == kind)
        })
        .map(|token| Event::TokenRevoked { token, user: name.clone() })
        .collect()
}

fn permissions(view: &mut impl Rows, grantee: &Grantee) -> Vec<Event> {
    let all = view.scan_prefix::<Permissions>(&prefix::permissions_of(grantee), None, usize::MAX);
    all.into_iter().map(|(grant, _): (Grant, _)| Event::PermissionRemoved { grant }).collect()
}

fn remove_user(view: &mut impl Rows, name: &UserName) -> Result<Vec<Event>> {
    user(view, name)?;
    not_the_last_administrator(view, name)?;
    let mut events = tokens(view, name, None);
    let groups = view.scan_prefix::<Memberships>(&prefix::memberships(name), None, usize::MAX);
    events.extend(
        groups.into_iter().map(|((_, group), ())| Event::MemberRemoved { group, user: name.clone() }),
    );
    events.extend(permissions(view, &Grantee::User(name.clone())));
    events.push(Event::UserRemoved { user: name.clone() });
    Ok(events)
}

fn create_group(view: &mut impl Rows, name: &GroupName, description: &str) -> Result<Vec<Event>> {
    if view.row::<Groups>(name).is_some() {
        return Err(Error::GroupExists(name.clone()));
    }
    text(description)?;
    Ok(vec![Event::GroupCreated { group: name.clone(), description: description.to_owned() }])
}

fn remove_group(view: &mut impl Rows, name: &GroupName) -> Result<Vec<Event>> {
    group(view, name)?;
    let members = view.scan_prefix::<Members>(&prefix::members(name), None, usize::MAX);
    let mut events: Vec<Event> =
        members.into_iter().map(|((group, user), ())| Event::MemberRemoved { group, user }).collect();
    events.extend(permissions(view, &Grantee::Group(name.clone())));
    events.push(Event::GroupRemoved { group: name.clone() });
    Ok(events)
}

fn add_member(view: &mut impl Rows, name: &GroupName, member: &UserName) -> Result<Vec<Event>> {
    group(view, name)?;
    user(view, member)?;
    if view.row::<Members>(&(name.clone(), member.clone())).is_some() {
        return Ok(Vec::new());
    }
    Ok(vec![Event::MemberAdded { group: name.clone(), user: member.clone() }])
}

fn remove_member(view: &mut impl Rows, name: &GroupName, member: &UserName) -> Result<Vec<Event>> {
    group(view, name)?;
    if view.row::<Members>(&(name.clone(), member.clone())).is_none() {
        return Err(Error::UserUnknown(member.clone()));
    }
    Ok(vec![Event::MemberRemoved { group: name.clone(), user: member.clone() }])
}

/// Whether a user may have another token. Each login of a client asks for a refresh token, so the oldest of
/// those makes room.
fn room_for_token(
    view: &mut impl Rows,
    name: &UserName,
    kind: TokenKind,
    password: Option<&PasswordHash>,
) -> Result<Vec<Event>> {
    let known = user(view, name)?;
    if known.disabled {
        return Err(Error::Invalid(format!("user {name} is disabled")));
    }
    if password.is_some() && known.password.as_ref() != password {
        return Err(Error::Invalid(format!("user {name} has another password by now: log in with it")));
    }
    let held = view.scan_prefix::<TokensOf>(&prefix::tokens_of(name), None, limits::TOKENS_PER_USER_MAX);
    if held.len() < limits::TOKENS_PER_USER_MAX {
        return Ok(Vec::new());
    }
    let oldest = match kind {
        TokenKind::Access => None,
        TokenKind::Refresh => held
            .into_iter()
            .map(|((_, token), ())| token)
            .find(|token| view.row::<Tokens>(token).is_some_and(|token| token.kind == TokenKind::Refresh)),
    };
    match oldest {
        Some(token) => Ok(vec![Event::TokenRevoked { token, user: name.clone() }]),
        None => Err(Error::Invalid(format!(
            "user {name} has {} tokens, which is the most there may be: revoke some",
            limits::TOKENS_PER_USER_MAX
        ))),
    }
}

fn revoke_token(view: &mut impl Rows, token: TokenId) -> Result<Vec<Event>> {
    let known = view.row::<Tokens>(&token).ok_or(Error::TokenUnknown(token))?;
    Ok(vec![Event::TokenRevoked { token, user: known.user }])
}

fn record_uses(view: &mut impl Rows, uses: &[TokenUse]) -> Vec<Event> {
    let news: Vec<TokenUse> = uses
        .iter()
        .filter(|used| view.row::<Tokens>(&used.token).is_some_and(|token| token.used_at < Some(used.at)))
        .copied()
        .collect();
    if news.is_empty() { Vec::new() } else { vec![Event::TokensUsed { uses: news }] }
}

fn remove_ended(view: &mut impl Rows, now: Timestamp) -> Vec<Event> {
    let ended = view.scan_prefix::<TokensByExpiry>(&prefix::tokens_by_expiry(), None, ENDED_MAX);
    ended
        .into_iter()
        .take_while(|((end, _), ())| *end <= now)
        .filter_map(|((_, token), ())| {
            view.row::<Tokens>(&token).map(|known| Event::TokenRevoked { token, user: known.user })
        })
        .collect()
}

#[cfg(test)]
mod tests;
