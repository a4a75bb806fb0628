//! podman and buildah, each with stores of its own.

use supercargo_tests::files::{Files, assert_same, files, read_tar, write_tar};
use supercargo_tests::program::{Store, require, run};
use supercargo_tests::{Random, Server};

/// podman adds nothing of its own to what it exports, except where things will be mounted.
fn added_by_podman(path: &str) -> bool {
    ["dev/", "proc/", "sys/", "run/", "etc/"].iter().any(|place| path.starts_with(place))
}

#[test]
fn podman_pushes_and_pulls() {
    let mut random = Random::from_environment("podman_pushes_and_pulls");
    let server = Server::start();
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (folder.path().join("first"), folder.path().join("second"));
    let (here, there) = (Store::podman(&first), Store::podman(&second));
    let contents: Files =
        [("bin/x".to_owned(), random.bytes(400_000)), ("y".to_owned(), b"text".to_vec())].into();
    let archive = folder.path().join("image.tar");
    std::fs::write(&archive, write_tar(&contents)).unwrap();

    let image = server.reference("podman/image:1");
    here.run(&["import", "--quiet", archive.to_str().unwrap(), &image]);
    here.run(&["push", "--quiet", "--tls-verify=false", &image]);
    let docker_format = server.reference("podman/docker-format:1");
    here.run(&["push", "--quiet", "--tls-verify=false", "--format", "v2s2", &image, &docker_format]);

    let server = server.restart();
    for name in ["podman/image:1", "podman/docker-format:1"] {
        let image = server.reference(name);
        there.run(&["pull", "--quiet", "--tls-verify=false", &image]);
        let container = there.run(&["create", &image, "/nothing"]).text;
        let exported = there.run(&["export", &container]);
        there.run(&["rm", &container]);
        assert_same(&read_tar(exported.stdout.as_slice()), &contents, added_by_podman);
    }
    server.stop().verify();
}

#[test]
fn buildah_builds_runs_pushes_and_pulls() {
    let server = Server::start();
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (folder.path().join("first"), folder.path().join("second"));
    let (here, there) = (Store::buildah(&first), Store::buildah(&second));
    require("/bin/busybox");

    let container = here.run(&["from", "scratch"]).text;
    here.run(&["copy", "--quiet", &container, "/bin/busybox", "/bin/busybox"]);
    let script = "/bin/busybox mkdir -p /made && echo by a run > /made/file";
    here.run(&["run", "--isolation", "chroot", &container, "/bin/busybox", "sh", "-c", script]);
    let image = server.reference("buildah/image:1");
    here.run(&["commit", "--quiet", &container, &image]);
    here.run(&["push", "--quiet", "--tls-verify=false", &image]);

    there.run(&["pull", "--quiet", "--tls-verify=false", &image]);
    let container = there.run(&["from", "--pull-never", &image]).text;
    let root = there.run(&["mount", &container]).text;
    assert_eq!(std::fs::read_to_string(format!("{root}/made/file")).unwrap(), "by a run\n");
    assert_eq!(std::fs::read(format!("{root}/bin/busybox")).unwrap(), std::fs::read("/bin/busybox").unwrap());
    there.run(&["umount", &container]);
    server.stop().verify();
}

#[test]
fn buildah_pushes_a_manifest_list() {
    let server = Server::start();
    let folder = tempfile::tempdir().unwrap();
    let store = Store::buildah(folder.path());
    store.run(&["manifest", "create", "localhost/list"]);
    for architecture in ["amd64", "arm64"] {
        let source = folder.path().join(architecture);
        std::fs::write(&source, architecture).unwrap();
        let container = store.run(&["from", "scratch"]).text;
        store.run(&["config", "--arch", architecture, &container]);
        store.run(&["copy", "--quiet", &container, source.to_str().unwrap(), "/architecture"]);
        let image = format!("localhost/{architecture}");
        store.run(&["commit", "--quiet", &container, &image]);
        store.run(&["manifest", "add", "--arch", architecture, "localhost/list", &image]);
    }
    let remote = format!("docker://{}", server.reference("buildah/list:1"));
    store.run(&["manifest", "push", "--quiet", "--all", "--tls-verify=false", "localhost/list", &remote]);

    let client = server.client();
    let index = client.get("/v2/buildah/list/manifests/1").unwrap().expect(200).json();
    let children = index["manifests"].as_array().unwrap();
    assert_eq!(children.len(), 2, "{index}");
    for child in children {
        let path = format!("/v2/buildah/list/manifests/{}", child["digest"].as_str().unwrap());
        client.get(&path).unwrap().expect(200);
    }
    let pulled = folder.path().join("pulled");
    run(supercargo_tests::program::skopeo(&[
        "--override-arch",
        "arm64",
        "copy",
        "--quiet",
        "--src-tls-verify=false",
    ])
    .args([&remote, &format!("oci:{}:x", pulled.display())]));
    let expected = files([("architecture", "arm64")]);
    assert_same(&only_layer(&pulled), &expected, |_| false);
    server.stop().verify();
}

/// The files in the one layer of the one image of an OCI layout.
fn only_layer(layout: &std::path::Path) -> Files {
    let read = |digest: &serde_json::Value| {
        std::fs::read(layout.join("blobs/sha256").join(&digest.as_str().unwrap()["sha256:".len()..])).unwrap()
    };
    let json = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes).unwrap();
    let index = json(&std::fs::read(layout.join("index.json")).unwrap());
    let manifest = json(&read(&index["manifests"][0]["digest"]));
    let layer = read(&manifest["layers"][0]["digest"]);
    let mut file = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut file, &layer).unwrap();
    let unpacked = run(require("gzip").args(["--decompress", "--stdout"]).arg("--force").arg(file.path()));
    read_tar(unpacked.stdout.as_slice())
}
