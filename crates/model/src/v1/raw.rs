//! JSON as text. A converted image must have the digest that docker would give it, so its values are carried over as
//! they are written: numbers are never computed and strings never re-escaped but as docker does it.
//!
//! What lives here: finding an object's members and a list's elements as slices of their text, and writing text as
//! docker's encoder does. What does not: what the members mean.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer as _, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Calls `each` with the name and the text of every member of the object that `text` is, in their order, also those
/// of the same name. Nesting costs no stack, and nothing is allocated but names that are written with escapes.
///
/// # Errors
/// `text` is not one JSON object. `each` may have been called before that is found out.
pub(super) fn members<'j>(
    text: &'j str,
    each: impl FnMut(Cow<'j, str>, &'j str),
) -> Result<(), serde_json::Error> {
    struct Members<F>(F);

    impl<'de, F: FnMut(Cow<'de, str>, &'de str)> Visitor<'de> for Members<F> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a JSON object")
        }

        fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
            while let Some((name, value)) = map.next_entry::<&RawValue, &RawValue>()? {
                (self.0)(unquote(name.get()), value.get());
            }
            Ok(())
        }
    }

    let mut json = serde_json::Deserializer::from_str(text);
    json.deserialize_map(Members(each))?;
    json.end()
}

/// The texts of the elements of the list that `text` is; none if it is no list.
pub(super) fn elements(text: &str) -> Option<Vec<&str>> {
    let elements: Vec<&RawValue> = serde_json::from_str(text).ok()?;
    Some(elements.into_iter().map(RawValue::get).collect())
}

/// What the JSON string `text` says; none if it is no string. Half a surrogate pair says U+FFFD, as in docker.
pub(super) fn string(text: &str) -> Option<Cow<'_, str>> {
    text.starts_with('"').then(|| unquote(text))
}

/// What a string that a JSON parser has passed says.
fn unquote(text: &str) -> Cow<'_, str> {
    let inside = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text);
    let Some(first) = inside.find('\\') else { return Cow::Borrowed(inside) };
    let mut units = Vec::new();
    let mut said = inside[..first].to_owned();
    let mut rest = &inside[first..];
    while let Some(at) = rest.find('\\') {
        if at > 0 {
            flush(&mut said, &mut units);
            said.push_str(&rest[..at]);
        }
        let escape = &rest[at + 1..];
        let hex = escape.strip_prefix('u').and_then(|digits| digits.get(..4));
        match hex.and_then(|hex| u16::from_str_radix(hex, 16).ok()) {
            // Pairs are two escapes, so they are put together when what follows is known.
            Some(unit) => {
                units.push(unit);
                rest = &escape[5..];
            }
            None => {
                flush(&mut said, &mut units);
                let mut chars = escape.chars();
                said.extend(chars.next().map(|letter| match letter {
                    'b' => '\u{8}',
                    'f' => '\u{c}',
                    'n' => '\n',
                    'r' => '\r',
                    't' => '\t',
                    itself => itself,
                }));
                rest = chars.as_str();
            }
        }
    }
    flush(&mut said, &mut units);
    said.push_str(rest);
    Cow::Owned(said)
}

/// Moves the UTF-16 that was escaped so far to what is said.
fn flush(said: &mut String, units: &mut Vec<u16>) {
    said.extend(char::decode_utf16(units.drain(..)).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)));
}

/// How many objects and lists of the JSON `text` are within each other at most.
pub(super) fn depth(text: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    for (c, quoted) in marked(text) {
        match c {
            '{' | '[' if !quoted => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            '}' | ']' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// The characters of a JSON text, each with whether it is part of a string.
fn marked(text: &str) -> impl Iterator<Item = (char, bool)> {
    let (mut quoted, mut escaped) = (false, false);
    text.chars().map(move |c| {
        let part = quoted || c == '"';
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = quoted,
            '"' => quoted = !quoted,
            _ => {}
        }
        (c, part)
    })
}

/// Writes the JSON `text` without white space, and with what docker's encoder escapes in strings that it copies.
pub(super) fn write_compact(out: &mut String, text: &str) {
    for (c, quoted) in marked(text) {
        match c {
            ' ' | '\t' | '\n' | '\r' if !quoted => {}
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => write_escape(out, c),
            _ => out.push(c),
        }
    }
}

/// The JSON `text`, which has no white space, indented by three spaces as docker's encoder does it.
pub(super) fn indented(text: &str) -> String {
    let mut out = String::new();
    let (mut depth, mut opened) = (0_usize, false);
    for (c, quoted) in marked(text) {
        let closes = !quoted && matches!(c, '}' | ']');
        if closes {
            depth = depth.saturating_sub(1);
        }
        // What is empty stays on its line.
        if closes != opened {
            new_line(&mut out, depth);
        }
        out.push(c);
        opened = !quoted && matches!(c, '{' | '[');
        match c {
            '{' | '[' if !quoted => depth += 1,
            ',' if !quoted => new_line(&mut out, depth),
            ':' if !quoted => out.push(' '),
            _ => {}
        }
    }
    out
}

fn new_line(out: &mut String, depth: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n("   ", depth));
}

/// Writes `text` as a JSON string, escaped as docker's encoder does.
pub(super) fn write_string(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\0'..='\x1f' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => write_escape(out, c),
            _ => out.push(c),
        }
    }
    out.push('"');
}

fn write_escape(out: &mut String, c: char) {
    out.push_str(&format!("\\u{:04x}", u32::from(c)));
}

/// Writes one object, member by member, without white space.
#[derive(Debug)]
pub(super) struct ObjectWriter<'o> {
    out: &'o mut String,
    empty: bool,
}

