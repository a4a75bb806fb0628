//! What somebody may want of the registry, and what comes of it.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use supercargo_eventlog::event::{CollectedBlob, CollectedContents, Rot, TokenUse};
use supercargo_eventlog::{Event, PackedLayer, RepositoryConfig, V1Image};
use supercargo_model::account::{
    Actions, Grant, GroupName, PasswordHash, PermissionTarget, PermissionTargetName, TokenId, TokenKind,
    UserName,
};
use supercargo_model::tree::TreePath;
use supercargo_model::{Digest, ImageId, Manifest, Reference, RepoKey, RepoName, Tag, Timestamp};

use crate::RepositoryChange;
use crate::condition::Condition;
use crate::tree::{PropertiesChange, Reach};

/// A wish, decided by [`crate::decide::decide`] inside the writer.
#[derive(Debug, Clone)]
pub(crate) enum Command {
    CreateRepository {
        repository: RepoKey,
        config: RepositoryConfig,
    },
    /// What is not named stays as it is.
    ConfigureRepository {
        repository: RepoKey,
        change: Box<RepositoryChange>,
    },
    /// `force`: with all that it holds.
    RemoveRepository {
        repository: RepoKey,
        force: bool,
    },
    AddBlob {
        repository: RepoKey,
        name: RepoName,
        digest: Digest,
        size: u64,
    },
    /// `from: None` takes it from any name of the repository that has it.
    MountBlob {
        repository: RepoKey,
        name: RepoName,
        digest: Digest,
        from: Option<RepoName>,
    },
    DeleteBlob {
        repository: RepoKey,
        name: RepoName,
        digest: Digest,
    },
    PushManifest {
        repository: RepoKey,
        name: RepoName,
        /// What the client named: `condition` is on that.
        reference: Reference,
        digest: Digest,
        manifest: Box<Manifest>,
        tags: Vec<Tag>,
        condition: Condition,
        /// Those that its config says.
        labels: Vec<(String, String)>,
    },
    DeleteManifest {
        repository: RepoKey,
        name: RepoName,
        reference: Reference,
        condition: Condition,
    },
    DeleteName {
        repository: RepoKey,
        name: RepoName,
    },
    /// All tags of a name; what only they reached is for a collection to take.
    DeleteTags {
        repository: RepoKey,
        name: RepoName,
    },
    /// What is not there any more is passed over, but for the first.
    SetProperties {
        repository: RepoKey,
        changes: Vec<PropertiesChange>,
    },
    /// With all that is below it and that the eyes see; the hands must reach all of that.
    DeleteItem {
        repository: RepoKey,
        path: TreePath,
        eyes: Reach,
        hands: Reach,
    },
    Collect {
        policy: GcPolicy,
        cursor: CollectCursor,
    },
    Prune {
        empty_after: Duration,
    },
    Promote(Promotion),
    Migrate(Box<Migration>),
    /// What others call a blob by.
    RecordHashes {
        blob: Digest,
        md5: [u8; 16],
        sha1: [u8; 20],
    },
    RecordRot {
        digest: Digest,
        rot: Rot,
    },
    Accounts(AccountCommand),
    /// A complete V1 image, whose depth is found out here. `parent_in`: the name that holds its parent.
    PushImage {
        repository: RepoKey,
        /// Of whoever pushes it.
        waiting_room: RepoName,
        image: Box<V1Image>,
        parent_in: Option<RepoName>,
    },
    /// Sets a tag on a V1 image: on itself, or on what it is converted to. `held_in`: the names, or the waiting room, in
    /// which the caller found it and those that it was made from.
    SetImageTag {
        repository: RepoKey,
        name: RepoName,
        tag: Tag,
        id: ImageId,
        json: Digest,
        held_in: Vec<RepoName>,
        conversion: Option<Box<Conversion>>,
    },
    /// What a manifest of a name is to V1 clients: images, each after its parent.
    AddView {
        repository: RepoKey,
        name: RepoName,
        manifest: Digest,
        images: Vec<V1Image>,
        inspected: Vec<Inspected>,
        /// What is in the payload.
        brought: Vec<Digest>,
    },
}

/// Tags that come into other names, with all that they reach.
#[derive(Debug, Clone)]
pub(crate) struct Promotion {
    pub(crate) from: RepoKey,
    pub(crate) to: RepoKey,
    /// The names that tags come from, and those that they come into.
    pub(crate) names: Vec<(RepoName, RepoName)>,
    /// The one tag that comes, and what it is called there; else all.
    pub(crate) tag: Option<(Tag, Tag)>,
    /// Whether they also stay where they are.
    pub(crate) copy: bool,
    /// The names that they come into of which tags may be overwritten.
    pub(crate) overwriting: Reach,
}

