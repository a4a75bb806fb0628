//! What is recorded of V1 images, and what is refused.

use supercargo_eventlog::event::Rot;
use supercargo_eventlog::{ContentRules, NameQuota, PackedLayer, RepositoryConfig, V1Parent};
use supercargo_projections::Tracked;
use supercargo_projections::tables::UsageByRepository;

use super::super::tests::{View, a, added, b, broken, d, given, image, patterns, pushed, r, ruled, tag};
use super::*;
use crate::command::Command;
use crate::rules::Broken;

fn id(byte: u8) -> ImageId {
    ImageId::from_bytes([byte; 32])
}

fn room(user: &str) -> RepoName {
    RepoName::waiting_room(Some(user))
}

/// The image of an id: its JSON has the digest 100 more, and its layer 200 more.
fn v1(byte: u8, parent: Option<u8>) -> V1Image {
    V1Image {
        id: id(byte),
        parent: parent.map(|parent| V1Parent { id: id(parent), json: d(100 + parent) }),
        depth: 1,
        json: d(100 + byte),
        json_size: 5,
        layer: d(200 + byte),
        layer_size: 20,
        checksum: None,
        tarsum: None,
    }
}

fn deep(byte: u8, depth: usize) -> V1Image {
    V1Image { depth: u32::try_from(depth).unwrap(), ..v1(byte, None) }
}

fn came(name: RepoName, images: &[V1Image]) -> Event {
    Event::V1ImagesAdded { repository: r(), name, from: None, images: images.to_vec() }
}

fn waits(user: &str, image: V1Image) -> Event {
    Event::V1ImagePushed { repository: r(), name: room(user), image }
}

fn speaks(version: DockerApiVersion) -> Event {
    let config = RepositoryConfig { docker_api_version: version, ..RepositoryConfig::default() };
    Event::RepositoryConfigured { repository: r(), config }
}

/// A repository that speaks V1 alone.
fn given_v1(events: impl IntoIterator<Item = Event>) -> View {
    given([speaks(DockerApiVersion::V1)].into_iter().chain(events))
}

fn push(image: V1Image, parent_in: Option<RepoName>) -> Command {
    let image = Box::new(image);
    Command::PushImage { repository: r(), waiting_room: room("ann"), image, parent_in }
}

fn set(byte: u8, held_in: &[RepoName], conversion: Option<Conversion>) -> Command {
    Command::SetImageTag {
        repository: r(),
        name: a(),
        tag: tag("t"),
        id: id(byte),
        json: d(100 + byte),
        held_in: held_in.to_vec(),
        conversion: conversion.map(Box::new),
    }
}

fn view(manifest: u8, images: &[V1Image], brought: &[u8]) -> Command {
    Command::AddView {
        repository: r(),
        name: a(),
        manifest: d(manifest),
        images: images.to_vec(),
        inspected: Vec::new(),
        brought: brought.iter().map(|byte| d(*byte)).collect(),
    }
}

fn tag_set(byte: u8, previous: Option<u8>) -> Event {
    let (digest, previous) = (d(byte), previous.map(d));
    Event::TagSet { repository: r(), name: a(), tag: tag("t"), digest, previous }
}

fn rotten(byte: u8) -> Event {
    Event::BlobRotFound { digest: d(byte), rot: Rot::WrongDigest }
}

fn without(name: RepoName, byte: u8) -> Event {
    Event::BlobDeleted { repository: r(), name, digest: d(byte) }
}

#[test]
fn an_image_is_recorded_with_how_deep_its_chain_is() {
    let mut given = given_v1([came(b(), &[deep(1, 7)])]);
    let child = v1(2, Some(1));
    let expected = waits("ann", V1Image { depth: 8, ..child.clone() });
    let recorded = given.events(push(child.clone(), Some(b())));
    assert_eq!(recorded, [expected]);
    given.record(recorded);
    // Whose parent is in the room is the next.
    let next = v1(3, Some(2));
    assert_eq!(given.events(push(next.clone(), None)), [waits("ann", V1Image { depth: 9, ..next })]);
    // What is there already is not recorded again, unless something is wrong with it.
    assert_eq!(given.events(push(child.clone(), Some(b()))), []);
    given.record([rotten(202)]);
    assert_eq!(given.events(push(child.clone(), Some(b()))).len(), 1);
    given.record([waits("ann", child.clone()), without(room("ann"), 202)]);
    assert_eq!(given.events(push(child.clone(), Some(b()))).len(), 1);
    // Or it waits to be collected.
    given.record([waits("ann", child.clone()), waits("ann", v1(3, Some(2)))]);
    assert_eq!(given.events(push(child.clone(), Some(b()))), []);
    let (repository, name) = (r(), room("ann"));
    given.record([Event::V1ImageDeleted { repository, name, id: id(3), digest: d(103) }]);
    assert_eq!(given.events(push(child, Some(b()))).len(), 1);
}

