//! The ids of V1 images.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::digest::nibble;
use crate::{Digest, ParseError};

/// What a Docker V1 image is called: 64 lower-case hexadecimal digits that its maker chose. Nothing says that they are
/// the hash of anything.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageId([u8; 32]);

impl ImageId {
    /// The id with these bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> ImageId {
        ImageId(bytes)
    }

    /// Parses 64 lower-case hexadecimal digits.
    ///
    /// # Errors
    /// [`ParseError::ImageId`].
    pub fn parse(s: &str) -> Result<ImageId, ParseError> {
        let refused = || ParseError::ImageId(ParseError::clip(s));
        if s.len() != 64 {
            return Err(refused());
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(s.as_bytes().chunks_exact(2)) {
            *byte = nibble(pair[0]).ok_or_else(refused)? << 4 | nibble(pair[1]).ok_or_else(refused)?;
        }
        Ok(ImageId(bytes))
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Its first twelve digits: what people recognise it by.
    pub fn short(&self) -> String {
        Digest::sha256(self.0).short()
    }
}

impl fmt::Display for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&Digest::sha256(self.0).hex())
    }
}

impl fmt::Debug for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for ImageId {
    type Err = ParseError;

    fn from_str(s: &str) -> Result<Self, ParseError> {
        ImageId::parse(s)
    }
}

/// Text where people read it, bytes elsewhere.
impl Serialize for ImageId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            self.0.serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for ImageId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let text = std::borrow::Cow::<'_, str>::deserialize(deserializer)?;
            ImageId::parse(&text).map_err(serde::de::Error::custom)
        } else {
            <[u8; 32]>::deserialize(deserializer).map(ImageId)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_sixty_four_lower_case_digits_are_an_id() {
        let id = "0123456789abcdef".repeat(4);
        assert_eq!(ImageId::parse(&id).unwrap().to_string(), id);
        let (upper, long) = (id.to_uppercase(), format!("{id}0"));
        for wrong in ["", "0123456789abcdef", &upper, &long, &id[1..], &format!("g{}", &id[1..])] {
            assert!(ImageId::parse(wrong).is_err(), "{wrong}");
        }
        assert_eq!(ImageId::parse(&id).unwrap().short(), "0123456789ab");
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_refused(text in "\\PC{0,70}") {
            if let Ok(id) = ImageId::parse(&text) {
                prop_assert_eq!(id.to_string(), text);
            }
        }

        #[test]
        fn an_id_comes_back_from_json(bytes: [u8; 32]) {
            let id = ImageId::from_bytes(bytes);
            let json = serde_json::to_string(&id).unwrap();
            prop_assert_eq!(serde_json::from_str::<ImageId>(&json).unwrap(), id);
        }
    }
}
