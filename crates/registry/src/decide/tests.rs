//! Given what was recorded, when somebody wants this, then these events or that refusal. Without a disk, a
//! clock or a thread: that is what makes a decision a function.

use std::time::Duration;

use supercargo_eventlog::event::{CollectedBlob, CollectedContents, Rot};
use supercargo_eventlog::{
    Actor, Api, ContentRules, DockerApiVersion, Event, LoginMethod, NameQuota, Origin, Record,
    RepositoryConfig, V1Image,
};
use supercargo_model::{
    Descriptor, Digest, ImageId, Manifest, PathPattern, Pattern, Reference, Tag, media_type,
};
use supercargo_projections::tables::{Contents, Folders, NameIds, Properties, Repositories, prefix};
use supercargo_projections::{Empty, Rows as _, Working, fold};

use super::*;
use crate::command::{CollectCursor, Collected, GcPolicy, Outcome};
use crate::condition::{Condition, Expected};
use crate::leases::{Leases, Principal};
use crate::rules::Broken;
use crate::tree::{PropertiesChange, Reach};
use crate::{RepositoryChange, RulesChange};

const POLICY: GcPolicy = GcPolicy {
    lease: Duration::from_micros(100),
    untagged_after: Duration::from_micros(1000),
    keep_deleted: Duration::from_micros(10),
};

pub(super) fn r() -> RepoKey {
    "r".parse().unwrap()
}

pub(super) fn a() -> RepoName {
    "a".parse().unwrap()
}

pub(super) fn b() -> RepoName {
    "b".parse().unwrap()
}

pub(super) fn tag(tag: &str) -> Tag {
    tag.parse().unwrap()
}

pub(super) fn d(byte: u8) -> Digest {
    Digest::sha256([byte; 32])
}

fn descriptor(byte: u8) -> Descriptor {
    Descriptor { media_type: String::new(), digest: d(byte), size: 1, platform: None, foreign: false }
}

pub(super) fn image(config: u8, layers: &[u8]) -> Manifest {
    Manifest {
        media_type: media_type::OCI_MANIFEST.to_owned(),
        size: 50,
        artifact_type: None,
        config: Some(descriptor(config)),
        layers: layers.iter().map(|layer| descriptor(*layer)).collect(),
        children: Vec::new(),
        subject: None,
        annotations: Vec::new(),
        signed: None,
    }
}

fn index(children: &[u8]) -> Manifest {
    let children = children.iter().map(|child| descriptor(*child)).collect();
    Manifest { config: None, children, media_type: media_type::OCI_INDEX.to_owned(), ..image(0, &[]) }
}

fn created(config: RepositoryConfig) -> Event {
    Event::RepositoryCreated { repository: r(), config }
}

pub(super) fn added(name: RepoName, byte: u8) -> Event {
    Event::BlobAdded { repository: r(), name, digest: d(byte), size: 1 }
}

pub(super) fn pushed(byte: u8, manifest: Manifest) -> Event {
    Event::ManifestPushed { repository: r(), name: a(), digest: d(byte), manifest }
}

fn set(which: &str, byte: u8, previous: Option<u8>) -> Event {
    Event::TagSet { repository: r(), name: a(), tag: tag(which), digest: d(byte), previous: previous.map(d) }
}

fn untagged(which: &str, byte: u8) -> Event {
    Event::TagDeleted { repository: r(), name: a(), tag: tag(which), previous: d(byte) }
}

/// A view of what these events leave, each recorded a microsecond after the one before, from 1 on.
pub(super) struct View(pub(super) Working<Empty>, i64);

pub(super) fn given(events: impl IntoIterator<Item = Event>) -> View {
    let mut view = View(Working::new(Empty), 0);
    view.record([created(RepositoryConfig::default())]);
    view.record(events);
    view
}

/// An image of blobs 1 and 2, as manifest 10 tagged `latest`.
fn given_an_image() -> View {
    given([added(a(), 1), added(a(), 2), pushed(10, image(1, &[2])), set("latest", 10, None)])
}

impl View {
    pub(super) fn record(&mut self, events: impl IntoIterator<Item = Event>) {
        for event in events {
            self.1 += 1;
            let record = Record {
                seq: self.1.unsigned_abs(),
                at: Timestamp::from_micros(self.1),
                id: uuid::Uuid::nil(),
                actor: Actor::System,
                origin: Origin::local(Api::Cli),
                event,
            };
            fold(&mut self.0, &record);
        }
    }

    #[expect(clippy::needless_pass_by_value, reason = "commands are made where they are decided")]
    pub(super) fn decide(&mut self, command: Command) -> Result<Decision> {
        decide(&mut self.0, &command, Timestamp::from_micros(self.1), None)
    }

    pub(super) fn events(&mut self, command: Command) -> Vec<Event> {
        self.decide(command).unwrap().events
    }

    fn mount(&mut self, name: RepoName, byte: u8, from: Option<RepoName>) -> (Vec<Event>, Option<u64>) {
        let decision =
            self.decide(Command::MountBlob { repository: r(), name, digest: d(byte), from }).unwrap();
        match decision.outcome {
            Outcome::Mounted(size) => (decision.events, size),
            other => panic!("{other:?}"),
        }
    }

    fn push(&mut self, byte: u8, manifest: Manifest, tags: &[&str]) -> Result<Vec<Event>> {
        let tags = tags.iter().map(|which| tag(which)).collect();
        let manifest = Box::new(manifest);
        let command = Command::PushManifest {
            repository: r(),
            name: a(),
            reference: Reference::Digest(d(byte)),
            digest: d(byte),
            manifest,
            tags,
            condition: Condition::default(),
            labels: Vec::new(),
        };
        self.decide(command).map(|decision| decision.events)
    }

