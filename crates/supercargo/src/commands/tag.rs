//! `supercargo tag` and `supercargo inspect`: what tags point to, what they pointed to, and what is known of a
//! manifest or blob.

use supercargo_admin::api::{InspectParameters, TagParameters, TagsPage, TagsParameters};
use supercargo_admin::ops;
use supercargo_model::{RepoKey, RepoName, Tag};
use supercargo_registry::{Inspection, TagChangeInfo};

use super::place::{Backend, Place};
use super::{Common, moment, show};
use crate::failure::Failure;
use crate::output;

/// Looks at tags.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Lists the tags of a name with where they point.
    #[command(after_help = "Example:\n  supercargo tag list docker-local shop/web --data ./data")]
    List {
        /// The repository's key.
        repository: RepoKey,
        /// The name.
        name: RepoName,
        #[command(flatten)]
        place: Place,
    },
    /// Shows every change of a tag, oldest first: also of one that is gone.
    #[command(
        after_help = "Example:\n  supercargo tag history docker-local shop/web prod --server http://127.0.0.1:5000"
    )]
    History {
        /// The repository's key.
        repository: RepoKey,
        /// The name.
        name: RepoName,
        /// The tag.
        tag: Tag,
        #[command(flatten)]
        place: Place,
    },
}

/// # Errors
/// [`Failure`], as its variants say.
pub(crate) fn run(command: &Command, common: &Common) -> Result<(), Failure> {
    match command {
        Command::List { repository, name, place } => {
            let backend = place.open(common)?;
            let mut parameters = TagsParameters { name: name.clone(), last: None, n: None };
            loop {
                let page: TagsPage = match &backend {
                    Backend::Local(local) => ops::tags(&local.registry, repository, &parameters)?,
                    Backend::Remote(remote) => {
                        remote.get(&format!("/repositories/{repository}/tags"), &parameters)?
                    }
                };
                for tag in &page.tags {
                    output::value(common.json, tag, |tag| {
                        let image =
                            tag.image.map_or_else(String::new, |id| format!("  image {}", id.short()));
                        format!("{}  {}  {}  by {}{image}", tag.tag, tag.digest, moment::show(tag.at), tag.by)
                    })?;
                }
                match page.tags.last() {
                    Some(last) if page.more => parameters.last = Some(last.tag.clone()),
                    _ => return Ok(()),
                }
            }
        }
        Command::History { repository, name, tag, place } => {
            let changes: Vec<TagChangeInfo> = match place.open(common)? {
                Backend::Local(local) => local.registry.tag_history(repository, name, tag)?,
                Backend::Remote(remote) => {
                    let parameters = TagParameters { name: name.clone(), tag: tag.clone() };
                    remote.get(&format!("/repositories/{repository}/history"), &parameters)?
                }
            };
            output::value(common.json, &changes, |changes| {
                let mut rows = vec![["SEQ", "AT", "BY", "POINTS TO", "BEFORE"].map(str::to_owned).to_vec()];
                rows.extend(changes.iter().map(|change| {
                    let before = change.previous.as_ref().map_or_else(|| "-".to_owned(), show::short);
                    vec![
                        change.seq.to_string(),
                        moment::show(change.at),
                        change.by.to_string(),
                        match (&change.digest, change.image) {
                            (Some(digest), Some(image)) => {
                                format!("{} (image {})", show::short(digest), image.short())
                            }
                            (Some(digest), None) => show::short(digest),
                            (None, _) => "deleted".to_owned(),
                        },
                        before,
                    ]
                }));
                show::table(&rows)
            })
        }
    }
}

/// Shows all that is known of a manifest or blob: what it refers to, and what refers to it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  supercargo inspect docker-local shop/web prod --data ./data\n  \
    supercargo inspect docker-local shop/web sha256:37fb… --server http://127.0.0.1:5000")]
pub(crate) struct InspectArgs {
    /// The repository's key.
    repository: RepoKey,
    /// The name.
    name: RepoName,
    /// A tag or digest.
    reference: String,
    #[command(flatten)]
    place: Place,
}

/// # Errors
/// [`Failure`], as its variants say.
pub(crate) fn inspect(args: &InspectArgs, common: &Common) -> Result<(), Failure> {
    let parameters = InspectParameters { name: args.name.clone(), reference: args.reference.clone() };
    let reference = parameters.reference().map_err(|e| Failure::Usage(e.to_string()))?;
    let inspection: Inspection = match args.place.open(common)? {
        Backend::Local(local) => local.registry.inspect(&args.repository, &args.name, &reference)?,
        Backend::Remote(remote) => {
            remote.get(&format!("/repositories/{}/inspect", args.repository), &parameters)?
        }
    };
    output::value(common.json, &inspection, inspection_text)
}

fn inspection_text(inspection: &Inspection) -> String {
    let mut rows = vec![
        ("digest", inspection.digest.to_string()),
        ("size", show::size(inspection.size)),
        (
            "in use",
            if inspection.in_use { "yes" } else { "no: nothing that a tag reaches refers to it" }.to_owned(),
        ),
    ];
    rows.extend(inspection.held_by_names.map(|names| ("held by", show::count(u64::from(names), "name"))));
    rows.extend(inspection.first_seen.map(|at| ("first seen", moment::show(at))));
    if inspection.rotten {
        rows.push(("damaged", "yes: push it again".to_owned()));
    }
    if let Some(manifest) = &inspection.manifest {
        rows.push(("manifest", manifest.media_type.clone()));
        rows.extend(manifest.artifact_type.clone().map(|kind| ("artifact", kind)));
        rows.push((
            "pushed",
            format!("{} by {}, record {}", moment::show(manifest.at), manifest.by, manifest.seq),
        ));
        let mut describe = |what, descriptors: &[supercargo_model::Descriptor]| {
            for descriptor in descriptors {
                rows.push((
                    what,
                    format!(
                        "{}  {}  {}",
                        descriptor.digest,
                        show::size(descriptor.size),
                        descriptor.media_type
                    ),
                ));
            }
        };
        describe("config", manifest.config.as_slice());
        describe("layer", &manifest.layers);
        describe("lists", &manifest.children);
        rows.extend(manifest.subject.map(|subject| ("subject", subject.to_string())));
        rows.extend(manifest.annotations.iter().map(|(key, value)| ("annotation", format!("{key}={value}"))));
    }
    if let Some(image) = &inspection.image {
        rows.push(("V1 image", image.id.to_string()));
        rows.extend(image.parent.map(|parent| ("parent", parent.id.to_string())));
        rows.push(("layer", format!("{}  {}", image.layer, show::size(image.layer_size))));
        rows.extend(image.checksum.map(|checksum| ("checksum", checksum.to_string())));
        rows.extend(image.tarsum.clone().map(|tarsum| ("tarsum", tarsum)));
    }
    rows.extend(inspection.tags.iter().map(|tag| ("tag", tag.to_string())));
    rows.extend(
        inspection
            .listed_by
            .iter()
            .map(|(digest, kind)| ("used by", format!("{digest} as {kind:?}").to_lowercase())),
    );
    rows.extend(inspection.referrers.iter().map(|digest| ("referrer", digest.to_string())));
    let rows: Vec<Vec<String>> = rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect();
    show::table(&rows)
}
