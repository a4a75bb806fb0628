//! Listings of what refers to a manifest: signatures, attestations, bills of materials.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::response::Response;
use http::request::Parts;
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde::Serialize;
use supercargo_http::response::{header_value, with_body};
use supercargo_model::{Digest, RepoName, limits, media_type};
use supercargo_registry::{Error, Page, Referrer};

use crate::Surface;
use crate::error::Failure;
use crate::page::{PageRequest, next_link};
use crate::query::Query;

/// How many referrers are read at once. Each may carry megabytes of annotations, so that a whole page of
/// them can't be held before it is known how large it gets.
const READ_ENTRIES: usize = 64;

/// Says that the listing was filtered, and by what.
const FILTERS_APPLIED: HeaderName = HeaderName::from_static("oci-filters-applied");

/// `GET /v2/<name>/referrers/<digest>` (OCI distribution specification, "Listing Referrers"). What is not
/// known here has no referrers, which is an answer and no error.
pub(crate) fn list(
    surface: &Surface,
    parts: &Parts,
    name: &RepoName,
    subject: &Digest,
) -> Result<Response, Failure> {
    let query = Query::parse(parts.uri.query());
    let page = PageRequest::parse(&query)?;
    // Clients that fill in a form leave it empty where they want no filter.
    let artifact_type = query.get("artifactType").filter(|kind| !kind.is_empty());
    let last = page.last.map(Digest::parse).transpose()?;

    let mut rendered = Rendered::default();
    let mut last = last;
    let mut more = page.n > 0;
    while more && rendered.entries < page.n {
        let n = READ_ENTRIES.min(page.n - rendered.entries);
        let read = match surface.registry.referrers(
            surface.repository(),
            name,
            subject,
            artifact_type,
            last.as_ref(),
            n,
        ) {
            Err(Error::NameUnknown(_)) => Page { entries: Vec::new(), more: false },
            read => read?,
        };
        // A page without entries leads nowhere, whatever it says of more.
        more = read.more && !read.entries.is_empty();
        let mut left_over = false;
        for referrer in &read.entries {
            if !rendered.push(referrer)? {
                left_over = true;
                break;
            }
            last = Some(referrer.digest);
        }
        if left_over {
            more = true;
            break;
        }
    }

    let mut response = with_body(StatusCode::OK, Body::from(rendered.finish()));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type::OCI_INDEX));
    if artifact_type.is_some() {
        headers.insert(FILTERS_APPLIED, HeaderValue::from_static("artifactType"));
    }
    if let Some(last) = last.filter(|_| more) {
        let path = surface.path_in(name, format_args!("referrers/{subject}"));
        let filter = artifact_type.map(|kind| ("artifactType", kind));
        headers.insert(header::LINK, header_value(next_link(&path, page.n, &last.to_string(), filter))?);
    }
    Ok(response)
}

/// An image index in the making. It stays under the size that clients take a manifest to have at most, but
/// holds one entry at least, or the listing would never get past a large one.
#[derive(Default)]
struct Rendered {
    manifests: Vec<u8>,
    entries: usize,
}

impl Rendered {
    /// Adds a descriptor; `false` where it no longer fits.
    fn push(&mut self, referrer: &Referrer) -> Result<bool, Failure> {
        let manifest = &referrer.manifest;
        let descriptor = Descriptor {
            media_type: &manifest.media_type,
            digest: &referrer.digest,
            size: manifest.size,
            artifact_type: manifest.listed_artifact_type(),
            annotations: manifest
                .annotations
                .iter()
                .map(|(key, value)| (key.as_str(), value.as_str()))
                .collect(),
        };
        let before = self.manifests.len();
        if self.entries > 0 {
            self.manifests.push(b',');
        }
        serde_json::to_writer(&mut self.manifests, &descriptor)
            .map_err(|error| Failure::internal(format!("rendering a referrer: {error}")))?;
        if self.entries > 0 && HEAD.len() + self.manifests.len() + TAIL.len() > limits::MANIFEST_BYTES_MAX {
            self.manifests.truncate(before);
            return Ok(false);
        }
        self.entries += 1;
        Ok(true)
    }

    fn finish(self) -> Vec<u8> {
        [HEAD.as_bytes(), &self.manifests, TAIL.as_bytes()].concat()
    }
}

/// What an index begins with, up to its list. The media type is [`media_type::OCI_INDEX`].
const HEAD: &str =
    r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":["#;
const TAIL: &str = "]}";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor<'a> {
    media_type: &'a str,
    digest: &'a Digest,
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    artifact_type: Option<&'a str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<&'a str, &'a str>,
}

#[cfg(test)]
mod tests {
    use supercargo_model::Manifest;

    use super::*;

    fn referrer(media_type: &str, json: &str) -> Referrer {
        let (manifest, _) = Manifest::parse(media_type, json.as_bytes()).unwrap();
        Referrer { digest: Digest::sha256([7; 32]), manifest }
    }

    fn config() -> String {
        format!(r#""config":{{"mediaType":"c/d","digest":"{}","size":2}}"#, Digest::sha256([1; 32]))
    }

    #[test]
    fn an_index_of_descriptors_is_rendered() {
        let mut rendered = Rendered::default();
        let image =
            referrer(media_type::OCI_MANIFEST, &format!(r#"{{{},"annotations":{{"k":"v\""}}}}"#, config()));
        let index = referrer(media_type::OCI_INDEX, r#"{"manifests":[]}"#);
        assert!(rendered.push(&image).unwrap() && rendered.push(&index).unwrap());
        let json: serde_json::Value = serde_json::from_slice(&rendered.finish()).unwrap();
        assert_eq!(json["mediaType"], media_type::OCI_INDEX);
        assert_eq!(json["manifests"][0]["artifactType"], "c/d");
        assert_eq!(json["manifests"][0]["annotations"]["k"], "v\"");
        assert_eq!(json["manifests"][0]["size"], image.manifest.size);
        assert_eq!(json["manifests"][1]["mediaType"], media_type::OCI_INDEX);
        assert!(json["manifests"][1].get("artifactType").is_none());
        assert!(json["manifests"][1].get("annotations").is_none());
    }

    #[test]
    fn an_empty_index_is_an_index() {
        let json: serde_json::Value = serde_json::from_slice(&Rendered::default().finish()).unwrap();
        assert_eq!(json["manifests"], serde_json::json!([]));
        assert_eq!(json["schemaVersion"], 2);
    }

    #[test]
    fn a_listing_is_cut_by_size_but_never_to_nothing() {
        let annotation = "x".repeat(limits::MANIFEST_BYTES_MAX - 1000);
        let json = format!(r#"{{{},"annotations":{{"k":"{annotation}"}}}}"#, config());
        let large = referrer(media_type::OCI_MANIFEST, &json);
        let mut rendered = Rendered::default();
        assert!(rendered.push(&large).unwrap());
        assert!(!rendered.push(&large).unwrap());
        assert!(serde_json::from_slice::<serde_json::Value>(&rendered.finish()).is_ok());
    }
}