/// A tag on a V1 image that becomes one on a manifest in another repository.
#[derive(Debug, Clone)]
pub(crate) struct Migration {
    pub(crate) from: RepoKey,
    pub(crate) name: RepoName,
    pub(crate) tag: Tag,
    /// The digest of the JSON of the image that was converted.
    pub(crate) json: Digest,
    /// The layers that were converted, that of the image first, and then those of what it was made from.
    pub(crate) layers: Vec<Digest>,
    pub(crate) to: RepoKey,
    pub(crate) conversion: Conversion,
    /// Whether a tag that was not migrated is overwritten.
    pub(crate) force: bool,
}

/// What a V1 image is to V2 clients.
#[derive(Debug, Clone)]
pub(crate) struct Conversion {
    pub(crate) digest: Digest,
    pub(crate) manifest: Manifest,
    /// What had to be found out for it.
    pub(crate) inspected: Vec<Inspected>,
    /// What is in the payload.
    pub(crate) brought: Vec<Digest>,
    /// Those that its config says.
    pub(crate) labels: Vec<(String, String)>,
}

/// What is in a layer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Inspected {
    pub(crate) layer: Digest,
    pub(crate) diff_id: Digest,
    pub(crate) unpacked_size: u64,
    pub(crate) packed: Option<PackedLayer>,
}

impl Inspected {
    pub(crate) fn event(&self) -> Event {
        let Inspected { layer, diff_id, unpacked_size, packed } = *self;
        Event::LayerInspected { layer, diff_id, unpacked_size, packed }
    }
}

/// A wish that is about who may be who and do what.
#[derive(Debug, Clone)]
pub(crate) enum AccountCommand {
    CreateUser {
        user: UserName,
        service: bool,
        administrator: bool,
        password: Option<PasswordHash>,
    },
    /// What is `None` stays as it is.
    ChangeUser {
        user: UserName,
        administrator: Option<bool>,
        disabled: Option<bool>,
    },
    SetPassword {
        user: UserName,
        password: Option<PasswordHash>,
    },
    /// The same password, hashed better; nothing, where the user has another by now.
    UpgradePassword {
        user: UserName,
        replaces: PasswordHash,
        hash: PasswordHash,
    },
    RemoveUser {
        user: UserName,
    },
    CreateGroup {
        group: GroupName,
        description: String,
    },
    RemoveGroup {
        group: GroupName,
    },
    AddMember {
        group: GroupName,
        user: UserName,
    },
    RemoveMember {
        group: GroupName,
        user: UserName,
    },
    IssueToken {
        token: TokenId,
        user: UserName,
        kind: TokenKind,
        description: String,
        secret_sha256: [u8; 32],
        expires_at: Option<Timestamp>,
        /// The password that it is issued for, where it is for one: the user must have it still.
        password: Option<PasswordHash>,
    },
    RevokeToken {
        token: TokenId,
    },
    RecordTokenUses {
        uses: Vec<TokenUse>,
    },
    /// Takes away tokens that have ended by themselves.
    RemoveEndedTokens,
    SetPermission {
        grant: Grant,
        actions: Actions,
    },
    RemovePermission {
        grant: Grant,
    },
    /// Brings a user to these settings, at once. `make`: also one that is not there.
    SaveUser {
        user: UserName,
        make: bool,
        settings: UserSettings,
    },
    /// Brings a group to these settings, at once. `make`: also one that is not there.
    SaveGroup {
        group: GroupName,
        make: bool,
        settings: GroupSettings,
    },
    SetPermissionTarget {
        target: PermissionTargetName,
        permissions: PermissionTarget,
    },
    RemovePermissionTarget {
        target: PermissionTargetName,
    },
}

/// What a user is to be; what is `None` stays as it is, and is as little as possible where the user is made.
#[derive(Debug, Clone, Default)]
pub struct UserSettings {
    /// Whether it may do everything.
    pub administrator: Option<bool>,
    /// Whether it is locked out.
    pub disabled: Option<bool>,
    /// Its password's hash, or that it has none.
    pub password: Option<Option<PasswordHash>>,
    /// Where it can be written to, or that this is not known.
    pub email: Option<Option<String>>,
    /// The groups that it is in, and no other.
    pub groups: Option<Vec<GroupName>>,
}

