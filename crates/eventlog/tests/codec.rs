//! The codec over arbitrary records and arbitrary bytes. `PROPTEST_CASES` sets how many.
#![expect(clippy::unwrap_used, reason = "these are tests, helpers included")]

use std::net::IpAddr;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use supercargo_eventlog::codec::{CodecError, RECORD_BYTES_MAX, VERSION, decode, encode};
use supercargo_eventlog::event::{CollectedBlob, CollectedContents, Rot};
use supercargo_eventlog::{
    Actor, Api, ContentRules, DockerApiVersion, Event, LoginMethod, NameQuota, Origin, PackedLayer, Record,
    RepositoryConfig, V1Image, V1Parent,
};
use supercargo_model::account::{
    GroupName, PermissionTarget, PermissionTargetName, TargetActions, TargetRepositories, UserName,
};
use supercargo_model::{
    Descriptor, Digest, ImageId, Manifest, PathPattern, Pattern, RepoKey, RepoName, Signed, Tag, Timestamp,
};
use uuid::Uuid;

fn digest() -> impl Strategy<Value = Digest> {
    prop_oneof![
        any::<[u8; 32]>().prop_map(Digest::sha256),
        vec(any::<u8>(), 64).prop_map(|hash| Digest::sha512(hash.try_into().unwrap())),
    ]
}

fn key() -> impl Strategy<Value = RepoKey> {
    "[a-zA-Z0-9][a-zA-Z0-9-]{0,20}".prop_map(|text| text.parse().unwrap())
}

fn name() -> impl Strategy<Value = RepoName> {
    "[a-z0-9]{1,8}(/[a-z0-9]{1,8}){0,3}".prop_map(|text| text.parse().unwrap())
}

fn tag() -> impl Strategy<Value = Tag> {
    "[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}".prop_map(|text| text.parse().unwrap())
}

fn text() -> impl Strategy<Value = String> {
    any::<String>()
}

fn config() -> impl Strategy<Value = RepositoryConfig> {
    let version =
        prop_oneof![Just(DockerApiVersion::V1), Just(DockerApiVersion::V2), Just(DockerApiVersion::Both)];
    let login = prop_oneof![Just(LoginMethod::Token), Just(LoginMethod::Basic)];
    let first = (text(), version, any::<bool>(), rules(), login, any::<bool>());
    let patterns = || vec(path_pattern(), 0..3);
    let attributes = vec((text(), text()), 0..3);
    let second = (option::of(any::<u16>()), any::<bool>(), any::<u32>(), patterns(), patterns(), attributes);
    (first, second).prop_map(|(first, second)| {
        let (description, docker_api_version, sparse_index, rules, login, verify_tarsum) = first;
        let (docker_port, blacked_out, max_unique_tags, includes, excludes, attributes) = second;
        RepositoryConfig {
            description,
            docker_api_version,
            sparse_index,
            rules,
            login,
            verify_tarsum,
            docker_port,
            blacked_out,
            max_unique_tags,
            includes,
            excludes,
            attributes,
        }
    })
}

fn path_pattern() -> impl Strategy<Value = PathPattern> {
    "[a-zA-Z0-9:_ ?*]{1,9}(/[a-z0-9.*]{1,9}){0,2}".prop_filter_map("no pattern", |text| text.parse().ok())
}

fn pattern() -> impl Strategy<Value = Pattern> {
    "[a-z0-9+*]{1,9}(/[a-z0-9.*]{1,9}){0,2}".prop_filter_map("no pattern", |text| text.parse().ok())
}

