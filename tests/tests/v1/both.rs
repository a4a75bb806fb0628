//! A repository that speaks both protocols: what one kind of client pushed, the other pulls.

use serde_json::json;
use supercargo_tests::docker::Docker;
use supercargo_tests::files::{Files, assert_same, files, write_tar};
use supercargo_tests::http::Request;
use supercargo_tests::image::{DOCKER_MANIFEST, OCI_MANIFEST, sha256};
use supercargo_tests::server::stored_files;
use supercargo_tests::v1::{Chain, V1Client, V1Image, Version};
use supercargo_tests::{Image, Random, Server};

use crate::support::{client, configured, delete, get, speaking};

/// A client of the old protocol, to which the newer one is hidden.
fn old(server: &Server, version: Version) -> V1Client {
    client(server, version).knowing_v1_alone()
}

fn manifest(server: &Server, name: &str, tag: &str) -> supercargo_tests::http::Response {
    let get = Request::new("GET", &format!("/v2/{name}/manifests/{tag}"));
    let get = get.header("Accept", DOCKER_MANIFEST).header("Accept", OCI_MANIFEST);
    server.client().send(&get).unwrap().expect(200)
}

#[test]
fn what_an_old_client_pushed_a_newer_one_pulls() {
    let mut random = Random::from_environment("what_an_old_client_pushed_a_newer_one_pulls");
    let server = speaking("both");
    for (number, version) in Version::ALL.into_iter().enumerate() {
        let chain = Chain::generate(&mut random, version, 3, 100_000);
        let name = format!("team/app{number}");
        old(&server, version).push(&name, &["1", "latest"], &chain).unwrap();

        let answer = manifest(&server, &name, "1");
        let digest = answer.require("Docker-Content-Digest").to_owned();
        assert_eq!(digest, sha256(&answer.body));
        let layers = answer.json()["layers"].as_array().unwrap().clone();
        assert_eq!(layers.len(), 3);
        // The bytes that were pushed, the base first.
        for (layer, image) in layers.iter().zip(&chain.images) {
            assert_eq!(layer["digest"], sha256(&image.layer));
            assert_eq!(layer["size"], image.layer.len());
            let path = format!("/v2/{name}/blobs/{}", sha256(&image.layer));
            assert!(server.client().get(&path).unwrap().expect(200).body == image.layer);
        }
        let config = answer.json()["config"]["digest"].as_str().unwrap().to_owned();
        let config = server.client().get(&format!("/v2/{name}/blobs/{config}")).unwrap().expect(200).json();
        assert_eq!(config["architecture"], "amd64");
        assert_eq!(config["rootfs"]["diff_ids"].as_array().unwrap().len(), 3);
        assert_eq!(config["config"]["Cmd"], json!(["/nothing"]));

        // The same image under two tags is one manifest, and stays that when it is pushed again.
        assert_eq!(manifest(&server, &name, "latest").require("Docker-Content-Digest"), digest);
        old(&server, version).push(&name, &["1", "again"], &chain).unwrap();
        assert_eq!(manifest(&server, &name, "again").require("Docker-Content-Digest"), digest);
        // And to old clients it is what it was.
        assert_eq!(old(&server, version).pull(&name, "1").unwrap(), chain);
        assert_eq!(old(&server, Version::V1_12).pull(&name, "again").unwrap(), chain);
    }
    let server = server.restart();
    manifest(&server, "team/app0", "1");
    server.stop().verify();
}

