//! The clients that people use log in over TLS, push, pull, are refused and log out: where the repository is set to
//! tokens, and where it is set to Basic.

use std::path::Path;
use std::process::Command;

use serde_json::json;
use supercargo_tests::accounts::{Guarded, PASSWORD, basic};
use supercargo_tests::docker::{Docker, TRUSTING_HOST};
use supercargo_tests::files::{Files, assert_same, files, read_tar, write_tar};
use supercargo_tests::image::{Blob, OCI_MANIFEST, index_of, write_layout};
use supercargo_tests::program::{Store, require, run, run_to_fail_with, skopeo};
use supercargo_tests::server::path_text;
use supercargo_tests::{Image, Random, Server};

use crate::{made_authority, self_signed, trusting};

/// `writer` may read and write `team/**`.
fn guarded() -> Guarded {
    let guarded = Guarded::start(self_signed());
    guarded.user("writer", "team/**", "read,write");
    guarded
}

/// podman, buildah or skopeo, with a file of logins of its own.
struct Tool<'a> {
    command: &'a dyn Fn(&[&str]) -> Command,
    logins: &'a Path,
    certificates: &'a Path,
    /// What it ends with where it could not do what it was asked.
    failed: i32,
}

impl Tool<'_> {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = (self.command)(arguments);
        command.env("REGISTRY_AUTH_FILE", self.logins);
        command
    }

    fn login(&self, host: &str, password: &str) -> Command {
        let login = ["login", "--username", "writer", "--password", password, "--cert-dir"];
        self.command(&[&login[..], &[path_text(self.certificates), host]].concat())
    }

    /// From nobody to a user and back. `push` and `pull` are the arguments of that for a repository's name.
    fn story(&self, host: &str, push: &dyn Fn(&str) -> Vec<String>, pull: &dyn Fn(&str) -> Vec<String>) {
        let command =
            |arguments: Vec<String>| self.command(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        let refused = |arguments: Vec<String>, why: &[&str]| {
            let said = run_to_fail_with(self.failed, &mut command(arguments));
            assert!(why.iter().any(|why| said.contains(why)), "none of {why:?} in: {said}");
        };
        std::fs::write(self.logins, "{}").unwrap();
        let unknown = ["unauthorized", "authentication required", "invalid username/password"];
        refused(push("team/image"), &unknown);
        let said = run_to_fail_with(self.failed, &mut self.login(host, "wrong"));
        assert!(said.contains("invalid username/password"), "{said}");
        refused(push("team/image"), &unknown);

        let said = run(&mut self.login(host, PASSWORD)).text;
        assert!(said.contains("Login Succeeded!"), "{said}");
        run(&mut command(push("team/image")));
        run(&mut command(pull("team/image")));
        // They ask with HEAD first, whose answers have no message.
        refused(push("other/image"), &["403 (Forbidden)"]);
        refused(pull("other/image"), &["denied: requested access to the resource is denied: it takes"]);

        run(&mut self.command(&["logout", host]));
        refused(pull("team/image"), &unknown);
    }
}

/// Arguments, as a story wants them.
fn owned(arguments: &[&str]) -> Vec<String> {
    arguments.iter().map(|argument| (*argument).to_owned()).collect()
}

