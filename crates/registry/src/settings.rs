//! Changes of a repository's settings, as they are asked for: of what is there at that moment, so that two who
//! change different things at the same time both get what they want. What the settings mean is said elsewhere.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use supercargo_eventlog::{ContentRules, DockerApiVersion, LoginMethod, NameQuota, RepositoryConfig};
use supercargo_model::{PathPattern, Pattern};

/// Settings to change; what is not set stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct RepositoryChange {
    /// What it is for, in its owner's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Which Docker protocols it speaks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub docker_api_version: Option<DockerApiVersion>,
    /// Whether an index may lack manifests that it lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sparse_index: Option<bool>,
    /// What may be pushed to it.
    #[serde(skip_serializing_if = "RulesChange::is_empty")]
    pub rules: RulesChange,
    /// How its clients are told to log in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub login: Option<LoginMethod>,
    /// Whether the tarsum that a V1 client sends with a layer must be right.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verify_tarsum: Option<bool>,
    /// The port by which clients ask for it; 0 is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub docker_port: Option<u16>,
    /// Whether it is out of use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blacked_out: Option<bool>,
    /// How many tags a name has at most; 0 is no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_unique_tags: Option<u32>,
    /// Which paths of its tree may be pushed to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub includes: Option<Vec<PathPattern>>,
    /// Which paths of its tree may not be pushed to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub excludes: Option<Vec<PathPattern>>,
    /// Settings that others know of it, with their values as JSON: in place of those of the same names. `null` takes one
    /// away.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attributes: Option<Vec<(String, String)>>,
}

/// Rules to change; what is not set stays as it is. An empty list, and a limit of 0, is no rule.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct RulesChange {
    /// Tags that don't move once they are set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub immutable_tags: Option<Vec<Pattern>>,
    /// Media types that a manifest may have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub media_types: Option<Vec<Pattern>>,
    /// Artifact types that a manifest may have, or media types of its config.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub artifact_types: Option<Vec<Pattern>>,
    /// Largest manifest, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manifest_bytes_max: Option<u64>,
    /// Largest blob, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blob_bytes_max: Option<u64>,
    /// How many bytes the repository may hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quota: Option<u64>,
    /// How many bytes each name may hold that a pattern matches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name_quotas: Option<Vec<NameQuota>>,
}

impl RulesChange {
    fn is_empty(&self) -> bool {
        *self == RulesChange::default()
    }

    /// The rules after the change.
    fn apply(self, rules: ContentRules) -> ContentRules {
        let limit = |new: Option<u64>, old| new.map_or(old, |new| Some(new).filter(|new| *new > 0));
        ContentRules {
            immutable_tags: self.immutable_tags.unwrap_or(rules.immutable_tags),
            media_types: self.media_types.unwrap_or(rules.media_types),
            artifact_types: self.artifact_types.unwrap_or(rules.artifact_types),
            manifest_bytes_max: limit(self.manifest_bytes_max, rules.manifest_bytes_max),
            blob_bytes_max: limit(self.blob_bytes_max, rules.blob_bytes_max),
            quota: limit(self.quota, rules.quota),
            name_quotas: self.name_quotas.unwrap_or(rules.name_quotas),
        }
    }
}

/// Sorted, each name once; what is `null` is gone.
fn merged(known: Vec<(String, String)>, changed: Vec<(String, String)>) -> Vec<(String, String)> {
    let mut all: BTreeMap<String, String> = known.into_iter().chain(changed).collect();
    all.retain(|_, value| value != "null");
    all.into_iter().collect()
}

impl RepositoryChange {
    /// The settings after the change.
    pub fn apply(self, config: RepositoryConfig) -> RepositoryConfig {
        RepositoryConfig {
            description: self.description.unwrap_or(config.description),
            docker_api_version: self.docker_api_version.unwrap_or(config.docker_api_version),
            sparse_index: self.sparse_index.unwrap_or(config.sparse_index),
            rules: self.rules.apply(config.rules),
            login: self.login.unwrap_or(config.login),
            verify_tarsum: self.verify_tarsum.unwrap_or(config.verify_tarsum),
            docker_port: self
                .docker_port
                .map_or(config.docker_port, |port| Some(port).filter(|port| *port > 0)),
            blacked_out: self.blacked_out.unwrap_or(config.blacked_out),
            max_unique_tags: self.max_unique_tags.unwrap_or(config.max_unique_tags),
            includes: self.includes.unwrap_or(config.includes),
            excludes: self.excludes.unwrap_or(config.excludes),
            attributes: merged(config.attributes, self.attributes.unwrap_or_default()),
        }
    }
}
