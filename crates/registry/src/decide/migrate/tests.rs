//! What a conversion that was made before has to agree with.

use supercargo_eventlog::{RepositoryConfig, V1Image};
use supercargo_model::{Digest, ImageId, RepoKey};

use super::super::tests::{View, a, d, given, image, r, tag};
use super::*;
use crate::command::{Command, Conversion};

fn to() -> RepoKey {
    "to".parse().unwrap()
}

fn base() -> V1Image {
    V1Image {
        id: ImageId::from_bytes([1; 32]),
        parent: None,
        depth: 1,
        json: d(101),
        json_size: 5,
        layer: d(201),
        layer_size: 20,
        checksum: None,
        tarsum: None,
    }
}

/// `latest` of `r/a` is an image, and `to` speaks this.
fn given_an_image(version: DockerApiVersion) -> View {
    let speaks = |docker_api_version| RepositoryConfig { docker_api_version, ..RepositoryConfig::default() };
    given([
        Event::RepositoryConfigured { repository: r(), config: speaks(DockerApiVersion::V1) },
        Event::RepositoryCreated { repository: to(), config: speaks(version) },
        came(r(), base()),
        Event::TagSet { repository: r(), name: a(), tag: tag("latest"), digest: d(101), previous: None },
    ])
}

fn came(repository: RepoKey, image: V1Image) -> Event {
    Event::V1ImagesAdded { repository, name: a(), from: None, images: vec![image] }
}

fn migration(layers: &[Digest]) -> Command {
    let conversion = Conversion {
        digest: d(10),
        manifest: image(1, &[201]),
        inspected: Vec::new(),
        brought: vec![d(10), d(1)],
        labels: Vec::new(),
    };
    Command::Migrate(Box::new(Migration {
        from: r(),
        name: a(),
        tag: tag("latest"),
        json: d(101),
        layers: layers.to_vec(),
        to: to(),
        conversion,
        force: false,
    }))
}

#[test]
fn what_was_converted_is_what_the_tag_still_points_at() {
    let mut view = given_an_image(DockerApiVersion::V2);
    // The same JSON, packed anew, is another image.
    let stale = view.decide(migration(&[d(202)]));
    assert!(matches!(stale, Err(Error::Precondition(_))), "{stale:?}");
    let events = view.events(migration(&[d(201)]));
    view.record(events);
    assert_eq!(view.events(migration(&[d(201)])), [], "done is done");
}

#[test]
fn an_image_of_the_same_json_with_another_layer_stops_it() {
    let mut view = given_an_image(DockerApiVersion::Both);
    view.record([came(to(), V1Image { layer: d(202), ..base() })]);
    let refused = view.decide(migration(&[d(201)]));
    assert!(matches!(refused, Err(Error::ImageExists(id)) if id == base().id), "{refused:?}");
}
