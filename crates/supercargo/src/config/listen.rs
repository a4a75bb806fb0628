//! How listeners are written: as a text, or as a table where a text can't say enough.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use supercargo_model::RepoKey;

use super::tls::ClientAuth;
use super::values::ValueError;

/// Where the server listens, what it speaks there, and which repository it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listen {
    /// The address. Port 0 takes a free one.
    pub(crate) address: SocketAddr,
    /// The repository that it is for alone.
    pub(crate) repository: Option<RepoKey>,
    /// What is spoken there.
    pub(crate) speaks: Speaks,
}

/// What is spoken on a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Speaks {
    /// Nobody said: https where the `[tls]` section says where certificates come from, http where it does not.
    Unsaid,
    /// http.
    Http,
    /// https, with what is different from the `[tls]` section here.
    Https(ListenTls),
    /// http, and nothing but an answer that it is https elsewhere.
    Redirect(RedirectTo),
}

/// What a listener has for itself of TLS. An empty path is none: then the `[tls]` section holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ListenTls {
    /// A file with the certificate and what is between it and its authority, PEM.
    pub(crate) certificate: PathBuf,
    /// A file with the certificate's private key, PEM.
    pub(crate) key: PathBuf,
    /// A file with the authorities of clients' certificates, PEM.
    pub(crate) client_ca: PathBuf,
    /// Whether clients show certificates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) client_auth: Option<ClientAuth>,
}

impl Default for ListenTls {
    fn default() -> ListenTls {
        ListenTls::NONE
    }
}

impl ListenTls {
    /// Nothing for itself.
    pub(crate) const NONE: ListenTls = ListenTls {
        certificate: PathBuf::new(),
        key: PathBuf::new(),
        client_ca: PathBuf::new(),
        client_auth: None,
    };
}

/// Where a client is sent that came by http.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RedirectTo {
    /// To the host that it asked for, at this port.
    Port(u16),
    /// To this host, with its port unless that is 443.
    Host(String),
}

impl FromStr for Listen {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Listen, ValueError> {
        let (speaks, rest) = match text.split_once("://") {
            None => (Speaks::Unsaid, text),
            Some(("http", rest)) => (Speaks::Http, rest),
            Some(("https", rest)) => (Speaks::Https(ListenTls::NONE), rest),
            Some(_) => return Err(ValueError::Listen(text.to_owned())),
        };
        let (address, key) = match rest.split_once('=') {
            Some((address, key)) => (address, Some(RepoKey::parse(key))),
            None => (rest, None),
        };
        let address = address.parse().map_err(|_| ValueError::Listen(text.to_owned()))?;
        Ok(Listen { address, repository: key.transpose()?, speaks })
    }
}

impl fmt::Display for Listen {
    /// The text of a listener that a text can say; of another, the part that it can.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.speaks {
            Speaks::Unsaid => {}
            Speaks::Http | Speaks::Redirect(_) => f.write_str("http://")?,
            Speaks::Https(_) => f.write_str("https://")?,
        }
        self.address.fmt(f)?;
        self.repository.iter().try_for_each(|key| write!(f, "={key}"))
    }
}

impl FromStr for RedirectTo {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<RedirectTo, ValueError> {
        let refused = || ValueError::RedirectTo(text.to_owned());
        if let Some(port) = text.strip_prefix(':') {
            return match port.parse() {
                Ok(port @ 1..) => Ok(RedirectTo::Port(port)),
                _ => Err(refused()),
            };
        }
        let host = text.strip_prefix("https://").ok_or_else(refused)?;
        let host = host.strip_suffix('/').unwrap_or(host);
        match host.parse::<hyper::http::uri::Authority>() {
            Ok(authority) if !authority.host().is_empty() && !host.contains('@') => {
                Ok(RedirectTo::Host(host.to_owned()))
            }
            _ => Err(refused()),
        }
    }
}

impl fmt::Display for RedirectTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RedirectTo::Port(port) => write!(f, ":{port}"),
            RedirectTo::Host(host) => write!(f, "https://{host}"),
        }
    }
}

/// A listener as a table.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    address: String,
    tls: Option<ListenTls>,
    redirect_to: Option<String>,
}

impl Table {
    fn listen(self) -> Result<Listen, String> {
        let mut listen: Listen = self.address.parse().map_err(|error: ValueError| error.to_string())?;
        let http = matches!(listen.speaks, Speaks::Http);
        listen.speaks = match (self.tls, self.redirect_to) {
            (None, None) => listen.speaks,
            (Some(_), Some(_)) => return Err("a listener redirects or has tls, not both".to_owned()),
            (Some(_), None) if http => return Err(format!("{listen} is http and can't have tls")),
            (Some(tls), None) => Speaks::Https(tls),
            (None, Some(_)) if matches!(listen.speaks, Speaks::Https(_)) => {
                return Err(format!("{listen} is https already; what redirects there listens for http"));
            }
            (None, Some(to)) => Speaks::Redirect(to.parse().map_err(|error: ValueError| error.to_string())?),
        };
        Ok(listen)
    }
}

