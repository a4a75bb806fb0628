//! How clients reach the server: what its configuration says of it, for those who ask.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use supercargo_artifactory::proxy;
use supercargo_artifactory::setup::ways::{Address, Reached};
use supercargo_registry::Scheme;

use crate::config::listen::Listen;
use crate::config::tls::Source;
use crate::config::{Config, Spoken};
use crate::tls;

/// A listener that serves, and where it is.
#[derive(Debug, Clone, Copy)]
struct Place<'a> {
    listen: &'a Listen,
    address: SocketAddr,
    secure: bool,
}

impl Place<'_> {
    /// Whether it is no repository's own.
    fn is_open(&self) -> bool {
        self.listen.repository.is_none()
    }

    /// Where it is for others on this machine.
    fn locally(&self) -> SocketAddr {
        let mut address = self.address;
        if address.ip().is_unspecified() {
            address.set_ip(IpAddr::V4(Ipv4Addr::LOCALHOST));
        }
        address
    }
}

/// The listeners of a configuration that serve, at these addresses.
fn places<'a>(config: &'a Config, addresses: &[SocketAddr]) -> Vec<Place<'a>> {
    let listeners = config.listen.iter().zip(addresses);
    let place = |(listen, address): (&'a Listen, &SocketAddr)| match config.spoken(listen) {
        Ok(Spoken::Http) => Some(Place { listen, address: *address, secure: false }),
        Ok(Spoken::Https(_)) => Some(Place { listen, address: *address, secure: true }),
        Ok(Spoken::Redirect(_)) | Err(_) => None,
    };
    listeners.filter_map(place).collect()
}

/// Where the listeners of a configuration are, as far as it says.
pub(crate) fn configured(config: &Config) -> Vec<SocketAddr> {
    config.listen.iter().map(|listen| listen.address).collect()
}

/// How the server is reached whose listeners are at these addresses, in the order of the configuration.
pub(crate) fn reached(config: &Config, addresses: &[SocketAddr]) -> Reached {
    let places = places(config, addresses);
    let proxied = || places.iter().filter(|place| !place.secure);
    let upstream = proxied().find(|place| place.is_open()).or_else(|| proxied().next());
    let derived = proxy::Settings {
        upstream: upstream.map(|place| place.locally().to_string()),
        ..proxy::Settings::default()
    };
    let own = places.iter().filter_map(|place| {
        let repository = place.listen.repository.clone()?;
        Some((place.secure, place.address.port(), repository))
    });
    let bindings = config.bindings.iter().map(|binding| {
        let port = binding.port.map(|port| format!(":{port}")).unwrap_or_default();
        (format!("{}{port}", binding.host), binding.repository.clone())
    });
    let is_ours = matches!(config.tls.source(), Ok(Some(Source::SelfSigned)));
    Reached {
        proxy: config.proxy.settings().or(derived),
        at_root: config.default_repository.clone(),
        by_path: config.repository_path,
        server_names: config.server_names.clone(),
        bindings: bindings.collect(),
        listeners: own.collect(),
        authority: is_ours.then(|| tls::authority_file(&config.data)),
    }
}

/// Where the server is, by its configuration: as that says, else for others on this machine.
pub(crate) fn address(config: &Config) -> Option<Address> {
    if let Some(url) = &config.base_url {
        return Address::parse(&url.host, url.scheme == Scheme::Https);
    }
    let places = places(config, &configured(config));
    let place = places.iter().find(|place| place.is_open()).or(places.first())?;
    let address = place.locally();
    let host = if address.ip().is_loopback() { "localhost".to_owned() } else { host(address.ip()) };
    Some(Address { secure: place.secure, host, port: address.port() })
}

fn host(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    }
}
