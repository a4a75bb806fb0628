//! `supercargo serve`: opens the data folder, listens, works, and ends in good order.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use supercargo_access::Authority;
use supercargo_access::oidc::Provider;
use supercargo_model::RepoKey;
use supercargo_registry::Registry;
use supercargo_workers::Workers;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::Common;
use crate::config::listen::{Listen, Speaks};
use crate::config::tls::Source;
use crate::config::{Config, LogFormat, Overrides, Spoken, load};
use crate::failure::Failure;
use crate::http::{App, Door, Listener, Server, Surfaces, bind, with_cors};
use crate::metrics::Metrics;
use crate::tls::{Certificates, Trust};
use crate::{accounts, output, reached, telemetry};

/// Threads that may block at a time: for reads and writes of blobs, and their fsyncs.
const BLOCKING_THREADS_MAX: usize = 64;

/// Serves a data folder.
///
/// Prints `listening on http://ADDRESS:PORT` (or https://) for each listener once it takes connections.
/// SIGTERM and SIGINT end it when running requests have finished, at most http.shutdown_timeout later; a
/// second one ends it at once.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  supercargo serve --data ./data\n  \
    supercargo serve --data ./data --listen 127.0.0.1:5000 --listen 127.0.0.1:5001=team-a\n  \
    supercargo serve --data ./data --listen 127.0.0.1:5443 --self-signed")]
pub(crate) struct Args {
    /// The data folder; made where there is none [default: ./data].
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,

    /// Where to listen, and behind =, which repository is at the root there; port 0 takes a free one. May be
    /// given more than once, and with http:// or https:// before it. Without, it is https where there is a
    /// certificate [default: 127.0.0.1:5000].
    #[arg(long, value_name = "ADDRESS:PORT[=REPOSITORY]")]
    listen: Vec<String>,

    /// Makes an authority and a certificate in the data folder, and says how clients come to trust them.
    #[arg(long)]
    self_signed: bool,

    /// A host name or address that clients will use, for the certificate that is made. May be given more than
    /// once; localhost, 127.0.0.1, ::1 and the name of this machine need not.
    #[arg(long, value_name = "NAME")]
    san: Vec<String>,

    /// Gives access to users alone, by their permissions; makes the administrator `admin` at the first start.
    #[arg(long)]
    accounts: bool,

    /// A file whose first line is the first administrator's password. Without it one is made up and printed once.
    #[arg(long, value_name = "FILE")]
    admin_password_file: Option<PathBuf>,

    /// Lets everybody who can reach a listener push and delete, also from other machines.
    #[arg(long)]
    allow_anonymous: bool,

    /// How the server's log is written [default: auto].
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<LogFormat>,

    /// What is logged: a level, or directives such as info,supercargo=debug [default: info].
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
}

/// # Errors
/// [`Failure`], as its variants say.
pub(crate) fn run(args: &Args, common: &Common) -> Result<(), Failure> {
    let overrides = Overrides {
        data: args.data.clone(),
        listen: args.listen.clone(),
        allow_anonymous: args.allow_anonymous,
        accounts: args.accounts,
        self_signed: args.self_signed,
        san: args.san.clone(),
        log_format: args.log_format,
        log_level: args.log_level.clone(),
    };
    let config = load(common.config.as_deref(), &overrides)?.config;
    telemetry::start(&config.log);
    let open_files = crate::http::raise_open_files_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .build()
        .map_err(Failure::failed)?;
    let served =
        runtime.block_on(serve(&config, args.admin_password_file.as_deref(), open_files, common.json));
    // What is left by now did not end in its time; waiting for it again would double that time.
    runtime.shutdown_background();
    served
}

async fn serve(
    config: &Config,
    admin_password: Option<&Path>,
    open_files: u64,
    json: bool,
) -> Result<(), Failure> {
    let mut signals = Signals::new()?;
    // Before anything is written: an address that is taken, or a certificate that is none, must leave no data
    // folder behind.
    let providers = accounts::providers(&config.identity_providers)?;
    let mut bound = Vec::new();
    for listen in &config.listen {
        let spoken = config.spoken(listen).map_err(|(key, why)| Failure::Usage(format!("{key}: {why}")))?;
        if let Spoken::Https(https) = &spoken {
            Certificates::check(https).map_err(Failure::failed)?;
        }
        let listener = bind(listen.address)
            .map_err(|e| Failure::Failed(format!("can't listen on {}: {e}", listen.address)))?;
        bound.push(Bound { listen, spoken, listener });
    }
    let registry = Registry::open(config.options())?;
    let access = Access { admin_password, providers };
    let served = with_registry(config, &registry, access, bound, open_files, json, &mut signals).await;
    let closing = Arc::clone(&registry);
    // The thread can only panic, and then there is nothing left to close.
    let _ = tokio::task::spawn_blocking(move || closing.close()).await;
    tracing::info!("stopped");
    served
}

/// What access control starts with, where there is any.
struct Access<'a> {
    /// A file with the first administrator's password.
    admin_password: Option<&'a Path>,
    providers: Vec<Provider>,
}

/// A listener that has its address.
struct Bound<'a> {
    listen: &'a Listen,
    spoken: Spoken<'a>,
    listener: TcpListener,
}