#[test]
fn an_image_needs_a_repository_its_parent_and_its_id() {
    let unknown = Command::PushImage {
        repository: "never".parse().unwrap(),
        waiting_room: room("ann"),
        image: Box::new(v1(1, None)),
        parent_in: None,
    };
    assert!(matches!(given_v1([]).decide(unknown), Err(Error::RepositoryUnknown(_))));

    let orphan = |view: &mut View, parent_in| match view.decide(push(v1(2, Some(1)), parent_in)) {
        Err(Error::ParentUnknown(parent)) => parent == id(1),
        other => panic!("{other:?}"),
    };
    assert!(orphan(&mut given_v1([]), None));
    assert!(orphan(&mut given_v1([]), Some(b())));
    // It is somewhere, and that was not named; or it is named and not whole.
    assert!(orphan(&mut given_v1([came(b(), &[v1(1, None)])]), None));
    assert!(orphan(&mut given_v1([waits("bob", v1(1, None))]), Some(b())));
    assert!(orphan(&mut given_v1([came(b(), &[v1(1, None)]), without(b(), 201)]), Some(b())));
    assert!(orphan(&mut given_v1([came(b(), &[v1(1, None)]), rotten(101)]), Some(b())));

    let other = V1Image { json: d(150), ..v1(1, None) };
    let refused = given_v1([waits("ann", v1(1, None))]).decide(push(other.clone(), None));
    assert!(matches!(refused, Err(Error::ImageExists(found)) if found == id(1)), "{refused:?}");
    // Another's room is no matter.
    assert_eq!(given_v1([waits("bob", v1(1, None))]).events(push(other, None)).len(), 1);

    let limit = limits::IMAGE_CHAIN_MAX;
    let pushed_on =
        |depth| given_v1([came(b(), &[deep(1, depth)])]).decide(push(v1(2, Some(1)), Some(b()))).map(|_| ());
    assert!(pushed_on(limit - 1).is_ok());
    assert!(matches!(pushed_on(limit), Err(Error::ChainTooDeep)));
}

#[test]
fn rules_are_for_images_too() {
    let refused = |rules, image| broken(ruled(rules, []).decide(push(image, None)));
    let rules = ContentRules { media_types: patterns(&["application/vnd.oci.*"]), ..Default::default() };
    assert!(matches!(refused(rules, v1(1, None)), Broken::MediaType { .. }));
    let rules = ContentRules { blob_bytes_max: Some(19), ..Default::default() };
    assert_eq!(refused(rules, v1(1, None)), Broken::BlobTooLarge { max: 19 });
    let rules = ContentRules { quota: Some(24), ..Default::default() };
    assert!(matches!(refused(rules, v1(1, None)), Broken::QuotaExceeded { .. }));
    let immutable = ContentRules { immutable_tags: patterns(&["t"]), ..Default::default() };
    let config = RepositoryConfig {
        docker_api_version: DockerApiVersion::V1,
        rules: immutable,
        ..RepositoryConfig::default()
    };
    let events = [came(a(), &[v1(1, None), v1(2, None)]), tag_set(101, None)];
    let mut view = given([Event::RepositoryConfigured { repository: r(), config }].into_iter().chain(events));
    assert!(matches!(broken(view.decide(set(2, &[], None))), Broken::TagImmutable { .. }));
    assert_eq!(view.events(set(1, &[], None)), []);
}

