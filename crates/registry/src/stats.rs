//! Counters of what the registry did since it was opened, for whoever exports them. No metrics library
//! here: plain atomics, read at leisure.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A histogram with fixed bounds.
#[derive(Debug)]
pub struct Histogram<const N: usize> {
    bounds: [f64; N],
    buckets: [AtomicU64; N],
    /// Observations above the last bound.
    above: AtomicU64,
    /// In millionths, so that it fits an integer.
    sum_micros: AtomicU64,
}

impl<const N: usize> Histogram<N> {
    const fn new(bounds: [f64; N]) -> Histogram<N> {
        Histogram {
            bounds,
            buckets: [const { AtomicU64::new(0) }; N],
            above: AtomicU64::new(0),
            sum_micros: AtomicU64::new(0),
        }
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "values are small and positive"
    )]
    fn observe(&self, value: f64) {
        let bucket = self.bounds.iter().position(|bound| value <= *bound);
        bucket.map_or(&self.above, |bucket| &self.buckets[bucket]).fetch_add(1, Ordering::Relaxed);
        self.sum_micros.fetch_add((value * 1e6) as u64, Ordering::Relaxed);
    }

    /// Upper bounds, the last of them infinite, with how many observations fell between each and the one
    /// before it; and the sum of all observations.
    #[expect(clippy::cast_precision_loss, reason = "a metric")]
    pub fn read(&self) -> (Vec<(f64, u64)>, f64) {
        let buckets = self.bounds.iter().zip(&self.buckets);
        let mut read: Vec<_> =
            buckets.map(|(bound, bucket)| (*bound, bucket.load(Ordering::Relaxed))).collect();
        read.push((f64::INFINITY, self.above.load(Ordering::Relaxed)));
        (read, self.sum_micros.load(Ordering::Relaxed) as f64 / 1e6)
    }
}

/// What the registry did.
#[derive(Debug)]
pub struct Stats {
    /// Seconds from the begin of a group's transaction to its commit.
    pub commit_seconds: Histogram<10>,
    /// Commands in a group.
    pub group_commands: Histogram<10>,
    /// Records appended.
    pub records: AtomicU64,
    /// Commands refused.
    pub refused: AtomicU64,
    /// Groups that failed to commit.
    pub failed_groups: AtomicU64,
    /// Blobs whose bytes were collected, and their bytes.
    pub collected_blobs: AtomicU64,
    /// Bytes freed by collections.
    pub collected_bytes: AtomicU64,
    /// Folders pruned.
    pub pruned_folders: AtomicU64,
    /// Blobs that a scrub read.
    pub scrubbed_blobs: AtomicU64,
    /// Blobs that a scrub found rotten.
    pub rotten_blobs: AtomicU64,
}

impl Default for Stats {
    fn default() -> Stats {
        Stats {
            commit_seconds: Histogram::new([0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5]),
            group_commands: Histogram::new([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0]),
            records: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            failed_groups: AtomicU64::new(0),
            collected_blobs: AtomicU64::new(0),
            collected_bytes: AtomicU64::new(0),
            pruned_folders: AtomicU64::new(0),
            scrubbed_blobs: AtomicU64::new(0),
            rotten_blobs: AtomicU64::new(0),
        }
    }
}

impl Stats {
    #[expect(clippy::cast_precision_loss, reason = "a metric")]
    pub(crate) fn committed(&self, commands: usize, records: u64, took: Duration) {
        self.commit_seconds.observe(took.as_secs_f64());
        self.group_commands.observe(commands as f64);
        self.records.fetch_add(records, Ordering::Relaxed);
    }
}
