//! What a request says of whoever sent it, and of whom they asked.

use std::net::{IpAddr, Ipv4Addr};

use http::request::Parts;
use http::uri::Authority as HostAndPort;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use supercargo_eventlog::event::ORIGIN_TEXT_BYTES_MAX;
use supercargo_eventlog::{Actor, Api, Origin};
use supercargo_registry::{Caller, ForwardedHost, Peer, Scheme};

/// Where the server leaves the request's id. It overwrites what a client may have sent.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The request's id.
pub fn id(headers: &HeaderMap) -> Option<&str> {
    headers.get(REQUEST_ID).and_then(|id| id.to_str().ok())
}

/// The client's address; requests that come by no network are local.
pub fn client(parts: &Parts) -> IpAddr {
    parts.extensions.get::<Peer>().map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |peer| peer.0)
}

/// Somebody who does something by a request.
pub fn caller(parts: &Parts, api: Api, actor: Actor) -> Caller {
    Caller { actor, origin: origin(parts, api) }
}

/// Through what somebody does something, as records keep it.
pub fn origin(parts: &Parts, api: Api) -> Origin {
    let text = |header: &HeaderName| parts.headers.get(header).map(origin_text);
    Origin {
        api,
        remote: parts.extensions.get::<Peer>().map(|peer| peer.0),
        user_agent: text(&header::USER_AGENT),
        request_id: text(&REQUEST_ID),
    }
}

/// A header as a record keeps it: as text, and short.
fn origin_text(value: &HeaderValue) -> String {
    let text = String::from_utf8_lossy(value.as_bytes());
    let end = text.floor_char_boundary(ORIGIN_TEXT_BYTES_MAX);
    text[..end].to_owned()
}

/// Whether a web page of another origin wants something changed, in the name of whoever looks at it. Programs send no
/// `Origin`.
pub fn is_of_a_foreign_page(method: &Method, headers: &HeaderMap) -> bool {
    !matches!(*method, Method::GET | Method::HEAD) && headers.contains_key(header::ORIGIN)
}

/// What the client speaks, to the server or to the proxy before it.
pub fn scheme(parts: &Parts) -> Scheme {
    parts.extensions.get::<Scheme>().copied().unwrap_or(Scheme::Http)
}

/// What a URL that is meant for the client begins with, as far as the path. Nothing where the client named no host that
/// can be one: then the path alone has to do.
pub fn root_url(parts: &Parts) -> String {
    host(parts).map(|host| format!("{}://{host}", scheme(parts).as_str())).unwrap_or_default()
}

/// What the path of everything but the Docker protocols begins with, as the client asks for it. Left in the extensions of
/// each request by the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContextPath(pub String);

/// What a URL begins with that is meant for the client, with the path of everything but the Docker protocols.
pub fn base_url(parts: &Parts) -> String {
    let context = parts.extensions.get::<ContextPath>().map_or("", |context| &context.0);
    format!("{}{context}", root_url(parts))
}

/// The host that the client asked, with the port where it is not the scheme's own. `None` where it named none that can be
/// one.
pub fn host(parts: &Parts) -> Option<String> {
    if let Some(ForwardedHost(host)) = parts.extensions.get() {
        return Some(host.clone());
    }
    let asked = parts.uri.authority().cloned().or_else(|| {
        let host = parts.headers.get(header::HOST)?;
        HostAndPort::try_from(host.as_bytes()).ok()
    });
    // A user's name before the host is for no registry; what else such a thing may hold can't break out of quotes.
    asked.filter(|asked| !asked.as_str().contains('@')).map(|host| host.to_string())
}
