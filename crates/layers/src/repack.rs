//! The same layer as gzip, always with the same bytes: what V1 layers that are not gzip become for V2 clients, and
//! V2 layers that old clients can't read become for V1 clients.

use std::io::{self, Read, Write};

use flate2::GzBuilder;
use sha2::{Digest as _, Sha256};
use supercargo_model::Digest;

use crate::facts::for_each_piece;
use crate::{InspectLimits, LayerError, LayerFacts};

/// The level of deflate. Never to be changed: it is part of what makes the bytes the same.
const LEVEL: u32 = 6;
/// The operating system in the gzip header: unknown (RFC 1952, section 2.3.1).
const UNKNOWN_OS: u8 = 255;

/// What a layer was repacked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repacked {
    /// The digest of what was written.
    pub digest: Digest,
    /// How many bytes were written.
    pub size: u64,
    /// What was read.
    pub facts: LayerFacts,
}

/// Writes a layer as gzip of one member: no time, no name, no system, level 6.
///
/// What is written depends on the uncompressed bytes alone: not on the compression they had, on the pieces that
/// they are read in or on the processor. It does depend on the version of the deflate library; a test of this
/// crate notices when that changes, and callers that must never have another digest for a layer remember the one
/// they had.
///
/// # Errors
/// As [`inspect`](crate::inspect), and [`LayerError::Write`]. What was written by then is of no use.
pub fn repack(
    stored: impl Read,
    writer: impl Write,
    limits: InspectLimits<'_>,
) -> Result<Repacked, LayerError> {
    let counted = Hashed { writer, hash: Sha256::new(), size: 0 };
    let mut gzip = GzBuilder::new()
        .mtime(0)
        .operating_system(UNKNOWN_OS)
        .write(counted, flate2::Compression::new(LEVEL));
    // In pieces of one size: what deflate finds depends on how much it is given at once.
    let facts = for_each_piece(stored, limits, |piece| gzip.write_all(piece).map_err(LayerError::Write))?;
    let mut counted = gzip.finish().map_err(LayerError::Write)?;
    counted.flush().map_err(LayerError::Write)?;
    Ok(Repacked { digest: Digest::sha256(counted.hash.finalize().into()), size: counted.size, facts })
}

/// Passes bytes on, hashed and counted.
struct Hashed<W> {
    writer: W,
    hash: Sha256,
    size: u64,
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let written = self.writer.write(buf)?;
        self.hash.update(&buf[..written]);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{ByteByByte, COMPRESSIONS, LAYER_A, compress, decode, gunzip, limits};
    use crate::{Compression, inspect};

    /// Bytes that compress somewhat, so that much of deflate has a say in what comes out.
    fn sample() -> Vec<u8> {
        let mut state = 1u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state >> 24
        };
        let mut sample = Vec::new();
        while sample.len() < 400_000 {
            let (back, len) = (next() as usize * 50 + 1, next() as usize / 4 + 3);
            if back < sample.len() && next() < 128 {
                for _ in 0..len {
                    sample.push(sample[sample.len() - back]);
                }
            } else {
                sample.extend((0..len).map(|_| (next() % 40) as u8));
            }
        }
        sample
    }

    /// If this fails after an upgrade, the upgrade changes the digests of all layers that are repacked from
    /// then on: those of running registries that didn't remember them, too. That is a line in the changelog, or a
    /// reason to stay.
    #[test]
    fn bytes_are_those_of_the_recipe_for_ever() {
        let pinned = [
            (
                gunzip(&decode(LAYER_A)),
                137,
                "sha256:8db374dadf848c946f2c46c04460a3a598d301fd88e426cb514bbee8c55cd157",
            ),
            (Vec::new(), 30, "sha256:75eb48369c0d0b1260b7db5c5f831d5f8b1b9b322b64191c96cb147437e7f404"),
            (sample(), 154_418, "sha256:264f1f8aa3ef8f725a65efe4f890b34185a85a80a6d47295f4747bf42beafdb6"),
        ];
        for (plain, size, digest) in pinned {
            let mut out = Vec::new();
            let repacked = repack(plain.as_slice(), &mut out, limits()).unwrap();
            assert_eq!(out[..10], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255]);
            assert_eq!((repacked.size, repacked.digest.to_string().as_str()), (size, digest));
        }
    }

    #[test]
    fn result_depends_on_the_content_alone() {
        let sample = sample();
        let mut plain = Vec::new();
        let expected = repack(sample.as_slice(), &mut plain, limits()).unwrap();
        assert_eq!(gunzip(&plain), sample);
        assert_eq!(expected.size, plain.len() as u64);
        assert_eq!(inspect(plain.as_slice(), limits()).unwrap().diff_id, expected.facts.diff_id);
        for compression in COMPRESSIONS {
            let stored = compress(compression, &sample);
            let mut out = Vec::new();
            let repacked = repack(ByteByByte::new(stored.as_slice()), &mut out, limits()).unwrap();
            assert_eq!(out, plain, "{compression}");
            let facts = LayerFacts { compression, ..expected.facts };
            assert_eq!(repacked, Repacked { facts, ..expected });
        }
    }

    #[test]
    fn failure_of_the_writer_is_told_from_damage_of_the_layer() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        for stored in [compress(Compression::Gzip, b"little"), sample()] {
            let error = repack(stored.as_slice(), Full, limits()).unwrap_err();
            assert!(matches!(error, LayerError::Write(_)), "{error}");
        }
    }

    #[test]
    fn damaged_layer_is_not_repacked() {
        let stored = compress(Compression::Gzip, &sample());
        let error = repack(&stored[..stored.len() - 1], io::sink(), limits()).unwrap_err();
        assert!(matches!(error, LayerError::Unreadable { .. }), "{error}");
    }
}
