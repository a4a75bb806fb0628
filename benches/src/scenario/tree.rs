//! The tree of a repository with a million items, and searches in it: the first page of each, and the memory that is held
//! while everything is listed.

use std::time::Instant;

use bytes::Bytes;
use http::Method;
use supercargo_eventlog::{Event, Record, RepositoryConfig};
use supercargo_model::{Digest, RepoKey, RepoName, Tag};
use supercargo_registry::{Caller, FIRST_REPOSITORY};

use crate::content::Random;
use crate::history::{Content, content, docker_client, manifest_of, record_of, time_of};
use crate::http::{Call, Connection};
use crate::ledger::{BATCH, folder_with};
use crate::peer::Peer;
use crate::report::{Expected, Row, Unit};
use crate::rounds::alternate;
use crate::settings::Settings;
use crate::{Error, Result};

/// What all but one in a hundred pages should take at most, in milliseconds.
const PAGE_MS_MAX: f64 = 20.0;
/// What memory may grow by while everything is listed, in MiB.
const GROWTH_MIB_MAX: f64 = 16.0;
/// The name that one in so many tags is of. The others are of names with so many tags each.
const MANY: &str = "team-0/many";
const MANY_OF: u64 = 4;
const TAGS_OF_NAME: u64 = 500;
/// One in so many tags has a property that people set.
const APPROVED_EVERY: u64 = 1_009;
/// One in so many images has a label.
const LABELLED_EVERY: u64 = 101;

/// What is asked for: a page, or what has none, of which the beginning is waited for.
struct Ask {
    name: &'static str,
    call: Calls,
}

enum Calls {
    /// Below the interface's root, read whole.
    Get(String),
    /// The same, read until the first of it is there.
    Begin(String),
    /// A query, read whole.
    Aql(String),
}

