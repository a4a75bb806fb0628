//! Access tokens and API keys, and the ways to send them.

use serde_json::{Value, json};
use supercargo_eventlog::DockerApiVersion;

use super::support::{Answer, Fixture, PASSWORD, basic};

const FORM: &str = "application/x-www-form-urlencoded";

async fn form(fixture: &Fixture, user: &str, method: &str, path: &str, form: &str) -> Answer {
    let login = basic(user, PASSWORD);
    let headers = [("content-type", FORM), ("authorization", login.as_str())];
    fixture.send(method, path, &headers, form.to_owned()).await
}

/// Who a request is taken to come from, by the user that it may look at.
async fn is(fixture: &Fixture, user: &str, headers: &[(&str, &str)]) -> u16 {
    fixture.send("GET", &format!("api/security/users/{user}"), headers, String::new()).await.status
}

#[tokio::test]
async fn credentials_are_taken_whichever_way_they_are_sent() {
    let fixture = Fixture::with_accounts(DockerApiVersion::V2).await;
    let made =
        form(&fixture, "reader", "POST", "api/security/token", "scope=member-of-groups%3A*&expires_in=60")
            .await;
    let made = made.json();
    assert_eq!((&made["token_type"], &made["expires_in"]), (&json!("Bearer"), &json!(60)));
    let token = made["access_token"].as_str().unwrap().to_owned();
    let (password, by_token) = (basic("reader", PASSWORD), basic("reader", &token));
    let (bearer, empty) = (format!("Bearer {token}"), basic("", ""));
    for sent in [
        ("authorization", password.as_str()),
        ("authorization", &by_token),
        ("authorization", &bearer),
        ("x-jfrog-art-api", &token),
    ] {
        assert_eq!(is(&fixture, "reader", &[sent]).await, 200, "{sent:?}");
    }
    let (wrong, other) = (basic("reader", "wrong"), basic("writer", &token));
    for sent in [
        &[("authorization", wrong.as_str())][..],
        &[("authorization", &other)],
        &[("authorization", "Bearer x.y.z")],
        &[("authorization", "Digest x")],
        &[("x-jfrog-art-api", "AKCp5")],
        &[("x-jfrog-art-api", &token), ("authorization", &password)],
        &[("authorization", &password), ("authorization", &password)],
    ] {
        let refused = fixture.send("GET", "api/system/ping", sent, String::new()).await;
        assert_eq!(refused.header("www-authenticate"), "Basic realm=\"Artifactory Realm\"");
        let (status, message) = refused.error();
        assert!(status == 401 && message.starts_with("Bad credentials"), "{sent:?}: {message}");
    }
    let nobody =
        fixture.send("GET", "api/system/ping", &[("authorization", empty.as_str())], String::new()).await;
    assert_eq!(nobody.status, 200);
    let asked = fixture.ask("GET", "api/security/users/reader").await;
    assert_eq!(asked.error(), (401, "Authentication is required".to_owned()));
}

#[tokio::test]
async fn tokens_are_made_listed_and_revoked_by_their_users_and_administrators() {
    let fixture = Fixture::with_accounts(DockerApiVersion::V2).await;
    let path = "access/api/v1/tokens";
    let json = json!({ "username": "reader", "description": "ci", "expires_in": 0, "refreshable": false });
    let made = fixture.put_as("root", "POST", path, json.to_string()).await.json();
    assert_eq!((&made["expires_in"], &made["scope"]), (&Value::Null, &json!("applied-permissions/user")));
    let (id, token) = (made["token_id"].as_str().unwrap(), made["access_token"].as_str().unwrap());
    let bearer = format!("Bearer {token}");
    let bearer = [("authorization", bearer.as_str())];
    assert_eq!(is(&fixture, "reader", &bearer).await, 200);
    // A token makes no other that would outlive it.
    let again = fixture.send("POST", "api/security/token", &bearer, String::new()).await;
    assert_eq!(again.error().0, 403);

    let listed = fixture.ask_as("reader", "GET", path).await.json();
    assert_eq!(
        (&listed["tokens"][0]["token_id"], &listed["tokens"][0]["description"]),
        (&json!(id), &json!("ci"))
    );
    for (user, path, count) in [
        ("writer", path.to_owned(), 0),
        ("writer", format!("{path}?username=reader"), 0),
        ("root", path.to_owned(), 1),
        ("root", format!("{path}?username=reader"), 1),
        ("root", "api/security/token".to_owned(), 1),
    ] {
        let listed = fixture.ask_as(user, "GET", &path).await.json();
        assert_eq!(listed["tokens"].as_array().unwrap().len(), count, "{user} {path}");
    }
    let one = format!("{path}/{id}");
    assert_eq!(fixture.ask_as("writer", "GET", &one).await.error().0, 404);
    assert_eq!(fixture.ask_as("reader", "GET", &one).await.json()["subject"], "reader");
    assert_eq!(fixture.ask_as("writer", "DELETE", &one).await.error().0, 404);
    let others =
        form(&fixture, "writer", "POST", "api/security/token/revoke", &format!("token={token}")).await;
    assert_eq!((others.status, is(&fixture, "reader", &bearer).await), (200, 200));
    let gone =
        form(&fixture, "reader", "DELETE", "access/api/v1/tokens/revoke", &format!("token={token}")).await;
    assert_eq!(
        (gone.status, gone.text(), is(&fixture, "reader", &bearer).await),
        (200, "Token revoked", 401)
    );
    let again =
        form(&fixture, "reader", "POST", "api/security/token/revoke", &format!("token_id={id}")).await;
    assert_eq!((again.status, again.text()), (200, "Token not revoked: there is no such token"));
    assert_eq!(fixture.ask_as("reader", "DELETE", &one).await.error().0, 404);
    assert_eq!(fixture.ask_as("root", "GET", &format!("{path}/none")).await.error().0, 404);
}

