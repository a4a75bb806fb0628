//! Where a command works: on a running server over HTTP, or on a data folder that no server has. Both give the
//! same answers, so that what a command prints does not depend on it.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use supercargo_admin::{BASE, ErrorBody};
use supercargo_eventlog::{Actor, Api, Origin};
use supercargo_registry::{Caller, DataFolder, Error, Registry};

use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

use super::Common;
use crate::config::{Config, Overrides, load};
use crate::failure::Failure;

/// The heading of [`Place`].
const WHERE: &str = "Where";

/// Where to work.
#[derive(Debug, clap::Args)]
pub(crate) struct Place {
    /// The data folder, while no server has it [default: that of the configuration].
    #[arg(long, value_name = "DIR", conflicts_with = "server", help_heading = WHERE)]
    data: Option<PathBuf>,

    /// A running server, such as http://127.0.0.1:5000.
    #[arg(long, value_name = "URL", help_heading = WHERE)]
    server: Option<String>,

    /// A file with the authority that signed for an https server, where this machine does not trust it.
    #[arg(long, value_name = "FILE", requires = "server", help_heading = WHERE)]
    ca: Option<PathBuf>,

    /// A file with `user:password`, or with an access token, for a server that has accounts.
    #[arg(long, value_name = "FILE", requires = "server", help_heading = WHERE)]
    login_file: Option<PathBuf>,
}

impl Place {
    /// Opens it.
    ///
    /// # Errors
    /// [`Failure::Held`] where a server has the data folder.
    pub(crate) fn open(&self, common: &Common) -> Result<Backend, Failure> {
        match self.remote()? {
            Some(remote) => Ok(Backend::Remote(remote)),
            None => Ok(Backend::Local(Local::open(&self.config(common)?)?)),
        }
    }

    /// The configuration of a command that works on a data folder.
    ///
    /// # Errors
    /// [`Failure::Usage`] where the configuration is wrong.
    pub(crate) fn config(&self, common: &Common) -> Result<Config, Failure> {
        let overrides = Overrides { data: self.data.clone(), ..Overrides::default() };
        Ok(load(common.config.as_deref(), &overrides)?.config)
    }

    /// Opens the data folder for a command that no server does.
    ///
    /// # Errors
    /// [`Failure::Usage`] where a server was named.
    pub(crate) fn folder(&self, common: &Common, command: &str, create: bool) -> Result<DataFolder, Failure> {
        if self.server.is_some() {
            return Err(Failure::Usage(format!(
                "{command} works on a data folder: stop the server and name its folder with --data"
            )));
        }
        let options = self.config(common)?.options();
        Ok(DataFolder::open(&options.data, create, options.cache_bytes, options.store)?)
    }

    /// The server that was named, if one was.
    ///
    /// # Errors
    /// [`Failure::Usage`] where its URL is none.
    pub(crate) fn remote(&self) -> Result<Option<Remote>, Failure> {
        let remote = |url| Remote::new(url, self.ca.as_deref(), self.login_file.as_deref());
        self.server.as_deref().map(remote).transpose()
    }
}

/// What a command works with.
pub(crate) enum Backend {
    /// A data folder, opened by this process.
    Local(Local),
    /// A server.
    Remote(Remote),
}

/// A data folder, opened by this process.
pub(crate) struct Local {
    pub(crate) registry: Arc<Registry>,
    runtime: tokio::runtime::Runtime,
}

impl Local {
    fn open(config: &Config) -> Result<Local, Failure> {
        let mut options = config.options();
        options.create = false;
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::failed)?;
        Ok(Local { registry: Registry::open(options)?, runtime })
    }

    /// Runs an operation to its end, or until the terminal says to stop: what is left of a maintenance is
    /// found by its next run.
    ///
    /// # Errors
    /// The operation's, and [`Failure::Failed`] where it was interrupted.
    pub(crate) fn run<T>(&self, operation: impl Future<Output = Result<T, Error>>) -> Result<T, Failure> {
        let interrupted = "interrupted: what was done stays done, and running it again does the rest";
        self.run_until_interrupted(operation)?.ok_or_else(|| Failure::Failed(interrupted.to_owned()))
    }

    /// As [`Local::run`], with none where it was interrupted.
    ///
    /// # Errors
    /// The operation's.
    pub(crate) fn run_until_interrupted<T>(
        &self,
        operation: impl Future<Output = Result<T, Error>>,
    ) -> Result<Option<T>, Failure> {
        self.runtime.block_on(async {
            tokio::select! {
                done = operation => done.map(Some).map_err(Failure::from),
                _ = tokio::signal::ctrl_c() => Ok(None),
            }
        })
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        self.registry.close();
    }
}

