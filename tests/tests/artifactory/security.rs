//! Accounts by curl: what Artifactory's administrators do by scripts, and what docker clients may do then.

use serde_json::json;
use supercargo_tests::Image;
use supercargo_tests::accounts::{Guarded, PASSWORD, basic};
use supercargo_tests::http::Request;
use supercargo_tests::server::Server;

use crate::curl_as;

#[test]
fn a_permission_target_lets_a_docker_client_in_and_its_end_keeps_it_out() {
    let guarded = Guarded::start(Server::settings());
    let base = format!("http://{}/artifactory/api/security", guarded.server.address());
    let admin = format!("admin:{PASSWORD}");
    let put = |path: &str, body: serde_json::Value, status: u16| {
        let body = body.to_string();
        let url = format!("{base}/{path}");
        let told = curl_as(&admin, &["--request", "PUT", "--data", &body, &url]);
        assert_eq!(told.0, status, "{path}: {}", told.1);
    };
    put("groups/ops", json!({ "description": "Those who run it" }), 201);
    put("users/bob", json!({ "password": PASSWORD, "email": "bob@example.com", "groups": ["ops"] }), 201);
    let target = |letters: &[&str]| {
        json!({
            "includesPattern": "team/**", "excludesPattern": "team/secret/**", "repositories": ["docker-local"],
            "principals": { "groups": { "ops": letters } },
        })
    };
    let login = basic("bob", PASSWORD);
    let start = |name: &str| guarded.ask("POST", &format!("/v2/{name}/blobs/uploads/"), Some(&login)).status;
    assert_eq!(start("team/app"), 403);
    put("permissions/team", target(&["r", "w"]), 201);
    assert_eq!((start("team/app"), start("team/secret/app"), start("other")), (202, 403, 403));
    guarded.push("team/app", "1", &Image::generate(1, 1, 1000), &login);
    let delete = || guarded.ask("DELETE", "/v2/team/app/manifests/1", Some(&login)).status;
    assert_eq!(delete(), 403);
    put("permissions/team", target(&["r", "d"]), 200);
    assert_eq!((start("team/app"), delete()), (403, 202));
    let url = format!("{base}/permissions/team");
    assert_eq!(curl_as(&admin, &["--request", "DELETE", &url]).0, 200);
    assert_eq!(guarded.ask("GET", "/v2/team/app/tags/list", Some(&login)).status, 403);
    assert_eq!(curl_as("bob:wrong", &[&url]).0, 401);
    let Guarded { server, .. } = guarded;
    server.stop().verify();
}

#[test]
fn a_token_made_here_is_good_for_docker_until_it_is_revoked() {
    let guarded = Guarded::start(Server::settings());
    guarded.user("ci", "**", "read,write");
    let address = guarded.server.address();
    let url = format!("http://{address}/artifactory/api/security/token");
    let login = format!("ci:{PASSWORD}");
    let form = ["--data", "username=ci", "--data-urlencode", "scope=member-of-groups:*", &url];
    let (status, made) = curl_as(&login, &form);
    let made: serde_json::Value = serde_json::from_str(&made).unwrap();
    assert_eq!((status, &made["expires_in"]), (200, &json!(3600)), "{made}");
    let token = made["access_token"].as_str().unwrap();
    let pushes = || {
        let request = Request::new("POST", "/v2/app/blobs/uploads/");
        guarded.send(request, Some(&basic("ci", token))).status
    };
    assert_eq!(pushes(), 202);
    let revoke = format!("{url}/revoke");
    let data = format!("token={token}");
    assert_eq!(curl_as(&login, &["--data", &data, &revoke]), (200, "Token revoked".to_owned()));
    assert_eq!(pushes(), 401);
}
