//! `supercargo repo` and `supercargo name`: repositories and what is in them.

use std::sync::Arc;

use supercargo_admin::api::{
    NameParameters, NamesPage, NamesParameters, RemoveParameters, RepositoryChange, RulesChange,
};
use supercargo_admin::ops;
use supercargo_eventlog::{DockerApiVersion, LoginMethod, NameQuota, RepositoryConfig};
use supercargo_model::{ParseError, PathPattern, Pattern, RepoKey, RepoName};
use supercargo_registry::RepositoryInfo;

use super::place::{Backend, Place, caller};
use super::{Common, moment, show};
use crate::config::values;
use crate::failure::Failure;
use crate::output;

/// Looks at repositories and changes them.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Lists repositories.
    #[command(after_help = "Example:\n  supercargo repo list --server http://127.0.0.1:5000")]
    List {
        #[command(flatten)]
        place: Place,
    },
    /// Shows one repository.
    #[command(after_help = "Example:\n  supercargo repo show docker-local --data ./data")]
    Show {
        /// Its key.
        key: RepoKey,
        #[command(flatten)]
        place: Place,
    },
    /// Creates a repository.
    #[command(
        after_help = "Example:\n  supercargo repo create team-a --description \"Images of team A\" --data ./data"
    )]
    Create {
        /// Its key: letters, digits, dots and hyphens.
        key: RepoKey,
        #[command(flatten)]
        settings: Settings,
        #[command(flatten)]
        place: Place,
    },
    /// Changes settings of a repository; what is not named stays.
    #[command(after_help = "Example:\n  supercargo repo configure team-a --sparse-index true --data ./data")]
    Configure {
        /// Its key.
        key: RepoKey,
        #[command(flatten)]
        settings: Settings,
        #[command(flatten)]
        place: Place,
    },
    /// Removes a repository.
    #[command(after_help = "Example:\n  supercargo repo remove team-a --force --data ./data")]
    Remove {
        /// Its key.
        key: RepoKey,
        /// Also with all that it holds.
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        place: Place,
    },
}

/// Settings of a repository.
#[derive(Debug, clap::Args)]
pub(crate) struct Settings {
    /// What it is for.
    #[arg(long)]
    description: Option<String>,

    /// Which Docker protocols it speaks: V2, V1 or both.
    #[arg(long, value_name = "VERSION", value_parser = docker_api_version)]
    docker_api_version: Option<DockerApiVersion>,

    /// Whether an index may lack manifests that it lists.
    #[arg(long, value_name = "true|false")]
    sparse_index: Option<bool>,

    /// How its clients are told to log in, where there are accounts: token (once, for tokens) or basic (name and
    /// password with each request).
    #[arg(long, value_name = "METHOD", value_parser = login_method)]
    login: Option<LoginMethod>,

    /// Whether the tarsum that a V1 client sends with a layer must be right.
    #[arg(long, value_name = "true|false")]
    verify_tarsum: Option<bool>,

    /// The port by which docker clients ask for it; 0 for none.
    #[arg(long, value_name = "PORT")]
    docker_port: Option<u16>,

    /// Whether it is out of use: what it holds is kept, and docker clients are told that it is not there.
    #[arg(long, value_name = "true|false")]
    blacked_out: Option<bool>,

    /// How many tags a name may have: as one is set beyond that, the oldest others go; 0 for any number.
    #[arg(long, value_name = "TAGS")]
    max_unique_tags: Option<u32>,

    /// Paths of the tree that may be pushed to: patterns separated by commas, such as `team-a/**`; "" for all.
    #[arg(long, value_name = "PATTERNS", value_parser = path_patterns)]
    includes: Option<PathPatterns>,

    /// Paths of the tree that may not be pushed to: patterns separated by commas; "" for none.
    #[arg(long, value_name = "PATTERNS", value_parser = path_patterns)]
    excludes: Option<PathPatterns>,

