//! Items of trees, their properties and their files: what is shown, what is changed, and for whom.

use futures_util::stream;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use supercargo_eventlog::DockerApiVersion;
use supercargo_model::account::{Actions, Grantee, UserName};
use supercargo_model::{Algorithm, Digest, ImageId, Reference, RepoName, Tag, media_type};
use supercargo_registry::ManifestPush;
use supercargo_registry::v1::Viewer;

use super::support::*;
use crate::*;

const STORAGE: &str = "api/storage/docker-local";
const RAW: &str = "docker-local";

fn digest(bytes: &[u8]) -> Digest {
    Digest::sha256(Sha256::digest(bytes).into())
}

/// Larger than what is kept beside the tables.
fn large() -> Vec<u8> {
    (0..100_000_u32).flat_map(u32::to_le_bytes).collect()
}

impl Fixture {
    async fn push_blob(&self, name: &RepoName, bytes: Vec<u8>) -> Digest {
        let digest = digest(&bytes);
        let id = self.registry.start_upload(&system(), &key(), name, Algorithm::Sha256).await.unwrap();
        let body = stream::iter([Ok(Bytes::from(bytes))]);
        self.registry.finish_upload(&system(), &key(), name, id, digest, None, body).await.unwrap();
        digest
    }

    /// An image of one layer with a label; the digests of its manifest, config and layer.
    pub(super) async fn push_image(&self, name: &str, tag: &str, layer: Vec<u8>) -> [Digest; 3] {
        let (name, tag) = (RepoName::parse(name).unwrap(), Tag::parse(tag).unwrap());
        let config = br#"{"architecture":"amd64","os":"linux","config":{"Labels":{"team":"blue"}},"rootfs":{"type":"layers","diff_ids":[]}}"#;
        let sizes = (config.len(), layer.len());
        let config = self.push_blob(&name, config.to_vec()).await;
        let layer = self.push_blob(&name, layer).await;
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": media_type::OCI_MANIFEST,
            "config": { "mediaType": media_type::OCI_CONFIG, "digest": config, "size": sizes.0 },
            "layers": [{ "mediaType": media_type::OCI_LAYER_GZIP, "digest": layer, "size": sizes.1 }],
        });
        let bytes = Bytes::from(manifest.to_string());
        let pushed = digest(&bytes);
        let push = ManifestPush::new(Reference::Tag(tag), media_type::OCI_MANIFEST, bytes);
        self.registry.push_manifest(&system(), &key(), &name, push).await.unwrap();
        [pushed, config, layer]
    }

    /// A V1 image whose id is this byte, made from another, and a tag on it.
    pub(super) async fn push_v1(&self, name: &str, tag: &str, id: u8, parent: Option<u8>) -> ImageId {
        let (name, tag) = (RepoName::parse(name).unwrap(), Tag::parse(tag).unwrap());
        let image = ImageId::from_bytes([id; 32]);
        let parent = parent.map_or_else(String::new, |parent| {
            format!(r#""parent":"{}","#, ImageId::from_bytes([parent; 32]))
        });
        let json = Bytes::from(format!(r#"{{"id":"{image}",{parent}"created":"2014-05-13T16:53:20Z"}}"#));
        let layer = Bytes::from(format!("layer {id}"));
        let caller = system();
        let all = |_: &RepoName| true;
        let viewer = Viewer { caller: &caller, name: Some(&name), may_read: &all, may_write: &all };
        let registry = &self.registry;
        if registry.v1_image(&key(), viewer, &image).await.is_err() {
            let checksum = digest(&[&json[..], b"\n", &layer[..]].concat());
            registry.v1_put_json(&key(), viewer, "s", &image, json).await.unwrap();
            registry.v1_put_layer(&key(), viewer, "s", &image, stream::iter([Ok(layer)])).await.unwrap();
            registry.v1_put_checksum(&key(), viewer, "s", &image, checksum, None).await.unwrap();
        }
        registry.v1_set_tag(&key(), viewer, &name, &tag, &image).await.unwrap();
        image
    }

    async fn properties(&self, path: &str) -> Value {
        let answer = self.ask("GET", &format!("{STORAGE}/{path}?properties")).await;
        match answer.status {
            200 => answer.json()["properties"].clone(),
            _ => {
                assert_eq!(answer.error(), (404, "No properties could be found.".to_owned()));
                json!({})
            }
        }
    }

    #[track_caller]
    fn children(answer: &Answer) -> Vec<String> {
        let children = answer.json()["children"].clone();
        let children = children.as_array().unwrap().iter();
        let text = |child: &Value| {
            format!("{}{}", child["uri"].as_str().unwrap(), if child["folder"] == true { "/" } else { "" })
        };
        children.map(text).collect()
    }

    async fn deep(&self, path: &str, more: &str) -> Vec<String> {
        let answer = self.ask("GET", &format!("{STORAGE}{path}?list&deep=1{more}")).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let files = answer.json()["files"].clone();
        files.as_array().unwrap().iter().map(|file| file["uri"].as_str().unwrap().to_owned()).collect()
    }
}

#[tokio::test]
async fn a_folder_says_what_is_in_it_folders_first() {
    let fixture = Fixture::open(DockerApiVersion::V2).await;
    let [_, config, layer] = fixture.push_image("team/app", "v1", b"layer".to_vec()).await;
    fixture.push_image("team/app", "v2", b"layer".to_vec()).await;
    let answer = fixture.ask("GET", STORAGE).await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.header("content-type"),
        "application/vnd.org.jfrog.artifactory.storage.FolderInfo+json"
    );
    let told = answer.json();
    assert_eq!((&told["repo"], &told["path"]), (&json!("docker-local"), &json!("/")));
    assert_eq!(told["uri"], "http://registry.example:8081/artifactory/api/storage/docker-local");
    assert_eq!(Fixture::children(&answer), ["/team/"]);
    assert!(told["created"].as_str().unwrap().ends_with('Z') && told.get("createdBy").is_none());

    let app = fixture.ask("GET", &format!("{STORAGE}/team/app/")).await;
    assert_eq!(Fixture::children(&app), ["/v1/", "/v2/"]);
    assert_eq!((&app.json()["path"], &app.json()["createdBy"]), (&json!("/team/app"), &json!("_system_")));
    let tag = fixture.ask("GET", &format!("{STORAGE}/team/app/v1")).await;
    let mut files = vec!["/manifest.json".to_owned()];
    let mut blobs = [config, layer].map(|digest| format!("/sha256__{}", digest.hex()));
    blobs.sort();
    files.extend(blobs);
    assert_eq!(Fixture::children(&tag), files);
}

#[tokio::test]
async fn pages_of_a_folder_say_where_the_next_is() {
    let fixture = Fixture::open(DockerApiVersion::V2).await;
    for tag in ["a", "b", "c"] {
        fixture.push("app", tag).await;
    }
    let first = fixture.ask("GET", &format!("{STORAGE}/app?n=2")).await;
    assert_eq!(Fixture::children(&first), ["/a/", "/b/"]);
    let link = first.header("link").to_owned();
    let next =
        link.strip_prefix("<http://registry.example:8081/artifactory/").and_then(|link| link.split_once('>'));
    let (next, rel) = next.unwrap();
    assert_eq!(rel, "; rel=\"next\"");
    let second = fixture.ask("GET", next).await;
    assert_eq!((Fixture::children(&second), second.header("link")), (vec!["/c/".to_owned()], ""));
    assert_eq!(fixture.ask("GET", &format!("{STORAGE}/app?n=0")).await.error().0, 400);
    // As many as there are tags, files after them.
    let tag = fixture.ask("GET", &format!("{STORAGE}/app/a?n=1&last=list.manifest.json")).await;
    assert_eq!(Fixture::children(&tag), Vec::<String>::new());
}

#[tokio::test]
async fn a_file_says_its_size_and_checksums() {
    let fixture = Fixture::open(DockerApiVersion::V2).await;
    let [manifest, _, layer] = fixture.push_image("app", "v1", large()).await;
    let answer = fixture.ask("GET", &format!("{STORAGE}/app/v1/manifest.json")).await;
    assert_eq!(answer.header("content-type"), "application/vnd.org.jfrog.artifactory.storage.FileInfo+json");
    let told = answer.json();
    assert_eq!(
        told["downloadUri"],
        "http://registry.example:8081/artifactory/docker-local/app/v1/manifest.json"
    );
    assert_eq!(told["mimeType"], "application/json");
    assert_eq!(told["checksums"]["sha256"], manifest.hex());
    assert_eq!(told["checksums"], told["originalChecksums"]);
    assert!(told.get("children").is_none() && told["size"].is_string());

    // Of what is large they are found out once, and remembered.
    let path = format!("{STORAGE}/app/v1/sha256__{}", layer.hex());
    let before = fixture.records();
    let told = fixture.ask("GET", &path).await.json();
    assert_eq!(told["size"], "400000");
    assert_eq!(told["checksums"]["sha1"], "f2bc7e5ba52b3ca3ffc9d54c490521d15c57cb5c");
    assert_eq!(told["checksums"]["md5"], "759b667ca712df5f43993b6618607e3b");
    assert_eq!(fixture.records(), before + 1);
    assert_eq!(fixture.ask("GET", &path).await.json()["checksums"], told["checksums"]);
    assert_eq!(fixture.records(), before + 1);
}

#[tokio::test]
async fn a_search_tells_of_an_item_what_the_item_tells_of_itself() {
    let new = Fixture::open(DockerApiVersion::V2).await;
    new.push_image("team/app", "v1", b"layer".to_vec()).await;
    let old = Fixture::open(DockerApiVersion::V1).await;
    old.push_v1("team/app", "1", 1, None).await;
    let detail = [("x-result-detail", "info")];
    let mut seen = std::collections::BTreeSet::new();
    for (fixture, name) in [(&new, "*.json"), (&new, "sha256__*"), (&old, "*.json"), (&old, "layer.tar")] {
        let found = fixture.send("GET", &format!("api/search/artifact?name={name}"), &detail, "").await;
        for told in found.json()["results"].as_array().unwrap() {
            let uri = told["uri"].as_str().unwrap().split_once("/artifactory/").unwrap().1;
            assert_eq!(*told, fixture.ask("GET", uri).await.json(), "{uri}");
            seen.insert(uri.rsplit('/').next().unwrap().split("__").next().unwrap().to_owned());
        }
    }
    let files =
        ["_checksum.json", "_index_images.json", "ancestry.json", "json.json", "layer.tar", "manifest.json"];
    assert_eq!(seen, [&files[..], &["sha256", "tag.json"]].concat().into_iter().map(str::to_owned).collect());
}

#[tokio::test]
async fn what_says_what_is_there_may_be_written_back() {
    let fixture = Fixture::open(DockerApiVersion::V2).await;
    fixture.push_image("team/app", "v1", b"layer".to_vec()).await;
    let mut properties = fixture.properties("team/app/v1/manifest.json").await;
    let patch = "api/metadata/docker-local/team/app/v1/manifest.json";
    let before = fixture.records();
    let body = json!({ "props": properties }).to_string();
    assert_eq!((fixture.put_as("", "PATCH", patch, body).await.status, fixture.records()), (204, before));
    properties["docker.manifest"] = json!(["v2"]);
    properties["own"] = json!(["x"]);
    let refused = fixture.put_as("", "PATCH", patch, json!({ "props": properties }).to_string()).await;
    assert_eq!((refused.error().0, fixture.records()), (400, before));
    properties["docker.manifest"] = json!(["v1"]);
    let body = json!({ "props": properties }).to_string();
    assert_eq!(fixture.put_as("", "PATCH", patch, body).await.status, 204);
    assert_eq!(fixture.properties("team/app/v1/manifest.json").await, properties);
}

#[tokio::test]
async fn a_list_is_as_deep_as_it_is_asked_for() {
    let fixture = Fixture::open(DockerApiVersion::V2).await;
    fixture.push("team/app", "v1").await;
    fixture.push("top", "v1").await;
    let list = |query: &str| format!("{STORAGE}?list{query}");
    let answer = fixture.ask("GET", &list("&listFolders=1")).await;
    assert_eq!(answer.header("content-type"), "application/vnd.org.jfrog.artifactory.storage.FileList+json");
    let told = answer.json();
    assert_eq!(told["files"][0]["uri"], "/team");
    assert_eq!((&told["files"][0]["size"], &told["files"][0]["folder"]), (&json!(-1), &json!(true)));
    assert_eq!(fixture.ask("GET", &list("")).await.json()["files"], json!([]));
    let file = "/list.manifest.json";
    assert_eq!(fixture.deep("", "").await, [format!("/team/app/v1{file}"), format!("/top/v1{file}")]);
    assert_eq!(fixture.deep("", "&depth=2&listFolders=1").await, ["/team", "/team/app", "/top", "/top/v1"]);
    assert_eq!(fixture.deep("/team", "&includeRootPath=1").await, ["/".to_owned(), format!("/app/v1{file}")]);
    let listed = fixture.ask("GET", &list("&deep=1&mdTimestamps=1")).await.json()["files"][0].clone();
    assert_eq!(listed["sha2"].as_str().unwrap().len(), 64);
    assert_eq!(listed["sha1"].as_str().unwrap().len(), 40);
    assert!(listed["mdTimestamps"]["properties"].is_string());
    let refused = fixture.ask("GET", &format!("{STORAGE}/top/v1{file}?list")).await;
    let message = format!("Expected a folder but found a file, at: docker-local:top/v1{file}");
    assert_eq!(refused.error(), (400, message));
    assert_eq!(fixture.ask("GET", &list("&deep=yes")).await.error().0, 400);
}

#[tokio::test]
async fn one_thing_is_asked_at_a_time_of_what_is_there() {
    let fixture = Fixture::open(DockerApiVersion::V2).await;
    fixture.push("app", "v1").await;
    for query in ["list&properties", "properties&stats", "stats&list"] {
        assert_eq!(fixture.ask("GET", &format!("{STORAGE}/app?{query}")).await.error().0, 400, "{query}");
    }
    for path in ["nothing", "app/v2", "app/v1/manifest.json", "app/..", "a//b", "app/v1/list.manifest.json/x"]
    {
        for query in ["", "?list", "?properties", "?stats"] {
            let answer = fixture.ask("GET", &format!("{STORAGE}/{path}{query}")).await;
            assert_eq!(answer.error(), (404, "Unable to find item".to_owned()), "{path}{query}");
        }
    }
    assert_eq!(fixture.ask("GET", "api/storage/nowhere").await.error().0, 404);
    let stats = fixture.ask("GET", &format!("{STORAGE}/app/v1/list.manifest.json?stats")).await.json();
    assert_eq!((&stats["downloadCount"], &stats["remoteDownloadCount"]), (&json!(0), &json!(0)));
}

#[tokio::test]
async fn derived_properties_of_manifests() {
    let fixture = Fixture::open(DockerApiVersion::V2).await;
    let [manifest, ..] = fixture.push_image("team/app", "v1", b"layer".to_vec()).await;
    let mut properties = fixture.properties("team/app/v1/manifest.json").await;
    // Read of the config as the manifest is pushed.
    properties.as_object_mut().unwrap().remove("docker.label.team");
    let expected = json!({
        "docker.manifest": ["v1"],
        "docker.manifest.digest": [manifest.to_string()],
        "docker.manifest.type": [media_type::OCI_MANIFEST],
        "docker.repoName": ["team/app"],
        "sha256": [manifest.hex()],
    });
    assert_eq!(properties, expected);
    let named =
        fixture.ask("GET", &format!("{STORAGE}/team/app/v1/manifest.json?properties=sha256,other")).await;
    assert_eq!(named.json()["properties"], json!({ "sha256": [manifest.hex()] }));
    assert_eq!(fixture.properties("team/app/v1").await, json!({}));
}

#[tokio::test]
async fn a_v1_repository_has_its_own_layout_and_properties() {
    let fixture = Fixture::open(DockerApiVersion::V1).await;
    let base = fixture.push_v1("ubuntu", "base", 1, None).await;
    let top = fixture.push_v1("ubuntu", "12.04", 2, Some(1)).await;
    let folder = |id: &ImageId| format!(".images/{}/{id}", &id.to_string()[..2]);
    let mut expected = vec![];
    for id in [&base, &top] {
        expected.extend(
            ["_checksum.json", "ancestry.json", "json.json", "layer.tar"]
                .map(|file| format!("/{}/{file}", folder(id))),
        );
    }
    expected.extend(
        ["12.04/tag.json", "_index_images.json", "base/tag.json"]
            .map(|file| format!("/repositories/library/ubuntu/{file}")),
    );
    assert_eq!(fixture.deep("", "").await, expected);

    let image = folder(&top);
    let of_image = json!({ "docker.imageId": [top.to_string()], "docker.size": ["7"] });
    for file in ["json.json", "layer.tar"] {
        assert_eq!(fixture.properties(&format!("{image}/{file}")).await, of_image);
    }
    for file in ["ancestry.json", "_checksum.json"] {
        assert_eq!(fixture.properties(&format!("{image}/{file}")).await, json!({}));
    }
    let of_tag = json!({
        "docker.tag.name": ["12.04"], "docker.tag.content": [top.to_string()], "docker.repoName": ["library/ubuntu"],
    });
    assert_eq!(fixture.properties("repositories/library/ubuntu/12.04/tag.json").await, of_tag);
    assert_eq!(
        fixture.properties("repositories/library/ubuntu").await,
        json!({ "docker.repoName": ["library/ubuntu"] })
    );

    let read = async |path: &str| fixture.ask("GET", &format!("{RAW}/{path}")).await;
    assert_eq!(read(&format!("{image}/layer.tar")).await.text(), "layer 2");
    assert!(read(&format!("{image}/json.json")).await.text().starts_with(&format!(r#"{{"id":"{top}""#)));
    assert_eq!(read(&format!("{image}/ancestry.json")).await.json(), json!([top, base]));
    assert_eq!(read(&format!("{image}/_checksum.json")).await.json().as_array().unwrap().len(), 1);
    assert_eq!(read("repositories/library/ubuntu/12.04/tag.json").await.json()["arch"], "amd64");
    let index = read("repositories/library/ubuntu/_index_images.json").await.json();
    assert_eq!(index.as_array().unwrap().len(), 2);

    // The tag moves where its property is set, and nowhere else.
    let tag = format!("{STORAGE}/repositories/library/ubuntu/12.04/tag.json");
    let set = async |path: &str, id: &str| {
        fixture.ask("PUT", &format!("{path}?properties=docker.tag.content={id}")).await
    };
    assert_eq!(set(&tag, &"9".repeat(64)).await.error().0, 400);
    assert_eq!(set(&tag, "x").await.error().0, 400);
    assert_eq!(set(STORAGE, &base.to_string()).await.error().0, 400);
    assert_eq!(set(&tag, &base.to_string()).await.status, 204);
    let moved = fixture.properties("repositories/library/ubuntu/12.04/tag.json").await;
    assert_eq!(moved["docker.tag.content"], json!([base.to_string()]));
}

#[tokio::test]
async fn properties_are_set_on_what_is_below_and_go_with_what_they_are_about() {
    let fixture = Fixture::open(DockerApiVersion::V2).await;
    fixture.push_image("team/app", "v1", b"one".to_vec()).await;
    let set = async |path: &str, query: &str| {
        fixture.ask("PUT", &format!("{STORAGE}/{path}?properties={query}")).await
    };
    assert_eq!(set("team", "state=a%5C,b,c;who=ann%7Cwhen=now").await.status, 204);
    let expected = json!({ "state": ["a,b", "c"], "who": ["ann"], "when": ["now"] });
    for path in ["team", "team/app", "team/app/v1"] {
        assert_eq!(fixture.properties(path).await, expected, "{path}");
    }
    assert_eq!(fixture.properties("team/app/v1/manifest.json").await["state"], json!(["a,b", "c"]));
    assert_eq!(set("team/app", "state=x&recursive=0").await.status, 204);
    assert_eq!(fixture.properties("team/app").await["state"], json!(["x"]));
    assert_eq!(fixture.properties("team/app/v1").await["state"], json!(["a,b", "c"]));
    let gone = fixture.ask("DELETE", &format!("{STORAGE}/team/app?properties=who,when")).await;
    assert_eq!(gone.status, 204);
    assert_eq!(fixture.properties("team/app/v1").await, json!({ "state": ["a,b", "c"] }));
    assert_eq!(fixture.properties("team").await, expected);
    assert_eq!(set("", "owner=us&recursive=0").await.status, 204);
    assert_eq!(fixture.properties("").await, json!({ "owner": ["us"] }));

    for bad in ["", "x", "a%20b=1", "a%2Fb=1", "docker.size=1", "sha256=1", "docker.label.x=1", "=1"] {
        assert_eq!(set("team", bad).await.error().0, 400, "{bad}");
    }
    assert_eq!(set("team", &format!("a={}", "x".repeat(2401))).await.error().0, 400);
    assert_eq!(set("nothing", "a=1").await.error().0, 404);
    assert_eq!(fixture.ask("DELETE", &format!("{STORAGE}/team?properties=sha256")).await.error().0, 400);

    // The same again changes nothing.
    let before = fixture.records();
    assert_eq!(set("team/app", "state=x&recursive=0").await.status, 204);
    assert_eq!(fixture.records(), before);

    // What was said of a file is not true of what the tag points to now; of the folder it may be.
    fixture.push_image("team/app", "v1", b"two".to_vec()).await;
    assert!(fixture.properties("team/app/v1/manifest.json").await.get("state").is_none());
    assert_eq!(fixture.properties("team/app/v1").await, json!({ "state": ["a,b", "c"] }));
}

#[tokio::test]
async fn metadata_is_updated_on_all_or_nothing() {
    let fixture = Fixture::open(DockerApiVersion::V2).await;
    fixture.push("app", "v1").await;
    let patch = async |query: &str, body: Value| {
        fixture.put_as("", "PATCH", &format!("api/metadata/docker-local/app{query}"), body.to_string()).await
    };
    let done = patch("", json!({ "props": { "a": "1,2", "b": ["x", "y"] } })).await;
    assert_eq!(done.status, 204);
    assert_eq!(fixture.properties("app/v1").await, json!({ "a": ["1,2"], "b": ["x", "y"] }));
    assert_eq!(
        patch("?recursiveProperties=0&atomicProperties=0", json!({ "props": { "a": null } })).await.status,
        204
    );
    assert_eq!(fixture.properties("app").await, json!({ "b": ["x", "y"] }));
    assert_eq!(fixture.properties("app/v1").await, json!({ "a": ["1,2"], "b": ["x", "y"] }));
    for bad in [
        json!({}),
        json!([]),
        json!({ "props": { "a": 1 } }),
        json!({ "props": { "a b": "1" } }),
        json!({ "props": { "a": [] } }),
    ] {
        assert_eq!(patch("", bad.clone()).await.error().0, 400, "{bad}");
    }
}

#[tokio::test]
async fn files_are_read_whole_and_in_part() {
    let fixture = Fixture::open(DockerApiVersion::V2).await;
    let [_, _, layer] = fixture.push_image("app", "v1", large()).await;
    let path = format!("{RAW}/app/v1/sha256__{}", layer.hex());
    let whole = fixture.ask("GET", &path).await;
    assert_eq!((whole.status, whole.body.len()), (200, 400_000));
    assert_eq!(whole.header("etag"), format!("\"{}\"", layer.hex()));
    assert_eq!(whole.header("x-checksum-sha256"), layer.hex());
    assert_eq!(whole.header("accept-ranges"), "bytes");
    let name = format!("sha256__{}", layer.hex());
    assert_eq!(
        whole.header("content-disposition"),
        format!("attachment; filename=\"{name}\"; filename*=UTF-8''{name}")
    );
    let part = fixture.send("GET", &path, &[("range", "bytes=4-7")], axum::body::Body::empty()).await;
    assert_eq!((part.status, &part.body[..]), (206, &1_u32.to_le_bytes()[..]));
    assert_eq!(part.header("content-range"), "bytes 4-7/400000");
    let beyond = fixture.send("GET", &path, &[("range", "bytes=400000-")], axum::body::Body::empty()).await;
    assert_eq!((beyond.status, beyond.header("content-range")), (416, "bytes */400000"));
    let etag = whole.header("etag");
    let cached = fixture.send("GET", &path, &[("if-none-match", etag)], axum::body::Body::empty()).await;
    assert_eq!((cached.status, cached.body.len()), (304, 0));
    let head = fixture.ask("HEAD", &path).await;
    assert_eq!((head.status, head.header("content-length")), (200, "400000"));
    assert_eq!((head.header("x-checksum-md5").len(), head.header("x-checksum-sha1").len()), (32, 40));

    assert_eq!(
        fixture.ask("GET", &format!("{RAW}/app/v1/nothing")).await.error(),
        (404, "File not found.".to_owned())
    );
    assert_eq!(fixture.ask("GET", &format!("{RAW}/app/v1")).await.error().0, 400);
    assert_eq!(fixture.send("PUT", &format!("{RAW}/app/v1/x"), &[], "bytes").await.error().0, 409);
}

#[tokio::test]
async fn what_is_deleted_by_its_path_is_gone() {
    let fixture = Fixture::open(DockerApiVersion::V2).await;
    let [_, config, _] = fixture.push_image("team/app", "v1", b"one".to_vec()).await;
    fixture.push_image("team/app", "v2", b"one".to_vec()).await;
    fixture.push("team/app/sub", "v1").await;
    let delete = async |path: &str| fixture.ask("DELETE", &format!("{RAW}/{path}")).await;
    assert_eq!(delete(&format!("team/app/v1/sha256__{}", config.hex())).await.error().0, 409);
    assert_eq!(delete("").await.error().0, 400);
    assert_eq!(delete("team/nothing").await.error(), (404, "Unable to find item".to_owned()));
    let deleted = delete("team/app/v1").await;
    assert_eq!(deleted.status, 204);
    assert!(deleted.header("warning").contains("by the next collection"), "{:?}", deleted.headers);
    assert_eq!(fixture.ask("GET", &format!("{STORAGE}/team/app/v1")).await.status, 404);
    assert_eq!(delete("team/app/v2/manifest.json").await.status, 204);
    assert_eq!(fixture.deep("", "").await, ["/team/app/sub/v1/list.manifest.json"]);
    assert_eq!(delete("team").await.status, 204);
    assert_eq!(Fixture::children(&fixture.ask("GET", STORAGE).await), Vec::<String>::new());
    let before = fixture.records();
    assert_eq!(delete("team").await.status, 404);
    assert_eq!(fixture.records(), before);
}

#[tokio::test]
async fn v1_images_stay_while_a_tag_needs_them() {
    let fixture = Fixture::open(DockerApiVersion::V1).await;
    let base = fixture.push_v1("a/b", "base", 1, None).await;
    let top = fixture.push_v1("a/b", "top", 2, Some(1)).await;
    fixture.push_v1("ubuntu", "x", 1, None).await;
    let folder = |id: &ImageId| format!(".images/{}/{id}", &id.to_string()[..2]);
    let delete = async |path: &str| fixture.ask("DELETE", &format!("{RAW}/{path}")).await;
    let before = fixture.records();
    for path in
        [folder(&base), format!("{}/json.json", folder(&top)), ".images".to_owned(), ".images/01".to_owned()]
    {
        assert_eq!(delete(&path).await.error().0, 409, "{path}");
    }
    assert_eq!(delete("repositories/a/b/_index_images.json").await.error().0, 409);
    assert_eq!(fixture.records(), before);
    assert_eq!(delete("repositories/a/b/top").await.status, 204);
    assert_eq!(delete(&folder(&base)).await.error().0, 409);
    assert_eq!(delete(&folder(&top)).await.status, 204);
    assert_eq!(fixture.ask("GET", &format!("{STORAGE}/{}", folder(&top))).await.status, 404);
    assert_eq!(delete("repositories/a").await.status, 204);
    assert_eq!(delete("repositories/library/ubuntu/x/tag.json").await.status, 204);
    assert_eq!(delete(".images").await.status, 204);
    assert_eq!(fixture.deep("", "").await, Vec::<String>::new());
}

#[tokio::test]
async fn rights_decide_what_is_there_and_what_changes() {
    let fixture = Fixture::with_accounts(DockerApiVersion::V2).await;
    for name in ["team/app", "other/app"] {
        fixture.push(name, "v1").await;
    }
    let seen = fixture.ask_as("reader", "GET", STORAGE).await;
    assert_eq!(Fixture::children(&seen), ["/team/"]);
    assert_eq!(Fixture::children(&fixture.ask_as("root", "GET", STORAGE).await), ["/other/", "/team/"]);
    let listed = fixture.ask_as("reader", "GET", &format!("{STORAGE}?list&deep=1")).await.json();
    assert_eq!(listed["files"].as_array().unwrap().len(), 1);
    for path in ["other", "other/app/v1/list.manifest.json"] {
        for path in [format!("{STORAGE}/{path}"), format!("{STORAGE}/{path}?properties")] {
            assert_eq!(fixture.ask_as("reader", "GET", &path).await.error().0, 404, "{path}");
            assert_eq!(fixture.ask_as("", "GET", &path).await.error().0, 401, "{path}");
        }
    }
    assert_eq!(fixture.ask_as("stranger", "GET", STORAGE).await.error().0, 404);
    let file = "team/app/v1/list.manifest.json";
    assert_eq!(fixture.ask_as("reader", "GET", &format!("{RAW}/{file}")).await.status, 200);
    assert_eq!(fixture.ask_as("", "GET", &format!("{RAW}/{file}")).await.error().0, 401);

    let before = fixture.records();
    let set = format!("{STORAGE}/team/app?properties=a=1");
    assert_eq!(fixture.ask_as("reader", "PUT", &set).await.error().0, 403);
    assert_eq!(fixture.ask_as("deleter", "PUT", &set).await.error().0, 403);
    assert_eq!(fixture.ask_as("stranger", "PUT", &set).await.error().0, 404);
    assert_eq!(
        fixture.ask_as("writer", "PUT", &format!("{STORAGE}/other?properties=a=1")).await.error().0,
        404
    );
    assert_eq!(fixture.ask_as("writer", "DELETE", &format!("{RAW}/team/app/v1")).await.error().0, 403);
    assert_eq!(fixture.ask_as("deleter", "DELETE", &format!("{RAW}/other/app/v1")).await.error().0, 404);
    assert_eq!(fixture.ask_as("", "DELETE", &format!("{RAW}/team/app/v1")).await.error().0, 401);
    assert_eq!(fixture.records(), before);
    assert_eq!(fixture.ask_as("writer", "PUT", &set).await.status, 204);
    assert_eq!(fixture.ask_as("deleter", "DELETE", &format!("{RAW}/team/app/v1")).await.status, 204);
}

#[tokio::test]
async fn properties_are_set_on_more_than_is_held_at_a_time_or_on_nothing() {
    let fixture = Fixture::with_accounts(DockerApiVersion::V2).await;
    for tag in 0..600 {
        fixture.push("big/a", &format!("t{tag}")).await;
    }
    fixture.push("big/z", "v1").await;
    let writer = Grantee::User(UserName::parse("writer").unwrap());
    let write = Actions::READ.or(Actions::WRITE);
    for (names, actions) in [("big", write), ("big/a", write), ("big/z", Actions::READ)] {
        fixture.permit(writer.clone(), names, actions).await;
    }
    let set = format!("{STORAGE}/big?properties=checked=yes");
    let before = fixture.records();
    assert_eq!(fixture.ask_as("writer", "PUT", &set).await.error().0, 403);
    assert_eq!(fixture.records(), before, "the last of it is not theirs");
    fixture.permit(writer, "big/z", write).await;
    let before = fixture.records();
    assert_eq!(fixture.ask_as("writer", "PUT", &set).await.status, 204);
    // Of each tag a folder and a file, the folders of both names, and that of what they begin with.
    assert_eq!(fixture.records() - before, 2 * 601 + 3);
    for path in ["big", "big/a/t599/list.manifest.json", "big/z/v1"] {
        let said = fixture.ask_as("root", "GET", &format!("{STORAGE}/{path}?properties=checked")).await;
        assert_eq!(said.json()["properties"], json!({ "checked": ["yes"] }), "{path}");
    }
}
