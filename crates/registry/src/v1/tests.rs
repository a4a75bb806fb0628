//! Images pushed, tagged, seen by who may see them, converted both ways and collected.

use std::io::Write as _;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use flate2::write::GzEncoder;
use futures_util::{StreamExt as _, stream};
use supercargo_eventlog::{Actor, Api, DockerApiVersion, Log as _, Origin, RepositoryConfig};
use supercargo_model::tree::TreePath;
use supercargo_model::{Algorithm, Reference, Tag, media_type};
use supercargo_projections::tables::{NameIds, NameUsage};

use super::*;
use crate::command::Command;
use crate::ledger::Payload;
use crate::pushes::digest_of;
use crate::tree::{Reach, Spread};
use crate::{GcPolicy, ManifestPush, Options, PromotionWish, RepositoryChange};

fn caller(name: &str) -> Caller {
    Caller { actor: Actor::User(name.to_owned()), origin: Origin::local(Api::DockerV1) }
}

struct World {
    folder: tempfile::TempDir,
    registry: Arc<Registry>,
    ann: Caller,
    bob: Caller,
}

const ALL: &(dyn Fn(&RepoName) -> bool + Send + Sync) = &|_| true;
const NONE: &(dyn Fn(&RepoName) -> bool + Send + Sync) = &|_| false;

fn key() -> &'static RepoKey {
    static KEY: LazyLock<RepoKey> = LazyLock::new(|| "r".parse().unwrap());
    &KEY
}

fn name(text: &str) -> RepoName {
    text.parse().unwrap()
}

fn tag(text: &str) -> Tag {
    text.parse().unwrap()
}

fn image_id(byte: u8) -> ImageId {
    ImageId::from_bytes([byte; 32])
}

fn open(folder: &tempfile::TempDir) -> Arc<Registry> {
    // What was deleted goes with the next run, also where it was never tagged.
    let gc = GcPolicy { untagged_after: Duration::ZERO, ..GcPolicy::default() };
    Registry::open(Options { gc, ..Options::new(folder.path()) }).unwrap()
}

