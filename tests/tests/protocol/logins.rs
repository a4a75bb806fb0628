//! How clients are told to log in, and do: by name and password with each request, where the repository is set to
//! that; or once, for bearer tokens and a refresh token to come again with.

use supercargo_tests::accounts::{Guarded, PASSWORD, basic};
use supercargo_tests::http::{Request, Response};
use supercargo_tests::image::Blob;
use supercargo_tests::{Client, Image, Server};

use crate::expect_error;

/// A client that is to log in with each request is told so by exactly this.
const BASIC: &str = r#"Basic realm="docker-local", charset="UTF-8""#;

/// Fails the test unless this is a refusal of somebody unknown, with that challenge.
#[track_caller]
fn expect_challenge(answer: &Response, challenge: &str) {
    assert_eq!(answer.headers("WWW-Authenticate"), [challenge], "{answer:?}");
    expect_error(answer, 401, "UNAUTHORIZED");
}

/// `writer` may read and write `team/**`, `reader` read it, and everybody read `public/**`. An image is in both.
fn guarded() -> (Guarded, Image) {
    let guarded = Guarded::start(Server::settings());
    guarded.user("writer", "team/**", "read,write");
    guarded.user("reader", "team/**", "read");
    guarded.permit("anonymous", "public/**", "read");
    let image = Image::generate(1, 1, 100);
    for name in ["team/web", "public/web"] {
        guarded.push(name, "v1", &image, &basic("admin", PASSWORD));
    }
    (guarded, image)
}

