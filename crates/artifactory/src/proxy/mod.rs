//! Configuration of a reverse proxy, made from a description of what it stands before.
//!
//! What lives here: the description, what has to be true of it, and the plan that comes of it: which servers there are,
//! on which ports, and what each does with the paths of the Docker protocols. The plan is one for both programs;
//! `nginx` and `apache` write it down, each in its own language. What does not: where a description comes from.
//!
//! All servers do the same with what concerns one repository: `/v1/` and `/v2/` become that repository's paths below
//! `<context>/api/docker/<key>/`, and everything below the context is passed on. A repository that speaks V1 alone
//! gets no `/v2/`: docker 1.10 and later rule V1 out for a host once its `/v2/` was answered with the header of the V2
//! API, or with a demand for credentials. So the proxy answers there itself, 404 and nothing else.

pub(crate) mod answer;
mod apache;
mod nginx;
mod settings;
mod text;

use std::fmt;
use std::net::IpAddr;

use http::uri::Authority;
use serde::{Deserialize, Serialize};
use supercargo_eventlog::{DockerApiVersion, RepositoryConfig};
use supercargo_model::RepoKey;

pub use self::settings::Settings;

/// How long a proxy waits for the other side to go on, in seconds.
const TIMEOUT_SECONDS: u32 = 900;

/// Characters that mean something in the files of either program, quoted or not.
const SPECIAL: [char; 8] = ['"', '\'', '\\', '$', ';', '{', '}', '<'];

/// The program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Program {
    /// nginx, from 1.13 on.
    Nginx,
    /// Apache httpd, from 2.4.10 on.
    Apache,
}

impl Program {
    /// As the command line and paths spell it.
    ///
    /// # Errors
    /// What is there instead.
    pub fn parse(text: &str) -> Result<Program, String> {
        match text.to_ascii_lowercase().as_str() {
            "nginx" => Ok(Program::Nginx),
            "apache" => Ok(Program::Apache),
            _ => Err("use nginx or apache".to_owned()),
        }
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Program::Nginx => "nginx",
            Program::Apache => "apache",
        })
    }
}

/// How clients say at the proxy which repository they mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", try_from = "String")]
pub enum Method {
    /// By the port: `registry.example:444/name`, where 444 is the repository's `docker-port`.
    Port,
    /// By the host: `key.registry.example/name`.
    Subdomain,
    /// By the path: `registry.example/key/name`.
    Path,
}

impl Method {
    /// As the command line spells it, or the settings of web servers do.
    ///
    /// # Errors
    /// What is there instead.
    pub fn parse(text: &str) -> Result<Method, String> {
        match text.to_ascii_lowercase().as_str() {
            "port" | "portperrepo" => Ok(Method::Port),
            "subdomain" => Ok(Method::Subdomain),
            "path" | "repopathprefix" | "novalue" => Ok(Method::Path),
            _ => Err("use port, subdomain or path".to_owned()),
        }
    }

    /// As the settings of web servers spell it.
    pub const fn as_setting(self) -> &'static str {
        match self {
            Method::Port => "PORTPERREPO",
            Method::Subdomain => "SUBDOMAIN",
            Method::Path => "REPOPATHPREFIX",
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Method::Port => "port",
            Method::Subdomain => "subdomain",
            Method::Path => "path",
        })
    }
}

impl TryFrom<String> for Method {
    type Error = String;

    fn try_from(text: String) -> Result<Method, String> {
        Method::parse(&text)
    }
}

/// A repository behind a proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    /// Its key.
    pub key: RepoKey,
    /// What it speaks.
    pub speaks: DockerApiVersion,
    /// The port that is its own.
    pub docker_port: Option<u16>,
}

impl Repository {
    /// The one of that key, as it is set.
    pub fn of(key: RepoKey, config: &RepositoryConfig) -> Repository {
        Repository { key, speaks: config.docker_api_version, docker_port: config.docker_port }
    }
}

