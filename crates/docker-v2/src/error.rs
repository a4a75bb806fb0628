//! What goes wrong, in the protocol's words: the table of codes, and the one place where the registry's
//! outcomes and this surface's own refusals become rows of it.
//!
//! A [`Failure`] becomes a response without side effects except one: what no client caused is logged here,
//! once, since its text goes nowhere else.

use std::borrow::Cow;
use std::time::Duration;

use axum::response::Response;
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde::Serialize;
use serde_json::json;
use supercargo_http::etag;
use supercargo_http::response::{self, Unfit, header_value};
use supercargo_model::{ManifestError, ParseError};

use crate::page::PageNumberInvalid;
use crate::response::{CONTENT_DIGEST, received_range};
use crate::route::RouteError;

/// A row of the protocol's error table. Most are the OCI distribution specification's ("Error Codes");
/// the specification has no code for some of what can happen, and for those the code is the one that
/// the reference implementation uses, or the nearest there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    /// A blob that the name does not hold.
    BlobUnknown,
    /// An upload request that can't be taken as it is.
    BlobUploadInvalid,
    /// A chunk that does not continue the upload session. The session lives on.
    BlobUploadOutOfOrder,
    /// An upload session that does not exist, or no longer.
    BlobUploadUnknown,
    /// A digest that is malformed or that the content does not have.
    DigestInvalid,
    /// A manifest that refers to content which the name does not hold.
    ManifestBlobUnknown,
    /// A manifest, its media type or its tag that can't be taken.
    ManifestInvalid,
    /// A manifest over the limit.
    ManifestTooLarge,
    /// A manifest or tag that the name does not hold.
    ManifestUnknown,
    /// A malformed repository name.
    NameInvalid,
    /// A repository name that holds nothing.
    NameUnknown,
    /// A `n` that is no number.
    PaginationNumberInvalid,
    /// A condition in the request that does not hold.
    PreconditionFailed,
    /// A range past the end of a blob.
    RangeInvalid,
    /// A body that ended before its length.
    SizeInvalid,
    /// A body that came too slowly.
    BodyTooSlow,
    /// A client that must say who it is.
    Unauthorized,
    /// A client that may not do that.
    Denied,
    /// A client that asks too often.
    TooManyRequests,
    /// A path that is no endpoint.
    EndpointUnknown,
    /// A method that the endpoint does not have, or an argument that it does not serve.
    Unsupported,
    /// An argument that is not served.
    ArgumentUnsupported,
    /// No room is left for what was sent.
    StorageFull,
    /// The registry is busy or about to stop.
    Unavailable,
    /// Something broke.
    Unknown,
}

impl Code {
    /// Every row, for tests and documentation.
    pub const ALL: [Code; 25] = [
        Code::BlobUnknown,
        Code::BlobUploadInvalid,
        Code::BlobUploadOutOfOrder,
        Code::BlobUploadUnknown,
        Code::DigestInvalid,
        Code::ManifestBlobUnknown,
        Code::ManifestInvalid,
        Code::ManifestTooLarge,
        Code::ManifestUnknown,
        Code::NameInvalid,
        Code::NameUnknown,
        Code::PaginationNumberInvalid,
        Code::PreconditionFailed,
        Code::RangeInvalid,
        Code::SizeInvalid,
        Code::BodyTooSlow,
        Code::Unauthorized,
        Code::Denied,
        Code::TooManyRequests,
        Code::EndpointUnknown,
        Code::Unsupported,
        Code::ArgumentUnsupported,
        Code::StorageFull,
        Code::Unavailable,
        Code::Unknown,
    ];

