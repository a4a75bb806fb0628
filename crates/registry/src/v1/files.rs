//! Which files an image's layer holds.

use supercargo_layers::{InspectLimits, Row};

use super::V1ImageInfo;
use super::layers::unreadable;
use crate::registry::Registry;
use crate::{Error, Result};

/// How much of a listing is held in memory, in bytes: some hundred thousand files.
const LISTING_BYTES_MAX: usize = 16 * 1024 * 1024;
/// How much a layer may come to, in bytes, for its files to be listed: some seconds of unpacking.
const LISTED_LAYER_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;

impl Registry {
    /// The files of an image's layer, in the tar's order. The layer is unpacked for it, one at a time.
    ///
    /// # Errors
    /// [`Error::LayerUnreadable`], also where there are too many files to be listed, or too much of them;
    /// [`Error::Busy`] where another layer's are listed; [`Error::Unavailable`] where the registry is about to close.
    pub async fn v1_files(&self, image: &V1ImageInfo) -> Result<Vec<Row>> {
        let layer = image.image.layer;
        let bytes = self.open_layer(&layer)?;
        let files = self.listing(move |stop| {
            let limits = InspectLimits {
                uncompressed_bytes: LISTED_LAYER_BYTES_MAX,
                stop: Some(stop),
                ..InspectLimits::default()
            };
            let listing = supercargo_layers::listing(bytes, limits).map_err(|e| unreadable(layer, &e))?;
            let (mut files, mut held) = (Vec::new(), 0);
            for row in listing {
                let row = row.map_err(|e| unreadable(layer, &e))?;
                held += size_of::<Row>() + row.path.len();
                if held > LISTING_BYTES_MAX {
                    let why = "it holds too many files to be listed".to_owned();
                    return Err(Error::LayerUnreadable { layer, why });
                }
                files.push(row);
            }
            Ok(files)
        });
        files.await?
    }
}
