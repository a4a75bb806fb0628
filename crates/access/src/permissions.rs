//! What an identity may do: permissions, compiled so that an answer costs the same with ten as with ten thousand.
//!
//! Rules are kept by grantee, and within a grantee by the literal text that their patterns begin with. A question
//! looks at the beginnings of its repository key and of its name, one hash look-up for each length that some pattern
//! has, and tries only the patterns found there.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;
use supercargo_model::account::{Actions, Grant, Grantee, GroupName, Permission, UserName};
use supercargo_model::{Pattern, RepoKey, RepoName};

use crate::Identity;

/// All permissions, compiled.
#[derive(Debug, Default)]
pub struct Permissions {
    anonymous: Arc<Rules>,
    users: HashMap<UserName, Arc<Rules>, RandomState>,
    groups: HashMap<GroupName, Arc<Rules>, RandomState>,
}

impl Permissions {
    /// Compiles a list.
    pub fn compile<'a>(permissions: impl IntoIterator<Item = &'a Permission>) -> Permissions {
        let mut anonymous = Rules::default();
        let mut users = HashMap::<UserName, Rules, RandomState>::default();
        let mut groups = HashMap::<GroupName, Rules, RandomState>::default();
        for permission in permissions {
            let rules = match &permission.grant.grantee {
                Grantee::Anonymous => &mut anonymous,
                Grantee::User(name) => users.entry(name.clone()).or_default(),
                Grantee::Group(name) => groups.entry(name.clone()).or_default(),
            };
            rules.add(permission);
        }
        Permissions {
            anonymous: Arc::new(anonymous),
            users: users.into_iter().map(|(name, rules)| (name, Arc::new(rules))).collect(),
            groups: groups.into_iter().map(|(name, rules)| (name, Arc::new(rules))).collect(),
        }
    }

    /// What one identity may do: everything, for an administrator; else what anonymous may, what the user may and
    /// what the user's groups may, taken together.
    pub fn rights(&self, identity: &Identity) -> Rights {
        let Some(user) = identity.user() else {
            return Rights { all: false, rules: vec![Arc::clone(&self.anonymous)] };
        };
        if user.administrator {
            return Rights { all: true, rules: Vec::new() };
        }
        let own = self.users.get(&user.name);
        let groups = user.groups.iter().filter_map(|group| self.groups.get(group));
        let rules = std::iter::once(&self.anonymous).chain(own).chain(groups);
        Rights { all: false, rules: rules.filter(|rules| !rules.is_empty()).cloned().collect() }
    }
}

/// What one identity may do. Owns what it needs, so it can go to another thread and outlive a change of permissions:
/// ask for it once per request, or once per listing.
#[derive(Debug, Clone)]
pub struct Rights {
    all: bool,
    rules: Vec<Arc<Rules>>,
}

impl Rights {
    /// What may be done with the content of a name.
    pub fn allowed(&self, repository: &RepoKey, name: &RepoName) -> Actions {
        if self.all {
            return Actions::ALL;
        }
        self.rules.iter().fold(Actions::NONE, |sum, rules| sum.or(rules.allowed(repository, name)))
    }

    /// Whether all of these may be done with the content of a name.
    pub fn allow(&self, repository: &RepoKey, name: &RepoName, actions: Actions) -> bool {
        if self.all {
            return true;
        }
        let mut sum = Actions::NONE;
        self.rules.iter().any(|rules| {
            sum = sum.or(rules.allowed(repository, name));
            sum.contain(actions)
        })
    }

    /// Whether a name may be read, and so be shown in a catalog.
    pub fn may_read(&self, repository: &RepoKey, name: &RepoName) -> bool {
        self.allow(repository, name, Actions::READ)
    }

    /// Whether every name of a repository may be read, so that a listing needs no filter.
    pub fn read_everything_in(&self, repository: &RepoKey) -> bool {
        self.all || self.rules_in(repository).any(|(names, actions)| actions.read && names.as_str() == "**")
    }

    /// Whether no name of a repository may be read, whatever it is called, so that there is nothing to list.
    pub fn read_nothing_in(&self, repository: &RepoKey) -> bool {
        !self.all && !self.rules_in(repository).any(|(_, actions)| actions.read)
    }

    /// Whether some name of a repository may be written, whatever it is called.
    pub fn write_something_in(&self, repository: &RepoKey) -> bool {
        self.all || self.rules_in(repository).any(|(_, actions)| actions.write)
    }

