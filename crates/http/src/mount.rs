//! How a request reaches a repository: which one it is, and what its client calls it. The server finds that out and leaves
//! it in the request's extensions; here is what surfaces make of it, to the same effect in all.

use std::fmt;

use supercargo_model::{RepoKey, RepoName};
use supercargo_registry::{Hosted, HostedRepository};

/// The repository that a request is for, and how the client came to it. In the extensions of each request for a protocol
/// of a repository, whose path begins with the protocol's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// The repository.
    pub repository: RepoKey,
    /// What stands before the protocol's paths for the client: nothing at the root of a host, or a path such as
    /// `/artifactory/api/docker/docker-local`, with a slash in front and none behind.
    pub prefix: String,
    /// The root of a host that all repositories share, where the client came by one.
    pub shared: Option<SharedRoot>,
}

/// A root at which every repository is reached: the default one by the names in it, all by `<key>/<name>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedRoot {
    /// The default repository.
    pub default: RepoKey,
    /// Whether the client put the repository's key before the name.
    pub keyed: bool,
}

/// A name as the client calls it.
#[derive(Debug, Clone, Copy)]
pub struct Called<'a> {
    key: Option<&'a RepoKey>,
    name: &'a RepoName,
}

impl fmt::Display for Called<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(key) = self.key {
            write!(f, "{key}/")?;
        }
        fmt::Display::fmt(self.name, f)
    }
}

impl Mount {
    /// A repository for itself, below a prefix.
    pub fn alone(repository: RepoKey, prefix: impl Into<String>) -> Mount {
        Mount { repository, prefix: prefix.into(), shared: None }
    }

    /// Whether it is at a shared root, and no repository was named yet: what is asked concerns the default one, or all.
    pub fn is_shared_root(&self) -> bool {
        self.shared.as_ref().is_some_and(|root| !root.keyed)
    }

    /// What the client puts before names, beside a slash.
    pub fn key(&self) -> Option<&RepoKey> {
        self.shared.as_ref().filter(|root| root.keyed).map(|_| &self.repository)
    }

    /// What the client calls a name of the repository.
    pub fn called<'a>(&'a self, name: &'a RepoName) -> Called<'a> {
        Called { key: self.key(), name }
    }

    /// What bearer tokens are for: the repository, or at a shared root the default one, since clients ask there before
    /// they say for which.
    pub fn service(&self) -> &str {
        self.shared.as_ref().map_or(&self.repository, |root| &root.default).as_str()
    }

    /// The repository and the rest of the name that the client means by a name or what begins like one. Names hold
    /// nothing of other repositories but at a shared root.
    pub fn find<'a>(&self, hosted: &Hosted, called: &'a str) -> (RepoKey, &'a str) {
        match &self.shared {
            None => (self.repository.clone(), called),
            Some(root) => keyed(hosted, called).unwrap_or_else(|| (root.default.clone(), called)),
        }
    }
}

/// The repository whose key a name begins with, where there is one and the name goes on, and what follows. A key is a key
/// whatever the default repository holds: what a push made must not lead others elsewhere.
pub fn keyed<'a>(hosted: &Hosted, called: &'a str) -> Option<(RepoKey, &'a str)> {
    let (first, rest) = called.split_once('/').filter(|(_, rest)| !rest.is_empty())?;
    Some((key(hosted, first)?, rest))
}

/// The key that a text is, where there is such a repository.
pub fn key(hosted: &Hosted, text: &str) -> Option<RepoKey> {
    RepoKey::parse(text).ok().filter(|key| hosted.get(key).is_some())
}

/// The repository at a mount, in service.
///
/// # Errors
/// [`Closed`].
pub fn open(hosted: &Hosted, repository: &RepoKey) -> Result<HostedRepository, Closed> {
    match hosted.get(repository) {
        None => Err(Closed::Unknown(repository.clone())),
        Some(found) if found.blacked_out => Err(Closed::BlackedOut(repository.clone())),
        Some(found) => Ok(found),
    }
}

/// Why a repository answers nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Closed {
    /// There is none of that key.
    #[error("the repository {0} is not known here")]
    Unknown(RepoKey),
    /// It is out of use.
    #[error("the repository {0} is blacked out: what it holds is kept, and not served")]
    BlackedOut(RepoKey),
}

#[cfg(test)]
mod tests {
    use supercargo_eventlog::RepositoryConfig;

    use super::*;

    fn key(text: &str) -> RepoKey {
        text.parse().unwrap()
    }

    fn hosted() -> Hosted {
        let blacked_out = RepositoryConfig { blacked_out: true, ..RepositoryConfig::default() };
        [(key("local"), RepositoryConfig::default()), (key("Team-A"), blacked_out)].into_iter().collect()
    }

    #[test]
    fn a_name_begins_with_a_key_where_it_goes_on_after_it() {
        for (called, expected) in [
            ("local/app", Some(("local", "app"))),
            ("local/team/app", Some(("local", "team/app"))),
            ("Team-A/app", Some(("Team-A", "app"))),
            ("local/local/app", Some(("local", "local/app"))),
            ("local", None),
            ("local/", None),
            ("team-a/app", None),
            ("app/local", None),
            ("/local/app", None),
            ("", None),
        ] {
            let found = keyed(&hosted(), called);
            assert_eq!(found, expected.map(|(of, rest)| (key(of), rest)), "{called}");
        }
    }

    #[test]
    fn a_name_is_told_as_the_client_calls_it() {
        let name = RepoName::parse("team/app").unwrap();
        let shared = |keyed| Some(SharedRoot { default: key("local"), keyed });
        for (shared, called, service) in [
            (None, "team/app", "r"),
            (shared(false), "team/app", "local"),
            (shared(true), "r/team/app", "local"),
        ] {
            let mount = Mount { repository: key("r"), prefix: String::new(), shared };
            assert_eq!(mount.called(&name).to_string(), called);
            assert_eq!(mount.service(), service);
        }
    }

    #[test]
    fn what_is_unknown_or_blacked_out_is_closed() {
        assert!(open(&hosted(), &key("local")).is_ok());
        assert_eq!(open(&hosted(), &key("x")), Err(Closed::Unknown(key("x"))));
        assert_eq!(open(&hosted(), &key("Team-A")), Err(Closed::BlackedOut(key("Team-A"))));
    }
}
