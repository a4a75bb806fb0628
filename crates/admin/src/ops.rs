//! The operations, as functions of a registry. Those that take long, or read much, block or are cut into
//! steps as their names say; nothing here knows how it was asked.

use std::ops::ControlFlow;
use std::sync::Arc;

use futures_util::stream::BoxStream;
use supercargo_eventlog::{Log, LogError, Record, RedbLog, first_at};
use supercargo_model::RepoKey;
use supercargo_model::tree::TreePath;
use supercargo_registry::search::{NumberField, Query, TextField};
use supercargo_registry::tree::{Item, Reach, RepositoryTree, Sibling, Spread};
use supercargo_registry::v1::{MayMigrate, MigrationRequest, MigrationStep};
use supercargo_registry::{Caller, Collected, Error, PromotedTag, PromotionWish, Registry, RepositoryInfo};

use crate::api::{
    Folder, FoundItem, GcParameters, GcReport, ItemInfo, ItemParameters, LISTED_MAX, LOG_PAGE_RECORDS_MAX,
    LogPage, LogQuery, MigrationParameters, NamesPage, NamesParameters, PAGE_ENTRIES_MAX,
    PromotionParameters, PropertiesChange, PruneReport, RepositoryChange, TagsPage, TagsParameters, TreeItem,
    TreePage, TreeParameters,
};

/// How many records one page looks at, at most: past it the answer says where to go on.
const LOG_SCAN_RECORDS_MAX: u64 = 100_000;
/// How many records are read at once, going backwards.
const LOG_CHUNK_RECORDS: u64 = 512;

fn log_error(error: &LogError) -> Error {
    Error::Internal(error.to_string())
}

/// The record of a seq. Blocks.
///
/// # Errors
/// [`Error::RecordUnknown`].
pub fn log_record(log: &RedbLog, seq: u64) -> Result<Record, Error> {
    let mut records = log.read(seq..seq.saturating_add(1)).map_err(|e| log_error(&e))?;
    match records.next() {
        Some(record) => record.map_err(|e| log_error(&e)),
        None => Err(Error::RecordUnknown { seq, size: log.size().map_err(|e| log_error(&e))? }),
    }
}

/// A page of records. Blocks.
///
/// # Errors
/// [`Error::Invalid`] for a kind that is none; errors of the storage.
pub fn log_page(log: &RedbLog, query: &LogQuery) -> Result<LogPage, Error> {
    if let Some(kind) = query.kind.as_deref().filter(|kind| !supercargo_eventlog::Event::KINDS.contains(kind))
    {
        let kinds = supercargo_eventlog::Event::KINDS.join(", ");
        return Err(Error::Invalid(format!("{kind} is no kind of event; there are {kinds}")));
    }
    let size = log.size().map_err(|e| log_error(&e))?;
    let mut from = query.from.unwrap_or(0);
    let mut to = query.to.unwrap_or(size).min(size);
    if let Some(since) = query.since {
        from = from.max(first_at(log, size, |at| at >= since).map_err(|e| log_error(&e))?);
    }
    if let Some(until) = query.until {
        to = to.min(first_at(log, size, |at| at > until).map_err(|e| log_error(&e))?);
    }
    let limit = query.limit.unwrap_or(LOG_PAGE_RECORDS_MAX).min(LOG_PAGE_RECORDS_MAX);
    let mut page = LogPage { records: Vec::new(), next: None };
    if limit == 0 || from >= to {
        return Ok(page);
    }
    if query.oldest_first {
        let end = to.min(from.saturating_add(LOG_SCAN_RECORDS_MAX));
        for record in log.read(from..end).map_err(|e| log_error(&e))? {
            let record = record.map_err(|e| log_error(&e))?;
            let next = record.seq + 1;
            if query.matches(&record) {
                page.records.push(record);
                if page.records.len() == limit {
                    page.next = Some(next).filter(|next| *next < to);
                    return Ok(page);
                }
            }
        }
        page.next = Some(end).filter(|next| *next < to);
        return Ok(page);
    }
    let lowest = from.max(to.saturating_sub(LOG_SCAN_RECORDS_MAX));
    let mut end = to;
    while end > lowest {
        let start = lowest.max(end.saturating_sub(LOG_CHUNK_RECORDS));
        let chunk = log.read(start..end).map_err(|e| log_error(&e))?;
        let chunk: Vec<Record> = chunk.collect::<Result<_, _>>().map_err(|e| log_error(&e))?;
        for record in chunk.into_iter().rev() {
            let seq = record.seq;
            if query.matches(&record) {
                page.records.push(record);
                if page.records.len() == limit {
                    page.next = Some(seq).filter(|seq| *seq > from);
                    return Ok(page);
                }
            }
        }
        end = start;
    }
    page.next = Some(end).filter(|end| *end > from);
    Ok(page)
}

