//! Searches of small registries whose past is made up, beside a look at every item.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use supercargo_eventlog::{
    Actor, Api, Db, Event, Log as _, Origin, Record, RedbLog, RepositoryConfig, V1Image,
};
use supercargo_model::tree::TreePath;
use supercargo_model::{
    Descriptor, Digest, ImageId, Manifest, RepoKey, RepoName, Tag, Timestamp, media_type,
};
use supercargo_projections::Rebuilder;
use uuid::Uuid;

use super::found::View;
use super::*;
use crate::tree::{Reach, Visit};
use crate::{DATABASE_FILE, Options};

const NAMES: [&str; 7] = ["a", "a/b", "b", "library/u", "u", "library/a", "repositories/library/u"];
const TAGS: [&str; 4] = ["1", "2", "latest", "b"];
const REPOSITORIES: [&str; 2] = ["one", "two"];
const VALUES: [&str; 4] = ["yes", "no", "yesterday", "maybe"];

fn digest(kind: u8, number: u8) -> Digest {
    Digest::sha256([kind * 16 + number; 32])
}

fn repository(number: usize) -> RepoKey {
    RepoKey::parse(REPOSITORIES[number % REPOSITORIES.len()]).unwrap()
}

fn name(number: usize) -> RepoName {
    RepoName::parse(NAMES[number % NAMES.len()]).unwrap()
}

fn tag(number: usize) -> Tag {
    Tag::parse(TAGS[number % TAGS.len()]).unwrap()
}

fn blob(digest: Digest) -> Descriptor {
    Descriptor { media_type: "any/thing".to_owned(), digest, size: 10, platform: None, foreign: false }
}

/// A manifest of a number: with a configuration and layers that others may have too, or an index of others.
fn manifest(number: u8) -> Manifest {
    let index = number == 5;
    let media_type = if index { media_type::OCI_INDEX } else { media_type::OCI_MANIFEST };
    Manifest {
        media_type: media_type.to_owned(),
        size: 100 + u64::from(number),
        artifact_type: None,
        config: (!index).then(|| blob(digest(1, number % 3))),
        layers: if index { vec![] } else { vec![blob(digest(2, number % 2)), blob(digest(2, 2))] },
        children: if index { vec![blob(digest(0, 0)), blob(digest(0, 1))] } else { vec![] },
        // One says something of another.
        subject: (number == 6).then(|| digest(0, 0)),
        annotations: Vec::new(),
        signed: None,
    }
}

/// A V1 image of a number: two have the same id, and are not the same. The last has the JSON of the first, and another
/// layer.
fn image(number: u8) -> V1Image {
    if number == IMAGES - 1 {
        return V1Image { layer: digest(2, 2), ..image(0) };
    }
    V1Image {
        id: ImageId::from_bytes([number % 2; 32]),
        parent: None,
        depth: 1,
        json: digest(3, number),
        json_size: 20 + u64::from(number),
        layer: digest(2, number % 2),
        layer_size: 10,
        checksum: None,
        tarsum: None,
    }
}

/// How many manifests and images there are.
const MANIFESTS: u8 = 7;
const IMAGES: u8 = 5;

