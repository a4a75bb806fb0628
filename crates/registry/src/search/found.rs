//! Items as a search finds them: what is known of each, looked up when it is asked for.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::ops::ControlFlow;

use supercargo_eventlog::RedbLog;
use supercargo_model::account::hex::Hex;
use supercargo_model::tree::TreePath;
use supercargo_model::{Algorithm, RepoKey, Timestamp, limits};
use supercargo_projections::tables::{BlobHashes, BlobHashesRow, PropertiesRow};
use supercargo_projections::{Reader, Snapshot};

use super::condition::{NumberField, ROOT_PATH, TextField, TimeField};
use super::drivers::Flow;
use crate::tree::{Checksums, Content, Item, LABEL, Reach, Sibling, Tree};
use crate::{Error, Result};

/// How many items of a folder are looked up at once.
const STEP_ITEMS: usize = 256;

/// The items of a repository's tree, as somebody sees them.
#[derive(Clone, Copy)]
pub(crate) struct View<'v> {
    pub(crate) snapshot: &'v Snapshot,
    pub(crate) log: &'v RedbLog,
    pub(crate) repository: &'v RepoKey,
    pub(crate) eyes: &'v Reach,
}

impl<'v> View<'v> {
    /// The item of a path, if it is there.
    pub(crate) fn item(self, path: &str) -> Result<Option<Found<'v>>> {
        let Ok(path) = TreePath::parse(path) else { return Ok(None) };
        let item = self.look(|tree| tree.item(&path))?;
        Ok(item.map(|item| self.found(item)))
    }

    /// What is in a folder; nothing, where it is not there.
    pub(crate) fn in_folder(
        self,
        path: &str,
        files_only: bool,
        each: &mut dyn FnMut(Found<'v>) -> Flow,
    ) -> Flow {
        let Ok(path) = TreePath::parse(path) else { return Ok(ControlFlow::Continue(())) };
        if files_only {
            for item in self.look(|tree| tree.files_in(&path))? {
                if each(self.found(item))?.is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
            return Ok(ControlFlow::Continue(()));
        }
        let mut after = None;
        loop {
            let page = self.look(|tree| tree.children(&path, after.as_ref(), STEP_ITEMS))?;
            after = page.entries.last().map(Sibling::of).filter(|_| page.more);
            for item in page.entries {
                if each(self.found(item))?.is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
            if after.is_none() {
                return Ok(ControlFlow::Continue(()));
            }
        }
    }

    fn found(self, item: Item) -> Found<'v> {
        Found { view: self, item, properties: OnceCell::new(), hashes: OnceCell::new() }
    }

    fn content(self) -> Content<'v> {
        Content { snapshot: self.snapshot, log: self.log, repository: self.repository }
    }

    fn look<O>(self, look: impl FnOnce(&mut Tree<'_, Reader<'v>>) -> O) -> Result<O> {
        let mut rows = Reader::new(self.snapshot);
        let found = look(&mut Tree::new(&mut rows, self.repository, self.eyes));
        rows.check().map_err(Error::internal)?;
        Ok(found)
    }
}

/// An item that was found.
pub struct Found<'v> {
    view: View<'v>,
    item: Item,
    properties: OnceCell<PropertiesRow>,
    hashes: OnceCell<Option<BlobHashesRow>>,
}

impl std::fmt::Debug for Found<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Found").field("item", &self.item).finish_non_exhaustive()
    }
}

