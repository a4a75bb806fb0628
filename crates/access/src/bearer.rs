//! Bearer tokens: what a client is given for its credentials, and sends with each request for some minutes.
//!
//! JSON Web Tokens signed with Ed25519 (RFC 7519, RFC 8037), with the claims that the distribution project's token
//! authentication specification names. A token is taken only with our algorithm, a key that we hold, our name as
//! issuer and the asked service as audience; nothing in it but its signed claims is believed. It says who its holder
//! is and what it was asked for, never what they may do: that is looked up at each use.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jsonwebtoken::{Algorithm, Header, Validation};
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use serde::{Deserialize, Serialize};
use supercargo_model::Timestamp;
use supercargo_model::account::{GroupName, UserName};

use crate::secret::{random, sha256};
use crate::{AUTHORIZATION_BYTES_MAX, Access, NoRandom, Secret, SigningKeys};

/// The shortest life of a token: docker takes no shorter one to be meant.
const LIFE_MIN: Duration = Duration::from_secs(60);
/// How much verified tokens may take of memory, in bytes.
const REMEMBERED_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// What one takes beside its claims, roughly.
const ENTRY_BYTES: u64 = 512;

/// How bearer tokens are made.
#[derive(Debug, Clone)]
pub struct BearerSettings {
    /// The `iss` claim. Servers that take each other's tokens share it, and the keys.
    pub issuer: String,
    /// How long a token is good. A minute at least.
    pub life: Duration,
    /// How far the clocks of servers that share keys may be apart.
    pub leeway: Duration,
}

impl Default for BearerSettings {
    fn default() -> BearerSettings {
        let (life, leeway) = (Duration::from_secs(5 * 60), Duration::from_secs(10));
        BearerSettings { issuer: "supercargo".to_owned(), life, leeway }
    }
}

/// Who a bearer token is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// The user. `None` is anonymous.
    pub user: Option<UserName>,
    /// What an identity provider said, where one vouched for the user. It holds as long as the token does.
    pub vouched: Option<Vouched>,
}

/// What an identity provider said of a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vouched {
    /// The groups that its claims give.
    pub groups: Vec<GroupName>,
    /// Whether its claims make them an administrator.
    pub administrator: bool,
    /// Whether the name stands for the user of the directory that has it.
    pub linked: bool,
}

/// A token that was just made, and what the token endpoint answers with it.
#[derive(Debug, Clone)]
pub struct IssuedBearer {
    /// The text.
    pub token: Secret,
    /// What it was made for.
    pub access: Vec<Access>,
    /// When.
    pub issued_at: Timestamp,
    /// How long it is good.
    pub expires_in: Duration,
}

/// A token that was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedBearer {
    /// Who it is about, as of when it was made.
    pub subject: Subject,
    /// What it was made for.
    pub access: Vec<Access>,
    /// When it was made, in seconds since the Unix epoch.
    pub(crate) issued_at: i64,
    issuer: String,
    audience: String,
    not_before: i64,
    expires: i64,
    text_bytes: u64,
}

/// Why a bearer token is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BearerRefused {
    /// It is none of ours: malformed, or signed by another key or in another way.
    #[error("the bearer token is not valid")]
    Invalid,
    /// It is for another registry or service.
    #[error("the bearer token is for another service")]
    Audience,
    /// Its time is over, or has not come.
    #[error("the bearer token has expired")]
    Expired,
    /// Its user was removed, disabled or replaced since.
    #[error("the user of the bearer token may no longer log in")]
    Subject,
}

#[derive(Serialize, Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    /// Empty for anonymous, as distribution has it.
    sub: String,
    iat: i64,
    nbf: i64,
    exp: i64,
    jti: String,
    access: Vec<Access>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    vouched: Option<Vouched>,
}

/// Makes and verifies bearer tokens.
#[derive(Debug)]
pub struct Bearer {
    keys: SigningKeys,
    settings: BearerSettings,
    /// What was verified, by the SHA-256 of its text, so that a request costs no signature check.
    verified: Cache<[u8; 32], Arc<VerifiedBearer>, ByBytes>,
    signatures_checked: AtomicU64,
}

#[derive(Debug, Clone)]
struct ByBytes;

impl Weighter<[u8; 32], Arc<VerifiedBearer>> for ByBytes {
    fn weight(&self, _: &[u8; 32], token: &Arc<VerifiedBearer>) -> u64 {
        ENTRY_BYTES + token.text_bytes
    }
}