/// What a proxy stands before, and how it is reached itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// How clients say which repository they mean.
    pub method: Method,
    /// The host by which clients know the proxy, without a port.
    pub server_name: String,
    /// The file of its certificate, on its own machine.
    pub certificate: String,
    /// The file of the certificate's key.
    pub key: String,
    /// The addresses on which it listens; none is all.
    pub addresses: Vec<IpAddr>,
    /// Its port for https where the method does not say another.
    pub https_port: u16,
    /// A port where it listens for http, to send clients to https.
    pub http_port: Option<u16>,
    /// `host:port` of the registry, which speaks http there.
    pub upstream: String,
    /// What is before the paths of the registry's own API: `/artifactory`, or nothing.
    pub context: String,
    /// The repositories, in any order.
    pub repositories: Vec<Repository>,
}

/// Why no configuration comes of a description. The text is for whoever made it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DescriptionError {
    /// Something has no default, and nobody said it.
    #[error("nobody said {what}: the configuration may, in [proxy], or whoever asks (--{flag})")]
    Unsaid {
        /// What it is.
        what: &'static str,
        /// The flag that says it.
        flag: &'static str,
    },
    /// An address to listen on is none.
    #[error("{0:?} is no address that a proxy can listen on, such as 192.0.2.1")]
    Listen(String),
    /// The server's name is none.
    #[error("{0:?} is no host name, such as registry.example; a port is said apart from it")]
    ServerName(String),
    /// An address has no subdomains.
    #[error("{0} is an address, which has no subdomains: name a host, or use another method")]
    AddressHasNoSubdomains(String),
    /// A path that can't stand in the file.
    #[error("the {what} {path:?} is no absolute path without quotes and the like")]
    Path {
        /// Whose it is.
        what: &'static str,
        /// It.
        path: String,
    },
    /// The registry's address is none.
    #[error("{0:?} is no host and port, such as 127.0.0.1:5000")]
    Upstream(String),
    /// The context can't be.
    #[error("{0:?} is no context, such as /artifactory")]
    Context(String),
    /// A port is none.
    #[error("0 is no port that a proxy can listen on")]
    NoPort,
    /// Two listen on one port.
    #[error("{first} and {second} both have port {port}: give one of them another (`docker-port`)")]
    PortTaken {
        /// The port.
        port: u16,
        /// Who has it.
        first: String,
        /// Who has it, too.
        second: String,
    },
    /// Two keys are one host.
    #[error("{first} and {second} differ in capital letters alone, and hosts don't: use another method")]
    SameHost {
        /// One key.
        first: RepoKey,
        /// The other.
        second: RepoKey,
    },
}

impl Description {
    /// Writes the configuration of that program.
    ///
    /// # Errors
    /// [`DescriptionError`]
    pub fn write(&self, program: Program) -> Result<String, DescriptionError> {
        let plan = self.plan()?;
        Ok(match program {
            Program::Nginx => nginx::write(&plan),
            Program::Apache => apache::write(&plan),
        })
    }