    /// Whether a name is managed.
    pub fn manage(&self, repository: &RepoKey, name: &RepoName) -> bool {
        self.allow(repository, name, Actions::MANAGE)
    }

    /// Whether a repository is managed as a whole, whatever its names are called.
    pub fn manage_everything_in(&self, repository: &RepoKey) -> bool {
        self.all || self.rules_in(repository).any(|(names, actions)| actions.manage && names.as_str() == "**")
    }

    /// Whether whatever a permission is about is managed, by one rule that can be seen to cover it
    /// ([`Pattern::covers`]).
    pub fn manage_all_of(&self, grant: &Grant) -> bool {
        let covers = |repositories: &Pattern, names: &PatternMap<Actions>| {
            repositories.covers(&grant.repositories)
                && names.iter().any(|(names, actions)| actions.manage && names.covers(&grant.names))
        };
        self.all
            || self
                .rules
                .iter()
                .flat_map(|rules| rules.by_repository.iter())
                .any(|(r, names)| covers(r, names))
    }

    /// Whether anything is managed at all.
    pub fn manage_something(&self) -> bool {
        self.all
            || self
                .rules
                .iter()
                .flat_map(|rules| rules.by_repository.iter())
                .flat_map(|(_, names)| names.iter())
                .any(|(_, actions)| actions.manage)
    }

    fn rules_in<'a>(&'a self, repository: &'a RepoKey) -> impl Iterator<Item = (&'a Pattern, Actions)> {
        self.rules
            .iter()
            .flat_map(|rules| rules.by_repository.matching(repository.as_str()))
            .flat_map(|names| names.iter().map(|(pattern, actions)| (pattern, *actions)))
    }
}

/// The rules of one grantee: patterns over repository keys, each with patterns over names.
#[derive(Debug, Default)]
struct Rules {
    by_repository: PatternMap<PatternMap<Actions>>,
}

impl Rules {
    fn add(&mut self, permission: &Permission) {
        let names = self.by_repository.entry(&permission.grant.repositories);
        let actions = names.entry(&permission.grant.names);
        // Who manages could give themselves the rest.
        *actions = actions.or(if permission.actions.manage { Actions::ALL } else { permission.actions });
    }

    fn is_empty(&self) -> bool {
        self.by_repository.is_empty()
    }

    fn allowed(&self, repository: &RepoKey, name: &RepoName) -> Actions {
        self.by_repository
            .matching(repository.as_str())
            .flat_map(|names| names.matching(name.as_str()))
            .fold(Actions::NONE, |sum, actions| sum.or(*actions))
    }
}

/// Values by pattern, found by the texts that the patterns match.
#[derive(Debug)]
struct PatternMap<V> {
    /// By what each pattern begins with, up to its first star.
    by_start: HashMap<Box<str>, Vec<(Pattern, V)>, RandomState>,
    /// How long those beginnings are; sorted, each length once.
    lengths: Vec<usize>,
}

impl<V> Default for PatternMap<V> {
    fn default() -> PatternMap<V> {
        PatternMap { by_start: HashMap::default(), lengths: Vec::new() }
    }
}

impl<V: Default> PatternMap<V> {
    /// The value of a pattern, put there if there is none.
    fn entry(&mut self, pattern: &Pattern) -> &mut V {
        let start = literal_start(pattern);
        if let Err(at) = self.lengths.binary_search(&start.len()) {
            self.lengths.insert(at, start.len());
        }
        let found = self.by_start.entry(start.into()).or_default();
        let at = found.iter().position(|(known, _)| known == pattern).unwrap_or_else(|| {
            found.push((pattern.clone(), V::default()));
            found.len() - 1
        });
        &mut found[at].1
    }
}

impl<V> PatternMap<V> {
    fn is_empty(&self) -> bool {
        self.by_start.is_empty()
    }

    fn iter(&self) -> impl Iterator<Item = (&Pattern, &V)> {
        self.by_start.values().flatten().map(|(pattern, value)| (pattern, value))
    }

    /// The values whose patterns match a text.
    fn matching<'a>(&'a self, text: &'a str) -> impl Iterator<Item = &'a V> {
        self.lengths
            .iter()
            // None where the text is shorter, or where a character of more than one byte would be cut.
            .filter_map(|length| text.get(..*length))
            .filter_map(|start| self.by_start.get(start))
            .flatten()
            .filter(|(pattern, _)| pattern.matches(text))
            .map(|(_, value)| value)
    }
}

