//! Proofs that a host name is this server's (RFC 8737): an authority connects, asks for them by a protocol of
//! their own, and looks at the certificate that it is shown. Nothing else is said on such a connection.

use std::collections::HashMap;
use std::sync::Arc;

use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::ClientHello;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio::sync::watch;

use super::TlsError;

/// The protocol's name in ALPN.
const ALPN: &[u8] = b"acme-tls/1";

/// The proofs that authorities wait for at the moment, by host name. Cloned, they are the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Challenges(Arc<watch::Sender<HashMap<String, Arc<ServerConfig>>>>);

impl Challenges {
    /// Whether a client asks for a proof.
    pub(super) fn asked_for(hello: &ClientHello<'_>) -> bool {
        hello.alpn().is_some_and(|mut protocols| protocols.any(|protocol| protocol == ALPN))
    }

    /// The proof for the name that is asked for.
    pub(super) fn of(&self, hello: &ClientHello<'_>) -> Option<Arc<ServerConfig>> {
        self.0.borrow().get(hello.server_name()?).cloned()
    }

    /// Puts up a proof for a name: the digest of what the authority and the account know.
    ///
    /// # Errors
    /// [`TlsError::NotMade`] where the name can't be in a certificate.
    pub(super) fn put_up(
        &self,
        domain: &str,
        digest: &[u8; 32],
        provider: &Arc<CryptoProvider>,
    ) -> Result<(), TlsError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(vec![domain.to_owned()])?;
        params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
        let certificate = params.self_signed(&key)?;
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let key = provider.key_provider.load_private_key(key)?;
        // Put together without a look at it: the library refuses the extension that makes it a proof.
        let proof = CertifiedKey::new(vec![certificate.der().clone()], key);
        let mut config = ServerConfig::builder_with_provider(Arc::clone(provider))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(proof)));
        config.alpn_protocols = vec![ALPN.to_vec()];
        self.0.send_modify(|proofs| {
            proofs.insert(domain.to_owned(), Arc::new(config));
        });
        Ok(())
    }

    /// Takes all of them down.
    pub(super) fn take_down(&self) {
        self.0.send_modify(HashMap::clear);
    }
}
