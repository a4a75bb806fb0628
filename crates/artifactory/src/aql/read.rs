//! Reading queries: one pass over the text, by recursive descent.

use jiff::tz::TimeZone;
use jiff::{Span, Timestamp as Moment, civil};
use supercargo_model::Timestamp;
use supercargo_registry::search::{
    Comparison, Condition, Field, KindTest, Order, Test, TextField, TextTest, Wildcard,
};

use super::{
    AQL_BYTES_MAX, AQL_CONDITIONS_MAX, AQL_DEPTH_MAX, AqlError, FIELDS, Find, ShownProperties, field_name,
};

type Parsed<T> = Result<T, AqlError>;

/// Reads a whole query.
pub(super) fn find(text: &str, now: Timestamp) -> Parsed<Find> {
    let mut parser = Parser { text, at: 0, now, depth: 0, conditions: 0 };
    if text.len() > AQL_BYTES_MAX {
        return parser.wrong(format!("a query has at most {AQL_BYTES_MAX} bytes"));
    }
    parser.find()
}

/// Where in the text it is, and how much it has met.
struct Parser<'t> {
    text: &'t str,
    at: usize,
    now: Timestamp,
    depth: usize,
    conditions: usize,
}

/// What a comparison is about.
#[derive(Clone, Copy)]
enum Subject<'s> {
    Field(Field),
    Property(&'s str),
}

/// A value, and where it stands.
struct Value {
    at: usize,
    text: String,
}

impl<'t> Parser<'t> {
    fn find(&mut self) -> Parsed<Find> {
        self.space();
        let start = self.at;
        let domain = self.word();
        if domain != "items" {
            return self.wrong_at(start, "expected items.find(…): only items can be searched for".to_owned());
        }
        self.expect('.')?;
        self.space();
        let start = self.at;
        if self.word() != "find" {
            return self.wrong_at(start, "expected find".to_owned());
        }
        let mut find = Find {
            condition: self.criteria()?,
            fields: Vec::new(),
            properties: ShownProperties::None,
            order: None,
            offset: 0,
            limit: None,
        };
        let mut met = Vec::new();
        while self.peek().is_some() {
            self.expect('.')?;
            self.space();
            let start = self.at;
            let clause = self.word();
            if met.contains(&clause) {
                return self.wrong_at(start, format!("{clause} stands there twice"));
            }
            match clause {
                "include" => self.include(&mut find)?,
                "sort" => find.order = Some(self.sort()?),
                "offset" => find.offset = self.count()?,
                "limit" => find.limit = Some(self.count()?),
                _ => {
                    return self.wrong_at(start, "expected include, sort, offset or limit".to_owned());
                }
            }
            met.push(clause);
        }
        Ok(find)
    }

    /// `({…})`, `({…},{…})` or `()`.
    fn criteria(&mut self) -> Parsed<Condition> {
        self.expect('(')?;
        if self.taken(')') {
            return Ok(Condition::everything());
        }
        let mut all = Vec::new();
        loop {
            all.push(self.object()?);
            if !self.taken(',') {
                break;
            }
        }
        self.expect(')')?;
        Ok(all_of(all))
    }

    /// Conditions in braces: all of them are meant.
    fn object(&mut self) -> Parsed<Condition> {
        self.deeper(|parser| {
            parser.expect('{')?;
            let mut all = Vec::new();
            if !parser.taken('}') {
                loop {
                    all.push(parser.member()?);
                    if !parser.taken(',') {
                        break;
                    }
                }
                parser.expect('}')?;
            }
            Ok(all_of(all))
        })
    }

    fn member(&mut self) -> Parsed<Condition> {
        self.counted()?;
        let key = self.string("a field, @property, $and or $or")?;
        match key.text.as_str() {
            "$and" => {
                self.expect(':')?;
                self.objects().map(Condition::All)
            }
            "$or" => {
                self.expect(':')?;
                self.objects().map(Condition::Any)
            }
            text => {
                let subject = match text.strip_prefix('@') {
                    Some("") => {
                        return self.wrong_at(key.at, "a property's key stands after the @".to_owned());
                    }
                    Some(property) => Subject::Property(property),
                    None => Subject::Field(self.field(&key)?),
                };
                self.expect(':')?;
                self.comparison(subject)
            }
        }
    }

    fn objects(&mut self) -> Parsed<Vec<Condition>> {
        self.list(Parser::object)
    }

