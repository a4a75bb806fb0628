//! The state that a group of commands is decided and folded in: rows read once from the tables below, kept
//! decoded, changed in memory, and written back in key order when the group is whole.
//!
//! In memory keys are packed ([`crate::numbers`]), and slots of one table lie side by side.
//!
//! The same type folds live, over the write transaction; rebuilds, over fresh tables, in large batches; and
//! folds into memory alone, over [`Empty`]. A storage error while reading can't stop a fold half way, so it
//! is kept and said by [`Working::finish`], before anything is written.

use std::collections::BTreeMap;
use std::hash::Hash;

use foldhash::fast::RandomState;
use indexmap::IndexMap;
use redb::{ReadableTable, StorageError};
use supercargo_model::Digest;

use crate::changes::Changes;
use crate::codec::decode_row;
use crate::numbers::{Numbers, Pack};
use crate::tables::{self, NameId, Table};

/// The table that the rows of all tables are kept in.
pub type Stored<'t> = redb::Table<'t, &'static [u8], &'static [u8]>;

/// The same, for reading at one commit.
pub type StoredSnapshot = redb::ReadOnlyTable<&'static [u8], &'static [u8]>;

/// What lies below: rows by encoded key.
pub trait Base {
    /// Reads one row.
    ///
    /// # Errors
    /// Storage errors.
    fn get<R>(&self, key: &[u8], read: impl FnOnce(&[u8]) -> R) -> Result<Option<R>, StorageError>;

    /// Visits the rows from `start` up to but without `end`, in order, until told to stop.
    ///
    /// # Errors
    /// Storage errors.
    fn scan(
        &self,
        start: &[u8],
        end: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), StorageError>;

    /// Whether there are no rows at all, where that is known.
    fn is_empty(&self) -> bool {
        false
    }
}

/// Nothing below: for folding into memory alone.
#[derive(Debug)]
pub struct Empty;

impl Base for Empty {
    fn get<R>(&self, _: &[u8], _: impl FnOnce(&[u8]) -> R) -> Result<Option<R>, StorageError> {
        Ok(None)
    }

    fn scan(&self, _: &[u8], _: &[u8], _: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<(), StorageError> {
        Ok(())
    }

    fn is_empty(&self) -> bool {
        true
    }
}

macro_rules! base_of_table {
    ($table:ty) => {
        impl Base for $table {
            fn get<R>(&self, key: &[u8], read: impl FnOnce(&[u8]) -> R) -> Result<Option<R>, StorageError> {
                Ok(ReadableTable::get(self, key)?.map(|row| read(row.value())))
            }

            fn scan(
                &self,
                start: &[u8],
                end: &[u8],
                visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
            ) -> Result<(), StorageError> {
                for row in ReadableTable::range(self, start..end)? {
                    let (key, value) = row?;
                    if !visit(key.value(), value.value()) {
                        break;
                    }
                }
                Ok(())
            }
        }
    };
}

base_of_table!(Stored<'_>);
base_of_table!(StoredSnapshot);

/// What only reads may lie below too: nothing that is folded over it can reach it.
impl<B: Base> Base for &B {
    fn get<R>(&self, key: &[u8], read: impl FnOnce(&[u8]) -> R) -> Result<Option<R>, StorageError> {
        (**self).get(key, read)
    }

    fn scan(
        &self,
        start: &[u8],
        end: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), StorageError> {
        (**self).scan(start, end, visit)
    }

    fn is_empty(&self) -> bool {
        (**self).is_empty()
    }
}

/// Rows to decide by: the working state's, or a snapshot's.
pub trait Rows {
    /// One row.
    fn row<T: Tracked>(&mut self, key: &T::Key) -> Option<T::Row>;

    /// Rows whose encoded keys lie from `start` up to but without `end`, in order, at most `limit`.
    fn scan<T: Tracked>(&mut self, start: &[u8], end: &[u8], limit: usize) -> Vec<(T::Key, T::Row)>;

    /// Rows whose encoded keys begin with a prefix and come after `after`, in order, at most `limit`.
    fn scan_prefix<T: Tracked>(
        &mut self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Vec<(T::Key, T::Row)> {
        let start = match after {
            // The shortest key after it.
            Some(after) => [after, &[0]].concat(),
            None => prefix.to_vec(),
        };
        self.scan::<T>(&start, &prefix_end(prefix), limit)
    }
}

/// The first key that does not begin with the prefix any more.
pub fn prefix_end(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return end;
        }
    }
    // A prefix of nothing but 0xff: no table has such a number.
    vec![u8::MAX; prefix.len() + 1]
}

#[derive(Debug, Clone)]
#[doc(hidden)]
pub struct Slot<R> {
    row: Option<R>,
    /// Whether the row differs from what lies below.
    dirty: bool,
    /// Whether there may be a row below.
    below: bool,
}

/// A table whose rows the working state tracks. Sealed by what it hides: all tables of this crate.
pub trait Tracked: Table<Key: Pack> {
    #[doc(hidden)]
    type Map: SlotMap<Packed<Self>, Self::Row>;
    #[doc(hidden)]
    fn map(maps: &mut Maps) -> &mut Self::Map;
}

type Packed<T> = <<T as Table>::Key as Pack>::Packed;

#[doc(hidden)]
pub trait SlotMap<K, R>: Default + IntoIterator<Item = (K, Slot<R>)> {
    fn slot(&mut self, key: K, absent: impl FnOnce() -> Slot<R>) -> &mut Slot<R>;
    fn known(&mut self, key: K) -> Option<&mut Slot<R>>;
    fn unset(&mut self, key: K);
    fn slots<'s>(&'s self) -> impl Iterator<Item = (&'s K, &'s Slot<R>)>
    where
        K: 's,
        R: 's;
    fn len(&self) -> usize;
}

