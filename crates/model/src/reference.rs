//! What a manifest is asked for by: a tag or a digest.

use std::fmt;

use crate::{Digest, ParseError, Tag};

/// A tag or a digest. A colon tells them apart: no tag holds one, every digest does. So `sha256-<hex>`
/// is a tag, as clients of registries without referrers mean it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Reference {
    /// A tag.
    Tag(Tag),
    /// A digest.
    Digest(Digest),
}

impl Reference {
    /// Parses a tag or a digest.
    ///
    /// # Errors
    /// [`ParseError::Digest`] where there is a colon, [`ParseError::Tag`] where there is none.
    pub fn parse(s: &str) -> Result<Reference, ParseError> {
        if s.contains(':') {
            Digest::parse(s).map(Reference::Digest)
        } else {
            Tag::parse(s).map(Reference::Tag)
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reference::Tag(tag) => tag.fmt(f),
            Reference::Digest(digest) => digest.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_with_a_hyphen_is_a_tag() {
        let tag = format!("sha256-{}", "0".repeat(64));
        assert!(matches!(Reference::parse(&tag), Ok(Reference::Tag(_))));
        assert!(matches!(Reference::parse("md5:00"), Err(ParseError::Digest(_))));
    }
}
