//! The folds: what each event does, that counts are what a recount gives, and that tables are a function of
//! the log alone. Through the crate's public functions; `PROPTEST_CASES` sets how many cases properties get.
#![expect(clippy::unwrap_used, reason = "these are tests, helpers included")]
#![expect(unreachable_pub, reason = "modules of one test")]

mod folds;
mod recount;
mod replay;
mod world;