/// Slots side by side in the order in which they came, as what is pushed together is changed together.
type SlotsByHash<K, R> = IndexMap<K, Slot<R>, RandomState>;
type SlotsInOrder<K, R> = BTreeMap<K, Slot<R>>;

macro_rules! slot_map {
    ($map:ident, $remove:ident, $($bound:tt)+) => {
        impl<K: $($bound)+, R> SlotMap<K, R> for $map<K, R> {
            fn slot(&mut self, key: K, absent: impl FnOnce() -> Slot<R>) -> &mut Slot<R> {
                self.entry(key).or_insert_with(absent)
            }
            fn known(&mut self, key: K) -> Option<&mut Slot<R>> {
                self.get_mut(&key)
            }
            fn unset(&mut self, key: K) {
                self.$remove(&key);
            }
            fn slots<'s>(&'s self) -> impl Iterator<Item = (&'s K, &'s Slot<R>)>
            where
                K: 's,
                R: 's,
            {
                self.iter()
            }
            fn len(&self) -> usize {
                self.len()
            }
        }
    };
}

slot_map!(SlotsByHash, swap_remove, Hash + Eq);
slot_map!(SlotsInOrder, remove, Ord);

macro_rules! maps {
    ($($kind:ident $field:ident: $table:ident),* $(,)?) => {
        #[derive(Debug, Default)]
        #[doc(hidden)]
        pub struct Maps {
            $($field: <tables::$table as Tracked>::Map,)*
        }

        impl Maps {
            fn bytes(&self) -> usize {
                0 $(+ self.$field.len() * slot_bytes::<tables::$table>())*
            }

            /// Each table's memory is given back before the next one's bytes are made.
            fn changes(self, numbers: &Numbers, out: &mut Changes) {
                $(collect::<tables::$table>(self.$field, numbers, out);)*
            }
        }

        $(impl Tracked for tables::$table {
            type Map = $kind<Packed<tables::$table>, <tables::$table as Table>::Row>;
            fn map(maps: &mut Maps) -> &mut Self::Map {
                &mut maps.$field
            }
        })*
    };
}

maps! {
    SlotsByHash counters: Counters,
    SlotsByHash repositories: Repositories,
    SlotsByHash usage: UsageByRepository,
    SlotsByHash names: Names,
    SlotsByHash name_ids: NameIds,
    SlotsByHash names_by_id: NamesById,
    SlotsByHash blobs: Blobs,
    SlotsByHash holders: Holders,
    SlotsByHash orphans: Orphans,
    SlotsByHash folders: Folders,
    SlotsByHash empty_folders: EmptyFolders,
    SlotsByHash properties: Properties,
    SlotsByHash name_usage: NameUsage,
    SlotsByHash tags: Tags,
    SlotsByHash tag_history: TagHistory,
    SlotsByHash manifests: Manifests,
    SlotsByHash contents: Contents,
    SlotsByHash references: References,
    SlotsByHash users: Users,
    SlotsByHash administrators: Administrators,
    SlotsByHash groups: Groups,
    SlotsByHash members: Members,
    SlotsByHash memberships: Memberships,
    SlotsByHash tokens: Tokens,
    SlotsByHash tokens_of: TokensOf,
    SlotsByHash tokens_by_expiry: TokensByExpiry,
    SlotsByHash permissions: Permissions,
    SlotsByHash images: Images,
    SlotsByHash images_by_id: ImagesById,
    SlotsByHash views: Views,
    SlotsByHash layers: Layers,
    SlotsByHash property_values: PropertyValues,
    SlotsByHash tag_names: TagNames,
    SlotsByHash migrations: Migrations,
    SlotsByHash blob_hashes: BlobHashes,
    SlotsByHash blobs_by_md5: BlobsByMd5,
    SlotsByHash blobs_by_sha1: BlobsBySha1,
    SlotsByHash config_labels: ConfigLabels,
    SlotsByHash label_values: LabelValues,
    SlotsByHash permission_targets: PermissionTargets,
    // The only table that a fold looks through.
    SlotsInOrder referrers: Referrers,
}

