//! Images of manifests, and manifests of images.
//!
//! What a V1 client pushed into a repository that speaks both protocols becomes a manifest as its tag is set; what a
//! V2 client pushed becomes images when a V1 client first asks for them. Both are pure functions of what was pushed
//! (`supercargo_model::v1`), and both are recorded with the link between them, so that neither is ever made again.

use std::collections::hash_map::Entry;
use std::io::{self, Write};

use bytes::{Bytes, BytesMut};
use foldhash::HashMap;
use futures_util::stream;
use supercargo_eventlog::{Api, PackedLayer, V1Image, V1Parent};
use supercargo_layers::{Compression, InspectLimits};
use supercargo_model::v1::{
    ChainImage, ConvertError, EMPTY_LAYER, Form, empty_layer, from_v2, schema1, to_v2,
};
use supercargo_model::{Algorithm, Digest, ImageId, Manifest, RepoKey, RepoName, limits, media_type};
use supercargo_projections::tables::{
    Blobs, Contents, Holders, Layers, Manifests, NameId, NamesById, ReferenceKind, References, Source, Views,
    prefix,
};
use supercargo_projections::{Snapshot, prefix_end};
use tokio::sync::mpsc;

use super::brought::{Brought, packing};
use super::layers::unreadable;
use super::{V1ImageInfo, Viewer};
use crate::command::{Command, Conversion, Inspected};
use crate::labels::labels;
use crate::pushes::digest_of;
use crate::reads::name_id;
use crate::registry::{Caller, Registry};
use crate::{Error, Result};

/// How many names that hold a config are asked, at most, for a manifest that has it.
const NAMES_MAX: usize = 1024;
/// How many manifests of one config are looked at, at most.
const MANIFESTS_MAX: usize = 16;
/// Bytes that are handed from whoever packs a layer to whoever keeps it, at a time.
const PIECE_BYTES: usize = 256 * 1024;

/// A layer in a form that the other protocol takes.
#[derive(Clone, Copy)]
struct LayerForm {
    diff_id: Option<Digest>,
    blob: Digest,
    blob_size: u64,
    /// What was found out for it.
    inspected: Option<Inspected>,
}

/// An image that was made of a manifest.
struct Made {
    id: ImageId,
    json: Bytes,
    /// None where it has the empty one.
    layer: Option<Digest>,
}

impl From<ConvertError> for Error {
    fn from(error: ConvertError) -> Error {
        Error::NotConvertible(error.to_string())
    }
}

