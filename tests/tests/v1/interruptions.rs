//! Pushes that are interrupted: by a server that stops, or a client that does.

use supercargo_tests::http::{Connection, Request};
use supercargo_tests::v1::{Chain, Version};
use supercargo_tests::{Random, Server, wait_until};

use crate::support::{client, configured, guarded, speaking, wire};

/// Between any two requests of it, a push goes on with a server that was stopped and started.
#[test]
fn a_push_goes_on_after_a_restart() {
    let mut random = Random::from_environment("a_push_goes_on_after_a_restart");
    let mut server = speaking("V1");
    let chain = Chain::generate(&mut random, Version::V1_9, 2, 200_000);
    let mut push = client(&server, Version::V1_9).begin_push("team/app", &["1"], &chain).unwrap();
    for image in &chain.images {
        for step in 0..3 {
            server = server.restart();
            push = push.moved_to(wire(&server));
            assert!(!push.is_there(&image.id).unwrap());
            match step {
                0 => assert!(push.put_json(image).unwrap()),
                1 => push.put_layer(image).unwrap(),
                _ => push.put_checksum(image).unwrap(),
            }
        }
    }
    server = server.restart();
    push = push.moved_to(wire(&server));
    assert_eq!(push.look_up(&chain).unwrap().len(), 2);
    push.put_tag("1", chain.id()).unwrap();
    server = server.restart();
    push.moved_to(wire(&server)).finish().unwrap();
    assert_eq!(client(&server, Version::V1_12).pull("team/app", "1").unwrap(), chain);
    server.stop().verify();
}

/// Also where the token is all that says who it is.
#[test]
fn a_token_is_good_after_a_restart() {
    let mut random = Random::from_environment("a_token_is_good_after_a_restart");
    let guarded = guarded(Server::settings());
    guarded.user("bob", "team/**", "read,write");
    let chain = Chain::generate(&mut random, Version::V1_9, 1, 1000);
    let bob = client(&guarded.server, Version::V1_9)
        .logged_in("bob", supercargo_tests::accounts::PASSWORD)
        .without_cookies();
    let push = bob.begin_push("team/app", &["1"], &chain).unwrap();
    assert!(push.put_json(chain.top()).unwrap());
    let server = guarded.server.restart();
    let push = push.moved_to(wire(&server));
    push.put_layer(chain.top()).unwrap();
    let server = server.restart();
    let push = push.moved_to(wire(&server));
    push.put_checksum(chain.top()).unwrap();
    push.put_tag("1", chain.id()).unwrap();
    server.stop().verify();
}

/// Killed where it stands, a server has nothing to show for a push but what it had answered; pushed again, all of it
/// is there.
#[test]
fn a_push_is_made_again_after_a_kill() {
    let mut random = Random::from_environment("a_push_is_made_again_after_a_kill");
    let mut server = speaking("V1");
    let kept = Chain::generate(&mut random, Version::V1_9, 1, 200_000);
    client(&server, Version::V1_9).push("team/kept", &["1"], &kept).unwrap();
    for step in 0..=3 {
        let chain = kept.extended(&mut random, Version::V1_9, 1, 200_000);
        let image = chain.top();
        let push = client(&server, Version::V1_9).begin_push("team/app", &["1"], &chain).unwrap();
        if step >= 1 {
            assert!(push.put_json(image).unwrap());
        }
        if step >= 2 {
            push.put_layer(image).unwrap();
        }
        if step >= 3 {
            push.put_checksum(image).unwrap();
        }
        let killed = server.kill_hard();
        killed.verify();
        server = killed.start();
        let again = client(&server, Version::V1_9);
        let uploaded = again.push("team/app", &["1"], &chain).unwrap();
        // Whoever it was that pushed it: what was answered is there.
        assert_eq!(uploaded.is_empty(), step == 3, "{step}: {uploaded:?}");
        assert_eq!(again.pull("team/app", "1").unwrap(), chain);
        assert_eq!(again.pull("team/kept", "1").unwrap(), kept);
    }
    server.stop().verify();
}

/// A client that breaks off in the midst of a layer has the JSON stored, and nothing else; it sends the layer again.
#[test]
fn a_layer_that_breaks_off_is_sent_again() {
    let mut random = Random::from_environment("a_layer_that_breaks_off_is_sent_again");
    let server = configured(Server::settings(), "V1");
    let chain = Chain::generate(&mut random, Version::V1_9, 1, 1_000_000);
    let image = chain.top();
    let old = client(&server, Version::V1_9);
    let push = old.begin_push("team/app", &["1"], &chain).unwrap();
    for _ in 0..2 {
        assert!(push.put_json(image).unwrap());
        let error = push.stream_layer(&image.id, |sink| {
            sink.write_all(&image.layer[..500_000])?;
            Err(std::io::Error::other("the client is gone"))
        });
        assert!(error.unwrap_err().is_no_answer());
        assert!(!push.is_there(&image.id).unwrap());
        // Until the server hears that the client is gone, the layer is still on its way.
        wait_until("the server hears that the client is gone", || {
            let status = push.put_checksum(image).unwrap_err().status();
            assert!(matches!(status, Some(400 | 409)), "{status:?}");
            status == Some(400)
        });
    }
    push.put_layer(image).unwrap();
    push.put_checksum(image).unwrap();
    push.put_tag("1", &image.id).unwrap();
    assert_eq!(old.pull("team/app", "1").unwrap(), chain);
    server.stop().verify();
}

/// A pull while a tag moves gets the old image or the new one, whole.
#[test]
fn a_pull_during_a_push_gets_one_image_or_the_other() {
    let mut random = Random::from_environment("a_pull_during_a_push_gets_one_image_or_the_other");
    let server = speaking("V1");
    let (old, puller) = (client(&server, Version::V1_9), client(&server, Version::V1_12));
    let chains: Vec<Chain> = (0..8).map(|_| Chain::generate(&mut random, Version::V1_9, 2, 10_000)).collect();
    old.push("team/app", &["1"], &chains[0]).unwrap();
    std::thread::scope(|scope| {
        let pushing = scope.spawn(|| {
            for chain in &chains[1..] {
                old.push("team/app", &["1"], chain).unwrap();
            }
        });
        while !pushing.is_finished() {
            let pulled = puller.pull("team/app", "1").unwrap();
            assert!(chains.contains(&pulled), "an image that nobody pushed: {:?}", pulled.ids());
        }
        pushing.join().unwrap();
    });
    assert_eq!(old.pull("team/app", "1").unwrap(), chains[7]);
    server.stop().verify();
}

/// A request on a connection that is kept: old clients keep none, and other tools do.
#[test]
fn a_connection_may_be_kept() {
    let mut random = Random::from_environment("a_connection_may_be_kept");
    let server = speaking("V1");
    let chain = Chain::generate(&mut random, Version::V1_9, 1, 100_000);
    client(&server, Version::V1_9).push("team/app", &["1"], &chain).unwrap();
    let mut connection = Connection::open(server.address()).unwrap();
    for what in ["json", "layer", "ancestry", "layer", "json"] {
        let get = Request::new("GET", &format!("/v1/images/{}/{what}", chain.id()));
        connection.send(&get.to_bytes()).unwrap();
        connection.receive("GET").unwrap().expect(200);
    }
    server.stop().verify();
}
