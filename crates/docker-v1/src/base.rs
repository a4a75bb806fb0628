//! What concerns nothing in particular: the ping by which clients find out that this is a registry, and answers that
//! say that all is well.

use axum::response::Response;
use http::{HeaderName, HeaderValue, StatusCode};
use supercargo_http::response::json;

/// The reference implementation's version that behaves like this surface. Clients write it into their logs.
const VERSION: HeaderValue = HeaderValue::from_static("0.9.1");

/// `GET /v1/_ping` (the V1 specification, 2.1). Over https, *standalone* makes clients send a name and a password with each
/// request.
pub(crate) fn ping() -> Response {
    let mut response = done();
    let headers = response.headers_mut();
    headers.insert(HeaderName::from_static("x-docker-registry-version"), VERSION);
    headers.insert(HeaderName::from_static("x-docker-registry-standalone"), HeaderValue::from_static("true"));
    response
}

/// `GET /v1/`
pub(crate) fn base() -> Response {
    nothing()
}

/// Success, as most answers without content say it.
pub(crate) fn done() -> Response {
    json(StatusCode::OK, "true")
}

/// Success, as the calls about users and tokens say it.
pub(crate) fn ok() -> Response {
    json(StatusCode::OK, "\"OK\"")
}

/// Success, as the calls about repositories say it.
pub(crate) fn nothing() -> Response {
    json(StatusCode::OK, "\"\"")
}
