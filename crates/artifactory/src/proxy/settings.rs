//! What is said of a reverse proxy, in the configuration of the registry or by whoever asks for the proxy's; and the
//! description that comes of it.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{Description, DescriptionError, Method, Repository};

/// What is said of a reverse proxy. What is not said is as it is elsewhere, or as its default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Settings {
    /// The host by which clients know the proxy, without a port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// How clients say which repository they mean. Else it is by the port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub docker_reverse_proxy_method: Option<Method>,
    /// The file of its certificate, on its own machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ssl_certificate: Option<String>,
    /// The file of the certificate's key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ssl_key: Option<String>,
    /// Its port for https. Else it is 443.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ssl_port: Option<u16>,
    /// A port where it listens for http, to send clients to https. Else there is none, as with 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_port: Option<u16>,
    /// `host:port` where it finds the registry, which speaks http there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream: Option<String>,
    /// The addresses on which it listens, with commas between. Else it is all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<String>,
}

impl Settings {
    /// These, and where they don't say, those.
    #[must_use]
    pub fn or(self, others: Settings) -> Settings {
        Settings {
            server_name: self.server_name.or(others.server_name),
            docker_reverse_proxy_method: self
                .docker_reverse_proxy_method
                .or(others.docker_reverse_proxy_method),
            ssl_certificate: self.ssl_certificate.or(others.ssl_certificate),
            ssl_key: self.ssl_key.or(others.ssl_key),
            ssl_port: self.ssl_port.or(others.ssl_port),
            http_port: self.http_port.or(others.http_port),
            upstream: self.upstream.or(others.upstream),
            listen: self.listen.or(others.listen),
        }
    }

    /// How clients say which repository they mean.
    pub fn method(&self) -> Method {
        self.docker_reverse_proxy_method.unwrap_or(Method::Port)
    }

    /// The port for https where the method does not say another.
    pub fn https_port(&self) -> u16 {
        self.ssl_port.unwrap_or(443)
    }

    /// The port where clients are sent from http to https.
    pub fn redirecting_port(&self) -> Option<u16> {
        self.http_port.filter(|port| *port != 0)
    }

    /// What a proxy is configured from. `context` is what is before the paths of the registry's own API.
    ///
    /// # Errors
    /// [`DescriptionError::Unsaid`], and where an address is none.
    pub fn describe(
        self,
        context: &str,
        repositories: Vec<Repository>,
    ) -> Result<Description, DescriptionError> {
        let (method, https_port, http_port) = (self.method(), self.https_port(), self.redirecting_port());
        let addresses = self.listen.iter().flat_map(|list| list.split(',')).map(str::trim);
        let address = |text: &str| -> Result<IpAddr, DescriptionError> {
            text.parse().map_err(|_| DescriptionError::Listen(text.to_owned()))
        };
        let addresses = addresses.filter(|text| !text.is_empty()).map(address).collect::<Result<_, _>>()?;
        let said = |value: Option<String>, what, flag| value.ok_or(DescriptionError::Unsaid { what, flag });
        Ok(Description {
            method,
            server_name: said(self.server_name, "the host by which clients know the proxy", "server-name")?,
            certificate: said(self.ssl_certificate, "the file of the proxy's certificate", "certificate")?,
            key: said(self.ssl_key, "the file of its key", "key")?,
            addresses,
            https_port,
            http_port,
            upstream: said(self.upstream, "where the proxy finds the registry by http", "upstream")?,
            context: context.to_owned(),
            repositories,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_later_holds() {
        let said = Settings {
            server_name: Some("a.example".to_owned()),
            ssl_port: Some(8443),
            ..Settings::default()
        };
        let configured = Settings {
            server_name: Some("b.example".to_owned()),
            ssl_certificate: Some("/c".to_owned()),
            ssl_key: Some("/k".to_owned()),
            http_port: Some(0),
            upstream: Some("127.0.0.1:5000".to_owned()),
            listen: Some("127.0.0.1, ::1".to_owned()),
            ..Settings::default()
        };
        let description = said.or(configured.clone()).describe("/artifactory", Vec::new()).unwrap();
        assert_eq!((description.server_name.as_str(), description.https_port), ("a.example", 8443));
        assert_eq!(
            (description.method, description.http_port, description.addresses.len()),
            (Method::Port, None, 2)
        );

        let unsaid = Settings { ssl_key: None, ..configured.clone() }.describe("", Vec::new()).unwrap_err();
        assert!(matches!(unsaid, DescriptionError::Unsaid { flag: "key", .. }), "{unsaid}");
        let wrong = Settings { listen: Some("localhost".to_owned()), ..configured }.describe("", Vec::new());
        assert_eq!(wrong, Err(DescriptionError::Listen("localhost".to_owned())));
    }

    #[test]
    fn methods_are_read_as_either_side_spells_them() {
        for (text, method) in [
            ("port", Method::Port),
            ("PORTPERREPO", Method::Port),
            ("SUBDOMAIN", Method::Subdomain),
            ("subdomain", Method::Subdomain),
            ("REPOPATHPREFIX", Method::Path),
            ("path", Method::Path),
        ] {
            let json = serde_json::json!({ "dockerReverseProxyMethod": text });
            let settings: Settings = serde_json::from_value(json).unwrap();
            assert_eq!(settings.method(), method);
        }
        let bad = serde_json::json!({ "dockerReverseProxyMethod": "other" });
        assert!(serde_json::from_value::<Settings>(bad).is_err());
    }
}
