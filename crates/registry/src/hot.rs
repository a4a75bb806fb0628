//! What is asked for most, kept in memory as it is served: manifests, tag listings and V1 images with their JSON.
//!
//! An entry is tied to the count of changes of its name at the time its data was read. The writer counts a
//! change of every name that a commit touched, after the commit and before it answers anyone; so an entry
//! that was read before is never served after somebody was told of the change. Counts are shared by names
//! that hash alike, which costs a read now and then and nothing else.

use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use foldhash::fast::RandomState;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use supercargo_eventlog::Event;
use supercargo_model::{ImageId, Reference, RepoKey, RepoName};

use crate::v1::V1ImageInfo;
use crate::{StoredManifest, TagsBody};

/// How many counts names share.
const SLOTS: usize = 4096;

/// What is kept, and under what it is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum HotKey {
    Manifest(RepoKey, RepoName, Reference),
    Tags(RepoKey, RepoName, Option<String>, usize),
    Image(RepoKey, RepoName, ImageId),
}

#[derive(Debug, Clone)]
pub(crate) enum HotValue {
    Manifest(Arc<StoredManifest>),
    Tags(Arc<TagsBody>),
    Image(Arc<V1ImageInfo>),
}

#[derive(Debug, Clone)]
struct Entry {
    changes: u64,
    value: HotValue,
}

#[derive(Debug, Clone)]
struct ByBytes;

impl Weighter<HotKey, Entry> for ByBytes {
    fn weight(&self, _: &HotKey, entry: &Entry) -> u64 {
        // What the maps and the entry itself take, and then the bytes.
        512 + match &entry.value {
            HotValue::Manifest(manifest) => manifest.bytes.len() as u64,
            HotValue::Tags(tags) => tags.body.len() as u64,
            HotValue::Image(image) => image.image.json_size,
        }
    }
}

/// The memory.
#[derive(Debug)]
pub(crate) struct Hot {
    cache: Cache<HotKey, Entry, ByBytes, RandomState>,
    hasher: RandomState,
    changes: Box<[AtomicU64]>,
    hits: AtomicU64,
    misses: AtomicU64,
}

impl Hot {
    /// A memory of about so many bytes.
    pub(crate) fn new(bytes: u64) -> Hot {
        // An entry of average size decides how many the maps expect.
        let expected = usize::try_from(bytes / 2048).unwrap_or(usize::MAX).clamp(16, 1 << 16);
        Hot {
            cache: Cache::with(
                expected,
                bytes,
                ByBytes,
                RandomState::default(),
                quick_cache::sync::DefaultLifecycle::default(),
            ),
            hasher: RandomState::default(),
            changes: (0..SLOTS).map(|_| AtomicU64::new(0)).collect(),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
        }
    }

    fn slot(&self, repository: &RepoKey, name: &RepoName) -> &AtomicU64 {
        let hash = self.hasher.hash_one((repository, name));
        &self.changes[(hash >> 52) as usize % SLOTS]
    }

    /// How often the name changed: to be read before the snapshot that an entry is made from.
    pub(crate) fn changes(&self, repository: &RepoKey, name: &RepoName) -> u64 {
        self.slot(repository, name).load(Ordering::Acquire)
    }

    /// What is kept under the key, if it is still so.
    pub(crate) fn get(&self, key: &HotKey) -> Option<HotValue> {
        let (HotKey::Manifest(repository, name, _)
        | HotKey::Tags(repository, name, ..)
        | HotKey::Image(repository, name, _)) = key;
        let now = self.changes(repository, name);
        let found = self.cache.get(key).filter(|entry| entry.changes == now).map(|entry| entry.value);
        let counter = if found.is_some() { &self.hits } else { &self.misses };
        counter.fetch_add(1, Ordering::Relaxed);
        found
    }

    /// Keeps what was read when the name had changed so often.
    pub(crate) fn put(&self, key: HotKey, changes: u64, value: HotValue) {
        self.cache.insert(key, Entry { changes, value });
    }

    /// A commit holds these events.
    pub(crate) fn changed<'e>(&self, events: impl Iterator<Item = &'e Event>) {
        let count = |repository: &RepoKey, name: &RepoName| {
            self.slot(repository, name).fetch_add(1, Ordering::Release);
        };
        for event in events {
            match event {
                Event::OrphansCollected { contents, .. } => {
                    for contents in contents {
                        count(&contents.repository, &contents.name);
                    }
                }
                Event::BlobRotFound { .. } => self.changed_all(),
                // Who may read what is not changed by a blob or a folder.
                _ => {
                    if let (Some(repository), Some(name)) = (event.repository(), event.name()) {
                        count(repository, name);
                    }
                }
            }
        }
    }

    /// Anything may have changed.
    pub(crate) fn changed_all(&self) {
        for slot in &self.changes {
            slot.fetch_add(1, Ordering::Release);
        }
    }

    /// How often something was found, and how often not.
    pub(crate) fn hits_and_misses(&self) -> (u64, u64) {
        (self.hits.load(Ordering::Relaxed), self.misses.load(Ordering::Relaxed))
    }
}
