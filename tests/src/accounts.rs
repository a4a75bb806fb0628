//! A server with accounts: its administrator, the users that a test wants, and requests in their names.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tempfile::TempDir;

use crate::http::{Request, Response};
use crate::image::{Image, OCI_MANIFEST};
use crate::server::{Server, Settings, path_text};

/// Every user's password.
pub const PASSWORD: &str = "correct horse";

/// What an `Authorization` header says of a user with a password.
pub fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

/// A running server with accounts, of which `admin` is there from the beginning.
#[derive(Debug)]
pub struct Guarded {
    /// The server.
    pub server: Server,
    _password: TempDir,
}

impl Guarded {
    /// Starts one with these settings.
    #[track_caller]
    pub fn start(settings: Settings) -> Guarded {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        std::fs::write(&file, format!("{PASSWORD}\n")).unwrap();
        let settings =
            settings.argument("--accounts").argument("--admin-password-file").argument(path_text(&file));
        Guarded { server: settings.start(), _password: folder }
    }

    /// Asks the administration API, as the administrator; answers its JSON.
    #[track_caller]
    pub fn admin(&self, method: &str, path: &str, body: &str, status: u16) -> serde_json::Value {
        let request = Request::new(method, &format!("/api/supercargo/v1{path}"))
            .header("Authorization", &basic("admin", PASSWORD))
            .header("Content-Type", "application/json")
            .body(body.as_bytes());
        let answer = self.server.client().send(&request).unwrap().expect(status);
        if answer.body.is_empty() { serde_json::Value::Null } else { answer.json() }
    }

    /// Makes a user that may do `actions` (such as `read,write`) with `names`.
    #[track_caller]
    pub fn user(&self, user: &str, names: &str, actions: &str) {
        self.admin("PUT", &format!("/users/{user}"), &format!(r#"{{"password":"{PASSWORD}"}}"#), 201);
        self.permit(&format!("user:{user}"), names, actions);
    }

    /// Lets somebody do something with names of every repository.
    #[track_caller]
    pub fn permit(&self, grantee: &str, names: &str, actions: &str) {
        let body = format!(
            r#"{{"grantee":"{grantee}","repositories":"**","names":"{names}","actions":"{actions}"}}"#
        );
        self.admin("PUT", "/permissions", &body, 200);
    }

    /// Has the clients of `docker-local` told to log in by `token` or `basic`.
    #[track_caller]
    pub fn set_login(&self, method: &str) {
        self.admin("PATCH", "/repositories/docker-local", &format!(r#"{{"login":"{method}"}}"#), 200);
    }

    /// Asks for something with that `Authorization`.
    pub fn ask(&self, method: &str, path: &str, login: Option<&str>) -> Response {
        self.send(Request::new(method, path), login)
    }

    /// Sends a request with that `Authorization`.
    pub fn send(&self, request: Request, login: Option<&str>) -> Response {
        let request = match login {
            Some(login) => request.header("Authorization", login),
            None => request,
        };
        self.server.client().send(&request).unwrap()
    }

    /// Pushes an image with that `Authorization`.
    #[track_caller]
    pub fn push(&self, name: &str, tag: &str, image: &Image, login: &str) {
        for blob in image.blobs() {
            let path = format!("/v2/{name}/blobs/uploads/?digest={}", blob.digest);
            self.send(Request::new("POST", &path).body(&*blob.bytes), Some(login)).expect(201);
        }
        self.push_manifest(name, tag, &image.manifest.bytes, login).expect(201);
    }

    /// Pushes an OCI image manifest with that `Authorization`.
    pub fn push_manifest(&self, name: &str, reference: &str, bytes: &[u8], login: &str) -> Response {
        let request = Request::new("PUT", &format!("/v2/{name}/manifests/{reference}"));
        self.send(request.header("Content-Type", OCI_MANIFEST).body(bytes), Some(login))
    }
}
