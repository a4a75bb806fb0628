//! `supercargo gc`, `prune`, `sweep` and `scrub`: maintenance that a server does by itself, on demand.

use supercargo_admin::api::{GcParameters, GcReport, PruneParameters, PruneReport, ScrubParameters};
use supercargo_admin::ops;
use supercargo_model::Digest;
use supercargo_registry::{ScrubProgress, Scrubbed, Swept};

use super::place::{Backend, Place, caller};
use super::progress::Progress;
use super::{Common, show};
use crate::config::values;
use crate::failure::Failure;
use crate::output;

/// Collects what nothing refers to and nobody relies on, and removes what a crash left behind.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  supercargo gc --dry-run --server http://127.0.0.1:5000\n  supercargo gc --data ./data"
)]
pub(crate) struct GcArgs {
    /// Only says what would go, how many bytes that is, and the plan's name.
    #[arg(long)]
    dry_run: bool,

    /// A plan's name, from a dry run: exactly that is done, or nothing.
    #[arg(long, value_name = "NAME", conflicts_with = "dry_run")]
    plan: Option<String>,

    #[command(flatten)]
    place: Place,
}

/// Removes empty folders from the trees of repositories.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  supercargo prune --dry-run --data ./data")]
pub(crate) struct PruneArgs {
    /// Only says which folders would go.
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    place: Place,
}

/// Removes stored files that no record mentions, and upload sessions that expired.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  supercargo sweep --data ./data")]
pub(crate) struct SweepArgs {
    #[command(flatten)]
    place: Place,
}

/// Reads every stored blob and compares it with its digest. What is damaged is recorded, and not served any
/// more until it is pushed again.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  supercargo scrub --rate 50MiB --server http://127.0.0.1:5000")]
pub(crate) struct ScrubArgs {
    /// How much is read per second at most, such as 50MiB [default: as fast as it goes].
    #[arg(long, value_name = "SIZE", value_parser = values::parse_size)]
    rate: Option<u64>,

    /// The blob after which to begin, where another was interrupted.
    #[arg(long, value_name = "DIGEST")]
    after: Option<Digest>,

    #[command(flatten)]
    place: Place,
}

/// # Errors
/// [`Failure`], as its variants say.
pub(crate) fn gc(args: &GcArgs, common: &Common) -> Result<(), Failure> {
    let parameters = GcParameters { dry_run: args.dry_run, plan: args.plan.clone() };
    let report = match args.place.open(common)? {
        Backend::Remote(remote) => {
            let _progress = Progress::waiting("collecting");
            remote.post("/gc", &parameters)?
        }
        Backend::Local(local) if args.dry_run => ops::plan_gc(&local.registry)?,
        Backend::Local(local) => {
            let mut progress = Progress::start();
            let watch = |so_far: &GcReport| progress.at("collected", so_far.contents + so_far.blobs, None);
            local.run(ops::gc(&local.registry, &caller(), &parameters, watch))?
        }
    };
    output::value(common.json, &report, gc_text)
}

fn gc_text(report: &GcReport) -> String {
    let mut lines = Vec::new();
    for contents in &report.listed_contents {
        for digest in &contents.digests {
            lines.push(format!("{}/{}@{digest}", contents.repository, contents.name));
        }
    }
    for blob in &report.listed_blobs {
        lines.push(format!("{}  {}", blob.digest, show::size(blob.size)));
    }
    let listed = lines.len() as u64;
    if report.contents + report.blobs > listed {
        lines.push(format!("… and {} more", report.contents + report.blobs - listed));
    }
    lines.push(format!(
        "{} {} from their names and the bytes of {}: {}",
        if report.dry_run { "would remove" } else { "removed" },
        show::count(report.contents, "content"),
        show::count(report.blobs, "blob"),
        show::size(report.bytes),
    ));
    if let Some(plan) = &report.plan {
        lines.push(format!("to do exactly this: --plan {plan}"));
    }
    if !report.dry_run && (report.swept.files > 0 || report.swept.sessions > 0) {
        lines.push(swept_text(&report.swept));
    }
    lines.join("\n")
}

/// # Errors
/// [`Failure`], as its variants say.
pub(crate) fn prune(args: &PruneArgs, common: &Common) -> Result<(), Failure> {
    let report = match args.place.open(common)? {
        Backend::Remote(remote) => remote.post("/prune", &PruneParameters { dry_run: args.dry_run })?,
        Backend::Local(local) if args.dry_run => ops::plan_prune(&local.registry)?,
        Backend::Local(local) => local.run(ops::prune(&local.registry, &caller()))?,
    };
    output::value(common.json, &report, |report: &PruneReport| {
        let mut lines: Vec<String> =
            report.folders.iter().map(|folder| format!("{}/{}", folder.repository, folder.path)).collect();
        let done = if report.dry_run { "would remove" } else { "removed" };
        lines.push(format!("{done} {}", show::count(report.folders.len() as u64, "empty folder")));
        lines.join("\n")
    })
}

/// # Errors
/// [`Failure`], as its variants say.
pub(crate) fn sweep(args: &SweepArgs, common: &Common) -> Result<(), Failure> {
    let swept = match args.place.open(common)? {
        Backend::Remote(remote) => {
            let _progress = Progress::waiting("sweeping");
            remote.post("/sweep", &())?
        }
        Backend::Local(local) => local.run(local.registry.sweep())?,
    };
    output::value(common.json, &swept, swept_text)
}

fn swept_text(swept: &Swept) -> String {
    format!(
        "removed {} that no record mentions ({}) and {} that expired ({})",
        show::count(swept.files, "file"),
        show::size(swept.file_bytes),
        show::count(swept.sessions, "upload session"),
        show::size(swept.session_bytes)
    )
}

/// # Errors
/// [`Failure::Finding`] where something is damaged.
pub(crate) fn scrub(args: &ScrubArgs, common: &Common) -> Result<(), Failure> {
    let parameters = ScrubParameters { rate: args.rate, after: args.after };
    let scrubbed: Scrubbed = match args.place.open(common)? {
        Backend::Remote(remote) => {
            let _progress = Progress::waiting("scrubbing");
            remote.post("/scrub", &parameters)?
        }
        Backend::Local(local) => {
            let mut progress = Progress::start();
            let mut last = args.after;
            let watch = |at: ScrubProgress| {
                last = Some(at.last);
                progress.at("scrubbing", at.done, Some(at.of));
            };
            let caller = caller();
            let scrubbed = local.registry.scrub(&caller, (&parameters).into(), watch);
            match local.run_until_interrupted(scrubbed)? {
                Some(scrubbed) => scrubbed,
                None => {
                    let go_on = last.map_or_else(String::new, |last| format!(" with --after {last}"));
                    return Err(Failure::Failed(format!(
                        "interrupted: damage that was found is recorded; go on{go_on}"
                    )));
                }
            }
        }
    };
    output::value(common.json, &scrubbed, |scrubbed: &Scrubbed| {
        let mut lines: Vec<String> =
            scrubbed.rotten.iter().map(|(digest, rot)| format!("{digest}: {rot:?}")).collect();
        lines.push(format!(
            "read {} ({}); {} damaged",
            show::count(scrubbed.blobs, "blob"),
            show::size(scrubbed.bytes),
            scrubbed.rotten.len()
        ));
        lines.join("\n")
    })?;
    if scrubbed.rotten.is_empty() { Ok(()) } else { Err(Failure::Finding) }
}
