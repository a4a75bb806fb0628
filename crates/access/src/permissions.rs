//! What an identity may do: permissions, compiled so that an answer costs the same with ten as with ten thousand.
//!
//! Rules are kept by grantee, and within a grantee by the literal text that their patterns begin with. A question
//! looks at the beginnings of its repository key and of its name, one hash look-up for each length that some pattern
//! has, and tries only the patterns found there.
//!
//! What permission targets give stands beside: by repository, and there in proportion to the targets that are about it.
//! Their patterns are over paths of the tree, and are compared with the folder that holds a name's tags: a right is on a
//! whole name, so a pattern that tells tags of one name apart says nothing.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use foldhash::fast::RandomState;
use supercargo_model::account::{
    Actions, Grant, Grantee, GroupName, Permission, PermissionTarget, TargetActions, TargetRepositories,
    UserName,
};
use supercargo_model::{PathPattern, Pattern, RepoKey, RepoName, tree};

use crate::{Identity, Targets};

/// All permissions, compiled.
#[derive(Debug, Default)]
pub struct Permissions {
    anonymous: Arc<Rules>,
    users: HashMap<UserName, Arc<Rules>, RandomState>,
    groups: HashMap<GroupName, Arc<Rules>, RandomState>,
    v1_repositories: Arc<HashSet<RepoKey, RandomState>>,
}

impl Permissions {
    /// Compiles a list, and permission targets.
    pub fn compile<'a>(
        permissions: impl IntoIterator<Item = &'a Permission>,
        targets: &Targets,
    ) -> Permissions {
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
        for target in &targets.targets {
            let paths = Arc::new(Paths::of(target));
            for (name, actions) in &target.users {
                let rules = users.entry(name.clone()).or_default();
                rules.targets.add(&target.repositories, &paths, *actions);
            }
            for (name, actions) in &target.groups {
                let rules = groups.entry(name.clone()).or_default();
                rules.targets.add(&target.repositories, &paths, *actions);
            }
        }
        Permissions {
            v1_repositories: Arc::new(targets.v1_repositories.iter().cloned().collect()),
            anonymous: Arc::new(anonymous),
            users: users.into_iter().map(|(name, rules)| (name, Arc::new(rules))).collect(),
            groups: groups.into_iter().map(|(name, rules)| (name, Arc::new(rules))).collect(),
        }
    }

    /// What one identity may do: everything, for an administrator; else what anonymous may, what the user may and
    /// what the user's groups may, taken together.
    pub fn rights(&self, identity: &Identity) -> Rights {
        let Some(user) = identity.user() else {
            return self.rights_by(false, vec![Arc::clone(&self.anonymous)]);
        };
        if user.administrator {
            return self.rights_by(true, Vec::new());
        }
        let own = self.users.get(&user.name);
        let groups = user.groups.iter().filter_map(|group| self.groups.get(group));
        let rules = std::iter::once(&self.anonymous).chain(own).chain(groups);
        self.rights_by(false, rules.filter(|rules| !rules.is_empty()).cloned().collect())
    }

    fn rights_by(&self, all: bool, rules: Vec<Arc<Rules>>) -> Rights {
        Rights { all, rules, v1_repositories: Arc::clone(&self.v1_repositories) }
    }
}

/// What one identity may do. Owns what it needs, so it can go to another thread and outlive a change of permissions:
/// ask for it once per request, or once per listing.
#[derive(Debug, Clone)]
pub struct Rights {
    all: bool,
    rules: Vec<Arc<Rules>>,
    v1_repositories: Arc<HashSet<RepoKey, RandomState>>,
}

impl Rights {
    /// What may be done with the content of a name.
    pub fn allowed(&self, repository: &RepoKey, name: &RepoName) -> Actions {
        if self.all {
            return Actions::ALL;
        }
        let folder = self.folder(repository, name);
        self.rules.iter().fold(Actions::NONE, |sum, rules| sum.or(rules.allowed(repository, name, &folder)))
    }

