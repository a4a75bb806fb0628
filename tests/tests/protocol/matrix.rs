//! Who may do what, cell by cell: the tables in the documentation are the expectation, and every endpoint that the
//! documentation names has a row in them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use supercargo_tests::client::Client;
use supercargo_tests::http::{Request, Response, connect};
use supercargo_tests::image::{Blob, OCI_MANIFEST};
use supercargo_tests::{Image, Server};

use crate::accounts::{PASSWORD, basic};
use crate::expect_error;

const ADMIN: &str = "/api/supercargo/v1";

/// A table of the documentation: for each request, the status that each caller gets.
struct Table {
    callers: Vec<String>,
    rows: BTreeMap<String, Vec<String>>,
}

impl Table {
    /// The table whose first column is called `request`, with callers in the others.
    fn of(page: &str) -> Table {
        let cells = |line: &str| -> Vec<String> {
            line.trim_matches('|').split(" | ").map(|cell| cell.trim().trim_matches('`').to_owned()).collect()
        };
        let mut lines = page.lines().skip_while(|line| !line.starts_with("| request | nobody |"));
        let callers = cells(lines.next().unwrap()).split_off(1);
        let rows = lines.skip(1).take_while(|line| line.starts_with('|'));
        let rows = rows.map(|line| {
            let mut row = cells(line);
            let statuses = row.split_off(1);
            assert_eq!(statuses.len(), callers.len(), "{line}");
            (row.remove(0), statuses)
        });
        let rows = rows.collect();
        Table { callers, rows }
    }
}

/// Everybody who might ask, by the name that the tables give them: what they send in `Authorization`.
struct World {
    server: Server,
    callers: BTreeMap<&'static str, Option<String>>,
    image: Image,
    fresh: std::cell::Cell<u32>,
    _files: tempfile::TempDir,
}

impl World {
    /// `reader`, `writer` and `deleter` of `team/**`; a `manager` of that, and a `keeper`, who manages all of
    /// `docker-local`; and what else may come in an `Authorization` header.
    fn start() -> World {
        let files = tempfile::tempdir().unwrap();
        let password = files.path().join("password");
        std::fs::write(&password, PASSWORD).unwrap();
        let server = Server::start();
        server.cli(&["repo", "create", "elsewhere"]).expect_success();
        let server = server
            .stop()
            .into_settings()
            .argument("--accounts")
            .argument("--admin-password-file")
            .argument(password.to_str().unwrap())
            .argument("--listen")
            .argument("127.0.0.1:0=elsewhere")
            .start();
        let mut world = World {
            server,
            callers: BTreeMap::from([("nobody", None), ("administrator", Some(basic("admin", PASSWORD)))]),
            image: Image::generate(1, 1, 100),
            fresh: std::cell::Cell::new(0),
            _files: files,
        };
        for (user, repositories, names, actions) in [
            ("reader", "**", "team/**", "read"),
            ("writer", "**", "team/**", "read,write"),
            ("deleter", "**", "team/**", "read,delete"),
            ("manager", "**", "team/**", "manage"),
            ("keeper", "docker-local", "**", "manage"),
            ("disabled", "**", "**", "manage"),
        ] {
            world.make_user(user);
            world.permit(&format!("user:{user}"), repositories, names, actions);
            world.callers.insert(user, Some(basic(user, PASSWORD)));
        }
        for name in ["team/web", "secret/web"] {
            world.push(name);
        }
        world.add_tokens();
        world
    }

