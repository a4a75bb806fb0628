//! `supercargo promote` and `supercargo migrate`: tags come into other repositories, as they are or as what V2 clients pull.

use std::io::BufRead as _;
use std::str::FromStr;

use futures_util::StreamExt as _;
use serde::Deserialize;
use supercargo_admin::api::{MigrationParameters, PromotionParameters};
use supercargo_admin::{ErrorBody, ops};
use supercargo_model::{RepoKey, RepoName, Tag};
use supercargo_registry::v1::{MigratedTag, MigrationProgress, MigrationReport, MigrationStep, TagMigration};
use supercargo_registry::{Error, PromotedTag};

use super::place::{Backend, Place, caller};
use super::progress::Progress;
use super::{Common, show};
use crate::failure::Failure;
use crate::output;

/// Brings a tag, a name or all names of a repository into another repository, or under another name, with all that they
/// reach: at once, and without copying a byte.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  supercargo promote dev/shop/web:rc1 prod/shop/web:1.0 --data ./data\n  \
                  supercargo promote dev prod --move --server http://127.0.0.1:5000"
)]
pub(crate) struct PromoteArgs {
    /// What is promoted.
    #[arg(value_name = "REPOSITORY[/NAME[:TAG]]")]
    from: Subject,

    /// Where to. Without a name it is called as it was, and without a tag too.
    #[arg(value_name = "REPOSITORY[/NAME[:TAG]]")]
    to: Subject,

    /// Takes it away from where it was.
    #[arg(long = "move")]
    moved: bool,

    #[command(flatten)]
    place: Place,
}

/// Makes manifests of the V1 images in a repository, for V2 clients to pull from another. Running it again does what is left.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  supercargo migrate old new --data ./data\n  \
                  supercargo migrate old/shop/web:1.0 new --force --server http://127.0.0.1:5000")]
pub(crate) struct MigrateArgs {
    /// What is migrated, from a repository of version V1.
    #[arg(value_name = "REPOSITORY[/NAME[:TAG]]")]
    from: Subject,

    /// The repository that it comes into, which speaks V2.
    to: RepoKey,

    /// Overwrites tags that no migration has set.
    #[arg(long)]
    force: bool,

    #[command(flatten)]
    place: Place,
}

/// A repository, a name in it, or a tag of that.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Subject {
    repository: RepoKey,
    name: Option<RepoName>,
    tag: Option<Tag>,
}

impl FromStr for Subject {
    type Err = supercargo_model::ParseError;

    fn from_str(text: &str) -> Result<Subject, Self::Err> {
        let (repository, rest) = match text.split_once('/') {
            Some((repository, rest)) => (repository, Some(rest)),
            None => (text, None),
        };
        let (name, tag) = match rest.and_then(|rest| rest.split_once(':')) {
            Some((name, tag)) => (Some(name), Some(tag)),
            None => (rest, None),
        };
        Ok(Subject {
            repository: repository.parse()?,
            name: name.map(str::parse).transpose()?,
            tag: tag.map(str::parse).transpose()?,
        })
    }
}

/// # Errors
/// [`Failure`], as its variants say.
pub(crate) fn promote(args: &PromoteArgs, common: &Common) -> Result<(), Failure> {
    let Subject { repository, name, tag } = args.from.clone();
    let parameters = PromotionParameters {
        to: args.to.repository.clone(),
        name,
        to_name: args.to.name.clone(),
        tag,
        to_tag: args.to.tag.clone(),
        moved: args.moved,
    };
    let promoted: Vec<PromotedTag> = match args.place.open(common)? {
        Backend::Local(local) => {
            local.run(ops::promote(&local.registry, &caller(), &repository, &parameters))?
        }
        Backend::Remote(remote) => {
            let _progress = Progress::waiting("promoting");
            remote.post_body(&format!("/repositories/{repository}/promote"), &parameters)?
        }
    };
    output::value(common.json, &promoted, |promoted| {
        let line = |tag: &PromotedTag| {
            let PromotedTag { from_name, from_tag, name, tag, digest, changed } = tag;
            let already = if *changed { "" } else { "  (was there)" };
            format!(
                "{repository}/{from_name}:{from_tag} → {}/{name}:{tag}  {}{already}",
                args.to.repository,
                show::short(digest)
            )
        };
        promoted.iter().map(line).collect::<Vec<_>>().join("\n")
    })
}

/// # Errors
/// [`Failure`], as its variants say; [`Failure::Finding`] where some tags could not be migrated.
pub(crate) fn migrate(args: &MigrateArgs, common: &Common) -> Result<(), Failure> {
    let Subject { repository, name, tag } = args.from.clone();
    let parameters = MigrationParameters { to: args.to.clone(), name, tag, force: args.force };
    let mut progress = Progress::start();
    let mut show = |at: MigrationProgress| progress.at("migrated", at.done(), Some(at.total));
    let report = match args.place.open(common)? {
        Backend::Local(local) => {
            let mut steps = ops::migrate(&local.registry, caller(), repository, parameters);
            local.run(async {
                while let Some(step) = steps.next().await {
                    match step? {
                        MigrationStep::Progress(at) => show(at),
                        MigrationStep::Finished(report) => return Ok(report),
                    }
                }
                Err(Error::Unavailable)
            })?
        }
        Backend::Remote(remote) => {
            let path = format!("/repositories/{repository}/migrate");
            let mut report = None;
            for line in remote.lines_of_post(&path, &parameters)?.lines() {
                match serde_json::from_str(&line.map_err(Failure::failed)?).map_err(Failure::failed)? {
                    Line::Step(MigrationStep::Progress(at)) => show(at),
                    Line::Step(MigrationStep::Finished(finished)) => report = Some(finished),
                    Line::Broken(ErrorBody { error }) => return Err(Failure::Failed(error.message)),
                }
            }
            let broken = "the server broke the migration off: running it again does the rest";
            report.ok_or_else(|| Failure::Failed(broken.to_owned()))?
        }
    };
    drop(progress);
    output::value(common.json, &report, report_text)?;
    if report.progress.failed > 0 { Err(Failure::Finding) } else { Ok(()) }
}

/// What a server says of a migration.
#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Step(MigrationStep),
    Broken(ErrorBody),
}

fn report_text(report: &MigrationReport) -> String {
    let mut lines = Vec::new();
    for MigratedTag { name, tag, outcome } in report.migrated.iter().chain(&report.failed) {
        lines.push(match outcome {
            TagMigration::Migrated(digest) | TagMigration::Unchanged(digest) => {
                format!("{name}:{tag}  {digest}")
            }
            TagMigration::Failed(reason) => format!("{name}:{tag}  not migrated: {reason}"),
        });
    }
    let MigrationProgress { migrated, unchanged, failed, .. } = report.progress;
    lines.push(format!("{migrated} migrated, {unchanged} unchanged, {failed} failed"));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_are_read() {
        let of = |text: &str| {
            let Subject { repository, name, tag } = text.parse().unwrap();
            (repository.to_string(), name.map(|name| name.to_string()), tag.map(|tag| tag.to_string()))
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(of("old"), ("old".to_owned(), None, None));
        assert_eq!(of("old/a/b"), ("old".to_owned(), some("a/b"), None));
        assert_eq!(of("old/a/b:1.0"), ("old".to_owned(), some("a/b"), some("1.0")));
        for bad in ["", "/", "old/", "old:1", "old/a:", "old/A", "old/a:b:c"] {
            assert!(bad.parse::<Subject>().is_err(), "{bad:?}");
        }
    }
}
