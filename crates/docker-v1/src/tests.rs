//! The surface as a whole, over a registry in a folder of its own, without sockets: each row of the V1 specification's
//! tables. What a connection adds, real clients and crashes are in the workspace's `tests` package.

mod accounts;
mod bad_input;
mod both;
mod images;
mod repositories;
mod support;
