//! Tables are a function of the log: however its records are grouped, and however often a rebuild is broken
//! off, the bytes are the same. Also for logs that make no sense: a fold is total.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use redb::{Durability, ReadableTable, TableDefinition};
use sha2::{Digest as _, Sha256};
use supercargo_eventlog::event::{CollectedBlob, CollectedContents, Rot, TokenUse};
use supercargo_eventlog::{
    Db, DockerApiVersion, Event, Log, PackedLayer, Record, RedbLog, RepositoryConfig, V1Image, V1Parent,
    codec,
};
use supercargo_model::account::{Actions, Grant, Grantee, GroupName, TokenId, TokenKind, UserName};
use supercargo_model::{ImageId, Manifest, RepoKey, RepoName, Signed, Timestamp, media_type};
use supercargo_projections::tables::{ALL, Blobs, Contents, Names, Table, Tags, prefix};
use supercargo_projections::{
    Changes, Empty, Fingerprints, LAYOUT, RebuildError, Rebuilder, Rows, Snapshot, Stored, Tracked, Working,
    compare, fingerprints, fold, generation, open_for_writing, prefix_end, table_definition,
};

use crate::world::{
    BLOBS, MANIFESTS, Memory, any_digest, b, blob_size, cases, descriptor, folded, m, manifest, name, record,
    tag,
};

fn key() -> impl Strategy<Value = (RepoKey, RepoName)> {
    (0..6_usize).prop_map(|index| match index {
        5 => ("one".parse().unwrap(), RepoName::waiting_room(None)),
        4 => ("three".parse().unwrap(), "never".parse().unwrap()),
        index => name(index),
    })
}

fn digest() -> impl Strategy<Value = supercargo_model::Digest> {
    (0..BLOBS + MANIFESTS).prop_map(any_digest)
}

/// Manifests that can't be: they list themselves, each other, and what came later.
fn impossible() -> impl Strategy<Value = Manifest> {
    let of = || vec(digest(), 0..4);
    let signed = option::of((0..9_u64).prop_map(|length| Signed { length, rest: "}".to_owned() }));
    (option::of(digest()), of(), of(), option::of(digest()), signed).prop_map(
        |(config, layers, children, subject, signed)| Manifest {
            media_type: media_type::OCI_INDEX.to_owned(),
            size: 3,
            artifact_type: None,
            config: config.map(descriptor),
            layers: layers.into_iter().map(descriptor).collect(),
            children: children.into_iter().map(descriptor).collect(),
            subject,
            annotations: Vec::new(),
            signed,
        },
    )
}

fn path() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("a/b"),
        Just("a"),
        Just("a/latest"),
        Just("lib/x/v1"),
        Just("lib/x"),
        Just("lib"),
        Just(""),
        Just("/")
    ]
    .prop_map(str::to_owned)
}

/// Any image, made of anything: itself, its children, manifests.
fn image() -> impl Strategy<Value = V1Image> {
    let parent =
        (0..3_u8, digest()).prop_map(|(id, json)| V1Parent { id: ImageId::from_bytes([id; 32]), json });
    (0..3_u8, option::of(parent), digest(), digest()).prop_map(|(id, parent, json, layer)| V1Image {
        id: ImageId::from_bytes([id; 32]),
        parent,
        depth: 1,
        json,
        json_size: 3,
        layer,
        layer_size: 5,
        checksum: None,
        tarsum: None,
    })
}

/// Any event of V1 images, likewise about things that may never have been.
fn image_event() -> impl Strategy<Value = Event> {
    let packed = digest().prop_map(|digest| PackedLayer { digest, size: 5 });
    prop_oneof![
        3 => (key(), image()).prop_map(|((repository, name), image)| {
            Event::V1ImagePushed { repository, name, image }
        }),
        4 => (key(), option::of(key()), vec(image(), 0..3)).prop_map(
            |((repository, name), from, images)| Event::V1ImagesAdded {
                repository, name, from: from.map(|(_, name)| name), images
            }
        ),
        1 => (key(), digest()).prop_map(|((repository, name), digest)| {
            Event::V1ImageDeleted { repository, name, id: ImageId::from_bytes([0; 32]), digest }
        }),
        3 => (key(), digest(), digest()).prop_map(|((repository, name), manifest, image)| {
            Event::V1ViewAdded { repository, name, manifest, image }
        }),
        1 => (digest(), digest(), option::of(packed)).prop_map(|(layer, diff_id, packed)| {
            Event::LayerInspected { layer, diff_id, unpacked_size: 7, packed }
        }),
    ]
}

