//! Time-outs of a connection. A client may take long between requests, a little for a request's head, and
//! must take something of an answer now and then; bodies of requests are their readers' business.
//!
//! They are kept below HTTP, around the socket (or around TLS on it), because that is where waiting happens: a
//! timer runs only while a read or a write is pending. Of HTTP/2 this holds for writes alone: there frames come
//! for many reasons beside requests, so that what is read says nothing of how long a request takes.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep, sleep_until};

/// How long each part of a connection may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// Between two requests.
    pub(crate) idle: Duration,
    /// For a request's head, from its first byte.
    pub(crate) head: Duration,
    /// For a client to take any of an answer.
    pub(crate) write: Duration,
}

/// How many requests of a connection began and ended: shared by the socket and the requests.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    begun: AtomicU64,
    ended: AtomicU64,
}

impl Requests {
    /// A request's head is there.
    pub(crate) fn begin(&self) {
        self.begun.fetch_add(1, Ordering::Relaxed);
    }

    /// A request's answer is written, or given up.
    pub(crate) fn end(&self) {
        self.ended.fetch_add(1, Ordering::Relaxed);
    }

    /// What the connection waits for, by the requests so far; a request that is under way waits for nobody
    /// here.
    fn waiting(&self) -> Option<u64> {
        let begun = self.begun.load(Ordering::Relaxed);
        (self.ended.load(Ordering::Relaxed) == begun).then_some(begun)
    }

    /// Waits until there was no request for `limit`, or a little longer: at most twice that.
    pub(crate) async fn idle(&self, limit: Duration) {
        loop {
            let before = self.waiting();
            sleep(limit).await;
            if before.is_some() && self.waiting() == before {
                return;
            }
        }
    }
}

/// What a read waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wait {
    /// For the first byte of the request after so many.
    Idle(u64),
    /// For the rest of its head.
    Head(u64),
}

/// A socket with time-outs.
#[derive(Debug)]
pub(crate) struct Paced<S> {
    inner: S,
    /// None where reads may take as long as they want.
    requests: Option<Arc<Requests>>,
    patience: Patience,
    wait: Option<Wait>,
    read: Timer,
    write: Timer,
}

/// A timer that is made when it is first needed, and used again.
#[derive(Debug, Default)]
struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
    armed: bool,
}

impl Timer {
    fn arm(&mut self, after: Duration) {
        let deadline = Instant::now() + after;
        match &mut self.sleep {
            Some(sleep) => sleep.as_mut().reset(deadline),
            none => *none = Some(Box::pin(sleep_until(deadline))),
        }
        self.armed = true;
    }

    fn has_run_out(&mut self, cx: &mut Context<'_>) -> bool {
        self.armed && self.sleep.as_mut().is_some_and(|sleep| sleep.as_mut().poll(cx).is_ready())
    }
}

impl<S> Paced<S> {
    /// A socket on which nothing was read yet.
    pub(crate) fn new(inner: S, requests: Arc<Requests>, patience: Patience) -> Paced<S> {
        Paced { requests: Some(requests), ..Paced::writes_alone(inner, patience) }
    }

    /// A socket whose reads are somebody else's to time.
    pub(crate) fn writes_alone(inner: S, patience: Patience) -> Paced<S> {
        Paced { inner, requests: None, patience, wait: None, read: Timer::default(), write: Timer::default() }
    }

