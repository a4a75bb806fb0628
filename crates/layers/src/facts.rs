//! What a layer's bytes say as a whole: their compression and the digest of what is inside.

use std::io::Read;

use sha2::{Digest as _, Sha256};
use supercargo_model::Digest;

use crate::stream::{Uncompressed, piece};
use crate::{Compression, InspectLimits, LayerError};

/// What was found out about a layer by reading it once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerFacts {
    /// How the stored bytes are compressed.
    pub compression: Compression,
    /// The SHA-256 digest of the uncompressed bytes, all of them, padding included: the layer's `diff_id`
    /// (OCI image specification, "Layer DiffID").
    pub diff_id: Digest,
    /// How many uncompressed bytes there are.
    pub uncompressed_size: u64,
}

/// Reads a stored layer to its end. Whether a tar is inside is not looked at.
///
/// A layer of no bytes is the empty tar of 1024 zeros, as Docker takes it. After the last gzip member, bzip2 or
/// xz stream or zstd frame nothing may follow but another one.
///
/// # Errors
/// [`LayerError`], except `Write`, `Tar`, `TooManyEntries` and `SparseFile`.
pub fn inspect(stored: impl Read, limits: InspectLimits<'_>) -> Result<LayerFacts, LayerError> {
    for_each_piece(stored, limits, |_| Ok(()))
}

