//! What is below a folder (the REST reference, "File List").

use std::io::Write as _;

use axum::response::Response;
use serde::{Deserialize, Serialize};
use supercargo_http::request;
use supercargo_registry::tree::{Item, RepositoryTree, Visit};

use super::info::no_folder;
use super::{hex, storage_url, switch, times};
use crate::error::{Code, Failure};
use crate::respond::{Elements, StreamError, content_type};
use crate::{Asked, Surface, respond, route};

/// How many items are read in one go, at most: a client that goes away is noticed in between.
const STEP: usize = 256;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wanted {
    #[serde(default, deserialize_with = "switch")]
    deep: Option<bool>,
    /// How deep, where it is.
    depth: Option<usize>,
    #[serde(default, deserialize_with = "switch")]
    list_folders: Option<bool>,
    #[serde(default, deserialize_with = "switch")]
    md_timestamps: Option<bool>,
    #[serde(default, deserialize_with = "switch")]
    include_root_path: Option<bool>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    uri: String,
    /// In bytes; -1 of a folder.
    size: i64,
    last_modified: String,
    folder: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha1: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha2: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    md_timestamps: Option<Timestamps>,
}

#[derive(Serialize)]
struct Timestamps {
    properties: String,
}

pub(super) async fn get(surface: &Surface, asked: &Asked, wanted: &route::Item) -> Result<Response, Failure> {
    if asked.admitted.is_anonymous() {
        return Err(Failure::new(Code::LoginRequired));
    }
    let options: Wanted = asked.parameters()?;
    let (mut tree, root) = surface.item(asked, wanted).await?;
    if !root.is_folder() {
        return Err(no_folder(wanted));
    }
    let depth = match options.deep {
        Some(true) => options.depth.filter(|depth| *depth > 0).unwrap_or(usize::MAX),
        _ => 1,
    };
    let uri = storage_url(&request::base_url(&asked.parts), &wanted.repository, &root.path);
    let created = respond::time(surface.registry.now());
    let head = serde_json::to_string(&serde_json::json!({ "uri": uri, "created": created }));
    let head = head.map_err(|e| Failure::internal(e.to_string()))?;
    respond::stream(surface.registry.walks(), content_type::FILE_LIST, move |sink| {
        sink.write_all(head.strip_suffix('}').unwrap_or(&head).as_bytes())?;
        sink.write_all(b",\"files\":")?;
        let mut files = sink.array()?;
        if options.include_root_path == Some(true) {
            write(&mut tree, &mut files, &options, &root, &root)?;
        }
        let mut from = None;
        loop {
            let mut items = Vec::new();
            tree.walk(from.as_ref(), &root.path, depth, |item| {
                items.push(item);
                if items.len() == STEP { Visit::Stop } else { Visit::On }
            })?;
            for item in &items {
                if !item.is_folder() || options.list_folders == Some(true) {
                    write(&mut tree, &mut files, &options, &root, item)?;
                }
            }
            if items.len() < STEP || files.is_gone() {
                break;
            }
            from = items.pop().map(|last| last.path);
        }
        files.end()?;
        Ok::<(), StreamError>(sink.write_all(b"}")?)
    })
    .await
}

fn write(
    tree: &mut RepositoryTree,
    files: &mut Elements<'_>,
    options: &Wanted,
    root: &Item,
    item: &Item,
) -> Result<(), StreamError> {
    let checksums = tree.checksums(item)?;
    let (last_modified, _) = times(item);
    let md_timestamps = match options.md_timestamps {
        Some(true) if !tree.properties(item)?.is_empty() => {
            Some(Timestamps { properties: last_modified.clone() })
        }
        _ => None,
    };
    let inside = item.path.as_str().strip_prefix(root.path.as_str()).unwrap_or_default();
    let listed = Listed {
        uri: format!("/{}", inside.trim_start_matches('/')),
        size: tree.size(item)?.map_or(-1, |size| i64::try_from(size).unwrap_or(i64::MAX)),
        last_modified,
        folder: item.is_folder(),
        sha1: checksums.sha1.map(|hash| hex(&hash)),
        sha2: checksums.sha256.map(|hash| hex(&hash)),
        md_timestamps,
    };
    files.push(&listed)
}
