//! An image's JSON as docker's own structures write it again, which is what docker does with what came from a docker
//! older than 1.8.3: known members in their order, empty ones where docker writes them, nothing else.
//!
//! What lives here: those structures, as tables. What does not: what becomes of the JSON then.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::num::IntErrorKind;

use super::raw::{self, ObjectWriter};
use super::typed::{self, Malformed};

/// From this version of docker on what it writes is taken as it is.
const FIRST_VERBATIM: [i64; 3] = [1, 8, 3];

/// A member that docker knows.
struct Field {
    name: &'static str,
    kind: Kind,
    /// Whether it is written also when it is empty.
    always: bool,
}

/// What a member holds.
enum Kind {
    Text,
    Flag,
    Number,
    Time,
    Strings,
    Command,
    /// Names, each with an empty object.
    Set,
    /// Names, each with a string.
    Map,
    Object(&'static [Field]),
}

const fn always(name: &'static str, kind: Kind) -> Field {
    Field { name, kind, always: true }
}

const fn if_any(name: &'static str, kind: Kind) -> Field {
    Field { name, kind, always: false }
}

/// Docker's `V1Image`, without what is left out of a config anyway: `id`, `parent` and `Size`.
const IMAGE: &[Field] = &[
    if_any("comment", Kind::Text),
    always("created", Kind::Time),
    if_any("container", Kind::Text),
    always("container_config", Kind::Object(CONFIG)),
    if_any("docker_version", Kind::Text),
    if_any("author", Kind::Text),
    if_any("config", Kind::Object(CONFIG)),
    if_any("architecture", Kind::Text),
    if_any("os", Kind::Text),
];

/// Docker's `Config`, of a container.
const CONFIG: &[Field] = &[
    always("Hostname", Kind::Text),
    always("Domainname", Kind::Text),
    always("User", Kind::Text),
    always("AttachStdin", Kind::Flag),
    always("AttachStdout", Kind::Flag),
    always("AttachStderr", Kind::Flag),
    if_any("ExposedPorts", Kind::Set),
    always("Tty", Kind::Flag),
    always("OpenStdin", Kind::Flag),
    always("StdinOnce", Kind::Flag),
    always("Env", Kind::Strings),
    always("Cmd", Kind::Command),
    if_any("Healthcheck", Kind::Object(HEALTHCHECK)),
    if_any("ArgsEscaped", Kind::Flag),
    always("Image", Kind::Text),
    always("Volumes", Kind::Set),
    always("WorkingDir", Kind::Text),
    always("Entrypoint", Kind::Command),
    if_any("NetworkDisabled", Kind::Flag),
    if_any("MacAddress", Kind::Text),
    always("OnBuild", Kind::Strings),
    always("Labels", Kind::Map),
    if_any("StopSignal", Kind::Text),
];

/// Docker's `HealthConfig`.
const HEALTHCHECK: &[Field] = &[
    if_any("Test", Kind::Strings),
    if_any("Interval", Kind::Number),
    if_any("Timeout", Kind::Number),
    if_any("Retries", Kind::Number),
];

/// Whether docker writes what came from this version of it again. Versions are compared part by part, as numbers; a
/// part that is none, or missing, counts zero.
pub(super) fn is_rewritten(docker_version: &str) -> bool {
    let part = |text: &str| match text.parse::<i64>() {
        Ok(number) => number,
        Err(e) if *e.kind() == IntErrorKind::PosOverflow => i64::MAX,
        Err(e) if *e.kind() == IntErrorKind::NegOverflow => i64::MIN,
        Err(_) => 0,
    };
    let mut parts: Vec<i64> = docker_version.split('.').map(part).collect();
    let mut first = FIRST_VERBATIM.to_vec();
    let len = parts.len().max(first.len());
    parts.resize(len, 0);
    first.resize(len, 0);
    parts < first
}

/// The image's JSON `text`, written again.
pub(super) fn rewritten(text: &str) -> Result<String, Malformed> {
    let mut out = String::new();
    write_object(&mut out, IMAGE, text)?;
    Ok(out)
}

fn write_object(out: &mut String, fields: &[Field], text: &str) -> Result<(), Malformed> {
    let mut values = vec![None; fields.len()];
    typed::members(text, |name, value| {
        if let Some(at) = fields.iter().position(|field| field.name.eq_ignore_ascii_case(&name)) {
            values[at] = Some(value).filter(|value| *value != "null");
        }
    })?;
    let mut object = ObjectWriter::new(out);
    for (field, value) in fields.iter().zip(values) {
        let written = field.written(value)?;
        if field.always || !field.is_empty(value, &written) {
            object.member(field.name).push_str(&written);
        }
    }
    object.end();
    Ok(())
}

impl Field {
    /// Its value as docker writes it.
    fn written(&self, value: Option<&str>) -> Result<String, Malformed> {
        let (name, mut out) = (self.name, String::new());
        match &self.kind {
            Kind::Text => raw::write_string(&mut out, &typed::string(name, value)?),
            Kind::Time => raw::write_string(&mut out, &typed::time(name, value)?),
            Kind::Flag => out = typed::flag(name, value)?.to_string(),
            Kind::Number => out = typed::number(name, value)?.to_string(),
            Kind::Strings => write_strings(&mut out, typed::strings(name, value)?),
            Kind::Command => write_strings(&mut out, typed::command(name, value)?),
            Kind::Set => write_map(&mut out, name, value, |out, key, value| {
                typed::pick_within(key, value, [])?;
                out.push_str("{}");
                Ok(())
            })?,
            Kind::Map => write_map(&mut out, name, value, |out, key, value| {
                raw::write_string(out, &typed::string(key, value)?);
                Ok(())
            })?,
            Kind::Object(fields) => {
                let text = value.unwrap_or("{}");
                if !text.starts_with('{') {
                    return Err(Malformed::new(name, "an object"));
                }
                write_object(&mut out, fields, text).map_err(|e| e.within(name))?;
            }
        }
        Ok(out)
    }

