//! Images: their JSON, their layers and what they were made from, going out and coming in (the V1 specification, 5.2, 5.3,
//! 6.3 to 6.5 and 7).

use axum::response::Response;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use supercargo_http::body::BodyStream;
use supercargo_http::etag;
use supercargo_http::range::{self, Selection};
use supercargo_http::response::{self, blob, content_range, empty, header_value, with_body};
use supercargo_model::{Algorithm, Digest, ImageId};
use supercargo_registry::Error;
use supercargo_registry::v1::V1ImageInfo;

use crate::error::{Code, Failure};
use crate::gate::Admitted;
use crate::{Surface, base};

/// The size of an image's layer, as it is served. Clients resume by it.
const SIZE: HeaderName = HeaderName::from_static("x-docker-size");
/// The checksum of an image's JSON and layer.
const PAYLOAD_CHECKSUM: HeaderName = HeaderName::from_static("x-docker-checksum-payload");
/// The checksum of an image's JSON and of what its layer unpacks to.
const TARSUM: HeaderName = HeaderName::from_static("x-docker-checksum");

/// Asked for again each time: an id is somebody else's image to somebody else, and another image once it was collected
/// and pushed anew. What was kept is good while it has the same entity tag.
const ASK_AGAIN: HeaderValue = HeaderValue::from_static("private, no-cache");
/// What decides which image of an id is seen.
const BY_CALLER: HeaderValue = HeaderValue::from_static("Authorization, Cookie");

/// Longest tarsum that is kept, in bytes. One has some 80.
const TARSUM_BYTES_MAX: usize = 255;

/// `GET /v1/images/<id>/json`. To whoever may push it promises that the image will be there for a while: what is there is
/// not pushed.
pub(crate) async fn get_json(
    surface: &Surface,
    parts: &Parts,
    admitted: &Admitted,
    id: &ImageId,
) -> Result<Response, Failure> {
    let (registry, repository) = (&surface.registry, surface.repository());
    let viewer = admitted.viewer();
    let found = match (admitted.may_push, admitted.pushes()) {
        // What is told to whoever pushes has to be what it may go on with.
        (true, Some(true)) => registry.v1_check_image(repository, viewer, id).await,
        (true, None) => match registry.v1_check_image(repository, viewer, id).await {
            Err(Error::ImageUnknown(_)) => registry.v1_image(repository, viewer, id).await,
            found => found,
        },
        (_, Some(false)) | (false, _) => registry.v1_image(repository, viewer, id).await,
    };
    let image = found.map_err(|error| absent(surface, parts, admitted, error))?;
    let etag = entity_tag(&image, image.image.json)?;
    let mut response = match etag::is_cached(&parts.headers, &etag) {
        true => empty(StatusCode::NOT_MODIFIED),
        false => response::json(StatusCode::OK, registry.v1_image_json(&image)?),
    };
    let headers = response.headers_mut();
    describe(headers, etag);
    headers.insert(SIZE, HeaderValue::from(image.image.layer_size));
    if let Some(checksum) = &image.image.checksum {
        headers.insert(PAYLOAD_CHECKSUM, header_value(checksum.to_string())?);
    }
    Ok(response)
}

/// `GET /v1/images/<id>/ancestry`: the image first, its base last.
pub(crate) async fn get_ancestry(
    surface: &Surface,
    parts: &Parts,
    admitted: &Admitted,
    id: &ImageId,
) -> Result<Response, Failure> {
    let ancestry = surface.registry.v1_ancestry(surface.repository(), admitted.viewer(), id).await;
    crate::json(&ancestry.map_err(|error| absent(surface, parts, admitted, error))?)
}

/// `GET /v1/images/<id>/files`: what the layer holds.
pub(crate) async fn list_files(
    surface: &Surface,
    parts: &Parts,
    admitted: &Admitted,
    id: &ImageId,
) -> Result<Response, Failure> {
    let image = find(surface, parts, admitted, id).await?;
    let etag = entity_tag(&image, image.image.layer)?;
    let mut response = match etag::is_cached(&parts.headers, &etag) {
        true => empty(StatusCode::NOT_MODIFIED),
        false => crate::json(&surface.registry.v1_files(&image).await.map_err(unreadable)?)?,
    };
    describe(response.headers_mut(), etag);
    Ok(response)
}