/// Where a tag takes an image out of a waiting room, its bytes are in the repository once, before and after.
#[test]
fn a_quota_does_not_count_twice_what_moves() {
    let with = |rules, images: &[V1Image]| {
        let config = RepositoryConfig {
            docker_api_version: DockerApiVersion::V1,
            rules,
            ..RepositoryConfig::default()
        };
        let images = images.iter().map(|image| waits("ann", image.clone()));
        let configured = Event::RepositoryConfigured { repository: r(), config };
        given([configured].into_iter().chain(images)).decide(set(1, &[room("ann")], None)).map(|_| ())
    };
    let of_repository = |bytes| ContentRules { quota: Some(bytes), ..Default::default() };
    with(of_repository(25), &[v1(1, None)]).unwrap();
    // A layer that stays is there twice.
    let twin = V1Image { layer: d(201), ..v1(2, None) };
    with(of_repository(50), &[v1(1, None), twin.clone()]).unwrap();
    assert!(matches!(broken(with(of_repository(49), &[v1(1, None), twin])), Broken::QuotaExceeded { .. }));
    // The quota of a name is its own.
    let of_name = |bytes| ContentRules {
        name_quotas: vec![NameQuota { names: "a".parse().unwrap(), bytes }],
        ..Default::default()
    };
    with(of_name(25), &[v1(1, None)]).unwrap();
    assert!(matches!(broken(with(of_name(24), &[v1(1, None)])), Broken::QuotaExceeded { .. }));
}

/// Rows of a view, and how many were scanned.
struct Counted<'v>(&'v mut View, usize);

impl Rows for Counted<'_> {
    fn row<T: Tracked>(&mut self, key: &T::Key) -> Option<T::Row> {
        self.0.0.row::<T>(key)
    }

    fn scan<T: Tracked>(&mut self, start: &[u8], end: &[u8], limit: usize) -> Vec<(T::Key, T::Row)> {
        let rows = self.0.0.scan::<T>(start, end, limit);
        self.1 += rows.len();
        rows
    }
}

#[test]
fn a_layer_that_many_images_share_is_asked_for_once_and_not_to_the_end() {
    let images: Vec<V1Image> = (1..50).map(|byte| V1Image { layer: d(0), ..v1(byte, None) }).collect();
    let mut view = given_v1(images.iter().map(|image| waits("ann", image.clone())));
    let mut left = |images: &[V1Image]| {
        let mut counted = Counted(&mut view, 0);
        (left_bytes(&mut counted, &r(), &room("ann"), images), counted.1)
    };
    assert_eq!(left(&images[..3]), (15, 4), "the layer stays");
    assert_eq!(left(&images), (49 * 5 + 20, 49), "all leave, and so does their layer");
}

#[test]
fn a_tag_brings_its_chain_and_is_set_once() {
    let (base, child) = (v1(1, None), v1(2, Some(1)));
    let mut view = given_v1([waits("ann", base.clone()), waits("ann", child.clone())]);
    let events = view.events(set(2, &[room("ann")], None));
    let added = Event::V1ImagesAdded {
        repository: r(),
        name: a(),
        from: Some(room("ann")),
        images: vec![base, child],
    };
    assert_eq!(events, [added, tag_set(102, None)]);
    view.record(events);
    assert_eq!(view.events(set(2, &[a()], None)), []);
    assert_eq!(view.events(set(1, &[a()], None)), [tag_set(101, Some(102))]);
}

#[test]
fn there_is_one_image_of_an_id_in_a_name_and_it_is_no_manifest() {
    let exists = |view: &mut View, byte, held_in: &[RepoName]| match view.decide(set(byte, held_in, None)) {
        Err(Error::ImageExists(id)) => id,
        other => panic!("{other:?}"),
    };
    let other = V1Image { json: d(150), ..v1(1, None) };
    let mut view = given_v1([came(a(), std::slice::from_ref(&other)), waits("ann", v1(1, None))]);
    assert_eq!(exists(&mut view, 1, &[room("ann")]), id(1));
    // Also where both come with one chain, each from another name.
    let child = V1Image { parent: Some(V1Parent { id: id(1), json: d(150) }), ..v1(2, None) };
    let top = v1(1, Some(2));
    let mut view = given_v1([came(b(), &[other]), came(b(), &[child]), waits("ann", top)]);
    assert_eq!(exists(&mut view, 1, &[room("ann"), b()]), id(1));
    let mut view = given_v1([added(a(), 1), pushed(101, image(1, &[])), waits("ann", v1(1, None))]);
    assert_eq!(exists(&mut view, 1, &[room("ann")]), id(1));
}