    /// A write came to `written`; if it is pending, for how long it may be.
    fn paced_write<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.write.armed = false;
            return written;
        }
        if !self.write.armed {
            self.write.arm(self.patience.write);
        }
        if self.write.has_run_out(cx) {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing")));
        }
        Poll::Pending
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        let read = Pin::new(&mut this.inner).poll_read(cx, buf);
        let Some(requests) = &this.requests else { return read };
        let waiting = requests.waiting();
        if read.is_ready() {
            let came = buf.filled().len() > before;
            if let Some(request) = waiting.filter(|request| came && this.wait != Some(Wait::Head(*request))) {
                this.wait = Some(Wait::Head(request));
                this.read.arm(this.patience.head);
            }
            return read;
        }
        let Some(request) = waiting else {
            this.wait = None;
            this.read.armed = false;
            return Poll::Pending;
        };
        if !matches!(this.wait, Some(Wait::Idle(known) | Wait::Head(known)) if known == request) {
            this.wait = Some(Wait::Idle(request));
            this.read.arm(this.patience.idle);
        }
        if this.read.has_run_out(cx) {
            return Poll::Ready(match this.wait {
                // As if the client had closed it: nothing is lost.
                Some(Wait::Idle(_)) | None => Ok(()),
                Some(Wait::Head(_)) => {
                    Err(io::Error::new(io::ErrorKind::TimedOut, "the head of a request came too slowly"))
                }
            });
        }
        Poll::Pending
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.paced_write(cx, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.inner).poll_flush(cx);
        self.paced_write(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // With TLS there may be something left to say.
        let shut = Pin::new(&mut self.inner).poll_shutdown(cx);
        self.paced_write(cx, shut)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.paced_write(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    const PATIENCE: Patience = Patience {
        idle: Duration::from_secs(100),
        head: Duration::from_secs(10),
        write: Duration::from_secs(30),
    };

    fn paced(buffer: usize) -> (tokio::io::DuplexStream, Paced<tokio::io::DuplexStream>, Arc<Requests>) {
        let (client, server) = duplex(buffer);
        let requests = Arc::new(Requests::default());
        (client, Paced::new(server, Arc::clone(&requests), PATIENCE), requests)
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_without_requests_ends_like_one_that_was_closed() {
        let (_client, mut server, _) = paced(64);
        let began = Instant::now();
        assert_eq!(server.read(&mut [0; 8]).await.unwrap(), 0);
        assert_eq!(began.elapsed().as_secs(), PATIENCE.idle.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_may_not_drip() {
        let (mut client, mut server, _) = paced(64);
        tokio::spawn(async move {
            loop {
                // Ends when the server's side is dropped.
                if client.write_all(b"a").await.is_err() {
                    break;
                }
                tokio::time::sleep(Duration::from_secs(3)).await;
            }
        });
        let began = Instant::now();
        let error = loop {
            match server.read(&mut [0; 8]).await {
                Ok(read) => assert!(read > 0),
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(began.elapsed().as_secs(), PATIENCE.head.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_under_way_has_no_time_out_here_and_the_next_one_all_of_its_time() {
        let (mut client, mut server, requests) = paced(64);
        client.write_all(b"head").await.unwrap();
        assert_eq!(server.read(&mut [0; 8]).await.unwrap(), 4);
        requests.begin();
        let long = tokio::time::timeout(Duration::from_secs(1000), server.read(&mut [0; 8])).await;
        assert!(long.is_err(), "{long:?}");
        requests.end();
        let began = Instant::now();
        assert_eq!(server.read(&mut [0; 8]).await.unwrap(), 0);
        assert_eq!(began.elapsed().as_secs(), PATIENCE.idle.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_requests_under_way_or_new_ones_is_not_idle() {
        let requests = Requests::default();
        let busy = async {
            for _ in 0..5 {
                tokio::time::sleep(Duration::from_secs(70)).await;
                requests.begin();
                requests.end();
            }
            requests.begin();
            tokio::time::sleep(Duration::from_secs(1000)).await;
            requests.end();
        };
        let began = Instant::now();
        tokio::join!(busy, requests.idle(PATIENCE.idle));
        let idle = began.elapsed().as_secs() - (5 * 70 + 1000);
        assert!((100..=200).contains(&idle), "{idle} s after the last request");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_given_up() {
        let (_client, mut server, _) = paced(4);
        let began = Instant::now();
        let error = server.write_all(b"12345678").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(began.elapsed().as_secs(), PATIENCE.write.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_a_little_now_and_then_is_not() {
        let (mut client, mut server, _) = paced(4);
        let taker = tokio::spawn(async move {
            for _ in 0..8 {
                tokio::time::sleep(Duration::from_secs(20)).await;
                client.read_u8().await.unwrap();
            }
            client
        });
        server.write_all(b"123456789012").await.unwrap();
        taker.await.unwrap();
    }
}
