//! Manifests: served byte for byte as they were pushed, by tag or digest.

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use serde::Deserialize;
use serde::de::IgnoredAny;
use supercargo_http::body::{BodyStream, ReadError};
use supercargo_http::etag;
use supercargo_http::response::{empty, header_value, warn, with_body};
use supercargo_model::{Manifest, ManifestError, Reference, RepoName, Tag, limits, media_type};
use supercargo_registry::{Error, ManifestPush, StoredManifest};

use crate::error::{Code, Failure};
use crate::query::Query;
use crate::response::CONTENT_DIGEST;
use crate::{Surface, condition};

/// The subject that the registry has taken note of.
const SUBJECT: HeaderName = HeaderName::from_static("oci-subject");
/// A tag that was set beside the reference.
const TAG: HeaderName = HeaderName::from_static("oci-tag");

/// `GET /v2/<name>/manifests/<reference>` (OCI distribution specification, "Pulling manifests").
pub(crate) fn get(
    surface: &Surface,
    parts: &Parts,
    name: &RepoName,
    reference: &Reference,
) -> Result<Response, Failure> {
    serve(surface, parts, reference, |reference| {
        Ok(surface.registry.manifest(surface.repository(), name, reference)?)
    })
}

/// `HEAD /v2/<name>/manifests/<reference>`: what a client asks before it pushes, or does not.
pub(crate) fn check(
    surface: &Surface,
    parts: &Parts,
    name: &RepoName,
    reference: &Reference,
) -> Result<Response, Failure> {
    let caller = surface.caller(parts);
    serve(surface, parts, reference, |reference| {
        Ok(surface.registry.check_manifest(&caller, surface.repository(), name, reference)?)
    })
}

/// The body of a push.
///
/// # Errors
/// SIZE_INVALID for one that is too large or did not come whole.
pub(crate) async fn receive(parts: &Parts, body: &mut BodyStream) -> Result<Bytes, Failure> {
    body.read_whole(&parts.headers, limits::MANIFEST_BYTES_MAX).await.map_err(|error| match error {
        ReadError::TooLarge => Failure::from(Error::ManifestInvalid(ManifestError::TooLarge)),
        ReadError::Broken(error) => error.into(),
    })
}

/// `PUT /v2/<name>/manifests/<reference>` (OCI distribution specification, "Pushing Manifests").
pub(crate) async fn push(
    surface: &Surface,
    parts: &Parts,
    bytes: Bytes,
    name: &RepoName,
    reference: &Reference,
) -> Result<Response, Failure> {
    let condition = condition::read(&parts.headers)?;
    let query = Query::parse(parts.uri.query());
    let tags = query.get_all("tag").map(Tag::parse).collect::<Result<Vec<_>, _>>()?;
    let media_type = pushed_media_type(&parts.headers, &bytes)?;
    let push =
        ManifestPush { reference: reference.clone(), tags: tags.clone(), media_type, bytes, condition };
    let pushed =
        surface.registry.push_manifest(&surface.caller(parts), surface.repository(), name, push).await?;

    let digest = pushed.digest.to_string();
    let location = surface.path_in(name, format_args!("manifests/{digest}"));
    let mut response = empty(StatusCode::CREATED);
    let headers = response.headers_mut();
    headers.insert(header::LOCATION, header_value(location)?);
    headers.insert(CONTENT_DIGEST, header_value(digest)?);
    if let Some(subject) = pushed.subject {
        headers.insert(SUBJECT, header_value(subject.to_string())?);
    }
    warn(headers, &pushed.notices);
    for tag in tags {
        headers.append(TAG, header_value(tag.to_string())?);
    }
    Ok(response)
}

/// `DELETE /v2/<name>/manifests/<reference>` (OCI distribution specification, "Deleting Manifests" and
/// "Deleting tags").
pub(crate) async fn delete(
    surface: &Surface,
    parts: &Parts,
    name: &RepoName,
    reference: &Reference,
) -> Result<Response, Failure> {
    let condition = condition::read(&parts.headers)?;
    surface
        .registry
        .delete_manifest(&surface.caller(parts), surface.repository(), name, reference, &condition)
        .await?;
    Ok(empty(StatusCode::ACCEPTED))
}

/// Finds and serves a manifest, or the one child of an index that an old client can use.
fn serve(
    surface: &Surface,
    parts: &Parts,
    reference: &Reference,
    find: impl Fn(&Reference) -> Result<Arc<StoredManifest>, Failure>,
) -> Result<Response, Failure> {
    let found = find(reference)?;
    if !media_type::is_schema1(&found.media_type) && knows_schema1_alone(&parts.headers) {
        surface.send_to_v1()?;
    }
    if matches!(reference, Reference::Digest(_)) || !media_type::is_index(&found.media_type) {
        return respond(parts, &found);
    }
    let mut response = if knows_no_index(&parts.headers) {
        let child = default_child(&found)?;
        respond(parts, &*find(&child)?)?
    } else {
        respond(parts, &found)?
    };
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept"));
    Ok(response)
}