/// Something that happens. Numbers are taken by what there is of each.
#[derive(Debug, Clone)]
enum Step {
    Manifest {
        repository: usize,
        name: usize,
        number: u8,
        tag: Option<usize>,
    },
    Image {
        repository: usize,
        name: usize,
        number: u8,
        tag: usize,
    },
    Untag {
        repository: usize,
        name: usize,
        tag: usize,
    },
    /// With all tags on it.
    DeleteManifest {
        repository: usize,
        name: usize,
        number: u8,
    },
    DeleteLayer {
        repository: usize,
        name: usize,
        number: u8,
    },
    /// What a manifest is to V1 clients.
    View {
        repository: usize,
        name: usize,
        manifest: u8,
        image: u8,
    },
    Label {
        config: u8,
        value: usize,
    },
    Hash {
        kind: u8,
        number: u8,
    },
    Property {
        repository: usize,
        item: prop::sample::Index,
        key: bool,
        values: Vec<usize>,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let (repository, name) = (0..REPOSITORIES.len(), 0..NAMES.len());
    let tag = 0..TAGS.len();
    prop_oneof![
        6 => (repository.clone(), name.clone(), 0..MANIFESTS, prop::option::weighted(0.8, tag.clone()))
            .prop_map(|(repository, name, number, tag)| Step::Manifest { repository, name, number, tag }),
        4 => (repository.clone(), name.clone(), 0..IMAGES, tag.clone())
            .prop_map(|(repository, name, number, tag)| Step::Image { repository, name, number, tag }),
        1 => (repository.clone(), name.clone(), tag)
            .prop_map(|(repository, name, tag)| Step::Untag { repository, name, tag }),
        1 => (repository.clone(), name.clone(), 0..MANIFESTS)
            .prop_map(|(repository, name, number)| Step::DeleteManifest { repository, name, number }),
        1 => (repository.clone(), name.clone(), 0..3_u8)
            .prop_map(|(repository, name, number)| Step::DeleteLayer { repository, name, number }),
        1 => (repository.clone(), name, 0..MANIFESTS, 0..IMAGES).prop_map(
            |(repository, name, manifest, image)| Step::View { repository, name, manifest, image }
        ),
        1 => (0..3_u8, 0..VALUES.len()).prop_map(|(config, value)| Step::Label { config, value }),
        1 => (0..4_u8, 0..4_u8).prop_map(|(kind, number)| Step::Hash { kind, number }),
        3 => (repository, any::<prop::sample::Index>(), any::<bool>(), vec(0..VALUES.len(), 1..3)).prop_map(
            |(repository, item, key, values)| Step::Property { repository, item, key, values }
        ),
    ]
}

/// A registry with that past, opened.
fn opened(steps: &[Step]) -> (tempfile::TempDir, Arc<Registry>) {
    let folder = tempfile::tempdir().unwrap();
    let records = records(steps);
    let options = Options::new(folder.path());
    {
        let db = Arc::new(Db::open(&folder.path().join(DATABASE_FILE), options.cache_bytes).unwrap());
        let log = RedbLog::new(Arc::clone(&db)).unwrap();
        log.append(0, &records).unwrap();
        Rebuilder::new(&db, &log).run(|_| ControlFlow::Continue(())).unwrap();
    }
    let registry = Registry::open(options).unwrap();
    (folder, registry)
}

fn records(steps: &[Step]) -> Vec<Record> {
    let mut events: Vec<Event> = (0..REPOSITORIES.len())
        .map(|number| Event::RepositoryCreated {
            repository: repository(number),
            config: RepositoryConfig::default(),
        })
        .collect();
    let mut tags = std::collections::BTreeMap::new();
    let mut paths: Vec<BTreeSet<String>> = vec![BTreeSet::from([String::new()]); REPOSITORIES.len()];
    let mut add_paths = |number: usize, folder: &str, files: &[&str]| {
        let known = &mut paths[number];
        known.extend(files.iter().map(|file| format!("{folder}/{file}")));
        known.insert(folder.to_owned());
    };
    let mut later = Vec::new();
    // A name holds one image of an id: another is refused before it is recorded.
    let mut held = std::collections::BTreeMap::new();
    let mut may_take = |at: usize, of: usize, number: u8| {
        *held.entry((at, of, image(number).id)).or_insert(number) == number
    };
    for step in steps {
        match step.clone() {
            Step::Manifest { repository: at, name: of, number, tag: called } => {
                let (repository, name, manifest) = (repository(at), name(of), manifest(number));
                for part in manifest.config.iter().chain(&manifest.layers) {
                    let (repository, name) = (repository.clone(), name.clone());
                    events.push(Event::BlobAdded { repository, name, digest: part.digest, size: part.size });
                }
                let digest = digest(0, number);
                let pushed = Event::ManifestPushed {
                    repository: repository.clone(),
                    name: name.clone(),
                    digest,
                    manifest,
                };
                events.push(pushed);
                if let Some(called) = called {
                    let tag = tag(called);
                    let previous = tags.insert((at, of, called), digest);
                    add_paths(at, &format!("{name}/{tag}"), &["manifest.json", "sha256__00"]);
                    events.push(Event::TagSet { repository, name, tag, digest, previous });
                }
            }
            Step::Image { repository: at, name: of, number, tag: called } => {
                if !may_take(at, of, number) {
                    continue;
                }
                let (repository, name, image, tag) = (repository(at), name(of), image(number), tag(called));
                let previous = tags.insert((at, of, called), image.json);
                let digest = image.json;
                add_paths(at, &format!("repositories/{name}/{tag}"), &["tag.json"]);
                add_paths(at, &supercargo_model::tree::image_folder(&image.id), &["json.json"]);
                let (images, from) = (vec![image], None);
                let added =
                    Event::V1ImagesAdded { repository: repository.clone(), name: name.clone(), from, images };
                events.push(added);
                events.push(Event::TagSet { repository, name, tag, digest, previous });
            }
            Step::Untag { repository: at, name: of, tag: called } => {
                if let Some(previous) = tags.remove(&(at, of, called)) {
                    let (repository, name, tag) = (repository(at), name(of), tag(called));
                    events.push(Event::TagDeleted { repository, name, tag, previous });
                }
            }
            Step::DeleteManifest { repository: at, name: of, number } => {
                let (repository, name, previous) = (repository(at), name(of), digest(0, number));
                for called in 0..TAGS.len() {
                    if tags.get(&(at, of, called)) == Some(&previous) {
                        tags.remove(&(at, of, called));
                        let (repository, name, tag) = (repository.clone(), name.clone(), tag(called));
                        events.push(Event::TagDeleted { repository, name, tag, previous });
                    }
                }
                events.push(Event::ManifestDeleted { repository, name, digest: previous });
            }
            Step::DeleteLayer { repository: at, name: of, number } => {
                let (repository, name) = (repository(at), name(of));
                events.push(Event::BlobDeleted { repository, name, digest: digest(2, number) });
            }
            Step::View { repository: at, name: of, manifest, image: number } => {
                if !may_take(at, of, number) {
                    continue;
                }
                let (repository, name, image) = (repository(at), name(of), image(number));
                let (json, images, from) = (image.json, vec![image], None);
                let added =
                    Event::V1ImagesAdded { repository: repository.clone(), name: name.clone(), from, images };
                events.push(added);
                events.push(Event::V1ViewAdded {
                    repository,
                    name,
                    manifest: digest(0, manifest),
                    image: json,
                });
            }
            Step::Label { config, value } => {
                let labels = vec![("team".to_owned(), VALUES[value].to_owned())];
                events.push(Event::ConfigRead { config: digest(1, config), labels });
            }
            Step::Hash { kind, number } => {
                let (md5, sha1) = ([kind; 16], [number; 20]);
                events.push(Event::BlobHashed { blob: digest(kind, number), md5, sha1 });
            }
            // Of what was ever there.
            Step::Property { .. } => later.push(step.clone()),
        }
    }
    for step in later {
        let Step::Property { repository: at, item, key, values } = step else { continue };
        let known: Vec<&String> = paths[at].iter().collect();
        let values: BTreeSet<String> = values.into_iter().map(|value| VALUES[value].to_owned()).collect();
        events.push(Event::PropertiesSet {
            repository: repository(at),
            path: item.get(&known).to_string(),
            set: vec![(if key { "approved" } else { "colour" }.to_owned(), values.into_iter().collect())],
            removed: vec![],
        });
    }
    let records = events.into_iter().enumerate().map(|(seq, event)| Record {
        seq: seq as u64,
        // Two have the same moment.
        at: Timestamp::from_micros(1_000_000).plus(Duration::from_secs(seq as u64 / 2)),
        id: Uuid::from_u128(seq as u128),
        actor: Actor::User(if seq % 3 == 0 { "ann" } else { "bob" }.to_owned()),
        origin: Origin::local(Api::Cli),
        event,
    });
    records.collect()
}

fn text_test(texts: Vec<String>) -> impl Strategy<Value = TextTest> {
    use Comparison::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual, Unequal};
    let comparison =
        prop::sample::select(vec![Equal, Equal, Equal, Unequal, Greater, GreaterOrEqual, Less, LessOrEqual]);
    let pattern = (prop::sample::select(texts.clone()), any::<prop::sample::Index>(), 0..5_u8);
    let pattern = pattern.prop_map(|(text, at, kind)| {
        let cut = at.index(text.len() + 1);
        let (start, end) = (&text[..cut], &text[cut..]);
        let pattern = match kind {
            0 => format!("{start}*"),
            1 => format!("*{end}"),
            2 => format!("{start}*{end}"),
            3 => "*".to_owned(),
            _ => text.clone(),
        };
        Wildcard::new(pattern).unwrap()
    });
    prop_oneof![
        4 => (comparison, prop::sample::select(texts)).prop_map(|(how, text)| TextTest::Compare(how, text)),
        3 => pattern.clone().prop_map(TextTest::Matches),
        1 => pattern.clone().prop_map(TextTest::Differs),
        1 => pattern.prop_map(|wildcard| TextTest::Matches(wildcard.ignoring_case())),
    ]
}

