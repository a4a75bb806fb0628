//! Many small images: what a registry behind a build farm does all day.

use std::cell::RefCell;

use crate::content::Image;
use crate::docker;
use crate::load::for_duration;
use crate::peer::Peers;
use crate::report::{Expected, Row, Unit};
use crate::rounds::{Side, alternate, settle_disk};
use crate::settings::Settings;
use crate::{Error, Result};

/// Clients, and what pushing and pulling should come to at that number.
const CLIENTS: [(usize, Expected, Expected); 3] = [
    (1, Expected::Nothing, Expected::Nothing),
    (8, Expected::RatioAtLeast(2.4), Expected::RatioAtLeast(3.0)),
    (32, Expected::Nothing, Expected::Nothing),
];

/// An image that a side has, and where.
#[derive(Clone)]
struct Pushed {
    name: String,
    tag: String,
    image: Image,
}

pub(super) async fn run(settings: &Settings) -> Result<Vec<Row>> {
    let peers = Peers::registries(settings).await?;
    let mut rows = Vec::new();
    for (clients, push_bound, pull_bound) in CLIENTS {
        // What a side has is what it is asked for: sides push for as long as each other, not as much.
        let pushed = RefCell::new(std::collections::BTreeMap::<Side, Vec<Pushed>>::new());
        let push = alternate(settings.rounds, &peers.sides(), async |side, round| {
            settle_disk();
            let peer = peers.get(side)?;
            for_duration(peer.address(), clients, settings.duration, async |connection, client, turn| {
                let number = [clients as u64, round as u64, client as u64, turn];
                let image = Image::numbered(number.iter().fold(0, |all, part| all << 16 | part));
                let name = format!("bench/team-{client}");
                let tag = format!("c{clients}-r{round}-{turn}");
                docker::push_image(connection, &name, &tag, &image).await?;
                pushed.borrow_mut().entry(side).or_default().push(Pushed { name, tag, image });
                Ok(())
            })
            .await
        })
        .await?;
        let pushed = pushed.take();
        settle_disk();
        let pull = alternate(settings.rounds, &peers.sides(), async |side, _| {
            let peer = peers.get(side)?;
            let images = pushed.get(&side).filter(|images| !images.is_empty());
            let images = images.ok_or_else(|| Error::Wrong(format!("{side} has no images to pull")))?;
            for_duration(peer.address(), clients, settings.duration, async |connection, client, turn| {
                // Clients start far from each other, so that they do not pull the same image at once.
                let first = images.len() / clients * client;
                let wanted = &images[(first + turn as usize) % images.len()];
                docker::pull_image(connection, &wanted.name, &wanted.tag, &wanted.image).await
            })
            .await
        })
        .await?;
        for (what, samples, bound) in [("pushed", &push, push_bound), ("pulled", &pull, pull_bound)] {
            let scenario = format!("images {what}, {clients} client{}", if clients == 1 { "" } else { "s" });
            rows.push(Row::sides(scenario, Unit::PerSecond, samples, Side::Distribution, bound));
        }
    }
    Ok(rows)
}
