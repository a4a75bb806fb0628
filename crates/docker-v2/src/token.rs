//! The token endpoint: who somebody is, once, for a token that says what they may do for a while.
//!
//! `GET` with Basic credentials, or none, as the distribution project's token authentication specification has it;
//! `POST` as its OAuth2 form. Whoever asks for too much gets less, never an error.

use std::borrow::Cow;

use axum::response::Response;
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode, header};
use percent_encoding::percent_decode_str;
use serde_json::json;
use supercargo_access::{
    Access, Authority, Credentials, Login, Method as By, Refused, Resource, Secret, token,
};
use supercargo_eventlog::{Actor, Api};
use supercargo_http::body::{BodyStream, ReadError};
use supercargo_http::{Mount, request, response};
use supercargo_model::account::TokenKind;
use supercargo_model::{RepoKey, RepoName};
use supercargo_registry::Hosted;

use crate::Surface;
use crate::error::{Code, Failure};
use crate::gate::{credentials, refusal};

/// Largest form that is read, in bytes: an identity token in place of a password has some thousand.
const FORM_BYTES_MAX: usize = 64 * 1024;
/// How long a refresh token is taken after it was issued.
const REFRESH_LASTS: std::time::Duration = std::time::Duration::from_secs(90 * 24 * 60 * 60);
/// Longest name of a client that is kept with its refresh token, in bytes.
const CLIENT_BYTES_MAX: usize = 64;

/// What is asked.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    service: Option<String>,
    pub(crate) scopes: Vec<String>,
    client: Option<String>,
    offline: bool,
    grant: Option<String>,
    user: Option<String>,
    password: Option<Secret>,
    refresh: Option<Secret>,
}

impl Asked {
    /// From a query or a form: in both a plus sign is a space here, as in every HTML form.
    pub(crate) fn parse(text: &str) -> Asked {
        let decode = |text: &str| {
            let text = text.replace('+', " ");
            percent_decode_str(&text).decode_utf8().map(Cow::into_owned).unwrap_or_default()
        };
        let mut asked = Asked::default();
        for pair in text.split('&') {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = decode(value);
            match decode(key).as_str() {
                "service" => asked.service = Some(value),
                "scope" => asked.scopes.push(value),
                "client_id" => asked.client = Some(value),
                "offline_token" => asked.offline |= value == "true",
                "access_type" => asked.offline |= value == "offline",
                "grant_type" => asked.grant = Some(value),
                "username" => asked.user = Some(value),
                "password" => asked.password = Some(Secret::new(value)),
                "refresh_token" => asked.refresh = Some(Secret::new(value)),
                _ => {}
            }
        }
        asked
    }
}

