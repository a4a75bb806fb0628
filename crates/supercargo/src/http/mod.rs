//! HTTP below the surfaces: listeners, connections and their time-outs, request ids, what proxies say of
//! clients, which repository is meant, access lines, web pages of other origins, and the endpoints that every listener has (`/healthz`,
//! `/readyz`, `/metrics`).
//!
//! What does not live here: what requests mean. Each listener has a router for that.

mod app;
mod base_url;
mod body;
mod cors;
mod forwarded;
mod listen;
mod pace;
mod redirect;
mod streams;
mod ways;

pub(crate) use app::{App, Surfaces};
pub(crate) use base_url::{BaseUrl, PathPrefix, optional};
pub(crate) use cors::{WebOrigin, with_cors};
pub(crate) use forwarded::host_and_port;
pub(crate) use listen::{Listener, Server, bind};
pub(crate) use ways::{Door, Ways};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Lets this process have as many files open as the system allows, and says how many that is. Each
/// connection is one.
pub(crate) fn raise_open_files_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    // Where it can't be raised, what there was is what there is.
    let current = if setrlimit(Resource::Nofile, raised).is_ok() { limit.maximum } else { limit.current };
    current.unwrap_or(u64::MAX)
}
