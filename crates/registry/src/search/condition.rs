//! What is searched for: conditions on items, and queries made of them. Pure: nothing here reads a table.
//!
//! What does not live here: how a condition is written (the surfaces), and how items that fulfil one are found (`plan`,
//! `drivers`).

use std::cmp::Ordering;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use supercargo_model::{RepoKey, Timestamp};
use wildmatch::WildMatch;

use super::found::Found;
use crate::{Error, Result};

/// What an item must fulfil.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// All of these; with none, everything fulfils it.
    All(Vec<Condition>),
    /// At least one of these; with none, nothing fulfils it.
    Any(Vec<Condition>),
    /// One test.
    Is(Test),
}

/// A test of one fact of an item.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Test {
    /// A text. Of an item that does not have it, only what is to be different is true.
    Text(TextField, TextTest),
    /// A number.
    Number(NumberField, Comparison, u64),
    /// A moment.
    Time(TimeField, Comparison, Timestamp),
    /// What kind of item it is.
    Kind(KindTest),
    /// A property, by its key; `*` is any key. Fulfilled by an item one of whose values fulfils the test; and where the test
    /// is that something is different ([`TextTest::is_negative`]), by one none of whose values is that.
    Property(String, TextTest),
}

/// Facts that are texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TextField {
    /// The repository's key.
    Repository,
    /// The path of the folder that it is in; [`ROOT_PATH`] for what is in no folder, and for the repository itself.
    Path,
    /// The last part of its path; [`ROOT_PATH`] for the repository itself.
    Name,
    /// Who made it.
    CreatedBy,
    /// Who changed it last.
    ModifiedBy,
    /// The MD5 of a file, in hexadecimal, where it is known.
    Md5,
    /// The SHA-1 of a file, in hexadecimal, where it is known.
    Sha1,
    /// The SHA-256 of a file that is kept as it is, in hexadecimal.
    Sha256,
}

/// Facts that are numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NumberField {
    /// A file's size in bytes; 0 for a folder.
    Size,
    /// How many parts its path has: 0 for the repository itself.
    Depth,
}

/// Facts that are moments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeField {
    /// When it was made.
    Created,
    /// When it was changed last.
    Modified,
    /// When it, or what is known of it, was changed last.
    Updated,
}

/// What [`TextField::Path`] and [`TextField::Name`] are where there is nothing to be said.
pub const ROOT_PATH: &str = ".";

/// Which kinds of items.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KindTest {
    /// Files.
    File,
    /// Folders.
    Folder,
    /// Both.
    Any,
}

/// How two values compare. Texts compare by their bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Comparison {
    /// The same.
    Equal,
    /// Different.
    Unequal,
    /// Greater.
    Greater,
    /// Greater or the same.
    GreaterOrEqual,
    /// Less.
    Less,
    /// Less or the same.
    LessOrEqual,
}

impl Comparison {
    fn holds(self, ordering: Ordering) -> bool {
        match self {
            Comparison::Equal => ordering.is_eq(),
            Comparison::Unequal => ordering.is_ne(),
            Comparison::Greater => ordering.is_gt(),
            Comparison::GreaterOrEqual => ordering.is_ge(),
            Comparison::Less => ordering.is_lt(),
            Comparison::LessOrEqual => ordering.is_le(),
        }
    }
}

/// A test of a text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TextTest {
    /// How it compares.
    Compare(Comparison, String),
    /// It matches.
    Matches(Wildcard),
    /// It does not match.
    Differs(Wildcard),
}

impl TextTest {
    /// It is this.
    pub fn equals(text: impl Into<String>) -> TextTest {
        TextTest::Compare(Comparison::Equal, text.into())
    }

    /// Whether it asks that something is different, and so is true of what is not there.
    pub fn is_negative(&self) -> bool {
        matches!(self, TextTest::Compare(Comparison::Unequal, _) | TextTest::Differs(_))
    }

    /// Whether a text fulfils it.
    pub fn holds(&self, text: &str) -> bool {
        match self {
            TextTest::Compare(comparison, other) => comparison.holds(text.cmp(other)),
            TextTest::Matches(wildcard) => wildcard.matches(text),
            TextTest::Differs(wildcard) => !wildcard.matches(text),
        }
    }

    /// The text that alone fulfils it.
    pub(crate) fn only(&self) -> Option<&str> {
        match self {
            TextTest::Compare(Comparison::Equal, text) => Some(text),
            TextTest::Matches(wildcard) if !wildcard.ignores_case => wildcard.literal(),
            _ => None,
        }
    }

