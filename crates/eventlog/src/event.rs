//! What can happen to a registry, as facts in the past tense, and the envelope each is recorded in.
//!
//! This file is a contract: a variant or field once released is never removed, renumbered or reordered
//! (bincode counts positions). A change of shape is a new record version, lifted from the old in
//! [`crate::codec`]. Every variant has golden bytes under fixtures/events/.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use supercargo_model::account::{
    Actions, Grant, GroupName, PasswordHash, PermissionTarget, PermissionTargetName, TokenId, TokenKind,
    UserName,
};
use supercargo_model::{
    Digest, ImageId, Manifest, PathPattern, RepoKey, RepoName, Tag, Timestamp, stored_name,
};
use uuid::Uuid;

use crate::rules::ContentRules;

/// An event and what is known of how it came about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Its place in the log, from 0, without holes.
    pub seq: u64,
    /// When it was decided; never less than the record before.
    pub at: Timestamp,
    /// A UUID, version 7.
    pub id: Uuid,
    /// Who wanted it.
    pub actor: Actor,
    /// Where the wish came from.
    pub origin: Origin,
    /// What happened.
    pub event: Event,
}

/// Who did something.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Actor {
    /// The registry itself: first start, collection, pruning, scrub.
    System,
    /// Somebody who gave no name.
    Anonymous,
    /// A named user.
    User(String),
}

impl Actor {
    /// The user's name, of one that has one.
    pub fn user(&self) -> Option<&str> {
        match self {
            Actor::User(name) => Some(name),
            Actor::System | Actor::Anonymous => None,
        }
    }
}

impl std::fmt::Display for Actor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Actor::System => f.write_str("system"),
            Actor::Anonymous => f.write_str("anonymous"),
            Actor::User(name) => f.write_str(name),
        }
    }
}

/// Where a command came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The surface that it came through.
    pub api: Api,
    /// The client's address.
    pub remote: Option<IpAddr>,
    /// The client's User-Agent, cut to [`ORIGIN_TEXT_BYTES_MAX`].
    pub user_agent: Option<String>,
    /// The request's id, cut to [`ORIGIN_TEXT_BYTES_MAX`].
    pub request_id: Option<String>,
}

/// Longest user agent and request id that a record keeps, in bytes.
pub const ORIGIN_TEXT_BYTES_MAX: usize = 128;

impl Origin {
    /// An origin with no client behind it.
    pub const fn local(api: Api) -> Origin {
        Origin { api, remote: None, user_agent: None, request_id: None }
    }
}

/// The surfaces of the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Api {
    /// The registry's own start.
    Startup,
    /// A scheduled worker.
    Worker,
    /// The command line, on a data folder.
    Cli,
    /// The administration API.
    Admin,
    /// Docker Registry V2 / OCI distribution.
    DockerV2,
    /// Docker Registry V1.
    DockerV1,
    /// The Artifactory surface.
    Artifactory,
}

/// Which Docker protocols a repository speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum DockerApiVersion {
    /// V2 alone.
    #[default]
    V2,
    /// V1 alone.
    V1,
    /// Both, from the same names and tags.
    #[serde(rename = "both")]
    Both,
}

/// How clients of a repository are told to log in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LoginMethod {
    /// Once, for bearer tokens that are good for a while (the distribution project's token authentication).
    #[default]
    Token,
    /// With each request, by name and password (RFC 7617).
    Basic,
}

/// The settings of a repository.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RepositoryConfig {
    /// What it is for, in its owner's words.
    pub description: String,
    /// Which Docker protocols it speaks.
    pub docker_api_version: DockerApiVersion,
    /// Whether an index may lack manifests that it lists.
    pub sparse_index: bool,
    /// What may be pushed to it.
    pub rules: ContentRules,
    /// How its clients are told to log in, where there are accounts. Exports of version 1 do not say.
    #[serde(default)]
    pub login: LoginMethod,
    /// Whether the tarsum that a V1 client sends with a layer must be right. Exports before version 3 do not say.
    #[serde(default)]
    pub verify_tarsum: bool,
    /// The port by which clients ask for it. Exports before version 4 say nothing of this and of what follows.
    #[serde(default)]
    pub docker_port: Option<u16>,
    /// Whether it is out of use: what it holds is kept, and not served.
    #[serde(default)]
    pub blacked_out: bool,
    /// How many tags a name has at most; the oldest go when it gets more. 0 is no limit.
    #[serde(default)]
    pub max_unique_tags: u32,
    /// Which paths of its tree may be pushed to; all, where there are none.
    #[serde(default)]
    pub includes: Vec<PathPattern>,
    /// Which paths of its tree may not be pushed to.
    #[serde(default)]
    pub excludes: Vec<PathPattern>,
    /// Settings that others know of it and that mean nothing here: names, with their values as JSON.
    #[serde(default)]
    pub attributes: Vec<(String, String)>,
}

