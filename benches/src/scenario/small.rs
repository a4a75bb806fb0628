//! Small answers, over and over: manifests, existence checks, tag listings.

use std::collections::HashSet;

use bytes::Bytes;
use http::{Method, StatusCode};

use super::NAME;
use crate::content::{Image, MANIFEST};
use crate::docker;
use crate::http::{Call, Connection};
use crate::load::{for_count, for_duration};
use crate::peer::{Peer, Peers, find};
use crate::report::{Expected, Row, Unit};
use crate::rounds::{Samples, Side, alternate, settle_disk};
use crate::settings::Settings;
use crate::{Error, Result, wrk};

/// Clients with a connection each.
const CLIENTS: usize = 32;
/// Clients that ask for all tags: each answer is large.
const TAGS_CLIENTS: usize = 8;
const TAG: &str = "latest";

async fn with_image(settings: &Settings, image: &Image) -> Result<Peers> {
    let peers = Peers::registries(settings).await?;
    for (_, peer) in peers.iter() {
        docker::push_image(&mut Connection::open(peer.address()).await?, NAME, TAG, image).await?;
    }
    settle_disk();
    Ok(peers)
}

pub(super) async fn manifest_get(settings: &Settings) -> Result<Vec<Row>> {
    let image = Image::numbered(1);
    let mut peers = with_image(settings, &image).await?;
    let by_us = alternate(settings.rounds, &peers.sides(), async |side, _| {
        let address = peers.get(side)?.address();
        for_duration(address, CLIENTS, settings.duration, async |connection, _, _| {
            docker::manifest(connection, Method::GET, NAME, TAG).await
        })
        .await
    })
    .await?;
    let path = docker::manifest_path(NAME, TAG);
    let body = [image.manifest.clone()];
    peers.add(Side::Nginx, Peer::nginx(settings, &[(&path, MANIFEST, &body)]).await?);
    let by_wrk = manifest_get_by_wrk(settings, &peers, &path, &image.manifest).await?;
    let name = "manifest-get";
    Ok(vec![
        Row::sides(name, Unit::PerSecond, &by_us, Side::Distribution, Expected::RatioAtLeast(7.0)),
        Row::sides(
            format!("{name}, wrk"),
            Unit::PerSecond,
            &by_wrk,
            Side::Nginx,
            Expected::RatioAtLeast(0.5),
        ),
        Row::sides(format!("{name}, wrk"), Unit::PerSecond, &by_wrk, Side::Distribution, Expected::Nothing),
    ])
}

async fn manifest_get_by_wrk(
    settings: &Settings,
    peers: &Peers,
    path: &str,
    manifest: &Bytes,
) -> Result<Samples> {
    let Some(program) = find(&settings.programs.wrk) else { return Ok(Samples::default()) };
    for (side, peer) in peers.iter() {
        if Connection::open(peer.address()).await?.fetch(path, Some(MANIFEST)).await? != manifest {
            return Err(Error::Wrong(format!("{side} serves other bytes than the manifest's")));
        }
    }
    alternate(settings.rounds, &peers.sides(), async |side, _| {
        let headers = [("Accept", MANIFEST)];
        wrk::gets_per_second(&program, settings, peers.get(side)?.address(), path, &headers, CLIENTS)
    })
    .await
}

pub(super) async fn blob_head(settings: &Settings) -> Result<Vec<Row>> {
    let image = Image::numbered(2);
    let digest = image.blobs[0].digest;
    let peers = with_image(settings, &image).await?;
    let samples = alternate(settings.rounds, &peers.sides(), async |side, _| {
        let address = peers.get(side)?.address();
        for_duration(address, CLIENTS, settings.duration, async |connection, _, _| {
            docker::head_blob(connection, NAME, &digest, true).await
        })
        .await
    })
    .await?;
    let expected = Expected::RatioAtLeast(7.0);
    Ok(vec![Row::sides("blob-head", Unit::PerSecond, &samples, Side::Distribution, expected)])
}

pub(super) async fn tags_list(settings: &Settings) -> Result<Vec<Row>> {
    let image = Image::numbered(3);
    let peers = with_image(settings, &image).await?;
    let tags: HashSet<String> =
        (1..settings.tags).map(|number| format!("v1.{number}")).chain([TAG.to_owned()]).collect();
    // distribution 2.8 knows no pages and gives all tags whatever `n` says.
    let path = format!("/v2/{NAME}/tags/list?n={}", settings.tags);
    for (side, peer) in peers.iter() {
        let list: Vec<&String> = tags.iter().collect();
        for_count(peer.address(), CLIENTS, list.len(), async |connection, number| {
            docker::push_manifest(connection, NAME, list[number], image.manifest.clone()).await
        })
        .await?;
        let body = Connection::open(peer.address()).await?.fetch(&path, None).await?;
        if tags_in(&body).as_ref() != Some(&tags) {
            return Err(Error::Wrong(format!("{side} lists other tags than were pushed")));
        }
    }
    settle_disk();
    let samples = alternate(settings.rounds, &peers.sides(), async |side, _| {
        let address = peers.get(side)?.address();
        for_duration(address, TAGS_CLIENTS, settings.duration, async |connection, _, _| {
            connection.send(Call::new(Method::GET, &path), StatusCode::OK).await.map(drop)
        })
        .await
    })
    .await?;
    let name = format!("tags-list of {}", settings.tags);
    let expected = Expected::RatioAtLeast(10.0);
    Ok(vec![Row::sides(name, Unit::PerSecond, &samples, Side::Distribution, expected)])
}

fn tags_in(body: &[u8]) -> Option<HashSet<String>> {
    let body: serde_json::Value = serde_json::from_slice(body).ok()?;
    body["tags"].as_array()?.iter().map(|tag| tag.as_str().map(str::to_owned)).collect()
}
