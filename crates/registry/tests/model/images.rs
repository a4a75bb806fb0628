//! Random commands of V1 clients beside those of V2 clients, in a repository that speaks V1 and in one that speaks
//! both. Pushes are taken apart into their requests, with anything between two of them. What must hold after each: a
//! tag's image is there with all that it was made from, byte by byte, and who did as the registry said is not refused.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use proptest::prelude::*;
use supercargo_eventlog::{DockerApiVersion, RepositoryConfig};
use supercargo_model::{Algorithm, Digest, ImageId, Reference, RepoKey, RepoName, Tag, media_type};
use supercargo_registry::tree::Reach;
use supercargo_registry::v1::{MayMigrate, MigratedTag, MigrationRequest, TagMigration, Viewer};
use supercargo_registry::{
    Actor, Api, BlobContent, Caller, Condition, DataFolder, Error, GcPolicy, ManifestPush, Options, Origin,
    PromotedTag, Registry, StoreOptions, ToPromote,
};

use crate::commands::{ManualClock, cases};
use crate::content::{INLINE_BYTES_MAX, digest_of};

/// The first speaks V1, the second both.
const REPOSITORIES: [(&str, DockerApiVersion); 2] =
    [("one", DockerApiVersion::V1), ("two", DockerApiVersion::Both)];
const NAMES: [&str; 2] = ["a", "b/c"];
const TAGS: [&str; 2] = ["latest", "v1"];
/// How many push at a time, each of them one thing.
const PUSHERS: usize = 2;
const LEASE: Duration = Duration::from_secs(10);
const UNTAGGED_AFTER: Duration = Duration::from_secs(60);

/// An image as its maker has it.
struct Image {
    id: ImageId,
    json: Bytes,
    layer: Bytes,
    parent: Option<usize>,
}

fn noise(seed: u64, size: usize) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..size).map(|_| next()).collect()
}

fn gzip(bytes: &[u8]) -> Bytes {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap().into()
}

/// Layers: files and such that are kept beside the tables, packed and not. The second is the first, unpacked.
static LAYERS: LazyLock<Vec<Bytes>> = LazyLock::new(|| {
    vec![
        gzip(&noise(1, 3000)),
        noise(1, 3000).into(),
        noise(2, 2000).into(),
        gzip(&[0; 1024]),
        Bytes::from_static(b"a few"),
    ]
});

static IMAGES: LazyLock<Vec<Image>> = LazyLock::new(|| {
    let id = |byte| ImageId::from_bytes([byte; 32]);
    // (id, parent, layer): a chain of three, two others from their base, one of an id that there is, and its child.
    let recipes = [
        (1, None, 0),
        (2, Some(0), 1),
        (3, Some(1), 2),
        (4, Some(0), 2),
        (5, Some(3), 2),
        (2, None, 3),
        (6, Some(5), 4),
    ];
    let mut images: Vec<Image> = Vec::new();
    for (number, (byte, parent, layer)) in recipes.into_iter().enumerate() {
        let created = "2014-05-13T16:53:20Z";
        let mut json = serde_json::json!({"id": id(byte), "comment": number.to_string(), "created": created});
        if let Some(parent) = parent {
            json["parent"] = serde_json::json!(images[parent].id);
        }
        let (json, layer) = (Bytes::from(json.to_string()), LAYERS[layer].clone());
        images.push(Image { id: id(byte), json, layer, parent });
    }
    images
});

/// The images that one is made of, its base first.
fn chain(mut image: usize) -> Vec<usize> {
    let mut chain = vec![image];
    while let Some(parent) = IMAGES[image].parent {
        chain.push(parent);
        image = parent;
    }
    chain.reverse();
    chain
}

/// What V2 clients push, as layers of LAYERS.
const MANIFESTS: [&[usize]; 3] = [&[0], &[0, 3], &[]];

fn config(layers: &[usize]) -> Bytes {
    let diff_ids: Vec<Digest> = layers.iter().map(|layer| digest_of(&noise(*layer as u64, 9))).collect();
    let rootfs = serde_json::json!({"type": "layers", "diff_ids": diff_ids});
    serde_json::json!({"architecture": "amd64", "os": "linux", "rootfs": rootfs}).to_string().into()
}

