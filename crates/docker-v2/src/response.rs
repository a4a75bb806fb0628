//! The protocol's own headers, and what they hold.

use http::{HeaderName, HeaderValue};

/// The digest of what is served or was stored.
pub(crate) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
/// The upload session's id.
pub(crate) const UPLOAD_UUID: HeaderName = HeaderName::from_static("docker-upload-uuid");
/// The protocol's version, on every response.
pub(crate) const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");

/// The `Range` of what an upload session holds. It can't say "nothing": `0-0` is what clients know for that.
pub(crate) fn received_range(received: u64) -> HeaderValue {
    let text = format!("0-{}", received.saturating_sub(1));
    // Digits and a hyphen are always fit for a header.
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("0-0"))
}
