//! Promotion and migration: `POST api/docker/<key>/v1|v2/promote` and `…/v1/migrate`.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::{Deserialize, Deserializer, de};
use serde_json::json;
use supercargo_http::response;
use supercargo_model::account::Actions;
use supercargo_model::{RepoKey, RepoName, Tag};
use supercargo_registry::v1::{
    MayMigrate, MigratedTag, MigrationReport, MigrationRequest, MigrationStep, TagMigration,
};
use supercargo_registry::{Error, PromotionWish};

use crate::error::{Code, Failure};
use crate::gate::Admitted;
use crate::storage::reach;
use crate::{Asked, Surface, respond};

/// What a client asks to be promoted. Members that mean nothing here are passed over, and those that are null or empty are
/// not there.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Promotion {
    #[serde(default, deserialize_with = "filled")]
    target_repo: Option<RepoKey>,
    #[serde(default, deserialize_with = "filled")]
    docker_repository: Option<RepoName>,
    #[serde(default, deserialize_with = "filled")]
    target_docker_repository: Option<RepoName>,
    #[serde(default, deserialize_with = "filled")]
    tag: Option<Tag>,
    #[serde(default, deserialize_with = "filled")]
    target_tag: Option<Tag>,
    #[serde(default)]
    copy: Option<bool>,
}

/// What a client asks to be migrated.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Migration {
    #[serde(default, deserialize_with = "filled")]
    target_repo: Option<RepoKey>,
    #[serde(default, deserialize_with = "filled")]
    docker_repository: Option<RepoName>,
    #[serde(default, deserialize_with = "filled")]
    tag: Option<Tag>,
}

/// What a migration's query says.
#[derive(Debug, Deserialize)]
struct Forced {
    #[serde(default)]
    force: bool,
}

/// A text that is one of something, where it is not empty.
fn filled<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: std::str::FromStr<Err: std::fmt::Display>,
    D: Deserializer<'de>,
{
    let text = Option::<String>::deserialize(deserializer)?;
    let filled = text.filter(|text| !text.is_empty());
    filled.map(|text| text.parse().map_err(de::Error::custom)).transpose()
}

fn body<'b, T: Deserialize<'b>>(body: &'b [u8]) -> Result<T, Failure> {
    serde_json::from_slice(body)
        .map_err(|error| Failure::invalid(format!("the body is not understood: {error}")))
}

/// The repository that something comes into. The one that it comes from is there for whoever may read something of it, and the
/// other also for whoever may push something to it: to others they are not there, and nothing more is said.
fn target(surface: &Surface, asked: &Asked, from: &RepoKey, to: Option<RepoKey>) -> Result<RepoKey, Failure> {
    let to =
        to.ok_or_else(|| Failure::invalid("targetRepo is missing: say which repository it is to come into"))?;
    let admitted = &asked.admitted;
    for (key, known) in [(from, !admitted.reads_nothing_in(from)), (&to, admitted.knows(&to))] {
        if !known {
            return Err(absent(&asked.admitted, key, Error::RepositoryUnknown(key.clone())));
        }
        surface.registry.repository(key)?;
    }
    Ok(to)
}

/// What is said of what is not there, or not for them to see: who is not known hears that a login may help.
fn absent(admitted: &Admitted, repository: &RepoKey, unknown: Error) -> Failure {
    match admitted.absent(repository, Code::NotFound) {
        failure if failure.code() == Code::NotFound => unknown.into(),
        failure => failure,
    }
}

/// Promotes a tag, a name or, without a name, all that the caller sees of a repository.
pub(crate) async fn promote(surface: &Surface, asked: &Asked, from: &RepoKey) -> Result<Response, Failure> {
    let asked_for: Promotion = body(&asked.body)?;
    let to = target(surface, asked, from, asked_for.target_repo)?;
    // As the vendor's: it is moved where nothing else is said.
    let copy = asked_for.copy.unwrap_or(false);
    let named = asked_for.docker_repository;
    let wish = PromotionWish {
        name: named.clone(),
        to_name: asked_for.target_docker_repository,
        tag: asked_for.tag,
        to_tag: asked_for.target_tag,
    };
    let (registry, admitted) = (Arc::clone(&surface.registry), asked.admitted.clone());
    let (source, target) = (from.clone(), to.clone());
    // Of a whole repository this is about any number of names.
    let wanted = respond::blocking(move || {
        let mut wanted = registry.to_promote(&source, wish, |name| admitted.may_read(&source, name))?;
        wanted.names.retain(|(name, _)| admitted.may_read(&source, name));
        if let Some(name) = named.filter(|_| wanted.names.is_empty()) {
            return Err(absent(&admitted, &source, Error::NameUnknown(name)));
        }
        for (name, to_name) in &wanted.names {
            check(&admitted, (&source, name), (&target, to_name), copy)?;
        }
        // What is overwritten is gone.
        wanted.overwriting =
            reach(&admitted, &target, |rights, key, name| rights.allow(key, name, Actions::DELETE));
        Ok(wanted)
    });
    let wanted = wanted.await?;
    let promoted = surface.registry.promote(&asked.admitted.caller, (from, &to), wanted, copy).await;
    promoted.map_err(|error| match error {
        Error::TagForbidden { .. } => asked.admitted.forbidden().message(error.to_string()),
        error => error.into(),
    })?;
    Ok(respond::text(StatusCode::OK, "Promotion ended successfully"))
}

