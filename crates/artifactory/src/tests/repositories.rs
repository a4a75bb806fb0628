//! Repositories: their settings in Artifactory's words.

use serde_json::{Value, json};
use supercargo_eventlog::DockerApiVersion;
use supercargo_model::RepoKey;

use super::support::{Fixture, key};

async fn put(fixture: &Fixture, method: &str, repository: &str, settings: &Value) -> (u16, String) {
    let path = format!("api/repositories/{repository}");
    let answer = fixture.put_as("", method, &path, settings.to_string()).await;
    if answer.status == 200 { (200, answer.text().to_owned()) } else { answer.error() }
}

async fn shown(fixture: &Fixture, repository: &str) -> Value {
    let answer = fixture.ask("GET", &format!("api/repositories/{repository}")).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let kind = "application/vnd.org.jfrog.artifactory.repositories.LocalRepositoryConfiguration+json";
    assert_eq!(answer.header("content-type"), kind);
    answer.json()
}

#[tokio::test]
async fn a_repository_is_made_with_what_is_said_and_defaults_for_the_rest() {
    let fixture = Fixture::open(DockerApiVersion::V2).await;
    let made = put(&fixture, "PUT", "small", &json!({ "rclass": "local" })).await;
    assert_eq!(made, (200, "Successfully created repository 'small'".to_owned()));
    let small = shown(&fixture, "small").await;
    for (member, value) in [
        ("key", json!("small")),
        ("rclass", json!("local")),
        ("packageType", json!("docker")),
        ("description", json!("")),
        ("notes", json!("")),
        ("includesPattern", json!("**/*")),
        ("excludesPattern", json!("")),
        ("repoLayoutRef", json!("simple-default")),
        ("dockerApiVersion", json!("V2")),
        ("maxUniqueTags", json!(0)),
        ("blackedOut", json!(false)),
        ("propertySets", json!([])),
        ("archiveBrowsingEnabled", json!(false)),
        ("dockerPort", Value::Null),
    ] {
        assert_eq!(small[member], value, "{member}");
    }
    let everything = json!({
        "key": "docker-v1", "rclass": "local", "packageType": "docker", "description": "Old images",
        "notes": "keep", "includesPattern": "repositories/**, .images/**", "excludesPattern": "**/tmp/**",
        "repoLayoutRef": "other-default", "dockerApiVersion": "V1", "maxUniqueTags": 5, "blackedOut": true,
        "propertySets": ["artifactory"], "archiveBrowsingEnabled": true, "dockerPort": 444,
        "xrayIndex": false, "downloadRedirect": { "enabled": true }, "checksumPolicyType": null,
        "supercargo": { "login": "basic", "rules": { "quota": 1000 }, "verify-tarsum": true },
    });
    assert_eq!(put(&fixture, "PUT", "docker-v1", &everything).await.0, 200);
    let all = shown(&fixture, "docker-v1").await;
    for (member, value) in everything.as_object().unwrap() {
        match member.as_str() {
            "includesPattern" => assert_eq!(all[member], "repositories/**,.images/**"),
            "checksumPolicyType" => assert_eq!(all[member], Value::Null),
            "supercargo" => assert_eq!(
                (&all[member]["login"], &all[member]["rules"]["quota"], &all[member]["verify-tarsum"]),
                (&json!("basic"), &json!(1000), &json!(true))
            ),
            _ => assert_eq!(all[member], *value, "{member}"),
        }
    }
    assert_eq!(put(&fixture, "PUT", "docker-v1", &everything).await.0, 400, "it exists");
    // What is shown can be sent back, and changes nothing.
    let before = fixture.records();
    assert_eq!(put(&fixture, "POST", "docker-v1", &all).await.0, 200);
    assert_eq!(fixture.records(), before);
}

#[tokio::test]
async fn an_update_leaves_alone_what_it_does_not_name() {
    let fixture = Fixture::open(DockerApiVersion::V2).await;
    let with = json!({ "maxUniqueTags": 3, "notes": "n", "xrayIndex": true });
    assert_eq!(put(&fixture, "POST", "docker-local", &with).await.0, 200);
    let updated = put(&fixture, "POST", "docker-local", &json!({ "description": "d", "notes": null })).await;
    assert_eq!(updated, (200, "Successfully updated repository 'docker-local'".to_owned()));
    let now = shown(&fixture, "docker-local").await;
    for (member, value) in [
        ("maxUniqueTags", json!(3)),
        ("description", json!("d")),
        ("notes", json!("")),
        ("xrayIndex", json!(true)),
    ] {
        assert_eq!(now[member], value, "{member}");
    }
    assert_eq!(put(&fixture, "POST", "none", &json!({})).await.0, 404);
}

