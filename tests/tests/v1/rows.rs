//! What each endpoint answers when all is well: names (section 4), the rows of a push (5) and a pull (6), tags,
//! repositories and search (8).

use serde_json::{Value, json};
use supercargo_tests::http::{Request, Response};
use supercargo_tests::v1::{Chain, Version};
use supercargo_tests::{Random, Server};

use crate::support::{Rows, client, configured, delete, get, put, speaking, wire};

/// The headers of an answer that is another one tomorrow.
fn is_for_now(rows: &Rows, row: &str, answer: &Response) {
    rows.header(row, answer, "Cache-Control", "*no-cache*");
    rows.header(row, answer, "Pragma", "no-cache");
    rows.header(row, answer, "Expires", "-1");
}

#[test]
fn section_4_names() {
    let mut random = Random::from_environment("section_4_names");
    let server = speaking("V1");
    let rows = Rows::of(wire(&server));
    let chain = Chain::generate(&mut random, Version::V1_9, 2, 500);
    let (other, id) = (chain.extended(&mut random, Version::V1_9, 1, 500), chain.id());

    // One segment is a name in `library`, whichever way it is written.
    client(&server, Version::V1_9).push("solo", &["one"], &chain).unwrap();
    for name in ["solo", "library/solo"] {
        rows.json(name, &get(&format!("/v1/repositories/{name}/tags")), 200, json!({ "one": id }));
        rows.json(name, &get(&format!("/v1/repositories/{name}/tags/one")), 200, json!(id));
        rows.status(name, &get(&format!("/v1/repositories/{name}/images")), 200);
    }
    client(&server, Version::V1_9).push("library/solo", &["two"], &other).unwrap();
    let both = json!({ "one": id, "two": other.id() });
    rows.json("both", &get("/v1/repositories/solo/tags"), 200, both);
    rows.text("delete", &delete("/v1/repositories/library/solo/tags/one"), 200, "true");
    rows.error("deleted", &get("/v1/repositories/solo/tags/one"), 404, "Tag not found");

    // Names of more than two segments, and names that begin like the rest of a path.
    for name in ["a/b/c", "tags/a", "images/a/b", "json/x", "layer/y", "a.b/c_d"] {
        client(&server, Version::V1_9).push(name, &["images", "tags"], &chain).unwrap();
        let tags = json!({ "images": id, "tags": id });
        rows.json(name, &get(&format!("/v1/repositories/{name}/tags")), 200, tags);
        rows.json(name, &get(&format!("/v1/repositories/{name}/tags/images")), 200, json!(id));
        rows.status(name, &get(&format!("/v1/repositories/{name}/images")), 200);
    }

    // A slash at the end is nothing.
    for path in [
        "/v1/repositories/a/b/c/tags/",
        "/v1/repositories/a/b/c/tags/tags/",
        "/v1/repositories/a/b/c/images/",
        &format!("/v1/images/{id}/json/"),
        &format!("/v1/images/{id}/layer/"),
        &format!("/v1/images/{id}/ancestry/"),
        "/v1/search/?q=a",
    ] {
        rows.status("a slash", &get(path), 200);
    }
    rows.status("no slash", &put("/v1/repositories/a/b/c", "[]"), 200);
    rows.status("no slash", &delete("/v1/repositories/a/b/c"), 200);
    let long = format!("team/{}", "n".repeat(250));
    client(&server, Version::V1_9).push(&long, &[&"t".repeat(128)], &chain).unwrap();
    rows.finish();
    server.stop().verify();
}