async fn with_registry(
    config: &Config,
    registry: &Arc<Registry>,
    access: Access<'_>,
    bound: Vec<Bound<'_>>,
    open_files: u64,
    json: bool,
    signals: &mut Signals,
) -> Result<(), Failure> {
    registry.ensure_first_repository().await.map_err(Failure::failed)?;
    let workers = Workers::start(registry, &config.workers()).await.map_err(Failure::failed)?;
    let metrics = Arc::new(Metrics::new(registry, workers.states()));
    let authority = match config.accounts {
        true => Some(with_accounts(config, registry, access, json).await?),
        false => None,
    };
    let body_timeout = config.http.body_timeout;
    let v2 = supercargo_docker_v2::Settings { authority: authority.clone(), body_timeout };
    let data = config.data.clone();
    let sessions = tokio::task::spawn_blocking(move || accounts::sessions(&data));
    let sessions = sessions.await.map_err(Failure::failed)??;
    let v1 = supercargo_docker_v1::Settings { authority: authority.clone(), sessions, body_timeout };
    let addresses = bound.iter().map(|bound| bound.listener.local_addr());
    let addresses = addresses.collect::<Result<Vec<_>, _>>().map_err(Failure::failed)?;
    let artifactory = supercargo_artifactory::Settings {
        authority: authority.clone(),
        body_timeout,
        context: config.artifactory.context.as_str().to_owned(),
        reached: reached::reached(config, &addresses),
    };
    let mut listeners = Vec::new();
    let certificates = Certificates::prepare(&config.data, &config.tls).map_err(Failure::failed)?;
    let mut self_signed = Vec::new();
    let protocol = supercargo_docker_v2::router(Arc::clone(registry), v2);
    let router = with_cors(protocol, &config.http.cors_origins)
        .merge(supercargo_docker_v1::router(Arc::clone(registry), v1))
        .merge(supercargo_artifactory::router(Arc::clone(registry), artifactory))
        .merge(supercargo_admin::router(Arc::clone(registry), authority));
    warn_of_missing(config, registry);
    for Bound { listen, spoken, listener } in bound {
        let address = listener.local_addr().map_err(Failure::failed)?;
        let surfaces = match spoken {
            Spoken::Redirect(to) => Surfaces::Redirect(to.clone()),
            Spoken::Http | Spoken::Https(_) => {
                let door = Door { port: address.port(), repository: listen.repository.clone() };
                Surfaces::Router { router: router.clone(), door }
            }
        };
        let secure = match &spoken {
            Spoken::Https(https) => Some(certificates.secure(https).map_err(Failure::failed)?),
            Spoken::Http | Spoken::Redirect(_) => None,
        };
        if matches!(spoken, Spoken::Https(https) if https.source == Source::SelfSigned) {
            self_signed.push(address);
        }
        let url = format!("{}://{address}", if secure.is_some() { "https" } else { "http" });
        let app = App::new(surfaces, Arc::clone(registry), Arc::clone(&metrics), config);
        listeners.push(Listener { listener, secure, app: Arc::new(app) });
        if json {
            output::json(&serde_json::json!({ "listening": url }))?;
        } else {
            output::line(format_args!("listening on {url}"))?;
        }
    }
    if let Some(trust) = certificates.trust(self_signed) {
        output::value(json, &trust, Trust::to_string)?;
    }
    certificates.keep();
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        data = %config.data.display(),
        "serving"
    );
    let stopping = watch::Sender::new(false);
    let server = Server::start(listeners, &config.http, open_files, &metrics, &stopping);
    let first = signals.next().await;
    tracing::info!(signal = first, "stopping: running requests are finished first");
    registry.begin_close();
    stopping.send_replace(true);
    let ended = tokio::select! {
        unfinished = server.finish(config.http.shutdown_timeout) => unfinished,
        second = signals.next() => {
            tracing::warn!(signal = second, "stopping at once");
            None
        }
    };
    if let Some(unfinished) = ended.filter(|unfinished| *unfinished > 0) {
        tracing::warn!(
            connections = unfinished,
            "running requests did not finish in time and were broken off"
        );
    }
    workers.stop().await;
    Ok(())
}

/// Says which repositories ways lead to that are not there.
fn warn_of_missing(config: &Config, registry: &Registry) {
    let serving = config.listen.iter().filter(|listen| !matches!(listen.speaks, Speaks::Redirect(_)));
    let mut named: Vec<&RepoKey> = serving
        .map(|listen| listen.repository.as_ref().unwrap_or(&config.default_repository))
        .chain(config.bindings.iter().map(|binding| &binding.repository))
        .collect();
    named.sort_unstable();
    named.dedup();
    for repository in named {
        if registry.repository(repository).is_err() {
            tracing::warn!(
                %repository,
                "there is no such repository yet; what is asked of it is refused until `supercargo repo create` makes it"
            );
        }
    }
}

/// Starts access control, with somebody to administer it.
async fn with_accounts(
    config: &Config,
    registry: &Arc<Registry>,
    Access { admin_password, providers }: Access<'_>,
    json: bool,
) -> Result<Arc<Authority>, Failure> {
    let (data, from) = (config.data.clone(), Arc::clone(registry));
    let authority = tokio::task::spawn_blocking(move || accounts::start(&data, &from, providers));
    let authority = authority.await.map_err(Failure::failed)??;
    let first = accounts::ensure_administrator(registry, authority.passwords(), admin_password).await?;
    if let Some((name, password)) = first {
        let password = password.expose();
        if json {
            output::json(&serde_json::json!({ "administrator": name, "password": password }))?;
        } else {
            output::line(format_args!("administrator {name}, password {password} (shown this once)"))?;
        }
    }
    tokio::spawn(accounts::write_down(Arc::clone(registry), Arc::clone(&authority)));
    Ok(authority)
}

/// What ends the server.
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> Result<Signals, Failure> {
        let listen = |kind| signal(kind).map_err(Failure::failed);
        Ok(Signals {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