/// Who a command on a data folder acts for: the user of this machine, as far as it is known.
pub(crate) fn caller() -> Caller {
    let actor = match std::env::var("USER") {
        Ok(name) if !name.is_empty() && !name.contains(char::is_control) => Actor::User(name),
        _ => Actor::System,
    };
    Caller { actor, origin: Origin::local(Api::Cli) }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        match error {
            Error::Invalid(_) => Failure::Usage(error.to_string()),
            other => Failure::failed(other),
        }
    }
}

/// What a file with a login says in an Authorization header.
///
/// # Errors
/// [`Failure::Usage`] where it can't be read.
fn authorization(file: &Path) -> Result<String, Failure> {
    let login = crate::accounts::first_line(file)?;
    Ok(match login.expose() {
        basic if basic.contains(':') => {
            format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(basic))
        }
        token => format!("Bearer {token}"),
    })
}

/// A server's administration API.
pub(crate) struct Remote {
    agent: ureq::Agent,
    /// What the paths of the server begin with.
    root: String,
    /// What those of its administration API do.
    base: String,
    authorization: Option<String>,
}

impl Remote {
    fn new(url: &str, ca: Option<&Path>, login: Option<&Path>) -> Result<Remote, Failure> {
        let url = url.trim_end_matches('/');
        let url = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
        if !url.starts_with("http://") && !url.starts_with("https://") {
            return Err(Failure::Usage(format!("{url}: a server's URL begins with http:// or https://")));
        }
        let trusted = match ca {
            Some(file) => RootCerts::from(authorities(file)?),
            None => RootCerts::PlatformVerifier,
        };
        let tls = TlsConfig::builder()
            .root_certs(trusted)
            .unversioned_rustls_crypto_provider(crate::tls::provider())
            .build();
        // Maintenance takes as long as it takes: no time-out but that of connecting.
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .tls_config(tls)
            .timeout_connect(Some(std::time::Duration::from_secs(10)))
            .user_agent(concat!("supercargo/", env!("CARGO_PKG_VERSION")))
            .build();
        Ok(Remote {
            agent: config.into(),
            base: format!("{url}{BASE}"),
            root: url,
            authorization: login.map(authorization).transpose()?,
        })
    }

    /// # Errors
    /// [`Failure`] with the server's own message.
    pub(crate) fn get<P: Serialize, T: DeserializeOwned>(
        &self,
        path: &str,
        parameters: &P,
    ) -> Result<T, Failure> {
        let request = with_query(self.signed(self.agent.get(format!("{}{path}", self.base))), parameters)?;
        self.read(request.call())
    }

    /// A text that is not part of the administration API, by its whole path.
    ///
    /// # Errors
    /// [`Failure`] with the server's own message.
    pub(crate) fn text<P: Serialize>(&self, path: &str, parameters: &P) -> Result<String, Failure> {
        let request = with_query(self.signed(self.agent.get(format!("{}{path}", self.root))), parameters)?;
        let mut response = refused(request.call().map_err(|e| self.unreachable(&e))?)?;
        response.body_mut().read_to_string().map_err(|e| self.unreachable(&e))
    }

    /// # Errors
    /// [`Failure`] with the server's own message.
    pub(crate) fn post<P: Serialize, T: DeserializeOwned>(
        &self,
        path: &str,
        parameters: &P,
    ) -> Result<T, Failure> {
        let request = with_query(self.signed(self.agent.post(format!("{}{path}", self.base))), parameters)?;
        self.read(request.send_empty())
    }

    /// # Errors
    /// [`Failure`] with the server's own message.
    pub(crate) fn put<B: Serialize, T: DeserializeOwned>(&self, path: &str, body: &B) -> Result<T, Failure> {
        self.read(self.signed(self.agent.put(format!("{}{path}", self.base))).send_json(body))
    }

    /// Puts what is not answered with anything.
    ///
    /// # Errors
    /// [`Failure`] with the server's own message.
    pub(crate) fn put_nothing<B: Serialize>(&self, path: &str, body: &B) -> Result<(), Failure> {
        let request = self.signed(self.agent.put(format!("{}{path}", self.base)));
        let response = request.send_json(body).map_err(|e| self.unreachable(&e))?;
        refused(response).map(|_| ())
    }

    /// # Errors
    /// [`Failure`] with the server's own message.
    pub(crate) fn post_body<B: Serialize, T: DeserializeOwned>(
        &self,
        path: &str,
        body: &B,
    ) -> Result<T, Failure> {
        self.read(self.signed(self.agent.post(format!("{}{path}", self.base))).send_json(body))
    }

    /// Posts bytes as they are.
    ///
    /// # Errors
    /// [`Failure`] with the server's own message.
    pub(crate) fn post_bytes<P: Serialize, T: DeserializeOwned>(
        &self,
        path: &str,
        parameters: &P,
        bytes: &[u8],
    ) -> Result<T, Failure> {
        let request = with_query(self.signed(self.agent.post(format!("{}{path}", self.base))), parameters)?;
        self.read(request.content_type("application/octet-stream").send(bytes))
    }

