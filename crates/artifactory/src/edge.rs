//! What must hold of the parsers of this surface, whatever they are given: see the module of the same name of
//! `supercargo-docker-v2`, which does it for the others. `fuzz/` runs it without end.

use supercargo_model::Timestamp;

use crate::aql::Find;

/// AQL: what is read is written in one way, and read from that as the same; what is not says where it is wrong.
///
/// # Panics
/// Where that does not hold.
pub fn aql(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let now = Timestamp::from_micros(1_800_000_000_000_000);
    match Find::parse(&text, now) {
        Ok(find) => {
            let written = find.to_string();
            match Find::parse(&written, now) {
                Ok(again) => assert_eq!(again, find, "{written}"),
                // Where everything is said it may be too long or too deep, which it was not before.
                Err(error) => {
                    assert!(error.message.contains("at most") || error.message.contains("more than"));
                }
            }
        }
        Err(error) => {
            assert!(
                (1..=text.lines().count().max(1) + 1).contains(&error.line) && error.column > 0,
                "{error}"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    fn seeds() -> Vec<Vec<u8>> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds/aql");
        let files = std::fs::read_dir(folder).unwrap();
        files.map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect()
    }

    #[test]
    fn seeds_are_no_surprise() {
        let seeds = seeds();
        assert!(seeds.len() > 2);
        seeds.iter().for_each(|seed| super::aql(seed));
    }

    proptest! {
        #[test]
        fn what_is_nearly_right_is_no_surprise(
            seed: prop::sample::Index,
            at: prop::sample::Index,
            removed in 0..4_usize,
            added in prop::collection::vec(prop::sample::select(&b"{}[]()\"\\:,.$@*0aZ \n/\xff"[..]), 0..4),
        ) {
            let mut data = seed.get(&seeds()).clone();
            let start = at.index(data.len() + 1);
            let end = (start + removed).min(data.len());
            data.splice(start..end, added);
            super::aql(&data);
        }
    }
}
