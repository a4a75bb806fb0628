//! Passwords: hashed and checked, slowly on purpose, on threads of their own.
//!
//! A bounded number of threads takes work from a bounded queue; past it, callers are told to come again, so that a
//! flood of guesses costs a fixed part of the machine and never an async thread. Where there is no hash to check
//! against, a decoy is checked, so that the time does not tell whether a user exists.
//!
//! The one exception: a hash imported with other parameters takes its own time until its user logs in, when it is
//! replaced.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;

use argon2::password_hash::phc;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use parking_lot::Mutex;
use supercargo_model::account::PasswordHash;
use tokio::sync::oneshot;

use crate::secret::random;
use crate::{NoRandom, Secret, token};

/// Shortest new password, in characters (NIST SP 800-63B, section 3.1.1.2, where a second factor or a token follows).
pub const PASSWORD_CHARS_MIN: usize = 8;
/// Longest new password, in bytes.
pub const PASSWORD_BYTES_MAX: usize = 1024;

/// Most memory that checking a stored hash may take, in KiB.
const MEMORY_KIB_MAX: u32 = 256 * 1024;
/// Most work that checking a stored hash may take: memory in KiB times passes over it. About a second.
const WORK_KIB_MAX: u64 = 1024 * 1024;
/// Most lanes of a stored hash. They are computed one after the other.
const LANES_MAX: u32 = 16;
/// Highest cost of a stored bcrypt hash: 2^14 rounds, about a second.
const BCRYPT_COST_MAX: u32 = 14;
/// What bcrypt takes of a password, in bytes. The rest is not looked at.
const BCRYPT_BYTES_MAX: usize = 72;

/// What hashing with argon2id costs. The default is what OWASP's Password Storage Cheat Sheet asks for at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HashCost {
    /// Memory, in KiB.
    pub memory_kib: u32,
    /// Passes over it.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
}

impl Default for HashCost {
    fn default() -> HashCost {
        HashCost { memory_kib: 19 * 1024, passes: 2, lanes: 1 }
    }
}

impl HashCost {
    fn hasher(self) -> Result<Argon2<'static>, HashRefused> {
        self.check()?;
        let params = Params::new(self.memory_kib, self.passes, self.lanes, None);
        let params = params.map_err(|error| HashRefused::Malformed(error.to_string()))?;
        Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
    }

    fn check(self) -> Result<(), HashRefused> {
        let work = u64::from(self.memory_kib) * u64::from(self.passes);
        let bounded = self.memory_kib <= MEMORY_KIB_MAX && work <= WORK_KIB_MAX && self.lanes <= LANES_MAX;
        if bounded { Ok(()) } else { Err(HashRefused::TooCostly) }
    }
}

/// How many threads hash, and how much may wait for them.
#[derive(Debug, Clone, Copy)]
pub struct PasswordSettings {
    /// Threads.
    pub threads: NonZeroUsize,
    /// How many passwords may wait. At some 20 ms each, 64 on two threads is about as long as a client waits gladly.
    pub queue: usize,
    /// What a new hash costs.
    pub cost: HashCost,
}

impl Default for PasswordSettings {
    /// Half of the processors, one at least.
    fn default() -> PasswordSettings {
        let processors = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let threads = NonZeroUsize::new(processors / 2).unwrap_or(NonZeroUsize::MIN);
        PasswordSettings { threads, queue: 64, cost: HashCost::default() }
    }
}

/// Why passwords can't be hashed at all.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// There are no random bytes for a salt.
    #[error(transparent)]
    NoRandom(#[from] NoRandom),
    /// A thread did not start.
    #[error("a thread that hashes passwords did not start: {0}")]
    Thread(#[from] std::io::Error),
    /// The cost that is set is not possible.
    #[error("the cost of a password's hash is not usable: {0}")]
    Cost(#[from] HashRefused),
}

/// Why a hash is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HashRefused {
    /// It is none of a kind that is known.
    #[error("use argon2id, argon2i or argon2d in PHC string format, or bcrypt ($2a$, $2b$, $2y$)")]
    Unknown,
    /// It is of a known kind, but not well-formed.
    #[error("the hash is malformed: {0}")]
    Malformed(String),
    /// Checking it would cost too much.
    #[error(
        "the hash takes too much to check: 256 MiB, 1 GiB in all passes and 16 lanes at most, or a bcrypt cost of 14"
    )]
    TooCostly,
}