/// A Docker V1 image: one JSON, one layer, at most one parent. Its JSON is kept as a blob, and what tags point at is that
/// blob's digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct V1Image {
    /// What its maker called it.
    pub id: ImageId,
    /// The image it was made from.
    pub parent: Option<V1Parent>,
    /// How many images its chain has: itself, its parent, and so on.
    pub depth: u32,
    /// The digest of its JSON.
    pub json: Digest,
    /// The size of its JSON in bytes.
    pub json_size: u64,
    /// Its layer.
    pub layer: Digest,
    /// The size of its layer in bytes, as it is kept.
    pub layer_size: u64,
    /// The SHA-256 of its JSON, a newline and its layer. None for an image that was made here.
    pub checksum: Option<Digest>,
    /// The tarsum that came with it, whether or not it was verified.
    pub tarsum: Option<String>,
}

/// The image that another was made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct V1Parent {
    /// What its maker called it.
    pub id: ImageId,
    /// The digest of its JSON.
    pub json: Digest,
}

/// A layer packed anew, as gzip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackedLayer {
    /// The digest of the packed bytes.
    pub digest: Digest,
    /// Their size in bytes.
    pub size: u64,
}

/// Contents of one name that a collection removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CollectedContents {
    /// The repository.
    pub repository: RepoKey,
    /// The name in it.
    #[serde(with = "stored_name")]
    pub name: RepoName,
    /// The blobs and manifests that are no longer in that name.
    pub digests: Vec<Digest>,
}

/// A blob whose bytes a collection removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CollectedBlob {
    /// The blob.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
}

/// What a scrub found wrong with a stored blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rot {
    /// There are no bytes.
    Missing,
    /// There are more or fewer bytes than the record says.
    WrongSize,
    /// The bytes hash to something else.
    WrongDigest,
    /// The storage gave an error when read.
    Unreadable,
}

/// When a token was last used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenUse {
    /// The token.
    pub token: TokenId,
    /// When.
    pub at: Timestamp,
}