    /// Which servers there are, and what each does.
    fn plan(&self) -> Result<Plan<'_>, DescriptionError> {
        self.check()?;
        let mut repositories: Vec<&Repository> = self.repositories.iter().collect();
        repositories.sort_by(|a, b| a.key.cmp(&b.key));
        let site = |host, port, root| Site { host, port, root };
        let front = || site(Host::Exactly(self.server_name.clone()), self.https_port, Root::Unbound);
        let sites = match self.method {
            Method::Path => vec![front()],
            Method::Port => {
                let bound = bound_to_ports(&repositories)?;
                if let Some((port, repository)) = bound.iter().find(|(port, _)| Some(*port) == self.http_port)
                {
                    return Err(DescriptionError::PortTaken {
                        port: *port,
                        first: "the listener for http".to_owned(),
                        second: repository.key.to_string(),
                    });
                }
                let is_free = bound.iter().all(|(port, _)| *port != self.https_port);
                let bound = bound.into_iter().map(|(port, repository)| {
                    site(Host::Exactly(self.server_name.clone()), port, Root::Repository(repository))
                });
                is_free.then(front).into_iter().chain(bound).collect()
            }
            Method::Subdomain => {
                if let Some([first, second]) = same_hosts(&repositories) {
                    return Err(DescriptionError::SameHost { first: first.clone(), second: second.clone() });
                }
                // Others are found by the host's first part, also those that are made later.
                let own = repositories.into_iter().filter(|repository| {
                    repository.speaks == DockerApiVersion::V1
                        || host_of(&repository.key) != repository.key.as_str()
                });
                let own = own.map(|repository| {
                    let host = format!("{}.{}", host_of(&repository.key), self.server_name);
                    site(Host::Exactly(host), self.https_port, Root::Repository(repository))
                });
                let rest = site(
                    Host::Below(self.server_name.clone()),
                    self.https_port,
                    Root::Subdomain { below: &self.server_name },
                );
                [front()].into_iter().chain(own).chain([rest]).collect()
            }
        };
        Ok(Plan { description: self, sites })
    }

    /// Whether a configuration can come of it, as far as that does not depend on the repositories.
    ///
    /// # Errors
    /// [`DescriptionError`]
    pub fn check(&self) -> Result<(), DescriptionError> {
        let host = &self.server_name;
        if host_and_port(host).is_none_or(|it| it.host() != host) {
            return Err(DescriptionError::ServerName(host.clone()));
        }
        let is_address = host.starts_with('[') || host.parse::<IpAddr>().is_ok();
        if self.method == Method::Subdomain && is_address {
            return Err(DescriptionError::AddressHasNoSubdomains(host.clone()));
        }
        for (what, path) in [("certificate", &self.certificate), ("key", &self.key)] {
            if !path.starts_with('/') || path.contains(SPECIAL) || path.contains(char::is_control) {
                return Err(DescriptionError::Path { what, path: path.clone() });
            }
        }
        if host_and_port(&self.upstream).is_none_or(|it| it.port_u16().is_none()) {
            return Err(DescriptionError::Upstream(self.upstream.clone()));
        }
        let is_part = |part: &str| {
            let is_plain =
                |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
            !matches!(part, "" | "." | "..") && part.bytes().all(is_plain)
        };
        let mut parts = self.context.split('/');
        if parts.next() != Some("") || !parts.all(is_part) {
            return Err(DescriptionError::Context(self.context.clone()));
        }
        if self.https_port == 0 || self.http_port == Some(0) {
            return Err(DescriptionError::NoPort);
        }
        if self.http_port == Some(self.https_port) {
            return Err(DescriptionError::PortTaken {
                port: self.https_port,
                first: "the listener for http".to_owned(),
                second: "that for https".to_owned(),
            });
        }
        Ok(())
    }
}

/// A host, perhaps with a port, of characters that mean nothing to either program.
pub(crate) fn host_and_port(text: &str) -> Option<Authority> {
    let is_plain =
        |char: char| char.is_ascii_alphanumeric() || matches!(char, '.' | '-' | '_' | ':' | '[' | ']');
    let authority: Authority = text.chars().all(is_plain).then(|| text.parse().ok())??;
    (!authority.host().is_empty()).then_some(authority)
}

/// The repositories that have ports, by port.
fn bound_to_ports<'a>(
    repositories: &[&'a Repository],
) -> Result<Vec<(u16, &'a Repository)>, DescriptionError> {
    let mut bound: Vec<(u16, &Repository)> = Vec::new();
    for &repository in repositories {
        let Some(port) = repository.docker_port else { continue };
        if port == 0 {
            return Err(DescriptionError::NoPort);
        }
        if let Some((_, first)) = bound.iter().find(|(taken, _)| *taken == port) {
            let (first, second) = (first.key.to_string(), repository.key.to_string());
            return Err(DescriptionError::PortTaken { port, first, second });
        }
        bound.push((port, repository));
    }
    bound.sort_by_key(|(port, _)| *port);
    Ok(bound)
}

