//! Who may do what, and how they say who they are: the V1 specification's section 3.

use std::time::Duration;

use axum::body::Body;
use http::HeaderMap;
use serde_json::json;
use supercargo_access::{Login, Session, SessionKey};
use supercargo_model::account::{Actions, Grantee, UserName};
use supercargo_model::{RepoKey, RepoName};

use super::support::{Fixture, Image, PASSWORD, basic, id};

fn challenges(headers: &HeaderMap) -> Vec<&str> {
    headers.get_all("www-authenticate").iter().map(|value| value.to_str().unwrap()).collect()
}

const CHALLENGES: [&str; 2] = ["Basic realm=\"docker-local\"", "Token"];

/// The documented table: a request, and what each caller is answered.
#[tokio::test]
async fn everybody_may_do_what_is_documented() {
    let page = include_str!("../../../../docs/api-docker-v1.md");
    let (_, page) = page.split_once("\n### Who may do what\n").unwrap();
    let (table, _) = page.split_once("\n## ").unwrap();
    let rows: Vec<Vec<&str>> = table
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| line.split('|').map(|cell| cell.trim().trim_matches('`')).collect())
        .collect();
    assert!(rows.len() > 20);

    let surface = Fixture::with_accounts().await;
    let [_, top] = surface.push("team/web", "latest", &[("authorization", &basic("root", PASSWORD))]).await;
    let new = Image::new('3', None, b"new");
    let users = ["stranger", "reader", "writer", "dropper", "deleter", "manager", "root"];
    let writer = [("authorization", &*basic("writer", PASSWORD))];
    let mut callers = vec![basic("", "")];
    callers.extend(users.map(|user| basic(user, PASSWORD)));
    for (method, path) in [
        ("PUT", "/v1/repositories/team/web/"),
        ("GET", "/v1/repositories/team/web/images"),
        ("PUT", "/v1/repositories/team/other/"),
    ] {
        callers.push(surface.send(method, path, &writer, "[]").await.token());
    }
    for row in rows {
        let (method, path) = row[1].split_once(' ').unwrap();
        let path = path
            .replace("<name>", "team/web")
            .replace("<tag>", "latest")
            .replace("<id>", &top.id)
            .replace("<new>", &new.id)
            .replace("repositories/<none>", "repositories/team/none")
            .replace("<none>", "none");
        let body = match (method, path.rsplit('/').next()) {
            ("PUT", Some("json")) => new.json.clone(),
            ("PUT", Some("layer")) => "x".to_owned(),
            ("PUT", Some("latest")) => format!("\"{}\"", top.id),
            ("PUT", Some("properties")) => r#"{"access":"private"}"#.to_owned(),
            ("PUT", Some("images" | "")) => "[]".to_owned(),
            _ => String::new(),
        };
        let checksum = top.checksum();
        let mut answered = Vec::new();
        for auth in &callers {
            let headers = [("authorization", &**auth), ("x-docker-checksum-payload", &checksum)];
            let answer = surface.send(method, &path, &headers, body.clone()).await;
            if answer.status == 401 {
                assert_eq!(challenges(&answer.headers), CHALLENGES, "{method} {path}");
                assert_eq!(answer.error().1, "Requires authorization");
            }
            answered.push(answer.status);
        }
        let documented: Vec<u16> = row[2..13].iter().map(|cell| cell.parse().unwrap()).collect();
        assert_eq!(answered, documented, "{method} {path}");
    }
}

#[tokio::test]
async fn what_says_nothing_is_nobody() {
    let surface = Fixture::with_accounts().await;
    surface.push("team/web", "latest", &[("authorization", &basic("root", PASSWORD))]).await;
    let get = async |auth: &[(&str, &str)]| {
        surface.send("GET", "/v1/repositories/team/web/tags", auth, Body::empty()).await
    };
    let nothing = [&[][..], &[("authorization", "Token ")], &[("authorization", "Basic Og==")]];
    for sent in nothing {
        assert_eq!(get(sent).await.status, 401);
    }
    surface.permit(Grantee::Anonymous, "team/web", Actions::READ).await;
    for sent in nothing {
        assert_eq!(get(sent).await.status, 200, "{sent:?}");
    }
    for wrong in
        ["Bearer x", "Digest x", "Basic !", "Token signature=x", "Token x", &basic("reader", "wrong")]
    {
        let refused = get(&[("authorization", wrong)]).await;
        assert_eq!((refused.status, challenges(&refused.headers)), (401, CHALLENGES.to_vec()), "{wrong}");
    }
}