    /// Tags that don't move once they are set: patterns separated by commas, such as `v*,release-*`; "" for none.
    #[arg(long, value_name = "PATTERNS", value_parser = patterns)]
    immutable_tags: Option<Patterns>,

    /// Media types that manifests may have: patterns separated by commas; "" for any.
    #[arg(long, value_name = "PATTERNS", value_parser = patterns)]
    media_types: Option<Patterns>,

    /// Artifact types, or config media types, that manifests may have: patterns separated by commas; "" for any.
    #[arg(long, value_name = "PATTERNS", value_parser = patterns)]
    artifact_types: Option<Patterns>,

    /// Largest manifest, such as 64KiB; 0B for what the protocol allows.
    #[arg(long, value_name = "SIZE", value_parser = values::parse_size)]
    manifest_max: Option<u64>,

    /// Largest blob, such as 2GiB; 0B for any.
    #[arg(long, value_name = "SIZE", value_parser = values::parse_size)]
    blob_max: Option<u64>,

    /// How much the repository may hold, such as 500GiB; 0B for no quota.
    #[arg(long, value_name = "SIZE", value_parser = values::parse_size)]
    quota: Option<u64>,

    /// How much each name may hold that a pattern matches, such as `team-a/**=10GiB`, separated by commas; "" for no
    /// such quota.
    #[arg(long, value_name = "PATTERN=SIZE", value_parser = name_quotas)]
    name_quotas: Option<NameQuotas>,
}

type Patterns = Arc<[Pattern]>;
type PathPatterns = Arc<[PathPattern]>;
type NameQuotas = Arc<[NameQuota]>;

/// What stands between commas.
fn parts(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty())
}

fn patterns(text: &str) -> Result<Patterns, ParseError> {
    parts(text).map(Pattern::parse).collect()
}

fn path_patterns(text: &str) -> Result<PathPatterns, ParseError> {
    PathPattern::parse_list(text).map(PathPatterns::from)
}

fn name_quotas(text: &str) -> Result<NameQuotas, String> {
    let quota = |part: &str| {
        let (names, bytes) = part.rsplit_once('=').ok_or("use PATTERN=SIZE, such as team-a/**=10GiB")?;
        let names = Pattern::parse(names).map_err(|e| e.to_string())?;
        let bytes = values::parse_size(bytes).map_err(|e| e.to_string())?;
        Ok(NameQuota { names, bytes })
    };
    parts(text).map(quota).collect()
}

fn docker_api_version(text: &str) -> Result<DockerApiVersion, String> {
    match text.to_ascii_lowercase().as_str() {
        "v2" => Ok(DockerApiVersion::V2),
        "v1" => Ok(DockerApiVersion::V1),
        "both" => Ok(DockerApiVersion::Both),
        _ => Err("use V2, V1 or both".to_owned()),
    }
}

fn login_method(text: &str) -> Result<LoginMethod, String> {
    match text {
        "token" => Ok(LoginMethod::Token),
        "basic" => Ok(LoginMethod::Basic),
        _ => Err("use token or basic".to_owned()),
    }
}

impl Settings {
    fn change(&self) -> RepositoryChange {
        RepositoryChange {
            description: self.description.clone(),
            docker_api_version: self.docker_api_version,
            sparse_index: self.sparse_index,
            login: self.login,
            verify_tarsum: self.verify_tarsum,
            docker_port: self.docker_port,
            blacked_out: self.blacked_out,
            rules: RulesChange {
                immutable_tags: self.immutable_tags.as_deref().map(<[_]>::to_vec),
                media_types: self.media_types.as_deref().map(<[_]>::to_vec),
                artifact_types: self.artifact_types.as_deref().map(<[_]>::to_vec),
                manifest_bytes_max: self.manifest_max,
                blob_bytes_max: self.blob_max,
                quota: self.quota,
                name_quotas: self.name_quotas.as_deref().map(<[_]>::to_vec),
            },
            max_unique_tags: self.max_unique_tags,
            includes: self.includes.as_deref().map(<[_]>::to_vec),
            excludes: self.excludes.as_deref().map(<[_]>::to_vec),
            attributes: None,
        }
    }
}

