//! Notices: what a person should hear of a request that went well. Use cases attach them to what they answer;
//! each surface has its own way to pass them on.

use std::fmt;

/// Something that a person should hear, though all went well. Its text is fit to be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// A manifest of Docker's schema 1 was pushed.
    Schema1Pushed,
    /// Something was deleted that other things may have been kept for.
    Deleted,
    /// Nine tenths of a quota are used.
    QuotaNearlyUsed {
        /// What the quota is of: the repository or a name.
        of: String,
        /// The quota, in bytes.
        quota: u64,
        /// What is used of it.
        used: u64,
    },
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Notice::Schema1Pushed => f.write_str(
                "schema 1 manifests are deprecated, and current clients can't pull them: push the image again \
                 with docker 1.10 or later",
            ),
            Notice::Deleted => f.write_str(
                "deleted; what nothing else needs is removed by the next collection, and folders that are empty by the \
                 next pruning",
            ),
            Notice::QuotaNearlyUsed { of, quota, used } => {
                write!(f, "{of} may hold {quota} bytes and holds {used}: soon nothing more can be pushed to it")
            }
        }
    }
}
