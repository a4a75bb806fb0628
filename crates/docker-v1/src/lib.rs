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

use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::any;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, header};
use supercargo_access::{Authority, SessionKey};
use supercargo_eventlog::DockerApiVersion;
pub use supercargo_http::Mount;
use supercargo_http::body::BodyStream;
use supercargo_http::{request, response};
use supercargo_model::{RepoKey, limits};
use supercargo_registry::Registry;

use crate::error::{Code, Failure};
use crate::gate::Admitted;
use crate::route::Route;

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

/// A router that serves everything below `{prefix}/v1` of one repository, and `{prefix}/_ping`, for merging into a
/// listener's.
///
/// # Panics
/// If the prefix does not begin with a slash (while not empty) or holds what axum's paths give a meaning.
pub fn router(registry: Arc<Registry>, mount: Mount, settings: Settings) -> Router {
    let (base, ping) = (format!("{}/v1", mount.prefix), format!("{}/_ping", mount.prefix));
    let surface = Arc::new(Surface { registry, mount, settings });
    Router::new()
        .route(&ping, any(dispatch))
        .route(&format!("{ping}/"), any(dispatch))
        .route(&base, any(dispatch))
        .route(&format!("{base}/"), any(dispatch))
        .route(&format!("{base}/{{*rest}}"), any(dispatch))
        .with_state(surface)
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

    /// Whether the repository speaks this protocol.
    fn speaks(&self) -> Result<bool, Failure> {
        let version = self.registry.docker_api_version(self.repository())?;
        Ok(matches!(version, Some(DockerApiVersion::V1 | DockerApiVersion::Both)))
    }

    async fn answer(&self, parts: &Parts, body: &mut BodyStream) -> Result<Response, Failure> {
        // Only requests below the prefix are routed here.
        let path = parts.uri.path().strip_prefix(self.mount.prefix.as_str()).unwrap_or_default();
        let route = Route::parse(&parts.method, path);
        // All clients search by V1, whatever they push and pull by.
        if !self.speaks()? && !matches!(route, Ok(Route::Search)) {
            let key = self.repository();
            let message = format!("Unsupported docker v1 repository request for '{key}'");
            return Err(Failure::new(Code::ProtocolUnsupported).message(message));
        }
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

async fn dispatch(State(surface): State<Arc<Surface>>, request: Request) -> Response {
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
