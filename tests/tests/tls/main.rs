//! TLS against the real binary: certificates and their renewal, HTTP/2, what clients show, redirects, and the
//! clients that people use, trusting what the server made.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "these are tests, helpers included")]

mod acme;
mod certificates;
mod client_certificates;
mod clients;
mod connections;
mod generated;
mod guides;
mod http2;
mod logins;
mod proxy;
mod redirect;

use std::net::TcpListener;
use std::path::{Path, PathBuf};

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
fn made_authority(server: &Server) -> PathBuf {
    server.data().join("tls/ca.crt")
}

/// A folder with that authority, as `--cert-dir` of podman, buildah and skopeo wants it.
fn trusting(authority: &Path, folder: &Path) -> PathBuf {
    let certificates = folder.join("certs");
    std::fs::create_dir(&certificates).unwrap();
    std::fs::copy(authority, certificates.join("ca.crt")).unwrap();
    certificates
}

/// A port that is free at the moment, for who can't say which it took.
fn free_port() -> u16 {
    free_ports::<1>()[0]
}

/// Different ones.
fn free_ports<const N: usize>() -> [u16; N] {
    let listeners = [(); N].map(|()| TcpListener::bind(("127.0.0.1", 0)).unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}
