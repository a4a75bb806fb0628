//! Versions 1 to 3, in which the settings of repositories ended earlier: in version 1 before
//! [`RepositoryConfig::login`], in version 2 before [`RepositoryConfig::verify_tarsum`], in version 3 before
//! [`RepositoryConfig::docker_port`]. All else is as it is in version 4, and read as that.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use supercargo_model::{RepoKey, Timestamp};
use uuid::Uuid;

use super::{CodecError, part, whole};
use crate::event::{Actor, DockerApiVersion, LoginMethod, Origin};
use crate::rules::ContentRules;
use crate::{Event, Record, RepositoryConfig};

/// The events that were different: the first of them all.
#[derive(Deserialize)]
enum Configuring<S> {
    Created { repository: RepoKey, config: S },
    Configured { repository: RepoKey, config: S },
}

/// How many there are.
const CONFIGURING: u32 = 2;

/// What version 1 knew.
#[derive(Deserialize)]
struct First {
    description: String,
    docker_api_version: DockerApiVersion,
    sparse_index: bool,
    rules: ContentRules,
}

/// What version 2 knew.
#[derive(Deserialize)]
struct Second {
    first: First,
    login: LoginMethod,
}

/// What version 3 knew.
#[derive(Deserialize)]
struct Third {
    second: Second,
    verify_tarsum: bool,
}

impl From<First> for RepositoryConfig {
    fn from(first: First) -> RepositoryConfig {
        Second { first, login: LoginMethod::Token }.into()
    }
}

impl From<Second> for RepositoryConfig {
    fn from(second: Second) -> RepositoryConfig {
        Third { second, verify_tarsum: false }.into()
    }
}

impl From<Third> for RepositoryConfig {
    fn from(third: Third) -> RepositoryConfig {
        let Third { second: Second { first, login }, verify_tarsum } = third;
        let First { description, docker_api_version, sparse_index, rules } = first;
        RepositoryConfig {
            description,
            docker_api_version,
            sparse_index,
            rules,
            login,
            verify_tarsum,
            ..RepositoryConfig::default()
        }
    }
}

impl<S: Into<RepositoryConfig>> From<Configuring<S>> for Event {
    fn from(event: Configuring<S>) -> Event {
        match event {
            Configuring::Created { repository, config } => {
                Event::RepositoryCreated { repository, config: config.into() }
            }
            Configuring::Configured { repository, config } => {
                Event::RepositoryConfigured { repository, config: config.into() }
            }
        }
    }
}

pub(super) fn decode_v1(bytes: &[u8]) -> Result<Record, CodecError> {
    decode::<First>(bytes)
}

pub(super) fn decode_v2(bytes: &[u8]) -> Result<Record, CodecError> {
    decode::<Second>(bytes)
}

pub(super) fn decode_v3(bytes: &[u8]) -> Result<Record, CodecError> {
    decode::<Third>(bytes)
}

fn decode<S: DeserializeOwned + Into<RepositoryConfig>>(bytes: &[u8]) -> Result<Record, CodecError> {
    let (envelope, event) = part::<(u64, Timestamp, Uuid, Actor, Origin)>(bytes)?;
    let (variant, _) = part::<u32>(event)?;
    let event = if variant < CONFIGURING { whole::<Configuring<S>>(event)?.into() } else { whole(event)? };
    let (seq, at, id, actor, origin) = envelope;
    Ok(Record { seq, at, id, actor, origin, event })
}
