//! The operations over HTTP: paths, parameters, and what is streamed.
//!
//! Where the server has accounts, `gate` says who may. A browser that a foreign page tells to may not: a request with
//! an Origin that changes something is refused.

mod accounts;
mod gate;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::body::Body;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{FromRequestParts, Path, Query, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, patch, post};
use axum::{Json, Router};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::request::Parts;
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use serde::de::DeserializeOwned;
use supercargo_access::{Authority, Passwords};
use supercargo_eventlog::{Actor, Api, Follower, Log, LogError, Record, RepositoryConfig};
use supercargo_http::request;
use supercargo_model::RepoKey;
use supercargo_model::account::{Grant, UserName};
use supercargo_registry::{Caller, Error, Inspection, Registry};

use self::gate::Admitted;
use crate::api::{
    GcParameters, InspectParameters, ItemParameters, LogQuery, MigrationParameters, NameParameters,
    NamesParameters, PromotionParameters, PropertiesChange, PruneParameters, RangeParameters,
    RemoveParameters, RepositoryChange, ScrubParameters, TagParameters, TagsParameters, TreeParameters,
    VerifyParameters,
};
use crate::error::Refusal;
use crate::ops;

/// Where everything is.
pub const BASE: &str = "/api/supercargo/v1";

/// Records that one piece of an export holds.
const EXPORT_RECORDS: u64 = 512;

/// What is gathered of a search before it is sent, in bytes, and how many such pieces may wait for the client.
const FOUND_BYTES: usize = 16 * 1024;
const FOUND_WAITING: usize = 4;

const NDJSON: HeaderValue = HeaderValue::from_static("application/x-ndjson");

type Shared = State<Arc<Admin>>;
type Answer<T> = Result<Json<T>, Refusal>;

/// What every handler works with.
struct Admin {
    registry: Arc<Registry>,
    authority: Option<Arc<Authority>>,
}

impl Admin {
    /// What hashes passwords.
    fn passwords(&self) -> Result<&Passwords, Refusal> {
        self.authority.as_ref().map(|authority| authority.passwords()).ok_or_else(|| {
            let message = "this server has no accounts: it is served without access control";
            Refusal::new(StatusCode::CONFLICT, "conflict", message)
        })
    }
}

/// A router for everything below [`BASE`]. Where there is an authority, for administrators and managers alone.
pub fn router(registry: Arc<Registry>, authority: Option<Arc<Authority>>) -> Router {
    let admin = Arc::new(Admin { registry, authority });
    let api = Router::new()
        .route("/log", get(log_page))
        .route("/log/export", get(log_export))
        .route("/log/follow", get(log_follow))
        .route("/log/{seq}", get(log_record))
        .route("/gc", post(gc))
        .route("/prune", post(prune))
        .route("/sweep", post(sweep))
        .route("/scrub", post(scrub))
        .route("/verify", post(verify))
        .route("/search", post(search))
        .route("/repositories", get(repositories))
        .route(
            "/repositories/{key}",
            get(repository).put(create_repository).patch(configure_repository).delete(remove_repository),
        )
        .route("/repositories/{key}/names", get(names).delete(delete_name))
        .route("/repositories/{key}/tree", get(tree).delete(delete_item))
        .route("/repositories/{key}/item", get(item))
        .route("/repositories/{key}/properties", patch(change_properties))
        .route("/repositories/{key}/tags", get(tags))
        .route("/repositories/{key}/history", get(tag_history))
        .route("/repositories/{key}/inspect", get(inspect))
        .route("/repositories/{key}/promote", post(promote))
        .route("/repositories/{key}/migrate", post(migrate))
        .merge(accounts::routes())
        .fallback(async || Refusal::new(StatusCode::NOT_FOUND, "not_found", "there is no such endpoint"))
        .method_not_allowed_fallback(async || {
            Refusal::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "the endpoint does not have that method",
            )
        })
        .layer(middleware::from_fn_with_state(Arc::clone(&admin), gate::admit))
        .layer(middleware::from_fn(refuse_foreign_pages))
        .with_state(admin);
    Router::new().nest(BASE, api)
}

async fn refuse_foreign_pages(request: Request, next: Next) -> Response {
    if supercargo_http::request::is_of_a_foreign_page(request.method(), request.headers()) {
        let message = "requests from pages of other origins are not taken";
        return Refusal::new(StatusCode::FORBIDDEN, "forbidden", message).into_response();
    }
    next.run(request).await
}

