//! The rules of a repository for what may be pushed to it, as events carry them. What each refuses is decided
//! by the registry; here is only how they are said.
//!
//! Part of the same contract as [`crate::event`]: fields are never removed, renumbered or reordered.

use serde::{Deserialize, Serialize};
use supercargo_model::Pattern;

/// What may be pushed to a repository. The default allows everything.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ContentRules {
    /// Tags that don't move once they are set.
    pub immutable_tags: Vec<Pattern>,
    /// Media types that a manifest may have; any, where there are none.
    pub media_types: Vec<Pattern>,
    /// Artifact types that a manifest may have, or media types of its config where it names no artifact type;
    /// any, where there are none.
    pub artifact_types: Vec<Pattern>,
    /// Largest manifest, in bytes.
    pub manifest_bytes_max: Option<u64>,
    /// Largest blob, in bytes.
    pub blob_bytes_max: Option<u64>,
    /// How many bytes the repository may hold: those of its names, added up.
    pub quota: Option<u64>,
    /// How many bytes single names may hold.
    pub name_quotas: Vec<NameQuota>,
}

/// How many bytes each name may hold that a pattern matches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NameQuota {
    /// Which names.
    pub names: Pattern,
    /// How many bytes each.
    pub bytes: u64,
}

impl ContentRules {
    /// Whether any of them bounds how many bytes may be uploaded.
    pub fn bound_uploads(&self) -> bool {
        self.blob_bytes_max.is_some() || self.quota.is_some() || !self.name_quotas.is_empty()
    }

    /// How many patterns there are, in all rules.
    pub fn patterns(&self) -> usize {
        self.immutable_tags.len()
            + self.media_types.len()
            + self.artifact_types.len()
            + self.name_quotas.len()
    }
}
