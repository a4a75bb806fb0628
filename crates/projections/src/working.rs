//! The state that a group of commands is decided and folded in: rows read once from the tables below, kept
//! decoded, changed in memory, and written back in key order when the group is whole.
//!
//! The same type folds live, over the write transaction; rebuilds, over fresh tables, in large batches; and
//! folds into memory alone, over [`Empty`]. A storage error while reading can't stop a fold half way, so it
//! is kept and said by [`Working::finish`], before anything is written.

use std::collections::BTreeMap;
use std::hash::Hash;

use foldhash::HashMap;
use redb::{ReadableTable, StorageError};
use supercargo_model::Digest;

use crate::codec::{decode_row, encode_row};
use crate::packed::{Digests, Pack};
use crate::tables::{self, NameId, Table};

/// The table that the rows of all tables are kept in.
pub type Stored<'t> = redb::Table<'t, &'static [u8], &'static [u8]>;

/// The same, for reading at one commit.
pub type StoredSnapshot = redb::ReadOnlyTable<&'static [u8], &'static [u8]>;

/// Changes in key order: keys, each with a row to write, or without one to be removed. All bytes lie in one
/// piece, and so cost no allocation each.
#[derive(Debug, Default)]
pub struct Changes {
    bytes: Vec<u8>,
    places: Vec<Place>,
}

/// Where a change lies in the bytes: the key, and right behind it the row.
#[derive(Debug)]
struct Place {
    /// The key's first bytes, so that sorting hardly ever has to look at the rest.
    first: u128,
    start: usize,
    row: usize,
    end: usize,
    removed: bool,
}

impl Changes {
    fn push<T: Table>(&mut self, key: &T::Key, row: Option<&T::Row>) {
        let start = self.bytes.len();
        T::write_key(key, &mut self.bytes);
        let key = self.bytes.len();
        let mut first = [0; 16];
        let known = (key - start).min(first.len());
        first[..known].copy_from_slice(&self.bytes[start..start + known]);
        if let Some(row) = row {
            encode_row(row, &mut self.bytes);
        }
        self.places.push(Place {
            first: u128::from_be_bytes(first),
            start,
            row: key,
            end: self.bytes.len(),
            removed: row.is_none(),
        });
    }

    fn sort(&mut self) {
        let bytes = &self.bytes;
        self.places.sort_unstable_by(|a, b| {
            a.first.cmp(&b.first).then_with(|| bytes[a.start..a.row].cmp(&bytes[b.start..b.row]))
        });
    }

    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The changes, in key order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        self.places.iter().map(|place| {
            let row = (!place.removed).then(|| &self.bytes[place.row..place.end]);
            (&self.bytes[place.start..place.row], row)
        })
    }
}

impl PartialEq for Changes {
    fn eq(&self, other: &Changes) -> bool {
        self.iter().eq(other.iter())
    }
}

/// What lies below: rows by encoded key.
pub trait Base {
    /// Whether there is never anything.
    const EMPTY: bool = false;

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
}

/// Nothing below: for folding into memory alone.
#[derive(Debug)]
pub struct Empty;

impl Base for Empty {
    const EMPTY: bool = true;

    fn get<R>(&self, _: &[u8], _: impl FnOnce(&[u8]) -> R) -> Result<Option<R>, StorageError> {
        Ok(None)
    }