#[derive(Debug, Clone)]
enum Command {
    /// Begins a push, where the pusher is done with the one before, else takes its next step. `0` is whole pushes.
    Push {
        pusher: usize,
        repository: usize,
        name: usize,
        tag: usize,
        image: usize,
        steps: usize,
    },
    SetTag {
        repository: usize,
        name: usize,
        tag: usize,
        image: usize,
    },
    PushV2 {
        name: usize,
        tag: usize,
        manifest: usize,
    },
    /// What is a manifest is made images by that.
    Pull {
        name: usize,
        tag: usize,
    },
    DeleteTag {
        repository: usize,
        name: usize,
        tag: usize,
    },
    /// Deletes all names of a repository as V1 clients do, and collects at once what nobody relies on.
    Forget {
        repository: usize,
    },
    DeleteManifest {
        name: usize,
        tag: usize,
    },
    DeleteName {
        repository: usize,
        name: usize,
    },
    /// A tag, or all of a name, comes into a name of the same repository.
    Promote {
        repository: usize,
        from: usize,
        to: usize,
        tags: Option<(usize, usize)>,
        copy: bool,
    },
    /// What V1 clients pushed becomes manifests of the repository that speaks both.
    Migrate {
        force: bool,
    },
    Collect,
    Sweep,
    Pass(Duration),
    Restart,
}

fn command() -> impl Strategy<Value = Command> {
    let repository = || 0..REPOSITORIES.len();
    let place = || (0..NAMES.len(), 0..TAGS.len());
    let image = || 0..IMAGES.len();
    prop_oneof![
        14 => (0..PUSHERS, repository(), place(), image(), prop_oneof![3 => 1..6_usize, 2 => Just(99)]).prop_map(
            |(pusher, repository, (name, tag), image, steps)| {
                Command::Push { pusher, repository, name, tag, image, steps }
            }
        ),
        4 => (repository(), place(), image()).prop_map(
            |(repository, (name, tag), image)| Command::SetTag { repository, name, tag, image }
        ),
        3 => (place(), 0..MANIFESTS.len())
            .prop_map(|((name, tag), manifest)| Command::PushV2 { name, tag, manifest }),
        3 => place().prop_map(|(name, tag)| Command::Pull { name, tag }),
        4 => (repository(), place())
            .prop_map(|(repository, (name, tag))| Command::DeleteTag { repository, name, tag }),
        1 => place().prop_map(|(name, tag)| Command::DeleteManifest { name, tag }),
        3 => repository().prop_map(|repository| Command::Forget { repository }),
        1 => (repository(), 0..NAMES.len())
            .prop_map(|(repository, name)| Command::DeleteName { repository, name }),
        4 => (repository(), 0..NAMES.len(), 0..NAMES.len(), proptest::option::weighted(0.7, (0..TAGS.len(), 0..TAGS.len())), any::<bool>())
            .prop_map(|(repository, from, to, tags, copy)| Command::Promote { repository, from, to, tags, copy }),
        3 => any::<bool>().prop_map(|force| Command::Migrate { force }),
        6 => Just(Command::Collect),
        1 => Just(Command::Sweep),
        4 => prop_oneof![3 => Just(1), 1 => Just(5), 1 => Just(11), 1 => Just(61)]
            .prop_map(|seconds| Command::Pass(Duration::from_secs(seconds))),
        1 => Just(Command::Restart),
    ]
}

/// What a client does next with an image.
#[derive(Debug, Clone, Copy)]
enum Step {
    Check,
    Json,
    Layer,
    Checksum,
}

/// A push on its way.
#[derive(Debug)]
struct Pushing {
    repository: RepoKey,
    name: RepoName,
    tag: Tag,
    image: usize,
    /// Images that are not there for sure yet, the next one last.
    left: Vec<usize>,
    step: Step,
    /// Until when the registry keeps what it said is there; what a restart forgets goes with it.
    promised_until: i64,
    /// Until when it keeps what was pushed.
    kept_until: i64,
}

const NOBODY_WAITS: i64 = i64::MAX;

type Key = (RepoKey, RepoName, Tag);

