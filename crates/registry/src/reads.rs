//! Reading: manifests, blobs, listings. From a snapshot or from memory; the writer is never waited for.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, stream};
use supercargo_blobs::{BlobFile, StoreError};
use supercargo_model::{Digest, Manifest, Reference, RepoKey, RepoName, Tag, limits};
use supercargo_projections::tables::{
    BlobRow, Blobs, Contents, Manifests, NameId, Names, Referrers, Repositories, Table, Tags, prefix,
};
use supercargo_projections::{KeyWriter, Snapshot, prefix_end};

use crate::hot::{HotKey, HotValue};
use crate::leases::{Principal, Taken};
use crate::registry::{Caller, Registry};
use crate::{Error, Result, small};

/// A manifest as it is served.
#[derive(Debug)]
pub struct StoredManifest {
    /// Its digest.
    pub digest: Digest,
    /// The media type it was pushed as.
    pub media_type: String,
    /// Its bytes, as pushed.
    pub bytes: Bytes,
    /// Its digest as text, ready for headers.
    pub digest_text: String,
}

/// The bytes of a blob, opened for reading.
#[derive(Debug)]
pub enum BlobContent {
    /// All of it, in memory.
    Inline(Bytes),
    /// A file.
    File(BlobFile),
}

impl BlobContent {
    /// Its size in bytes.
    pub fn size(&self) -> u64 {
        match self {
            BlobContent::Inline(bytes) => bytes.len() as u64,
            BlobContent::File(file) => file.size(),
        }
    }

    /// A range of its bytes, which must lie within its size.
    pub fn into_body_stream(self, range: Range<u64>) -> BoxStream<'static, std::io::Result<Bytes>> {
        match self {
            BlobContent::Inline(bytes) => {
                let within = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
                let part = bytes.slice(within(range.start)..within(range.end));
                stream::once(std::future::ready(Ok(part))).boxed()
            }
            BlobContent::File(file) => file.stream(range).boxed(),
        }
    }
}

/// A page of a listing in byte order.
#[derive(Debug)]
pub struct Page<T> {
    /// The entries.
    pub entries: Vec<T>,
    /// Whether more follow.
    pub more: bool,
}

/// What a referrers listing shows of one manifest.
#[derive(Debug)]
pub struct Referrer {
    /// Its digest.
    pub digest: Digest,
    /// What was read from it.
    pub manifest: Manifest,
}

/// A rendered page of a tags listing.
#[derive(Debug)]
pub struct TagsBody {
    /// The JSON body.
    pub body: Bytes,
    /// The last tag of the page, where more follow.
    pub next: Option<Tag>,
}

impl TagsBody {
    /// What the body begins with, up to the name.
    const HEAD: &str = "{\"name\":\"";

    /// The JSON body for who calls the name with something before it, such as a repository's key. That must hold nothing
    /// that JSON escapes.
    pub fn body_below(&self, before: &str) -> Vec<u8> {
        let name = self.body.get(Self::HEAD.len()..).unwrap_or_default();
        [Self::HEAD.as_bytes(), before.as_bytes(), b"/", name].concat()
    }
}

impl Registry {
    /// A manifest by tag or digest. From memory where it is hot.
    ///
    /// # Errors
    /// [`Error::ManifestUnknown`].
    pub fn manifest(
        &self,
        repository: &RepoKey,
        name: &RepoName,
        reference: &Reference,
    ) -> Result<Arc<StoredManifest>> {
        let key = HotKey::Manifest(repository.clone(), name.clone(), reference.clone());
        if let Some(HotValue::Manifest(found)) = self.hot.get(&key) {
            return Ok(found);
        }
        // Counted before the snapshot: what changes after it makes this entry stale at once.
        let changes = self.hot.changes(repository, name);
        let unknown = || Error::ManifestUnknown(reference.to_string());
        let found = self.looked_at_twice(|snapshot| {
            let id = name_id(snapshot, repository, name)?.ok_or_else(unknown)?;
            let digest = resolve(snapshot, id, reference)?;
            let row =
                snapshot.get::<Manifests>(&(id, digest)).map_err(Error::internal)?.ok_or_else(unknown)?;
            let blob = snapshot.get::<Blobs>(&digest).map_err(Error::internal)?;
            if blob.is_none_or(|blob| blob.rotten) {
                return Err(unknown());
            }
            let bytes = match small::get(snapshot.transaction(), &digest).map_err(Error::internal)? {
                Some(bytes) => bytes,
                None => match self.file(&digest, row.manifest.size)? {
                    Some(file) => file.bytes().map_err(Error::internal)?,
                    None => return Ok(None),
                },
            };
            let bytes = match &row.manifest.signed {
                Some(signed) => signed.join(&bytes).into(),
                None => bytes,
            };
            let media_type = row.manifest.media_type;
            Ok(Some(StoredManifest { digest, media_type, bytes, digest_text: digest.to_string() }))
        })?;
        let found = Arc::new(found.ok_or_else(|| missing_bytes(reference))?);
        self.hot.put(key, changes, HotValue::Manifest(Arc::clone(&found)));
        Ok(found)
    }