/// # Errors
/// [`Failure`], as its variants say.
pub(crate) fn run(command: &Command, common: &Common) -> Result<(), Failure> {
    match command {
        Command::List { place } => {
            let repositories: Vec<RepositoryInfo> = match place.open(common)? {
                Backend::Local(local) => local.registry.repositories()?,
                Backend::Remote(remote) => remote.get("/repositories", &())?,
            };
            output::value(common.json, &repositories, |repositories| {
                let mut rows = vec![
                    ["KEY", "NAMES", "TAGS", "MANIFESTS", "BLOBS", "SIZE", "DESCRIPTION"]
                        .map(str::to_owned)
                        .to_vec(),
                ];
                rows.extend(repositories.iter().map(|repository| {
                    let holds = &repository.holds;
                    vec![
                        repository.key.to_string(),
                        holds.names.to_string(),
                        holds.tags.to_string(),
                        holds.manifests.to_string(),
                        holds.blobs.to_string(),
                        show::size(holds.bytes),
                        repository.config.description.clone(),
                    ]
                }));
                show::table(&rows)
            })
        }
        Command::Show { key, place } => {
            let repository = match place.open(common)? {
                Backend::Local(local) => local.registry.repository(key)?,
                Backend::Remote(remote) => remote.get(&format!("/repositories/{key}"), &())?,
            };
            output::value(common.json, &repository, whole)
        }
        Command::Create { key, settings, place } => {
            let repository = match place.open(common)? {
                Backend::Local(local) => {
                    let config = settings.change().apply(RepositoryConfig::default());
                    local.run(local.registry.create_repository(&caller(), key, config))?;
                    local.registry.repository(key)?
                }
                Backend::Remote(remote) => remote.put(&format!("/repositories/{key}"), &settings.change())?,
            };
            output::value(common.json, &repository, whole)
        }
        Command::Configure { key, settings, place } => {
            let change = settings.change();
            let repository = match place.open(common)? {
                Backend::Local(local) => {
                    local.run(ops::configure_repository(&local.registry, &caller(), key, change))?
                }
                Backend::Remote(remote) => remote.patch(&format!("/repositories/{key}"), &change)?,
            };
            output::value(common.json, &repository, whole)
        }
        Command::Remove { key, force, place } => {
            match place.open(common)? {
                Backend::Local(local) => {
                    local.run(local.registry.remove_repository(&caller(), key, *force))?;
                }
                Backend::Remote(remote) => {
                    remote.delete(&format!("/repositories/{key}"), &RemoveParameters { force: *force })?;
                }
            }
            output::value(common.json, &serde_json::json!({ "removed": key }), |_| format!("removed {key}"))
        }
    }
}

