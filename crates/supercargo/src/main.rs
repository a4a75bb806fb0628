//! The `supercargo` binary: the command line, the configuration, the listeners and what holds them together.
//!
//! What lives here: everything that knows of files, variables, flags, sockets and the terminal. What does
//! not: what a registry does, which is the libraries'.

mod accounts;
mod cli;
mod commands;
mod config;
mod failure;
mod http;
mod metrics;
mod output;
mod reached;
mod telemetry;
mod tls;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
