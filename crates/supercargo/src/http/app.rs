//! What every request passes through on its way to its surface and back: who sent it and how, to which repository it
//! goes, its id, its access line and its place in the metrics.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HOST, HeaderName, HeaderValue};
use hyper::http::uri::Authority;
use hyper::{HeaderMap, Method, Request, StatusCode, Uri, Version};
use supercargo_http::request::ContextPath;
use supercargo_registry::{ClientCertificate, ForwardedHost, Peer, Registry, Scheme};
use tower::Service;
use tracing::Instrument;

use super::base_url::{BaseUrl, PathPrefix};
use super::body::{AnswerBody, Exchange};
use super::forwarded;
use super::pace::Requests;
use super::redirect;
use super::streams::Taken;
use super::ways::{Asked, By, Door, Way, Ways};
use crate::config::Config;
use crate::config::listen::RedirectTo;
use crate::config::values::Network;
use crate::metrics::{self, Metrics, RequestLabels};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Longest request id that is taken from a client, in bytes.
const REQUEST_ID_BYTES_MAX: usize = 128;

/// How a connection came.
#[derive(Debug)]
pub(crate) struct Arrival {
    /// The other end's address.
    pub(crate) address: IpAddr,
    /// What is spoken.
    pub(crate) scheme: Scheme,
    /// What it showed, and was verified.
    pub(crate) certificate: Option<ClientCertificate>,
}

/// What answers on a listener.
#[derive(Debug)]
pub(crate) enum Surfaces {
    /// The surfaces' routers, merged, and how requests are led to what they are for.
    Router {
        /// The routers.
        router: Router,
        /// The listener, as requests come by it.
        door: Door,
    },
    /// Nothing: clients are sent elsewhere.
    Redirect(RedirectTo),
}

/// A listener's surfaces, and what is around them.
#[derive(Debug)]
pub(crate) struct App {
    surfaces: Surfaces,
    registry: Arc<Registry>,
    metrics: Arc<Metrics>,
    ways: Ways,
    base_url: Option<BaseUrl>,
    trusted_proxies: Vec<Network>,
    ids: RequestIds,
}

/// What a trusted proxy says of how its client asked.
#[derive(Debug, Default)]
struct Proxied {
    scheme: Option<Scheme>,
    host: Option<ForwardedHost>,
    prefix: PathPrefix,
    base_url: Option<BaseUrl>,
}

impl App {
    /// An app over surfaces, as configured.
    pub(crate) fn new(
        surfaces: Surfaces,
        registry: Arc<Registry>,
        metrics: Arc<Metrics>,
        config: &Config,
    ) -> App {
        App {
            surfaces,
            registry,
            metrics,
            ways: config.ways(),
            base_url: config.base_url.clone(),
            trusted_proxies: config.trusted_proxies.clone(),
            ids: RequestIds::new(),
        }
    }

    /// Answers a request of a connection.
    pub(crate) async fn answer(
        &self,
        arrival: &Arrival,
        requests: Arc<Requests>,
        mut request: Request<Incoming>,
    ) -> hyper::Response<AnswerBody> {
        requests.begin();
        let began = Instant::now();
        let method = request.method().clone();
        let id = match request.headers().get(REQUEST_ID).filter(|id| is_sane(id)) {
            Some(id) => id.clone(),
            None => {
                let id = self.ids.next();
                request.headers_mut().insert(REQUEST_ID, id.clone());
                id
            }
        };
        let client = self.client(arrival.address, request.headers());
        request.extensions_mut().insert(Peer(client));
        if let Some(certificate) = &arrival.certificate {
            request.extensions_mut().insert(certificate.clone());
        }
        // Reads are many and say little: no span, no line, unless somebody looks closely.
        let reads = matches!(method, Method::GET | Method::HEAD);
        let line = match tracing::enabled!(tracing::Level::DEBUG) || !reads {
            true => Some(request.uri().path().to_owned()),
            false => None,
        };
        let led = self.lead(arrival, &mut request);
        let route = metrics::route_of(request.uri().path(), &self.ways);
        let answering = self.route(led, request);
        let response = if reads {
            answering.await
        } else {
            let span = tracing::info_span!("request", id = id.to_str().unwrap_or_default());
            answering.instrument(span).await
        };
        let labels = RequestLabels::new(&method, route, response.status());
        let exchange = Exchange {
            requests,
            metrics: Arc::clone(&self.metrics),
            labels,
            began,
            sent: 0,
            taken: Taken::of_this_stream(),
        };
        let mut response = response.map(|body| AnswerBody::new(body, exchange));
        if let Some(path) = line {
            let certificate = arrival.certificate.as_ref().map(|certificate| certificate.subject.as_str());
            access_line(&method, &path, response.status(), (client, certificate), &id, began);
        }
        response.headers_mut().insert(REQUEST_ID, id);
        response
    }

