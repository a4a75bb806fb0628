//! What an image is on its way from nothing to complete, and what each request does to it (section 7); and what its
//! JSON must be (section 7.1). Of clients that don't meet: those that do are in `sharing`.

use serde_json::json;
use supercargo_tests::http::{Request, Response};
use supercargo_tests::v1::image::new_id;
use supercargo_tests::v1::{Chain, V1Image, Version};
use supercargo_tests::{Random, Server};

use crate::support::{Rows, client, get, put, speaking, wire};

const NOT_FOUND: &str = "Image not found";
const UPLOADING: &str = "Image is being uploaded, retry later";
const MISMATCH: &str = "Checksum mismatch";

fn layer(image: &V1Image) -> Request {
    let put = Request::new("PUT", &format!("/v1/images/{}/layer", image.id));
    put.header("Content-Type", "application/octet-stream").chunked([image.layer.clone()])
}

fn json_of(image: &V1Image) -> Request {
    put(&format!("/v1/images/{}/json", image.id), &*image.json)
}

fn checksum(image: &V1Image, payload: &str) -> Request {
    let put = Request::new("PUT", &format!("/v1/images/{}/checksum", image.id));
    put.header("X-Docker-Checksum", &image.tarsum()).header("X-Docker-Checksum-Payload", payload)
}

fn tag(image: &V1Image) -> Request {
    put("/v1/repositories/team/app/tags/latest", format!("\"{}\"", image.id))
}

/// Rows that read, in the state of that name.
fn reads(rows: &Rows, state: &str, image: &V1Image, check: impl Fn(&str, &Request) -> Response) {
    for what in ["json", "layer", "ancestry"] {
        let path = format!("/v1/images/{}/{what}", image.id);
        let answer = check(&format!("{state}: GET {what}"), &get(&path));
        let head = rows.status(&format!("{state}: HEAD {what}"), &Request::new("HEAD", &path), answer.status);
        rows.holds(state, "HEAD should be without a body", head.body.is_empty(), &head);
    }
}

