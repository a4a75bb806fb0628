//! Accounts over HTTP.

use std::sync::Arc;

use axum::extract::rejection::{BytesRejection, JsonRejection};
use axum::extract::{FromRequestParts, Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, put};
use axum::{Json, Router};
use bytes::Bytes;
use http::StatusCode;
use http::request::Parts;
use supercargo_model::account::{GroupName, TokenId, UserName};

use super::{Answer, Asking, Parameters, Shared, Who, answer, body, gate};
use crate::accounts;
use crate::api::{
    GrantInfo, GroupInfo, ImportParameters, ImportReport, NewGroup, NewPassword, NewToken, NewUser,
    PermissionInfo, TokenInfo, UserChange, UserInfo,
};
use crate::error::Refusal;

/// Routes below [`super::BASE`].
pub(super) fn routes() -> Router<Arc<super::Admin>> {
    Router::new()
        .route("/users", get(users).post(import_users))
        .route("/users/{name}", get(user).put(create_user).patch(change_user).delete(remove_user))
        .route("/users/{name}/password", put(set_password))
        .route("/users/{name}/tokens", get(tokens).post(issue_token))
        .route("/tokens/{id}", delete(revoke_token))
        .route("/groups", get(groups))
        .route("/groups/{name}", get(group).put(create_group).delete(remove_group))
        .route("/groups/{name}/members/{user}", put(add_member).delete(remove_member))
        .route("/permissions", get(permissions).put(set_permission).delete(remove_permission))
}

/// Something in the path, parsed.
struct Named<T>(T);

impl<T, S> FromRequestParts<S> for Named<T>
where
    T: std::str::FromStr<Err: std::fmt::Display>,
    S: Send + Sync,
{
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Named<T>, Refusal> {
        let Path(text) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|e| Refusal::invalid(e.body_text()))?;
        text.parse().map(Named).map_err(Refusal::invalid)
    }
}

async fn users(State(admin): Shared) -> Answer<Vec<UserInfo>> {
    answer(accounts::users(&admin.registry))
}

async fn import_users(
    State(admin): Shared,
    Parameters(parameters): Parameters<ImportParameters>,
    Asking(caller): Asking,
    file: Result<Bytes, BytesRejection>,
) -> Answer<ImportReport> {
    let file = file.map_err(|e| Refusal::invalid(e.body_text()))?;
    // Nobody could log in with what is imported.
    admin.passwords()?;
    answer(accounts::import(&admin.registry, &caller, &file, parameters).await)
}

async fn user(State(admin): Shared, Named(name): Named<UserName>) -> Answer<UserInfo> {
    answer(accounts::user(&admin.registry, &name))
}

async fn create_user(
    State(admin): Shared,
    Named(name): Named<UserName>,
    Asking(caller): Asking,
    new: Result<Json<NewUser>, JsonRejection>,
) -> Result<Response, Refusal> {
    let new = body(new)?;
    let password = match new.password {
        Some(password) => Some(accounts::hash(admin.passwords()?, password).await?),
        None => None,
    };
    admin.registry.create_user(&caller, name.clone(), new.service, new.administrator, password).await?;
    Ok((StatusCode::CREATED, Json(accounts::user(&admin.registry, &name)?)).into_response())
}

async fn change_user(
    State(admin): Shared,
    Named(name): Named<UserName>,
    Asking(caller): Asking,
    change: Result<Json<UserChange>, JsonRejection>,
) -> Answer<UserInfo> {
    let change = body(change)?;
    admin.registry.change_user(&caller, name.clone(), change.administrator, change.disabled).await?;
    answer(accounts::user(&admin.registry, &name))
}

