//! Real clients by the ways that they know: a host, a port, a subdomain, and names.

use supercargo_tests::Server;
use supercargo_tests::accounts::{Guarded, PASSWORD};
use supercargo_tests::docker::Docker;
use supercargo_tests::files::{assert_same, files};
use supercargo_tests::image::{Image, write_layout};
use supercargo_tests::program::{run, skopeo};

use crate::support::{create, every_way};

/// What docker calls an image by each of the ways that it knows, and where that is in the registry.
fn references(server: &Server) -> Vec<(String, &'static str, &'static str)> {
    let (port, own) = (server.address().port(), server.next_address().port());
    vec![
        (format!("localhost:{port}/team/app:1"), "docker-local", "team/app"),
        (format!("localhost:{port}/team-a/app:1"), "team-a", "app"),
        (format!("localhost:{port}/team-a/team/app:1"), "team-a", "team/app"),
        (format!("localhost:{own}/team/app:1"), "own", "team/app"),
        (format!("team-a.localhost:{port}/by/subdomain:1"), "team-a", "by/subdomain"),
    ]
}

#[test]
fn docker_pushes_and_pulls_by_every_way_that_it_knows() {
    let server = every_way().start();
    create(&server, "V2");
    let docker = Docker::start_knowing(&["team-a.localhost"]);
    let content = files([("app/version", "1"), ("app/name", "web")]);
    let first = "scratch-app:1";
    docker.import(&content, first);
    for (reference, key, name) in references(&server) {
        docker.run(&["tag", first, &reference]);
        let digest = docker.push(&reference).digest;
        let path = format!("/artifactory/api/docker/{key}/v2/{name}/manifests/1");
        let manifest = server.client().get(&path).unwrap().expect(200);
        assert_eq!(manifest.require("Docker-Content-Digest"), digest, "{reference}");
        docker.run(&["image", "rm", &reference]);
        docker.run(&["pull", &reference]);
        assert_same(&docker.files(&reference), &content, Docker::adds);
    }
    server.stop().verify();
}

/// Each way has a token endpoint of its own, and tokens say what the client says.
#[test]
fn docker_logs_in_by_every_way_that_it_knows() {
    let guarded = Guarded::start(every_way());
    for key in ["team-a", "own"] {
        guarded.admin("PUT", &format!("/repositories/{key}"), "{}", 201);
    }
    guarded.user("ann", "**", "read,write");
    let docker = Docker::start_knowing(&["team-a.localhost"]);
    let content = files([("app/version", "2")]);
    docker.import(&content, "scratch-app:1");
    for (reference, ..) in references(&guarded.server) {
        let (host, _) = reference.split_once('/').unwrap();
        docker.log_in(host, "ann", PASSWORD);
        docker.run(&["tag", "scratch-app:1", &reference]);
        docker.push(&reference);
        docker.run(&["image", "rm", &reference]);
        docker.run(&["pull", &reference]);
        assert_same(&docker.files(&reference), &content, Docker::adds);
    }
}

/// A copy between two repositories asks for a token for both, and for a mount that is none: it is sent.
#[test]
fn skopeo_copies_between_repositories_of_one_root() {
    let guarded = Guarded::start(every_way());
    for key in ["team-a", "bound"] {
        guarded.admin("PUT", &format!("/repositories/{key}"), "{}", 201);
    }
    let folder = tempfile::tempdir().unwrap();
    let image = Image::generate(3, 2, 1000);
    write_layout(folder.path(), &[("t", &image)], None).unwrap();
    let at = |name: &str| format!("docker://127.0.0.1:{}/{name}", guarded.server.address().port());
    let login = format!("admin:{PASSWORD}");
    let insecure = ["--src-tls-verify=false", "--dest-tls-verify=false"];
    let logins = [&*format!("--src-creds={login}"), &format!("--dest-creds={login}")].map(str::to_owned);
    let layout = format!("oci:{}:t", folder.path().to_str().unwrap());
    for (from, to) in [
        (layout, at("team-a/app:t")),
        (at("team-a/app:t"), at("bound/copy:t")),
        (at("bound/copy:t"), at("team-a/copy:t")),
        (at("team-a/copy:t"), at("plain/copy:t")),
    ] {
        let mut arguments = vec!["copy", insecure[0], insecure[1], &logins[1]];
        if from.starts_with("docker:") {
            arguments.push(&logins[0]);
        }
        arguments.extend([&*from, &*to]);
        run(&mut skopeo(&arguments));
    }
    guarded.admin("GET", "/repositories/bound/tags?name=copy", "", 200);
    guarded.admin("GET", "/repositories/team-a/tags?name=copy", "", 200);
    guarded.admin("GET", "/repositories/docker-local/tags?name=plain/copy", "", 200);
}