#[test]
fn section_5_the_rows_of_a_push() {
    let mut random = Random::from_environment("section_5_the_rows_of_a_push");
    let server = speaking("V1");
    let rows = Rows::of(wire(&server));
    let chain = Chain::generate(&mut random, Version::V1_9, 2, 100_000);
    let index = |body: Value| put("/v1/repositories/team/app/", body.to_string());

    let list = json!([{ "id": chain.images[0].id }, { "id": chain.id(), "Tag": "latest" }]);
    let asked = index(list.clone()).header("X-Docker-Token", "true");
    let answer = rows.text("5.1", &asked, 200, "\"\"");
    let token = "signature=*,repository=\"team/app\",access=write";
    rows.header("5.1", &answer, "X-Docker-Token", token);
    rows.header("5.1", &answer, "WWW-Authenticate", &format!("Token {token}"));
    is_for_now(&rows, "5.1", &answer);
    rows.header("3.4", &answer, "Set-Cookie", "session=*; Path=/; HttpOnly*");
    // Where the client reached it, port and all: by any name.
    for host in ["registry.test:8080", "registry.test", "127.0.0.1:5000", "[::1]:5000"] {
        let answer = supercargo_tests::Client::new(server.address());
        let answer = answer.send(&index(list.clone()).header("Host", host)).unwrap().expect(200);
        rows.header("5.1", &answer, "X-Docker-Endpoints", host);
    }
    // Nothing is there of a push that went no further.
    rows.error("5.1", &get("/v1/repositories/team/app/tags"), 404, "Repository not found");
    rows.error("5.1", &get("/v1/repositories/team/app/images"), 404, "*");
    let found = rows.status("5.1", &get("/v1/search?q=app"), 200);
    rows.holds("5.1", "nothing is found", found.json()["num_results"] == 0, &found);

    for image in &chain.images {
        let path = |what: &str| format!("/v1/images/{}/{what}", image.id);
        rows.error("5.2", &get(&path("json")), 404, "Image not found");
        let answer = rows.text("5.3a", &put(&path("json"), &*image.json), 200, "true");
        is_for_now(&rows, "5.3a", &answer);
        rows.error("5.2", &get(&path("json")), 400, "Image is being uploaded, retry later");
        // With a length, as other tools send it; in chunks, as clients do.
        let layer = Request::new("PUT", &path("layer")).header("Content-Type", "application/octet-stream");
        rows.text("5.3b", &layer.clone().body(&*image.layer), 200, "true");
        let pieces = image.layer.chunks(1000).map(<[u8]>::to_vec);
        let answer = rows.text("5.3b", &layer.chunked(pieces), 200, "true");
        is_for_now(&rows, "5.3b", &answer);
        let checksum = Request::new("PUT", &path("checksum"))
            .header("X-Docker-Checksum", &image.tarsum())
            .header("X-Docker-Checksum-Payload", &image.payload());
        rows.text("5.3c", &checksum, 200, "true");
        rows.error("5.3a", &put(&path("json"), &*image.json), 409, "Image already exists");
        rows.status("5.2", &get(&path("json")), 200);
    }
    let tag = put("/v1/repositories/team/app/tags/latest", format!("\"{}\"", chain.id()));
    is_for_now(&rows, "5.3d", &rows.text("5.3d", &tag, 200, "true"));
    rows.text("5.3d, again", &tag, 200, "true");
    let images = |body: Value| put("/v1/repositories/team/app/images", body.to_string());
    let done = images(json!([])).header("X-Docker-Token", "true");
    rows.status("5.4", &done.header("X-Docker-Endpoints", "http://localhost/v1/"), 204);
    let other_tool = json!([{ "id": chain.id(), "checksum": chain.top().payload() }]);
    rows.status("5.4", &images(other_tool), 204);
    let listed = rows.status("6.1", &get("/v1/repositories/team/app/images"), 200);
    rows.holds("5.4", "both images", listed.json().as_array().is_some_and(|list| list.len() == 2), &listed);
    rows.finish();
    assert_eq!(client(&server, Version::V1_12).pull("team/app", "latest").unwrap(), chain);
    server.stop().verify();
}

/// Section 5.1: what the client can reach is what a trusted proxy says that it asked.
#[test]
fn section_5_the_endpoint_behind_a_proxy() {
    let put = put("/v1/repositories/team/app/", "[]").header("Host", "inside:5000");
    for (trusted, headers, endpoint) in [
        ("127.0.0.0/8", &[("X-Forwarded-Host", "registry.test")][..], "registry.test"),
        ("127.0.0.0/8", &[("X-Forwarded-Host", "registry.test:8443")], "registry.test:8443"),
        ("127.0.0.0/8", &[("Forwarded", "host=\"registry.test:8443\";proto=https")], "registry.test:8443"),
        ("127.0.0.0/8", &[], "inside:5000"),
        ("192.0.2.1", &[("X-Forwarded-Host", "registry.test")], "inside:5000"),
    ] {
        let server = configured(Server::settings().variable("SUPERCARGO_TRUSTED_PROXIES", trusted), "V1");
        let request = headers.iter().fold(put.clone(), |request, (name, value)| request.header(name, value));
        let answer = server.client().send(&request).unwrap().expect(200);
        assert_eq!(answer.header("X-Docker-Endpoints"), Some(endpoint), "{headers:?}");
    }
}

