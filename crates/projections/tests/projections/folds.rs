//! What each event does: given what was recorded before, when this is recorded, then that is so.

use std::collections::BTreeMap;

use supercargo_eventlog::{DockerApiVersion, Event, RepositoryConfig};
use supercargo_model::{Digest, Timestamp};
use supercargo_projections::Rows;
use supercargo_projections::tables::{
    Blobs, ContentState, EmptyFolders, FolderRow, Folders, Images, ImagesById, Layers, NameUsage, Names,
    Orphans, Properties, PropertyValues, ReferenceKind, References, Repositories, Source, Table as _,
    TagHistory, Tags, UsageByRepository, Views, Wait, prefix,
};

use crate::world::{Name, World, b, image, j, m, name, place, tag};

const LIVE: ContentState = ContentState::Live;
const ABSENT: ContentState = ContentState::Absent;

fn waiting(since: i64, wait: Wait) -> ContentState {
    ContentState::Waiting { since: Timestamp::from_micros(since), wait }
}

/// A world with a manifest and its blobs, tagged `latest`, at time 10.
fn given_an_image() -> (World, Name) {
    let (mut world, a) = (World::new(), name(0));
    world.now = 10;
    world.push(a.clone(), 0);
    world.set_tag(a.clone(), tag(1), 0);
    (world, a)
}

fn fates(world: &mut World, name: &Name, digests: &[Digest]) -> Vec<ContentState> {
    digests.iter().map(|digest| world.fate(name, *digest)).collect()
}

#[test]
fn blobs_wait_for_their_manifest_and_manifests_for_their_tag() {
    let (mut world, a) = (World::new(), name(0));
    world.now = 1;
    world.add_blob(a.clone(), 0);
    assert_eq!(world.fate(&a, b(0)), waiting(1, Wait::Pending));
    world.now = 2;
    world.push(a.clone(), 0);
    assert_eq!(world.fate(&a, m(0)), waiting(2, Wait::Untagged));
    assert_eq!(fates(&mut world, &a, &[b(0), b(1), b(2)]), [LIVE, LIVE, LIVE]);
    world.now = 3;
    world.set_tag(a.clone(), tag(1), 0);
    assert_eq!(world.fate(&a, m(0)), LIVE);
    assert_eq!(world.state.scan::<Orphans>(&[], &[u8::MAX], 9), []);
}

#[test]
fn what_is_uploaded_again_waits_anew() {
    let (mut world, a) = (World::new(), name(0));
    world.now = 1;
    world.add_blob(a.clone(), 0);
    world.now = 7;
    world.add_blob(a.clone(), 0);
    assert_eq!(world.fate(&a, b(0)), waiting(7, Wait::Pending));
    assert_eq!(world.state.scan::<Orphans>(&[], &[u8::MAX], 9).len(), 1);
}

#[test]
fn deleting_a_tag_makes_what_only_it_reached_an_orphan_at_once() {
    let (mut world, a) = given_an_image();
    world.now = 20;
    world.delete_tag(a.clone(), tag(1));
    for digest in [m(0), b(0), b(1), b(2)] {
        assert_eq!(world.fate(&a, digest), waiting(20, Wait::Deleted), "{digest}");
    }
}

#[test]
fn a_second_tag_keeps_it() {
    let (mut world, a) = given_an_image();
    world.set_tag(a.clone(), tag(2), 0);
    world.delete_tag(a.clone(), tag(1));
    assert_eq!(fates(&mut world, &a, &[m(0), b(0), b(1)]), [LIVE, LIVE, LIVE]);
}

#[test]
fn a_tag_that_is_overwritten_leaves_an_untagged_manifest_that_still_holds() {
    let (mut world, a) = given_an_image();
    world.push(a.clone(), 1);
    world.now = 20;
    world.set_tag(a.clone(), tag(1), 1);
    assert_eq!(world.fate(&a, m(0)), waiting(20, Wait::Untagged));
    assert_eq!(fates(&mut world, &a, &[b(0), b(1), b(2), b(3)]), [LIVE, LIVE, LIVE, LIVE]);
    // Tagged again, it is as it was.
    world.set_tag(a.clone(), tag(2), 0);
    assert_eq!(world.fate(&a, m(0)), LIVE);
}

