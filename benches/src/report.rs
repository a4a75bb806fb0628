//! What came out: rows with a verdict each, as a table for people and as JSON for later.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use serde::Serialize;

use crate::peer::find;
use crate::process::run;
use crate::rounds::{Samples, Side, median};
use crate::settings::Settings;

/// What a figure counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Unit {
    /// Bytes moved.
    #[serde(rename = "MiB/s")]
    MibPerSecond,
    /// Things done.
    #[serde(rename = "/s")]
    PerSecond,
    /// Time taken.
    #[serde(rename = "ms")]
    Milliseconds,
    /// Memory held.
    #[serde(rename = "MiB")]
    Mib,
    /// Processor time for bytes moved.
    #[serde(rename = "s/GiB")]
    SecondsPerGib,
}

impl Unit {
    const fn text(self) -> &'static str {
        match self {
            Unit::MibPerSecond => "MiB/s",
            Unit::PerSecond => "/s",
            Unit::Milliseconds => "ms",
            Unit::Mib => "MiB",
            Unit::SecondsPerGib => "s/GiB",
        }
    }
}

/// What a row should come to.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Expected {
    /// Nothing: it is there to be known.
    Nothing,
    /// At least so many times the figure beside it.
    RatioAtLeast(f64),
    /// At least so much.
    AtLeast(f64),
    /// At most so much.
    AtMost(f64),
}

/// How a row stands to what was expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// As expected, or better.
    Pass,
    /// Less than expected.
    Short,
    /// Nothing was expected.
    Information,
    /// A program was missing.
    NotMeasured,
}

/// What a figure is set against.
#[derive(Debug, Clone, Serialize)]
pub struct Beside {
    /// What it is.
    pub what: String,
    /// Its figures in the order of the rounds.
    pub figures: Vec<f64>,
}

/// One line of the report.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// What was done.
    pub scenario: String,
    /// What the figures count.
    pub unit: Unit,
    /// Supercargo's figures in the order of the rounds; empty where it was not measured.
    pub figures: Vec<f64>,
    /// What they are set against, where it is anything.
    pub beside: Option<Beside>,
    /// What they should come to.
    pub expected: Expected,
}

impl Row {
    /// Supercargo's figures with nothing beside them.
    pub fn alone(scenario: impl Into<String>, unit: Unit, figures: &[f64], expected: Expected) -> Row {
        Row { scenario: scenario.into(), unit, figures: figures.to_vec(), beside: None, expected }
    }

    /// Supercargo's figures beside others of the same rounds.
    pub fn beside(
        scenario: impl Into<String>,
        unit: Unit,
        figures: &[f64],
        what: impl Into<String>,
        others: &[f64],
        expected: Expected,
    ) -> Row {
        let beside = Beside { what: what.into(), figures: others.to_vec() };
        Row { beside: Some(beside), ..Row::alone(scenario, unit, figures, expected) }
    }

    /// Supercargo beside another side.
    pub fn sides(
        scenario: impl Into<String>,
        unit: Unit,
        samples: &Samples,
        other: Side,
        expected: Expected,
    ) -> Row {
        Row::beside(
            scenario,
            unit,
            samples.of(Side::Supercargo),
            other.to_string(),
            samples.of(other),
            expected,
        )
    }

    /// The median of the ratios of each round: what else the machine did in a round met both its figures.
    pub fn ratio(&self) -> Option<f64> {
        let others = &self.beside.as_ref()?.figures;
        let ratios: Vec<f64> =
            self.figures.iter().zip(others).map(|(figure, other)| figure / other).collect();
        median(&ratios)
    }

    /// How it stands.
    pub fn verdict(&self) -> Verdict {
        let measured = median(&self.figures);
        let holds = match self.expected {
            Expected::Nothing if measured.is_none() => None,
            Expected::Nothing => return Verdict::Information,
            Expected::RatioAtLeast(bound) => self.ratio().map(|ratio| ratio >= bound),
            Expected::AtLeast(bound) => measured.map(|figure| figure >= bound),
            Expected::AtMost(bound) => measured.map(|figure| figure <= bound),
        };
        match holds {
            Some(true) => Verdict::Pass,
            Some(false) => Verdict::Short,
            None => Verdict::NotMeasured,
        }
    }
}

/// A run of the benchmarks.
#[derive(Debug, Serialize)]
pub struct Report {
    /// When it began, UTC.
    pub began: jiff::Timestamp,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// Whether the sizes were those of a smoke run, whose figures say nothing.
    pub smoke: bool,
    /// Rounds.
    pub rounds: usize,
    /// Size of a large blob, in bytes.
    pub large_bytes: usize,
    /// What it ran on.
    pub machine: Machine,
    /// What the rows say.
    pub rows: Vec<Judged>,
    /// What could not be measured, and why.
    pub failures: Vec<Failure>,
}

/// A scenario that could not be measured.
#[derive(Debug, Serialize)]
pub struct Failure {
    /// Its name.
    pub scenario: String,
    /// Why.
    pub error: String,
}

/// A row with what follows from it.
#[derive(Debug, Serialize)]
pub struct Judged {
    /// The row.
    #[serde(flatten)]
    pub row: Row,
    /// The median of its figures.
    pub median: Option<f64>,
    /// See [`Row::ratio`].
    pub ratio: Option<f64>,
    /// See [`Row::verdict`].
    pub verdict: Verdict,
}

impl From<Row> for Judged {
    fn from(row: Row) -> Judged {
        Judged { median: median(&row.figures), ratio: row.ratio(), verdict: row.verdict(), row }
    }
}

