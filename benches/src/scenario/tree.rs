//! The tree of a repository with a million items, and searches in it: the first page of each, beside a look at one item.

use std::time::Instant;

use bytes::Bytes;
use http::Method;
use supercargo_eventlog::{Event, Record, RepositoryConfig};
use supercargo_model::{RepoKey, RepoName, Tag};
use supercargo_registry::{Caller, FIRST_REPOSITORY};

use crate::content::Random;
use crate::folder::Folder;
use crate::history::{Content, content, docker_client, manifest_of, record_of};
use crate::http::{Call, Connection};
use crate::ledger::{BATCH, folder_with};
use crate::peer::Peer;
use crate::report::{Expected, Row, Unit};
use crate::rounds::{alternate, median};
use crate::settings::Settings;
use crate::{Error, Result};

/// What a page should take at most, in milliseconds, and the memory that was ever held, in MiB.
const PAGE_MS_MAX: f64 = 20.0;
const PEAK_MIB_MAX: f64 = 96.0;
/// Tags of a name.
const TAGS_OF_NAME: u64 = 500;
/// One in so many tags has a property that people set.
const APPROVED_EVERY: u64 = 10_007;
/// One in so many images has a label.
const LABELLED_EVERY: u64 = 1_009;
/// How often each page is asked for in a round.
const ASKED: usize = 21;

/// What is asked for. The last, which is everything, is asked for once, for the memory that it takes.
const PAGES: [(&str, Ask); 9] = [
    ("one item", Ask::Get("storage/docker-local/team-1/app-1/1.0.7/manifest.json?properties")),
    ("first page of a folder", Ask::Get("storage/docker-local/team-1/app-1?n=100")),
    ("property, docker.repoName", Ask::Get("search/prop?docker.repoName=team-1/app-1&docker.manifest=1.0.7")),
    ("property, set by people", Ask::Get("search/prop?approved=yes")),
    ("AQL, tag and type", Ask::Aql(r#"items.find({"@docker.manifest":"1.0.7","type":"file"}).limit(100)"#)),
    (
        "AQL, label or property",
        Ask::Aql(
            r#"items.find({"$or":[{"@docker.label.team":"a"},{"@approved":"yes"}]}).include("property").limit(100)"#,
        ),
    ),
    (
        "AQL, sorted below a path",
        Ask::Aql(
            r#"items.find({"path":{"$match":"team-1/app-1/1.0.4*"}}).sort({"$desc":["created"]}).limit(100)"#,
        ),
    ),
    ("AQL, without an index", Ask::Aql(r#"items.find({"name":"manifest.json"}).limit(100)"#)),
    ("AQL, everything", Ask::Aql("items.find()")),
];

#[derive(Debug, Clone, Copy)]
enum Ask {
    Get(&'static str),
    Aql(&'static str),
}

pub(super) async fn run(settings: &Settings) -> Result<Vec<Row>> {
    let folder = filled(settings)?;
    let Some(peer) = Peer::supercargo(settings, Some(folder.path()), &[]).await? else {
        return Ok(Vec::new());
    };
    let mut connection = Connection::open(peer.address()).await?;
    let pages: Vec<usize> = (0..PAGES.len() - 1).collect();
    for page in &pages {
        let found = ask(&mut connection, PAGES[*page].1).await?;
        if found.len() < 40 {
            return Err(Error::Wrong(format!("{}: found {found:?}", PAGES[*page].0)));
        }
    }
    let before = peer.process().resident_bytes()?;
    let samples = alternate(settings.rounds, &pages, async |page, _| {
        let mut took = Vec::with_capacity(ASKED);
        for _ in 0..ASKED {
            let start = Instant::now();
            ask(&mut connection, PAGES[page].1).await?;
            took.push(start.elapsed().as_secs_f64() * 1e3);
        }
        Ok(median(&took).unwrap_or_default())
    })
    .await?;
    let everything =
        connection.send(call(PAGES[PAGES.len() - 1].1, &mut String::new()), http::StatusCode::OK).await?;
    if everything.body_bytes < settings.tree_tags * 4 * 100 {
        return Err(Error::Wrong(format!("everything is {} bytes", everything.body_bytes)));
    }
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let peak = [mib(peer.process().peak_resident_bytes()?)];
    let one = samples.of(0);
    let row = |page: usize| {
        let name = format!("tree, {}", PAGES[page].0);
        Row::beside(
            name,
            Unit::Milliseconds,
            samples.of(page),
            PAGES[0].0,
            one,
            Expected::AtMost(PAGE_MS_MAX),
        )
    };
    let mut rows: Vec<Row> = (1..PAGES.len() - 1).map(row).collect();
    rows.push(Row::beside(
        "tree, memory, peak while everything is found",
        Unit::Mib,
        &peak,
        "after one of each",
        &[mib(before)],
        Expected::AtMost(PEAK_MIB_MAX),
    ));
    Ok(rows)
}

/// Asks for a page, and answers with what came.
async fn ask(connection: &mut Connection, ask: Ask) -> Result<Bytes> {
    connection.receive(call(ask, &mut String::new())).await
}

fn call(ask: Ask, path: &mut String) -> Call<'_> {
    match ask {
        Ask::Get(below) => {
            *path = format!("/artifactory/api/{below}");
            Call::new(Method::GET, path)
        }
        Ask::Aql(query) => Call {
            content_type: Some("text/plain"),
            payload: Bytes::from_static(query.as_bytes()).into(),
            ..Call::new(Method::POST, "/artifactory/api/search/aql")
        },
    }
}

/// A data folder with so many tags. The bytes of what they reach are not there.
fn filled(settings: &Settings) -> Result<Folder> {
    let mut store = Store::new(settings.tree_tags)?;
    folder_with(settings, || store.batch())
}

/// The records of a registry whose names have many tags: each an image with a configuration of its own, and layers that
/// the name's others have too.
struct Store {
    repository: RepoKey,
    caller: Caller,
    random: Random,
    layers: [Content; 2],
    tag: u64,
    tags: u64,
    seq: u64,
}

impl Store {
    fn new(tags: u64) -> Result<Store> {
        let repository = RepoKey::parse(FIRST_REPOSITORY).map_err(Error::ledger)?;
        let mut random = Random::from_seed(0);
        let layers = [content(&mut random, 30 << 20), content(&mut random, 30 << 20)];
        Ok(Store { repository, caller: docker_client(), random, layers, tag: 0, tags, seq: 0 })
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
        let (number, of_name) = (self.tag / TAGS_OF_NAME, self.tag % TAGS_OF_NAME);
        let repository = self.repository.clone();
        let name = RepoName::parse(&format!("team-{}/app-{number}", number % 20)).map_err(Error::ledger)?;
        let tag = Tag::parse(&format!("1.0.{of_name}")).map_err(Error::ledger)?;
        if of_name == 0 {
            self.layers = [content(&mut self.random, 30 << 20), content(&mut self.random, 30 << 20)];
            for (digest, size) in self.layers {
                let (repository, name) = (repository.clone(), name.clone());
                self.add(batch, Event::BlobAdded { repository, name, digest, size });
            }
        }
        let config = content(&mut self.random, 8 << 10);
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
