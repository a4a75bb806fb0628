//! What is told of a tag: what the client that set it said of itself and of the machine it runs on, in the `User-Agent`
//! that docker sends: pairs of a key and a value, `docker/1.9.1 go/go1.4.2 git-commit/a34a1d5 kernel/4.1 os/linux arch/amd64` (the V1 specification, 1).

use serde::Serialize;

use crate::Timestamp;

/// What is known of whoever set a tag, as `tags/<tag>/json` tells it.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct TagJson {
    /// When the tag was set, in seconds since the Unix epoch.
    last_update: Option<i64>,
    docker_version: Option<String>,
    docker_go_version: Option<String>,
    arch: String,
    os: String,
    kernel: Option<String>,
}

impl TagJson {
    /// What is told where nobody set the tag.
    pub fn unset() -> TagJson {
        TagJson { arch: "amd64".to_owned(), os: "linux".to_owned(), ..TagJson::default() }
    }

    /// What is told of a tag that this client set then.
    pub fn set(at: Timestamp, user_agent: &str) -> TagJson {
        let mut told =
            TagJson { last_update: Some(at.as_micros().div_euclid(1_000_000)), ..TagJson::unset() };
        // What comes behind is another program's, which drives this one.
        let own = user_agent.split("UpstreamClient(").next().unwrap_or_default();
        for (key, value) in own.split_ascii_whitespace().filter_map(|pair| pair.split_once('/')) {
            match key {
                "docker" => told.docker_version = Some(value.to_owned()),
                "go" => told.docker_go_version = Some(value.to_owned()),
                "arch" => told.arch = value.to_ascii_lowercase(),
                "os" => told.os = value.to_ascii_lowercase(),
                "kernel" => told.kernel = Some(value.to_ascii_lowercase()),
                _ => {}
            }
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn told(user_agent: &str) -> String {
        serde_json::to_string(&TagJson::set(Timestamp::from_micros(1_400_000_000_999_999), user_agent))
            .unwrap()
    }

    #[test]
    fn a_clients_words_are_told_of_its_tag() {
        assert_eq!(
            told("docker/1.9.1 go/go1.4.2 git-commit/a34a1d5 kernel/4.1-ARCH os/Linux arch/AMD64"),
            r#"{"last_update":1400000000,"docker_version":"1.9.1","docker_go_version":"go1.4.2","arch":"amd64","os":"linux","kernel":"4.1-arch"}"#
        );
        let upstream =
            told(r"docker/1.12.6 go/go1.6.4 os/linux UpstreamClient(Docker-Client/9 os/plan9 \(linux\))");
        assert!(upstream.contains(r#""docker_version":"1.12.6""#) && upstream.contains(r#""os":"linux""#));
    }

    #[test]
    fn what_is_not_said_is_not_made_up() {
        let nothing = r#"{"last_update":1400000000,"docker_version":null,"docker_go_version":null,"arch":"amd64","os":"linux","kernel":null}"#;
        for agent in ["", "curl/7.88.1", "docker", "/", "  "] {
            assert_eq!(told(agent), nothing, "{agent}");
        }
        assert_eq!(serde_json::to_string(&TagJson::unset()).unwrap(), nothing.replace("1400000000", "null"));
    }

    proptest! {
        #[test]
        fn no_agent_panics(agent in "\\PC{0,100}") {
            let _ = told(&agent);
        }
    }
}
