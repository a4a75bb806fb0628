//! Section 3: who somebody is, by password or by token, and what that lets them do.

use serde_json::json;
use supercargo_tests::accounts::{Guarded, PASSWORD, basic};
use supercargo_tests::http::Request;
use supercargo_tests::v1::{Chain, V1Client, Version};
use supercargo_tests::{Random, Server};

use crate::support::{Rows, client, delete, get, guarded, put, speaking, wire};

/// `bob` may read and write `team/**`, `reader` may read it, `other` may read and write `other/**`, `deleter` may read
/// and delete in `team/**`.
fn with_users() -> Guarded {
    let guarded = guarded(Server::settings());
    guarded.user("bob", "team/**", "read,write");
    guarded.user("reader", "team/**", "read");
    guarded.user("other", "other/**", "read,write");
    guarded.user("deleter", "team/**", "read,delete");
    guarded
}

fn logged_in(guarded: &Guarded, user: &str) -> V1Client {
    client(&guarded.server, Version::V1_9).logged_in(user, PASSWORD)
}

fn with(request: Request, authorization: &str) -> Request {
    request.header("Authorization", authorization)
}

fn index(name: &str) -> Request {
    put(&format!("/v1/repositories/{name}/"), "[]").header("X-Docker-Token", "true")
}

/// The token that the index gives somebody, as it says it.
fn token(rows: &Rows, request: Request, user: &str) -> String {
    let answer = rows.status("index", &with(request, &basic(user, PASSWORD)), 200);
    answer.header("X-Docker-Token").unwrap_or_default().to_owned()
}

#[test]
fn section_3_1_what_counts_as_nobody() {
    let mut random = Random::from_environment("section_3_1_what_counts_as_nobody");
    let guarded = with_users();
    let chain = Chain::generate(&mut random, Version::V1_9, 1, 500);
    logged_in(&guarded, "bob").push("team/app", &["1"], &chain).unwrap();
    let nobody = [None, Some("Basic Og=="), Some("Token "), Some("Token")];
    let ask = |request: &Request, authorization: Option<&str>| match authorization {
        Some(authorization) => with(request.clone(), authorization),
        None => request.clone(),
    };
    let tags = get("/v1/repositories/team/app/tags");
    let rows = Rows::of(wire(&guarded.server));
    for authorization in nobody {
        let row = format!("{authorization:?}");
        for request in [
            index("team/app"),
            get("/v1/repositories/team/app/images"),
            tags.clone(),
            get(&format!("/v1/images/{}/json", chain.id())),
            put(&format!("/v1/images/{}/json", chain.id()), &*chain.top().json),
            delete("/v1/repositories/team/app/"),
            get("/v1/users/"),
        ] {
            let answer = rows.error(&row, &ask(&request, authorization), 401, "Requires authorization");
            rows.header(&row, &answer, "WWW-Authenticate", "Basic realm=*");
            rows.header(&row, &answer, "WWW-Authenticate", "Token*");
        }
    }
    // Where everybody may read, nobody may.
    guarded.permit("anonymous", "team/**", "read");
    for authorization in nobody {
        let row = format!("{authorization:?}, public");
        rows.status(&row, &ask(&tags, authorization), 200);
        rows.status(&row, &ask(&get("/v1/repositories/team/app/images"), authorization), 200);
        rows.status(&row, &ask(&get(&format!("/v1/images/{}/layer", chain.id())), authorization), 200);
        rows.status(&row, &ask(&index("team/app"), authorization), 401);
    }
    rows.finish();
    assert_eq!(client(&guarded.server, Version::V1_12).pull("team/app", "1").unwrap(), chain);
    assert_eq!(client(&guarded.server, Version::V1_5).pull("team/app", "1").unwrap(), chain);
    guarded.server.stop().verify();
}