#[tokio::test]
async fn a_token_is_for_one_repository_and_for_what_it_was_asked_for() {
    let surface = Fixture::with_accounts().await;
    let writer = basic("writer", PASSWORD);
    let asked = [("authorization", &*writer), ("x-docker-token", "true")];
    let write = surface.send("PUT", "/v1/repositories/team/web/", &asked, "[]").await.token();
    let [_, top] = surface.push("team/web", "latest", &[("authorization", &*write)]).await;
    let other = surface.send("PUT", "/v1/repositories/team/other/", &asked, "[]").await.token();
    let read = surface.send("GET", "/v1/repositories/team/web/images", &asked, Body::empty()).await.token();
    let tag = format!("\"{}\"", top.id);
    let json = format!("/v1/images/{}/json", top.id);
    let new = Image::new('3', None, b"new");
    let (new, new_json) = (format!("/v1/images/{}/json", new.id), new.json);
    // Token for writing, for reading, for writing another repository; the second time with `Token` twice.
    for (method, path, body, expected) in [
        ("GET", "/v1/repositories/team/web/tags/latest", "", [200, 200, 401]),
        ("PUT", "/v1/repositories/team/web/tags/new", &*tag, [200, 401, 401]),
        ("DELETE", "/v1/repositories/team/web/tags/latest", "", [403, 403, 403]),
        ("PUT", "/v1/repositories/team/web/images", "[]", [204, 401, 401]),
        ("PUT", "/v1/repositories/team/web/auth", "", [200, 200, 401]),
        ("GET", &json, "", [200, 200, 200]),
        ("PUT", &new, &new_json, [200, 401, 200]),
    ] {
        for word in ["", "Token "] {
            let mut answered = Vec::new();
            for token in [&write, &read, &other] {
                let auth = format!("{word}{token}");
                let headers = [("authorization", &*auth)];
                answered.push(surface.send(method, path, &headers, body.to_owned()).await.status);
            }
            assert_eq!(answered, expected, "{method} {path}");
        }
    }
}

#[tokio::test]
async fn a_token_does_not_outlive_its_time_its_user_or_their_rights() {
    let surface = Fixture::with_accounts().await;
    let root = basic("root", PASSWORD);
    surface.push("team/web", "latest", &[("authorization", &root)]).await;
    let path = "/v1/repositories/team/web/images";
    let token = surface.ask_as("reader", "GET", path).await.token();
    let get = async |token: &str| surface.send("GET", path, &[("authorization", token)], Body::empty()).await;
    let again = get(&token).await;
    assert_eq!((again.status, again.token()), (200, token.clone()), "it is not renewed");

    let session = Session {
        id: Session::draw_id().unwrap(),
        repository: RepoKey::parse("docker-local").unwrap(),
        name: RepoName::parse("team/web").unwrap(),
        actions: Actions::READ,
    };
    surface.permit(Grantee::Anonymous, "team/web", Actions::READ).await;
    let (now, nobody) = (surface.registry.now(), Login::anonymous());
    let issue = |key: &SessionKey, session: &Session, now| {
        format!("Token signature={}", key.issue(session, &nobody, now))
    };
    let sessions = &surface.settings.sessions;
    assert_eq!(get(&issue(sessions, &session, now)).await.status, 200);
    let past = supercargo_model::Timestamp::from_micros(now.as_micros() - 3_600_000_000 * 3);
    assert_eq!(get(&issue(sessions, &session, past)).await.status, 401, "expired");
    let forged = issue(&SessionKey::ephemeral().unwrap(), &session, now);
    assert_eq!(get(&forged).await.status, 401, "forged");
    let elsewhere = Session { repository: RepoKey::parse("other").unwrap(), ..session };
    assert_eq!(get(&issue(sessions, &elsewhere, now)).await.status, 401, "of another repository");

    let reader = supercargo_model::account::UserName::parse("reader").unwrap();
    let system = super::support::system();
    surface.registry.change_user(&system, reader.clone(), None, Some(true)).await.unwrap();
    assert_eq!(get(&token).await.status, 401, "the user is disabled");
    surface.registry.change_user(&system, reader.clone(), None, Some(false)).await.unwrap();
    assert_eq!(get(&token).await.status, 200);
    let passwords = surface.settings.authority.as_ref().unwrap().passwords();
    let hash = passwords.hash(supercargo_access::Secret::new("battery staple")).await.unwrap();
    surface.registry.set_password(&system, reader, Some(hash)).await.unwrap();
    assert_eq!(get(&token).await.status, 401, "the password is another");
}

