//! An identity provider's keys: found through its discovery document (OpenID Connect Discovery 1.0, section 4),
//! kept, and asked for again when they grow old or a token names one that is not among them.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use parking_lot::RwLock;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use supercargo_model::Timestamp;
use ureq::http::Uri;
use ureq::tls::{Certificate, TlsConfig};

/// How long keys are used before they are asked for again. A key that the provider withdraws is not taken longer.
const KEYS_FRESH_FOR: Duration = Duration::from_secs(60 * 60);
/// How long they are used where the provider does not answer.
const KEYS_USED_FOR: Duration = Duration::from_secs(24 * 60 * 60);
/// How long is waited after asking before asking again: tokens can name any key.
pub(crate) const ASKED_EVERY: Duration = Duration::from_secs(30);
/// How long the provider may take for one answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest answer that is read, in bytes.
const ANSWER_BYTES_MAX: u64 = 1024 * 1024;
/// Most keys that are kept.
const KEYS_MAX: usize = 256;

/// Why a provider's keys can't be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the keys of identity provider {issuer} can't be had: {reason}")]
pub struct FetchError {
    issuer: String,
    reason: String,
}

/// A key, and what it may have signed.
pub(crate) struct ProviderKey {
    id: Option<String>,
    algorithms: &'static [Algorithm],
    /// The one algorithm that the provider says it is for.
    only: Option<KeyAlgorithm>,
    pub(crate) verifying: DecodingKey,
}

/// The keys of one provider.
pub(crate) struct ProviderKeys {
    source: Arc<Source>,
    kept: Arc<RwLock<Option<Kept>>>,
    /// Held by the one who asks the provider: when it was last asked, and what came of it.
    asking: Arc<tokio::sync::Mutex<Option<Asked>>>,
}

struct Asked {
    at: Timestamp,
    outcome: Result<(), FetchError>,
}

#[derive(Clone)]
struct Kept {
    keys: Arc<[Arc<ProviderKey>]>,
    at: Timestamp,
}

impl ProviderKeys {
    /// `None` where the issuer is no URL that keys can be had from safely.
    pub(crate) fn new(issuer: &str, ca_file: Option<&Path>) -> Option<ProviderKeys> {
        let source = Arc::new(Source::new(issuer, ca_file)?);
        Some(ProviderKeys { source, kept: Arc::default(), asking: Arc::default() })
    }

    /// Whether there is anybody who could say who the provider is.
    pub(crate) fn check_trust(&self) -> Result<(), FetchError> {
        self.source.trusted().map(drop)
    }

    /// The key that a token names, if the provider has it. A token that names none is matched to the only key that
    /// could have signed it.
    pub(crate) async fn find(
        &self,
        id: Option<&str>,
        algorithm: Algorithm,
        now: Timestamp,
    ) -> Result<Option<Arc<ProviderKey>>, FetchError> {
        if let Some(kept) = self.kept_since(now.minus(KEYS_FRESH_FOR))
            && let Some(key) = find(&kept.keys, id, algorithm)
        {
            return Ok(Some(key));
        }
        let asked = self.ask(now).await;
        match self.kept_since(now.minus(KEYS_USED_FOR)) {
            Some(kept) => Ok(find(&kept.keys, id, algorithm)),
            None => asked.map(|()| None),
        }
    }

    fn kept_since(&self, earliest: Timestamp) -> Option<Kept> {
        self.kept.read().clone().filter(|kept| kept.at >= earliest)
    }

    /// Asks the provider, unless that was done a moment ago. Whoever comes meanwhile waits for the same answer.
    async fn ask(&self, now: Timestamp) -> Result<(), FetchError> {
        let mut asked = Arc::clone(&self.asking).lock_owned().await;
        if let Some(Asked { at, outcome }) = &*asked
            && now < at.plus(ASKED_EVERY)
        {
            return outcome.clone();
        }
        let (source, kept) = (Arc::clone(&self.source), Arc::clone(&self.kept));
        // Goes on where the caller leaves: else who comes and goes could have it asked again and again.
        let asking = tokio::task::spawn_blocking(move || {
            let outcome = source.fetch().map(|keys| {
                tracing::debug!(issuer = source.issuer, keys = keys.len(), "identity provider's keys read");
                *kept.write() = Some(Kept { keys: keys.into(), at: now });
            });
            if let Err(error) = &outcome {
                tracing::warn!(%error, "identity provider asked in vain");
            }
            *asked = Some(Asked { at: now, outcome: outcome.clone() });
            outcome
        });
        asking.await.unwrap_or_else(|_| Err(self.source.failed("the server is stopping".to_owned())))
    }
}

fn find(keys: &[Arc<ProviderKey>], id: Option<&str>, algorithm: Algorithm) -> Option<Arc<ProviderKey>> {
    let mut able = keys.iter().filter(|key| {
        key.algorithms.contains(&algorithm)
            && key.only.is_none_or(|only| only == KeyAlgorithm::from(algorithm))
    });
    match id {
        Some(id) => able.find(|key| key.id.as_deref() == Some(id)).cloned(),
        None => {
            let only = able.next()?;
            able.next().is_none().then(|| Arc::clone(only))
        }
    }
}

