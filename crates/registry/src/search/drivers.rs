//! Where the drivers of a search lead to: the candidates that an index knows, each at most once for each driver.
//!
//! What lives here: indexes, read in the order of their keys, without holding more than one row. What does not: whether
//! a candidate is there for the caller, and whether it is what is searched for; that is for `run` to say.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use supercargo_eventlog::{RedbLog, V1Image};
use supercargo_model::tree::{
    IMAGE_JSON, IMAGE_LAYER, INDEX, MANIFEST, V1_TAG, blob_file, image_folder, tag_folder, untagged_folder,
    v1_folder, v1_tag_folder,
};
use supercargo_model::v1::V1Name;
use supercargo_model::{Digest, ImageId, RepoKey, RepoName, Tag, Timestamp, media_type};
use supercargo_projections::tables::{
    BlobsByMd5, BlobsBySha1, Contents, Folders, Holders, Images, ImagesById, LabelValues, Manifests, NameId,
    Names, NamesById, Properties, PropertyValues, ReferenceKind, References, Source, Table, TagNames, TagRow,
    Tags, prefix,
};
use supercargo_projections::{Snapshot, prefix_end};

use super::condition::{ROOT_PATH, TextTest};
use super::plan::Driver;
use super::since;
use crate::{Error, Result};

/// The namespace of names that are written alone.
const LIBRARY: &str = "library/";

/// Whether to go on.
pub(crate) type Flow = Result<ControlFlow<()>>;

const ON: Flow = Ok(ControlFlow::Continue(()));

/// Goes on, unless told to stop.
macro_rules! flow {
    ($flow:expr) => {
        if $flow?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
    };
}

/// What may be what is searched for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Candidate {
    /// An item.
    Item(String),
    /// What is in a folder.
    In(String),
    /// A folder, if it is of that moment.
    FolderOf(Timestamp, String),
    /// The files of a folder that are of that moment.
    FilesOf(Timestamp, String),
}

/// What is told of each candidate.
pub(crate) type Each<'e> = dyn FnMut(&RepoKey, Candidate) -> Flow + 'e;

/// The indexes, for a search of some repositories.
pub(crate) struct Drivers<'d> {
    pub(crate) snapshot: &'d Snapshot,
    pub(crate) log: &'d RedbLog,
    pub(crate) repositories: &'d BTreeSet<RepoKey>,
}

/// What a manifest has to do with a file beside it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Beside {
    /// Whatever is kept under the digest.
    Anything,
    /// The manifest of which it is the config.
    ManifestOfConfig,
}

