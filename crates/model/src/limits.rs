//! Every limit on what clients send that is part of what a thing *is*, with its value. Limits that an
//! operator may change (time-outs, queue lengths) are configuration and live with the binary.

/// Longest repository key, in bytes.
pub const REPO_KEY_BYTES_MAX: usize = 64;
/// Longest repository name, in bytes (OCI distribution specification, "Pulling manifests").
pub const REPO_NAME_BYTES_MAX: usize = 255;
/// Longest name of a user or group, in bytes.
pub const ACCOUNT_NAME_BYTES_MAX: usize = 64;
/// Longest pattern over names, in bytes.
pub const PATTERN_BYTES_MAX: usize = 255;
/// Longest description of a group or token, in bytes.
pub const DESCRIPTION_BYTES_MAX: usize = 1024;
/// Most tokens that one user has at a time.
pub const TOKENS_PER_USER_MAX: usize = 1000;
/// Longest tag, in bytes.
pub const TAG_BYTES_MAX: usize = 128;
/// Largest manifest, in bytes. The specification asks that 4 MiB pass at least.
pub const MANIFEST_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Most config, layers, blobs and manifests that one manifest may refer to.
pub const MANIFEST_REFERENCES_MAX: usize = 16 * 1024;
/// Longest media type or artifact type, in bytes (RFC 6838, section 4.2: 127 each side of the slash).
pub const MEDIA_TYPE_BYTES_MAX: usize = 255;
/// Most patterns in the rules of one repository: each push is compared with all of them.
pub const RULE_PATTERNS_MAX: usize = 100;
/// Most bytes of settings that a repository keeps for others, names and values together.
pub const REPOSITORY_ATTRIBUTES_BYTES_MAX: usize = 16 * 1024;
/// Most patterns of a permission target: each question about what it covers is compared with all of them.
pub const TARGET_PATTERNS_MAX: usize = 100;
/// Longest address that a user can be written to at, in bytes (RFC 5321, section 4.5.3.1.3).
pub const EMAIL_BYTES_MAX: usize = 254;
/// Most tags that one listing page holds, also where the client asks for more.
pub const PAGE_ENTRIES_MAX: usize = 10_000;
/// Largest JSON of a V1 image, in bytes.
pub const IMAGE_JSON_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Deepest nesting of a V1 image's JSON.
pub const IMAGE_JSON_DEPTH_MAX: usize = 64;
/// Most images of one V1 chain: an image, its parent, and so on.
pub const IMAGE_CHAIN_MAX: usize = 500;
/// Most bytes that the JSON of all images of a chain come to, for a chain that becomes a manifest: all are held in memory
/// for it. The config that they become has no more either.
pub const IMAGE_CHAIN_JSON_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Largest blob kept beside the tables, in bytes; a larger one is a file of its own. Small blobs share the
/// commit's fsync, which is what makes many small pushes fast.
pub const INLINE_BLOB_BYTES_MAX: u64 = 64 * 1024;
/// Longest path in a repository's tree, in bytes: more than the longest that there can be.
pub const TREE_PATH_BYTES_MAX: usize = 1024;
/// Longest name of a property, in bytes.
pub const PROPERTY_NAME_BYTES_MAX: usize = 255;
/// Longest value of a property, in bytes.
pub const PROPERTY_VALUE_BYTES_MAX: usize = 2400;
/// Most values that the properties of one path have together.
pub const PROPERTY_VALUES_MAX: usize = 1000;
