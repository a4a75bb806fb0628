//! Accounts after any sequence of commands: nothing dangles, somebody is always left to administer, and what is
//! found by one key is found by the other.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use supercargo_eventlog::{Actor, Api, Origin, Record};
use supercargo_model::Pattern;
use supercargo_model::account::Actions;
use supercargo_projections::{Empty, Rows as _, Working, fold};
use uuid::Uuid;

use super::*;

const USERS: [&str; 4] = ["ann", "bob", "cid", "ci-bot"];
const GROUPS: [&str; 2] = ["builders", "readers"];

fn user_name(index: usize) -> UserName {
    UserName::parse(USERS[index % USERS.len()]).unwrap()
}

fn group_name(index: usize) -> GroupName {
    GroupName::parse(GROUPS[index % GROUPS.len()]).unwrap()
}

fn token_id(index: usize) -> TokenId {
    Uuid::from_u128(index as u128 + 1)
}

fn hash(index: usize) -> PasswordHash {
    PasswordHash::new(format!("hash {index}"))
}

fn grant(who: usize, names: usize) -> Grant {
    let grantee = match who % 3 {
        0 => Grantee::Anonymous,
        1 => Grantee::User(user_name(who / 3)),
        _ => Grantee::Group(group_name(who / 3)),
    };
    let names = ["**", "team-a/**"][names % 2];
    Grant { grantee, repositories: Pattern::everything(), names: Pattern::parse(names).unwrap() }
}

#[derive(Debug, Default)]
struct World {
    state: Option<Working<Empty>>,
    records: Vec<Record>,
    now: i64,
}

impl World {
    fn view(&mut self) -> &mut Working<Empty> {
        self.state.get_or_insert_with(|| Working::new(Empty))
    }

    fn run(&mut self, command: &AccountCommand) -> Result<Vec<Event>> {
        self.now += 1;
        let at = Timestamp::from_micros(self.now);
        let events = decide(self.view(), command, at)?;
        for event in &events {
            let record = Record {
                seq: self.records.len() as u64,
                at,
                id: Uuid::nil(),
                actor: Actor::System,
                origin: Origin::local(Api::Cli),
                event: event.clone(),
            };
            fold(self.view(), &record);
            self.records.push(record);
        }
        Ok(events)
    }

    fn users(&mut self) -> BTreeMap<UserName, User> {
        self.view().scan_prefix::<Users>(&prefix::users(), None, usize::MAX).into_iter().collect()
    }

    fn check(&mut self) {
        let users = self.users();
        let groups: BTreeSet<GroupName> = self
            .view()
            .scan_prefix::<Groups>(&prefix::groups(), None, usize::MAX)
            .into_iter()
            .map(|(group, _)| group)
            .collect();
        let administrators: BTreeSet<UserName> = self
            .view()
            .scan_prefix::<Administrators>(&prefix::administrators(), None, usize::MAX)
            .into_iter()
            .map(|(user, ())| user)
            .collect();
        let expected = users
            .iter()
            .filter(|(_, user)| user.administrator && !user.disabled)
            .map(|(name, _)| name.clone());
        assert_eq!(administrators, expected.collect());
        assert!(users.values().all(|user| !user.service || user.password.is_none()));

        let mut pairs = BTreeSet::new();
        for index in 0..GROUPS.len() {
            let group = group_name(index);
            let members = self.view().scan_prefix::<Members>(&prefix::members(&group), None, usize::MAX);
            for ((_, user), ()) in members {
                assert!(groups.contains(&group) && users.contains_key(&user), "{user} in {group}");
                pairs.insert((user, group.clone()));
            }
        }
        let mut found = BTreeSet::new();
        let mut tokens = BTreeSet::new();
        for index in 0..USERS.len() {
            let name = user_name(index);
            let of = self.view().scan_prefix::<Memberships>(&prefix::memberships(&name), None, usize::MAX);
            found.extend(of.into_iter().map(|(pair, ())| pair));
            for ((_, id), ()) in
                self.view().scan_prefix::<TokensOf>(&prefix::tokens_of(&name), None, usize::MAX)
            {
                let token = self.view().row::<Tokens>(&id).expect("a token that its user has");
                assert_eq!(token.user, name);
                assert!(users.contains_key(&name), "a token of nobody");
                if let Some(end) = token.expires_at {
                    assert!(self.view().row::<TokensByExpiry>(&(end, id)).is_some());
                }
                tokens.insert(id);
            }
        }
        assert_eq!(pairs, found);
        for ((_, id), ()) in
            self.view().scan_prefix::<TokensByExpiry>(&prefix::tokens_by_expiry(), None, usize::MAX)
        {
            assert!(tokens.contains(&id));
        }
        for (grant, actions) in
            self.view().scan_prefix::<Permissions>(&prefix::permissions(), None, usize::MAX)
        {
            assert!(!actions.is_empty());
            match grant.grantee {
                Grantee::Anonymous => {}
                Grantee::User(user) => assert!(users.contains_key(&user)),
                Grantee::Group(group) => assert!(groups.contains(&group)),
            }
        }
    }
}

