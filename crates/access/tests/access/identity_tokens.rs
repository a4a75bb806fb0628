//! Identity tokens in place of a password.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use supercargo_access::oidc::{
    Provider, ProviderError, ProviderSettings, ProviderSettingsError, RulesRefused,
};
use supercargo_access::{Access, Login, Method, Refused, Subject};
use supercargo_model::Timestamp;
use supercargo_model::account::{Actions, User};
use supercargo_tests::identity_provider::{IdentityProvider, Key};

use crate::directory::{NOW, SERVICE, World, after, basic, group, key, name, person};

const SECONDS: i64 = 1_700_000_000;
const KEYS: &str = "/keys";

fn settings(issuer: &str) -> ProviderSettings {
    serde_json::from_value(json!({
        "issuer": issuer,
        "audiences": ["registry"],
        "rules": {
            "require": [{"claim": "owner", "matches": "octo"}],
            "user": {"claim": "sub", "prefix": "ci-"},
            "groups": [{"claim": "repository", "matches": "octo/*", "group": "build"}],
            "administrators": [{"claim": "role", "matches": "admin"}],
        },
    }))
    .unwrap()
}

fn provider(idp: &IdentityProvider) -> Provider {
    Provider::new(settings(&idp.issuer)).unwrap()
}

fn claims(idp: &IdentityProvider) -> Value {
    json!({
        "iss": idp.issuer,
        "aud": "registry",
        "sub": "job7",
        "owner": "octo",
        "repository": "octo/web",
        "iat": SECONDS,
        "nbf": SECONDS,
        "exp": SECONDS + 600,
    })
}

fn with(mut claims: Value, name: &str, value: impl Into<Value>) -> Value {
    claims[name] = value.into();
    claims
}

fn user(subject: &Subject) -> &str {
    subject.user.as_ref().unwrap().as_str()
}

#[tokio::test]
async fn a_token_of_each_kind_of_key_is_taken() {
    let keys = [Key::rsa("r"), Key::ec("e"), Key::ed("d")];
    let idp = IdentityProvider::start(&keys.each_ref());
    let provider = provider(&idp);
    for key in &keys {
        let token = key.sign(&claims(&idp));
        let subject = provider.verify(&token, NOW).await.unwrap();
        assert_eq!(user(&subject), "ci-job7");
        let vouched = subject.vouched.unwrap();
        assert_eq!((vouched.groups[0].as_str(), vouched.administrator), ("build", false));
    }
    assert_eq!(idp.asked(KEYS), 1, "the keys are kept");
}

#[tokio::test]
async fn claims_are_checked() {
    let key = Key::ec("e");
    let idp = IdentityProvider::start(&[&key]);
    let provider = provider(&idp);
    let good = claims(&idp);
    let list = |all: &[&str]| json!(all);
    for (what, claims, expected) in [
        ("as it is", good.clone(), Ok(())),
        ("an audience in a list", with(good.clone(), "aud", list(&["registry"])), Ok(())),
        ("no audience", with(good.clone(), "aud", Value::Null), Err("another audience")),
        ("another audience", with(good.clone(), "aud", "other"), Err("another audience")),
        (
            "one audience of two",
            with(good.clone(), "aud", list(&["registry", "other"])),
            Err("another audience"),
        ),
        (
            "one audience of two, made for us",
            with(with(good.clone(), "aud", list(&["registry", "other"])), "azp", "registry"),
            Ok(()),
        ),
        ("another issuer", with(good.clone(), "iss", "http://127.0.0.1:1"), Err("not valid")),
        (
            "an issuer with a slash more",
            with(good.clone(), "iss", format!("{}/", idp.issuer)),
            Err("not valid"),
        ),
        ("no issuer", with(good.clone(), "iss", Value::Null), Err("not valid")),
        ("no end", with(good.clone(), "exp", Value::Null), Err("not valid")),
        ("an end that is a text", with(good.clone(), "exp", "never"), Err("not valid")),
        ("past its end, within the leeway", with(good.clone(), "exp", SECONDS - 59), Ok(())),
        ("past its end", with(good.clone(), "exp", SECONDS - 60), Err("has expired")),
        ("an end with a fraction", with(good.clone(), "exp", 1_700_000_600.5), Ok(())),
        ("before its time, within the leeway", with(good.clone(), "nbf", SECONDS + 60), Ok(())),
        ("before its time", with(good.clone(), "nbf", SECONDS + 61), Err("has expired")),
        ("from the future", with(good.clone(), "iat", SECONDS + 61), Err("has expired")),
        ("without what the rules require", with(good.clone(), "owner", "octopus"), Err("\"owner\"")),
        ("without a name", with(good.clone(), "sub", Value::Null), Err("\"sub\"")),
    ] {
        let outcome = provider.verify(&key.sign(&claims), NOW).await;
        match (outcome, expected) {
            (Ok(_), Ok(())) => {}
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{what}: {error}"),
            (outcome, _) => panic!("{what}: {outcome:?}"),
        }
    }
}

