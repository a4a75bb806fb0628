//! What comes along with a tag, and what keeps it from coming.

use supercargo_eventlog::event::Rot;
use supercargo_eventlog::{ContentRules, V1Image, V1Parent};
use supercargo_model::{Descriptor, ImageId, Manifest, media_type};

use super::super::tests::{View, a, added, b, d, given, image, pushed, r, tag};
use super::*;
use crate::command::Command;
use crate::tree::Reach;

fn other() -> RepoKey {
    "other".parse().unwrap()
}

fn created(repository: RepoKey, config: RepositoryConfig) -> Event {
    Event::RepositoryCreated { repository, config }
}

fn set(which: &str, byte: u8) -> Event {
    Event::TagSet { repository: r(), name: a(), tag: tag(which), digest: d(byte), previous: None }
}

/// `latest` in `r/a` is an index of two images, one of which is signed by a referrer; `sha256-…` is about it, too.
fn given_an_index() -> View {
    let descriptor = |byte| Descriptor {
        media_type: String::new(),
        digest: d(byte),
        size: 1,
        platform: None,
        foreign: false,
    };
    let index = Manifest {
        config: None,
        children: vec![descriptor(10), descriptor(11)],
        media_type: media_type::OCI_INDEX.to_owned(),
        ..image(0, &[])
    };
    let signature = Manifest { subject: Some(d(10)), ..image(5, &[]) };
    let companion = format!("sha256-{}.sig", d(12).to_string().strip_prefix("sha256:").unwrap());
    let foreign = Descriptor { foreign: true, ..descriptor(9) };
    let second = image(1, &[3]);
    let second = Manifest { layers: second.layers.into_iter().chain([foreign]).collect(), ..second };
    given([
        created(other(), RepositoryConfig::default()),
        added(a(), 1),
        added(a(), 2),
        added(a(), 3),
        added(a(), 5),
        pushed(10, image(1, &[2])),
        pushed(11, second),
        pushed(12, index),
        pushed(13, signature),
        pushed(14, image(5, &[2])),
        set("latest", 12),
        set(&companion, 14),
        set("v1", 11),
    ])
}

fn promotion(names: &[(RepoName, RepoName)], which: Option<(&str, &str)>, copy: bool) -> Command {
    let tag = which.map(|(from, to)| (tag(from), tag(to)));
    Command::Promote(Promotion {
        from: r(),
        to: other(),
        names: names.to_vec(),
        tag,
        copy,
        overwriting: Reach::all(),
    })
}

fn kinds(events: &[Event]) -> Vec<&'static str> {
    events.iter().map(Event::kind).collect()
}

/// Which manifests come, in order.
fn manifests(events: &[Event]) -> Vec<Digest> {
    let pushed = events.iter().filter_map(|event| match event {
        Event::ManifestPushed { digest, .. } => Some(*digest),
        _ => None,
    });
    pushed.collect()
}

#[test]
fn a_tag_brings_all_that_it_reaches_and_what_refers_to_that() {
    let mut view = given_an_index();
    let command = || promotion(&[(a(), b())], Some(("latest", "prod")), true);
    let events = view.events(command());
    let blobs: Vec<Digest> = events
        .iter()
        .filter_map(|event| match event {
            Event::BlobMounted { repository, name, digest, from_repository, from_name, .. } => {
                assert_eq!((repository, name, from_repository, from_name), (&other(), &b(), &r(), &a()));
                Some(*digest)
            }
            _ => None,
        })
        .collect();
    let mut blobs = blobs;
    blobs.sort_unstable();
    assert_eq!(blobs, [d(1), d(2), d(3), d(5)], "each once, and what is kept elsewhere not");
    let order = manifests(&events);
    let at = |byte| order.iter().position(|digest| *digest == d(byte)).unwrap();
    assert_eq!(order.len(), 5);
    assert!(at(10) < at(12) && at(11) < at(12), "{order:?}");
    let (promoted, rest) = events.split_last().unwrap();
    assert_eq!(
        *promoted,
        Event::Promoted {
            repository: other(),
            name: b(),
            tag: tag("prod"),
            digest: d(12),
            from_repository: r(),
            from_name: a(),
            from_tag: tag("latest"),
            moved: false,
        }
    );
    let tags: Vec<_> = rest.iter().filter(|event| event.kind() == "TagSet").collect();
    assert_eq!(tags.len(), 2, "its own and its companion's");
    view.record(events);
    assert_eq!(view.events(command()), [], "done is done");
    // The source is as it was.
    assert_eq!(view.events(promotion(&[(a(), "c".parse().unwrap())], Some(("v1", "v1")), true)).len(), 5);
}

