//! Finding items of the tree by what is known of them.
mod condition;
pub use condition::*;
