//! Set Me Up: what somebody does to use a repository with the client that they have.
//!
//! What lives here: the guide to one repository, as text and as data: commands to copy, and files with where they go.
//! [`ways`] says by which addresses it is reached, `clients` what each client is told. What does not: where the
//! repository and the configuration are read from.

pub(crate) mod answer;
mod clients;
pub mod ways;

use std::fmt;

use serde::{Deserialize, Serialize};
use supercargo_eventlog::DockerApiVersion;
use supercargo_model::RepoKey;

pub use self::answer::{Format, Parameters};
use self::ways::{Address, Reached, Way};
use crate::proxy::Repository;

/// A client, or clients that are told the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Client {
    /// docker from 17.12 on, and older ones from 1.10 on where the repository speaks V2.
    Docker,
    /// docker 1.5 to 17.06, by V1.
    OldDocker,
    /// podman, and with the same files buildah and skopeo.
    Podman,
    /// containerd, and Kubernetes on it.
    Containerd,
    /// curl, for the registry's own API.
    Curl,
}

impl Client {
    /// All of them.
    pub const ALL: [Client; 5] =
        [Client::Docker, Client::OldDocker, Client::Podman, Client::Containerd, Client::Curl];

    /// As the command line and parameters spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Client::Docker => "docker",
            Client::OldDocker => "old-docker",
            Client::Podman => "podman",
            Client::Containerd => "containerd",
            Client::Curl => "curl",
        }
    }

    /// The client of that name.
    ///
    /// # Errors
    /// What there is instead.
    pub fn parse(text: &str) -> Result<Client, String> {
        let found = Client::ALL.into_iter().find(|client| client.as_str() == text);
        found.ok_or_else(|| format!("use one of {}", Client::ALL.map(Client::as_str).join(", ")))
    }

    /// Whether it speaks what the repository does.
    fn can_use(self, speaks: DockerApiVersion) -> bool {
        match self {
            Client::Docker | Client::Podman | Client::Containerd => speaks != DockerApiVersion::V1,
            Client::OldDocker => speaks != DockerApiVersion::V2,
            Client::Curl => true,
        }
    }
}

/// A repository, and what clients have to know of the registry that it is in.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The repository.
    pub repository: Repository,
    /// The ways to it, the one to be shown first.
    pub ways: Vec<Way>,
    /// The URL of the registry with its context, without a slash behind: `https://registry.example/artifactory`.
    pub api: String,
    /// The authority that signed for the registry, PEM, where clients don't know it by themselves.
    pub authority: Option<String>,
    /// Whether there are accounts.
    pub accounts: bool,
    /// Who wants to know, where that is known.
    pub user: Option<String>,
}

impl Subject {
    /// The repository of that key among all that there are, as clients find it that find the registry at `address`, and
    /// its own API at the URL `api`. Without accounts, and signed for by an authority that clients know. `None` where there
    /// is no such repository.
    pub fn new(
        reached: &Reached,
        (address, api): (Address, &str),
        context: &str,
        repositories: &[Repository],
        key: &RepoKey,
    ) -> Option<Subject> {
        let repository = repositories.iter().find(|repository| repository.key == *key)?.clone();
        let entrances = reached.entrances(address, repositories);
        Some(Subject {
            ways: entrances.ways(&repository),
            repository,
            api: match &reached.proxy.server_name {
                Some(_) => format!("{}://{}{context}", entrances.front.scheme(), entrances.front),
                None => api.to_owned(),
            },
            authority: None,
            accounts: false,
            user: None,
        })
    }
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Guide {
    /// The repository's key.
    pub repository: RepoKey,
    /// What it speaks.
    pub docker_api_version: DockerApiVersion,
    /// The URL of its Docker API.
    pub url: String,
    /// What stands before the names of its images, by every way there is; the commands use the first.
    pub images: Vec<Way>,
    /// The steps.
    pub sections: Vec<Section>,
}

/// A step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Section {
    /// Whose it is.
    pub client: Client,
    /// What it is for.
    pub title: String,
    /// Files, in the order in which they are written, before the commands.
    pub files: Vec<File>,
    /// Commands for a shell. NAME and TAG are the image's, USER is the user's name.
    pub commands: Vec<String>,
}

/// A file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct File {
    /// Where it is.
    pub path: String,
    /// What it says.
    pub content: String,
    /// Whether this goes beside what others wrote there.
    pub beside: bool,
}

/// The guide to a repository, for one client or for all that can use it.
pub fn guide(subject: &Subject, client: Option<Client>) -> Guide {
    let key = &subject.repository.key;
    let speaks = subject.repository.speaks;
    let wanted = Client::ALL.into_iter().filter(|it| client.is_none_or(|client| client == *it));
    let sections = wanted.filter(|client| client.can_use(speaks));
    Guide {
        repository: key.clone(),
        docker_api_version: speaks,
        url: format!("{}/api/docker/{key}", subject.api),
        images: subject.ways.clone(),
        sections: sections.flat_map(|client| clients::sections(subject, client)).collect(),
    }
}

impl fmt::Display for Guide {
    /// A script that is read before it is run: what is no command is a comment.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let speaks = match self.docker_api_version {
            DockerApiVersion::V2 => "V2",
            DockerApiVersion::V1 => "V1 alone",
            DockerApiVersion::Both => "V1 and V2",
        };
        writeln!(f, "# {}: speaks {speaks}, at {}", self.repository, self.url)?;
        match self.images.split_first() {
            Some((first, others)) => {
                writeln!(f, "# Its images are {first}/NAME:TAG.")?;
                for other in others {
                    writeln!(f, "# They are {other}/NAME:TAG, too.")?;
                }
            }
            None => writeln!(
                f,
                "# No docker client reaches it as the registry is configured: give it a port (`docker-port`), a \
                 listener or a host."
            )?,
        }
        for section in &self.sections {
            write!(f, "\n# {}: {}\n{section}", section.client.as_str(), section.title)?;
        }
        Ok(())
    }
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for File { path, content, beside } in &self.files {
            match beside {
                true => {
                    writeln!(f, "#   in {path}, beside what is there:")?;
                    content.lines().try_for_each(|line| writeln!(f, "#   {line}"))?;
                }
                false => {
                    if let Some((folder, _)) = path.rsplit_once('/') {
                        writeln!(f, "mkdir -p {folder}")?;
                    }
                    writeln!(f, "cat > {path} <<'END'\n{}\nEND", content.trim_end())?;
                }
            }
        }
        self.commands.iter().try_for_each(|command| writeln!(f, "{command}"))
    }
}

#[cfg(test)]
mod tests;
