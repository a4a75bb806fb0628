//! What an item is (the REST reference, "Folder Info" and "File Info"), also where a search tells it.

use std::io::Write as _;

use axum::response::Response;
use http::{StatusCode, header};
use serde::{Deserialize, Serialize};
use supercargo_http::request;
use supercargo_http::response::header_value;
use supercargo_model::{RepoKey, limits};
use supercargo_registry::tree::{Checksums, Item, RepositoryTree, Sibling};

use super::{HexChecksums, below, storage_url, times, told};
use crate::error::{Code, Failure};
use crate::respond::{StreamError, content_type};
use crate::{Asked, Surface, respond, route};

/// How many children are read at a time.
const STEP: usize = 512;

/// Which of a folder's children are wanted. This is ours: Artifactory gives all.
#[derive(Debug, Deserialize)]
struct Paging {
    n: Option<usize>,
    /// The last child of the page before; of a folder with a slash behind.
    last: Option<String>,
}

/// What is said of folders and files alike.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Head {
    repo: String,
    path: String,
    created: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_by: Option<String>,
    last_modified: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    modified_by: Option<String>,
    last_updated: String,
    uri: String,
}

impl Head {
    /// `base` is the context root's URL.
    pub(crate) fn of(base: &str, repository: &RepoKey, item: &Item) -> Head {
        let (at, by) = times(item);
        Head {
            repo: repository.to_string(),
            path: format!("/{}", item.path),
            created: at.clone(),
            created_by: by.clone(),
            last_modified: at.clone(),
            modified_by: by,
            last_updated: at,
            uri: storage_url(base, repository, &item.path),
        }
    }
}

/// What is said of a file.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FileInfo {
    #[serde(flatten)]
    head: Head,
    download_uri: String,
    mime_type: &'static str,
    /// In bytes, as text.
    size: String,
    checksums: HexChecksums,
    /// As clients gave them, and all that were looked at are right.
    original_checksums: HexChecksums,
}

impl FileInfo {
    /// `size` is in bytes.
    pub(crate) fn of(
        base: &str,
        repository: &RepoKey,
        item: &Item,
        size: u64,
        checksums: &Checksums,
    ) -> FileInfo {
        FileInfo {
            head: Head::of(base, repository, item),
            download_uri: format!("{base}/{repository}{}", below(&item.path)),
            mime_type: item.file.as_ref().map_or("application/octet-stream", |file| file.mime_type()),
            size: size.to_string(),
            checksums: checksums.into(),
            original_checksums: checksums.into(),
        }
    }
}

#[derive(Serialize)]
struct Child {
    uri: String,
    folder: bool,
}

impl Child {
    fn of(item: &Item) -> Child {
        Child { uri: format!("/{}", item.path.name()), folder: item.is_folder() }
    }
}

#[derive(Serialize)]
struct FolderPage {
    #[serde(flatten)]
    head: Head,
    children: Vec<Child>,
}

pub(super) async fn get(surface: &Surface, asked: &Asked, wanted: &route::Item) -> Result<Response, Failure> {
    let (tree, item) = surface.item(asked, wanted).await?;
    if !item.is_folder() {
        return file(surface, asked, wanted, tree, item).await;
    }
    let head = Head::of(&request::base_url(&asked.parts), &wanted.repository, &item);
    let Paging { n, last } = asked.parameters()?;
    match n {
        Some(n) => respond::blocking(move || page(tree, &item, head, n, last.as_deref())).await,
        None => whole(surface, tree, item, &head).await,
    }
}

async fn file(
    surface: &Surface,
    asked: &Asked,
    wanted: &route::Item,
    tree: RepositoryTree,
    item: Item,
) -> Result<Response, Failure> {
    let mut checksums = tree.checksums(&item)?;
    if !checksums.are_known() {
        let found_out = surface.registry.find_out_checksums(&asked.admitted.caller, &item).await;
        found_out.map_err(|e| told(asked, wanted, e))?;
        // As they are remembered now.
        let (tree, item) = surface.item(asked, wanted).await?;
        checksums = tree.checksums(&item)?;
    }
    let base = request::base_url(&asked.parts);
    let size = tree.size(&item)?.unwrap_or_default();
    let info = FileInfo::of(&base, &wanted.repository, &item, size, &checksums);
    respond::json(StatusCode::OK, content_type::FILE_INFO, &info)
}

/// A page of a folder's children.
fn page(
    mut tree: RepositoryTree,
    item: &Item,
    head: Head,
    n: usize,
    last: Option<&str>,
) -> Result<Response, Failure> {
    if n == 0 {
        return Err(Failure::invalid("n is how many children are wanted, 1 at least"));
    }
    let n = n.min(limits::PAGE_ENTRIES_MAX);
    let after = last.map(|last| match last.strip_suffix('/') {
        Some(folder) => Sibling::Folder(folder.to_owned()),
        None => Sibling::File(last.to_owned()),
    });
    let page = tree.children(&item.path, after.as_ref(), n)?;
    let next = page.entries.last().filter(|_| page.more).map(|last| {
        use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
        let slash = if last.is_folder() { "/" } else { "" };
        let last = format!("{}{slash}", last.path.name());
        format!("<{}?n={n}&last={}>; rel=\"next\"", head.uri, utf8_percent_encode(&last, NON_ALPHANUMERIC))
    });
    let children = page.entries.iter().map(Child::of).collect();
    let page = FolderPage { head, children };
    let mut response = respond::json(StatusCode::OK, content_type::FOLDER_INFO, &page)?;
    if let Some(next) = next {
        response.headers_mut().insert(header::LINK, header_value(next)?);
    }
    Ok(response)
}

/// All of a folder's children, written as they are read.
async fn whole(
    surface: &Surface,
    mut tree: RepositoryTree,
    item: Item,
    head: &Head,
) -> Result<Response, Failure> {
    let head = serde_json::to_string(head).map_err(|e| Failure::internal(e.to_string()))?;
    let head = head.strip_suffix('}').unwrap_or(&head).to_owned();
    respond::stream(surface.registry.walks(), content_type::FOLDER_INFO, move |sink| {
        sink.write_all(head.as_bytes())?;
        sink.write_all(b",\"children\":")?;
        let mut children = sink.array()?;
        let mut after = None;
        loop {
            let page = tree.children(&item.path, after.as_ref(), STEP)?;
            for child in &page.entries {
                children.push(&Child::of(child))?;
            }
            match page.entries.last() {
                Some(last) if page.more => after = Some(Sibling::of(last)),
                _ => break,
            }
        }
        children.end()?;
        Ok::<(), StreamError>(sink.write_all(b"}")?)
    })
    .await
}

/// What is said of a file where a folder is asked about.
pub(super) fn no_folder(wanted: &route::Item) -> Failure {
    let route::Item { repository, path } = wanted;
    Failure::new(Code::Invalid)
        .message(format!("Expected a folder but found a file, at: {repository}:{path}"))
}
