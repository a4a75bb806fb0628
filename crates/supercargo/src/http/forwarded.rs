//! How a client spoke to the proxy before this server, in the proxy's words: `Forwarded` (RFC 7239), else the
//! `X-Forwarded-…` headers that came before it. Whether the proxy is trusted is for the caller to know.
//!
//! Of several values the last is by the proxy that is nearest. What is not understood, or is no host, says nothing.

use std::borrow::Cow;

use hyper::HeaderMap;
use hyper::header::{FORWARDED, HOST, HeaderName};
use hyper::http::uri::Authority;
use supercargo_registry::{ForwardedHost, Scheme};

use super::base_url::{BaseUrl, PathPrefix};

const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");
const BASE_URL: HeaderName = HeaderName::from_static("x-artifactory-override-base-url");
const PORT: HeaderName = HeaderName::from_static("x-forwarded-port");

/// The base URL that others begin with which are meant for the client, where a header says.
pub(super) fn base_url(headers: &HeaderMap) -> Option<BaseUrl> {
    last(headers, &BASE_URL)?.parse().ok()
}

/// What the proxy takes away from paths.
pub(super) fn prefix(headers: &HeaderMap) -> Option<PathPrefix> {
    last(headers, &PREFIX)?.parse().ok()
}

/// The scheme that the client spoke, where a header says.
pub(super) fn scheme(headers: &HeaderMap) -> Option<Scheme> {
    let known = |said: &str| {
        [Scheme::Http, Scheme::Https].into_iter().find(|known| said.eq_ignore_ascii_case(known.as_str()))
    };
    let said = forwarded(headers, "proto").and_then(|said| known(&said));
    said.or_else(|| last(headers, &PROTO).and_then(known))
}

/// The host and port that the client asked for, where a header says. `scheme` is what it spoke.
pub(super) fn host(headers: &HeaderMap, scheme: Scheme) -> Option<ForwardedHost> {
    if let Some(host) = forwarded(headers, "host").and_then(|said| host_and_port(&said)) {
        return Some(ForwardedHost(host.to_string()));
    }
    let said = last(headers, &FORWARDED_HOST).and_then(host_and_port);
    let port: Option<u16> = last(headers, &PORT).and_then(|port| port.parse().ok());
    if said.is_none() && port.is_none() {
        return None;
    }
    // A proxy that says the port alone passes the host on, often without it.
    let host = said.or_else(|| host_and_port(headers.get(HOST)?.to_str().ok()?))?;
    match port.filter(|port| host.port().is_none() && *port != scheme.port()) {
        Some(port) => Some(ForwardedHost(format!("{host}:{port}"))),
        None => Some(ForwardedHost(host.to_string())),
    }
}

/// A host, perhaps with a port, and nothing else.
pub(crate) fn host_and_port(text: &str) -> Option<Authority> {
    let authority: Authority = text.parse().ok()?;
    let host = authority.host();
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    rustls::pki_types::ServerName::try_from(bare).ok()?;
    let rest = authority.as_str().strip_prefix(host)?;
    let is_port = |port: &str| port.parse::<u16>().is_ok() && port.bytes().all(|byte| byte.is_ascii_digit());
    (rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port)).then_some(authority)
}

/// The last of the values of a header that is a list.
fn last<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    let line = headers.get_all(name).iter().next_back()?.to_str().ok()?;
    line.rsplit(',').map(str::trim).next()
}

/// A parameter of the last element of `Forwarded`.
fn forwarded<'h>(headers: &'h HeaderMap, name: &str) -> Option<Cow<'h, str>> {
    let line = headers.get_all(FORWARDED).iter().next_back()?.to_str().ok()?;
    let element = last_element(line)?;
    element.into_iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

/// The parameters of a line's last element (RFC 7239, section 4); `None` where the line is malformed. A port without
/// quotes around it is taken: it is what people write.
fn last_element(line: &str) -> Option<Vec<(&str, Cow<'_, str>)>> {
    let mut parameters = Vec::new();
    let mut rest = line.trim_start();
    let mut another = false;
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix(',') {
            another = true;
            rest = after.trim_start();
            continue;
        }
        if let Some(after) = rest.strip_prefix(';') {
            rest = after.trim_start();
            continue;
        }
        let (name, after) = rest.split_once('=')?;
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => unquoted(quoted)?,
            None => {
                let (value, after) =
                    after.split_at(after.find([';', ',', ' ', '\t', '"']).unwrap_or(after.len()));
                (Cow::Borrowed(value), after)
            }
        };
        rest = after.trim_start();
        if !rest.is_empty() && !rest.starts_with([';', ',']) {
            return None;
        }
        if std::mem::take(&mut another) {
            parameters.clear();
        }
        parameters.push((name.trim(), value));
    }
    Some(parameters)
}

