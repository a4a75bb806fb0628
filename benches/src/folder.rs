//! Folders on the measured disk, each for one server or one measurement.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::settings::Settings;
use crate::{Error, Result};

/// Size from which a file is emptied when its folder is done with, in bytes.
const LARGE_BYTES: u64 = 1 << 20;

/// A folder. When dropped, its large files are emptied; that it goes altogether is up to whoever removes
/// [`Settings::work`] when everything is measured. ext4 does not use an inode again for minutes after it was
/// freed, and looks past each such inode whenever it makes a file or folder: removing one server's folder
/// would slow down the next server.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// Makes a folder.
    ///
    /// # Errors
    /// Where it can't be made.
    pub fn new(settings: &Settings, prefix: &str) -> Result<Folder> {
        let made = tempfile::Builder::new().prefix(prefix).tempdir_in(&settings.work);
        made.map(|folder| Folder(folder.keep())).map_err(Error::file(&settings.work))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Only room on the disk is lost where this fails, and only for a while.
        let _ = empty_large_files(&self.0);
    }
}

fn empty_large_files(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        if metadata.is_dir() {
            empty_large_files(&entry.path())?;
        } else if metadata.is_file() && metadata.len() >= LARGE_BYTES {
            File::create(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::settings::Programs;

    #[test]
    fn what_is_large_is_emptied_and_all_else_stays() {
        let work = tempfile::tempdir().unwrap();
        let program = PathBuf::from("none");
        let programs = Programs {
            supercargo: program.clone(),
            distribution: program.clone(),
            nginx: program.clone(),
            wrk: program,
        };
        let folder = Folder::new(&Settings::smoke(work.path().to_owned(), programs), "test-").unwrap();
        let (large, small) = (folder.path().join("in/large"), folder.path().join("in/small"));
        fs::create_dir(folder.path().join("in")).unwrap();
        fs::write(&large, vec![1; 1 << 20]).unwrap();
        fs::write(&small, [1]).unwrap();
        drop(folder);
        assert_eq!(fs::metadata(large).unwrap().len(), 0);
        assert_eq!(fs::read(small).unwrap(), [1]);
    }
}
