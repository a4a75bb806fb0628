//! `supercargo user`, `group`, `token` and `permission`: who may do what.

use std::io::{BufRead as _, Read as _};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use supercargo_access::{PasswordSettings, Passwords};
use supercargo_admin::accounts;
use supercargo_admin::api::{
    GrantInfo, GroupInfo, ImportParameters, ImportReport, IssuedToken, NewGroup, NewPassword, NewToken,
    NewUser, PermissionInfo, TokenInfo, UserChange, UserInfo,
};
use supercargo_model::Pattern;
use supercargo_model::account::{Actions, Grantee, GroupName, PasswordHash, TokenId, UserName};

use super::place::{Backend, Local, Place, caller};
use super::{Common, moment, show};
use crate::accounts::made_up;
use crate::config::values::parse_duration;
use crate::failure::Failure;
use crate::output;

/// Looks at users and changes them.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum UserCommand {
    /// Lists users.
    #[command(after_help = "Example:\n  supercargo user list --data ./data")]
    List {
        #[command(flatten)]
        place: Place,
    },
    /// Shows one user.
    #[command(after_help = "Example:\n  supercargo user show ann --server http://127.0.0.1:5000")]
    Show {
        /// The user's name.
        name: UserName,
        #[command(flatten)]
        place: Place,
    },
    /// Makes a user. Without --password-stdin a password is made up and printed this once.
    #[command(after_help = "Examples:\n  supercargo user create ann --data ./data\n  \
            supercargo user create ci-bot --service --data ./data")]
    Create {
        /// The user's name.
        name: UserName,
        /// A service account: it has tokens and no password.
        #[arg(long)]
        service: bool,
        /// Lets the user do everything.
        #[arg(long)]
        administrator: bool,
        /// Takes the password from the first line of stdin.
        #[arg(long, conflicts_with = "service")]
        password_stdin: bool,
        #[command(flatten)]
        place: Place,
    },
    /// Changes what a user is; what is not named stays.
    #[command(after_help = "Example:\n  supercargo user configure ann --disabled true --data ./data")]
    Configure {
        /// The user's name.
        name: UserName,
        /// Whether the user may do everything.
        #[arg(long, value_name = "true|false")]
        administrator: Option<bool>,
        /// Whether the user is locked out.
        #[arg(long, value_name = "true|false")]
        disabled: Option<bool>,
        #[command(flatten)]
        place: Place,
    },
    /// Gives a user another password, which ends what is logged in with the old one.
    #[command(
        after_help = "Example:\n  supercargo user password ann --password-stdin --data ./data < secret"
    )]
    Password {
        /// The user's name.
        name: UserName,
        /// Takes the password from the first line of stdin; without it, one is made up and printed this once.
        #[arg(long)]
        password_stdin: bool,
        #[command(flatten)]
        place: Place,
    },
    /// Makes users of an htpasswd file, with the passwords that they have. Users that are there stay as they are.
    /// Lines that can't be taken over are printed with the reason, and make the exit code 1.
    #[command(
        after_help = "Examples:\n  supercargo user import /etc/registry/htpasswd --dry-run --data ./data\n  \
            supercargo user import - --server http://127.0.0.1:5000 --login-file admin < htpasswd"
    )]
    Import {
        /// The file to read; - is stdin.
        file: PathBuf,
        /// Gives users that are there the file's password, which ends what is logged in with the old one.
        #[arg(long)]
        replace: bool,
        /// Changes nothing and prints what would be done.
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        place: Place,
    },
    /// Removes a user with its tokens, memberships and permissions.
    #[command(after_help = "Example:\n  supercargo user remove ann --data ./data")]
    Remove {
        /// The user's name.
        name: UserName,
        #[command(flatten)]
        place: Place,
    },
}

/// Looks at groups and changes them.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum GroupCommand {
    /// Lists groups with their members.
    #[command(after_help = "Example:\n  supercargo group list --data ./data")]
    List {
        #[command(flatten)]
        place: Place,
    },
    /// Makes a group.
    #[command(after_help = "Example:\n  supercargo group create builders --data ./data")]
    Create {
        /// The group's name.
        name: GroupName,
        /// What it is for.
        #[arg(long, default_value = "")]
        description: String,
        #[command(flatten)]
        place: Place,
    },
    /// Removes a group with its permissions.
    #[command(after_help = "Example:\n  supercargo group remove builders --data ./data")]
    Remove {
        /// The group's name.
        name: GroupName,
        #[command(flatten)]
        place: Place,
    },
    /// Puts a user into a group.
    #[command(after_help = "Example:\n  supercargo group add builders ann --data ./data")]
    Add {
        /// The group's name.
        name: GroupName,
        /// The user's name.
        user: UserName,
        #[command(flatten)]
        place: Place,
    },
    /// Takes a user out of a group.
    #[command(after_help = "Example:\n  supercargo group drop builders ann --data ./data")]
    Drop {
        /// The group's name.
        name: GroupName,
        /// The user's name.
        user: UserName,
        #[command(flatten)]
        place: Place,
    },
}

