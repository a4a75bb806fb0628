//! The commands, carried out on both sides and compared.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use proptest::prelude::*;
use supercargo_model::{Algorithm, Digest, Reference, RepoKey, Tag, Timestamp};
use supercargo_registry::tree::Reach;
use supercargo_registry::{
    Actor, Api, Caller, Clock, Collected, Condition, DataFolder, Error, GcPolicy, ManifestPush, Options,
    Origin, Registry, StoreOptions, ToPromote,
};

use crate::content::{BLOBS, INLINE_BYTES_MAX, MANIFESTS, digest_of};
use crate::plain::{Model, Name};

const NAMES: [(&str, &str); 3] = [("r", "a"), ("r", "a/b"), ("s", "a")];
const TAGS: [&str; 2] = ["latest", "b"];

#[derive(Debug, Clone)]
enum Command {
    /// As a client does: asks for each blob, uploads what is not there, then pushes the manifest.
    PushWhole {
        name: usize,
        manifest: usize,
        tag: Option<usize>,
        principal: usize,
    },
    Upload {
        name: usize,
        blob: usize,
        principal: usize,
    },
    UploadWrong {
        name: usize,
        blob: usize,
    },
    HeadBlob {
        name: usize,
        blob: usize,
        principal: usize,
    },
    HeadManifest {
        name: usize,
        manifest: usize,
        principal: usize,
    },
    Mount {
        name: usize,
        blob: usize,
        from: Option<usize>,
        principal: usize,
    },
    Push {
        name: usize,
        manifest: usize,
        tag: Option<usize>,
        principal: usize,
    },
    /// A tag, or all, comes into another name, or under another tag.
    Promote {
        from: usize,
        to: usize,
        tags: Option<(usize, usize)>,
        copy: bool,
    },
    DeleteTag {
        name: usize,
        tag: usize,
    },
    DeleteManifest {
        name: usize,
        manifest: usize,
    },
    DeleteBlob {
        name: usize,
        blob: usize,
    },
    DeleteName {
        name: usize,
    },
    Collect,
    CollectPlanned,
    Prune,
    Sweep,
    Pass(Duration),
    Restart,
}

fn command() -> impl Strategy<Value = Command> {
    let name = || 0..NAMES.len();
    let blob = || 0..6_usize;
    let manifest = || 0..9_usize;
    let tag = || proptest::option::weighted(0.8, 0..TAGS.len());
    let principal = || 0..2_usize;
    prop_oneof![
        8 => (name(), manifest(), tag(), principal()).prop_map(|(name, manifest, tag, principal)| {
            Command::PushWhole { name, manifest, tag, principal }
        }),
        3 => (name(), blob(), principal())
            .prop_map(|(name, blob, principal)| Command::Upload { name, blob, principal }),
        1 => (name(), blob()).prop_map(|(name, blob)| Command::UploadWrong { name, blob }),
        3 => (name(), blob(), principal())
            .prop_map(|(name, blob, principal)| Command::HeadBlob { name, blob, principal }),
        3 => (name(), manifest(), principal())
            .prop_map(|(name, manifest, principal)| Command::HeadManifest { name, manifest, principal }),
        3 => (name(), blob(), proptest::option::of(name()), principal()).prop_map(
            |(name, blob, from, principal)| Command::Mount { name, blob, from, principal }
        ),
        5 => (name(), manifest(), tag(), principal()).prop_map(|(name, manifest, tag, principal)| {
            Command::Push { name, manifest, tag, principal }
        }),
        5 => (name(), name(), proptest::option::weighted(0.7, (0..TAGS.len(), 0..TAGS.len())), any::<bool>()).prop_map(
            |(from, to, tags, copy)| Command::Promote { from, to, tags, copy }
        ),
        6 => (name(), 0..TAGS.len()).prop_map(|(name, tag)| Command::DeleteTag { name, tag }),
        3 => (name(), manifest()).prop_map(|(name, manifest)| Command::DeleteManifest { name, manifest }),
        1 => (name(), blob()).prop_map(|(name, blob)| Command::DeleteBlob { name, blob }),
        1 => name().prop_map(|name| Command::DeleteName { name }),
        6 => Just(Command::Collect),
        2 => Just(Command::CollectPlanned),
        1 => Just(Command::Prune),
        1 => Just(Command::Sweep),
        6 => prop_oneof![Just(1), Just(5), Just(30), Just(61)]
            .prop_map(|seconds| Command::Pass(Duration::from_secs(seconds))),
        1 => Just(Command::Restart),
    ]
}

