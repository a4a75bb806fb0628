//! What somebody is told who asks how to use a repository: the guide to it, to whoever may see something of it.

use axum::response::Response;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use supercargo_http::request;
use supercargo_model::RepoKey;

use super::ways::Address;
use super::{Client, Subject, guide};
use crate::error::{Code, Failure};
use crate::proxy::Repository;
use crate::respond::{self, content_type};
use crate::{Asked, Surface};

/// The parameters of a guide.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Parameters {
    /// The client that it is for. Else it is for all that can use the repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<Client>,
    /// In which form it is wanted.
    pub format: Format,
}

/// The form of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Text.
    #[default]
    Text,
    /// JSON.
    Json,
}

/// The guide to a repository.
///
/// # Errors
/// Not found, where there is none for the caller to see; invalid, for parameters that can't be.
pub(crate) async fn answer(surface: &Surface, asked: &Asked, key: &RepoKey) -> Result<Response, Failure> {
    let Parameters { client, format } = asked.parameters()?;
    let (settings, admitted) = (&surface.settings, &asked.admitted);
    if admitted.reads_nothing_in(key) && !admitted.is_administrator() {
        return Err(Failure::new(Code::NotFound));
    }
    let api = request::base_url(&asked.parts);
    let Some(address) = Address::of_url(&api) else {
        return Err(Failure::invalid("name the host that you ask: the guide says how it is reached"));
    };
    let repositories = surface.registry.repositories()?;
    let repositories: Vec<_> =
        repositories.into_iter().map(|it| Repository::of(it.key, &it.config)).collect();
    let subject = Subject::new(&settings.reached, (address, &api), &settings.context, &repositories, key);
    let mut subject = subject.ok_or_else(|| supercargo_registry::Error::RepositoryUnknown(key.clone()))?;
    if let Some(file) = settings.reached.authority_of(&subject) {
        let read = tokio::fs::read_to_string(file).await;
        subject.authority = Some(read.map_err(|error| Failure::internal(error.to_string()))?);
    }
    subject.accounts = settings.authority.is_some();
    subject.user = admitted.identity.name().map(ToString::to_string);
    let guide = guide(&subject, client);
    match format {
        Format::Text => Ok(respond::text(StatusCode::OK, guide.to_string())),
        Format::Json => respond::json(StatusCode::OK, content_type::JSON, &guide),
    }
}
