//! A surface over an empty registry, and what clients do with it.

use std::io;

use axum::body::Body;
use futures_util::stream;
use http_body_util::BodyExt;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use supercargo_access::{AuthoritySettings, HashCost, PasswordSettings, SigningKeys};
use supercargo_eventlog::{Api, DockerApiVersion, RepositoryConfig};
use supercargo_http::accounts::RegistryDirectory;
use supercargo_model::account::{Actions, Grant, Grantee, UserName};
use supercargo_model::{Pattern, RepoName};
use supercargo_registry::{Caller, Options};
use tower::ServiceExt;

use crate::*;

pub(super) const PASSWORD: &str = "correct horse";

/// A surface over an empty registry, which goes when it is dropped.
pub(super) struct Fixture {
    pub(super) router: Router,
    pub(super) registry: Arc<Registry>,
    pub(super) settings: Settings,
    _folder: tempfile::TempDir,
}

pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The status and the text of a refusal, which is an object with one string.
    pub(super) fn error(&self) -> (u16, String) {
        assert_eq!(self.header("content-type"), "application/json");
        let told = self.json();
        assert_eq!(told.as_object().unwrap().len(), 1, "{told}");
        (self.status, told["error"].as_str().unwrap().to_owned())
    }

    /// What a client sends to come again with the token that it was given.
    pub(super) fn token(&self) -> String {
        let token = self.header("x-docker-token");
        assert_eq!(self.header("www-authenticate"), format!("Token {token}"));
        format!("Token {token}")
    }
}

impl Fixture {
    /// With a repository that speaks this, where everybody may do everything.
    pub(super) async fn new(version: DockerApiVersion) -> Fixture {
        Fixture::made(version, false).await
    }

    pub(super) async fn v1() -> Fixture {
        Fixture::new(DockerApiVersion::V1).await
    }

    /// With accounts: an administrator `root`, and users who may read, write, delete and manage `team/**`.
    pub(super) async fn with_accounts() -> Fixture {
        let fixture = Fixture::made(DockerApiVersion::V1, true).await;
        fixture.add_user("root", true).await;
        let write = Actions::READ.or(Actions::WRITE);
        for (user, actions) in [
            ("reader", Actions::READ),
            ("writer", write),
            ("dropper", Actions::WRITE),
            ("deleter", Actions::READ.or(Actions::DELETE)),
            ("manager", Actions::MANAGE),
        ] {
            fixture.add_user(user, false).await;
            fixture.permit(Grantee::User(UserName::parse(user).unwrap()), "team/**", actions).await;
        }
        fixture.add_user("stranger", false).await;
        fixture
    }

    async fn made(version: DockerApiVersion, accounts: bool) -> Fixture {
        let folder = tempfile::tempdir().unwrap();
        let registry = Registry::open(Options::new(folder.path())).unwrap();
        let repository = RepoKey::parse("docker-local").unwrap();
        let config = RepositoryConfig { docker_api_version: version, ..RepositoryConfig::default() };
        registry.create_repository(&system(), &repository, config).await.unwrap();
        let authority = accounts.then(|| {
            let cost = HashCost { memory_kib: 8, passes: 1, lanes: 1 };
            let passwords = PasswordSettings { cost, ..PasswordSettings::default() };
            let settings = AuthoritySettings { passwords, ..AuthoritySettings::default() };
            let directory = Arc::new(RegistryDirectory(Arc::clone(&registry)));
            Arc::new(Authority::start(directory, SigningKeys::ephemeral().unwrap(), settings).unwrap())
        });
        let sessions = Arc::new(SessionKey::ephemeral().unwrap());
        let settings = Settings { authority, sessions, body_timeout: Duration::from_secs(30) };
        let mount = Mount::alone(repository, "");
        let router = router(Arc::clone(&registry), settings.clone()).layer(Extension(mount));
        Fixture { router, registry, settings, _folder: folder }
    }

    pub(super) async fn add_user(&self, name: &str, administrator: bool) {
        let authority = self.settings.authority.as_ref().unwrap();
        let hash = authority.passwords().hash(supercargo_access::Secret::new(PASSWORD)).await.unwrap();
        let name = UserName::parse(name).unwrap();
        self.registry.create_user(&system(), name, false, administrator, Some(hash)).await.unwrap();
    }

