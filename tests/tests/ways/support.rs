//! A server with several repositories, and every way to each of them.

use std::net::SocketAddr;

use supercargo_tests::Server;
use supercargo_tests::http::{Request, Response};
use supercargo_tests::server::Settings;

/// Settings under which there is every way: a listener of its own for `own`, `bound.example:444` for `bound`, and
/// subdomains of `localhost` and `reg.example`.
pub(crate) fn every_way() -> Settings {
    Server::settings()
        .argument("--listen=http://127.0.0.1:0=own")
        .variable("SUPERCARGO_BINDINGS", "bound.example:444=bound")
        .variable("SUPERCARGO_SERVER_NAMES", "localhost,reg.example")
}

/// The keys of the repositories that [`create`] makes.
pub(crate) const KEYS: [&str; 4] = ["own", "bound", "ported", "team-a"];

/// Makes the repositories, all of which speak that.
#[track_caller]
pub(crate) fn create(server: &Server, version: &str) {
    server.cli(&["repo", "configure", "docker-local", "--docker-api-version", version]).expect_success();
    for key in KEYS {
        server.cli(&["repo", "create", key, "--docker-api-version", version]).expect_success();
    }
    server.cli(&["repo", "configure", "ported", "--docker-port", "4443"]).expect_success();
}

/// A way to a repository.
#[derive(Debug, Clone)]
pub(crate) struct Way {
    /// Where it is asked.
    pub(crate) address: SocketAddr,
    /// Whom the client asks, as it believes.
    pub(crate) host: String,
    /// What stands before the protocol's paths.
    pub(crate) prefix: String,
    /// What stands before names.
    pub(crate) before: &'static str,
    /// The repository that is reached.
    pub(crate) repository: &'static str,
}

impl Way {
    fn new(address: SocketAddr, host: impl Into<String>, repository: &'static str) -> Way {
        Way { address, host: host.into(), prefix: String::new(), before: "", repository }
    }

    /// All of them.
    #[track_caller]
    pub(crate) fn all(server: &Server) -> Vec<Way> {
        let (shared, own) = (server.address(), server.next_address());
        let below = |repository| Way {
            prefix: format!("/artifactory/api/docker/{repository}"),
            ..Way::new(shared, shared.to_string(), repository)
        };
        vec![
            below("team-a"),
            below("docker-local"),
            Way::new(shared, "bound.example:444", "bound"),
            Way::new(own, own.to_string(), "own"),
            Way::new(shared, "any.example:4443", "ported"),
            Way::new(shared, "team-a.reg.example", "team-a"),
            Way::new(shared, format!("bound.localhost:{}", shared.port()), "bound"),
            Way { before: "team-a/", ..Way::new(shared, shared.to_string(), "team-a") },
            Way { before: "docker-local/", ..Way::new(shared, "reg.example", "docker-local") },
            Way::new(shared, shared.to_string(), "docker-local"),
        ]
    }

    /// The path of something of a protocol.
    pub(crate) fn path(&self, rest: &str) -> String {
        format!("{}{rest}", self.prefix)
    }

    /// What the client calls a name.
    pub(crate) fn called(&self, name: &str) -> String {
        format!("{}{name}", self.before)
    }

    /// Asks for something, as the client knows it.
    #[track_caller]
    pub(crate) fn send(&self, request: Request) -> Response {
        supercargo_tests::Client::new(self.address).send(&request.header("Host", &self.host)).unwrap()
    }

    /// Gets something of a protocol.
    #[track_caller]
    pub(crate) fn get(&self, rest: &str) -> Response {
        self.send(Request::new("GET", &self.path(rest)))
    }
}
