//! Images of manifests, and manifests of images.
//!
//! What a V1 client pushed into a repository that speaks both protocols becomes a manifest as its tag is set; what a
//! V2 client pushed becomes images when a V1 client first asks for them. Both are pure functions of what was pushed
//! (`supercargo_model::v1`), and both are recorded with the link between them, so that neither is ever made again.

use std::io::{self, Write};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::stream;
use supercargo_blobs::Verified;
use supercargo_eventlog::{Api, PackedLayer, V1Image, V1Parent};
use supercargo_layers::{Compression, InspectLimits};
use supercargo_model::v1::{
    ChainImage, ConvertError, EMPTY_LAYER, Form, empty_layer, from_v2, schema1, to_v2,
};
use supercargo_model::{Algorithm, Digest, ImageId, Manifest, RepoKey, RepoName, limits, media_type};
use supercargo_projections::tables::{
    Blobs, Holders, Layers, Manifests, NameId, NamesById, ReferenceKind, References, Source, Views, prefix,
};
use supercargo_projections::{Snapshot, prefix_end};
use tokio::sync::mpsc;

use super::layers::unreadable;
use super::{V1ImageInfo, Viewer};
use crate::command::{Command, Conversion, Inspected};
use crate::ledger::Payload;
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
struct LayerForm {
    diff_id: Option<Digest>,
    blob: Digest,
    blob_size: u64,
    /// What was found out for it.
    inspected: Option<Inspected>,
    /// The bytes, where they are new.
    payload: Option<Payload>,
}

/// An image that was made of a manifest.
struct Made {
    id: ImageId,
    json: Bytes,
    /// None where it has the empty one.
    layer: Option<Digest>,
}

/// What goes to the writer with a command.
#[derive(Default)]
struct Brought {
    payloads: Vec<Payload>,
    /// All that is in them.
    digests: Vec<Digest>,
    /// Those of it that are files by now.
    files: Vec<Digest>,
}

impl Brought {
    fn add(&mut self, digest: Digest, payload: Payload) {
        if matches!(payload, Payload::File(_)) {
            self.files.push(digest);
        }
        self.digests.push(digest);
        self.payloads.push(payload);
    }
}

impl From<ConvertError> for Error {
    fn from(error: ConvertError) -> Error {
        Error::NotConvertible(error.to_string())
    }
}

