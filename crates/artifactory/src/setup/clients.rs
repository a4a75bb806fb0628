//! What each client is told.

use serde_json::json;
use supercargo_eventlog::DockerApiVersion;

use super::ways::{Address, Way};
use super::{Client, File, Section, Subject};

/// What stands for the user's name where it is not known.
const SOMEBODY: &str = "USER";

/// The steps for a client, in their order.
pub(super) fn sections(subject: &Subject, client: Client) -> Vec<Section> {
    if client == Client::Curl {
        return api(subject);
    }
    let Some(way) = subject.ways.first() else { return Vec::new() };
    let steps = Steps { subject, client, way };
    let mut sections = steps.trust();
    if subject.accounts {
        sections.extend(steps.log_in());
    }
    sections.push(steps.push_and_pull());
    sections
}

/// A client on its way to a repository.
struct Steps<'a> {
    subject: &'a Subject,
    client: Client,
    way: &'a Way,
}

impl Steps<'_> {
    fn section<const N: usize>(&self, title: &str, files: Vec<File>, commands: [String; N]) -> Section {
        section(self.client, title, files, commands)
    }

    fn user(&self) -> &str {
        user(self.subject)
    }

    /// How the client comes to believe the registry that it is itself, or to do without.
    fn trust(&self) -> Vec<Section> {
        let address = &self.way.address;
        let plain = match (self.client, address.is_loopback()) {
            // These take plain http, and any certificate, from their own machine.
            (Client::Docker | Client::OldDocker, true) => Vec::new(),
            _ => self.insecure(address),
        };
        if !address.secure {
            return plain;
        }
        match &self.subject.authority {
            Some(authority) => vec![self.authority(address, authority)],
            None => plain,
        }
    }

    /// The authority's certificate, where the client looks for it.
    fn authority(&self, address: &Address, authority: &str) -> Section {
        let title = "trust who signed for the registry (as root; no restart is needed)";
        let file = |folder: &str| owned(format!("{folder}/{address}/ca.crt"), authority);
        let files = match self.client {
            Client::Podman => vec![file("/etc/containers/certs.d")],
            Client::Containerd => {
                let ca = format!("/etc/containerd/certs.d/{address}/ca.crt");
                vec![
                    file("/etc/containerd/certs.d"),
                    hosts_toml(address, &format!("ca = \"{ca}\"")),
                    config_path(),
                ]
            }
            _ => vec![file("/etc/docker/certs.d")],
        };
        self.section(title, files, [])
    }

    /// How the client is told to take a registry that it can't be sure of.
    fn insecure(&self, address: &Address) -> Vec<Section> {
        let why = match address.secure {
            false => "speak plain http to the registry",
            true => {
                "only where its certificate is from no authority that this machine knows, and for a trial"
            }
        };
        let files = match self.client {
            Client::Docker => {
                let daemon = json!({ "insecure-registries": [address.to_string()] });
                vec![beside("/etc/docker/daemon.json", format!("{daemon:#}"))]
            }
            Client::Podman => {
                let file = format!("/etc/containers/registries.conf.d/{}.conf", self.subject.repository.key);
                vec![owned(file, format!("[[registry]]\nlocation = \"{address}\"\ninsecure = true"))]
            }
            Client::Containerd => {
                let more = if address.secure { "skip_verify = true" } else { "" };
                vec![hosts_toml(address, more), config_path()]
            }
            Client::OldDocker => {
                let title = format!("{why}; docker 1.5 to 1.7, 1.8 to 1.11, and later");
                let told = |command: &str| format!("{command} --insecure-registry={address}");
                return vec![self.section(
                    &title,
                    Vec::new(),
                    [told("docker -d"), told("docker daemon"), told("dockerd")],
                )];
            }
            Client::Curl => return Vec::new(),
        };
        let commands: &[&str] =
            if self.client == Client::Docker { &["systemctl restart docker"] } else { &[] };
        let mut section = self.section(why, files, []);
        section.commands.extend(commands.iter().map(|command| (*command).to_owned()));
        vec![section]
    }

    fn log_in(&self) -> Vec<Section> {
        let (address, user) = (&self.way.address, self.user());
        let title = "log in";
        match self.client {
            Client::Docker => vec![
                self.section(title, Vec::new(), [format!("docker login --username {user} {address}")]),
                self.stored("~/.docker/config.json", &json!({ "auths": { address.to_string(): { "auth": "AUTH" } } })),
            ],
            Client::Podman => vec![
                self.section(title, Vec::new(), [format!("podman login --username {user} {address}")]),
                self.stored(
                    "${XDG_RUNTIME_DIR}/containers/auth.json",
                    &json!({ "auths": { address.to_string(): { "auth": "AUTH" } } }),
                ),
            ],
            Client::OldDocker => {
                let entry = json!({ "auth": "AUTH", "email": "USER@example.test" });
                let mut stored = self.stored("~/.docker/config.json", &json!({ "auths": { address.to_string(): entry } }));
                "the same without a prompt; docker 1.7 and later, and before".clone_into(&mut stored.title);
                stored.files.push(beside("~/.dockercfg", format!("{:#}", json!({ address.to_string(): entry }))));
                vec![
                    self.section(
                        "log in; docker up to 1.10 (nothing is done with the address), and later",
                        Vec::new(),
                        [
                            format!("docker login -u {user} -e {user}@example.test {address}"),
                            format!("docker login -u {user} {address}"),
                        ],
                    ),
                    stored,
                ]
            }
            Client::Containerd => vec![
                self.section(title, Vec::new(), [format!("nerdctl login --username {user} {address}")]),
                self.section(
                    "log in from Kubernetes: the secret that a pod or a service account names in imagePullSecrets",
                    Vec::new(),
                    [format!(
                        "kubectl create secret docker-registry {} --docker-server={address} \
                         --docker-username={user} --docker-password=PASSWORD",
                        self.subject.repository.key.as_str().to_ascii_lowercase()
                    )],
                ),
            ],
            Client::Curl => Vec::new(),
        }
    }

    /// The login in a file, as the client writes it.
    fn stored(&self, path: &str, content: &serde_json::Value) -> Section {
        let auth = format!("printf %s '{}:PASSWORD' | base64    # AUTH", self.user());
        self.section(
            "the same without a prompt (PASSWORD may be an access token)",
            vec![beside(path, format!("{content:#}"))],
            [auth],
        )
    }

    fn push_and_pull(&self) -> Section {
        let image = format!("{}/NAME:TAG", self.way);
        let title = "push and pull";
        match self.client {
            Client::Podman => self.section(
                title,
                Vec::new(),
                [
                    format!("podman tag NAME:TAG {image}"),
                    format!("podman push {image}"),
                    format!("podman pull {image}"),
                    format!("skopeo copy docker-daemon:NAME:TAG docker://{image}"),
                ],
            ),
            Client::Containerd => {
                let login = match self.subject.accounts {
                    true => format!(" --user {}", self.user()),
                    false => String::new(),
                };
                let ctr = format!("--hosts-dir /etc/containerd/certs.d{login} {image}");
                self.section(
                    title,
                    Vec::new(),
                    [
                        format!("nerdctl tag NAME:TAG {image}"),
                        format!("nerdctl push {image}"),
                        format!("nerdctl pull {image}"),
                        format!("ctr images push {ctr}"),
                        format!("ctr images pull {ctr}"),
                    ],
                )
            }
            Client::Docker | Client::OldDocker | Client::Curl => self.section(
                title,
                Vec::new(),
                [
                    format!("docker tag NAME:TAG {image}"),
                    format!("docker push {image}"),
                    format!("docker pull {image}"),
                ],
            ),
        }
    }
}

