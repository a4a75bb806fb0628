//! An image comes in: its JSON, its layer, and the checksum that makes it whole.
//!
//! What came so far is kept in two upload sessions of the blob store, found under what the surface tells pushers apart
//! by, so that two who push the same image do not meet before it is whole. Both outlive the process. Nothing of
//! them is seen by anybody until the checksum is right and the record is committed.

use std::sync::atomic::{AtomicBool, Ordering};

use bytes::{BufMut as _, Bytes, BytesMut};
use futures_util::Stream;
use sha2::{Digest as _, Sha256};
use supercargo_blobs::{Share, StoreError, crash_point};
use supercargo_eventlog::{V1Image, V1Parent};
use supercargo_layers::{InspectLimits, Tarsum};
use supercargo_model::v1::ImageJson;
use supercargo_model::{Algorithm, Digest, ImageId, RepoKey, RepoName, limits};
use uuid::Uuid;

use super::brought::Brought;
use super::{TRIES, V1ImageInfo, Viewer, waiting_room};
use crate::command::Command;
use crate::leases::{ANYWHERE, Principal};
use crate::pushes::{digest_of, owner};
use crate::registry::Registry;
use crate::rules::Bounded;
use crate::{Error, Result};

/// Upload sessions of images that one user, or one address, may have at a time: two for each image.
pub(super) const SESSIONS_OF_ONE_MAX: usize = 256;

/// The two upload sessions that an image comes in by.
#[derive(Debug, Clone, Copy)]
struct Parts {
    json: Uuid,
    layer: Uuid,
}

impl Parts {
    fn of(session: &str, id: &ImageId) -> Parts {
        let part = |which: &str| {
            let mut hash = Sha256::new();
            // Neither holds a NUL, so that no two of them make the same text.
            for text in [which.as_bytes(), session.as_bytes(), id.as_bytes()] {
                hash.update((text.len() as u64).to_be_bytes());
                hash.update(text);
            }
            let hash: [u8; 32] = hash.finalize().into();
            let mut bytes = [0; 16];
            bytes.copy_from_slice(&hash[..16]);
            uuid::Builder::from_random_bytes(bytes).into_uuid()
        };
        Parts { json: part("json"), layer: part("layer") }
    }
}

/// What a payload checksum is of, before the layer's bytes (the V1 specification, 5.5).
fn before_layer(json: &[u8]) -> Bytes {
    let mut prefix = BytesMut::with_capacity(json.len() + 1);
    prefix.put_slice(json);
    prefix.put_u8(b'\n');
    prefix.freeze()
}

/// Whose the upload sessions of a repository's images are.
fn uploads_of(repository: &RepoKey) -> String {
    owner(repository, &RepoName::waiting_room(None))
}

impl Registry {
    /// Whether the session began to upload that image, and it is not whole yet.
    pub fn v1_is_uploading(&self, repository: &RepoKey, session: &str, id: &ImageId) -> bool {
        let owner = uploads_of(repository);
        self.blobs.received(&owner, Parts::of(session, id).json).is_ok()
    }

    /// Takes an image's JSON. What the session has of that image already is begun anew.
    ///
    /// # Errors
    /// [`Error::ImageJson`], [`Error::ParentUnknown`], [`Error::ChainTooDeep`], [`Error::ImageExists`],
    /// [`Error::RepositoryUnknown`]; [`Error::Busy`] where there are too many sessions, or too many of the caller's.
    pub async fn v1_put_json(
        &self,
        repository: &RepoKey,
        viewer: Viewer<'_>,
        session: &str,
        id: &ImageId,
        json: Bytes,
    ) -> Result<()> {
        let viewer = viewer.pushing();
        let parsed = ImageJson::check(&json, id)?;
        crate::reads::known_repository(&self.snapshot()?, repository)?;
        if let Some(parent) = &parsed.parent {
            match self.v1_check_image(repository, viewer, parent).await {
                Ok(parent) if parent.image.depth as usize >= limits::IMAGE_CHAIN_MAX => {
                    return Err(Error::ChainTooDeep);
                }
                Ok(_) => {}
                // The same session may bring the parent after the child, as long as it is whole before.
                Err(Error::ImageUnknown(_)) if self.v1_is_uploading(repository, session, parent) => {}
                Err(Error::ImageUnknown(_)) => return Err(Error::ParentUnknown(*parent)),
                Err(e) => return Err(e),
            }
        }
        // Whoever is told so skips the image, and relies on it.
        match self.v1_check_image(repository, viewer, id).await {
            Ok(_) => return Err(Error::ImageExists(*id)),
            Err(Error::ImageUnknown(_)) => {}
            Err(e) => return Err(e),
        }
        let (owner, parts) = (uploads_of(repository), Parts::of(session, id));
        self.discard_part(&owner, parts.layer).await;
        let uploader = Principal::of(viewer.caller).to_string();
        let share = Share { of: &uploader, max: SESSIONS_OF_ONE_MAX };
        self.blobs.start_whole(&owner, parts.json, share, json).await?;
        crash_point("v1.json");
        Ok(())
    }

