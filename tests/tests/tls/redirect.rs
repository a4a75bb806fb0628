//! Listeners that send clients to https.

use supercargo_tests::Server;
use supercargo_tests::http::{Connection, Request};
use supercargo_tests::program::{require, run};

#[test]
fn a_client_that_follows_arrives() {
    let server = Server::settings()
        .config(
            "listen = [\"http://127.0.0.1:0\", \"https://127.0.0.1:0\", \
             { address = \"127.0.0.1:0\", redirect_to = \":8443\" }]\n\
             tls.self_signed = true\n",
        )
        .start();
    let (secure, plain) = (server.next_address(), server.next_address());
    // The real port is not known before it is taken: curl is told that it is another.
    let body = run(require("curl")
        .args(["--silent", "--fail", "--location", "--cacert"])
        .arg(crate::made_authority(&server))
        .args([
            "--connect-to",
            &format!("localhost:8443:127.0.0.1:{}", secure.port()),
            "--write-out",
            "%{url_effective} %{http_version}",
            &format!("http://localhost:{}/v2/?a=b%20c", plain.port()),
        ]));
    assert_eq!(body.text, "{}https://localhost:8443/v2/?a=b%20c 2");

    let mut connection = Connection::open(plain).unwrap();
    let mut ask = |request: &Request| {
        connection.send(&request.to_bytes()).unwrap();
        connection.receive(request.method()).unwrap()
    };
    let push = Request::new("PUT", "/v2/a/manifests/1?x=y").header("Host", "a.example:80").body("body");
    ask(&push).expect(308).expect_header("Location", "https://a.example:8443/v2/a/manifests/1?x=y");
    ask(&Request::new("GET", "/metrics")).expect(308);
    ask(&Request::new("GET", "/").header("Host", "user@a.example")).expect(400);
    ask(&Request::new("GET", "/").header("Host", "a.example/b")).expect(400);
    server.stop();
}