/// `GET /v1/images/<id>/layer`, whole or from where a client lost it.
pub(crate) async fn get_layer(
    surface: &Surface,
    parts: &Parts,
    admitted: &Admitted,
    id: &ImageId,
) -> Result<Response, Failure> {
    let image = find(surface, parts, admitted, id).await?;
    let etag = entity_tag(&image, image.image.layer)?;
    let mut response = match etag::is_cached(&parts.headers, &etag) {
        true => empty(StatusCode::NOT_MODIFIED),
        false => layer(surface, parts, &image, &etag)?,
    };
    let beyond_the_end = response.status() == StatusCode::RANGE_NOT_SATISFIABLE;
    let headers = response.headers_mut();
    if !beyond_the_end {
        describe(headers, etag);
    }
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    Ok(response)
}

fn layer(
    surface: &Surface,
    parts: &Parts,
    image: &V1ImageInfo,
    etag: &HeaderValue,
) -> Result<Response, Failure> {
    let content = surface.registry.v1_layer(image)?;
    let size = content.size();
    let asked = parts.headers.get(header::RANGE).and_then(|range| range.to_str().ok());
    let selection = match asked {
        Some(asked) if parts.method != Method::HEAD && etag::range_applies(&parts.headers, etag) => {
            range::select(asked, size)
        }
        _ => Selection::Whole,
    };
    let (status, part) = match selection {
        Selection::Whole => (StatusCode::OK, 0..size),
        Selection::Part(part) => (StatusCode::PARTIAL_CONTENT, part),
        Selection::Unsatisfiable => {
            // A client that has it all asks for what comes after, and reads an empty answer as the end.
            let mut response = empty(StatusCode::RANGE_NOT_SATISFIABLE);
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_RANGE, header_value(format!("bytes */{size}"))?);
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(0_u64));
            return Ok(response);
        }
    };
    let length = part.end - part.start;
    let described =
        (status == StatusCode::PARTIAL_CONTENT).then(|| content_range(&part, size)).transpose()?;
    let mut response = with_body(status, blob(content, part, &image.image.layer.to_string()));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    if let Some(described) = described {
        headers.insert(header::CONTENT_RANGE, described);
    }
    Ok(response)
}

/// `PUT /v1/images/<id>/json`: an image begins to come in.
pub(crate) async fn put_json(
    surface: &Surface,
    parts: &Parts,
    admitted: &Admitted,
    id: &ImageId,
    json: Bytes,
) -> Result<Response, Failure> {
    let pusher = admitted.pusher(parts);
    surface.registry.v1_put_json(surface.repository(), admitted.viewer(), &pusher, id, json).await?;
    Ok(base::done())
}

/// `PUT /v1/images/<id>/layer`: a stream of any length.
pub(crate) async fn put_layer(
    surface: &Surface,
    parts: &Parts,
    admitted: &Admitted,
    body: &mut BodyStream,
    id: &ImageId,
) -> Result<Response, Failure> {
    let pusher = admitted.pusher(parts);
    surface.registry.v1_put_layer(surface.repository(), admitted.viewer(), &pusher, id, body).await?;
    Ok(base::done())
}

/// `PUT /v1/images/<id>/checksum`: the image is whole, if what came has the checksum.
pub(crate) async fn put_checksum(
    surface: &Surface,
    parts: &Parts,
    admitted: &Admitted,
    id: &ImageId,
) -> Result<Response, Failure> {
    let checksum = payload_checksum(&parts.headers)?;
    let tarsum = tarsum(&parts.headers)?;
    let pusher = admitted.pusher(parts);
    let (repository, viewer) = (surface.repository(), admitted.viewer());
    surface.registry.v1_put_checksum(repository, viewer, &pusher, id, checksum, tarsum).await?;
    Ok(base::done())
}

fn payload_checksum(headers: &HeaderMap) -> Result<Digest, Failure> {
    let sent = headers.get(PAYLOAD_CHECKSUM).ok_or_else(|| Failure::new(Code::ChecksumMissing))?;
    let sent = sent.to_str().map_err(|_| Failure::new(Code::ChecksumInvalid))?.trim_ascii();
    if sent.is_empty() {
        return Err(Failure::new(Code::ChecksumEmpty));
    }
    let digest = Digest::parse(sent).ok().filter(|digest| digest.algorithm() == Algorithm::Sha256);
    digest.ok_or_else(|| Failure::new(Code::ChecksumInvalid))
}

