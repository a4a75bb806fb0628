//! Pushing and deleting: upload sessions, mounts, manifests. Bytes first, then the record.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use futures_util::Stream;
use sha2::{Digest as _, Sha256, Sha512};
use supercargo_blobs::{Existing, StoreError, Verified};
use supercargo_model::{
    Algorithm, Descriptor, Digest, Manifest, Reference, RepoKey, RepoName, Tag, limits, media_type,
};
use supercargo_projections::tables::{BlobRow, Blobs, Contents, Repositories};
use supercargo_projections::targets;
use uuid::Uuid;

use crate::command::{Command, Outcome};
use crate::condition::Condition;
use crate::leases::Principal;
use crate::ledger::Payload;
use crate::notice::Notice;
use crate::reads::{known_repository, name_id};
use crate::registry::{Caller, Registry};
use crate::rules::{Bounded, Room};
use crate::{Error, Result, labels};

/// Names an upload session.
pub type UploadId = Uuid;

/// A manifest to be pushed.
#[derive(Debug, Clone)]
pub struct ManifestPush {
    /// Where to: the tag that will point to it, or its digest, which the bytes must hash to.
    pub reference: Reference,
    /// More tags that will point to it, set with it atomically.
    pub tags: Vec<Tag>,
    /// Its media type, without parameters.
    pub media_type: String,
    /// Its bytes.
    pub bytes: Bytes,
    /// What must be so of `reference`.
    pub condition: Condition,
}

impl ManifestPush {
    /// A push without more tags and without a condition.
    pub fn new(reference: Reference, media_type: impl Into<String>, bytes: Bytes) -> ManifestPush {
        let (tags, condition) = (Vec::new(), Condition::default());
        ManifestPush { reference, tags, media_type: media_type.into(), bytes, condition }
    }
}

/// What a manifest push did.
#[derive(Debug)]
pub struct PushedManifest {
    /// The manifest's digest.
    pub digest: Digest,
    /// The manifest it says something about.
    pub subject: Option<Digest>,
    /// What whoever pushed it should hear.
    pub notices: Vec<Notice>,
}

pub(crate) fn owner(repository: &RepoKey, name: &RepoName) -> String {
    format!("{repository}/{name}")
}

impl Registry {
    /// Begins an upload session.
    ///
    /// # Errors
    /// [`Error::RepositoryUnknown`]; [`Error::Busy`] where there are too many sessions.
    pub async fn start_upload(
        &self,
        _caller: &Caller,
        repository: &RepoKey,
        name: &RepoName,
        algorithm: Algorithm,
    ) -> Result<UploadId> {
        known_repository(&self.snapshot()?, repository)?;
        Ok(self.blobs.start(&owner(repository, name), algorithm).await?)
    }

    /// How many bytes a session holds.
    ///
    /// # Errors
    /// [`Error::UploadUnknown`].
    pub fn upload_received(&self, repository: &RepoKey, name: &RepoName, id: UploadId) -> Result<u64> {
        Ok(self.blobs.received(&owner(repository, name), id)?)
    }

    /// Refuses an upload that a rule of the repository would refuse once its bytes are here: asked before they
    /// are taken, where it is known how many they will be. `id` is the session that they are added to, and
    /// `digest` what the blob will be, where those are known.
    ///
    /// # Errors
    /// [`Error::AgainstRule`]; [`Error::RepositoryUnknown`].
    pub fn check_upload(
        &self,
        repository: &RepoKey,
        name: &RepoName,
        id: Option<UploadId>,
        digest: Option<&Digest>,
        announced: u64,
    ) -> Result<()> {
        let Some(room) = self.room(repository, name, digest)? else { return Ok(()) };
        let received = match id.map(|id| self.upload_received(repository, name, id)) {
            None => 0,
            Some(Ok(received)) => received,
            // To be said by what comes next, or to be found finished already.
            Some(Err(Error::UploadUnknown)) => return Ok(()),
            Some(Err(e)) => return Err(e),
        };
        Ok(room.check_blob(received.saturating_add(announced))?)
    }

    /// The room in a name, where a rule bounds it; `None` also where the name holds the digest already.
    pub(crate) fn room(
        &self,
        repository: &RepoKey,
        name: &RepoName,
        digest: Option<&Digest>,
    ) -> Result<Option<Room>> {
        let mut snapshot = self.snapshot()?;
        let row = snapshot.get::<Repositories>(repository).map_err(Error::internal)?;
        let rules = row.ok_or_else(|| Error::RepositoryUnknown(repository.clone()))?.config.rules;
        if !rules.bound_uploads() {
            return Ok(None);
        }
        let id = name_id(&snapshot, repository, name)?;
        if let (Some(id), Some(digest)) = (id, digest) {
            let content = snapshot.get::<Contents>(&(id, *digest)).map_err(Error::internal)?;
            if content.is_some_and(|content| content.present()) {
                return Ok(None);
            }
        }
        let room = Room::of(&mut snapshot, &rules, repository, name, id);
        snapshot.check().map_err(Error::internal)?;
        Ok(Some(room))
    }