/// Gives access tokens and takes them back.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum TokenCommand {
    /// Lists the tokens of a user.
    #[command(after_help = "Example:\n  supercargo token list ci-bot --data ./data")]
    List {
        /// The user's name.
        user: UserName,
        #[command(flatten)]
        place: Place,
    },
    /// Gives a user a token, which is printed this once.
    #[command(
        after_help = "Example:\n  supercargo token create ci-bot --description \"CI of team A\" --expires-in 90d --data ./data"
    )]
    Create {
        /// The user's name.
        user: UserName,
        /// What it is called.
        #[arg(long, default_value = "")]
        description: String,
        /// How long it is taken; for ever, without.
        #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
        expires_in: Option<std::time::Duration>,
        #[command(flatten)]
        place: Place,
    },
    /// Takes a token back, at once; what was logged in with it lasts for five minutes at most.
    #[command(
        after_help = "Example:\n  supercargo token revoke 01a20cba-d870-7d21-9c0f-6d1c36b8b3a5 --data ./data"
    )]
    Revoke {
        /// The token's id.
        id: TokenId,
        #[command(flatten)]
        place: Place,
    },
}

/// Gives permissions and takes them away.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum PermissionCommand {
    /// Lists permissions.
    #[command(after_help = "Example:\n  supercargo permission list --data ./data")]
    List {
        #[command(flatten)]
        place: Place,
    },
    /// Lets somebody do something on names, in place of what was allowed there.
    #[command(
        after_help = "Examples:\n  supercargo permission set group:builders read,write --names 'team-a/**' --data ./data\n  \
            supercargo permission set anonymous read --data ./data"
    )]
    Set {
        /// Who: anonymous, user:NAME or group:NAME.
        grantee: Grantee,
        /// What: read, write, delete and manage with commas between, or all.
        actions: Actions,
        #[command(flatten)]
        about: About,
        #[command(flatten)]
        place: Place,
    },
    /// Takes a permission away.
    #[command(after_help = "Example:\n  supercargo permission remove anonymous --data ./data")]
    Remove {
        /// Who: anonymous, user:NAME or group:NAME.
        grantee: Grantee,
        #[command(flatten)]
        about: About,
        #[command(flatten)]
        place: Place,
    },
}

/// Where a permission holds.
#[derive(Debug, clap::Args)]
pub(crate) struct About {
    /// Keys of repositories: * for anything up to the next slash, ** for anything at all.
    #[arg(long, value_name = "PATTERN", default_value = "**")]
    repositories: Pattern,

    /// Names in them.
    #[arg(long, value_name = "PATTERN", default_value = "**")]
    names: Pattern,
}

impl About {
    fn grant(&self, grantee: &Grantee) -> GrantInfo {
        let (repositories, names) = (self.repositories.clone(), self.names.clone());
        GrantInfo { grantee: grantee.clone(), repositories, names }
    }
}

/// The first line of stdin.
///
/// # Errors
/// [`Failure::Usage`] where there is none.
fn from_stdin() -> Result<String, Failure> {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).map_err(Failure::failed)?;
    let password = line.trim_end_matches(['\n', '\r']);
    if password.is_empty() {
        return Err(Failure::Usage("there is no password on stdin".to_owned()));
    }
    Ok(password.to_owned())
}

/// A file, or stdin for `-`.
///
/// # Errors
/// [`Failure::Usage`] where it can't be read.
fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    let mut content = Vec::new();
    let read = match file.as_os_str() == "-" {
        true => std::io::stdin().lock().read_to_end(&mut content).map(drop),
        false => std::fs::read(file).map(|read| content = read),
    };
    read.map_err(|e| Failure::Usage(format!("{}: {e}", file.display())))?;
    Ok(content)
}

fn hash(local: &Local, password: &str) -> Result<PasswordHash, Failure> {
    let settings = PasswordSettings { threads: NonZeroUsize::MIN, ..PasswordSettings::default() };
    let passwords = Passwords::start(settings).map_err(Failure::failed)?;
    local.run(accounts::hash(&passwords, password.to_owned()))
}

