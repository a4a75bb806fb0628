//! The Artifactory Query Language, as far as it is about items: `items.find({…})` with `.include`, `.sort`, `.offset` and
//! `.limit`. The grammar is in docs/search.md.
//!
//! What lives here: a query as text, read and written. What does not: how it is answered (`supercargo_registry::search`).

mod print;
mod read;
#[cfg(test)]
mod tests;

use supercargo_model::{RepoKey, Timestamp};
use supercargo_registry::search::{
    Condition, Field, KindTest, NumberField, Order, Query, Test, TextField, TimeField,
};

/// Longest query, in bytes.
pub(crate) const AQL_BYTES_MAX: usize = 64 * 1024;
/// How deep conditions stand in one another, at most.
pub(crate) const AQL_DEPTH_MAX: usize = 32;
/// How many conditions there are, at most.
pub(crate) const AQL_CONDITIONS_MAX: usize = 1_000;

/// Every field of an item, by what it is called; those before the last four are shown where a query does not say which.
pub(crate) const FIELDS: [(&str, Field); 14] = [
    ("repo", Field::Text(TextField::Repository)),
    ("path", Field::Text(TextField::Path)),
    ("name", Field::Text(TextField::Name)),
    ("type", Field::Kind),
    ("size", Field::Number(NumberField::Size)),
    ("created", Field::Time(TimeField::Created)),
    ("created_by", Field::Text(TextField::CreatedBy)),
    ("modified", Field::Time(TimeField::Modified)),
    ("modified_by", Field::Text(TextField::ModifiedBy)),
    ("updated", Field::Time(TimeField::Updated)),
    ("depth", Field::Number(NumberField::Depth)),
    ("actual_md5", Field::Text(TextField::Md5)),
    ("actual_sha1", Field::Text(TextField::Sha1)),
    ("sha256", Field::Text(TextField::Sha256)),
];

/// How many of [`FIELDS`] are shown where a query does not say which.
const FIELDS_SHOWN: usize = 10;

/// What a field is called.
pub(crate) fn field_name(field: Field) -> &'static str {
    FIELDS.iter().find(|(_, other)| *other == field).map_or("", |(name, _)| name)
}

/// Which properties of items are shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ShownProperties {
    /// None.
    None,
    /// All.
    All,
    /// Those of some keys.
    Of(Vec<String>),
}

impl ShownProperties {
    /// Whether a property is shown.
    pub(crate) fn has(&self, key: &str) -> bool {
        match self {
            ShownProperties::None => false,
            ShownProperties::All => true,
            ShownProperties::Of(keys) => keys.iter().any(|shown| shown == key),
        }
    }
}

/// A query for items.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Find {
    /// What items fulfil.
    pub(crate) condition: Condition,
    /// Which of their fields are shown; the usual ones, where there are none.
    pub(crate) fields: Vec<Field>,
    /// Which of their properties are shown.
    pub(crate) properties: ShownProperties,
    /// How they are sorted.
    pub(crate) order: Option<Order>,
    /// How many are passed over.
    pub(crate) offset: u64,
    /// How many are shown at most.
    pub(crate) limit: Option<u64>,
}

impl Find {
    /// Reads a query. Times that are relative are so to `now`.
    ///
    /// # Errors
    /// [`AqlError`].
    pub(crate) fn parse(text: &str, now: Timestamp) -> Result<Find, AqlError> {
        read::find(text, now)
    }

    /// The fields that are shown.
    pub(crate) fn shown_fields(&self) -> impl Iterator<Item = (&'static str, Field)> {
        let usual = FIELDS[..FIELDS_SHOWN].iter().map(|(_, field)| *field);
        let usual = usual.filter(|_| self.fields.is_empty());
        self.fields.iter().copied().chain(usual).map(|field| (field_name(field), field))
    }

    /// The search that it stands for: of files, where it says nothing of folders.
    pub(crate) fn query(&self, repositories: Vec<RepoKey>) -> Query {
        let mut condition = self.condition.clone();
        if !condition.tests_kind() {
            condition = Condition::All(vec![Condition::Is(Test::Kind(KindTest::File)), condition]);
        }
        Query { repositories, condition, order: self.order.clone(), offset: self.offset, limit: self.limit }
    }
}

/// Reads a query as a search of all repositories; what it says of what is shown is left out. Times that are relative are so
/// to `now`.
///
/// # Errors
/// [`AqlError`].
pub fn parse(text: &str, now: Timestamp) -> Result<Query, AqlError> {
    Find::parse(text, now).map(|find| find.query(Vec::new()))
}

/// Why a text is no query: where, and what would have been right there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {message}")]
pub struct AqlError {
    /// The line, from 1.
    pub line: usize,
    /// The character in the line, from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
}

impl AqlError {
    fn at(text: &str, at: usize, message: String) -> AqlError {
        let before = text.get(..at).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |end| end + 1);
        AqlError {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            message,
        }
    }
}
