//! What goes wrong, in the protocol's words: the table of statuses and texts, and the one place where the registry's
//! outcomes and this surface's own refusals become rows of it.
//!
//! Old clients compare texts: a row's is exact, and the body is an object of strings alone (the V1 specification, 5.3).
//! A [`Failure`] becomes a response without side effects except one: what no client caused is logged here, once, since
//! its text goes nowhere else.

use std::borrow::Cow;
use std::time::Duration;

use axum::response::Response;
use http::{HeaderName, HeaderValue, StatusCode, Version, header};
use serde_json::json;
use supercargo_access::SessionRefused;
use supercargo_http::body::ReadError;
use supercargo_http::response::{self, Unfit};
use supercargo_model::v1::ImageJsonError;
use supercargo_registry::Broken;

use crate::route::RouteError;

/// A row of the table. Texts are the reference implementation's where it has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    /// An image's JSON that is none.
    ImageJsonInvalid,
    /// A body over its limit.
    BodyTooLarge,
    /// What no image can be called.
    ImageIdInvalid,
    /// An image that is not there, or not for the caller to see.
    ImageUnknown,
    /// An image that is not whole yet.
    ImageUploading,
    /// An image that is whole already.
    ImageExists,
    /// A checksum for an image that is whole already.
    ChecksumSet,
    /// A parent that is not there.
    ParentUnknown,
    /// A parent that is not whole yet.
    ParentUploading,
    /// Too many ancestors.
    ChainTooDeep,
    /// A checksum that the image does not have.
    ChecksumMismatch,
    /// No checksum.
    ChecksumMissing,
    /// A checksum without anything in it.
    ChecksumEmpty,
    /// A checksum of another form.
    ChecksumInvalid,
    /// A list of images that is no JSON.
    Undecodable,
    /// JSON that says something else than it should.
    DataInvalid,
    /// What no tag can be called.
    TagInvalid,
    /// A tag that is not there.
    TagUnknown,
    /// What no repository can be called.
    NameInvalid,
    /// A repository that is not there.
    NameUnknown,
    /// A user that is not there.
    UserUnknown,
    /// An argument that can't be taken.
    ArgumentInvalid,
    /// A change that goes against what is there.
    Conflict,
    /// An image that another request of the same session sends or completes at this moment.
    UploadBusy,
    /// A body that ended before its end.
    BodyIncomplete,
    /// A body that came too slowly.
    BodyTooSlow,
    /// No room is left for what was sent, by a rule of the repository.
    QuotaExceeded,
    /// A client that must say who it is.
    Unauthorized,
    /// A client that may not do that.
    Denied,
    /// A client that asks too often.
    TooManyRequests,
    /// A repository that does not speak this protocol.
    ProtocolUnsupported,
    /// A path that is no endpoint.
    EndpointUnknown,
    /// A method that the endpoint does not have.
    MethodUnsupported,
    /// No room is left on the disk.
    StorageFull,
    /// The registry is busy or about to stop.
    Unavailable,
    /// Something broke.
    Unknown,
}

impl Code {
    /// Every row, for tests and documentation.
    pub const ALL: [Code; 36] = [
        Code::ImageJsonInvalid,
        Code::BodyTooLarge,
        Code::ImageIdInvalid,
        Code::ImageUnknown,
        Code::ImageUploading,
        Code::ImageExists,
        Code::ChecksumSet,
        Code::ParentUnknown,
        Code::ParentUploading,
        Code::ChainTooDeep,
        Code::ChecksumMismatch,
        Code::ChecksumMissing,
        Code::ChecksumEmpty,
        Code::ChecksumInvalid,
        Code::Undecodable,
        Code::DataInvalid,
        Code::TagInvalid,
        Code::TagUnknown,
        Code::NameInvalid,
        Code::NameUnknown,
        Code::UserUnknown,
        Code::ArgumentInvalid,
        Code::Conflict,
        Code::UploadBusy,
        Code::BodyIncomplete,
        Code::BodyTooSlow,
        Code::QuotaExceeded,
        Code::Unauthorized,
        Code::Denied,
        Code::TooManyRequests,
        Code::ProtocolUnsupported,
        Code::EndpointUnknown,
        Code::MethodUnsupported,
        Code::StorageFull,
        Code::Unavailable,
        Code::Unknown,
    ];

