//! The configuration: one struct, its defaults in one place, and what must hold between its values.
//!
//! What lives here: what can be configured. [`values`] and [`listen`] say how single values are written,
//! [`layers`] where they come from and in which order. What does not: what the values do, which is their
//! owners'. Nothing but this binary reads configuration.

pub(crate) mod layers;
pub(crate) mod listen;
pub(crate) mod proxy;
pub(crate) mod tls;
pub(crate) mod values;
pub(crate) mod ways;

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use supercargo_access::oidc::{Provider, ProviderSettings};
use supercargo_artifactory::DEFAULT_CONTEXT;
use supercargo_model::RepoKey;
use supercargo_registry::{FIRST_REPOSITORY, GcPolicy, Options, WriterOptions};
use supercargo_workers::Schedule;

use self::listen::{Listen, ListenTls, RedirectTo, Speaks};
use self::proxy::Proxy;
use self::tls::{Https, Tls};
use self::values::Network;
use self::ways::{Binding, server_name};
use crate::http::{BaseUrl, PathPrefix, Ways};

pub(crate) use self::layers::{ConfigError, Overrides, load};

/// Everything that can be configured. docs/configuration.md says what each key means to an operator.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// The data folder.
    pub(crate) data: PathBuf,
    /// Where to listen.
    pub(crate) listen: Vec<Listen>,
    /// The repository at the root, where nothing says another.
    pub(crate) default_repository: RepoKey,
    /// Whether names at the root may begin with the key of a repository.
    pub(crate) repository_path: bool,
    /// Hosts that are repositories'.
    pub(crate) bindings: Vec<Binding>,
    /// Names of this server, of which repositories have subdomains.
    pub(crate) server_names: Vec<String>,
    /// What URLs begin with, as far as the context, where no proxy says.
    #[serde(with = "crate::http::optional")]
    pub(crate) base_url: Option<BaseUrl>,
    /// Whether anybody who can reach a listener beyond loopback may push and delete.
    pub(crate) allow_anonymous: bool,
    /// Whether access is given to users alone, by their permissions.
    pub(crate) accounts: bool,
    /// Whose identity tokens are taken in place of a password.
    pub(crate) identity_providers: Vec<ProviderSettings>,
    /// Proxies whose word on who the client is, and what it asked for, is taken.
    pub(crate) trusted_proxies: Vec<Network>,
    pub(crate) proxy: Proxy,
    pub(crate) gc: Gc,
    pub(crate) prune: Prune,
    pub(crate) sweep: Sweep,
    pub(crate) scrub: Scrub,
    pub(crate) uploads: Uploads,
    pub(crate) writer: Writer,
    pub(crate) storage: Storage,
    pub(crate) cache: Cache,
    pub(crate) http: Http,
    pub(crate) artifactory: Artifactory,
    pub(crate) tls: Tls,
    pub(crate) log: Log,
}

/// What is spoken beside the Docker protocols.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Artifactory {
    /// What its paths begin with.
    pub(crate) context: PathPrefix,
}

/// Collection of what nothing refers to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Gc {
    /// When it runs.
    #[serde(with = "values::schedule")]
    pub(crate) schedule: Schedule,
    /// How long a push in flight may rely on what it was told is there.
    #[serde(with = "values::duration")]
    pub(crate) lease: Duration,
    /// How long a manifest without tags is kept that nobody deleted.
    #[serde(with = "values::duration")]
    pub(crate) untagged_after: Duration,
    /// How long what was deleted can be had back.
    #[serde(with = "values::duration")]
    pub(crate) keep_deleted: Duration,
}

/// Pruning of empty folders.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Prune {
    /// When it runs.
    #[serde(with = "values::schedule")]
    pub(crate) schedule: Schedule,
    /// How long a folder is empty before it is pruned.
    #[serde(with = "values::duration")]
    pub(crate) empty_after: Duration,
}

/// Removal of files that no record mentions. It also runs once after each start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Sweep {
    /// When it runs.
    #[serde(with = "values::schedule")]
    pub(crate) schedule: Schedule,
}