impl Registry {
    /// What an image is to V2 clients, for a tag in `target`: what it was before there, or where it is, or what it is
    /// converted to now. `chain`: the image, and those that it was made from.
    pub(super) async fn v1_convert(
        &self,
        target: Option<NameId>,
        chain: &[V1ImageInfo],
        brought: &mut Brought,
    ) -> Result<Conversion> {
        let snapshot = self.snapshot()?;
        let top = chain.first();
        for (id, json) in top
            .iter()
            .flat_map(|top| [target, Some(top.name_id)].into_iter().flatten().map(|id| (id, top.image.json)))
        {
            if let Some((digest, manifest)) = viewed_as(&snapshot, id, json)?
                && has_parts(&snapshot, id, &manifest)?
            {
                let (inspected, brought, labels) = (Vec::new(), Vec::new(), Vec::new());
                return Ok(Conversion { digest, manifest, inspected, brought, labels });
            }
        }
        drop(snapshot);
        // Before any of it is in memory.
        let json_bytes =
            chain.iter().fold(0, |bytes: u64, found| bytes.saturating_add(found.image.json_size));
        if json_bytes > limits::IMAGE_CHAIN_JSON_BYTES_MAX as u64 {
            return Err(ConvertError::TooLarge.into());
        }
        let mut forms: HashMap<Digest, LayerForm> = HashMap::default();
        for V1ImageInfo { image, .. } in chain.iter().rev() {
            if let Entry::Vacant(form) = forms.entry(image.layer) {
                form.insert(self.as_gzip(&image.layer, image.layer_size, brought).await?);
            }
        }
        // No JSON is held while layers wait to be unpacked.
        let snapshot = self.snapshot()?;
        let mut parts = Vec::with_capacity(chain.len());
        for V1ImageInfo { image, .. } in chain.iter().rev() {
            let json = self.bytes_of(&snapshot, &image.json, image.json_size)?;
            let json = json.ok_or(Error::ImageUnknown(image.id))?;
            let facts = forms.get(&image.layer).and_then(|form| Some((*form, form.diff_id?)));
            let (form, diff_id) =
                facts.ok_or_else(|| Error::Internal("a layer without its diff id".to_owned()))?;
            parts.push((image.id, json, diff_id, form.blob, form.blob_size));
        }
        let images: Vec<ChainImage<'_>> = parts
            .iter()
            .map(|(id, json, diff_id, blob, blob_size)| ChainImage {
                id: *id,
                json,
                diff_id: *diff_id,
                blob: *blob,
                blob_size: *blob_size,
            })
            .collect();
        let converted = to_v2(&images, Form::Docker)?;
        let (manifest, _) = Manifest::parse(media_type::DOCKER_MANIFEST, &converted.manifest)?;
        let labels = labels(&converted.config);
        for (digest, bytes) in
            [(converted.config_digest, converted.config), (converted.manifest_digest, converted.manifest)]
        {
            brought.bytes(digest, bytes.into());
        }
        let digest = converted.manifest_digest;
        let inspected = inspected_for(&forms);
        Ok(Conversion { digest, manifest, inspected, brought: brought.digests(), labels })
    }

    /// The names that the caller sees and that hold the config whose hash an id is.
    pub(super) fn v1_names_with_config(
        &self,
        repository: &RepoKey,
        viewer: Viewer<'_>,
        id: &ImageId,
    ) -> Result<Vec<RepoName>> {
        let config = Digest::sha256(*id.as_bytes());
        let snapshot = self.snapshot()?;
        let mut holders = Vec::new();
        let prefix = prefix::holders(&config);
        snapshot
            .visit::<Holders>(&prefix, &prefix_end(&prefix), |(_, name), ()| {
                holders.push(name);
                holders.len() < NAMES_MAX
            })
            .map_err(Error::internal)?;
        let mut names = Vec::new();
        for name_id in holders {
            let name = snapshot.get::<NamesById>(&name_id).map_err(Error::internal)?;
            let seen = name.filter(|(key, name)| {
                key == repository && !name.is_waiting_room() && (viewer.may_read)(name)
            });
            names.extend(seen.map(|(_, name)| name));
        }
        Ok(names)
    }

    /// Makes the images that a manifest is to V1 clients, where the id is that of such a manifest's config, in the first
    /// of these names that has one. Says whether one has, also where somebody else was faster.
    pub(super) async fn v1_view_in(
        &self,
        repository: &RepoKey,
        names: impl IntoIterator<Item = RepoName> + Send,
        id: &ImageId,
    ) -> Result<bool> {
        let config = Digest::sha256(*id.as_bytes());
        let found = {
            let snapshot = self.snapshot()?;
            let mut found = None;
            for name in names {
                let Some(name_id) = name_id(&snapshot, repository, &name)? else { continue };
                if let Some((digest, manifest)) = with_config(&snapshot, name_id, &config)? {
                    found = Some((name, digest, manifest));
                    break;
                }
            }
            found
        };
        let Some((name, digest, manifest)) = found else { return Ok(false) };
        self.v1_add_view(repository, &name, digest, &manifest).await?;
        Ok(true)
    }

