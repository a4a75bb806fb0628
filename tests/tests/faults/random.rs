//! Kills at moments that nobody chose, again and again on the same data folder, under load.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use supercargo_tests::{Client, Image, Random, Server};

const KILLS: u64 = 200;
const PUSHERS: usize = 3;
const TAGS: usize = 4;
/// How often everything is read back and hashed by `verify --deep`, in kills.
const VERIFY_EVERY: u64 = 20;

/// What a tag may point to, as far as its pusher was told: one of these images (by seed), or nothing.
type Possible = Vec<Option<u64>>;

/// What one pusher knows.
#[derive(Default)]
struct Known {
    tags: BTreeMap<usize, Possible>,
    answered: u64,
    in_flight: u64,
}

/// Three layers: one that all images share, one that some do, one that none does; above 64 KiB and below.
fn image(seed: u64) -> Image {
    let layer = |seed: u64, len: usize| [(format!("file-{seed}"), Random::from_seed(seed).bytes(len))].into();
    Image::from_layers(&[layer(7, 90_000), layer(100 + seed % 5, 70_000), layer(1_000_000 + seed, 3000)])
}

fn name(pusher: usize) -> String {
    format!("load/p{pusher}")
}

/// Pushes and deletes until the server is gone.
fn load(
    address: SocketAddr,
    pusher: usize,
    mut random: Random,
    mut known: Known,
    stop: &AtomicBool,
) -> Known {
    let client = Client::new(address);
    while !stop.load(Ordering::Relaxed) {
        let tag = random.index(TAGS);
        let text = format!("t{tag}");
        let possible = known.tags.entry(tag).or_insert_with(|| vec![None]);
        if random.chance(1, 5) && possible.iter().all(Option::is_some) {
            let done = client.delete_manifest(&name(pusher), &text);
            known.in_flight += u64::from(done.is_err());
            match done {
                Ok(()) => *possible = vec![None],
                Err(_) => {
                    possible.push(None);
                    break;
                }
            }
            known.answered += 1;
            continue;
        }
        let seed = random.below(1000);
        match client.push_image(&name(pusher), &text, &image(seed)) {
            Ok(()) => {
                *possible = vec![Some(seed)];
                known.answered += 1;
            }
            Err(error) => {
                assert!(error.is_no_answer(), "a server at work refused: {error}");
                possible.push(Some(seed));
                known.in_flight += 1;
                break;
            }
        }
    }
    known
}

/// Compares what is there with what was told, and from here on knows it for sure.
fn look(client: &Client, pusher: usize, known: &mut Known) {
    for (tag, possible) in &mut known.tags {
        let text = format!("t{tag}");
        let found = client.resolve(&name(pusher), &text).unwrap();
        let is = |seed: &Option<u64>| seed.map(|seed| image(seed).manifest.digest) == found;
        let Some(there) = possible.iter().copied().find(is) else {
            panic!("{}:{text} is {found:?}, and may be {possible:?}", name(pusher));
        };
        if let Some(seed) = there {
            client.pull_and_check(&name(pusher), &text, &image(seed)).unwrap();
        }
        *possible = vec![there];
    }
}

#[test]
fn two_hundred_kills_lose_nothing_that_was_answered() {
    let mut random = Random::from_environment("two_hundred_kills_lose_nothing_that_was_answered");
    // Collections run all the while, and leases keep them off what is on its way.
    let settings = Server::settings()
        .variable("SUPERCARGO_GC__SCHEDULE", "every 1s")
        .variable("SUPERCARGO_GC__UNTAGGED_AFTER", "0s");
    let mut server = settings.start();
    let mut known: Vec<Known> = (0..PUSHERS).map(|_| Known::default()).collect();
    for kill in 1..=KILLS {
        let stop = Arc::new(AtomicBool::new(false));
        let address = server.address();
        let threads: Vec<_> = known
            .drain(..)
            .enumerate()
            .map(|(pusher, known)| {
                let (random, stop) = (random.fork(), Arc::clone(&stop));
                std::thread::spawn(move || load(address, pusher, random, known, &stop))
            })
            .collect();
        // The moment is the point; there is no event to wait for.
        std::thread::sleep(Duration::from_millis(20 + random.below(130)));
        let stopped = server.kill_hard();
        stop.store(true, Ordering::Relaxed);
        known = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        if kill % VERIFY_EVERY == 0 {
            stopped.verify();
        }
        server = stopped.start();
        let client = server.client();
        for (pusher, known) in known.iter_mut().enumerate() {
            look(&client, pusher, known);
        }
    }
    let answered: u64 = known.iter().map(|known| known.answered).sum();
    let in_flight: u64 = known.iter().map(|known| known.in_flight).sum();
    assert!(answered > KILLS, "only {answered} pushes and deletions were answered");
    assert!(in_flight > KILLS / 2, "only {in_flight} requests were cut off by a kill");
    server.cli(&["gc"]).expect_success();
    let stopped = server.stop();
    stopped.verify();
    let server = stopped.start();
    for (pusher, known) in known.iter_mut().enumerate() {
        look(&server.client(), pusher, known);
    }
}
