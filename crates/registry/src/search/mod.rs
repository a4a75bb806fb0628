//! Finding items of the tree by what is known of them.
//!
//! What lives here: conditions (`condition`), the choice of an index (`plan`), the indexes (`drivers`) and the search itself
//! (`run`). What does not: what an item is, and who sees it (`tree`), and how a search is written (the surfaces).

mod condition;
mod drivers;
mod plan;
mod run;
mod since;

pub use condition::{
    CONDITIONS_MAX, Comparison, Condition, Field, KindTest, NumberField, Order, Query, ROOT_PATH, Test,
    TextField, TextTest, TimeField, WILDCARD_BYTES_MAX, Wildcard,
};
pub use run::SORTED_MAX;