/// What a group is to be; what is `None` stays as it is, and is nothing where the group is made.
#[derive(Debug, Clone, Default)]
pub struct GroupSettings {
    /// What it is for.
    pub description: Option<String>,
    /// The users in it, and no other.
    pub members: Option<Vec<UserName>>,
}

/// How long what nothing refers to is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GcPolicy {
    /// How long a push in flight may rely on what it was told is there (`gc.lease`).
    pub lease: Duration,
    /// How long a manifest without tags is kept that nobody deleted (`gc.untagged_after`).
    pub untagged_after: Duration,
    /// How long what was deleted can be had back (`gc.keep_deleted`).
    pub keep_deleted: Duration,
}

impl Default for GcPolicy {
    fn default() -> GcPolicy {
        GcPolicy {
            lease: Duration::from_secs(60 * 60),
            untagged_after: Duration::from_secs(7 * 24 * 60 * 60),
            keep_deleted: Duration::ZERO,
        }
    }
}

/// How far a collection has looked: past what it had to leave (leased), so that a step never looks at it
/// twice. The encoded key of the last orphan of each wait.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct CollectCursor {
    pub(crate) after: [Option<Vec<u8>>; 4],
    /// Whether this pass collected contents, so that another has to follow.
    pub(crate) found: bool,
}

/// What a collection removed, or would remove.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Collected {
    /// Contents that are no longer in their names.
    pub contents: Vec<CollectedContents>,
    /// Blobs whose bytes are removed.
    pub blobs: Vec<CollectedBlob>,
}

impl Collected {
    /// Whether there was nothing to do.
    pub fn is_empty(&self) -> bool {
        self.contents.is_empty() && self.blobs.is_empty()
    }

    /// How many contents left their names.
    pub fn contents_count(&self) -> u64 {
        self.contents.iter().map(|contents| contents.digests.len() as u64).sum()
    }

    /// Bytes that are freed.
    pub fn bytes(&self) -> u64 {
        self.blobs.iter().map(|blob| blob.size).sum()
    }
}

/// Events to append, and what to tell whoever wanted them.
#[derive(Debug)]
pub(crate) struct Decision {
    pub(crate) events: Vec<Event>,
    pub(crate) outcome: Outcome,
}

impl Decision {
    pub(crate) fn done(events: Vec<Event>) -> Decision {
        Decision { events, outcome: Outcome::Done }
    }
}

/// A tag that was promoted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PromotedTag {
    /// The name that it came from.
    pub from_name: RepoName,
    /// What it was called there.
    pub from_tag: Tag,
    /// The name that it came into.
    pub name: RepoName,
    /// What it is called there.
    pub tag: Tag,
    /// What it points to.
    pub digest: Digest,
    /// Whether anything changed by that.
    pub changed: bool,
}

/// What came of a command.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It is so now.
    Done,
    /// Whether a blob was mounted.
    Mounted(Option<u64>),
    /// What a step of a collection removed, where the next begins, and whether there may be more.
    Collected { collected: Collected, cursor: CollectCursor, more: bool },
    /// Which folders a step of pruning removed, and whether there may be more.
    Pruned { folders: Vec<(RepoKey, String)>, more: bool },
    /// Which tags were promoted.
    Promoted(Vec<PromotedTag>),
    /// What the tag points at now, and whether that is new.
    Migrated { digest: Digest, changed: bool },
}

impl Command {
    /// Whether carrying it out makes room on the disk, or at least does not take more than its record.
    pub(crate) fn frees_room(&self) -> bool {
        matches!(
            self,
            Command::DeleteBlob { .. }
                | Command::DeleteManifest { .. }
                | Command::DeleteName { .. }
                | Command::DeleteTags { .. }
                | Command::DeleteItem { .. }
                | Command::RemoveRepository { .. }
                | Command::Collect { .. }
                | Command::Prune { .. }
                | Command::RecordRot { .. }
        ) || matches!(self, Command::Accounts(command) if command.locks_out())
    }
}

impl AccountCommand {
    /// Whether it takes something away from somebody: that must not have to wait for room on a disk.
    fn locks_out(&self) -> bool {
        matches!(
            self,
            AccountCommand::ChangeUser { .. }
                | AccountCommand::SetPassword { .. }
                | AccountCommand::RemoveUser { .. }
                | AccountCommand::RemoveGroup { .. }
                | AccountCommand::RemoveMember { .. }
                | AccountCommand::RevokeToken { .. }
                | AccountCommand::RemoveEndedTokens
                | AccountCommand::RemovePermission { .. }
                | AccountCommand::SaveUser { make: false, .. }
                | AccountCommand::RemovePermissionTarget { .. }
        )
    }
}
