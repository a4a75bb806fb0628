//! Items of a repository's tree: what they are, what is below them, their properties (the REST reference, "Artifacts &
//! Storage").
//!
//! What lives here: what all of that needs of a path and of rights, and `?stats`. `info` says what an item is, `list` what
//! is below it, `properties` what is said of it; `notation` reads how clients write properties.

pub(crate) mod info;
mod list;
pub(crate) mod notation;
pub(crate) mod properties;

use axum::response::Response;
use http::StatusCode;
use serde::{Deserialize, Deserializer, Serialize, de};
use supercargo_access::Rights;
use supercargo_eventlog::Actor;
use supercargo_http::request;
use supercargo_model::account::hex::Hex;
use supercargo_model::tree::TreePath;
use supercargo_model::{RepoKey, RepoName};
use supercargo_registry::Error;
use supercargo_registry::tree::{Checksums, Item, Reach, RepositoryTree};

use crate::error::{Code, Failure};
use crate::gate::Admitted;
use crate::respond::content_type;
use crate::route::{self, ItemPart};
use crate::{Asked, Surface, respond};

/// `GET api/storage/<key>[/<path>]`, by what is asked of the item.
pub(crate) async fn get(
    surface: &Surface,
    asked: &Asked,
    item: &route::Item,
    part: ItemPart,
) -> Result<Response, Failure> {
    match part {
        ItemPart::Info => info::get(surface, asked, item).await,
        ItemPart::List => list::get(surface, asked, item).await,
        ItemPart::Properties => properties::get(surface, asked, item).await,
        ItemPart::Stats => stats(surface, asked, item).await,
    }
}

/// The names of a repository with which somebody may do something.
pub(crate) fn reach(
    admitted: &Admitted,
    repository: &RepoKey,
    may: impl Fn(&Rights, &RepoKey, &RepoName) -> bool + Send + Sync + 'static,
) -> Reach {
    let rights = admitted.rights().filter(|_| !admitted.is_administrator());
    let repository = repository.clone();
    rights.map_or_else(Reach::all, |rights| Reach::of(move |name| may(&rights, &repository, name)))
}

impl Surface {
    /// An item's repository and path, as whoever asks sees the tree. To whom nothing is shown of it, it is not there.
    pub(crate) fn eyes(&self, asked: &Asked, item: &route::Item) -> Result<(Reach, TreePath), Failure> {
        let (admitted, repository) = (&asked.admitted, &item.repository);
        let absent = || admitted.absent(repository, Code::ItemUnknown);
        // What can be no path is none that is there.
        let path = TreePath::parse(&item.path).map_err(|_| absent())?;
        Ok((admitted.eyes(repository).ok_or_else(absent)?, path))
    }

    /// An item, in the tree that it is in. For who does not see all of it, to look for something that is seen may take as
    /// long as what is not seen is large: that is for a thread that may block.
    pub(crate) async fn item(
        &self,
        asked: &Asked,
        item: &route::Item,
    ) -> Result<(RepositoryTree, Item), Failure> {
        let (eyes, path) = self.eyes(asked, item)?;
        let sees_all = eyes.reach_all();
        let mut tree = self.registry.tree(&item.repository, eyes).map_err(|e| told(asked, item, e))?;
        let (tree, found) = match sees_all {
            true => {
                let found = tree.item(&path)?;
                (tree, found)
            }
            false => {
                let look = move || {
                    let found = tree.item(&path)?;
                    Ok((tree, found))
                };
                respond::blocking(look).await?
            }
        };
        let found = found.ok_or_else(|| asked.admitted.absent(&item.repository, Code::ItemUnknown))?;
        Ok((tree, found))
    }
}

/// The URL of an item in the storage interface; `base` is the context root's.
pub(crate) fn storage_url(base: &str, repository: &RepoKey, path: &TreePath) -> String {
    format!("{base}/api/storage/{repository}{}", below(path))
}

/// What kept an item from being found or changed: what may not be seen is not there, and a login may help.
pub(crate) fn told(asked: &Asked, item: &route::Item, error: Error) -> Failure {
    match error {
        Error::ItemUnknown(_) | Error::RepositoryUnknown(_) => {
            asked.admitted.absent(&item.repository, Code::ItemUnknown)
        }
        Error::ItemForbidden(_) => asked.admitted.forbidden().message(error.to_string()),
        error => error.into(),
    }
}

/// A path below a URL: percent-encoded, with a slash in front; nothing for the root.
pub(crate) fn below(path: &TreePath) -> String {
    use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
    const KEPT: &AsciiSet =
        &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b':');
    match path.is_root() {
        true => String::new(),
        false => format!("/{}", utf8_percent_encode(path.as_str(), KEPT)),
    }
}

/// What people call an actor.
pub(crate) fn called(actor: &Actor) -> String {
    match actor {
        Actor::System => "_system_".to_owned(),
        Actor::Anonymous | Actor::User(_) => actor.to_string(),
    }
}

/// Checksums, as hexadecimal digits.
#[derive(Debug, Serialize)]
pub(crate) struct HexChecksums {
    #[serde(skip_serializing_if = "Option::is_none")]
    sha1: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    md5: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
}

impl From<&Checksums> for HexChecksums {
    fn from(checksums: &Checksums) -> HexChecksums {
        HexChecksums {
            sha1: checksums.sha1.map(|hash| hex(&hash)),
            md5: checksums.md5.map(|hash| hex(&hash)),
            sha256: checksums.sha256.map(|hash| hex(&hash)),
        }
    }
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    Hex(bytes).to_string()
}

/// A switch of a query: 0 or 1.
pub(crate) fn switch<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<bool>, D::Error> {
    match String::deserialize(deserializer)?.as_str() {
        "1" | "true" => Ok(Some(true)),
        "0" | "false" => Ok(Some(false)),
        other => Err(de::Error::custom(format!("{other:?} is neither 0 nor 1"))),
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Stats {
    uri: String,
    download_count: u64,
    last_downloaded: i64,
    remote_download_count: u64,
    remote_last_downloaded: i64,
}

/// `?stats`. Downloads are not counted: none are claimed.
async fn stats(surface: &Surface, asked: &Asked, item: &route::Item) -> Result<Response, Failure> {
    let (_, found) = surface.item(asked, item).await?;
    let uri = storage_url(&request::base_url(&asked.parts), &item.repository, &found.path);
    let stats = Stats {
        uri,
        download_count: 0,
        last_downloaded: 0,
        remote_download_count: 0,
        remote_last_downloaded: 0,
    };
    respond::json(StatusCode::OK, content_type::JSON, &stats)
}

/// When and by whom.
fn times(item: &Item) -> (String, Option<String>) {
    let Item { at, by, .. } = item;
    (respond::time(*at), by.as_ref().map(called))
}