    fn missing(&mut self, manifest: Manifest) -> Vec<Digest> {
        match self.push(99, manifest, &[]) {
            Ok(_) => Vec::new(),
            Err(Error::ManifestBlobUnknown(missing)) => missing,
            Err(e) => panic!("{e}"),
        }
    }

    /// One step of a collection at a moment.
    fn collect(&mut self, at: i64, leases: Option<&Leases>) -> Collected {
        let still = leases.map(Leases::still);
        let command = Command::Collect { policy: POLICY, cursor: CollectCursor::default() };
        let decision = decide(&mut self.0, &command, Timestamp::from_micros(at), still.as_ref()).unwrap();
        match decision.outcome {
            Outcome::Collected { collected, .. } => collected,
            other => panic!("{other:?}"),
        }
    }

    fn collected(&mut self, at: i64) -> Vec<Digest> {
        self.collect(at, None).contents.into_iter().flat_map(|contents| contents.digests).collect()
    }
}

fn add(name: RepoName, byte: u8) -> Command {
    Command::AddBlob { repository: r(), name, digest: d(byte), size: 1 }
}

fn delete(reference: Reference) -> Command {
    Command::DeleteManifest { repository: r(), name: a(), reference, condition: Condition::default() }
}

/// A condition is on what the reference stands for, at the moment of the decision.
#[test]
fn a_condition_is_judged_by_what_is_there() {
    let is = |byte| Condition { matches: Some(Expected::OneOf(vec![d(byte)])), ..Condition::default() };
    let absent = || Condition { matches_none: Some(Expected::Anything), ..Condition::default() };
    let latest = || Reference::Tag(tag("latest"));
    let other = || Reference::Tag(tag("other"));
    for (reference, condition, refused) in [
        (latest(), is(10), None),
        (latest(), is(11), Some(Some(d(10)))),
        (latest(), absent(), Some(Some(d(10)))),
        (other(), absent(), None),
        (other(), is(10), Some(None)),
        (Reference::Digest(d(11)), absent(), None),
        (Reference::Digest(d(11)), is(11), Some(None)),
        (Reference::Digest(d(10)), is(10), None),
    ] {
        let push = Command::PushManifest {
            repository: r(),
            name: a(),
            reference: reference.clone(),
            digest: d(11),
            manifest: Box::new(image(2, &[1])),
            tags: vec![tag("latest")],
            condition: condition.clone(),
            labels: Vec::new(),
        };
        let outcome = given_an_image().decide(push).map(|_| ());
        match (&outcome, refused) {
            (Ok(()), None) => {}
            (Err(Error::Changed { present }), Some(expected)) => assert_eq!(*present, expected),
            _ => panic!("{reference} {condition:?}: {outcome:?}"),
        }
    }
    let delete = |reference, condition| {
        let command = Command::DeleteManifest { repository: r(), name: a(), reference, condition };
        given_an_image().decide(command).map(|decision| decision.events.len())
    };
    assert!(matches!(delete(latest(), is(10)), Ok(1)));
    assert!(matches!(delete(latest(), is(11)), Err(Error::Changed { present: Some(_) })));
    assert!(matches!(delete(Reference::Digest(d(10)), absent()), Err(Error::Changed { .. })));
    // What is not there is not there, whatever was expected of it.
    assert!(matches!(delete(other(), is(10)), Err(Error::ManifestUnknown(_))));
}

/// Whatever is refused, and whatever is decided, the view is as it was.
#[test]
fn deciding_changes_nothing() {
    let commands = || {
        vec![
            add(a(), 1),
            add(b(), 9),
            Command::MountBlob { repository: r(), name: b(), digest: d(1), from: None },
            Command::DeleteBlob { repository: r(), name: a(), digest: d(1) },
            Command::DeleteBlob { repository: r(), name: a(), digest: d(7) },
            delete(Reference::Tag(tag("latest"))),
            delete(Reference::Digest(d(10))),
            delete(Reference::Digest(d(11))),
            Command::DeleteName { repository: r(), name: a() },
            Command::DeleteName { repository: r(), name: b() },
            Command::RemoveRepository { repository: r(), force: false },
            Command::RemoveRepository { repository: r(), force: true },
            Command::CreateRepository { repository: r(), config: RepositoryConfig::default() },
            Command::Collect { policy: POLICY, cursor: CollectCursor::default() },
            Command::Prune { empty_after: Duration::ZERO },
            Command::RecordRot { digest: d(1), rot: Rot::Missing },
            Command::PushManifest {
                repository: r(),
                name: a(),
                reference: Reference::Tag(tag("latest")),
                digest: d(12),
                manifest: Box::new(image(1, &[77])),
                tags: vec![tag("latest")],
                condition: Condition::default(),
                labels: Vec::new(),
            },
        ]
    };
    let (_, untouched) = given_an_image().0.finish().unwrap();
    for command in commands() {
        let mut view = given_an_image();
        let _ = view.decide(command.clone());
        let (_, after) = view.0.finish().unwrap();
        assert_eq!(after, untouched, "{command:?}");
    }
}