#[test]
fn section_6_the_rows_of_a_pull() {
    let mut random = Random::from_environment("section_6_the_rows_of_a_pull");
    let server = speaking("V1");
    let rows = Rows::of(wire(&server));
    let chain = Chain::generate(&mut random, Version::V1_9, 2, 100_000);
    client(&server, Version::V1_9).push("team/app", &["latest", "v1"], &chain).unwrap();
    let [base, top] = &chain.images[..] else { panic!("two images") };

    let asked = get("/v1/repositories/team/app/images").header("X-Docker-Token", "true");
    let answer = rows.status("6.1", &asked, 200);
    let mut listed = answer.json().as_array().unwrap().clone();
    listed.sort_by_key(|entry| entry["id"] != *base.id);
    let entry =
        |image: &supercargo_tests::v1::V1Image| json!({ "id": image.id, "checksum": image.payload() });
    rows.holds("6.1", "ids and checksums", listed == [entry(base), entry(top)], &answer);
    let token = "signature=*,repository=\"team/app\",access=read";
    rows.header("6.1", &answer, "X-Docker-Token", token);
    rows.header("6.1", &answer, "WWW-Authenticate", &format!("Token {token}"));
    is_for_now(&rows, "6.1", &answer);
    rows.error("6.1", &get("/v1/repositories/team/none/images"), 404, "*");

    let tags = json!({ "latest": top.id, "v1": top.id });
    is_for_now(&rows, "6.2", &rows.json("6.2", &get("/v1/repositories/team/app/tags"), 200, tags));
    let tag = rows.json("6.2", &get("/v1/repositories/team/app/tags/v1"), 200, json!(top.id));
    is_for_now(&rows, "6.2", &tag);
    rows.error("6.2", &get("/v1/repositories/team/app/tags/v2"), 404, "Tag not found");

    for (image, ancestry) in [(top, json!([top.id, base.id])), (base, json!([base.id]))] {
        let path = |what: &str| format!("/v1/images/{}/{what}", image.id);
        let size = image.layer.len().to_string();
        let text = std::str::from_utf8(&image.json).unwrap();
        let etag = format!("\"{}\"", image.payload());
        let length = text.len().to_string();
        for (what, length, kind) in
            [("json", &length, "application/json"), ("layer", &size, "application/octet-stream")]
        {
            let row = format!("6 {what}");
            let whole = rows.status(&row, &get(&path(what)), 200);
            let head = rows.status(&row, &Request::new("HEAD", &path(what)), 200);
            for answer in [&whole, &head] {
                rows.header(&row, answer, "Content-Type", kind);
                rows.header(&row, answer, "Cache-Control", "private, no-cache");
                rows.header(&row, answer, "Vary", "Authorization, Cookie");
                rows.header(&row, answer, "Content-Length", length);
                rows.header(&row, answer, "ETag", &etag);
            }
            let unchanged = get(&path(what)).header("If-None-Match", &etag);
            rows.status(&format!("{row} If-None-Match"), &unchanged, 304);
        }
        rows.json("6.3", &get(&path("ancestry")), 200, ancestry);
        let answer = rows.text("6.4", &get(&path("json")), 200, text);
        rows.header("6.4", &answer, "X-Docker-Size", &size);
        rows.header("6.4", &answer, "X-Docker-Checksum-Payload", &image.payload());
        ranges(&rows, &path("layer"), &image.layer);
    }
    rows.finish();
    server.stop().verify();
}