    /// What every text that fulfils it begins with; `None` where they may begin with anything.
    pub(crate) fn start(&self) -> Option<&str> {
        match self {
            TextTest::Compare(Comparison::Equal, text) => Some(text),
            TextTest::Matches(wildcard) if !wildcard.ignores_case => {
                Some(wildcard.start()).filter(|start| !start.is_empty())
            }
            _ => None,
        }
    }
}

/// How many conditions and tests a query is made of at most.
pub const CONDITIONS_MAX: usize = 4_000;

/// Longest pattern, in bytes.
pub const WILDCARD_BYTES_MAX: usize = 1024;

/// A pattern, matched against a whole text: `*` stands for anything, `?` for any one character, everything else for
/// itself.
#[derive(Debug, Clone)]
pub struct Wildcard {
    text: String,
    ignores_case: bool,
    compiled: WildMatch,
}

impl Wildcard {
    /// A pattern.
    ///
    /// # Errors
    /// [`Error::Invalid`] where it is longer than [`WILDCARD_BYTES_MAX`].
    pub fn new(text: impl Into<String>) -> Result<Wildcard> {
        let text = text.into();
        if text.len() > WILDCARD_BYTES_MAX {
            return Err(Error::Invalid(format!("a pattern has at most {WILDCARD_BYTES_MAX} bytes")));
        }
        Ok(Wildcard { compiled: WildMatch::new(&text), text, ignores_case: false })
    }

    /// The same, whether letters are small or capital.
    #[must_use]
    pub fn ignoring_case(self) -> Wildcard {
        Wildcard { compiled: WildMatch::new_case_insensitive(&self.text), ignores_case: true, ..self }
    }

    /// Whether a text has what makes it more than itself as a pattern.
    pub fn is_in(text: &str) -> bool {
        text.contains(['*', '?'])
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it matches the whole text. Takes time in proportion to both lengths multiplied, at most.
    pub fn matches(&self, text: &str) -> bool {
        self.compiled.matches(text)
    }

    /// What comes before the first star or question mark.
    fn start(&self) -> &str {
        self.text.split(['*', '?']).next().unwrap_or_default()
    }

    fn literal(&self) -> Option<&str> {
        Some(self.text.as_str()).filter(|text| !Wildcard::is_in(text))
    }
}

/// As it is written: its text, and whether letters are small or capital.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written<'w> {
    text: std::borrow::Cow<'w, str>,
    #[serde(default)]
    ignores_case: bool,
}

impl Serialize for Wildcard {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Written { text: self.text.as_str().into(), ignores_case: self.ignores_case }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Wildcard {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Wildcard, D::Error> {
        let Written { text, ignores_case } = Written::deserialize(deserializer)?;
        let wildcard = Wildcard::new(text).map_err(de::Error::custom)?;
        Ok(if ignores_case { wildcard.ignoring_case() } else { wildcard })
    }
}

impl PartialEq for Wildcard {
    fn eq(&self, other: &Wildcard) -> bool {
        self.text == other.text && self.ignores_case == other.ignores_case
    }
}

/// By what results are sorted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// First by the first of these, then by the next. Items that are the same in all of them stand in the order of their
    /// repositories and paths.
    pub by: Vec<Field>,
    /// Whether the greatest comes first.
    pub descending: bool,
}

/// The facts that results are sorted by and that are shown of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Field {
    /// A text.
    Text(TextField),
    /// A number.
    Number(NumberField),
    /// A moment.
    Time(TimeField),
    /// Files, then folders.
    Kind,
}

/// A search.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Query {
    /// In which repositories; in all, where none are named. Those that are not there have nothing in them.
    #[serde(default)]
    pub repositories: Vec<RepoKey>,
    /// What is searched for.
    pub condition: Condition,
    /// How results are sorted; in no particular order, and always the same one, where there is none.
    #[serde(default)]
    pub order: Option<Order>,
    /// How many results are passed over.
    #[serde(default)]
    pub offset: u64,
    /// How many follow at most.
    #[serde(default)]
    pub limit: Option<u64>,
}

impl Condition {
    /// Everything fulfils it.
    pub const fn everything() -> Condition {
        Condition::All(Vec::new())
    }

