//! What is in layers: found out once, beside the async threads, and remembered in the log.

use std::io::{Cursor, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use supercargo_blobs::BlobReader;
use supercargo_layers::{Compression, LayerError};
use supercargo_model::{Digest, limits};
use supercargo_projections::tables::Blobs;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::registry::Registry;
use crate::{Error, Result, small};

/// How many layers are unpacked at a time for pushes and pulls. Each takes a processor, and up to what a decoder needs
/// of memory.
const UNPACKING_MAX: usize = 2;
/// How many layers are unpacked at a time to list their files: nobody's push or pull waits for those.
const LISTING_MAX: usize = 1;
/// When to ask again for a listing, where another one is made.
const LISTING_RETRY_AFTER: Duration = Duration::from_secs(5);

/// Those that are unpacked now.
#[derive(Debug)]
pub(crate) struct Unpacking {
    places: Arc<Semaphore>,
    listing: Arc<Semaphore>,
    running: Mutex<Running>,
}

#[derive(Debug, Default)]
struct Running {
    closing: bool,
    /// What ends each.
    stops: Vec<Arc<AtomicBool>>,
}

/// Somebody who waits for what is unpacked. Once they don't any more, it ends.
struct Awaited<'u> {
    unpacking: &'u Unpacking,
    stop: Arc<AtomicBool>,
}

impl Default for Unpacking {
    fn default() -> Unpacking {
        let places = |count| Arc::new(Semaphore::new(count));
        Unpacking { places: places(UNPACKING_MAX), listing: places(LISTING_MAX), running: Mutex::default() }
    }
}

impl Unpacking {
    /// Whatever is being unpacked ends soon, and whatever begins from now on.
    pub(crate) fn stop(&self) {
        let mut running = self.running.lock();
        running.closing = true;
        for stop in &running.stops {
            stop.store(true, Ordering::Relaxed);
        }
    }

    /// All places of pushes and pulls.
    #[cfg(test)]
    pub(super) async fn all_places(&self) -> OwnedSemaphorePermit {
        Arc::clone(&self.places).acquire_many_owned(UNPACKING_MAX as u32).await.unwrap()
    }

    /// Does work that has a place, on a thread that may block.
    async fn run<T: Send + 'static>(
        &self,
        place: OwnedSemaphorePermit,
        work: impl FnOnce(&AtomicBool) -> T + Send + 'static,
    ) -> Result<T> {
        let awaited = Awaited::new(self);
        let stop = Arc::clone(&awaited.stop);
        let worked = tokio::task::spawn_blocking(move || {
            let _place = place;
            work(&stop)
        });
        worked.await.map_err(Error::internal)
    }
}

impl Awaited<'_> {
    fn new(unpacking: &Unpacking) -> Awaited<'_> {
        let mut running = unpacking.running.lock();
        let stop = Arc::new(AtomicBool::new(running.closing));
        running.stops.push(Arc::clone(&stop));
        Awaited { unpacking, stop }
    }
}

impl Drop for Awaited<'_> {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.unpacking.running.lock().stops.retain(|stop| !Arc::ptr_eq(stop, &self.stop));
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
    /// Runs what unpacks a layer for a push or a pull, on a thread that may block, once there is a place for it. What it
    /// is given becomes true when it should end: nobody waits for it any more, or the registry is about to close.
    ///
    /// # Errors
    /// [`Error::Unavailable`] where the registry is about to close.
    pub(super) async fn unpacking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&AtomicBool) -> T + Send + 'static,
    ) -> Result<T> {
        let place = Arc::clone(&self.unpacking.places).acquire_owned().await;
        self.unpacking.run(place.map_err(|_| Error::Unavailable)?, work).await
    }

    /// As [`Registry::unpacking`], for what lists a layer's files: it takes no place from pushes and pulls, and waits for
    /// none.
    ///
    /// # Errors
    /// [`Error::Busy`] where another listing is made.
    pub(super) async fn listing<T: Send + 'static>(
        &self,
        work: impl FnOnce(&AtomicBool) -> T + Send + 'static,
    ) -> Result<T> {
        let place = Arc::clone(&self.unpacking.listing).try_acquire_owned();
        let place = place.map_err(|_| Error::Busy { retry_after: LISTING_RETRY_AFTER })?;
        self.unpacking.run(place, work).await
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

    /// How a layer is packed. Its first bytes say so: that waits for nothing that is unpacked.
    pub(super) async fn compression(&self, layer: &Digest) -> Result<Compression> {
        let mut bytes = self.open_layer(layer)?;
        let detected = tokio::task::spawn_blocking(move || {
            let mut first = Vec::with_capacity(16);
            bytes.by_ref().take(16).read_to_end(&mut first).map(|_| Compression::detect(&first))
        });
        detected.await.map_err(Error::internal)?.map_err(Error::internal)
    }
}

pub(super) fn unreadable(layer: Digest, error: &LayerError) -> Error {
    match error {
        LayerError::Stopped => Error::Unavailable,
        error => Error::LayerUnreadable { layer, why: error.to_string() },
    }
}