/// Any event of what is known of blobs and tags besides.
fn known_event() -> impl Strategy<Value = Event> {
    let label = ("[ab]", "[xy\0]").prop_map(|(label, value): (String, String)| (label, value));
    let tag = (0..2_usize).prop_map(crate::world::tag);
    prop_oneof![
        (digest(), 0..2_u8).prop_map(|(blob, md5)| Event::BlobHashed {
            blob,
            md5: [md5; 16],
            sha1: [md5; 20]
        }),
        (digest(), vec(label, 0..3)).prop_map(|(config, labels)| Event::ConfigRead { config, labels }),
        (key(), key(), tag, digest(), any::<bool>()).prop_map(|(to, from, tag, digest, moved)| {
            let from_tag = tag.clone();
            let ((repository, name), (from_repository, from_name)) = (to, from);
            let image = ImageId::from_bytes([0; 32]);
            match moved {
                true => Event::Promoted {
                    repository,
                    name,
                    tag,
                    digest,
                    from_repository,
                    from_name,
                    from_tag,
                    moved,
                },
                false => Event::Migrated {
                    repository,
                    name,
                    tag,
                    digest,
                    from_repository,
                    from_name,
                    from_tag,
                    image,
                },
            }
        }),
    ]
}

/// Any event of accounts, likewise about a few that may never have been.
fn account_event() -> impl Strategy<Value = Event> {
    let user = || (0..2_usize).prop_map(|index| UserName::parse(["ann", "bob"][index]).unwrap());
    let group = || (0..2_usize).prop_map(|index| GroupName::parse(["ops", "ann"][index]).unwrap());
    let token = || (0..3_u128).prop_map(TokenId::from_u128);
    let at = || (0..3_i64).prop_map(Timestamp::from_micros);
    let grantee = prop_oneof![
        Just(Grantee::Anonymous),
        user().prop_map(Grantee::User),
        group().prop_map(Grantee::Group)
    ];
    let grant = grantee.prop_map(|grantee| Grant {
        grantee,
        repositories: "docker-*".parse().unwrap(),
        names: "**".parse().unwrap(),
    });
    prop_oneof![
        (user(), any::<bool>()).prop_map(|(user, administrator)| {
            Event::UserCreated { user, service: false, administrator, password: None }
        }),
        (user(), any::<bool>(), any::<bool>()).prop_map(|(user, administrator, disabled)| {
            Event::UserChanged { user, administrator, disabled }
        }),
        user().prop_map(|user| Event::PasswordSet { user, password: None }),
        user().prop_map(|user| Event::UserRemoved { user }),
        group().prop_map(|group| Event::GroupCreated { group, description: String::new() }),
        group().prop_map(|group| Event::GroupDescribed { group, description: "described".to_owned() }),
        group().prop_map(|group| Event::GroupRemoved { group }),
        (group(), user()).prop_map(|(group, user)| Event::MemberAdded { group, user }),
        (group(), user()).prop_map(|(group, user)| Event::MemberRemoved { group, user }),
        (token(), user(), option::of(at())).prop_map(|(token, user, expires_at)| Event::TokenIssued {
            token,
            user,
            token_kind: TokenKind::Access,
            description: String::new(),
            secret_sha256: [7; 32],
            expires_at,
        }),
        (token(), user()).prop_map(|(token, user)| Event::TokenRevoked { token, user }),
        vec((token(), at()).prop_map(|(token, at)| TokenUse { token, at }), 0..3)
            .prop_map(|uses| Event::TokensUsed { uses }),
        grant.clone().prop_map(|grant| Event::PermissionSet { grant, actions: Actions::ALL }),
        grant.prop_map(|grant| Event::PermissionRemoved { grant }),
        user().prop_map(|user| Event::UserDescribed { user, email: Some("a@b".to_owned()) }),
        any::<bool>().prop_map(|set| {
            let target = "team".parse().unwrap();
            match set {
                true => Event::PermissionTargetSet { target, permissions: Default::default() },
                false => Event::PermissionTargetRemoved { target },
            }
        }),
    ]
}

