//! URLs that clients are told, by every way, behind proxies that take something away: with a prefix, another host, TLS and a
//! port of its own.

use supercargo_tests::accounts::Guarded;
use supercargo_tests::http::Request;
use supercargo_tests::{Client, Server};

use crate::support::every_way;

/// Where a client that asks with these headers is told to get a token.
#[track_caller]
fn realm(client: &Client, path: &str, headers: &[(&str, &str)]) -> String {
    let request =
        headers.iter().fold(Request::new("GET", path), |request, (name, value)| request.header(name, value));
    let answer = client.send(&request).unwrap().expect(401);
    let challenge = answer.require("WWW-Authenticate");
    challenge.split('"').nth(1).unwrap().to_owned()
}

#[test]
fn what_a_proxy_takes_away_is_put_back() {
    let guarded = Guarded::start(every_way().variable("SUPERCARGO_TRUSTED_PROXIES", "127.0.0.1"));
    guarded.admin("PUT", "/repositories/team-a", r#"{"docker-port":444}"#, 201);
    guarded.admin("PUT", "/repositories/bound", "{}", 201);
    let client = guarded.server.client();
    let api = "/artifactory/api/docker/team-a/v2/";
    let https = ("X-Forwarded-Proto", "https");
    let base = "X-Artifactory-Override-Base-Url";
    for (path, headers, expected) in [
        // A prefix that stands before everything.
        (
            "/v2/",
            &[("Host", "a.example"), ("X-Forwarded-Prefix", "/reg")][..],
            "http://a.example/reg/v2/token",
        ),
        (
            api,
            &[("Host", "a.example"), https, ("X-Forwarded-Prefix", "/reg/")],
            "https://a.example/reg/artifactory/api/docker/team-a/v2/token",
        ),
        // All at once; the path is the context's, and means nothing at a root.
        (
            api,
            &[("Host", "inside"), (base, "https://a.example:8443/artifactory")],
            "https://a.example:8443/artifactory/api/docker/team-a/v2/token",
        ),
        (
            api,
            &[("Host", "inside"), (base, "https://a.example:443")],
            "https://a.example/api/docker/team-a/v2/token",
        ),
        (
            api,
            &[("Host", "inside"), https, ("X-Forwarded-Host", "b.example"), (base, "http://a.example/x")],
            "http://a.example/x/api/docker/team-a/v2/token",
        ),
        (
            "/v2/",
            &[("Host", "inside"), (base, "https://a.example:8443/artifactory")],
            "https://a.example:8443/v2/token",
        ),
        ("/v2/", &[("Host", "bound.example:444"), https], "https://bound.example:444/v2/token"),
        // By the port that the proxy says.
        (
            "/v2/",
            &[("Host", "a.example"), https, ("X-Forwarded-Port", "444")],
            "https://a.example:444/v2/token",
        ),
        // What is no base URL says nothing.
        ("/v2/", &[("Host", "a.example"), (base, "a.example")], "http://a.example/v2/token"),
        ("/v2/", &[("Host", "a.example"), (base, "https://u@b.example")], "http://a.example/v2/token"),
        (
            "/v2/",
            &[("Host", "a.example"), ("X-Forwarded-Prefix", "//b.example")],
            "http://a.example/v2/token",
        ),
        ("/v2/", &[("Host", "a.example"), ("X-Forwarded-Prefix", "/a\"b")], "http://a.example/v2/token"),
    ] {
        assert_eq!(realm(&client, path, headers), expected, "{path} {headers:?}");
    }
    let location = |path: &str, headers: &[(&str, &str)]| {
        let login = supercargo_tests::accounts::basic("admin", supercargo_tests::accounts::PASSWORD);
        let request = Request::new("POST", path).header("Authorization", &login);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(name, value));
        client.send(&request).unwrap().expect(202).require("Location").to_owned()
    };
    for (path, headers, expected) in [
        ("/v2/app/blobs/uploads/", &[("X-Forwarded-Prefix", "/reg")][..], "/reg/v2/app/blobs/uploads/"),
        (
            "/v2/team-a/app/blobs/uploads/",
            &[("X-Forwarded-Prefix", "/reg")],
            "/reg/v2/team-a/app/blobs/uploads/",
        ),
        (
            "/artifactory/api/docker/team-a/v2/app/blobs/uploads/",
            &[(base, "https://a.example/public")],
            "/public/api/docker/team-a/v2/app/blobs/uploads/",
        ),
        ("/v2/app/blobs/uploads/", &[(base, "https://a.example/public")], "/v2/app/blobs/uploads/"),
    ] {
        let told = location(path, headers);
        assert!(told.starts_with(expected), "{path} {headers:?}: {told}");
    }
}

#[test]
fn nobody_else_is_believed() {
    let guarded = Guarded::start(every_way());
    let headers = [
        ("Host", "a.example"),
        ("X-Forwarded-Prefix", "/evil"),
        ("X-Artifactory-Override-Base-Url", "https://evil.example/evil"),
        ("X-Forwarded-Host", "bound.example:444"),
    ];
    assert_eq!(realm(&guarded.server.client(), "/v2/", &headers), "http://a.example/v2/token");
}

/// The configured base URL is for those who may come back by it.
#[test]
fn a_configured_base_url_is_told_where_no_proxy_says_another() {
    let settings = every_way()
        .variable("SUPERCARGO_BASE_URL", "https://reg.example:8443/public")
        .variable("SUPERCARGO_TRUSTED_PROXIES", "127.0.0.1");
    let guarded = Guarded::start(settings);
    guarded.admin("PUT", "/repositories/team-a", "{}", 201);
    guarded.admin("PUT", "/repositories/own", "{}", 201);
    guarded.admin("PUT", "/repositories/bound", "{}", 201);
    let (client, own) = (guarded.server.client(), guarded.server.next_address());
    let api = "/artifactory/api/docker/team-a/v2/";
    for (path, headers, expected) in [
        (api, &[("Host", "inside")][..], "https://reg.example:8443/public/api/docker/team-a/v2/token"),
        ("/v2/", &[("Host", "inside")], "https://reg.example:8443/v2/token"),
        ("/v2/", &[("Host", "a.example"), ("X-Forwarded-Proto", "https")], "https://a.example/v2/token"),
        (
            api,
            &[("Host", "inside"), ("X-Artifactory-Override-Base-Url", "https://b.example/x")],
            "https://b.example/x/api/docker/team-a/v2/token",
        ),
        // Who came by a host that is a repository's would be another's there.
        ("/v2/", &[("Host", "bound.example:444")], "http://bound.example:444/v2/token"),
        ("/v2/", &[("Host", "team-a.reg.example")], "http://team-a.reg.example/v2/token"),
    ] {
        assert_eq!(realm(&client, path, headers), expected, "{path} {headers:?}");
    }
    assert_eq!(realm(&Client::new(own), "/v2/", &[("Host", "c.example")]), "http://c.example/v2/token");
}

/// The context may be another.
#[test]
fn another_context_moves_what_is_below_it() {
    let server = Server::settings().variable("SUPERCARGO_ARTIFACTORY__CONTEXT", "/hub/x").start();
    let get = |path: &str| server.client().get(path).unwrap();
    get("/hub/x/api/docker/docker-local/v2/").expect(200);
    get("/artifactory/api/docker/docker-local/v2/").expect(404);
    get("/hub/x/api/system/ping").expect(200);
    let routes = get("/metrics").expect(200).text();
    for route in ["ping", "system"] {
        assert!(routes.contains(&format!("route=\"{route}\"")), "{routes}");
    }
}
