//! Which operation a method and a path ask for.
//!
//! Names of repositories contain slashes, so a path below `/v1/repositories/` is read from its end: the last segments
//! say what is meant, all before them is the name. Every path is taken with one slash behind it and without. What
//! lives here is that one pure function and the types it answers with; what an operation does is in the files named
//! after its noun.

use std::borrow::Cow;

use http::Method;
use percent_encoding::percent_decode_str;
use supercargo_model::{ImageId, ParseError, Tag};

use supercargo_model::v1::V1Name;

/// One operation of the protocol, its arguments parsed. HEAD asks for what GET does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    /// `GET /v1/_ping`, `GET /_ping`
    Ping,
    /// `GET /v1/`
    Base,
    /// `GET /v1/users/`
    Login,
    /// `POST /v1/users/`
    Register,
    /// `PUT /v1/users/<name>/`
    ChangeUser { user: String },
    /// `GET /v1/search`
    Search,
    /// `GET /v1/images/<id>/json`
    GetImageJson { id: ImageId },
    /// `PUT /v1/images/<id>/json`
    PutImageJson { id: ImageId },
    /// `GET /v1/images/<id>/layer`
    GetLayer { id: ImageId },
    /// `PUT /v1/images/<id>/layer`
    PutLayer { id: ImageId },
    /// `PUT /v1/images/<id>/checksum`
    PutChecksum { id: ImageId },
    /// `GET /v1/images/<id>/ancestry`
    GetAncestry { id: ImageId },
    /// `GET /v1/images/<id>/files`
    ListFiles { id: ImageId },
    /// `PUT /v1/repositories/<name>/`
    PutRepository { name: V1Name },
    /// `DELETE /v1/repositories/<name>/`, `DELETE /v1/repositories/<name>/tags`
    DeleteRepository { name: V1Name },
    /// `GET /v1/repositories/<name>/images`
    ListImages { name: V1Name },
    /// `PUT /v1/repositories/<name>/images`
    PutImages { name: V1Name },
    /// `DELETE /v1/repositories/<name>/images`
    DeleteImages { name: V1Name },
    /// `GET /v1/repositories/<name>/tags`
    ListTags { name: V1Name },
    /// `GET /v1/repositories/<name>/tags/<tag>`
    GetTag { name: V1Name, tag: Tag },
    /// `PUT /v1/repositories/<name>/tags/<tag>`
    SetTag { name: V1Name, tag: Tag },
    /// `DELETE /v1/repositories/<name>/tags/<tag>`
    DeleteTag { name: V1Name, tag: Tag },
    /// `GET /v1/repositories/<name>/tags/<tag>/json`
    GetTagJson { name: V1Name, tag: Tag },
    /// `GET /v1/repositories/<name>/json`
    GetRepositoryJson { name: V1Name },
    /// `GET /v1/repositories/<name>/properties`
    GetProperties { name: V1Name },
    /// `PUT /v1/repositories/<name>/properties`
    PutProperties { name: V1Name },
    /// `PUT /v1/repositories/<name>/auth`
    CheckToken { name: V1Name },
    /// `GET /v1/repositories/<name>/layer/<id>/access`
    GetLayerAccess { name: V1Name, id: ImageId },
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
    /// The name is malformed.
    #[error("Invalid repository name: {0}")]
    Name(ParseError),
    /// The tag is malformed.
    #[error("Invalid tag name")]
    Tag,
    /// The image's id is malformed, and so can't exist.
    #[error("Invalid image ID")]
    ImageId,
}