/// What happened. The records of one command are atomic and adjacent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all_fields = "snake_case")]
pub enum Event {
    /// A repository came to be.
    RepositoryCreated {
        /// Its key.
        repository: RepoKey,
        /// Its settings.
        config: RepositoryConfig,
    },
    /// A repository's settings changed.
    RepositoryConfigured {
        /// Its key.
        repository: RepoKey,
        /// All settings as they are now.
        config: RepositoryConfig,
    },
    /// A repository is gone; its names were deleted by the records before this one.
    RepositoryRemoved {
        /// Its key.
        repository: RepoKey,
    },
    /// A blob was uploaded into a name.
    BlobAdded {
        /// The repository.
        repository: RepoKey,
        /// The name.
        #[serde(with = "stored_name")]
        name: RepoName,
        /// The blob.
        digest: Digest,
        /// Its size in bytes.
        size: u64,
    },
    /// A blob that another name holds was mounted into a name.
    BlobMounted {
        /// The repository.
        repository: RepoKey,
        /// The name that now holds it too.
        #[serde(with = "stored_name")]
        name: RepoName,
        /// The blob.
        digest: Digest,
        /// Its size in bytes.
        size: u64,
        /// The repository it was mounted from.
        from_repository: RepoKey,
        /// The name it was mounted from.
        #[serde(with = "stored_name")]
        from_name: RepoName,
    },
    /// A blob was deleted from a name.
    BlobDeleted {
        /// The repository.
        repository: RepoKey,
        /// The name.
        #[serde(with = "stored_name")]
        name: RepoName,
        /// The blob.
        digest: Digest,
    },
    /// A manifest was pushed into a name.
    ManifestPushed {
        /// The repository.
        repository: RepoKey,
        /// The name.
        #[serde(with = "stored_name")]
        name: RepoName,
        /// The digest of its bytes.
        digest: Digest,
        /// What was read from it, so that no fold ever opens a blob.
        manifest: Manifest,
    },
    /// A manifest was deleted from a name; tags on it were deleted by the records before this one.
    ManifestDeleted {
        /// The repository.
        repository: RepoKey,
        /// The name.
        #[serde(with = "stored_name")]
        name: RepoName,
        /// The manifest.
        digest: Digest,
    },
    /// A tag was made or moved.
    TagSet {
        /// The repository.
        repository: RepoKey,
        /// The name.
        #[serde(with = "stored_name")]
        name: RepoName,
        /// The tag.
        tag: Tag,
        /// The manifest it points to now.
        digest: Digest,
        /// The manifest it pointed to before.
        previous: Option<Digest>,
    },
    /// A tag was deleted.
    TagDeleted {
        /// The repository.
        repository: RepoKey,
        /// The name.
        #[serde(with = "stored_name")]
        name: RepoName,
        /// The tag.
        tag: Tag,
        /// The manifest it pointed to.
        previous: Digest,
    },
    /// A repository name is gone; what it held was deleted by the records before this one.
    RepositoryNameDeleted {
        /// The repository.
        repository: RepoKey,
        /// The name.
        #[serde(with = "stored_name")]
        name: RepoName,
    },
    /// Properties of a folder or file of the tree were set or removed.
    PropertiesSet {
        /// The repository.
        repository: RepoKey,
        /// The path in it, without a leading slash; empty for the repository itself.
        path: String,
        /// Properties with their values as they are now.
        set: Vec<(String, Vec<String>)>,
        /// Properties that are gone.
        removed: Vec<String>,
    },
    /// A collection removed orphans.
    OrphansCollected {
        /// Contents that are no longer in their names.
        contents: Vec<CollectedContents>,
        /// Blobs that no name held any more, whose bytes are removed.
        blobs: Vec<CollectedBlob>,
    },
    /// Empty folders were removed from a repository's tree.
    FoldersPruned {
        /// The repository.
        repository: RepoKey,
        /// The folders' paths, deepest first.
        paths: Vec<String>,
    },
    /// A scrub found a stored blob rotten. It is not served any more; uploading it again mends it.
    BlobRotFound {
        /// The blob.
        digest: Digest,
        /// What is wrong with it.
        rot: Rot,
    },
    /// A user came to be.
    UserCreated {
        /// Its name.
        user: UserName,
        /// Whether it is a service account.
        service: bool,
        /// Whether it may do everything.
        administrator: bool,
        /// Its password's hash.
        password: Option<PasswordHash>,
    },
    /// What a user is changed.
    UserChanged {
        /// The user.
        user: UserName,
        /// Whether it may do everything now.
        administrator: bool,
        /// Whether it is locked out now.
        disabled: bool,
    },
    /// A user has another password, or none any more.
    PasswordSet {
        /// The user.
        user: UserName,
        /// The new one's hash.
        password: Option<PasswordHash>,
    },
    /// A user is gone; its tokens, memberships and permissions were taken away by the records before this one.
    UserRemoved {
        /// The user.
        user: UserName,
    },
    /// A group came to be.
    GroupCreated {
        /// Its name.
        group: GroupName,
        /// What it is for, in its owner's words.
        description: String,
    },
    /// A group is gone; its members and permissions were taken away by the records before this one.
    GroupRemoved {
        /// The group.
        group: GroupName,
    },
    /// A user came into a group.
    MemberAdded {
        /// The group.
        group: GroupName,
        /// The user.
        user: UserName,
    },
    /// A user left a group.
    MemberRemoved {
        /// The group.
        group: GroupName,
        /// The user.
        user: UserName,
    },
    /// A user was given a token.
    TokenIssued {
        /// The token.
        token: TokenId,
        /// Whose it is.
        user: UserName,
        /// What it is for.
        token_kind: TokenKind,
        /// What its owner calls it.
        description: String,
        /// The SHA-256 of its secret part.
        #[serde(with = "supercargo_model::account::hex")]
        secret_sha256: [u8; 32],
        /// From when on it is not taken.
        expires_at: Option<Timestamp>,
    },
    /// A token is not taken any more.
    TokenRevoked {
        /// The token.
        token: TokenId,
        /// Whose it was.
        user: UserName,
    },
    /// Tokens were used. Counted together, so that a use costs no record of its own.
    TokensUsed {
        /// Which, and when last.
        uses: Vec<TokenUse>,
    },
    /// Somebody may do something from now on.
    PermissionSet {
        /// Who, and where.
        grant: Grant,
        /// What, in place of what it was.
        actions: Actions,
    },
    /// A permission was taken away.
    PermissionRemoved {
        /// Who, and where.
        grant: Grant,
    },
    /// A V1 image was pushed into a repository, and no tag reaches it yet.
    V1ImagePushed {
        /// The repository.
        repository: RepoKey,
        /// The waiting room of whoever pushed it.
        #[serde(with = "stored_name")]
        name: RepoName,
        /// The image.
        image: V1Image,
    },
    /// V1 images came into a name, out of a waiting room or from another name, or were made here of a manifest.
    V1ImagesAdded {
        /// The repository.
        repository: RepoKey,
        /// The name.
        #[serde(with = "stored_name")]
        name: RepoName,
        /// The waiting room that they leave, where they are in it.
        #[serde(default, with = "stored_name::option")]
        from: Option<RepoName>,
        /// The images, each after its parent.
        images: Vec<V1Image>,
    },
    /// A V1 image was deleted from a name.
    V1ImageDeleted {
        /// The repository.
        repository: RepoKey,
        /// The name.
        #[serde(with = "stored_name")]
        name: RepoName,
        /// The image.
        id: ImageId,
        /// The digest of its JSON.
        digest: Digest,
    },
    /// From now on a manifest is to V1 clients what an image is.
    V1ViewAdded {
        /// The repository.
        repository: RepoKey,
        /// The name that holds both.
        #[serde(with = "stored_name")]
        name: RepoName,
        /// The manifest.
        manifest: Digest,
        /// The digest of the image's JSON.
        image: Digest,
    },
    /// It was found out what is in a layer, so that nobody has to unpack it again.
    LayerInspected {
        /// The layer.
        layer: Digest,
        /// The SHA-256 of what it unpacks to.
        diff_id: Digest,
        /// How many bytes that has.
        unpacked_size: u64,
        /// The same layer as gzip, where it is packed otherwise.
        packed: Option<PackedLayer>,
    },
    /// A tag came into a name from another one, with all that it reaches; the records before say so of each thing.
    Promoted {
        /// The repository that it came into.
        repository: RepoKey,
        /// The name.
        #[serde(with = "stored_name")]
        name: RepoName,
        /// The tag.
        tag: Tag,
        /// What it points to.
        digest: Digest,
        /// The repository that it came from.
        from_repository: RepoKey,
        /// The name that it came from.
        #[serde(with = "stored_name")]
        from_name: RepoName,
        /// What it was called there.
        from_tag: Tag,
        /// Whether it left that name.
        moved: bool,
    },
    /// A tag on a V1 image became a tag on the manifest that the image is converted to, in another repository; the records
    /// before say so of each thing.
    Migrated {
        /// The repository that it came into.
        repository: RepoKey,
        /// The name.
        #[serde(with = "stored_name")]
        name: RepoName,
        /// The tag.
        tag: Tag,
        /// The manifest that it points to.
        digest: Digest,
        /// The repository that it came from.
        from_repository: RepoKey,
        /// The name that it came from.
        #[serde(with = "stored_name")]
        from_name: RepoName,
        /// What it was called there.
        from_tag: Tag,
        /// The image that it points to there.
        image: ImageId,
    },
    /// The other hashes of a blob were computed, so that nobody has to read it again for them.
    BlobHashed {
        /// The blob.
        blob: Digest,
        /// Its MD5.
        #[serde(with = "supercargo_model::account::hex")]
        md5: [u8; 16],
        /// Its SHA-1.
        #[serde(with = "supercargo_model::account::hex")]
        sha1: [u8; 20],
    },
    /// The labels of an image were read from its config.
    ConfigRead {
        /// The config.
        config: Digest,
        /// The labels with their values.
        labels: Vec<(String, String)>,
    },
    /// What is known of a user changed.
    UserDescribed {
        /// The user.
        user: UserName,
        /// Where it can be written to.
        email: Option<String>,
    },
    /// A permission target came to be, or says something else from now on.
    PermissionTargetSet {
        /// Its name.
        target: PermissionTargetName,
        /// What it says, in place of what it said.
        permissions: PermissionTarget,
    },
    /// A permission target is gone.
    PermissionTargetRemoved {
        /// Its name.
        target: PermissionTargetName,
    },
    /// What a group is for is said otherwise.
    GroupDescribed {
        /// The group.
        group: GroupName,
        /// What it is for.
        description: String,
    },
}

