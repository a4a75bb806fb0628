//! The entries of a tar, streamed: headers as resolved from ustar, GNU, star and pax, and content.
//!
//! Written for this crate, since a tarsum is over what Docker's tar reader makes of a header, and that is more and
//! other than what tar libraries show: users' names and times out of pax records, numbers in base 256, the
//! raw type, prefixes where old writers put them by mistake. What the readers of different clients disagree about is
//! read as those clients do that push V1 images (docker 1.5 to 17.06).

use std::collections::BTreeMap;
use std::io::Read;

use crate::stream::{Uncompressed, piece};
use crate::{EXTENDED_HEADER_BYTES_MAX, LayerError};

const BLOCK_BYTES: usize = 512;
type Block = [u8; BLOCK_BYTES];

/// Prefix of the pax records that are extended attributes.
const PAX_XATTR: &[u8] = b"SCHILY.xattr.";
/// Prefix of the pax records that describe a sparse file.
const PAX_SPARSE: &[u8] = b"GNU.sparse.";

/// Types of entries that are met by name here (POSIX.1, "ustar Interchange Format"; GNU tar).
pub(crate) mod typeflag {
    pub(crate) const OLD_FILE: u8 = 0;
    pub(crate) const LINK: u8 = b'1';
    pub(crate) const CHAR: u8 = b'3';
    pub(crate) const BLOCK: u8 = b'4';
    pub(crate) const DIRECTORY: u8 = b'5';
    pub(crate) const FIFO: u8 = b'6';
    pub(crate) const PAX_NEXT: u8 = b'x';
    pub(crate) const PAX_GLOBAL: u8 = b'g';
    pub(crate) const GNU_LONG_NAME: u8 = b'L';
    pub(crate) const GNU_LONG_LINK: u8 = b'K';
    pub(crate) const GNU_SPARSE: u8 = b'S';
}

/// The header of an entry, as resolved from all that describes it.
#[derive(Debug, Default)]
pub(crate) struct Entry {
    /// As it stands there: with a directory's slash at its end.
    pub(crate) name: Vec<u8>,
    pub(crate) linkname: Vec<u8>,
    pub(crate) uname: Vec<u8>,
    pub(crate) gname: Vec<u8>,
    pub(crate) mode: i64,
    pub(crate) uid: i64,
    pub(crate) gid: i64,
    /// In bytes; for a sparse file, with its holes.
    pub(crate) size: u64,
    /// Seconds since 1970, rounded down.
    pub(crate) mtime: i64,
    /// The byte that stands there, as it is.
    pub(crate) typeflag: u8,
    pub(crate) devmajor: i64,
    pub(crate) devminor: i64,
    pub(crate) xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Whether its content is a sparse file's: not what the file holds.
    pub(crate) sparse: bool,
}

/// Reads the entries of a layer's tar.
pub(crate) struct Tar<'s, R: Read> {
    stream: Uncompressed<'s, R>,
    /// Where the header stands that is being read.
    at: u64,
    /// Bytes of the entry's content that were not read yet.
    content: u64,
    /// Zeros behind the content, up to a whole block.
    padding: u64,
    entries: u32,
    scratch: Box<[u8]>,
}

impl<'s, R: Read> Tar<'s, R> {
    pub(crate) fn new(stream: Uncompressed<'s, R>) -> Self {
        Tar { stream, at: 0, content: 0, padding: 0, entries: 0, scratch: piece() }
    }