fn policy() -> impl Strategy<Value = GcPolicy> {
    prop_oneof![2 => Just(0), 1 => Just(7)].prop_map(|keep| GcPolicy {
        lease: Duration::from_secs(10),
        untagged_after: Duration::from_secs(60),
        keep_deleted: Duration::from_secs(keep),
    })
}

/// A clock that stands still unless it is told to go.
#[derive(Debug, Default)]
pub struct ManualClock(pub AtomicI64);

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::SeqCst))
    }
}

fn name(index: usize) -> Name {
    let (repository, name) = NAMES[index];
    (repository.parse().unwrap(), name.parse().unwrap())
}

fn tag(index: usize) -> Tag {
    TAGS[index].parse().unwrap()
}

/// A named user, and one known by address alone.
fn caller(principal: usize) -> Caller {
    let remote = Some(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let origin = Origin { api: Api::DockerV2, remote, user_agent: None, request_id: None };
    let actor = if principal == 0 { Actor::User("root".to_owned()) } else { Actor::Anonymous };
    Caller { actor, origin }
}

fn body(bytes: Bytes) -> impl futures_util::Stream<Item = std::io::Result<Bytes>> + Send + Unpin {
    stream::iter([Ok(bytes)])
}

fn go_on<P>(_: P) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

struct Sides {
    options: Options,
    clock: Arc<ManualClock>,
    /// None only in the midst of a restart: one handle at a time has the folder.
    registry: Option<Arc<Registry>>,
    model: Model,
    _folder: tempfile::TempDir,
}

impl Sides {
    async fn new(gc: GcPolicy) -> Sides {
        // In memory where there is such a place: nothing here is about disks.
        let memory = Path::new("/dev/shm");
        let folder =
            if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
        let clock = Arc::new(ManualClock::default());
        clock.0.store(1_000_000_000, Ordering::SeqCst);
        let options = Options {
            gc,
            prune_empty_after: Duration::from_secs(5),
            clock: Arc::<ManualClock>::clone(&clock),
            store: StoreOptions { inline_bytes_max: INLINE_BYTES_MAX, ..StoreOptions::default() },
            ..Options::new(folder.path())
        };
        let registry = Registry::open(options.clone()).unwrap();
        for repository in ["r", "s"] {
            let repository = repository.parse().unwrap();
            registry.create_repository(&caller(0), &repository, Default::default()).await.unwrap();
        }
        let model = Model::new(gc, 1_000_000_000);
        Sides { options, clock, registry: Some(registry), model, _folder: folder }
    }

    fn registry(&self) -> &Registry {
        self.registry.as_ref().unwrap()
    }

    fn restart(&mut self) {
        self.registry().close();
        self.registry = None;
        self.registry = Some(Registry::open(self.options.clone()).unwrap());
        self.model.forget_promises();
    }

    async fn upload(
        &self,
        name: &Name,
        bytes: &Bytes,
        digest: Digest,
        principal: usize,
    ) -> Result<(), Error> {
        let (repository, name) = name;
        let caller = caller(principal);
        let id = self.registry().start_upload(&caller, repository, name, Algorithm::Sha256).await?;
        let half = bytes.len() / 2;
        let first = body(bytes.slice(..half));
        assert_eq!(self.registry().append_upload(repository, name, id, None, first).await?, half as u64);
        let rest = body(bytes.slice(half..));
        self.registry().finish_upload(&caller, repository, name, id, digest, None, rest).await
    }

    async fn push(
        &self,
        name: &Name,
        manifest: usize,
        tag: Option<&Tag>,
        principal: usize,
    ) -> Result<(), Error> {
        let manifest = &MANIFESTS[manifest];
        let reference = tag.map_or(Reference::Digest(manifest.digest), |tag| Reference::Tag(tag.clone()));
        let pushed = self
            .registry()
            .push_manifest(
                &caller(principal),
                &name.0,
                &name.1,
                ManifestPush::new(reference, manifest.media_type, manifest.bytes.clone()),
            )
            .await?;
        assert_eq!((pushed.digest, pushed.subject), (manifest.digest, manifest.subject));
        Ok(())
    }

    async fn carry_out(&mut self, command: Command) {
        match command {
            Command::PushWhole { name: to, manifest, tag: with, principal } => {
                let (to, with) = (name(to), with.map(tag));
                for digest in MANIFESTS[manifest].blobs.clone() {
                    self.head_blob(&to, digest, principal);
                    if !self.model.has_blob(&to, &digest) {
                        let blob = BLOBS.iter().find(|blob| blob.digest == digest).unwrap();
                        self.upload(&to, &blob.bytes, digest, principal).await.unwrap();
                        self.model.upload(&to, digest, principal);
                    }
                }
                self.push_both(&to, manifest, with.as_ref(), principal).await;
            }
            Command::Upload { name: to, blob, principal } => {
                let (to, blob) = (name(to), &BLOBS[blob]);
                self.upload(&to, &blob.bytes, blob.digest, principal).await.unwrap();
                self.model.upload(&to, blob.digest, principal);
            }
            Command::UploadWrong { name: to, blob } => {
                let wrong = digest_of(b"something else");
                let refused = self.upload(&name(to), &BLOBS[blob].bytes, wrong, 0).await;
                assert!(
                    matches!(refused, Err(Error::DigestMismatch { expected, actual })
                        if expected == wrong && actual == BLOBS[blob].digest),
                    "{refused:?}"
                );
            }
            Command::HeadBlob { name: of, blob, principal } => {
                self.head_blob(&name(of), BLOBS[blob].digest, principal);
            }
            Command::HeadManifest { name: of, manifest, principal } => {
                let (of, manifest) = (name(of), &MANIFESTS[manifest]);
                let reference = Reference::Digest(manifest.digest);
                let found = self.registry().check_manifest(&caller(principal), &of.0, &of.1, &reference);
                if self.model.has_manifest(&of, &manifest.digest) {
                    assert_eq!(found.unwrap().bytes, manifest.bytes);
                    self.model.promise(&of, manifest.digest, principal);
                } else {
                    assert!(matches!(found, Err(Error::ManifestUnknown(_))), "{found:?}");
                }
            }
            Command::Mount { name: to, blob, from, principal } => {
                let (to, digest) = (name(to), BLOBS[blob].digest);
                // A mount is from a name of the same repository.
                let from = from.map(|from| (to.0.clone(), name(from).1));
                let mounted = self
                    .registry()
                    .mount_blob(&caller(principal), &to.0, &to.1, digest, from.as_ref().map(|from| &from.1))
                    .await
                    .unwrap();
                assert_eq!(mounted, self.model.mount(&to, digest, from.as_ref(), principal));
            }
            Command::Push { name: to, manifest, tag: with, principal } => {
                self.push_both(&name(to), manifest, with.map(tag).as_ref(), principal).await;
            }
            Command::Promote { from, to, tags, copy } => {
                let tags = tags.map(|(of, to)| (tag(of), tag(to)));
                self.promote(&name(from), &name(to), tags, copy).await;
            }
            Command::DeleteTag { name: of, tag: which } => {
                let (of, which) = (name(of), tag(which));
                let reference = Reference::Tag(which.clone());
                let deleted = self
                    .registry()
                    .delete_manifest(&caller(0), &of.0, &of.1, &reference, &Condition::default())
                    .await;
                assert_same(&deleted, self.model.delete_tag(&of, &which));
            }
            Command::DeleteManifest { name: of, manifest } => {
                let (of, digest) = (name(of), MANIFESTS[manifest].digest);
                let reference = Reference::Digest(digest);
                let deleted = self
                    .registry()
                    .delete_manifest(&caller(0), &of.0, &of.1, &reference, &Condition::default())
                    .await;
                assert_same(&deleted, self.model.delete_manifest(&of, &digest));
            }
            Command::DeleteBlob { name: of, blob } => {
                let (of, digest) = (name(of), BLOBS[blob].digest);
                let deleted = self.registry().delete_blob(&caller(0), &of.0, &of.1, digest).await;
                assert_same(&deleted, self.model.delete_blob(&of, &digest));
            }
            Command::DeleteName { name: of } => {
                let of = name(of);
                let deleted = self.registry().delete_name(&caller(0), &of.0, &of.1).await;
                assert_same(&deleted, self.model.delete_name(&of));
            }
            Command::Collect => {
                self.registry().collect(&caller(0), None, |_| {}).await.unwrap();
                self.model.collect();
            }
            Command::CollectPlanned => self.collect_planned().await,
            Command::Prune => {
                let planned = self.registry().plan_pruning().unwrap();
                assert_eq!(self.registry().prune(&caller(0)).await.unwrap(), planned);
                assert_eq!(self.registry().plan_pruning().unwrap(), []);
            }
            Command::Sweep => {
                // What is on disk is what records mention: nobody crashed.
                assert_eq!(self.registry().sweep().await.unwrap().files, 0);
            }
            Command::Pass(duration) => {
                let micros = i64::try_from(duration.as_micros()).unwrap();
                self.model.now += micros;
                self.clock.0.fetch_add(micros, Ordering::SeqCst);
            }
            Command::Restart => self.restart(),
        }
    }

    fn head_blob(&mut self, of: &Name, digest: Digest, principal: usize) {
        let found = self.registry().check_blob(&caller(principal), &of.0, &of.1, &digest);
        if self.model.has_blob(of, &digest) {
            assert_eq!(found.unwrap(), crate::content::size_of(&digest));
            self.model.promise(of, digest, principal);
        } else {
            assert!(matches!(found, Err(Error::BlobUnknown(_))), "{found:?}");
        }
    }

    async fn promote(&mut self, from: &Name, to: &Name, tag: Option<(Tag, Tag)>, copy: bool) {
        let wanted = ToPromote {
            names: vec![(from.1.clone(), to.1.clone())],
            tag: tag.clone(),
            overwriting: Reach::all(),
        };
        let promoted = self.registry().promote(&caller(0), (&from.0, &to.0), wanted, copy).await;
        let held = self.model.get(from);
        let tags: Vec<(Tag, Tag)> = match tag {
            Some(tags) => vec![tags],
            None => held.tags.keys().map(|tag| (tag.clone(), tag.clone())).collect(),
        };
        let is_there = !tags.is_empty() && tags.iter().all(|(tag, _)| held.tags.contains_key(tag));
        let onto_itself = is_there && from == to && tags.iter().any(|(tag, to)| tag == to);
        match promoted {
            Ok(promoted) => {
                assert!(is_there && !onto_itself, "{tags:?} of {from:?} came into {to:?}");
                let expected: Vec<_> = tags.iter().map(|(tag, to)| (tag, to, held.tags[tag])).collect();
                let promoted: Vec<_> = promoted
                    .iter()
                    .map(|promoted| (&promoted.from_tag, &promoted.tag, promoted.digest))
                    .collect();
                assert_eq!(promoted, expected);
                self.model.promote(from, to, &tags, copy);
            }
            Err(Error::NameUnknown(_) | Error::TagUnknown(_)) => assert!(!is_there),
            Err(Error::Invalid(_)) => assert!(onto_itself),
            Err(Error::ManifestBlobUnknown(missing)) => {
                let lacks = self.model.missing_for(from, to, &tags);
                assert_eq!(missing.into_iter().collect::<BTreeSet<_>>(), lacks);
                assert!(!lacks.is_empty());
            }
            Err(e) => panic!("{e}"),
        }
    }

    async fn push_both(&mut self, to: &Name, manifest: usize, with: Option<&Tag>, principal: usize) {
        let digest = MANIFESTS[manifest].digest;
        let pushed = self.push(to, manifest, with, principal).await;
        let missing = self.model.missing(to, &digest);
        if missing.is_empty() {
            pushed.unwrap();
            self.model.push(to, digest, with, principal);
        } else {
            match pushed {
                Err(Error::ManifestBlobUnknown(named)) => {
                    assert_eq!(named.into_iter().collect::<BTreeSet<_>>(), missing);
                }
                other => panic!("{missing:?} is missing, and the push gave {other:?}"),
            }
        }
    }

    async fn collect_planned(&mut self) {
        let mut planned = Collected::default();
        let plan = self.registry().plan_collection(|step| add(&mut planned, step)).unwrap();
        let refused = self.registry().collect(&caller(0), Some("another plan"), |_| {}).await;
        assert!(matches!(refused, Err(Error::Precondition(_))), "{refused:?}");
        let mut collected = Collected::default();
        self.registry().collect(&caller(0), Some(&plan), |step| add(&mut collected, step)).await.unwrap();
        if !self.model.any_promises() {
            assert_eq!(collected, planned, "a plan says what is done where no promise stands against it");
        }
        self.model.collect();
    }

    /// Both sides hold the same, and the registry gives the right bytes for all of it.
    fn compare(&self) {
        for index in 0..NAMES.len() {
            let of = name(index);
            let held = self.model.get(&of);
            for blob in BLOBS.iter() {
                let there = self.model.has_blob(&of, &blob.digest);
                match self.registry().open_blob(&of.0, &of.1, &blob.digest) {
                    Ok(content) => {
                        assert!(there, "{} of {of:?} should not be there", blob.digest);
                        assert_eq!(content.size(), blob.bytes.len() as u64);
                    }
                    Err(Error::BlobUnknown(_)) => assert!(!there, "{} of {of:?} is gone", blob.digest),
                    Err(e) => panic!("{e}"),
                }
            }
            for manifest in MANIFESTS.iter() {
                let there = held.has_manifest(&manifest.digest);
                match self.registry().manifest(&of.0, &of.1, &Reference::Digest(manifest.digest)) {
                    Ok(found) => {
                        assert!(there, "{} of {of:?} should not be there", manifest.digest);
                        assert_eq!(found.bytes, manifest.bytes);
                        assert_eq!(found.media_type, manifest.media_type);
                    }
                    Err(Error::ManifestUnknown(_)) => {
                        assert!(!there, "{} of {of:?} is gone", manifest.digest);
                    }
                    Err(e) => panic!("{e}"),
                }
                let referrers =
                    self.registry().referrers(&of.0, &of.1, &manifest.digest, None, None, 100).unwrap();
                let referrers: BTreeSet<Digest> =
                    referrers.entries.iter().map(|referrer| referrer.digest).collect();
                let expected = MANIFESTS.iter().filter(|other| {
                    other.subject == Some(manifest.digest) && held.has_manifest(&other.digest)
                });
                assert_eq!(referrers, expected.map(|other| other.digest).collect());
            }
            match self.registry().tags(&of.0, &of.1, None, 100) {
                Ok(tags) => assert_eq!(tags.entries, held.tags.keys().cloned().collect::<Vec<_>>()),
                Err(Error::NameUnknown(_)) => assert!(!self.model.held.contains_key(&of)),
                Err(e) => panic!("{e}"),
            }
            for (tag, digest) in &held.tags {
                // A manifest that a tag points to is there: that is what collection must never break.
                let found = self.registry().manifest(&of.0, &of.1, &Reference::Tag(tag.clone())).unwrap();
                assert_eq!(found.digest, *digest);
            }
        }
        for repository in ["r", "s"] {
            let repository: RepoKey = repository.parse().unwrap();
            let names = self.model.held.keys().filter(|name| name.0 == repository);
            let names: Vec<_> = names.map(|name| name.1.clone()).collect();
            assert_eq!(self.registry().catalog(&repository, None, 100, |_| true).unwrap().entries, names);
            let holds = self.registry().repository(&repository).unwrap().holds;
            assert_eq!(holds.names, names.len() as u64);
            assert_eq!(holds.bytes, self.model.bytes(&repository));
        }
    }

    /// Whole: nothing is wrong, every byte was read, and the tables are what the log says.
    fn finish(self) {
        let report = self.registry().folder().verify(true, go_on).unwrap();
        assert!(report.is_clean(), "{:?}", report.problems);
        assert_eq!(report.blobs, self.model.kept.len() as u64, "blobs whose bytes are kept");
        self.registry().close();
        let Sides { options, registry, _folder, .. } = self;
        drop(registry);
        let folder = DataFolder::open(&options.data, false, 1 << 20, options.store.clone()).unwrap();
        folder.replay(go_on).unwrap();
        let replayed = folder.verify(true, go_on).unwrap();
        assert!(replayed.is_clean(), "{:?}", replayed.problems);
        assert_eq!(replayed.fingerprints, report.fingerprints);
    }
}

fn add(to: &mut Collected, step: Collected) {
    to.contents.extend(step.contents);
    to.blobs.extend(step.blobs);
}

/// Whether something was there to be deleted.
fn assert_same(deleted: &Result<(), Error>, there: bool) {
    match deleted {
        Ok(()) => assert!(there, "something was deleted that was not there"),
        Err(Error::ManifestUnknown(_) | Error::BlobUnknown(_) | Error::NameUnknown(_)) => {
            assert!(!there, "{deleted:?}");
        }
        Err(e) => panic!("{e}"),
    }
}

/// `usual` cases, and as many times more as `PROPTEST_CASES` is more than 256.
pub fn cases(usual: u32) -> ProptestConfig {
    let default = ProptestConfig::default();
    ProptestConfig { cases: (usual * default.cases).div_ceil(256), max_shrink_iters: 400, ..default }
}

proptest! {
    #![proptest_config(cases(128))]

    #[test]
    fn the_registry_is_its_model(
        policy in policy(),
        commands in proptest::collection::vec(command(), 1..60),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut sides = Sides::new(policy).await;
            for command in commands {
                sides.carry_out(command).await;
                sides.compare();
            }
            sides.finish();
        });
    }
}
