//! What the tests of this crate share: layers that are known, readers that give little.

use std::io::{self, Read, Write};

use base64::Engine;

use crate::{Compression, InspectLimits};

/// The layers and the JSONs of docker-v1, section 13.
pub(crate) const LAYER_A: &str = "H4sIAAAAAAAA/+3RQQqAIBBA0Vl3Cm+Qo6OeJ0poYQhmnT9xGVQrg2jeZmR0IXyfxx4ak4Uzps7iPOsZldZE5OoepbYEwsALtjUPqXwlxZjv3j3df5Qv/ZeYp9b9LdF1f8RTf1SkQEju39zsQ4hixw4YY4z9yQFJV+zdAAoAAA==";
pub(crate) const LAYER_B: &str = "H4sIAAAAAAAA/+3USw6EIAwG4K49BRMPIBSYnkeNCSRmSHzcfypLFxoXOJnYb1MCLEh+2i5+GihMM/I+V7aveW3QWucc5X2j7duA8nCDdV7aiZ8ypbQc3Ts7/1Md5x/ij/NH3OdPmvPXkn9x9avZvsAcqqEPSYVYgXiQ3P/DOKbS/U90Yf4bQgKFpQeT9L8Q4sG+Bxc2kQAMAAA=";
/// Layer A, as other programs compress it: `bzip2 -9`, `xz -6` and `zstd -19 --check`.
pub(crate) const LAYER_A_BZIP2: &str = "QlpoOTFBWSZTWT7oTRwAAFj7hMqQAEBAAP+AAERuRp8AAACASCAAdQlTSekA0A00AAFUpqNNNqNGg0A9TJ6lHa/ju1qwnciI4YrplF7DGTaRYiUinlztGEBAM4zDCdRPGwRRbUZcRHaOVqkgV4PWhwkMofK1fc/dng7mmjozVWlU0qsuQ/i7kinChIH3Qmjg";
pub(crate) const LAYER_A_XZ: &str = "/Td6WFoAAATm1rRGAgAhARYAAAB0L+Wj4An/AGldADKdCIYQ5JSzSsi80f5CS2Mz1B2JkVQVwHala+9pshd5hiBPiyWoG9cHBDkZ56q++0q4sqqhTrqx5rtcjig0qYuGGkJNXE4Mz2ttvda+szHH/z2ysfNCqjeEEfqmMehj4+5UdE9JbbMRAAAAAADrghvM+iYijwABhQGAFAAAkcU+RrHEZ/sCAAAAAARZWg==";
pub(crate) const LAYER_A_ZSTD: &str = "KLUv/WQACQUDAJKEDhGQzwHAvaYB/p9AJsiWxLLuUgajBugcaw8mS8YYu2dN+DwhjL9jmpLaBO8pH/d/tLulkOHbGHQLNVkPILCXywHz+REY1XTYHk1DAyxwOoVxAMIfpC4MkABTgPEU3zOALjk=";

/// All compressions, for tests that are about each of them.
pub(crate) const COMPRESSIONS: [Compression; 5] =
    [Compression::None, Compression::Gzip, Compression::Bzip2, Compression::Xz, Compression::Zstd];

pub(crate) fn decode(base64: &str) -> Vec<u8> {
    base64::engine::general_purpose::STANDARD.decode(base64).unwrap()
}

pub(crate) fn gunzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    flate2::read::MultiGzDecoder::new(bytes).read_to_end(&mut out).unwrap();
    out
}

pub(crate) fn compress(compression: Compression, bytes: &[u8]) -> Vec<u8> {
    match compression {
        Compression::None => bytes.to_vec(),
        Compression::Gzip => {
            let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            writer.write_all(bytes).unwrap();
            writer.finish().unwrap()
        }
        Compression::Bzip2 => {
            let mut writer = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
            writer.write_all(bytes).unwrap();
            writer.finish().unwrap()
        }
        Compression::Xz => {
            let options = lzma_rust2::XzOptions::with_preset(0);
            let mut writer = lzma_rust2::XzWriter::new(Vec::new(), options).unwrap();
            writer.write_all(bytes).unwrap();
            writer.finish().unwrap()
        }
        Compression::Zstd => {
            ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
        }
    }
}

pub(crate) fn limits() -> InspectLimits<'static> {
    InspectLimits::default()
}

/// Gives a byte at a time, and is interrupted before each.
pub(crate) struct ByteByByte<R> {
    inner: R,
    interrupt: bool,
}

impl<R> ByteByByte<R> {
    pub(crate) fn new(inner: R) -> ByteByByte<R> {
        ByteByByte { inner, interrupt: false }
    }
}

impl<R: Read> Read for ByteByByte<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.interrupt = !self.interrupt;
        if self.interrupt {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let len = buf.len().min(1);
        self.inner.read(&mut buf[..len])
    }
}

/// Gives some bytes, then fails.
pub(crate) struct Failing<'b>(pub(crate) &'b [u8]);

impl Read for Failing<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.0.is_empty() {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the disk is gone"));
        }
        self.0.read(buf)
    }
}
