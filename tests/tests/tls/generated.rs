//! nginx and Apache httpd as `supercargo proxy-config` configures them: each kind of configuration is read by its program,
//! and clients of both protocols log in, push and pull through it.

use std::path::PathBuf;

use supercargo_tests::accounts::{Guarded, PASSWORD, basic};
use supercargo_tests::docker::{Docker, TRUSTING_HOST};
use supercargo_tests::files::Files;
use supercargo_tests::http::{Request, Response};
use supercargo_tests::image::{write_large_layout, write_layout};
use supercargo_tests::program::{require, run, skopeo};
use supercargo_tests::proxy::{Program, Proxy};
use supercargo_tests::server::path_text;
use supercargo_tests::tls::Authority;
use supercargo_tests::v1::wire::Wire;
use supercargo_tests::v1::{Chain, V1Client, Version};
use supercargo_tests::{Image, Random, Server};
use tempfile::TempDir;

use crate::logins::docker_story;
use crate::{free_ports, trusting};

/// The repositories, and what they speak.
const REPOSITORIES: [(&str, &str); 4] =
    [("docker-local", "V2"), ("legacy", "V1"), ("Mixed", "both"), ("team", "V2")];
/// A layer that no proxy may take into memory, or put on its disk.
const LAYER_BYTES: u64 = 200 << 20;
const PROXY_MEMORY_BYTES_MAX: u64 = 64 << 20;
const PROXY_WRITTEN_BYTES_MAX: u64 = 16 << 20;

/// A server with accounts and those repositories, each with a port; `writer` may read and write `team/**`. What a proxy
/// before it is configured with.
struct Registry {
    guarded: Guarded,
    folder: TempDir,
    /// By repository.
    ports: [u16; REPOSITORIES.len()],
    https_port: u16,
    http_port: u16,
}