#[test]
fn layers_that_another_image_has_stay() {
    let (mut world, a) = given_an_image();
    world.push(a.clone(), 1);
    world.set_tag(a.clone(), tag(2), 1);
    world.now = 20;
    world.delete_tag(a.clone(), tag(1));
    assert_eq!(fates(&mut world, &a, &[b(1), b(3)]), [LIVE, LIVE]);
    assert_eq!(world.fate(&a, b(2)), waiting(20, Wait::Deleted));
}

#[test]
fn what_an_index_lists_lives_and_falls_with_it() {
    let (mut world, a) = (World::new(), name(0));
    for index in [0, 1, 2, 3, 4] {
        world.push(a.clone(), index);
    }
    world.set_tag(a.clone(), tag(1), 4);
    let below = [m(3), m(2), m(0), m(1), b(0), b(1), b(2), b(3), b(4), b(5)];
    assert!(fates(&mut world, &a, &below).iter().all(|fate| *fate == LIVE));
    world.now = 20;
    world.delete_tag(a.clone(), tag(1));
    assert!(fates(&mut world, &a, &below).iter().all(|fate| *fate == waiting(20, Wait::Deleted)));
    // The inner index tagged brings back its half, and leaves the other as it was.
    world.now = 30;
    world.set_tag(a.clone(), tag(2), 3);
    assert_eq!(fates(&mut world, &a, &[m(3), m(0), m(1), b(1)]), [LIVE; 4]);
    assert_eq!(world.fate(&a, m(2)), waiting(20, Wait::Deleted));
    assert_eq!(world.fate(&a, b(5)), waiting(20, Wait::Deleted));
}

#[test]
fn an_index_may_list_a_blob() {
    let (mut world, a) = (World::new(), name(0));
    world.add_blob(a.clone(), 1);
    world.add_blob(a.clone(), 5);
    world.push(a.clone(), 2);
    world.push(a.clone(), 8);
    assert_eq!(fates(&mut world, &a, &[b(1), b(5), m(2)]), [LIVE; 3]);
    world.now = 20;
    world.delete_manifest(a.clone(), m(8));
    assert_eq!(world.fate(&a, b(1)), waiting(20, Wait::Deleted));
}

#[test]
fn a_referrer_of_what_is_in_use_is_in_use() {
    let (mut world, a) = given_an_image();
    world.push(a.clone(), 5);
    world.push(a.clone(), 6);
    assert_eq!(fates(&mut world, &a, &[m(5), m(6), b(3)]), [LIVE; 3]);
    world.now = 20;
    world.delete_tag(a.clone(), tag(1));
    for digest in [m(0), m(5), m(6), b(0), b(3)] {
        assert_eq!(world.fate(&a, digest), waiting(20, Wait::Deleted), "{digest}");
    }
}

#[test]
fn a_subject_may_come_after_its_referrer() {
    let (mut world, a) = (World::new(), name(0));
    world.now = 1;
    world.push(a.clone(), 5);
    assert_eq!(world.fate(&a, m(5)), waiting(1, Wait::Untagged));
    assert_eq!(world.fate(&a, m(0)), ABSENT);
    assert_eq!(world.content(&a, m(0)).unwrap().referrers, 1, "remembered before it is here");
    world.now = 2;
    world.push(a.clone(), 0);
    assert_eq!(world.fate(&a, m(5)), LIVE);
    world.now = 3;
    world.delete_manifest(a.clone(), m(0));
    assert_eq!(world.fate(&a, m(5)), waiting(3, Wait::Deleted));
}

#[test]
fn what_refers_to_a_subject_does_not_change_its_wait() {
    let (mut world, a) = (World::new(), name(0));
    world.now = 1;
    world.push(a.clone(), 0);
    world.now = 2;
    world.push(a.clone(), 5);
    assert_eq!(world.fate(&a, m(0)), waiting(1, Wait::Untagged));
    world.now = 3;
    world.delete_manifest(a.clone(), m(5));
    assert_eq!(world.fate(&a, m(0)), waiting(1, Wait::Untagged));
}

