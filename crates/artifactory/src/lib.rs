//! The Artifactory surface: requests in, use cases of the registry, responses out, in the words of Artifactory's REST
//! interface.
//!
//! What lives here: paths, parameters, JSON and error texts of that interface, and nothing of docker's protocols, which
//! have surfaces of their own. What does not: any rule that another surface would need too, any knowledge of how things
//! are kept, and listeners, connections and time-outs on them, which are the server's. `route` says which operation is
//! meant, a file per noun answers it, and [`error`] holds the one table of what can go wrong.

mod aql;
#[cfg(any(test, feature = "fuzzing"))]
pub mod edge;
pub mod error;
mod gate;
mod listings;
mod promote;
pub mod proxy;
mod raw;
mod repositories;
mod respond;
mod route;
mod search;
mod security;
pub mod setup;
mod storage;
mod system;
mod token;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Query, Request, State};
use axum::response::Response;
use axum::routing::any;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, header};
use serde::de::DeserializeOwned;
use supercargo_access::Authority;
use supercargo_http::body::BodyStream;
use supercargo_http::request;
use supercargo_registry::Registry;

pub use crate::aql::{AqlError, parse as parse_aql};
use crate::error::{Code, Failure};
use crate::gate::Admitted;
use crate::route::Route;
pub use crate::route::is_beside_the_protocols;
use crate::security::{api_key, groups, targets, users};
use crate::setup::ways::Reached;
pub use crate::system::ARTIFACTORY_VERSION;

/// Where the surface stands, where nothing else is configured.
pub const DEFAULT_CONTEXT: &str = "/artifactory";

/// Largest body that is read, in bytes: that of a permission target with some thousand names.
const BODY_BYTES_MAX: usize = 1024 * 1024;

/// What an operator may change about this surface.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Who decides what callers may do; everybody may do everything where there is none.
    pub authority: Option<Arc<Authority>>,
    /// How long a client may send nothing of a body that it has begun.
    pub body_timeout: Duration,
    /// What all paths begin with: a slash and a segment, or several, without a slash behind; or nothing.
    pub context: String,
    /// How clients reach the registry, for those who ask how.
    pub reached: Reached,
}

/// A router that serves everything below the context root, for merging into a listener's.
///
/// # Panics
/// If the context does not begin with a slash (while not empty) or holds what axum's paths give a meaning.
pub fn router(registry: Arc<Registry>, settings: Settings) -> Router {
    let context = settings.context.clone();
    let surface = Arc::new(Surface { registry, settings });
    Router::new()
        .route(&format!("{context}/"), any(dispatch))
        .route(&format!("{context}/{{*rest}}"), any(dispatch))
        .with_state(surface)
}

/// What every handler works with.
struct Surface {
    registry: Arc<Registry>,
    settings: Settings,
}

/// A request that was let in.
struct Asked {
    parts: Parts,
    admitted: Admitted,
    body: Bytes,
}

impl Asked {
    /// The parameters of the query.
    fn parameters<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        // What is no text would be read as another one.
        let query = self.parts.uri.query().unwrap_or_default();
        if percent_encoding::percent_decode_str(query).decode_utf8().is_err() {
            return Err(Failure::invalid("the query is not UTF-8"));
        }
        let parameters: Result<Query<T>, _> = Query::try_from_uri(&self.parts.uri);
        parameters.map(|Query(it)| it).map_err(|error| Failure::invalid(error.body_text()))
    }
}

