//! Writing queries, in one way of those that mean the same: every condition with its operator, times as they are.

use std::fmt::{self, Display, Formatter};

use jiff::Timestamp as Moment;
use supercargo_model::Timestamp;
use supercargo_registry::search::{Comparison, Condition, Field, KindTest, Test, TextTest};

use super::{Find, ShownProperties, field_name};

impl Display for Find {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "items.find({})", Criteria(&self.condition))?;
        let fields = self.fields.iter().map(|field| field_name(*field).to_owned());
        let properties = match &self.properties {
            ShownProperties::None => Vec::new(),
            ShownProperties::All => vec!["property".to_owned()],
            ShownProperties::Of(keys) => keys.iter().map(|key| format!("@{key}")).collect(),
        };
        let shown: Vec<String> = fields.chain(properties).map(|name| quoted(&name)).collect();
        if !shown.is_empty() {
            write!(f, ".include({})", shown.join(","))?;
        }
        if let Some(order) = &self.order {
            let by: Vec<String> = order.by.iter().map(|field| quoted(field_name(*field))).collect();
            let direction = if order.descending { "$desc" } else { "$asc" };
            write!(f, ".sort({{\"{direction}\":[{}]}})", by.join(","))?;
        }
        if self.offset > 0 {
            write!(f, ".offset({})", self.offset)?;
        }
        if let Some(limit) = self.limit {
            write!(f, ".limit({limit})")?;
        }
        Ok(())
    }
}

/// A condition in braces.
struct Criteria<'c>(&'c Condition);

impl Display for Criteria<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let many = |f: &mut Formatter<'_>, operator: &str, inner: &[Condition]| {
            write!(f, "{{\"{operator}\":[")?;
            for (index, condition) in inner.iter().enumerate() {
                let comma = if index > 0 { "," } else { "" };
                write!(f, "{comma}{}", Criteria(condition))?;
            }
            f.write_str("]}")
        };
        match self.0 {
            Condition::All(inner) => many(f, "$and", inner),
            Condition::Any(inner) => many(f, "$or", inner),
            Condition::Is(test) => {
                let (subject, operator, value) = written(test);
                write!(f, "{{{}:{{\"{operator}\":{}}}}}", quoted(&subject), quoted(&value))
            }
        }
    }
}

/// What a test is about, its operator and its value.
fn written(test: &Test) -> (String, &'static str, String) {
    match test {
        Test::Property(key, test) => {
            let (operator, value) = text(test);
            (format!("@{key}"), operator, value)
        }
        Test::Text(field, test) => {
            let (operator, value) = text(test);
            (field_name(Field::Text(*field)).to_owned(), operator, value)
        }
        Test::Number(field, comparison, number) => {
            (field_name(Field::Number(*field)).to_owned(), operator(*comparison), number.to_string())
        }
        Test::Time(field, comparison, time) => {
            (field_name(Field::Time(*field)).to_owned(), operator(*comparison), moment(*time))
        }
        Test::Kind(kind) => {
            let kind = match kind {
                KindTest::File => "file",
                KindTest::Folder => "folder",
                KindTest::Any => "any",
            };
            (field_name(Field::Kind).to_owned(), "$eq", kind.to_owned())
        }
    }
}

fn text(test: &TextTest) -> (&'static str, String) {
    match test {
        TextTest::Compare(comparison, text) => (operator(*comparison), text.clone()),
        TextTest::Matches(wildcard) => ("$match", wildcard.as_str().to_owned()),
        TextTest::Differs(wildcard) => ("$nmatch", wildcard.as_str().to_owned()),
    }
}

const fn operator(comparison: Comparison) -> &'static str {
    match comparison {
        Comparison::Equal => "$eq",
        Comparison::Unequal => "$ne",
        Comparison::Greater => "$gt",
        Comparison::GreaterOrEqual => "$gte",
        Comparison::Less => "$lt",
        Comparison::LessOrEqual => "$lte",
    }
}

/// To the microsecond; what calendars do not have is their end.
fn moment(at: Timestamp) -> String {
    let micros = at.as_micros();
    let end = if micros < 0 { Moment::MIN } else { Moment::MAX };
    format!("{:.6}", Moment::from_microsecond(micros).unwrap_or(end))
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
