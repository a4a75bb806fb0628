//! What concerns no name: `GET /v2/`, by which clients find out that this is a registry.

use axum::response::Response;
use http::StatusCode;

use crate::response;

/// `GET /v2/` (OCI distribution specification, "Determining Support").
pub(crate) fn ping() -> Response {
    response::json(StatusCode::OK, "{}")
}