/// What a collection would do. Blocks.
///
/// # Errors
/// Errors of the storage.
pub fn plan_gc(registry: &Registry) -> Result<GcReport, Error> {
    let mut report = GcReport { dry_run: true, ..GcReport::default() };
    report.plan = Some(registry.plan_collection(|step| add(&mut report, step))?);
    Ok(report)
}

/// Collects, and sweeps what no record mentions. `watch` is told after each step what was done so far.
///
/// # Errors
/// [`Error::Precondition`] where `plan` is not what would be done; those of a commit.
pub async fn gc(
    registry: &Registry,
    caller: &Caller,
    parameters: &GcParameters,
    mut watch: impl FnMut(&GcReport) + Send,
) -> Result<GcReport, Error> {
    let mut report = GcReport::default();
    let each = |step| {
        add(&mut report, step);
        watch(&report);
    };
    registry.collect(caller, parameters.plan.as_deref(), each).await?;
    report.swept = registry.sweep().await?;
    Ok(report)
}

fn add(report: &mut GcReport, step: Collected) {
    report.contents += step.contents_count();
    report.blobs += step.blobs.len() as u64;
    report.bytes += step.bytes();
    let room = LISTED_MAX.saturating_sub(report.listed_blobs.len());
    report.listed_blobs.extend(step.blobs.into_iter().take(room));
    let mut room = LISTED_MAX
        .saturating_sub(report.listed_contents.iter().map(|contents| contents.digests.len()).sum::<usize>());
    for mut contents in step.contents {
        if room == 0 {
            break;
        }
        contents.digests.truncate(room);
        room -= contents.digests.len();
        report.listed_contents.push(contents);
    }
}

/// What pruning would do. Blocks.
///
/// # Errors
/// Errors of the storage.
pub fn plan_prune(registry: &Registry) -> Result<PruneReport, Error> {
    Ok(PruneReport { dry_run: true, folders: folders(registry.plan_pruning()?) })
}

/// Prunes empty folders.
///
/// # Errors
/// Those of a commit.
pub async fn prune(registry: &Registry, caller: &Caller) -> Result<PruneReport, Error> {
    Ok(PruneReport { dry_run: false, folders: folders(registry.prune(caller).await?) })
}

fn folders(pruned: Vec<(RepoKey, String)>) -> Vec<Folder> {
    pruned.into_iter().map(|(repository, path)| Folder { repository, path }).collect()
}

/// Changes some of a repository's settings.
///
/// # Errors
/// [`Error::RepositoryUnknown`], and those of a commit.
pub async fn configure_repository(
    registry: &Registry,
    caller: &Caller,
    key: &RepoKey,
    change: RepositoryChange,
) -> Result<RepositoryInfo, Error> {
    registry.configure_repository(caller, key, change).await?;
    registry.repository(key)
}

/// A page of a repository's names.
///
/// # Errors
/// [`Error::RepositoryUnknown`].
pub fn names(registry: &Registry, key: &RepoKey, parameters: &NamesParameters) -> Result<NamesPage, Error> {
    let n = parameters.n.unwrap_or(PAGE_ENTRIES_MAX).min(PAGE_ENTRIES_MAX);
    let page = registry.names(key, parameters.last.as_ref(), n)?;
    Ok(NamesPage { names: page.entries, more: page.more })
}

/// A page of a name's tags.
///
/// # Errors
/// [`Error::NameUnknown`], [`Error::RepositoryUnknown`].
pub fn tags(registry: &Registry, key: &RepoKey, parameters: &TagsParameters) -> Result<TagsPage, Error> {
    let n = parameters.n.unwrap_or(PAGE_ENTRIES_MAX).min(PAGE_ENTRIES_MAX);
    let page = registry.tag_infos(key, &parameters.name, parameters.last.as_ref(), n)?;
    Ok(TagsPage { tags: page.entries, more: page.more })
}

/// Searches the trees of all repositories that the query is about, and tells what is found, until told to stop; `stop` is
/// asked as long as nothing is. Blocks.
///
/// # Errors
/// [`Error::Invalid`] for a query that would take too much memory; errors of the storage.
pub fn search(
    registry: &Registry,
    query: &Query,
    stop: &dyn Fn() -> bool,
    mut each: impl FnMut(FoundItem) -> ControlFlow<()>,
) -> Result<(), Error> {
    registry.search(query, |_| Some(Reach::all()), stop, &mut |found| {
        let item = found.item();
        Ok(each(FoundItem {
            repository: found.repository().clone(),
            path: item.path.to_string(),
            folder: item.is_folder(),
            size: found.number(NumberField::Size),
            at: item.at,
            by: item.by.clone(),
            sha256: found.text(TextField::Sha256)?.map(std::borrow::Cow::into_owned),
            properties: found.properties()?.clone(),
        }))
    })
}

