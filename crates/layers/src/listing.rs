//! The files of a layer, as the V1 protocol lists them (docker-v1, section 8: `/files` and `/diff`).

use std::io::Read;

use serde::ser::{Serialize, SerializeTuple, Serializer};

use crate::stream::Uncompressed;
use crate::tar::{Entry, Tar, typeflag};
use crate::{InspectLimits, LayerError};

/// How the name of a file begins that says that another one, in a layer below, is deleted.
const WHITEOUT: &[u8] = b".wh.";
/// How the name of a file begins that is the union file system's own.
const UNION_FILE: &[u8] = b".wh..wh.";

/// A file of a layer. In JSON: `[path, type, deleted, size, mtime, mode, uid, gid]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its absolute path, without a slash at the end. What is not UTF-8 in it is replaced.
    pub path: String,
    /// `f` file, `d` directory, `l` hard link, `s` symbolic link, `c` and `b` devices, `i` pipe, `t` contiguous
    /// file, `S` sparse file, `u` anything else.
    pub kind: char,
    /// Whether the layer deletes it: a whiteout, shown under the name of what is deleted.
    pub deleted: bool,
    /// In bytes.
    pub size: u64,
    /// When it was changed, in seconds since 1970.
    pub mtime: i64,
    /// Permissions and the like, as in the tar.
    pub mode: i64,
    /// The owner's number.
    pub uid: i64,
    /// The group's number.
    pub gid: i64,
}

impl Serialize for Row {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut row = serializer.serialize_tuple(8)?;
        row.serialize_element(&self.path)?;
        row.serialize_element(&self.kind)?;
        row.serialize_element(&self.deleted)?;
        row.serialize_element(&self.size)?;
        row.serialize_element(&self.mtime)?;
        row.serialize_element(&self.mode)?;
        row.serialize_element(&self.uid)?;
        row.serialize_element(&self.gid)?;
        row.end()
    }
}

/// The files of a layer, in the tar's order. After an error there is nothing more.
///
/// The last row is not the layer's end: only `None` says that all of it could be read.
pub struct Listing<'s, R: Read> {
    tar: Option<Tar<'s, R>>,
}

/// Lists the files of a stored layer, one row at a time.
///
/// Left out are pax's global headers and what union file systems keep for themselves (`.wh..wh.…`), as the V1
/// reference server does. Other than it, whiteouts are known in every directory and not in the first alone, and
/// all paths are absolute, however the tar has them.
///
/// # Errors
/// [`LayerError`], except `Write` and `SparseFile`: here what the first bytes say, as items of the iterator what
/// is met later.
pub fn listing<R: Read>(stored: R, limits: InspectLimits<'_>) -> Result<Listing<'_, R>, LayerError> {
    Ok(Listing { tar: Some(Tar::new(Uncompressed::new(stored, limits)?)) })
}

impl<R: Read> Iterator for Listing<'_, R> {
    type Item = Result<Row, LayerError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.tar.as_mut()?.next_entry() {
                Ok(Some(entry)) => {
                    if let Some(row) = row(&entry) {
                        return Some(Ok(row));
                    }
                }
                Ok(None) => self.tar = None,
                Err(error) => {
                    self.tar = None;
                    return Some(Err(error));
                }
            }
        }
    }
}

