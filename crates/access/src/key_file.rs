//! Files that hold a key: PEM, readable by the server's user alone, whole and durable before they have their names.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;
use zeroize::Zeroizing;

/// Longest key file that is read, in bytes. One has some 120.
const FILE_BYTES_MAX: u64 = 16 * 1024;

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// A file can't be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file holds something else.
    #[error("{}: not a key of its kind in PEM; remove it to have a new one made", .0.display())]
    Malformed(PathBuf),
    /// Everybody may read a file.
    #[error("{}: everybody may read it (mode {mode:o}); make a new one if somebody did, or `chmod 600`", path.display())]
    Exposed {
        /// Which.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The machine makes no key.
    #[error("no key could be made: there are no random bytes")]
    NoRandom,
}

/// The key in a file, which PEM calls `tag`; `None` where there is no file. Blocks on the disk.
pub(crate) fn read(path: &Path, tag: &str) -> Result<Option<Zeroizing<Vec<u8>>>, KeyError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(at(path)(error)),
    };
    let mode = file.metadata().map_err(at(path))?.permissions().mode() & 0o777;
    if mode & 0o007 != 0 {
        return Err(KeyError::Exposed { path: path.to_owned(), mode });
    }
    // Container platforms give a volume's files to a group of the container's own, so that is no reason to refuse.
    if mode & 0o070 != 0 {
        tracing::warn!(path = %path.display(), "the file's group may read a key that signs tokens");
    }
    let mut text = Zeroizing::new(String::new());
    file.take(FILE_BYTES_MAX).read_to_string(&mut text).map_err(at(path))?;
    let key = pem::parse(text.as_bytes()).ok().filter(|pem| pem.tag() == tag);
    let key = key.map(|pem| Zeroizing::new(pem.into_contents()));
    key.map(Some).ok_or_else(|| KeyError::Malformed(path.to_owned()))
}

/// Keeps a key in a file that is not there yet: one that signed is never lost to a crash. Blocks on the disk.
pub(crate) fn make(path: &Path, tag: &str, key: &[u8]) -> Result<(), KeyError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let text = Zeroizing::new(pem::encode(&pem::Pem::new(tag, key)));
    // Mode 0600 from the first moment.
    let mut file = NamedTempFile::new_in(folder).map_err(at(folder))?;
    file.write_all(text.as_bytes()).map_err(at(path))?;
    file.as_file().sync_all().map_err(at(path))?;
    file.persist_noclobber(path).map_err(|error| at(path)(error.error))?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(at(folder))
}

/// An error of the disk, at a path.
pub(crate) fn at(path: &Path) -> impl FnOnce(io::Error) -> KeyError {
    let path = path.to_owned();
    move |source| KeyError::Io { path, source }
}