    /// Makes the images that a manifest is to V1 clients.
    async fn v1_add_view(
        &self,
        repository: &RepoKey,
        name: &RepoName,
        digest: Digest,
        manifest: &Manifest,
    ) -> Result<()> {
        let not = |why: &str| {
            Error::NotConvertible(format!("manifest {digest} can't be shown to V1 clients: {why}"))
        };
        let made = self.v1_images_made_of(digest, manifest)?;
        if made.len() > limits::IMAGE_CHAIN_MAX {
            return Err(Error::ChainTooDeep);
        }
        let mut brought = Brought::default();
        let (images, inspected) = self.v1_images_with_layers(digest, made, &mut brought).await?;
        let command = Command::AddView {
            repository: repository.clone(),
            name: name.clone(),
            manifest: digest,
            images,
            inspected,
            brought: brought.digests(),
        };
        match self.submit_brought(&Caller::system(Api::DockerV1), command, brought).await {
            Err(Error::ImageExists(id)) => {
                Err(not(&format!("another image {id} was pushed to repository name {name}")))
            }
            submitted => submitted.map(|_| ()),
        }
    }

    /// Images that are made of a manifest, each after its parent, with layers as V1 clients unpack them.
    async fn v1_images_with_layers(
        &self,
        digest: Digest,
        made: Vec<Made>,
        brought: &mut Brought,
    ) -> Result<(Vec<V1Image>, Vec<Inspected>)> {
        let mut forms: HashMap<Digest, LayerForm> = HashMap::default();
        let mut images: Vec<V1Image> = Vec::with_capacity(made.len());
        for (depth, Made { id, json, layer }) in (1..).zip(made) {
            let (layer, layer_size) = match layer {
                None => {
                    brought.bytes(empty_layer(), Bytes::from_static(&EMPTY_LAYER));
                    (empty_layer(), EMPTY_LAYER.len() as u64)
                }
                Some(layer) => {
                    let blob = self.snapshot()?.get::<Blobs>(&layer).map_err(Error::internal)?;
                    let blob = blob.ok_or_else(|| {
                        Error::NotConvertible(format!(
                            "manifest {digest} can't be shown to V1 clients: it has a layer that is not here"
                        ))
                    })?;
                    let form = match forms.get(&layer) {
                        Some(form) => *form,
                        None => self.as_v1_takes(&layer, blob.size, brought).await?,
                    };
                    forms.insert(layer, form);
                    (form.blob, form.blob_size)
                }
            };
            let json_digest = digest_of(Algorithm::Sha256, &json);
            let json_size = json.len() as u64;
            brought.bytes(json_digest, json);
            let parent = images.last().map(|parent| V1Parent { id: parent.id, json: parent.json });
            images.push(V1Image {
                id,
                parent,
                depth,
                json: json_digest,
                json_size,
                layer,
                layer_size,
                checksum: None,
                tarsum: None,
            });
        }
        Ok((images, inspected_for(&forms)))
    }

    /// The images that a manifest is to V1 clients, base first: those that it is made of itself (schema 1), or those that
    /// docker makes of its config.
    fn v1_images_made_of(&self, digest: Digest, manifest: &Manifest) -> Result<Vec<Made>> {
        let not = |why: &str| {
            Error::NotConvertible(format!("manifest {digest} can't be shown to V1 clients: {why}"))
        };
        let snapshot = self.snapshot()?;
        if media_type::is_schema1(&manifest.media_type) {
            let payload = self.bytes_of(&snapshot, &digest, manifest.size)?;
            let payload = payload.ok_or_else(|| not("its bytes are not here"))?;
            let images = schema1::images(&payload)?.into_iter();
            return Ok(images
                .map(|(checked, json, layer)| Made { id: checked.id, json: json.into(), layer: Some(layer) })
                .collect());
        }
        let config = manifest.config.as_ref().ok_or_else(|| not("it has no config"))?;
        if config.size > limits::IMAGE_JSON_BYTES_MAX as u64 {
            return Err(not("its config is too large for the JSON of an image"));
        }
        if manifest.layers.iter().any(|layer| layer.foreign) {
            return Err(not("it has a layer that is kept elsewhere"));
        }
        let config = self.bytes_of(&snapshot, &config.digest, config.size)?;
        let config = config.ok_or_else(|| not("its config is not here"))?;
        let made = from_v2(&config, manifest.layers.len())?.into_iter().map(|image| Made {
            id: image.id,
            json: image.json.into(),
            layer: image.layer.map(|layer| manifest.layers[layer].digest),
        });
        Ok(made.collect())
    }

