//! Users.

use axum::response::Response;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use supercargo_access::{Credentials, Method};
use supercargo_http::request;
use supercargo_model::account::{GroupName, UserName};
use supercargo_registry::{Error, UserSettings};

use super::{Sent, body, same_name};
use crate::error::{Code, Failure};
use crate::respond::{self, content_type};
use crate::{Asked, Surface};

/// Where every user here is kept.
pub(super) const REALM: &str = "internal";

/// What a client sends of a user.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SentUser {
    name: Option<String>,
    email: Option<String>,
    password: Option<Sent>,
    admin: Option<bool>,
    /// Ours: whether it is locked out.
    disabled: Option<bool>,
    internal_password_disabled: Option<bool>,
    groups: Option<Vec<GroupName>>,
}

/// A change of a password.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SentPasswords {
    user_name: UserName,
    old_password: Sent,
    new_password1: Sent,
    new_password2: Sent,
}

/// `GET api/security/users`
pub(crate) fn list(surface: &Surface, asked: &Asked) -> Result<Response, Failure> {
    let base = request::base_url(&asked.parts);
    let users = surface.registry.users()?.into_iter().map(|(name, _)| {
        let uri = format!("{base}/api/security/users/{name}");
        json!({ "name": name, "uri": uri, "realm": REALM })
    });
    respond::json(StatusCode::OK, content_type::USERS, &users.collect::<Vec<_>>())
}

/// `GET api/security/users/<name>`: of oneself, and for administrators of everybody.
pub(crate) fn get(surface: &Surface, asked: &Asked, name: &UserName) -> Result<Response, Failure> {
    let admitted = &asked.admitted;
    if !admitted.is_administrator() && admitted.identity.name() != Some(name) {
        return Err(admitted.forbidden());
    }
    let user = surface.registry.user(name)?.ok_or_else(|| Error::UserUnknown(name.clone()))?;
    let mut shown = Map::new();
    let mut put = |name: &str, value: Value| shown.insert(name.to_owned(), value);
    put("name", json!(name));
    if let Some(email) = &user.email {
        put("email", json!(email));
    }
    put("admin", json!(user.administrator));
    put("profileUpdatable", json!(true));
    put("disableUIAccess", json!(false));
    put("internalPasswordDisabled", json!(user.password.is_none()));
    put("disabled", json!(user.disabled));
    put("realm", json!(REALM));
    put("groups", json!(surface.registry.groups_of(name)?));
    respond::json(StatusCode::OK, content_type::USER, &shown)
}

/// `PUT api/security/users/<name>`: makes it, or has it be what is sent and nothing else.
pub(crate) async fn put(surface: &Surface, asked: &Asked, name: &UserName) -> Result<Response, Failure> {
    surface.accounts()?;
    let sent: SentUser = body(&asked.body)?;
    let without_password = sent.password.is_none() && sent.internal_password_disabled != Some(true);
    if without_password && surface.registry.user(name)?.is_none() {
        return Err(Failure::invalid("a new user needs a password, or internalPasswordDisabled"));
    }
    let settings = settings(surface, name, sent).await?;
    let settings = UserSettings {
        administrator: settings.administrator.or(Some(false)),
        disabled: settings.disabled.or(Some(false)),
        email: settings.email.or(Some(None)),
        groups: settings.groups.or_else(|| Some(Vec::new())),
        ..settings
    };
    surface.registry.save_user(&asked.admitted.caller, name.clone(), true, settings).await?;
    Ok(respond::text(StatusCode::CREATED, format!("User '{name}' has been saved.")))
}

/// `POST api/security/users/<name>`: what is not sent stays as it is.
pub(crate) async fn update(surface: &Surface, asked: &Asked, name: &UserName) -> Result<Response, Failure> {
    surface.accounts()?;
    let settings = settings(surface, name, body(&asked.body)?).await?;
    surface.registry.save_user(&asked.admitted.caller, name.clone(), false, settings).await?;
    Ok(respond::text(StatusCode::OK, format!("User '{name}' has been updated.")))
}

async fn settings(surface: &Surface, name: &UserName, sent: SentUser) -> Result<UserSettings, Failure> {
    same_name(sent.name.as_deref(), name.as_str())?;
    let password = match (sent.password, sent.internal_password_disabled) {
        (Some(_), Some(true)) => {
            return Err(Failure::invalid(
                "internalPasswordDisabled takes the password away: send one or the other",
            ));
        }
        (Some(Sent(password)), _) => Some(Some(surface.hash(password).await?)),
        (None, Some(true)) => Some(None),
        (None, _) => None,
    };
    Ok(UserSettings {
        administrator: sent.admin,
        disabled: sent.disabled,
        password,
        email: sent.email.map(|email| Some(email).filter(|email| !email.is_empty())),
        groups: sent.groups,
    })
}

/// `DELETE api/security/users/<name>`
pub(crate) async fn delete(surface: &Surface, asked: &Asked, name: &UserName) -> Result<Response, Failure> {
    surface.accounts()?;
    surface.registry.remove_user(&asked.admitted.caller, name.clone()).await?;
    Ok(respond::text(StatusCode::OK, format!("User '{name}' has been removed successfully.")))
}

/// `POST api/security/users/authorization/changePassword`: by whoever knows the old one.
pub(crate) async fn change_password(surface: &Surface, asked: &Asked) -> Result<Response, Failure> {
    let authority = surface.accounts()?;
    let SentPasswords { user_name, old_password, new_password1, new_password2 } = body(&asked.body)?;
    let admitted = &asked.admitted;
    if !admitted.is_administrator() && admitted.identity.name() != Some(&user_name) {
        return Err(admitted.forbidden());
    }
    if new_password1.0.expose() != new_password2.0.expose() {
        return Err(Failure::invalid("the two new passwords differ"));
    }
    let old = Credentials::Basic { user: user_name.to_string(), password: old_password.0 };
    let (from, now) = (request::client(&asked.parts), surface.registry.now());
    let known =
        authority.authenticate(Some(&old), "", from, now).await.map_err(|refused| Failure::from(&refused))?;
    // A token in its place is not the password.
    if known.method != Method::Password {
        return Err(Failure::new(Code::BadCredentials));
    }
    let hash = surface.hash(new_password1.0).await?;
    surface.registry.set_password(&admitted.caller, user_name, Some(hash)).await?;
    Ok(respond::text(StatusCode::OK, "Password has been successfully changed"))
}

/// `GET api/security/encryptedPassword`: what is kept of passwords is no secret that could stand in for one.
pub(crate) fn encrypted_password() -> Failure {
    let message =
        "passwords are not encrypted here: use an access token in place of one (POST api/security/token)";
    Failure::new(Code::NotFound).message(message)
}
