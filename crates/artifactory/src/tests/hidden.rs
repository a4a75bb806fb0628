//! What somebody may not read can't be told from what is not there: by status, text, count or header.

use serde_json::{Value, json};
use supercargo_eventlog::{Actor, DockerApiVersion, RepositoryConfig};
use supercargo_model::account::{Actions, Grant, Grantee, UserName};
use supercargo_model::{Pattern, Reference, RepoKey, RepoName, Tag, media_type};
use supercargo_registry::{Caller, ManifestPush};

use super::support::*;

impl Fixture {
    async fn repository(&self, text: &str, version: DockerApiVersion) {
        let config = RepositoryConfig { docker_api_version: version, ..RepositoryConfig::default() };
        self.registry.create_repository(&system(), &RepoKey::parse(text).unwrap(), config).await.unwrap();
    }

    /// What `reader` is told, with what is asked for left out of it.
    async fn told(&self, method: &str, path: &str, body: &Value, name: &str) -> (u16, String) {
        let answer = self.put_as("reader", method, path, body.to_string()).await;
        (answer.status, answer.text().replace(name, "<asked>"))
    }
}

#[tokio::test]
async fn promotion_and_migration_tell_nothing_of_hidden_names_and_repositories() {
    for version in [DockerApiVersion::V1, DockerApiVersion::V2] {
        let fixture = Fixture::with_accounts(version).await;
        fixture.repository("hidden", version).await;
        fixture.repository("hidden-new", DockerApiVersion::V2).await;
        fixture.push("secret/app", "v1").await;
        fixture.push("lonely", "v1").await;
        for operation in ["v1/promote", "v2/promote", "v1/migrate"] {
            let own = format!("api/docker/docker-local/{operation}");
            for (there, absent) in [("secret/app", "absent/app"), ("lonely", "absent")] {
                let asked = |name: &str, tag: &str| json!({ "targetRepo": "docker-local", "dockerRepository": name, "tag": tag });
                for tag in ["", "v1", "v2"] {
                    let of_hidden = fixture.told("POST", &own, &asked(there, tag), there).await;
                    let of_absent = fixture.told("POST", &own, &asked(absent, tag), absent).await;
                    assert_eq!(of_hidden, of_absent, "{operation} {there}:{tag}");
                    assert_eq!(of_hidden.0, 404, "{operation} {}", of_hidden.1);
                }
            }
            for there in ["hidden", "hidden-new"] {
                let asked =
                    |to: &str| json!({ "targetRepo": to, "dockerRepository": "team/app", "copy": true });
                let of_hidden = fixture.told("POST", &own, &asked(there), there).await;
                let of_absent = fixture.told("POST", &own, &asked("absent"), "absent").await;
                assert_eq!(of_hidden, of_absent, "{operation} into {there}");
                for body in [asked("docker-local"), json!({ "targetRepo": "docker-local" })] {
                    let of = |from: &str| format!("api/docker/{from}/{operation}");
                    let from_hidden = fixture.told("POST", &of(there), &body, there).await;
                    let from_absent = fixture.told("POST", &of("absent"), &body, "absent").await;
                    assert_eq!(from_hidden, from_absent, "{operation} from {there}");
                    assert_eq!(from_hidden.0, 404, "{operation} {}", from_hidden.1);
                }
            }
        }
    }
}

#[tokio::test]
async fn a_whole_repository_is_what_is_seen_of_it() {
    let fixture = Fixture::with_accounts(DockerApiVersion::V2).await;
    fixture.repository("target", DockerApiVersion::V2).await;
    for name in ["secret/app", "team/app"] {
        fixture.push(name, "v1").await;
    }
    let everything = Grantee::User(UserName::parse("reader").unwrap());
    let grant = Grant {
        grantee: everything,
        repositories: Pattern::parse("target").unwrap(),
        names: Pattern::parse("**").unwrap(),
    };
    fixture.registry.set_permission(&system(), grant, Actions::READ.or(Actions::WRITE)).await.unwrap();
    let asked = json!({ "targetRepo": "target", "copy": true });
    let path = "api/docker/docker-local/v2/promote";
    let promoted = fixture.put_as("reader", "POST", path, asked.to_string()).await;
    assert_eq!(promoted.status, 200, "{}", promoted.text());
    let there = fixture.ask_as("root", "GET", "api/storage/target?list&deep=1").await.json();
    let there = there["files"].as_array().unwrap().iter().map(|file| file["uri"].as_str().unwrap());
    assert_eq!(there.collect::<Vec<_>>(), ["/team/app/v1/list.manifest.json"]);
}