#[tokio::test]
async fn no_token_is_made_for_less_or_for_others() {
    let fixture = Fixture::with_accounts(DockerApiVersion::V2).await;
    for (user, sent, status) in [
        ("reader", "username=writer", 403),
        ("reader", "scope=member-of-groups%3Areaders", 400),
        ("reader", "scope=api%3A*+member-of-groups%3Areaders", 400),
        ("reader", "grant_type=refresh_token", 400),
        ("reader", "refreshable=true", 400),
        ("reader", "expires_in=soon", 400),
        ("reader", "expires_in=-1", 400),
        ("root", "username=none", 404),
        ("root", "username=a+b", 400),
        ("reader", "grant_type=client_credentials&refreshable=False&audience=x&scope=api%3A*", 200),
    ] {
        let answer = form(&fixture, user, "POST", "api/security/token", sent).await;
        assert_eq!(answer.status, status, "{user} {sent}: {}", answer.text());
    }
    for sent in ["", "token=x", "token_id=x", "token=x&token_id=x"] {
        let answer = form(&fixture, "reader", "POST", "api/security/token/revoke", sent).await;
        assert_eq!(answer.error().0, 400, "{sent}");
    }
}

#[tokio::test]
async fn an_api_key_is_told_once_and_is_one_per_user() {
    let fixture = Fixture::with_accounts(DockerApiVersion::V2).await;
    let path = "api/security/apiKey";
    assert_eq!(fixture.ask_as("reader", "GET", path).await.text(), "{}");
    for method in ["PUT", "DELETE"] {
        assert_eq!(fixture.ask_as("reader", method, path).await.error().0, 404, "{method}");
    }
    let made = fixture.ask_as("reader", "POST", path).await;
    assert_eq!(made.status, 201);
    let key = made.json()["apiKey"].as_str().unwrap().to_owned();
    assert_eq!(is(&fixture, "reader", &[("x-jfrog-art-api", key.as_str())]).await, 200);
    assert_eq!(fixture.ask_as("reader", "POST", path).await.error().0, 400);
    let shown = fixture.ask_as("reader", "GET", path).await.json()["apiKey"].as_str().unwrap().to_owned();
    assert!(key.starts_with(&shown[..36]) && !shown.contains(&key[40..]), "{shown}");
    // The key itself may have itself replaced; another token may not.
    let by_key = [("x-jfrog-art-api", key.as_str())];
    let renewed = fixture.send("PUT", path, &by_key, String::new()).await.json();
    let new = renewed["apiKey"].as_str().unwrap().to_owned();
    assert_eq!(is(&fixture, "reader", &by_key).await, 401);
    assert_eq!(is(&fixture, "reader", &[("x-jfrog-art-api", new.as_str())]).await, 200);
    let token = form(&fixture, "reader", "POST", "api/security/token", "").await.json();
    let token = format!("Bearer {}", token["access_token"].as_str().unwrap());
    let by_token = fixture.send("PUT", path, &[("authorization", token.as_str())], String::new()).await;
    assert_eq!(by_token.error().0, 403);
    assert_eq!(fixture.ask_as("reader", "DELETE", &format!("{path}?deleteAll=1")).await.error().0, 403);
    let revoked = fixture.ask_as("reader", "DELETE", path).await.json();
    assert_eq!(revoked["info"], "API Key for user: 'reader' has been successfully revoked");
    assert_eq!(fixture.ask_as("writer", "POST", path).await.status, 201);
    let all = fixture.ask_as("root", "DELETE", &format!("{path}?deleteAll=1")).await.json();
    assert_eq!(all["info"], "1 API keys have been successfully revoked");
    assert_eq!(is(&fixture, "reader", &[("x-jfrog-art-api", new.as_str())]).await, 401);
}