fn tarsum(headers: &HeaderMap) -> Result<Option<&str>, Failure> {
    let Some(sent) = headers.get(TARSUM) else { return Ok(None) };
    let sent = sent.to_str().ok().map(str::trim_ascii).filter(|sent| sent.len() <= TARSUM_BYTES_MAX);
    let wrong = || Failure::new(Code::ArgumentInvalid).message("X-Docker-Checksum is no tarsum");
    Ok(Some(sent.ok_or_else(wrong)?).filter(|sent| !sent.is_empty()))
}

/// An image that is whole.
async fn find(
    surface: &Surface,
    parts: &Parts,
    admitted: &Admitted,
    id: &ImageId,
) -> Result<V1ImageInfo, Failure> {
    let found = surface.registry.v1_image(surface.repository(), admitted.viewer(), id).await;
    found.map_err(|error| absent(surface, parts, admitted, error))
}

/// Why an image is not found: whoever is pushing it hears that it is not whole yet.
fn absent(surface: &Surface, parts: &Parts, admitted: &Admitted, error: Error) -> Failure {
    match error {
        Error::ImageUnknown(id)
            if surface.registry.v1_is_uploading(surface.repository(), &admitted.pusher(parts), &id) =>
        {
            Failure::new(Code::ImageUploading)
        }
        // Also what V2 clients pushed, and what V1 clients can't be shown.
        error => unreadable(error),
    }
}

/// What becomes of a question about an image that is there.
fn unreadable(error: Error) -> Failure {
    Failure::reading(error, Code::ImageUnknown)
}

/// The entity tag of something of an image: its checksum, or the digest of what is served where it has none.
fn entity_tag(image: &V1ImageInfo, served: Digest) -> Result<HeaderValue, Failure> {
    Ok(etag::of(&image.image.checksum.unwrap_or(served).to_string())?)
}

/// The headers of every answer with an image's JSON or layer, or about them.
fn describe(headers: &mut HeaderMap, etag: HeaderValue) {
    headers.insert(header::CACHE_CONTROL, ASK_AGAIN);
    headers.insert(header::VARY, BY_CALLER);
    headers.insert(header::ETAG, etag);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_bytes(value.as_bytes()).unwrap())])
    }

    #[test]
    fn a_checksum_is_a_sha256() {
        let checksum = format!("sha256:{}", "0f".repeat(32));
        let read = |value: &str| payload_checksum(&headers(PAYLOAD_CHECKSUM, value)).map_err(|e| e.code());
        assert_eq!(read(&format!(" {checksum} ")).unwrap().to_string(), checksum);
        assert_eq!(payload_checksum(&HeaderMap::new()).unwrap_err().code(), Code::ChecksumMissing);
        for empty in ["", "  "] {
            assert_eq!(read(empty), Err(Code::ChecksumEmpty));
        }
        for wrong in
            ["x", "sha256:", &checksum[..70], &checksum.to_uppercase(), &format!("tarsum+{checksum}"), "é"]
        {
            assert_eq!(read(wrong), Err(Code::ChecksumInvalid), "{wrong}");
        }
        let longer = format!("sha512:{}", "0f".repeat(64));
        assert_eq!(read(&longer), Err(Code::ChecksumInvalid));
    }

    #[test]
    fn a_tarsum_is_kept_where_it_may_be_one() {
        let read = |value: &str| {
            tarsum(&headers(TARSUM, value)).map(|sum| sum.map(str::to_owned)).map_err(|e| e.code())
        };
        assert_eq!(read(" tarsum+sha256:00 "), Ok(Some("tarsum+sha256:00".to_owned())));
        assert_eq!(read(""), Ok(None));
        assert_eq!(tarsum(&HeaderMap::new()).unwrap(), None);
        for wrong in ["é", &"x".repeat(256)] {
            assert_eq!(read(wrong), Err(Code::ArgumentInvalid));
        }
    }
}
