//! The real binary: serving on a free port with a data folder, or its commands run on that folder. Which of
//! the two is possible is in the types: a [`Server`] runs, a [`Stopped`] one can be looked into and started.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::client::Client;
use crate::process::{self, Process};

/// How long a server may take to listen. A debug build on a loaded machine needs a part of that.
const START_MAX: Duration = Duration::from_secs(30);
/// How long a server that was told to stop may take: it gives running requests 30 s by default.
const STOP_MAX: Duration = Duration::from_secs(45);

/// The supercargo binary: the one in the variable `SUPERCARGO_BIN`, else the one that was built beside the
/// tests.
pub fn binary() -> PathBuf {
    let path = match std::env::var_os("SUPERCARGO_BIN") {
        Some(path) => PathBuf::from(path),
        // target/<profile>/deps/<test> has the binary two folders up.
        None => std::env::current_exe().unwrap().parent().unwrap().parent().unwrap().join("supercargo"),
    };
    assert!(path.is_file(), "there is no {}; run scripts/test.sh, which builds it", path.display());
    path
}

/// What a server is started with.
#[derive(Debug, Clone)]
pub struct Settings {
    data: Arc<DataFolder>,
    elsewhere: Option<PathBuf>,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    /// A configuration file's text, which then says where it listens.
    config: Option<String>,
}

/// A data folder, and beside it what the server printed.
#[derive(Debug)]
struct DataFolder {
    root: TempDir,
}

impl DataFolder {
    fn data(&self) -> PathBuf {
        self.root.path().join("data")
    }

    fn log(&self) -> PathBuf {
        self.root.path().join("server.log")
    }

    fn config(&self) -> PathBuf {
        self.root.path().join("supercargo.toml")
    }
}

impl Settings {
    /// An empty data folder and the defaults, except that nothing is done on a schedule unless a test
    /// asks for it: tests that assert what is there must not race a worker.
    fn new() -> Settings {
        let root = tempfile::Builder::new().prefix("supercargo-test-").tempdir().unwrap();
        let settings = Settings {
            data: Arc::new(DataFolder { root }),
            elsewhere: None,
            arguments: Vec::new(),
            environment: Vec::new(),
            config: None,
        };
        settings
            .variable("SUPERCARGO_GC__SCHEDULE", "never")
            .variable("SUPERCARGO_PRUNE__SCHEDULE", "never")
            .variable("SUPERCARGO_SCRUB__SCHEDULE", "never")
    }

    /// Adds an argument of `serve`.
    #[must_use]
    pub fn argument(mut self, argument: &str) -> Settings {
        self.arguments.push(argument.to_owned());
        self
    }

    /// Sets an environment variable of the server, such as `SUPERCARGO_GC__LEASE`.
    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Settings {
        self.environment.retain(|(known, _)| known != name);
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Gives it a configuration file with this text. The file says where it listens; the first listener is http.
    #[must_use]
    pub fn config(mut self, text: &str) -> Settings {
        self.config = Some(text.to_owned());
        self
    }

    /// Starts the server and waits until it listens.
    #[track_caller]
    pub fn start(self) -> Server {
        let mut process = self.spawn();
        // A panic drops the process, which shows what it said.
        match listening(&mut process) {
            Some((address, more)) => Server { process, address, more, settings: self },
            None => panic!("the server does not listen"),
        }
    }

    /// Like [`Settings::start`], where an argument of its own puts the data folder at `data`.
    #[track_caller]
    pub fn start_in(mut self, data: &Path) -> Server {
        self.elsewhere = Some(data.to_owned());
        self.start()
    }

    fn data_folder(&self) -> PathBuf {
        self.elsewhere.clone().unwrap_or_else(|| self.data.data())
    }

    /// Starts the server, which is expected to end by itself before it listens, and says how it ended.
    #[track_caller]
    pub fn start_to_fail(self) -> (ExitStatus, Stopped) {
        let mut process = self.spawn();
        if let Some((address, _)) = listening(&mut process) {
            panic!("the server listens on {address} and should have ended");
        }
        let status = process.wait_for_end(STOP_MAX);
        (status, Stopped { settings: self })
    }

    fn spawn(&self) -> Process {
        let mut command = Command::new(binary());
        command.arg("serve").arg("--data").arg(self.data_folder());
        match &self.config {
            // The first listener is for the tests themselves, whatever the others are.
            None => command.args(["--listen", "http://127.0.0.1:0"]),
            Some(text) => {
                std::fs::write(self.data.config(), text).unwrap();
                command.arg("--config").arg(self.data.config())
            }
        };
        command.args(&self.arguments);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.current_dir(self.data.root.path());
        Process::start("supercargo serve", &command, &self.data.log(), Some(Stdio::piped()))
    }
}

/// Waits for the line that names the first listener. None where stdout ends, or the time does, without one.
fn listening(process: &mut Process) -> Option<(SocketAddr, mpsc::Receiver<SocketAddr>)> {
    let stdout = process.take_stdout()?;
    let (found, address) = mpsc::channel();
    // Goes on reading to the end, so that the server never blocks on a full pipe.
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            let url = line.strip_prefix("listening on ");
            if let Some((_, address)) = url.and_then(|url| url.split_once("://")) {
                let _ = found.send(address.parse().expect("an address in the listening line"));
            }
        }
    });
    let first = address.recv_timeout(START_MAX).ok()?;
    Some((first, address))
}