impl<'o> ObjectWriter<'o> {
    /// Begins an object at the end of `out`.
    pub(super) fn new(out: &'o mut String) -> ObjectWriter<'o> {
        out.push('{');
        ObjectWriter { out, empty: true }
    }

    /// Writes a member's name. The caller writes its value to what is answered.
    pub(super) fn member(&mut self, name: &str) -> &mut String {
        if !self.empty {
            self.out.push(',');
        }
        self.empty = false;
        write_string(self.out, name);
        self.out.push(':');
        self.out
    }

    /// Writes a member that is a string.
    pub(super) fn string(&mut self, name: &str, value: &str) {
        write_string(self.member(name), value);
    }

    /// Writes a member that is a string, unless it is empty.
    pub(super) fn string_if_any(&mut self, name: &str, value: &str) {
        if !value.is_empty() {
            self.string(name, value);
        }
    }

    /// Ends the object.
    pub(super) fn end(self) {
        self.out.push('}');
    }
}

/// Writes a list, each element by `write`.
pub(super) fn write_list<T>(
    out: &mut String,
    elements: impl IntoIterator<Item = T>,
    mut write: impl FnMut(&mut String, T),
) {
    out.push('[');
    for (at, element) in elements.into_iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        write(out, element);
    }
    out.push(']');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Option<Vec<(String, String)>> {
        let mut found = Vec::new();
        members(text, |name, value| found.push((name.into_owned(), value.to_owned()))).ok()?;
        Some(found)
    }

    #[test]
    fn members_are_found_as_they_are_written() {
        let text = "\n{ \"b\" : 1e400, \"\\u0061\\/\": [ { \"x\" : \"}\" } ] , \"b\":null }\t";
        let expected = [("b", "1e400"), ("a/", "[ { \"x\" : \"}\" } ]"), ("b", "null")];
        assert_eq!(read(text).unwrap(), expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        for wrong in
            ["", " ", "[]", "null", "7", "\"a\"", "{", "{}{}", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{a:1}"]
        {
            assert!(read(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn strings_are_read_as_docker_reads_them() {
        for (text, said) in [
            (r#""""#, ""),
            (r#""plain é""#, "plain é"),
            (r#""\"\\\/\b\f\n\r\t""#, "\"\\/\u{8}\u{c}\n\r\t"),
            (r#""a\u00e9b""#, "aéb"),
            (r#""\ud83d\ude00!""#, "\u{1f600}!"),
            (r#""\ud83d""#, "\u{fffd}"),
            (r#""\ud83dx\ude00""#, "\u{fffd}x\u{fffd}"),
            (r#""\ud83d\n""#, "\u{fffd}\n"),
            (r#""\ud83d\u0041""#, "\u{fffd}A"),
            (r#""\\u0041""#, "\\u0041"),
        ] {
            assert!(serde_json::from_str::<&RawValue>(text).is_ok(), "{text}");
            assert_eq!(string(text).as_deref(), Some(said), "{text}");
        }
        assert_eq!(string("7"), None);
    }

    #[test]
    fn compact_text_keeps_escapes_and_adds_dockers() {
        let mut out = String::new();
        write_compact(&mut out, "{ \"a b\" :\t[ 1.0 , -0 ,\r\n\"\\u0041 \\\" <\u{2028}>&\\/é\" ] }");
        assert_eq!(out, "{\"a b\":[1.0,-0,\"\\u0041 \\\" \\u003c\\u2028\\u003e\\u0026\\/é\"]}");
        out.clear();
        write_string(&mut out, "\"\\\n\r\t\u{8}\u{0}\u{7f}<>&\u{2029}/é");
        assert_eq!(out, "\"\\\"\\\\\\n\\r\\t\\u0008\\u0000\u{7f}\\u003c\\u003e\\u0026\\u2029/é\"");
    }

    #[test]
    fn text_is_indented_as_docker_does() {
        let text = r#"{"a":[],"b":{},"c":[1,{"d":"[:,{\"}"}],"e":[[]]}"#;
        let lines = [
            "{",
            "   \"a\": [],",
            "   \"b\": {},",
            "   \"c\": [",
            "      1,",
            "      {",
            "         \"d\": \"[:,{\\\"}\"",
            "      }",
            "   ],",
            "   \"e\": [",
            "      []",
            "   ]",
            "}",
        ];
        assert_eq!(indented(text), lines.join("\n"));
        let mut out = String::new();
        write_compact(&mut out, &indented(text));
        assert_eq!(out, text);
    }

    #[test]
    fn depth_counts_what_is_no_string() {
        for (text, expected) in
            [("7", 0), ("{}", 1), (r#"{"[[":"\"[","b":[{},[]]}"#, 3), ("[[[", 3), ("]]]", 0)]
        {
            assert_eq!(depth(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_written_string_says_what_it_was_written_from(text: String) {
            let mut out = String::new();
            write_string(&mut out, &text);
            prop_assert_eq!(&serde_json::from_str::<String>(&out).unwrap(), &text);
            prop_assert_eq!(string(&out).unwrap(), text);
        }

        #[test]
        fn strings_are_read_as_another_parser_does(
            text in r#"([ -~é😀&&[^"\\]]|\\["\\/bfnrt]|\\u[0-9a-cA-C][0-9a-fA-F]{3}|\\ud83d\\ude0[0-9a-f]){0,12}"#,
        ) {
            let text = format!("\"{text}\"");
            prop_assert_eq!(string(&text).unwrap(), serde_json::from_str::<String>(&text).unwrap());
        }

        /// Whatever it is given, also what no parser passed.
        #[test]
        fn nothing_panics(text in r#"[\[\]{}":,\\u0-9a-fd é\n]{0,40}"#) {
            let _ = (read(&text), elements(&text), string(&text), depth(&text), indented(&text));
            write_compact(&mut String::new(), &text);
        }
    }
}