/// Parameters of a request, with refusals in this surface's shape.
struct Parameters<T>(T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Parameters<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Parameters<T>, Refusal> {
        let parameters: Result<Query<T>, QueryRejection> = Query::from_request_parts(parts, state).await;
        parameters
            .map(|Query(parameters)| Parameters(parameters))
            .map_err(|e| Refusal::invalid(e.body_text()))
    }
}

/// A repository's key in the path.
struct Key(RepoKey);

impl<S: Send + Sync> FromRequestParts<S> for Key {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Key, Refusal> {
        let Path(key) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|e| Refusal::invalid(e.body_text()))?;
        RepoKey::parse(&key).map(Key).map_err(Refusal::invalid)
    }
}

/// Who is asking.
struct Asking(Caller);

/// Who was let in, or nobody in particular where there is no access control.
struct Who(Option<Admitted>);

impl Who {
    /// Whether they may do everything.
    fn is_administrator(&self) -> bool {
        self.0.as_ref().is_none_or(|admitted| admitted.administrator)
    }

    /// Their name, where a user that the registry knows is an administrator by that name, and not by the word of an
    /// identity provider.
    fn recorded(&self, registry: &Registry) -> Result<Option<UserName>, Refusal> {
        let Some(Admitted { actor: Actor::User(name), .. }) = &self.0 else { return Ok(None) };
        let Ok(name) = UserName::parse(name) else { return Ok(None) };
        Ok(is_administrator(registry, &name)?.then_some(name))
    }