/// Answers the token endpoint.
///
/// # Errors
/// UNAUTHORIZED for wrong credentials; UNSUPPORTED for another method or grant.
pub(crate) async fn answer(
    surface: &Surface,
    authority: &Authority,
    parts: &Parts,
    body: &mut BodyStream,
) -> Result<Response, Failure> {
    let (asked, login) = match parts.method {
        Method::GET => {
            let asked = Asked::parse(parts.uri.query().unwrap_or_default());
            let credentials = credentials(parts).map_err(basic_challenge)?;
            let login = surface.login(authority, parts, credentials.as_ref()).await;
            if login.as_ref().is_ok_and(|login| login.method == By::Bearer) {
                // Else what is good for minutes could be renewed for ever.
                let message = "a bearer token gets no other: log in with a password or an access token";
                return Err(basic_challenge(Failure::new(Code::Unauthorized).message(message)));
            }
            (asked, login)
        }
        Method::POST => {
            let form =
                body.read_whole(&parts.headers, FORM_BYTES_MAX).await.map_err(|error| match error {
                    ReadError::TooLarge => {
                        Failure::new(Code::ArgumentUnsupported).message("the form is too long")
                    }
                    ReadError::Broken(error) => error.into(),
                })?;
            let asked = Asked::parse(&String::from_utf8_lossy(&form));
            let login = granted(surface, authority, parts, &asked).await?;
            (asked, login)
        }
        _ => {
            let allow = HeaderValue::from_static("GET, POST");
            return Err(Failure::new(Code::Unsupported).header(header::ALLOW, allow));
        }
    };
    let login = login.map_err(|refused| basic_challenge(refusal(&refused)))?;
    if asked.service.as_deref().is_some_and(|service| service != surface.service()) {
        return Err(Failure::new(Code::ArgumentUnsupported)
            .message(format!("tokens are issued here for the service {:?}", surface.service())));
    }
    let scopes = Access::parse_all(asked.scopes.iter().map(String::as_str));
    let hosted = surface.registry.hosted()?;
    let find = |resource: &Resource| find(&surface.mount, &hosted, resource);
    let now = surface.registry.now();
    let issued = authority
        .issue(&login, surface.service(), &scopes, find, now)
        .map_err(|e| Failure::internal(e.to_string()))?;
    let refresh = refresh_token(surface, parts, &asked, &login).await?;
    let scope = issued.access.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    let mut answer = json!({
        "token": issued.token.expose(),
        "access_token": issued.token.expose(),
        "expires_in": issued.expires_in.as_secs(),
        "issued_at": rfc3339(issued.issued_at),
        "scope": scope,
    });
    if let Some(refresh) = refresh {
        answer["refresh_token"] = refresh.expose().into();
    }
    let mut response = response::json(StatusCode::OK, answer.to_string());
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// The repository and the name that a client means. What it puts before a name is a repository's key where it can be one,
/// else a host, which says nothing.
fn find(mount: &Mount, hosted: &Hosted, resource: &Resource) -> Option<(RepoKey, RepoName)> {
    let Resource::Repository { name, .. } = resource else { return None };
    let called = resource.called();
    let (repository, rest) = mount.find(hosted, &called);
    match RepoName::parse(rest) {
        Ok(name) => Some((repository, name)),
        Err(_) => {
            let (repository, rest) = mount.find(hosted, name.as_str());
            Some((repository, RepoName::parse(rest).ok()?))
        }
    }
}

/// Who the form proves somebody to be.
async fn granted(
    surface: &Surface,
    authority: &Authority,
    parts: &Parts,
    asked: &Asked,
) -> Result<Result<Login, Refused>, Failure> {
    let missing = |what: &str| Failure::new(Code::ArgumentUnsupported).message(format!("{what} is missing"));
    match asked.grant.as_deref() {
        Some("password") => {
            let user = asked.user.clone().ok_or_else(|| missing("username"))?;
            let password = asked.password.clone().ok_or_else(|| missing("password"))?;
            let credentials = Credentials::Basic { user, password };
            Ok(surface.login(authority, parts, Some(&credentials)).await)
        }
        Some("refresh_token") => {
            let token = asked.refresh.as_ref().ok_or_else(|| missing("refresh_token"))?;
            Ok(authority.refresh(token, surface.registry.now()))
        }
        _ => {
            Err(Failure::new(Code::ArgumentUnsupported)
                .message("grant_type is password or refresh_token here"))
        }
    }
}

/// A token to come again with, for who asked for one and proved who they are. Who came with one keeps it.
async fn refresh_token(
    surface: &Surface,
    parts: &Parts,
    asked: &Asked,
    login: &Login,
) -> Result<Option<Secret>, Failure> {
    let (Some(user), Some(password), true) = (login.identity.name(), login.password(), asked.offline) else {
        return Ok(None);
    };
    let now = surface.registry.now();
    let minted = token::mint(TokenKind::Refresh, now).map_err(|e| Failure::internal(e.to_string()))?;
    let client: String = asked.client.as_deref().unwrap_or("a client").replace(char::is_control, "");
    let client = &client[..client.floor_char_boundary(CLIENT_BYTES_MAX)];
    let caller = request::caller(parts, Api::DockerV2, Actor::User(user.to_string()));
    surface
        .registry
        .issue_refresh_token(
            &caller,
            minted.id,
            user.clone(),
            password.clone(),
            format!("login by {client}"),
            minted.secret_sha256,
            now.plus(REFRESH_LASTS),
        )
        .await?;
    Ok(Some(minted.text))
}

/// The endpoint itself is had by Basic credentials.
fn basic_challenge(failure: Failure) -> Failure {
    if failure.code() == Code::Unauthorized {
        return failure.header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"token\""));
    }
    failure
}

/// A moment as RFC 3339 has it, to the second.
fn rfc3339(at: supercargo_model::Timestamp) -> String {
    let seconds = at.as_micros().div_euclid(1_000_000);
    let (days, of_day) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // The civil calendar from days since 1970, by eras of 400 years that begin in March.
    let shifted = days + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march = (5 * of_year + 2) / 153;
    let (day, month) = (of_year - (153 * march + 2) / 5 + 1, if march < 10 { march + 3 } else { march - 9 });
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;
    use supercargo_model::Timestamp;

    #[test]
    fn forms_are_read_as_forms() {
        let asked = Asked::parse(
            "grant_type=password&username=ann%40x&password=a%2Bb+c&scope=a+b&scope=c&access_type=offline&x",
        );
        assert_eq!(asked.user.as_deref(), Some("ann@x"));
        assert_eq!(asked.password.as_ref().map(Secret::expose), Some("a+b c"));
        assert_eq!(asked.scopes, ["a b", "c"]);
        assert!(asked.offline);
        for nothing in ["", "&&=", "%", "scope=%ff"] {
            assert!(Asked::parse(nothing).grant.is_none());
        }
    }

    #[test]
    fn moments_are_written_as_they_are() {
        // date -u -d @1735689599 +%FT%TZ, and so on.
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (1_709_164_800, "2024-02-29T00:00:00Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(rfc3339(Timestamp::from_micros(seconds * 1_000_000 + 999_999)), text);
        }
    }
}
