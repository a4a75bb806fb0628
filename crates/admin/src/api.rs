//! What is asked and answered, as JSON over HTTP and in the output of commands.

mod accounts;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use supercargo_eventlog::event::{CollectedBlob, CollectedContents};
use supercargo_eventlog::{Actor, Event, Record};
use supercargo_model::{Digest, Reference, RepoKey, RepoName, Tag, Timestamp};
use supercargo_registry::{NameInfo, ScrubOptions, Swept, TagInfo};

pub use supercargo_registry::{RepositoryChange, RulesChange};

pub use accounts::{
    GrantInfo, GroupInfo, ImportParameters, ImportReport, IssuedToken, NewGroup, NewPassword, NewToken,
    NewUser, PermissionInfo, RefusedLine, TokenInfo, UserChange, UserInfo,
};

/// Most records that one page of the log holds.
pub const LOG_PAGE_RECORDS_MAX: usize = 1000;
/// Most names or tags that one page holds.
pub const PAGE_ENTRIES_MAX: usize = 1000;
/// How much of what was, or would be, collected is listed one by one; all of it is counted.
pub const LISTED_MAX: usize = 10_000;

/// Which records are wanted. What is not set does not matter.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogQuery {
    /// Those about this repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repository: Option<RepoKey>,
    /// Those about this name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<RepoName>,
    /// Those about this tag.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<Tag>,
    /// Those of this kind, such as `TagSet`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Those by this actor: `system`, `anonymous` or a user's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// Those at or after this moment, in microseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Those at or before this moment, in microseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Those of this seq and later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<u64>,
    /// Those before this seq.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<u64>,
    /// Oldest first, instead of newest first.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub oldest_first: bool,
    /// At most so many; a page holds [`LOG_PAGE_RECORDS_MAX`] in any case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
}

impl LogQuery {
    /// Whether a record is one of those wanted, by what it says; its seq and time are looked at elsewhere.
    pub fn matches(&self, record: &Record) -> bool {
        let event = &record.event;
        self.kind.as_deref().is_none_or(|kind| event.kind() == kind)
            && self.actor.as_deref().is_none_or(|actor| record.actor.to_string() == actor)
            && self.tag.as_ref().is_none_or(|tag| event.tag() == Some(tag))
            && match event {
                Event::OrphansCollected { contents, .. } => {
                    (self.repository.is_none() && self.name.is_none())
                        || contents.iter().any(|contents| {
                            self.repository.as_ref().is_none_or(|key| contents.repository == *key)
                                && self.name.as_ref().is_none_or(|name| contents.name == *name)
                        })
                }
                _ => {
                    self.repository.as_ref().is_none_or(|key| event.repository() == Some(key))
                        && self.name.as_ref().is_none_or(|name| event.name() == Some(name))
                }
            }
    }
}

/// Some records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogPage {
    /// The records, in the order that was asked for.
    pub records: Vec<Record>,
    /// Where to go on, if there may be more: the next query's `from` where the oldest come first, else its
    /// `to`.
    pub next: Option<u64>,
}

/// What a collection did, or would do.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct GcReport {
    /// Whether it would, and did not.
    pub dry_run: bool,
    /// The plan's name, of a dry run: given back, exactly this is done or nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    /// Contents that left their names.
    pub contents: u64,
    /// Blobs whose bytes went.
    pub blobs: u64,
    /// Those bytes.
    pub bytes: u64,
    /// The contents one by one, as far as [`LISTED_MAX`].
    pub listed_contents: Vec<CollectedContents>,
    /// The blobs one by one, as far as [`LISTED_MAX`].
    pub listed_blobs: Vec<CollectedBlob>,
    /// What no record mentioned, and was removed as well.
    pub swept: Swept,
}

/// What of a repository is promoted, and where to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PromotionParameters {
    /// The repository that it comes into.
    pub to: RepoKey,
    /// The name that it comes from; all names, where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<RepoName>,
    /// The name that it comes into; the same, where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_name: Option<RepoName>,
    /// The tag of the name; all tags, where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<Tag>,
    /// What the tag is called there; the same, where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_tag: Option<Tag>,
    /// Whether it leaves the repository that it comes from.
    #[serde(default, rename = "move")]
    pub moved: bool,
}

