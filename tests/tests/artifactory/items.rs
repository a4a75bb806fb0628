//! Items and their properties, as the reference's examples ask for them.

use serde_json::json;
use supercargo_tests::{Image, Server};

use crate::{example, example_json, old_server, refusal, texts};

const STORAGE: &str = "http://localhost:8081/artifactory/api/storage/docker-local";

/// A server with `team/app:1.0` and `team/app:2.0`.
fn new_server() -> (Server, Image) {
    let server = Server::start();
    let image = Image::generate(1, 2, 100_000);
    server.client().push_image("team/app", "1.0", &image).unwrap();
    server.client().push_image("team/app", "2.0", &Image::generate(2, 1, 2_000)).unwrap();
    (server, image)
}

fn is_a_time(told: &serde_json::Value) -> bool {
    let bytes = told.as_str().unwrap_or_default().as_bytes();
    bytes.len() == "2016-02-29T23:36:52.345Z".len() && bytes[10] == b'T' && bytes.ends_with(b"Z")
}

#[test]
fn folder_info() {
    let (server, _) = new_server();
    let told = example_json(&server, &format!("curl -u admin:password {STORAGE}/team/app"));
    assert_eq!((&told["repo"], &told["path"]), (&json!("docker-local"), &json!("/team/app")));
    assert_eq!(told["children"], json!([{"uri": "/1.0", "folder": true}, {"uri": "/2.0", "folder": true}]));
    for member in ["created", "lastModified", "lastUpdated"] {
        assert!(is_a_time(&told[member]), "{member}: {told}");
    }
    assert!(told["createdBy"].is_string() && told["modifiedBy"].is_string(), "{told}");
    let root = example_json(&server, &format!("curl -u admin:password {STORAGE}"));
    assert_eq!((&root["path"], texts(&root, "children", "uri")), (&json!("/"), vec!["/team".to_owned()]));
    let (status, body) = example(&server, &format!("curl -u admin:password {STORAGE}/none"));
    assert_eq!((status, refusal(&body)), (404, (404, "Unable to find item".to_owned())));
    server.stop().verify();
}

#[test]
fn file_info() {
    let (server, image) = new_server();
    let layer = image.blobs().last().unwrap();
    let hex = layer.digest.strip_prefix("sha256:").unwrap();
    let told = example_json(&server, &format!("curl -u admin:password {STORAGE}/team/app/1.0/sha256__{hex}"));
    assert_eq!(told["size"], layer.bytes.len().to_string());
    assert_eq!(told["checksums"], told["originalChecksums"]);
    assert_eq!(told["checksums"]["sha256"], hex);
    let lengths = ["md5", "sha1"].map(|hash| told["checksums"][hash].as_str().unwrap().len());
    assert_eq!((lengths, told.get("children")), ([32, 40], None));
    let address = server.address();
    let path = format!("docker-local/team/app/1.0/sha256__{hex}");
    assert_eq!(told["downloadUri"], format!("http://{address}/artifactory/{path}"));
    assert_eq!(told["uri"], format!("http://{address}/artifactory/api/storage/{path}"));
}

#[test]
fn file_list() {
    let (server, _) = new_server();
    let list = |query: &str| {
        let told = example_json(&server, &format!("curl -u admin:password '{STORAGE}/team?list{query}'"));
        assert!(is_a_time(&told["created"]), "{told}");
        told
    };
    assert_eq!(list("")["files"], json!([]));
    assert_eq!(texts(&list("&listFolders=1"), "files", "uri"), ["/app"]);
    let all = list("&deep=1");
    assert_eq!(all["files"].as_array().unwrap().len(), 4 + 3, "{all}");
    for file in all["files"].as_array().unwrap() {
        assert_eq!((&file["folder"], file["sha2"].as_str().unwrap().len()), (&json!(false), 64), "{file}");
        assert!(file["size"].as_i64().unwrap() > 0 && is_a_time(&file["lastModified"]), "{file}");
    }
    let folders = list("&deep=1&depth=2&listFolders=1&mdTimestamps=1&includeRootPath=1");
    assert_eq!(texts(&folders, "files", "uri"), ["/", "/app", "/app/1.0", "/app/2.0"]);
    assert!(folders["files"].as_array().unwrap().iter().all(|folder| folder["size"] == -1), "{folders}");
    let manifest = format!("curl -u admin:password '{STORAGE}/team/app/1.0/manifest.json?list'");
    let (status, body) = example(&server, &manifest);
    let why = "Expected a folder but found a file, at: docker-local:team/app/1.0/manifest.json";
    assert_eq!((status, refusal(&body)), (400, (400, why.to_owned())));
}

