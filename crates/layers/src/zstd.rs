//! Zstandard frames, one after the other, with their checksums and sizes verified.
//!
//! The library decodes one frame and leaves the rest to its caller (RFC 8878, section 3.1).

use std::io::{self, BufRead, Read};

use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use crate::WINDOW_BYTES_MAX;

/// Reads the content of all frames. Not to be read any further after an error.
pub(crate) struct ZstdReader<S> {
    source: S,
    decoder: FrameDecoder,
    /// What came of the frame that is being read; none between two frames.
    frame: Option<u64>,
}

impl<S: BufRead> ZstdReader<S> {
    pub(crate) fn new(source: S) -> ZstdReader<S> {
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(WINDOW_BYTES_MAX);
        ZstdReader { source, decoder, frame: None }
    }

    pub(crate) fn get_mut(&mut self) -> &mut S {
        &mut self.source
    }

    /// Begins the next frame. `false`: there is none.
    fn begin(&mut self) -> io::Result<bool> {
        while !self.source.fill_buf()?.is_empty() {
            match self.decoder.init(&mut self.source) {
                Ok(()) => {
                    self.frame = Some(0);
                    return Ok(true);
                }
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => {
                    let length = u64::from(length);
                    if io::copy(&mut self.source.by_ref().take(length), &mut io::sink())? < length {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                Err(error) => return Err(io::Error::other(error)),
            }
        }
        Ok(false)
    }

    /// Compares what came of a frame with what it says of itself, where it says something.
    fn end(&mut self, produced: u64) -> io::Result<()> {
        self.frame = None;
        let stated = self.decoder.get_checksum_from_data();
        if stated.is_some() && stated != self.decoder.get_calculated_checksum() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a frame's checksum is wrong"));
        }
        // Zero also stands for a size that is not stated.
        if ![0, produced].contains(&self.decoder.content_size()) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a frame's size is wrong"));
        }
        Ok(())
    }
}

impl<S: BufRead> Read for ZstdReader<S> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        loop {
            let Some(produced) = self.frame else {
                if self.begin()? {
                    continue;
                }
                return Ok(0);
            };
            while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                self.decoder
                    .decode_blocks(&mut self.source, BlockDecodingStrategy::UptoBlocks(1))
                    .map_err(io::Error::other)?;
            }
            let read = self.decoder.read(buf)?;
            if read > 0 {
                self.frame = Some(produced + read as u64);
                return Ok(read);
            }
            self.end(produced)?;
        }
    }
}
