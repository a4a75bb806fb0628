//! Logging in, as every surface does it. How credentials stand in a request, and what is told whoever is refused, are
//! the surfaces' own.

use http::request::Parts;
use supercargo_access::{Authority, Credentials, Identity, Login, PasswordUpgrade, Refused};
use supercargo_eventlog::{Actor, Api};
use supercargo_registry::Registry;

use crate::request;

/// Who is recorded as having done what an identity does.
pub fn actor(identity: &Identity) -> Actor {
    identity.name().map_or(Actor::Anonymous, |name| Actor::User(name.to_string()))
}

/// Finds out who a request comes from, and records a better hash of the password where there is one. `service` is what a
/// bearer token must be for; `api` is what records call the surface.
///
/// # Errors
/// Why the credentials are not taken.
pub async fn log_in(
    registry: &Registry,
    authority: &Authority,
    parts: &Parts,
    credentials: Option<&Credentials>,
    service: &str,
    api: Api,
) -> Result<Login, Refused> {
    let from = request::client(parts);
    let mut login = authority.authenticate(credentials, service, from, registry.now()).await?;
    if let Some(PasswordUpgrade { user, replaces, hash }) = login.upgrade.take() {
        let caller = request::caller(parts, api, Actor::User(user.to_string()));
        registry.upgrade_password(&caller, user, replaces, hash).await;
    }
    Ok(login)
}