fn rules() -> impl Strategy<Value = ContentRules> {
    let patterns = || vec(pattern(), 0..3);
    let quota = (pattern(), any::<u64>()).prop_map(|(names, bytes)| NameQuota { names, bytes });
    let limit = || option::of(any::<u64>());
    (patterns(), patterns(), patterns(), limit(), limit(), limit(), vec(quota, 0..3)).prop_map(
        |(
            immutable_tags,
            media_types,
            artifact_types,
            manifest_bytes_max,
            blob_bytes_max,
            quota,
            name_quotas,
        )| {
            ContentRules {
                immutable_tags,
                media_types,
                artifact_types,
                manifest_bytes_max,
                blob_bytes_max,
                quota,
                name_quotas,
            }
        },
    )
}

fn descriptor() -> impl Strategy<Value = Descriptor> {
    (text(), digest(), any::<u64>(), option::of(text()), any::<bool>()).prop_map(
        |(media_type, digest, size, platform, foreign)| Descriptor {
            media_type,
            digest,
            size,
            platform,
            foreign,
        },
    )
}

fn manifest() -> impl Strategy<Value = Manifest> {
    let references = (option::of(descriptor()), vec(descriptor(), 0..4), vec(descriptor(), 0..4));
    let signed = option::of((any::<u64>(), text()).prop_map(|(length, rest)| Signed { length, rest }));
    let rest = (
        (text(), any::<u64>(), option::of(text())),
        (option::of(digest()), vec((text(), text()), 0..4), signed),
    );
    (references, rest).prop_map(
        |(
            (config, layers, children),
            ((media_type, size, artifact_type), (subject, annotations, signed)),
        )| Manifest {
            media_type,
            size,
            artifact_type,
            config,
            layers,
            children,
            subject,
            annotations,
            signed,
        },
    )
}

fn collected() -> impl Strategy<Value = CollectedContents> {
    (key(), name(), vec(digest(), 0..4)).prop_map(|(repository, name, digests)| CollectedContents {
        repository,
        name,
        digests,
    })
}

fn room() -> impl Strategy<Value = RepoName> {
    option::of(text()).prop_map(|user| RepoName::waiting_room(user.as_deref()))
}

fn image_id() -> impl Strategy<Value = ImageId> {
    any::<[u8; 32]>().prop_map(ImageId::from_bytes)
}

fn v1_image() -> impl Strategy<Value = V1Image> {
    let parent = (image_id(), digest()).prop_map(|(id, json)| V1Parent { id, json });
    let identity = (image_id(), option::of(parent), any::<u32>());
    let content = ((digest(), any::<u64>()), (digest(), any::<u64>()));
    (identity, content, option::of(digest()), option::of(text())).prop_map(
        |((id, parent, depth), ((json, json_size), (layer, layer_size)), checksum, tarsum)| V1Image {
            id,
            parent,
            depth,
            json,
            json_size,
            layer,
            layer_size,
            checksum,
            tarsum,
        },
    )
}

fn whence() -> impl Strategy<Value = ((RepoKey, RepoName, Tag), (RepoKey, RepoName, Tag))> {
    ((key(), name(), tag()), (key(), name(), tag()))
}

fn user() -> impl Strategy<Value = UserName> {
    "u[a-z0-9@.+_-]{0,20}".prop_map(|text| text.parse().unwrap())
}

fn target() -> impl Strategy<Value = PermissionTargetName> {
    "[a-z0-9äß,]{1,20}".prop_map(|text| text.parse().unwrap())
}

fn permissions() -> impl Strategy<Value = PermissionTarget> {
    let repositories =
        prop_oneof![text().prop_map(TargetRepositories::Any), key().prop_map(TargetRepositories::Key),];
    let actions = || {
        any::<[bool; 5]>().prop_map(|[read, deploy, annotate, delete, manage]| TargetActions {
            read,
            deploy,
            annotate,
            delete,
            manage,
        })
    };
    let group = "[a-z]{1,9}".prop_map(|text| text.parse::<GroupName>().unwrap());
    (
        vec(repositories, 0..3),
        vec(path_pattern(), 0..3),
        vec(path_pattern(), 0..3),
        vec((user(), actions()), 0..3),
        vec((group, actions()), 0..3),
    )
        .prop_map(|(repositories, includes, excludes, users, groups)| PermissionTarget {
            repositories,
            includes,
            excludes,
            users,
            groups,
        })
}

