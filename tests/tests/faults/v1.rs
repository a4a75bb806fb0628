//! Crashes in the midst of what old clients do: at each of its points, once.

use supercargo_tests::server::stored_files;
use supercargo_tests::v1::{Chain, V1Client, Version, Wire};
use supercargo_tests::{Image, Random, Server};

use crate::support::{start_again, start_to_crash};

const LAYERS: usize = 2;

/// Points that a push passes, and how often at least: with each image, and where that is more, once for the tag.
const POINTS: [(&str, usize); 7] = [
    ("v1.json", LAYERS),
    ("v1.layer", LAYERS),
    ("v1.whole", LAYERS),
    ("blob.written", LAYERS),
    ("blob.renamed", LAYERS),
    ("commit.before", LAYERS + 1),
    ("commit.after", LAYERS + 1),
];

fn client(server: &Server, version: Version) -> V1Client {
    V1Client::new(Wire::plain(server.address()), version).knowing_v1_alone()
}

/// A push meets a point for the nth time. What was there before is there; what is visible of the push is whole; the
/// client's second try succeeds, and nothing is left behind. False where the push passes the point less often.
fn a_push_crashes_at(point: &str, speaks: &str) -> bool {
    let mut random = Random::from_seed(7);
    let version = Version::V1_9;
    let kept = Chain::generate(&mut random, version, LAYERS, 200_000);
    let chain = kept.extended(&mut random, version, LAYERS, 200_000);
    let server = Server::start();
    server.cli(&["repo", "configure", "docker-local", "--docker-api-version", speaks]).expect_success();
    client(&server, version).push("kept", &["1"], &kept).unwrap();
    let server = start_to_crash(server.stop(), point);
    match client(&server, version).push("new", &["1"], &chain) {
        Ok(_) => return false,
        Err(error) => assert!(error.is_no_answer(), "{point}: {error}"),
    }
    let crashed = server.wait_for_crash();
    crashed.verify();

    let server = start_again(crashed);
    let this = client(&server, version);
    assert_eq!(this.pull("kept", "1").unwrap(), kept, "{point}");
    match this.pull("new", "1") {
        Ok(pulled) => assert_eq!(pulled, chain, "{point}"),
        Err(error) => assert_eq!(error.status(), Some(404), "{point}: {error}"),
    }
    this.push("new", &["1"], &chain).unwrap();
    assert_eq!(this.pull("new", "1").unwrap(), chain, "{point}");
    assert_eq!(this.pull("kept", "1").unwrap(), kept, "{point}");
    server.cli(&["sweep"]).expect_success();
    assert_eq!(stored_files(&server.data()), 2 * LAYERS, "{point}: the layers and nothing else");
    server.stop().verify();
    true
}

#[test]
fn at_every_point_of_an_old_push() {
    for (point, at_least) in POINTS {
        let crashes = (1..).take_while(|nth| a_push_crashes_at(&format!("{point}:{nth}"), "V1")).count();
        assert!(crashes >= at_least, "{point}: {crashes} crashes");
    }
}

/// Where the other protocol is spoken, too, a push also makes a manifest of the image.
#[test]
fn at_every_point_of_an_old_push_that_is_seen_by_both() {
    for (point, at_least) in POINTS {
        let crashes = (1..).take_while(|nth| a_push_crashes_at(&format!("{point}:{nth}"), "both")).count();
        assert!(crashes >= at_least, "{point}: {crashes} crashes");
    }
}

/// An old client's first look at what a newer one pushed is a change, too. It meets the point, and the next look
/// finds what the first would have found.
fn a_first_look_crashes_at(point: &str) -> bool {
    let image = Image::generate(8, LAYERS, 100_000);
    let pushed = || {
        let server = Server::start();
        server.cli(&["repo", "configure", "docker-local", "--docker-api-version", "both"]).expect_success();
        server.client().push_image("team/app", "1", &image).unwrap();
        server
    };
    let elsewhere = pushed();
    let expected = client(&elsewhere, Version::V1_9).pull("team/app", "1").unwrap();
    let server = start_to_crash(pushed().stop(), point);
    match client(&server, Version::V1_9).pull("team/app", "1") {
        Ok(_) => return false,
        Err(error) => assert!(error.is_no_answer(), "{point}: {error}"),
    }
    let crashed = server.wait_for_crash();
    crashed.verify();
    let server = start_again(crashed);
    assert_eq!(client(&server, Version::V1_9).pull("team/app", "1").unwrap(), expected, "{point}");
    server.client().pull_and_check("team/app", "1", &image).unwrap();
    server.stop().verify();
    true
}

#[test]
fn at_every_commit_of_a_first_look() {
    for point in ["commit.before", "commit.after"] {
        let crashes = (1..).take_while(|nth| a_first_look_crashes_at(&format!("{point}:{nth}"))).count();
        assert!(crashes >= 1, "{point}: {crashes} crashes");
    }
}

/// The tables fold the same from the log's beginning, whatever old clients did.
#[test]
fn a_rebuild_has_all_that_old_clients_did() {
    let mut random = Random::from_environment("a_rebuild_has_all_that_old_clients_did");
    let server = Server::settings().variable("SUPERCARGO_GC__LEASE", "0s").start();
    server.cli(&["repo", "configure", "docker-local", "--docker-api-version", "both"]).expect_success();
    let this = client(&server, Version::V1_9);
    let first = Chain::generate(&mut random, Version::V1_9, 2, 100_000);
    let second = first.extended(&mut random, Version::V1_9, 1, 100_000);
    this.push("team/first", &["1", "2"], &first).unwrap();
    this.push("team/second", &["1"], &second).unwrap();
    let gone = supercargo_tests::http::Request::new("DELETE", "/v1/repositories/team/first/");
    this.send(&gone).unwrap().expect(200);
    server.cli(&["gc"]).expect_success();
    this.push("team/third", &["1"], &first).unwrap();
    let stopped = server.stop();
    stopped.verify();
    stopped.cli(&["replay"]).expect_success();
    stopped.verify();
    let server = stopped.start();
    let this = client(&server, Version::V1_9);
    assert_eq!(this.pull("team/second", "1").unwrap(), second);
    assert_eq!(this.pull("team/third", "1").unwrap(), first);
    assert_eq!(this.pull("team/first", "1").unwrap_err().status(), Some(404));
    server.stop().verify();
}
