//! Deciding: a command and the present view in, events or a refusal out. Pure: no I/O, no clock.

mod accounts;
mod blobs;
mod collect;
mod images;
mod manifests;
mod migrate;
mod promote;
mod repositories;
#[cfg(test)]
mod tests;
mod tree;

use supercargo_model::{RepoKey, RepoName, Timestamp};
use supercargo_projections::Rows;
use supercargo_projections::tables::{NameId, Names, Repositories};

use crate::command::{Command, Decision};
use crate::leases::StillLeases;
use crate::{Error, Result};

/// Decides one command. `leases` are looked at by collections alone.
pub(crate) fn decide(
    view: &mut impl Rows,
    command: &Command,
    now: Timestamp,
    leases: Option<&StillLeases<'_>>,
) -> Result<Decision> {
    match command {
        Command::CreateRepository { repository, config } => repositories::create(view, repository, config),
        Command::ConfigureRepository { repository, change } => {
            repositories::configure(view, repository, change)
        }
        Command::RemoveRepository { repository, force } => repositories::remove(view, repository, *force),
        Command::AddBlob { repository, name, digest, size } => {
            blobs::add(view, repository, name, *digest, *size)
        }
        Command::MountBlob { repository, name, digest, from } => {
            blobs::mount(view, repository, name, *digest, from.as_ref())
        }
        Command::DeleteBlob { repository, name, digest } => blobs::delete(view, repository, name, *digest),
        Command::PushManifest { repository, name, reference, digest, manifest, tags, condition, labels } => {
            let mut decision =
                manifests::push(view, repository, name, reference, *digest, manifest, tags, condition)?;
            decision.events.extend(manifests::config_read(view, manifest, labels));
            Ok(decision)
        }
        Command::DeleteManifest { repository, name, reference, condition } => {
            manifests::delete(view, repository, name, reference, condition)
        }
        Command::DeleteName { repository, name } => repositories::delete_name(view, repository, name),
        Command::DeleteTags { repository, name } => manifests::delete_tags(view, repository, name),
        Command::SetProperties { repository, changes } => tree::set_properties(view, repository, changes),
        Command::DeleteItem { repository, path, eyes, hands } => {
            tree::delete(view, repository, path, eyes, hands)
        }
        Command::Collect { policy, cursor } => collect::collect(view, policy, cursor, now, leases),
        Command::Prune { empty_after } => collect::prune(view, *empty_after, now),
        Command::Promote(promotion) => promote::promote(view, promotion),
        Command::Migrate(migration) => migrate::migrate(view, migration),
        Command::RecordHashes { blob, md5, sha1 } => blobs::record_hashes(view, *blob, *md5, *sha1),
        Command::RecordRot { digest, rot } => blobs::record_rot(view, *digest, *rot),
        Command::PushImage { repository, waiting_room, image, parent_in } => {
            images::push(view, repository, waiting_room, image, parent_in.as_ref())
        }
        Command::SetImageTag { repository, name, tag, id, json, held_in, conversion } => {
            images::set_tag(view, repository, name, tag, (*id, *json), held_in, conversion.as_deref())
        }
        Command::AddView { repository, name, manifest, images, inspected, brought } => {
            images::add_view(view, repository, name, *manifest, images, inspected, brought)
        }
        Command::Accounts(command) => accounts::decide(view, command, now).map(Decision::done),
    }
}

/// The settings of a repository that must be there.
fn repository(view: &mut impl Rows, key: &RepoKey) -> Result<supercargo_projections::tables::RepositoryRow> {
    view.row::<Repositories>(key).ok_or_else(|| Error::RepositoryUnknown(key.clone()))
}

/// The number of a name, where it holds something.
fn name_id(view: &mut impl Rows, repository: &RepoKey, name: &RepoName) -> Option<NameId> {
    view.row::<Names>(&(repository.clone(), name.clone()))
}