    /// The table: status and text.
    const fn row(self) -> (StatusCode, &'static str) {
        match self {
            Code::ImageJsonInvalid => (StatusCode::BAD_REQUEST, "Invalid JSON"),
            Code::BodyTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "The body is too large"),
            Code::ImageIdInvalid => (StatusCode::NOT_FOUND, "Invalid image ID"),
            Code::ImageUnknown => (StatusCode::NOT_FOUND, "Image not found"),
            Code::ImageUploading => (StatusCode::BAD_REQUEST, "Image is being uploaded, retry later"),
            Code::ImageExists => (StatusCode::CONFLICT, "Image already exists"),
            Code::ChecksumSet => (StatusCode::CONFLICT, "Cannot set this image checksum"),
            Code::ParentUnknown => (StatusCode::BAD_REQUEST, "Image depends on a non existing parent"),
            Code::ParentUploading => {
                (StatusCode::BAD_REQUEST, "Image depends on a parent that is being uploaded")
            }
            Code::ChainTooDeep => (StatusCode::BAD_REQUEST, "Image has too many ancestors"),
            Code::ChecksumMismatch => (StatusCode::BAD_REQUEST, "Checksum mismatch"),
            Code::ChecksumMissing => (
                StatusCode::PRECONDITION_FAILED,
                "X-Docker-Checksum-Payload not set. If you are using the Docker daemon, you should upgrade to version \
                 0.10 or later",
            ),
            Code::ChecksumEmpty => (StatusCode::BAD_REQUEST, "Missing Image's checksum"),
            Code::ChecksumInvalid => (
                StatusCode::BAD_REQUEST,
                "X-Docker-Checksum-Payload is not sha256: and 64 lower-case hexadecimal digits",
            ),
            Code::Undecodable => (StatusCode::BAD_REQUEST, "Error Decoding JSON"),
            Code::DataInvalid => (StatusCode::BAD_REQUEST, "Invalid data"),
            Code::TagInvalid => (StatusCode::BAD_REQUEST, "Invalid tag name"),
            Code::TagUnknown => (StatusCode::NOT_FOUND, "Tag not found"),
            Code::NameInvalid => (StatusCode::BAD_REQUEST, "Invalid repository name"),
            Code::NameUnknown => (StatusCode::NOT_FOUND, "Repository not found"),
            Code::UserUnknown => (StatusCode::NOT_FOUND, "User not found"),
            Code::ArgumentInvalid => (StatusCode::BAD_REQUEST, "Invalid argument"),
            Code::Conflict => (StatusCode::CONFLICT, "That goes against what is there"),
            Code::UploadBusy => {
                (StatusCode::CONFLICT, "Image is being uploaded by another request, retry later")
            }
            Code::BodyIncomplete => (StatusCode::BAD_REQUEST, "The body ended before its end"),
            Code::BodyTooSlow => (StatusCode::REQUEST_TIMEOUT, "The body came too slowly"),
            Code::QuotaExceeded => (StatusCode::PAYLOAD_TOO_LARGE, "The repository has no room for this"),
            Code::Unauthorized => (StatusCode::UNAUTHORIZED, "Requires authorization"),
            Code::Denied => {
                (StatusCode::FORBIDDEN, "Access denied: it takes a permission that you do not have")
            }
            Code::TooManyRequests => (StatusCode::TOO_MANY_REQUESTS, "Too many requests: try again later"),
            Code::ProtocolUnsupported => (StatusCode::NOT_FOUND, "Unsupported docker v1 repository request"),
            Code::EndpointUnknown => (StatusCode::NOT_FOUND, "There is no such endpoint"),
            Code::MethodUnsupported => (StatusCode::METHOD_NOT_ALLOWED, "The method is not supported here"),
            Code::StorageFull => {
                (StatusCode::INSUFFICIENT_STORAGE, "The registry's disk is full; nothing was stored")
            }
            Code::Unavailable => {
                (StatusCode::SERVICE_UNAVAILABLE, "The registry can't do that now; try again")
            }
            Code::Unknown => (StatusCode::INTERNAL_SERVER_ERROR, "Something went wrong in the registry"),
        }
    }

    /// The status that goes with it.
    pub const fn status(self) -> StatusCode {
        self.row().0
    }

    /// What is said where there is nothing more to say.
    pub const fn message(self) -> &'static str {
        self.row().1
    }

    /// Whether nothing sensible can follow on the connection: the rest of the body may still be on its way.
    const fn closes(self) -> bool {
        matches!(self, Code::BodyTooLarge | Code::BodyIncomplete | Code::BodyTooSlow)
    }
}