/// Why a password is not taken as a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasswordRefused {
    /// It is too short.
    #[error("the password is too short: use {PASSWORD_CHARS_MIN} characters at least")]
    TooShort,
    /// It is too long.
    #[error("the password is too long: use {PASSWORD_BYTES_MAX} bytes at most")]
    TooLong,
    /// It holds a character that can't be sent (RFC 7617, section 2).
    #[error("the password holds a control character, which can't be sent to log in")]
    Control,
    /// It would be taken for a token.
    #[error("the password looks like a token")]
    LooksLikeToken,
}

/// Why a password was not hashed or checked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// Too many wait already. Try again after a second or so.
    #[error("too many passwords wait to be checked; try again")]
    Busy,
    /// It is not taken as a new one.
    #[error(transparent)]
    Refused(#[from] PasswordRefused),
    /// There are no random bytes for a salt.
    #[error(transparent)]
    NoRandom(#[from] NoRandom),
    /// The threads have ended.
    #[error("passwords are no longer checked: the server is stopping")]
    Stopped,
}

/// What checking a password gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is wrong, or there is none.
    Wrong,
    /// It is right.
    Right {
        /// A better hash of it, to be kept in place of one that is weaker than what is made now.
        upgrade: Option<PasswordHash>,
    },
}

/// Says whether a text may become a password.
///
/// # Errors
/// Says why not.
pub fn check_new_password(password: &Secret) -> Result<(), PasswordRefused> {
    let text = password.expose();
    if text.len() > PASSWORD_BYTES_MAX {
        Err(PasswordRefused::TooLong)
    } else if text.chars().count() < PASSWORD_CHARS_MIN {
        Err(PasswordRefused::TooShort)
    } else if text.chars().any(char::is_control) {
        Err(PasswordRefused::Control)
    } else if token::looks_like_one(text) {
        Err(PasswordRefused::LooksLikeToken)
    } else {
        Ok(())
    }
}

/// Says whether a hash that comes from elsewhere can be kept: whether it is of a kind that can be checked, at a
/// cost that is bearable.
///
/// # Errors
/// Says why not.
pub fn check_hash(hash: &PasswordHash) -> Result<(), HashRefused> {
    Stored::parse(hash.as_str()).map(drop)
}

/// Hashes and checks passwords. The threads end when it is dropped.
#[derive(Debug)]
pub struct Passwords {
    queue: SyncSender<Job>,
    decoy: PasswordHash,
    done: Arc<AtomicU64>,
}

impl Passwords {
    /// Starts the threads.
    ///
    /// # Errors
    /// The machine gives no random bytes or no threads, or the cost is out of bounds.
    pub fn start(settings: PasswordSettings) -> Result<Passwords, StartError> {
        let (passwords, worker, jobs) = Passwords::prepare(settings)?;
        let jobs = Arc::new(Mutex::new(jobs));
        for n in 0..settings.threads.get() {
            let (worker, jobs) = (worker.clone(), Arc::clone(&jobs));
            thread::Builder::new().name(format!("passwords-{n}")).spawn(move || worker.run(&jobs))?;
        }
        Ok(passwords)
    }

    fn prepare(settings: PasswordSettings) -> Result<(Passwords, Worker, Receiver<Job>), StartError> {
        let hasher = settings.cost.hasher()?;
        let decoy = decoy(&hasher)?;
        let done = Arc::new(AtomicU64::new(0));
        let (queue, jobs) = sync_channel(settings.queue);
        let worker = Worker { hasher, cost: settings.cost, done: Arc::clone(&done) };
        Ok((Passwords { queue, decoy, done }, worker, jobs))
    }

    /// Threads that start when they are told to, so that a test can see who waits.
    #[cfg(test)]
    pub(crate) fn paused(settings: PasswordSettings) -> (Passwords, impl FnOnce()) {
        let (passwords, worker, jobs) = Passwords::prepare(settings).unwrap();
        (passwords, move || drop(thread::spawn(move || worker.run(&Mutex::new(jobs)))))
    }

    /// Hashes a new password.
    ///
    /// # Errors
    /// The password is not taken, or the queue is full.
    pub async fn hash(&self, password: Secret) -> Result<PasswordHash, PasswordError> {
        check_new_password(&password)?;
        let (reply, answer) = oneshot::channel();
        self.enqueue(Job::Hash { password, reply })?;
        Ok(answer.await.map_err(|_| PasswordError::Stopped)??)
    }

    /// Checks a password against a hash, or against the decoy, which is never right, where there is none.
    ///
    /// # Errors
    /// The queue is full.
    pub async fn verify(
        &self,
        password: Secret,
        hash: Option<&PasswordHash>,
    ) -> Result<Verdict, PasswordError> {
        let (reply, answer) = oneshot::channel();
        let hash = hash.unwrap_or(&self.decoy).clone();
        self.enqueue(Job::Verify { password, hash, reply })?;
        answer.await.map_err(|_| PasswordError::Stopped)
    }