/// Texts that items have of each kind, and some that none has.
fn texts(of: &str) -> Vec<String> {
    let hexes = |kinds: &[u8]| -> Vec<String> {
        kinds.iter().flat_map(|kind| (0..4).map(|number| digest(*kind, number).hex())).collect()
    };
    let all = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    match of {
        "docker.repoName" => [all(&NAMES), all(&["library/b", "none"])].concat(),
        "docker.manifest" | "docker.tag.name" => all(&[&TAGS[..], &["none", "no tag"]].concat()),
        "docker.manifest.digest" => hexes(&[0]).iter().map(|hex| format!("sha256:{hex}")).collect(),
        "sha256" => [hexes(&[0, 1, 2, 3]), all(&["none"])].concat(),
        "docker.imageId" | "docker.tag.content" => {
            (0..3).map(|number| ImageId::from_bytes([number; 32]).to_string()).collect()
        }
        "path" => {
            let tags = NAMES.iter().flat_map(|name| TAGS.iter().map(move |tag| format!("{name}/{tag}")));
            let v1 = all(&["repositories/library/u/1", "repositories/library", ".", ".images", "none"]);
            tags.chain(all(&NAMES)).chain(v1).collect()
        }
        "name" => {
            let hexes = hexes(&[1, 2]).into_iter().map(|hex| format!("sha256__{hex}"));
            let known =
                ["manifest.json", "list.manifest.json", "tag.json", "json.json", "layer.tar", "u", "b", "."];
            hexes.chain(all(&known)).collect()
        }
        "md5" => (0..4_u8).map(|kind| format!("{kind:02x}").repeat(16)).collect(),
        "sha1" => (0..4_u8).map(|number| format!("{number:02x}").repeat(20)).collect(),
        "repo" => all(&["one", "two", "three"]),
        "by" => all(&["ann", "bob", "cid"]),
        _ => all(&VALUES),
    }
}

