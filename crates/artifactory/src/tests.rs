//! The surface without a network: requests in, answers out.

mod bad_input;
mod hidden;
mod promotion;
mod repositories;
mod rights;
mod security;
mod support;
mod system;
mod tokens;
mod tree;