impl Registry {
    #[track_caller]
    fn start() -> Registry {
        let guarded = Guarded::start(Server::settings().variable("SUPERCARGO_TRUSTED_PROXIES", "127.0.0.1"));
        guarded.user("writer", "team/**", "read,write");
        let [https_port, http_port, ports @ ..] = free_ports::<{ REPOSITORIES.len() + 2 }>();
        for ((key, speaks), port) in REPOSITORIES.into_iter().zip(ports) {
            let (method, status) = if key == "docker-local" { ("PATCH", 200) } else { ("PUT", 201) };
            let settings = format!(r#"{{"docker-api-version":"{speaks}","docker-port":{port}}}"#);
            guarded.admin(method, &format!("/repositories/{key}"), &settings, status);
        }
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new("who signed for the proxy");
        let subdomains = format!("*.{TRUSTING_HOST}");
        authority.issue_for("proxy", &[TRUSTING_HOST, &subdomains, "localhost"]).write(folder.path());
        std::fs::write(folder.path().join("authority.crt"), &authority.pem).unwrap();
        std::fs::write(folder.path().join("login"), format!("admin:{PASSWORD}\n")).unwrap();
        Registry { guarded, folder, ports, https_port, http_port }
    }

    fn at(&self, name: &str) -> String {
        path_text(&self.folder.path().join(name)).to_owned()
    }

    /// A proxy's configuration, as the server gives it.
    #[track_caller]
    fn configuration(&self, program: Program, method: &str) -> String {
        let (https_port, http_port) = (self.https_port.to_string(), self.http_port.to_string());
        let (certificate, key, login) = (self.at("tls.crt"), self.at("tls.key"), self.at("login"));
        let said = self.guarded.server.cli(&[
            "proxy-config",
            program.as_str(),
            "--server-name",
            TRUSTING_HOST,
            "--method",
            method,
            "--certificate",
            &certificate,
            "--key",
            &key,
            "--https-port",
            &https_port,
            "--http-port",
            &http_port,
            "--listen",
            "127.0.0.1",
            "--listen",
            "::1",
            "--login-file",
            &login,
        ]);
        let said = said.expect_success().json();
        assert_eq!(said["program"], program.as_str());
        said["configuration"].as_str().unwrap().to_owned()
    }

    /// Starts a proxy before it.
    #[track_caller]
    fn behind(&self, program: Program, method: &str) -> Proxy {
        let folder = self.folder.path().join(format!("{}-{method}", program.as_str()));
        std::fs::create_dir(&folder).unwrap();
        let mut ports = if method == "port" { self.ports.to_vec() } else { Vec::new() };
        ports.extend([self.https_port, self.http_port]);
        program.start(&folder, &self.configuration(program, method), &ports)
    }

    fn port(&self, key: &str) -> u16 {
        self.ports[REPOSITORIES.iter().position(|(it, _)| *it == key).unwrap()]
    }

    fn authority(&self) -> PathBuf {
        self.folder.path().join("authority.crt")
    }

    fn wire(&self, port: u16) -> Wire {
        Wire::tls(([127, 0, 0, 1], port).into(), &self.authority())
    }

    /// Asks something by TLS.
    #[track_caller]
    fn ask(&self, port: u16, request: &Request) -> Response {
        self.wire(port).send(request).unwrap()
    }

    /// The text of an answer's head and body as curl gets it, for hosts that are on this machine whatever they are called.
    #[track_caller]
    fn curl(&self, url: &str, arguments: &[&str]) -> String {
        let mut command = require("curl");
        command.args(["--silent", "--show-error", "--include", "--connect-to"]);
        command.arg(format!("::127.0.0.1:{}", url.rsplit(':').next().unwrap().split('/').next().unwrap()));
        command.arg("--cacert").arg(self.authority()).args(arguments).arg(url);
        run(&mut command).text
    }
}

fn get(path: &str) -> Request {
    Request::new("GET", path)
}

/// What an answer says of where to get a token.
fn realm(answer: &str) -> &str {
    let (_, rest) = answer.split_once("Bearer realm=\"").unwrap_or_else(|| panic!("no realm in {answer}"));
    rest.split_once('"').unwrap().0
}

#[test]
fn every_configuration_is_one() {
    let registry = Registry::start();
    for program in Program::ALL {
        for method in ["port", "subdomain", "path"] {
            let text = registry.configuration(program, method);
            let said = program.check(registry.folder.path(), &text);
            assert!(!said.stderr.contains("[warn]"), "{}", said.stderr);
        }
    }
    registry.guarded.server.stop().verify();
}

#[test]
fn docker_pushes_to_two_repositories_at_two_ports() {
    let mut random = Random::from_environment("docker_pushes_to_two_repositories_at_two_ports");
    let registry = Registry::start();
    let ports = ["docker-local", "team"].map(|key| registry.port(key));
    let docker = Docker::start_trusting(&ports, Some(&registry.authority()));
    for program in Program::ALL {
        let _proxy = registry.behind(program, "port");
        for port in ports {
            let contents: Files = [("x".to_owned(), random.bytes(300_000))].into();
            docker_story(&docker, &format!("{TRUSTING_HOST}:{port}"), program.as_str(), &contents);
        }
    }
    drop(docker);
    for key in ["docker-local", "team"] {
        let tags =
            registry.guarded.admin("GET", &format!("/repositories/{key}/tags?name=team/image"), "", 200);
        let tags: Vec<&str> =
            tags["tags"].as_array().unwrap().iter().map(|it| it["tag"].as_str().unwrap()).collect();
        assert_eq!(tags, ["apache", "nginx"], "{key}");
    }
    registry.guarded.server.stop().verify();
}

#[test]
fn old_clients_push_to_ports_of_v1() {
    let mut random = Random::from_environment("old_clients_push_to_ports_of_v1");
    let registry = Registry::start();
    for program in Program::ALL {
        let _proxy = registry.behind(program, "port");
        let port = registry.port("legacy");
        // docker 1.10 and later leave V1 alone where this says anything else.
        for path in ["/v2/", "/v2", "/v2/team/app/manifests/1"] {
            let answer = registry.ask(port, &get(path)).expect(404);
            for header in ["Docker-Distribution-Api-Version", "WWW-Authenticate"] {
                assert_eq!(answer.header(header), None, "{path}: {answer:?}");
            }
        }
        assert_eq!(
            registry.ask(port, &get("/_ping")).expect(200).require("X-Docker-Registry-Standalone"),
            "true"
        );
        for version in Version::ALL {
            let client = V1Client::new(registry.wire(port), version);
            // Once: who goes on with wrong passwords has to wait.
            if version == Version::V1_5 {
                assert!(!client.clone().logged_in("writer", "wrong").log_in().unwrap());
            }
            let client = client.logged_in("writer", PASSWORD);
            assert!(client.log_in().unwrap());
            let chain = Chain::generate(&mut random, version, 3, 200_000);
            let name = format!("team/{}", program.as_str());
            client.push(&name, &["1"], &chain).unwrap();
            assert_eq!(client.pull(&name, "1").unwrap(), chain, "{version:?}");
        }
        // Where both protocols are spoken, V1 is there beside V2.
        let port = registry.port("Mixed");
        let answer = registry.ask(port, &get("/v2/")).expect(401);
        assert_eq!(answer.require("Docker-Distribution-Api-Version"), "registry/2.0");
        let client = V1Client::new(registry.wire(port), Version::V1_9)
            .knowing_v1_alone()
            .logged_in("writer", PASSWORD);
        let chain = Chain::generate(&mut random, Version::V1_9, 2, 10_000);
        client.push("team/both", &["1"], &chain).unwrap();
        let manifest = get("/v2/team/both/manifests/1").header("Authorization", &basic("writer", PASSWORD));
        registry.ask(port, &manifest.header("Accept", "*/*")).expect(200);
    }
    registry.guarded.server.stop().verify();
}

#[test]
fn the_session_of_a_push_is_found_by_its_cookie() {
    let registry = Registry::start();
    for program in Program::ALL {
        let _proxy = registry.behind(program, "port");
        let request = Request::new("PUT", "/v1/repositories/team/app/").header("X-Docker-Token", "true");
        let request = request.header("Authorization", &basic("writer", PASSWORD)).body("[]");
        let answer = registry.ask(registry.port("legacy"), &request).expect(200);
        let cookie = answer.require("Set-Cookie").to_ascii_lowercase();
        let path = cookie.split(';').map(str::trim).find_map(|it| it.strip_prefix("path="));
        assert_eq!(path, Some("/"), "{cookie}");
    }
    registry.guarded.server.stop().verify();
}

#[test]
fn clients_are_told_the_urls_of_the_proxy() {
    let registry = Registry::start();
    for program in Program::ALL {
        let _proxy = registry.behind(program, "port");
        for key in ["docker-local", "Mixed"] {
            let port = registry.port(key);
            // What a client says of itself is not believed.
            let request = get("/v2/")
                .header("X-Forwarded-Host", "evil.example")
                .header("X-Forwarded-Port", "1")
                .header("X-Forwarded-Proto", "http")
                .header("X-Forwarded-Prefix", "/evil")
                .header("Forwarded", "host=evil.example;proto=http")
                .header("X-Artifactory-Override-Base-Url", "http://evil.example/x");
            let answer = registry.ask(port, &request).expect(401);
            assert_eq!(
                realm(answer.require("WWW-Authenticate")),
                format!("https://localhost:{port}/v2/token")
            );

            // Where they are sent is there.
            let upload = Request::new("POST", "/v2/team/app/blobs/uploads/").body("");
            let authorization = basic("writer", PASSWORD);
            let answer = registry.ask(port, &upload.header("Authorization", &authorization)).expect(202);
            let location = answer.require("Location");
            // docker sends its login only below where it found `/v2/`.
            assert!(location.starts_with("/v2/team/app/blobs/uploads/"), "{location}");
            registry.ask(port, &get(location).header("Authorization", &authorization)).expect(204);

            // Another repository is there by its whole path, and stays there.
            let path = "/artifactory/api/docker/team/v2/team/app/blobs/uploads/";
            let upload = Request::new("POST", path).body("");
            let answer = registry.ask(port, &upload.header("Authorization", &authorization)).expect(202);
            let location = answer.require("Location");
            assert!(location.starts_with(path), "{location}");
            registry.ask(port, &get(location).header("Authorization", &authorization)).expect(204);
        }
    }
    registry.guarded.server.stop().verify();
}

#[test]
fn the_api_is_there_on_every_port_and_http_leads_to_it() {
    let registry = Registry::start();
    for program in Program::ALL {
        let proxy = registry.behind(program, "port");
        for port in registry.ports.iter().chain([&registry.https_port]) {
            let answer = registry.ask(*port, &get("/artifactory/api/system/ping")).expect(200);
            assert_eq!(answer.text(), "OK");
            registry.ask(*port, &get("/metrics")).expect(404);
        }
        let url = format!("http://localhost:{}/artifactory/api/system/ping?x=%2F1", registry.http_port);
        let answer = registry.curl(&url, &[]);
        let to = format!("https://localhost:{}/artifactory/api/system/ping?x=%2F1", registry.https_port);
        assert!(answer.starts_with("HTTP/1.1 308"), "{answer}");
        assert!(answer.lines().any(|line| line.eq_ignore_ascii_case(&format!("location: {to}"))), "{answer}");
        drop(proxy);
    }
    registry.guarded.server.stop().verify();
}

#[test]
fn a_large_layer_passes_without_a_stop() {
    let registry = Registry::start();
    let layout = registry.folder.path().join("large");
    let digest = write_large_layout(&layout, "large", 12, LAYER_BYTES).unwrap();
    let local = format!("oci:{}:large", layout.display());
    let certificates = trusting(&registry.authority(), registry.folder.path());
    let certificates = path_text(&certificates);
    let credentials = format!("writer:{PASSWORD}");
    // Pushed for each once: to one repository through nginx, to the other through Apache.
    for (program, key) in Program::ALL.into_iter().zip(["docker-local", "team"]) {
        let proxy = registry.behind(program, "port");
        let remote = format!("docker://localhost:{}/team/large:1", registry.port(key));
        let push = ["copy", "--quiet", "--preserve-digests", "--dest-creds", &credentials, "--dest-cert-dir"];
        run(skopeo(&push).args([certificates, &local, &remote]));
        let back = format!("dir:{}", registry.at(key));
        let pull = ["copy", "--quiet", "--src-creds", &credentials, "--src-cert-dir"];
        run(skopeo(&pull).args([certificates, &remote, &back]));
        let pulled = registry.folder.path().join(key).join(&digest["sha256:".len()..]);
        assert!(std::fs::metadata(pulled).unwrap().len() >= LAYER_BYTES);

        let (memory, written) = (proxy.total("status", "VmHWM") * 1024, proxy.total("io", "write_bytes"));
        eprintln!("{}: {} MiB of memory, {written} bytes written", program.as_str(), memory >> 20);
        assert!(memory < PROXY_MEMORY_BYTES_MAX, "{memory} bytes of memory");
        assert!(written < PROXY_WRITTEN_BYTES_MAX, "{written} bytes written");
        assert!(!proxy.output().contains("temporary file"), "{}", proxy.output());
    }
    registry.guarded.server.stop().verify();
}

#[test]
fn every_repository_has_a_subdomain() {
    let registry = Registry::start();
    for program in Program::ALL {
        let _proxy = registry.behind(program, "subdomain");
        let port = registry.https_port;
        for http in ["--http1.1", "--http2"] {
            for (host, key) in [("docker-local", "docker-local"), ("team", "team"), ("mixed", "Mixed")] {
                let base = format!("https://{host}.{TRUSTING_HOST}:{port}");
                let answer = registry.curl(&format!("{base}/v2/"), &[http]);
                assert_eq!(realm(&answer), format!("{base}/v2/token"));
                assert!(answer.contains(&format!("service=\"{key}\"")), "{answer}");
                let tags = registry
                    .curl(&format!("{base}/v2/_catalog"), &[http, "--user", &format!("admin:{PASSWORD}")]);
                assert!(tags.ends_with(r#"{"repositories":[]}"#), "{tags}");
            }
            let base = format!("https://legacy.{TRUSTING_HOST}:{port}");
            let answer = registry.curl(&format!("{base}/v2/"), &[http]).to_ascii_lowercase();
            assert!(answer.lines().next().unwrap().contains(" 404"), "{answer}");
            assert!(
                !answer.contains("docker-distribution") && !answer.contains("www-authenticate"),
                "{answer}"
            );
            let answer = registry.curl(&format!("{base}/v1/_ping"), &[http]).to_ascii_lowercase();
            assert!(answer.contains("x-docker-registry-standalone: true"), "{answer}");
            let answer = registry.curl(&format!("https://nowhere.{TRUSTING_HOST}:{port}/v2/"), &[http]);
            assert!(answer.lines().next().unwrap().contains(" 404"), "{answer}");
        }
    }
    registry.guarded.server.stop().verify();
}

#[test]
fn every_repository_has_a_path() {
    let registry = Registry::start();
    let image = Image::generate(4, 2, 100_000);
    let layout = registry.folder.path().join("layout");
    write_layout(&layout, &[("x", &image)], None).unwrap();
    let local = format!("oci:{}:x", layout.display());
    let certificates = trusting(&registry.authority(), registry.folder.path());
    let certificates = path_text(&certificates);
    let credentials = format!("writer:{PASSWORD}");
    for program in Program::ALL {
        let _proxy = registry.behind(program, "path");
        for key in ["docker-local", "team"] {
            let remote = format!("docker://localhost:{}/{key}/team/image:1", registry.https_port);
            let push =
                ["copy", "--quiet", "--preserve-digests", "--dest-creds", &credentials, "--dest-cert-dir"];
            run(skopeo(&push).args([certificates, &local, &remote]));
            let back = format!("dir:{}", registry.at(&format!("{}-{key}", program.as_str())));
            let pull = ["copy", "--quiet", "--src-creds", &credentials, "--src-cert-dir"];
            run(skopeo(&pull).args([certificates, &remote, &back]));
        }
    }
    for key in ["docker-local", "team"] {
        let tags =
            registry.guarded.admin("GET", &format!("/repositories/{key}/tags?name=team/image"), "", 200);
        assert_eq!(tags["tags"].as_array().unwrap().len(), 1, "{key}");
    }
    registry.guarded.server.stop().verify();
}