    fn scan(&self, _: &[u8], _: &[u8], _: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<(), StorageError> {
        Ok(())
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
    const EMPTY: bool = B::EMPTY;

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
pub trait Tracked: Table {
    #[doc(hidden)]
    type Map: SlotMap<Self::Key, Self::Row>;
    #[doc(hidden)]
    fn map(maps: &mut Maps) -> (&mut Self::Map, &mut Digests);
}

#[doc(hidden)]
pub trait SlotMap<K, R>: Default {
    fn slot(&mut self, key: &K, digests: &mut Digests) -> Option<&mut Slot<R>>;
    /// The slot, loaded first where there is none.
    fn slot_or(&mut self, key: &K, digests: &mut Digests, load: impl FnOnce() -> Slot<R>) -> &mut Slot<R>;
    fn unset(&mut self, key: &K, digests: &mut Digests);
    fn each(&self, digests: &Digests, visit: impl FnMut(&K, &Slot<R>));
    fn len(&self) -> usize;
}

/// For a map of the standard library's shape: keys as they are.
macro_rules! plain_slot_map {
    ($map:ident, $($bound:tt)+) => {
        impl<K: $($bound)+, R> SlotMap<K, R> for $map<K, Slot<R>> {
            fn slot(&mut self, key: &K, _: &mut Digests) -> Option<&mut Slot<R>> {
                self.get_mut(key)
            }
            fn slot_or(&mut self, key: &K, _: &mut Digests, load: impl FnOnce() -> Slot<R>) -> &mut Slot<R> {
                self.entry(key.clone()).or_insert_with(load)
            }
            fn unset(&mut self, key: &K, _: &mut Digests) {
                self.remove(key);
            }
            fn each(&self, _: &Digests, mut visit: impl FnMut(&K, &Slot<R>)) {
                self.iter().for_each(|(key, slot)| visit(key, slot));
            }
            fn len(&self) -> usize {
                self.len()
            }
        }
    };
}

plain_slot_map!(HashMap, Hash + Eq + Clone);
plain_slot_map!(BTreeMap, Ord + Clone);

/// A map by packed keys.
#[doc(hidden)]
#[derive(Debug)]
pub struct PackedMap<K: Pack, S>(HashMap<K::Packed, S>);

impl<K: Pack, S> Default for PackedMap<K, S> {
    fn default() -> PackedMap<K, S> {
        PackedMap(HashMap::default())
    }
}

impl<K: Pack, R> SlotMap<K, R> for PackedMap<K, Slot<R>> {
    fn slot(&mut self, key: &K, digests: &mut Digests) -> Option<&mut Slot<R>> {
        self.0.get_mut(&key.pack(digests))
    }
    fn slot_or(&mut self, key: &K, digests: &mut Digests, load: impl FnOnce() -> Slot<R>) -> &mut Slot<R> {
        self.0.entry(key.pack(digests)).or_insert_with(load)
    }
    fn unset(&mut self, key: &K, digests: &mut Digests) {
        self.0.remove(&key.pack(digests));
    }
    fn each(&self, digests: &Digests, mut visit: impl FnMut(&K, &Slot<R>)) {
        self.0.iter().for_each(|(packed, slot)| visit(&K::unpack(packed, digests), slot));
    }
    fn len(&self) -> usize {
        self.0.len()
    }
}

macro_rules! maps {
    ($($kind:ident $field:ident: $table:ident),* $(,)?) => {
        #[derive(Debug, Default)]
        #[doc(hidden)]
        pub struct Maps {
            digests: Digests,
            $($field: <tables::$table as Tracked>::Map,)*
        }

        impl Maps {
            fn len(&self) -> usize {
                0 $(+ self.$field.len())*
            }

            /// Each table's rows are let go of as soon as they are written down.
            fn changes(self, out: &mut Changes) {
                let Maps { digests, $($field,)* } = self;
                $(
                    collect::<tables::$table>(&$field, &digests, out);
                    drop($field);
                )*
            }
        }

        $(impl Tracked for tables::$table {
            type Map = $kind<<tables::$table as Table>::Key, Slot<<tables::$table as Table>::Row>>;
            fn map(maps: &mut Maps) -> (&mut Self::Map, &mut Digests) {
                (&mut maps.$field, &mut maps.digests)
            }
        })*
    };
}

maps! {
    HashMap counters: Counters,
    HashMap repositories: Repositories,
    HashMap usage: UsageByRepository,
    HashMap names: Names,
    HashMap name_ids: NameIds,
    HashMap names_by_id: NamesById,
    PackedMap blobs: Blobs,
    PackedMap holders: Holders,
    PackedMap orphans: Orphans,
    HashMap folders: Folders,
    HashMap empty_folders: EmptyFolders,
    HashMap properties: Properties,
    HashMap name_usage: NameUsage,
    HashMap tags: Tags,
    HashMap tag_history: TagHistory,
    PackedMap manifests: Manifests,
    PackedMap contents: Contents,
    PackedMap references: References,
    HashMap users: Users,
    HashMap administrators: Administrators,
    HashMap groups: Groups,
    HashMap members: Members,
    HashMap memberships: Memberships,
    HashMap tokens: Tokens,
    HashMap tokens_of: TokensOf,
    HashMap tokens_by_expiry: TokensByExpiry,
    HashMap permissions: Permissions,
    // The only table that a fold looks through.
    BTreeMap referrers: Referrers,
}

fn collect<T: Tracked>(map: &T::Map, digests: &Digests, out: &mut Changes) {
    map.each(digests, |key, slot| {
        if slot.dirty && (slot.row.is_some() || slot.below) {
            out.push::<T>(key, slot.row.as_ref());
        }
    });
}

/// The tables as they stand inside a group.
#[derive(Debug)]
pub struct Working<B> {
    base: B,
    maps: Maps,
    error: Option<StorageError>,
    key: Vec<u8>,
}

impl<B: Base> Working<B> {
    /// A working state over what lies below, with nothing changed yet.
    pub fn new(base: B) -> Working<B> {
        Working { base, maps: Maps::default(), error: None, key: Vec::with_capacity(128) }
    }

    /// How many rows are held in memory.
    pub fn rows_held(&self) -> usize {
        self.maps.len()
    }

    /// The slot of a row, read from below where it is not held yet.
    fn slot<T: Tracked>(&mut self, key: &T::Key) -> &mut Slot<T::Row> {
        let Working { base, maps, error, key: bytes } = self;
        let (map, digests) = T::map(maps);
        map.slot_or(key, digests, || {
            if B::EMPTY {
                return Slot { row: None, dirty: false, below: false };
            }
            bytes.clear();
            T::write_key(key, bytes);
            let row = match base.get(bytes, decode_row::<T::Row>) {
                Ok(Some(Some(row))) => Some(row),
                Ok(Some(None)) => {
                    error.get_or_insert_with(|| StorageError::Corrupted(undecodable::<T>()));
                    None
                }
                Ok(None) => None,
                Err(e) => {
                    error.get_or_insert(e);
                    None
                }
            };
            Slot { below: row.is_some(), row, dirty: false }
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
        self.place::<T>(key, row, !B::EMPTY);
    }

    /// Puts a row under a key that is new to the table, as a seq makes it.
    pub(crate) fn put_new<T: Tracked>(&mut self, key: &T::Key, row: T::Row) {
        self.place::<T>(key, row, false);
    }

    fn place<T: Tracked>(&mut self, key: &T::Key, row: T::Row, below: bool) {
        let (map, digests) = T::map(&mut self.maps);
        let slot = map.slot_or(key, digests, || Slot { row: None, dirty: true, below });
        slot.row = Some(row);
        slot.dirty = true;
    }

    /// Removes a row, if it is there.
    pub(crate) fn remove<T: Tracked>(&mut self, key: &T::Key) {
        let (map, digests) = T::map(&mut self.maps);
        match map.slot(key, digests) {
            Some(slot) if !slot.below => map.unset(key, digests),
            Some(slot) => {
                slot.row = None;
                slot.dirty = true;
            }
            None if B::EMPTY => {}
            None => {
                map.slot_or(key, digests, || Slot { row: None, dirty: true, below: true });
            }
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
        let map = &mut self.maps.referrers;
        found.retain(|referrer| !map.contains_key(&(id, subject, *referrer)));
        let (lowest, highest) = digest_bounds();
        found.extend(
            map.range((id, subject, lowest)..=(id, subject, highest))
                .filter(|(_, slot)| slot.row.is_some())
                .map(|((_, _, referrer), _)| *referrer),
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
        self.maps.changes(&mut changes);
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
        write_changes(&mut table, &changes)
    }
}

/// Writes changes in key order.
pub(crate) fn write_changes(table: &mut Stored<'_>, changes: &Changes) -> Result<(), StorageError> {
    for (key, row) in changes.iter() {
        match row {
            Some(row) => table.insert(key, row)?,
            None => table.remove(key)?,
        };
    }
    Ok(())
}

fn undecodable<T: Table>() -> String {
    format!("a row of table {} does not decode; rebuild the tables with `supercargo replay`", T::NAME)
}

fn digest_bounds() -> (Digest, Digest) {
    let lowest = Digest::sha256([0; 32]);
    (lowest, Digest::sha512([u8::MAX; 64]))
}

impl<B: Base> Rows for Working<B> {
    fn row<T: Tracked>(&mut self, key: &T::Key) -> Option<T::Row> {
        self.get::<T>(key).cloned()
    }

    fn scan<T: Tracked>(&mut self, start: &[u8], end: &[u8], limit: usize) -> Vec<(T::Key, T::Row)> {
        let mut found: BTreeMap<Vec<u8>, (T::Key, T::Row)> = BTreeMap::new();
        let mut overlaid = foldhash::HashSet::default();
        let (map, digests) = T::map(&mut self.maps);
        map.each(digests, |key, slot| {
            let mut bytes = Vec::with_capacity(96);
            T::write_key(key, &mut bytes);
            if bytes.as_slice() < start || bytes.as_slice() >= end {
                return;
            }
            if let Some(row) = &slot.row {
                found.insert(bytes.clone(), (key.clone(), row.clone()));
            }
            overlaid.insert(bytes);
        });
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
