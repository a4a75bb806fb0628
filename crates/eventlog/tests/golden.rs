//! Golden bytes: what any released version ever wrote, under fixtures/events/, and what it must decode to.
//!
//! A fixture is a pair: `<Variant>[-case].bin`, the bytes of a record, and `<Variant>[-case].json`, the
//! record they mean. Files are added, never rewritten: `UPDATE_GOLDEN=1 cargo test -p supercargo-eventlog`
//! writes those that [`samples`] names and that are missing, and leaves all others as they are.
#![expect(clippy::unwrap_used, reason = "these are tests, helpers included")]

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::Once;

use supercargo_eventlog::codec::{self, VERSION};
use supercargo_eventlog::event::{CollectedBlob, CollectedContents, Rot, TokenUse};
use supercargo_eventlog::{
    Actor, Api, ContentRules, DockerApiVersion, Event, LoginMethod, NameQuota, Origin, PackedLayer, Record,
    RepositoryConfig, V1Image, V1Parent,
};
use supercargo_model::account::{
    Actions, Grant, Grantee, GroupName, PasswordHash, PermissionTarget, PermissionTargetName, TargetActions,
    TargetRepositories, TokenKind, UserName,
};
use supercargo_model::{
    Descriptor, Digest, ImageId, Manifest, PathPattern, Pattern, RepoKey, RepoName, Signed, Tag, Timestamp,
    media_type,
};
use uuid::Uuid;

/// Where a version's fixtures lie; those that are missing are written first, where that was asked for.
fn folder(version: u8) -> PathBuf {
    static UPDATED: Once = Once::new();
    UPDATED.call_once(|| {
        if std::env::var_os("UPDATE_GOLDEN").is_some_and(|value| value == "1") {
            write_missing(&path_of(VERSION));
        }
    });
    path_of(version)
}

fn path_of(version: u8) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../fixtures/events/v{version}"))
}

/// The fixtures of a version, by their names without extension.
fn fixtures(version: u8) -> BTreeSet<String> {
    fs::read_dir(folder(version))
        .unwrap_or_else(|e| panic!("record version {version} has no fixtures: {e}"))
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            let extension = path.extension().and_then(|extension| extension.to_str());
            assert!(matches!(extension, Some("bin" | "json")), "{} is no fixture", path.display());
            path.file_stem().unwrap().to_str().unwrap().to_owned()
        })
        .collect()
}

