//! `supercargo log`: the record itself.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use supercargo_admin::api::{LOG_PAGE_RECORDS_MAX, LogQuery, RangeParameters};
use supercargo_admin::ops;
use supercargo_eventlog::{Log as _, Record};
use supercargo_model::{RepoKey, RepoName, Tag};

use super::moment::When;
use super::place::{Backend, Place, shown};
use super::progress::{Interrupt, Progress};
use super::{Common, moment, show};
use crate::failure::Failure;
use crate::output;

/// Looks into the log, or moves it.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Lists records, newest first.
    #[command(after_help = "Examples:\n  supercargo log list --name shop/web --tag prod --since 7d\n  \
        supercargo log list --kind TagDeleted --actor ada --server http://127.0.0.1:5000")]
    List(ListArgs),
    /// Shows one record, whole.
    #[command(after_help = "Example:\n  supercargo log show 4711 --data ./data")]
    Show {
        /// The record's seq.
        seq: u64,
        #[command(flatten)]
        place: Place,
    },
    /// Prints records as they are committed, until it is interrupted.
    #[command(
        after_help = "Example:\n  supercargo log follow --server http://127.0.0.1:5000 --json | jq .event"
    )]
    Follow {
        /// The first record [default: the next one].
        #[arg(long, value_name = "SEQ")]
        from: Option<u64>,
        #[command(flatten)]
        place: Place,
    },
    /// Writes records as JSON, one a line, oldest first.
    #[command(after_help = "Example:\n  supercargo log export --data ./data --output log.jsonl")]
    Export {
        /// The first record [default: 0].
        #[arg(long, value_name = "SEQ")]
        from: Option<u64>,
        /// The record before which to end [default: the end of the log].
        #[arg(long, value_name = "SEQ")]
        to: Option<u64>,
        /// The file to write [default: stdout].
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
        #[command(flatten)]
        place: Place,
    },
    /// Fills an empty data folder's log from an export, and folds it. Blobs are not part of an export. Interrupted,
    /// it goes on where it was when it is run again.
    #[command(after_help = "Example:\n  supercargo log import log.jsonl --data ./copy")]
    Import {
        /// The file to read; - is stdin.
        file: PathBuf,
        #[command(flatten)]
        place: Place,
    },
}

/// Which records to list.
#[derive(Debug, clap::Args)]
pub(crate) struct ListArgs {
    /// Only records about this repository.
    #[arg(long, value_name = "KEY")]
    repository: Option<RepoKey>,
    /// Only records about this name.
    #[arg(long)]
    name: Option<RepoName>,
    /// Only records about this tag.
    #[arg(long)]
    tag: Option<Tag>,
    /// Only records of this kind, such as TagSet.
    #[arg(long)]
    kind: Option<String>,
    /// Only records by this actor: system, anonymous, or a user's name.
    #[arg(long)]
    actor: Option<String>,
    /// Only records at or after this moment: 2026-11-20T12:00:00Z, 2026-11-20, or 2h for two hours ago.
    #[arg(long, value_name = "TIME")]
    since: Option<When>,
    /// Only records at or before this moment.
    #[arg(long, value_name = "TIME")]
    until: Option<When>,
    /// Only this record and later ones.
    #[arg(long, value_name = "SEQ")]
    from: Option<u64>,
    /// Only records before this one.
    #[arg(long, value_name = "SEQ")]
    to: Option<u64>,
    /// Oldest first.
    #[arg(long)]
    oldest_first: bool,
    /// At most so many [default: 50; 0 is all].
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    #[command(flatten)]
    place: Place,
}

/// How many records are listed when nobody says.
const LIMIT: usize = 50;

/// # Errors
/// [`Failure`], as its variants say.
pub(crate) fn run(command: &Command, common: &Common) -> Result<(), Failure> {
    match command {
        Command::List(args) => list(args, common),
        Command::Show { seq, place } => {
            let record = match place.open(common)? {
                Backend::Local(local) => ops::log_record(local.registry.log(), *seq)?,
                Backend::Remote(remote) => remote.get(&format!("/log/{seq}"), &())?,
            };
            output::value(common.json, &record, whole)
        }
        Command::Follow { from, place } => follow(*from, place, common),
        Command::Export { from, to, output, place } => {
            let range = RangeParameters { from: *from, to: *to };
            match output {
                None => {
                    let mut stdout = BufWriter::new(std::io::stdout().lock());
                    export(&range, place, common, |line| output::written(writeln!(stdout, "{line}")))?;
                    output::written(stdout.flush())
                }
                Some(path) => {
                    let failed = |e| Failure::Failed(format!("{}: {e}", shown(path)));
                    let mut file = BufWriter::new(File::create(path).map_err(failed)?);
                    export(&range, place, common, |line| writeln!(file, "{line}").map_err(failed))?;
                    file.flush().map_err(failed)
                }
            }
        }
        Command::Import { file, place } => import(file, place, common),
    }
}

