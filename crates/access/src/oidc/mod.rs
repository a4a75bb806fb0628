//! Identity providers: whoever has an identity token (OpenID Connect Core 1.0, section 2) of one that is trusted
//! sends it in place of a password, with any user name. A build job needs no secret of ours that way.
//!
//! A token is taken with a signature of the provider's published keys in an algorithm that is allowed for that key,
//! the provider's own name as issuer, and an audience that is ours; and only if the provider's rules let its claims
//! in. Nothing of it is read before that but the issuer, to know whom to ask.

mod keys;
mod rules;

use std::collections::HashSet;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use jsonwebtoken::Algorithm;
use quick_cache::sync::Cache;
use serde::{Deserialize, Serialize};
use supercargo_model::Timestamp;

use crate::bearer::{seconds, signature_alone};
use crate::secret::sha256;
use crate::{AUTHORIZATION_BYTES_MAX, Subject};
pub(crate) use keys::ASKED_EVERY;
pub use keys::FetchError;
use keys::ProviderKeys;
pub use rules::{
    ClaimPattern, ClaimRule, GroupRule, NotAPattern, PrefixedClaim, Rules, RulesRefused, UserRule,
};

/// How far the provider's clock and ours may be apart.
const LEEWAY: Duration = Duration::from_secs(60);
/// How long a verified token is remembered, so that a job that sends it with each request costs one signature check.
const REMEMBERED_FOR: Duration = Duration::from_secs(5 * 60);
/// How many are.
const REMEMBERED_MAX: usize = 4096;

/// An identity provider that is trusted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table with issuer, audiences and rules")]
pub struct ProviderSettings {
    /// Its name for itself: the `iss` claim, letter by letter, and where its discovery document is found.
    pub issuer: String,
    /// The audiences that are ours. A token must be for one of them: else one that was given out for another service
    /// would be good here.
    pub audiences: Vec<String>,
    /// The algorithms that are taken. Only those by which a provider alone can sign.
    #[serde(default = "default_algorithms")]
    pub algorithms: Vec<SigningAlgorithm>,
    /// Certificates in PEM, of the authorities that are trusted to say who the provider is; asked for again with its
    /// keys. Without it, those that the machine trusts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// Whom its tokens stand for.
    pub rules: Rules,
}

fn default_algorithms() -> Vec<SigningAlgorithm> {
    vec![SigningAlgorithm::RS256, SigningAlgorithm::ES256, SigningAlgorithm::EdDSA]
}

/// How an identity token may be signed (RFC 7518, section 3.1). There is no `none` and no HMAC, whose key would be
/// known to whoever verifies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are the specification's")]
pub enum SigningAlgorithm {
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    EdDSA,
}

impl SigningAlgorithm {
    fn algorithm(self) -> Algorithm {
        match self {
            SigningAlgorithm::RS256 => Algorithm::RS256,
            SigningAlgorithm::RS384 => Algorithm::RS384,
            SigningAlgorithm::RS512 => Algorithm::RS512,
            SigningAlgorithm::PS256 => Algorithm::PS256,
            SigningAlgorithm::PS384 => Algorithm::PS384,
            SigningAlgorithm::PS512 => Algorithm::PS512,
            SigningAlgorithm::ES256 => Algorithm::ES256,
            SigningAlgorithm::ES384 => Algorithm::ES384,
            SigningAlgorithm::EdDSA => Algorithm::EdDSA,
        }
    }
}

/// Why a provider can't be set up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProviderSettingsError {
    /// Tokens' keys would come over a line that others can change.
    #[error("issuer {0:?}: use an https:// URL without query (http:// on a loopback address alone)")]
    Issuer(String),
    /// Tokens for anybody would be taken.
    #[error("issuer {0:?}: name one audience at least")]
    NoAudience(String),
    /// No token could be taken.
    #[error("issuer {0:?}: name one algorithm at least")]
    NoAlgorithm(String),
    /// The same provider is set up again.
    #[error("issuer {0:?} is there twice")]
    Twice(String),
}

