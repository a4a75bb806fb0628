//! Whether a repository is open to everybody (the V1 specification, 8): a permission for nobody in particular to read it.

use axum::response::Response;
use serde::{Deserialize, Serialize};
use supercargo_model::account::{Actions, Grant, Grantee};
use supercargo_model::{Pattern, RepoName};

use crate::error::{Code, Failure};
use crate::gate::Admitted;
use crate::{Surface, base};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Access {
    Public,
    Private,
}

#[derive(Serialize, Deserialize)]
struct Properties {
    access: Access,
}

/// `GET /v1/repositories/<name>/properties`
pub(crate) fn get(surface: &Surface, admitted: &Admitted) -> Result<Response, Failure> {
    let name = existing(surface, admitted)?;
    let access =
        if granted(surface, name)?.or(own(surface, name)?).read { Access::Public } else { Access::Private };
    crate::json(&Properties { access })
}

/// `PUT /v1/repositories/<name>/properties`: opens it to everybody, or closes it.
pub(crate) async fn put(surface: &Surface, admitted: &Admitted, sent: &[u8]) -> Result<Response, Failure> {
    let sent: Properties = serde_json::from_slice(sent).map_err(|_| Failure::new(Code::DataInvalid))?;
    let name = existing(surface, admitted)?;
    let (others, own) = (granted(surface, name)?, own(surface, name)?);
    let conflict = |message: &'static str| Err(Failure::new(Code::Conflict).message(message));
    match (sent.access, &surface.settings.authority) {
        (Access::Public, None) => {}
        (Access::Private, None) => {
            return conflict("There are no accounts here: everybody may read everything");
        }
        (Access::Private, Some(_)) if others.read => {
            return conflict(
                "A permission on more than this repository lets everybody read it: take that away first",
            );
        }
        (Access::Public, Some(_)) => allow(surface, admitted, name, own, own.or(Actions::READ)).await?,
        (Access::Private, Some(_)) => {
            allow(surface, admitted, name, own, Actions { read: false, ..own }).await?;
        }
    }
    Ok(base::done())
}

/// Lets nobody in particular do this with the name itself, in place of what they may.
async fn allow(
    surface: &Surface,
    admitted: &Admitted,
    name: &RepoName,
    present: Actions,
    wanted: Actions,
) -> Result<(), Failure> {
    if wanted == present {
        return Ok(());
    }
    let grant = grant(surface, name)?;
    let (registry, caller) = (&surface.registry, &admitted.caller);
    if wanted.is_empty() {
        registry.remove_permission(caller, grant).await?;
    } else {
        registry.set_permission(caller, grant, wanted).await?;
    }
    Ok(())
}

fn existing<'a>(surface: &Surface, admitted: &'a Admitted) -> Result<&'a RepoName, Failure> {
    let name = admitted.name()?;
    if surface.registry.has_tags(surface.repository(), name)? {
        Ok(name)
    } else {
        Err(Failure::new(Code::NameUnknown))
    }
}

/// The permission for nobody in particular that is about this name and no other.
fn grant(surface: &Surface, name: &RepoName) -> Result<Grant, Failure> {
    let pattern = |text: &str| Pattern::parse(text).map_err(|e| Failure::internal(e.to_string()));
    Ok(Grant {
        grantee: Grantee::Anonymous,
        repositories: pattern(surface.repository().as_str())?,
        names: pattern(name.as_str())?,
    })
}

/// What nobody in particular may do by the permission that is about this name and no other.
fn own(surface: &Surface, name: &RepoName) -> Result<Actions, Failure> {
    let grant = grant(surface, name)?;
    let permissions = surface.registry.permissions()?;
    let own = permissions.into_iter().find(|permission| permission.grant == grant);
    Ok(own.map_or(Actions::NONE, |permission| permission.actions))
}

/// What nobody in particular may do with the name by other permissions. Everything, where there are no accounts.
fn granted(surface: &Surface, name: &RepoName) -> Result<Actions, Failure> {
    if surface.settings.authority.is_none() {
        return Ok(Actions::ALL);
    }
    let (grant, repository) = (grant(surface, name)?, surface.repository());
    let permissions = surface.registry.permissions()?.into_iter();
    let others = permissions.filter(|permission| {
        permission.grant != grant
            && permission.grant.grantee == Grantee::Anonymous
            && permission.grant.repositories.matches(repository.as_str())
            && permission.grant.names.matches(name.as_str())
    });
    Ok(others.fold(Actions::NONE, |sum, permission| sum.or(permission.actions)))
}
