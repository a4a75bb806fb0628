//! Searches: by property, by name, by checksum, and by AQL. Results are written as they are found.
//!
//! What lives here: how a search is asked for and how its results look. What does not: how they are found
//! (`supercargo_registry::search`), and AQL itself (`aql`).

mod asked;

use std::cell::RefCell;
use std::io::Write as _;
use std::ops::ControlFlow;
use std::sync::Arc;

use axum::response::Response;
use http::{HeaderMap, HeaderName};
use serde::{Serialize, Serializer};
use serde_json::{Value, json};
use supercargo_http::request;
use supercargo_registry::search::{Field, Found, Query, TextField};

use crate::aql::{Find, ShownProperties};
use crate::error::Failure;
use crate::respond::{self, content_type};
use crate::storage::info::{FileInfo, Head};
use crate::storage::{called, storage_url};
use crate::{Asked, Surface};

/// Which more than the address of each result is asked for (the REST reference, "Property Search").
const RESULT_DETAIL: HeaderName = HeaderName::from_static("x-result-detail");

/// `GET api/search/prop`
pub(crate) async fn properties(surface: &Surface, asked: &Asked) -> Result<Response, Failure> {
    let query = asked::by_properties(asked.parameters()?)?;
    addresses(surface, asked, query, content_type::PROPERTY_SEARCH).await
}

/// `GET api/search/artifact`
pub(crate) async fn names(surface: &Surface, asked: &Asked) -> Result<Response, Failure> {
    let query = asked::by_name(asked.parameters()?)?;
    addresses(surface, asked, query, content_type::ARTIFACT_SEARCH).await
}

/// `GET api/search/checksum`
pub(crate) async fn checksums(surface: &Surface, asked: &Asked) -> Result<Response, Failure> {
    let query = asked::by_checksum(asked.parameters()?)?;
    addresses(surface, asked, query, content_type::ARTIFACT_SEARCH).await
}

/// `POST api/search/aql`
pub(crate) async fn aql(surface: &Surface, asked: &Asked) -> Result<Response, Failure> {
    let text = std::str::from_utf8(&asked.body).map_err(|_| Failure::invalid("the query is not UTF-8"))?;
    let find = Find::parse(text, surface.registry.now())
        .map_err(|error| Failure::invalid(format!("Failed to parse query: {error}")))?;
    let query = find.query(Vec::new());
    let shown = move |found: &Found<'_>| row(&find, found);
    let range = (query.offset, query.limit);
    let end = move |count: u64| {
        let (start, limit) = range;
        let range = Members(vec![
            ("start_pos", start.into()),
            ("end_pos", start.saturating_add(count).into()),
            ("total", count.into()),
        ]);
        let Members(mut range) = range;
        range.extend(limit.map(|limit| ("limit", limit.into())));
        Some(("range", Members(range)))
    };
    results(surface, asked, query, content_type::JSON, shown, end).await
}

/// Results by their addresses, with what more is asked for.
async fn addresses(
    surface: &Surface,
    asked: &Asked,
    query: Query,
    content_type: &'static str,
) -> Result<Response, Failure> {
    let detail = Detail::parse(&asked.parts.headers)?;
    let base = request::base_url(&asked.parts);
    let shown = move |found: &Found<'_>| detail.address(&base, found);
    results(surface, asked, query, content_type, shown, |_| None).await
}

