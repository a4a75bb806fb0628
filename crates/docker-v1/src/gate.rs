//! Who may pass: what an operation needs, who is asking, and what a client is told that may not do it.
//!
//! A request about a name needs a right on that name, and is refused before anything of it is looked up. Images belong
//! to the repository as a whole, so a request about one needs a right on some name, and [`Viewer`] says which images
//! are seen: one that may not be seen is not there. Who somebody is and what they may do is `supercargo-access`'s to
//! know; here are the protocol's words for it (the V1 specification, 3).

use std::sync::Arc;

use http::request::Parts;
use http::{HeaderValue, header};
use supercargo_access::{Authority, Credentials, Identity, Login, Refused, Rights, Session};
use supercargo_eventlog::{Actor, Api};
use supercargo_http::response::header_value;
use supercargo_http::{login, request};
use supercargo_model::RepoName;
use supercargo_model::account::Actions;
use supercargo_registry::Caller;
use supercargo_registry::v1::Viewer;

use crate::Surface;
use crate::error::{Code, Failure};
use crate::route::Route;
use crate::token::Sent;
use supercargo_model::v1::V1Name;

/// The cookie by which concurrent pushers are told apart that have no token.
pub(crate) const SESSION_COOKIE: &str = "session";

/// How many cookies of that name are looked at.
const COOKIES_MAX: usize = 4;

type Judge = Box<dyn Fn(&RepoName) -> bool + Send + Sync>;

/// Whoever sent a request, known and let in.
pub(crate) struct Admitted {
    /// Who is recorded as having done it, and through what.
    pub(crate) caller: Caller,
    /// The name of the registry that the path's name stands for.
    name: Option<RepoName>,
    who: Who,
    /// `None` where everybody may do everything.
    rights: Option<Arc<Rights>>,
    may_read: Judge,
    may_write: Judge,
    /// The session that a cookie says, of whoever sends it. It says which name images are of, and restricts nothing.
    cookie: Option<Session>,
    /// Whether images may be pushed with what was sent.
    pub(crate) may_push: bool,
}

/// Who a request comes from.
struct Who {
    identity: Identity,
    by: By,
}

/// How that is known.
enum By {
    /// By name and password, or by nothing.
    Login(Box<Login>),
    /// By a token, which is sent back as it is.
    Session { session: Session, signature: String },
}

impl Who {
    fn session(&self) -> Option<&Session> {
        match &self.by {
            By::Login(_) => None,
            By::Session { session, .. } => Some(session),
        }
    }

    /// Whether what was sent is good for this at all.
    fn covers(&self, actions: Actions) -> bool {
        self.session().is_none_or(|session| session.actions.contain(actions))
    }
}

impl Admitted {
    /// The name of the registry that the path's name stands for.
    ///
    /// # Errors
    /// Internal, for an operation that is about no name.
    pub(crate) fn name(&self) -> Result<&RepoName, Failure> {
        self.name.as_ref().ok_or_else(|| Failure::internal("an operation without a name asked for its name"))
    }

