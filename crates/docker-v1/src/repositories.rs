//! Repositories, as V1 calls what the registry calls a name: the first and the last request of a push, the first of a
//! pull, and their deletion (the V1 specification, 5.1, 5.4, 6.1 and 8).

use axum::response::Response;
use http::request::Parts;
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use serde_json::json;
use supercargo_access::Session;
use supercargo_http::request;
use supercargo_http::response::{empty, header_value, warn};
use supercargo_model::ImageId;
use supercargo_model::account::Actions;
use supercargo_model::v1::V1Name;
use supercargo_registry::{Error, Notice, Scheme};

use crate::error::{Code, Failure};
use crate::gate::{Admitted, SESSION_COOKIE};
use crate::{Surface, base, token};

/// Where a client goes on: hosts, each perhaps with a port.
const ENDPOINTS: HeaderName = HeaderName::from_static("x-docker-endpoints");

/// An image as clients list it. Tags and checksums may stand beside the id; docker sends tags with the first list and no
/// checksums with the last, and both are said again where they count.
struct ListedImage;

impl<'de> Deserialize<'de> for ListedImage {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ListedImage, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = ListedImage;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object with an image's id")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<ListedImage, A::Error> {
                let mut id = None;
                while let Some(member) = members.next_key::<String>()? {
                    if member == "id" {
                        id = Some(members.next_value::<ImageId>()?);
                    } else {
                        members.next_value::<IgnoredAny>()?;
                    }
                }
                id.map(|_| ListedImage).ok_or_else(|| A::Error::missing_field("id"))
            }
        }

        deserializer.deserialize_map(Members)
    }
}

/// Checks a list of images. What it says is said again, one by one, by the requests that follow or came before.
fn check_list(sent: &[u8]) -> Result<(), Failure> {
    let listed: Result<Vec<ListedImage>, _> = serde_json::from_slice(sent);
    listed
        .map(|_| ())
        .map_err(|error| Failure::new(if error.is_data() { Code::DataInvalid } else { Code::Undecodable }))
}

/// `PUT /v1/repositories/<name>/`: a push begins. The repository is there once it has a tag.
pub(crate) fn put(
    surface: &Surface,
    parts: &Parts,
    admitted: &Admitted,
    sent: &[u8],
) -> Result<Response, Failure> {
    check_list(sent)?;
    let mut response = base::nothing();
    let signature = hand_out(surface, parts, admitted, Actions::WRITE.or(Actions::READ), &mut response)?;
    set_cookie(parts, &signature, &mut response)?;
    Ok(response)
}

/// Over https clients send no tokens: by this cookie it is known which name their images are of, and who pushes.
fn set_cookie(parts: &Parts, signature: &str, response: &mut Response) -> Result<(), Failure> {
    let secure = match request::scheme(parts) {
        Scheme::Https => "; Secure",
        Scheme::Http => "",
    };
    let cookie = header_value(format!("{SESSION_COOKIE}={signature}; Path=/; HttpOnly{secure}"))?;
    response.headers_mut().insert(header::SET_COOKIE, cookie);
    Ok(())
}

/// `PUT /v1/repositories/<name>/images`: a push ends. An empty list, which is what docker sends, empties nothing.
pub(crate) fn put_images(
    surface: &Surface,
    parts: &Parts,
    admitted: &Admitted,
    sent: &[u8],
) -> Result<Response, Failure> {
    check_list(sent)?;
    let mut response = empty(StatusCode::NO_CONTENT);
    hand_out(surface, parts, admitted, Actions::WRITE.or(Actions::READ), &mut response)?;
    Ok(response)
}

/// `GET /v1/repositories/<name>/images`: a pull begins.
pub(crate) fn list_images(
    surface: &Surface,
    parts: &Parts,
    admitted: &Admitted,
) -> Result<Response, Failure> {
    let images = surface.registry.v1_images_of(surface.repository(), admitted.name()?)?;
    let mut response = crate::json(&images)?;
    let signature = hand_out(surface, parts, admitted, Actions::READ, &mut response)?;
    set_cookie(parts, &signature, &mut response)?;
    Ok(response)
}

