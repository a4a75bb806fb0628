//! The servers that are measured: each started with a data folder of its own on the measured disk, on a
//! loopback port of its own, and ended when dropped.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, StatusCode};

use crate::folder::Folder;
use crate::http::{Call, Connection};
use crate::process::{Process, free_port};
use crate::rounds::Side;
use crate::settings::Settings;
use crate::{Error, Result};

/// How long a server may take to give its first answer.
const START_PATIENCE: Duration = Duration::from_secs(60);
/// Between two tries to connect to a server that can't say when it listens.
const CONNECT_RETRY: Duration = Duration::from_millis(1);

/// A running server.
#[derive(Debug)]
pub struct Peer {
    // Declared before the folder, and so ended before that is given up.
    process: Process,
    address: SocketAddr,
    first_answer: Duration,
    _home: Folder,
}

impl Peer {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How long it took from its start to its first answer.
    pub fn first_answer(&self) -> Duration {
        self.first_answer
    }

    /// Its process: what it uses, not what it does.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Starts a side that is a server; `None` where its program is not there. `data` is a data
    /// folder to start on, for those that can be started twice on one.
    ///
    /// # Errors
    /// Where it can't be started, or does not answer.
    pub async fn start(side: Side, settings: &Settings, data: Option<&Path>) -> Result<Option<Peer>> {
        match side {
            Side::Supercargo => Peer::supercargo(settings, data, &[]).await,
            Side::Distribution => Peer::distribution(settings).await,
            // Serves what it is given: see `Peer::nginx`.
            Side::Nginx | Side::Floor => Ok(None),
        }
    }

    /// Starts Supercargo with more arguments; `None` where it is not there.
    ///
    /// # Errors
    /// Where it can't be started, or does not answer.
    pub async fn supercargo(
        settings: &Settings,
        data: Option<&Path>,
        more: &[&OsStr],
    ) -> Result<Option<Peer>> {
        // Whoever has accounts does not answer at `/v2/` for nothing.
        let first = if more.is_empty() { "/v2/" } else { "/healthz" };
        Peer::supercargo_at(settings, data, more, first).await
    }

    /// Starts Supercargo with more arguments, and waits until it answers 200 at a path; `None` where it is not there.
    ///
    /// # Errors
    /// Where it can't be started, or does not answer.
    pub async fn supercargo_at(
        settings: &Settings,
        data: Option<&Path>,
        more: &[&OsStr],
        first: &str,
    ) -> Result<Option<Peer>> {
        let Some(program) = find(&settings.programs.supercargo) else { return Ok(None) };
        let home = Folder::new(settings, "peer-")?;
        let data = data.map_or_else(|| home.path().join("data"), Path::to_owned);
        let mut command = Command::new(program);
        command.arg("serve").arg("--data").arg(data).args(["--listen", "127.0.0.1:0"]).args(more);
        let started = Instant::now();
        let mut process = Process::start(&mut command, &home.path().join("log"))?;
        let line = process.line()?;
        let address = line
            .split_once("http://")
            .and_then(|(_, address)| address.trim_end_matches('/').parse().ok())
            .ok_or_else(|| {
                Error::program("supercargo", format!("said {line:?}, and not where it listens"))
            })?;
        Peer::answering(process, address, first, started, home).await.map(Some)
    }

    /// As its package configures it: file system driver, descriptors cached in memory, deletes allowed. Logs
    /// are off. Its driver syncs each file before it answers (`fileWriter.Commit`), though not the folder.
    async fn distribution(settings: &Settings) -> Result<Option<Peer>> {
        let Some(program) = find(&settings.programs.distribution) else { return Ok(None) };
        let home = Folder::new(settings, "peer-")?;
        let port = free_port()?;
        let config = home.path().join("config.yml");
        let root = home.path().join("data");
        let text = format!(
            "version: 0.1\n\
             log: {{ level: error, accesslog: {{ disabled: true }} }}\n\
             storage:\n  \
               filesystem: {{ rootdirectory: {root:?}, maxthreads: 100 }}\n  \
               cache: {{ blobdescriptor: inmemory }}\n  \
               delete: {{ enabled: true }}\n\
             http: {{ addr: \"127.0.0.1:{port}\" }}\n"
        );
        std::fs::write(&config, text).map_err(Error::file(&config))?;
        let started = Instant::now();
        let mut command = Command::new(program);
        let process = Process::start(command.arg("serve").arg(&config), &home.path().join("log"))?;
        Peer::answering(process, ([127, 0, 0, 1], port).into(), "/v2/", started, home).await.map(Some)
    }