/// What every text that a pattern matches begins with.
fn literal_start(pattern: &Pattern) -> &str {
    let pattern = pattern.as_str();
    let Some(star) = pattern.find('*') else { return pattern };
    let start = &pattern[..star];
    // `a/**` matches `a` as well.
    if &pattern[star..] == "**" { start.strip_suffix('/').unwrap_or(start) } else { start }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use supercargo_model::account::Grant;

    use super::*;
    use crate::KnownUser;

    fn permission(grantee: &Grantee, repositories: &str, names: &str, actions: Actions) -> Permission {
        let (repositories, names) = (Pattern::parse(repositories).unwrap(), Pattern::parse(names).unwrap());
        Permission { grant: Grant { grantee: grantee.clone(), repositories, names }, actions }
    }

    fn user(name: &str, groups: &[&str], administrator: bool) -> Identity {
        let groups = groups.iter().map(|group| GroupName::parse(group).unwrap()).collect();
        KnownUser { name: UserName::parse(name).unwrap(), groups, administrator }.into()
    }

    fn repo(text: &str) -> RepoKey {
        RepoKey::parse(text).unwrap()
    }

    fn name(text: &str) -> RepoName {
        RepoName::parse(text).unwrap()
    }

    #[test]
    fn what_anonymous_may_everybody_may() {
        let ann = Grantee::User(UserName::parse("ann").unwrap());
        let team = Grantee::Group(GroupName::parse("team").unwrap());
        let permissions = Permissions::compile(&[
            permission(&Grantee::Anonymous, "**", "public/**", Actions::READ),
            permission(&ann, "docker-local", "ann/*", Actions::WRITE),
            permission(&team, "docker-*", "team/**", Actions::READ.or(Actions::DELETE)),
        ]);
        let key = repo("docker-local");
        for (who, at, expected) in [
            (Identity::Anonymous, "public/a", Actions::READ),
            (Identity::Anonymous, "ann/a", Actions::NONE),
            (user("ann", &[], false), "public/a", Actions::READ),
            (user("ann", &[], false), "ann/a", Actions::WRITE),
            (user("ann", &[], false), "ann/a/b", Actions::NONE),
            (user("ann", &[], false), "team", Actions::NONE),
            (user("ann", &["team"], false), "team", Actions::READ.or(Actions::DELETE)),
            (user("team", &[], false), "team", Actions::NONE),
            (user("bob", &[], true), "anything", Actions::ALL),
        ] {
            let rights = permissions.rights(&who);
            assert_eq!(rights.allowed(&key, &name(at)), expected, "{who} {at}");
            assert!(rights.allow(&key, &name(at), expected), "{who} {at}");
            assert_eq!(rights.allow(&key, &name(at), Actions::ALL), expected == Actions::ALL, "{who} {at}");
        }
        assert_eq!(
            permissions.rights(&user("ann", &[], false)).allowed(&repo("other"), &name("ann/a")),
            Actions::NONE
        );
    }

    #[test]
    fn rights_from_several_permissions_add_up() {
        let (ann, team) = (
            Grantee::User(UserName::parse("ann").unwrap()),
            Grantee::Group(GroupName::parse("team").unwrap()),
        );
        let permissions = Permissions::compile(&[
            permission(&ann, "a", "**", Actions::READ),
            permission(&team, "*", "x/*", Actions::WRITE),
        ]);
        let rights = permissions.rights(&user("ann", &["team"], false));
        assert!(rights.allow(&repo("a"), &name("x/y"), Actions::READ.or(Actions::WRITE)));
        assert!(!rights.allow(&repo("b"), &name("x/y"), Actions::READ.or(Actions::WRITE)));
    }

    #[test]
    fn a_listing_knows_when_it_needs_no_filter_and_when_it_is_empty() {
        let permissions = Permissions::compile(&[
            permission(&Grantee::Anonymous, "open", "**", Actions::READ),
            permission(&Grantee::Anonymous, "some", "a/**", Actions::READ),
            permission(&Grantee::Anonymous, "drop", "**", Actions::WRITE),
        ]);
        let rights = permissions.rights(&Identity::Anonymous);
        for (key, everything, nothing) in
            [("open", true, false), ("some", false, false), ("drop", false, true), ("other", false, true)]
        {
            assert_eq!(rights.read_everything_in(&repo(key)), everything, "{key}");
            assert_eq!(rights.read_nothing_in(&repo(key)), nothing, "{key}");
            assert_eq!(rights.write_something_in(&repo(key)), key == "drop", "{key}");
        }
        let rights = permissions.rights(&user("root", &[], true));
        assert!(rights.read_everything_in(&repo("other")) && !rights.read_nothing_in(&repo("other")));
    }

    #[test]
    fn who_manages_may_do_the_rest_and_give_it_to_others() {
        let ann = Grantee::User(UserName::parse("ann").unwrap());
        let permissions = Permissions::compile(&[
            permission(&ann, "docker-*", "team/**", Actions::MANAGE),
            permission(&ann, "docker-own", "**", Actions::MANAGE),
            permission(&ann, "docker-own", "read", Actions::READ),
        ]);
        let rights = permissions.rights(&user("ann", &[], false));
        assert_eq!(rights.allowed(&repo("docker-local"), &name("team/web")), Actions::ALL);
        assert!(!rights.manage(&repo("docker-local"), &name("other")));
        assert!(rights.manage_everything_in(&repo("docker-own")));
        assert!(!rights.manage_everything_in(&repo("docker-local")));
        let grant =
            |repositories: &str, names: &str| permission(&ann, repositories, names, Actions::READ).grant;
        for (repositories, names, may) in [
            ("docker-local", "team/web", true),
            ("docker-*", "team/**", true),
            ("docker-own", "**", true),
            ("docker-local", "**", false),
            ("**", "team/**", false),
            ("docker-*", "other", false),
        ] {
            assert_eq!(rights.manage_all_of(&grant(repositories, names)), may, "{repositories} {names}");
        }
        let nobody = permissions.rights(&Identity::Anonymous);
        assert!(rights.manage_something() && !nobody.manage_something());
        assert!(!nobody.manage_all_of(&grant("docker-own", "**")));
    }

    /// Patterns and names over so few letters that they meet often.
    fn any_pattern() -> impl Strategy<Value = Pattern> {
        "[ab*/]{1,6}".prop_filter_map("not a pattern", |text| Pattern::parse(&text).ok())
    }

    fn any_permission() -> impl Strategy<Value = Permission> {
        let grantee = prop_oneof![
            Just(Grantee::Anonymous),
            "[uv]".prop_map(|name| Grantee::User(UserName::parse(&name).unwrap())),
            "[gh]".prop_map(|name| Grantee::Group(GroupName::parse(&name).unwrap())),
        ];
        let actions = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>())
            .prop_map(|(read, write, delete, manage)| Actions { read, write, delete, manage });
        (grantee, any_pattern(), any_pattern(), actions).prop_map(
            |(grantee, repositories, names, actions)| Permission {
                grant: Grant { grantee, repositories, names },
                actions,
            },
        )
    }

    proptest! {
        /// Compiled, permissions say what they say one by one.
        #[test]
        fn compiling_changes_no_answer(
            permissions in prop::collection::vec(any_permission(), 0..40),
            key in "[ab]{1,3}",
            at in "[ab]{1,2}(/[ab]{1,2}){0,2}",
            who in prop_oneof![Just(None), "[uvw]".prop_map(Some)],
            groups in prop::sample::subsequence(vec!["g", "h"], 0..=2),
        ) {
            let (key, at) = (repo(&key), name(&at));
            let who = who.map_or(Identity::Anonymous, |who| user(&who, &groups, false));
            let holds = |grantee: &Grantee| match grantee {
                Grantee::Anonymous => true,
                Grantee::User(name) => who.name() == Some(name),
                Grantee::Group(name) => who.user().is_some_and(|user| user.groups.contains(name)),
            };
            let expected = permissions
                .iter()
                .filter(|permission| holds(&permission.grant.grantee) && permission.grant.covers(&key, &at))
                .fold(Actions::NONE, |sum, permission| sum.or(permission.actions));
            let expected = if expected.manage { Actions::ALL } else { expected };
            let rights = Permissions::compile(&permissions).rights(&who);
            prop_assert_eq!(rights.allowed(&key, &at), expected);
            prop_assert_eq!(rights.may_read(&key, &at), expected.read);
            if rights.read_everything_in(&key) {
                prop_assert!(expected.read);
            }
            if rights.read_nothing_in(&key) {
                prop_assert!(!expected.read);
            }
            prop_assert_eq!(rights.manage(&key, &at), expected.manage);
            if rights.manage_everything_in(&key) {
                prop_assert!(expected.manage);
            }
            prop_assert!(rights.manage_something() || !expected.manage);
            for Permission { grant, .. } in &permissions {
                if rights.manage_all_of(grant) && grant.covers(&key, &at) {
                    prop_assert!(expected.manage);
                }
            }
        }
    }
}