#[test]
fn everything_in_a_repository_that_is_not_there_is_refused() {
    let manifest = Box::new(image(1, &[]));
    let commands = [
        Command::AddBlob { repository: "s".parse().unwrap(), name: a(), digest: d(1), size: 1 },
        Command::MountBlob { repository: "s".parse().unwrap(), name: a(), digest: d(1), from: None },
        Command::DeleteBlob { repository: "s".parse().unwrap(), name: a(), digest: d(1) },
        Command::PushManifest {
            repository: "s".parse().unwrap(),
            name: a(),
            reference: Reference::Digest(d(10)),
            digest: d(10),
            manifest,
            tags: Vec::new(),
            condition: Condition::default(),
            labels: Vec::new(),
        },
        Command::DeleteManifest {
            repository: "s".parse().unwrap(),
            name: a(),
            reference: Reference::Digest(d(10)),
            condition: Condition::default(),
        },
        Command::DeleteName { repository: "s".parse().unwrap(), name: a() },
        Command::RemoveRepository { repository: "s".parse().unwrap(), force: true },
        Command::ConfigureRepository { repository: "s".parse().unwrap(), change: Box::default() },
        Command::SetProperties { repository: "s".parse().unwrap(), changes: Vec::new() },
        Command::DeleteItem {
            repository: "s".parse().unwrap(),
            path: "a".parse().unwrap(),
            eyes: Reach::all(),
            hands: Reach::all(),
        },
    ];
    for command in commands {
        let refused = given_an_image().decide(command);
        assert!(matches!(refused, Err(Error::RepositoryUnknown(_))), "{refused:?}");
    }
}

#[test]
fn repositories_are_created_once_and_configured_while_that_is_safe() {
    let mut view = given([]);
    let config = RepositoryConfig::default();
    let again = view.decide(Command::CreateRepository { repository: r(), config: config.clone() });
    assert!(matches!(again, Err(Error::RepositoryExists(_))));
    let configure = |change: &RepositoryChange| Command::ConfigureRepository {
        repository: r(),
        change: Box::new(change.clone()),
    };
    let as_it_is =
        RepositoryChange { docker_api_version: Some(DockerApiVersion::V2), ..RepositoryChange::default() };
    assert_eq!(view.events(configure(&as_it_is)), []);
    let both =
        RepositoryChange { docker_api_version: Some(DockerApiVersion::Both), ..RepositoryChange::default() };
    let config = RepositoryConfig { docker_api_version: DockerApiVersion::Both, ..config };
    assert_eq!(view.events(configure(&both)), [Event::RepositoryConfigured { repository: r(), config }]);
    // Manifests can be shown as images at any time; tags on images do not become tags on manifests by themselves.
    let mut view = given_an_image();
    let first =
        RepositoryChange { docker_api_version: Some(DockerApiVersion::V1), ..RepositoryChange::default() };
    for change in [&both, &first] {
        let events = view.events(configure(change));
        view.record(events);
    }
    // Where they all point at manifests still, it goes back, whatever images wait for their tags.
    let v1 = |byte: u8| V1Image {
        id: ImageId::from_bytes([byte; 32]),
        parent: None,
        depth: 1,
        json: d(100 + byte),
        json_size: 5,
        layer: d(200 + byte),
        layer_size: 20,
        checksum: None,
        tarsum: None,
    };
    view.record([
        Event::V1ImagePushed { repository: r(), name: RepoName::waiting_room(None), image: v1(1) },
        Event::V1ImagesAdded { repository: r(), name: a(), from: None, images: vec![v1(2)] },
    ]);
    assert_eq!(view.events(configure(&both)).len(), 1);
    view.record([set("v1", 102, None)]);
    match view.decide(configure(&both)) {
        Err(Error::TagsPointAtImages { name, tag: on_image, .. }) => {
            assert_eq!((name, on_image), (a(), tag("v1")));
        }
        other => panic!("{other:?}"),
    }
    let described = RepositoryChange { description: Some("new".to_owned()), ..RepositoryChange::default() };
    assert_eq!(view.events(configure(&described)).len(), 1);
}

/// Two who change different things at the same time both get what they want: each change is of what is there
/// when it is decided.
#[test]
fn a_change_leaves_alone_what_it_does_not_name() {
    let mut view = given([]);
    let quota = RulesChange { quota: Some(7), ..RulesChange::default() };
    let paths = |list| PathPattern::parse_list(list).unwrap();
    let attributes = vec![("notes".to_owned(), "\"\"".to_owned())];
    let changes = [
        RepositoryChange { description: Some("one".to_owned()), ..RepositoryChange::default() },
        RepositoryChange { sparse_index: Some(true), ..RepositoryChange::default() },
        RepositoryChange { rules: quota, ..RepositoryChange::default() },
        RepositoryChange { login: Some(LoginMethod::Basic), ..RepositoryChange::default() },
        RepositoryChange { verify_tarsum: Some(true), ..RepositoryChange::default() },
        RepositoryChange { docker_port: Some(444), ..RepositoryChange::default() },
        RepositoryChange { blacked_out: Some(true), ..RepositoryChange::default() },
        RepositoryChange { max_unique_tags: Some(3), ..RepositoryChange::default() },
        RepositoryChange { includes: Some(paths("a/**")), ..RepositoryChange::default() },
        RepositoryChange { excludes: Some(paths("b/**")), ..RepositoryChange::default() },
        RepositoryChange { attributes: Some(attributes.clone()), ..RepositoryChange::default() },
    ];
    for change in changes {
        let command = Command::ConfigureRepository { repository: r(), change: Box::new(change) };
        let events = view.events(command);
        assert_eq!(events.len(), 1);
        view.record(events);
    }
    let rules = ContentRules { quota: Some(7), ..ContentRules::default() };
    let config = RepositoryConfig {
        description: "one".to_owned(),
        docker_api_version: DockerApiVersion::V2,
        sparse_index: true,
        rules,
        login: LoginMethod::Basic,
        verify_tarsum: true,
        docker_port: Some(444),
        blacked_out: true,
        max_unique_tags: 3,
        includes: paths("a/**"),
        excludes: paths("b/**"),
        attributes,
    };
    assert_eq!(view.0.row::<Repositories>(&r()).unwrap().config, config);
}