    /// The next entry. `None`: there is no more, and the layer was read to its end. Not to be called again after
    /// that or after an error.
    pub(crate) fn next_entry(&mut self) -> Result<Option<Entry>, LayerError> {
        let mut extended = BTreeMap::new();
        loop {
            let Some(block) = self.next_header()? else {
                self.drain()?;
                return Ok(None);
            };
            let header = Header::parse(&block).map_err(|reason| self.wrong(reason))?;
            self.expect_content(header.entry.size);
            match header.entry.typeflag {
                typeflag::PAX_NEXT => {
                    let records = self.extended_header()?;
                    extended = parse_pax(&records).ok_or_else(|| self.wrong("a pax record is malformed"))?;
                }
                typeflag::GNU_LONG_NAME => {
                    let name = self.extended_header()?;
                    extended.insert(b"path".to_vec(), until_nul(&name).to_vec());
                }
                typeflag::GNU_LONG_LINK => {
                    let name = self.extended_header()?;
                    extended.insert(b"linkpath".to_vec(), until_nul(&name).to_vec());
                }
                _ => return self.entry(header, extended).map(Some),
            }
        }
    }

    /// Reads on in the entry's content. Zero bytes: there is no more.
    pub(crate) fn content(&mut self, buf: &mut [u8]) -> Result<usize, LayerError> {
        let wanted = buf.len().min(usize::try_from(self.content).unwrap_or(usize::MAX));
        let read = self.stream.fill(&mut buf[..wanted])?;
        if read < wanted {
            return Err(self.wrong("the tar ends within an entry"));
        }
        self.content -= read as u64;
        Ok(read)
    }

    fn entry(&mut self, header: Header, extended: Records) -> Result<Entry, LayerError> {
        let limit = self.stream.limits().entries;
        if self.entries >= limit {
            return Err(LayerError::TooManyEntries { limit });
        }
        self.entries += 1;
        let Header { mut entry, gnu_sparse } = header;
        let stored = merge_pax(&mut entry, extended).map_err(|reason| self.wrong(reason))?;
        if matches!(entry.typeflag, typeflag::LINK..=typeflag::FIFO) {
            // They say a size at times, and have no content.
            self.expect_content(0);
        } else {
            self.expect_content(stored);
        }
        if let Some(sparse) = gnu_sparse {
            entry.sparse = true;
            entry.size = sparse.real_size;
            let mut more = sparse.more;
            while more {
                let mut block = [0; BLOCK_BYTES];
                if self.stream.fill(&mut block)? < BLOCK_BYTES {
                    return Err(self.wrong("the tar ends within a header"));
                }
                more = block[504] != 0;
            }
        }
        Ok(entry)
    }

    fn expect_content(&mut self, size: u64) {
        self.content = size;
        self.padding = size.wrapping_neg() % BLOCK_BYTES as u64;
    }

    /// The next block that holds a header. `None`: the tar ends here.
    fn next_header(&mut self) -> Result<Option<Block>, LayerError> {
        while self.content > 0 {
            let mut scratch = std::mem::take(&mut self.scratch);
            let read = self.content(&mut scratch);
            self.scratch = scratch;
            read?;
        }
        // A tar may end without the last padding: Docker's readers allow it.
        let mut block = [0; BLOCK_BYTES];
        let padding = usize::try_from(std::mem::take(&mut self.padding)).unwrap_or_default();
        self.stream.fill(&mut block[..padding])?;
        self.at = self.stream.produced();
        match self.stream.fill(&mut block)? {
            0 => return Ok(None),
            BLOCK_BYTES => {}
            _ => return Err(self.wrong("the tar ends within a header")),
        }
        if block != [0; BLOCK_BYTES] {
            return Ok(Some(block));
        }
        // The end is two blocks of zeros, or one and nothing.
        match self.stream.fill(&mut block)? {
            0 => Ok(None),
            BLOCK_BYTES if block == [0; BLOCK_BYTES] => Ok(None),
            _ => Err(self.wrong("a block of zeros is followed by something else")),
        }
    }

    /// The whole content of an extended header.
    fn extended_header(&mut self) -> Result<Vec<u8>, LayerError> {
        if self.content > EXTENDED_HEADER_BYTES_MAX {
            return Err(self.wrong("an extended header is longer than 1 MiB"));
        }
        let mut content = vec![0; usize::try_from(self.content).unwrap_or_default()];
        self.content(&mut content)?;
        Ok(content)
    }

