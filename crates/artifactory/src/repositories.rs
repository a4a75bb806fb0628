//! Repositories (the REST reference, "Repositories" and "Repository Configuration JSON").
//!
//! What lives here: how their settings stand in Artifactory's JSON. What means something here has a member that is read
//! and checked; our own settings stand in a member `supercargo`, in the words of the administration API; what else
//! clients send is kept as it came, and given back.

use axum::response::Response;
use http::StatusCode;
use serde_json::{Map, Value, json};
use supercargo_eventlog::{DockerApiVersion, RepositoryConfig};
use supercargo_http::query::Query;
use supercargo_http::request;
use supercargo_model::{PathPattern, RepoKey};
use supercargo_registry::{Error, RepositoryChange, RepositoryInfo};

use crate::error::Failure;
use crate::respond::{self, content_type};
use crate::{Asked, Surface};

/// What includes everything, as Artifactory writes it.
const EVERYTHING: &str = "**/*";
/// The member with our own settings.
const OURS: &str = "supercargo";
/// `GET api/repositories[?type=][&packageType=]`: those of which the caller may read something.
pub(crate) fn list(surface: &Surface, asked: &Asked) -> Result<Response, Failure> {
    let query = Query::parse(asked.parts.uri.query());
    let is = |key: &str, value: &str| query.get(key).is_none_or(|asked| asked.eq_ignore_ascii_case(value));
    let base = request::base_url(&asked.parts);
    let shown = is("type", "local") && is("packageType", "docker");
    let all = if shown { surface.registry.repositories()? } else { Vec::new() };
    let readable = all.iter().filter(|info| !asked.admitted.reads_nothing_in(&info.key));
    let list: Vec<Value> = readable
        .map(|info| {
            json!({
                "key": info.key,
                "description": info.config.description,
                "type": "LOCAL",
                "url": format!("{base}/{}", info.key),
                "packageType": "Docker",
            })
        })
        .collect();
    respond::json(StatusCode::OK, content_type::REPOSITORY_LIST, &list)
}

/// `GET api/repositories/<key>`
pub(crate) fn get(surface: &Surface, asked: &Asked, key: &RepoKey) -> Result<Response, Failure> {
    // Of one that they may see nothing of, they are told what they are told of one that is not there.
    if asked.admitted.reads_nothing_in(key) {
        return Err(Error::RepositoryUnknown(key.clone()).into());
    }
    let RepositoryInfo { config, .. } = surface.registry.repository(key)?;
    let shown = shown(key, &config, asked.admitted.is_administrator())?;
    respond::json(StatusCode::OK, content_type::REPOSITORY, &shown)
}

/// `PUT api/repositories/<key>`
pub(crate) async fn create(surface: &Surface, asked: &Asked, key: &RepoKey) -> Result<Response, Failure> {
    let sent = Sent::parse(key, &asked.body)?;
    if sent.rclass.is_none() {
        return Err(Failure::invalid("rclass is missing: it must be \"local\""));
    }
    let config = sent.change.apply(RepositoryConfig::default());
    surface.registry.create_repository(&asked.admitted.caller, key, config).await?;
    Ok(respond::text(StatusCode::OK, format!("Successfully created repository '{key}'")))
}

/// `POST api/repositories/<key>`: what is not sent stays as it is.
pub(crate) async fn update(surface: &Surface, asked: &Asked, key: &RepoKey) -> Result<Response, Failure> {
    let Sent { mut change, in_our_words, .. } = Sent::parse(key, &asked.body)?;
    // One that speaks both is shown as V2, so a client that sends back what it was shown means to leave it.
    if change.docker_api_version == Some(DockerApiVersion::V2)
        && !in_our_words
        && surface
            .registry
            .hosted()?
            .get(key)
            .is_some_and(|known| known.docker_api_version == DockerApiVersion::Both)
    {
        change.docker_api_version = None;
    }
    let updated = surface.registry.configure_repository(&asked.admitted.caller, key, change).await;
    updated.map_err(|error| match error {
        Error::TagsPointAtImages { .. } => Failure::invalid(format!(
            "the dockerApiVersion of a repository that holds V1 images can't be changed: make a repository of \
             dockerApiVersion V2, and migrate this one into it (POST api/docker/{key}/v1/migrate)"
        )),
        error => error.into(),
    })?;
    Ok(respond::text(StatusCode::OK, format!("Successfully updated repository '{key}'")))
}

