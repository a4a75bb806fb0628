//! What every HTTP surface needs of HTTP: bodies, ranges, entity tags, who sent a request, whom they asked and
//! for which repository.
//!
//! What lives here knows no protocol: no path, no error code, no shape of an answer. Those are the surfaces', which
//! differ in them and in little else.

pub mod accounts;
pub mod body;
pub mod etag;
pub mod login;
pub mod mount;
pub mod page;
pub mod query;
pub mod range;
pub mod request;
pub mod response;

pub use mount::{Mount, SharedRoot};
