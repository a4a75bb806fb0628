use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use supercargo_model::Timestamp;
use supercargo_registry::search::{
    Comparison, Condition, Field, KindTest, NumberField, Order, Test, TextField, TextTest, TimeField,
    Wildcard,
};

use super::{AQL_CONDITIONS_MAX, AQL_DEPTH_MAX, FIELDS, Find, ShownProperties};

/// 2026-01-31T12:00:00Z.
const NOW: Timestamp = Timestamp::from_micros(1_769_860_800_000_000);

fn parse(text: &str) -> Find {
    Find::parse(text, NOW).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn condition(criteria: &str) -> Condition {
    parse(&format!("items.find({criteria})")).condition
}

fn is(field: TextField, text: &str) -> Condition {
    Condition::Is(Test::Text(field, TextTest::equals(text)))
}

fn matching(text: &str) -> TextTest {
    TextTest::Matches(Wildcard::new(text).unwrap())
}

#[test]
fn conditions_are_read_as_they_are_written() {
    let repo = || is(TextField::Repository, "a");
    let name = || is(TextField::Name, "b");
    for (text, expected) in [
        ("", Condition::All(vec![])),
        ("{}", Condition::All(vec![])),
        (r#"{"repo":"a"}"#, repo()),
        (r#" { "repo" : { "$eq" : "a" } } "#, repo()),
        (r#"{"repo":"a","name":"b"}"#, Condition::All(vec![repo(), name()])),
        (r#"{"repo":"a"},{"name":"b"}"#, Condition::All(vec![repo(), name()])),
        (r#"{"$or":[{"repo":"a"},{"name":"b"}]}"#, Condition::Any(vec![repo(), name()])),
        (
            r#"{"$and":[{"$or":[{"repo":"a"},{}]},{"name":"b","repo":"a"}]}"#,
            Condition::All(vec![
                Condition::Any(vec![repo(), Condition::All(vec![])]),
                Condition::All(vec![name(), repo()]),
            ]),
        ),
        ("{\"repo\" // which\n : /* this */ \"a\"}", repo()),
        (r#"{"name":{"$match":"*.json"}}"#, Condition::Is(Test::Text(TextField::Name, matching("*.json")))),
        (
            r#"{"@a b":"c\"\u00e4"}"#,
            Condition::Is(Test::Property("a b".to_owned(), TextTest::equals("c\"ä"))),
        ),
        (r#"{"@a":"*"}"#, Condition::Is(Test::Property("a".to_owned(), matching("*")))),
        (r#"{"@a":true}"#, Condition::Is(Test::Property("a".to_owned(), TextTest::equals("true")))),
        (
            r#"{"@*":{"$ne":"*"}}"#,
            Condition::Is(Test::Property("*".to_owned(), TextTest::Differs(Wildcard::new("*").unwrap()))),
        ),
        (
            r#"{"size":{"$gt":5,"$lte":"7"}}"#,
            Condition::All(vec![
                Condition::Is(Test::Number(NumberField::Size, Comparison::Greater, 5)),
                Condition::Is(Test::Number(NumberField::Size, Comparison::LessOrEqual, 7)),
            ]),
        ),
        (r#"{"type":{"$ne":"file"}}"#, Condition::Is(Test::Kind(KindTest::Folder))),
        (r#"{"actual_sha1":"ABC"}"#, is(TextField::Sha1, "abc")),
    ] {
        assert_eq!(condition(text), expected, "{text}");
    }
}

#[test]
fn times_are_read_in_every_form() {
    for (text, micros) in [
        (r#"{"created":{"$lt":"2026-01-31"}}"#, NOW.as_micros() - 12 * 3_600_000_000),
        (r#"{"created":{"$lt":"2026-01-31T12:00:00Z"}}"#, NOW.as_micros()),
        (r#"{"created":{"$lt":"2026-01-31T12:00:00"}}"#, NOW.as_micros()),
        (r#"{"created":{"$lt":"2026-01-31T13:00:00.000001+01:00"}}"#, NOW.as_micros() + 1),
        (r#"{"created":{"$lt":"2026-01-31T13:00:00.000+0100"}}"#, NOW.as_micros()),
        (r#"{"created":{"$before":"250ms"}}"#, NOW.as_micros() - 250_000),
        (r#"{"created":{"$before":"30 seconds"}}"#, NOW.as_micros() - 30_000_000),
        (r#"{"created":{"$before":"2minutes"}}"#, NOW.as_micros() - 120_000_000),
        (r#"{"created":{"$before":"2d"}}"#, NOW.as_micros() - 2 * 86_400_000_000),
        (r#"{"created":{"$before":"1w"}}"#, NOW.as_micros() - 7 * 86_400_000_000),
        (r#"{"created":{"$before":"1mo"}}"#, NOW.as_micros() - 31 * 86_400_000_000),
        (r#"{"created":{"$before":"1y"}}"#, NOW.as_micros() - 365 * 86_400_000_000),
    ] {
        let expected = Test::Time(TimeField::Created, Comparison::Less, Timestamp::from_micros(micros));
        assert_eq!(condition(text), Condition::Is(expected), "{text}");
    }
    let last = condition(r#"{"modified":{"$last":"1d"}}"#);
    let since = Timestamp::from_micros(NOW.as_micros() - 86_400_000_000);
    assert_eq!(last, Condition::Is(Test::Time(TimeField::Modified, Comparison::Greater, since)));
}

#[test]
fn what_is_shown_is_what_was_asked_for() {
    let names = |text: &str| parse(text).shown_fields().map(|(name, _)| name).collect::<Vec<_>>();
    let usual = FIELDS[..10].iter().map(|(name, _)| *name).collect::<Vec<_>>();
    assert_eq!(names("items.find()"), usual);
    assert_eq!(names(r#"items.find().include("property")"#), usual);
    assert_eq!(names(r#"items.find().include("sha256","name","sha256")"#), ["sha256", "name"]);
    assert_eq!(names(r#"items.find().include("*")"#), FIELDS.map(|(name, _)| name));
    for (include, properties) in [
        (r#""*""#, ShownProperties::None),
        (r#""property""#, ShownProperties::All),
        (r#""*","property.*""#, ShownProperties::All),
        (r#""@a","@b","@a""#, ShownProperties::Of(vec!["a".to_owned(), "b".to_owned()])),
        (r#""@a","property""#, ShownProperties::All),
    ] {
        let find = parse(&format!("items.find().include({include})"));
        assert_eq!(find.properties, properties, "{include}");
    }
}

#[test]
fn files_are_meant_where_nothing_is_said_of_folders() {
    let file = Condition::Is(Test::Kind(KindTest::File));
    let Condition::All(all) = parse(r#"items.find({"repo":"a"})"#).query(vec![]).condition else { panic!() };
    assert_eq!(all[0], file);
    let any = r#"items.find({"$or":[{"type":"any"}]})"#;
    assert_eq!(parse(any).query(vec![]).condition, parse(any).condition);
}

#[test]
fn pages_and_orders_are_read() {
    let find = parse(r#"items.find({"repo":"a"}) .sort({"$desc":["name","size"]}) .offset( 3 ).limit(10)"#);
    assert_eq!((find.offset, find.limit), (3, Some(10)));
    let by = vec![Field::Text(TextField::Name), Field::Number(NumberField::Size)];
    assert_eq!(find.order, Some(Order { by, descending: true }));
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    for (text, line, column, message) in [
        ("", 1, 1, "expected items.find"),
        ("builds.find()", 1, 1, "expected items.find"),
        ("items.search()", 1, 7, "expected find"),
        ("items.find(", 1, 12, "expected '{', found the end"),
        ("items.find({\n \"nam\":\"a\"})", 2, 2, "\"nam\" is no field"),
        (r#"items.find({"name":"a"}"#, 1, 24, "expected ')', found the end"),
        (r#"items.find({"ä":1})"#, 1, 13, "is no field"),
        (r#"items.find({"name":{"$is":"a"}})"#, 1, 21, "expected $eq"),
        (r#"items.find({"name":{}})"#, 1, 21, "expected an operator"),
        (r#"items.find({"name":null})"#, 1, 20, "expected a value"),
        (r#"items.find({"name":a})"#, 1, 20, "expected a value"),
        (r#"items.find({"name":"a})"#, 1, 20, "not closed"),
        (r#"items.find({"name":"\x"})"#, 1, 20, "JSON"),
        (r#"items.find({"name":{"$last":"1d"}})"#, 1, 21, "can't be used with name"),
        (r#"items.find({"size":"x"})"#, 1, 20, "whole number"),
        (r#"items.find({"size":-1})"#, 1, 20, "whole number"),
        (r#"items.find({"size":{"$match":"1*"}})"#, 1, 21, "can't be used with a number"),
        (r#"items.find({"type":"link"})"#, 1, 20, "expected file"),
        (r#"items.find({"created":"today"})"#, 1, 23, "expected a time"),
        (r#"items.find({"created":{"$last":"5 moons"}})"#, 1, 32, "how long ago"),
        (r#"items.find({"created":{"$last":"99999999999y"}})"#, 1, 32, "how long ago"),
        (r#"items.find({"@":"a"})"#, 1, 13, "key"),
        (r#"items.find({"$msp":[]})"#, 1, 13, "is no field"),
        (r#"items.find({"$or":{}})"#, 1, 19, "expected '['"),
        ("items.find().limit(-1)", 1, 20, "whole number"),
        ("items.find().limit(1).limit(2)", 1, 23, "twice"),
        ("items.find().distinct(true)", 1, 14, "expected include"),
        ("items.find() x", 1, 14, "expected '.'"),
        (r#"items.find().sort({"$up":["name"]})"#, 1, 20, "expected $asc"),
        (r#"items.find().include("stat")"#, 1, 22, "is no field"),
        ("items.find().include()", 1, 22, "expected a field"),
        ("items.find(/* x", 1, 12, "expected '{'"),
    ] {
        let error = Find::parse(text, NOW).unwrap_err();
        assert_eq!((error.line, error.column), (line, column), "{text}: {error}");
        assert!(error.message.contains(message), "{text}: {error}");
    }
}

#[test]
fn what_would_take_too_long_is_refused() {
    let nested = |depth: usize| {
        let open = r#"{"$and":["#.repeat(depth);
        format!("items.find({open}{{}}{})", "]}".repeat(depth))
    };
    assert!(Find::parse(&nested(AQL_DEPTH_MAX - 1), NOW).is_ok());
    assert!(Find::parse(&nested(AQL_DEPTH_MAX), NOW).unwrap_err().message.contains("deep"));
    assert!(Find::parse(&nested(5_000), NOW).is_err());
    let many = vec![r#"{"name":"a"}"#; AQL_CONDITIONS_MAX + 1].join(",");
    assert!(Find::parse(&format!("items.find({many})"), NOW).unwrap_err().message.contains("more than"));
    assert!(Find::parse(&" ".repeat(100_000), NOW).is_err());
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z*?.]{0,6}", any::<String>()]
}

fn comparison() -> impl Strategy<Value = Comparison> {
    use Comparison::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual, Unequal};
    prop::sample::select(vec![Equal, Unequal, Greater, GreaterOrEqual, Less, LessOrEqual])
}

fn text_test() -> impl Strategy<Value = TextTest> {
    let wildcard = || text().prop_filter_map("too long", |text| Wildcard::new(text).ok());
    prop_oneof![
        (comparison(), text()).prop_map(|(comparison, text)| TextTest::Compare(comparison, text)),
        wildcard().prop_map(TextTest::Matches),
        wildcard().prop_map(TextTest::Differs),
    ]
}

fn field() -> impl Strategy<Value = Field> {
    prop::sample::select(FIELDS.map(|(_, field)| field).to_vec())
}

fn test() -> impl Strategy<Value = Test> {
    let kind = prop::sample::select(vec![KindTest::File, KindTest::Folder, KindTest::Any]);
    let time = (-50_000_000_000_000_000_i64..200_000_000_000_000_000).prop_map(Timestamp::from_micros);
    let property = (text(), text_test()).prop_filter_map("another way to write it", |(key, test)| {
        let star =
            matches!(&test, TextTest::Compare(Comparison::Equal | Comparison::Unequal, text) if text == "*");
        (!star && !key.is_empty()).then_some(Test::Property(key, test))
    });
    prop_oneof![
        (field(), text_test(), comparison(), any::<u64>(), time, kind).prop_filter_map(
            "another way to write it",
            |(field, text, comparison, number, time, kind)| Some(match field {
                Field::Text(TextField::Md5 | TextField::Sha1 | TextField::Sha256) => return None,
                Field::Text(field) => Test::Text(field, text),
                Field::Number(field) => Test::Number(field, comparison, number),
                Field::Time(field) => Test::Time(field, comparison, time),
                Field::Kind => Test::Kind(kind),
            })
        ),
        property,
    ]
}

fn any_condition() -> impl Strategy<Value = Condition> {
    let leaf = prop_oneof![4 => test().prop_map(Condition::Is), 1 => Just(Condition::everything())];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Condition::All),
            vec(inner, 0..4).prop_map(Condition::Any),
        ]
    })
}

fn find() -> impl Strategy<Value = Find> {
    let unique = |list: Vec<Field>| {
        let mut kept = Vec::new();
        list.into_iter().for_each(|field| super::read::add(&mut kept, field));
        kept
    };
    let properties = prop_oneof![
        Just(ShownProperties::None),
        Just(ShownProperties::All),
        "[a-z]{1,5}".prop_map(|key| ShownProperties::Of(vec![key])),
    ];
    let order = option::of((vec(field(), 0..3), any::<bool>()));
    (any_condition(), vec(field(), 0..4), properties, order, any::<u64>(), option::of(any::<u64>())).prop_map(
        move |(condition, fields, properties, order, offset, limit)| Find {
            condition,
            fields: unique(fields),
            properties,
            order: order.map(|(by, descending)| Order { by: unique(by), descending }),
            offset,
            limit,
        },
    )
}

proptest! {
    #[test]
    fn what_is_written_is_read_as_it_was(find in find()) {
        let text = find.to_string();
        prop_assert_eq!(Find::parse(&text, NOW).map_err(|error| format!("{text}: {error}")), Ok(find));
    }

    #[test]
    fn nothing_is_a_surprise(text in "(items\\.find\\()?[\\[\\]{}():,.\"$@a-z0-9\\\\/* \n]{0,60}|\\PC{0,60}") {
        let _ = Find::parse(&text, NOW);
    }

    #[test]
    fn what_is_nearly_right_is_no_surprise(find in find(), at: prop::sample::Index, with in "[\\[\\]{}():,.\"$@\\\\/*ä]{0,2}") {
        let mut text = find.to_string();
        let start = at.index(text.len() + 1);
        if text.is_char_boundary(start) {
            let end = (start + 1..=text.len()).find(|end| text.is_char_boundary(*end)).unwrap_or(start);
            text.replace_range(start..end, &with);
            if let Err(error) = Find::parse(&text, NOW) {
                prop_assert!(error.line > 0 && error.column > 0 && !error.message.is_empty());
            }
        }
    }
}
