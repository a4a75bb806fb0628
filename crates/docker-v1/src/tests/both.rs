//! A repository that speaks both protocols: what V2 clients pushed, as V1 clients find it, and the other way round.

use axum::body::Body;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use supercargo_eventlog::DockerApiVersion;
use tower::ServiceExt;

use super::support::{Fixture, id};
use crate::{Arc, Duration, Mount, RepoKey};

const SCHEMA2: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// A gzip of a tar of two empty blocks.
const LAYER: [u8; 32] = [
    0x1f, 0x8b, 0x08, 0x00, 0x00, 0x09, 0x6e, 0x88, 0x00, 0xff, 0x62, 0x18, 0x05, 0xa3, 0x60, 0x14, 0x8c,
    0x58, 0x00, 0x08, 0x00, 0x00, 0xff, 0xff, 0x2e, 0xaf, 0xb5, 0xef, 0x00, 0x04, 0x00, 0x00,
];
const LAYER_UNPACKED: &str = "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef";

/// What a V2 client sends, and its status and body.
async fn v2(
    surface: &Fixture,
    method: &str,
    path: &str,
    media_type: &str,
    body: impl Into<Body>,
) -> (u16, Value) {
    let mount = Mount::alone(RepoKey::parse("docker-local").unwrap(), "");
    let settings = supercargo_docker_v2::Settings { authority: None, body_timeout: Duration::from_secs(30) };
    let router =
        supercargo_docker_v2::router(Arc::clone(&surface.registry), settings).layer(axum::Extension(mount));
    let request = http::Request::builder().method(method).uri(path).header("content-type", media_type);
    let answer = router.oneshot(request.body(body.into()).unwrap()).await.unwrap();
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap_or_default())
}

fn sha256(bytes: &[u8]) -> String {
    let hash: [u8; 32] = Sha256::digest(bytes).into();
    supercargo_model::Digest::sha256(hash).to_string()
}

/// Pushes an image of one layer, and answers with what docker calls it.
async fn push_by_v2(surface: &Fixture, name: &str, tag: &str) -> String {
    push_layers_by_v2(surface, name, tag, &LAYER, 1).await
}

/// Pushes a manifest that has this layer so many times, and a config that speaks of one.
async fn push_layers_by_v2(surface: &Fixture, name: &str, tag: &str, layer: &[u8], count: usize) -> String {
    let config = json!({
        "architecture": "amd64", "os": "linux", "config": {},
        "rootfs": { "type": "layers", "diff_ids": [LAYER_UNPACKED] }, "history": [{ "created": "2020-01-01T00:00:00Z" }],
    })
    .to_string();
    for blob in [config.as_bytes(), layer] {
        let path = format!("/v2/{name}/blobs/uploads/?digest={}", sha256(blob));
        assert_eq!(v2(surface, "POST", &path, "application/octet-stream", blob.to_vec()).await.0, 201);
    }
    let descriptor = |media_type: &str, bytes: &[u8]| json!({ "mediaType": media_type, "size": bytes.len(), "digest": sha256(bytes) });
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": SCHEMA2,
        "config": descriptor("application/vnd.docker.container.image.v1+json", config.as_bytes()),
        "layers": vec![descriptor("application/vnd.docker.image.rootfs.diff.tar.gzip", layer); count],
    });
    let path = format!("/v2/{name}/manifests/{tag}");
    assert_eq!(v2(surface, "PUT", &path, SCHEMA2, manifest.to_string()).await.0, 201);
    sha256(config.as_bytes()).replace("sha256:", "")
}

