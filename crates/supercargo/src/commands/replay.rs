//! `supercargo replay`: the tables from the log, here, or as they once were in another folder.

use std::path::PathBuf;

use supercargo_registry::Replayed;

use super::moment::Point;
use super::place::{Place, shown};
use super::progress::{Interrupt, Progress};
use super::{Common, show};
use crate::failure::Failure;
use crate::output;

/// Folds the log again.
///
/// Without --into: rebuilds the tables of a data folder. Interrupted, it leaves the old ones in use and goes on
/// where it was when it is run again. With --into: makes another data folder as this one was at a record or
/// moment, with the blobs that are still there; interrupted, it goes on likewise.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  supercargo replay --data ./data\n  \
    supercargo replay --data ./data --until 2026-11-20T12:00:00Z --into ./then")]
pub(crate) struct Args {
    /// The last record, by its seq or by a moment (2026-11-20T12:00:00Z, 2026-11-20, 2h for two hours ago).
    #[arg(long, value_name = "SEQ|TIME", requires = "into")]
    until: Option<Point>,

    /// The data folder to make.
    #[arg(long, value_name = "DIR")]
    into: Option<PathBuf>,

    #[command(flatten)]
    place: Place,
}

/// # Errors
/// [`Failure`], as its variants say.
pub(crate) fn run(args: &Args, common: &Common) -> Result<(), Failure> {
    let folder = args.place.folder(common, "replay", false)?;
    let interrupt = Interrupt::watch();
    let mut progress = Progress::start();
    let watch = |at| {
        progress.replaying(at);
        interrupt.flow()
    };
    let replayed = match &args.into {
        None => folder.replay(watch),
        Some(target) => {
            let store = args.place.config(common)?.options().store;
            folder.replay_into(target, args.until.map(|Point(until)| until), store, watch)
        }
    };
    drop(progress);
    let replayed = replayed.map_err(Failure::failed)?;
    output::value(common.json, &replayed, |replayed: &Replayed| {
        let records = show::count(replayed.records, "record");
        match &args.into {
            None => format!("rebuilt the tables from {records}"),
            Some(target) => format!(
                "made {} from {records}; {} there, {} collected since",
                shown(target),
                show::count(replayed.blobs, "blob"),
                replayed.blobs_missing
            ),
        }
    })
}
