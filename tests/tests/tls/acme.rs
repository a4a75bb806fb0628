//! Certificates from an authority that is asked for them: pebble, which is made for such tests, started here.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use supercargo_tests::http::{Request, connect};
use supercargo_tests::process::Process;
use supercargo_tests::program::{require, run};
use supercargo_tests::server::Settings;
use supercargo_tests::tls::{Authority, open, settings, shown};
use supercargo_tests::{Server, wait_until};

use crate::free_port;

/// An authority, and the folder of its own files.
struct Pebble {
    process: Process,
    folder: tempfile::TempDir,
    directory: u16,
    management: u16,
}

impl Pebble {
    /// Starts one that looks for proofs at that port.
    fn start(proofs_at: u16) -> Pebble {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new("who signed for the authority's own server");
        authority.issue("pebble").write(folder.path());
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("ca.crt"), &authority.pem).unwrap();
        let (directory, management) = (free_port(), free_port());
        let config = serde_json::json!({ "pebble": {
            "listenAddress": format!("127.0.0.1:{directory}"),
            "managementListenAddress": format!("127.0.0.1:{management}"),
            "certificate": at("tls.crt"),
            "privateKey": at("tls.key"),
            "httpPort": 1,
            "tlsPort": proofs_at,
        }});
        std::fs::write(at("config.json"), config.to_string()).unwrap();
        let mut command = require("pebble");
        command.arg("-config").arg(at("config.json"));
        // It waits some seconds before it looks, unless it is told not to.
        command.env("PEBBLE_VA_NOSLEEP", "1");
        let mut process = Process::start("pebble", &command, &at("log"), None);
        wait_until("pebble listens", || {
            assert!(process.wait(Duration::ZERO).is_none(), "pebble ended");
            [directory, management].iter().all(|port| connect(([127, 0, 0, 1], *port).into()).is_ok())
        });
        Pebble { process, folder, directory, management }
    }

    /// A server that asks it for a certificate.
    fn asked_by(&self, port: u16) -> Settings {
        Server::settings()
            .argument("--listen")
            .argument(&format!("https://127.0.0.1:{port}"))
            .variable("SUPERCARGO_TLS__ACME__DOMAINS", "localhost")
            .variable("SUPERCARGO_TLS__ACME__CONTACT", "admin@registry.example")
            .variable("SUPERCARGO_TLS__ACME__DIRECTORY", &format!("https://localhost:{}/dir", self.directory))
            .variable("SUPERCARGO_TLS__ACME__CA", self.folder.path().join("ca.crt").to_str().unwrap())
    }

    /// The root of what it signs, PEM.
    fn root(&self) -> String {
        let ca = self.folder.path().join("ca.crt");
        let url = format!("https://localhost:{}/roots/0", self.management);
        run(require("curl").args(["--silent", "--fail", "--cacert"]).arg(ca).arg(url)).text
    }
}

fn mode(file: &Path) -> u32 {
    std::fs::metadata(file).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_certificate_is_asked_for_proven_and_kept() {
    let port = free_port();
    let mut pebble = Pebble::start(port);
    let server = pebble.asked_by(port).start();
    let address = server.next_address();
    let client = settings(&pebble.root(), None, &["http/1.1"]);
    wait_until("the certificate is served", || open(address, &client).is_ok());
    let mut connection = open(address, &client).unwrap();
    connection.send(&Request::new("GET", "/v2/").to_bytes()).unwrap();
    connection.receive("GET").unwrap().expect(200);
    let certificate = shown(&connection);
    let folder = server.data().join("tls/acme");
    assert_eq!([mode(&folder.join("account.json")), mode(&folder.join("certificate.pem"))], [0o600, 0o600]);

    // Proofs are shown as long as somebody waits for them.
    let prover = settings(&pebble.root(), None, &["acme-tls/1"]);
    open(address, &prover).unwrap_err();

    // What was given is kept: the next start needs no authority.
    pebble.process.kill();
    let server = server.restart();
    assert_eq!(shown(&open(server.next_address(), &client).unwrap()), certificate);
    server.stop().verify();
}

#[test]
fn a_server_that_can_not_be_proven_says_so_and_serves_the_rest() {
    // Nobody is there.
    let pebble = Pebble::start(free_port());
    let server = pebble.asked_by(0).start();
    wait_until("the log says that there is none", || {
        server.process().output().contains("no certificate by ACME")
    });
    let client = settings(&pebble.root(), None, &[]);
    open(server.next_address(), &client).unwrap_err();
    server.client().get("/v2/").unwrap().expect(200);
    let log = server.stop().log();
    assert!(log.contains("tls-alpn-01"), "{log}");
}
