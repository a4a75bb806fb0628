//! Every order in which pushers, a deleter and the collector can take their steps, on a real registry.
//!
//! A step is what can't be cut any finer from outside: one command, one rename, one unlink. An actor is a
//! task that waits for its turn before each step; the scheduler gives turns in one order after another until
//! there is none left. A step that has to wait for a digest's lock lags: others go on, and it is waited for
//! when the lock is let go. What must hold after each order: who did as the registry said was not refused,
//! what was answered is whole, and what nobody wants is gone.

use std::collections::{BTreeSet, VecDeque};
use std::future::Future;
use std::ops::ControlFlow;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use parking_lot::Mutex;
use supercargo_blobs::{Existing, StoreOptions, Verified};
use supercargo_eventlog::{Actor, Api, Origin};
use supercargo_eventlog::{DockerApiVersion, RepositoryConfig};
use supercargo_model::{
    Algorithm, Digest, ImageId, Reference, RepoKey, RepoName, Tag, Timestamp, media_type,
};
use tokio::sync::mpsc;

use crate::command::{CollectCursor, Collected, Command, GcPolicy};
use crate::ledger::Payload;
use crate::pushes::digest_of;
use crate::reads::BlobContent;
use crate::v1::{V1ImageInfo, Viewer};
use crate::{Caller, Clock, Condition, Error, ManifestPush, Options, Registry, Result};

// ---- turns ----

enum Signal {
    /// The step is over.
    Done,
    /// The step waits for a lock that another actor holds.
    Blocked,
}

/// An actor's side of its turns.
struct Turns {
    actor: usize,
    permits: mpsc::UnboundedReceiver<()>,
    signals: mpsc::UnboundedSender<(usize, Signal)>,
    begun: bool,
}

impl Turns {
    /// Ends the step before, and waits for the next turn.
    async fn next(&mut self) {
        if self.begun {
            self.signal(Signal::Done);
        }
        self.begun = true;
        self.permits.recv().await.unwrap();
    }

    fn signal(&self, signal: Signal) {
        self.signals.send((self.actor, signal)).unwrap();
    }
}

type Run = Pin<Box<dyn Future<Output = ()> + Send>>;

/// An actor: how many steps it takes, and how it takes them.
struct Role {
    steps: usize,
    act: fn(Arc<Scene>, Turns) -> Run,
}

struct Scheduler {
    scene: Arc<Scene>,
    permits: Vec<mpsc::UnboundedSender<()>>,
    signals: mpsc::UnboundedReceiver<(usize, Signal)>,
    lagging: BTreeSet<usize>,
    /// Turns that came while the actor lagged.
    owed: Vec<usize>,
}

impl Scheduler {
    async fn turn(&mut self, actor: usize) {
        let mut turns = VecDeque::from([actor]);
        while let Some(actor) = turns.pop_front() {
            if self.lagging.contains(&actor) {
                self.owed[actor] += 1;
            } else {
                self.permits[actor].send(()).unwrap();
                self.lagging.insert(actor);
                loop {
                    let (who, signal) = self.signals.recv().await.unwrap();
                    if matches!(signal, Signal::Done) {
                        self.caught_up(who, &mut turns);
                    }
                    if who == actor {
                        break;
                    }
                }
            }
            while !self.lagging.is_empty() && self.scene.publishing.lock().is_none() {
                let (who, signal) = self.signals.recv().await.unwrap();
                if matches!(signal, Signal::Done) {
                    self.caught_up(who, &mut turns);
                }
            }
        }
    }

    fn caught_up(&mut self, actor: usize, turns: &mut VecDeque<usize>) {
        self.lagging.remove(&actor);
        turns.extend(std::iter::repeat_n(actor, std::mem::take(&mut self.owed[actor])));
    }
}

/// Every order of so many steps of each actor.
fn orders(steps: &[usize]) -> Vec<Vec<usize>> {
    fn extend(left: &mut [usize], order: &mut Vec<usize>, all: &mut Vec<Vec<usize>>) {
        if left.iter().all(|left| *left == 0) {
            all.push(order.clone());
        }
        for actor in 0..left.len() {
            if left[actor] > 0 {
                left[actor] -= 1;
                order.push(actor);
                extend(left, order, all);
                order.pop();
                left[actor] += 1;
            }
        }
    }
    let mut all = Vec::new();
    extend(&mut steps.to_vec(), &mut Vec::new(), &mut all);
    all
}

