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
use crate::tables::{self, NameId, Table};

/// The table that the rows of all tables are kept in.
pub type Stored<'t> = redb::Table<'t, &'static [u8], &'static [u8]>;

/// The same, for reading at one commit.
pub type StoredSnapshot = redb::ReadOnlyTable<&'static [u8], &'static [u8]>;

/// Changes in key order: a row to write, or `None` for a key to remove.
pub type Changes = Vec<(Vec<u8>, Option<Vec<u8>>)>;

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
    fn map(maps: &mut Maps) -> &mut Self::Map;
}

#[doc(hidden)]
pub trait SlotMap<K, R>: Default {
    fn slot(&mut self, key: &K) -> Option<&mut Slot<R>>;
    fn set(&mut self, key: K, slot: Slot<R>);
    fn unset(&mut self, key: &K);
    fn slots<'s>(&'s self) -> impl Iterator<Item = (&'s K, &'s Slot<R>)>
    where
        K: 's,
        R: 's;
    fn len(&self) -> usize;
}

impl<K: Hash + Eq, R> SlotMap<K, R> for HashMap<K, Slot<R>> {
    fn slot(&mut self, key: &K) -> Option<&mut Slot<R>> {
        self.get_mut(key)
    }
    fn set(&mut self, key: K, slot: Slot<R>) {
        self.insert(key, slot);
    }
    fn unset(&mut self, key: &K) {
        self.remove(key);
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

impl<K: Ord, R> SlotMap<K, R> for BTreeMap<K, Slot<R>> {
    fn slot(&mut self, key: &K) -> Option<&mut Slot<R>> {
        self.get_mut(key)
    }
    fn set(&mut self, key: K, slot: Slot<R>) {
        self.insert(key, slot);
    }
    fn unset(&mut self, key: &K) {
        self.remove(key);
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

macro_rules! maps {
    ($($kind:ident $field:ident: $table:ident),* $(,)?) => {
        #[derive(Debug, Default)]
        #[doc(hidden)]
        pub struct Maps {
            $($field: <tables::$table as Tracked>::Map,)*
        }

        impl Maps {
            fn len(&self) -> usize {
                0 $(+ self.$field.len())*
            }

            fn changes(&self, out: &mut Changes) {
                $(collect::<tables::$table>(&self.$field, out);)*
            }
        }

        $(impl Tracked for tables::$table {
            type Map = $kind<<tables::$table as Table>::Key, Slot<<tables::$table as Table>::Row>>;
            fn map(maps: &mut Maps) -> &mut Self::Map {
                &mut maps.$field
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
    HashMap blobs: Blobs,
    HashMap holders: Holders,
    HashMap orphans: Orphans,
    HashMap folders: Folders,
    HashMap empty_folders: EmptyFolders,
    HashMap properties: Properties,
    HashMap name_usage: NameUsage,
    HashMap tags: Tags,
    HashMap tag_history: TagHistory,
    HashMap manifests: Manifests,
    HashMap contents: Contents,
    HashMap references: References,
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

fn collect<T: Tracked>(map: &T::Map, out: &mut Changes) {
    for (key, slot) in map.slots() {
        if !slot.dirty || (slot.row.is_none() && !slot.below) {
            continue;
        }
        let mut bytes = Vec::with_capacity(96);
        T::write_key(key, &mut bytes);
        let row = slot.row.as_ref().map(|row| {
            let mut bytes = Vec::with_capacity(64);
            encode_row(row, &mut bytes);
            bytes
        });
        out.push((bytes, row));
    }
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

    fn load<T: Tracked>(&mut self, key: &T::Key) {
        if T::map(&mut self.maps).slot(key).is_some() {
            return;
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
        T::map(&mut self.maps).set(key.clone(), Slot { row, dirty: false, below });
    }

    /// A row, where it stands.
    pub(crate) fn get<T: Tracked>(&mut self, key: &T::Key) -> Option<&T::Row> {
        self.load::<T>(key);
        T::map(&mut self.maps).slot(key).and_then(|slot| slot.row.as_ref())
    }

    /// Changes a row in place; `None` goes in where there is none, and coming out removes it.
    pub(crate) fn update<T: Tracked, O>(
        &mut self,
        key: &T::Key,
        change: impl FnOnce(&mut Option<T::Row>) -> O,
    ) -> O {
        self.load::<T>(key);
        match T::map(&mut self.maps).slot(key) {
            Some(slot) => {
                slot.dirty = true;
                change(&mut slot.row)
            }
            // Loaded just above.
            None => change(&mut None),
        }
    }

    /// Puts a row, whatever was there.
    pub(crate) fn put<T: Tracked>(&mut self, key: &T::Key, row: T::Row) {
        match T::map(&mut self.maps).slot(key) {
            Some(slot) => {
                slot.row = Some(row);
                slot.dirty = true;
            }
            None => {
                T::map(&mut self.maps).set(key.clone(), Slot { row: Some(row), dirty: true, below: true });
            }
        }
    }

    /// Puts a row under a key that is new to the table, as a seq makes it.
    pub(crate) fn put_new<T: Tracked>(&mut self, key: &T::Key, row: T::Row) {
        match T::map(&mut self.maps).slot(key) {
            Some(slot) => {
                slot.row = Some(row);
                slot.dirty = true;
            }
            None => {
                T::map(&mut self.maps).set(key.clone(), Slot { row: Some(row), dirty: true, below: false });
            }
        }
    }

    /// Removes a row, if it is there.
    pub(crate) fn remove<T: Tracked>(&mut self, key: &T::Key) {
        let map = T::map(&mut self.maps);
        match map.slot(key) {
            Some(slot) if !slot.below => map.unset(key),
            Some(slot) => {
                slot.row = None;
                slot.dirty = true;
            }
            None => map.set(key.clone(), Slot { row: None, dirty: true, below: true }),
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
        let mut changes = Vec::new();
        self.maps.changes(&mut changes);
        changes.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
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
pub(crate) fn write_changes(
    table: &mut Stored<'_>,
    changes: &[(Vec<u8>, Option<Vec<u8>>)],
) -> Result<(), StorageError> {
    for (key, row) in changes {
        match row {
            Some(row) => table.insert(key.as_slice(), row.as_slice())?,
            None => table.remove(key.as_slice())?,
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
        for (key, slot) in T::map(&mut self.maps).slots() {
            let mut bytes = Vec::with_capacity(96);
            T::write_key(key, &mut bytes);
            if bytes.as_slice() < start || bytes.as_slice() >= end {
                continue;
            }
            if let Some(row) = &slot.row {
                found.insert(bytes.clone(), (key.clone(), row.clone()));
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
