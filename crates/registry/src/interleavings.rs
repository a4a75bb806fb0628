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
use supercargo_model::{Algorithm, Digest, Reference, RepoKey, RepoName, Tag, Timestamp, media_type};
use tokio::sync::mpsc;

use crate::command::{CollectCursor, Collected, Command, GcPolicy};
use crate::ledger::Payload;
use crate::pushes::digest_of;
use crate::reads::BlobContent;
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
    /// Who holds the lock of the layer's digest, between publishing and its record.
    publishing: Mutex<Option<usize>>,
}

const LEASE: Duration = Duration::from_secs(3600);

fn repository() -> RepoKey {
    "r".parse().unwrap()
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
    fn new(registry: &Arc<Registry>, number: usize) -> Scene {
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

/// Runs a scenario in every order. `given` sets the scene; `then` is asked at the end of each order, after a
/// collection, for the manifests that must still be there.
async fn in_every_order(
    given: fn(Arc<Scene>) -> Run,
    roles: &[Role],
    then: fn(&Scene) -> Vec<(RepoName, Bytes)>,
) {
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

    let steps: Vec<usize> = roles.iter().map(|role| role.steps).collect();
    for (number, order) in orders(&steps).into_iter().enumerate() {
        let scene = Arc::new(Scene::new(&registry, number));
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
        for (name, manifest) in &wanted {
            scene.pull(name, manifest).unwrap_or_else(|e| panic!("order {order:?}: {e:?}"));
        }
        // Once every promise has run out, what no tag reaches is gone, file and all.
        clock.0.fetch_add(i64::try_from(LEASE.as_micros()).unwrap(), Ordering::SeqCst);
        registry.collect(&caller(9), None, |_| {}).await.unwrap();
        if wanted.is_empty() {
            assert!(registry.blobs.read(&digest(&scene.layer)).is_err(), "order {order:?} leaves a file");
        } else {
            for (name, manifest) in &wanted {
                scene.pull(name, manifest).unwrap_or_else(|e| panic!("order {order:?}, later: {e:?}"));
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

// ---- the scenarios ----

fn image_if_tagged(scene: &Scene) -> Vec<(RepoName, Bytes)> {
    let there = tagged(scene, &scene.name, "one") || tagged(scene, &scene.name, "two");
    if there { vec![(scene.name.clone(), scene.image.clone())] } else { Vec::new() }
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
    in_every_order(given, &roles, |scene| vec![(scene.name.clone(), scene.image.clone())]).await;
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
    in_every_order(given, &roles, |scene| vec![(scene.name.clone(), scene.index.clone())]).await;
}