/// Section 6.5, and the row of section 11 on ranges.
fn ranges(rows: &Rows, path: &str, layer: &[u8]) {
    let size = layer.len();
    let ask = |range: &str| get(path).header("Range", range).header("Accept-Encoding", "gzip");
    for (range, from, to) in [
        ("bytes=0-0".to_owned(), 0, 1),
        ("bytes=10-19".to_owned(), 10, 20),
        ("bytes=100-".to_owned(), 100, size),
        ("bytes=-7".to_owned(), size - 7, size),
        (format!("bytes=1000-{size}"), 1000, size),
        (format!("bytes=0-{size}"), 0, size),
        (format!("bytes={}-{size}", size - 1), size - 1, size),
        ("bytes=5-99999999999".to_owned(), 5, size),
    ] {
        let part = rows.status(&range, &ask(&range), 206);
        rows.header(&range, &part, "Content-Range", &format!("bytes {from}-{}/{size}", to - 1));
        rows.header(&range, &part, "Content-Length", &(to - from).to_string());
        rows.holds(&range, "the part that was asked for", part.body == layer[from..to], &part);
    }
    for range in [format!("bytes={size}-{size}"), format!("bytes={size}-"), format!("bytes={}-", size + 5)] {
        let none = rows.status(&range, &ask(&range), 416);
        rows.header(&range, &none, "Content-Range", &format!("bytes */{size}"));
        rows.header(&range, &none, "Content-Length", "0");
    }
    for range in ["bytes=9-3", "bytes=x-y", "bytes=", "lines=1-2", "bytes=0-1,5-6", "nonsense"] {
        let whole = rows.status(range, &ask(range), 200);
        rows.header(range, &whole, "Accept-Ranges", "bytes");
        let plain = whole.header("Content-Encoding").is_none() && whole.body == layer;
        rows.holds(range, "the whole layer", plain, &whole);
    }
}

#[test]
fn section_8_tags_and_repositories() {
    let mut random = Random::from_environment("section_8_tags_and_repositories");
    let server = speaking("V1");
    let rows = Rows::of(wire(&server));
    let chain = Chain::generate(&mut random, Version::V1_9, 1, 500);
    let newer = chain.extended(&mut random, Version::V1_9, 1, 500);
    client(&server, Version::V1_9).push("team/app", &["latest", "v1", "v2"], &chain).unwrap();
    client(&server, Version::V1_9).push("team/app", &["v1"], &newer).unwrap();
    let team = |rest: &str| format!("/v1/repositories/team/app{rest}");

    let tags = json!({ "latest": chain.id(), "v1": newer.id(), "v2": chain.id() });
    rows.json("a tag that was overwritten", &get(&team("/tags")), 200, tags);
    rows.error("no such name", &get("/v1/repositories/team/none/tags"), 404, "Repository not found");

    // What a tag's JSON says is what the client said of itself that set it.
    let origin = rows.status("tag JSON", &get(&team("/tags/v1/json")), 200);
    let document = origin.json();
    for (key, value) in [
        ("docker_version", "1.9.1"),
        ("docker_go_version", "go1.4.2"),
        ("arch", "amd64"),
        ("os", "linux"),
        ("kernel", "4.4.0"),
    ] {
        rows.holds("tag JSON", &format!("{key} is {value}"), document[key] == value, &origin);
    }
    rows.holds("tag JSON", "when it was set", document["last_update"].is_u64(), &origin);
    let latest = rows.status("name JSON", &get(&team("/json")), 200);
    rows.holds("name JSON", "as for latest", latest.json()["docker_version"] == "1.9.1", &latest);
    rows.error("tag JSON of none", &get(&team("/tags/none/json")), 404, "Tag not found");
    let by_curl = put(&team("/tags/curl"), format!("\"{}\"", chain.id())).header("User-Agent", "curl/7.68.0");
    rows.text("tag set by another", &by_curl, 200, "true");
    let origin = rows.status("tag JSON of another", &get(&team("/tags/curl/json")), 200);
    rows.holds("tag JSON of another", "no version", origin.json()["docker_version"].is_null(), &origin);

    rows.text("delete tag", &delete(&team("/tags/v2")), 200, "true");
    rows.error("deleted tag", &get(&team("/tags/v2")), 404, "Tag not found");
    rows.error("delete it again", &delete(&team("/tags/v2")), 404, "Tag not found: v2");
    rows.error("delete where nothing is", &delete("/v1/repositories/team/none/tags/x"), 404, "*");

    rows.status("DELETE images", &delete(&team("/images")), 204);
    rows.status("still there", &get(&team("/tags/v1")), 200);
    rows.text("PUT auth", &put(&team("/auth"), ""), 200, "\"OK\"");
    let access = |id: &str| get(&team(&format!("/layer/{id}/access")));
    rows.json("layer access", &access(chain.id()), 200, json!({ "access": true }));

    let properties = team("/properties");
    let shown = rows.status("properties", &get(&properties), 200);
    let now = shown.json()["access"].as_str().unwrap_or_default().to_owned();
    rows.holds("properties", "public or private", ["public", "private"].contains(&&*now), &shown);
    for body in ["x", "{}", "[]", r#"{"access":"open"}"#, r#"{"access":1}"#] {
        rows.error("bad properties", &put(&properties, body), 400, "Invalid data");
    }

    for path in [team("/"), team("/tags")] {
        client(&server, Version::V1_9).push("team/app", &["latest"], &newer).unwrap();
        rows.text(&path, &delete(&path), 200, "true");
        rows.error(&path, &get(&team("/tags")), 404, "Repository not found");
        rows.error(&path, &get(&team("/tags/latest")), 404, "*");
        rows.error(&path, &get(&team("/images")), 404, "*");
        rows.error(&path, &get(&team("/properties")), 404, "*");
        rows.error(&path, &delete(&path), 404, "Repository not found");
    }
    rows.finish();
    server.stop().verify();
}

