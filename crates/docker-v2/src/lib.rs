//! The Docker Registry V2 and OCI distribution 1.1 surface: requests in, use cases of the registry, responses
//! out, in the protocol's words.
//!
//! What lives here: paths, headers, query parameters and error codes of the protocol. What does not: any rule
//! that another surface would need too, any knowledge of how things are kept, and listeners, connections and
//! time-outs on them, which are the server's. `route` says which operation is meant, a file per noun answers
//! it, and [`error`] holds the one table of what can go wrong.

mod base;
mod blobs;
mod condition;
#[cfg(any(test, feature = "fuzzing"))]
pub mod edge;
pub mod error;
mod gate;
mod manifests;
mod range;
mod referrers;
mod response;
mod route;
mod tags;
mod token;
mod uploads;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::any;
use axum::{Extension, Router};
use http::HeaderValue;
use http::request::Parts;
use supercargo_access::Authority;
use supercargo_eventlog::{Actor, Api};
pub use supercargo_http::Mount;
use supercargo_http::body::BodyStream;
use supercargo_http::mount::{self, Closed};
use supercargo_http::response::header_value;
use supercargo_http::{page, query, request};
use supercargo_model::{RepoKey, RepoName};
pub use supercargo_registry::Peer;
use supercargo_registry::{Caller, HostedRepository, Registry, UploadId};

use crate::error::{Code, Failure};
use crate::gate::{Admitted, TOKEN_PATH};
use crate::route::Route;
pub use crate::route::split_first;

/// What an operator may change about this surface.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Who decides what callers may do; everybody may do everything where there is none.
    pub authority: Option<Arc<Authority>>,
    /// How long a client may send nothing of a body that it has begun.
    pub body_timeout: Duration,
}

