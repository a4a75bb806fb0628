//! Moments as people write them on a command line, and as they are shown.

use std::str::FromStr;

use jiff::{Span, Timestamp as Moment, Zoned};
use supercargo_model::Timestamp;
use supercargo_registry::Until;

/// Why a text is no moment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no moment: write 2026-11-20T12:00:00Z, 2026-11-20, or how long ago, such as 90m, 2h or 7d")]
pub(crate) struct MomentError(String);

/// A moment: RFC 3339, a date (its first instant, UTC), or how long ago.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct When(pub(crate) Timestamp);

impl FromStr for When {
    type Err = MomentError;

    fn from_str(text: &str) -> Result<When, MomentError> {
        parse(text, Moment::now()).map(When).ok_or_else(|| MomentError(text.to_owned()))
    }
}

fn parse(text: &str, now: Moment) -> Option<Timestamp> {
    let text = text.trim();
    let moment = if let Ok(moment) = text.parse::<Moment>() {
        moment
    } else if let Ok(date) = text.parse::<jiff::civil::DateTime>() {
        date.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp()
    } else {
        let span: Span = text.trim_end_matches("ago").trim_end().parse().ok()?;
        let now: Zoned = now.to_zoned(jiff::tz::TimeZone::UTC);
        now.checked_sub(span).ok()?.timestamp()
    };
    Some(Timestamp::from_micros(moment.as_microsecond()))
}

/// A seq, or a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Point(pub(crate) Until);

impl FromStr for Point {
    type Err = MomentError;

    fn from_str(text: &str) -> Result<Point, MomentError> {
        match text.parse() {
            Ok(seq) => Ok(Point(Until::Seq(seq))),
            Err(_) => Ok(Point(Until::Time(text.parse::<When>()?.0))),
        }
    }
}

/// A moment as it is shown: RFC 3339, UTC, to the microsecond.
pub(crate) fn show(at: Timestamp) -> String {
    match Moment::from_microsecond(at.as_micros()) {
        Ok(moment) => format!("{moment:.6}"),
        // Beyond what calendars have.
        Err(_) => format!("{} µs", at.as_micros()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_as_people_write_them() {
        let now: Moment = "2026-11-24T12:00:00Z".parse().unwrap();
        for (text, expected) in [
            ("2026-11-20T12:00:00Z", "2026-11-20T12:00:00.000000Z"),
            ("2026-11-20T12:00:00.000001+01:00", "2026-11-20T11:00:00.000001Z"),
            ("2026-11-20T12:00:00", "2026-11-20T12:00:00.000000Z"),
            ("2026-11-20 12:00", "2026-11-20T12:00:00.000000Z"),
            ("2026-11-20", "2026-11-20T00:00:00.000000Z"),
            ("2h", "2026-11-24T10:00:00.000000Z"),
            ("2h ago", "2026-11-24T10:00:00.000000Z"),
            ("90m", "2026-11-24T10:30:00.000000Z"),
            ("7d", "2026-11-17T12:00:00.000000Z"),
            ("1w 1d", "2026-11-16T12:00:00.000000Z"),
        ] {
            assert_eq!(parse(text, now).map(show).as_deref(), Some(expected), "{text}");
        }
        for bad in ["", "now-ish", "2026-13-01", "12", "2h later", "99999999y"] {
            assert_eq!(parse(bad, now), None, "{bad}");
        }
    }

    #[test]
    fn a_point_is_a_seq_or_a_moment() {
        assert_eq!("12".parse(), Ok(Point(Until::Seq(12))));
        assert!(matches!("2026-11-20".parse(), Ok(Point(Until::Time(_)))));
        assert!("yesterday".parse::<Point>().is_err());
    }
}
