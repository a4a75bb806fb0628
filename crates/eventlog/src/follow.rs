//! Following: each subscriber reads the log itself, at its own pace, and is woken by commits. The writer
//! only tells how far the log reaches, so a slow subscriber costs it nothing.

use std::sync::Arc;

use tokio::sync::watch;

use crate::{DbError, Log, LogError, Record};

/// How many records one wake-up reads at most.
const BATCH_RECORDS: u64 = 256;

/// A subscriber's place in the log.
pub struct Follower {
    log: Arc<dyn Log>,
    next: u64,
    size: watch::Receiver<u64>,
}

impl std::fmt::Debug for Follower {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Follower").field("next", &self.next).finish_non_exhaustive()
    }
}

impl Follower {
    pub(crate) fn new(log: Arc<dyn Log>, from: u64, size: watch::Receiver<u64>) -> Follower {
        Follower { log, next: from, size }
    }

    /// The seq of the record that comes next.
    pub fn position(&self) -> u64 {
        self.next
    }

    /// The next records, at least one; waits for a commit where there is none yet. A follower never ends by
    /// itself: drop it. Cancel safe: records not returned are returned by the next call.
    ///
    /// # Errors
    /// As [`Log::read`].
    pub async fn next_batch(&mut self) -> Result<Vec<Record>, LogError> {
        let next = self.next;
        let closed = || LogError::Storage(DbError::Closed);
        let size = self.size.wait_for(|size| *size > next).await.map(|size| *size).map_err(|_| closed())?;
        let to = size.min(next + BATCH_RECORDS);
        let log = Arc::clone(&self.log);
        let read = move || log.read(next..to)?.collect::<Result<Vec<Record>, LogError>>();
        // Only a shutdown of the runtime cancels the read.
        let batch = tokio::task::spawn_blocking(read).await.map_err(|_| closed())??;
        self.next += batch.len() as u64;
        Ok(batch)
    }
}
