//! Where everything lies. The only module that makes paths, and it makes them of typed parts alone: digests,
//! uuids and hashes, never of a client's text.
//!
//! ```text
//! <data>/
//!   blobs/
//!     sha256/
//!       00/ … ff/                 all 256 made when the store is opened (sha512's when needed)
//!         <64 hex digits>         one blob, whole and verified; the folder is its first two digits
//!     sha512/
//!       00/ … ff/
//!         <128 hex digits>
//!   uploads/
//!     <owner>/                    32 hex digits: the first half of the SHA-256 of the owner's text
//!       <uuid>.sha256             one upload session: its length is what was received, its modification
//!       <uuid>.sha512             time is when it was last heard of
//!     <uuid>.tmp                  bytes on their way into blobs/; what a crash left of them goes at the next open
//! ```

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use supercargo_model::{Algorithm, Digest};
use uuid::Uuid;

use crate::disk;
use crate::hasher::Hasher;

/// The algorithms, in the order in which their folders are walked.
const ALGORITHMS: [Algorithm; 2] = [Algorithm::Sha256, Algorithm::Sha512];

const TEMP_SUFFIX: &str = "tmp";

/// Whose an upload session is: a hash of the owner's text, so that any text makes one short folder name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct OwnerKey(u128);

impl OwnerKey {
    pub(crate) fn of(owner: &str) -> OwnerKey {
        let digest = Hasher::of_bytes(Algorithm::Sha256, owner.as_bytes());
        let mut first = [0; 16];
        first.copy_from_slice(&digest.hash_bytes()[..16]);
        OwnerKey(u128::from_be_bytes(first))
    }

    /// The key whose folder has this name.
    fn parse(name: &str) -> Option<OwnerKey> {
        let key = OwnerKey(u128::from_str_radix(name, 16).ok()?);
        (key.to_string() == name).then_some(key)
    }
}

impl fmt::Display for OwnerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// A session's file, as found on disk.
pub(crate) struct FoundSession {
    pub(crate) owner: OwnerKey,
    pub(crate) id: Uuid,
    pub(crate) algorithm: Algorithm,
    pub(crate) metadata: fs::Metadata,
}

/// The paths of one data folder.
#[derive(Debug)]
pub(crate) struct Layout {
    blobs: PathBuf,
    uploads: PathBuf,
}

impl Layout {
    /// Makes the folders that are missing, durably, and removes the temporary files that a crash left;
    /// blocks. Nobody else may be using the data folder.
    pub(crate) fn open(data: &Path) -> io::Result<Layout> {
        let layout = Layout { blobs: data.join("blobs"), uploads: data.join("uploads") };
        fs::create_dir_all(&layout.uploads)?;
        for temp in layout.temps() {
            disk::remove_file(&temp?)?;
        }
        // Those of the other algorithm are made when they are needed, which is hardly ever: making all of
        // them would be most of what a first start takes.
        let folder = layout.blobs.join(Algorithm::Sha256.as_str());
        fs::create_dir_all(&folder)?;
        for fan in 0..=u8::MAX {
            match fs::create_dir(folder.join(format!("{fan:02x}"))) {
                Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
                _ => {}
            }
        }
        // Also where all was there: an earlier process may have died between making a folder and this.
        let folders = ALGORITHMS.map(|algorithm| layout.blobs.join(algorithm.as_str()));
        for folder in folders.iter().filter(|folder| folder.exists()) {
            disk::sync_folder(folder)?;
        }
        disk::sync_folder(&layout.blobs)?;
        disk::sync_folder(data)?;
        Ok(layout)
    }

    /// A folder on the file system that holds everything.
    pub(crate) fn root(&self) -> &Path {
        &self.blobs
    }

    /// A blob's place.
    pub(crate) fn blob(&self, digest: &Digest) -> PathBuf {
        let hex = digest.hex();
        let mut path = self.fan(digest.algorithm(), &hex[..2]);
        path.push(hex);
        path
    }

    /// The folder that a blob's place is in.
    pub(crate) fn blob_folder(&self, digest: &Digest) -> PathBuf {
        self.fan(digest.algorithm(), &digest.hex()[..2])
    }

    /// Makes the folder that a blob's place is in, durably, if it is not there; blocks.
    pub(crate) fn make_blob_folder(&self, digest: &Digest) -> io::Result<()> {
        let folder = self.blob_folder(digest);
        let algorithm = self.blobs.join(digest.algorithm().as_str());
        fs::create_dir_all(folder)?;
        disk::sync_folder(&algorithm)?;
        disk::sync_folder(&self.blobs)
    }

    fn fan(&self, algorithm: Algorithm, fan: &str) -> PathBuf {
        let mut path = self.blobs.join(algorithm.as_str());
        path.push(fan);
        path
    }

    /// The folder of an owner's upload sessions. It may not be there.
    pub(crate) fn owner(&self, owner: OwnerKey) -> PathBuf {
        self.uploads.join(owner.to_string())
    }

    /// An upload session's file.
    pub(crate) fn session(&self, owner: OwnerKey, id: Uuid, algorithm: Algorithm) -> PathBuf {
        let mut path = self.owner(owner);
        path.push(format!("{id}.{algorithm}"));
        path
    }

    /// A new name for bytes that are not a session's.
    pub(crate) fn temp(&self) -> PathBuf {
        self.uploads.join(format!("{}.{TEMP_SUFFIX}", Uuid::now_v7()))
    }

