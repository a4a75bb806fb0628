//! How hosts are bound to repositories: as a text, or as a table.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use supercargo_model::RepoKey;

use super::values::ValueError;
use crate::http::host_and_port;

/// A host that is a repository's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Binding {
    /// The host, in small letters.
    pub(crate) host: String,
    /// Its port. Without, the one of what the client speaks.
    pub(crate) port: Option<u16>,
    /// The repository.
    pub(crate) repository: RepoKey,
}

impl Binding {
    fn new(host: &str, repository: RepoKey) -> Result<Binding, ValueError> {
        let authority = host_and_port(host).ok_or_else(|| ValueError::Binding(host.to_owned()))?;
        Ok(Binding { host: authority.host().to_ascii_lowercase(), port: authority.port_u16(), repository })
    }

    /// Whether both are for the same host and port.
    pub(crate) fn contradicts(&self, other: &Binding) -> bool {
        (&self.host, self.port) == (&other.host, other.port)
    }
}

/// The name of a host, without a port, in small letters.
///
/// # Errors
/// [`ValueError::ServerName`].
pub(crate) fn server_name(text: &str) -> Result<String, ValueError> {
    match host_and_port(text) {
        Some(authority) if authority.port().is_none() && !text.starts_with('[') => {
            Ok(text.to_ascii_lowercase())
        }
        _ => Err(ValueError::ServerName(text.to_owned())),
    }
}

impl FromStr for Binding {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Binding, ValueError> {
        let (host, key) = text.split_once('=').ok_or_else(|| ValueError::Binding(text.to_owned()))?;
        Binding::new(host, RepoKey::parse(key)?)
    }
}

impl fmt::Display for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.host)?;
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        write!(f, "={}", self.repository)
    }
}

impl Serialize for Binding {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Binding {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Binding, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Table {
            host: String,
            repository: RepoKey,
        }

        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Binding;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a host and its repository: \"registry.example:444=team-a\", or a table of both")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Binding, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Binding, A::Error> {
                let Table { host, repository } =
                    Table::deserialize(de::value::MapAccessDeserializer::new(map))?;
                Binding::new(&host, repository).map_err(de::Error::custom)
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    struct Holder {
        bindings: Vec<Binding>,
    }

    #[test]
    fn bindings_are_read_and_written() {
        let text = r#"bindings = [
            "Registry.Example:444=team-a",
            { host = "[::1]:5000", repository = "team-b" },
            "old.example=team-c",
        ]"#;
        let bindings = toml::from_str::<Holder>(text).unwrap().bindings;
        let written: Vec<String> = bindings.iter().map(Binding::to_string).collect();
        assert_eq!(written, ["registry.example:444=team-a", "[::1]:5000=team-b", "old.example=team-c"]);
        for (binding, text) in bindings.iter().zip(&written) {
            assert_eq!(text.parse::<Binding>().as_ref(), Ok(binding));
        }
        for bad in [
            "\"registry.example\"",
            "\"=team-a\"",
            "\"a b=team-a\"",
            "\"a.example:x=team-a\"",
            "\"a.example=a/b\"",
            "\"u@a.example=a\"",
            "{ host = \"a.example\" }",
            "{ host = \"a.example\", repository = \"r\", port = 1 }",
            "5",
        ] {
            assert!(toml::from_str::<Holder>(&format!("bindings = [{bad}]")).is_err(), "{bad}");
        }
    }

    #[test]
    fn server_names_have_no_port() {
        assert_eq!(server_name("Registry.Example").as_deref(), Ok("registry.example"));
        for bad in ["", "a.example:444", "[::1]", "https://a.example", "a b", "u@a"] {
            assert!(server_name(bad).is_err(), "{bad}");
        }
    }
}