/// Whether the caller may take from the one name, which they may read, and put into the other.
fn check(
    admitted: &Admitted,
    (from, name): (&RepoKey, &RepoName),
    (to, to_name): (&RepoKey, &RepoName),
    copy: bool,
) -> Result<(), Failure> {
    let takes = copy || admitted.may(from, name, Actions::DELETE);
    if takes && admitted.may(to, to_name, Actions::WRITE) { Ok(()) } else { Err(admitted.forbidden()) }
}

/// In which form a migration is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Text,
    Json,
    /// How far it is, while it goes on.
    Lines,
}

impl Form {
    fn of(headers: &HeaderMap) -> Form {
        let accepts = |media_type: &str| {
            let lists = headers.get_all(header::ACCEPT).iter().filter_map(|list| list.to_str().ok());
            lists.flat_map(|list| list.split(',')).any(|range| {
                range.split(';').next().is_some_and(|range| range.trim().eq_ignore_ascii_case(media_type))
            })
        };
        if accepts("application/x-ndjson") {
            Form::Lines
        } else if accepts("application/json") {
            Form::Json
        } else {
            Form::Text
        }
    }
}

/// Migrates a tag, a name or all that is in a repository of version V1 into one of V2.
pub(crate) async fn migrate(surface: &Surface, asked: &Asked, from: &RepoKey) -> Result<Response, Failure> {
    let asked_for: Migration = body(&asked.body)?;
    let to = target(surface, asked, from, asked_for.target_repo)?;
    if asked_for.tag.is_some() && asked_for.docker_repository.is_none() {
        return Err(Failure::invalid("tag goes with dockerRepository: say of which name it is"));
    }
    let registry = &surface.registry;
    let Forced { force } = asked.parameters()?;
    // What is overwritten by force is gone.
    let needed = if force { Actions::WRITE.or(Actions::DELETE) } else { Actions::WRITE };
    let admitted = asked.admitted.clone();
    let named = asked_for.docker_repository;
    let sees = |name: &RepoName| admitted.may_read(from, name);
    let name = named.as_ref().map(|name| registry.name_meant(from, name, sees)).transpose()?;
    if let (Some(named), Some(name)) = (named, &name) {
        if !admitted.may_read(from, name) {
            return Err(absent(&admitted, from, Error::NameUnknown(named)));
        }
        if !admitted.may(&to, name, needed) {
            return Err(admitted.forbidden());
        }
    }
    let request = MigrationRequest { from: from.clone(), to: to.clone(), name, tag: asked_for.tag, force };
    let source = from.clone();
    let may = move |name: &RepoName| match (admitted.may_read(&source, name), admitted.may(&to, name, needed))
    {
        (false, _) => MayMigrate::Hidden,
        (true, false) => MayMigrate::No,
        (true, true) => MayMigrate::Yes,
    };
    let mut steps = registry.migrating(asked.admitted.caller.clone(), request, may);
    let form = Form::of(&asked.parts.headers);
    if form == Form::Lines {
        let first = steps.next().await.transpose()?;
        let steps = stream::iter(first).map(Ok).chain(steps);
        let lines = steps.map(|step| {
            let value = match step {
                Ok(MigrationStep::Progress(progress)) => json!({ "progress": progress }),
                Ok(MigrationStep::Finished(report)) => report_json(&report),
                Err(error) => Failure::from(error).body(),
            };
            Ok::<_, std::convert::Infallible>(Bytes::from(format!("{value}\n")))
        });
        let mut response = response::with_body(StatusCode::OK, Body::from_stream(lines));
        let ndjson = HeaderValue::from_static("application/x-ndjson");
        response.headers_mut().insert(header::CONTENT_TYPE, ndjson);
        return Ok(response);
    }
    while let Some(step) = steps.next().await {
        if let MigrationStep::Finished(report) = step? {
            let status = if report.progress.failed > 0 { StatusCode::CONFLICT } else { StatusCode::OK };
            return match form {
                Form::Json => respond::json(status, respond::content_type::JSON, &report_json(&report)),
                Form::Text | Form::Lines => Ok(respond::text(status, report_text(&report))),
            };
        }
    }
    Err(Failure::internal("a migration ended without a report"))
}

fn report_json(report: &MigrationReport) -> serde_json::Value {
    let tags = |tags: &[MigratedTag]| -> Vec<serde_json::Value> {
        let shown = tags.iter().map(|MigratedTag { name, tag, outcome }| match outcome {
            TagMigration::Migrated(digest) | TagMigration::Unchanged(digest) => {
                json!({ "repo": name, "tag": tag, "digest": digest })
            }
            TagMigration::Failed(reason) => json!({ "repo": name, "tag": tag, "reason": reason }),
        });
        shown.collect()
    };
    json!({
        "migrated": tags(&report.migrated),
        "unchanged": tags(&report.unchanged),
        "failed": tags(&report.failed),
        "counts": report.progress,
    })
}

fn report_text(report: &MigrationReport) -> String {
    let progress = report.progress;
    let outcome = if progress.failed > 0 { "ended, but not for all tags" } else { "ended successfully" };
    let mut text = format!(
        "Migration {outcome}: {} migrated, {} unchanged, {} failed\n",
        progress.migrated, progress.unchanged, progress.failed
    );
    for MigratedTag { name, tag, outcome } in &report.failed {
        if let TagMigration::Failed(reason) = outcome {
            // Writing to a text can't fail.
            let _ = writeln!(text, "{name}:{tag}: {reason}");
        }
    }
    text
}
