//! The Python clients that people script Artifactory with, each at its own pace through what it has.

use std::path::{Path, PathBuf};

use supercargo_tests::accounts::{Guarded, PASSWORD};
use supercargo_tests::program::{require, run};
use supercargo_tests::server::{Server, path_text};

/// The interpreter that scripts/install-test-deps.sh made, which has the clients.
fn interpreter() -> PathBuf {
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache");
    let cache = std::env::var_os("XDG_CACHE_HOME").map_or_else(home, PathBuf::from);
    cache.join("supercargo-tests/python/bin/python")
}

fn drive(script: &str) {
    let guarded = Guarded::start(Server::settings());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python").join(script);
    let url = format!("http://{}/artifactory", guarded.server.address());
    let done = run(require(path_text(&interpreter())).arg(script).args([&url, PASSWORD]));
    assert_eq!(done.text, "done", "{}", done.stderr);
    let Guarded { server, .. } = guarded;
    server.stop().verify();
}

#[test]
fn dohq_artifactory_administers_a_registry() {
    drive("dohq.py");
}

#[test]
fn pyartifactory_administers_a_registry() {
    drive("pyart.py");
}

#[test]
fn dohq_artifactory_works_with_what_docker_pushed() {
    drive("dohq_content.py");
}

#[test]
fn pyartifactory_works_with_what_docker_pushed() {
    drive("pyart_content.py");
}
