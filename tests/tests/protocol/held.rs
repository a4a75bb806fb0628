//! What was begun with a right and is ended without it: requests whose body is held back, and streams.

use supercargo_tests::Server;
use supercargo_tests::http::{Connection, Request, Response};
use supercargo_tests::image::OCI_MANIFEST;

use crate::accounts::{Guarded, PASSWORD, basic};
use crate::expect_error;

/// A request that waits, let in, with its body still to come.
struct Held {
    connection: Connection,
    method: String,
    body: Vec<u8>,
}

impl Held {
    fn begin(server: &Server, request: Request, body: &[u8]) -> Held {
        let length = body.len().to_string();
        let request = request.header("Expect", "100-continue").header("Content-Length", &length);
        let mut connection = Connection::open(server.address()).unwrap();
        connection.send(&request.to_bytes()).unwrap();
        connection.receive_leave().unwrap();
        Held { connection, method: request.method().to_owned(), body: body.to_vec() }
    }

    fn end(mut self) -> Response {
        self.connection.send(&self.body).unwrap();
        self.connection.receive(&self.method).unwrap()
    }
}

#[test]
fn who_holds_a_body_back_has_the_rights_of_when_it_comes() {
    let guarded = Guarded::start_with(Server::settings());
    let second = format!(r#"{{"administrator":true,"password":"{PASSWORD}"}}"#);
    for user in ["second", "third"] {
        guarded.admin("PUT", &format!("/users/{user}"), &second, 201);
    }
    let held = |user: &str, method: &str, path: &str, kind: &str, body: &[u8]| {
        let request = Request::new(method, path)
            .header("Authorization", &basic(user, PASSWORD))
            .header("Content-Type", kind);
        Held::begin(&guarded.server, request, body)
    };
    let make = |user: &str, name: &str| {
        let path = format!("/api/supercargo/v1/users/{name}");
        held(user, "PUT", &path, "application/json", second.as_bytes())
    };
    let push = |user: &str, tag: &str| {
        let path = format!("/v2/team/web/manifests/{tag}");
        held(user, "PUT", &path, OCI_MANIFEST, &guarded.image.manifest.bytes)
    };

    // Those who keep their rights get what they ask for.
    make("second", "fourth").end().expect(201);
    push("writer", "v2").end().expect(201);

    let (disabled, demoted) = (make("second", "backdoor"), make("third", "backdoor"));
    let pushed = push("writer", "v3");
    guarded.admin("PATCH", "/users/second", r#"{"disabled":true}"#, 200);
    guarded.admin("PATCH", "/users/third", r#"{"administrator":false}"#, 200);
    guarded.permit("user:writer", "team/**", "read");
    disabled.end().expect(401);
    demoted.end().expect(403);
    guarded.admin("GET", "/users/backdoor", "", 404);
    expect_error(&pushed.end(), 403, "DENIED");
    let v3 = guarded.ask("GET", "/v2/team/web/manifests/v3", Some(&basic("reader", PASSWORD)));
    expect_error(&v3, 404, "MANIFEST_UNKNOWN");
    guarded.server.stop().verify();
}

#[test]
fn who_is_no_administrator_any_more_stops_hearing_of_what_happens() {
    let guarded = Guarded::start_with(Server::settings());
    let second = format!(r#"{{"administrator":true,"password":"{PASSWORD}"}}"#);
    guarded.admin("PUT", "/users/second", &second, 201);
    let mut following = Connection::open(guarded.server.address()).unwrap();
    let request = Request::new("GET", "/api/supercargo/v1/log/follow?from=0")
        .header("Authorization", &basic("second", PASSWORD));
    following.send(&request.to_bytes()).unwrap();
    guarded.admin("PATCH", "/users/second", r#"{"disabled":true}"#, 200);
    guarded.admin("PUT", "/groups/later", "{}", 201);
    // Ends, and so can be read to its end.
    let heard = following.receive("GET").unwrap().text();
    assert!(!heard.contains("later"), "{heard}");
    guarded.server.stop().verify();
}

/// A repository may be called what tokens for the administration would be for.
#[test]
fn no_bearer_token_is_good_for_the_administration() {
    let guarded =
        Guarded::start_with(Server::settings().argument("--listen").argument("127.0.0.1:0=administration"));
    guarded.admin("PUT", "/repositories/administration", "{}", 201);
    let (admin, other) = (basic("admin", PASSWORD), guarded.server.next_address());
    let request = Request::new("GET", "/v2/token?service=administration&scope=repository:a:pull")
        .header("Authorization", &admin);
    let answer = supercargo_tests::Client::new(other).send(&request).unwrap().expect(200);
    let bearer = format!("Bearer {}", answer.json()["token"].as_str().unwrap());
    guarded.ask("GET", "/api/supercargo/v1/users", Some(&bearer)).expect(401);
    guarded.ask("GET", "/api/supercargo/v1/users", Some(&admin)).expect(200);
}

#[test]
fn nobody_is_called_what_records_call_those_who_are_nobody() {
    let guarded = Guarded::start_with(Server::settings());
    for name in ["anonymous", "system"] {
        guarded.admin("PUT", &format!("/users/{name}"), r#"{"password":"long enough"}"#, 400);
    }
}