#[test]
fn all_orders_are_there() {
    assert_eq!(orders(&[2, 1]), [vec![0, 0, 1], vec![0, 1, 0], vec![1, 0, 0]]);
    assert_eq!(orders(&[6, 3, 1]).len(), 840);
}

// ---- the scene ----

#[derive(Debug, Default)]
struct ManualClock(AtomicI64);

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::SeqCst))
    }
}

/// One order's own names and contents, so that thousands of orders share a registry.
struct Scene {
    registry: Arc<Registry>,
    /// The name that is pushed to, and one that a blob can be mounted from.
    name: RepoName,
    other: RepoName,
    /// A layer that is a file, and a config beside the tables.
    layer: Bytes,
    config: Bytes,
    image: Bytes,
    index: Bytes,
    clock: Arc<ManualClock>,
    /// Who holds the lock of the layer's digest, between publishing and its record.
    publishing: Mutex<Option<usize>>,
}

const LEASE: Duration = Duration::from_secs(3600);

fn repository() -> RepoKey {
    "r".parse().unwrap()
}

/// The repository that speaks V1.
fn v1_repository() -> RepoKey {
    "v".parse().unwrap()
}

fn tag(tag: &str) -> Tag {
    tag.parse().unwrap()
}

fn digest(bytes: &Bytes) -> Digest {
    digest_of(Algorithm::Sha256, bytes)
}

fn caller(principal: usize) -> Caller {
    Caller { actor: Actor::User(format!("user{principal}")), origin: Origin::local(Api::DockerV2) }
}

fn body(bytes: Bytes) -> impl futures_util::Stream<Item = std::io::Result<Bytes>> + Send + Unpin {
    stream::iter([Ok(bytes)])
}

impl Scene {
    fn new(registry: &Arc<Registry>, clock: &Arc<ManualClock>, number: usize) -> Scene {
        let layer = Bytes::from(format!("{number:0300}"));
        let config = Bytes::from(format!("{number:040}"));
        let image = Bytes::from(format!(
            r#"{{"schemaVersion":2,"config":{{"digest":"{}"}},"layers":[{{"digest":"{}"}}]}}"#,
            digest(&config),
            digest(&layer)
        ));
        let index = format!(r#"{{"schemaVersion":2,"manifests":[{{"digest":"{}"}}]}}"#, digest(&image));
        Scene {
            registry: Arc::clone(registry),
            name: format!("a{number}").parse().unwrap(),
            other: format!("b{number}").parse().unwrap(),
            index: Bytes::from(index),
            layer,
            config,
            image,
            clock: Arc::clone(clock),
            publishing: Mutex::new(None),
        }
    }

    fn has(&self, name: &RepoName, blob: &Bytes, principal: usize) -> bool {
        match self.registry.check_blob(&caller(principal), &repository(), name, &digest(blob)) {
            Ok(size) => {
                assert_eq!(size, blob.len() as u64);
                true
            }
            Err(Error::BlobUnknown(_)) => false,
            Err(e) => panic!("{e}"),
        }
    }

    /// Uploads a blob, as one step.
    async fn upload(&self, name: &RepoName, blob: &Bytes, principal: usize) {
        let (caller, repository) = (caller(principal), repository());
        let id = self.registry.start_upload(&caller, &repository, name, Algorithm::Sha256).await.unwrap();
        let body = body(blob.clone());
        self.registry.finish_upload(&caller, &repository, name, id, digest(blob), None, body).await.unwrap();
    }

    async fn upload_if_absent(&self, name: &RepoName, blob: &Bytes, principal: usize) {
        if !self.has(name, blob, principal) {
            self.upload(name, blob, principal).await;
        }
    }

    /// Pushes a manifest, which must be taken, and pulls all of it.
    async fn push(&self, name: &RepoName, reference: Reference, manifest: &Bytes, principal: usize) {
        let media_type =
            if manifest == &self.index { media_type::OCI_INDEX } else { media_type::OCI_MANIFEST };
        let pushed = self
            .registry
            .push_manifest(
                &caller(principal),
                &repository(),
                name,
                ManifestPush::new(reference, media_type, manifest.clone()),
            )
            .await;
        pushed.unwrap_or_else(|e| panic!("the registry promised what it then lacked: {e:?}"));
        self.pull(name, manifest).unwrap();
    }

    async fn push_image(&self, name: &RepoName, reference: Reference, principal: usize) {
        self.upload_if_absent(name, &self.layer, principal).await;
        self.upload_if_absent(name, &self.config, principal).await;
        self.push(name, reference, &self.image, principal).await;
    }

    /// Reads a manifest and everything below it, and compares every byte.
    fn pull(&self, name: &RepoName, manifest: &Bytes) -> Result<()> {
        let found = self.registry.manifest(&repository(), name, &Reference::Digest(digest(manifest)))?;
        assert_eq!(&found.bytes, manifest);
        if manifest == &self.index {
            return self.pull(name, &self.image);
        }
        for blob in [&self.layer, &self.config] {
            let bytes = match self.registry.open_blob(&repository(), name, &digest(blob))? {
                BlobContent::Inline(bytes) => bytes,
                BlobContent::File(file) => file.bytes().unwrap(),
            };
            assert_eq!(&bytes, blob);
        }
        Ok(())
    }

    async fn delete_tag(&self, name: &RepoName, which: &str) {
        let reference = Reference::Tag(tag(which));
        match self
            .registry
            .delete_manifest(&caller(9), &repository(), name, &reference, &Condition::default())
            .await
        {
            Ok(()) | Err(Error::ManifestUnknown(_)) => {}
            Err(e) => panic!("{e}"),
        }
    }
}

/// A V1 image of a scene: its base has the scene's layer, and its child the config.
#[derive(Debug, Clone, Copy)]
enum V1 {
    Base,
    Child,
}

impl Scene {
    fn v1_id(&self, which: V1) -> ImageId {
        let named_by = match which {
            V1::Base => &self.layer,
            V1::Child => &self.config,
        };
        ImageId::parse(&digest(named_by).hex()).unwrap()
    }

