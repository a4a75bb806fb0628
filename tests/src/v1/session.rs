//! Sessions of old clients as data, and their player. A file of `fixtures/v1/sessions` holds all that one client said
//! to one kind of registry, command by command, and of each answer what the client needs of it. It is played with
//! images that are made anew each time, so that nothing can come from elsewhere than from the registry.
//!
//! A request's target, headers and body, and what is wanted of the answer, hold these placeholders:
//!
//! | | stands for |
//! |---|---|
//! | `{id:a}` | the id of image a |
//! | `{json:a}` | its JSON, as it is sent |
//! | `{size:a}` | how many bytes its layer has |
//! | `{payload:a}`, `{tarsum:a}` | its checksums |
//! | `{token}` | what the last `X-Docker-Token` of the same command said |
//! | `{host}` | what the registry is called in an image's name |
//! | `{user}`, `{password}`, `{wrong password}` | of the user who logs in |
//! | `{basic}`, `{wrong basic}` | what `Authorization` says with either password |

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use crate::accounts::{PASSWORD, basic};
use crate::files::{Files, write_tar};
use crate::http::{Request, Response};
use crate::random::Random;
use crate::v1::image::{V1Image, gzip, new_id};
use crate::v1::wire::Wire;

/// Who logs in.
pub const USER: &str = "bob";
const WRONG_PASSWORD: &str = "wrong";
/// How many of the requests that a client makes together are under way at a time.
const TOGETHER_MAX: usize = 5;

/// All that a client said to a registry.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Session {
    /// Which client it was.
    pub client: String,
    /// What kind of registry.
    pub registry: Registry,
    /// The headers of every request that has no others of the same name.
    headers: Vec<String>,
    images: BTreeMap<String, ImageTemplate>,
    commands: Vec<Command>,
}

