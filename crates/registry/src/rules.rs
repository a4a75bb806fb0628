//! A repository's rules for what may be pushed to it: what each refuses, and what a person is told then.
//!
//! They are decided in the writer, on what is there at that moment. What can be told before is told before: an
//! upload that is too large, or has no room, is refused by a snapshot before its bytes are taken.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use supercargo_eventlog::{ContentRules, RepositoryConfig};
use supercargo_model::{Digest, Manifest, PathPattern, Pattern, RepoKey, RepoName, Tag};
use supercargo_projections::Rows;
use supercargo_projections::tables::{NameId, NameUsage, UsageByRepository};

use crate::notice::Notice;

/// A rule of the repository that what somebody wants is against. The text says why, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Broken {
    /// A tag that does not move.
    #[error(
        "tag {tag} is immutable here and stays at {present}: push under another tag, or have this one deleted first"
    )]
    TagImmutable {
        /// The tag.
        tag: Tag,
        /// Where it points.
        present: Digest,
    },
    /// A manifest of another media type than those allowed.
    #[error("manifests of media type {media_type} are not taken here, only of {}", list(allowed))]
    MediaType {
        /// Its media type.
        media_type: String,
        /// Those allowed.
        allowed: Vec<Pattern>,
    },
    /// A manifest of another artifact type than those allowed.
    #[error("artifacts of type {artifact_type} are not taken here, only of {}", list(allowed))]
    ArtifactType {
        /// Its artifact type.
        artifact_type: String,
        /// Those allowed.
        allowed: Vec<Pattern>,
    },
    /// A manifest over the limit.
    #[error("the manifest has {size} bytes, and {max} are the most that are taken here")]
    ManifestTooLarge {
        /// Its size in bytes.
        size: u64,
        /// The limit.
        max: u64,
    },
    /// A blob over the limit.
    #[error(
        "the blob has more than {max} bytes, which are the most that are taken here: make the layer smaller"
    )]
    BlobTooLarge {
        /// The limit, in bytes.
        max: u64,
    },
    /// A path that may not be pushed to.
    #[error("{path} may not be pushed to here: {}", why(includes, excludes))]
    PathExcluded {
        /// The path in the repository's tree.
        path: String,
        /// Which paths may be.
        includes: Vec<PathPattern>,
        /// Which may not.
        excludes: Vec<PathPattern>,
    },
    /// No room is left of a quota.
    #[error(
        "{of} may hold {quota} bytes and holds {used}, which leaves no room for this: delete what is not needed, and \
         its bytes are free again when they are collected; or ask for a larger quota"
    )]
    QuotaExceeded {
        /// What the quota is of: the repository or a name.
        of: String,
        /// The quota, in bytes.
        quota: u64,
        /// What is used of it.
        used: u64,
    },
}

fn list(patterns: &[Pattern]) -> String {
    patterns.iter().map(Pattern::as_str).collect::<Vec<_>>().join(", ")
}

fn any_matches(patterns: &[Pattern], text: &str) -> bool {
    patterns.is_empty() || patterns.iter().any(|pattern| pattern.matches(text))
}

fn why(includes: &[PathPattern], excludes: &[PathPattern]) -> String {
    let list = |patterns: &[PathPattern]| {
        let texts: Vec<&str> = patterns.iter().map(PathPattern::as_str).collect();
        texts.join(", ")
    };
    match (includes, excludes) {
        (includes, []) => format!("it takes one of {}", list(includes)),
        ([], excludes) => format!("it is one of {}", list(excludes)),
        _ => format!("it takes one of {}, and none of {}", list(includes), list(excludes)),
    }
}

/// Refuses a file of the tree that may not be pushed to.
pub(crate) fn check_path(config: &RepositoryConfig, path: impl FnOnce() -> String) -> Result<(), Broken> {
    let (includes, excludes) = (&config.includes, &config.excludes);
    if includes.is_empty() && excludes.is_empty() {
        return Ok(());
    }
    let path = path();
    let any = |patterns: &[PathPattern]| patterns.iter().any(|pattern| pattern.matches(&path));
    if (includes.is_empty() || any(includes)) && !any(excludes) {
        return Ok(());
    }
    Err(Broken::PathExcluded { path, includes: includes.clone(), excludes: excludes.clone() })
}

/// Refuses a manifest that is of a kind or size that is not taken.
pub(crate) fn check_manifest(rules: &ContentRules, manifest: &Manifest) -> Result<(), Broken> {
    if let Some(max) = rules.manifest_bytes_max.filter(|max| manifest.size > *max) {
        return Err(Broken::ManifestTooLarge { size: manifest.size, max });
    }
    if !any_matches(&rules.media_types, &manifest.media_type) {
        let (media_type, allowed) = (manifest.media_type.clone(), rules.media_types.clone());
        return Err(Broken::MediaType { media_type, allowed });
    }
    // An index is of no type, unless it says that it is: what it lists was judged by itself.
    if let Some(kind) = manifest.listed_artifact_type().filter(|kind| !kind.is_empty()) {
        let artifact_type = kind.to_ascii_lowercase();
        if !any_matches(&rules.artifact_types, &artifact_type) {
            return Err(Broken::ArtifactType { artifact_type, allowed: rules.artifact_types.clone() });
        }
    }
    Ok(())
}

