//! Walking a tree: folder by folder, in the order of paths, from wherever a walk before was left.

use std::sync::Arc;

use supercargo_model::tree::TreePath;
use supercargo_projections::Rows;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Item;
use super::look::Tree;
use crate::registry::Registry;
use crate::{Error, Result};

/// How many folders are looked up at once.
const STEP_FOLDERS: usize = 64;

/// How many walks over trees there are at a time, whoever asked for them. More wait.
pub(crate) const WALKS_MAX: usize = 4;

/// The places of those who walk trees.
#[derive(Debug)]
pub(crate) struct Walks(Arc<Semaphore>);

impl Default for Walks {
    fn default() -> Walks {
        Walks(Arc::new(Semaphore::new(WALKS_MAX)))
    }
}

/// A place among those who walk trees, until it is dropped.
#[derive(Debug)]
#[must_use = "the place is free again once this is dropped"]
pub struct WalkPlace {
    _permit: OwnedSemaphorePermit,
}

impl Registry {
    /// A place among those who walk trees, as soon as there is one: for whoever searches or lists what may be everything.
    ///
    /// # Errors
    /// None that happens: the places last as long as the registry does.
    pub async fn place_to_walk(&self) -> Result<WalkPlace> {
        let permit = Arc::clone(&self.walks.0).acquire_owned().await.map_err(Error::internal)?;
        Ok(WalkPlace { _permit: permit })
    }
}

/// What becomes of a walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Visit {
    /// It goes on.
    On,
    /// It goes on, and not into this folder.
    Over,
    /// It ends here.
    Stop,
}

/// A folder that is being walked: what of it was not visited yet.
struct Walked {
    folder: TreePath,
    depth: usize,
    /// What was looked up and not visited yet, the next last.
    next: Vec<Item>,
    /// Its files, the next last.
    files: Vec<Item>,
    /// The last folder that was looked up, while there may be more.
    more_after: Option<Option<String>>,
}

impl Walked {
    fn new(folder: TreePath, depth: usize, files: Vec<Item>, after: Option<String>) -> Walked {
        Walked { folder, depth, next: Vec::new(), files, more_after: Some(after) }
    }
}

impl<R: Rows> Tree<'_, R> {
    /// See [`super::RepositoryTree::walk`].
    pub(crate) fn walk(
        &mut self,
        from: Option<&TreePath>,
        below: &TreePath,
        depth: usize,
        mut visit: impl FnMut(Item) -> Visit,
    ) {
        if depth == 0 {
            return;
        }
        let mut walked = self.way_to(from, below, depth);
        while let Some(folder) = walked.last_mut() {
            let Some(item) = self.next_of(folder) else {
                walked.pop();
                continue;
            };
            let deeper = folder.depth + 1;
            let path = item.is_folder().then(|| item.path.clone());
            match visit(item) {
                Visit::Stop => return,
                Visit::On if deeper < depth => {
                    if let Some(path) = path {
                        walked.push(self.entered(path, deeper, None));
                    }
                }
                Visit::On | Visit::Over => {}
            }
        }
    }

    /// A folder, as a walk finds it that has visited what comes up to `after`.
    fn entered(&mut self, folder: TreePath, depth: usize, after: Option<&str>) -> Walked {
        let mut files = self.files_in(&folder);
        files.retain(|file| after.is_none_or(|after| file.path.name() > after));
        files.reverse();
        Walked::new(folder, depth, files, after.map(str::to_owned))
    }

    /// The folders that lead to where a walk goes on.
    fn way_to(&mut self, from: Option<&TreePath>, below: &TreePath, depth: usize) -> Vec<Walked> {
        let Some(from) = from.filter(|from| from.is_at_or_below(below) && *from != below) else {
            // What comes before it was not visited, and what comes behind is none of it.
            let over = from.is_some_and(|from| from > below && !from.is_at_or_below(below));
            return if over { Vec::new() } else { vec![self.entered(below.clone(), 0, None)] };
        };
        let mut way = Vec::new();
        let mut at = below.clone();
        for (level, name) in from.components().skip(below.depth()).enumerate() {
            if level == depth {
                return way;
            }
            way.push(self.entered(at.clone(), level, Some(name)));
            let Ok(next) = at.join(name) else { return way };
            at = next;
        }
        // It was visited, and what is in it was not. A file has nothing in it.
        if way.len() < depth && self.folder_row(&at).is_some() {
            let level = way.len();
            way.push(self.entered(at, level, None));
        }
        way
    }

    /// The next of a folder's folders and files, by name.
    fn next_of(&mut self, walked: &mut Walked) -> Option<Item> {
        if walked.next.is_empty()
            && let Some(after) = walked.more_after.take()
        {
            walked.next = self.folders_in(&walked.folder, after.as_deref(), STEP_FOLDERS);
            if walked.next.len() == STEP_FOLDERS {
                walked.more_after = walked.next.last().map(|last| Some(last.path.name().to_owned()));
            }
            walked.next.reverse();
        }
        let folder_first = match (walked.next.last(), walked.files.last()) {
            (Some(folder), Some(file)) => folder.path.name() < file.path.name(),
            (folder, _) => folder.is_some(),
        };
        if folder_first { walked.next.pop() } else { walked.files.pop() }
    }
}
