//! The use cases: push, pull, delete, collect, prune, scrub, verify, replay.
//!
//! What lives here: commands and how they are decided (pure), the writer that makes them durable, leases,
//! and everything that a surface or a worker can ask for, in the registry's own words. What does not: HTTP,
//! configuration, schedules. Every change goes through the writer as a command; every read is from a
//! snapshot or from memory that the writer keeps honest.

mod accounts;
mod command;
mod condition;
mod decide;
mod error;
mod folder;
mod hosted;
mod hot;
#[cfg(test)]
mod interleavings;
mod labels;
mod leases;
mod ledger;
mod maintenance;
mod notice;
mod promotion;
mod pushes;
mod reads;
mod registry;
mod replay;
mod repositories;
mod rules;
pub mod search;
mod settings;
mod small;
mod stats;
pub mod tree;
pub mod v1;
mod verify;

pub use command::{Collected, GcPolicy, GroupSettings, PromotedTag, UserSettings};
pub use condition::{Condition, Expected};
pub use error::Error;
pub use folder::{DATABASE_FILE, DataFolder, OpenError};
pub use hosted::{Hosted, HostedRepository};
pub use ledger::WriterOptions;
pub use maintenance::{ScrubOptions, ScrubProgress, Scrubbed, Swept};
pub use notice::Notice;
pub use promotion::{PromotionWish, ToPromote};
pub use pushes::{ManifestPush, PushedManifest, UploadId};
pub use reads::{BlobContent, Page, Referrer, StoredManifest, TagsBody};
pub use registry::{
    Caller, ClientCertificate, Clock, FIRST_REPOSITORY, ForwardedHost, Options, Peer, Registry, Scheme,
    SystemClock,
};
pub use replay::{FillError, ImportError, ReplayError, ReplayProgress, ReplayStep, Replayed, Until};
pub use repositories::{
    INSPECTED_MAX, InspectedManifest, Inspection, NameInfo, RepositoryInfo, TagChangeInfo, TagInfo,
};
pub use rules::Broken;
pub use settings::{RepositoryChange, RulesChange};
pub use stats::{Histogram, Stats};
pub use supercargo_blobs::{StoreOptions, crash_point};
pub use supercargo_eventlog::{Actor, Api, Origin};
pub use verify::{Problem, VerifyProgress, VerifyReport, VerifyStep};

/// A use case's outcome.
pub type Result<T, E = Error> = std::result::Result<T, E>;
