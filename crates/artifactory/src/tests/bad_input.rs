//! Whatever is sent, the surface answers in its shape, and nothing breaks.

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use supercargo_eventlog::DockerApiVersion;

use super::support::Fixture;

#[tokio::test]
async fn methods_that_a_path_does_not_have_are_named_in_allow() {
    let fixture = Fixture::open(DockerApiVersion::V2).await;
    for (method, path, allow) in [
        ("POST", "api/system/ping", "GET, HEAD"),
        ("PATCH", "api/repositories/docker-local", "GET, HEAD, PUT, POST, DELETE"),
        ("DELETE", "api/repositories", "GET, HEAD"),
        ("GET", "api/search/aql", "POST"),
        ("POST", "api/storage/docker-local/a", "GET, HEAD, PUT, DELETE"),
        ("PUT", "api/metadata/docker-local/a", "PATCH"),
        ("POST", "docker-local/a", "GET, HEAD, PUT, DELETE"),
        ("POST", "api/security/users", "GET, HEAD"),
        ("POST", "api/security/permissions/t", "GET, HEAD, PUT, DELETE"),
        ("PUT", "api/security/token", "GET, HEAD, POST"),
        ("GET", "api/docker/docker-local/v1/migrate", "POST"),
        ("PUT", "api/docker/docker-local/v2/_catalog", "GET, HEAD"),
    ] {
        let refused = fixture.ask(method, path).await;
        assert_eq!((refused.error().0, refused.header("allow")), (405, allow), "{method} {path}");
    }
}

#[tokio::test]
async fn pages_of_other_origins_change_nothing() {
    let fixture = Fixture::open(DockerApiVersion::V2).await;
    let origin = [("origin", "http://evil.example"), ("content-type", "text/plain")];
    let body = r#"{"rclass":"local"}"#;
    let refused = fixture.send("PUT", "api/repositories/new", &origin, body).await;
    assert_eq!((refused.error().0, fixture.records()), (403, 1));
    assert_eq!(fixture.send("GET", "api/system/ping", &origin, "").await.status, 200);
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_before_it_is_read() {
    let fixture = Fixture::open(DockerApiVersion::V2).await;
    let refused = fixture.put_as("", "PUT", "api/repositories/x", vec![b' '; 2 * 1024 * 1024]).await;
    assert_eq!((refused.error().0, refused.header("connection")), (413, "close"));
}

#[test]
fn nothing_that_is_sent_is_answered_by_a_failure() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let fixture = runtime.block_on(Fixture::open(DockerApiVersion::V2));
    let nouns = "api/(repositories|security/(users|groups|permissions|token|apiKey)|storage|system|search|docker)\
                 |access/api/v1/tokens|docker-local";
    let sent = (
        "GET|HEAD|PUT|POST|DELETE|PATCH",
        nouns,
        "(/[a-z%0-9.:_-]{0,12}){0,3}(\\?[a-z=&%;|,]{0,12})?",
        "\\{\"[a-zA-Z]{1,12}\":(1|\"x\"|\\[\\]|\\{\\}|null)\\}|[\\[{\"a-z=&%]{0,20}",
    );
    let mut runner = TestRunner::new(ProptestConfig { cases: 500, ..ProptestConfig::default() });
    let run = runner.run(&sent, |(method, noun, rest, body)| {
        let answer = runtime.block_on(fixture.put_as("", &method, &format!("{noun}{rest}"), body));
        prop_assert!(answer.status < 500, "{} {}", answer.status, answer.text());
        Ok(())
    });
    run.unwrap();
}