fn commands() -> impl Strategy<Value = AccountCommand> {
    let (user, group, flag) = (0..USERS.len(), 0..GROUPS.len(), any::<bool>());
    prop_oneof![
        (user.clone(), flag, any::<bool>(), proptest::option::of(0..3_usize)).prop_map(
            |(user, service, administrator, password)| AccountCommand::CreateUser {
                user: user_name(user),
                service,
                administrator,
                password: password.map(hash),
            }
        ),
        (user.clone(), any::<Option<bool>>(), any::<Option<bool>>()).prop_map(
            |(user, administrator, disabled)| AccountCommand::ChangeUser {
                user: user_name(user),
                administrator,
                disabled
            }
        ),
        (user.clone(), proptest::option::of(0..3_usize)).prop_map(|(user, password)| {
            AccountCommand::SetPassword { user: user_name(user), password: password.map(hash) }
        }),
        user.clone().prop_map(|user| AccountCommand::RemoveUser { user: user_name(user) }),
        group.clone().prop_map(|group| AccountCommand::CreateGroup {
            group: group_name(group),
            description: String::new()
        }),
        group.clone().prop_map(|group| AccountCommand::RemoveGroup { group: group_name(group) }),
        (group.clone(), user.clone()).prop_map(|(group, user)| AccountCommand::AddMember {
            group: group_name(group),
            user: user_name(user)
        }),
        (group, user.clone()).prop_map(|(group, user)| AccountCommand::RemoveMember {
            group: group_name(group),
            user: user_name(user)
        }),
        (0..8_usize, user, any::<bool>(), proptest::option::of(0..60_i64)).prop_map(
            |(token, user, refresh, end)| AccountCommand::IssueToken {
                token: token_id(token),
                user: user_name(user),
                kind: if refresh { TokenKind::Refresh } else { TokenKind::Access },
                description: "t".to_owned(),
                secret_sha256: [7; 32],
                expires_at: end.map(Timestamp::from_micros),
                password: None,
            }
        ),
        (0..8_usize).prop_map(|token| AccountCommand::RevokeToken { token: token_id(token) }),
        (0..8_usize, 0..60_i64).prop_map(|(token, at)| AccountCommand::RecordTokenUses {
            uses: vec![TokenUse { token: token_id(token), at: Timestamp::from_micros(at) }]
        }),
        Just(AccountCommand::RemoveEndedTokens),
        (0..12_usize, 0..2_usize, any::<bool>()).prop_map(|(who, names, read)| {
            AccountCommand::SetPermission {
                grant: grant(who, names),
                actions: Actions { read, ..Actions::NONE },
            }
        }),
        (0..12_usize, 0..2_usize)
            .prop_map(|(who, names)| AccountCommand::RemovePermission { grant: grant(who, names) }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]
    #[test]
    fn nothing_dangles_and_somebody_administers(commands in proptest::collection::vec(commands(), 1..60)) {
        let mut world = World::default();
        let mut administered = false;
        for command in commands {
            let before = world.users();
            match world.run(&command) {
                Ok(_) => {}
                Err(_) => prop_assert_eq!(before, world.users()),
            }
            world.check();
            let administrators =
                world.view().scan_prefix::<Administrators>(&prefix::administrators(), None, 1).len();
            prop_assert!(!administered || administrators > 0, "nobody is left: {:?}", command);
            administered |= administrators > 0;
        }
    }
}

fn with_users(users: &[(usize, bool)]) -> World {
    let mut world = World::default();
    for (user, administrator) in users {
        let command = AccountCommand::CreateUser {
            user: user_name(*user),
            service: false,
            administrator: *administrator,
            password: Some(hash(0)),
        };
        world.run(&command).unwrap();
    }
    world
}

fn issue(token: usize, kind: TokenKind) -> AccountCommand {
    AccountCommand::IssueToken {
        token: token_id(token),
        user: user_name(0),
        kind,
        description: "laptop".to_owned(),
        secret_sha256: [1; 32],
        expires_at: None,
        password: None,
    }
}

#[test]
fn the_last_administrator_stays() {
    let mut world = with_users(&[(0, true), (1, false)]);
    let (ann, bob) = (user_name(0), user_name(1));
    for command in [
        AccountCommand::RemoveUser { user: ann.clone() },
        AccountCommand::ChangeUser { user: ann.clone(), administrator: Some(false), disabled: None },
        AccountCommand::ChangeUser { user: ann.clone(), administrator: None, disabled: Some(true) },
    ] {
        assert!(matches!(world.run(&command), Err(Error::LastAdministrator(_))), "{command:?}");
    }
    world.run(&AccountCommand::ChangeUser { user: bob, administrator: Some(true), disabled: None }).unwrap();
    world.run(&AccountCommand::RemoveUser { user: ann }).unwrap();
}

#[test]
fn another_password_ends_logins_but_not_access_tokens() {
    let mut world = with_users(&[(0, true)]);
    world.run(&issue(1, TokenKind::Refresh)).unwrap();
    world.run(&issue(2, TokenKind::Access)).unwrap();
    let set = AccountCommand::SetPassword { user: user_name(0), password: Some(hash(1)) };
    let events = world.run(&set).unwrap();
    assert_eq!(
        events,
        [
            Event::TokenRevoked { token: token_id(1), user: user_name(0) },
            Event::PasswordSet { user: user_name(0), password: Some(hash(1)) },
        ]
    );
}

#[test]
fn the_oldest_login_makes_room_and_an_access_token_does_not() {
    let mut world = with_users(&[(0, true)]);
    for token in 0..limits::TOKENS_PER_USER_MAX {
        let kind = if token == 3 { TokenKind::Refresh } else { TokenKind::Access };
        world.run(&issue(token, kind)).unwrap();
    }
    assert!(matches!(world.run(&issue(5000, TokenKind::Access)), Err(Error::Invalid(_))));
    let events = world.run(&issue(5000, TokenKind::Refresh)).unwrap();
    assert_eq!(events[0], Event::TokenRevoked { token: token_id(3), user: user_name(0) });
}

#[test]
fn a_token_for_a_password_comes_to_nothing_once_there_is_another() {
    let mut world = with_users(&[(0, true)]);
    let set = |text: &str| AccountCommand::SetPassword {
        user: user_name(0),
        password: Some(PasswordHash::new(text)),
    };
    let issue = |number: usize, text: &str| match issue(number, TokenKind::Refresh) {
        AccountCommand::IssueToken { token, user, kind, description, secret_sha256, expires_at, .. } => {
            let password = Some(PasswordHash::new(text));
            AccountCommand::IssueToken { token, user, kind, description, secret_sha256, expires_at, password }
        }
        other => other,
    };
    world.run(&set("$one")).unwrap();
    world.run(&issue(1, "$one")).unwrap();
    world.run(&set("$two")).unwrap();
    assert!(matches!(world.run(&issue(2, "$one")), Err(Error::Invalid(_))));
    world.run(&issue(3, "$two")).unwrap();
}

#[test]
fn tokens_that_ended_are_taken_away() {
    let mut world = with_users(&[(0, true)]);
    for (token, end) in [(1, 5), (2, 1000)] {
        let AccountCommand::IssueToken { user, kind, description, secret_sha256, password, .. } =
            issue(token, TokenKind::Access)
        else {
            unreachable!()
        };
        let expires_at = Some(Timestamp::from_micros(end));
        let token = token_id(token);
        world
            .run(&AccountCommand::IssueToken {
                token,
                user,
                kind,
                description,
                secret_sha256,
                expires_at,
                password,
            })
            .unwrap();
    }
    world.now = 10;
    let events = world.run(&AccountCommand::RemoveEndedTokens).unwrap();
    assert_eq!(events, [Event::TokenRevoked { token: token_id(1), user: user_name(0) }]);
    assert_eq!(world.run(&AccountCommand::RemoveEndedTokens).unwrap(), []);
}

#[test]
fn what_can_not_be_is_refused() {
    let mut world = with_users(&[(0, true)]);
    let service = |password| AccountCommand::CreateUser {
        user: user_name(3),
        service: true,
        administrator: false,
        password,
    };
    assert!(matches!(world.run(&service(Some(hash(0)))), Err(Error::Invalid(_))));
    world.run(&service(None)).unwrap();
    let set = AccountCommand::SetPassword { user: user_name(3), password: Some(hash(0)) };
    assert!(matches!(world.run(&set), Err(Error::Invalid(_))));
    let create = AccountCommand::CreateGroup { group: group_name(0), description: "a\u{0}b".to_owned() };
    assert!(matches!(world.run(&create), Err(Error::Invalid(_))));
    let set = AccountCommand::SetPermission { grant: grant(0, 0), actions: Actions::NONE };
    assert!(matches!(world.run(&set), Err(Error::Invalid(_))));
    let set = AccountCommand::SetPermission { grant: grant(2, 0), actions: Actions::READ };
    assert!(matches!(world.run(&set), Err(Error::GroupUnknown(_))));
}

fn target_name() -> PermissionTargetName {
    PermissionTargetName::parse("team").unwrap()
}

fn read_by(users: &[usize], groups: &[usize]) -> PermissionTarget {
    let actions = supercargo_model::account::TargetActions { read: true, ..Default::default() };
    PermissionTarget {
        users: users.iter().map(|index| (user_name(*index), actions)).collect(),
        groups: groups.iter().map(|index| (group_name(*index), actions)).collect(),
        ..PermissionTarget::default()
    }
}

#[test]
fn a_user_is_brought_to_its_settings_at_once() {
    let mut world = World::default();
    let save = |make, settings| AccountCommand::SaveUser { user: user_name(0), make, settings };
    let group = |index| AccountCommand::CreateGroup { group: group_name(index), description: String::new() };
    let everything = || UserSettings {
        administrator: Some(true),
        disabled: None,
        password: Some(Some(hash(1))),
        email: Some(Some("ann@example.com".to_owned())),
        groups: Some(vec![group_name(0), group_name(0)]),
    };
    assert!(matches!(world.run(&save(false, everything())), Err(Error::UserUnknown(_))));
    assert!(matches!(world.run(&save(true, everything())), Err(Error::GroupUnknown(_))));
    world.run(&group(0)).unwrap();
    world.run(&group(1)).unwrap();
    assert_eq!(world.run(&save(true, everything())).unwrap().len(), 3, "made, described, a member");
    assert_eq!(world.run(&save(true, everything())).unwrap(), [], "it is so already");
    let user = world.users()[&user_name(0)].clone();
    assert!(user.administrator && user.email.as_deref() == Some("ann@example.com"));
    let groups = UserSettings { groups: Some(vec![group_name(1)]), ..UserSettings::default() };
    let (user, ann) = (user_name(0), user_name(0));
    assert_eq!(
        world.run(&save(false, groups)).unwrap(),
        [
            Event::MemberRemoved { group: group_name(0), user },
            Event::MemberAdded { group: group_name(1), user: ann }
        ]
    );
    let nobody = UserSettings { administrator: Some(false), ..UserSettings::default() };
    assert!(matches!(world.run(&save(false, nobody)), Err(Error::LastAdministrator(_))));
    for bad in ["", "ann", "@x", "ann@", "a b@c", &format!("a@{}", "x".repeat(260))] {
        let settings = UserSettings { email: Some(Some(bad.to_owned())), ..UserSettings::default() };
        assert!(matches!(world.run(&save(false, settings)), Err(Error::Invalid(_))), "{bad:?}");
    }
}

#[test]
fn a_group_is_brought_to_its_settings_at_once() {
    let mut world = World::default();
    let save = |make, description: &str, members: &[usize]| {
        let members = Some(members.iter().map(|index| user_name(*index)).collect());
        let settings = GroupSettings { description: Some(description.to_owned()), members };
        AccountCommand::SaveGroup { group: group_name(0), make, settings }
    };
    let create = |index| AccountCommand::CreateUser {
        user: user_name(index),
        service: false,
        administrator: index == 0,
        password: None,
    };
    assert!(matches!(world.run(&save(false, "d", &[])), Err(Error::GroupUnknown(_))));
    assert!(matches!(world.run(&save(true, "d", &[0])), Err(Error::UserUnknown(_))));
    world.run(&create(0)).unwrap();
    world.run(&create(1)).unwrap();
    assert_eq!(world.run(&save(true, "d", &[0])).unwrap().len(), 2);
    assert_eq!(world.run(&save(true, "d", &[0])).unwrap(), []);
    assert_eq!(world.run(&save(false, "other", &[1])).unwrap().len(), 3, "described, one out, one in");
    assert!(matches!(world.run(&save(false, &"x".repeat(2000), &[])), Err(Error::Invalid(_))));
}

#[test]
fn who_is_gone_is_gone_from_permission_targets() {
    let mut world = World::default();
    let set = |permissions| AccountCommand::SetPermissionTarget { target: target_name(), permissions };
    let create = |index| AccountCommand::CreateUser {
        user: user_name(index),
        service: false,
        administrator: index == 0,
        password: None,
    };
    assert!(matches!(world.run(&set(read_by(&[1], &[]))), Err(Error::UserUnknown(_))));
    world.run(&create(0)).unwrap();
    world.run(&create(1)).unwrap();
    assert!(matches!(world.run(&set(read_by(&[1], &[0]))), Err(Error::GroupUnknown(_))));
    world.run(&AccountCommand::CreateGroup { group: group_name(0), description: String::new() }).unwrap();
    assert_eq!(world.run(&set(read_by(&[0, 1], &[0]))).unwrap().len(), 1);
    assert_eq!(world.run(&set(read_by(&[0, 1], &[0]))).unwrap(), []);
    let removed = world.run(&AccountCommand::RemoveUser { user: user_name(1) }).unwrap();
    assert!(
        removed.contains(&Event::PermissionTargetSet {
            target: target_name(),
            permissions: read_by(&[0], &[0])
        })
    );
    let removed = world.run(&AccountCommand::RemoveGroup { group: group_name(0) }).unwrap();
    assert!(
        removed
            .contains(&Event::PermissionTargetSet { target: target_name(), permissions: read_by(&[0], &[]) })
    );
    let many = vec!["a".parse().unwrap(); 101];
    let permissions = PermissionTarget { includes: many, ..PermissionTarget::default() };
    assert!(matches!(world.run(&set(permissions)), Err(Error::Invalid(_))));
    let remove = AccountCommand::RemovePermissionTarget { target: target_name() };
    assert_eq!(world.run(&remove).unwrap(), [Event::PermissionTargetRemoved { target: target_name() }]);
    assert!(matches!(world.run(&remove), Err(Error::PermissionTargetUnknown(_))));
}
