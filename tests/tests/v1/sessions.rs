//! What clients said that are gone, said again, with new images.

use supercargo_tests::accounts::Guarded;
use supercargo_tests::v1::Wire;
use supercargo_tests::v1::session::{Registry, Session, USER, names};
use supercargo_tests::{Random, Server};

use crate::support::{guarded, speaking, wire};

#[track_caller]
fn play(name: &str) {
    let session = Session::read(name);
    let mut random = Random::from_environment(name);
    let with_bob = |settings| -> Guarded {
        let guarded = guarded(settings);
        guarded.user(USER, "**", "read,write");
        guarded
    };
    match session.registry {
        Registry::Open => {
            let server = speaking("V1");
            session.play(&wire(&server), &mut random);
            server.stop().verify();
        }
        Registry::Accounts => {
            let guarded = with_bob(Server::settings());
            session.play(&wire(&guarded.server), &mut random);
            guarded.server.stop().verify();
        }
        Registry::Tls => {
            let https = Server::settings().argument("--listen").argument("https://127.0.0.1:0");
            let guarded = with_bob(https.argument("--self-signed"));
            let authority = guarded.server.data().join("tls/ca.crt");
            session.play(&Wire::tls(guarded.server.next_address(), &authority), &mut random);
            guarded.server.stop().verify();
        }
    }
}

macro_rules! sessions {
    ($($test:ident: $name:literal,)*) => {
        $(
            #[test]
            fn $test() {
                play($name);
            }
        )*

        #[test]
        fn every_session_is_played() {
            let mut played = vec![$($name),*];
            played.sort_unstable();
            assert_eq!(played, names());
        }
    };
}

sessions! {
    docker_1_5_asks_an_open_registry: "docker-1.5.0-open",
    docker_1_5_logs_in_over_http: "docker-1.5.0-accounts",
    docker_1_5_logs_in_over_tls: "docker-1.5.0-tls",
    docker_1_9_asks_an_open_registry: "docker-1.9.1-open",
    docker_1_9_logs_in_over_http: "docker-1.9.1-accounts",
    docker_1_9_logs_in_over_tls: "docker-1.9.1-tls",
    docker_1_12_asks_an_open_registry: "docker-1.12.6-open",
    docker_1_12_logs_in_over_http: "docker-1.12.6-accounts",
    docker_1_12_logs_in_over_tls: "docker-1.12.6-tls",
}
