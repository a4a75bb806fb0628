//! Promotion and migration: who may, and what they are told.

use serde_json::json;
use supercargo_eventlog::DockerApiVersion;
use supercargo_model::account::{Actions, Grantee, UserName};
use supercargo_model::{RepoKey, RepoName, Tag};

use super::support::*;

const PROMOTE: &str = "api/docker/docker-local/v2/promote";
const MIGRATE: &str = "api/docker/docker-local/v1/migrate";
const READ: Actions = Actions::READ;

fn target() -> RepoKey {
    RepoKey::parse("docker-prod").unwrap()
}

fn has(fixture: &Fixture, key: &RepoKey, name: &str, tag: &str) -> bool {
    let (name, tag) = (RepoName::parse(name).unwrap(), Tag::parse(tag).unwrap());
    fixture.registry.tag_target(key, &name, &tag).is_ok()
}

impl Fixture {
    /// A user who may do the one in `docker-local`, and the other in `docker-prod`, with names of a team.
    async fn mover(&self, user: &str, here: Actions, there: Actions) {
        self.add_user(user, false).await;
        let grantee = || Grantee::User(UserName::parse(user).unwrap());
        self.permit_in("docker-local", grantee(), "team/**", here).await;
        self.permit_in("docker-prod", grantee(), "team/**", there).await;
    }

    async fn with_two(version: DockerApiVersion, other: DockerApiVersion) -> Fixture {
        let fixture = Fixture::with_accounts(version).await;
        fixture.add_repository("docker-prod", other).await;
        fixture
    }
}

#[tokio::test]
async fn a_promotion_takes_what_it_does_to_each_side() {
    let fixture = Fixture::with_two(DockerApiVersion::V2, DockerApiVersion::V2).await;
    let (write, delete) = (Actions::WRITE, Actions::DELETE);
    for (user, here, there) in [
        ("sees", READ, READ),
        ("puts", write, READ.or(write)),
        ("copies", READ, write),
        ("moves", READ.or(delete), write),
        ("replaces", READ.or(delete), write.or(delete)),
    ] {
        fixture.mover(user, here, there).await;
    }
    fixture.push_image("team/app", "1", b"layer".to_vec()).await;
    fixture.push_image("team/app", "2", b"another".to_vec()).await;
    fixture.push_image("secret/app", "1", b"layer".to_vec()).await;
    let promote = |user: &'static str, copy: bool, name: &'static str, tag: &'static str| {
        let body = json!({
            "targetRepo": "docker-prod", "dockerRepository": name, "tag": tag, "targetTag": "1", "copy": copy,
        });
        let fixture = &fixture;
        async move { fixture.put_as(user, "POST", PROMOTE, body.to_string()).await }
    };
    let before = fixture.records();
    for (user, copy, name, status) in [
        ("", true, "team/app", 401),
        // To whom nothing is shown of the source or the target, it is not there.
        ("stranger", true, "team/app", 404),
        ("puts", true, "team/app", 404),
        ("reader", true, "team/app", 404),
        ("sees", true, "team/app", 403),
        ("sees", false, "team/app", 403),
        ("copies", false, "team/app", 403),
        ("copies", true, "secret/app", 404),
        ("replaces", false, "secret/app", 404),
    ] {
        let refused = promote(user, copy, name, "1").await;
        assert_eq!(refused.error().0, status, "{user:?} {copy} {name}: {}", refused.text());
        assert_eq!(fixture.records(), before, "{user:?} {copy} {name}");
    }
    // A name that is not shown is told apart from none by nothing.
    let hidden = promote("replaces", true, "secret/app", "1").await.error();
    let absent = promote("replaces", true, "secret/none", "1").await.error();
    assert_eq!(hidden.1.replace("secret/app", "secret/none"), absent.1);

    assert_eq!(promote("copies", true, "team/app", "1").await.status, 200);
    assert!(has(&fixture, &key(), "team/app", "1") && has(&fixture, &target(), "team/app", "1"));
    // The same once more changes nothing, and takes no more.
    assert_eq!(promote("copies", true, "team/app", "1").await.status, 200);
    for (user, copy, status) in [("copies", true, 403), ("moves", false, 403)] {
        let before = fixture.records();
        let refused = promote(user, copy, "team/app", "2").await;
        assert_eq!((refused.error().0, fixture.records()), (status, before), "{user}");
    }
    let at = |key: &RepoKey, tag: &str| {
        let (name, tag) = (RepoName::parse("team/app").unwrap(), Tag::parse(tag).unwrap());
        fixture.registry.tag_target(key, &name, &tag).unwrap()
    };
    let second = at(&key(), "2");
    assert_eq!(promote("replaces", false, "team/app", "2").await.status, 200);
    assert!(!has(&fixture, &key(), "team/app", "2"));
    assert_eq!(at(&target(), "1"), second);
}

#[tokio::test]
async fn of_a_whole_repository_what_is_not_shown_is_passed_over() {
    let fixture = Fixture::with_two(DockerApiVersion::V2, DockerApiVersion::V2).await;
    fixture.mover("copies", READ, Actions::WRITE).await;
    for name in ["secret/app", "team/app", "team/web"] {
        fixture.push(name, "1").await;
    }
    let body = json!({ "targetRepo": "docker-prod", "copy": true }).to_string();
    let promoted = fixture.put_as("copies", "POST", PROMOTE, body).await;
    assert_eq!((promoted.status, promoted.text()), (200, "Promotion ended successfully"));
    for (name, there) in [("secret/app", false), ("team/app", true), ("team/web", true)] {
        assert_eq!(has(&fixture, &target(), name, "1"), there, "{name}");
    }
    // Who may not take one of them takes none.
    fixture.push("team/new", "1").await;
    let before = fixture.records();
    let body = json!({ "targetRepo": "docker-prod", "copy": false }).to_string();
    let refused = fixture.put_as("copies", "POST", PROMOTE, body).await;
    assert_eq!((refused.error().0, fixture.records()), (403, before));
}

#[tokio::test]
async fn a_migration_takes_read_and_write_and_delete_where_it_is_forced() {
    let fixture = Fixture::with_two(DockerApiVersion::V1, DockerApiVersion::V2).await;
    fixture.mover("sees", READ, READ).await;
    fixture.mover("copies", READ, Actions::WRITE).await;
    fixture.mover("replaces", READ, Actions::WRITE.or(Actions::DELETE)).await;
    fixture.push_v1("team/app", "1", 1, None).await;
    fixture.push_v1("secret/app", "1", 2, None).await;
    let migrate = |user: &'static str, query: &'static str, name: &'static str| {
        let body = json!({ "targetRepo": "docker-prod", "dockerRepository": name }).to_string();
        let fixture = &fixture;
        async move { fixture.put_as(user, "POST", &format!("{MIGRATE}{query}"), body).await }
    };
    let before = fixture.records();
    for (user, query, name, status) in [
        ("", "", "team/app", 401),
        ("stranger", "", "team/app", 404),
        ("reader", "", "team/app", 404),
        ("sees", "", "team/app", 403),
        ("copies", "?force=true", "team/app", 403),
        ("copies", "", "secret/app", 404),
        ("stranger", "", "", 404),
    ] {
        let refused = migrate(user, query, name).await;
        assert_eq!(refused.error().0, status, "{user:?} {query} {name}: {}", refused.text());
        assert_eq!(fixture.records(), before, "{user:?} {query} {name}");
    }
    let hidden = migrate("copies", "", "secret/app").await.error();
    let absent = migrate("copies", "", "secret/none").await.error();
    assert_eq!(hidden.1.replace("secret/app", "secret/none"), absent.1);
}