#[test]
fn what_a_newer_client_pushed_an_old_one_pulls() {
    let server = speaking("both");
    let image = Image::generate(5, 3, 100_000);
    server.client().push_image("team/app", "1", &image).unwrap();
    let chain = old(&server, Version::V1_9).pull("team/app", "1").unwrap();
    // Ids that are computed: of the base from its layer, of the top from the config.
    assert_eq!(chain.images.len(), 3);
    assert_eq!(format!("sha256:{}", chain.images[0].id), image.layers[0].digest);
    assert_eq!(format!("sha256:{}", chain.id()), image.config.digest);
    for (pulled, layer) in chain.images.iter().zip(&image.layers) {
        assert!(pulled.layer == layer.bytes, "the layers are the same bytes");
    }
    assert_same(&chain.files(), &image.files, |_| false);
    let base = format!(r#"{{"id":"{}"}}"#, chain.images[0].id);
    assert_eq!(chain.images[0].json, base.as_bytes());
    let top: serde_json::Value = serde_json::from_slice(&chain.top().json).unwrap();
    assert_eq!(top["parent"], chain.images[1].id);
    assert!(top.get("rootfs").is_none() && top.get("history").is_none(), "{top}");

    // The same for everybody, and tomorrow.
    for version in Version::ALL {
        assert_eq!(old(&server, version).pull("team/app", "1").unwrap(), chain);
    }
    let server = server.restart();
    assert_eq!(old(&server, Version::V1_5).pull_all("team/app").unwrap()["1"], chain);
    let other = speaking("both");
    other.client().push_image("team/app", "1", &image).unwrap();
    assert_eq!(old(&other, Version::V1_9).pull("team/app", "1").unwrap(), chain);
    // An old client that has it does not send it.
    assert_eq!(old(&server, Version::V1_12).push("team/app", &["2"], &chain).unwrap(), Vec::<String>::new());
    server.client().pull_and_check("team/app", "1", &image).unwrap();
    server.stop().verify();
    other.stop().verify();
}

#[test]
fn names_and_tags_are_the_same_for_both() {
    let mut random = Random::from_environment("names_and_tags_are_the_same_for_both");
    let server = configured(Server::settings().variable("SUPERCARGO_GC__LEASE", "0s"), "both");
    let client = server.client();
    let chain = Chain::generate(&mut random, Version::V1_9, 2, 100_000);
    let image = Image::generate(6, 2, 100_000);

    // Whoever sets a tag last has set it, for both.
    let this = old(&server, Version::V1_9);
    this.push("solo", &["1", "old"], &chain).unwrap();
    client.push_image("solo", "1", &image).unwrap();
    client.push_image("solo", "newer", &image).unwrap();
    let tags = client.get("/v2/solo/tags/list").unwrap().expect(200).json();
    assert_eq!(tags["tags"], json!(["1", "newer", "old"]));
    let all = this.pull_all("solo").unwrap();
    assert_eq!(all.keys().collect::<Vec<_>>(), ["1", "newer", "old"]);
    assert_eq!(all["old"], chain);
    assert_eq!(all["1"], all["newer"]);
    assert_eq!(format!("sha256:{}", all["1"].id()), image.config.digest);
    this.push("solo", &["newer"], &chain).unwrap();
    assert_eq!(client.resolve("solo", "newer").unwrap(), client.resolve("solo", "old").unwrap());

    // A tag that one deletes is gone for the other.
    client.delete_manifest("solo", "old").unwrap();
    assert_eq!(this.pull("solo", "old").unwrap_err().status(), Some(404));
    this.send(&delete("/v1/repositories/library/solo/tags/1")).unwrap().expect(200);
    assert_eq!(client.resolve("solo", "1").unwrap(), None);
    assert_eq!(this.pull("solo", "newer").unwrap(), chain);
    let found = this.search("solo").unwrap();
    assert_eq!(found, ["library/solo"]);

    this.send(&delete("/v1/repositories/solo/")).unwrap().expect(200);
    assert_eq!(client.resolve("solo", "newer").unwrap(), None);
    this.send(&get("/v1/repositories/solo/tags")).unwrap().expect(404);
    server.cli(&["gc"]).expect_success();
    assert_eq!(stored_files(&server.data()), 0, "nothing is left of either");
    server.stop().verify();
}

/// A layer that both protocols hold is stored once, and stays as long as one of them holds it.
#[test]
fn a_layer_of_both_is_stored_once() {
    let mut random = Random::from_environment("a_layer_of_both_is_stored_once");
    let server = configured(Server::settings().variable("SUPERCARGO_GC__LEASE", "0s"), "both");
    let client = server.client();
    let chain = Chain::generate(&mut random, Version::V1_9, 2, 100_000);
    let this = old(&server, Version::V1_9);
    this.push("team/old", &["1"], &chain).unwrap();
    let newer = manifest(&server, "team/old", "1");
    for layer in newer.json()["layers"].as_array().unwrap().iter().chain([&newer.json()["config"]]) {
        let digest = layer["digest"].as_str().unwrap();
        let mount = format!("/v2/team/newer/blobs/uploads/?mount={digest}&from=team/old");
        client.send(&Request::new("POST", &mount)).unwrap().expect(201);
    }
    client.push_manifest("team/newer", "1", newer.require("Content-Type"), &newer.body).unwrap();
    assert_eq!(stored_files(&server.data()), 2);
    this.send(&delete("/v1/repositories/team/old/")).unwrap().expect(200);
    server.cli(&["gc"]).expect_success();
    assert_eq!(stored_files(&server.data()), 2);
    let pulled = this.pull("team/newer", "1").unwrap();
    assert_same(&pulled.files(), &chain.files(), |_| false);
    client.delete_manifest("team/newer", "1").unwrap();
    server.cli(&["gc"]).expect_success();
    assert_eq!(stored_files(&server.data()), 0);
    server.stop().verify();
}

/// From one layer to as many as docker allows, both ways.
#[test]
fn images_of_every_shape_are_the_same_to_both() {
    let mut random = Random::from_environment("images_of_every_shape_are_the_same_to_both");
    let server = speaking("both");
    for layers in [1, 40, 127] {
        let chain = Chain::generate(&mut random, Version::V1_12, layers, 50);
        let name = format!("team/old{layers}");
        old(&server, Version::V1_12).push(&name, &["1"], &chain).unwrap();
        let listed = manifest(&server, &name, "1").json()["layers"].as_array().unwrap().clone();
        let digests: Vec<_> = listed.iter().map(|layer| layer["digest"].as_str().unwrap()).collect();
        let expected: Vec<_> = chain.images.iter().map(|image| sha256(&image.layer)).collect();
        assert_eq!(digests, expected);

        let image = Image::generate(random.next(), layers, 100);
        let name = format!("team/newer{layers}");
        server.client().push_image(&name, "1", &image).unwrap();
        let pulled = old(&server, Version::V1_12).pull(&name, "1").unwrap();
        assert_eq!(pulled.images.len(), layers);
        assert_same(&pulled.files(), &image.files, |_| false);
    }
    server.stop().verify();
}

/// Clients before 0.10 compressed nothing. To old clients such a layer is what it was; newer ones get it compressed,
/// always to the same bytes.
#[test]
fn a_layer_that_is_not_compressed_is_for_newer_clients() {
    let mut random = Random::from_environment("a_layer_that_is_not_compressed_is_for_newer_clients");
    let server = speaking("both");
    let mut chain = Chain::generate(&mut random, Version::V1_5, 2, 100_000);
    for image in &mut chain.images {
        image.layer = write_tar(&image.files());
    }
    for name in ["team/first", "team/second"] {
        old(&server, Version::V1_5).push(name, &["1"], &chain).unwrap();
        assert_eq!(old(&server, Version::V1_9).pull(name, "1").unwrap(), chain);
    }
    let first = manifest(&server, "team/first", "1");
    assert_eq!(manifest(&server, "team/second", "1").body, first.body);
    for (layer, image) in first.json()["layers"].as_array().unwrap().iter().zip(&chain.images) {
        assert!(layer["mediaType"].as_str().unwrap().contains("gzip"), "{layer}");
        let path = format!("/v2/team/first/blobs/{}", layer["digest"].as_str().unwrap());
        let bytes = server.client().get(&path).unwrap().expect(200).body;
        let compressed = V1Image { layer: bytes, ..image.clone() };
        assert_ne!(compressed.layer, image.layer);
        assert_same(&compressed.files(), &image.files(), |_| false);
    }
    server.stop().verify();
}

/// What can't be shown to newer clients gets no tag that they would see, and is no reason for more than a refusal.
#[test]
fn a_layer_that_is_no_archive_gets_no_tag_for_both() {
    let mut random = Random::from_environment("a_layer_that_is_no_archive_gets_no_tag_for_both");
    let server = speaking("both");
    let mut chain = Chain::generate(&mut random, Version::V1_9, 1, 1000);
    chain.images[0].layer.truncate(500);
    let image = chain.top();
    let push = old(&server, Version::V1_9).begin_push("team/app", &["1"], &chain).unwrap();
    assert!(push.put_json(image).unwrap());
    push.put_layer(image).unwrap();
    let nobody_knows = format!("tarsum+sha256:{}", "0".repeat(64));
    push.put_checksums(&image.id, &image.payload(), &nobody_knows).unwrap();
    let error = push.put_tag("1", &image.id).unwrap_err();
    assert!(error.status().is_some_and(|status| (400..500).contains(&status)), "{error}");
    assert_eq!(server.client().resolve("team/app", "1").unwrap(), None);
    let whole = Chain::generate(&mut random, Version::V1_9, 1, 1000);
    old(&server, Version::V1_9).push("team/app", &["1"], &whole).unwrap();
    manifest(&server, "team/app", "1");
    server.stop().verify();
}

/// The files that an old client pushed arrive in docker, and those that docker pushed in an old client.
#[test]
fn docker_and_old_clients_have_the_same_files() {
    let mut random = Random::from_environment("docker_and_old_clients_have_the_same_files");
    let server = speaking("both");
    let docker = Docker::start();
    for (number, version) in Version::ALL.into_iter().enumerate() {
        let chain = Chain::generate(&mut random, version, 3, 50_000);
        let name = format!("team/app{number}");
        old(&server, version).push(&name, &["1"], &chain).unwrap();
        let reference = server.reference(&format!("{name}:1"));
        docker.run(&["pull", &reference]);
        assert_same(&docker.files(&reference), &chain.files(), Docker::adds);
        let digest = manifest(&server, &name, "1").require("Docker-Content-Digest").to_owned();
        assert_eq!(docker.repository_digest(&reference), digest);
    }

    let base: Files = [("base".to_owned(), random.bytes(300_000))].into();
    let layers = [files([("app/version", "1"), ("app/x", "y")]), files([("app/version", "2")])];
    let (first, app) = (server.reference("team/docker:base"), server.reference("team/docker:1"));
    docker.import(&base, &first);
    docker.build(&first, &layers, &app);
    docker.push(&first);
    docker.push(&app);
    let mut whole = base.clone();
    layers.iter().for_each(|layer| whole.extend(layer.clone()));
    for version in Version::ALL {
        let this = old(&server, version);
        let chain = this.pull("team/docker", "1").unwrap();
        assert_same(&chain.files(), &whole, |_| false);
        assert_same(&this.pull("team/docker", "base").unwrap().files(), &base, |_| false);
        // The image's id in docker is its id here.
        let id = docker.run(&["image", "inspect", "--format", "{{.Id}}", &app]).text;
        assert_eq!(id, format!("sha256:{}", chain.id()));
    }

    // From docker to an old client, and from there, under another name, to docker.
    let chain = old(&server, Version::V1_12).pull("team/docker", "1").unwrap();
    old(&server, Version::V1_12).push("team/back", &["1"], &chain).unwrap();
    let back = server.reference("team/back:1");
    docker.run(&["pull", &back]);
    assert_same(&docker.files(&back), &whole, Docker::adds);
    server.stop().verify();
}

/// Where the newer protocol is spoken alone, docker finds all as ever.
#[test]
fn docker_and_a_repository_of_its_own_protocol() {
    let mut random = Random::from_environment("docker_and_a_repository_of_its_own_protocol");
    let server = speaking("V2");
    let docker = Docker::start();
    let contents: Files = [("x".to_owned(), random.bytes(100_000))].into();
    let image = server.reference("team/app:1");
    docker.import(&contents, &image);
    docker.push(&image);
    docker.run(&["image", "rm", &image]);
    docker.run(&["pull", &image]);
    assert_same(&docker.files(&image), &contents, Docker::adds);
    server.stop().verify();
}