impl Bearer {
    /// Makes and verifies with these keys.
    pub fn new(keys: SigningKeys, settings: BearerSettings) -> Bearer {
        let settings = BearerSettings { life: settings.life.max(LIFE_MIN), ..settings };
        let verified = Cache::with_weighter(4096, REMEMBERED_BYTES_MAX, ByBytes);
        Bearer { keys, settings, verified, signatures_checked: AtomicU64::new(0) }
    }

    /// Makes a token for a service.
    ///
    /// # Errors
    /// There are no random bytes.
    pub fn issue(
        &self,
        subject: &Subject,
        service: &str,
        access: Vec<Access>,
        now: Timestamp,
    ) -> Result<IssuedBearer, NoRandom> {
        let key = self.keys.current();
        let iat = seconds(now);
        let millis = u64::try_from(now.as_micros() / 1000).unwrap_or(0);
        let claims = Claims {
            iss: self.settings.issuer.clone(),
            aud: service.to_owned(),
            sub: subject.user.as_ref().map_or_else(String::new, UserName::to_string),
            iat,
            nbf: iat,
            exp: seconds(now.plus(self.settings.life)),
            jti: uuid::Builder::from_unix_timestamp_millis(millis, &random()?).into_uuid().to_string(),
            access,
            vouched: subject.vouched.clone(),
        };
        let header = Header { kid: Some(key.id.clone()), ..Header::new(Algorithm::EdDSA) };
        // The key was checked when it was read, and the claims are texts and numbers: only signing could fail,
        // which needs random bytes for its blinding.
        let token = jsonwebtoken::encode(&header, &claims, &key.signing).map_err(|_| NoRandom)?;
        let (token, expires_in) = (Secret::new(token), self.settings.life);
        Ok(IssuedBearer { token, access: claims.access, issued_at: now, expires_in })
    }

    /// Verifies a token that was sent to a service.
    ///
    /// # Errors
    /// Says why it is not taken.
    pub fn verify(
        &self,
        token: &str,
        service: &str,
        now: Timestamp,
    ) -> Result<Arc<VerifiedBearer>, BearerRefused> {
        if token.len() > AUTHORIZATION_BYTES_MAX {
            return Err(BearerRefused::Invalid);
        }
        let mark = sha256(token.as_bytes());
        let (verified, remembered) = match self.verified.get(&mark) {
            Some(verified) => (verified, true),
            None => (Arc::new(self.check_signature(token).ok_or(BearerRefused::Invalid)?), false),
        };
        let checked = self.check_claims(&verified, service, now);
        match checked {
            Ok(()) if !remembered => self.verified.insert(mark, Arc::clone(&verified)),
            Err(BearerRefused::Expired) if remembered => drop(self.verified.remove(&mark)),
            _ => {}
        }
        checked.map(|()| verified)
    }

    /// How many signatures were checked since the start; the other tokens were remembered.
    pub fn signatures_checked(&self) -> u64 {
        self.signatures_checked.load(Ordering::Relaxed)
    }

    fn check_signature(&self, token: &str) -> Option<VerifiedBearer> {
        self.signatures_checked.fetch_add(1, Ordering::Relaxed);
        let header = jsonwebtoken::decode_header(token).ok()?;
        let key = self.keys.find(header.kid.as_deref()?)?;
        let claims =
            jsonwebtoken::decode::<Claims>(token, &key.verifying, &signature_alone(&[Algorithm::EdDSA]));
        let claims = claims.ok()?.claims;
        let user = match claims.sub.as_str() {
            "" => None,
            name => Some(UserName::parse(name).ok()?),
        };
        Some(VerifiedBearer {
            subject: Subject { user, vouched: claims.vouched },
            access: claims.access,
            issued_at: claims.iat,
            issuer: claims.iss,
            audience: claims.aud,
            not_before: claims.nbf,
            expires: claims.exp,
            text_bytes: token.len() as u64,
        })
    }

    fn check_claims(
        &self,
        token: &VerifiedBearer,
        service: &str,
        now: Timestamp,
    ) -> Result<(), BearerRefused> {
        let leeway = self.settings.leeway;
        if token.issuer != self.settings.issuer {
            Err(BearerRefused::Invalid)
        } else if token.audience != service {
            Err(BearerRefused::Audience)
        } else if token.expires <= seconds(now.minus(leeway)) || token.not_before > seconds(now.plus(leeway))
        {
            Err(BearerRefused::Expired)
        } else {
            Ok(())
        }
    }
}

