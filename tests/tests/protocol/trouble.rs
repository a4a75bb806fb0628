//! A server in trouble: a full disk, a folder that another has, a configuration that can't be, a request while
//! it is told to stop, blobs that rot.

use std::path::Path;
use std::process::Command;

use supercargo_tests::http::{Connection, Request};
use supercargo_tests::image::{Blob, OCI_MANIFEST};
use supercargo_tests::program::run;
use supercargo_tests::server::binary;
use supercargo_tests::{Image, Server};

use crate::expect_error;

/// A small file system of its own, unmounted with the test.
struct SmallDisk {
    folder: tempfile::TempDir,
}

impl SmallDisk {
    fn new(size: &str) -> SmallDisk {
        let folder = tempfile::tempdir().unwrap();
        run(Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(folder.path()));
        SmallDisk { folder }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: whatever still has it open lets go when it ends.
        let _ = Command::new("umount").arg("--lazy").arg(self.folder.path()).status();
    }
}

/// The server keeps a reserve, below which it takes no more; and where somebody else takes that too, it meets
/// the system's own refusal in the middle of a write.
#[test]
fn a_full_disk_refuses_pushes_and_nothing_else() {
    fill_a_disk("8MiB");
}

#[test]
fn a_disk_without_a_reserve_may_fill_to_the_last_byte() {
    fill_a_disk("0B");
}

fn fill_a_disk(reserve: &str) {
    let disk = SmallDisk::new("48m");
    let data = disk.folder.path().join("data");
    let server = Server::settings()
        .variable("SUPERCARGO_STORAGE__RESERVE", reserve)
        .variable("SUPERCARGO_GC__LEASE", "0s")
        .start_in(&data);
    let client = server.client();
    let image = Image::generate(1, 1, 5 << 20);
    client.push_image("kept", "1", &image).unwrap();
    let mut pushed = 0;
    let refused = loop {
        let blob = Image::generate(100 + pushed, 1, 5 << 20);
        match client.push_image("filler", &format!("t{pushed}"), &blob) {
            Ok(()) => pushed += 1,
            Err(error) => break error,
        }
        assert!(pushed < 20, "the disk does not fill");
    };
    assert_eq!(refused.status(), Some(507), "{refused}");
    assert!(refused.to_string().contains("disk is full"), "{refused}");
    assert!(pushed >= 2, "{pushed}");

    // Reads go on, and so do deletes, which are the way out.
    client.pull_and_check("kept", "1", &image).unwrap();
    for tag in 0..pushed {
        client.delete_manifest("filler", &format!("t{tag}")).unwrap();
    }
    server.cli(&["gc"]).expect_success();
    client.push_image("again", "1", &Image::generate(999, 1, 5 << 20)).unwrap();
    client.pull_and_check("kept", "1", &image).unwrap();
    server.stop().verify();
}

