//! Views folded from the log, and the tables that keep them.
//!
//! What lives here: the tables ([`tables`]), the folds (one small module each), the working state that a
//! group of commands is decided and folded in ([`Working`]), snapshots to read from ([`Snapshot`]),
//! rebuilding and fingerprints. What does not: whether something may happen (registry), bytes of blobs,
//! HTTP, clocks. A table is written by folding a record and by nothing else.

mod batch;
mod changes;
mod codec;
mod folds;
mod numbers;
mod rebuild;
mod sieve;
mod snapshot;
pub mod tables;
mod verify;
mod working;

pub use batch::{open_batch, write_batch};
pub use changes::Changes;
pub use codec::KeyWriter;
pub use folds::{fold, targets};
pub use rebuild::{
    LAYOUT, RebuildError, RebuildProgress, Rebuilder, generation, open_for_writing, open_generation,
    table_definition,
};
pub use sieve::{Sieve, Sieved};
pub use snapshot::{Reader, Snapshot};
pub use verify::{Fingerprints, compare, fingerprints};
pub use working::{Base, Empty, Rows, Stored, StoredSnapshot, Tracked, Working, prefix_end};
