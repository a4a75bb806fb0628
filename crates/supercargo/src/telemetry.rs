//! The server's log: lines on stderr, for people or as JSON.

use std::io::IsTerminal;

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt;
use tracing_subscriber::prelude::*;

use crate::config::{Log, LogFormat};

/// Crates that tell of more than an operator wants to know, as log lines name them, and what is heard of them
/// unless the configuration names them, too: the scheduler tells of its own start at info, and HTTP/2 warns
/// of every client that asks for too much.
const QUIETER: [(&str, LevelFilter); 2] =
    [("tokio_cron_scheduler", LevelFilter::WARN), ("h2", LevelFilter::ERROR)];

/// Begins to log as configured. Levels were checked with the configuration; one that is none logs nothing.
pub(crate) fn start(log: &Log) {
    let mut filter: Targets = log.level.parse().unwrap_or_default();
    for (target, level) in QUIETER {
        let named = log.level.split(',').any(|directive| directive.split('=').next() == Some(target));
        if !named {
            filter = filter.with_target(target, level);
        }
    }
    let lines = fmt::layer().with_writer(std::io::stderr).with_target(true);
    let registry = tracing_subscriber::registry().with(filter);
    // Fails only where a subscriber is set already, and then that one stands.
    let _ = match log.format {
        LogFormat::Json => registry.with(lines.json().flatten_event(true)).try_init(),
        LogFormat::Pretty => registry.with(lines.with_ansi(true)).try_init(),
        LogFormat::Auto => registry.with(lines.with_ansi(std::io::stderr().is_terminal())).try_init(),
    };
}
