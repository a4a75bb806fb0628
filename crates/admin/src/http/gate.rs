//! Who may pass: administrators everywhere, managers where a request is about what they manage.
//!
//! The decision is made of the method, the path and the query, before anything is looked up, and a refusal is the
//! same whatever it was about: what somebody may not know of can't be told from what does not exist. An endpoint that
//! [`Need::of`] does not name is for administrators.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, HttpBody as _, to_bytes};
use axum::extract::{Query, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use serde::Deserialize;
use supercargo_access::{Authority, Credentials, Login, Refused, Rights};
use supercargo_eventlog::{Actor, Api};
use supercargo_http::login::{actor, log_in};
use supercargo_model::account::Grant;
use supercargo_model::{RepoKey, RepoName};
use supercargo_registry::{Error, RepositoryChange};
use tokio::time::timeout;

use super::{Admin, BASE, Shared};
use crate::error::Refusal;

/// What tokens would have to be for. No bearer token is ever issued for it: it is no repository's key.
const SERVICE: &str = ":administration";

/// Largest body that is read, in bytes: that of an htpasswd file.
const BODY_BYTES_MAX: usize = 2 * 1024 * 1024;
/// How long a body may take to come.
const BODY_TIME_MAX: Duration = Duration::from_secs(60);

/// Whoever sent a request, known and let in. Left in its extensions where there is access control.
#[derive(Debug, Clone)]
pub(super) struct Admitted {
    /// Who is recorded as having done it.
    pub(super) actor: Actor,
    /// Whether they may do everything.
    pub(super) administrator: bool,
    rights: Arc<Rights>,
}

impl Admitted {
    /// Whether permissions like this one are theirs to see, give and take away.
    pub(super) fn may_grant(&self, grant: &Grant) -> bool {
        self.rights.manage_all_of(grant)
    }
}

/// What an endpoint needs to be allowed.
#[derive(Debug, PartialEq, Eq)]
enum Need {
    /// To be an administrator.
    Administrator,
    /// To manage all of a repository.
    Repository(RepoKey),
    /// To manage a name of a repository.
    Name(RepoKey, RepoName),
    /// To manage anything. The handler sees to the rest, for what it is about stands in the body.
    Something,
}

impl Need {
    fn of(method: &Method, uri: &Uri) -> Need {
        let path = uri.path().strip_prefix(BASE).unwrap_or(uri.path());
        let segments: Vec<&str> = path.split('/').skip(1).collect();
        let read = matches!(*method, Method::GET | Method::HEAD);
        let need = match segments[..] {
            ["permissions"] => Some(Need::Something),
            ["repositories", key] if read || method == Method::PATCH => repository(key),
            ["repositories", key, "names"] if read => repository(key),
            ["repositories", key, "names"] if method == Method::DELETE => name(key, uri),
            ["repositories", key, "tags" | "history" | "inspect"] if read => name(key, uri),
            _ => None,
        };
        need.unwrap_or(Need::Administrator)
    }

    fn is_met(&self, rights: &Rights, administrator: bool) -> bool {
        administrator
            || match self {
                Need::Administrator => false,
                Need::Repository(key) => rights.manage_everything_in(key),
                Need::Name(key, name) => rights.manage(key, name),
                Need::Something => rights.manage_something(),
            }
    }
}

fn repository(key: &str) -> Option<Need> {
    RepoKey::parse(key).ok().map(Need::Repository)
}

/// Read as the handlers read it, so that both mean the same name.
fn name(key: &str, uri: &Uri) -> Option<Need> {
    #[derive(Deserialize)]
    struct Named {
        name: RepoName,
    }
    let Query(Named { name }) = Query::try_from_uri(uri).ok()?;
    Some(Need::Name(RepoKey::parse(key).ok()?, name))
}

/// The refusal of what somebody may not do, whatever it is.
pub(super) fn forbidden() -> Refusal {
    let message = "this is for administrators, and for those who manage what it is about";
    Refusal::new(StatusCode::FORBIDDEN, "forbidden", message)
}

/// Lets in who may. A request with a body is asked for again when the body is there: whoever holds it back has the rights
/// of that moment.
pub(super) async fn admit(State(admin): Shared, request: Request, next: Next) -> Response {
    let Some(authority) = &admin.authority else { return next.run(request).await };
    let (mut parts, body) = request.into_parts();
    let mut admitted = match admitted(&admin, authority, &parts).await {
        Ok(admitted) => admitted,
        Err(refusal) => return refusal,
    };
    let mut body = body;
    if !body.is_end_stream() {
        body = match timeout(BODY_TIME_MAX, to_bytes(body, BODY_BYTES_MAX)).await {
            Ok(Ok(bytes)) => Body::from(bytes),
            Ok(Err(_)) => {
                let message =
                    format!("the body did not come whole, or is longer than {BODY_BYTES_MAX} bytes");
                return Refusal::invalid(message).into_response();
            }
            Err(_) => return Refusal::invalid("the body came too slowly").into_response(),
        };
        admitted = match self::admitted(&admin, authority, &parts).await {
            Ok(admitted) => admitted,
            Err(refusal) => return refusal,
        };
    }
    parts.extensions.insert(admitted);
    next.run(Request::from_parts(parts, body)).await
}

/// Who a request comes from, if they may send it. The credentials of people are taken, and access tokens, in Basic or as
/// a bearer's; tokens for pushing and pulling are not.
async fn admitted(admin: &Admin, authority: &Authority, parts: &Parts) -> Result<Admitted, Response> {
    let credentials = credentials(&parts.headers).map_err(unauthorized)?;
    let login = log_in(&admin.registry, authority, parts, Some(&credentials), SERVICE, Api::Admin).await;
    let Login { identity, method, .. } = login.map_err(refusal)?;
    if method == supercargo_access::Method::Bearer {
        return Err(unauthorized("tokens for pushing and pulling are not taken here".to_owned()));
    }
    let rights = authority.rights(&identity);
    let rights = rights.map_err(|error| Refusal::from(Error::Internal(error.to_string())).into_response())?;
    let rights = Arc::new(rights);
    let administrator = identity.is_administrator();
    if identity.name().is_none() {
        return Err(unauthorized("log in".to_owned()));
    }
    if !Need::of(&parts.method, &parts.uri).is_met(&rights, administrator) {
        return Err(forbidden().into_response());
    }
    Ok(Admitted { actor: actor(&identity), administrator, rights })
}

/// What a request carries to prove who sent it, or what is wrong with it.
fn credentials(headers: &HeaderMap) -> Result<Credentials, String> {
    let mut sent = headers.get_all(header::AUTHORIZATION).iter();
    match (sent.next(), sent.next()) {
        (None, _) => Err("log in".to_owned()),
        (Some(header), None) => Credentials::parse(header.as_bytes()).map_err(|error| error.to_string()),
        (Some(_), Some(_)) => Err("send one Authorization header".to_owned()),
    }
}

fn unauthorized(message: String) -> Response {
    let mut response = Refusal::new(StatusCode::UNAUTHORIZED, "unauthorized", message).into_response();
    let challenge = HeaderValue::from_static("Basic realm=\"supercargo\"");
    response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    response
}

/// Why somebody is not taken for who they say they are.
fn refusal(refused: Refused) -> Response {
    match refused {
        Refused::Throttled { retry_after } => {
            let message = "too many logins: try again later";
            let refusal = Refusal::new(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", message);
            refusal.retry_after(retry_after).into_response()
        }
        Refused::Busy { retry_after } | Refused::ProviderSilent { retry_after } => {
            let refusal = Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", refused.to_string());
            refusal.retry_after(retry_after).into_response()
        }
        Refused::Unavailable(cause) => Refusal::from(Error::Internal(cause.to_string())).into_response(),
        refused => unauthorized(refused.to_string()),
    }
}

/// Whether it changes what is not for those to decide who manage the repository: what it speaks, how much of the disk it
/// may fill, and which port of the server is its own.
pub(super) const fn is_for_administrators(change: &RepositoryChange) -> bool {
    change.docker_api_version.is_some() || change.rules.quota.is_some() || change.docker_port.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn need(method: &str, uri: &str) -> Need {
        Need::of(&method.parse().unwrap(), &uri.parse().unwrap())
    }

    #[test]
    fn what_is_managed_stands_in_the_path_and_the_query() {
        let key = || RepoKey::parse("r").unwrap();
        let name = || Need::Name(key(), RepoName::parse("a/b").unwrap());
        for (method, uri, expected) in [
            ("GET", "/repositories/r", Need::Repository(key())),
            ("PATCH", "/api/supercargo/v1/repositories/r", Need::Repository(key())),
            ("HEAD", "/repositories/r/names?n=1", Need::Repository(key())),
            ("DELETE", "/repositories/r/names?name=a/b", name()),
            ("GET", "/repositories/r/tags?n=1&name=a%2Fb", name()),
            ("GET", "/repositories/r/history?name=a/b&tag=t", name()),
            ("GET", "/repositories/r/inspect?name=a/b", name()),
            ("PUT", "/permissions", Need::Something),
        ] {
            assert_eq!(need(method, uri), expected, "{method} {uri}");
        }
    }

    #[test]
    fn everything_else_is_for_administrators() {
        for (method, uri) in [
            ("PUT", "/repositories/r"),
            ("DELETE", "/repositories/r"),
            ("GET", "/repositories"),
            ("GET", "/repositories/%72"),
            ("GET", "/repositories/R_"),
            ("GET", "/repositories/r/"),
            ("GET", "//repositories/r"),
            ("DELETE", "/repositories/r/names"),
            ("DELETE", "/repositories/r/names?name=a/b&name=a/c"),
            ("GET", "/repositories/r/tags?name=A"),
            ("POST", "/repositories/r/tags?name=a"),
            ("GET", "/repositories/r/other?name=a"),
            ("GET", "/permissions/"),
            ("GET", "/users"),
            ("GET", "/log"),
            ("GET", "/"),
        ] {
            assert_eq!(need(method, uri), Need::Administrator, "{method} {uri}");
        }
    }
}