impl Drivers<'_> {
    /// How many candidates a driver leads to, counting up to `most`.
    ///
    /// `None` for what walking is better than.
    pub(crate) fn count(&self, driver: &Driver, most: u64) -> Result<Option<u64>> {
        if let Driver::Since(at) = driver {
            return since::count(self.log, *at);
        }
        let mut count = 0;
        let _ = self.run(driver, &mut |_, _| {
            count += 1;
            Ok(if count < most { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
        })?;
        Ok(Some(count))
    }

    /// Tells of each candidate that a driver leads to.
    pub(crate) fn run(&self, driver: &Driver, each: &mut Each<'_>) -> Flow {
        match driver {
            Driver::Nothing => ON,
            Driver::Everything => {
                for repository in self.repositories {
                    flow!(each(repository, Candidate::Item(String::new())));
                    flow!(each(repository, Candidate::In(String::new())));
                    flow!(self.folders(repository, "", each));
                }
                ON
            }
            Driver::Children(path) => {
                for repository in self.repositories {
                    if path.is_empty() {
                        flow!(each(repository, Candidate::Item(String::new())));
                    }
                    flow!(each(repository, Candidate::In(path.clone())));
                }
                ON
            }
            Driver::Below(start) => {
                for repository in self.repositories {
                    if ROOT_PATH.starts_with(start.as_str()) {
                        flow!(each(repository, Candidate::Item(String::new())));
                        flow!(each(repository, Candidate::In(String::new())));
                    }
                    flow!(self.folders(repository, start, each));
                }
                ON
            }
            Driver::Named(test) => {
                self.named(test, &mut |repository, id, name| self.tags_of(repository, id, name, each))
            }
            Driver::TagOf(name, tag) => {
                self.named(&TextTest::equals(name), &mut |repository, id, name| match self.tag(id, tag)? {
                    Some(row) => self.tag_file(id, repository, name, tag, &row, each),
                    None => ON,
                })
            }
            Driver::Tagged(tag) => self.rows::<TagNames>(&prefix::tag_names(tag), &[], |(tag, id), ()| {
                let Some((repository, name)) = self.name(id)? else { return ON };
                match self.tag(id, &tag)? {
                    Some(row) => self.tag_file(id, &repository, &name, &tag, &row, each),
                    None => ON,
                }
            }),
            Driver::Content(digest) => self.content(digest, Beside::Anything, each),
            Driver::Md5(md5) => {
                self.rows::<BlobsByMd5>(&prefix::blobs_by_md5(md5), &[], |(_, digest), ()| {
                    self.content(&digest, Beside::Anything, each)
                })
            }
            Driver::Sha1(sha1) => {
                self.rows::<BlobsBySha1>(&prefix::blobs_by_sha1(sha1), &[], |(_, digest), ()| {
                    self.content(&digest, Beside::Anything, each)
                })
            }
            Driver::Image(id) => {
                for repository in self.repositories {
                    for file in [IMAGE_JSON, IMAGE_LAYER] {
                        flow!(each(repository, Candidate::Item(format!("{}/{file}", image_folder(id)))));
                    }
                }
                ON
            }
            Driver::TagsOfImage(id) => self.tags_of_image(id, each),
            Driver::Label(label, test) => self.label(label, test, each),
            Driver::Own(property, test) => self.own(property, test, each),
            Driver::Since(at) => since::places(self.log, *at, self.repositories, each),
        }
    }

    /// Folders whose paths begin so.
    fn folders(&self, repository: &RepoKey, start: &str, each: &mut Each<'_>) -> Flow {
        let prefix = prefix::folders(repository);
        self.rows::<Folders>(&prefix, start.as_bytes(), |(_, path), _| each(repository, Candidate::In(path)))
    }

    /// Names that are shown so, in both ways to write them.
    fn named(&self, test: &TextTest, each: &mut dyn FnMut(&RepoKey, NameId, &RepoName) -> Flow) -> Flow {
        if let Some(only) = test.only() {
            return self.named_only(only, each);
        }
        let Some(start) = test.start() else { return ON };
        for repository in self.repositories {
            let names = prefix::names(repository);
            flow!(self.rows::<Names>(&names, start.as_bytes(), |(_, name), id| {
                // A name alone is shown with its namespace where its tags are those of V1, else as it is.
                let shown = V1Name::of(&name);
                let fits = test.holds(name.as_str()) || test.holds(shown.shown());
                if fits && !name.is_waiting_room() { each(repository, id, &name) } else { ON }
            }));
            let alone = match start.strip_prefix(LIBRARY) {
                Some(alone) => alone,
                None if LIBRARY.starts_with(start) => "",
                None => continue,
            };
            flow!(self.rows::<Names>(&names, alone.as_bytes(), |(_, name), id| {
                let again = name.as_str().starts_with(start) || name.as_str().contains('/');
                if again || name.is_waiting_room() || !test.holds(V1Name::of(&name).shown()) {
                    return ON;
                }
                each(repository, id, &name)
            }));
        }
        ON
    }

    /// The names that are shown as this.
    fn named_only(&self, shown: &str, each: &mut dyn FnMut(&RepoKey, NameId, &RepoName) -> Flow) -> Flow {
        let alone = shown.strip_prefix(LIBRARY).filter(|alone| !alone.contains('/'));
        for name in [Some(shown), alone].into_iter().flatten() {
            let Some(name) = RepoName::parse(name).ok().filter(|name| !name.is_waiting_room()) else {
                continue;
            };
            for repository in self.repositories {
                let key = (repository.clone(), name.clone());
                if let Some(id) = self.snapshot.get::<Names>(&key).map_err(Error::internal)? {
                    flow!(each(repository, id, &name));
                }
            }
        }
        ON
    }

    /// The folder of a name that has V1 tags, and what each of its tags and manifests without tags says of itself.
    fn tags_of(&self, repository: &RepoKey, id: NameId, name: &RepoName, each: &mut Each<'_>) -> Flow {
        // Two names may share a folder: it is told of with the one that is told of first.
        let first = V1Name::of(name).written().find_map(|name| {
            self.snapshot
                .get::<Names>(&(repository.clone(), name.clone()))
                .map_err(Error::internal)
                .transpose()
        });
        if first.transpose()? == Some(id) {
            flow!(each(repository, Candidate::Item(v1_folder(name))));
        }
        flow!(self.rows::<Tags>(&prefix::tags(id), &[], |(_, tag), row| {
            self.tag_file(id, repository, name, &tag, &row, each)
        }));
        for algorithm in ["sha256:", "sha512:"] {
            let start = format!("{name}/{algorithm}");
            flow!(self.rows::<Folders>(&prefix::folders(repository), start.as_bytes(), |(_, path), _| {
                each(repository, Candidate::In(path))
            }));
        }
        ON
    }

    fn tag(&self, id: NameId, tag: &Tag) -> Result<Option<TagRow>> {
        self.snapshot.get::<Tags>(&(id, tag.clone())).map_err(Error::internal)
    }

    /// The file that says what a tag is: a manifest, or what a V1 tag says of itself.
    fn tag_file(
        &self,
        id: NameId,
        repository: &RepoKey,
        name: &RepoName,
        tag: &Tag,
        row: &TagRow,
        each: &mut Each<'_>,
    ) -> Flow {
        if row.image {
            if self.beside_another(repository, name, tag)?.is_some() {
                return ON;
            }
            return each(repository, Candidate::Item(format!("{}/{V1_TAG}", v1_tag_folder(name, tag))));
        }
        let Some(file) = self.manifest_file(id, &row.digest)? else { return ON };
        each(repository, Candidate::Item(format!("{}/{file}", tag_folder(name, tag))))
    }

    /// Where a V1 tag stands in the same place as that of the name that comes first: the image that this one points at.
    fn beside_another(&self, repository: &RepoKey, name: &RepoName, tag: &Tag) -> Result<Option<ImageId>> {
        let Some(long) = V1Name::shadowing(name) else { return Ok(None) };
        let id = self.snapshot.get::<Names>(&(repository.clone(), long)).map_err(Error::internal)?;
        let Some(id) = id else { return Ok(None) };
        let Some(row) = self.tag(id, tag)?.filter(|row| row.image) else { return Ok(None) };
        let image = self.snapshot.get::<Images>(&(id, row.digest)).map_err(Error::internal)?;
        Ok(image.map(|row| row.image.id))
    }

    /// What a manifest is called; `None` where it is none.
    fn manifest_file(&self, id: NameId, digest: &Digest) -> Result<Option<&'static str>> {
        let row = self.snapshot.get::<Manifests>(&(id, *digest)).map_err(Error::internal)?;
        Ok(row.map(|row| if media_type::is_index(&row.manifest.media_type) { INDEX } else { MANIFEST }))
    }

    /// The folders that a manifest stands in: those of its tags, or its own.
    fn manifest_folders(
        &self,
        id: NameId,
        name: &RepoName,
        digest: &Digest,
        mut each: impl FnMut(String) -> Flow,
    ) -> Flow {
        let mut tagged = false;
        flow!(self.rows::<References>(&prefix::references_by_tags(id, digest), &[], |(_, _, source), _| {
            let Source::Tag(tag) = source else { return ON };
            tagged = true;
            each(tag_folder(name, &tag))
        }));
        if tagged { ON } else { each(untagged_folder(name, digest)) }
    }

    /// The files of a content, in each name that holds it.
    fn content(&self, digest: &Digest, beside: Beside, each: &mut Each<'_>) -> Flow {
        self.rows::<Holders>(&prefix::holders(digest), &[], |(_, id), ()| {
            let Some((repository, name)) = self.name(id)? else { return ON };
            let item = |path: String, each: &mut Each<'_>| each(&repository, Candidate::Item(path));
            if beside == Beside::Anything {
                if let Some(file) = self.manifest_file(id, digest)? {
                    flow!(self.manifest_folders(id, &name, digest, |folder| item(
                        format!("{folder}/{file}"),
                        each
                    )));
                }
                flow!(self.image_file(&repository, id, digest, IMAGE_JSON, each));
            }
            self.rows::<References>(&prefix::references(id, digest), &[], |(_, _, source), kind| {
                let Source::Manifest(source) = source else { return ON };
                match (kind, beside) {
                    (ReferenceKind::Config, Beside::ManifestOfConfig) => {
                        let Some(file) = self.manifest_file(id, &source)? else { return ON };
                        self.manifest_folders(id, &name, &source, |folder| {
                            item(format!("{folder}/{file}"), each)
                        })
                    }
                    (ReferenceKind::Config | ReferenceKind::Layer, Beside::Anything) => {
                        if self.manifest_file(id, &source)?.is_none() {
                            return self.image_file(&repository, id, &source, IMAGE_LAYER, each);
                        }
                        let file = blob_file(digest);
                        self.manifest_folders(id, &name, &source, |folder| {
                            item(format!("{folder}/{file}"), each)
                        })
                    }
                    _ => ON,
                }
            })
        })
    }

    /// A file of a V1 image, told of with the first of the names that hold the image.
    fn image_file(
        &self,
        repository: &RepoKey,
        id: NameId,
        json: &Digest,
        file: &str,
        each: &mut Each<'_>,
    ) -> Flow {
        let row = self.snapshot.get::<Images>(&(id, *json)).map_err(Error::internal)?;
        let Some(V1Image { id: image, layer, .. }) = row.map(|row| row.image) else { return ON };
        let mut first = None;
        let _ = self.rows::<ImagesById>(
            &prefix::images_by_id(repository, &image),
            &[],
            |(_, _, holder), held| {
                if held != *json || self.name(holder)?.is_none() {
                    return ON;
                }
                // One that has another layer, or lacks it, does not lead to this.
                if file == IMAGE_LAYER && !self.has_layer(holder, json, &layer)? {
                    return ON;
                }
                first = Some(holder);
                Ok(ControlFlow::Break(()))
            },
        )?;
        if first == Some(id) {
            each(repository, Candidate::Item(format!("{}/{file}", image_folder(&image))))
        } else {
            ON
        }
    }

    /// Whether a name has an image with that layer.
    fn has_layer(&self, id: NameId, json: &Digest, layer: &Digest) -> Result<bool> {
        let row = self.snapshot.get::<Images>(&(id, *json)).map_err(Error::internal)?;
        if row.is_none_or(|row| row.image.layer != *layer) {
            return Ok(false);
        }
        let content = self.snapshot.get::<Contents>(&(id, *layer)).map_err(Error::internal)?;
        Ok(content.is_some_and(|content| content.blob))
    }

    fn tags_of_image(&self, image: &ImageId, each: &mut Each<'_>) -> Flow {
        for repository in self.repositories {
            flow!(self.rows::<ImagesById>(
                &prefix::images_by_id(repository, image),
                &[],
                |(_, _, id), json| {
                    let Some((_, name)) = self.name(id)? else { return ON };
                    self.rows::<References>(
                        &prefix::references_by_tags(id, &json),
                        &[],
                        |(_, _, source), _| {
                            let Source::Tag(tag) = source else { return ON };
                            each(
                                repository,
                                Candidate::Item(format!("{}/{V1_TAG}", v1_tag_folder(&name, &tag))),
                            )
                        },
                    )
                }
            ));
        }
        ON
    }

    fn label(&self, label: &str, test: &TextTest, each: &mut Each<'_>) -> Flow {
        let manifests =
            |each: &mut Each<'_>, config: &Digest| self.content(config, Beside::ManifestOfConfig, each);
        if let Some(value) = test.only() {
            return self.rows::<LabelValues>(
                &prefix::label_value(label, value),
                &[],
                |(_, _, config), ()| manifests(each, &config),
            );
        }
        let start = test.start().unwrap_or_default();
        self.rows::<LabelValues>(&prefix::label(label), start.as_bytes(), |(_, value, config), ()| {
            if test.holds(&value) { manifests(each, &config) } else { ON }
        })
    }

    fn own(&self, property: &str, test: &TextTest, each: &mut Each<'_>) -> Flow {
        if let Some(value) = test.only() {
            let prefix = prefix::property_value(property, value);
            return self.rows::<PropertyValues>(&prefix, &[], |(_, _, repository, path), ()| {
                if self.repositories.contains(&repository) {
                    each(&repository, Candidate::Item(path))
                } else {
                    ON
                }
            });
        }
        let start = test.start().unwrap_or_default();
        self.rows::<PropertyValues>(
            &prefix::property(property),
            start.as_bytes(),
            |(_, value, repository, path), ()| {
                if !test.holds(&value) || !self.repositories.contains(&repository) {
                    return ON;
                }
                let key = (repository, path);
                let row = self.snapshot.get::<Properties>(&key).map_err(Error::internal)?.unwrap_or_default();
                let values = row.get(property).into_iter().flatten();
                // One that has several such values is told of with the least.
                let first = values.filter(|value| test.holds(value)).min();
                if first == Some(&value) { each(&key.0, Candidate::Item(key.1)) } else { ON }
            },
        )
    }

    /// The repository and the name of a number, where they are searched.
    fn name(&self, id: NameId) -> Result<Option<(RepoKey, RepoName)>> {
        let found = self.snapshot.get::<NamesById>(&id).map_err(Error::internal)?;
        Ok(found
            .filter(|(repository, name)| self.repositories.contains(repository) && !name.is_waiting_room()))
    }

    /// The rows that begin with a prefix, and then so.
    fn rows<T: Table>(
        &self,
        prefix: &[u8],
        start: &[u8],
        mut each: impl FnMut(T::Key, T::Row) -> Flow,
    ) -> Flow {
        let prefix = [prefix, start].concat();
        let mut flow = ON;
        let visited = self.snapshot.visit::<T>(&prefix, &prefix_end(&prefix), |key, row| {
            flow = each(key, row);
            matches!(flow, Ok(ControlFlow::Continue(())))
        });
        visited.map_err(Error::internal)?;
        flow
    }
}