/// Promotes tags.
///
/// # Errors
/// As [`Registry::to_promote`] and [`Registry::promote`].
pub async fn promote(
    registry: &Registry,
    caller: &Caller,
    from: &RepoKey,
    parameters: &PromotionParameters,
) -> Result<Vec<PromotedTag>, Error> {
    let PromotionParameters { to, name, to_name, tag, to_tag, moved } = parameters.clone();
    let wanted = registry.to_promote(from, PromotionWish { name, to_name, tag, to_tag }, |_| true)?;
    registry.promote(caller, (from, &to), wanted, !moved).await
}

/// Migrates tags, and says now and then how far it is.
pub fn migrate(
    registry: &Arc<Registry>,
    caller: Caller,
    from: RepoKey,
    parameters: MigrationParameters,
) -> BoxStream<'static, Result<MigrationStep, Error>> {
    let MigrationParameters { to, name, tag, force } = parameters;
    registry.migrating(caller, MigrationRequest { from, to, name, tag, force }, |_| MayMigrate::Yes)
}

/// A page of a folder of a repository's tree. Blocks.
///
/// # Errors
/// [`Error::RepositoryUnknown`], [`Error::ItemUnknown`], [`Error::Invalid`] for what is no path or no folder.
pub fn tree(registry: &Arc<Registry>, key: &RepoKey, parameters: &TreeParameters) -> Result<TreePage, Error> {
    let mut tree = registry.tree(key, Reach::all())?;
    let folder = tree.known_item(&path(&parameters.path)?)?;
    if !folder.is_folder() {
        return Err(Error::Invalid(format!("{:?} is a file, not a folder", parameters.path)));
    }
    let n = parameters.n.unwrap_or(PAGE_ENTRIES_MAX).min(PAGE_ENTRIES_MAX);
    let last = parameters.last.as_deref().map(|last| match last.strip_suffix('/') {
        Some(folder) => Sibling::Folder(folder.to_owned()),
        None => Sibling::File(last.to_owned()),
    });
    let page = tree.children(&folder.path, last.as_ref(), n)?;
    let items = page.entries.iter().map(|item| listed(&mut tree, item));
    Ok(TreePage { items: items.collect::<Result<_, _>>()?, more: page.more })
}

/// All that is known of an item of a repository's tree. Blocks.
///
/// # Errors
/// [`Error::RepositoryUnknown`], [`Error::ItemUnknown`], [`Error::Invalid`] for what is no path.
pub fn item(registry: &Arc<Registry>, key: &RepoKey, parameters: &ItemParameters) -> Result<ItemInfo, Error> {
    let mut tree = registry.tree(key, Reach::all())?;
    let item = tree.known_item(&path(&parameters.path)?)?;
    Ok(ItemInfo {
        item: listed(&mut tree, &item)?,
        media_type: item.file.as_ref().map(|file| file.mime_type().to_owned()),
        digest: item.file.as_ref().and_then(|file| file.blob()).map(|(digest, _)| digest),
        properties: tree.properties(&item)?,
    })
}

/// Changes properties of an item of a repository's tree.
///
/// # Errors
/// [`Error::RepositoryUnknown`], [`Error::ItemUnknown`], [`Error::Invalid`], and those of a commit.
pub async fn change_properties(
    registry: &Arc<Registry>,
    caller: &Caller,
    key: &RepoKey,
    change: PropertiesChange,
) -> Result<(), Error> {
    let PropertiesChange { path: text, set, removed, recursive } = change;
    let (all, spread) = (Reach::all(), Spread { recursive, atomic: true });
    let change = (set.into_iter().collect(), removed);
    registry.set_properties(caller, key, (&all, &all), &path(&text)?, change, spread).await
}

/// Deletes an item of a repository's tree, with all that is below it.
///
/// # Errors
/// [`Error::RepositoryUnknown`], [`Error::ItemUnknown`], [`Error::ItemInUse`], [`Error::Invalid`], and those of a commit.
pub async fn delete_item(
    registry: &Registry,
    caller: &Caller,
    key: &RepoKey,
    parameters: &ItemParameters,
) -> Result<(), Error> {
    let all = Reach::all();
    registry.delete_item(caller, key, (&all, &all), &path(&parameters.path)?).await
}

fn path(text: &str) -> Result<TreePath, Error> {
    TreePath::parse(text.strip_suffix('/').unwrap_or(text)).map_err(|e| Error::Invalid(e.to_string()))
}

fn listed(tree: &mut RepositoryTree, item: &Item) -> Result<TreeItem, Error> {
    let (path, size) = (item.path.to_string(), tree.size(item)?);
    Ok(TreeItem { path, folder: item.is_folder(), size, at: item.at, by: item.by.clone() })
}
