//! By which addresses clients reach a repository, as the registry is configured. What is done there is not said here.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde::Serialize;
use supercargo_eventlog::DockerApiVersion;
use supercargo_model::RepoKey;

use super::Subject;
use crate::proxy::{self, Method, Repository};

/// A host and a port, and what is spoken there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Whether it is https.
    pub secure: bool,
    /// The host.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl Address {
    /// The address that a URL begins with, where it is one of http or https.
    pub fn of_url(url: &str) -> Option<Address> {
        let (scheme, rest) = url.split_once("://")?;
        let secure = match scheme {
            "http" => false,
            "https" => true,
            _ => return None,
        };
        Address::parse(rest.split('/').next()?, secure)
    }

    /// The address of a host, perhaps with a port; else it is the port of http or https.
    pub fn parse(host: &str, secure: bool) -> Option<Address> {
        let authority = proxy::host_and_port(host)?;
        let has_port = authority.host() != host;
        let port = match authority.port_u16() {
            Some(port) => port,
            None if has_port => return None,
            None => {
                if secure {
                    443
                } else {
                    80
                }
            }
        };
        Some(Address { secure, host: authority.host().to_owned(), port })
    }

    /// `http` or `https`.
    pub const fn scheme(&self) -> &'static str {
        if self.secure { "https" } else { "http" }
    }

    /// Whether it is on the client's own machine, where docker asks for no certificate.
    pub fn is_loopback(&self) -> bool {
        let bare = self.host.trim_start_matches('[').trim_end_matches(']');
        self.host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }

    const fn has_the_schemes_port(&self) -> bool {
        matches!((self.secure, self.port), (true, 443) | (false, 80))
    }
}

impl fmt::Display for Address {
    /// As the names of images begin: with the port, where it is not the scheme's own. A host without a dot has it
    /// always, or clients would take it for a namespace elsewhere.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_plain = self.host.contains(['.', ':']) || self.host == "localhost";
        match self.has_the_schemes_port() && is_plain {
            true => f.write_str(&self.host),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// How the registry is reached, as it is configured.
#[derive(Debug, Clone)]
pub struct Reached {
    /// What is said of a reverse proxy. Where it has a name, clients come by it.
    pub proxy: proxy::Settings,
    /// The repository at the root of a listener that is none's own.
    pub at_root: RepoKey,
    /// Whether others are there by the path.
    pub by_path: bool,
    /// Hosts below which repositories are: `key.host`.
    pub server_names: Vec<String>,
    /// Hosts that are one repository's, with the port where they have one.
    pub bindings: Vec<(String, RepoKey)>,
    /// Listeners that are one repository's: whether they speak https, their ports, and whose they are.
    pub listeners: Vec<(bool, u16, RepoKey)>,
    /// The file of the authority that the registry made itself, where it did.
    pub authority: Option<PathBuf>,
}

impl Reached {
    /// The entrances of a registry that was found at `address`.
    pub fn entrances(&self, address: Address, repositories: &[Repository]) -> Entrances {
        let front = match &self.proxy.server_name {
            Some(name) => Address { secure: true, host: name.clone(), port: self.proxy.https_port() },
            None => address,
        };
        let is_bound = |port: u16| repositories.iter().any(|repository| repository.docker_port == Some(port));
        let mut entrances = match (&self.proxy.server_name, self.proxy.method()) {
            (None, _) => {
                let secure = front.secure;
                let hosts = self
                    .bindings
                    .iter()
                    .filter_map(|(host, key)| Some((Address::parse(host, secure)?, key.clone())));
                let ports = self.listeners.iter().map(|(secure, port, key)| {
                    (Address { secure: *secure, host: front.host.clone(), port: *port }, key.clone())
                });
                let bound = hosts.chain(ports).collect();
                Entrances {
                    by_port: true,
                    by_subdomain: self.server_names.clone(),
                    bound,
                    ..Entrances::at(front)
                }
            }
            (Some(_), Method::Port) => Entrances { by_port: true, ..Entrances::at(front) },
            (Some(name), Method::Subdomain) => {
                Entrances { by_subdomain: vec![name.clone()], ..Entrances::at(front) }
            }
            (Some(_), Method::Path) => Entrances::at(front),
        };
        let front = &entrances.front;
        let is_owned = entrances.by_port && is_bound(front.port)
            || entrances.bound.iter().any(|(address, _)| address == front);
        if !is_owned {
            entrances.at_root = Some(self.at_root.clone());
            entrances.by_path = self.by_path;
        }
        entrances
    }

    /// The file of the authority that signed for what the guide shows, where clients don't know it.
    pub fn authority_of(&self, subject: &Subject) -> Option<&Path> {
        let is_ours = self.proxy.server_name.is_none();
        let is_secure = subject.ways.first().is_some_and(|way| way.address.secure);
        self.authority.as_deref().filter(|_| is_ours && is_secure)
    }
}

/// How clients reach the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entrances {
    /// Where it is itself.
    pub front: Address,
    /// The repository that is at the root there.
    pub at_root: Option<RepoKey>,
    /// Whether other repositories are there by the path: `front/key/name`.
    pub by_path: bool,
    /// Whether repositories are at the ports that they are set to.
    pub by_port: bool,
    /// Hosts below which repositories are: `key.host`.
    pub by_subdomain: Vec<String>,
    /// Addresses that are one repository's.
    pub bound: Vec<(Address, RepoKey)>,
}

/// One way to a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    /// The address.
    pub address: Address,
    /// The repository's key, where it stands before the names of images.
    pub before_names: Option<RepoKey>,
}

