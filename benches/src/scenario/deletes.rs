//! Manifests deleted by digest, many in a row, as retention policies do.

use super::NAME;
use crate::Result;
use crate::content::Image;
use crate::docker::{self, Way};
use crate::http::Connection;
use crate::load::for_count;
use crate::peer::Peers;
use crate::report::{Expected, Row, Unit};
use crate::rounds::{Side, alternate, settle_disk};
use crate::settings::Settings;

/// Clients that push, and then delete.
const CLIENTS: usize = 8;

pub(super) async fn run(settings: &Settings) -> Result<Vec<Row>> {
    let image = Image::numbered(1);
    let peers = Peers::registries(settings).await?;
    for (_, peer) in peers.iter() {
        let mut connection = Connection::open(peer.address()).await?;
        for blob in &image.blobs {
            docker::push_blob(&mut connection, NAME, blob, Way::Monolithic).await?;
        }
    }
    let samples = alternate(settings.rounds, &peers.sides(), async |side, round| {
        let address = peers.get(side)?.address();
        let first = round * settings.deletes;
        let manifests: Vec<_> =
            (first..first + settings.deletes).map(|number| image.variant(number as u64)).collect();
        // Without tags: distribution looks through all tags of a name for each delete, and would be
        // measured at that.
        for_count(address, CLIENTS, manifests.len(), async |connection, number| {
            let (bytes, digest) = &manifests[number];
            docker::push_manifest(connection, NAME, &digest.to_string(), bytes.clone()).await
        })
        .await?;
        settle_disk();
        for_count(address, CLIENTS, manifests.len(), async |connection, number| {
            docker::delete_manifest(connection, NAME, &manifests[number].1).await
        })
        .await
    })
    .await?;
    let expected = Expected::RatioAtLeast(3.0);
    Ok(vec![Row::sides("deletes", Unit::PerSecond, &samples, Side::Distribution, expected)])
}
