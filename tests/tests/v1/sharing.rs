//! What several pushes have in common: the same ancestors in several names, pushed one after the other or at the same
//! time, and what a collection leaves of them.

use std::sync::Barrier;

use supercargo_tests::server::stored_files;
use supercargo_tests::v1::{Chain, V1Client, V1Image, Version, Wire};
use supercargo_tests::{Random, Server, wait_until};

use crate::support::{client, configured, delete, speaking};

/// Enough that a layer is a file of its own.
const LAYER_BYTES: usize = 200_000;

fn without_leases() -> Server {
    configured(Server::settings().variable("SUPERCARGO_GC__LEASE", "0s"), "V1")
}

fn collect(server: &Server) {
    server.cli(&["gc"]).expect_success();
}

#[test]
fn ancestors_are_stored_once_and_stay_as_long_as_a_name_has_them() {
    let mut random = Random::from_environment("ancestors_are_stored_once");
    let server = without_leases();
    let data = server.data();
    let old = client(&server, Version::V1_9);
    let base = Chain::generate(&mut random, Version::V1_9, 3, LAYER_BYTES);
    let [first, second] = [(); 2].map(|()| base.extended(&mut random, Version::V1_9, 1, LAYER_BYTES));
    assert_eq!(old.push("team/first", &["1"], &first).unwrap(), first.ids());
    // What one name has is not sent for another.
    assert_eq!(old.push("team/second", &["1", "2"], &second).unwrap(), [second.id()]);
    assert_eq!(stored_files(&data), 5);

    old.send(&delete("/v1/repositories/team/first/")).unwrap().expect(200);
    collect(&server);
    assert_eq!(stored_files(&data), 4, "what only the first had is gone");
    assert_eq!(old.pull("team/second", "1").unwrap(), second);
    assert_eq!(old.pull("team/first", "1").unwrap_err().status(), Some(404));

    old.send(&delete("/v1/repositories/team/second/tags/1")).unwrap().expect(200);
    collect(&server);
    assert_eq!(old.pull("team/second", "2").unwrap(), second, "another tag has it");
    old.send(&delete("/v1/repositories/team/second/tags/2")).unwrap().expect(200);
    collect(&server);
    assert_eq!(stored_files(&data), 0, "nobody has anything");
    server.cli(&["prune"]).expect_success();
    assert_eq!(old.search("team").unwrap(), Vec::<String>::new());
    let server = server.restart();
    let old = client(&server, Version::V1_9);
    for chain in [&first, &second] {
        for id in chain.ids() {
            old.send(&crate::support::get(&format!("/v1/images/{id}/json"))).unwrap().expect(404);
        }
    }
    // What was collected can be pushed again: nothing believes that it is still there.
    assert_eq!(old.push("team/first", &["1"], &first).unwrap(), first.ids());
    assert_eq!(old.pull("team/first", "1").unwrap(), first);
    assert_eq!(stored_files(&server.data()), 4);
    server.stop().verify();
}