/// What a quoted string says, without its first quote, and what follows it (RFC 9110, section 5.6.4).
fn unquoted(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let end = text.find(['"', '\\'])?;
    if text[end..].starts_with('"') {
        return Some((Cow::Borrowed(&text[..end]), &text[end + 1..]));
    }
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((Cow::Owned(value), &text[at + 1..])),
            '\\' => value.push(chars.next()?.1),
            c => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    /// What a request over http with these headers was, at the proxy: a URL as far as the path.
    fn asked(lines: &[(&'static str, &str)]) -> String {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_static("inner:5000"));
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        let scheme = scheme(&headers).unwrap_or(Scheme::Http);
        let host = host(&headers, scheme).map_or("-".to_owned(), |host| host.0);
        format!("{}://{host}", scheme.as_str())
    }

    #[test]
    fn forwarded_is_read_as_the_rfc_has_it() {
        for (line, expected) in [
            ("proto=https;host=r.example", "https://r.example"),
            ("for=192.0.2.1;PROTO=HTTPS; Host=\"r.example:8443\" ;by=x", "https://r.example:8443"),
            ("host=r.example:8443;proto=https", "https://r.example:8443"),
            ("host=a.example;proto=http, for=\"[2001:db8::1]:4711\";host=b.example", "http://b.example"),
            ("host=a.example,", "http://a.example"),
            (r#"for="a,b;host=evil.example";host="r\.example""#, "http://r.example"),
            ("host=\"[2001:db8::1]:5000\"", "http://[2001:db8::1]:5000"),
            ("", "http://-"),
            ("host", "http://-"),
            ("host=\"r.example", "http://-"),
            ("host=\"r.example\"x;proto=https", "http://-"),
            ("host=r.example y", "http://-"),
            ("proto=wss;host=r/x", "http://-"),
        ] {
            assert_eq!(asked(&[("forwarded", line)]), expected, "{line}");
        }
        let lines = [("forwarded", "host=a.example;proto=https"), ("forwarded", "host=b.example")];
        assert_eq!(asked(&lines), "http://b.example");
    }

    #[test]
    fn the_older_headers_are_read_where_forwarded_says_nothing() {
        for (lines, expected) in [
            (&[("x-forwarded-proto", "https")][..], "https://-"),
            (&[("x-forwarded-proto", "HTTP, https")], "https://-"),
            (&[("x-forwarded-proto", "https"), ("x-forwarded-proto", "http")], "http://-"),
            (&[("x-forwarded-proto", "https,")], "http://-"),
            (&[("x-forwarded-proto", "wss")], "http://-"),
            (&[("x-forwarded-host", "a.example, b.example:8080")], "http://b.example:8080"),
            (&[("x-forwarded-host", "a.example"), ("x-forwarded-port", "8080")], "http://a.example:8080"),
            (&[("x-forwarded-host", "a.example:1"), ("x-forwarded-port", "8080")], "http://a.example:1"),
            (&[("x-forwarded-host", "a.example"), ("x-forwarded-port", "80")], "http://a.example"),
            (
                &[
                    ("x-forwarded-host", "a.example"),
                    ("x-forwarded-port", "443"),
                    ("x-forwarded-proto", "https"),
                ],
                "https://a.example",
            ),
            (&[("x-forwarded-host", "[::1]"), ("x-forwarded-port", "99999")], "http://[::1]"),
            // The host that was passed on has its port already.
            (&[("x-forwarded-port", "8443")], "http://inner:5000"),
            (&[("forwarded", "for=_x"), ("x-forwarded-host", "a.example")], "http://a.example"),
            (&[("forwarded", "host=b.example"), ("x-forwarded-host", "a.example")], "http://b.example"),
            (&[("forwarded", "host=b.example"), ("x-forwarded-port", "8080")], "http://b.example"),
            (
                &[("forwarded", "host=\"b c\";proto=https"), ("x-forwarded-host", "a.example")],
                "https://a.example",
            ),
        ] {
            assert_eq!(asked(lines), expected, "{lines:?}");
        }
    }

    #[test]
    fn what_is_no_host_is_not_taken_for_one() {
        for bad in [
            "", "a b", "a\"b", "user@a", "a/b", "a:", "a:b", "a:65536", "a:+1", "[::1", "[::1]x", "ü", "a,b",
            "-",
        ] {
            assert_eq!(host_and_port(bad), None, "{bad:?}");
        }
        for good in ["a", "a.example", "under_score", "a:1", "127.0.0.1:65535", "[::1]", "[::1]:5000"] {
            assert!(host_and_port(good).is_some(), "{good}");
        }
    }

    proptest! {
        #[test]
        fn nothing_but_a_host_comes_of_anything(
            line in "([a-z]{1,5}=)?[ -~]{0,40}", other in "[ -~]{0,20}", port in "[ -~]{0,6}",
        ) {
            let lines = [
                ("forwarded", line.as_str()), ("x-forwarded-host", &other), ("x-forwarded-port", &port),
            ];
            let url = asked(&lines);
            let host = url.strip_prefix("http://").or(url.strip_prefix("https://")).unwrap();
            prop_assert!(host == "-" || host_and_port(host).is_some(), "{url}");
        }
    }
}