#[test]
fn podman_and_buildah_log_in() {
    let mut random = Random::from_environment("podman_and_buildah_log_in");
    let guarded = guarded();
    let host = guarded.server.next_address().to_string();
    let folder = tempfile::tempdir().unwrap();
    let certificates = trusting(&made_authority(&guarded.server), folder.path());
    let contents: Files = [("x".to_owned(), random.bytes(100_000))].into();
    let archive = folder.path().join("image.tar");
    std::fs::write(&archive, write_tar(&contents)).unwrap();
    for (program, place) in [("podman", "first"), ("buildah", "second")] {
        let folder = folder.path().join(place);
        std::fs::create_dir(&folder).unwrap();
        let store = if program == "podman" { Store::podman(&folder) } else { Store::buildah(&folder) };
        // buildah asks for what it has already only where it is told to.
        let pull: &[&str] = if program == "podman" { &["pull"] } else { &["pull", "--policy", "always"] };
        if program == "podman" {
            store.run(&["import", "--quiet", path_text(&archive), "localhost/image"]);
        } else {
            let container = store.run(&["from", "scratch"]).text;
            store.run(&["copy", "--quiet", &container, path_text(&archive), "/x"]);
            store.run(&["commit", "--quiet", &container, "localhost/image"]);
        }
        let tool = Tool {
            command: &|arguments| store.command(arguments),
            logins: &folder.join("logins"),
            certificates: &certificates,
            failed: 125,
        };
        let options = ["--quiet", "--cert-dir", path_text(&certificates)];
        for method in ["token", "basic"] {
            guarded.set_login(method);
            let to = |name: &str| format!("docker://{host}/{name}:{method}");
            let push =
                |name: &str| owned(&[&["push"], &options[..], &["localhost/image", &to(name)]].concat());
            let pull = |name: &str| owned(&[pull, &options[..], &[&to(name)]].concat());
            tool.story(&host, &push, &pull);
        }
        if program == "podman" {
            let container = store.run(&["create", &format!("{host}/team/image:basic"), "/nothing"]).text;
            let exported = store.run(&["export", &container]);
            let added = |path: &str| {
                ["dev/", "proc/", "sys/", "run/", "etc/"].iter().any(|place| path.starts_with(place))
            };
            assert_same(&read_tar(exported.stdout.as_slice()), &contents, added);
        }
    }
    guarded.server.stop().verify();
}

#[test]
fn skopeo_logs_in() {
    let guarded = guarded();
    let host = guarded.server.next_address().to_string();
    let folder = tempfile::tempdir().unwrap();
    let certificates = trusting(&made_authority(&guarded.server), folder.path());
    let image = Image::generate(1, 2, 50_000);
    write_layout(&folder.path().join("layout"), &[("x", &image)], None).unwrap();
    let tool = Tool {
        command: &skopeo,
        logins: &folder.path().join("logins"),
        certificates: &certificates,
        failed: 1,
    };
    let copy = ["copy", "--quiet", "--preserve-digests"];
    for method in ["token", "basic"] {
        guarded.set_login(method);
        let remote = |name: &str| format!("docker://{host}/{name}:{method}");
        let local = |name: &str| format!("oci:{}:x", folder.path().join(name).display());
        let push = |name: &str| {
            let trusting = ["--dest-cert-dir", path_text(&certificates)];
            owned(&[&copy[..], &trusting, &[&local("layout"), &remote(name)]].concat())
        };
        let pull = |name: &str| {
            let trusting = ["--src-cert-dir", path_text(&certificates)];
            owned(&[&copy[..], &trusting, &[&remote(name), &local(method)]].concat())
        };
        tool.story(&host, &push, &pull);
        for blob in image.blobs().chain([&image.manifest]) {
            let copied = folder.path().join(method).join("blobs/sha256").join(&blob.digest[7..]);
            assert!(std::fs::read(copied).unwrap() == blob.bytes, "{}", blob.digest);
        }
    }

    // Who has no login may have what is everybody's.
    guarded.push("public/image", "1", &image, &basic("admin", PASSWORD));
    guarded.permit("anonymous", "public/**", "read");
    for method in ["token", "basic"] {
        guarded.set_login(method);
        let inspect = ["inspect", "--cert-dir", path_text(&certificates)];
        let public = format!("docker://{host}/public/image:1");
        let seen = run(&mut tool.command(&[&inspect[..], &[&public]].concat())).json();
        assert_eq!(seen["Digest"], image.manifest.digest, "{method}");
    }
    guarded.server.stop().verify();
}

