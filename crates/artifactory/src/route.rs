//! Which operation a method, a path and a query ask for.
//!
//! What lives here is that one pure function and the types it answers with: paths stand below the context root and are
//! matched by their segments. What an operation does is in the files named after its noun. A path below a repository is
//! decoded and not judged: what there can be is the tree's to say.

use std::borrow::Cow;

use http::Method;
use percent_encoding::percent_decode_str;
use supercargo_model::account::{GroupName, PermissionTargetName, TokenId, UserName};
use supercargo_model::{RepoKey, RepoName};
use uuid::Uuid;

/// One operation of the surface, its arguments parsed. HEAD asks for what GET does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    /// `GET api/system/ping`
    Ping,
    /// `GET api/system/version`
    Version,
    /// `GET api/system`
    SystemInfo,
    /// `GET api/system/configuration/webServer`
    GetWebServer,
    /// `POST api/system/configuration/webServer`
    SetWebServer,
    /// `GET api/system/configuration/reverseProxy/<server>`
    GetProxyConfig { server: String },
    /// `GET api/setup/<key>`
    GetSetup { repository: RepoKey },
    /// `GET api/repositories`
    ListRepositories,
    /// `GET api/repositories/<key>`
    GetRepository { repository: RepoKey },
    /// `PUT api/repositories/<key>`
    CreateRepository { repository: RepoKey },
    /// `POST api/repositories/<key>`
    UpdateRepository { repository: RepoKey },
    /// `DELETE api/repositories/<key>`
    DeleteRepository { repository: RepoKey },
    /// `GET api/docker/<key>/v2/_catalog`
    ListNames { repository: RepoKey },
    /// `GET api/docker/<key>/v2/<name>/tags/list`
    ListTags { repository: RepoKey, name: RepoName },
    /// `POST api/docker/<key>/v1/promote`, `…/v2/promote`
    Promote { repository: RepoKey },
    /// `POST api/docker/<key>/v1/migrate`
    Migrate { repository: RepoKey },
    /// `GET api/storage/<key>[/<path>]`
    GetItem { item: Item, part: ItemPart },
    /// `PUT api/storage/<key>[/<path>]?properties=`
    SetProperties { item: Item },
    /// `DELETE api/storage/<key>[/<path>]?properties=`
    RemoveProperties { item: Item },
    /// `PATCH api/metadata/<key>[/<path>]`
    UpdateProperties { item: Item },
    /// `GET api/search/prop`
    SearchProperties,
    /// `GET api/search/artifact`
    SearchNames,
    /// `GET api/search/checksum`
    SearchChecksums,
    /// `POST api/search/aql`
    SearchAql,
    /// `GET api/security/users`
    ListUsers,
    /// `GET api/security/users/<name>`
    GetUser { user: UserName },
    /// `PUT api/security/users/<name>`
    PutUser { user: UserName },
    /// `POST api/security/users/<name>`
    UpdateUser { user: UserName },
    /// `DELETE api/security/users/<name>`
    DeleteUser { user: UserName },
    /// `POST api/security/users/authorization/changePassword`
    ChangePassword,
    /// `GET api/security/groups`
    ListGroups,
    /// `GET api/security/groups/<name>`
    GetGroup { group: GroupName },
    /// `PUT api/security/groups/<name>`
    PutGroup { group: GroupName },
    /// `POST api/security/groups/<name>`
    UpdateGroup { group: GroupName },
    /// `DELETE api/security/groups/<name>`
    DeleteGroup { group: GroupName },
    /// `GET api/security/permissions`
    ListTargets,
    /// `GET api/security/permissions/<name>`
    GetTarget { target: PermissionTargetName },
    /// `PUT api/security/permissions/<name>`
    PutTarget { target: PermissionTargetName },
    /// `DELETE api/security/permissions/<name>`
    DeleteTarget { target: PermissionTargetName },
    /// `GET api/security/apiKey`
    GetApiKey,
    /// `POST api/security/apiKey`
    CreateApiKey,
    /// `PUT api/security/apiKey`
    RenewApiKey,
    /// `DELETE api/security/apiKey`
    RevokeApiKey,
    /// `GET api/security/encryptedPassword`
    EncryptedPassword,
    /// `GET api/security/token`, `GET access/api/v1/tokens`
    ListTokens,
    /// `POST api/security/token`, `POST access/api/v1/tokens`
    CreateToken,
    /// `GET access/api/v1/tokens/<id>`
    GetToken { token: TokenId },
    /// `DELETE access/api/v1/tokens/<id>`
    DeleteToken { token: TokenId },
    /// `POST api/security/token/revoke`, `DELETE access/api/v1/tokens/revoke`
    RevokeToken,
    /// `GET <key>[/<path>]`
    GetFile { item: Item },
    /// `PUT <key>/<path>`
    PutFile { item: Item },
    /// `DELETE <key>[/<path>]`
    DeleteItem { item: Item },
}