    /// The table: code, status and default message.
    const fn row(self) -> (&'static str, StatusCode, &'static str) {
        match self {
            Code::BlobUnknown => ("BLOB_UNKNOWN", StatusCode::NOT_FOUND, "blob unknown to the repository"),
            Code::BlobUploadInvalid => {
                ("BLOB_UPLOAD_INVALID", StatusCode::BAD_REQUEST, "blob upload invalid")
            }
            Code::BlobUploadOutOfOrder => (
                "BLOB_UPLOAD_INVALID",
                StatusCode::RANGE_NOT_SATISFIABLE,
                "the chunk does not continue the blob upload",
            ),
            Code::BlobUploadUnknown => {
                ("BLOB_UPLOAD_UNKNOWN", StatusCode::NOT_FOUND, "blob upload unknown to the registry")
            }
            Code::DigestInvalid => {
                ("DIGEST_INVALID", StatusCode::BAD_REQUEST, "the digest is malformed or not the content's")
            }
            Code::ManifestBlobUnknown => (
                "MANIFEST_BLOB_UNKNOWN",
                StatusCode::BAD_REQUEST,
                "the manifest refers to content unknown to the repository",
            ),
            Code::ManifestInvalid => ("MANIFEST_INVALID", StatusCode::BAD_REQUEST, "manifest invalid"),
            Code::ManifestTooLarge => ("SIZE_INVALID", StatusCode::PAYLOAD_TOO_LARGE, "manifest too large"),
            Code::ManifestUnknown => {
                ("MANIFEST_UNKNOWN", StatusCode::NOT_FOUND, "manifest unknown to the repository")
            }
            Code::NameInvalid => ("NAME_INVALID", StatusCode::BAD_REQUEST, "invalid repository name"),
            Code::NameUnknown => {
                ("NAME_UNKNOWN", StatusCode::NOT_FOUND, "repository name not known to the registry")
            }
            Code::PaginationNumberInvalid => {
                ("PAGINATION_NUMBER_INVALID", StatusCode::BAD_REQUEST, "invalid number of results requested")
            }
            Code::PreconditionFailed => {
                ("PRECONDITION_FAILED", StatusCode::PRECONDITION_FAILED, "the precondition does not hold")
            }
            Code::RangeInvalid => {
                ("RANGE_INVALID", StatusCode::RANGE_NOT_SATISFIABLE, "the range begins past the blob's end")
            }
            Code::SizeInvalid => {
                ("SIZE_INVALID", StatusCode::BAD_REQUEST, "the body is not as long as its Content-Length")
            }
            Code::BodyTooSlow => {
                ("BLOB_UPLOAD_INVALID", StatusCode::REQUEST_TIMEOUT, "the body came too slowly")
            }
            // With the reference implementation's own words and nothing besides, docker takes these three for
            // errors that pass, and tries for a minute before it shows them.
            Code::Unauthorized => {
                ("UNAUTHORIZED", StatusCode::UNAUTHORIZED, "authentication required: log in to do that")
            }
            Code::Denied => (
                "DENIED",
                StatusCode::FORBIDDEN,
                "requested access to the resource is denied: it takes a permission that you do not have",
            ),
            Code::TooManyRequests => {
                ("TOOMANYREQUESTS", StatusCode::TOO_MANY_REQUESTS, "too many requests: try again later")
            }
            Code::EndpointUnknown => ("UNSUPPORTED", StatusCode::NOT_FOUND, "there is no such endpoint"),
            Code::Unsupported => {
                ("UNSUPPORTED", StatusCode::METHOD_NOT_ALLOWED, "the operation is unsupported")
            }
            Code::ArgumentUnsupported => {
                ("UNSUPPORTED", StatusCode::BAD_REQUEST, "the operation is unsupported")
            }
            Code::StorageFull => (
                "UNAVAILABLE",
                StatusCode::INSUFFICIENT_STORAGE,
                "the registry's disk is full; nothing was stored",
            ),
            Code::Unavailable => {
                ("UNAVAILABLE", StatusCode::SERVICE_UNAVAILABLE, "the registry can't do that now; try again")
            }
            Code::Unknown => {
                ("UNKNOWN", StatusCode::INTERNAL_SERVER_ERROR, "something went wrong in the registry")
            }
        }
    }

    /// The code as clients read it. Rows that differ in status alone may share one.
    pub const fn as_str(self) -> &'static str {
        self.row().0
    }

    /// The status that goes with it.
    pub const fn status(self) -> StatusCode {
        self.row().1
    }

    /// What is said where there is nothing more to say.
    pub const fn message(self) -> &'static str {
        self.row().2
    }
}

