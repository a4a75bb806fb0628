//! curl, as people use it to look at a registry and to script it: another HTTP stack than all the others.

use serde_json::json;
use supercargo_tests::image::{Blob, OCI_MANIFEST};
use supercargo_tests::program::{Printed, require, run};
use supercargo_tests::{Image, Server};

fn curl(arguments: &[&str]) -> Printed {
    run(require("curl").args(["--silent", "--show-error", "--fail-with-body"]).args(arguments))
}

#[test]
fn a_registry_can_be_scripted() {
    let server = Server::start();
    let folder = tempfile::tempdir().unwrap();
    let base = format!("http://{}/v2", server.address());
    assert_eq!(curl(&[&format!("{base}/")]).json(), json!({}));

    // Every blob in one request, with the body from a file: curl then asks with Expect: 100-continue first.
    let image = Image::generate(5, 2, 2_000_000);
    let file = folder.path().join("body");
    let body = format!("@{}", file.display());
    for Blob { digest, bytes } in image.blobs() {
        std::fs::write(&file, bytes).unwrap();
        let location =
            curl(&["--request", "POST", "--dump-header", "-", &format!("{base}/scripted/blobs/uploads/")]);
        let location = location
            .text
            .lines()
            .find_map(|line| {
                line.to_lowercase()
                    .strip_prefix("location:")
                    .map(|_| line["location:".len()..].trim().to_owned())
            })
            .unwrap();
        let location = if location.starts_with('/') {
            format!("http://{}{location}", server.address())
        } else {
            location
        };
        let location = supercargo_tests::client::with_query(&location, &format!("digest={digest}"));
        curl(&[
            "--request",
            "PUT",
            "--header",
            "Content-Type: application/octet-stream",
            "--data-binary",
            &body,
            &location,
        ]);
    }
    std::fs::write(&file, &image.manifest.bytes).unwrap();
    let content_type = format!("Content-Type: {OCI_MANIFEST}");
    let url = format!("{base}/scripted/manifests/1");
    curl(&["--request", "PUT", "--header", &content_type, "--data-binary", &body, &url]);
    server.client().pull_and_check("scripted", "1", &image).unwrap();

    // An interrupted download goes on where it ended.
    let (half, layer) = (folder.path().join("half"), &image.layers[1]);
    std::fs::write(&half, &layer.bytes[..777_777]).unwrap();
    curl(&[
        "--continue-at",
        "-",
        "--output",
        half.to_str().unwrap(),
        &format!("{base}/scripted/blobs/{}", layer.digest),
    ]);
    assert!(std::fs::read(&half).unwrap() == layer.bytes);
    server.stop().verify();
}
