//! Child processes: starting, looking at, and ending them. Knows nothing of what they serve.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

use crate::{Error, Result};

/// How long a server may take to end before it is killed.
const END_PATIENCE_SECONDS: i64 = 15;

/// A running program, ended when dropped.
#[derive(Debug)]
pub struct Process {
    program: String,
    child: Child,
    /// Kept open, so that what the program prints later does not fail.
    stdout: Option<BufReader<ChildStdout>>,
}

impl Process {
    /// Starts a program; its stderr goes to `log`.
    ///
    /// # Errors
    /// [`Error::Program`] where it is not there, [`Error::File`] where `log` can't be written.
    pub fn start(command: &mut Command, log: &Path) -> Result<Process> {
        let program = command.get_program().to_string_lossy().into_owned();
        let stderr = File::create(log).map_err(Error::file(log))?;
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .map_err(|e| Error::program(&program, e))?;
        let stdout = child.stdout.take().map(BufReader::new);
        Ok(Process { program, child, stdout })
    }

    /// The next line that the program prints, without its end. Blocks until there is one.
    ///
    /// # Errors
    /// [`Error::Program`] where the program ends instead.
    pub fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        let read = self.stdout.as_mut().map_or(Ok(0), |stdout| stdout.read_line(&mut line));
        match read {
            Ok(1..) => Ok(line.trim_end().to_owned()),
            Ok(0) => Err(Error::program(&self.program, "ended without a word")),
            Err(e) => Err(Error::program(&self.program, e)),
        }
    }

    /// Whether the program has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// The process's id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Memory that is resident now, in bytes.
    ///
    /// # Errors
    /// Where the system does not say.
    pub fn resident_bytes(&self) -> Result<u64> {
        self.status_bytes("VmRSS:")
    }

    /// The most memory that was ever resident, in bytes.
    ///
    /// # Errors
    /// Where the system does not say.
    pub fn peak_resident_bytes(&self) -> Result<u64> {
        self.status_bytes("VmHWM:")
    }

    fn status_bytes(&self, field: &str) -> Result<u64> {
        let text = self.proc("status")?;
        let kib = text
            .lines()
            .find_map(|line| line.strip_prefix(field)?.split_whitespace().next()?.parse::<u64>().ok());
        kib.map(|kib| kib * 1024)
            .ok_or_else(|| Error::program(&self.program, format!("no {field} in its status")))
    }

    /// Processor time used so far, in user and system mode together.
    ///
    /// # Errors
    /// Where the system does not say.
    pub fn processor_time(&self) -> Result<Duration> {
        let text = self.proc("stat")?;
        // The program's name is in parentheses and may hold spaces; utime and stime are the 12th and 13th
        // fields after it (proc(5)).
        let after_name = text.rsplit_once(')').map_or("", |(_, rest)| rest);
        let ticks: u64 = after_name
            .split_whitespace()
            .skip(11)
            .take(2)
            .filter_map(|field| field.parse::<u64>().ok())
            .sum();
        Ok(Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64))
    }

    fn proc(&self, file: &str) -> Result<String> {
        let path = format!("/proc/{}/{file}", self.child.id());
        std::fs::read_to_string(&path).map_err(Error::file(Path::new(&path)))
    }

    /// Asks the process to end and waits until it has, or until patience is at its end.
    fn end(&mut self) -> rustix::io::Result<()> {
        let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) else { return Ok(()) };
        let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
        kill_process(pid, Signal::TERM)?;
        let patience = Timespec { tv_sec: END_PATIENCE_SECONDS, tv_nsec: 0 };
        rustix::event::poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&patience))?;
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.has_ended() {
            return;
        }
        // Whatever went wrong with asking, killing ends it; a process that has ended minds neither.
        let _ = self.end();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port of the loopback address that was free a moment ago, for programs that can't say which one they
/// took.
///
/// # Errors
/// Where the system has none.
pub fn free_port() -> Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(|e| Error::program("bind", e))?;
    Ok(listener.local_addr().map_err(|e| Error::program("bind", e))?.port())
}

/// Runs a program to its end; answers with what it printed on stdout and stderr.
///
/// # Errors
/// [`Error::Program`] where it is not there or fails.
pub fn run(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().map_err(|e| Error::program(&program, e))?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    if output.status.success() { Ok(text) } else { Err(Error::program(&program, text.trim())) }
}