/// Searches, and writes what is found as it is shown: `{"results":[…]}`, and a last member where there is one.
async fn results<T: Serialize>(
    surface: &Surface,
    asked: &Asked,
    query: Query,
    content_type: &'static str,
    shown: impl Fn(&Found<'_>) -> supercargo_registry::Result<T> + Send + 'static,
    end: impl FnOnce(u64) -> Option<(&'static str, Members)> + Send + 'static,
) -> Result<Response, Failure> {
    let registry = Arc::clone(&surface.registry);
    let admitted = asked.admitted.clone();
    respond::stream(surface.registry.walks(), content_type, move |sink| {
        sink.write_all(b"{\"results\":")?;
        let elements = RefCell::new(sink.array()?);
        let mut count = 0;
        let mut broken = None;
        let stop = || elements.borrow().is_gone();
        registry.search(&query, |repository| admitted.eyes(repository), &stop, &mut |found| {
            let pushed = elements.borrow_mut().push(&shown(found)?);
            count += 1;
            Ok(match pushed {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    broken = Some(error);
                    ControlFlow::Break(())
                }
            })
        })?;
        if let Some(error) = broken {
            return Err(error);
        }
        elements.into_inner().end()?;
        if let Some((name, members)) = end(count) {
            write!(sink, ",\"{name}\":")?;
            serde_json::to_writer(&mut *sink, &members)?;
        }
        Ok(sink.write_all(b"}")?)
    })
    .await
}

/// Members of an object, in their order.
struct Members(Vec<(&'static str, Value)>);

impl Serialize for Members {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

/// A result of AQL.
fn row(find: &Find, found: &Found<'_>) -> supercargo_registry::Result<Members> {
    let mut members = Vec::new();
    for (name, field) in find.shown_fields() {
        let value = match field {
            Field::Text(TextField::CreatedBy | TextField::ModifiedBy) => match &found.item().by {
                Some(by) => called(by).into(),
                None => continue,
            },
            Field::Text(field) => match found.text(field)? {
                Some(text) => text.into(),
                None => continue,
            },
            Field::Number(field) => found.number(field).into(),
            Field::Time(field) => respond::time(found.time(field)).into(),
            Field::Kind => if found.is_folder() { "folder" } else { "file" }.into(),
        };
        members.push((name, value));
    }
    if find.properties != ShownProperties::None {
        let shown = found.properties()?.iter().filter(|(key, _)| find.properties.has(key));
        let pair = |key: &str, value: &str| json!({ "key": key, "value": value });
        let pairs = shown.flat_map(|(key, values)| values.iter().map(|value| pair(key, value)));
        members.push(("properties", pairs.collect()));
    }
    Ok(Members(members))
}

/// What is told of each result besides its address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Detail {
    info: bool,
    properties: bool,
}

impl Detail {
    /// `X-Result-Detail: info, properties`
    fn parse(headers: &HeaderMap) -> Result<Detail, Failure> {
        let mut detail = Detail { info: false, properties: false };
        for value in headers.get_all(RESULT_DETAIL) {
            let value = value.to_str().unwrap_or_default();
            for part in value.split(',').map(str::trim).filter(|part| !part.is_empty()) {
                match part {
                    _ if part.eq_ignore_ascii_case("info") => detail.info = true,
                    _ if part.eq_ignore_ascii_case("properties") => detail.properties = true,
                    _ => return Err(Failure::invalid("X-Result-Detail is info, properties, or both")),
                }
            }
        }
        Ok(detail)
    }

    fn address(self, base: &str, found: &Found<'_>) -> supercargo_registry::Result<Address> {
        let (repository, item) = (found.repository(), found.item());
        let told = match (self.info, item.is_folder()) {
            (false, _) => Told::Address { uri: storage_url(base, repository, &item.path) },
            (true, true) => Told::Folder(Head::of(base, repository, item)),
            (true, false) => {
                let size = found.size()?.unwrap_or_default();
                Told::File(FileInfo::of(base, repository, item, size, &found.checksums()?))
            }
        };
        let properties = self.properties.then(|| found.properties()).transpose()?;
        Ok(Address { told, properties: properties.map(|properties| json!(properties)) })
    }
}

/// A result by its address.
#[derive(Serialize)]
struct Address {
    #[serde(flatten)]
    told: Told,
    #[serde(skip_serializing_if = "Option::is_none")]
    properties: Option<Value>,
}

/// What is told of an item that was found.
#[derive(Serialize)]
#[serde(untagged)]
enum Told {
    Address { uri: String },
    Folder(Head),
    File(FileInfo),
}