    /// Through whose eyes images are looked up.
    pub(crate) fn viewer(&self) -> Viewer<'_> {
        let about = self.name.as_ref().or(self.session().map(|session| &session.name));
        let name = about.filter(|name| (self.may_read)(name));
        let (may_read, may_write) = (&*self.may_read, &*self.may_write);
        Viewer { caller: &self.caller, name, may_read, may_write }
    }

    /// The session that a token says, else a cookie.
    fn session(&self) -> Option<&Session> {
        self.who.session().or(self.cookie.as_ref())
    }

    /// Whether the session pushes; `None` where there is none.
    pub(crate) fn pushes(&self) -> Option<bool> {
        self.session().map(|session| session.actions.write)
    }

    /// Whether a name is shown to the caller.
    pub(crate) fn may_read(&self, name: &RepoName) -> bool {
        (self.may_read)(name)
    }

    /// Whether no name is shown to the caller, so that none has to be looked at.
    pub(crate) fn may_read_nothing(&self, surface: &Surface) -> bool {
        self.rights.as_ref().is_some_and(|rights| rights.read_nothing_in(surface.repository()))
    }

    /// The id of the session that a token or a cookie says.
    pub(crate) fn session_id(&self) -> Option<String> {
        self.session().map(|session| session.id.clone())
    }

    /// What tells concurrent pushers apart: what one uploads, the other does not see before it is whole.
    pub(crate) fn pusher(&self, parts: &Parts) -> String {
        let user = self.who.identity.name().map(ToString::to_string);
        match (self.session_id(), user) {
            // Whoever learns of another's session is still another.
            (Some(id), user) => format!("{id}/{}", user.unwrap_or_default()),
            (None, Some(user)) => format!("user/{user}"),
            (None, None) => format!("address/{}", request::client(parts)),
        }
    }

    /// The signature of a token for the name that the request is about: the one that came with it, or a new one.
    ///
    /// # Errors
    /// As [`Admitted::name`].
    pub(crate) fn token(&self, surface: &Surface, id: String, actions: Actions) -> Result<String, Failure> {
        let name = self.name()?.clone();
        let issue = |login: &Login| {
            let session = Session { id, repository: surface.repository().clone(), name, actions };
            surface.settings.sessions.issue(&session, login, surface.registry.now())
        };
        Ok(match &self.who.by {
            By::Login(login) => issue(login),
            // Where nobody is known, there is nothing that it could outlive.
            By::Session { .. } if self.rights.is_none() => issue(&Login::anonymous()),
            By::Session { signature, .. } => signature.clone(),
        })
    }
}

/// What an operation needs to be allowed.
enum Need<'r> {
    /// Nothing: what is shown depends on who asks.
    Nothing,
    /// To do something with images.
    Images(Actions),
    /// To do something with a name.
    Name(&'r V1Name, Actions),
}

impl<'r> Need<'r> {
    fn of(route: &'r Route) -> Need<'r> {
        match route {
            Route::Ping
            | Route::Base
            | Route::Login
            | Route::Register
            | Route::ChangeUser { .. }
            | Route::Search => Need::Nothing,
            Route::GetImageJson { .. }
            | Route::GetLayer { .. }
            | Route::GetAncestry { .. }
            | Route::ListFiles { .. } => Need::Images(Actions::READ),
            Route::PutImageJson { .. } | Route::PutLayer { .. } | Route::PutChecksum { .. } => {
                Need::Images(Actions::WRITE)
            }
            Route::ListImages { name }
            | Route::ListTags { name }
            | Route::GetTag { name, .. }
            | Route::GetTagJson { name, .. }
            | Route::GetRepositoryJson { name }
            | Route::GetProperties { name }
            | Route::CheckToken { name }
            | Route::GetLayerAccess { name, .. } => Need::Name(name, Actions::READ),
            Route::PutRepository { name } | Route::PutImages { name } | Route::SetTag { name, .. } => {
                Need::Name(name, Actions::WRITE)
            }
            Route::DeleteRepository { name }
            | Route::DeleteImages { name }
            | Route::DeleteTag { name, .. } => Need::Name(name, Actions::DELETE),
            Route::PutProperties { name } => Need::Name(name, Actions::MANAGE),
        }
    }
}

/// What cookies say of a session.
fn cookies(parts: &Parts) -> impl Iterator<Item = &str> {
    let cookies = parts.headers.get_all(header::COOKIE).iter().filter_map(|header| header.to_str().ok());
    let pairs = cookies.flat_map(|header| header.split(';')).filter_map(|pair| pair.split_once('='));
    let sessions = pairs.filter(|(name, _)| name.trim_ascii() == SESSION_COOKIE);
    sessions.map(|(_, signature)| signature.trim_ascii()).take(COOKIES_MAX)
}

impl Surface {
    /// Goes to the repository that the client's session is about, at a root where a call says no repository: those about
    /// images do not. Whose session it is, and what may be done by it, is found out after that.
    pub(crate) fn follow_session(&mut self, parts: &Parts) {
        let Some(root) = self.mount.shared.as_mut().filter(|root| !root.keyed) else { return };
        let verify = |signature: &str| {
            let authority = self.settings.authority.as_deref();
            self.settings.sessions.verify(signature, authority, self.registry.now()).ok()
        };
        let session = match Sent::parse(&parts.headers) {
            Ok(Sent::Token(signature)) => verify(&signature),
            Ok(Sent::Nothing | Sent::Basic(_)) => cookies(parts).find_map(verify),
            Err(_) => None,
        };
        if let Some((session, _)) = session
            && session.repository != self.mount.repository
        {
            root.keyed = true;
            self.mount.repository = session.repository;
        }
    }

