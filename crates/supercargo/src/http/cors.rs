//! What browsers ask before they let a web page of another origin use the registry (the Fetch standard, "CORS
//! protocol"). Only pages of configured origins may; what they may do then is for the surface to decide.

use std::time::Duration;

use axum::Router;
use axum::middleware::map_response;
use axum::response::Response;
use http::header::{
    ACCEPT, ACCEPT_RANGES, AUTHORIZATION, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG,
    IF_MATCH, IF_NONE_MATCH, IF_RANGE, LINK, LOCATION, RANGE, RETRY_AFTER, WARNING, WWW_AUTHENTICATE,
};
use http::{HeaderName, HeaderValue, Method};
use serde::{Deserialize, Serialize};
use tower_http::cors::{AllowOrigin, CorsLayer};

/// What stands for every origin.
const ANY: &str = "*";
/// How long a browser may remember the answer.
const MAX_AGE: Duration = Duration::from_secs(10 * 60);

const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");

/// Headers of the protocol that pages may read, beyond those of HTTP.
const PROTOCOL_HEADERS: [HeaderName; 6] = [
    HeaderName::from_static("docker-content-digest"),
    API_VERSION,
    HeaderName::from_static("docker-upload-uuid"),
    HeaderName::from_static("oci-subject"),
    HeaderName::from_static("oci-tag"),
    HeaderName::from_static("oci-filters-applied"),
];

/// Where web pages come from, as browsers say it: scheme, host and port; or `*` for anywhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct WebOrigin(String);

/// A text is no origin.
#[derive(Debug, thiserror::Error)]
#[error(
    "{0:?} is not an origin of web pages: write https://HOST or https://HOST:PORT, in lower case, or * for any"
)]
pub(crate) struct NoOrigin(String);

impl TryFrom<String> for WebOrigin {
    type Error = NoOrigin;

    fn try_from(text: String) -> Result<WebOrigin, NoOrigin> {
        let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        // Browsers send it in lower case, and it is compared letter by letter.
        let is_sent = |host: &str| {
            let known = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.:[]".contains(&b);
            !host.is_empty() && host.bytes().all(known)
        };
        if text == ANY || host.is_some_and(is_sent) { Ok(WebOrigin(text)) } else { Err(NoOrigin(text)) }
    }
}

impl From<WebOrigin> for String {
    fn from(origin: WebOrigin) -> String {
        origin.0
    }
}

/// Lets pages of these origins use what a router serves.
pub(crate) fn with_cors(router: Router, origins: &[WebOrigin]) -> Router {
    if origins.is_empty() {
        return router;
    }
    let any = origins.iter().any(|origin| origin.0 == ANY);
    let allowed = match any {
        true => AllowOrigin::any(),
        false => AllowOrigin::list(origins.iter().filter_map(|origin| HeaderValue::from_str(&origin.0).ok())),
    };
    let read = [
        ACCEPT_RANGES,
        CONTENT_LENGTH,
        CONTENT_RANGE,
        ETAG,
        LINK,
        LOCATION,
        RANGE,
        RETRY_AFTER,
        WARNING,
        WWW_AUTHENTICATE,
    ];
    let cors = CorsLayer::new()
        .allow_origin(allowed)
        .allow_methods([Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
        .allow_headers([
            ACCEPT,
            AUTHORIZATION,
            CACHE_CONTROL,
            CONTENT_RANGE,
            CONTENT_TYPE,
            IF_MATCH,
            IF_NONE_MATCH,
            IF_RANGE,
            RANGE,
        ])
        .expose_headers(PROTOCOL_HEADERS.into_iter().chain(read).collect::<Vec<_>>())
        // Pages of any origin may not use what the browser knows of its user.
        .allow_credentials(!any)
        .max_age(MAX_AGE);
    // Preflight requests are answered by the layer itself, and every answer of the protocol says what it is.
    router.layer(cors).layer(map_response(async |mut response: Response| {
        response.headers_mut().entry(API_VERSION).or_insert(HeaderValue::from_static("registry/2.0"));
        response
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_what_browsers_send() {
        let read = |text: &str| WebOrigin::try_from(text.to_owned());
        for good in ["*", "https://ui.example.org", "http://localhost:8080", "http://[::1]:80"] {
            assert_eq!(String::from(read(good).unwrap()), good);
        }
        for bad in [
            "",
            "ui.example.org",
            "https://",
            "https://a/",
            "https://A",
            "ftp://a",
            "null",
            "https://a b",
            "**",
        ] {
            assert!(read(bad).is_err(), "{bad:?} passed");
        }
    }
}
