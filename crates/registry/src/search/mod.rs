//! Finding items of the tree by what is known of them.
//!
//! What lives here: conditions (`condition`), the choice of an index (`plan`), the indexes (`drivers`) and the search itself
//! (`run`). What does not: what an item is, and who sees it (`tree`), and how a search is written (the surfaces).

mod condition;
mod drivers;
mod found;
mod plan;
mod run;
mod since;
#[cfg(test)]
mod tests;

pub use condition::{
    CONDITIONS_MAX, Comparison, Condition, Field, KindTest, NumberField, Order, Query, ROOT_PATH, Test,
    TextField, TextTest, TimeField, WILDCARD_BYTES_MAX, Wildcard,
};
pub use found::Found;
pub use run::SORTED_MAX;

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use supercargo_model::RepoKey;
use supercargo_projections::prefix_end;
use supercargo_projections::tables::{Repositories, prefix};

use crate::registry::Registry;
use crate::tree::Reach;
use crate::{Error, Result};

impl Registry {
    /// Searches the trees of repositories, each as `eyes` has it; of those that it has none for, nothing is found. Tells
    /// each result until told to stop; `stop` is asked as long as there are none. Blocks.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a query that would take too much memory; whatever `each` returns; storage errors.
    pub fn search(
        &self,
        query: &Query,
        eyes: impl Fn(&RepoKey) -> Option<Reach>,
        stop: &dyn Fn() -> bool,
        each: &mut dyn FnMut(&Found<'_>) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        let snapshot = self.snapshot()?;
        let mut seen = BTreeMap::new();
        let all = prefix::repositories();
        snapshot
            .visit::<Repositories>(&all, &prefix_end(&all), |key, _| {
                if let Some(eyes) = eyes(&key) {
                    seen.insert(key, eyes);
                }
                true
            })
            .map_err(Error::internal)?;
        run::run(&snapshot, &self.log, &seen, query, stop, &mut |found| each(&found))
    }
}