fn respond(request: &Parts, manifest: &StoredManifest) -> Result<Response, Failure> {
    let etag = etag::of(&manifest.digest_text)?;
    let digest = HeaderValue::from_str(&manifest.digest_text)
        .map_err(|_| Failure::internal("a digest was not fit for a header"))?;
    let mut response = if etag::is_cached(&request.headers, &etag) {
        let mut response = empty(StatusCode::NOT_MODIFIED);
        if request.method == Method::HEAD {
            // Else the layer below would say that there is nothing (RFC 9110, section 8.6).
            response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(manifest.bytes.len()));
        }
        response
    } else {
        // HEAD takes the same way: the layer below sends the length and leaves the body out.
        let mut response = with_body(StatusCode::OK, Body::from(manifest.bytes.clone()));
        response.headers_mut().insert(header::CONTENT_TYPE, media_type_value(&manifest.media_type)?);
        response
    };
    let headers = response.headers_mut();
    headers.insert(CONTENT_DIGEST, digest);
    headers.insert(header::ETAG, etag);
    Ok(response)
}

/// The usual media types without a copy.
fn media_type_value(media_type: &str) -> Result<HeaderValue, Failure> {
    for usual in [
        media_type::OCI_MANIFEST,
        media_type::OCI_INDEX,
        media_type::DOCKER_MANIFEST,
        media_type::DOCKER_LIST,
    ] {
        if media_type == usual {
            return Ok(HeaderValue::from_static(usual));
        }
    }
    HeaderValue::from_str(media_type).map_err(|_| Failure::internal("a media type was not fit for a header"))
}

/// Whether the client is a docker that knows manifests of schema 1 alone. It does not say so, but which docker it is:
/// one before 1.10.
fn knows_schema1_alone(headers: &HeaderMap) -> bool {
    let user_agent = headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok());
    let minor = user_agent.and_then(|value| value.strip_prefix("docker/1.")).map(|rest| {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        rest[..digits].parse::<u32>()
    });
    matches!(minor, Some(Ok(..10)))
}

/// Whether the client says that it takes Docker's single-image manifests and nothing else. `application/json`
/// is what clients of that age add for manifests that have no media type at all.
pub(crate) fn knows_no_index(headers: &HeaderMap) -> bool {
    let mut names_docker = false;
    for header in headers.get_all(header::ACCEPT) {
        let Ok(header) = header.to_str() else { return false };
        for accepted in header.split(',').map(|range| range.split(';').next().unwrap_or_default().trim()) {
            match accepted {
                media_type::DOCKER_MANIFEST
                | media_type::DOCKER_SCHEMA1
                | media_type::DOCKER_SCHEMA1_SIGNED => {
                    names_docker = true;
                }
                "application/json" | "" => {}
                _ => return false,
            }
        }
    }
    names_docker
}

/// The child of an index that a client gets which can't choose for itself: linux on amd64, as the reference
/// implementation has it.
fn default_child(index: &StoredManifest) -> Result<Reference, Failure> {
    let (parsed, _) = Manifest::parse(&index.media_type, &index.bytes).map_err(|error| {
        Failure::internal(format!("index {} can't be read again: {error}", index.digest_text))
    })?;
    let is_default = |platform: &str| platform == "linux/amd64" || platform.starts_with("linux/amd64/");
    parsed
        .children
        .iter()
        .find(|child| child.platform.as_deref().is_some_and(is_default))
        .map(|child| Reference::Digest(child.digest))
        .ok_or_else(|| {
            let message =
                "the tag is an index without a linux/amd64 manifest, and the client accepts no index";
            Failure::new(Code::ManifestUnknown).message(message)
        })
}

