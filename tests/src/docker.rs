//! Debian's Docker: a daemon of our own with its own folders, and its client. The machine's daemon, if there
//! is one, is left alone.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::files::{Files, read_tar, write_tar};
use crate::process::Process;
use crate::program::{Printed, require, run, run_with_input};
use crate::server::path_text;

/// The client of the same release as the daemon. Another client may come first in PATH.
const CLIENT: &str = "/usr/bin/docker";
/// How long the daemon may take to answer.
const START_MAX: Duration = Duration::from_secs(60);
/// How long it may take to stop.
const STOP_MAX: Duration = Duration::from_secs(30);

/// What a daemon of [`Docker::start_trusting`] calls `::1`.
pub const TRUSTING_HOST: &str = "registry.test";

/// A Docker daemon with an empty store.
#[derive(Debug)]
pub struct Docker {
    daemon: Process,
    // Dropped, and with it removed, after the daemon is gone.
    folder: TempDir,
}

impl Docker {
    /// Starts a daemon and waits until it answers.
    #[track_caller]
    pub fn start() -> Docker {
        Docker::start_with(require("dockerd"))
    }

    /// Like [`Docker::start`], for a daemon that knows a host by [`TRUSTING_HOST`], at `::1`, and trusts the
    /// authority in that file for it at these ports; none where there is no file. It always asks 127.0.0.1 for
    /// less.
    #[track_caller]
    pub fn start_trusting(ports: &[u16], authority: Option<&Path>) -> Docker {
        let hosts = format!("127.0.0.1 localhost\n::1 {TRUSTING_HOST}\n");
        let trusting = ports.iter().map(|port| format!("{TRUSTING_HOST}:{port}")).collect::<Vec<_>>();
        Docker::start_seeing(&hosts, &trusting, authority)
    }

    /// Like [`Docker::start`], for a daemon that knows hosts by these names at 127.0.0.1.
    #[track_caller]
    pub fn start_knowing(names: &[&str]) -> Docker {
        Docker::start_seeing(&format!("127.0.0.1 localhost {}\n", names.join(" ")), &[], None)
    }

    /// A daemon that sees these hosts, and trusts the authority in that file for those.
    #[track_caller]
    fn start_seeing(hosts: &str, trusting: &[String], authority: Option<&Path>) -> Docker {
        // The daemon's places for this are fixed: it gets others in their stead, which nobody else sees.
        let script = r#"
            set -eu
            mkdir -p /etc/docker
            mount -t tmpfs none /etc/docker
            for host in $2; do
                if [ -n "$3" ]; then install -D -m 644 "$3" "/etc/docker/certs.d/$host/ca.crt"; fi
            done
            printf '%s' "$1" >/etc/docker/hosts
            mount --bind /etc/docker/hosts /etc/hosts
            shift 3
            exec "$@""#;
        let mut command = require("unshare");
        command.args(["--mount", "sh", "-c", script, "sh", hosts, &trusting.join(" ")]);
        command.arg(authority.map_or("", path_text)).arg(require("dockerd").get_program());
        Docker::start_with(command)
    }

    #[track_caller]
    fn start_with(mut command: Command) -> Docker {
        let folder = tempfile::Builder::new().prefix("supercargo-docker-").tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for (option, path) in
            [("--data-root", at("data")), ("--exec-root", at("exec")), ("--pidfile", at("pid"))]
        {
            command.arg(option).arg(path);
        }
        command.args(["--host", &format!("unix://{}", path_text(&at("socket")))]);
        command.args(["--iptables=false", "--ip6tables=false", "--bridge=none", "--ip-forward=false"]);
        let daemon = Process::start("dockerd", &command, &at("log"), None);
        let mut docker = Docker { daemon, folder };
        docker.wait_until_it_answers();
        docker
    }

