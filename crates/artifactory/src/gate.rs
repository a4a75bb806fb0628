//! Who may pass: what an operation needs, who is asking, and what a client is told that may not do it.
//!
//! A request about a repository, an account or the system is judged here, before anything is looked up. A request about
//! an item of a tree is let in where its caller may see anything of the repository, and its handler asks [`Admitted`]
//! about the names that the item belongs to: what may not be read is not there ([`Admitted::absent`]). Who somebody is
//! and what they may do is `supercargo-access`'s to know.

use std::sync::Arc;

use http::request::Parts;
use http::{HeaderMap, HeaderName, header};
use supercargo_access::{Authority, Credentials, Identity, Login, Method, Rights, Secret};
use supercargo_eventlog::{Actor, Api};
use supercargo_http::{login, request};
use supercargo_model::account::Actions;
use supercargo_model::{RepoKey, RepoName};
use supercargo_registry::Caller;
use supercargo_registry::tree::Reach;

use crate::Surface;
use crate::error::{Code, Failure};
use crate::route::Route;
use crate::storage;

/// By which an API key is sent, which is an access token.
const API_KEY: HeaderName = HeaderName::from_static("x-jfrog-art-api");

/// What bearer tokens would have to be for. None is ever issued for it: it is no repository's key.
const SERVICE: &str = ":artifactory";

/// Whoever sent a request, known and let in.
#[derive(Debug, Clone)]
pub(crate) struct Admitted {
    /// Who is recorded as having done it, and through what.
    pub(crate) caller: Caller,
    /// Who it is.
    pub(crate) identity: Identity,
    /// How that is known.
    pub(crate) method: Method,
    /// `None` where everybody may do everything.
    rights: Option<Arc<Rights>>,
}

impl Admitted {
    /// Whether they may do everything.
    pub(crate) fn is_administrator(&self) -> bool {
        self.rights.is_none() || self.identity.is_administrator()
    }

    /// Whether nobody knows who it is, where there are accounts.
    pub(crate) fn is_anonymous(&self) -> bool {
        self.rights.is_some() && self.identity.name().is_none()
    }

    /// Whether all of these may be done with the content of a name.
    pub(crate) fn may(&self, repository: &RepoKey, name: &RepoName, actions: Actions) -> bool {
        self.rights.as_ref().is_none_or(|rights| rights.allow(repository, name, actions))
    }

    /// Whether a name is shown to them.
    pub(crate) fn may_read(&self, repository: &RepoKey, name: &RepoName) -> bool {
        self.may(repository, name, Actions::READ)
    }

    /// What they may do, to be asked on another thread; `None` where everybody may do everything.
    pub(crate) fn rights(&self) -> Option<Arc<Rights>> {
        self.rights.clone()
    }

    /// Whether every name of a repository is shown to them, whatever it is called.
    pub(crate) fn reads_everything_in(&self, repository: &RepoKey) -> bool {
        self.rights.as_ref().is_none_or(|rights| rights.read_everything_in(repository))
    }

    /// Whether no name of a repository is shown to them, whatever it is called.
    pub(crate) fn reads_nothing_in(&self, repository: &RepoKey) -> bool {
        self.rights.as_ref().is_some_and(|rights| rights.read_nothing_in(repository))
    }

    /// Whether a repository is there, for them: where they may neither read nor push anything, it is not.
    pub(crate) fn knows(&self, repository: &RepoKey) -> bool {
        let pushes = |rights: &Arc<Rights>| rights.write_something_in(repository);
        !self.reads_nothing_in(repository) || self.rights.as_ref().is_none_or(pushes)
    }

    /// Their eyes for the tree of a repository; none where they see nothing of it.
    pub(crate) fn eyes(&self, repository: &RepoKey) -> Option<Reach> {
        match (self.reads_nothing_in(repository), self.reads_everything_in(repository)) {
            (true, _) => None,
            (_, true) => Some(Reach::all()),
            _ => Some(storage::reach(self, repository, Rights::may_read)),
        }
    }

    /// What is said of something in a repository that is not there, or not for them to see: the same of both. Who is not
    /// known and may not see everything hears that a login may help.
    pub(crate) fn absent(&self, repository: &RepoKey, code: Code) -> Failure {
        match self.is_anonymous() && !self.reads_everything_in(repository) {
            true => Failure::new(Code::LoginRequired),
            false => Failure::new(code),
        }
    }

    /// What is said to somebody who may not do something: who is not known hears that a login may help.
    pub(crate) fn forbidden(&self) -> Failure {
        Failure::new(if self.is_anonymous() { Code::LoginRequired } else { Code::Forbidden })
    }
}

/// What an operation needs to be allowed.
#[derive(Debug, PartialEq, Eq)]
enum Need<'r> {
    /// Nothing: what is shown depends on who asks.
    Nothing,
    /// To be somebody. The handler sees to the rest.
    Somebody,
    /// To see something of a repository. The handler sees to the rest.
    Seen(&'r RepoKey),
    /// To be an administrator.
    Administrator,
}