/// What a host's first part is for a repository. Hosts have no capital letters.
fn host_of(key: &RepoKey) -> String {
    key.as_str().to_ascii_lowercase()
}

/// Two keys that are one host.
fn same_hosts<'a>(repositories: &[&'a Repository]) -> Option<[&'a RepoKey; 2]> {
    let mut hosts = std::collections::BTreeMap::new();
    repositories.iter().find_map(|repository| {
        let first = hosts.insert(host_of(&repository.key), &repository.key)?;
        Some([first, &repository.key])
    })
}

/// What is to be configured.
struct Plan<'a> {
    description: &'a Description,
    /// In the order in which a program looks for one.
    sites: Vec<Site<'a>>,
}

/// One server.
struct Site<'a> {
    host: Host,
    port: u16,
    root: Root<'a>,
}

/// The hosts that a server answers for.
enum Host {
    /// This one.
    Exactly(String),
    /// Every one that has a part before this.
    Below(String),
}

/// What `/v1/` and `/v2/` are at a server.
enum Root<'a> {
    /// A repository's.
    Repository(&'a Repository),
    /// Those of the repository that is the host's first part, before this.
    Subdomain { below: &'a str },
    /// The registry's own, which finds the repository by the path.
    Unbound,
}

impl Site<'_> {
    /// Whether the repository speaks V1 alone, and so has no `/v2/`.
    fn is_v1_alone(&self) -> bool {
        matches!(self.root, Root::Repository(repository) if repository.speaks == DockerApiVersion::V1)
    }

    /// `:PORT`, unless clients leave it out.
    fn port_of_urls(&self) -> String {
        match self.port {
            443 => String::new(),
            port => format!(":{port}"),
        }
    }

    /// What the server is for.
    fn heading(&self) -> String {
        let host = match &self.host {
            Host::Exactly(host) => host.clone(),
            Host::Below(host) => format!("KEY.{host}"),
        };
        let place = format!("{host}{}", self.port_of_urls());
        match &self.root {
            Root::Repository(repository) => {
                let speaks = match repository.speaks {
                    DockerApiVersion::V2 => "V2",
                    DockerApiVersion::V1 => "V1 alone",
                    DockerApiVersion::Both => "V1 and V2",
                };
                format!("{place}: the repository {}, which speaks {speaks}.", repository.key)
            }
            Root::Subdomain { .. } => format!("{place}: the repository KEY, whichever it is."),
            Root::Unbound => format!("{place}: the API, and images as {place}/KEY/NAME."),
        }
    }
}

impl Plan<'_> {
    /// What stands at the head of the file, for both programs.
    fn head(&self, needs: &str) -> Vec<String> {
        let description = self.description;
        let mut lines = vec![
            format!(
                "A reverse proxy for the registry at http://{}, made by `supercargo proxy-config`.",
                description.upstream
            ),
            needs.to_owned(),
            "The registry has to believe it: put the address that it comes from into `trusted_proxies`."
                .to_owned(),
        ];
        match description.method {
            Method::Port => {
                let others = description.repositories.iter().filter(|it| it.docker_port.is_none());
                lines.extend(listed("Without a port of their own (`docker-port`): ", others));
            }
            Method::Path => {
                let old = description.repositories.iter().filter(|it| it.speaks == DockerApiVersion::V1);
                lines.extend(listed(
                    "docker 1.10 and later find by a port or a subdomain alone, since they speak V1 alone: ",
                    old,
                ));
            }
            Method::Subdomain => {
                lines.push(format!("The certificate has to be good for *.{}, too.", description.server_name));
            }
        }
        lines
    }
}

/// A line that lists repositories; none where there are none.
fn listed<'a>(what: &str, repositories: impl Iterator<Item = &'a Repository>) -> Option<String> {
    let mut keys: Vec<&str> = repositories.map(|repository| repository.key.as_str()).collect();
    keys.sort_unstable();
    (!keys.is_empty()).then(|| format!("{what}{}.", keys.join(", ")))
}

#[cfg(test)]
mod tests;