/// What a tag was set on.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Target {
    Image(ImageId),
    Manifest(Digest),
}

struct Side {
    options: Options,
    clock: Arc<ManualClock>,
    registry: Option<Arc<Registry>>,
    tags: BTreeMap<Key, Target>,
    pushing: [Option<Pushing>; PUSHERS],
    _folder: tempfile::TempDir,
}

fn repository(index: usize) -> RepoKey {
    REPOSITORIES[index].0.parse().unwrap()
}

fn place(repository_index: usize, name: usize, tag: usize) -> Key {
    (repository(repository_index), NAMES[name].parse().unwrap(), TAGS[tag].parse().unwrap())
}

/// Two who push, the second without a name; and somebody else.
fn caller(who: usize) -> Caller {
    let actor = match who {
        0 => Actor::User("ann".to_owned()),
        1 => Actor::Anonymous,
        _ => Actor::User("root".to_owned()),
    };
    Caller { actor, origin: Origin::local(Api::DockerV1) }
}

fn body(bytes: Bytes) -> impl futures_util::Stream<Item = std::io::Result<Bytes>> + Send + Unpin {
    stream::iter([Ok(bytes)])
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap()
}

async fn read(content: BlobContent) -> Bytes {
    let size = content.size();
    let pieces: Vec<_> = content.into_body_stream(0..size).collect().await;
    pieces.into_iter().flat_map(|piece| piece.unwrap()).collect()
}

fn go_on<P>(_: P) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

const ALL: &(dyn Fn(&RepoName) -> bool + Send + Sync) = &|_| true;
const NONE: &(dyn Fn(&RepoName) -> bool + Send + Sync) = &|_| false;

impl Side {
    async fn new() -> Side {
        let memory = Path::new("/dev/shm");
        let folder =
            if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
        let clock = Arc::new(ManualClock(AtomicI64::new(1_000_000_000)));
        let gc = GcPolicy { lease: LEASE, untagged_after: UNTAGGED_AFTER, keep_deleted: Duration::ZERO };
        let options = Options {
            gc,
            clock: Arc::<ManualClock>::clone(&clock),
            store: StoreOptions { inline_bytes_max: INLINE_BYTES_MAX, ..StoreOptions::default() },
            ..Options::new(folder.path())
        };
        let registry = Registry::open(options.clone()).unwrap();
        for (index, (_, docker_api_version)) in REPOSITORIES.into_iter().enumerate() {
            let config = RepositoryConfig { docker_api_version, ..RepositoryConfig::default() };
            registry.create_repository(&caller(9), &repository(index), config).await.unwrap();
        }
        let (tags, pushing) = (BTreeMap::new(), Default::default());
        Side { options, clock, registry: Some(registry), tags, pushing, _folder: folder }
    }

    fn registry(&self) -> &Registry {
        self.registry.as_ref().unwrap()
    }

    fn now(&self) -> i64 {
        self.clock.0.load(Ordering::SeqCst)
    }

    fn pass(&self, duration: Duration) {
        self.clock.0.fetch_add(micros(duration), Ordering::SeqCst);
    }

