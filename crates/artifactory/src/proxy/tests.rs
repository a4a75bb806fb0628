use proptest::prelude::*;

use super::*;

fn repository(key: &str, speaks: DockerApiVersion, docker_port: Option<u16>) -> Repository {
    Repository { key: key.parse().unwrap(), speaks, docker_port }
}

fn description(method: Method) -> Description {
    Description {
        method,
        server_name: "registry.example".to_owned(),
        certificate: "/etc/ssl/registry.crt".to_owned(),
        key: "/etc/ssl/registry.key".to_owned(),
        addresses: Vec::new(),
        https_port: 443,
        http_port: None,
        upstream: "127.0.0.1:5000".to_owned(),
        context: "/artifactory".to_owned(),
        repositories: vec![
            repository("docker-local", DockerApiVersion::V2, Some(443)),
            repository("legacy", DockerApiVersion::V1, Some(444)),
            repository("mixed", DockerApiVersion::Both, Some(8443)),
            repository("unbound", DockerApiVersion::V2, None),
        ],
    }
}

/// The part of a configuration that is a server of its own, by what its heading begins with.
fn part<'t>(text: &'t str, heading: &str) -> &'t str {
    let at = text.find(&format!("# {heading}: ")).unwrap_or_else(|| panic!("no {heading} in {text}"));
    text[at..].split("\n\n#").next().unwrap()
}

#[test]
fn every_port_is_a_server_of_its_repository() {
    let text = description(Method::Port).write(Program::Nginx).unwrap();
    assert_eq!(text.matches("\nserver {").count(), 3, "{text}");
    assert!(text.contains("# Without a port of their own (`docker-port`): unbound."), "{text}");
    for (heading, port, host, key) in [
        ("registry.example", 443, "$host", "docker-local"),
        ("registry.example:444", 444, "$host:444", "legacy"),
        ("registry.example:8443", 8443, "$host:8443", "mixed"),
    ] {
        let part = part(&text, heading);
        for line in [
            format!("listen {port} ssl http2;"),
            format!("listen [::]:{port} ssl http2;"),
            "server_name registry.example;".to_owned(),
            format!("proxy_set_header Host {host};"),
            "proxy_set_header X-Artifactory-Override-Base-Url $base_url;".to_owned(),
            format!("set $base_url https://{host}/artifactory;"),
            format!("proxy_set_header X-Forwarded-Port {port};"),
            format!("rewrite ^/(.*)$ /artifactory/api/docker/{key}/$1 last;"),
            format!("location = /_ping {{ rewrite ^ /artifactory/api/docker/{key}/v1/_ping last; }}"),
            "location /artifactory/ { proxy_pass http://127.0.0.1:5000; }".to_owned(),
        ] {
            assert!(part.lines().any(|it| it.trim() == line), "{line} is not in {part}");
        }
        let is_v1 = key == "legacy";
        assert_eq!(part.contains("location ~ ^/v[12](/|$) {"), !is_v1, "{part}");
        assert_eq!(part.contains("location ~ ^/v1(/|$) {"), is_v1, "{part}");
        assert_eq!(part.contains("location ~ ^/v2(/|$) { return 404; }"), is_v1, "{part}");
        assert_eq!(part.contains("proxy_hide_header Docker-Distribution-Api-Version;"), is_v1, "{part}");
    }

    let text = description(Method::Port).write(Program::Apache).unwrap();
    assert_eq!(text.matches("<VirtualHost ").count(), 3, "{text}");
    assert_eq!(
        text.lines().filter(|line| line.starts_with("Listen ")).collect::<Vec<_>>(),
        ["Listen 444", "Listen 8443"]
    );
    let legacy = part(&text, "registry.example:444");
    assert!(legacy.contains("RewriteRule ^/v2(/|$) - [R=404,L]"), "{legacy}");
    assert!(
        legacy.contains("ProxyPass /v1 http://127.0.0.1:5000/artifactory/api/docker/legacy/v1 "),
        "{legacy}"
    );
    assert!(!legacy.contains("ProxyPass /v2 "), "{legacy}");
    assert!(legacy.contains("Header unset Docker-Distribution-Api-Version"), "{legacy}");
    let mixed = part(&text, "registry.example:8443");
    for version in ["v1", "v2"] {
        let line =
            format!("ProxyPass /{version} http://127.0.0.1:5000/artifactory/api/docker/mixed/{version} ");
        assert!(mixed.contains(&line), "{mixed}");
    }
    assert!(!mixed.contains("Docker-Distribution-Api-Version"), "{mixed}");
}