/// The password to be set, and whether it is shown.
fn chosen(from_standard_input: bool) -> Result<(String, bool), Failure> {
    match from_standard_input {
        true => Ok((from_stdin()?, false)),
        false => Ok((made_up()?.expose().to_owned(), true)),
    }
}

/// # Errors
/// [`Failure`], as its variants say.
pub(crate) fn run_user(command: &UserCommand, common: &Common) -> Result<(), Failure> {
    match command {
        UserCommand::List { place } => {
            let users: Vec<UserInfo> = match place.open(common)? {
                Backend::Local(local) => accounts::users(&local.registry)?,
                Backend::Remote(remote) => remote.get("/users", &())?,
            };
            output::value(common.json, &users, |users| {
                let head = ["NAME", "KIND", "DISABLED", "GROUPS", "CREATED"].map(str::to_owned).to_vec();
                let rows = users.iter().map(|user| {
                    vec![
                        user.name.to_string(),
                        kind(user).to_owned(),
                        if user.disabled { "disabled" } else { "" }.to_owned(),
                        joined(&user.groups),
                        moment::show(user.created_at),
                    ]
                });
                show::table(&std::iter::once(head).chain(rows).collect::<Vec<_>>())
            })
        }
        UserCommand::Show { name, place } => {
            let user = match place.open(common)? {
                Backend::Local(local) => accounts::user(&local.registry, name)?,
                Backend::Remote(remote) => remote.get(&format!("/users/{name}"), &())?,
            };
            output::value(common.json, &user, whole)
        }
        UserCommand::Create { name, service, administrator, password_stdin, place } => {
            let password = if *service { None } else { Some(chosen(*password_stdin)?) };
            let user = match place.open(common)? {
                Backend::Local(local) => {
                    let hash = password.as_ref().map(|(password, _)| hash(&local, password)).transpose()?;
                    let caller = caller();
                    let created =
                        local.registry.create_user(&caller, name.clone(), *service, *administrator, hash);
                    local.run(created)?;
                    accounts::user(&local.registry, name)?
                }
                Backend::Remote(remote) => {
                    let password = password.as_ref().map(|(password, _)| password.clone());
                    let new = NewUser { service: *service, administrator: *administrator, password };
                    remote.put(&format!("/users/{name}"), &new)?
                }
            };
            let shown = password.filter(|(_, shown)| *shown).map(|(password, _)| password);
            created(common, &user, shown.as_deref())
        }
        UserCommand::Configure { name, administrator, disabled, place } => {
            let user = match place.open(common)? {
                Backend::Local(local) => {
                    let caller = caller();
                    let change = local.registry.change_user(&caller, name.clone(), *administrator, *disabled);
                    local.run(change)?;
                    accounts::user(&local.registry, name)?
                }
                Backend::Remote(remote) => {
                    let change = UserChange { administrator: *administrator, disabled: *disabled };
                    remote.patch(&format!("/users/{name}"), &change)?
                }
            };
            output::value(common.json, &user, whole)
        }
        UserCommand::Password { name, password_stdin, place } => {
            let (password, shown) = chosen(*password_stdin)?;
            match place.open(common)? {
                Backend::Local(local) => {
                    let hash = hash(&local, &password)?;
                    local.run(local.registry.set_password(&caller(), name.clone(), Some(hash)))?;
                }
                Backend::Remote(remote) => {
                    let new = NewPassword { password: Some(password.clone()) };
                    remote.put_nothing(&format!("/users/{name}/password"), &new)?;
                }
            }
            let password = shown.then_some(password);
            let report = serde_json::json!({ "user": name, "password": password });
            output::value(common.json, &report, |_| match &password {
                Some(password) => format!("{name} has the password {password} (shown this once)"),
                None => format!("{name} has another password"),
            })
        }
        UserCommand::Import { file, replace, dry_run, place } => {
            let content = read(file)?;
            let parameters = ImportParameters { replace: *replace, dry_run: *dry_run };
            let report = match place.open(common)? {
                Backend::Local(local) => {
                    local.run(accounts::import(&local.registry, &caller(), &content, parameters))?
                }
                Backend::Remote(remote) => remote.post_bytes("/users", &parameters, &content)?,
            };
            output::value(common.json, &report, imported)?;
            if report.refused.is_empty() { Ok(()) } else { Err(Failure::Finding) }
        }
        UserCommand::Remove { name, place } => {
            match place.open(common)? {
                Backend::Local(local) => local.run(local.registry.remove_user(&caller(), name.clone()))?,
                Backend::Remote(remote) => remote.delete(&format!("/users/{name}"), &())?,
            }
            output::value(common.json, &serde_json::json!({ "removed": name }), |_| format!("removed {name}"))
        }
    }
}