/// Every variant.
fn event() -> impl Strategy<Value = Event> {
    let rot =
        prop_oneof![Just(Rot::Missing), Just(Rot::WrongSize), Just(Rot::WrongDigest), Just(Rot::Unreadable)];
    let blob = (digest(), any::<u64>()).prop_map(|(digest, size)| CollectedBlob { digest, size });
    let packed = (digest(), any::<u64>()).prop_map(|(digest, size)| PackedLayer { digest, size });
    prop_oneof![
        (key(), config()).prop_map(|(repository, config)| Event::RepositoryCreated { repository, config }),
        (key(), config()).prop_map(|(repository, config)| Event::RepositoryConfigured { repository, config }),
        key().prop_map(|repository| Event::RepositoryRemoved { repository }),
        (key(), name(), digest(), any::<u64>()).prop_map(|(repository, name, digest, size)| {
            Event::BlobAdded { repository, name, digest, size }
        }),
        (key(), name(), digest(), any::<u64>(), key(), name()).prop_map(
            |(repository, name, digest, size, from_repository, from_name)| Event::BlobMounted {
                repository,
                name,
                digest,
                size,
                from_repository,
                from_name,
            }
        ),
        (key(), name(), digest()).prop_map(|(repository, name, digest)| Event::BlobDeleted {
            repository,
            name,
            digest
        }),
        (key(), name(), digest(), manifest()).prop_map(|(repository, name, digest, manifest)| {
            Event::ManifestPushed { repository, name, digest, manifest }
        }),
        (key(), name(), digest()).prop_map(|(repository, name, digest)| Event::ManifestDeleted {
            repository,
            name,
            digest
        }),
        (key(), name(), tag(), digest(), option::of(digest())).prop_map(
            |(repository, name, tag, digest, previous)| Event::TagSet {
                repository,
                name,
                tag,
                digest,
                previous,
            }
        ),
        (key(), name(), tag(), digest()).prop_map(|(repository, name, tag, previous)| Event::TagDeleted {
            repository,
            name,
            tag,
            previous,
        }),
        (key(), name()).prop_map(|(repository, name)| Event::RepositoryNameDeleted { repository, name }),
        (key(), text(), vec((text(), vec(text(), 0..3)), 0..3), vec(text(), 0..3)).prop_map(
            |(repository, path, set, removed)| Event::PropertiesSet { repository, path, set, removed }
        ),
        (vec(collected(), 0..3), vec(blob, 0..3))
            .prop_map(|(contents, blobs)| Event::OrphansCollected { contents, blobs }),
        (key(), vec(text(), 0..3)).prop_map(|(repository, paths)| Event::FoldersPruned { repository, paths }),
        (digest(), rot).prop_map(|(digest, rot)| Event::BlobRotFound { digest, rot }),
        (key(), room(), v1_image()).prop_map(|(repository, name, image)| Event::V1ImagePushed {
            repository,
            name,
            image
        }),
        (key(), name(), option::of(room()), vec(v1_image(), 0..3)).prop_map(
            |(repository, name, from, images)| Event::V1ImagesAdded { repository, name, from, images }
        ),
        (key(), name(), image_id(), digest()).prop_map(|(repository, name, id, digest)| {
            Event::V1ImageDeleted { repository, name, id, digest }
        }),
        (key(), name(), digest(), digest()).prop_map(|(repository, name, manifest, image)| {
            Event::V1ViewAdded { repository, name, manifest, image }
        }),
        (digest(), digest(), any::<u64>(), option::of(packed)).prop_map(
            |(layer, diff_id, unpacked_size, packed)| Event::LayerInspected {
                layer,
                diff_id,
                unpacked_size,
                packed,
            }
        ),
        (whence(), digest(), any::<bool>()).prop_map(|((to, from), digest, moved)| Event::Promoted {
            repository: to.0,
            name: to.1,
            tag: to.2,
            digest,
            from_repository: from.0,
            from_name: from.1,
            from_tag: from.2,
            moved,
        }),
        (whence(), digest(), image_id()).prop_map(|((to, from), digest, image)| Event::Migrated {
            repository: to.0,
            name: to.1,
            tag: to.2,
            digest,
            from_repository: from.0,
            from_name: from.1,
            from_tag: from.2,
            image,
        }),
        (digest(), any::<[u8; 16]>(), any::<[u8; 20]>()).prop_map(|(blob, md5, sha1)| Event::BlobHashed {
            blob,
            md5,
            sha1
        }),
        (digest(), vec((text(), text()), 0..3))
            .prop_map(|(config, labels)| Event::ConfigRead { config, labels }),
        (user(), option::of(text())).prop_map(|(user, email)| Event::UserDescribed { user, email }),
        (target(), permissions())
            .prop_map(|(target, permissions)| Event::PermissionTargetSet { target, permissions }),
        target().prop_map(|target| Event::PermissionTargetRemoved { target }),
        ("g[a-z]{0,9}", text()).prop_map(|(group, description)| {
            let group = group.parse().unwrap();
            Event::GroupDescribed { group, description }
        }),
    ]
}