/// What an attacker makes who has no key of the provider's.
#[tokio::test]
async fn a_forged_token_is_refused() {
    let (rsa, ed) = (Key::rsa("r"), Key::ed("d"));
    let idp = IdentityProvider::start(&[&rsa, &ed]);
    let provider = provider(&idp);
    let good = claims(&idp);
    let encode = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
    let token = rsa.sign(&good);
    let [header, _, signature] = token.split('.').collect::<Vec<_>>()[..] else { panic!() };

    // The public key, in each form that a verifier might take for a shared secret.
    let public = |text: &Value| text.as_str().unwrap().as_bytes().to_vec();
    let confused = [public(&rsa.jwk()["n"]), public(&ed.jwk()["x"])].map(|secret| {
        let header = Header { kid: Some("r".to_owned()), ..Header::new(Algorithm::HS256) };
        jsonwebtoken::encode(&header, &good, &EncodingKey::from_secret(&secret)).unwrap()
    });
    let stranger = Key { id: "r", ..Key::rsa("x") };
    let none = encode(&json!({"alg": "none", "kid": "r"}));
    for (what, forged) in [
        ("alg none", format!("{none}.{}.", encode(&good))),
        ("other claims", format!("{header}.{}.{signature}", encode(&with(good.clone(), "role", "admin")))),
        ("the public key as a secret", confused[0].clone()),
        ("another public key as a secret", confused[1].clone()),
        ("another's key", stranger.sign(&good)),
        ("a key of another kind under its name", Key { id: "r", ..Key::ed("x") }.sign(&good)),
        ("a key's name that is not there", Key { id: "?", ..Key::ed("x") }.sign(&good)),
        ("no signature", format!("{header}.{}.", encode(&good))),
        ("nothing", String::new()),
    ] {
        let outcome = provider.verify(&forged, NOW).await;
        assert!(matches!(outcome, Err(ProviderError::Invalid)), "{what}: {outcome:?}");
    }
    assert!(provider.verify(&token, NOW).await.is_ok());
}

#[tokio::test]
async fn an_algorithm_is_taken_only_if_it_is_allowed_for_the_key() {
    let (rsa, ec) = (Key::rsa("r"), Key::ec("e"));
    let idp = IdentityProvider::start(&[&rsa, &ec]);
    let mut only_rsa = settings(&idp.issuer);
    only_rsa.algorithms = serde_json::from_value(json!(["RS256", "RS512"])).unwrap();
    let provider = Provider::new(only_rsa).unwrap();
    assert!(provider.verify(&rsa.sign(&claims(&idp)), NOW).await.is_ok());
    assert!(matches!(provider.verify(&ec.sign(&claims(&idp)), NOW).await, Err(ProviderError::Invalid)));
    // Allowed, but the key is for another.
    let stronger = Key { algorithm: Algorithm::RS512, ..rsa };
    assert!(matches!(provider.verify(&stronger.sign(&claims(&idp)), NOW).await, Err(ProviderError::Invalid)));
    for never in ["none", "HS256", "HS512"] {
        assert!(serde_json::from_value::<supercargo_access::oidc::SigningAlgorithm>(json!(never)).is_err());
    }
}

