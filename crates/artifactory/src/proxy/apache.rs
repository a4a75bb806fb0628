//! A plan in Apache httpd's language: a file for `sites-enabled/` or `conf.d/`.

use std::net::IpAddr;

use super::text::Text;
use super::{Host, Plan, Root, Site, TIMEOUT_SECONDS};

/// The modules that it can't do without.
const MODULES: &str = "env, headers, proxy, proxy_http, rewrite and ssl";

/// What the first part of a host is called in a rule, in small letters.
const FOUND: &str = "${lower:%1}";

pub(super) fn write(plan: &Plan<'_>) -> String {
    let mut text = Text::default();
    let needs = format!("It is for Apache httpd 2.4.10 or later, with the modules {MODULES}.");
    for line in plan.head(&needs) {
        text.comment(line);
    }
    let mut ports: Vec<u16> =
        plan.sites.iter().map(|site| site.port).chain(plan.description.http_port).collect();
    ports.sort_unstable();
    ports.dedup();
    let listens: Vec<String> = ports.into_iter().flat_map(|port| listens(plan, port)).collect();
    if !listens.is_empty() {
        text.gap();
        text.lines(listens);
    }
    if let Some(port) = plan.description.http_port {
        text.gap();
        redirect(&mut text, plan, port);
    }
    for site in &plan.sites {
        text.gap();
        host(&mut text, plan, site);
    }
    text.finish()
}

/// The server that sends clients to https.
fn redirect(text: &mut Text, plan: &Plan<'_>, port: u16) {
    // Every site but those at ports of their own is at the same.
    let at_https = || plan.sites.iter().filter(|site| site.port == plan.description.https_port);
    text.block(virtual_host(plan, port), "</VirtualHost>", |text| {
        text.line(format_args!("ServerName {}", plan.description.server_name));
        if at_https().any(|site| matches!(site.host, Host::Below(_))) {
            text.line(format_args!("ServerAlias *.{}", plan.description.server_name));
        }
        let to = at_https().next().map(Site::port_of_urls).unwrap_or_default();
        text.line("RewriteEngine On");
        text.line(format_args!("RewriteRule ^ https://%{{SERVER_NAME}}{to}%{{REQUEST_URI}} [R=308,L,NE]"));
    });
}

fn host(text: &mut Text, plan: &Plan<'_>, site: &Site<'_>) {
    let description = plan.description;
    let (context, upstream) = (&description.context, &description.upstream);
    text.comment(site.heading());
    text.block(virtual_host(plan, site.port), "</VirtualHost>", |text| {
        match &site.host {
            Host::Exactly(host) => text.line(format_args!("ServerName {host}")),
            Host::Below(host) => {
                text.line(format_args!("ServerName any.{host}"));
                text.line(format_args!("ServerAlias *.{host}"));
            }
        }
        text.line("SSLEngine on");
        text.line(format_args!("SSLCertificateFile \"{}\"", description.certificate));
        text.line(format_args!("SSLCertificateKeyFile \"{}\"", description.key));
        text.line("SSLProtocol -all +TLSv1.2 +TLSv1.3");
        text.block("<IfModule http2_module>", "</IfModule>", |text| text.line("Protocols h2 http/1.1"));
        text.gap();
        text.comment("Layers have any size, and go through as they come, in both directions.");
        text.line("LimitRequestBody 0");
        text.line("SetEnv no-gzip 1");
        text.line("SetEnv proxy-sendchunked 1");
        text.line(format_args!("TimeOut {TIMEOUT_SECONDS}"));
        text.line(format_args!("ProxyTimeout {TIMEOUT_SECONDS}"));
        text.block("<IfModule reqtimeout_module>", "</IfModule>", |text| {
            text.line("RequestReadTimeout header=60 body=0");
        });
        text.gap();
        text.comment(
            "What clients asked for, in the proxy's words: what they say of it themselves is dropped.",
        );
        text.line("ProxyRequests Off");
        text.line("ProxyPreserveHost On");
        text.line("AllowEncodedSlashes NoDecode");
        for header in ["X-Artifactory-Override-Base-Url", "X-Forwarded-Host", "X-Forwarded-Prefix", "Forwarded"] {
            text.line(format_args!("RequestHeader unset {header}"));
        }
        text.line("RequestHeader set X-Forwarded-Proto https");
        text.line(format_args!("RequestHeader set X-Forwarded-Port {}", site.port));
        text.line("Header edit Set-Cookie \"(?i)path=[^;]*\" path=/");
        if site.is_v1_alone() {
            text.line("Header unset Docker-Distribution-Api-Version");
            text.line("Header always unset Docker-Distribution-Api-Version");
        }
        text.gap();
        let pass = |text: &mut Text, path: &str, to: &str| {
            text.line(format_args!("ProxyPass {path} http://{upstream}{to} retry=0 nocanon"));
        };
        let docker = |key: &str| format!("{context}/api/docker/{key}");
        if !matches!(site.root, Root::Unbound) {
            let base_url = format!("\"expr=https://%{{HTTP_HOST}}{context}\"");
            let rewritten = "\"expr=%{REQUEST_URI} =~ m#^/v[12](/|$)#\"";
            text.line(format_args!("RequestHeader set X-Artifactory-Override-Base-Url {base_url} {rewritten}"));
        }
        match &site.root {
            Root::Repository(repository) => {
                let to = docker(repository.key.as_str());
                if site.is_v1_alone() {
                    text.comment(
                        "docker 1.10 and later try V1 where this is 404, without the V2 API's header and a demand to log in.",
                    );
                    text.line("RewriteEngine On");
                    text.line("RewriteRule ^/v2(/|$) - [R=404,L]");
                } else {
                    pass(text, "/v2", &format!("{to}/v2"));
                }
                pass(text, "/_ping", &format!("{to}/v1/_ping"));
                pass(text, "/v1", &format!("{to}/v1"));
            }
            Root::Subdomain { below } => {
                text.line("RewriteEngine On");
                text.line("RewriteMap lower int:tolower");
                text.line("RewriteRule ^/_ping$ /v1/_ping");
                let found = format!("^([a-z0-9][a-z0-9.-]*)\\.{}(:[0-9]+)?$", below.replace('.', "\\."));
                text.line(format_args!("RewriteCond %{{HTTP_HOST}} \"{found}\" [NC]"));
                text.line(format_args!("RewriteRule ^/(v[12](/.*)?)$ http://{upstream}{}/$1 [P]", docker(FOUND)));
            }
            Root::Unbound => ["/_ping", "/v1", "/v2"].into_iter().for_each(|path| pass(text, path, path)),
        }
        pass(text, &format!("{context}/"), &format!("{context}/"));
    });
}

/// The directives that have Apache listen on a port. Where no address was named, 80 and 443 are those of the system's
/// own configuration, and to say them twice is an error.
fn listens(plan: &Plan<'_>, port: u16) -> Vec<String> {
    match plan.description.addresses.as_slice() {
        [] if port == 80 || port == 443 => Vec::new(),
        [] => vec![format!("Listen {port}")],
        addresses => addresses.iter().map(|address| format!("Listen {}", place(address, port))).collect(),
    }
}

fn virtual_host(plan: &Plan<'_>, port: u16) -> String {
    let places: Vec<String> = match plan.description.addresses.as_slice() {
        [] => vec![format!("*:{port}")],
        addresses => addresses.iter().map(|address| place(address, port)).collect(),
    };
    format!("<VirtualHost {}>", places.join(" "))
}

fn place(address: &IpAddr, port: u16) -> String {
    std::net::SocketAddr::new(*address, port).to_string()
}
