//! Bytes of several digests that go to the writer with one command.
//!
//! None is put in its place before all are known, and then all are, in the order of their digests. While a file waits
//! for its record nobody else can place or remove the same: two who place several in different orders would wait for
//! each other for ever, and one that places the same twice for itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use supercargo_blobs::{BlobStore, LargeBlob, StoreError, Verified};
use supercargo_model::{Algorithm, Digest, RepoName, limits};
use supercargo_projections::tables::Blobs;
use tokio::runtime::Handle;
use uuid::Uuid;

use crate::command::{Command, Outcome};
use crate::ledger::Payload;
use crate::registry::{Caller, Registry};
use crate::{Error, Result};

/// What goes to the writer with a command.
#[derive(Debug, Default)]
pub(super) struct Brought {
    parts: BTreeMap<Digest, Part>,
    /// Upload sessions that hold some of it.
    sessions: Vec<Packing>,
}

/// An upload session of [`packing`], which nobody else knows. It ends with this: once its bytes are in their place, or
/// not wanted, or whoever asked for them went away.
#[derive(Debug)]
struct Packing {
    blobs: BlobStore,
    session: Uuid,
}

impl Drop for Packing {
    fn drop(&mut self) {
        // What is left of a process that ends is the sweep's.
        let Ok(runtime) = Handle::try_current() else { return };
        let (blobs, session) = (self.blobs.clone(), self.session);
        runtime.spawn(async move {
            match blobs.discard(&packing(), session).await {
                Ok(()) | Err(StoreError::SessionUnknown) => {}
                Err(e) => tracing::debug!(error = %e, "what is left of packing a layer was not removed"),
            }
        });
    }
}

#[derive(Debug)]
enum Part {
    Bytes(Bytes),
    Large(LargeBlob),
}

impl Brought {
    /// Bytes that are in memory, and hash to `digest`.
    pub(super) fn bytes(&mut self, digest: Digest, bytes: Bytes) {
        self.parts.entry(digest).or_insert(Part::Bytes(bytes));
    }

    /// Bytes of an upload session.
    pub(super) fn verified(&mut self, digest: Digest, verified: Verified) {
        self.parts.entry(digest).or_insert(match verified {
            Verified::Small(bytes) => Part::Bytes(bytes),
            Verified::Large(large) => Part::Large(large),
        });
    }

    /// Starts a session of [`packing`], to be discarded with this.
    ///
    /// # Errors
    /// [`Error::Busy`], [`Error::DiskFull`].
    pub(super) async fn start_session(&mut self, blobs: &BlobStore) -> Result<Uuid> {
        let blobs = blobs.clone();
        // In a task of its own, which ends also where whoever waits for it goes away: then it drops what it started.
        let started = tokio::spawn(async move {
            let session = blobs.start(&packing(), Algorithm::Sha256).await?;
            Ok::<_, StoreError>(Packing { blobs, session })
        });
        let packing = started.await.map_err(Error::internal)??;
        let session = packing.session;
        self.sessions.push(packing);
        Ok(session)
    }

    /// All that is in it.
    pub(super) fn digests(&self) -> Vec<Digest> {
        self.parts.keys().copied().collect()
    }
}

/// Whose the sessions are that layers are packed into.
pub(super) fn packing() -> String {
    format!("{}/packing", RepoName::waiting_room(None))
}

impl Registry {
    /// Submits a command with its bytes. Files that no record mentions then are removed: those of a refused command,
    /// and those that somebody else brought in another form a moment before.
    pub(super) async fn submit_brought(
        &self,
        caller: &Caller,
        command: Command,
        mut brought: Brought,
    ) -> Result<Outcome> {
        let mut files = Vec::new();
        let placed = self.place(std::mem::take(&mut brought.parts), &mut files).await;
        drop(brought);
        let (submitted, decided) = match placed {
            Ok(payload) => {
                let submitted = self.ledger.submit(caller, command, payload).await;
                let decided = submitted.as_ref().err().is_none_or(Error::is_refusal);
                (submitted, decided)
            }
            // Nothing was asked of the writer.
            Err(e) => (Err(e), true),
        };
        if decided {
            let snapshot = self.snapshot()?;
            for digest in files {
                // Asked again under the digest's lock, where it matters.
                if snapshot.get::<Blobs>(&digest).map_err(Error::internal)?.is_none() {
                    self.remove_unmentioned(digest).await?;
                }
            }
        }
        submitted
    }

    /// Puts bytes in their places, in the order of their digests. What became a file is added to `files`.
    async fn place(&self, parts: BTreeMap<Digest, Part>, files: &mut Vec<Digest>) -> Result<Payload> {
        let mut payloads = Vec::with_capacity(parts.len());
        for (digest, part) in parts {
            let placed = match part {
                Part::Bytes(bytes) if bytes.len() as u64 <= limits::INLINE_BLOB_BYTES_MAX => {
                    payloads.push(Payload::Small(digest, bytes));
                    continue;
                }
                Part::Bytes(bytes) => self.blobs.put_bytes(digest, bytes, self.existing(&digest)?).await?,
                Part::Large(large) => self.blobs.publish(large, self.existing(&digest)?).await?,
            };
            files.push(digest);
            payloads.push(Payload::File(Arc::new(placed)));
        }
        Ok(Payload::Many(payloads))
    }
}
