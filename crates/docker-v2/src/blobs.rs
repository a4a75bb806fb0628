//! Blobs: reading, checking and deleting them. Pushing them is uploads' business.

use axum::response::Response;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use supercargo_http::etag;
use supercargo_http::range::{self, Selection};
use supercargo_http::response::{blob, content_range, empty, header_value, with_body};
use supercargo_model::{Digest, RepoName};

use crate::Surface;
use crate::error::{Code, Failure};
use crate::response::CONTENT_DIGEST;

/// What is below a digest never changes.
const IMMUTABLE: HeaderValue = HeaderValue::from_static("max-age=31536000, immutable");

/// `GET /v2/<name>/blobs/<digest>` (OCI distribution specification, "Pulling blobs").
pub(crate) fn get(
    surface: &Surface,
    parts: &Parts,
    name: &RepoName,
    digest: &Digest,
) -> Result<Response, Failure> {
    let content = surface.registry.open_blob(surface.repository(), name, digest)?;
    let size = content.size();
    let digest = digest.to_string();
    let etag = etag::of(&digest)?;
    if etag::is_cached(&parts.headers, &etag) {
        let mut response = empty(StatusCode::NOT_MODIFIED);
        describe(response.headers_mut(), digest, etag)?;
        return Ok(response);
    }
    let selection = match parts.headers.get(header::RANGE).and_then(|range| range.to_str().ok()) {
        Some(range) if etag::range_applies(&parts.headers, &etag) => range::select(range, size),
        _ => Selection::Whole,
    };
    let (status, range) = match selection {
        Selection::Whole => (StatusCode::OK, 0..size),
        Selection::Part(range) => (StatusCode::PARTIAL_CONTENT, range),
        Selection::Unsatisfiable => {
            let whole = header_value(format!("bytes */{size}"))?;
            return Err(Failure::new(Code::RangeInvalid).header(header::CONTENT_RANGE, whole));
        }
    };
    let length = range.end - range.start;
    let content_range =
        (status == StatusCode::PARTIAL_CONTENT).then(|| content_range(&range, size)).transpose()?;
    let mut response = with_body(status, blob(content, range, &digest));
    let headers = response.headers_mut();
    describe_content(headers, digest, etag, length)?;
    if let Some(content_range) = content_range {
        headers.insert(header::CONTENT_RANGE, content_range);
    }
    Ok(response)
}

/// `HEAD /v2/<name>/blobs/<digest>`: what a client asks before it pushes, or does not.
pub(crate) fn check(
    surface: &Surface,
    parts: &Parts,
    name: &RepoName,
    digest: &Digest,
) -> Result<Response, Failure> {
    let size = surface.registry.check_blob(&surface.caller(parts), surface.repository(), name, digest)?;
    let digest = digest.to_string();
    let etag = etag::of(&digest)?;
    if etag::is_cached(&parts.headers, &etag) {
        let mut response = empty(StatusCode::NOT_MODIFIED);
        describe(response.headers_mut(), digest, etag)?;
        // Else the layer below would say that there is nothing (RFC 9110, section 8.6).
        response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(size));
        return Ok(response);
    }
    let mut response = empty(StatusCode::OK);
    describe_content(response.headers_mut(), digest, etag, size)?;
    Ok(response)
}

/// `DELETE /v2/<name>/blobs/<digest>` (OCI distribution specification, "Deleting Blobs").
pub(crate) async fn delete(
    surface: &Surface,
    parts: &Parts,
    name: &RepoName,
    digest: Digest,
) -> Result<Response, Failure> {
    surface.registry.delete_blob(&surface.caller(parts), surface.repository(), name, digest).await?;
    Ok(empty(StatusCode::ACCEPTED))
}

/// The headers of every answer about a blob.
fn describe(headers: &mut HeaderMap, digest: String, etag: HeaderValue) -> Result<(), Failure> {
    headers.insert(CONTENT_DIGEST, header_value(digest)?);
    headers.insert(header::ETAG, etag);
    headers.insert(header::CACHE_CONTROL, IMMUTABLE);
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    Ok(())
}

/// The headers of an answer that has the blob, or would.
fn describe_content(
    headers: &mut HeaderMap,
    digest: String,
    etag: HeaderValue,
    length: u64,
) -> Result<(), Failure> {
    describe(headers, digest, etag)?;
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    Ok(())
}
