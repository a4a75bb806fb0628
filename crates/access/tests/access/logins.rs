//! Logging in with a password.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use supercargo_access::{Identity, Method, Refused};
use supercargo_model::account::{PasswordHash, User};

use crate::directory::{NOW, PASSWORD, World, address, after, basic, person};

#[tokio::test]
async fn nobody_in_particular_is_anonymous() {
    let world = World::new();
    let login = world.authority.authenticate(None, "any", address("10.0.0.1"), NOW).await.unwrap();
    assert_eq!((login.identity, login.method), (Identity::Anonymous, Method::Anonymous));
}

#[tokio::test]
async fn a_right_password_says_who_somebody_is() {
    let world = World::with_ann().await;
    let login = world.log_in("ann", PASSWORD).await.unwrap();
    let user = login.identity.user().unwrap();
    assert_eq!((user.name.as_str(), user.groups[0].as_str()), ("ann", "team"));
    assert!(!user.administrator && login.upgrade.is_none());
    assert_eq!(login.method, Method::Password);
}

/// Whoever is refused is told the same, after the same work.
#[tokio::test]
async fn refusals_do_not_tell_who_exists() {
    let world = World::with_ann().await;
    let hash = world.hash(PASSWORD).await;
    world.directory.put("off", User { disabled: true, ..person(Some(hash.clone())) }, &[]);
    world.directory.put("job", User { service: true, ..person(Some(hash)) }, &[]);
    world.directory.put("new", person(None), &[]);
    for (user, password) in [
        ("ann", "wrong horse"),
        ("off", PASSWORD),
        ("job", PASSWORD),
        ("new", PASSWORD),
        ("nobody", PASSWORD),
    ] {
        let (refused, hashes) = world.hashes(world.log_in(user, password)).await;
        assert!(matches!(refused, Err(Refused::Wrong)), "{user}: {refused:?}");
        assert_eq!(hashes, 1, "{user}");
    }
    for no_name in ["", "an n", "ann\"", &"a".repeat(65)] {
        assert!(matches!(world.log_in(no_name, PASSWORD).await, Err(Refused::Wrong)), "{no_name}");
    }
}

#[tokio::test]
async fn a_remembered_password_costs_no_hash_and_ends_with_its_user() {
    let world = World::with_ann().await;
    let (login, hashes) = world.hashes(world.log_in("ann", PASSWORD)).await;
    assert!(login.is_ok() && hashes == 1);
    let (login, hashes) = world.hashes(world.log_in("ann", PASSWORD)).await;
    assert!(login.is_ok() && hashes == 0);

    world.directory.change("ann", |user| user.administrator = true);
    let (login, hashes) = world.hashes(world.log_in("ann", PASSWORD)).await;
    assert!(login.unwrap().identity.is_administrator() && hashes == 0, "the change is seen at once");

    let changed = world.hash("another horse").await;
    world.directory.change("ann", |user| user.password = Some(changed));
    assert!(matches!(world.log_in("ann", PASSWORD).await, Err(Refused::Wrong)));
    assert!(world.log_in("ann", "another horse").await.is_ok());

    world.directory.change("ann", |user| user.disabled = true);
    assert!(matches!(world.log_in("ann", "another horse").await, Err(Refused::Wrong)));
    world.directory.remove("ann");
    assert!(matches!(world.log_in("ann", "another horse").await, Err(Refused::Wrong)));
}

#[tokio::test]
async fn who_guesses_has_to_wait_and_others_do_not() {
    let world = World::with_ann().await;
    let home = "192.0.2.1";
    world.send(&basic("ann", PASSWORD), home, NOW).await.unwrap();
    for n in 0..4 {
        let guess = basic("ann", &format!("guess {n}"));
        assert!(matches!(world.send(&guess, "10.0.0.9", NOW).await, Err(Refused::Wrong)), "{n}");
    }
    // A right guess is not told from a wrong one now, although the password was found right a moment ago.
    let (refused, hashes) = world.hashes(world.send(&basic("ann", PASSWORD), "10.0.0.9", NOW)).await;
    let Err(Refused::Throttled { retry_after }) = refused else { panic!("{refused:?}") };
    assert_eq!((retry_after.as_secs(), hashes), (1, 0));
    assert!(world.send(&basic("ann", PASSWORD), "10.0.0.9", after(1)).await.is_ok());

    for n in 0..40 {
        let _ = world.send(&basic("ann", "guess"), &format!("10.0.1.{n}"), NOW).await;
    }
    assert!(matches!(
        world.send(&basic("ann", PASSWORD), "10.0.2.1", NOW).await,
        Err(Refused::Throttled { .. })
    ));
    assert!(world.send(&basic("ann", PASSWORD), home, NOW).await.is_ok(), "known there");
}

#[tokio::test]
async fn a_weak_hash_is_replaced_at_the_next_login() {
    let world = World::with_ann().await;
    let weak = PasswordHash::new(bcrypt::hash(PASSWORD, 4).unwrap());
    world.directory.put("bob", person(Some(weak.clone())), &[]);
    assert!(matches!(world.log_in("bob", "wrong horse").await, Err(Refused::Wrong)));
    let upgrade = world.log_in("bob", PASSWORD).await.unwrap().upgrade.unwrap();
    assert_eq!((upgrade.user.as_str(), &upgrade.replaces), ("bob", &weak));
    assert!(world.log_in("bob", PASSWORD).await.unwrap().upgrade.is_none(), "asked for once");

    world.directory.change("bob", |user| user.password = Some(upgrade.hash.clone()));
    assert!(world.log_in("bob", PASSWORD).await.unwrap().upgrade.is_none());
    assert!(upgrade.hash.as_str().starts_with("$argon2id$"));
}

#[tokio::test]
async fn a_directory_that_fails_is_not_the_clients_fault() {
    let world = World::with_ann().await;
    world.directory.failing.store(true, Ordering::Relaxed);
    assert!(matches!(world.log_in("ann", PASSWORD).await, Err(Refused::Unavailable(_))));
    world.directory.failing.store(false, Ordering::Relaxed);
    assert!(world.log_in("ann", PASSWORD).await.is_ok());
}

/// What was logged, line by line.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn failures_are_logged_without_what_is_secret() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let _logging = tracing::subscriber::set_default(subscriber);
    let world = World::with_ann().await;
    for n in 0..5 {
        let _ = world.log_in("ann", &format!("secret {n}")).await;
    }
    // A password in the wrong field.
    let _ = world.log_in("secret, too", "").await;
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert_eq!(text.lines().count(), 5, "{text}");
    assert!(text.contains("user=ann from=10.0.0.1") && text.contains("wait_s=1"), "{text}");
    assert!(text.contains("(not a name)") && !text.contains("secret"), "{text}");
}
