//! `supercargo verify`: proves that the tables are what the log says, and that every blob is there.

use supercargo_admin::api::VerifyParameters;
use supercargo_registry::{Error, VerifyReport, VerifyStep};

use super::place::Place;
use super::progress::{Interrupt, Progress};
use super::{Common, show};
use crate::failure::Failure;
use crate::output;

/// Verifies: the log has no holes and decodes, every table equals its fold, every blob is there.
///
/// The exit code is 0 when all is well and 1 when something is not, and then it says what.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  supercargo verify --data ./data --deep")]
pub(crate) struct Args {
    /// Also reads every blob and compares it with its digest.
    #[arg(long)]
    deep: bool,

    #[command(flatten)]
    place: Place,
}

/// # Errors
/// [`Failure::Finding`] where something is wrong.
pub(crate) fn run(args: &Args, common: &Common) -> Result<(), Failure> {
    let report: VerifyReport = match args.place.remote()? {
        Some(remote) => {
            let _progress = Progress::waiting("verifying");
            remote.post("/verify", &VerifyParameters { deep: args.deep })?
        }
        None => local(args, common)?,
    };
    output::value(common.json, &report, text)?;
    if report.is_clean() { Ok(()) } else { Err(Failure::Finding) }
}

fn local(args: &Args, common: &Common) -> Result<VerifyReport, Failure> {
    let folder = args.place.folder(common, "verify", false)?;
    let interrupt = Interrupt::watch();
    let mut progress = Progress::start();
    let report = folder.verify(args.deep, |at| {
        let what = match at.step {
            VerifyStep::Folding => "folding",
            VerifyStep::Blobs => "blobs",
        };
        progress.at(what, at.done, Some(at.of));
        interrupt.flow()
    });
    report.map_err(|e| match e {
        Error::Unavailable => {
            Failure::Failed("interrupted: nothing was changed, and another begins anew".to_owned())
        }
        other => other.into(),
    })
}

fn text(report: &VerifyReport) -> String {
    let looked = format!(
        "{}, {} ({}{})",
        show::count(report.records, "record"),
        show::count(report.blobs, "blob"),
        show::size(report.bytes),
        if report.deep { ", read and hashed" } else { "" }
    );
    if report.is_clean() {
        return format!("clean: {looked}");
    }
    let problems: Vec<String> =
        report.problems.iter().map(|problem| format!("{}: {}", problem.subject, problem.message)).collect();
    format!("{}\n{}: {looked}", problems.join("\n"), show::count(report.problems.len() as u64, "problem"))
}
