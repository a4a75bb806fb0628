//! `supercargo setup`: what somebody does to use a repository with the client that they have.

use std::path::PathBuf;

use supercargo_artifactory::proxy::Repository;
use supercargo_artifactory::setup::ways::Address;
use supercargo_artifactory::setup::{Client, Format, Parameters, Subject, guide};
use supercargo_model::RepoKey;
use supercargo_model::account::UserName;

use super::Common;
use super::place::{Backend, Place};
use crate::failure::Failure;
use crate::{output, reached};

/// Prints what it takes to use a repository: commands to copy, and files with where they go.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  supercargo setup docker-local --server http://127.0.0.1:5000\n  \
    supercargo setup legacy --client old-docker --data ./data --url https://registry.example:444")]
pub(crate) struct Args {
    /// The repository's key.
    key: RepoKey,

    /// For this client alone: docker, old-docker, podman, containerd or curl.
    #[arg(long, value_parser = Client::parse)]
    client: Option<Client>,

    /// Where clients reach the server, for a data folder [default: as it is configured].
    #[arg(long, value_name = "URL", conflicts_with = "server", value_parser = address)]
    url: Option<Address>,

    /// Who will log in, for a data folder. On a server it is whoever asks.
    #[arg(long, value_name = "NAME", conflicts_with = "server")]
    user: Option<UserName>,

    /// A file with the authority that signed for the server, PEM, where clients don't know it, for a data folder
    /// [default: the one that --self-signed made].
    #[arg(long, value_name = "FILE", conflicts_with = "server")]
    authority: Option<PathBuf>,

    #[command(flatten)]
    place: Place,
}

fn address(text: &str) -> Result<Address, &'static str> {
    Address::of_url(text).ok_or("use a URL, such as https://registry.example:444")
}

/// # Errors
/// [`Failure`], as its variants say.
pub(crate) fn run(args: &Args, common: &Common) -> Result<(), Failure> {
    let config = args.place.config(common)?;
    let context = config.artifactory.context.as_str();
    match args.place.open(common)? {
        Backend::Remote(remote) => {
            let format = if common.json { Format::Json } else { Format::Text };
            let parameters = Parameters { client: args.client, format };
            let path = format!("{context}/api/setup/{}", args.key);
            output::line(remote.text(&path, &parameters)?.trim_end())
        }
        Backend::Local(local) => {
            let reached = reached::reached(&config, &reached::configured(&config));
            let here = || reached::address(&config);
            let address: Address = args.url.clone().or_else(here).ok_or_else(|| {
                Failure::Usage("no listener serves: say where clients reach the server with --url".to_owned())
            })?;
            let api = match (&args.url, &config.base_url) {
                (None, Some(url)) => url.to_string(),
                _ => format!("{}://{address}{context}", address.scheme()),
            };
            let repositories = local.registry.repositories()?;
            let repositories: Vec<Repository> =
                repositories.into_iter().map(|it| Repository::of(it.key, &it.config)).collect();
            let subject = Subject::new(&reached, (address, &api), context, &repositories, &args.key);
            let mut subject = match subject {
                Some(subject) => subject,
                // The registry has its own words for it.
                None => {
                    return Err(local.registry.repository(&args.key).map(|_| ()).err().map_or_else(
                        || Failure::Failed(format!("{} was made meanwhile; try again", args.key)),
                        Failure::from,
                    ));
                }
            };
            let authority = args.authority.as_deref().or_else(|| reached.authority_of(&subject));
            if let Some(file) = authority {
                let read = std::fs::read_to_string(file);
                subject.authority =
                    Some(read.map_err(|error| Failure::Usage(format!("{}: {error}", file.display())))?);
            }
            subject.accounts = config.accounts;
            subject.user = args.user.as_ref().map(ToString::to_string);
            output::value(common.json, &guide(&subject, args.client), |guide| {
                guide.to_string().trim_end().to_owned()
            })
        }
    }
}
