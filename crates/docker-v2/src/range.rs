//! Two range headers that look alike and are not: `Range` on a blob (RFC 9110, section 14.2), and the upload
//! protocol's own `Content-Range` (OCI distribution specification, "Pushing a blob in chunks"). Parsing
//! alone; what is answered is the handlers' business.

use std::ops::Range;

/// What to serve of a blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Selection {
    /// All of it, as if no range had been asked for.
    Whole,
    /// These bytes, never none and never past the end.
    Part(Range<u64>),
    /// Nothing: what was asked for begins past the end.
    Unsatisfiable,
}

/// What a `Range` header asks for, of a blob of `size` bytes.
///
/// A header that is malformed, names another unit or asks for several ranges is ignored, as RFC 9110
/// allows: the client gets the whole and can tell by the status. So is any range of an empty blob, which no
/// Content-Range could describe.
pub(crate) fn select(header: &str, size: u64) -> Selection {
    let mut specs = match header.split_once('=') {
        Some((unit, specs)) if unit.trim().eq_ignore_ascii_case("bytes") => {
            specs.split(',').map(str::trim).filter(|spec| !spec.is_empty())
        }
        _ => return Selection::Whole,
    };
    let (Some(spec), None) = (specs.next(), specs.next()) else { return Selection::Whole };
    if size == 0 {
        return Selection::Whole;
    }
    match spec.split_once('-') {
        Some(("", suffix)) => match parse_clamped(suffix) {
            Some(0) => Selection::Unsatisfiable,
            Some(length) => Selection::Part(size.saturating_sub(length)..size),
            None => Selection::Whole,
        },
        Some((first, last)) => {
            let Some(first) = parse_clamped(first) else { return Selection::Whole };
            let last = if last.is_empty() { Some(u64::MAX) } else { parse_clamped(last) };
            match last {
                Some(last) if last >= first && first < size => {
                    Selection::Part(first..last.saturating_add(1).min(size))
                }
                Some(last) if last >= first => Selection::Unsatisfiable,
                _ => Selection::Whole,
            }
        }
        None => Selection::Whole,
    }
}

/// Decimal digits alone; a number too large for 64 bits is past any end, which is all that matters of it.
fn parse_clamped(digits: &str) -> Option<u64> {
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some(digits.parse().unwrap_or(u64::MAX))
}

/// Where an upload's chunk belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ChunkRange {
    /// Its first byte's place in the blob.
    pub(crate) start: u64,
    /// How many bytes it has. `A-(A-1)` is a chunk of none: clients that compute the end send it.
    pub(crate) length: u64,
}

impl ChunkRange {
    /// Parses `A-B`, as the specification has it, or `bytes A-B`, `bytes A-B/*` and `bytes A-B/size`, as
    /// HTTP would have it.
    pub(crate) fn parse(header: &str) -> Option<ChunkRange> {
        let range = header.trim();
        let range = match range.split_once([' ', '=']) {
            Some((unit, range)) if unit.eq_ignore_ascii_case("bytes") => range.trim_start(),
            Some(_) => return None,
            None => range,
        };
        let (range, total) = match range.split_once('/') {
            Some((range, "*")) => (range, None),
            Some((range, total)) => (range, Some(parse_exact(total)?)),
            None => (range, None),
        };
        let (start, last) = range.split_once('-')?;
        let (start, last) = (parse_exact(start)?, parse_exact(last)?);
        let end = last.checked_add(1)?;
        let length = end.checked_sub(start)?;
        if total.is_some_and(|total| end > total) {
            return None;
        }
        Some(ChunkRange { start, length })
    }
}

fn parse_exact(digits: &str) -> Option<u64> {
    if digits.bytes().all(|b| b.is_ascii_digit()) { digits.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ranges_follow_rfc_9110() {
        for (header, expected) in [
            ("bytes=0-9", Selection::Part(0..10)),
            ("bytes=10-19", Selection::Part(10..20)),
            ("bytes=90-", Selection::Part(90..100)),
            ("bytes=99-", Selection::Part(99..100)),
            ("bytes=-1", Selection::Part(99..100)),
            ("bytes=-500", Selection::Part(0..100)),
            ("bytes=0-500", Selection::Part(0..100)),
            ("bytes=0-99999999999999999999999", Selection::Part(0..100)),
            ("bytes=-99999999999999999999999", Selection::Part(0..100)),
            ("Bytes= 5-5 ", Selection::Part(5..6)),
            ("bytes=5-5,", Selection::Part(5..6)),
            ("bytes=100-", Selection::Unsatisfiable),
            ("bytes=100-200", Selection::Unsatisfiable),
            ("bytes=99999999999999999999999-", Selection::Unsatisfiable),
            ("bytes=-0", Selection::Unsatisfiable),
            ("bytes=500-0", Selection::Whole),
            ("bytes=9-5", Selection::Whole),
            ("bytes=0-1,5-6", Selection::Whole),
            ("items=0-1", Selection::Whole),
            ("bytes 0-1", Selection::Whole),
            ("bytes=", Selection::Whole),
            ("bytes=-", Selection::Whole),
            ("bytes=a-b", Selection::Whole),
            ("bytes=+1-2", Selection::Whole),
            ("bytes=1-2-3", Selection::Whole),
            ("bytes=--1", Selection::Whole),
            ("", Selection::Whole),
        ] {
            assert_eq!(select(header, 100), expected, "{header:?}");
        }
        assert_eq!(select("bytes=0-", 0), Selection::Whole);
        assert_eq!(select("bytes=-5", 0), Selection::Whole);
        assert_eq!(select("bytes=0-", u64::MAX), Selection::Part(0..u64::MAX));
    }

    #[test]
    fn chunk_ranges_are_taken_in_both_spellings() {
        let chunk = |start, length| Some(ChunkRange { start, length });
        for (header, expected) in [
            ("0-9", chunk(0, 10)),
            ("10-10", chunk(10, 1)),
            ("bytes 10-19", chunk(10, 10)),
            ("bytes=10-19", chunk(10, 10)),
            ("Bytes 10-19/*", chunk(10, 10)),
            ("bytes 10-19/20", chunk(10, 10)),
            ("10-9", chunk(10, 0)),
            ("10-8", None),
            ("bytes 10-19/19", None),
            ("bytes 10-19/x", None),
            ("0-18446744073709551615", None),
            ("99999999999999999999-1", None),
            ("0", None),
            ("0-", None),
            ("-5", None),
            ("0--1", None),
            ("+0-5", None),
            ("items 0-5", None),
            ("", None),
        ] {
            assert_eq!(ChunkRange::parse(header), expected, "{header:?}");
        }
    }

    proptest! {
        #[test]
        fn select_never_panics_and_never_leaves_the_blob(header in "(bytes=)?[-0-9, ]{0,30}|\\PC{0,60}", size: u64) {
            if let Selection::Part(range) = select(&header, size) {
                prop_assert!(range.start < range.end && range.end <= size);
            }
        }

        #[test]
        fn chunk_parse_never_panics(header in "(bytes )?[-0-9/*]{0,50}|\\PC{0,60}") {
            let _ = ChunkRange::parse(&header);
        }

        #[test]
        fn what_clients_send_is_understood(start in 0..u64::MAX / 2, length in 1..u64::MAX / 4) {
            let header = format!("{start}-{}", start + length - 1);
            prop_assert_eq!(ChunkRange::parse(&header), Some(ChunkRange { start, length }));
        }
    }
}