    /// The folder of the tree that holds a name's tags.
    fn folder<'n>(&self, repository: &RepoKey, name: &'n RepoName) -> Cow<'n, str> {
        match self.v1_repositories.contains(repository) {
            true => Cow::Owned(tree::v1_folder(name)),
            false => Cow::Borrowed(name.as_str()),
        }
    }

    /// Whether all of these may be done with the content of a name.
    pub fn allow(&self, repository: &RepoKey, name: &RepoName, actions: Actions) -> bool {
        if self.all {
            return true;
        }
        let folder = self.folder(repository, name);
        let mut sum = Actions::NONE;
        self.rules.iter().any(|rules| {
            sum = sum.or(rules.allowed(repository, name, &folder));
            sum.contain(actions)
        })
    }

    /// Whether a name may be read, and so be shown in a catalog.
    pub fn may_read(&self, repository: &RepoKey, name: &RepoName) -> bool {
        self.allow(repository, name, Actions::READ)
    }

    /// Whether properties of what belongs to a name may be set: who may push to it may, and to whom a permission target
    /// gives just that.
    pub fn may_annotate(&self, repository: &RepoKey, name: &RepoName) -> bool {
        let folder = self.folder(repository, name);
        let given = |rules: &Arc<Rules>| {
            rules.targets.about(repository).any(|area| area.annotate && area.paths.cover(&folder))
        };
        self.allow(repository, name, Actions::WRITE) || self.rules.iter().any(given)
    }

    /// Whether every name of a repository may be read, so that a listing needs no filter.
    pub fn read_everything_in(&self, repository: &RepoKey) -> bool {
        self.all || self.everywhere_in(repository, |actions| actions.read)
    }

    /// Whether no name of a repository may be read, whatever it is called, so that there is nothing to list.
    pub fn read_nothing_in(&self, repository: &RepoKey) -> bool {
        !self.all && !self.somewhere_in(repository, |actions| actions.read)
    }

    /// Whether some name of a repository may be written, whatever it is called.
    pub fn write_something_in(&self, repository: &RepoKey) -> bool {
        self.all || self.somewhere_in(repository, |actions| actions.write)
    }

    /// Whether a name is managed.
    pub fn manage(&self, repository: &RepoKey, name: &RepoName) -> bool {
        self.allow(repository, name, Actions::MANAGE)
    }

    /// Whether a repository is managed as a whole, whatever its names are called.
    pub fn manage_everything_in(&self, repository: &RepoKey) -> bool {
        self.all || self.everywhere_in(repository, |actions| actions.manage)
    }

    /// Whether whatever a permission is about is managed, by one rule that can be seen to cover it
    /// ([`Pattern::covers`]).
    pub fn manage_all_of(&self, grant: &Grant) -> bool {
        let covers = |repositories: &Pattern, names: &PatternMap<Actions>| {
            repositories.covers(&grant.repositories)
                && names.iter().any(|(names, actions)| actions.manage && names.covers(&grant.names))
        };
        let by_target = |rules: &Arc<Rules>| {
            rules
                .targets
                .covering(&grant.repositories)
                .any(|area| area.actions.manage && area.paths.are_all())
        };
        self.all
            || self.rules.iter().any(by_target)
            || self
                .rules
                .iter()
                .flat_map(|rules| rules.by_repository.iter())
                .any(|(r, names)| covers(r, names))
    }

    /// Whether anything is managed at all.
    pub fn manage_something(&self) -> bool {
        self.all
            || self.rules.iter().any(|rules| rules.targets.all().any(|area| area.actions.manage))
            || self
                .rules
                .iter()
                .flat_map(|rules| rules.by_repository.iter())
                .flat_map(|(_, names)| names.iter())
                .any(|(_, actions)| actions.manage)
    }

    /// Whether one rule allows it for whatever name.
    fn everywhere_in(&self, repository: &RepoKey, allows: impl Fn(Actions) -> bool) -> bool {
        self.rules_in(repository).any(|(names, actions)| allows(actions) && names.as_str() == "**")
            || self.areas_in(repository).any(|area| allows(area.actions) && area.paths.are_all())
    }

    /// Whether some rule allows it for some name.
    fn somewhere_in(&self, repository: &RepoKey, allows: impl Fn(Actions) -> bool) -> bool {
        self.rules_in(repository).any(|(_, actions)| allows(actions))
            || self.areas_in(repository).any(|area| allows(area.actions))
    }

    fn areas_in<'a>(&'a self, repository: &'a RepoKey) -> impl Iterator<Item = &'a Area> {
        self.rules.iter().flat_map(|rules| rules.targets.about(repository))
    }

    fn rules_in<'a>(&'a self, repository: &'a RepoKey) -> impl Iterator<Item = (&'a Pattern, Actions)> {
        self.rules
            .iter()
            .flat_map(|rules| rules.by_repository.matching(repository.as_str()))
            .flat_map(|names| names.iter().map(|(pattern, actions)| (pattern, *actions)))
    }
}

