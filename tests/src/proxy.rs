//! Reverse proxies: nginx and Apache httpd, each run in the foreground with a configuration of its sites, and with
//! nothing of this machine's own.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::http::connect;
use crate::process::Process;
use crate::program::{Printed, require, run};
use crate::server::path_text;
use crate::wait_until;

/// Where Debian keeps Apache's modules.
const MODULES: &str = "/usr/lib/apache2/modules";

/// A program that is a reverse proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// nginx.
    Nginx,
    /// Apache httpd.
    Apache,
}

impl Program {
    /// Both.
    pub const ALL: [Program; 2] = [Program::Nginx, Program::Apache];

    /// As people write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Program::Nginx => "nginx",
            Program::Apache => "apache",
        }
    }

    /// Has the program read a configuration of sites, and fails the test where it finds something wrong.
    #[track_caller]
    pub fn check(self, folder: &Path, sites: &str) -> Printed {
        let mut command = self.command(folder, sites);
        run(command.arg("-t"))
    }

    /// Starts the program in an empty folder, and waits until it listens on these ports of 127.0.0.1.
    #[track_caller]
    pub fn start(self, folder: &Path, sites: &str, ports: &[u16]) -> Proxy {
        let mut program = self.command(folder, sites);
        if self == Program::Apache {
            program.arg("-DFOREGROUND");
        }
        // Workers outlive a master that is killed, unless they are in a namespace that ends with it.
        let mut command = require("unshare");
        command.args(["--pid", "--fork", "--kill-child", "--"]).arg(program.get_program());
        command.args(program.get_args());
        let mut process = Process::start(self.as_str(), &command, &folder.join("log"), None);
        wait_until("the proxy listens", || {
            assert!(process.wait(Duration::ZERO).is_none(), "{} ended", self.as_str());
            ports.iter().all(|port| connect(([127, 0, 0, 1], *port).into()).is_ok())
        });
        Proxy { process }
    }

    fn command(self, folder: &Path, sites: &str) -> Command {
        let file = folder.join("main.conf");
        std::fs::write(folder.join("sites.conf"), sites).unwrap();
        let folder = path_text(folder);
        let (main, command) = match self {
            Program::Nginx => {
                let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
                    .iter()
                    .map(|kind| format!("{kind}_temp_path {folder}/{kind};\n"))
                    .collect();
                let main = format!(
                    "daemon off; user root; pid {folder}/pid; error_log stderr warn;
                    events {{}}
                    http {{ access_log off; {temporary} include {folder}/sites.conf; }}"
                );
                let mut command = require("nginx");
                // Before it has read its configuration it would write to the system's log.
                command.args(["-e", "stderr", "-c", path_text(&file)]);
                (main, command)
            }
            Program::Apache => {
                let modules = [
                    "mpm_event",
                    "authz_core",
                    "env",
                    "headers",
                    "http2",
                    "proxy",
                    "proxy_http",
                    "reqtimeout",
                    "rewrite",
                    "socache_shmcb",
                    "ssl",
                ];
                let modules: String = modules
                    .iter()
                    .map(|name| format!("LoadModule {name}_module {MODULES}/mod_{name}.so\n"))
                    .collect();
                let main = format!(
                    "ServerRoot {folder}\nServerName localhost\nPidFile {folder}/pid\nMutex file:{folder}\n\
                     DefaultRuntimeDir {folder}\nErrorLog /dev/stderr\nLogLevel warn\nUser www-data\nGroup www-data\n\
                     StartServers 1\nServerLimit 1\nThreadsPerChild 64\nMaxRequestWorkers 64\n\
                     {modules}Include {folder}/sites.conf\n"
                );
                let mut command = require("apache2");
                command.args(["-f", path_text(&file)]);
                (main, command)
            }
        };
        std::fs::write(&file, main).unwrap();
        command
    }
}

/// A running proxy. It ends, with its workers, when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    process: Process,
}

impl Proxy {
    /// A number in a file of /proc/PID, such as `status`, added up over the proxy and its workers: of the line that
    /// begins with `name`.
    pub fn total(&self, file: &str, name: &str) -> u64 {
        let number = |id: &u32| -> u64 {
            let text = std::fs::read_to_string(format!("/proc/{id}/{file}")).unwrap();
            let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap();
            value.split_whitespace().next().unwrap().parse().unwrap()
        };
        descendants(self.process.id()).iter().map(number).sum()
    }

    /// What it has written to its log so far.
    pub fn output(&self) -> String {
        self.process.output()
    }
}

/// The processes below one.
fn descendants(id: u32) -> Vec<u32> {
    let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
    let children = children.split_whitespace().map(|id| id.parse().unwrap());
    children.flat_map(|child| [vec![child], descendants(child)].concat()).collect()
}
