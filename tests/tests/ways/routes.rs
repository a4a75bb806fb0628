//! Where each way leads, and that all that a client is told leads there again.

use serde_json::json;
use supercargo_tests::Server;
use supercargo_tests::http::Request;
use supercargo_tests::image::{Image, OCI_MANIFEST};

use crate::support::{KEYS, Way, create, every_way};

/// Pushes an image by a way, and follows nothing but what it is told.
#[track_caller]
fn push(way: &Way, name: &str, tags: &[&str], image: &Image) {
    let called = way.called(name);
    for blob in image.blobs() {
        let begun =
            way.send(Request::new("POST", &way.path(&format!("/v2/{called}/blobs/uploads/")))).expect(202);
        let session = begun.require("Location").to_owned();
        assert!(
            session.starts_with(&way.path(&format!("/v2/{called}/blobs/uploads/"))),
            "{way:?}: {session}"
        );
        way.send(Request::new("PATCH", &session).body(&*blob.bytes))
            .expect(202)
            .expect_header("Location", &session);
        let put = Request::new("PUT", &format!("{session}?digest={}", blob.digest));
        let stored = way.send(put).expect(201);
        let location = way.path(&format!("/v2/{called}/blobs/{}", blob.digest));
        assert_eq!(way.send(Request::new("GET", &location)).expect(200).body, blob.bytes);
        stored.expect_header("Location", &location);
    }
    for tag in tags {
        let put = Request::new("PUT", &way.path(&format!("/v2/{called}/manifests/{tag}")));
        let put = put.header("Content-Type", OCI_MANIFEST).body(&*image.manifest.bytes);
        let location = way.path(&format!("/v2/{called}/manifests/{}", image.manifest.digest));
        way.send(put).expect(201).expect_header("Location", &location);
    }
}

