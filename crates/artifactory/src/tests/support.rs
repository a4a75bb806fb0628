//! A surface over an empty registry, and what clients do with it.

use axum::body::Body;
use base64::Engine as _;
use http::HeaderMap;
use http_body_util::BodyExt;
use serde_json::Value;
use supercargo_access::{AuthoritySettings, HashCost, PasswordSettings, Secret, SigningKeys};
use supercargo_eventlog::{Api, DockerApiVersion, Log as _, RepositoryConfig};
use supercargo_http::accounts::RegistryDirectory;
use supercargo_http::request::ContextPath;
use supercargo_model::account::{Actions, Grant, Grantee, UserName};
use supercargo_model::{Pattern, Reference, RepoKey, RepoName, Tag, media_type};
use supercargo_registry::{Caller, ManifestPush, Options};
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

    #[track_caller]
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }

    /// The status and the text of a refusal.
    #[track_caller]
    pub(super) fn error(&self) -> (u16, String) {
        assert_eq!(self.header("content-type"), "application/json", "{}", self.text());
        let told = self.json();
        let errors = told["errors"].as_array().unwrap();
        assert_eq!((told.as_object().unwrap().len(), errors.len()), (1, 1), "{told}");
        assert_eq!(errors[0]["status"], self.status, "{told}");
        (self.status, errors[0]["message"].as_str().unwrap().to_owned())
    }
}

impl Fixture {
    /// With a repository `docker-local` that speaks this, where everybody may do everything.
    pub(super) async fn open(version: DockerApiVersion) -> Fixture {
        Fixture::new(version, false).await
    }

    /// With accounts: an administrator `root`; users who may read, write, delete and manage `team/**` of `docker-local`;
    /// and a stranger, who may nothing.
    pub(super) async fn with_accounts(version: DockerApiVersion) -> Fixture {
        let fixture = Fixture::new(version, true).await;
        fixture.add_user("root", true).await;
        for (user, actions) in [
            ("reader", Actions::READ),
            ("writer", Actions::READ.or(Actions::WRITE)),
            ("deleter", Actions::READ.or(Actions::DELETE)),
            ("manager", Actions::MANAGE),
        ] {
            fixture.add_user(user, false).await;
            fixture.permit(Grantee::User(UserName::parse(user).unwrap()), "team/**", actions).await;
        }
        fixture.add_user("stranger", false).await;
        fixture
    }

    async fn new(version: DockerApiVersion, accounts: bool) -> Fixture {
        let folder = tempfile::tempdir().unwrap();
        let registry = Registry::open(Options::new(folder.path())).unwrap();
        let config = RepositoryConfig { docker_api_version: version, ..RepositoryConfig::default() };
        registry.create_repository(&system(), &key(), config).await.unwrap();
        let authority = accounts.then(|| {
            let cost = HashCost { memory_kib: 8, passes: 1, lanes: 1 };
            let passwords = PasswordSettings { cost, ..PasswordSettings::default() };
            let settings = AuthoritySettings { passwords, ..AuthoritySettings::default() };
            let directory = Arc::new(RegistryDirectory(Arc::clone(&registry)));
            Arc::new(Authority::start(directory, SigningKeys::ephemeral().unwrap(), settings).unwrap())
        });
        let context = DEFAULT_CONTEXT.to_owned();
        let reached = Reached {
            proxy: proxy::Settings::default(),
            at_root: key(),
            by_path: true,
            server_names: Vec::new(),
            bindings: Vec::new(),
            listeners: Vec::new(),
            authority: None,
        };
        let settings = Settings { authority, body_timeout: Duration::from_secs(30), context, reached };
        let router = router(Arc::clone(&registry), settings.clone());
        Fixture { router, registry, settings, _folder: folder }
    }

    /// Makes another repository.
    pub(super) async fn add_repository(&self, key: &str, version: DockerApiVersion) {
        let config = RepositoryConfig { docker_api_version: version, ..RepositoryConfig::default() };
        self.registry.create_repository(&system(), &RepoKey::parse(key).unwrap(), config).await.unwrap();
    }

    pub(super) async fn add_user(&self, name: &str, administrator: bool) {
        let authority = self.settings.authority.as_ref().unwrap();
        let hash = authority.passwords().hash(Secret::new(PASSWORD)).await.unwrap();
        let name = UserName::parse(name).unwrap();
        self.registry.create_user(&system(), name, false, administrator, Some(hash)).await.unwrap();
    }

    pub(super) async fn permit(&self, grantee: Grantee, names: &str, actions: Actions) {
        self.permit_in("docker-local", grantee, names, actions).await;
    }

    pub(super) async fn permit_in(&self, key: &str, grantee: Grantee, names: &str, actions: Actions) {
        let (repositories, names) = (Pattern::parse(key).unwrap(), Pattern::parse(names).unwrap());
        let grant = Grant { grantee, repositories, names };
        self.registry.set_permission(&system(), grant, actions).await.unwrap();
    }

    /// `path` is below the context root.
    pub(super) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        let mut request = http::Request::builder()
            .method(method)
            .uri(format!("/artifactory/{path}"))
            .header("host", "registry.example:8081")
            .extension(ContextPath(DEFAULT_CONTEXT.to_owned()));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.router.clone().oneshot(request.body(body.into()).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer { status: parts.status.as_u16(), headers: parts.headers, body }
    }

    pub(super) async fn ask(&self, method: &str, path: &str) -> Answer {
        self.send(method, path, &[], Body::empty()).await
    }

    /// As a user, by password. Nobody in particular has no name.
    pub(super) async fn ask_as(&self, user: &str, method: &str, path: &str) -> Answer {
        self.put_as(user, method, path, Body::empty()).await
    }

    /// The same, with JSON for a body.
    pub(super) async fn put_as(&self, user: &str, method: &str, path: &str, body: impl Into<Body>) -> Answer {
        let authorization = basic(user, PASSWORD);
        let headers = [("content-type", "application/json"), ("authorization", authorization.as_str())];
        let headers = if user.is_empty() { &headers[..1] } else { &headers[..] };
        self.send(method, path, headers, body).await
    }

    /// How many records the log has.
    pub(super) fn records(&self) -> u64 {
        self.registry.log().size().unwrap()
    }

    /// Pushes an index of nothing, which is as small as what a tag can be on.
    pub(super) async fn push(&self, name: &str, tag: &str) {
        let (name, reference) = (RepoName::parse(name).unwrap(), Reference::Tag(Tag::parse(tag).unwrap()));
        let json = format!(r#"{{"schemaVersion":2,"mediaType":"{}","manifests":[]}}"#, media_type::OCI_INDEX);
        let push = ManifestPush::new(reference, media_type::OCI_INDEX, Bytes::from(json));
        self.registry.push_manifest(&system(), &key(), &name, push).await.unwrap();
    }
}

pub(super) fn key() -> RepoKey {
    RepoKey::parse("docker-local").unwrap()
}

pub(super) fn system() -> Caller {
    Caller::system(Api::Startup)
}

pub(super) fn basic(user: &str, password: &str) -> String {
    let encoded = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    format!("Basic {encoded}")
}