impl Found<'_> {
    /// The repository that it is in.
    pub fn repository(&self) -> &RepoKey {
        self.view.repository
    }

    /// The item.
    pub fn item(&self) -> &Item {
        &self.item
    }

    /// Its size in bytes, that of what is written when it is read too; none for a folder.
    ///
    /// # Errors
    /// Storage errors.
    pub fn size(&self) -> Result<Option<u64>> {
        self.view.content().size(&self.item)
    }

    /// Its checksums, as far as they are known; none of a folder.
    ///
    /// # Errors
    /// Storage errors.
    pub fn checksums(&self) -> Result<Checksums> {
        self.view.content().checksums(&self.item)
    }

    /// All properties of it.
    ///
    /// # Errors
    /// Storage errors.
    pub fn properties(&self) -> Result<&PropertiesRow> {
        if let Some(properties) = self.properties.get() {
            return Ok(properties);
        }
        let properties = self.view.look(|tree| tree.properties(&self.item))?;
        Ok(self.properties.get_or_init(|| properties))
    }

    /// MD5 and SHA-1 of it, where they are known.
    fn hashes(&self) -> Result<Option<BlobHashesRow>> {
        if let Some(hashes) = self.hashes.get() {
            return Ok(*hashes);
        }
        let hashes = match self.item.file.as_ref().and_then(|file| file.blob()) {
            Some((digest, _)) => self.view.snapshot.get::<BlobHashes>(&digest).map_err(Error::internal)?,
            None => None,
        };
        Ok(*self.hashes.get_or_init(|| hashes))
    }

    /// A fact that is a text; none where the item does not have it, or it is not known.
    ///
    /// # Errors
    /// Storage errors.
    pub fn text(&self, field: TextField) -> Result<Option<Cow<'_, str>>> {
        let path = &self.item.path;
        Ok(match field {
            TextField::Repository => Some(Cow::Borrowed(self.view.repository.as_str())),
            TextField::Path => {
                let parent = path.as_str().rsplit_once('/').map(|(parent, _)| parent);
                Some(Cow::Borrowed(parent.unwrap_or(ROOT_PATH)))
            }
            TextField::Name => Some(Cow::Borrowed(if path.is_root() { ROOT_PATH } else { path.name() })),
            TextField::CreatedBy | TextField::ModifiedBy => {
                self.item.by.as_ref().map(|by| by.to_string().into())
            }
            TextField::Md5 => self.hashes()?.map(|hashes| Hex(&hashes.md5).to_string().into()),
            TextField::Sha1 => self.hashes()?.map(|hashes| Hex(&hashes.sha1).to_string().into()),
            TextField::Sha256 => {
                let blob = self.item.file.as_ref().and_then(|file| file.blob());
                let digest = blob.map(|(digest, _)| digest);
                let digest = digest.filter(|digest| digest.algorithm() == Algorithm::Sha256);
                digest.map(|digest| digest.hex().into())
            }
        })
    }

    /// A fact that is a number.
    pub fn number(&self, field: NumberField) -> u64 {
        match field {
            NumberField::Size => {
                self.item.file.as_ref().and_then(|file| file.blob()).map_or(0, |(_, size)| size)
            }
            NumberField::Depth => self.item.path.depth() as u64,
        }
    }

    /// A fact that is a moment.
    pub fn time(&self, field: TimeField) -> Timestamp {
        match field {
            // What a tag points at changes as one: what is there was put there when it changed.
            TimeField::Created | TimeField::Modified | TimeField::Updated => self.item.at,
        }
    }

    /// Whether it is a folder.
    pub fn is_folder(&self) -> bool {
        self.item.is_folder()
    }

    /// Tells each value of a property, or of all (`*`), until one is what is looked for; whether one was.
    pub(crate) fn any_value(&self, key: &str, is: &mut dyn FnMut(&str) -> bool) -> Result<bool> {
        let properties = self.properties()?;
        // What can't stand in a key is looked for neither with an index nor without.
        let mut is = |value: &str| {
            let fits = !key.starts_with(LABEL)
                || value.len() <= limits::PROPERTY_VALUE_BYTES_MAX && !value.contains('\0');
            fits && is(value)
        };
        Ok(match key {
            "*" => properties.values().flatten().any(|value| is(value)),
            key => properties.get(key).into_iter().flatten().any(|value| is(value)),
        })
    }
}