/// The first component of the name in a path, decoded, and the path without it. `None` of a path that is about no name,
/// or about one of a single component.
pub fn split_first(path: &str) -> Option<(Cow<'_, str>, String)> {
    const REPOSITORIES: &str = "/v1/repositories/";
    let below = path.strip_prefix(REPOSITORIES)?;
    let name = match Shape::of(path.strip_suffix('/').unwrap_or(path))? {
        Shape::Repository(name)
        | Shape::Images(name)
        | Shape::Tags(name)
        | Shape::Tag(name, _)
        | Shape::TagJson(name, _)
        | Shape::RepositoryJson(name)
        | Shape::Properties(name)
        | Shape::Auth(name)
        | Shape::LayerAccess(name, _) => name,
        Shape::Ping
        | Shape::Base
        | Shape::Users
        | Shape::User(_)
        | Shape::Search
        | Shape::ImageJson(_)
        | Shape::Layer(_)
        | Shape::Checksum(_)
        | Shape::Ancestry(_)
        | Shape::Files(_) => return None,
    };
    let (first, rest) = name.split_once('/')?;
    let after = below.strip_prefix(name)?;
    (!rest.is_empty()).then(|| (decode(first), format!("{REPOSITORIES}{rest}{after}")))
}

impl Route {
    /// Whether it is about an image and no name.
    pub(crate) const fn is_about_an_image(&self) -> bool {
        matches!(
            self,
            Route::GetImageJson { .. }
                | Route::PutImageJson { .. }
                | Route::GetLayer { .. }
                | Route::PutLayer { .. }
                | Route::PutChecksum { .. }
                | Route::GetAncestry { .. }
                | Route::ListFiles { .. }
        )
    }

    /// The operation that `method` and `path` ask for. `path` is still percent-encoded and begins with `/v1`, or is
    /// `/_ping`, whatever prefix it was served below.
    ///
    /// # Errors
    /// [`RouteError`], as its variants say. The path's shape is judged first, then the method, then the arguments.
    pub(crate) fn parse(method: &Method, path: &str) -> Result<Route, RouteError> {
        let path = path.strip_suffix('/').unwrap_or(path);
        let shape = Shape::of(path).ok_or(RouteError::Unknown)?;
        let method = match method.as_str() {
            "HEAD" => "GET",
            method => method,
        };
        Ok(match (shape, method) {
            (Shape::Ping, "GET") => Route::Ping,
            (Shape::Base, "GET") => Route::Base,
            (Shape::Users, "GET") => Route::Login,
            (Shape::Users, "POST") => Route::Register,
            (Shape::User(user), "PUT") => Route::ChangeUser { user: decode(user).into_owned() },
            (Shape::Search, "GET") => Route::Search,
            (Shape::ImageJson(id), "GET") => Route::GetImageJson { id: parse_id(id)? },
            (Shape::ImageJson(id), "PUT") => Route::PutImageJson { id: parse_id(id)? },
            (Shape::Layer(id), "GET") => Route::GetLayer { id: parse_id(id)? },
            (Shape::Layer(id), "PUT") => Route::PutLayer { id: parse_id(id)? },
            (Shape::Checksum(id), "PUT") => Route::PutChecksum { id: parse_id(id)? },
            (Shape::Ancestry(id), "GET") => Route::GetAncestry { id: parse_id(id)? },
            (Shape::Files(id), "GET") => Route::ListFiles { id: parse_id(id)? },
            (Shape::Repository(name), "PUT") => Route::PutRepository { name: parse_name(name)? },
            (Shape::Repository(name) | Shape::Tags(name), "DELETE") => {
                Route::DeleteRepository { name: parse_name(name)? }
            }
            (Shape::Images(name), "GET") => Route::ListImages { name: parse_name(name)? },
            (Shape::Images(name), "PUT") => Route::PutImages { name: parse_name(name)? },
            (Shape::Images(name), "DELETE") => Route::DeleteImages { name: parse_name(name)? },
            (Shape::Tags(name), "GET") => Route::ListTags { name: parse_name(name)? },
            (Shape::Tag(name, tag), "GET") => Route::GetTag { name: parse_name(name)?, tag: parse_tag(tag)? },
            (Shape::Tag(name, tag), "PUT") => Route::SetTag { name: parse_name(name)?, tag: parse_tag(tag)? },
            (Shape::Tag(name, tag), "DELETE") => {
                Route::DeleteTag { name: parse_name(name)?, tag: parse_tag(tag)? }
            }
            (Shape::TagJson(name, tag), "GET") => {
                Route::GetTagJson { name: parse_name(name)?, tag: parse_tag(tag)? }
            }
            (Shape::RepositoryJson(name), "GET") => Route::GetRepositoryJson { name: parse_name(name)? },
            (Shape::Properties(name), "GET") => Route::GetProperties { name: parse_name(name)? },
            (Shape::Properties(name), "PUT") => Route::PutProperties { name: parse_name(name)? },
            (Shape::Auth(name), "PUT") => Route::CheckToken { name: parse_name(name)? },
            (Shape::LayerAccess(name, id), "GET") => {
                Route::GetLayerAccess { name: parse_name(name)?, id: parse_id(id)? }
            }
            (shape, _) => return Err(RouteError::MethodNotAllowed { allow: shape.allow() }),
        })
    }
}