impl ProviderKey {
    /// `None` for a key that signs nothing that is taken here.
    fn from_jwk(jwk: &Jwk) -> Option<ProviderKey> {
        use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
        if jwk.common.public_key_use.as_ref().is_some_and(|usage| *usage != PublicKeyUse::Signature) {
            return None;
        }
        let algorithms: &[Algorithm] = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => &[RS256, RS384, RS512, PS256, PS384, PS512],
            AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => &[ES256],
            AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P384 => &[ES384],
            AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => &[EdDSA],
            // A shared secret is none that a provider would publish.
            _ => return None,
        };
        let (id, only) = (jwk.common.key_id.clone(), jwk.common.key_algorithm);
        Some(ProviderKey { id, algorithms, only, verifying: DecodingKey::from_jwk(jwk).ok()? })
    }
}

/// Where a provider's keys come from.
struct Source {
    issuer: String,
    ca_file: Option<PathBuf>,
    loopback: bool,
}

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

#[derive(Deserialize)]
struct KeySet {
    /// Each read by itself: a key of a kind that is not known here must not cost the others.
    keys: Vec<serde_json::Value>,
}

impl Source {
    fn new(issuer: &str, ca_file: Option<&Path>) -> Option<Source> {
        let uri = issuer.parse::<Uri>().ok()?;
        let loopback = is_loopback(&uri);
        if !is_safe(&uri, loopback) || issuer.contains(['?', '#']) {
            return None;
        }
        Some(Source { issuer: issuer.to_owned(), ca_file: ca_file.map(Path::to_owned), loopback })
    }

    /// Made anew each time: it is asked once an hour, and what the machine trusts may change.
    fn agent(&self) -> Result<ureq::Agent, FetchError> {
        let tls = TlsConfig::builder()
            .root_certs(self.trusted()?.into())
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .build();
        let config = ureq::Agent::config_builder()
            .tls_config(tls)
            .timeout_global(Some(ANSWER_TIMEOUT))
            // A provider says where its keys are; it does not send us elsewhere.
            .max_redirects(0)
            .user_agent(concat!("supercargo/", env!("CARGO_PKG_VERSION")));
        // A proxy of the environment does not lead to this machine's own addresses.
        let config = if self.loopback { config.proxy(None) } else { config };
        Ok(config.build().into())
    }

    /// The certificates of whom to trust: the file's, else what the machine trusts.
    fn trusted(&self) -> Result<Vec<Certificate<'static>>, FetchError> {
        let Some(file) = &self.ca_file else {
            let trusted = rustls_native_certs::load_native_certs().certs;
            return Ok(trusted.iter().map(|found| Certificate::from_der(found).to_owned()).collect());
        };
        let failed = |error: &dyn fmt::Display| self.failed(format!("{}: {error}", file.display()));
        let text = std::fs::read(file).map_err(|error| failed(&error))?;
        let found = pem::parse_many(text).map_err(|error| failed(&error))?;
        let found = found.iter().filter(|pem| pem.tag() == "CERTIFICATE");
        let found: Vec<_> = found.map(|pem| Certificate::from_der(pem.contents()).to_owned()).collect();
        if found.is_empty() {
            return Err(failed(&"there is no certificate in it"));
        }
        Ok(found)
    }

    fn failed(&self, reason: String) -> FetchError {
        FetchError { issuer: self.issuer.clone(), reason }
    }

    /// Reads the discovery document and then the keys. Blocks.
    fn fetch(&self) -> Result<Vec<Arc<ProviderKey>>, FetchError> {
        let at = format!("{}/.well-known/openid-configuration", self.issuer.trim_end_matches('/'));
        let agent = self.agent()?;
        let discovery = self.get::<Discovery>(&agent, &at)?;
        // Section 4.3: the document must be this issuer's own.
        if discovery.issuer != self.issuer {
            let other = discovery.issuer;
            return Err(self.failed(format!("its discovery document is of another issuer, {other:?}")));
        }
        if !discovery.jwks_uri.parse::<Uri>().is_ok_and(|uri| is_safe(&uri, self.loopback)) {
            return Err(self.failed(format!("its jwks_uri {:?} is not an https:// URL", discovery.jwks_uri)));
        }
        let set = self.get::<KeySet>(&agent, &discovery.jwks_uri)?;
        let keys = set.keys.into_iter().filter_map(|key| {
            let jwk = serde_json::from_value::<Jwk>(key).ok()?;
            ProviderKey::from_jwk(&jwk).map(Arc::new)
        });
        Ok(keys.take(KEYS_MAX).collect())
    }

    fn get<T: DeserializeOwned>(&self, agent: &ureq::Agent, url: &str) -> Result<T, FetchError> {
        let failed = |error: ureq::Error| self.failed(format!("{url}: {error}"));
        let mut answer = agent.get(url).header("Accept", "application/json").call().map_err(failed)?;
        // A redirect is not followed, and comes back as an answer.
        if answer.status() != 200 {
            return Err(self.failed(format!("{url}: status {}", answer.status())));
        }
        let body = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX);
        body.read_json().map_err(failed)
    }
}

/// Over TLS; without it on this machine alone.
fn is_safe(uri: &Uri, loopback_allowed: bool) -> bool {
    match uri.scheme_str() {
        Some("https") => uri.host().is_some(),
        Some("http") => loopback_allowed && is_loopback(uri),
        _ => false,
    }
}

fn is_loopback(uri: &Uri) -> bool {
    let host = uri.host().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}
