//! `supercargo tree` and `supercargo properties`: the folders and files of a repository, and what is said of them.

use supercargo_admin::api::{ItemInfo, ItemParameters, PropertiesChange, TreeItem, TreePage, TreeParameters};
use supercargo_admin::ops;
use supercargo_model::RepoKey;

use super::place::{Backend, Place, caller};
use super::{Common, moment, show};
use crate::failure::Failure;
use crate::output;

/// Looks at the folders and files of a repository, and deletes what they stand for.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Lists what is in a folder.
    #[command(after_help = "Example:\n  supercargo tree ls docker-local shop/web --data ./data")]
    Ls {
        /// The repository's key.
        repository: RepoKey,
        /// The folder's path; without one, the repository itself.
        #[arg(default_value = "")]
        path: String,
        #[command(flatten)]
        place: Place,
    },
    /// Shows a folder or file, with its properties.
    #[command(
        after_help = "Example:\n  supercargo tree info docker-local shop/web/prod/manifest.json --server http://127.0.0.1:5000"
    )]
    Info {
        /// The repository's key.
        repository: RepoKey,
        /// The path; without one, the repository itself.
        #[arg(default_value = "")]
        path: String,
        #[command(flatten)]
        place: Place,
    },
    /// Deletes a folder or file with all that is below it: tags, manifests without tags, V1 images that no tag needs.
    #[command(after_help = "Example:\n  supercargo tree rm docker-local shop/web/old --data ./data")]
    Rm {
        /// The repository's key.
        repository: RepoKey,
        /// The path.
        path: String,
        #[command(flatten)]
        place: Place,
    },
}

/// # Errors
/// [`Failure`], as its variants say.
pub(crate) fn run(command: &Command, common: &Common) -> Result<(), Failure> {
    match command {
        Command::Ls { repository, path, place } => {
            let backend = place.open(common)?;
            let mut parameters = TreeParameters { path: path.clone(), ..TreeParameters::default() };
            loop {
                let page: TreePage = match &backend {
                    Backend::Local(local) => ops::tree(&local.registry, repository, &parameters)?,
                    Backend::Remote(remote) => {
                        remote.get(&format!("/repositories/{repository}/tree"), &parameters)?
                    }
                };
                for item in &page.items {
                    output::value(common.json, item, line)?;
                }
                match page.items.last() {
                    Some(last) if page.more => parameters.last = Some(called(last)),
                    _ => return Ok(()),
                }
            }
        }
        Command::Info { repository, path, place } => {
            let info = info(&place.open(common)?, repository, path)?;
            output::value(common.json, &info, whole)
        }
        Command::Rm { repository, path, place } => {
            let parameters = ItemParameters { path: path.clone() };
            match place.open(common)? {
                Backend::Local(local) => {
                    local.run(ops::delete_item(&local.registry, &caller(), repository, &parameters))?;
                }
                Backend::Remote(remote) => {
                    remote.delete(&format!("/repositories/{repository}/tree"), &parameters)?;
                }
            }
            let report = serde_json::json!({ "repository": repository, "deleted": path });
            output::value(common.json, &report, |_| format!("deleted {repository}/{}", show::plain(path)))
        }
    }
}

/// What an item is called in its folder: a folder with a slash behind.
fn called(item: &TreeItem) -> String {
    let name = item.path.rsplit_once('/').map_or(item.path.as_str(), |(_, name)| name);
    if item.folder { format!("{name}/") } else { name.to_owned() }
}

fn line(item: &TreeItem) -> String {
    let size = item.size.map_or_else(|| "-".to_owned(), show::size);
    show::plain(&format!("{size:>12}  {}  {}", moment::show(item.at), called(item))).into_owned()
}

fn info(backend: &Backend, repository: &RepoKey, path: &str) -> Result<ItemInfo, Failure> {
    let parameters = ItemParameters { path: path.to_owned() };
    match backend {
        Backend::Local(local) => Ok(ops::item(&local.registry, repository, &parameters)?),
        Backend::Remote(remote) => remote.get(&format!("/repositories/{repository}/item"), &parameters),
    }
}

