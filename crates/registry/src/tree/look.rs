//! What is at a path and in a folder, and whether somebody sees it. Over rows, so that the same says what may be changed.

use supercargo_eventlog::V1Image;
use supercargo_model::tree::{self, IMAGES, Meaning, TreePath, V1_NAMES};
use supercargo_model::{Digest, ImageId, RepoKey, RepoName, Tag, media_type};
use supercargo_projections::tables::{
    ContentRow, Contents, FolderRow, Folders, ImageRow, Images, ImagesById, ManifestRow, Manifests, NameId,
    NameIds, NameUsage, Names, NamesById, Repositories, Table as _, TagHistory, TagRow, Tags, prefix,
};
use supercargo_projections::{Rows, prefix_end};

use super::{File, ImagePart, Item, Numbered, Reach, Sibling, child, image_part};
use crate::reads::Page;

/// How many rows are read at once, at most.
const STEP_ROWS: usize = 256;

/// What a folder is the folder of, as it is seen.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    /// A tag on a manifest.
    Tag { of: Numbered, tag: Tag, row: TagRow, manifest: ManifestRow },
    /// A manifest without tags.
    Untagged { of: Numbered, digest: Digest, manifest: ManifestRow },
    /// A tag on a V1 image.
    V1Tag { of: Numbered, tag: Tag, row: TagRow, image: V1Image },
    /// A name with tags on V1 images.
    V1Name { of: Numbered },
    /// A V1 image.
    Image { of: Numbered, row: ImageRow },
}

/// The tree of one repository.
pub(crate) struct Tree<'t, R> {
    pub(super) rows: &'t mut R,
    pub(super) repository: &'t RepoKey,
    pub(super) eyes: &'t Reach,
}