    /// How many times a password was hashed or checked since the start, each of which costs what [`HashCost`] says.
    pub fn hashes_done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    fn enqueue(&self, job: Job) -> Result<(), PasswordError> {
        self.queue.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => PasswordError::Busy,
            TrySendError::Disconnected(_) => PasswordError::Stopped,
        })
    }
}

/// A hash that looks like those that are made now, of nothing that is known.
fn decoy(hasher: &Argon2<'_>) -> Result<PasswordHash, StartError> {
    let malformed = |error: phc::Error| HashRefused::Malformed(error.to_string());
    let hash = phc::PasswordHash {
        algorithm: phc::Ident::new("argon2id").map_err(malformed)?,
        version: Some(Version::V0x13.into()),
        params: phc::ParamsString::try_from(hasher.params())
            .map_err(|error| HashRefused::Malformed(error.to_string()))?,
        salt: Some(phc::Salt::new(&random::<16>()?).map_err(malformed)?),
        hash: Some(phc::Output::new(&random::<32>()?).map_err(malformed)?),
    };
    Ok(PasswordHash::new(hash.to_string()))
}

enum Job {
    Hash { password: Secret, reply: oneshot::Sender<Result<PasswordHash, NoRandom>> },
    Verify { password: Secret, hash: PasswordHash, reply: oneshot::Sender<Verdict> },
}

#[derive(Clone)]
struct Worker {
    hasher: Argon2<'static>,
    cost: HashCost,
    done: Arc<AtomicU64>,
}

impl Worker {
    fn run(&self, jobs: &Mutex<Receiver<Job>>) {
        loop {
            // The lock is held while waiting, and let go before the work.
            let job = jobs.lock().recv();
            match job {
                // Whoever is no longer waiting is not worked for. Nor is it an error that they left meanwhile.
                Ok(Job::Hash { password, reply }) if !reply.is_closed() => {
                    let _ = reply.send(self.hash(&password));
                }
                Ok(Job::Verify { password, hash, reply }) if !reply.is_closed() => {
                    let _ = reply.send(self.verify(&password, &hash));
                }
                Ok(_) => {}
                Err(_) => return,
            }
        }
    }

    fn hash(&self, password: &Secret) -> Result<PasswordHash, NoRandom> {
        self.done.fetch_add(1, Ordering::Relaxed);
        let salt = random::<16>()?;
        match self.hasher.hash_password_with_salt(password.expose().as_bytes(), &salt) {
            Ok(hash) => Ok(PasswordHash::new(hash.to_string())),
            // The parameters, the salt and the password's length were checked; what is left is memory.
            Err(error) => {
                tracing::error!(%error, "a password was not hashed");
                Err(NoRandom)
            }
        }
    }

    fn verify(&self, password: &Secret, hash: &PasswordHash) -> Verdict {
        self.done.fetch_add(1, Ordering::Relaxed);
        let stored = match Stored::parse(hash.as_str()) {
            Ok(stored) => stored,
            Err(error) => {
                tracing::error!(%error, "a stored password hash can't be checked; set the password anew");
                return Verdict::Wrong;
            }
        };
        if !stored.matches(password.expose()) {
            return Verdict::Wrong;
        }
        let upgrade = stored.is_weaker_than(self.cost, password.expose());
        Verdict::Right { upgrade: upgrade.then(|| self.hash(password).ok()).flatten() }
    }
}

/// A hash as it is kept.
enum Stored<'a> {
    Argon2 { hash: Box<phc::PasswordHash>, cost: HashCost },
    Bcrypt(&'a str),
}

