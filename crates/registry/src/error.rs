//! Outcomes that a caller treats differently. Each surface maps them to its own statuses, in one place.

use std::time::Duration;

use supercargo_blobs::StoreError;
use supercargo_eventlog::DockerApiVersion;
use supercargo_model::account::{GroupName, PermissionTargetName, TokenId, UserName};
use supercargo_model::tree::TreePath;
use supercargo_model::v1::ImageJsonError;
use supercargo_model::{Digest, ImageId, ManifestError, RepoKey, RepoName, Tag, limits};

use crate::rules::Broken;

/// Why a use case did not succeed. Texts are fit to be shown to a person, except [`Error::Internal`]'s.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No such repository.
    #[error("there is no repository {0}")]
    RepositoryUnknown(RepoKey),
    /// A repository of that key exists already.
    #[error("repository {0} exists already")]
    RepositoryExists(RepoKey),
    /// The repository holds names, and removal was not forced.
    #[error("repository {repository} holds {names} names; delete them first, or force the removal")]
    RepositoryNotEmpty {
        /// The repository.
        repository: RepoKey,
        /// How many names it holds.
        names: u64,
    },
    /// A repository that speaks V1 alone can't be made to speak V2 while its tags point at V1 images.
    #[error(
        "tags of repository {repository} point at V1 images, as {name}:{tag} does: migrate them into another repository, \
         or delete them first"
    )]
    TagsPointAtImages {
        /// The repository.
        repository: RepoKey,
        /// The first name that has such a tag.
        name: RepoName,
        /// The tag.
        tag: Tag,
    },
    /// What one repository holds can't come into the other as it is.
    #[error(
        "repository {from} speaks {from_version:?} and repository {to} {to_version:?}: promotion is between repositories of the \
         same Docker API version; from V1 into V2 is migration"
    )]
    ProtocolsDiffer {
        /// The repository that something was to come from.
        from: RepoKey,
        /// What it speaks.
        from_version: DockerApiVersion,
        /// The repository that it was to come into.
        to: RepoKey,
        /// What it speaks.
        to_version: DockerApiVersion,
    },
    /// A repository does not speak the protocol that the operation is for.
    #[error("repository {repository} speaks {version:?}: {why}")]
    WrongProtocol {
        /// The repository.
        repository: RepoKey,
        /// What it speaks.
        version: DockerApiVersion,
        /// What is needed.
        why: &'static str,
    },
    /// A tag is in the way of a migration.
    #[error(
        "tag {tag} of repository name {name} is there already and points at {present}, which no migration put there: delete it \
         first, or force the migration"
    )]
    TagInTheWay {
        /// The name.
        name: RepoName,
        /// The tag.
        tag: Tag,
        /// What it points at.
        present: Digest,
    },
    /// No such name in the repository.
    #[error("repository name {0} is not known")]
    NameUnknown(RepoName),
    /// The repository's tree has no such folder or file, or none that the caller may see.
    #[error("there is no {0:?}")]
    ItemUnknown(TreePath),
    /// Something in use needs what was to be deleted. The text says what to do.
    #[error("{path:?} is in use: {why}")]
    ItemInUse {
        /// The folder or file.
        path: TreePath,
        /// What needs it, and what to do.
        why: &'static str,
    },
    /// The caller may not change that.
    #[error("you may not change {0:?}")]
    ItemForbidden(TreePath),
    /// The caller may not overwrite that.
    #[error("you may not overwrite the tag {tag} of {name} in {repository}")]
    TagForbidden {
        /// The repository.
        repository: RepoKey,
        /// The name.
        name: RepoName,
        /// The tag.
        tag: Tag,
    },
    /// No such user.
    #[error("there is no user {0}")]
    UserUnknown(UserName),
    /// A user of that name exists already.
    #[error("user {0} exists already")]
    UserExists(UserName),
    /// No such group.
    #[error("there is no group {0}")]
    GroupUnknown(GroupName),
    /// A group of that name exists already.
    #[error("group {0} exists already")]
    GroupExists(GroupName),
    /// No such token.
    #[error("there is no token {0}")]
    TokenUnknown(TokenId),
    /// No such permission.
    #[error("there is no such permission")]
    PermissionUnknown,
    /// No such permission target.
    #[error("there is no permission target {0}")]
    PermissionTargetUnknown(PermissionTargetName),
    /// Nobody would be left to administer the registry.
    #[error("{0} is the last administrator: make another first")]
    LastAdministrator(UserName),
    /// The name holds no such blob.
    #[error("blob {0} is not known here")]
    BlobUnknown(Digest),
    /// The name holds no such manifest, or no such tag.
    #[error("manifest {0} is not known here")]
    ManifestUnknown(String),
    /// The name has no such tag.
    #[error("tag {0} is not known here")]
    TagUnknown(Tag),
    /// The repository has no such V1 image that the caller may see.
    #[error("image {0} is not known here")]
    ImageUnknown(ImageId),
    /// A V1 image of that id is there, and images don't change.
    #[error("image {0} exists already")]
    ImageExists(ImageId),
    /// The V1 image is complete: its checksum was set.
    #[error("the checksum of image {0} is set already")]
    ImageChecksumSet(ImageId),
    /// The JSON of a V1 image can't be taken.
    #[error(transparent)]
    ImageJson(#[from] ImageJsonError),
    /// The parent of a V1 image is not there.
    #[error("the image's parent {0} is not known here: push it first")]
    ParentUnknown(ImageId),
    /// The parent of a V1 image is not complete yet.
    #[error("the image's parent {0} is being uploaded: complete it first")]
    ParentUploading(ImageId),
    /// A V1 image has too many ancestors.
    #[error("the image's chain is deeper than {} images", limits::IMAGE_CHAIN_MAX)]
    ChainTooDeep,
    /// The checksum of a V1 image came before its layer.
    #[error("the layer of image {0} was not uploaded yet")]
    LayerMissing(ImageId),
    /// The bytes of a V1 image do not have the checksum that the client gave.
    #[error("the image's checksum is {actual}, not {expected}")]
    ChecksumMismatch {
        /// What the client said.
        expected: String,
        /// What the bytes have.
        actual: String,
    },
    /// A layer can't be unpacked. The text says why.
    #[error("layer {layer} can't be read: {why}")]
    LayerUnreadable {
        /// The layer.
        layer: Digest,
        /// What is wrong with it.
        why: String,
    },
    /// What was asked for can't be converted to what the client speaks. The text says why.
    #[error("{0}")]
    NotConvertible(String),
    /// The log has no such record.
    #[error("there is no record {seq}: the log holds {size}, counted from 0")]
    RecordUnknown {
        /// The record's seq.
        seq: u64,
        /// How many records the log holds.
        size: u64,
    },
    /// A manifest refers to things that the name does not hold.
    #[error("the manifest refers to content that was not pushed to this name")]
    ManifestBlobUnknown(Vec<Digest>),
    /// A manifest can't be taken.
    #[error(transparent)]
    ManifestInvalid(#[from] ManifestError),
    /// The bytes do not hash to the digest that the client gave.
    #[error("the content's digest is {actual}, not {expected}")]
    DigestMismatch {
        /// What the client said.
        expected: Digest,
        /// What the bytes hash to.
        actual: Digest,
    },
    /// No such upload session in that name.
    #[error("the upload session is not known; start a new one")]
    UploadUnknown,
    /// A chunk does not start where the session ends, is not as long as it says, or another request is
    /// writing to the session. The session lives on.
    #[error("the chunk does not fit: the session holds {received} bytes")]
    UploadOutOfOrder {
        /// How many bytes the session holds.
        received: u64,
    },
    /// The client sent fewer bytes than announced, or vanished. What came is kept where a session can
    /// be resumed.
    #[error("the request body ended early")]
    BodyIncomplete,
    /// The client sent nothing for too long.
    #[error("the request body came too slowly")]
    BodyTimeout,
    /// A condition on the present state does not hold.
    #[error("the precondition does not hold: {0}")]
    Precondition(String),
    /// The [`Condition`](crate::Condition) on a change does not hold of the tag or manifest that is there.
    #[error(
        "the condition does not hold: {}; read it again, then decide whether to change it",
        present.map_or_else(|| "there is no such tag or manifest".to_owned(), |digest| format!("it is {digest} now"))
    )]
    Changed {
        /// What is there.
        present: Option<Digest>,
    },
    /// A rule of the repository forbids it.
    #[error(transparent)]
    AgainstRule(#[from] Broken),
    /// An argument is not usable, in a way that no type at the edge could tell.
    #[error("{0}")]
    Invalid(String),
    /// The writer's queue stayed full for as long as a caller may wait.
    #[error("the registry is busy; try again")]
    Busy {
        /// When to try again.
        retry_after: Duration,
    },
    /// There is no room for what was sent. Nothing of it was kept.
    #[error("the registry's disk is full; nothing was stored")]
    DiskFull,
    /// The registry is stopping or its storage failed.
    #[error("the registry can't do that now; try again")]
    Unavailable,
    /// Something broke that no client caused. The text is for the log, never for a client.
    #[error("internal: {0}")]
    Internal(String),
}

impl Error {
    pub(crate) fn internal(error: impl std::fmt::Display) -> Error {
        Error::Internal(error.to_string())
    }

    /// Whether the command was refused for certain, so that no record mentions what it was about. What
    /// is left is where that is not known, or where the command was never decided.
    pub(crate) const fn is_refusal(&self) -> bool {
        !matches!(self, Error::Busy { .. } | Error::DiskFull | Error::Unavailable | Error::Internal(_))
    }

    /// The writer answered a command with the outcome of another kind.
    pub(crate) fn unexpected(outcome: &crate::command::Outcome) -> Error {
        Error::Internal(format!("unexpected outcome {outcome:?}"))
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Error {
        match error {
            StoreError::SessionUnknown => Error::UploadUnknown,
            StoreError::OutOfOrder { received } => Error::UploadOutOfOrder { received },
            StoreError::BodyIncomplete { .. } => Error::BodyIncomplete,
            StoreError::BodyTimeout { .. } => Error::BodyTimeout,
            StoreError::DiskFull => Error::DiskFull,
            StoreError::TooManySessions { .. } => Error::Busy { retry_after: Duration::from_secs(60) },
            other => Error::internal(other),
        }
    }
}
