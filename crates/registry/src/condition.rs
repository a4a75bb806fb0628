//! Conditions on changes: what a tag or manifest must be for a change of it to be made. They are judged where
//! changes are decided, so that no other change comes in between.

use supercargo_model::Digest;

/// What the tag or manifest that a change is about must be for the change to be made (RFC 9110, section 13).
/// The default is no condition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Condition {
    /// It must be one of these (`If-Match`).
    pub matches: Option<Expected>,
    /// It must be none of these (`If-None-Match`).
    pub matches_none: Option<Expected>,
}

/// Manifests that a condition names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    /// Whatever there is.
    Anything,
    /// One of these.
    OneOf(Vec<Digest>),
}

impl Expected {
    fn has(&self, present: Digest) -> bool {
        match self {
            Expected::Anything => true,
            Expected::OneOf(digests) => digests.contains(&present),
        }
    }
}

impl Condition {
    /// Whether it holds of the manifest that is there, if there is one.
    pub(crate) fn holds(&self, present: Option<Digest>) -> bool {
        let is = |expected: &Expected| present.is_some_and(|present| expected.has(present));
        self.matches.as_ref().is_none_or(is) && !self.matches_none.as_ref().is_some_and(is)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_hold_as_in_rfc_9110() {
        let [one, two] = [1, 2].map(|byte| Digest::sha256([byte; 32]));
        let anything = || Some(Expected::Anything);
        let of = |digests: &[Digest]| Some(Expected::OneOf(digests.to_vec()));
        for (matches, matches_none, absent, present) in [
            (None, None, true, true),
            (anything(), None, false, true),
            (None, anything(), true, false),
            (of(&[two, one]), None, false, true),
            (of(&[two]), None, false, false),
            (of(&[]), None, false, false),
            (None, of(&[two, one]), true, false),
            (None, of(&[two]), true, true),
            (of(&[one]), of(&[two]), false, true),
            (of(&[one]), of(&[one]), false, false),
        ] {
            let condition = Condition { matches, matches_none };
            assert_eq!(
                (condition.holds(None), condition.holds(Some(one))),
                (absent, present),
                "{condition:?}"
            );
        }
    }
}
