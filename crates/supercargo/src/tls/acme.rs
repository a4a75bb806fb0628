//! Certificates from an authority that is asked for them (RFC 8555): the account, the order and when to make it.
//! The protocol itself is the library's. What was given is kept in files, which listeners read like any others.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use instant_acme::{
    Account, AccountCredentials, AuthorizationStatus, ChallengeType, Identifier, NewAccount, NewOrder,
    OrderStatus, RetryPolicy,
};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde::{Deserialize, Serialize};
use tokio::time::{sleep, timeout};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::TlsError;
use super::challenges::Challenges;
use super::files::Files;
use super::self_signed::{names_of, remaining};
use super::server::provider;
use super::store::{self, Access};
use crate::config;

/// How often it is looked whether it is time: by the wall's clock, which may be set.
const LOOK_EVERY: Duration = Duration::from_secs(3600);
/// How long it takes until an order is tried again that failed; each time longer, since authorities count.
const AGAIN_AFTER: Duration = Duration::from_secs(60);
const AGAIN_AFTER_MAX: Duration = Duration::from_secs(4 * 3600);
const AGAIN_FACTOR: u32 = 4;
/// How long an order may take from its first request.
const ORDER_MAX: Duration = Duration::from_secs(600);
/// How long the authority may take for a step of it.
const STEP_MAX: RetryPolicy = RetryPolicy::new().timeout(Duration::from_secs(180));

/// Below the data folder, where no other folder is named.
const FOLDER: &str = "tls/acme";
const ACCOUNT_FILE: &str = "account.json";
/// Certificate and key, so that they are replaced in one.
const CERTIFICATE_FILE: &str = "certificate.pem";

/// An authority, and what it is asked for.
#[derive(Debug)]
pub(crate) struct Acme {
    folder: PathBuf,
    config: config::tls::Acme,
    challenges: Challenges,
    provider: Arc<CryptoProvider>,
}

/// The account in its file.
#[derive(Serialize, Deserialize)]
struct Kept {
    directory: String,
    contact: Vec<String>,
    credentials: AccountCredentials,
}

impl Acme {
    /// Nothing is asked before [`Acme::keep`]. Blocks.
    ///
    /// # Errors
    /// [`TlsError::NotWritten`] where there can't be a folder.
    pub(crate) fn prepare(data: &Path, config: &config::tls::Acme) -> Result<Acme, TlsError> {
        let folder = match config.cache.as_os_str().is_empty() {
            true => data.join(FOLDER),
            false => config.cache.clone(),
        };
        store::make_folder(&folder)?;
        let provider = provider();
        // The library takes that of the process. Fails only where one is set, and then it is this one.
        let _ = CryptoProvider::clone(&provider).install_default();
        let mut config = config.clone();
        for contact in &mut config.contact {
            if !contact.contains(':') {
                *contact = format!("mailto:{contact}");
            }
        }
        Ok(Acme { folder, config, challenges: Challenges::default(), provider })
    }

    /// Where listeners find the certificate, once there is one.
    pub(crate) fn files(&self) -> Files {
        let file = self.folder.join(CERTIFICATE_FILE);
        Files { challenges: Some(self.challenges.clone()), ..Files::new(&file, &file) }
    }

    /// Asks for a certificate where there is none, or it will end, until the runtime does.
    pub(crate) async fn keep(self) {
        let mut again = AGAIN_AFTER;
        loop {
            let wait = if self.is_good(SystemTime::now()) {
                LOOK_EVERY
            } else {
                match self.obtain().await {
                    Ok(()) => {
                        again = AGAIN_AFTER;
                        LOOK_EVERY
                    }
                    Err(error) => {
                        tracing::error!(%error, retry_seconds = again.as_secs(), "no certificate by ACME");
                        let wait = again;
                        again = (again * AGAIN_FACTOR).min(AGAIN_AFTER_MAX);
                        wait
                    }
                }
            };
            sleep(wait).await;
        }
    }

    /// Whether there is a certificate for all names with more than a third of its time left. Reads a small file.
    fn is_good(&self, now: SystemTime) -> bool {
        let Ok(pem) = std::fs::read(self.folder.join(CERTIFICATE_FILE)) else { return false };
        let Ok(certificate) = CertificateDer::from_pem_slice(&pem) else { return false };
        let Ok((_, certificate)) = X509Certificate::from_der(&certificate) else { return false };
        let Some(names) = names_of(&certificate) else { return false };
        let has = |domain: &String| {
            names.iter().any(|name| matches!(name, rcgen::SanType::DnsName(name) if name.as_str() == domain))
        };
        let validity = certificate.validity();
        let whole = validity.not_after.timestamp().saturating_sub(validity.not_before.timestamp());
        let third = Duration::from_secs(u64::try_from(whole / 3).unwrap_or(0));
        self.config.domains.iter().all(has) && remaining(&certificate, now).is_some_and(|left| left > third)
    }