    /// Whether permissions like this one are theirs to see, give and take away.
    fn may_grant(&self, grant: &Grant) -> bool {
        self.0.as_ref().is_none_or(|admitted| admitted.may_grant(grant))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Who {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Who, Self::Rejection> {
        Ok(Who(parts.extensions.get::<Admitted>().cloned()))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Asking {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Asking, Self::Rejection> {
        let actor = parts.extensions.get::<Admitted>().map_or(Actor::Anonymous, |who| who.actor.clone());
        Ok(Asking(request::caller(parts, Api::Admin, actor)))
    }
}

fn is_administrator(registry: &Registry, name: &UserName) -> Result<bool, Error> {
    Ok(registry.user(name)?.is_some_and(|user| user.administrator && !user.disabled))
}

/// Runs what blocks away from the async threads.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let outcome = tokio::task::spawn_blocking(work).await;
    outcome.unwrap_or_else(|e| Err(Error::Internal(e.to_string())))
}

fn body<T>(json: Result<Json<T>, JsonRejection>) -> Result<T, Refusal> {
    json.map(|Json(body)| body).map_err(|e| Refusal::invalid(e.body_text()))
}

async fn log_page(
    State(admin): Shared,
    Parameters(query): Parameters<LogQuery>,
) -> Answer<crate::api::LogPage> {
    let registry = Arc::clone(&admin.registry);
    answer(blocking(move || ops::log_page(registry.log(), &query)).await)
}

async fn log_record(State(admin): Shared, Path(seq): Path<String>) -> Answer<Record> {
    let registry = Arc::clone(&admin.registry);
    let seq =
        seq.parse().map_err(|_| Refusal::invalid(format!("{seq:?} is no seq: it is a number from 0 on")))?;
    answer(blocking(move || ops::log_record(registry.log(), seq)).await)
}

async fn log_export(
    State(admin): Shared,
    Parameters(range): Parameters<RangeParameters>,
) -> Result<Response, Refusal> {
    let registry = Arc::clone(&admin.registry);
    let size = registry.log().size().map_err(|e| Error::Internal(e.to_string()))?;
    let (from, to) = (range.from.unwrap_or(0), range.to.unwrap_or(size).min(size));
    // A piece at a time: what is exported is never in memory as a whole.
    let pieces = stream::try_unfold(from, move |at| {
        let registry = Arc::clone(&registry);
        async move {
            if at >= to {
                return Ok::<_, std::io::Error>(None);
            }
            let end = to.min(at + EXPORT_RECORDS);
            let read = move || {
                let records: Vec<Record> = registry.log().read(at..end)?.collect::<Result<_, LogError>>()?;
                Ok::<_, LogError>(lines(&records))
            };
            let piece = tokio::task::spawn_blocking(read).await.map_err(broken)?;
            Ok(Some((piece.map_err(broken)?, end)))
        }
    });
    Ok(([(header::CONTENT_TYPE, NDJSON)], Body::from_stream(pieces)).into_response())
}

async fn log_follow(
    State(admin): Shared,
    who: Who,
    Parameters(range): Parameters<RangeParameters>,
) -> Result<Response, Refusal> {
    let registry = Arc::clone(&admin.registry);
    let follows = who.recorded(&registry)?;
    let size = registry.log().size().map_err(|e| Error::Internal(e.to_string()))?;
    let follower = registry.log().follow(range.from.unwrap_or(size));
    let pieces = stream::try_unfold(
        (follower, registry, follows),
        |(mut follower, registry, follows): (Follower, Arc<Registry>, Option<UserName>)| async {
            tokio::select! {
                batch = follower.next_batch() => {
                    let batch = batch.map_err(broken)?;
                    // Whoever is no administrator any more hears no more.
                    if let Some(name) = &follows
                        && !is_administrator(&registry, name).map_err(broken)?
                    {
                        return Ok(None);
                    }
                    Ok::<_, std::io::Error>(Some((lines(&batch), (follower, registry, follows))))
                }
                // The server stops: so does this.
                () = registry.closing() => Ok(None),
            }
        },
    );
    Ok(([(header::CONTENT_TYPE, NDJSON)], Body::from_stream(pieces)).into_response())
}

/// What is asked for could not be read in the middle of an answer: it ends there, visibly, as what is left of it is not
/// sent.
fn broken(error: impl std::fmt::Display) -> std::io::Error {
    tracing::error!(%error, "an answer could not be finished");
    std::io::Error::other("the answer could not be finished")
}

/// Records as lines of JSON.
fn lines(records: &[Record]) -> Bytes {
    let mut out = Vec::with_capacity(records.len() * 400);
    for record in records {
        // Records are plain data, and a Vec takes any number of bytes.
        if serde_json::to_writer(&mut out, record).is_ok() {
            out.push(b'\n');
        }
    }
    Bytes::from(out)
}

async fn search(
    State(admin): Shared,
    query: Result<Json<supercargo_registry::search::Query>, JsonRejection>,
) -> Result<Response, Refusal> {
    let Json(query) = query.map_err(|e| Refusal::invalid(e.body_text()))?;
    let registry = Arc::clone(&admin.registry);
    let mut walk = registry.walks().begin().await?;
    let (to, mut found) = tokio::sync::mpsc::channel(FOUND_WAITING);
    tokio::task::spawn_blocking(move || {
        let mut piece = Vec::new();
        let searched = ops::search(&registry, &query, &|| to.is_closed(), |item| {
            // Items are plain data, and a Vec takes any number of bytes.
            if serde_json::to_writer(&mut piece, &item).is_ok() {
                piece.push(b'\n');
            }
            if piece.len() < FOUND_BYTES {
                return ControlFlow::Continue(());
            }
            let found = Ok(Bytes::from(std::mem::take(&mut piece)));
            match walk.pause(|| to.blocking_send(found)) {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            }
        });
        // Nobody is there to hear of it where this fails.
        let _ = to.blocking_send(searched.map(|()| Bytes::from(piece)));
    });
    // What fails before anything was found fails the request.
    let first = found.recv().await.transpose()?.unwrap_or_default();
    let rest = stream::unfold(found, |mut found| async {
        let piece = found.recv().await?;
        Some((piece.map_err(broken), found))
    });
    let pieces = stream::once(std::future::ready(Ok(first))).chain(rest);
    Ok(([(header::CONTENT_TYPE, NDJSON)], Body::from_stream(pieces)).into_response())
}

async fn gc(
    State(admin): Shared,
    Asking(caller): Asking,
    Parameters(parameters): Parameters<GcParameters>,
) -> Answer<crate::api::GcReport> {
    let registry = Arc::clone(&admin.registry);
    if parameters.dry_run {
        return answer(blocking(move || ops::plan_gc(&registry)).await);
    }
    answer(until_closing(&registry, ops::gc(&registry, &caller, &parameters, |_| {})).await)
}

async fn prune(
    State(admin): Shared,
    Asking(caller): Asking,
    Parameters(parameters): Parameters<PruneParameters>,
) -> Answer<crate::api::PruneReport> {
    let registry = Arc::clone(&admin.registry);
    if parameters.dry_run {
        return answer(blocking(move || ops::plan_prune(&registry)).await);
    }
    answer(until_closing(&registry, ops::prune(&registry, &caller)).await)
}

async fn sweep(State(admin): Shared) -> Answer<supercargo_registry::Swept> {
    let registry = Arc::clone(&admin.registry);
    answer(until_closing(&registry, registry.sweep()).await)
}

async fn scrub(
    State(admin): Shared,
    Asking(caller): Asking,
    Parameters(parameters): Parameters<ScrubParameters>,
) -> Answer<supercargo_registry::Scrubbed> {
    let registry = Arc::clone(&admin.registry);
    answer(until_closing(&registry, registry.scrub(&caller, (&parameters).into(), |_| {})).await)
}

async fn verify(
    State(admin): Shared,
    Parameters(parameters): Parameters<VerifyParameters>,
) -> Answer<supercargo_registry::VerifyReport> {
    let registry = Arc::clone(&admin.registry);
    let wanted = Wanted(Arc::new(AtomicBool::new(true)));
    let still_wanted = Arc::clone(&wanted.0);
    let verified = Arc::clone(&registry);
    let verifying = blocking(move || {
        verified.folder().verify(parameters.deep, |_| match still_wanted.load(Ordering::Relaxed) {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        })
    });
    answer(until_closing(&registry, verifying).await)
}

/// True for as long as it lives: what blocks on another thread is not stopped by dropping its future, which
/// happens when the client goes away or the server stops.
struct Wanted(Arc<AtomicBool>);

impl Drop for Wanted {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// Work that may take long, left off between two steps when the server stops: what is left is found by the
/// next run.
async fn until_closing<T>(
    registry: &Registry,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    tokio::select! {
        done = work => done,
        () = registry.closing() => Err(Error::Unavailable),
    }
}

async fn repositories(State(admin): Shared) -> Answer<Vec<supercargo_registry::RepositoryInfo>> {
    let registry = Arc::clone(&admin.registry);
    answer(registry.repositories())
}

async fn repository(State(admin): Shared, Key(key): Key) -> Answer<supercargo_registry::RepositoryInfo> {
    let registry = Arc::clone(&admin.registry);
    answer(registry.repository(&key))
}

async fn create_repository(
    State(admin): Shared,
    Key(key): Key,
    Asking(caller): Asking,
    settings: Result<Json<RepositoryChange>, JsonRejection>,
) -> Result<Response, Refusal> {
    let registry = Arc::clone(&admin.registry);
    let config = body(settings)?.apply(RepositoryConfig::default());
    registry.create_repository(&caller, &key, config).await?;
    Ok((StatusCode::CREATED, Json(registry.repository(&key)?)).into_response())
}

async fn configure_repository(
    State(admin): Shared,
    Key(key): Key,
    Asking(caller): Asking,
    who: Who,
    change: Result<Json<RepositoryChange>, JsonRejection>,
) -> Answer<supercargo_registry::RepositoryInfo> {
    let registry = Arc::clone(&admin.registry);
    let change = body(change)?;
    if gate::is_for_administrators(&change) && !who.is_administrator() {
        return Err(gate::forbidden());
    }
    answer(ops::configure_repository(&registry, &caller, &key, change).await)
}

async fn remove_repository(
    State(admin): Shared,
    Key(key): Key,
    Asking(caller): Asking,
    Parameters(parameters): Parameters<RemoveParameters>,
) -> Result<StatusCode, Refusal> {
    let registry = Arc::clone(&admin.registry);
    registry.remove_repository(&caller, &key, parameters.force).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn names(
    State(admin): Shared,
    Key(key): Key,
    Parameters(parameters): Parameters<NamesParameters>,
) -> Answer<crate::api::NamesPage> {
    let registry = Arc::clone(&admin.registry);
    answer(blocking(move || ops::names(&registry, &key, &parameters)).await)
}

async fn delete_name(
    State(admin): Shared,
    Key(key): Key,
    Asking(caller): Asking,
    Parameters(parameters): Parameters<NameParameters>,
) -> Result<StatusCode, Refusal> {
    let registry = Arc::clone(&admin.registry);
    registry.delete_name(&caller, &key, &parameters.name).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn tree(
    State(admin): Shared,
    Key(key): Key,
    Parameters(parameters): Parameters<TreeParameters>,
) -> Answer<crate::api::TreePage> {
    let registry = Arc::clone(&admin.registry);
    answer(blocking(move || ops::tree(&registry, &key, &parameters)).await)
}

async fn item(
    State(admin): Shared,
    Key(key): Key,
    Parameters(parameters): Parameters<ItemParameters>,
) -> Answer<crate::api::ItemInfo> {
    let registry = Arc::clone(&admin.registry);
    answer(blocking(move || ops::item(&registry, &key, &parameters)).await)
}

async fn delete_item(
    State(admin): Shared,
    Key(key): Key,
    Asking(caller): Asking,
    Parameters(parameters): Parameters<ItemParameters>,
) -> Result<StatusCode, Refusal> {
    let registry = Arc::clone(&admin.registry);
    ops::delete_item(&registry, &caller, &key, &parameters).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn change_properties(
    State(admin): Shared,
    Key(key): Key,
    Asking(caller): Asking,
    change: Result<Json<PropertiesChange>, JsonRejection>,
) -> Answer<crate::api::ItemInfo> {
    let registry = Arc::clone(&admin.registry);
    let change = body(change)?;
    let parameters = ItemParameters { path: change.path.clone() };
    ops::change_properties(&registry, &caller, &key, change).await?;
    answer(blocking(move || ops::item(&registry, &key, &parameters)).await)
}

async fn tags(
    State(admin): Shared,
    Key(key): Key,
    Parameters(parameters): Parameters<TagsParameters>,
) -> Answer<crate::api::TagsPage> {
    let registry = Arc::clone(&admin.registry);
    answer(blocking(move || ops::tags(&registry, &key, &parameters)).await)
}

async fn promote(
    State(admin): Shared,
    Key(key): Key,
    Asking(caller): Asking,
    parameters: Result<Json<PromotionParameters>, JsonRejection>,
) -> Answer<Vec<supercargo_registry::PromotedTag>> {
    let registry = Arc::clone(&admin.registry);
    answer(ops::promote(&registry, &caller, &key, &body(parameters)?).await)
}

/// Lines of JSON: how far it is, and in the end what came of it, or what stopped it. What could not begin is refused as
/// everything is.
async fn migrate(
    State(admin): Shared,
    Key(key): Key,
    Asking(caller): Asking,
    parameters: Result<Json<MigrationParameters>, JsonRejection>,
) -> Result<Response, Refusal> {
    let mut steps = ops::migrate(&admin.registry, caller, key, body(parameters)?);
    let first = steps.next().await.transpose()?;
    let steps = stream::iter(first).map(Ok).chain(steps);
    let lines = steps.map(|step| {
        let mut line = match step {
            Ok(step) => serde_json::to_vec(&step)?,
            Err(error) => serde_json::to_vec(&Refusal::from(error).body())?,
        };
        line.push(b'\n');
        Ok::<_, std::io::Error>(Bytes::from(line))
    });
    Ok(([(header::CONTENT_TYPE, NDJSON)], Body::from_stream(lines)).into_response())
}

async fn tag_history(
    State(admin): Shared,
    Key(key): Key,
    Parameters(parameters): Parameters<TagParameters>,
) -> Answer<Vec<supercargo_registry::TagChangeInfo>> {
    let registry = Arc::clone(&admin.registry);
    answer(blocking(move || registry.tag_history(&key, &parameters.name, &parameters.tag)).await)
}

async fn inspect(
    State(admin): Shared,
    Key(key): Key,
    who: Who,
    Parameters(parameters): Parameters<InspectParameters>,
) -> Answer<supercargo_registry::Inspection> {
    let registry = Arc::clone(&admin.registry);
    let reference = parameters.reference().map_err(Refusal::invalid)?;
    let inspected = blocking(move || registry.inspect(&key, &parameters.name, &reference)).await;
    answer(inspected.map(|inspection| match who.is_administrator() {
        true => inspection,
        // Managers are not told what others hold.
        false => Inspection { held_by_names: None, first_seen: None, ..inspection },
    }))
}

fn answer<T: Serialize>(outcome: Result<T, Error>) -> Answer<T> {
    outcome.map(Json).map_err(Refusal::from)
}