/// A choice as JSON, and so the command line, spells it.
fn spelled(choice: &impl serde::Serialize) -> String {
    let value = serde_json::to_value(choice).ok();
    value.and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

fn whole(repository: &RepositoryInfo) -> String {
    let config = &repository.config;
    let holds = &repository.holds;
    let rules = &config.rules;
    let patterns =
        |patterns: &[Pattern]| patterns.iter().map(Pattern::to_string).collect::<Vec<_>>().join(", ");
    let paths =
        |patterns: &[PathPattern]| patterns.iter().map(PathPattern::as_str).collect::<Vec<_>>().join(", ");
    let limit = |limit: Option<u64>| limit.map(show::size).unwrap_or_default();
    let name_quotas =
        rules.name_quotas.iter().map(|quota| format!("{}={}", quota.names, show::size(quota.bytes)));
    let rows = [
        ("key", repository.key.to_string()),
        ("description", config.description.clone()),
        ("docker API", spelled(&config.docker_api_version)),
        ("sparse index", config.sparse_index.to_string()),
        ("login", spelled(&config.login)),
        ("verify tarsum", if config.verify_tarsum { "true".to_owned() } else { String::new() }),
        ("docker port", config.docker_port.map(|port| port.to_string()).unwrap_or_default()),
        ("blacked out", if config.blacked_out { "true".to_owned() } else { String::new() }),
        (
            "most tags",
            if config.max_unique_tags > 0 { config.max_unique_tags.to_string() } else { String::new() },
        ),
        ("includes", paths(&config.includes)),
        ("excludes", paths(&config.excludes)),
        ("immutable tags", patterns(&rules.immutable_tags)),
        ("media types", patterns(&rules.media_types)),
        ("artifact types", patterns(&rules.artifact_types)),
        ("largest manifest", limit(rules.manifest_bytes_max)),
        ("largest blob", limit(rules.blob_bytes_max)),
        ("quota", limit(rules.quota)),
        ("quotas of names", name_quotas.collect::<Vec<_>>().join(", ")),
        ("created", moment::show(repository.created_at)),
        ("names", holds.names.to_string()),
        ("tags", holds.tags.to_string()),
        ("manifests", holds.manifests.to_string()),
        ("V1 images", if holds.images > 0 { holds.images.to_string() } else { String::new() }),
        ("blobs", holds.blobs.to_string()),
        ("size", show::size(holds.bytes)),
    ];
    // A rule that is not set is not worth a line.
    let rows = rows.into_iter().filter(|(_, value)| !value.is_empty());
    show::table(&rows.map(|(name, value)| vec![name.to_owned(), value]).collect::<Vec<_>>())
}

/// Looks at the names of a repository and deletes them.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum NameCommand {
    /// Lists names with what they hold.
    #[command(after_help = "Example:\n  supercargo name list docker-local --server http://127.0.0.1:5000")]
    List {
        /// The repository's key.
        repository: RepoKey,
        #[command(flatten)]
        place: Place,
    },
    /// Deletes a name with all that it holds.
    #[command(after_help = "Example:\n  supercargo name delete docker-local shop/web --data ./data")]
    Delete {
        /// The repository's key.
        repository: RepoKey,
        /// The name.
        name: RepoName,
        #[command(flatten)]
        place: Place,
    },
}

/// # Errors
/// [`Failure`], as its variants say.
pub(crate) fn run_name(command: &NameCommand, common: &Common) -> Result<(), Failure> {
    match command {
        NameCommand::List { repository, place } => {
            let backend = place.open(common)?;
            let mut parameters = NamesParameters::default();
            loop {
                let page: NamesPage = match &backend {
                    Backend::Local(local) => ops::names(&local.registry, repository, &parameters)?,
                    Backend::Remote(remote) => {
                        remote.get(&format!("/repositories/{repository}/names"), &parameters)?
                    }
                };
                for name in &page.names {
                    output::value(common.json, name, |name| {
                        let usage = &name.usage;
                        format!(
                            "{}  {}, {}, {}, {} its own, {} shared",
                            name.name,
                            show::count(usage.tags, "tag"),
                            show::count(usage.manifests, "manifest"),
                            show::count(usage.blobs, "blob"),
                            show::size(usage.own_bytes),
                            show::size(usage.shared_bytes)
                        )
                    })?;
                }
                match page.names.last() {
                    Some(last) if page.more => parameters.last = Some(last.name.clone()),
                    _ => return Ok(()),
                }
            }
        }
        NameCommand::Delete { repository, name, place } => {
            match place.open(common)? {
                Backend::Local(local) => {
                    local.run(local.registry.delete_name(&caller(), repository, name))?;
                }
                Backend::Remote(remote) => {
                    let parameters = NameParameters { name: name.clone() };
                    remote.delete(&format!("/repositories/{repository}/names"), &parameters)?;
                }
            }
            let report = serde_json::json!({ "repository": repository, "deleted": name });
            output::value(common.json, &report, |_| format!("deleted {repository}/{name}"))
        }
    }
}
