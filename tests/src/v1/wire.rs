//! How old clients reach a server: a connection of its own for every request, over TLS or not.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use rustls::ClientConfig;

use crate::http::{ChunkWriter, Connection, Request, Response, connect};
use crate::tls;

/// What a connection is over.
trait Stream: Read + Write + Send {}

impl<T: Read + Write + Send> Stream for T {}

/// A server, and how to speak to it.
#[derive(Debug, Clone)]
pub struct Wire {
    address: SocketAddr,
    tls: Option<Arc<ClientConfig>>,
}

impl Wire {
    /// Over plain http.
    pub const fn plain(address: SocketAddr) -> Wire {
        Wire { address, tls: None }
    }

    /// Over TLS, trusting the authority in that file.
    pub fn tls(address: SocketAddr, authority: &Path) -> Wire {
        let authority = std::fs::read_to_string(authority).unwrap();
        Wire { address, tls: Some(tls::settings(&authority, None, &[])) }
    }

    /// Whether it is over TLS.
    pub const fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// `http` or `https`.
    pub const fn scheme(&self) -> &'static str {
        if self.is_tls() { "https" } else { "http" }
    }

    /// What the server is called in an image's name.
    pub fn host(&self) -> String {
        format!("localhost:{}", self.address.port())
    }

    fn open(&self) -> io::Result<Connection<Box<dyn Stream>>> {
        Ok(match &self.tls {
            None => Connection::over(Box::new(connect(self.address)?)),
            Some(settings) => Connection::over(Box::new(tls::open(self.address, settings)?.into_stream())),
        })
    }

    /// Makes a request as it is sent here.
    fn prepare(&self, request: &Request) -> Request {
        request.clone().header("Host", &self.host()).header("Connection", "close")
    }

    /// Sends a request and reads the answer.
    ///
    /// # Errors
    /// As [`Connection::receive`]; where there is no answer, as [`Connection::send`].
    pub fn send(&self, request: &Request) -> io::Result<Response> {
        let mut body = Vec::new();
        let mut response = self.send_into(request, &mut body)?;
        response.body = body;
        Ok(response)
    }

    /// Like [`Wire::send`], with the answer's body going to `sink` as it comes.
    ///
    /// # Errors
    /// As [`Wire::send`].
    pub fn send_into(&self, request: &Request, sink: &mut dyn Write) -> io::Result<Response> {
        let mut connection = self.open()?;
        // A server that refuses early may close before it has read all: its answer is there all the same.
        let sent = connection.send(&self.prepare(request).to_bytes());
        connection.receive_into(request.method(), sink).map_err(|error| sent.err().unwrap_or(error))
    }

    /// Sends a [streamed](Request::streamed) request, whose body `write` writes. Where `write` gives an error of its
    /// own, the connection ends in the midst of the body.
    ///
    /// # Errors
    /// As [`Wire::send`], and what `write` gives.
    pub fn stream(
        &self,
        request: &Request,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<Response> {
        let mut connection = self.open()?;
        connection.send(&self.prepare(request).to_bytes())?;
        let mut body = ChunkWriter::new(connection.writer());
        let sent = write(&mut body).and_then(|()| body.finish());
        match sent {
            Err(error) if !is_closed(&error) => Err(error),
            // A server that refuses early may close before it has read all: its answer is there all the same.
            sent => connection.receive(request.method()).map_err(|error| sent.err().unwrap_or(error)),
        }
    }

    /// Sends a request, reads the head of the answer and that much of its body, and hangs up.
    ///
    /// # Errors
    /// As [`Wire::send`]; `UnexpectedEof` where the body is shorter.
    pub fn send_and_hang_up(&self, request: &Request, length: u64) -> io::Result<Response> {
        let mut connection = self.open()?;
        connection.send(&self.prepare(request).to_bytes())?;
        connection.receive_part(length)
    }
}

/// Whether the other end no longer listens.
fn is_closed(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}
