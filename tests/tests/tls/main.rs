//! TLS against the real binary: certificates and their renewal, HTTP/2, what clients show, redirects, and the
//! clients that people use, trusting what the server made.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "these are tests, helpers included")]

mod acme;
mod certificates;
mod client_certificates;
mod clients;
mod connections;
mod http2;
mod redirect;

use std::path::Path;

use supercargo_tests::Server;
use supercargo_tests::server::Settings;

/// A listener for https on a free port.
const HTTPS: [&str; 2] = ["--listen", "https://127.0.0.1:0"];

/// A server that serves `tls.crt` and `tls.key` of that folder.
fn serving(folder: &Path) -> Settings {
    let at = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    Server::settings()
        .argument(HTTPS[0])
        .argument(HTTPS[1])
        .variable("SUPERCARGO_TLS__CERTIFICATE", &at("tls.crt"))
        .variable("SUPERCARGO_TLS__KEY", &at("tls.key"))
}

/// A server that makes its own certificate.
fn self_signed() -> Settings {
    Server::settings().argument(HTTPS[0]).argument(HTTPS[1]).argument("--self-signed")
}

/// The authority that a server made.
fn made_authority(server: &Server) -> std::path::PathBuf {
    server.data().join("tls/ca.crt")
}