    async fn carry_out(&mut self, command: Command) {
        match command {
            Command::Push { pusher, repository: to, name, tag, image, steps } => {
                if self.pushing[pusher].is_none() {
                    let (repository, name, tag) = place(to, name, tag);
                    let left = chain(image).into_iter().rev().collect();
                    self.pushing[pusher] = Some(Pushing {
                        repository,
                        name,
                        tag,
                        image,
                        left,
                        step: Step::Check,
                        promised_until: NOBODY_WAITS,
                        kept_until: NOBODY_WAITS,
                    });
                }
                for _ in 0..steps {
                    let Some(pushing) = self.pushing[pusher].take() else { return };
                    self.pushing[pusher] = self.push_step(pusher, pushing).await;
                }
            }
            Command::SetTag { repository, name, tag, image } => {
                let (key, id) = (place(repository, name, tag), IMAGES[image].id);
                match self.set_tag(9, &key, id).await {
                    Ok(()) | Err(Error::ImageUnknown(_) | Error::ImageExists(_)) => {}
                    Err(e) => panic!("{e}"),
                }
            }
            Command::PushV2 { name, tag, manifest } => {
                self.push_v2(place(1, name, tag), MANIFESTS[manifest]).await;
            }
            Command::Pull { name, tag } => {
                let (repository, name, tag) = place(1, name, tag);
                match self.registry().v1_tag(&repository, &name, &tag).await {
                    Ok(id) => self.pull(&repository, &name, id).await,
                    Err(Error::NameUnknown(_) | Error::TagUnknown(_)) => {}
                    Err(e) => panic!("{e}"),
                }
            }
            Command::DeleteTag { repository, name, tag } => {
                let key = place(repository, name, tag);
                self.delete(&key, &Reference::Tag(key.2.clone())).await;
                self.tags.remove(&key);
            }
            Command::Forget { repository } => {
                let repository = self::repository(repository);
                for name in NAMES {
                    let name: RepoName = name.parse().unwrap();
                    let there = self.tags.keys().any(|key| (&key.0, &key.1) == (&repository, &name));
                    match self.registry().v1_delete_tags(&caller(9), &repository, &name).await {
                        Ok(()) => assert!(there),
                        Err(Error::NameUnknown(_)) => assert!(!there),
                        Err(e) => panic!("{e}"),
                    }
                }
                self.tags.retain(|key, _| key.0 != repository);
                self.registry().collect(&caller(9), None, |_| {}).await.unwrap();
            }
            Command::DeleteManifest { name, tag } => {
                let key = place(1, name, tag);
                let Ok(digest) = self.registry().tag_target(&key.0, &key.1, &key.2) else { return };
                let with_it: Vec<Key> = self
                    .tags
                    .keys()
                    .filter(|other| (&other.0, &other.1) == (&key.0, &key.1))
                    .filter(|other| {
                        self.registry().tag_target(&other.0, &other.1, &other.2).unwrap() == digest
                    })
                    .cloned()
                    .collect();
                self.delete(&key, &Reference::Digest(digest)).await;
                self.tags.retain(|other, _| !with_it.contains(other));
            }
            Command::DeleteName { repository, name } => {
                let (repository, name, _) = place(repository, name, 0);
                match self.registry().delete_name(&caller(9), &repository, &name).await {
                    Ok(()) | Err(Error::NameUnknown(_)) => {}
                    Err(e) => panic!("{e}"),
                }
                self.tags.retain(|key, _| (&key.0, &key.1) != (&repository, &name));
                // Whoever deletes a name means all that is in it, at once: that is stronger than any promise.
                self.forget_promises(|push| push.repository == repository);
            }
            Command::Promote { repository, from, to, tags, copy } => {
                let (from, to) = (place(repository, from, 0), place(repository, to, 0));
                let tags = tags.map(|(of, to)| (TAGS[of].parse().unwrap(), TAGS[to].parse().unwrap()));
                self.promote(&from, &to, tags, copy).await;
            }
            Command::Migrate { force } => self.migrate(force).await,
            Command::Collect => self.registry().collect(&caller(9), None, |_| {}).await.unwrap(),
            Command::Sweep => assert_eq!(self.registry().sweep().await.unwrap().files, 0),
            Command::Pass(duration) => self.pass(duration),
            Command::Restart => {
                self.registry().close();
                self.registry = None;
                self.registry = Some(Registry::open(self.options.clone()).unwrap());
                self.forget_promises(|_| true);
            }
        }
    }

    fn forget_promises(&mut self, of: impl Fn(&Pushing) -> bool) {
        for push in self.pushing.iter_mut().flatten().filter(|push| of(push)) {
            if push.promised_until != NOBODY_WAITS {
                push.promised_until = 0;
            }
        }
    }