    #[track_caller]
    fn wait_until_it_answers(&mut self) {
        // The daemon tells nobody when it is ready (no service manager listens): its socket is asked.
        let deadline = Instant::now() + START_MAX;
        while UnixStream::connect(self.socket()).is_err()
            || !self.command(&["version"]).output().unwrap().status.success()
        {
            let ended = self.daemon.wait(Duration::from_millis(50));
            assert!(ended.is_none() && Instant::now() < deadline, "dockerd does not start");
        }
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    /// A command of the client.
    #[track_caller]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = require(CLIENT);
        command.arg("--host").arg(format!("unix://{}", path_text(&self.socket()))).args(arguments);
        command.env("DOCKER_BUILDKIT", "0").env("DOCKER_CONFIG", self.folder.path().join("config"));
        command.stdin(Stdio::null());
        command
    }

    /// Runs a command of the client and fails the test unless it succeeds.
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> Printed {
        run(&mut self.command(arguments))
    }

    /// Makes an image of one layer.
    #[track_caller]
    pub fn import(&self, files: &Files, image: &str) {
        self.run_with_input(&["import", "-", image], &write_tar(files));
    }

    /// Makes an image with a layer for each of these on top of `base`.
    #[track_caller]
    pub fn build(&self, base: &str, layers: &[Files], image: &str) {
        let mut context = Files::new();
        let mut recipe = format!("FROM {base}\n");
        for (number, layer) in layers.iter().enumerate() {
            recipe.push_str(&format!("ADD layer-{number}.tar /\n"));
            context.insert(format!("layer-{number}.tar"), write_tar(layer));
        }
        context.insert("Dockerfile".to_owned(), recipe.into_bytes());
        self.run_with_input(&["build", "--tag", image, "-"], &write_tar(&context));
    }

    /// Logs in, with the password on stdin.
    #[track_caller]
    pub fn log_in(&self, registry: &str, user: &str, password: &str) {
        self.run_with_input(
            &["login", "--username", user, "--password-stdin", registry],
            password.as_bytes(),
        );
    }

    #[track_caller]
    fn run_with_input(&self, arguments: &[&str], input: &[u8]) {
        run_with_input(&mut self.command(arguments), input);
    }

    /// Pushes an image; answers the digest that docker reports.
    #[track_caller]
    pub fn push(&self, image: &str) -> Pushed {
        let text = self.run(&["push", image]).text;
        let digest = text.split_whitespace().skip_while(|word| *word != "digest:").nth(1);
        Pushed {
            digest: digest.unwrap_or_else(|| panic!("no digest in\n{text}")).to_owned(),
            text: text.clone(),
        }
    }

    /// The digest by which the daemon knows an image that it pulled or pushed.
    #[track_caller]
    pub fn repository_digest(&self, image: &str) -> String {
        let text = self.run(&["image", "inspect", "--format", "{{index .RepoDigests 0}}", image]).text;
        text.split_once('@').unwrap_or_else(|| panic!("no digest in {text}")).1.to_owned()
    }

    /// The files of an image, as a container of it would see them.
    #[track_caller]
    pub fn files(&self, image: &str) -> Files {
        let container = self.run(&["create", image, "/nothing"]).text;
        let archive = self.run(&["export", &container]);
        self.run(&["rm", &container]);
        read_tar(archive.stdout.as_slice())
    }

    /// Whether docker puts that path into every container.
    pub fn adds(path: &str) -> bool {
        let places = ["dev/", "proc/", "sys/"];
        let files = [".dockerenv", "etc/hostname", "etc/hosts", "etc/resolv.conf", "etc/mtab"];
        files.contains(&path) || places.iter().any(|place| path.starts_with(place))
    }

    /// The folder that everything of this daemon is in.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        // Given the chance it unmounts what it mounted, so that its folder can be removed.
        self.daemon.signal(rustix::process::Signal::TERM);
        if self.daemon.wait(STOP_MAX).is_none() {
            self.daemon.kill();
        }
    }
}

/// What a push did.
#[derive(Debug)]
pub struct Pushed {
    /// The manifest's digest.
    pub digest: String,
    /// All that docker said.
    pub text: String,
}
