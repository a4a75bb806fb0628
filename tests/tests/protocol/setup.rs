//! What somebody is told who asks how to use a repository, or how to configure a proxy; by the server, and by the command
//! line on its data folder.

use supercargo_tests::Server;
use supercargo_tests::accounts::{Guarded, PASSWORD, basic};
use supercargo_tests::http::Response;
use supercargo_tests::server::Settings;

const SETUP: &str = "/artifactory/api/setup/docker-local";
/// Where its images are, by the repository's own port first.
const IMAGES: [&str; 3] = ["registry.example:444", "registry.example", "registry.example/docker-local"];
const PROXIES: &str = "/artifactory/api/system/configuration";

/// A server that knows of a proxy before it, where `ann` may read `team/**`, and `bob` nothing at all.
fn behind(settings: Settings) -> Guarded {
    let settings = settings
        .variable("SUPERCARGO_PROXY__SERVER_NAME", "registry.example")
        .variable("SUPERCARGO_PROXY__CERTIFICATE", "/etc/ssl/registry.crt")
        .variable("SUPERCARGO_PROXY__KEY", "/etc/ssl/registry.key")
        .variable("SUPERCARGO_PROXY__HTTP_PORT", "80");
    let guarded = Guarded::start(settings);
    guarded.user("ann", "team/**", "read");
    guarded.admin("PUT", "/users/bob", &format!(r#"{{"password":"{PASSWORD}"}}"#), 201);
    guarded.admin("PATCH", "/repositories/docker-local", r#"{"docker-port":444}"#, 200);
    guarded
}

fn ask(guarded: &Guarded, path: &str, user: Option<&str>) -> Response {
    guarded.ask("GET", path, user.map(|user| basic(user, PASSWORD)).as_deref())
}

#[track_caller]
fn refused(answer: Response, status: u16, why: &str) {
    let said = answer.expect(status).json();
    assert_eq!(said["errors"][0]["status"], status);
    let message = said["errors"][0]["message"].as_str().unwrap();
    assert!(message.contains(why), "{message}");
}

#[test]
fn a_guide_is_for_whoever_sees_something_of_the_repository() {
    let guarded = behind(Server::settings());
    let text = ask(&guarded, SETUP, Some("ann")).expect(200);
    assert_eq!(text.require("Content-Type"), "text/plain; charset=utf-8");
    let text = text.text();
    assert!(text.contains("# Its images are registry.example:444/NAME:TAG."), "{text}");
    assert!(text.contains("\ndocker login --username ann registry.example:444\n"), "{text}");

    let json = ask(&guarded, &format!("{SETUP}?client=podman&format=json"), Some("ann")).expect(200);
    assert_eq!(json.require("Content-Type"), "application/json");
    let json = json.json();
    assert_eq!(json["images"], serde_json::json!(IMAGES));
    assert_eq!(json["url"], "https://registry.example/artifactory/api/docker/docker-local");
    let sections = json["sections"].as_array().unwrap();
    assert!(sections.iter().all(|section| section["client"] == "podman") && sections.len() == 4, "{json}");

    refused(ask(&guarded, SETUP, None), 401, "");
    refused(ask(&guarded, SETUP, Some("bob")), 404, "");
    refused(ask(&guarded, "/artifactory/api/setup/other", Some("admin")), 404, "other");
    refused(ask(&guarded, &format!("{SETUP}?client=rkt"), Some("ann")), 400, "rkt");
    refused(ask(&guarded, &format!("{SETUP}?klient=docker"), Some("ann")), 400, "klient");
    guarded.server.stop().verify();
}

#[test]
fn proxies_are_for_administrators_and_their_settings_are_read_alone() {
    let guarded = behind(Server::settings());
    let settings = ask(&guarded, &format!("{PROXIES}/webServer"), Some("admin")).expect(200).json();
    let upstream = guarded.server.address();
    assert_eq!(
        settings,
        serde_json::json!({
            "key": "nginx", "webServerType": "NGINX",
            "artifactoryAppContext": "artifactory", "publicAppContext": "artifactory",
            "serverName": "registry.example", "serverNameExpression": "*.registry.example",
            "artifactoryServerName": upstream.ip(), "artifactoryPort": upstream.port(),
            "sslCertificate": "/etc/ssl/registry.crt", "sslKey": "/etc/ssl/registry.key",
            "dockerReverseProxyMethod": "PORTPERREPO",
            "useHttps": true, "useHttp": true, "sslPort": 443, "httpPort": 80,
        })
    );
    let change = guarded.ask("POST", &format!("{PROXIES}/webServer"), Some(&basic("admin", PASSWORD)));
    refused(change, 409, "configuration file, in [proxy]");

    let nginx = ask(&guarded, &format!("{PROXIES}/reverseProxy/nginx"), Some("admin")).expect(200);
    assert_eq!(nginx.require("Content-Type"), "text/plain; charset=utf-8");
    assert!(nginx.text().contains("listen 444 ssl http2;"), "{nginx:?}");
    let path =
        format!("{PROXIES}/reverseProxy/apache?dockerReverseProxyMethod=SUBDOMAIN&serverName=a.example");
    let apache = ask(&guarded, &path, Some("admin")).expect(200).text();
    assert!(apache.contains("ServerAlias *.a.example"), "{apache}");

    refused(ask(&guarded, &format!("{PROXIES}/reverseProxy/squid"), Some("admin")), 404, "nginx or apache");
    for (query, why) in [
        ("sslPort=0", "no port"),
        ("sslPort=x", "sslPort"),
        ("serverName=a%20b", "no host name"),
        ("sslKey=/a%22b", "no absolute path"),
        ("sslCertificate=/a%0Ab", "no absolute path"),
        ("upstream=a;b:1", "no host and port"),
        ("listen=everywhere", "no address"),
        ("dockerReverseProxyMethod=magic", "port, subdomain or path"),
        ("other=1", "other"),
    ] {
        refused(ask(&guarded, &format!("{PROXIES}/reverseProxy/nginx?{query}"), Some("admin")), 400, why);
    }
    for path in ["webServer", "reverseProxy/nginx"] {
        refused(ask(&guarded, &format!("{PROXIES}/{path}"), Some("ann")), 403, "");
        refused(ask(&guarded, &format!("{PROXIES}/{path}"), None), 401, "");
    }
    guarded.server.stop().verify();
}

#[test]
fn without_a_proxy_nothing_is_made_up() {
    let server = Server::start();
    let settings = server.client().get(&format!("{PROXIES}/webServer")).unwrap().expect(200).json();
    assert_eq!(
        (&settings["webServerType"], &settings["serverName"]),
        (&"DIRECT".into(), &serde_json::Value::Null)
    );
    refused(server.client().get(&format!("{PROXIES}/reverseProxy/nginx")).unwrap(), 400, "--server-name");
    let guide = server.client().get(SETUP).unwrap().expect(200).text();
    assert!(guide.contains("docker push localhost/NAME:TAG") && !guide.contains("login"), "{guide}");
    server.stop().verify();
}

#[test]
fn a_data_folder_says_the_same_as_its_server() {
    let guarded = behind(Server::settings().variable("SUPERCARGO_ACCOUNTS", "true"));
    let folder = tempfile::tempdir().unwrap();
    let login = folder.path().join("login");
    std::fs::write(&login, format!("admin:{PASSWORD}\n")).unwrap();
    let login = ["--login-file", login.to_str().unwrap()];
    let upstream = guarded.server.address().to_string();
    let asked = |more: &[&'static str]| -> Vec<Vec<String>> {
        let proxy =
            |program: &str| ["proxy-config", program, "--upstream", &upstream].map(str::to_owned).to_vec();
        let setup = ["setup", "docker-local"].map(str::to_owned).to_vec();
        let mut all = vec![proxy("nginx"), proxy("apache"), setup];
        all[2].extend(more.iter().map(|it| (*it).to_owned()));
        all
    };
    let said: Vec<_> = asked(&[])
        .iter()
        .map(|arguments| {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).chain(login).collect();
            guarded.server.cli(&arguments).expect_success().json()
        })
        .collect();
    assert!(said[0]["configuration"].as_str().unwrap().contains("listen 444"), "{said:?}");
    let stopped = guarded.server.stop();
    for (arguments, said) in asked(&["--user", "admin"]).iter().zip(said) {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        assert_eq!(stopped.cli(&arguments).expect_success().json(), said);
    }
    stopped.verify();
}
