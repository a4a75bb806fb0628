//! Listeners and connections: how many there may be, and how they end.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use supercargo_registry::Scheme;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::timeout;

use super::App;
use super::app::Arrival;
use super::pace::{Paced, Patience, Requests};
use super::streams::Streams;
use crate::config::Http;
use crate::metrics::Metrics;
use crate::tls::{self, Secure};

/// Files that are left for blobs and the like when connections take all they may.
const FILES_BESIDE_CONNECTIONS: u64 = 1024;
/// Bytes of a request's head at most, and of what is read of a body at once.
const READ_BYTES_MAX: usize = 256 * 1024;
/// Requests of one HTTP/2 connection at a time. Clients of registries send a handful.
const STREAMS_MAX: u32 = 128;
/// Bytes of the headers of an HTTP/2 request at most.
const HEADERS_BYTES_MAX: u32 = 64 * 1024;
/// Bytes of bodies that an HTTP/2 connection may send before they are read, over all its streams: what such a
/// connection costs at most, and what is on its way at a time where the network is fast and far.
const WINDOW_BYTES: u32 = 1024 * 1024;
/// Bytes of an answer that are kept for an HTTP/2 client that does not take them yet.
const ANSWER_BYTES_MAX: usize = 128 * 1024;

/// How long an HTTP/2 client has to take its leave after its last answer, once it was told to.
const LEAVE_MAX: Duration = Duration::from_secs(5);

/// How long a listener waits after the system had no file or memory left for a connection: there is no event
/// that says when it has.
const ACCEPT_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// Connections that may wait to be taken. The library's own 128 is one burst of clients, and those past it
/// wait for a second before they try again.
const BACKLOG: u32 = 4096;

/// Binds an address. Blocks for no longer than the system calls take.
///
/// # Errors
/// What the system says, such as that the address is taken.
pub(crate) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // Connections of a server that ended a moment ago keep nobody from the address.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// A bound listener and what answers on it.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) listener: TcpListener,
    /// What its connections are secured with, where they are.
    pub(crate) secure: Option<Secure>,
    pub(crate) app: Arc<App>,
}

/// What the listeners and connections share.
#[derive(Debug)]
struct Shared {
    connections: Arc<Semaphore>,
    patience: Patience,
    metrics: Arc<Metrics>,
    stopping: watch::Receiver<bool>,
    /// Held by every listener and connection: when the last is gone, all have ended.
    alive: mpsc::Sender<Infallible>,
}

/// Running listeners.
#[derive(Debug)]
pub(crate) struct Server {
    ended: mpsc::Receiver<Infallible>,
    connections: Arc<Semaphore>,
    connections_max: usize,
}

impl Server {
    /// Takes connections until `stopping` says so.
    pub(crate) fn start(
        listeners: Vec<Listener>,
        http: &Http,
        open_files: u64,
        metrics: &Arc<Metrics>,
        stopping: &watch::Sender<bool>,
    ) -> Server {
        let files =
            usize::try_from(open_files.saturating_sub(FILES_BESIDE_CONNECTIONS)).unwrap_or(usize::MAX);
        let connections_max = http.connections_max.min(files.max(16));
        if connections_max < http.connections_max {
            tracing::warn!(
                connections_max,
                open_files,
                "the system allows too few open files for http.connections_max; raise it (LimitNOFILE)"
            );
        }
        let connections = Arc::new(Semaphore::new(connections_max));
        let (alive, ended) = mpsc::channel(1);
        for Listener { listener, secure, app } in listeners {
            let shared = Shared {
                connections: Arc::clone(&connections),
                patience: Patience {
                    idle: http.idle_timeout,
                    head: http.header_timeout,
                    write: http.body_timeout,
                },
                metrics: Arc::clone(metrics),
                stopping: stopping.subscribe(),
                alive: alive.clone(),
            };
            tokio::spawn(accept(listener, secure, app, shared));
        }
        Server { ended, connections, connections_max }
    }

