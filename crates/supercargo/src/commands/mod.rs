//! One module per command: its arguments, and what it does.

pub(crate) mod account;
pub(crate) mod config;
pub(crate) mod log;
pub(crate) mod maintain;
mod moment;
mod place;
mod progress;
pub(crate) mod promote;
pub(crate) mod proxy_config;
pub(crate) mod replay;
pub(crate) mod repo;
pub(crate) mod search;
pub(crate) mod serve;
pub(crate) mod setup;
mod show;
pub(crate) mod tag;
pub(crate) mod tree;
pub(crate) mod verify;

use std::path::PathBuf;

/// What every command is told.
#[derive(Debug)]
pub(crate) struct Common {
    /// Whether to print JSON (`--json`).
    pub(crate) json: bool,
    /// The configuration file (`--config`).
    pub(crate) config: Option<PathBuf>,
}