/// The rules of one grantee: patterns over repository keys, each with patterns over names; and what targets give.
#[derive(Debug, Default)]
struct Rules {
    by_repository: PatternMap<PatternMap<Actions>>,
    targets: Areas,
}

/// What permission targets give to one grantee.
#[derive(Debug, Default)]
struct Areas {
    by_repository: HashMap<RepoKey, Vec<Area>, RandomState>,
    of_any: Vec<Area>,
}

/// What one permission target gives to one grantee.
#[derive(Debug, Clone)]
struct Area {
    paths: Arc<Paths>,
    actions: Actions,
    annotate: bool,
}

/// The paths that a permission target is about.
#[derive(Debug)]
struct Paths {
    includes: Vec<PathPattern>,
    excludes: Vec<PathPattern>,
}

impl Paths {
    fn of(target: &PermissionTarget) -> Paths {
        Paths { includes: target.includes.clone(), excludes: target.excludes.clone() }
    }

    /// Whether all of a name's folder is among them. What is excluded wins.
    fn cover(&self, folder: &str) -> bool {
        let any = |patterns: &[PathPattern]| patterns.iter().any(|pattern| pattern.matches(folder));
        (self.includes.is_empty() || any(&self.includes)) && !any(&self.excludes)
    }

    /// Whether there is no path that is not among them.
    fn are_all(&self) -> bool {
        let everything = self.includes.is_empty() || self.includes.iter().any(PathPattern::is_everything);
        everything && self.excludes.is_empty()
    }
}

