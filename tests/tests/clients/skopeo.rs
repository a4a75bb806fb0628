//! skopeo: copies between folders, OCI layouts and the registry, with every digest kept.

use serde_json::json;
use supercargo_tests::files::files;
use supercargo_tests::image::{index_of, write_layout};
use supercargo_tests::program::{run, run_to_fail, skopeo};
use supercargo_tests::{Image, Server};

/// Options of a copy to the registry and of one from it. Nothing may be changed on the way.
const TO: [&str; 4] = ["copy", "--quiet", "--preserve-digests", "--dest-tls-verify=false"];
const FROM: [&str; 4] = ["copy", "--quiet", "--preserve-digests", "--src-tls-verify=false"];

fn copy(options: [&str; 4], from: &str, to: &str) {
    run(skopeo(&options).args([from, to]));
}

#[test]
fn an_image_comes_back_byte_for_byte() {
    let server = Server::start();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let image = Image::generate(1, 3, 200_000);
    write_layout(&folder.path().join("layout"), &[("x", &image)], None).unwrap();

    let remote = format!("docker://{}", server.reference("deep/ly/nested/name:x.y-z_1"));
    copy(TO, &format!("oci:{}:x", at("layout")), &remote);
    server.client().pull_and_check("deep/ly/nested/name", "x.y-z_1", &image).unwrap();

    copy(FROM, &remote, &format!("oci:{}:back", at("back")));
    for blob in image.blobs().chain([&image.manifest]) {
        let copied = std::fs::read(folder.path().join("back/blobs/sha256").join(&blob.digest[7..])).unwrap();
        assert!(copied == blob.bytes, "{}", blob.digest);
    }
    copy(FROM, &remote, &format!("dir:{}", at("dir")));
    assert_eq!(std::fs::read(folder.path().join("dir/manifest.json")).unwrap(), image.manifest.bytes);
    copy(TO, &format!("dir:{}", at("dir")), &format!("docker://{}", server.reference("again:1")));
    server.client().pull_and_check("again", "1", &image).unwrap();
    server.stop().verify();
}

#[test]
fn what_is_there_can_be_looked_at_and_deleted() {
    let server = Server::settings().variable("SUPERCARGO_GC__LEASE", "0s").start();
    let client = server.client();
    let shared = files([("shared", "by both")]);
    let one = Image::from_layers(&[shared.clone(), files([("a", "1")])]);
    let two = Image::from_layers(&[shared, files([("a", "2")])]);
    client.push_image("lib/pair", "one", &one).unwrap();
    client.push_image("lib/pair", "two", &two).unwrap();

    let name = format!("docker://{}", server.reference("lib/pair"));
    let tags = run(&mut skopeo(&["list-tags", "--tls-verify=false", &name])).json();
    assert_eq!(tags["Tags"], json!(["one", "two"]));
    let seen = run(&mut skopeo(&["inspect", "--tls-verify=false", &format!("{name}:one")])).json();
    assert_eq!(seen["Digest"], json!(one.manifest.digest));
    assert_eq!(seen["Layers"], json!([one.layers[0].digest, one.layers[1].digest]));
    assert_eq!(seen["RepoTags"], json!(["one", "two"]));
    let raw = run(&mut skopeo(&["inspect", "--raw", "--tls-verify=false", &format!("{name}:two")]));
    assert_eq!(raw.stdout, two.manifest.bytes);
    let config =
        run(&mut skopeo(&["inspect", "--raw", "--config", "--tls-verify=false", &format!("{name}:two")]));
    assert_eq!(config.stdout, two.config.bytes);

    // skopeo deletes the manifest that the tag points at.
    run(&mut skopeo(&["delete", "--tls-verify=false", &format!("{name}:one")]));
    run_to_fail(&mut skopeo(&["inspect", "--tls-verify=false", &format!("{name}:one")]));
    server.cli(&["gc"]).expect_success();
    assert!(!client.has_blob("lib/pair", &one.layers[1].digest).unwrap());
    assert!(!client.has_blob("lib/pair", &one.config.digest).unwrap());
    client.pull_and_check("lib/pair", "two", &two).unwrap();
    let server = server.restart();
    server.client().pull_and_check("lib/pair", "two", &two).unwrap();
    server.stop().verify();
}

#[test]
fn an_index_brings_all_its_platforms() {
    let server = Server::settings().variable("SUPERCARGO_GC__LEASE", "0s").start();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let common = files([("common", "to all")]);
    let images = ["amd64", "arm64", "riscv64"].map(|architecture| {
        Image::for_architecture(architecture, &[common.clone(), files([("architecture", architecture)])])
    });
    let named: Vec<(&str, &Image)> = ["a", "b", "c"].into_iter().zip(&images).collect();
    write_layout(&folder.path().join("layout"), &named, Some("all")).unwrap();

    let remote = format!("docker://{}", server.reference("multi:all"));
    let local = format!("oci:{}:all", at("layout"));
    run(skopeo(&TO).args(["--all", &local, &remote]));
    let client = server.client();
    let index = index_of(&images);
    let stored = client.get("/v2/multi/manifests/all").unwrap().expect(200);
    assert_eq!(stored.body, index.bytes);
    for image in &images {
        client.pull_and_check("multi", &image.manifest.digest, image).unwrap();
    }

    // One platform alone can be had, and all of them.
    let arm =
        run(&mut skopeo(&["--override-arch", "arm64", "inspect", "--config", "--tls-verify=false", &remote]));
    assert_eq!(arm.json()["architecture"], json!("arm64"));
    run(skopeo(&FROM).args(["--all", &remote, &format!("oci:{}:all", at("back"))]));
    for image in &images {
        assert!(folder.path().join("back/blobs/sha256").join(&image.manifest.digest[7..]).is_file());
    }

    // The index holds its platforms: without it, nothing does.
    server.cli(&["gc"]).expect_success();
    client.pull_and_check("multi", &images[2].manifest.digest, &images[2]).unwrap();
    client.delete_manifest("multi", "all").unwrap();
    server.cli(&["gc"]).expect_success();
    for image in &images {
        let path = format!("/v2/multi/manifests/{}", image.manifest.digest);
        client.get(&path).unwrap().expect(404);
        assert!(!client.has_blob("multi", &image.layers[0].digest).unwrap());
    }
    server.stop().verify();
}
