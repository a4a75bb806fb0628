//! The bytes and checksums of files. What is not stored as it is served, is small, and written when it is read.

use bytes::Bytes;
use futures_util::StreamExt as _;
use md5::Md5;
use serde::Serialize;
use sha1::Sha1;
use sha2::{Digest as _, Sha256};
use supercargo_eventlog::{Log as _, RedbLog, V1Image, V1Parent};
use supercargo_model::v1::TagJson;
use supercargo_model::{Algorithm, Digest, ImageId, RepoKey, RepoName, Timestamp, limits};
use supercargo_projections::Snapshot;
use supercargo_projections::tables::{BlobHashes, BlobHashesRow, Blobs, Images};

use super::{File, ImagePart, Item, RepositoryTree};
use crate::maintenance::blocking;
use crate::reads::name_id;
use crate::registry::{Caller, Registry};
use crate::v1::images_of;
use crate::{BlobContent, Error, Result, small};

/// The checksums of a file, as far as they are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Checksums {
    /// SHA-256.
    pub sha256: Option<[u8; 32]>,
    /// SHA-1.
    pub sha1: Option<[u8; 20]>,
    /// MD5.
    pub md5: Option<[u8; 16]>,
}

impl Checksums {
    fn of(bytes: &[u8]) -> Checksums {
        Checksums {
            sha256: Some(Sha256::digest(bytes).into()),
            sha1: Some(Sha1::digest(bytes).into()),
            md5: Some(Md5::digest(bytes).into()),
        }
    }

    /// Whether none is missing that reading the file once would tell.
    pub const fn are_known(&self) -> bool {
        self.sha1.is_some() && self.md5.is_some()
    }
}

impl RepositoryTree {
    /// The size of a file in bytes; none for a folder.
    ///
    /// # Errors
    /// Storage errors.
    pub fn size(&self, item: &Item) -> Result<Option<u64>> {
        self.content().size(item)
    }

    /// The checksums of a file as far as they are known: all of what is small or was asked about before
    /// ([`Registry::find_out_checksums`]). None of a folder.
    ///
    /// # Errors
    /// Storage errors.
    pub fn checksums(&self, item: &Item) -> Result<Checksums> {
        self.content().checksums(item)
    }

    /// The bytes of a file, opened for reading.
    ///
    /// # Errors
    /// [`Error::ItemUnknown`] where its bytes are gone since it was looked up, or damaged; [`Error::Invalid`] for a folder.
    pub fn open(&self, item: &Item) -> Result<BlobContent> {
        let Some(file) = &item.file else {
            return Err(Error::Invalid(format!("{:?} is a folder", item.path)));
        };
        let content = self.content();
        let Some((digest, size)) = file.blob() else {
            return Ok(BlobContent::Inline(content.written(file)?));
        };
        let gone = || Error::ItemUnknown(item.path.clone());
        if content.blob_is_gone(&digest)? {
            return Err(gone());
        }
        if let Some(bytes) = content.small(&digest, size)? {
            return Ok(BlobContent::Inline(bytes));
        }
        self.registry.file(&digest, size)?.map(BlobContent::File).ok_or_else(gone)
    }

    fn content(&self) -> Content<'_> {
        Content { snapshot: &self.snapshot, log: &self.log, repository: &self.repository }
    }
}

/// What the tables and the log know of the content of a repository's files.
#[derive(Clone, Copy)]
pub(crate) struct Content<'a> {
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) log: &'a RedbLog,
    pub(crate) repository: &'a RepoKey,
}