    async fn route(&self, led: Result<(), Box<Response>>, request: Request<Incoming>) -> Response {
        if lacks_host(&request) {
            return plain(StatusCode::BAD_REQUEST, "send one Host header\n");
        }
        if let Err(refused) = led {
            return *refused;
        }
        let router = match &self.surfaces {
            Surfaces::Router { router, .. } => router,
            Surfaces::Redirect(to) => return redirect::answer(to, &request),
        };
        match request.uri().path() {
            "/healthz" => plain(StatusCode::OK, "ok\n"),
            "/readyz" => self.ready(),
            "/metrics" => self.metrics_page(),
            _ => match router.clone().call(request.map(|body| self.metrics.counted(body))).await {
                Ok(response) => response,
                Err(never) => match never {},
            },
        }
    }

    /// Whether pushes would be taken: what a load balancer asks.
    fn ready(&self) -> Response {
        match self.registry.check_ready() {
            Ok(()) => plain(StatusCode::OK, "ready\n"),
            Err(error @ (supercargo_registry::Error::DiskFull | supercargo_registry::Error::Unavailable)) => {
                plain(StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {error}\n"))
            }
            Err(error) => {
                tracing::error!(%error, "not ready");
                plain(StatusCode::SERVICE_UNAVAILABLE, "not ready: the storage failed\n")
            }
        }
    }

    fn metrics_page(&self) -> Response {
        match self.metrics.render() {
            Ok(text) => ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
            Err(error) => {
                tracing::error!(%error, "the metrics do not render");
                StatusCode::INTERNAL_SERVER_ERROR.into_response()
            }
        }
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.trusted_proxies.iter().any(|network| network.contains(address))
    }

    /// What a proxy says of how the client asked: nothing, where the peer is not trusted.
    fn proxied(&self, arrival: &Arrival, headers: &HeaderMap) -> Proxied {
        if !self.trusts(arrival.address.to_canonical()) {
            return Proxied::default();
        }
        let scheme = forwarded::scheme(headers);
        Proxied {
            scheme,
            host: forwarded::host(headers, scheme.unwrap_or(arrival.scheme)),
            prefix: forwarded::prefix(headers).unwrap_or_default(),
            base_url: forwarded::base_url(headers),
        }
    }

    /// Leads a request to what it is for: rewrites its path to the protocol's where it is a protocol's, and leaves in its
    /// extensions which repository is meant, and what URLs begin with that its client is told.
    ///
    /// # Errors
    /// The answer, where it leads nowhere.
    fn lead<B>(&self, arrival: &Arrival, request: &mut Request<B>) -> Result<(), Box<Response>> {
        let Surfaces::Router { door, .. } = &self.surfaces else { return Ok(()) };
        let Proxied { scheme, host, prefix, base_url } = self.proxied(arrival, request.headers());
        let is_proxied = scheme.is_some() || host.is_some();
        let scheme = scheme.unwrap_or(arrival.scheme);
        let asked_host = match &host {
            Some(ForwardedHost(host)) => forwarded::host_and_port(host),
            None => host_of(request),
        };
        let hosted = self.registry.hosted().map_err(|error| {
            tracing::error!(%error, "a request can't be led to its repository");
            Box::new(plain(StatusCode::INTERNAL_SERVER_ERROR, "the storage failed\n"))
        })?;
        let path = request.uri().path().to_owned();
        let asked = Asked { door, scheme, host: asked_host.as_ref(), path: &path };
        let way = self.ways.find(asked, &hosted);
        let by = match &way {
            Way::Protocol { by, .. } => *by,
            Way::NoRepository { .. } | Way::Other => By::Path,
        };
        // What a proxy says of all at once comes first. What is configured is not for those who would come back by another
        // way then.
        let configured = self.base_url.as_ref().filter(|_| !is_proxied && by != By::Host);
        let (scheme, host, context) = match base_url.as_ref().or(configured) {
            Some(base) => {
                (base.scheme, Some(ForwardedHost(base.host.clone())), base.path.as_str().to_owned())
            }
            None => (scheme, host, format!("{}{}", prefix.as_str(), self.ways.context.as_str())),
        };
        let extensions = request.extensions_mut();
        extensions.insert(scheme);
        if let Some(host) = host {
            extensions.insert(host);
        }
        match way {
            Way::Other => {}
            Way::NoRepository { key, path } => return Err(Box::new(no_repository(&key, path, request))),
            Way::Protocol { mut mount, path: led_to, by } => {
                if by == By::Path && base_url.is_some() {
                    // A proxy that says so has put the repository's path before one at its own root: clients of docker's
                    // protocols know no prefix, and go on where they began.
                    mount.prefix.clear();
                } else {
                    mount.prefix.insert_str(0, if by == By::Path { &context } else { prefix.as_str() });
                }
                extensions.insert(mount);
                if led_to != path {
                    // A path without a part of it is one.
                    *request.uri_mut() = with_path(request.uri(), &led_to).map_err(|error| {
                        tracing::error!(%error, path, "a request's path can't be led on");
                        Box::new(plain(StatusCode::BAD_REQUEST, "the path can't be served\n"))
                    })?;
                }
            }
        }
        request.extensions_mut().insert(ContextPath(context));
        Ok(())
    }

    /// The client's address: the peer's, or where that is a trusted proxy, the last one in X-Forwarded-For
    /// that is not.
    fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let peer = peer.to_canonical();
        let trusted = |address: IpAddr| self.trusts(address);
        if !trusted(peer) {
            return peer;
        }
        let mut client = peer;
        // Nothing is believed that stands before what can't be read.
        let lines = headers.get_all(FORWARDED_FOR).iter().rev().map_while(|line| line.to_str().ok());
        for address in lines.flat_map(|line| line.rsplit(',')) {
            let Ok(address) = address.trim().parse::<IpAddr>() else { break };
            client = address.to_canonical();
            if !trusted(client) {
                break;
            }
        }
        client
    }
}