    /// Gets a certificate, and keeps it.
    async fn obtain(&self) -> Result<(), TlsError> {
        let ordered = timeout(ORDER_MAX, self.order()).await;
        self.challenges.take_down();
        let pem = ordered.map_err(|_| TlsError::TooSlow)??;
        self.write(CERTIFICATE_FILE, pem).await?;
        tracing::info!(domains = self.config.domains.join(", "), "the authority gave a certificate");
        Ok(())
    }

    /// A certificate, what is between it and the authority's root, and its key.
    async fn order(&self) -> Result<String, TlsError> {
        let account = self.account().await?;
        let identifiers: Vec<Identifier> = self.config.domains.iter().cloned().map(Identifier::Dns).collect();
        let mut order = account.new_order(&NewOrder::new(&identifiers)).await?;
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization?;
            match authorization.status {
                // Proven lately.
                AuthorizationStatus::Valid => continue,
                AuthorizationStatus::Pending => {}
                other => return Err(TlsError::Refused(format!("a name's authorization is {other:?}"))),
            }
            let domain = authorization.identifier().to_string();
            let Some(mut challenge) = authorization.challenge(ChallengeType::TlsAlpn01) else {
                return Err(TlsError::Refused(format!(
                    "it does not take TLS-ALPN-01 as a proof for {domain}"
                )));
            };
            let proof = challenge.key_authorization().digest();
            let Ok(digest) = proof.as_ref().try_into() else {
                return Err(TlsError::Refused("a proof is no digest".to_owned()));
            };
            self.challenges.put_up(&domain, digest, &self.provider)?;
            challenge.set_ready().await?;
        }
        match order.poll_ready(&STEP_MAX).await? {
            OrderStatus::Ready => {}
            other => {
                return Err(TlsError::Refused(format!(
                    "the order is {other:?}: it must reach port 443 of {} and find this server there",
                    self.config.domains.join(", ")
                )));
            }
        }
        let key = order.finalize().await?;
        let chain = order.poll_certificate(&STEP_MAX).await?;
        Ok(format!("{chain}\n{key}"))
    }

    /// The account: the one that was kept, where it is with this authority and for these contacts.
    async fn account(&self) -> Result<Account, TlsError> {
        let client = match self.config.ca.as_os_str().is_empty() {
            true => Account::builder()?,
            false => Account::builder_with_root(&self.config.ca)?,
        };
        let kept = std::fs::read(self.folder.join(ACCOUNT_FILE)).ok();
        let kept = kept.and_then(|text| serde_json::from_slice::<Kept>(&text).ok());
        if let Some(kept) =
            kept.filter(|kept| kept.directory == self.config.directory && kept.contact == self.config.contact)
        {
            return Ok(client.from_credentials(kept.credentials).await?);
        }
        let contact: Vec<&str> = self.config.contact.iter().map(String::as_str).collect();
        let new =
            NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
        let (account, credentials) = client.create(&new, self.config.directory.clone(), None).await?;
        let kept = Kept {
            directory: self.config.directory.clone(),
            contact: self.config.contact.clone(),
            credentials,
        };
        // A struct of texts always is JSON.
        let text = serde_json::to_string_pretty(&kept).unwrap_or_default();
        self.write(ACCOUNT_FILE, text).await?;
        Ok(account)
    }

    async fn write(&self, name: &'static str, text: String) -> Result<(), TlsError> {
        let folder = self.folder.clone();
        let written =
            tokio::task::spawn_blocking(move || store::write(&folder, name, &text, Access::OwnerAlone)).await;
        // The thread can only panic, or the runtime has ended, and then there is nobody to tell.
        written.unwrap_or(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair};

    const DAY: Duration = Duration::from_secs(24 * 3600);

    #[test]
    fn a_certificate_is_good_for_its_names_and_two_thirds_of_its_time() {
        let folder = tempfile::tempdir().unwrap();
        let acme = |domains: &[&str]| {
            let domains = domains.iter().map(|domain| (*domain).to_owned()).collect();
            let config = config::tls::Acme {
                domains,
                cache: folder.path().to_owned(),
                ..config::tls::Acme::default()
            };
            Acme::prepare(Path::new("/nowhere"), &config).unwrap()
        };
        let now = SystemTime::now();
        assert!(!acme(&["a.example"]).is_good(now), "there is none");

        let mut params =
            CertificateParams::new(vec!["a.example".to_owned(), "b.example".to_owned()]).unwrap();
        params.not_before = now.into();
        params.not_after = (now + 90 * DAY).into();
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        std::fs::write(folder.path().join(CERTIFICATE_FILE), certificate.pem()).unwrap();
        for (domains, days, good) in [
            (&["a.example"][..], 0, true),
            (&["b.example", "a.example"], 59, true),
            (&["a.example"], 61, false),
            (&["a.example"], 91, false),
            (&["a.example", "c.example"], 0, false),
        ] {
            assert_eq!(acme(domains).is_good(now + days * DAY), good, "{domains:?} after {days} days");
        }
        std::fs::write(folder.path().join(CERTIFICATE_FILE), "nonsense").unwrap();
        assert!(!acme(&["a.example"]).is_good(now));
    }
}
