//! How single values are written: durations, sizes, schedules and networks, each with a parser, its
//! inverse and an error that shows the rule.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use supercargo_registry::FIRST_REPOSITORY;
use supercargo_workers::Schedule;

/// Why a text is no such value. The text is fit to be shown to a person.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ValueError {
    /// Not a duration.
    #[error("{0:?} is not a duration: write a number and a unit, such as 90s, 5m, 1h or 7d")]
    Duration(String),
    /// Not a size.
    #[error("{0:?} is not a size: write a number and a unit, such as 512KiB, 64MiB or 2GiB")]
    Size(String),
    /// Not a listener.
    #[error(
        "{0:?} is not a listener: write ADDRESS:PORT, such as 127.0.0.1:5000 or [::1]:5000, with http:// or \
         https:// before it where that matters, and where the repository is not {FIRST_REPOSITORY}, =REPOSITORY \
         behind it"
    )]
    Listen(String),
    /// Not a place to redirect to.
    #[error(
        "{0:?} is not where a client can be redirected to: write https://HOST or https://HOST:PORT, or :PORT for \
         the host that it asked for"
    )]
    RedirectTo(String),
    /// A listener for something that can't be a repository.
    #[error(transparent)]
    RepoKey(#[from] supercargo_model::ParseError),
    /// Not a host with its repository.
    #[error("{0:?} is no host with its repository: write HOST=REPOSITORY or HOST:PORT=REPOSITORY")]
    Binding(String),
    /// Not a name that repositories could have subdomains of.
    #[error("{0:?} is no name of a host: write one without a port, such as registry.example")]
    ServerName(String),
    /// Not a network.
    #[error("{0:?} is not a network: write an address or a block, such as 10.0.0.7 or 10.0.0.0/8")]
    Network(String),
}

/// Serialises through the text form, for types whose own `serde` is something else.
macro_rules! text_module {
    ($(#[$doc:meta])* $module:ident, $type:ty, $parse:expr, $format:expr, $expecting:literal) => {
        $(#[$doc])*
        pub(crate) mod $module {
            use super::*;

            pub(crate) fn serialize<S: Serializer>(value: &$type, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&$format(value))
            }

            pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<$type, D::Error> {
                let text = deserializer.deserialize_str(TextVisitor($expecting))?;
                $parse(&text).map_err(de::Error::custom)
            }
        }
    };
}

text_module! {
    /// A `Duration` as `90s`, `5m`, `1h30m`, `7d`.
    duration, Duration, parse_duration, |value: &Duration| format_duration(*value),
    "a duration in quotes, such as \"90s\", \"5m\", \"1h\" or \"7d\""
}

text_module! {
    /// A number of bytes as `512KiB`, `64MiB`, `2GiB`.
    size, u64, parse_size, |value: &u64| format_size(*value),
    "a size in quotes, such as \"512KiB\", \"64MiB\" or \"2GiB\""
}

text_module! {
    /// A [`Schedule`] as `never`, `every 5m` or a cron expression.
    schedule, Schedule, Schedule::from_str, format_schedule,
    "a schedule in quotes: \"never\", \"every 5m\" or a cron expression such as \"0 3 * * *\""
}

/// Takes a string and nothing else, and says what it should have been.
struct TextVisitor(&'static str);

impl<'de> de::Visitor<'de> for TextVisitor {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}

/// Units of time in milliseconds, largest first.
const TIME_UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Units of size in bytes, largest first.
const SIZE_UNITS: [(&str, u64); 5] =
    [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// `90s`, `5m`, `1h30m`, `7d`, `250ms`.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, ValueError> {
    sum_of_units(text, &TIME_UNITS)
        .map(Duration::from_millis)
        .ok_or_else(|| ValueError::Duration(text.to_owned()))
}

/// `512KiB`, `64MiB`, `2GiB`.
pub(crate) fn parse_size(text: &str) -> Result<u64, ValueError> {
    sum_of_units(text, &SIZE_UNITS).ok_or_else(|| ValueError::Size(text.to_owned()))
}

/// The sum of numbers with units and nothing between them. None for anything else, overflow included.
fn sum_of_units(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let mut sum: u64 = 0;
    let mut rest = text;
    loop {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let (_, factor) = units.iter().find(|(name, _)| *name == &rest[..unit])?;
        sum = sum.checked_add(number.checked_mul(*factor)?)?;
        rest = &rest[unit..];
        if rest.is_empty() {
            return Some(sum);
        }
    }
}

/// The largest unit that holds the duration whole; days only from two on, as `24h` reads better than `1d`.
fn format_duration(duration: Duration) -> String {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if millis == 0 {
        return "0s".to_owned();
    }
    let fits =
        |(unit, factor): &&(&str, u64)| millis.is_multiple_of(*factor) && (*unit != "d" || millis > *factor);
    let (unit, factor) = TIME_UNITS.iter().find(fits).unwrap_or(&("ms", 1));
    format!("{}{unit}", millis / factor)
}

fn format_size(bytes: u64) -> String {
    let (unit, factor) = SIZE_UNITS
        .iter()
        .find(|(_, factor)| bytes != 0 && bytes.is_multiple_of(*factor))
        .unwrap_or(&("B", 1));
    format!("{}{unit}", bytes / factor)
}

fn format_schedule(schedule: &Schedule) -> String {
    match schedule {
        Schedule::Never => "never".to_owned(),
        Schedule::Every(interval) => format!("every {}", format_duration(*interval)),
        // Six fields inside; five are what people write.
        Schedule::Cron(cron) => match cron.strip_prefix("0 ") {
            Some(five) if five.split_whitespace().count() == 5 => five.to_owned(),
            _ => cron.clone(),
        },
    }
}

/// An address, or all that share its first bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Network {
    address: IpAddr,
    prefix_bits: u8,
}

impl Network {
    /// Whether the address is in it. An IPv4 address is the same in its IPv6 spelling.
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        let (ours, theirs, width) = match (self.address, address.to_canonical()) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => {
                (u128::from(ours.to_bits()), u128::from(theirs.to_bits()), 32)
            }
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => (ours.to_bits(), theirs.to_bits(), 128),
            _ => return false,
        };
        let free_bits = width - u32::from(self.prefix_bits);
        // A shift by the whole width is the network of everything.
        (ours ^ theirs).checked_shr(free_bits).unwrap_or(0) == 0
    }
}

