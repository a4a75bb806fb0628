//! `supercargo proxy-config`: the configuration of a reverse proxy for the repositories that there are.

use std::net::IpAddr;

use serde_json::json;
use supercargo_artifactory::proxy::{Method, Program, Repository, Settings};

use super::Common;
use super::place::{Backend, Place};
use crate::failure::Failure;
use crate::{output, reached};

/// Prints the configuration of nginx or Apache httpd, for all repositories. What is not said here is as the section
/// proxy of the server's configuration says.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  supercargo proxy-config nginx --server http://127.0.0.1:5000\n  \
    supercargo proxy-config apache --server-name registry.example --method subdomain \\\n    \
    --certificate /etc/ssl/registry.crt --key /etc/ssl/registry.key --data ./data")]
pub(crate) struct Args {
    /// The program: nginx or apache.
    #[arg(value_parser = Program::parse)]
    program: Program,

    /// The host by which clients know the proxy, without a port.
    #[arg(long, value_name = "HOST")]
    server_name: Option<String>,

    /// How clients say which repository they mean: by port, subdomain or path.
    #[arg(long, value_parser = Method::parse)]
    method: Option<Method>,

    /// The file of the proxy's certificate, on its own machine.
    #[arg(long, value_name = "FILE")]
    certificate: Option<String>,

    /// The file of the certificate's key.
    #[arg(long, value_name = "FILE")]
    key: Option<String>,

    /// The proxy's port for https, beside the ports of repositories [default: 443].
    #[arg(long, value_name = "PORT")]
    https_port: Option<u16>,

    /// A port where the proxy sends clients from http to https.
    #[arg(long, value_name = "PORT")]
    http_port: Option<u16>,

    /// Where the proxy finds the server, by http [default: its first listener for http].
    #[arg(long, value_name = "HOST:PORT")]
    upstream: Option<String>,

    /// An address that the proxy listens on; may be given more than once [default: all].
    #[arg(long, value_name = "ADDRESS")]
    listen: Vec<IpAddr>,

    #[command(flatten)]
    place: Place,
}

impl Args {
    fn settings(&self) -> Settings {
        let listen: Vec<String> = self.listen.iter().map(ToString::to_string).collect();
        Settings {
            server_name: self.server_name.clone(),
            docker_reverse_proxy_method: self.method,
            ssl_certificate: self.certificate.clone(),
            ssl_key: self.key.clone(),
            ssl_port: self.https_port,
            http_port: self.http_port,
            upstream: self.upstream.clone(),
            listen: (!listen.is_empty()).then(|| listen.join(",")),
        }
    }
}

/// # Errors
/// [`Failure`], as its variants say.
pub(crate) fn run(args: &Args, common: &Common) -> Result<(), Failure> {
    let config = args.place.config(common)?;
    let context = config.artifactory.context.as_str();
    let text = match args.place.open(common)? {
        Backend::Remote(remote) => {
            let program = args.program;
            let path = format!("{context}/api/system/configuration/reverseProxy/{program}");
            remote.text(&path, &args.settings())?
        }
        Backend::Local(local) => {
            let reached = reached::reached(&config, &reached::configured(&config));
            let repositories = local.registry.repositories()?;
            let repositories =
                repositories.into_iter().map(|it| Repository::of(it.key, &it.config)).collect();
            let settings = args.settings().or(reached.proxy);
            let description = settings.describe(context, repositories);
            let text = description.and_then(|description| description.write(args.program));
            text.map_err(|error| Failure::Usage(error.to_string()))?
        }
    };
    let written = json!({ "program": args.program, "configuration": text });
    output::value(common.json, &written, |_| text.trim_end().to_owned())
}
