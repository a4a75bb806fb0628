//! A plan in nginx's language: a file for `conf.d/` or `sites-enabled/`, which is read inside of `http { }`.

use std::net::IpAddr;

use super::text::Text;
use super::{Host, Plan, Root, Site, TIMEOUT_SECONDS};

/// The name of the part of a host that a regular expression found.
const FOUND: &str = "$repository";

pub(super) fn write(plan: &Plan<'_>) -> String {
    let mut text = Text::default();
    let needs =
        "It is for nginx 1.13 or later: put it where nginx reads the files of its sites, such as conf.d/.";
    for line in plan.head(needs) {
        text.comment(line);
    }
    if let Some(port) = plan.description.http_port {
        text.gap();
        redirect(&mut text, plan, port);
    }
    for site in &plan.sites {
        text.gap();
        server(&mut text, plan, site);
    }
    text.finish()
}

/// The server that sends clients to https.
fn redirect(text: &mut Text, plan: &Plan<'_>, port: u16) {
    // Every site but those at ports of their own is at the same.
    let at_https = || plan.sites.iter().filter(|site| site.port == plan.description.https_port);
    text.block("server {", "}", |text| {
        text.lines(listens(plan, port, ""));
        let names: Vec<String> = at_https().map(server_name).collect();
        text.line(format_args!("server_name {};", names.join(" ")));
        let to = at_https().next().map(Site::port_of_urls).unwrap_or_default();
        text.line(format_args!("return 308 https://$host{to}$request_uri;"));
    });
}

fn server(text: &mut Text, plan: &Plan<'_>, site: &Site<'_>) {
    let description = plan.description;
    let context = &description.context;
    let host = format!("$host{}", site.port_of_urls());
    text.comment(site.heading());
    text.block("server {", "}", |text| {
        text.lines(listens(plan, site.port, " ssl http2"));
        text.line(format_args!("server_name {};", server_name(site)));
        text.line(format_args!("ssl_certificate \"{}\";", description.certificate));
        text.line(format_args!("ssl_certificate_key \"{}\";", description.key));
        text.line("ssl_protocols TLSv1.2 TLSv1.3;");
        text.gap();
        text.comment("Layers have any size, and go through as they come, in both directions.");
        text.line("client_max_body_size 0;");
        text.line("chunked_transfer_encoding on;");
        text.line("gzip off;");
        text.line("proxy_http_version 1.1;");
        text.line("proxy_request_buffering off;");
        text.line("proxy_buffering off;");
        text.line("proxy_max_temp_file_size 0;");
        for directive in ["client_body_timeout", "send_timeout", "proxy_send_timeout", "proxy_read_timeout"] {
            text.line(format_args!("{directive} {TIMEOUT_SECONDS}s;"));
        }
        text.gap();
        text.comment(
            "What clients asked for, in the proxy's words: what they say of it themselves is dropped.",
        );
        text.line(format_args!("proxy_set_header Host {host};"));
        text.line("proxy_set_header X-Forwarded-Proto https;");
        text.line(format_args!("proxy_set_header X-Forwarded-Host {host};"));
        text.line(format_args!("proxy_set_header X-Forwarded-Port {};", site.port));
        text.line("proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;");
        text.line("proxy_set_header X-Artifactory-Override-Base-Url $base_url;");
        for header in ["X-Forwarded-Prefix", "Forwarded", "Connection"] {
            text.line(format_args!("proxy_set_header {header} \"\";"));
        }
        text.line("set $base_url \"\";");
        text.line("proxy_cookie_path ~*^/.* /;");
        if site.is_v1_alone() {
            text.line("proxy_hide_header Docker-Distribution-Api-Version;");
        }
        text.gap();
        let pass = format!("proxy_pass http://{};", description.upstream);
        let base_url = format!("https://{host}{context}");
        match &site.root {
            Root::Repository(repository) => {
                locations(text, site, &base_url, &format!("{context}/api/docker/{}", repository.key));
            }
            Root::Subdomain { .. } => {
                locations(text, site, &base_url, &format!("{context}/api/docker/{FOUND}"));
            }
            Root::Unbound => text.line(format_args!("location ~ ^/(v1|v2|_ping)(/|$) {{ {pass} }}")),
        }
        text.line(format_args!("location {context}/ {{ {pass} }}"));
        if !context.is_empty() {
            text.line("location / { return 404; }");
        }
    });
}

/// The paths of the Docker protocols, as those of one repository, which are below `to`.
fn locations(text: &mut Text, site: &Site<'_>, base_url: &str, to: &str) {
    let versions = if site.is_v1_alone() { "v1" } else { "v[12]" };
    text.block(format_args!("location ~ ^/{versions}(/|$) {{"), "}", |text| {
        text.line(format_args!("set $base_url {base_url};"));
        text.line(format_args!("rewrite ^/(.*)$ {to}/$1 last;"));
    });
    text.line(format_args!("location = /_ping {{ rewrite ^ {to}/v1/_ping last; }}"));
    if site.is_v1_alone() {
        text.comment(
            "docker 1.10 and later try V1 where this is 404, without the V2 API's header and a demand to log in.",
        );
        text.line("location ~ ^/v2(/|$) { return 404; }");
    }
}

fn listens(plan: &Plan<'_>, port: u16, options: &str) -> Vec<String> {
    let listen = |address: String| format!("listen {address}{port}{options};");
    match plan.description.addresses.as_slice() {
        [] => vec![listen(String::new()), listen("[::]:".to_owned())],
        addresses => addresses
            .iter()
            .map(|address| match address {
                IpAddr::V4(address) => listen(format!("{address}:")),
                IpAddr::V6(address) => listen(format!("[{address}]:")),
            })
            .collect(),
    }
}

fn server_name(site: &Site<'_>) -> String {
    match &site.host {
        Host::Exactly(host) => host.clone(),
        Host::Below(host) => {
            format!(
                "~^(?<{}>[a-z0-9][a-z0-9.-]*)\\.{}$",
                FOUND.trim_start_matches('$'),
                host.replace('.', "\\.")
            )
        }
    }
}