/// Whom a request says that it asks.
fn host_of<B>(request: &Request<B>) -> Option<Authority> {
    match request.uri().authority() {
        Some(authority) => forwarded::host_and_port(authority.as_str()),
        None => forwarded::host_and_port(request.headers().get(HOST)?.to_str().ok()?),
    }
}

/// A URI with another path. Its query stays.
fn with_path(uri: &Uri, path: &str) -> Result<Uri, hyper::http::Error> {
    let text = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(text.parse()?);
    Ok(Uri::from_parts(parts)?)
}

/// The answer to who asks a protocol for what can be no repository, in its shape.
fn no_repository<B>(key: &str, path: &str, request: &Request<B>) -> Response {
    let id = request.headers().get(REQUEST_ID).and_then(|id| id.to_str().ok());
    let message = format!("there is no repository {key:?} here");
    if path.starts_with("/v2") {
        use supercargo_docker_v2::error::{Code, Failure};
        Failure::new(Code::NameUnknown).message(message).into_response(id)
    } else {
        use supercargo_docker_v1::error::{Code, Failure};
        Failure::new(Code::NameUnknown).message(message).into_response(request.version(), id)
    }
}

/// Whether an HTTP/1.1 request leaves open which host it is for: a server must refuse it (RFC 9112, section
/// 3.2), since something in between may have taken it for another.
fn lacks_host<B>(request: &Request<B>) -> bool {
    let mut hosts = request.headers().get_all(HOST).iter();
    request.version() == Version::HTTP_11 && (hosts.next().is_none() || hosts.next().is_some())
}

pub(super) fn plain(status: StatusCode, text: impl Into<Body>) -> Response {
    let mut response = Response::new(text.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

fn access_line(
    method: &Method,
    path: &str,
    status: StatusCode,
    (client, certificate): (IpAddr, Option<&str>),
    id: &HeaderValue,
    began: Instant,
) {
    let id = id.to_str().unwrap_or_default();
    let millis = began.elapsed().as_millis();
    let status = status.as_u16();
    // What completes a change is one line in an ordinary log; the steps before it, and reads, are not.
    if status >= 500 {
        tracing::warn!(%method, path, status, %client, certificate, id, millis, "answered");
    } else if matches!(*method, Method::PUT | Method::DELETE) {
        tracing::info!(%method, path, status, %client, certificate, id, millis, "answered");
    } else {
        tracing::debug!(%method, path, status, %client, certificate, id, millis, "answered");
    }
}

/// Whether a request id from outside can stand in headers, log lines and records.
fn is_sane(id: &HeaderValue) -> bool {
    let id = id.as_bytes();
    (1..=REQUEST_ID_BYTES_MAX).contains(&id.len())
        && id.iter().all(|byte| {
            byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':' | b'/' | b'+' | b'=')
        })
}

/// Ids for requests that come without: a random start for this process, and a count.
#[derive(Debug)]
struct RequestIds {
    start: u64,
    count: AtomicU64,
}

impl RequestIds {
    fn new() -> RequestIds {
        use std::hash::BuildHasher;
        // Keyed at random by the standard library; ids need to differ, not to be secret.
        let start = std::collections::hash_map::RandomState::new().hash_one(std::process::id());
        RequestIds { start, count: AtomicU64::new(0) }
    }

    fn next(&self) -> HeaderValue {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        let id = format!("{:016x}-{count:x}", self.start);
        // Hexadecimal digits and a hyphen are a header's value.
        HeaderValue::from_str(&id).unwrap_or(HeaderValue::from_static("-"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_from_outside_are_taken_when_they_are_harmless() {
        for good in ["a", "5f0c-77", "req/1:2+3=", &"x".repeat(128)] {
            assert!(is_sane(&HeaderValue::from_str(good).unwrap()), "{good:?}");
        }
        for bad in ["", "a b", "a\"b", "a,b", &"x".repeat(129), "<script>"] {
            assert!(!is_sane(&HeaderValue::from_str(bad).unwrap()), "{bad:?}");
        }
        assert!(!is_sane(&HeaderValue::from_bytes(b"\xff").unwrap()));
    }

    #[test]
    fn ids_differ() {
        let (ids, others) = (RequestIds::new(), RequestIds::new());
        let all = [ids.next(), ids.next(), others.next(), others.next()];
        for (at, id) in all.iter().enumerate() {
            assert!(!all[..at].contains(id), "{all:?}");
            assert!(is_sane(id));
        }
    }
}