/// A request that was not served, and what its client is told. Also for the layers around this surface that
/// must answer in its shape.
#[derive(Debug)]
pub struct Failure {
    code: Code,
    message: Cow<'static, str>,
    /// One error is told for each, and one without detail where there are none.
    details: Vec<serde_json::Value>,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// What happened, for the log alone.
    cause: Option<String>,
}

impl Failure {
    /// A failure with its code's default message.
    pub fn new(code: Code) -> Failure {
        Failure {
            code,
            message: Cow::Borrowed(code.message()),
            details: Vec::new(),
            headers: Vec::new(),
            cause: None,
        }
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

    /// Says what was wrong, and what to do. Must be fit for the client's eyes.
    #[must_use]
    pub fn message(self, message: impl Into<Cow<'static, str>>) -> Failure {
        Failure { message: message.into(), ..self }
    }

    /// Adds what a program may want to know. docker takes an error with its code's default message and without a detail
    /// for one that may pass, and tries an upload five times before it says so.
    #[must_use]
    pub fn detail(mut self, detail: serde_json::Value) -> Failure {
        self.details.push(detail);
        self
    }

    /// Adds a header to the response.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Failure {
        self.headers.push((name, value));
        self
    }

    /// Which row of the table it is.
    pub fn code(&self) -> Code {
        self.code
    }

    /// The response, in the OCI distribution specification's shape. What no client caused carries the
    /// request's id, by which its log line is found.
    pub fn into_response(self, request_id: Option<&str>) -> Response {
        let Failure { code, mut message, mut details, headers, cause } = self;
        if code.status().is_server_error() {
            if let Some(cause) = cause {
                tracing::error!(request_id, status = code.status().as_u16(), error = cause, "request failed");
            }
            if let Some(id) = request_id {
                message = Cow::Owned(format!("{message} (request id {id})"));
                details.push(json!({ "requestId": id }));
            }
        }
        let told = |detail| Told { code: code.as_str(), message: &message, detail };
        let errors: Vec<Told<'_>> = if details.is_empty() {
            vec![told(None)]
        } else {
            details.iter().map(|detail| told(Some(detail))).collect()
        };
        // Strings and JSON values alone: nothing that serde_json could refuse.
        let body = serde_json::to_vec(&json!({ "errors": errors })).unwrap_or_default();
        let mut response = response::json(code.status(), body);
        response.headers_mut().extend(headers);
        response
    }
}

/// One error as it is told.
#[derive(Serialize)]
struct Told<'a> {
    code: &'static str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a serde_json::Value>,
}

/// The one map from the registry's outcomes to the protocol's.
impl From<supercargo_registry::Error> for Failure {
    fn from(error: supercargo_registry::Error) -> Failure {
        use supercargo_registry::Error;

        let told = |code: Code| Failure::new(code).message(error.to_string());
        match &error {
            Error::RepositoryUnknown(_) | Error::NameUnknown(_) => told(Code::NameUnknown),
            Error::BlobUnknown(digest) => with_digests(told(Code::BlobUnknown), [digest]),
            Error::ManifestUnknown(_) => told(Code::ManifestUnknown),
            Error::ManifestBlobUnknown(missing) => with_digests(told(Code::ManifestBlobUnknown), missing),
            Error::ManifestInvalid(ManifestError::TooLarge) => told(Code::ManifestTooLarge),
            Error::ManifestInvalid(ManifestError::Digest(_)) => told(Code::DigestInvalid),
            Error::ManifestInvalid(_) => told(Code::ManifestInvalid),
            Error::DigestMismatch { .. } => told(Code::DigestInvalid),
            Error::UploadUnknown => told(Code::BlobUploadUnknown),
            Error::UploadOutOfOrder { received } => {
                told(Code::BlobUploadOutOfOrder).header(header::RANGE, received_range(*received))
            }
            Error::BodyIncomplete => told(Code::SizeInvalid),
            Error::BodyTimeout => told(Code::BodyTooSlow),
            Error::Precondition(_) => told(Code::PreconditionFailed),
            Error::Changed { present } => changed(told(Code::PreconditionFailed), present.as_ref()),
            Error::AgainstRule(_) => told(Code::Denied),
            Error::Invalid(_) => told(Code::ArgumentUnsupported),
            Error::Busy { retry_after } => {
                Failure::retry_after(Code::Unavailable, *retry_after).message(error.to_string())
            }
            Error::DiskFull => told(Code::StorageFull),
            Error::Unavailable => told(Code::Unavailable),
            // No request of this surface makes or removes a repository.
            Error::RepositoryExists(_) | Error::RepositoryNotEmpty { .. } | Error::Internal(_) => {
                Failure::internal(error.to_string())
            }
            // The enum may grow between releases of its crate, and this crate must go on compiling. An
            // outcome that nobody gave a row yet is a defect here, not the client's.
            other => Failure::internal(format!("unmapped outcome: {other}")),
        }
    }
}

