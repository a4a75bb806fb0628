//! Servers that speak the old protocol, and a table's rows asked one after the other: what is wrong with any of them
//! is said of all of them at the end.

use std::cell::RefCell;

use serde_json::Value;
use supercargo_tests::Server;
use supercargo_tests::accounts::Guarded;
use supercargo_tests::http::{Request, Response};
use supercargo_tests::server::Settings;
use supercargo_tests::v1::session::matches;
use supercargo_tests::v1::{V1Client, Version, Wire};

/// A server without accounts whose repository speaks that.
#[track_caller]
pub(crate) fn speaking(version: &str) -> Server {
    configured(Server::settings(), version)
}

/// A server with these settings whose repository speaks that.
#[track_caller]
pub(crate) fn configured(settings: Settings, version: &str) -> Server {
    let server = settings.start();
    server.cli(&["repo", "configure", "docker-local", "--docker-api-version", version]).expect_success();
    server
}

/// A server with accounts, whose repository speaks the old protocol alone.
#[track_caller]
pub(crate) fn guarded(settings: Settings) -> Guarded {
    let guarded = Guarded::start(settings);
    guarded.admin("PATCH", "/repositories/docker-local", r#"{"docker-api-version":"V1"}"#, 200);
    guarded
}

/// A client of that version.
pub(crate) fn client(server: &Server, version: Version) -> V1Client {
    V1Client::new(wire(server), version)
}

/// The way to a server.
pub(crate) const fn wire(server: &Server) -> Wire {
    Wire::plain(server.address())
}

/// A request without a body.
pub(crate) fn get(path: &str) -> Request {
    Request::new("GET", path)
}

/// A request that removes something.
pub(crate) fn delete(path: &str) -> Request {
    Request::new("DELETE", path)
}

/// A request with JSON, or what is none, in its body.
pub(crate) fn put(path: &str, body: impl Into<Vec<u8>>) -> Request {
    Request::new("PUT", path).header("Content-Type", "application/json").body(body)
}

/// The rows of a table, as they are asked.
pub(crate) struct Rows {
    wire: Wire,
    wrong: RefCell<Vec<String>>,
}

impl Rows {
    /// Asked of that server.
    pub(crate) fn of(wire: Wire) -> Rows {
        Rows { wire, wrong: RefCell::default() }
    }

    /// Remembers what is wrong, if it is.
    pub(crate) fn holds(&self, row: &str, what: &str, right: bool, answer: &Response) {
        if !right {
            self.wrong.borrow_mut().push(format!("{row}: {what}\n{answer:?}\n"));
        }
    }

    /// A row with that status.
    pub(crate) fn status(&self, row: &str, request: &Request, status: u16) -> Response {
        let answer = self.wire.send(request).unwrap_or_else(|error| panic!("{row}: {request}: {error}"));
        self.holds(row, &format!("{request} should be {status}"), answer.status == status, &answer);
        answer
    }

    /// A row with that status and exactly that body.
    pub(crate) fn text(&self, row: &str, request: &Request, status: u16, text: &str) -> Response {
        let answer = self.status(row, request, status);
        let what = format!("{request} should say {text}");
        self.holds(row, &what, answer.body == text.as_bytes(), &answer);
        answer
    }

    /// A row with that status and JSON.
    #[expect(clippy::needless_pass_by_value, reason = "made where it is passed")]
    pub(crate) fn json(&self, row: &str, request: &Request, status: u16, expected: Value) -> Response {
        let answer = self.status(row, request, status);
        let what = format!("{request} should say {expected}");
        let body: Option<Value> = serde_json::from_slice(&answer.body).ok();
        self.holds(row, &what, body.as_ref() == Some(&expected), &answer);
        self.is_json(row, &answer);
        answer
    }

    /// A refusal: an object with that `error`, in which `*` stands for any text, and with texts alone.
    pub(crate) fn error(&self, row: &str, request: &Request, status: u16, error: &str) -> Response {
        let answer = self.status(row, request, status);
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
        let said = body["error"].as_str().unwrap_or_default();
        let what = format!("{request} should say {error}");
        self.holds(row, &what, !said.is_empty() && matches(error, said), &answer);
        let texts = body.as_object().is_some_and(|members| members.values().all(Value::is_string));
        self.holds(row, &format!("{request} should say texts alone"), texts, &answer);
        self.is_json(row, &answer);
        answer
    }

    /// A row that has one of these statuses.
    pub(crate) fn one_of(&self, row: &str, request: &Request, statuses: &[u16]) -> Response {
        let answer = self.wire.send(request).unwrap_or_else(|error| panic!("{row}: {request}: {error}"));
        let what = format!("{request} should be one of {statuses:?}");
        self.holds(row, &what, statuses.contains(&answer.status), &answer);
        answer
    }

    /// A header of an answer, in which `*` stands for any text.
    pub(crate) fn header(&self, row: &str, answer: &Response, name: &str, value: &str) {
        let right = answer.headers(name).iter().any(|found| matches(value, found));
        self.holds(row, &format!("{name} should be {value}"), right, answer);
    }

    fn is_json(&self, row: &str, answer: &Response) {
        self.header(row, answer, "Content-Type", "application/json*");
    }

    /// Fails the test if anything was wrong.
    #[track_caller]
    pub(crate) fn finish(self) {
        let wrong = self.wrong.into_inner();
        assert!(wrong.is_empty(), "{} rows are wrong:\n{}", wrong.len(), wrong.join("\n"));
    }
}