/// A disk without room for a record. Nothing that was answered is lost, nothing half done stays, and once there
/// is room again, changes go on without a restart.
#[test]
fn a_disk_that_others_filled_stops_changes_and_no_reads() {
    for reserve in ["8MiB", "0B"] {
        let disk = SmallDisk::new("32m");
        let server = Server::settings()
            .variable("SUPERCARGO_STORAGE__RESERVE", reserve)
            .start_in(&disk.folder.path().join("data"));
        let client = server.client();
        let image = Image::generate(1, 1, 100_000);
        client.push_image("kept", "1", &image).unwrap();
        let query: Vec<String> = (0..500).map(|number| format!("tag=t{number}")).collect();
        let tags = format!("{}?{}", image.manifest.digest, query.join("&"));
        client.push_manifest("kept", &tags, OCI_MANIFEST, &image.manifest.bytes).unwrap();

        let filler = disk.folder.path().join("filler");
        let full = std::io::copy(&mut std::io::repeat(1), &mut std::fs::File::create(&filler).unwrap());
        assert_eq!(full.unwrap_err().kind(), std::io::ErrorKind::StorageFull);
        let before = server.log_size();
        for size in [100, 100_000] {
            let refused = client.push_image("refused", "1", &Image::generate(2, 1, size)).unwrap_err();
            assert_eq!(refused.status(), Some(507), "{reserve}: {refused}");
        }
        assert_eq!(server.log_size(), before);
        // Deletions go on for as long as the log's own file has room for their records.
        let delete = |number: u64| client.delete(&format!("/v2/kept/manifests/t{number}")).unwrap();
        let mut deleted = 0;
        let refused = loop {
            let answer = delete(deleted);
            if answer.status != 202 {
                break answer;
            }
            deleted += 1;
        };
        expect_error(&refused, 507, "UNAVAILABLE");
        assert_eq!(server.log_size(), before + deleted, "{reserve}");
        client.pull_and_check("kept", "1", &image).unwrap();
        client.pull_and_check("kept", &format!("t{deleted}"), &image).unwrap();
        client.get("/healthz").unwrap().expect(200);
        if reserve != "0B" {
            client.get("/readyz").unwrap().expect(503);
        }

        std::fs::remove_file(&filler).unwrap();
        delete(deleted).expect(202);
        client.push_image("again", "1", &Image::generate(2, 1, 100_000)).unwrap();
        client.pull_and_check("kept", "1", &image).unwrap();
        client.get("/readyz").unwrap().expect(200);
        server.stop().verify();
    }
}

#[test]
fn a_held_folder_is_said_plainly() {
    let server = Server::start();
    let held = |arguments: &[&str]| {
        let output =
            Command::new(binary()).args(arguments).arg("--data").arg(server.data()).output().unwrap();
        assert_eq!(output.status.code(), Some(3), "{arguments:?}");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("another process") && said.contains("--server"), "{said}");
    };
    held(&["log", "list"]);
    held(&["verify"]);
    held(&["gc"]);
    held(&["replay"]);
    held(&["serve", "--listen", "127.0.0.1:0"]);
}

#[test]
fn what_can_not_be_configured_is_refused() {
    let refused = |arguments: &[&str], variables: &[(&str, &str)], says: &str| {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new(binary());
        command.args(["serve", "--data"]).arg(folder.path().join("data")).args(arguments);
        command.envs(variables.iter().copied());
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?} {variables:?}");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains(says), "{said}");
        assert!(!folder.path().join("data").exists(), "a folder was made");
    };
    refused(&["--listen", "0.0.0.0:0"], &[], "--allow-anonymous");
    refused(&["--listen", "nonsense"], &[], "ADDRESS:PORT");
    refused(&["--listen", "127.0.0.1:0"], &[("SUPERCARGO_GC__LEESE", "1h")], "gc.leese");
    refused(&["--listen", "127.0.0.1:0"], &[("SUPERCARGO_GC__LEASE", "soon")], "gc.lease");
    refused(&["--listen", "127.0.0.1:0", "--config", "/nonexistent.toml"], &[], "/nonexistent.toml");
    refused(&["--listen", "127.0.0.1:0"], &[("SUPERCARGO_STORAGE__RESERVE", "64MB")], "storage.reserve");
    refused(
        &["--listen", "127.0.0.1:0"],
        &[("SUPERCARGO_TRUSTED_PROXIES", "10.0.0.0/40")],
        "trusted_proxies",
    );
    refused(
        &["--listen", "127.0.0.1:0"],
        &[("SUPERCARGO_HTTP__CORS_ORIGINS", "https://ui.example/path")],
        "http.cors_origins",
    );
    refused(&["--listen", "127.0.0.1:0=No_Key"], &[], "No_Key");
    refused(&["--nope"], &[], "--nope");
}

