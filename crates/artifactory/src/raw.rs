//! Files by their paths: `<key>/<path>`. They are read and deleted so, and pushed by docker alone.

use axum::response::Response;
use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use supercargo_access::Rights;
use supercargo_http::etag;
use supercargo_http::range::{self, Selection};
use supercargo_http::response::{blob, content_range, empty, header_value, warn, with_body};
use supercargo_model::account::Actions;
use supercargo_registry::Notice;
use supercargo_registry::tree::{Checksums, Item, Reach};

use crate::error::{Code, Failure};
use crate::storage::{hex, told};
use crate::{Asked, Surface, route};

const MD5: HeaderName = HeaderName::from_static("x-checksum-md5");
const SHA1: HeaderName = HeaderName::from_static("x-checksum-sha1");
const SHA256: HeaderName = HeaderName::from_static("x-checksum-sha256");
const FILE_NAME: HeaderName = HeaderName::from_static("x-artifactory-filename");

/// A path is another file's when it was deleted and pushed anew. What was kept is good while it has the same entity tag.
const ASK_AGAIN: HeaderValue = HeaderValue::from_static("private, no-cache");

/// `GET <key>/<path>`, and HEAD, which also finds out what checksums are not known yet.
pub(crate) async fn get(surface: &Surface, asked: &Asked, wanted: &route::Item) -> Result<Response, Failure> {
    let (tree, item) = surface.item(asked, wanted).await.map_err(|failure| match failure.code() {
        Code::ItemUnknown => Failure::new(Code::NotFound),
        _ => failure,
    })?;
    if item.is_folder() {
        let message =
            format!("Expected a file but found a folder, at: {}:{}", wanted.repository, wanted.path);
        return Err(Failure::invalid(message));
    }
    let mut checksums = tree.checksums(&item)?;
    if asked.parts.method == Method::HEAD && !checksums.are_known() {
        let found_out = surface.registry.find_out_checksums(&asked.admitted.caller, &item).await;
        found_out.map_err(|e| told(asked, wanted, e))?;
        let (tree, item) = surface.item(asked, wanted).await?;
        checksums = tree.checksums(&item)?;
    }
    let etag = entity_tag(&item, &checksums)?;
    let mut response = match etag::is_cached(&asked.parts.headers, &etag) {
        true => empty(StatusCode::NOT_MODIFIED),
        false => {
            let content = tree.open(&item).map_err(|e| told(asked, wanted, e))?;
            let size = content.size();
            let ranged = asked.parts.headers.get(header::RANGE).and_then(|range| range.to_str().ok());
            let selection = match ranged {
                Some(ranged)
                    if asked.parts.method != Method::HEAD
                        && etag::range_applies(&asked.parts.headers, &etag) =>
                {
                    range::select(ranged, size)
                }
                _ => Selection::Whole,
            };
            let (status, part) = match selection {
                Selection::Whole => (StatusCode::OK, 0..size),
                Selection::Part(part) => (StatusCode::PARTIAL_CONTENT, part),
                Selection::Unsatisfiable => {
                    let mut response = empty(StatusCode::RANGE_NOT_SATISFIABLE);
                    let range = header_value(format!("bytes */{size}"))?;
                    response.headers_mut().insert(header::CONTENT_RANGE, range);
                    return Ok(response);
                }
            };
            let length = part.end - part.start;
            let ranged = (status == StatusCode::PARTIAL_CONTENT).then(|| content_range(&part, size));
            // A body that answers HEAD is only measured.
            let mut response = with_body(status, blob(content, part, item.path.as_str()));
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
            if let Some(range) = ranged {
                headers.insert(header::CONTENT_RANGE, range?);
            }
            response
        }
    };
    describe(&mut response, &item, &checksums, etag)?;
    Ok(response)
}

/// The entity tag of a file is its SHA-256, or what it is known by where that is another.
fn entity_tag(item: &Item, checksums: &Checksums) -> Result<HeaderValue, Failure> {
    let text = match (checksums.sha256, item.file.as_ref().and_then(|file| file.blob())) {
        (Some(sha256), _) => hex(&sha256),
        (None, Some((digest, _))) => digest.hex(),
        (None, None) => return Err(Failure::internal("a file is neither stored nor written")),
    };
    Ok(etag::of(&text)?)
}

fn describe(
    response: &mut Response,
    item: &Item,
    checksums: &Checksums,
    etag: HeaderValue,
) -> Result<(), Failure> {
    let headers = response.headers_mut();
    let name = item.path.name();
    headers.insert(header::ETAG, etag);
    headers.insert(header::CACHE_CONTROL, ASK_AGAIN);
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if let Some(file) = &item.file {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(file.mime_type()));
    }
    // Files of the tree have plain names, without quotes.
    headers.insert(
        header::CONTENT_DISPOSITION,
        header_value(format!("attachment; filename=\"{name}\"; filename*=UTF-8''{name}"))?,
    );
    headers.insert(FILE_NAME, header_value(name.to_owned())?);
    for (header, hash) in [
        (MD5, checksums.md5.map(|hash| hex(&hash))),
        (SHA1, checksums.sha1.map(|hash| hex(&hash))),
        (SHA256, checksums.sha256.map(|hash| hex(&hash))),
    ] {
        if let Some(hash) = hash {
            headers.insert(header, header_value(hash)?);
        }
    }
    Ok(())
}

/// `PUT <key>/<path>`: a tree is what was pushed.
pub(crate) fn put(asked: &Asked, wanted: &route::Item) -> Failure {
    if asked.admitted.reads_nothing_in(&wanted.repository) {
        return asked.admitted.absent(&wanted.repository, Code::ItemUnknown);
    }
    Failure::new(Code::Conflict).message(format!(
        "files of a Docker repository are pushed with docker, so that nothing was stored at {}:{}",
        wanted.repository, wanted.path
    ))
}

/// `DELETE <key>/<path>`, with all that is below it.
pub(crate) async fn delete(
    surface: &Surface,
    asked: &Asked,
    wanted: &route::Item,
) -> Result<Response, Failure> {
    let (eyes, path) = surface.eyes(asked, wanted)?;
    let hands: Reach =
        crate::storage::reach(&asked.admitted, &wanted.repository, |rights: &Rights, key, name| {
            rights.allow(key, name, Actions::DELETE)
        });
    let (registry, caller) = (&surface.registry, &asked.admitted.caller);
    let deleted = registry.delete_item(caller, &wanted.repository, (&eyes, &hands), &path).await;
    deleted.map_err(|e| told(asked, wanted, e))?;
    let mut response = empty(StatusCode::NO_CONTENT);
    warn(response.headers_mut(), &[Notice::Deleted]);
    Ok(response)
}