#[tokio::test]
async fn what_is_not_here_is_refused_and_changes_nothing() {
    let fixture = Fixture::open(DockerApiVersion::V2).await;
    let before = fixture.records();
    for (member, value) in [
        ("rclass", json!("remote")),
        ("rclass", json!(1)),
        ("packageType", json!("maven")),
        ("key", json!("other")),
        ("dockerApiVersion", json!("V3")),
        ("dockerApiVersion", json!(2)),
        ("maxUniqueTags", json!(-1)),
        ("maxUniqueTags", json!("5")),
        ("dockerPort", json!(65_536)),
        ("blackedOut", json!("true")),
        ("includesPattern", json!(["a"])),
        ("excludesPattern", json!("a,***")),
        ("description", json!({})),
        ("supercargo", json!({ "unknown": 1 })),
        ("supercargo", json!({ "description": "here" })),
        ("supercargo", json!("x")),
        ("big", json!("x".repeat(20_000))),
    ] {
        let mut settings = json!({ "rclass": "local" });
        settings[member] = value.clone();
        let (status, message) = put(&fixture, "PUT", "fresh", &settings).await;
        assert_eq!(status, 400, "{member} {value}: {message}");
        assert_eq!(put(&fixture, "POST", "docker-local", &settings).await.0, 400, "{member} {value}");
    }
    assert_eq!(put(&fixture, "PUT", "fresh", &json!({})).await.0, 400, "rclass is mandatory");
    assert_eq!(put(&fixture, "PUT", "with_underscore", &json!({ "rclass": "local" })).await.0, 400);
    for body in ["", "[]", "{", "null", "\"x\""] {
        let answer = fixture.put_as("", "PUT", "api/repositories/fresh", body.to_owned()).await;
        assert_eq!(answer.error().0, 400, "{body}");
    }
    assert_eq!(fixture.records(), before);
    assert_eq!(fixture.ask("GET", "api/repositories/fresh").await.error().0, 404);
    assert_eq!(fixture.ask("GET", "api/repositories/with_underscore").await.error().0, 404);
}

#[tokio::test]
async fn one_that_speaks_both_is_shown_as_v2_and_stays_as_it_is() {
    let fixture = Fixture::open(DockerApiVersion::Both).await;
    let both = shown(&fixture, "docker-local").await;
    assert_eq!(
        (&both["dockerApiVersion"], &both["supercargo"]["docker-api-version"]),
        (&json!("V2"), &json!("both"))
    );
    let speaks =
        async || fixture.registry.hosted().unwrap().get(&key()).map(|known| known.docker_api_version);
    for unchanged in [both.clone(), json!({ "dockerApiVersion": "V2" })] {
        assert_eq!(put(&fixture, "POST", "docker-local", &unchanged).await.0, 200);
        assert_eq!(speaks().await, Some(DockerApiVersion::Both));
    }
    let ours = json!({ "supercargo": { "docker-api-version": "V2" }, "dockerApiVersion": "V2" });
    assert_eq!(put(&fixture, "POST", "docker-local", &ours).await.0, 200);
    assert_eq!(speaks().await, Some(DockerApiVersion::V2));
    assert_eq!(
        put(&fixture, "PUT", "b", &json!({ "rclass": "local", "dockerApiVersion": "both" })).await.0,
        200
    );
    let b = RepoKey::parse("b").unwrap();
    assert_eq!(
        fixture.registry.hosted().unwrap().get(&b).map(|known| known.docker_api_version),
        Some(DockerApiVersion::Both)
    );
}

#[tokio::test]
async fn a_port_is_one_repositorys() {
    let fixture = Fixture::open(DockerApiVersion::V2).await;
    assert_eq!(put(&fixture, "POST", "docker-local", &json!({ "dockerPort": 444 })).await.0, 200);
    let taken = put(&fixture, "PUT", "b", &json!({ "rclass": "local", "dockerPort": 444 })).await;
    assert_eq!(taken, (400, "port 444 is repository docker-local's already: choose another".to_owned()));
    assert_eq!(put(&fixture, "POST", "docker-local", &json!({ "dockerPort": 0 })).await.0, 200);
    assert_eq!(put(&fixture, "PUT", "b", &json!({ "rclass": "local", "dockerPort": 444 })).await.0, 200);
}

#[tokio::test]
async fn repositories_are_listed_by_type_and_by_who_may_read() {
    let fixture = Fixture::with_accounts(DockerApiVersion::V2).await;
    let list = fixture.ask_as("root", "GET", "api/repositories").await;
    assert_eq!(
        list.json(),
        json!([{
            "key": "docker-local", "description": "", "type": "LOCAL", "packageType": "Docker",
            "url": "http://registry.example:8081/artifactory/docker-local",
        }])
    );
    for (query, count) in [
        ("?type=local", 1),
        ("?type=LOCAL&packageType=docker", 1),
        ("?type=remote", 0),
        ("?packageType=maven", 0),
    ] {
        let list = fixture.ask_as("reader", "GET", &format!("api/repositories{query}")).await;
        assert_eq!(list.json().as_array().unwrap().len(), count, "{query}");
    }
    for user in ["", "stranger"] {
        assert_eq!(fixture.ask_as(user, "GET", "api/repositories").await.text(), "[]", "{user:?}");
    }
    let reader = fixture.ask_as("reader", "GET", "api/repositories/docker-local").await.json();
    assert_eq!((&reader["key"], &reader["supercargo"]), (&json!("docker-local"), &Value::Null));
    let hidden = fixture.ask_as("stranger", "GET", "api/repositories/docker-local").await.error();
    let missing = fixture.ask_as("stranger", "GET", "api/repositories/none").await.error();
    assert_eq!((hidden.0, missing.0), (404, 404));
}

#[tokio::test]
async fn a_repository_goes_with_all_that_it_holds() {
    let fixture = Fixture::open(DockerApiVersion::V2).await;
    fixture.push("team/a", "1").await;
    fixture.push("team/a", "2").await;
    let removed = fixture.ask("DELETE", "api/repositories/docker-local").await;
    let said = "Repository 'docker-local' and all its content have been removed successfully.\n\
                Removed: 1 names, 2 tags, 1 manifests, 0 V1 images, 0 blobs, ";
    assert!(removed.status == 200 && removed.text().starts_with(said), "{}", removed.text());
    assert_eq!(fixture.ask("DELETE", "api/repositories/docker-local").await.error().0, 404);
}
