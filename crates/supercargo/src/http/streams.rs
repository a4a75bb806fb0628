//! The streams of HTTP/2, each a task. A client that takes nothing of one answer, while others go on, can't be
//! seen at the socket: the library waits for its window, and asks for nothing more of the answer's body. So each
//! stream is watched by itself, and given up when its answer does not get on.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hyper::rt::Executor;
use tokio::time::timeout;

tokio::task_local! {
    static STREAM: Taken;
}

/// How much of its answer a stream's client has taken: what was asked of the body, counted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Taken(Arc<AtomicU64>);

impl Taken {
    /// Of the stream that this task is; none where it is a whole connection.
    pub(crate) fn of_this_stream() -> Option<Taken> {
        STREAM.try_with(Taken::clone).ok()
    }

    /// The head was taken, or another part of the body.
    pub(crate) fn another(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// 0 as long as there is no answer.
    fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Starts the tasks of streams.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Streams {
    /// For how long a client may take nothing of an answer.
    pub(crate) patience: Duration,
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, stream: F) {
        tokio::spawn(watched(stream, self.patience));
    }
}

/// Runs a stream to its end, or until its answer does not get on; dropped, it is reset.
async fn watched(stream: impl Future<Output = ()>, patience: Duration) {
    let taken = Taken::default();
    let mut stream = pin!(STREAM.scope(taken.clone(), stream));
    loop {
        let before = taken.count();
        if timeout(patience, stream.as_mut()).await.is_ok() {
            return;
        }
        if before > 0 && taken.count() == before {
            tracing::debug!("a stream was reset: the client takes nothing of its answer");
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::{Instant, sleep};

    const PATIENCE: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn a_stream_whose_answer_gets_on_is_left_alone() {
        let began = Instant::now();
        let stream = async {
            // Until there is an answer, the time is the server's own.
            sleep(10 * PATIENCE).await;
            let taken = Taken::of_this_stream().unwrap();
            for _ in 0..10 {
                taken.another();
                sleep(PATIENCE / 2).await;
            }
        };
        watched(stream, PATIENCE).await;
        assert_eq!(began.elapsed(), 15 * PATIENCE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_whose_answer_stands_still_is_given_up() {
        let began = Instant::now();
        let stream = async {
            Taken::of_this_stream().unwrap().another();
            std::future::pending::<()>().await;
        };
        watched(stream, PATIENCE).await;
        assert!((1..=2).contains(&(began.elapsed().as_secs() / PATIENCE.as_secs())));
        assert!(Taken::of_this_stream().is_none());
    }
}
