//! The bytes and checksums of files. What is not stored as it is served, is small, and written when it is read.

use bytes::Bytes;
use futures_util::StreamExt as _;
use md5::Md5;
use serde::Serialize;
use sha1::Sha1;
use sha2::{Digest as _, Sha256};
use supercargo_eventlog::{Log as _, V1Image, V1Parent};
use supercargo_model::v1::TagJson;
use supercargo_model::{Algorithm, Digest, ImageId, RepoName, Timestamp, limits};
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
    pub fn size(&mut self, item: &Item) -> Result<Option<u64>> {
        let Some(file) = &item.file else { return Ok(None) };
        match file.blob() {
            Some((_, size)) => Ok(Some(size)),
            None => Ok(Some(self.written(file)?.len() as u64)),
        }
    }

    /// The bytes of a file, opened for reading.
    ///
    /// # Errors
    /// [`Error::ItemUnknown`] where its bytes are gone since it was looked up, or damaged; [`Error::Invalid`] for a folder.
    pub fn open(&mut self, item: &Item) -> Result<BlobContent> {
        let Some(file) = &item.file else {
            return Err(Error::Invalid(format!("{:?} is a folder", item.path)));
        };
        let Some((digest, size)) = file.blob() else {
            return Ok(BlobContent::Inline(self.written(file)?));
        };
        self.blob(&digest, size)?.ok_or_else(|| Error::ItemUnknown(item.path.clone()))
    }

    fn blob(&self, digest: &Digest, size: u64) -> Result<Option<BlobContent>> {
        let blob = self.snapshot.get::<Blobs>(digest).map_err(Error::internal)?;
        if blob.is_none_or(|blob| blob.rotten) {
            return Ok(None);
        }
        if size <= limits::INLINE_BLOB_BYTES_MAX
            && let Some(bytes) = small::get(self.snapshot.transaction(), digest).map_err(Error::internal)?
        {
            return Ok(Some(BlobContent::Inline(bytes)));
        }
        Ok(self.registry.file(digest, size)?.map(BlobContent::File))
    }

    /// The checksums of a file as far as they are known: all of what is small or was asked about before
    /// ([`Registry::find_out_checksums`]). None of a folder.
    ///
    /// # Errors
    /// Storage errors.
    pub fn checksums(&mut self, item: &Item) -> Result<Checksums> {
        let Some(file) = &item.file else { return Ok(Checksums::default()) };
        let Some((digest, size)) = file.blob() else { return Ok(Checksums::of(&self.written(file)?)) };
        if let Some(BlobHashesRow { md5, sha1 }) =
            self.snapshot.get::<BlobHashes>(&digest).map_err(Error::internal)?
            && digest.algorithm() == Algorithm::Sha256
        {
            return Ok(Checksums { md5: Some(md5), sha1: Some(sha1), ..of_digest(&digest) });
        }
        match size <= limits::INLINE_BLOB_BYTES_MAX {
            true => match self.blob(&digest, size)? {
                Some(BlobContent::Inline(bytes)) => Ok(Checksums::of(&bytes)),
                _ => Ok(of_digest(&digest)),
            },
            false => {
                let known = self.snapshot.get::<BlobHashes>(&digest).map_err(Error::internal)?;
                let known = known.map_or((None, None), |row| (Some(row.md5), Some(row.sha1)));
                Ok(Checksums { md5: known.0, sha1: known.1, ..of_digest(&digest) })
            }
        }
    }

    /// The bytes of a file that is written when it is read.
    fn written(&mut self, file: &File) -> Result<Bytes> {
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
                let id = name_id(&self.snapshot, &self.repository, name)?;
                json(&id.map_or_else(|| Ok(Vec::new()), |id| images_of(&self.snapshot, id))?)
            }
            File::Manifest { .. } | File::Blob { .. } => {
                Err(Error::Internal("a blob is stored, not written".to_owned()))
            }
        }
    }

    /// The ids of an image and of what it was made from, as far as that is here.
    fn ancestry(&self, name: &RepoName, image: &V1Image) -> Result<Vec<ImageId>> {
        let mut ids = vec![image.id];
        let Some(name) = name_id(&self.snapshot, &self.repository, name)? else { return Ok(ids) };
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