    fn v1_json(&self, which: V1) -> Bytes {
        let id = self.v1_id(which);
        Bytes::from(match which {
            V1::Base => format!(r#"{{"id":"{id}"}}"#),
            V1::Child => format!(r#"{{"id":"{id}","parent":"{}"}}"#, self.v1_id(V1::Base)),
        })
    }

    fn v1_layer(&self, which: V1) -> &Bytes {
        match which {
            V1::Base => &self.layer,
            V1::Child => &self.config,
        }
    }

    /// An image's JSON and layer come, as one step.
    async fn v1_put(&self, which: V1, principal: usize) {
        let (caller, id, json) = (caller(principal), self.v1_id(which), self.v1_json(which));
        let (viewer, session) = (viewer(&caller), format!("{principal}"));
        let (repository, layer) = (v1_repository(), self.v1_layer(which).clone());
        match self.registry.v1_put_json(&repository, viewer, &session, &id, json).await {
            // Somebody was faster.
            Err(Error::ImageExists(_)) => return,
            put => put.unwrap(),
        }
        self.registry.v1_put_layer(&repository, viewer, &session, &id, body(layer)).await.unwrap();
    }

    async fn v1_finish(&self, which: V1, principal: usize) {
        let (caller, id, json) = (caller(principal), self.v1_id(which), self.v1_json(which));
        let (viewer, session) = (viewer(&caller), format!("{principal}"));
        if self.registry.v1_is_uploading(&v1_repository(), &session, &id) {
            let checksum = digest(&[&json, &b"\n"[..], self.v1_layer(which)].concat().into());
            self.registry
                .v1_put_checksum(&v1_repository(), viewer, &session, &id, checksum, None)
                .await
                .unwrap();
        }
    }

    async fn v1_is_there(&self, which: V1, principal: usize) -> bool {
        let (caller, id) = (caller(principal), self.v1_id(which));
        match self.registry.v1_check_image(&v1_repository(), viewer(&caller), &id).await {
            Ok(_) => true,
            Err(Error::ImageUnknown(_)) => false,
            Err(e) => panic!("{e}"),
        }
    }

    async fn v1_tag(&self, name: &RepoName, which: &str, principal: usize) -> Result<()> {
        let caller = caller(principal);
        let (child, tag) = (self.v1_id(V1::Child), tag(which));
        self.registry.v1_set_tag(&v1_repository(), viewer(&caller), name, &tag, &child).await
    }

    /// Pushes both images, as a whole.
    async fn v1_push(&self, name: &RepoName, which: &str, principal: usize) {
        for image in [V1::Base, V1::Child] {
            if !self.v1_is_there(image, principal).await {
                self.v1_put(image, principal).await;
                self.v1_finish(image, principal).await;
            }
        }
        self.v1_tag(name, which, principal).await.unwrap();
    }

    /// Reads both images from one name alone, and compares every byte.
    fn v1_pull(&self, name: &RepoName) -> Result<()> {
        let nobody = caller(99);
        let viewer =
            Viewer { caller: &nobody, name: Some(name), may_read: &|_| false, may_write: &|_| false };
        for which in [V1::Base, V1::Child] {
            let id = self.v1_id(which);
            let found = self.registry.v1_find(&v1_repository(), viewer, &id)?;
            let found = found.ok_or(Error::ImageUnknown(id))?;
            assert_eq!(self.registry.v1_image_json(&found)?, self.v1_json(which));
            let bytes = match self.registry.v1_layer(&found)? {
                BlobContent::Inline(bytes) => bytes,
                BlobContent::File(file) => file.bytes().unwrap(),
            };
            assert_eq!(&bytes, self.v1_layer(which));
        }
        Ok(())
    }

    async fn v1_delete_tag(&self, name: &RepoName, which: &str) {
        let (reference, condition) = (Reference::Tag(tag(which)), Condition::default());
        let deleted =
            self.registry.delete_manifest(&caller(9), &v1_repository(), name, &reference, &condition).await;
        match deleted {
            Ok(()) | Err(Error::ManifestUnknown(_)) => {}
            Err(e) => panic!("{e}"),
        }
    }

    fn v1_tagged(&self, name: &RepoName, which: &str) -> bool {
        self.registry.tag_target(&v1_repository(), name, &tag(which)).is_ok()
    }
}

/// Sees every name.
fn viewer(caller: &Caller) -> Viewer<'_> {
    Viewer { caller, name: None, may_read: &|_| true, may_write: &|_| true }
}

/// What must be there at the end.
enum Wanted {
    Manifest(RepoName, Bytes),
    /// Both V1 images.
    Images(RepoName),
}

impl Wanted {
    fn pull(&self, scene: &Scene) -> Result<()> {
        match self {
            Wanted::Manifest(name, manifest) => scene.pull(name, manifest),
            Wanted::Images(name) => scene.v1_pull(name),
        }
    }
}

/// Runs a scenario in every order. `given` sets the scene; `then` is asked at the end of each order, after a
/// collection, for what must still be there.
async fn in_every_order(given: fn(Arc<Scene>) -> Run, roles: &[Role], then: fn(&Scene) -> Vec<Wanted>) {
    // In memory where there is such a place: nothing here is about disks.
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
    let clock = Arc::new(ManualClock::default());
    let registry = Registry::open(Options {
        gc: GcPolicy { lease: LEASE, untagged_after: 2 * LEASE, keep_deleted: Duration::ZERO },
        clock: Arc::<ManualClock>::clone(&clock),
        store: StoreOptions { inline_bytes_max: 100, ..StoreOptions::default() },
        ..Options::new(folder.path())
    })
    .unwrap();
    registry.create_repository(&caller(9), &repository(), Default::default()).await.unwrap();
    let v1 = RepositoryConfig { docker_api_version: DockerApiVersion::V1, ..Default::default() };
    registry.create_repository(&caller(9), &v1_repository(), v1).await.unwrap();

    let steps: Vec<usize> = roles.iter().map(|role| role.steps).collect();
    for (number, order) in orders(&steps).into_iter().enumerate() {
        let scene = Arc::new(Scene::new(&registry, &clock, number));
        given(Arc::clone(&scene)).await;
        let (signal, signals) = mpsc::unbounded_channel();
        let mut tasks = Vec::new();
        let mut permits = Vec::new();
        for (actor, role) in roles.iter().enumerate() {
            let (permit, turns) = mpsc::unbounded_channel();
            let turns = Turns { actor, permits: turns, signals: signal.clone(), begun: false };
            permits.push(permit);
            tasks.push(tokio::spawn((role.act)(Arc::clone(&scene), turns)));
        }
        let owed = vec![0; roles.len()];
        let mut scheduler =
            Scheduler { scene: Arc::clone(&scene), permits, signals, lagging: BTreeSet::new(), owed };
        let played = tokio::time::timeout(Duration::from_secs(30), async {
            for actor in &order {
                scheduler.turn(*actor).await;
            }
            for task in tasks {
                task.await.unwrap();
            }
        });
        played.await.unwrap_or_else(|_| panic!("order {order:?} does not end"));

        registry.collect(&caller(9), None, |_| {}).await.unwrap();
        let wanted = then(&scene);
        for wanted in &wanted {
            wanted.pull(&scene).unwrap_or_else(|e| panic!("order {order:?}: {e:?}"));
        }
        // Once every promise has run out, what no tag reaches is gone, file and all.
        clock.0.fetch_add(i64::try_from(LEASE.as_micros()).unwrap(), Ordering::SeqCst);
        registry.collect(&caller(9), None, |_| {}).await.unwrap();
        if wanted.is_empty() {
            assert!(registry.blobs.read(&digest(&scene.layer)).is_err(), "order {order:?} leaves a file");
        } else {
            for wanted in &wanted {
                wanted.pull(&scene).unwrap_or_else(|e| panic!("order {order:?}, later: {e:?}"));
            }
        }
    }
    assert_eq!(registry.sweep().await.unwrap().files, 0);
    let report = registry.folder().verify(true, |_| ControlFlow::Continue(())).unwrap();
    assert!(report.is_clean(), "{:?}", report.problems);
    registry.close();
}

fn tagged(scene: &Scene, name: &RepoName, which: &str) -> bool {
    scene.registry.manifest(&repository(), name, &Reference::Tag(tag(which))).is_ok()
}

// ---- the actors ----

/// Pushes the layer as a client and the registry do it, in the finest steps there are: asks for it, uploads
/// and verifies, publishes, records.
async fn push_layer(scene: &Scene, turns: &mut Turns, principal: usize) {
    turns.next().await;
    let there = scene.has(&scene.name, &scene.layer, principal);
    upload_layer(scene, turns, principal, !there).await;
}

/// The steps of an upload; without anything to do in them where it is not needed.
async fn upload_layer(scene: &Scene, turns: &mut Turns, principal: usize, needed: bool) {
    let registry = &scene.registry;
    let (caller, repository) = (caller(principal), repository());
    let owner = crate::pushes::owner(&repository, &scene.name);
    let layer = digest(&scene.layer);

    turns.next().await;
    let mut verified = None;
    if needed {
        let id = registry.blobs.start(&owner, Algorithm::Sha256).await.unwrap();
        registry.blobs.append(&owner, id, None, body(scene.layer.clone())).await.unwrap();
        match registry.blobs.verify(&owner, id, layer).await.unwrap() {
            Verified::Large(large) => verified = Some((id, large)),
            Verified::Small(_) => panic!("the layer is to be a file"),
        }
    }

    turns.next().await;
    let mut published = None;
    if let Some((id, large)) = verified {
        if scene.publishing.lock().is_some() {
            turns.signal(Signal::Blocked);
        }
        published = Some((id, registry.blobs.publish(large, Existing::Keep).await.unwrap()));
        *scene.publishing.lock() = Some(turns.actor);
    }

    turns.next().await;
    if let Some((id, published)) = published {
        let command = Command::AddBlob {
            repository: repository.clone(),
            name: scene.name.clone(),
            digest: layer,
            size: scene.layer.len() as u64,
        };
        let payload = Payload::File(Arc::new(published));
        registry.submit_promised(&caller, &repository, &scene.name, layer, command, payload).await.unwrap();
        *scene.publishing.lock() = None;
        registry.blobs.discard(&owner, id).await.unwrap();
    }
}

const PUSHER_STEPS: usize = 6;

/// Pushes the image and tags it `one`.
fn pusher(scene: Arc<Scene>, mut turns: Turns) -> Run {
    Box::pin(async move {
        push_layer(&scene, &mut turns, 1).await;
        turns.next().await;
        scene.upload_if_absent(&scene.name, &scene.config, 1).await;
        turns.next().await;
        scene.push(&scene.name, Reference::Tag(tag("one")), &scene.image, 1).await;
        turns.signal(Signal::Done);
    })
}

/// Collects: contents, then the blobs that no name holds any more, then their files.
fn collector(scene: Arc<Scene>, mut turns: Turns) -> Run {
    Box::pin(async move {
        let mut all = Collected::default();
        let mut cursor = CollectCursor::default();
        for _ in 0..2 {
            turns.next().await;
            let (collected, next, _) = scene.registry.collect_step(&caller(9), cursor).await.unwrap();
            cursor = next;
            all.blobs.extend(collected.blobs);
        }
        turns.next().await;
        unlink(&scene, &turns, &all).await;
        turns.signal(Signal::Done);
    })
}

async fn unlink(scene: &Scene, turns: &Turns, collected: &Collected) {
    let layer = digest(&scene.layer);
    if collected.blobs.iter().any(|blob| blob.digest == layer) && scene.publishing.lock().is_some() {
        turns.signal(Signal::Blocked);
    }
    scene.registry.unlink(collected).await.unwrap();
}

/// The same in two steps: all that is decided, and the files.
fn swift_collector(scene: Arc<Scene>, mut turns: Turns) -> Run {
    Box::pin(async move {
        let mut all = Collected::default();
        let mut cursor = CollectCursor::default();
        turns.next().await;
        loop {
            let (collected, next, more) = scene.registry.collect_step(&caller(9), cursor).await.unwrap();
            cursor = next;
            all.blobs.extend(collected.blobs);
            if !more {
                break;
            }
        }
        turns.next().await;
        unlink(&scene, &turns, &all).await;
        turns.signal(Signal::Done);
    })
}

fn deleter(scene: Arc<Scene>, mut turns: Turns) -> Run {
    Box::pin(async move {
        turns.next().await;
        scene.delete_tag(&scene.name, "one").await;
        turns.signal(Signal::Done);
    })
}

const V1_PUSHER_STEPS: usize = 7;

/// Pushes both V1 images as a client does, each if it is not there, and tags them `one`.
fn v1_pusher(scene: Arc<Scene>, mut turns: Turns) -> Run {
    Box::pin(async move {
        for which in [V1::Base, V1::Child] {
            turns.next().await;
            let there = scene.v1_is_there(which, 1).await;
            turns.next().await;
            if !there {
                scene.v1_put(which, 1).await;
            }
            turns.next().await;
            if !there {
                scene.v1_finish(which, 1).await;
            }
        }
        turns.next().await;
        let tagged = scene.v1_tag(&scene.name, "one", 1).await;
        tagged.unwrap_or_else(|e| panic!("the registry promised what it then lacked: {e:?}"));
        scene.v1_pull(&scene.name).unwrap();
        turns.signal(Signal::Done);
    })
}

/// Sets a tag in the steps that this has: the images are found, and then it is decided. Where they are somewhere else
/// by then, they are found again.
async fn v1_tag_in_steps(scene: &Scene, turns: &mut Turns, name: &RepoName, principal: usize) -> Result<()> {
    let (caller, id, repository) = (caller(principal), scene.v1_id(V1::Child), v1_repository());
    turns.next().await;
    let image = scene.registry.v1_check_image(&repository, viewer(&caller), &id).await;
    let found = image.and_then(|image| scene.registry.v1_chain(&repository, viewer(&caller), image));
    turns.next().await;
    let chain = found?;
    let command = Command::SetImageTag {
        repository,
        name: name.clone(),
        tag: tag("one"),
        id,
        json: chain[0].image.json,
        held_in: chain.iter().map(|found: &V1ImageInfo| found.held_in.clone()).collect(),
        conversion: None,
    };
    match scene.registry.ledger.submit(&caller, command, Payload::None).await {
        Err(Error::ImageUnknown(_)) => scene.v1_tag(name, "one", principal).await,
        submitted => submitted.map(|_| ()),
    }
}

/// Tags the images in the first name.
fn v1_tagger(scene: Arc<Scene>, mut turns: Turns) -> Run {
    Box::pin(async move {
        v1_tag_in_steps(&scene, &mut turns, &scene.name, 1).await.unwrap();
        scene.v1_pull(&scene.name).unwrap();
        turns.signal(Signal::Done);
    })
}

/// Tags the images in the other.
fn v1_other_tagger(scene: Arc<Scene>, mut turns: Turns) -> Run {
    Box::pin(async move {
        v1_tag_in_steps(&scene, &mut turns, &scene.other, 1).await.unwrap();
        turns.signal(Signal::Done);
    })
}

// ---- the scenarios ----

fn image_if_tagged(scene: &Scene) -> Vec<Wanted> {
    let there = tagged(scene, &scene.name, "one") || tagged(scene, &scene.name, "two");
    if there { vec![Wanted::Manifest(scene.name.clone(), scene.image.clone())] } else { Vec::new() }
}

/// The V1 images, in each name that has a tag.
fn images_where_tagged(scene: &Scene) -> Vec<Wanted> {
    let names = [&scene.name, &scene.other].into_iter();
    names.filter(|name| scene.v1_tagged(name, "one")).cloned().map(Wanted::Images).collect()
}

/// The image was there and is an orphan; it is pushed again while it is collected, and deleted at some point.
#[tokio::test]
async fn an_orphan_is_pushed_again_while_it_is_collected() {
    let given = |scene: Arc<Scene>| -> Run {
        Box::pin(async move {
            scene.push_image(&scene.name, Reference::Tag(tag("old")), 0).await;
            scene.delete_tag(&scene.name, "old").await;
        })
    };
    let roles = [
        Role { steps: PUSHER_STEPS, act: pusher },
        Role { steps: 3, act: collector },
        Role { steps: 1, act: deleter },
    ];
    in_every_order(given, &roles, image_if_tagged).await;
}

/// The layer is mounted from a name that is being deleted; where that comes too late, it is uploaded.
#[tokio::test]
async fn a_blob_is_mounted_from_a_name_that_is_deleted() {
    let given = |scene: Arc<Scene>| -> Run {
        Box::pin(async move { scene.push_image(&scene.other, Reference::Tag(tag("one")), 0).await })
    };
    let mounter = |scene: Arc<Scene>, mut turns: Turns| -> Run {
        Box::pin(async move {
            turns.next().await;
            let mounted = scene
                .registry
                .mount_blob(&caller(1), &repository(), &scene.name, digest(&scene.layer), Some(&scene.other))
                .await
                .unwrap();
            upload_layer(&scene, &mut turns, 1, !mounted).await;
            turns.next().await;
            scene.upload_if_absent(&scene.name, &scene.config, 1).await;
            turns.next().await;
            scene.push(&scene.name, Reference::Tag(tag("one")), &scene.image, 1).await;
            turns.signal(Signal::Done);
        })
    };
    let name_deleter = |scene: Arc<Scene>, mut turns: Turns| -> Run {
        Box::pin(async move {
            turns.next().await;
            scene.registry.delete_name(&caller(9), &repository(), &scene.other).await.unwrap();
            turns.signal(Signal::Done);
        })
    };
    let roles = [
        Role { steps: PUSHER_STEPS, act: mounter },
        Role { steps: 3, act: collector },
        Role { steps: 1, act: name_deleter },
    ];
    in_every_order(given, &roles, |scene| vec![Wanted::Manifest(scene.name.clone(), scene.image.clone())])
        .await;
}

/// Two push the same layer into a name that is new, and the tag of one of them is deleted.
#[tokio::test]
async fn two_push_the_same_layer_and_one_of_them_is_deleted() {
    let coarse = |scene: Arc<Scene>, mut turns: Turns| -> Run {
        Box::pin(async move {
            turns.next().await;
            let there = scene.has(&scene.name, &scene.layer, 2);
            if !there {
                if scene.publishing.lock().is_some() {
                    turns.signal(Signal::Blocked);
                }
                scene.upload(&scene.name, &scene.layer, 2).await;
            }
            scene.upload_if_absent(&scene.name, &scene.config, 2).await;
            turns.next().await;
            scene.push(&scene.name, Reference::Tag(tag("two")), &scene.image, 2).await;
            turns.signal(Signal::Done);
        })
    };
    let fine = |scene: Arc<Scene>, mut turns: Turns| -> Run {
        Box::pin(async move {
            upload_layer(&scene, &mut turns, 1, true).await;
            scene.upload_if_absent(&scene.name, &scene.config, 1).await;
            turns.next().await;
            scene.push(&scene.name, Reference::Tag(tag("one")), &scene.image, 1).await;
            turns.signal(Signal::Done);
        })
    };
    let roles = [
        Role { steps: 4, act: fine },
        Role { steps: 2, act: coarse },
        Role { steps: 1, act: deleter },
        Role { steps: 2, act: swift_collector },
    ];
    in_every_order(|_| Box::pin(async {}), &roles, image_if_tagged).await;
}

/// An image is asked for while it becomes an orphan, pushed where it is gone, and then listed by an index.
#[tokio::test]
async fn an_index_lists_a_manifest_that_was_seen_while_it_became_an_orphan() {
    let given = |scene: Arc<Scene>| -> Run {
        Box::pin(async move { scene.push_image(&scene.name, Reference::Tag(tag("one")), 0).await })
    };
    let index_pusher = |scene: Arc<Scene>, mut turns: Turns| -> Run {
        Box::pin(async move {
            let image = Reference::Digest(digest(&scene.image));
            turns.next().await;
            let seen = scene.registry.check_manifest(&caller(1), &repository(), &scene.name, &image).is_ok();
            for blob in [&scene.layer, &scene.config] {
                turns.next().await;
                if !seen {
                    scene.upload_if_absent(&scene.name, blob, 1).await;
                }
            }
            turns.next().await;
            if !seen {
                scene.push(&scene.name, image, &scene.image, 1).await;
            }
            turns.next().await;
            scene.push(&scene.name, Reference::Tag(tag("two")), &scene.index, 1).await;
            turns.signal(Signal::Done);
        })
    };
    let roles = [
        Role { steps: 5, act: index_pusher },
        Role { steps: 3, act: collector },
        Role { steps: 1, act: deleter },
    ];
    in_every_order(given, &roles, |scene| vec![Wanted::Manifest(scene.name.clone(), scene.index.clone())])
        .await;
}

/// V1 images are orphans of a name; they are pushed again while they are collected.
#[tokio::test]
async fn v1_orphans_are_pushed_again_while_they_are_collected() {
    let given = |scene: Arc<Scene>| -> Run {
        Box::pin(async move {
            scene.v1_push(&scene.other, "old", 0).await;
            scene.v1_delete_tag(&scene.other, "old").await;
        })
    };
    let roles = [Role { steps: V1_PUSHER_STEPS, act: v1_pusher }, Role { steps: 3, act: collector }];
    in_every_order(given, &roles, images_where_tagged).await;
}

/// V1 images are pushed that are in another name, which a V1 client deletes meanwhile.
#[tokio::test]
async fn v1_images_are_pushed_while_they_become_orphans() {
    let given =
        |scene: Arc<Scene>| -> Run { Box::pin(async move { scene.v1_push(&scene.other, "old", 0).await }) };
    let old_deleter = |scene: Arc<Scene>, mut turns: Turns| -> Run {
        Box::pin(async move {
            turns.next().await;
            scene.registry.v1_delete_tags(&caller(9), &v1_repository(), &scene.other).await.unwrap();
            turns.signal(Signal::Done);
        })
    };
    let roles = [
        Role { steps: V1_PUSHER_STEPS, act: v1_pusher },
        Role { steps: 2, act: swift_collector },
        Role { steps: 1, act: old_deleter },
    ];
    in_every_order(given, &roles, images_where_tagged).await;
}

/// V1 images were pushed so long ago that they are due, and their pusher comes back for them.
#[tokio::test]
async fn v1_images_that_waited_too_long_are_tagged_while_they_are_collected() {
    let given = |scene: Arc<Scene>| -> Run {
        Box::pin(async move {
            for which in [V1::Base, V1::Child] {
                scene.v1_put(which, 1).await;
                scene.v1_finish(which, 1).await;
            }
            let long = i64::try_from(3 * LEASE.as_micros()).unwrap();
            scene.clock.0.fetch_add(long, Ordering::SeqCst);
        })
    };
    let roles = [Role { steps: V1_PUSHER_STEPS, act: v1_pusher }, Role { steps: 3, act: collector }];
    in_every_order(given, &roles, images_where_tagged).await;
}

/// Two tags take the same V1 images out of the same waiting room, and one of them is deleted.
#[tokio::test]
async fn v1_images_are_tagged_twice_at_once() {
    let given = |scene: Arc<Scene>| -> Run {
        Box::pin(async move {
            for which in [V1::Base, V1::Child] {
                scene.v1_put(which, 1).await;
                scene.v1_finish(which, 1).await;
            }
        })
    };
    let other_deleter = |scene: Arc<Scene>, mut turns: Turns| -> Run {
        Box::pin(async move {
            turns.next().await;
            scene.v1_delete_tag(&scene.other, "one").await;
            turns.signal(Signal::Done);
        })
    };
    let roles = [
        Role { steps: 2, act: v1_tagger },
        Role { steps: 2, act: v1_other_tagger },
        Role { steps: 1, act: other_deleter },
        Role { steps: 2, act: swift_collector },
    ];
    in_every_order(given, &roles, images_where_tagged).await;
}

/// A name is deleted with the V1 images that somebody is about to tag: they are tagged whole, or not at all.
#[tokio::test]
async fn a_name_is_deleted_while_its_v1_images_are_tagged_elsewhere() {
    let given =
        |scene: Arc<Scene>| -> Run { Box::pin(async move { scene.v1_push(&scene.other, "one", 0).await }) };
    let tagger = |scene: Arc<Scene>, mut turns: Turns| -> Run {
        Box::pin(async move {
            match v1_tag_in_steps(&scene, &mut turns, &scene.name, 1).await {
                Ok(()) => scene.v1_pull(&scene.name).unwrap(),
                Err(Error::ImageUnknown(_)) => assert!(!scene.v1_tagged(&scene.name, "one")),
                Err(e) => panic!("{e}"),
            }
            turns.signal(Signal::Done);
        })
    };
    let name_deleter = |scene: Arc<Scene>, mut turns: Turns| -> Run {
        Box::pin(async move {
            turns.next().await;
            scene.registry.delete_name(&caller(9), &v1_repository(), &scene.other).await.unwrap();
            turns.signal(Signal::Done);
        })
    };
    let roles = [
        Role { steps: 2, act: tagger },
        Role { steps: 3, act: collector },
        Role { steps: 1, act: name_deleter },
    ];
    in_every_order(given, &roles, images_where_tagged).await;
}