/// Reading stored blobs to find rot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scrub {
    /// When it runs.
    #[serde(with = "values::schedule")]
    pub(crate) schedule: Schedule,
    /// Bytes read per second at most. 0 is no limit.
    #[serde(with = "values::size")]
    pub(crate) rate: u64,
}

/// Upload sessions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Uploads {
    /// How long a session may lie idle.
    #[serde(with = "values::duration")]
    pub(crate) expire_after: Duration,
    /// How many sessions there may be at a time.
    pub(crate) sessions_max: usize,
}

/// The writer, through which every change goes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Writer {
    /// How many commands may wait for it.
    pub(crate) queue: usize,
    /// How long a request waits for a place in the queue.
    #[serde(with = "values::duration")]
    pub(crate) queue_wait: Duration,
    /// How many commands share a commit at most.
    pub(crate) group_max: usize,
}

/// The data folder's disk.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Storage {
    /// Memory for the database's pages.
    #[serde(with = "values::size")]
    pub(crate) cache: u64,
    /// Free space on the disk that uploads do not touch.
    #[serde(with = "values::size")]
    pub(crate) reserve: u64,
}

/// Answers kept in memory.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Cache {
    /// Memory for manifests and tag listings.
    #[serde(with = "values::size")]
    pub(crate) responses: u64,
}

/// Connections and time-outs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Http {
    /// How long a request's head may take, from its first byte.
    #[serde(with = "values::duration")]
    pub(crate) header_timeout: Duration,
    /// How long a client may send nothing of a body it has begun, or take nothing of an answer.
    #[serde(with = "values::duration")]
    pub(crate) body_timeout: Duration,
    /// How long a connection may be without a request.
    #[serde(with = "values::duration")]
    pub(crate) idle_timeout: Duration,
    /// Origins of web pages that may use the registry.
    pub(crate) cors_origins: Vec<crate::http::WebOrigin>,
    /// How many connections are served at a time, over all listeners.
    pub(crate) connections_max: usize,
    /// How long running requests have to finish once the server is told to stop.
    #[serde(with = "values::duration")]
    pub(crate) shutdown_timeout: Duration,
}

/// What the server writes to stderr.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Log {
    /// In which form.
    pub(crate) format: LogFormat,
    /// What is written: a level, or directives such as `info,supercargo=debug`.
    pub(crate) level: String,
}

/// The form of a line of log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    /// For people, in colour where stderr is a terminal.
    Auto,
    /// For people, in colour always.
    Pretty,
    /// One JSON object a line.
    Json,
}

const fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(minutes * 60)
}

const fn hours(hours: u64) -> Duration {
    minutes(hours * 60)
}

/// Every default there is.
impl Default for Config {
    fn default() -> Config {
        Config {
            data: PathBuf::from("./data"),
            listen: vec![Listen {
                address: ([127, 0, 0, 1], 5000).into(),
                repository: None,
                speaks: Speaks::Unsaid,
            }],
            #[expect(clippy::expect_used, reason = "a constant that a test parses")]
            default_repository: FIRST_REPOSITORY.parse().expect("the first repository's key is a key"),
            repository_path: true,
            bindings: Vec::new(),
            server_names: Vec::new(),
            base_url: None,
            allow_anonymous: false,
            accounts: false,
            identity_providers: Vec::new(),
            trusted_proxies: Vec::new(),
            proxy: Proxy::default(),
            gc: Gc {
                schedule: Schedule::Every(minutes(5)),
                lease: hours(1),
                untagged_after: hours(7 * 24),
                keep_deleted: Duration::ZERO,
            },
            prune: Prune { schedule: Schedule::Every(minutes(5)), empty_after: minutes(5) },
            sweep: Sweep { schedule: Schedule::Cron("0 0 4 * * *".to_owned()) },
            scrub: Scrub { schedule: Schedule::Cron("0 0 3 * * *".to_owned()), rate: 20 << 20 },
            uploads: Uploads { expire_after: hours(24), sessions_max: 10_000 },
            writer: Writer { queue: 1024, queue_wait: Duration::from_secs(5), group_max: 512 },
            storage: Storage { cache: 16 << 20, reserve: 64 << 20 },
            cache: Cache { responses: 16 << 20 },
            http: Http {
                header_timeout: Duration::from_secs(15),
                body_timeout: Duration::from_secs(60),
                // Longer than the 90 s of common clients, so that it is they who close.
                idle_timeout: Duration::from_secs(120),
                cors_origins: Vec::new(),
                connections_max: 16_384,
                shutdown_timeout: Duration::from_secs(30),
            },
            #[expect(clippy::expect_used, reason = "a constant that a test parses")]
            artifactory: Artifactory {
                context: DEFAULT_CONTEXT.parse().expect("the default context is a path"),
            },
            tls: Tls::default(),
            log: Log { format: LogFormat::Auto, level: "info".to_owned() },
        }
    }
}

