//! By which way a request reaches a repository: a path that names it, a host or port that is bound to it, a subdomain, the
//! first part of a name, or nothing, which is the default repository. The order in which they are tried, and why, is in
//! docs/adr/0013-ways-in.md.
//!
//! What lives here is that one pure lookup and what an operator says of it. What becomes of the request is `app`'s.

use std::borrow::Cow;

use hyper::http::uri::Authority;
use percent_encoding::percent_decode_str;
use supercargo_http::{Mount, SharedRoot, mount};
use supercargo_model::RepoKey;
use supercargo_registry::{Hosted, Scheme};

use super::base_url::PathPrefix;
use crate::config::ways::Binding;

/// Below the context: the protocols of one repository.
const API_DOCKER: &str = "/api/docker/";

/// What an operator says of the ways.
#[derive(Debug, Clone)]
pub(crate) struct Ways {
    /// What the paths of everything but the protocols begin with.
    pub(crate) context: PathPrefix,
    /// The repository at the root, where nothing says another.
    pub(crate) default_repository: RepoKey,
    /// Hosts that are repositories'.
    pub(crate) bindings: Vec<Binding>,
    /// Names of this server, of which repositories have subdomains.
    pub(crate) server_names: Vec<String>,
    /// Whether names at the root may begin with the key of a repository.
    pub(crate) repository_path: bool,
}

/// The listener that a request came by.
#[derive(Debug, Clone)]
pub(crate) struct Door {
    /// Its port.
    pub(crate) port: u16,
    /// The repository that it is for.
    pub(crate) repository: Option<RepoKey>,
}

/// What of a request the ways are told apart by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    /// Where it came in.
    pub(crate) door: &'a Door,
    /// What the client speaks.
    pub(crate) scheme: Scheme,
    /// Whom the client asked. `None` where that can be nobody.
    pub(crate) host: Option<&'a Authority>,
    /// The path, as it came.
    pub(crate) path: &'a str,
}

/// What says which repository a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    /// The path.
    Path,
    /// The host, its port, or the listener: whoever asks elsewhere asks for another.
    Host,
    /// Nothing, or the name.
    Root,
}

/// Where a request goes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Way<'a> {
    /// To a protocol of a repository. What the context is for the client, and what a proxy takes away from paths, is yet to
    /// be put before the mount's prefix.
    Protocol {
        /// The repository.
        mount: Mount,
        /// The protocol's path.
        path: Cow<'a, str>,
        /// What says which repository it is for.
        by: By,
    },
    /// To a repository that can't be, of a protocol's path.
    NoRepository {
        /// What stands in a key's place.
        key: Cow<'a, str>,
        /// The protocol's path.
        path: &'a str,
    },
    /// Elsewhere.
    Other,
}