/// The row of an entry, unless it is none of the layer's files.
fn row(entry: &Entry) -> Option<Row> {
    let kind = match entry.typeflag {
        typeflag::PAX_GLOBAL => return None,
        // Older than the type of directories.
        typeflag::OLD_FILE if entry.name.ends_with(b"/") => 'd',
        typeflag::OLD_FILE | b'0' => 'f',
        typeflag::LINK => 'l',
        b'2' => 's',
        typeflag::CHAR => 'c',
        typeflag::BLOCK => 'b',
        typeflag::DIRECTORY => 'd',
        typeflag::FIFO => 'i',
        b'7' => 't',
        typeflag::GNU_SPARSE => 'S',
        _ => 'u',
    };
    let mut components: Vec<&[u8]> =
        entry.name.split(|&byte| byte == b'/').filter(|part| !matches!(*part, b"" | b".")).collect();
    let mut deleted = false;
    if let Some(name) = components.last_mut() {
        if name.starts_with(UNION_FILE) {
            return None;
        }
        if let Some(below) = name.strip_prefix(WHITEOUT) {
            deleted = true;
            *name = below;
        }
    }
    components.retain(|part| !part.is_empty());
    let path = [b"/".as_slice(), &components.join(&b'/')].concat();
    Some(Row {
        path: String::from_utf8_lossy(&path).into_owned(),
        kind,
        deleted,
        size: entry.size,
        mtime: entry.mtime,
        mode: entry.mode,
        uid: entry.uid,
        gid: entry.gid,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{
        ByteByByte, COMPRESSIONS, HeaderBytes, LAYER_A, LAYER_B, TarBytes, compress, decode, limits,
    };

    fn rows(stored: &[u8]) -> Vec<Row> {
        listing(stored, limits()).unwrap().collect::<Result<_, _>>().unwrap()
    }

    fn paths(names: &[&str]) -> Vec<(String, bool)> {
        let tar = names.iter().fold(TarBytes::default(), |tar, name| tar.file(name, b"")).end();
        rows(&tar).into_iter().map(|row| (row.path, row.deleted)).collect()
    }

    #[test]
    fn rows_are_arrays_of_eight() {
        assert_eq!(
            serde_json::to_string(&rows(&decode(LAYER_A))).unwrap(),
            r#"[["/etc","d",false,0,1400000000,493,0,0],["/etc/motd","f",false,9,1400000000,420,0,0]]"#
        );
        assert_eq!(rows(&decode(LAYER_B)).len(), 3);
        assert_eq!(rows(b""), []);
    }

    #[test]
    fn paths_are_absolute_and_whiteouts_are_deletions() {
        let shown = |path: &str| (path.to_owned(), false);
        let deleted = |path: &str| (path.to_owned(), true);
        assert_eq!(
            paths(&["./", ".", "/", "./a", "a/b/", "/a//./c", "a/.whx", ".hidden"]),
            ["/", "/", "/", "/a", "/a/b", "/a/c", "/a/.whx", "/.hidden"].map(shown)
        );
        assert_eq!(
            paths(&["./.wh.a", "/.wh.a", ".wh.a", "dir/.wh.a", "dir/.wh.b/", "./.wh.", "dir/.wh."]),
            ["/a", "/a", "/a", "/dir/a", "/dir/b", "/", "/dir"].map(deleted)
        );
        assert_eq!(paths(&["./.wh..wh.", ".wh..wh.aufs", "dir/.wh..wh..opq", ".wh..wh.plnk/"]), []);
        assert_eq!(paths(&[".wh..wh.orph/file"]), [shown("/.wh..wh.orph/file")]);
    }

    #[test]
    fn kinds_are_those_of_the_reference() {
        let mut tar = TarBytes::default();
        for typeflag in *b"\x000123456 7SgD" {
            tar = tar.entry(&HeaderBytes::new("name", typeflag, 0), b"");
        }
        tar = tar.entry(&HeaderBytes::new("old/", 0, 0), b"");
        let kinds: String = rows(&tar.end()).into_iter().map(|row| row.kind).collect();
        assert_eq!(kinds, "fflscbdiutSud");
    }

    #[test]
    fn names_that_are_no_text_are_shown_nonetheless() {
        let mut header = HeaderBytes::new("name", b'0', 0);
        header.set(0, &[0xff]);
        assert_eq!(rows(&TarBytes::default().entry(&header, b"").end())[0].path, "/\u{fffd}ame");
    }

    #[test]
    fn error_is_the_last_item() {
        let stored = decode(LAYER_A);
        for len in 3..stored.len() {
            let Ok(mut listing) = listing(&stored[..len], limits()) else { panic!("{len}") };
            let last = listing.by_ref().last();
            assert!(matches!(last, Some(Err(LayerError::Unreadable { .. }))), "{len}: {last:?}");
            assert!(listing.next().is_none());
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic_and_come_to_an_end(
            bytes in proptest::collection::vec(any::<u8>(), 0..3000),
            name in "[./a-w]{0,90}",
            compression in proptest::sample::select(&COMPRESSIONS[..]),
        ) {
            let _ = listing(bytes.as_slice(), limits()).unwrap().count();
            let stored = compress(compression, &TarBytes::default().file(&name, &bytes).end());
            let expected = rows(&stored);
            let slow = listing(ByteByByte::new(stored.as_slice()), limits()).unwrap();
            prop_assert_eq!(slow.collect::<Result<Vec<_>, _>>().unwrap(), expected);
        }
    }
}
