//! HTTP/1.1 with nothing in between: what is sent is what the test wrote, wrong lengths and early ends
//! included. Knows nothing of registries.

use std::cell::RefCell;
use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// How long a server may say nothing before the test fails. Only ever waited out by a bug.
pub const SILENCE_MAX: Duration = Duration::from_secs(60);

/// A request, as it will be written.
#[derive(Debug, Clone)]
pub struct Request {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Body,
}

#[derive(Debug, Clone)]
enum Body {
    None,
    Sized(Vec<u8>),
    Chunked(Vec<Vec<u8>>),
    Streamed,
}

impl Request {
    /// A request without headers but `Host`, and without a body.
    pub fn new(method: &str, target: &str) -> Request {
        Request {
            method: method.to_owned(),
            target: target.to_owned(),
            headers: Vec::new(),
            body: Body::None,
        }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Request {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A body of known length; `Content-Length` is added, unless a header of that name was.
    #[must_use]
    pub fn body(mut self, bytes: impl Into<Vec<u8>>) -> Request {
        self.body = Body::Sized(bytes.into());
        self
    }

    /// A body without a length, sent in these pieces (`Transfer-Encoding: chunked`).
    #[must_use]
    pub fn chunked(mut self, pieces: impl IntoIterator<Item = Vec<u8>>) -> Request {
        self.body = Body::Chunked(pieces.into_iter().collect());
        self
    }

    /// A body without a length, which is not here: it is written behind the request, through a [`ChunkWriter`].
    #[must_use]
    pub fn streamed(mut self) -> Request {
        self.body = Body::Streamed;
        self
    }

    /// The request's method.
    pub fn method(&self) -> &str {
        &self.method
    }

    /// The request as it goes over the wire.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        let has = |name: &str| self.headers.iter().any(|(key, _)| key.eq_ignore_ascii_case(name));
        let mut add = |name: &str, value: &str| {
            head.push_str(&format!("{name}: {value}\r\n"));
        };
        if !has("Host") {
            add("Host", "localhost");
        }
        for (name, value) in &self.headers {
            add(name, value);
        }
        match &self.body {
            Body::Sized(bytes) if !has("Content-Length") => add("Content-Length", &bytes.len().to_string()),
            Body::None if !has("Content-Length") && matches!(&*self.method, "POST" | "PUT" | "PATCH") => {
                add("Content-Length", "0");
            }
            Body::Chunked(_) | Body::Streamed => add("Transfer-Encoding", "chunked"),
            Body::Sized(_) | Body::None => {}
        }
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(b"\r\n");
        match &self.body {
            Body::None | Body::Streamed => {}
            Body::Sized(body) => bytes.extend_from_slice(body),
            Body::Chunked(pieces) => {
                for piece in pieces.iter().filter(|piece| !piece.is_empty()) {
                    bytes.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
                    bytes.extend_from_slice(piece);
                    bytes.extend_from_slice(b"\r\n");
                }
                bytes.extend_from_slice(b"0\r\n\r\n");
            }
        }
        bytes
    }
}

impl fmt::Display for Request {
    /// Its method and target.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.target)
    }
}

/// Writes the body of a [streamed](Request::streamed) request, a chunk for each write.
#[derive(Debug)]
pub struct ChunkWriter<W: Write> {
    inner: W,
}

impl<W: Write> ChunkWriter<W> {
    /// A body that begins now.
    pub const fn new(inner: W) -> ChunkWriter<W> {
        ChunkWriter { inner }
    }

    /// Says that this was all of it.
    ///
    /// # Errors
    /// What the other end gives.
    pub fn finish(mut self) -> io::Result<()> {
        self.inner.write_all(b"0\r\n\r\n")
    }
}

impl<W: Write> Write for ChunkWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A chunk of no bytes would be the last.
        if !bytes.is_empty() {
            write!(self.inner, "{:x}\r\n", bytes.len())?;
            self.inner.write_all(bytes)?;
            self.inner.write_all(b"\r\n")?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// A response with its whole body.
#[derive(Clone)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The headers in the order they came.
    pub headers: Vec<(String, String)>,
    /// The body; empty for an answer to HEAD.
    pub body: Vec<u8>,
}

