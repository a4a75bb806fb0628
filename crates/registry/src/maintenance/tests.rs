//! Scrub and verification find what is wrong with stored bytes, and uploading them again mends it; the sweep
//! takes what no record mentions and nothing else.

use std::fs;
use std::ops::ControlFlow;
use std::path::PathBuf;

use bytes::Bytes;
use supercargo_blobs::Existing;
use supercargo_model::{Algorithm, Reference, RepoName, Tag, limits, media_type};

use super::*;
use crate::pushes::digest_of;
use crate::{ManifestPush, Options};

struct Stored {
    _folder: tempfile::TempDir,
    registry: Arc<Registry>,
    layer: Bytes,
    file: PathBuf,
}

fn caller() -> Caller {
    Caller { actor: Actor::User("root".to_owned()), origin: Origin::local(Api::DockerV2) }
}

fn place() -> (RepoKey, RepoName) {
    ("r".parse().unwrap(), "a".parse().unwrap())
}

fn digest(bytes: &Bytes) -> Digest {
    digest_of(Algorithm::Sha256, bytes)
}

impl Stored {
    /// A registry with an image whose layer is a file.
    async fn new() -> Stored {
        let folder = tempfile::tempdir().unwrap();
        let registry = Registry::open(Options::new(folder.path())).unwrap();
        registry.create_repository(&caller(), &place().0, Default::default()).await.unwrap();
        let layer = Bytes::from(vec![7; usize::try_from(limits::INLINE_BLOB_BYTES_MAX).unwrap() + 1]);
        let hex = digest(&layer).hex();
        let file = folder.path().join("blobs/sha256").join(&hex[..2]).join(&hex);
        let stored = Stored { _folder: folder, registry, layer, file };
        stored.upload(&stored.layer).await;
        stored.push("latest").await.unwrap();
        stored
    }

    async fn upload(&self, bytes: &Bytes) {
        let (repository, name) = place();
        let id = self.registry.start_upload(&caller(), &repository, &name, Algorithm::Sha256).await.unwrap();
        let body = futures_util::stream::iter([Ok(bytes.clone())]);
        self.registry
            .finish_upload(&caller(), &repository, &name, id, digest(bytes), None, body)
            .await
            .unwrap();
    }

    async fn push(&self, tag: &str) -> Result<()> {
        let (repository, name) = place();
        let manifest =
            Bytes::from(format!(r#"{{"layers":[],"config":{{"digest":"{}"}}}}"#, digest(&self.layer)));
        let reference = Reference::Tag(tag.parse::<Tag>().unwrap());
        self.registry
            .push_manifest(
                &caller(),
                &repository,
                &name,
                ManifestPush::new(reference, media_type::OCI_MANIFEST, manifest),
            )
            .await
            .map(|_| ())
    }

    async fn scrub(&self) -> Scrubbed {
        self.registry.scrub(&caller(), ScrubOptions::default(), |_| {}).await.unwrap()
    }

    fn problems(&self, deep: bool) -> Vec<String> {
        let report = self.registry.folder().verify(deep, |_| ControlFlow::Continue(())).unwrap();
        report.problems.into_iter().map(|problem| problem.message).collect()
    }

    fn served(&self) -> bool {
        let (repository, name) = place();
        let layer = digest(&self.layer);
        let head = self.registry.check_blob(&caller(), &repository, &name, &layer).is_ok();
        assert_eq!(head, self.registry.open_blob(&repository, &name, &layer).is_ok());
        head
    }
}

#[tokio::test]
async fn damaged_bytes_are_found_served_no_more_and_mended_by_an_upload() {
    let stored = Stored::new().await;
    let sound = stored.layer.clone();
    type Damage = fn(&PathBuf, &Bytes);
    let damages: [(Rot, Damage); 3] = [
        (Rot::WrongDigest, |file, sound| {
            let mut bytes = sound.to_vec();
            bytes[100] ^= 1;
            fs::write(file, bytes).unwrap();
        }),
        (Rot::WrongSize, |file, sound| fs::write(file, &sound[1..]).unwrap()),
        (Rot::Missing, |file, _| fs::remove_file(file).unwrap()),
    ];
    for (rot, damage) in damages {
        assert_eq!(stored.scrub().await.rotten, []);
        damage(&stored.file, &sound);
        assert_eq!(stored.problems(false).is_empty(), rot == Rot::WrongDigest, "the size alone tells little");
        assert_eq!(stored.problems(true).len(), 1);
        assert_eq!(stored.scrub().await.rotten, [(digest(&sound), rot)]);
        assert!(!stored.served(), "{rot:?}");
        assert!(matches!(stored.push("v1").await, Err(Error::ManifestBlobUnknown(_))));
        // Known, it is neither found again nor forgotten.
        assert_eq!(stored.scrub().await.rotten, []);
        assert!(stored.problems(true)[0].contains("as its record says"));
        stored.upload(&sound).await;
        assert!(stored.served(), "{rot:?}");
        stored.push("v1").await.unwrap();
        assert_eq!(stored.problems(true), Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_scrub_goes_on_where_another_stopped() {
    let stored = Stored::new().await;
    let mut seen = Vec::new();
    let all = stored.registry.scrub(&caller(), ScrubOptions::default(), |progress| seen.push(progress)).await;
    assert_eq!(all.unwrap().blobs, 2);
    assert_eq!(seen[1].done, seen[1].of);
    let rest = ScrubOptions { after: Some(seen[0].last), ..ScrubOptions::default() };
    assert_eq!(stored.registry.scrub(&caller(), rest, |_| {}).await.unwrap().blobs, 1);
}

#[tokio::test]
async fn a_sweep_takes_what_no_record_mentions() {
    let stored = Stored::new().await;
    assert_eq!(stored.registry.sweep().await.unwrap(), Swept::default());
    // As a crash between a file's place and its record leaves it.
    let left = Bytes::from(vec![9; 1000]);
    let store = &stored.registry.blobs;
    drop(store.put_bytes(digest(&left), left.clone(), Existing::Keep).await.unwrap());
    let swept = stored.registry.sweep().await.unwrap();
    assert_eq!((swept.files, swept.file_bytes), (1, 1000));
    assert!(stored.served());
    assert_eq!(stored.problems(true), Vec::<String>::new());
}

/// Until its record is committed, a file is held by whoever put it in its place.
#[tokio::test]
async fn a_sweep_waits_for_a_push_that_is_about_to_be_recorded() {
    let stored = Stored::new().await;
    let bytes = Bytes::from(vec![9; 1000]);
    let published =
        stored.registry.blobs.put_bytes(digest(&bytes), bytes.clone(), Existing::Keep).await.unwrap();
    let sweeping = tokio::spawn({
        let registry = Arc::clone(&stored.registry);
        async move { registry.sweep().await.unwrap() }
    });
    let (repository, name) = place();
    let size = bytes.len() as u64;
    let command = Command::AddBlob { repository, name, digest: digest(&bytes), size };
    stored.registry.ledger.submit(&caller(), command, Payload::None).await.unwrap();
    drop(published);
    assert_eq!(sweeping.await.unwrap().files, 0);
    assert_eq!(stored.problems(true), Vec::<String>::new());
}