#[test]
fn the_documentation_shows_what_is_written() {
    const DOCUMENTATION: &str = include_str!("../../../../docs/reverse-proxies.md");
    let text = description(Method::Port).write(Program::Nginx).unwrap();
    let legacy = part(&text, "registry.example:444").trim_end();
    assert!(DOCUMENTATION.contains(&format!("```nginx\n{legacy}\n```")), "write it into the page:\n{legacy}");
}

#[test]
fn the_port_for_https_is_the_registrys_own_where_no_repository_has_it() {
    let mut description = description(Method::Port);
    description.repositories[0].docker_port = None;
    for (program, line) in [
        (Program::Nginx, "location ~ ^/(v1|v2|_ping)(/|$) { proxy_pass http://127.0.0.1:5000; }"),
        (Program::Apache, "ProxyPass /v2 http://127.0.0.1:5000/v2 retry=0 nocanon"),
    ] {
        let text = description.write(program).unwrap();
        assert!(part(&text, "registry.example").contains(line), "{text}");
    }
}

#[test]
fn subdomains_that_need_it_are_servers_of_their_own() {
    let mut description = description(Method::Subdomain);
    description.repositories.push(repository("Team.A", DockerApiVersion::V2, None));
    let text = description.write(Program::Nginx).unwrap();
    let names: Vec<&str> = text.lines().filter_map(|line| line.trim().strip_prefix("server_name ")).collect();
    let rest = r"~^(?<repository>[a-z0-9][a-z0-9.-]*)\.registry\.example$;";
    assert_eq!(names, ["registry.example;", "team.a.registry.example;", "legacy.registry.example;", rest]);
    assert!(part(&text, "team.a.registry.example").contains("/artifactory/api/docker/Team.A/$1"), "{text}");
    let rest = part(&text, "KEY.registry.example");
    assert!(rest.contains("rewrite ^/(.*)$ /artifactory/api/docker/$repository/$1 last;"), "{rest}");

    let text = description.write(Program::Apache).unwrap();
    let names: Vec<&str> = text.lines().filter_map(|line| line.trim().strip_prefix("Server")).collect();
    let expected = [
        "Name registry.example",
        "Name team.a.registry.example",
        "Name legacy.registry.example",
        "Name any.registry.example",
        "Alias *.registry.example",
    ];
    assert_eq!(names, expected, "the first that matches is taken");

    description.repositories.push(repository("team.a", DockerApiVersion::V2, None));
    let error = description.write(Program::Nginx).unwrap_err();
    assert!(matches!(error, DescriptionError::SameHost { .. }), "{error}");
}

#[test]
fn the_path_method_is_one_server_that_rewrites_nothing() {
    for program in [Program::Nginx, Program::Apache] {
        let text = description(Method::Path).write(program).unwrap();
        assert!(!text.contains("api/docker"), "{text}");
        assert!(text.contains("since they speak V1 alone: legacy."), "{text}");
        assert_eq!(text.matches("TLSv1.2").count(), 1, "{text}");
    }
}

#[test]
fn http_leads_to_https() {
    for method in [Method::Port, Method::Subdomain, Method::Path] {
        let mut description = description(method);
        (description.http_port, description.https_port) = (Some(80), 8444);
        let text = description.write(Program::Nginx).unwrap();
        assert!(text.contains("    return 308 https://$host:8444$request_uri;"), "{text}");
        let text = description.write(Program::Apache).unwrap();
        assert!(text.contains("https://%{SERVER_NAME}:8444%{REQUEST_URI} [R=308,L,NE]"), "{text}");
    }
}