#[test]
fn a_tag_set_to_where_it_points_stays_there() {
    let (mut world, a) = given_an_image();
    world.now = 20;
    let (repository, name) = a.clone();
    let seq = world.records.len() as u64;
    world.apply(Event::TagSet { repository, name, tag: tag(1), digest: m(0), previous: Some(m(0)) });
    let row = world.content(&a, m(0)).unwrap();
    assert_eq!((row.tags, row.state), (1, LIVE));
    let id = world.id(&a);
    assert_eq!(world.state.row::<Tags>(&(id, tag(1))).unwrap().seq, seq, "who set it last");
    let references = world.state.scan_prefix::<References>(&prefix::references_by_tags(id, &m(0)), None, 9);
    assert_eq!(references.len(), 1);
}

#[test]
fn a_manifest_pushed_again_while_it_waits_holds_again() {
    let (mut world, a) = given_an_image();
    world.now = 20;
    world.delete_tag(a.clone(), tag(1));
    world.now = 30;
    world.push(a.clone(), 0);
    assert_eq!(world.fate(&a, m(0)), waiting(30, Wait::Untagged));
    assert_eq!(fates(&mut world, &a, &[b(0), b(1), b(2)]), [LIVE; 3]);
}

#[test]
fn what_falls_with_a_collected_manifest_waits_since_that_did() {
    let (mut world, a) = (World::new(), name(0));
    world.now = 5;
    world.push(a.clone(), 0);
    world.now = 50;
    assert_eq!(world.collect(&[Wait::Untagged]), 1);
    assert_eq!(world.fate(&a, m(0)), ABSENT);
    assert_eq!(world.fate(&a, b(1)), waiting(5, Wait::Deleted));
    world.now = 60;
    assert_eq!(world.collect(&[Wait::Deleted]), 3);
    let unheld = Timestamp::from_micros(5);
    assert_eq!(world.state.row::<Blobs>(&b(1)).unwrap().unheld_since, Some(unheld));
    assert_eq!(world.state.row::<Names>(&a), None, "nothing is left in the name");
    assert_eq!(world.collect(&[Wait::Unheld]), 4);
    assert_eq!(world.state.scan::<Blobs>(&[], &[u8::MAX], 9), []);
}

#[test]
fn a_manifest_deleted_by_digest_lets_go_of_its_blobs() {
    let (mut world, a) = given_an_image();
    world.now = 20;
    world.delete_manifest(a.clone(), m(0));
    assert_eq!(world.fate(&a, m(0)), ABSENT);
    assert_eq!(world.fate(&a, b(1)), waiting(20, Wait::Deleted));
    let id = world.id(&a);
    assert_eq!(world.state.row::<Tags>(&(id, tag(1))), None);
    let unheld = Timestamp::from_micros(20);
    assert_eq!(world.state.row::<Blobs>(&m(0)).unwrap().unheld_since, Some(unheld));
}

#[test]
fn what_is_both_blob_and_manifest_goes_by_halves() {
    let (mut world, a) = given_an_image();
    let (repository, name) = a.clone();
    world.apply(Event::BlobAdded { repository, name, digest: m(0), size: 1000 });
    world.now = 20;
    world.delete_manifest(a.clone(), m(0));
    let row = world.content(&a, m(0)).unwrap();
    assert!(row.blob && !row.manifest);
    assert_eq!(row.state, waiting(20, Wait::Deleted));
    assert_eq!(world.state.row::<Blobs>(&m(0)).unwrap().unheld_since, None);
    world.delete_blob(a.clone(), m(0));
    assert_eq!(world.content(&a, m(0)), None);
}

