//! Users, groups and permission targets.

use serde_json::{Value, json};
use supercargo_eventlog::DockerApiVersion;

use super::support::{Fixture, PASSWORD, basic};

async fn send(fixture: &Fixture, method: &str, path: &str, body: &Value) -> (u16, String) {
    let answer = fixture.put_as("root", method, &format!("api/security/{path}"), body.to_string()).await;
    if answer.status < 300 { (answer.status, answer.text().to_owned()) } else { answer.error() }
}

async fn get(fixture: &Fixture, path: &str) -> Value {
    let answer = fixture.ask_as("root", "GET", &format!("api/security/{path}")).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer.json()
}

#[tokio::test]
async fn users_are_made_changed_and_removed() {
    let fixture = Fixture::with_accounts(DockerApiVersion::V2).await;
    assert_eq!(
        send(&fixture, "PUT", "groups/ops", &json!({ "description": "Those who run it" })).await.0,
        201
    );
    let ann = json!({
        "name": "ann", "email": "ann@example.com", "password": "a long password", "admin": false,
        "profileUpdatable": true, "disableUIAccess": false, "internalPasswordDisabled": false, "groups": ["ops"],
    });
    assert_eq!(send(&fixture, "PUT", "users/ann", &ann).await.0, 201);
    let shown = get(&fixture, "users/ann").await;
    for member in ["name", "email", "admin", "profileUpdatable", "internalPasswordDisabled", "groups"] {
        assert_eq!(shown[member], ann[member], "{member}");
    }
    assert_eq!((&shown["realm"], &shown["password"]), (&json!("internal"), &Value::Null));
    let login = [("authorization", basic("ann", "a long password"))];
    let login = login.each_ref().map(|(name, value)| (*name, value.as_str()));
    let own = fixture.send("GET", "api/security/users/ann", &login, String::new()).await;
    assert_eq!(own.status, 200);
    let other = fixture.send("GET", "api/security/users/root", &login, String::new()).await;
    assert_eq!(other.error().0, 403);

    assert_eq!(send(&fixture, "POST", "users/ann", &json!({ "email": "a@b.c", "groups": [] })).await.0, 200);
    let shown = get(&fixture, "users/ann").await;
    assert_eq!((&shown["email"], &shown["groups"]), (&json!("a@b.c"), &json!([])));
    // A replacement without a password leaves it; what else is not sent is as little as possible.
    assert_eq!(send(&fixture, "PUT", "users/ann", &json!({ "groups": ["ops"] })).await.0, 201);
    let shown = get(&fixture, "users/ann").await;
    assert_eq!((&shown["email"], &shown["groups"]), (&Value::Null, &json!(["ops"])));
    assert_eq!(fixture.send("GET", "api/security/users/ann", &login, String::new()).await.status, 200);

    let list = get(&fixture, "users").await;
    let uri = "http://registry.example:8081/artifactory/api/security/users/ann";
    assert!(
        list.as_array().unwrap().contains(&json!({ "name": "ann", "uri": uri, "realm": "internal" })),
        "{list}"
    );
    let removed = send(&fixture, "DELETE", "users/ann", &json!({})).await;
    assert_eq!(removed, (200, "User 'ann' has been removed successfully.".to_owned()));
    assert_eq!(send(&fixture, "DELETE", "users/ann", &json!({})).await.0, 404);
    assert_eq!(send(&fixture, "POST", "users/ann", &json!({})).await.0, 404);
}

#[tokio::test]
async fn users_that_can_not_be_are_refused_and_nothing_changes() {
    let fixture = Fixture::with_accounts(DockerApiVersion::V2).await;
    let before = fixture.records();
    for (path, body, status) in [
        ("users/new", json!({}), 400),
        ("users/new", json!({ "password": "short" }), 400),
        ("users/new", json!({ "password": PASSWORD, "groups": ["none"] }), 404),
        ("users/new", json!({ "password": PASSWORD, "email": "no address" }), 400),
        ("users/new", json!({ "password": PASSWORD, "internalPasswordDisabled": true }), 400),
        ("users/new", json!({ "password": PASSWORD, "name": "other" }), 400),
        ("users/new", json!({ "password": PASSWORD, "admin": "yes" }), 400),
        ("users/anonymous", json!({ "password": PASSWORD }), 400),
        ("users/root", json!({ "admin": false }), 409),
        ("groups/new", json!({ "autoJoin": true }), 400),
        ("groups/new", json!({ "adminPrivileges": true }), 400),
        ("groups/new", json!({ "realm": "ldap" }), 400),
        ("groups/new", json!({ "userNames": ["none"] }), 404),
        ("groups/new", json!({ "name": "other" }), 400),
    ] {
        let answer = send(&fixture, "PUT", path, &body).await;
        assert_eq!(answer.0, status, "{path} {body}: {}", answer.1);
    }
    assert_eq!(fixture.records(), before);
}

