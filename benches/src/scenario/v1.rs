//! What the V1 API costs: an image of many layers, beside the same bytes by V2.

use std::cell::RefCell;
use std::process::Command;
use std::time::Instant;

use super::NAME;
use crate::content::Image;
use crate::folder::Folder;
use crate::http::Connection;
use crate::peer::{Peer, find};
use crate::report::{Expected, Row, Unit};
use crate::rounds::{Samples, alternate, settle_disk};
use crate::settings::Settings;
use crate::{Error, Result, docker, docker_v1};

/// Layers of the image, and their sizes in bytes, over and over: as images have them, small ones and large ones; and as
/// many small ones as a storage driver of those clients takes.
const LAYERS: [(usize, &str, &[usize]); 2] =
    [(64, "of 64 KiB to 8 MiB", &[64 << 10, 512 << 10, 4 << 20, 8 << 20]), (127, "of 16 KiB", &[16 << 10])];
/// Bytes that the client reads at a time.
const READ_BYTES: usize = 256 << 10;
/// How often the image is pulled in a round: once is over too soon to be measured.
const PULLS: usize = 5;
/// At most 1.2 times the time. Of small layers nothing is expected: the protocol asks for each image's JSON as well, and
/// that takes as long as the layer.
const EXPECTED: [Expected; 2] = [Expected::RatioAtLeast(1.0 / 1.2), Expected::Nothing];

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum By {
    V1,
    V2,
}

pub(super) async fn run(settings: &Settings) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for ((layers, sizes, bytes), expected) in LAYERS.into_iter().zip(EXPECTED) {
        let bytes: Vec<usize> = bytes.iter().copied().cycle().take(layers).collect();
        let (pushed, pulled) = measure(settings, &bytes).await?;
        for (what, samples) in [("pushed", pushed), ("pulled", pulled)] {
            let scenario = format!("v1 {what}, {layers} layers {sizes}");
            let (first, second) = (samples.of(By::V1), samples.of(By::V2));
            rows.push(Row::beside(scenario, Unit::MibPerSecond, first, "by V2", second, expected));
        }
    }
    Ok(rows)
}

async fn measure(settings: &Settings, sizes: &[usize]) -> Result<(Samples<By>, Samples<By>)> {
    let home = Folder::new(settings, "v1-")?;
    let data = home.path().join("data");
    let none = || Ok((Samples::default(), Samples::default()));
    let Some(program) = find(&settings.programs.supercargo) else { return none() };
    // The repository of a first start speaks V2.
    let Some(first) = Peer::supercargo(settings, Some(&data), &[]).await? else { return none() };
    drop(first);
    let mut command = Command::new(program);
    let arguments = ["repo", "configure", "docker-local", "--docker-api-version", "V1", "--data"];
    crate::process::run(command.args(arguments).arg(&data))?;
    let Some(v1) = Peer::supercargo_at(settings, Some(&data), &[], "/healthz").await? else { return none() };
    let Some(v2) = Peer::supercargo(settings, None, &[]).await? else { return none() };
    let peer = |by| match by {
        By::V1 => &v1,
        By::V2 => &v2,
    };
    let mib = sizes.iter().sum::<usize>() as f64 / f64::from(1 << 20);
    let images = RefCell::new(Vec::new());
    let pushed = alternate(settings.rounds, &[By::V1, By::V2], async |by, round| {
        settle_disk();
        let image = Image::of_layers(round as u64, sizes);
        let chain = docker_v1::chain(&image);
        let tag = format!("r{round}");
        let mut connection = Connection::open_with_buffer(peer(by).address(), READ_BYTES).await?;
        let started = Instant::now();
        match by {
            By::V1 => docker_v1::push(&mut connection, NAME, &tag, &chain).await?,
            By::V2 => docker::push_image(&mut connection, NAME, &tag, &image).await?,
        }
        let elapsed = started.elapsed();
        if by == By::V1 {
            images.borrow_mut().push((tag, image, chain));
        }
        Ok(mib / elapsed.as_secs_f64())
    })
    .await?;
    let images = images.take();
    settle_disk();
    let pulled = alternate(settings.rounds, &[By::V1, By::V2], async |by, round| {
        let (tag, image, chain) =
            images.get(round).ok_or_else(|| Error::Wrong("there is no image to pull".to_owned()))?;
        let mut connection = Connection::open_with_buffer(peer(by).address(), READ_BYTES).await?;
        let started = Instant::now();
        for _ in 0..PULLS {
            match by {
                By::V1 => docker_v1::pull(&mut connection, NAME, tag, chain).await?,
                By::V2 => docker::pull_image(&mut connection, NAME, tag, image).await?,
            }
        }
        Ok(mib * PULLS as f64 / started.elapsed().as_secs_f64())
    })
    .await?;
    Ok((pushed, pulled))
}
