//! Kills at moments that nobody chose, again and again on the same data folder, under load: pushers whose
//! images share layers, a deleter, and a collector that never rests.

use std::sync::Mutex;
use std::time::Duration;

use supercargo_tests::client::ClientError;
use supercargo_tests::http::Request;
use supercargo_tests::{Client, Image, Random, Server, Stopped};

use crate::support::{stored_files, upload_sizes};

const KILLS: u64 = 200;
const PUSHERS: u64 = 3;
const NAMES: usize = 2;
const TAGS: usize = 6;
/// Images there are. Few enough that what was deleted and collected is pushed again.
const IMAGES: u64 = 300;
/// How often everything is read back and hashed by `verify --deep`, in kills.
const VERIFY_EVERY: u64 = 20;

/// One tag, and what it may point to as far as anybody was told: one of these images (by seed), or nothing.
#[derive(Debug)]
struct Slot {
    name: String,
    tag: String,
    possible: Vec<Option<u64>>,
}

/// The tags that nobody works on. Whoever does takes the tag out, so that for each tag one thing comes after
/// the other, while all of them share names, layers and the server.
struct Slots(Mutex<Vec<Slot>>);

impl Slots {
    fn take(&self, random: &mut Random, wanted: impl Fn(&Slot) -> bool) -> Option<Slot> {
        let mut slots = self.0.lock().unwrap();
        let from = random.index(slots.len().max(1));
        let at = (from..slots.len()).chain(0..from.min(slots.len())).find(|&at| wanted(&slots[at]))?;
        Some(slots.swap_remove(at))
    }

    fn put_back(&self, slot: Slot) {
        self.0.lock().unwrap().push(slot);
    }
}

/// How often each thing happened. A run in which one of them hardly ever does proves nothing.
#[derive(Debug, Default, Clone, Copy)]
struct Tally {
    pushes: u64,
    deletions: u64,
    collections: u64,
    collected_blobs: u64,
    /// Those without an answer, because the server was killed. A push counts if it was under way, with one of
    /// its requests answered.
    pushes_cut: u64,
    deletions_cut: u64,
    collections_cut: u64,
    /// Of the pushes and deletions without an answer, those that had happened all the same.
    cut_and_done: u64,
}

impl Tally {
    fn add(&mut self, other: Tally) {
        self.pushes += other.pushes;
        self.deletions += other.deletions;
        self.collections += other.collections;
        self.collected_blobs += other.collected_blobs;
        self.pushes_cut += other.pushes_cut;
        self.deletions_cut += other.deletions_cut;
        self.collections_cut += other.collections_cut;
        self.cut_and_done += other.cut_and_done;
    }

    /// Fails the test where something happened too rarely.
    fn require(self) {
        eprintln!("{self:#?}");
        assert!(self.pushes >= KILLS, "{self:?}");
        assert!(self.pushes_cut >= KILLS / 2, "{self:?}");
        assert!(self.deletions >= KILLS / 4, "{self:?}");
        assert!(self.deletions_cut > 0, "{self:?}");
        assert!(self.collections >= KILLS, "{self:?}");
        assert!(self.collections_cut >= KILLS / 10, "{self:?}");
        assert!(self.collected_blobs >= KILLS, "{self:?}");
        assert!(self.cut_and_done > 0, "{self:?}");
    }
}

/// Three layers: one that all images share, one that some do, one that none does; above 64 KiB, so that it is
/// a file, and below.
fn image(seed: u64) -> Image {
    let layer = |seed: u64, len: usize| [(format!("file-{seed}"), Random::from_seed(seed).bytes(len))].into();
    let own_len = if seed.is_multiple_of(2) { 80_000 } else { 3000 };
    Image::from_layers(&[layer(7, 90_000), layer(100 + seed % 8, 70_000), layer(1_000_000 + seed, own_len)])
}

/// Whether a push that was cut off had got further than its first request.
fn was_under_way(error: &ClientError, image: &Image) -> bool {
    matches!(error, ClientError::NoAnswer { what, .. } if !what.contains(&image.layers[0].digest))
}

/// Pushes one image after the other until the server is gone.
fn push(client: &Client, slots: &Slots, mut random: Random) -> Tally {
    let mut tally = Tally::default();
    loop {
        // There are more tags than threads.
        let mut slot = slots.take(&mut random, |_| true).unwrap();
        let seed = random.below(IMAGES);
        let image = image(seed);
        let outcome = client.push_image(&slot.name, &slot.tag, &image);
        match &outcome {
            Ok(()) => {
                slot.possible = vec![Some(seed)];
                tally.pushes += 1;
            }
            Err(error) => {
                assert!(error.is_no_answer(), "a server at work refused: {error}");
                slot.possible.push(Some(seed));
                tally.pushes_cut += u64::from(was_under_way(error, &image));
            }
        }
        slots.put_back(slot);
        if outcome.is_err() {
            return tally;
        }
    }
}

