//! Clients that log in: with an identity token in place of a password.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::json;
use supercargo_tests::docker::Docker;
use supercargo_tests::files::{assert_same, files};
use supercargo_tests::identity_provider::{IdentityProvider, Key};
use supercargo_tests::image::write_layout;
use supercargo_tests::program::{run, run_to_fail, run_with_input, skopeo};
use supercargo_tests::{Image, Server};

/// A server that trusts a provider; `build`, of which a job of `octo` is a member, may pull and push `octo/**`.
struct Trusting {
    server: Server,
    folder: tempfile::TempDir,
    /// An identity token.
    token: String,
    _idp: IdentityProvider,
}

impl Trusting {
    fn start() -> Trusting {
        let key = Key::rsa("r");
        let idp = IdentityProvider::start(&[&key]);
        let config = format!(
            r#"
            listen = ["http://127.0.0.1:0"]
            accounts = true

            [[identity_providers]]
            issuer = "{}"
            audiences = ["https://registry.example"]

            [identity_providers.rules]
            require = [{{ claim = "repository_owner", matches = "octo" }}]
            user = {{ claim = "repository", prefix = "ci-" }}
            groups = [{{ claim = "repository", matches = "octo/*", group = "build" }}]
            "#,
            idp.issuer
        );
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        std::fs::write(at("password"), "correct horse\n").unwrap();
        std::fs::write(at("login"), "admin:correct horse\n").unwrap();
        let server = Server::settings()
            .config(&config)
            .argument("--admin-password-file")
            .argument(&at("password"))
            .start();
        for command in [
            &["group", "create", "build"] as &[&str],
            &["permission", "set", "group:build", "read,write", "--names", "octo/**"],
        ] {
            server.cli(&[command, &["--login-file", &at("login")]].concat()).expect_success();
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        // About as long as those of a build service.
        let token = key.sign(&json!({
            "iss": idp.issuer,
            "aud": "https://registry.example",
            "sub": "repo:octo/web:ref:refs/heads/main",
            "repository": "octo/web",
            "repository_owner": "octo",
            "workflow": "w".repeat(1000),
            "iat": now,
            "exp": now + 600,
        }));
        Trusting { server, folder, token, _idp: idp }
    }

    fn at(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    /// Who pushed what a name holds.
    fn pushed_by(&self, name: &str) -> serde_json::Value {
        let login = self.at("login");
        let list = ["log", "list", "--name", name, "--kind", "TagSet", "--login-file", &login];
        self.server.cli(&list).expect_success().json_lines()[0]["actor"]["user"].clone()
    }
}

#[test]
fn docker_logs_in_with_an_identity_token_and_pushes() {
    let trusting = Trusting::start();
    let server = &trusting.server;
    let docker = Docker::start();
    let content = files([("app/version", "1")]);
    let image = server.reference("octo/web:1");
    docker.import(&content, &image);
    // Told at once: docker tries five times, for most of a minute, what it takes for an error that may pass.
    let asked = Instant::now();
    let refusal = run_to_fail(&mut docker.command(&["push", &image]));
    assert!(refusal.contains("unauthorized") || refusal.contains("authentication required"), "{refusal}");

    docker.log_in(&server.address().to_string(), "token", &trusting.token);
    docker.push(&image);
    assert_eq!(trusting.pushed_by("octo/web"), "ci-octo+2fweb");
    docker.run(&["image", "rm", &image]);
    docker.run(&["pull", &image]);
    assert_same(&docker.files(&image), &content, Docker::adds);

    let elsewhere = server.reference("other/web:1");
    docker.run(&["tag", &image, &elsewhere]);
    let refusal = run_to_fail(&mut docker.command(&["push", &elsewhere]));
    assert!(refusal.contains("denied"), "{refusal}");
    assert!(asked.elapsed() < Duration::from_secs(40), "docker tried again and again: {:?}", asked.elapsed());
}

#[test]
fn skopeo_logs_in_with_an_identity_token_and_pushes() {
    let trusting = Trusting::start();
    let server = &trusting.server;
    let image = Image::generate(1, 2, 100_000);
    write_layout(&trusting.folder.path().join("layout"), &[("x", &image)], None).unwrap();
    let (authfile, layout) = (trusting.at("auth.json"), format!("oci:{}:x", trusting.at("layout")));
    let registry = server.address().to_string();
    let log_in = ["login", "--tls-verify=false", "--authfile", &authfile, "--username", "token"];
    let mut refused = skopeo(&log_in);
    run_to_fail(refused.args(["--password", "not a token", &registry]));
    run_with_input(skopeo(&log_in).args(["--password-stdin", &registry]), trusting.token.as_bytes());

    let copy = ["copy", "--quiet", "--preserve-digests", "--authfile", &authfile];
    let remote = format!("docker://{}", server.reference("octo/web:1"));
    run(skopeo(&copy).args(["--dest-tls-verify=false", &layout, &remote]));
    assert_eq!(trusting.pushed_by("octo/web"), "ci-octo+2fweb");
    let back = format!("dir:{}", trusting.at("back"));
    run(skopeo(&copy).args(["--src-tls-verify=false", &remote, &back]));
    let manifest = std::fs::read(trusting.folder.path().join("back/manifest.json")).unwrap();
    assert_eq!(manifest, image.manifest.bytes);

    let elsewhere = format!("docker://{}", server.reference("other/web:1"));
    let refusal = run_to_fail(skopeo(&copy).args(["--dest-tls-verify=false", &layout, &elsewhere]));
    assert!(refusal.contains("403 (Forbidden)"), "{refusal}");
}