/// Any event at all, about things that may never have been.
fn event() -> impl Strategy<Value = Event> {
    let config = prop_oneof![Just(DockerApiVersion::V1), Just(DockerApiVersion::Both)]
        .prop_map(|version| RepositoryConfig { docker_api_version: version, ..Default::default() });
    let collected = (key(), vec(digest(), 0..4))
        .prop_map(|((repository, name), digests)| CollectedContents { repository, name, digests });
    let collected_blob = digest().prop_map(|digest| CollectedBlob { digest, size: 5 });
    let properties = vec(("[kl]", vec("[vw]", 0..2)), 0..3);
    prop_oneof![
        1 => (key(), config.clone()).prop_map(|((repository, _), config)| {
            Event::RepositoryCreated { repository, config }
        }),
        1 => (key(), config).prop_map(|((repository, _), config)| {
            Event::RepositoryConfigured { repository, config }
        }),
        1 => key().prop_map(|(repository, _)| Event::RepositoryRemoved { repository }),
        4 => (key(), digest(), 0..9_u64).prop_map(|((repository, name), digest, size)| Event::BlobAdded {
            repository, name, digest, size
        }),
        2 => (key(), digest(), key()).prop_map(|((repository, name), digest, from)| Event::BlobMounted {
            repository, name, digest, size: 7, from_repository: from.0, from_name: from.1
        }),
        2 => (key(), digest()).prop_map(|((repository, name), digest)| {
            Event::BlobDeleted { repository, name, digest }
        }),
        5 => (key(), 0..MANIFESTS).prop_map(|((repository, name), index)| Event::ManifestPushed {
            repository, name, digest: m(index), manifest: manifest(index)
        }),
        3 => (key(), digest(), impossible()).prop_map(|((repository, name), digest, manifest)| {
            Event::ManifestPushed { repository, name, digest, manifest }
        }),
        3 => (key(), digest()).prop_map(|((repository, name), digest)| {
            Event::ManifestDeleted { repository, name, digest }
        }),
        6 => (key(), 0..3_usize, digest(), option::of(digest())).prop_map(
            |((repository, name), which, digest, previous)| Event::TagSet {
                repository, name, tag: tag(which), digest, previous
            }
        ),
        4 => (key(), 0..3_usize, digest()).prop_map(|((repository, name), which, previous)| {
            Event::TagDeleted { repository, name, tag: tag(which), previous }
        }),
        1 => key().prop_map(|(repository, name)| Event::RepositoryNameDeleted { repository, name }),
        2 => (key(), path(), properties, vec("[kl]", 0..2)).prop_map(
            |((repository, _), path, set, removed)| Event::PropertiesSet { repository, path, set, removed }
        ),
        3 => (vec(collected, 0..3), vec(collected_blob, 0..3)).prop_map(|(contents, blobs)| {
            Event::OrphansCollected { contents, blobs }
        }),
        2 => (key(), vec(path(), 0..4)).prop_map(|((repository, _), paths)| {
            Event::FoldersPruned { repository, paths }
        }),
        1 => digest().prop_map(|digest| Event::BlobRotFound { digest, rot: Rot::Missing }),
        4 => account_event(),
        5 => image_event(),
        3 => known_event(),
    ]
}

/// Records whose times may run backwards.
fn records() -> impl Strategy<Value = Vec<Record>> {
    vec((event(), -3..4_i64), 1..90).prop_map(|events| {
        let events = (0..).zip(events);
        events.map(|(seq, (event, at))| record(seq, Timestamp::from_micros(at), event)).collect()
    })
}

/// The file in a folder.
const FILE: &str = "t.redb";

struct Folder {
    path: tempfile::TempDir,
    db: Arc<Db>,
    log: RedbLog,
}

impl Folder {
    fn new() -> Folder {
        // In memory where there is such a place: nothing here is about disks.
        let memory = Path::new("/dev/shm");
        let path = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
        let db = Arc::new(Db::open(&path.path().join(FILE), 4 << 20).unwrap());
        let log = RedbLog::new(Arc::clone(&db)).unwrap();
        Folder { path, db, log }
    }

    /// Appends records and folds them, a group a commit, as the writer does.
    fn live(&self, groups: &[&[Record]]) {
        let mut next = self.log.size().unwrap();
        for group in groups {
            let mut txn = self.db.begin_write().unwrap();
            txn.set_durability(Durability::None).unwrap();
            {
                let mut state = Working::new(open_for_writing(&txn, 1).unwrap());
                group.iter().for_each(|record| fold(&mut state, record));
                state.flush().unwrap();
            }
            next = self.log.append_in(&txn, next, *group).unwrap();
            txn.commit().unwrap();
        }
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot::open(&self.db).unwrap()
    }

