//! The server itself (the REST reference, "System & Configuration").

use axum::response::Response;
use http::StatusCode;
use serde_json::json;
use supercargo_http::request;

use crate::error::Failure;
use crate::respond::{self, content_type};
use crate::{Asked, Surface};

/// The version of Artifactory that this surface says it is. Clients refuse servers of before 5.5 or 6.23, and ask newer
/// ones for more than is here; this one has all endpoints that are.
pub const ARTIFACTORY_VERSION: &str = "7.90.0";

/// What it really is.
const REVISION: &str = concat!("supercargo-", env!("CARGO_PKG_VERSION"));

/// `GET api/system/ping`
pub(crate) fn ping() -> Response {
    respond::text(StatusCode::OK, "OK")
}

/// `GET api/system/version`
pub(crate) fn version() -> Result<Response, Failure> {
    let version = json!({
        "version": ARTIFACTORY_VERSION,
        "revision": REVISION,
        "addons": [],
        "license": "OSS",
        "product": "Supercargo",
    });
    respond::json(StatusCode::OK, content_type::VERSION, &version)
}

/// `GET api/system`: what an administrator looks at first, as text.
pub(crate) fn info(surface: &Surface, asked: &Asked) -> Result<Response, Failure> {
    let repositories = surface.registry.repositories()?;
    let bytes: u64 = repositories.iter().map(|info| info.holds.bytes).sum();
    let names: u64 = repositories.iter().map(|info| info.holds.names).sum();
    let users = surface.registry.users()?.len();
    let access = if surface.settings.authority.is_some() { "accounts" } else { "open to everybody" };
    let text = format!(
        "Supercargo {}, with the interface of Artifactory {ARTIFACTORY_VERSION}\nbase URL: {}\naccess: {access}\n\
         users: {users}\nrepositories: {}\nnames: {names}\nbytes: {bytes}\n",
        env!("CARGO_PKG_VERSION"),
        request::base_url(&asked.parts),
        repositories.len(),
    );
    Ok(respond::text(StatusCode::OK, text))
}