/// What of a repository is migrated, and where to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MigrationParameters {
    /// The repository that it comes into.
    pub to: RepoKey,
    /// The name; all names, where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<RepoName>,
    /// The tag of the name; all tags, where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<Tag>,
    /// Whether tags are overwritten that no migration has set.
    #[serde(default)]
    pub force: bool,
}

/// A folder of a repository's tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Folder {
    /// The repository.
    pub repository: RepoKey,
    /// The path in it.
    pub path: String,
}

/// What pruning did, or would do.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PruneReport {
    /// Whether it would, and did not.
    pub dry_run: bool,
    /// The folders.
    pub folders: Vec<Folder>,
}

/// A page of names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamesPage {
    /// The names, in byte order.
    pub names: Vec<NameInfo>,
    /// Whether more follow.
    pub more: bool,
}

/// A page of tags.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TagsPage {
    /// The tags, in byte order.
    pub tags: Vec<TagInfo>,
    /// Whether more follow.
    pub more: bool,
}

// ---- the parameters of requests ----

/// Parameters of a collection.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GcParameters {
    /// Whether to say only what would be done.
    pub dry_run: bool,
    /// A plan's name: that is done, or nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
}

/// Parameters of a pruning.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PruneParameters {
    /// Whether to say only what would be done.
    pub dry_run: bool,
}

/// Parameters of a scrub.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScrubParameters {
    /// Bytes read per second at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<u64>,
    /// The blob after which it begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Digest>,
}

impl From<&ScrubParameters> for ScrubOptions {
    fn from(parameters: &ScrubParameters) -> ScrubOptions {
        ScrubOptions { bytes_per_second: parameters.rate, after: parameters.after }
    }
}

/// Parameters of a verification.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VerifyParameters {
    /// Whether stored bytes are read and hashed.
    pub deep: bool,
}

/// Parameters of following and exporting.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RangeParameters {
    /// The first seq.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<u64>,
    /// The seq before which to end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<u64>,
}

/// Parameters of a removal.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RemoveParameters {
    /// Whether a repository goes with all that it holds.
    pub force: bool,
}

/// Parameters of a listing of names.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NamesParameters {
    /// The name after which to begin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<RepoName>,
    /// At most so many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub n: Option<usize>,
}

/// Which name is meant. Names hold slashes, so they are parameters rather than parts of paths.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NameParameters {
    /// The name.
    pub name: RepoName,
}

/// Parameters of a listing of a tree's folder.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TreeParameters {
    /// The folder; empty for the repository itself.
    pub path: String,
    /// The last item of the page before; of a folder with a slash behind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<String>,
    /// At most so many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub n: Option<usize>,
}

/// Which item of a tree is meant.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ItemParameters {
    /// Its path; empty for the repository itself.
    pub path: String,
}

/// What is to become of the properties of an item.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PropertiesChange {
    /// The item's path; empty for the repository itself.
    pub path: String,
    /// Properties that get these values, in place of those that they have.
    pub set: BTreeMap<String, Vec<String>>,
    /// Properties that go.
    pub removed: Vec<String>,
    /// Whether all that is below it is meant, too.
    pub recursive: bool,
}

/// A folder or file, as it is listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreeItem {
    /// Its path.
    pub path: String,
    /// Whether it is a folder.
    pub folder: bool,
    /// A file's size in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Since when it is there, or what it is of.
    pub at: Timestamp,
    /// Who put it there. Nobody is remembered of the repository itself.
    pub by: Option<Actor>,
}

/// A page of a folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreePage {
    /// What is in it: folders first, each by name.
    pub items: Vec<TreeItem>,
    /// Whether more follow.
    pub more: bool,
}

/// All that is known of a folder or file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemInfo {
    /// What it is.
    #[serde(flatten)]
    pub item: TreeItem,
    /// A file's media type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// The digest of a file that is a blob, a manifest or one of an image's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// Its properties, those that are derived and those that people set.
    pub properties: BTreeMap<String, Vec<String>>,
}

