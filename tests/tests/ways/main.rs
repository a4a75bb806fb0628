//! All ways by which a request reaches a repository, against the real binary: by path, host, port, listener, subdomain and
//! name, for both protocols, with accounts and without, behind proxies and with real clients.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "these are tests, helpers included")]

mod clients;
mod old;
mod rights;
mod routes;
mod support;
mod urls;