#[tokio::test]
async fn a_password_is_changed_by_who_knows_the_old_one() {
    let fixture = Fixture::with_accounts(DockerApiVersion::V2).await;
    let change = async |user: &str, of: &str, old: &str, new: [&str; 2]| {
        let body =
            json!({ "userName": of, "oldPassword": old, "newPassword1": new[0], "newPassword2": new[1] });
        let path = "api/security/users/authorization/changePassword";
        fixture.put_as(user, "POST", path, body.to_string()).await.status
    };
    let new = "another password";
    assert_eq!(change("reader", "reader", PASSWORD, [new, "else"]).await, 400);
    assert_eq!(change("reader", "writer", PASSWORD, [new, new]).await, 403);
    assert_eq!(change("reader", "reader", "wrong password", [new, new]).await, 401);
    assert_eq!(change("reader", "reader", PASSWORD, ["x", "x"]).await, 400);
    assert_eq!(change("", "reader", PASSWORD, [new, new]).await, 401);
    assert_eq!(change("reader", "reader", PASSWORD, [new, new]).await, 200);
    assert_eq!(
        fixture.ask_as("reader", "GET", "api/repositories").await.error(),
        (401, "Bad credentials".to_owned())
    );
    assert_eq!(change("root", "reader", new, [PASSWORD, PASSWORD]).await, 200);
    let encrypted = fixture.ask_as("reader", "GET", "api/security/encryptedPassword").await.error();
    assert!(encrypted.0 == 404 && encrypted.1.contains("access token"), "{encrypted:?}");
}

#[tokio::test]
async fn groups_are_made_changed_and_removed() {
    let fixture = Fixture::with_accounts(DockerApiVersion::V2).await;
    let ops = json!({ "name": "ops", "description": "d", "autoJoin": false, "realm": "internal", "userNames": ["reader"] });
    assert_eq!(send(&fixture, "PUT", "groups/ops", &ops).await.0, 201);
    assert_eq!(get(&fixture, "groups/ops").await["userNames"], Value::Null);
    let shown = get(&fixture, "groups/ops?includeUsers=True").await;
    assert_eq!((&shown["description"], &shown["userNames"]), (&json!("d"), &json!(["reader"])));
    assert_eq!(send(&fixture, "POST", "groups/ops", &json!({ "description": "e" })).await.0, 200);
    let shown = get(&fixture, "groups/ops?includeUsers=true").await;
    assert_eq!((&shown["description"], &shown["userNames"]), (&json!("e"), &json!(["reader"])));
    assert_eq!(send(&fixture, "POST", "groups/ops", &json!({ "userNames": [] })).await.0, 200);
    assert_eq!(get(&fixture, "groups/ops?includeUsers=true").await["userNames"], json!([]));
    let uri = "http://registry.example:8081/artifactory/api/security/groups/ops";
    assert_eq!(get(&fixture, "groups").await, json!([{ "name": "ops", "uri": uri }]));
    assert_eq!(send(&fixture, "DELETE", "groups/ops", &json!({})).await.0, 200);
    for method in ["DELETE", "POST"] {
        assert_eq!(send(&fixture, method, "groups/ops", &json!({})).await.0, 404, "{method}");
    }
}

