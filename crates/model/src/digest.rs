//! Content digests: an algorithm and the bytes of its hash, in one small copyable value.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::ParseError;

/// A hash algorithm that content is addressed by (OCI image specification, "Digests").
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Algorithm {
    /// SHA-256, 32 bytes: what every client uses.
    #[default]
    Sha256,
    /// SHA-512, 64 bytes.
    Sha512,
}

impl Algorithm {
    /// The name before the colon.
    pub const fn as_str(self) -> &'static str {
        match self {
            Algorithm::Sha256 => "sha256",
            Algorithm::Sha512 => "sha512",
        }
    }

    /// The hash's length in bytes.
    pub const fn hash_len(self) -> usize {
        match self {
            Algorithm::Sha256 => 32,
            Algorithm::Sha512 => 64,
        }
    }

    /// The algorithm of a hash of this many bytes.
    const fn of_len(len: usize) -> Option<Algorithm> {
        match len {
            32 => Some(Algorithm::Sha256),
            64 => Some(Algorithm::Sha512),
            _ => None,
        }
    }
}

impl FromStr for Algorithm {
    type Err = ParseError;

    fn from_str(s: &str) -> Result<Self, ParseError> {
        match s {
            "sha256" => Ok(Algorithm::Sha256),
            "sha512" => Ok(Algorithm::Sha512),
            _ => Err(ParseError::Digest(ParseError::clip(s))),
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// `algorithm:hex`, as in `sha256:e3b0…`. Ordered and compared by algorithm, then bytes.
#[derive(Clone, Copy)]
pub struct Digest {
    algorithm: Algorithm,
    /// The hash, in the first `algorithm.hash_len()` bytes; the rest is zero.
    bytes: [u8; 64],
}

impl Digest {
    /// The digest of a computed hash.
    ///
    /// Returns `None` if the hash's length is not that of the algorithm.
    pub fn from_hash(algorithm: Algorithm, hash: &[u8]) -> Option<Digest> {
        if hash.len() != algorithm.hash_len() {
            return None;
        }
        let mut bytes = [0; 64];
        bytes[..hash.len()].copy_from_slice(hash);
        Some(Digest { algorithm, bytes })
    }

    /// The digest of a SHA-256 hash.
    pub fn sha256(hash: [u8; 32]) -> Digest {
        let mut bytes = [0; 64];
        bytes[..32].copy_from_slice(&hash);
        Digest { algorithm: Algorithm::Sha256, bytes }
    }

    /// The digest of a SHA-512 hash.
    pub const fn sha512(hash: [u8; 64]) -> Digest {
        Digest { algorithm: Algorithm::Sha512, bytes: hash }
    }

    /// Parses `algorithm:hex`.
    ///
    /// # Errors
    /// [`ParseError::Digest`] for an algorithm other than sha256 and sha512, a wrong length, or anything
    /// but lower-case hexadecimal digits.
    pub fn parse(s: &str) -> Result<Digest, ParseError> {
        let refused = || ParseError::Digest(ParseError::clip(s));
        let (algorithm, hex) = s.split_once(':').ok_or_else(refused)?;
        let algorithm: Algorithm = algorithm.parse().map_err(|_| refused())?;
        if hex.len() != algorithm.hash_len() * 2 {
            return Err(refused());
        }
        let mut bytes = [0; 64];
        for (byte, pair) in bytes.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
            *byte = nibble(pair[0]).ok_or_else(refused)? << 4 | nibble(pair[1]).ok_or_else(refused)?;
        }
        Ok(Digest { algorithm, bytes })
    }

    /// The algorithm before the colon.
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The hash itself.
    pub fn hash_bytes(&self) -> &[u8] {
        &self.bytes[..self.algorithm.hash_len()]
    }

    /// The lower-case hexadecimal digits after the colon.
    pub fn hex(&self) -> String {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut out = String::with_capacity(self.algorithm.hash_len() * 2);
        for byte in self.hash_bytes() {
            out.push(DIGITS[usize::from(byte >> 4)] as char);
            out.push(DIGITS[usize::from(byte & 15)] as char);
        }
        out
    }

    /// `hex`'s first twelve digits: what people recognise a digest by.
    pub fn short(&self) -> String {
        let mut hex = self.hex();
        hex.truncate(12);
        hex
    }
}

pub(crate) const fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

impl PartialEq for Digest {
    fn eq(&self, other: &Self) -> bool {
        self.algorithm == other.algorithm && self.hash_bytes() == other.hash_bytes()
    }
}

impl Eq for Digest {}

impl PartialOrd for Digest {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Digest {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.algorithm, self.hash_bytes()).cmp(&(other.algorithm, other.hash_bytes()))
    }
}

impl Hash for Digest {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // All of it: clients choose digests, and could choose many that begin alike.
        state.write(self.hash_bytes());
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm, self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = ParseError;

    fn from_str(s: &str) -> Result<Self, ParseError> {
        Digest::parse(s)
    }
}

/// Text (`sha256:…`) where a person may read it, the bare hash where only this program does: its length
/// tells the algorithm.
impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            serializer.serialize_bytes(self.hash_bytes())
        }
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = Digest;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a sha256 or sha512 digest")
            }

            fn visit_str<E: de::Error>(self, s: &str) -> Result<Digest, E> {
                Digest::parse(s).map_err(E::custom)
            }

            fn visit_bytes<E: de::Error>(self, hash: &[u8]) -> Result<Digest, E> {
                Algorithm::of_len(hash.len())
                    .and_then(|algorithm| Digest::from_hash(algorithm, hash))
                    .ok_or_else(|| E::invalid_length(hash.len(), &self))
            }
        }

        if deserializer.is_human_readable() {
            deserializer.deserialize_str(Visitor)
        } else {
            deserializer.deserialize_bytes(Visitor)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn parses_and_prints_both_algorithms() {
        assert_eq!(Digest::parse(EMPTY).unwrap().to_string(), EMPTY);
        let long = format!("sha512:{}", "0f".repeat(64));
        assert_eq!(Digest::parse(&long).unwrap().to_string(), long);
    }

    #[test]
    fn refuses_what_is_not_a_digest() {
        for bad in [
            "",
            ":",
            "sha256",
            "sha256:",
            "sha256:e3b0",
            &EMPTY.to_uppercase(),
            &EMPTY.replace("sha256", "sha512"),
            &EMPTY.replace("sha256", "md5"),
            &EMPTY.replace('e', "g"),
            &format!("{EMPTY}0"),
            &format!(" {EMPTY}"),
            "sha256:../../../../../../../../../../../../../../../../../../../etc/passwd/",
            "sha256:ééééééééééééééééééééééééééééééééé",
        ] {
            assert!(Digest::parse(bad).is_err(), "{bad:?} passed");
        }
    }

    #[test]
    fn an_echoed_input_is_clipped() {
        let message = Digest::parse(&"é".repeat(10_000)).unwrap_err().to_string();
        assert!(message.len() < 400, "{}", message.len());
    }

    proptest! {
        #[test]
        fn text_round_trips(hash in proptest::collection::vec(any::<u8>(), 32)) {
            let digest = Digest::from_hash(Algorithm::Sha256, &hash).unwrap();
            prop_assert_eq!(Digest::parse(&digest.to_string()).unwrap(), digest);
            let json = serde_json::to_string(&digest).unwrap();
            prop_assert_eq!(serde_json::from_str::<Digest>(&json).unwrap(), digest);
        }

        #[test]
        fn parse_never_panics(s in "\\PC{0,200}") {
            let _ = Digest::parse(&s);
        }
    }
}
