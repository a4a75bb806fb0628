//! Which operation a method and a path ask for.
//!
//! Repository names contain slashes, so a path is read from its end: the last two or three segments say
//! what is meant, all before them is the name. What lives here is that one pure function and the types it
//! answers with; what an operation does is in the files named after its noun.

use std::borrow::Cow;

use http::Method;
use percent_encoding::percent_decode_str;
use supercargo_model::{Digest, ParseError, Reference, RepoName};
use supercargo_registry::UploadId;

/// One operation of the protocol, its arguments parsed. HEAD is an operation of its own only where it does
/// more than GET without a body: a client that asks whether something is there may rely on the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    /// `GET /v2/`
    Ping,
    /// `GET /v2/_catalog`
    ListNames,
    /// `GET /v2/<name>/tags/list`
    ListTags { name: RepoName },
    /// `GET /v2/<name>/manifests/<reference>`
    GetManifest { name: RepoName, reference: Reference },
    /// `HEAD /v2/<name>/manifests/<reference>`
    CheckManifest { name: RepoName, reference: Reference },
    /// `PUT /v2/<name>/manifests/<reference>`
    PushManifest { name: RepoName, reference: Reference },
    /// `DELETE /v2/<name>/manifests/<reference>`
    DeleteManifest { name: RepoName, reference: Reference },
    /// `GET /v2/<name>/blobs/<digest>`
    GetBlob { name: RepoName, digest: Digest },
    /// `HEAD /v2/<name>/blobs/<digest>`
    CheckBlob { name: RepoName, digest: Digest },
    /// `DELETE /v2/<name>/blobs/<digest>`
    DeleteBlob { name: RepoName, digest: Digest },
    /// `POST /v2/<name>/blobs/uploads/`
    StartUpload { name: RepoName },
    /// `GET /v2/<name>/blobs/uploads/<id>`
    UploadStatus { name: RepoName, id: UploadId },
    /// `PATCH /v2/<name>/blobs/uploads/<id>`
    AppendUpload { name: RepoName, id: UploadId },
    /// `PUT /v2/<name>/blobs/uploads/<id>`
    FinishUpload { name: RepoName, id: UploadId },
    /// `DELETE /v2/<name>/blobs/uploads/<id>`
    CancelUpload { name: RepoName, id: UploadId },
    /// `GET /v2/<name>/referrers/<digest>`
    ListReferrers { name: RepoName, digest: Digest },
}

/// Why a method and a path ask for nothing that is served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RouteError {
    /// No such path.
    #[error("there is no such endpoint")]
    Unknown,
    /// The path is served, but not with this method.
    #[error("this method is not supported here; use one of {allow}")]
    MethodNotAllowed {
        /// The methods that are, as an Allow header has them.
        allow: &'static str,
    },
    /// The repository name is malformed.
    #[error(transparent)]
    Name(ParseError),
    /// The digest is malformed.
    #[error(transparent)]
    Digest(ParseError),
    /// The tag to be set is malformed.
    #[error(transparent)]
    Tag(ParseError),
    /// The tag asked for is malformed, and so can't exist. Asking for it is no error in itself: clients probe
    /// with such names, and the conformance suite wants to hear "not found".
    #[error("the manifest is not known here: {0}")]
    NoSuchTag(ParseError),
    /// The upload session's id is none that was ever given out.
    #[error("the upload session is not known; start a new one")]
    UploadUnknown,
}

