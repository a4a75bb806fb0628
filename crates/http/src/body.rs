//! Request bodies: as a stream that does not wait for ever, and whole, up to a limit. What lives here
//! knows nothing of what the bytes mean.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use http::{HeaderMap, header};
use supercargo_registry::Error;
use tokio::time::{Sleep, sleep, timeout};

/// How much of a body that nobody wants is still read, in bytes, so that a client that sends it all before it
/// looks for an answer finds one instead of a closed connection.
const DISCARDED_BYTES_MAX: usize = 16 * 1024 * 1024;
/// How long that may take.
const DISCARD_TIME_MAX: Duration = Duration::from_secs(5);

/// A request body's data. Ends with an error of kind [`io::ErrorKind::TimedOut`] where the client sends
/// nothing for too long, and of kind [`io::ErrorKind::UnexpectedEof`] where it vanishes or sends less than it
/// announced (the HTTP layer below counts).
pub struct BodyStream {
    body: Body,
    patience: Duration,
    /// Whether the client waits for leave to send (`Expect: 100-continue`), which the first read gives.
    awaits_leave: bool,
    /// Set for as long as the client is being waited for; most bodies are there at once.
    deadline: Option<Pin<Box<Sleep>>>,
    ended: bool,
}

impl BodyStream {
    /// A request's body. `patience` is how long the client may send nothing.
    pub fn new(headers: &HeaderMap, body: Body, patience: Duration) -> BodyStream {
        let awaits_leave = headers.contains_key(header::EXPECT);
        BodyStream { body, patience, awaits_leave, deadline: None, ended: false }
    }

    /// The whole body, if it has `limit` bytes at most.
    ///
    /// # Errors
    /// [`ReadError::TooLarge`] where it is longer or says that it will be; [`Error::BodyTimeout`] and
    /// [`Error::BodyIncomplete`] where it ends before its end.
    pub async fn read_whole(&mut self, headers: &HeaderMap, limit: usize) -> Result<Bytes, ReadError> {
        let announced = content_length(headers);
        if announced.is_some_and(|length| length > limit as u64) {
            return Err(ReadError::TooLarge);
        }
        let mut first = Bytes::new();
        // Only what came in pieces is copied together.
        let mut pieces = BytesMut::new();
        let mut received = 0;
        while let Some(piece) = self.next().await {
            let piece = piece.map_err(|error| match error.kind() {
                io::ErrorKind::TimedOut => ReadError::Broken(Error::BodyTimeout),
                _ => ReadError::Broken(Error::BodyIncomplete),
            })?;
            if piece.len() > limit - received {
                return Err(ReadError::TooLarge);
            }
            if received == 0 {
                first = piece;
                received = first.len();
                continue;
            }
            if pieces.is_empty() {
                pieces.extend_from_slice(&first);
            }
            pieces.extend_from_slice(&piece);
            received += piece.len();
        }
        if announced.is_some_and(|length| length != received as u64) {
            return Err(ReadError::Broken(Error::BodyIncomplete));
        }
        Ok(if pieces.is_empty() { first } else { pieces.freeze() })
    }

    /// Reads on, within bounds, what nobody wants any more. A client that still waits for leave to send is
    /// not given it.
    pub async fn discard(&mut self) {
        if self.awaits_leave {
            return;
        }
        let discard = async {
            let mut discarded = 0;
            while let Some(Ok(piece)) = self.next().await {
                discarded += piece.len();
                if discarded > DISCARDED_BYTES_MAX {
                    break;
                }
            }
        };
        // What is not here by then is not worth waiting for: the answer goes out either way.
        let _ = timeout(DISCARD_TIME_MAX, discard).await;
    }

    fn end(&mut self, error: Option<io::Error>) -> Poll<Option<io::Result<Bytes>>> {
        self.ended = true;
        Poll::Ready(error.map(Err))
    }
}

impl Stream for BodyStream {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        let this = &mut *self;
        if this.ended {
            return Poll::Ready(None);
        }
        this.awaits_leave = false;
        loop {
            match Pin::new(&mut this.body).poll_frame(cx) {
                Poll::Ready(None) => return this.end(None),
                Poll::Ready(Some(Err(error))) => {
                    return this.end(Some(io::Error::new(io::ErrorKind::UnexpectedEof, error)));
                }
                Poll::Ready(Some(Ok(frame))) => {
                    this.deadline = None;
                    // Trailers are of no use to anybody here.
                    if let Ok(data) = frame.into_data()
                        && !data.is_empty()
                    {
                        return Poll::Ready(Some(Ok(data)));
                    }
                }
                Poll::Pending => {
                    let deadline = this.deadline.get_or_insert_with(|| Box::pin(sleep(this.patience)));
                    ready!(deadline.as_mut().poll(cx));
                    return this.end(Some(io::ErrorKind::TimedOut.into()));
                }
            }
        }
    }
}