    /// What follows the tar is not looked at, but it is part of the layer, and may be damaged.
    fn drain(&mut self) -> Result<(), LayerError> {
        while self.stream.fill(&mut self.scratch)? == self.scratch.len() {}
        Ok(())
    }

    fn wrong(&self, reason: &'static str) -> LayerError {
        LayerError::Tar { at: self.at, reason }
    }
}

type Records = BTreeMap<Vec<u8>, Vec<u8>>;
type Wrong = &'static str;

/// What a header block says by itself.
struct Header {
    entry: Entry,
    gnu_sparse: Option<GnuSparse>,
}

/// What GNU's old header says of a sparse file.
struct GnuSparse {
    real_size: u64,
    /// Whether blocks with more of its map follow.
    more: bool,
}

impl Header {
    fn parse(block: &Block) -> Result<Header, Wrong> {
        // Both sums are in use: some old writers took bytes as signed.
        let (mut unsigned, mut signed) = (0i64, 0i64);
        for (i, &byte) in block.iter().enumerate() {
            let byte = if (148..156).contains(&i) { b' ' } else { byte };
            unsigned += i64::from(byte);
            signed += i64::from(byte.cast_signed());
        }
        let sum = number(&block[148..156])?;
        if sum != unsigned && sum != signed {
            return Err("a header's checksum is wrong");
        }

        let mut entry = Entry {
            name: until_nul(&block[..100]).to_vec(),
            mode: number(&block[100..108])?,
            uid: number(&block[108..116])?,
            gid: number(&block[116..124])?,
            size: size(&block[124..136])?,
            mtime: number(&block[136..148])?,
            typeflag: block[156],
            linkname: until_nul(&block[157..257]).to_vec(),
            ..Entry::default()
        };
        let gnu = &block[257..265] == b"ustar  \0";
        let ustar = &block[257..265] == b"ustar\x0000";
        if gnu || ustar {
            entry.uname = until_nul(&block[265..297]).to_vec();
            entry.gname = until_nul(&block[297..329]).to_vec();
            if matches!(entry.typeflag, typeflag::CHAR | typeflag::BLOCK) {
                entry.devmajor = number(&block[329..337])?;
                entry.devminor = number(&block[337..345])?;
            }
            let prefix = if gnu {
                misplaced_prefix(block)
            } else if &block[508..] == b"tar\0" {
                until_nul(&block[345..476])
            } else {
                until_nul(&block[345..500])
            };
            if !prefix.is_empty() {
                entry.name = [prefix, b"/", &entry.name].concat();
            }
        }
        let gnu_sparse = if gnu && entry.typeflag == typeflag::GNU_SPARSE {
            Some(GnuSparse { real_size: size(&block[483..495])?, more: block[482] != 0 })
        } else {
            None
        };
        Ok(Header { entry, gnu_sparse })
    }
}

/// The prefix in a header of GNU's, which has none: there are times in its place. Go's writer took both for one
/// until 1.8, where a number needed base 256; so clients of that time wrote such layers.
fn misplaced_prefix(block: &Block) -> &[u8] {
    let times = [&block[345..357], &block[357..369]];
    if times.iter().all(|time| time[0] == 0 || number(time).is_ok()) {
        return &[];
    }
    let prefix = until_nul(&block[345..500]);
    if prefix.is_ascii() { prefix } else { &[] }
}