impl Registry {
    /// What an image is to V2 clients, for a tag in `name`: what it was before, or what it is converted to now. `chain`:
    /// the image, and those that it was made from. Answers
    /// also with the bytes, and with those of them that are files by now.
    pub(super) async fn v1_convert(
        &self,
        repository: &RepoKey,
        name: &RepoName,
        chain: &[V1ImageInfo],
    ) -> Result<(Conversion, Payload, Vec<Digest>)> {
        let snapshot = self.snapshot()?;
        let target = name_id(&snapshot, repository, name)?;
        let top = chain.first();
        for (id, json) in top
            .iter()
            .flat_map(|top| [target, Some(top.name_id)].into_iter().flatten().map(|id| (id, top.image.json)))
        {
            if let Some((digest, manifest)) = viewed_as(&snapshot, id, json)? {
                let conversion = Conversion { digest, manifest, inspected: Vec::new(), brought: Vec::new() };
                return Ok((conversion, Payload::None, Vec::new()));
            }
        }
        let (mut brought, mut inspected) = (Brought::default(), Vec::new());
        let mut parts = Vec::with_capacity(chain.len());
        for V1ImageInfo { image, .. } in chain.iter().rev() {
            let json = self.bytes_of(&snapshot, &image.json, image.json_size)?;
            let json = json.ok_or(Error::ImageUnknown(image.id))?;
            let form = self.as_gzip(&image.layer, image.layer_size).await?;
            let diff_id =
                form.diff_id.ok_or_else(|| Error::Internal("a layer without its diff id".to_owned()))?;
            inspected.extend(form.inspected);
            if let Some(payload) = form.payload {
                brought.add(form.blob, payload);
            }
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
        for (digest, bytes) in
            [(converted.config_digest, converted.config), (converted.manifest_digest, converted.manifest)]
        {
            let payload = self.payload_of(digest, bytes.into(), &mut Vec::new()).await?;
            brought.add(digest, payload);
        }
        let Brought { payloads, digests, files } = brought;
        let conversion =
            Conversion { digest: converted.manifest_digest, manifest, inspected, brought: digests };
        Ok((conversion, Payload::Many(payloads), files))
    }

    /// Makes the images that a manifest is to V1 clients, where the id is that of such a manifest's config, in a name
    /// that the caller sees. Says whether it did, or somebody else before.
    pub(super) async fn v1_view_by_id(
        &self,
        repository: &RepoKey,
        viewer: Viewer<'_>,
        id: &ImageId,
    ) -> Result<bool> {
        let config = Digest::sha256(*id.as_bytes());
        let found = {
            let snapshot = self.snapshot()?;
            let mut names: Vec<(NameId, RepoName)> = Vec::new();
            if let Some(name) = viewer.name
                && let Some(name_id) = name_id(&snapshot, repository, name)?
            {
                names.push((name_id, name.clone()));
            }
            let mut holders = Vec::new();
            let prefix = prefix::holders(&config);
            snapshot
                .visit::<Holders>(&prefix, &prefix_end(&prefix), |(_, name), ()| {
                    holders.push(name);
                    holders.len() < NAMES_MAX
                })
                .map_err(Error::internal)?;
            for name_id in holders {
                let name = snapshot.get::<NamesById>(&name_id).map_err(Error::internal)?;
                names.extend(
                    name.filter(|(key, name)| {
                        key == repository && !name.is_waiting_room() && (viewer.may_read)(name)
                    })
                    .map(|(_, name)| (name_id, name)),
                );
            }
            let mut found = None;
            for (name_id, name) in names {
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
        let (mut brought, mut inspected) = (Brought::default(), Vec::new());
        let mut images: Vec<V1Image> = Vec::with_capacity(made.len());
        for (depth, Made { id, json, layer }) in (1..).zip(made) {
            let (layer, layer_size) = match layer {
                None => {
                    let bytes = Bytes::from_static(&EMPTY_LAYER);
                    let size = bytes.len() as u64;
                    brought.add(empty_layer(), Payload::Small(empty_layer(), bytes));
                    (empty_layer(), size)
                }
                Some(layer) => {
                    let blob = self.snapshot()?.get::<Blobs>(&layer).map_err(Error::internal)?;
                    let blob = blob.ok_or_else(|| not("it has a layer that is not here"))?;
                    let form = self.as_v1_takes(&layer, blob.size).await?;
                    inspected.extend(form.inspected);
                    if let Some(payload) = form.payload {
                        brought.add(form.blob, payload);
                    }
                    (form.blob, form.blob_size)
                }
            };
            let json_digest = digest_of(Algorithm::Sha256, &json);
            let json_size = json.len() as u64;
            let payload = self.payload_of(json_digest, json, &mut Vec::new()).await?;
            brought.add(json_digest, payload);
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
        let Brought { payloads, digests, files } = brought;
        let command = Command::AddView {
            repository: repository.clone(),
            name: name.clone(),
            manifest: digest,
            images,
            inspected,
            brought: digests,
        };
        let caller = Caller::system(Api::DockerV1);
        let submitted = self.ledger.submit(&caller, command, Payload::Many(payloads)).await;
        if submitted.as_ref().is_err_and(Error::is_refusal) {
            // No record will ever mention what was stored for it.
            for digest in files {
                self.remove_unmentioned(digest).await?;
            }
        }
        match submitted {
            Err(Error::ImageExists(id)) => {
                Err(not(&format!("another image {id} was pushed to repository name {name}")))
            }
            submitted => submitted.map(|_| ()),
        }
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
    async fn as_v1_takes(&self, layer: &Digest, size: u64) -> Result<LayerForm> {
        if self.compression(layer).await? == Compression::Zstd {
            return self.as_gzip(layer, size).await;
        }
        Ok(LayerForm { diff_id: None, blob: *layer, blob_size: size, inspected: None, payload: None })
    }

    /// A layer as gzip, and what is in it: as it was found out before, or as it is now.
    async fn as_gzip(&self, layer: &Digest, size: u64) -> Result<LayerForm> {
        let snapshot = self.snapshot()?;
        if let Some(row) = snapshot.get::<Layers>(layer).map_err(Error::internal)? {
            let (blob, blob_size) = row.packed.map_or((*layer, size), |packed| (packed.digest, packed.size));
            let kept = snapshot.get::<Blobs>(&blob).map_err(Error::internal)?;
            if kept.is_some_and(|kept| kept.holders > 0 && !kept.rotten) {
                let diff_id = Some(row.diff_id);
                return Ok(LayerForm { diff_id, blob, blob_size, inspected: None, payload: None });
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
                payload: None,
            });
        }
        self.pack(layer).await
    }

    /// Packs a layer anew, by a recipe that always gives the same bytes.
    async fn pack(&self, layer: &Digest) -> Result<LayerForm> {
        let owner = format!("{}/packing", RepoName::waiting_room(None));
        let session = self.blobs.start(&owner, Algorithm::Sha256).await?;
        let packed = self.pack_into(&owner, session, layer).await;
        if let Err(e) = self.blobs.discard(&owner, session).await {
            tracing::debug!(error = %e, "what is left of packing a layer was not removed");
        }
        packed
    }

    async fn pack_into(&self, owner: &str, session: uuid::Uuid, layer: &Digest) -> Result<LayerForm> {
        let bytes = self.open_layer(layer)?;
        let (sender, receiver) = mpsc::channel(2);
        let packing = self.unpacking(move |stop| {
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
        let (packed, kept) = tokio::join!(packing, self.blobs.append(owner, session, None, pieces));
        let packed = packed?.map_err(|e| match (e, kept) {
            // Whoever was to keep it could not.
            (supercargo_layers::LayerError::Write(_), Err(kept)) => Error::from(kept),
            (e, _) => unreadable(*layer, &e),
        })?;
        let payload = match self.blobs.verify(owner, session, packed.digest).await? {
            Verified::Small(bytes) => Payload::Small(packed.digest, bytes),
            Verified::Large(large) => {
                Payload::File(Arc::new(self.blobs.publish(large, self.existing(&packed.digest)?).await?))
            }
        };
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
            payload: Some(payload),
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
