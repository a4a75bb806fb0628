//! What ties it together: from what a request carries to who it comes from, and on to what they may do.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use supercargo_model::account::{Actions, PasswordHash, TokenId, TokenKind, UserName};
use supercargo_model::{RepoKey, RepoName, Timestamp};

use crate::accounts::Accounts;
use crate::bearer::seconds;
use crate::oidc::{ASKED_EVERY, Provider, ProviderError, claimed_issuer};
use crate::password::PasswordError;
use crate::token::{SentToken, TokenRefused};
use crate::usage::TokenUses;
use crate::verified::Verified;
use crate::{
    Access, Bearer, BearerRefused, BearerSettings, Credentials, Directory, DirectoryError, Identity,
    IssuedBearer, KnownUser, NoRandom, PasswordSettings, Passwords, Permissions, Resource, Rights, Secret,
    SigningKeys, StartError, Subject, Throttle, ThrottleSettings, VerifiedBearer,
};

/// The user name that goes with any access token, for clients that ask for one.
pub const TOKEN_USER: &str = "token";

/// How long a client that met a full queue is asked to wait.
const BUSY_RETRY_AFTER: Duration = Duration::from_secs(1);

/// How somebody is found out to be who they are.
#[derive(Debug, Clone)]
pub struct AuthoritySettings {
    /// How passwords are hashed.
    pub passwords: PasswordSettings,
    /// How long a right password is remembered.
    pub password_remembered: Duration,
    /// How bearer tokens are made.
    pub bearer: BearerSettings,
    /// How who guesses is slowed down.
    pub throttle: ThrottleSettings,
}

impl Default for AuthoritySettings {
    fn default() -> AuthoritySettings {
        AuthoritySettings {
            passwords: PasswordSettings::default(),
            password_remembered: Duration::from_secs(60),
            bearer: BearerSettings::default(),
            throttle: ThrottleSettings::default(),
        }
    }
}

/// By what somebody proved who they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Method {
    /// By nothing.
    Anonymous,
    /// By a password.
    Password,
    /// By an access token or a refresh token.
    Token(TokenId),
    /// By a bearer token that was issued here.
    Bearer,
    /// By an identity token, of this issuer.
    Provider(Arc<str>),
}

/// Who a request comes from, and how that is known.
#[derive(Debug, Clone)]
pub struct Login {
    /// Who.
    pub identity: Identity,
    /// How.
    pub method: Method,
    /// A better hash of the password that was right. The caller records it, in place of `replaces` alone.
    pub upgrade: Option<PasswordUpgrade>,
    password: Option<PasswordHash>,
    subject: Subject,
    bearer: Option<Arc<VerifiedBearer>>,
}

/// A password's better hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PasswordUpgrade {
    /// Whose.
    pub user: UserName,
    /// The hash that it replaces: where the user has another by now, this one is out of date.
    pub replaces: PasswordHash,
    /// The better one.
    pub hash: PasswordHash,
}

impl Login {
    /// A request that carries nothing.
    pub fn anonymous() -> Login {
        let subject = Subject { user: None, vouched: None };
        Login {
            identity: Identity::Anonymous,
            method: Method::Anonymous,
            upgrade: None,
            password: None,
            subject,
            bearer: None,
        }
    }

    /// Whether what was sent is good for this at all: a bearer token is for what it was issued for, everything else
    /// for whatever its holder may do.
    pub fn covers(&self, repository: &RepoKey, name: &RepoName, actions: Actions) -> bool {
        self.bearer.as_ref().is_none_or(|bearer| {
            bearer.access.iter().any(|access| {
                let about = match &access.resource {
                    Resource::Repository { name: of, .. } => of == name,
                    Resource::Catalog => false,
                };
                about && access.repository.as_ref() == Some(repository) && access.actions.contain(actions)
            })
        })
    }

    /// Who it is, as a token can say it.
    pub(crate) fn subject(&self) -> &Subject {
        &self.subject
    }

    /// The hash of the password that was right, as the user has it once the caller has recorded the better one. `None` where
    /// something else than a password was sent.
    pub fn password(&self) -> Option<&PasswordHash> {
        self.password.as_ref()
    }

