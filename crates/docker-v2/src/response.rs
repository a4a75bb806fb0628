//! The few shapes that responses have. What goes into them is the handlers' business.

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode, header};

use crate::error::Failure;

/// The digest of what is served or was stored.
pub(crate) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
/// The upload session's id.
pub(crate) const UPLOAD_UUID: HeaderName = HeaderName::from_static("docker-upload-uuid");
/// The protocol's version, on every response.
pub(crate) const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");

/// A response without a body.
pub(crate) fn empty(status: StatusCode) -> Response {
    with_body(status, Body::empty())
}

/// A response with this body.
pub(crate) fn with_body(status: StatusCode, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}

/// A response whose body is already rendered JSON.
pub(crate) fn json(status: StatusCode, body: impl Into<Bytes>) -> Response {
    let mut response = with_body(status, Body::from(body.into()));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// A header's value from text that this crate made.
///
/// # Errors
/// Internal: parsed names, digests and media types hold nothing that a header may not.
pub(crate) fn header_value(text: String) -> Result<HeaderValue, Failure> {
    HeaderValue::try_from(text).map_err(|_| Failure::internal("a header value was not fit to be sent"))
}

/// The `Range` of what an upload session holds. It can't say "nothing": `0-0` is what clients know for that.
pub(crate) fn received_range(received: u64) -> HeaderValue {
    let text = format!("0-{}", received.saturating_sub(1));
    // Digits and a hyphen are always fit for a header.
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("0-0"))
}