    /// Whether a manifest is there, for somebody who may rely on it: takes a lease on it, and with it on
    /// what it holds.
    ///
    /// # Errors
    /// [`Error::ManifestUnknown`].
    pub fn check_manifest(
        &self,
        caller: &Caller,
        repository: &RepoKey,
        name: &RepoName,
        reference: &Reference,
    ) -> Result<Arc<StoredManifest>> {
        let unknown = || Error::ManifestUnknown(reference.to_string());
        let mut epoch = self.leases.epoch();
        loop {
            let found = self.manifest(repository, name, reference)?;
            let id = name_id(&self.snapshot()?, repository, name)?.ok_or_else(unknown)?;
            match self.lease(caller, (id, found.digest), epoch) {
                Taken::Held => return Ok(found),
                Taken::Condemned => return Err(unknown()),
                Taken::LookAgain(now) => epoch = now,
            }
        }
    }

    /// The size of a blob, for somebody who may rely on it: takes a lease on it.
    ///
    /// # Errors
    /// [`Error::BlobUnknown`].
    pub fn check_blob(
        &self,
        caller: &Caller,
        repository: &RepoKey,
        name: &RepoName,
        digest: &Digest,
    ) -> Result<u64> {
        let mut epoch = self.leases.epoch();
        loop {
            let (id, size) = sound_blob(&self.snapshot()?, repository, name, digest)?;
            match self.lease(caller, (id, *digest), epoch) {
                Taken::Held => return Ok(size),
                Taken::Condemned => return Err(Error::BlobUnknown(*digest)),
                Taken::LookAgain(now) => epoch = now,
            }
        }
    }

    pub(crate) fn lease(&self, caller: &Caller, content: (NameId, Digest), epoch: u64) -> Taken {
        self.leases.take(content, &Principal::of(caller), self.now(), self.options.gc.lease, epoch)
    }

    /// Opens a blob for reading.
    ///
    /// # Errors
    /// [`Error::BlobUnknown`], also for the digest of a manifest that was not uploaded as a blob.
    pub fn open_blob(&self, repository: &RepoKey, name: &RepoName, digest: &Digest) -> Result<BlobContent> {
        self.looked_at_twice(|snapshot| {
            let (_, size) = sound_blob(snapshot, repository, name, digest)?;
            if size <= limits::INLINE_BLOB_BYTES_MAX
                && let Some(bytes) = small::get(snapshot.transaction(), digest).map_err(Error::internal)?
            {
                return Ok(Some(BlobContent::Inline(bytes)));
            }
            Ok(self.file(digest, size)?.map(BlobContent::File))
        })?
        .ok_or_else(|| missing_bytes(digest))
    }

    /// Reads with a snapshot, and where bytes were missing, once more with another: a collection may have
    /// unlinked them since the first was taken, and then the second knows nothing of them.
    fn looked_at_twice<O>(&self, mut read: impl FnMut(&Snapshot) -> Result<Option<O>>) -> Result<Option<O>> {
        match read(&self.snapshot()?)? {
            Some(found) => Ok(Some(found)),
            None => read(&self.snapshot()?),
        }
    }