#[test]
fn neither_a_tag_nor_its_companions_are_overwritten_by_who_may_not() {
    let mut view = given_an_index();
    let may = |overwriting: Reach, from: &str, to: &str| {
        let Command::Promote(promotion) = promotion(&[(a(), a())], Some((from, to)), true) else { panic!() };
        Command::Promote(Promotion { overwriting, ..promotion })
    };
    let nobody = || Reach::of(|_| false);
    let events = view.events(may(nobody(), "latest", "latest"));
    view.record(events);
    assert_eq!(view.events(may(nobody(), "latest", "latest")), [], "nothing is overwritten");
    let refused = view.decide(may(nobody(), "v1", "latest")).unwrap_err();
    assert!(matches!(&refused, Error::TagForbidden { tag, .. } if tag.as_str() == "latest"), "{refused}");
    let companion = format!("sha256-{}.sig", d(12).to_string().strip_prefix("sha256:").unwrap());
    view.record([set(&companion, 11)]);
    let refused = view.decide(may(nobody(), "latest", "latest")).unwrap_err();
    assert!(matches!(&refused, Error::TagForbidden { tag, .. } if tag.as_str() == companion), "{refused}");
    let events = view.events(may(Reach::all(), "latest", "latest"));
    assert!(kinds(&events).contains(&"TagSet"), "{events:?}");
}

#[test]
fn a_tag_that_moves_is_gone_where_it_was() {
    let mut view = given_an_index();
    let events = view.events(promotion(&[(a(), a())], Some(("v1", "v1")), false));
    assert_eq!(
        kinds(&events),
        ["BlobMounted", "BlobMounted", "ManifestPushed", "TagSet", "Promoted", "TagDeleted"]
    );
    view.record(events);
    let again = view.decide(promotion(&[(a(), a())], Some(("v1", "v1")), false));
    assert!(matches!(again, Err(Error::TagUnknown(_))), "{again:?}");
    // Where it is there already, it only goes.
    view.record([Event::TagSet {
        repository: r(),
        name: a(),
        tag: tag("v1"),
        digest: d(11),
        previous: None,
    }]);
    let events = view.events(promotion(&[(a(), a())], Some(("v1", "v1")), false));
    assert_eq!(kinds(&events), ["Promoted", "TagDeleted"]);
}

#[test]
fn everything_comes_at_once() {
    let mut view = given_an_index();
    let events = view.events(promotion(&[(a(), a())], None, true));
    let tags = |kind| events.iter().filter(|event| event.kind() == kind).count();
    assert_eq!((tags("TagSet"), tags("Promoted"), manifests(&events).len()), (3, 3, 5));
}

