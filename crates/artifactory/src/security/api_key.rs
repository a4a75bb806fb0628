//! API keys: of each user at most one access token that goes by that name, and is good until it is revoked.
//!
//! What is kept of a token is a hash, so a key is told once, as it is made; afterwards no more than its beginning is.

use axum::response::Response;
use http::StatusCode;
use serde_json::json;
use supercargo_access::Method;
use supercargo_http::accounts::issue_access_token;
use supercargo_http::query::Query;
use supercargo_model::account::{TokenId, TokenKind, UserName};
use supercargo_registry::Error;

use crate::error::{Code, Failure};
use crate::respond::{self, content_type};
use crate::{Asked, Surface};

/// What a key is called among its user's tokens.
const DESCRIPTION: &str = "API key";

/// `GET api/security/apiKey`: whether there is one, and how it begins.
pub(crate) fn get(surface: &Surface, asked: &Asked) -> Result<Response, Failure> {
    let shown = match key_of(surface, asked.user()?)? {
        Some(id) => json!({ "apiKey": format!("sct_{}_(shown once, as it was made)", id.simple()) }),
        None => json!({}),
    };
    respond::json(StatusCode::OK, content_type::JSON, &shown)
}

/// `POST api/security/apiKey`: makes one where there is none.
pub(crate) async fn create(surface: &Surface, asked: &Asked) -> Result<Response, Failure> {
    surface.accounts()?;
    let user = asked.user()?;
    if key_of(surface, user)?.is_some() {
        let message = format!("Api key already exists for user: '{user}': PUT makes another in its place");
        return Err(Failure::invalid(message));
    }
    asked.may_make_tokens()?;
    issue(surface, asked, user, StatusCode::CREATED).await
}

/// `PUT api/security/apiKey`: makes another in place of the one that there is.
pub(crate) async fn renew(surface: &Surface, asked: &Asked) -> Result<Response, Failure> {
    surface.accounts()?;
    let user = asked.user()?;
    let old = key_of(surface, user)?.ok_or_else(|| missing(user))?;
    // The key itself is as good as what is made for it.
    if asked.admitted.method != Method::Token(old) {
        asked.may_make_tokens()?;
    }
    let renewed = issue(surface, asked, user, StatusCode::OK).await?;
    surface.registry.revoke_token(&asked.admitted.caller, old).await?;
    Ok(renewed)
}

/// `DELETE api/security/apiKey`; with `?deleteAll=1`, by administrators, everybody's.
pub(crate) async fn revoke(surface: &Surface, asked: &Asked) -> Result<Response, Failure> {
    surface.accounts()?;
    let query = Query::parse(asked.parts.uri.query());
    if query.get("deleteAll").is_some_and(|value| value == "1" || value.eq_ignore_ascii_case("true")) {
        if !asked.admitted.is_administrator() {
            return Err(asked.admitted.forbidden());
        }
        let mut revoked = 0_u64;
        for (user, _) in surface.registry.users()? {
            // Somebody who is gone since has no key either.
            if let Ok(Some(key)) = key_of(surface, &user) {
                surface.registry.revoke_token(&asked.admitted.caller, key).await?;
                revoked += 1;
            }
        }
        let info = json!({ "info": format!("{revoked} API keys have been successfully revoked") });
        return respond::json(StatusCode::OK, content_type::JSON, &info);
    }
    let user = asked.user()?;
    let key = key_of(surface, user)?.ok_or_else(|| missing(user))?;
    surface.registry.revoke_token(&asked.admitted.caller, key).await?;
    let info = json!({ "info": format!("API Key for user: '{user}' has been successfully revoked") });
    respond::json(StatusCode::OK, content_type::JSON, &info)
}

fn missing(user: &UserName) -> Failure {
    Failure::new(Code::NotFound).message(format!("user {user} has no API key: POST makes one"))
}

fn key_of(surface: &Surface, user: &UserName) -> Result<Option<TokenId>, Error> {
    let mut tokens = surface.registry.tokens_of(user)?.into_iter();
    let is_key = |token: &supercargo_model::account::Token| {
        token.kind == TokenKind::Access && token.description == DESCRIPTION && token.expires_at.is_none()
    };
    Ok(tokens.find(|(_, token)| is_key(token)).map(|(id, _)| id))
}

async fn issue(
    surface: &Surface,
    asked: &Asked,
    user: &UserName,
    status: StatusCode,
) -> Result<Response, Failure> {
    let (caller, description) = (&asked.admitted.caller, DESCRIPTION.to_owned());
    let (_, key) = issue_access_token(&surface.registry, caller, user.clone(), description, None).await?;
    respond::json(status, content_type::JSON, &json!({ "apiKey": key.expose() }))
}
