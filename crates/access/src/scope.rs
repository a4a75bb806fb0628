//! Scopes: what a client asks a token for, `repository:team/app:pull,push` (the distribution project's token
//! authentication specification). The same resources and actions stand in a token's `access` claim.
//!
//! A scope that is malformed or about something unknown asks for nothing: the token has less in it, and the client
//! hears of it where it uses the token. That is what clients expect of the token endpoint.

use std::fmt;

use serde::{Deserialize, Serialize};
use supercargo_model::account::Actions;
use supercargo_model::{RepoKey, RepoName};

/// Most scopes that one request can ask for; more are ignored. A pull of one name asks for one, a mount for two.
pub const SCOPES_MAX: usize = 64;
/// Longest scope that is read, in bytes: a name, a host before it, and actions.
const SCOPE_BYTES_MAX: usize = 1024;
/// Longest host with a port, in bytes.
const HOST_BYTES_MAX: usize = 260;

/// What a scope is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Resource {
    /// The content of a name: `repository:<name>`.
    Repository {
        /// What the client put before the name: a host, perhaps with a port, as some do, or the key of a repository. Also
        /// where something stands before the first slash that no name can begin with.
        before: Option<Box<str>>,
        /// The name.
        name: RepoName,
    },
    /// The list of names: `registry:catalog`.
    Catalog,
}

impl Resource {
    /// The content of a name.
    pub fn repository(name: RepoName) -> Resource {
        Resource::Repository { before: None, name }
    }

    /// The same, where a part of what the client called it turns out to be the name.
    pub(crate) fn found_as(&self, name: RepoName) -> Resource {
        let before =
            self.called().strip_suffix(name.as_str()).and_then(|rest| rest.strip_suffix('/')).map(Box::from);
        Resource::Repository { before, name }
    }

    fn parse(kind: &str, name: &str) -> Option<Resource> {
        // A class, as in `repository(plugin)`, changes nothing here.
        let kind =
            kind.strip_suffix(')').and_then(|kind| kind.split_once('(')).map_or(kind, |(kind, _)| kind);
        match kind {
            "repository" => {
                if let Ok(name) = RepoName::parse(name) {
                    return Some(Resource::repository(name));
                }
                let (host, name) = name.split_once('/')?;
                let host = is_host(host).then(|| Box::from(host))?;
                Some(Resource::Repository { before: Some(host), name: RepoName::parse(name).ok()? })
            }
            "registry" if name == "catalog" => Some(Resource::Catalog),
            _ => None,
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Resource::Repository { .. } => "repository",
            Resource::Catalog => "registry",
        }
    }

    /// What the client calls it.
    pub fn called(&self) -> String {
        match self {
            Resource::Repository { before: None, name } => name.to_string(),
            Resource::Repository { before: Some(before), name } => format!("{before}/{name}"),
            Resource::Catalog => "catalog".to_owned(),
        }
    }
}

/// A host name or an address, with a port perhaps.
fn is_host(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':' | b'[' | b']');
    (1..=HOST_BYTES_MAX).contains(&text.len()) && text.bytes().all(allowed)
}

/// A resource, and what is asked for or granted on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "AccessClaim", into = "AccessClaim")]
pub struct Access {
    /// What it is about.
    pub resource: Resource,
    /// In which repository, once that was found out: the name alone does not say, and a token that was issued for one
    /// must not be good for another. Not a part of the text.
    pub repository: Option<RepoKey>,
    /// `pull` is to read, `push` to write, `delete` to delete, and `*` everything. To manage comes with `*` alone.
    pub actions: Actions,
}

impl Access {
    /// Parses one scope. `None` where it is malformed or about something unknown.
    pub fn parse(scope: &str) -> Option<Access> {
        if scope.len() > SCOPE_BYTES_MAX {
            return None;
        }
        // A name may hold colons, where a port is in it: the kind ends at the first, the actions begin at the last.
        let (kind, rest) = scope.split_once(':')?;
        let (name, verbs) = rest.rsplit_once(':')?;
        let (resource, actions) = (Resource::parse(kind, name)?, actions(verbs.split(',')));
        (!actions.is_empty()).then_some(Access { resource, repository: None, actions })
    }

    /// Parses the `scope` parameters of a request, each of which may hold several, separated by spaces. What is
    /// asked for on one resource is taken together.
    pub fn parse_all<'a>(parameters: impl IntoIterator<Item = &'a str>) -> Vec<Access> {
        let mut all = Vec::<Access>::new();
        for asked in parameters.into_iter().flat_map(|text| text.split(' ')).filter_map(Access::parse) {
            if let Some(known) = all.iter_mut().find(|known| known.resource == asked.resource) {
                known.actions = known.actions.or(asked.actions);
            } else if all.len() < SCOPES_MAX {
                all.push(asked);
            } else {
                break;
            }
        }
        all
    }

    /// The words for the actions.
    fn verbs(&self) -> Vec<&'static str> {
        let all = self.actions == Actions::ALL;
        if self.resource == Resource::Catalog {
            return if all { vec!["*"] } else { Vec::new() };
        }
        let Actions { read, write, delete, manage: _ } = self.actions;
        let table = [(read, "pull"), (write, "push"), (delete, "delete"), (all, "*")];
        table.iter().filter(|(has, _)| *has).map(|(_, verb)| *verb).collect()
    }
}

/// As a challenge has it: `repository:team/app:pull,push`.
impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verbs = self.verbs().join(",");
        write!(f, "{}:{}:{verbs}", self.resource.kind(), self.resource.called())
    }
}

