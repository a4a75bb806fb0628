//! What is in layers: found out once, beside the async threads, and remembered in the log.

use std::io::{Cursor, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use supercargo_blobs::BlobReader;
use supercargo_layers::{Compression, LayerError};
use supercargo_model::{Digest, limits};
use supercargo_projections::tables::Blobs;
use tokio::sync::Semaphore;

use crate::registry::Registry;
use crate::{Error, Result, small};

/// How many layers are unpacked at a time. Each takes a processor, and up to what a decoder needs of memory.
const UNPACKING_MAX: usize = 2;

/// Those that are unpacked now.
#[derive(Debug)]
pub(crate) struct Unpacking {
    places: Arc<Semaphore>,
    stop: Arc<AtomicBool>,
}

impl Default for Unpacking {
    fn default() -> Unpacking {
        Unpacking { places: Arc::new(Semaphore::new(UNPACKING_MAX)), stop: Arc::default() }
    }
}

impl Unpacking {
    /// Whatever is being unpacked ends soon.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// The bytes of a layer, from its begin.
pub(super) enum LayerBytes {
    Inline(Cursor<bytes::Bytes>),
    File(BlobReader),
}

impl Read for LayerBytes {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self {
            LayerBytes::Inline(bytes) => bytes.read(buffer),
            LayerBytes::File(file) => file.read(buffer),
        }
    }
}

impl Registry {
    /// Runs what unpacks a layer on a thread that may block. What it is given becomes true when it should end: the
    /// registry is about to close.
    ///
    /// # Errors
    /// [`Error::Unavailable`] where the registry is about to close.
    pub(super) async fn unpacking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&AtomicBool) -> T + Send + 'static,
    ) -> Result<T> {
        let place = Arc::clone(&self.unpacking.places).acquire_owned().await;
        let place = place.map_err(|_| Error::Unavailable)?;
        let stop = Arc::clone(&self.unpacking.stop);
        let worked = tokio::task::spawn_blocking(move || {
            let _place = place;
            work(&stop)
        });
        worked.await.map_err(Error::internal)
    }

    /// Opens a layer to be unpacked, whichever name holds it.
    pub(super) fn open_layer(&self, layer: &Digest) -> Result<LayerBytes> {
        let gone = || Error::LayerUnreadable { layer: *layer, why: "it is not there any more".to_owned() };
        let snapshot = self.snapshot()?;
        let blob = snapshot.get::<Blobs>(layer).map_err(Error::internal)?;
        let blob = blob.filter(|blob| !blob.rotten).ok_or_else(gone)?;
        if blob.size <= limits::INLINE_BLOB_BYTES_MAX
            && let Some(bytes) = small::get(snapshot.transaction(), layer).map_err(Error::internal)?
        {
            return Ok(LayerBytes::Inline(Cursor::new(bytes)));
        }
        let file = self.file(layer, blob.size)?.ok_or_else(gone)?;
        Ok(LayerBytes::File(file.into_reader()))
    }

    /// How a layer is packed.
    pub(super) async fn compression(&self, layer: &Digest) -> Result<Compression> {
        let mut bytes = self.open_layer(layer)?;
        self.unpacking(move |_| {
            let mut first = Vec::with_capacity(16);
            bytes.by_ref().take(16).read_to_end(&mut first).map(|_| Compression::detect(&first))
        })
        .await?
        .map_err(Error::internal)
    }
}

pub(super) fn unreadable(layer: Digest, error: &LayerError) -> Error {
    match error {
        LayerError::Stopped => Error::Unavailable,
        error => Error::LayerUnreadable { layer, why: error.to_string() },
    }
}