/// A repository and what a client wrote behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Item {
    /// The repository.
    pub(crate) repository: RepoKey,
    /// The path in it: decoded, without a slash at its beginning and without one at its end; empty for the repository
    /// itself. Nothing else is known of it.
    pub(crate) path: String,
}

/// What is asked of an item. The query says so, and says one thing (the REST reference, "Get Storage Item Information").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ItemPart {
    /// What it is.
    Info,
    /// `?list`: what is below it.
    List,
    /// `?properties`: its properties.
    Properties,
    /// `?stats`: how often it was downloaded.
    Stats,
}

/// Why a request asks for nothing that is served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RouteError {
    /// No such path.
    #[error("File not found.")]
    Unknown,
    /// The path is served, but not with this method.
    #[error("this method is not supported here; use one of {allow}")]
    MethodNotAllowed {
        /// The methods that are, as an Allow header has them.
        allow: &'static str,
    },
    /// An argument can't be what it should be. The text says why.
    #[error("{0}")]
    Invalid(String),
}

impl Route {
    /// The operation that is asked for. `path` is still percent-encoded and stands below the context root, without a
    /// slash in front.
    ///
    /// # Errors
    /// [`RouteError`], as its variants say. The path's shape is judged first, then the method, then the arguments.
    pub(crate) fn parse(method: &Method, path: &str, query: Option<&str>) -> Result<Route, RouteError> {
        let path = path.strip_suffix('/').unwrap_or(path);
        let method = match method.as_str() {
            "HEAD" => "GET",
            method => method,
        };
        match path.split_once('/') {
            Some(("api", rest)) => match rest.split_once('/') {
                Some(("storage", item)) => return storage(method, item, query),
                Some(("metadata", item)) => return metadata(method, item),
                Some(("docker", rest)) => return docker(method, rest),
                _ => return api(method, &rest.split('/').collect::<Vec<_>>()),
            },
            Some(("access", rest)) => {
                if let Some(rest) = rest.strip_prefix("api/v1/") {
                    return access(method, &rest.split('/').collect::<Vec<_>>());
                }
            }
            _ => {}
        }
        raw(method, path)
    }
}

/// Whether a path below `api/docker/` is answered by this surface, not by the protocols that the repository speaks: what
/// is promoted and migrated, and of a repository that does not speak V2 its listings, which V2 clients never ask for here.
/// `path` stands below the context root, without a slash in front.
pub fn is_beside_the_protocols(path: &str, speaks_v2: bool) -> bool {
    let Some((_, below)) = path.strip_prefix("api/docker/").and_then(|rest| rest.split_once('/')) else {
        return false;
    };
    match below.strip_suffix('/').unwrap_or(below) {
        "v1/promote" | "v2/promote" | "v1/migrate" => true,
        "v2/_catalog" => !speaks_v2,
        below => !speaks_v2 && below.starts_with("v2/") && below.ends_with("/tags/list"),
    }
}

fn api(method: &str, segments: &[&str]) -> Result<Route, RouteError> {
    Ok(match (segments, method) {
        (["system", "ping"], "GET") => Route::Ping,
        (["system", "version"], "GET") => Route::Version,
        (["system"], "GET") => Route::SystemInfo,
        (["system", "configuration", "webServer"], "GET") => Route::GetWebServer,
        (["system", "configuration", "webServer"], "POST") => Route::SetWebServer,
        (["system", "configuration", "reverseProxy", server], "GET") => {
            Route::GetProxyConfig { server: decode(server).into_owned() }
        }
        (["setup", key], "GET") => Route::GetSetup { repository: known_key(key)? },
        (["repositories"], "GET") => Route::ListRepositories,
        (["repositories", key], "GET") => Route::GetRepository { repository: known_key(key)? },
        (["repositories", key], "PUT") => Route::CreateRepository { repository: parse(key)? },
        (["repositories", key], "POST") => Route::UpdateRepository { repository: known_key(key)? },
        (["repositories", key], "DELETE") => Route::DeleteRepository { repository: known_key(key)? },
        (["search", "prop"], "GET") => Route::SearchProperties,
        (["search", "artifact"], "GET") => Route::SearchNames,
        (["search", "checksum"], "GET") => Route::SearchChecksums,
        (["search", "aql"], "POST") => Route::SearchAql,
        (["security", rest @ ..], method) => return security(method, rest),
        (
            ["system", "ping" | "version"]
            | ["system"]
            | ["system", "configuration", "reverseProxy", _]
            | ["setup", _]
            | ["repositories"]
            | ["search", "prop" | "artifact" | "checksum"],
            _,
        ) => return Err(RouteError::MethodNotAllowed { allow: "GET, HEAD" }),
        (["system", "configuration", "webServer"], _) => {
            return Err(RouteError::MethodNotAllowed { allow: "GET, HEAD, POST" });
        }
        (["repositories", _], _) => {
            return Err(RouteError::MethodNotAllowed { allow: "GET, HEAD, PUT, POST, DELETE" });
        }
        (["search", "aql"], _) => return Err(RouteError::MethodNotAllowed { allow: "POST" }),
        _ => return Err(RouteError::Unknown),
    })
}