fn created(common: &Common, user: &UserInfo, password: Option<&str>) -> Result<(), Failure> {
    let mut report = serde_json::to_value(user).map_err(Failure::failed)?;
    if let Some(password) = password {
        report["password"] = password.into();
    }
    output::value(common.json, &report, |_| {
        let shown = password.map(|password| format!("\npassword     {password} (shown this once)"));
        format!("{}{}", whole(user), shown.unwrap_or_default())
    })
}

/// Each user and each line that was left out, then how many.
fn imported(report: &ImportReport) -> String {
    let ImportReport { dry_run, created, replaced, skipped, refused } = report;
    let would = if *dry_run { "would be " } else { "" };
    let mut lines = Vec::new();
    lines.extend(created.iter().map(|user| format!("{user} {would}created")));
    lines.extend(replaced.iter().map(|user| format!("{user} {would}given the file's password")));
    lines.extend(skipped.iter().map(|user| format!("{user} is there already")));
    lines.extend(refused.iter().map(|refused| format!("line {}: {}", refused.line, refused.reason)));
    lines.push(format!(
        "{would}created: {}, replaced: {}; there already: {}, refused: {}",
        created.len(),
        replaced.len(),
        skipped.len(),
        refused.len()
    ));
    lines.join("\n")
}

fn kind(user: &UserInfo) -> &'static str {
    match (user.administrator, user.service) {
        (true, _) => "administrator",
        (false, true) => "service",
        (false, false) => "person",
    }
}