    /// A value, or operators with their values in braces.
    fn comparison(&mut self, subject: Subject<'_>) -> Parsed<Condition> {
        self.space();
        if self.peek() != Some('{') {
            let value = self.value()?;
            return self.test(subject, "$eq", self.at, &value);
        }
        self.expect('{')?;
        let mut all = Vec::new();
        loop {
            self.counted()?;
            let operator = self.string("an operator such as $eq")?;
            self.expect(':')?;
            let value = self.value()?;
            all.push(self.test(subject, &operator.text, operator.at, &value)?);
            if !self.taken(',') {
                break;
            }
        }
        self.expect('}')?;
        Ok(all_of(all))
    }

    fn test(&self, subject: Subject<'_>, operator: &str, at: usize, value: &Value) -> Parsed<Condition> {
        let comparison = match operator {
            "$eq" => Some(Comparison::Equal),
            "$ne" => Some(Comparison::Unequal),
            "$gt" => Some(Comparison::Greater),
            "$gte" => Some(Comparison::GreaterOrEqual),
            "$lt" => Some(Comparison::Less),
            "$lte" => Some(Comparison::LessOrEqual),
            "$match" | "$nmatch" | "$before" | "$last" => None,
            _ => {
                let message = "expected $eq, $ne, $gt, $gte, $lt, $lte, $match, $nmatch, $before or $last";
                return self.wrong_at(at, message.to_owned());
            }
        };
        let no_use = |of: &str| self.wrong_at(at, format!("{operator} can't be used with {of}"));
        let test = match subject {
            Subject::Property(key) => match self.text_test(operator, comparison, value, true)? {
                Some(test) => Test::Property(key.to_owned(), test),
                None => return no_use("a property"),
            },
            Subject::Field(Field::Text(field)) => {
                let mut text = Value { at: value.at, text: value.text.clone() };
                if matches!(field, TextField::Md5 | TextField::Sha1 | TextField::Sha256) {
                    text.text.make_ascii_lowercase();
                }
                match self.text_test(operator, comparison, &text, false)? {
                    Some(test) => Test::Text(field, test),
                    None => return no_use(field_name(Field::Text(field))),
                }
            }
            Subject::Field(Field::Number(field)) => match (comparison, value.text.parse()) {
                (Some(comparison), Ok(number)) => Test::Number(field, comparison, number),
                (None, _) => return no_use("a number"),
                (_, Err(_)) => return self.wrong_at(value.at, "expected a whole number from 0".to_owned()),
            },
            Subject::Field(Field::Time(field)) => match (comparison, operator) {
                (Some(comparison), _) => Test::Time(field, comparison, self.moment(value)?),
                (None, "$before") => Test::Time(field, Comparison::Less, self.ago(value)?),
                (None, "$last") => Test::Time(field, Comparison::Greater, self.ago(value)?),
                (None, _) => return no_use("a time"),
            },
            Subject::Field(Field::Kind) => {
                let kind = match value.text.as_str() {
                    "file" => KindTest::File,
                    "folder" => KindTest::Folder,
                    "any" => KindTest::Any,
                    _ => return self.wrong_at(value.at, "expected file, folder or any".to_owned()),
                };
                match (comparison, kind) {
                    (Some(Comparison::Equal), kind) => Test::Kind(kind),
                    (Some(Comparison::Unequal), KindTest::File) => Test::Kind(KindTest::Folder),
                    (Some(Comparison::Unequal), KindTest::Folder) => Test::Kind(KindTest::File),
                    _ => return no_use("that type"),
                }
            }
        };
        Ok(Condition::Is(test))
    }

    /// A test of a text; `None` where the operator is none for texts. The star alone is any value of a property.
    fn text_test(
        &self,
        operator: &str,
        comparison: Option<Comparison>,
        value: &Value,
        property: bool,
    ) -> Parsed<Option<TextTest>> {
        let wildcard =
            || Wildcard::new(value.text.as_str()).or_else(|error| self.wrong_at(value.at, error.to_string()));
        Ok(Some(match (operator, comparison) {
            (_, Some(Comparison::Equal)) if property && value.text == "*" => TextTest::Matches(wildcard()?),
            (_, Some(Comparison::Unequal)) if property && value.text == "*" => TextTest::Differs(wildcard()?),
            (_, Some(comparison)) => TextTest::Compare(comparison, value.text.clone()),
            ("$match", None) => TextTest::Matches(wildcard()?),
            ("$nmatch", None) => TextTest::Differs(wildcard()?),
            _ => return Ok(None),
        }))
    }

