//! What the tests of this crate share: layers that are known, tars made by hand, readers that give little.

use std::io::{self, Read, Write};

use base64::Engine;

use crate::{Compression, InspectLimits};

/// The layers and the JSONs of docker-v1, section 13.
pub(crate) const LAYER_A: &str = "H4sIAAAAAAAA/+3RQQqAIBBA0Vl3Cm+Qo6OeJ0poYQhmnT9xGVQrg2jeZmR0IXyfxx4ak4Uzps7iPOsZldZE5OoepbYEwsALtjUPqXwlxZjv3j3df5Qv/ZeYp9b9LdF1f8RTf1SkQEju39zsQ4hixw4YY4z9yQFJV+zdAAoAAA==";
pub(crate) const LAYER_B: &str = "H4sIAAAAAAAA/+3USw6EIAwG4K49BRMPIBSYnkeNCSRmSHzcfypLFxoXOJnYb1MCLEh+2i5+GihMM/I+V7aveW3QWucc5X2j7duA8nCDdV7aiZ8ypbQc3Ts7/1Md5x/ij/NH3OdPmvPXkn9x9avZvsAcqqEPSYVYgXiQ3P/DOKbS/U90Yf4bQgKFpQeT9L8Q4sG+Bxc2kQAMAAA=";
pub(crate) const JSON_A: &str = r##"{"id":"1111111111111111111111111111111111111111111111111111111111111111","created":"2014-05-13T16:53:20Z","container_config":{"Cmd":["/bin/sh","-c","#(nop) ADD file:base in /"]},"docker_version":"1.9.1","architecture":"amd64","os":"linux","Size":9}"##;
pub(crate) const JSON_B: &str = r##"{"id":"2222222222222222222222222222222222222222222222222222222222222222","parent":"1111111111111111111111111111111111111111111111111111111111111111","created":"2014-05-13T16:54:00.5Z","author":"Ann <ann@example.test>","container_config":{"Cmd":["/bin/sh","-c","#(nop) CMD [\"/bin/hi\"]"]},"config":{"Cmd":["/bin/hi"],"Env":["PATH=/bin"]},"docker_version":"1.9.1","architecture":"amd64","os":"linux","Size":18}"##;
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

/// A tar made by hand, field by field.
#[derive(Default)]
pub(crate) struct TarBytes(pub(crate) Vec<u8>);

/// A ustar header in the making. The setters take what stands in the field.
#[derive(Clone)]
pub(crate) struct HeaderBytes(pub(crate) [u8; 512]);

impl HeaderBytes {
    pub(crate) fn new(name: &str, typeflag: u8, size: usize) -> HeaderBytes {
        let mut header = HeaderBytes([0; 512]);
        header
            .set(0, name.as_bytes())
            .set(100, b"0000000")
            .set(108, b"0000000")
            .set(116, b"0000000")
            .set(124, format!("{size:011o}").as_bytes())
            .set(136, b"00000000000")
            .set(156, &[typeflag])
            .set(257, b"ustar\x0000");
        header.clone()
    }

    pub(crate) fn set(&mut self, at: usize, bytes: &[u8]) -> &mut HeaderBytes {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
        self
    }
}

impl TarBytes {
    /// Appends an entry, with its header's checksum made right.
    pub(crate) fn entry(mut self, header: &HeaderBytes, content: &[u8]) -> TarBytes {
        let mut header = header.clone();
        header.set(148, b"        ");
        let sum: u32 = header.0.iter().map(|&byte| u32::from(byte)).sum();
        header.set(148, format!("{sum:06o}\0").as_bytes());
        self.0.extend_from_slice(&header.0);
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub(crate) fn file(self, name: &str, content: &[u8]) -> TarBytes {
        self.entry(&HeaderBytes::new(name, b'0', content.len()), content)
    }

    /// Appends pax records for the next entry.
    pub(crate) fn pax(self, records: &[(&str, &str)]) -> TarBytes {
        let content: String = records.iter().map(|(key, value)| pax_record(key, value)).collect();
        self.entry(&HeaderBytes::new("PaxHeaders.0/file", b'x', content.len()), content.as_bytes())
    }

    pub(crate) fn end(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }
}

fn pax_record(key: &str, value: &str) -> String {
    let rest = format!(" {key}={value}\n");
    let mut len = rest.len();
    while len != rest.len() + len.to_string().len() {
        len = rest.len() + len.to_string().len();
    }
    format!("{len}{rest}")
}
