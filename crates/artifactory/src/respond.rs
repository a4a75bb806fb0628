//! The shapes that answers have: text, JSON under Artifactory's content types, and JSON that is written while it is read,
//! for what may be longer than memory.

use std::io::{self, Write};

use axum::body::Body;
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use futures_util::stream;
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use supercargo_http::response;
use supercargo_model::Timestamp;
use supercargo_registry::tree::{Walk, Walks};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use crate::error::Failure;

/// What is gathered before it is sent, in bytes.
const PIECE_BYTES: usize = 16 * 1024;
/// How many pieces may wait for the client.
const PIECES_WAITING: usize = 4;

/// What Artifactory calls its answers.
pub(crate) mod content_type {
    /// Plain JSON.
    pub(crate) const JSON: &str = "application/json";
    /// Of a folder.
    pub(crate) const FOLDER_INFO: &str = "application/vnd.org.jfrog.artifactory.storage.FolderInfo+json";
    /// Of a file.
    pub(crate) const FILE_INFO: &str = "application/vnd.org.jfrog.artifactory.storage.FileInfo+json";
    /// Of what is below a folder.
    pub(crate) const FILE_LIST: &str = "application/vnd.org.jfrog.artifactory.storage.FileList+json";
    /// Of an item's properties.
    pub(crate) const ITEM_PROPERTIES: &str =
        "application/vnd.org.jfrog.artifactory.storage.ItemProperties+json";
    /// Of repositories.
    pub(crate) const REPOSITORY_LIST: &str =
        "application/vnd.org.jfrog.artifactory.repositories.RepositoryDetailsList+json";
    /// Of a repository's settings.
    pub(crate) const REPOSITORY: &str =
        "application/vnd.org.jfrog.artifactory.repositories.LocalRepositoryConfiguration+json";
    /// Of users.
    pub(crate) const USERS: &str = "application/vnd.org.jfrog.artifactory.security.Users+json";
    /// Of a user.
    pub(crate) const USER: &str = "application/vnd.org.jfrog.artifactory.security.User+json";
    /// Of groups.
    pub(crate) const GROUPS: &str = "application/vnd.org.jfrog.artifactory.security.Groups+json";
    /// Of a group.
    pub(crate) const GROUP: &str = "application/vnd.org.jfrog.artifactory.security.Group+json";
    /// Of permission targets.
    pub(crate) const TARGETS: &str = "application/vnd.org.jfrog.artifactory.security.PermissionTargets+json";
    /// Of a permission target.
    pub(crate) const TARGET: &str = "application/vnd.org.jfrog.artifactory.security.PermissionTarget+json";
    /// Of the server's version.
    pub(crate) const VERSION: &str = "application/vnd.org.jfrog.artifactory.system.Version+json";
    /// Of what a search found.
    pub(crate) const PROPERTY_SEARCH: &str =
        "application/vnd.org.jfrog.artifactory.search.MetadataSearchResult+json";
    /// Of what a search by name or checksum found.
    pub(crate) const ARTIFACT_SEARCH: &str =
        "application/vnd.org.jfrog.artifactory.search.ArtifactSearchResult+json";
}

/// A response with text.
pub(crate) fn text(status: StatusCode, text: impl Into<Body>) -> Response {
    let mut response = response::with_body(status, text.into());
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, plain);
    response
}