#[tokio::test]
async fn a_migration_counts_what_is_seen() {
    let fixture = Fixture::with_accounts(DockerApiVersion::V1).await;
    fixture.repository("new", DockerApiVersion::V2).await;
    for (name, tag, id) in [("secret/app", "a", 1), ("secret/app", "b", 2), ("team/app", "c", 3)] {
        fixture.push_v1(name, tag, id, None).await;
    }
    let everything = Grantee::User(UserName::parse("reader").unwrap());
    let grant = Grant {
        grantee: everything,
        repositories: Pattern::parse("new").unwrap(),
        names: Pattern::parse("other/**").unwrap(),
    };
    fixture.registry.set_permission(&system(), grant, Actions::READ).await.unwrap();
    let authorization = basic("reader", PASSWORD);
    let headers = [("accept", "application/json"), ("authorization", authorization.as_str())];
    let path = "api/docker/docker-local/v1/migrate";
    let report = fixture.send("POST", path, &headers, r#"{"targetRepo":"new"}"#).await.json();
    assert_eq!((&report["counts"]["total"], &report["counts"]["failed"]), (&json!(1), &json!(1)), "{report}");
}

#[tokio::test]
async fn who_may_annotate_alone_moves_no_tag() {
    let fixture = Fixture::with_accounts(DockerApiVersion::V1).await;
    fixture.add_user("annotator", false).await;
    let target =
        json!({ "repositories": ["docker-local"], "principals": { "users": { "annotator": ["r", "n"] } } });
    let made = fixture.put_as("root", "PUT", "api/security/permissions/notes", target.to_string()).await;
    assert_eq!(made.status, 201, "{}", made.text());
    fixture.push_v1("team/app", "old", 1, None).await;
    let new = fixture.push_v1("team/app", "new", 2, None).await;
    let item = "docker-local/repositories/team/app/old/tag.json";
    let moves = format!("api/storage/{item}?properties=docker.tag.content={new}");
    let before = fixture.records();
    let moved = fixture.ask_as("annotator", "PUT", &moves).await;
    assert_eq!(moved.status, 403, "{}", moved.text());
    let update = json!({ "props": { "docker.tag.content": new.to_string() } }).to_string();
    let updated = fixture.put_as("annotator", "PATCH", &format!("api/metadata/{item}"), update).await;
    assert_eq!((updated.error().0, fixture.records()), (403, before));
    let notes = format!("api/storage/{item}?properties=seen=yes");
    assert_eq!(fixture.ask_as("annotator", "PUT", &notes).await.status, 204);
    assert_eq!(fixture.ask_as("writer", "PUT", &moves).await.status, 204);
}

#[tokio::test]
async fn an_empty_folder_goes_by_who_may_delete_what_it_was_of() {
    let fixture = Fixture::with_accounts(DockerApiVersion::V2).await;
    fixture.push("team/app", "v1").await;
    let folder = "team/app/v1";
    let file = format!("docker-local/{folder}/list.manifest.json");
    assert_eq!(fixture.ask_as("deleter", "DELETE", &file).await.status, 204);
    let before = fixture.records();
    for (folder, user) in [("team/app/v1", "reader"), ("team/app", "writer"), ("team", "reader")] {
        let refused = fixture.ask_as(user, "DELETE", &format!("docker-local/{folder}")).await;
        assert_eq!(refused.status, 403, "{folder} {}", refused.text());
    }
    assert_eq!(fixture.records(), before);
    assert_eq!(fixture.ask_as("deleter", "DELETE", &format!("docker-local/{folder}")).await.status, 204);
    assert_eq!(
        fixture.ask_as("reader", "GET", &format!("api/storage/docker-local/{folder}")).await.status,
        404
    );
}

#[tokio::test]
async fn what_depends_on_who_asks_is_kept_by_nobody() {
    let fixture = Fixture::with_accounts(DockerApiVersion::V2).await;
    fixture.push("team/app", "v1").await;
    for (method, path, status) in [
        ("GET", "api/storage/docker-local", 200),
        ("GET", "api/storage/docker-local/absent", 404),
        ("GET", "api/search/prop?docker.repoName=team/app", 200),
        ("GET", "api/repositories", 200),
        ("POST", "api/security/apiKey", 201),
        ("GET", "docker-local/absent", 404),
    ] {
        let answer = fixture.ask_as("reader", method, path).await;
        assert_eq!((answer.status, answer.header("cache-control")), (status, "no-store"), "{method} {path}");
    }
    let file = fixture.ask_as("reader", "GET", "docker-local/team/app/v1/list.manifest.json").await;
    assert_eq!((file.status, file.header("cache-control")), (200, "private, no-cache"));
}

#[tokio::test]
async fn clients_that_take_their_time_keep_nobody_from_walking() {
    let fixture = Fixture::with_accounts(DockerApiVersion::V2).await;
    for tag in 0..1_000 {
        fixture.push("team/app", &format!("t{tag}")).await;
    }
    let authorization = basic("reader", PASSWORD);
    let mut slow = Vec::new();
    for _ in 0..supercargo_registry::tree::WALKS_MAX {
        let request = http::Request::get("/artifactory/api/storage/docker-local?list&deep=1");
        let request = request.header("authorization", &authorization).body(axum::body::Body::empty());
        let answer = tower::ServiceExt::oneshot(fixture.router.clone(), request.unwrap()).await.unwrap();
        assert_eq!(answer.status(), 200);
        slow.push(answer);
    }
    let search = "api/search/prop?docker.repoName=team/app&docker.manifest=t1";
    let found = fixture.ask_as("reader", "GET", search);
    let found = tokio::time::timeout(std::time::Duration::from_secs(20), found).await;
    assert_eq!(found.expect("others wait for slow clients").status, 200);
    for answer in slow {
        let body = http_body_util::BodyExt::collect(answer.into_body()).await.unwrap().to_bytes();
        let listed: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(listed["files"].as_array().unwrap().len(), 1_000);
    }
}

#[tokio::test]
async fn a_shared_folder_does_not_say_who_else_is_in_it() {
    let fixture = Fixture::with_accounts(DockerApiVersion::V2).await;
    for (user, name) in [("hidden-pusher", "shared/a"), ("reader", "shared/z")] {
        let caller = Caller { actor: Actor::User(user.to_owned()), ..system() };
        let json = format!(r#"{{"schemaVersion":2,"mediaType":"{}","manifests":[]}}"#, media_type::OCI_INDEX);
        let reference = Reference::Tag(Tag::parse("v1").unwrap());
        let push = ManifestPush::new(reference, media_type::OCI_INDEX, bytes::Bytes::from(json));
        fixture.registry.push_manifest(&caller, &key(), &RepoName::parse(name).unwrap(), push).await.unwrap();
    }
    fixture.permit(Grantee::User(UserName::parse("reader").unwrap()), "shared/z", Actions::READ).await;
    let told = |user: &'static str, path: &'static str| {
        let fixture = &fixture;
        async move { fixture.ask_as(user, "GET", &format!("api/storage/docker-local/{path}")).await.json() }
    };
    let (shared, own) = (told("reader", "shared").await, told("reader", "shared/z").await);
    for member in ["created", "createdBy", "lastModified", "modifiedBy", "lastUpdated"] {
        assert_eq!(shared[member], own[member], "{member}");
    }
    assert_eq!(told("root", "shared").await["createdBy"], "hidden-pusher");
}