/// What is in a layer, file by file; of one that is no archive, a reason why that can't be said.
#[test]
fn section_8_files_of_a_layer() {
    let mut random = Random::from_environment("section_8_files_of_a_layer");
    let server = speaking("V1");
    let rows = Rows::of(wire(&server));
    let chain = Chain::generate(&mut random, Version::V1_9, 2, 500);
    client(&server, Version::V1_9).push("team/app", &["latest"], &chain).unwrap();
    for (number, image) in chain.images.iter().enumerate() {
        let row = format!("files of layer {number}");
        let answer = rows.status(&row, &get(&format!("/v1/images/{}/files", image.id)), 200);
        let listed = answer.json().as_array().cloned().unwrap_or_default();
        let of =
            |path: &str| listed.iter().find(|row| row[0].as_str().is_some_and(|found| found.ends_with(path)));
        // Path, type, whether it is deleted, size, time, mode, user and group.
        let expected = json!(["f", false, 500, 0, 0o755, 0, 0]);
        let found = of(&format!("layers/{number}")).and_then(Value::as_array).cloned().unwrap_or_default();
        let right = found.get(1..).is_some_and(|found| found == expected.as_array().unwrap());
        rows.holds(&row, &format!("a row that ends in {expected}"), right, &answer);
        rows.holds(&row, "the other file", of("top").is_some(), &answer);
    }
    let mut broken = Chain::generate(&mut random, Version::V1_9, 1, 500);
    broken.images[0].layer.truncate(100);
    let image = broken.top();
    let push = client(&server, Version::V1_9).begin_push("team/app", &["broken"], &broken).unwrap();
    assert!(push.put_json(image).unwrap());
    push.put_layer(image).unwrap();
    let nobody_knows = format!("tarsum+sha256:{}", "0".repeat(64));
    push.put_checksums(&image.id, &image.payload(), &nobody_knows).unwrap();
    push.put_tag("broken", &image.id).unwrap();
    let files = |id: &str| get(&format!("/v1/images/{id}/files"));
    rows.one_of("no archive", &files(&image.id), &[400, 404, 409, 422]);
    rows.error("unknown", &files(&"0".repeat(64)), 404, "*");
    rows.finish();
    server.stop().verify();
}

