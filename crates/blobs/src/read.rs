//! Reading a blob: whole, in a stream of pieces, or to check it.
//!
//! What the page cache holds is read where the stream is polled, which costs no more than a copy; only what
//! must come from the disk takes a hop to a blocking thread.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, stream};
use supercargo_model::{Algorithm, Digest};

use crate::hasher::Hasher;

/// Bytes of one piece of a stream.
const PIECE_BYTES: usize = 256 * 1024;

/// Pieces whose memory is used again once the reader is done with them: as many as an HTTP connection
/// holds at a time.
const PIECES_REUSED: usize = 3;

/// An open blob. Removing the blob takes nothing from those who have it open.
#[derive(Debug)]
pub struct BlobFile {
    file: Arc<File>,
    size: u64,
}

impl BlobFile {
    pub(crate) fn new(file: File) -> io::Result<BlobFile> {
        let size = file.metadata()?.len();
        Ok(BlobFile { file: Arc::new(file), size })
    }

    /// The blob's size in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The bytes of the range, which is cut to the blob's size, in pieces of 256 KiB.
    pub fn stream(self, range: Range<u64>) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
        let end = range.end.min(self.size);
        let reading = Reading { file: self.file, at: range.start.min(end), end, pieces: VecDeque::new() };
        stream::try_unfold(reading, Reading::next)
    }

    /// A reader of all its bytes. Reading blocks.
    pub fn into_reader(self) -> BlobReader {
        BlobReader { file: self.file, at: 0, size: self.size }
    }

    /// All bytes at once, for a blob that is known to be small. Blocks.
    ///
    /// # Errors
    /// What the system says.
    pub fn bytes(&self) -> io::Result<Bytes> {
        read_whole(&self.file, self.size)
    }

    /// What the bytes on disk hash to. Blocks: about a second for 1 GiB.
    ///
    /// # Errors
    /// What the system says.
    pub fn hash(&self, algorithm: Algorithm) -> io::Result<Digest> {
        Hasher::of_file(algorithm, &self.file, self.size)
    }
}

/// A blob read from its begin to its end, on a thread that may block.
#[derive(Debug)]
pub struct BlobReader {
    file: Arc<File>,
    at: u64,
    size: u64,
}

impl io::Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.size - self.at).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.file.read_at(&mut buffer[..left], self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

/// The file's first `size` bytes; blocks.
pub(crate) fn read_whole(file: &File, size: u64) -> io::Result<Bytes> {
    let mut bytes = vec![0; usize::try_from(size).map_err(|_| io::ErrorKind::FileTooLarge)?];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes.into())
}

/// The state of a stream.
struct Reading {
    file: Arc<File>,
    at: u64,
    end: u64,
    /// The pieces given out last, oldest first.
    pieces: VecDeque<Bytes>,
}

impl Reading {
    async fn next(mut self) -> io::Result<Option<(Bytes, Reading)>> {
        let wanted = usize::try_from(self.end - self.at).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
        if wanted == 0 {
            return Ok(None);
        }
        let mut buffer = self.buffer(wanted);
        let cached = read_cached(&self.file, &mut buffer[..wanted], self.at);
        if cached < wanted {
            let (file, at) = (Arc::clone(&self.file), self.at + cached as u64);
            let read = tokio::task::spawn_blocking(move || {
                file.read_exact_at(&mut buffer[cached..wanted], at).map(|()| buffer)
            });
            buffer = read.await.map_err(io::Error::other)??;
        }
        self.at += wanted as u64;
        let buffer = buffer.freeze();
        let piece = buffer.slice(..wanted);
        if self.at < self.end {
            self.pieces.push_back(buffer);
        }
        Ok(Some((piece, self)))
    }

    /// Memory for a piece: that of an earlier one if nobody holds it any more.
    fn buffer(&mut self, wanted: usize) -> BytesMut {
        if self.pieces.len() >= PIECES_REUSED
            && let Some(Ok(buffer)) = self.pieces.pop_front().map(Bytes::try_into_mut)
        {
            return buffer;
        }
        BytesMut::zeroed(wanted)
    }
}

/// Reads what the page cache holds of the wanted bytes, from their start; says how many those are.
#[cfg(target_os = "linux")]
fn read_cached(file: &File, buffer: &mut [u8], at: u64) -> usize {
    use rustix::io::{ReadWriteFlags, preadv2};

    // Whatever goes wrong, the ordinary read that follows meets it too and can say so.
    preadv2(file, &mut [io::IoSliceMut::new(buffer)], at, ReadWriteFlags::NOWAIT).unwrap_or(0)
}

/// Elsewhere there is no asking whether a read would wait.
#[cfg(not(target_os = "linux"))]
fn read_cached(_file: &File, _buffer: &mut [u8], _at: u64) -> usize {
    0
}