impl Response {
    /// The first header of that name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers(name).into_iter().next()
    }

    /// Every header of that name.
    pub fn headers(&self, name: &str) -> Vec<&str> {
        let same = self.headers.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
        same.map(|(_, value)| value.as_str()).collect()
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("no JSON ({error}) in {self:?}"))
    }

    /// Fails the test unless the status is this one.
    #[track_caller]
    pub fn expect(self, status: u16) -> Response {
        assert_eq!(self.status, status, "status of {self:?}");
        self
    }

    /// Fails the test unless a header is there with this value.
    #[track_caller]
    pub fn expect_header(self, name: &str, value: &str) -> Response {
        assert_eq!(self.header(name), Some(value), "{name} of {self:?}");
        self
    }

    /// Fails the test unless the header is there; answers its value.
    #[track_caller]
    pub fn require(&self, name: &str) -> &str {
        self.header(name).unwrap_or_else(|| panic!("no {name} in {self:?}"))
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "HTTP {}", self.status)?;
        for (name, value) in &self.headers {
            writeln!(f, "{name}: {value}")?;
        }
        let shown = &self.body[..self.body.len().min(2000)];
        write!(f, "\n{} ({} bytes)", String::from_utf8_lossy(shown), self.body.len())
    }
}

/// Connects a socket, with time-outs that only a bug waits out.
///
/// # Errors
/// As the system gives them; a server that is not there among them.
pub fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(SILENCE_MAX))?;
    stream.set_write_timeout(Some(SILENCE_MAX))?;
    Ok(stream)
}

/// One connection, over a socket or what is on top of one.
#[derive(Debug)]
pub struct Connection<S = TcpStream> {
    stream: BufReader<S>,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// As [`connect`].
    pub fn open(address: SocketAddr) -> io::Result<Connection> {
        connect(address).map(Connection::over)
    }

    /// Says that nothing more will be sent; answers can still be read.
    ///
    /// # Errors
    /// As the system gives them.
    pub fn finish_sending(&mut self) -> io::Result<()> {
        self.stream.get_ref().shutdown(Shutdown::Write)
    }
}

impl<S: Read + Write> Connection<S> {
    /// A connection on which nothing was said yet.
    pub fn over(stream: S) -> Connection<S> {
        Connection { stream: BufReader::with_capacity(64 * 1024, stream) }
    }

    /// What it is over.
    pub fn stream(&self) -> &S {
        self.stream.get_ref()
    }

    /// What it is over, for another use. What was received and not asked for is lost.
    pub fn into_stream(self) -> S {
        self.stream.into_inner()
    }

    /// Where to write what [`Connection::send`] has no whole of.
    pub fn writer(&mut self) -> &mut S {
        self.stream.get_mut()
    }

    /// Writes bytes, whatever they are.
    ///
    /// # Errors
    /// As the system gives them.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// Reads the answer to a request of that method.
    ///
    /// # Errors
    /// `UnexpectedEof` where the server closed instead; `InvalidData` for what is no HTTP.
    pub fn receive(&mut self, method: &str) -> io::Result<Response> {
        let mut body = Vec::new();
        let mut response = self.receive_into(method, &mut body)?;
        response.body = body;
        Ok(response)
    }

    /// Waits for leave to send a body (`100 Continue`), as a request with `Expect: 100-continue` does.
    ///
    /// # Errors
    /// As [`Connection::receive`]; `InvalidData` for another answer.
    pub fn receive_leave(&mut self) -> io::Result<()> {
        match self.receive_head()?.status {
            100 => Ok(()),
            status => Err(invalid(&format!("no leave, but {status}"))),
        }
    }