impl Stored<'_> {
    fn parse(text: &str) -> Result<Stored<'_>, HashRefused> {
        if text.starts_with("$argon2") {
            let malformed = |error: &dyn std::fmt::Display| HashRefused::Malformed(error.to_string());
            let hash = phc::PasswordHash::new(text).map_err(|error| malformed(&error))?;
            Algorithm::try_from(hash.algorithm.as_str()).map_err(|_| HashRefused::Unknown)?;
            if hash.salt.is_none() || hash.hash.is_none() {
                return Err(malformed(&"it has no salt or no hash"));
            }
            let params = Params::try_from(&hash).map_err(|error| malformed(&error))?;
            let (memory_kib, passes, lanes) = (params.m_cost(), params.t_cost(), params.p_cost());
            let cost = HashCost { memory_kib, passes, lanes };
            cost.check()?;
            Ok(Stored::Argon2 { hash: Box::new(hash), cost })
        } else if ["$2a$", "$2b$", "$2y$"].iter().any(|prefix| text.starts_with(prefix)) {
            let parts: bcrypt::HashParts = text
                .parse()
                .map_err(|error: bcrypt::BcryptError| HashRefused::Malformed(error.to_string()))?;
            if parts.get_cost() > BCRYPT_COST_MAX {
                return Err(HashRefused::TooCostly);
            }
            Ok(Stored::Bcrypt(text))
        } else {
            Err(HashRefused::Unknown)
        }
    }

    fn matches(&self, password: &str) -> bool {
        match self {
            // The parameters are the hash's own.
            Stored::Argon2 { hash, .. } => {
                Argon2::default().verify_password(password.as_bytes(), &**hash).is_ok()
            }
            Stored::Bcrypt(hash) => bcrypt::verify(password, hash).unwrap_or(false),
        }
    }

    fn is_weaker_than(&self, cost: HashCost, password: &str) -> bool {
        match self {
            Stored::Argon2 { hash, cost: stored } => {
                hash.algorithm.as_str() != "argon2id"
                    || stored.memory_kib < cost.memory_kib
                    || stored.passes < cost.passes
            }
            // Of a longer one, bcrypt has checked the beginning alone: the end may be mistyped, and must not
            // become part of the password.
            Stored::Bcrypt(_) => password.len() <= BCRYPT_BYTES_MAX,
        }
    }
}

/// The least that argon2 can cost: tests check what is done, not how long it takes.
#[cfg(test)]
pub(crate) fn cheap() -> PasswordSettings {
    let cost = HashCost { memory_kib: 8, passes: 1, lanes: 1 };
    PasswordSettings { threads: NonZeroUsize::MIN, queue: 8, cost }
}

