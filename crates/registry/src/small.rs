//! Small blobs and manifests, kept in the redb file beside the tables. They become durable by the same
//! commit as the record that mentions them, so a push of many small things costs no fsync of its own.
//!
//! Not a projection: it holds bytes, as the blob store's files do. It is written with the records that
//! mention them and emptied with the records that collect them.

use bytes::Bytes;
use redb::{ReadTransaction, TableDefinition, TableError, WriteTransaction};
use supercargo_model::Digest;
use supercargo_projections::KeyWriter;

const SMALL: TableDefinition<'static, &'static [u8], &'static [u8]> = TableDefinition::new("small blobs");

fn key(digest: &Digest) -> Vec<u8> {
    let mut key = Vec::with_capacity(65);
    key.digest(digest);
    key
}

/// The bytes of a small blob.
pub(crate) fn get(txn: &ReadTransaction, digest: &Digest) -> Result<Option<Bytes>, redb::Error> {
    match txn.open_table(SMALL) {
        Ok(table) => {
            Ok(table.get(key(digest).as_slice())?.map(|bytes| Bytes::copy_from_slice(bytes.value())))
        }
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

/// Puts and removes small blobs, in the transaction of the records that mention them.
pub(crate) fn write(
    txn: &WriteTransaction,
    put: &[(Digest, Bytes)],
    remove: &[Digest],
) -> Result<(), redb::Error> {
    if put.is_empty() && remove.is_empty() {
        return Ok(());
    }
    let mut table = txn.open_table(SMALL)?;
    for (digest, bytes) in put {
        table.insert(key(digest).as_slice(), bytes.as_ref())?;
    }
    for digest in remove {
        table.remove(key(digest).as_slice())?;
    }
    Ok(())
}
