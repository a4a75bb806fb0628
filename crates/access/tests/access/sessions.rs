//! Session tokens, and what becomes of those whose they are.

use supercargo_access::{Login, Session, SessionKey, SessionRefused};
use supercargo_model::account::{Actions, PasswordHash, TokenKind};

use crate::directory::{NOW, PASSWORD, World, after, basic, key, name, person, user_name};
use crate::tokens::give;

fn issue(sessions: &SessionKey, login: &Login) -> String {
    let (id, actions) = (Session::draw_id().unwrap(), Actions::WRITE);
    sessions.issue(&Session { id, repository: key("r"), name: name("a/b"), actions }, login, NOW)
}

#[tokio::test]
async fn a_session_token_says_whose_it_is() {
    let (world, sessions) = (World::with_ann().await, SessionKey::ephemeral().unwrap());
    let token = issue(&sessions, &world.log_in("ann", PASSWORD).await.unwrap());
    let (session, identity) = sessions.verify(&token, Some(&world.authority), after(60)).unwrap();
    assert_eq!((session.name, session.actions), (name("a/b"), Actions::WRITE));
    assert_eq!(identity.name(), Some(&user_name("ann")));
    assert_eq!(identity.user().unwrap().groups[0].as_str(), "team");
    assert!(sessions.verify(&token, None, NOW).is_err(), "where nobody is known, no password can be");
}

#[tokio::test]
async fn a_session_token_ends_with_what_it_was_had_by() {
    let (world, sessions) = (World::with_ann().await, SessionKey::ephemeral().unwrap());
    let by_password = issue(&sessions, &world.log_in("ann", PASSWORD).await.unwrap());
    let access_token = give(&world, TokenKind::Access, Some(120));
    let by_token = world.send(&basic("ann", access_token.text.expose()), "10.0.0.1", NOW).await.unwrap();
    let by_token = issue(&sessions, &by_token);
    let taken =
        |token: &str, seconds: u64| match sessions.verify(token, Some(&world.authority), after(seconds)) {
            Ok(_) => true,
            Err(SessionRefused::Invalid) => false,
            Err(other) => panic!("{other}"),
        };
    let both = |seconds: u64| (taken(&by_password, seconds), taken(&by_token, seconds));
    assert_eq!(both(60), (true, true));
    assert_eq!(both(120), (true, false), "the access token has expired");

    world.directory.change("ann", |user| user.disabled = true);
    assert_eq!(both(60), (false, false));
    world.directory.change("ann", |user| user.disabled = false);
    assert_eq!(both(60), (true, true));
    world.directory.change("ann", |user| user.password = Some(PasswordHash::new("another")));
    assert_eq!(both(60), (false, true));
    world.directory.remove_token(access_token.id);
    assert_eq!(both(60), (false, false));
}

#[tokio::test]
async fn who_was_given_the_name_of_another_has_none_of_their_tokens() {
    let (world, sessions) = (World::with_ann().await, SessionKey::ephemeral().unwrap());
    let token = issue(&sessions, &world.log_in("ann", PASSWORD).await.unwrap());
    world.directory.remove("ann");
    assert!(sessions.verify(&token, Some(&world.authority), NOW).is_err());
    let hash = world.hash(PASSWORD).await;
    let other = supercargo_model::account::User { created_at: after(10), ..person(Some(hash)) };
    world.directory.put("ann", other, &[]);
    assert!(sessions.verify(&token, Some(&world.authority), after(20)).is_err());
}

#[tokio::test]
async fn what_can_not_be_found_out_is_no_refusal_of_the_token() {
    let (world, sessions) = (World::with_ann().await, SessionKey::ephemeral().unwrap());
    let token = issue(&sessions, &world.log_in("ann", PASSWORD).await.unwrap());
    world.directory.change("ann", |_| {});
    world.directory.failing.store(true, std::sync::atomic::Ordering::Relaxed);
    let refused = sessions.verify(&token, Some(&world.authority), NOW);
    assert!(matches!(refused, Err(SessionRefused::Directory(_))), "{refused:?}");
}
