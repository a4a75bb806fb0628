//! The Docker Registry V1 surface: requests in, use cases of the registry, responses out, in the protocol's words.
//!
//! What lives here: paths, headers, tokens on the wire and error texts of the protocol. What does not: any rule that
//! another surface would need too, any knowledge of how images are kept or converted, and listeners, connections and
//! time-outs on them, which are the server's. `route` says which operation is meant, a file per noun answers it, and
//! [`error`] holds the one table of what can go wrong. Old clients compare strings: what is sent is exact.

mod base;
pub mod error;
mod gate;
mod images;
mod properties;
mod repositories;
mod route;
mod search;
mod tags;
mod token;
mod users;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::any;
use axum::{Extension, Router};
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, header};
use supercargo_access::{Authority, SessionKey};
pub use supercargo_http::Mount;
use supercargo_http::body::BodyStream;
use supercargo_http::{mount, request, response};
use supercargo_model::{RepoKey, limits};
use supercargo_registry::{HostedRepository, Registry};

use crate::error::{Code, Failure};
use crate::gate::Admitted;
pub use crate::route::split_first;
use crate::route::{Route, RouteError};

/// What an operator may change about this surface.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Who decides what callers may do; everybody may do everything where there is none.
    pub authority: Option<Arc<Authority>>,
    /// What authenticates session tokens.
    pub sessions: Arc<SessionKey>,
    /// How long a client may send nothing of a body that it has begun.
    pub body_timeout: Duration,
}

/// Largest body of anything small, in bytes: a tag, properties, a login.
const SMALL_BODY_BYTES_MAX: usize = 64 * 1024;

/// A router that serves everything below `/v1`, and `/_ping`, of the repository that each request's [`Mount`] says.
pub fn router(registry: Arc<Registry>, settings: Settings) -> Router {
    Router::new()
        .route("/_ping", any(dispatch))
        .route("/_ping/", any(dispatch))
        .route("/v1", any(dispatch))
        .route("/v1/", any(dispatch))
        .route("/v1/{*rest}", any(dispatch))
        .with_state(Shared { registry, settings })
}

/// What all requests have in common.
#[derive(Clone)]
struct Shared {
    registry: Arc<Registry>,
    settings: Settings,
}

/// What every handler works with.
struct Surface {
    registry: Arc<Registry>,
    mount: Mount,
    settings: Settings,
}

impl Surface {
    fn repository(&self) -> &RepoKey {
        &self.mount.repository
    }

    /// Refuses what is asked of a repository that does not speak this protocol. At a root that is all repositories', what
    /// concerns none of them is answered where one does: docker goes on to V1 when V2 has not led it anywhere.
    fn speaks(&self, route: Result<&Route, &RouteError>) -> Result<(), Failure> {
        let key = self.repository();
        let hosted = self.registry.hosted()?;
        let about_none = matches!(
            route,
            Ok(Route::Ping | Route::Base | Route::Login | Route::Register | Route::ChangeUser { .. })
        );
        if about_none && self.mount.is_shared_root() && hosted.any(HostedRepository::speaks_v1) {
            return Ok(());
        }
        match mount::open(&hosted, key) {
            Ok(found) if found.speaks_v1() => Ok(()),
            // All clients search by V1, whatever they push and pull by.
            Ok(_) if matches!(route, Ok(Route::Search)) => Ok(()),
            Ok(_) => {
                let message = format!("Unsupported docker v1 repository request for '{key}'");
                Err(Failure::new(Code::ProtocolUnsupported).message(message))
            }
            Err(closed) => Err(Failure::new(Code::NameUnknown).message(closed.to_string())),
        }
    }

    async fn answer(&mut self, parts: &Parts, body: &mut BodyStream) -> Result<Response, Failure> {
        let route = Route::parse(&parts.method, parts.uri.path());
        if let Ok(route) = &route
            && route.is_about_an_image()
        {
            self.follow_session(parts);
        }
        self.speaks(route.as_ref())?;
        let route = route?;
        match &route {
            Route::Ping => return Ok(base::ping()),
            Route::Base => return Ok(base::base()),
            Route::Login => return users::log_in(self, parts).await,
            Route::Register => {
                let sent = body.read_whole(&parts.headers, SMALL_BODY_BYTES_MAX).await?;
                return users::register(self, parts, &sent).await;
            }
            Route::ChangeUser { user } => {
                let sent = body.read_whole(&parts.headers, SMALL_BODY_BYTES_MAX).await?;
                return users::change(self, parts, user, &sent).await;
            }
            _ => {}
        }
        let admitted = self.admit(parts, &route).await?;
        // What is sent for them is read whole first.
        let body_bytes_max = match &route {
            Route::PutImageJson { .. } | Route::PutRepository { .. } | Route::PutImages { .. } => {
                limits::IMAGE_JSON_BYTES_MAX
            }
            Route::SetTag { .. } | Route::PutProperties { .. } => SMALL_BODY_BYTES_MAX,
            Route::Search => return search::search(self, parts, admitted).await,
            _ => return self.answer_at_once(parts, &route, &admitted, body).await,
        };
        let sent = body.read_whole(&parts.headers, body_bytes_max).await?;
        // Whoever holds the body back has the rights of the moment when it is there.
        let admitted = self.admit(parts, &route).await?;
        self.answer_body(parts, &route, &admitted, sent).await
    }