/// A name whose tags are all gone, or that never had one.
#[test]
fn section_8_a_name_without_tags() {
    let mut random = Random::from_environment("section_8_a_name_without_tags");
    let server = speaking("V1");
    let rows = Rows::of(wire(&server));
    let chain = Chain::generate(&mut random, Version::V1_9, 1, 500);
    client(&server, Version::V1_9).push("team/app", &["latest"], &chain).unwrap();
    rows.text("delete", &delete("/v1/repositories/team/app/tags/latest"), 200, "true");
    // Whether the name still exists is the server's choice; what it says must fit together.
    let tags = rows.one_of("tags", &get("/v1/repositories/team/app/tags"), &[200, 404]);
    rows.holds("tags", "none", tags.status == 404 || tags.body == b"{}", &tags);
    let images = rows.one_of("images", &get("/v1/repositories/team/app/images"), &[200, 404]);
    rows.holds("images", "none", images.status == 404 || images.body == b"[]", &images);
    rows.holds("images", "as the tags", images.status == tags.status, &images);
    rows.error("tag", &get("/v1/repositories/team/app/tags/latest"), 404, "Tag not found");
    rows.finish();
    server.stop().verify();
}

#[test]
fn section_8_search() {
    const NAMES: usize = 7;
    let mut random = Random::from_environment("section_8_search");
    let server = speaking("V1");
    let rows = Rows::of(wire(&server));
    let chain = Chain::generate(&mut random, Version::V1_9, 1, 100);
    for number in 0..NAMES {
        client(&server, Version::V1_9).push(&format!("team/app{number}"), &["1"], &chain).unwrap();
    }
    client(&server, Version::V1_9).push("ubuntu", &["1"], &chain).unwrap();
    let search = |query: &str| get(&format!("/v1/search?{query}")).header("X-Docker-Token", "true");

    let result = |name: &str| {
        json!({ "name": name, "description": "", "star_count": 0, "is_official": false, "is_trusted": false,
                "is_automated": false })
    };
    let expected = json!({
        "query": "UBU", "num_results": 1, "num_pages": 1, "page": 1, "page_size": 25,
        "results": [result("library/ubuntu")],
    });
    is_for_now(&rows, "found", &rows.json("found", &search("q=UBU"), 200, expected));
    let nothing = json!({
        "query": "zzz", "num_results": 0, "num_pages": 0, "page": 1, "page_size": 25, "results": [],
    });
    let none = rows.status("not found", &search("q=zzz"), 200);
    let mut said = none.json();
    // How many pages nothing has is anybody's guess.
    said["num_pages"] = json!(0);
    rows.holds("not found", "nothing", said == nothing, &none);

    let names = |answer: &Response| -> Vec<String> {
        let results = answer.json()["results"].as_array().cloned().unwrap_or_default();
        results.iter().map(|result| result["name"].as_str().unwrap_or_default().to_owned()).collect()
    };
    let all: Vec<String> = (0..NAMES).map(|number| format!("team/app{number}")).collect();
    for (query, page, size, pages, expected) in [
        ("q=team%2Fapp&n=3", 1, 3, 3, &all[..3]),
        ("q=app&n=3&page=2", 2, 3, 3, &all[3..6]),
        ("q=app&n=3&page=3", 3, 3, 3, &all[6..]),
        ("q=app&n=3&page=4", 4, 3, 3, &[]),
        ("q=app&n=100", 1, 100, 1, &all[..]),
        ("q=app&page=1", 1, 25, 1, &all[..]),
    ] {
        let answer = rows.status(query, &search(query), 200);
        let said = answer.json();
        rows.holds(query, &format!("{expected:?}"), names(&answer) == expected, &answer);
        let numbers = [&said["num_results"], &said["num_pages"], &said["page"], &said["page_size"]];
        let right = numbers == [&json!(NAMES), &json!(pages), &json!(page), &json!(size)];
        rows.holds(query, "the numbers", right, &answer);
    }
    for query in ["q=", "", "n=25"] {
        let answer = rows.status("all", &search(query), 200);
        rows.holds("all", "every name", names(&answer).len() == NAMES + 1, &answer);
    }
    // What is no number, or too large a one, is no reason for anything but an answer.
    for query in [
        "q=app&n=0",
        "q=app&n=101",
        "q=app&n=x",
        "q=app&page=0",
        "q=app&page=-1",
        "q=app&page=99999999999999999999",
        "q=%ff",
        "q=%",
    ] {
        let answer = rows.one_of(query, &search(query), &[200, 400]);
        if answer.status == 200 {
            rows.holds(query, "results", answer.json()["results"].is_array(), &answer);
        }
    }
    rows.finish();
    server.stop().verify();
}
