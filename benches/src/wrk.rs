//! `wrk`, for what would be bound by a load generator that does more per request than nginx.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use crate::process::run;
use crate::settings::Settings;
use crate::{Error, Result};

/// GET requests per second of one path with these headers, by one thread and so many connections.
///
/// # Errors
/// Where wrk fails, or counts answers that are no success.
pub fn gets_per_second(
    program: &Path,
    settings: &Settings,
    address: SocketAddr,
    path: &str,
    headers: &[(&str, &str)],
    connections: usize,
) -> Result<f64> {
    // It knows whole seconds only.
    let seconds = settings.duration.as_secs().max(1);
    let mut command = Command::new(program);
    command.args(["-t1", &format!("-c{connections}"), &format!("-d{seconds}s")]);
    for (name, value) in headers {
        command.args(["-H", &format!("{name}: {value}")]);
    }
    command.arg(format!("http://{address}{path}"));
    let report = run(&mut command)?;
    if let Some(trouble) =
        report.lines().find(|line| line.contains("Non-2xx") || line.contains("Socket errors"))
    {
        return Err(Error::program("wrk", trouble.trim()));
    }
    parse(&report).ok_or_else(|| Error::program("wrk", format!("no figure in its report: {report}")))
}

fn parse(report: &str) -> Option<f64> {
    report.lines().find_map(|line| line.strip_prefix("Requests/sec:")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figure_is_found() {
        let report = "  2 threads and 32 connections\nRequests/sec:  45123.45\nTransfer/sec:     12.34MB\n";
        assert_eq!(parse(report), Some(45_123.45));
        assert_eq!(parse("unable to connect"), None);
    }
}