fn actions<'a>(verbs: impl IntoIterator<Item = &'a str>) -> Actions {
    verbs.into_iter().fold(Actions::NONE, |sum, verb| {
        sum.or(match verb {
            "pull" => Actions::READ,
            "push" => Actions::WRITE,
            "delete" => Actions::DELETE,
            "*" => Actions::ALL,
            _ => Actions::NONE,
        })
    })
}

/// An entry of the `access` claim, as distribution writes it.
#[derive(Clone, Serialize, Deserialize)]
struct AccessClaim {
    #[serde(rename = "type")]
    kind: String,
    name: String,
    actions: Vec<String>,
    /// Ours: clients and other registries pay it no heed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    repository: Option<RepoKey>,
    /// The name in that repository, where the client puts something before it. Ours, too.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    within: Option<RepoName>,
}

impl From<Access> for AccessClaim {
    fn from(access: Access) -> AccessClaim {
        let within = match &access.resource {
            Resource::Repository { before: Some(_), name } => Some(name.clone()),
            Resource::Repository { before: None, .. } | Resource::Catalog => None,
        };
        AccessClaim {
            within,
            kind: access.resource.kind().to_owned(),
            name: access.resource.called(),
            actions: access.verbs().into_iter().map(str::to_owned).collect(),
            repository: access.repository,
        }
    }
}

impl TryFrom<AccessClaim> for Access {
    type Error = &'static str;

    fn try_from(claim: AccessClaim) -> Result<Access, &'static str> {
        let resource = match (claim.within, Resource::parse(&claim.kind, &claim.name)) {
            (Some(name), Some(called @ Resource::Repository { .. })) => called.found_as(name),
            (None, Some(resource)) => resource,
            _ => return Err("not a resource that is known here"),
        };
        let repository = claim.repository;
        Ok(Access { resource, repository, actions: actions(claim.actions.iter().map(String::as_str)) })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn on(name: &str, actions: Actions) -> Access {
        Access { resource: Resource::repository(RepoName::parse(name).unwrap()), repository: None, actions }
    }

    #[test]
    fn scopes_as_clients_send_them() {
        let pull_push = Actions::READ.or(Actions::WRITE);
        for (scope, expected) in [
            ("repository:team/app:pull", on("team/app", Actions::READ)),
            ("repository:team/app:pull,push", on("team/app", pull_push)),
            ("repository:app:push,pull,new-verb", on("app", pull_push)),
            ("repository(plugin):app:delete", on("app", Actions::DELETE)),
            ("repository:app:*", on("app", Actions::ALL)),
            (
                "registry:catalog:*",
                Access { resource: Resource::Catalog, repository: None, actions: Actions::ALL },
            ),
        ] {
            assert_eq!(Access::parse(scope), Some(expected), "{scope}");
        }
        for host in ["registry.example:5000", "localhost:5000", "[::1]:5000", "Docker.Local"] {
            let Some(Access { resource: Resource::Repository { before: Some(found), name }, .. }) =
                Access::parse(&format!("repository:{host}/team/app:pull"))
            else {
                panic!("{host}");
            };
            assert_eq!((&*found, name.as_str()), (host, "team/app"));
        }
    }

    #[test]
    fn what_is_no_scope_asks_for_nothing() {
        for scope in [
            "",
            ":",
            "::",
            "repository",
            "repository:app",
            "repository:app:",
            "repository:app:fly",
            "repository::pull",
            "repository:App:pull",
            "repository:a/../b:pull",
            "repository:/app:pull",
            "repository:a\"b/app:pull",
            "registry:other:*",
            "plugin:app:pull",
        ] {
            assert_eq!(Access::parse(scope), None, "{scope}");
        }
        assert_eq!(Access::parse(&format!("repository:app:{}", "pull,".repeat(1000))), None);
    }

    #[test]
    fn parameters_may_be_repeated_and_hold_several() {
        let all = Access::parse_all(["repository:a:pull repository:b:pull", "nonsense", "repository:a:push"]);
        assert_eq!(all, [on("a", Actions::READ.or(Actions::WRITE)), on("b", Actions::READ)]);
        let many = (0..1000).map(|n| format!("repository:a{n}:pull")).collect::<Vec<_>>().join(" ");
        assert_eq!(Access::parse_all([many.as_str()]).len(), SCOPES_MAX);
    }

    proptest! {
        #[test]
        fn no_scope_panics(scope in "\\PC{0,80}", colons in "[a-z:/,*() .]{0,60}") {
            let _ = (Access::parse(&scope), Access::parse_all([colons.as_str(), &scope]));
        }

        /// What can be asked for can be written, as a scope and as a claim, and read back.
        #[test]
        fn scopes_and_claims_say_the_same(
            before in prop::option::of("[A-Z]{1,4}(:[0-9]{1,4})?(/[a-z]{1,4})?"),
            name in "[a-z]{1,5}(/[a-z]{1,5}){0,2}",
            read: bool, write: bool, delete: bool, all: bool,
        ) {
            let actions = if all { Actions::ALL } else { Actions { read, write, delete, manage: false } };
            let resource =
                Resource::Repository { before: before.map(Into::into), name: RepoName::parse(&name).unwrap() };
            let access = Access { resource, repository: None, actions };
            if !actions.is_empty() {
                let parsed = Access::parse(&access.to_string()).unwrap();
                prop_assert_eq!(parsed.to_string(), access.to_string());
                prop_assert_eq!(&parsed.resource.found_as(RepoName::parse(&name).unwrap()), &access.resource);
            }
            let access = Access { repository: Some(RepoKey::parse("docker-local").unwrap()), ..access };
            let claim = serde_json::to_string(&access).unwrap();
            prop_assert_eq!(serde_json::from_str::<Access>(&claim).unwrap(), access);
        }
    }
}