impl Serialize for Listen {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let address = self.to_string();
        match &self.speaks {
            Speaks::Https(tls) if *tls != ListenTls::NONE => {
                let mut table = serializer.serialize_map(Some(2))?;
                table.serialize_entry("address", &address)?;
                table.serialize_entry("tls", tls)?;
                table.end()
            }
            Speaks::Redirect(to) => {
                let mut table = serializer.serialize_map(Some(2))?;
                table.serialize_entry("address", &address)?;
                table.serialize_entry("redirect_to", &to.to_string())?;
                table.end()
            }
            _ => serializer.serialize_str(&address),
        }
    }
}

impl<'de> Deserialize<'de> for Listen {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Listen, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Listen;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a listener in quotes, such as \"127.0.0.1:5000\", or a table with an address")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Listen, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Listen, A::Error> {
                let table = Table::deserialize(de::value::MapAccessDeserializer::new(map))?;
                table.listen().map_err(de::Error::custom)
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Holder {
        listen: Vec<Listen>,
    }

    #[test]
    fn listeners_are_read_and_written() {
        for (text, port, repository, speaks) in [
            ("127.0.0.1:5000", 5000, None, Speaks::Unsaid),
            ("[::1]:0=team-a", 0, Some("team-a"), Speaks::Unsaid),
            ("http://127.0.0.1:80", 80, None, Speaks::Http),
            ("https://127.0.0.1:443=team-a", 443, Some("team-a"), Speaks::Https(ListenTls::NONE)),
        ] {
            let listen: Listen = text.parse().unwrap();
            assert_eq!(
                (listen.address.port(), listen.repository.as_ref().map(RepoKey::as_str)),
                (port, repository)
            );
            assert_eq!(listen.speaks, speaks);
            assert_eq!(listen.to_string(), text);
        }
        for bad in [
            "",
            "5000",
            ":5000",
            "localhost:5000",
            "127.0.0.1",
            "127.0.0.1:70000",
            "ftp://127.0.0.1:1",
            "https://",
        ] {
            assert_eq!(bad.parse::<Listen>(), Err(ValueError::Listen(bad.to_owned())));
        }
        assert!(matches!("127.0.0.1:1=a/b".parse::<Listen>(), Err(ValueError::RepoKey(_))));
    }

    #[test]
    fn tables_are_read_and_written() {
        let text = r#"listen = [
            "127.0.0.1:5000",
            { address = "127.0.0.1:5443=team-a", tls = { certificate = "/c", key = "/k", client_auth = "required" } },
            { address = "127.0.0.1:80", redirect_to = ":443" },
            { address = "http://127.0.0.1:81", redirect_to = "https://registry.example:8443/" },
        ]"#;
        let holder: Holder = toml::from_str(text).unwrap();
        let Speaks::Https(tls) = &holder.listen[1].speaks else { panic!("{holder:?}") };
        assert_eq!((tls.certificate.to_str(), tls.client_auth), (Some("/c"), Some(ClientAuth::Required)));
        assert_eq!(holder.listen[2].speaks, Speaks::Redirect(RedirectTo::Port(443)));
        assert_eq!(
            holder.listen[3].speaks,
            Speaks::Redirect(RedirectTo::Host("registry.example:8443".to_owned()))
        );
        let written = toml::to_string(&holder).unwrap();
        assert_eq!(toml::from_str::<Holder>(&written).unwrap(), holder, "{written}");
    }

    #[test]
    fn tables_that_contradict_themselves_are_refused() {
        for (table, rule) in [
            ("{ tls = {} }", "address"),
            ("{ address = \"127.0.0.1:1\", tls = { kee = \"x\" } }", "kee"),
            ("{ address = \"127.0.0.1:1\", tls = {}, redirect_to = \":2\" }", "not both"),
            ("{ address = \"http://127.0.0.1:1\", tls = {} }", "can't have tls"),
            ("{ address = \"https://127.0.0.1:1\", redirect_to = \":2\" }", "https already"),
            ("{ address = \"127.0.0.1:1\", redirect_to = \":0\" }", "redirect"),
            ("{ address = \"127.0.0.1:1\", redirect_to = \"http://a\" }", "redirect"),
            ("{ address = \"127.0.0.1:1\", redirect_to = \"https://a/b\" }", "redirect"),
            ("{ address = \"127.0.0.1:1\", redirect_to = \"https://u@a\" }", "redirect"),
            ("5", "listener in quotes"),
        ] {
            let error = toml::from_str::<Holder>(&format!("listen = [{table}]")).unwrap_err().to_string();
            assert!(error.contains(rule), "{table}: {error}");
        }
    }
}