/// What has one id may be two things in two repositories; what has the same bytes is stored once.
#[test]
fn repositories_share_bytes_and_not_ids() {
    let mut random = Random::from_environment("repositories_share_bytes_and_not_ids");
    let server = without_leases();
    server.cli(&["repo", "create", "elsewhere", "--docker-api-version", "V1"]).expect_success();
    let settings = server.stop().into_settings();
    let server = settings.argument("--listen").argument("127.0.0.1:0=elsewhere").start();
    let here = client(&server, Version::V1_9);
    let there = V1Client::new(Wire::plain(server.next_address()), Version::V1_9);
    let chain = Chain::generate(&mut random, Version::V1_9, 2, LAYER_BYTES);
    let [base, top] = &chain.images[..] else { panic!("two images") };
    let json =
        [format!(r#"{{"id":"{}"}}"#, base.id), format!(r#"{{"id":"{}","parent":"{}"}}"#, top.id, base.id)];
    let images = chain.images.iter().zip(json);
    let other = Chain {
        images: images.map(|(image, json)| V1Image { json: json.into_bytes(), ..image.clone() }).collect(),
    };
    here.push("team/app", &["1"], &chain).unwrap();
    // What one repository has is not in the other, and is sent there whole.
    assert_eq!(there.push("team/app", &["1"], &other).unwrap(), other.ids());
    assert_eq!(stored_files(&server.data()), 2);
    assert_eq!(here.pull("team/app", "1").unwrap(), chain);
    assert_eq!(there.pull("team/app", "1").unwrap(), other);
    here.send(&delete("/v1/repositories/team/app/")).unwrap().expect(200);
    collect(&server);
    assert_eq!(there.pull("team/app", "1").unwrap(), other);
    there.send(&delete("/v1/repositories/team/app/")).unwrap().expect(200);
    collect(&server);
    assert_eq!(stored_files(&server.data()), 0);
    server.stop().verify();
}

/// A pusher who was told that the ancestors are there finds them there, whatever becomes of the name they were in.
#[test]
fn what_a_push_was_told_is_there_stays() {
    let mut random = Random::from_environment("what_a_push_was_told_is_there_stays");
    let server = speaking("V1");
    let old = client(&server, Version::V1_9);
    let base = Chain::generate(&mut random, Version::V1_9, 2, LAYER_BYTES);
    let chain = base.extended(&mut random, Version::V1_9, 1, LAYER_BYTES);
    old.push("team/first", &["1"], &base).unwrap();

    let push = old.begin_push("team/second", &["1"], &chain).unwrap();
    assert_eq!(push.look_up(&chain).unwrap().len(), 2);
    old.send(&delete("/v1/repositories/team/first/")).unwrap().expect(200);
    collect(&server);
    assert!(push.upload(chain.top()).unwrap());
    collect(&server);
    push.put_tag("1", chain.id()).unwrap();
    push.finish().unwrap();
    collect(&server);
    assert_eq!(old.pull("team/second", "1").unwrap(), chain);
    server.stop().verify();
}

/// Images that were completed and never tagged are nobody's once their lease has ended.
#[test]
fn a_push_that_was_given_up_leaves_nothing() {
    let mut random = Random::from_environment("a_push_that_was_given_up_leaves_nothing");
    let server = without_leases().stop().into_settings();
    let server = server.variable("SUPERCARGO_GC__UNTAGGED_AFTER", "0s").start();
    let data = server.data();
    let chain = Chain::generate(&mut random, Version::V1_9, 2, LAYER_BYTES);
    let push = client(&server, Version::V1_9).begin_push("team/app", &["1"], &chain).unwrap();
    for image in &chain.images {
        assert!(push.upload(image).unwrap());
    }
    assert_eq!(stored_files(&data), 2);
    wait_until("the layers are gone", || {
        collect(&server);
        stored_files(&data) == 0
    });
    assert!(!push.is_there(chain.id()).unwrap());
    server.stop().verify();
}

/// Pushers of the same base at the same moment, each with images of its own on top: none is told anything that makes
/// it fail, and everybody's image is whole.
#[test]
fn parallel_pushers_share_a_base() {
    const PUSHERS: usize = 6;
    let mut random = Random::from_environment("parallel_pushers_share_a_base");
    let server = speaking("V1");
    let base = Chain::generate(&mut random, Version::V1_9, 3, LAYER_BYTES);
    let pushers: Vec<(Version, String, Chain)> = (0..PUSHERS)
        .map(|number| {
            let version = Version::ALL[number % 3];
            let chain = base.extended(&mut random, version, 1, LAYER_BYTES);
            // Two of them push to the same name.
            (version, format!("team/app{}", number.min(PUSHERS - 2)), chain)
        })
        .collect();
    let start = Barrier::new(PUSHERS);
    std::thread::scope(|scope| {
        for (number, (version, name, chain)) in pushers.iter().enumerate() {
            let (pusher, start) = (client(&server, *version), &start);
            scope.spawn(move || {
                let pusher = if number % 2 == 0 { pusher } else { pusher.without_cookies() };
                start.wait();
                pusher.push(name, &[&format!("tag{number}")], chain).unwrap();
            });
        }
    });
    for (number, (version, name, chain)) in pushers.iter().enumerate() {
        assert_eq!(client(&server, *version).pull(name, &format!("tag{number}")).unwrap(), *chain);
    }
    assert_eq!(stored_files(&server.data()), 3 + PUSHERS);
    server.stop().verify();
}

/// Section 7, "Isolation": two pushers of one image, in every order that matters.
#[test]
fn pushers_of_one_image_do_not_disturb_each_other() {
    let mut random = Random::from_environment("pushers_of_one_image_do_not_disturb_each_other");
    let server = speaking("V1");
    let mut two = || {
        let chain = Chain::generate(&mut random, Version::V1_9, 1, LAYER_BYTES);
        let begin = || client(&server, Version::V1_9).begin_push("team/app", &["1"], &chain).unwrap();
        (begin(), begin(), chain)
    };

    // The second begins anew what the first has begun: the first goes on as if nothing were.
    let (first, second, chain) = two();
    let image = chain.top();
    assert!(first.put_json(image).unwrap());
    first.put_layer(image).unwrap();
    assert!(!second.is_there(&image.id).unwrap());
    assert!(second.put_json(image).unwrap());
    first.put_checksum(image).unwrap();
    // Late, but it was told that it may.
    second.put_layer(image).unwrap();
    second.put_checksum(image).unwrap();
    second.put_tag("1", &image.id).unwrap();
    assert_eq!(client(&server, Version::V1_9).pull("team/app", "1").unwrap(), chain);

    // The same layer may be compressed otherwise: the first to complete is right, the other's is dropped.
    let (first, second, chain) = two();
    let image = chain.top();
    let mut other = image.clone();
    other.layer.extend(supercargo_tests::v1::image::gzip(b""));
    assert!(first.put_json(image).unwrap());
    assert!(second.put_json(&other).unwrap());
    first.put_layer(image).unwrap();
    second.put_layer(&other).unwrap();
    second.put_checksum(&other).unwrap();
    first.put_checksum(image).unwrap();
    first.put_tag("2", &image.id).unwrap();
    assert_eq!(client(&server, Version::V1_9).pull("team/app", "2").unwrap().top(), &other);

    // Other JSON is another image: there can be only one of that id.
    let (first, second, chain) = two();
    let image = chain.top();
    let mut other = image.clone();
    other.json = format!(r#"{{"id":"{}"}}"#, image.id).into_bytes();
    assert!(first.put_json(image).unwrap());
    assert!(second.put_json(&other).unwrap());
    first.put_layer(image).unwrap();
    first.put_checksum(image).unwrap();
    second.put_layer(&other).unwrap();
    assert_eq!(second.put_checksum(&other).unwrap_err().status(), Some(409));
    first.put_tag("3", &image.id).unwrap();
    assert_eq!(client(&server, Version::V1_9).pull("team/app", "3").unwrap(), chain);

    // Its own checksum is asked of everybody.
    let (first, second, chain) = two();
    let image = chain.top();
    assert!(first.put_json(image).unwrap());
    assert!(second.put_json(image).unwrap());
    first.put_layer(image).unwrap();
    first.put_checksum(image).unwrap();
    second.put_layer(image).unwrap();
    let wrong = format!("sha256:{}", "0".repeat(64));
    let refusal = second.put_checksums(&image.id, &wrong, &image.tarsum()).unwrap_err();
    assert_eq!(refusal.status(), Some(400));

    // Who has begun nothing is told that it exists.
    let (first, second, chain) = two();
    let image = chain.top();
    assert!(first.upload(image).unwrap());
    assert!(!second.put_json(image).unwrap());
    assert_eq!(second.put_layer(image).unwrap_err().status(), Some(409));
    server.stop().verify();
}
