//! nginx in front, which speaks TLS to clients and plain HTTP to the server: what they are told holds out there.

use std::path::Path;

use supercargo_tests::accounts::{Guarded, PASSWORD};
use supercargo_tests::docker::{Docker, TRUSTING_HOST};
use supercargo_tests::files::Files;
use supercargo_tests::image::write_layout;
use supercargo_tests::program::{require, run, skopeo};
use supercargo_tests::proxy::{Program, Proxy};
use supercargo_tests::server::path_text;
use supercargo_tests::tls::Authority;
use supercargo_tests::{Image, Random, Server};

use crate::logins::docker_story;
use crate::{free_port, trusting};

/// Starts nginx, which passes on what comes to each of the ports with these lines of its configuration.
fn nginx(folder: &Path, server: &Server, ports: &[(u16, &str)]) -> Proxy {
    let (place, address) = (path_text(folder), server.address());
    let servers: String = ports
        .iter()
        .map(|(port, headers)| {
            format!(
                "server {{ listen [::1]:{port} ssl http2; listen 127.0.0.1:{port} ssl http2;
                    ssl_certificate {place}/tls.crt; ssl_certificate_key {place}/tls.key;
                    client_max_body_size 0; proxy_request_buffering off; proxy_http_version 1.1;
                    location / {{ proxy_pass http://{address}; {headers} }} }}\n"
            )
        })
        .collect();
    let ports: Vec<u16> = ports.iter().map(|(port, _)| *port).collect();
    Program::Nginx.start(folder, &servers, &ports)
}

#[test]
fn clients_log_in_and_push_through_nginx() {
    let mut random = Random::from_environment("clients_log_in_and_push_through_nginx");
    let guarded = Guarded::start(Server::settings().variable("SUPERCARGO_TRUSTED_PROXIES", "127.0.0.1"));
    guarded.user("writer", "team/**", "read,write");
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("who signed for the proxy");
    authority.issue_for("proxy", &[TRUSTING_HOST, "127.0.0.1", "localhost"]).write(folder.path());
    let authority_file = folder.path().join("authority.crt");
    std::fs::write(&authority_file, &authority.pem).unwrap();

    // Without more, nginx names the server by the address that it has for it.
    let ways = [
        "proxy_set_header Host $http_host; proxy_set_header X-Forwarded-Proto $scheme;",
        "proxy_set_header X-Forwarded-Host $http_host; proxy_set_header X-Forwarded-Proto $scheme;",
        "proxy_set_header Host $host; proxy_set_header X-Forwarded-Port $server_port;
         proxy_set_header X-Forwarded-Proto $scheme;",
        "proxy_set_header Forwarded \"for=$remote_addr;host=\\\"$http_host\\\";proto=$scheme\";",
    ];
    let ports = ways.map(|way| (free_port(), way));
    let _nginx = nginx(folder.path(), &guarded.server, &ports);

    for (port, way) in &ports {
        let url = format!("https://localhost:{port}/v2/");
        let mut curl = require("curl");
        curl.args(["--silent", "--show-error", "--http2", "--include", "--cacert"]).arg(&authority_file);
        let answer = run(curl.arg(&url)).text;
        let realm = format!("Bearer realm=\"{url}token\"");
        assert!(answer.contains(&realm), "{way}: {answer}");
    }

    let certificates = trusting(&authority_file, folder.path());
    let image = Image::generate(1, 2, 100_000);
    write_layout(&folder.path().join("layout"), &[("x", &image)], None).unwrap();
    let local = format!("oci:{}:x", folder.path().join("layout").display());
    for (port, _) in &ports {
        let remote = format!("docker://localhost:{port}/team/skopeo:{port}");
        let credentials = format!("writer:{PASSWORD}");
        let trusting = path_text(&certificates);
        run(&mut skopeo(&[
            "copy",
            "--quiet",
            "--preserve-digests",
            "--dest-creds",
            &credentials,
            "--dest-cert-dir",
            trusting,
            &local,
            &remote,
        ]));
        let back = format!("oci:{}:x", folder.path().join(port.to_string()).display());
        run(&mut skopeo(&[
            "copy",
            "--quiet",
            "--src-creds",
            &credentials,
            "--src-cert-dir",
            trusting,
            &remote,
            &back,
        ]));
    }

    let (port, _) = ports[1];
    let docker = Docker::start_trusting(&[port], Some(&authority_file));
    let contents: Files = [("x".to_owned(), random.bytes(300_000))].into();
    for method in ["token", "basic"] {
        guarded.set_login(method);
        docker_story(&docker, &format!("{TRUSTING_HOST}:{port}"), method, &contents);
    }
    drop(docker);
    guarded.server.stop().verify();
}
