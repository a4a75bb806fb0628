//! How things are shown to people: records, sizes, tables.

use std::borrow::Cow;
use std::fmt::Write as _;

use supercargo_eventlog::{Event, Record};
use supercargo_model::Digest;

use super::moment;

/// A size with a unit that keeps it short.
#[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
pub(crate) fn size(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < 1024.0 {
            return if unit == "B" { format!("{bytes} B") } else { format!("{value:.1} {unit}") };
        }
        value /= 1024.0;
    }
    format!("{value:.1} TiB")
}

/// `1 blob`, `2 blobs`.
pub(crate) fn count(number: u64, one: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {one}s") }
}

/// A digest, as short as people recognise it by.
pub(crate) fn short(digest: &Digest) -> String {
    format!("{}:{}", digest.algorithm(), digest.short())
}

/// A text of a client without what a terminal would obey.
pub(crate) fn plain(text: &str) -> Cow<'_, str> {
    if text.contains(char::is_control) {
        Cow::Owned(text.replace(char::is_control, "\u{fffd}"))
    } else {
        Cow::Borrowed(text)
    }
}

/// A record in one line.
pub(crate) fn record(record: &Record) -> String {
    let line = format!(
        "{:>8}  {}  {:<12} {:<22} {}",
        record.seq,
        moment::show(record.at),
        record.actor.to_string(),
        record.event.kind(),
        event(&record.event)
    );
    plain(&line).into_owned()
}

/// What an event says, without its kind.
pub(crate) fn event(event: &Event) -> String {
    match event {
        Event::RepositoryCreated { repository, .. }
        | Event::RepositoryConfigured { repository, .. }
        | Event::RepositoryRemoved { repository } => repository.to_string(),
        Event::BlobAdded { repository, name, digest, size: bytes } => {
            format!("{repository}/{name}@{} ({})", short(digest), size(*bytes))
        }
        Event::BlobMounted { repository, name, digest, from_repository, from_name, .. } => {
            format!("{repository}/{name}@{} from {from_repository}/{from_name}", short(digest))
        }
        Event::BlobDeleted { repository, name, digest }
        | Event::ManifestDeleted { repository, name, digest } => {
            format!("{repository}/{name}@{}", short(digest))
        }
        Event::ManifestPushed { repository, name, digest, manifest } => {
            format!("{repository}/{name}@{} ({})", short(digest), manifest.media_type)
        }
        Event::TagSet { repository, name, tag, digest, previous } => {
            let before =
                previous.as_ref().map_or_else(String::new, |previous| format!(" (was {})", short(previous)));
            format!("{repository}/{name}:{tag} → {}{before}", short(digest))
        }
        Event::TagDeleted { repository, name, tag, previous } => {
            format!("{repository}/{name}:{tag} (was {})", short(previous))
        }
        Event::RepositoryNameDeleted { repository, name } => format!("{repository}/{name}"),
        Event::PropertiesSet { repository, path, set, removed } => {
            format!("{repository}/{path}: {} set, {} removed", set.len(), removed.len())
        }
        Event::OrphansCollected { contents, blobs } => {
            let digests: u64 = contents.iter().map(|contents| contents.digests.len() as u64).sum();
            let bytes: u64 = blobs.iter().map(|blob| blob.size).sum();
            format!("{}, {} freed", count(digests, "content"), size(bytes))
        }
        Event::FoldersPruned { repository, paths } => {
            format!("{repository}: {}", count(paths.len() as u64, "folder"))
        }
        Event::BlobRotFound { digest, rot } => format!("{}: {rot:?}", short(digest)),
        Event::UserCreated { user, service, administrator, .. } => {
            let what = match (service, administrator) {
                (_, true) => " (administrator)",
                (true, false) => " (service)",
                (false, false) => "",
            };
            format!("{user}{what}")
        }
        Event::UserChanged { user, administrator, disabled } => {
            format!("{user}: administrator {administrator}, disabled {disabled}")
        }
        Event::PasswordSet { user, password } => {
            format!("{user}{}", if password.is_some() { "" } else { ": none" })
        }
        Event::UserRemoved { user } => user.to_string(),
        Event::GroupCreated { group, .. }
        | Event::GroupRemoved { group }
        | Event::GroupDescribed { group, .. } => group.to_string(),
        Event::MemberAdded { group, user } => format!("{user} into {group}"),
        Event::MemberRemoved { group, user } => format!("{user} out of {group}"),
        Event::TokenIssued { token, user, description, .. } => format!("{token} to {user}: {description}"),
        Event::TokenRevoked { token, user } => format!("{token} of {user}"),
        Event::TokensUsed { uses } => count(uses.len() as u64, "token"),
        Event::PermissionSet { grant, actions } => {
            format!("{} may {actions} {}/{}", grant.grantee, grant.repositories, grant.names)
        }
        Event::PermissionRemoved { grant } => {
            format!("{} on {}/{}", grant.grantee, grant.repositories, grant.names)
        }
        Event::V1ImagePushed { repository, image, .. } => {
            format!("{repository} image {} ({})", image.id.short(), size(image.layer_size))
        }
        Event::V1ImagesAdded { repository, name, images, .. } => {
            let top = images.last().map_or_else(String::new, |top| format!(", up to {}", top.id.short()));
            format!("{repository}/{name}: {}{top}", count(images.len() as u64, "image"))
        }
        Event::V1ImageDeleted { repository, name, id, .. } => {
            format!("{repository}/{name} image {}", id.short())
        }
        Event::V1ViewAdded { repository, name, manifest, image } => {
            format!("{repository}/{name}@{} is image JSON {} to V1", short(manifest), short(image))
        }
        Event::LayerInspected { layer, diff_id, unpacked_size, .. } => {
            format!("{} unpacks to {} ({})", short(layer), short(diff_id), size(*unpacked_size))
        }
        Event::Promoted { repository, name, tag, from_repository, from_name, from_tag, moved, .. } => {
            let how = if *moved { "moved" } else { "copied" };
            format!("{repository}/{name}:{tag} {how} from {from_repository}/{from_name}:{from_tag}")
        }
        Event::Migrated { repository, name, tag, from_repository, from_name, from_tag, image, .. } => {
            let image = image.short();
            format!("{repository}/{name}:{tag} from {from_repository}/{from_name}:{from_tag}, image {image}")
        }
        Event::BlobHashed { blob, .. } => short(blob),
        Event::ConfigRead { config, labels } => {
            format!("{}: {}", short(config), count(labels.len() as u64, "label"))
        }
        Event::UserDescribed { user, .. } => user.to_string(),
        Event::PermissionTargetSet { target, .. } | Event::PermissionTargetRemoved { target } => {
            target.to_string()
        }
    }
}

/// Rows in columns as wide as they need; the last is as long as it is. Cells are made [`plain`].
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            // Writing to a String does not fail.
            let _ = write!(line, "{:<width$}  ", plain(cell));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text.truncate(text.trim_end().len());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1_500_000, "1.4 MiB"),
            (5 << 30, "5.0 GiB"),
            (3 << 40, "3.0 TiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn tables_have_straight_columns() {
        let rows = [["a", "bb", "c"], ["aaa", "b", ""]].map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(table(&rows), "a    bb  c\naaa  b");
        assert_eq!(table(&[]), "");
        assert_eq!(table(&[vec!["a\x1b[2J\nb".to_owned()]]), "a\u{fffd}[2J\u{fffd}b");
    }
}
