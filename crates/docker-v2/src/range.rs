//! The upload protocol's own `Content-Range` (OCI distribution specification, "Pushing a blob in chunks"). It looks like
//! HTTP's and is not. Parsing alone; what is answered is the handlers' business.

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
