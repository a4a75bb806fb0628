//! What every HTTP surface needs of HTTP: bodies, ranges, entity tags, who sent a request and whom they asked.
//!
//! What lives here knows no protocol: no path, no error code, no shape of an answer. Those are the surfaces', which
//! differ in them and in little else.

pub mod accounts;
pub mod body;
pub mod etag;
pub mod page;
pub mod query;
pub mod range;
pub mod request;
pub mod response;

use supercargo_model::RepoKey;

/// One repository, served below a prefix.
#[derive(Debug, Clone)]
pub struct Mount {
    /// The repository.
    pub repository: RepoKey,
    /// What its paths begin with, before the protocol's own: nothing at the root of a listener, or a path such as
    /// `/artifactory/api/docker/docker-local`, with a slash in front and none behind.
    pub prefix: String,
}