#[test]
fn a_repository_goes_with_all_that_it_holds_where_that_is_forced() {
    let mut view = given_an_image();
    view.record([added(b(), 3)]);
    let refused = view.decide(Command::RemoveRepository { repository: r(), force: false });
    assert!(matches!(refused, Err(Error::RepositoryNotEmpty { names: 2, .. })), "{refused:?}");
    let events = view.events(Command::RemoveRepository { repository: r(), force: true });
    assert_eq!(
        events.iter().map(Event::kind).collect::<Vec<_>>(),
        [
            "BlobDeleted",
            "BlobDeleted",
            "TagDeleted",
            "ManifestDeleted",
            "RepositoryNameDeleted",
            "BlobDeleted",
            "RepositoryNameDeleted",
            "FoldersPruned",
            "RepositoryRemoved",
        ]
    );
    view.record(events);
    assert_eq!(view.0.row::<Repositories>(&r()), None);
    assert_eq!(view.0.row::<Names>(&(r(), a())), None);
    assert_eq!(view.0.scan::<Contents>(&[], &[u8::MAX], 9), []);
}

#[test]
fn a_blob_is_recorded_unless_it_is_there_and_in_use() {
    let mut view = given_an_image();
    assert_eq!(view.events(add(a(), 2)), []);
    assert_eq!(view.events(add(b(), 2)), [added(b(), 2)]);
    assert_eq!(view.events(add(a(), 3)), [added(a(), 3)]);
    // Waiting, it is recorded again, so that its wait begins anew; rotten, so that it is mended.
    view.record([untagged("latest", 10)]);
    assert_eq!(view.events(add(a(), 2)), [added(a(), 2)]);
    let mut view = given_an_image();
    view.record([Event::BlobRotFound { digest: d(2), rot: Rot::Missing }]);
    assert_eq!(view.events(add(a(), 2)), [added(a(), 2)]);
}

#[test]
fn a_blob_is_mounted_from_where_it_is() {
    let mut view = given_an_image();
    let mounted = Event::BlobMounted {
        repository: r(),
        name: b(),
        digest: d(2),
        size: 1,
        from_repository: r(),
        from_name: a(),
    };
    assert_eq!(view.mount(b(), 2, Some(a())), (vec![mounted.clone()], Some(1)));
    assert_eq!(view.mount(b(), 2, None), (vec![mounted], Some(1)));
    assert_eq!(view.mount(a(), 2, Some(b())), (vec![], Some(1)), "there already, in use");
    assert_eq!(view.mount(b(), 7, None), (vec![], None), "nobody has it");
    assert_eq!(view.mount(b(), 2, Some("c".parse().unwrap())), (vec![], None), "not there");
    assert_eq!(view.mount(b(), 10, None), (vec![], None), "a manifest is no blob");
    // What another repository holds can't be had by knowing its digest.
    let other: RepoKey = "s".parse().unwrap();
    view.record([
        Event::RepositoryCreated { repository: other.clone(), config: RepositoryConfig::default() },
        Event::BlobAdded { repository: other, name: a(), digest: d(8), size: 1 },
    ]);
    assert_eq!(view.mount(b(), 8, None), (vec![], None));
    assert_eq!(view.mount(b(), 8, Some(a())), (vec![], None));
    view.record([Event::BlobRotFound { digest: d(2), rot: Rot::Missing }]);
    assert_eq!(view.mount(b(), 2, Some(a())), (vec![], None), "rotten");
}

#[test]
fn a_manifest_needs_what_it_refers_to() {
    let mut view = given_an_image();
    assert_eq!(view.missing(image(1, &[2, 2])), []);
    assert_eq!(view.missing(image(3, &[4, 2, 4])), [d(3), d(4)], "each named once");
    assert_eq!(view.missing(image(1, &[10])), [d(10)], "a manifest is no layer");
    assert_eq!(view.missing(index(&[10, 2])), [], "an index may list a blob");
    assert_eq!(view.missing(index(&[11])), [d(11)]);
    let foreign = Descriptor { foreign: true, ..descriptor(5) };
    assert_eq!(view.missing(Manifest { layers: vec![foreign], ..image(1, &[]) }), []);
    assert_eq!(view.missing(Manifest { subject: Some(d(66)), ..image(1, &[]) }), []);
    view.record([Event::BlobRotFound { digest: d(2), rot: Rot::WrongSize }]);
    assert_eq!(view.missing(image(1, &[2])), [d(2)], "so that the client sends it again");
}

#[test]
fn an_index_may_be_sparse_where_its_repository_says_so() {
    let mut view = given([]);
    view.record([Event::RepositoryConfigured {
        repository: r(),
        config: RepositoryConfig { sparse_index: true, ..Default::default() },
    }]);
    assert_eq!(view.missing(index(&[11])), []);
    assert_eq!(view.missing(image(1, &[])), [d(1)], "blobs are needed all the same");
}

