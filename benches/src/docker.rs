//! What Docker clients ask of a registry, as sequences of requests on one connection.

use bytes::Bytes;
use http::{Method, StatusCode};
use supercargo_model::Digest;

use crate::content::{Blob, Image, MANIFEST};
use crate::http::{Call, Connection, Payload};
use crate::{Error, Result};

/// The ways in for a blob's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// POST, then all bytes in the PUT, their length said.
    Monolithic,
    /// POST, all bytes in one PATCH without a length, and a PUT without a body: what the Docker client does.
    Streamed,
}

/// Pushes a blob. When this returns, the registry has said that it is stored.
///
/// # Errors
/// As [`Connection::send`]: any other status than the specification's is one.
pub async fn push_blob(connection: &mut Connection, name: &str, blob: &Blob, way: Way) -> Result<()> {
    let path = format!("/v2/{name}/blobs/uploads/");
    let started = connection.send(Call::new(Method::POST, &path), StatusCode::ACCEPTED).await?;
    let session = started.location().ok_or_else(|| Error::Wrong(format!("POST {path}: no Location")))?;
    let (session, payload) = match way {
        Way::Monolithic => (session, Payload::sized(blob)),
        Way::Streamed => {
            let call = Call { payload: Payload::chunked(blob), ..octets(Method::PATCH, &session) };
            let patched = connection.send(call, StatusCode::ACCEPTED).await?;
            (patched.location().unwrap_or(session), Payload::empty())
        }
    };
    let joint = if session.contains('?') { '&' } else { '?' };
    let path = format!("{session}{joint}digest={}", blob.digest);
    connection.send(Call { payload, ..octets(Method::PUT, &path) }, StatusCode::CREATED).await?;
    Ok(())
}

fn octets(method: Method, path: &str) -> Call<'_> {
    Call { content_type: Some("application/octet-stream"), ..Call::new(method, path) }
}

/// Asks whether a blob is there, expecting that it is (`true`) or is not.
///
/// # Errors
/// As [`Connection::send`].
pub async fn head_blob(connection: &mut Connection, name: &str, digest: &Digest, there: bool) -> Result<()> {
    let path = format!("/v2/{name}/blobs/{digest}");
    let expected = if there { StatusCode::OK } else { StatusCode::NOT_FOUND };
    connection.send(Call::new(Method::HEAD, &path), expected).await.map(drop)
}

/// Reads a blob of that size and throws it away.
///
/// # Errors
/// As [`Connection::send`], and [`Error::Wrong`] where it has another size.
pub async fn pull_blob(connection: &mut Connection, name: &str, digest: &Digest, size: u64) -> Result<()> {
    let path = format!("/v2/{name}/blobs/{digest}");
    let answer = connection.send(Call::new(Method::GET, &path), StatusCode::OK).await?;
    if answer.body_bytes == size {
        return Ok(());
    }
    Err(Error::Wrong(format!("GET {path}: {} bytes, not {size}", answer.body_bytes)))
}

/// Path of a manifest.
pub fn manifest_path(name: &str, reference: &str) -> String {
    format!("/v2/{name}/manifests/{reference}")
}

/// Pushes a manifest.
///
/// # Errors
/// As [`Connection::send`].
pub async fn push_manifest(
    connection: &mut Connection,
    name: &str,
    reference: &str,
    manifest: Bytes,
) -> Result<()> {
    let path = manifest_path(name, reference);
    let call =
        Call { content_type: Some(MANIFEST), payload: manifest.into(), ..Call::new(Method::PUT, &path) };
    connection.send(call, StatusCode::CREATED).await.map(drop)
}

/// HEAD or GET of a manifest that is there.
///
/// # Errors
/// As [`Connection::send`].
pub async fn manifest(
    connection: &mut Connection,
    method: Method,
    name: &str,
    reference: &str,
) -> Result<()> {
    let path = manifest_path(name, reference);
    let call = Call { accept: Some(MANIFEST), ..Call::new(method, &path) };
    connection.send(call, StatusCode::OK).await.map(drop)
}

/// Deletes a manifest by its digest.
///
/// # Errors
/// As [`Connection::send`].
pub async fn delete_manifest(connection: &mut Connection, name: &str, digest: &Digest) -> Result<()> {
    let path = manifest_path(name, &digest.to_string());
    connection.send(Call::new(Method::DELETE, &path), StatusCode::ACCEPTED).await.map(drop)
}

/// Pushes an image that is not there as the Docker client does: for each blob HEAD, POST, PATCH and PUT; then
/// HEAD and PUT of the manifest by its tag.
///
/// # Errors
/// As [`Connection::send`].
pub async fn push_image(connection: &mut Connection, name: &str, tag: &str, image: &Image) -> Result<()> {
    for blob in &image.blobs {
        head_blob(connection, name, &blob.digest, false).await?;
        push_blob(connection, name, blob, Way::Streamed).await?;
    }
    let path = manifest_path(name, tag);
    let call = Call { accept: Some(MANIFEST), ..Call::new(Method::HEAD, &path) };
    connection.send(call, StatusCode::NOT_FOUND).await?;
    push_manifest(connection, name, tag, image.manifest.clone()).await
}

/// Pulls an image as container engines do: HEAD of the tag, GET of the manifest by digest, GET of each blob.
///
/// # Errors
/// As [`Connection::send`].
pub async fn pull_image(connection: &mut Connection, name: &str, tag: &str, image: &Image) -> Result<()> {
    manifest(connection, Method::HEAD, name, tag).await?;
    manifest(connection, Method::GET, name, &image.digest.to_string()).await?;
    for blob in &image.blobs {
        pull_blob(connection, name, &blob.digest, blob.size()).await?;
    }
    Ok(())
}
