//! Who may pass: what an operation needs, who is asking, and what a client is told that may not do it.
//!
//! The decision is made of the operation and the name in its path, before anything is looked up: what a caller may
//! not read can't be told from what does not exist, by status, body or time. Who somebody is and what they may do
//! is `supercargo-access`'s to know; here are the protocol's words for it (the distribution project's token
//! authentication specification).

use std::fmt::Write as _;
use std::sync::Arc;

use http::request::Parts;
use http::{HeaderValue, header};
use serde_json::json;
use supercargo_access::{Access, Authority, Credentials, Login, Method, Refused, Resource, Rights};
use supercargo_eventlog::{Actor, Api, LoginMethod};
use supercargo_http::response::header_value;
use supercargo_http::{Mount, login, request};
use supercargo_model::RepoName;
use supercargo_model::account::Actions;

use crate::Surface;
use crate::error::{Code, Failure};
use crate::route::Route;

/// Where bearer tokens are had, below the prefix.
pub(crate) const TOKEN_PATH: &str = "/v2/token";

/// Whoever sent a request, known and let in. Left in its extensions.
#[derive(Debug, Clone)]
pub(crate) struct Admitted {
    login: Login,
    rights: Arc<Rights>,
}

impl Admitted {
    /// Who is recorded as having done it.
    pub(crate) fn actor(&self) -> Actor {
        login::actor(&self.login.identity)
    }
}

/// What an operation needs to be allowed.
enum Need<'r> {
    /// To have logged in, or to have asked for a token as nobody.
    Ping,
    /// To list names.
    Catalog,
    /// To do something with a name.
    Name(&'r RepoName, Actions),
}

impl<'r> Need<'r> {
    fn of(route: &'r Route) -> Need<'r> {
        match route {
            Route::Ping => Need::Ping,
            Route::ListNames => Need::Catalog,
            Route::ListTags { name }
            | Route::GetManifest { name, .. }
            | Route::CheckManifest { name, .. }
            | Route::GetBlob { name, .. }
            | Route::CheckBlob { name, .. }
            | Route::ListReferrers { name, .. } => Need::Name(name, Actions::READ),
            Route::PushManifest { name, .. }
            | Route::StartUpload { name }
            | Route::UploadStatus { name, .. }
            | Route::AppendUpload { name, .. }
            | Route::FinishUpload { name, .. }
            | Route::CancelUpload { name, .. } => Need::Name(name, Actions::WRITE),
            Route::DeleteManifest { name, .. } | Route::DeleteBlob { name, .. } => {
                Need::Name(name, Actions::DELETE)
            }
        }
    }

    /// What a client should ask a token for, in its words.
    fn scope(&self, mount: &Mount) -> Option<Access> {
        match self {
            Need::Ping => None,
            Need::Catalog => {
                Some(Access { resource: Resource::Catalog, repository: None, actions: Actions::ALL })
            }
            Need::Name(name, actions) => {
                // Who pushes also asks what is there.
                let actions = if actions.write { actions.or(Actions::READ) } else { *actions };
                let before = mount.key().map(|key| Box::from(key.as_str()));
                let resource = Resource::Repository { before, name: (*name).clone() };
                Some(Access { resource, repository: None, actions })
            }
        }
    }
}

/// What a request carries to prove who sent it. Nothing is also what says nothing: podman and skopeo send an empty name
/// and an empty password where Basic is asked for and they have no login.
///
/// # Errors
/// A header that is not understood, or several.
pub(crate) fn credentials(parts: &Parts) -> Result<Option<Credentials>, Failure> {
    let mut headers = parts.headers.get_all(header::AUTHORIZATION).iter();
    let Some(header) = headers.next() else { return Ok(None) };
    if headers.next().is_some() {
        return Err(Failure::new(Code::Unauthorized).message("send one Authorization header"));
    }
    let parsed = Credentials::parse(header.as_bytes());
    let credentials = parsed.map_err(|error| Failure::new(Code::Unauthorized).message(error.to_string()))?;
    let says_nothing = matches!(
        &credentials,
        Credentials::Basic { user, password } if user.is_empty() && password.expose().is_empty()
    );
    Ok((!says_nothing).then_some(credentials))
}

impl Surface {
    /// Lets a request in, or says why not. `None` where everybody may do everything.
    ///
    /// # Errors
    /// UNAUTHORIZED with a challenge, DENIED, TOOMANYREQUESTS, or what kept it from being found out.
    pub(crate) async fn admit(&self, parts: &Parts, route: &Route) -> Result<Option<Admitted>, Failure> {
        let Some(authority) = &self.settings.authority else { return Ok(None) };
        let need = Need::of(route);
        let challenged = |failure: Failure, error: Option<&str>| {
            failure.header(header::WWW_AUTHENTICATE, self.challenge(parts, need.scope(&self.mount), error))
        };
        let login = match credentials(parts) {
            Ok(credentials) => self.login(authority, parts, credentials.as_ref()).await,
            Err(failure) => return Err(challenged(failure, None)),
        };
        let login = login.map_err(|refused| {
            let error = matches!(refused, Refused::Bearer(_)).then_some("invalid_token");
            let failure = refusal(&refused);
            if failure.code() == Code::Unauthorized { challenged(failure, error) } else { failure }
        })?;
        let rights = authority.rights(&login.identity).map_err(|e| Failure::internal(e.to_string()))?;
        let repository = self.repository();
        let (covered, allowed) = match &need {
            // Clients learn here that, and where, they are to log in.
            Need::Ping => (login.method != Method::Anonymous, true),
            Need::Catalog => (login.covers_catalog() && login.method != Method::Anonymous, true),
            Need::Name(name, actions) => {
                (login.covers(repository, name, *actions), rights.allow(repository, name, *actions))
            }
        };
        if covered && allowed {
            return Ok(Some(Admitted { login, rights: Arc::new(rights) }));
        }
        let refused = |code| {
            let lacking = need.scope(&self.mount).map(|scope| json!({ "scope": scope.to_string() }));
            lacking.into_iter().fold(Failure::new(code), Failure::detail)
        };
        if login.identity.name().is_none() {
            return Err(challenged(refused(Code::Unauthorized), None));
        }
        if !allowed {
            return Err(refused(Code::Denied));
        }
        // The user may do it, and the token was not asked for it: a client gets another and comes again.
        Err(challenged(refused(Code::Unauthorized), Some("insufficient_scope")))
    }

