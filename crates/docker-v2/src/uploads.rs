//! Upload sessions: how blobs come in, at once, in a stream, in chunks, or by a mount without any bytes at
//! all (OCI distribution specification, "Pushing Blobs").

use axum::response::Response;
use http::request::Parts;
use http::{HeaderMap, StatusCode, header};
use supercargo_http::body::{BodyStream, content_length};
use supercargo_http::response::{empty, header_value};
use supercargo_model::{Algorithm, Digest, RepoName};
use supercargo_registry::{Error, UploadId};

use crate::Surface;
use crate::error::{Code, Failure};
use crate::query::Query;
use crate::range::ChunkRange;
use crate::response::{self, CONTENT_DIGEST, UPLOAD_UUID};

/// Most names that are looked at for a blob to mount, where the caller may not read all. Past them it is an upload.
const MOUNT_NAMES_MAX: usize = 1000;

/// Where a blob may be mounted from: `None` from nowhere, `Some(None)` from anywhere. What the caller may not read
/// is as if it were not there.
fn readable(
    surface: &Surface,
    parts: &Parts,
    digest: &Digest,
    from: Option<RepoName>,
) -> Result<Option<Option<RepoName>>, Failure> {
    if surface.may_pull_everything(parts) {
        return Ok(Some(from));
    }
    if let Some(from) = from {
        return Ok(surface.may_pull(parts, &from).then_some(Some(from)));
    }
    let among = surface.names_to_pull(parts, MOUNT_NAMES_MAX)?;
    let holder = surface.registry.holder(surface.repository(), digest, among)?;
    Ok(holder.map(Some))
}

/// The name that a blob is to be mounted from: `Some(None)` where the client leaves that open, `None` for what can't be one
/// or is of another repository.
fn mounted_from(surface: &Surface, from: Option<&str>) -> Result<Option<Option<RepoName>>, Failure> {
    let Some(from) = from else { return Ok(Some(None)) };
    let (repository, name) = surface.mount.find(&*surface.registry.hosted()?, from);
    Ok((repository == *surface.repository()).then(|| RepoName::parse(name).ok()).flatten().map(Some))
}

/// `POST /v2/<name>/blobs/uploads/`: mounts a blob (`mount`, perhaps `from`), or takes it whole (`digest`),
/// or starts a session. A mount that can't be made is a session, whatever the reason.
pub(crate) async fn start(
    surface: &Surface,
    parts: &Parts,
    body: &mut BodyStream,
    name: &RepoName,
) -> Result<Response, Failure> {
    let query = Query::parse(parts.uri.query());
    let mount = query.get("mount").map(Digest::parse).transpose()?;
    let whole = query.get("digest").map(Digest::parse).transpose()?;
    let algorithm = match (query.get("digest-algorithm"), whole.or(mount)) {
        (Some(algorithm), _) => algorithm.parse()?,
        (None, Some(digest)) => digest.algorithm(),
        (None, None) => Algorithm::default(),
    };
    let caller = surface.caller(parts);
    if let Some(digest) = mount
        && let Some(from) = mounted_from(surface, query.get("from"))?
        && let Some(from) = readable(surface, parts, &digest, from)?
        && surface.registry.mount_blob(&caller, surface.repository(), name, digest, from.as_ref()).await?
    {
        return stored(surface, name, &digest);
    }
    if let Some(digest) = whole {
        if let Some(length) = announced(&parts.headers) {
            surface.registry.check_upload(surface.repository(), name, None, Some(&digest), length)?;
        }
        let id =
            surface.registry.start_upload(&caller, surface.repository(), name, digest.algorithm()).await?;
        let finished =
            surface.registry.finish_upload(&caller, surface.repository(), name, id, digest, None, body).await;
        if let Err(error) = finished {
            // The client never learnt of the session, so nobody else will end it. That it may be gone
            // already is fine, and what went wrong first is what the client must hear.
            let _ = surface.registry.cancel_upload(surface.repository(), name, id).await;
            return Err(match error {
                // There is no session that the client could go on with.
                Error::UploadOutOfOrder { .. } => Failure::new(Code::BlobUploadInvalid),
                error => error.into(),
            });
        }
        return stored(surface, name, &digest);
    }
    let id = surface.registry.start_upload(&caller, surface.repository(), name, algorithm).await?;
    session(surface, StatusCode::ACCEPTED, name, id, 0)
}

/// `GET /v2/<name>/blobs/uploads/<id>`: how far the session is.
pub(crate) async fn status(surface: &Surface, name: &RepoName, id: UploadId) -> Result<Response, Failure> {
    let received = surface.registry.upload_received(surface.repository(), name, id)?;
    session(surface, StatusCode::NO_CONTENT, name, id, received)
}

