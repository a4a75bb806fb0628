//! The load generator's HTTP: one keep-alive connection at a time, HTTP/1.1, the same towards every side.
//! Bodies are sent from memory without copies and thrown away as they come. Knows nothing of registries.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, LOCATION};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::content::Blob;
use crate::{Error, Result};

/// Bytes of a body that are handed to the connection at a time, and the size of a chunk where the length is
/// not said: what Go's `io.Copy`, and so the Docker client, uses.
const PIECE_BYTES: usize = 32 << 10;

/// A request's body.
#[derive(Debug, Clone, Default)]
pub struct Payload {
    /// What is left to send.
    head: Bytes,
    tail: Bytes,
    /// Whether the length is left unsaid (`Transfer-Encoding: chunked`).
    chunked: bool,
}

impl Payload {
    /// No body.
    pub fn empty() -> Payload {
        Payload::default()
    }

    /// A body whose length is said.
    pub fn sized(blob: &Blob) -> Payload {
        Payload { head: blob.head.clone(), tail: blob.tail.clone(), chunked: false }
    }

    /// A body whose length is not said.
    pub fn chunked(blob: &Blob) -> Payload {
        Payload { chunked: true, ..Payload::sized(blob) }
    }

    fn remaining(&self) -> u64 {
        (self.head.len() + self.tail.len()) as u64
    }
}

impl From<Bytes> for Payload {
    fn from(bytes: Bytes) -> Payload {
        Payload { head: bytes, tail: Bytes::new(), chunked: false }
    }
}

impl Body for Payload {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let payload = &mut *self;
        let part = if payload.head.is_empty() { &mut payload.tail } else { &mut payload.head };
        if part.is_empty() {
            return Poll::Ready(None);
        }
        let piece = part.split_to(part.len().min(PIECE_BYTES));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.remaining() == 0
    }

    fn size_hint(&self) -> SizeHint {
        if self.chunked { SizeHint::default() } else { SizeHint::with_exact(self.remaining()) }
    }
}

/// A request to be sent.
#[derive(Debug)]
pub struct Call<'c> {
    /// The method.
    pub method: Method,
    /// Path and query.
    pub path: &'c str,
    /// `Accept`, where one is sent.
    pub accept: Option<&'c str>,
    /// `Content-Type`, where one is sent.
    pub content_type: Option<&'c str>,
    /// `Authorization`, where one is sent.
    pub authorization: Option<&'c str>,
    /// Further headers.
    pub headers: &'c [(&'c str, &'c str)],
    /// The body.
    pub payload: Payload,
}

impl<'c> Call<'c> {
    /// A request without a body.
    pub fn new(method: Method, path: &'c str) -> Call<'c> {
        Call {
            method,
            path,
            accept: None,
            content_type: None,
            authorization: None,
            headers: &[],
            payload: Payload::empty(),
        }
    }
}

/// What was answered, without the body.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// How many bytes the body had.
    pub body_bytes: u64,
}

impl Answer {
    /// Path and query of the `Location` header, whether it came relative or whole.
    pub fn location(&self) -> Option<String> {
        let uri: http::Uri = self.headers.get(LOCATION)?.to_str().ok()?.parse().ok()?;
        Some(uri.path_and_query()?.as_str().to_owned())
    }
}

/// One connection, kept alive.
#[derive(Debug)]
pub struct Connection {
    sender: SendRequest<Payload>,
    authority: String,
}

impl Connection {
    /// Connects. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// [`Error::Connection`] where nobody answers.
    pub async fn open(address: SocketAddr) -> Result<Connection> {
        Connection::open_by(&http1::Builder::new(), address).await
    }

    /// Connects, to read small answers and large ones in turn: always into a buffer of this many bytes. Else the client
    /// begins each large one with small reads again, and that is measured instead of the server.
    ///
    /// # Errors
    /// As [`Connection::open`].
    pub async fn open_with_buffer(address: SocketAddr, bytes: usize) -> Result<Connection> {
        Connection::open_by(http1::Builder::new().read_buf_exact_size(Some(bytes)), address).await
    }

