//! The server's log: lines on stderr, for people or as JSON.

use std::io::IsTerminal;

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt;
use tracing_subscriber::prelude::*;

use crate::config::{Log, LogFormat};

/// The scheduler's crate, as log lines name it.
const SCHEDULER: &str = "tokio_cron_scheduler";

/// Begins to log as configured. Levels were checked with the configuration; one that is none logs nothing.
pub(crate) fn start(log: &Log) {
    let mut filter: Targets = log.level.parse().unwrap_or_default();
    if !log.level.contains(SCHEDULER) {
        // It tells of its own start at info, which says nothing to an operator.
        filter = filter.with_target(SCHEDULER, LevelFilter::WARN);
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