/// `PATCH /v2/<name>/blobs/uploads/<id>`: a chunk, or a stream of any length.
pub(crate) async fn append(
    surface: &Surface,
    parts: &Parts,
    body: &mut BodyStream,
    name: &RepoName,
    id: UploadId,
) -> Result<Response, Failure> {
    let range = chunk_range(surface, parts, name, id).await?;
    if let Some(length) = announced(&parts.headers) {
        surface.registry.check_upload(surface.repository(), name, Some(id), None, length)?;
    }
    let received = surface
        .registry
        .append_upload(surface.repository(), name, id, range, body)
        .await
        .map_err(|error| resumable(surface, error, name, id))?;
    session(surface, StatusCode::ACCEPTED, name, id, received)
}

/// `PUT /v2/<name>/blobs/uploads/<id>?digest=<digest>`: the last chunk, which may be empty or all there is.
pub(crate) async fn finish(
    surface: &Surface,
    parts: &Parts,
    body: &mut BodyStream,
    name: &RepoName,
    id: UploadId,
) -> Result<Response, Failure> {
    let query = Query::parse(parts.uri.query());
    let Some(digest) = query.get("digest") else {
        let message = "the digest parameter is missing: finish an upload with ?digest=<digest>";
        return Err(Failure::new(Code::DigestInvalid).message(message));
    };
    let digest = Digest::parse(digest)?;
    let range = chunk_range(surface, parts, name, id).await?;
    if let Some(length) = announced(&parts.headers) {
        surface.registry.check_upload(surface.repository(), name, Some(id), Some(&digest), length)?;
    }
    surface
        .registry
        .finish_upload(&surface.caller(parts), surface.repository(), name, id, digest, range, body)
        .await
        .map_err(|error| resumable(surface, error, name, id))?;
    stored(surface, name, &digest)
}

/// `DELETE /v2/<name>/blobs/uploads/<id>`: the session and its bytes are gone.
pub(crate) async fn cancel(surface: &Surface, name: &RepoName, id: UploadId) -> Result<Response, Failure> {
    surface.registry.cancel_upload(surface.repository(), name, id).await?;
    Ok(empty(StatusCode::NO_CONTENT))
}

/// How many bytes are about to come, where that is known and they are any.
fn announced(headers: &HeaderMap) -> Option<u64> {
    content_length(headers).filter(|length| *length > 0)
}

/// Where the request's Content-Range says its body belongs. One that can't be read, or that contradicts
/// Content-Length, fits nowhere: the client hears where the session is and can go on from there.
async fn chunk_range(
    surface: &Surface,
    parts: &Parts,
    name: &RepoName,
    id: UploadId,
) -> Result<Option<(u64, u64)>, Failure> {
    let Some(header) = parts.headers.get(header::CONTENT_RANGE) else { return Ok(None) };
    let length = content_length(&parts.headers);
    let fits = header
        .to_str()
        .ok()
        .and_then(ChunkRange::parse)
        .filter(|range| length.is_none_or(|length| length == range.length));
    match fits {
        Some(range) => Ok(Some((range.start, range.length))),
        None => {
            let received = surface.registry.upload_received(surface.repository(), name, id)?;
            Err(resumable(surface, Error::UploadOutOfOrder { received }, name, id))
        }
    }
}

/// A failure that leaves the session as it was says where the session is.
fn resumable(surface: &Surface, error: Error, name: &RepoName, id: UploadId) -> Failure {
    let failure = Failure::from(error);
    if failure.code() != Code::BlobUploadOutOfOrder {
        return failure;
    }
    match surface.upload_location(name, id) {
        Ok(location) => failure.header(header::LOCATION, location),
        Err(broken) => broken,
    }
}

/// An answer about a session that holds `received` bytes.
fn session(
    surface: &Surface,
    status: StatusCode,
    name: &RepoName,
    id: UploadId,
    received: u64,
) -> Result<Response, Failure> {
    let mut response = empty(status);
    let headers = response.headers_mut();
    headers.insert(header::LOCATION, surface.upload_location(name, id)?);
    headers.insert(header::RANGE, response::received_range(received));
    headers.insert(UPLOAD_UUID, header_value(id.to_string())?);
    Ok(response)
}

/// The answer for a blob that is in its place.
fn stored(surface: &Surface, name: &RepoName, digest: &Digest) -> Result<Response, Failure> {
    let digest = digest.to_string();
    let mut response = empty(StatusCode::CREATED);
    let headers = response.headers_mut();
    headers.insert(header::LOCATION, header_value(surface.path_in(name, format_args!("blobs/{digest}")))?);
    headers.insert(CONTENT_DIGEST, header_value(digest)?);
    Ok(response)
}
