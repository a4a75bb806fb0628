//! A hash in the making, of either algorithm, and the hashing of whole byte strings and files.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use sha2::{Digest as _, Sha256, Sha512};
use supercargo_model::{Algorithm, Digest};

/// Bytes that a file is hashed in; the read of the next piece is served by the system's read-ahead.
const READ_BYTES: usize = 256 * 1024;

/// A hash in the making. A copy of it costs about 100 bytes.
#[derive(Clone)]
pub(crate) enum Hasher {
    Sha256(Sha256),
    Sha512(Sha512),
}

impl Hasher {
    pub(crate) fn new(algorithm: Algorithm) -> Hasher {
        match algorithm {
            Algorithm::Sha256 => Hasher::Sha256(Sha256::new()),
            Algorithm::Sha512 => Hasher::Sha512(Sha512::new()),
        }
    }

    pub(crate) fn algorithm(&self) -> Algorithm {
        match self {
            Hasher::Sha256(_) => Algorithm::Sha256,
            Hasher::Sha512(_) => Algorithm::Sha512,
        }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Hasher::Sha256(hash) => hash.update(bytes),
            Hasher::Sha512(hash) => hash.update(bytes),
        }
    }

    #[expect(clippy::expect_used, reason = "a SHA-512 hash has the length of its algorithm")]
    pub(crate) fn finish(self) -> Digest {
        match self {
            Hasher::Sha256(hash) => Digest::sha256(hash.finalize().into()),
            Hasher::Sha512(hash) => {
                Digest::from_hash(Algorithm::Sha512, &hash.finalize()).expect("64 bytes of hash")
            }
        }
    }

    pub(crate) fn of_bytes(algorithm: Algorithm, bytes: &[u8]) -> Digest {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(bytes);
        hasher.finish()
    }

    /// The digest of the file's first `size` bytes; blocks.
    pub(crate) fn of_file(algorithm: Algorithm, file: &File, size: u64) -> io::Result<Digest> {
        let mut hasher = Hasher::new(algorithm);
        let mut buffer = vec![0; READ_BYTES];
        let mut at = 0;
        while at < size {
            let wanted = usize::try_from(size - at).unwrap_or(READ_BYTES).min(READ_BYTES);
            file.read_exact_at(&mut buffer[..wanted], at)?;
            hasher.update(&buffer[..wanted]);
            at += wanted as u64;
        }
        Ok(hasher.finish())
    }
}
