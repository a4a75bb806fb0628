//! Blobs over all names: who holds each, whose share it is, and whether its bytes are sound.

use supercargo_model::{Digest, Timestamp};

use super::{Name, names};
use crate::tables::{
    BlobHashes, BlobHashesRow, BlobRow, Blobs, BlobsByMd5, BlobsBySha1, ConfigLabels, Holders, LabelValues,
    Layers, NameId, Orphans, Wait,
};
use crate::working::{Base, Working};

/// Longest label, and longest value of one, that it can be looked for by, in bytes.
const LABEL_KEY_BYTES_MAX: usize = 2400;

/// A name holds the blob from now on.
pub(super) fn held<B: Base>(
    state: &mut Working<B>,
    name: Name<'_>,
    digest: Digest,
    size: u64,
    at: Timestamp,
) {
    let mut unheld_since = None;
    let before = state.update::<Blobs, _>(&digest, |row| {
        let row = row.get_or_insert(BlobRow {
            size,
            first_seen: at,
            holders: 0,
            holders_xor: 0,
            unheld_since: None,
            rotten: false,
        });
        let before = *row;
        unheld_since = row.unheld_since.take();
        row.holders = row.holders.saturating_add(1);
        row.holders_xor ^= name.id.0;
        before
    });
    if let Some(since) = unheld_since {
        state.remove::<Orphans>(&(Wait::Unheld, since, NameId(0), digest));
    }
    state.put_new::<Holders>(&(digest, name.id), ());
    names::count_in_repository(state, name.repository, |usage| {
        usage.bytes = usage.bytes.saturating_add(size);
    });
    names::count(state, name.id, |usage| match before.holders {
        0 => usage.own_bytes = usage.own_bytes.saturating_add(size),
        _ => usage.shared_bytes = usage.shared_bytes.saturating_add(size),
    });
    if before.holders == 1 {
        names::count(state, NameId(before.holders_xor), |usage| {
            usage.own_bytes = usage.own_bytes.saturating_sub(size);
            usage.shared_bytes = usage.shared_bytes.saturating_add(size);
        });
    }
}

/// A name does not hold the blob any more; with no holder left it is unheld since `since`.
pub(super) fn released<B: Base>(state: &mut Working<B>, name: Name<'_>, digest: Digest, since: Timestamp) {
    let Some(after) = state.update::<Blobs, _>(&digest, |row| {
        let row = row.as_mut()?;
        row.holders = row.holders.saturating_sub(1);
        row.holders_xor ^= name.id.0;
        if row.holders == 0 {
            row.unheld_since = Some(since);
        }
        Some(*row)
    }) else {
        return;
    };
    state.remove::<Holders>(&(digest, name.id));
    let size = after.size;
    names::count_in_repository(state, name.repository, |usage| {
        usage.bytes = usage.bytes.saturating_sub(size);
    });
    names::count(state, name.id, |usage| {
        let share = if after.holders == 0 { &mut usage.own_bytes } else { &mut usage.shared_bytes };
        *share = share.saturating_sub(size);
    });
    match after.holders {
        0 => state.put_new::<Orphans>(&(Wait::Unheld, since, NameId(0), digest), ()),
        1 => names::count(state, NameId(after.holders_xor), |usage| {
            usage.shared_bytes = usage.shared_bytes.saturating_sub(size);
            usage.own_bytes = usage.own_bytes.saturating_add(size);
        }),
        _ => {}
    }
}

/// A collection removed the bytes.
pub(super) fn collected<B: Base>(state: &mut Working<B>, digest: Digest) {
    let Some(row) = state.get::<Blobs>(&digest).copied() else { return };
    if let Some(since) = row.unheld_since {
        state.remove::<Orphans>(&(Wait::Unheld, since, NameId(0), digest));
        state.remove::<Layers>(&digest);
        if let Some(BlobHashesRow { md5, sha1 }) = state.get::<BlobHashes>(&digest).copied() {
            state.remove::<BlobsByMd5>(&(md5, digest));
            state.remove::<BlobsBySha1>(&(sha1, digest));
            state.remove::<BlobHashes>(&digest);
        }
        forget_labels(state, digest);
        state.remove::<Blobs>(&digest);
    }
}

/// The other hashes of a blob, as long as its bytes are kept.
pub(super) fn hashed<B: Base>(state: &mut Working<B>, digest: Digest, row: BlobHashesRow) {
    if state.get::<Blobs>(&digest).is_none() || state.get::<BlobHashes>(&digest).is_some() {
        return;
    }
    state.put::<BlobHashes>(&digest, row);
    state.put::<BlobsByMd5>(&(row.md5, digest), ());
    state.put::<BlobsBySha1>(&(row.sha1, digest), ());
}

/// The labels in a config, as long as its bytes are kept.
pub(super) fn config_read<B: Base>(state: &mut Working<B>, digest: Digest, labels: &[(String, String)]) {
    if state.get::<Blobs>(&digest).is_none() {
        return;
    }
    forget_labels(state, digest);
    for key in in_keys(digest, labels) {
        state.put::<LabelValues>(&key, ());
    }
    state.put::<ConfigLabels>(&digest, labels.to_vec());
}

fn forget_labels<B: Base>(state: &mut Working<B>, digest: Digest) {
    let Some(labels) = state.get::<ConfigLabels>(&digest).cloned() else { return };
    for key in in_keys(digest, &labels) {
        state.remove::<LabelValues>(&key);
    }
    state.remove::<ConfigLabels>(&digest);
}

/// Labels that can be looked for: no part of a key holds a NUL, and none is very long.
fn in_keys(digest: Digest, labels: &[(String, String)]) -> impl Iterator<Item = (String, String, Digest)> {
    let fits = |text: &String| text.len() <= LABEL_KEY_BYTES_MAX && !text.contains('\0');
    let found = labels.iter().filter(move |(label, value)| fits(label) && fits(value));
    found.map(move |(label, value)| (label.clone(), value.clone(), digest))
}

/// The bytes are damaged.
pub(super) fn rot_found<B: Base>(state: &mut Working<B>, digest: Digest) {
    state.update::<Blobs, _>(&digest, |row| {
        if let Some(row) = row {
            row.rotten = true;
        }
    });
}

/// The bytes were stored anew.
pub(super) fn mended<B: Base>(state: &mut Working<B>, digest: Digest) {
    if state.get::<Blobs>(&digest).is_some_and(|row| row.rotten) {
        state.update::<Blobs, _>(&digest, |row| {
            if let Some(row) = row {
                row.rotten = false;
            }
        });
    }
}