/// Refuses to move a tag that does not move.
pub(crate) fn check_tag(
    rules: &ContentRules,
    tag: &Tag,
    present: Option<Digest>,
    digest: Digest,
) -> Result<(), Broken> {
    match present.filter(|present| *present != digest) {
        Some(present) if rules.immutable_tags.iter().any(|pattern| pattern.matches(tag.as_str())) => {
            Err(Broken::TagImmutable { tag: tag.clone(), present })
        }
        _ => Ok(()),
    }
}

/// How much room the rules leave for what comes into a name.
#[derive(Debug, Default)]
pub(crate) struct Room {
    blob_bytes_max: Option<u64>,
    quotas: Vec<Quota>,
}

/// A quota, and what is used of it.
#[derive(Debug)]
struct Quota {
    of: String,
    /// Whether it is the repository's.
    of_repository: bool,
    bytes: u64,
    used: u64,
}

impl Quota {
    fn exceeded(&self) -> Broken {
        Broken::QuotaExceeded { of: self.of.clone(), quota: self.bytes, used: self.used }
    }
}

impl Room {
    /// The room in a name. Looks at what is used only where that matters.
    pub(crate) fn of(
        view: &mut impl Rows,
        rules: &ContentRules,
        key: &RepoKey,
        name: &RepoName,
        id: Option<NameId>,
    ) -> Room {
        let mut quotas = Vec::new();
        if let Some(bytes) = rules.quota {
            let used = view.row::<UsageByRepository>(key).map_or(0, |usage| usage.bytes);
            quotas.push(Quota { of: format!("repository {key}"), of_repository: true, bytes, used });
        }
        let of_name = rules.name_quotas.iter().filter(|quota| quota.names.matches(name.as_str()));
        if let Some(bytes) = of_name.map(|quota| quota.bytes).min() {
            let usage = id.and_then(|id| view.row::<NameUsage>(&id)).map(|row| row.usage);
            let used = usage.map_or(0, |usage| usage.own_bytes.saturating_add(usage.shared_bytes));
            quotas.push(Quota { of: format!("repository name {name}"), of_repository: false, bytes, used });
        }
        Room { blob_bytes_max: rules.blob_bytes_max, quotas }
    }

    /// The room where so many bytes leave another name of the repository at the same moment.
    pub(crate) fn less(mut self, bytes: u64) -> Room {
        for quota in self.quotas.iter_mut().filter(|quota| quota.of_repository) {
            quota.used = quota.used.saturating_sub(bytes);
        }
        self
    }

    /// The room where so many bytes come into other names of the repository at the same moment.
    pub(crate) fn more(mut self, bytes: u64) -> Room {
        for quota in self.quotas.iter_mut().filter(|quota| quota.of_repository) {
            quota.used = quota.used.saturating_add(bytes);
        }
        self
    }

    /// Refuses a content for which there is no room left.
    pub(crate) fn check(&self, size: u64) -> Result<(), Broken> {
        let full = |quota: &&Quota| quota.used.saturating_add(size) > quota.bytes;
        self.quotas.iter().find(full).map_or(Ok(()), |quota| Err(quota.exceeded()))
    }

    /// Refuses a blob that is too large, or for which there is no room left.
    pub(crate) fn check_blob(&self, size: u64) -> Result<(), Broken> {
        match self.blob_bytes_max.filter(|max| size > *max) {
            Some(max) => Err(Broken::BlobTooLarge { max }),
            None => self.check(size),
        }
    }

    /// What should be known of quotas that will soon be used up.
    pub(crate) fn notices(&self) -> impl Iterator<Item = Notice> {
        let nearly = |quota: &&Quota| quota.used >= quota.bytes - quota.bytes / 10;
        self.quotas.iter().filter(nearly).map(|quota| Notice::QuotaNearlyUsed {
            of: quota.of.clone(),
            quota: quota.bytes,
            used: quota.used,
        })
    }

    /// The most bytes that a blob may have.
    fn blob_bytes(&self) -> Option<u64> {
        let left = self.quotas.iter().map(|quota| quota.bytes.saturating_sub(quota.used));
        left.chain(self.blob_bytes_max).min()
    }
}

/// A body that breaks off when it grows past what may be pushed: nobody can tell how long a stream will be.
pub(crate) struct Bounded<'f, S> {
    body: S,
    left: Option<u64>,
    /// Set when it broke off for that.
    over: &'f AtomicBool,
}

impl<'f, S> Bounded<'f, S> {
    /// `received`: what the blob has already.
    pub(crate) fn new(body: S, room: &Room, received: u64, over: &'f AtomicBool) -> Bounded<'f, S> {
        let left = room.blob_bytes().map(|bytes| bytes.saturating_sub(received));
        Bounded { body, left, over }
    }
}

impl<S: Stream<Item = std::io::Result<Bytes>> + Unpin> Stream for Bounded<'_, S> {
    type Item = std::io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let polled = self.body.poll_next_unpin(cx);
        if let (Poll::Ready(Some(Ok(piece))), Some(left)) = (&polled, &mut self.left) {
            match left.checked_sub(piece.len() as u64) {
                Some(less) => *left = less,
                None => {
                    self.over.store(true, Ordering::Relaxed);
                    return Poll::Ready(Some(Err(std::io::Error::other("longer than may be pushed"))));
                }
            }
        }
        polled
    }
}