    /// Waits until all connections have ended, once they were told to. `None` where that was in time, else
    /// how many have not.
    pub(crate) async fn finish(mut self, limit: Duration) -> Option<usize> {
        match timeout(limit, self.ended.recv()).await {
            Ok(_) => None,
            Err(_) => Some(self.connections_max - self.connections.available_permits()),
        }
    }
}

/// Waits until the server is told to stop.
async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // A sender that is gone means the same.
    let _ = stopping.wait_for(|stopping| *stopping).await;
}

async fn accept(listener: TcpListener, secure: Option<Secure>, app: Arc<App>, shared: Shared) {
    let mut stopping = shared.stopping.clone();
    let next = async || {
        // Past the limit connections wait in the system's queue.
        let permit = Arc::clone(&shared.connections).acquire_owned().await;
        (permit, listener.accept().await)
    };
    loop {
        let (permit, accepted) = tokio::select! {
            accepted = next() => accepted,
            () = stopped(&mut stopping) => return,
        };
        // The semaphore is never closed.
        let Ok(permit) = permit else { return };
        match accepted {
            Ok((stream, peer)) => {
                // Answers are written whole; waiting for more of them only delays the last part.
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "a connection was gone before it was served");
                    continue;
                }
                let connection = Connection {
                    app: Arc::clone(&app),
                    peer: peer.ip(),
                    patience: shared.patience,
                    stopping: shared.stopping.clone(),
                    metrics: Arc::clone(&shared.metrics),
                    _alive: shared.alive.clone(),
                    _permit: permit,
                };
                tokio::spawn(connection.serve(stream, secure.clone()));
            }
            Err(error) if is_the_connections(&error) => tracing::debug!(%error, "a connection was not taken"),
            Err(error) => {
                tracing::error!(%error, "connections can't be taken; trying again");
                tokio::time::sleep(ACCEPT_AGAIN_AFTER).await;
            }
        }
    }
}