    /// Says who is asking, where that is in the environment.
    fn signed<B>(&self, request: ureq::RequestBuilder<B>) -> ureq::RequestBuilder<B> {
        match &self.authorization {
            Some(authorization) => request.header("authorization", authorization),
            None => request,
        }
    }

    /// # Errors
    /// [`Failure`] with the server's own message.
    pub(crate) fn patch<B: Serialize, T: DeserializeOwned>(
        &self,
        path: &str,
        body: &B,
    ) -> Result<T, Failure> {
        self.read(self.signed(self.agent.patch(format!("{}{path}", self.base))).send_json(body))
    }

    /// # Errors
    /// [`Failure`] with the server's own message.
    pub(crate) fn delete<P: Serialize>(&self, path: &str, parameters: &P) -> Result<(), Failure> {
        let request = with_query(self.signed(self.agent.delete(format!("{}{path}", self.base))), parameters)?;
        let response = request.call().map_err(|e| self.unreachable(&e))?;
        refused(response).map(|_| ())
    }

    /// Lines as they come.
    ///
    /// # Errors
    /// [`Failure`] with the server's own message.
    pub(crate) fn lines<P: Serialize>(
        &self,
        path: &str,
        parameters: &P,
    ) -> Result<impl BufRead + use<P>, Failure> {
        let request = with_query(self.signed(self.agent.get(format!("{}{path}", self.base))), parameters)?;
        let response = request.call().map_err(|e| self.unreachable(&e))?;
        Ok(BufReader::new(refused(response)?.into_body().into_reader()))
    }

    /// Lines as they come, for what takes long.
    ///
    /// # Errors
    /// [`Failure`] with the server's own message.
    pub(crate) fn lines_of_post<B: Serialize>(
        &self,
        path: &str,
        body: &B,
    ) -> Result<impl BufRead + use<B>, Failure> {
        let request = self.signed(self.agent.post(format!("{}{path}", self.base)));
        let response = request.send_json(body).map_err(|e| self.unreachable(&e))?;
        Ok(BufReader::new(refused(response)?.into_body().into_reader()))
    }

    fn read<T: DeserializeOwned>(
        &self,
        response: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    ) -> Result<T, Failure> {
        let mut response = refused(response.map_err(|e| self.unreachable(&e))?)?;
        let body = response.body_mut().with_config().limit(u64::MAX).read_json();
        body.map_err(|e| Failure::Failed(format!("the server's answer is not what it should be: {e}")))
    }

    fn unreachable(&self, error: &ureq::Error) -> Failure {
        Failure::Failed(format!("{}: {error}", self.base))
    }
}

/// The certificates in a file.
fn authorities(file: &Path) -> Result<Vec<Certificate<'static>>, Failure> {
    let refused = |why: String| Failure::Usage(format!("--ca {}: {why}", file.display()));
    let text = std::fs::read(file).map_err(|error| refused(error.to_string()))?;
    let mut authorities = Vec::new();
    for item in parse_pem(&text) {
        if let PemItem::Certificate(certificate) = item.map_err(|error| refused(error.to_string()))? {
            authorities.push(certificate);
        }
    }
    if authorities.is_empty() {
        return Err(refused("there is no certificate in it".to_owned()));
    }
    Ok(authorities)
}

/// Why a server refused, in the shape of the surface that was asked.
#[derive(Deserialize)]
#[serde(untagged)]
enum Refusal {
    Admin(ErrorBody),
    Artifactory { errors: [ArtifactoryError; 1] },
}

#[derive(Deserialize)]
struct ArtifactoryError {
    message: String,
}

/// An answer that is none of success, as a failure with the message in it.
fn refused(
    mut response: ureq::http::Response<ureq::Body>,
) -> Result<ureq::http::Response<ureq::Body>, Failure> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let message = match response.body_mut().read_json::<Refusal>() {
        Ok(Refusal::Admin(body)) => body.error.message,
        Ok(Refusal::Artifactory { errors: [error] }) => error.message,
        Err(_) => format!("the server answered {status}; is it a Supercargo?"),
    };
    Err(if status == 400 { Failure::Usage(message) } else { Failure::Failed(message) })
}

/// Parameters as a query. They are structs of texts, numbers and booleans.
fn with_query<B, P: Serialize>(
    mut request: ureq::RequestBuilder<B>,
    parameters: &P,
) -> Result<ureq::RequestBuilder<B>, Failure> {
    let value = serde_json::to_value(parameters).map_err(Failure::failed)?;
    for (name, value) in value.as_object().into_iter().flatten() {
        request = match value {
            serde_json::Value::Null => request,
            serde_json::Value::String(text) => request.query(name, text),
            other => request.query(name, other.to_string()),
        };
    }
    Ok(request)
}

/// A path's text, for messages.
pub(crate) fn shown(path: &Path) -> String {
    path.display().to_string()
}