fn origin() -> impl Strategy<Value = Origin> {
    let api = prop_oneof![
        Just(Api::Startup),
        Just(Api::Worker),
        Just(Api::Cli),
        Just(Api::Admin),
        Just(Api::DockerV2),
        Just(Api::DockerV1),
        Just(Api::Artifactory),
    ];
    (api, option::of(any::<IpAddr>()), option::of(text()), option::of(text()))
        .prop_map(|(api, remote, user_agent, request_id)| Origin { api, remote, user_agent, request_id })
}

fn record() -> impl Strategy<Value = Record> {
    let actor = prop_oneof![Just(Actor::System), Just(Actor::Anonymous), text().prop_map(Actor::User)];
    (any::<u64>(), any::<i64>(), any::<u128>(), actor, origin(), event()).prop_map(
        |(seq, at, id, actor, origin, event)| Record {
            seq,
            at: Timestamp::from_micros(at),
            id: Uuid::from_u128(id),
            actor,
            origin,
            event,
        },
    )
}

proptest! {
    #[test]
    fn records_round_trip(record in record()) {
        prop_assert_eq!(decode(&encode(&record).unwrap()).unwrap(), record);
    }

    #[test]
    fn an_export_loses_nothing(record in record()) {
        let line = serde_json::to_string(&record).unwrap();
        prop_assert!(!line.contains('\n'), "an export has a record a line");
        prop_assert_eq!(serde_json::from_str::<Record>(&line).unwrap(), record);
    }

    #[test]
    fn what_is_cut_short_or_goes_on_is_no_record(record in record(), at in any::<prop::sample::Index>()) {
        let bytes = encode(&record).unwrap();
        let cut = &bytes[..at.index(bytes.len())];
        prop_assert!(matches!(decode(cut), Err(CodecError::Malformed(_))));
        let longer = [bytes.as_slice(), &[0]].concat();
        prop_assert!(matches!(decode(&longer), Err(CodecError::Malformed(_))));
    }

    #[test]
    fn decoding_never_panics(bytes in vec(any::<u8>(), 0..400)) {
        let _ = decode(&bytes);
        for version in 1..=VERSION {
            let _ = decode(&[&[version], bytes.as_slice()].concat());
        }
    }

    /// What does not configure a repository is the same in earlier versions; what does is shorter there.
    #[test]
    fn earlier_versions_are_told_from_what_is_written_now(record in record(), version in 1..VERSION) {
        let mut bytes = encode(&record).unwrap();
        bytes[0] = version;
        let configuring =
            matches!(record.event, Event::RepositoryCreated { .. } | Event::RepositoryConfigured { .. });
        if configuring {
            prop_assert!(matches!(decode(&bytes), Err(CodecError::Malformed(_))));
            let mut expected = record;
            if let Event::RepositoryCreated { config, .. } | Event::RepositoryConfigured { config, .. } =
                &mut expected.event
            {
                let known = config.clone();
                let RepositoryConfig { description, docker_api_version, sparse_index, rules, .. } = known;
                let (login, verify_tarsum) = (known.login, known.verify_tarsum);
                *config = RepositoryConfig {
                    description, docker_api_version, sparse_index, rules, ..RepositoryConfig::default()
                };
                if version > 1 {
                    config.login = login;
                }
                if version > 2 {
                    config.verify_tarsum = verify_tarsum;
                }
            }
            // What came with version 4 is six bytes where it says nothing, and what came before it one each.
            bytes = encode(&expected).unwrap();
            bytes[0] = version;
            bytes.truncate(bytes.len() - 6 - usize::from(3 - version));
            prop_assert_eq!(decode(&bytes), Ok(expected));
        } else {
            prop_assert_eq!(decode(&bytes), Ok(record));
        }
    }

    /// Bytes that are nearly a record get further into the decoder than random ones.
    #[test]
    fn decoding_what_is_damaged_never_panics(
        record in record(),
        at in any::<prop::sample::Index>(),
        damage in vec(any::<u8>(), 1..12),
    ) {
        let mut bytes = encode(&record).unwrap();
        let at = at.index(bytes.len());
        bytes.splice(at..(at + damage.len()).min(bytes.len()), damage);
        // Damage may also make another version of it.
        if let Ok(decoded) = decode(&bytes) {
            prop_assert_eq!(decode(&encode(&decoded).unwrap()).unwrap(), decoded);
        }
    }
}