fn joined<T: ToString>(all: &[T]) -> String {
    all.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn whole(user: &UserInfo) -> String {
    let rows = [
        ("name", user.name.to_string()),
        ("kind", kind(user).to_owned()),
        ("disabled", user.disabled.to_string()),
        ("has password", user.password.to_string()),
        ("groups", joined(&user.groups)),
        ("created", moment::show(user.created_at)),
    ];
    show::table(&rows.map(|(name, value)| vec![name.to_owned(), value]))
}

/// # Errors
/// [`Failure`], as its variants say.
pub(crate) fn run_group(command: &GroupCommand, common: &Common) -> Result<(), Failure> {
    match command {
        GroupCommand::List { place } => {
            let groups: Vec<GroupInfo> = match place.open(common)? {
                Backend::Local(local) => accounts::groups(&local.registry)?,
                Backend::Remote(remote) => remote.get("/groups", &())?,
            };
            output::value(common.json, &groups, |groups| {
                let head = ["NAME", "MEMBERS", "DESCRIPTION"].map(str::to_owned).to_vec();
                let rows = groups.iter().map(|group| {
                    vec![group.name.to_string(), joined(&group.members), group.description.clone()]
                });
                show::table(&std::iter::once(head).chain(rows).collect::<Vec<_>>())
            })
        }
        GroupCommand::Create { name, description, place } => {
            match place.open(common)? {
                Backend::Local(local) => {
                    let caller = caller();
                    let create = local.registry.create_group(&caller, name.clone(), description.clone());
                    local.run(create)?;
                }
                Backend::Remote(remote) => {
                    let new = NewGroup { description: description.clone() };
                    remote.put::<_, GroupInfo>(&format!("/groups/{name}"), &new)?;
                }
            }
            said(common, &serde_json::json!({ "created": name }), &format!("created {name}"))
        }
        GroupCommand::Remove { name, place } => {
            match place.open(common)? {
                Backend::Local(local) => local.run(local.registry.remove_group(&caller(), name.clone()))?,
                Backend::Remote(remote) => remote.delete(&format!("/groups/{name}"), &())?,
            }
            said(common, &serde_json::json!({ "removed": name }), &format!("removed {name}"))
        }
        GroupCommand::Add { name, user, place } => {
            match place.open(common)? {
                Backend::Local(local) => {
                    local.run(local.registry.add_member(&caller(), name.clone(), user.clone()))?;
                }
                Backend::Remote(remote) => {
                    remote.put_nothing(&format!("/groups/{name}/members/{user}"), &())?;
                }
            }
            let report = serde_json::json!({ "group": name, "added": user });
            said(common, &report, &format!("{user} is in {name}"))
        }
        GroupCommand::Drop { name, user, place } => {
            match place.open(common)? {
                Backend::Local(local) => {
                    local.run(local.registry.remove_member(&caller(), name.clone(), user.clone()))?;
                }
                Backend::Remote(remote) => remote.delete(&format!("/groups/{name}/members/{user}"), &())?,
            }
            let report = serde_json::json!({ "group": name, "dropped": user });
            said(common, &report, &format!("{user} is not in {name} any more"))
        }
    }
}

fn said(common: &Common, report: &serde_json::Value, text: &str) -> Result<(), Failure> {
    output::value(common.json, report, |_| text.to_owned())
}

/// # Errors
/// [`Failure`], as its variants say.
pub(crate) fn run_token(command: &TokenCommand, common: &Common) -> Result<(), Failure> {
    match command {
        TokenCommand::List { user, place } => {
            let tokens: Vec<TokenInfo> = match place.open(common)? {
                Backend::Local(local) => accounts::tokens(&local.registry, user)?,
                Backend::Remote(remote) => remote.get(&format!("/users/{user}/tokens"), &())?,
            };
            output::value(common.json, &tokens, |tokens| {
                let head = ["ID", "KIND", "ISSUED", "EXPIRES", "LAST USED", "DESCRIPTION"];
                let rows = tokens.iter().map(|token| {
                    let kind = serde_json::to_value(token.kind).ok();
                    let moment = |at: Option<_>| at.map(moment::show).unwrap_or_default();
                    vec![
                        token.id.to_string(),
                        kind.and_then(|kind| kind.as_str().map(str::to_owned)).unwrap_or_default(),
                        moment::show(token.issued_at),
                        moment(token.expires_at),
                        moment(token.used_at),
                        token.description.clone(),
                    ]
                });
                let head = head.map(str::to_owned).to_vec();
                show::table(&std::iter::once(head).chain(rows).collect::<Vec<_>>())
            })
        }
        TokenCommand::Create { user, description, expires_in, place } => {
            let expires_in = expires_in.map(|lasts| lasts.as_secs());
            let new = NewToken { description: description.clone(), expires_in };
            let issued: IssuedToken = match place.open(common)? {
                Backend::Local(local) => {
                    local.run(accounts::issue_token(&local.registry, &caller(), user, &new))?
                }
                Backend::Remote(remote) => remote.post_body(&format!("/users/{user}/tokens"), &new)?,
            };
            output::value(common.json, &issued, |issued| issued.secret.clone())
        }
        TokenCommand::Revoke { id, place } => {
            match place.open(common)? {
                Backend::Local(local) => local.run(local.registry.revoke_token(&caller(), *id))?,
                Backend::Remote(remote) => remote.delete(&format!("/tokens/{id}"), &())?,
            }
            said(common, &serde_json::json!({ "revoked": id }), &format!("revoked {id}"))
        }
    }
}

/// # Errors
/// [`Failure`], as its variants say.
pub(crate) fn run_permission(command: &PermissionCommand, common: &Common) -> Result<(), Failure> {
    match command {
        PermissionCommand::List { place } => {
            let permissions: Vec<PermissionInfo> = match place.open(common)? {
                Backend::Local(local) => {
                    local.registry.permissions()?.into_iter().map(PermissionInfo::from).collect()
                }
                Backend::Remote(remote) => remote.get("/permissions", &())?,
            };
            output::value(common.json, &permissions, |permissions| {
                let head = ["WHO", "REPOSITORIES", "NAMES", "MAY"].map(str::to_owned).to_vec();
                let rows = permissions.iter().map(|permission| {
                    let about = &permission.about;
                    vec![
                        about.grantee.to_string(),
                        about.repositories.to_string(),
                        about.names.to_string(),
                        permission.actions.to_string(),
                    ]
                });
                show::table(&std::iter::once(head).chain(rows).collect::<Vec<_>>())
            })
        }
        PermissionCommand::Set { grantee, actions, about, place } => {
            let permission = PermissionInfo { about: about.grant(grantee), actions: *actions };
            match place.open(common)? {
                Backend::Local(local) => {
                    let grant = permission.about.clone().into();
                    local.run(local.registry.set_permission(&caller(), grant, *actions))?;
                }
                Backend::Remote(remote) => {
                    remote.put::<_, PermissionInfo>("/permissions", &permission)?;
                }
            }
            output::value(common.json, &permission, |permission| {
                let GrantInfo { grantee, repositories, names } = &permission.about;
                format!("{grantee} may {} {repositories}/{names}", permission.actions)
            })
        }
        PermissionCommand::Remove { grantee, about, place } => {
            let about = about.grant(grantee);
            match place.open(common)? {
                Backend::Local(local) => {
                    local.run(local.registry.remove_permission(&caller(), about.clone().into()))?;
                }
                Backend::Remote(remote) => remote.delete("/permissions", &about)?,
            }
            output::value(common.json, &about, |about| {
                let GrantInfo { grantee, repositories, names } = about;
                format!("{grantee} has no permission on {repositories}/{names} any more")
            })
        }
    }
}