/// `DELETE api/repositories/<key>`: the repository with all that it holds.
pub(crate) async fn delete(surface: &Surface, asked: &Asked, key: &RepoKey) -> Result<Response, Failure> {
    let holds = surface.registry.repository(key)?.holds;
    surface.registry.remove_repository(&asked.admitted.caller, key, true).await?;
    let text = format!(
        "Repository '{key}' and all its content have been removed successfully.\nRemoved: {} names, {} tags, {} manifests, \
         {} V1 images, {} blobs, {} bytes.",
        holds.names, holds.tags, holds.manifests, holds.images, holds.blobs, holds.bytes
    );
    Ok(respond::text(StatusCode::OK, text))
}

fn list_of(patterns: &[PathPattern]) -> String {
    patterns.iter().map(PathPattern::as_str).collect::<Vec<_>>().join(",")
}

/// A repository's settings as Artifactory has them. Who is no administrator is shown what concerns its users.
fn shown(key: &RepoKey, config: &RepositoryConfig, all: bool) -> Result<Map<String, Value>, Failure> {
    let (version, is_both) = match config.docker_api_version {
        DockerApiVersion::V1 => ("V1", false),
        DockerApiVersion::V2 => ("V2", false),
        // Clients of Artifactory know two.
        DockerApiVersion::Both => ("V2", true),
    };
    let mut shown = Map::new();
    let mut put = |name: &str, value: Value| shown.insert(name.to_owned(), value);
    put("key", json!(key));
    put("rclass", json!("local"));
    put("packageType", json!("docker"));
    put("description", json!(config.description));
    put("notes", json!(""));
    put("repoLayoutRef", json!("simple-default"));
    put("propertySets", json!([]));
    put("archiveBrowsingEnabled", json!(false));
    put("dockerApiVersion", json!(version));
    put("blackedOut", json!(config.blacked_out));
    let includes = list_of(&config.includes);
    put("includesPattern", json!(if includes.is_empty() { EVERYTHING } else { &includes }));
    put("excludesPattern", json!(list_of(&config.excludes)));
    put("maxUniqueTags", json!(config.max_unique_tags));
    if let Some(port) = config.docker_port {
        put("dockerPort", json!(port));
    }
    if all {
        for (name, value) in &config.attributes {
            // It was JSON when it was kept.
            put(name, serde_json::from_str(value).unwrap_or(Value::Null));
        }
        let mut ours = Map::new();
        if is_both {
            ours.insert("docker-api-version".to_owned(), json!(config.docker_api_version));
        }
        let internal = |e: serde_json::Error| Failure::internal(e.to_string());
        ours.insert("sparse-index".to_owned(), json!(config.sparse_index));
        ours.insert("rules".to_owned(), serde_json::to_value(&config.rules).map_err(internal)?);
        ours.insert("login".to_owned(), serde_json::to_value(config.login).map_err(internal)?);
        ours.insert("verify-tarsum".to_owned(), json!(config.verify_tarsum));
        put(OURS, Value::Object(ours));
    }
    Ok(shown)
}

/// Settings as they were sent.
#[derive(Debug)]
struct Sent {
    rclass: Option<String>,
    change: RepositoryChange,
    /// Whether the version was said in our own words.
    in_our_words: bool,
}

