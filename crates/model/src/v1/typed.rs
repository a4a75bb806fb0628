//! Members of images' JSON as docker reads them: by their names in any case, the last of a name counts, and null is as
//! good as nothing.
//!
//! What lives here: one function for each kind of member that is looked into, and the error that names it. What does
//! not: which members there are.

use std::borrow::Cow;

use super::raw;

/// When docker says something was made that doesn't say so itself.
const NO_TIME: &str = "0001-01-01T00:00:00Z";

/// Something is not what docker reads there. The text says what and why.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Malformed(pub(super) String);

impl Malformed {
    /// `name` is not what it has to be.
    pub(super) fn new(name: &str, expected: &str) -> Malformed {
        Malformed(format!("{name} must be {expected}"))
    }

    /// The same of a member of `name`.
    pub(super) fn within(self, name: &str) -> Malformed {
        Malformed(format!("{name}.{}", self.0))
    }
}

/// The text that `bytes` are.
pub(super) fn utf8(bytes: &[u8]) -> Result<&str, Malformed> {
    std::str::from_utf8(bytes).map_err(|e| Malformed(format!("it is not UTF-8: {e}")))
}

/// Calls `each` with the members of the object `text`, as [`raw::members`].
pub(super) fn members<'j>(text: &'j str, each: impl FnMut(Cow<'j, str>, &'j str)) -> Result<(), Malformed> {
    raw::members(text, each).map_err(|e| Malformed(format!("it is not a JSON object: {e}")))
}

/// What the object `text` has of these names.
pub(super) fn pick<'j, const N: usize>(
    text: &'j str,
    names: [&str; N],
) -> Result<[Option<&'j str>; N], Malformed> {
    let mut values = [None; N];
    members(text, |name, value| {
        if let Some(at) = names.iter().position(|known| known.eq_ignore_ascii_case(&name)) {
            values[at] = Some(value).filter(|value| *value != "null");
        }
    })?;
    Ok(values)
}

/// The same of the member `name` of an object, which may be missing.
pub(super) fn pick_within<'j, const N: usize>(
    name: &str,
    value: Option<&'j str>,
    names: [&str; N],
) -> Result<[Option<&'j str>; N], Malformed> {
    match value {
        None => Ok([None; N]),
        Some(text) if text.starts_with('{') => pick(text, names),
        Some(_) => Err(Malformed::new(name, "an object")),
    }
}

/// A string; empty if missing.
pub(super) fn string<'j>(name: &str, value: Option<&'j str>) -> Result<Cow<'j, str>, Malformed> {
    value.map_or(Ok(Cow::Borrowed("")), |text| {
        raw::string(text).ok_or_else(|| Malformed::new(name, "a string"))
    })
}

/// A truth; false if missing.
pub(super) fn flag(name: &str, value: Option<&str>) -> Result<bool, Malformed> {
    value.map_or(Ok(false), |text| text.parse().map_err(|_| Malformed::new(name, "true or false")))
}

/// A whole number; zero if missing.
pub(super) fn number(name: &str, value: Option<&str>) -> Result<i64, Malformed> {
    value.map_or(Ok(0), |text| text.parse().map_err(|_| Malformed::new(name, "a whole number")))
}

/// A list of strings; none if missing.
pub(super) fn strings<'j>(
    name: &str,
    value: Option<&'j str>,
) -> Result<Option<Vec<Cow<'j, str>>>, Malformed> {
    let malformed = || Malformed::new(name, "a list of strings");
    let Some(text) = value else { return Ok(None) };
    let elements = raw::elements(text).ok_or_else(malformed)?;
    let said = |text| if text == "null" { Some(Cow::Borrowed("")) } else { raw::string(text) };
    elements.into_iter().map(said).collect::<Option<Vec<_>>>().map(Some).ok_or_else(malformed)
}

/// A command: a list of strings, or a string that stands for a list of itself; none if missing.
pub(super) fn command<'j>(
    name: &str,
    value: Option<&'j str>,
) -> Result<Option<Vec<Cow<'j, str>>>, Malformed> {
    match value.and_then(raw::string) {
        Some(whole) => Ok(Some(vec![whole])),
        None => strings(name, value).map_err(|_| Malformed::new(name, "a string or a list of strings")),
    }
}

/// A moment, as docker writes it.
pub(super) fn time(name: &str, value: Option<&str>) -> Result<String, Malformed> {
    match value {
        None => Ok(NO_TIME.to_owned()),
        Some(text) => raw::string(text)
            .and_then(|text| rewritten_time(&text))
            .ok_or_else(|| Malformed::new(name, "a time as RFC 3339 has it")),
    }
}

