//! The server itself, and listings of what does not speak V2.

use supercargo_eventlog::DockerApiVersion;

use super::support::Fixture;

#[tokio::test]
async fn clients_find_out_that_it_is_there_and_how_new_it_is() {
    let fixture = Fixture::with_accounts(DockerApiVersion::V2).await;
    let ping = fixture.ask("GET", "api/system/ping").await;
    assert_eq!((ping.status, ping.text()), (200, "OK"));
    assert_eq!(ping.header("content-type"), "text/plain; charset=utf-8");
    let version = fixture.ask("GET", "api/system/version").await;
    assert_eq!(version.header("content-type"), "application/vnd.org.jfrog.artifactory.system.Version+json");
    let version = version.json();
    assert_eq!(version["version"], crate::ARTIFACTORY_VERSION);
    assert_eq!(version["revision"], format!("supercargo-{}", env!("CARGO_PKG_VERSION")));
    let info = fixture.ask_as("root", "GET", "api/system").await;
    assert!(info.text().contains("repositories: 1\n"), "{}", info.text());
    assert_eq!(fixture.ask("GET", "api/system").await.error().0, 401);
    let missing = fixture.ask("GET", "api/plugins").await;
    assert_eq!(missing.error(), (404, "File not found.".to_owned()));
}

#[tokio::test]
async fn what_does_not_speak_v2_is_listed_without_its_header() {
    let fixture = Fixture::with_accounts(DockerApiVersion::V1).await;
    for (name, tag) in [("team/a", "1"), ("team/a", "2"), ("team/b", "1"), ("other", "1")] {
        fixture.push(name, tag).await;
    }
    let path = |below: &str| format!("api/docker/docker-local/v2/{below}");
    let catalog = fixture.ask_as("reader", "GET", &path("_catalog")).await;
    assert_eq!(catalog.text(), r#"{"repositories":["team/a","team/b"]}"#);
    assert_eq!(catalog.header("docker-distribution-api-version"), "");
    let first = fixture.ask_as("root", "GET", &path("_catalog?n=1")).await;
    assert_eq!(first.text(), r#"{"repositories":["other"]}"#);
    let link = "<http://registry.example:8081/artifactory/api/docker/docker-local/v2/_catalog?n=1&last=other>; rel=\"next\"";
    assert_eq!(first.header("link"), link);
    let tags = fixture.ask_as("reader", "GET", &path("team/a/tags/list?n=1")).await;
    assert_eq!(tags.text(), r#"{"name":"team/a","tags":["1"]}"#);
    assert!(tags.header("link").contains("team/a/tags/list?n=1&last=1>"), "{}", tags.header("link"));
    // What may not be read is not there, and who is not known may log in.
    for (user, below, status) in [
        ("reader", "other/tags/list", 404),
        ("reader", "none/tags/list", 404),
        ("stranger", "_catalog", 404),
        ("", "_catalog", 401),
        ("", "team/a/tags/list", 401),
        ("reader", "team/a/tags/list?n=x", 400),
    ] {
        let answer = fixture.ask_as(user, "GET", &path(below)).await;
        assert_eq!(answer.error().0, status, "{user} {below}");
    }
}

#[tokio::test]
async fn what_is_blacked_out_is_not_listed() {
    let fixture = Fixture::with_accounts(DockerApiVersion::V1).await;
    fixture.push("team/a", "1").await;
    let settings = r#"{"blackedOut":true}"#;
    let set = fixture.put_as("root", "POST", "api/repositories/docker-local", settings).await;
    assert_eq!(set.status, 200, "{}", set.text());
    for below in ["_catalog", "team/a/tags/list"] {
        let path = format!("api/docker/docker-local/v2/{below}");
        let (status, text) = fixture.ask_as("reader", "GET", &path).await.error();
        let said = "the repository docker-local is blacked out: what it holds is kept, and not served";
        assert_eq!((status, text.as_str()), (404, said), "{below}");
        let hidden = fixture.ask_as("stranger", "GET", &path).await;
        assert!(!hidden.text().contains("blacked out"), "{}", hidden.text());
    }
}

#[test]
fn what_is_beside_the_protocols_is_known_by_its_path() {
    for (path, of_v1, of_v2) in [
        ("api/docker/r/v1/promote", true, true),
        ("api/docker/r/v2/promote/", true, true),
        ("api/docker/r/v1/migrate", true, true),
        ("api/docker/r/v2/_catalog", true, false),
        ("api/docker/r/v2/a/b/tags/list", true, false),
        ("api/docker/r/v2/a/b/manifests/x", false, false),
        ("api/docker/r/v1/search", false, false),
        ("api/docker/r", false, false),
        ("api/storage/r/v1/promote", false, false),
    ] {
        assert_eq!(crate::is_beside_the_protocols(path, false), of_v1, "{path}");
        assert_eq!(crate::is_beside_the_protocols(path, true), of_v2, "{path}");
    }
}
