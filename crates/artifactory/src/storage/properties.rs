//! Properties of items (the REST reference, "Get Item Properties", "Set Item Properties", "Delete Item Properties" and
//! "Update Item Properties").

use std::collections::BTreeMap;

use axum::response::Response;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use supercargo_access::Rights;
use supercargo_http::request;
use supercargo_http::response::empty;
use supercargo_model::account::Actions;
use supercargo_registry::tree::{Spread, TAG_CONTENT};

use super::{notation, reach, storage_url, switch, told};
use crate::error::{Code, Failure};
use crate::respond::content_type;
use crate::{Asked, Surface, respond, route};

/// What a query says of properties.
#[derive(Debug, Deserialize)]
struct Parameters {
    #[serde(default)]
    properties: String,
    #[serde(default, deserialize_with = "switch")]
    recursive: Option<bool>,
}

/// What a query says of how properties are updated.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct UpdateParameters {
    #[serde(default, deserialize_with = "switch")]
    recursive_properties: Option<bool>,
    #[serde(default, deserialize_with = "switch")]
    atomic_properties: Option<bool>,
}

/// What a client wants of properties: values, or null where one is to go.
#[derive(Debug, Deserialize)]
struct Update {
    props: BTreeMap<String, Value>,
}

#[derive(Serialize)]
struct ItemProperties {
    uri: String,
    properties: BTreeMap<String, Vec<String>>,
}

/// `?properties[=x,y]`: of those, where some are named, all that there are.
pub(super) async fn get(surface: &Surface, asked: &Asked, wanted: &route::Item) -> Result<Response, Failure> {
    let Parameters { properties: named, .. } = asked.parameters()?;
    let (mut tree, item) = surface.item(asked, wanted).await?;
    let mut properties = tree.properties(&item)?;
    let named = notation::names(&named);
    properties.retain(|property, _| named.is_empty() || named.contains(property));
    if properties.is_empty() {
        return Err(Failure::new(Code::PropertiesUnknown));
    }
    let uri = storage_url(&request::base_url(&asked.parts), &wanted.repository, &item.path);
    respond::json(StatusCode::OK, content_type::ITEM_PROPERTIES, &ItemProperties { uri, properties })
}

/// `PUT …?properties=a=1,2;b=3`
pub(crate) async fn set(surface: &Surface, asked: &Asked, wanted: &route::Item) -> Result<Response, Failure> {
    let Parameters { properties, recursive } = asked.parameters()?;
    let set = notation::properties(&properties).map_err(Failure::invalid)?;
    let spread = Spread { recursive: recursive != Some(false), atomic: false };
    change(surface, asked, wanted, set, Vec::new(), spread).await
}

/// `DELETE …?properties=a,b`
pub(crate) async fn remove(
    surface: &Surface,
    asked: &Asked,
    wanted: &route::Item,
) -> Result<Response, Failure> {
    let Parameters { properties, recursive } = asked.parameters()?;
    let removed = notation::names(&properties);
    if removed.is_empty() {
        return Err(Failure::invalid("no property is named: write properties=a,b"));
    }
    let spread = Spread { recursive: recursive != Some(false), atomic: false };
    change(surface, asked, wanted, Vec::new(), removed, spread).await
}

/// `PATCH api/metadata/…`
pub(crate) async fn update(
    surface: &Surface,
    asked: &Asked,
    wanted: &route::Item,
) -> Result<Response, Failure> {
    let parameters: UpdateParameters = asked.parameters()?;
    let update: Update = serde_json::from_slice(&asked.body)
        .map_err(|e| Failure::invalid(format!("the body is no {{\"props\":{{…}}}}: {e}")))?;
    let (mut set, mut removed) = (Vec::new(), Vec::new());
    for (property, value) in update.props {
        match value {
            Value::Null => removed.push(property),
            Value::String(value) => set.push((property, vec![value])),
            Value::Array(values) => {
                let texts: Option<Vec<String>> =
                    values.into_iter().map(|value| value.as_str().map(str::to_owned)).collect();
                let texts = texts.ok_or_else(|| no_text(&property))?;
                set.push((property, texts));
            }
            _ => return Err(no_text(&property)),
        }
    }
    let spread = Spread {
        recursive: parameters.recursive_properties != Some(false),
        atomic: parameters.atomic_properties != Some(false),
    };
    change(surface, asked, wanted, set, removed, spread).await
}

fn no_text(property: &str) -> Failure {
    Failure::invalid(format!("property {property:?} is to be a text, a list of texts, or null"))
}

async fn change(
    surface: &Surface,
    asked: &Asked,
    wanted: &route::Item,
    set: Vec<(String, Vec<String>)>,
    removed: Vec<String>,
    spread: Spread,
) -> Result<Response, Failure> {
    let (eyes, path) = surface.eyes(asked, wanted)?;
    let hands = match set.iter().any(|(property, _)| property == TAG_CONTENT) {
        // To say what a tag points at is to push it.
        true => reach(&asked.admitted, &wanted.repository, |rights, key, name| {
            rights.allow(key, name, Actions::WRITE)
        }),
        false => reach(&asked.admitted, &wanted.repository, Rights::may_annotate),
    };
    let _place = if spread.recursive { Some(surface.registry.walks().place().await?) } else { None };
    let (registry, caller) = (&surface.registry, &asked.admitted.caller);
    registry
        .set_properties(caller, &wanted.repository, (&eyes, &hands), &path, (set, removed), spread)
        .await
        .map_err(|e| told(asked, wanted, e))?;
    Ok(empty(StatusCode::NO_CONTENT))
}