/// The registry's own API.
fn api(subject: &Subject) -> Vec<Section> {
    let (api, key) = (&subject.api, &subject.repository.key);
    let docker = format!("{api}/api/docker/{key}");
    let login = if subject.accounts { format!(" --user {}", user(subject)) } else { String::new() };
    let ca = if subject.authority.is_some() && api.starts_with("https:") { " --cacert ca.crt" } else { "" };
    let curl = format!("curl{ca}{login}");
    let post = |url: String, body: serde_json::Value| {
        format!("{curl} --header 'Content-Type: application/json' --data '{body}' {url}")
    };
    let files = subject.authority.iter().filter(|_| !ca.is_empty()).map(|it| owned("ca.crt".to_owned(), it));
    let old = subject.repository.speaks == DockerApiVersion::V1;
    let delete = match old {
        true => format!("{curl} --request DELETE {docker}/v1/repositories/NAME/tags/TAG"),
        false => format!("{curl} --request DELETE {api}/{key}/NAME/TAG"),
    };
    let version = if old { "v1" } else { "v2" };
    let promote =
        json!({ "targetRepo": "OTHER-KEY", "dockerRepository": "NAME", "tag": "TAG", "copy": true });
    let mut sections = vec![
        section(
            Client::Curl,
            "list names and tags",
            files.collect(),
            [format!("{curl} {docker}/v2/_catalog"), format!("{curl} {docker}/v2/NAME/tags/list")],
        ),
        section(Client::Curl, "delete a tag", Vec::new(), [delete]),
        section(
            Client::Curl,
            "promote a tag to another repository",
            Vec::new(),
            [post(format!("{docker}/{version}/promote"), promote)],
        ),
    ];
    if old {
        let migrate = json!({ "targetRepo": "V2-KEY", "dockerRepository": "NAME", "tag": "TAG" });
        sections.push(section(
            Client::Curl,
            "migrate a tag to a repository that speaks V2",
            Vec::new(),
            [post(format!("{docker}/v1/migrate"), migrate)],
        ));
    }
    sections
}

fn user(subject: &Subject) -> &str {
    subject.user.as_deref().unwrap_or(SOMEBODY)
}

fn section<const N: usize>(client: Client, title: &str, files: Vec<File>, commands: [String; N]) -> Section {
    Section { client, title: title.to_owned(), files, commands: commands.into() }
}

/// A file that is nobody else's.
fn owned(path: String, content: impl Into<String>) -> File {
    File { path, content: content.into(), beside: false }
}

/// A part of a file.
fn beside(path: &str, content: String) -> File {
    File { path: path.to_owned(), content, beside: true }
}

/// What containerd reads of a registry.
fn hosts_toml(address: &Address, more: &str) -> File {
    let url = format!("{}://{address}", address.scheme());
    let text = format!(
        "server = \"{url}\"\n\n[host.\"{url}\"]\ncapabilities = [\"pull\", \"resolve\", \"push\"]\n{more}"
    );
    owned(format!("/etc/containerd/certs.d/{address}/hosts.toml"), text.trim_end())
}

/// Where containerd is told to read it, by its major version.
fn config_path() -> File {
    let text = "# containerd 1\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\n\
                config_path = \"/etc/containerd/certs.d\"\n\
                # containerd 2\n[plugins.\"io.containerd.cri.v1.images\".registry]\n\
                config_path = \"/etc/containerd/certs.d\"";
    beside("/etc/containerd/config.toml", text.to_owned())
}
