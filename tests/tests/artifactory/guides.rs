//! What the server says how it is used: the guide's own commands, run as they are printed, and proxies' configurations.

use serde_json::json;
use supercargo_tests::{Image, Server};

use crate::{example, example_json, old_server, refusal};

const API: &str = "http://localhost:8081/artifactory/api";

/// The commands of a guide, with what stands for names filled in, those that delete last.
fn commands(server: &Server, key: &str, filled: &[(&str, &str)]) -> Vec<String> {
    let (status, guide) = example(server, &format!("curl '{API}/setup/{key}?client=curl'"));
    assert_eq!(status, 200, "{guide}");
    let fill = |line: &str| filled.iter().fold(line.to_owned(), |line, (from, to)| line.replace(from, to));
    let mut commands: Vec<_> = guide.lines().filter(|line| line.starts_with("curl ")).map(fill).collect();
    commands.sort_by_key(|line| line.contains("DELETE"));
    commands
}

#[test]
fn set_me_up_is_done_as_it_is_printed() {
    let server = Server::start();
    server.cli(&["repo", "create", "docker-prod"]).expect_success();
    server.client().push_image("team/app", "1.0", &Image::generate(1, 1, 2_000)).unwrap();
    let filled = [("OTHER-KEY", "docker-prod"), ("NAME", "team/app"), ("TAG", "1.0")];
    let done = commands(&server, "docker-local", &filled);
    assert_eq!(done.len(), 4, "{done:?}");
    for line in done {
        let (status, body) = example(&server, &line);
        assert!((200..300).contains(&status), "{line}: {status} {body}");
    }
    let tags = |key: &str| example(&server, &format!("curl {API}/docker/{key}/v2/team/app/tags/list"));
    assert_eq!(tags("docker-prod"), (200, r#"{"name":"team/app","tags":["1.0"]}"#.to_owned()));
    assert_ne!(tags("docker-local").1, tags("docker-prod").1);
    server.stop().verify();
}

#[test]
fn set_me_up_of_a_v1_repository_is_done_as_it_is_printed() {
    let (server, _, chain) = old_server();
    server.cli(&["repo", "create", "old", "--docker-api-version", "V1"]).expect_success();
    let filled =
        [("OTHER-KEY", "old"), ("V2-KEY", "docker-local2"), ("NAME", "jfrog/ubuntu"), ("/TAG", "/12.04")];
    let done = commands(&server, "docker-local", &[&filled[..], &[("\"TAG\"", "\"12.04\"")]].concat());
    assert_eq!(done.len(), 5, "{done:?}");
    for line in done {
        let (status, body) = example(&server, &line);
        assert!((200..300).contains(&status), "{line}: {status} {body}");
    }
    let v1 = |key: &str| {
        example_json(&server, &format!("curl {API}/docker/{key}/v1/repositories/jfrog/ubuntu/tags"))
    };
    assert_eq!(
        (v1("old"), v1("docker-local")),
        (json!({ "12.04": chain.id() }), json!({ "latest": chain.id() }))
    );
    let told = example_json(&server, &format!("curl {API}/docker/docker-local2/v2/jfrog/ubuntu/tags/list"));
    assert_eq!(told["tags"], json!(["12.04"]));
    server.stop().verify();
}

#[test]
fn reverse_proxy_configuration() {
    let settings = Server::settings()
        .variable("SUPERCARGO_PROXY__SERVER_NAME", "registry.example.test")
        .variable("SUPERCARGO_PROXY__CERTIFICATE", "/etc/ssl/registry.crt")
        .variable("SUPERCARGO_PROXY__KEY", "/etc/ssl/registry.key");
    let server = settings.start();
    let old = r#"{"rclass":"local","packageType":"docker","dockerApiVersion":"V1","dockerPort":5444}"#;
    let put = format!("curl -u admin:password -X PUT -H 'Content-Type: application/json' -d '{old}'");
    assert_eq!(example(&server, &format!("{put} {API}/repositories/docker-old")).0, 200);
    let told = example_json(&server, &format!("curl -u admin:password {API}/system/configuration/webServer"));
    assert_eq!((&told["key"], &told["serverName"]), (&json!("nginx"), &json!("registry.example.test")));
    for (program, port) in [("nginx", "listen 5444 ssl"), ("apache", "<VirtualHost *:5444>")] {
        let url = format!("{API}/system/configuration/reverseProxy/{program}");
        let (status, text) = example(&server, &format!("curl -u admin:password {url}"));
        assert_eq!(status, 200, "{text}");
        assert!(text.contains(port) && text.contains("api/docker/docker-old/v1/"), "{text}");
    }
    let post = format!("curl -u admin:password -X POST -d '{{}}' {API}/system/configuration/webServer");
    let (status, body) = example(&server, &post);
    assert_eq!((status, refusal(&body).0), (409, 409));
    server.stop().verify();
}