/// Why an identity token is not taken.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// It is malformed, or not signed by the provider in a way that is allowed.
    #[error("the identity token is not valid")]
    Invalid,
    /// It is for another service.
    #[error("the identity token is for another audience")]
    Audience,
    /// Its time is over, or has not come.
    #[error("the identity token has expired, or its time has not come")]
    Expired,
    /// The rules do not let it in.
    #[error(transparent)]
    Rules(#[from] RulesRefused),
    /// The user is disabled here, or another user has the name.
    #[error("the user that the identity token stands for may not log in")]
    Subject,
    /// The provider's keys can't be had. Not the client's fault.
    #[error(transparent)]
    Fetch(#[from] FetchError),
}

/// Verifies the tokens of one identity provider.
pub struct Provider {
    settings: ProviderSettings,
    algorithms: Vec<Algorithm>,
    keys: ProviderKeys,
    /// By the SHA-256 of the text: whom it stands for, and until when.
    verified: Cache<[u8; 32], (Subject, Timestamp)>,
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Provider").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Provider {
    /// Sets a provider up. Asks it nothing yet: a registry starts also while its provider is down.
    ///
    /// # Errors
    /// The settings would let anybody in, or nobody.
    pub fn new(settings: ProviderSettings) -> Result<Provider, ProviderSettingsError> {
        let issuer = settings.issuer.clone();
        if settings.audiences.is_empty() {
            return Err(ProviderSettingsError::NoAudience(issuer));
        }
        if settings.algorithms.is_empty() {
            return Err(ProviderSettingsError::NoAlgorithm(issuer));
        }
        let keys = ProviderKeys::new(&issuer, settings.ca_file.as_deref());
        let keys = keys.ok_or(ProviderSettingsError::Issuer(issuer))?;
        let algorithms = settings.algorithms.iter().map(|algorithm| algorithm.algorithm()).collect();
        Ok(Provider { settings, algorithms, keys, verified: Cache::new(REMEMBERED_MAX) })
    }

    /// Sets several up.
    ///
    /// # Errors
    /// One can't be, or is there twice.
    pub fn all(
        settings: impl IntoIterator<Item = ProviderSettings>,
    ) -> Result<Vec<Provider>, ProviderSettingsError> {
        let mut seen = HashSet::new();
        settings
            .into_iter()
            .map(|settings| {
                if !seen.insert(settings.issuer.clone()) {
                    return Err(ProviderSettingsError::Twice(settings.issuer));
                }
                Provider::new(settings)
            })
            .collect()
    }

    /// The provider's name for itself.
    pub fn issuer(&self) -> &str {
        &self.settings.issuer
    }

    /// Says whether the provider could be trusted once it is asked. Reads the file of its authorities, where there
    /// is one.
    ///
    /// # Errors
    /// The file can't be read, or holds no certificate.
    pub fn check_trust(&self) -> Result<(), FetchError> {
        self.keys.check_trust()
    }

    /// Verifies a token, and says whom it stands for. Asks the provider for its keys where they are not known, or a
    /// key is asked for that is not among them: at most once in half a minute.
    ///
    /// # Errors
    /// Why it is not taken.
    pub async fn verify(&self, token: &str, now: Timestamp) -> Result<Subject, ProviderError> {
        let mark = sha256(token.as_bytes());
        if let Some((subject, until)) = self.verified.get(&mark)
            && now < until
        {
            return Ok(subject);
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| ProviderError::Invalid)?;
        if !self.algorithms.contains(&header.alg) {
            return Err(ProviderError::Invalid);
        }
        let key =
            self.keys.find(header.kid.as_deref(), header.alg, now).await?.ok_or(ProviderError::Invalid)?;
        let claims =
            jsonwebtoken::decode::<serde_json::Value>(token, &key.verifying, &signature_alone(&[header.alg]));
        let claims = claims.map_err(|_| ProviderError::Invalid)?.claims;

        let expires = self.check(&claims, now)?;
        let subject = self.settings.rules.apply(&claims)?;
        let until = now.plus(REMEMBERED_FOR).min(Timestamp::from_micros(expires.saturating_mul(1_000_000)));
        self.verified.insert(mark, (subject.clone(), until));
        Ok(subject)
    }

    /// Checks what every token must say of itself (OpenID Connect Core 1.0, section 3.1.3.7). Gives its end, in
    /// seconds.
    fn check(&self, claims: &serde_json::Value, now: Timestamp) -> Result<i64, ProviderError> {
        if claims["iss"].as_str() != Some(&self.settings.issuer) {
            return Err(ProviderError::Invalid);
        }
        let ours = |value: &serde_json::Value| {
            value.as_str().is_some_and(|audience| self.settings.audiences.iter().any(|our| our == audience))
        };
        match &claims["aud"] {
            // One of many audiences could pass on what it was given: the token must be made for us first of all.
            serde_json::Value::Array(all) if all.len() > 1 => {
                if !all.iter().any(ours) || !ours(&claims["azp"]) {
                    return Err(ProviderError::Audience);
                }
            }
            serde_json::Value::Array(all) if all.iter().any(ours) => {}
            one if ours(one) => {}
            _ => return Err(ProviderError::Audience),
        }
        // Numbers, with a fraction perhaps (RFC 7519, section 2). Where one is missing that must be there, or is
        // something else, the token is none.
        let time = |name: &str| match &claims[name] {
            serde_json::Value::Null => Ok(None),
            value => value.as_f64().map(|seconds| Some(seconds as i64)).ok_or(ProviderError::Invalid),
        };
        let (earliest, latest) = (seconds(now.minus(LEEWAY)), seconds(now.plus(LEEWAY)));
        let expires = time("exp")?.ok_or(ProviderError::Invalid)?;
        let begins = [time("nbf")?, time("iat")?];
        if expires <= earliest || begins.into_iter().flatten().any(|begin| begin > latest) {
            return Err(ProviderError::Expired);
        }
        Ok(expires)
    }
}

/// The issuer that a text claims to be a token of, not yet proved. `None` where the text is no token at all.
pub(crate) fn claimed_issuer(text: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Issuer {
        iss: String,
    }
    // A JSON object in base64 begins so.
    if text.len() > AUTHORIZATION_BYTES_MAX || !text.starts_with("ey") {
        return None;
    }
    Some(jsonwebtoken::dangerous::insecure_decode_claims::<Issuer>(text).ok()?.iss)
}