#[test]
fn item_properties() {
    let (server, image) = new_server();
    let item = format!("{STORAGE}/team/app/1.0/manifest.json");
    let told = example_json(&server, &format!("curl -u admin:password '{item}?properties'"));
    assert_eq!(told["properties"]["docker.manifest"], json!(["1.0"]));
    assert_eq!(told["properties"]["docker.repoName"], json!(["team/app"]));
    let ask = format!("curl -u admin:password '{item}?properties=docker.manifest.digest,none'");
    let told = example_json(&server, &ask);
    assert_eq!(told["properties"], json!({ "docker.manifest.digest": [image.manifest.digest] }));
    let (status, body) = example(&server, &format!("curl -u admin:password '{STORAGE}/team?properties'"));
    assert_eq!((status, refusal(&body)), (404, (404, "No properties could be found.".to_owned())));
    let (status, _) = example(&server, &format!("curl -u admin:password '{item}?properties&list'"));
    assert_eq!(status, 400);
}

#[test]
fn set_delete_and_update_item_properties() {
    let (server, _) = new_server();
    let folder = format!("{STORAGE}/team/app");
    let own = |path: &str| {
        let ask = format!("curl -u admin:password '{folder}{path}?properties=os,qa,note,new'");
        let (status, body) = example(&server, &ask);
        match status {
            200 => serde_json::from_str::<serde_json::Value>(&body).unwrap()["properties"].clone(),
            _ => json!({}),
        }
    };
    let does = |line: String| {
        let (status, body) = example(&server, &line);
        assert_eq!((status, body.as_str()), (204, ""), "{line}");
    };
    // With everything below it, unless something else is said.
    does(format!("curl -u admin:password -X PUT '{folder}?properties=os=win,linux;qa=done&recursive=1'"));
    let both = json!({ "os": ["win", "linux"], "qa": ["done"] });
    assert_eq!((own(""), own("/1.0"), own("/2.0/manifest.json")), (both.clone(), both.clone(), both));
    does(format!(
        "curl -u admin:password -X PUT '{folder}/1.0?properties=note=a%5C,b%5C=c%7Cqa=no&recursive=0'"
    ));
    assert_eq!(own("/1.0"), json!({ "os": ["win", "linux"], "qa": ["no"], "note": ["a,b=c"] }));
    assert_eq!(own("/1.0/manifest.json")["qa"], json!(["done"]));
    does(format!("curl -u admin:password -X DELETE '{folder}?properties=os,none&recursive=1'"));
    assert_eq!((own(""), own("/2.0/manifest.json")), (json!({ "qa": ["done"] }), json!({ "qa": ["done"] })));
    let metadata = "http://localhost:8081/artifactory/api/metadata/docker-local/team/app";
    let body = r#"{"props":{"new":["x","y"],"qa":"again","os":null}}"#;
    does(format!(
        "curl -u admin:password -X PATCH -H 'Content-Type: application/json' -d '{body}' \
         '{metadata}?recursiveProperties=0'"
    ));
    assert_eq!(own(""), json!({ "new": ["x", "y"], "qa": ["again"] }));
    assert_eq!(own("/2.0"), json!({ "qa": ["done"] }));
    does(format!(
        "curl -u admin:password -X PATCH -d '{{\"props\":{{\"qa\":null}}}}' '{metadata}?atomicProperties=0'"
    ));
    assert_eq!((own(""), own("/2.0/manifest.json")), (json!({ "new": ["x", "y"] }), json!({})));
    server.stop().verify();
}

