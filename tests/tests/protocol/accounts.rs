//! Who may do what, over HTTP: every kind of caller at every kind of endpoint.

pub(crate) use supercargo_tests::accounts::{PASSWORD, basic};
use supercargo_tests::http::Request;
use supercargo_tests::image::OCI_MANIFEST;
use supercargo_tests::server::Settings;
use supercargo_tests::{Image, Server};

use crate::expect_error;

/// A server with accounts: `admin`; `reader`, `writer` and `deleter` of `team/**`; anonymous reads `public/**`.
pub(crate) struct Guarded {
    pub(crate) server: Server,
    pub(crate) image: Image,
    _files: tempfile::TempDir,
}

impl Guarded {
    fn start() -> Guarded {
        Guarded::start_with(Server::settings())
    }

    pub(crate) fn start_with(settings: Settings) -> Guarded {
        let files = tempfile::tempdir().unwrap();
        let password = files.path().join("password");
        std::fs::write(&password, format!("{PASSWORD}\n")).unwrap();
        let server = settings
            .argument("--accounts")
            .argument("--admin-password-file")
            .argument(password.to_str().unwrap())
            .start();
        let guarded = Guarded { server, image: Image::generate(1, 1, 100), _files: files };
        for (user, actions) in
            [("reader", "read"), ("writer", "read,write"), ("deleter", "read,delete"), ("outsider", "")]
        {
            guarded.admin("PUT", &format!("/users/{user}"), &format!(r#"{{"password":"{PASSWORD}"}}"#), 201);
            if !actions.is_empty() {
                guarded.permit(&format!("user:{user}"), "team/**", actions);
            }
        }
        guarded.permit("anonymous", "public/**", "read");
        for name in ["team/web", "public/web"] {
            guarded.push_as_admin(name);
        }
        guarded
    }

    pub(crate) fn admin(&self, method: &str, path: &str, body: &str, status: u16) -> serde_json::Value {
        let request = Request::new(method, &format!("/api/supercargo/v1{path}"))
            .header("Authorization", &basic("admin", PASSWORD))
            .header("Content-Type", "application/json")
            .body(body.as_bytes());
        let answer = self.server.client().send(&request).unwrap();
        assert_eq!(answer.status, status, "{answer:?}");
        if answer.body.is_empty() { serde_json::Value::Null } else { answer.json() }
    }

    pub(crate) fn permit(&self, grantee: &str, names: &str, actions: &str) {
        let body = format!(
            r#"{{"grantee":"{grantee}","repositories":"**","names":"{names}","actions":"{actions}"}}"#
        );
        self.admin("PUT", "/permissions", &body, 200);
    }

    fn push_as_admin(&self, name: &str) {
        self.push(name, &basic("admin", PASSWORD));
    }

    /// Pushes the image as `v1`.
    pub(crate) fn push(&self, name: &str, login: &str) {
        for blob in self.image.layers.iter().chain([&self.image.config]) {
            let path = format!("/v2/{name}/blobs/uploads/?digest={}", blob.digest);
            let request = Request::new("POST", &path).header("Authorization", login).body(&*blob.bytes);
            assert_eq!(self.server.client().send(&request).unwrap().status, 201);
        }
        let request = Request::new("PUT", &format!("/v2/{name}/manifests/v1"))
            .header("Authorization", login)
            .header("Content-Type", OCI_MANIFEST)
            .body(&*self.image.manifest.bytes);
        assert_eq!(self.server.client().send(&request).unwrap().status, 201);
    }

    pub(crate) fn ask(
        &self,
        method: &str,
        path: &str,
        login: Option<&str>,
    ) -> supercargo_tests::http::Response {
        let request = Request::new(method, path);
        let request = match login {
            Some(login) => request.header("Authorization", login),
            None => request,
        };
        self.server.client().send(&request).unwrap()
    }

    pub(crate) fn bearer(&self, login: Option<&str>, scope: &str) -> String {
        let path = format!("/v2/token?service=docker-local&scope={scope}");
        let answer = self.ask("GET", &path, login);
        assert_eq!(answer.status, 200, "{answer:?}");
        format!("Bearer {}", answer.json()["token"].as_str().unwrap())
    }
}

#[test]
fn each_caller_may_do_what_it_was_given_and_nothing_else() {
    let guarded = Guarded::start();
    let digest = guarded.image.layers[0].digest.clone();
    let login = |user: &str| basic(user, PASSWORD);
    // Who, what they may do in team/web, and what whoever may not is told.
    let callers = [("admin", "rwd"), ("reader", "r"), ("writer", "rw"), ("deleter", "rd"), ("outsider", "")];
    for (user, may) in callers {
        // Of what is there, and of what is not: the same answer, where it is none of theirs.
        for (method, path, action) in [
            ("GET", "/v2/team/web/manifests/v1".to_owned(), 'r'),
            ("HEAD", "/v2/team/web/manifests/v1".to_owned(), 'r'),
            ("GET", format!("/v2/team/web/blobs/{digest}"), 'r'),
            ("HEAD", format!("/v2/team/web/blobs/{digest}"), 'r'),
            ("GET", "/v2/team/web/tags/list".to_owned(), 'r'),
            ("GET", format!("/v2/team/web/referrers/{digest}"), 'r'),
            ("GET", "/v2/team/nowhere/tags/list".to_owned(), 'r'),
            ("POST", "/v2/team/web/blobs/uploads/".to_owned(), 'w'),
            ("DELETE", format!("/v2/team/web/manifests/{}", "gone"), 'd'),
            ("DELETE", "/v2/team/nowhere/manifests/gone".to_owned(), 'd'),
        ] {
            let answer = guarded.ask(method, &path, Some(&login(user)));
            let allowed = may.contains(action);
            assert_eq!(answer.status != 403, allowed, "{user} {method} {path}: {answer:?}");
            if !allowed && method != "HEAD" {
                expect_error(&answer, 403, "DENIED");
                // docker takes a refusal that has none for one that may pass.
                let name = path.split('/').take(4).skip(2).collect::<Vec<_>>().join("/");
                let lacking = answer.json()["errors"][0]["detail"]["scope"].as_str().unwrap().to_owned();
                assert!(lacking.starts_with(&format!("repository:{name}:")), "{lacking}");
            }
        }
    }
}

#[test]
fn nobody_in_particular_is_asked_to_log_in_and_may_read_what_is_public() {
    let guarded = Guarded::start();
    for path in ["/v2/", "/v2/team/web/tags/list", "/v2/team/nowhere/tags/list", "/v2/_catalog"] {
        let answer = guarded.ask("GET", path, None);
        expect_error(&answer, 401, "UNAUTHORIZED");
        let challenge = answer.header("WWW-Authenticate").unwrap();
        assert!(challenge.starts_with("Bearer realm=\"http://localhost"), "{challenge}");
        assert!(challenge.contains("/v2/token\",service=\"docker-local\""), "{challenge}");
    }
    assert_eq!(guarded.ask("GET", "/v2/public/web/tags/list", None).status, 200);
    let bearer = guarded.bearer(None, "repository:public/web:pull,push");
    assert_eq!(guarded.ask("GET", "/v2/", Some(&bearer)).status, 200);
    assert_eq!(guarded.ask("GET", "/v2/public/web/manifests/v1", Some(&bearer)).status, 200);
    let answer = guarded.ask("POST", "/v2/public/web/blobs/uploads/", Some(&bearer));
    expect_error(&answer, 401, "UNAUTHORIZED");
    // A catalog shows what may be read.
    let bearer = guarded.bearer(None, "registry:catalog:*");
    let names = guarded.ask("GET", "/v2/_catalog", Some(&bearer)).json();
    assert_eq!(names["repositories"], serde_json::json!(["public/web"]));
    let names = guarded.ask("GET", "/v2/_catalog", Some(&basic("reader", PASSWORD))).json();
    assert_eq!(names["repositories"], serde_json::json!(["public/web", "team/web"]));
}

#[test]
fn a_bearer_token_is_for_what_it_was_asked_for_and_no_longer_than_its_user_may() {
    let guarded = Guarded::start();
    let writer = basic("writer", PASSWORD);
    let bearer = guarded.bearer(Some(&writer), "repository:team/web:pull,push,delete");
    assert_eq!(guarded.ask("GET", "/v2/team/web/tags/list", Some(&bearer)).status, 200);
    assert_eq!(guarded.ask("POST", "/v2/team/web/blobs/uploads/", Some(&bearer)).status, 202);
    // The user may not delete, so neither may the token; and it says nothing of another name.
    expect_error(&guarded.ask("DELETE", "/v2/team/web/manifests/v1", Some(&bearer)), 403, "DENIED");
    let answer = guarded.ask("GET", "/v2/team/other/tags/list", Some(&bearer));
    expect_error(&answer, 401, "UNAUTHORIZED");
    assert!(answer.header("WWW-Authenticate").unwrap().contains("error=\"insufficient_scope\""));
    // Taken away at once.
    guarded.permit("user:writer", "team/**", "read");
    expect_error(&guarded.ask("POST", "/v2/team/web/blobs/uploads/", Some(&bearer)), 403, "DENIED");
    guarded.admin("PATCH", "/users/writer", r#"{"disabled":true}"#, 200);
    expect_error(&guarded.ask("GET", "/v2/team/web/tags/list", Some(&bearer)), 401, "UNAUTHORIZED");
    let broken = format!("{bearer}x");
    expect_error(&guarded.ask("GET", "/v2/team/web/tags/list", Some(&broken)), 401, "UNAUTHORIZED");
}

#[test]
fn access_tokens_stand_in_for_passwords_until_they_are_revoked() {
    let guarded = Guarded::start();
    let issued = guarded.admin("POST", "/users/reader/tokens", r#"{"description":"CI"}"#, 201);
    let secret = issued["secret"].as_str().unwrap();
    for login in [basic("reader", secret), basic("token", secret), format!("Bearer {secret}")] {
        assert_eq!(guarded.ask("GET", "/v2/team/web/tags/list", Some(&login)).status, 200, "{login}");
    }
    let other = basic("writer", secret);
    expect_error(&guarded.ask("GET", "/v2/team/web/tags/list", Some(&other)), 401, "UNAUTHORIZED");
    let id = issued["id"].as_str().unwrap();
    guarded.admin("DELETE", &format!("/tokens/{id}"), "", 204);
    let login = basic("reader", secret);
    expect_error(&guarded.ask("GET", "/v2/team/web/tags/list", Some(&login)), 401, "UNAUTHORIZED");
    // No secret is in the log.
    let log = guarded.admin("GET", "/log", "", 200).to_string();
    assert!(log.contains("TokenIssued") && !log.contains(secret) && !log.contains(PASSWORD));
}

#[test]
fn a_mount_takes_nothing_from_where_the_caller_may_not_read() {
    let guarded = Guarded::start();
    guarded.push_as_admin("secret/web");
    guarded.permit("user:outsider", "mine/**", "read,write");
    let digest = &guarded.image.layers[0].digest;
    let outsider = basic("outsider", PASSWORD);
    for from in ["&from=secret/web", "&from=team/web", "&from=not/there"] {
        let path = format!("/v2/mine/a/blobs/uploads/?mount={digest}{from}");
        assert_eq!(guarded.ask("POST", &path, Some(&outsider)).status, 202, "{from}");
    }
    // What is public is everybody's.
    let path = format!("/v2/mine/a/blobs/uploads/?mount={digest}");
    assert_eq!(guarded.ask("POST", &path, Some(&outsider)).status, 201);
}

#[test]
fn administration_is_for_administrators() {
    let guarded = Guarded::start();
    let before = guarded.server_log_size();
    for path in ["/log", "/users", "/permissions", "/repositories"] {
        let path = format!("/api/supercargo/v1{path}");
        assert_eq!(guarded.ask("GET", &path, None).status, 401);
        assert_eq!(guarded.ask("GET", &path, Some(&basic("reader", PASSWORD))).status, 403);
        assert_eq!(guarded.ask("GET", &path, Some(&basic("admin", PASSWORD))).status, 200);
    }
    let bearer = guarded.bearer(Some(&basic("admin", PASSWORD)), "registry:catalog:*");
    assert_eq!(guarded.ask("GET", "/api/supercargo/v1/log", Some(&bearer)).status, 401);
    // Nor can the last of them go.
    guarded.admin("DELETE", "/users/admin", "", 409);
    assert_eq!(guarded.server_log_size(), before);
}

impl Guarded {
    pub(crate) fn server_log_size(&self) -> usize {
        self.admin("GET", "/log", "", 200)["records"].as_array().unwrap().len()
    }
}

#[test]
fn who_guesses_has_to_wait() {
    let guarded = Guarded::start();
    let wrong = basic("reader", "not the password");
    let throttled = (0..30).find_map(|_| {
        let answer = guarded.ask("GET", "/v2/", Some(&wrong));
        (answer.status == 429).then_some(answer)
    });
    let answer = throttled.expect("thirty guesses in a row");
    expect_error(&answer, 429, "TOOMANYREQUESTS");
    assert!(answer.header("Retry-After").unwrap().parse::<u64>().unwrap() >= 1);
}

/// How many others hold the same bytes, and since when, would tell of names that a manager may not read.
#[test]
fn managers_are_not_told_what_others_hold() {
    let guarded = Guarded::start();
    guarded.permit("user:writer", "team/**", "manage");
    guarded.push_as_admin("secret/web");
    let path = "/repositories/docker-local/inspect?name=team/web&reference=v1";
    let told = guarded.admin("GET", path, "", 200);
    assert_eq!(told["held_by_names"], 3, "{told}");
    assert!(told["first_seen"].is_number(), "{told}");
    let login = basic("writer", PASSWORD);
    let told = guarded.ask("GET", &format!("/api/supercargo/v1{path}"), Some(&login)).expect(200).json();
    assert!(told["held_by_names"].is_null() && told["first_seen"].is_null(), "{told}");
    assert_eq!(told["in_use"], true, "{told}");
}