/// Says what is there in place of what the condition expected.
fn changed(failure: Failure, present: Option<&supercargo_model::Digest>) -> Failure {
    let Some(present) = present else { return failure };
    let text = present.to_string();
    match (etag::of(&text), header_value(text)) {
        (Ok(etag), Ok(digest)) => {
            with_digests(failure, [present]).header(header::ETAG, etag).header(CONTENT_DIGEST, digest)
        }
        (Err(unfit), _) | (_, Err(unfit)) => unfit.into(),
    }
}

/// Names each digest in an error of its own.
fn with_digests<'a>(
    failure: Failure,
    digests: impl IntoIterator<Item = &'a supercargo_model::Digest>,
) -> Failure {
    let details = digests.into_iter().map(|digest| json!({ "digest": digest.to_string() })).collect();
    Failure { details, ..failure }
}

impl From<Unfit> for Failure {
    fn from(unfit: Unfit) -> Failure {
        Failure::internal(unfit.to_string())
    }
}

impl From<RouteError> for Failure {
    fn from(error: RouteError) -> Failure {
        let code = match &error {
            RouteError::Unknown => Code::EndpointUnknown,
            RouteError::MethodNotAllowed { allow } => {
                let allow = HeaderValue::from_static(allow);
                return Failure::new(Code::Unsupported)
                    .message(error.to_string())
                    .header(header::ALLOW, allow);
            }
            RouteError::Name(_) => Code::NameInvalid,
            RouteError::Digest(_) => Code::DigestInvalid,
            RouteError::Tag(_) => Code::ManifestInvalid,
            RouteError::NoSuchTag(_) => Code::ManifestUnknown,
            RouteError::UploadUnknown => Code::BlobUploadUnknown,
        };
        Failure::new(code).message(error.to_string())
    }
}

/// For arguments that stand outside the path: in the query or a header.
impl From<ParseError> for Failure {
    fn from(error: ParseError) -> Failure {
        let code = match error {
            ParseError::RepoKey(_) | ParseError::RepoName(_) => Code::NameInvalid,
            ParseError::Digest(_) => Code::DigestInvalid,
            ParseError::Tag(_) | ParseError::MediaType(_) => Code::ManifestInvalid,
            // The enum may grow between releases of its crate; whatever it refuses came from the client.
            _ => Code::ArgumentUnsupported,
        };
        Failure::new(code).message(error.to_string())
    }
}