#[tokio::test]
async fn a_new_key_is_found_and_an_old_one_ends() {
    let (old, new) = (Key::ed("old"), Key::ed("new"));
    let idp = IdentityProvider::start(&[&old]);
    let provider = provider(&idp);
    let at = |key: &Key, n: u64| {
        // Each token is another, so that none is remembered.
        let claims = with(with(claims(&idp), "exp", SECONDS + 100_000), "jti", n);
        (key.sign(&claims), after(n))
    };
    let verify = async |key: &Key, n: u64| {
        let (token, now) = at(key, n);
        provider.verify(&token, now).await.is_ok()
    };
    assert!(verify(&old, 0).await);
    idp.publish(&[&old, &new]);
    assert!(!verify(&new, 29).await, "asked for again too soon");
    assert_eq!(idp.asked(KEYS), 1);
    assert!(verify(&new, 30).await);
    assert_eq!(idp.asked(KEYS), 2);

    idp.publish(&[&new]);
    assert!(verify(&old, 3000).await, "within the hour");
    assert!(!verify(&old, 3631).await, "withdrawn");
    assert!(verify(&new, 3631).await);
    assert_eq!(idp.asked(KEYS), 3);
    // Whoever makes up keys' names does not have them asked for each time.
    for n in 0..20 {
        assert!(!verify(&Key { id: "?", ..Key::ed("x") }, 3640 + n).await);
    }
    assert_eq!(idp.asked(KEYS), 3);
}

#[tokio::test]
async fn many_at_once_ask_for_the_keys_once() {
    let key = Key::ed("d");
    let idp = IdentityProvider::start(&[&key]);
    let provider = Arc::new(provider(&idp));
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..50 {
        let (provider, token) = (Arc::clone(&provider), key.sign(&with(claims(&idp), "jti", n)));
        tasks.spawn(async move { provider.verify(&token, NOW).await.is_ok() });
    }
    assert!(tasks.join_all().await.into_iter().all(|taken| taken));
    assert_eq!(idp.asked(KEYS), 1);
}

#[tokio::test]
async fn a_provider_that_fails_is_not_the_clients_fault() {
    let key = Key::ed("d");
    let idp = IdentityProvider::start(&[&key]);
    let provider = provider(&idp);
    let document = "/.well-known/openid-configuration";
    let keys_at = format!("{}{KEYS}", idp.issuer);
    let huge = json!({"issuer": idp.issuer, "jwks_uri": keys_at, "x": "x".repeat(1024 * 1024)});
    let verify = async |n: u64| provider.verify(&key.sign(&with(claims(&idp), "jti", n)), after(n)).await;
    for (n, (status, body, expected)) in [
        (500, json!({}), "500"),
        (302, json!({}), "302"),
        (200, json!("nonsense"), "json"),
        (200, huge, "limit"),
        (200, json!({"issuer": "https://other.example", "jwks_uri": keys_at}), "another issuer"),
        (200, json!({"issuer": idp.issuer, "jwks_uri": "http://other.example/keys"}), "https"),
        (200, json!({"issuer": idp.issuer, "jwks_uri": "file:///etc/passwd"}), "https"),
    ]
    .into_iter()
    .enumerate()
    {
        idp.answer(document, status, &body);
        let Err(ProviderError::Fetch(error)) = verify(30 * n as u64).await else { panic!("{expected}") };
        assert!(error.to_string().contains(expected), "{expected}: {error}");
    }
    assert_eq!(idp.asked(KEYS), 0);
    // Answered from what was found out a moment ago.
    let asked = idp.asked(document);
    assert!(matches!(verify(190).await, Err(ProviderError::Fetch(_))));
    assert_eq!(idp.asked(document), asked);

    idp.answer(document, 200, &json!({"issuer": idp.issuer, "jwks_uri": keys_at}));
    assert!(verify(240).await.is_ok());
}

#[tokio::test]
async fn over_tls_only_who_is_trusted_is_believed() {
    let key = Key::ed("d");
    let (idp, certificate) = IdentityProvider::start_tls(&[&key]);
    let token = key.sign(&claims(&idp));

    let outcome = provider(&idp).verify(&token, NOW).await;
    assert!(matches!(outcome, Err(ProviderError::Fetch(_))), "the machine does not trust it: {outcome:?}");
    assert_eq!(idp.asked("/.well-known/openid-configuration"), 0);

    let folder = tempfile::tempdir().unwrap();
    let with_file = |content: &str| {
        let file = folder.path().join("ca.pem");
        std::fs::write(&file, content).unwrap();
        Provider::new(ProviderSettings { ca_file: Some(file), ..settings(&idp.issuer) }).unwrap()
    };
    let trusting = with_file(&certificate);
    assert_eq!(user(&trusting.verify(&token, NOW).await.unwrap()), "ci-job7");
    for wrong in ["", "nonsense", &IdentityProvider::start_tls(&[]).1] {
        let outcome = with_file(wrong).verify(&token, NOW).await;
        assert!(matches!(outcome, Err(ProviderError::Fetch(_))), "{wrong:?}: {outcome:?}");
    }
}

