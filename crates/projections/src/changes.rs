//! What a working state changed, as bytes in key order, and how it is written into a table.

use std::ops::Bound;

use redb::{CursorError, ReadableTable, StorageError};

use crate::codec::encode_row;
use crate::tables::Table;
use crate::working::Stored;

/// Changes in key order: rows to write, and keys to remove.
///
/// All their bytes are in one piece of memory: a rebuild makes a million of them at a time.
#[derive(Default)]
pub struct Changes {
    bytes: Vec<u8>,
    sorted: Vec<Change>,
}

/// Where the bytes of a change are.
struct Change {
    /// The key's first bytes, which nearly always tell its place among the others.
    begin: u128,
    /// Where the key starts; the row follows it.
    start: usize,
    /// In bytes.
    key_len: u32,
    /// In bytes, or [`REMOVED`].
    row_len: u32,
}

/// Instead of a row's length: the key is removed.
const REMOVED: u32 = u32::MAX;

impl Change {
    fn key<'b>(&self, bytes: &'b [u8]) -> &'b [u8] {
        &bytes[self.start..][..self.key_len as usize]
    }

    fn row<'b>(&self, bytes: &'b [u8]) -> Option<&'b [u8]> {
        let row = self.start + self.key_len as usize;
        (self.row_len != REMOVED).then(|| &bytes[row..][..self.row_len as usize])
    }
}

impl Changes {
    /// In key order: each key with its row, or `None` for a key to remove.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&[u8], Option<&[u8]>)> {
        self.sorted.iter().map(|change| (change.key(&self.bytes), change.row(&self.bytes)))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.sorted.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.sorted.is_empty()
    }

    /// One more, in no order yet.
    pub(crate) fn push<T: Table>(&mut self, key: &T::Key, row: Option<&T::Row>) {
        let start = self.bytes.len();
        T::write_key(key, &mut self.bytes);
        let key_len = self.bytes.len() - start;
        if let Some(row) = row {
            encode_row(row, &mut self.bytes);
        }
        let row_len = row.map(|_| self.bytes.len() - start - key_len);
        let mut begin = [0; 16];
        let known = begin.len().min(key_len);
        begin[..known].copy_from_slice(&self.bytes[start..start + known]);
        self.sorted.push(Change {
            begin: u128::from_be_bytes(begin),
            start,
            // Keys and rows come from one record each, and records are far smaller.
            key_len: key_len as u32,
            row_len: row_len.map_or(REMOVED, |len| len as u32),
        });
    }

    /// Puts them in order, once all are there.
    pub(crate) fn sort(&mut self) {
        let bytes = &self.bytes;
        self.sorted
            .sort_unstable_by(|a, b| a.begin.cmp(&b.begin).then_with(|| a.key(bytes).cmp(b.key(bytes))));
    }

    /// Writes them into a table.
    ///
    /// # Errors
    /// Storage errors; the transaction must be given up then.
    pub(crate) fn write(&self, table: &mut Stored<'_>) -> Result<(), StorageError> {
        for (key, row) in self.iter() {
            match row {
                Some(row) => table.insert(key, row)?,
                None => table.remove(key)?,
            };
        }
        Ok(())
    }

    /// Fills an empty table with the rows of another and the changes made to them: page after page in key
    /// order, each as full as it gets.
    ///
    /// # Errors
    /// Storage errors; the transaction must be given up then.
    pub(crate) fn merge(&self, below: &Stored<'_>, into: &mut Stored<'_>) -> Result<(), StorageError> {
        let mut end = into.upper_bound_mut(Bound::<&[u8]>::Unbounded)?;
        let mut add = |key: &[u8], row: Option<&[u8]>| {
            let Some(row) = row else { return Ok(()) };
            end.insert_before(key, row).map_err(|e| match e {
                CursorError::Storage(e) => e,
                // Both sides are in order, and a key that is on both is taken from one.
                other => StorageError::Corrupted(other.to_string()),
            })
        };
        let mut changes = self.iter().peekable();
        for kept in below.iter()? {
            let (key, row) = kept?;
            let mut row = Some(row.value());
            while let Some((changed, new)) = changes.next_if(|(changed, _)| *changed <= key.value()) {
                if changed == key.value() {
                    row = new;
                } else {
                    add(changed, new)?;
                }
            }
            add(key.value(), row)?;
        }
        changes.try_for_each(|(changed, new)| add(changed, new))?;
        end.close()
    }
}

/// Equal where they do the same.
impl PartialEq for Changes {
    fn eq(&self, other: &Changes) -> bool {
        self.iter().eq(other.iter())
    }
}

impl std::fmt::Debug for Changes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::collection::{btree_map, vec};
    use proptest::prelude::*;
    use redb::TableDefinition;

    use super::*;
    use crate::tables::{NameId, NamesById};

    const WRITTEN: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("written");
    const MERGED: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("merged");

    type Row = <NamesById as Table>::Row;
    type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

    fn rows(table: &Stored<'_>) -> Rows {
        let bytes = |(key, row): (redb::AccessGuard<'_, &[u8]>, redb::AccessGuard<'_, &[u8]>)| {
            (key.value().to_vec(), row.value().to_vec())
        };
        table.iter().unwrap().map(|row| bytes(row.unwrap())).collect()
    }

    fn changes(changed: &BTreeMap<u32, Option<u8>>) -> Changes {
        let row = |row: &u8| -> Row { ("main".parse().unwrap(), format!("name-{row}").parse().unwrap()) };
        let mut changes = Changes::default();
        for (id, change) in changed.iter().rev() {
            changes.push::<NamesById>(&NameId(*id), change.as_ref().map(row).as_ref());
        }
        changes.sort();
        changes
    }

    proptest! {
        /// Both ways of writing leave what a map would hold.
        #[test]
        fn what_is_merged_is_what_is_written(
            batches in vec(btree_map(0..20_u32, proptest::option::of(any::<u8>()), 0..12), 1..5)
        ) {
            let backend = redb::backends::InMemoryBackend::new();
            let txn = redb::Builder::new().create_with_backend(backend).unwrap().begin_write().unwrap();
            let mut expected = Rows::new();
            for batch in batches {
                let changes = changes(&batch);
                let mut written = txn.open_table(WRITTEN).unwrap();
                let mut merged = txn.open_table(MERGED).unwrap();
                changes.merge(&written, &mut merged).unwrap();
                changes.write(&mut written).unwrap();
                for (key, row) in changes.iter() {
                    match row {
                        Some(row) => expected.insert(key.to_vec(), row.to_vec()),
                        None => expected.remove(key),
                    };
                }
                prop_assert_eq!(&rows(&written), &expected);
                prop_assert_eq!(&rows(&merged), &expected);
                drop(merged);
                txn.delete_table(MERGED).unwrap();
            }
        }
    }
}