/// Whether accepting failed for one client alone.
fn is_the_connections(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

struct Connection {
    app: Arc<App>,
    peer: IpAddr,
    patience: Patience,
    stopping: watch::Receiver<bool>,
    metrics: Arc<Metrics>,
    _alive: mpsc::Sender<Infallible>,
    _permit: OwnedSemaphorePermit,
}

impl Connection {
    async fn serve(mut self, stream: TcpStream, secure: Option<Secure>) {
        let _counted = self.metrics.connection();
        if !self.says_something(&stream).await {
            return;
        }
        // Apart, so that what TLS and HTTP need is not part of a connection that says nothing.
        match secure {
            Some(secure) => Box::pin(self.speak_securely(stream, secure)).await,
            None => {
                let arrival = Arrival { address: self.peer, scheme: Scheme::Http, certificate: None };
                Box::pin(self.speak(stream, arrival)).await;
            }
        }
    }

    /// Waits for the first byte. None comes where the client has gone, had nothing to say for too long, or the
    /// server stops. A connection that says nothing costs no buffers.
    async fn says_something(&mut self, stream: &TcpStream) -> bool {
        // Peeking is what tells: a new socket is said to be readable before anybody has looked.
        let mut first = [0];
        tokio::select! {
            came = timeout(self.patience.idle, stream.peek(&mut first)) => matches!(came, Ok(Ok(1..))),
            () = stopped(&mut self.stopping) => false,
        }
    }

    /// Agrees with the client on how to speak, and does.
    async fn speak_securely(mut self, stream: TcpStream, secure: Secure) {
        // Apart, and given back when it is over: it is larger than what it leaves.
        let handshake = Box::pin(secure.handshake(stream));
        let shaken = tokio::select! {
            shaken = timeout(self.patience.head, handshake) => shaken,
            () = stopped(&mut self.stopping) => return,
        };
        let stream = match shaken {
            Ok(Ok(Some(stream))) => stream,
            Ok(Ok(None)) => return tracing::debug!(peer = %self.peer, "a proof was looked at"),
            Ok(Err(error)) => return tracing::debug!(peer = %self.peer, %error, "a TLS handshake failed"),
            Err(_) => return tracing::debug!(peer = %self.peer, "a TLS handshake took too long"),
        };
        let (socket, session) = stream.get_ref();
        let certificate = session.peer_certificates().and_then(|chain| tls::shown_by(chain.first()?));
        let http_2 = session.alpn_protocol() == Some(tls::ALPN_HTTP_2);
        // Unless it came with the handshake, the first request is waited for like the handshake was.
        if session.wants_read() && !self.says_something(socket).await {
            return;
        }
        let arrival = Arrival { address: self.peer, scheme: Scheme::Https, certificate };
        if http_2 {
            Box::pin(self.speak_http_2(stream, arrival)).await;
        } else {
            Box::pin(self.speak(stream, arrival)).await;
        }
    }

    /// Speaks HTTP/1.1 until one side has enough.
    async fn speak(mut self, stream: impl AsyncRead + AsyncWrite + Unpin, arrival: Arrival) {
        let requests = Arc::new(Requests::default());
        let io = TokioIo::new(Paced::new(stream, Arc::clone(&requests), self.patience));
        let (app, arrival) = (&self.app, Arc::new(arrival));
        let service = service_fn(move |request| {
            let (app, arrival, requests) = (Arc::clone(app), Arc::clone(&arrival), Arc::clone(&requests));
            async move { Ok::<_, Infallible>(app.answer(&arrival, requests, request).await) }
        });
        let mut connection =
            pin!(http1::Builder::new().max_buf_size(READ_BYTES_MAX).serve_connection(io, service));
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = stopped(&mut self.stopping) => {
                // An idle connection ends at once, a busy one when its request has been answered.
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        self.ended(ended);
    }

    /// Speaks HTTP/2 until one side has enough. The library's own limits on resets, on frames of settings and on
    /// headers in pieces are left as they are.
    async fn speak_http_2(mut self, stream: impl AsyncRead + AsyncWrite + Unpin, arrival: Arrival) {
        let requests = Arc::new(Requests::default());
        let io = TokioIo::new(Paced::writes_alone(stream, self.patience));
        let (app, arrival) = (Arc::clone(&self.app), Arc::new(arrival));
        let counted = Arc::clone(&requests);
        let service = service_fn(move |request| {
            let (app, arrival, requests) = (Arc::clone(&app), Arc::clone(&arrival), Arc::clone(&counted));
            async move { Ok::<_, Infallible>(app.answer(&arrival, requests, request).await) }
        });
        let mut connection = pin!(
            http2::Builder::new(Streams { patience: self.patience.write })
                .max_concurrent_streams(STREAMS_MAX)
                .max_header_list_size(HEADERS_BYTES_MAX)
                .initial_connection_window_size(WINDOW_BYTES)
                .initial_stream_window_size(WINDOW_BYTES)
                .max_send_buf_size(ANSWER_BYTES_MAX)
                .serve_connection(io, service)
        );
        let ended = tokio::select! {
            ended = connection.as_mut() => Some(ended),
            () = requests.idle(self.patience.idle) => None,
            () = stopped(&mut self.stopping) => None,
        };
        let ended = match ended {
            Some(ended) => ended,
            // Says so first, so that a request that crosses it is known not to have been taken. Requests that
            // are under way are answered.
            None => {
                connection.as_mut().graceful_shutdown();
                tokio::select! {
                    ended = connection => ended,
                    () = requests.idle(LEAVE_MAX) => {
                        return tracing::debug!(peer = %self.peer, "a client did not take its leave");
                    }
                }
            }
        };
        self.ended(ended);
    }

    fn ended(&self, ended: hyper::Result<()>) {
        if let Err(error) = ended {
            tracing::debug!(peer = %self.peer, %error, "a connection broke off");
        }
    }
}