fn test() -> impl Strategy<Value = Test> {
    let field = |field, of: &str| text_test(texts(of)).prop_map(move |test| Test::Text(field, test)).boxed();
    let property = |key: &'static str| {
        text_test(texts(key)).prop_map(move |test| Test::Property(key.to_owned(), test)).boxed()
    };
    let comparison = prop::sample::select(vec![
        Comparison::Equal,
        Comparison::Greater,
        Comparison::GreaterOrEqual,
        Comparison::Less,
    ]);
    let time = prop::sample::select(vec![TimeField::Created, TimeField::Modified, TimeField::Updated]);
    let keys = [
        "docker.repoName",
        "docker.manifest",
        "docker.tag.name",
        "docker.manifest.digest",
        "sha256",
        "docker.imageId",
        "docker.tag.content",
        "docker.label.team",
        "approved",
        "colour",
        "*",
    ];
    let properties = proptest::strategy::Union::new(keys.map(property));
    prop_oneof![
        8 => properties,
        1 => field(TextField::Repository, "repo"),
        2 => field(TextField::Path, "path"),
        2 => field(TextField::Name, "name"),
        1 => field(TextField::CreatedBy, "by"),
        1 => field(TextField::Sha256, "sha256"),
        1 => field(TextField::Md5, "md5"),
        1 => field(TextField::Sha1, "sha1"),
        1 => (comparison.clone(), 0..4_u64).prop_map(|(how, depth)| Test::Number(NumberField::Depth, how, depth)),
        1 => (comparison.clone(), 0..110_u64).prop_map(|(how, size)| Test::Number(NumberField::Size, how, size)),
        2 => (time, comparison, 0..40_i64).prop_map(|(field, how, second)| {
            Test::Time(field, how, Timestamp::from_micros(1_000_000 * (second + 1)))
        }),
        2 => prop::sample::select(vec![KindTest::File, KindTest::Folder, KindTest::Any]).prop_map(Test::Kind),
    ]
}