#[cfg(test)]
pub(crate) fn poll_once<F: Future>(future: std::pin::Pin<&mut F>) -> Option<F::Output> {
    match future.poll(&mut std::task::Context::from_waker(std::task::Waker::noop())) {
        std::task::Poll::Ready(output) => Some(output),
        std::task::Poll::Pending => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RIGHT: Verdict = Verdict::Right { upgrade: None };

    fn secret(text: &str) -> Secret {
        Secret::new(text)
    }

    #[tokio::test]
    async fn a_password_is_right_for_its_hash_alone() {
        let passwords = Passwords::start(cheap()).unwrap();
        let hash = passwords.hash(secret("correct horse")).await.unwrap();
        assert_ne!(hash, passwords.hash(secret("correct horse")).await.unwrap(), "the salt is the same");
        assert_eq!(passwords.verify(secret("correct horse"), Some(&hash)).await.unwrap(), RIGHT);
        assert_eq!(passwords.verify(secret("wrong horse"), Some(&hash)).await.unwrap(), Verdict::Wrong);
        assert_eq!(passwords.verify(secret(""), None).await.unwrap(), Verdict::Wrong);
    }

    #[test]
    fn new_hashes_cost_what_owasp_asks_for() {
        let hash = decoy(&HashCost::default().hasher().unwrap()).unwrap();
        assert!(hash.as_str().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", hash.as_str());
    }

    #[tokio::test]
    async fn without_a_hash_the_same_work_is_done() {
        let passwords = Passwords::start(cheap()).unwrap();
        let hash = passwords.hash(secret("correct horse")).await.unwrap();
        let cost = |hash: &PasswordHash| match Stored::parse(hash.as_str()).unwrap() {
            Stored::Argon2 { cost, .. } => cost,
            Stored::Bcrypt(_) => panic!("not argon2"),
        };
        assert_eq!(cost(&passwords.decoy), cost(&hash));
        let before = passwords.hashes_done();
        passwords.verify(secret("wrong horse"), Some(&hash)).await.unwrap();
        assert_eq!(passwords.hashes_done() - before, 1);
        passwords.verify(secret("wrong horse"), None).await.unwrap();
        assert_eq!(passwords.hashes_done() - before, 2);
    }

    #[tokio::test]
    async fn what_is_weaker_is_hashed_anew_once() {
        let cost = HashCost { memory_kib: 16, passes: 1, lanes: 1 };
        let passwords = Passwords::start(PasswordSettings { cost, ..cheap() }).unwrap();
        let old = Passwords::start(cheap()).unwrap().hash(secret("correct horse")).await.unwrap();
        let bcrypt = PasswordHash::new(bcrypt::hash("correct horse", 4).unwrap());
        for weak in [old, bcrypt] {
            let Verdict::Right { upgrade: Some(better) } =
                passwords.verify(secret("correct horse"), Some(&weak)).await.unwrap()
            else {
                panic!("not hashed anew");
            };
            assert!(better.as_str().starts_with("$argon2id$v=19$m=16,"));
            assert_eq!(passwords.verify(secret("correct horse"), Some(&better)).await.unwrap(), RIGHT);
            assert_eq!(passwords.verify(secret("wrong horse"), Some(&weak)).await.unwrap(), Verdict::Wrong);
        }
    }

    #[tokio::test]
    async fn what_bcrypt_did_not_look_at_does_not_become_part_of_a_password() {
        let passwords = Passwords::start(cheap()).unwrap();
        let long = "a".repeat(BCRYPT_BYTES_MAX);
        let hash = PasswordHash::new(bcrypt::hash(&long, 4).unwrap());
        assert_eq!(passwords.verify(secret(&format!("{long}typo")), Some(&hash)).await.unwrap(), RIGHT);
    }

    #[tokio::test]
    async fn a_full_queue_says_so_at_once() {
        let (passwords, start) = Passwords::paused(PasswordSettings { queue: 1, ..cheap() });
        let mut first = std::pin::pin!(passwords.verify(secret("a"), None));
        assert!(poll_once(first.as_mut()).is_none(), "it waits in the queue");
        assert_eq!(passwords.verify(secret("b"), None).await.unwrap_err(), PasswordError::Busy);
        start();
        assert_eq!(first.await.unwrap(), Verdict::Wrong);
    }

    #[tokio::test]
    async fn who_no_longer_waits_is_not_worked_for() {
        let (passwords, start) = Passwords::paused(cheap());
        let mut left = Box::pin(passwords.verify(secret("a"), None));
        assert!(poll_once(left.as_mut()).is_none());
        drop(left);
        start();
        passwords.verify(secret("b"), None).await.unwrap();
        assert_eq!(passwords.hashes_done(), 1);
    }

    #[test]
    fn hashes_that_ask_for_too_much_are_refused() {
        let tail = "$c2FsdHNhbHRzYWx0$BztdyfEefG5V18ZNlztPrfZaU5duVFKZiI6dJeWht0o";
        let bcrypt = "$2y$15$abcdefghijklmnopqrstuuDzM7Jd1FZvNsMc1hn9VlOePQxJ8Z0e2";
        for (hash, expected) in [
            (format!("$argon2id$v=19$m=16777216,t=1,p=1{tail}"), HashRefused::TooCostly),
            (format!("$argon2id$v=19$m=262144,t=100,p=1{tail}"), HashRefused::TooCostly),
            (format!("$argon2id$v=19$m=19456,t=2,p=64{tail}"), HashRefused::TooCostly),
            (bcrypt.to_owned(), HashRefused::TooCostly),
            ("$argon2x$v=19$m=19456,t=2,p=1".to_owned(), HashRefused::Unknown),
            ("$scrypt$ln=16,r=8,p=1$aM15713r3Xsvxbi31lqr1Q".to_owned(), HashRefused::Unknown),
            ("plain".to_owned(), HashRefused::Unknown),
        ] {
            assert_eq!(check_hash(&PasswordHash::new(&*hash)).unwrap_err(), expected, "{hash}");
        }
        for malformed in ["$argon2id$", "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ", "$2y$10$short", "$2b$"]
        {
            let error = check_hash(&PasswordHash::new(malformed)).unwrap_err();
            assert!(matches!(error, HashRefused::Malformed(_)), "{malformed}: {error}");
        }
        check_hash(&PasswordHash::new(format!("$argon2id$v=19$m=19456,t=2,p=1{tail}"))).unwrap();
    }

    #[test]
    fn a_new_password_is_long_enough_and_can_be_sent() {
        for (password, expected) in [
            ("1234567", Err(PasswordRefused::TooShort)),
            ("пароль", Err(PasswordRefused::TooShort)),
            ("12345678", Ok(())),
            ("a\nbcdefgh", Err(PasswordRefused::Control)),
            (&"a".repeat(1025), Err(PasswordRefused::TooLong)),
        ] {
            assert_eq!(check_new_password(&secret(password)), expected, "{password:?}");
        }
    }

    proptest! {
        #[test]
        fn no_hash_panics(
            text in "\\PC{0,80}",
            phc in "\\$(argon2id|2y)\\$[a-z0-9=,$./]{0,80}",
            bcrypt in "\\$2[aby]\\$0[4-9]\\$[a-zé./]{40,53}",
        ) {
            for hash in [text, phc, bcrypt] {
                let hash = PasswordHash::new(hash);
                if check_hash(&hash).is_ok() {
                    prop_assert!(!Stored::parse(hash.as_str()).unwrap().matches("password"));
                }
            }
        }
    }
}