/// Deletes one tag after the other until the server is gone; slower than they are pushed, so that there is
/// always one to delete.
fn delete(client: &Client, slots: &Slots, mut random: Random) -> Tally {
    let mut tally = Tally::default();
    loop {
        let there = |slot: &Slot| slot.possible.iter().all(Option::is_some);
        if let Some(mut slot) = slots.take(&mut random, there) {
            let outcome = client.delete_manifest(&slot.name, &slot.tag);
            match &outcome {
                Ok(()) => {
                    slot.possible = vec![None];
                    tally.deletions += 1;
                }
                Err(error) => {
                    assert!(error.is_no_answer(), "a server at work refused: {error}");
                    slot.possible.push(None);
                    tally.deletions_cut += 1;
                }
            }
            slots.put_back(slot);
            if outcome.is_err() {
                return tally;
            }
        }
        // Also ends where there was never one to delete.
        if client.get("/healthz").is_err() {
            return tally;
        }
        std::thread::sleep(Duration::from_millis(random.below(40)));
    }
}

/// Collects again and again until the server is gone.
fn collect(client: &Client) -> Tally {
    let mut tally = Tally::default();
    loop {
        match client.send(&Request::new("POST", "/api/supercargo/v1/gc")) {
            Ok(response) => {
                tally.collections += 1;
                tally.collected_blobs += response.expect(200).json()["blobs"].as_u64().unwrap();
            }
            Err(_) => {
                tally.collections_cut += 1;
                return tally;
            }
        }
    }
}

/// Works on the server until it is gone, and kills it after that long.
fn load_and_kill(server: Server, slots: &Slots, random: &mut Random, after: Duration) -> (Stopped, Tally) {
    let address = server.address();
    std::thread::scope(|scope| {
        let mut threads = Vec::new();
        for pusher in 0..PUSHERS {
            let random = random.fork();
            // Leases are per client, and each is one of its own.
            let client = Client::new(address).forwarded_for(&format!("10.0.0.{pusher}"));
            threads.push(scope.spawn(move || push(&client, slots, random)));
        }
        let fork = random.fork();
        threads.push(scope.spawn(move || delete(&Client::new(address), slots, fork)));
        threads.push(scope.spawn(move || collect(&Client::new(address))));
        // The moment is the point; there is no event to wait for.
        std::thread::sleep(after);
        let stopped = server.kill_hard();
        let mut tally = Tally::default();
        for thread in threads {
            tally.add(thread.join().unwrap());
        }
        (stopped, tally)
    })
}

/// Compares what is there with what was told, and from here on knows it for sure. Answers how many of the
/// requests without an answer had happened.
fn look(client: &Client, slots: &Slots) -> u64 {
    let mut done = 0;
    for slot in slots.0.lock().unwrap().iter_mut() {
        let found = client.resolve(&slot.name, &slot.tag).unwrap();
        let is = |seed: &Option<u64>| seed.map(|seed| image(seed).manifest.digest) == found;
        // The last thing that was asked for comes last.
        let Some(at) = slot.possible.iter().rposition(is) else {
            panic!("found {found:?} of {slot:?}");
        };
        done += u64::from(at > 0);
        let there = slot.possible[at];
        if let Some(seed) = there {
            client.pull_and_check(&slot.name, &slot.tag, &image(seed)).unwrap();
        }
        slot.possible = vec![there];
    }
    done
}

#[test]
fn two_hundred_kills_lose_nothing_that_was_answered() {
    let mut random = Random::from_environment("two_hundred_kills_lose_nothing_that_was_answered");
    let slots = (0..NAMES * TAGS).map(|number| Slot {
        name: format!("load/n{}", number / TAGS),
        tag: format!("t{}", number % TAGS),
        possible: vec![None],
    });
    let slots = Slots(Mutex::new(slots.collect()));
    // What lost its tag is an orphan at once. Leases are as long as ever: they alone keep the collector off
    // what is on its way.
    let settings = Server::settings().variable("SUPERCARGO_GC__UNTAGGED_AFTER", "0s");
    let mut server = settings.variable("SUPERCARGO_TRUSTED_PROXIES", "127.0.0.1").start();
    let mut tally = Tally::default();
    for kill in 1..=KILLS {
        let after = Duration::from_millis(20 + random.below(131));
        let (stopped, round) = load_and_kill(server, &slots, &mut random, after);
        tally.add(round);
        if kill % VERIFY_EVERY == 0 {
            stopped.verify();
        }
        server = stopped.start();
        tally.cut_and_done += look(&server.client(), &slots);
    }
    tally.require();
    server.cli(&["gc"]).expect_success();
    look(&server.client(), &slots);
    let stopped = server.stop();
    stopped.verify();

    // All kills together have left nothing behind that would stay for ever.
    let settings = stopped.into_settings().variable("SUPERCARGO_GC__LEASE", "0s");
    let server = settings.variable("SUPERCARGO_UPLOADS__EXPIRE_AFTER", "0s").start();
    let client = server.client();
    assert!(look(&client, &slots) == 0 && stored_files(&server.data()) > 0);
    for slot in slots.0.lock().unwrap().iter().filter(|slot| slot.possible != [None]) {
        client.delete_manifest(&slot.name, &slot.tag).unwrap();
    }
    server.cli(&["gc"]).expect_success();
    assert_eq!(stored_files(&server.data()), 0);
    assert_eq!(upload_sizes(&server.data()), Vec::<u64>::new());
    let stopped = server.stop();
    stopped.verify();
    let report = stopped.cli(&["verify"]).expect_success().json();
    assert_eq!(report["blobs"], 0, "{report}");
}
