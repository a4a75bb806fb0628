//! Tags (the V1 specification, 6.2 and 8).

use std::collections::BTreeMap;

use axum::response::Response;
use supercargo_http::response::warn;
use supercargo_model::v1::TagJson;
use supercargo_model::{ImageId, Reference, Tag};
use supercargo_registry::{Condition, Error, Notice};

use crate::error::{Code, Failure};
use crate::gate::Admitted;
use crate::{Surface, base};

/// What is meant where no tag is named.
const DEFAULT: &str = "latest";

/// `GET /v1/repositories/<name>/tags`
pub(crate) async fn list(surface: &Surface, admitted: &Admitted) -> Result<Response, Failure> {
    let tags = surface.registry.v1_tags(surface.repository(), admitted.name()?).await?;
    let tags: BTreeMap<&str, &ImageId> = tags.iter().map(|(tag, id)| (tag.as_str(), id)).collect();
    crate::json(&tags)
}

/// `GET /v1/repositories/<name>/tags/<tag>`
pub(crate) async fn get(surface: &Surface, admitted: &Admitted, tag: &Tag) -> Result<Response, Failure> {
    let id = surface.registry.v1_tag(surface.repository(), admitted.name()?, tag).await;
    crate::json(&id.map_err(|error| match error {
        Error::NameUnknown(_) => Failure::new(Code::TagUnknown),
        // It stands for something, and for nothing that this client could pull.
        error => Failure::reading(error, Code::TagUnknown),
    })?)
}

/// `PUT /v1/repositories/<name>/tags/<tag>`
pub(crate) async fn set(
    surface: &Surface,
    admitted: &Admitted,
    tag: &Tag,
    sent: &[u8],
) -> Result<Response, Failure> {
    let id: String = serde_json::from_slice(sent).map_err(|_| Failure::new(Code::DataInvalid))?;
    if id.is_empty() {
        return Err(Failure::new(Code::DataInvalid));
    }
    // What can be no image's id is no image's id.
    let id = ImageId::parse(&id).map_err(|_| Failure::new(Code::ImageUnknown))?;
    let (registry, name) = (&surface.registry, admitted.name()?);
    registry.v1_set_tag(surface.repository(), admitted.viewer(), name, tag, &id).await?;
    Ok(base::done())
}

/// `DELETE /v1/repositories/<name>/tags/<tag>`
pub(crate) async fn delete(surface: &Surface, admitted: &Admitted, tag: &Tag) -> Result<Response, Failure> {
    let reference = Reference::Tag(tag.clone());
    let (repository, name) = (surface.repository(), admitted.name()?);
    let deleted = surface
        .registry
        .delete_manifest(&admitted.caller, repository, name, &reference, &Condition::default())
        .await;
    deleted.map_err(|error| match error {
        Error::ManifestUnknown(_) | Error::NameUnknown(_) | Error::TagUnknown(_) => {
            Failure::new(Code::TagUnknown).message(format!("{}: {tag}", Code::TagUnknown.message()))
        }
        error => error.into(),
    })?;
    let mut response = base::done();
    warn(response.headers_mut(), &[Notice::Deleted]);
    Ok(response)
}

/// `GET /v1/repositories/<name>/tags/<tag>/json`
pub(crate) fn get_json(surface: &Surface, admitted: &Admitted, tag: &Tag) -> Result<Response, Failure> {
    crate::json(&told(surface, admitted, tag)?)
}

/// `GET /v1/repositories/<name>/json`: of the tag that is meant where none is named.
pub(crate) fn get_repository_json(surface: &Surface, admitted: &Admitted) -> Result<Response, Failure> {
    let tag = Tag::parse(DEFAULT).map_err(|e| Failure::internal(e.to_string()))?;
    match told(surface, admitted, &tag) {
        Err(Error::TagUnknown(_)) => crate::json(&TagJson::unset()),
        told => crate::json(&told?),
    }
}

fn told(surface: &Surface, admitted: &Admitted, tag: &Tag) -> Result<TagJson, Error> {
    let name = admitted.name().map_err(|_| Error::TagUnknown(tag.clone()))?;
    let (at, user_agent) = surface.registry.v1_tag_origin(surface.repository(), name, tag)?;
    Ok(TagJson::set(at, user_agent.as_deref().unwrap_or_default()))
}