#[test]
fn section_3_2_tokens() {
    let mut random = Random::from_environment("section_3_2_tokens");
    let guarded = with_users();
    let chain = Chain::generate(&mut random, Version::V1_9, 1, 500);
    logged_in(&guarded, "bob").push("team/app", &["1"], &chain).unwrap();
    logged_in(&guarded, "bob").push("team/second", &["1"], &chain).unwrap();
    let rows = Rows::of(wire(&guarded.server));
    let json = format!("/v1/images/{}/json", chain.id());
    let tag = put("/v1/repositories/team/app/tags/2", format!("\"{}\"", chain.id()));

    // In every form that clients give it.
    let write = token(&rows, index("team/app"), "bob");
    for (form, said) in [
        ("as it is", format!("Token {write}")),
        ("with the word twice", format!("Token Token {write}")),
        ("without quotes", format!("Token {}", write.replace('"', ""))),
        (
            "with colons",
            format!("Token {}", write.replace("repository=", "repository:").replace("access=", "access:")),
        ),
        ("with spaces", format!("Token {}", write.replace(',', ", "))),
        ("in capitals", format!("TOKEN {write}")),
    ] {
        rows.status(form, &with(get(&json), &said), 200);
        rows.status(form, &with(get("/v1/repositories/team/app/tags"), &said), 200);
        rows.text(form, &with(tag.clone(), &said), 200, "true");
    }

    // One for reading reads.
    let read = token(&rows, get("/v1/repositories/team/app/images").header("X-Docker-Token", "true"), "bob");
    rows.holds(
        "read",
        "access=read",
        read.contains("access=read"),
        &rows.status("read", &with(get(&json), &format!("Token {read}")), 200),
    );
    rows.one_of("read", &with(tag.clone(), &format!("Token {read}")), &[401, 403]);
    rows.one_of("read", &with(put(&json, &*chain.top().json), &format!("Token {read}")), &[401, 403]);
    rows.one_of(
        "write",
        &with(delete("/v1/repositories/team/app/tags/1"), &format!("Token {write}")),
        &[401, 403],
    );

    // It is good for its own name alone, and not when somebody has changed it.
    let elsewhere = put("/v1/repositories/team/second/tags/2", format!("\"{}\"", chain.id()));
    rows.error("another name", &with(elsewhere.clone(), &format!("Token {write}")), 401, "*");
    for forged in [
        write.replacen("signature=", "signature=A", 1),
        "signature=AAAA,repository=\"team/app\",access=write".to_owned(),
        "signature=,repository=,access=".to_owned(),
        "nonsense".to_owned(),
        ",,,===".to_owned(),
    ] {
        rows.status(&format!("forged: {forged}"), &with(tag.clone(), &format!("Token {forged}")), 401);
    }
    let elsewhere_too = format!("Token {}", write.replace("team/app", "team/second"));
    rows.status("forged for another name", &with(elsewhere, &elsewhere_too), 401);
    let more = format!("Token {}", read.replace("access=read", "access=write"));
    rows.one_of("forged for more", &with(tag.clone(), &more), &[401, 403]);

    // What its owner may no longer do, it no longer lets anybody do.
    guarded.admin("PATCH", "/users/bob", r#"{"disabled":true}"#, 200);
    rows.status("owner disabled", &with(tag, &format!("Token {write}")), 401);
    rows.finish();
    guarded.server.stop().verify();
}

/// Where nobody is asked for anything, whatever is said is good enough, also what an earlier server said.
#[test]
fn section_3_2_tokens_where_there_are_no_accounts() {
    let mut random = Random::from_environment("section_3_2_tokens_where_there_are_no_accounts");
    let server = speaking("V1");
    let chain = Chain::generate(&mut random, Version::V1_9, 1, 500);
    client(&server, Version::V1_9).push("team/app", &["1"], &chain).unwrap();
    let rows = Rows::of(wire(&server));
    for authorization in [
        "Token signature=AAAA,repository=\"team/app\",access=read",
        "Token Token signature=AAAA,repository=\"x\",access=write",
        "Token nonsense",
        "Token ",
        "Basic Og==",
        &basic("bob", "wrong"),
    ] {
        rows.status(authorization, &with(get("/v1/repositories/team/app/tags"), authorization), 200);
        rows.status(authorization, &with(index("team/app"), authorization), 200);
        rows.text(authorization, &with(get("/v1/users/"), authorization), 200, "\"OK\"");
    }
    rows.finish();
    server.stop().verify();
}

#[test]
fn section_3_3_refusals() {
    let mut random = Random::from_environment("section_3_3_refusals");
    let guarded = with_users();
    let chain = Chain::generate(&mut random, Version::V1_9, 2, 500);
    logged_in(&guarded, "bob").push("team/app", &["1"], &chain).unwrap();
    let rows = Rows::of(wire(&guarded.server));
    let (reader, other) = (basic("reader", PASSWORD), basic("other", PASSWORD));
    rows.error("a reader pushes", &with(index("team/app"), &reader), 403, "*");
    rows.status("a reader reads", &with(get("/v1/repositories/team/app/images"), &reader), 200);
    rows.error("a reader deletes", &with(delete("/v1/repositories/team/app/tags/1"), &reader), 403, "*");
    rows.error("somebody else pushes", &with(index("team/app"), &other), 403, "*");
    let bob = basic("bob", PASSWORD);
    rows.error("a writer deletes", &with(delete("/v1/repositories/team/app/"), &bob), 403, "*");

    // What somebody may not see is not there.
    for path in ["json", "layer", "ancestry"] {
        let get = get(&format!("/v1/images/{}/{path}", chain.id()));
        rows.error("somebody else looks", &with(get.clone(), &other), 404, "Image not found");
        rows.status("a reader looks", &with(get, &reader), 200);
    }
    for path in ["images", "tags", "tags/1"] {
        let get = get(&format!("/v1/repositories/team/app/{path}"));
        rows.one_of("somebody else looks", &with(get, &other), &[403, 404]);
    }
    let found = rows.status("somebody else searches", &with(get("/v1/search?q=app"), &other), 200);
    rows.holds("somebody else searches", "nothing", found.json()["num_results"] == 0, &found);
    let found = rows.status("a reader searches", &with(get("/v1/search?q=app"), &reader), 200);
    rows.holds("a reader searches", "the name", found.json()["num_results"] == 1, &found);

    for wrong in ["wrong", ""] {
        let wrong = basic("bob", wrong);
        let answer = rows.error("wrong password", &with(index("team/app"), &wrong), 401, "*");
        rows.header("wrong password", &answer, "WWW-Authenticate", "Basic realm=*");
    }
    for nonsense in ["Basic", "Basic x", "Basic %%%", "Bearer x", "Digest x", "x"] {
        rows.one_of("nonsense", &with(index("team/app"), nonsense), &[400, 401]);
    }
    rows.finish();

    // An image that somebody can't see is not there to be built on, and the same id is free to be pushed.
    let theirs = logged_in(&guarded, "other");
    assert_eq!(theirs.push("other/app", &["1"], &chain).unwrap(), chain.ids());
    assert_eq!(theirs.pull("other/app", "1").unwrap(), chain);
    logged_in(&guarded, "deleter").send(&delete("/v1/repositories/team/app/")).unwrap().expect(200);
    assert_eq!(theirs.pull("other/app", "1").unwrap(), chain);
    assert_eq!(logged_in(&guarded, "bob").pull("team/app", "1").unwrap_err().status(), Some(404));
    guarded.server.stop().verify();
}

#[test]
fn section_3_5_login() {
    let guarded = with_users();
    let rows = Rows::of(wire(&guarded.server));
    let post = |user: &str, password: &str| {
        let body = json!({ "username": user, "password": password, "email": "", "auth": "" });
        let post = Request::new("POST", "/v1/users/").body(body.to_string());
        post.header("Content-Type", "application/json; charset=utf-8")
    };
    let right = rows.one_of("right", &post("bob", PASSWORD), &[400, 401]);
    let magic = right.status == 401 || right.body == br#""Username or email already exists""#;
    rows.holds("right", "the text that clients know", magic, &right);
    rows.status("wrong", &post("bob", "wrong"), 401);
    rows.status("unknown", &post("nobody", "x"), 401);
    for body in ["", "x", "[]", "{}", r#"{"username":1}"#] {
        let post = Request::new("POST", "/v1/users/").body(body);
        let answer = rows.one_of("bad", &post, &[400, 401]);
        rows.holds("bad", "no account", answer.body != br#""Username or email already exists""#, &answer);
    }
    for path in ["/v1/users/", "/v1/users"] {
        let ask = |password| with(get(path), &basic("bob", password));
        rows.text(path, &ask(PASSWORD), 200, "\"OK\"");
        rows.status(path, &ask("wrong"), 401);
    }
    for (version, user) in Version::ALL.into_iter().zip(["reader", "other", "deleter"]) {
        let logs_in = |password| client(&guarded.server, version).logged_in(user, password).log_in().unwrap();
        assert!(logs_in(PASSWORD), "{version:?}");
        assert!(!logs_in("wrong"), "{version:?}");
    }

    let change =
        |user: &str| put(&format!("/v1/users/{user}/"), r#"{"password":"battery staple","email":"x"}"#);
    rows.status("nobody changes a password", &change("bob"), 401);
    rows.status("another changes a password", &with(change("bob"), &basic("reader", PASSWORD)), 403);
    rows.status("one's own password", &with(change("bob"), &basic("bob", PASSWORD)), 204);
    rows.status("the old one", &with(get("/v1/users/"), &basic("bob", PASSWORD)), 401);
    rows.status("the new one", &with(get("/v1/users/"), &basic("bob", "battery staple")), 200);
    rows.status("an administrator changes it", &with(change("reader"), &basic("admin", PASSWORD)), 204);
    rows.status("of a user who is not there", &with(change("unknown"), &basic("admin", PASSWORD)), 404);
    rows.finish();
    guarded.server.stop().verify();
}

/// Who guesses is slowed down, as with the newer protocol.
#[test]
fn section_3_5_guesses() {
    let guarded = with_users();
    let rows = Rows::of(wire(&guarded.server));
    let guess = |number: usize| with(get("/v1/users/"), &basic("bob", &format!("guess {number}")));
    let mut answers = (0..50).map(|number| rows.one_of("guess", &guess(number), &[401, 429]));
    let slowed = answers.find(|answer| answer.status == 429).expect("an end to it");
    rows.header("guess", &slowed, "Retry-After", "*");
    rows.holds("guess", "a reason", slowed.json()["error"].is_string(), &slowed);
    rows.finish();
    guarded.server.stop().verify();
}

/// Section 8: who manages a name opens it to everybody, and closes it again.
#[test]
fn section_8_properties() {
    let mut random = Random::from_environment("section_8_properties");
    let guarded = with_users();
    guarded.user("manager", "team/**", "manage");
    let chain = Chain::generate(&mut random, Version::V1_9, 1, 500);
    for name in ["team/app", "team/second"] {
        logged_in(&guarded, "bob").push(name, &["1"], &chain).unwrap();
    }
    let rows = Rows::of(wire(&guarded.server));
    let path = "/v1/repositories/team/app/properties";
    let ask = |user: &str| with(get(path), &basic(user, PASSWORD));
    let set = |user: &str, access: &str| {
        with(put(path, format!(r#"{{"access":"{access}"}}"#)), &basic(user, PASSWORD))
    };
    let nobody = client(&guarded.server, Version::V1_9);
    rows.json("at first", &ask("reader"), 200, json!({ "access": "private" }));
    rows.error("by a writer", &set("bob", "public"), 403, "*");
    rows.status("by nobody", &put(path, r#"{"access":"public"}"#), 401);
    assert_eq!(nobody.pull("team/app", "1").unwrap_err().status(), Some(401));
    for _ in 0..2 {
        rows.status("opened", &set("manager", "public"), 200);
        rows.json("opened", &ask("reader"), 200, json!({ "access": "public" }));
        assert_eq!(nobody.pull("team/app", "1").unwrap(), chain);
        assert_eq!(nobody.pull("team/second", "1").unwrap_err().status(), Some(401));
        assert_eq!(nobody.push("team/app", &["1"], &chain).unwrap_err().status(), Some(401));
        rows.status("closed", &set("manager", "private"), 200);
        rows.json("closed", &ask("reader"), 200, json!({ "access": "private" }));
        assert_eq!(nobody.pull("team/app", "1").unwrap_err().status(), Some(401));
    }
    rows.finish();
    guarded.server.stop().verify();
}
