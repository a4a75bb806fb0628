//! The store as its callers use it, on a real file system. `PROPTEST_CASES` sets how many cases the model has.
#![expect(clippy::unwrap_used, reason = "these are tests, helpers included")]
#![expect(unreachable_pub, reason = "modules of one test")]

mod crashes;
mod full_disk;
mod model;
mod publishing;
mod races;
mod sessions;
mod support;