    /// Who a request comes from.
    ///
    /// # Errors
    /// Why the credentials are not taken.
    pub(crate) async fn login(
        &self,
        authority: &Authority,
        parts: &Parts,
        credentials: Option<&Credentials>,
    ) -> Result<Login, Refused> {
        login::log_in(&self.registry, authority, parts, credentials, self.service(), Api::DockerV2).await
    }

    /// What tokens are for here. A token for another service is not taken.
    pub(crate) fn service(&self) -> &str {
        self.mount.service()
    }

    /// How a client gets what it lacks: as the repository is set, where from (RFC 6750, section 3), or with each
    /// request (RFC 7617, section 2).
    fn challenge(&self, parts: &Parts, scope: Option<Access>, error: Option<&str>) -> HeaderValue {
        // That a repository is gone, or can't be read, is for those to hear who are let in.
        let repository = self.registry.repository(self.repository());
        let text = match repository.map(|repository| repository.config.login).unwrap_or_default() {
            LoginMethod::Basic => format!("Basic realm=\"{}\", charset=\"UTF-8\"", self.service()),
            LoginMethod::Token => self.token_challenge(parts, scope, error),
        };
        header_value(text).unwrap_or(HeaderValue::from_static("Bearer"))
    }

    fn token_challenge(&self, parts: &Parts, scope: Option<Access>, error: Option<&str>) -> String {
        let (url, prefix, service) = (request::root_url(parts), &self.mount.prefix, self.service());
        let mut text = format!("Bearer realm=\"{url}{prefix}{TOKEN_PATH}\",service=\"{service}\"");
        // Writing to a text can't fail.
        if let Some(scope) = scope {
            let _ = write!(text, ",scope=\"{scope}\"");
        }
        if let Some(error) = error {
            let _ = write!(text, ",error=\"{error}\"");
        }
        text
    }

    /// Whether a name is shown to the caller.
    pub(crate) fn may_read(&self, parts: &Parts, name: &RepoName) -> bool {
        let admitted = parts.extensions.get::<Admitted>();
        admitted.is_none_or(|admitted| admitted.rights.may_read(self.repository(), name))
    }

    /// Whether the caller may take something from a name with what it sent.
    pub(crate) fn may_pull(&self, parts: &Parts, name: &RepoName) -> bool {
        let admitted = parts.extensions.get::<Admitted>();
        admitted.is_none_or(|admitted| {
            admitted.login.covers(self.repository(), name, Actions::READ)
                && admitted.rights.may_read(self.repository(), name)
        })
    }

    /// Whether no name is shown to the caller, so that none has to be looked at.
    pub(crate) fn may_read_nothing(&self, parts: &Parts) -> bool {
        let admitted = parts.extensions.get::<Admitted>();
        admitted.is_some_and(|admitted| admitted.rights.read_nothing_in(self.repository()))
    }

    /// The names that the caller may take something from with what it sent, at most `n`. How long it takes to find
    /// them does not depend on what they hold.
    pub(crate) fn names_to_pull(&self, parts: &Parts, n: usize) -> Result<Vec<RepoName>, Failure> {
        let admitted = parts.extensions.get::<Admitted>();
        if let Some(names) = admitted.and_then(|admitted| admitted.login.names()) {
            return Ok(names.filter(|name| self.may_pull(parts, name)).take(n).cloned().collect());
        }
        if self.may_read_nothing(parts) {
            return Ok(Vec::new());
        }
        let shown = |name: &RepoName| self.may_pull(parts, name);
        Ok(self.registry.catalog(self.repository(), None, n, shown)?.entries)
    }

    /// Whether the caller may take something from every name, so that none has to be asked for.
    pub(crate) fn may_pull_everything(&self, parts: &Parts) -> bool {
        let admitted = parts.extensions.get::<Admitted>();
        admitted.is_none_or(|admitted| {
            admitted.login.method != Method::Bearer && admitted.rights.read_everything_in(self.repository())
        })
    }
}

/// Why somebody is not taken for who they say they are, in the protocol's words.
pub(crate) fn refusal(refused: &Refused) -> Failure {
    match refused {
        Refused::Wrong | Refused::Token(_) | Refused::Bearer(_) | Refused::Provider(_) => {
            Failure::new(Code::Unauthorized).message(refused.to_string())
        }
        Refused::Throttled { retry_after } => {
            Failure::retry_after(Code::TooManyRequests, *retry_after).message(refused.to_string())
        }
        Refused::Busy { retry_after } | Refused::ProviderSilent { retry_after } => {
            Failure::retry_after(Code::Unavailable, *retry_after).message(refused.to_string())
        }
        Refused::Unavailable(cause) => Failure::internal(cause.to_string()),
    }
}
