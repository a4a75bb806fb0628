//! Batches of a long fold: how one is begun and how it is written.
//!
//! A group of the writer changes a few rows and writes them where they belong. A batch changes so many that
//! looking for each below, and finding the place of each, is most of the work.

use redb::{ReadableTableMetadata as _, WriteTransaction};

use crate::rebuild::{open_for_writing, table_definition, table_name};
use crate::sieve::{Sieve, Sieved};
use crate::working::Working;

/// The table that a batch is merged into. It is there inside a transaction only.
const MERGED: &str = "tables.merged";

/// A batch that changes one row for each so many below, or more, is merged with them. A page holds about as
/// many rows, and digests are anywhere: with a change for each page all pages are written in any case, and in
/// key order that costs a fraction, and leaves them full.
const ROWS_PER_CHANGE: u64 = 32;

/// A working state for a batch, over the tables of a generation as the batches before left them. The sieve is
/// what [`write_batch`] gave back for the one before.
///
/// # Errors
/// Storage errors.
pub fn open_batch(
    txn: &WriteTransaction,
    generation: u64,
    sieve: Sieve,
) -> Result<Working<Sieved<'_>>, redb::Error> {
    let table = open_for_writing(txn, generation)?;
    Ok(Working::new(Sieved { table, sieve }))
}

/// Writes what a batch changed: row by row, or, where it changes many, by merging it with the rows below into
/// a table that takes the place of theirs.
///
/// # Errors
/// Storage errors; the transaction must be given up then.
pub fn write_batch(
    txn: &WriteTransaction,
    generation: u64,
    batch: Working<Sieved<'_>>,
) -> Result<Sieve, redb::Error> {
    let (Sieved { mut table, mut sieve }, changes) = batch.finish()?;
    sieve.insert_all(&changes);
    if table.len()? / ROWS_PER_CHANGE > changes.len() as u64 {
        changes.write(&mut table)?;
    } else {
        let name = table_name(generation);
        let (name, merged) = (table_definition(&name), table_definition(MERGED));
        changes.merge(&table, &mut txn.open_table(merged)?)?;
        drop(table);
        txn.delete_table(name)?;
        txn.rename_table(merged, name)?;
    }
    Ok(sieve)
}
