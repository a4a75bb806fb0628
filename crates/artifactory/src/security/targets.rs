//! Permission targets.

use std::collections::BTreeMap;

use axum::response::Response;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;
use supercargo_http::request;
use supercargo_model::account::{
    GroupName, PermissionTarget, PermissionTargetName, TargetActions, TargetRepositories, UserName,
};
use supercargo_model::{PathPattern, RepoKey};
use supercargo_registry::Error;

use super::{body, same_name};
use crate::error::Failure;
use crate::respond::{self, content_type};
use crate::{Asked, Surface};

/// What stands for every path, as Artifactory writes it in targets.
const EVERYTHING: &str = "**";

/// A permission target as clients see it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    name: Option<String>,
    includes_pattern: Option<String>,
    excludes_pattern: Option<String>,
    repositories: Vec<String>,
    #[serde(default)]
    principals: Principals,
}

/// Who may do what, in letters.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Principals {
    #[serde(default)]
    users: Option<BTreeMap<String, Vec<String>>>,
    #[serde(default)]
    groups: Option<BTreeMap<String, Vec<String>>>,
}

/// `GET api/security/permissions`
pub(crate) fn list(surface: &Surface, asked: &Asked) -> Result<Response, Failure> {
    let base = request::base_url(&asked.parts);
    let targets = surface.registry.permission_targets()?.into_iter().map(|(name, _)| {
        let uri = format!("{base}/api/security/permissions/{}", encoded(&name));
        json!({ "name": name, "uri": uri })
    });
    respond::json(StatusCode::OK, content_type::TARGETS, &targets.collect::<Vec<_>>())
}

/// A name as a path has it: names hold spaces.
fn encoded(name: &PermissionTargetName) -> impl std::fmt::Display {
    percent_encoding::utf8_percent_encode(name.as_str(), percent_encoding::NON_ALPHANUMERIC)
}

/// `GET api/security/permissions/<name>`
pub(crate) fn get(surface: &Surface, name: &PermissionTargetName) -> Result<Response, Failure> {
    let target = surface.registry.permission_target(name)?;
    respond::json(StatusCode::OK, content_type::TARGET, &shown(name, &target))
}

/// `PUT api/security/permissions/<name>`: makes it, or has it say this in place of what it said.
pub(crate) async fn put(
    surface: &Surface,
    asked: &Asked,
    name: &PermissionTargetName,
) -> Result<Response, Failure> {
    surface.accounts()?;
    let target = read(name, body(&asked.body)?)?;
    let is_new = match surface.registry.permission_target(name) {
        Ok(_) => false,
        Err(Error::PermissionTargetUnknown(_)) => true,
        Err(error) => return Err(error.into()),
    };
    let set = surface.registry.set_permission_target(&asked.admitted.caller, name.clone(), target).await;
    set.map_err(|error| match error {
        // What the path says is there.
        Error::UserUnknown(_) | Error::GroupUnknown(_) => Failure::invalid(error.to_string()),
        error => error.into(),
    })?;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok(respond::text(status, format!("Permission target '{name}' has been saved.")))
}

/// `DELETE api/security/permissions/<name>`
pub(crate) async fn delete(
    surface: &Surface,
    asked: &Asked,
    name: &PermissionTargetName,
) -> Result<Response, Failure> {
    surface.accounts()?;
    surface.registry.remove_permission_target(&asked.admitted.caller, name.clone()).await?;
    let text = format!("Permission target '{name}' has been removed successfully.");
    Ok(respond::text(StatusCode::OK, text))
}

fn shown(name: &PermissionTargetName, target: &PermissionTarget) -> Shown {
    let list = |patterns: &[PathPattern]| {
        let texts: Vec<&str> = patterns.iter().map(PathPattern::as_str).collect();
        texts.join(",")
    };
    let includes = Some(list(&target.includes)).filter(|list| !list.is_empty());
    let repository = |repository: &TargetRepositories| match repository {
        TargetRepositories::Any(text) => text.clone(),
        TargetRepositories::Key(key) => key.to_string(),
    };
    let users = target.users.iter().map(|(name, actions)| (name.to_string(), letters(*actions)));
    let groups = target.groups.iter().map(|(name, actions)| (name.to_string(), letters(*actions)));
    Shown {
        name: Some(name.to_string()),
        includes_pattern: Some(includes.unwrap_or_else(|| EVERYTHING.to_owned())),
        excludes_pattern: Some(list(&target.excludes)),
        repositories: target.repositories.iter().map(repository).collect(),
        principals: Principals { users: Some(users.collect()), groups: Some(groups.collect()) },
    }
}

fn read(name: &PermissionTargetName, sent: Shown) -> Result<PermissionTarget, Failure> {
    same_name(sent.name.as_deref(), name.as_str())?;
    let patterns = |member: &str, list: Option<String>| {
        let list = PathPattern::parse_list(&list.unwrap_or_default());
        list.map_err(|error| Failure::invalid(format!("{member}: {error}")))
    };
    if sent.repositories.is_empty() {
        return Err(Failure::invalid("a permission target is about one repository at least"));
    }
    let mut target = PermissionTarget {
        repositories: sent.repositories.iter().map(|text| repository(text)).collect::<Result<_, _>>()?,
        includes: patterns("includesPattern", sent.includes_pattern)?,
        excludes: patterns("excludesPattern", sent.excludes_pattern)?,
        ..PermissionTarget::default()
    };
    for (user, letters) in sent.principals.users.unwrap_or_default() {
        if user == "anonymous" {
            return Err(Failure::invalid(
                "what nobody in particular may do is no permission target's to say here: use `supercargo permission set \
                 anonymous`",
            ));
        }
        let user = UserName::parse(&user).map_err(|error| Failure::invalid(error.to_string()))?;
        target.users.push((user, actions(&letters)?));
    }
    for (group, letters) in sent.principals.groups.unwrap_or_default() {
        let group = GroupName::parse(&group).map_err(|error| Failure::invalid(error.to_string()))?;
        target.groups.push((group, actions(&letters)?));
    }
    Ok(target)
}

fn repository(text: &str) -> Result<TargetRepositories, Failure> {
    match text {
        "ANY" | "ANY LOCAL" => Ok(TargetRepositories::Any(text.to_owned())),
        _ if text.starts_with("ANY") && text.contains(' ') => {
            Err(Failure::invalid(format!("{text:?}: all repositories here are local: use ANY or ANY LOCAL")))
        }
        key => RepoKey::parse(key)
            .map(TargetRepositories::Key)
            .map_err(|error| Failure::invalid(error.to_string())),
    }
}

/// The letters of what is given, the least first.
fn letters(actions: TargetActions) -> Vec<String> {
    let TargetActions { read, deploy, annotate, delete, manage } = actions;
    let all = [(read, "r"), (annotate, "n"), (deploy, "w"), (delete, "d"), (manage, "m")];
    all.into_iter().filter(|(given, _)| *given).map(|(_, letter)| letter.to_owned()).collect()
}

fn actions(letters: &[String]) -> Result<TargetActions, Failure> {
    let mut actions = TargetActions::default();
    for letter in letters {
        match letter.as_str() {
            "r" => actions.read = true,
            "n" => actions.annotate = true,
            "w" => actions.deploy = true,
            "d" => actions.delete = true,
            "m" => actions.manage = true,
            // Of what is not here: metadata of Xray, and distribution.
            "mxm" | "x" => {}
            other => return Err(Failure::invalid(format!("{other:?} is no letter: use r, n, w, d and m"))),
        }
    }
    Ok(actions)
}