#[test]
fn addresses_and_another_context_are_said() {
    let mut description = description(Method::Port);
    description.addresses = ["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()].into();
    description.context = String::new();
    let text = description.write(Program::Nginx).unwrap();
    assert!(text.contains("listen 127.0.0.1:443 ssl http2;\n    listen [::1]:443 ssl http2;"), "{text}");
    assert!(text.contains("location / { proxy_pass http://127.0.0.1:5000; }"), "{text}");
    assert!(!text.contains("location / { return 404; }"), "{text}");
    let text = description.write(Program::Apache).unwrap();
    assert!(text.contains("Listen 127.0.0.1:443\nListen [::1]:443\n"), "{text}");
    assert!(text.contains("<VirtualHost 127.0.0.1:443 [::1]:443>"), "{text}");
    assert!(text.contains("ProxyPass / http://127.0.0.1:5000/ retry=0 nocanon"), "{text}");
}

#[test]
fn what_can_be_no_configuration_is_refused() {
    let refused = |change: &dyn Fn(&mut Description)| {
        let mut description = description(Method::Port);
        change(&mut description);
        description.write(Program::Nginx).unwrap_err()
    };
    for bad in ["", "registry.example:444", "a b", "a/b", "a;b", "*.a", "https://a", "a@b", "a$b", "a{"] {
        let error = refused(&|it| it.server_name = bad.to_owned());
        assert_eq!(error, DescriptionError::ServerName(bad.to_owned()));
    }
    for bad in ["", "relative", "/a\"b", "/a\nb", "/a$b", "/a\\"] {
        let error = refused(&|it| it.certificate = bad.to_owned());
        assert_eq!(error, DescriptionError::Path { what: "certificate", path: bad.to_owned() });
        let error = refused(&|it| it.key = bad.to_owned());
        assert_eq!(error, DescriptionError::Path { what: "key", path: bad.to_owned() });
    }
    for bad in ["", "localhost", "http://a:1", "a:b", "a:1/x", "u@a:1", "a;b:1", "a{:1", "a'b:1", ":1"] {
        let error = refused(&|it| it.upstream = bad.to_owned());
        assert_eq!(error, DescriptionError::Upstream(bad.to_owned()));
    }
    for bad in ["artifactory", "/", "/a/", "/a b", "/a;", "/$a", "/../a"] {
        let error = refused(&|it| it.context = bad.to_owned());
        assert_eq!(error, DescriptionError::Context(bad.to_owned()));
    }
    for error in [
        refused(&|it| it.repositories[1].docker_port = Some(443)),
        refused(&|it| it.http_port = Some(443)),
        refused(&|it| it.http_port = Some(444)),
    ] {
        assert!(matches!(error, DescriptionError::PortTaken { .. }), "{error}");
    }
    assert_eq!(refused(&|it| it.https_port = 0), DescriptionError::NoPort);
    assert_eq!(refused(&|it| it.repositories[1].docker_port = Some(0)), DescriptionError::NoPort);
    let address = |it: &mut Description| {
        (it.method, it.server_name) = (Method::Subdomain, "127.0.0.1".to_owned());
    };
    assert!(matches!(refused(&address), DescriptionError::AddressHasNoSubdomains(_)));
}

/// Characters that mean something to a program, between some that don't.
const STRANGE: &str = "[a-z]{0,2}([a-z.;{}$#\"'\\\\ \n<>%/@:&|-]|[ -~]){0,2}[a-z]{0,2}";

proptest! {
    /// Whatever somebody puts into a description, no directive comes of it that is not ours.
    #[test]
    fn texts_of_a_description_stay_within_their_directive(
        name in STRANGE, path in STRANGE, upstream in STRANGE, context in STRANGE,
    ) {
        let sound = description(Method::Port);
        for changed in [
            Description { server_name: name, ..sound.clone() },
            Description { certificate: format!("/{path}"), key: format!("/{path}"), ..sound.clone() },
            Description { upstream: format!("{upstream}:1"), ..sound.clone() },
            Description { context: format!("/{context}"), ..sound.clone() },
        ] {
            for program in [Program::Nginx, Program::Apache] {
                let Ok(text) = changed.write(program) else { continue };
                let expected = sound.write(program).unwrap();
                let shape = |text: &str| -> Vec<String> {
                    let first = |line: &str| line.split_whitespace().next().unwrap_or_default().to_owned();
                    text.lines().map(first).collect()
                };
                prop_assert_eq!(shape(&text), shape(&expected));
                let marks = |text: &str| text.matches(['{', '}', ';', '"']).count();
                prop_assert_eq!(marks(&text), marks(&expected));
            }
        }
    }
}