    /// Makes the images of a manifest of schema 1, where that was not done yet: what they are called is not known before
    /// it was read.
    pub(super) async fn v1_view_schema1(
        &self,
        repository: &RepoKey,
        name: &RepoName,
        digest: Digest,
    ) -> Result<()> {
        let manifest = {
            let snapshot = self.snapshot()?;
            let Some(id) = name_id(&snapshot, repository, name)? else { return Ok(()) };
            if snapshot.get::<Views>(&(id, digest)).map_err(Error::internal)?.is_some() {
                return Ok(());
            }
            let row = snapshot.get::<Manifests>(&(id, digest)).map_err(Error::internal)?;
            match row.filter(|row| media_type::is_schema1(&row.manifest.media_type)) {
                Some(row) => row.manifest,
                None => return Ok(()),
            }
        };
        self.v1_add_view(repository, name, digest, &manifest).await
    }

    /// A layer as V1 clients unpack it: as it is, unless it is zstd, which no such client knows.
    async fn as_v1_takes(&self, layer: &Digest, size: u64, brought: &mut Brought) -> Result<LayerForm> {
        if self.compression(layer).await? == Compression::Zstd {
            return self.as_gzip(layer, size, brought).await;
        }
        Ok(LayerForm { diff_id: None, blob: *layer, blob_size: size, inspected: None })
    }

    /// A layer as gzip, and what is in it: as it was found out before, or as it is now.
    async fn as_gzip(&self, layer: &Digest, size: u64, brought: &mut Brought) -> Result<LayerForm> {
        let snapshot = self.snapshot()?;
        if let Some(row) = snapshot.get::<Layers>(layer).map_err(Error::internal)? {
            let (blob, blob_size) = row.packed.map_or((*layer, size), |packed| (packed.digest, packed.size));
            let kept = snapshot.get::<Blobs>(&blob).map_err(Error::internal)?;
            if kept.is_some_and(|kept| kept.holders > 0 && !kept.rotten) {
                let diff_id = Some(row.diff_id);
                return Ok(LayerForm { diff_id, blob, blob_size, inspected: None });
            }
        }
        drop(snapshot);
        if self.compression(layer).await? == Compression::Gzip {
            let bytes = self.open_layer(layer)?;
            let facts = self
                .unpacking(move |stop| {
                    let limits = InspectLimits { stop: Some(stop), ..InspectLimits::default() };
                    supercargo_layers::inspect(bytes, limits)
                })
                .await?
                .map_err(|e| unreadable(*layer, &e))?;
            let inspected = Inspected {
                layer: *layer,
                diff_id: facts.diff_id,
                unpacked_size: facts.uncompressed_size,
                packed: None,
            };
            return Ok(LayerForm {
                diff_id: Some(facts.diff_id),
                blob: *layer,
                blob_size: size,
                inspected: Some(inspected),
            });
        }
        self.pack(layer, brought).await
    }

    /// Packs a layer anew, by a recipe that always gives the same bytes.
    async fn pack(&self, layer: &Digest, brought: &mut Brought) -> Result<LayerForm> {
        let owner = packing();
        let session = brought.start_session(&self.blobs).await?;
        let bytes = self.open_layer(layer)?;
        let (sender, receiver) = mpsc::channel(2);
        let packer = self.unpacking(move |stop| {
            let limits = InspectLimits { stop: Some(stop), ..InspectLimits::default() };
            let mut pipe = Pipe { sender, piece: BytesMut::new() };
            let packed = supercargo_layers::repack(bytes, &mut pipe, limits);
            if packed.is_err() {
                pipe.fail();
            }
            packed
        });
        let pieces = Box::pin(stream::unfold(receiver, |mut receiver| async move {
            receiver.recv().await.map(|piece: io::Result<Bytes>| (piece, receiver))
        }));
        let (packed, kept) = tokio::join!(packer, self.blobs.append(&owner, session, None, pieces));
        let packed = packed?.map_err(|e| match (e, kept) {
            // Whoever was to keep it could not.
            (supercargo_layers::LayerError::Write(_), Err(kept)) => Error::from(kept),
            (e, _) => unreadable(*layer, &e),
        })?;
        brought.verified(packed.digest, self.blobs.verify(&owner, session, packed.digest).await?);
        let inspected = Inspected {
            layer: *layer,
            diff_id: packed.facts.diff_id,
            unpacked_size: packed.facts.uncompressed_size,
            packed: Some(PackedLayer { digest: packed.digest, size: packed.size }),
        };
        Ok(LayerForm {
            diff_id: Some(packed.facts.diff_id),
            blob: packed.digest,
            blob_size: packed.size,
            inspected: Some(inspected),
        })
    }
}