    /// One request of a push; none where it is over.
    async fn push_step(&mut self, pusher: usize, mut push: Pushing) -> Option<Pushing> {
        let Pushing { repository, name, tag, image, .. } = &push;
        let caller = caller(pusher);
        let viewer = Viewer { caller: &caller, name: Some(name), may_read: ALL, may_write: ALL };
        let Some(next) = push.left.last().map(|next| &IMAGES[*next]) else {
            let key = (repository.clone(), name.clone(), tag.clone());
            let set = self.set_tag(pusher, &key, IMAGES[*image].id).await;
            self.judge(&push, set, "the tag");
            return None;
        };
        let (registry, session) = (self.registry(), format!("session {pusher}"));
        let lasts = |duration| self.now() + micros(duration);
        match push.step {
            Step::Check => {
                let (until, kept) = (lasts(LEASE), lasts(UNTAGGED_AFTER));
                match registry.v1_check_image(repository, viewer, &next.id).await {
                    Ok(_) => {
                        push.left.pop();
                        push.promised_until = push.promised_until.min(until);
                        push.kept_until = push.kept_until.min(kept);
                    }
                    Err(Error::ImageUnknown(_)) => push.step = Step::Json,
                    Err(e) => panic!("{e}"),
                }
            }
            Step::Json => {
                let put =
                    registry.v1_put_json(repository, viewer, &session, &next.id, next.json.clone()).await;
                let until = lasts(LEASE);
                match put {
                    Err(Error::ImageExists(_)) => {
                        // Somebody was faster: it is skipped.
                        push.left.pop();
                        push.step = Step::Check;
                        push.promised_until = push.promised_until.min(until);
                    }
                    Ok(()) => {
                        // It says of the parent that it is there.
                        if next.parent.is_some() {
                            push.promised_until = push.promised_until.min(until);
                        }
                        push.step = Step::Layer;
                    }
                    Err(e) => {
                        self.judge(&push, Err(e), "the JSON");
                        return None;
                    }
                }
            }
            Step::Layer => {
                let body = body(next.layer.clone());
                registry.v1_put_layer(repository, viewer, &session, &next.id, body).await.unwrap();
                push.step = Step::Checksum;
            }
            Step::Checksum => {
                let checksum = digest_of(&[&next.json, &b"\n"[..], &next.layer].concat());
                let put =
                    registry.v1_put_checksum(repository, viewer, &session, &next.id, checksum, None).await;
                match put {
                    Ok(()) => {
                        push.left.pop();
                        push.step = Step::Check;
                        push.kept_until = push.kept_until.min(lasts(UNTAGGED_AFTER));
                        // Another's that is the same may be in its place.
                        push.promised_until = push.promised_until.min(lasts(LEASE));
                    }
                    // Another image of the same id became whole meanwhile.
                    Err(Error::ImageExists(_)) => return None,
                    Err(e) => {
                        self.judge(&push, Err(e), "the checksum");
                        return None;
                    }
                }
            }
        }
        Some(push)
    }

    /// A push may be refused where it took longer than the registry keeps what it relies on, and where another image of
    /// the same id is in the name.
    fn judge(&self, push: &Pushing, outcome: Result<(), Error>, what: &str) {
        let late = self.now() >= push.promised_until.min(push.kept_until);
        match outcome {
            Ok(()) | Err(Error::ImageExists(_)) => {}
            // The last: of an image that it once began to bring itself, and left.
            Err(Error::ImageUnknown(_) | Error::ParentUnknown(_) | Error::ParentUploading(_)) if late => {}
            Err(e) => panic!("the registry promised what it then lacked, at {what} of {push:?}: {e:?}"),
        }
    }

    async fn set_tag(&mut self, who: usize, key: &Key, id: ImageId) -> Result<(), Error> {
        let (repository, name, tag) = key;
        let caller = caller(who);
        let viewer = Viewer { caller: &caller, name: Some(name), may_read: ALL, may_write: ALL };
        self.registry().v1_set_tag(repository, viewer, name, tag, &id).await?;
        self.tags.insert(key.clone(), Target::Image(id));
        Ok(())
    }