#[test]
fn section_7_every_request_in_every_state() {
    let mut random = Random::from_environment("section_7_every_request_in_every_state");
    let server = speaking("V1");
    let rows = Rows::of(wire(&server));
    let chain = Chain::generate(&mut random, Version::V1_9, 2, 500);
    for image in &chain.images {
        let right = image.payload();
        let wrong = format!("sha256:{}", "0".repeat(64));

        reads(&rows, "absent", image, |row, request| rows.error(row, request, 404, NOT_FOUND));
        rows.error("absent: PUT layer", &layer(image), 404, NOT_FOUND);
        rows.error("absent: PUT checksum", &checksum(image, &right), 404, NOT_FOUND);
        rows.error("absent: PUT tag", &tag(image), 404, NOT_FOUND);
        rows.text("absent: PUT json", &json_of(image), 200, "true");

        reads(&rows, "in progress", image, |row, request| rows.error(row, request, 400, UPLOADING));
        rows.error("in progress: PUT checksum", &checksum(image, &right), 400, MISMATCH);
        rows.error("in progress: PUT tag", &tag(image), 404, NOT_FOUND);
        rows.text("in progress: PUT json", &json_of(image), 200, "true");
        rows.text("in progress: PUT layer", &layer(image), 200, "true");

        reads(&rows, "layer stored", image, |row, request| rows.error(row, request, 400, UPLOADING));
        rows.error("layer stored: PUT checksum, wrong", &checksum(image, &wrong), 400, MISMATCH);
        rows.error("layer stored: PUT tag", &tag(image), 404, NOT_FOUND);
        rows.text("layer stored: PUT layer", &layer(image), 200, "true");
        rows.text("layer stored: PUT json", &json_of(image), 200, "true");
        rows.error("layer dropped: PUT checksum", &checksum(image, &right), 400, MISMATCH);
        rows.text("layer dropped: PUT layer", &layer(image), 200, "true");
        rows.text("layer stored: PUT checksum", &checksum(image, &right), 200, "true");

        let read = |row: &str, request: &Request| rows.status(row, request, 200);
        reads(&rows, "complete", image, read);
        rows.error("complete: PUT json", &json_of(image), 409, "Image already exists");
        let other = put(&format!("/v1/images/{}/json", image.id), format!(r#"{{"id":"{}"}}"#, image.id));
        rows.error("complete: PUT json, another", &other, 409, "Image already exists");
        rows.error("complete: PUT layer", &layer(image), 409, "Image already exists");
        let set = "Cannot set this image checksum";
        rows.error("complete: PUT checksum", &checksum(image, &right), 409, set);
        rows.error("complete: PUT checksum, wrong", &checksum(image, &wrong), 409, set);
        reads(&rows, "complete still", image, read);
        rows.text("complete: PUT tag", &tag(image), 200, "true");
    }
    rows.finish();
    assert_eq!(client(&server, Version::V1_9).pull("team/app", "latest").unwrap(), chain);
    server.stop().verify();
}

/// Section 7, "Parent".
#[test]
fn section_7_parents() {
    let mut random = Random::from_environment("section_7_parents");
    let server = speaking("V1");
    let rows = Rows::of(wire(&server));
    let chain = Chain::generate(&mut random, Version::V1_9, 2, 500);
    let [base, top] = &chain.images[..] else { panic!("two images") };

    let unknown = "Image depends on a non existing parent";
    rows.error("parent absent", &json_of(top), 400, unknown);
    // The same session may send the child before its parent is complete, but not complete it.
    rows.text("base", &json_of(base), 200, "true");
    rows.text("parent in progress, same session", &json_of(top), 200, "true");
    rows.text("child's layer", &layer(top), 200, "true");
    rows.error("child's checksum", &checksum(top, &top.payload()), 400, "*");
    rows.text("base's layer", &layer(base), 200, "true");
    rows.text("base's checksum", &checksum(base, &base.payload()), 200, "true");
    rows.text("child's checksum", &checksum(top, &top.payload()), 200, "true");
    rows.json("ancestry", &get(&format!("/v1/images/{}/ancestry", top.id)), 200, json!([top.id, base.id]));
    let own = new_id(&mut random);
    let body = json!({ "id": own, "parent": own }).to_string();
    rows.error("its own parent", &put(&format!("/v1/images/{own}/json"), body), 400, "*");
    rows.finish();

    // Another session's image in progress is no parent.
    let chain = Chain::generate(&mut random, Version::V1_9, 2, 500);
    let [first, second] =
        [(); 2].map(|()| client(&server, Version::V1_9).begin_push("team/app", &["1"], &chain).unwrap());
    assert!(first.put_json(&chain.images[0]).unwrap());
    assert_eq!(second.put_json(&chain.images[1]).unwrap_err().status(), Some(400));
    server.stop().verify();
}

#[test]
fn section_7_a_chain_has_an_end() {
    const DEEPEST: usize = 500;
    let mut random = Random::from_environment("section_7_a_chain_has_an_end");
    let server = speaking("V1");
    let chain = Chain::generate(&mut random, Version::V1_12, DEEPEST + 1, 1);
    let push = client(&server, Version::V1_9).begin_push("team/deep", &["1"], &chain).unwrap();
    let (last, rest) = chain.images.split_last().unwrap();
    for image in rest {
        assert!(push.upload(image).unwrap());
    }
    assert_eq!(push.put_json(last).unwrap_err().status(), Some(400));
    push.put_tag("1", &rest[DEEPEST - 1].id).unwrap();
    let pulled = client(&server, Version::V1_12).pull("team/deep", "1").unwrap();
    assert!(pulled.images == rest);
    server.stop().verify();
}

#[test]
fn section_7_1_the_json_of_an_image() {
    let mut random = Random::from_environment("section_7_1_the_json_of_an_image");
    let server = speaking("V1");
    let rows = Rows::of(wire(&server));
    let id = new_id(&mut random);
    let other = new_id(&mut random);
    let path = format!("/v1/images/{id}/json");
    let before = server.log_size();
    for (row, body) in [
        ("nothing", &b""[..]),
        ("half an object", b"{\"id\":"),
        ("no JSON", b"image"),
        ("an array", b"[]"),
        ("a text", b"\"x\""),
        ("a number", b"1"),
        ("null", b"null"),
        ("no UTF-8", b"{\"id\":\"\xff\"}"),
        ("something behind it", b"{} {}"),
    ] {
        rows.error(row, &put(&path, body), 400, "Invalid JSON");
    }
    let object = |text: String| put(&path, text);
    rows.error("no id", &object("{}".to_owned()), 400, "Missing key `id' in JSON");
    let invalid = "JSON data contains invalid id";
    rows.error("another id", &object(json!({ "id": other }).to_string()), 400, invalid);
    rows.error("an id with capitals", &object(json!({ "id": id.to_uppercase() }).to_string()), 400, invalid);
    for (row, value) in [("a number", json!(1)), ("null", json!(null)), ("an array", json!([id]))] {
        rows.error(&format!("the id is {row}"), &object(json!({ "id": value }).to_string()), 400, "*");
        let parent = json!({ "id": id, "parent": value }).to_string();
        if !value.is_null() {
            rows.error(&format!("the parent is {row}"), &object(parent), 400, "*");
        }
    }
    for parent in ["x", &other[1..], &other.to_uppercase()] {
        let body = json!({ "id": id, "parent": parent }).to_string();
        rows.error("the parent is no id", &object(body), 400, "*");
    }
    let deep = |depth: usize| format!(r#"{{"id":"{id}","x":{}{}}}"#, "[".repeat(depth), "]".repeat(depth));
    rows.error("too deep", &object(deep(65)), 400, "*");
    rows.error("much too deep", &object(deep(100_000)), 400, "*");
    let large = format!(r#"{{"id":"{id}","x":"{}"}}"#, "x".repeat(4 << 20));
    rows.error("too large", &object(large), 413, "*");
    rows.error("nothing is there", &get(&path), 404, NOT_FOUND);
    assert_eq!(server.log_size(), before, "what is refused changes nothing");

    // What is allowed, and comes back as it was sent.
    for (row, text) in [
        ("nothing but an id", json!({ "id": id }).to_string()),
        ("an empty parent", json!({ "id": id, "parent": "" }).to_string()),
        ("deep", deep(60)),
        ("twice the same key: the last counts", format!(r#"{{"id":"x","id":"{id}"}}"#)),
        (
            "white space, and unknown members",
            format!("{{ \"z\" : 1.50 ,\n\"id\":\t\"{id}\" , \"\\u003c\":null}}\n"),
        ),
    ] {
        rows.text(row, &object(text.clone()), 200, "true");
        let image = V1Image { id: id.clone(), json: text.into_bytes(), layer: vec![0x1f, 0x8b] };
        rows.text(row, &layer(&image), 200, "true");
        // The sum over the archive is of no interest here: the layer is no archive.
        let put = Request::new("PUT", &format!("/v1/images/{id}/checksum"));
        let put = put.header("X-Docker-Checksum-Payload", &image.payload());
        if row.starts_with("white") {
            rows.text(row, &put, 200, "true");
            rows.text(row, &get(&path), 200, std::str::from_utf8(&image.json).unwrap());
        }
    }
    rows.error("complete: bad JSON is bad all the same", &object("{".to_owned()), 400, "Invalid JSON");
    rows.finish();
    server.stop().verify();
}

/// Section 5.5: the form of the checksum that is kept, not verified, where nobody asks for more.
#[test]
fn section_5_5_the_sum_over_the_archive_is_kept() {
    let mut random = Random::from_environment("section_5_5_the_sum_over_the_archive_is_kept");
    let server: Server = speaking("V1");
    let rows = Rows::of(wire(&server));
    for tarsum in
        [format!("tarsum+sha256:{}", "0".repeat(64)), format!("tarsum.v1+sha256:{}", "0".repeat(64))]
    {
        let image = Chain::generate(&mut random, Version::V1_9, 1, 500).images.remove(0);
        rows.text(&tarsum, &json_of(&image), 200, "true");
        rows.text(&tarsum, &layer(&image), 200, "true");
        let put = Request::new("PUT", &format!("/v1/images/{}/checksum", image.id));
        let put = put.header("X-Docker-Checksum", &tarsum);
        rows.text(&tarsum, &put.header("X-Docker-Checksum-Payload", &image.payload()), 200, "true");
    }
    rows.finish();
    server.stop().verify();
}

/// Section 5.5: and verified where the repository is set to, whichever version it is of.
#[test]
fn section_5_5_the_sum_over_the_archive_is_verified_where_it_is_asked_for() {
    let mut random = Random::from_environment("section_5_5_the_sum_over_the_archive_is_verified");
    let server = speaking("V1");
    server.cli(&["repo", "configure", "docker-local", "--verify-tarsum", "true"]).expect_success();
    let rows = Rows::of(wire(&server));
    let image = Chain::generate(&mut random, Version::V1_9, 1, 500).images.remove(0);
    rows.text("json", &json_of(&image), 200, "true");
    rows.text("layer", &layer(&image), 200, "true");
    let checksum = |tarsum: &str| {
        let put = Request::new("PUT", &format!("/v1/images/{}/checksum", image.id));
        put.header("X-Docker-Checksum", tarsum).header("X-Docker-Checksum-Payload", &image.payload())
    };
    let wrong = "0".repeat(64);
    for label in ["tarsum", "tarsum.v1"] {
        rows.error(label, &checksum(&format!("{label}+sha256:{wrong}")), 400, MISMATCH);
    }
    for nonsense in ["x", "tarsum+sha256:", "tarsum+md5:12", "tarsum.v7+sha256:00"] {
        rows.error(nonsense, &checksum(nonsense), 400, "*");
    }
    rows.error("in progress still", &get(&format!("/v1/images/{}/json", image.id)), 400, UPLOADING);
    rows.text("right", &checksum(&image.tarsum()), 200, "true");
    rows.finish();
    // A whole push, as clients make it: the sum is right.
    let chain = Chain::generate(&mut random, Version::V1_5, 3, 100_000);
    client(&server, Version::V1_5).push("team/app", &["1"], &chain).unwrap();
    server.stop().verify();
}
