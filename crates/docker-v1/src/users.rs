//! Logging in (the V1 specification, 3.5). Users are made by administrators: here one can find out whether a name and a
//! password are right, and change one's password.

use axum::response::Response;
use http::StatusCode;
use http::request::Parts;
use serde::Deserialize;
use supercargo_access::{Credentials, Method, Secret};
use supercargo_eventlog::{Actor, Api};
use supercargo_http::{accounts, request, response};
use supercargo_model::account::UserName;

use crate::error::{Code, Failure};
use crate::token::Sent;
use crate::{Surface, base};

/// What makes docker ask whether the password is right. It compares the whole body.
const TAKEN: &str = "\"Username or email already exists\"";

/// What a client sends of a user. Other members mean nothing here.
#[derive(Default, Deserialize)]
struct SentUser {
    username: Option<String>,
    password: Option<String>,
}

/// `GET /v1/users/`: whether a name and a password are right.
pub(crate) async fn log_in(surface: &Surface, parts: &Parts) -> Result<Response, Failure> {
    if let Some(authority) = &surface.settings.authority {
        let credentials = basic(surface, parts)?;
        surface.login(authority, parts, Some(&credentials)).await?;
    }
    Ok(base::ok())
}

/// `POST /v1/users/`, by which clients would make a user, and which they take for a login. None is made: whoever is
/// right is told that the name is taken, which sends clients on to [`log_in`].
pub(crate) async fn register(surface: &Surface, parts: &Parts, sent: &[u8]) -> Result<Response, Failure> {
    let Some(authority) = &surface.settings.authority else { return Ok(taken()) };
    let sent: SentUser = serde_json::from_slice(sent).map_err(|_| Failure::new(Code::ImageJsonInvalid))?;
    let (Some(user), Some(password)) = (sent.username, sent.password.map(Secret::new)) else {
        return Err(surface.challenged(Failure::new(Code::Unauthorized)));
    };
    surface.login(authority, parts, Some(&Credentials::Basic { user, password })).await?;
    Ok(taken())
}

fn taken() -> Response {
    response::json(StatusCode::BAD_REQUEST, TAKEN)
}

/// `PUT /v1/users/<name>/`: another password, for oneself or, by an administrator, for anybody.
pub(crate) async fn change(
    surface: &Surface,
    parts: &Parts,
    user: &str,
    sent: &[u8],
) -> Result<Response, Failure> {
    let Some(authority) = &surface.settings.authority else {
        return Err(Failure::new(Code::UserUnknown).message("There are no accounts here"));
    };
    let credentials = basic(surface, parts)?;
    let login = surface.login(authority, parts, Some(&credentials)).await?;
    let Some(own) = login.identity.name() else {
        return Err(surface.challenged(Failure::new(Code::Unauthorized)));
    };
    // Whoever came by an access token does not know the password, and must not get to choose it.
    let is_self = own.as_str() == user && login.method == Method::Password;
    if !is_self && !login.identity.is_administrator() {
        return Err(Failure::new(Code::Denied));
    }
    let user = UserName::parse(user).map_err(|_| Failure::new(Code::UserUnknown))?;
    let sent: SentUser = serde_json::from_slice(sent).map_err(|_| Failure::new(Code::ImageJsonInvalid))?;
    let password = sent.password.ok_or_else(|| Failure::new(Code::DataInvalid))?;
    let hash = accounts::hash(authority.passwords(), Secret::new(password)).await?;
    let caller = request::caller(parts, Api::DockerV1, Actor::User(own.to_string()));
    surface.registry.set_password(&caller, user, Some(hash)).await?;
    Ok(response::empty(StatusCode::NO_CONTENT))
}

/// The name and password of a request. Nothing else is a login.
fn basic(surface: &Surface, parts: &Parts) -> Result<Credentials, Failure> {
    match Sent::parse(&parts.headers) {
        Ok(Sent::Basic(credentials)) => Ok(credentials),
        Ok(Sent::Nothing | Sent::Token(_)) => Err(surface.challenged(Failure::new(Code::Unauthorized))),
        Err(error) => {
            let message = format!("Requires authorization: {error}");
            Err(surface.challenged(Failure::new(Code::Unauthorized).message(message)))
        }
    }
}