impl Sent {
    fn parse(key: &RepoKey, body: &[u8]) -> Result<Sent, Failure> {
        let sent: Map<String, Value> = serde_json::from_slice(body)
            .map_err(|e| Failure::invalid(format!("the body is not an object of JSON: {e}")))?;
        let mut members = Members(sent);
        let rclass = members.text("rclass")?;
        one_of("rclass", rclass.as_deref(), "local", "all repositories here are local")?;
        let package_type = members.text("packageType")?;
        one_of(
            "packageType",
            package_type.as_deref(),
            "docker",
            "all repositories here are for docker images",
        )?;
        if members.text("key")?.is_some_and(|sent| sent != key.as_str()) {
            return Err(Failure::invalid(format!("the key in the body is not {key}, which the path says")));
        }
        let ours: RepositoryChange = match members.0.remove(OURS) {
            None | Some(Value::Null) => RepositoryChange::default(),
            Some(ours) => {
                serde_json::from_value(ours).map_err(|e| Failure::invalid(format!("{OURS}: {e}")))?
            }
        };
        let said_elsewhere = RepositoryChange {
            docker_api_version: None,
            sparse_index: None,
            rules: Default::default(),
            login: None,
            verify_tarsum: None,
            ..ours.clone()
        };
        if said_elsewhere != RepositoryChange::default() {
            return Err(Failure::invalid(format!("{OURS}: say this outside of it, in Artifactory's words")));
        }
        let said_version = ours.docker_api_version.is_some();
        let version = members.text("dockerApiVersion")?.map(|text| version(&text)).transpose()?;
        let (includes, excludes) =
            (members.patterns("includesPattern")?, members.patterns("excludesPattern")?);
        let change = RepositoryChange {
            description: members.text("description")?,
            docker_api_version: ours.docker_api_version.or(version),
            blacked_out: members.flag("blackedOut")?,
            max_unique_tags: members.number("maxUniqueTags")?,
            docker_port: members.number("dockerPort")?,
            // What includes everything is no rule.
            includes: includes
                .map(|all| if all.iter().any(PathPattern::is_everything) { Vec::new() } else { all }),
            excludes,
            attributes: Some(members.0.into_iter().map(|(name, value)| (name, value.to_string())).collect()),
            ..ours
        };
        Ok(Sent { rclass, in_our_words: said_version, change })
    }
}

fn version(text: &str) -> Result<DockerApiVersion, Failure> {
    match text.to_ascii_lowercase().as_str() {
        "v1" => Ok(DockerApiVersion::V1),
        "v2" => Ok(DockerApiVersion::V2),
        "both" => Ok(DockerApiVersion::Both),
        _ => Err(Failure::invalid(format!("dockerApiVersion is {text:?}: use V1 or V2"))),
    }
}

fn one_of(member: &str, sent: Option<&str>, known: &str, why: &str) -> Result<(), Failure> {
    match sent.filter(|sent| !sent.eq_ignore_ascii_case(known)) {
        Some(sent) => Err(Failure::invalid(format!("{member} is {sent:?}: use {known:?}, {why}"))),
        None => Ok(()),
    }
}

/// The members of an object, taken out by name. One that is null counts as absent.
struct Members(Map<String, Value>);

impl Members {
    fn take<T>(
        &mut self,
        name: &str,
        kind: &str,
        read: impl Fn(&Value) -> Option<T>,
    ) -> Result<Option<T>, Failure> {
        match self.0.remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => match read(&value) {
                Some(read) => Ok(Some(read)),
                None => Err(Failure::invalid(format!("{name} is {value}: it must be {kind}"))),
            },
        }
    }

    fn text(&mut self, name: &str) -> Result<Option<String>, Failure> {
        self.take(name, "a text", |value| value.as_str().map(str::to_owned))
    }

    fn flag(&mut self, name: &str) -> Result<Option<bool>, Failure> {
        self.take(name, "true or false", Value::as_bool)
    }

    fn number<T: TryFrom<u64>>(&mut self, name: &str) -> Result<Option<T>, Failure> {
        let kind = format!("a whole number below {}", 1_u64 << (8 * size_of::<T>()).min(63));
        self.take(name, &kind, |value| T::try_from(value.as_u64()?).ok())
    }

    fn patterns(&mut self, name: &str) -> Result<Option<Vec<PathPattern>>, Failure> {
        let Some(list) = self.text(name)? else { return Ok(None) };
        let list = PathPattern::parse_list(&list);
        list.map(Some).map_err(|error| Failure::invalid(format!("{name}: {error}")))
    }
}