#[test]
fn a_mounted_blob_is_shared_and_becomes_the_others_own() {
    let (mut world, a, x) = (World::new(), name(0), name(3));
    world.add_blob(a.clone(), 1);
    world.mount(x.clone(), 1, a.clone());
    let (own, shared) = (|usage: (u64, u64)| usage.0, |usage: (u64, u64)| usage.1);
    let bytes = |world: &mut World, name: &Name| {
        let id = world.id(name);
        let usage =
            world.state.row::<NameUsage>(&id).unwrap_or_else(|| panic!("{name:?} holds nothing")).usage;
        (usage.own_bytes, usage.shared_bytes)
    };
    for name in [&a, &x] {
        let usage = bytes(&mut world, name);
        assert_eq!((own(usage), shared(usage)), (0, 20));
    }
    world.delete_blob(a.clone(), b(1));
    assert_eq!(bytes(&mut world, &x), (20, 0));
    assert_eq!(world.state.row::<Blobs>(&b(1)).unwrap().holders, 1);
    let held = world.state.row::<UsageByRepository>(&x.0).unwrap();
    assert_eq!((held.names, held.blobs, held.bytes), (1, 1, 20));
    assert_eq!(world.state.row::<UsageByRepository>(&a.0).unwrap(), Default::default());
}

#[test]
fn an_unheld_blob_that_comes_back_waits_no_more() {
    let (mut world, a, x) = (World::new(), name(0), name(3));
    world.add_blob(a.clone(), 1);
    world.delete_blob(a, b(1));
    assert_eq!(world.state.scan_prefix::<Orphans>(&prefix::orphans(Wait::Unheld), None, 9).len(), 1);
    world.add_blob(x, 1);
    assert_eq!(world.state.scan_prefix::<Orphans>(&prefix::orphans(Wait::Unheld), None, 9), []);
    // A collection that was decided before the blob came back takes nothing.
    world.apply(Event::OrphansCollected {
        contents: Vec::new(),
        blobs: vec![supercargo_eventlog::event::CollectedBlob { digest: b(1), size: 20 }],
    });
    assert_eq!(world.state.row::<Blobs>(&b(1)).unwrap().holders, 1);
}

#[test]
fn a_name_is_gone_with_its_last_content_and_keeps_its_number() {
    let (mut world, a) = given_an_image();
    let id = world.id(&a);
    world.delete_name(a.clone());
    assert_eq!(world.state.row::<Names>(&a), None);
    assert_eq!(world.state.row::<NameUsage>(&id), None);
    assert_eq!(world.state.row::<UsageByRepository>(&a.0).unwrap(), Default::default());
    world.push(a.clone(), 1);
    assert_eq!(world.state.row::<Names>(&a), Some(id));
    let other = name(2);
    world.add_blob(other.clone(), 0);
    assert_ne!(world.id(&other), id);
}

#[test]
fn every_change_of_a_tag_is_remembered_also_after_its_name() {
    let (mut world, a) = given_an_image();
    world.push(a.clone(), 1);
    world.now = 20;
    world.set_tag(a.clone(), tag(1), 1);
    world.now = 30;
    world.delete_name(a.clone());
    let id = world.id(&a);
    let changes = world.state.scan_prefix::<TagHistory>(&prefix::tag_history(id, &tag(1)), None, 9);
    let changes: Vec<_> =
        changes.into_iter().map(|(_, row)| (row.at.as_micros(), row.previous, row.digest)).collect();
    assert_eq!(changes, [(10, None, Some(m(0))), (20, Some(m(0)), Some(m(1))), (30, Some(m(1)), None)]);
}

#[test]
fn a_reference_is_kept_under_its_first_role() {
    let (mut world, a) = (World::new(), name(0));
    world.push(a.clone(), 2);
    let id = world.id(&a);
    let of = |world: &mut World, blob| {
        let found = world.state.scan_prefix::<References>(&prefix::references(id, &b(blob)), None, 9);
        found.into_iter().map(|((_, _, source), kind)| (source, kind)).collect::<Vec<_>>()
    };
    assert_eq!(of(&mut world, 4), [(Source::Manifest(m(2)), ReferenceKind::Config)]);
    assert_eq!(of(&mut world, 2), [(Source::Manifest(m(2)), ReferenceKind::Layer)]);
    assert_eq!(world.content(&a, b(2)).unwrap().holders, 1, "listed twice, held once");
}

/// Ann's waiting room.
fn room() -> Name {
    place(5)
}

