//! Turns requests into pushes, or names every field that is wrong.

mod controls;
mod pushes;
mod request_hash;

use bytes::Bytes;
use pushcast_common::id::{InvalidId, check_app};
use pushcast_proto::{
    connectnode::v1::{Message, message::Target},
    pushmanager::v1::Ack,
};
use tonic::Status;
use tonic_types::FieldViolation;

use self::request_hash::{request_hash, request_key};
use crate::{api::Rpc, push::Push, refusal};

pub(crate) use self::{
    controls::{join_room, kick, leave_room},
    pushes::{broadcast, item, room, user, users},
};

const MAX_URI_BYTES: usize = 256;
const MAX_REQUEST_ID_BYTES: usize = 64;

/// A push that may become one.
pub(crate) type Checked = Result<Push, Box<Status>>;

/// The fields all pushes have; of those of controls, content and uri are empty.
#[derive(Default)]
struct Common {
    app: String,
    content: Bytes,
    uri: String,
    request_id: String,
    ack: i32,
}

#[derive(Default)]
struct Violations(Vec<FieldViolation>);

impl Violations {
    fn add(&mut self, field: impl Into<String>, description: impl Into<String>) {
        self.0.push(FieldViolation::new(field, description));
    }

    fn id(&mut self, checked: Result<(), InvalidId>) {
        if let Err(invalid) = checked {
            self.add(invalid.field(), invalid.to_string());
        }
    }

    fn short_text(&mut self, field: &'static str, value: &str, max_bytes: usize) {
        if value.len() > max_bytes {
            self.add(
                field,
                format!("{field} is {} bytes long, at most {max_bytes} are allowed", value.len()),
            );
        }
        if value.chars().any(char::is_control) {
            self.add(field, format!("{field} must not contain control characters"));
        }
    }
}

fn finish(
    rpc: impl Into<Rpc>,
    target: Target,
    common: Common,
    max_content: usize,
    mut violations: Violations,
) -> Checked {
    let Common { app, content, uri, request_id, ack } = common;
    violations.id(check_app(&app));
    if content.len() > max_content {
        let n_bytes = content.len();
        violations
            .add("content", format!("content is {n_bytes} bytes long, at most {max_content} are allowed"));
    }
    violations.short_text("uri", &uri, MAX_URI_BYTES);
    violations.short_text("request_id", &request_id, MAX_REQUEST_ID_BYTES);
    let accepted_only = match Ack::try_from(ack) {
        Ok(ack) => ack == Ack::Accepted,
        Err(_) => {
            violations.add("ack", format!("{ack} is not one of ACK_NODES (1), ACK_ACCEPTED (2)"));
            false
        }
    };
    if !violations.0.is_empty() {
        return Err(Box::new(refusal::invalid(violations.0)));
    }
    let mut message = Message { app, target: Some(target), content, uri, request_id, ..Message::default() };
    if !message.request_id.is_empty() {
        message.request_hash = request_hash(&message);
        message.request_key = request_key(&message);
    }
    Ok(Push { rpc: rpc.into(), message, accepted_only })
}