/// A chain of three, each of them in any of four places, and any of these named: the tag is set where each is in the
/// name itself or in one that was named, it brings what the name lacks, and deciding it changes nothing.
#[test]
fn a_tag_never_links_what_its_caller_did_not_name_a_source_for() {
    let places = [a(), b(), room("ann"), room("bob")];
    let chain = [v1(1, None), v1(2, Some(1)), v1(3, Some(2))];
    let has = |bits: usize, image: usize, place: usize| bits >> (4 * image + place) & 1 == 1;
    for bits in 0..1 << 12_usize {
        let held = |place: usize| (0..3).filter(move |image| has(bits, *image, place));
        let mut view = given_v1(
            (0..4)
                .flat_map(|place| held(place).map(move |image| (place, image)).collect::<Vec<_>>())
                .map(|(place, image)| came(places[place].clone(), &chain[image..=image])),
        );
        for named in 0..8_usize {
            let named: Vec<usize> = (1..4).filter(|place| named >> (place - 1) & 1 == 1).collect();
            let held_in: Vec<RepoName> = named.iter().map(|place| places[*place].clone()).collect();
            let found =
                (0..3).all(|image| has(bits, image, 0) || named.iter().any(|at| has(bits, image, *at)));
            match view.decide(set(3, &held_in, None)) {
                Ok(decision) => {
                    assert!(found, "{bits:b} {named:?}: {:?}", decision.events);
                    let lacks: Vec<V1Image> = (0..3)
                        .filter(|image| !has(bits, *image, 0))
                        .map(|image| chain[image].clone())
                        .collect();
                    let from = held_in.iter().find(|name| name.is_waiting_room()).cloned();
                    let added =
                        Event::V1ImagesAdded { repository: r(), name: a(), from, images: lacks.clone() };
                    let expected = if lacks.is_empty() { None } else { Some(added) };
                    let expected: Vec<Event> = expected.into_iter().chain([tag_set(103, None)]).collect();
                    assert_eq!(decision.events, expected);
                }
                Err(Error::ImageUnknown(id)) => {
                    assert!(!found, "{bits:b} {named:?} lacks {id}");
                }
                Err(e) => panic!("{e}"),
            }
        }
    }
}

/// A V1 client deletes a repository by that: what its tags reached is a collection's to take.
#[test]
fn all_tags_of_a_name_are_deleted_at_once() {
    let delete = || Command::DeleteTags { repository: r(), name: a() };
    let there = [came(a(), &[v1(1, None)]), came(b(), &[v1(2, None)]), tag_set(101, None)];
    let mut view = given_v1(there);
    let deleted = Event::TagDeleted { repository: r(), name: a(), tag: tag("t"), previous: d(101) };
    assert_eq!(view.events(delete()), std::slice::from_ref(&deleted));
    view.record([deleted]);
    // What is left of it waits, and is no name to V1 clients.
    assert!(matches!(view.decide(delete()), Err(Error::NameUnknown(name)) if name == a()));
    assert!(matches!(given_v1([]).decide(delete()), Err(Error::NameUnknown(_))));
}

fn conversion(brought: &[u8], layers: &[u8]) -> Conversion {
    Conversion {
        digest: d(60),
        manifest: image(50, layers),
        inspected: Vec::new(),
        brought: brought.iter().map(|byte| d(*byte)).collect(),
        labels: Vec::new(),
    }
}

fn given_both(events: impl IntoIterator<Item = Event>) -> View {
    given([speaks(DockerApiVersion::Both)].into_iter().chain(events))
}