    /// The session that a cookie says, where it was given to whoever sends it.
    fn cookie(&self, authority: Option<&Authority>, parts: &Parts, whose: &Identity) -> Option<Session> {
        cookies(parts).find_map(|signature| {
            let verified = self.settings.sessions.verify(signature, authority, self.registry.now());
            let (session, identity) = verified.ok()?;
            (identity.name() == whose.name() && session.repository == *self.repository()).then_some(session)
        })
    }

    /// Lets a request in, or says why not.
    ///
    /// # Errors
    /// Unauthorized with challenges, denied, too many requests, or what kept it from being found out.
    pub(crate) async fn admit(&self, parts: &Parts, route: &Route) -> Result<Admitted, Failure> {
        let Some(authority) = &self.settings.authority else { return self.admit_anybody(parts, route) };
        let who = self.who(authority, parts).await?;
        let rights = authority.rights(&who.identity).map_err(|e| Failure::internal(e.to_string()))?;
        let repository = self.repository();
        // A token is for one name, and so are the images that come with it.
        let may_write = match who.session() {
            Some(session) => rights.allow(repository, &session.name, Actions::WRITE),
            None => rights.write_something_in(repository),
        };
        let mut name = None;
        let (covered, allowed) = match Need::of(route) {
            Need::Nothing => (true, true),
            Need::Images(actions) if actions.write => (who.covers(actions), may_write),
            Need::Images(actions) => (who.covers(actions), may_write || !rights.read_nothing_in(repository)),
            Need::Name(asked, actions) => {
                let concerns = |name: &RepoName| !rights.allowed(repository, name).is_empty();
                let exists = |name: &RepoName| self.registry.has_tags(repository, name);
                let resolved = asked.resolve(concerns, exists)?;
                let about = who.session().is_none_or(|session| V1Name::of(&session.name) == *asked);
                let allowed = rights.allow(repository, &resolved, actions);
                name = Some(resolved);
                (about && who.covers(actions), allowed)
            }
        };
        if covered && allowed {
            let actor = login::actor(&who.identity);
            let rights = Arc::new(rights);
            let judge = |actions: Actions| -> Judge {
                let (rights, of) = (Arc::clone(&rights), repository.clone());
                Box::new(move |name| rights.allow(&of, name, actions))
            };
            let (may_read, may_write_to) = (judge(Actions::READ), judge(Actions::READ.or(Actions::WRITE)));
            let caller = request::caller(parts, Api::DockerV1, actor);
            let may_push = may_write && who.covers(Actions::WRITE);
            let cookie = self.cookie(Some(authority), parts, &who.identity);
            return Ok(Admitted {
                caller,
                name,
                who,
                rights: Some(rights),
                may_read,
                may_write: may_write_to,
                cookie,
                may_push,
            });
        }
        if who.identity.name().is_some() && !allowed {
            return Err(Failure::new(Code::Denied));
        }
        Err(self.challenged(Failure::new(Code::Unauthorized)))
    }

