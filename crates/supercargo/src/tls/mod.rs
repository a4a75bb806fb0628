//! TLS below HTTP: certificates and what they are served with, read anew when their files change; what
//! clients show; the authority and certificate that are made where nobody has one, and certificates that an
//! authority is asked for.
//!
//! What does not live here: listeners and connections, which are `http`'s, and what is configured, which is
//! `config`'s. Nothing here knows of requests.

mod acme;
mod certificates;
mod challenges;
mod client;
mod files;
mod self_signed;
mod server;
mod store;
mod trust;

use std::path::PathBuf;

pub(crate) use certificates::Certificates;
pub(crate) use client::shown_by;
pub(crate) use self_signed::authority_file;
pub(crate) use server::{ALPN_HTTP_2, Secure, provider};
pub(crate) use trust::Trust;

/// Why there is no TLS. The text is fit to be shown to a person.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    /// A file can't be read, or is no PEM.
    #[error("{}: {what}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system or the reader said.
        what: String,
    },
    /// A file holds no certificate.
    #[error("{} holds no certificate: it must be PEM, with the server's own certificate first", .0.display())]
    NoCertificate(PathBuf),
    /// A file holds no key.
    #[error("{} holds no private key: it must be PEM (PKCS#8, SEC1 or PKCS#1), not encrypted", .0.display())]
    NoKey(PathBuf),
    /// The certificate and the key are not a pair, or the key is of no known kind.
    #[error("{} and {} can't be used together: {source}", certificate.display(), key.display())]
    NoPair {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What is wrong with them.
        source: rustls::Error,
    },
    /// The clients' authorities can't be used.
    #[error("{}: no client could be verified with it: {what}", path.display())]
    ClientAuthority {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The library refused.
    #[error("TLS can't be set up: {0}")]
    Setup(#[from] rustls::Error),
    /// A listener's certificate is to come from where there is none.
    #[error("there is no certificate of the kind that the listener is to have")]
    NoSource,
    /// An authority or a certificate can't be made.
    #[error("no certificate could be made: {0}")]
    NotMade(#[from] rcgen::Error),
    /// An authority did not give a certificate.
    #[error("the authority gave no certificate: {0}")]
    NotGiven(#[from] instant_acme::Error),
    /// An authority refused a certificate.
    #[error("the authority refused a certificate: {0}")]
    Refused(String),
    /// An authority did not come to an end.
    #[error("the authority did not answer in time")]
    TooSlow,
    /// What was made can't be kept.
    #[error("{}: {source}", path.display())]
    NotWritten {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}
