//! The keys that sign bearer tokens: Ed25519, as PEM files in a folder that the caller names, readable by the
//! server's user alone.
//!
//! `token-key.pem` signs. `token-key-previous.pem` only verifies: tokens that were signed before a rotation stay good
//! until they expire. Losing both costs clients a login and nothing else.

use std::fmt;
use std::path::Path;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{DecodingKey, EncodingKey};
use zeroize::Zeroizing;

use crate::key_file::{self, KeyError, at};
use crate::secret::sha256;

const CURRENT: &str = "token-key.pem";
const PREVIOUS: &str = "token-key-previous.pem";
/// What a PKCS#8 key is called in PEM (RFC 7468, section 10).
const PEM_TAG: &str = "PRIVATE KEY";

/// The key that signs, and those whose signatures are taken.
#[derive(Debug)]
pub struct SigningKeys {
    current: SigningKey,
    previous: Option<SigningKey>,
}

pub(crate) struct SigningKey {
    /// Names the key in a token's header: the beginning of the SHA-256 of its public half.
    pub(crate) id: String,
    pub(crate) signing: EncodingKey,
    pub(crate) verifying: DecodingKey,
}

impl SigningKeys {
    /// Reads the keys of a folder. Makes the first one where there is none. Blocks on the disk.
    ///
    /// # Errors
    /// A key can't be read or made, or everybody may read it.
    pub fn open(folder: &Path) -> Result<SigningKeys, KeyError> {
        let current = folder.join(CURRENT);
        let key = match read(&current)? {
            Some(key) => key,
            None => make(&current)?,
        };
        Ok(SigningKeys { current: key, previous: read(&folder.join(PREVIOUS))? })
    }

    /// Makes a new key; the one that signed until now only verifies, and the one before it is gone. A crash in
    /// between leaves no key that signs, and [`SigningKeys::open`] makes one. Blocks on the disk.
    ///
    /// # Errors
    /// A key can't be read or made, or everybody may read it.
    pub fn rotate(folder: &Path) -> Result<SigningKeys, KeyError> {
        let (current, previous) = (folder.join(CURRENT), folder.join(PREVIOUS));
        if read(&current)?.is_some() {
            std::fs::rename(&current, &previous).map_err(at(&current))?;
        }
        SigningKeys::open(folder)
    }

    /// A key that is kept nowhere: tokens end with the process.
    ///
    /// # Errors
    /// The machine makes no key.
    pub fn ephemeral() -> Result<SigningKeys, KeyError> {
        let key = SigningKey::from_pkcs8(&generate()?).ok_or(KeyError::NoRandom)?;
        Ok(SigningKeys { current: key, previous: None })
    }

    pub(crate) fn current(&self) -> &SigningKey {
        &self.current
    }

    pub(crate) fn find(&self, id: &str) -> Option<&SigningKey> {
        std::iter::once(&self.current).chain(&self.previous).find(|key| key.id == id)
    }
}

impl SigningKey {
    fn from_pkcs8(der: &[u8]) -> Option<SigningKey> {
        let pair = Ed25519KeyPair::from_pkcs8(der).ok()?;
        let public = pair.public_key().as_ref();
        Some(SigningKey {
            id: URL_SAFE_NO_PAD.encode(&sha256(public)[..12]),
            signing: EncodingKey::from_ed_der(der),
            verifying: DecodingKey::from_ed_der(public),
        })
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("id", &self.id).finish_non_exhaustive()
    }
}

fn generate() -> Result<Zeroizing<Vec<u8>>, KeyError> {
    // Version 1 of PKCS#8: what every tool reads.
    let document = Ed25519KeyPair::generate_pkcs8v1(&SystemRandom::new()).map_err(|_| KeyError::NoRandom)?;
    Ok(Zeroizing::new(document.as_ref().to_vec()))
}

fn read(path: &Path) -> Result<Option<SigningKey>, KeyError> {
    let Some(der) = key_file::read(path, PEM_TAG)? else { return Ok(None) };
    SigningKey::from_pkcs8(&der).map(Some).ok_or_else(|| KeyError::Malformed(path.to_owned()))
}

fn make(path: &Path) -> Result<SigningKey, KeyError> {
    let der = generate()?;
    key_file::make(path, PEM_TAG, &der)?;
    SigningKey::from_pkcs8(&der).ok_or(KeyError::NoRandom)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_first_start_makes_a_key_that_later_ones_read() {
        let folder = tempfile::tempdir().unwrap();
        let first = SigningKeys::open(folder.path()).unwrap();
        let second = SigningKeys::open(folder.path()).unwrap();
        assert_eq!(first.current().id, second.current().id);
        assert!(second.previous.is_none());
        let mode = std::fs::metadata(folder.path().join(CURRENT)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "something else was left");
    }

    #[test]
    fn a_rotation_keeps_one_key_before() {
        let folder = tempfile::tempdir().unwrap();
        let [a, b, c] = [SigningKeys::open, SigningKeys::rotate, SigningKeys::rotate]
            .map(|step| step(folder.path()).unwrap());
        assert!(b.find(&a.current().id).is_some() && c.find(&b.current().id).is_some());
        assert!(c.find(&a.current().id).is_none());
        assert_ne!(b.current().id, c.current().id);
    }

    #[test]
    fn a_crash_in_a_rotation_leaves_what_starts_again() {
        let folder = tempfile::tempdir().unwrap();
        let before = SigningKeys::open(folder.path()).unwrap();
        std::fs::rename(folder.path().join(CURRENT), folder.path().join(PREVIOUS)).unwrap();
        let after = SigningKeys::open(folder.path()).unwrap();
        assert!(after.find(&before.current().id).is_some());
        assert_ne!(after.current().id, before.current().id);
    }

    #[test]
    fn a_key_that_everybody_may_read_or_that_is_none_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        SigningKeys::open(folder.path()).unwrap();
        let path = folder.path().join(CURRENT);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(SigningKeys::open(folder.path()), Err(KeyError::Exposed { mode: 0o644, .. })));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o660)).unwrap();
        SigningKeys::open(folder.path()).unwrap();
        for content in ["", "nonsense", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"] {
            std::fs::write(&path, content).unwrap();
            assert!(matches!(SigningKeys::open(folder.path()), Err(KeyError::Malformed(_))), "{content:?}");
        }
    }
}