fn security(method: &str, segments: &[&str]) -> Result<Route, RouteError> {
    Ok(match (segments, method) {
        (["users"], "GET") => Route::ListUsers,
        (["users", "authorization", "changePassword"], "POST") => Route::ChangePassword,
        (["users", name], "GET") => Route::GetUser { user: parse(name)? },
        (["users", name], "PUT") => Route::PutUser { user: parse(name)? },
        (["users", name], "POST") => Route::UpdateUser { user: parse(name)? },
        (["users", name], "DELETE") => Route::DeleteUser { user: parse(name)? },
        (["groups"], "GET") => Route::ListGroups,
        (["groups", name], "GET") => Route::GetGroup { group: parse(name)? },
        (["groups", name], "PUT") => Route::PutGroup { group: parse(name)? },
        (["groups", name], "POST") => Route::UpdateGroup { group: parse(name)? },
        (["groups", name], "DELETE") => Route::DeleteGroup { group: parse(name)? },
        (["permissions"], "GET") => Route::ListTargets,
        (["permissions", name], "GET") => Route::GetTarget { target: parse(name)? },
        (["permissions", name], "PUT") => Route::PutTarget { target: parse(name)? },
        (["permissions", name], "DELETE") => Route::DeleteTarget { target: parse(name)? },
        (["apiKey"], "GET") => Route::GetApiKey,
        (["apiKey"], "POST") => Route::CreateApiKey,
        (["apiKey"], "PUT") => Route::RenewApiKey,
        (["apiKey"], "DELETE") => Route::RevokeApiKey,
        (["encryptedPassword"], "GET") => Route::EncryptedPassword,
        (["token"], "GET") => Route::ListTokens,
        (["token"], "POST") => Route::CreateToken,
        (["token", "revoke"], "POST") => Route::RevokeToken,
        (["users" | "groups" | "permissions"] | ["encryptedPassword"], _) => {
            return Err(RouteError::MethodNotAllowed { allow: "GET, HEAD" });
        }
        (["users", "authorization", "changePassword"] | ["token", "revoke"], _) => {
            return Err(RouteError::MethodNotAllowed { allow: "POST" });
        }
        (["users" | "groups", _] | ["apiKey"], _) => {
            return Err(RouteError::MethodNotAllowed { allow: "GET, HEAD, PUT, POST, DELETE" });
        }
        (["permissions", _], _) => {
            return Err(RouteError::MethodNotAllowed { allow: "GET, HEAD, PUT, DELETE" });
        }
        (["token"], _) => return Err(RouteError::MethodNotAllowed { allow: "GET, HEAD, POST" }),
        _ => return Err(RouteError::Unknown),
    })
}

/// What is below `access/api/v1/`.
fn access(method: &str, segments: &[&str]) -> Result<Route, RouteError> {
    Ok(match (segments, method) {
        (["tokens"], "GET") => Route::ListTokens,
        (["tokens"], "POST") => Route::CreateToken,
        (["tokens", "revoke"], "DELETE") => Route::RevokeToken,
        (["tokens", id], "GET") => Route::GetToken { token: token_id(id)? },
        (["tokens", id], "DELETE") => Route::DeleteToken { token: token_id(id)? },
        (["tokens"], _) => return Err(RouteError::MethodNotAllowed { allow: "GET, HEAD, POST" }),
        (["tokens", "revoke"], _) => return Err(RouteError::MethodNotAllowed { allow: "DELETE" }),
        (["tokens", _], _) => return Err(RouteError::MethodNotAllowed { allow: "GET, HEAD, DELETE" }),
        _ => return Err(RouteError::Unknown),
    })
}

