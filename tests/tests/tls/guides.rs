//! What clients are told of a repository, followed to the letter.

use supercargo_tests::accounts::{Guarded, PASSWORD};
use supercargo_tests::docker::{Docker, TRUSTING_HOST};
use supercargo_tests::files::{Files, assert_same};
use supercargo_tests::program::{require, run};
use supercargo_tests::{Random, Server};

use crate::made_authority;

#[test]
fn docker_does_as_it_is_told() {
    let mut random = Random::from_environment("docker_does_as_it_is_told");
    let settings =
        Server::settings().argument("--listen").argument("https://[::1]:0").argument("--self-signed");
    let guarded = Guarded::start(settings.argument("--san").argument(TRUSTING_HOST));
    guarded.user("writer", "team/**", "read,write");
    let port = guarded.server.next_address().port();
    let host = format!("{TRUSTING_HOST}:{port}");

    let mut curl = require("curl");
    curl.args(["--silent", "--show-error", "--fail", "--connect-to", &format!("::[::1]:{port}")]);
    curl.args(["--user", &format!("writer:{PASSWORD}"), "--cacert"]).arg(made_authority(&guarded.server));
    curl.arg(format!("https://{host}/artifactory/api/setup/docker-local?client=docker&format=json"));
    let guide = run(&mut curl).json();
    let sections = guide["sections"].as_array().unwrap();
    let [trust, log_in, stored, push_and_pull] = sections.as_slice() else { panic!("{guide}") };
    assert_eq!(trust["files"][0]["path"], format!("/etc/docker/certs.d/{host}/ca.crt"));
    assert_eq!(log_in["commands"][0], format!("docker login --username writer {host}"));

    // The daemon has a place of its own for the file, and the client one for its logins.
    let folder = tempfile::tempdir().unwrap();
    let authority = folder.path().join("ca.crt");
    std::fs::write(&authority, trust["files"][0]["content"].as_str().unwrap()).unwrap();
    let docker = Docker::start_trusting(&[port], Some(&authority));
    let auth =
        run(require("sh")
            .args(["-c", &stored["commands"][0].as_str().unwrap().replace("PASSWORD", PASSWORD)]));
    let logins = docker.folder().join("config");
    std::fs::create_dir_all(&logins).unwrap();
    let stored = stored["files"][0]["content"].as_str().unwrap().replace("AUTH", &auth.text);
    std::fs::write(logins.join("config.json"), stored).unwrap();

    let contents: Files = [("x".to_owned(), random.bytes(100_000))].into();
    docker.import(&contents, "team/image:1");
    for command in push_and_pull["commands"].as_array().unwrap() {
        let command = command.as_str().unwrap().replace("NAME:TAG", "team/image:1");
        let arguments: Vec<&str> = command.strip_prefix("docker ").unwrap().split(' ').collect();
        docker.run(&arguments);
    }
    assert_same(&docker.files(&format!("{host}/team/image:1")), &contents, Docker::adds);
    drop(docker);
    guarded.server.stop().verify();
}