/// A world where a chain of three images was tagged `latest` at time 10.
fn given_a_chain() -> (World, Name) {
    let (mut world, a) = (World::new(), name(0));
    world.now = 10;
    world.push_chain(room(), 2);
    world.tag_image(a.clone(), tag(1), 2, &[room()]);
    (world, a)
}

#[test]
fn an_image_waits_in_its_pushers_room_until_a_tag_takes_it_away() {
    let (mut world, a) = (World::new(), name(0));
    world.now = 1;
    world.push_image(room(), 0);
    world.now = 2;
    world.push_image(room(), 1);
    assert_eq!(fates(&mut world, &room(), &[j(0), b(1), b(2)]), [LIVE; 3], "its child holds it");
    assert_eq!(world.fate(&room(), j(1)), waiting(2, Wait::Untagged));
    let usage = world.state.row::<UsageByRepository>(&a.0).unwrap();
    assert_eq!((usage.names, usage.images, usage.blobs), (0, 2, 2), "a room is no name");

    world.now = 3;
    world.tag_image(a.clone(), tag(1), 1, &[room()]);
    assert_eq!(fates(&mut world, &a, &[j(1), j(0), b(2), b(1)]), [LIVE; 4]);
    assert_eq!(world.state.row::<Names>(&room()), None);
    assert_eq!(world.state.scan::<Orphans>(&[], &[u8::MAX], 9), []);
    let usage = world.state.row::<UsageByRepository>(&a.0).unwrap();
    assert_eq!((usage.names, usage.images, usage.blobs, usage.tags), (1, 2, 2, 1));
    let blob = world.state.row::<Blobs>(&b(2)).unwrap();
    assert_eq!((blob.holders, blob.unheld_since), (1, None));
}

#[test]
fn what_stays_in_a_waiting_room_keeps_its_layer() {
    let (mut world, a) = (World::new(), name(0));
    world.push_chain(room(), 2);
    world.push_image(room(), 3);
    world.now = 5;
    world.tag_image(a, tag(1), 2, &[room()]);
    // The base is gone with the other; the layer that both have is not.
    assert_eq!(world.fate(&room(), j(0)), ABSENT);
    assert_eq!(world.fate(&room(), b(6)), LIVE);
    assert_eq!(world.fate(&room(), j(3)), waiting(0, Wait::Untagged));
    // Also where what stays waits to be collected.
    world.push_chain(room(), 5);
    world.now = 6;
    world.delete_image(room(), j(5));
    assert_eq!(world.fate(&room(), j(4)), waiting(6, Wait::Deleted));
    world.push_image(room(), 7);
    world.now = 7;
    world.tag_image(name(2), tag(1), 7, &[room()]);
    assert_eq!(world.fate(&room(), j(0)), ABSENT);
    assert_eq!(world.fate(&room(), b(7)), waiting(7, Wait::Deleted));
}

#[test]
fn a_chain_lives_by_its_tag_and_falls_with_it() {
    let (mut world, a) = given_a_chain();
    world.push_chain(room(), 3);
    world.tag_image(a.clone(), tag(2), 3, &[room()]);
    world.now = 20;
    world.delete_tag(a.clone(), tag(1));
    // The base and the layer are another's too.
    assert_eq!(fates(&mut world, &a, &[j(3), j(0), b(1), b(6)]), [LIVE; 4]);
    for digest in [j(2), j(1), b(2)] {
        assert_eq!(world.fate(&a, digest), waiting(20, Wait::Deleted), "{digest}");
    }
    world.now = 30;
    world.tag_image(a.clone(), tag(2), 1, &[]);
    assert_eq!(fates(&mut world, &a, &[j(1), j(0), b(2)]), [LIVE; 3]);
    assert_eq!(world.fate(&a, j(3)), waiting(30, Wait::Untagged), "its tag was moved away");
    assert_eq!(world.fate(&a, j(2)), waiting(20, Wait::Deleted));
}

