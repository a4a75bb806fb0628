//! The protocol as it goes over the wire, against the real binary: statuses, headers and bodies; everything
//! that can be wrong with a request; connections that misbehave; and a server in trouble.
#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

mod accounts;
mod connections;
mod details;
mod edges;
mod held;
mod identity;
mod import;
mod logins;
mod manifests;
mod matrix;
mod proxies;
mod referrers;
mod refusals;
mod rows;
mod rules;
mod schema1;
mod setup;
mod trouble;
mod uploads;

use supercargo_tests::http::Response;

/// Fails the test unless this is a refusal with that status and code, in the protocol's shape.
#[track_caller]
fn expect_error(answer: &Response, status: u16, code: &str) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(answer.header("Docker-Distribution-API-Version"), Some("registry/2.0"), "{answer:?}");
    assert_eq!(answer.header("Content-Type"), Some("application/json"), "{answer:?}");
    let body = answer.json();
    let errors = body["errors"].as_array().filter(|errors| !errors.is_empty());
    for error in errors.unwrap_or_else(|| panic!("no errors in {answer:?}")) {
        assert_eq!(error["code"], code, "{answer:?}");
        assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()), "{answer:?}");
    }
}