/// A request that was not served, and what its client is told.
#[derive(Debug)]
pub struct Failure {
    code: Code,
    message: Cow<'static, str>,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// What happened, for the log alone.
    cause: Option<String>,
}

impl Failure {
    /// A failure with its code's text.
    pub fn new(code: Code) -> Failure {
        Failure { code, message: Cow::Borrowed(code.message()), headers: Vec::new(), cause: None }
    }

    /// Something that no client caused. `cause` goes to the log, never to the client.
    pub fn internal(cause: impl Into<String>) -> Failure {
        Failure { cause: Some(cause.into()), ..Failure::new(Code::Unknown) }
    }

    /// A failure that is over after a while: says when to try again, in whole seconds, 1 at least.
    pub fn retry_after(code: Code, after: Duration) -> Failure {
        let seconds = after.as_secs_f64().ceil().max(1.0) as u64;
        Failure::new(code).header(header::RETRY_AFTER, HeaderValue::from(seconds))
    }

    /// What becomes of a request that only reads: what V1 clients can't be shown is not there, and `absent` says so with
    /// the reason.
    pub fn reading(error: supercargo_registry::Error, absent: Code) -> Failure {
        use supercargo_registry::Error;

        match &error {
            Error::NotConvertible(_) | Error::LayerUnreadable { .. } => {
                Failure::new(absent).message(error.to_string())
            }
            _ => error.into(),
        }
    }

    /// Says what was wrong, and what to do. Must be fit for the client's eyes.
    #[must_use]
    pub fn message(self, message: impl Into<Cow<'static, str>>) -> Failure {
        Failure { message: message.into(), ..self }
    }

