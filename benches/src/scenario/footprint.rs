//! What it costs to have the registry running: memory, and the time until it answers.

use bytes::Bytes;

use super::NAME;
use crate::content::{Blob, Random};
use crate::docker::{self, Way};
use crate::folder::Folder;
use crate::load::for_count;
use crate::peer::Peer;
use crate::report::{Expected, Row, Unit};
use crate::rounds::{Samples, Side, alternate, settle_disk};
use crate::settings::Settings;
use crate::{Error, Result, ledger};

/// Memory when idle and at its peak under load, in MiB.
const IDLE_MIB_MAX: f64 = 32.0;
const PEAK_MIB_MAX: f64 = 128.0;
/// Time to the first answer, in milliseconds.
const START_EMPTY_MS_MAX: f64 = 60.0;
const START_FULL_MS_MAX: f64 = 200.0;

pub(super) async fn memory(settings: &Settings) -> Result<Vec<Row>> {
    let base = Bytes::from(Random::from_seed(3).bytes(settings.large_bytes));
    let blobs: Vec<Blob> =
        (0..settings.memory_clients).map(|client| Blob::numbered(&base, client as u64)).collect();
    let mut idle = Vec::new();
    let mut peak = Vec::new();
    for side in [Side::Supercargo, Side::Distribution] {
        let Some(peer) = Peer::start(side, settings, None).await? else {
            idle.push(Vec::new());
            peak.push(Vec::new());
            continue;
        };
        idle.push(vec![mib(peer.process().resident_bytes()?)]);
        for_count(peer.address(), blobs.len(), blobs.len(), async |connection, number| {
            docker::push_blob(connection, NAME, &blobs[number], Way::Streamed).await
        })
        .await?;
        peak.push(vec![mib(peer.process().peak_resident_bytes()?)]);
    }
    let beside = Side::Distribution.to_string();
    let busy = format!("memory, peak, {} clients push {} MiB", blobs.len(), settings.large_bytes >> 20);
    Ok(vec![
        Row::beside("memory, idle", Unit::Mib, &idle[0], &*beside, &idle[1], Expected::AtMost(IDLE_MIB_MAX)),
        Row::beside(busy, Unit::Mib, &peak[0], &*beside, &peak[1], Expected::AtMost(PEAK_MIB_MAX)),
    ])
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

pub(super) async fn start(settings: &Settings) -> Result<Vec<Row>> {
    let first_answer = async |side, data: Option<&Folder>| {
        settle_disk();
        let peer = Peer::start(side, settings, data.map(Folder::path)).await?;
        let peer = peer.ok_or_else(|| Error::program("a server", "is gone"))?;
        Ok(peer.first_answer().as_secs_f64() * 1e3)
    };
    let mut sides = Vec::new();
    for side in [Side::Supercargo, Side::Distribution] {
        // Also brings the programs into memory.
        if Peer::start(side, settings, None).await?.is_some() {
            sides.push(side);
        }
    }
    let empty = alternate(settings.rounds, &sides, async |side, _| first_answer(side, None).await).await?;
    let full = if sides.contains(&Side::Supercargo) {
        let data = ledger::folder_with_events(settings, settings.start_events)?;
        let us = [Side::Supercargo];
        alternate(settings.rounds, &us, async |side, _| first_answer(side, Some(&data)).await).await?
    } else {
        Samples::default()
    };
    let name = format!("start, {} events", settings.start_events);
    let (at_most_empty, at_most_full) =
        (Expected::AtMost(START_EMPTY_MS_MAX), Expected::AtMost(START_FULL_MS_MAX));
    Ok(vec![
        Row::sides("start, empty", Unit::Milliseconds, &empty, Side::Distribution, at_most_empty),
        Row::alone(name, Unit::Milliseconds, full.of(Side::Supercargo), at_most_full),
    ])
}
