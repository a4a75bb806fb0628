//! A layer's uncompressed bytes, whatever the compression of the stored ones, within limits and with typed
//! errors. What the bytes mean is not known here.

use std::io::{self, BufReader, Chain, Cursor, Read};

use bzip2::bufread::MultiBzDecoder;
use flate2::bufread::MultiGzDecoder;
use lzma_rust2::XzReader;

use crate::zstd::ZstdReader;
use crate::{Compression, InspectLimits, LayerError, WINDOW_BYTES_MAX};

/// Bytes that are read, hashed and written at a time.
pub(crate) const PIECE_BYTES: usize = 64 * 1024;

/// What a layer of no bytes stands for: a tar with nothing in it, which is two blocks of zeros.
const EMPTY_TAR: [u8; 1024] = [0; 1024];

/// The stored bytes. Remembers why it failed, since decoders change and wrap errors.
struct Source<'s, R> {
    inner: R,
    limits: InspectLimits<'s>,
    failed: Option<LayerError>,
}

impl<R: Read> Read for Source<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        // Also here, since a decoder may read much and find nothing in it.
        if self.limits.stopped() {
            self.failed = Some(LayerError::Stopped);
            return Err(io::ErrorKind::Other.into());
        }
        loop {
            match self.inner.read(buf) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    let kind = error.kind();
                    self.failed = Some(LayerError::Read(error));
                    return Err(kind.into());
                }
                Ok(read) => return Ok(read),
            }
        }
    }
}

/// The first bytes, which were looked at to tell the compression, then the others.
type Stored<'s, R> = BufReader<Chain<Cursor<Vec<u8>>, Source<'s, R>>>;

enum Decoder<'s, R: Read> {
    None(Stored<'s, R>),
    Gzip(MultiGzDecoder<Stored<'s, R>>),
    Bzip2(MultiBzDecoder<Stored<'s, R>>),
    Xz(Box<XzReader<Stored<'s, R>>>),
    Zstd(Box<ZstdReader<Stored<'s, R>>>),
}

impl<'s, R: Read> Decoder<'s, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Decoder::None(stored) => stored.read(buf),
            Decoder::Gzip(decoder) => decoder.read(buf),
            Decoder::Bzip2(decoder) => decoder.read(buf),
            Decoder::Xz(decoder) => decoder.read(buf),
            Decoder::Zstd(decoder) => decoder.read(buf),
        }
    }

    fn source(&mut self) -> &mut Source<'s, R> {
        let stored = match self {
            Decoder::None(stored) => stored,
            Decoder::Gzip(decoder) => decoder.get_mut(),
            Decoder::Bzip2(decoder) => decoder.get_mut(),
            Decoder::Xz(decoder) => decoder.inner_mut(),
            Decoder::Zstd(decoder) => decoder.get_mut(),
        };
        stored.get_mut().get_mut().1
    }
}

/// A layer's uncompressed bytes.
pub(crate) struct Uncompressed<'s, R: Read> {
    decoder: Decoder<'s, R>,
    compression: Compression,
    limits: InspectLimits<'s>,
    /// Bytes that were given out.
    produced: u64,
}

impl<'s, R: Read> Uncompressed<'s, R> {
    /// Reads as many of the stored bytes as tell the compression.
    pub(crate) fn new(stored: R, limits: InspectLimits<'s>) -> Result<Self, LayerError> {
        let mut source = Source { inner: stored, limits, failed: None };
        let mut first = Vec::with_capacity(Compression::DETECT_BYTES);
        if let Err(error) = source.by_ref().take(Compression::DETECT_BYTES as u64).read_to_end(&mut first) {
            return Err(source.failed.unwrap_or(LayerError::Read(error)));
        }
        let compression = Compression::detect(&first);
        if first.is_empty() {
            first.extend_from_slice(&EMPTY_TAR);
        }
        let stored = BufReader::with_capacity(PIECE_BYTES, Cursor::new(first).chain(source));
        let decoder = match compression {
            Compression::None => Decoder::None(stored),
            Compression::Gzip => Decoder::Gzip(MultiGzDecoder::new(stored)),
            Compression::Bzip2 => Decoder::Bzip2(MultiBzDecoder::new(stored)),
            Compression::Xz => Decoder::Xz(Box::new(XzReader::new_mem_limit(stored, true, xz_memory_kib()))),
            Compression::Zstd => Decoder::Zstd(Box::new(ZstdReader::new(stored))),
        };
        Ok(Uncompressed { decoder, compression, limits, produced: 0 })
    }

    /// Fills `buf`, unless the layer ends before. Returns how many bytes there were. After an error nothing is
    /// to be read any more.
    ///
    /// Always as much as fits, so that what is made of a layer doesn't depend on how its bytes come in.
    pub(crate) fn fill(&mut self, buf: &mut [u8]) -> Result<usize, LayerError> {
        let mut filled = 0;
        while filled < buf.len() {
            if self.limits.stopped() {
                return Err(LayerError::Stopped);
            }
            match self.decoder.read(&mut buf[filled..]) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(source) => {
                    let compression = self.compression;
                    let failed = self.decoder.source().failed.take();
                    return Err(failed.unwrap_or(LayerError::Unreadable { compression, source }));
                }
            }
        }
        self.produced += filled as u64;
        if self.produced > self.limits.uncompressed_bytes {
            return Err(LayerError::TooLarge { limit: self.limits.uncompressed_bytes });
        }
        Ok(filled)
    }

    pub(crate) fn compression(&self) -> Compression {
        self.compression
    }

    pub(crate) fn limits(&self) -> &InspectLimits<'s> {
        &self.limits
    }

    /// Bytes that were given out.
    pub(crate) fn produced(&self) -> u64 {
        self.produced
    }
}

/// The largest dictionary that is allowed, and what the decoder needs beside it.
fn xz_memory_kib() -> u32 {
    const BESIDE_KIB: u64 = 1024;
    u32::try_from(WINDOW_BYTES_MAX / 1024 + BESIDE_KIB).unwrap_or(u32::MAX)
}

/// A buffer for one piece.
pub(crate) fn piece() -> Box<[u8]> {
    vec![0; PIECE_BYTES].into_boxed_slice()
}