    /// Adds a header to the response, beside one of the same name.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Failure {
        self.headers.push((name, value));
        self
    }

    /// Which row of the table it is.
    pub fn code(&self) -> Code {
        self.code
    }

    /// The response. What no client caused carries the request's id, by which its log line is found.
    pub fn into_response(self, version: Version, request_id: Option<&str>) -> Response {
        let Failure { code, mut message, headers, cause } = self;
        if code.status().is_server_error() {
            if let Some(cause) = cause {
                tracing::error!(request_id, status = code.status().as_u16(), error = cause, "request failed");
            }
            if let Some(id) = request_id {
                message = Cow::Owned(format!("{message} (request id {id})"));
            }
        }
        let mut response = response::json(code.status(), json!({ "error": message }).to_string());
        let sent = response.headers_mut();
        for (name, value) in headers {
            sent.append(name, value);
        }
        // HTTP/2 has other ways to say so.
        if code.closes() && version <= Version::HTTP_11 {
            sent.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// The one map from the registry's outcomes to the protocol's.
impl From<supercargo_registry::Error> for Failure {
    fn from(error: supercargo_registry::Error) -> Failure {
        use supercargo_registry::Error;

        let told = |code: Code| Failure::new(code).message(error.to_string());
        match &error {
            Error::RepositoryUnknown(_) | Error::NameUnknown(_) => Failure::new(Code::NameUnknown),
            Error::TagUnknown(_) | Error::ManifestUnknown(_) => Failure::new(Code::TagUnknown),
            Error::ImageUnknown(_) => Failure::new(Code::ImageUnknown),
            Error::ImageExists(_) => Failure::new(Code::ImageExists),
            Error::ImageChecksumSet(_) => Failure::new(Code::ChecksumSet),
            Error::ImageJson(ImageJsonError::TooLarge) => told(Code::BodyTooLarge),
            Error::ImageJson(_) => told(Code::ImageJsonInvalid),
            Error::ParentUnknown(_) => Failure::new(Code::ParentUnknown),
            Error::ParentUploading(_) => Failure::new(Code::ParentUploading),
            Error::ChainTooDeep => told(Code::ChainTooDeep),
            // Before the layer there is nothing that a checksum could be of.
            Error::ChecksumMismatch { .. } | Error::LayerMissing(_) => Failure::new(Code::ChecksumMismatch),
            Error::LayerUnreadable { .. } | Error::NotConvertible(_) | Error::Invalid(_) => {
                told(Code::ArgumentInvalid)
            }
            // It ended, or began anew, under the hands of this request.
            Error::UploadUnknown | Error::UploadOutOfOrder { .. } => Failure::new(Code::UploadBusy),
            Error::BodyIncomplete => told(Code::BodyIncomplete),
            Error::BodyTimeout => told(Code::BodyTooSlow),
            Error::AgainstRule(Broken::BlobTooLarge { .. } | Broken::QuotaExceeded { .. }) => {
                told(Code::QuotaExceeded)
            }
            Error::AgainstRule(_) => told(Code::Denied),
            Error::UserUnknown(_) => Failure::new(Code::UserUnknown),
            Error::PermissionUnknown => told(Code::Conflict),
            Error::Busy { retry_after } => {
                Failure::retry_after(Code::Unavailable, *retry_after).message(error.to_string())
            }
            Error::DiskFull => told(Code::StorageFull),
            Error::Unavailable => told(Code::Unavailable),
            // The enum may grow between releases of its crate, and this crate must go on compiling. An outcome that
            // nobody gave a row yet is a defect here, not the client's.
            other => Failure::internal(other.to_string()),
        }
    }
}

impl From<RouteError> for Failure {
    fn from(error: RouteError) -> Failure {
        let code = match &error {
            RouteError::Unknown => return Failure::new(Code::EndpointUnknown),
            RouteError::MethodNotAllowed { allow } => {
                let allow = HeaderValue::from_static(allow);
                return Failure::new(Code::MethodUnsupported)
                    .message(error.to_string())
                    .header(header::ALLOW, allow);
            }
            RouteError::Name(_) => Code::NameInvalid,
            RouteError::Tag => Code::TagInvalid,
            RouteError::ImageId => Code::ImageIdInvalid,
        };
        Failure::new(code).message(error.to_string())
    }
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Failure {
        match error {
            ReadError::TooLarge => Failure::new(Code::BodyTooLarge),
            ReadError::Broken(error) => error.into(),
        }
    }
}

impl From<SessionRefused> for Failure {
    fn from(refused: SessionRefused) -> Failure {
        match refused {
            SessionRefused::Invalid | SessionRefused::Expired => {
                Failure::new(Code::Unauthorized).message(format!("Requires authorization: {refused}"))
            }
            SessionRefused::Directory(error) => Failure::internal(error.to_string()),
        }
    }
}

impl From<Unfit> for Failure {
    fn from(unfit: Unfit) -> Failure {
        Failure::internal(unfit.to_string())
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use supercargo_model::{Digest, ImageId};
    use supercargo_registry::Error;

    use super::*;

    async fn body(failure: Failure) -> String {
        let response = failure.into_response(Version::HTTP_11, Some("r-1"));
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json");
        String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
    }

    #[test]
    fn every_row_is_an_error_with_a_text() {
        for code in Code::ALL {
            assert!(code.status().is_client_error() || code.status().is_server_error(), "{code:?}");
            assert!(!code.message().is_empty());
        }
    }

    #[test]
    fn the_documented_table_is_this_one() {
        let page = include_str!("../../../docs/api-docker-v1.md");
        let (_, page) = page.split_once("\n## Errors\n").unwrap();
        for code in Code::ALL {
            let row = format!("| {} | {} |", code.status().as_u16(), code.message());
            assert!(page.contains(&row), "{code:?} is not documented: {row}");
        }
        let rows = page
            .lines()
            .filter(|line| line.split('|').nth(1).is_some_and(|cell| cell.trim().parse::<u16>().is_ok()));
        assert_eq!(rows.count(), Code::ALL.len());
    }

    #[tokio::test]
    async fn what_clients_compare_is_exact() {
        let id = ImageId::from_bytes([1; 32]);
        let digest = Digest::sha256([1; 32]).to_string();
        for (error, status, text) in [
            (Error::ImageExists(id), 409, "Image already exists"),
            (Error::ImageUnknown(id), 404, "Image not found"),
            (Error::ImageChecksumSet(id), 409, "Cannot set this image checksum"),
            (Error::ParentUnknown(id), 400, "Image depends on a non existing parent"),
            (Error::ParentUploading(id), 400, "Image depends on a parent that is being uploaded"),
            (Error::LayerMissing(id), 400, "Checksum mismatch"),
            (Error::ChecksumMismatch { expected: digest.clone(), actual: digest }, 400, "Checksum mismatch"),
            (Error::UploadUnknown, 409, "Image is being uploaded by another request, retry later"),
            (
                Error::UploadOutOfOrder { received: 7 },
                409,
                "Image is being uploaded by another request, retry later",
            ),
            (Error::ImageJson(ImageJsonError::Invalid), 400, "Invalid JSON"),
            (Error::ImageJson(ImageJsonError::IdMissing), 400, "Missing key `id' in JSON"),
            (Error::ImageJson(ImageJsonError::IdMismatch), 400, "JSON data contains invalid id"),
        ] {
            let failure = Failure::from(error);
            assert_eq!(failure.code().status().as_u16(), status);
            assert_eq!(body(failure).await, format!(r#"{{"error":"{text}"}}"#));
        }
    }

    #[test]
    fn what_can_not_be_shown_is_not_there() {
        let unreadable = || Error::LayerUnreadable { layer: Digest::sha256([1; 32]), why: "why".into() };
        for error in [Error::NotConvertible("why".into()), unreadable()] {
            let failure = Failure::reading(error, Code::TagUnknown);
            assert_eq!(failure.code(), Code::TagUnknown);
            assert!(failure.message.ends_with("why"), "{}", failure.message);
        }
        assert_eq!(Failure::from(unreadable()).code(), Code::ArgumentInvalid);
        let other = Failure::reading(Error::ImageUnknown(ImageId::from_bytes([1; 32])), Code::TagUnknown);
        assert_eq!(other.code(), Code::ImageUnknown);
    }

    #[test]
    fn a_body_that_did_not_come_whole_ends_the_connection() {
        for (error, status) in [(Error::BodyIncomplete, 400), (Error::BodyTimeout, 408)] {
            let response = Failure::from(error).into_response(Version::HTTP_11, None);
            assert_eq!(
                (response.status().as_u16(), &response.headers()[header::CONNECTION]),
                (status, &HeaderValue::from_static("close"))
            );
        }
        let response = Failure::from(Error::BodyIncomplete).into_response(Version::HTTP_2, None);
        assert!(!response.headers().contains_key(header::CONNECTION));
    }

    #[tokio::test]
    async fn what_broke_stays_in_the_log() {
        let told = body(Failure::from(Error::Internal("secret path".into()))).await;
        assert!(told.contains("r-1") && !told.contains("secret"), "{told}");
    }

    #[test]
    fn who_comes_too_often_hears_when_to_come_again() {
        let busy = Failure::from(Error::Busy { retry_after: Duration::from_millis(1200) });
        let busy = busy.into_response(Version::HTTP_11, None);
        assert_eq!(
            (busy.status().as_u16(), &busy.headers()[header::RETRY_AFTER]),
            (503, &HeaderValue::from(2))
        );
    }
}