#[test]
fn item_statistics() {
    let (server, _) = new_server();
    let ask = format!("curl -u admin:password '{STORAGE}/team/app/1.0/manifest.json?stats'");
    let told = example_json(&server, &ask);
    assert_eq!((&told["downloadCount"], &told["remoteDownloadCount"]), (&json!(0), &json!(0)));
}

#[test]
fn retrieve_artifact() {
    let (server, image) = new_server();
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("layer");
    let layer = image.blobs().last().unwrap();
    let hex = layer.digest.strip_prefix("sha256:").unwrap();
    let url = format!("http://localhost:8081/artifactory/docker-local/team/app/1.0/sha256__{hex}");
    let get =
        |more: &str| example(&server, &format!("curl -u admin:password -o {} {more} {url}", to.display()));
    assert_eq!(get("").0, 200);
    assert_eq!(std::fs::read(&to).unwrap(), *layer.bytes);
    assert_eq!(get("-r 10-19").0, 206);
    assert_eq!(std::fs::read(&to).unwrap(), layer.bytes[10..20]);
    assert_eq!(get("-H 'Range: bytes=-5'").0, 206);
    assert_eq!(std::fs::read(&to).unwrap(), layer.bytes[layer.bytes.len() - 5..]);
    assert_eq!(get(&format!("-r {}-", layer.bytes.len())).0, 416);
    let (status, headers) = example(&server, &format!("curl -u admin:password -I {url}"));
    let header = |name: &str| {
        let lines = headers.lines().filter_map(|line| line.split_once(':'));
        let mut found =
            lines.filter(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim());
        found.next_back().unwrap_or_else(|| panic!("no {name}: {headers}")).to_owned()
    };
    let told = example_json(&server, &format!("curl {STORAGE}/team/app/1.0/sha256__{hex}"));
    assert_eq!((status, header("Content-Length")), (200, layer.bytes.len().to_string()));
    for (name, hash) in
        [("X-Checksum-Sha256", "sha256"), ("X-Checksum-Sha1", "sha1"), ("X-Checksum-Md5", "md5")]
    {
        assert_eq!(told["checksums"][hash], header(name), "{name}");
    }
    assert_eq!(get(&format!("-H 'If-None-Match: {}'", header("ETag"))).0, 304);
    let (status, body) = example(&server, &format!("curl -u admin:password -T {} {url}", to.display()));
    assert_eq!((status, refusal(&body).0), (409, 409));
}

#[test]
fn a_v1_repositorys_folders_and_properties() {
    let (server, _, chain) = old_server();
    let tag = "repositories/jfrog/ubuntu/12.04/tag.json";
    let told = example_json(&server, &format!("curl -u admin:password '{STORAGE}/{tag}?properties'"));
    let expected = json!({
        "docker.repoName": ["jfrog/ubuntu"], "docker.tag.content": [chain.id()], "docker.tag.name": ["12.04"],
    });
    assert_eq!(told["properties"], expected);
    let image = format!(".images/{}/{}", &chain.id()[..2], chain.id());
    let told =
        example_json(&server, &format!("curl -u admin:password '{STORAGE}/{image}/layer.tar?properties'"));
    let size = chain.top().layer.len().to_string();
    assert_eq!(told["properties"], json!({ "docker.imageId": [chain.id()], "docker.size": [size] }));
    // What a tag is set to can be edited; only to what is there.
    let base = &chain.images[0].id;
    let set = |id: &str| {
        let put =
            format!("curl -u admin:password -X PUT '{STORAGE}/{tag}?properties=docker.tag.content={id}'");
        example(&server, &put).0
    };
    assert_eq!((set(&"0".repeat(64)), set(base)), (400, 204));
    let tags = example_json(
        &server,
        "curl http://localhost:8081/artifactory/api/docker/docker-local/v1/repositories/jfrog/ubuntu/tags",
    );
    assert_eq!(tags, json!({ "12.04": base, "latest": chain.id() }));
    server.stop().verify();
}