/// All platforms with one copy, and then one of them by a client that wants no other.
#[test]
fn an_index_is_copied_whole_and_pulled_by_platform() {
    let guarded = guarded();
    let host = guarded.server.next_address().to_string();
    let folder = tempfile::tempdir().unwrap();
    let certificates = trusting(&made_authority(&guarded.server), folder.path());
    let images = ["amd64", "arm64", "s390x"].map(|architecture| {
        Image::for_architecture(architecture, &[files([("architecture", architecture)])])
    });
    let named: Vec<(&str, &Image)> = ["a", "b", "c"].into_iter().zip(&images).collect();
    let layout = folder.path().join("layout");
    write_layout(&layout, &named, Some("all")).unwrap();

    let logins = folder.path().join("logins");
    let tool = Tool { command: &skopeo, logins: &logins, certificates: &certificates, failed: 1 };
    run(&mut tool.login(&host, PASSWORD));
    let (from, to) = (format!("oci:{}:all", layout.display()), format!("docker://{host}/team/multi:1"));
    let trusting = path_text(&certificates);
    run(&mut tool.command(&[
        "copy",
        "--quiet",
        "--all",
        "--preserve-digests",
        "--dest-cert-dir",
        trusting,
        &from,
        &to,
    ]));
    let stored =
        guarded.ask("GET", "/v2/team/multi/manifests/1", Some(&basic("writer", PASSWORD))).expect(200);
    assert_eq!(stored.body, index_of(&images).bytes);

    // podman knows skopeo's logins.
    let store = folder.path().join("podman");
    let store = Store::podman(&store);
    let podman = |arguments: &[&str]| run(store.command(arguments).env("REGISTRY_AUTH_FILE", &logins));
    for (image, architecture) in images.iter().zip(["amd64", "arm64", "s390x"]) {
        let name = format!("{host}/team/multi:1");
        podman(&["pull", "--quiet", "--cert-dir", trusting, "--arch", architecture, &name]);
        let pulled = podman(&["image", "inspect", "--format", "{{.Architecture}} {{.ID}}", &name]).text;
        assert_eq!(pulled, format!("{architecture} {}", &image.config.digest[7..]));
        podman(&["image", "rm", &name]);
    }
    guarded.server.stop().verify();
}

/// An artifact that is about an image, as signatures and lists of parts are: pushed and found with a login alone.
#[test]
fn artifacts_are_found_by_what_they_are_about() {
    let guarded = guarded();
    guarded.user("outsider", "elsewhere/**", "read");
    let host = guarded.server.next_address().to_string();
    let folder = tempfile::tempdir().unwrap();
    let certificates = trusting(&made_authority(&guarded.server), folder.path());
    let writer = basic("writer", PASSWORD);
    let subject = Image::generate(1, 1, 1000);
    guarded.push("team/image", "1", &subject, &writer);

    let mut artifacts = Vec::new();
    let logins = folder.path().join("logins");
    let tool = Tool { command: &skopeo, logins: &logins, certificates: &certificates, failed: 1 };
    run(&mut tool.login(&host, PASSWORD));
    for kind in ["application/vnd.example.sbom", "application/vnd.example.signature"] {
        // Made as an image is, with something else in it.
        let mut artifact = Image::generate(kind.len() as u64, 1, 500);
        let mut manifest: serde_json::Value = serde_json::from_slice(&artifact.manifest.bytes).unwrap();
        manifest["artifactType"] = json!(kind);
        manifest["subject"] = subject.manifest.descriptor(OCI_MANIFEST);
        manifest["annotations"] = json!({ "about": kind });
        artifact.manifest = Blob::new(manifest.to_string());
        artifacts.push(artifact);
    }
    let (copied, posted) = (&artifacts[0], &artifacts[1]);
    let layout = folder.path().join("layout");
    write_layout(&layout, &[("artifact", copied)], None).unwrap();
    let trusting = path_text(&certificates);
    run(&mut tool.command(&[
        "copy",
        "--quiet",
        "--preserve-digests",
        "--dest-cert-dir",
        trusting,
        &format!("oci:{}:artifact", layout.display()),
        &format!("docker://{host}/team/image:sbom"),
    ]));
    for blob in posted.blobs() {
        let path = format!("/v2/team/image/blobs/uploads/?digest={}", blob.digest);
        let request = supercargo_tests::http::Request::new("POST", &path).body(&*blob.bytes);
        guarded.send(request, Some(&writer)).expect(201);
    }
    let answer = guarded
        .push_manifest("team/image", &posted.manifest.digest, &posted.manifest.bytes, &writer)
        .expect(201);
    assert_eq!(answer.require("OCI-Subject"), subject.manifest.digest);

    let path = format!("/v2/team/image/referrers/{}", subject.manifest.digest);
    let listed = guarded.ask("GET", &path, Some(&writer)).expect(200).json();
    let mut listed: Vec<_> = listed["manifests"].as_array().unwrap().clone();
    listed.sort_by_key(|entry| entry["artifactType"].to_string());
    for (entry, artifact) in listed.iter().zip(&artifacts) {
        let manifest: serde_json::Value = serde_json::from_slice(&artifact.manifest.bytes).unwrap();
        assert_eq!(entry["digest"], artifact.manifest.digest);
        assert_eq!(entry["artifactType"], manifest["artifactType"]);
        assert_eq!(entry["annotations"], manifest["annotations"]);
    }
    assert_eq!(listed.len(), artifacts.len());
    let filtered = guarded
        .ask("GET", &format!("{path}?artifactType=application/vnd.example.sbom"), Some(&writer))
        .expect(200)
        .expect_header("OCI-Filters-Applied", "artifactType")
        .json();
    assert_eq!(filtered["manifests"].as_array().unwrap().len(), 1);
    guarded.ask("GET", &path, None).expect(401);
    guarded.ask("GET", &path, Some(&basic("outsider", PASSWORD))).expect(403);
    guarded.server.stop().verify();
}

