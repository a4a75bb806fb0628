//! What reverse proxies say of the requests that they pass on: in `X-Forwarded-For`, `X-Forwarded-Proto` and
//! `X-Forwarded-Host`, or in `Forwarded` (RFC 7239). Whose word is taken is not decided here.
//!
//! Of several proxies, the nearest wrote last. Where a header of the first kind is there, `Forwarded` is not asked for
//! the same: proxies that know only the first kind pass on a `Forwarded` that a client made up.

use std::net::IpAddr;

use hyper::header::{FORWARDED, HeaderMap, HeaderName};
use hyper::http::uri::Authority;
use rfc7239::{Forwarded, NodeName};
use supercargo_registry::{Host, Scheme};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// What the client speaks.
pub(super) fn scheme(headers: &HeaderMap) -> Option<Scheme> {
    let said = nearest(headers, &FORWARDED_PROTO, |element| element.protocol)?;
    [Scheme::Http, Scheme::Https].into_iter().find(|scheme| said.eq_ignore_ascii_case(scheme.as_str()))
}

/// What the client calls the server.
pub(super) fn host(headers: &HeaderMap) -> Option<Host> {
    let said = nearest(headers, &FORWARDED_HOST, |element| element.host)?;
    let host = said.parse::<Authority>().ok()?;
    (!host.as_str().contains('@')).then(|| Host(host.as_str().into()))
}

/// The addresses that the request went through, the nearest first, up to what is no address.
pub(super) fn addresses(headers: &HeaderMap) -> impl Iterator<Item = IpAddr> {
    let lines: Vec<&str> = texts(headers, &FORWARDED_FOR).collect();
    let mut addresses: Vec<Option<IpAddr>> = match lines.is_empty() {
        false => lines.iter().flat_map(|line| line.split(',')).map(|text| text.trim().parse().ok()).collect(),
        true => elements(headers)
            .map(|element| match element?.forwarded_for?.name {
                NodeName::Ip(address) => Some(address),
                _ => None,
            })
            .collect(),
    };
    addresses.reverse();
    addresses.into_iter().map_while(|address| address)
}

/// What the nearest proxy said in a header, or in a part of `Forwarded`.
fn nearest<'h>(
    headers: &'h HeaderMap,
    name: &HeaderName,
    part: impl Fn(Forwarded<'h>) -> Option<&'h str>,
) -> Option<&'h str> {
    match texts(headers, name).last() {
        Some(line) => line.rsplit(',').next().map(str::trim),
        // The parser leaves a quoted string as it is; nothing that is looked for here needs an escape in one.
        None => elements(headers).last()?.and_then(part).map(|said| said.trim_matches('"')),
    }
}

/// The elements of every `Forwarded`; `None` for one that is malformed.
fn elements(headers: &HeaderMap) -> impl Iterator<Item = Option<Forwarded<'_>>> {
    texts(headers, &FORWARDED).flat_map(rfc7239::parse).map(Result::ok)
}

/// The lines of a header. One that is no text says nothing.
fn texts<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'h str> {
    headers.get_all(name).iter().map(|line| line.to_str().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        lines
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn a_proxy_says_how_it_was_spoken_to() {
        for (lines, expected) in [
            (&[("x-forwarded-proto", "https")][..], Some(Scheme::Https)),
            (&[("x-forwarded-proto", "HTTP")], Some(Scheme::Http)),
            (&[("x-forwarded-proto", "http, https")], Some(Scheme::Https)),
            (&[("x-forwarded-proto", "https"), ("x-forwarded-proto", "http")], Some(Scheme::Http)),
            (&[("forwarded", "for=192.0.2.1;proto=https")], Some(Scheme::Https)),
            (&[("forwarded", "proto=https, for=192.0.2.1;proto=http")], Some(Scheme::Http)),
            (&[("forwarded", "proto=http"), ("forwarded", "proto=https")], Some(Scheme::Https)),
            (&[("forwarded", "proto=https"), ("x-forwarded-proto", "http")], Some(Scheme::Http)),
            (&[("forwarded", "proto=https"), ("x-forwarded-proto", "wss")], None),
            (&[("forwarded", "proto=https, for=192.0.2.1")], None),
            (&[("forwarded", ";;=")], None),
            (&[], None),
            (&[("x-forwarded-proto", "")], None),
            (&[("x-forwarded-proto", "https,")], None),
        ] {
            assert_eq!(scheme(&headers(lines)), expected, "{lines:?}");
        }
    }

    #[test]
    fn a_proxy_says_what_it_was_called() {
        for (lines, expected) in [
            (&[("x-forwarded-host", "registry.example")][..], Some("registry.example")),
            (&[("x-forwarded-host", "a.example, b.example:8443")], Some("b.example:8443")),
            (&[("forwarded", "host=registry.example")], Some("registry.example")),
            (&[("forwarded", "proto=http;host=\"registry.example:80\"")], Some("registry.example:80")),
            (&[("x-forwarded-host", "[2001:db8::1]:443")], Some("[2001:db8::1]:443")),
            (&[("x-forwarded-host", "who@registry.example")], None),
            (&[("x-forwarded-host", "a\"b")], None),
            (&[("x-forwarded-host", "a/b")], None),
            (&[("x-forwarded-host", "")], None),
            (&[], None),
        ] {
            let host = host(&headers(lines));
            assert_eq!(host.as_ref().map(|host| &*host.0), expected, "{lines:?}");
        }
    }

    #[test]
    fn addresses_come_nearest_first() {
        for (lines, expected) in [
            (&[("x-forwarded-for", "192.0.2.1, 192.0.2.2")][..], &["192.0.2.2", "192.0.2.1"][..]),
            (
                &[("x-forwarded-for", "192.0.2.1"), ("x-forwarded-for", "192.0.2.2")],
                &["192.0.2.2", "192.0.2.1"],
            ),
            (&[("x-forwarded-for", "192.0.2.1, x, 192.0.2.2")], &["192.0.2.2"]),
            (&[("forwarded", "for=192.0.2.1, for=\"[2001:db8::1]:7\"")], &["2001:db8::1", "192.0.2.1"]),
            (&[("forwarded", "for=192.0.2.1, for=_hidden, for=192.0.2.2")], &["192.0.2.2"]),
            (&[("forwarded", "for=192.0.2.1"), ("x-forwarded-for", "192.0.2.2")], &["192.0.2.2"]),
            (&[("forwarded", "for=unknown")], &[]),
            (&[], &[]),
        ] {
            let found: Vec<String> = addresses(&headers(lines)).map(|address| address.to_string()).collect();
            assert_eq!(found, expected, "{lines:?}");
        }
    }
}
