//! The scenarios by name, with what each should come to. One module per subject.

mod bearer;
mod deletes;
mod footprint;
mod images;
mod large;
mod small;
mod tree;
mod v1;

use clap::ValueEnum;

use crate::Result;
use crate::docker::Way;
use crate::report::Row;
use crate::settings::Settings;

/// The repository name that scenarios push to.
const NAME: &str = "bench/app";

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Scenario {
    /// A large blob in one PUT, its length said
    PushLargeMono,
    /// A large blob in one PATCH without a length, as the Docker client sends it
    PushLargeStream,
    /// A large blob read whole
    PullLarge,
    /// Small images pushed and pulled by 1, 8 and 32 clients
    Images,
    /// A manifest read over and over by 32 clients
    ManifestGet,
    /// A manifest read with a bearer token, beside a server without accounts
    ManifestGetBearer,
    /// A blob asked for over and over by 32 clients
    BlobHead,
    /// The tags of a name with 10 000 of them, all in one answer
    TagsList,
    /// An image of many layers pushed and pulled by V1, beside the same bytes by V2
    V1,
    /// Manifests deleted by digest
    Deletes,
    /// Commits of one event each, beside a bare append with a sync
    Commits,
    /// The log folded again from its beginning
    Replay,
    /// Pages of a tree of a million items, and searches in it
    Tree,
    /// Memory when idle, and at its peak while many clients push large layers
    Memory,
    /// The time from start to the first answer
    Start,
}

impl Scenario {
    /// Its name, as the command line takes it.
    pub fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Measures it.
    ///
    /// # Errors
    /// Where a measurement could not be taken.
    pub async fn run(self, settings: &Settings) -> Result<Vec<Row>> {
        match self {
            Scenario::PushLargeMono => large::push(settings, Way::Monolithic).await,
            Scenario::PushLargeStream => large::push(settings, Way::Streamed).await,
            Scenario::PullLarge => large::pull(settings).await,
            Scenario::Images => images::run(settings).await,
            Scenario::ManifestGet => small::manifest_get(settings).await,
            Scenario::ManifestGetBearer => bearer::manifest_get(settings).await,
            Scenario::BlobHead => small::blob_head(settings).await,
            Scenario::TagsList => small::tags_list(settings).await,
            Scenario::V1 => v1::run(settings).await,
            Scenario::Deletes => deletes::run(settings).await,
            Scenario::Commits => crate::ledger::commits(settings).await,
            Scenario::Replay => crate::ledger::replay(settings).await,
            Scenario::Tree => tree::run(settings).await,
            Scenario::Memory => footprint::memory(settings).await,
            Scenario::Start => footprint::start(settings).await,
        }
    }
}