#[test]
fn what_can_not_come_is_refused_whole() {
    let mut view = given_an_index();
    let mut refused = |command| view.decide(command).unwrap_err();
    let names = [(a(), a())];
    let unknown = refused(promotion(&[(b(), b())], None, true));
    assert!(matches!(unknown, Error::NameUnknown(name) if name == b()));
    let unknown = refused(promotion(&names, Some(("never", "never")), true));
    assert!(matches!(unknown, Error::TagUnknown(_)));
    let mut same = Promotion {
        from: r(),
        to: r(),
        names: names.to_vec(),
        tag: None,
        copy: true,
        overwriting: Reach::all(),
    };
    assert!(matches!(refused(Command::Promote(same.clone())), Error::Invalid(_)));
    same.to = "nowhere".parse().unwrap();
    assert!(matches!(refused(Command::Promote(same.clone())), Error::RepositoryUnknown(_)));
    (same.from, same.to) = (same.to, r());
    assert!(matches!(refused(Command::Promote(same)), Error::RepositoryUnknown(_)));

    // Another tag in the same name is no other repository.
    let beside = Promotion {
        from: r(),
        to: r(),
        names: names.to_vec(),
        tag: Some((tag("v1"), tag("v2"))),
        copy: true,
        overwriting: Reach::all(),
    };
    assert_eq!(kinds(&view.events(Command::Promote(beside))), ["TagSet", "Promoted"]);

    view.record([Event::BlobRotFound { digest: d(3), rot: Rot::Missing }]);
    let missing = view.decide(promotion(&names, Some(("latest", "latest")), true)).unwrap_err();
    assert!(matches!(&missing, Error::ManifestBlobUnknown(missing) if *missing == [d(3)]), "{missing:?}");

    let old = RepositoryConfig { docker_api_version: DockerApiVersion::V1, ..RepositoryConfig::default() };
    view.record([Event::RepositoryConfigured { repository: other(), config: old }]);
    let differ = view.decide(promotion(&names, None, true)).unwrap_err();
    assert!(matches!(differ, Error::ProtocolsDiffer { .. }));
}

#[test]
fn the_rules_of_the_target_hold() {
    let ruled = |rules: ContentRules| {
        let mut view = given_an_index();
        let config = RepositoryConfig { rules, ..RepositoryConfig::default() };
        view.record([Event::RepositoryConfigured { repository: other(), config }]);
        view
    };
    let command = || promotion(&[(a(), a()), (a(), b())], Some(("latest", "latest")), true);
    // Five manifests and four blobs, in two names.
    let bytes = 2 * (5 * 50 + 4);
    let full = ruled(ContentRules { quota: Some(bytes - 1), ..ContentRules::default() }).decide(command());
    assert!(matches!(full, Err(Error::AgainstRule(rules::Broken::QuotaExceeded { .. }))), "{full:?}");
    ruled(ContentRules { quota: Some(bytes), ..ContentRules::default() }).decide(command()).unwrap();
    let types = vec!["application/vnd.docker.**".parse().unwrap()];
    let refused = ruled(ContentRules { media_types: types, ..ContentRules::default() }).decide(command());
    assert!(matches!(refused, Err(Error::AgainstRule(rules::Broken::MediaType { .. }))), "{refused:?}");
    let mut immutable =
        ruled(ContentRules { immutable_tags: vec!["latest".parse().unwrap()], ..ContentRules::default() });
    let events = immutable.events(command());
    immutable.record(events);
    immutable.record([set("latest", 11)]);
    let refused = immutable.decide(command());
    assert!(matches!(refused, Err(Error::AgainstRule(rules::Broken::TagImmutable { .. }))), "{refused:?}");
}

#[test]
fn what_was_said_of_a_tag_is_said_of_it_there_too() {
    let mut view = given_an_index();
    let said = |path: &str, key: &str, value: &str| Event::PropertiesSet {
        repository: r(),
        path: path.to_owned(),
        set: vec![(key.to_owned(), vec![value.to_owned()])],
        removed: Vec::new(),
    };
    view.record([
        said("a/latest", "folder", "1"),
        said("a/latest/list.manifest.json", "qa", "passed"),
        said("a/latest2", "other", "1"),
        said("a/latest/deep/er", "other", "1"),
    ]);
    let events = view.events(promotion(&[(a(), b())], Some(("latest", "prod")), true));
    let paths: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            Event::PropertiesSet { repository, path, set, .. } if *repository == other() => {
                Some((path.as_str(), set[0].0.as_str()))
            }
            _ => None,
        })
        .collect();
    assert_eq!(paths, [("b/prod", "folder"), ("b/prod/list.manifest.json", "qa")]);
}

fn v1(byte: u8, parent: Option<u8>) -> V1Image {
    V1Image {
        id: ImageId::from_bytes([byte; 32]),
        parent: parent
            .map(|parent| V1Parent { id: ImageId::from_bytes([parent; 32]), json: d(100 + parent) }),
        depth: 1,
        json: d(100 + byte),
        json_size: 5,
        layer: d(200 + byte),
        layer_size: 20,
        checksum: None,
        tarsum: None,
    }
}

