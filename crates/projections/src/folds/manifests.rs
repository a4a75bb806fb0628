//! Manifests: what was read from them, what they refer to, and whose referrers they are.

use supercargo_eventlog::Record;
use supercargo_model::{Digest, Manifest, Timestamp};

use super::contents::{self, Change};
use super::{Loss, Name, targets};
use crate::tables::{Contents, Images, ManifestRow, Manifests, References, Referrers, Source, Views, Wait};
use crate::working::{Base, Working};

pub(super) fn pushed<B: Base>(
    state: &mut Working<B>,
    name: Name<'_>,
    digest: Digest,
    manifest: &Manifest,
    record: &Record,
) {
    let key = (name.id, digest);
    // The same bytes can't be both: what they hold is counted once.
    if state.get::<Images>(&key).is_some() {
        return;
    }
    if let Some(row) = state.get::<Manifests>(&key) {
        if manifest.signed.is_some() && row.manifest.signed != manifest.signed {
            // The same payload, so that what it refers to is the same; its signatures are not.
            state.update::<Manifests, _>(&key, |row| {
                if let Some(row) = row {
                    row.manifest.media_type.clone_from(&manifest.media_type);
                    row.manifest.signed.clone_from(&manifest.signed);
                }
            });
        }
        // Pushed again while it waits: the wait begins anew.
        contents::change(state, name, digest, Change::Pushed(record.at), |_| {});
        return;
    }
    state.put_new::<Manifests>(
        &key,
        ManifestRow { manifest: manifest.clone(), at: record.at, by: record.actor.clone(), seq: record.seq },
    );
    for (target, kind) in targets(manifest) {
        state.put_new::<References>(&(name.id, target, Source::Manifest(digest)), kind);
    }
    let mut subject_live = false;
    if let Some(subject) = manifest.subject {
        state.put_new::<Referrers>(&(name.id, subject, digest), ());
        contents::change(state, name, subject, Change::Gained, |row| {
            row.referrers = row.referrers.saturating_add(1);
        });
        subject_live = state.get::<Contents>(&(name.id, subject)).is_some_and(|row| row.holds());
    }
    contents::change(state, name, digest, Change::Pushed(record.at), |row| {
        row.manifest = true;
        row.size = manifest.size;
        row.subject_live = subject_live;
    });
}

/// The manifest is gone from the name; what only it held waits since `since`.
pub(super) fn removed<B: Base>(
    state: &mut Working<B>,
    name: Name<'_>,
    digest: Digest,
    since: Timestamp,
    at: Timestamp,
) {
    let key = (name.id, digest);
    let Some(row) = state.get::<Manifests>(&key) else { return };
    let (held, subject) = (targets(&row.manifest), row.manifest.subject);
    let lost = |since| Change::Lost(Loss { since, wait: Wait::Deleted });
    contents::change(state, name, digest, lost(since), |row| {
        row.manifest = false;
        row.subject_live = false;
    });
    for (target, _) in held {
        state.remove::<References>(&(name.id, target, Source::Manifest(digest)));
    }
    if let Some(subject) = subject {
        state.remove::<Referrers>(&(name.id, subject, digest));
        contents::change(state, name, subject, lost(at), |row| {
            row.referrers = row.referrers.saturating_sub(1);
        });
    }
    if let Some(image) = state.get::<Views>(&key).copied() {
        state.remove::<References>(&(name.id, image, Source::Manifest(digest)));
        state.remove::<Views>(&key);
    }
    state.remove::<Manifests>(&key);
}