    /// Like [`Connection::receive`], with the body going to `sink` as it comes.
    ///
    /// # Errors
    /// As [`Connection::receive`], and what `sink` gives.
    pub fn receive_into(&mut self, method: &str, sink: &mut dyn Write) -> io::Result<Response> {
        let mut response = self.receive_head()?;
        while response.status / 100 == 1 {
            response = self.receive_head()?;
        }
        if method == "HEAD" || matches!(response.status, 204 | 304) {
            return Ok(response);
        }
        if response.header("Transfer-Encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
            while let size @ 1.. = self.receive_chunk_size()? {
                self.copy_exactly(size, sink)?;
                self.receive_line()?;
            }
            self.receive_line()?;
        } else if let Some(length) = response.header("Content-Length") {
            let length = length.parse().map_err(|_| invalid("Content-Length is no number"))?;
            self.copy_exactly(length, sink)?;
        } else {
            io::copy(&mut self.stream, sink)?;
            response.headers.push(("Connection".to_owned(), "close".to_owned()));
        }
        Ok(response)
    }

    /// Reads the head of an answer and that much of its body, for who hangs up then. The body must come as it is.
    ///
    /// # Errors
    /// As [`Connection::receive`]; `UnexpectedEof` for a shorter body.
    pub fn receive_part(&mut self, length: u64) -> io::Result<Response> {
        let mut response = self.receive_head()?;
        let mut body = Vec::new();
        self.copy_exactly(length, &mut body)?;
        response.body = body;
        Ok(response)
    }

    /// Whether the server has closed the connection; waits for that as for an answer.
    pub fn is_closed(&mut self) -> bool {
        match self.stream.fill_buf() {
            Ok(bytes) => bytes.is_empty(),
            // TLS that ends without a word of it is an end, too.
            Err(error) => {
                matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof)
            }
        }
    }

    fn receive_head(&mut self) -> io::Result<Response> {
        let line = self.receive_line()?;
        let mut words = line.split(' ');
        let (Some("HTTP/1.1"), Some(status)) = (words.next(), words.next()) else {
            return Err(invalid(&format!("no status line: {line}")));
        };
        let status = status.parse().map_err(|_| invalid("the status is no number"))?;
        let mut headers = Vec::new();
        loop {
            let line = self.receive_line()?;
            if line.is_empty() {
                return Ok(Response { status, headers, body: Vec::new() });
            }
            let (name, value) = line.split_once(':').ok_or_else(|| invalid("a header without a colon"))?;
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
    }

    fn receive_line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        match line.strip_suffix("\r\n") {
            Some(text) => Ok(text.to_owned()),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    fn receive_chunk_size(&mut self) -> io::Result<u64> {
        let line = self.receive_line()?;
        u64::from_str_radix(line.split(';').next().unwrap_or_default(), 16)
            .map_err(|_| invalid("a bad chunk"))
    }

    fn copy_exactly(&mut self, length: u64, sink: &mut dyn Write) -> io::Result<()> {
        match io::copy(&mut (&mut self.stream).take(length), sink)? {
            copied if copied == length => Ok(()),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

fn invalid(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

/// Sends one request after the other to one server, on a connection that it keeps.
#[derive(Debug)]
pub struct Http {
    address: SocketAddr,
    idle: RefCell<Option<Connection>>,
}

impl Http {
    /// For the server at that address. Connects when the first request is sent.
    pub const fn new(address: SocketAddr) -> Http {
        Http { address, idle: RefCell::new(None) }
    }

    /// Where the server is.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sends a request and reads the answer. A kept connection that fails is replaced by a new one once, as
    /// clients do: the server may have closed it meanwhile, and every request of this protocol may be repeated.
    ///
    /// # Errors
    /// As [`Connection::open`], [`Connection::send`] and [`Connection::receive`].
    pub fn send(&self, request: &Request) -> io::Result<Response> {
        if let Some(connection) = self.idle.take()
            && let Ok(response) = self.send_on(connection, request)
        {
            return Ok(response);
        }
        self.send_on(Connection::open(self.address)?, request)
    }

    fn send_on(&self, mut connection: Connection, request: &Request) -> io::Result<Response> {
        // A server may refuse before it has read the body, and close: then the write fails, and the answer
        // is there to be read all the same.
        let sent = connection.send(&request.to_bytes());
        let response = match (connection.receive(request.method()), sent) {
            (Ok(response), _) => response,
            (Err(_), Err(error)) | (Err(error), Ok(())) => return Err(error),
        };
        let close = response.header("Connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        if !close {
            self.idle.replace(Some(connection));
        }
        Ok(response)
    }
}
