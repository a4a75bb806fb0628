//! Certificates in files: served, replaced while the server runs, and refused.

use std::os::unix::fs::symlink;

use supercargo_tests::http::Request;
use supercargo_tests::tls::{Authority, open, settings, shown};
use supercargo_tests::wait_until;

use crate::{made_authority, self_signed, serving};

#[test]
fn a_new_pair_is_served_without_a_restart_and_connections_live_on() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("authority");
    let client = settings(&authority.pem, None, &[]);
    let (first, second, third) = (authority.issue("1"), authority.issue("2"), authority.issue("3"));
    first.write(folder.path());
    let server = serving(folder.path()).start();
    let address = server.next_address();
    let get = Request::new("GET", "/v2/").to_bytes();
    let mut old = open(address, &client).unwrap();
    assert_eq!(shown(&old), first.der());
    old.send(&get).unwrap();
    old.receive("GET").unwrap().expect(200);

    second.write(folder.path());
    wait_until("the second pair is served", || shown(&open(address, &client).unwrap()) == second.der());

    // The folder as a whole, as container platforms replace mounted secrets.
    for (name, pair) in [("a", &second), ("b", &third)] {
        std::fs::create_dir(folder.path().join(name)).unwrap();
        pair.write(&folder.path().join(name));
    }
    symlink("b", folder.path().join("new")).unwrap();
    for name in ["tls.crt", "tls.key"] {
        let link = folder.path().join("link");
        symlink(format!("new/{name}"), &link).unwrap();
        std::fs::rename(&link, folder.path().join(name)).unwrap();
    }
    wait_until("the third pair is served", || shown(&open(address, &client).unwrap()) == third.der());

    old.send(&get).unwrap();
    old.receive("GET").unwrap().expect(200);
    assert_eq!(shown(&old), first.der());
    server.stop();
}

#[test]
fn a_pair_that_does_not_fit_is_kept_out() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("authority");
    let client = settings(&authority.pem, None, &[]);
    let (first, second) = (authority.issue("1"), authority.issue("2"));
    first.write(folder.path());
    let server = serving(folder.path()).start();
    let address = server.next_address();
    let complaints = || server.process().output().matches("the old certificate stays").count();

    std::fs::write(folder.path().join("tls.crt"), &second.certificate).unwrap();
    wait_until("the log says that it is of no use", || complaints() == 1);
    assert_eq!(shown(&open(address, &client).unwrap()), first.der());
    std::fs::write(folder.path().join("tls.crt"), "").unwrap();
    wait_until("the log says that it holds no certificate", || {
        server.process().output().contains("holds no certificate")
    });
    assert_eq!(shown(&open(address, &client).unwrap()), first.der());
    second.write(folder.path());
    wait_until("the second pair is served", || shown(&open(address, &client).unwrap()) == second.der());
    assert_eq!(complaints(), 2, "a change is complained of once");
    server.stop();
}

#[test]
fn a_server_does_not_start_with_what_it_can_not_serve() {
    let authority = Authority::new("authority");
    let (one, other) = (authority.issue("1"), authority.issue("2"));
    for (certificate, key, rule) in [
        (one.certificate.as_str(), other.key.as_str(), "can't be used together"),
        ("", &one.key, "holds no certificate"),
        (&one.certificate, "", "holds no private key"),
        (&one.key, &one.key, "holds no certificate"),
        (&one.certificate, &one.certificate, "holds no private key"),
        ("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n", &one.key, "tls.crt"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("tls.crt"), certificate).unwrap();
        std::fs::write(folder.path().join("tls.key"), key).unwrap();
        let (status, stopped) = serving(folder.path()).start_to_fail();
        assert_eq!(status.code(), Some(1));
        assert!(stopped.log().contains(rule), "{rule}: {}", stopped.log());
        assert!(!stopped.data().exists(), "a data folder was made");
    }
    let folder = tempfile::tempdir().unwrap();
    let (_, stopped) = serving(folder.path()).start_to_fail();
    assert!(stopped.log().contains("tls.crt"), "{}", stopped.log());
}

#[test]
fn kinds_of_keys() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let openssl = |arguments: &[&str]| {
        supercargo_tests::program::run(supercargo_tests::program::require("openssl").args(arguments));
    };
    let (certificate, key, plain) = (at("tls.crt"), at("tls.key"), at("plain"));
    for (kind, convert) in [
        // SEC1, PKCS#1, and PKCS#8 of both.
        (&["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384"][..], Some("ec")),
        (&["-newkey", "rsa:2048"], Some("rsa")),
        (&["-newkey", "rsa:2048"], None),
        (&["-newkey", "ed25519"], None),
    ] {
        let make =
            ["req", "-x509", "-nodes", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"];
        openssl(&[&make, kind, &["-keyout", &key, "-out", &certificate]].concat());
        if let Some(command) = convert {
            let traditional: &[&str] = if command == "rsa" { &["-traditional"] } else { &[] };
            openssl(&[&[command, "-in", &key, "-out", &plain], traditional].concat());
            std::fs::rename(&plain, &key).unwrap();
        }
        let server = serving(folder.path()).start();
        let url = format!("https://localhost:{}/v2/", server.next_address().port());
        supercargo_tests::program::run(supercargo_tests::program::require("curl").args([
            "--silent",
            "--fail",
            "--cacert",
            &certificate,
            &url,
        ]));
        server.stop();
    }
}

/// What was made once is found again, and the command line trusts it as any client does.
#[test]
fn the_made_authority_stays() {
    let server = self_signed().start();
    let address = server.next_address();
    let authority = std::fs::read_to_string(made_authority(&server)).unwrap();
    let client = settings(&authority, None, &[]);
    let certificate = shown(&open(address, &client).unwrap());
    let server = server.restart();
    assert_eq!(shown(&open(server.next_address(), &client).unwrap()), certificate);
    // A server for another name shows another certificate of the same authority.
    let server = server.stop().into_settings().argument("--san").argument("registry.example").start();
    let address = server.next_address();
    assert_ne!(shown(&open(address, &client).unwrap()), certificate);

    let url = format!("https://127.0.0.1:{}", address.port());
    let supercargo = |more: &[&str]| {
        let mut command = std::process::Command::new(supercargo_tests::server::binary());
        command.args(["repo", "list", "--server", &url]).args(more);
        command
    };
    let ca = made_authority(&server);
    let listed = supercargo_tests::program::run(&mut supercargo(&["--ca", ca.to_str().unwrap()]));
    assert!(listed.text.contains("docker-local"), "{}", listed.text);
    let refusal = supercargo_tests::program::run_to_fail(&mut supercargo(&[]));
    assert!(refusal.contains("certificate"), "{refusal}");
    server.stop().verify();
}
