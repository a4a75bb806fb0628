//! What it costs to know who asks: a manifest read with a bearer token, beside a server without accounts.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;

use super::NAME;
use crate::content::{Image, MANIFEST};
use crate::docker;
use crate::folder::Folder;
use crate::http::{Call, Connection};
use crate::peer::{Peer, find};
use crate::report::{Expected, Row, Unit};
use crate::rounds::{Samples, alternate};
use crate::settings::Settings;
use crate::{Error, Result, wrk};

/// Clients with a connection each.
const CLIENTS: usize = 32;
const TAG: &str = "latest";
const PASSWORD: &str = "correct horse battery staple";

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum With {
    Nothing,
    Bearer,
}

pub(super) async fn manifest_get(settings: &Settings) -> Result<Vec<Row>> {
    let samples = measure(settings).await?;
    // At most 1.3 times the cost.
    Ok(vec![Row::beside(
        "manifest-get with a bearer token, wrk",
        Unit::PerSecond,
        samples.of(With::Bearer),
        "without accounts",
        samples.of(With::Nothing),
        Expected::RatioAtLeast(1.0 / 1.3),
    )])
}

async fn measure(settings: &Settings) -> Result<Samples<With>> {
    let image = Image::numbered(1);
    let path = docker::manifest_path(NAME, TAG);
    let home = Folder::new(settings, "bearer-")?;
    let data = home.path().join("data");
    let password = home.path().join("password");
    std::fs::write(&password, PASSWORD).map_err(Error::file(&password))?;

    let Some(program) = find(&settings.programs.wrk) else { return Ok(Samples::default()) };
    let Some(open) = Peer::supercargo(settings, None, &[]).await? else { return Ok(Samples::default()) };
    docker::push_image(&mut Connection::open(open.address()).await?, NAME, TAG, &image).await?;
    // Pushed before there are accounts: the login of a push is not what is measured.
    if let Some(before) = Peer::supercargo(settings, Some(&data), &[]).await? {
        docker::push_image(&mut Connection::open(before.address()).await?, NAME, TAG, &image).await?;
    }
    let arguments = ["--accounts".as_ref(), "--admin-password-file".as_ref(), password.as_os_str()];
    let Some(closed) = Peer::supercargo(settings, Some(&data), &arguments).await? else {
        return Ok(Samples::default());
    };
    let bearer = format!("Bearer {}", token(&closed).await?);
    let mut connection = Connection::open(closed.address()).await?;
    let call = Call { accept: Some(MANIFEST), authorization: Some(&bearer), ..Call::new(Method::GET, &path) };
    if connection.receive(call).await? != image.manifest {
        return Err(Error::Wrong("other bytes than the manifest's are served".to_owned()));
    }
    alternate(settings.rounds, &[With::Nothing, With::Bearer], async |with, _| {
        let accept = ("Accept", MANIFEST);
        let headers = [accept, ("Authorization", &*bearer)];
        let (peer, headers) = match with {
            With::Nothing => (&open, &headers[..1]),
            With::Bearer => (&closed, &headers[..]),
        };
        wrk::gets_per_second(&program, settings, peer.address(), &path, headers, CLIENTS)
    })
    .await
}

/// A bearer token to pull with, as docker gets one.
async fn token(peer: &Peer) -> Result<String> {
    let basic = format!("Basic {}", STANDARD.encode(format!("admin:{PASSWORD}")));
    let path = format!("/v2/token?scope=repository:{NAME}:pull");
    let call = Call { authorization: Some(&basic), ..Call::new(Method::GET, &path) };
    let answer = Connection::open(peer.address()).await?.receive(call).await?;
    let answer: serde_json::Value = serde_json::from_slice(&answer).unwrap_or_default();
    let token = answer["token"].as_str();
    token.map(str::to_owned).ok_or_else(|| Error::Wrong(format!("GET {path}: no token in the answer")))
}