/// `DELETE /v1/repositories/<name>/` and `…/tags`: its tags, and with the last of them the repository.
pub(crate) async fn delete(
    surface: &Surface,
    parts: &Parts,
    admitted: &Admitted,
) -> Result<Response, Failure> {
    surface.registry.v1_delete_tags(&admitted.caller, surface.repository(), admitted.name()?).await?;
    let mut response = base::done();
    warn(response.headers_mut(), &[Notice::Deleted]);
    hand_out(surface, parts, admitted, Actions::DELETE, &mut response)?;
    Ok(response)
}

/// `DELETE /v1/repositories/<name>/images`: nothing happens. Images go when no tag reaches them.
pub(crate) fn delete_images(
    surface: &Surface,
    parts: &Parts,
    admitted: &Admitted,
) -> Result<Response, Failure> {
    let mut response = empty(StatusCode::NO_CONTENT);
    hand_out(surface, parts, admitted, Actions::DELETE, &mut response)?;
    Ok(response)
}

/// `GET /v1/repositories/<name>/layer/<id>/access`: whether who may read the repository may have that image's layer.
pub(crate) async fn layer_access(
    surface: &Surface,
    admitted: &Admitted,
    id: &ImageId,
) -> Result<Response, Failure> {
    let access = match surface.registry.v1_image(surface.repository(), admitted.viewer(), id).await {
        Ok(_) => true,
        // Also what V1 clients can't be shown.
        Err(Error::ImageUnknown(_) | Error::NotConvertible(_) | Error::LayerUnreadable { .. }) => false,
        Err(error) => return Err(error.into()),
    };
    crate::json(&json!({ "access": access }))
}

/// Gives the client what it goes on with: a token, and where to. Answers with the token's signature.
fn hand_out(
    surface: &Surface,
    parts: &Parts,
    admitted: &Admitted,
    actions: Actions,
    response: &mut Response,
) -> Result<String, Failure> {
    let id = match admitted.session_id() {
        Some(id) => id,
        None => Session::draw_id().map_err(|e| Failure::internal(e.to_string()))?,
    };
    let signature = admitted.token(surface, id, actions)?;
    let name = V1Name::of(admitted.name()?);
    let called = match surface.mount.key() {
        None => name.shown().to_owned(),
        Some(_) => surface.mount.called(admitted.name()?).to_string(),
    };
    let (token, challenge) = token::given_out(&signature, &called, actions)?;
    let headers = response.headers_mut();
    headers.insert(token::TOKEN, token);
    headers.insert(header::WWW_AUTHENTICATE, challenge);
    // With the port: the client keeps the scheme and nothing else. Of HTTP/1.0 there may be no host.
    if let Some(host) = request::host(parts).and_then(|host| HeaderValue::try_from(host).ok()) {
        headers.insert(ENDPOINTS, host);
    }
    Ok(signature)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(sent: &str) -> Option<Code> {
        check_list(sent.as_bytes()).err().map(|failure| failure.code())
    }

    #[test]
    fn lists_of_images_are_objects_with_ids() {
        let id = "0f".repeat(32);
        for good in [
            "[]".to_owned(),
            format!(r#"[{{"id":"{id}"}},{{"id":"{id}","Tag":"latest"}}]"#),
            format!(r#" [ {{"checksum":"sha256:x","id":"{id}","other":[{{}}]}} ] "#),
        ] {
            assert_eq!(code(&good), None, "{good}");
        }
        for undecodable in ["", "[", "x", "[{]", "[] []", "[{\"id\":}]"] {
            assert_eq!(code(undecodable), Some(Code::Undecodable), "{undecodable}");
        }
        for invalid in [
            "{}",
            "\"x\"",
            "null",
            "[1]",
            "[null]",
            "[{}]",
            "[[]]",
            r#"[{"id":1}]"#,
            r#"[{"id":"x"}]"#,
            &format!(r#"[["{id}"]]"#),
            &format!(r#"[{{"id":"{}"}}]"#, id.to_uppercase()),
        ] {
            assert_eq!(code(invalid), Some(Code::DataInvalid), "{invalid}");
        }
    }
}
