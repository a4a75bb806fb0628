//! What goes wrong, as this surface says it: the one place where the registry's errors become statuses.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use supercargo_registry::Error;

/// The body of every answer that is an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// The error.
    pub error: ErrorDetail,
}

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorDetail {
    /// A word for scripts.
    pub code: String,
    /// For a person.
    pub message: String,
}

/// A refusal on its way to the client.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: String,
    retry_after: Option<u64>,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Refusal {
        Refusal { status, code, message: message.into(), retry_after: None }
    }

    /// Says when to try again.
    pub(crate) fn retry_after(self, after: std::time::Duration) -> Refusal {
        Refusal { retry_after: Some(supercargo_access::whole_seconds(after).max(1)), ..self }
    }

    /// A request that can't be understood.
    pub(crate) fn invalid(message: impl std::fmt::Display) -> Refusal {
        Refusal::new(StatusCode::BAD_REQUEST, "invalid", message.to_string())
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Refusal {
        let retry_after = match &error {
            Error::Busy { retry_after } => Some(retry_after.as_secs().max(1)),
            _ => None,
        };
        let (status, code) = match &error {
            Error::RepositoryUnknown(_)
            | Error::NameUnknown(_)
            | Error::ItemUnknown(_)
            | Error::UserUnknown(_)
            | Error::GroupUnknown(_)
            | Error::TokenUnknown(_)
            | Error::PermissionUnknown
            | Error::BlobUnknown(_)
            | Error::ManifestUnknown(_)
            | Error::TagUnknown(_)
            | Error::ImageUnknown(_)
            | Error::RecordUnknown { .. }
            | Error::UploadUnknown => (StatusCode::NOT_FOUND, "not_found"),
            Error::RepositoryExists(_)
            | Error::RepositoryNotEmpty { .. }
            | Error::TagsPointAtImages { .. }
            | Error::TagInTheWay { .. }
            | Error::ImageExists(_)
            | Error::UserExists(_)
            | Error::GroupExists(_)
            | Error::ItemInUse { .. }
            | Error::LastAdministrator(_) => (StatusCode::CONFLICT, "conflict"),
            Error::AgainstRule(_) | Error::ItemForbidden(_) | Error::TagForbidden { .. } => {
                (StatusCode::FORBIDDEN, "forbidden")
            }
            Error::Precondition(_) | Error::Changed { .. } => {
                (StatusCode::PRECONDITION_FAILED, "precondition_failed")
            }
            Error::ManifestBlobUnknown(_)
            | Error::ManifestInvalid(_)
            | Error::DigestMismatch { .. }
            | Error::UploadOutOfOrder { .. }
            | Error::BodyIncomplete
            | Error::BodyTimeout
            | Error::ProtocolsDiffer { .. }
            | Error::WrongProtocol { .. }
            | Error::Invalid(_) => (StatusCode::BAD_REQUEST, "invalid"),
            Error::Busy { .. } | Error::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
            Error::DiskFull => (StatusCode::INSUFFICIENT_STORAGE, "disk_full"),
            // Internal, and what a later version of the registry may add before it has a row here.
            _ => {
                tracing::error!(%error, "an administration request failed");
                let message = "something broke in the registry; its log says what";
                return Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", message);
            }
        };
        Refusal { status, code, message: error.to_string(), retry_after }
    }
}

impl Refusal {
    /// What the client is told.
    pub(crate) fn body(&self) -> ErrorBody {
        ErrorBody { error: ErrorDetail { code: self.code.to_owned(), message: self.message.clone() } }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = (self.status, axum::Json(self.body())).into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