    /// Takes an image's layer, in place of one that the session brought before.
    ///
    /// # Errors
    /// [`Error::ImageUnknown`] where the session did not bring the JSON, [`Error::ImageExists`] where that is because
    /// the image is whole; [`Error::BodyIncomplete`], [`Error::BodyTimeout`], [`Error::AgainstRule`],
    /// [`Error::DiskFull`]: nothing of the layer is kept, and the JSON is.
    pub async fn v1_put_layer<S>(
        &self,
        repository: &RepoKey,
        viewer: Viewer<'_>,
        session: &str,
        id: &ImageId,
        body: S,
    ) -> Result<()>
    where
        S: Stream<Item = std::io::Result<Bytes>> + Send + Unpin,
    {
        let viewer = viewer.pushing();
        let room_name = waiting_room(viewer.caller);
        let (owner, parts) = (uploads_of(repository), Parts::of(session, id));
        let Some(json) = self.v1_staged_json(&owner, parts).await? else {
            return match self.v1_image(repository, viewer, id).await {
                Ok(_) => Err(Error::ImageExists(*id)),
                Err(e) => Err(e),
            };
        };
        let uploader = Principal::of(viewer.caller).to_string();
        let share = Share { of: &uploader, max: SESSIONS_OF_ONE_MAX };
        self.blobs.start_anew(&owner, parts.layer, share, Some(before_layer(&json))).await?;
        let room = self.room(repository, &room_name, None)?.unwrap_or_default();
        let over = AtomicBool::new(false);
        let appended =
            self.blobs.append(&owner, parts.layer, None, Bounded::new(body, &room, 0, &over)).await;
        if appended.is_err() {
            // Half a layer is none.
            self.discard_part(&owner, parts.layer).await;
        }
        if over.load(Ordering::Relaxed) {
            // One byte more than there is room for, at least.
            room.check_blob(u64::MAX)?;
        }
        appended?;
        crash_point("v1.layer");
        Ok(())
    }

    /// Makes an image whole, if its JSON and its layer have the checksum that the client gives: from then on it is
    /// there, for whoever may see it.
    ///
    /// `checksum` is the SHA-256 of the JSON, a newline and the layer; `tarsum` is kept, and verified too where the
    /// repository is set to.
    ///
    /// # Errors
    /// [`Error::ImageUnknown`], [`Error::ImageChecksumSet`], [`Error::LayerMissing`], [`Error::ParentUnknown`],
    /// [`Error::ParentUploading`], [`Error::ImageExists`], [`Error::ChecksumMismatch`], [`Error::Invalid`],
    /// [`Error::AgainstRule`], and those of a commit. What was uploaded stays, so that it can be tried again.
    pub async fn v1_put_checksum(
        &self,
        repository: &RepoKey,
        viewer: Viewer<'_>,
        session: &str,
        id: &ImageId,
        checksum: Digest,
        tarsum: Option<&str>,
    ) -> Result<()> {
        let viewer = viewer.pushing();
        let (owner, parts) = (uploads_of(repository), Parts::of(session, id));
        let Some(json) = self.v1_staged_json(&owner, parts).await? else {
            return match self.v1_image(repository, viewer, id).await {
                Ok(_) => Err(Error::ImageChecksumSet(*id)),
                Err(e) => Err(e),
            };
        };
        let (layer, actual) = match self.blobs.hashes(&owner, parts.layer, before_layer(&json)).await {
            Ok(hashes) => hashes,
            Err(StoreError::SessionUnknown) => return Err(Error::LayerMissing(*id)),
            Err(e) => return Err(e.into()),
        };
        if actual != checksum {
            return Err(Error::ChecksumMismatch {
                expected: checksum.to_string(),
                actual: actual.to_string(),
            });
        }
        if let Some(tarsum) = tarsum
            && self.repository(repository)?.config.verify_tarsum
        {
            self.verify_tarsum(&owner, parts.layer, json.clone(), tarsum).await?;
        }
        let parsed = ImageJson::check(&json, id)?;
        let json_digest = digest_of(Algorithm::Sha256, &json);
        // It may be there by now, with the same bytes. In the session's name, and where the pusher waits itself, an image
        // of the same JSON is as good: whoever put it there is trusted with that.
        match self.v1_check_image(repository, viewer, id).await {
            Ok(known)
                if known.image.json == json_digest
                    && (known.image.checksum == Some(checksum)
                        || known.held_in == waiting_room(viewer.caller)
                        || Some(&known.held_in) == viewer.name) =>
            {
                self.discard_parts(&owner, parts).await;
                return Ok(());
            }
            Ok(known) if known.image.json != json_digest => return Err(Error::ImageExists(*id)),
            Ok(_) | Err(Error::ImageUnknown(_)) => {}
            Err(e) => return Err(e),
        }
        let layer_size = self.blobs.received(&owner, parts.layer)?;
        for tried in 1.. {
            let parent = match &parsed.parent {
                Some(parent) => Some(self.v1_parent(repository, viewer, session, parent).await?),
                None => None,
            };
            let image = V1Image {
                id: *id,
                parent: parent
                    .as_ref()
                    .map(|parent| V1Parent { id: parent.image.id, json: parent.image.json }),
                // Decided with the image.
                depth: 0,
                json: json_digest,
                json_size: json.len() as u64,
                layer,
                layer_size,
                checksum: Some(checksum),
                tarsum: tarsum.map(str::to_owned),
            };
            let command = Command::PushImage {
                repository: repository.clone(),
                waiting_room: waiting_room(viewer.caller),
                image: Box::new(image),
                parent_in: parent.map(|parent| parent.held_in),
            };
            let mut brought = Brought::default();
            brought.bytes(json_digest, json.clone());
            match self.blobs.verify(&owner, parts.layer, layer).await {
                Ok(verified) => brought.verified(layer, verified),
                Err(StoreError::DigestMismatch { actual }) => {
                    // The layer was replaced since it was hashed.
                    return Err(Error::ChecksumMismatch {
                        expected: layer.to_string(),
                        actual: actual.to_string(),
                    });
                }
                Err(e) => return Err(e.into()),
            }
            // What matters is that it is held from here on.
            let _ = self.lease(viewer.caller, (ANYWHERE, json_digest), self.leases.epoch());
            match self.submit_brought(viewer.caller, command, brought).await {
                // Its parent may have moved since it was looked up: a tag brings it into a name.
                Err(Error::ParentUnknown(_)) if tried < TRIES => {}
                submitted => {
                    submitted?;
                    break;
                }
            }
        }
        crash_point("v1.whole");
        self.discard_parts(&owner, parts).await;
        Ok(())
    }