impl<'r> Need<'r> {
    fn of(route: &'r Route) -> Need<'r> {
        match route {
            Route::Ping
            | Route::Version
            | Route::ListRepositories
            | Route::SearchProperties
            | Route::SearchNames
            | Route::SearchChecksums => Need::Nothing,
            Route::SearchAql
            | Route::ChangePassword
            | Route::GetApiKey
            | Route::CreateApiKey
            | Route::RenewApiKey
            | Route::RevokeApiKey
            | Route::EncryptedPassword
            | Route::ListTokens
            | Route::CreateToken
            | Route::GetToken { .. }
            | Route::DeleteToken { .. }
            | Route::RevokeToken
            | Route::GetUser { .. } => Need::Somebody,
            Route::GetSetup { repository }
            | Route::GetRepository { repository }
            | Route::ListNames { repository }
            | Route::ListTags { repository, .. }
            | Route::Promote { repository }
            | Route::Migrate { repository } => Need::Seen(repository),
            Route::GetItem { item, .. }
            | Route::SetProperties { item }
            | Route::RemoveProperties { item }
            | Route::UpdateProperties { item }
            | Route::GetFile { item }
            | Route::PutFile { item }
            | Route::DeleteItem { item } => Need::Seen(&item.repository),
            Route::SystemInfo
            | Route::GetWebServer
            | Route::SetWebServer
            | Route::GetProxyConfig { .. }
            | Route::CreateRepository { .. }
            | Route::UpdateRepository { .. }
            | Route::DeleteRepository { .. }
            | Route::ListUsers
            | Route::PutUser { .. }
            | Route::UpdateUser { .. }
            | Route::DeleteUser { .. }
            | Route::ListGroups
            | Route::GetGroup { .. }
            | Route::PutGroup { .. }
            | Route::UpdateGroup { .. }
            | Route::DeleteGroup { .. }
            | Route::ListTargets
            | Route::GetTarget { .. }
            | Route::PutTarget { .. }
            | Route::DeleteTarget { .. } => Need::Administrator,
        }
    }

    fn is_met(&self, admitted: &Admitted) -> bool {
        match self {
            Need::Nothing => true,
            Need::Somebody => !admitted.is_anonymous(),
            // To whom nothing is shown, a repository is not there: that is for the handler to say.
            Need::Seen(repository) => !admitted.is_anonymous() || !admitted.reads_nothing_in(repository),
            Need::Administrator => admitted.is_administrator(),
        }
    }
}

impl Surface {
    /// Lets a request in, or says why not.
    ///
    /// # Errors
    /// Bad credentials or a login that is required, forbidden, too many requests, or what kept it from being found out.
    pub(crate) async fn admit(&self, parts: &Parts, route: &Route) -> Result<Admitted, Failure> {
        let admitted = match &self.settings.authority {
            Some(authority) => self.known(authority, parts).await?,
            None => Admitted {
                caller: request::caller(parts, Api::Artifactory, Actor::Anonymous),
                identity: Identity::Anonymous,
                method: Method::Anonymous,
                rights: None,
            },
        };
        if Need::of(route).is_met(&admitted) { Ok(admitted) } else { Err(admitted.forbidden()) }
    }

    /// Who a request comes from. The credentials of people are taken, and access tokens, whichever way they are sent;
    /// tokens for pushing and pulling are not.
    async fn known(&self, authority: &Authority, parts: &Parts) -> Result<Admitted, Failure> {
        let credentials = credentials(&parts.headers)?;
        let login =
            login::log_in(&self.registry, authority, parts, credentials.as_ref(), SERVICE, Api::Artifactory);
        let Login { identity, method, .. } = login.await.map_err(|refused| Failure::from(&refused))?;
        if method == Method::Bearer {
            let message = "Bad credentials: tokens for pushing and pulling are not taken here";
            return Err(Failure::new(Code::BadCredentials).message(message));
        }
        let rights = authority.rights(&identity).map_err(|e| Failure::internal(e.to_string()))?;
        let caller = request::caller(parts, Api::Artifactory, login::actor(&identity));
        Ok(Admitted { caller, identity, method, rights: Some(Arc::new(rights)) })
    }
}

/// What a request carries to prove who sent it. Nothing is also an empty name with an empty password, which some clients
/// send where they have no login.
///
/// # Errors
/// Bad credentials, of a header that is not understood, or of several.
fn credentials(headers: &HeaderMap) -> Result<Option<Credentials>, Failure> {
    let bad = |why: String| Failure::new(Code::BadCredentials).message(format!("Bad credentials: {why}"));
    let mut sent = headers.get_all(header::AUTHORIZATION).iter();
    let mut keys = headers.get_all(API_KEY).iter();
    match (sent.next(), keys.next(), sent.next().or(keys.next())) {
        (None, None, _) => Ok(None),
        (None, Some(key), None) => match key.to_str() {
            Ok(key) => Ok(Some(Credentials::Bearer(Secret::new(key)))),
            Err(_) => Err(bad("the API key is not text".to_owned())),
        },
        (Some(header), None, None) => {
            match Credentials::parse(header.as_bytes()).map_err(|error| bad(error.to_string()))? {
                Credentials::Basic { user, password } if user.is_empty() && password.expose().is_empty() => {
                    Ok(None)
                }
                credentials => Ok(Some(credentials)),
            }
        }
        _ => Err(bad(format!("send one Authorization header, or one {API_KEY}"))),
    }
}