#[test]
fn where_v2_is_spoken_a_tag_is_set_on_what_the_image_is_converted_to() {
    let mut view = given_both([waits("ann", v1(1, None))]);
    // Also where that was not so when somebody looked.
    let plain = view.decide(set(1, &[room("ann")], None));
    assert!(matches!(plain, Err(Error::ImageUnknown(_))), "{plain:?}");
    let events = view.events(set(1, &[room("ann")], Some(conversion(&[50, 60], &[201]))));
    let kinds: Vec<&str> = events.iter().map(Event::kind).collect();
    assert_eq!(kinds, ["V1ImagesAdded", "BlobAdded", "ManifestPushed", "V1ViewAdded", "TagSet"]);
    assert_eq!(events[4], tag_set(60, None));
    view.record(events);
    assert_eq!(view.events(set(1, &[a()], Some(conversion(&[], &[201])))), []);
    // What is damaged is put right by what is brought.
    view.record([rotten(50), rotten(60)]);
    let events = view.events(set(1, &[a()], Some(conversion(&[50, 60], &[201]))));
    assert_eq!(events.iter().map(Event::kind).collect::<Vec<_>>(), ["BlobAdded", "ManifestPushed"]);
}

#[test]
fn what_an_image_is_converted_to_comes_from_where_it_may() {
    let packed = |layer, to| Event::LayerInspected {
        layer: d(layer),
        diff_id: d(9),
        unpacked_size: 1,
        packed: Some(PackedLayer { digest: d(to), size: 1 }),
    };
    let parts = |events: Vec<Event>, held_in: &[RepoName], brought: &[u8]| {
        let mut view = given_both(events);
        view.decide(set(1, held_in, Some(conversion(brought, &[70])))).map(|decision| {
            let of = |event: &&Event| match event {
                Event::BlobAdded { digest, .. } | Event::BlobMounted { digest, .. } => *digest == d(70),
                _ => false,
            };
            decision.events.iter().filter(of).map(Event::kind).collect::<Vec<_>>()
        })
    };
    let unknown = |outcome: Result<Vec<&str>>| match outcome {
        Err(Error::ImageUnknown(id)) => id,
        other => panic!("{other:?}"),
    };
    let base = || vec![came(b(), &[v1(1, None)])];
    let with = |more: &[Event]| [base(), more.to_vec()].concat();
    assert_eq!(parts(base(), &[b()], &[50, 60, 70]).unwrap(), ["BlobAdded"]);
    assert_eq!(unknown(parts(base(), &[b()], &[50, 60])), id(1));
    assert_eq!(unknown(parts(base(), &[b()], &[60, 70])), id(1), "no config");
    assert_eq!(unknown(parts(base(), &[b()], &[50, 70])), id(1), "no manifest");
    // Mounted from a name that was named, and from no other.
    assert_eq!(parts(with(&[added(b(), 70)]), &[b()], &[50, 60]).unwrap(), ["BlobMounted"]);
    let c: RepoName = "c".parse().unwrap();
    assert_eq!(unknown(parts(with(&[added(c.clone(), 70)]), &[b()], &[50, 60])), id(1));
    // Packed of a layer of the image it is what would be made again, unless it is damaged or gone.
    let of_it = with(&[added(c.clone(), 70), packed(201, 70)]);
    assert_eq!(parts(of_it.clone(), &[b()], &[50, 60]).unwrap(), ["BlobAdded"]);
    assert_eq!(unknown(parts([of_it.clone(), vec![rotten(70)]].concat(), &[b()], &[50, 60])), id(1));
    assert_eq!(unknown(parts([of_it, vec![without(c.clone(), 70)]].concat(), &[b()], &[50, 60])), id(1));
    let of_another = with(&[added(c.clone(), 70), added(c, 71), packed(71, 70)]);
    assert_eq!(unknown(parts(of_another, &[b()], &[50, 60])), id(1));
}

