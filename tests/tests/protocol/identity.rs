//! Identity tokens in place of a password: a provider of the test's own, and a server that trusts it.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use supercargo_tests::Server;
use supercargo_tests::http::{Request, Response};
use supercargo_tests::identity_provider::{IdentityProvider, Key};
use supercargo_tests::server::Settings;

use crate::accounts::{Guarded, PASSWORD, basic};
use crate::expect_error;

const AUDIENCE: &str = "https://registry.example";
const DISCOVERY: &str = "/.well-known/openid-configuration";
/// Longer than the server waits before it asks a provider again.
const ASKED_AGAIN_MAX: Duration = Duration::from_secs(60);

/// A server that lets jobs of `octo` in, as members of `build` those of its repositories.
fn trusting(idp: &IdentityProvider) -> Settings {
    Server::settings().config(&format!(
        r#"
        listen = ["http://127.0.0.1:0"]
        accounts = true

        [[identity_providers]]
        issuer = "{}"
        audiences = ["{AUDIENCE}"]

        [identity_providers.rules]
        require = [{{ claim = "owner", matches = "octo" }}]
        user = {{ claim = "email" }}
        linked = true
        groups = [{{ claim = "repository", matches = "octo/*", group = "build" }}]
        administrators = [{{ claim = "role", matches = "registry" }}]
        "#,
        idp.issuer
    ))
}

