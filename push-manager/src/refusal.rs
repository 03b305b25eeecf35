//! Errors as callers see them: a gRPC status with details, which the gateway also speaks as JSON.

use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt as _};

use crate::{
    api_auth::denied::{Denied, Rate},
    hub::Refused,
};

/// The `domain` of every ErrorInfo.
const DOMAIN: &str = "pushcast";

/// A manager that ends is replaced by another; a caller may try that one soon.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Wrong fields named one by one. They travel in HTTP/2 headers, where callers' libraries refuse more than about
/// 8 KiB: of 200 violations the caller would see a protocol error and none of them.
const MAX_VIOLATIONS: usize = 10;

/// The request is wrong; the wrong fields are named, the first ten of them one by one.
pub(crate) fn invalid(mut violations: Vec<FieldViolation>) -> Status {
    let more = violations.len().saturating_sub(MAX_VIOLATIONS);
    violations.truncate(MAX_VIOLATIONS);
    let mut message = violations
        .iter()
        .map(|violation| format!("{}: {}", violation.field, violation.description))
        .collect::<Vec<_>>()
        .join("; ");
    if more > 0 {
        message.push_str(&format!("; and {more} more"));
    }
    let details = ErrorDetails::with_bad_request(violations);
    Status::with_error_details(Code::InvalidArgument, message, details)
}

/// The push cannot be accepted now.
pub(crate) fn refused(refused: Refused) -> Status {
    let (reason, message) = match refused {
        Refused::NoNodes => ("NO_CONNECT_NODES", "no connect-node is known"),
        Refused::NotReady => ("NOT_READY", "this push-manager is starting and takes no pushes yet"),
        Refused::Draining => ("DRAINING", "this push-manager is stopping and takes no more pushes"),
    };
    let mut details = ErrorDetails::with_error_info(reason, DOMAIN, []);
    if refused != Refused::NoNodes {
        details.set_retry_info(Some(RETRY_AFTER));
    }
    Status::with_error_details(Code::Unavailable, message, details)
}

/// The caller's own deadline ended before any node acknowledged. The message is in the log all the same.
pub(crate) fn nothing_acknowledged(message_id: String) -> Status {
    let metadata = [("message_id".to_owned(), message_id)];
    let details = ErrorDetails::with_error_info("NOTHING_ACKNOWLEDGED", DOMAIN, metadata);
    let message = "the deadline ended before any node acknowledged the message";
    Status::with_error_details(Code::DeadlineExceeded, message, details)
}

/// A node knows the request_id with another target or content.
pub(crate) fn request_id_conflict(message_id: String) -> Status {
    let metadata = [("message_id".to_owned(), message_id)];
    let details = ErrorDetails::with_error_info("REQUEST_ID_CONFLICT", DOMAIN, metadata);
    let message = "this request_id was used before with another target or content";
    Status::with_error_details(Code::AlreadyExists, message, details)
}

/// The caller may not have what it asks for.
pub(crate) fn denied(denied: &Denied) -> Status {
    let (code, reason, message) = match denied {
        Denied::NoKey => (
            Code::Unauthenticated,
            "NO_KEY",
            "this push-manager asks for a key, sent as `authorization: Bearer <key>`".to_owned(),
        ),
        Denied::UnknownKey => {
            (Code::Unauthenticated, "UNKNOWN_KEY", "this push-manager does not know the key".to_owned())
        }
        Denied::NoCertificate => (
            Code::Unauthenticated,
            "NO_CERTIFICATE",
            "this push-manager asks for a client certificate".to_owned(),
        ),
        Denied::UnknownCertificate => (
            Code::Unauthenticated,
            "UNKNOWN_CERTIFICATE",
            "this push-manager knows no caller by a DNS name or URI of the certificate".to_owned(),
        ),
        Denied::Method { key, method } => {
            (Code::PermissionDenied, "METHOD_NOT_ALLOWED", format!("{key} may not call {}", method.name()))
        }
        Denied::App { key, app } => {
            let app = match app.as_deref() {
                None => "all apps at once".to_owned(),
                Some("") => "the default app".to_owned(),
                Some(app) => format!("the app {app}"),
            };
            (Code::PermissionDenied, "APP_NOT_ALLOWED", format!("{key} may not push to {app}"))
        }
        Denied::Rate { key, rate, .. } => {
            let rate = match rate {
                Rate::Pushes(rate) => format!("{rate} pushes"),
                Rate::Bytes(rate) => format!("{rate} bytes of content"),
            };
            (Code::ResourceExhausted, "OVER_RATE", format!("{key} is over its rate, {rate} a second"))
        }
    };
    let mut details = ErrorDetails::with_error_info(reason, DOMAIN, []);
    if let Denied::Rate { retry_after, .. } = denied {
        details.set_retry_info(Some(*retry_after));
    }
    Status::with_error_details(code, message, details)
}

/// The manager ended while an accepted push was still waited for.
pub(crate) fn ended_while_waiting() -> Status {
    Status::unavailable("this push-manager ended before the push was answered")
}