impl Ways {
    /// The way that a request takes.
    pub(crate) fn find<'a>(&self, asked: Asked<'a>, hosted: &Hosted) -> Way<'a> {
        if let Some((key, path)) = self.named(asked.path, hosted) {
            return match RepoKey::parse(&key) {
                Ok(key) => {
                    let prefix = format!("{API_DOCKER}{key}");
                    Way::Protocol { mount: Mount::alone(key, prefix), path: path.into(), by: By::Path }
                }
                Err(_) => Way::NoRepository { key, path },
            };
        }
        if !is_protocols(asked.path) {
            return Way::Other;
        }
        match self.bound(asked, hosted) {
            Some(Ok(key)) => {
                Way::Protocol { mount: Mount::alone(key, ""), path: asked.path.into(), by: By::Host }
            }
            Some(Err(key)) => Way::NoRepository { key: key.into(), path: asked.path },
            None => self.at_root(asked.path, hosted),
        }
    }

    /// What is below the context, of a path that is.
    pub(crate) fn below_context<'a>(&self, path: &'a str) -> Option<&'a str> {
        path.strip_prefix(self.context.as_str()).filter(|below| below.is_empty() || below.starts_with('/'))
    }

    /// What stands in the key's place in a path that names its repository, and the protocol's path.
    fn named<'a>(&self, path: &'a str, hosted: &Hosted) -> Option<(Cow<'a, str>, &'a str)> {
        let below = self.below_context(path)?;
        let rest = below.strip_prefix(API_DOCKER)?;
        let (key, path) = rest.split_at(rest.find('/')?);
        let key = percent_decode_str(key).decode_utf8_lossy();
        let found = RepoKey::parse(&key).ok().and_then(|key| hosted.get(&key));
        let speaks_v1_alone = found.is_some_and(|found| found.speaks_v1() && !found.speaks_v2());
        let beside = supercargo_artifactory::is_beside_the_protocols(&below[1..], !speaks_v1_alone);
        (is_protocols(path) && !beside).then_some((key, path))
    }

    /// The repository that the host, the listener or the port says, or what stands in a subdomain in a key's place.
    fn bound<'a>(&self, asked: Asked<'a>, hosted: &Hosted) -> Option<Result<RepoKey, &'a str>> {
        let port = |host: &Authority| host.port_u16().unwrap_or(asked.scheme.port());
        if let Some(host) = asked.host
            && let Some(binding) = self.bindings.iter().find(|binding| {
                let bound = binding.port.unwrap_or(asked.scheme.port());
                bound == port(host) && binding.host.eq_ignore_ascii_case(host.host())
            })
        {
            return Some(Ok(binding.repository.clone()));
        }
        if let Some(repository) = &asked.door.repository {
            return Some(Ok(repository.clone()));
        }
        let ports = asked.host.map(port).into_iter().chain([asked.door.port]);
        if let Some(repository) = ports.filter_map(|port| hosted.at_port(port)).next() {
            return Some(Ok(repository.clone()));
        }
        let host = asked.host?.host();
        let key = self.server_names.iter().find_map(|name| subdomain(host, name))?;
        Some(match RepoKey::parse(key) {
            Ok(key) if hosted.get(&key).is_some() => Ok(key),
            // Hosts are the same however they are written, and most keys are written so.
            Ok(key) => RepoKey::parse(&key.as_str().to_ascii_lowercase()).or(Ok(key)),
            Err(_) => Err(key),
        })
    }

    /// The way of what nothing but its path tells apart.
    fn at_root<'a>(&self, path: &'a str, hosted: &Hosted) -> Way<'a> {
        let default = &self.default_repository;
        if !self.repository_path {
            return Way::Protocol {
                mount: Mount::alone(default.clone(), ""),
                path: path.into(),
                by: By::Root,
            };
        }
        let split = match path.starts_with("/v1") {
            true => supercargo_docker_v1::split_first(path),
            false => supercargo_docker_v2::split_first(path),
        };
        let keyed = split.and_then(|(first, rest)| Some((mount::key(hosted, &first)?, Cow::Owned(rest))));
        let root = |keyed| Some(SharedRoot { default: default.clone(), keyed });
        let (repository, path, shared) = match keyed {
            Some((key, rest)) => (key, rest, root(true)),
            None => (default.clone(), path.into(), root(false)),
        };
        let mount = Mount { repository, prefix: String::new(), shared };
        Way::Protocol { mount, path, by: By::Root }
    }
}

/// Whether a path is one of a protocol's.
fn is_protocols(path: &str) -> bool {
    let first = path.strip_prefix('/').map(|path| path.split('/').next().unwrap_or_default());
    matches!(first, Some("v1" | "v2" | "_ping"))
}