fn bytes_of(version: u8, fixture: &str) -> Vec<u8> {
    let path = folder(version).join(format!("{fixture}.bin"));
    fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn json_of(version: u8, fixture: &str) -> serde_json::Value {
    let path = folder(version).join(format!("{fixture}.json"));
    let json = fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_slice(&json).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn sha256(byte: u8) -> Digest {
    Digest::sha256([byte; 32])
}

fn sha512(byte: u8) -> Digest {
    Digest::sha512([byte; 64])
}

fn key() -> RepoKey {
    "docker-local".parse().unwrap()
}

fn name() -> RepoName {
    "library/ubuntu".parse().unwrap()
}

fn tag() -> Tag {
    "v1.0".parse().unwrap()
}

fn descriptor(media_type: &str, byte: u8, size: u64) -> Descriptor {
    Descriptor {
        media_type: media_type.to_owned(),
        digest: sha256(byte),
        size,
        platform: None,
        foreign: false,
    }
}

fn image() -> Manifest {
    Manifest {
        media_type: media_type::OCI_MANIFEST.to_owned(),
        size: 1024,
        artifact_type: None,
        config: Some(descriptor(media_type::OCI_CONFIG, 1, 300)),
        layers: vec![
            descriptor("application/vnd.oci.image.layer.v1.tar+gzip", 2, u64::from(u32::MAX) + 1),
            Descriptor {
                foreign: true,
                ..descriptor("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", 3, 7)
            },
        ],
        children: Vec::new(),
        subject: None,
        annotations: vec![("org.opencontainers.image.title".to_owned(), "Grüße, 世界".to_owned())],
        signed: None,
    }
}

fn index() -> Manifest {
    Manifest {
        media_type: media_type::OCI_INDEX.to_owned(),
        size: 0,
        artifact_type: Some("application/vnd.example".to_owned()),
        config: None,
        layers: Vec::new(),
        children: vec![
            Descriptor {
                platform: Some("linux/arm64/v8".to_owned()),
                ..descriptor(media_type::OCI_MANIFEST, 4, 1024)
            },
            Descriptor { digest: sha512(5), ..descriptor("", 0, 0) },
        ],
        subject: Some(sha512(6)),
        annotations: Vec::new(),
        signed: None,
    }
}

fn schema1() -> Manifest {
    Manifest {
        media_type: media_type::DOCKER_SCHEMA1_SIGNED.to_owned(),
        size: 300,
        config: None,
        layers: vec![descriptor("", 7, 0)],
        annotations: Vec::new(),
        signed: Some(Signed { length: 298, rest: ",\n   \"signatures\": []\n}".to_owned() }),
        ..image()
    }
}

fn rules() -> ContentRules {
    let patterns = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
    ContentRules {
        immutable_tags: patterns(&["v*", "release-**"]),
        media_types: patterns(&["application/vnd.oci.image.*+json"]),
        artifact_types: Vec::new(),
        manifest_bytes_max: Some(65_536),
        blob_bytes_max: None,
        quota: Some(u64::MAX),
        name_quotas: vec![NameQuota { names: "team-a/**".parse().unwrap(), bytes: 250 }],
    }
}

/// A record of every variant, and of every value that a variant's fields may take where bytes tell them
/// apart. A sample is never edited once its fixture is released.
fn samples() -> Vec<(&'static str, Record)> {
    let (repository, name, tag) = (key(), name(), tag());
    let config = RepositoryConfig {
        description: "Made at the first start".to_owned(),
        docker_api_version: DockerApiVersion::Both,
        sparse_index: true,
        rules: rules(),
        login: LoginMethod::Basic,
        verify_tarsum: true,
        docker_port: Some(444),
        blacked_out: true,
        max_unique_tags: 300,
        includes: vec![PathPattern::parse("team-a/**").unwrap()],
        excludes: vec![PathPattern::parse("**/secret?/*").unwrap()],
        attributes: vec![("notes".to_owned(), "\"kept\"".to_owned())],
    };
    let set = |digest, previous| Event::TagSet {
        repository: key(),
        name: self::name(),
        tag: self::tag(),
        digest,
        previous,
    };
    let rot = |rot| Event::BlobRotFound { digest: sha256(0x0f), rot };
    let collected =
        CollectedContents { repository: key(), name: self::name(), digests: vec![sha256(0), sha512(0xff)] };
    let events = vec![
        ("RepositoryCreated", Event::RepositoryCreated { repository: key(), config: config.clone() }),
        (
            "RepositoryCreated-default",
            Event::RepositoryCreated { repository: key(), config: RepositoryConfig::default() },
        ),
        (
            "RepositoryConfigured",
            Event::RepositoryConfigured {
                repository: key(),
                config: RepositoryConfig { docker_api_version: DockerApiVersion::V1, ..config },
            },
        ),
        ("RepositoryRemoved", Event::RepositoryRemoved { repository: key() }),
        (
            "BlobAdded",
            Event::BlobAdded { repository: key(), name: name.clone(), digest: sha256(0xab), size: 0 },
        ),
        (
            "BlobAdded-sha512",
            Event::BlobAdded { repository: key(), name: name.clone(), digest: sha512(0xcd), size: u64::MAX },
        ),
        (
            "BlobMounted",
            Event::BlobMounted {
                repository: key(),
                name: name.clone(),
                digest: sha256(1),
                size: 65_537,
                from_repository: "other.repo".parse().unwrap(),
                from_name: "a".parse().unwrap(),
            },
        ),
        ("BlobDeleted", Event::BlobDeleted { repository: key(), name: name.clone(), digest: sha256(2) }),
        (
            "ManifestPushed",
            Event::ManifestPushed {
                repository: key(),
                name: name.clone(),
                digest: sha256(3),
                manifest: image(),
            },
        ),
        (
            "ManifestPushed-index",
            Event::ManifestPushed {
                repository: key(),
                name: name.clone(),
                digest: sha512(4),
                manifest: index(),
            },
        ),
        (
            "ManifestDeleted",
            Event::ManifestDeleted { repository: key(), name: name.clone(), digest: sha256(5) },
        ),
        ("TagSet", set(sha256(6), None)),
        ("TagSet-moved", set(sha256(7), Some(sha512(6)))),
        ("TagDeleted", Event::TagDeleted { repository: key(), name: name.clone(), tag, previous: sha256(8) }),
        ("RepositoryNameDeleted", Event::RepositoryNameDeleted { repository: key(), name }),
        (
            "PropertiesSet",
            Event::PropertiesSet {
                repository: key(),
                path: "library/ubuntu/v1.0".to_owned(),
                set: vec![
                    ("build.number".to_owned(), vec!["17".to_owned()]),
                    ("empty".to_owned(), Vec::new()),
                    ("many".to_owned(), vec!["a".to_owned(), String::new(), "ß".to_owned()]),
                ],
                removed: vec!["old".to_owned()],
            },
        ),
        (
            "OrphansCollected",
            Event::OrphansCollected {
                contents: vec![collected],
                blobs: vec![CollectedBlob { digest: sha256(9), size: 251 }],
            },
        ),
        ("OrphansCollected-blobs", Event::OrphansCollected { contents: Vec::new(), blobs: Vec::new() }),
        (
            "FoldersPruned",
            Event::FoldersPruned { repository, paths: vec!["a/b/c".to_owned(), "a/b".to_owned()] },
        ),
        ("BlobRotFound", rot(Rot::Missing)),
        ("BlobRotFound-size", rot(Rot::WrongSize)),
        ("BlobRotFound-digest", rot(Rot::WrongDigest)),
        ("BlobRotFound-unreadable", rot(Rot::Unreadable)),
        (
            "ManifestPushed-signed",
            Event::ManifestPushed {
                repository: key(),
                name: self::name(),
                digest: sha256(5),
                manifest: schema1(),
            },
        ),
    ];
    events
        .into_iter()
        .chain(samples_of_accounts())
        .chain(samples_of_v1())
        .chain(samples_of_version_4())
        .collect::<Vec<_>>()
        .into_iter()
        .zip(envelopes().into_iter().cycle())
        .map(|((fixture, event), envelope)| (fixture, Record { event, ..envelope }))
        .collect()
}

fn samples_of_v1() -> Vec<(&'static str, Event)> {
    let id = |byte| ImageId::from_bytes([byte; 32]);
    let base = V1Image {
        id: id(1),
        parent: None,
        depth: 1,
        json: sha256(2),
        json_size: 73,
        layer: sha256(3),
        layer_size: u64::from(u32::MAX) + 1,
        checksum: None,
        tarsum: None,
    };
    let top = V1Image {
        id: id(4),
        parent: Some(V1Parent { id: id(1), json: sha256(2) }),
        depth: 251,
        json: sha256(5),
        json_size: 0,
        layer: sha512(6),
        layer_size: 32,
        checksum: Some(sha256(7)),
        tarsum: Some("tarsum+sha256:00".to_owned()),
    };
    let pushed =
        |user, image| Event::V1ImagePushed { repository: key(), name: RepoName::waiting_room(user), image };
    let added = |from, images| Event::V1ImagesAdded { repository: key(), name: name(), from, images };
    let inspected = |packed| Event::LayerInspected {
        layer: sha256(0x0a),
        diff_id: sha256(0x0b),
        unpacked_size: 1024,
        packed,
    };
    vec![
        ("V1ImagePushed", pushed(Some("alice@example"), top.clone())),
        ("V1ImagePushed-base", pushed(None, base.clone())),
        ("V1ImagesAdded", added(Some(RepoName::waiting_room(None)), vec![base, top])),
        ("V1ImagesAdded-made", added(None, Vec::new())),
        (
            "V1ImageDeleted",
            Event::V1ImageDeleted { repository: key(), name: name(), id: id(4), digest: sha256(5) },
        ),
        (
            "V1ViewAdded",
            Event::V1ViewAdded { repository: key(), name: name(), manifest: sha512(8), image: sha256(5) },
        ),
        ("LayerInspected", inspected(None)),
        ("LayerInspected-packed", inspected(Some(PackedLayer { digest: sha256(0x0c), size: 32 }))),
    ]
}

fn samples_of_version_4() -> Vec<(&'static str, Event)> {
    let other = || "docker-prod".parse::<RepoKey>().unwrap();
    let promoted = |moved| Event::Promoted {
        repository: other(),
        name: name(),
        tag: tag(),
        digest: sha256(1),
        from_repository: key(),
        from_name: "team/ubuntu".parse().unwrap(),
        from_tag: "rc1".parse().unwrap(),
        moved,
    };
    let actions = TargetActions { read: true, deploy: false, annotate: true, delete: false, manage: false };
    let permissions = PermissionTarget {
        repositories: vec![TargetRepositories::Any("ANY LOCAL".to_owned()), TargetRepositories::Key(key())],
        includes: vec![PathPattern::parse("**").unwrap()],
        excludes: vec![PathPattern::parse("repositories/jfrog/").unwrap()],
        users: vec![(
            UserName::parse("alice@example").unwrap(),
            TargetActions { deploy: true, annotate: false, delete: true, ..actions },
        )],
        groups: vec![(GroupName::parse("builders").unwrap(), TargetActions { manage: true, ..actions })],
    };
    let target = || PermissionTargetName::parse("Team A, all").unwrap();
    let described = |email: Option<&str>| Event::UserDescribed {
        user: UserName::parse("alice@example").unwrap(),
        email: email.map(str::to_owned),
    };
    vec![
        ("Promoted", promoted(false)),
        ("Promoted-moved", promoted(true)),
        (
            "Migrated",
            Event::Migrated {
                repository: other(),
                name: name(),
                tag: tag(),
                digest: sha256(2),
                from_repository: key(),
                from_name: name(),
                from_tag: tag(),
                image: ImageId::from_bytes([3; 32]),
            },
        ),
        ("BlobHashed", Event::BlobHashed { blob: sha512(4), md5: [0xab; 16], sha1: [0xcd; 20] }),
        (
            "ConfigRead",
            Event::ConfigRead {
                config: sha256(5),
                labels: vec![("maintainer".to_owned(), "Zoë\n".to_owned()), (String::new(), String::new())],
            },
        ),
        ("UserDescribed", described(Some("alice@example.org"))),
        ("UserDescribed-nothing", described(None)),
        ("PermissionTargetSet", Event::PermissionTargetSet { target: target(), permissions }),
        (
            "PermissionTargetSet-empty",
            Event::PermissionTargetSet { target: target(), permissions: PermissionTarget::default() },
        ),
        ("PermissionTargetRemoved", Event::PermissionTargetRemoved { target: target() }),
        (
            "GroupDescribed",
            Event::GroupDescribed {
                group: GroupName::parse("builders").unwrap(),
                description: "Those who run it".to_owned(),
            },
        ),
    ]
}

fn samples_of_accounts() -> Vec<(&'static str, Event)> {
    let user = || UserName::parse("alice@example").unwrap();
    let group = || GroupName::parse("builders").unwrap();
    let token = Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0007);
    let hash = || Some(PasswordHash::new("$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA"));
    let grant = |grantee| Grant {
        grantee,
        repositories: Pattern::parse("docker-*").unwrap(),
        names: Pattern::parse("team-a/**").unwrap(),
    };
    let issued = |token_kind, expires_at| Event::TokenIssued {
        token,
        user: user(),
        token_kind,
        description: "CI of team A".to_owned(),
        secret_sha256: [0xab; 32],
        expires_at,
    };
    let at = Timestamp::from_micros(1_700_000_000_000_000);
    vec![
        (
            "UserCreated",
            Event::UserCreated { user: user(), service: false, administrator: true, password: hash() },
        ),
        (
            "UserCreated-service",
            Event::UserCreated { user: user(), service: true, administrator: false, password: None },
        ),
        ("UserChanged", Event::UserChanged { user: user(), administrator: true, disabled: false }),
        ("UserChanged-disabled", Event::UserChanged { user: user(), administrator: false, disabled: true }),
        ("PasswordSet", Event::PasswordSet { user: user(), password: hash() }),
        ("PasswordSet-none", Event::PasswordSet { user: user(), password: None }),
        ("UserRemoved", Event::UserRemoved { user: user() }),
        ("GroupCreated", Event::GroupCreated { group: group(), description: "Those who build".to_owned() }),
        ("GroupRemoved", Event::GroupRemoved { group: group() }),
        ("MemberAdded", Event::MemberAdded { group: group(), user: user() }),
        ("MemberRemoved", Event::MemberRemoved { group: group(), user: user() }),
        ("TokenIssued", issued(TokenKind::Access, None)),
        ("TokenIssued-refresh", issued(TokenKind::Refresh, Some(at))),
        ("TokenRevoked", Event::TokenRevoked { token, user: user() }),
        ("TokensUsed", Event::TokensUsed { uses: vec![TokenUse { token, at }] }),
        (
            "PermissionSet",
            Event::PermissionSet {
                grant: grant(Grantee::Group(group())),
                actions: Actions { read: true, write: true, delete: false, manage: false },
            },
        ),
        (
            "PermissionSet-user",
            Event::PermissionSet {
                grant: grant(Grantee::User(user())),
                actions: Actions { read: false, write: false, delete: true, manage: true },
            },
        ),
        ("PermissionRemoved", Event::PermissionRemoved { grant: grant(Grantee::Anonymous) }),
    ]
}

/// Envelopes that between them hold every surface, every kind of actor and every optional field both ways.
fn envelopes() -> Vec<Record> {
    let v4 = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let v6 = IpAddr::V6(Ipv6Addr::LOCALHOST);
    let text = |text: &str| Some(text.to_owned());
    [
        (0, 0, Actor::System, Origin::local(Api::Startup)),
        (250, 1, Actor::System, Origin::local(Api::Worker)),
        (251, -1, Actor::User("root".to_owned()), Origin::local(Api::Cli)),
        (
            65_535,
            1_700_000_000_000_000,
            Actor::Anonymous,
            Origin {
                api: Api::DockerV2,
                remote: Some(v4),
                user_agent: text("docker/27.0"),
                request_id: text("0001"),
            },
        ),
        (
            65_536,
            1_700_000_000_000_001,
            Actor::User("Zoë".to_owned()),
            Origin { api: Api::Admin, remote: Some(v6), user_agent: None, request_id: text("") },
        ),
        (
            u64::from(u32::MAX) + 1,
            i64::MAX,
            Actor::User(String::new()),
            Origin { api: Api::DockerV1, remote: None, user_agent: text("docker/1.5"), request_id: None },
        ),
        (u64::MAX, i64::MIN, Actor::Anonymous, Origin::local(Api::Artifactory)),
    ]
    .into_iter()
    .map(|(seq, micros, actor, origin)| Record {
        seq,
        at: Timestamp::from_micros(micros),
        id: Uuid::from_u128(0x0190_7e2f_1a2b_7c3d_8e4f_5a6b_7c8d_9eaf ^ u128::from(seq)),
        actor,
        origin,
        event: Event::RepositoryRemoved { repository: key() },
    })
    .collect()
}

fn write_missing(folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    let write = |file: String, bytes: &[u8]| {
        let path = folder.join(file);
        match fs::OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(mut file) => file.write_all(bytes).unwrap(),
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(e) => panic!("{}: {e}", path.display()),
        }
    };
    for (fixture, record) in samples() {
        let mut json = serde_json::to_vec_pretty(&record).unwrap();
        json.push(b'\n');
        write(format!("{fixture}.json"), &json);
        write(format!("{fixture}.bin"), &codec::encode(&record).unwrap());
    }
}

