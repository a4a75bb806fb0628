//! What concerns no name: `GET /v2/`, by which clients find out that this is a registry.

use axum::response::Response;
use http::StatusCode;
use supercargo_http::response::json;

/// `GET /v2/` (OCI distribution specification, "Determining Support").
pub(crate) fn ping() -> Response {
    json(StatusCode::OK, "{}")
}