/// Checks the algorithm and the signature. Claims are checked by who calls, at the time that they are told.
pub(crate) fn signature_alone(algorithms: &[Algorithm]) -> Validation {
    let mut validation = Validation::new(Algorithm::EdDSA);
    validation.algorithms = algorithms.to_vec();
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.validate_aud = false;
    validation
}

/// Seconds since the Unix epoch, as claims have times.
pub(crate) fn seconds(at: Timestamp) -> i64 {
    at.as_micros().div_euclid(1_000_000)
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use jsonwebtoken::EncodingKey;
    use proptest::prelude::*;
    use supercargo_model::account::Actions;

    use super::*;

    const NOW: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);
    const SERVICE: &str = "registry.example";

    fn bearer() -> Bearer {
        Bearer::new(SigningKeys::ephemeral().unwrap(), BearerSettings::default())
    }

    fn ann() -> Subject {
        Subject { user: Some(UserName::parse("ann").unwrap()), vouched: None }
    }

    fn pull() -> Vec<Access> {
        Access::parse_all(["repository:team/app:pull"])
    }

    fn issue(bearer: &Bearer) -> String {
        bearer.issue(&ann(), SERVICE, pull(), NOW).unwrap().token.expose().to_owned()
    }

    fn payload(token: &str) -> serde_json::Value {
        let payload = token.split('.').nth(1).unwrap();
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
    }

    #[test]
    fn a_token_says_who_and_for_what() {
        let bearer = bearer();
        let vouched =
            Vouched { groups: vec![GroupName::parse("team").unwrap()], administrator: false, linked: false };
        for subject in
            [ann(), Subject { user: None, vouched: None }, Subject { vouched: Some(vouched), ..ann() }]
        {
            let issued = bearer.issue(&subject, SERVICE, pull(), NOW).unwrap();
            let verified = bearer.verify(issued.token.expose(), SERVICE, NOW).unwrap();
            assert_eq!((&verified.subject, &verified.access), (&subject, &pull()));
        }
    }

    #[test]
    fn its_claims_are_those_of_distribution() {
        let issued = bearer().issue(&ann(), SERVICE, pull(), NOW).unwrap();
        let claims = payload(issued.token.expose());
        assert_eq!(claims["iss"], "supercargo");
        assert_eq!(claims["aud"], SERVICE);
        assert_eq!(claims["sub"], "ann");
        assert_eq!((&claims["iat"], &claims["nbf"]), (&1_700_000_000_i64.into(), &1_700_000_000_i64.into()));
        assert_eq!(claims["exp"], 1_700_000_300_i64);
        assert_eq!(
            claims["access"],
            serde_json::json!([{"type": "repository", "name": "team/app", "actions": ["pull"]}])
        );
        assert!(claims["jti"].is_string() && claims.get("vouched").is_none());
        assert_eq!(issued.expires_in, Duration::from_secs(300));
        assert_eq!(pull()[0].actions, Actions::READ);
    }

    #[test]
    fn a_token_is_good_for_its_service_and_its_time() {
        let bearer = bearer();
        let token = issue(&bearer);
        let after = |seconds| NOW.plus(Duration::from_secs(seconds));
        let before = |seconds| NOW.minus(Duration::from_secs(seconds));
        for (service, now, expected) in [
            (SERVICE, NOW, Ok(())),
            (SERVICE, after(309), Ok(())),
            (SERVICE, after(310), Err(BearerRefused::Expired)),
            (SERVICE, before(10), Ok(())),
            (SERVICE, before(11), Err(BearerRefused::Expired)),
            ("other.example", NOW, Err(BearerRefused::Audience)),
        ] {
            // Once with what is remembered, once without.
            assert_eq!(bearer.verify(&token, service, now).map(drop), expected);
            bearer.verified.clear();
            assert_eq!(bearer.verify(&token, service, now).map(drop), expected);
        }
    }

    #[test]
    fn a_token_of_another_issuer_or_key_is_not_ours() {
        let bearer = bearer();
        let stranger = super::tests::bearer();
        assert_eq!(bearer.verify(&issue(&stranger), SERVICE, NOW).unwrap_err(), BearerRefused::Invalid);

        let folder = tempfile::tempdir().unwrap();
        let with_issuer = |issuer: &str| {
            let settings = BearerSettings { issuer: issuer.to_owned(), ..BearerSettings::default() };
            Bearer::new(SigningKeys::open(folder.path()).unwrap(), settings)
        };
        let token = issue(&with_issuer("one"));
        assert!(with_issuer("one").verify(&token, SERVICE, NOW).is_ok());
        assert_eq!(with_issuer("two").verify(&token, SERVICE, NOW).unwrap_err(), BearerRefused::Invalid);

        SigningKeys::rotate(folder.path()).unwrap();
        assert!(with_issuer("one").verify(&token, SERVICE, NOW).is_ok(), "after one rotation");
        SigningKeys::rotate(folder.path()).unwrap();
        assert!(with_issuer("one").verify(&token, SERVICE, NOW).is_err(), "after two rotations");
    }

    /// What an attacker makes of a good token without having the key.
    #[test]
    fn a_forged_token_is_refused() {
        let bearer = bearer();
        let token = issue(&bearer);
        let [header, claims, signature] = token.split('.').collect::<Vec<_>>()[..] else { panic!() };
        let kid = &bearer.keys.current().id;
        let encode = |json: serde_json::Value| URL_SAFE_NO_PAD.encode(json.to_string());
        let mut other_claims = payload(&token);
        other_claims["sub"] = "root".into();
        let other_claims = encode(other_claims);

        let public = bearer.keys.current().verifying.try_get_as_bytes().unwrap();
        let confused = Header { kid: Some(kid.clone()), ..Header::new(Algorithm::HS256) };
        let confused =
            jsonwebtoken::encode(&confused, &payload(&token), &EncodingKey::from_secret(public)).unwrap();
        let own = SigningKeys::ephemeral().unwrap();
        let own_key = Header { kid: Some(kid.clone()), ..Header::new(Algorithm::EdDSA) };
        let own_key = jsonwebtoken::encode(&own_key, &payload(&token), &own.current().signing).unwrap();
        let no_kid =
            jsonwebtoken::encode(&Header::new(Algorithm::EdDSA), &payload(&token), &own.current().signing)
                .unwrap();

        for (what, forged) in [
            ("other claims", format!("{header}.{other_claims}.{signature}")),
            ("no signature", format!("{header}.{claims}.")),
            ("two parts", format!("{header}.{claims}")),
            ("alg none", format!("{}.{claims}.", encode(serde_json::json!({"alg": "none", "kid": kid})))),
            ("alg None", format!("{}.{claims}.", encode(serde_json::json!({"alg": "None", "kid": kid})))),
            ("the public key as a shared secret", confused),
            ("our key's name on another key", own_key),
            ("no key's name", no_kid),
            ("empty", String::new()),
            ("dots", "..".to_owned()),
            ("endless", "a".repeat(AUTHORIZATION_BYTES_MAX + 1)),
        ] {
            assert_eq!(bearer.verify(&forged, SERVICE, NOW).unwrap_err(), BearerRefused::Invalid, "{what}");
        }
        assert!(bearer.verified.is_empty(), "a forged token is remembered");
        assert!(bearer.verify(&token, SERVICE, NOW).is_ok());
    }

    #[test]
    fn a_signature_is_checked_once() {
        let bearer = bearer();
        let token = issue(&bearer);
        for _ in 0..10 {
            bearer.verify(&token, SERVICE, NOW).unwrap();
        }
        assert_eq!(bearer.signatures_checked(), 1);
        let late = NOW.plus(Duration::from_secs(3600));
        assert_eq!(bearer.verify(&token, SERVICE, late).unwrap_err(), BearerRefused::Expired);
        assert!(bearer.verified.is_empty(), "an expired token is remembered");
    }

    proptest! {
        #[test]
        fn no_token_panics(text in "\\PC{0,100}", near in "[a-zA-Z0-9_-]{0,40}\\.[a-zA-Z0-9_-]{0,40}\\.[a-zA-Z0-9_-]{0,40}") {
            let bearer = bearer();
            prop_assert!(bearer.verify(&text, SERVICE, NOW).is_err());
            prop_assert!(bearer.verify(&near, SERVICE, NOW).is_err());
        }

        #[test]
        fn a_changed_token_is_refused(at in 0_usize..10_000, typed in "[a-zA-Z0-9_-]") {
            let bearer = bearer();
            let token = issue(&bearer);
            let mut changed = token.clone();
            let at = at % token.len();
            changed.replace_range(at..=at, &typed);
            prop_assert_eq!(bearer.verify(&changed, SERVICE, NOW).is_ok(), changed == token);
        }
    }
}
