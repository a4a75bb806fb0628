//! Version 1, which knew of no choice of how clients log in: the settings of repositories ended before
//! [`RepositoryConfig::login`]. All else is as it is in version 2, and read as that.

use serde::Deserialize;
use supercargo_model::{RepoKey, Timestamp};
use uuid::Uuid;

use super::{CodecError, part, whole};
use crate::event::{Actor, DockerApiVersion, LoginMethod, Origin};
use crate::rules::ContentRules;
use crate::{Event, Record, RepositoryConfig};

/// The events that were different: the first of them all.
#[derive(Deserialize)]
enum Configuring {
    Created { repository: RepoKey, config: Settings },
    Configured { repository: RepoKey, config: Settings },
}

/// How many there are.
const CONFIGURING: u32 = 2;

#[derive(Deserialize)]
struct Settings {
    description: String,
    docker_api_version: DockerApiVersion,
    sparse_index: bool,
    rules: ContentRules,
}

impl From<Settings> for RepositoryConfig {
    fn from(settings: Settings) -> RepositoryConfig {
        let Settings { description, docker_api_version, sparse_index, rules } = settings;
        RepositoryConfig { description, docker_api_version, sparse_index, rules, login: LoginMethod::Token }
    }
}

impl From<Configuring> for Event {
    fn from(event: Configuring) -> Event {
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

pub(super) fn decode(bytes: &[u8]) -> Result<Record, CodecError> {
    let (envelope, event) = part::<(u64, Timestamp, Uuid, Actor, Origin)>(bytes)?;
    let (variant, _) = part::<u32>(event)?;
    let event = if variant < CONFIGURING { whole::<Configuring>(event)?.into() } else { whole(event)? };
    let (seq, at, id, actor, origin) = envelope;
    Ok(Record { seq, at, id, actor, origin, event })
}