fn condition() -> impl Strategy<Value = Condition> {
    test().prop_map(Condition::Is).prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Condition::All),
            vec(inner, 0..4).prop_map(Condition::Any),
        ]
    })
}

/// Reach that see all, all but one name, or nothing of one repository.
fn eyes(kind: u8, key: &RepoKey) -> Option<Reach> {
    match kind {
        0 => Some(Reach::all()),
        1 => Some(Reach::of(|name| name.as_str() != "library/u")),
        2 => Some(Reach::of(|name| name.as_str().starts_with('a'))),
        _ => Some(Reach::all()).filter(|_| key.as_str() == "one"),
    }
}

type Place = (String, String);

fn found(registry: &Registry, query: &Query, kind: u8) -> Result<Vec<Place>> {
    let mut places = Vec::new();
    registry.search(query, |key| eyes(kind, key), &|| false, &mut |found| {
        places.push((found.repository().to_string(), found.item().path.to_string()));
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(places)
}

/// Every item that fulfils the condition, by looking at every item.
fn looked_for(registry: &Arc<Registry>, condition: &Condition, kind: u8) -> BTreeSet<Place> {
    let snapshot = registry.snapshot().unwrap();
    let mut found = BTreeSet::new();
    for number in 0..REPOSITORIES.len() {
        let repository = repository(number);
        let Some(eyes) = eyes(kind, &repository) else { continue };
        // Others may see what is in nobody's way through folders; what is there is theirs to see by its path.
        let mut paths = BTreeSet::from([TreePath::root()]);
        for eyes in [Reach::all(), eyes.clone()] {
            let mut tree = registry.tree(&repository, eyes).unwrap();
            let visit = |item: crate::tree::Item| {
                paths.insert(item.path);
                Visit::On
            };
            tree.walk(None, &TreePath::root(), usize::MAX, visit).unwrap();
        }
        let view = View { snapshot: &snapshot, log: &registry.log, repository: &repository, eyes: &eyes };
        for path in paths {
            let Some(item) = view.item(path.as_str()).unwrap() else { continue };
            if condition.holds(&item).unwrap() {
                found.insert((repository.to_string(), path.to_string()));
            }
        }
    }
    found
}

fn query(condition: Condition) -> Query {
    Query { repositories: vec![], condition, order: None, offset: 0, limit: None }
}

proptest! {
    // Each case makes a registry, and asks it much.
    #![proptest_config(ProptestConfig {
        cases: ProptestConfig::default().cases / 16,
        max_shrink_iters: 64,
        ..ProptestConfig::default()
    })]

    #[test]
    fn what_is_found_is_what_there_is(
        steps in vec(step(), 1..30),
        conditions in vec((condition(), 0..4_u8), 24),
        offset in 0..4_u64,
        limit in 0..6_u64,
    ) {
        let (_folder, registry) = opened(&steps);
        for (condition, kind) in conditions {
            let query = query(condition);
            let all = found(&registry, &query, kind).unwrap();
            let expected = looked_for(&registry, &query.condition, kind);
            let unique: BTreeSet<Place> = all.iter().cloned().collect();
            prop_assert_eq!(&unique, &expected, "{:?}", &query.condition);
            prop_assert_eq!(unique.len(), all.len(), "twice: {:?} of {:?}", &all, &query.condition);
            // A page is a part of the whole.
            let page = Query { offset, limit: Some(limit), ..query.clone() };
            let part: Vec<Place> = all.iter().skip(offset as usize).take(limit as usize).cloned().collect();
            prop_assert_eq!(found(&registry, &page, kind).unwrap(), part);
            // Sorted by what is unique, it is the same in order.
            let order = Order { by: vec![Field::Text(TextField::Repository), Field::Text(TextField::Path)], descending: true };
            let sorted = found(&registry, &Query { order: Some(order), ..page }, kind).unwrap();
            let parent = |place: &Place| place.1.rsplit_once('/').map_or(".", |(parent, _)| parent).to_owned();
            let mut expected: Vec<Place> = all;
            expected.sort_by(|a, b| (&b.0, parent(b)).cmp(&(&a.0, parent(a))).then_with(|| a.cmp(b)));
            let expected: Vec<Place> = expected.into_iter().skip(offset as usize).take(limit as usize).collect();
            prop_assert_eq!(sorted, expected);
        }
        registry.close();
    }
}