/// The moment `text` as docker writes it: in the same zone, without zeros at the end of the fraction, nanoseconds at
/// most. Calendar types forget the zone, and all that changes is text.
fn rewritten_time(text: &str) -> Option<String> {
    let (clock, rest) = text.split_at_checked("2014-05-13T16:53:20".len())?;
    let two_digits = |at: usize| number_at(clock, at, 2);
    let (year, month, day) = (number_at(clock, 0, 4)?, two_digits(5)?, two_digits(8)?);
    let separators = [4, 7, 10, 13, 16].map(|at| clock.as_bytes()[at]);
    let in_range = (1..=days_of(year, month)).contains(&day)
        && two_digits(11)? < 24
        && two_digits(14)? < 60
        && two_digits(17)? < 60;
    if !in_range || separators != *b"--T::" {
        return None;
    }
    let (fraction, zone) = match rest.strip_prefix('.') {
        Some(fraction) => fraction.split_at(fraction.find(|c: char| !c.is_ascii_digit())?),
        None => ("", rest),
    };
    if rest.starts_with('.') && fraction.is_empty() {
        return None;
    }
    let fraction = fraction.get(..9).unwrap_or(fraction).trim_end_matches('0');
    let point = if fraction.is_empty() { "" } else { "." };
    let zone = match zone {
        "Z" | "+00:00" | "-00:00" => "Z",
        _ => {
            let offset = zone.strip_prefix(['+', '-'])?;
            let valid = offset.len() == 5
                && offset.as_bytes()[2] == b':'
                && number_at(offset, 0, 2)? < 24
                && number_at(offset, 3, 2)? < 60;
            valid.then_some(zone)?
        }
    };
    Some(format!("{clock}{point}{fraction}{zone}"))
}

/// The number that the `len` digits at `at` are.
fn number_at(text: &str, at: usize, len: usize) -> Option<u32> {
    let digits = text.get(at..at + len)?;
    digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())?
}

/// How many days the month has; none if there is no such month.
fn days_of(year: u32, month: u32) -> u32 {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        2 => 28 + u32::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn times_are_written_as_docker_writes_them() {
        for (text, written) in [
            ("2014-05-13T16:53:20Z", "2014-05-13T16:53:20Z"),
            ("2014-05-13T16:54:00.500Z", "2014-05-13T16:54:00.5Z"),
            ("2014-05-13T16:54:00.000Z", "2014-05-13T16:54:00Z"),
            ("2014-05-13T16:54:00.1234567891Z", "2014-05-13T16:54:00.123456789Z"),
            ("2014-05-13T16:54:00.120+02:30", "2014-05-13T16:54:00.12+02:30"),
            ("2014-05-13T16:54:00-00:00", "2014-05-13T16:54:00Z"),
            ("2016-02-29T00:00:00+00:00", "2016-02-29T00:00:00Z"),
            ("0000-02-29T23:59:59-23:59", "0000-02-29T23:59:59-23:59"),
        ] {
            assert_eq!(rewritten_time(text).as_deref(), Some(written), "{text}");
        }
        for wrong in [
            "",
            "2014-05-13",
            "2014-05-13T16:53:20",
            "2014-05-13t16:53:20Z",
            "2014-05-13T16:53:20z",
            "2014-05-13 16:53:20Z",
            "2014-05-13T16:53:20.Z",
            "2014-05-13T16:53:20.5",
            "2014-05-13T16:53:20Z ",
            "2014-05-13T16:53:20+2:30",
            "2014-05-13T16:53:20+24:00",
            "2014-05-13T16:53:20+02-30",
            "2014-05-13T16:53:60Z",
            "2014-05-13T24:53:20Z",
            "2014-13-13T16:53:20Z",
            "2014-00-13T16:53:20Z",
            "2015-02-29T16:53:20Z",
            "2100-02-29T16:53:20Z",
            "2014-04-31T16:53:20Z",
            "+014-05-13T16:53:20Z",
            "2014-05-13T16:53:2é",
        ] {
            assert_eq!(rewritten_time(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn members_are_read_as_docker_reads_them() {
        let text = r#"{"A":"x","a":"y","B":null,"b":"","c":7,"C":null}"#;
        assert_eq!(pick(text, ["a", "b", "c", "d"]).unwrap(), [Some("\"y\""), Some("\"\""), None, None]);
        assert_eq!(command("c", Some(r#""a b""#)).unwrap().unwrap(), ["a b"]);
        assert_eq!(command("c", Some(r#"["a",null]"#)).unwrap().unwrap(), ["a", ""]);
        assert_eq!(command("c", None).unwrap(), None);
        let error = command("Cmd", Some("[7]")).unwrap_err().within("config").to_string();
        assert_eq!(error, "config.Cmd must be a string or a list of strings");
        for (read, expected) in [
            (string("x", Some("7")).map(drop), "x must be a string"),
            (flag("x", Some("0")).map(drop), "x must be true or false"),
            (number("x", Some("1.0")).map(drop), "x must be a whole number"),
            (strings("x", Some("\"a\"")).map(drop), "x must be a list of strings"),
            (time("x", Some("\"\"")).map(drop), "x must be a time as RFC 3339 has it"),
            (pick_within("x", Some("[]"), ["a"]).map(drop), "x must be an object"),
        ] {
            assert_eq!(read.unwrap_err().to_string(), expected);
        }
    }

    proptest! {
        #[test]
        fn a_rewritten_time_stays_as_it_is(
            clock in r"[0-9]{3}[0-9é]-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-6][0-9]",
            rest in r"(\.[0-9]{0,11})?(Z|[+-][0-2][0-9]:[0-6][0-9])?",
        ) {
            let text = clock + &rest;
            if let Some(time) = rewritten_time(&text) {
                prop_assert_eq!(rewritten_time(&time), Some(time));
            }
        }
    }
}