#[tokio::test]
async fn known_keys_are_used_for_a_day_while_the_provider_is_down() {
    let key = Key::ed("d");
    let idp = IdentityProvider::start(&[&key]);
    let provider = provider(&idp);
    let verify = async |n: u64| {
        let claims = with(with(claims(&idp), "exp", SECONDS + 200_000), "jti", n);
        provider.verify(&key.sign(&claims), after(n)).await
    };
    verify(0).await.unwrap();
    idp.answer(KEYS, 503, &json!({}));
    verify(2 * 3600).await.unwrap();
    verify(24 * 3600).await.unwrap();
    assert!(matches!(verify(24 * 3600 + 40).await, Err(ProviderError::Fetch(_))));
}

#[tokio::test]
async fn odd_keys_do_not_cost_the_others() {
    let key = Key::ed("d");
    let idp = IdentityProvider::start(&[]);
    let other_use = with(Key::ed("enc").jwk(), "use", "enc");
    let keys = json!([
        {"kty": "oct", "k": "c2VjcmV0", "kid": "s"},
        {"kty": "future", "kid": "f"},
        "nonsense",
        other_use,
        key.jwk(),
    ]);
    idp.answer(KEYS, 200, &json!({"keys": keys}));
    let provider = provider(&idp);
    assert!(provider.verify(&key.sign(&claims(&idp)), NOW).await.is_ok());
    // The only one that could have signed it needs no name.
    let unnamed = jsonwebtoken::encode(&Header::new(Algorithm::EdDSA), &claims(&idp), &key.signing).unwrap();
    assert!(provider.verify(&unnamed, NOW).await.is_ok());
    let shared = Header { kid: Some("s".to_owned()), ..Header::new(Algorithm::HS256) };
    let shared = jsonwebtoken::encode(&shared, &claims(&idp), &EncodingKey::from_secret(b"secret")).unwrap();
    assert!(matches!(provider.verify(&shared, NOW).await, Err(ProviderError::Invalid)));
}

#[tokio::test]
async fn a_remembered_token_ends_with_itself() {
    let key = Key::ed("d");
    let idp = IdentityProvider::start(&[&key]);
    let provider = provider(&idp);
    let token = key.sign(&with(claims(&idp), "exp", SECONDS + 100));
    let at = async |seconds: u64| provider.verify(&token, after(seconds)).await.is_ok();
    // For as long as clocks may be apart, and no longer.
    assert!(at(0).await && at(159).await && !at(160).await);
}

#[test]
fn settings_that_let_anybody_in_are_refused() {
    for issuer in
        ["http://idp.example", "ftp://idp.example", "idp.example", "", "https://idp.example?x", "https://a#b"]
    {
        let error = Provider::new(settings(issuer)).unwrap_err();
        assert_eq!(error, ProviderSettingsError::Issuer(issuer.to_owned()));
    }
    for issuer in
        ["https://idp.example", "https://idp.example/realms/a/", "http://localhost:1", "http://[::1]:1"]
    {
        Provider::new(settings(issuer)).unwrap();
    }
    let mut no_audience = settings("https://idp.example");
    no_audience.audiences.clear();
    assert!(matches!(Provider::new(no_audience), Err(ProviderSettingsError::NoAudience(_))));
    let mut no_algorithm = settings("https://idp.example");
    no_algorithm.algorithms.clear();
    assert!(matches!(Provider::new(no_algorithm), Err(ProviderSettingsError::NoAlgorithm(_))));
    let twice = [settings("https://idp.example"), settings("https://idp.example")];
    assert!(matches!(Provider::all(twice), Err(ProviderSettingsError::Twice(_))));
}

/// A registry that trusts a provider.
struct Trusting {
    idp: IdentityProvider,
    key: Key,
    world: World,
}

impl Trusting {
    fn new(linked: bool) -> Trusting {
        let key = Key::ed("d");
        let idp = IdentityProvider::start(&[&key]);
        let mut settings = settings(&idp.issuer);
        settings.rules.linked = linked;
        let World { directory, authority } = World::new();
        let authority = authority.with_providers(Provider::all([settings]).unwrap());
        Trusting { idp, key, world: World { directory, authority } }
    }

