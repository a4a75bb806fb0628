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

    /// The SHA-256 of what is to follow these bytes.
    pub(crate) fn after(prefix: &[u8]) -> Hasher {
        let mut hasher = Hasher::new(Algorithm::Sha256);
        hasher.update(prefix);
        hasher
    }

    pub(crate) fn of_bytes(algorithm: Algorithm, bytes: &[u8]) -> Digest {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(bytes);
        hasher.finish()
    }

    /// The digest of the file's first `size` bytes; blocks.
    pub(crate) fn of_file(algorithm: Algorithm, file: &File, size: u64) -> io::Result<Digest> {
        let mut hasher = Hasher::new(algorithm);
        Hasher::read_into(&mut [&mut hasher], file, size)?;
        Ok(hasher.finish())
    }

    /// Gives the file's first `size` bytes to all of these; blocks.
    pub(crate) fn read_into(hashers: &mut [&mut Hasher], file: &File, size: u64) -> io::Result<()> {
        let mut buffer = vec![0; READ_BYTES];
        let mut at = 0;
        while at < size {
            let wanted = usize::try_from(size - at).unwrap_or(READ_BYTES).min(READ_BYTES);
            file.read_exact_at(&mut buffer[..wanted], at)?;
            hashers.iter_mut().for_each(|hasher| hasher.update(&buffer[..wanted]));
            at += wanted as u64;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // printf abc | sha256sum; printf abc | sha512sum
    const ABC_SHA256: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    const ABC_SHA512: &str = "sha512:ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
        2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f";

    #[test]
    fn both_algorithms_give_what_others_give() {
        for (algorithm, expected) in [(Algorithm::Sha256, ABC_SHA256), (Algorithm::Sha512, ABC_SHA512)] {
            assert_eq!(Hasher::of_bytes(algorithm, b"abc").to_string(), expected);
            let mut parts = Hasher::new(algorithm);
            parts.update(b"a");
            assert_ne!(parts.clone().finish().to_string(), expected);
            parts.update(b"bc");
            assert_eq!(parts.algorithm(), algorithm);
            assert_eq!(parts.finish().to_string(), expected);
        }
    }

    #[test]
    fn a_file_is_hashed_up_to_its_size_and_a_cut_one_is_an_error() {
        let bytes: Vec<u8> = (0..2 * READ_BYTES + 5).map(|at| (at / 3) as u8).collect();
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&bytes, 0).unwrap();
        for size in [0, 1, READ_BYTES, READ_BYTES + 1, bytes.len()] {
            let digest = Hasher::of_file(Algorithm::Sha256, &file, size as u64).unwrap();
            assert_eq!(digest, Hasher::of_bytes(Algorithm::Sha256, &bytes[..size]));
        }
        let error = Hasher::of_file(Algorithm::Sha256, &file, bytes.len() as u64 + 1).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
