//! How much is measured, with which programs, and where. The sizes that make a scenario are named here and
//! nowhere else.

use std::path::PathBuf;
use std::time::Duration;

/// What a run is made of.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How often each side is measured.
    pub rounds: usize,
    /// How long each side is measured in a round, where a scenario goes by time.
    pub duration: Duration,
    /// Size of a large blob, in bytes.
    pub large_bytes: usize,
    /// Tags in the name whose tags are listed.
    pub tags: usize,
    /// Manifests deleted in a round.
    pub deletes: usize,
    /// Events in the log that is started on.
    pub start_events: u64,
    /// Events in the log that is replayed, and that commits are added to.
    pub replay_events: u64,
    /// Tags in the trees that are looked through: each is a folder with four files.
    pub tree_tags: u64,
    /// How often each page of them is asked for in a round, while there is time for it.
    pub tree_asked: usize,
    /// Clients that push large layers while memory is looked at.
    pub memory_clients: usize,
    /// Where servers keep their data: an empty folder on the disk that is to be measured.
    pub work: PathBuf,
    /// The programs.
    pub programs: Programs,
}

/// The programs that are measured and measured with. A peer or tool that is not there leaves its rows
/// unmeasured, and says so.
#[derive(Debug, Clone)]
pub struct Programs {
    /// The program under measurement.
    pub supercargo: PathBuf,
    /// CNCF distribution, 2.8.
    pub distribution: PathBuf,
    /// nginx.
    pub nginx: PathBuf,
    /// The load generator that is fast enough for nginx.
    pub wrk: PathBuf,
}

impl Settings {
    /// Sizes that give figures worth keeping.
    pub fn full(work: PathBuf, programs: Programs) -> Settings {
        Settings {
            rounds: 3,
            duration: Duration::from_secs(4),
            large_bytes: 512 << 20,
            tags: 10_000,
            deletes: 1_000,
            start_events: 1_000_000,
            replay_events: 300_000,
            tree_tags: 200_000,
            tree_asked: 200,
            memory_clients: 16,
            work,
            programs,
        }
    }

    /// Sizes that show that every scenario runs, and nothing else.
    pub fn smoke(work: PathBuf, programs: Programs) -> Settings {
        Settings {
            rounds: 1,
            duration: Duration::from_millis(200),
            large_bytes: 4 << 20,
            tags: 50,
            deletes: 20,
            start_events: 5_000,
            replay_events: 5_000,
            tree_tags: 2_000,
            tree_asked: 2,
            memory_clients: 4,
            work,
            programs,
        }
    }
}