fn list(args: &ListArgs, common: &Common) -> Result<(), Failure> {
    let backend = args.place.open(common)?;
    let mut query = LogQuery {
        repository: args.repository.clone(),
        name: args.name.clone(),
        tag: args.tag.clone(),
        kind: args.kind.clone(),
        actor: args.actor.clone(),
        since: args.since.map(|When(at)| at),
        until: args.until.map(|When(at)| at),
        from: args.from,
        to: args.to,
        oldest_first: args.oldest_first,
        limit: None,
    };
    let mut left = match args.limit.unwrap_or(LIMIT) {
        0 => usize::MAX,
        limit => limit,
    };
    loop {
        query.limit = Some(left.min(LOG_PAGE_RECORDS_MAX));
        let page = match &backend {
            Backend::Local(local) => ops::log_page(local.registry.log(), &query)?,
            Backend::Remote(remote) => remote.get("/log", &query)?,
        };
        left -= page.records.len().min(left);
        for record in &page.records {
            output::value(common.json, record, show::record)?;
        }
        match page.next {
            Some(next) if left > 0 && query.oldest_first => query.from = Some(next),
            Some(next) if left > 0 => query.to = Some(next),
            _ => return Ok(()),
        }
    }
}

/// A record with everything there is.
fn whole(record: &Record) -> String {
    let origin = &record.origin;
    let api = serde_json::to_value(origin.api).ok();
    let mut rows = vec![
        ("seq", record.seq.to_string()),
        ("at", moment::show(record.at)),
        ("id", record.id.to_string()),
        ("actor", record.actor.to_string()),
        ("api", api.and_then(|api| api.as_str().map(str::to_owned)).unwrap_or_default()),
    ];
    rows.extend(origin.remote.map(|remote| ("remote", remote.to_string())));
    rows.extend(origin.user_agent.clone().map(|agent| ("user agent", agent)));
    rows.extend(origin.request_id.clone().map(|id| ("request id", id)));
    rows.push(("kind", record.event.kind().to_owned()));
    let event = serde_json::to_value(&record.event).ok();
    let fields = event.as_ref().and_then(|event| event.as_object()?.values().next()?.as_object());
    for (name, value) in fields.into_iter().flatten() {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        rows.push((name, text));
    }
    let rows: Vec<Vec<String>> = rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect();
    show::table(&rows)
}

#[expect(clippy::print_stderr, reason = "a word to whoever waits for more")]
fn follow(from: Option<u64>, place: &Place, common: &Common) -> Result<(), Failure> {
    match place.open(common)? {
        Backend::Remote(remote) => {
            for line in remote.lines("/log/follow", &RangeParameters { from, to: None })?.lines() {
                let line = line.map_err(ended)?;
                if common.json {
                    output::line(line)?;
                } else {
                    let record: Record = serde_json::from_str(&line).map_err(Failure::failed)?;
                    output::line(show::record(&record))?;
                }
            }
            Ok(())
        }
        Backend::Local(local) => {
            let log = local.registry.log();
            let size = log.size().map_err(Failure::failed)?;
            for record in log.read(from.unwrap_or(size)..size).map_err(Failure::failed)? {
                output::value(common.json, &record.map_err(Failure::failed)?, show::record)?;
            }
            eprintln!("no server has this data folder, so nothing more will come");
            Ok(())
        }
    }
}

/// Gives each record of a range as JSON to `write`.
fn export(
    range: &RangeParameters,
    place: &Place,
    common: &Common,
    mut write: impl FnMut(&str) -> Result<(), Failure>,
) -> Result<(), Failure> {
    match place.open(common)? {
        Backend::Remote(remote) => {
            for line in remote.lines("/log/export", range)?.lines() {
                write(&line.map_err(ended)?)?;
            }
        }
        Backend::Local(local) => {
            let to = range.to.unwrap_or(u64::MAX);
            for record in local.registry.log().read(range.from.unwrap_or(0)..to).map_err(Failure::failed)? {
                write(&serde_json::to_string(&record.map_err(Failure::failed)?).map_err(Failure::failed)?)?;
            }
        }
    }
    Ok(())
}

/// The server closed the stream before its end.
fn ended(error: impl std::fmt::Display) -> Failure {
    Failure::Failed(format!("the server ended it: {error}"))
}

fn import(file: &Path, place: &Place, common: &Common) -> Result<(), Failure> {
    let lines: Box<dyn BufRead> = if file.as_os_str() == "-" {
        Box::new(std::io::stdin().lock())
    } else {
        let file = File::open(file).map_err(|e| Failure::Failed(format!("{}: {e}", shown(file))))?;
        Box::new(BufReader::new(file))
    };
    let folder = place.folder(common, "log import", true)?;
    let interrupt = Interrupt::watch();
    let mut progress = Progress::start();
    let imported = folder.import(lines, |at| {
        progress.replaying(at);
        interrupt.flow()
    });
    drop(progress);
    let records = imported.map_err(Failure::failed)?;
    let report = serde_json::json!({ "records": records });
    output::value(common.json, &report, |_| format!("imported {}", show::count(records, "record")))
}