/// Whether all of `part` is in `whole`, which may have fields that there were not yet.
fn says(whole: &serde_json::Value, part: &serde_json::Value) -> bool {
    use serde_json::Value::{Array, Object};
    match (whole, part) {
        (Object(whole), Object(part)) => {
            part.iter().all(|(key, part)| whole.get(key).is_some_and(|whole| says(whole, part)))
        }
        (Array(whole), Array(part)) => {
            whole.len() == part.len() && whole.iter().zip(part).all(|(whole, part)| says(whole, part))
        }
        (whole, part) => whole == part,
    }
}

#[test]
fn samples_are_encoded_as_their_fixtures() {
    for (fixture, record) in samples() {
        assert_eq!(
            codec::encode(&record).unwrap(),
            bytes_of(VERSION, fixture),
            "{fixture}: what is written changed, and that needs a new record version"
        );
    }
}

#[test]
fn every_variant_has_a_fixture_in_the_current_version() {
    let variants: BTreeSet<String> = fixtures(VERSION)
        .iter()
        .map(|fixture| fixture.split('-').next().unwrap_or_default().to_owned())
        .collect();
    let kinds: BTreeSet<String> = Event::KINDS.iter().map(|kind| (*kind).to_owned()).collect();
    assert_eq!(variants, kinds, "a variant without a fixture, or a fixture without its variant");
}