    async fn log_in(&self, claims: &Value, now: Timestamp) -> Result<Login, Refused> {
        self.world.send(&basic("anything", &self.key.sign(claims)), "10.0.0.1", now).await
    }
}

#[tokio::test]
async fn a_build_job_pushes_with_nothing_but_its_identity_token() {
    let trusting = Trusting::new(false);
    let world = &trusting.world;
    world.directory.permit(group("build"), "docker-local", "octo/**", Actions::READ.or(Actions::WRITE));
    let (login, hashes) = world.hashes(trusting.log_in(&claims(&trusting.idp), NOW)).await;
    let login = login.unwrap();
    assert_eq!((login.identity.to_string().as_str(), hashes), ("ci-job7", 0));
    assert_eq!(login.method, Method::Provider(trusting.idp.issuer.as_str().into()));

    // What it was vouched for holds for its bearer token too.
    let scopes = Access::parse_all(["repository:octo/web:pull,push,delete"]);
    let at = (key("docker-local"), name("octo/web"));
    let issued = world.authority.issue(&login, SERVICE, &scopes, |_| Some(at.clone()), NOW).unwrap();
    let bearer = world.send(&format!("Bearer {}", issued.token.expose()), "10.0.0.1", NOW).await.unwrap();
    assert_eq!(bearer.identity, login.identity);
    assert!(world.authority.authorize(&bearer, &at.0, &at.1, Actions::WRITE).unwrap());
    assert!(!world.authority.authorize(&bearer, &at.0, &at.1, Actions::DELETE).unwrap());

    let admin = with(claims(&trusting.idp), "role", "admin");
    assert!(trusting.log_in(&admin, NOW).await.unwrap().identity.is_administrator());
}

#[tokio::test]
async fn a_token_does_not_become_a_user_who_has_its_name_unless_that_is_meant() {
    let off = User { disabled: true, ..person(None) };
    let root = User { administrator: true, ..person(None) };

    let apart = Trusting::new(false);
    apart.world.directory.put("ci-job7", root.clone(), &["ops"]);
    let refused = apart.log_in(&claims(&apart.idp), NOW).await;
    assert!(matches!(refused, Err(Refused::Provider(ProviderError::Subject))), "{refused:?}");

    let linked = Trusting::new(true);
    linked.world.directory.put("ci-job7", root, &["ops"]);
    let login = linked.log_in(&claims(&linked.idp), NOW).await.unwrap();
    let user = login.identity.user().unwrap();
    assert!(user.administrator);
    assert_eq!(user.groups.iter().map(|group| group.as_str()).collect::<Vec<_>>(), ["build", "ops"]);

    linked.world.directory.put("ci-job7", off, &[]);
    let refused = linked.log_in(&claims(&linked.idp), NOW).await;
    assert!(matches!(refused, Err(Refused::Provider(ProviderError::Subject))), "{refused:?}");
}

#[tokio::test]
async fn a_refusal_says_what_a_token_lacks_and_locks_nobody_out() {
    let trusting = Trusting::new(false);
    let foreign = with(claims(&trusting.idp), "owner", "octopus");
    for _ in 0..50 {
        let refused = trusting.log_in(&foreign, NOW).await;
        assert!(matches!(
            refused,
            Err(Refused::Provider(ProviderError::Rules(RulesRefused::Required { .. })))
        ));
    }
    assert!(trusting.log_in(&claims(&trusting.idp), NOW).await.is_ok());

    // Of a provider that is not trusted it is a wrong password like any other.
    let stranger = with(claims(&trusting.idp), "iss", "https://other.example");
    let refused = trusting.log_in(&stranger, NOW).await;
    assert!(matches!(refused, Err(Refused::Wrong)), "{refused:?}");

    trusting.idp.answer(KEYS, 503, &json!({}));
    let later = NOW.plus(Duration::from_secs(2 * 24 * 3600));
    let claims = with(claims(&trusting.idp), "exp", SECONDS + 1_000_000);
    let refused = trusting.log_in(&claims, later).await;
    assert!(
        matches!(refused, Err(Refused::ProviderSilent { retry_after }) if retry_after.as_secs() == 30),
        "{refused:?}"
    );
}