#[test]
fn who_is_refused_is_told_to_log_in_as_the_repository_is_set() {
    let (guarded, _) = guarded();
    let paths = [
        ("GET", "/v2/"),
        ("GET", "/v2"),
        ("GET", "/v2/_catalog"),
        ("GET", "/v2/team/web/tags/list"),
        ("GET", "/v2/team/nowhere/tags/list"),
        ("GET", "/v2/team/web/manifests/v1"),
        ("POST", "/v2/team/web/blobs/uploads/"),
        ("POST", "/v2/public/web/blobs/uploads/"),
        ("DELETE", "/v2/public/web/manifests/v1"),
    ];
    let is_bearer = |answer: &Response| {
        answer.require("WWW-Authenticate").starts_with(r#"Bearer realm="http://localhost/v2/token""#)
    };
    for (method, path) in paths {
        assert!(is_bearer(&guarded.ask(method, path, None)), "{method} {path}");
    }
    guarded.set_login("basic");
    for (method, path) in paths {
        expect_challenge(&guarded.ask(method, path, None), BASIC);
    }
    let head = guarded.ask("HEAD", "/v2/team/web/manifests/v1", None).expect(401);
    assert_eq!(head.headers("WWW-Authenticate"), [BASIC]);
    // Whatever was sent instead.
    for wrong in [
        &basic("writer", "not the password"),
        &basic("nobody", PASSWORD),
        &basic("", PASSWORD),
        "Basic !!!",
        "Bearer abc",
        "Digest username=\"writer\"",
        "Basic",
    ] {
        expect_challenge(&guarded.ask("GET", "/v2/", Some(wrong)), BASIC);
    }
    let twice = Request::new("GET", "/v2/").header("Authorization", &basic("writer", PASSWORD));
    expect_challenge(&guarded.send(twice, Some(&basic("writer", PASSWORD))), BASIC);
    guarded.set_login("token");
    assert!(is_bearer(&guarded.ask("GET", "/v2/", None)));
}

#[test]
fn name_and_password_do_for_whatever_their_user_may() {
    let (guarded, image) = guarded();
    guarded.set_login("basic");
    let (writer, reader) = (basic("writer", PASSWORD), basic("reader", PASSWORD));
    guarded.ask("GET", "/v2/", Some(&writer)).expect(200);
    guarded.push("team/pushed", "v2", &image, &writer);
    let pulled = guarded.ask("GET", "/v2/team/pushed/manifests/v2", Some(&reader)).expect(200);
    assert_eq!(pulled.body, image.manifest.bytes);
    let layer = format!("/v2/team/pushed/blobs/{}", image.layers[0].digest);
    assert_eq!(guarded.ask("GET", &layer, Some(&reader)).expect(200).body, image.layers[0].bytes);
    for (method, path, user) in [
        ("POST", "/v2/team/pushed/blobs/uploads/", &reader),
        ("DELETE", "/v2/team/pushed/manifests/v2", &writer),
        ("GET", "/v2/other/tags/list", &writer),
    ] {
        let denied = guarded.ask(method, path, Some(user));
        expect_error(&denied, 403, "DENIED");
        assert_eq!(denied.header("WWW-Authenticate"), None, "another login is not what it takes");
    }
    // What was right a moment ago is not, once the password is another.
    guarded.admin("PUT", "/users/writer/password", r#"{"password":"another horse"}"#, 204);
    expect_challenge(&guarded.ask("GET", "/v2/", Some(&writer)), BASIC);
    guarded.ask("GET", "/v2/", Some(&basic("writer", "another horse"))).expect(200);
    guarded.server.stop().verify();
}

/// The setting says what clients are told, not what is taken: whoever has a token need not log in anew.
#[test]
fn tokens_are_taken_where_clients_are_told_basic() {
    let (guarded, _) = guarded();
    let writer = basic("writer", PASSWORD);
    let scope = "/v2/token?service=docker-local&scope=repository:team/web:pull";
    let token = |answer: Response| format!("Bearer {}", answer.json()["token"].as_str().unwrap());
    let before = token(guarded.ask("GET", scope, Some(&writer)).expect(200));
    guarded.set_login("basic");
    let after = token(guarded.ask("GET", scope, Some(&writer)).expect(200));
    for bearer in [before, after] {
        guarded.ask("GET", "/v2/team/web/tags/list", Some(&bearer)).expect(200);
        // It is good for what it was asked for, as ever.
        expect_challenge(&guarded.ask("POST", "/v2/team/web/blobs/uploads/", Some(&bearer)), BASIC);
    }
    let issued = guarded.admin("POST", "/users/reader/tokens", r#"{"description":"CI"}"#, 201);
    let secret = issued["secret"].as_str().unwrap();
    for login in [basic("reader", secret), basic("token", secret), format!("Bearer {secret}")] {
        guarded.ask("GET", "/v2/team/web/tags/list", Some(&login)).expect(200);
    }
}

/// podman and skopeo send an empty name and password where they have none: they are nobody, and nobody's guess.
#[test]
fn who_sends_nothing_in_particular_is_nobody_in_particular() {
    let (guarded, image) = guarded();
    guarded.set_login("basic");
    let nobody = basic("", "");
    for login in [None, Some(nobody.as_str())] {
        let pulled = guarded.ask("GET", "/v2/public/web/manifests/v1", login).expect(200);
        assert_eq!(pulled.body, image.manifest.bytes);
        // docker logs in only where this is refused.
        expect_challenge(&guarded.ask("GET", "/v2/", login), BASIC);
        expect_challenge(&guarded.ask("GET", "/v2/team/web/manifests/v1", login), BASIC);
    }
    for _ in 0..30 {
        guarded.ask("GET", "/v2/", Some(&nobody)).expect(401);
    }
}

#[test]
fn who_guesses_with_each_request_has_to_wait() {
    let (guarded, _) = guarded();
    guarded.set_login("basic");
    let wrong = basic("reader", "not the password");
    let answers = (0..30).map(|_| guarded.ask("GET", "/v2/team/web/tags/list", Some(&wrong)));
    let (refused, throttled): (Vec<_>, Vec<_>) = answers.partition(|answer| answer.status == 401);
    assert!(!refused.is_empty() && !throttled.is_empty());
    for answer in &refused {
        expect_challenge(answer, BASIC);
    }
    for answer in &throttled {
        expect_error(answer, 429, "TOOMANYREQUESTS");
        assert!(answer.require("Retry-After").parse::<u64>().unwrap() >= 1);
    }
}

#[test]
fn each_repository_has_a_setting_of_its_own_and_keeps_it() {
    let guarded =
        Guarded::start(Server::settings().argument("--listen").argument("http://127.0.0.1:0=team-a"));
    guarded.admin("PUT", "/repositories/team-a", r#"{"login":"basic"}"#, 201);
    let refused = |address| Client::new(address).get("/v2/").unwrap().expect(401);
    let challenge = r#"Basic realm="team-a", charset="UTF-8""#;
    expect_challenge(&refused(guarded.server.next_address()), challenge);
    assert!(refused(guarded.server.address()).require("WWW-Authenticate").starts_with("Bearer "));
    assert_eq!(guarded.admin("GET", "/repositories/docker-local", "", 200)["config"]["login"], "token");
    let wrong = r#"{"login":"digest"}"#;
    guarded.admin("PATCH", "/repositories/team-a", wrong, 400);

    // The same by the command line, on the data folder; and it is there after a start.
    let stopped = guarded.server.stop();
    let configure = ["repo", "configure", "docker-local", "--login", "basic"];
    assert_eq!(stopped.cli(&configure).expect_success().json()["config"]["login"], "basic");
    let nonsense = stopped.cli(&["repo", "configure", "docker-local", "--login", "digest"]);
    assert_eq!(nonsense.status.code(), Some(2), "{nonsense:?}");
    stopped.verify();
    let server = stopped.start();
    expect_challenge(&refused(server.address()), BASIC);
    expect_challenge(&refused(server.next_address()), challenge);
}

fn form(guarded: &Guarded, fields: &str) -> Response {
    let request = Request::new("POST", "/v2/token")
        .header("Content-Type", "application/x-www-form-urlencoded")
        .body(fields.as_bytes());
    guarded.send(request, None)
}

/// As containerd does with a password, and docker after a login: the password once, the refresh token from then on.
#[test]
fn a_refresh_token_stands_in_for_the_password() {
    let (guarded, _) = guarded();
    let password = PASSWORD.replace(' ', "%20");
    let scope = "scope=repository%3Ateam%2Fweb%3Apull%2Cpush";
    let login = |more: &str| {
        let fields = format!(
            "grant_type=password&service=docker-local&client_id=containerd-client&{scope}&username=writer\
             &password={password}{more}"
        );
        form(&guarded, &fields).expect(200).expect_header("Cache-Control", "no-store").json()
    };
    // Who does not ask for one gets none.
    assert_eq!(login("")["refresh_token"], serde_json::Value::Null);
    let by_form = login("&access_type=offline");
    let get =
        format!("/v2/token?account=writer&client_id=docker&offline_token=true&service=docker-local&{scope}");
    let by_query = guarded.ask("GET", &get, Some(&basic("writer", PASSWORD))).expect(200).json();

    for answer in [&by_form, &by_query] {
        let refresh = answer["refresh_token"].as_str().unwrap();
        let fields = format!("grant_type=refresh_token&service=docker-local&{scope}&refresh_token={refresh}");
        let again = form(&guarded, &fields).expect(200).json();
        assert_eq!(again["token"], again["access_token"]);
        assert_eq!(again["scope"], "repository:team/web:pull,push");
        assert!(again["expires_in"].as_u64().unwrap() >= 60, "clients take less for a mistake");
        let bearer = format!("Bearer {}", again["access_token"].as_str().unwrap());
        let blob = Blob::new("pushed");
        let upload = format!("/v2/team/web/blobs/uploads/?digest={}", blob.digest);
        guarded.send(Request::new("POST", &upload).body(&*blob.bytes), Some(&bearer)).expect(201);
        // It is for the token endpoint alone.
        for login in [format!("Bearer {refresh}"), basic("writer", refresh)] {
            expect_error(&guarded.ask("GET", "/v2/", Some(&login)), 401, "UNAUTHORIZED");
        }
    }

    let refresh = by_form["refresh_token"].as_str().unwrap();
    let fields = format!("grant_type=refresh_token&service=docker-local&{scope}&refresh_token={refresh}");
    expect_error(&form(&guarded, &format!("{fields}x")), 401, "UNAUTHORIZED");
    expect_error(&form(&guarded, "grant_type=refresh_token&service=docker-local"), 400, "UNSUPPORTED");
    let wrong = "grant_type=password&service=docker-local&username=writer&password=wrong";
    let answer = form(&guarded, wrong);
    expect_error(&answer, 401, "UNAUTHORIZED");
    assert_eq!(answer.require("WWW-Authenticate"), r#"Basic realm="token""#);
    // With the password goes what was had by it.
    guarded.admin("PUT", "/users/writer/password", r#"{"password":"another horse"}"#, 204);
    expect_error(&form(&guarded, &fields), 401, "UNAUTHORIZED");
    guarded.server.stop().verify();
}