#[tokio::test]
async fn what_a_v2_client_pushed_a_v1_client_pulls() {
    let surface = Fixture::new(DockerApiVersion::Both).await;
    let image = push_by_v2(&surface, "app", "latest").await;
    for name in ["app", "library/app"] {
        let tag = surface.ask("GET", &format!("/v1/repositories/{name}/tags/latest")).await;
        assert_eq!(tag.json(), image.as_str(), "{name}");
    }
    let path = |part: &str| format!("/v1/images/{image}/{part}");
    assert_eq!(surface.ask("GET", &path("ancestry")).await.json(), json!([image]));
    let found = surface.ask("GET", &path("json")).await;
    assert_eq!((found.status, found.json()["id"].as_str()), (200, Some(&*image)));
    assert_eq!(found.header("x-docker-size"), "32");
    assert!(!found.headers.contains_key("x-docker-checksum-payload"), "nobody sent one");
    assert!(found.header("etag").starts_with("\"sha256:"));
    assert_eq!(surface.ask("GET", &path("layer")).await.body[..], LAYER);
}

#[tokio::test]
async fn the_long_name_is_meant_where_v2_clients_made_one() {
    let surface = Fixture::new(DockerApiVersion::Both).await;
    push_by_v2(&surface, "library/app", "long").await;
    let tags = async |name: &str| {
        let tags = surface.ask("GET", &format!("/v1/repositories/{name}/tags")).await.json();
        tags.as_object().unwrap().keys().cloned().collect::<Vec<_>>()
    };
    assert_eq!([tags("app").await, tags("library/app").await], [["long"], ["long"]]);
    push_by_v2(&surface, "app", "short").await;
    assert_eq!([tags("app").await, tags("library/app").await], [["long"], ["long"]]);
    let found = surface.ask("GET", "/v1/search?q=app").await.json();
    assert_eq!((&found["num_results"], &found["results"][0]["name"]), (&json!(1), &json!("library/app")));
}

#[tokio::test]
async fn what_a_v1_client_pushed_a_v2_client_finds_and_goes_for_both() {
    let surface = Fixture::new(DockerApiVersion::Both).await;
    let base = push_by_v2(&surface, "app", "latest").await;
    let top = super::support::Image {
        id: id('2'),
        json: format!(r#"{{"id":"{}","parent":"{base}"}}"#, id('2')),
        layer: &LAYER,
    };
    surface.push_image(&top, &[]).await;
    assert_eq!(surface.set_tag("library/app", "two", &top.id, &[]).await.text(), "true");
    let (status, manifest) = v2(&surface, "GET", "/v2/app/manifests/two", "", "").await;
    assert_eq!((status, &manifest["mediaType"]), (200, &json!(SCHEMA2)));
    assert_eq!(manifest["layers"].as_array().unwrap().len(), 2);
    assert_eq!(surface.ask("GET", "/v1/repositories/app/tags/two").await.json(), top.id.as_str());
    assert_eq!(
        surface.ask("GET", &format!("/v1/images/{}/ancestry", top.id)).await.json(),
        json!([top.id, base])
    );
    assert_eq!(surface.ask("DELETE", "/v1/repositories/app/").await.text(), "true");
    // What is left of it is for a collection to take.
    let (status, left) = v2(&surface, "GET", "/v2/app/tags/list", "", "").await;
    assert_eq!((status, &left["tags"]), (200, &json!([])));
}

#[tokio::test]
async fn what_v1_clients_can_not_be_shown_is_not_there() {
    // One layer more than the config speaks of, and a layer that begins as zstd does, and is none.
    for (layer, count) in [(&LAYER[..], 2), (&[0x28, 0xb5, 0x2f, 0xfd, 0xff, 0xff, 0xff, 0xff], 1)] {
        let surface = Fixture::new(DockerApiVersion::Both).await;
        let image = push_layers_by_v2(&surface, "app", "latest", layer, count).await;
        for part in ["json", "ancestry", "layer", "files"] {
            let (status, why) = surface.ask("GET", &format!("/v1/images/{image}/{part}")).await.error();
            assert_eq!(status, 404, "{part}: {why}");
            assert_ne!(why, "Image not found", "it says why");
        }
        let path = format!("/v1/repositories/app/layer/{image}/access");
        assert_eq!(surface.ask("GET", &path).await.json(), json!({ "access": false }));
    }
}