    /// nginx with `sendfile`, serving these bodies under these paths as a registry serves manifests and
    /// blobs; `None` where nginx is not there. Its defaults otherwise, without an access log, and with
    /// connections that are never closed for their number of requests.
    ///
    /// # Errors
    /// Where it can't be started, or does not answer.
    pub async fn nginx(settings: &Settings, files: &[(&str, &str, &[Bytes])]) -> Result<Option<Peer>> {
        let Some(program) = find(&settings.programs.nginx) else { return Ok(None) };
        let home = Folder::new(settings, "peer-")?;
        let port = free_port()?;
        let root = home.path().join("root");
        let mut locations = String::new();
        for (path, media_type, parts) in files {
            let file = root.join(path.trim_start_matches('/'));
            if let Some(folder) = file.parent() {
                std::fs::create_dir_all(folder).map_err(Error::file(folder))?;
            }
            write_parts(&file, parts)?;
            // Writing to a String does not fail.
            let _ = writeln!(locations, "location = {path} {{ types {{ }} default_type {media_type}; }}");
        }
        let config = home.path().join("nginx.conf");
        let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
        let own = |name: &str| home.path().join(name).display().to_string();
        let text = format!(
            "{user} daemon off; worker_processes auto; pid {pid}; error_log stderr error;\n\
             events {{ worker_connections 1024; }}\n\
             http {{\n  \
               access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000000;\n  \
               client_body_temp_path {body}; proxy_temp_path {proxy}; fastcgi_temp_path {fastcgi};\n  \
               uwsgi_temp_path {uwsgi}; scgi_temp_path {scgi};\n  \
               server {{ listen 127.0.0.1:{port}; root {root};\n{locations} }}\n\
             }}\n",
            pid = own("pid"),
            body = own("body"),
            proxy = own("proxy"),
            fastcgi = own("fastcgi"),
            uwsgi = own("uwsgi"),
            scgi = own("scgi"),
            root = root.display(),
        );
        std::fs::write(&config, text).map_err(Error::file(&config))?;
        let started = Instant::now();
        let mut command = Command::new(program);
        // Before it has read its configuration it would write to the system's log.
        command.args(["-e", "stderr", "-c"]).arg(&config);
        let process = Process::start(&mut command, &home.path().join("log"))?;
        let first = files.first().map_or("/", |(path, ..)| path);
        Peer::answering(process, ([127, 0, 0, 1], port).into(), first, started, home).await.map(Some)
    }

    /// Waits for the first answer.
    async fn answering(
        mut process: Process,
        address: SocketAddr,
        path: &str,
        started: Instant,
        home: Folder,
    ) -> Result<Peer> {
        loop {
            let answer = match Connection::open(address).await {
                Ok(mut connection) => connection.send(Call::new(Method::HEAD, path), StatusCode::OK).await,
                Err(error) => Err(error),
            };
            match answer {
                Ok(_) => return Ok(Peer { process, address, first_answer: started.elapsed(), _home: home }),
                Err(Error::Connection { .. })
                    if started.elapsed() < START_PATIENCE && !process.has_ended() =>
                {
                    // The program does not say when it listens, so there is nothing to wait for.
                    tokio::time::sleep(CONNECT_RETRY).await;
                }
                Err(error) => {
                    let log = std::fs::read_to_string(home.path().join("log")).unwrap_or_default();
                    return Err(Error::program("a server", format!("{error}; its log: {}", log.trim())));
                }
            }
        }
    }
}

/// The servers of a scenario.
#[derive(Debug, Default)]
pub struct Peers(BTreeMap<Side, Peer>);

impl Peers {
    /// Starts Supercargo and distribution, each on an empty folder.
    ///
    /// # Errors
    /// As [`Peer::start`].
    pub async fn registries(settings: &Settings) -> Result<Peers> {
        let mut peers = Peers::default();
        for side in [Side::Supercargo, Side::Distribution] {
            peers.add(side, Peer::start(side, settings, None).await?);
        }
        Ok(peers)
    }

    /// Adds a server, if it is there.
    pub fn add(&mut self, side: Side, peer: Option<Peer>) {
        if let Some(peer) = peer {
            self.0.insert(side, peer);
        }
    }

    /// The sides that are there.
    pub fn sides(&self) -> Vec<Side> {
        self.0.keys().copied().collect()
    }

    /// The server of a side.
    ///
    /// # Errors
    /// Where it is not there.
    pub fn get(&self, side: Side) -> Result<&Peer> {
        self.0.get(&side).ok_or_else(|| Error::program(&side.to_string(), "is no running server"))
    }

    /// The servers.
    pub fn iter(&self) -> impl Iterator<Item = (Side, &Peer)> {
        self.0.iter().map(|(side, peer)| (*side, peer))
    }
}

fn write_parts(file: &Path, parts: &[Bytes]) -> Result<()> {
    use std::io::Write as _;
    let write = || {
        let mut out = std::fs::File::create(file)?;
        parts.iter().try_for_each(|part| out.write_all(part))
    };
    write().map_err(Error::file(file))
}

/// Where a program is: itself where it is a path, else looked for in `PATH` and where Debian keeps servers.
pub fn find(program: &Path) -> Option<PathBuf> {
    if program.components().count() > 1 {
        return program.exists().then(|| program.to_owned());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin")])
        .map(|folder| folder.join(program))
        .find(|candidate| candidate.is_file())
}