fn whole(info: &ItemInfo) -> String {
    let ItemInfo { item, media_type, digest, properties } = info;
    let mut rows = vec![
        ("path", format!("/{}", item.path)),
        ("kind", if item.folder { "folder" } else { "file" }.to_owned()),
        ("since", moment::show(item.at)),
    ];
    rows.extend(item.by.as_ref().map(|by| ("by", by.to_string())));
    rows.extend(item.size.map(|size| ("size", show::size(size))));
    rows.extend(media_type.clone().map(|media_type| ("media type", media_type)));
    rows.extend(digest.map(|digest| ("digest", digest.to_string())));
    rows.extend(properties.iter().map(|(name, values)| ("property", property(name, values))));
    let rows: Vec<Vec<String>> = rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect();
    show::table(&rows)
}

fn property(name: &str, values: &[String]) -> String {
    format!("{name}={}", values.join(","))
}

/// Looks at the properties of folders and files, sets and removes them.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum PropertiesCommand {
    /// Shows the properties of a folder or file.
    #[command(
        after_help = "Example:\n  supercargo properties get docker-local shop/web/prod/manifest.json --data ./data"
    )]
    Get {
        /// The repository's key.
        repository: RepoKey,
        /// The path.
        path: String,
        #[command(flatten)]
        place: Place,
    },
    /// Sets properties. A property that is named several times has all its values.
    #[command(
        after_help = "Example:\n  supercargo properties set docker-local shop/web/prod state=approved --recursive --data ./data"
    )]
    Set {
        /// The repository's key.
        repository: RepoKey,
        /// The path.
        path: String,
        /// Properties with their values.
        #[arg(required = true, value_name = "NAME=VALUE", value_parser = name_and_value)]
        properties: Vec<(String, String)>,
        /// Also on all that is below it.
        #[arg(long)]
        recursive: bool,
        #[command(flatten)]
        place: Place,
    },
    /// Removes properties.
    #[command(
        after_help = "Example:\n  supercargo properties unset docker-local shop/web/prod state --data ./data"
    )]
    Unset {
        /// The repository's key.
        repository: RepoKey,
        /// The path.
        path: String,
        /// Properties.
        #[arg(required = true, value_name = "NAME")]
        properties: Vec<String>,
        /// Also from all that is below it.
        #[arg(long)]
        recursive: bool,
        #[command(flatten)]
        place: Place,
    },
}

fn name_and_value(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("use NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// # Errors
/// [`Failure`], as its variants say.
pub(crate) fn run_properties(command: &PropertiesCommand, common: &Common) -> Result<(), Failure> {
    let (repository, place, change) = match command {
        PropertiesCommand::Get { repository, path, place } => {
            let info = info(&place.open(common)?, repository, path)?;
            return output::value(common.json, &info.properties, |_| lines(&info));
        }
        PropertiesCommand::Set { repository, path, properties, recursive, place } => {
            let mut change =
                PropertiesChange { path: path.clone(), recursive: *recursive, ..PropertiesChange::default() };
            for (name, value) in properties {
                change.set.entry(name.clone()).or_default().push(value.clone());
            }
            (repository, place, change)
        }
        PropertiesCommand::Unset { repository, path, properties, recursive, place } => {
            let (path, removed, recursive) = (path.clone(), properties.clone(), *recursive);
            (repository, place, PropertiesChange { path, removed, recursive, ..PropertiesChange::default() })
        }
    };
    let info = match place.open(common)? {
        Backend::Local(local) => {
            let parameters = ItemParameters { path: change.path.clone() };
            local.run(ops::change_properties(&local.registry, &caller(), repository, change))?;
            ops::item(&local.registry, repository, &parameters)?
        }
        Backend::Remote(remote) => {
            remote.patch(&format!("/repositories/{repository}/properties"), &change)?
        }
    };
    output::value(common.json, &info.properties, |_| lines(&info))
}

fn lines(info: &ItemInfo) -> String {
    let lines = info.properties.iter().map(|(name, values)| property(name, values));
    lines.map(|line| show::plain(&line).into_owned()).collect::<Vec<_>>().join("\n")
}
