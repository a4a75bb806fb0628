//! Which operation a method, a path and a query ask for.
//!
//! What lives here is that one pure function and the types it answers with: paths stand below the context root and are
//! matched by their segments. What an operation does is in the files named after its noun. A path below a repository is
//! decoded and not judged: what there can be is the tree's to say.

use std::borrow::Cow;

use http::Method;
use percent_encoding::percent_decode_str;
use supercargo_model::account::{GroupName, TokenId, UserName};
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
    GetTarget { target: String },
    /// `PUT api/security/permissions/<name>`
    PutTarget { target: String },
    /// `DELETE api/security/permissions/<name>`
    DeleteTarget { target: String },
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
    /// `POST api/security/token`: a form
    CreateToken,
    /// `POST access/api/v1/tokens`: JSON or a form
    CreateAccessToken,
    /// `GET access/api/v1/tokens/<id>`
    GetToken { token: TokenId },
    /// `DELETE access/api/v1/tokens/<id>`
    DeleteToken { token: TokenId },
    /// `POST api/security/token/revoke`
    RevokeToken,
    /// `DELETE access/api/v1/tokens/revoke`
    RevokeAccessToken,
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
                Some(("v1", _)) => {}
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
        (["permissions", name], "GET") => Route::GetTarget { target: decode(name).into_owned() },
        (["permissions", name], "PUT") => Route::PutTarget { target: decode(name).into_owned() },
        (["permissions", name], "DELETE") => Route::DeleteTarget { target: decode(name).into_owned() },
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
        (["tokens"], "POST") => Route::CreateAccessToken,
        (["tokens", "revoke"], "DELETE") => Route::RevokeAccessToken,
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
