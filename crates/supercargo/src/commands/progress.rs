//! Progress of long work, on stderr: a bar on a terminal, a line now and then elsewhere; and the wish to stop.

use std::io::IsTerminal;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use supercargo_registry::{ReplayProgress, ReplayStep};

/// How often a line is written where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);
/// How often a terminal sees that work of unknown length goes on.
const TICK_EVERY: Duration = Duration::from_millis(100);

/// Work under way, as whoever waits for it sees it.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    said: Instant,
}

impl Progress {
    /// Begins to show. Nothing is written while the work takes less than [`LINE_EVERY`] and there is no terminal.
    pub(crate) fn start() -> Progress {
        let bar = std::io::stderr().is_terminal().then(ProgressBar::no_length);
        Progress { bar, said: Instant::now() }
    }

    /// Shows that a server is at work, which does not tell how far it is.
    pub(crate) fn waiting(what: &'static str) -> Progress {
        let progress = Progress::start();
        if let Some(bar) = &progress.bar {
            bar.set_style(style("{spinner} {msg} on the server  {elapsed}"));
            bar.set_message(what);
            bar.enable_steady_tick(TICK_EVERY);
        }
        progress
    }

    /// So much of a replay or an import is done.
    pub(crate) fn replaying(&mut self, at: ReplayProgress) {
        let what = match at.step {
            ReplayStep::Records => "records",
            ReplayStep::Folding => "folding",
            ReplayStep::Blobs => "blobs",
        };
        self.at(what, at.done, at.of);
    }

    /// So much is done, of so much where that is known.
    #[expect(clippy::print_stderr, reason = "progress, where there is no terminal")]
    pub(crate) fn at(&mut self, what: &'static str, done: u64, of: Option<u64>) {
        match (&self.bar, of) {
            (Some(bar), Some(of)) => {
                if bar.length() != Some(of) {
                    bar.set_style(style("{msg:<10} {wide_bar} {percent:>3} % {eta:>4}"));
                    bar.set_length(of);
                    bar.reset_eta();
                }
                bar.set_message(what);
                bar.set_position(done);
            }
            (Some(bar), None) => {
                bar.set_style(style("{spinner} {msg:<10} {pos}"));
                bar.set_message(what);
                bar.set_position(done);
            }
            (None, of) if self.said.elapsed() >= LINE_EVERY => {
                self.said = Instant::now();
                match of {
                    Some(of) => eprintln!("{what}: {} %", percent(done, of)),
                    None => eprintln!("{what}: {done}"),
                }
            }
            (None, _) => {}
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// The templates are constants; where one were wrong, the default style would do.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn percent(done: u64, of: u64) -> u64 {
    done.saturating_mul(100).checked_div(of).unwrap_or(100)
}

/// Whether the process was interrupted (SIGINT), for work that looks now and then.
pub(crate) struct Interrupt {
    asked: Arc<AtomicBool>,
}

impl Interrupt {
    /// From here on an interrupt asks the work to stop at its next step. A second one ends the process, which
    /// is safe too: what was not committed is not there.
    pub(crate) fn watch() -> Interrupt {
        let asked = Arc::new(AtomicBool::new(false));
        let set = Arc::clone(&asked);
        // Where no thread or runtime can be had, the first interrupt ends the process.
        let _ = std::thread::Builder::new().name("interrupt".to_owned()).spawn(move || {
            let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
                return;
            };
            if runtime.block_on(tokio::signal::ctrl_c()).is_ok() {
                set.store(true, Ordering::Relaxed);
            }
            if runtime.block_on(tokio::signal::ctrl_c()).is_ok() {
                std::process::exit(130);
            }
        });
        Interrupt { asked }
    }

    /// Whether to go on.
    pub(crate) fn flow(&self) -> ControlFlow<()> {
        if self.asked.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percents_have_no_way_to_fail() {
        assert_eq!(
            [percent(0, 0), percent(1, 3), percent(3, 3), percent(u64::MAX, 1)],
            [100, 33, 100, u64::MAX]
        );
    }

    #[test]
    fn templates_are_sound() {
        for template in [
            "{spinner} {msg} on the server  {elapsed}",
            "{msg:<10} {wide_bar} {percent:>3} % {eta:>4}",
            "{spinner} {msg:<10} {pos}",
        ] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }
}