    /// The file of a blob that a record mentions; `None` where there is none.
    pub(crate) fn file(&self, digest: &Digest, size: u64) -> Result<Option<BlobFile>> {
        match self.blobs.read(digest) {
            Ok(file) if file.size() == size => Ok(Some(file)),
            Ok(file) => {
                Err(Error::Internal(format!("blob {digest} has {} bytes on disk, not {size}", file.size())))
            }
            Err(StoreError::NotFound) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    /// Tags after `last`, at most `n`, in byte order.
    ///
    /// # Errors
    /// [`Error::NameUnknown`] where the name holds nothing.
    pub fn tags(
        &self,
        repository: &RepoKey,
        name: &RepoName,
        last: Option<&str>,
        n: usize,
    ) -> Result<Page<Tag>> {
        let snapshot = self.snapshot()?;
        let id = self.known_name(&snapshot, repository, name)?;
        let prefix = prefix::tags(id);
        let mut start = prefix.clone();
        if let Some(last) = last {
            // A tag's key ends with a NUL: one more than it is the first key after it.
            start.extend_from_slice(last.as_bytes());
            start.push(1);
        }
        page::<Tags, _>(&snapshot, &prefix, &start, n, |(_, tag), _| Some(tag))
    }

    /// The rendered body of a tags listing, kept in memory while nothing in the name changes.
    ///
    /// # Errors
    /// As [`Registry::tags`].
    pub fn tags_json(
        &self,
        repository: &RepoKey,
        name: &RepoName,
        last: Option<&str>,
        n: usize,
    ) -> Result<Arc<TagsBody>> {
        let key = HotKey::Tags(repository.clone(), name.clone(), last.map(str::to_owned), n);
        if let Some(HotValue::Tags(found)) = self.hot.get(&key) {
            return Ok(found);
        }
        let changes = self.hot.changes(repository, name);
        let page = self.tags(repository, name, last, n)?;
        let mut body = String::with_capacity(64 + page.entries.len() * 16);
        body.push_str(TagsBody::HEAD);
        // Neither names nor tags hold anything that JSON escapes.
        body.push_str(name.as_str());
        body.push_str("\",\"tags\":[");
        for (index, tag) in page.entries.iter().enumerate() {
            if index > 0 {
                body.push(',');
            }
            body.push('"');
            body.push_str(tag.as_str());
            body.push('"');
        }
        body.push_str("]}");
        let next = page.entries.last().filter(|_| page.more).cloned();
        let found = Arc::new(TagsBody { body: Bytes::from(body), next });
        self.hot.put(key, changes, HotValue::Tags(Arc::clone(&found)));
        Ok(found)
    }

    /// Names after `last` that are to be shown, at most `n`, in byte order.
    ///
    /// # Errors
    /// [`Error::RepositoryUnknown`].
    pub fn catalog(
        &self,
        repository: &RepoKey,
        last: Option<&str>,
        n: usize,
        shown: impl Fn(&RepoName) -> bool,
    ) -> Result<Page<RepoName>> {
        let snapshot = self.snapshot()?;
        known_repository(&snapshot, repository)?;
        let prefix = prefix::names(repository);
        let mut start = prefix.clone();
        if let Some(last) = last {
            start.extend_from_slice(last.as_bytes());
            start.push(1);
        }
        page::<Names, _>(&snapshot, &prefix, &start, n, |(_, name), _| {
            Some(name).filter(|name| !name.is_waiting_room() && shown(name))
        })
    }

    /// The first of these names that holds a blob. How long it takes depends on the names, and not on who else
    /// holds it.
    ///
    /// # Errors
    /// Storage errors.
    pub fn holder(
        &self,
        repository: &RepoKey,
        digest: &Digest,
        among: impl IntoIterator<Item = RepoName>,
    ) -> Result<Option<RepoName>> {
        let snapshot = self.snapshot()?;
        for name in among {
            let Some(id) = name_id(&snapshot, repository, &name)? else { continue };
            let content = snapshot.get::<Contents>(&(id, *digest)).map_err(Error::internal)?;
            if content.is_some_and(|content| content.blob) {
                return Ok(Some(name));
            }
        }
        Ok(None)
    }

    /// Referrers of a subject after `last`, at most `n`, by digest; those of an artifact type, where one is
    /// given. None for what is not known.
    ///
    /// # Errors
    /// Storage errors.
    pub fn referrers(
        &self,
        repository: &RepoKey,
        name: &RepoName,
        subject: &Digest,
        artifact_type: Option<&str>,
        last: Option<&Digest>,
        n: usize,
    ) -> Result<Page<Referrer>> {
        let snapshot = self.snapshot()?;
        let Some(id) = name_id(&snapshot, repository, name)? else {
            return Ok(Page { entries: Vec::new(), more: false });
        };
        let prefix = prefix::referrers(id, subject);
        let mut start = prefix.clone();
        if let Some(last) = last {
            start.digest(last);
            start.push(0);
        }
        let mut failed = None;
        let page = page::<Referrers, _>(&snapshot, &prefix, &start, n, |(id, _, digest), ()| match snapshot
            .get::<Manifests>(
            &(id, digest),
        ) {
            Ok(Some(row)) => Some(Referrer { digest, manifest: row.manifest }).filter(|referrer| {
                artifact_type.is_none_or(|wanted| referrer.manifest.listed_artifact_type() == Some(wanted))
            }),
            Ok(None) => None,
            Err(e) => {
                failed.get_or_insert(e);
                None
            }
        })?;
        match failed {
            Some(e) => Err(Error::internal(e)),
            None => Ok(page),
        }
    }

    pub(crate) fn known_name(
        &self,
        snapshot: &Snapshot,
        repository: &RepoKey,
        name: &RepoName,
    ) -> Result<NameId> {
        match name_id(snapshot, repository, name)? {
            Some(id) => Ok(id),
            None => {
                known_repository(snapshot, repository)?;
                Err(Error::NameUnknown(name.clone()))
            }
        }
    }
}

/// The number of a name, where it holds something.
pub(crate) fn name_id(snapshot: &Snapshot, repository: &RepoKey, name: &RepoName) -> Result<Option<NameId>> {
    snapshot.get::<Names>(&(repository.clone(), name.clone())).map_err(Error::internal)
}

pub(crate) fn known_repository(snapshot: &Snapshot, repository: &RepoKey) -> Result<()> {
    match snapshot.get::<Repositories>(repository).map_err(Error::internal)? {
        Some(_) => Ok(()),
        None => Err(Error::RepositoryUnknown(repository.clone())),
    }
}

/// A blob of the name that is there and not rotten, with its size.
fn sound_blob(
    snapshot: &Snapshot,
    repository: &RepoKey,
    name: &RepoName,
    digest: &Digest,
) -> Result<(NameId, u64)> {
    let unknown = || Error::BlobUnknown(*digest);
    let id = name_id(snapshot, repository, name)?.ok_or_else(unknown)?;
    let content = snapshot.get::<Contents>(&(id, *digest)).map_err(Error::internal)?;
    let content = content.filter(|content| content.blob).ok_or_else(unknown)?;
    let blob = snapshot.get::<Blobs>(digest).map_err(Error::internal)?;
    if blob.is_none_or(|blob| blob.rotten) {
        return Err(unknown());
    }
    Ok((id, content.size))
}

/// Blobs after a digest, over all names, at most `n`.
pub(crate) fn blobs_after(
    snapshot: &Snapshot,
    after: Option<&Digest>,
    n: usize,
) -> Result<Vec<(Digest, BlobRow)>> {
    let mut found = Vec::new();
    let visit = |digest, row| {
        found.push((digest, row));
        found.len() < n
    };
    snapshot
        .visit::<Blobs>(&after_blob(after), &prefix_end(&prefix::blobs()), visit)
        .map_err(Error::internal)?;
    Ok(found)
}

/// Where the blobs after a digest begin; all of them, after none.
pub(crate) fn after_blob(after: Option<&Digest>) -> Vec<u8> {
    // A blob's holders are what lies behind it.
    after.map_or_else(prefix::blobs, |after| prefix_end(&prefix::holders(after)))
}

/// Rows of a prefix from `start` on, as far as `take` wants them, at most `n` and whether there are more.
pub(crate) fn page<T: Table, E>(
    snapshot: &Snapshot,
    prefix: &[u8],
    start: &[u8],
    n: usize,
    mut take: impl FnMut(T::Key, T::Row) -> Option<E>,
) -> Result<Page<E>> {
    let mut entries = Vec::new();
    let mut more = false;
    let end = prefix_end(prefix);
    snapshot
        .visit::<T>(start, &end, |key, row| {
            if let Some(entry) = take(key, row) {
                if entries.len() == n {
                    more = true;
                    return false;
                }
                entries.push(entry);
            }
            true
        })
        .map_err(Error::internal)?;
    Ok(Page { entries, more })
}

/// The digest that a reference stands for in a name.
pub(crate) fn resolve(snapshot: &Snapshot, id: NameId, reference: &Reference) -> Result<Digest> {
    match reference {
        Reference::Digest(digest) => Ok(*digest),
        Reference::Tag(tag) => match snapshot.get::<Tags>(&(id, tag.clone())).map_err(Error::internal)? {
            Some(row) => Ok(row.digest),
            None => Err(Error::ManifestUnknown(reference.to_string())),
        },
    }
}

fn missing_bytes(of: impl std::fmt::Display) -> Error {
    Error::Internal(format!(
        "the bytes of {of}, which a record mentions, are missing: run `supercargo verify`"
    ))
}
