//! Signed manifests, as docker pushed them before 1.10 (schema 1, "prettyjws"): a payload with its signatures
//! written into it. The digest is the payload's, so that signing again changes nothing; and the payload is
//! what is kept by that digest. What lives here is how the two are cut apart and put together again, byte for
//! byte. Nobody's signature is judged: who trusts a key is the client's business.

use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::{Deserialize, Serialize};

use crate::ManifestError;

/// Base64 as JOSE has it (RFC 7515, section 2), with padding forgiven.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What a signed manifest has beyond its payload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signed {
    /// How many bytes of the payload it begins with (`formatLength`).
    pub length: u64,
    /// What follows them, signatures and all, in place of the payload's end.
    pub rest: String,
}

#[derive(Deserialize)]
struct Envelope {
    #[serde(default)]
    signatures: Vec<Signature>,
}

#[derive(Deserialize)]
struct Signature {
    protected: String,
}

/// The protected header of a signature, as far as it says how the payload is found.
#[derive(PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Protected {
    format_length: usize,
    format_tail: String,
}

impl Signed {
    /// Cuts a manifest into its payload and the rest; `None` where it has no signatures.
    ///
    /// # Errors
    /// [`ManifestError::Malformed`] where it can't be told how: its signatures do not say, or contradict each
    /// other or the manifest.
    pub fn split(bytes: &[u8]) -> Result<Option<(Vec<u8>, Signed)>, ManifestError> {
        let malformed = |what: &str| ManifestError::Malformed(what.to_owned());
        let envelope: Envelope =
            serde_json::from_slice(bytes).map_err(|e| ManifestError::Malformed(e.to_string()))?;
        let mut found = None::<Protected>;
        for signature in envelope.signatures {
            let protected = BASE64
                .decode(signature.protected)
                .ok()
                .and_then(|json| serde_json::from_slice(&json).ok())
                .ok_or_else(|| malformed("a signature's protected header does not decode"))?;
            if found.as_ref().is_some_and(|found| *found != protected) {
                return Err(malformed("its signatures disagree on what is signed"));
            }
            found = Some(protected);
        }
        let Some(Protected { format_length, format_tail }) = found else { return Ok(None) };
        let tail = BASE64
            .decode(format_tail)
            .map_err(|_| malformed("the signatures' formatTail does not decode"))?;
        let (head, rest) = bytes
            .split_at_checked(format_length)
            .filter(|(_, rest)| tail.len() <= rest.len())
            .ok_or_else(|| malformed("the signatures' formatLength is not within the manifest"))?;
        let rest = std::str::from_utf8(rest)
            .map_err(|_| malformed("the signatures' formatLength cuts a character"))?;
        let signed = Signed { length: format_length as u64, rest: rest.to_owned() };
        Ok(Some(([head, &tail].concat(), signed)))
    }

    /// The manifest as it was pushed, from its payload.
    pub fn join(&self, payload: &[u8]) -> Vec<u8> {
        let length = usize::try_from(self.length).unwrap_or(usize::MAX).min(payload.len());
        [&payload[..length], self.rest.as_bytes()].concat()
    }
}

#[cfg(test)]
mod tests {
    use base64::prelude::BASE64_URL_SAFE_NO_PAD;
    use proptest::prelude::*;

    use super::*;

    fn protected(length: usize, tail: &str) -> String {
        let tail = BASE64_URL_SAFE_NO_PAD.encode(tail);
        BASE64_URL_SAFE_NO_PAD.encode(format!(
            r#"{{"formatLength":{length},"formatTail":"{tail}","time":"2015-01-01T00:00:00Z"}}"#
        ))
    }

    /// A payload that ends with `}`, signed as docker does.
    fn sign(payload: &str, signatures: usize) -> String {
        let (head, tail) = payload.split_at(payload.trim_end_matches('}').trim_end().len());
        let signature =
            format!(r#"{{"header":{{}},"signature":"x","protected":"{}"}}"#, protected(head.len(), tail));
        let signatures = vec![signature; signatures].join(",\n      ");
        format!("{head},\n   \"signatures\": [\n      {signatures}\n   ]\n}}")
    }

    #[test]
    fn a_signed_manifest_is_cut_at_its_payload_and_put_together_again() {
        let payload = "{\n   \"schemaVersion\": 1,\n   \"name\": \"é\"\n}";
        for signatures in [1, 3] {
            let pushed = sign(payload, signatures);
            let (cut, signed) = Signed::split(pushed.as_bytes()).unwrap().unwrap();
            assert_eq!(String::from_utf8(cut).unwrap(), payload);
            assert_eq!(signed.join(payload.as_bytes()), pushed.as_bytes());
        }
        for unsigned in [payload.to_owned(), sign(payload, 0)] {
            assert_eq!(Signed::split(unsigned.as_bytes()), Ok(None));
        }
    }

    #[test]
    fn what_does_not_say_what_is_signed_is_refused() {
        let with = |signatures: &str| format!(r#"{{"é":1,"signatures":[{signatures}]}}"#);
        let of = |protected: &str| format!(r#"{{"protected":"{protected}"}}"#);
        for bad in [
            "not json".to_owned(),
            with("7"),
            with("{}"),
            with(&of("***")),
            with(&of("e30")),
            with(&of(&BASE64_URL_SAFE_NO_PAD.encode(r#"{"formatLength":-1,"formatTail":""}"#))),
            with(&of(&BASE64_URL_SAFE_NO_PAD.encode(r#"{"formatLength":1,"formatTail":"*"}"#))),
            with(&of(&protected(100_000, "}"))),
            with(&of(&protected(usize::MAX, "}"))),
            // In the middle of a character.
            with(&of(&protected(3, "}"))),
            // More than there is.
            format!("{:2000}", with(&of(&protected(1950, &"}".repeat(100))))),
            with(&format!("{},{}", of(&protected(1, "}")), of(&protected(2, "}")))),
        ] {
            assert!(Signed::split(bad.as_bytes()).is_err(), "{bad} passed");
        }
    }

    proptest! {
        #[test]
        fn split_never_panics_and_join_undoes_it(length in 0..90_usize, tail in "\\PC{0,9}", name in "\\PC{0,9}") {
            let name = serde_json::to_string(&name).unwrap();
            let pushed = format!(r#"{{"name":{name},"signatures":[{{"protected":"{}"}}]}}"#, protected(length, &tail));
            if let Ok(Some((payload, signed))) = Signed::split(pushed.as_bytes()) {
                prop_assert_eq!(signed.join(&payload), pushed.as_bytes());
            }
        }

        #[test]
        fn join_never_panics(length in any::<u64>(), rest in "\\PC{0,9}", payload in proptest::collection::vec(any::<u8>(), 0..9)) {
            let _ = Signed { length, rest }.join(&payload);
        }
    }
}