impl Content<'_> {
    /// As [`RepositoryTree::size`].
    pub(crate) fn size(self, item: &Item) -> Result<Option<u64>> {
        let Some(file) = &item.file else { return Ok(None) };
        match file.blob() {
            Some((_, size)) => Ok(Some(size)),
            None => Ok(Some(self.written(file)?.len() as u64)),
        }
    }

    /// As [`RepositoryTree::checksums`].
    pub(crate) fn checksums(self, item: &Item) -> Result<Checksums> {
        let Some(file) = &item.file else { return Ok(Checksums::default()) };
        let Some((digest, size)) = file.blob() else { return Ok(Checksums::of(&self.written(file)?)) };
        let known = self.snapshot.get::<BlobHashes>(&digest).map_err(Error::internal)?;
        if digest.algorithm() == Algorithm::Sha256
            && let Some(BlobHashesRow { md5, sha1 }) = known
        {
            return Ok(Checksums { md5: Some(md5), sha1: Some(sha1), ..of_digest(&digest) });
        }
        if size <= limits::INLINE_BLOB_BYTES_MAX {
            let gone = self.blob_is_gone(&digest)?;
            let bytes = if gone { None } else { self.small(&digest, size)? };
            return Ok(bytes.map_or_else(|| of_digest(&digest), |bytes| Checksums::of(&bytes)));
        }
        let known = known.map_or((None, None), |row| (Some(row.md5), Some(row.sha1)));
        Ok(Checksums { md5: known.0, sha1: known.1, ..of_digest(&digest) })
    }

    fn blob_is_gone(self, digest: &Digest) -> Result<bool> {
        let blob = self.snapshot.get::<Blobs>(digest).map_err(Error::internal)?;
        Ok(blob.is_none_or(|blob| blob.rotten))
    }

    /// The bytes of what is small enough to be kept beside the tables.
    fn small(self, digest: &Digest, size: u64) -> Result<Option<Bytes>> {
        if size > limits::INLINE_BLOB_BYTES_MAX {
            return Ok(None);
        }
        small::get(self.snapshot.transaction(), digest).map_err(Error::internal)
    }

    /// The bytes of a file that is written when it is read.
    fn written(self, file: &File) -> Result<Bytes> {
        match file {
            File::Image { name, image, part: ImagePart::Ancestry } => json(&self.ancestry(name, image)?),
            File::Image { image, .. } => json(image.checksum.as_slice()),
            File::V1Tag { seq, .. } => {
                let mut records = self.log.read(*seq..seq.saturating_add(1)).map_err(Error::internal)?;
                let record = records.next().transpose().map_err(Error::internal)?;
                let (at, agent) = record
                    .map_or((Timestamp::default(), None), |record| (record.at, record.origin.user_agent));
                json(&TagJson::set(at, agent.as_deref().unwrap_or_default()))
            }
            File::V1Index { name } => {
                let id = name_id(self.snapshot, self.repository, name)?;
                json(&id.map_or_else(|| Ok(Vec::new()), |id| images_of(self.snapshot, id))?)
            }
            File::Manifest { .. } | File::Blob { .. } => {
                Err(Error::Internal("a blob is stored, not written".to_owned()))
            }
        }
    }

    /// The ids of an image and of what it was made from, as far as that is here.
    fn ancestry(self, name: &RepoName, image: &V1Image) -> Result<Vec<ImageId>> {
        let mut ids = vec![image.id];
        let Some(name) = name_id(self.snapshot, self.repository, name)? else { return Ok(ids) };
        let mut parent = image.parent;
        while let Some(V1Parent { id, json }) = parent
            && ids.len() < limits::IMAGE_CHAIN_MAX
        {
            ids.push(id);
            let row = self.snapshot.get::<Images>(&(name, json)).map_err(Error::internal)?;
            parent = row.and_then(|row| row.image.parent);
        }
        Ok(ids)
    }
}

fn of_digest(digest: &Digest) -> Checksums {
    let sha256 = match digest.algorithm() {
        Algorithm::Sha256 => digest.hash_bytes().try_into().ok(),
        Algorithm::Sha512 => None,
    };
    Checksums { sha256, ..Checksums::default() }
}

fn json<T: Serialize + ?Sized>(value: &T) -> Result<Bytes> {
    serde_json::to_vec(value).map(Bytes::from).map_err(Error::internal)
}

impl Registry {
    /// Finds out the checksums of a large file that are not known yet, and remembers them: it is read once. One file at a
    /// time; whoever does not wait any longer ends the reading.
    ///
    /// # Errors
    /// [`Error::ItemUnknown`] where its bytes are gone; those of a commit.
    pub async fn find_out_checksums(&self, caller: &Caller, item: &Item) -> Result<()> {
        let Some((digest, size)) = item.file.as_ref().and_then(File::blob) else { return Ok(()) };
        let gone = || Error::ItemUnknown(item.path.clone());
        let _one = self.hashing.lock().await;
        if self.snapshot()?.get::<BlobHashes>(&digest).map_err(Error::internal)?.is_some() {
            return Ok(());
        }
        let mut bytes =
            BlobContent::File(self.file(&digest, size)?.ok_or_else(gone)?).into_body_stream(0..size);
        let (mut md5, mut sha1) = (Md5::new(), Sha1::new());
        while let Some(piece) = bytes.next().await {
            let piece = piece.map_err(Error::internal)?;
            (md5, sha1) = blocking(move || {
                md5.update(&piece);
                sha1.update(&piece);
                Ok((md5, sha1))
            })
            .await?;
        }
        self.remember_hashes(caller, digest, md5.finalize().into(), sha1.finalize().into()).await
    }
}
