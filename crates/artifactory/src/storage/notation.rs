//! How clients write properties: `a=1,2;b=3` (the REST reference, "Set Item Properties").
//!
//! Properties stand between `;` or `|`, values between `,`. A backslash takes the meaning from what comes behind it. Pure.

/// Properties with their values, each property once.
pub(super) type Written = Vec<(String, Vec<String>)>;

/// Splits a text at characters that no backslash stands before, which stay in it.
fn split(text: &str, at: impl Fn(char) -> bool) -> Vec<&str> {
    let (mut parts, mut start, mut escaped) = (Vec::new(), 0, false);
    for (index, c) in text.char_indices() {
        if escaped {
            escaped = false;
        } else if c == '\\' {
            escaped = true;
        } else if at(c) {
            parts.push(&text[start..index]);
            start = index + c.len_utf8();
        }
    }
    parts.push(&text[start..]);
    parts
}

/// A text without the backslashes that take meanings away. One before anything else is itself.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match chars.peek() {
            Some(',' | '|' | '=' | ';' | '\\') if c == '\\' => plain.extend(chars.next()),
            _ => plain.push(c),
        }
    }
    plain
}

/// A text without spaces around it. Other white space is no more of a slip than other controls are.
fn spaceless(text: &str) -> &str {
    text.trim_matches(' ')
}

/// Properties with their values. A property that is there twice has the values of both.
///
/// # Errors
/// What to write instead.
pub(super) fn properties(text: &str) -> Result<Written, String> {
    let mut written: Written = Vec::new();
    for part in split(text, |c| matches!(c, ';' | '|')).into_iter().filter(|part| !spaceless(part).is_empty())
    {
        let sides = split(part, |c| c == '=');
        let [property, ..] = sides[..] else { continue };
        // What is behind the first sign is values, with all other signs.
        let Some(values) = part.get(property.len() + 1..) else {
            return Err(format!("{part:?} is no property: write name=value, or name=value,value"));
        };
        let (property, values) = (plain(spaceless(property)), self::values(values));
        match written.iter_mut().find(|(known, _)| *known == property) {
            Some((_, known)) => known.extend(values),
            None => written.push((property, values)),
        }
    }
    if written.is_empty() { Err("no property is named: write name=value".to_owned()) } else { Ok(written) }
}

/// Values, also none between two commas.
pub(crate) fn values(text: &str) -> Vec<String> {
    split(text, |c| c == ',').into_iter().map(plain).collect()
}

/// Names of properties.
pub(super) fn names(text: &str) -> Vec<String> {
    let names = split(text, |c| c == ',').into_iter().map(|name| plain(spaceless(name)));
    names.filter(|name| !name.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Vec<(String, Vec<String>)> {
        properties(text).unwrap()
    }

    fn expected(expected: &[(&str, &[&str])]) -> Vec<(String, Vec<String>)> {
        let values = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
        expected.iter().map(|(property, all)| ((*property).to_owned(), values(all))).collect()
    }

    #[test]
    fn properties_are_read_as_the_reference_has_them() {
        for (text, all) in [
            ("a=1", &[("a", &["1"][..])][..]),
            ("a=1,2;b=3", &[("a", &["1", "2"]), ("b", &["3"])]),
            ("a=1,2|b=3", &[("a", &["1", "2"]), ("b", &["3"])]),
            ("a=1;;b=2;", &[("a", &["1"]), ("b", &["2"])]),
            ("a=", &[("a", &[""])]),
            ("a=1;a=2", &[("a", &["1", "2"])]),
            (r"a=x\,y,z", &[("a", &["x,y", "z"])]),
            (r"a=x\|y|b=\=", &[("a", &["x|y"]), ("b", &["="])]),
            (r"a=x\;y", &[("a", &["x;y"])]),
            (r"a=\\,\n", &[("a", &[r"\", r"\n"])]),
            ("a=b=c", &[("a", &["b=c"])]),
            (r"a\=b=c", &[("a=b", &["c"])]),
            ("a=ü ß", &[("a", &["ü ß"])]),
        ] {
            assert_eq!(read(text), expected(all), "{text}");
        }
        for bad in ["", ";", "a", "a=1;b", r"a\=b"] {
            assert!(properties(bad).is_err(), "{bad}");
        }
        assert_eq!(names("a, b,,c"), ["a", "b", "c"]);
        assert!(names(",").is_empty());
        assert_eq!((read(" a\n=1")[0].0.as_str(), names(" a\t ")), ("a\n", vec!["a\t".to_owned()]));
    }

    /// A text with a backslash before whatever has a meaning.
    fn escaped(text: &str) -> String {
        text.chars().fold(String::new(), |mut out, c| {
            if matches!(c, ',' | '|' | '=' | ';' | '\\') {
                out.push('\\');
            }
            out.push(c);
            out
        })
    }

    proptest! {
        #[test]
        fn what_is_escaped_comes_back(
            written in proptest::collection::btree_map("[a-z=,|;]{1,4}", proptest::collection::vec("[a-z=,|;\\\\ ü]{0,4}", 1..4), 1..4)
        ) {
            let written: Vec<(String, Vec<String>)> = written.into_iter().collect();
            let text = written.iter().map(|(property, values)| {
                let values: Vec<String> = values.iter().map(|value| escaped(value)).collect();
                format!("{}={}", escaped(property), values.join(","))
            });
            let text = text.collect::<Vec<_>>().join(";");
            prop_assert_eq!(properties(&text).unwrap(), written);
        }

        #[test]
        fn nothing_panics(text in "\\PC{0,40}|[ab=,;|\\\\]{0,20}") {
            let _ = (properties(&text), names(&text));
        }
    }
}
