//! Groups.

use axum::response::Response;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use supercargo_http::query::Query;
use supercargo_http::request;
use supercargo_model::account::{GroupName, UserName};
use supercargo_registry::{Error, GroupSettings};

use super::{body, same_name, users};
use crate::error::Failure;
use crate::respond::{self, content_type};
use crate::{Asked, Surface};

/// What a client sends of a group.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SentGroup {
    name: Option<String>,
    description: Option<String>,
    #[serde(default)]
    auto_join: bool,
    #[serde(default)]
    admin_privileges: bool,
    realm: Option<String>,
    user_names: Option<Vec<UserName>>,
}

/// `GET api/security/groups`
pub(crate) fn list(surface: &Surface, asked: &Asked) -> Result<Response, Failure> {
    let base = request::base_url(&asked.parts);
    let groups = surface.registry.groups()?.into_iter().map(|(name, _)| {
        let uri = format!("{base}/api/security/groups/{name}");
        json!({ "name": name, "uri": uri })
    });
    respond::json(StatusCode::OK, content_type::GROUPS, &groups.collect::<Vec<_>>())
}

/// `GET api/security/groups/<name>[?includeUsers=true]`
pub(crate) fn get(surface: &Surface, asked: &Asked, name: &GroupName) -> Result<Response, Failure> {
    let query = Query::parse(asked.parts.uri.query());
    let with_users = query.get("includeUsers").is_some_and(|value| value.eq_ignore_ascii_case("true"));
    let group = surface.registry.group(name)?.ok_or_else(|| Error::GroupUnknown(name.clone()))?;
    let mut shown = json!({
        "name": name,
        "description": group.description,
        "autoJoin": false,
        "adminPrivileges": false,
        "realm": users::REALM,
    });
    if let Value::Object(members) = &mut shown
        && with_users
    {
        members.insert("userNames".to_owned(), json!(surface.registry.members(name)?));
    }
    respond::json(StatusCode::OK, content_type::GROUP, &shown)
}

/// `PUT api/security/groups/<name>`: makes it, or has it be what is sent. Who is in it stays, where that is not sent.
pub(crate) async fn put(surface: &Surface, asked: &Asked, name: &GroupName) -> Result<Response, Failure> {
    surface.accounts()?;
    let settings = settings(name, body(&asked.body)?)?;
    let settings = GroupSettings { description: settings.description.or(Some(String::new())), ..settings };
    surface.registry.save_group(&asked.admitted.caller, name.clone(), true, settings).await?;
    Ok(respond::text(StatusCode::CREATED, format!("Group '{name}' has been saved.")))
}

/// `POST api/security/groups/<name>`: what is not sent stays as it is.
pub(crate) async fn update(surface: &Surface, asked: &Asked, name: &GroupName) -> Result<Response, Failure> {
    surface.accounts()?;
    let settings = settings(name, body(&asked.body)?)?;
    surface.registry.save_group(&asked.admitted.caller, name.clone(), false, settings).await?;
    Ok(respond::text(StatusCode::OK, format!("Group '{name}' has been updated.")))
}

fn settings(name: &GroupName, sent: SentGroup) -> Result<GroupSettings, Failure> {
    same_name(sent.name.as_deref(), name.as_str())?;
    // What would be believed to hold and does not is refused, not passed over.
    if sent.auto_join {
        return Err(Failure::invalid("autoJoin: new users join no group by themselves here"));
    }
    if sent.admin_privileges {
        return Err(Failure::invalid("adminPrivileges: make its users administrators, one by one"));
    }
    if let Some(realm) = sent.realm.filter(|realm| !["internal", "artifactory", ""].contains(&realm.as_str()))
    {
        return Err(Failure::invalid(format!(
            "realm is {realm:?}: groups of other realms are not kept here"
        )));
    }
    Ok(GroupSettings { description: sent.description, members: sent.user_names })
}

/// `DELETE api/security/groups/<name>`
pub(crate) async fn delete(surface: &Surface, asked: &Asked, name: &GroupName) -> Result<Response, Failure> {
    surface.accounts()?;
    surface.registry.remove_group(&asked.admitted.caller, name.clone()).await?;
    Ok(respond::text(StatusCode::OK, format!("Group '{name}' has been removed successfully.")))
}