    /// The whole parent of an image that is about to be whole.
    async fn v1_parent(
        &self,
        repository: &RepoKey,
        viewer: Viewer<'_>,
        session: &str,
        parent: &ImageId,
    ) -> Result<V1ImageInfo> {
        match self.v1_check_image(repository, viewer, parent).await {
            Err(Error::ImageUnknown(_)) if self.v1_is_uploading(repository, session, parent) => {
                Err(Error::ParentUploading(*parent))
            }
            Err(Error::ImageUnknown(_)) => Err(Error::ParentUnknown(*parent)),
            found => found,
        }
    }

    /// The JSON that the session brought, if it did.
    async fn v1_staged_json(&self, owner: &str, parts: Parts) -> Result<Option<Bytes>> {
        let max = limits::IMAGE_JSON_BYTES_MAX as u64;
        match self.blobs.session_bytes(owner, parts.json, max).await {
            Ok(json) => Ok(json),
            Err(StoreError::SessionUnknown) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    async fn verify_tarsum(&self, owner: &str, layer: Uuid, json: Bytes, tarsum: &str) -> Result<()> {
        let expected: Tarsum =
            tarsum.parse().map_err(|e| Error::Invalid(format!("X-Docker-Checksum: {e}")))?;
        let file = self.blobs.open_session(owner, layer).await?;
        let actual = self
            .unpacking(move |stop| {
                let limits = InspectLimits { stop: Some(stop), ..InspectLimits::default() };
                supercargo_layers::tarsum(file, &json, expected.version, limits)
            })
            .await?
            .map_err(|e| Error::Invalid(format!("the layer's tarsum can't be found out: {e}")))?;
        if actual == expected {
            Ok(())
        } else {
            Err(Error::ChecksumMismatch { expected: expected.to_string(), actual: actual.to_string() })
        }
    }

    async fn discard_parts(&self, owner: &str, parts: Parts) {
        if let Err(e) = self.blobs.discard_all(owner, &[parts.layer, parts.json]).await {
            tracing::debug!(error = %e, "what is left of an image's upload was not removed");
        }
    }

    /// What is left of a session is the sweep's, where it can't be removed now.
    async fn discard_part(&self, owner: &str, part: Uuid) {
        if let Err(e) = self.blobs.discard_all(owner, &[part]).await {
            tracing::debug!(error = %e, "what is left of an image's upload was not removed");
        }
    }
}
