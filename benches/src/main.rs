//! The `bench` program: what is measured, how often and with what, from the command line; the report to the
//! terminal and to a file.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum as _};
use supercargo_benches::report::{Failure, Judged, Machine, Report, Row, Verdict, table};
use supercargo_benches::scenario::Scenario;
use supercargo_benches::settings::{Programs, Settings};
use supercargo_benches::{Error, Result};

/// Measures Supercargo beside its peers and beside what the hardware allows, in the same minutes.
///
/// Ends with 0 where everything came to what is expected of it, 1 where something fell short or was not
/// measured, 2 where a measurement failed. With --smoke nothing falls short.
#[derive(Debug, Parser)]
#[command(name = "bench")]
struct Args {
    /// What is measured [default: everything].
    #[arg(value_enum)]
    scenarios: Vec<Scenario>,

    /// Tiny sizes and one round: shows that everything runs, and measures nothing.
    #[arg(long)]
    smoke: bool,

    /// How often each side is measured [default: 3].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    rounds: Option<u16>,

    /// How long a side is measured in a round, where that goes by time [default: 4].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    seconds: Option<u16>,

    /// Size of a large blob [default: 512].
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u16).range(1..))]
    large_mib: Option<u16>,

    /// The program under measurement [default: the one beside this program].
    #[arg(long, value_name = "FILE")]
    supercargo: Option<PathBuf>,

    /// Where servers keep their data: on the disk that is to be measured. What is put there is removed.
    #[arg(long, value_name = "DIR", default_value = "target/bench")]
    work: PathBuf,

    /// Where the figures go.
    #[arg(long, value_name = "FILE", default_value = "benches/results/latest.json")]
    json: PathBuf,
}

fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args) {
        Ok(code) => code,
        Err(error) => {
            say(&format!("bench: {error}"));
            ExitCode::from(2)
        }
    }
}

fn run(args: &Args) -> Result<ExitCode> {
    std::fs::create_dir_all(&args.work).map_err(Error::file(&args.work))?;
    // Removed at the end, and not before: see `Folder`.
    let work = tempfile::tempdir_in(&args.work).map_err(Error::file(&args.work))?;
    let settings = settings(args, work.path())?;
    // One thread for all clients: the other processors are the server's.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Error::program("bench", e))?;
    let measured = runtime.block_on(async {
        tokio::select! {
            report = measure(args, &settings) => Some(report),
            // Servers are ended and their folders removed as what holds them is dropped.
            _ = tokio::signal::ctrl_c() => None,
        }
    });
    let Some(report) = measured else { return Err(Error::program("bench", "was interrupted")) };
    let mut out = std::io::stdout().lock();
    write!(out, "\n{}", table(&report.rows)).map_err(Error::file(Path::new("stdout")))?;
    write_json(&args.json, &report)?;
    say(&format!("{:.0} s; the figures are in {}", report.seconds, args.json.display()));
    for Failure { scenario, error } in &report.failures {
        say(&format!("{scenario} failed: {error}"));
    }
    let any = |verdict| report.rows.iter().any(|row| row.verdict == verdict);
    Ok(if !report.failures.is_empty() {
        ExitCode::from(2)
    } else if any(Verdict::NotMeasured) || any(Verdict::Short) {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

async fn measure(args: &Args, settings: &Settings) -> Report {
    let scenarios = if args.scenarios.is_empty() { Scenario::value_variants() } else { &args.scenarios };
    let mut report = Report {
        began: jiff::Timestamp::now(),
        seconds: 0.0,
        smoke: args.smoke,
        rounds: settings.rounds,
        large_bytes: settings.large_bytes,
        machine: Machine::look(settings),
        rows: Vec::new(),
        failures: Vec::new(),
    };
    let start = Instant::now();
    for scenario in scenarios {
        say(&format!("{}…", scenario.name()));
        match scenario.run(settings).await {
            Ok(rows) => report.rows.extend(rows.into_iter().map(|row| judge(row, args.smoke))),
            Err(error) => {
                report.failures.push(Failure { scenario: scenario.name(), error: error.to_string() });
            }
        }
    }
    report.seconds = start.elapsed().as_secs_f64();
    report
}

/// What a smoke run measures is neither enough nor too little.
fn judge(row: Row, smoke: bool) -> Judged {
    let mut judged = Judged::from(row);
    if smoke && judged.verdict != Verdict::NotMeasured {
        judged.verdict = Verdict::Information;
    }
    judged
}

fn settings(args: &Args, work: &Path) -> Result<Settings> {
    let work = work.canonicalize().map_err(Error::file(work))?;
    if !args.smoke && on_tmpfs(&work)? {
        let why = "is in memory, where making things durable costs nothing: give a --work on a disk";
        return Err(Error::program(&work.display().to_string(), why));
    }
    let beside = || std::env::current_exe().ok()?.parent().map(|folder| folder.join("supercargo"));
    let supercargo = args.supercargo.clone().or_else(beside).unwrap_or_else(|| "supercargo".into());
    let programs = Programs {
        supercargo,
        distribution: "docker-registry".into(),
        nginx: "nginx".into(),
        wrk: "wrk".into(),
    };
    let defaults = if args.smoke { Settings::smoke } else { Settings::full };
    let mut settings = defaults(work, programs);
    if let Some(rounds) = args.rounds {
        settings.rounds = rounds.into();
    }
    if let Some(seconds) = args.seconds {
        settings.duration = Duration::from_secs(seconds.into());
    }
    if let Some(mib) = args.large_mib {
        settings.large_bytes = usize::from(mib) << 20;
    }
    Ok(settings)
}

fn on_tmpfs(folder: &Path) -> Result<bool> {
    /// `TMPFS_MAGIC` of statfs(2).
    const TMPFS: u64 = 0x0102_1994;
    let stat = rustix::fs::statfs(folder).map_err(|e| Error::file(folder)(e.into()))?;
    // Its type is signed on some machines; the number is small and positive.
    Ok(u64::try_from(stat.f_type) == Ok(TMPFS))
}

fn write_json(path: &Path, report: &Report) -> Result<()> {
    let write = || {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let mut json = serde_json::to_string_pretty(report)?;
        json.push('\n');
        std::fs::write(path, json)
    };
    write().map_err(Error::file(path))
}

/// Tells whoever watches. That nobody can be told is no reason to stop.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
