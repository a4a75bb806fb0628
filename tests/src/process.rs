//! A program that runs beside the test: started with its output in a file, awaited with a deadline, and never
//! left behind. What the output means is its owner's business.

use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags, Resource, Rlimit, Signal};

/// How much of a program's output a failed test shows.
const SHOWN_LINES_MAX: usize = 80;

/// A running program. Dropping it kills it; dropping it in a failing test also shows the end of its output.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a program whose stderr (and stdout, unless `stdout` says otherwise) goes to the file `log`,
    /// behind what that holds already. It dies with the thread that started it, however that ends: a test
    /// runner that kills a hanging test leaves no servers behind.
    pub fn start(name: &str, command: &Command, log: &Path, stdout: Option<Stdio>) -> Process {
        let output = File::options()
            .create(true)
            .append(true)
            .open(log)
            .unwrap_or_else(|error| panic!("can't write {}: {error}", log.display()));
        let mut bound = Command::new("setpriv");
        bound.args(["--pdeathsig", "KILL", "--"]).arg(command.get_program()).args(command.get_args());
        for (key, value) in command.get_envs() {
            match value {
                Some(value) => bound.env(key, value),
                None => bound.env_remove(key),
            };
        }
        if let Some(folder) = command.get_current_dir() {
            bound.current_dir(folder);
        }
        let stdout = stdout.unwrap_or_else(|| output.try_clone().unwrap().into());
        bound.stdin(Stdio::null()).stdout(stdout).stderr(output);
        let child = bound.spawn().unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        Process { name: name.to_owned(), child, log: log.to_owned() }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its stdout, where it was piped; the first time alone.
    pub fn take_stdout(&mut self) -> Option<std::process::ChildStdout> {
        self.child.stdout.take()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        // The child has not been waited for, so the id still names it, be it as a zombie.
        rustix::process::kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits until it has ended. None where it still runs after `limit`.
    pub fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + limit;
        let pidfd = rustix::process::pidfd_open(Pid::from_child(&self.child), PidfdFlags::empty()).unwrap();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return Some(status);
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            let timeout = Timespec::try_from(left).unwrap();
            match rustix::event::poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&timeout)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => panic!("waiting for {}: {error}", self.name),
            }
        }
    }

    /// Waits for a process that has been told to end, and says how it did.
    #[track_caller]
    pub fn wait_for_end(&mut self, limit: Duration) -> ExitStatus {
        self.wait(limit).unwrap_or_else(|| panic!("{} still runs after {limit:?}", self.name))
    }

    /// Kills it at once (SIGKILL), unless it has ended already.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// A line of /proc/PID/status in bytes, such as `VmHWM` (the largest resident set there was) or `VmRSS`.
    pub fn memory_bytes(&self, line: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let value = status.lines().find_map(|text| text.strip_prefix(line)?.strip_prefix(':'));
        let kib =
            value.and_then(|text| text.trim().strip_suffix(" kB")).unwrap_or_else(|| panic!("no {line}"));
        kib.parse::<u64>().unwrap() * 1024
    }

    /// What it has written so far.
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            show_end_of(&self.name, &self.output());
        }
    }
}

/// Prints the last lines of a program's output.
pub fn show_end_of(name: &str, output: &str) {
    let lines: Vec<&str> = output.lines().collect();
    let skipped = lines.len().saturating_sub(SHOWN_LINES_MAX);
    eprintln!("---- {name}: {skipped} lines, then");
    for line in &lines[skipped..] {
        eprintln!("{line}");
    }
    eprintln!("---- end of {name}");
}

/// Whether a process ended by that signal.
pub fn died_by(status: ExitStatus, signal: Signal) -> bool {
    status.signal() == Some(signal.as_raw())
}

/// Lets this process, and what it starts from now on, have as many files open as the system allows.
pub fn raise_open_files_limit() -> u64 {
    let maximum = rustix::process::getrlimit(Resource::Nofile).maximum;
    rustix::process::setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
    maximum.unwrap_or(u64::MAX)
}