impl<'t, R: Rows> Tree<'t, R> {
    pub(crate) fn new(rows: &'t mut R, repository: &'t RepoKey, eyes: &'t Reach) -> Tree<'t, R> {
        Tree { rows, repository, eyes }
    }

    pub(super) fn folder_row(&mut self, path: &TreePath) -> Option<FolderRow> {
        self.rows.row::<Folders>(&(self.repository.clone(), path.as_str().to_owned()))
    }

    /// The number of a name, where it holds something.
    fn numbered(&mut self, name: &RepoName) -> Option<Numbered> {
        let id = self.rows.row::<Names>(&(self.repository.clone(), name.clone()))?;
        Some(Numbered { name: name.clone(), id })
    }

    /// The number of a name that holds something, or did.
    fn ever_numbered(&mut self, name: &RepoName) -> Option<NameId> {
        self.rows.row::<NameIds>(&(self.repository.clone(), name.clone()))
    }

    /// What is at a path. Where a folder and a file would have the same, the folder is what is there.
    pub(crate) fn item(&mut self, path: &TreePath) -> Option<Item> {
        let Some(parent) = path.parent() else {
            let row = self.rows.row::<Repositories>(self.repository)?;
            return Some(Item { path: path.clone(), at: row.created_at, by: None, file: None });
        };
        if let Some(row) = self.folder_row(path) {
            return self.seen_folder(path, row).map(|row| folder_item(path.clone(), row));
        }
        let row = self.folder_row(&parent)?;
        self.files_of(&parent, &row, Some(path.name())).into_iter().next()
    }

    /// What is in a folder after a sibling, at most `n`, and whether there is more.
    pub(crate) fn children(&mut self, folder: &TreePath, after: Option<&Sibling>, n: usize) -> Page<Item> {
        let mut entries = Vec::new();
        if !matches!(after, Some(Sibling::File(_))) {
            let after = match after {
                Some(Sibling::Folder(name)) => Some(name.as_str()),
                _ => None,
            };
            entries = self.folders_in(folder, after, n.saturating_add(1));
        }
        if entries.len() <= n {
            let after = match after {
                Some(Sibling::File(name)) => Some(name.as_str()),
                _ => None,
            };
            let files = self.files_in(folder).into_iter();
            entries.extend(files.filter(|file| after.is_none_or(|after| file.path.name() > after)));
        }
        let more = entries.len() > n;
        entries.truncate(n);
        Page { entries, more }
    }

    /// The folders of a folder after one of them, at most `n`, by name. What lies deeper is leapt over.
    pub(super) fn folders_in(&mut self, folder: &TreePath, after: Option<&str>, n: usize) -> Vec<Item> {
        let begin = if folder.is_root() { String::new() } else { format!("{folder}/") };
        let start = self.before(&begin);
        let end = prefix_end(&start);
        let mut start = after.map_or(start, |after| self.behind(&format!("{begin}{after}")));
        let mut found = Vec::new();
        let mut step = 2;
        while found.len() < n && start < end {
            let rows = self.rows.scan::<Folders>(&start, &end, step);
            let last_page = rows.len() < step;
            step = (step * 4).min(STEP_ROWS);
            let mut leapt = false;
            for ((_, path), row) in rows {
                let below = path.get(begin.len()..).unwrap_or_default();
                if let Some((name, _)) = below.split_once('/') {
                    start = prefix_end(&self.before(&format!("{begin}{name}/")));
                    (leapt, step) = (true, 2);
                    break;
                }
                start = self.behind(&path);
                if let Ok(path) = TreePath::parse(&path)
                    && let Some(row) = self.seen_folder(&path, row)
                {
                    found.push(folder_item(path, row));
                    if found.len() == n {
                        break;
                    }
                }
            }
            if last_page && !leapt {
                break;
            }
        }
        found
    }

    /// Where the folders begin whose paths begin so.
    fn before(&self, begin: &str) -> Vec<u8> {
        let mut key = Vec::new();
        Folders::write_key(&(self.repository.clone(), begin.to_owned()), &mut key);
        // The key ends the path, and others go on.
        key.pop();
        key
    }

    /// Where the folders begin that come after one.
    fn behind(&self, path: &str) -> Vec<u8> {
        let mut key = Vec::new();
        Folders::write_key(&(self.repository.clone(), path.to_owned()), &mut key);
        key.push(0);
        key
    }

    /// The files of a folder, by name.
    pub(crate) fn files_in(&mut self, folder: &TreePath) -> Vec<Item> {
        let Some(row) = self.folder_row(folder) else { return Vec::new() };
        let mut files = self.files_of(folder, &row, None);
        if !files.is_empty() && self.has_folders(folder) {
            files.retain(|file| self.folder_row(&file.path).is_none());
        }
        files
    }

    fn has_folders(&mut self, folder: &TreePath) -> bool {
        let start = self.before(&format!("{folder}/"));
        !self.rows.scan::<Folders>(&start, &prefix_end(&start), 1).is_empty()
    }

    /// The files of a folder, or the one that is called so, by name; also those that have the path of a folder.
    fn files_of(&mut self, folder: &TreePath, row: &FolderRow, wanted: Option<&str>) -> Vec<Item> {
        let mut files = Vec::new();
        for place in self.places(folder) {
            self.files_at(&place, folder, row, wanted, &mut files);
        }
        files.sort_by(|a, b| a.path.name().cmp(b.path.name()));
        files.dedup_by(|a, b| a.path == b.path);
        files
    }

    fn files_at(
        &mut self,
        place: &Place,
        folder: &TreePath,
        folder_row: &FolderRow,
        wanted: Option<&str>,
        out: &mut Vec<Item>,
    ) {
        let is_wanted = |name: &str| wanted.is_none_or(|wanted| wanted == name);
        let mut add = |name: &str, at, by, file| {
            if is_wanted(name)
                && let Ok(path) = child(folder, name)
            {
                out.push(Item { path, at, by: Some(by), file: Some(file) });
            }
        };
        match place {
            Place::Tag { of, manifest, .. } | Place::Untagged { of, manifest, .. } => {
                let (digest, tag, at, by) = match place {
                    Place::Tag { tag, row, .. } => (row.digest, Some(tag.clone()), row.at, &row.by),
                    Place::Untagged { digest, .. } => (*digest, None, manifest.at, &manifest.by),
                    _ => return,
                };
                let supercargo_model::Manifest { media_type, size, config, layers, .. } = &manifest.manifest;
                let called = if media_type::is_index(media_type) { tree::INDEX } else { tree::MANIFEST };
                let file = File::Manifest {
                    name: of.name.clone(),
                    digest,
                    tag,
                    media_type: media_type.clone(),
                    config: config.as_ref().map(|config| config.digest),
                    size: *size,
                };
                add(called, at, by.clone(), file);
                for blob in config.iter().chain(layers).filter(|blob| !blob.foreign) {
                    let called = tree::blob_file(&blob.digest);
                    if !is_wanted(&called) {
                        continue;
                    }
                    let content = self.rows.row::<Contents>(&(of.id, blob.digest));
                    if let Some(content) = content.filter(|content| content.blob) {
                        let file =
                            File::Blob { name: of.name.clone(), digest: blob.digest, size: content.size };
                        add(&called, at, by.clone(), file);
                    }
                }
            }
            Place::V1Tag { of, tag, row, image } => {
                let (name, tag, image) = (of.name.clone(), tag.clone(), image.clone());
                let file = File::V1Tag { name, tag, image, seq: row.seq };
                add(tree::V1_TAG, row.at, row.by.clone(), file);
            }
            Place::V1Name { of } => {
                let FolderRow { created_at, created_by, .. } = folder_row;
                let file = File::V1Index { name: of.name.clone() };
                add(tree::V1_INDEX, *created_at, created_by.clone(), file);
            }
            Place::Image { of, row } => {
                for called in tree::IMAGE_FILES {
                    let Some(part) = image_part(called).filter(|_| is_wanted(called)) else { continue };
                    let mut layer = || self.rows.row::<Contents>(&(of.id, row.image.layer));
                    if part == ImagePart::Layer && !layer().is_some_and(|layer| layer.blob) {
                        continue;
                    }
                    let file = File::Image { name: of.name.clone(), image: row.image.clone(), part };
                    add(called, row.at, row.by.clone(), file);
                }
            }
        }
    }

    /// What a folder is the folder of.
    pub(crate) fn places(&mut self, folder: &TreePath) -> Vec<Place> {
        let mut found: Vec<Place> = Vec::new();
        for meaning in folder.meanings() {
            // Of two names that are shown the same, the first is meant.
            let taken = match &meaning {
                Meaning::V1Name(_) => found.iter().any(|place| matches!(place, Place::V1Name { .. })),
                Meaning::V1Tag(..) => found.iter().any(|place| matches!(place, Place::V1Tag { .. })),
                _ => false,
            };
            if !taken {
                found.extend(self.place(&meaning));
            }
        }
        found
    }

    /// What a meaning comes to, where it is there and seen.
    pub(crate) fn place(&mut self, meaning: &Meaning) -> Option<Place> {
        let of = match meaning.repo_name() {
            Some(name) if !self.eyes.reach(name) => return None,
            Some(name) => self.numbered(name)?,
            None => {
                let Meaning::Image(id) = meaning else { return None };
                return self.image(id);
            }
        };
        match meaning {
            Meaning::Name(_) | Meaning::Image(_) => None,
            Meaning::Tag(_, tag) => {
                let row = self.rows.row::<Tags>(&(of.id, tag.clone())).filter(|row| !row.image)?;
                let manifest = self.rows.row::<Manifests>(&(of.id, row.digest))?;
                Some(Place::Tag { of, tag: tag.clone(), row, manifest })
            }
            Meaning::Untagged(_, digest) => {
                self.rows.row::<Contents>(&(of.id, *digest)).filter(ContentRow::stands_alone)?;
                let manifest = self.rows.row::<Manifests>(&(of.id, *digest))?;
                Some(Place::Untagged { of, digest: *digest, manifest })
            }
            Meaning::V1Name(_) => self.has_v1_tags(of.id).then_some(Place::V1Name { of }),
            Meaning::V1Tag(_, tag) => {
                let row = self.rows.row::<Tags>(&(of.id, tag.clone())).filter(|row| row.image)?;
                let image = self.rows.row::<Images>(&(of.id, row.digest))?.image;
                Some(Place::V1Tag { of, tag: tag.clone(), row, image })
            }
        }
    }

    fn has_v1_tags(&mut self, id: NameId) -> bool {
        if self.rows.row::<NameUsage>(&id).is_none_or(|row| row.usage.images == 0) {
            return false;
        }
        self.any::<Tags>(prefix::tags(id), |_, _, row| row.image)
    }

    /// Whether any row that begins so passes a test; read a step at a time.
    fn any<T: supercargo_projections::Tracked>(
        &mut self,
        begin: Vec<u8>,
        mut test: impl FnMut(&mut Self, &T::Key, &T::Row) -> bool,
    ) -> bool {
        let end = prefix_end(&begin);
        let (mut start, mut step) = (begin, 8);
        loop {
            let rows = self.rows.scan::<T>(&start, &end, step);
            let is_last = rows.len() < step;
            step = (step * 2).min(STEP_ROWS);
            for (key, row) in rows {
                if test(self, &key, &row) {
                    return true;
                }
                start.clear();
                T::write_key(&key, &mut start);
                start.push(0);
            }
            if is_last {
                return false;
            }
        }
    }

    /// A V1 image that is seen in a name. Where names that are seen disagree on what the image of that id is, nobody can
    /// say which is meant, and it is none.
    fn image(&mut self, id: &ImageId) -> Option<Place> {
        let mut found: Option<(Numbered, ImageRow)> = None;
        for (of, row) in self.images(id) {
            if !self.eyes.reach(&of.name) {
                continue;
            }
            match &found {
                None => found = Some((of, row)),
                Some((_, known))
                    if (known.image.json, known.image.layer) == (row.image.json, row.image.layer) => {}
                Some(_) => return None,
            }
        }
        found.map(|(of, row)| Place::Image { of, row })
    }

    /// All names that hold a V1 image of an id, seen or not, and what they hold.
    pub(crate) fn images(&mut self, id: &ImageId) -> Vec<(Numbered, ImageRow)> {
        let begin = prefix::images_by_id(self.repository, id);
        let rows = self.rows.scan_prefix::<ImagesById>(&begin, None, usize::MAX);
        let found = rows.into_iter().filter_map(|((_, _, id), json)| {
            let (_, name) = self.rows.row::<NamesById>(&id)?;
            if name.is_waiting_room() {
                return None;
            }
            let row = self.rows.row::<Images>(&(id, json))?;
            Some((Numbered { name, id }, row))
        });
        found.collect()
    }

    /// A folder as it is seen: by whoever may read a name that it is of, or one that is below it; what is empty, by whoever
    /// may read what it was of. Who sees it for a name below it alone is told when and by whom the folder of that was made:
    /// who else has something there is not for them to know.
    fn seen_folder(&mut self, path: &TreePath, row: FolderRow) -> Option<FolderRow> {
        if path.as_str() == IMAGES || path.as_str().starts_with(".images/") {
            return self.sees_folder_of_images(path, &row).then_some(row);
        }
        if self.eyes.reach_all() || path.meanings().iter().any(|meaning| self.sees_meaning(meaning, &row)) {
            return Some(row);
        }
        let name = self.first_name_below(path)?;
        let below =
            |folder: &str| folder.strip_prefix(path.as_str()).is_some_and(|rest| rest.starts_with('/'));
        let mut folders =
            [name.to_string(), tree::v1_folder(&name)].into_iter().filter(|folder| below(folder));
        let first = folders.find_map(|folder| self.rows.row::<Folders>(&(self.repository.clone(), folder)));
        Some(match first {
            Some(FolderRow { created_at, created_by, .. }) => FolderRow { created_at, created_by, ..row },
            // Nothing of it is left.
            None => row,
        })
    }

    fn sees_folder_of_images(&mut self, path: &TreePath, row: &FolderRow) -> bool {
        let (mut of_none, mut seen) = (row.children == 0 && self.eyes.reach_all(), false);
        if let Some(Meaning::Image(id)) = path.meanings().first() {
            seen = self.image(id).is_some();
        } else if self.eyes.reach_all() {
            of_none = true;
        } else if let Some(begin) = images_below(self.repository, path) {
            seen = self.any::<ImagesById>(begin, |tree, (_, id, _), _| tree.image(id).is_some());
        }
        of_none || seen
    }

    fn sees_meaning(&mut self, meaning: &Meaning, row: &FolderRow) -> bool {
        if !meaning.repo_name().is_some_and(|name| self.eyes.reach(name)) {
            return false;
        }
        match meaning {
            Meaning::Name(name) | Meaning::V1Name(name) => self.ever_numbered(name).is_some(),
            Meaning::Tag(name, tag) | Meaning::V1Tag(name, tag) => {
                self.place(meaning).is_some() || (row.children == 0 && self.was_tag(name, tag))
            }
            Meaning::Untagged(..) | Meaning::Image(_) => self.place(meaning).is_some(),
        }
    }

    /// Whether a name ever had a tag.
    fn was_tag(&mut self, name: &RepoName, tag: &Tag) -> bool {
        let id = self.ever_numbered(name);
        id.is_some_and(|id| {
            !self.rows.scan_prefix::<TagHistory>(&prefix::tag_history(id, tag), None, 1).is_empty()
        })
    }

    /// A name below a folder that is reached and is there, or was.
    fn first_name_below(&mut self, path: &TreePath) -> Option<RepoName> {
        let begins = names_below(path).into_iter().map(|begin| {
            let mut key = prefix::name_ids(self.repository);
            key.extend_from_slice(begin.as_bytes());
            key
        });
        let begins: Vec<Vec<u8>> = begins.collect();
        let path = path.as_str();
        let mut first = None;
        begins.into_iter().any(|begin| {
            self.any::<NameIds>(begin, |looking, (_, name), _| {
                let below = name.as_str().strip_prefix(path).is_some_and(|rest| rest.starts_with('/'));
                let v1_below =
                    || tree::v1_folder(name).strip_prefix(path).is_some_and(|rest| rest.starts_with('/'));
                let found = !name.is_waiting_room() && looking.eyes.reach(name) && (below || v1_below());
                if found {
                    first = Some(name.clone());
                }
                found
            })
        });
        first
    }
}

pub(super) fn folder_item(path: TreePath, row: FolderRow) -> Item {
    Item { path, at: row.created_at, by: Some(row.created_by), file: None }
}

/// What names begin with that may be below a folder: some that are not begin so, too.
pub(crate) fn names_below(path: &TreePath) -> Vec<String> {
    let mut begins = vec![format!("{path}/")];
    if let Some(rest) = path.as_str().strip_prefix(V1_NAMES) {
        match rest.strip_prefix('/') {
            None if rest.is_empty() => begins.push(String::new()),
            // What is shown so is called so, or has one part alone.
            Some("library") => begins.push(String::new()),
            Some(rest) => begins.push(format!("{rest}/")),
            None => {}
        }
    }
    begins
}

/// Where the images begin that stand below `.images` or one of its folders.
pub(crate) fn images_below(repository: &RepoKey, path: &TreePath) -> Option<Vec<u8>> {
    let id = ImageId::from_bytes([0; 32]);
    let mut begin = prefix::images_by_id(repository, &id);
    begin.truncate(begin.len() - id.as_bytes().len());
    let mut components = path.components().skip(1);
    if let Some(shard) = components.next() {
        begin.push(u8::from_str_radix(shard, 16).ok()?);
    }
    Some(begin)
}