/// What is below `api/docker/`. Names hold slashes, so what is asked for stands at the end.
fn docker(method: &str, rest: &str) -> Result<Route, RouteError> {
    let (key, below) = rest.split_once('/').ok_or(RouteError::Unknown)?;
    let repository = known_key(key)?;
    match (below, method) {
        ("v1/promote" | "v2/promote", "POST") => return Ok(Route::Promote { repository }),
        ("v1/migrate", "POST") => return Ok(Route::Migrate { repository }),
        ("v1/promote" | "v2/promote" | "v1/migrate", _) => {
            return Err(RouteError::MethodNotAllowed { allow: "POST" });
        }
        ("v2/_catalog", "GET") => return Ok(Route::ListNames { repository }),
        ("v2/_catalog", _) => return Err(RouteError::MethodNotAllowed { allow: "GET, HEAD" }),
        _ => {}
    }
    let name = below.strip_prefix("v2/").and_then(|below| below.strip_suffix("/tags/list"));
    let name = name.ok_or(RouteError::Unknown)?;
    if method != "GET" {
        return Err(RouteError::MethodNotAllowed { allow: "GET, HEAD" });
    }
    Ok(Route::ListTags { repository, name: parse(name)? })
}

fn storage(method: &str, rest: &str, query: Option<&str>) -> Result<Route, RouteError> {
    let item = item(rest)?;
    match method {
        "GET" => Ok(Route::GetItem { item, part: part(query)? }),
        "PUT" | "DELETE" if !keys(query).any(|key| key == "properties") => {
            Err(RouteError::Invalid("say what: ?properties=…".to_owned()))
        }
        "PUT" => Ok(Route::SetProperties { item }),
        "DELETE" => Ok(Route::RemoveProperties { item }),
        _ => Err(RouteError::MethodNotAllowed { allow: "GET, HEAD, PUT, DELETE" }),
    }
}

fn metadata(method: &str, rest: &str) -> Result<Route, RouteError> {
    let item = item(rest)?;
    match method {
        "PATCH" => Ok(Route::UpdateProperties { item }),
        _ => Err(RouteError::MethodNotAllowed { allow: "PATCH" }),
    }
}

fn raw(method: &str, path: &str) -> Result<Route, RouteError> {
    let item = item(path)?;
    match method {
        "GET" => Ok(Route::GetFile { item }),
        "PUT" => Ok(Route::PutFile { item }),
        "DELETE" => Ok(Route::DeleteItem { item }),
        _ => Err(RouteError::MethodNotAllowed { allow: "GET, HEAD, PUT, DELETE" }),
    }
}

/// The keys of a query, in order.
fn keys(query: Option<&str>) -> impl Iterator<Item = &str> {
    let pairs = query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| pair.split_once('=').map_or(pair, |(key, _)| key))
}

fn part(query: Option<&str>) -> Result<ItemPart, RouteError> {
    let mut asked = keys(query).filter_map(|key| match key {
        "list" => Some(ItemPart::List),
        "properties" => Some(ItemPart::Properties),
        "stats" => Some(ItemPart::Stats),
        _ => None,
    });
    let part = asked.next().unwrap_or(ItemPart::Info);
    if asked.any(|other| other != part) {
        let message = "ask for one thing at a time: list, properties or stats";
        return Err(RouteError::Invalid(message.to_owned()));
    }
    Ok(part)
}

fn item(path: &str) -> Result<Item, RouteError> {
    let (key, path) = path.split_once('/').unwrap_or((path, ""));
    let repository = known_key(key)?;
    let path = percent_decode_str(path).decode_utf8();
    let path = path.map_err(|_| RouteError::Invalid("the path is not UTF-8".to_owned()))?;
    Ok(Item { repository, path: path.trim_start_matches('/').to_owned() })
}

/// One path segment decoded. What does not decode to UTF-8, or hides a slash, stays encoded: no grammar of ours admits a
/// percent sign, so the parser that is asked next refuses it.
fn decode(segment: &str) -> Cow<'_, str> {
    match percent_decode_str(segment).decode_utf8() {
        Ok(decoded) if !decoded.contains('/') => decoded,
        _ => Cow::Borrowed(segment),
    }
}