#[tokio::test]
async fn a_permission_target_gives_what_it_says() {
    let fixture = Fixture::with_accounts(DockerApiVersion::V2).await;
    fixture.push("app/web", "1").await;
    fixture.push("app/secret", "1").await;
    assert_eq!(send(&fixture, "PUT", "groups/ops", &json!({ "userNames": ["stranger"] })).await.0, 201);
    let readable = async |user: &str| {
        let rights = fixture.settings.authority.as_ref().unwrap().permissions().unwrap();
        let user = supercargo_model::account::UserName::parse(user).unwrap();
        let groups = fixture.registry.groups_of(&user).unwrap();
        let known = supercargo_access::KnownUser { name: user, groups, administrator: false };
        let rights = rights.rights(&known.into());
        let shown = |name: &supercargo_model::RepoName| rights.may_read(&super::support::key(), name);
        let names = fixture.registry.catalog(&super::support::key(), None, 10, shown).unwrap().entries;
        names.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(readable("stranger").await, [""; 0]);
    let target = json!({
        "name": "apps of all", "includesPattern": "app/**", "excludesPattern": "app/secret/**",
        "repositories": ["docker-local"],
        "principals": { "users": { "reader": ["d", "r", "mxm"] }, "groups": { "ops": ["r", "n"] } },
    });
    let path = "permissions/apps%20of%20all";
    assert_eq!(send(&fixture, "PUT", path, &target).await.0, 201);
    assert_eq!(send(&fixture, "PUT", path, &target).await.0, 200);
    assert_eq!(readable("stranger").await, ["app/web"]);
    let shown = get(&fixture, path).await;
    for member in ["name", "includesPattern", "excludesPattern", "repositories"] {
        assert_eq!(shown[member], target[member], "{member}");
    }
    let principals = json!({ "users": { "reader": ["r", "d"] }, "groups": { "ops": ["r", "n"] } });
    assert_eq!(shown["principals"], principals);
    let uri = "http://registry.example:8081/artifactory/api/security/permissions/apps%20of%20all";
    assert_eq!(get(&fixture, "permissions").await, json!([{ "name": "apps of all", "uri": uri }]));
    // Who is gone is gone from it.
    assert_eq!(send(&fixture, "DELETE", "users/reader", &json!({})).await.0, 200);
    assert_eq!(get(&fixture, path).await["principals"]["users"], json!({}));
    let any = json!({ "repositories": ["ANY LOCAL"], "principals": { "groups": { "ops": ["r"] } } });
    assert_eq!(send(&fixture, "PUT", path, &any).await.0, 200);
    assert_eq!(get(&fixture, path).await["includesPattern"], "**");
    assert_eq!(readable("stranger").await, ["app/secret", "app/web"]);
    assert_eq!(send(&fixture, "DELETE", path, &json!({})).await.0, 200);
    assert_eq!(readable("stranger").await, [""; 0]);
    for method in ["GET", "DELETE"] {
        assert_eq!(send(&fixture, method, path, &json!({})).await.0, 404, "{method}");
    }
}

#[tokio::test]
async fn permission_targets_that_can_not_be_are_refused() {
    let fixture = Fixture::with_accounts(DockerApiVersion::V2).await;
    let before = fixture.records();
    let users = |user: &str, letters: Value| json!({ "users": { user: letters } });
    for (repositories, patterns, principals) in [
        (json!([]), "", json!({})),
        (json!(["with_underscore"]), "", json!({})),
        (json!(["ANY REMOTE"]), "", json!({})),
        (json!("docker-local"), "", json!({})),
        (json!(["docker-local"]), "a,***", json!({})),
        (json!(["docker-local"]), "", users("none", json!(["r"]))),
        (json!(["docker-local"]), "", users("anonymous", json!(["r"]))),
        (json!(["docker-local"]), "", users("a b", json!(["r"]))),
        (json!(["docker-local"]), "", users("reader", json!(["read"]))),
        (json!(["docker-local"]), "", users("reader", json!("r"))),
        (json!(["docker-local"]), "", json!({ "groups": { "none": ["r"] } })),
    ] {
        let target =
            json!({ "repositories": repositories, "includesPattern": patterns, "principals": principals });
        let answer = send(&fixture, "PUT", "permissions/t", &target).await;
        assert_eq!(answer.0, 400, "{target}: {}", answer.1);
    }
    assert_eq!(send(&fixture, "PUT", "permissions/a%3Ab", &json!({ "repositories": ["r"] })).await.0, 400);
    assert_eq!(fixture.records(), before);
}

#[tokio::test]
async fn without_accounts_there_is_nobody_and_nobody_is_made() {
    let fixture = Fixture::open(DockerApiVersion::V2).await;
    for list in ["users", "groups", "permissions"] {
        assert_eq!(fixture.ask("GET", &format!("api/security/{list}")).await.text(), "[]", "{list}");
    }
    for (method, path) in [
        ("PUT", "api/security/users/ann"),
        ("POST", "api/security/users/ann"),
        ("DELETE", "api/security/users/ann"),
        ("POST", "api/security/users/authorization/changePassword"),
        ("PUT", "api/security/groups/ops"),
        ("DELETE", "api/security/groups/ops"),
        ("PUT", "api/security/permissions/t"),
        ("DELETE", "api/security/permissions/t"),
        ("POST", "api/security/apiKey"),
        ("POST", "api/security/token"),
        ("DELETE", "access/api/v1/tokens/revoke"),
    ] {
        let body = json!({ "password": PASSWORD, "repositories": ["docker-local"] }).to_string();
        let refused = fixture.put_as("", method, path, body).await.error();
        assert!(refused.0 == 409 && refused.1.contains("--accounts"), "{method} {path}: {refused:?}");
    }
    assert_eq!(fixture.records(), 1);
}