/// Also where nobody has to log in, clients send back what they were given.
#[tokio::test]
async fn where_everybody_may_do_everything_no_token_is_refused() {
    let surface = Fixture::v1().await;
    let begun = surface.send("PUT", "/v1/repositories/ann/app/", &[], "[]").await.token();
    for sent in [
        &*begun,
        "Token ",
        "Token x",
        "Token signature=forged,repository=\"a/b\",access=read",
        "Bearer x",
        "x",
    ] {
        let listed =
            surface.send("PUT", "/v1/repositories/ann/app/images", &[("authorization", sent)], "[]").await;
        assert_eq!(listed.status, 204, "{sent}");
    }
}

#[tokio::test]
async fn logging_in_finds_out_whether_the_password_is_right() {
    let surface = Fixture::with_accounts().await;
    let taken = (400, "\"Username or email already exists\"");
    for path in ["/v1/users/", "/v1/users"] {
        let register = async |body: String| {
            let headers = [("content-type", "application/json; charset=utf-8")];
            surface.send("POST", path, &headers, body).await
        };
        let sent = json!({ "username": "reader", "password": PASSWORD, "email": "e", "auth": "" });
        let right = register(sent.to_string()).await;
        assert_eq!((right.status, right.text()), taken);
        for wrong in
            [json!({ "username": "reader", "password": "wrong" }), json!({ "username": "reader" }), json!({})]
        {
            let refused = register(wrong.to_string()).await;
            assert_eq!((refused.status, challenges(&refused.headers)), (401, CHALLENGES.to_vec()), "{wrong}");
        }
        assert_eq!(register("x".to_owned()).await.status, 400);

        let right = surface.ask_as("reader", "GET", path).await;
        assert_eq!((right.status, right.text()), (200, "\"OK\""));
        let wrong =
            surface.send("GET", path, &[("authorization", &basic("reader", "wrong"))], Body::empty()).await;
        assert_eq!(wrong.status, 401);
        assert_eq!(surface.ask("GET", path).await.status, 401);
    }
    let open = Fixture::v1().await;
    assert_eq!(open.ask("GET", "/v1/users/").await.text(), "\"OK\"");
    let register = open.send("POST", "/v1/users/", &[], "{}").await;
    assert_eq!((register.status, register.text()), taken);
}

#[tokio::test]
async fn who_guesses_is_slowed_down() {
    let surface = Fixture::with_accounts().await;
    let mut statuses = Vec::new();
    for number in 0..10 {
        let auth = basic("reader", &format!("guess {number}"));
        let refused = surface.send("GET", "/v1/users/", &[("authorization", &auth)], Body::empty()).await;
        if refused.status == 429 {
            let wait: u64 = refused.header("retry-after").parse().unwrap();
            assert!(wait > 0 && Duration::from_secs(wait) < Duration::from_secs(3600));
        }
        statuses.push(refused.status);
    }
    assert_eq!((statuses[0], statuses[9]), (401, 429));
}

#[tokio::test]
async fn a_password_is_changed_by_its_user_and_by_administrators() {
    let surface = Fixture::with_accounts().await;
    let body = |password: &str| json!({ "password": password, "email": "e" }).to_string();
    let change = async |by: &str, password: &str, user: &str, body: String| {
        let auth = basic(by, password);
        let path = format!("/v1/users/{user}/");
        surface.send("PUT", &path, &[("authorization", &auth)], body).await.status
    };
    let new = "battery staple";
    assert_eq!(change("reader", PASSWORD, "writer", body(new)).await, 403);
    assert_eq!(change("reader", PASSWORD, "nobody", body(new)).await, 403);
    assert_eq!(change("reader", "wrong", "reader", body(new)).await, 401);
    assert_eq!(change("", "", "reader", body(new)).await, 401);
    assert_eq!(change("reader", PASSWORD, "reader", body("short")).await, 400);
    for nothing in ["", "{}", "x"] {
        assert_eq!(change("reader", PASSWORD, "reader", nothing.to_owned()).await, 400);
    }
    assert_eq!(change("reader", PASSWORD, "reader", body(new)).await, 204);
    assert_eq!(change("reader", PASSWORD, "reader", body(new)).await, 401);
    assert_eq!(change("root", PASSWORD, "reader", body(PASSWORD)).await, 204);
    assert_eq!(change("root", PASSWORD, "nobody", body(new)).await, 404);
    assert_eq!(change("root", PASSWORD, "no%20name", body(new)).await, 404);
    assert_eq!(surface.ask_as("reader", "GET", "/v1/users/").await.status, 200);
}