/// It is kept for a while, so that it can be brought back, and nobody finds it until then.
#[test]
fn what_was_deleted_is_not_found() {
    let pushed = |number, tag| Step::Manifest { repository: 0, name: 0, number, tag };
    let untag = Step::Untag { repository: 0, name: 0, tag: 0 };
    let steps = [pushed(0, None), pushed(1, None), pushed(5, Some(0)), pushed(6, None), untag];
    let places = |steps: &[Step], test: Test| {
        let (_folder, registry) = opened(steps);
        let found = found(&registry, &query(Condition::Is(test)), 0).unwrap();
        registry.close();
        found
    };
    let has = |key: &str, value: &str| Test::Property(key.to_owned(), TextTest::equals(value));
    // The index, what it lists, and what says something of that.
    assert_eq!(places(&steps[..4], has("docker.repoName", "a")).len(), 4);
    assert_eq!(places(&steps, has("docker.repoName", "a")), []);
    assert_eq!(places(&steps, Test::Kind(KindTest::File)), []);
    for number in [0, 1, 5, 6] {
        assert_eq!(places(&steps, has("docker.manifest.digest", &digest(0, number).to_string())), []);
    }
}

#[test]
fn a_search_that_would_sort_too_much_or_ask_too_much_is_refused() {
    let (_folder, registry) = opened(&[]);
    let many = Condition::All(vec![Condition::everything(); CONDITIONS_MAX + 1]);
    assert!(matches!(found(&registry, &query(many), 0), Err(Error::Invalid(_))));
    registry.close();
}

#[test]
fn a_search_ends_when_it_is_told_to() {
    let steps: Vec<Step> =
        (0..4).map(|tag| Step::Manifest { repository: 0, name: 0, number: 0, tag: Some(tag) }).collect();
    let (_folder, registry) = opened(&steps);
    let mut seen = 0;
    let all = query(Condition::everything());
    registry
        .search(&all, |_| Some(Reach::all()), &|| false, &mut |_| {
            seen += 1;
            Ok(ControlFlow::Break(()))
        })
        .unwrap();
    assert_eq!(seen, 1);
    let nothing = query(Condition::Any(vec![]));
    let asked = std::cell::Cell::new(0);
    let stop = || asked.replace(asked.get() + 1) > 2;
    let mut each = |_: &Found<'_>| Ok(ControlFlow::Continue(()));
    registry.search(&all, |_| Some(Reach::all()), &stop, &mut each).unwrap();
    assert!((3..8).contains(&asked.get()), "{}", asked.get());
    registry
        .search(&nothing, |_| Some(Reach::all()), &|| false, &mut |_| panic!("nothing is searched for"))
        .unwrap();
    registry.close();
}