#[test]
fn a_push_records_what_it_changes_and_no_more() {
    let mut view = given_an_image();
    let (ten, eleven) = (image(1, &[2]), image(1, &[]));
    assert_eq!(view.push(10, ten.clone(), &["latest"]).unwrap(), []);
    assert_eq!(view.push(10, ten.clone(), &[]).unwrap(), []);
    assert_eq!(view.push(10, ten.clone(), &["latest", "v1", "v1"]).unwrap(), [set("v1", 10, None)]);
    assert_eq!(
        view.push(11, eleven.clone(), &["latest"]).unwrap(),
        [pushed(11, eleven), set("latest", 11, Some(10))]
    );
    // Rotten, its bytes are wanted again.
    view.record([Event::BlobRotFound { digest: d(10), rot: Rot::Missing }]);
    assert_eq!(view.push(10, ten.clone(), &["latest"]).unwrap(), [pushed(10, ten.clone())]);
    // Deleted and waiting to be collected, its wait begins anew.
    let mut view = given_an_image();
    view.record([untagged("latest", 10)]);
    assert_eq!(view.push(10, ten.clone(), &[]).unwrap(), [pushed(10, ten.clone())]);
    assert_eq!(view.push(10, ten, &["v1"]).unwrap(), [set("v1", 10, None)]);
}

#[test]
fn a_tag_is_deleted_alone_and_a_manifest_with_its_tags() {
    let mut view = given_an_image();
    view.record([set("v1", 10, None)]);
    assert_eq!(view.events(delete(Reference::Tag(tag("latest")))), [untagged("latest", 10)]);
    let deleted = Event::ManifestDeleted { repository: r(), name: a(), digest: d(10) };
    assert_eq!(
        view.events(delete(Reference::Digest(d(10)))),
        [untagged("latest", 10), untagged("v1", 10), deleted]
    );
    for unknown in [Reference::Tag(tag("v2")), Reference::Digest(d(11)), Reference::Digest(d(1))] {
        let refused = view.decide(delete(unknown));
        assert!(matches!(refused, Err(Error::ManifestUnknown(_))), "{refused:?}");
    }
    let refused = view.decide(Command::DeleteBlob { repository: r(), name: a(), digest: d(10) });
    assert!(matches!(refused, Err(Error::BlobUnknown(_))), "a manifest is no blob: {refused:?}");
    let refused = view.decide(Command::DeleteName { repository: r(), name: b() });
    assert!(matches!(refused, Err(Error::NameUnknown(_))), "{refused:?}");
}

/// Sets a property, or removes it, of paths.
fn properties(paths: &[&str], key: &str, value: Option<&str>) -> Command {
    let set = value.map(|value| (key.to_owned(), vec![value.to_owned(), value.to_owned()]));
    let removed: Vec<String> = value.is_none().then(|| key.to_owned()).into_iter().collect();
    let changes = paths.iter().map(|path| PropertiesChange {
        path: path.parse().unwrap(),
        set: set.iter().cloned().collect(),
        removed: removed.clone().into(),
    });
    Command::SetProperties { repository: r(), changes: changes.collect() }
}

#[test]
fn properties_hold_no_control_characters() {
    let mut view = given_an_image();
    for (key, value) in [("k\n", "v"), ("k", "\u{7f}"), ("k k", "v"), ("docker.size", "1"), ("sha256", "1")] {
        let refused = view.decide(properties(&["a"], key, Some(value)));
        assert!(matches!(refused, Err(Error::Invalid(_))), "{refused:?}");
    }
}

#[test]
fn properties_are_those_of_something_that_is_there() {
    let mut view = given_an_image();
    for path in ["a", "a/latest", "a/latest/manifest.json", ""] {
        assert_eq!(view.events(properties(&[path], "k", Some("ü"))).len(), 1, "{path:?}");
    }
    for path in
        ["b", "a/nowhere", "a/latest/list.manifest.json", "a/manifest.json", ".images", "repositories"]
    {
        let refused = view.decide(properties(&[path], "k", Some("ü")));
        assert!(matches!(refused, Err(Error::ItemUnknown(_))), "{path:?} {refused:?}");
    }
    // What went while it was looked for is passed over.
    assert_eq!(view.events(properties(&["a", "a/gone", "a/latest"], "k", Some("v"))).len(), 2);
}

#[test]
fn properties_are_recorded_where_that_changes_something() {
    let mut view = given_an_image();
    let events = view.events(properties(&["a"], "k", Some("v")));
    let set = vec![("k".to_owned(), vec!["v".to_owned()])];
    let expected = Event::PropertiesSet { repository: r(), path: "a".to_owned(), set, removed: Vec::new() };
    assert_eq!(events, [expected]);
    view.record(events);
    assert_eq!(view.events(properties(&["a"], "k", Some("v"))), []);
    assert_eq!(view.events(properties(&["a"], "other", None)), []);
    assert_eq!(view.events(properties(&["a"], "k", None)).len(), 1);
}

#[test]
fn checksums_are_recorded_once_and_of_what_is_held() {
    let mut view = given_an_image();
    let record = |blob| Command::RecordHashes { blob, md5: [1; 16], sha1: [2; 20] };
    let events = view.events(record(d(2)));
    assert_eq!(events, [Event::BlobHashed { blob: d(2), md5: [1; 16], sha1: [2; 20] }]);
    view.record(events);
    assert_eq!(view.events(record(d(2))), []);
    assert_eq!(view.events(record(d(77))), []);
}

#[test]
fn rot_is_recorded_once_and_of_what_is_held() {
    let mut view = given_an_image();
    let found = Event::BlobRotFound { digest: d(2), rot: Rot::WrongDigest };
    let record = |digest| Command::RecordRot { digest, rot: Rot::WrongDigest };
    assert_eq!(view.events(record(d(2))), std::slice::from_ref(&found));
    view.record([found]);
    assert_eq!(view.events(record(d(2))), []);
    assert_eq!(view.events(record(d(77))), []);
}