/// A length is believed only as far as there are bytes: otherwise one flipped bit asks for all the memory
/// there is.
#[test]
fn a_length_out_of_all_proportion_is_refused() {
    // Version, seq 0, at 0, id, and a user whose name says that it is so many bytes long.
    let head: Vec<u8> = [&[VERSION, 0, 0, 16][..], &[0; 16], &[2]].concat();
    for length in [1_u64 << 33, 1 << 40, u64::MAX / 2, u64::MAX] {
        let bytes = [head.as_slice(), &[253], &length.to_le_bytes(), b"root"].concat();
        assert!(matches!(decode(&bytes), Err(CodecError::Malformed(_))), "{length}");
    }
    let short = [head.as_slice(), &[4], b"root", &[0, 0, 0, 0, 2, 1], b"r"].concat();
    assert!(
        decode(&short).is_ok(),
        "the bytes before the length are not those of a record: {:?}",
        decode(&short)
    );
}

#[test]
fn versions_that_are_not_known_are_named() {
    assert_eq!(decode(&[VERSION + 1, 0]), Err(CodecError::NewerVersion(VERSION + 1)));
    assert!(matches!(decode(&[]), Err(CodecError::Malformed(_))));
    assert!(matches!(decode(&[0, 1]), Err(CodecError::Malformed(_))));
}

#[test]
fn a_record_that_could_not_be_read_again_is_not_written() {
    let of = |bytes: usize| Record {
        seq: 0,
        at: Timestamp::from_micros(0),
        id: Uuid::nil(),
        actor: Actor::System,
        origin: Origin::local(Api::Admin),
        event: Event::FoldersPruned { repository: "r".parse().unwrap(), paths: vec!["p".repeat(bytes)] },
    };
    let large = of(RECORD_BYTES_MAX - 100);
    assert_eq!(decode(&encode(&large).unwrap()).unwrap(), large);
    assert!(matches!(encode(&of(RECORD_BYTES_MAX)), Err(CodecError::Malformed(_))));
}