impl Event {
    /// The variant's name, as filters and listings show it.
    pub const fn kind(&self) -> &'static str {
        match self {
            Event::RepositoryCreated { .. } => "RepositoryCreated",
            Event::RepositoryConfigured { .. } => "RepositoryConfigured",
            Event::RepositoryRemoved { .. } => "RepositoryRemoved",
            Event::BlobAdded { .. } => "BlobAdded",
            Event::BlobMounted { .. } => "BlobMounted",
            Event::BlobDeleted { .. } => "BlobDeleted",
            Event::ManifestPushed { .. } => "ManifestPushed",
            Event::ManifestDeleted { .. } => "ManifestDeleted",
            Event::TagSet { .. } => "TagSet",
            Event::TagDeleted { .. } => "TagDeleted",
            Event::RepositoryNameDeleted { .. } => "RepositoryNameDeleted",
            Event::PropertiesSet { .. } => "PropertiesSet",
            Event::OrphansCollected { .. } => "OrphansCollected",
            Event::FoldersPruned { .. } => "FoldersPruned",
            Event::BlobRotFound { .. } => "BlobRotFound",
            Event::UserCreated { .. } => "UserCreated",
            Event::UserChanged { .. } => "UserChanged",
            Event::PasswordSet { .. } => "PasswordSet",
            Event::UserRemoved { .. } => "UserRemoved",
            Event::GroupCreated { .. } => "GroupCreated",
            Event::GroupRemoved { .. } => "GroupRemoved",
            Event::MemberAdded { .. } => "MemberAdded",
            Event::MemberRemoved { .. } => "MemberRemoved",
            Event::TokenIssued { .. } => "TokenIssued",
            Event::TokenRevoked { .. } => "TokenRevoked",
            Event::TokensUsed { .. } => "TokensUsed",
            Event::PermissionSet { .. } => "PermissionSet",
            Event::PermissionRemoved { .. } => "PermissionRemoved",
            Event::V1ImagePushed { .. } => "V1ImagePushed",
            Event::V1ImagesAdded { .. } => "V1ImagesAdded",
            Event::V1ImageDeleted { .. } => "V1ImageDeleted",
            Event::V1ViewAdded { .. } => "V1ViewAdded",
            Event::LayerInspected { .. } => "LayerInspected",
            Event::Promoted { .. } => "Promoted",
            Event::Migrated { .. } => "Migrated",
            Event::BlobHashed { .. } => "BlobHashed",
            Event::ConfigRead { .. } => "ConfigRead",
            Event::UserDescribed { .. } => "UserDescribed",
            Event::PermissionTargetSet { .. } => "PermissionTargetSet",
            Event::PermissionTargetRemoved { .. } => "PermissionTargetRemoved",
            Event::GroupDescribed { .. } => "GroupDescribed",
        }
    }

    /// Every variant's name, in the order of their numbers.
    pub const KINDS: [&'static str; 41] = [
        "RepositoryCreated",
        "RepositoryConfigured",
        "RepositoryRemoved",
        "BlobAdded",
        "BlobMounted",
        "BlobDeleted",
        "ManifestPushed",
        "ManifestDeleted",
        "TagSet",
        "TagDeleted",
        "RepositoryNameDeleted",
        "PropertiesSet",
        "OrphansCollected",
        "FoldersPruned",
        "BlobRotFound",
        "UserCreated",
        "UserChanged",
        "PasswordSet",
        "UserRemoved",
        "GroupCreated",
        "GroupRemoved",
        "MemberAdded",
        "MemberRemoved",
        "TokenIssued",
        "TokenRevoked",
        "TokensUsed",
        "PermissionSet",
        "PermissionRemoved",
        "V1ImagePushed",
        "V1ImagesAdded",
        "V1ImageDeleted",
        "V1ViewAdded",
        "LayerInspected",
        "Promoted",
        "Migrated",
        "BlobHashed",
        "ConfigRead",
        "UserDescribed",
        "PermissionTargetSet",
        "PermissionTargetRemoved",
        "GroupDescribed",
    ];

    /// The repository that the event is about, where it is about one.
    pub const fn repository(&self) -> Option<&RepoKey> {
        match self {
            Event::RepositoryCreated { repository, .. }
            | Event::RepositoryConfigured { repository, .. }
            | Event::RepositoryRemoved { repository }
            | Event::BlobAdded { repository, .. }
            | Event::BlobMounted { repository, .. }
            | Event::BlobDeleted { repository, .. }
            | Event::ManifestPushed { repository, .. }
            | Event::ManifestDeleted { repository, .. }
            | Event::TagSet { repository, .. }
            | Event::TagDeleted { repository, .. }
            | Event::RepositoryNameDeleted { repository, .. }
            | Event::PropertiesSet { repository, .. }
            | Event::FoldersPruned { repository, .. }
            | Event::V1ImagePushed { repository, .. }
            | Event::V1ImagesAdded { repository, .. }
            | Event::V1ImageDeleted { repository, .. }
            | Event::V1ViewAdded { repository, .. }
            | Event::Promoted { repository, .. }
            | Event::Migrated { repository, .. } => Some(repository),
            _ => None,
        }
    }

    /// The repository name that the event is about, where it is about one.
    pub const fn name(&self) -> Option<&RepoName> {
        match self {
            Event::BlobAdded { name, .. }
            | Event::BlobMounted { name, .. }
            | Event::BlobDeleted { name, .. }
            | Event::ManifestPushed { name, .. }
            | Event::ManifestDeleted { name, .. }
            | Event::TagSet { name, .. }
            | Event::TagDeleted { name, .. }
            | Event::RepositoryNameDeleted { name, .. }
            | Event::V1ImagePushed { name, .. }
            | Event::V1ImagesAdded { name, .. }
            | Event::V1ImageDeleted { name, .. }
            | Event::V1ViewAdded { name, .. }
            | Event::Promoted { name, .. }
            | Event::Migrated { name, .. } => Some(name),
            _ => None,
        }
    }

    /// Whether it makes, changes or removes a repository.
    pub const fn is_of_repository(&self) -> bool {
        matches!(
            self,
            Event::RepositoryCreated { .. }
                | Event::RepositoryConfigured { .. }
                | Event::RepositoryRemoved { .. }
        )
    }

    /// Whether it changes who may be who and do what.
    pub const fn is_of_accounts(&self) -> bool {
        matches!(
            self,
            Event::UserCreated { .. }
                | Event::UserChanged { .. }
                | Event::PasswordSet { .. }
                | Event::UserRemoved { .. }
                | Event::GroupCreated { .. }
                | Event::GroupRemoved { .. }
                | Event::MemberAdded { .. }
                | Event::MemberRemoved { .. }
                | Event::TokenIssued { .. }
                | Event::TokenRevoked { .. }
                | Event::PermissionSet { .. }
                | Event::PermissionRemoved { .. }
                | Event::UserDescribed { .. }
                | Event::PermissionTargetSet { .. }
                | Event::PermissionTargetRemoved { .. }
                | Event::GroupDescribed { .. }
        )
    }

    /// Whether it changes who may do what. Tokens are looked up each time they are sent.
    pub const fn changes_rights(&self) -> bool {
        self.is_of_accounts() && !matches!(self, Event::TokenIssued { .. } | Event::TokenRevoked { .. })
    }

    /// The tag that the event is about, where it is about one.
    pub const fn tag(&self) -> Option<&Tag> {
        match self {
            Event::TagSet { tag, .. }
            | Event::TagDeleted { tag, .. }
            | Event::Promoted { tag, .. }
            | Event::Migrated { tag, .. } => Some(tag),
            _ => None,
        }
    }
}