/// What kind of path it is, its arguments still raw.
#[derive(Clone, Copy)]
enum Shape<'a> {
    Ping,
    Base,
    Users,
    User(&'a str),
    Search,
    ImageJson(&'a str),
    Layer(&'a str),
    Checksum(&'a str),
    Ancestry(&'a str),
    Files(&'a str),
    Repository(&'a str),
    Images(&'a str),
    Tags(&'a str),
    Tag(&'a str, &'a str),
    TagJson(&'a str, &'a str),
    RepositoryJson(&'a str),
    Properties(&'a str),
    Auth(&'a str),
    LayerAccess(&'a str, &'a str),
}

impl<'a> Shape<'a> {
    /// The shape of a path without a slash at its end.
    fn of(path: &'a str) -> Option<Shape<'a>> {
        if path == "/_ping" {
            return Some(Shape::Ping);
        }
        let below = path.strip_prefix("/v1")?;
        if below.is_empty() {
            return Some(Shape::Base);
        }
        let below = below.strip_prefix('/')?;
        match below {
            "_ping" => return Some(Shape::Ping),
            "users" => return Some(Shape::Users),
            "search" => return Some(Shape::Search),
            _ => {}
        }
        let (noun, rest) = below.split_once('/')?;
        match noun {
            "users" if !rest.contains('/') => Some(Shape::User(rest)),
            "images" => Shape::of_image(rest),
            "repositories" => Shape::of_repository(rest),
            _ => None,
        }
    }

    fn of_image(rest: &'a str) -> Option<Shape<'a>> {
        let (id, part) = rest.split_once('/')?;
        match part {
            "json" => Some(Shape::ImageJson(id)),
            "layer" => Some(Shape::Layer(id)),
            "checksum" => Some(Shape::Checksum(id)),
            "ancestry" => Some(Shape::Ancestry(id)),
            "files" => Some(Shape::Files(id)),
            _ => None,
        }
    }

    /// What looks like a noun is one, where a name is left before it.
    fn of_repository(rest: &'a str) -> Option<Shape<'a>> {
        let Some((before, last)) = rest.rsplit_once('/') else {
            return (!rest.is_empty()).then_some(Shape::Repository(rest));
        };
        let (name, noun) = before.rsplit_once('/').map_or(("", before), |(name, noun)| (name, noun));
        if let Some((name, ("tags", "json"))) =
            name.rsplit_once('/').map(|(name, above)| (name, (above, last)))
        {
            return Some(Shape::TagJson(name, noun));
        }
        if let Some((name, ("layer", "access"))) =
            name.rsplit_once('/').map(|(name, above)| (name, (above, last)))
        {
            return Some(Shape::LayerAccess(name, noun));
        }
        if noun == "tags" && !name.is_empty() {
            return Some(Shape::Tag(name, last));
        }
        Some(match last {
            "images" => Shape::Images(before),
            "tags" => Shape::Tags(before),
            "json" => Shape::RepositoryJson(before),
            "properties" => Shape::Properties(before),
            "auth" => Shape::Auth(before),
            _ => Shape::Repository(rest),
        })
    }

    /// The methods that a path of this shape is served with.
    const fn allow(self) -> &'static str {
        match self {
            Shape::Ping
            | Shape::Base
            | Shape::Search
            | Shape::Ancestry(_)
            | Shape::Files(_)
            | Shape::TagJson(..)
            | Shape::RepositoryJson(_)
            | Shape::LayerAccess(..) => "GET, HEAD",
            Shape::Users => "GET, HEAD, POST",
            Shape::User(_) | Shape::Checksum(_) | Shape::Auth(_) => "PUT",
            Shape::ImageJson(_) | Shape::Layer(_) | Shape::Properties(_) => "GET, HEAD, PUT",
            Shape::Repository(_) => "PUT, DELETE",
            Shape::Images(_) | Shape::Tag(..) => "GET, HEAD, PUT, DELETE",
            Shape::Tags(_) => "GET, HEAD, DELETE",
        }
    }
}

/// One path segment decoded. What does not decode to UTF-8, or hides a slash, stays encoded: no grammar of ours admits a
/// percent sign, so the parser that is asked next refuses it.
fn decode(segment: &str) -> Cow<'_, str> {
    match percent_decode_str(segment).decode_utf8() {
        Ok(decoded) if !decoded.contains('/') => decoded,
        _ => Cow::Borrowed(segment),
    }
}

fn parse_name(raw: &str) -> Result<V1Name, RouteError> {
    let parsed = if raw.contains('%') {
        V1Name::parse(&raw.split('/').map(decode).collect::<Vec<_>>().join("/"))
    } else {
        V1Name::parse(raw)
    };
    parsed.map_err(RouteError::Name)
}

fn parse_tag(raw: &str) -> Result<Tag, RouteError> {
    Tag::parse(&decode(raw)).map_err(|_| RouteError::Tag)
}

fn parse_id(raw: &str) -> Result<ImageId, RouteError> {
    ImageId::parse(&decode(raw)).map_err(|_| RouteError::ImageId)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hex() -> String {
        "0f".repeat(32)
    }

    fn parse(method: &str, path: &str) -> Result<Route, RouteError> {
        Route::parse(&method.parse().unwrap(), &path.replace("{id}", &hex()))
    }

    fn name(text: &str) -> V1Name {
        V1Name::parse(text).unwrap()
    }

    #[test]
    fn every_operation_is_found_with_and_without_a_slash_behind_it() {
        let id = ImageId::parse(&hex()).unwrap();
        let n = || name("ann/app");
        let t = || Tag::parse("v1.0").unwrap();
        for (method, path, expected) in [
            ("GET", "/_ping", Route::Ping),
            ("GET", "/v1/_ping", Route::Ping),
            ("GET", "/v1", Route::Base),
            ("GET", "/v1/users", Route::Login),
            ("POST", "/v1/users", Route::Register),
            ("PUT", "/v1/users/ann%40x", Route::ChangeUser { user: "ann@x".to_owned() }),
            ("GET", "/v1/search", Route::Search),
            ("GET", "/v1/images/{id}/json", Route::GetImageJson { id }),
            ("PUT", "/v1/images/{id}/json", Route::PutImageJson { id }),
            ("GET", "/v1/images/{id}/layer", Route::GetLayer { id }),
            ("PUT", "/v1/images/{id}/layer", Route::PutLayer { id }),
            ("PUT", "/v1/images/{id}/checksum", Route::PutChecksum { id }),
            ("GET", "/v1/images/{id}/ancestry", Route::GetAncestry { id }),
            ("GET", "/v1/images/{id}/files", Route::ListFiles { id }),
            ("PUT", "/v1/repositories/ann/app", Route::PutRepository { name: n() }),
            ("DELETE", "/v1/repositories/ann/app", Route::DeleteRepository { name: n() }),
            ("DELETE", "/v1/repositories/ann/app/tags", Route::DeleteRepository { name: n() }),
            ("GET", "/v1/repositories/ann/app/images", Route::ListImages { name: n() }),
            ("PUT", "/v1/repositories/ann/app/images", Route::PutImages { name: n() }),
            ("DELETE", "/v1/repositories/ann/app/images", Route::DeleteImages { name: n() }),
            ("GET", "/v1/repositories/ann/app/tags", Route::ListTags { name: n() }),
            ("GET", "/v1/repositories/ann/app/tags/v1.0", Route::GetTag { name: n(), tag: t() }),
            ("PUT", "/v1/repositories/ann/app/tags/v1%2E0", Route::SetTag { name: n(), tag: t() }),
            ("DELETE", "/v1/repositories/ann/app/tags/v1.0", Route::DeleteTag { name: n(), tag: t() }),
            ("GET", "/v1/repositories/ann/app/tags/v1.0/json", Route::GetTagJson { name: n(), tag: t() }),
            ("GET", "/v1/repositories/ann/app/json", Route::GetRepositoryJson { name: n() }),
            ("GET", "/v1/repositories/ann/app/properties", Route::GetProperties { name: n() }),
            ("PUT", "/v1/repositories/ann/app/properties", Route::PutProperties { name: n() }),
            ("PUT", "/v1/repositories/ann/app/auth", Route::CheckToken { name: n() }),
            ("GET", "/v1/repositories/ann/app/layer/{id}/access", Route::GetLayerAccess { name: n(), id }),
        ] {
            for slash in ["", "/"] {
                assert_eq!(
                    parse(method, &format!("{path}{slash}")),
                    Ok(expected.clone()),
                    "{method} {path}{slash}"
                );
                if method == "GET" {
                    assert_eq!(
                        parse("HEAD", &format!("{path}{slash}")),
                        Ok(expected.clone()),
                        "HEAD {path}{slash}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_name_has_one_segment_or_several_and_may_hold_the_words_of_the_protocol() {
        for text in
            ["x", "library/x", "a/b/c", "images", "tags", "json", "tags/images", "layer/x", "a/tags/b"]
        {
            let name = name(text);
            let of = |path: &str, method: &str| parse(method, &format!("/v1/repositories/{text}/{path}"));
            assert_eq!(of("tags", "GET"), Ok(Route::ListTags { name: name.clone() }), "{text}");
            assert_eq!(of("images", "PUT"), Ok(Route::PutImages { name: name.clone() }), "{text}");
            let tag = Tag::parse("json").unwrap();
            assert_eq!(of("tags/json", "GET"), Ok(Route::GetTag { name, tag }), "{text}");
        }
        assert_eq!(parse("PUT", "/v1/repositories/tags/"), Ok(Route::PutRepository { name: name("tags") }));
        assert_eq!(
            parse("PUT", "/v1/repositories/tags/x/"),
            Ok(Route::PutRepository { name: name("tags/x") })
        );
    }

    #[test]
    fn unknown_paths_are_unknown() {
        for path in [
            "",
            "/",
            "/v1x",
            "/v2/",
            "/_ping/x",
            "/v1//",
            "/v1/images",
            "/v1/images/{id}",
            "/v1/images/{id}/json//",
            "/v1/images/{id}/other",
            "/v1/images/{id}/json/x",
            "/v1/users/a/b",
            "/v1/repositories",
            "/v1/repositories/",
            "/v1/search/x",
            "/v1/other/x",
        ] {
            assert_eq!(parse("GET", path), Err(RouteError::Unknown), "{path}");
        }
    }

    #[test]
    fn a_wrong_method_learns_the_right_ones() {
        for (method, path, allow) in [
            ("POST", "/v1/_ping", "GET, HEAD"),
            ("DELETE", "/v1/users/", "GET, HEAD, POST"),
            ("GET", "/v1/users/ann/", "PUT"),
            ("DELETE", "/v1/images/{id}/json", "GET, HEAD, PUT"),
            ("GET", "/v1/images/{id}/checksum", "PUT"),
            ("GET", "/v1/repositories/a/b/", "PUT, DELETE"),
            ("PUT", "/v1/repositories/a/b/tags", "GET, HEAD, DELETE"),
            ("POST", "/v1/repositories/a/b/tags/t", "GET, HEAD, PUT, DELETE"),
            ("get", "/v1/search", "GET, HEAD"),
        ] {
            assert_eq!(parse(method, path), Err(RouteError::MethodNotAllowed { allow }), "{method} {path}");
        }
    }

    #[test]
    fn bad_arguments_are_refused_however_they_are_written() {
        for bad in [
            "A",
            "a//b",
            "..",
            "a/../b",
            "a%2Fb",
            "%2e%2e",
            "a/%2e%2e/b",
            "a%00",
            "a%0a",
            "_x",
            "a..b",
            "%ff",
            "a b",
        ] {
            let refused = parse("GET", &format!("/v1/repositories/{bad}/tags"));
            assert!(matches!(refused, Err(RouteError::Name(_))), "{bad}: {refused:?}");
        }
        let long = "a".repeat(256);
        assert!(matches!(parse("PUT", &format!("/v1/repositories/{long}/")), Err(RouteError::Name(_))));
        for bad in [".x", "a%2Fb", "%00", "a%20b", &"a".repeat(129)] {
            let refused = parse("PUT", &format!("/v1/repositories/a/tags/{bad}"));
            assert_eq!(refused, Err(RouteError::Tag), "{bad}");
        }
        for bad in ["x", "0f0f", "{id}0", &hex().to_uppercase(), "%2e%2e"] {
            assert_eq!(parse("GET", &format!("/v1/images/{bad}/json")), Err(RouteError::ImageId), "{bad}");
        }
    }

    #[test]
    fn a_name_of_several_components_has_a_first() {
        for (path, first, rest) in [
            ("/v1/repositories/r/app", "r", "/v1/repositories/app"),
            ("/v1/repositories/r/app/", "r", "/v1/repositories/app/"),
            ("/v1/repositories/r/ann/app/images", "r", "/v1/repositories/ann/app/images"),
            ("/v1/repositories/r/app/tags/t/json", "r", "/v1/repositories/app/tags/t/json"),
            ("/v1/repositories/%72/app/tags", "r", "/v1/repositories/app/tags"),
            ("/v1/repositories/r/images/images", "r", "/v1/repositories/images/images"),
        ] {
            assert_eq!(split_first(path), Some((first.into(), rest.to_owned())), "{path}");
        }
        for path in [
            "",
            "/_ping",
            "/v1/",
            "/v1/users/x",
            "/v1/search",
            "/v1/repositories/",
            "/v1/repositories/app/",
            "/v1/repositories/app/images",
            "/v1/repositories/app/tags/latest",
            "/v1/repositories//app/tags/latest/x",
            &format!("/v1/images/{}/json", hex()),
        ] {
            assert!(split_first(path).is_none_or(|(first, _)| first.is_empty()), "{path}");
        }
    }

    proptest! {
        #[test]
        fn splitting_never_panics(path in "\\PC{0,80}", words in "[a-z/%2]{0,60}") {
            let _ = (split_first(&path), split_first(&format!("/v1/repositories/{path}")));
            let _ = split_first(&format!("/v1/repositories/{words}/tags/x"));
        }

        #[test]
        fn no_path_panics(path in "(/v1/(repositories|images|users)/)?([a-z]{0,4}|/|tags|images|json|%[0-9a-f]{2}){0,8}|\\PC{0,60}") {
            for method in ["GET", "HEAD", "PUT", "POST", "DELETE", "PATCH"] {
                let _ = parse(method, &path);
            }
        }

        #[test]
        fn a_name_comes_back_from_its_path(text in "[a-z0-9]{1,6}(/[a-z0-9]{1,6}){0,3}") {
            let found = parse("GET", &format!("/v1/repositories/{text}/tags"));
            prop_assert_eq!(found, Ok(Route::ListTags { name: name(&text) }));
        }
    }
}
