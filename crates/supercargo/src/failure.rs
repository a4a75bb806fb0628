//! How a command ends when it does not end well: the message for a person, and the exit code for a script.

use supercargo_registry::OpenError;

use crate::config::ConfigError;

/// Why a command did not succeed. Texts are fit to be shown to a person.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// It was tried and did not work.
    #[error("{0}")]
    Failed(String),
    /// It was done, and what it looked for it found; that has been printed already.
    #[error("problems were found")]
    Finding,
    /// What was asked for can't be done, as the command line or the configuration stands.
    #[error("{0}")]
    Usage(String),
    /// Whoever read stdout has seen enough (`| head`): there is nobody left to print for.
    #[error("stdout was closed")]
    ReaderGone,
    /// Another process has the data folder.
    #[error("{0}")]
    Held(String),
}

impl Failure {
    /// What did not work, and what became of it.
    pub(crate) fn failed(error: impl std::fmt::Display) -> Failure {
        Failure::Failed(error.to_string())
    }

    /// The process's exit code. `supercargo --help` lists them.
    pub(crate) const fn exit_code(&self) -> u8 {
        match self {
            Failure::ReaderGone => 0,
            Failure::Failed(_) | Failure::Finding => 1,
            Failure::Usage(_) => 2,
            Failure::Held(_) => 3,
        }
    }

    /// A word for it, for scripts that read JSON.
    pub(crate) const fn code(&self) -> &'static str {
        match self {
            Failure::Failed(_) => "failed",
            Failure::Finding => "finding",
            Failure::ReaderGone => "reader_gone",
            Failure::Usage(_) => "usage",
            Failure::Held(_) => "held",
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Failure {
        Failure::Usage(error.to_string())
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Failure {
        match error {
            OpenError::Held(_) => Failure::Held(error.to_string()),
            other => Failure::failed(other),
        }
    }
}
