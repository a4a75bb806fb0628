//! The words of the registry as types: repository keys, repository names, tags, digests, media types
//! and manifests, each parsed once at the edge and valid ever after.
//!
//! What lives here: types, their parsers, the limits they obey, and what an image is in another protocol than its own.
//! What does not: I/O, clocks, hashing of streams, anything that knows of HTTP or of tables.

pub mod account;
mod digest;
mod image_id;
pub mod limits;
pub mod manifest;
pub mod media_type;
mod names;
mod path_pattern;
mod pattern;
mod reference;
mod signed;
mod time;
pub mod tree;
pub mod v1;

pub use digest::{Algorithm, Digest};
pub use image_id::ImageId;
pub use manifest::{Descriptor, Manifest, ManifestError};
pub use names::{RepoKey, RepoName, Tag, stored_name};
pub use path_pattern::PathPattern;
pub use pattern::{Pattern, pattern_matches};
pub use reference::Reference;
pub use signed::Signed;
pub use time::Timestamp;

/// Why a string from outside was refused. The text is fit to be shown to a person.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseError {
    /// Not a repository key.
    #[error(
        "repository key {0:?} is not valid: use 1 to 64 letters, digits, dots and hyphens, starting with a letter or digit"
    )]
    RepoKey(String),
    /// Not a repository name.
    #[error(
        "repository name {0:?} is not valid: use lower-case letters and digits, separated by . _ __ or hyphens, in components joined by /, 255 bytes at most"
    )]
    RepoName(String),
    /// Not a tag.
    #[error(
        "tag {0:?} is not valid: use 1 to 128 letters, digits, underscores, dots and hyphens, not starting with a dot or hyphen"
    )]
    Tag(String),
    /// Not a digest that this registry knows.
    #[error(
        "digest {0:?} is not valid: use sha256: and 64, or sha512: and 128, lower-case hexadecimal digits"
    )]
    Digest(String),
    /// Not the id of a V1 image.
    #[error("image id {0:?} is not valid: use 64 lower-case hexadecimal digits")]
    ImageId(String),
    /// Not the name of a permission target.
    #[error(
        "permission target name {0:?} is not valid: use 1 to 64 characters, none of them one of / \\ : | ? * \" < >"
    )]
    PermissionTargetName(String),
    /// Not a pattern over paths.
    #[error(
        "path pattern {0:?} is not valid: use components of a path, with * for anything without a slash, ** for anything and \
         ? for one character, 255 bytes at most"
    )]
    PathPattern(String),
    /// Not a user's name.
    #[error(
        "user name {0:?} is not valid: use 1 to 64 letters, digits and . _ - @ +, starting with a letter or digit"
    )]
    UserName(String),
    /// Not a group's name.
    #[error(
        "group name {0:?} is not valid: use 1 to 64 letters, digits and . _ - @ +, starting with a letter or digit"
    )]
    GroupName(String),
    /// Not actions.
    #[error("actions {0:?} are not valid: use read, write, delete and manage with commas between, or all")]
    Actions(String),
    /// Not somebody that a permission can be given to.
    #[error("{0:?} can't be given a permission: use anonymous, user:NAME or group:NAME")]
    Grantee(String),
    /// Not a pattern.
    #[error(
        "pattern {0:?} is not valid: use letters, digits and . _ - + / with * for anything up to the next slash and ** for anything at all, 255 bytes at most"
    )]
    Pattern(String),
    /// Not a path in a repository's tree.
    #[error(
        "path {0:?} is not valid: use names joined by / that are no . or .. and hold no control characters, 1024 bytes at most"
    )]
    TreePath(String),
    /// Not a media type.
    #[error("media type {0:?} is not valid: use type/subtype as in RFC 6838")]
    MediaType(String),
}

impl ParseError {
    /// Shortens what is echoed back, so that a huge input never comes back whole.
    pub(crate) fn clip(input: &str) -> String {
        if input.len() <= 128 {
            return input.to_owned();
        }
        let mut end = 128;
        while !input.is_char_boundary(end) {
            end -= 1;
        }
        format!("{}…", &input[..end])
    }
}
