//! The protocol's own headers, and what they hold.

use http::{HeaderMap, HeaderName, HeaderValue, header};
use supercargo_registry::Notice;

/// The digest of what is served or was stored.
pub(crate) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
/// The upload session's id.
pub(crate) const UPLOAD_UUID: HeaderName = HeaderName::from_static("docker-upload-uuid");
/// The protocol's version, on every response.
pub(crate) const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");

/// Most bytes of warnings in one response.
const WARNING_BYTES_MAX: usize = 4096;

/// Tells people something by Warning headers, which clients print (OCI distribution specification,
/// "Warnings"): 4096 bytes at most, all together. What no header can hold is left out.
pub(crate) fn warn(headers: &mut HeaderMap, notices: &[Notice]) {
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

/// The `Range` of what an upload session holds. It can't say "nothing": `0-0` is what clients know for that.
pub(crate) fn received_range(received: u64) -> HeaderValue {
    let text = format!("0-{}", received.saturating_sub(1));
    // Digits and a hyphen are always fit for a header.
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("0-0"))
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