#[test]
fn an_image_that_comes_again_brings_the_layer_that_it_lost() {
    let (mut world, a) = given_a_chain();
    world.now = 20;
    world.delete_blob(a.clone(), b(1));
    assert_eq!(world.fate(&a, b(1)), ABSENT);
    world.push_image(room(), 0);
    world.tag_image(a.clone(), tag(1), 2, &[room()]);
    assert_eq!(fates(&mut world, &a, &[j(0), b(1)]), [LIVE; 2]);
    assert_eq!(world.state.row::<Names>(&room()), None);
}

#[test]
fn an_image_that_comes_again_packed_otherwise_is_made_of_that() {
    let (mut world, a) = given_a_chain();
    world.now = 20;
    let (repository, to) = a.clone();
    world.apply(Event::V1ImagesAdded { repository, name: to, from: None, images: vec![image(7)] });
    assert_eq!(fates(&mut world, &a, &[j(2), j(1), j(0), b(7)]), [LIVE; 4]);
    assert_eq!(world.fate(&a, b(1)), waiting(20, Wait::Deleted));
    let id = world.id(&a);
    assert_eq!(world.state.row::<Images>(&(id, j(0))).unwrap().image.layer, b(7));
    let references = world.state.scan_prefix::<References>(&prefix::references(id, &b(1)), None, 9);
    assert_eq!(references, []);
}

#[test]
fn the_first_image_of_an_id_keeps_it_in_its_name() {
    let (mut world, a) = given_a_chain();
    let (repository, to) = a.clone();
    let by_id = (a.0.clone(), image(1).id, world.id(&a));
    world.apply(Event::V1ImagesAdded { repository, name: to, from: None, images: vec![image(4)] });
    assert_eq!(world.state.row::<ImagesById>(&by_id), Some(j(1)));
    world.delete_image(a.clone(), j(4));
    assert_eq!(world.state.row::<ImagesById>(&by_id), Some(j(1)));
    world.delete_image(a, j(1));
    assert_eq!(world.state.row::<ImagesById>(&by_id), None);
}

#[test]
fn a_manifest_holds_what_it_is_to_v1_clients() {
    let (mut world, a) = given_an_image();
    world.view(a.clone(), 0, 1);
    assert_eq!(fates(&mut world, &a, &[j(1), j(0), b(1), b(2)]), [LIVE; 4]);
    let id = world.id(&a);
    // It stays what it is.
    let viewed = |world: &mut World, manifest, image| {
        let (repository, name) = name(0);
        let event = Event::V1ViewAdded { repository, name, manifest, image };
        fold_alone(world, event);
        world.state.row::<Views>(&(id, manifest))
    };
    assert_eq!(viewed(&mut world, m(0), j(0)), Some(j(1)));
    assert_eq!(world.content(&a, j(0)).unwrap().holders, 1, "its child");
    // What it lists it holds already; what is not there holds nothing.
    world.push(a.clone(), 1);
    assert_eq!(viewed(&mut world, m(1), b(3)), None);
    assert_eq!(viewed(&mut world, m(9), j(0)), None);
    world.now = 20;
    world.delete_tag(a.clone(), tag(1));
    assert_eq!(fates(&mut world, &a, &[j(1), j(0)]), [waiting(20, Wait::Deleted); 2]);
    world.now = 30;
    world.set_tag(a.clone(), tag(1), 0);
    assert_eq!(fates(&mut world, &a, &[j(1), j(0)]), [LIVE; 2]);
    world.now = 40;
    world.delete_manifest(a.clone(), m(0));
    assert_eq!(fates(&mut world, &a, &[j(1), j(0)]), [waiting(40, Wait::Deleted); 2]);
    assert_eq!(world.state.row::<Views>(&(id, m(0))), None);
    let references = world.state.scan_prefix::<References>(&prefix::references(id, &j(1)), None, 9);
    assert_eq!(references, []);
}

/// Folds what the registry would not record, and what no account is kept of.
fn fold_alone(world: &mut World, event: Event) {
    let at = Timestamp::from_micros(world.now);
    let record = crate::world::record(world.records.len() as u64, at, event);
    supercargo_projections::fold(&mut world.state, &record);
    world.records.push(record);
}