    fn rows(&self) -> Memory {
        let mut memory = Memory::default();
        if let Some(stored) = self.snapshot().stored() {
            for row in stored.iter().unwrap() {
                let (key, row) = row.unwrap();
                memory.0.insert(key.value().to_vec(), row.value().to_vec());
            }
        }
        memory
    }

    fn fingerprints(&self) -> Fingerprints {
        fingerprints(self.snapshot().stored()).unwrap()
    }

    fn rebuild(&self, broken_off: bool) -> Result<(), RebuildError> {
        let watch = |_| if broken_off { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
        Rebuilder::new(&self.db, &self.log).run(watch).map(|_| ())
    }
}

/// Cuts records into groups of these sizes, over and over.
fn groups<'r>(records: &'r [Record], sizes: &[usize]) -> Vec<&'r [Record]> {
    let mut rest = records;
    let mut groups = Vec::new();
    for size in sizes.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (group, after) = rest.split_at((*size).min(rest.len()));
        groups.push(group);
        rest = after;
    }
    groups
}

proptest! {
    #![proptest_config(cases(160))]

    /// The middle of the matter, without a file: groups over a table in memory.
    #[test]
    fn groups_make_no_difference(records in records(), sizes in vec(1..12_usize, 1..6)) {
        let mut memory = Memory::default();
        for group in groups(&records, &sizes) {
            let mut state = Working::new(&memory);
            group.iter().for_each(|record| fold(&mut state, record));
            let (_, changes) = state.finish().unwrap();
            memory.write(&changes);
        }
        prop_assert_eq!(memory, folded(&records));
    }

    /// What a group of commands is decided by is what it would be after a commit between them.
    #[test]
    fn a_group_sees_what_a_commit_would_show(records in records(), at in any::<prop::sample::Index>()) {
        let (below, above) = records.split_at(at.index(records.len()));
        let below = folded(below);
        let mut working = Working::new(&below);
        above.iter().for_each(|record| fold(&mut working, record));
        let whole = folded(&records);
        let mut committed = Working::new(&whole);
        same::<Contents>(&mut working, &mut committed);
        same::<Tags>(&mut working, &mut committed);
        same::<Names>(&mut working, &mut committed);
        same::<Blobs>(&mut working, &mut committed);
    }
}

/// A referrer that the group itself removed is not found below it.
#[test]
fn a_referrer_removed_in_the_group_is_not_looked_up_below() {
    let (repository, one) = name(0);
    let pushed = |index| Event::ManifestPushed {
        repository: repository.clone(),
        name: one.clone(),
        digest: m(index),
        manifest: manifest(index),
    };
    let deleted = Event::ManifestDeleted { repository: repository.clone(), name: one.clone(), digest: m(5) };
    let records: Vec<Record> = (0..)
        .zip([pushed(5), deleted, pushed(0)])
        .map(|(seq, event)| record(seq, Timestamp::default(), event))
        .collect();
    let mut memory = folded(&records[..1]);
    let mut state = Working::new(&memory);
    records[1..].iter().for_each(|record| fold(&mut state, record));
    let (_, changes) = state.finish().unwrap();
    memory.write(&changes);
    assert_eq!(memory, folded(&records));
    assert_eq!(memory.all::<Contents>().into_values().filter(|row| row.subject_live).count(), 0);
}

fn same<T: Tracked>(working: &mut impl Rows, committed: &mut impl Rows) {
    let end = [u8::MAX];
    let all = committed.scan::<T>(&[], &end, usize::MAX);
    assert_eq!(working.scan::<T>(&[], &end, usize::MAX), all);
    for (index, (key, row)) in all.iter().enumerate() {
        assert_eq!(working.row::<T>(key).as_ref(), Some(row));
        // Pages from the middle, as steps of a collection read them.
        let mut start = Vec::new();
        T::write_key(key, &mut start);
        let page = &all[index..all.len().min(index + 3)];
        assert_eq!(working.scan::<T>(&start, &end, 3), page);
        let after = &all[index + 1..all.len().min(index + 3)];
        assert_eq!(working.scan_prefix::<T>(&start[..1], Some(&start), after.len().max(1)).len(), {
            let same_prefix = |other: &(T::Key, T::Row)| {
                let mut bytes = Vec::new();
                T::write_key(&other.0, &mut bytes);
                bytes[0] == start[0]
            };
            all[index + 1..].iter().filter(|other| same_prefix(other)).take(after.len().max(1)).count()
        });
    }
}

