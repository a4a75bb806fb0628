//! `Range` on something that is served (RFC 9110, section 14.2). Parsing alone; what is answered is the handlers'
//! business.

use std::ops::Range;

/// What to serve of a blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
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
pub fn select(header: &str, size: u64) -> Selection {
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

    proptest! {
        #[test]
        fn select_never_panics_and_never_leaves_the_blob(header in "(bytes=)?[-0-9, ]{0,30}|\\PC{0,60}", size: u64) {
            if let Selection::Part(range) = select(&header, size) {
                prop_assert!(range.start < range.end && range.end <= size);
            }
        }
    }
}
