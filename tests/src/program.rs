//! The client programs, each run to its end with its output kept. How each is told to leave this machine's
//! own stores and settings alone is here too.

use std::io::{Seek as _, Write as _};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::server::path_text;

/// A program that must be installed. Debian's docker is named by its path: another may come first in PATH.
#[track_caller]
pub fn require(program: &str) -> Command {
    let found = if program.contains('/') {
        Path::new(program).is_file()
    } else {
        let paths = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&paths)
            .chain(["/usr/sbin".into(), "/sbin".into()])
            .any(|folder| folder.join(program).is_file())
    };
    assert!(found, "{program} is not installed: run scripts/install-test-deps.sh");
    Command::new(program)
}

/// What a program printed.
#[derive(Debug)]
pub struct Printed {
    /// On stdout.
    pub stdout: Vec<u8>,
    /// On stdout, as text without the last line end.
    pub text: String,
    /// On stderr.
    pub stderr: String,
}

impl Printed {
    /// The JSON on stdout.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.stdout)
            .unwrap_or_else(|error| panic!("no JSON ({error}): {}", self.text))
    }
}

impl From<Output> for Printed {
    fn from(output: Output) -> Printed {
        Printed {
            text: String::from_utf8_lossy(&output.stdout).trim_end().to_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            stdout: output.stdout,
        }
    }
}

/// Runs a program and fails the test unless it succeeds.
#[track_caller]
pub fn run(command: &mut Command) -> Printed {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let status = output.status;
    let printed = Printed::from(output);
    assert!(status.success(), "{command:?}\nended with {status}\n{}\n{}", printed.text, printed.stderr);
    printed
}

/// Runs a program with that on its stdin, and fails the test unless it succeeds.
#[track_caller]
pub fn run_with_input(command: &mut Command, input: &[u8]) -> Printed {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(input).unwrap();
    file.rewind().unwrap();
    let output = command.stdin(file).output().unwrap();
    let status = output.status;
    let printed = Printed::from(output);
    assert!(status.success(), "{command:?}\nended with {status}\n{}\n{}", printed.text, printed.stderr);
    printed
}

/// Runs a program and fails the test if it succeeds; answers all that it said.
#[track_caller]
pub fn run_to_fail(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let success = output.status.success();
    let printed = Printed::from(output);
    assert!(!success, "{command:?}\nshould have failed\n{}\n{}", printed.text, printed.stderr);
    format!("{}\n{}", printed.text, printed.stderr)
}

/// Like [`run_to_fail`], where scripts may rely on the exit code.
#[track_caller]
pub fn run_to_fail_with(code: i32, command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let status = output.status;
    let printed = Printed::from(output);
    assert_eq!(status.code(), Some(code), "{command:?}\n{}\n{}", printed.text, printed.stderr);
    format!("{}\n{}", printed.text, printed.stderr)
}

/// skopeo, with any image trusted.
#[track_caller]
pub fn skopeo(arguments: &[&str]) -> Command {
    let mut command = require("skopeo");
    command.arg("--insecure-policy").args(arguments);
    command
}

/// podman or buildah with a store of its own in `folder`.
#[derive(Debug)]
pub struct Store<'a> {
    program: &'static str,
    folder: &'a Path,
}

impl<'a> Store<'a> {
    /// podman.
    pub const fn podman(folder: &'a Path) -> Store<'a> {
        Store { program: "podman", folder }
    }

    /// buildah.
    pub const fn buildah(folder: &'a Path) -> Store<'a> {
        Store { program: "buildah", folder }
    }

    /// A command of the program. The vfs driver works wherever files do.
    #[track_caller]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = require(self.program);
        let (root, run) = (self.folder.join("root"), self.folder.join("run"));
        command.args(["--root", path_text(&root), "--runroot", path_text(&run), "--storage-driver", "vfs"]);
        if self.program == "podman" {
            command.args(["--tmpdir", path_text(&self.folder.join("tmp")), "--cgroup-manager", "cgroupfs"]);
            command.args(["--events-backend", "file"]);
        }
        command.args(arguments);
        command
    }

    /// Runs a command of the program and fails the test unless it succeeds.
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> Printed {
        run(&mut self.command(arguments))
    }
}