#[test]
fn fixtures_of_every_version_decode_to_what_is_pinned() {
    for version in 1..=VERSION {
        for fixture in fixtures(version) {
            let bytes = bytes_of(version, &fixture);
            assert_eq!(bytes.first(), Some(&version), "{fixture}");
            let record = codec::decode(&bytes).unwrap_or_else(|e| panic!("v{version}/{fixture}: {e}"));
            let pinned = json_of(version, &fixture);
            let exported = serde_json::to_value(&record).unwrap();
            if version == VERSION {
                assert_eq!(exported, pinned, "v{version}/{fixture}");
            } else {
                assert!(says(&exported, &pinned), "v{version}/{fixture}: {exported}");
            }
            assert_eq!(fixture.split('-').next(), Some(record.event.kind()), "v{version}/{fixture}");
            // An export is made of this JSON; it has to come back whole.
            let imported: Record = serde_json::from_value(pinned).unwrap();
            assert_eq!(imported, record, "v{version}/{fixture}");
        }
    }
}

#[test]
fn the_pinned_records_are_encoded_as_they_were() {
    for fixture in fixtures(VERSION) {
        let record: Record = serde_json::from_value(json_of(VERSION, &fixture)).unwrap();
        assert_eq!(codec::encode(&record).unwrap(), bytes_of(VERSION, &fixture), "{fixture}");
    }
}
