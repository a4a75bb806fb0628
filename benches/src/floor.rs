//! What the hardware allows, asked with as little program as there can be: the least that a registry that
//! keeps its promises has to do.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::folder::Folder;
use crate::peer::find;
use crate::process::run;
use crate::settings::Settings;
use crate::{Error, Result};

/// Size of a record of the append floor, in bytes: what an event takes in the log, about.
const RECORD_BYTES: usize = 200;

/// Large bytes in a file, to be copied with a sync and to be hashed, one after the other.
#[derive(Debug)]
pub struct LargePush {
    home: Folder,
    source: PathBuf,
    bytes: u64,
}

impl LargePush {
    /// Puts the bytes down; `None` where `dd` or `openssl` is not there.
    ///
    /// # Errors
    /// Where they can't be written.
    pub fn prepare(settings: &Settings, bytes: &Bytes) -> Result<Option<LargePush>> {
        if find(Path::new("dd")).is_none() || find(Path::new("openssl")).is_none() {
            return Ok(None);
        }
        let home = Folder::new(settings, "floor-")?;
        let source = home.path().join("source");
        std::fs::write(&source, bytes).map_err(Error::file(&source))?;
        Ok(Some(LargePush { home, source, bytes: bytes.len() as u64 }))
    }

    /// How long storing and hashing take together: `dd conv=fdatasync`, then `openssl dgst -sha256`.
    ///
    /// # Errors
    /// Where one of them fails.
    pub fn measure(&self) -> Result<Duration> {
        let copy = self.home.path().join("copy");
        // What is pushed comes from memory, so what is copied must too.
        File::open(&self.source)
            .and_then(|mut source| std::io::copy(&mut source, &mut std::io::sink()))
            .map_err(Error::file(&self.source))?;
        let started = Instant::now();
        let (source, target) = (format!("if={}", self.source.display()), format!("of={}", copy.display()));
        run(Command::new("dd").args([&source, &target, "bs=1M", "conv=fdatasync", "status=none"]))?;
        run(Command::new("openssl").args(["dgst", "-sha256"]).arg(&copy))?;
        let elapsed = started.elapsed();
        std::fs::remove_file(&copy).map_err(Error::file(&copy))?;
        Ok(elapsed)
    }

    /// How many bytes are stored and hashed.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// How many records per second one writer appends to a plain file, each with an fdatasync of its own.
///
/// # Errors
/// Where the file can't be written.
pub fn appends_per_second(settings: &Settings) -> Result<f64> {
    let home = Folder::new(settings, "floor-")?;
    let path = home.path().join("log");
    let append = || {
        let mut file = File::create(&path)?;
        let record = [0x5c; RECORD_BYTES];
        let started = Instant::now();
        let mut appended = 0_u64;
        while started.elapsed() < settings.duration {
            file.write_all(&record)?;
            file.sync_data()?;
            appended += 1;
        }
        Ok(appended as f64 / started.elapsed().as_secs_f64())
    };
    append().map_err(Error::file(&path))
}
