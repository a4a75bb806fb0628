//! Which passwords were found right a moment ago: a client that logs in with every request costs one hash a minute,
//! and a hundred who come at once with the same password cost one.
//!
//! What is kept is a mark, under a key of this process, of the user, the password and the hash that it was checked
//! against. So a changed password has another mark, and nothing needs to be forgotten; nor does a wrong one ever
//! get in. What has become of the user is asked each time.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::RandomState;
use parking_lot::Mutex;
use quick_cache::sync::Cache;
use supercargo_model::Timestamp;
use supercargo_model::account::PasswordHash;
use tokio::sync::OnceCell;

use crate::password::{PasswordError, Passwords, Verdict};
use crate::secret::ProcessKey;
use crate::{NoRandom, Secret};

/// How many right passwords are remembered, at about 100 bytes each.
const REMEMBERED_MAX: usize = 16 * 1024;

type Mark = [u8; 32];

/// What checking a password gave.
#[derive(Debug)]
pub(crate) struct Checked {
    /// Whether it was right.
    pub(crate) right: bool,
    /// Whether this caller's question is the one that was worked for: what follows from it is done once.
    pub(crate) first: bool,
    /// A better hash of it, for the first.
    pub(crate) upgrade: Option<PasswordHash>,
}

/// Remembers right passwords, and lets those who ask the same wait for one answer.
#[derive(Debug)]
pub(crate) struct Verified {
    key: ProcessKey,
    life: Duration,
    remembered: Cache<Mark, Timestamp>,
    running: Mutex<HashMap<Mark, Running, RandomState>>,
}

/// A check that some wait for.
#[derive(Debug, Default)]
struct Running {
    waiting: usize,
    verdict: Arc<OnceCell<Verdict>>,
}

impl Verified {
    pub(crate) fn new(life: Duration) -> Result<Verified, NoRandom> {
        Ok(Verified {
            key: ProcessKey::draw()?,
            life,
            remembered: Cache::new(REMEMBERED_MAX),
            running: Mutex::default(),
        })
    }

    pub(crate) async fn check(
        &self,
        passwords: &Passwords,
        user: &str,
        password: &Secret,
        hash: Option<&PasswordHash>,
        now: Timestamp,
    ) -> Result<Checked, PasswordError> {
        let hash_text = hash.map_or("", PasswordHash::as_str);
        let mark = self.key.mark(&[user.as_bytes(), password.expose().as_bytes(), hash_text.as_bytes()]);
        if self.remembered.get(&mark).is_some_and(|until| now < until) {
            return Ok(Checked { right: true, first: false, upgrade: None });
        }

        let run = self.join(mark);
        let mut first = false;
        let verdict = run
            .verdict
            .get_or_try_init(|| {
                first = true;
                passwords.verify(password.clone(), hash)
            })
            .await?;
        Ok(match verdict {
            Verdict::Wrong => Checked { right: false, first, upgrade: None },
            Verdict::Right { upgrade } => {
                // Before the run is left: who comes later finds one or the other.
                self.remembered.insert(mark, now.plus(self.life));
                Checked { right: true, first, upgrade: upgrade.clone().filter(|_| first) }
            }
        })
    }

    fn join(&self, mark: Mark) -> Run<'_> {
        let mut all = self.running.lock();
        let running = all.entry(mark).or_default();
        running.waiting += 1;
        Run { verified: self, mark, verdict: Arc::clone(&running.verdict) }
    }
}

/// One who waits for a check. The last to leave, for whatever reason, takes it away.
struct Run<'a> {
    verified: &'a Verified,
    mark: Mark,
    verdict: Arc<OnceCell<Verdict>>,
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        let mut all = self.verified.running.lock();
        if let Some(running) = all.get_mut(&self.mark) {
            running.waiting -= 1;
            if running.waiting == 0 {
                all.remove(&self.mark);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::password::{cheap, poll_once};

    const NOW: Timestamp = Timestamp::from_micros(1_000_000_000);
    const MINUTE: Duration = Duration::from_secs(60);

    async fn world() -> (Verified, Passwords, PasswordHash) {
        let passwords = Passwords::start(cheap()).unwrap();
        let hash = passwords.hash(Secret::new("correct horse")).await.unwrap();
        (Verified::new(MINUTE).unwrap(), passwords, hash)
    }

    #[tokio::test]
    async fn a_hundred_same_logins_at_once_cost_one_hash() {
        let hash = world().await.2;
        for (password, right) in [("correct horse", true), ("wrong horse", false)] {
            let verified = Verified::new(MINUTE).unwrap();
            let (passwords, start) = Passwords::paused(cheap());
            let secret = Secret::new(password);
            let mut waiting = (0..100)
                .map(|_| Box::pin(verified.check(&passwords, "ann", &secret, Some(&hash), NOW)))
                .collect::<Vec<_>>();
            for check in &mut waiting {
                assert!(poll_once(check.as_mut()).is_none());
            }
            start();
            let mut answers = Vec::new();
            for check in waiting {
                answers.push(check.await.unwrap());
            }
            assert!(answers.iter().all(|checked| checked.right == right));
            assert_eq!(answers.iter().filter(|checked| checked.first).count(), 1);
            assert_eq!(passwords.hashes_done(), 1, "{password}");
            assert!(verified.running.lock().is_empty());
        }
    }

    #[tokio::test]
    async fn a_right_password_is_remembered_for_a_while_and_a_wrong_one_never() {
        let (verified, passwords, hash) = world().await;
        let hashes = async |password: &str, hash: &PasswordHash, user: &str, now: Timestamp| {
            let before = passwords.hashes_done();
            verified.check(&passwords, user, &Secret::new(password), Some(hash), now).await.unwrap();
            passwords.hashes_done() - before
        };
        assert_eq!(hashes("correct horse", &hash, "ann", NOW).await, 1);
        assert_eq!(hashes("correct horse", &hash, "ann", NOW).await, 0);
        assert_eq!(hashes("correct horse", &hash, "bob", NOW).await, 1, "another user");
        assert_eq!(hashes("correct horse", &hash, "ann", NOW.plus(MINUTE)).await, 1, "a minute later");
        assert_eq!(hashes("wrong horse", &hash, "ann", NOW).await, 1);
        assert_eq!(hashes("wrong horse", &hash, "ann", NOW).await, 1);

        let changed = passwords.hash(Secret::new("another horse")).await.unwrap();
        let checked =
            verified.check(&passwords, "ann", &Secret::new("correct horse"), Some(&changed), NOW).await;
        assert!(!checked.unwrap().right, "the old password after a change");
    }

    #[tokio::test]
    async fn who_leaves_does_not_take_the_others_along() {
        let (verified, _, hash) = world().await;
        let (passwords, start) = Passwords::paused(cheap());
        let secret = Secret::new("correct horse");
        let (mut one, mut other) = (
            Box::pin(verified.check(&passwords, "ann", &secret, Some(&hash), NOW)),
            Box::pin(verified.check(&passwords, "ann", &secret, Some(&hash), NOW)),
        );
        assert!(poll_once(one.as_mut()).is_none() && poll_once(other.as_mut()).is_none());
        drop(one);
        start();
        let checked = other.await.unwrap();
        assert!(checked.right && checked.first);
        assert!(verified.running.lock().is_empty());
    }
}
