//! HTTP/2 frame by frame: streams that stand still, clients that ask for too much, and how a connection ends.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use h2::client::SendRequest;
use http::{Request, StatusCode};
use supercargo_tests::Server;
use supercargo_tests::image::Blob;
use supercargo_tests::tls::settings;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::{made_authority, self_signed};

/// How long an answer may take. Only ever waited out by a bug.
const PATIENCE: Duration = Duration::from_secs(30);

type Ended = tokio::task::JoinHandle<Result<(), h2::Error>>;

/// A connection whose window is larger than that of its streams, so that one stream alone can stand still.
async fn connect(server: &Server, address: SocketAddr) -> (SendRequest<&'static [u8]>, Ended) {
    let authority = std::fs::read_to_string(made_authority(server)).unwrap();
    let connector = TlsConnector::from(Arc::clone(&settings(&authority, None, &["h2"])));
    let socket = TcpStream::connect(address).await.unwrap();
    let stream = connector.connect("localhost".try_into().unwrap(), socket).await.unwrap();
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(65_535).initial_connection_window_size(8 << 20);
    let (sender, connection) = builder.handshake(stream).await.unwrap();
    (sender, tokio::spawn(connection))
}

fn get(path: &str) -> Request<()> {
    Request::get(format!("https://localhost{path}")).body(()).unwrap()
}

/// The status of a GET, with its body read.
async fn ask(sender: &mut SendRequest<&'static [u8]>, path: &str) -> Result<StatusCode, h2::Error> {
    let asked = async {
        *sender = sender.clone().ready().await?;
        let response = sender.send_request(get(path), true)?.0.await?;
        let status = response.status();
        let mut body = response.into_body();
        while let Some(data) = body.data().await {
            let length = data?.len();
            body.flow_control().release_capacity(length)?;
        }
        Ok(status)
    };
    timeout(PATIENCE, asked).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_answer_that_nobody_takes_is_given_up_and_the_others_go_on() {
    let server = self_signed().variable("SUPERCARGO_HTTP__BODY_TIMEOUT", "1s").start();
    let blob = Blob::generate(1, 4_000_000);
    server.client().push_blob("a", &blob).unwrap();
    let path = format!("/v2/a/blobs/{}", blob.digest);
    let (mut sender, _ended) = connect(&server, server.next_address()).await;
    let stalled = sender.send_request(get(&path), true).unwrap().0.await.unwrap();
    assert_eq!(stalled.status(), StatusCode::OK);
    let mut body = stalled.into_body();
    let reset = async {
        // What was taken is never given back: the window closes, and the server can send no more.
        loop {
            match body.data().await {
                Some(Ok(_)) => {}
                Some(Err(error)) => return error,
                None => panic!("the whole answer came through a closed window"),
            }
        }
    };
    let mut others = 0;
    let error = tokio::select! {
        error = timeout(PATIENCE, reset) => error.unwrap(),
        () = async {
            loop {
                assert_eq!(ask(&mut sender, &path).await.unwrap(), StatusCode::OK);
                others += 1;
            }
        } => unreachable!("it asks until the other ends"),
    };
    assert!(error.is_reset(), "{error}");
    assert!(others > 1, "{others}");
    assert_eq!(ask(&mut sender, &path).await.unwrap(), StatusCode::OK);
    drop(sender);
    server.stop().verify();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_idle_connection_is_taken_leave_of() {
    let server = self_signed().variable("SUPERCARGO_HTTP__IDLE_TIMEOUT", "1s").start();
    let (mut sender, ended) = connect(&server, server.next_address()).await;
    assert_eq!(ask(&mut sender, "/v2/").await.unwrap(), StatusCode::OK);
    // How it ends for the client depends on who closes first; that it was announced does not.
    let _ = timeout(PATIENCE, ended).await.unwrap().unwrap();
    let error = ask(&mut sender, "/v2/").await.unwrap_err();
    assert!(error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR), "{error:?}");
    server.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_server_that_stops_takes_leave_and_answers_first() {
    let server = self_signed().start();
    let blob = Blob::generate(2, 4_000_000);
    server.client().push_blob("a", &blob).unwrap();
    let (mut sender, ended) = connect(&server, server.next_address()).await;
    let path = format!("/v2/a/blobs/{}", blob.digest);
    let response = sender.send_request(get(&path), true).unwrap().0.await.unwrap();
    server.tell_to_stop();
    let mut body = response.into_body();
    let mut length = 0;
    while let Some(data) = timeout(PATIENCE, body.data()).await.unwrap() {
        let data = data.unwrap();
        length += data.len();
        body.flow_control().release_capacity(data.len()).unwrap();
    }
    assert_eq!(length, blob.bytes.len());
    let _ = timeout(PATIENCE, ended).await.unwrap().unwrap();
    server.wait_for_stop().verify();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn who_asks_for_too_much_is_refused() {
    let server = self_signed().start();
    let address = server.next_address();
    // Headers without end.
    let (mut sender, _ended) = connect(&server, address).await;
    let mut request = get("/v2/");
    for number in 0..2000 {
        let name = http::HeaderName::try_from(format!("x-{number}")).unwrap();
        request.headers_mut().insert(name, "y".repeat(60).parse().unwrap());
    }
    let refused = timeout(PATIENCE, sender.send_request(request, true).unwrap().0).await.unwrap();
    assert!(refused.is_err() || refused.unwrap().status().is_client_error());

    // Requests that are taken back as soon as they are made.
    let (mut sender, ended) = connect(&server, address).await;
    for _ in 0..10_000 {
        let Ok(ready) = sender.ready().await else { break };
        sender = ready;
        match sender.send_request(get("/v2/"), true) {
            Ok((_, mut stream)) => stream.send_reset(h2::Reason::CANCEL),
            Err(_) => break,
        }
        sender = match timeout(PATIENCE, sender.clone().ready()).await.unwrap() {
            Ok(ready) => ready,
            Err(_) => break,
        };
        tokio::task::yield_now().await;
    }
    timeout(PATIENCE, ended).await.unwrap().unwrap().unwrap_err();

    // Others are served as ever.
    let (mut sender, _ended) = connect(&server, address).await;
    assert_eq!(ask(&mut sender, "/v2/").await.unwrap(), StatusCode::OK);
    server.stop();
}