impl Route {
    /// The operation that `method` and `path` ask for. `path` is still percent-encoded and begins with
    /// `/v2`, whatever prefix it was served below.
    ///
    /// # Errors
    /// [`RouteError`], as its variants say. The path's shape is judged first, then the method, then the
    /// arguments.
    pub(crate) fn parse(method: &Method, path: &str) -> Result<Route, RouteError> {
        let shape = path.strip_prefix("/v2").and_then(Shape::of).ok_or(RouteError::Unknown)?;
        Ok(match (shape, method.as_str()) {
            (Shape::Base, "GET" | "HEAD") => Route::Ping,
            (Shape::Catalog, "GET" | "HEAD") => Route::ListNames,
            (Shape::Tags(name), "GET" | "HEAD") => Route::ListTags { name: parse_name(name)? },
            (Shape::Manifest(name, reference), "GET") => {
                Route::GetManifest { name: parse_name(name)?, reference: parse_present(reference)? }
            }
            (Shape::Manifest(name, reference), "HEAD") => {
                Route::CheckManifest { name: parse_name(name)?, reference: parse_present(reference)? }
            }
            (Shape::Manifest(name, reference), "PUT") => {
                Route::PushManifest { name: parse_name(name)?, reference: parse_new(reference)? }
            }
            (Shape::Manifest(name, reference), "DELETE") => {
                Route::DeleteManifest { name: parse_name(name)?, reference: parse_present(reference)? }
            }
            (Shape::Blob(name, digest), "GET") => {
                Route::GetBlob { name: parse_name(name)?, digest: parse_digest(digest)? }
            }
            (Shape::Blob(name, digest), "HEAD") => {
                Route::CheckBlob { name: parse_name(name)?, digest: parse_digest(digest)? }
            }
            (Shape::Blob(name, digest), "DELETE") => {
                Route::DeleteBlob { name: parse_name(name)?, digest: parse_digest(digest)? }
            }
            (Shape::Uploads(name), "POST") => Route::StartUpload { name: parse_name(name)? },
            (Shape::Upload(name, id), "GET" | "HEAD") => {
                Route::UploadStatus { name: parse_name(name)?, id: parse_upload_id(id)? }
            }
            (Shape::Upload(name, id), "PATCH") => {
                Route::AppendUpload { name: parse_name(name)?, id: parse_upload_id(id)? }
            }
            (Shape::Upload(name, id), "PUT") => {
                Route::FinishUpload { name: parse_name(name)?, id: parse_upload_id(id)? }
            }
            (Shape::Upload(name, id), "DELETE") => {
                Route::CancelUpload { name: parse_name(name)?, id: parse_upload_id(id)? }
            }
            (Shape::Referrers(name, digest), "GET" | "HEAD") => {
                Route::ListReferrers { name: parse_name(name)?, digest: parse_digest(digest)? }
            }
            (shape, _) => return Err(RouteError::MethodNotAllowed { allow: shape.allow() }),
        })
    }
}

/// The first component of the name in a path, decoded, and the path without it. `None` of a path that is about no name,
/// or about one of a single component.
pub fn split_first(path: &str) -> Option<(Cow<'_, str>, String)> {
    let below = path.strip_prefix("/v2")?;
    let name = match Shape::of(below)? {
        Shape::Base | Shape::Catalog => return None,
        Shape::Tags(name)
        | Shape::Manifest(name, _)
        | Shape::Blob(name, _)
        | Shape::Uploads(name)
        | Shape::Upload(name, _)
        | Shape::Referrers(name, _) => name,
    };
    let (first, rest) = name.strip_prefix('/')?.split_once('/')?;
    let after = below.strip_prefix(name)?;
    (!rest.is_empty()).then(|| (decode(first), format!("/v2/{rest}{after}")))
}

/// What kind of path it is, its arguments still raw.
#[derive(Clone, Copy)]
enum Shape<'a> {
    Base,
    Catalog,
    Tags(&'a str),
    Manifest(&'a str, &'a str),
    Blob(&'a str, &'a str),
    Uploads(&'a str),
    Upload(&'a str, &'a str),
    Referrers(&'a str, &'a str),
}

impl<'a> Shape<'a> {
    /// The shape of what follows `/v2`.
    fn of(path: &'a str) -> Option<Shape<'a>> {
        if path.is_empty() {
            return Some(Shape::Base);
        }
        match path.strip_prefix('/')? {
            "" => return Some(Shape::Base),
            "_catalog" => return Some(Shape::Catalog),
            _ => {}
        }
        let (rest, last) = path.rsplit_once('/')?;
        let (name, noun) = rest.rsplit_once('/')?;
        let shape = match (noun, last) {
            ("tags", "list") => Shape::Tags(name),
            ("manifests", reference) => Shape::Manifest(name, reference),
            ("blobs", "uploads") => Shape::Uploads(name),
            ("blobs", digest) => Shape::Blob(name, digest),
            ("uploads", "") => Shape::Uploads(name.strip_suffix("/blobs")?),
            ("uploads", id) => Shape::Upload(name.strip_suffix("/blobs")?, id),
            ("referrers", digest) => Shape::Referrers(name, digest),
            _ => return None,
        };
        Some(shape)
    }

    /// The methods that a path of this shape is served with.
    const fn allow(self) -> &'static str {
        match self {
            Shape::Base | Shape::Catalog | Shape::Tags(_) | Shape::Referrers(..) => "GET, HEAD",
            Shape::Manifest(..) => "GET, HEAD, PUT, DELETE",
            Shape::Blob(..) => "GET, HEAD, DELETE",
            Shape::Uploads(_) => "POST",
            Shape::Upload(..) => "GET, HEAD, PATCH, PUT, DELETE",
        }
    }
}

/// One path segment decoded. What does not decode to UTF-8, or hides a slash, stays encoded: no grammar of
/// ours admits a percent sign, so the parser that is asked next refuses it.
fn decode(segment: &str) -> Cow<'_, str> {
    match percent_decode_str(segment).decode_utf8() {
        Ok(decoded) if !decoded.contains('/') => decoded,
        _ => Cow::Borrowed(segment),
    }
}