proptest! {
    #![proptest_config(cases(40))]

    #[test]
    fn replay_equals_live(
        records in records(),
        sizes in vec(1..12_usize, 1..6),
        interruptions in vec(any::<prop::sample::Index>(), 0..4),
        batch_bytes in 0..40_000_usize,
    ) {
        let expected = folded(&records);
        let live = Folder::new();
        live.live(&groups(&records, &sizes));
        prop_assert_eq!(&live.rows(), &expected);
        let prints = live.fingerprints();

        // In place: the tables of another generation, and the same bytes.
        live.rebuild(false).unwrap();
        prop_assert_eq!(generation(&live.db.begin_read().unwrap()).unwrap(), 2);
        prop_assert_eq!(&live.fingerprints(), &prints);
        prop_assert_eq!(&live.rows(), &expected);

        // In batches, each over what those before it left.
        Rebuilder::new(&live.db, &live.log)
            .batch_bytes(batch_bytes)
            .run(|_| ControlFlow::Continue(()))
            .unwrap();
        prop_assert_eq!(generation(&live.db.begin_read().unwrap()).unwrap(), 3);
        prop_assert_eq!(&live.rows(), &expected);

        // Broken off wherever the log happened to end, and gone on with.
        let again = Folder::new();
        let ends: BTreeSet<usize> = interruptions.iter().map(|at| at.index(records.len()) + 1).collect();
        let mut appended = 0;
        for end in ends {
            again.log.append(appended as u64, &records[appended..end]).unwrap();
            appended = end;
            let broken_off = again.rebuild(true);
            prop_assert!(
                matches!(broken_off, Err(RebuildError::Interrupted { at }) if at == end as u64),
                "{:?}", broken_off
            );
            prop_assert!(again.rows().0.is_empty(), "the tables in use are the old ones");
        }
        again.log.append(appended as u64, &records[appended..]).unwrap();
        again.rebuild(false).unwrap();
        prop_assert_eq!(again.fingerprints(), prints);
    }
}

#[test]
fn an_abandoned_rebuild_leaves_nothing_behind() {
    let folder = Folder::new();
    let records = sensible(40);
    folder.live(&[&records[..20]]);
    let before = folder.rows();
    assert!(matches!(folder.rebuild(true), Err(RebuildError::Interrupted { at: 20 })));
    assert_eq!(folder.rows(), before);
    let rebuilder = Rebuilder::new(&folder.db, &folder.log);
    assert!(rebuilder.abandon().unwrap());
    assert!(!rebuilder.abandon().unwrap(), "there is nothing left to give up");
    let txn = folder.db.begin_read().unwrap();
    assert!(txn.open_table(table_definition("tables.2")).is_err());
    drop(txn);
    // What is written after it is in the tables, and in the next rebuild.
    folder.live(&[&records[20..]]);
    assert_eq!(folder.rows(), folded(&records));
    folder.rebuild(false).unwrap();
    assert_eq!(folder.rows(), folded(&records));
}

