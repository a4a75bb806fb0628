//! One lock for each digest that somebody holds or waits for, so that a blob is never published and
//! removed at once. Locks of different digests know nothing of each other.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use supercargo_model::Digest;
use tokio::sync::OwnedMutexGuard;

/// The locks that are in use.
#[derive(Debug, Default)]
pub(crate) struct DigestLocks {
    in_use: Mutex<HashMap<Digest, Arc<tokio::sync::Mutex<()>>>>,
}

impl DigestLocks {
    /// Waits for the digest's lock.
    pub(crate) async fn lock(self: &Arc<Self>, digest: Digest) -> DigestGuard {
        let lock = Arc::clone(self.in_use.lock().entry(digest).or_default());
        // Made before waiting, so that one who gives up waiting tidies too.
        let mut guard = DigestGuard { locks: Arc::clone(self), digest, held: None };
        guard.held = Some(lock.lock_owned().await);
        guard
    }
}

/// A digest's lock, held until dropped.
#[derive(Debug)]
pub(crate) struct DigestGuard {
    locks: Arc<DigestLocks>,
    digest: Digest,
    held: Option<OwnedMutexGuard<()>>,
}

impl Drop for DigestGuard {
    fn drop(&mut self) {
        self.held = None;
        let mut in_use = self.locks.in_use.lock();
        // Copies are made under the table's lock alone: one that is the last stays the last.
        if in_use.get(&self.digest).is_some_and(|lock| Arc::strong_count(lock) == 1) {
            in_use.remove(&self.digest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[tokio::test]
    async fn the_second_waits_and_nothing_is_left_behind() {
        let locks = Arc::new(DigestLocks::default());
        let (digest, other) = (Digest::sha256([1; 32]), Digest::sha256([2; 32]));
        let held = locks.lock(digest).await;
        assert!(locks.lock(digest).now_or_never().is_none());
        assert!(locks.lock(other).now_or_never().is_some());
        let mut waiting = Box::pin(locks.lock(digest));
        assert!((&mut waiting).now_or_never().is_none());
        drop(held);
        drop(waiting.await);
        assert!(locks.in_use.lock().is_empty());
    }

    #[tokio::test]
    async fn one_who_gives_up_waiting_leaves_nothing() {
        let locks = Arc::new(DigestLocks::default());
        let digest = Digest::sha256([1; 32]);
        let held = locks.lock(digest).await;
        let mut waiting = Box::pin(locks.lock(digest));
        assert!((&mut waiting).now_or_never().is_none());
        drop(held);
        drop(waiting);
        assert!(locks.in_use.lock().is_empty());
    }
}