impl Areas {
    fn add(&mut self, repositories: &[TargetRepositories], paths: &Arc<Paths>, given: TargetActions) {
        let TargetActions { read, deploy, annotate, delete, manage } = given;
        let actions = match manage {
            // Who manages could give themselves the rest.
            true => Actions::ALL,
            false => Actions { read, write: deploy, delete, manage },
        };
        let area = Area { paths: Arc::clone(paths), actions, annotate };
        for repository in repositories {
            match repository {
                TargetRepositories::Any(_) => self.of_any.push(area.clone()),
                TargetRepositories::Key(key) => {
                    self.by_repository.entry(key.clone()).or_default().push(area.clone());
                }
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.by_repository.is_empty() && self.of_any.is_empty()
    }

    fn about(&self, repository: &RepoKey) -> impl Iterator<Item = &Area> {
        self.by_repository.get(repository).into_iter().flatten().chain(&self.of_any)
    }

    /// Those that are about every repository that a pattern matches, as far as can be seen.
    fn covering(&self, repositories: &Pattern) -> impl Iterator<Item = &Area> {
        let key = RepoKey::parse(repositories.as_str()).ok();
        let of_key = key.and_then(|key| self.by_repository.get(&key));
        of_key.into_iter().flatten().chain(&self.of_any)
    }

    fn all(&self) -> impl Iterator<Item = &Area> {
        self.by_repository.values().flatten().chain(&self.of_any)
    }
}

impl Rules {
    fn add(&mut self, permission: &Permission) {
        let names = self.by_repository.entry(&permission.grant.repositories);
        let actions = names.entry(&permission.grant.names);
        // Who manages could give themselves the rest.
        *actions = actions.or(if permission.actions.manage { Actions::ALL } else { permission.actions });
    }

    fn is_empty(&self) -> bool {
        self.by_repository.is_empty() && self.targets.is_empty()
    }

    /// `folder`: where the tree holds the name's tags.
    fn allowed(&self, repository: &RepoKey, name: &RepoName, folder: &str) -> Actions {
        let by_grant = self
            .by_repository
            .matching(repository.as_str())
            .flat_map(|names| names.matching(name.as_str()))
            .fold(Actions::NONE, |sum, actions| sum.or(*actions));
        let areas = self.targets.about(repository).filter(|area| area.paths.cover(folder));
        areas.fold(by_grant, |sum, area| sum.or(area.actions))
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

    fn compile(permissions: &[Permission]) -> Permissions {
        Permissions::compile(permissions, &Targets::default())
    }

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
        let permissions = compile(&[
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

    fn target(
        repositories: &[&str],
        includes: &str,
        excludes: &str,
        given: &[(&str, &str)],
    ) -> PermissionTarget {
        let actions = |letters: &str| TargetActions {
            read: letters.contains('r'),
            deploy: letters.contains('w'),
            annotate: letters.contains('n'),
            delete: letters.contains('d'),
            manage: letters.contains('m'),
        };
        let one = |text: &&str| match text.starts_with("ANY") {
            true => TargetRepositories::Any((*text).to_owned()),
            false => TargetRepositories::Key(repo(text)),
        };
        let to = |(name, letters): &(&str, &str)| (UserName::parse(name).unwrap(), actions(letters));
        let team = GroupName::parse("team").unwrap();
        PermissionTarget {
            repositories: repositories.iter().map(one).collect(),
            includes: PathPattern::parse_list(includes).unwrap(),
            excludes: PathPattern::parse_list(excludes).unwrap(),
            users: given.iter().filter(|(name, _)| *name != "team").map(to).collect(),
            groups: given
                .iter()
                .filter(|(name, _)| *name == "team")
                .map(|(_, l)| (team.clone(), actions(l)))
                .collect(),
        }
    }

    fn compile_targets(targets: Vec<PermissionTarget>, v1: &[&str]) -> Permissions {
        let v1_repositories = v1.iter().map(|key| repo(key)).collect();
        Permissions::compile(&[], &Targets { targets, v1_repositories })
    }

    #[test]
    fn what_a_target_excludes_it_does_not_give_and_another_may() {
        let permissions = compile_targets(
            vec![
                target(&["r"], "team/**", "team/secret/**,**/private", &[("ann", "rn"), ("team", "rwd")]),
                target(&["ANY LOCAL"], "team/secret/**", "", &[("ann", "r")]),
            ],
            &[],
        );
        let (ann, member) = (user("ann", &[], false), user("bob", &["team"], false));
        let write = Actions::READ.or(Actions::WRITE).or(Actions::DELETE);
        for (who, key, at, expected) in [
            (&ann, "r", "team/app", Actions::READ),
            (&ann, "r", "team", Actions::READ),
            (&ann, "r", "other", Actions::NONE),
            (&ann, "r", "team/secret/a", Actions::READ),
            (&ann, "other", "team/secret", Actions::READ),
            (&ann, "r", "team/private", Actions::NONE),
            (&ann, "other", "team/app", Actions::NONE),
            (&member, "r", "team/app", write),
            (&member, "r", "team/secret/a", Actions::NONE),
            (&member, "other", "team/secret/a", Actions::NONE),
        ] {
            let rights = permissions.rights(who);
            assert_eq!(rights.allowed(&repo(key), &name(at)), expected, "{who} {key} {at}");
            assert!(rights.allow(&repo(key), &name(at), expected), "{who} {key} {at}");
        }
        let (ann, member) = (permissions.rights(&ann), permissions.rights(&member));
        assert!(ann.may_annotate(&repo("r"), &name("team/app")));
        assert!(!ann.may_annotate(&repo("r"), &name("team/secret/a")), "the other target does not give it");
        assert!(member.may_annotate(&repo("r"), &name("team/app")), "who pushes may");
        assert!(!ann.read_everything_in(&repo("r")) && !ann.read_nothing_in(&repo("other")));
        assert!(member.write_something_in(&repo("r")) && !member.write_something_in(&repo("other")));
        assert_eq!(
            permissions.rights(&Identity::Anonymous).allowed(&repo("r"), &name("team/app")),
            Actions::NONE
        );
    }

    #[test]
    fn patterns_are_over_paths_as_the_repository_has_them() {
        let permissions = compile_targets(
            vec![target(
                &["old", "new"],
                "repositories/jfrog/**,repositories/library/x",
                "",
                &[("ann", "r")],
            )],
            &["old"],
        );
        let rights = permissions.rights(&user("ann", &[], false));
        for (key, at, may) in [
            ("old", "jfrog/ubuntu", true),
            ("old", "x", true),
            ("old", "library/x", true),
            ("old", "repositories/jfrog/ubuntu", false),
            ("new", "jfrog/ubuntu", false),
            ("new", "x", false),
            ("new", "repositories/jfrog/ubuntu", true),
        ] {
            assert_eq!(rights.may_read(&repo(key), &name(at)), may, "{key} {at}");
        }
    }

    #[test]
    fn who_manages_all_of_a_target_may_give_it_to_others() {
        let permissions = compile_targets(
            vec![
                target(&["all"], "**", "", &[("ann", "m")]),
                target(&["some"], "a/**", "", &[("ann", "m")]),
                target(&["most"], "**/*", "a/**", &[("ann", "mr")]),
            ],
            &[],
        );
        let rights = permissions.rights(&user("ann", &[], false));
        assert_eq!(rights.allowed(&repo("some"), &name("a/b")), Actions::ALL);
        for (key, everything) in [("all", true), ("some", false), ("most", false), ("none", false)] {
            assert_eq!(rights.manage_everything_in(&repo(key)), everything, "{key}");
            assert_eq!(rights.read_everything_in(&repo(key)), everything, "{key}");
            let grant = permission(&Grantee::Anonymous, key, "a/b", Actions::READ).grant;
            assert_eq!(rights.manage_all_of(&grant), everything, "{key}");
        }
        let everywhere = permission(&Grantee::Anonymous, "**", "a", Actions::READ).grant;
        assert!(!rights.manage_all_of(&everywhere) && rights.manage_something());
        let any = compile_targets(vec![target(&["ANY"], "", "", &[("ann", "m")])], &[]);
        assert!(any.rights(&user("ann", &[], false)).manage_all_of(&everywhere));
    }

    #[test]
    fn rights_from_several_permissions_add_up() {
        let (ann, team) = (
            Grantee::User(UserName::parse("ann").unwrap()),
            Grantee::Group(GroupName::parse("team").unwrap()),
        );
        let permissions = compile(&[
            permission(&ann, "a", "**", Actions::READ),
            permission(&team, "*", "x/*", Actions::WRITE),
        ]);
        let rights = permissions.rights(&user("ann", &["team"], false));
        assert!(rights.allow(&repo("a"), &name("x/y"), Actions::READ.or(Actions::WRITE)));
        assert!(!rights.allow(&repo("b"), &name("x/y"), Actions::READ.or(Actions::WRITE)));
    }

    #[test]
    fn a_listing_knows_when_it_needs_no_filter_and_when_it_is_empty() {
        let permissions = compile(&[
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
        let permissions = compile(&[
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
            let rights = compile(&permissions).rights(&who);
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
