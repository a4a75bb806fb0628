//! The repositories as requests are led to them: which there are, what they speak, and at which ports they are asked for.
//! Kept in memory, since every request asks. How a request says which one it wants is the server's to know.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use supercargo_eventlog::{DockerApiVersion, RepositoryConfig};
use supercargo_model::RepoKey;
use supercargo_projections::prefix_end;
use supercargo_projections::tables::{Repositories, prefix};

use crate::{Error, Registry, Result};

/// All repositories, as far as requests are led to them.
#[derive(Debug, Default)]
pub struct Hosted {
    by_key: foldhash::HashMap<RepoKey, HostedRepository>,
    by_port: BTreeMap<u16, RepoKey>,
}

/// What a request needs to know of the repository that it is led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostedRepository {
    /// Which Docker protocols it speaks.
    pub docker_api_version: DockerApiVersion,
    /// Whether it is out of use.
    pub blacked_out: bool,
}

impl HostedRepository {
    /// Whether it answers by V1.
    pub const fn speaks_v1(self) -> bool {
        !self.blacked_out && matches!(self.docker_api_version, DockerApiVersion::V1 | DockerApiVersion::Both)
    }

    /// Whether it answers by V2.
    pub const fn speaks_v2(self) -> bool {
        !self.blacked_out && matches!(self.docker_api_version, DockerApiVersion::V2 | DockerApiVersion::Both)
    }
}

impl Hosted {
    /// One repository; `None` where there is none of that key.
    pub fn get(&self, key: &RepoKey) -> Option<HostedRepository> {
        self.by_key.get(key).copied()
    }

    /// The repository that clients ask for by this port.
    pub fn at_port(&self, port: u16) -> Option<&RepoKey> {
        self.by_port.get(&port)
    }

    /// Whether some repository is so.
    pub fn any(&self, is: impl Fn(HostedRepository) -> bool) -> bool {
        self.by_key.values().any(|repository| is(*repository))
    }
}

impl FromIterator<(RepoKey, RepositoryConfig)> for Hosted {
    /// Of several repositories that want the same port, the first gets it.
    fn from_iter<I: IntoIterator<Item = (RepoKey, RepositoryConfig)>>(repositories: I) -> Hosted {
        let mut hosted = Hosted::default();
        for (key, config) in repositories {
            if let Some(port) = config.docker_port {
                hosted.by_port.entry(port).or_insert_with(|| key.clone());
            }
            let RepositoryConfig { docker_api_version, blacked_out, .. } = config;
            hosted.by_key.insert(key, HostedRepository { docker_api_version, blacked_out });
        }
        hosted
    }
}

/// What was read last, and when.
#[derive(Debug, Default)]
pub(crate) struct LastRead {
    /// How often a repository had changed when it was read; 0 is never.
    epoch: u64,
    hosted: Arc<Hosted>,
}

impl Registry {
    /// All repositories as they are now, as far as requests are led to them. From memory, unless one has changed.
    ///
    /// # Errors
    /// Storage errors.
    pub fn hosted(&self) -> Result<Arc<Hosted>> {
        // Before the tables are read: a change between the two has them read again.
        let epoch = self.repositories_epoch.load(Ordering::Acquire);
        {
            let last = self.hosted.read();
            if last.epoch == epoch {
                return Ok(Arc::clone(&last.hosted));
            }
        }
        let mut found = Vec::new();
        let start = prefix::repositories();
        self.snapshot()?
            .visit::<Repositories>(&start, &prefix_end(&start), |key, row| {
                found.push((key, row.config));
                true
            })
            .map_err(Error::internal)?;
        let hosted = Arc::new(found.into_iter().collect::<Hosted>());
        let mut last = self.hosted.write();
        // Who read later may have been faster.
        if last.epoch < epoch {
            *last = LastRead { epoch, hosted: Arc::clone(&hosted) };
        }
        Ok(hosted)
    }

    /// Which Docker protocols a repository speaks; `None` where there is no such repository. From memory.
    ///
    /// # Errors
    /// Storage errors.
    pub fn docker_api_version(&self, key: &RepoKey) -> Result<Option<DockerApiVersion>> {
        Ok(self.hosted()?.get(key).map(|found| found.docker_api_version))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> RepoKey {
        RepoKey::parse(text).unwrap()
    }

    fn config(version: DockerApiVersion, port: Option<u16>, blacked_out: bool) -> RepositoryConfig {
        let base = RepositoryConfig::default();
        RepositoryConfig { docker_api_version: version, docker_port: port, blacked_out, ..base }
    }

    #[test]
    fn a_port_is_the_first_repositorys_that_wants_it() {
        let hosted: Hosted = [
            (key("a"), config(DockerApiVersion::V1, None, false)),
            (key("b"), config(DockerApiVersion::V2, Some(444), false)),
            (key("c"), config(DockerApiVersion::Both, Some(444), true)),
        ]
        .into_iter()
        .collect();
        assert_eq!(hosted.at_port(444), Some(&key("b")));
        assert_eq!(hosted.at_port(445), None);
        assert_eq!(hosted.get(&key("d")), None);
        assert!(hosted.get(&key("a")).is_some_and(HostedRepository::speaks_v1));
        assert!(!hosted.get(&key("a")).is_some_and(HostedRepository::speaks_v2));
    }

    #[test]
    fn what_is_blacked_out_speaks_nothing() {
        let hosted: Hosted = [(key("c"), config(DockerApiVersion::Both, None, true))].into_iter().collect();
        assert!(hosted.get(&key("c")).is_some());
        assert!(!hosted.any(HostedRepository::speaks_v1) && !hosted.any(HostedRepository::speaks_v2));
    }
}