    /// Appends a body as far as the rules leave room. Where they leave none the session is gone: it could never
    /// be finished.
    async fn append_bounded<S>(
        &self,
        repository: &RepoKey,
        name: &RepoName,
        id: UploadId,
        digest: Option<&Digest>,
        range: Option<(u64, u64)>,
        body: S,
    ) -> Result<u64>
    where
        S: Stream<Item = std::io::Result<Bytes>> + Send + Unpin,
    {
        let owner = owner(repository, name);
        let Some(room) = self.room(repository, name, digest)? else {
            return Ok(self.blobs.append(&owner, id, range, body).await?);
        };
        let received = self.blobs.received(&owner, id)?;
        let over = AtomicBool::new(false);
        let bounded = Bounded::new(body, &room, received, &over);
        let appended = self.blobs.append(&owner, id, range, bounded).await;
        if over.load(Ordering::Relaxed) {
            self.discard_session(&owner, id).await;
            // One byte more than there is room for, at least.
            room.check_blob(u64::MAX)?;
        }
        Ok(appended?)
    }

    /// What is left of a session is the sweep's, where it can't be removed now.
    async fn discard_session(&self, owner: &str, id: UploadId) {
        if let Err(e) = self.blobs.discard(owner, id).await {
            tracing::debug!(error = %e, "an upload session that is over was not removed");
        }
    }

    /// Appends a body to a session; answers with how many bytes the session then holds. `range`: where the
    /// body says that it starts, and how long it says that it is.
    ///
    /// # Errors
    /// [`Error::UploadOutOfOrder`], [`Error::BodyIncomplete`], [`Error::BodyTimeout`]: the session lives on.
    /// [`Error::AgainstRule`]: it is gone.
    pub async fn append_upload<S>(
        &self,
        repository: &RepoKey,
        name: &RepoName,
        id: UploadId,
        range: Option<(u64, u64)>,
        body: S,
    ) -> Result<u64>
    where
        S: Stream<Item = std::io::Result<Bytes>> + Send + Unpin,
    {
        self.append_bounded(repository, name, id, None, range, body).await
    }

    /// Appends a body, verifies the whole against the digest, stores the blob and commits it. Says so again
    /// where that was done before and the answer was lost.
    ///
    /// # Errors
    /// [`Error::DigestMismatch`], [`Error::AgainstRule`]: nothing is stored, and the session is gone. Else as
    /// [`Registry::append_upload`], and those of a commit, after which the session can be finished again.
    pub async fn finish_upload<S>(
        &self,
        caller: &Caller,
        repository: &RepoKey,
        name: &RepoName,
        id: UploadId,
        digest: Digest,
        range: Option<(u64, u64)>,
        body: S,
    ) -> Result<()>
    where
        S: Stream<Item = std::io::Result<Bytes>> + Send + Unpin,
    {
        let owner = owner(repository, name);
        match self.append_bounded(repository, name, id, Some(&digest), range, body).await {
            Ok(_) => {}
            Err(Error::UploadUnknown) => {
                return match self.check_blob(caller, repository, name, &digest) {
                    Ok(_) => Ok(()),
                    Err(Error::BlobUnknown(_)) => Err(Error::UploadUnknown),
                    Err(e) => Err(e),
                };
            }
            Err(e) => return Err(e),
        }
        let verified = self.blobs.verify(&owner, id, digest).await.map_err(|e| match e {
            StoreError::DigestMismatch { actual } => Error::DigestMismatch { expected: digest, actual },
            other => Error::from(other),
        })?;
        let add =
            |size| Command::AddBlob { repository: repository.clone(), name: name.clone(), digest, size };
        let submitted = match verified {
            Verified::Small(bytes) => {
                let command = add(bytes.len() as u64);
                let payload = Payload::Small(digest, bytes);
                self.submit_promised(caller, repository, name, digest, command, payload).await
            }
            Verified::Large(large) => {
                let command = add(large.size());
                let existing = self.existing(&digest)?;
                let published = self.blobs.publish(large, existing).await?;
                let payload = Payload::File(Arc::new(published));
                let submitted =
                    self.submit_promised(caller, repository, name, digest, command, payload).await;
                if submitted.as_ref().is_err_and(Error::is_refusal) {
                    // No record will ever mention what was stored for it.
                    self.remove_unmentioned(digest).await?;
                }
                submitted
            }
        };
        // A client that asks again finds the blob, or is refused again; one that was told of trouble here can
        // finish the session again.
        if submitted.as_ref().map_or_else(Error::is_refusal, |_| true) {
            self.discard_session(&owner, id).await;
        }
        submitted.map(|_| ())
    }