/// A running server. Dropping it kills it; the data folder goes with the last of what was made from it.
#[derive(Debug)]
pub struct Server {
    process: Process,
    address: SocketAddr,
    more: mpsc::Receiver<SocketAddr>,
    settings: Settings,
}

impl Server {
    /// Settings to start one with, on an empty data folder.
    pub fn settings() -> Settings {
        Settings::new()
    }

    /// A server with default settings on an empty data folder.
    #[track_caller]
    pub fn start() -> Server {
        Settings::new().start()
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where the listener after those that were asked for listens.
    #[track_caller]
    pub fn next_address(&self) -> SocketAddr {
        self.more.recv_timeout(START_MAX).expect("another listener")
    }

    /// A client for it.
    pub const fn client(&self) -> Client {
        Client::new(self.address)
    }

    /// What clients call an image in it: `127.0.0.1:PORT/<rest>`.
    pub fn reference(&self, rest: &str) -> String {
        format!("{}/{rest}", self.address)
    }

    /// The process, to be measured or signalled.
    pub const fn process(&self) -> &Process {
        &self.process
    }

    /// Its data folder.
    pub fn data(&self) -> PathBuf {
        self.settings.data_folder()
    }

    /// Runs a command of the binary against the running server; `arguments` begin with the command. The
    /// answer is the command's JSON.
    #[track_caller]
    pub fn cli(&self, arguments: &[&str]) -> Outcome {
        let url = format!("http://{}", self.address);
        run(&self.settings, arguments, &["--server", &url])
    }

    /// How many records the log holds.
    #[track_caller]
    pub fn log_size(&self) -> u64 {
        self.metric("supercargo_log_size")
    }

    /// The value of a metric without labels.
    #[track_caller]
    pub fn metric(&self, name: &str) -> u64 {
        let metrics = self.client().get("/metrics").unwrap().expect(200).text();
        let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        let value = value.unwrap_or_else(|| panic!("no metric {name} in:\n{metrics}"));
        value.parse().unwrap_or_else(|_| panic!("{name} is {value}"))
    }

    /// Tells it to stop (SIGTERM) and waits until it has, with success.
    #[track_caller]
    pub fn stop(self) -> Stopped {
        self.tell_to_stop();
        self.wait_for_stop()
    }

    /// Tells it to stop (SIGTERM). It goes on with what it has begun.
    pub fn tell_to_stop(&self) {
        self.process.signal(Signal::TERM);
    }

    /// Waits until it has stopped, with success, as it was told.
    #[track_caller]
    pub fn wait_for_stop(mut self) -> Stopped {
        let status = self.process.wait_for_end(STOP_MAX);
        assert!(status.success(), "the server ended with {status}");
        Stopped { settings: self.settings }
    }

    /// Kills it at once (SIGKILL).
    pub fn kill_hard(mut self) -> Stopped {
        self.process.kill();
        Stopped { settings: self.settings }
    }

    /// Waits until it has killed itself at the crash point it was started with.
    #[track_caller]
    pub fn wait_for_crash(mut self) -> Stopped {
        let status = self.process.wait_for_end(STOP_MAX);
        assert!(process::died_by(status, Signal::KILL), "the server ended with {status}");
        Stopped { settings: self.settings }
    }

    /// Stops it and starts it again on another port.
    #[track_caller]
    pub fn restart(self) -> Server {
        self.stop().start()
    }
}

/// A server that does not run, and its data folder.
#[derive(Debug)]
pub struct Stopped {
    settings: Settings,
}

impl Stopped {
    /// Starts it with the settings it had.
    #[track_caller]
    pub fn start(self) -> Server {
        self.settings.start()
    }