fn came(repository: RepoKey, images: &[V1Image]) -> Event {
    Event::V1ImagesAdded { repository, name: a(), from: None, images: images.to_vec() }
}

fn given_images() -> View {
    let old = RepositoryConfig { docker_api_version: DockerApiVersion::V1, ..RepositoryConfig::default() };
    given([
        Event::RepositoryConfigured { repository: r(), config: old.clone() },
        created(other(), old),
        came(r(), &[v1(1, None), v1(2, Some(1)), v1(3, Some(2))]),
        set("latest", 103),
        set("base", 101),
    ])
}

#[test]
fn an_image_comes_with_those_that_it_was_made_from() {
    let mut view = given_images();
    let events = view.events(promotion(&[(a(), a())], None, true));
    let images: Vec<usize> = events
        .iter()
        .filter_map(|event| match event {
            Event::V1ImagesAdded { images, .. } => Some(images.len()),
            _ => None,
        })
        .collect();
    assert_eq!(images, [1, 2], "the base came with its own tag, the first of both");
    view.record(events);
    assert_eq!(view.events(promotion(&[(a(), a())], None, true)), []);
}

#[test]
fn an_image_of_the_same_id_stops_it() {
    let mut view = given_images();
    let foreign = V1Image { json: d(150), ..v1(2, None) };
    view.record([came(other(), &[foreign])]);
    let refused = view.decide(promotion(&[(a(), a())], None, true));
    assert!(matches!(refused, Err(Error::ImageExists(id)) if id == v1(2, None).id), "{refused:?}");
}

#[test]
fn where_both_are_served_an_image_keeps_its_id() {
    let both = RepositoryConfig { docker_api_version: DockerApiVersion::Both, ..RepositoryConfig::default() };
    let mut view = given([
        Event::RepositoryConfigured { repository: r(), config: both.clone() },
        created(other(), both),
        added(a(), 1),
        added(a(), 2),
        pushed(10, image(1, &[2])),
        came(r(), &[v1(1, None)]),
        Event::V1ViewAdded { repository: r(), name: a(), manifest: d(10), image: d(101) },
        set("latest", 10),
    ]);
    let events = view.events(promotion(&[(a(), a())], Some(("latest", "latest")), true));
    let view_added = Event::V1ViewAdded { repository: other(), name: a(), manifest: d(10), image: d(101) };
    assert!(events.contains(&view_added), "{events:?}");
    // An image of that id that is another is not in the way of the manifest.
    let foreign = V1Image { json: d(150), ..v1(1, None) };
    view.record([came(other(), &[foreign])]);
    let events = view.events(promotion(&[(a(), a())], Some(("latest", "latest")), true));
    assert_eq!(kinds(&events), ["BlobMounted", "BlobMounted", "ManifestPushed", "TagSet", "Promoted"]);
}

/// Given what `r/a` holds with `latest` on an index of these, whatever is in the index comes as what it is.
#[test]
fn what_is_a_layer_of_one_manifest_and_a_manifest_too_comes_as_both() {
    for children in [[10, 11], [11, 10]] {
        let children = children.map(|byte| Descriptor {
            media_type: String::new(),
            digest: d(byte),
            size: 1,
            platform: None,
            foreign: false,
        });
        let index = Manifest {
            config: None,
            children: children.to_vec(),
            media_type: media_type::OCI_INDEX.to_owned(),
            ..image(0, &[])
        };
        let mut view = given([
            created(other(), RepositoryConfig::default()),
            added(a(), 1),
            added(a(), 2),
            added(a(), 10),
            pushed(10, image(1, &[2])),
            pushed(11, image(1, &[10])),
            pushed(12, index),
            set("latest", 12),
        ]);
        let events = view.events(promotion(&[(a(), a())], None, true));
        assert_eq!(manifests(&events).len(), 3, "{events:?}");
        view.record(events);
        let id = name_id(&mut view.0, &other(), &a()).unwrap();
        let content = view.0.row::<Contents>(&(id, d(10))).unwrap();
        assert!(content.blob && content.manifest, "{content:?}");
    }
}

