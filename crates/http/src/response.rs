//! The few shapes that responses have. What goes into them is the surfaces' business.

use std::ops::Range;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::TryStreamExt;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use supercargo_registry::{BlobContent, Notice};

/// A text is not fit to stand in a header. Never a client's fault: parsed names, digests and media types hold nothing
/// that a header may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a header value was not fit to be sent")]
pub struct Unfit;

/// A response without a body.
pub fn empty(status: StatusCode) -> Response {
    with_body(status, Body::empty())
}

/// A response with this body.
pub fn with_body(status: StatusCode, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}

/// A response whose body is already rendered JSON.
pub fn json(status: StatusCode, body: impl Into<Bytes>) -> Response {
    let mut response = with_body(status, Body::from(body.into()));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// A header's value from text that a surface made.
///
/// # Errors
/// [`Unfit`].
pub fn header_value(text: String) -> Result<HeaderValue, Unfit> {
    HeaderValue::try_from(text).map_err(|_| Unfit)
}

/// A range of a blob as a response's body. `digest` is the blob's, for the log.
pub fn blob(content: BlobContent, range: Range<u64>, digest: &str) -> Body {
    if let BlobContent::Inline(bytes) = &content
        && let (Ok(start), Ok(end)) = (usize::try_from(range.start), usize::try_from(range.end))
        && end <= bytes.len()
    {
        return Body::from(bytes.slice(start..end));
    }
    let digest = digest.to_owned();
    Body::from_stream(content.into_body_stream(range).inspect_err(move |error| {
        // The status is out: all that is left is to break off, and to say why where somebody can read it.
        tracing::error!(blob = digest, %error, "reading a blob failed");
    }))
}

/// The `Content-Range` of a part that is served of `size` bytes (RFC 9110, section 14.4). The part is not empty.
///
/// # Errors
/// [`Unfit`], which digits never are.
pub fn content_range(part: &Range<u64>, size: u64) -> Result<HeaderValue, Unfit> {
    // A selected part has one byte at least, so its end is 1 or more.
    header_value(format!("bytes {}-{}/{size}", part.start, part.end - 1))
}

/// Most bytes of warnings in one response.
const WARNING_BYTES_MAX: usize = 4096;

/// Tells people something by Warning headers, which clients print (OCI distribution specification,
/// "Warnings"): 4096 bytes at most, all together. What no header can hold is left out.
pub fn warn(headers: &mut HeaderMap, notices: &[Notice]) {
    let mut left = WARNING_BYTES_MAX;
    for notice in notices {
        let text = warning(&notice.to_string());
        if text.len() > left {
            return;
        }
        left -= text.len();
        if let Ok(value) = HeaderValue::try_from(text) {
            headers.append(header::WARNING, value);
        }
    }
}

/// A Warning header's value: the text as a quoted string (RFC 9110, section 5.6.4).
fn warning(text: &str) -> String {
    let mut value = String::from("299 - \"");
    for c in text.chars() {
        if matches!(c, '"' | '\\') {
            value.push('\\');
        }
        value.push(if c.is_ascii_graphic() || c == ' ' { c } else { '?' });
    }
    value.push('"');
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_quoted_and_bounded() {
        assert_eq!(warning("say \"é\\\n\""), r#"299 - "say \"?\\?\"""#);
        let mut headers = HeaderMap::new();
        warn(&mut headers, &vec![Notice::Schema1Pushed; 1000]);
        let lines: Vec<&str> =
            headers.get_all(header::WARNING).iter().map(|value| value.to_str().unwrap()).collect();
        assert!(lines.len() > 1);
        assert!(lines.iter().all(|line| line.starts_with("299 - \"") && line.ends_with('"')));
        assert!(lines.iter().map(|line| line.len()).sum::<usize>() <= WARNING_BYTES_MAX);
    }
}
