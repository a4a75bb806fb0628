//! What administrators are told of reverse proxies: how one is configured, and what of it the registry is set to.

use axum::response::Response;
use http::StatusCode;
use serde_json::json;

use super::{Program, Repository, Settings};
use crate::error::{Code, Failure};
use crate::respond::{self, content_type};
use crate::{Asked, Surface};

/// What somebody is told who wants to change what is set of a proxy.
const ELSEWHERE: &str = "what the registry knows of a reverse proxy is in its configuration file, in [proxy]: set it \
                         there and start the registry anew";

/// The configuration of a proxy. Parameters say what is to be other than it is set.
///
/// # Errors
/// Not found, for a program that is none of these; invalid, for what can be no configuration, or is not said.
pub(crate) fn configuration(surface: &Surface, asked: &Asked, program: &str) -> Result<Response, Failure> {
    let program = Program::parse(program).map_err(|why| Failure::new(Code::NotFound).message(why))?;
    let wanted: Settings = asked.parameters()?;
    let repositories = surface.registry.repositories()?;
    let repositories = repositories.into_iter().map(|it| Repository::of(it.key, &it.config)).collect();
    let settings = wanted.or(surface.settings.reached.proxy.clone());
    let description = settings.describe(&surface.settings.context, repositories);
    let text = description.and_then(|it| it.write(program));
    Ok(respond::text(StatusCode::OK, text.map_err(|error| Failure::invalid(error.to_string()))?))
}

/// What is set of a proxy, in the words of the REST reference ("Update Reverse Proxy Configuration").
///
/// # Errors
/// Internal.
pub(crate) fn web_server(surface: &Surface) -> Result<Response, Failure> {
    let settings = &surface.settings.reached.proxy;
    let context = surface.settings.context.trim_start_matches('/');
    let upstream = settings.upstream.as_deref().and_then(|it| it.rsplit_once(':'));
    // The same is set for either program, and without a name there is no proxy.
    let program = if settings.server_name.is_some() { "nginx" } else { "direct" };
    let body = json!({
        "key": program,
        "webServerType": program.to_ascii_uppercase(),
        "artifactoryAppContext": context,
        "publicAppContext": context,
        "serverName": settings.server_name,
        "serverNameExpression": settings.server_name.as_ref().map(|name| format!("*.{name}")),
        "artifactoryServerName": upstream.map(|(host, _)| host),
        "artifactoryPort": upstream.and_then(|(_, port)| port.parse::<u16>().ok()),
        "sslCertificate": settings.ssl_certificate,
        "sslKey": settings.ssl_key,
        "dockerReverseProxyMethod": settings.method().as_setting(),
        "useHttps": true,
        "useHttp": settings.redirecting_port().is_some(),
        "sslPort": settings.https_port(),
        "httpPort": settings.redirecting_port(),
    });
    respond::json(StatusCode::OK, content_type::JSON, &body)
}

/// What somebody is told who wants to change that here. It is no state of the registry's, which has none without an
/// event.
pub(crate) fn set_elsewhere() -> Failure {
    Failure::new(Code::Conflict).message(ELSEWHERE)
}