/// Parameters of a listing of tags.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TagsParameters {
    /// The name.
    pub name: RepoName,
    /// The tag after which to begin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Tag>,
    /// At most so many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n: Option<usize>,
}

/// Which tag is meant.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TagParameters {
    /// The name.
    pub name: RepoName,
    /// The tag.
    pub tag: Tag,
}

/// Which manifest or blob is meant.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InspectParameters {
    /// The name.
    pub name: RepoName,
    /// A tag or digest.
    pub reference: String,
}

impl InspectParameters {
    /// The reference, parsed.
    ///
    /// # Errors
    /// Where it is neither a tag nor a digest.
    pub fn reference(&self) -> Result<Reference, supercargo_model::ParseError> {
        Ok(match Digest::parse(&self.reference) {
            Ok(digest) => Reference::Digest(digest),
            Err(_) => Reference::Tag(Tag::parse(&self.reference)?),
        })
    }
}

/// An item that a search found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundItem {
    /// The repository that it is in.
    pub repository: RepoKey,
    /// Its path there.
    pub path: String,
    /// Whether it is a folder.
    pub folder: bool,
    /// A file's size in bytes; 0 of those that are written as they are read.
    pub size: u64,
    /// When it was put there.
    pub at: Timestamp,
    /// Who put it there, where that is remembered.
    pub by: Option<Actor>,
    /// The SHA-256 of a file that is kept as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Its properties.
    pub properties: BTreeMap<String, Vec<String>>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use supercargo_eventlog::{Api, Origin};

    fn record(event: Event) -> Record {
        Record {
            seq: 0,
            at: Timestamp::from_micros(1),
            id: serde_json::from_str("\"00000000-0000-7000-8000-000000000000\"").unwrap(),
            actor: Actor::User("ada".to_owned()),
            origin: Origin::local(Api::Cli),
            event,
        }
    }

    fn query(parameters: &str) -> LogQuery {
        serde_json::from_str(parameters).unwrap()
    }

    #[test]
    fn no_parameter_is_a_waiting_room_and_reports_name_them() {
        let name = RepoName::waiting_room(Some("ann"));
        let asked = serde_json::json!({"name": name, "tag": "t"});
        assert!(serde_json::from_value::<TagParameters>(asked).is_err());
        let listed = serde_json::json!({"last": name});
        assert!(serde_json::from_value::<NamesParameters>(listed).is_err());
        let collected =
            CollectedContents { repository: RepoKey::parse("r").unwrap(), name, digests: Vec::new() };
        let json = serde_json::to_string(&collected).unwrap();
        assert_eq!(serde_json::from_str::<CollectedContents>(&json).unwrap(), collected);
    }

    #[test]
    fn records_are_told_by_what_they_are_about() {
        let (repository, name) = (RepoKey::parse("r").unwrap(), RepoName::parse("a/b").unwrap());
        let digest = Digest::sha256([7; 32]);
        let tag = Tag::parse("t").unwrap();
        let deleted = record(Event::TagDeleted {
            repository: repository.clone(),
            name: name.clone(),
            tag,
            previous: digest,
        });
        for yes in [
            "{}",
            r#"{"repository":"r"}"#,
            r#"{"name":"a/b"}"#,
            r#"{"tag":"t"}"#,
            r#"{"kind":"TagDeleted"}"#,
            r#"{"actor":"ada"}"#,
        ] {
            assert!(query(yes).matches(&deleted), "{yes}");
        }
        for no in [
            r#"{"repository":"s"}"#,
            r#"{"name":"a"}"#,
            r#"{"tag":"u"}"#,
            r#"{"kind":"TagSet"}"#,
            r#"{"actor":"system"}"#,
        ] {
            assert!(!query(no).matches(&deleted), "{no}");
        }
        let contents = vec![CollectedContents { repository, name, digests: vec![digest] }];
        let collected = record(Event::OrphansCollected { contents, blobs: Vec::new() });
        assert!(query(r#"{"repository":"r","name":"a/b"}"#).matches(&collected));
        assert!(!query(r#"{"repository":"r","name":"a"}"#).matches(&collected));
        assert!(!query(r#"{"repository":"r","tag":"t"}"#).matches(&collected));
    }
}
