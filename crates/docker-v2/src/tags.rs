//! Listings of names: the tags of a name, and the names of a repository.

use axum::response::Response;
use http::request::Parts;
use http::{StatusCode, header};
use serde_json::json;
use supercargo_http::response::{self, header_value};
use supercargo_model::RepoName;

use crate::Surface;
use crate::error::Failure;
use crate::page::{PageRequest, next_link};
use crate::query::Query;

/// `GET /v2/<name>/tags/list` (OCI distribution specification, "Listing Tags").
pub(crate) fn list_tags(surface: &Surface, parts: &Parts, name: &RepoName) -> Result<Response, Failure> {
    let query = Query::parse(parts.uri.query());
    let page = PageRequest::parse(&query)?;
    let tags = surface.registry.tags_json(surface.repository(), name, page.last, page.n)?;
    let mut response = match surface.mount.key() {
        None => response::json(StatusCode::OK, tags.body.clone()),
        Some(key) => response::json(StatusCode::OK, tags.body_below(key.as_str())),
    };
    if let Some(last) = tags.next.as_ref().filter(|_| page.n > 0) {
        let link = next_link(&surface.path_in(name, format_args!("tags/list")), page.n, last.as_str(), None);
        response.headers_mut().insert(header::LINK, header_value(link)?);
    }
    Ok(response)
}

/// `GET /v2/_catalog`, which the distribution specification reserves and clients know from Docker's.
pub(crate) fn list_names(surface: &Surface, parts: &Parts) -> Result<Response, Failure> {
    let query = Query::parse(parts.uri.query());
    let page = PageRequest::parse(&query)?;
    let shown = |name: &RepoName| surface.may_read(parts, name);
    let n = if surface.may_read_nothing(parts) { 0 } else { page.n };
    let names = surface.registry.catalog(surface.repository(), page.last, n, shown)?;
    let entries: Vec<&str> = names.entries.iter().map(RepoName::as_str).collect();
    let mut response = response::json(StatusCode::OK, json!({ "repositories": entries }).to_string());
    if let Some(last) = names.entries.last().filter(|_| names.more) {
        let link = next_link(&surface.path(format_args!("_catalog")), page.n, last.as_str(), None);
        response.headers_mut().insert(header::LINK, header_value(link)?);
    }
    Ok(response)
}