/// Puts what the extended headers say in place of what the header says. Returns how many bytes of content
/// are stored.
fn merge_pax(entry: &mut Entry, records: Records) -> Result<u64, Wrong> {
    let mut stored = entry.size;
    let mut real_size = None;
    let mut real_name = None;
    for (key, value) in records {
        // An empty value takes back what another record said (POSIX.1, "pax Extended Header").
        if value.is_empty() {
            continue;
        }
        match key.as_slice() {
            b"path" => entry.name = value,
            b"linkpath" => entry.linkname = value,
            b"uname" => entry.uname = value,
            b"gname" => entry.gname = value,
            b"uid" => entry.uid = decimal(&value).ok_or("a pax record's uid is no number")?,
            b"gid" => entry.gid = decimal(&value).ok_or("a pax record's gid is no number")?,
            b"mtime" => entry.mtime = pax_seconds(&value).ok_or("a pax record's mtime is no time")?,
            b"size" => {
                stored = decimal(&value).ok_or("a pax record's size is no size")?;
                entry.size = stored;
            }
            b"GNU.sparse.name" => real_name = Some(value),
            b"GNU.sparse.size" | b"GNU.sparse.realsize" => {
                real_size = Some(decimal(&value).ok_or("a sparse file's size is no size")?);
            }
            _ => {
                if let Some(name) = key.strip_prefix(PAX_XATTR) {
                    entry.xattrs.insert(name.to_vec(), value);
                }
            }
        }
        entry.sparse |= key.starts_with(PAX_SPARSE);
    }
    entry.name = real_name.unwrap_or_else(|| std::mem::take(&mut entry.name));
    entry.size = real_size.unwrap_or(entry.size);
    Ok(stored)
}

/// Records of the form `length key=value\n`, where the length counts all of it.
fn parse_pax(mut rest: &[u8]) -> Option<Records> {
    let mut records = Records::new();
    while !rest.is_empty() {
        let space = rest.iter().position(|&byte| byte == b' ')?;
        let len: usize = decimal(&rest[..space])?;
        let record = rest.get(space + 1..len)?.strip_suffix(b"\n")?;
        let equals = record.iter().position(|&byte| byte == b'=')?;
        records.insert(record[..equals].to_vec(), record[equals + 1..].to_vec());
        rest = &rest[len..];
    }
    Some(records)
}

/// Seconds with an optional fraction, rounded down.
fn pax_seconds(value: &[u8]) -> Option<i64> {
    let point = value.iter().position(|&byte| byte == b'.').unwrap_or(value.len());
    let (seconds, fraction) = (&value[..point], value.get(point + 1..).unwrap_or_default());
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let whole: i64 = decimal(seconds)?;
    // Nanoseconds are as fine as Docker's readers look.
    let between = fraction.iter().take(9).any(|&digit| digit != b'0');
    if between && seconds.starts_with(b"-") { whole.checked_sub(1) } else { Some(whole) }
}

fn decimal<N: std::str::FromStr>(digits: &[u8]) -> Option<N> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn size(field: &[u8]) -> Result<u64, Wrong> {
    u64::try_from(number(field)?).map_err(|_| "a header's size is negative")
}

/// A number of a header: octal, or GNU's base 256 where the first bit is set.
fn number(field: &[u8]) -> Result<i64, Wrong> {
    const WRONG: Wrong = "a header's number is malformed";
    if field[0] & 0x80 != 0 {
        // Two's complement, of which the first byte's first bit is no part.
        let negative = field[0] & 0x40 != 0;
        let mut value: i128 = if negative { -1 } else { 0 };
        for (i, &byte) in field.iter().enumerate() {
            let byte = match (i, negative) {
                (0, false) => byte & 0x7f,
                _ => byte,
            };
            value = value << 8 | i128::from(byte);
        }
        return i64::try_from(value).map_err(|_| WRONG);
    }
    let blank = |byte: &u8| matches!(byte, b' ' | 0);
    let Some(start) = field.iter().position(|byte| !blank(byte)) else { return Ok(0) };
    let digits = until_nul(&field[start..]);
    let end = digits.iter().rposition(|byte| !blank(byte)).map_or(0, |last| last + 1);
    digits[..end].iter().try_fold(0i64, |value, &digit| match digit {
        // A field has twelve digits at most: no overflow.
        b'0'..=b'7' => Ok(value << 3 | i64::from(digit - b'0')),
        _ => Err(WRONG),
    })
}