/// What stands before a server's name in a host.
fn subdomain<'a>(host: &'a str, name: &str) -> Option<&'a str> {
    let (before, end) = host.split_at_checked(host.len().checked_sub(name.len())?)?;
    let key = before.strip_suffix('.')?;
    (end.eq_ignore_ascii_case(name) && !key.is_empty()).then_some(key)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use supercargo_eventlog::{DockerApiVersion, RepositoryConfig};

    use super::*;

    fn key(text: &str) -> RepoKey {
        text.parse().unwrap()
    }

    /// Repositories `local`, `team-a`, `Team.B`, `old`, which speaks V1 alone, and `ported`, at port 444.
    fn hosted() -> Hosted {
        let plain = |text| (key(text), RepositoryConfig::default());
        let ported = RepositoryConfig { docker_port: Some(444), ..RepositoryConfig::default() };
        let old =
            RepositoryConfig { docker_api_version: DockerApiVersion::V1, ..RepositoryConfig::default() };
        let all =
            [plain("local"), plain("team-a"), plain("Team.B"), (key("old"), old), (key("ported"), ported)];
        all.into_iter().collect()
    }

    fn ways() -> Ways {
        let bindings = ["bound.example:5000=team-a", "plain.example=team-a", "later.example=unknown"];
        Ways {
            context: "/artifactory".parse().unwrap(),
            default_repository: key("local"),
            bindings: bindings.map(|binding| binding.parse().unwrap()).to_vec(),
            server_names: vec!["reg.example".to_owned(), "localhost".to_owned()],
            repository_path: true,
        }
    }

    /// Where a request goes: its repository, the mount's prefix, the path, and how it is known; for a name at a root also
    /// whether a key stood before it.
    fn found(ways: &Ways, door: &Door, scheme: Scheme, host: &str, path: &str) -> Option<String> {
        let host = host.parse().ok();
        let asked = Asked { door, scheme, host: host.as_ref(), path };
        match ways.find(asked, &hosted()) {
            Way::Protocol { mount: Mount { repository, prefix, shared }, path, by } => {
                let shared = shared.map_or("", |root| if root.keyed { " keyed" } else { " root" });
                Some(format!("{repository} {prefix}{path} {by:?}{shared}"))
            }
            Way::NoRepository { key, path } => Some(format!("no {key:?} {path}")),
            Way::Other => None,
        }
    }

    fn at(host: &str, path: &str) -> Option<String> {
        let door = Door { port: 8081, repository: None };
        found(&ways(), &door, Scheme::Http, host, path)
    }

    #[test]
    fn a_path_names_its_repository_wherever_it_is_asked() {
        for host in ["127.0.0.1:8081", "bound.example:5000", "x:444", "team-a.localhost"] {
            for (path, way) in [
                ("/artifactory/api/docker/team-a/v2/", "team-a /api/docker/team-a/v2/ Path"),
                (
                    "/artifactory/api/docker/team-a/v2/a/tags/list",
                    "team-a /api/docker/team-a/v2/a/tags/list Path",
                ),
                ("/artifactory/api/docker/Team.B/v1/_ping", "Team.B /api/docker/Team.B/v1/_ping Path"),
                ("/artifactory/api/docker/team-a/v2/_catalog", "team-a /api/docker/team-a/v2/_catalog Path"),
                ("/artifactory/api/docker/old/v2/", "old /api/docker/old/v2/ Path"),
                ("/artifactory/api/docker/team-a/_ping", "team-a /api/docker/team-a/_ping Path"),
                ("/artifactory/api/docker/none/v2", "none /api/docker/none/v2 Path"),
                ("/artifactory/api/docker/old/v2/a/manifests/x", "old /api/docker/old/v2/a/manifests/x Path"),
                ("/artifactory/api/docker/team%2Da/v1/x", "team-a /api/docker/team-a/v1/x Path"),
                ("/artifactory/api/docker/a_b/v2/", "no \"a_b\" /v2/"),
                ("/artifactory/api/docker//v1/", "no \"\" /v1/"),
                ("/artifactory/api/docker/..%2fx/v2/", "no \"../x\" /v2/"),
            ] {
                assert_eq!(at(host, path).as_deref(), Some(way), "{host} {path}");
            }
        }
    }

    #[test]
    fn what_is_no_protocols_goes_elsewhere() {
        for path in [
            "/",
            "/artifactory",
            "/artifactory/",
            "/artifactory/team-a/a/manifest.json",
            "/artifactory/api/docker/team-a",
            "/artifactory/api/docker/team-a/",
            "/artifactory/api/docker/team-a/v3/",
            "/artifactory/api/docker/team-a/v1/promote",
            "/artifactory/api/docker/team-a/v2/promote",
            "/artifactory/api/docker/team-a/v1/migrate",
            "/artifactory/api/docker/old/v2/_catalog",
            "/artifactory/api/docker/old/v2/a/tags/list",
            "/artifactory/api/storage/team-a",
            "/artifactoryx/api/docker/team-a/v2/",
            "/api/supercargo/v1/log",
            "/api/docker/team-a/v2/",
            "/v3/",
            "/v20",
            "/healthz",
            "*",
        ] {
            assert_eq!(at("127.0.0.1", path), None, "{path}");
        }
    }

    #[test]
    fn a_host_is_a_repositorys_by_binding_port_and_subdomain() {
        for (host, way) in [
            ("bound.example:5000", "team-a /v2/local/a/tags/list Host"),
            ("BOUND.example:5000", "team-a /v2/local/a/tags/list Host"),
            ("plain.example", "team-a /v2/local/a/tags/list Host"),
            ("plain.example:80", "team-a /v2/local/a/tags/list Host"),
            ("later.example", "unknown /v2/local/a/tags/list Host"),
            ("any.example:444", "ported /v2/local/a/tags/list Host"),
            ("10.0.0.1:444", "ported /v2/local/a/tags/list Host"),
            ("[::1]:444", "ported /v2/local/a/tags/list Host"),
            ("team-a.reg.example", "team-a /v2/local/a/tags/list Host"),
            ("Team-A.localhost:8081", "team-a /v2/local/a/tags/list Host"),
            ("Team.B.localhost", "Team.B /v2/local/a/tags/list Host"),
            ("none.reg.example", "none /v2/local/a/tags/list Host"),
            ("a_b.reg.example", "no \"a_b\" /v2/local/a/tags/list"),
            // None of them.
            ("bound.example", "local /v2/a/tags/list Root keyed"),
            ("plain.example:5000", "local /v2/a/tags/list Root keyed"),
            ("reg.example", "local /v2/a/tags/list Root keyed"),
            ("xreg.example", "local /v2/a/tags/list Root keyed"),
            ("127.0.0.1:8081", "local /v2/a/tags/list Root keyed"),
        ] {
            assert_eq!(at(host, "/v2/local/a/tags/list").as_deref(), Some(way), "{host}");
        }
        let way = found(
            &ways(),
            &Door { port: 1, repository: None },
            Scheme::Https,
            "plain.example:443",
            "/v1/_ping",
        );
        assert_eq!(way.as_deref(), Some("team-a /v1/_ping Host"));
    }

    #[test]
    fn a_listener_is_for_its_repository_unless_the_host_is_bound() {
        let door = Door { port: 444, repository: Some(key("Team.B")) };
        let way = |host, path| found(&ways(), &door, Scheme::Http, host, path).unwrap();
        assert_eq!(way("any.example:444", "/v2/local/a/tags/list"), "Team.B /v2/local/a/tags/list Host");
        assert_eq!(way("local.reg.example", "/v2/"), "Team.B /v2/ Host");
        assert_eq!(way("bound.example:5000", "/v2/"), "team-a /v2/ Host");
        assert_eq!(way("", "/_ping"), "Team.B /_ping Host");
        // Without a repository of its own, its port tells.
        let door = Door { port: 444, repository: None };
        let way = |host| found(&ways(), &door, Scheme::Http, host, "/v2/").unwrap();
        assert_eq!(way("any.example"), "ported /v2/ Host");
        assert_eq!(way("local.reg.example"), "ported /v2/ Host");
        assert_eq!(way(""), "ported /v2/ Host");
    }

    #[test]
    fn at_the_root_a_name_may_begin_with_a_key() {
        for (path, way) in [
            ("/v2/team-a/app/manifests/t", "team-a /v2/app/manifests/t Root keyed"),
            ("/v2/Team.B/a/b/blobs/uploads/", "Team.B /v2/a/b/blobs/uploads/ Root keyed"),
            ("/v2/team-a/team-a/app/tags/list", "team-a /v2/team-a/app/tags/list Root keyed"),
            ("/v1/repositories/team-a/app/tags/t", "team-a /v1/repositories/app/tags/t Root keyed"),
            ("/v1/repositories/team-a/app", "team-a /v1/repositories/app Root keyed"),
            ("/v2/team-a/manifests/t", "local /v2/team-a/manifests/t Root root"),
            ("/v1/repositories/team-a/tags/t", "local /v1/repositories/team-a/tags/t Root root"),
            ("/v2/none/app/manifests/t", "local /v2/none/app/manifests/t Root root"),
            ("/v2/_catalog", "local /v2/_catalog Root root"),
            ("/v2/", "local /v2/ Root root"),
            ("/v2/token", "local /v2/token Root root"),
            ("/_ping", "local /_ping Root root"),
            ("/v1/search", "local /v1/search Root root"),
        ] {
            assert_eq!(at("127.0.0.1:8081", path).as_deref(), Some(way), "{path}");
        }
        let without = Ways { repository_path: false, ..ways() };
        let door = Door { port: 8081, repository: None };
        let way = found(&without, &door, Scheme::Http, "127.0.0.1", "/v2/team-a/app/manifests/t");
        assert_eq!(way.as_deref(), Some("local /v2/team-a/app/manifests/t Root"));
    }

    proptest! {
        #[test]
        fn no_request_panics(host in "\\PC{0,30}|[a-z.:0-9]{0,30}", path in "/?\\PC{0,60}", below in "[a-z/%_.2]{0,40}") {
            for path in [
                path.clone(),
                format!("/v2/{below}/tags/list"),
                format!("/v1/repositories/{below}/images"),
                format!("/artifactory/api/docker/{below}"),
                format!("/artifactory{path}"),
            ] {
                let _ = at(&host, &path);
            }
        }

        /// Whatever is led on is what was asked, without what led there.
        #[test]
        fn what_a_client_is_told_leads_back(
            of in "local|team-a|Team[.]B|ported|none",
            name in "[a-z]{1,6}(/[a-z]{1,6}){0,2}",
            rest in "tags/list|manifests/[a-z]{1,5}|blobs/uploads/",
            way in 0..3_u8,
        ) {
            let path = format!("/v2/{name}/{rest}");
            let asked = match way {
                0 => format!("/artifactory/api/docker/{of}{path}"),
                1 => format!("/v2/{of}/{name}/{rest}"),
                _ => path,
            };
            let (ways, door, host) = (ways(), Door { port: 1, repository: None }, None);
            let asked = Asked { door: &door, scheme: Scheme::Http, host, path: &asked };
            let Way::Protocol { mount, path: led, by } = ways.find(asked, &hosted()) else { panic!("{asked:?}") };
            let called = led.strip_prefix("/v2/").and_then(|path| path.strip_suffix(&rest)).unwrap();
            let called = supercargo_model::RepoName::parse(called.trim_end_matches('/')).unwrap();
            let context = if by == By::Path { "/artifactory" } else { "" };
            let told = format!("{context}{}/v2/{}/{rest}", mount.prefix, mount.called(&called));
            prop_assert_eq!(told, asked.path);
        }
    }
}
