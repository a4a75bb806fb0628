//! When a job runs: never, every so often, or by a cron expression.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// When a job runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Schedule {
    /// Only on demand.
    Never,
    /// Every so often, the first time one interval after the start.
    Every(Duration),
    /// By a cron expression with six fields, seconds first, in UTC.
    Cron(String),
}

/// Why a text is no schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is no schedule: use `never`, `every 5m` (s, m, h, d), or a cron expression such as `0 3 * * *`"
)]
pub struct ScheduleError {
    text: String,
}

impl FromStr for Schedule {
    type Err = ScheduleError;

    fn from_str(text: &str) -> Result<Schedule, ScheduleError> {
        let refused = || ScheduleError { text: text.to_owned() };
        let trimmed = text.trim();
        if trimmed == "never" {
            return Ok(Schedule::Never);
        }
        if let Some(interval) = trimmed.strip_prefix("every ") {
            return parse_interval(interval.trim()).map(Schedule::Every).ok_or_else(refused);
        }
        let cron = match trimmed.split_whitespace().count() {
            // The usual five fields: at second 0.
            5 => format!("0 {trimmed}"),
            6 => trimmed.to_owned(),
            _ => return Err(refused()),
        };
        // The scheduler's own parser has the last word.
        tokio_cron_scheduler::Job::new(cron.as_str(), |_, _| {}).map_err(|_| refused())?;
        Ok(Schedule::Cron(cron))
    }
}

/// `90s`, `5m`, `1h`, `1d`; at least a second.
fn parse_interval(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let number: u64 = text[..digits].parse().ok()?;
    let unit = match &text[digits..] {
        "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        "d" => 24 * 60 * 60,
        _ => return None,
    };
    let seconds = number.checked_mul(unit)?;
    (seconds > 0 && seconds <= 366 * 24 * 60 * 60).then(|| Duration::from_secs(seconds))
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Schedule::Never => f.write_str("never"),
            Schedule::Every(interval) => write!(f, "every {}s", interval.as_secs()),
            Schedule::Cron(cron) => f.write_str(cron),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_are_read() {
        assert_eq!("never".parse(), Ok(Schedule::Never));
        assert_eq!("every 5m".parse(), Ok(Schedule::Every(Duration::from_secs(300))));
        assert_eq!("every 1d".parse(), Ok(Schedule::Every(Duration::from_secs(86_400))));
        assert_eq!("0 3 * * *".parse(), Ok(Schedule::Cron("0 0 3 * * *".to_owned())));
        assert_eq!("*/10 * * * * *".parse(), Ok(Schedule::Cron("*/10 * * * * *".to_owned())));
    }

    #[test]
    fn what_is_no_schedule_is_refused() {
        for bad in
            ["", "every", "every 0s", "every 5", "every -5m", "every 5y", "sometimes", "99 * * * *", "* * *"]
        {
            assert!(bad.parse::<Schedule>().is_err(), "{bad:?} passed");
        }
    }
}
