//! What every HTTP surface needs of HTTP: bodies, ranges, entity tags, who sent a request and whom they asked.
//!
//! What lives here knows no protocol: no path, no error code, no shape of an answer. Those are the surfaces', which
//! differ in them and in little else.

pub mod body;
pub mod etag;
pub mod range;
pub mod request;
pub mod response;
