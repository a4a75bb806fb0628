//! The names of a repository and the tags of a name, as V2 lists them, of repositories that do not speak V2 (the REST
//! reference, "List Docker Repositories" and "List Docker Tags"). Without the header by which clients know V2.

use axum::response::Response;
use http::{StatusCode, header};
use serde_json::json;
use supercargo_http::page::{PageNumberInvalid, PageRequest, next_link};
use supercargo_http::query::Query;
use supercargo_http::response::{self, header_value};
use supercargo_http::{mount, request};
use supercargo_model::{RepoKey, RepoName};
use supercargo_registry::Error;

use crate::error::{Code, Failure};
use crate::{Asked, Surface};

impl From<PageNumberInvalid> for Failure {
    fn from(error: PageNumberInvalid) -> Failure {
        Failure::invalid(error.to_string())
    }
}

/// What is blacked out answers as its protocols do, in this surface's shape.
fn in_service(surface: &Surface, key: &RepoKey) -> Result<(), Failure> {
    let hosted = surface.registry.hosted()?;
    mount::open(&hosted, key)
        .map(drop)
        .map_err(|closed| Failure::new(Code::NotFound).message(closed.to_string()))
}

/// `GET api/docker/<key>/v2/_catalog[?n=][&last=]`
pub(crate) fn names(surface: &Surface, asked: &Asked, key: &RepoKey) -> Result<Response, Failure> {
    if asked.admitted.reads_nothing_in(key) {
        return Err(Error::RepositoryUnknown(key.clone()).into());
    }
    in_service(surface, key)?;
    let query = Query::parse(asked.parts.uri.query());
    let page = PageRequest::parse(&query)?;
    let shown = |name: &RepoName| asked.admitted.may_read(key, name);
    let names = surface.registry.catalog(key, page.last, page.n, shown)?;
    let entries: Vec<&str> = names.entries.iter().map(RepoName::as_str).collect();
    let mut response = response::json(StatusCode::OK, json!({ "repositories": entries }).to_string());
    if let Some(last) = names.entries.last().filter(|_| names.more) {
        let path = format!("{}/api/docker/{key}/v2/_catalog", request::base_url(&asked.parts));
        let link = next_link(&path, page.n, last.as_str(), None);
        response.headers_mut().insert(header::LINK, header_value(link)?);
    }
    Ok(response)
}

/// `GET api/docker/<key>/v2/<name>/tags/list[?n=][&last=]`
pub(crate) fn tags(
    surface: &Surface,
    asked: &Asked,
    key: &RepoKey,
    name: &RepoName,
) -> Result<Response, Failure> {
    if !asked.admitted.may_read(key, name) {
        return Err(asked.admitted.absent(key, Code::NotFound));
    }
    in_service(surface, key)?;
    let query = Query::parse(asked.parts.uri.query());
    let page = PageRequest::parse(&query)?;
    let tags = surface.registry.tags_json(key, name, page.last, page.n);
    let tags = tags.map_err(|error| match error {
        Error::NameUnknown(_) | Error::RepositoryUnknown(_) => asked.admitted.absent(key, Code::NotFound),
        error => error.into(),
    })?;
    let mut response = response::json(StatusCode::OK, tags.body.clone());
    if let Some(last) = tags.next.as_ref().filter(|_| page.n > 0) {
        let path = format!("{}/api/docker/{key}/v2/{name}/tags/list", request::base_url(&asked.parts));
        let link = next_link(&path, page.n, last.as_str(), None);
        response.headers_mut().insert(header::LINK, header_value(link)?);
    }
    Ok(response)
}