/// The machine and the programs, as far as they can be told.
#[derive(Debug, Serialize)]
pub struct Machine {
    /// Kernel and its release.
    pub kernel: String,
    /// The processor's model.
    pub processor: String,
    /// How many processors there are.
    pub processors: usize,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// Each program's word for its version.
    pub programs: Vec<String>,
}

impl Machine {
    /// Looks around.
    pub fn look(settings: &Settings) -> Machine {
        let uname = rustix::system::uname();
        let field = |file: &str, name: &str| {
            let text = std::fs::read_to_string(file).unwrap_or_default();
            let value = text.lines().find_map(|line| line.strip_prefix(name)?.split_once(':'));
            value.map_or_else(String::new, |(_, value)| value.trim().to_owned())
        };
        let memory = field("/proc/meminfo", "MemTotal");
        let memory_kib: u64 = memory.split_whitespace().next().and_then(|kib| kib.parse().ok()).unwrap_or(0);
        let programs = &settings.programs;
        let asked = [
            find(&programs.supercargo).map(|program| (program, "--version")),
            find(&programs.distribution).map(|program| (program, "--version")),
            find(&programs.nginx).map(|program| (program, "-v")),
            find(Path::new("openssl")).map(|program| (program, "version")),
        ];
        let version = |(program, flag): (std::path::PathBuf, &str)| {
            let text = run(Command::new(program).arg(flag)).ok()?;
            // distribution begins with the path that it was started by.
            let line = text.lines().next()?.trim();
            Some(
                line.split_once(' ')
                    .filter(|(first, _)| first.contains('/'))
                    .map_or(line, |(_, rest)| rest)
                    .to_owned(),
            )
        };
        Machine {
            kernel: format!("{} {}", uname.sysname().to_string_lossy(), uname.release().to_string_lossy()),
            processor: field("/proc/cpuinfo", "model name"),
            processors: std::thread::available_parallelism().map_or(0, usize::from),
            memory_mib: memory_kib / 1024,
            programs: asked.into_iter().flatten().filter_map(version).collect(),
        }
    }
}

/// The rows as a table.
pub fn table(rows: &[Judged]) -> String {
    let mut cells = vec![["scenario", "measured", "beside", "ratio", "expected", ""].map(str::to_owned)];
    for judged in rows {
        let row = &judged.row;
        let beside = row.beside.as_ref().map_or_else(String::new, |beside| {
            format!("{} {}", beside.what, figure(median(&beside.figures), row.unit))
        });
        let expected = match row.expected {
            Expected::Nothing => String::new(),
            Expected::RatioAtLeast(bound) => format!("≥ {bound:.2} ×"),
            Expected::AtLeast(bound) => format!("≥ {}", figure(Some(bound), row.unit)),
            Expected::AtMost(bound) => format!("≤ {}", figure(Some(bound), row.unit)),
        };
        let verdict = match judged.verdict {
            Verdict::Pass => "pass",
            Verdict::Short => "SHORT",
            Verdict::Information => "",
            Verdict::NotMeasured => "not measured",
        };
        cells.push([
            row.scenario.clone(),
            figure(judged.median, row.unit),
            beside,
            judged.ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}")),
            expected,
            verdict.to_owned(),
        ]);
    }
    let mut widths = [0; 6];
    for line in &cells {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for line in &cells {
        let padded = line.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        let _ = writeln!(text, "{}", padded.collect::<Vec<_>>().join("  ").trim_end());
    }
    text
}

/// A figure with three digits that count, or a dash where there is none.
fn figure(value: Option<f64>, unit: Unit) -> String {
    match value {
        None => "–".to_owned(),
        Some(value) if value >= 100.0 => format!("{value:.0} {}", unit.text()),
        Some(value) if value >= 10.0 => format!("{value:.1} {}", unit.text()),
        Some(value) => format!("{value:.2} {}", unit.text()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(figures: &[f64], others: &[f64], expected: Expected) -> Row {
        Row::beside("push", Unit::PerSecond, figures, "other", others, expected)
    }

    #[test]
    fn the_ratio_is_of_figures_of_one_round() {
        // The machine was slow in the second round, for both.
        let row = row(&[200.0, 20.0, 210.0], &[100.0, 10.0, 100.0], Expected::RatioAtLeast(2.0));
        assert_eq!(row.ratio(), Some(2.0));
        assert_eq!(row.verdict(), Verdict::Pass);
    }

    #[test]
    fn short_is_short_and_missing_is_neither() {
        assert_eq!(row(&[19.0], &[10.0], Expected::RatioAtLeast(2.0)).verdict(), Verdict::Short);
        assert_eq!(row(&[], &[10.0], Expected::RatioAtLeast(2.0)).verdict(), Verdict::NotMeasured);
        assert_eq!(row(&[10.0], &[], Expected::RatioAtLeast(2.0)).verdict(), Verdict::NotMeasured);
        assert_eq!(row(&[10.0], &[], Expected::Nothing).verdict(), Verdict::Information);
        let at_most =
            |figure| Row::alone("start", Unit::Milliseconds, &[figure], Expected::AtMost(60.0)).verdict();
        assert_eq!((at_most(60.0), at_most(61.0)), (Verdict::Pass, Verdict::Short));
    }

    #[test]
    fn the_table_has_a_line_per_row() {
        let rows = [row(&[200.0], &[100.0], Expected::RatioAtLeast(2.5)).into()];
        let text = table(&rows);
        assert_eq!(text.lines().count(), 2);
        assert!(text.contains("push      200 /s    other 100 /s  2.00   ≥ 2.50 ×  SHORT"), "{text}");
    }
}
