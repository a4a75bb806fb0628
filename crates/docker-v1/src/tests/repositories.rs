//! The ping, repositories, tags, properties and search: the V1 specification's sections 2, 4 and 8.

use axum::body::Body;
use serde_json::json;

use super::support::{Fixture, Image, id};
use supercargo_eventlog::DockerApiVersion;

#[tokio::test]
async fn the_ping_says_what_this_is() {
    for version in [DockerApiVersion::V1, DockerApiVersion::Both] {
        let surface = Fixture::new(version).await;
        for path in ["/v1/_ping", "/v1/_ping/", "/_ping"] {
            let ping = surface.ask("GET", path).await;
            assert_eq!((ping.status, ping.text()), (200, "true"), "{path}");
            assert_eq!(ping.header("content-type"), "application/json");
            assert_eq!(ping.header("x-docker-registry-standalone"), "true");
            assert!(!ping.header("x-docker-registry-version").is_empty());
        }
        for path in ["/v1", "/v1/"] {
            assert_eq!(surface.ask("GET", path).await.status, 200);
        }
    }
}

/// What clients push as `x` they pull as `library/x`.
#[tokio::test]
async fn a_name_alone_is_the_same_as_one_of_the_library() {
    let surface = Fixture::v1().await;
    let begun = surface.send("PUT", "/v1/repositories/app/", &[], "[]").await;
    assert!(begun.token().contains("repository=\"library/app\""));
    let token = begun.token();
    let auth = [("authorization", &*token)];
    let [_, top] = surface.push("app", "latest", &auth).await;
    for name in ["app", "library/app"] {
        let tag = surface.ask("GET", &format!("/v1/repositories/{name}/tags/latest")).await;
        assert_eq!(tag.json(), top.id.as_str(), "{name}");
        let images = surface.ask("GET", &format!("/v1/repositories/{name}/images")).await;
        assert_eq!(images.json().as_array().unwrap().len(), 2, "{name}");
    }
    assert!(surface.exists("app") && !surface.exists("library/app"));
    let set = surface.set_tag("library/app", "v2", &top.id, &auth).await;
    assert_eq!(set.status, 200);
    assert!(!surface.exists("library/app"));
    let found = surface.ask("GET", "/v1/search?q=app").await.json();
    assert_eq!(found["results"][0]["name"], "library/app");
    assert_eq!(surface.ask("DELETE", "/v1/repositories/library/app/").await.text(), "true");
    assert_eq!(surface.ask("GET", "/v1/repositories/app/tags").await.status, 404);
}

#[tokio::test]
async fn tags_move_and_go() {
    let surface = Fixture::v1().await;
    let [base, top] = surface.push("ann/app", "latest", &[]).await;
    assert_eq!(surface.set_tag("ann/app", "latest", &base.id, &[]).await.text(), "true");
    assert_eq!(surface.ask("GET", "/v1/repositories/ann/app/tags/latest").await.json(), base.id.as_str());
    assert_eq!(surface.set_tag("ann/app", "v1", &base.id, &[]).await.text(), "true");
    let deleted = surface.ask("DELETE", "/v1/repositories/ann/app/tags/latest").await;
    assert_eq!((deleted.status, deleted.text()), (200, "true"));
    assert!(deleted.header("warning").contains("by the next collection"), "{:?}", deleted.headers);
    let again = surface.ask("DELETE", "/v1/repositories/ann/app/tags/latest").await;
    assert_eq!(again.error(), (404, "Tag not found: latest".to_owned()));
    let tags = surface.ask("GET", "/v1/repositories/ann/app/tags").await;
    assert_eq!(tags.json(), json!({ "v1": base.id }));
    let images = surface.ask("GET", "/v1/repositories/ann/app/images").await.json();
    let ids: Vec<&str> =
        images.as_array().unwrap().iter().map(|image| image["id"].as_str().unwrap()).collect();
    assert_eq!(ids, [&*base.id], "what no tag reaches is not listed: {}", top.id);
}

#[tokio::test]
async fn a_repository_goes_with_its_tags_by_either_path() {
    for path in ["/v1/repositories/ann/app/", "/v1/repositories/ann/app", "/v1/repositories/ann/app/tags"] {
        let surface = Fixture::v1().await;
        surface.push("ann/app", "latest", &[]).await;
        let deleted = surface.ask("DELETE", path).await;
        assert_eq!((deleted.status, deleted.text()), (200, "true"), "{path}");
        assert!(deleted.token().ends_with("access=delete"));
        assert_eq!(surface.ask("DELETE", path).await.error(), (404, "Repository not found".to_owned()));
        for gone in ["images", "tags", "tags/latest", "properties"] {
            assert_eq!(
                surface.ask("GET", &format!("/v1/repositories/ann/app/{gone}")).await.status,
                404,
                "{gone}"
            );
        }
        // What it held stays until it is collected: a push may rely on it.
        assert_eq!(surface.ask("GET", &format!("/v1/images/{}/json", id('2'))).await.status, 200);
    }
}