    /// The settings, to be changed before it is started again.
    pub fn into_settings(self) -> Settings {
        self.settings
    }

    /// Its data folder.
    pub fn data(&self) -> PathBuf {
        self.settings.data_folder()
    }

    /// What it said on stderr.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.settings.data.log()).unwrap_or_default()
    }

    /// Runs a command of the binary on the data folder; `arguments` begin with the command.
    #[track_caller]
    pub fn cli(&self, arguments: &[&str]) -> Outcome {
        let data = self.data();
        run(&self.settings, arguments, &["--data", path_text(&data)])
    }

    /// Fails the test unless everything is as the log says: tree, projections, and every byte of every blob.
    #[track_caller]
    pub fn verify(&self) {
        let outcome = self.cli(&["verify", "--deep"]);
        if !outcome.status.success() {
            process::show_end_of("supercargo serve", &self.log());
        }
        outcome.expect_success();
    }
}

/// What a command of the binary did.
#[derive(Debug)]
pub struct Outcome {
    /// How it ended.
    pub status: ExitStatus,
    /// What it printed.
    pub stdout: String,
    /// What it said besides.
    pub stderr: String,
}

impl Outcome {
    /// Fails the test unless the command succeeded; answers what it printed.
    #[track_caller]
    pub fn expect_success(self) -> Outcome {
        assert!(self.status.success(), "{self:#?}");
        self
    }

    /// The JSON it printed.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("no JSON ({error}): {self:#?}"))
    }

    /// The JSON it printed, one value per line.
    #[track_caller]
    pub fn json_lines(&self) -> Vec<serde_json::Value> {
        let parse = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {self:#?}"));
        self.stdout.lines().map(parse).collect()
    }
}

#[track_caller]
fn run(settings: &Settings, arguments: &[&str], place: &[&str]) -> Outcome {
    let mut command = Command::new(binary());
    command.args(arguments).args(place).arg("--json").stdin(Stdio::null());
    // A crash point is meant for the server.
    let environment = settings.environment.iter().filter(|(name, _)| name != "SUPERCARGO_CRASH_AT");
    command.envs(environment.map(|(name, value)| (name, value)));
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Outcome { status: output.status, stdout: text(&output.stdout), stderr: text(&output.stderr) }
}

/// How many files lie under `blobs/` of a data folder.
pub fn stored_files(data: &Path) -> usize {
    sizes_below(&data.join("blobs")).len()
}

/// The sizes of all files below a folder.
pub fn sizes_below(folder: &Path) -> Vec<u64> {
    let mut sizes = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        // What a server removes while it is looked at counts as gone.
        let Ok(entries) = std::fs::read_dir(folder) else { continue };
        for entry in entries {
            let entry = entry.unwrap();
            match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => folders.push(entry.path()),
                Ok(metadata) => sizes.push(metadata.len()),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => panic!("{}: {error}", entry.path().display()),
            }
        }
    }
    sizes
}

/// A path as an argument.
pub fn path_text(path: &Path) -> &str {
    path.to_str().expect("temporary folders have names in UTF-8")
}

/// Lines as one text, for messages about several findings.
pub fn lines<T: std::fmt::Display>(findings: &[T]) -> String {
    findings.iter().fold(String::new(), |mut text, finding| {
        let _ = writeln!(text, "{finding}");
        text
    })
}
