//! Telling whether tables are what the log says: fingerprints per table, and a comparison that names what
//! differs.

use std::collections::BTreeMap;

use redb::{ReadableTable, StorageError};
use sha2::{Digest as _, Sha256};

use crate::tables::{ALL, table_of};

/// A sha256 per table, over its keys and rows in key order.
pub type Fingerprints = BTreeMap<&'static str, String>;

/// The fingerprints of all tables, in one pass.
///
/// # Errors
/// Storage errors.
pub fn fingerprints(
    stored: Option<&impl ReadableTable<&'static [u8], &'static [u8]>>,
) -> Result<Fingerprints, StorageError> {
    let mut hashers: BTreeMap<&'static str, Sha256> = ALL.iter().map(|name| (*name, Sha256::new())).collect();
    if let Some(stored) = stored {
        for row in stored.iter()? {
            let (key, row) = row?;
            let (key, row) = (key.value(), row.value());
            let Some(hasher) = table_of(key).and_then(|name| hashers.get_mut(name)) else { continue };
            for part in [key, row] {
                hasher.update((part.len() as u64).to_le_bytes());
                hasher.update(part);
            }
        }
    }
    Ok(hashers.into_iter().map(|(name, hasher)| (name, hex(&hasher.finalize()))).collect())
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut out, byte| {
        // Writing to a String does not fail.
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// Compares two sets of tables row by row, and gives each difference to `report`: the table's name, the
/// key, and what is wrong with `actual` seen from `expected`. At most `limit` differences.
///
/// # Errors
/// Storage errors.
pub fn compare<E, A>(
    expected: &E,
    actual: &A,
    limit: usize,
    mut report: impl FnMut(&'static str, &[u8], &'static str),
) -> Result<usize, StorageError>
where
    E: ReadableTable<&'static [u8], &'static [u8]>,
    A: ReadableTable<&'static [u8], &'static [u8]>,
{
    let (mut expected, mut actual) = (expected.iter()?, actual.iter()?);
    let (mut e, mut a) = (expected.next().transpose()?, actual.next().transpose()?);
    let mut found = 0;
    while found < limit {
        let order = match (&e, &a) {
            (None, None) => break,
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (Some((e, _)), Some((a, _))) => e.value().cmp(a.value()),
        };
        let difference = match (order, &e, &a) {
            (std::cmp::Ordering::Less, Some((key, _)), _) => Some((key.value().to_vec(), "is missing")),
            (std::cmp::Ordering::Greater, _, Some((key, _))) => {
                Some((key.value().to_vec(), "should not be there"))
            }
            (_, Some((key, row)), Some((_, other))) if row.value() != other.value() => {
                Some((key.value().to_vec(), "differs"))
            }
            _ => None,
        };
        if let Some((key, what)) = difference {
            found += 1;
            report(table_of(&key).unwrap_or("unknown"), &key, what);
        }
        if order.is_le() {
            e = expected.next().transpose()?;
        }
        if order.is_ge() {
            a = actual.next().transpose()?;
        }
    }
    Ok(found)
}