    /// Whether docker leaves it out where it may.
    fn is_empty(&self, value: Option<&str>, written: &str) -> bool {
        match self.kind {
            Kind::Object(_) => value.is_none(),
            _ => ["\"\"", "false", "0", "null", "[]", "{}"].contains(&written),
        }
    }
}

fn write_strings(out: &mut String, strings: Option<Vec<Cow<'_, str>>>) {
    match strings {
        Some(strings) => raw::write_list(out, strings, |out, text| raw::write_string(out, &text)),
        None => out.push_str("null"),
    }
}

/// Writes a map in the order of its keys, each value by `write`, which is given what calls it in an error.
fn write_map(
    out: &mut String,
    name: &str,
    value: Option<&str>,
    write: impl Fn(&mut String, &str, Option<&str>) -> Result<(), Malformed>,
) -> Result<(), Malformed> {
    let Some(text) = value else {
        out.push_str("null");
        return Ok(());
    };
    let mut entries = BTreeMap::new();
    raw::members(text, |key, value| {
        entries.insert(key, Some(value).filter(|value| *value != "null"));
    })
    .map_err(|_| Malformed::new(name, "an object"))?;
    let mut object = ObjectWriter::new(out);
    for (key, value) in entries {
        write(object.member(&key), &format!("{name}[{key:?}]"), value)?;
    }
    object.end();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What docker makes of an empty `Config`.
    const ALWAYS_WRITTEN: [&str; 3] = [
        r#"{"Hostname":"","Domainname":"","User":"","AttachStdin":false,"AttachStdout":false,"AttachStderr":false,"#,
        r#""Tty":false,"OpenStdin":false,"StdinOnce":false,"Env":null,"Cmd":null,"Image":"","Volumes":null,"#,
        r#""WorkingDir":"","Entrypoint":null,"OnBuild":null,"Labels":null}"#,
    ];

    #[test]
    fn what_an_old_docker_wrote_is_rewritten() {
        for old in [
            "",
            "1",
            "1.8",
            "1.8.2",
            "1.8.3-rc1",
            "1.7.99",
            "0.9.1",
            "x",
            "1.8.3.-1",
            "-99999999999999999999",
        ] {
            assert!(is_rewritten(old), "{old}");
        }
        for new in
            ["1.8.3", "1.8.3.x", "1.9", "1.10.0-dev", "17.06.0-ce", "2", "1.8.+4", "99999999999999999999"]
        {
            assert!(!is_rewritten(new), "{new}");
        }
    }

    #[test]
    fn little_becomes_all_that_docker_always_writes() {
        let config = ALWAYS_WRITTEN.concat();
        let expected = format!(r#"{{"created":"0001-01-01T00:00:00Z","container_config":{config}}}"#);
        assert_eq!(rewritten("{}").unwrap(), expected);
        assert_eq!(
            rewritten(r#"{"config":null,"Dns":7,"os":"","container_config":null}"#).unwrap(),
            expected
        );
        let both = rewritten(r#"{"config":{}}"#).unwrap();
        assert_eq!(both, format!("{},\"config\":{config}}}", expected.strip_suffix('}').unwrap()));
    }

    #[test]
    fn members_are_written_in_dockers_order_and_form() {
        let json = r#"{
            "os": "linux", "architecture": "amd64", "Size": 7, "id": "x", "comment": "<c>", "author": "\u0041",
            "created": "2014-05-13T16:54:00.500+02:00", "docker_version": "1.5.0", "container": "c",
            "config": {
                "StopSignal": "9", "Labels": {"b": "2", "a": null, "b": "3"}, "OnBuild": [], "MacAddress": "m",
                "NetworkDisabled": true, "Entrypoint": "/e f", "WorkingDir": "/w", "Volumes": {"/b": {}, "/a": null},
                "Image": "i", "ArgsEscaped": true, "Healthcheck": {"Retries": 3, "Test": ["NONE"], "Interval": 0},
                "cmd": ["\u003c", "&"], "Env": ["A=1"], "StdinOnce": true, "OpenStdin": true, "Tty": true,
                "ExposedPorts": {"80/tcp": {"x": 1}}, "AttachStderr": true, "AttachStdout": true, "AttachStdin": true,
                "User": "u", "Domainname": "d", "Hostname": "h", "Memory": 0, "PublishService": "p", "Dns": null
            },
            "container_config": {"ExposedPorts": {}, "Healthcheck": {}, "ArgsEscaped": false, "MacAddress": ""}
        }"#;
        let expected = [
            r#"{"comment":"\u003cc\u003e","created":"2014-05-13T16:54:00.5+02:00","container":"c","container_config":"#,
            &ALWAYS_WRITTEN.concat().replace(r#""Image""#, r#""Healthcheck":{},"Image""#),
            r#","docker_version":"1.5.0","author":"A","config":{"Hostname":"h","Domainname":"d","User":"u","#,
            r#""AttachStdin":true,"AttachStdout":true,"AttachStderr":true,"ExposedPorts":{"80/tcp":{}},"Tty":true,"#,
            r#""OpenStdin":true,"StdinOnce":true,"Env":["A=1"],"Cmd":["\u003c","\u0026"],"#,
            r#""Healthcheck":{"Test":["NONE"],"Retries":3},"ArgsEscaped":true,"Image":"i","#,
            r#""Volumes":{"/a":{},"/b":{}},"#,
            r#""WorkingDir":"/w","Entrypoint":["/e f"],"NetworkDisabled":true,"MacAddress":"m","OnBuild":[],"#,
            r#""Labels":{"a":"","b":"3"},"StopSignal":"9"},"architecture":"amd64","os":"linux"}"#,
        ];
        assert_eq!(rewritten(json).unwrap(), expected.concat());
    }

    #[test]
    fn what_docker_could_not_read_is_named() {
        for (json, what) in [
            (r#"{"os":7}"#, "os must be a string"),
            (r#"{"config":[]}"#, "config must be an object"),
            (r#"{"config":{"Env":"A=1"}}"#, "config.Env must be a list of strings"),
            (r#"{"config":{"Volumes":["/a"]}}"#, "config.Volumes must be an object"),
            (r#"{"config":{"Volumes":{"/a":1}}}"#, "config.Volumes[\"/a\"] must be an object"),
            (r#"{"config":{"Labels":{"a":1}}}"#, "config.Labels[\"a\"] must be a string"),
            (
                r#"{"container_config":{"Healthcheck":{"Retries":1.5}}}"#,
                "container_config.Healthcheck.Retries must be a whole number",
            ),
        ] {
            assert_eq!(rewritten(json).unwrap_err().to_string(), what);
        }
        assert!(rewritten("[]").unwrap_err().to_string().starts_with("it is not a JSON object"));
    }
}
