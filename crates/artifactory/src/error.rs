//! What goes wrong, in this surface's words: the table of statuses and texts, and the one place where the registry's
//! outcomes and this surface's own refusals become rows of it.
//!
//! The body is `{"errors":[{"status":404,"message":"File not found."}]}` (the REST reference, "Error Responses"). A
//! [`Failure`] becomes a response without side effects except one: what no client caused is logged here, once, since its
//! text goes nowhere else.

use std::borrow::Cow;
use std::time::Duration;

use axum::response::Response;
use http::{HeaderName, HeaderValue, StatusCode, Version, header};
use serde_json::json;
use supercargo_access::Refused;
use supercargo_http::body::ReadError;
use supercargo_http::response::{self, Unfit};
use supercargo_registry::Broken;

use crate::route::RouteError;

/// A row of the table. Texts are Artifactory's where clients compare them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    /// What can't be understood, or can't be taken.
    Invalid,
    /// Credentials that are not taken.
    BadCredentials,
    /// A client that must say who it is.
    LoginRequired,
    /// A client that may not do that.
    Forbidden,
    /// What is not there, or not for the caller to see.
    NotFound,
    /// An item of a tree that is not there, or not for the caller to see.
    ItemUnknown,
    /// An item without properties.
    PropertiesUnknown,
    /// A method that the path does not have.
    MethodUnsupported,
    /// A body that came too slowly.
    BodyTooSlow,
    /// A change that goes against what is there.
    Conflict,
    /// A body over its limit.
    BodyTooLarge,
    /// No room is left for what was sent, by a rule of the repository.
    QuotaExceeded,
    /// A client that asks too often.
    TooManyRequests,
    /// Something broke.
    Unknown,
    /// The registry is busy or about to stop.
    Unavailable,
    /// No room is left on the disk.
    StorageFull,
}

impl Code {
    /// Every row, for tests and documentation.
    pub const ALL: [Code; 16] = [
        Code::Invalid,
        Code::BadCredentials,
        Code::LoginRequired,
        Code::Forbidden,
        Code::NotFound,
        Code::ItemUnknown,
        Code::PropertiesUnknown,
        Code::MethodUnsupported,
        Code::BodyTooSlow,
        Code::Conflict,
        Code::BodyTooLarge,
        Code::QuotaExceeded,
        Code::TooManyRequests,
        Code::Unknown,
        Code::Unavailable,
        Code::StorageFull,
    ];

