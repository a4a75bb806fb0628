//! A directory in memory, and what the tests build on.

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use supercargo_access::{
    Authority, AuthoritySettings, Credentials, Directory, DirectoryError, HashCost, Login, PasswordSettings,
    Refused, Secret, SigningKeys, ThrottleSettings,
};
use supercargo_model::account::{
    Actions, Grant, Grantee, GroupName, PasswordHash, Permission, Token, TokenId, User, UserName,
};
use supercargo_model::{Pattern, RepoKey, RepoName, Timestamp};

pub(crate) const NOW: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);
pub(crate) const SERVICE: &str = "registry.example";
pub(crate) const PASSWORD: &str = "correct horse";

/// Accounts and permissions in memory. Counts what it is asked, and fails on demand.
#[derive(Default)]
pub(crate) struct Memory {
    users: Mutex<HashMap<UserName, (User, Vec<GroupName>)>>,
    tokens: Mutex<HashMap<TokenId, Token>>,
    permissions: Mutex<Vec<Permission>>,
    epoch: AtomicU64,
    pub(crate) asked: AtomicU64,
    pub(crate) failing: AtomicBool,
}

impl Memory {
    fn answer<T>(&self, answer: T) -> Result<T, DirectoryError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        if self.failing.load(Ordering::Relaxed) {
            return Err(DirectoryError::new("the disk is gone"));
        }
        Ok(answer)
    }

    fn changed(&self) {
        self.epoch.fetch_add(1, Ordering::Release);
    }

    pub(crate) fn put(&self, name: &str, user: User, groups: &[&str]) {
        let groups = groups.iter().map(|group| GroupName::parse(group).unwrap()).collect();
        self.users.lock().unwrap().insert(user_name(name), (user, groups));
        self.changed();
    }

    pub(crate) fn change(&self, name: &str, change: impl FnOnce(&mut User)) {
        change(&mut self.users.lock().unwrap().get_mut(&user_name(name)).unwrap().0);
        self.changed();
    }

    pub(crate) fn remove(&self, name: &str) {
        self.users.lock().unwrap().remove(&user_name(name));
        self.changed();
    }

    pub(crate) fn put_token(&self, id: TokenId, token: Token) {
        self.tokens.lock().unwrap().insert(id, token);
        self.changed();
    }

    pub(crate) fn remove_token(&self, id: TokenId) {
        self.tokens.lock().unwrap().remove(&id);
        self.changed();
    }

    pub(crate) fn permit(&self, grantee: Grantee, repositories: &str, names: &str, actions: Actions) {
        let (repositories, names) = (Pattern::parse(repositories).unwrap(), Pattern::parse(names).unwrap());
        let grant = Grant { grantee, repositories, names };
        self.permissions.lock().unwrap().push(Permission { grant, actions });
        self.changed();
    }

    pub(crate) fn forbid_everything(&self) {
        self.permissions.lock().unwrap().clear();
        self.changed();
    }
}

impl Directory for Memory {
    fn user(&self, name: &UserName) -> Result<Option<User>, DirectoryError> {
        self.answer(self.users.lock().unwrap().get(name).map(|(user, _)| user.clone()))
    }

    fn groups(&self, name: &UserName) -> Result<Vec<GroupName>, DirectoryError> {
        self.answer(self.users.lock().unwrap().get(name).map_or_else(Vec::new, |(_, groups)| groups.clone()))
    }

    fn token(&self, id: TokenId) -> Result<Option<Token>, DirectoryError> {
        self.answer(self.tokens.lock().unwrap().get(&id).cloned())
    }

    fn permissions(&self) -> Result<Vec<Permission>, DirectoryError> {
        self.answer(self.permissions.lock().unwrap().clone())
    }

    fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }
}

/// An authority over a directory.
pub(crate) struct World {
    pub(crate) directory: Arc<Memory>,
    pub(crate) authority: Authority,
}

pub(crate) fn settings() -> AuthoritySettings {
    let cost = HashCost { memory_kib: 8, passes: 1, lanes: 1 };
    AuthoritySettings {
        passwords: PasswordSettings { threads: NonZeroUsize::MIN, queue: 16, cost },
        throttle: ThrottleSettings { free_per_pair: 3, free_per_user: 6, ..ThrottleSettings::default() },
        ..AuthoritySettings::default()
    }
}

impl World {
    pub(crate) fn new() -> World {
        let directory = Arc::new(Memory::default());
        let keys = SigningKeys::ephemeral().unwrap();
        let authority = Authority::start(directory.clone(), keys, settings()).unwrap();
        World { directory, authority }
    }

    /// With `ann`, whose password is [`PASSWORD`].
    pub(crate) async fn with_ann() -> World {
        let world = World::new();
        let hash = world.hash(PASSWORD).await;
        world.directory.put("ann", person(Some(hash)), &["team"]);
        world
    }

    pub(crate) async fn hash(&self, password: &str) -> PasswordHash {
        self.authority.passwords().hash(Secret::new(password)).await.unwrap()
    }

    pub(crate) async fn send(&self, header: &str, from: &str, now: Timestamp) -> Result<Login, Refused> {
        let credentials = Credentials::parse(header.as_bytes()).unwrap();
        self.authority.authenticate(Some(&credentials), SERVICE, address(from), now).await
    }

    pub(crate) async fn log_in(&self, user: &str, password: &str) -> Result<Login, Refused> {
        self.send(&basic(user, password), "10.0.0.1", NOW).await
    }

    /// How many passwords are hashed meanwhile.
    pub(crate) async fn hashes<T>(&self, work: impl Future<Output = T>) -> (T, u64) {
        let before = self.authority.passwords().hashes_done();
        let output = work.await;
        (output, self.authority.passwords().hashes_done() - before)
    }
}

pub(crate) fn person(password: Option<PasswordHash>) -> User {
    User { service: false, administrator: false, disabled: false, password, email: None, created_at: NOW }
}

pub(crate) fn basic(user: &str, password: &str) -> String {
    let text = format!("{user}:{password}");
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(text))
}

pub(crate) fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub(crate) fn after(seconds: u64) -> Timestamp {
    NOW.plus(Duration::from_secs(seconds))
}

pub(crate) fn user_name(text: &str) -> UserName {
    UserName::parse(text).unwrap()
}

pub(crate) fn group(text: &str) -> Grantee {
    Grantee::Group(GroupName::parse(text).unwrap())
}

pub(crate) fn key(text: &str) -> RepoKey {
    RepoKey::parse(text).unwrap()
}

pub(crate) fn name(text: &str) -> RepoName {
    RepoName::parse(text).unwrap()
}