    /// A date, or a date and a time; UTC, where it does not say where.
    fn moment(&self, value: &Value) -> Parsed<Timestamp> {
        let text = value.text.trim();
        let moment = text.parse::<Moment>().ok().or_else(|| {
            let local = text.parse::<civil::DateTime>().ok()?;
            Some(local.to_zoned(TimeZone::UTC).ok()?.timestamp())
        });
        match moment {
            Some(moment) => Ok(Timestamp::from_micros(moment.as_microsecond())),
            None => self
                .wrong_at(value.at, "expected a time such as 2026-11-20 or 2026-11-20T12:00:00Z".to_owned()),
        }
    }

    /// How long ago.
    fn ago(&self, value: &Value) -> Parsed<Timestamp> {
        let text = value.text.trim();
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let span = number.parse::<i64>().ok().and_then(|number| {
            let span = Span::new();
            match unit.trim_start() {
                "ms" | "mills" => span.try_milliseconds(number),
                "s" | "seconds" => span.try_seconds(number),
                "minutes" => span.try_minutes(number),
                "d" | "days" => span.try_days(number),
                "w" | "weeks" => span.try_weeks(number),
                "mo" | "months" => span.try_months(number),
                "y" | "years" => span.try_years(number),
                _ => return None,
            }
            .ok()
        });
        let now = Moment::from_microsecond(self.now.as_micros()).ok().map(|now| now.to_zoned(TimeZone::UTC));
        match span.zip(now).and_then(|(span, now)| now.checked_sub(span).ok()) {
            Some(moment) => Ok(Timestamp::from_micros(moment.timestamp().as_microsecond())),
            None => {
                let units = "ms, s, minutes, d, w, mo or y";
                self.wrong_at(value.at, format!("expected how long ago, such as 30d: a number and {units}"))
            }
        }
    }

    fn field(&self, name: &Value) -> Parsed<Field> {
        match FIELDS.iter().find(|(known, _)| *known == name.text) {
            Some((_, field)) => Ok(*field),
            None => {
                let known = FIELDS.map(|(known, _)| known).join(", ");
                self.wrong_at(
                    name.at,
                    format!("{:?} is no field; there are {known}, and @property", clip(&name.text)),
                )
            }
        }
    }

    fn include(&mut self, find: &mut Find) -> Parsed<()> {
        self.expect('(')?;
        loop {
            let name = self.string("a field, property or @property")?;
            match (name.text.as_str(), name.text.strip_prefix('@')) {
                ("*", _) => FIELDS.iter().for_each(|(_, field)| add(&mut find.fields, *field)),
                ("property" | "property.*" | "property.key" | "property.value" | "@*", _) => {
                    find.properties = ShownProperties::All;
                }
                (_, Some("")) => {
                    return self.wrong_at(name.at, "a property's key stands after the @".to_owned());
                }
                (_, Some(key)) => match &mut find.properties {
                    ShownProperties::All => {}
                    ShownProperties::Of(keys) => add(keys, key.to_owned()),
                    none @ ShownProperties::None => *none = ShownProperties::Of(vec![key.to_owned()]),
                },
                _ => {
                    let field = self.field(&name)?;
                    add(&mut find.fields, field);
                }
            }
            if !self.taken(',') {
                break;
            }
        }
        self.expect(')')
    }

    /// `({"$asc":["field",…]})`, or `$desc`.
    fn sort(&mut self) -> Parsed<Order> {
        self.expect('(')?;
        self.expect('{')?;
        let direction = self.string("$asc or $desc")?;
        let descending = match direction.text.as_str() {
            "$asc" => false,
            "$desc" => true,
            _ => return self.wrong_at(direction.at, "expected $asc or $desc".to_owned()),
        };
        self.expect(':')?;
        let fields = self.list(|parser| {
            let name = parser.string("a field")?;
            parser.field(&name)
        })?;
        self.expect('}')?;
        self.expect(')')?;
        let mut by = Vec::new();
        fields.into_iter().for_each(|field| add(&mut by, field));
        Ok(Order { by, descending })
    }

    fn count(&mut self) -> Parsed<u64> {
        self.expect('(')?;
        self.space();
        let at = self.at;
        let digits = self.taken_while(|c| c.is_ascii_digit());
        let Ok(count) = digits.parse() else {
            return self.wrong_at(at, "expected a whole number from 0".to_owned());
        };
        self.expect(')')?;
        Ok(count)
    }

    /// Things in brackets, divided by commas.
    fn list<T>(&mut self, mut one: impl FnMut(&mut Self) -> Parsed<T>) -> Parsed<Vec<T>> {
        self.expect('[')?;
        let mut list = Vec::new();
        if self.taken(']') {
            return Ok(list);
        }
        loop {
            list.push(one(self)?);
            if !self.taken(',') {
                break;
            }
        }
        self.expect(']')?;
        Ok(list)
    }

