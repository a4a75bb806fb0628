//! The answer of a listener that is there to say that it is https elsewhere.

use axum::response::Response;
use hyper::header::{HOST, HeaderValue, LOCATION};
use hyper::{Request, StatusCode};

use super::app::plain;
use super::forwarded::host_and_port;
use crate::config::listen::RedirectTo;

/// 308, which keeps the method and the body, to the same path and query.
pub(super) fn answer<B>(to: &RedirectTo, request: &Request<B>) -> Response {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    // `*`, of OPTIONS, is no path; nor is the one of CONNECT.
    let path = if path.starts_with('/') { path } else { "/" };
    let location = match to {
        RedirectTo::Host(host) => format!("https://{host}{path}"),
        RedirectTo::Port(port) => {
            let Some(host) = host_of(request) else {
                return plain(StatusCode::BAD_REQUEST, "the Host header is no host\n");
            };
            match port {
                443 => format!("https://{host}{path}"),
                port => format!("https://{host}:{port}{path}"),
            }
        }
    };
    // A path that came in a request's head can stand in an answer's.
    let Ok(location) = HeaderValue::try_from(location) else {
        return plain(StatusCode::BAD_REQUEST, "the path can't be redirected\n");
    };
    let mut response = plain(StatusCode::PERMANENT_REDIRECT, "use https\n");
    response.headers_mut().insert(LOCATION, location);
    response
}

/// The host that was asked for, without its port: nothing but what a host can be.
fn host_of<B>(request: &Request<B>) -> Option<String> {
    let authority = host_and_port(request.headers().get(HOST)?.to_str().ok()?)?;
    Some(authority.host().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn location(to: &str, host: &str, target: &str) -> Option<String> {
        let request = Request::builder().uri(target).header(HOST, host).body(()).unwrap();
        let response = answer(&to.parse().unwrap(), &request);
        if response.status() == StatusCode::BAD_REQUEST {
            return None;
        }
        assert_eq!(response.status(), StatusCode::PERMANENT_REDIRECT);
        Some(response.headers()[LOCATION].to_str().unwrap().to_owned())
    }

    #[test]
    fn path_and_query_are_kept() {
        for (to, host, target, expected) in [
            (
                ":443",
                "registry.example",
                "/v2/a/tags/list?n=1",
                "https://registry.example/v2/a/tags/list?n=1",
            ),
            (":8443", "registry.example:8080", "/", "https://registry.example:8443/"),
            (":8443", "127.0.0.1:80", "/v2/", "https://127.0.0.1:8443/v2/"),
            (":8443", "[::1]:80", "/v2/", "https://[::1]:8443/v2/"),
            (":443", "a.example", "*", "https://a.example/"),
            ("https://b.example:5000", "a.example", "/v2/", "https://b.example:5000/v2/"),
            ("https://b.example/", "nonsense/", "//c.example/", "https://b.example//c.example/"),
        ] {
            assert_eq!(location(to, host, target).as_deref(), Some(expected));
        }
    }

    #[test]
    fn a_host_that_is_none_is_refused() {
        for host in
            ["", "a b", "a.example/x", "user@a.example", "a.example\\@b", "-", "[::1", "a?b", "a#b", ":80"]
        {
            assert_eq!(location(":443", host, "/"), None, "{host:?}");
        }
    }
}
