//! Certificates in files: read, put together, and read again when the files change.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::CertifiedKey;

use super::TlsError;
use super::challenges::Challenges;

/// Where a listener's certificate is, and its clients' authorities.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    /// The certificate and what is between it and its authority.
    pub(crate) certificate: PathBuf,
    /// Its private key; may be the same file.
    pub(crate) key: PathBuf,
    /// Who signs for clients, where they are asked for certificates.
    pub(crate) clients: Option<ClientAuthority>,
    /// The proofs for who gives the certificate. Where there are some, there may be no certificate yet.
    pub(crate) challenges: Option<Challenges>,
}

/// The authorities of clients' certificates.
#[derive(Debug, Clone)]
pub(crate) struct ClientAuthority {
    /// Their certificates.
    pub(crate) file: PathBuf,
    /// Whether a client may have none.
    pub(crate) optional: bool,
}

/// What the files held.
#[derive(Debug)]
pub(crate) struct Material {
    pub(crate) own: Arc<CertifiedKey>,
    pub(crate) clients: Option<Arc<dyn ClientCertVerifier>>,
}

impl Files {
    /// A certificate and its key; clients show nothing.
    pub(crate) fn new(certificate: &Path, key: &Path) -> Files {
        Files { certificate: certificate.to_owned(), key: key.to_owned(), clients: None, challenges: None }
    }

    /// Reads them. Blocks.
    ///
    /// # Errors
    /// [`TlsError`], which names the file and what is wrong with it.
    pub(crate) fn read(&self, provider: &Arc<CryptoProvider>) -> Result<Material, TlsError> {
        let chain = certificates(&self.certificate)?;
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(|error| match error {
            pem::Error::NoItemsFound => TlsError::NoKey(self.key.clone()),
            error => unreadable(&self.key, &error),
        })?;
        // Refuses a key that belongs to another certificate.
        let own = CertifiedKey::from_der(chain, key, provider).map_err(|source| TlsError::NoPair {
            certificate: self.certificate.clone(),
            key: self.key.clone(),
            source,
        })?;
        let clients = self.clients.as_ref().map(|authority| authority.read(provider)).transpose()?;
        Ok(Material { own: Arc::new(own), clients })
    }

    /// What shows that one of them changed: asking the file system is cheap, reading and parsing is not. Follows
    /// links, so that a folder that is swapped as a whole is seen, too. Blocks.
    pub(crate) fn fingerprint(&self) -> Fingerprint {
        let clients = self.clients.iter().map(|authority| &authority.file);
        let files = [&self.certificate, &self.key].into_iter().chain(clients);
        Fingerprint(files.map(|file| std::fs::metadata(file).ok().as_ref().map(FileState::of)).collect())
    }
}

impl ClientAuthority {
    fn read(&self, provider: &Arc<CryptoProvider>) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
        let refused = |what: String| TlsError::ClientAuthority { path: self.file.clone(), what };
        let mut roots = RootCertStore::empty();
        for certificate in certificates(&self.file)? {
            roots.add(certificate).map_err(|error| refused(error.to_string()))?;
        }
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
        let verifier = if self.optional { verifier.allow_unauthenticated() } else { verifier };
        verifier.build().map_err(|error| refused(error.to_string()))
    }
}

/// How files were when they were last looked at.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fingerprint(Vec<Option<FileState>>);

#[derive(Debug, PartialEq, Eq)]
struct FileState {
    device: u64,
    inode: u64,
    size: u64,
    changed: (i64, i64),
}

impl FileState {
    fn of(metadata: &Metadata) -> FileState {
        FileState {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            changed: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }
}

/// The certificates in a file, in their order; at least one.
fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unreadable(file, &error))?;
    if certificates.is_empty() {
        return Err(TlsError::NoCertificate(file.to_owned()));
    }
    Ok(certificates)
}

fn unreadable(file: &Path, error: &pem::Error) -> TlsError {
    TlsError::Unreadable { path: file.to_owned(), what: error.to_string() }
}