    async fn open_by(builder: &http1::Builder, address: SocketAddr) -> Result<Connection> {
        let failed =
            |what: String| Error::Connection { method: "CONNECT".into(), path: address.to_string(), what };
        let stream = TcpStream::connect(address).await.map_err(|e| failed(e.to_string()))?;
        stream.set_nodelay(true).map_err(|e| failed(e.to_string()))?;
        let (sender, connection) =
            builder.handshake(TokioIo::new(stream)).await.map_err(|e| failed(e.to_string()))?;
        // How it ends is said to whoever sends the next request on it.
        tokio::spawn(connection);
        Ok(Connection { sender, authority: address.to_string() })
    }

    /// Sends a request, and reads the answer to its end without keeping the body.
    ///
    /// # Errors
    /// [`Error::Connection`], and [`Error::Status`] where the status is not `expected`.
    pub async fn send(&mut self, call: Call<'_>, expected: StatusCode) -> Result<Answer> {
        let (method, path) = (call.method.clone(), call.path);
        let mut response = self.start(call).await?;
        let mut body_bytes = 0;
        while let Some(frame) = response.body_mut().frame().await {
            let frame = frame.map_err(|e| failed(&method, path, e))?;
            body_bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
        }
        let (head, _) = response.into_parts();
        check(&method, path, head.status, expected)?;
        Ok(Answer { status: head.status, headers: head.headers, body_bytes })
    }

    /// Like [`Connection::send`] with a GET, and the body kept: for checks, not for measuring.
    ///
    /// # Errors
    /// As [`Connection::send`].
    pub async fn fetch(&mut self, path: &str, accept: Option<&str>) -> Result<Bytes> {
        self.receive(Call { accept, ..Call::new(Method::GET, path) }).await
    }

    /// Sends a request that must succeed, and keeps the body of the answer.
    ///
    /// # Errors
    /// As [`Connection::send`].
    pub async fn receive(&mut self, call: Call<'_>) -> Result<Bytes> {
        let (method, path) = (call.method.clone(), call.path);
        let mut response = self.start(call).await?;
        let mut body = BytesMut::new();
        while let Some(frame) = response.body_mut().frame().await {
            let frame = frame.map_err(|e| failed(&method, path, e))?;
            if let Some(data) = frame.data_ref() {
                body.extend_from_slice(data);
            }
        }
        check(&method, path, response.status(), StatusCode::OK)?;
        Ok(body.freeze())
    }

    /// Sends a request that must succeed, and keeps what comes first of the answer. The connection is of no use afterwards.
    ///
    /// # Errors
    /// As [`Connection::send`].
    pub async fn receive_first(&mut self, call: Call<'_>) -> Result<Bytes> {
        let (method, path) = (call.method.clone(), call.path);
        let mut response = self.start(call).await?;
        let first = response.body_mut().frame().await.transpose().map_err(|e| failed(&method, path, e))?;
        check(&method, path, response.status(), StatusCode::OK)?;
        Ok(first.and_then(|frame| frame.into_data().ok()).unwrap_or_default())
    }

    async fn start(&mut self, call: Call<'_>) -> Result<Response<Incoming>> {
        let (method, path) = (call.method.clone(), call.path);
        let mut request = Request::builder().method(call.method).uri(path).header(HOST, &self.authority);
        let headers =
            [(ACCEPT, call.accept), (CONTENT_TYPE, call.content_type), (AUTHORIZATION, call.authorization)];
        for (name, value) in headers {
            if let Some(value) = value {
                request = request.header(name, value);
            }
        }
        for (name, value) in call.headers {
            request = request.header(*name, *value);
        }
        let request = request.body(call.payload).map_err(|e| failed(&method, path, e))?;
        self.sender.ready().await.map_err(|e| failed(&method, path, e))?;
        self.sender.send_request(request).await.map_err(|e| failed(&method, path, e))
    }
}

fn failed(method: &Method, path: &str, error: impl std::error::Error) -> Error {
    // hyper's own text leaves out the cause.
    let what = match error.source() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    };
    Error::Connection { method: method.to_string(), path: path.to_owned(), what }
}

fn check(method: &Method, path: &str, status: StatusCode, expected: StatusCode) -> Result<()> {
    if status == expected {
        return Ok(());
    }
    Err(Error::Status {
        method: method.to_string(),
        path: path.to_owned(),
        status: status.as_u16(),
        expected: expected.as_u16(),
    })
}