/// The same, started, with `build` allowed to pull and push `octo/**`.
fn start(idp: &IdentityProvider) -> Guarded {
    let guarded = Guarded::start_with(trusting(idp));
    guarded.admin("PUT", "/groups/build", "{}", 201);
    guarded.permit("group:build", "octo/**", "read,write");
    guarded
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn claims(idp: &IdentityProvider) -> Value {
    json!({
        "iss": idp.issuer,
        "aud": AUDIENCE,
        "sub": "job7",
        "email": "job7@octo.example",
        "email_verified": true,
        "owner": "octo",
        "repository": "octo/web",
        "iat": now(),
        "nbf": now(),
        "exp": now() + 600,
    })
}

fn with(mut claims: Value, name: &str, value: impl Into<Value>) -> Value {
    claims[name] = value.into();
    claims
}

/// Asks for a bearer token with an identity token as the password.
fn ask(guarded: &Guarded, token: &str) -> Response {
    let path = "/v2/token?service=docker-local&scope=repository:octo/web:pull,push,delete";
    guarded.ask("GET", path, Some(&basic("token", token)))
}

#[test]
fn a_job_pushes_and_pulls_with_nothing_but_its_identity_token() {
    let keys = [Key::rsa("r"), Key::ec("e")];
    let idp = IdentityProvider::start(&keys.each_ref());
    let guarded = start(&idp);
    for key in &keys {
        let token = key.sign(&claims(&idp));
        let answer = ask(&guarded, &token).expect(200).json();
        // What its group may do, of what was asked.
        assert_eq!(answer["scope"], "repository:octo/web:pull,push", "{answer}");
        let bearer = format!("Bearer {}", answer["token"].as_str().unwrap());
        guarded.push("octo/web", &bearer);
        let pulled = guarded.ask("GET", "/v2/octo/web/manifests/v1", Some(&bearer)).expect(200);
        assert_eq!(pulled.body, guarded.image.manifest.bytes);
        expect_error(&guarded.ask("DELETE", "/v2/octo/web/manifests/v1", Some(&bearer)), 403, "DENIED");

        // As docker and containerd may ask; what it came with is all that it keeps.
        let form = format!(
            "grant_type=password&service=docker-local&client_id=test&access_type=offline&username=x&password={token}\
             &scope=repository:octo/web:pull"
        );
        let request = Request::new("POST", "/v2/token")
            .header("Content-Type", "application/x-www-form-urlencoded")
            .body(form.as_bytes());
        let answer = guarded.server.client().send(&request).unwrap().expect(200).json();
        assert_eq!(answer["scope"], "repository:octo/web:pull");
        assert_eq!(answer.get("refresh_token"), None);

        // And without a bearer token in between.
        let direct = basic("whoever", &token);
        guarded.ask("GET", "/v2/octo/web/tags/list", Some(&direct)).expect(200);
        guarded.ask("GET", "/api/supercargo/v1/users", Some(&direct)).expect(403);
    }
    assert_eq!(idp.asked(DISCOVERY), 1, "the keys are kept");
    let log = guarded.admin("GET", "/log?kind=TagSet&name=octo/web", "", 200);
    assert_eq!(log["records"][0]["actor"]["user"], "job7@octo.example", "{log}");

    let administrator = basic("token", &keys[0].sign(&with(claims(&idp), "role", "registry")));
    guarded.ask("GET", "/api/supercargo/v1/users", Some(&administrator)).expect(200);
    let stopped = guarded.server.stop();
    assert!(!stopped.log().contains("refused"), "{}", stopped.log());
    stopped.verify();
}

#[test]
fn a_token_that_is_not_as_it_must_be_is_refused_and_the_log_says_why() {
    let (rsa, ec) = (Key::rsa("r"), Key::ec("e"));
    let idp = IdentityProvider::start(&[&rsa, &ec]);
    let guarded = start(&idp);
    guarded.admin("PUT", "/users/locked@octo.example", &format!(r#"{{"password":"{PASSWORD}"}}"#), 201);
    guarded.admin("PATCH", "/users/locked@octo.example", r#"{"disabled":true}"#, 200);

    let good = claims(&idp);
    let token = rsa.sign(&good);
    let encode = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
    let [header, _, signature] = token.split('.').collect::<Vec<_>>()[..] else { panic!("{token}") };
    let unsigned = format!("{}.{}.", encode(&json!({"alg": "none", "kid": "r"})), encode(&good));
    let changed = format!("{header}.{}.{signature}", encode(&with(good.clone(), "role", "registry")));
    let public = rsa.jwk()["n"].as_str().unwrap().to_owned();
    let confused = Header { kid: Some("r".to_owned()), ..Header::new(Algorithm::HS256) };
    let secret = EncodingKey::from_secret(public.as_bytes());
    let confused = jsonwebtoken::encode(&confused, &good, &secret).unwrap();
    let claiming = |name: &str, value: Value| ec.sign(&with(good.clone(), name, value));

    let refused = "identity token refused";
    let cases = [
        ("another audience", claiming("aud", "https://other.example".into()), refused, "another audience"),
        ("another issuer", claiming("iss", "https://other.example".into()), "login failed", ""),
        ("its time over", claiming("exp", (now() - 3600).into()), refused, "has expired"),
        ("its time to come", claiming("nbf", (now() + 3600).into()), refused, "has not come"),
        ("made in the future", claiming("iat", (now() + 3600).into()), refused, "has not come"),
        ("other claims than were signed", changed, refused, "is not valid"),
        ("no signature", unsigned, "login failed", ""),
        ("the public key as a secret", confused, refused, "is not valid"),
        ("another's key", Key { id: "r", ..Key::rsa("x") }.sign(&good), refused, "is not valid"),
        ("a key that is not there", Key::ec("x").sign(&good), refused, "is not valid"),
        ("of somebody else", claiming("owner", "octopus".into()), refused, "must match"),
        ("not said whose", claiming("owner", Value::Null), refused, "must match"),
        ("no name", claiming("email", Value::Null), refused, "to name its user by"),
        ("anybody's address", claiming("email_verified", false.into()), refused, "not verified"),
        (
            "a user who is locked out",
            claiming("email", "locked@octo.example".into()),
            refused,
            "may not log in",
        ),
    ];
    let records = guarded.server_log_size();
    for (what, token, ..) in &cases {
        let answer = ask(&guarded, token);
        assert_eq!(answer.status, 401, "{what}: {answer:?}");
        expect_error(&answer, 401, "UNAUTHORIZED");
        answer.expect_header("WWW-Authenticate", "Basic realm=\"token\"");
    }
    for path in ["/v2/", "/v2/octo/web/tags/list"] {
        expect_error(&guarded.ask("GET", path, Some(&basic("token", &cases[0].1))), 401, "UNAUTHORIZED");
    }
    guarded.ask("GET", "/api/supercargo/v1/users", Some(&basic("token", &cases[5].1))).expect(401);
    assert_eq!(guarded.server_log_size(), records);
    ask(&guarded, &token).expect(200);

    let log = guarded.server.stop().log();
    for (what, token, message, why) in &cases {
        let told = log.lines().any(|line| line.contains(message) && line.contains(why));
        assert!(told, "{what}: {log}");
        assert!(!log.contains(token), "{what}: {log}");
    }
}

#[test]
fn a_new_key_is_taken_soon_and_one_that_was_withdrawn_no_longer() {
    let (old, new) = (Key::ec("old"), Key::ec("new"));
    let idp = IdentityProvider::start(&[&old]);
    let guarded = start(&idp);
    // Each token is another, so that none is remembered.
    let sign = |key: &Key, n: u64| key.sign(&with(claims(&idp), "jti", n));
    let before = sign(&old, 0);
    ask(&guarded, &before).expect(200);

    idp.publish(&[&new]);
    ask(&guarded, &sign(&old, 1)).expect(200);
    // The server asks again when half a minute has passed, and tells nobody when that is.
    let deadline = Instant::now() + ASKED_AGAIN_MAX;
    while ask(&guarded, &sign(&new, 2)).status != 200 {
        assert!(Instant::now() < deadline, "the new key is not taken");
        std::thread::sleep(Duration::from_millis(200));
    }
    assert_eq!(idp.asked(DISCOVERY), 2);
    expect_error(&ask(&guarded, &sign(&old, 3)), 401, "UNAUTHORIZED");
    // What was verified a moment ago is remembered, as the documentation says.
    ask(&guarded, &before).expect(200);
}

#[test]
fn a_provider_that_is_down_costs_only_who_needs_its_keys() {
    let key = Key::ec("e");
    let idp = IdentityProvider::start(&[&key]);
    idp.answer(DISCOVERY, 503, &json!({}));
    // It starts, and serves who comes otherwise.
    let guarded = start(&idp);
    for _ in 0..2 {
        let answer = ask(&guarded, &key.sign(&claims(&idp)));
        expect_error(&answer, 503, "UNAVAILABLE");
        answer.expect_header("Retry-After", "30");
    }
    let administration = "/api/supercargo/v1/users";
    let answer = guarded.ask("GET", administration, Some(&basic("token", &key.sign(&claims(&idp)))));
    answer.expect(503).expect_header("Retry-After", "30");
    guarded.ask("GET", "/v2/", Some(&basic("reader", PASSWORD))).expect(200);
    assert_eq!(idp.asked(DISCOVERY), 1, "not asked again at once");
    let log = guarded.server.stop().log();
    assert!(log.contains("identity provider asked in vain"), "{log}");

    // Of the same provider the keys are known to another server.
    let idp = IdentityProvider::start(&[&key]);
    let guarded = start(&idp);
    ask(&guarded, &key.sign(&claims(&idp))).expect(200);
    let later = key.sign(&with(claims(&idp), "jti", "later"));
    let stranger = Key::ec("x").sign(&claims(&idp));
    drop(idp);
    ask(&guarded, &later).expect(200);
    expect_error(&ask(&guarded, &stranger), 401, "UNAUTHORIZED");
}

#[test]
fn a_provider_that_could_never_be_trusted_is_an_error_at_the_start() {
    let provider = |issuer: &str, more: &str| {
        format!(
            "listen = [\"http://127.0.0.1:0\"]\n[[identity_providers]]\nissuer = \"{issuer}\"\naudiences = [\"a\"]\n\
             {more}\n[identity_providers.rules]\nrequire = []\nuser.claim = \"sub\"\n"
        )
    };
    let https = "https://idp.example";
    for (config, accounts, why) in [
        (provider(https, ""), false, "accounts = true"),
        (provider("http://idp.example", ""), true, "https://"),
        (provider(https, "ca_file = \"/nowhere/ca.pem\""), true, "/nowhere/ca.pem"),
        (provider(https, "ca_file = \"/dev/null\""), true, "no certificate"),
    ] {
        let settings = Server::settings().config(&config);
        let settings = if accounts { settings.argument("--accounts") } else { settings };
        let (status, stopped) = settings.start_to_fail();
        let log = stopped.log();
        assert_eq!(status.code(), Some(2), "{log}");
        assert!(log.contains("identity_providers") && log.contains(why), "{config}\n{log}");
        assert!(!stopped.data().exists(), "nothing is written");
    }
}
