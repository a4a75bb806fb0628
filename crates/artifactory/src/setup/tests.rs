use super::ways::{Address, Entrances};
use super::*;

const PEM: &str = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";

fn subject(url: &str, speaks: DockerApiVersion) -> Subject {
    let repository = Repository { key: "team".parse().unwrap(), speaks, docker_port: None };
    let entrances = Entrances {
        front: Address::of_url(url).unwrap(),
        at_root: Some(repository.key.clone()),
        by_path: false,
        by_port: true,
        by_subdomain: Vec::new(),
        bound: Vec::new(),
    };
    Subject {
        ways: entrances.ways(&repository),
        repository,
        api: format!("{url}/artifactory"),
        authority: None,
        accounts: true,
        user: None,
    }
}

#[test]
fn the_text_is_what_is_to_be_done() {
    let subject = Subject {
        authority: Some(PEM.to_owned()),
        user: Some("ann".to_owned()),
        ..subject("https://registry.example:444", DockerApiVersion::V2)
    };
    let expected = r#"# team: speaks V2, at https://registry.example:444/artifactory/api/docker/team
# Its images are registry.example:444/NAME:TAG.

# docker: trust who signed for the registry (as root; no restart is needed)
mkdir -p /etc/docker/certs.d/registry.example:444
cat > /etc/docker/certs.d/registry.example:444/ca.crt <<'END'
-----BEGIN CERTIFICATE-----
MIIB
-----END CERTIFICATE-----
END

# docker: log in
docker login --username ann registry.example:444

# docker: the same without a prompt (PASSWORD may be an access token)
#   in ~/.docker/config.json, beside what is there:
#   {
#     "auths": {
#       "registry.example:444": {
#         "auth": "AUTH"
#       }
#     }
#   }
printf %s 'ann:PASSWORD' | base64    # AUTH

# docker: push and pull
docker tag NAME:TAG registry.example:444/NAME:TAG
docker push registry.example:444/NAME:TAG
docker pull registry.example:444/NAME:TAG
"#;
    assert_eq!(guide(&subject, Some(Client::Docker)).to_string(), expected);
}

#[test]
fn the_data_is_what_the_text_says() {
    let subject = Subject {
        authority: Some(PEM.to_owned()),
        ..subject("https://registry.example", DockerApiVersion::V2)
    };
    let json = serde_json::to_value(guide(&subject, Some(Client::Containerd))).unwrap();
    assert_eq!(json["repository"], "team");
    assert_eq!(json["dockerApiVersion"], "V2");
    assert_eq!(json["url"], "https://registry.example/artifactory/api/docker/team");
    assert_eq!(json["images"], serde_json::json!(["registry.example"]));
    let files = json["sections"][0]["files"].as_array().unwrap();
    let paths: Vec<&str> = files.iter().map(|file| file["path"].as_str().unwrap()).collect();
    assert_eq!(
        paths,
        [
            "/etc/containerd/certs.d/registry.example/ca.crt",
            "/etc/containerd/certs.d/registry.example/hosts.toml",
            "/etc/containerd/config.toml",
        ]
    );
    let hosts = files[1]["content"].as_str().unwrap();
    assert_eq!(
        hosts,
        "server = \"https://registry.example\"\n\n[host.\"https://registry.example\"]\n\
         capabilities = [\"pull\", \"resolve\", \"push\"]\n\
         ca = \"/etc/containerd/certs.d/registry.example/ca.crt\""
    );
    let commands = json["sections"].as_array().unwrap().last().unwrap()["commands"].as_array().unwrap();
    assert_eq!(
        commands[4],
        "ctr images pull --hosts-dir /etc/containerd/certs.d --user USER registry.example/NAME:TAG"
    );
}

#[test]
fn who_can_use_it_is_told_and_nobody_else() {
    for (speaks, clients) in [
        (DockerApiVersion::V2, &["docker", "podman", "containerd", "curl"][..]),
        (DockerApiVersion::V1, &["old-docker", "curl"]),
        (DockerApiVersion::Both, &["docker", "old-docker", "podman", "containerd", "curl"]),
    ] {
        let guide = guide(&subject("https://registry.example", speaks), None);
        let mut told: Vec<&str> = guide.sections.iter().map(|section| section.client.as_str()).collect();
        told.dedup();
        assert_eq!(told, clients);
        assert!(
            guide.sections.iter().all(|section| !section.files.is_empty() || !section.commands.is_empty())
        );
    }
}

#[test]
fn plain_http_is_said_where_a_client_has_to_know() {
    let told = |url: &str, client| guide(&subject(url, DockerApiVersion::Both), Some(client)).to_string();
    let remote = "http://registry.example:5000";
    assert!(
        told(remote, Client::Docker)
            .contains("\"insecure-registries\": [\n#       \"registry.example:5000\"")
    );
    let old = told(remote, Client::OldDocker);
    for line in ["docker -d", "docker daemon", "dockerd"] {
        assert!(old.contains(&format!("\n{line} --insecure-registry=registry.example:5000\n")), "{old}");
    }
    assert!(told(remote, Client::Podman).contains("location = \"registry.example:5000\"\ninsecure = true\n"));
    assert!(told(remote, Client::Containerd).contains("server = \"http://registry.example:5000\"\n"));
    // docker takes it from its own machine, podman does not.
    let local = "http://localhost:5000";
    assert!(!told(local, Client::Docker).contains("insecure"));
    assert!(!told(local, Client::OldDocker).contains("insecure"));
    assert!(told(local, Client::Podman).contains("insecure = true"));
}

#[test]
fn a_certificate_of_an_unknown_authority_is_a_trial() {
    let told = |client| {
        guide(&subject("https://registry.example", DockerApiVersion::Both), Some(client)).to_string()
    };
    for (client, line) in [
        (Client::Docker, "insecure-registries"),
        (Client::OldDocker, "dockerd --insecure-registry=registry.example\n"),
        (Client::Podman, "insecure = true"),
        (Client::Containerd, "skip_verify = true"),
    ] {
        let told = told(client);
        assert!(told.contains("for a trial") && told.contains(line), "{told}");
    }
}

#[test]
fn nobody_logs_in_where_there_are_no_accounts() {
    let subject = Subject { accounts: false, ..subject("https://registry.example", DockerApiVersion::Both) };
    let told = guide(&subject, None).to_string();
    assert!(!told.contains("log in") && !told.contains("USER"), "{told}");
}

#[test]
fn a_repository_without_a_way_has_its_api_alone() {
    let subject = Subject { ways: Vec::new(), ..subject("https://registry.example", DockerApiVersion::V1) };
    let guide = guide(&subject, None);
    assert!(guide.sections.iter().all(|section| section.client == Client::Curl));
    let told = guide.to_string();
    assert!(told.contains("# No docker client reaches it"), "{told}");
    assert!(told.contains("api/docker/team/v1/migrate"), "{told}");
    assert!(told.contains(
        "--request DELETE https://registry.example/artifactory/api/docker/team/v1/repositories/NAME/tags/TAG"
    ));
}