fn json(id: u8, parent: Option<u8>) -> Bytes {
    let parent = parent.map_or_else(String::new, |parent| format!(r#""parent":"{}","#, image_id(parent)));
    let text = format!(
        r#"{{"id":"{}",{parent}"created":"2014-05-13T16:53:20Z","docker_version":"1.9.1","architecture":"amd64","os":"linux","comment":"<{id}>"}}"#,
        image_id(id)
    );
    text.into()
}

/// A layer of so many bytes before it was packed.
fn layer(byte: u8, size: usize) -> Bytes {
    let mut gzip = GzEncoder::new(Vec::new(), flate2::Compression::none());
    gzip.write_all(&vec![byte; size]).unwrap();
    gzip.finish().unwrap().into()
}

fn checksum(json: &[u8], layer: &[u8]) -> Digest {
    digest_of(Algorithm::Sha256, &[json, b"\n", layer].concat())
}

impl World {
    async fn new(version: DockerApiVersion) -> World {
        let folder = tempfile::tempdir().unwrap();
        let registry = open(&folder);
        let config = RepositoryConfig { docker_api_version: version, ..RepositoryConfig::default() };
        registry.create_repository(&caller("root"), key(), config).await.unwrap();
        World { folder, registry, ann: caller("ann"), bob: caller("bob") }
    }

    fn viewer(&self) -> Viewer<'_> {
        Viewer { caller: &self.ann, name: None, may_read: ALL, may_write: ALL }
    }

    async fn put(&self, viewer: Viewer<'_>, session: &str, id: u8, json: Bytes, layer: Bytes) -> Result<()> {
        let (registry, id) = (&self.registry, image_id(id));
        let checksum = checksum(&json, &layer);
        registry.v1_put_json(key(), viewer, session, &id, json).await?;
        registry.v1_put_layer(key(), viewer, session, &id, stream::iter([Ok(layer)])).await?;
        registry.v1_put_checksum(key(), viewer, session, &id, checksum, Some("tarsum+sha256:00")).await
    }

    /// A chain of images with these ids, base first, and a tag on the last.
    async fn push(&self, to: &str, with: &str, chain: &[u8]) {
        let mut parent = None;
        for id in chain {
            if self.registry.v1_image(key(), self.viewer(), &image_id(*id)).await.is_err() {
                let layer = layer(*id, 70_000 * usize::from(*id % 2) + 100);
                self.put(self.viewer(), "s", *id, json(*id, parent), layer).await.unwrap();
            }
            parent = Some(*id);
        }
        let top = image_id(*chain.last().unwrap());
        self.registry.v1_set_tag(key(), self.viewer(), &name(to), &tag(with), &top).await.unwrap();
    }

    async fn delete_tag(&self, of: &str, which: &str) {
        let reference = Reference::Tag(tag(which));
        let (registry, condition) = (&self.registry, Default::default());
        registry.delete_manifest(&self.ann, key(), &name(of), &reference, &condition).await.unwrap();
    }

    /// Collects as if all leases had run out.
    async fn collect(&self) {
        self.registry.leases.forget_all();
        self.registry.collect(&caller("root"), None, |_| {}).await.unwrap();
    }

    async fn layer_bytes(&self, id: u8) -> Result<Bytes> {
        let found = self.registry.v1_image(key(), self.viewer(), &image_id(id)).await?;
        let content = self.registry.v1_layer(&found)?;
        let size = content.size();
        let pieces: Vec<_> = content.into_body_stream(0..size).collect().await;
        Ok(pieces.into_iter().flat_map(|piece| piece.unwrap()).collect())
    }

    /// Live tables are what their log says, and all bytes are there.
    fn verify(&self) {
        let report = self.registry.folder().verify(true, |_| ControlFlow::Continue(())).unwrap();
        assert_eq!(report.problems, []);
    }

    /// Another process opens the folder.
    fn restart(&mut self) {
        let elsewhere = tempfile::tempdir().unwrap();
        let registry = std::mem::replace(&mut self.registry, open(&elsewhere));
        registry.close();
        // The folder is locked as long as anybody has it.
        drop(Arc::into_inner(registry).unwrap());
        self.registry = open(&self.folder);
    }
}

#[tokio::test]
async fn an_image_is_there_once_its_checksum_is() {
    let world = World::new(DockerApiVersion::V1).await;
    let (registry, id, viewer) = (&world.registry, image_id(1), world.viewer());
    let (json, layer) = (json(1, None), layer(1, 100));
    let unknown = |result: Result<V1ImageInfo>| matches!(result, Err(Error::ImageUnknown(_)));
    let right = checksum(&json, &layer);

    // Nothing goes without what comes before it.
    let body = || stream::iter([Ok(layer.clone())]);
    let early = registry.v1_put_layer(key(), viewer, "s", &id, body()).await;
    assert!(matches!(early, Err(Error::ImageUnknown(_))), "{early:?}");
    let early = registry.v1_put_checksum(key(), viewer, "s", &id, right, None).await;
    assert!(matches!(early, Err(Error::ImageUnknown(_))), "{early:?}");
    registry.v1_put_json(key(), viewer, "s", &id, json.clone()).await.unwrap();
    assert!(registry.v1_is_uploading(key(), "s", &id) && !registry.v1_is_uploading(key(), "t", &id));
    let early = registry.v1_put_checksum(key(), viewer, "s", &id, right, None).await;
    assert!(matches!(early, Err(Error::LayerMissing(_))), "{early:?}");

    // A body that breaks off is no layer, and the JSON stays.
    let broken = stream::iter([Ok(layer.slice(..9)), Err(std::io::ErrorKind::ConnectionReset.into())]);
    registry.v1_put_layer(key(), viewer, "s", &id, broken).await.unwrap_err();
    let early = registry.v1_put_checksum(key(), viewer, "s", &id, right, None).await;
    assert!(matches!(early, Err(Error::LayerMissing(_))), "{early:?}");

    registry.v1_put_layer(key(), viewer, "s", &id, body()).await.unwrap();
    let wrong = registry.v1_put_checksum(key(), viewer, "s", &id, checksum(&json, b""), None).await;
    assert!(matches!(wrong, Err(Error::ChecksumMismatch { .. })), "{wrong:?}");
    assert!(unknown(registry.v1_image(key(), viewer, &id).await));
    registry.v1_put_checksum(key(), viewer, "s", &id, right, None).await.unwrap();
    let found = registry.v1_image(key(), viewer, &id).await.unwrap();
    assert_eq!(registry.v1_image_json(&found).unwrap(), json);
    assert_eq!(world.layer_bytes(1).await.unwrap(), layer);
    assert_eq!(found.image.checksum, Some(right));

    // What is there stays as it is.
    assert!(!registry.v1_is_uploading(key(), "s", &id));
    let again = registry.v1_put_json(key(), viewer, "s", &id, json.clone()).await;
    assert!(matches!(again, Err(Error::ImageExists(_))), "{again:?}");
    let again = registry.v1_put_layer(key(), viewer, "s", &id, body()).await;
    assert!(matches!(again, Err(Error::ImageExists(_))), "{again:?}");
    let again = registry.v1_put_checksum(key(), viewer, "s", &id, right, None).await;
    assert!(matches!(again, Err(Error::ImageChecksumSet(_))), "{again:?}");
    world.verify();
}

#[tokio::test]
async fn what_was_uploaded_outlives_the_process_between_any_two_parts() {
    let mut world = World::new(DockerApiVersion::V1).await;
    let (id, ann) = (image_id(1), caller("ann"));
    let (json, layer) = (json(1, None), layer(1, 100_000));
    let checksum = checksum(&json, &layer);
    let viewer = Viewer { caller: &ann, name: None, may_read: ALL, may_write: ALL };
    world.registry.v1_put_json(key(), viewer, "s", &id, json).await.unwrap();
    world.restart();
    world.registry.v1_put_layer(key(), viewer, "s", &id, stream::iter([Ok(layer.clone())])).await.unwrap();
    world.restart();
    world.registry.v1_put_checksum(key(), viewer, "s", &id, checksum, None).await.unwrap();
    world.restart();
    assert_eq!(world.layer_bytes(1).await.unwrap(), layer);
    world.verify();
}

#[tokio::test]
async fn pushers_do_not_meet_before_an_image_is_whole() {
    let world = World::new(DockerApiVersion::V1).await;
    let (registry, id) = (&world.registry, image_id(1));
    let (ann, bob) = (
        Viewer { caller: &world.ann, name: None, may_read: NONE, may_write: NONE },
        Viewer { caller: &world.bob, name: None, may_read: NONE, may_write: NONE },
    );
    let (json, other) = (json(1, None), Bytes::from(format!(r#"{{"id":"{id}"}}"#)));
    let (layer, theirs) = (layer(1, 100), layer(2, 100));
    for (viewer, session, json) in [(ann, "a", &json), (bob, "b", &json), (bob, "c", &other)] {
        registry.v1_put_json(key(), viewer, session, &id, json.clone()).await.unwrap();
    }
    for (viewer, session, layer) in [(bob, "b", &theirs), (ann, "a", &layer), (bob, "c", &theirs)] {
        let body = stream::iter([Ok(layer.clone())]);
        registry.v1_put_layer(key(), viewer, session, &id, body).await.unwrap();
    }
    registry.v1_put_checksum(key(), ann, "a", &id, checksum(&json, &layer), None).await.unwrap();
    // Each has their own, and sees no other's.
    registry.v1_put_checksum(key(), bob, "b", &id, checksum(&json, &theirs), None).await.unwrap();
    let layer_of = async |viewer| registry.v1_image(key(), viewer, &id).await.unwrap().image.layer;
    let (hers, his) = [&layer, &theirs].map(|layer| digest_of(Algorithm::Sha256, layer)).into();
    assert_eq!((layer_of(ann).await, layer_of(bob).await), (hers, his));
    // Another JSON is another image.
    let refused = registry.v1_put_checksum(key(), bob, "c", &id, checksum(&other, &theirs), None).await;
    assert!(matches!(refused, Err(Error::ImageExists(_))), "{refused:?}");
    // In a name it is seen by who may read that.
    registry.v1_set_tag(key(), ann, &name("a"), &tag("t"), &id).await.unwrap();
    assert!(matches!(registry.v1_image(key(), ann, &id).await, Err(Error::ImageUnknown(_))));
    assert_eq!(layer_of(bob).await, his);
    let a = name("a");
    for viewer in [Viewer { name: Some(&a), ..ann }, Viewer { may_read: ALL, ..ann }] {
        assert_eq!(layer_of(viewer).await, hers);
    }
    // Nobody else's tag changes by it, and there is one image of an id in a name.
    registry.v1_set_tag(key(), bob, &name("b"), &tag("t"), &id).await.unwrap();
    let b = name("b");
    assert_eq!(layer_of(Viewer { name: Some(&b), ..bob }).await, his);
    registry.v1_put_json(key(), bob, "d", &id, other.clone()).await.unwrap();
    registry.v1_put_layer(key(), bob, "d", &id, stream::iter([Ok(theirs.clone())])).await.unwrap();
    registry.v1_put_checksum(key(), bob, "d", &id, checksum(&other, &theirs), None).await.unwrap();
    let refused = registry.v1_set_tag(key(), bob, &b, &tag("u"), &id).await;
    assert!(matches!(refused, Err(Error::ImageExists(_))), "{refused:?}");
    world.verify();
}

#[tokio::test]
async fn images_are_shared_by_names_and_go_with_the_last_tag_that_reaches_them() {
    let world = World::new(DockerApiVersion::V1).await;
    let registry = &world.registry;
    world.push("one", "t", &[1, 2, 3]).await;
    world.push("two", "t", &[1, 2, 4]).await;
    assert_eq!(registry.v1_tag(key(), &name("two"), &tag("t")).await.unwrap(), image_id(4));
    let ancestry = registry.v1_ancestry(key(), world.viewer(), &image_id(4)).await.unwrap();
    assert_eq!(ancestry, [4, 2, 1].map(image_id));
    // The waiting room is empty: what was there came into the names.
    let snapshot = registry.snapshot().unwrap();
    let room = (key().clone(), waiting_room(&world.ann));
    let room = snapshot.get::<NameIds>(&room).unwrap().unwrap();
    assert_eq!(snapshot.get::<NameUsage>(&room).unwrap(), None);
    assert_eq!(registry.repository(key()).unwrap().holds.names, 2);
    assert_eq!(registry.catalog(key(), None, 9, |_| true).unwrap().entries.len(), 2);

    world.delete_tag("one", "t").await;
    world.collect().await;
    for (id, there) in [(1, true), (2, true), (3, false), (4, true)] {
        assert_eq!(world.layer_bytes(id).await.is_ok(), there, "{id}");
    }
    assert_eq!(registry.v1_images_of(key(), &name("two")).unwrap().len(), 3);
    registry.delete_name(&world.ann, key(), &name("two")).await.unwrap();
    world.collect().await;
    assert_eq!(registry.orphans(9).unwrap(), 0);
    for id in 1..5 {
        assert!(world.layer_bytes(id).await.is_err(), "{id}");
    }
    assert_eq!(registry.repository(key()).unwrap().holds, Default::default());
    world.verify();
}

#[tokio::test]
async fn what_a_push_was_told_is_there_stays_until_its_tag() {
    let world = World::new(DockerApiVersion::V1).await;
    let registry = &world.registry;
    world.push("one", "t", &[1, 2]).await;
    let bob = Viewer { caller: &world.bob, name: None, may_read: ALL, may_write: ALL };
    registry.v1_check_image(key(), bob, &image_id(2)).await.unwrap();
    world.delete_tag("one", "t").await;
    registry.collect(&caller("root"), None, |_| {}).await.unwrap();
    // Also its parent, and the layers of both.
    assert!(world.layer_bytes(1).await.is_ok() && world.layer_bytes(2).await.is_ok());
    world.put(bob, "b", 3, json(3, Some(2)), layer(3, 9)).await.unwrap();
    registry.collect(&caller("root"), None, |_| {}).await.unwrap();
    registry.v1_set_tag(key(), bob, &name("two"), &tag("t"), &image_id(3)).await.unwrap();
    world.collect().await;
    for id in 1..4 {
        assert!(world.layer_bytes(id).await.is_ok(), "{id}");
    }
    assert!(registry.tags(key(), &name("one"), None, 1).is_err());
    world.verify();
}

#[tokio::test]
async fn a_chain_has_its_parents_and_an_end() {
    let world = World::new(DockerApiVersion::V1).await;
    let (registry, viewer) = (&world.registry, world.viewer());
    let put =
        async |id, parent| registry.v1_put_json(key(), viewer, "s", &image_id(id), json(id, parent)).await;
    let orphan = put(2, Some(1)).await;
    assert!(matches!(orphan, Err(Error::ParentUnknown(_))), "{orphan:?}");
    let own = put(1, Some(1)).await;
    assert!(matches!(own, Err(Error::ImageJson(_))), "{own:?}");
    // Its parent may still be on its way, as long as it is whole first.
    put(1, None).await.unwrap();
    put(2, Some(1)).await.unwrap();
    let other = registry.v1_put_json(key(), viewer, "t", &image_id(2), json(2, Some(1))).await;
    assert!(matches!(other, Err(Error::ParentUnknown(_))), "{other:?}");
    let layer = layer(2, 5);
    registry.v1_put_layer(key(), viewer, "s", &image_id(2), stream::iter([Ok(layer.clone())])).await.unwrap();
    let checksum = checksum(&json(2, Some(1)), &layer);
    let early = registry.v1_put_checksum(key(), viewer, "s", &image_id(2), checksum, None).await;
    assert!(matches!(early, Err(Error::ParentUploading(_))), "{early:?}");
    world.put(viewer, "s", 1, json(1, None), layer.clone()).await.unwrap();
    registry.v1_put_checksum(key(), viewer, "s", &image_id(2), checksum, None).await.unwrap();
    assert_eq!(registry.v1_image(key(), viewer, &image_id(2)).await.unwrap().image.depth, 2);
    world.verify();
}

#[tokio::test]
async fn what_v1_pushed_is_a_manifest_to_v2_for_ever_the_same() {
    let world = World::new(DockerApiVersion::Both).await;
    let registry = &world.registry;
    world.push("app", "t", &[1, 2]).await;
    let reference = |text: &str| Reference::Tag(tag(text));
    let first = registry.manifest(key(), &name("app"), &reference("t")).unwrap();
    assert_eq!(first.media_type, media_type::DOCKER_MANIFEST);
    let manifest: serde_json::Value = serde_json::from_slice(&first.bytes).unwrap();
    assert_eq!(manifest["layers"].as_array().unwrap().len(), 2);
    for blob in manifest["layers"].as_array().unwrap().iter().chain([&manifest["config"]]) {
        let digest: Digest = blob["digest"].as_str().unwrap().parse().unwrap();
        registry.open_blob(key(), &name("app"), &digest).unwrap();
    }
    // The tag is the image to V1 still, and the JSON of an image is no manifest.
    assert_eq!(registry.v1_tag(key(), &name("app"), &tag("t")).await.unwrap(), image_id(2));
    let found = registry.v1_image(key(), world.viewer(), &image_id(2)).await.unwrap();
    let by_json = Reference::Digest(found.image.json);
    assert!(matches!(registry.manifest(key(), &name("app"), &by_json), Err(Error::ManifestUnknown(_))));

    // Again, under another tag and in another name: the same manifest, and nothing is unpacked twice.
    world.push("app", "u", &[1, 2]).await;
    world.push("other", "t", &[1, 2]).await;
    for (of, which) in [("app", "u"), ("other", "t")] {
        assert_eq!(registry.manifest(key(), &name(of), &reference(which)).unwrap().digest, first.digest);
    }
    let size = registry.log().size().unwrap();
    world.push("app", "t", &[1, 2]).await;
    assert_eq!(registry.log().size().unwrap(), size);
    let kinds = registry.log().read(0..size).unwrap().map(|record| record.unwrap().event.kind());
    assert_eq!(kinds.filter(|kind| *kind == "LayerInspected").count(), 2);
    world.verify();

    // It lives as long as the manifest does.
    world.delete_tag("app", "t").await;
    world.delete_tag("app", "u").await;
    world.collect().await;
    assert!(world.layer_bytes(1).await.is_ok());
    world.delete_tag("other", "t").await;
    world.collect().await;
    assert!(world.layer_bytes(1).await.is_err());
    assert_eq!(registry.repository(key()).unwrap().holds, Default::default());
    world.verify();
}

#[tokio::test]
async fn a_layer_that_is_no_gzip_is_packed_for_v2_and_kept_for_v1() {
    let world = World::new(DockerApiVersion::Both).await;
    let registry = &world.registry;
    let plain = Bytes::from(vec![0; 200_000]);
    world.put(world.viewer(), "s", 1, json(1, None), plain.clone()).await.unwrap();
    world.put(world.viewer(), "s", 2, json(2, Some(1)), Bytes::new()).await.unwrap();
    registry.v1_set_tag(key(), world.viewer(), &name("a"), &tag("t"), &image_id(2)).await.unwrap();
    let manifest = registry.manifest(key(), &name("a"), &Reference::Tag(tag("t"))).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest.bytes).unwrap();
    for layer in manifest["layers"].as_array().unwrap() {
        let digest: Digest = layer["digest"].as_str().unwrap().parse().unwrap();
        let content = registry.open_blob(key(), &name("a"), &digest).unwrap();
        assert_eq!(content.size(), layer["size"].as_u64().unwrap());
        let mut pieces = content.into_body_stream(0..2);
        let first = pieces.next().await.unwrap().unwrap();
        assert_eq!(first[..], [0x1f, 0x8b]);
    }
    assert_eq!(world.layer_bytes(1).await.unwrap(), plain);
    world.verify();
    // Damaged, it is refused, and nothing of it is seen.
    let cut = layer(3, 500).slice(..300);
    world.put(world.viewer(), "s", 3, json(3, None), cut).await.unwrap();
    let refused = registry.v1_set_tag(key(), world.viewer(), &name("b"), &tag("t"), &image_id(3)).await;
    assert!(matches!(refused, Err(Error::LayerUnreadable { .. })), "{refused:?}");
    assert!(registry.tags(key(), &name("b"), None, 1).is_err());
}

/// Pushes an image by V2; answers with the digest of its config.
async fn push_v2(registry: &Registry, to: &RepoName, which: &str, layers: &[Bytes]) -> Digest {
    let root = caller("root");
    let diff_ids: Vec<String> =
        (1..=layers.len()).map(|at| format!("\"sha256:{}\"", format!("{at:02}").repeat(32))).collect();
    let config = format!(
        r#"{{"architecture":"amd64","os":"linux","rootfs":{{"type":"layers","diff_ids":[{}]}}}}"#,
        diff_ids.join(",")
    );
    let config = Bytes::from(config);
    for blob in layers.iter().chain([&config]) {
        let id = registry.start_upload(&root, key(), to, Algorithm::Sha256).await.unwrap();
        let (digest, body) = (digest_of(Algorithm::Sha256, blob), stream::iter([Ok(blob.clone())]));
        registry.finish_upload(&root, key(), to, id, digest, None, body).await.unwrap();
    }
    let descriptor = |blob: &Bytes| {
        format!(
            r#"{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{}","size":{}}}"#,
            digest_of(Algorithm::Sha256, blob),
            blob.len()
        )
    };
    let layers: Vec<String> = layers.iter().map(descriptor).collect();
    let manifest =
        format!(r#"{{"schemaVersion":2,"config":{},"layers":[{}]}}"#, descriptor(&config), layers.join(","));
    let push = ManifestPush::new(Reference::Tag(tag(which)), media_type::OCI_MANIFEST, manifest.into());
    registry.push_manifest(&root, key(), to, push).await.unwrap();
    digest_of(Algorithm::Sha256, &config)
}

#[tokio::test]
async fn what_v2_pushed_is_images_to_v1_once_they_are_asked_for() {
    let world = World::new(DockerApiVersion::Both).await;
    let (registry, app) = (&world.registry, name("app"));
    let layers = [layer(1, 100_000), layer(2, 5)];
    let config = push_v2(registry, &app, "t", &layers).await;
    let top = ImageId::parse(&config.hex()).unwrap();
    let size = registry.log().size().unwrap();
    assert_eq!(registry.v1_tag(key(), &app, &tag("t")).await.unwrap(), top);
    assert_eq!(registry.v1_tags(key(), &app).await.unwrap(), [(tag("t"), top)]);
    assert_eq!(registry.log().size().unwrap(), size);

    // Who may not read the name does not bring them about.
    let blind = Viewer { may_read: NONE, ..world.viewer() };
    assert!(registry.v1_ancestry(key(), blind, &top).await.is_err());
    let named = Viewer { name: Some(&app), ..blind };
    let ancestry = registry.v1_ancestry(key(), named, &top).await.unwrap();
    assert_eq!(ancestry.len(), 2);
    assert_eq!(ancestry[1].to_string(), "01".repeat(32));
    for (id, layer) in ancestry.iter().rev().zip(&layers) {
        let found = registry.v1_image(key(), named, id).await.unwrap();
        assert_eq!(found.image.layer, digest_of(Algorithm::Sha256, layer));
        assert!(registry.v1_image_json(&found).unwrap().starts_with(b"{"));
    }
    assert_eq!(registry.v1_tag(key(), &app, &tag("t")).await.unwrap(), top);
    world.verify();

    // Tagged by V1, it is the manifest that it was; and a child can be pushed onto it.
    let viewer = world.viewer();
    registry.v1_set_tag(key(), viewer, &app, &tag("u"), &top).await.unwrap();
    registry.v1_set_tag(key(), viewer, &name("other"), &tag("t"), &top).await.unwrap();
    let digest = registry.tag_target(key(), &app, &tag("t")).unwrap();
    assert_eq!(registry.tag_target(key(), &app, &tag("u")).unwrap(), digest);
    assert_eq!(registry.tag_target(key(), &name("other"), &tag("t")).unwrap(), digest);
    registry.manifest(key(), &name("other"), &Reference::Digest(digest)).unwrap();
    world.verify();
    for (of, which) in [("app", "t"), ("app", "u"), ("other", "t")] {
        world.delete_tag(of, which).await;
    }
    world.collect().await;
    assert_eq!(registry.repository(key()).unwrap().holds, Default::default());
    assert!(registry.v1_image(key(), viewer, &top).await.is_err());
    world.verify();
}

#[tokio::test]
async fn a_manifest_of_schema_1_is_the_images_that_it_is_made_of() {
    let world = World::new(DockerApiVersion::Both).await;
    let (registry, a, root) = (&world.registry, name("a"), caller("root"));
    let mut parts = Vec::new();
    for (id, parent) in [(1, None), (2, Some(1))] {
        let layer = layer(id, 100);
        let session = registry.start_upload(&root, key(), &a, Algorithm::Sha256).await.unwrap();
        let (digest, body) = (digest_of(Algorithm::Sha256, &layer), stream::iter([Ok(layer)]));
        registry.finish_upload(&root, key(), &a, session, digest, None, body).await.unwrap();
        parts.push((image_id(id), json(id, parent), digest));
    }
    let images: Vec<_> = parts
        .iter()
        .map(|(id, json, blob)| supercargo_model::v1::schema1::Schema1Image {
            id: *id,
            blob: *blob,
            v1_compatibility: std::str::from_utf8(json).unwrap().into(),
        })
        .collect();
    let payload = supercargo_model::v1::schema1::payload(&a, &tag("t"), &images);
    let push = ManifestPush::new(Reference::Tag(tag("t")), media_type::DOCKER_SCHEMA1, payload.into());
    registry.push_manifest(&root, key(), &a, push).await.unwrap();
    assert_eq!(registry.v1_tags(key(), &a).await.unwrap(), [(tag("t"), image_id(2))]);
    assert_eq!(registry.v1_tag(key(), &a, &tag("t")).await.unwrap(), image_id(2));
    let ancestry = registry.v1_ancestry(key(), world.viewer(), &image_id(2)).await.unwrap();
    assert_eq!(ancestry, [2, 1].map(image_id));
    for (id, json, _) in &parts {
        let found = registry.v1_image(key(), world.viewer(), id).await.unwrap();
        assert_eq!(registry.v1_image_json(&found).unwrap(), json);
    }
    assert_eq!(world.layer_bytes(1).await.unwrap(), layer(1, 100));
    world.verify();
    world.delete_tag("a", "t").await;
    world.collect().await;
    assert_eq!(registry.repository(key()).unwrap().holds, Default::default());
}

#[tokio::test]
async fn an_image_without_layers_has_the_empty_one() {
    let world = World::new(DockerApiVersion::Both).await;
    let registry = &world.registry;
    let config = push_v2(registry, &name("a"), "t", &[]).await;
    let top = ImageId::parse(&config.hex()).unwrap();
    let found = registry.v1_image(key(), world.viewer(), &top).await.unwrap();
    assert_eq!(found.image.layer_size, 32);
    assert_eq!(registry.v1_layer(&found).unwrap().size(), 32);
    world.verify();
}

#[tokio::test]
async fn the_protocols_of_a_repository_change_while_its_tags_can_follow() {
    let world = World::new(DockerApiVersion::V1).await;
    let registry = &world.registry;
    let set = async |version| {
        let change = RepositoryChange { docker_api_version: Some(version), ..RepositoryChange::default() };
        registry.configure_repository(&world.ann, key(), change).await
    };
    assert_eq!(registry.docker_api_version(key()).unwrap(), Some(DockerApiVersion::V1));
    set(DockerApiVersion::V2).await.unwrap();
    assert_eq!(registry.docker_api_version(key()).unwrap(), Some(DockerApiVersion::V2));
    push_v2(registry, &name("a"), "t", &[]).await;
    set(DockerApiVersion::Both).await.unwrap();
    set(DockerApiVersion::V1).await.unwrap();
    set(DockerApiVersion::Both).await.unwrap();
    set(DockerApiVersion::V1).await.unwrap();
    world.push("a", "u", &[1, 2]).await;
    let refused = set(DockerApiVersion::Both).await;
    assert!(matches!(refused, Err(Error::TagsPointAtImages { .. })), "{refused:?}");
    assert_eq!(registry.docker_api_version(key()).unwrap(), Some(DockerApiVersion::V1));
    assert_eq!(registry.docker_api_version(&"never".parse().unwrap()).unwrap(), None);
}

#[tokio::test]
async fn every_use_of_v1_is_an_event() {
    let world = World::new(DockerApiVersion::V1).await;
    world.push("a", "t", &[1, 2]).await;
    world.registry.delete_name(&world.ann, key(), &name("a")).await.unwrap();
    let records = world.registry.log().read(1..world.registry.log().size().unwrap()).unwrap();
    let mut kinds: Vec<_> = records.map(|record| record.unwrap().event.kind()).collect();
    // In which order a name is emptied depends on digests.
    kinds[4..].sort_unstable();
    assert_eq!(
        kinds,
        [
            "V1ImagePushed",
            "V1ImagePushed",
            "V1ImagesAdded",
            "TagSet",
            "BlobDeleted",
            "BlobDeleted",
            "RepositoryNameDeleted",
            "TagDeleted",
            "V1ImageDeleted",
            "V1ImageDeleted",
        ]
    );
}

/// Bytes that no compression makes smaller.
fn noise(seed: u32, size: usize) -> Bytes {
    let mut state = u64::from(seed) | 1 << 40;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..size).map(|_| next()).collect::<Vec<_>>().into()
}

/// Both layers are files once they are packed: whoever places them keeps everybody else from it meanwhile.
#[tokio::test]
async fn a_layer_that_comes_twice_is_packed_once_and_waits_for_nobody() {
    let world = World::new(DockerApiVersion::Both).await;
    let (registry, viewer) = (&world.registry, world.viewer());
    let (one, two) = (noise(1, 200_000), noise(2, 200_000));
    for (id, parent, layer) in
        [(1, None, &one), (2, Some(1), &two), (3, Some(2), &one), (4, None, &two), (5, Some(4), &one)]
    {
        world.put(viewer, "s", id, json(id, parent), layer.clone()).await.unwrap();
    }
    let (a, b, t) = (name("a"), name("b"), tag("t"));
    let (top, other) = (image_id(3), image_id(5));
    let (first, second) = tokio::time::timeout(Duration::from_secs(60), async {
        // One packs the first layer before the second, and the other the other way round.
        tokio::join!(
            registry.v1_set_tag(key(), viewer, &a, &t, &top),
            registry.v1_set_tag(key(), viewer, &b, &t, &other),
        )
    })
    .await
    .expect("they wait for each other");
    first.unwrap();
    second.unwrap();
    // Packed by now, the same layer serves a name that never held it packed.
    world.put(viewer, "s", 6, json(6, None), two.clone()).await.unwrap();
    registry.v1_set_tag(key(), viewer, &name("c"), &t, &image_id(6)).await.unwrap();
    world.verify();
    assert_eq!(registry.sweep().await.unwrap().files, 0);
    for of in ["a", "b", "c"] {
        world.delete_tag(of, "t").await;
    }
    world.collect().await;
    assert_eq!(registry.repository(key()).unwrap().holds, Default::default());
    assert_eq!(registry.sweep().await.unwrap().files, 0);
}

#[tokio::test]
async fn an_image_whose_layer_is_its_json_is_refused_and_waits_for_nobody() {
    let world = World::new(DockerApiVersion::V1).await;
    let padding = "p".repeat(100_000);
    let json = Bytes::from(format!(r#"{{"id":"{}","comment":"{padding}"}}"#, image_id(1)));
    let put = world.put(world.viewer(), "s", 1, json.clone(), json.clone());
    let refused = tokio::time::timeout(Duration::from_secs(60), put).await.expect("it waits for itself");
    assert!(matches!(refused, Err(Error::Invalid(_))), "{refused:?}");
    assert!(world.layer_bytes(1).await.is_err());
    world.verify();
}

#[tokio::test]
async fn a_zstd_layer_of_two_names_is_packed_for_both() {
    let world = World::new(DockerApiVersion::Both).await;
    let registry = &world.registry;
    let plain = noise(1, 200_000);
    let layer: Bytes =
        ruzstd::encoding::compress_to_vec(&plain[..], ruzstd::encoding::CompressionLevel::Fastest).into();
    let mut packed = Vec::new();
    for (of, more) in [("a", 1), ("b", 2)] {
        let layers = [layer.clone(), super::tests::layer(more, 9)];
        let config = push_v2(registry, &name(of), "t", &layers[..usize::from(more)]).await;
        let top = ImageId::parse(&config.hex()).unwrap();
        let ancestry = registry.v1_ancestry(key(), world.viewer(), &top).await.unwrap();
        let base = ancestry.last().unwrap();
        let to = name(of);
        let viewer = Viewer { name: Some(&to), may_read: NONE, ..world.viewer() };
        packed.push(registry.v1_image(key(), viewer, base).await.unwrap().image.layer);
    }
    assert_eq!(packed[0], packed[1]);
    assert_ne!(packed[0], digest_of(Algorithm::Sha256, &layer));
    world.verify();
}

/// A layer can be deleted by itself, and bytes can rot: the image is to be pushed again, and then it is whole.
#[tokio::test]
async fn an_image_without_its_layer_is_not_there_and_can_be_pushed_again() {
    for rot in [false, true] {
        let world = World::new(DockerApiVersion::V1).await;
        let registry = &world.registry;
        world.push("a", "t", &[1, 2]).await;
        let bytes = layer(1, 70_100);
        let lost = digest_of(Algorithm::Sha256, &bytes);
        if rot {
            let found = supercargo_eventlog::event::Rot::WrongDigest;
            let command = crate::command::Command::RecordRot { digest: lost, rot: found };
            registry.ledger.submit(&world.ann, command, crate::ledger::Payload::None).await.unwrap();
        } else {
            registry.delete_blob(&world.ann, key(), &name("a"), lost).await.unwrap();
            world.collect().await;
        }
        let unknown = registry.v1_check_image(key(), world.viewer(), &image_id(1)).await;
        assert!(matches!(unknown, Err(Error::ImageUnknown(_))), "{unknown:?}");
        // Neither does anything bring it elsewhere.
        let other = registry.v1_set_tag(key(), world.viewer(), &name("b"), &tag("t"), &image_id(2)).await;
        assert!(matches!(other, Err(Error::ImageUnknown(_))), "{other:?}");
        assert!(registry.tags(key(), &name("b"), None, 1).is_err());

        // As a client does, which is told of each whether it is there. Packed by itself, it may be other bytes.
        let again = if rot { bytes } else { layer(1, 80_000) };
        world.put(world.viewer(), "s", 1, json(1, None), again.clone()).await.unwrap();
        registry.v1_set_tag(key(), world.viewer(), &name("a"), &tag("t"), &image_id(2)).await.unwrap();
        world.collect().await;
        assert_eq!(world.layer_bytes(1).await.unwrap(), again);
        let ancestry = registry.v1_ancestry(key(), world.viewer(), &image_id(2)).await.unwrap();
        assert_eq!(ancestry, [2, 1].map(image_id));
        if !rot {
            world.verify();
            assert_eq!(registry.sweep().await.unwrap().files, 0);
        }
    }
}

/// The parent is in a name that is deleted, and nothing there says who needs it.
#[tokio::test]
async fn a_promise_of_an_image_is_one_of_its_parents_wherever_they_stand() {
    let world = World::new(DockerApiVersion::V1).await;
    let registry = &world.registry;
    world.push("a", "t", &[1]).await;
    world.put(world.viewer(), "s", 2, json(2, Some(1)), layer(2, 9)).await.unwrap();
    registry.leases.forget_all();
    registry.v1_check_image(key(), world.viewer(), &image_id(2)).await.unwrap();
    world.delete_tag("a", "t").await;
    registry.collect(&caller("root"), None, |_| {}).await.unwrap();
    registry.v1_set_tag(key(), world.viewer(), &name("b"), &tag("t"), &image_id(2)).await.unwrap();
    assert_eq!(registry.leases_held(), 0, "the tag ends them");
    // What only the other name had goes with the next run.
    registry.collect(&caller("root"), None, |_| {}).await.unwrap();
    assert!(registry.tags(key(), &name("a"), None, 1).is_err());
    assert_eq!(registry.v1_images_of(key(), &name("b")).unwrap().len(), 2);
    world.verify();
}

/// Once what an image was made from is gone, nobody is told that the image is there: the rest of it follows.
#[tokio::test]
async fn an_image_that_is_half_collected_is_not_promised() {
    let world = World::new(DockerApiVersion::V1).await;
    let registry = &world.registry;
    world.push("a", "t", &[1, 2]).await;
    world.delete_tag("a", "t").await;
    let base = registry.v1_image(key(), world.viewer(), &image_id(1)).await.unwrap().image;
    registry.delete_blob(&world.ann, key(), &name("a"), base.layer).await.unwrap();
    let unknown = registry.v1_check_image(key(), world.viewer(), &image_id(2)).await;
    assert!(matches!(unknown, Err(Error::ImageUnknown(_))), "{unknown:?}");
}

/// mallory may write names of her own, which ann can read; nothing ties ids to bytes.
#[tokio::test]
async fn whoever_pushes_gets_nothing_from_names_that_it_may_only_read() {
    let world = World::new(DockerApiVersion::V1).await;
    let (registry, mallory) = (&world.registry, caller("mallory"));
    let (good, evil) = (layer(1, 10), layer(2, 10));
    let hers: &(dyn Fn(&RepoName) -> bool + Send + Sync) = &|name| name.as_str().starts_with("mallory/");
    let anns: &(dyn Fn(&RepoName) -> bool + Send + Sync) = &|name| name.as_str().starts_with("ann/");
    let her = Viewer { caller: &mallory, name: None, may_read: ALL, may_write: hers };
    let ann = Viewer { caller: &world.ann, name: None, may_read: ALL, may_write: anns };
    let (evil_name, good_name) = (name("mallory/x"), name("ann/app"));
    world.put(her, "m", 1, json(1, None), evil.clone()).await.unwrap();
    registry.v1_set_tag(key(), her, &evil_name, &tag("t"), &image_id(1)).await.unwrap();

    // It is no reason for ann not to push hers, nor a parent of hers.
    let told = registry.v1_check_image(key(), ann, &image_id(1)).await;
    assert!(matches!(told, Err(Error::ImageUnknown(_))), "{told:?}");
    let orphan = registry.v1_put_json(key(), ann, "a", &image_id(2), json(2, Some(1))).await;
    assert!(matches!(orphan, Err(Error::ParentUnknown(_))), "{orphan:?}");
    world.put(ann, "a", 1, json(1, None), good.clone()).await.unwrap();
    registry.v1_set_tag(key(), ann, &good_name, &tag("t"), &image_id(1)).await.unwrap();
    let layer_of = async |viewer| {
        let found = registry.v1_image(key(), viewer, &image_id(1)).await?;
        Ok::<_, Error>(found.image.layer)
    };
    let (good, evil) = [&good, &evil].map(|layer| digest_of(Algorithm::Sha256, layer)).into();
    assert_eq!(layer_of(Viewer { name: Some(&good_name), ..ann }).await.unwrap(), good);
    assert_eq!(layer_of(Viewer { name: Some(&evil_name), ..ann }).await.unwrap(), evil);
    // Without a name nobody can say which is meant.
    assert!(matches!(layer_of(Viewer { caller: &world.bob, ..ann }).await, Err(Error::ImageUnknown(_))));
    world.verify();
}

/// What is published is what was verified, also where somebody else completed the same JSON meanwhile.
#[tokio::test]
async fn another_layer_under_the_same_json_takes_nobodys_place() {
    let world = World::new(DockerApiVersion::V1).await;
    let (registry, mallory) = (&world.registry, caller("mallory"));
    let (good, evil) = (layer(1, 10), layer(2, 10));
    let ann = Viewer { name: None, ..world.viewer() };
    let her = Viewer { caller: &mallory, ..ann };
    let (id, json) = (image_id(1), json(1, None));
    registry.v1_put_json(key(), ann, "a", &id, json.clone()).await.unwrap();
    world.put(her, "m", 1, json.clone(), evil).await.unwrap();
    registry.v1_set_tag(key(), her, &name("mallory/x"), &tag("t"), &id).await.unwrap();
    registry.v1_put_layer(key(), ann, "a", &id, stream::iter([Ok(good.clone())])).await.unwrap();
    registry.v1_put_checksum(key(), ann, "a", &id, checksum(&json, &good), None).await.unwrap();
    let app = name("ann/app");
    registry.v1_set_tag(key(), ann, &app, &tag("t"), &id).await.unwrap();
    let found = registry.v1_image(key(), Viewer { name: Some(&app), ..ann }, &id).await.unwrap();
    assert_eq!(found.image.layer, digest_of(Algorithm::Sha256, &good));
    world.verify();
}

/// An image that is not made yet of what V2 pushed is not what somebody else pushed under its id.
#[tokio::test]
async fn an_id_that_somebody_else_took_is_not_what_a_tag_stands_for() {
    let world = World::new(DockerApiVersion::Both).await;
    let (registry, victim, viewer) = (&world.registry, name("victim/app"), world.viewer());
    let good = layer(1, 10);
    let config = push_v2(registry, &victim, "t", std::slice::from_ref(&good)).await;
    let top = ImageId::parse(&config.hex()).unwrap();
    let mallory = caller("mallory");
    let evil: &(dyn Fn(&RepoName) -> bool + Send + Sync) = &|name| name.as_str() == "evil/x";
    let her = Viewer { caller: &mallory, name: None, may_read: NONE, may_write: evil };
    let json = Bytes::from(format!(r#"{{"id":"{top}"}}"#));
    let theirs = layer(2, 10);
    let sum = checksum(&json, &theirs);
    registry.v1_put_json(key(), her, "m", &top, json).await.unwrap();
    registry.v1_put_layer(key(), her, "m", &top, stream::iter([Ok(theirs)])).await.unwrap();
    registry.v1_put_checksum(key(), her, "m", &top, sum, None).await.unwrap();
    registry.v1_set_tag(key(), her, &name("evil/x"), &tag("t"), &top).await.unwrap();

    // Without a name the two disagree, and with it there is no question.
    assert!(matches!(registry.v1_image(key(), viewer, &top).await, Err(Error::ImageUnknown(_))));
    let found = registry.v1_image(key(), Viewer { name: Some(&victim), ..viewer }, &top).await.unwrap();
    assert_eq!(found.image.layer, digest_of(Algorithm::Sha256, &good));
    world.verify();
}

/// What is no image has no id that somebody could pull.
#[tokio::test]
async fn a_tag_on_an_artifact_is_not_listed() {
    let world = World::new(DockerApiVersion::Both).await;
    let (registry, a, root) = (&world.registry, name("a"), caller("root"));
    push_v2(registry, &a, "image", &[]).await;
    let config = Bytes::from_static(b"{}");
    let (digest, body) = (digest_of(Algorithm::Sha256, &config), stream::iter([Ok(config)]));
    let id = registry.start_upload(&root, key(), &a, Algorithm::Sha256).await.unwrap();
    registry.finish_upload(&root, key(), &a, id, digest, None, body).await.unwrap();
    let manifest = format!(
        r#"{{"schemaVersion":2,"config":{{"mediaType":"{}","digest":"{digest}","size":2}},"layers":[]}}"#,
        media_type::OCI_EMPTY
    );
    let push = ManifestPush::new(Reference::Tag(tag("artifact")), media_type::OCI_MANIFEST, manifest.into());
    registry.push_manifest(&root, key(), &a, push).await.unwrap();
    let tags = registry.v1_tags(key(), &a).await.unwrap();
    assert_eq!(tags.iter().map(|(tag, _)| tag.as_str()).collect::<Vec<_>>(), ["image"]);
    let refused = registry.v1_tag(key(), &a, &tag("artifact")).await;
    assert!(matches!(refused, Err(Error::NotConvertible(_))), "{refused:?}");
}

/// A conversion that is over the limit is refused before anything is read or unpacked.
#[tokio::test]
async fn a_chain_that_says_too_much_becomes_no_manifest() {
    let world = World::new(DockerApiVersion::Both).await;
    let (registry, viewer) = (&world.registry, world.viewer());
    let padding = "p".repeat(limits::IMAGE_JSON_BYTES_MAX - 1000);
    for (id, parent) in [(1, None), (2, Some(1)), (3, Some(2))] {
        let text = String::from_utf8(json(id, parent).to_vec()).unwrap();
        let json = text.replacen('{', &format!(r#"{{"padding":"{padding}","#), 1);
        world.put(viewer, "s", id, json.into(), layer(id, 9)).await.unwrap();
    }
    let set = async |id| registry.v1_set_tag(key(), viewer, &name("a"), &tag("t"), &image_id(id)).await;
    let size = registry.log().size().unwrap();
    let refused = set(3).await;
    assert!(matches!(refused, Err(Error::NotConvertible(_))), "{refused:?}");
    assert_eq!(registry.log().size().unwrap(), size);
    set(2).await.unwrap();
    world.verify();
}

/// Work in a place of `unpacking` or `listing` that says when it begins and when it ends: once it is told to stop.
struct Endless {
    begun: tokio::sync::oneshot::Receiver<()>,
    ended: tokio::sync::oneshot::Receiver<()>,
}

impl Endless {
    fn new() -> (Endless, impl FnOnce(&AtomicBool) + Send + 'static) {
        let (begin, begun) = tokio::sync::oneshot::channel();
        let (end, ended) = tokio::sync::oneshot::channel();
        let work = move |stop: &AtomicBool| {
            begin.send(()).unwrap();
            while !stop.load(Ordering::Relaxed) {
                std::thread::yield_now();
            }
            // Not every test listens.
            let _ = end.send(());
        };
        (Endless { begun, ended }, work)
    }
}

async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), what).await.expect("it takes for ever")
}

#[tokio::test]
async fn what_nobody_waits_for_any_more_is_not_unpacked() {
    let world = World::new(DockerApiVersion::V1).await;
    let registry = &world.registry;
    let (endless, work) = Endless::new();
    tokio::select! {
        _ = registry.unpacking(work) => panic!("it ended unasked"),
        begun = soon(endless.begun) => begun.unwrap(),
    }
    soon(endless.ended).await.unwrap();
    // Also where the registry closes.
    let (endless, work) = Endless::new();
    let closing = async {
        endless.begun.await.unwrap();
        registry.unpacking.stop();
        endless.ended.await.unwrap();
    };
    let (worked, ()) = soon(async { tokio::join!(registry.unpacking(work), closing) }).await;
    worked.unwrap();
    soon(registry.unpacking(|stop| assert!(stop.load(Ordering::Relaxed)))).await.unwrap();
}

/// Whoever lists files waits for no push, and no push for them.
#[tokio::test]
async fn a_listing_takes_no_place_of_pushes() {
    let world = World::new(DockerApiVersion::V1).await;
    let registry = &world.registry;
    world.push("a", "t", &[1]).await;
    let found = registry.v1_image(key(), world.viewer(), &image_id(1)).await.unwrap();
    let ((one, first), (two, second)) = (Endless::new(), Endless::new());
    tokio::select! {
        _ = registry.unpacking(first) => panic!("it ended unasked"),
        _ = registry.unpacking(second) => panic!("it ended unasked"),
        () = soon(async {
            one.begun.await.unwrap();
            two.begun.await.unwrap();
            // A layer of the tests is no tar with files in it, but it is unpacked.
            let listed = registry.v1_files(&found).await;
            assert!(!matches!(listed, Err(Error::Busy { .. })), "{listed:?}");
            registry.compression(&found.image.layer).await.unwrap();
        }) => {}
    }
    let (endless, work) = Endless::new();
    tokio::select! {
        _ = registry.listing(work) => panic!("it ended unasked"),
        () = soon(async {
            endless.begun.await.unwrap();
            let busy = registry.v1_files(&found).await;
            assert!(matches!(busy, Err(Error::Busy { .. })), "{busy:?}");
        }) => {}
    }
}

#[tokio::test]
async fn a_push_whose_client_goes_away_leaves_no_session() {
    let world = World::new(DockerApiVersion::Both).await;
    let (registry, viewer) = (&world.registry, world.viewer());
    world.put(viewer, "s", 1, json(1, None), noise(1, 200_000)).await.unwrap();
    let sessions = || {
        let owners = std::fs::read_dir(world.folder.path().join("uploads")).unwrap();
        let files = owners.filter_map(|owner| std::fs::read_dir(owner.unwrap().path()).ok());
        files.flatten().count()
    };
    assert_eq!(sessions(), 0);
    // Its layer waits for a place, and has a session to be packed into.
    let places = registry.unpacking.all_places().await;
    let (a, t, id) = (name("a"), tag("t"), image_id(1));
    tokio::select! {
        _ = registry.v1_set_tag(key(), viewer, &a, &t, &id) => panic!("it did not wait"),
        () = soon(async { while sessions() == 0 { tokio::task::yield_now().await } }) => {}
    }
    soon(async {
        while sessions() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    drop(places);
    registry.v1_set_tag(key(), viewer, &a, &t, &id).await.unwrap();
    soon(async {
        while sessions() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    world.verify();
}

/// One that V1 clients can't be shown takes none of the others with it.
#[tokio::test]
async fn tags_are_listed_beside_one_that_can_not_be_shown() {
    let world = World::new(DockerApiVersion::Both).await;
    let (registry, a, root) = (&world.registry, name("a"), caller("root"));
    world.push("a", "good", &[1]).await;
    // It begins as zstd does, and is none.
    let layer = Bytes::from_static(&[0x28, 0xb5, 0x2f, 0xfd, 0xff, 0xff, 0xff, 0xff]);
    let session = registry.start_upload(&root, key(), &a, Algorithm::Sha256).await.unwrap();
    let (blob, body) = (digest_of(Algorithm::Sha256, &layer), stream::iter([Ok(layer)]));
    registry.finish_upload(&root, key(), &a, session, blob, None, body).await.unwrap();
    let json = json(2, None);
    let v1_compatibility = std::str::from_utf8(&json).unwrap().into();
    let image = supercargo_model::v1::schema1::Schema1Image { id: image_id(2), blob, v1_compatibility };
    let payload = supercargo_model::v1::schema1::payload(&a, &tag("bad"), &[image]);
    let push = ManifestPush::new(Reference::Tag(tag("bad")), media_type::DOCKER_SCHEMA1, payload.into());
    registry.push_manifest(&root, key(), &a, push).await.unwrap();
    let bad = registry.v1_tag(key(), &a, &tag("bad")).await;
    assert!(matches!(bad, Err(Error::LayerUnreadable { .. })), "{bad:?}");
    assert_eq!(registry.v1_tags(key(), &a).await.unwrap(), [(tag("good"), image_id(1))]);
    world.verify();
}

#[tokio::test]
async fn nobody_takes_all_the_room_that_there_is_for_uploads() {
    let world = World::new(DockerApiVersion::V1).await;
    let put = async |caller, n: usize| {
        let viewer = Viewer { caller, name: None, may_read: NONE, may_write: NONE };
        let session = format!("session {n}");
        world.registry.v1_put_json(key(), viewer, &session, &image_id(1), json(1, None)).await
    };
    for n in 0..uploads::SESSIONS_OF_ONE_MAX {
        put(&world.ann, n).await.unwrap();
    }
    let beyond = put(&world.ann, usize::MAX).await;
    assert!(matches!(beyond, Err(Error::Busy { .. })), "{beyond:?}");
    // Beginning anew is not one more, and others have theirs.
    put(&world.ann, 0).await.unwrap();
    put(&world.bob, usize::MAX).await.unwrap();
}

/// What is made from itself would hold itself for ever.
#[tokio::test]
async fn an_image_is_not_made_from_itself_by_way_of_others() {
    let world = World::new(DockerApiVersion::V1).await;
    let (registry, ann) = (&world.registry, &world.ann);
    world.push("x", "t", &[1]).await;
    let one = registry.v1_image(key(), world.viewer(), &image_id(1)).await.unwrap().image;
    let two = V1Image {
        id: image_id(2),
        json: Digest::sha256([2; 32]),
        parent: Some(V1Parent { id: one.id, json: one.json }),
        ..one.clone()
    };
    let push = async |image: &V1Image, parent_in: Option<RepoName>| {
        let command = Command::PushImage {
            repository: key().clone(),
            waiting_room: waiting_room(ann),
            image: Box::new(image.clone()),
            parent_in,
        };
        let payload = Payload::Small(image.json, Bytes::from_static(b"{}"));
        registry.ledger.submit(ann, command, payload).await
    };
    push(&two, Some(name("x"))).await.unwrap();
    let ring = V1Image { parent: Some(V1Parent { id: two.id, json: two.json }), ..one };
    let refused = push(&ring, None).await;
    assert!(matches!(refused, Err(Error::Invalid(_))), "{refused:?}");
}

/// What a migration of all that is in `r` into `new` did, by name and tag.
async fn migrate(world: &World, force: bool) -> (Vec<(String, TagMigration)>, MigrationProgress) {
    let request = MigrationRequest { from: key().clone(), to: new_key(), name: None, tag: None, force };
    let mut told = Vec::new();
    let each = |migrated: MigratedTag, progress: MigrationProgress| {
        assert_eq!(progress.done() as usize, told.len() + 1);
        told.push((format!("{}:{}", migrated.name, migrated.tag), migrated.outcome));
    };
    let progress = world.registry.migrate(&world.ann, &request, |_| MayMigrate::Yes, each).await.unwrap();
    (told, progress)
}

fn new_key() -> RepoKey {
    "new".parse().unwrap()
}

impl World {
    async fn with_target(version: DockerApiVersion) -> World {
        let world = World::new(DockerApiVersion::V1).await;
        let config = RepositoryConfig { docker_api_version: version, ..RepositoryConfig::default() };
        world.registry.create_repository(&caller("root"), &new_key(), config).await.unwrap();
        world
    }

    fn log_size(&self) -> u64 {
        self.registry.log().size().unwrap()
    }

    fn points_at(&self, of: &str, which: &str) -> Digest {
        self.registry.tag_target(&new_key(), &name(of), &tag(which)).unwrap()
    }
}

#[tokio::test]
async fn what_v1_pushed_is_migrated_once_and_for_all() {
    let mut world = World::with_target(DockerApiVersion::V2).await;
    world.push("jfrog/ubuntu", "12.04", &[1, 2, 3]).await;
    world.push("jfrog/ubuntu", "latest", &[1, 2, 4]).await;
    world.push("app", "latest", &[1, 5]).await;
    let (told, progress) = migrate(&world, false).await;
    assert_eq!(progress, MigrationProgress { total: 3, migrated: 3, unchanged: 0, failed: 0 });
    let names: Vec<&str> = told.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["app:latest", "jfrog/ubuntu:12.04", "jfrog/ubuntu:latest"]);
    let reference = Reference::Tag(tag("12.04"));
    let of = name("jfrog/ubuntu");
    let pulled = world.registry.manifest(&new_key(), &of, &reference).unwrap();
    let (manifest, _) = supercargo_model::Manifest::parse(&pulled.media_type, &pulled.bytes).unwrap();
    assert_eq!(manifest.layers.len(), 3);
    for part in manifest.config.iter().chain(&manifest.layers) {
        world.registry.open_blob(&new_key(), &of, &part.digest).unwrap();
    }
    // The source is as it was, and a second run finds nothing to do.
    assert_eq!(world.registry.v1_tags(key(), &of).await.unwrap().len(), 2);
    let size = world.log_size();
    let (again, progress) = migrate(&world, false).await;
    assert_eq!(progress, MigrationProgress { total: 3, migrated: 0, unchanged: 3, failed: 0 });
    for ((_, first), (_, second)) in told.iter().zip(&again) {
        let (TagMigration::Migrated(first), TagMigration::Unchanged(second)) = (first, second) else {
            panic!("{first:?} {second:?}");
        };
        assert_eq!(first, second);
    }
    assert_eq!(world.log_size(), size);
    // Nor does another process, or what only the new repository holds after the old one is gone.
    world.restart();
    assert_eq!(migrate(&world, false).await.1.unchanged, 3);
    world.registry.remove_repository(&caller("root"), key(), true).await.unwrap();
    world.collect().await;
    world.registry.open_blob(&new_key(), &of, &manifest.layers[0].digest).unwrap();
    world.verify();
}

#[tokio::test]
async fn a_tag_that_somebody_else_set_is_in_the_way_until_it_is_forced() {
    let world = World::with_target(DockerApiVersion::V2).await;
    world.push("a", "moves", &[1]).await;
    world.push("a", "taken", &[2]).await;
    migrate(&world, false).await;
    // What a migration has set, the next one moves on.
    let before = world.points_at("a", "moves");
    world.push("a", "moves", &[1, 3]).await;
    let (_, progress) = migrate(&world, false).await;
    assert_eq!((progress.migrated, progress.unchanged), (1, 1));
    assert_ne!(world.points_at("a", "moves"), before);
    // What somebody pushed over it, it does not.
    let theirs = world.points_at("a", "moves");
    let wish = PromotionWish {
        name: Some(name("a")),
        tag: Some(tag("moves")),
        to_tag: Some(tag("taken")),
        ..PromotionWish::default()
    };
    let wanted = world.registry.to_promote(&new_key(), wish, |_| true).unwrap();
    world.registry.promote(&world.bob, (&new_key(), &new_key()), wanted, true).await.unwrap();
    let (told, progress) = migrate(&world, false).await;
    assert_eq!((progress.failed, progress.unchanged), (1, 1));
    let TagMigration::Failed(why) = &told[1].1 else { panic!("{told:?}") };
    assert!(why.contains("taken") && why.contains("force"), "{why}");
    assert_eq!(world.points_at("a", "taken"), theirs);
    let (_, progress) = migrate(&world, true).await;
    assert_eq!((progress.migrated, progress.failed), (1, 0));
    assert_ne!(world.points_at("a", "taken"), theirs);
    world.verify();
}

#[tokio::test]
async fn what_can_not_be_migrated_is_said_and_the_rest_goes_on() {
    let world = World::with_target(DockerApiVersion::V2).await;
    world.push("a", "good", &[1]).await;
    // A layer that breaks off.
    let half = layer(2, 1000).slice(..500);
    world.put(world.viewer(), "s", 2, json(2, None), half).await.unwrap();
    world.registry.v1_set_tag(key(), world.viewer(), &name("a"), &tag("bad"), &image_id(2)).await.unwrap();
    let (told, progress) = migrate(&world, false).await;
    assert_eq!((progress.migrated, progress.failed), (1, 1));
    assert!(matches!(&told[0], (name, TagMigration::Failed(_)) if name == "a:bad"), "{told:?}");

    let request = |name: Option<&str>, tag: Option<&str>| MigrationRequest {
        from: key().clone(),
        to: new_key(),
        name: name.map(self::name),
        tag: tag.map(self::tag),
        force: false,
    };
    let run = async |request: MigrationRequest| {
        world.registry.migrate(&world.ann, &request, |_| MayMigrate::Yes, |_, _| {}).await
    };
    assert!(matches!(run(request(Some("b"), None)).await, Err(Error::NameUnknown(_))));
    assert!(matches!(run(request(Some("a"), Some("never"))).await, Err(Error::TagUnknown(_))));
    assert!(matches!(run(request(None, Some("good"))).await, Err(Error::Invalid(_))));
    assert_eq!(run(request(Some("a"), Some("good"))).await.unwrap().unchanged, 1);
    let back = MigrationRequest { from: new_key(), to: key().clone(), ..request(None, None) };
    assert!(matches!(run(back).await, Err(Error::WrongProtocol { .. })));
    let onto = MigrationRequest { to: key().clone(), ..request(None, None) };
    assert!(matches!(run(onto).await, Err(Error::WrongProtocol { .. })));
    let nowhere = MigrationRequest { to: "nowhere".parse().unwrap(), ..request(None, None) };
    assert!(matches!(run(nowhere).await, Err(Error::RepositoryUnknown(_))));
    // Names that the caller may not write are said, and those that it may not see are not.
    for (may, failed) in [(MayMigrate::No, 2), (MayMigrate::Hidden, 0)] {
        let all = request(None, None);
        let progress = world.registry.migrate(&world.bob, &all, |_| may, |_, _| {}).await.unwrap();
        assert_eq!((progress.failed, progress.done()), (failed, failed));
    }
}

#[tokio::test]
async fn where_both_are_served_migrated_images_keep_their_ids() {
    let world = World::with_target(DockerApiVersion::Both).await;
    world.push("a", "latest", &[1, 2]).await;
    assert_eq!(migrate(&world, false).await.1.migrated, 1);
    let id = world.registry.v1_tag(&new_key(), &name("a"), &tag("latest")).await.unwrap();
    assert_eq!(id, image_id(2));
    let size = world.log_size();
    assert_eq!(migrate(&world, false).await.1.unchanged, 1);
    assert_eq!(world.log_size(), size);
    world.verify();
}

#[tokio::test]
async fn what_was_said_of_a_tag_is_migrated_too() {
    let world = World::with_target(DockerApiVersion::V2).await;
    world.push("app", "latest", &[1]).await;
    // Of its file, whose name is another there.
    let say = async |value: &str| {
        let path = TreePath::parse("repositories/library/app/latest/tag.json").unwrap();
        let (everybody, set) = (Reach::all(), vec![("qa".to_owned(), vec![value.to_owned()])]);
        let (reach, spread) = ((&everybody, &everybody), Spread { recursive: false, atomic: true });
        let changed = (set, Vec::new());
        world.registry.set_properties(&world.ann, key(), reach, &path, changed, spread).await.unwrap();
    };
    say("passed").await;
    migrate(&world, false).await;
    let said = || {
        let snapshot = world.registry.snapshot().unwrap();
        let path = (new_key(), "app/latest/manifest.json".to_owned());
        snapshot.get::<supercargo_projections::tables::Properties>(&path).unwrap()
    };
    assert_eq!(said().unwrap()["qa"], ["passed"]);
    // It is said anew where it changed.
    say("failed").await;
    assert_eq!(migrate(&world, false).await.1.migrated, 1);
    assert_eq!(said().unwrap()["qa"], ["failed"]);
    assert_eq!(migrate(&world, false).await.1.unchanged, 1);
}
