//! Replays of the whole log that do not come to their end: the old tables stay in use, a server can run on
//! them, and what it writes is not lost to the tables that a later replay makes.

use std::fmt::Write as _;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal};
use serde_json::{Value, json};
use supercargo_tests::process::died_by;
use supercargo_tests::server::{Stopped, binary};
use supercargo_tests::{Image, Server};

use crate::support::{CRASH_AT, wait_until};

/// Enough that the replay passes `rebuild.batch` three times: every 20 000 records, and once at the end with
/// everything written but nothing switched.
const RECORDS: u64 = 45_000;

/// A data folder with a long log, that holds an image as `a:1`.
fn long_log(image: &Image) -> Stopped {
    let stopped = Server::start().stop();
    let first = stopped.cli(&["log", "export"]).expect_success();
    let mut record: Value = serde_json::from_str(first.stdout.lines().next().unwrap()).unwrap();
    let mut export = first.stdout;
    for seq in (0..RECORDS).skip(export.lines().count()) {
        record["seq"] = json!(seq);
        record["event"]["RepositoryCreated"]["repository"] = json!(format!("r{seq}"));
        writeln!(export, "{record}").unwrap();
    }
    let file = stopped.data().with_file_name("export.jsonl");
    std::fs::write(&file, export).unwrap();
    // It goes on behind the records that are there.
    stopped.cli(&["log", "import", file.to_str().unwrap()]).expect_success();
    let server = stopped.start();
    assert_eq!(server.log_size(), RECORDS);
    server.client().push_image("a", "1", image).unwrap();
    server.stop()
}

/// Begins a replay of the folder.
fn replay(stopped: &Stopped, crash_at: Option<&str>) -> Child {
    let mut command = Command::new(binary());
    command.args(["replay", "--json", "--data"]).arg(stopped.data());
    command.envs(crash_at.map(|point| (CRASH_AT, point)));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

fn killed_replay(stopped: &Stopped, crash_at: &str) {
    let output = replay(stopped, Some(crash_at)).wait_with_output().unwrap();
    assert!(died_by(output.status, Signal::KILL), "{crash_at}: {output:?}");
}

/// A replay that is interrupted once it listens for that, and keeps what it has done: it says so.
fn interrupted_replay(stopped: &Stopped) {
    let child = replay(stopped, None);
    let caught = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap().trim();
        u64::from_str_radix(caught, 16).unwrap() & (1 << (Signal::INT.as_raw() - 1)) != 0
    };
    wait_until("the replay catches SIGINT", caught);
    rustix::process::kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(said.contains("interrupted at record"), "{said}");
}

/// A server runs on the tables that a replay left in use: all is there, and it can be written to.
fn serve_and_push(stopped: Stopped, image: &Image, name: &str, other: &Image) -> Stopped {
    let server = stopped.start();
    let client = server.client();
    client.pull_and_check("a", "1", image).unwrap();
    client.push_image(name, "1", other).unwrap();
    let stopped = server.stop();
    stopped.verify();
    stopped
}

/// A replay comes to its end, with every record in the tables.
fn finish(stopped: &Stopped) {
    let size = stopped.cli(&["verify"]).expect_success().json()["records"].as_u64().unwrap();
    let replayed = stopped.cli(&["replay"]).expect_success().json();
    assert_eq!(replayed["records"].as_u64(), Some(size));
    stopped.verify();
}

#[test]
fn killed_and_finished() {
    let image = Image::generate(1, 2, 100_000);
    let stopped = long_log(&image);
    for passage in 1..=3 {
        killed_replay(&stopped, &format!("rebuild.batch:{passage}"));
        stopped.verify();
    }
    finish(&stopped);
    // There is no fourth passage, or this would not have tried every one.
    assert!(replay(&stopped, Some("rebuild.batch:4")).wait_with_output().unwrap().status.success());
    stopped.start().client().pull_and_check("a", "1", &image).unwrap();
}

#[test]
fn killed_served_and_finished() {
    let image = Image::generate(1, 2, 100_000);
    let mut stopped = long_log(&image);
    let others: Vec<Image> = (10..13).map(|seed| Image::generate(seed, 2, 100_000)).collect();
    for (number, other) in others.iter().enumerate() {
        killed_replay(&stopped, &format!("rebuild.batch:{}", number + 1));
        stopped = serve_and_push(stopped, &image, &format!("b{number}"), other);
    }
    finish(&stopped);
    let server = stopped.start();
    for (number, other) in others.iter().enumerate() {
        server.client().pull_and_check(&format!("b{number}"), "1", other).unwrap();
    }
    server.client().pull_and_check("a", "1", &image).unwrap();
}

/// What an interrupted replay has kept does not know what is pushed after it.
#[test]
fn interrupted_served_and_finished() {
    let (image, other, last) =
        (Image::generate(1, 2, 100_000), Image::generate(2, 2, 100_000), Image::generate(3, 2, 100_000));
    let stopped = long_log(&image);
    interrupted_replay(&stopped);
    stopped.verify();
    // Killed where it goes on, and interrupted again.
    killed_replay(&stopped, "rebuild.batch");
    stopped.verify();
    interrupted_replay(&stopped);
    let stopped = serve_and_push(stopped, &image, "b", &other);
    finish(&stopped);
    // A server that was killed, too.
    interrupted_replay(&stopped);
    let server = stopped.start();
    server.client().push_image("c", "1", &last).unwrap();
    let stopped = server.kill_hard();
    stopped.verify();
    finish(&stopped);
    let server = stopped.start();
    for (name, image) in [("a", &image), ("b", &other), ("c", &last)] {
        server.client().pull_and_check(name, "1", image).unwrap();
    }
}