/// `raw` is what stands between `/v2` and the noun: empty, or a slash and the name.
fn parse_name(raw: &str) -> Result<RepoName, RouteError> {
    let raw = raw.strip_prefix('/').unwrap_or(raw);
    let parsed = if raw.contains('%') {
        RepoName::parse(&raw.split('/').map(decode).collect::<Vec<_>>().join("/"))
    } else {
        RepoName::parse(raw)
    };
    parsed.map_err(RouteError::Name)
}

fn parse_digest(raw: &str) -> Result<Digest, RouteError> {
    Digest::parse(&decode(raw)).map_err(RouteError::Digest)
}

/// A reference that is to be looked up.
fn parse_present(raw: &str) -> Result<Reference, RouteError> {
    Reference::parse(&decode(raw)).map_err(|error| match error {
        ParseError::Digest(_) => RouteError::Digest(error),
        _ => RouteError::NoSuchTag(error),
    })
}

/// A reference that is to be set.
fn parse_new(raw: &str) -> Result<Reference, RouteError> {
    Reference::parse(&decode(raw)).map_err(|error| match error {
        ParseError::Digest(_) => RouteError::Digest(error),
        _ => RouteError::Tag(error),
    })
}

/// Only the form that the registry gives out is taken, so that a session has one address.
fn parse_upload_id(raw: &str) -> Result<UploadId, RouteError> {
    UploadId::try_parse(raw)
        .ok()
        .filter(|id| id.hyphenated().encode_lower(&mut UploadId::encode_buffer()) == raw)
        .ok_or(RouteError::UploadUnknown)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use supercargo_model::Tag;

    use super::*;

    const ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

    fn hex() -> String {
        "0f".repeat(32)
    }

    fn parse(method: &str, path: &str) -> Result<Route, RouteError> {
        Route::parse(&method.parse().unwrap(), path)
    }

    #[test]
    fn every_operation_is_found_from_the_end_of_its_path() {
        let name = RepoName::parse("library/ubuntu").unwrap();
        let digest = Digest::parse(&format!("sha256:{}", hex())).unwrap();
        let tag = Reference::Tag(Tag::parse("v1.0").unwrap());
        let id: UploadId = ID.parse().unwrap();
        let n = || name.clone();
        let t = || tag.clone();
        let d = Reference::Digest(digest);
        for (method, path, expected) in [
            ("GET", "/v2/", Route::Ping),
            ("HEAD", "/v2", Route::Ping),
            ("GET", "/v2/_catalog", Route::ListNames),
            ("GET", "/v2/library/ubuntu/tags/list", Route::ListTags { name: n() }),
            ("GET", "/v2/library/ubuntu/manifests/v1.0", Route::GetManifest { name: n(), reference: t() }),
            ("HEAD", "/v2/library/ubuntu/manifests/v1.0", Route::CheckManifest { name: n(), reference: t() }),
            ("PUT", "/v2/library/ubuntu/manifests/v1.0", Route::PushManifest { name: n(), reference: t() }),
            (
                "DELETE",
                "/v2/library/ubuntu/manifests/v1.0",
                Route::DeleteManifest { name: n(), reference: t() },
            ),
            (
                "GET",
                "/v2/library/ubuntu/manifests/sha256:{d}",
                Route::GetManifest { name: n(), reference: d.clone() },
            ),
            (
                "PUT",
                "/v2/library/ubuntu/manifests/sha256%3A{d}",
                Route::PushManifest { name: n(), reference: d },
            ),
            ("GET", "/v2/library/ubuntu/blobs/sha256:{d}", Route::GetBlob { name: n(), digest }),
            ("HEAD", "/v2/library/ubuntu/blobs/sha256%3a{d}", Route::CheckBlob { name: n(), digest }),
            ("DELETE", "/v2/library/ubuntu/blobs/sha256:{d}", Route::DeleteBlob { name: n(), digest }),
            ("POST", "/v2/library/ubuntu/blobs/uploads/", Route::StartUpload { name: n() }),
            ("POST", "/v2/library/ubuntu/blobs/uploads", Route::StartUpload { name: n() }),
            ("GET", "/v2/library/ubuntu/blobs/uploads/{id}", Route::UploadStatus { name: n(), id }),
            ("PATCH", "/v2/library/ubuntu/blobs/uploads/{id}", Route::AppendUpload { name: n(), id }),
            ("PUT", "/v2/library/ubuntu/blobs/uploads/{id}", Route::FinishUpload { name: n(), id }),
            ("DELETE", "/v2/library/ubuntu/blobs/uploads/{id}", Route::CancelUpload { name: n(), id }),
            ("GET", "/v2/library/ubuntu/referrers/sha256:{d}", Route::ListReferrers { name: n(), digest }),
            ("GET", "/v2/lib%72ary/ubuntu/tags/list", Route::ListTags { name: n() }),
        ] {
            let path = path.replace("{d}", &hex()).replace("{id}", ID);
            assert_eq!(parse(method, &path), Ok(expected), "{method} {path}");
        }
    }

    #[test]
    fn a_name_may_hold_the_words_of_the_protocol() {
        for name in ["manifests", "blobs/uploads", "tags/list", "a/tags", "v2", "x/referrers/y"] {
            let name = RepoName::parse(name).unwrap();
            assert_eq!(
                parse("GET", &format!("/v2/{name}/tags/list")),
                Ok(Route::ListTags { name: name.clone() })
            );
            assert_eq!(
                parse("POST", &format!("/v2/{name}/blobs/uploads/")),
                Ok(Route::StartUpload { name: name.clone() })
            );
        }
    }

    #[test]
    fn unknown_paths_are_unknown() {
        for path in [
            "",
            "/",
            "/v1/_ping",
            "/v2x",
            "/v2//",
            "/v2/_catalog/",
            "/v2/a",
            "/v2/a/tags",
            "/v2/a/tags/list/",
            "/v2/a/tags/other",
            "/v2/a/uploads/x",
            "/v2/a/blobs/uploads/x/",
            "/v2/a/manifests",
        ] {
            assert_eq!(parse("GET", path), Err(RouteError::Unknown), "{path}");
        }
    }

    #[test]
    fn a_wrong_method_learns_the_right_ones() {
        for (method, path, allowed) in [
            ("POST", "/v2/", "GET, HEAD"),
            ("PATCH", "/v2/a/manifests/b", "GET, HEAD, PUT, DELETE"),
            ("PUT", "/v2/a/blobs/b", "GET, HEAD, DELETE"),
            ("GET", "/v2/a/blobs/uploads/", "POST"),
            ("POST", "/v2/a/blobs/uploads/x", "GET, HEAD, PATCH, PUT, DELETE"),
            ("DELETE", "/v2/a/tags/list", "GET, HEAD"),
            ("get", "/v2/_catalog", "GET, HEAD"),
        ] {
            assert_eq!(
                parse(method, path),
                Err(RouteError::MethodNotAllowed { allow: allowed }),
                "{method} {path}"
            );
        }
    }

    #[test]
    fn bad_names_are_refused_however_they_are_written() {
        for name in [
            "",
            "A",
            "a%2fb",
            "a%2Fb",
            "a/../b",
            "a/%2e%2e/b",
            "a//b",
            "a%00",
            "a%ff",
            "a%",
            "a%zz",
            "a%252fb",
            "é",
        ] {
            for tail in ["tags/list", "manifests/x"] {
                let path = format!("/v2/{name}/{tail}");
                assert!(matches!(parse("GET", &path), Err(RouteError::Name(_))), "{path}");
            }
        }
        for path in ["/v2/tags/list", "/v2/manifests/x"] {
            assert!(matches!(parse("GET", path), Err(RouteError::Name(_))), "{path}");
        }
        let long = format!("/v2/{}/tags/list", "a".repeat(256));
        assert!(matches!(parse("GET", &long), Err(RouteError::Name(_))));
    }

    #[test]
    fn a_bad_digest_is_never_merely_unknown() {
        for digest in ["x", "sha256:", "md5:00", "sha256:0%66", "sha256%3a..%2f..", "sha256:%ff"] {
            for path in [format!("/v2/a/blobs/{digest}"), format!("/v2/a/referrers/{digest}")] {
                assert!(matches!(parse("GET", &path), Err(RouteError::Digest(_))), "{path}");
            }
        }
        for method in ["GET", "HEAD", "PUT", "DELETE"] {
            assert!(matches!(parse(method, "/v2/a/manifests/sha256:x"), Err(RouteError::Digest(_))));
        }
    }

    #[test]
    fn a_bad_tag_is_not_found_but_can_not_be_set() {
        for tag in [".INVALID", "", "a%2fb", "a%20b"] {
            let path = format!("/v2/a/manifests/{tag}");
            assert!(matches!(parse("GET", &path), Err(RouteError::NoSuchTag(_))), "{path}");
            assert!(matches!(parse("PUT", &path), Err(RouteError::Tag(_))), "{path}");
        }
    }

    #[test]
    fn a_session_has_one_address() {
        for id in ["x", &ID.to_uppercase(), &ID.replace('-', ""), &format!("{{{ID}}}"), "..", "%2e"] {
            let path = format!("/v2/a/blobs/uploads/{id}");
            assert_eq!(parse("GET", &path), Err(RouteError::UploadUnknown), "{path}");
        }
    }

    #[test]
    fn a_name_of_several_components_has_a_first() {
        for (path, first, rest) in [
            ("/v2/r/app/tags/list", "r", "/v2/app/tags/list"),
            ("/v2/r/a/b/manifests/t", "r", "/v2/a/b/manifests/t"),
            ("/v2/r/app/blobs/uploads/", "r", "/v2/app/blobs/uploads/"),
            ("/v2/r/app/blobs/uploads", "r", "/v2/app/blobs/uploads"),
            ("/v2/Docker.Local/app/blobs/sha256:00", "Docker.Local", "/v2/app/blobs/sha256:00"),
            ("/v2/%72/app/referrers/sha256:00", "r", "/v2/app/referrers/sha256:00"),
            ("/v2/r/tags/tags/list", "r", "/v2/tags/tags/list"),
        ] {
            assert_eq!(split_first(path), Some((first.into(), rest.to_owned())), "{path}");
        }
        for path in [
            "",
            "/",
            "/v2",
            "/v2/",
            "/v2/_catalog",
            "/v2/app/tags/list",
            "/v2//app/x",
            "/v2/r//tags/list",
            "/v2/tags/list",
            "/v2/app/blobs/uploads/0",
            "/v1/r/app/tags/list",
            "/v2r/app/tags/list",
        ] {
            assert_eq!(split_first(path), None, "{path}");
        }
    }

    proptest! {
        /// What is left means the same of what is left of the name.
        #[test]
        fn a_path_without_the_first_component_is_about_the_rest(
            key in "[a-z0-9.]{1,8}",
            name in "[a-z]{1,5}(/[a-z]{1,5}){0,2}",
            rest in "tags/list|manifests/[a-z]{1,5}|blobs/uploads/|blobs/uploads|referrers/x",
        ) {
            let whole = format!("/v2/{key}/{name}/{rest}");
            let (first, path) = split_first(&whole).unwrap();
            prop_assert_eq!((&*first, path), (&*key, format!("/v2/{name}/{rest}")));
        }

        #[test]
        fn splitting_never_panics(path in "\\PC{0,80}", words in "[a-z/%2]{0,60}") {
            let _ = (split_first(&path), split_first(&format!("/v2/{path}")), split_first(&format!("/v2/{words}/tags/list")));
        }

        #[test]
        fn parse_never_panics(method in "GET|HEAD|PUT|POST|PATCH|DELETE|[A-Z]{1,9}", path in "\\PC{0,200}") {
            let _ = parse(&method, &path);
            let _ = parse(&method, &format!("/v2/{path}"));
        }

        #[test]
        fn protocol_words_in_any_order_never_panic(
            method in "GET|PUT|POST|DELETE",
            words in proptest::collection::vec("v2|blobs|uploads|manifests|tags|list|referrers|_catalog|a|%2f|%|", 0..8),
        ) {
            let _ = parse(&method, &format!("/v2/{}", words.join("/")));
        }

        #[test]
        fn a_valid_name_and_tag_come_back(
            name in "[a-z0-9]{1,8}(/[a-z0-9]{1,8}){0,3}",
            tag in "[a-zA-Z0-9_][a-zA-Z0-9._-]{0,20}",
        ) {
            let route = parse("GET", &format!("/v2/{name}/manifests/{tag}")).unwrap();
            let expected = Route::GetManifest {
                name: RepoName::parse(&name).unwrap(),
                reference: Reference::parse(&tag).unwrap(),
            };
            prop_assert_eq!(route, expected);
        }
    }
}