/// curl as a script has it: a token for what is to be done, and then that, all by HTTP/2.
#[test]
fn curl_gets_a_token_pushes_and_pulls_by_http_2() {
    let guarded = guarded();
    let base = format!("https://localhost:{}/v2", guarded.server.next_address().port());
    let folder = tempfile::tempdir().unwrap();
    let authority = made_authority(&guarded.server);
    let (body, head) = (folder.path().join("body"), folder.path().join("head"));
    let curl = |arguments: &[&str]| {
        let mut command = require("curl");
        command.args(["--silent", "--show-error", "--http2", "--cacert"]).arg(&authority);
        command.arg("--dump-header").arg(&head).arg("--output").arg(&body);
        let said = run(command.args(["--write-out", "%{http_version} %{http_code}"]).args(arguments)).text;
        said.strip_prefix("2 ").unwrap_or_else(|| panic!("not HTTP/2: {said}")).to_owned()
    };
    let answer = || std::fs::read(&body).unwrap();

    // What the challenge says is where the token is had.
    let tags = format!("{base}/team/image/tags/list");
    assert_eq!(curl(&[&tags]), "401");
    let challenge = std::fs::read_to_string(&head).unwrap();
    let realm = challenge.split("realm=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
    assert_eq!(realm, format!("{base}/token"));
    let url = format!("{realm}?service=docker-local&scope=repository:team/image:pull,push");
    assert_eq!(curl(&["--user", "writer:wrong", &url]), "401");
    assert_eq!(curl(&["--user", &format!("writer:{PASSWORD}"), &url]), "200");
    let token = serde_json::from_slice::<serde_json::Value>(&answer()).unwrap();
    let bearer = format!("Authorization: Bearer {}", token["token"].as_str().unwrap());

    let image = Image::generate(3, 2, 500_000);
    let sent = folder.path().join("sent");
    let data = format!("@{}", sent.display());
    for Blob { digest, bytes } in image.blobs() {
        std::fs::write(&sent, bytes).unwrap();
        let url = format!("{base}/team/image/blobs/uploads/?digest={digest}");
        assert_eq!(curl(&["--request", "POST", "--header", &bearer, "--data-binary", &data, &url]), "201");
    }
    std::fs::write(&sent, &image.manifest.bytes).unwrap();
    let (url, content_type) =
        (format!("{base}/team/image/manifests/1"), format!("Content-Type: {OCI_MANIFEST}"));
    let put = ["--request", "PUT", "--header", &content_type, "--data-binary", &data, &url];
    assert_eq!(curl(&put), "401");
    assert_eq!(curl(&[&["--header", bearer.as_str()], &put[..]].concat()), "201");
    assert_eq!(curl(&["--header", &bearer, &url]), "200");
    assert_eq!(answer(), image.manifest.bytes);
    for Blob { digest, bytes } in image.blobs() {
        let url = format!("{base}/team/image/blobs/{digest}");
        assert_eq!(curl(&[&url]), "401");
        assert_eq!(curl(&["--header", &bearer, &url]), "200");
        assert!(answer() == *bytes);
    }
    assert_eq!(curl(&["--header", &bearer, &format!("{base}/other/tags/list")]), "403");
    // Basic does as well, without a token.
    assert_eq!(curl(&["--user", &format!("writer:{PASSWORD}"), &tags]), "200");
    guarded.server.stop().verify();
}

/// Docker asks servers at 127.0.0.1 for no certificate that it knows, so this one is elsewhere.
#[test]
fn docker_logs_in() {
    let mut random = Random::from_environment("docker_logs_in");
    let guarded = Guarded::start(
        Server::settings()
            .argument("--listen")
            .argument("https://[::1]:0")
            .argument("--self-signed")
            .argument("--san")
            .argument(TRUSTING_HOST),
    );
    guarded.user("writer", "team/**", "read,write");
    let port = guarded.server.next_address().port();
    let docker = Docker::start_trusting(&[port], Some(&made_authority(&guarded.server)));
    let contents: Files = [("x".to_owned(), random.bytes(300_000))].into();
    for method in ["token", "basic"] {
        guarded.set_login(method);
        docker_story(&docker, &format!("{TRUSTING_HOST}:{port}"), method, &contents);
    }
    drop(docker);
    guarded.server.stop().verify();
}

/// From nobody to `writer` and back.
pub(crate) fn docker_story(docker: &Docker, host: &str, tag: &str, contents: &Files) {
    let image = |name: &str| format!("{host}/{name}:{tag}");
    let (mine, others) = (image("team/image"), image("other/image"));
    docker.import(contents, &mine);
    docker.run(&["tag", &mine, &others]);
    let refused = |arguments: &[&str], why: &[&str]| {
        let said = run_to_fail_with(1, &mut docker.command(arguments));
        assert!(why.iter().any(|why| said.contains(why)), "none of {why:?} in: {said}");
    };
    let unknown = ["no basic auth credentials", "unauthorized: authentication required: log in"];
    refused(&["push", &mine], &unknown);
    let login =
        |password: &str| docker.command(&["login", "--username", "writer", "--password", password, host]);
    let said = run_to_fail_with(1, &mut login("wrong"));
    // Of Basic docker shows no more.
    let wrong =
        ["unauthorized: the user name or the password is wrong", "failed with status: 401 Unauthorized"];
    assert!(wrong.iter().any(|wrong| said.contains(wrong)), "{said}");
    refused(&["push", &mine], &unknown);

    let said = run(&mut login(PASSWORD)).text;
    assert!(said.contains("Login Succeeded"), "{said}");
    let pushed = docker.push(&mine);
    docker.run(&["image", "rm", &mine]);
    docker.run(&["pull", &mine]);
    assert_eq!(docker.repository_digest(&mine), pushed.digest);
    assert_same(&docker.files(&mine), contents, Docker::adds);
    refused(&["push", &others], &["denied: requested access to the resource is denied: it takes"]);
    refused(&["pull", &others], &["denied: requested access to the resource is denied: it takes"]);

    docker.run(&["logout", host]);
    refused(&["pull", &mine], &unknown);
    docker.run(&["image", "rm", &mine, &others]);
}