/// A router that serves everything below `/v2`, of the repository that each request's [`Mount`] says.
pub fn router(registry: Arc<Registry>, settings: Settings) -> Router {
    Router::new()
        .route("/v2", any(dispatch))
        .route("/v2/", any(dispatch))
        .route("/v2/{*rest}", any(dispatch))
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

    /// The path of something below `/v2/`. Relative to the host, so that it holds behind any proxy.
    fn path(&self, rest: fmt::Arguments<'_>) -> String {
        format!("{}/v2/{rest}", self.mount.prefix)
    }

    /// The path of something of a name, as the client calls that.
    fn path_in(&self, name: &RepoName, rest: fmt::Arguments<'_>) -> String {
        self.path(format_args!("{}/{rest}", self.mount.called(name)))
    }

    /// Where an upload session is.
    fn upload_location(&self, name: &RepoName, id: UploadId) -> Result<HeaderValue, Failure> {
        Ok(header_value(self.path_in(name, format_args!("blobs/uploads/{id}")))?)
    }

    /// Who is asking. The one place where a request becomes a caller.
    #[expect(clippy::unused_self, reason = "a surface's callers come through it")]
    fn caller(&self, parts: &Parts) -> Caller {
        let actor = parts.extensions.get::<Admitted>().map_or(Actor::Anonymous, Admitted::actor);
        request::caller(parts, Api::DockerV2, actor)
    }

    /// Refuses what is asked of a repository that speaks V1 alone, before anybody is asked to log in: clients that speak
    /// both take a login, and any sign of V2, for a registry that speaks V2. Nor is there anything to log in to in one that
    /// is not there or out of use. At a root that is all repositories' others may be meant next, and that its own is not
    /// there is for those to hear who are let in.
    ///
    /// # Errors
    /// UNSUPPORTED, NAME_UNKNOWN.
    fn speaks(&self, path: &str) -> Result<(), Failure> {
        let repository = self.repository();
        let hosted = self.registry.hosted()?;
        match mount::open(&hosted, repository) {
            Ok(found) if found.speaks_v2() => Ok(()),
            Ok(_) => {
                let message = format!("Unsupported docker v2 repository request for '{repository}'");
                Err(Failure::new(Code::EndpointUnknown).message(message))
            }
            Err(closed)
                if self.mount.is_shared_root()
                    && (matches!(path, "/v2" | "/v2/" | TOKEN_PATH)
                        || matches!(closed, Closed::Unknown(_)))
                    && (hosted.any(HostedRepository::speaks_v2)
                        || !hosted.any(HostedRepository::speaks_v1)) =>
            {
                Ok(())
            }
            Err(closed) => Err(Failure::new(Code::NameUnknown).message(closed.to_string())),
        }
    }

    /// Has a client that can't read what is here by V2 look for it by V1, where that is spoken too: that a manifest is not
    /// known is what makes docker up to 1.9 try (the V1 specification, section 2).
    ///
    /// # Errors
    /// MANIFEST_UNKNOWN.
    fn send_to_v1(&self) -> Result<(), Failure> {
        if self.registry.hosted()?.get(self.repository()).is_some_and(HostedRepository::speaks_v1) {
            let message = "docker before 1.10 can't read this manifest; it is there by V1";
            return Err(Failure::new(Code::ManifestUnknown).message(message));
        }
        Ok(())
    }

    async fn answer(&self, parts: &mut Parts, body: &mut BodyStream) -> Result<Response, Failure> {
        let path = parts.uri.path();
        if let Some(authority) = self.settings.authority.as_ref().filter(|_| path == TOKEN_PATH) {
            return token::answer(self, authority, parts, body).await;
        }
        let route = Route::parse(&parts.method, path)?;
        if let Some(admitted) = self.admit(parts, &route).await? {
            parts.extensions.insert(admitted);
        }
        let parts = &*parts;
        match &route {
            Route::Ping => Ok(base::ping()),
            Route::ListNames => tags::list_names(self, parts),
            Route::ListTags { name } => tags::list_tags(self, parts, name),
            Route::GetManifest { name, reference } => manifests::get(self, parts, name, reference),
            Route::CheckManifest { name, reference } => manifests::check(self, parts, name, reference),
            Route::PushManifest { name, reference } => {
                let bytes = manifests::receive(parts, body).await?;
                // Whoever holds the body back has the rights of the moment when it is there.
                self.admit(parts, &route).await?;
                manifests::push(self, parts, bytes, name, reference).await
            }
            Route::DeleteManifest { name, reference } => {
                manifests::delete(self, parts, name, reference).await
            }
            Route::GetBlob { name, digest } => blobs::get(self, parts, name, digest),
            Route::CheckBlob { name, digest } => blobs::check(self, parts, name, digest),
            Route::DeleteBlob { name, digest } => blobs::delete(self, parts, name, *digest).await,
            Route::StartUpload { name } => uploads::start(self, parts, body, name).await,
            Route::UploadStatus { name, id } => uploads::status(self, name, *id).await,
            Route::AppendUpload { name, id } => uploads::append(self, parts, body, name, *id).await,
            Route::FinishUpload { name, id } => uploads::finish(self, parts, body, name, *id).await,
            Route::CancelUpload { name, id } => uploads::cancel(self, name, *id).await,
            Route::ListReferrers { name, digest } => referrers::list(self, parts, name, digest),
        }
    }
}

async fn dispatch(
    State(Shared { registry, settings }): State<Shared>,
    Extension(mount): Extension<Mount>,
    request: Request,
) -> Response {
    let surface = Surface { registry, mount, settings };
    let (mut parts, body) = request.into_parts();
    let mut body = BodyStream::new(&parts.headers, body, surface.settings.body_timeout);
    if let Err(failure) = surface.speaks(parts.uri.path()) {
        body.discard().await;
        // Without the protocol's version, by which clients would know that V2 is spoken here.
        return failure.into_response(request::id(&parts.headers));
    }
    let mut response = match surface.answer(&mut parts, &mut body).await {
        Ok(response) => response,
        Err(failure) => {
            body.discard().await;
            failure.into_response(request::id(&parts.headers))
        }
    };
    response.headers_mut().insert(response::API_VERSION, HeaderValue::from_static("registry/2.0"));
    response
}

#[cfg(test)]
mod tests;
