//! Users, groups, tokens and permissions.
//!
//! What belongs to a user or a group goes before it does, thing by thing, so that each is found in the log by
//! its own name. There is always an administrator, once there is any.

use std::collections::BTreeSet;

use supercargo_eventlog::Event;
use supercargo_eventlog::event::TokenUse;
use supercargo_model::account::{
    Grant, Grantee, GroupName, PasswordHash, PermissionTarget, PermissionTargetName, TokenId, TokenKind,
    User, UserName,
};
use supercargo_model::{Timestamp, limits};
use supercargo_projections::Rows;
use supercargo_projections::tables::{
    Administrators, Groups, Members, Memberships, PermissionTargets, Permissions, Tokens, TokensByExpiry,
    TokensOf, Users, prefix,
};

use crate::command::{AccountCommand, GroupSettings, UserSettings};
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
        AccountCommand::SaveUser { user, make, settings } => save_user(view, user, *make, settings),
        AccountCommand::SaveGroup { group, make, settings } => save_group(view, group, *make, settings),
        AccountCommand::SetPermissionTarget { target, permissions } => {
            set_permission_target(view, target, permissions)
        }
        AccountCommand::RemovePermissionTarget { target } => match view.row::<PermissionTargets>(target) {
            Some(_) => Ok(vec![Event::PermissionTargetRemoved { target: target.clone() }]),
            None => Err(Error::PermissionTargetUnknown(target.clone())),
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
    events.extend(targets_without(view, |target| target.users.retain(|(user, _)| user != name)));
    events.push(Event::UserRemoved { user: name.clone() });
    Ok(events)
}

/// The change of every permission target that `take` takes somebody out of.
fn targets_without(view: &mut impl Rows, take: impl Fn(&mut PermissionTarget)) -> Vec<Event> {
    let all = view.scan_prefix::<PermissionTargets>(&prefix::permission_targets(), None, usize::MAX);
    let changed = all.into_iter().filter_map(|(target, known)| {
        let mut permissions = known.clone();
        take(&mut permissions);
        (permissions != known).then_some(Event::PermissionTargetSet { target, permissions })
    });
    changed.collect()
}

fn set_permission_target(
    view: &mut impl Rows,
    target: &PermissionTargetName,
    permissions: &PermissionTarget,
) -> Result<Vec<Event>> {
    let patterns = permissions.includes.len() + permissions.excludes.len();
    if patterns > limits::TARGET_PATTERNS_MAX {
        let max = limits::TARGET_PATTERNS_MAX;
        return Err(Error::Invalid(format!(
            "the permission target has {patterns} patterns, and {max} are the most: say more with each, as `**` can"
        )));
    }
    permissions.users.iter().try_for_each(|(name, _)| user(view, name).map(|_| ()))?;
    permissions.groups.iter().try_for_each(|(name, _)| group(view, name))?;
    if view.row::<PermissionTargets>(target).as_ref() == Some(permissions) {
        return Ok(Vec::new());
    }
    Ok(vec![Event::PermissionTargetSet { target: target.clone(), permissions: permissions.clone() }])
}

/// Refuses an address that nobody can be written to at.
fn check_email(email: &str) -> Result<()> {
    let parts = email.split_once('@').is_some_and(|(user, host)| !user.is_empty() && !host.is_empty());
    let plain = !email.chars().any(|c| c.is_control() || c.is_whitespace());
    if parts && plain && email.len() <= limits::EMAIL_BYTES_MAX {
        return Ok(());
    }
    Err(Error::Invalid("an e-mail address is something@somewhere, without spaces".to_owned()))
}

fn save_user(
    view: &mut impl Rows,
    name: &UserName,
    make: bool,
    settings: &UserSettings,
) -> Result<Vec<Event>> {
    let known = view.row::<Users>(name);
    let password = settings.password.as_ref();
    let mut events = match &known {
        None if !make => return Err(Error::UserUnknown(name.clone())),
        None => {
            let administrator = settings.administrator.unwrap_or_default();
            let mut events =
                create_user(view, name, false, administrator, password.and_then(Option::as_ref))?;
            if settings.disabled == Some(true) {
                events.push(Event::UserChanged { user: name.clone(), administrator, disabled: true });
            }
            events
        }
        Some(_) => {
            let mut events = change_user(view, name, settings.administrator, settings.disabled)?;
            if let Some(password) = password {
                events.extend(set_password(view, name, password.as_ref())?);
            }
            events
        }
    };
    let known_email = known.and_then(|user| user.email);
    if let Some(email) = settings.email.as_ref().filter(|email| **email != known_email) {
        email.as_deref().map_or(Ok(()), check_email)?;
        events.push(Event::UserDescribed { user: name.clone(), email: email.clone() });
    }
    if let Some(wanted) = &settings.groups {
        wanted.iter().try_for_each(|name| group(view, name))?;
        let present = view.scan_prefix::<Memberships>(&prefix::memberships(name), None, usize::MAX);
        let present = present.into_iter().map(|((_, group), ())| group);
        let (joined, left) = difference(wanted, present.collect());
        let user = || name.clone();
        events.extend(left.into_iter().map(|group| Event::MemberRemoved { group, user: user() }));
        events.extend(joined.into_iter().map(|group| Event::MemberAdded { group, user: user() }));
    }
    Ok(events)
}

fn save_group(
    view: &mut impl Rows,
    name: &GroupName,
    make: bool,
    settings: &GroupSettings,
) -> Result<Vec<Event>> {
    let description = settings.description.as_deref();
    let mut events = match view.row::<Groups>(name) {
        None if !make => return Err(Error::GroupUnknown(name.clone())),
        None => create_group(view, name, description.unwrap_or_default())?,
        Some(known) => match description.filter(|description| *description != known.description) {
            Some(description) => {
                text(description)?;
                vec![Event::GroupDescribed { group: name.clone(), description: description.to_owned() }]
            }
            None => Vec::new(),
        },
    };
    if let Some(wanted) = &settings.members {
        wanted.iter().try_for_each(|name| user(view, name).map(|_| ()))?;
        let present = view.scan_prefix::<Members>(&prefix::members(name), None, usize::MAX);
        let present = present.into_iter().map(|((_, user), ())| user);
        let (joined, left) = difference(wanted, present.collect());
        let group = || name.clone();
        events.extend(left.into_iter().map(|user| Event::MemberRemoved { group: group(), user }));
        events.extend(joined.into_iter().map(|user| Event::MemberAdded { group: group(), user }));
    }
    Ok(events)
}

/// What is wanted and not present, and what is present and not wanted: each once, in order.
fn difference<T: Ord + Clone>(wanted: &[T], present: BTreeSet<T>) -> (Vec<T>, Vec<T>) {
    let wanted: BTreeSet<T> = wanted.iter().cloned().collect();
    let joined = wanted.difference(&present).cloned().collect();
    (joined, present.into_iter().filter(|item| !wanted.contains(item)).collect())
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
    events.extend(targets_without(view, |target| target.groups.retain(|(group, _)| group != name)));
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