/// Reads a layer to its end, and hands on its uncompressed bytes in pieces of one size (but for the last).
pub(crate) fn for_each_piece(
    stored: impl Read,
    limits: InspectLimits<'_>,
    mut each: impl FnMut(&[u8]) -> Result<(), LayerError>,
) -> Result<LayerFacts, LayerError> {
    let mut stream = Uncompressed::new(stored, limits)?;
    let mut hash = Sha256::new();
    let mut piece = piece();
    loop {
        let filled = stream.fill(&mut piece)?;
        hash.update(&piece[..filled]);
        each(&piece[..filled])?;
        if filled < piece.len() {
            return Ok(LayerFacts {
                compression: stream.compression(),
                diff_id: Digest::sha256(hash.finalize().into()),
                uncompressed_size: stream.produced(),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use std::io;

    use proptest::prelude::*;

    use super::*;
    use crate::testing::{
        ByteByByte, COMPRESSIONS, Failing, LAYER_A, LAYER_A_BZIP2, LAYER_A_XZ, LAYER_A_ZSTD, LAYER_B,
        compress, decode, gunzip, limits,
    };

    const DIFF_ID_A: &str = "sha256:dbafc68eb8c0a0c3336db69c4ef3c4cc5c9fdedd1b0d99285906c2a2e6f6899d";
    const DIFF_ID_B: &str = "sha256:2c0e7a4d0da916ff5231432bc2fb48efe616334513995ae9bf849e3c421aec90";
    const DIFF_ID_EMPTY: &str = "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef";

    #[test]
    fn known_layers_have_their_known_diff_ids_in_every_compression() {
        let plain = gunzip(&decode(LAYER_A));
        let stored = [
            (Compression::None, plain),
            (Compression::Gzip, decode(LAYER_A)),
            (Compression::Bzip2, decode(LAYER_A_BZIP2)),
            (Compression::Xz, decode(LAYER_A_XZ)),
            (Compression::Zstd, decode(LAYER_A_ZSTD)),
        ];
        for (compression, bytes) in stored {
            let facts =
                LayerFacts { compression, diff_id: DIFF_ID_A.parse().unwrap(), uncompressed_size: 2560 };
            assert_eq!(inspect(bytes.as_slice(), limits()).unwrap(), facts);
            assert_eq!(inspect(ByteByByte::new(bytes.as_slice()), limits()).unwrap(), facts);
        }
        let facts = inspect(decode(LAYER_B).as_slice(), limits()).unwrap();
        assert_eq!((facts.diff_id, facts.uncompressed_size), (DIFF_ID_B.parse().unwrap(), 3072));
    }

    #[test]
    fn layer_of_no_bytes_is_the_empty_tar() {
        let facts = inspect(io::empty(), limits()).unwrap();
        assert_eq!(facts.compression, Compression::None);
        assert_eq!((facts.diff_id, facts.uncompressed_size), (DIFF_ID_EMPTY.parse().unwrap(), 1024));
    }

    #[test]
    fn all_members_streams_and_frames_are_read() {
        for compression in COMPRESSIONS {
            let [first, second] = [b"one".as_slice(), b"two"].map(|part| compress(compression, part));
            let facts = inspect([first, second].concat().as_slice(), limits()).unwrap();
            assert_eq!(
                facts.diff_id,
                inspect(b"onetwo".as_slice(), limits()).unwrap().diff_id,
                "{compression}"
            );
        }
    }

    #[test]
    fn zstd_frames_to_be_skipped_are_skipped() {
        let skipped = [&[0x53, 0x2a, 0x4d, 0x18, 3, 0, 0, 0], b"abc".as_slice()].concat();
        let frame = compress(Compression::Zstd, b"one");
        let facts =
            inspect([&skipped, &frame, &skipped].map(Vec::as_slice).concat().as_slice(), limits()).unwrap();
        assert_eq!(facts.diff_id, inspect(b"one".as_slice(), limits()).unwrap().diff_id);
        let cut = &skipped[..skipped.len() - 1];
        assert!(matches!(inspect(cut, limits()), Err(LayerError::Unreadable { .. })));
    }

    /// As Go's reader, which Docker reads with: another member or nothing.
    #[test]
    fn what_follows_the_compressed_bytes_is_refused() {
        for compression in COMPRESSIONS.into_iter().skip(1) {
            for garbage in [b"garbage!".as_slice(), &[0], &[0; 513], &[0x1f, 0x8b]] {
                let stored = [&compress(compression, b"content"), garbage].concat();
                let error = inspect(stored.as_slice(), limits()).unwrap_err();
                assert!(
                    matches!(error, LayerError::Unreadable { compression: c, .. } if c == compression),
                    "{compression} followed by {garbage:?}: {error}"
                );
            }
        }
    }

    #[test]
    fn cut_off_layer_is_an_error_wherever_it_is_cut() {
        let stored = [LAYER_A, LAYER_A_BZIP2, LAYER_A_XZ, LAYER_A_ZSTD].map(decode);
        for stored in stored {
            for len in 0..stored.len() {
                let cut = &stored[..len];
                // So little says nothing of the compression, and is a layer of its own.
                if Compression::detect(cut) == Compression::None {
                    continue;
                }
                let error = inspect(cut, limits()).unwrap_err();
                assert!(matches!(error, LayerError::Unreadable { .. }), "{len}: {error}");
            }
        }
    }

    /// Compressed bytes whose checksums cover all that matters.
    #[test]
    fn flipped_bit_never_changes_the_diff_id_unnoticed() {
        for stored in [LAYER_A, LAYER_A_BZIP2, LAYER_A_XZ, LAYER_A_ZSTD].map(decode) {
            let compression = Compression::detect(&stored);
            for bit in 0..stored.len() * 8 {
                let mut stored = stored.clone();
                stored[bit / 8] ^= 1 << (bit % 8);
                if Compression::detect(&stored) != compression {
                    continue;
                }
                if let Ok(facts) = inspect(stored.as_slice(), limits()) {
                    assert_eq!(facts.diff_id, DIFF_ID_A.parse().unwrap(), "{compression}, bit {bit}");
                }
            }
        }
    }

    #[test]
    fn bomb_is_refused_at_the_limit() {
        let zeros = vec![0; 10_000_000];
        for compression in COMPRESSIONS {
            let stored = compress(compression, &zeros);
            let allowed = InspectLimits { uncompressed_bytes: 10_000_000, ..limits() };
            assert_eq!(inspect(stored.as_slice(), allowed).unwrap().uncompressed_size, 10_000_000);
            let limit = 9_999_999;
            let refused = inspect(stored.as_slice(), InspectLimits { uncompressed_bytes: limit, ..limits() });
            assert!(matches!(refused, Err(LayerError::TooLarge { limit: 9_999_999 })), "{compression}");
        }
    }

    #[test]
    fn decoder_that_would_take_too_much_memory_is_refused() {
        // An xz block header that asks for a dictionary of 4 GiB, and a zstd frame header for a window of 2 GiB.
        let xz = [
            [0xfd, b'7', b'z', b'X', b'Z', 0, 0, 1, 0x69, 0x22, 0xde, 0x36],
            [2, 0, 0x21, 1, 40, 0, 0, 0, 0xe6, 0xa0, 0x11, 0xb3],
        ]
        .concat();
        let zstd = vec![0x28, 0xb5, 0x2f, 0xfd, 0, 21 << 3, 1, 0, 0];
        for stored in [xz, zstd] {
            let error = inspect(stored.as_slice(), limits()).unwrap_err();
            let LayerError::Unreadable { source, .. } = error else { panic!("{error}") };
            let said = source.to_string();
            assert!(said.contains("mem") || said.contains("window"), "{said}");
        }
    }

    #[test]
    fn failure_of_the_reader_is_told_from_damage_of_the_layer() {
        for compression in COMPRESSIONS {
            let stored = compress(compression, &[7; 1000]);
            for len in [0, 3, 10, stored.len()] {
                let error = inspect(Failing(&stored[..len]), limits()).unwrap_err();
                assert!(
                    matches!(&error, LayerError::Read(source) if source.to_string() == "the disk is gone"),
                    "{compression} of {len}: {error}"
                );
            }
        }
    }

    #[test]
    fn reading_stops_when_it_is_told_to() {
        /// Gives zeros for ever, and tells to stop when 1 MB was taken.
        struct Endless<'s>(usize, &'s AtomicBool);
        impl Read for Endless<'_> {
            fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
                buf.fill(0);
                self.0 += buf.len();
                self.1.store(self.0 > 1_000_000, std::sync::atomic::Ordering::Relaxed);
                Ok(buf.len())
            }
        }
        let stop = AtomicBool::new(false);
        let limits = InspectLimits { stop: Some(&stop), ..limits() };
        assert!(matches!(inspect(Endless(0, &stop), limits), Err(LayerError::Stopped)));

        // Also where a decoder finds nothing in all that it reads: members of gzip without content.
        let nothing = compress(Compression::Gzip, b"").repeat(100_000);
        stop.store(false, std::sync::atomic::Ordering::Relaxed);
        struct Counted<'s>(&'s [u8], usize, &'s AtomicBool);
        impl Read for Counted<'_> {
            fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
                self.1 += 1;
                self.2.store(self.1 > 3, std::sync::atomic::Ordering::Relaxed);
                self.0.read(buf)
            }
        }
        assert!(matches!(inspect(Counted(&nothing, 0, &stop), limits), Err(LayerError::Stopped)));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(
            compression in proptest::sample::select(&COMPRESSIONS[..]),
            mut bytes in proptest::collection::vec(any::<u8>(), 0..2000),
        ) {
            let whole = compress(compression, b"some content");
            let _ = inspect(bytes.as_slice(), limits());
            // Behind a right beginning, which leads further in.
            for kept in [6, 12, whole.len().saturating_sub(5)] {
                bytes.splice(0..0, whole[..kept.min(whole.len())].iter().copied());
                let _ = inspect(bytes.as_slice(), limits());
            }
        }

        #[test]
        fn content_is_the_same_however_it_is_compressed_and_read(
            bytes in proptest::collection::vec(0..4u8, 1..20_000),
        ) {
            let plain = inspect([b"x", bytes.as_slice()].concat().as_slice(), limits()).unwrap();
            for compression in COMPRESSIONS {
                let stored = compress(compression, &[b"x", bytes.as_slice()].concat());
                let facts = LayerFacts { compression, ..plain };
                prop_assert_eq!(inspect(stored.as_slice(), limits()).unwrap(), facts);
                prop_assert_eq!(inspect(ByteByByte::new(stored.as_slice()), limits()).unwrap(), facts);
            }
        }
    }
}
