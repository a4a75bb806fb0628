//! Listeners and connections: how many there may be, and how they end.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::timeout;

use super::App;
use super::pace::{Paced, Patience, Requests};
use crate::config::Http;
use crate::metrics::Metrics;

/// Files that are left for blobs and the like when connections take all they may.
const FILES_BESIDE_CONNECTIONS: u64 = 1024;
/// Bytes of a request's head at most, and of what is read of a body at once.
const READ_BYTES_MAX: usize = 256 * 1024;
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
        for Listener { listener, app } in listeners {
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
            tokio::spawn(accept(listener, app, shared));
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

async fn accept(listener: TcpListener, app: Arc<App>, shared: Shared) {
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
                tokio::spawn(connection.serve(stream));
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
    async fn serve(mut self, stream: TcpStream) {
        let _counted = self.metrics.connection();
        // A connection that says nothing costs no buffers. Peeking is what tells: a new socket is said to be
        // readable before anybody has looked.
        let mut first = [0];
        tokio::select! {
            came = timeout(self.patience.idle, stream.peek(&mut first)) => {
                if !matches!(came, Ok(Ok(1..))) {
                    return;
                }
            }
            () = stopped(&mut self.stopping) => return,
        }
        // Apart, so that what HTTP needs is not part of a connection that says nothing.
        Box::pin(self.speak(stream)).await;
    }

    /// Speaks HTTP until one side has enough.
    async fn speak(mut self, stream: TcpStream) {
        let requests = Arc::new(Requests::default());
        let io = TokioIo::new(Paced::new(stream, Arc::clone(&requests), self.patience));
        let (app, peer) = (&self.app, self.peer);
        let service = service_fn(move |request| {
            let (app, requests) = (Arc::clone(app), Arc::clone(&requests));
            async move { Ok::<_, Infallible>(app.answer(peer, requests, request).await) }
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
        if let Err(error) = ended {
            tracing::debug!(peer = %self.peer, %error, "a connection broke off");
        }
    }
}