    /// What becomes of the file that may be there: one that is known to be rotten is replaced.
    pub(crate) fn existing(&self, digest: &Digest) -> Result<Existing> {
        let blob = self.snapshot()?.get::<Blobs>(digest).map_err(Error::internal)?;
        Ok(if blob.is_some_and(|blob| blob.rotten) { Existing::Replace } else { Existing::Keep })
    }

    /// Submits what puts a blob into a name, so that the caller holds a lease on it when the answer comes.
    pub(crate) async fn submit_promised(
        &self,
        caller: &Caller,
        repository: &RepoKey,
        name: &RepoName,
        digest: Digest,
        command: Command,
        payload: Payload,
    ) -> Result<Outcome> {
        loop {
            // Promised before it is decided: where the name has it already, in use, no record protects it.
            let id = name_id(&self.snapshot()?, repository, name)?;
            if let Some(id) = id {
                // What matters is that it is held from here on; the command finds out what is so.
                let _ = self.lease(caller, (id, digest), self.leases.epoch());
            }
            let outcome = self.ledger.submit(caller, command.clone(), payload.clone()).await?;
            if id.is_some() || matches!(outcome, Outcome::Mounted(None)) {
                return Ok(outcome);
            }
            // The name was new, and had no number to lease by. Since then somebody else's manifest may have
            // referred to the blob, been deleted, and taken it along: then it has to be put there again.
            match self.check_blob(caller, repository, name, &digest) {
                Ok(_) => return Ok(outcome),
                Err(Error::BlobUnknown(_)) => {}
                Err(e) => return Err(e),
            }
        }
    }

    /// Gives up a session, and its bytes.
    ///
    /// # Errors
    /// [`Error::UploadUnknown`].
    pub async fn cancel_upload(&self, repository: &RepoKey, name: &RepoName, id: UploadId) -> Result<()> {
        Ok(self.blobs.discard(&owner(repository, name), id).await?)
    }

    /// `true` where the blob was mounted, `false` where an upload is needed. `from: None` looks in every
    /// name of the repository.
    ///
    /// # Errors
    /// [`Error::RepositoryUnknown`], and those of a commit.
    pub async fn mount_blob(
        &self,
        caller: &Caller,
        repository: &RepoKey,
        name: &RepoName,
        digest: Digest,
        from: Option<&RepoName>,
    ) -> Result<bool> {
        let command = Command::MountBlob {
            repository: repository.clone(),
            name: name.clone(),
            digest,
            from: from.cloned(),
        };
        match self.submit_promised(caller, repository, name, digest, command, Payload::None).await? {
            Outcome::Mounted(size) => Ok(size.is_some()),
            other => Err(Error::unexpected(&other)),
        }
    }

    /// Pushes a manifest, with its tags, atomically.
    ///
    /// # Errors
    /// [`Error::ManifestInvalid`], [`Error::ManifestBlobUnknown`], [`Error::DigestMismatch`],
    /// [`Error::Changed`] where the condition does not hold, and those of a commit.
    pub async fn push_manifest(
        &self,
        caller: &Caller,
        repository: &RepoKey,
        name: &RepoName,
        push: ManifestPush,
    ) -> Result<PushedManifest> {
        let ManifestPush { reference, tags, media_type, bytes, condition } = push;
        let (manifest, payload) = Manifest::parse(&media_type, &bytes)?;
        let (digest, mut set) = match &reference {
            Reference::Tag(tag) => (digest_of(Algorithm::Sha256, &payload), vec![tag.clone()]),
            Reference::Digest(expected) => {
                let actual = digest_of(expected.algorithm(), &payload);
                if actual != *expected {
                    return Err(Error::DigestMismatch { expected: *expected, actual });
                }
                (actual, Vec::new())
            }
        };
        set.extend(tags);
        // What is kept by a digest has that digest: the signatures are in the record.
        let kept = match payload {
            Cow::Borrowed(_) => bytes,
            Cow::Owned(payload) => payload.into(),
        };
        let subject = manifest.subject;
        let schema1 = media_type::is_schema1(&manifest.media_type);
        let holds: Vec<Digest> = targets(&manifest).into_iter().map(|(digest, _)| digest).collect();
        let labels = self.labels_in(&manifest)?;
        let command = Command::PushManifest {
            repository: repository.clone(),
            name: name.clone(),
            reference,
            digest,
            manifest: Box::new(manifest),
            tags: set,
            condition,
            labels,
        };
        if kept.len() as u64 <= limits::INLINE_BLOB_BYTES_MAX {
            self.ledger.submit(caller, command, Payload::Small(digest, kept)).await?;
        } else {
            let published = self.blobs.put_bytes(digest, kept, self.existing(&digest)?).await?;
            let payload = Payload::File(Arc::new(published));
            let submitted = self.ledger.submit(caller, command, payload).await;
            if submitted.as_ref().is_err_and(Error::is_refusal) {
                // No record will ever mention what was stored for it.
                self.remove_unmentioned(digest).await?;
            }
            submitted?;
        }
        if let Some(id) = name_id(&self.snapshot()?, repository, name)? {
            let ended = holds.into_iter().chain([digest]).map(|digest| (id, digest));
            self.leases.end(ended, &Principal::of(caller));
        }
        let mut notices = if schema1 { vec![Notice::Schema1Pushed] } else { Vec::new() };
        if let Some(room) = self.room(repository, name, None)? {
            notices.extend(room.notices());
        }
        Ok(PushedManifest { digest, subject, notices })
    }