    /// A text in quotes, or a number or truth value as it is written.
    fn value(&mut self) -> Parsed<Value> {
        self.space();
        if self.peek() == Some('"') {
            return self.string("a value");
        }
        let at = self.at;
        let text = self.taken_while(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '+' | '.'));
        let number = text.strip_prefix('-').unwrap_or(text);
        let number = number.starts_with(|c: char| c.is_ascii_digit()) && number.parse::<f64>().is_ok();
        if number || matches!(text, "true" | "false") {
            Ok(Value { at, text: text.to_owned() })
        } else {
            self.wrong_at(at, "expected a value in quotes, or a number".to_owned())
        }
    }

    /// A text in quotes, as in JSON.
    fn string(&mut self, what: &str) -> Parsed<Value> {
        self.space();
        let at = self.at;
        let rest = &self.text[at..];
        if !rest.starts_with('"') {
            return self.wrong(format!("expected {what} in quotes"));
        }
        let mut escaped = false;
        let end = rest.bytes().skip(1).position(|byte| {
            let ends = byte == b'"' && !escaped;
            escaped = byte == b'\\' && !escaped;
            ends
        });
        let Some(end) = end else {
            return self.wrong("these quotes are not closed".to_owned());
        };
        let quoted = &rest[..end + 2];
        match serde_json::from_str(quoted) {
            Ok(text) => {
                self.at += quoted.len();
                Ok(Value { at, text })
            }
            Err(_) => self.wrong("this is no text as JSON has it: see to its backslashes".to_owned()),
        }
    }

    /// Letters and underscores.
    fn word(&mut self) -> &'t str {
        self.taken_while(|c| c.is_ascii_alphabetic() || c == '_')
    }

    fn taken_while(&mut self, is: impl Fn(char) -> bool) -> &'t str {
        let rest = &self.text[self.at..];
        let taken = &rest[..rest.find(|c| !is(c)).unwrap_or(rest.len())];
        self.at += taken.len();
        taken
    }

    /// Passes over white space and comments.
    fn space(&mut self) {
        loop {
            self.taken_while(char::is_whitespace);
            let rest = &self.text[self.at..];
            self.at += match rest.get(..2) {
                Some("//") => rest.find('\n').unwrap_or(rest.len()),
                Some("/*") => match rest.find("*/") {
                    Some(end) => end + 2,
                    None => return,
                },
                _ => return,
            };
        }
    }

    fn peek(&mut self) -> Option<char> {
        self.space();
        self.text[self.at..].chars().next()
    }

    fn taken(&mut self, sign: char) -> bool {
        let taken = self.peek() == Some(sign);
        if taken {
            self.at += sign.len_utf8();
        }
        taken
    }

    fn expect(&mut self, sign: char) -> Parsed<()> {
        if self.taken(sign) {
            return Ok(());
        }
        let found = match self.peek() {
            Some(found) => format!("{found:?}"),
            None => "the end".to_owned(),
        };
        self.wrong(format!("expected {sign:?}, found {found}"))
    }

    fn counted(&mut self) -> Parsed<()> {
        self.conditions += 1;
        if self.conditions > AQL_CONDITIONS_MAX {
            return self.wrong(format!("there are more than {AQL_CONDITIONS_MAX} conditions"));
        }
        Ok(())
    }

    fn deeper<T>(&mut self, read: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.depth == AQL_DEPTH_MAX {
            return self.wrong(format!("conditions stand more than {AQL_DEPTH_MAX} deep in one another"));
        }
        self.depth += 1;
        let read = read(self);
        self.depth -= 1;
        read
    }

    fn wrong<T>(&self, message: String) -> Parsed<T> {
        self.wrong_at(self.at, message)
    }

    fn wrong_at<T>(&self, at: usize, message: String) -> Parsed<T> {
        Err(AqlError::at(self.text, at, message))
    }
}

/// One condition as it is, more as all of them.
fn all_of(mut conditions: Vec<Condition>) -> Condition {
    match conditions.pop() {
        Some(only) if conditions.is_empty() => only,
        last => {
            conditions.extend(last);
            Condition::All(conditions)
        }
    }
}

/// Adds what is not there yet.
pub(super) fn add<T: PartialEq>(list: &mut Vec<T>, one: T) {
    if !list.contains(&one) {
        list.push(one);
    }
}

/// As much of a text as a message has room for.
fn clip(text: &str) -> String {
    text.chars().take(64).collect()
}
