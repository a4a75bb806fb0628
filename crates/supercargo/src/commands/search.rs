//! `supercargo search`: items of the trees by what is known of them.

use std::io::BufRead as _;
use std::ops::ControlFlow;

use supercargo_admin::api::FoundItem;
use supercargo_admin::ops;
use supercargo_artifactory::parse_aql;
use supercargo_model::RepoKey;
use supercargo_model::account::hex;
use supercargo_registry::search::{Condition, KindTest, Query, Test, TextField, TextTest, Wildcard};
use supercargo_registry::{Clock as _, SystemClock};

use super::place::{Backend, Place};
use super::{Common, moment, show};
use crate::failure::Failure;
use crate::output;

/// Finds files and folders of the trees: by properties, names and checksums, all of which must be right, or by AQL.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    supercargo search --property docker.repoName=library/ubuntu --data ./data\n  \
    supercargo search --name '*.json' --repo docker-local --server http://127.0.0.1:5000\n  \
    supercargo search --aql 'items.find({\"size\":{\"$gt\":1000000}}).limit(10)' --json")]
pub(crate) struct Args {
    /// A property that items have, such as docker.manifest=latest; with * and ? in the value; any value, without one.
    #[arg(long = "property", value_name = "KEY[=VALUE]")]
    properties: Vec<String>,

    /// What files are called, with * and ?, whether letters are small or capital.
    #[arg(long, value_name = "GLOB")]
    name: Option<String>,

    /// What a file's SHA-256, SHA-1 or MD5 is; of the last two, as far as they are known.
    #[arg(long, value_name = "HEX")]
    checksum: Option<String>,

    /// A query in AQL, or @ and a file with one (docs/search.md).
    #[arg(long, value_name = "QUERY|@FILE", conflicts_with_all = ["properties", "name", "checksum", "limit"])]
    aql: Option<String>,

    /// The repositories to search [default: all].
    #[arg(long = "repo", value_name = "KEY")]
    repositories: Vec<RepoKey>,

    /// At most so many.
    #[arg(long, value_name = "N")]
    limit: Option<u64>,

    #[command(flatten)]
    place: Place,
}

/// # Errors
/// [`Failure`], as its variants say.
pub(crate) fn run(args: &Args, common: &Common) -> Result<(), Failure> {
    let query = query(args)?;
    let found = |item: &FoundItem| {
        output::value(common.json, item, |item| {
            let FoundItem { repository, path, folder, size, at, .. } = item;
            let size = if *folder { "folder".to_owned() } else { show::size(*size) };
            format!("{repository}/{path}  {size}  {}", moment::show(*at))
        })
    };
    match args.place.open(common)? {
        Backend::Local(local) => {
            let mut failed = None;
            ops::search(&local.registry, &query, &|| false, |item| match found(&item) {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    failed = Some(error);
                    ControlFlow::Break(())
                }
            })?;
            failed.map_or(Ok(()), Err)
        }
        Backend::Remote(remote) => {
            for line in remote.lines_of_post("/search", &query)?.lines() {
                let line = line.map_err(Failure::failed)?;
                found(&serde_json::from_str(&line).map_err(Failure::failed)?)?;
            }
            Ok(())
        }
    }
}

/// What is searched for.
fn query(args: &Args) -> Result<Query, Failure> {
    let repositories = args.repositories.clone();
    if let Some(aql) = &args.aql {
        let text = match aql.strip_prefix('@') {
            Some(file) => std::fs::read_to_string(file)
                .map_err(|error| Failure::Usage(format!("--aql {file}: {error}")))?,
            None => aql.clone(),
        };
        let query = parse_aql(&text, SystemClock.now());
        let query = query.map_err(|error| Failure::Usage(format!("--aql: {error}")))?;
        return Ok(Query { repositories, ..query });
    }
    let wildcard = |text: &str| Wildcard::new(text).map_err(|error| Failure::Usage(error.to_string()));
    let mut all = Vec::new();
    for property in &args.properties {
        let (key, value) = property.split_once('=').unwrap_or((property, "*"));
        let test = match value {
            value if Wildcard::is_in(value) => TextTest::Matches(wildcard(value)?),
            value => TextTest::equals(value),
        };
        all.push(Test::Property(key.to_owned(), test));
    }
    if let Some(name) = &args.name {
        all.push(Test::Kind(KindTest::File));
        all.push(Test::Text(TextField::Name, TextTest::Matches(wildcard(name)?.ignoring_case())));
    }
    if let Some(checksum) = &args.checksum {
        let checksum = checksum.to_ascii_lowercase();
        let field = match checksum.len() {
            32 if hex::parse::<16>(&checksum).is_some() => TextField::Md5,
            40 if hex::parse::<20>(&checksum).is_some() => TextField::Sha1,
            64 if hex::parse::<32>(&checksum).is_some() => TextField::Sha256,
            _ => {
                return Err(Failure::Usage(format!("--checksum {checksum}: neither SHA-256, SHA-1 nor MD5")));
            }
        };
        all.push(Test::Text(field, TextTest::equals(checksum)));
    }
    if all.is_empty() {
        let message = "say what to search for: --property, --name, --checksum or --aql";
        return Err(Failure::Usage(message.to_owned()));
    }
    let condition = Condition::All(all.into_iter().map(Condition::Is).collect());
    Ok(Query { repositories, condition, order: None, offset: 0, limit: args.limit })
}