    /// What a tag reaches is whole, so that nothing but another image of an id keeps it from coming.
    async fn promote(&mut self, from: &Key, to: &Key, tag: Option<(Tag, Tag)>, copy: bool) {
        let wanted =
            ToPromote { names: vec![(from.1.clone(), to.1.clone())], tag, overwriting: Reach::all() };
        let promoted = match self.registry().promote(&caller(9), (&from.0, &to.0), wanted, copy).await {
            Ok(promoted) => promoted,
            Err(Error::NameUnknown(_) | Error::TagUnknown(_) | Error::ImageExists(_)) => return,
            // Onto itself.
            Err(Error::Invalid(_)) if from == to => return,
            Err(e) => panic!("{e}"),
        };
        for PromotedTag { from_tag, tag, digest, .. } in promoted {
            let source = (from.0.clone(), from.1.clone(), from_tag);
            // Who was there first keeps what stands for it to V1 clients.
            let target = match self.tags[&source].clone() {
                Target::Image(_) if from.0 == repository(1) => Target::Manifest(digest),
                target => target,
            };
            if !copy {
                self.tags.remove(&source);
            }
            self.tags.insert((to.0.clone(), to.1.clone(), tag), target);
        }
    }

    async fn migrate(&mut self, force: bool) {
        let request =
            MigrationRequest { from: repository(0), to: repository(1), name: None, tag: None, force };
        let mut migrated = Vec::new();
        let each = |tag: MigratedTag, _| migrated.push(tag);
        self.registry().migrate(&caller(9), &request, |_| MayMigrate::Yes, each).await.unwrap();
        for MigratedTag { name, tag, outcome } in migrated {
            let (TagMigration::Migrated(_) | TagMigration::Unchanged(_)) = outcome else { continue };
            let image = self.tags[&(repository(0), name.clone(), tag.clone())].clone();
            self.tags.insert((repository(1), name, tag), image);
        }
    }

    async fn push_v2(&mut self, key: Key, layers: &[usize]) {
        let ((repository, name, tag), caller) = (&key, caller(9));
        let config = config(layers);
        let layers: Vec<&Bytes> = layers.iter().map(|layer| &LAYERS[*layer]).collect();
        for blob in layers.iter().copied().chain([&config]) {
            let digest = digest_of(blob);
            let upload =
                self.registry().start_upload(&caller, repository, name, Algorithm::Sha256).await.unwrap();
            let body = body(blob.clone());
            self.registry()
                .finish_upload(&caller, repository, name, upload, digest, None, body)
                .await
                .unwrap();
        }
        let descriptor = |blob: &Bytes| {
            let (digest, size) = (digest_of(blob), blob.len());
            serde_json::json!({"mediaType": media_type::OCI_CONFIG, "digest": digest, "size": size})
        };
        let layers: Vec<_> = layers.into_iter().map(descriptor).collect();
        let manifest =
            serde_json::json!({"schemaVersion": 2, "config": descriptor(&config), "layers": layers})
                .to_string();
        let digest = digest_of(manifest.as_bytes());
        let push = ManifestPush::new(Reference::Tag(tag.clone()), media_type::OCI_MANIFEST, manifest.into());
        self.registry().push_manifest(&caller, repository, name, push).await.unwrap();
        self.tags.insert(key, Target::Manifest(digest));
    }

    async fn delete(&self, (repository, name, _): &Key, reference: &Reference) {
        let condition = Condition::default();
        match self.registry().delete_manifest(&caller(9), repository, name, reference, &condition).await {
            Ok(()) | Err(Error::ManifestUnknown(_)) => {}
            Err(e) => panic!("{e}"),
        }
    }

    /// Everything that a V1 client pulls, from the name alone.
    async fn pull(&self, repository: &RepoKey, name: &RepoName, id: ImageId) {
        let nobody = Caller { actor: Actor::User("eve".to_owned()), origin: Origin::local(Api::DockerV1) };
        let viewer = Viewer { caller: &nobody, name: Some(name), may_read: NONE, may_write: NONE };
        let ancestry = self.registry().v1_ancestry(repository, viewer, &id).await.unwrap();
        assert_eq!(ancestry[0], id);
        for pair in ancestry.windows(2).map(Some).chain([None]) {
            let id = pair.map_or(ancestry[ancestry.len() - 1], |pair| pair[0]);
            let found = self.registry().v1_image(repository, viewer, &id).await.unwrap();
            let json = self.registry().v1_image_json(&found).unwrap();
            assert_eq!(digest_of(&json), found.image.json);
            let said: serde_json::Value = serde_json::from_slice(&json).unwrap();
            assert_eq!(said["id"], id.to_string());
            assert_eq!(said["parent"].as_str().map(str::to_owned), pair.map(|pair| pair[1].to_string()));
            let layer = read(self.registry().v1_layer(&found).unwrap()).await;
            assert_eq!(digest_of(&layer), found.image.layer);
            if let Some(checksum) = found.image.checksum {
                assert_eq!(digest_of(&[&json, &b"\n"[..], &layer].concat()), checksum);
            }
        }
    }

