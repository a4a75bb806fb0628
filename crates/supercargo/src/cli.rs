//! The command line: which commands there are, and what all of them share.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::commands::{self, Common};
use crate::failure::Failure;

const EXIT_CODES: &str = "\
Exit codes:
  0  it is done
  1  it failed, or something wrong was found (verify, scrub, user import)
  2  the command line or the configuration is wrong
  3  another process has the data folder

Example:
  supercargo serve --data ./data
  docker push localhost:5000/hello";

/// The heading of what every command takes.
const EVERYWHERE: &str = "Everywhere";

/// A container registry whose record is the truth.
///
/// Every push, tag and delete is an event in an append-only log, and everything a client sees is folded
/// from it.
#[derive(Debug, Parser)]
#[command(name = "supercargo", version, after_help = EXIT_CODES, propagate_version = true)]
struct Cli {
    /// Print JSON instead of text.
    #[arg(long, global = true, help_heading = EVERYWHERE)]
    json: bool,

    /// The configuration file.
    #[arg(long, global = true, value_name = "FILE", env = "SUPERCARGO_CONFIG", help_heading = EVERYWHERE)]
    config: Option<PathBuf>,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(commands::serve::Args),
    #[command(subcommand)]
    Log(commands::log::Command),
    Replay(commands::replay::Args),
    Verify(commands::verify::Args),
    Gc(commands::maintain::GcArgs),
    Prune(commands::maintain::PruneArgs),
    Sweep(commands::maintain::SweepArgs),
    Scrub(commands::maintain::ScrubArgs),
    #[command(subcommand)]
    Repo(commands::repo::Command),
    #[command(subcommand)]
    Name(commands::repo::NameCommand),
    #[command(subcommand)]
    Tag(commands::tag::Command),
    Inspect(commands::tag::InspectArgs),
    #[command(subcommand)]
    Tree(commands::tree::Command),
    #[command(subcommand)]
    Properties(commands::tree::PropertiesCommand),
    Search(commands::search::Args),
    Promote(commands::promote::PromoteArgs),
    Migrate(commands::promote::MigrateArgs),
    #[command(subcommand)]
    User(commands::account::UserCommand),
    #[command(subcommand)]
    Group(commands::account::GroupCommand),
    #[command(subcommand)]
    Token(commands::account::TokenCommand),
    #[command(subcommand)]
    Permission(commands::account::PermissionCommand),
    Setup(commands::setup::Args),
    ProxyConfig(commands::proxy_config::Args),
    #[command(subcommand)]
    Config(commands::config::Command),
}

/// Parses the command line and runs what it asks for.
pub(crate) fn run() -> ExitCode {
    let cli = Cli::parse();
    let common = Common { json: cli.json, config: cli.config };
    let outcome = match &cli.command {
        Command::Serve(args) => commands::serve::run(args, &common),
        Command::Log(command) => commands::log::run(command, &common),
        Command::Replay(args) => commands::replay::run(args, &common),
        Command::Verify(args) => commands::verify::run(args, &common),
        Command::Gc(args) => commands::maintain::gc(args, &common),
        Command::Prune(args) => commands::maintain::prune(args, &common),
        Command::Sweep(args) => commands::maintain::sweep(args, &common),
        Command::Scrub(args) => commands::maintain::scrub(args, &common),
        Command::Repo(command) => commands::repo::run(command, &common),
        Command::Name(command) => commands::repo::run_name(command, &common),
        Command::Tag(command) => commands::tag::run(command, &common),
        Command::Inspect(args) => commands::tag::inspect(args, &common),
        Command::Tree(command) => commands::tree::run(command, &common),
        Command::Properties(command) => commands::tree::run_properties(command, &common),
        Command::Search(args) => commands::search::run(args, &common),
        Command::Promote(args) => commands::promote::promote(args, &common),
        Command::Migrate(args) => commands::promote::migrate(args, &common),
        Command::User(command) => commands::account::run_user(command, &common),
        Command::Group(command) => commands::account::run_group(command, &common),
        Command::Token(command) => commands::account::run_token(command, &common),
        Command::Permission(command) => commands::account::run_permission(command, &common),
        Command::Setup(args) => commands::setup::run(args, &common),
        Command::ProxyConfig(args) => commands::proxy_config::run(args, &common),
        Command::Config(command) => commands::config::run(command, &common),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            report(&failure, cli.json);
            ExitCode::from(failure.exit_code())
        }
    }
}

#[expect(clippy::print_stderr, reason = "the one place that says why a command failed")]
fn report(failure: &Failure, json: bool) {
    if matches!(failure, Failure::ReaderGone) {
        return;
    }
    if json {
        let error = serde_json::json!({ "code": failure.code(), "message": failure.to_string() });
        eprintln!("{}", serde_json::json!({ "error": error }));
    } else if !matches!(failure, Failure::Finding) {
        eprintln!("error: {failure}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    /// Every command shows how it is used, and is in the documentation.
    #[test]
    fn every_command_has_an_example_and_a_place_in_the_documentation() {
        const DOCUMENTATION: &str = include_str!("../../../docs/cli.md");
        fn walk(command: &clap::Command, path: &str) {
            let path = format!("{path} {}", command.get_name()).trim_start().to_owned();
            let mut commands = command.get_subcommands().filter(|sub| sub.get_name() != "help").peekable();
            if commands.peek().is_none() {
                let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
                assert!(help.contains(&path), "{path} --help has no example");
                assert!(DOCUMENTATION.contains(&format!("`{path}")), "docs/cli.md does not tell of {path}");
            }
            commands.for_each(|sub| walk(sub, &path));
        }
        walk(&Cli::command(), "");
    }
}
