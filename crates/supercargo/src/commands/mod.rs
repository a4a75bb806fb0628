//! One module per command: its arguments, and what it does.

pub(crate) mod config;
pub(crate) mod serve;

use std::path::PathBuf;

/// What every command is told.
#[derive(Debug)]
pub(crate) struct Common {
    /// Whether to print JSON (`--json`).
    pub(crate) json: bool,
    /// The configuration file (`--config`).
    pub(crate) config: Option<PathBuf>,
}
