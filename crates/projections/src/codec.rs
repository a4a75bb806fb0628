//! Keys and rows as bytes. Keys keep the order of what they encode; rows are bincode and may change shape
//! with any release, because tables are rebuilt from the log.

use serde::{Serialize, de::DeserializeOwned};
use supercargo_model::{Algorithm, Digest, ImageId, Timestamp};

use crate::tables::NameId;

/// Bounds what a damaged length makes the decoder ask of memory. A row is never larger than its record.
const ROW_BYTES_MAX: usize = supercargo_eventlog::codec::RECORD_BYTES_MAX;

const fn config() -> impl bincode::config::Config {
    bincode::config::standard().with_limit::<ROW_BYTES_MAX>()
}

/// Appends a row's bytes.
pub(crate) fn encode_row<R: Serialize>(row: &R, out: &mut Vec<u8>) {
    let written = bincode::serde::encode_into_std_write(row, out, config());
    // Rows are plain data and a Vec takes any number of bytes.
    debug_assert!(written.is_ok(), "a row does not encode: {written:?}");
}

/// Reads a row; `None` where the bytes are not one, which only a damaged file or another release causes.
pub(crate) fn decode_row<R: DeserializeOwned>(bytes: &[u8]) -> Option<R> {
    match bincode::serde::decode_from_slice(bytes, config()) {
        Ok((row, read)) if read == bytes.len() => Some(row),
        _ => None,
    }
}

/// Writes the parts of a key.
pub trait KeyWriter {
    /// A text that other parts follow: ended by a NUL, which no name, tag or path holds.
    fn text(&mut self, text: &str);
    /// A digest: algorithm, then hash.
    fn digest(&mut self, digest: &Digest);
    /// A number, big-endian.
    fn number(&mut self, number: u64);
    /// A name's id, big-endian.
    fn name_id(&mut self, id: NameId);
    /// A moment, in order also before 1970.
    fn time(&mut self, at: Timestamp);
}

impl KeyWriter for Vec<u8> {
    fn text(&mut self, text: &str) {
        self.extend_from_slice(text.as_bytes());
        self.push(0);
    }

    fn digest(&mut self, digest: &Digest) {
        self.push(match digest.algorithm() {
            Algorithm::Sha256 => 0,
            Algorithm::Sha512 => 1,
        });
        self.extend_from_slice(digest.hash_bytes());
    }

    fn number(&mut self, number: u64) {
        self.extend_from_slice(&number.to_be_bytes());
    }

    fn name_id(&mut self, id: NameId) {
        self.extend_from_slice(&id.0.to_be_bytes());
    }

    fn time(&mut self, at: Timestamp) {
        self.number(at.as_micros().cast_unsigned() ^ (1 << 63));
    }
}

/// Reads the parts of a key, in the order they were written.
#[derive(Debug)]
pub(crate) struct KeyReader<'k>(pub(crate) &'k [u8]);

impl<'k> KeyReader<'k> {
    fn take(&mut self, len: usize) -> Option<&'k [u8]> {
        let (part, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(part)
    }

    pub(crate) fn text(&mut self) -> Option<&'k str> {
        let end = self.0.iter().position(|b| *b == 0)?;
        let part = self.take(end)?;
        self.take(1)?;
        std::str::from_utf8(part).ok()
    }

    pub(crate) fn digest(&mut self) -> Option<Digest> {
        let algorithm = match self.byte()? {
            0 => Algorithm::Sha256,
            1 => Algorithm::Sha512,
            _ => return None,
        };
        Digest::from_hash(algorithm, self.take(algorithm.hash_len())?)
    }

    pub(crate) fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|byte| byte[0])
    }

    pub(crate) fn number(&mut self) -> Option<u64> {
        self.take(8)?.try_into().ok().map(u64::from_be_bytes)
    }

    pub(crate) fn name_id(&mut self) -> Option<NameId> {
        self.take(4)?.try_into().ok().map(|bytes| NameId(u32::from_be_bytes(bytes)))
    }

    pub(crate) fn time(&mut self) -> Option<Timestamp> {
        self.number().map(|number| Timestamp::from_micros((number ^ (1 << 63)).cast_signed()))
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    pub(crate) fn image_id(&mut self) -> Option<ImageId> {
        self.array().map(ImageId::from_bytes)
    }

    pub(crate) fn uuid(&mut self) -> Option<uuid::Uuid> {
        self.take(16).and_then(|bytes| uuid::Uuid::from_slice(bytes).ok())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