#[test]
fn what_comes_as_several_things_is_counted_once() {
    let config = |docker_api_version, quota| RepositoryConfig {
        docker_api_version,
        rules: ContentRules { quota: Some(quota), ..ContentRules::default() },
        ..RepositoryConfig::default()
    };
    let (both, old) = (DockerApiVersion::Both, DockerApiVersion::V1);
    // Its layer is one of the manifest that it is a view of; and two have the same.
    let mut of_both = given([
        Event::RepositoryConfigured { repository: r(), config: config(both, 10_000) },
        created(other(), config(both, 0)),
        added(a(), 1),
        added(a(), 201),
        pushed(10, image(1, &[201])),
        came(r(), &[v1(1, None)]),
        Event::V1ViewAdded { repository: r(), name: a(), manifest: d(10), image: d(101) },
        set("latest", 10),
    ]);
    let mut of_old = given([
        Event::RepositoryConfigured { repository: r(), config: config(old, 10_000) },
        created(other(), config(old, 0)),
        came(r(), &[v1(1, None), V1Image { layer: d(201), ..v1(2, None) }]),
        set("1", 101),
        set("2", 102),
    ]);
    for (view, version, bytes) in [(&mut of_both, both, 1 + 1 + 5 + 50), (&mut of_old, old, 5 + 5 + 20)] {
        view.record([Event::RepositoryConfigured {
            repository: other(),
            config: config(version, bytes - 1),
        }]);
        let full = view.decide(promotion(&[(a(), a())], None, true));
        assert!(matches!(full, Err(Error::AgainstRule(rules::Broken::QuotaExceeded { .. }))), "{full:?}");
        view.record([Event::RepositoryConfigured { repository: other(), config: config(version, bytes) }]);
        view.events(promotion(&[(a(), a())], None, true));
    }
}

/// Whoever pushes where something is to be promoted could else decide what comes there.
#[test]
fn an_image_of_the_same_json_with_another_layer_stops_it() {
    let mut view = given_images();
    view.record([came(other(), &[V1Image { layer: d(150), ..v1(1, None) }])]);
    let refused = view.decide(promotion(&[(a(), a())], Some(("base", "base")), true));
    assert!(matches!(refused, Err(Error::ImageExists(id)) if id == v1(1, None).id), "{refused:?}");
}

#[test]
fn what_was_said_of_another_name_in_the_same_folder_stays_there() {
    let mut view = given_an_index();
    let within: RepoName = "a/latest".parse().unwrap();
    let said = |path: &str| Event::PropertiesSet {
        repository: r(),
        path: path.to_owned(),
        set: vec![("qa".to_owned(), vec!["passed".to_owned()])],
        removed: Vec::new(),
    };
    // A tag of another name that is called as the file is.
    view.record([
        Event::BlobAdded { repository: r(), name: within.clone(), digest: d(1), size: 1 },
        Event::ManifestPushed {
            repository: r(),
            name: within.clone(),
            digest: d(20),
            manifest: image(1, &[]),
        },
        Event::TagSet {
            repository: r(),
            name: within,
            tag: tag("list.manifest.json"),
            digest: d(20),
            previous: None,
        },
        said("a/latest/list.manifest.json"),
    ]);
    let events = view.events(promotion(&[(a(), b())], Some(("latest", "prod")), true));
    assert!(!kinds(&events).contains(&"PropertiesSet"), "{events:?}");
}

/// Nobody checks what a manifest says of the sizes of what it lists.
#[test]
fn a_blob_comes_with_the_size_that_it_has() {
    let larger = Event::BlobAdded { repository: r(), name: a(), digest: d(1), size: 3000 };
    let mut view = given([
        created(other(), RepositoryConfig::default()),
        larger,
        pushed(10, image(1, &[])),
        set("latest", 10),
    ]);
    let events = view.events(promotion(&[(a(), a())], None, true));
    assert!(matches!(events[0], Event::BlobMounted { size: 3000, .. }), "{events:?}");
}