#[test]
fn a_listener_serves_its_own_repository() {
    let server = Server::start();
    server.cli(&["repo", "create", "team-a"]).expect_success();
    let image = Image::generate(1, 1, 100);
    server.client().push_image("a", "1", &image).unwrap();
    let stopped = server.stop();
    let server = stopped.into_settings().argument("--listen").argument("127.0.0.1:0=team-a").start();
    let (first, second) = (server.client(), supercargo_tests::Client::new(server.next_address()));
    first.pull_and_check("a", "1", &image).unwrap();
    second.get("/v2/a/tags/list").unwrap().expect(404);
    second.push_image("b", "1", &image).unwrap();
    first.get("/v2/b/tags/list").unwrap().expect(404);
    let repositories = server.cli(&["repo", "list"]).expect_success().json();
    assert_eq!(repositories.as_array().unwrap().len(), 2);
    server.cli(&["repo", "remove", "team-a", "--force"]).expect_success();
    second.get("/v2/b/tags/list").unwrap().expect(404);
    second.send(&Request::new("POST", "/v2/b/blobs/uploads/")).unwrap().expect(404);
    server.stop().verify();
}

/// Who pushed is what the connection says, or what a proxy says that is trusted; never what a client says.
#[test]
fn a_forwarded_address_is_believed_from_a_trusted_proxy_alone() {
    for (trusted, expected) in [("", "127.0.0.1"), ("127.0.0.0/8", "203.0.113.7")] {
        let server = Server::settings().variable("SUPERCARGO_TRUSTED_PROXIES", trusted).start();
        let client = server.client();
        let blob = Blob::new("x");
        let push = Request::new("POST", &format!("/v2/a/blobs/uploads/?digest={}", blob.digest))
            .header("Host", "registry.example")
            .header("X-Forwarded-For", "198.51.100.1, 203.0.113.7")
            .header("X-Forwarded-Host", "elsewhere.example")
            .header("X-Forwarded-Proto", "https");
        let answer = client.send(&push.body(&*blob.bytes)).unwrap().expect(201);
        // Relative, so that it holds behind whatever is in between.
        assert_eq!(answer.require("Location"), format!("/v2/a/blobs/{}", blob.digest));
        let records = server.cli(&["log", "list", "--kind", "BlobAdded"]).expect_success().json_lines();
        assert_eq!(records[0]["origin"]["remote"], expected, "{records:?}");
    }
}

/// A request that runs when the server is told to stop is finished and answered; an idle connection is not
/// waited for.
#[test]
fn a_stop_lets_requests_finish() {
    let server = Server::start();
    let blob = Blob::generate(1, 200_000);
    let session = server.client().start_upload("a").unwrap();
    let mut idle = Connection::open(server.address()).unwrap();
    idle.send(&Request::new("GET", "/v2/").to_bytes()).unwrap();
    idle.receive("GET").unwrap().expect(200);
    let request =
        Request::new("PUT", &format!("{session}?digest={}", blob.digest)).body(&*blob.bytes).to_bytes();
    let (first, rest) = request.split_at(request.len() / 2);
    let mut pusher = Connection::open(server.address()).unwrap();
    pusher.send(first).unwrap();
    // The server has it in hand once it holds some of it.
    let client = server.client();
    while client.get(&session).unwrap().header("Range").is_none_or(|range| range == "0-0") {
        std::thread::yield_now();
    }
    let stopping = std::thread::spawn(move || server.stop());
    assert!(idle.is_closed());
    pusher.send(rest).unwrap();
    pusher.receive("PUT").unwrap().expect(201);
    let stopped = stopping.join().unwrap();
    stopped.verify();
    let server = stopped.start();
    assert!(server.client().has_blob("a", &blob.digest).unwrap());
}