#[test]
fn a_rebuild_can_be_broken_off_in_the_midst_of_a_batch() {
    let folder = Folder::new();
    let records = sensible(20_500);
    folder.log.append(0, &records).unwrap();
    let broken_off = folder.rebuild(true);
    assert!(matches!(broken_off, Err(RebuildError::Interrupted { at: 20_000 })), "{broken_off:?}");
    let mut seen = Vec::new();
    Rebuilder::new(&folder.db, &folder.log)
        .run(|progress| {
            seen.push((progress.folded, progress.of));
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(seen, [(20_500, 20_500)], "it goes on where it stopped");
    assert_eq!(folder.rows(), folded(&records));
}

/// What a batch replaces is room for the next, and what a rebuild replaces is room for the next rebuild.
#[test]
fn rebuilding_again_does_not_grow_the_file() {
    let folder = Folder::new();
    folder.log.append(0, &sensible(4_000)).unwrap();
    let rebuild = || {
        Rebuilder::new(&folder.db, &folder.log)
            .batch_bytes(50_000)
            .run(|_| ControlFlow::Continue(()))
            .unwrap();
        std::fs::metadata(folder.path.path().join(FILE)).unwrap().len()
    };
    // How large it becomes depends on what was free when, for the first few.
    for _ in 0..3 {
        rebuild();
    }
    let settled = rebuild();
    for _ in 0..4 {
        assert_eq!(rebuild(), settled);
    }
}

#[test]
fn an_empty_log_has_empty_tables() {
    let folder = Folder::new();
    assert!(folder.snapshot().stored().is_none());
    folder.rebuild(false).unwrap();
    assert_eq!(folder.rows(), Memory::default());
    assert_eq!(folder.fingerprints().len(), ALL.len());
    assert_eq!(generation(&folder.db.begin_read().unwrap()).unwrap(), 2);
}

/// What another program began with another layout is not gone on with, and what it finished is known for that.
#[test]
fn tables_have_a_layout() {
    let folder = Folder::new();
    let rebuilder = Rebuilder::new(&folder.db, &folder.log);
    assert!(!rebuilder.is_current().unwrap());
    rebuilder.begin().unwrap();
    assert!(rebuilder.is_current().unwrap());

    folder.live(&[&sensible(40)]);
    let prints = folder.fingerprints();
    assert!(matches!(folder.rebuild(true), Err(RebuildError::Interrupted { at: 40 })));
    let txn = folder.db.begin_write().unwrap();
    {
        let mut generations =
            txn.open_table(TableDefinition::<&str, (u64, u64)>::new("generations")).unwrap();
        for layout in ["layout in use", "layout building"] {
            generations.insert(layout, (LAYOUT + 1, 0)).unwrap();
        }
        let mut building = open_for_writing(&txn, 2).unwrap();
        building.insert(&b"\x01left over"[..], &b""[..]).unwrap();
    }
    txn.commit().unwrap();
    assert!(!rebuilder.is_current().unwrap());
    folder.rebuild(false).unwrap();
    assert!(rebuilder.is_current().unwrap());
    assert_eq!(folder.fingerprints(), prints);
}

/// Rows as this layout has them. Where one that a log could bring about before is another now, raise [`LAYOUT`], so
/// that tables from before are folded anew; then, and where there are only new ones, write down what is found here.
#[test]
fn a_change_of_the_rows_is_noticed() {
    let (LAYOUT, expected) = (3, "sha256:d58a2fa655ede4fb0717c5a796d14d257a68461dbbf07bf15eca97613eb9cdf6")
    else {
        panic!("the layout was raised: write down its fingerprint, too");
    };
    let mut records = sensible(100);
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/events");
    let mut files: Vec<PathBuf> = std::fs::read_dir(fixtures)
        .unwrap()
        .flat_map(|version| std::fs::read_dir(version.unwrap().path()).unwrap())
        .map(|file| file.unwrap().path())
        .filter(|file| file.extension().is_some_and(|extension| extension == "bin"))
        .collect();
    files.sort();
    let events = files.iter().map(|file| codec::decode(&std::fs::read(file).unwrap()).unwrap().event);
    for (seq, event) in (100..).zip(events) {
        records.push(record(seq, Timestamp::from_micros(seq.cast_signed()), event));
    }
    let all = folded(&records).0;
    let mut found = Sha256::new();
    all.iter().for_each(|(key, row)| {
        for part in [key, row] {
            found.update((part.len() as u64).to_le_bytes());
            found.update(part);
        }
    });
    assert_eq!(supercargo_model::Digest::sha256(found.finalize().into()).to_string(), expected);
}

/// Blobs, manifests and tags, over and over, in the order of pushes.
fn sensible(count: u64) -> Vec<Record> {
    let event = |seq: u64| {
        let index = usize::try_from(seq / 8).unwrap();
        let (repository, name) = name(index);
        match seq % 8 {
            blob @ 0..5 => {
                let blob = u8::try_from(blob).unwrap();
                Event::BlobAdded { repository, name, digest: b(blob), size: blob_size(blob) }
            }
            5 => Event::ManifestPushed { repository, name, digest: m(0), manifest: manifest(0) },
            6 => Event::TagSet { repository, name, tag: tag(index), digest: m(0), previous: None },
            _ => Event::TagDeleted { repository, name, tag: tag(index), previous: m(0) },
        }
    };
    (0..count).map(|seq| record(seq, Timestamp::from_micros(seq.cast_signed()), event(seq))).collect()
}

#[test]
fn a_comparison_names_every_difference_and_fingerprints_its_table() {
    let (one, two) = (Folder::new(), Folder::new());
    let records = sensible(40);
    one.live(&[&records]);
    two.live(&[&records]);
    let differences = |limit| {
        let (one, two) = (one.snapshot(), two.snapshot());
        let mut found = Vec::new();
        let count = compare(one.stored().unwrap(), two.stored().unwrap(), limit, |table, key, what| {
            found.push((table, key.to_vec(), what));
        });
        assert_eq!(count.unwrap(), found.len());
        found
    };
    assert_eq!(differences(9), []);
    assert_eq!(one.fingerprints(), two.fingerprints());

    let keys: Vec<Vec<u8>> = two.rows().0.keys().cloned().collect();
    let (changed, removed, added) = (&keys[3], &keys[keys.len() - 1], vec![prefix::blobs()[0], 0, 1]);
    let txn = two.db.begin_write().unwrap();
    {
        let mut table: Stored<'_> = open_for_writing(&txn, 1).unwrap();
        table.insert(changed.as_slice(), [0xee, 0xee].as_slice()).unwrap();
        table.remove(removed.as_slice()).unwrap();
        table.insert(added.as_slice(), [].as_slice()).unwrap();
    }
    txn.commit().unwrap();
    let found = differences(9);
    let kinds = |key: &[u8]| found.iter().find(|(_, found, _)| found == key).map(|(_, _, what)| *what);
    assert_eq!(kinds(changed), Some("differs"));
    assert_eq!(kinds(removed), Some("is missing"));
    assert_eq!(kinds(&added), Some("should not be there"));
    assert_eq!(found.len(), 3);
    assert_eq!(differences(2).len(), 2);
    assert_ne!(one.fingerprints(), two.fingerprints());
}

/// A row that does not decode stops the group before anything is written, and says which table it is of.
#[test]
fn a_damaged_row_is_an_error_and_not_a_guess() {
    let folder = Folder::new();
    folder.live(&[&sensible(8)]);
    let (repository, one) = name(0);
    let mut key = Vec::new();
    Names::write_key(&(repository.clone(), one.clone()), &mut key);
    let txn = folder.db.begin_write().unwrap();
    open_for_writing(&txn, 1).unwrap().insert(key.as_slice(), [0xff; 9].as_slice()).unwrap();
    txn.commit().unwrap();
    let mut snapshot = folder.snapshot();
    assert!(snapshot.get::<Names>(&(repository.clone(), one.clone())).is_err());
    assert_eq!(snapshot.row::<Names>(&(repository.clone(), one.clone())), None);
    assert!(snapshot.check().is_err());
    let names = prefix::names(&repository);
    assert!(snapshot.visit::<Names>(&names, &prefix_end(&names), |_, _| true).is_err());

    let txn = folder.db.begin_write().unwrap();
    let mut state = Working::new(open_for_writing(&txn, 1).unwrap());
    fold(
        &mut state,
        &record(
            8,
            Timestamp::default(),
            Event::RepositoryNameDeleted { repository: repository.clone(), name: one.clone() },
        ),
    );
    fold(
        &mut state,
        &record(9, Timestamp::default(), Event::BlobDeleted { repository, name: one, digest: b(1) }),
    );
    let refused = state.flush().unwrap_err().to_string();
    assert!(refused.contains("table names") && refused.contains("supercargo replay"), "{refused}");
}

/// Every record that any release wrote can be folded.
#[test]
fn golden_records_fold() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/events");
    let mut state = Working::new(Empty);
    let mut count = 0;
    for version in std::fs::read_dir(fixtures).unwrap() {
        for file in std::fs::read_dir(version.unwrap().path()).unwrap() {
            let file = file.unwrap().path();
            if file.extension().is_some_and(|extension| extension == "bin") {
                fold(&mut state, &codec::decode(&std::fs::read(file).unwrap()).unwrap());
                count += 1;
            }
        }
    }
    assert!(count >= Event::KINDS.len(), "only {count} fixtures");
    let (_, changes): (Empty, Changes) = state.finish().unwrap();
    assert!(!changes.is_empty());
}
