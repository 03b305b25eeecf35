//! JSON with a line feed behind it, so that a terminal's prompt does not stick to what curl prints.

use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use serde::Serialize;

/// A body; what it is made of has string keys and no fallible parts.
#[derive(Debug)]
pub(super) struct JsonLine(String);

impl JsonLine {
    pub(super) fn new(value: &impl Serialize) -> Self {
        let mut line =
            serde_json::to_string(value).expect("our answers have string keys and no fallible parts");
        line.push('\n');
        Self(line)
    }
}

impl IntoResponse for JsonLine {
    fn into_response(self) -> Response {
        ([(CONTENT_TYPE, "application/json")], self.0).into_response()
    }
}
