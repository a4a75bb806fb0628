//! Docker, daemon and client. Its daemons are what takes longest to start, so a test here tells a longer story.

use supercargo_tests::docker::Docker;
use supercargo_tests::files::{assert_same, files};
use supercargo_tests::image::DOCKER_MANIFEST;
use supercargo_tests::program::run_to_fail;
use supercargo_tests::{Client, Random, Server};

/// Every file of an image that was pushed from one daemon arrives on another, whatever happens to the
/// registry and to other tags between.
#[test]
fn images_survive_the_way_through_the_registry() {
    let mut random = Random::from_environment("images_survive_the_way_through_the_registry");
    let base_files = [
        ("bin/busybox".to_owned(), std::fs::read("/bin/busybox").expect_installed()),
        ("etc/os".to_owned(), random.bytes(300_000)),
    ]
    .into();
    let app_layers = [
        files([("app/version", "1"), ("app/settings", "colour = blue\n")]),
        [("app/data".to_owned(), random.bytes(1_500_000))].into(),
        files([("app/version", "2")]),
    ];
    let mut app_files = supercargo_tests::files::Files::clone(&base_files);
    app_layers.iter().for_each(|layer| app_files.extend(layer.clone()));

    let server = Server::settings().variable("SUPERCARGO_GC__LEASE", "0s").start();
    let here = Docker::start();
    let (base, app) = (server.reference("team/base:1"), server.reference("team/app:1"));
    here.import(&base_files, &base);
    here.build(&base, &app_layers, &app);
    let base_pushed = here.push(&base);
    let app_pushed = here.push(&app);
    for tag in ["2", "latest", "v1.0_rc-1"] {
        let other = server.reference(&format!("team/app:{tag}"));
        here.run(&["tag", &app, &other]);
        assert_eq!(here.push(&other).digest, app_pushed.digest, "{tag}");
    }

    // What docker says is what the registry says.
    let client = server.client();
    let tags = client.get("/v2/team/app/tags/list").unwrap().expect(200).json();
    assert_eq!(tags, serde_json::json!({ "name": "team/app", "tags": ["1", "2", "latest", "v1.0_rc-1"] }));
    let manifest = client.get("/v2/team/app/manifests/latest").unwrap().expect(200);
    assert_eq!(manifest.require("Docker-Content-Digest"), app_pushed.digest);
    assert_eq!(manifest.require("Content-Type"), DOCKER_MANIFEST);
    assert_eq!(manifest.json()["layers"].as_array().unwrap().len(), 4);

    // A layer that the registry holds under another name is mounted from there, not sent again.
    let copy = server.reference("other/app:1");
    here.run(&["tag", &app, &copy]);
    let copied = here.push(&copy);
    assert_eq!(copied.digest, app_pushed.digest);
    let mounts = copied.text.matches("Mounted from team/").count();
    assert_eq!(mounts, 4, "every layer is mounted:\n{}", copied.text);

    // What a rule forbids docker tells its user, in the registry's words.
    let configure = |settings: &[&str]| {
        server.cli(&[&["repo", "configure", "docker-local"], settings].concat()).expect_success();
    };
    configure(&["--immutable-tags", "1"]);
    here.run(&["tag", &app, &base]);
    let refusal = run_to_fail(&mut here.command(&["push", &base]));
    assert!(refusal.contains("denied: tag 1 is immutable here and stays at sha256:"), "{refusal}");
    configure(&["--blob-max", "1MiB"]);
    let elsewhere = server.reference("new/app:2");
    here.run(&["tag", &app, &elsewhere]);
    let refusal = run_to_fail(&mut here.command(&["push", &elsewhere]));
    assert!(refusal.contains("denied: the blob has more than 1048576 bytes"), "{refusal}");
    configure(&["--immutable-tags", "", "--blob-max", "0B"]);
    here.run(&["image", "rm", &base, &elsewhere]);

    // Another daemon, after a restart of the registry on another port.
    let server = server.restart();
    let there = Docker::start();
    let (base, app) = (server.reference("team/base:1"), server.reference("team/app:latest"));
    there.run(&["pull", &base]);
    there.run(&["pull", &app]);
    assert_same(&there.files(&base), &base_files, Docker::adds);
    assert_same(&there.files(&app), &app_files, Docker::adds);
    assert_eq!(there.repository_digest(&app), app_pushed.digest);
    assert_eq!(there.repository_digest(&base), base_pushed.digest);
    there.run(&["image", "rm", &app]);
    let by_digest = server.reference(&format!("other/app@{}", app_pushed.digest));
    there.run(&["pull", &by_digest]);
    assert_same(&there.files(&by_digest), &app_files, Docker::adds);
    there.run(&["image", "rm", &by_digest]);

    // Collecting what only the application had leaves what the base image needs.
    let client = server.client();
    let layers: Vec<String> = layer_digests(&client, "team/app", "1");
    let shared = layer_digests(&client, "team/base", "1");
    for tag in ["1", "2", "latest", "v1.0_rc-1"] {
        client.delete_manifest("team/app", tag).unwrap();
    }
    client.delete_manifest("other/app", &app_pushed.digest).unwrap();
    let refusal = run_to_fail(&mut there.command(&["pull", &app]));
    assert!(refusal.contains("manifest unknown") || refusal.contains("not found"), "{refusal}");
    server.cli(&["gc"]).expect_success();
    for layer in &layers {
        for name in ["team/app", "other/app"] {
            assert!(!client.has_blob(name, layer).unwrap(), "{name} still holds {layer}");
        }
    }
    assert!(shared.iter().all(|layer| client.has_blob("team/base", layer).unwrap()));
    there.run(&["image", "rm", &base]);
    there.run(&["pull", &base]);
    assert_same(&there.files(&base), &base_files, Docker::adds);

    // What was collected can be pushed again: nothing believes that it is still there.
    let app = server.reference("team/app:1");
    let image = here.run(&["image", "ls", "--format", "{{.ID}} {{.Repository}}"]).text;
    let id = image
        .lines()
        .find(|line| line.ends_with("/team/app"))
        .unwrap_or_else(|| panic!("no team/app in {image}"));
    here.run(&["tag", id.split_once(' ').unwrap().0, &app]);
    assert_eq!(here.push(&app).digest, app_pushed.digest);
    there.run(&["pull", &app]);
    assert_same(&there.files(&app), &app_files, Docker::adds);
    server.stop().verify();
}

fn layer_digests(client: &Client, name: &str, tag: &str) -> Vec<String> {
    let manifest = client.get(&format!("/v2/{name}/manifests/{tag}")).unwrap().expect(200).json();
    let layers = manifest["layers"].as_array().unwrap().iter();
    layers.map(|layer| layer["digest"].as_str().unwrap().to_owned()).collect()
}

trait ExpectInstalled {
    fn expect_installed(self) -> Vec<u8>;
}

impl ExpectInstalled for std::io::Result<Vec<u8>> {
    #[track_caller]
    fn expect_installed(self) -> Vec<u8> {
        self.unwrap_or_else(|error| panic!("busybox-static: {error}: run scripts/install-test-deps.sh"))
    }
}