    /// The table: status and text.
    const fn row(self) -> (StatusCode, &'static str) {
        match self {
            Code::Invalid => (StatusCode::BAD_REQUEST, "The request can't be taken"),
            Code::BadCredentials => (StatusCode::UNAUTHORIZED, "Bad credentials"),
            Code::LoginRequired => (StatusCode::UNAUTHORIZED, "Authentication is required"),
            Code::Forbidden => {
                (StatusCode::FORBIDDEN, "Forbidden: it takes a permission that you do not have")
            }
            Code::NotFound => (StatusCode::NOT_FOUND, "File not found."),
            Code::ItemUnknown => (StatusCode::NOT_FOUND, "Unable to find item"),
            Code::PropertiesUnknown => (StatusCode::NOT_FOUND, "No properties could be found."),
            Code::MethodUnsupported => (StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed"),
            Code::BodyTooSlow => (StatusCode::REQUEST_TIMEOUT, "The body came too slowly"),
            Code::Conflict => (StatusCode::CONFLICT, "That goes against what is there"),
            Code::BodyTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "The body is too large"),
            Code::QuotaExceeded => (StatusCode::PAYLOAD_TOO_LARGE, "The repository has no room for this"),
            Code::TooManyRequests => (StatusCode::TOO_MANY_REQUESTS, "Too many requests: try again later"),
            Code::Unknown => (StatusCode::INTERNAL_SERVER_ERROR, "Something went wrong in the registry"),
            Code::Unavailable => {
                (StatusCode::SERVICE_UNAVAILABLE, "The registry can't do that now; try again")
            }
            Code::StorageFull => {
                (StatusCode::INSUFFICIENT_STORAGE, "The registry's disk is full; nothing was stored")
            }
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
        matches!(self, Code::BodyTooLarge | Code::BodyTooSlow)
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
    /// A failure with its code's text. One that a login would help says by what.
    pub fn new(code: Code) -> Failure {
        let challenge = HeaderValue::from_static("Basic realm=\"Artifactory Realm\"");
        let failure = Failure { code, message: code.message().into(), headers: Vec::new(), cause: None };
        match code.status() {
            StatusCode::UNAUTHORIZED => failure.header(header::WWW_AUTHENTICATE, challenge),
            _ => failure,
        }
    }

    /// What can't be taken, and why.
    pub fn invalid(message: impl Into<Cow<'static, str>>) -> Failure {
        Failure::new(Code::Invalid).message(message)
    }

    /// Something that no client caused. `cause` goes to the log, never to the client.
    pub fn internal(cause: impl Into<String>) -> Failure {
        Failure { cause: Some(cause.into()), ..Failure::new(Code::Unknown) }
    }

    /// A failure that is over after a while: says when to try again, in whole seconds, 1 at least.
    pub fn retry_after(code: Code, after: Duration) -> Failure {
        let seconds = supercargo_access::whole_seconds(after).max(1);
        Failure::new(code).header(header::RETRY_AFTER, HeaderValue::from(seconds))
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

    /// What the client is told.
    pub fn text(&self) -> &str {
        &self.message
    }

    /// What the client is told, where the status is out already.
    pub(crate) fn body(&self) -> serde_json::Value {
        body(self.code.status(), &self.message)
    }

    /// The response. What no client caused carries the request's id, by which its log line is found.
    pub fn into_response(self, version: Version, request_id: Option<&str>) -> Response {
        let Failure { code, mut message, headers, cause } = self;
        let status = code.status();
        if status.is_server_error() {
            if let Some(cause) = cause {
                tracing::error!(request_id, status = status.as_u16(), error = cause, "request failed");
            }
            if let Some(id) = request_id {
                message = Cow::Owned(format!("{message} (request id {id})"));
            }
        }
        let mut response = response::json(status, body(status, &message).to_string());
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

fn body(status: StatusCode, message: &str) -> serde_json::Value {
    json!({ "errors": [{ "status": status.as_u16(), "message": message }] })
}

/// The one map from the registry's outcomes to this surface's.
impl From<supercargo_registry::Error> for Failure {
    fn from(error: supercargo_registry::Error) -> Failure {
        use supercargo_registry::Error;

        let told = |code: Code| Failure::new(code).message(error.to_string());
        match &error {
            Error::RepositoryUnknown(_)
            | Error::NameUnknown(_)
            | Error::UserUnknown(_)
            | Error::GroupUnknown(_)
            | Error::TokenUnknown(_)
            | Error::PermissionUnknown
            | Error::PermissionTargetUnknown(_)
            | Error::BlobUnknown(_)
            | Error::ManifestUnknown(_)
            | Error::TagUnknown(_)
            | Error::ImageUnknown(_) => told(Code::NotFound),
            Error::ItemUnknown(_) => Failure::new(Code::ItemUnknown),
            Error::ItemForbidden(_) | Error::TagForbidden { .. } => told(Code::Forbidden),
            Error::RepositoryExists(_) | Error::UserExists(_) | Error::GroupExists(_) => told(Code::Invalid),
            Error::LastAdministrator(_)
            | Error::TagsPointAtImages { .. }
            | Error::RepositoryNotEmpty { .. }
            | Error::ImageExists(_)
            | Error::ItemInUse { .. }
            | Error::TagInTheWay { .. }
            | Error::Precondition(_)
            | Error::Changed { .. } => told(Code::Conflict),
            Error::Invalid(_)
            | Error::NotConvertible(_)
            | Error::LayerUnreadable { .. }
            | Error::ManifestInvalid(_)
            | Error::ManifestBlobUnknown(_)
            | Error::ImageJson(_)
            | Error::ChainTooDeep
            | Error::ProtocolsDiffer { .. }
            | Error::WrongProtocol { .. }
            | Error::BodyIncomplete => told(Code::Invalid),
            Error::BodyTimeout => told(Code::BodyTooSlow),
            Error::AgainstRule(Broken::BlobTooLarge { .. } | Broken::QuotaExceeded { .. }) => {
                told(Code::QuotaExceeded)
            }
            Error::AgainstRule(_) => told(Code::Forbidden),
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

/// Why somebody is not taken for who they say they are. Clients know wrong credentials by the row's text.
impl From<&Refused> for Failure {
    fn from(refused: &Refused) -> Failure {
        match refused {
            Refused::Wrong => Failure::new(Code::BadCredentials),
            Refused::Token(_) | Refused::Bearer(_) | Refused::Provider(_) => {
                let message = format!("{}: {refused}", Code::BadCredentials.message());
                Failure::new(Code::BadCredentials).message(message)
            }
            Refused::Throttled { retry_after } => {
                Failure::retry_after(Code::TooManyRequests, *retry_after).message(refused.to_string())
            }
            Refused::Busy { retry_after } | Refused::ProviderSilent { retry_after } => {
                Failure::retry_after(Code::Unavailable, *retry_after).message(refused.to_string())
            }
            Refused::Unavailable(cause) => Failure::internal(cause.to_string()),
        }
    }
}

impl From<RouteError> for Failure {
    fn from(error: RouteError) -> Failure {
        match &error {
            RouteError::Unknown => Failure::new(Code::NotFound),
            RouteError::MethodNotAllowed { allow } => Failure::new(Code::MethodUnsupported)
                .message(error.to_string())
                .header(header::ALLOW, HeaderValue::from_static(allow)),
            RouteError::Invalid(_) => Failure::invalid(error.to_string()),
        }
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

impl From<Unfit> for Failure {
    fn from(unfit: Unfit) -> Failure {
        Failure::internal(unfit.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_table_is_this_one() {
        let page = include_str!("../../../docs/api-artifactory.md");
        let (_, page) = page.split_once("\n## Errors\n").unwrap();
        for code in Code::ALL {
            assert!(code.status().is_client_error() || code.status().is_server_error(), "{code:?}");
            let row = format!("| {} | {} |", code.status().as_u16(), code.message());
            assert!(page.contains(&row), "{code:?} is not documented: {row}");
        }
        let rows = page
            .lines()
            .filter(|line| line.split('|').nth(1).is_some_and(|cell| cell.trim().parse::<u16>().is_ok()));
        assert_eq!(rows.count(), Code::ALL.len());
    }

    #[test]
    fn what_no_client_caused_is_told_nobody_but_its_id() {
        let failure = Failure::from(supercargo_registry::Error::Internal("secret".to_owned()));
        assert_eq!(failure.code(), Code::Unknown);
        assert!(!failure.text().contains("secret"));
        let response = failure.into_response(Version::HTTP_11, Some("r-1"));
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    }
}