    pub(super) async fn permit(&self, grantee: Grantee, names: &str, actions: Actions) {
        let (repositories, names) = (Pattern::parse("docker-local").unwrap(), Pattern::parse(names).unwrap());
        self.registry
            .set_permission(&system(), Grant { grantee, repositories, names }, actions)
            .await
            .unwrap();
    }

    pub(super) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        let mut request =
            http::Request::builder().method(method).uri(path).header("host", "registry.example:5000");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.router.clone().oneshot(request.body(body.into()).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let answer = Answer { status: parts.status.as_u16(), headers: parts.headers, body };
        if !answer.headers.contains_key("etag") {
            let kept = ["cache-control", "pragma", "expires"].map(|name| answer.header(name));
            assert_eq!(kept, ["no-cache", "no-cache", "-1"], "{method} {path}");
        }
        answer
    }

    pub(super) async fn ask(&self, method: &str, path: &str) -> Answer {
        self.send(method, path, &[], Body::empty()).await
    }

    /// As a user, over https.
    pub(super) async fn ask_as(&self, user: &str, method: &str, path: &str) -> Answer {
        self.send(method, path, &[("authorization", &basic(user, PASSWORD))], Body::empty()).await
    }

    /// Brings an image in, in three requests. All have these headers.
    pub(super) async fn push_image(&self, image: &Image, headers: &[(&str, &str)]) {
        let path = |part: &str| format!("/v1/images/{}/{part}", image.id);
        let json = self.send("PUT", &path("json"), headers, image.json.clone()).await;
        assert_eq!((json.status, json.text()), (200, "true"));
        let layer = self.send("PUT", &path("layer"), headers, image.layer).await;
        assert_eq!((layer.status, layer.text()), (200, "true"));
        let checksum = image.checksum();
        let with = [headers, &[("x-docker-checksum-payload", &checksum)]].concat();
        let checksum = self.send("PUT", &path("checksum"), &with, Body::empty()).await;
        assert_eq!((checksum.status, checksum.text()), (200, "true"));
    }

    pub(super) async fn set_tag(&self, name: &str, tag: &str, id: &str, headers: &[(&str, &str)]) -> Answer {
        let path = format!("/v1/repositories/{name}/tags/{tag}");
        self.send("PUT", &path, headers, format!("\"{id}\"")).await
    }

    /// Pushes a base and an image on it, and sets a tag on that.
    pub(super) async fn push(&self, name: &str, tag: &str, headers: &[(&str, &str)]) -> [Image; 2] {
        let base = Image::new('1', None, b"base layer");
        let top = Image::new('2', Some('1'), b"0123456789");
        for image in [&base, &top] {
            self.push_image(image, headers).await;
        }
        let tagged = self.set_tag(name, tag, &top.id, headers).await;
        assert_eq!((tagged.status, tagged.text()), (200, "true"));
        [base, top]
    }

    pub(super) fn exists(&self, name: &str) -> bool {
        let repository = RepoKey::parse("docker-local").unwrap();
        self.registry.has_tags(&repository, &RepoName::parse(name).unwrap()).unwrap()
    }
}

pub(super) fn system() -> Caller {
    Caller::system(Api::Startup)
}

pub(super) fn basic(user: &str, password: &str) -> String {
    use base64::Engine as _;
    let encoded = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    format!("Basic {encoded}")
}

/// An image as a client has it.
pub(super) struct Image {
    pub(super) id: String,
    pub(super) json: String,
    pub(super) layer: &'static [u8],
}

impl Image {
    /// The id is that digit 64 times.
    pub(super) fn new(digit: char, parent: Option<char>, layer: &'static [u8]) -> Image {
        let id = id(digit);
        let parent = parent.map(|digit| format!(r#","parent":"{}""#, self::id(digit))).unwrap_or_default();
        Image { json: format!(r#"{{"id":"{id}"{parent},"created":"2014-05-13T16:53:20Z"}}"#), id, layer }
    }

    pub(super) fn checksum(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(self.json.as_bytes());
        hash.update(b"\n");
        hash.update(self.layer);
        let hash: [u8; 32] = hash.finalize().into();
        supercargo_model::Digest::sha256(hash).to_string()
    }
}

pub(super) fn id(digit: char) -> String {
    digit.to_string().repeat(64)
}

/// A body that breaks off.
pub(super) fn cut_off() -> Body {
    let pieces = [Ok(Bytes::from_static(b"half")), Err(io::ErrorKind::UnexpectedEof.into())];
    Body::from_stream(stream::iter(pieces.map(|piece: io::Result<Bytes>| piece)))
}