/// Everything that is asked for a page of.
fn asks(store: &Store) -> Vec<Ask> {
    let get = |name, path: &str| Ask { name, call: Calls::Get(path.to_owned()) };
    let begin = |name, path: &str| Ask { name, call: Calls::Begin(path.to_owned()) };
    let aql = |name, query: &str| Ask { name, call: Calls::Aql(query.to_owned()) };
    let since = |part: u64| {
        let at = time_of(store.seq - store.seq / part).as_micros();
        let at = jiff::Timestamp::from_microsecond(at).unwrap_or_default();
        format!(r#"items.find({{"created":{{"$gt":"{at}"}}}}).limit(100)"#)
    };
    let (base, config) = (store.base.hex(), store.config.hex());
    vec![
        get("one item", "storage/docker-local/team-1/app-1/1.0.7/manifest.json?properties"),
        get("folder, a page", "storage/docker-local/team-1/app-1?n=100"),
        get("many tags, a page", "storage/docker-local/team-0/many?n=100"),
        begin("many tags, all", "storage/docker-local/team-0/many"),
        get("docker.repoName and a tag", "search/prop?docker.repoName=team-1/app-1&docker.manifest=1.0.7"),
        get("the same of many tags", "search/prop?docker.repoName=team-0/many&docker.manifest=1.0.7"),
        begin("docker.repoName of many tags", "search/prop?docker.repoName=team-0/many"),
        begin("property", "search/prop?approved=yes"),
        begin("label", "search/prop?docker.label.team=a"),
        begin("digest", &format!("search/checksum?sha256={config}")),
        begin("digest in many tags", &format!("search/checksum?sha256={base}")),
        aql("AQL, path", r#"items.find({"repo":"docker-local","path":"team-1/app-1/1.0.7"})"#),
        aql("AQL, name", r#"items.find({"repo":"docker-local","name":"manifest.json"}).limit(100)"#),
        aql("AQL, tag", r#"items.find({"@docker.manifest":"1.0.7"}).limit(100)"#),
        aql(
            "AQL, label or property",
            r#"items.find({"$or":[{"@docker.label.team":"a"},{"@approved":"yes"}]}).include("property").limit(100)"#,
        ),
        aql("AQL, created in the last 1 %", &since(100)),
        aql("AQL, created in the last 20 %", &since(5)),
        aql("AQL, below a path", r#"items.find({"path":{"$match":"team-0/many/*"}}).limit(100)"#),
        aql(
            "AQL, sorted below a path",
            r#"items.find({"path":{"$match":"team-1/app-1/1.0.4*"}}).sort({"$desc":["created"]}).limit(100)"#,
        ),
    ]
}

/// Everything, folders too.
const EVERYTHING: &str = r#"items.find({"type":"any"})"#;

pub(super) async fn run(settings: &Settings) -> Result<Vec<Row>> {
    let mut store = Store::new(settings.tree_tags)?;
    let folder = folder_with(settings, || store.batch())?;
    let Some(peer) = Peer::supercargo(settings, Some(folder.path()), &[]).await? else {
        return Ok(Vec::new());
    };
    let asks = asks(&store);
    for ask in &asks {
        let (_, found) = first(&peer, ask).await?;
        if !found.windows(5).any(|bytes| bytes == b"team-") {
            return Err(Error::Wrong(format!("{}: found {found:?}", ask.name)));
        }
    }
    let places: Vec<usize> = (0..asks.len()).collect();
    let mut slowest = vec![Vec::new(); asks.len()];
    let samples = alternate(settings.rounds, &places, async |place, _| {
        let mut took = Vec::with_capacity(settings.tree_asked);
        // What takes long is known after fewer.
        let end = Instant::now() + settings.duration;
        while took.len() < settings.tree_asked && (took.is_empty() || Instant::now() < end) {
            took.push(first(&peer, &asks[place]).await?.0);
        }
        took.sort_by(f64::total_cmp);
        slowest[place].push(took[took.len() * 99 / 100]);
        Ok(took[took.len() / 2])
    })
    .await?;
    let mut rows = Vec::new();
    for (place, ask) in asks.iter().enumerate() {
        let name = format!("tree, {}, p99", ask.name);
        let expected = Expected::AtMost(PAGE_MS_MAX);
        let median = samples.of(place);
        rows.push(Row::beside(name, Unit::Milliseconds, &slowest[place], "median", median, expected));
    }
    rows.extend(everything(settings, &peer).await?);
    Ok(rows)
}

/// How fast all items are listed, and the memory that it takes.
async fn everything(settings: &Settings, peer: &Peer) -> Result<[Row; 2]> {
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let before = mib(peer.process().resident_bytes()?);
    let mut connection = Connection::open(peer.address()).await?;
    let start = Instant::now();
    let answer = connection.send(aql(EVERYTHING), http::StatusCode::OK).await?;
    // Each tag is a folder with a manifest, a configuration and two layers.
    let items = settings.tree_tags * 5;
    let rate = items as f64 / start.elapsed().as_secs_f64();
    if answer.body_bytes < items * 100 {
        return Err(Error::Wrong(format!("everything is {} bytes", answer.body_bytes)));
    }
    let grown = (mib(peer.process().peak_resident_bytes()?) - before).max(0.0);
    let name = "tree, memory, growth while everything is listed";
    let expected = Expected::AtMost(GROWTH_MIB_MAX);
    Ok([
        Row::alone("tree, items listed", Unit::PerSecond, &[rate], Expected::Nothing),
        Row::beside(name, Unit::Mib, &[grown], "before", &[before], expected),
    ])
}

/// Asks for a page; answers with the milliseconds until it was there, and with it.
async fn first(peer: &Peer, ask: &Ask) -> Result<(f64, Bytes)> {
    let below = |path: &str| format!("/artifactory/api/{path}");
    // What is not read to its end can't be followed by anything.
    let mut connection = Connection::open(peer.address()).await?;
    let start = Instant::now();
    let found = match &ask.call {
        Calls::Get(path) => connection.receive(Call::new(Method::GET, &below(path))).await?,
        Calls::Begin(path) => connection.receive_first(Call::new(Method::GET, &below(path))).await?,
        Calls::Aql(query) => connection.receive(aql(query)).await?,
    };
    Ok((start.elapsed().as_secs_f64() * 1e3, found))
}

fn aql(query: &str) -> Call<'_> {
    Call {
        content_type: Some("text/plain"),
        payload: Bytes::copy_from_slice(query.as_bytes()).into(),
        ..Call::new(Method::POST, "/artifactory/api/search/aql")
    }
}

/// The records of a registry whose names have many tags: each an image with a configuration of its own, and layers that
/// the name's others have too.
struct Store {
    repository: RepoKey,
    caller: Caller,
    random: Random,
    layers: [Content; 2],
    /// What all tags of the name with many have, and what the last tag has alone.
    base: Digest,
    config: Digest,
    tag: u64,
    tags: u64,
    seq: u64,
}

impl Store {
    fn new(tags: u64) -> Result<Store> {
        let repository = RepoKey::parse(FIRST_REPOSITORY).map_err(Error::ledger)?;
        let mut random = Random::from_seed(0);
        let layers = [content(&mut random, 30 << 20), content(&mut random, 30 << 20)];
        let (base, config) = (layers[0].0, layers[0].0);
        Ok(Store { repository, caller: docker_client(), random, layers, base, config, tag: 0, tags, seq: 0 })
    }

    fn batch(&mut self) -> Result<Vec<Record>> {
        let mut batch = Vec::new();
        if self.seq == 0 {
            let repository = self.repository.clone();
            self.add(
                &mut batch,
                Event::RepositoryCreated { repository, config: RepositoryConfig::default() },
            );
        }
        while self.tag < self.tags && (batch.len() as u64) < BATCH {
            self.image(&mut batch)?;
            self.tag += 1;
        }
        Ok(batch)
    }

    fn image(&mut self, batch: &mut Vec<Record>) -> Result<()> {
        let many = self.tags / MANY_OF;
        let (name, of_name) = match self.tag.checked_sub(many) {
            None => (MANY.to_owned(), self.tag),
            Some(tag) => {
                let number = tag / TAGS_OF_NAME;
                (format!("team-{}/app-{number}", number % 20), tag % TAGS_OF_NAME)
            }
        };
        let repository = self.repository.clone();
        let name = RepoName::parse(&name).map_err(Error::ledger)?;
        let tag = Tag::parse(&format!("1.0.{of_name}")).map_err(Error::ledger)?;
        if of_name == 0 {
            if self.tag > 0 {
                self.layers = [content(&mut self.random, 30 << 20), content(&mut self.random, 30 << 20)];
            }
            for (digest, size) in self.layers {
                let (repository, name) = (repository.clone(), name.clone());
                self.add(batch, Event::BlobAdded { repository, name, digest, size });
            }
        }
        let config = content(&mut self.random, 8 << 10);
        self.config = config.0;
        let digest = content(&mut self.random, 1).0;
        let (repo, of) = (repository.clone(), name.clone());
        self.add(batch, Event::BlobAdded { repository: repo, name: of, digest: config.0, size: config.1 });
        if self.tag.is_multiple_of(LABELLED_EVERY) {
            let labels = vec![("team".to_owned(), "a".to_owned())];
            self.add(batch, Event::ConfigRead { config: config.0, labels });
        }
        let manifest = manifest_of(config, self.layers);
        let (repo, of) = (repository.clone(), name.clone());
        self.add(batch, Event::ManifestPushed { repository: repo, name: of, digest, manifest });
        let (repo, of) = (repository.clone(), name.clone());
        self.add(
            batch,
            Event::TagSet { repository: repo, name: of, tag: tag.clone(), digest, previous: None },
        );
        if self.tag.is_multiple_of(APPROVED_EVERY) {
            let path = format!("{name}/{tag}/manifest.json");
            let set = vec![("approved".to_owned(), vec!["yes".to_owned()])];
            self.add(batch, Event::PropertiesSet { repository, path, set, removed: Vec::new() });
        }
        Ok(())
    }

    fn add(&mut self, batch: &mut Vec<Record>, event: Event) {
        batch.push(record_of(self.seq, &mut self.random, &self.caller, event));
        self.seq += 1;
    }
}
