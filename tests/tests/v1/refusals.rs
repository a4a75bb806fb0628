//! Section 11: everything that can be wrong with a request, and that nothing comes of it.

use supercargo_tests::http::{Connection, Request, Response};
use supercargo_tests::v1::image::new_id;
use supercargo_tests::v1::{Chain, V1Image, Version};
use supercargo_tests::{Random, Server};

use crate::support::{Rows, client, get, put, speaking, wire};

const NOT_FOUND: &str = "Image not found";

/// An image whose JSON and layer are there, and whose checksum is not.
fn begun(rows: &Rows, random: &mut Random) -> V1Image {
    let image = Chain::generate(random, Version::V1_9, 1, 2000).images.remove(0);
    rows.text("begin", &put(&format!("/v1/images/{}/json", image.id), &*image.json), 200, "true");
    let layer = Request::new("PUT", &format!("/v1/images/{}/layer", image.id)).chunked([image.layer.clone()]);
    rows.text("begin", &layer, 200, "true");
    image
}

#[test]
fn section_11_checksums() {
    let mut random = Random::from_environment("section_11_checksums");
    let server = speaking("V1");
    let rows = Rows::of(wire(&server));
    let image = begun(&rows, &mut random);
    let right = image.payload();
    let checksum = |payload: &str| {
        let put = Request::new("PUT", &format!("/v1/images/{}/checksum", image.id));
        put.header("X-Docker-Checksum", &image.tarsum()).header("X-Docker-Checksum-Payload", payload)
    };
    let before = server.log_size();
    let none = Request::new("PUT", &format!("/v1/images/{}/checksum", image.id));
    rows.error("none", &none, 412, "X-Docker-Checksum-Payload not set*");
    let tarsum_alone = none.header("X-Docker-Checksum", &image.tarsum());
    rows.error("tarsum alone", &tarsum_alone, 412, "X-Docker-Checksum-Payload not set*");
    rows.error("empty", &checksum(""), 400, "Missing Image's checksum");
    let wrong = format!("sha256:{}", "a".repeat(64));
    rows.error("wrong", &checksum(&wrong), 400, "Checksum mismatch");
    for payload in
        ["sha256:", "sha256:12", &right[7..], &format!("md5:{}", "0".repeat(32)), &format!("{right}0"), "x"]
    {
        rows.error("no checksum", &checksum(payload), 400, "*");
    }
    rows.error(
        "still in progress",
        &get(&format!("/v1/images/{}/json", image.id)),
        400,
        "Image is being uploaded, retry later",
    );
    assert_eq!(server.log_size(), before, "what is refused changes nothing");
    rows.text("retried", &checksum(&right), 200, "true");
    rows.status("complete", &get(&format!("/v1/images/{}/json", image.id)), 200);
    rows.finish();
    server.stop().verify();
}