/// What a slot takes in a map, with its key, its hash and its place in the index.
const fn slot_bytes<T: Tracked>() -> usize {
    size_of::<(Packed<T>, Slot<T::Row>, u64, usize)>()
}

fn collect<T: Tracked>(map: T::Map, numbers: &Numbers, out: &mut Changes) {
    for (key, slot) in map {
        if slot.dirty && (slot.row.is_some() || slot.below) {
            out.push::<T>(&T::Key::unpack(key, numbers), slot.row.as_ref());
        }
    }
}

/// The tables as they stand inside a group.
#[derive(Debug)]
pub struct Working<B> {
    base: B,
    /// Whether there are no rows below at all.
    bare: bool,
    maps: Maps,
    numbers: Numbers,
    /// About what rows take besides their own sizes.
    bytes_beside: usize,
    error: Option<StorageError>,
    key: Vec<u8>,
}

impl<B: Base> Working<B> {
    /// A working state over what lies below, with nothing changed yet.
    pub fn new(base: B) -> Working<B> {
        let bare = base.is_empty();
        Working {
            base,
            bare,
            maps: Maps::default(),
            numbers: Numbers::default(),
            bytes_beside: 0,
            error: None,
            key: Vec::with_capacity(128),
        }
    }

    /// About how many bytes of memory its rows take. What is removed again may still be counted.
    pub fn bytes_held(&self) -> usize {
        self.maps.bytes() + self.numbers.bytes() + self.bytes_beside
    }

    /// A row's slot, read from below where it is not known yet.
    fn slot<T: Tracked>(&mut self, key: &T::Key) -> &mut Slot<T::Row> {
        let packed = key.pack(&mut self.numbers);
        T::map(&mut self.maps).slot(packed, || {
            if self.bare {
                return Slot { row: None, dirty: false, below: false };
            }
            self.key.clear();
            T::write_key(key, &mut self.key);
            let row = match self.base.get(&self.key, decode_row::<T::Row>) {
                Ok(Some(Some(row))) => Some(row),
                Ok(Some(None)) => {
                    self.error.get_or_insert_with(|| StorageError::Corrupted(undecodable::<T>()));
                    None
                }
                Ok(None) => None,
                Err(e) => {
                    self.error.get_or_insert(e);
                    None
                }
            };
            let below = row.is_some();
            self.bytes_beside += row.as_ref().map_or(0, T::row_bytes_beside);
            Slot { row, dirty: false, below }
        })
    }

    /// A row, where it stands.
    pub(crate) fn get<T: Tracked>(&mut self, key: &T::Key) -> Option<&T::Row> {
        self.slot::<T>(key).row.as_ref()
    }

    /// Changes a row in place; `None` goes in where there is none, and coming out removes it.
    pub(crate) fn update<T: Tracked, O>(
        &mut self,
        key: &T::Key,
        change: impl FnOnce(&mut Option<T::Row>) -> O,
    ) -> O {
        let slot = self.slot::<T>(key);
        slot.dirty = true;
        change(&mut slot.row)
    }

    /// Puts a row, whatever was there.
    pub(crate) fn put<T: Tracked>(&mut self, key: &T::Key, row: T::Row) {
        self.set::<T>(key, row, !self.bare);
    }

    /// Puts a row where there is none, neither here nor below. It is for the fold to know that: what it
    /// removes again in the same group then never reaches the table.
    pub(crate) fn put_new<T: Tracked>(&mut self, key: &T::Key, row: T::Row) {
        self.set::<T>(key, row, false);
    }

