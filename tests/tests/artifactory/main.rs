//! The Artifactory surface as its clients use it, against the real binary: curl, and the Python clients that scripts are
//! written with.
#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

mod python;
mod repositories;
mod security;
mod system;

use supercargo_tests::program::{Printed, require, run};

/// Runs curl, which fails with the answer where that is an error.
fn curl(arguments: &[&str]) -> Printed {
    run(require("curl").args(["--silent", "--show-error", "--fail-with-body"]).args(arguments))
}

/// Runs curl as somebody, and answers with the status and the body.
fn curl_as(login: &str, arguments: &[&str]) -> (u16, String) {
    let told = run(require("curl")
        .args(["--silent", "--show-error", "--user", login, "--write-out", "\n%{http_code}"])
        .args(arguments));
    let (body, status) = told.text.rsplit_once('\n').unwrap();
    (status.parse().unwrap(), body.to_owned())
}
