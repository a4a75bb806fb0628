//! The folds: how each event changes the tables. One module per subject.
//!
//! A fold is total. Whatever the log holds, in whatever order, it ends, panics never, and gives the same
//! tables on every machine: what an event says that the tables contradict is passed over or counted at 0,
//! never an error. It reads no clock (a record has its time) and opens no blob (an event says all).

mod accounts;
mod blobs;
mod contents;
mod images;
mod manifests;
mod names;
mod properties;
mod repositories;
mod tags;
mod tree;

use supercargo_eventlog::{Event, Record};
use supercargo_model::account::Token;
use supercargo_model::{Digest, RepoKey, RepoName};

use crate::tables::{BlobHashesRow, LayerRow, MigrationRow, NameId, PermissionTargets, Wait};
use crate::working::{Base, Working};

/// A name that an event is about, by its words and its number.
#[derive(Debug, Clone, Copy)]
struct Name<'e> {
    repository: &'e RepoKey,
    name: &'e RepoName,
    id: NameId,
}

/// Folds one record.
pub fn fold<B: Base>(state: &mut Working<B>, record: &Record) {
    let at = record.at;
    match &record.event {
        Event::RepositoryCreated { repository, config } => {
            repositories::created(state, repository, config, at);
        }
        Event::RepositoryConfigured { repository, config } => {
            repositories::configured(state, repository, config);
        }
        Event::RepositoryRemoved { repository } => repositories::removed(state, repository),
        Event::BlobAdded { repository, name, digest, size }
        | Event::BlobMounted { repository, name, digest, size, .. } => {
            let name = names::ensure(state, repository, name, at);
            contents::add_blob(state, name, *digest, *size, at);
            if matches!(record.event, Event::BlobAdded { .. }) {
                blobs::mended(state, *digest);
            }
        }
        Event::BlobDeleted { repository, name, digest } => {
            if let Some(name) = names::find(state, repository, name) {
                contents::remove_blob(state, name, *digest, at);
                names::settle(state, name);
            }
        }
        Event::ManifestPushed { repository, name, digest, manifest } => {
            let name = names::ensure(state, repository, name, at);
            manifests::pushed(state, name, *digest, manifest, record);
            blobs::mended(state, *digest);
        }
        Event::ManifestDeleted { repository, name, digest } => {
            if let Some(name) = names::find(state, repository, name) {
                manifests::removed(state, name, *digest, at, at);
                names::settle(state, name);
            }
        }
        Event::TagSet { repository, name, tag, digest, previous } => {
            let name = names::ensure(state, repository, name, at);
            tags::set(state, name, tag, *digest, *previous, record);
        }
        Event::TagDeleted { repository, name, tag, previous } => {
            if let Some(name) = names::find(state, repository, name) {
                tags::deleted(state, name, tag, *previous, record);
                names::settle(state, name);
            }
        }
        Event::RepositoryNameDeleted { .. } => {
            // What the name held was deleted by the records before; with that the name is gone.
        }
        Event::PropertiesSet { repository, path, set, removed } => {
            properties::set(state, repository, path, set, removed);
        }
        Event::OrphansCollected { contents, blobs } => {
            for collected in contents {
                let Some(name) = names::find(state, &collected.repository, &collected.name) else { continue };
                for digest in &collected.digests {
                    contents::collected(state, name, *digest, at);
                }
                names::settle(state, name);
            }
            for blob in blobs {
                blobs::collected(state, blob.digest);
            }
        }
        Event::FoldersPruned { repository, paths } => {
            for path in paths {
                tree::pruned(state, repository, path, at);
            }
        }
        Event::BlobRotFound { digest, .. } => blobs::rot_found(state, *digest),
        Event::UserCreated { user, service, administrator, password } => {
            accounts::user_created(state, user, *service, *administrator, password.as_ref(), at);
        }
        Event::UserChanged { user, administrator, disabled } => {
            accounts::user_changed(state, user, *administrator, *disabled);
        }
        Event::PasswordSet { user, password } => accounts::password_set(state, user, password.as_ref()),
        Event::UserRemoved { user } => accounts::user_removed(state, user),
        Event::GroupCreated { group, description } => {
            accounts::group_created(state, group, description, at);
        }
        Event::GroupRemoved { group } => accounts::group_removed(state, group),
        Event::MemberAdded { group, user } => accounts::member_added(state, group, user),
        Event::MemberRemoved { group, user } => accounts::member_removed(state, group, user),
        Event::TokenIssued { token, user, token_kind, description, secret_sha256, expires_at } => {
            let issued = Token {
                user: user.clone(),
                kind: *token_kind,
                description: description.clone(),
                secret_sha256: *secret_sha256,
                issued_at: at,
                expires_at: *expires_at,
                used_at: None,
            };
            accounts::token_issued(state, *token, issued);
        }
        Event::TokenRevoked { token, .. } => accounts::token_revoked(state, *token),
        Event::TokensUsed { uses } => {
            for used in uses {
                accounts::token_used(state, used.token, used.at);
            }
        }
        Event::PermissionSet { grant, actions } => accounts::permission_set(state, grant, *actions),
        Event::PermissionRemoved { grant } => accounts::permission_removed(state, grant),
        Event::V1ImagePushed { repository, name, image } => {
            let room = names::ensure(state, repository, name, at);
            images::pushed(state, room, image, record);
            blobs::mended(state, image.layer);
            blobs::mended(state, image.json);
            names::settle(state, room);
        }
        Event::V1ImagesAdded { repository, name, from, images } => {
            let name = names::ensure(state, repository, name, at);
            for image in images {
                images::pushed(state, name, image, record);
                if let Some(room) = from {
                    images::leave_waiting_room(state, name, room, image, at);
                }
            }
            names::settle(state, name);
        }
        Event::V1ImageDeleted { repository, name, digest, .. } => {
            if let Some(name) = names::find(state, repository, name) {
                images::removed(state, name, *digest, at, at);
                names::settle(state, name);
            }
        }
        Event::V1ViewAdded { repository, name, manifest, image } => {
            if let Some(name) = names::find(state, repository, name) {
                images::view_added(state, name, *manifest, *image);
            }
        }
        Event::LayerInspected { layer, diff_id, unpacked_size, packed } => {
            let row = LayerRow { diff_id: *diff_id, unpacked_size: *unpacked_size, packed: *packed };
            images::layer_inspected(state, *layer, row);
        }
        Event::Promoted { .. } => {
            // Where it came from; what came, and what went, the records before say.
        }
        Event::Migrated { repository, name, tag, digest, from_repository, from_name, from_tag, image } => {
            if let Some(name) = names::find(state, repository, name) {
                let from = MigrationRow {
                    digest: *digest,
                    from_repository: from_repository.clone(),
                    from_name: from_name.clone(),
                    from_tag: from_tag.clone(),
                    image: *image,
                };
                tags::migrated(state, name, tag, from);
            }
        }
        Event::BlobHashed { blob, md5, sha1 } => {
            blobs::hashed(state, *blob, BlobHashesRow { md5: *md5, sha1: *sha1 });
        }
        Event::ConfigRead { config, labels } => blobs::config_read(state, *config, labels),
        Event::UserDescribed { user, email } => accounts::user_described(state, user, email.as_deref()),
        Event::PermissionTargetSet { target, permissions } => {
            state.put::<PermissionTargets>(target, permissions.clone());
        }
        Event::PermissionTargetRemoved { target } => state.remove::<PermissionTargets>(target),
        Event::GroupDescribed { group, description } => accounts::group_described(state, group, description),
    }
}

/// Why and since when something lost what reached it.
#[derive(Debug, Clone, Copy)]
struct Loss {
    since: supercargo_model::Timestamp,
    wait: Wait,
}

/// Up to so many, looking through all is faster than a set.
const FEW: usize = 32;

/// The distinct things that a manifest holds: config, layers and children, each under its first role.
pub fn targets(manifest: &supercargo_model::Manifest) -> Vec<(Digest, crate::tables::ReferenceKind)> {
    use crate::tables::ReferenceKind::{Child, Config, Layer};
    let all = manifest
        .config
        .iter()
        .map(|config| (config.digest, Config))
        .chain(manifest.layers.iter().map(|layer| (layer.digest, Layer)))
        .chain(manifest.children.iter().map(|child| (child.digest, Child)));
    let count = usize::from(manifest.config.is_some()) + manifest.layers.len() + manifest.children.len();
    let mut distinct = Vec::with_capacity(count);
    if count <= FEW {
        for (digest, kind) in all {
            if distinct.iter().all(|(known, _)| *known != digest) {
                distinct.push((digest, kind));
            }
        }
    } else {
        let mut seen = foldhash::HashSet::default();
        distinct.extend(all.filter(|(digest, _)| seen.insert(*digest)));
    }
    distinct
}