/// What is found, and how many candidates and items were looked at for it.
fn looked_at(registry: &Registry, query: &Query) -> (usize, usize) {
    let (mut found, asked) = (0, std::cell::Cell::new(0));
    let stop = || {
        asked.set(asked.get() + 1);
        false
    };
    let mut each = |_: &Found<'_>| {
        found += 1;
        Ok(ControlFlow::Continue(()))
    };
    registry.search(query, |_| Some(Reach::all()), &stop, &mut each).unwrap();
    (found, asked.get())
}

#[test]
fn a_tag_of_a_name_is_found_without_a_look_at_other_tags_or_names() {
    let of = |name, tag| Step::Manifest { repository: 0, name, number: 0, tag: Some(tag) };
    let steps: Vec<Step> = (0..NAMES.len()).flat_map(|name| (0..4).map(move |tag| of(name, tag))).collect();
    let (_folder, registry) = opened(&steps);
    let is = |key: &str, value: &str| Condition::Is(Test::Property(key.to_owned(), TextTest::equals(value)));
    let (name, tag) = (is("docker.repoName", "a/b"), is("docker.manifest", "latest"));
    for both in [
        Condition::All(vec![name.clone(), tag.clone()]),
        // As the interface for properties has it, and AQL.
        Condition::All(vec![Condition::Any(vec![name.clone()]), Condition::Any(vec![tag.clone()])]),
        Condition::All(vec![Condition::Is(Test::Kind(KindTest::File)), Condition::All(vec![name, tag])]),
    ] {
        // The tag, and the manifest that it points at.
        assert_eq!(looked_at(&registry, &query(both)), (1, 2));
    }
    registry.close();
}

#[test]
fn what_was_made_since_is_read_no_further_than_it_is_asked_for() {
    let of = |number: usize| Step::Manifest {
        repository: number % 2,
        name: number / 2 % NAMES.len(),
        number: 0,
        tag: Some(number / 2 / NAMES.len()),
    };
    let (_folder, registry) = opened(&(0..56).map(of).collect::<Vec<_>>());
    let since = registry.log().last().unwrap().unwrap().at;
    let since = Timestamp::from_micros(since.as_micros() - 40_000_000);
    let files = Condition::All(vec![
        Condition::Is(Test::Kind(KindTest::File)),
        Condition::Is(Test::Time(TimeField::Created, Comparison::Greater, since)),
    ]);
    let (all, looked) = looked_at(&registry, &query(files.clone()));
    assert!(all >= 12 && looked < 400, "{all} {looked}");
    let (found, looked) = looked_at(&registry, &Query { limit: Some(1), ..query(files) });
    assert!(found == 1 && looked < 60, "{looked}");
    registry.close();
}

#[test]
fn a_search_is_read_as_it_is_written() {
    let text = r#"{"repositories":["one"],"limit":10,"condition":{"all":[
        {"is":{"property":["docker.repoName",{"matches":{"text":"team-a/*"}}]}},
        {"is":{"number":["size","greater",1000000]}},
        {"any":[{"is":{"kind":"file"}},{"is":{"text":["name",{"compare":["equal","latest"]}]}}]}]}}"#;
    let read: Query = serde_json::from_str(text).unwrap();
    let again: Query = serde_json::from_str(&serde_json::to_string(&read).unwrap()).unwrap();
    assert_eq!((again.limit, &again), (Some(10), &read));
    for bad in [
        r#"{"condition":{"is":{"property":["a",{"matches":{"txt":"b"}}]}}}"#,
        r#"{"condition":{"all":[]},"more":1}"#,
    ] {
        assert!(serde_json::from_str::<Query>(bad).is_err(), "{bad}");
    }
    let long = format!(
        r#"{{"condition":{{"is":{{"property":["a",{{"matches":{{"text":"{}"}}}}]}}}}}}"#,
        "a".repeat(2_000)
    );
    assert!(serde_json::from_str::<Query>(&long).is_err());
}
