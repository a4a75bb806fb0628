//! The clients that people use push and pull over TLS, trusting the authority that the server made as each of
//! them is told to.

use supercargo_tests::docker::{Docker, TRUSTING_HOST};
use supercargo_tests::files::{Files, assert_same, read_tar, write_tar};
use supercargo_tests::image::{Blob, OCI_MANIFEST, write_layout};
use supercargo_tests::program::{Store, require, run, run_to_fail, skopeo};
use supercargo_tests::{Image, Random, Server};

use crate::{made_authority, self_signed, trusting};

#[test]
fn curl_in_both_versions() {
    let server = self_signed().start();
    let base = format!("https://localhost:{}/v2", server.next_address().port());
    let authority = made_authority(&server);
    let folder = tempfile::tempdir().unwrap();
    for (number, (version, spoken)) in [("--http2", "2"), ("--http1.1", "1.1")].into_iter().enumerate() {
        let curl = |arguments: &[&str]| {
            let mut command = require("curl");
            command
                .args(["--silent", "--show-error", "--fail-with-body", version, "--cacert"])
                .arg(&authority);
            run(command.args(["--write-out", "%{http_version}"]).args(arguments))
        };
        let image = Image::generate(number as u64, 2, 3_000_000);
        let file = folder.path().join("body");
        let body = format!("@{}", file.display());
        for Blob { digest, bytes } in image.blobs() {
            std::fs::write(&file, bytes).unwrap();
            let url = format!("{base}/curl/blobs/uploads/?digest={digest}");
            let pushed = curl(&["--request", "POST", "--header", "Expect:", "--data-binary", &body, &url]);
            assert_eq!(pushed.text, spoken);
            let pulled = folder.path().join("pulled");
            curl(&["--output", pulled.to_str().unwrap(), &format!("{base}/curl/blobs/{digest}")]);
            assert!(std::fs::read(&pulled).unwrap() == *bytes);
        }
        std::fs::write(&file, &image.manifest.bytes).unwrap();
        let content_type = format!("Content-Type: {OCI_MANIFEST}");
        let url = format!("{base}/curl/manifests/{number}");
        curl(&["--request", "PUT", "--header", &content_type, "--data-binary", &body, &url]);
        server.client().pull_and_check("curl", &number.to_string(), &image).unwrap();
        // Many at a time, over one connection where the version has that.
        let layer = format!("{base}/curl/blobs/{}", image.layers[0].digest);
        let many = format!("{layer}?[1-64]");
        let sizes =
            curl(&["--parallel", "--output", "/dev/null", "--write-out", "%{size_download}\n", &many]);
        assert_eq!(
            sizes.text.lines().filter(|size| size.parse() == Ok(image.layers[0].bytes.len())).count(),
            64
        );
    }
    server.stop().verify();
}

#[test]
fn skopeo_with_a_folder_of_authorities() {
    let server = self_signed().start();
    let folder = tempfile::tempdir().unwrap();
    let certificates = trusting(&made_authority(&server), folder.path());
    let at = |name: &str| format!("oci:{}:x", folder.path().join(name).display());
    let image = Image::generate(1, 3, 200_000);
    write_layout(&folder.path().join("layout"), &[("x", &image)], None).unwrap();
    let remote = format!("docker://{}/skopeo:1", server.next_address());
    let copy = ["copy", "--quiet", "--preserve-digests"];

    let refusal = run_to_fail(skopeo(&copy).args([&at("layout"), &remote]));
    assert!(refusal.contains("certificate"), "{refusal}");
    run(skopeo(&copy).arg("--dest-cert-dir").arg(&certificates).args([&at("layout"), &remote]));
    server.client().pull_and_check("skopeo", "1", &image).unwrap();
    run(skopeo(&copy).arg("--src-cert-dir").arg(&certificates).args([&remote, &at("back")]));
    for blob in image.blobs().chain([&image.manifest]) {
        let copied = std::fs::read(folder.path().join("back/blobs/sha256").join(&blob.digest[7..])).unwrap();
        assert!(copied == blob.bytes, "{}", blob.digest);
    }
    server.stop().verify();
}

#[test]
fn podman_and_buildah_with_a_folder_of_authorities() {
    let mut random = Random::from_environment("podman_and_buildah_with_a_folder_of_authorities");
    let server = self_signed().start();
    let folder = tempfile::tempdir().unwrap();
    let certificates = trusting(&made_authority(&server), folder.path());
    let trusting = ["--quiet", "--cert-dir", certificates.to_str().unwrap()];
    let (first, second) = (folder.path().join("first"), folder.path().join("second"));
    let (podman, buildah) = (Store::podman(&first), Store::buildah(&second));
    let contents: Files =
        [("bin/x".to_owned(), random.bytes(400_000)), ("y".to_owned(), b"text".to_vec())].into();
    let archive = folder.path().join("image.tar");
    std::fs::write(&archive, write_tar(&contents)).unwrap();

    let image = format!("{}/podman/image:1", server.next_address());
    podman.run(&["import", "--quiet", archive.to_str().unwrap(), &image]);
    run_to_fail(&mut podman.command(&["push", "--quiet", &image]));
    podman.run(&[&["push"], &trusting[..], &[&image]].concat());

    run_to_fail(&mut buildah.command(&["pull", "--quiet", &image]));
    buildah.run(&[&["pull"], &trusting[..], &[&image]].concat());
    let copy = image.replace("podman/", "buildah/");
    buildah.run(&["tag", &image, &copy]);
    buildah.run(&[&["push"], &trusting[..], &[&copy]].concat());

    podman.run(&["image", "rm", &image]);
    podman.run(&[&["pull"], &trusting[..], &[&copy]].concat());
    let container = podman.run(&["create", &copy, "/nothing"]).text;
    let exported = podman.run(&["export", &container]);
    let added =
        |path: &str| ["dev/", "proc/", "sys/", "run/", "etc/"].iter().any(|place| path.starts_with(place));
    assert_same(&read_tar(exported.stdout.as_slice()), &contents, added);
    server.stop().verify();
}

/// Docker asks servers at 127.0.0.1 for no certificate that it knows, so this one is elsewhere.
#[test]
fn docker_with_the_authority_where_it_looks() {
    let mut random = Random::from_environment("docker_with_the_authority_where_it_looks");
    let server = Server::settings()
        .argument("--listen")
        .argument("https://[::1]:0")
        .argument("--self-signed")
        .argument("--san")
        .argument(TRUSTING_HOST)
        .start();
    let port = server.next_address().port();
    let contents: Files = [("x".to_owned(), random.bytes(300_000))].into();
    let image = format!("{TRUSTING_HOST}:{port}/docker/image:1");
    {
        let stranger = Docker::start_trusting(&[port], None);
        stranger.import(&contents, &image);
        let refusal = run_to_fail(&mut stranger.command(&["push", &image]));
        assert!(refusal.contains("certificate"), "{refusal}");
    }
    let docker = Docker::start_trusting(&[port], Some(&made_authority(&server)));
    docker.import(&contents, &image);
    let pushed = docker.push(&image);
    docker.run(&["image", "rm", &image]);
    docker.run(&["pull", &image]);
    assert_eq!(docker.repository_digest(&image), pushed.digest);
    assert_same(&docker.files(&image), &contents, Docker::adds);
    drop(docker);
    server.stop().verify();
}