#[tokio::test]
async fn a_repository_is_opened_to_everybody_and_closed_again() {
    let surface = Fixture::with_accounts().await;
    surface.push("team/web", "latest", &[("authorization", &basic("root", PASSWORD))]).await;
    let path = "/v1/repositories/team/web/properties";
    let manager = basic("manager", PASSWORD);
    let put = async |access: &str| {
        let body = json!({ "access": access }).to_string();
        surface.send("PUT", path, &[("authorization", &*manager)], body).await
    };
    let access = async || surface.ask_as("reader", "GET", path).await.json()["access"].take();
    let image = format!("/v1/images/{}/json", id('2'));
    let pulls = async || surface.ask("GET", &image).await.status;
    assert_eq!((access().await, pulls().await), (json!("private"), 401));
    for _ in 0..2 {
        assert_eq!(put("public").await.text(), "true");
        assert_eq!((access().await, pulls().await), (json!("public"), 200));
    }
    for _ in 0..2 {
        assert_eq!(put("private").await.text(), "true");
        assert_eq!((access().await, pulls().await), (json!("private"), 401));
    }
    surface.permit(Grantee::Anonymous, "team/**", Actions::READ).await;
    assert_eq!(access().await, json!("public"));
    assert_eq!(put("private").await.status, 409, "another permission opens it");
    assert_eq!(pulls().await, 200);
}

#[tokio::test]
async fn what_may_not_be_read_is_not_found() {
    let surface = Fixture::with_accounts().await;
    let root = [("authorization", &*basic("root", PASSWORD))];
    let secret = Image::new('3', None, b"secret");
    surface.push_image(&secret, &root).await;
    assert_eq!(surface.set_tag("secret", "latest", &secret.id, &root).await.status, 200);
    for part in ["json", "layer", "ancestry"] {
        for digit in ['3', 'f'] {
            let path = format!("/v1/images/{}/{part}", id(digit));
            let missing = surface.ask_as("reader", "GET", &path).await;
            assert_eq!(missing.error(), (404, "Image not found".to_owned()), "{path}");
        }
    }
    let found = surface.ask_as("reader", "GET", "/v1/search").await.json();
    assert_eq!((found["num_results"].as_u64(), found["results"].as_array().unwrap().len()), (Some(0), 0));
    let path = format!("/v1/repositories/team/web/layer/{}/access", secret.id);
    assert_eq!(surface.ask_as("reader", "GET", &path).await.json(), json!({ "access": false }));
    assert_eq!(surface.ask_as("writer", "PUT", &format!("/v1/images/{}/layer", secret.id)).await.status, 404);
}

#[tokio::test]
async fn a_short_name_does_not_get_between_others_and_the_long_one() {
    let surface = Fixture::with_accounts().await;
    for (user, names) in [("writer", "app"), ("manager", "library/app"), ("reader", "**")] {
        let user = Grantee::User(UserName::parse(user).unwrap());
        surface.permit(user, names, Actions::READ.or(Actions::WRITE)).await;
    }
    let path = "/v1/repositories/app/tags";
    for (user, tag) in [("manager", "long"), ("writer", "short")] {
        surface.push("app", tag, &[("authorization", &basic(user, PASSWORD))]).await;
        let tags = surface.ask_as(user, "GET", path).await.json();
        assert_eq!(tags.as_object().unwrap().keys().collect::<Vec<_>>(), [tag], "{user}");
    }
    assert!(surface.exists("app") && surface.exists("library/app"));
    let tags = surface.ask_as("reader", "GET", path).await.json();
    assert_eq!(tags.as_object().unwrap().keys().collect::<Vec<_>>(), ["long"]);
    for user in ["reader", "writer", "manager"] {
        let found = surface.ask_as(user, "GET", "/v1/search?q=app").await.json();
        assert_eq!((&found["num_results"], &found["results"][0]["name"]), (&json!(1), &json!("library/app")));
    }
}
