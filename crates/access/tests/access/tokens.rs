//! Access tokens, refresh tokens and bearer tokens.

use std::sync::atomic::Ordering;

use supercargo_access::token::{MintedToken, TokenRefused, mint};
use supercargo_access::{Access, BearerRefused, Login, Method, Refused, Resource};
use supercargo_model::account::{Actions, Grantee, Token, TokenKind};
use supercargo_model::{RepoKey, RepoName};

use crate::directory::{NOW, PASSWORD, SERVICE, World, after, basic, group, key, name, person, user_name};

pub(crate) fn give(world: &World, kind: TokenKind, expires_after: Option<u64>) -> MintedToken {
    let minted = mint(kind, NOW).unwrap();
    let token = Token {
        user: user_name("ann"),
        kind,
        description: "laptop".to_owned(),
        secret_sha256: minted.secret_sha256,
        issued_at: NOW,
        expires_at: expires_after.map(after),
        used_at: None,
    };
    world.directory.put_token(minted.id, token);
    minted
}

#[tokio::test]
async fn an_access_token_stands_for_a_password() {
    let world = World::with_ann().await;
    let token = give(&world, TokenKind::Access, None);
    let text = token.text.expose();
    for header in [basic("ann", text), basic("token", text), format!("Bearer {text}")] {
        let (login, hashes) = world.hashes(world.send(&header, "10.0.0.1", NOW)).await;
        let login = login.unwrap();
        assert_eq!(login.identity.name(), Some(&user_name("ann")));
        assert_eq!((login.method, hashes), (Method::Token(token.id), 0));
    }
    assert!(matches!(world.log_in("bob", text).await, Err(Refused::Wrong)), "of another user");
    assert_eq!(world.authority.take_token_uses(NOW), [(token.id, NOW)]);
    assert_eq!(world.authority.take_token_uses(NOW), []);

    world.directory.change("ann", |user| user.disabled = true);
    assert!(matches!(world.log_in("ann", text).await, Err(Refused::Token(TokenRefused::Unknown))));
    world.directory.change("ann", |user| user.disabled = false);
    world.directory.remove_token(token.id);
    assert!(matches!(world.log_in("ann", text).await, Err(Refused::Token(TokenRefused::Unknown))));
    assert_eq!(world.authority.take_token_uses(NOW), [], "a refused token is not used");
}

#[tokio::test]
async fn a_token_ends_and_is_good_for_its_kind() {
    let world = World::with_ann().await;
    let token = give(&world, TokenKind::Access, Some(60));
    let header = basic("ann", token.text.expose());
    assert!(world.send(&header, "10.0.0.1", after(59)).await.is_ok());
    assert!(matches!(
        world.send(&header, "10.0.0.1", after(60)).await,
        Err(Refused::Token(TokenRefused::Expired))
    ));
    assert!(matches!(world.authority.refresh(&token.text, NOW), Err(Refused::Token(TokenRefused::Kind))));

    let refresh = give(&world, TokenKind::Refresh, None);
    let login = world.authority.refresh(&refresh.text, NOW).unwrap();
    assert_eq!(login.identity.name(), Some(&user_name("ann")));
    assert!(matches!(
        world.log_in("ann", refresh.text.expose()).await,
        Err(Refused::Token(TokenRefused::Kind))
    ));
}

#[tokio::test]
async fn old_tokens_lock_nobody_out() {
    let world = World::with_ann().await;
    let gone = mint(TokenKind::Access, NOW).unwrap();
    for _ in 0..200 {
        assert!(matches!(
            world.log_in("ann", gone.text.expose()).await,
            Err(Refused::Token(TokenRefused::Unknown))
        ));
    }
    assert!(world.log_in("ann", PASSWORD).await.is_ok());
}

/// One repository: `docker-local`.
fn find(resource: &Resource) -> Option<(RepoKey, RepoName)> {
    match resource {
        Resource::Repository { name, .. } => Some((key("docker-local"), name.clone())),
        Resource::Catalog => None,
    }
}

fn bearer_for(world: &World, login: &Login, scopes: &[&str]) -> (String, Vec<Access>) {
    let scopes = Access::parse_all(scopes.iter().copied());
    let issued = world.authority.issue(login, SERVICE, &scopes, find, NOW).unwrap();
    (format!("Bearer {}", issued.token.expose()), issued.access)
}