    /// Every upload session on disk. What is not one is passed over.
    pub(crate) fn sessions(&self) -> impl Iterator<Item = io::Result<FoundSession>> {
        self.owners().flat_map(|owner| {
            let (owner, folder) = match owner {
                Ok(owner) => owner,
                Err(e) => return Either::One(Err(e)),
            };
            Either::Many(entries(&folder).filter_map(move |entry| {
                let entry = match entry {
                    Ok(entry) => entry,
                    Err(e) => return Some(Err(e)),
                };
                let (id, algorithm) = parse_session(entry.file_name().to_str()?)?;
                plain_file(&entry, |metadata| FoundSession { owner, id, algorithm, metadata })
            }))
        })
    }

    /// The owners' folders on disk.
    pub(crate) fn owners(&self) -> impl Iterator<Item = io::Result<(OwnerKey, PathBuf)>> + use<> {
        entries(&self.uploads).filter_map(|entry| match entry {
            Ok(entry) => {
                let owner = OwnerKey::parse(entry.file_name().to_str()?)?;
                match entry.file_type() {
                    Ok(kind) => kind.is_dir().then(|| Ok((owner, entry.path()))),
                    Err(e) => unless_gone(e).map(Err),
                }
            }
            Err(e) => Some(Err(e)),
        })
    }

    /// The temporary files on disk.
    fn temps(&self) -> impl Iterator<Item = io::Result<PathBuf>> + use<> {
        entries(&self.uploads).filter_map(|entry| match entry {
            Ok(entry) => {
                let path = entry.path();
                if path.extension()? != TEMP_SUFFIX {
                    return None;
                }
                plain_file(&entry, |_| path)
            }
            Err(e) => Some(Err(e)),
        })
    }

    /// Every blob on disk with its size in bytes, one folder at a time. What is not one is passed over.
    pub(crate) fn blobs(&self) -> impl Iterator<Item = io::Result<(Digest, u64)>> + use<> {
        let blobs = self.blobs.clone();
        ALGORITHMS.into_iter().flat_map(|algorithm| (0..=u8::MAX).map(move |fan| (algorithm, fan))).flat_map(
            move |(algorithm, fan)| {
                let folder = blobs.join(algorithm.as_str()).join(format!("{fan:02x}"));
                entries(&folder).filter_map(move |entry| {
                    let entry = match entry {
                        Ok(entry) => entry,
                        Err(e) => return Some(Err(e)),
                    };
                    let digest =
                        Digest::parse(&format!("{algorithm}:{}", entry.file_name().to_str()?)).ok()?;
                    if digest.hash_bytes()[0] != fan {
                        return None;
                    }
                    plain_file(&entry, |metadata| (digest, metadata.len()))
                })
            },
        )
    }
}

fn parse_session(name: &str) -> Option<(Uuid, Algorithm)> {
    let (id_text, algorithm) = name.split_once('.')?;
    let id = Uuid::try_parse(id_text).ok()?;
    // Only the spelling that `Layout::session` makes, or the file would not be found again.
    (id.to_string() == id_text).then_some((id, algorithm.parse().ok()?))
}

/// The entries of a folder; none if there is no folder, one error if it can't be read.
fn entries(folder: &Path) -> impl Iterator<Item = io::Result<fs::DirEntry>> + use<> {
    match fs::read_dir(folder) {
        Ok(entries) => Either::Many(entries),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Either::None,
        Err(e) => Either::One(Err(e)),
    }
}

/// What is made of the entry's metadata, if it is a file: a folder or a link is nothing of ours.
fn plain_file<T>(entry: &fs::DirEntry, make: impl FnOnce(fs::Metadata) -> T) -> Option<io::Result<T>> {
    match entry.metadata() {
        Ok(metadata) => metadata.is_file().then(|| Ok(make(metadata))),
        Err(e) => unless_gone(e).map(Err),
    }
}

/// What was removed while the folder was being read was not there.
fn unless_gone(error: io::Error) -> Option<io::Error> {
    (error.kind() != io::ErrorKind::NotFound).then_some(error)
}

/// No, one or many items, from one expression.
enum Either<T, I> {
    None,
    One(T),
    Many(I),
}

impl<T, I: Iterator<Item = T>> Iterator for Either<T, I> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        match self {
            Either::None => None,
            Either::One(_) => match std::mem::replace(self, Either::None) {
                Either::One(item) => Some(item),
                _ => None,
            },
            Either::Many(items) => items.next(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_owner_makes_one_plain_folder_name() {
        for owner in ["docker-local/library/ubuntu", "../../etc", "", "/", "a\0b", "é".repeat(9999).as_str()]
        {
            let name = OwnerKey::of(owner).to_string();
            assert_eq!(name.len(), 32);
            assert!(name.bytes().all(|b| b.is_ascii_hexdigit()));
            assert_eq!(OwnerKey::parse(&name), Some(OwnerKey::of(owner)));
        }
        // printf %s docker-local/library/ubuntu | sha256sum | cut -c1-32
        assert_eq!(OwnerKey::of("docker-local/library/ubuntu").to_string(), OWNER);
    }

    const OWNER: &str = "983812a52247163d5f921e5203f004c3";

    #[test]
    fn other_names_are_no_sessions() {
        let id = Uuid::now_v7();
        assert_eq!(parse_session(&format!("{id}.sha512")), Some((id, Algorithm::Sha512)));
        for name in [
            format!("{}.sha256", id.simple()),
            format!("{}.sha256", id.to_string().to_uppercase()),
            format!("{id}"),
            format!("{id}.md5"),
            format!("{id}.sha256.bak"),
            "..".into(),
        ] {
            assert_eq!(parse_session(&name), None, "{name}");
        }
        assert_eq!(OwnerKey::parse("+123456789abcdef0123456789abcdef"), None);
    }
}
