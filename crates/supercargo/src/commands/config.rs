//! `supercargo config`: looking at the configuration without starting anything.

use std::path::PathBuf;

use super::Common;
use crate::config::{Overrides, load};
use crate::failure::Failure;
use crate::output;

/// Looks at the configuration.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Says whether a configuration can be used, and if not, which key is wrong and why.
    #[command(after_help = "Example:\n  supercargo config check /etc/supercargo/supercargo.toml")]
    Check {
        /// The file; without it, --config's.
        file: Option<PathBuf>,
    },
    /// Prints every value with where it came from: default, file, variable or flag.
    #[command(after_help = "Example:\n  SUPERCARGO_GC__LEASE=2h supercargo config show")]
    Show,
}

/// # Errors
/// [`Failure::Usage`] where the configuration is wrong.
pub(crate) fn run(command: &Command, common: &Common) -> Result<(), Failure> {
    match command {
        Command::Check { file } => {
            let file = file.as_ref().or(common.config.as_ref());
            load(file.map(PathBuf::as_path), &Overrides::default())?;
            let what = file.map_or_else(|| "the configuration".to_owned(), |file| file.display().to_string());
            output::value(common.json, &serde_json::json!({ "valid": true }), |_| format!("{what} is fine"))
        }
        Command::Show => {
            let loaded = load(common.config.as_deref(), &Overrides::default())?;
            let entries = loaded.entries();
            if common.json {
                return output::json(&entries);
            }
            entries.iter().try_for_each(output::line)
        }
    }
}
