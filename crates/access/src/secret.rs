//! Texts that prove who somebody is: how they are held, compared, drawn and recognised again.

use std::fmt;

use aws_lc_rs::{constant_time, digest, hmac};
use zeroize::Zeroizing;

/// A password or a token as its holder sent it: not shown by `Debug`, and wiped from memory when dropped.
#[derive(Clone, Default)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Holds a text.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(Zeroizing::new(text.into()))
    }

    /// The text. Whoever takes it out answers for where it goes.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The machine gave no random bytes, without which no secret can be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the operating system gave no random bytes")]
pub struct NoRandom;

/// Random bytes from the operating system.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], NoRandom> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| NoRandom)?;
    Ok(bytes)
}

/// The SHA-256 of some bytes.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    to_array(digest::digest(&digest::SHA256, bytes).as_ref())
}

/// Whether two hashes are the same, in a time that does not tell where they differ.
pub(crate) fn same(a: &[u8; 32], b: &[u8; 32]) -> bool {
    constant_time::verify_slices_are_equal(a, b).is_ok()
}

/// A key drawn at start, under which this process recognises what it has seen: whoever reads its memory or finds
/// collisions of an open hash learns nothing of use.
pub(crate) struct ProcessKey(hmac::Key);

impl ProcessKey {
    pub(crate) fn draw() -> Result<ProcessKey, NoRandom> {
        let bytes = Zeroizing::new(random::<32>()?);
        Ok(ProcessKey(hmac::Key::new(hmac::HMAC_SHA256, bytes.as_slice())))
    }

    /// The HMAC of some parts.
    pub(crate) fn mark(&self, parts: &[&[u8]]) -> [u8; 32] {
        hmac_of(&self.0, parts)
    }
}

/// The HMAC of some parts (RFC 2104). Each is preceded by its length, so that parts can't be shifted into one another.
pub(crate) fn hmac_of(key: &hmac::Key, parts: &[&[u8]]) -> [u8; 32] {
    let mut context = hmac::Context::with_key(key);
    for part in parts {
        context.update(&(part.len() as u64).to_le_bytes());
        context.update(part);
    }
    to_array(context.sign().as_ref())
}

impl fmt::Debug for ProcessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProcessKey(…)")
    }
}

/// Both SHA-256 and HMAC-SHA-256 give 32 bytes.
fn to_array(bytes: &[u8]) -> [u8; 32] {
    let mut array = [0; 32];
    array.copy_from_slice(bytes);
    array
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_shown_by_accident() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "Secret(…)");
    }

    #[test]
    fn marks_depend_on_the_key_and_on_where_parts_end() {
        let (one, other) = (ProcessKey::draw().unwrap(), ProcessKey::draw().unwrap());
        assert_eq!(one.mark(&[b"a", b"b"]), one.mark(&[b"a", b"b"]));
        assert_ne!(one.mark(&[b"a", b"b"]), other.mark(&[b"a", b"b"]));
        assert_ne!(one.mark(&[b"a", b"b"]), one.mark(&[b"ab", b""]));
    }

    #[test]
    fn sha256_is_sha256() {
        let expected = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(hex(&sha256(b"")), expected);
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
