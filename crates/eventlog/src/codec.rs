//! Records as bytes: one version byte, then bincode.
//!
//! This is the only place that knows how. Version 4 is the record of [`crate::event`] as it stands. When
//! the shape changes, what was different stays here, a new version byte is written, and [`decode`] lifts what is
//! old. Bytes once written are read for ever.

mod settings;

use serde::Deserialize;

use crate::Record;

/// The version that is written.
pub const VERSION: u8 = 4;

/// Why bytes are not a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// Written by a Supercargo that is newer than this one.
    #[error(
        "the record has version {0}, and this Supercargo reads versions up to {VERSION}: use a newer one"
    )]
    NewerVersion(u8),
    /// Not what this version writes.
    #[error("the record does not decode: {0}")]
    Malformed(String),
}

/// The largest record, in bytes. Far above what a manifest of the largest size makes; it bounds what a
/// damaged length makes the decoder ask of memory.
pub const RECORD_BYTES_MAX: usize = 64 * 1024 * 1024;

const fn config() -> impl bincode::config::Config {
    bincode::config::standard().with_limit::<RECORD_BYTES_MAX>()
}

/// Appends a record's bytes to `out`.
///
/// # Errors
/// [`CodecError::Malformed`] where the record is larger than [`RECORD_BYTES_MAX`], and could not be read again.
pub fn encode_into(record: &Record, out: &mut Vec<u8>) -> Result<(), CodecError> {
    out.push(VERSION);
    let written = bincode::serde::encode_into_std_write(record, out, config())
        .map_err(|e| CodecError::Malformed(e.to_string()))?;
    if written > RECORD_BYTES_MAX {
        return Err(CodecError::Malformed(format!("it has {written} bytes, more than {RECORD_BYTES_MAX}")));
    }
    Ok(())
}

/// A record's bytes.
///
/// # Errors
/// As [`encode_into`].
pub fn encode(record: &Record) -> Result<Vec<u8>, CodecError> {
    let mut out = Vec::with_capacity(256);
    encode_into(record, &mut out)?;
    Ok(out)
}

/// Reads a record of any version.
///
/// # Errors
/// [`CodecError`], as its variants say. Trailing bytes are an error too.
pub fn decode(bytes: &[u8]) -> Result<Record, CodecError> {
    let malformed = |what: &str| CodecError::Malformed(what.to_owned());
    match bytes.split_first() {
        None => Err(malformed("it is empty")),
        Some((&VERSION, body)) => whole(body),
        Some((1, body)) => settings::decode_v1(body),
        Some((2, body)) => settings::decode_v2(body),
        Some((3, body)) => settings::decode_v3(body),
        Some((0, _)) => Err(malformed("there is no version 0")),
        Some((&newer, _)) => Err(CodecError::NewerVersion(newer)),
    }
}

/// Reads a value, and says what follows it.
fn part<'b, T: Deserialize<'b>>(bytes: &'b [u8]) -> Result<(T, &'b [u8]), CodecError> {
    let (value, read) = bincode::serde::borrow_decode_from_slice(bytes, config())
        .map_err(|e| CodecError::Malformed(e.to_string()))?;
    Ok((value, bytes.get(read..).unwrap_or_default()))
}

/// Reads a value that nothing follows.
fn whole<'b, T: Deserialize<'b>>(bytes: &'b [u8]) -> Result<T, CodecError> {
    let (value, rest) = part(bytes)?;
    if rest.is_empty() { Ok(value) } else { Err(CodecError::Malformed("bytes follow it".to_owned())) }
}