    /// The names that a bearer token is for; `None` for what is good for every name.
    pub fn names(&self) -> Option<impl Iterator<Item = &RepoName>> {
        let bearer = self.bearer.as_ref()?;
        Some(bearer.access.iter().filter_map(|access| match &access.resource {
            Resource::Repository { name, .. } => Some(name),
            Resource::Catalog => None,
        }))
    }

    /// Whether what was sent is good for listing names.
    pub fn covers_catalog(&self) -> bool {
        self.bearer.as_ref().is_none_or(|bearer| {
            bearer
                .access
                .iter()
                .any(|access| access.resource == Resource::Catalog && access.actions == Actions::ALL)
        })
    }
}

/// Why somebody is not taken for who they say they are.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The name or the password is wrong, or the user may not log in. Which of these is nobody's business.
    #[error("the user name or the password is wrong")]
    Wrong,
    /// The access token or refresh token is not taken.
    #[error(transparent)]
    Token(#[from] TokenRefused),
    /// The bearer token is not taken.
    #[error(transparent)]
    Bearer(#[from] BearerRefused),
    /// The identity token is not taken.
    #[error(transparent)]
    Provider(ProviderError),
    /// The identity provider does not answer, and its keys are not known. Not the client's fault.
    #[error("the identity provider can't be asked now: try again in {} s", whole_seconds(*retry_after))]
    ProviderSilent {
        /// How long to wait.
        retry_after: Duration,
    },
    /// Too many guesses.
    #[error("too many failed logins: try again in {} s", whole_seconds(*retry_after))]
    Throttled {
        /// How long to wait.
        retry_after: Duration,
    },
    /// Too many logins at once.
    #[error("too many logins at once: try again in {} s", whole_seconds(*retry_after))]
    Busy {
        /// How long to wait.
        retry_after: Duration,
    },
    /// It can't be found out. Not the client's fault.
    #[error("logins can't be checked now")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// A duration as a `Retry-After` header has it: whole seconds, rounded up (RFC 9110, section 10.2.3).
pub fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

impl From<DirectoryError> for Refused {
    fn from(error: DirectoryError) -> Refused {
        Refused::Unavailable(Box::new(error))
    }
}

impl From<ProviderError> for Refused {
    fn from(error: ProviderError) -> Refused {
        match error {
            ProviderError::Fetch(_) => Refused::ProviderSilent { retry_after: ASKED_EVERY },
            error => Refused::Provider(error),
        }
    }
}

/// Why no bearer token was issued.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// What may be granted can't be found out.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// There are no random bytes.
    #[error(transparent)]
    NoRandom(#[from] NoRandom),
}

/// Finds out who requests come from, issues bearer tokens, and says what may be done.
pub struct Authority {
    accounts: Accounts,
    passwords: Passwords,
    verified: Verified,
    bearer: Bearer,
    throttle: Throttle,
    uses: TokenUses,
    providers: Vec<Provider>,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("passwords", &self.passwords).finish_non_exhaustive()
    }
}

impl Authority {
    /// Starts the threads that check passwords.
    ///
    /// # Errors
    /// They can't be started, or there are no random bytes.
    pub fn start(
        directory: Arc<dyn Directory>,
        keys: SigningKeys,
        settings: AuthoritySettings,
    ) -> Result<Authority, StartError> {
        Ok(Authority {
            accounts: Accounts::new(directory),
            passwords: Passwords::start(settings.passwords)?,
            verified: Verified::new(settings.password_remembered)?,
            bearer: Bearer::new(keys, settings.bearer),
            throttle: Throttle::new(settings.throttle)?,
            uses: TokenUses::default(),
            providers: Vec::new(),
        })
    }

    /// Takes the identity tokens of these providers as well.
    #[must_use]
    pub fn with_providers(self, providers: Vec<Provider>) -> Authority {
        Authority { providers, ..self }
    }

    /// Who a request comes from. `service` is the one that it was sent to, which a bearer token must be for; `from`
    /// is the client's address.
    ///
    /// # Errors
    /// Why the credentials are not taken. What they grant to nobody in particular is not granted then either: a
    /// client with wrong credentials wants to hear of it.
    pub async fn authenticate(
        &self,
        credentials: Option<&Credentials>,
        service: &str,
        from: IpAddr,
        now: Timestamp,
    ) -> Result<Login, Refused> {
        match credentials {
            None => Ok(Login::anonymous()),
            Some(Credentials::Basic { user, password }) => {
                if let Some(token) = SentToken::parse(password.expose()) {
                    self.token(&token, Some(user), TokenKind::Access, now)
                } else if let Some(provider) = self.provider_of(password) {
                    self.identity_token(provider, password, from, now).await
                } else {
                    self.password(user, password, from, now).await
                }
            }
            Some(Credentials::Bearer(text)) => match SentToken::parse(text.expose()) {
                Some(token) => self.token(&token, None, TokenKind::Access, now),
                None => self.bearer(text, service, now),
            },
        }
    }

    /// Whose a refresh token is. For the token endpoint alone.
    ///
    /// # Errors
    /// Why it is not taken.
    pub fn refresh(&self, token: &Secret, now: Timestamp) -> Result<Login, Refused> {
        let token = SentToken::parse(token.expose()).ok_or(TokenRefused::Unknown)?;
        self.token(&token, None, TokenKind::Refresh, now)
    }

    /// Issues a bearer token, for what of the asked scopes may be done now. `find` says which repository and name a
    /// scope is about, which may be a name with less before it; what it does not find is left out. Whoever asks for too much gets less, never an error.
    ///
    /// # Errors
    /// It can't be found out what may be done, or no token can be made.
    pub fn issue(
        &self,
        login: &Login,
        service: &str,
        scopes: &[Access],
        find: impl Fn(&Resource) -> Option<(RepoKey, RepoName)>,
        now: Timestamp,
    ) -> Result<IssuedBearer, IssueError> {
        let rights = self.rights(&login.identity)?;
        let granted = scopes.iter().filter_map(|scope| {
            let granted = match &scope.resource {
                Resource::Catalog => {
                    // Says nothing by itself: each name of a listing is asked for.
                    login.covers_catalog().then(|| scope.clone())?
                }
                Resource::Repository { .. } => {
                    let (repository, name) = find(&scope.resource)?;
                    let actions = scope.actions.and(rights.allowed(&repository, &name));
                    if !login.covers(&repository, &name, actions) {
                        return None;
                    }
                    let resource = scope.resource.found_as(name);
                    Access { resource, repository: Some(repository), actions }
                }
            };
            (!granted.actions.is_empty()).then_some(granted)
        });
        Ok(self.bearer.issue(&login.subject, service, granted.collect(), now)?)
    }

    /// What an identity may do now. Asked once per request or listing.
    ///
    /// # Errors
    /// The permissions can't be read.
    pub fn rights(&self, identity: &Identity) -> Result<Rights, DirectoryError> {
        Ok(self.permissions()?.rights(identity))
    }

    /// Whether a request may do this: its user may, and what it carries is good for it.
    ///
    /// # Errors
    /// The permissions can't be read.
    pub fn authorize(
        &self,
        login: &Login,
        repository: &RepoKey,
        name: &RepoName,
        actions: Actions,
    ) -> Result<bool, DirectoryError> {
        Ok(login.covers(repository, name, actions)
            && self.rights(&login.identity)?.allow(repository, name, actions))
    }

    /// All permissions as they are now, compiled.
    ///
    /// # Errors
    /// They can't be read.
    pub fn permissions(&self) -> Result<Arc<Permissions>, DirectoryError> {
        self.accounts.permissions()
    }

    /// Hashes and checks passwords: for setting one.
    pub fn passwords(&self) -> &Passwords {
        &self.passwords
    }

    /// Takes the uses of tokens that were noted since the last time, to be recorded: for each token at most one in
    /// [`USES_COUNTED_TOGETHER`](crate::USES_COUNTED_TOGETHER).
    pub fn take_token_uses(&self, now: Timestamp) -> Vec<(TokenId, Timestamp)> {
        self.uses.take(now)
    }

    /// The hash of the password that a user may log in with now.
    pub(crate) fn password_of(&self, name: &UserName) -> Result<Option<PasswordHash>, DirectoryError> {
        let account = self.accounts.user(name)?.filter(|account| !account.user.service);
        Ok(account.and_then(|account| account.user.password.clone()))
    }

    /// Whether an access token of a user is still taken.
    pub(crate) fn knows_token(
        &self,
        id: TokenId,
        user: &UserName,
        now: Timestamp,
    ) -> Result<bool, DirectoryError> {
        let known = self.accounts.directory().token(id)?.filter(|token| token.user == *user);
        Ok(known.is_some_and(|token| token.expires_at.is_none_or(|end| now < end)))
    }

    async fn password(
        &self,
        sent_name: &str,
        password: &Secret,
        from: IpAddr,
        now: Timestamp,
    ) -> Result<Login, Refused> {
        // Also where the password was found right a moment ago: else who guesses could ask as fast as they like
        // whether it was.
        if let Err(retry_after) = self.throttle.check(sent_name, from, now) {
            return Err(Refused::Throttled { retry_after });
        }
        let failed = || {
            let wait = self.throttle.failed(sent_name, from, now);
            log_failure(sent_name, from, wait);
            Refused::Wrong
        };
        // Which texts are names is no secret, so nothing needs to take its time here.
        let name = UserName::parse(sent_name).map_err(|_| failed())?;

        let hash_of = |account: &crate::accounts::Account| {
            account.user.password.clone().filter(|_| !account.user.service)
        };
        let hash = self.accounts.user(&name)?.and_then(|account| hash_of(&account));
        // Who breaks off before the answer has guessed all the same.
        let mut broken_off = Unless { done: false, otherwise: || drop(failed()) };
        let checked = self.verified.check(&self.passwords, sent_name, password, hash.as_ref(), now).await;
        broken_off.done = true;
        drop(broken_off);
        let checked = checked.map_err(|error| match error {
            PasswordError::Busy => Refused::Busy { retry_after: BUSY_RETRY_AFTER },
            error => Refused::Unavailable(Box::new(error)),
        })?;

        // It took a while: the user may have been changed meanwhile.
        let account = self.accounts.user(&name)?;
        let account = account.filter(|account| !account.user.disabled && hash_of(account) == hash);
        let (Some(account), true, Some(replaces)) = (account, checked.right, hash) else {
            // Those who waited for the same answer made no guess of their own.
            return Err(if checked.first { failed() } else { Refused::Wrong });
        };
        // What is sent with each request says nothing of who guesses beside it.
        if checked.first {
            self.throttle.succeeded(sent_name, from, now);
        }
        Ok(Login {
            identity: account.identity.clone(),
            method: Method::Password,
            password: Some(checked.upgrade.clone().unwrap_or_else(|| replaces.clone())),
            upgrade: checked.upgrade.map(|hash| PasswordUpgrade { user: name.clone(), replaces, hash }),
            subject: Subject { user: Some(name), vouched: None },
            bearer: None,
        })
    }

    fn token(
        &self,
        sent: &SentToken,
        user: Option<&str>,
        kind: TokenKind,
        now: Timestamp,
    ) -> Result<Login, Refused> {
        let known = self.accounts.directory().token(sent.id)?.ok_or(TokenRefused::Unknown)?;
        sent.verify(&known, kind, now)?;
        if user.is_some_and(|user| user != known.user.as_str() && user != TOKEN_USER) {
            return Err(Refused::Wrong);
        }
        let account = self.accounts.user(&known.user)?.filter(|account| !account.user.disabled);
        let account = account.ok_or(TokenRefused::Unknown)?;
        self.uses.note(sent.id, &known, now);
        Ok(Login {
            identity: account.identity.clone(),
            method: Method::Token(sent.id),
            upgrade: None,
            password: None,
            subject: Subject { user: Some(known.user), vouched: None },
            bearer: None,
        })
    }

    fn bearer(&self, text: &Secret, service: &str, now: Timestamp) -> Result<Login, Refused> {
        let bearer = self.bearer.verify(text.expose(), service, now)?;
        let identity = self.resolve(&bearer.subject, bearer.issued_at)?.ok_or(BearerRefused::Subject)?;
        let subject = bearer.subject.clone();
        Ok(Login {
            identity,
            method: Method::Bearer,
            upgrade: None,
            password: None,
            subject,
            bearer: Some(bearer),
        })
    }

    fn provider_of(&self, password: &Secret) -> Option<&Provider> {
        if self.providers.is_empty() {
            return None;
        }
        let issuer = claimed_issuer(password.expose())?;
        self.providers.iter().find(|provider| provider.issuer() == issuer)
    }

    async fn identity_token(
        &self,
        provider: &Provider,
        token: &Secret,
        from: IpAddr,
        now: Timestamp,
    ) -> Result<Login, Refused> {
        let issuer = provider.issuer();
        // Of a token that is not proved nothing is shown but whose it claims to be.
        let refused = |user: Option<&UserName>, error: ProviderError| {
            let user = user.map(tracing::field::display);
            tracing::info!(issuer, user, %from, %error, "identity token refused");
            Refused::from(error)
        };
        let subject = provider.verify(token.expose(), now).await.map_err(|error| refused(None, error))?;
        let Some(identity) = self.resolve(&subject, seconds(now))? else {
            return Err(refused(subject.user.as_ref(), ProviderError::Subject));
        };
        Ok(Login {
            identity,
            method: Method::Provider(issuer.into()),
            upgrade: None,
            password: None,
            subject,
            bearer: None,
        })
    }

    /// Who a subject is now. `None` where they may no longer log in.
    pub(crate) fn resolve(&self, subject: &Subject, since: i64) -> Result<Option<Identity>, DirectoryError> {
        let Some(name) = &subject.user else { return Ok(Some(Identity::Anonymous)) };
        let account = self.accounts.user(name)?;
        if account.as_ref().is_some_and(|account| account.user.disabled) {
            return Ok(None);
        }
        Ok(match (account, &subject.vouched) {
            // Another user who was given the name of one who was removed.
            (Some(account), None) if seconds(account.user.created_at) > since => None,
            (Some(account), None) => Some(account.identity.clone()),
            (None, None) => None,
            (Some(_), Some(vouched)) if !vouched.linked => None,
            (account, Some(vouched)) => {
                let known = account.as_ref().and_then(|account| account.identity.user());
                let groups = known.map_or(&[][..], |known| &known.groups);
                Some(Identity::from(KnownUser {
                    name: name.clone(),
                    groups: groups.iter().chain(&vouched.groups).cloned().collect(),
                    administrator: vouched.administrator || known.is_some_and(|known| known.administrator),
                }))
            }
        })
    }
}

/// Does something when it is dropped, unless it is `done`.
struct Unless<F: Fn()> {
    done: bool,
    otherwise: F,
}

impl<F: Fn()> Drop for Unless<F> {
    fn drop(&mut self) {
        if !self.done {
            (self.otherwise)();
        }
    }
}

/// A name that no user can have is not shown: people type passwords into the wrong field. One that a user can have
/// is short, and holds nothing that could break a line.
fn log_failure(sent_name: &str, from: IpAddr, wait: Option<Duration>) {
    let user = if UserName::parse(sent_name).is_ok() { sent_name } else { "(not a name)" };
    match wait {
        Some(wait) => {
            tracing::warn!(%user, %from, wait_s = whole_seconds(wait), "login failed; the next has to wait");
        }
        None => tracing::info!(%user, %from, "login failed"),
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;
    use supercargo_model::account::{GroupName, Permission, Token, User};

    use super::*;
    use crate::password::{cheap, poll_once};

    /// One user at most, whatever the name.
    #[derive(Default)]
    struct One(Mutex<(Option<User>, u64)>);

    impl One {
        fn put(&self, user: User) {
            let mut inner = self.0.lock();
            *inner = (Some(user), inner.1 + 1);
        }
    }

    impl Directory for One {
        fn user(&self, _: &UserName) -> Result<Option<User>, DirectoryError> {
            Ok(self.0.lock().0.clone())
        }

        fn groups(&self, _: &UserName) -> Result<Vec<GroupName>, DirectoryError> {
            Ok(Vec::new())
        }

        fn token(&self, _: TokenId) -> Result<Option<Token>, DirectoryError> {
            Ok(None)
        }

        fn permissions(&self) -> Result<Vec<Permission>, DirectoryError> {
            Ok(Vec::new())
        }

        fn epoch(&self) -> u64 {
            self.0.lock().1
        }
    }

    const NOW: Timestamp = Timestamp::from_micros(0);

    /// An authority whose passwords are checked once told to.
    fn paused(queue: usize) -> (Arc<One>, Authority, impl FnOnce()) {
        let directory = Arc::new(One::default());
        let settings = AuthoritySettings { passwords: cheap(), ..AuthoritySettings::default() };
        let keys = SigningKeys::ephemeral().unwrap();
        let authority = Authority::start(directory.clone(), keys, settings).unwrap();
        let (passwords, start) = Passwords::paused(PasswordSettings { queue, ..cheap() });
        (directory, Authority { passwords, ..authority }, start)
    }

    fn ann(password: &str) -> Credentials {
        Credentials::Basic { user: "ann".to_owned(), password: Secret::new(password) }
    }

    #[tokio::test]
    async fn past_the_queue_clients_are_asked_to_come_again() {
        let (_, authority, start) = paused(1);
        let from = IpAddr::from([10, 0, 0, 1]);
        let (one, other) = (ann("one"), ann("other"));
        let mut first = Box::pin(authority.authenticate(Some(&one), "", from, NOW));
        assert!(poll_once(first.as_mut()).is_none());
        for _ in 0..20 {
            let refused = authority.authenticate(Some(&other), "", from, NOW).await;
            assert!(matches!(refused, Err(Refused::Busy { retry_after: BUSY_RETRY_AFTER })), "{refused:?}");
        }
        start();
        assert!(matches!(first.await, Err(Refused::Wrong)));
        assert!(authority.throttle.check("ann", from, NOW).is_ok(), "what was not looked at is no failure");
    }

    #[tokio::test]
    async fn who_breaks_off_has_guessed_all_the_same() {
        let (_, authority, _start) = paused(100);
        let from = IpAddr::from([10, 0, 0, 1]);
        let guesses: Vec<Credentials> = (0..20).map(|number| ann(&format!("guess {number}"))).collect();
        let begun = guesses.iter().take_while(|guess| {
            let mut login = Box::pin(authority.authenticate(Some(guess), "", from, NOW));
            poll_once(login.as_mut()).is_none()
        });
        assert!((1..10).contains(&begun.count()));
        assert!(authority.throttle.check("ann", from, NOW).is_err());
    }

    #[tokio::test]
    async fn what_becomes_of_a_user_while_the_password_is_checked_counts() {
        let hash = Passwords::start(cheap()).unwrap().hash(Secret::new("correct horse")).await.unwrap();
        let user = User {
            service: false,
            administrator: false,
            disabled: false,
            password: Some(hash),
            email: None,
            created_at: NOW,
        };
        for (changed, taken) in [
            (User { administrator: true, ..user.clone() }, true),
            (User { disabled: true, ..user.clone() }, false),
            (User { password: Some(PasswordHash::new("another")), ..user.clone() }, false),
        ] {
            let (directory, authority, start) = paused(1);
            directory.put(user.clone());
            let credentials = ann("correct horse");
            let mut login =
                Box::pin(authority.authenticate(Some(&credentials), "", IpAddr::from([10, 0, 0, 1]), NOW));
            assert!(poll_once(login.as_mut()).is_none());
            directory.put(changed);
            start();
            let login = login.await;
            assert_eq!(
                login.as_ref().is_ok_and(|login| login.identity.is_administrator()),
                taken,
                "{login:?}"
            );
        }
    }

    #[test]
    fn a_wait_is_told_in_whole_seconds() {
        for (millis, seconds) in [(0, 0), (1, 1), (1000, 1), (1001, 2)] {
            assert_eq!(whole_seconds(Duration::from_millis(millis)), seconds);
        }
    }
}
