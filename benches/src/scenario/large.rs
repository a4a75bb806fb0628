//! One client, one large blob: how fast bytes go in durably and come out again, and what that costs in
//! processor time.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::NAME;
use crate::content::{Blob, LAYER, Random};
use crate::docker::{self, Way};
use crate::floor::LargePush;
use crate::http::Connection;
use crate::peer::{Peer, Peers};
use crate::report::{Expected, Row, Unit};
use crate::rounds::{Side, alternate, settle_disk, warm_memory};
use crate::settings::Settings;
use crate::{Error, Result};

/// How often the blob is read in a round: once is over too soon to be measured.
const PULLS: u32 = 3;

pub(super) async fn push(settings: &Settings, way: Way) -> Result<Vec<Row>> {
    let base = Bytes::from(Random::from_seed(1).bytes(settings.large_bytes));
    let peers = Peers::registries(settings).await?;
    let floor = LargePush::prepare(settings, &base)?;
    let mut sides = peers.sides();
    sides.extend(floor.as_ref().map(|_| Side::Floor));
    let processor = RefCell::new(Vec::new());
    let samples = alternate(settings.rounds, &sides, async |side, round| {
        settle_disk();
        // For the page cache, and for what is in flight.
        warm_memory(2 * settings.large_bytes);
        if side == Side::Floor {
            let floor = floor.as_ref().ok_or_else(|| Error::program("floor", "was not prepared"))?;
            return Ok(mib_per_second(floor.bytes(), floor.measure()?));
        }
        let peer = peers.get(side)?;
        let blob = Blob::numbered(&base, round as u64);
        let mut connection = Connection::open(peer.address()).await?;
        let (elapsed, used) =
            timed(peer, async || docker::push_blob(&mut connection, NAME, &blob, way).await).await?;
        docker::head_blob(&mut connection, NAME, &blob.digest, true).await?;
        if side == Side::Supercargo {
            processor.borrow_mut().push(seconds_per_gib(used, blob.size()));
        }
        Ok(mib_per_second(blob.size(), elapsed))
    })
    .await?;
    let (name, peer_bound, floor_bound) = match way {
        Way::Monolithic => ("push-large-mono", 2.0, Expected::RatioAtLeast(0.7)),
        Way::Streamed => ("push-large-stream", 2.5, Expected::Nothing),
    };
    Ok(vec![
        Row::sides(
            name,
            Unit::MibPerSecond,
            &samples,
            Side::Distribution,
            Expected::RatioAtLeast(peer_bound),
        ),
        Row::sides(name, Unit::MibPerSecond, &samples, Side::Floor, floor_bound),
        Row::alone(format!("{name}, processor"), Unit::SecondsPerGib, &processor.take(), Expected::Nothing),
    ])
}

pub(super) async fn pull(settings: &Settings) -> Result<Vec<Row>> {
    let base = Bytes::from(Random::from_seed(2).bytes(settings.large_bytes));
    let blob = Blob::numbered(&base, 0);
    let mut peers = Peers::registries(settings).await?;
    for (_, peer) in peers.iter() {
        let mut connection = Connection::open(peer.address()).await?;
        docker::push_blob(&mut connection, NAME, &blob, Way::Monolithic).await?;
    }
    let path = format!("/v2/{NAME}/blobs/{}", blob.digest);
    let parts = [blob.head.clone(), blob.tail.clone()];
    peers.add(Side::Nginx, Peer::nginx(settings, &[(&path, LAYER, &parts)]).await?);
    // What is not the blob can't be compared with it.
    for (side, peer) in peers.iter() {
        let body = Connection::open(peer.address()).await?.fetch(&path, None).await?;
        if body.len() as u64 != blob.size() || Blob::new(body).digest != blob.digest {
            return Err(Error::Wrong(format!("{side} serves other bytes than the blob's")));
        }
    }
    let processor = RefCell::new(Vec::new());
    settle_disk();
    let samples = alternate(settings.rounds, &peers.sides(), async |side, _| {
        let peer = peers.get(side)?;
        let mut connection = Connection::open(peer.address()).await?;
        let (elapsed, used) = timed(peer, async || {
            for _ in 0..PULLS {
                docker::pull_blob(&mut connection, NAME, &blob.digest, blob.size()).await?;
            }
            Ok(())
        })
        .await?;
        let bytes = blob.size() * u64::from(PULLS);
        if side == Side::Supercargo {
            processor.borrow_mut().push(seconds_per_gib(used, bytes));
        }
        Ok(mib_per_second(bytes, elapsed))
    })
    .await?;
    let name = "pull-large";
    Ok(vec![
        Row::sides(name, Unit::MibPerSecond, &samples, Side::Distribution, Expected::RatioAtLeast(1.3)),
        Row::sides(name, Unit::MibPerSecond, &samples, Side::Nginx, Expected::RatioAtLeast(0.85)),
        Row::alone(format!("{name}, processor"), Unit::SecondsPerGib, &processor.take(), Expected::Nothing),
    ])
}

/// How long it takes, and how much processor time the server uses for it.
async fn timed(peer: &Peer, work: impl AsyncFnOnce() -> Result<()>) -> Result<(Duration, Duration)> {
    let used_before = peer.process().processor_time()?;
    let started = Instant::now();
    work().await?;
    let elapsed = started.elapsed();
    Ok((elapsed, peer.process().processor_time()?.saturating_sub(used_before)))
}

fn mib_per_second(bytes: u64, elapsed: Duration) -> f64 {
    bytes as f64 / f64::from(1 << 20) / elapsed.as_secs_f64()
}

fn seconds_per_gib(used: Duration, bytes: u64) -> f64 {
    used.as_secs_f64() / (bytes as f64 / f64::from(1 << 30))
}