#[test]
fn a_collection_takes_what_has_waited_long_enough() {
    // Recorded at 2, 3, 4 and 5.
    let mut view = given([added(a(), 5), added(a(), 1), added(a(), 2), pushed(10, image(1, &[2]))]);
    assert_eq!(view.collected(101), []);
    assert_eq!(view.collected(102), [d(5)], "pending since 2, for as long as a lease lasts");
    assert_eq!(view.collected(1014), [d(5)]);
    assert_eq!(view.collected(1015), [d(5), d(10)], "untagged since 5, and the undo window after it");
    // Deleted at 7, it has the undo window alone, and takes along what only it held.
    view.record([set("latest", 10, None), untagged("latest", 10)]);
    assert_eq!(view.collected(16), []);
    assert_eq!(view.collected(17), [d(1), d(2), d(10)]);
}

#[test]
fn bytes_go_once_no_name_holds_them() {
    let mut view = given([added(a(), 1), added(b(), 1)]);
    let gone = |name| Event::BlobDeleted { repository: r(), name, digest: d(1) };
    view.record([gone(a())]);
    assert_eq!(view.collect(1000, None).blobs, []);
    view.record([gone(b())]);
    // Deleted at 5.
    assert_eq!(view.collect(14, None).blobs, []);
    assert_eq!(view.collect(15, None).blobs, [CollectedBlob { digest: d(1), size: 1 }]);
}

#[test]
fn a_collection_leaves_what_somebody_was_promised() {
    let mut view = given_an_image();
    view.record([untagged("latest", 10)]);
    let id = view.0.row::<NameIds>(&(r(), a())).unwrap();
    let at = 50;
    let leases = Leases::default();
    assert_eq!(view.collect(at, Some(&leases)), view.collect(at, None));
    let principal = Principal::User("root".to_owned());
    let lasts = Duration::from_micros(30);
    let take = |digest, now| {
        leases.take((id, digest), &principal, Timestamp::from_micros(now), lasts, leases.epoch())
    };
    let of = |digests: &[u8]| {
        let digests = digests.iter().map(|byte| d(*byte)).collect();
        vec![CollectedContents { repository: r(), name: a(), digests }]
    };
    // A layer alone: the rest goes.
    take(d(2), 30);
    assert_eq!(view.collect(at, Some(&leases)).contents, of(&[1, 10]));
    // The manifest, and with it what it holds.
    take(d(10), 30);
    assert_eq!(view.collect(at, Some(&leases)).contents, []);
    assert_eq!(view.collect(59, Some(&leases)).contents, []);
    assert_eq!(view.collect(60, Some(&leases)).contents, of(&[1, 2, 10]), "it has run out");
    take(d(10), 30);
    leases.end([(id, d(10)), (id, d(2))].into_iter(), &principal);
    assert_eq!(view.collect(at, Some(&leases)).contents, of(&[1, 2, 10]), "its push is done");
}

#[test]
fn empty_folders_are_pruned_once_they_have_been_so_for_long_enough() {
    let mut view = given_an_image();
    // As long as the manifest is here it has a folder of its own.
    let gone = Event::ManifestDeleted { repository: r(), name: a(), digest: d(10) };
    view.record([untagged("latest", 10), gone]);
    let prune = |view: &mut View, at| {
        let command = Command::Prune { empty_after: Duration::from_micros(10) };
        decide(&mut view.0, &command, Timestamp::from_micros(at), None).unwrap().events
    };
    assert_eq!(prune(&mut view, 15), []);
    let pruned = Event::FoldersPruned { repository: r(), paths: vec!["a/latest".to_owned()] };
    assert_eq!(prune(&mut view, 16), std::slice::from_ref(&pruned));
    view.record([pruned]);
    let parent = Event::FoldersPruned { repository: r(), paths: vec!["a".to_owned()] };
    assert_eq!(prune(&mut view, 16), [parent], "empty for as long as what it held");
}

pub(super) fn patterns(texts: &[&str]) -> Vec<Pattern> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

/// A view of a repository with these rules.
pub(super) fn ruled(rules: ContentRules, events: impl IntoIterator<Item = Event>) -> View {
    let mut view = given([]);
    let config = RepositoryConfig { rules, ..Default::default() };
    view.record([Event::RepositoryConfigured { repository: r(), config }]);
    view.record(events);
    view
}