    /// The labels that a manifest's config says. None where that is no image's, or not here: then the manifest is refused.
    fn labels_in(&self, manifest: &Manifest) -> Result<Vec<(String, String)>> {
        let image = |config: &&Descriptor| {
            config.size <= labels::CONFIG_BYTES_MAX && labels::is_image_config(&config.media_type)
        };
        let Some(config) = manifest.config.as_ref().filter(image) else { return Ok(Vec::new()) };
        let snapshot = self.snapshot()?;
        let blob = snapshot.get::<Blobs>(&config.digest).map_err(Error::internal)?;
        let sound = |blob: &BlobRow| !blob.rotten && blob.size <= labels::CONFIG_BYTES_MAX;
        let Some(blob) = blob.filter(sound) else { return Ok(Vec::new()) };
        let bytes = self.bytes_of(&snapshot, &config.digest, blob.size)?;
        Ok(bytes.map_or_else(Vec::new, |bytes| labels::labels(&bytes)))
    }

    /// By tag: that tag alone; by digest: the manifest and every tag on it.
    ///
    /// # Errors
    /// [`Error::ManifestUnknown`], [`Error::Changed`] where the condition does not hold, and those of a commit.
    pub async fn delete_manifest(
        &self,
        caller: &Caller,
        repository: &RepoKey,
        name: &RepoName,
        reference: &Reference,
        condition: &Condition,
    ) -> Result<()> {
        let command = Command::DeleteManifest {
            repository: repository.clone(),
            name: name.clone(),
            reference: reference.clone(),
            condition: condition.clone(),
        };
        self.ledger.submit(caller, command, Payload::None).await.map(|_| ())
    }

    /// Deletes a blob from a name; its bytes stay while anything else needs them.
    ///
    /// # Errors
    /// [`Error::BlobUnknown`], and those of a commit.
    pub async fn delete_blob(
        &self,
        caller: &Caller,
        repository: &RepoKey,
        name: &RepoName,
        digest: Digest,
    ) -> Result<()> {
        let command = Command::DeleteBlob { repository: repository.clone(), name: name.clone(), digest };
        self.ledger.submit(caller, command, Payload::None).await.map(|_| ())
    }

    /// Remembers the other hashes of a blob, which whoever computed them vouches for. Nothing where they are known, or the
    /// blob is gone.
    ///
    /// # Errors
    /// Those of a commit.
    pub async fn remember_hashes(
        &self,
        caller: &Caller,
        blob: Digest,
        md5: [u8; 16],
        sha1: [u8; 20],
    ) -> Result<()> {
        let command = Command::RecordHashes { blob, md5, sha1 };
        self.ledger.submit(caller, command, Payload::None).await.map(|_| ())
    }

    /// Deletes a name with all that it holds.
    ///
    /// # Errors
    /// [`Error::NameUnknown`], and those of a commit.
    pub async fn delete_name(&self, caller: &Caller, repository: &RepoKey, name: &RepoName) -> Result<()> {
        let command = Command::DeleteName { repository: repository.clone(), name: name.clone() };
        self.ledger.submit(caller, command, Payload::None).await.map(|_| ())
    }
}

/// The digest of bytes that are in memory anyway.
pub(crate) fn digest_of(algorithm: Algorithm, bytes: &[u8]) -> Digest {
    match algorithm {
        Algorithm::Sha256 => Digest::sha256(Sha256::digest(bytes).into()),
        Algorithm::Sha512 => Digest::sha512(Sha512::digest(bytes).into()),
    }
}
