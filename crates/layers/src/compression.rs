//! How a layer is compressed, told by its first bytes as Docker tells it.

use std::fmt;

/// How a layer's stored bytes are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Compression {
    /// Not at all: the stored bytes are the tar.
    None,
    /// Gzip (RFC 1952), of one member or several.
    Gzip,
    /// Bzip2, of one stream or several.
    Bzip2,
    /// Xz, of one stream or several.
    Xz,
    /// Zstandard (RFC 8878), of one frame or several. No V1 client sends it, V2 clients do.
    Zstd,
}

impl Compression {
    /// How many of a layer's first bytes [`detect`](Compression::detect) looks at.
    pub const DETECT_BYTES: usize = 6;

    /// Tells the compression by a layer's first bytes. What is nothing that is known is a plain tar, or claims
    /// to be one; so is a layer of no bytes.
    pub fn detect(first: &[u8]) -> Compression {
        match first {
            [0x1f, 0x8b, 0x08, ..] => Compression::Gzip,
            [b'B', b'Z', b'h', ..] => Compression::Bzip2,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Compression::Xz,
            // The second is a frame to be skipped, which some tools put first (RFC 8878, section 3.1.2).
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Compression::Zstd,
            _ => Compression::None,
        }
    }

    /// What people call it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Compression::None => "plain tar",
            Compression::Gzip => "gzip",
            Compression::Bzip2 => "bzip2",
            Compression::Xz => "xz",
            Compression::Zstd => "zstd",
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_compressions_by_all_of_their_first_bytes() {
        let known: [(&[u8], Compression); 6] = [
            (&[0x1f, 0x8b, 0x08], Compression::Gzip),
            (b"BZh", Compression::Bzip2),
            (&[0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00], Compression::Xz),
            (&[0x28, 0xb5, 0x2f, 0xfd], Compression::Zstd),
            (&[0x5a, 0x2a, 0x4d, 0x18], Compression::Zstd),
            (b"", Compression::None),
        ];
        for (first, compression) in known {
            assert!(first.len() <= Compression::DETECT_BYTES);
            assert_eq!(Compression::detect(first), compression);
            assert_eq!(Compression::detect(&[first, b"more"].concat()), compression);
            for len in 0..first.len() {
                assert_eq!(Compression::detect(&first[..len]), Compression::None, "{first:?} cut to {len}");
            }
        }
    }
}
