//! Access tokens (the REST reference, "Access Tokens"): of `api/security/token`, which takes forms, and of
//! `access/api/v1/tokens`, which takes JSON too.
//!
//! A token here is good for whatever its user may do. What asks for less is refused: it must not get more than it asked for.

use std::time::Duration;

use axum::response::Response;
use http::{StatusCode, header};
use serde::Deserialize;
use serde_json::{Value, json};
use supercargo_access::token::SentToken;
use supercargo_http::accounts::issue_access_token;
use supercargo_http::query::Query;
use supercargo_model::account::{Token, TokenId, TokenKind, UserName};
use supercargo_registry::Error;

use crate::error::{Code, Failure};
use crate::respond::{self, content_type};
use crate::{Asked, Surface};

/// How long a token is good for, where it is not said.
const LASTS: Duration = Duration::from_secs(3600);
/// What a token is called that nobody called anything.
const DESCRIPTION: &str = "access token";
/// The scopes that say: whatever its user may do.
const SCOPES: [&str; 4] =
    ["api:*", "member-of-groups:*", "applied-permissions/user", "applied-permissions/admin"];

/// What is asked for, or about.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Wanted {
    grant_type: Option<String>,
    username: Option<String>,
    scope: Option<String>,
    expires_in: Option<u64>,
    refreshable: Option<bool>,
    description: Option<String>,
    token: Option<String>,
    token_id: Option<TokenId>,
}

impl Wanted {
    /// From a form, or from JSON where the content type says so.
    fn read(asked: &Asked) -> Result<Wanted, Failure> {
        let content_type = asked.parts.headers.get(header::CONTENT_TYPE).map(|value| value.as_bytes());
        if content_type.is_some_and(|kind| kind.to_ascii_lowercase().starts_with(b"application/json")) {
            return crate::security::body(&asked.body);
        }
        let mut wanted = Wanted::default();
        let bad = |member: &str, value: &str| Failure::invalid(format!("{member} can't be {value:?}"));
        for (member, value) in form_urlencoded::parse(&asked.body) {
            let value = value.into_owned();
            match &*member {
                "grant_type" => wanted.grant_type = Some(value),
                "username" => wanted.username = Some(value),
                "scope" => wanted.scope = Some(value),
                "expires_in" => wanted.expires_in = Some(value.parse().map_err(|_| bad(&member, &value))?),
                "refreshable" => {
                    let value = value.to_ascii_lowercase();
                    wanted.refreshable = Some(value.parse().map_err(|_| bad(&member, &value))?);
                }
                "description" => wanted.description = Some(value),
                "token" => wanted.token = Some(value),
                "token_id" => wanted.token_id = Some(value.parse().map_err(|_| bad(&member, &value))?),
                _ => {}
            }
        }
        Ok(wanted)
    }

    /// The token that it is about.
    fn id(&self) -> Result<TokenId, Failure> {
        let sent = self.token.as_deref().map(|text| {
            let sent = SentToken::parse(text).map(|sent| sent.id);
            sent.ok_or_else(|| Failure::invalid("the token is none of this server's"))
        });
        match (sent, self.token_id) {
            (Some(id), None) => id,
            (None, Some(id)) => Ok(id),
            _ => Err(Failure::invalid("say which: token, or token_id")),
        }
    }
}

impl Asked {
    /// The user who asks.
    ///
    /// # Errors
    /// Where there are no accounts nobody is one.
    pub(crate) fn user(&self) -> Result<&UserName, Failure> {
        self.admitted.identity.name().ok_or_else(|| {
            Failure::new(Code::NotFound)
                .message("this server has no accounts, and so nobody has keys or tokens")
        })
    }

    /// Refuses to make tokens for who came by one, and is no administrator: what is made would outlive what was given.
    ///
    /// # Errors
    /// Forbidden.
    pub(crate) fn may_make_tokens(&self) -> Result<(), Failure> {
        let by_token = matches!(self.admitted.method, supercargo_access::Method::Token(_));
        if by_token && !self.admitted.is_administrator() {
            let message = "tokens are made for who logs in by password, not for who sends another token";
            return Err(Failure::new(Code::Forbidden).message(message));
        }
        Ok(())
    }
}

