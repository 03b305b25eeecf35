//! Errors over HTTP: `{"error":{"code","message","details"}}`, with the status google.api maps.

use axum::response::{IntoResponse, Response};
use http::{
    HeaderValue, StatusCode,
    header::{RETRY_AFTER, WWW_AUTHENTICATE},
};
use serde_json::{Value, json};
use tonic::{Code, Status};
use tonic_types::{FieldViolation, StatusExt as _};

use super::json_line::JsonLine;
use crate::{metrics::code_name, refusal};

/// A gRPC status on its way to an HTTP caller.
#[derive(Debug)]
pub(super) struct HttpError {
    http: StatusCode,
    status: Box<Status>,
}

impl HttpError {
    pub(super) fn with_http(http: StatusCode, status: Status) -> Self {
        Self { http, status: Box::new(status) }
    }

    pub(super) fn bad_field(field: impl Into<String>, description: impl Into<String>) -> Self {
        Self::from(refusal::invalid(vec![FieldViolation::new(field, description)]))
    }
}

impl From<Status> for HttpError {
    fn from(status: Status) -> Self {
        Self::with_http(http_status(status.code()), status)
    }
}

impl IntoResponse for HttpError {
    fn into_response(self) -> Response {
        let error = json!({
            "code": code_name(self.status.code()),
            "message": self.status.message(),
            "details": details(&self.status),
        });
        let mut response = (self.http, JsonLine::new(&json!({ "error": error }))).into_response();
        if let Some(delay) = self.status.get_details_retry_info().and_then(|info| info.retry_delay) {
            // Rounded up: too early is in vain.
            let seconds = HeaderValue::from(delay.as_secs_f64().ceil().max(1.0) as u64);
            response.headers_mut().insert(RETRY_AFTER, seconds);
        }
        if self.http == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// As in google.rpc, one object for each kind of detail.
fn details(status: &Status) -> Vec<Value> {
    let details = status.get_error_details();
    let mut shown = Vec::new();
    if let Some(bad) = details.bad_request() {
        let violations: Vec<Value> = bad
            .field_violations
            .iter()
            .map(|violation| json!({ "field": violation.field, "description": violation.description }))
            .collect();
        shown.push(json!({ "@type": kind("BadRequest"), "field_violations": violations }));
    }
    if let Some(info) = details.error_info() {
        shown.push(json!({
            "@type": kind("ErrorInfo"),
            "reason": info.reason,
            "domain": info.domain,
            "metadata": info.metadata,
        }));
    }
    if let Some(delay) = details.retry_info().and_then(|info| info.retry_delay) {
        let delay = format!("{}s", delay.as_secs_f64());
        shown.push(json!({ "@type": kind("RetryInfo"), "retry_delay": delay }));
    }
    shown
}

fn kind(name: &str) -> String {
    format!("type.googleapis.com/google.rpc.{name}")
}

fn http_status(code: Code) -> StatusCode {
    match code {
        Code::Ok => StatusCode::OK,
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => StatusCode::BAD_REQUEST,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Cancelled => StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST),
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::Unknown | Code::Internal | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