/// The media type that a manifest was pushed as: Content-Type's, or what the manifest says of itself where
/// there is none. Docker before 1.10 sends its signed manifests without one, or as mere JSON.
pub(crate) fn pushed_media_type(headers: &HeaderMap, bytes: &Bytes) -> Result<String, Failure> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Hints {
        #[serde(default)]
        schema_version: u64,
        media_type: Option<String>,
        signatures: Option<IgnoredAny>,
    }

    let sent = match headers.get(header::CONTENT_TYPE) {
        None => None,
        Some(value) => {
            let text = String::from_utf8_lossy(value.as_bytes());
            Some(media_type::parse(&text)?)
        }
    };
    match sent {
        Some(sent) if sent != "application/json" => return Ok(sent),
        _ => {}
    }
    match (serde_json::from_slice::<Hints>(bytes), sent) {
        (Ok(Hints { media_type: Some(inside), .. }), None) if !inside.is_empty() => {
            Ok(media_type::parse(&inside)?)
        }
        (Ok(Hints { schema_version: 1, signatures: Some(_), .. }), _) => {
            Ok(media_type::DOCKER_SCHEMA1_SIGNED.to_owned())
        }
        (Ok(Hints { schema_version: 1, .. }), _) => Ok(media_type::DOCKER_SCHEMA1.to_owned()),
        (_, Some(sent)) => Ok(sent),
        (_, None) => {
            let message = "the Content-Type is missing: send the manifest's media type";
            Err(Failure::new(Code::ManifestInvalid).message(message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accept(values: &[&'static str]) -> HeaderMap {
        values.iter().map(|value| (header::ACCEPT, HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn docker_before_1_10_is_known_by_its_name() {
        let sent = |value: &'static str| {
            HeaderMap::from_iter([(header::USER_AGENT, HeaderValue::from_static(value))])
        };
        for old in
            ["docker/1.5.0", "docker/1.9.1 go/go1.4.2 git-commit/a34a1d5", "docker/1.9", "docker/1.6-dev"]
        {
            assert!(knows_schema1_alone(&sent(old)), "{old}");
        }
        for new in [
            "docker/1.10.3",
            "docker/1.12.6 go/go1.6.4",
            "docker/17.05.0-ce",
            "docker/1.x",
            "docker/1.",
            "curl/7.1 docker/1.9.1",
            "docker/1.99999999999",
        ] {
            assert!(!knows_schema1_alone(&sent(new)), "{new}");
        }
        assert!(!knows_schema1_alone(&HeaderMap::new()));
    }

    #[test]
    fn only_a_client_of_single_images_gets_the_child() {
        let docker = media_type::DOCKER_MANIFEST;
        assert!(knows_no_index(&accept(&[docker])));
        assert!(knows_no_index(&accept(&[docker, media_type::DOCKER_SCHEMA1_SIGNED, "application/json"])));
        assert!(knows_no_index(&accept(&[
            "application/vnd.docker.distribution.manifest.v2+json;q=0.9, application/json"
        ])));
        assert!(knows_no_index(&accept(&[media_type::DOCKER_SCHEMA1])));
        for other in
            ["*/*", "application/*", media_type::DOCKER_LIST, media_type::OCI_INDEX, media_type::OCI_MANIFEST]
        {
            assert!(!knows_no_index(&accept(&[docker, other])), "{other}");
        }
        assert!(!knows_no_index(&accept(&[])));
        assert!(!knows_no_index(&accept(&[""])));
        assert!(!knows_no_index(&accept(&["application/json"])));
    }

    #[test]
    fn the_default_child_is_linux_on_amd64() {
        let entry = |n: u8, os: &str, arch: &str| {
            let digest = supercargo_model::Digest::sha256([n; 32]);
            format!(
                r#"{{"mediaType":"a/b","digest":"{digest}","size":1,"platform":{{"os":"{os}","architecture":"{arch}"}}}}"#
            )
        };
        let index = |entries: &[String]| StoredManifest {
            digest: supercargo_model::Digest::sha256([0; 32]),
            media_type: media_type::OCI_INDEX.to_owned(),
            bytes: format!(r#"{{"manifests":[{}]}}"#, entries.join(",")).into(),
            digest_text: String::new(),
        };
        let found = default_child(&index(&[entry(1, "linux", "arm64"), entry(2, "linux", "amd64")])).unwrap();
        assert_eq!(found, Reference::Digest(supercargo_model::Digest::sha256([2; 32])));
        let none =
            default_child(&index(&[entry(1, "windows", "amd64"), entry(2, "linux", "amd64x")])).unwrap_err();
        assert_eq!(none.code(), Code::ManifestUnknown);
    }

    #[test]
    fn the_media_type_is_what_was_sent_or_what_it_says() {
        for (sent, body, expected) in [
            (
                Some("application/vnd.oci.image.manifest.v1+json; charset=utf-8"),
                "{}",
                Some(media_type::OCI_MANIFEST),
            ),
            (Some("application/json"), "{}", Some("application/json")),
            (Some("application/json"), r#"{"schemaVersion":1}"#, Some(media_type::DOCKER_SCHEMA1)),
            (None, r#"{"schemaVersion":1,"signatures":[]}"#, Some(media_type::DOCKER_SCHEMA1_SIGNED)),
            (None, r#"{"schemaVersion":2,"mediaType":"a/b"}"#, Some("a/b")),
            (None, r#"{"schemaVersion":2}"#, None),
            (None, r#"{"mediaType":"nonsense"}"#, None),
            (None, "not json", None),
            (Some("nonsense"), "{}", None),
            (Some("a/b\t"), "{}", Some("a/b")),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(sent) = sent {
                headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(sent));
            }
            let read = pushed_media_type(&headers, &Bytes::from(body)).ok();
            assert_eq!(read.as_deref(), expected, "{sent:?} {body}");
        }
    }
}