/// From a thread that may block to a stream.
struct Pipe {
    sender: mpsc::Sender<io::Result<Bytes>>,
    piece: BytesMut,
}

impl Pipe {
    /// The stream ends in an error.
    fn fail(&self) {
        // Nobody listens any more: as good.
        let _ = self.sender.blocking_send(Err(io::ErrorKind::BrokenPipe.into()));
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= PIECE_BYTES {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let piece = self.piece.split().freeze();
        self.sender.blocking_send(Ok(piece)).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

/// What was found out about layers, in the order of their digests.
fn inspected_for(forms: &HashMap<Digest, LayerForm>) -> Vec<Inspected> {
    let mut inspected: Vec<Inspected> = forms.values().filter_map(|form| form.inspected).collect();
    inspected.sort_unstable_by_key(|inspected| inspected.layer);
    inspected
}

/// Whether a name has the config and all layers of a manifest: they can be deleted by themselves.
fn has_parts(snapshot: &Snapshot, name: NameId, manifest: &Manifest) -> Result<bool> {
    for part in manifest.config.iter().chain(&manifest.layers) {
        let content = snapshot.get::<Contents>(&(name, part.digest)).map_err(Error::internal)?;
        let blob = snapshot.get::<Blobs>(&part.digest).map_err(Error::internal)?;
        if content.is_none_or(|content| !content.blob) || blob.is_none_or(|blob| blob.rotten) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The manifest in a name that is to V1 clients what an image is.
fn viewed_as(snapshot: &Snapshot, name: NameId, image: Digest) -> Result<Option<(Digest, Manifest)>> {
    let mut viewed = None;
    let prefix = prefix::references(name, &image);
    snapshot
        .visit::<References>(&prefix, &prefix_end(&prefix), |(_, _, source), kind| {
            if let (ReferenceKind::View, Source::Manifest(manifest)) = (kind, source) {
                viewed = Some(manifest);
            }
            viewed.is_none()
        })
        .map_err(Error::internal)?;
    let Some(digest) = viewed else { return Ok(None) };
    let row = snapshot.get::<Manifests>(&(name, digest)).map_err(Error::internal)?;
    Ok(row.map(|row| (digest, row.manifest)))
}

/// A manifest in a name that has this config and is no image's view yet.
fn with_config(snapshot: &Snapshot, name: NameId, config: &Digest) -> Result<Option<(Digest, Manifest)>> {
    let mut manifests = Vec::new();
    let prefix = prefix::references(name, config);
    snapshot
        .visit::<References>(&prefix, &prefix_end(&prefix), |(_, _, source), kind| {
            if let (ReferenceKind::Config, Source::Manifest(manifest)) = (kind, source) {
                manifests.push(manifest);
            }
            manifests.len() < MANIFESTS_MAX
        })
        .map_err(Error::internal)?;
    for digest in manifests {
        let viewed = snapshot.get::<Views>(&(name, digest)).map_err(Error::internal)?;
        let row = snapshot.get::<Manifests>(&(name, digest)).map_err(Error::internal)?;
        if let (None, Some(row)) = (viewed, row) {
            return Ok(Some((digest, row.manifest)));
        }
    }
    Ok(None)
}