#[test]
fn a_manifest_is_shown_as_images_once() {
    let given = |events: &[Event]| {
        let there = [added(a(), 50), added(a(), 201), pushed(60, image(50, &[201]))];
        given_both(there.into_iter().chain(events.iter().cloned()))
    };
    let images = [v1(1, None)];
    let mut there = given(&[]);
    let events = there.events(view(60, &images, &[101]));
    let viewed = Event::V1ViewAdded { repository: r(), name: a(), manifest: d(60), image: d(101) };
    assert_eq!(events, [came(a(), &images), viewed]);
    there.record(events);
    assert_eq!(there.events(view(60, &images, &[101])), []);
    assert_eq!(given(&[]).events(view(60, &[], &[])), []);

    let nowhere = Command::AddView {
        repository: "never".parse().unwrap(),
        name: a(),
        manifest: d(60),
        images: images.to_vec(),
        inspected: Vec::new(),
        brought: Vec::new(),
    };
    assert!(matches!(given(&[]).decide(nowhere), Err(Error::RepositoryUnknown(_))));
    let unknown = |mut there: View, command| match there.decide(command) {
        Err(Error::ManifestUnknown(_)) => {}
        other => panic!("{other:?}"),
    };
    unknown(given_both([]), view(60, &images, &[101]));
    unknown(given(&[]), view(61, &images, &[101]));
    // A layer that the name has not, that nobody brings, and that was packed of none of the manifest's.
    let other = [V1Image { layer: d(70), ..v1(1, None) }];
    unknown(given(&[added(b(), 70)]), view(60, &other, &[101]));
    assert_eq!(given(&[]).events(view(60, &other, &[101, 70])).len(), 2);
    let taken = V1Image { json: d(150), ..v1(1, None) };
    let refused = given(&[came(a(), &[taken])]).decide(view(60, &images, &[101]));
    assert!(matches!(refused, Err(Error::ImageExists(_))), "{refused:?}");
}

#[test]
fn a_manifest_is_not_shown_as_images_past_a_quota() {
    let of = |rules| {
        let config = RepositoryConfig {
            docker_api_version: DockerApiVersion::Both,
            rules,
            ..RepositoryConfig::default()
        };
        let there = [added(a(), 50), added(a(), 201), pushed(60, image(50, &[201]))];
        let mut view =
            given([Event::RepositoryConfigured { repository: r(), config }].into_iter().chain(there));
        let used = view.0.row::<UsageByRepository>(&r()).unwrap().bytes;
        (view, used)
    };
    let (_, used) = of(ContentRules::default());
    let quota = |bytes| ContentRules { quota: Some(bytes), ..Default::default() };
    // The layer is in the name already: what comes is the image's JSON.
    let images = [v1(1, None)];
    assert_eq!(of(quota(used + 5)).0.events(view(60, &images, &[101])).len(), 2);
    let refused = of(quota(used + 4)).0.decide(view(60, &images, &[101]));
    assert!(matches!(&refused, Err(Error::NotConvertible(why)) if why.contains("quota")), "{refused:?}");
}

/// What images hold would hold them in turn, and nothing of it could ever be collected.
#[test]
fn no_layer_is_what_holds_layers() {
    let with_layer = |image: V1Image, layer| V1Image { layer: d(layer), ..image };
    let invalid = |mut view: View, command| match view.decide(command) {
        Err(Error::Invalid(why)) => assert!(why.contains("layer"), "{why}"),
        other => panic!("{other:?}"),
    };
    let its_own = with_layer(v1(1, None), 101);
    invalid(given_v1([]), push(its_own.clone(), None));
    // Its child's, whichever of them comes first; and that of an image next to it.
    let of_its_child = with_layer(v1(1, None), 102);
    let child = v1(2, Some(1));
    invalid(given_v1([waits("ann", of_its_child.clone())]), push(child.clone(), None));
    invalid(given_v1([waits("ann", v1(2, None))]), push(of_its_child.clone(), None));
    assert_eq!(given_v1([waits("bob", v1(2, None))]).events(push(of_its_child.clone(), None)).len(), 1);

    // From rooms into a name.
    let tag = |byte| set(byte, &[room("ann"), room("bob")], None);
    let apart = || [waits("ann", of_its_child.clone()), waits("bob", child.clone())];
    invalid(given_v1(apart()), tag(2));
    invalid(given_v1([waits("ann", its_own.clone())]), tag(1));
    invalid(given_v1([waits("ann", of_its_child.clone()), came(a(), &[v1(2, None)])]), tag(1));
    let layer_is_a_manifest = with_layer(v1(1, None), 10);
    let manifest = [added(a(), 1), pushed(10, image(1, &[]))];
    invalid(given_v1([&manifest[..], &[waits("ann", layer_is_a_manifest)]].concat()), tag(1));

    // Of a manifest.
    let there = [added(a(), 50), added(a(), 101), pushed(60, image(50, &[101]))];
    let refused = given_both(there).decide(view(60, &[its_own], &[101]));
    assert!(matches!(refused, Err(Error::NotConvertible(_))), "{refused:?}");
}