async fn remove_user(
    State(admin): Shared,
    Named(name): Named<UserName>,
    Asking(caller): Asking,
) -> Result<StatusCode, Refusal> {
    admin.registry.remove_user(&caller, name).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn set_password(
    State(admin): Shared,
    Named(name): Named<UserName>,
    Asking(caller): Asking,
    new: Result<Json<NewPassword>, JsonRejection>,
) -> Result<StatusCode, Refusal> {
    let password = match body(new)?.password {
        Some(password) => Some(accounts::hash(admin.passwords()?, password).await?),
        None => None,
    };
    admin.registry.set_password(&caller, name, password).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn tokens(State(admin): Shared, Named(name): Named<UserName>) -> Answer<Vec<TokenInfo>> {
    answer(accounts::tokens(&admin.registry, &name))
}

async fn issue_token(
    State(admin): Shared,
    Named(name): Named<UserName>,
    Asking(caller): Asking,
    new: Result<Json<NewToken>, JsonRejection>,
) -> Result<Response, Refusal> {
    let issued = accounts::issue_token(&admin.registry, &caller, &name, &body(new)?).await?;
    Ok((StatusCode::CREATED, Json(issued)).into_response())
}

async fn revoke_token(
    State(admin): Shared,
    Named(id): Named<TokenId>,
    Asking(caller): Asking,
) -> Result<StatusCode, Refusal> {
    admin.registry.revoke_token(&caller, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn groups(State(admin): Shared) -> Answer<Vec<GroupInfo>> {
    answer(accounts::groups(&admin.registry))
}

async fn group(State(admin): Shared, Named(name): Named<GroupName>) -> Answer<GroupInfo> {
    answer(accounts::group(&admin.registry, &name))
}

async fn create_group(
    State(admin): Shared,
    Named(name): Named<GroupName>,
    Asking(caller): Asking,
    new: Result<Json<NewGroup>, JsonRejection>,
) -> Result<Response, Refusal> {
    admin.registry.create_group(&caller, name.clone(), body(new)?.description).await?;
    Ok((StatusCode::CREATED, Json(accounts::group(&admin.registry, &name)?)).into_response())
}

async fn remove_group(
    State(admin): Shared,
    Named(name): Named<GroupName>,
    Asking(caller): Asking,
) -> Result<StatusCode, Refusal> {
    admin.registry.remove_group(&caller, name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A group and a user, in the path.
fn member((group, user): &(String, String)) -> Result<(GroupName, UserName), Refusal> {
    Ok((group.parse().map_err(Refusal::invalid)?, user.parse().map_err(Refusal::invalid)?))
}

async fn add_member(
    State(admin): Shared,
    Path(path): Path<(String, String)>,
    Asking(caller): Asking,
) -> Result<StatusCode, Refusal> {
    let (group, user) = member(&path)?;
    admin.registry.add_member(&caller, group, user).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn remove_member(
    State(admin): Shared,
    Path(path): Path<(String, String)>,
    Asking(caller): Asking,
) -> Result<StatusCode, Refusal> {
    let (group, user) = member(&path)?;
    admin.registry.remove_member(&caller, group, user).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn permissions(State(admin): Shared, who: Who) -> Answer<Vec<PermissionInfo>> {
    let all = admin.registry.permissions()?.into_iter();
    Ok(Json(all.filter(|permission| who.may_grant(&permission.grant)).map(PermissionInfo::from).collect()))
}

async fn set_permission(
    State(admin): Shared,
    Asking(caller): Asking,
    who: Who,
    permission: Result<Json<PermissionInfo>, JsonRejection>,
) -> Answer<PermissionInfo> {
    let permission = body(permission)?;
    let grant = permission.about.clone().into();
    if !who.may_grant(&grant) {
        return Err(gate::forbidden());
    }
    admin.registry.set_permission(&caller, grant, permission.actions).await?;
    Ok(Json(permission))
}

async fn remove_permission(
    State(admin): Shared,
    Asking(caller): Asking,
    who: Who,
    Parameters(about): Parameters<GrantInfo>,
) -> Result<StatusCode, Refusal> {
    let grant = about.into();
    if !who.may_grant(&grant) {
        return Err(gate::forbidden());
    }
    admin.registry.remove_permission(&caller, grant).await?;
    Ok(StatusCode::NO_CONTENT)
}