    /// Where everybody may do everything. What a client sends of itself tells it from others, and that is all.
    fn admit_anybody(&self, parts: &Parts, route: &Route) -> Result<Admitted, Failure> {
        let nobody = || By::Login(Box::new(Login::anonymous()));
        let name = match Need::of(route) {
            Need::Name(asked, _) => {
                let exists = |name: &RepoName| self.registry.has_tags(self.repository(), name);
                Some(asked.resolve(|_| true, exists)?)
            }
            Need::Nothing | Need::Images(_) => None,
        };
        let by = match Sent::parse(&parts.headers) {
            Ok(Sent::Token(signature)) => {
                let verified = self.settings.sessions.verify(&signature, None, self.registry.now());
                let mine = verified.ok().filter(|(session, _)| session.repository == *self.repository());
                mine.map_or_else(nobody, |(session, _)| By::Session { session, signature })
            }
            _ => nobody(),
        };
        let who = Who { identity: Identity::Anonymous, by };
        let may_push = who.covers(Actions::WRITE);
        let cookie = self.cookie(None, parts, &who.identity);
        Ok(Admitted {
            caller: request::caller(parts, Api::DockerV1, Actor::Anonymous),
            name,
            who,
            rights: None,
            may_read: Box::new(|_| true),
            may_write: Box::new(|_| true),
            cookie,
            may_push,
        })
    }

    async fn who(&self, authority: &Authority, parts: &Parts) -> Result<Who, Failure> {
        let sent = Sent::parse(&parts.headers).map_err(|error| {
            self.challenged(
                Failure::new(Code::Unauthorized).message(format!("Requires authorization: {error}")),
            )
        })?;
        let credentials = match sent {
            Sent::Token(signature) => {
                let verified =
                    self.settings.sessions.verify(&signature, Some(authority), self.registry.now());
                let (session, identity) = verified.map_err(|refused| self.challenged(refused.into()))?;
                if session.repository != *self.repository() {
                    return Err(self.challenged(Failure::new(Code::Unauthorized)));
                }
                return Ok(Who { identity, by: By::Session { session, signature } });
            }
            Sent::Nothing => None,
            Sent::Basic(credentials) => Some(credentials),
        };
        let login = self.login(authority, parts, credentials.as_ref()).await?;
        Ok(Who { identity: login.identity.clone(), by: By::Login(Box::new(login)) })
    }

    /// Whose credentials they are.
    ///
    /// # Errors
    /// Unauthorized with challenges, too many requests, or what kept it from being found out.
    pub(crate) async fn login(
        &self,
        authority: &Authority,
        parts: &Parts,
        credentials: Option<&Credentials>,
    ) -> Result<Login, Failure> {
        let service = self.repository().as_str();
        let login =
            login::log_in(&self.registry, authority, parts, credentials, service, Api::DockerV1).await;
        login.map_err(|refused| self.refusal(&refused))
    }

    /// Why somebody is not taken for who they say they are, in the protocol's words.
    fn refusal(&self, refused: &Refused) -> Failure {
        match refused {
            Refused::Wrong | Refused::Token(_) | Refused::Bearer(_) | Refused::Provider(_) => {
                let message = format!("Requires authorization: {refused}");
                self.challenged(Failure::new(Code::Unauthorized).message(message))
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

    /// Says how a client gets what it lacks, where that is all it lacks: by name and password, or by a token that it is
    /// given for them.
    pub(crate) fn challenged(&self, failure: Failure) -> Failure {
        if failure.code() != Code::Unauthorized {
            return failure;
        }
        let basic = header_value(format!("Basic realm=\"{}\"", self.repository()));
        failure
            .header(header::WWW_AUTHENTICATE, basic.unwrap_or(HeaderValue::from_static("Basic")))
            .header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Token"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(cookies: &[&str]) -> Parts {
        let mut parts = http::Request::new(()).into_parts().0;
        for cookie in cookies {
            parts.headers.append(header::COOKIE, HeaderValue::from_str(cookie).unwrap());
        }
        parts
    }

    #[test]
    fn a_session_is_found_among_cookies() {
        for (sent, found) in [
            (&["session=a.b"][..], &["a.b"][..]),
            (&["x=y; session=a.b;c=d"], &["a.b"]),
            (&["x=y", "z;session = a.b "], &["a.b"]),
            (&["session=other; session=a.b"], &["other", "a.b"]),
            (&["session=1; session=2; session=3; session=4; session=5"], &["1", "2", "3", "4"]),
            (&[], &[]),
            (&["xsession=a.b", "a.b"], &[]),
        ] {
            assert_eq!(cookies(&parts(sent)).collect::<Vec<_>>(), found, "{sent:?}");
        }
    }
}