#[test]
fn the_same_bytes_are_no_manifest_and_image_at_once() {
    let (mut world, a) = given_an_image();
    let (repository, to) = a.clone();
    let twin = supercargo_eventlog::V1Image { json: m(0), json_size: 1000, ..image(0) };
    let added = Event::V1ImagesAdded { repository, name: to, from: None, images: vec![twin] };
    fold_alone(&mut world, added);
    let row = world.content(&a, m(0)).unwrap();
    assert!(row.manifest && !row.image);

    let (mut world, a) = given_a_chain();
    let (repository, to) = a.clone();
    let manifest = crate::world::manifest(0);
    fold_alone(&mut world, Event::ManifestPushed { repository, name: to, digest: j(2), manifest });
    let row = world.content(&a, j(2)).unwrap();
    assert!(row.image && !row.manifest);
}

#[test]
fn what_is_known_of_a_layer_goes_with_its_bytes() {
    let (mut world, a) = given_a_chain();
    world.inspect(1, Some(5));
    world.delete_name(a);
    assert!(world.state.row::<Layers>(&b(1)).is_some(), "its bytes are there still");
    world.collect(&[Wait::Unheld]);
    assert_eq!(world.state.row::<Layers>(&b(1)), None);
    let layer = Event::LayerInspected { layer: b(1), diff_id: b(2), unpacked_size: 1, packed: None };
    fold_alone(&mut world, layer);
    assert_eq!(world.state.row::<Layers>(&b(1)), None);
}

#[test]
fn rot_is_known_until_the_bytes_come_again() {
    let (mut world, a, x) = (World::new(), name(0), name(3));
    world.add_blob(a.clone(), 1);
    world.rot(b(1));
    assert!(world.state.row::<Blobs>(&b(1)).unwrap().rotten);
    // A mount brings no bytes.
    world.mount(x.clone(), 1, a.clone());
    assert!(world.state.row::<Blobs>(&b(1)).unwrap().rotten);
    world.add_blob(x, 1);
    assert!(!world.state.row::<Blobs>(&b(1)).unwrap().rotten);
    world.push(a.clone(), 0);
    world.rot(m(0));
    world.push(a.clone(), 0);
    assert!(!world.state.row::<Blobs>(&m(0)).unwrap().rotten);
    // A push of an image does, a tag on it does not.
    world.push_image(room(), 0);
    world.rot(b(1));
    world.rot(j(0));
    let rotten =
        |world: &mut World| [b(1), j(0)].map(|digest| world.state.row::<Blobs>(&digest).unwrap().rotten);
    world.tag_image(a, tag(2), 0, &[room()]);
    assert_eq!(rotten(&mut world), [true; 2]);
    world.push_image(room(), 0);
    assert_eq!(rotten(&mut world), [false; 2]);
}

#[test]
fn a_repository_is_created_configured_and_removed() {
    let mut world = World::new();
    let key: supercargo_model::RepoKey = "one".parse().unwrap();
    let config = RepositoryConfig { docker_api_version: DockerApiVersion::Both, ..Default::default() };
    world.apply(Event::RepositoryConfigured { repository: key.clone(), config: config.clone() });
    let row = world.state.row::<Repositories>(&key).unwrap();
    assert_eq!((row.config, row.created_at), (config.clone(), Timestamp::default()));
    world.apply(Event::RepositoryRemoved { repository: key.clone() });
    assert_eq!(world.state.row::<Repositories>(&key), None);
    assert_eq!(world.state.row::<UsageByRepository>(&key), None);
    // What is not there is not made by being configured.
    world.apply(Event::RepositoryConfigured { repository: key.clone(), config });
    assert_eq!(world.state.row::<Repositories>(&key), None);
}

fn folders(world: &mut World) -> BTreeMap<String, FolderRow> {
    let rows = world.state.scan::<Folders>(&[], &[u8::MAX], usize::MAX);
    rows.into_iter().map(|((repository, path), row)| (format!("{repository}:{path}"), row)).collect()
}