#[tokio::test]
async fn a_bearer_token_grants_what_was_asked_for_and_may_be_done() {
    let world = World::with_ann().await;
    world.directory.permit(group("team"), "docker-local", "team/**", Actions::READ.or(Actions::WRITE));
    world.directory.permit(Grantee::Anonymous, "docker-local", "public/*", Actions::READ);
    let ann = world.log_in("ann", PASSWORD).await.unwrap();
    let asked = [
        "repository:team/app:pull,push,delete",
        "repository:public/a:pull,push",
        "repository:other:pull",
        "registry:catalog:*",
    ];
    let granted = |access: &[Access]| access.iter().map(Access::to_string).collect::<Vec<_>>();

    let (header, access) = bearer_for(&world, &ann, &asked);
    assert_eq!(
        granted(&access),
        ["repository:team/app:pull,push", "repository:public/a:pull", "registry:catalog:*"]
    );
    let login = world.send(&header, "10.0.0.1", NOW).await.unwrap();
    assert_eq!((&login.identity, &login.method), (&ann.identity, &Method::Bearer));
    assert!(login.covers_catalog());

    let (header, access) = bearer_for(&world, &Login::anonymous(), &asked);
    assert_eq!(granted(&access), ["repository:public/a:pull", "registry:catalog:*"]);
    let login = world.send(&header, "10.0.0.1", NOW).await.unwrap();
    assert_eq!(login.identity.name(), None);
}

#[tokio::test]
async fn a_bearer_token_is_good_for_what_it_was_issued_for() {
    let world = World::with_ann().await;
    world.directory.permit(group("team"), "**", "**", Actions::READ.or(Actions::WRITE));
    let ann = world.log_in("ann", PASSWORD).await.unwrap();
    let (header, _) = bearer_for(&world, &ann, &["repository:team/app:pull"]);
    let login = world.send(&header, "10.0.0.1", NOW).await.unwrap();
    for (repository, at, actions, expected) in [
        ("docker-local", "team/app", Actions::READ, true),
        ("docker-local", "team/app", Actions::WRITE, false),
        ("docker-local", "team/web", Actions::READ, false),
        ("other", "team/app", Actions::READ, false),
    ] {
        let may = world.authority.authorize(&login, &key(repository), &name(at), actions).unwrap();
        assert_eq!(may, expected, "{repository} {at} {actions}");
        assert!(world.authority.authorize(&ann, &key(repository), &name(at), actions).unwrap());
    }
    assert!(!login.covers_catalog());
    // Nor can it be changed for one that is good for more.
    let (_, access) =
        bearer_for(&world, &login, &["repository:team/web:pull", "repository:team/app:pull,push"]);
    assert_eq!(access, [], "both ask for more than it has");
    let (_, access) = bearer_for(&world, &login, &["repository:team/app:pull"]);
    assert_eq!(access.len(), 1);

    let other = world.authority.issue(&ann, "other.example", &[], find, NOW).unwrap();
    assert!(matches!(
        world.send(&format!("Bearer {}", other.token.expose()), "10.0.0.1", NOW).await,
        Err(Refused::Bearer(BearerRefused::Audience))
    ));
}

#[tokio::test]
async fn what_becomes_of_its_user_holds_for_a_bearer_token_at_once() {
    let world = World::with_ann().await;
    world.directory.permit(group("team"), "**", "**", Actions::READ);
    let ann = world.log_in("ann", PASSWORD).await.unwrap();
    let (header, _) = bearer_for(&world, &ann, &["repository:team/app:pull"]);
    let at = (key("docker-local"), name("team/app"));

    let login = world.send(&header, "10.0.0.1", NOW).await.unwrap();
    assert!(world.authority.authorize(&login, &at.0, &at.1, Actions::READ).unwrap());
    world.directory.forbid_everything();
    assert!(!world.authority.authorize(&login, &at.0, &at.1, Actions::READ).unwrap(), "without a permission");

    world.directory.change("ann", |user| user.administrator = true);
    assert!(world.send(&header, "10.0.0.1", NOW).await.unwrap().identity.is_administrator());

    let refused = async |world: &World| {
        matches!(world.send(&header, "10.0.0.1", NOW).await, Err(Refused::Bearer(BearerRefused::Subject)))
    };
    world.directory.change("ann", |user| user.disabled = true);
    assert!(refused(&world).await, "disabled");
    world.directory.remove("ann");
    assert!(refused(&world).await, "removed");
    let mut namesake = person(None);
    namesake.created_at = after(1);
    world.directory.put("ann", namesake, &[]);
    assert!(refused(&world).await, "another of the same name");
}

#[tokio::test]
async fn a_request_with_a_bearer_token_asks_the_directory_nothing() {
    let world = World::with_ann().await;
    world.directory.permit(group("team"), "**", "**", Actions::READ);
    let ann = world.log_in("ann", PASSWORD).await.unwrap();
    let (header, _) = bearer_for(&world, &ann, &["repository:team/app:pull"]);
    let request = async || {
        let login = world.send(&header, "10.0.0.1", NOW).await.unwrap();
        assert!(
            world
                .authority
                .authorize(&login, &key("docker-local"), &name("team/app"), Actions::READ)
                .unwrap()
        );
    };
    request().await;
    let asked = world.directory.asked.load(Ordering::Relaxed);
    for _ in 0..10 {
        request().await;
    }
    assert_eq!(world.directory.asked.load(Ordering::Relaxed), asked);
    // After a change, once: the user, the groups, the permissions.
    world.directory.permit(group("team"), "**", "a", Actions::READ);
    for _ in 0..10 {
        request().await;
    }
    assert_eq!(world.directory.asked.load(Ordering::Relaxed), asked + 3);
}