/// What is spoken on a listener, with all that it needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spoken<'a> {
    /// http.
    Http,
    /// https.
    Https(Https<'a>),
    /// http, to say that it is https elsewhere.
    Redirect(&'a RedirectTo),
}

impl Config {
    /// How the registry of this configuration is opened.
    pub(crate) fn options(&self) -> Options {
        let mut options = Options::new(&self.data);
        options.gc = GcPolicy {
            lease: self.gc.lease,
            untagged_after: self.gc.untagged_after,
            keep_deleted: self.gc.keep_deleted,
        };
        options.prune_empty_after = self.prune.empty_after;
        options.uploads_expire_after = self.uploads.expire_after;
        options.writer = WriterOptions {
            queue: self.writer.queue,
            queue_wait: self.writer.queue_wait,
            group_max: self.writer.group_max,
        };
        options.store.reserve_bytes = self.storage.reserve;
        options.store.body_idle_timeout = self.http.body_timeout;
        options.store.sessions_max = self.uploads.sessions_max;
        options.cache_bytes = usize::try_from(self.storage.cache).unwrap_or(usize::MAX);
        options.hot_bytes = self.cache.responses;
        // A disk that uploads have filled up to their reserve still has room for records.
        options.log_reserve_bytes = self.storage.reserve / 4;
        options
    }

    /// When the jobs of this configuration run.
    pub(crate) fn workers(&self) -> supercargo_workers::Settings {
        supercargo_workers::Settings {
            gc: self.gc.schedule.clone(),
            prune: self.prune.schedule.clone(),
            sweep: self.sweep.schedule.clone(),
            scrub: self.scrub.schedule.clone(),
            scrub_rate: (self.scrub.rate > 0).then_some(self.scrub.rate),
        }
    }

    /// The ways of this configuration in.
    pub(crate) fn ways(&self) -> Ways {
        Ways {
            context: self.artifactory.context.clone(),
            default_repository: self.default_repository.clone(),
            bindings: self.bindings.clone(),
            server_names: self.server_names.iter().map(|name| name.to_ascii_lowercase()).collect(),
            repository_path: self.repository_path,
        }
    }

    /// What is spoken on a listener.
    ///
    /// # Errors
    /// The key that is wrong, where it is https and what that needs does not fit together.
    pub(crate) fn spoken<'a>(&'a self, listen: &'a Listen) -> Result<Spoken<'a>, (&'static str, String)> {
        const AS_THE_SECTION_SAYS: &ListenTls = &ListenTls::NONE;
        match &listen.speaks {
            Speaks::Http => Ok(Spoken::Http),
            Speaks::Redirect(to) => Ok(Spoken::Redirect(to)),
            Speaks::Https(own) => self.tls.for_listener(own).map(Spoken::Https),
            Speaks::Unsaid => match self.tls.source()? {
                Some(_) => self.tls.for_listener(AS_THE_SECTION_SAYS).map(Spoken::Https),
                None => Ok(Spoken::Http),
            },
        }
    }

    /// What must hold between the ways in.
    fn check_ways(&self) -> Result<(), (&'static str, String)> {
        for (at, binding) in self.bindings.iter().enumerate() {
            if let Some(other) = self.bindings[..at].iter().find(|other| binding.contradicts(other)) {
                return Err(("bindings", format!("{binding} and {other} are for the same host")));
            }
        }
        for (at, name) in self.server_names.iter().enumerate() {
            let name = server_name(name).map_err(|error| ("server_names", error.to_string()))?;
            if self.server_names[..at].iter().any(|other| other.eq_ignore_ascii_case(&name)) {
                return Err(("server_names", format!("{name} is named twice")));
            }
        }
        let context = self.artifactory.context.as_str();
        match context.split('/').nth(1) {
            None => Err(("artifactory.context", "name a path, such as /artifactory".to_owned())),
            Some("v1" | "v2" | "_ping" | "api" | "healthz" | "readyz" | "metrics") => Err((
                "artifactory.context",
                format!("{context} is taken by something else: name another path"),
            )),
            Some(_) => Ok(()),
        }
    }

    /// What must hold beyond each value being one: the key that is wrong, and what to do.
    fn check(&self) -> Result<(), (&'static str, String)> {
        let refuse = |key, why: &str| Err((key, why.to_owned()));
        if self.listen.is_empty() {
            return refuse("listen", "name at least one listener");
        }
        for (at, listen) in self.listen.iter().enumerate() {
            if listen.address.port() != 0
                && self.listen[..at].iter().any(|other| other.address == listen.address)
            {
                return Err(("listen", format!("{} is named twice", listen.address)));
            }
        }
        self.check_ways()?;
        self.tls.check()?;
        let mut secure = 0;
        for listen in &self.listen {
            secure += usize::from(matches!(self.spoken(listen)?, Spoken::Https(_)));
        }
        if secure == 0 && self.tls != Tls::default() {
            return refuse("listen", "there is a [tls] section, but no listener is https");
        }
        // A redirect gives nothing away.
        let serves = |listen: &Listen| !matches!(listen.speaks, Speaks::Redirect(_));
        if !self.listen.iter().any(serves) {
            return refuse("listen", "name a listener that does not redirect");
        }
        if let Some(open) =
            self.listen.iter().find(|listen| serves(listen) && !listen.address.ip().is_loopback())
            && !self.allow_anonymous
            && !self.accounts
        {
            return Err((
                "listen",
                format!(
                    "{} can be reached from other machines, and without accounts anybody there could push and \
                     delete. Turn accounts on (--accounts), listen on a loopback address such as 127.0.0.1:{} (behind a proxy that \
                     authenticates, say), or set allow_anonymous = true (--allow-anonymous) where that is meant",
                    open.address,
                    open.address.port()
                ),
            ));
        }
        self.proxy.check().map_err(|error| ("proxy", error.to_string()))?;
        if !self.identity_providers.is_empty() && !self.accounts {
            let why = "identity tokens stand for users, and without accounts there are none: turn them on, too \
                       (accounts = true, or --accounts)";
            return refuse("identity_providers", why);
        }
        Provider::all(self.identity_providers.iter().cloned())
            .map_err(|error| ("identity_providers", error.to_string()))?;
        for (key, duration) in [
            ("http.header_timeout", self.http.header_timeout),
            ("http.body_timeout", self.http.body_timeout),
            ("http.idle_timeout", self.http.idle_timeout),
        ] {
            if duration.is_zero() {
                return refuse(key, "no request could succeed within no time");
            }
        }
        for (key, number) in [
            ("http.connections_max", self.http.connections_max),
            ("writer.queue", self.writer.queue),
            ("writer.group_max", self.writer.group_max),
            ("uploads.sessions_max", self.uploads.sessions_max),
        ] {
            if number == 0 {
                return refuse(key, "nothing could be done with 0");
            }
        }
        if self.http.connections_max > tokio::sync::Semaphore::MAX_PERMITS {
            return refuse("http.connections_max", "that is more than there can be");
        }
        if let Err(error) = self.log.level.parse::<tracing_subscriber::filter::Targets>() {
            return Err(("log.level", format!("{:?} is no level: {error}", self.log.level)));
        }
        Ok(())
    }
}