#[test]
fn section_11_paths_and_bodies() {
    let mut random = Random::from_environment("section_11_paths_and_bodies");
    let server = speaking("V1");
    let chain = Chain::generate(&mut random, Version::V1_9, 1, 500);
    client(&server, Version::V1_9).push("team/app", &["latest"], &chain).unwrap();
    let id = chain.id();
    let rows = Rows::of(wire(&server));
    let before = server.log_size();

    for bad in [&id[1..], &id[..16], &id.to_uppercase(), &format!("{id}0"), "x", &"g".repeat(64)] {
        for what in ["json", "layer", "ancestry"] {
            rows.error("no image id", &get(&format!("/v1/images/{bad}/{what}")), 404, "Invalid image ID");
        }
        let json = put(&format!("/v1/images/{bad}/json"), format!(r#"{{"id":"{bad}"}}"#));
        rows.error("no image id", &json, 404, "Invalid image ID");
    }

    for (row, body, error) in [
        ("no JSON", "x", "Error Decoding JSON"),
        ("nothing", "", "Error Decoding JSON"),
        ("half", "[{", "Error Decoding JSON"),
        ("an object", "{}", "Invalid data"),
        ("a text", "\"x\"", "Invalid data"),
        ("an element that is none", "[1]", "Invalid data"),
        ("an element without id", "[{}]", "Invalid data"),
        ("an id that is none", r#"[{"id":"x"}]"#, "Invalid data"),
        ("an id that is no text", r#"[{"id":1}]"#, "Invalid data"),
    ] {
        rows.error(row, &put("/v1/repositories/team/new/", body), 400, error);
        rows.error(row, &put("/v1/repositories/team/app/images", body), 400, error);
    }
    rows.error("nothing of it", &get("/v1/repositories/team/new/tags"), 404, "Repository not found");

    let body = format!("\"{id}\"");
    let long = "t".repeat(129);
    for tag in [".x", "-x", "a%20b", "%2e%2e", "a+b", "a:b", &long] {
        let put = put(&format!("/v1/repositories/team/app/tags/{tag}"), &*body);
        rows.error(&format!("tag {tag}"), &put, 400, "Invalid tag name");
    }
    let set = |body: &str| put("/v1/repositories/team/app/tags/other", body);
    for (row, body) in
        [("object", "{}"), ("empty text", "\"\""), ("unquoted", id), ("nothing", ""), ("array", "[\"x\"]")]
    {
        rows.error(row, &set(body), 400, "Invalid data");
    }
    rows.error("unknown image", &set(&format!("\"{}\"", new_id(&mut random))), 404, NOT_FOUND);
    rows.error("not set", &get("/v1/repositories/team/app/tags/other"), 404, "Tag not found");

    let long = format!("team/{}", "n".repeat(256));
    for name in [
        "..",
        "team/..",
        "team/../app",
        "a%2Fb",
        "team%2f..",
        "team/a%00b",
        "%2e%2e/x",
        ".a/b",
        "a/-b",
        &long,
    ] {
        for request in [
            put(&format!("/v1/repositories/{name}/"), "[]"),
            get(&format!("/v1/repositories/{name}/images")),
            get(&format!("/v1/repositories/{name}/tags")),
            put(&format!("/v1/repositories/{name}/tags/latest"), &*body),
        ] {
            rows.error(&format!("name {name}"), &request, 400, "*");
        }
    }
    assert_eq!(server.log_size(), before, "what is refused changes nothing");
    rows.finish();
    assert_eq!(client(&server, Version::V1_9).pull("team/app", "latest").unwrap(), chain);
    server.stop().verify();
}

/// Sends the head of a chunked layer and then these bytes, and nothing more; answers what the server says.
fn broken_layer(server: &Server, image: &V1Image, bytes: &[u8]) -> (Option<Response>, bool) {
    let mut connection = Connection::open(server.address()).unwrap();
    let put = Request::new("PUT", &format!("/v1/images/{}/layer", image.id)).streamed();
    connection.send(&put.to_bytes()).unwrap();
    connection.send(bytes).unwrap();
    connection.finish_sending().unwrap();
    let answer = connection.receive("PUT").ok();
    (answer, connection.is_closed())
}

#[test]
fn section_11_layers_that_break_off() {
    let mut random = Random::from_environment("section_11_layers_that_break_off");
    let server = speaking("V1");
    let rows = Rows::of(wire(&server));
    let image = begun(&rows, &mut random);
    let before = server.log_size();
    for (row, bytes) in [
        ("no chunk", &b""[..]),
        ("half a chunk", b"100\r\nabc"),
        ("no last chunk", b"3\r\nabc\r\n"),
        ("no number", b"x\r\nabc\r\n0\r\n\r\n"),
        ("an endless number", b"fffffffffffffffff\r\nabc\r\n0\r\n\r\n"),
    ] {
        let (answer, closed) = broken_layer(&server, &image, bytes);
        assert!(answer.as_ref().is_none_or(|answer| answer.status == 400), "{row}: {answer:?}");
        assert!(closed, "{row}: the connection is open");
        rows.error(
            row,
            &get(&format!("/v1/images/{}/json", image.id)),
            400,
            "Image is being uploaded, retry later",
        );
    }
    // A body that is shorter than it says.
    let mut connection = Connection::open(server.address()).unwrap();
    let short = Request::new("PUT", &format!("/v1/images/{}/layer", image.id));
    connection.send(&short.header("Content-Length", "1000").body(&b"abc"[..]).to_bytes()).unwrap();
    connection.finish_sending().unwrap();
    assert!(connection.receive("PUT").ok().is_none_or(|answer| answer.status == 400));
    assert_eq!(server.log_size(), before, "nothing is published");

    // Sent whole, it is what it should be.
    let layer = Request::new("PUT", &format!("/v1/images/{}/layer", image.id));
    rows.text("whole", &layer.body(&*image.layer), 200, "true");
    let checksum = Request::new("PUT", &format!("/v1/images/{}/checksum", image.id));
    rows.text("whole", &checksum.header("X-Docker-Checksum-Payload", &image.payload()), 200, "true");
    rows.finish();
    server.stop().verify();
}

#[test]
fn section_11_layers_that_are_too_large_or_none() {
    let mut random = Random::from_environment("section_11_layers_that_are_too_large_or_none");
    let server = speaking("V1");
    let rows = Rows::of(wire(&server));
    let chain = Chain::generate(&mut random, Version::V1_9, 1, 2 << 20);
    let push = client(&server, Version::V1_9).begin_push("team/app", &["1"], &chain).unwrap();
    server.cli(&["repo", "configure", "docker-local", "--blob-max", "1MiB"]).expect_success();
    assert!(push.put_json(chain.top()).unwrap());
    // The body is read to its end, or the client would say that a pipe is broken.
    assert_eq!(push.put_layer(chain.top()).unwrap_err().status(), Some(413));
    server.cli(&["repo", "configure", "docker-local", "--blob-max", "0B"]).expect_success();
    push.put_layer(chain.top()).unwrap();
    push.put_checksum(chain.top()).unwrap();

    for (row, layer) in
        [("no archive", &b"not a tar"[..]), ("empty", b""), ("broken gzip", b"\x1f\x8b\x08\0")]
    {
        let id = new_id(&mut random);
        let image = V1Image {
            json: format!(r#"{{"id":"{id}"}}"#).into_bytes(),
            id: id.clone(),
            layer: layer.to_vec(),
        };
        rows.text(row, &put(&format!("/v1/images/{id}/json"), &*image.json), 200, "true");
        let layer = Request::new("PUT", &format!("/v1/images/{id}/layer")).body(&*image.layer);
        rows.text(row, &layer, 200, "true");
        let checksum = Request::new("PUT", &format!("/v1/images/{id}/checksum"));
        rows.text(row, &checksum.header("X-Docker-Checksum-Payload", &image.payload()), 200, "true");
        let back = rows.status(row, &get(&format!("/v1/images/{id}/layer")), 200);
        rows.holds(row, "the layer as it was sent", back.body == image.layer, &back);
    }
    rows.finish();
    server.stop().verify();
}