impl Surface {
    async fn answer(&self, parts: Parts, body: &mut BodyStream) -> Result<Response, Failure> {
        // Only requests below the context root are routed here.
        let path = parts.uri.path().strip_prefix(self.settings.context.as_str()).unwrap_or_default();
        let path = path.strip_prefix('/').unwrap_or(path);
        let route = Route::parse(&parts.method, path, parts.uri.query())?;
        if request::is_of_a_foreign_page(&parts.method, &parts.headers) {
            let message = "requests from pages of other origins are not taken";
            return Err(Failure::new(Code::Forbidden).message(message));
        }
        let mut admitted = self.admit(&parts, &route).await?;
        let body = body.read_whole(&parts.headers, BODY_BYTES_MAX).await?;
        if !body.is_empty() {
            // Whoever holds the body back has the rights of the moment when it is there.
            admitted = self.admit(&parts, &route).await?;
        }
        let asked = Asked { parts, admitted, body };
        // An arm for each file that answers.
        match &route {
            Route::Ping => Ok(system::ping()),
            Route::Version => system::version(),
            Route::SystemInfo => system::info(self, &asked),
            Route::ListRepositories => repositories::list(self, &asked),
            Route::GetRepository { repository } => repositories::get(self, &asked, repository),
            Route::CreateRepository { repository } => repositories::create(self, &asked, repository).await,
            Route::UpdateRepository { repository } => repositories::update(self, &asked, repository).await,
            Route::DeleteRepository { repository } => repositories::delete(self, &asked, repository).await,
            Route::ListNames { repository } => listings::names(self, &asked, repository),
            Route::ListTags { repository, name } => listings::tags(self, &asked, repository, name),
            Route::ListUsers => users::list(self, &asked),
            Route::GetUser { user } => users::get(self, &asked, user),
            Route::PutUser { user } => users::put(self, &asked, user).await,
            Route::UpdateUser { user } => users::update(self, &asked, user).await,
            Route::DeleteUser { user } => users::delete(self, &asked, user).await,
            Route::ChangePassword => users::change_password(self, &asked).await,
            Route::EncryptedPassword => Err(users::encrypted_password()),
            Route::ListGroups => groups::list(self, &asked),
            Route::GetGroup { group } => groups::get(self, &asked, group),
            Route::PutGroup { group } => groups::put(self, &asked, group).await,
            Route::UpdateGroup { group } => groups::update(self, &asked, group).await,
            Route::DeleteGroup { group } => groups::delete(self, &asked, group).await,
            Route::ListTargets => targets::list(self, &asked),
            Route::GetTarget { target } => targets::get(self, target),
            Route::PutTarget { target } => targets::put(self, &asked, target).await,
            Route::DeleteTarget { target } => targets::delete(self, &asked, target).await,
            Route::GetApiKey => api_key::get(self, &asked),
            Route::CreateApiKey => api_key::create(self, &asked).await,
            Route::RenewApiKey => api_key::renew(self, &asked).await,
            Route::RevokeApiKey => api_key::revoke(self, &asked).await,
            Route::ListTokens => token::list(self, &asked),
            Route::CreateToken => token::create(self, &asked).await,
            Route::GetToken { token } => token::get(self, &asked, *token),
            Route::DeleteToken { token } => token::delete(self, &asked, *token).await,
            Route::RevokeToken => token::revoke(self, &asked).await,
            Route::Promote { repository } => promote::promote(self, &asked, repository).await,
            Route::Migrate { repository } => promote::migrate(self, &asked, repository).await,
            Route::GetItem { item, part } => storage::get(self, &asked, item, *part).await,
            Route::SetProperties { item } => storage::properties::set(self, &asked, item).await,
            Route::RemoveProperties { item } => storage::properties::remove(self, &asked, item).await,
            Route::UpdateProperties { item } => storage::properties::update(self, &asked, item).await,
            Route::GetFile { item } => raw::get(self, &asked, item).await,
            Route::PutFile { item } => Err(raw::put(&asked, item)),
            Route::DeleteItem { item } => raw::delete(self, &asked, item).await,
            Route::SearchProperties => search::properties(self, &asked).await,
            Route::SearchNames => search::names(self, &asked).await,
            Route::SearchChecksums => search::checksums(self, &asked).await,
            Route::SearchAql => search::aql(self, &asked).await,
            Route::GetSetup { repository } => setup::answer::answer(self, &asked, repository).await,
            Route::GetWebServer => proxy::answer::web_server(self),
            Route::SetWebServer => Err(proxy::answer::set_elsewhere()),
            Route::GetProxyConfig { server } => proxy::answer::configuration(self, &asked, server),
        }
    }
}

async fn dispatch(State(surface): State<Arc<Surface>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let mut body = BodyStream::new(&parts.headers, body, surface.settings.body_timeout);
    let (version, id) = (parts.version, request::id(&parts.headers).map(ToOwned::to_owned));
    let answered = surface.answer(parts, &mut body).await;
    // A client that sends it all before it looks for the answer is to find one.
    body.discard().await;
    let mut response = answered.unwrap_or_else(|failure| failure.into_response(version, id.as_deref()));
    // Answers depend on who asks, and a key may be sent where caches don't look for one.
    let no_store = HeaderValue::from_static("no-store");
    response.headers_mut().entry(header::CACHE_CONTROL).or_insert(no_store);
    response
}

#[cfg(test)]
mod tests;
