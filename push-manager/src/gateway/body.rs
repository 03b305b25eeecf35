//! Request bodies: the content as it is, or JSON for several users.

use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use pushcast_proto::pushmanager::v1::PushToUsersRequest;
use serde::Deserialize;
use tokio::time::timeout;
use tonic::Status;

use super::error::HttpError;

/// A caller that sends its body slower than this holds a connection for nothing.
const BODY_WITHIN: Duration = Duration::from_secs(30);

/// Room for 1000 user ids of 128 bytes in JSON, escaped.
const USERS_JSON: usize = 1 << 20;

/// Bytes that one byte of text may take in JSON, as `\u0000`.
const JSON_ESCAPE: usize = 6;

/// A push to several users, as JSON.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Users {
    #[serde(default)]
    app: String,
    user_ids: Vec<String>,
    /// Base64.
    content: Option<String>,
    /// The content as text, instead.
    text: Option<String>,
    #[serde(default)]
    uri: String,
    #[serde(default)]
    request_id: String,
}

/// The body as the content of a push.
pub(super) async fn content(body: Body, max_content: usize) -> Result<Bytes, HttpError> {
    let too_long = || format!("content is longer than {max_content} bytes");
    // A body that says its length is not read in vain.
    if body.size_hint().lower() > max_content as u64 {
        return Err(HttpError::bad_field("content", too_long()));
    }
    read(body, max_content).await?.ok_or_else(|| HttpError::bad_field("content", too_long()))
}

/// The body as a push to several users; `ack` is left at its default.
pub(super) async fn users(body: Body, max_content: usize) -> Result<PushToUsersRequest, HttpError> {
    let limit = USERS_JSON + max_content * JSON_ESCAPE;
    let bytes = read(body, limit).await?;
    let bytes =
        bytes.ok_or_else(|| HttpError::bad_field("body", format!("it is longer than {limit} bytes")))?;
    let users: Users =
        serde_json::from_slice(&bytes).map_err(|error| HttpError::bad_field("body", error.to_string()))?;
    let content = match (users.content, users.text) {
        (Some(_), Some(_)) => {
            return Err(HttpError::bad_field("text", "either content or text may be given"));
        }
        (Some(base64), None) => BASE64_STANDARD
            .decode(base64)
            .map_err(|error| HttpError::bad_field("content", format!("it is not base64: {error}")))?
            .into(),
        (None, text) => Bytes::from(text.unwrap_or_default()),
    };
    Ok(PushToUsersRequest {
        app: users.app,
        user_ids: users.user_ids,
        content,
        uri: users.uri,
        request_id: users.request_id,
        ack: 0,
    })
}

/// All of a body; `None` if it is longer than `limit`.
async fn read(body: Body, limit: usize) -> Result<Option<Bytes>, HttpError> {
    match timeout(BODY_WITHIN, Limited::new(body, limit).collect()).await {
        Err(_) => Err(Status::deadline_exceeded("the request body did not arrive in time").into()),
        Ok(Ok(collected)) => Ok(Some(collected.to_bytes())),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Ok(None),
        Ok(Err(error)) => {
            Err(Status::invalid_argument(format!("the request body broke off: {error}")).into())
        }
    }
}