#[tokio::test]
async fn deleting_the_list_of_images_deletes_nothing() {
    let surface = Fixture::v1().await;
    surface.push("ann/app", "latest", &[]).await;
    let deleted = surface.ask("DELETE", "/v1/repositories/ann/app/images").await;
    assert_eq!((deleted.status, deleted.body.len()), (204, 0));
    let images = surface.ask("GET", "/v1/repositories/ann/app/images").await;
    assert_eq!(images.json().as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn whoever_set_a_tag_is_told_of() {
    let surface = Fixture::v1().await;
    let unset = json!({
        "last_update": null, "docker_version": null, "docker_go_version": null, "arch": "amd64", "os": "linux", "kernel": null,
    });
    let [_, top] = surface.push("ann/app", "v1", &[]).await;
    assert_eq!(surface.ask("GET", "/v1/repositories/ann/app/json").await.json(), unset);
    let agent = "docker/1.9.1 go/go1.4.2 git-commit/a34a1d5 kernel/4.1-X os/Linux arch/ARM64";
    surface.set_tag("ann/app", "latest", &top.id, &[("user-agent", agent)]).await;
    for path in ["/v1/repositories/ann/app/tags/latest/json", "/v1/repositories/ann/app/json"] {
        let mut told = surface.ask("GET", path).await.json();
        assert!(told["last_update"].take().as_i64().unwrap() > 1_700_000_000, "{path}");
        let expected = json!({
            "last_update": null, "docker_version": "1.9.1", "docker_go_version": "go1.4.2", "arch": "arm64",
            "os": "linux", "kernel": "4.1-x",
        });
        assert_eq!(told, expected, "{path}");
    }
}

#[tokio::test]
async fn smaller_questions_have_answers() {
    let surface = Fixture::v1().await;
    let [_, top] = surface.push("ann/app", "latest", &[]).await;
    let checked = surface.ask("PUT", "/v1/repositories/ann/app/auth").await;
    assert_eq!((checked.status, checked.text()), (200, "\"OK\""));
    for (image, access) in [(&top.id, true), (&id('f'), false)] {
        let path = format!("/v1/repositories/ann/app/layer/{image}/access");
        assert_eq!(surface.ask("GET", &path).await.json(), json!({ "access": access }));
    }
    let properties = "/v1/repositories/ann/app/properties";
    assert_eq!(surface.ask("GET", properties).await.json(), json!({ "access": "public" }));
    let open = surface.send("PUT", properties, &[], r#"{"access":"public"}"#).await;
    assert_eq!((open.status, open.text()), (200, "true"));
    let close = surface.send("PUT", properties, &[], r#"{"access":"private"}"#).await;
    assert_eq!(close.status, 409, "nobody could be kept out");
}

#[tokio::test]
async fn search_finds_parts_of_names() {
    let surface = Fixture::v1().await;
    let image = Image::new('1', None, b"layer");
    surface.push_image(&image, &[]).await;
    for name in ["ann/app", "ann/web", "ubuntu", "bob/ubuntu-base"] {
        assert_eq!(surface.set_tag(name, "latest", &image.id, &[]).await.status, 200);
    }
    let search = async |query: &str| surface.ask("GET", &format!("/v1/search{query}")).await.json();
    let expected = json!({
        "query": "UBUNTU", "num_results": 2, "num_pages": 1, "page": 1, "page_size": 25,
        "results": [
            { "name": "bob/ubuntu-base", "description": "", "star_count": 0, "is_official": false, "is_trusted": false, "is_automated": false },
            { "name": "library/ubuntu", "description": "", "star_count": 0, "is_official": false, "is_trusted": false, "is_automated": false },
        ],
    });
    assert_eq!(search("?q=UBUNTU").await, expected);
    let names = |found: &serde_json::Value| {
        let results = found["results"].as_array().unwrap().iter();
        results.map(|found| found["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(&search("").await), ["ann/app", "ann/web", "bob/ubuntu-base", "library/ubuntu"]);
    assert_eq!(names(&search("?q=library%2Fub").await), ["library/ubuntu"]);
    assert_eq!(names(&search("?q=nothing").await), [""; 0]);
    let page = search("?n=3&page=2").await;
    assert_eq!(names(&page), ["library/ubuntu"]);
    let counts = ["num_results", "num_pages", "page", "page_size"].map(|key| page[key].as_u64().unwrap());
    assert_eq!(counts, [4, 2, 2, 3]);
    assert_eq!(names(&search("?n=3&page=9").await), [""; 0]);
    let wrong = surface.send("GET", "/v1/search?n=x", &[], Body::empty()).await;
    assert_eq!(wrong.error().0, 400);
}
