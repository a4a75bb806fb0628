//! What clients have to be told before they trust an authority that was made here.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Serialize;

/// An authority, and where it has to be made known.
#[derive(Debug, Serialize)]
pub(crate) struct Trust {
    /// The authority's certificate.
    pub(crate) authority: PathBuf,
    /// What the certificate is good for.
    pub(crate) names: Vec<String>,
    /// The https listeners.
    pub(crate) listeners: Vec<SocketAddr>,
}

impl Trust {
    /// `HOST:PORT` of a listener as a client would say it: where it is on loopback, by that name, and else by
    /// this machine's.
    fn place(&self, listener: &SocketAddr) -> String {
        let host = match self.names.iter().find(|name| **name != "localhost" && !is_address(name)) {
            Some(machine) if !listener.ip().is_loopback() => machine,
            _ => "localhost",
        };
        format!("{host}:{}", listener.port())
    }
}

fn is_address(name: &str) -> bool {
    name.parse::<std::net::IpAddr>().is_ok()
}

impl fmt::Display for Trust {
    /// Commands to copy, for each client.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let authority = self.authority.display();
        writeln!(f, "The certificate is good for {}.", self.names.join(", "))?;
        writeln!(
            f,
            "It is signed by the authority in {authority}, which clients trust once it is theirs, too"
        )?;
        write!(f, "(for another of these names, write that one instead):")?;
        for place in self.listeners.iter().map(|listener| self.place(listener)) {
            let install = |folder: &str| format!("install -D -m 644 {authority} {folder}/{place}/ca.crt");
            write!(
                f,
                "\n\n# docker at {place}\n{}\n# podman, skopeo and buildah\n{}\n# containerd (and its config_path \
                 is /etc/containerd/certs.d)\n{}\n\
                 cat > /etc/containerd/certs.d/{place}/hosts.toml <<'END'\n\
                 server = \"https://{place}\"\n\
                 [host.\"https://{place}\"]\n\
                 ca = \"/etc/containerd/certs.d/{place}/ca.crt\"\n\
                 END\n\
                 # curl and supercargo\n\
                 curl --cacert {authority} https://{place}/v2/\n\
                 supercargo gc --server https://{place} --ca {authority}",
                install("/etc/docker/certs.d"),
                install("/etc/containers/certs.d"),
                install("/etc/containerd/certs.d"),
            )?;
        }
        Ok(())
    }
}