    async fn answer_at_once(
        &self,
        parts: &Parts,
        route: &Route,
        admitted: &Admitted,
        body: &mut BodyStream,
    ) -> Result<Response, Failure> {
        match route {
            Route::GetImageJson { id } => images::get_json(self, parts, admitted, id).await,
            Route::GetLayer { id } => images::get_layer(self, parts, admitted, id).await,
            Route::PutLayer { id } => images::put_layer(self, parts, admitted, body, id).await,
            Route::PutChecksum { id } => images::put_checksum(self, parts, admitted, id).await,
            Route::GetAncestry { id } => images::get_ancestry(self, parts, admitted, id).await,
            Route::ListFiles { id } => images::list_files(self, parts, admitted, id).await,
            Route::DeleteRepository { .. } => repositories::delete(self, parts, admitted).await,
            Route::ListImages { .. } => repositories::list_images(self, parts, admitted),
            Route::DeleteImages { .. } => repositories::delete_images(self, parts, admitted),
            Route::CheckToken { .. } => Ok(base::ok()),
            Route::GetLayerAccess { id, .. } => repositories::layer_access(self, admitted, id).await,
            Route::ListTags { .. } => tags::list(self, admitted).await,
            Route::GetTag { tag, .. } => tags::get(self, admitted, tag).await,
            Route::DeleteTag { tag, .. } => tags::delete(self, admitted, tag).await,
            Route::GetTagJson { tag, .. } => tags::get_json(self, admitted, tag),
            Route::GetRepositoryJson { .. } => tags::get_repository_json(self, admitted),
            Route::GetProperties { .. } => properties::get(self, admitted),
            // Answered before, or with their bodies.
            Route::Ping
            | Route::Base
            | Route::Login
            | Route::Register
            | Route::ChangeUser { .. }
            | Route::Search
            | Route::PutImageJson { .. }
            | Route::PutRepository { .. }
            | Route::PutImages { .. }
            | Route::SetTag { .. }
            | Route::PutProperties { .. } => Err(Failure::internal("an operation was asked for twice")),
        }
    }

    async fn answer_body(
        &self,
        parts: &Parts,
        route: &Route,
        admitted: &Admitted,
        sent: Bytes,
    ) -> Result<Response, Failure> {
        match route {
            Route::PutImageJson { id } => images::put_json(self, parts, admitted, id, sent).await,
            Route::PutRepository { .. } => repositories::put(self, parts, admitted, &sent),
            Route::PutImages { .. } => repositories::put_images(self, parts, admitted, &sent),
            Route::SetTag { tag, .. } => tags::set(self, admitted, tag, &sent).await,
            Route::PutProperties { .. } => properties::put(self, admitted, &sent).await,
            _ => Err(Failure::internal("an operation without a body was given one")),
        }
    }
}

async fn dispatch(
    State(Shared { registry, settings }): State<Shared>,
    Extension(mount): Extension<Mount>,
    request: Request,
) -> Response {
    let mut surface = Surface { registry, mount, settings };
    let (parts, body) = request.into_parts();
    let mut body = BodyStream::new(&parts.headers, body, surface.settings.body_timeout);
    let answered = surface.answer(&parts, &mut body).await;
    // A client that sends it all before it looks for the answer is to find one.
    body.discard().await;
    let mut response =
        answered.unwrap_or_else(|failure| failure.into_response(parts.version, request::id(&parts.headers)));
    let headers = response.headers_mut();
    if !headers.contains_key(header::CACHE_CONTROL) {
        keep_nothing(headers);
    }
    response
}

/// Nothing may be kept of an answer but what says so.
fn keep_nothing(headers: &mut HeaderMap) {
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
    headers.insert(header::EXPIRES, HeaderValue::from_static("-1"));
}

/// A response with a JSON value for a body.
fn json(value: &impl serde::Serialize) -> Result<Response, Failure> {
    let text = serde_json::to_vec(value).map_err(|e| Failure::internal(e.to_string()))?;
    Ok(response::json(http::StatusCode::OK, text))
}

#[cfg(test)]
mod tests;