/// A kind of registry, as a client sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Registry {
    /// Over plain http, and without accounts.
    Open,
    /// Over plain http, with accounts.
    Accounts,
    /// Over TLS, with accounts.
    Tls,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ImageTemplate {
    json: String,
    /// In how many chunks the layer is sent.
    chunks: usize,
    /// Whether its layer has a megabyte, and not just some bytes.
    large: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Command {
    runs: String,
    exchanges: Vec<Exchange>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Exchange {
    /// Method and target.
    request: String,
    #[serde(default)]
    headers: Vec<String>,
    body: Option<String>,
    /// The image whose layer is the body, in chunks.
    layer: Option<String>,
    /// Whether it is made while its neighbours are that also are.
    #[serde(default)]
    together: bool,
    status: u16,
    /// Headers that the answer must have. `*` stands for any text.
    #[serde(default)]
    has: Vec<String>,
    /// Headers that it must not have.
    #[serde(default)]
    lacks: Vec<String>,
    /// The answer's body.
    text: Option<String>,
    /// The answer's body as JSON, where a text with `*` in it is a pattern.
    json: Option<String>,
    /// What the answer's body, an object, holds among other things.
    holds: Option<String>,
    /// The images that the answer's body lists, in any order.
    images: Option<Vec<String>>,
    /// The image whose layer the answer's body is.
    layer_of: Option<String>,
}

/// Where the sessions are.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/v1/sessions")
}

/// The names of all sessions.
pub fn names() -> Vec<String> {
    let files = std::fs::read_dir(folder()).unwrap();
    let mut names: Vec<String> = files
        .filter_map(|file| file.unwrap().file_name().to_str()?.strip_suffix(".toml").map(str::to_owned))
        .collect();
    names.sort();
    names
}

impl Session {
    /// Reads one.
    #[track_caller]
    pub fn read(name: &str) -> Session {
        let text = std::fs::read_to_string(folder().join(format!("{name}.toml"))).unwrap();
        toml::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Plays it, and fails the test at the first answer that the client could not do with.
    #[track_caller]
    pub fn play(&self, wire: &Wire, random: &mut Random) {
        let (images, mut values) = self.make_images(random);
        let wrong = basic(USER, WRONG_PASSWORD);
        values.extend(
            [
                ("host", &*wire.host()),
                ("user", USER),
                ("password", PASSWORD),
                ("wrong password", WRONG_PASSWORD),
                ("basic", &basic(USER, PASSWORD)),
                ("wrong basic", &wrong),
            ]
            .map(|(key, value)| (key.to_owned(), value.to_owned())),
        );
        let mut player = Player { session: self, wire, images, values };
        for command in &self.commands {
            player.play(command);
        }
    }

    /// Images for the templates, and what the placeholders say of them.
    fn make_images(&self, random: &mut Random) -> (BTreeMap<String, V1Image>, BTreeMap<String, String>) {
        let mut values = BTreeMap::new();
        for key in self.images.keys() {
            values.insert(format!("id:{key}"), new_id(random));
        }
        let mut images = BTreeMap::new();
        for (key, template) in &self.images {
            let contents = random.bytes(if template.large { 1_000_000 } else { 300 });
            let image = V1Image {
                id: values[&format!("id:{key}")].clone(),
                json: fill(&template.json, &values).into_bytes(),
                layer: gzip(&write_tar(&Files::from([(format!("layers/{key}"), contents)]))),
            };
            images.insert(key.clone(), image);
        }
        for (key, image) in &images {
            values.insert(format!("json:{key}"), String::from_utf8(image.json.clone()).unwrap());
            values.insert(format!("size:{key}"), image.layer.len().to_string());
            values.insert(format!("payload:{key}"), image.payload());
            values.insert(format!("tarsum:{key}"), image.tarsum());
        }
        (images, values)
    }
}

struct Player<'s> {
    session: &'s Session,
    wire: &'s Wire,
    images: BTreeMap<String, V1Image>,
    values: BTreeMap<String, String>,
}

impl Player<'_> {
    #[track_caller]
    fn play(&mut self, command: &Command) {
        // What the command before was told is forgotten.
        self.values.remove("token");
        let mut left = command.exchanges.as_slice();
        while let Some(first) = left.first() {
            let joined = left.iter().take_while(|exchange| exchange.together).take(TOGETHER_MAX).count();
            let (now, later) = left.split_at(joined.max(1));
            left = later;
            let player = &*self;
            let answers: Vec<Response> = if now.len() == 1 {
                vec![player.send(first)]
            } else {
                std::thread::scope(|scope| {
                    let sent: Vec<_> =
                        now.iter().map(|exchange| scope.spawn(|| player.send(exchange))).collect();
                    sent.into_iter().map(|sent| sent.join().expect("an answer")).collect()
                })
            };
            for (exchange, answer) in now.iter().zip(answers) {
                if let Err(problem) = self.judge(exchange, &answer) {
                    let Session { client, .. } = self.session;
                    let request = fill(&exchange.request, &self.values);
                    panic!("{client}: {}: {request}: {problem}\n{answer:?}", command.runs);
                }
                let tokens = answer.headers("X-Docker-Token");
                if !tokens.is_empty() {
                    self.values.insert("token".to_owned(), tokens.join(","));
                }
            }
        }
    }

    fn send(&self, exchange: &Exchange) -> Response {
        let target = fill(&exchange.request, &self.values);
        let (method, target) = target.split_once(' ').unwrap();
        let mut request = Request::new(method, target);
        let name_of = |header: &str| header.split(':').next().unwrap_or_default().to_ascii_lowercase();
        let own: Vec<String> = exchange.headers.iter().map(|header| name_of(header)).collect();
        let common = self.session.headers.iter().filter(|header| !own.contains(&name_of(header)));
        for header in common.chain(&exchange.headers) {
            let header = fill(header, &self.values);
            let (name, value) = header.split_once(": ").unwrap();
            request = request.header(name, value);
        }
        if let Some(body) = &exchange.body {
            request = request.body(fill(body, &self.values));
        }
        if let Some(key) = &exchange.layer {
            let layer = &self.images[key].layer;
            let piece = layer.len().div_ceil(self.session.images[key].chunks);
            request = request.chunked(layer.chunks(piece).map(<[u8]>::to_vec));
        }
        self.wire.send(&request).unwrap_or_else(|error| panic!("{request}: {error}"))
    }

    /// Whether a client can do with that answer, or why not.
    fn judge(&self, exchange: &Exchange, answer: &Response) -> Result<(), String> {
        let fill = |template: &String| fill(template, &self.values);
        let parse = |template: &String| -> Value {
            let text = fill(template);
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
        };
        if answer.status != exchange.status {
            return Err(format!("the status should be {}", exchange.status));
        }
        for header in &exchange.has {
            let header = fill(header);
            let (name, pattern) = header.split_once(": ").unwrap();
            if !answer.headers(name).iter().any(|value| matches(pattern, value)) {
                return Err(format!("no header {header}"));
            }
        }
        for name in &exchange.lacks {
            if answer.header(name).is_some() {
                return Err(format!("a header {name}"));
            }
        }
        let body = || serde_json::from_slice(&answer.body).map_err(|error| format!("no JSON: {error}"));
        if let Some(text) = exchange.text.as_ref().map(fill)
            && answer.body != text.as_bytes()
        {
            return Err(format!("the body should be {text}"));
        }
        if let Some(expected) = exchange.json.as_ref().map(parse)
            && !is_like(&expected, &body()?, false)
        {
            return Err(format!("the body should be {expected}"));
        }
        if let Some(expected) = exchange.holds.as_ref().map(parse)
            && !is_like(&expected, &body()?, true)
        {
            return Err(format!("the body should hold {expected}"));
        }
        if let Some(keys) = &exchange.images {
            let body = body()?;
            let entries = body.as_array().map(Vec::as_slice).unwrap_or_default();
            let mut listed: Vec<&str> = entries.iter().filter_map(|entry| entry["id"].as_str()).collect();
            let mut expected: Vec<&str> = keys.iter().map(|key| &*self.images[key].id).collect();
            listed.sort_unstable();
            expected.sort_unstable();
            if listed != expected || entries.iter().any(|entry| entry.get("Tag").is_some()) {
                return Err(format!("the body should list {expected:?} alone, and no tags"));
            }
        }
        if let Some(key) = &exchange.layer_of
            && answer.body != self.images[key].layer
        {
            return Err(format!("the body should be the layer of {key}"));
        }
        Ok(())
    }
}