/// Damaged bytes are found, said, not served, and mended by pushing them again.
#[test]
fn rot_is_found_and_mended() {
    let server = Server::start();
    let client = server.client();
    let image = Image::generate(1, 1, 100_000);
    client.push_image("a", "1", &image).unwrap();
    let digest = &image.layers[0].digest["sha256:".len()..];
    let file = server.data().join("blobs/sha256").join(&digest[..2]).join(digest);
    damage(&file);
    let scrubbed = server.cli(&["scrub"]);
    assert_eq!(scrubbed.status.code(), Some(1), "{scrubbed:?}");
    client.get(&format!("/v2/a/blobs/{}", image.layers[0].digest)).unwrap().expect(404);
    let records = server.cli(&["log", "list", "--kind", "BlobRotFound"]).expect_success().json_lines();
    assert_eq!(records.len(), 1);
    assert_eq!(server.metric("supercargo_rotten_blobs_total"), 1);
    client.push_image("a", "1", &image).unwrap();
    client.pull_and_check("a", "1", &image).unwrap();
    server.cli(&["scrub"]).expect_success();

    // verify finds it too.
    damage(&file);
    let stopped = server.stop();
    assert_eq!(stopped.cli(&["verify"]).status.code(), Some(0), "its size is right");
    assert_eq!(stopped.cli(&["verify", "--deep"]).status.code(), Some(1));
    std::fs::remove_file(&file).unwrap();
    let missing = stopped.cli(&["verify"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(missing.stdout.contains(digest), "{missing:?}");
}

fn damage(file: &Path) {
    let mut bytes = std::fs::read(file).unwrap();
    bytes[50_000] ^= 1;
    std::fs::write(file, bytes).unwrap();
}

/// Old sessions go, in use or not; what a crash left goes too.
#[test]
fn sessions_expire() {
    let server = Server::settings().variable("SUPERCARGO_UPLOADS__EXPIRE_AFTER", "0s").start();
    let client = server.client();
    let session = client.start_upload("a").unwrap();
    client.get(&session).unwrap().expect(204);
    let swept = server.cli(&["sweep"]).expect_success().json();
    assert_eq!(swept["sessions"], 1, "{swept}");
    client.get(&session).unwrap().expect(404);
}

/// What commands print does not depend on where they work.
#[test]
fn a_server_and_its_folder_give_the_same_answers() {
    let server = Server::start();
    let client = server.client();
    for seed in 0..3 {
        client.push_image("shop/web", "prod", &Image::generate(seed, 2, 1000)).unwrap();
    }
    client.delete_manifest("shop/web", "prod").unwrap();
    client.push_image("shop/web", "next", &Image::generate(9, 2, 1000)).unwrap();
    let commands: &[&[&str]] = &[
        &["log", "list"],
        &["log", "list", "--kind", "TagSet", "--oldest-first", "--limit", "2"],
        &["log", "show", "3"],
        &["log", "export"],
        &["repo", "list"],
        &["repo", "show", "docker-local"],
        &["name", "list", "docker-local"],
        &["tag", "list", "docker-local", "shop/web"],
        &["tag", "history", "docker-local", "shop/web", "prod"],
        &["inspect", "docker-local", "shop/web", "next"],
        &["verify", "--deep"],
        &["prune", "--dry-run"],
    ];
    let remote: Vec<String> =
        commands.iter().map(|command| server.cli(command).expect_success().stdout).collect();
    let stopped = server.stop();
    for (command, remote) in commands.iter().zip(remote) {
        assert_eq!(stopped.cli(command).expect_success().stdout, remote, "{command:?}");
    }
    let history = stopped.cli(&["tag", "history", "docker-local", "shop/web", "prod"]).json();
    assert_eq!(history.as_array().unwrap().len(), 4);

    // The past, and the log somewhere else, without loss.
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let seq = history[1]["seq"].to_string();
    stopped.cli(&["replay", "--until", &seq, "--into", &at("then")]).expect_success();
    let then = run(Command::new(binary()).args([
        "tag",
        "list",
        "docker-local",
        "shop/web",
        "--json",
        "--data",
        &at("then"),
    ]))
    .json();
    assert_eq!(then["digest"], history[1]["digest"]);
    stopped.cli(&["log", "export", "--output", &at("log.jsonl")]).expect_success();
    run(Command::new(binary()).args(["log", "import", &at("log.jsonl"), "--data", &at("copy")]));
    let copied = run(Command::new(binary()).args(["log", "export", "--data", &at("copy")])).text;
    assert_eq!(copied, std::fs::read_to_string(at("log.jsonl")).unwrap().trim_end());
}