fn until_nul(field: &[u8]) -> &[u8] {
    field.split(|&byte| byte == 0).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{ByteByByte, HeaderBytes, TarBytes, limits};

    fn read_all(stored: impl Read) -> Result<Vec<(Entry, Vec<u8>)>, LayerError> {
        let mut tar = Tar::new(Uncompressed::new(stored, limits())?);
        let mut entries = Vec::new();
        while let Some(entry) = tar.next_entry()? {
            let mut content = Vec::new();
            let mut buf = [0; 700];
            loop {
                match tar.content(&mut buf)? {
                    0 => break,
                    read => content.extend_from_slice(&buf[..read]),
                }
            }
            entries.push((entry, content));
        }
        Ok(entries)
    }

    fn only(tar: &[u8]) -> Entry {
        let mut entries = read_all(tar).unwrap();
        assert_eq!(entries.len(), 1);
        entries.remove(0).0
    }

    fn refused(tar: &[u8]) -> &'static str {
        match read_all(tar) {
            Err(LayerError::Tar { reason, .. }) => reason,
            Err(other) => panic!("{other}"),
            Ok(entries) => panic!("{entries:?}"),
        }
    }

    fn one(header: &HeaderBytes) -> Vec<u8> {
        TarBytes::default().entry(header, b"").end()
    }

    #[test]
    fn pax_records_take_the_place_of_the_header() {
        let tar = TarBytes::default()
            .pax(&[
                ("path", "long/näme"),
                ("linkpath", "elsewhere"),
                ("uname", "ann"),
                ("gname", "staff"),
                ("uid", "3000000"),
                ("gid", "4000000"),
                ("mtime", "1400000000.75"),
                ("SCHILY.xattr.user.a", "b=c\nd"),
                ("comment", "of no matter"),
            ])
            .file("short", b"content")
            .file("next", b"")
            .end();
        let entries = read_all(tar.as_slice()).unwrap();
        let (entry, content) = &entries[0];
        assert_eq!(content, b"content");
        assert_eq!(entry.name, "long/näme".as_bytes());
        assert_eq!((entry.linkname.as_slice(), entry.size), (b"elsewhere".as_slice(), 7));
        assert_eq!(
            (entry.uname.as_slice(), entry.gname.as_slice()),
            (b"ann".as_slice(), b"staff".as_slice())
        );
        assert_eq!((entry.uid, entry.gid, entry.mtime), (3_000_000, 4_000_000, 1_400_000_000));
        assert_eq!(entry.xattrs, BTreeMap::from([(b"user.a".to_vec(), b"b=c\nd".to_vec())]));
        // They are about one entry alone.
        assert_eq!((entries[1].0.name.as_slice(), entries[1].0.uid), (b"next".as_slice(), 0));
        assert!(entries[1].0.xattrs.is_empty());
    }

    #[test]
    fn pax_size_says_how_much_content_follows() {
        let mut header = HeaderBytes::new("file", b'0', 0);
        header.set(124, b"00000000000");
        let tar =
            TarBytes::default().pax(&[("size", "600")]).entry(&header, &[7; 600]).file("next", b"x").end();
        let entries = read_all(tar.as_slice()).unwrap();
        assert_eq!((entries[0].0.size, entries[0].1.as_slice()), (600, [7; 600].as_slice()));
        assert_eq!(entries[1].0.name, b"next");
    }

    #[test]
    fn gnu_long_names_take_the_place_of_the_headers() {
        let long = "n".repeat(700);
        let special = |tar: TarBytes, typeflag, name: &str| {
            let content = format!("{name}\0");
            tar.entry(&HeaderBytes::new("././@LongLink", typeflag, content.len()), content.as_bytes())
        };
        let tar = special(special(TarBytes::default(), b'K', &"l".repeat(300)), b'L', &long);
        let entry = only(&tar.file("cut", b"").end());
        assert_eq!(entry.name, long.as_bytes());
        assert_eq!(entry.linkname, "l".repeat(300).as_bytes());
    }

    #[test]
    fn prefix_is_read_where_the_dialect_has_it() {
        let mut header = HeaderBytes::new("name", b'0', 0);
        header.set(345, &[b'p'; 155]);
        assert_eq!(only(&one(&header)).name, [&[b'p'; 155], b"/name".as_slice()].concat());
        // Star: shorter, with times behind it.
        header.set(508, b"tar\0");
        assert_eq!(only(&one(&header)).name, [&[b'p'; 131], b"/name".as_slice()].concat());

        // GNU: none, but times.
        let mut header = HeaderBytes::new("name", b'0', 0);
        header.set(257, b"ustar  \0").set(345, b"12345670123 12345670123 ");
        assert_eq!(only(&one(&header)).name, b"name");
        // GNU as Go wrote it: no times can be read there.
        header.set(345, b"some/folder\0\0\0\0\0\0\0\0\0\0\0\0\0");
        assert_eq!(only(&one(&header)).name, b"some/folder/name");
        header.set(345, &[0xff]);
        header.set(357, b"folder");
        assert_eq!(only(&one(&header)).name, b"name");

        // Before ustar: none, nor users' names.
        let mut header = HeaderBytes::new("name", b'0', 0);
        header.set(257, &[0; 8]).set(345, b"prefix").set(265, b"ann");
        let entry = only(&one(&header));
        assert_eq!((entry.name, entry.uname), (b"name".to_vec(), Vec::new()));
    }

    #[test]
    fn numbers_are_octal_or_base_256() {
        let mtime = |field: &[u8]| {
            let mut header = HeaderBytes::new("name", b'0', 0);
            header.set(136, &[0; 12]).set(136, field);
            read_all(one(&header).as_slice()).map(|entries| entries[0].0.mtime)
        };
        assert_eq!(mtime(b"").unwrap(), 0);
        assert_eq!(mtime(b"   17 \0").unwrap(), 15);
        assert_eq!(mtime(b"\x0017\0").unwrap(), 15);
        assert_eq!(mtime(b"777777777777").unwrap(), 0o777_777_777_777);
        assert_eq!(mtime(b"\x80\0\0\0\x01\0\0\0\0\0\0\0").unwrap(), 1 << 56);
        assert_eq!(mtime(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe").unwrap(), -2);
        assert_eq!(mtime(b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff").unwrap(), i64::MAX);
        for wrong in
            [b"8".as_slice(), b"1 1", b"-1", b"1\x80", b"\x80\0\0\0\x80", b"\xbf\xff\xff\xff\xff", b"\xc0"]
        {
            assert!(matches!(mtime(wrong), Err(LayerError::Tar { at: 0, .. })), "{wrong:?}");
        }
    }

    #[test]
    fn fractions_of_seconds_are_rounded_down() {
        for (text, seconds) in [
            ("1", 1),
            ("1.", 1),
            ("1.9", 1),
            ("-1", -1),
            ("-1.0", -1),
            ("-1.5", -2),
            ("-0.5", -1),
            ("-0.0000000001", 0),
        ] {
            assert_eq!(pax_seconds(text.as_bytes()), Some(seconds), "{text}");
        }
        for text in
            ["", ".", ".5", "x", "1.x", "1.-5", "1.5.5", "99999999999999999999", "-9223372036854775808.5"]
        {
            assert_eq!(pax_seconds(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn devices_have_numbers_and_what_else_has_none_has_no_content() {
        let mut header = HeaderBytes::new("null", b'3', 0);
        header.set(329, b"0000001").set(337, b"0000003");
        let entry = only(&one(&header));
        assert_eq!((entry.devmajor, entry.devminor), (1, 3));
        // Some writers give a link the size of what it links to.
        for typeflag in b'1'..=b'6' {
            let link = HeaderBytes::new("link", typeflag, 5000);
            let entries = read_all(TarBytes::default().entry(&link, b"").file("next", b"").end().as_slice());
            let entries = entries.unwrap();
            assert_eq!((entries[0].0.size, entries[1].0.name.as_slice()), (5000, b"next".as_slice()));
        }
    }

    #[test]
    fn sparse_files_are_walked_over() {
        let mut header = HeaderBytes::new("sparse", b'S', 512);
        header.set(257, b"ustar  \0").set(482, &[1]).set(483, b"00000100000\0");
        let mut more = [[0u8; 512]; 2];
        more[0][504] = 1;
        let mut tar = TarBytes::default().entry(&header, &more.concat());
        tar.0.extend_from_slice(&[7; 512]);
        let entries = read_all(tar.file("next", b"").end().as_slice()).unwrap();
        assert!(entries[0].0.sparse && entries[0].0.size == 0o100_000 && entries[0].1 == [7; 512]);
        assert!(!entries[1].0.sparse && entries[1].0.name == b"next");

        let records = [("GNU.sparse.major", "1"), ("GNU.sparse.name", "real"), ("GNU.sparse.realsize", "9")];
        let entry = only(&TarBytes::default().pax(&records).file("GNUSparseFile.0/real", b"0\n").end());
        assert!(entry.sparse && entry.size == 9 && entry.name == b"real");
    }

    #[test]
    fn signed_checksums_are_accepted_and_wrong_ones_are_not() {
        let mut header = HeaderBytes::new("n\u{e4}me", b'0', 0);
        header.set(148, b"        ");
        let sum: i64 = header.0.iter().map(|&byte| i64::from(byte.cast_signed())).sum();
        header.set(148, format!("{sum:06o}\0 ").as_bytes());
        let tar = |header: &HeaderBytes| [header.0.as_slice(), &[0; 1024]].concat();
        assert_eq!(only(&tar(&header)).name, "näme".as_bytes());
        header.set(0, b"m");
        assert_eq!(refused(&tar(&header)), "a header's checksum is wrong");
        assert_eq!(refused(&[b'x'; 512]), "a header's number is malformed");
    }

    #[test]
    fn malformed_extended_headers_are_refused() {
        let pax = |content: &[u8]| {
            let header = HeaderBytes::new("x", b'x', content.len());
            TarBytes::default().entry(&header, content).file("file", b"").end()
        };
        for content in [
            "x",
            "1 ",
            "0 a=b\n",
            "3 a=b\n",
            "6 a=b",
            "6 a=bc",
            "7 a=b\n",
            "5 ab\n",
            " a=b\n",
            "-6 a=b\n",
            "99999999999999999999999 a=b\n",
            "6 a=b\n6",
        ] {
            assert_eq!(refused(&pax(content.as_bytes())), "a pax record is malformed", "{content:?}");
        }
        for (key, value) in [
            ("size", "-5"),
            ("size", "x"),
            ("uid", "1x"),
            ("gid", "99999999999999999999"),
            ("mtime", "1x"),
            ("GNU.sparse.size", "-1"),
            ("GNU.sparse.realsize", "x"),
        ] {
            let reason = refused(&TarBytes::default().pax(&[(key, value)]).file("file", b"").end());
            assert!(reason.contains("pax") || reason.contains("sparse"), "{key}={value}: {reason}");
        }
        assert_eq!(only(&pax(b"6 a=b\n")).name, b"file");
        let long = usize::try_from(EXTENDED_HEADER_BYTES_MAX).unwrap() + 1;
        for typeflag in [b'x', b'L', b'K'] {
            let tar = TarBytes::default().entry(&HeaderBytes::new("x", typeflag, long), &vec![b'a'; long]);
            assert_eq!(refused(&tar.end()), "an extended header is longer than 1 MiB");
        }
    }

    #[test]
    fn ends_are_told_from_truncation() {
        let whole = TarBytes::default().file("file", b"content").0;
        // Without any block of zeros, with one, with the last padding cut off.
        for end in [whole.clone(), [whole.as_slice(), &[0; 512]].concat(), whole[..512 + 7].to_vec()] {
            assert_eq!(read_all(end.as_slice()).unwrap().len(), 1);
        }
        assert_eq!(refused(&whole[..512 + 6]), "the tar ends within an entry");
        assert_eq!(refused(&whole[..511]), "the tar ends within a header");
        let followed = [&[0; 512], whole.as_slice()].concat();
        assert_eq!(refused(&followed), "a block of zeros is followed by something else");
        // Behind the end there may be anything.
        let followed = [whole.as_slice(), &[0; 1024], b"anything"].concat();
        assert_eq!(read_all(followed.as_slice()).unwrap().len(), 1);
    }

    /// A file as the other library writes and reads it.
    #[derive(Debug, Clone)]
    struct Written {
        name: String,
        uid: u64,
        mode: u32,
        mtime: u64,
        content: Vec<u8>,
    }

    prop_compose! {
        fn written()(
            name in "[a-z]{1,20}(/[a-zä-ü]{1,90}){0,4}",
            uid in prop_oneof![0..0o7_777_777u64, any::<u32>().prop_map(u64::from)],
            mode in 0..0o7777u32,
            mtime in 0..1u64 << 40,
            content in proptest::collection::vec(any::<u8>(), 0..1500),
        ) -> Written {
            Written { name, uid, mode, mtime, content }
        }
    }

    proptest! {
        #[test]
        fn what_another_library_writes_is_read(
            files in proptest::collection::vec(written(), 0..6),
            gnu in any::<bool>(),
            slow in any::<bool>(),
        ) {
            let mut builder = tar::Builder::new(Vec::new());
            for file in &files {
                let mut header = if gnu { tar::Header::new_gnu() } else { tar::Header::new_ustar() };
                header.set_size(file.content.len() as u64);
                header.set_mode(file.mode);
                header.set_uid(file.uid);
                header.set_mtime(file.mtime);
                if !gnu {
                    builder.append_pax_extensions([("path", file.name.as_bytes())]).unwrap();
                    header.set_path("short").unwrap();
                    header.set_cksum();
                    builder.append(&header, file.content.as_slice()).unwrap();
                } else {
                    builder.append_data(&mut header, &file.name, file.content.as_slice()).unwrap();
                }
            }
            let tar = builder.into_inner().unwrap();
            let entries = if slow { read_all(ByteByByte::new(tar.as_slice())) } else { read_all(tar.as_slice()) };
            let entries = entries.unwrap();
            prop_assert_eq!(entries.len(), files.len());
            for ((entry, content), file) in entries.iter().zip(&files) {
                prop_assert_eq!(&entry.name, file.name.as_bytes());
                prop_assert_eq!(content, &file.content);
                prop_assert_eq!(entry.size, file.content.len() as u64);
                prop_assert_eq!(entry.uid, i64::try_from(file.uid).unwrap());
                prop_assert_eq!(entry.mode, i64::from(file.mode));
                prop_assert_eq!(entry.mtime, i64::try_from(file.mtime).unwrap());
            }
        }

        #[test]
        fn changed_tars_never_panic(
            changes in proptest::collection::vec((0..6000usize, any::<u8>()), 0..6),
            cut in 0..6000usize,
        ) {
            let mut tar = TarBytes::default()
                .pax(&[("path", "name"), ("mtime", "1.5"), ("SCHILY.xattr.a", "b")])
                .file("file", &[7; 600])
                .entry(&HeaderBytes::new("x", b'L', 5), b"long\0")
                .file("next", b"")
                .end();
            for (at, byte) in changes {
                let at = at % tar.len();
                tar[at] = byte;
            }
            let _ = read_all(tar.as_slice());
            // With checksums that are right again, so that the other fields are looked at.
            for block in tar.chunks_exact_mut(512) {
                block[148..156].fill(b' ');
                let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
                block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
            }
            let _ = read_all(tar.as_slice());
            let _ = read_all(&tar[..cut.min(tar.len())]);
        }

        #[test]
        fn arbitrary_records_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Some(records) = parse_pax(&bytes) {
                let _ = merge_pax(&mut Entry::default(), records);
            }
            let _ = pax_seconds(&bytes);
        }
    }
}