#[test]
fn folders_come_with_tags_and_are_pruned_up_the_branch_in_one_run() {
    let (mut world, x) = (World::new(), name(2));
    world.now = 10;
    world.push(x.clone(), 0);
    let alone = format!("one:lib/x/{}", m(0));
    assert_eq!(folders(&mut world)[&alone].children, 1, "a manifest without a tag has a folder of its own");
    world.set_tag(x.clone(), tag(1), 0);
    world.set_tag(x.clone(), tag(2), 0);
    let counts: Vec<_> = folders(&mut world).into_iter().map(|(path, row)| (path, row.children)).collect();
    let expected = [("one:lib", 1), ("one:lib/x", 2), ("one:lib/x/latest", 1), ("one:lib/x/v1", 1)];
    assert_eq!(counts, expected.map(|(path, children)| (path.to_owned(), children)));

    world.now = 20;
    world.delete_tag(x.clone(), tag(1));
    world.now = 30;
    assert!(!folders(&mut world).contains_key(&alone), "it stands where its tags do");
    world.delete_tag(x, tag(2));
    assert!(!folders(&mut world).contains_key(&alone), "what was deleted is not there");
    let empty = world.state.scan::<EmptyFolders>(&[], &[u8::MAX], 9);
    let empty: Vec<_> = empty.into_iter().map(|((since, _, path), ())| (since.as_micros(), path)).collect();
    assert_eq!(empty, [(20, "lib/x/latest".to_owned()), (30, "lib/x/v1".to_owned())]);

    world.now = 40;
    let before = world.records.len();
    world.prune();
    assert!(folders(&mut world).is_empty());
    let pruned: Vec<_> = world.records[before..]
        .iter()
        .map(|record| match &record.event {
            Event::FoldersPruned { paths, .. } => paths.join(","),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(pruned, ["lib/x/latest", "lib/x/v1", "lib/x", "lib"]);
}

#[test]
fn a_folder_that_is_used_again_is_not_pruned() {
    let (mut world, a) = given_an_image();
    world.delete_tag(a.clone(), tag(1));
    world.set_tag(a.clone(), tag(1), 0);
    assert_eq!(world.state.scan::<EmptyFolders>(&[], &[u8::MAX], 9), []);
    // Also where that was decided before.
    world.apply(Event::FoldersPruned { repository: a.0, paths: vec!["a/latest".to_owned()] });
    assert_eq!(folders(&mut world)["one:a/latest"].children, 1);
}

#[test]
fn properties_are_counted_and_go_with_their_folder() {
    let (mut world, a) = given_an_image();
    let set = |set: &[(&str, &str)], removed: &[&str]| Event::PropertiesSet {
        repository: "one".parse().unwrap(),
        path: "a/latest".to_owned(),
        set: set.iter().map(|(key, value)| ((*key).to_owned(), vec![(*value).to_owned()])).collect(),
        removed: removed.iter().map(|key| (*key).to_owned()).collect(),
    };
    world.apply(set(&[("k", "1"), ("l", "2")], &[]));
    world.apply(set(&[("k", "3")], &["l", "never"]));
    assert_eq!(folders(&mut world)["one:a/latest"].properties, 1);
    let rows = world.state.scan::<Properties>(&[], &[u8::MAX], 9);
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].1, BTreeMap::from([("k".to_owned(), vec!["3".to_owned()])]));
    let found = world.state.scan::<PropertyValues>(&[], &[u8::MAX], 9);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((found[0].0.0.as_str(), found[0].0.1.as_str()), ("k", "3"));
    world.delete_tag(a, tag(1));
    world.prune();
    assert_eq!(world.state.scan::<Properties>(&[], &[u8::MAX], 9), []);
}

#[test]
fn keys_read_back_as_they_were_written() {
    let (mut world, a) = given_an_image();
    world.push(a, 9);
    for row in crate::world::folded(&world.records).0.keys() {
        let table = supercargo_projections::tables::table_of(row);
        assert!(table.is_some(), "{row:?}");
    }
    let key = (Wait::Pending, Timestamp::from_micros(-1), supercargo_projections::tables::NameId(7), m(9));
    let mut bytes = Vec::new();
    Orphans::write_key(&key, &mut bytes);
    assert_eq!(Orphans::read_key(&bytes), Some(key));
}