pub(super) fn broken<T: std::fmt::Debug>(outcome: Result<T>) -> Broken {
    match outcome {
        Err(Error::AgainstRule(broken)) => broken,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_immutable_tag_stays_where_it_is() {
    let rules = ContentRules { immutable_tags: patterns(&["v*"]), ..Default::default() };
    let there =
        [added(a(), 1), added(a(), 2), pushed(10, image(1, &[2])), set("v1", 10, None), set("x", 10, None)];
    let mut view = ruled(rules, there);
    let refused = broken(view.push(11, image(2, &[1]), &["new", "v1"]));
    assert_eq!(refused, Broken::TagImmutable { tag: tag("v1"), present: d(10) });
    // The same again is no move; other tags move; and a new one may be set, once.
    assert_eq!(view.push(10, image(1, &[2]), &["v1"]).unwrap(), []);
    assert_eq!(view.push(11, image(2, &[1]), &["x", "v2"]).unwrap().len(), 3);
    // Who deletes it means to.
    view.record([untagged("v1", 10)]);
    assert_eq!(view.push(11, image(2, &[1]), &["v1"]).unwrap().len(), 2);
}

#[test]
fn manifests_are_taken_by_kind_and_size() {
    let rules = ContentRules {
        media_types: patterns(&["application/vnd.oci.image.*+json"]),
        artifact_types: patterns(&["application/vnd.oci.image.config.*+json", "application/vnd.cncf.**"]),
        manifest_bytes_max: Some(50),
        ..Default::default()
    };
    let mut view = ruled(rules, [added(a(), 1), added(a(), 2)]);
    let of_kind = |config: &str, artifact: Option<&str>| {
        let mut manifest = image(1, &[2]);
        manifest.config.as_mut().unwrap().media_type = config.to_owned();
        manifest.artifact_type = artifact.map(str::to_owned);
        manifest
    };
    let helm = "application/vnd.CNCF.helm.config.v1+json";
    for good in [
        of_kind(media_type::OCI_CONFIG, None),
        of_kind(helm, None),
        of_kind("x/y", Some(helm)),
        image(1, &[2]),
        index(&[]),
    ] {
        assert_eq!(view.push(10, good.clone(), &[]).unwrap().len(), 1, "{good:?}");
    }
    for bad in [of_kind("x/y", None), of_kind(helm, Some("x/y"))] {
        assert!(
            matches!(broken(view.push(10, bad, &[])), Broken::ArtifactType { artifact_type, .. } if artifact_type == "x/y")
        );
    }
    let docker = Manifest { media_type: media_type::DOCKER_MANIFEST.to_owned(), ..image(1, &[2]) };
    assert!(matches!(broken(view.push(10, docker, &[])), Broken::MediaType { .. }));
    let large = Manifest { size: 51, ..image(1, &[2]) };
    assert_eq!(broken(view.push(10, large, &[])), Broken::ManifestTooLarge { size: 51, max: 50 });
}

fn add_of(name: RepoName, byte: u8, size: u64) -> Command {
    Command::AddBlob { repository: r(), name, digest: d(byte), size }
}

fn added_of(name: RepoName, byte: u8, size: u64) -> Event {
    Event::BlobAdded { repository: r(), name, digest: d(byte), size }
}

#[test]
fn no_more_is_taken_than_a_quota_leaves_room_for() {
    let quotas = |quota, name_quotas: &[(&str, u64)]| {
        let of = |(names, bytes): &(&str, u64)| NameQuota { names: names.parse().unwrap(), bytes: *bytes };
        ContentRules { quota, name_quotas: name_quotas.iter().map(of).collect(), ..Default::default() }
    };
    // The repository's: every name counts.
    let mut view = ruled(quotas(Some(100), &[]), [added_of(a(), 1, 60), added_of(b(), 2, 30)]);
    assert_eq!(view.events(add_of(a(), 3, 10)).len(), 1);
    let refused = broken(view.decide(add_of(a(), 3, 11)));
    let Broken::QuotaExceeded { quota: 100, used: 90, .. } = refused else { panic!("{refused}") };
    // What a name holds already takes no more; in another name it does.
    assert_eq!(view.events(add_of(a(), 1, 60)).len(), 1);
    assert!(matches!(broken(view.decide(add_of(b(), 1, 60))), Broken::QuotaExceeded { .. }));
    let mount = Command::MountBlob { repository: r(), name: b(), digest: d(1), from: None };
    assert!(matches!(broken(view.decide(mount)), Broken::QuotaExceeded { .. }));
    // A manifest takes room too, and one that is there already takes none.
    assert!(matches!(broken(view.push(10, index(&[]), &["x"])), Broken::QuotaExceeded { .. }));
    view.record([pushed(10, Manifest { size: 10, ..index(&[]) })]);
    assert_eq!(view.push(10, index(&[]), &["x"]).unwrap().len(), 1);

    // A name's: the smallest that is meant for it.
    let rules = quotas(None, &[("**", 100), ("a", 50), ("b/**", 10)]);
    let mut view = ruled(rules, [added_of(a(), 1, 50)]);
    let refused = broken(view.decide(add_of(a(), 2, 1)));
    assert!(matches!(refused, Broken::QuotaExceeded { quota: 50, used: 50, .. }), "{refused}");
    assert!(matches!(
        broken(view.decide(add_of(b(), 1, 11))),
        Broken::QuotaExceeded { quota: 10, used: 0, .. }
    ));
    assert_eq!(view.events(add_of("c".parse().unwrap(), 1, 100)).len(), 1);
}

#[test]
fn a_blob_may_not_be_larger_than_the_rule_says() {
    let rules = ContentRules { blob_bytes_max: Some(10), ..Default::default() };
    let mut view = ruled(rules, [added_of(b(), 1, 11)]);
    assert_eq!(view.events(add_of(a(), 2, 10)).len(), 1);
    assert_eq!(broken(view.decide(add_of(a(), 2, 11))), Broken::BlobTooLarge { max: 10 });
    let mount = Command::MountBlob { repository: r(), name: a(), digest: d(1), from: None };
    assert_eq!(broken(view.decide(mount)), Broken::BlobTooLarge { max: 10 });
}

#[test]
fn past_the_limit_the_oldest_tags_go() {
    let mut view = given_an_image();
    view.record([set("old", 10, None), set("mid", 10, None), set("latest", 10, Some(10))]);
    let limit = |max| Event::RepositoryConfigured {
        repository: r(),
        config: RepositoryConfig { max_unique_tags: max, ..RepositoryConfig::default() },
    };
    view.record([limit(3)]);
    let manifest = || image(1, &[2]);
    assert_eq!(view.push(10, manifest(), &["new"]).unwrap(), [set("new", 10, None), untagged("old", 10)]);
    // A tag that is there is no new one, and what is set now does not go, however little room there is.
    view.record([limit(1)]);
    assert_eq!(view.push(10, manifest(), &["mid"]).unwrap(), []);
    let events = view.push(10, manifest(), &["n1", "n2"]).unwrap();
    let gone = [untagged("old", 10), untagged("mid", 10), untagged("latest", 10)];
    assert_eq!(events, [vec![set("n1", 10, None), set("n2", 10, None)], gone.to_vec()].concat());
    view.record([limit(0)]);
    assert_eq!(view.push(10, manifest(), &["new"]).unwrap(), [set("new", 10, None)]);
}

#[test]
fn only_paths_that_are_included_and_not_excluded_are_pushed_to() {
    let paths = |list| PathPattern::parse_list(list).unwrap();
    let config = |includes, excludes| Event::RepositoryConfigured {
        repository: r(),
        config: RepositoryConfig {
            includes: paths(includes),
            excludes: paths(excludes),
            ..RepositoryConfig::default()
        },
    };
    let mut view = given([added(a(), 1), added(a(), 2)]);
    let mut refused = |includes, excludes, tags: &[&str]| {
        view.record([config(includes, excludes)]);
        match view.push(10, image(1, &[2]), tags) {
            Err(Error::AgainstRule(Broken::PathExcluded { path, .. })) => Some(path),
            pushed => pushed.map(|_| None).unwrap(),
        }
    };
    assert_eq!(refused("a/**", "", &["v1"]), None);
    assert_eq!(refused("b/**", "", &["v1"]).as_deref(), Some("a/v1/manifest.json"));
    assert_eq!(refused("", "**/v1/**", &["v2", "v1"]).as_deref(), Some("a/v1/manifest.json"));
    assert_eq!(refused("", "**/v1/**", &["v2"]), None);
    assert_eq!(refused("a/**", "a/sha256:*/**", &[]), Some(format!("a/{}/manifest.json", d(10))));
    view.record([config("", "**/list.manifest.json"), pushed(10, image(1, &[2]))]);
    assert!(view.push(11, index(&[10]), &["v1"]).is_err());
}

#[test]
fn a_port_is_one_repositorys() {
    let mut view = given([]);
    let s = || "s".parse::<RepoKey>().unwrap();
    let change = |port| RepositoryChange { docker_port: Some(port), ..RepositoryChange::default() };
    let configure = |port| Command::ConfigureRepository { repository: r(), change: Box::new(change(port)) };
    let create = |port| Command::CreateRepository {
        repository: s(),
        config: change(port).apply(RepositoryConfig::default()),
    };
    let events = view.events(configure(444));
    view.record(events);
    assert_eq!(view.events(configure(444)), []);
    assert!(matches!(view.decide(create(444)), Err(Error::Invalid(_))));
    let events = view.events(create(445));
    view.record(events);
    assert!(matches!(view.decide(configure(445)), Err(Error::Invalid(_))));
    assert_eq!(view.events(configure(0)).len(), 1);
}

#[test]
fn what_means_nothing_here_is_kept_by_name_and_has_an_end() {
    let mut view = given([]);
    let change = |attributes: &[(&str, &str)]| {
        let attributes = attributes.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let change =
            RepositoryChange { attributes: Some(attributes.collect()), ..RepositoryChange::default() };
        Command::ConfigureRepository { repository: r(), change: Box::new(change) }
    };
    for (changed, left) in [
        (&[("notes", "\"n\""), ("a", "1")][..], &[("a", "1"), ("notes", "\"n\"")][..]),
        (&[("b", "[]"), ("a", "2")], &[("a", "2"), ("b", "[]"), ("notes", "\"n\"")]),
        (&[("notes", "null")], &[("a", "2"), ("b", "[]")]),
    ] {
        let events = view.events(change(changed));
        view.record(events);
        let known = view.0.row::<Repositories>(&r()).unwrap().config.attributes;
        let known: Vec<(&str, &str)> =
            known.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(known, left);
    }
    let long = "x".repeat(16 * 1024);
    assert!(matches!(view.decide(change(&[("long", &long)])), Err(Error::Invalid(_))));
}

#[test]
fn rules_have_an_end() {
    let many = vec!["a".parse().unwrap(); 101];
    let rules = RulesChange { immutable_tags: Some(many), ..RulesChange::default() };
    let change = RepositoryChange { rules, ..RepositoryChange::default() };
    let config = change.clone().apply(RepositoryConfig::default());
    let create = Command::CreateRepository { repository: "s".parse().unwrap(), config };
    assert!(matches!(given([]).decide(create), Err(Error::Invalid(_))));
    let configure = Command::ConfigureRepository { repository: r(), change: Box::new(change) };
    assert!(matches!(given([]).decide(configure), Err(Error::Invalid(_))));
}

#[test]
fn a_repository_goes_with_its_folders_and_what_was_said_of_them() {
    let mut view = given_an_image();
    let said = |path: &str| Event::PropertiesSet {
        repository: r(),
        path: path.to_owned(),
        set: vec![("qa".to_owned(), vec!["passed".to_owned()])],
        removed: Vec::new(),
    };
    view.record(["", "a", "a/latest", "a/latest/manifest.json"].map(said));
    let events = view.events(Command::RemoveRepository { repository: r(), force: true });
    view.record(events);
    view.record([created(RepositoryConfig::default())]);
    assert!(view.0.scan_prefix::<Folders>(&prefix::folders(&r()), None, usize::MAX).is_empty());
    assert!(view.0.scan_prefix::<Properties>(&prefix::properties(&r(), ""), None, usize::MAX).is_empty());
}
