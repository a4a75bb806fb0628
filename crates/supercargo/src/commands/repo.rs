//! `supercargo repo` and `supercargo name`: repositories and what is in them.

use supercargo_admin::api::{NameParameters, NamesPage, NamesParameters, RemoveParameters, RepositoryChange};
use supercargo_admin::ops;
use supercargo_eventlog::{DockerApiVersion, RepositoryConfig};
use supercargo_model::{RepoKey, RepoName};
use supercargo_registry::RepositoryInfo;

use super::place::{Backend, Place, caller};
use super::{Common, moment, show};
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
}

fn docker_api_version(text: &str) -> Result<DockerApiVersion, String> {
    match text.to_ascii_lowercase().as_str() {
        "v2" => Ok(DockerApiVersion::V2),
        "v1" => Ok(DockerApiVersion::V1),
        "both" => Ok(DockerApiVersion::Both),
        _ => Err("use V2, V1 or both".to_owned()),
    }
}

impl Settings {
    fn change(&self) -> RepositoryChange {
        RepositoryChange {
            description: self.description.clone(),
            docker_api_version: self.docker_api_version,
            sparse_index: self.sparse_index,
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

fn whole(repository: &RepositoryInfo) -> String {
    let version = serde_json::to_value(repository.config.docker_api_version).ok();
    let holds = &repository.holds;
    let rows = [
        ("key", repository.key.to_string()),
        ("description", repository.config.description.clone()),
        ("docker API", version.and_then(|version| version.as_str().map(str::to_owned)).unwrap_or_default()),
        ("sparse index", repository.config.sparse_index.to_string()),
        ("created", moment::show(repository.created_at)),
        ("names", holds.names.to_string()),
        ("tags", holds.tags.to_string()),
        ("manifests", holds.manifests.to_string()),
        ("blobs", holds.blobs.to_string()),
        ("size", show::size(holds.bytes)),
    ];
    show::table(&rows.map(|(name, value)| vec![name.to_owned(), value]))
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