/// The names of a repository, as the administration knows them.
fn names(server: &Server, key: &str) -> Vec<String> {
    let list =
        server.client().get(&format!("/api/supercargo/v1/repositories/{key}/names")).unwrap().expect(200);
    let entries = list.json();
    let names = entries["names"].as_array().unwrap().iter();
    names.map(|name| name["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn every_way_leads_to_its_repository_and_back() {
    let server = every_way().start();
    create(&server, "V2");
    let mut expected = std::collections::BTreeMap::<&str, Vec<String>>::new();
    for (at, way) in Way::all(&server).iter().enumerate() {
        let name = format!("way{at}/app");
        let (called, image) = (way.called(&name), Image::generate(at as u64, 1, 100));
        push(way, &name, &["a", "b", "c"], &image);
        expected.entry(way.repository).or_default().push(name.clone());

        let tags = way.get(&format!("/v2/{called}/tags/list")).expect(200).json();
        assert_eq!(tags, json!({ "name": called, "tags": ["a", "b", "c"] }), "{way:?}");
        let page = way.get(&format!("/v2/{called}/tags/list?n=2")).expect(200);
        assert_eq!(page.json(), json!({ "name": called, "tags": ["a", "b"] }));
        let link = page.require("Link").to_owned();
        let next = link.strip_prefix('<').and_then(|link| link.split_once('>')).unwrap().0;
        assert!(next.starts_with(&way.path(&format!("/v2/{called}/tags/list?"))), "{way:?}: {link}");
        let next = way.send(Request::new("GET", next)).expect(200).json();
        assert_eq!(next, json!({ "name": called, "tags": ["c"] }), "{way:?}");
        let manifest = way.get(&format!("/v2/{called}/manifests/a")).expect(200);
        assert_eq!(manifest.body, image.manifest.bytes, "{way:?}");
        assert_eq!(way.get("/v2/").expect(200).body, b"{}", "{way:?}");

        // What is not keyed is what the catalog has.
        if way.before.is_empty() {
            let catalog = way.get("/v2/_catalog").expect(200).json();
            assert!(catalog["repositories"].as_array().unwrap().contains(&json!(name)), "{way:?}: {catalog}");
        }
    }
    for (key, names_expected) in expected {
        assert_eq!(names(&server, key), names_expected, "{key}");
    }
    server.stop().verify();
}

/// A mount within a repository is made whatever the names are called, and none is made between two.
#[test]
fn blobs_are_mounted_between_names_of_one_repository() {
    let server = every_way().start();
    create(&server, "V2");
    let image = Image::generate(7, 1, 100);
    let blob = &image.layers[0];
    let all = Way::all(&server);
    for way in &all {
        push(way, "from/app", &["t"], &image);
    }
    let mount = |way: &Way, to: &str, from: &str| {
        let path = way.path(&format!("/v2/{to}/blobs/uploads/?mount={}&from={from}", blob.digest));
        way.send(Request::new("POST", &path)).status
    };
    for way in &all {
        assert_eq!(mount(way, &way.called("to/app"), &way.called("from/app")), 201, "{way:?}");
    }
    let root = all.last().unwrap();
    for (to, from, status) in [
        ("team-a/one", "team-a/from/app", 201),
        ("two", "from/app", 201),
        ("three", "docker-local/from/app", 201),
        ("docker-local/four", "from/app", 201),
        // Of two repositories, though both hold it.
        ("team-a/five", "from/app", 202),
        ("six", "team-a/from/app", 202),
        ("bound/seven", "team-a/from/app", 202),
        ("bound/eight", "none/from/app", 202),
    ] {
        assert_eq!(mount(root, to, from), status, "{to} from {from}");
    }
    server.stop().verify();
}

#[test]
fn a_key_is_a_key_before_it_is_a_part_of_a_name() {
    let server = every_way().start();
    let root = Way::all(&server).pop().unwrap();
    let (before, after) = (Image::generate(1, 1, 10), Image::generate(2, 1, 10));
    push(&root, "later/app", &["t"], &before);
    assert_eq!(names(&server, "docker-local"), ["later/app"]);
    server.cli(&["repo", "create", "later"]).expect_success();
    root.get("/v2/later/app/manifests/t").expect(404);
    push(&root, "later/app", &["t"], &after);
    assert_eq!(names(&server, "later"), ["app"]);
    // What the default repository holds under that name is reached by the other ways.
    for (path, image) in [
        ("/artifactory/api/docker/docker-local/v2/later/app/manifests/t", &before),
        ("/v2/docker-local/later/app/manifests/t", &before),
        ("/v2/later/app/manifests/t", &after),
        ("/artifactory/api/docker/later/v2/app/manifests/t", &after),
    ] {
        assert_eq!(root.get(path).expect(200).body, image.manifest.bytes, "{path}");
    }
    server.cli(&["repo", "remove", "later", "--force"]).expect_success();
    assert_eq!(root.get("/v2/later/app/manifests/t").expect(200).body, before.manifest.bytes);
}

#[test]
fn what_leads_nowhere_is_said_in_the_protocols_words() {
    let server = every_way().start();
    create(&server, "V2");
    let ask = |host: &str, path: &str| {
        let request = Request::new("GET", path).header("Host", host);
        server.client().send(&request).unwrap()
    };
    for (host, path) in [
        ("a.example", "/artifactory/api/docker/none/v2/"),
        ("a.example", "/artifactory/api/docker/none/v2/app/tags/list"),
        ("a.example", "/artifactory/api/docker/a_b/v2/"),
        ("a.example", "/artifactory/api/docker/%2e%2e/v2/"),
        ("none.reg.example", "/v2/"),
        ("a_b.reg.example", "/v2/app/tags/list"),
    ] {
        let answer = ask(host, path).expect(404);
        assert_eq!(answer.json()["errors"][0]["code"], "NAME_UNKNOWN", "{host} {path}");
        assert_eq!(answer.header("Docker-Distribution-Api-Version"), None, "{host} {path}");
    }
    for (host, path) in [
        ("a.example", "/artifactory/api/docker/none/v1/_ping"),
        ("a.example", "/artifactory/api/docker/a_b/v1/_ping"),
        ("none.reg.example", "/_ping"),
    ] {
        let error = ask(host, path).expect(404).json();
        assert!(
            error["error"].as_str().is_some_and(|error| error.contains("repository")),
            "{host} {path}: {error}"
        );
    }
    let unsupported = ask("a.example", "/artifactory/api/docker/team-a/v1/_ping").expect(404).json();
    assert_eq!(unsupported, json!({ "error": "Unsupported docker v1 repository request for 'team-a'" }));
}

/// What is blacked out answers nothing, by any way, and comes back as it was.
#[test]
fn a_blacked_out_repository_is_closed() {
    let server = every_way().start();
    create(&server, "both");
    let all = Way::all(&server);
    let image = Image::generate(1, 1, 10);
    for way in &all {
        push(way, "app", &["t"], &image);
    }
    for key in KEYS {
        server.cli(&["repo", "configure", key, "--blacked-out", "true"]).expect_success();
    }
    for way in all.iter().filter(|way| way.repository != "docker-local") {
        let called = way.called("app");
        for path in [format!("/v2/{called}/tags/list"), format!("/v2/{called}/manifests/t")] {
            let closed = way.get(&path).expect(404).json();
            let message = closed["errors"][0]["message"].as_str().unwrap();
            assert!(message.contains("is blacked out"), "{way:?}: {message}");
        }
        let closed = way.get(&format!("/v1/repositories/{called}/images")).expect(404).json();
        assert!(closed["error"].as_str().unwrap().contains("is blacked out"), "{way:?}: {closed}");
    }
    let root = all.last().unwrap();
    root.get("/v2/app/manifests/t").expect(200);
    for key in KEYS {
        server.cli(&["repo", "configure", key, "--blacked-out", "false"]).expect_success();
    }
    for way in &all {
        way.get(&format!("/v2/{}/manifests/t", way.called("app"))).expect(200);
    }
}

/// Without repository paths a name is a name.
#[test]
fn repository_paths_can_be_turned_off_and_the_default_repository_be_another() {
    let settings = every_way()
        .variable("SUPERCARGO_REPOSITORY_PATH", "false")
        .variable("SUPERCARGO_DEFAULT_REPOSITORY", "team-a");
    let server = settings.start();
    create(&server, "V2");
    let root = Way { repository: "team-a", ..Way::all(&server).pop().unwrap() };
    push(&root, "bound/app", &["t"], &Image::generate(1, 1, 10));
    assert_eq!(names(&server, "team-a"), ["bound/app"]);
    assert_eq!(names(&server, "bound"), Vec::<String>::new());
}