/// Why a body could not be had whole.
#[derive(Debug)]
pub enum ReadError {
    /// It is over the limit.
    TooLarge,
    /// It did not come.
    Broken(Error),
}

/// What Content-Length says, where it is there.
pub fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use http::HeaderValue;
    use tokio::time::Instant;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    fn pieces(pieces: &[&'static str]) -> Body {
        Body::from_stream(stream::iter(pieces.iter().map(|piece| io::Result::Ok(*piece)).collect::<Vec<_>>()))
    }

    async fn read(headers: &HeaderMap, body: Body, limit: usize) -> Result<Bytes, ReadError> {
        BodyStream::new(headers, body, PATIENCE).read_whole(headers, limit).await
    }

    #[tokio::test]
    async fn pieces_are_put_together() {
        let none = HeaderMap::new();
        for (sent, whole) in [(&[][..], ""), (&["ab"], "ab"), (&["ab", "", "c", "de"], "abcde")] {
            assert_eq!(read(&none, pieces(sent), 5).await.unwrap(), whole);
        }
    }

    #[tokio::test]
    async fn the_limit_holds_with_and_without_a_length() {
        let mut headers = HeaderMap::new();
        assert!(matches!(read(&headers, pieces(&["abc", "def"]), 5).await, Err(ReadError::TooLarge)));
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("6"));
        assert!(matches!(read(&headers, pieces(&["abcdef"]), 5).await, Err(ReadError::TooLarge)));
    }

    #[tokio::test]
    async fn a_short_body_is_incomplete() {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("6"));
        assert!(matches!(
            read(&headers, pieces(&["abc"]), 10).await,
            Err(ReadError::Broken(Error::BodyIncomplete))
        ));
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_client_is_given_up_on() {
        let silent = Body::from_stream(stream::iter([io::Result::Ok("a")]).chain(stream::pending()));
        let started = Instant::now();
        let read = read(&HeaderMap::new(), silent, 10).await;
        assert!(matches!(read, Err(ReadError::Broken(Error::BodyTimeout))));
        assert_eq!(started.elapsed().as_secs(), PATIENCE.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn patience_is_for_each_piece() {
        let slow = stream::iter(["a", "b", "c"]).then(async |piece| {
            sleep(PATIENCE - Duration::from_secs(1)).await;
            io::Result::Ok(piece)
        });
        assert_eq!(read(&HeaderMap::new(), Body::from_stream(slow), 10).await.unwrap(), "abc");
    }

    #[tokio::test]
    async fn a_broken_body_says_so_and_ends() {
        let broken = Body::from_stream(stream::iter([Ok("a"), Err(io::Error::other("gone")), Ok("b")]));
        let mut stream = BodyStream::new(&HeaderMap::new(), broken, PATIENCE);
        assert_eq!(stream.next().await.unwrap().unwrap(), "a");
        assert_eq!(stream.next().await.unwrap().unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert!(stream.next().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn an_unwanted_body_is_read_within_bounds() {
        let mut stream = BodyStream::new(&HeaderMap::new(), pieces(&["abc", "def"]), PATIENCE);
        stream.discard().await;
        assert!(stream.ended);

        static PIECE: [u8; 1024 * 1024] = [0; 1024 * 1024];
        let endless = Body::from_stream(stream::repeat_with(|| io::Result::Ok(&PIECE[..])));
        BodyStream::new(&HeaderMap::new(), endless, PATIENCE).discard().await;

        let silent = || Body::from_stream(stream::pending::<io::Result<Bytes>>());
        let started = Instant::now();
        BodyStream::new(&HeaderMap::new(), silent(), PATIENCE).discard().await;
        assert_eq!(started.elapsed(), DISCARD_TIME_MAX);

        let waiting = HeaderMap::from_iter([(header::EXPECT, HeaderValue::from_static("100-continue"))]);
        let started = Instant::now();
        BodyStream::new(&waiting, silent(), PATIENCE).discard().await;
        assert!(started.elapsed().is_zero());
    }
}