    fn set<T: Tracked>(&mut self, key: &T::Key, row: T::Row, below: bool) {
        let packed = key.pack(&mut self.numbers);
        self.bytes_beside += T::row_bytes_beside(&row);
        let slot = T::map(&mut self.maps).slot(packed, || Slot { row: None, dirty: true, below });
        slot.row = Some(row);
        slot.dirty = true;
    }

    /// Removes a row, if it is there.
    pub(crate) fn remove<T: Tracked>(&mut self, key: &T::Key) {
        let packed = key.pack(&mut self.numbers);
        let map = T::map(&mut self.maps);
        match map.known(packed) {
            Some(slot) if !slot.below => map.unset(packed),
            Some(slot) => {
                slot.row = None;
                slot.dirty = true;
            }
            None if !self.bare => {
                map.slot(packed, || Slot { row: None, dirty: true, below: true });
            }
            None => {}
        }
    }

    /// The manifests that name a subject.
    pub(crate) fn referrers_of(&mut self, id: NameId, subject: Digest) -> Vec<Digest> {
        let prefix = tables::prefix::referrers(id, &subject);
        let mut found = Vec::new();
        let mut visit = |key: &[u8], _: &[u8]| {
            found.extend(tables::Referrers::read_key(key).map(|(_, _, referrer)| referrer));
            true
        };
        if let Err(e) = self.base.scan(&prefix, &prefix_end(&prefix), &mut visit) {
            self.error.get_or_insert(e);
        }
        let map = &self.maps.referrers;
        let subject = subject.pack(&mut self.numbers);
        found.retain(|referrer| !map.contains_key(&(id, subject, referrer.pack(&mut self.numbers))));
        found.extend(
            map.range((id, subject, u32::MIN)..=(id, subject, u32::MAX))
                .filter(|(_, slot)| slot.row.is_some())
                .map(|((_, _, referrer), _)| Digest::unpack(*referrer, &self.numbers)),
        );
        found.sort_unstable();
        found
    }

    /// What changed, in key order: rows to write, and keys to remove.
    ///
    /// # Errors
    /// The first storage error that was met while reading; nothing may be written then.
    pub fn finish(self) -> Result<(B, Changes), StorageError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        let mut changes = Changes::default();
        self.maps.changes(&self.numbers, &mut changes);
        changes.sort();
        Ok((self.base, changes))
    }
}

impl Working<Stored<'_>> {
    /// Writes what changed into the table below.
    ///
    /// # Errors
    /// Storage errors; the transaction must be given up then.
    pub fn flush(self) -> Result<(), StorageError> {
        let (mut table, changes) = self.finish()?;
        changes.write(&mut table)
    }
}

fn undecodable<T: Table>() -> String {
    format!("a row of table {} does not decode; rebuild the tables with `supercargo replay`", T::NAME)
}

impl<B: Base> Rows for Working<B> {
    fn row<T: Tracked>(&mut self, key: &T::Key) -> Option<T::Row> {
        self.get::<T>(key).cloned()
    }

    fn scan<T: Tracked>(&mut self, start: &[u8], end: &[u8], limit: usize) -> Vec<(T::Key, T::Row)> {
        let mut found: BTreeMap<Vec<u8>, (T::Key, T::Row)> = BTreeMap::new();
        let mut overlaid = foldhash::HashSet::default();
        // What was only read is as it is below. A long decision reads much, and scans between.
        for (key, slot) in T::map(&mut self.maps).slots().filter(|(_, slot)| slot.dirty) {
            let key = T::Key::unpack(*key, &self.numbers);
            let mut bytes = Vec::with_capacity(96);
            T::write_key(&key, &mut bytes);
            if bytes.as_slice() < start || bytes.as_slice() >= end {
                continue;
            }
            if let Some(row) = &slot.row {
                found.insert(bytes.clone(), (key, row.clone()));
            }
            overlaid.insert(bytes);
        }
        let mut from_base = 0;
        let mut corrupted = false;
        let mut visit = |key: &[u8], row: &[u8]| {
            // Rows of other tables lie between.
            if let Some(typed) = T::read_key(key).filter(|_| !overlaid.contains(key)) {
                match decode_row::<T::Row>(row) {
                    Some(row) => {
                        found.insert(key.to_vec(), (typed, row));
                        from_base += 1;
                    }
                    None => corrupted = true,
                }
            }
            from_base < limit && !corrupted
        };
        if let Err(e) = self.base.scan(start, end, &mut visit) {
            self.error.get_or_insert(e);
        }
        if corrupted {
            self.error.get_or_insert_with(|| StorageError::Corrupted(undecodable::<T>()));
        }
        found.into_values().take(limit).collect()
    }
}