/// A template with values in the place of what stands for them. What has no value is no placeholder.
fn fill(template: &str, values: &BTreeMap<String, String>) -> String {
    let mut filled = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        filled.push_str(before);
        let value = after.split_once('}').and_then(|(key, after)| Some((values.get(key)?, after)));
        rest = match value {
            Some((value, after)) => {
                filled.push_str(value);
                after
            }
            None => {
                filled.push('{');
                after
            }
        };
    }
    filled + rest
}

/// Whether a text is of a pattern, in which `*` stands for any text.
pub fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((before, after)) => text.strip_prefix(before).is_some_and(|rest| {
            rest.char_indices().map(|(at, _)| at).chain([rest.len()]).any(|at| matches(after, &rest[at..]))
        }),
    }
}

/// Whether JSON is as expected. Objects may have more members where `more` says so.
fn is_like(expected: &Value, found: &Value, more: bool) -> bool {
    match (expected, found) {
        (Value::String(pattern), Value::String(text)) => matches(pattern, text),
        (Value::Array(expected), Value::Array(found)) => {
            expected.len() == found.len()
                && expected.iter().zip(found).all(|(expected, found)| is_like(expected, found, more))
        }
        (Value::Object(expected), Value::Object(found)) => {
            (more || expected.len() == found.len())
                && expected
                    .iter()
                    .all(|(key, value)| found.get(key).is_some_and(|found| is_like(value, found, more)))
        }
        _ => expected == found,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn placeholders_are_filled_and_other_braces_are_left() {
        let values = BTreeMap::from([("id:a".to_owned(), "12".to_owned())]);
        assert_eq!(fill(r#"{"id":"{id:a}","x":{}}"#, &values), r#"{"id":"12","x":{}}"#);
        assert_eq!(fill("{id:b} {", &values), "{id:b} {");
    }

    #[test]
    fn patterns_match_whole_texts() {
        for (pattern, text, expected) in [
            ("a*c", "abc", true),
            ("a*c", "ac", true),
            ("a*c", "acd", false),
            ("*", "", true),
            ("a", "ab", false),
            ("s=*,r=\"x\",a=*", "s=1,2,r=\"x\",a=read", true),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn json_is_compared_as_a_whole_or_in_part() {
        let found = json!({ "a": [{ "b": 1, "c": 2 }], "d": "text" });
        assert!(is_like(&json!({ "a": [{ "b": 1 }] }), &found, true));
        assert!(!is_like(&json!({ "a": [{ "b": 1 }] }), &found, false));
        assert!(!is_like(&json!({ "a": [] }), &found, true));
        assert!(is_like(&json!({ "a": [{ "b": 1, "c": 2 }], "d": "t*" }), &found, false));
    }

    /// Every session can be read, has a value for every placeholder, and wants something of every answer.
    #[test]
    fn sessions_are_whole() {
        for name in names() {
            let session = Session::read(&name);
            let (_, mut values) = session.make_images(&mut Random::from_seed(1));
            for key in ["token", "host", "user", "password", "wrong password", "basic", "wrong basic"]
                .map(String::from)
            {
                values.insert(key, "value".to_owned());
            }
            for command in &session.commands {
                assert!(!command.exchanges.is_empty(), "{name}: {}", command.runs);
                for exchange in &command.exchanges {
                    let texts = [Some(&exchange.request), exchange.body.as_ref(), exchange.json.as_ref()];
                    for text in texts.into_iter().flatten().chain(&exchange.headers).chain(&exchange.has) {
                        let filled = fill(text, &values);
                        assert!(!filled.contains("{id:") && !filled.contains("{token"), "{name}: {filled}");
                    }
                    let wants = [
                        exchange.text.is_some(),
                        exchange.json.is_some(),
                        exchange.holds.is_some(),
                        exchange.images.is_some(),
                        exchange.layer_of.is_some(),
                        !exchange.has.is_empty(),
                        !exchange.lacks.is_empty(),
                        exchange.status == 204,
                    ];
                    assert!(wants.contains(&true), "{name}: {}", exchange.request);
                }
            }
        }
    }
}