    /// Whether an item fulfils it.
    pub(crate) fn holds(&self, item: &Found<'_>) -> Result<bool> {
        match self {
            Condition::All(conditions) => {
                for condition in conditions {
                    if !condition.holds(item)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Condition::Any(conditions) => {
                for condition in conditions {
                    if condition.holds(item)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Condition::Is(test) => test.holds(item),
        }
    }

    /// How many conditions and tests it is made of.
    pub fn size(&self) -> usize {
        match self {
            Condition::All(inner) | Condition::Any(inner) => {
                1 + inner.iter().map(Condition::size).sum::<usize>()
            }
            Condition::Is(_) => 1,
        }
    }

    /// Whether a test of it is about what kind of item is meant.
    pub fn tests_kind(&self) -> bool {
        match self {
            Condition::All(inner) | Condition::Any(inner) => inner.iter().any(Condition::tests_kind),
            Condition::Is(test) => matches!(test, Test::Kind(_)),
        }
    }

    /// The same condition, with the tests that cost least first, and none in one of another for nothing.
    pub(crate) fn cheapest_first(self) -> Condition {
        let sorted = |inner: Vec<Condition>| {
            let mut inner: Vec<Condition> = inner.into_iter().map(Condition::cheapest_first).collect();
            inner.sort_by_key(Condition::cost);
            inner
        };
        let simpler = match self {
            Condition::All(inner) => {
                let mut all = Vec::with_capacity(inner.len());
                for condition in sorted(inner) {
                    match condition {
                        Condition::All(inner) => all.extend(inner),
                        other => all.push(other),
                    }
                }
                Condition::All(all)
            }
            Condition::Any(inner) => Condition::Any(sorted(inner)),
            is @ Condition::Is(_) => return is,
        };
        match simpler {
            Condition::All(mut inner) | Condition::Any(mut inner) if inner.len() == 1 => inner.remove(0),
            other => other,
        }
    }

    fn cost(&self) -> u8 {
        match self {
            Condition::All(inner) | Condition::Any(inner) => {
                inner.iter().map(Condition::cost).max().unwrap_or(0)
            }
            Condition::Is(Test::Property(..)) => 2,
            Condition::Is(Test::Text(TextField::Md5 | TextField::Sha1, _)) => 1,
            Condition::Is(_) => 0,
        }
    }
}

impl Test {
    fn holds(&self, item: &Found<'_>) -> Result<bool> {
        Ok(match self {
            Test::Text(field, test) => match item.text(*field)? {
                Some(text) => test.holds(&text),
                None => test.is_negative(),
            },
            Test::Number(field, comparison, number) => comparison.holds(item.number(*field).cmp(number)),
            Test::Time(field, comparison, time) => comparison.holds(item.time(*field).cmp(time)),
            Test::Kind(KindTest::Any) => true,
            Test::Kind(kind) => item.is_folder() == (*kind == KindTest::Folder),
            Test::Property(key, test) if test.is_negative() => {
                !item.any_value(key, &mut |value| !test.holds(value))?
            }
            Test::Property(key, test) => item.any_value(key, &mut |value| test.holds(value))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wildcard(text: &str) -> Wildcard {
        Wildcard::new(text).unwrap()
    }

    #[test]
    fn stars_and_question_marks_stand_for_others() {
        for (pattern, yes, no) in [
            ("*", &["", "a/b"][..], &[][..]),
            ("a*c", &["ac", "a/b/c", "abcc"], &["ab", "xac", "AC"]),
            ("?", &["a", "ä", "/"], &["", "ab"]),
            ("**a", &["a", "ba"], &["ab"]),
            ("[a]\\", &["[a]\\"], &["a"]),
            ("", &[""], &["a"]),
        ] {
            yes.iter().for_each(|text| assert!(wildcard(pattern).matches(text), "{pattern} {text}"));
            no.iter().for_each(|text| assert!(!wildcard(pattern).matches(text), "{pattern} {text}"));
        }
        assert!(wildcard("*.Json").ignoring_case().matches("Manifest.jSON"));
        assert!(Wildcard::new("a".repeat(WILDCARD_BYTES_MAX + 1)).is_err());
    }

    #[test]
    fn a_pattern_of_many_stars_takes_no_time() {
        assert!(!wildcard(&format!("{}b", "a*".repeat(500))).matches(&"a".repeat(10_000)));
    }

    #[test]
    fn what_texts_begin_with_is_seen() {
        let matches = |text: &str| TextTest::Matches(wildcard(text));
        for (test, only, start) in [
            (TextTest::equals("a*"), Some("a*"), Some("a*")),
            (matches("ab"), Some("ab"), Some("ab")),
            (matches("ab*c"), None, Some("ab")),
            (matches("*c"), None, None),
            (TextTest::Matches(wildcard("ab").ignoring_case()), None, None),
            (TextTest::Compare(Comparison::GreaterOrEqual, "a".to_owned()), None, None),
            (TextTest::Differs(wildcard("a*")), None, None),
        ] {
            assert_eq!((test.only(), test.start()), (only, start), "{test:?}");
        }
    }
}
