//! The `[proxy]` section: what is known of a reverse proxy, for those who ask how to configure one or how clients reach a
//! repository. The server itself does nothing with it; whom it believes is in `trusted_proxies`.

use serde::{Deserialize, Serialize};
use supercargo_artifactory::proxy::{DescriptionError, Method, Settings};

/// A reverse proxy before the server. An empty text, or the port 0, is none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Proxy {
    /// The host by which clients know it, without a port.
    pub(crate) server_name: String,
    /// How clients say which repository they mean.
    pub(crate) method: Method,
    /// The file of its certificate, on its own machine.
    pub(crate) certificate: String,
    /// The file of the certificate's key.
    pub(crate) key: String,
    /// Its port for https where the method does not say another.
    pub(crate) https_port: u16,
    /// Where it listens for http, to send clients to https.
    pub(crate) http_port: u16,
    /// `host:port` where it finds this server.
    pub(crate) upstream: String,
}

impl Default for Proxy {
    fn default() -> Proxy {
        Proxy {
            server_name: String::new(),
            method: Method::Port,
            certificate: String::new(),
            key: String::new(),
            https_port: 443,
            http_port: 0,
            upstream: String::new(),
        }
    }
}

impl Proxy {
    /// The same, as those who ask are answered from.
    pub(crate) fn settings(&self) -> Settings {
        let said = |text: &String| (!text.is_empty()).then(|| text.clone());
        Settings {
            server_name: said(&self.server_name),
            docker_reverse_proxy_method: Some(self.method),
            ssl_certificate: said(&self.certificate),
            ssl_key: said(&self.key),
            ssl_port: Some(self.https_port),
            http_port: Some(self.http_port),
            upstream: said(&self.upstream),
            listen: None,
        }
    }

    /// Whether a proxy could be configured from what is said, whatever is said of the rest.
    pub(super) fn check(&self) -> Result<(), DescriptionError> {
        let rest = Settings {
            server_name: Some("registry.example".to_owned()),
            ssl_certificate: Some("/certificate".to_owned()),
            ssl_key: Some("/key".to_owned()),
            upstream: Some("127.0.0.1:5000".to_owned()),
            ..Settings::default()
        };
        self.settings().or(rest).describe("", Vec::new())?.check()
    }
}