/// A response with a JSON value, under one of [`content_type`].
///
/// # Errors
/// Internal, for what can't be JSON.
pub(crate) fn json(
    status: StatusCode,
    content_type: &'static str,
    value: &impl Serialize,
) -> Result<Response, Failure> {
    let body = serde_json::to_vec(value).map_err(|e| Failure::internal(e.to_string()))?;
    let mut response = response::json(status, body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    Ok(response)
}

/// A moment as Artifactory writes it: `yyyy-MM-dd'T'HH:mm:ss.SSSZ`, in UTC.
pub(crate) fn time(at: Timestamp) -> String {
    let at = jiff::Timestamp::from_microsecond(at.as_micros()).unwrap_or(jiff::Timestamp::MAX);
    at.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}

/// A response whose JSON `produce` writes on a thread that may block, while it walks over a tree. It waits where the client takes its time, and its
/// next write fails where the client is gone. What fails before the first piece is full fails the request; later than
/// that the status is out, and the body breaks off.
///
/// # Errors
/// What `produce` failed with, in time.
pub(crate) async fn stream(
    walks: &Walks,
    content_type: &'static str,
    produce: impl FnOnce(&mut Sink) -> Result<(), StreamError> + Send + 'static,
) -> Result<Response, Failure> {
    let walk = walks.begin().await?;
    let (to, mut pieces) = mpsc::channel(PIECES_WAITING);
    tokio::task::spawn_blocking(move || {
        let mut sink = Sink { to, piece: BytesMut::with_capacity(PIECE_BYTES), walk };
        let produced = produce(&mut sink).and_then(|()| Ok(sink.send()?));
        if let Err(StreamError::Failed(failure)) = produced {
            // Nobody is there to hear of it where this fails.
            let _ = sink.to.blocking_send(Err(failure));
        }
    });
    let first = pieces.recv().await.transpose()?.unwrap_or_default();
    let second = pieces.recv().await;
    let body = match second {
        None => Body::from(first),
        Some(second) => {
            let begun = stream::iter([Ok(first), second.map_err(|failure| break_off(&failure))]);
            let rest = stream::unfold(pieces, |mut pieces| async {
                let piece = pieces.recv().await?;
                Some((piece.map_err(|failure| break_off(&failure)), pieces))
            });
            Body::from_stream(futures_util::StreamExt::chain(begun, rest))
        }
    };
    let mut response = response::with_body(StatusCode::OK, body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    Ok(response)
}

/// Does what blocks on a thread that may.
///
/// # Errors
/// Those of `work`; internal, where it breaks.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|broken| Err(Failure::internal(broken.to_string())))
}

/// The status is out: all that is left is to break off, and to say why where somebody can read it.
fn break_off(failure: &Failure) -> io::Error {
    tracing::error!(error = ?failure, "an answer could not be finished");
    io::Error::other("the answer could not be finished")
}

/// Why nothing more is written.
#[derive(Debug)]
pub(crate) enum StreamError {
    /// The client went away.
    Gone,
    /// Something went wrong.
    Failed(Failure),
}

/// Writing to a [`Sink`] fails where the client is gone, and for nothing else.
impl From<io::Error> for StreamError {
    fn from(_: io::Error) -> StreamError {
        StreamError::Gone
    }
}

impl From<serde_json::Error> for StreamError {
    fn from(error: serde_json::Error) -> StreamError {
        if error.is_io() {
            StreamError::Gone
        } else {
            StreamError::Failed(Failure::internal(error.to_string()))
        }
    }
}

impl From<Failure> for StreamError {
    fn from(failure: Failure) -> StreamError {
        StreamError::Failed(failure)
    }
}

impl From<supercargo_registry::Error> for StreamError {
    fn from(error: supercargo_registry::Error) -> StreamError {
        StreamError::Failed(error.into())
    }
}

/// Where an answer is written to, on its way to the client.
pub(crate) struct Sink {
    to: mpsc::Sender<Result<Bytes, Failure>>,
    piece: BytesMut,
    walk: Walk,
}

impl Sink {
    /// Writes an array of JSON, one element at a time.
    pub(crate) fn array(&mut self) -> Result<Elements<'_>, StreamError> {
        self.write_all(b"[")?;
        Ok(Elements { sink: self, first: true })
    }

    /// Whether the client is gone, for whoever works long between two writes.
    pub(crate) fn is_gone(&self) -> bool {
        self.to.is_closed()
    }

    fn send(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let piece = self.piece.split().freeze();
        self.piece.reserve(PIECE_BYTES);
        let sent = match self.to.try_send(Ok(piece)) {
            Ok(()) => true,
            Err(TrySendError::Full(piece)) => self.walk.pause(|| self.to.blocking_send(piece).is_ok()),
            Err(TrySendError::Closed(_)) => false,
        };
        if sent { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= PIECE_BYTES {
            self.send()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.send()
    }
}

/// The elements of an array that is being written.
pub(crate) struct Elements<'a> {
    sink: &'a mut Sink,
    first: bool,
}

impl Elements<'_> {
    /// Writes the next element.
    ///
    /// # Errors
    /// The client is gone, or the value can't be JSON.
    pub(crate) fn push(&mut self, value: &impl Serialize) -> Result<(), StreamError> {
        if !std::mem::replace(&mut self.first, false) {
            self.sink.write_all(b",")?;
        }
        serde_json::to_writer(&mut *self.sink, value)?;
        Ok(())
    }

    /// Whether the client is gone.
    pub(crate) fn is_gone(&self) -> bool {
        self.sink.is_gone()
    }

    /// Closes the array.
    ///
    /// # Errors
    /// The client is gone.
    pub(crate) fn end(self) -> Result<(), StreamError> {
        Ok(self.sink.write_all(b"]")?)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[test]
    fn moments_are_written_to_the_millisecond() {
        for (micros, text) in
            [(0, "1970-01-01T00:00:00.000Z"), (1_456_789_012_345_678, "2016-02-29T23:36:52.345Z")]
        {
            assert_eq!(time(Timestamp::from_micros(micros)), text);
        }
    }

    #[tokio::test]
    async fn an_answer_longer_than_a_piece_comes_whole() {
        let walks = Walks::default();
        let response = stream(&walks, content_type::JSON, |sink| {
            let mut numbers = sink.array()?;
            for number in 0..100_000 {
                numbers.push(&number)?;
            }
            numbers.end()
        });
        let body = response.await.unwrap().into_body().collect().await.unwrap().to_bytes();
        let numbers: Vec<u32> = serde_json::from_slice(&body).unwrap();
        assert!(numbers.into_iter().eq(0..100_000));
        let empty = stream(&walks, content_type::JSON, |sink| sink.array()?.end()).await.unwrap();
        assert_eq!(empty.into_body().collect().await.unwrap().to_bytes(), "[]");
    }

    #[tokio::test]
    async fn what_fails_at_once_fails_the_request_and_what_fails_later_breaks_the_answer_off() {
        let walks = Walks::default();
        let at_once = stream(&walks, content_type::JSON, |sink| {
            sink.write_all(b"[1")?;
            Err(Failure::invalid("no").into())
        });
        assert_eq!(at_once.await.unwrap_err().text(), "no");
        let later = stream(&walks, content_type::JSON, |sink| {
            for _ in 0..3 * PIECE_BYTES {
                sink.write_all(b"1")?;
            }
            Err(Failure::invalid("no").into())
        });
        assert!(later.await.unwrap().into_body().collect().await.is_err());
    }

    #[tokio::test]
    async fn nothing_is_written_for_a_client_that_is_gone() {
        let walks = Walks::default();
        let (told, gone) = tokio::sync::oneshot::channel();
        let response = stream(&walks, content_type::JSON, move |sink| {
            let written = loop {
                if let Err(error) = sink.write_all(&[b'1'; 1024]) {
                    break error;
                }
            };
            let _ = told.send((written.kind(), sink.is_gone()));
            Ok(())
        });
        drop(response.await.unwrap());
        assert_eq!(gone.await.unwrap(), (io::ErrorKind::BrokenPipe, true));
    }
}
