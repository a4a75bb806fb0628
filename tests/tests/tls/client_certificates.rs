//! Clients that show certificates, or don't.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use supercargo_tests::http::{Request, Response};
use supercargo_tests::image::Blob;
use supercargo_tests::tls::{Authority, Pair, open, settings};
use supercargo_tests::wait_until;

use crate::serving;

struct World {
    folder: tempfile::TempDir,
    server_authority: Authority,
    clients: Authority,
}

impl World {
    fn new() -> World {
        let folder = tempfile::tempdir().unwrap();
        let (server_authority, clients) = (Authority::new("servers"), Authority::new("clients"));
        server_authority.issue("server").write(folder.path());
        std::fs::write(folder.path().join("clients.crt"), &clients.pem).unwrap();
        World { folder, server_authority, clients }
    }

    fn settings(&self, client_auth: &str) -> supercargo_tests::server::Settings {
        serving(self.folder.path())
            .variable("SUPERCARGO_TLS__CLIENT_CA", self.folder.path().join("clients.crt").to_str().unwrap())
            .variable("SUPERCARGO_TLS__CLIENT_AUTH", client_auth)
    }

    /// Sends a request on a new connection. A client learns that it was refused when it reads.
    fn ask(&self, address: SocketAddr, shown: Option<&Pair>, request: &Request) -> io::Result<Response> {
        let client = settings(&self.server_authority.pem, shown, &[]);
        let mut connection = open(address, &Arc::clone(&client))?;
        connection.send(&request.to_bytes())?;
        connection.receive(request.method())
    }
}

#[test]
fn who_must_show_a_certificate_is_not_served_without() {
    let world = World::new();
    let server = world.settings("required").start();
    let address = server.next_address();
    let get = Request::new("GET", "/v2/");
    world.ask(address, Some(&world.clients.issue("robot")), &get).unwrap().expect(200);
    assert!(world.ask(address, None, &get).is_err());
    let stranger = Authority::new("clients").issue("robot");
    assert!(world.ask(address, Some(&stranger), &get).is_err());

    // Other authorities hold from now on, also for who was here before.
    let others = Authority::new("others");
    std::fs::write(world.folder.path().join("clients.crt"), &others.pem).unwrap();
    wait_until("the new authority holds", || world.ask(address, Some(&others.issue("x")), &get).is_ok());
    assert!(world.ask(address, Some(&world.clients.issue("robot")), &get).is_err());
    server.stop();
}

#[test]
fn who_may_show_a_certificate_is_known_by_it() {
    let world = World::new();
    let server = world.settings("optional").start();
    let address = server.next_address();
    let blob = Blob::generate(1, 1000);
    let push =
        Request::new("POST", &format!("/v2/a/blobs/uploads/?digest={}", blob.digest)).body(&*blob.bytes);
    let put = Request::new("PUT", "/v2/a/manifests/x").header("Content-Type", "a/b").body("{}");
    world.ask(address, None, &push).unwrap().expect(201);
    world.ask(address, Some(&world.clients.issue("robot-7")), &put).unwrap();
    let stranger = Authority::new("clients").issue("robot-8");
    assert!(world.ask(address, Some(&stranger), &push).is_err());
    let log = server.stop().log();
    assert!(log.lines().any(|line| line.contains("PUT") && line.contains("CN=robot-7")), "{log}");
    assert!(!log.contains("robot-8"), "{log}");
}

#[test]
fn a_listener_may_ask_for_more_than_others() {
    let world = World::new();
    let at = |name: &str| world.folder.path().join(name).display().to_string();
    let server = supercargo_tests::Server::settings()
        .config(&format!(
            "listen = [\"http://127.0.0.1:0\", \"127.0.0.1:0\", \
             {{ address = \"127.0.0.1:0\", tls = {{ client_ca = {:?}, client_auth = \"required\" }} }}]\n\
             [tls]\ncertificate = {:?}\nkey = {:?}\n",
            at("clients.crt"),
            at("tls.crt"),
            at("tls.key"),
        ))
        .start();
    let (open_to_all, guarded) = (server.next_address(), server.next_address());
    let get = Request::new("GET", "/v2/");
    world.ask(open_to_all, None, &get).unwrap().expect(200);
    assert!(world.ask(guarded, None, &get).is_err());
    world.ask(guarded, Some(&world.clients.issue("robot")), &get).unwrap().expect(200);
    server.stop();
}