impl From<PageNumberInvalid> for Failure {
    fn from(error: PageNumberInvalid) -> Failure {
        Failure::new(Code::PaginationNumberInvalid).message(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use supercargo_model::Digest;
    use supercargo_registry::Error;

    use super::*;

    async fn body(response: Response) -> serde_json::Value {
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        serde_json::from_slice(&bytes).unwrap()
    }

    #[test]
    fn every_code_is_spelt_as_the_specification_wants() {
        for code in Code::ALL {
            assert!(code.as_str().bytes().all(|b| b.is_ascii_uppercase() || b == b'_'), "{code:?}");
            assert!(code.status().is_client_error() || code.status().is_server_error(), "{code:?}");
        }
    }

    /// As they would be to docker, which then tries again and again.
    #[test]
    fn refusals_are_not_in_the_reference_implementations_very_words() {
        for (code, words) in [
            (Code::Unauthorized, "authentication required"),
            (Code::Denied, "requested access to the resource is denied"),
            (Code::TooManyRequests, "too many requests"),
        ] {
            // But begin with them: people look for those.
            assert!(code.message().strip_prefix(words).is_some_and(|more| !more.is_empty()), "{code:?}");
        }
    }

    #[test]
    fn the_documented_table_is_this_one() {
        let page = include_str!("../../../docs/api-docker-v2.md");
        let (_, page) = page.split_once("\n## Errors\n").unwrap();
        let rows = page
            .lines()
            .filter(|line| line.split('|').nth(2).is_some_and(|cell| cell.trim().parse::<u16>().is_ok()));
        assert_eq!(rows.count(), Code::ALL.len());
        for code in Code::ALL {
            let row = format!("\n| {} | {} |", code.as_str(), code.status().as_u16());
            assert!(page.contains(&row), "{code:?} is not documented");
        }
    }

    #[test]
    fn outcomes_have_their_statuses() {
        let digest = Digest::sha256([1; 32]);
        for (error, status, code) in [
            (Error::BlobUnknown(digest), 404, "BLOB_UNKNOWN"),
            (Error::ManifestUnknown("x".into()), 404, "MANIFEST_UNKNOWN"),
            (Error::ManifestInvalid(ManifestError::TooLarge), 413, "SIZE_INVALID"),
            (Error::ManifestInvalid(ManifestError::Malformed("x".into())), 400, "MANIFEST_INVALID"),
            (Error::DigestMismatch { expected: digest, actual: digest }, 400, "DIGEST_INVALID"),
            (Error::UploadUnknown, 404, "BLOB_UPLOAD_UNKNOWN"),
            (Error::UploadOutOfOrder { received: 7 }, 416, "BLOB_UPLOAD_INVALID"),
            (Error::BodyIncomplete, 400, "SIZE_INVALID"),
            (Error::BodyTimeout, 408, "BLOB_UPLOAD_INVALID"),
            (Error::Precondition("x".into()), 412, "PRECONDITION_FAILED"),
            (Error::Changed { present: Some(digest) }, 412, "PRECONDITION_FAILED"),
            (Error::Changed { present: None }, 412, "PRECONDITION_FAILED"),
            (Error::Invalid("x".into()), 400, "UNSUPPORTED"),
            (Error::Busy { retry_after: Duration::from_millis(1) }, 503, "UNAVAILABLE"),
            (Error::DiskFull, 507, "UNAVAILABLE"),
            (Error::Internal("x".into()), 500, "UNKNOWN"),
        ] {
            let failure = Failure::from(error);
            assert_eq!((failure.code().status().as_u16(), failure.code().as_str()), (status, code));
        }
    }

    #[test]
    fn some_outcomes_say_how_to_go_on() {
        let busy =
            Failure::from(Error::Busy { retry_after: Duration::from_millis(1200) }).into_response(None);
        assert_eq!(busy.headers()[header::RETRY_AFTER], "2");
        let chunk = Failure::from(Error::UploadOutOfOrder { received: 7 }).into_response(None);
        assert_eq!(chunk.headers()[header::RANGE], "0-6");
    }

    #[tokio::test]
    async fn who_asks_too_often_hears_when_to_ask_again() {
        let refused = Failure::retry_after(Code::TooManyRequests, Duration::from_secs(7)).into_response(None);
        assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(refused.headers()[header::RETRY_AFTER], "7");
        let told = body(refused).await;
        let expected =
            json!({ "errors": [{ "code": "TOOMANYREQUESTS", "message": Code::TooManyRequests.message() }] });
        assert_eq!(told, expected);
    }

    #[tokio::test]
    async fn each_missing_blob_is_named() {
        let missing = vec![Digest::sha256([1; 32]), Digest::sha256([2; 32])];
        let told = body(Failure::from(Error::ManifestBlobUnknown(missing.clone())).into_response(None)).await;
        let errors = told["errors"].as_array().unwrap();
        assert_eq!(errors.len(), 2);
        assert_eq!(errors[1]["code"], "MANIFEST_BLOB_UNKNOWN");
        assert_eq!(errors[1]["detail"]["digest"], missing[1].to_string());
    }

    #[tokio::test]
    async fn what_broke_stays_in_the_log() {
        let response = Failure::from(Error::Internal("secret path".into())).into_response(Some("r-1"));
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let told = body(response).await.to_string();
        assert!(told.contains("r-1") && !told.contains("secret"), "{told}");
    }
}
