//! Why a measurement could not be taken. A figure that falls short is not an error: it is a verdict.

use std::io;
use std::path::{Path, PathBuf};

/// A measurement's outcome.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a measurement could not be taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or folder can't be used.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A program can't be run, or it failed.
    #[error("{program}: {what}")]
    Program {
        /// Which.
        program: String,
        /// What happened.
        what: String,
    },
    /// The connection to a server failed.
    #[error("{method} {path}: {what}")]
    Connection {
        /// The request's method; `CONNECT` where none was sent yet.
        method: String,
        /// The request's path.
        path: String,
        /// What happened.
        what: String,
    },
    /// A server answered something else than the scenario is about.
    #[error("{method} {path}: status {status}, not {expected}")]
    Status {
        /// The request's method.
        method: String,
        /// The request's path.
        path: String,
        /// What came.
        status: u16,
        /// What should have come.
        expected: u16,
    },
    /// A server answered with other content than was pushed: its speed does not count.
    #[error("{0}")]
    Wrong(String),
    /// The log or the tables failed.
    #[error("the ledger: {0}")]
    Ledger(String),
}

impl Error {
    /// Says which file it was.
    pub fn file(path: &Path) -> impl FnOnce(io::Error) -> Error {
        move |source| Error::File { path: path.to_owned(), source }
    }

    /// Says what the log, the tables or the registry over them said.
    pub fn ledger(what: impl std::fmt::Display) -> Error {
        Error::Ledger(what.to_string())
    }

    /// Says which program it was.
    pub fn program(program: &str, what: impl std::fmt::Display) -> Error {
        Error::Program { program: program.to_owned(), what: what.to_string() }
    }
}