/// `POST api/security/token` and `POST access/api/v1/tokens`: for oneself, and by administrators for anybody.
pub(crate) async fn create(surface: &Surface, asked: &Asked) -> Result<Response, Failure> {
    surface.accounts()?;
    let wanted = Wanted::read(asked)?;
    if let Some(grant) = wanted.grant_type.as_deref().filter(|grant| *grant != "client_credentials") {
        return Err(Failure::invalid(format!("grant_type is {grant:?}: use client_credentials")));
    }
    if wanted.refreshable == Some(true) {
        return Err(Failure::invalid("tokens are not refreshable here: make another, or one that lasts"));
    }
    let scope = wanted.scope.as_deref().unwrap_or("applied-permissions/user");
    if let Some(part) = scope.split([' ', ',']).find(|part| !part.is_empty() && !SCOPES.contains(part)) {
        return Err(Failure::invalid(format!(
            "scope is {part:?}: a token is good for whatever its user may do: make a user who may do less"
        )));
    }
    let own = asked.user()?;
    let user = match &wanted.username {
        None => own.clone(),
        Some(user) => UserName::parse(user).map_err(|error| Failure::invalid(error.to_string()))?,
    };
    if user != *own && !asked.admitted.is_administrator() {
        return Err(asked.admitted.forbidden());
    }
    asked.may_make_tokens()?;
    // 0 is for ever.
    let lasts = Some(wanted.expires_in.map_or(LASTS, Duration::from_secs)).filter(|lasts| !lasts.is_zero());
    let description = wanted.description.clone().unwrap_or_else(|| DESCRIPTION.to_owned());
    let caller = &asked.admitted.caller;
    let (id, secret) = issue_access_token(&surface.registry, caller, user, description, lasts).await?;
    let mut answer = json!({
        "token_id": id,
        "access_token": secret.expose(),
        "scope": scope,
        "token_type": "Bearer",
    });
    if let (Value::Object(members), Some(lasts)) = (&mut answer, lasts) {
        members.insert("expires_in".to_owned(), json!(lasts.as_secs()));
    }
    respond::json(StatusCode::OK, content_type::JSON, &answer)
}

/// `GET api/security/token` and `GET access/api/v1/tokens[?username=]`: one's own; of all, for administrators.
pub(crate) fn list(surface: &Surface, asked: &Asked) -> Result<Response, Failure> {
    let query = Query::parse(asked.parts.uri.query());
    let named = query.get("username").map(UserName::parse).transpose();
    let named = named.map_err(|error| Failure::invalid(error.to_string()))?;
    let users: Vec<UserName> = match (asked.admitted.is_administrator(), named) {
        (true, Some(name)) => vec![name],
        (true, None) => surface.registry.users()?.into_iter().map(|(name, _)| name).collect(),
        (false, named) => {
            let own = asked.user()?.clone();
            named.into_iter().chain(Some(own.clone())).take(1).filter(|name| *name == own).collect()
        }
    };
    let mut tokens = Vec::new();
    for user in users {
        let of_user = surface.registry.tokens_of(&user)?.into_iter();
        tokens.extend(
            of_user.filter(|(_, token)| token.kind == TokenKind::Access).map(|(id, token)| shown(id, &token)),
        );
    }
    respond::json(StatusCode::OK, content_type::JSON, &json!({ "tokens": tokens }))
}

/// `GET access/api/v1/tokens/<id>`
pub(crate) fn get(surface: &Surface, asked: &Asked, id: TokenId) -> Result<Response, Failure> {
    let token = mine(surface, asked, id)?.ok_or_else(|| Failure::from(Error::TokenUnknown(id)))?;
    respond::json(StatusCode::OK, content_type::JSON, &shown(id, &token))
}

/// `DELETE access/api/v1/tokens/<id>`
pub(crate) async fn delete(surface: &Surface, asked: &Asked, id: TokenId) -> Result<Response, Failure> {
    surface.accounts()?;
    mine(surface, asked, id)?.ok_or_else(|| Failure::from(Error::TokenUnknown(id)))?;
    surface.registry.revoke_token(&asked.admitted.caller, id).await?;
    Ok(respond::text(StatusCode::OK, "Token revoked"))
}

/// `POST api/security/token/revoke` and `DELETE access/api/v1/tokens/revoke`. That it is not there is as good.
pub(crate) async fn revoke(surface: &Surface, asked: &Asked) -> Result<Response, Failure> {
    surface.accounts()?;
    let id = Wanted::read(asked)?.id()?;
    if mine(surface, asked, id)?.is_none() {
        return Ok(respond::text(StatusCode::OK, "Token not revoked: there is no such token"));
    }
    match surface.registry.revoke_token(&asked.admitted.caller, id).await {
        Ok(()) | Err(Error::TokenUnknown(_)) => Ok(respond::text(StatusCode::OK, "Token revoked")),
        Err(error) => Err(error.into()),
    }
}

/// A token of the caller's; for administrators, anybody's. Others' are not there.
fn mine(surface: &Surface, asked: &Asked, id: TokenId) -> Result<Option<Token>, Failure> {
    let token = surface.registry.token(id)?;
    let admitted = &asked.admitted;
    Ok(token.filter(|token| admitted.is_administrator() || admitted.identity.name() == Some(&token.user)))
}

fn shown(id: TokenId, token: &Token) -> Value {
    let mut shown = json!({
        "token_id": id,
        "issuer": "supercargo",
        "subject": token.user,
        "issued_at": token.issued_at.as_micros() / 1_000_000,
        "refreshable": false,
        "description": token.description,
    });
    if let (Value::Object(members), Some(end)) = (&mut shown, token.expires_at) {
        members.insert("expiry".to_owned(), json!(end.as_micros() / 1_000_000));
    }
    if let (Value::Object(members), Some(used)) = (&mut shown, token.used_at) {
        members.insert("last_used".to_owned(), json!(used.as_micros() / 1_000_000));
    }
    shown
}