    /// Callers who are somebody by a token, or no longer.
    fn add_tokens(&mut self) {
        let administrator = self.callers["administrator"].clone();
        let second = Client::new(self.server.next_address());
        let all = "repository:team/web:pull,push,delete";
        let bearers = [
            ("bearer", bearer(&self.server.client(), "docker-local", all, administrator.as_deref())),
            (
                "narrowed",
                bearer(
                    &self.server.client(),
                    "docker-local",
                    "repository:team/web:pull",
                    administrator.as_deref(),
                ),
            ),
            (
                "other name",
                bearer(
                    &self.server.client(),
                    "docker-local",
                    "repository:team/app:*",
                    administrator.as_deref(),
                ),
            ),
            (
                "other service",
                bearer(&second, "elsewhere", "repository:team/web:*", administrator.as_deref()),
            ),
            ("garbage", "Bearer garbage".to_owned()),
        ];
        self.callers.extend(bearers.map(|(caller, login)| (caller, Some(login))));
        let issue = |user: &str, body: &str| self.admin("POST", &format!("/users/{user}/tokens"), body, 201);
        let (expired, revoked) = (issue("admin", r#"{"expires_in":1}"#), issue("admin", "{}"));
        let disabled = issue("disabled", "{}");
        self.admin("DELETE", &format!("/tokens/{}", revoked["id"].as_str().unwrap()), "", 204);
        self.admin("PATCH", "/users/disabled", r#"{"disabled":true}"#, 200);
        for (caller, token) in [("expired", expired), ("revoked", revoked), ("disabled", disabled)] {
            let login = basic("token", token["secret"].as_str().unwrap());
            // The second that the one is good for ends by itself.
            while self.ask(&Request::new("GET", "/v2/"), Some(&login)).status == 200 {
                std::thread::yield_now();
            }
            self.callers.insert(caller, Some(login));
        }
    }

    fn ask(&self, request: &Request, login: Option<&str>) -> Response {
        let request = request.clone();
        let request = match login {
            Some(login) => request.header("Authorization", login),
            None => request,
        };
        self.server.client().send(&request).unwrap()
    }

    fn admin(&self, method: &str, path: &str, body: &str, status: u16) -> serde_json::Value {
        let answer = self.ask(&json(method, path, body), Some(&basic("admin", PASSWORD)));
        assert_eq!(answer.status, status, "{method} {path} {answer:?}");
        if answer.body.is_empty() { serde_json::Value::Null } else { answer.json() }
    }

    fn make_user(&self, name: &str) {
        self.admin("PUT", &format!("/users/{name}"), &format!(r#"{{"password":"{PASSWORD}"}}"#), 201);
    }

    fn permit(&self, grantee: &str, repositories: &str, names: &str, actions: &str) {
        self.admin("PUT", "/permissions", &permission(grantee, repositories, names, actions), 200);
    }

    fn push(&self, name: &str) {
        for blob in self.image.blobs() {
            let path = format!("/v2/{name}/blobs/uploads/?digest={}", blob.digest);
            self.as_admin(&Request::new("POST", &path).body(&*blob.bytes), 201);
        }
        let put =
            Request::new("PUT", &format!("/v2/{name}/manifests/v1")).header("Content-Type", OCI_MANIFEST);
        self.as_admin(&put.body(&*self.image.manifest.bytes), 201);
    }

    fn as_admin(&self, request: &Request, status: u16) -> Response {
        self.ask(request, Some(&basic("admin", PASSWORD))).expect(status)
    }

    /// A session that the administrator opened.
    fn session(&self) -> String {
        let opened = self.as_admin(&Request::new("POST", "/v2/team/web/blobs/uploads/"), 202);
        opened.require("Location").to_owned()
    }

    /// A name that nothing has yet.
    fn fresh(&self, kind: &str) -> String {
        self.fresh.set(self.fresh.get() + 1);
        format!("{kind}{}", self.fresh.get())
    }

    /// Asks every row as every caller, and says where the documentation has it otherwise.
    fn compare(&self, page: &str, rows: &[Row], check: impl Fn(&str, &str, &Request, &Response)) {
        let table = Table::of(page);
        let asked: BTreeSet<&str> = rows.iter().map(|row| row.label).collect();
        let said: BTreeSet<&str> = table.rows.keys().map(String::as_str).collect();
        assert_eq!(asked, said, "rows that are asked, and rows in the documentation");
        let (mut found, mut wrong) = (String::new(), false);
        for row in rows {
            let _ = write!(found, "| `{}` |", row.label);
            for (caller, expected) in table.callers.iter().zip(&table.rows[row.label]) {
                let login = self.callers[caller.as_str()].as_deref();
                let request = (row.request)(self);
                let status = if row.endless {
                    self.status_of(&request, login)
                } else {
                    let answer = self.ask(&request, login);
                    check(row.label, caller, &request, &answer);
                    answer.status
                };
                wrong |= status.to_string() != *expected;
                let _ = write!(found, " {status} |");
            }
            found.push('\n');
        }
        assert!(!wrong, "the documentation says otherwise than this:\n{found}");
    }

    /// The status of an answer that has no end.
    fn status_of(&self, request: &Request, login: Option<&str>) -> u16 {
        let request =
            login.map_or_else(|| request.clone(), |login| request.clone().header("Authorization", login));
        let mut stream = connect(self.server.address()).unwrap();
        stream.write_all(&request.to_bytes()).unwrap();
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).unwrap();
        line.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("{line}"))
    }
}

fn bearer(client: &Client, service: &str, scope: &str, login: Option<&str>) -> String {
    let request = Request::new("GET", &format!("/v2/token?service={service}&scope={scope}"));
    let answer = client.send(&request.header("Authorization", login.unwrap())).unwrap().expect(200);
    format!("Bearer {}", answer.json()["token"].as_str().unwrap())
}

fn json(method: &str, path: &str, body: &str) -> Request {
    let request = Request::new(method, &format!("{ADMIN}{path}"));
    if body.is_empty() { request } else { request.header("Content-Type", "application/json").body(body) }
}

fn permission(grantee: &str, repositories: &str, names: &str, actions: &str) -> String {
    serde_json::json!({ "grantee": grantee, "repositories": repositories, "names": names, "actions": actions })
        .to_string()
}

/// A row: what it is called, and how it is asked, each time anew, so that what one caller did keeps nobody else
/// from doing it.
struct Row {
    label: &'static str,
    request: fn(&World) -> Request,
    endless: bool,
}

const fn row(label: &'static str, request: fn(&World) -> Request) -> Row {
    Row { label, request, endless: false }
}

fn protocol_rows() -> Vec<Row> {
    fn blob(world: &World) -> String {
        format!("/v2/team/web/blobs/{}", world.image.layers[0].digest)
    }
    fn uploads(query: &str) -> Request {
        Request::new("POST", &format!("/v2/team/web/blobs/uploads/{query}"))
    }
    vec![
        row("GET /v2/", |_| Request::new("GET", "/v2/")),
        row("GET /v2/_catalog", |_| Request::new("GET", "/v2/_catalog")),
        row("GET /v2/<name>/tags/list", |_| Request::new("GET", "/v2/team/web/tags/list")),
        row("GET /v2/<name>/manifests/<reference>", |_| Request::new("GET", "/v2/team/web/manifests/v1")),
        row("HEAD /v2/<name>/manifests/<reference>", |_| Request::new("HEAD", "/v2/team/web/manifests/v1")),
        row("PUT /v2/<name>/manifests/<reference>", |world| {
            let put = Request::new("PUT", "/v2/team/web/manifests/v1").header("Content-Type", OCI_MANIFEST);
            put.body(&*world.image.manifest.bytes)
        }),
        row("DELETE /v2/<name>/manifests/<reference>", |world| {
            world.push("team/web");
            Request::new("DELETE", "/v2/team/web/manifests/v1")
        }),
        row("GET /v2/<name>/blobs/<digest>", |world| {
            world.push("team/web");
            Request::new("GET", &blob(world))
        }),
        row("HEAD /v2/<name>/blobs/<digest>", |world| Request::new("HEAD", &blob(world))),
        row("DELETE /v2/<name>/blobs/<digest>", |world| {
            world.push("team/web");
            Request::new("DELETE", &blob(world))
        }),
        row("GET /v2/<name>/referrers/<digest>", |world| {
            Request::new("GET", &format!("/v2/team/web/referrers/{}", world.image.manifest.digest))
        }),
        row("POST /v2/<name>/blobs/uploads/", |_| uploads("")),
        row("POST …?digest=<digest>", |_| uploads(&format!("?digest={}", Blob::new("x").digest)).body("x")),
        row("POST …?mount=<digest>&from=<name>", |world| {
            world.push("team/from");
            uploads(&format!("?mount={}&from=team/from", world.image.config.digest))
        }),
        row("POST …?mount=<digest>&from=<secret>", |world| {
            uploads(&format!("?mount={}&from=secret/web", world.image.config.digest))
        }),
        row("GET <location>", |world| Request::new("GET", &world.session())),
        row("PATCH <location>", |world| Request::new("PATCH", &world.session()).body("x")),
        row("PUT <location>?digest=<digest>", |world| {
            Request::new("PUT", &format!("{}?digest={}", world.session(), Blob::new("x").digest)).body("x")
        }),
        row("DELETE <location>", |world| Request::new("DELETE", &world.session())),
        row("GET /v2/token", |_| {
            Request::new("GET", "/v2/token?service=docker-local&scope=repository:team/web:pull,push")
        }),
    ]
}

#[test]
fn the_protocol_is_for_whom_the_documentation_says() {
    let world = World::start();
    let page = include_str!("../../../docs/api-docker-v2.md");
    world.compare(page, &protocol_rows(), |label, caller, request, answer| {
        let head = request.method() == "HEAD";
        match answer.status {
            401 => {
                let challenge = answer.require("WWW-Authenticate");
                let told = match label {
                    "GET /v2/token" => "Basic realm=\"token\"",
                    _ => "Bearer realm=\"http://localhost/v2/token\",service=\"docker-local\"",
                };
                assert!(challenge.starts_with(told), "{label} {caller}: {challenge}");
                if !head {
                    expect_error(answer, 401, "UNAUTHORIZED");
                }
            }
            403 if !head => expect_error(answer, 403, "DENIED"),
            _ => {}
        }
    });
    // Every endpoint has a row.
    let rows: BTreeSet<&str> = protocol_rows().iter().map(|row| row.label).collect();
    let headings = page.lines().filter_map(|line| line.strip_prefix("### `")?.strip_suffix('`'));
    let uploads = page.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    for endpoint in headings.chain(uploads) {
        let Some((methods, path)) = endpoint.rsplit_once(' ') else { continue };
        for method in methods.split(", ") {
            assert!(rows.contains(&*format!("{method} {path}")), "{method} {path} has no row");
        }
    }
}

fn administration_rows() -> Vec<Row> {
    vec![
        row("GET /log", |_| json("GET", "/log", "")),
        row("GET /log/{seq}", |_| json("GET", "/log/0", "")),
        row("GET /log/export", |_| json("GET", "/log/export?to=1", "")),
        Row { endless: true, ..row("GET /log/follow", |_| json("GET", "/log/follow?from=0", "")) },
        row("POST /gc", |_| json("POST", "/gc?dry_run=true", "")),
        row("POST /prune", |_| json("POST", "/prune", "")),
        row("POST /sweep", |_| json("POST", "/sweep", "")),
        row("POST /scrub", |_| json("POST", "/scrub", "")),
        row("POST /verify", |_| json("POST", "/verify", "")),
        row("GET /repositories", |_| json("GET", "/repositories", "")),
        row("GET /repositories/{key}", |_| json("GET", "/repositories/docker-local", "")),
        row("PUT /repositories/{key}", |world| {
            json("PUT", &format!("/repositories/{}", world.fresh("repo")), "{}")
        }),
        row("PATCH /repositories/{key}", |_| {
            json("PATCH", "/repositories/docker-local", r#"{"rules":{"immutable-tags":["never-moved"]}}"#)
        }),
        row("PATCH …, docker-api-version or quota", |_| {
            json("PATCH", "/repositories/docker-local", r#"{"rules":{"quota":1000000000}}"#)
        }),
        row("DELETE /repositories/{key}", |world| {
            let key = world.fresh("repo");
            world.admin("PUT", &format!("/repositories/{key}"), "{}", 201);
            json("DELETE", &format!("/repositories/{key}"), "")
        }),
        row("GET /repositories/{key}/names", |_| json("GET", "/repositories/docker-local/names", "")),
        row("DELETE /repositories/{key}/names", |world| {
            let name = world.fresh("team/gone");
            world.push(&name);
            json("DELETE", &format!("/repositories/docker-local/names?name={name}"), "")
        }),
        row("GET /repositories/{key}/tree", |_| json("GET", "/repositories/docker-local/tree?path=team", "")),
        row("DELETE /repositories/{key}/tree", |world| {
            let name = world.fresh("team/gone");
            world.push(&name);
            json("DELETE", &format!("/repositories/docker-local/tree?path={name}"), "")
        }),
        row("GET /repositories/{key}/item", |_| {
            json("GET", "/repositories/docker-local/item?path=team/web", "")
        }),
        row("PATCH /repositories/{key}/properties", |_| {
            let change = r#"{"path":"team/web","set":{"state":["good"]}}"#;
            json("PATCH", "/repositories/docker-local/properties", change)
        }),
        row("GET /repositories/{key}/tags", |_| {
            json("GET", "/repositories/docker-local/tags?name=team/web", "")
        }),
        row("GET /repositories/{key}/history", |_| {
            json("GET", "/repositories/docker-local/history?name=team/web&tag=v1", "")
        }),
        row("GET /repositories/{key}/inspect", |_| {
            json("GET", "/repositories/docker-local/inspect?name=team/web&reference=v1", "")
        }),
        row("POST /search", |_| json("POST", "/search", r#"{"condition":{"all":[]},"limit":1}"#)),
        row("GET /users", |_| json("GET", "/users", "")),
        row("GET /users/NAME", |_| json("GET", "/users/reader", "")),
        row("POST /users", |_| json("POST", "/users?dry_run=true", "")),
        row("PUT /users/NAME", |world| json("PUT", &format!("/users/{}", world.fresh("user")), "{}")),
        row("PATCH /users/NAME", |_| json("PATCH", "/users/reader", r#"{"disabled":false}"#)),
        row("PUT /users/NAME/password", |world| {
            let user = world.fresh("user");
            world.make_user(&user);
            json("PUT", &format!("/users/{user}/password"), r#"{"password":null}"#)
        }),
        row("DELETE /users/NAME", |world| {
            let user = world.fresh("user");
            world.make_user(&user);
            json("DELETE", &format!("/users/{user}"), "")
        }),
        row("GET /users/NAME/tokens", |_| json("GET", "/users/reader/tokens", "")),
        row("POST /users/NAME/tokens", |_| json("POST", "/users/reader/tokens", "{}")),
        row("DELETE /tokens/ID", |world| {
            let issued = world.admin("POST", "/users/reader/tokens", "{}", 201);
            json("DELETE", &format!("/tokens/{}", issued["id"].as_str().unwrap()), "")
        }),
        row("GET /groups", |_| json("GET", "/groups", "")),
        row("GET /groups/NAME", |world| json("GET", &format!("/groups/{}", group(world)), "")),
        row("PUT /groups/NAME", |world| json("PUT", &format!("/groups/{}", world.fresh("group")), "{}")),
        row("DELETE /groups/NAME", |world| json("DELETE", &format!("/groups/{}", group(world)), "")),
        row("PUT /groups/NAME/members/USER", |world| {
            json("PUT", &format!("/groups/{}/members/reader", group(world)), "")
        }),
        row("DELETE /groups/NAME/members/USER", |world| {
            let member = format!("/groups/{}/members/reader", group(world));
            world.admin("PUT", &member, "", 204);
            json("DELETE", &member, "")
        }),
        row("GET /permissions", |_| json("GET", "/permissions", "")),
        row("PUT /permissions", |_| {
            json("PUT", "/permissions", &permission("user:reader", "docker-local", "team/app", "read"))
        }),
        row("PUT …, more than is managed", |_| {
            json("PUT", "/permissions", &permission("user:reader", "**", "**", "read"))
        }),
        row("DELETE /permissions", |world| {
            world.permit("user:reader", "docker-local", "team/gone", "read");
            json("DELETE", "/permissions?grantee=user:reader&repositories=docker-local&names=team/gone", "")
        }),
        row("anything else", |_| json("GET", "/nowhere", "")),
    ]
}

fn group(world: &World) -> String {
    let group = world.fresh("group");
    world.admin("PUT", &format!("/groups/{group}"), "{}", 201);
    group
}

#[test]
fn administration_is_for_whom_the_documentation_says() {
    let world = World::start();
    let page = include_str!("../../../docs/api-admin.md");
    let mut refusals = BTreeSet::new();
    let refused = std::cell::RefCell::new(&mut refusals);
    world.compare(page, &administration_rows(), |label, caller, _, answer| match answer.status {
        401 => {
            assert_eq!(
                answer.header("WWW-Authenticate"),
                Some("Basic realm=\"supercargo\""),
                "{label} {caller}"
            );
            assert_eq!(answer.json()["error"]["code"], "unauthorized", "{label} {caller}");
        }
        403 => {
            refused.borrow_mut().insert(answer.text());
        }
        _ => {}
    });
    // Whatever it was about, and whether that exists: the same.
    assert_eq!(refusals.len(), 1, "{refusals:?}");
    // Every endpoint has a row.
    let rows: BTreeSet<&str> = administration_rows().iter().map(|row| row.label).collect();
    for row in page.lines().filter(|line| line.starts_with("| `")) {
        let endpoint = row.split('|').nth(1).unwrap();
        let mut methods = Vec::new();
        for code in endpoint.split('`').skip(1).step_by(2) {
            let (method, path) = code.split_once(' ').unwrap_or((code, ""));
            if !matches!(method, "GET" | "PUT" | "POST" | "PATCH" | "DELETE") {
                // A parameter, or a caller's.
                continue;
            }
            methods.push(method);
            let path = path.split('?').next().unwrap();
            if path.starts_with('/') {
                for method in methods.drain(..) {
                    assert!(rows.contains(&*format!("{method} {path}")), "{method} {path} has no row");
                }
            }
        }
    }
}

/// An answer without what differs from request to request, and with `NAME` for what it was about.
fn told(answer: &Response, about: &str) -> (u16, Vec<(String, String)>, String) {
    let headers = answer
        .headers
        .iter()
        .filter(|(name, _)| !name.eq_ignore_ascii_case("date") && !name.eq_ignore_ascii_case("x-request-id"));
    let headers = headers.map(|(name, value)| (name.clone(), value.replace(about, "NAME"))).collect();
    (answer.status, headers, answer.text().replace(about, "NAME"))
}

/// Requests about a name, and a digest, a tag and an upload session in it.
fn about(name: &str, digest: &str, tag: &str, session: &str) -> Vec<Request> {
    let (manifest, blob) = (format!("/v2/{name}/manifests/{tag}"), format!("/v2/{name}/blobs/{digest}"));
    let session = format!("/v2/{name}/blobs/uploads/{session}");
    let mut all = vec![
        Request::new("GET", &format!("/v2/{name}/tags/list?n=1")),
        Request::new("GET", &format!("/v2/{name}/referrers/{digest}")),
        Request::new("POST", &format!("/v2/{name}/blobs/uploads/")),
        Request::new("PUT", &manifest).header("Content-Type", OCI_MANIFEST).body("{}"),
        Request::new("PUT", &manifest).header("If-None-Match", "*").body("{}"),
        Request::new("DELETE", &manifest).header("If-Match", "\"x\""),
        Request::new("PATCH", &session).header("Content-Range", "7-8").body("x"),
        Request::new("PUT", &format!("{session}?digest={digest}")),
    ];
    for path in [&manifest, &format!("/v2/{name}/manifests/{digest}"), &blob] {
        all.extend(["GET", "HEAD", "DELETE"].map(|method| Request::new(method, path)));
    }
    all.extend(["GET", "DELETE"].map(|method| Request::new(method, &session)));
    all
}

#[test]
fn what_may_not_be_read_can_not_be_told_from_what_is_not_there() {
    let world = World::start();
    let (there, nowhere) = (&world.image.layers[0].digest, &Blob::new("nowhere").digest);
    let opened = world.as_admin(&Request::new("POST", "/v2/secret/web/blobs/uploads/"), 202);
    let session = opened.require("Docker-Upload-UUID");
    let (secret, nothing) = (
        about("secret/web", there, "v1", session),
        about("secret/not", nowhere, "v2", "0190d3a1-0000-7000-8000-000000000000"),
    );
    let compare = |caller: &str, one: &Request, other: &Request, names: (&str, &str)| {
        let login = world.callers[caller].as_deref();
        let (one, other) = (world.ask(one, login), world.ask(other, login));
        assert_eq!(told(&one, names.0), told(&other, names.1), "{caller}");
        one
    };
    for caller in ["nobody", "reader", "writer", "deleter", "manager", "bearer", "expired", "garbage"] {
        for (one, other) in secret.iter().zip(&nothing) {
            let answer = compare(caller, one, other, ("secret/web", "secret/not"));
            assert!(matches!(answer.status, 401 | 403), "{caller}: {answer:?}");
        }
    }
    // Nor by a token's scope, nor by administration.
    for caller in ["nobody", "reader", "manager"] {
        let login = world.callers[caller].as_deref();
        for name in ["secret/web", "secret/not"] {
            let path = format!("/v2/token?scope=repository:{name}:pull,push");
            assert_eq!(world.ask(&Request::new("GET", &path), login).expect(200).json()["scope"], "");
        }
    }
    for path in [
        "/repositories/docker-local/names?name=NAME",
        "/repositories/docker-local/tags?name=NAME",
        "/repositories/docker-local/history?name=NAME&tag=v1",
        "/repositories/docker-local/inspect?name=NAME&reference=v1",
        "/repositories/docker-local/inspect?name=NAME&reference=nonsense:",
        "/users/NAME",
        "/nowhere/NAME",
    ] {
        let ask = |name: &str| {
            json(if path.contains("names") { "DELETE" } else { "GET" }, &path.replace("NAME", name), "")
        };
        for caller in ["reader", "manager"] {
            let answer =
                compare(caller, &ask("secret/web"), &ask("secret/not"), ("secret/web", "secret/not"));
            assert_eq!(answer.status, 403, "{caller} {path}");
        }
    }
    // A mount says nothing of what its caller may not read: not by `from`, and not by looking everywhere.
    let mount = |query: &str| Request::new("POST", &format!("/v2/team/new/blobs/uploads/?mount={query}"));
    let blob = Blob::new("known to nobody else");
    let post = Request::new("POST", &format!("/v2/secret/web/blobs/uploads/?digest={}", blob.digest));
    world.as_admin(&post.body(&*blob.bytes), 201);
    for query in ["", "&from=secret/web", "&from=secret/not", "&from=NO-NAME"] {
        for digest in [&blob.digest, nowhere] {
            for caller in ["writer", "manager"] {
                let answer = world.ask(&mount(&format!("{digest}{query}")), world.callers[caller].as_deref());
                let id = answer.require("Docker-Upload-UUID").to_owned();
                let mut expected = told(&world.ask(&mount(nowhere), world.callers[caller].as_deref()), "");
                let mut found = told(&answer, "");
                for (_, headers, _) in [&mut expected, &mut found] {
                    headers.retain(|(name, _)| {
                        !name.eq_ignore_ascii_case("docker-upload-uuid")
                            && !name.eq_ignore_ascii_case("location")
                    });
                }
                assert_eq!(found, expected, "{caller} {query}");
                assert_eq!(answer.require("Location"), format!("/v2/team/new/blobs/uploads/{id}"));
            }
        }
    }
}

/// The gate looks nothing up: it answers the same, byte for byte, where there is nothing left to look into.
#[test]
fn who_may_not_is_told_so_before_anything_is_looked_up() {
    let world = World::start();
    let digest = &world.image.layers[0].digest;
    let requests = about("secret/web", digest, "v1", "0190d3a1-0000-7000-8000-000000000000");
    let ask = || -> Vec<_> {
        let callers = ["nobody", "reader", "manager"].map(|caller| world.callers[caller].as_deref());
        let asked = callers.iter().flat_map(|login| requests.iter().map(|request| (*login, request)));
        asked.map(|(login, request)| told(&world.ask(request, login), "")).collect()
    };
    let before = ask();
    world.admin("DELETE", "/repositories/docker-local?force=true", "", 204);
    assert_eq!(ask(), before);
    let gone = world.ask(&Request::new("GET", "/v2/team/web/tags/list"), world.callers["reader"].as_deref());
    expect_error(&gone, 404, "NAME_UNKNOWN");
}

/// Pages of names are as if those that may not be read were not there: none is short, and no link leads to nothing.
#[test]
fn a_page_of_names_has_no_gaps_where_names_may_not_be_read() {
    let world = World::start();
    for name in ["secret/a", "team/a", "team/z/secret", "zoo/secret"] {
        world.push(name);
    }
    let page = |query: &str| {
        let request = Request::new("GET", &format!("/v2/_catalog?{query}"));
        let answer = world.ask(&request, world.callers["reader"].as_deref()).expect(200);
        (answer.json()["repositories"].clone(), answer.header("Link").map(str::to_owned))
    };
    let link = |last: &str| Some(format!("</v2/_catalog?n=1&last={last}>; rel=\"next\""));
    assert_eq!(page("n=1"), (serde_json::json!(["team/a"]), link("team%2Fa")));
    assert_eq!(page("n=1&last=team/a"), (serde_json::json!(["team/web"]), link("team%2Fweb")));
    assert_eq!(page("n=1&last=team/web"), (serde_json::json!(["team/z/secret"]), None));
    assert_eq!(page("last=secret"), (serde_json::json!(["team/a", "team/web", "team/z/secret"]), None));
}

/// What may be done is given and taken away by who manages it, and holds at once.
#[test]
fn a_manager_shares_what_is_managed_and_nothing_else() {
    let world = World::start();
    let manager = world.callers["manager"].as_deref();
    let put = |names: &str, actions: &str| {
        world.ask(
            &json("PUT", "/permissions", &permission("anonymous", "docker-local", names, actions)),
            manager,
        )
    };
    let read = || world.ask(&Request::new("GET", "/v2/team/web/tags/list"), None).status;
    assert_eq!(read(), 401);
    put("team/web", "read").expect(200);
    assert_eq!(read(), 200);
    let path = "/permissions?grantee=anonymous&repositories=docker-local&names=team/web";
    world.ask(&json("DELETE", path, ""), manager).expect(204);
    assert_eq!(read(), 401);
    for (names, actions) in [("**", "read"), ("te*/**", "read"), ("secret/web", "read"), ("team*", "read")] {
        put(names, actions).expect(403);
    }
    // Who is shown: those about what is managed.
    let listed = |caller: &str| {
        let listed =
            world.ask(&json("GET", "/permissions", ""), world.callers[caller].as_deref()).expect(200);
        listed.json().as_array().unwrap().len()
    };
    assert_eq!((listed("administrator"), listed("manager"), listed("keeper")), (6, 4, 1));
    // What was done is recorded as theirs.
    let record = &world.admin("GET", "/log?kind=PermissionRemoved", "", 200)["records"][0];
    assert_eq!(record["actor"], serde_json::json!({ "user": "manager" }), "{record}");
}

/// A bearer token is signed with Ed25519, for this service, and for a while.
fn assert_signed(token: &str) {
    let parts: Vec<serde_json::Value> = token
        .split('.')
        .take(2)
        .map(|part| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap())
        .collect();
    assert_eq!(parts[0]["alg"], "EdDSA");
    assert_eq!((&parts[1]["aud"], &parts[1]["sub"]), (&"docker-local".into(), &"writer".into()));
    let [from, to] = ["iat", "exp"].map(|claim| parts[1][claim].as_i64().unwrap());
    assert!((60..=600).contains(&(to - from)), "{parts:?}");
}

/// The OAuth2 form takes what the header takes, and refresh tokens until they are revoked.
#[test]
fn the_token_form_takes_who_may_log_in() {
    let world = World::start();
    let post =
        |form: &str| world.server.client().send(&Request::new("POST", "/v2/token").body(form)).unwrap();
    let login = |user: &str, password: &str, more: &str| {
        post(&format!(
            "grant_type=password&service=docker-local&client_id=t&username={user}&password={}{more}",
            password.replace(' ', "+")
        ))
    };
    let granted =
        login("writer", PASSWORD, "&scope=repository:team/web:pull,push,delete&access_type=offline");
    let granted = granted.expect(200).expect_header("Content-Type", "application/json").json();
    assert_eq!(granted["scope"], "repository:team/web:pull,push");
    assert_eq!(granted["token"], granted["access_token"]);
    assert!(granted["expires_in"].as_u64().unwrap() >= 60 && granted["issued_at"].is_string());
    assert_signed(granted["token"].as_str().unwrap());
    let refresh = granted["refresh_token"].as_str().unwrap();
    let renew = || {
        post(&format!(
            "grant_type=refresh_token&service=docker-local&refresh_token={refresh}&scope=repository:team/web:pull"
        ))
    };
    let renewed = renew().expect(200).json();
    assert_eq!((&renewed["scope"], renewed.get("refresh_token")), (&"repository:team/web:pull".into(), None));
    // A refresh token is for this alone.
    let bearer = format!("Bearer {refresh}");
    expect_error(&world.ask(&Request::new("GET", "/v2/"), Some(&bearer)), 401, "UNAUTHORIZED");
    let id = world.admin("GET", "/users/writer/tokens", "", 200)[0]["id"].as_str().unwrap().to_owned();
    world.admin("DELETE", &format!("/tokens/{id}"), "", 204);
    for refused in
        [renew(), login("writer", "wrong", ""), login("disabled", PASSWORD, ""), login("never", PASSWORD, "")]
    {
        expect_error(&refused, 401, "UNAUTHORIZED");
        assert_eq!(refused.header("WWW-Authenticate"), Some("Basic realm=\"token\""));
    }
    for (form, status) in [
        ("", 400),
        ("grant_type=password&username=writer", 400),
        ("grant_type=password&password=x", 400),
        ("grant_type=refresh_token", 400),
        ("grant_type=authorization_code&code=x", 400),
    ] {
        expect_error(&post(form), status, "UNSUPPORTED");
    }
    let other = world.ask(&Request::new("GET", "/v2/token?service=other"), None);
    expect_error(&other, 400, "UNSUPPORTED");
    let put = world.ask(&Request::new("PUT", "/v2/token"), None);
    expect_error(&put, 405, "UNSUPPORTED");
    assert_eq!(put.header("Allow"), Some("GET, POST"));
    // Asking for what is unknown, malformed or too much is no error: there is less in the token.
    let writer = world.callers["writer"].as_deref();
    for (scope, granted) in [
        ("repository:team/web:*", "repository:team/web:pull,push"),
        (
            "repository:team/web:pull+repository:team/app:push",
            "repository:team/web:pull repository:team/app:push",
        ),
        ("registry:catalog:*", "registry:catalog:*"),
        ("repository:secret/web:pull", ""),
        ("nonsense", ""),
        ("repository:UPPER:pull", ""),
    ] {
        let asked =
            Request::new("GET", &format!("/v2/token?service=docker-local&account=writer&scope={scope}"));
        assert_eq!(world.ask(&asked, writer).expect(200).json()["scope"], granted, "{scope}");
    }
    // Two headers leave open who is asking.
    let twice = Request::new("GET", "/v2/token").header("Authorization", &basic("reader", PASSWORD));
    let twice = world.ask(&twice, writer);
    expect_error(&twice, 401, "UNAUTHORIZED");
    assert_eq!(twice.header("WWW-Authenticate"), Some("Basic realm=\"token\""));
}

/// A client is sent to log in at the address that it knows the server by.
#[test]
fn the_realm_is_what_the_client_calls_the_server() {
    let files = tempfile::tempdir().unwrap();
    let password = files.path().join("password");
    std::fs::write(&password, PASSWORD).unwrap();
    for (trusted, from_proxy) in [("", false), ("127.0.0.0/8", true)] {
        let server = Server::settings()
            .argument("--accounts")
            .argument("--admin-password-file")
            .argument(password.to_str().unwrap())
            .variable("SUPERCARGO_TRUSTED_PROXIES", trusted)
            .start();
        let own = "http://registry.example:8443";
        for (headers, said) in [
            (&[][..], own),
            (&[("X-Forwarded-Proto", "https")], "https://registry.example:8443"),
            (&[("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "hub.example")], "https://hub.example"),
            (&[("Forwarded", "for=192.0.2.1;proto=https;host=hub.example")], "https://hub.example"),
            (&[("X-Forwarded-Host", "hub.example\", evil=\"")], own),
        ] {
            let request =
                Request::new("GET", "/v2/team/web/tags/list").header("Host", "registry.example:8443");
            let request = headers.iter().fold(request, |request, (name, value)| request.header(name, value));
            let refused = server.client().send(&request).unwrap();
            expect_error(&refused, 401, "UNAUTHORIZED");
            let at = if from_proxy { said } else { own };
            let challenge = format!(
                "Bearer realm=\"{at}/v2/token\",service=\"docker-local\",scope=\"repository:team/web:pull\""
            );
            assert_eq!(refused.header("WWW-Authenticate"), Some(&*challenge), "{trusted} {headers:?}");
        }
    }
}