fn parse<T: std::str::FromStr<Err: std::fmt::Display>>(segment: &str) -> Result<T, RouteError> {
    decode(segment).parse().map_err(|error: T::Err| RouteError::Invalid(error.to_string()))
}

/// The key of a repository that is to be there: what can be none's is not.
fn known_key(segment: &str) -> Result<RepoKey, RouteError> {
    RepoKey::parse(&decode(segment)).map_err(|_| RouteError::Unknown)
}

/// The id of a token that is to be there.
fn token_id(segment: &str) -> Result<TokenId, RouteError> {
    Uuid::try_parse(&decode(segment)).map_err(|_| RouteError::Unknown)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(method: &str, target: &str) -> Result<Route, RouteError> {
        let (path, query) =
            target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        Route::parse(&method.parse().unwrap(), path, query)
    }

    fn item(path: &str) -> Item {
        Item { repository: RepoKey::parse("r").unwrap(), path: path.to_owned() }
    }

    #[test]
    fn every_operation_is_found_with_and_without_a_slash_behind_it() {
        let repository = || RepoKey::parse("r").unwrap();
        let user = || UserName::parse("ann@x").unwrap();
        let group = || GroupName::parse("ops").unwrap();
        let target = || PermissionTargetName::parse("team a").unwrap();
        let token = Uuid::from_u128(7);
        let name = RepoName::parse("a/b").unwrap();
        for (method, path, expected) in [
            ("GET", "api/system/ping", Route::Ping),
            ("GET", "api/system/version", Route::Version),
            ("GET", "api/system", Route::SystemInfo),
            ("GET", "api/system/configuration/webServer", Route::GetWebServer),
            ("POST", "api/system/configuration/webServer", Route::SetWebServer),
            (
                "GET",
                "api/system/configuration/reverseProxy/nginx",
                Route::GetProxyConfig { server: "nginx".to_owned() },
            ),
            ("GET", "api/setup/r", Route::GetSetup { repository: repository() }),
            ("GET", "api/repositories", Route::ListRepositories),
            ("GET", "api/repositories/%72", Route::GetRepository { repository: repository() }),
            ("PUT", "api/repositories/r", Route::CreateRepository { repository: repository() }),
            ("POST", "api/repositories/r", Route::UpdateRepository { repository: repository() }),
            ("DELETE", "api/repositories/r", Route::DeleteRepository { repository: repository() }),
            ("GET", "api/docker/r/v2/_catalog", Route::ListNames { repository: repository() }),
            ("GET", "api/docker/r/v2/a/b/tags/list", Route::ListTags { repository: repository(), name }),
            ("POST", "api/docker/r/v1/promote", Route::Promote { repository: repository() }),
            ("POST", "api/docker/r/v2/promote", Route::Promote { repository: repository() }),
            ("POST", "api/docker/r/v1/migrate", Route::Migrate { repository: repository() }),
            ("PATCH", "api/metadata/r/a", Route::UpdateProperties { item: item("a") }),
            ("GET", "api/search/prop", Route::SearchProperties),
            ("GET", "api/search/artifact", Route::SearchNames),
            ("GET", "api/search/checksum", Route::SearchChecksums),
            ("POST", "api/search/aql", Route::SearchAql),
            ("GET", "api/security/users", Route::ListUsers),
            ("GET", "api/security/users/ann%40x", Route::GetUser { user: user() }),
            ("PUT", "api/security/users/ann@x", Route::PutUser { user: user() }),
            ("POST", "api/security/users/ann@x", Route::UpdateUser { user: user() }),
            ("DELETE", "api/security/users/ann@x", Route::DeleteUser { user: user() }),
            ("POST", "api/security/users/authorization/changePassword", Route::ChangePassword),
            ("GET", "api/security/groups", Route::ListGroups),
            ("GET", "api/security/groups/ops", Route::GetGroup { group: group() }),
            ("PUT", "api/security/groups/ops", Route::PutGroup { group: group() }),
            ("POST", "api/security/groups/ops", Route::UpdateGroup { group: group() }),
            ("DELETE", "api/security/groups/ops", Route::DeleteGroup { group: group() }),
            ("GET", "api/security/permissions", Route::ListTargets),
            ("GET", "api/security/permissions/team%20a", Route::GetTarget { target: target() }),
            ("PUT", "api/security/permissions/team%20a", Route::PutTarget { target: target() }),
            ("DELETE", "api/security/permissions/team%20a", Route::DeleteTarget { target: target() }),
            ("GET", "api/security/apiKey", Route::GetApiKey),
            ("POST", "api/security/apiKey", Route::CreateApiKey),
            ("PUT", "api/security/apiKey", Route::RenewApiKey),
            ("DELETE", "api/security/apiKey", Route::RevokeApiKey),
            ("GET", "api/security/encryptedPassword", Route::EncryptedPassword),
            ("GET", "api/security/token", Route::ListTokens),
            ("POST", "api/security/token", Route::CreateToken),
            ("POST", "api/security/token/revoke", Route::RevokeToken),
            ("GET", "access/api/v1/tokens", Route::ListTokens),
            ("POST", "access/api/v1/tokens", Route::CreateToken),
            ("DELETE", "access/api/v1/tokens/revoke", Route::RevokeToken),
            ("GET", "access/api/v1/tokens/00000000-0000-0000-0000-000000000007", Route::GetToken { token }),
            (
                "DELETE",
                "access/api/v1/tokens/00000000-0000-0000-0000-000000000007",
                Route::DeleteToken { token },
            ),
            ("GET", "r", Route::GetFile { item: item("") }),
            ("GET", "r/a%20b/c", Route::GetFile { item: item("a b/c") }),
            ("PUT", "r/a", Route::PutFile { item: item("a") }),
            ("DELETE", "r/a", Route::DeleteItem { item: item("a") }),
        ] {
            for slash in ["", "/"] {
                assert_eq!(
                    parse(method, &format!("{path}{slash}")),
                    Ok(expected.clone()),
                    "{method} {path}{slash}"
                );
                if method == "GET" {
                    assert_eq!(parse("HEAD", &format!("{path}{slash}")), Ok(expected.clone()), "{path}");
                }
            }
        }
    }

    #[test]
    fn what_is_asked_of_an_item_stands_in_the_query() {
        let get = |part| Ok(Route::GetItem { item: item("a"), part });
        let invalid = |parsed: Result<Route, RouteError>| matches!(parsed, Err(RouteError::Invalid(_)));
        for (query, part) in [
            ("", ItemPart::Info),
            ("?n=1", ItemPart::Info),
            ("?list", ItemPart::List),
            ("?list&deep=1", ItemPart::List),
            ("?properties", ItemPart::Properties),
            ("?properties=x,y", ItemPart::Properties),
            ("?stats=", ItemPart::Stats),
            ("?stats&stats", ItemPart::Stats),
        ] {
            assert_eq!(parse("GET", &format!("api/storage/r/a{query}")), get(part), "{query}");
        }
        for query in ["?list&stats", "?properties=a&list", "?stats&properties"] {
            assert!(invalid(parse("GET", &format!("api/storage/r/a{query}"))), "{query}");
        }
        assert_eq!(
            parse("PUT", "api/storage/r/a?properties=b=c"),
            Ok(Route::SetProperties { item: item("a") })
        );
        assert_eq!(
            parse("DELETE", "api/storage/r?properties=b"),
            Ok(Route::RemoveProperties { item: item("") })
        );
        assert!(invalid(parse("PUT", "api/storage/r/a")) && invalid(parse("DELETE", "api/storage/r/a?list")));
    }

    #[test]
    fn what_is_served_nowhere_is_unknown() {
        for path in [
            "",
            "api",
            "api/other",
            "api/v1/x",
            "api/storage",
            "api/docker/r",
            "api/docker/r/v2/a/manifests/x",
            "access",
            "_",
            "access/api/v2/tokens",
            "access/api/v1/tokens/7",
            "api/repositories/a_b",
            "a_b/c",
            "api/security",
        ] {
            assert!(
                matches!(parse("GET", path), Err(RouteError::Unknown) | Ok(Route::GetFile { .. })),
                "{path}"
            );
        }
        assert_eq!(parse("GET", "a_b/c"), Err(RouteError::Unknown));
        assert!(matches!(parse("PUT", "api/repositories/a_b"), Err(RouteError::Invalid(_))));
        assert!(matches!(parse("GET", "api/storage/r/%ff"), Err(RouteError::Invalid(_))));
    }

    proptest! {
        #[test]
        fn parse_never_panics(
            method in "GET|PUT|POST|DELETE|PATCH|X",
            path in "(api|access|r)(/[a-zA-Z0-9%._~-]{0,9}){0,6}|\\PC{0,60}",
            query in proptest::option::of("[a-z=&%]{0,20}"),
        ) {
            let _ = Route::parse(&method.parse().unwrap(), &path, query.as_deref());
        }
    }
}
