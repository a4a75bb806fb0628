//! The body of an answer on its way out: counted, and telling when it has gone.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};

use super::pace::Requests;
use super::streams::Taken;
use crate::metrics::{Metrics, RequestLabels};

/// What is known of a request once it is answered. Dropped with the answer's body, it is counted.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) requests: Arc<Requests>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) labels: RequestLabels,
    pub(crate) began: Instant,
    pub(crate) sent: u64,
    pub(crate) taken: Option<Taken>,
}

impl Exchange {
    /// The client took the answer's head, or a part of its body.
    fn taken(&self) {
        if let Some(taken) = &self.taken {
            taken.another();
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.metrics.answered(&self.labels, self.sent, self.began.elapsed());
        self.requests.end();
    }
}

/// The body of an answer.
#[derive(Debug)]
pub(crate) struct AnswerBody {
    body: Body,
    exchange: Exchange,
}

impl AnswerBody {
    pub(crate) fn new(body: Body, exchange: Exchange) -> AnswerBody {
        exchange.taken();
        AnswerBody { body, exchange }
    }
}

impl HttpBody for AnswerBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if frame.is_ready() {
            self.exchange.taken();
        }
        if let Poll::Ready(Some(Ok(frame))) = &frame
            && let Some(data) = frame.data_ref()
        {
            self.exchange.sent += data.len() as u64;
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