    /// Everything that a V2 client pulls.
    async fn pull_v2(&self, (repository, name, tag): &Key) -> Digest {
        let found = self.registry().manifest(repository, name, &Reference::Tag(tag.clone())).unwrap();
        assert_eq!(digest_of(&found.bytes), found.digest);
        let manifest: serde_json::Value = serde_json::from_slice(&found.bytes).unwrap();
        for part in manifest["layers"].as_array().unwrap().iter().chain([&manifest["config"]]) {
            let digest: Digest = part["digest"].as_str().unwrap().parse().unwrap();
            let bytes = read(self.registry().open_blob(repository, name, &digest).unwrap()).await;
            assert_eq!(digest_of(&bytes), digest);
            assert_eq!(bytes.len() as u64, part["size"].as_u64().unwrap());
        }
        found.digest
    }

    async fn compare(&self) {
        for (key, target) in &self.tags {
            let (repository, name, tag) = key;
            if *repository == self::repository(1) {
                let digest = self.pull_v2(key).await;
                assert!(!matches!(target, Target::Manifest(pushed) if *pushed != digest));
            }
            if let Target::Image(id) = target {
                assert_eq!(self.registry().v1_tag(repository, name, tag).await.unwrap(), *id);
                self.pull(repository, name, *id).await;
            }
        }
        for (index, name) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            let (repository, name, _) = place(index, name, 0);
            let expected: BTreeSet<&Tag> = self
                .tags
                .keys()
                .filter(|key| (&key.0, &key.1) == (&repository, &name))
                .map(|key| &key.2)
                .collect();
            match self.registry().v1_tags(&repository, &name).await {
                Ok(tags) => assert_eq!(tags.iter().map(|(tag, _)| tag).collect::<BTreeSet<_>>(), expected),
                Err(Error::NameUnknown(_)) => assert!(expected.is_empty()),
                Err(e) => panic!("{e}"),
            }
        }
    }

    /// The tables are what the log says; and once all names are deleted and every promise has run out nothing is left.
    async fn finish(self) {
        let verify = || {
            let report = self.registry().folder().verify(true, go_on).unwrap();
            assert!(report.is_clean(), "{:?}", report.problems);
            report.fingerprints
        };
        verify();
        for (repository, name) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            let (repository, name, _) = place(repository, name, 0);
            match self.registry().delete_name(&caller(9), &repository, &name).await {
                Ok(()) | Err(Error::NameUnknown(_)) => {}
                Err(e) => panic!("{e}"),
            }
        }
        self.pass(UNTAGGED_AFTER);
        self.registry().collect(&caller(9), None, |_| {}).await.unwrap();
        for index in 0..REPOSITORIES.len() {
            assert_eq!(self.registry().repository(&repository(index)).unwrap().holds, Default::default());
        }
        assert_eq!(self.registry().orphans(9).unwrap(), 0);
        assert_eq!(self.registry().sweep().await.unwrap().files, 0);
        let fingerprints = verify();
        self.registry().close();
        let Side { options, registry, _folder, .. } = self;
        drop(registry);
        let folder = DataFolder::open(&options.data, false, 1 << 20, options.store.clone()).unwrap();
        folder.replay(go_on).unwrap();
        let replayed = folder.verify(true, go_on).unwrap();
        assert!(replayed.is_clean(), "{:?}", replayed.problems);
        assert_eq!(replayed.fingerprints, fingerprints);
        assert_eq!(replayed.blobs, 0);
    }
}

proptest! {
    #![proptest_config(cases(64))]

    #[test]
    fn what_a_tag_reaches_is_there(commands in proptest::collection::vec(command(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut side = Side::new().await;
            for command in commands {
                side.carry_out(command).await;
                side.compare().await;
            }
            side.finish().await;
        });
    }
}