impl fmt::Display for Way {
    /// What stands before the names of images, without the slash between.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)?;
        self.before_names.as_ref().map_or(Ok(()), |key| write!(f, "/{key}"))
    }
}

impl Serialize for Way {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Entrances {
    /// Nothing but an address.
    const fn at(front: Address) -> Entrances {
        Entrances {
            front,
            at_root: None,
            by_path: false,
            by_port: false,
            by_subdomain: Vec::new(),
            bound: Vec::new(),
        }
    }

    /// The ways to a repository, the one that is its own first.
    pub fn ways(&self, repository: &Repository) -> Vec<Way> {
        let key = &repository.key;
        let front = |host: String, port: u16| Address { secure: self.front.secure, host, port };
        let bound = self.bound.iter().filter(|(_, bound)| bound == key).map(|(address, _)| address.clone());
        let port = repository.docker_port.filter(|_| self.by_port);
        let port = port.map(|port| front(self.front.host.clone(), port));
        // Hosts have no capital letters.
        let label = key.as_str().to_ascii_lowercase();
        let subdomains =
            self.by_subdomain.iter().map(|host| front(format!("{label}.{host}"), self.front.port));
        let root = (self.at_root.as_ref() == Some(key)).then(|| self.front.clone());
        let whole = bound.chain(port).chain(subdomains).chain(root);
        let mut ways: Vec<Way> = Vec::new();
        for address in whole {
            let way = Way { address, before_names: None };
            if !ways.contains(&way) {
                ways.push(way);
            }
        }
        // Old clients take what answers `/v2/` for V2, and there it does for all repositories.
        if self.by_path && repository.speaks != DockerApiVersion::V1 {
            ways.push(Way { address: self.front.clone(), before_names: Some(key.clone()) });
        }
        ways
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(url: &str) -> Address {
        Address::of_url(url).unwrap()
    }

    #[test]
    fn addresses_are_read_from_urls_and_written_as_images_have_them() {
        for (url, shown) in [
            ("https://registry.example/artifactory", "registry.example"),
            ("https://registry.example:443", "registry.example"),
            ("https://registry.example:444/", "registry.example:444"),
            ("http://registry.example:443", "registry.example:443"),
            ("http://registry.example", "registry.example"),
            ("https://registry", "registry:443"),
            ("http://localhost:5000/x", "localhost:5000"),
            ("http://[::1]:5000", "[::1]:5000"),
            ("https://[::1]", "[::1]"),
        ] {
            assert_eq!(address(url).to_string(), shown, "{url}");
        }
        for bad in [
            "registry.example",
            "ftp://a",
            "https://",
            "https://a:b",
            "https://u@a",
            "https://a'b",
            "https://a:",
        ] {
            assert_eq!(Address::of_url(bad), None, "{bad}");
        }
        assert!(address("http://127.0.0.2:1").is_loopback() && address("http://[::1]:1").is_loopback());
        assert!(!address("http://10.0.0.1").is_loopback());
    }

    #[test]
    fn the_way_that_is_a_repositorys_own_comes_first() {
        let entrances = Entrances {
            front: address("https://registry.example"),
            at_root: Some("first".parse().unwrap()),
            by_path: true,
            by_port: true,
            by_subdomain: vec!["registry.example".to_owned()],
            bound: vec![(address("https://team.example:8443"), "bound".parse().unwrap())],
        };
        let ways = |key: &str, speaks, docker_port| {
            let repository = Repository { key: key.parse().unwrap(), speaks, docker_port };
            entrances.ways(&repository).iter().map(Way::to_string).collect::<Vec<_>>()
        };
        let (v1, v2) = (DockerApiVersion::V1, DockerApiVersion::V2);
        assert_eq!(
            ways("bound", v2, Some(444)),
            ["team.example:8443", "registry.example:444", "bound.registry.example", "registry.example/bound"]
        );
        assert_eq!(
            ways("first", v2, None),
            ["first.registry.example", "registry.example", "registry.example/first"]
        );
        assert_eq!(ways("Old", v1, Some(443)), ["registry.example", "old.registry.example"]);

        let closed =
            Entrances { by_path: false, by_port: false, by_subdomain: Vec::new(), ..entrances.clone() };
        let repository = Repository { key: "other".parse().unwrap(), speaks: v2, docker_port: Some(1) };
        assert_eq!(closed.ways(&repository), []);
    }

    #[test]
    fn a_proxy_that_is_known_is_how_clients_come() {
        let key = |key: &str| -> RepoKey { key.parse().unwrap() };
        let repository = |name: &str, docker_port| Repository {
            key: key(name),
            speaks: DockerApiVersion::V2,
            docker_port,
        };
        let repositories =
            [repository("first", None), repository("team", Some(444)), repository("own", None)];
        let direct = Reached {
            proxy: proxy::Settings::default(),
            at_root: key("first"),
            by_path: true,
            server_names: vec!["images.example".to_owned()],
            bindings: vec![("own.example:8443".to_owned(), key("own"))],
            listeners: vec![(false, 5001, key("own"))],
            authority: None,
        };
        let ways = |reached: &Reached, address_: &str| -> Vec<Vec<String>> {
            let entrances = reached.entrances(address(address_), &repositories);
            let shown = |ways: Vec<Way>| ways.iter().map(Way::to_string).collect();
            repositories.iter().map(|repository| shown(entrances.ways(repository))).collect()
        };
        assert_eq!(
            ways(&direct, "http://host.example:5000"),
            [
                vec!["first.images.example:5000", "host.example:5000", "host.example:5000/first"],
                vec!["host.example:444", "team.images.example:5000", "host.example:5000/team"],
                vec![
                    "own.example:8443",
                    "host.example:5001",
                    "own.images.example:5000",
                    "host.example:5000/own"
                ],
            ]
        );
        // Who asks at a repository's own address is told of nothing that is not there.
        assert_eq!(ways(&direct, "http://host.example:5001")[0], ["first.images.example:5001"]);

        let behind = |method, port| Reached {
            proxy: proxy::Settings {
                server_name: Some("proxy.example".to_owned()),
                docker_reverse_proxy_method: Some(method),
                ssl_port: Some(port),
                ..proxy::Settings::default()
            },
            ..direct.clone()
        };
        let asked = "http://127.0.0.1:5000";
        assert_eq!(
            ways(&behind(Method::Port, 443), asked),
            [
                vec!["proxy.example", "proxy.example/first"],
                vec!["proxy.example:444", "proxy.example/team"],
                vec!["proxy.example/own"],
            ]
        );
        assert_eq!(ways(&behind(Method::Port, 444), asked), [vec![], vec!["proxy.example:444"], vec![]]);
        assert_eq!(
            ways(&behind(Method::Subdomain, 443), asked)[2],
            ["own.proxy.example", "proxy.example/own"]
        );
        assert_eq!(ways(&behind(Method::Path, 8443), asked)[1], ["proxy.example:8443/team"]);
    }
}