impl FromStr for Network {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Network, ValueError> {
        let refused = || ValueError::Network(text.to_owned());
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| refused())?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let prefix_bits = bits.map_or(Ok(width), str::parse).map_err(|_| refused())?;
        if prefix_bits > width {
            return Err(refused());
        }
        Ok(Network { address, prefix_bits })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = if self.address.is_ipv4() { 32 } else { 128 };
        if self.prefix_bits == width {
            self.address.fmt(f)
        } else {
            write!(f, "{}/{}", self.address, self.prefix_bits)
        }
    }
}

macro_rules! serde_as_text {
    ($type:ident, $expecting:literal) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str(TextVisitor($expecting))?.parse().map_err(de::Error::custom)
            }
        }
    };
}

serde_as_text!(Network, "a network in quotes, such as \"10.0.0.0/8\"");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written() {
        for (text, millis, canonical) in [
            ("0s", 0, "0s"),
            ("250ms", 250, "250ms"),
            ("90s", 90_000, "90s"),
            ("300s", 300_000, "5m"),
            ("1h", 3_600_000, "1h"),
            ("1h30m", 5_400_000, "90m"),
            ("24h", 86_400_000, "24h"),
            ("7d", 604_800_000, "7d"),
        ] {
            let duration = parse_duration(text).unwrap();
            assert_eq!(duration, Duration::from_millis(millis), "{text}");
            assert_eq!(format_duration(duration), canonical);
            assert_eq!(parse_duration(canonical), Ok(duration));
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for bad in
            ["", "5", "s", "-5s", "5 s", "5S", "1.5h", "5y", "99999999999999999999s", "300000000000d", "1h30"]
        {
            assert_eq!(parse_duration(bad), Err(ValueError::Duration(bad.to_owned())));
        }
    }

    #[test]
    fn sizes_are_read_and_written() {
        for (text, bytes, canonical) in [
            ("0B", 0, "0B"),
            ("1536B", 1536, "1536B"),
            ("64MiB", 64 << 20, "64MiB"),
            ("2048MiB", 2 << 30, "2GiB"),
        ] {
            assert_eq!(parse_size(text), Ok(bytes));
            assert_eq!(format_size(bytes), canonical);
        }
        for bad in ["", "64", "64MB", "64 MiB", "MiB", "99999999TiB"] {
            assert_eq!(parse_size(bad), Err(ValueError::Size(bad.to_owned())));
        }
    }

    #[test]
    fn schedules_are_written_as_people_write_them() {
        for text in ["never", "every 5m", "0 3 * * *", "*/10 * * * * *"] {
            assert_eq!(format_schedule(&text.parse().unwrap()), text);
        }
    }

    #[test]
    fn networks_hold_their_addresses() {
        let holds = |network: &str, address: &str| {
            network.parse::<Network>().unwrap().contains(address.parse().unwrap())
        };
        assert!(holds("10.0.0.0/8", "10.255.0.1"));
        assert!(!holds("10.0.0.0/8", "11.0.0.1"));
        assert!(holds("10.0.0.7", "10.0.0.7"));
        assert!(!holds("10.0.0.7", "10.0.0.6"));
        assert!(holds("10.0.0.7", "::ffff:10.0.0.7"));
        assert!(holds("0.0.0.0/0", "192.0.2.1"));
        assert!(!holds("0.0.0.0/0", "::1"));
        assert!(holds("::/0", "2001:db8::1"));
        assert!(holds("2001:db8::/32", "2001:db8:1::1"));
        assert!(!holds("2001:db8::/32", "2001:db9::1"));
        for bad in ["", "10.0.0.0/33", "::/129", "10.0.0/8", "10.0.0.0/", "10.0.0.0/-1", "example"] {
            assert_eq!(bad.parse::<Network>(), Err(ValueError::Network(bad.to_owned())));
        }
    }
}
