//! Turns requests into pushes, or names every field that is wrong.

use std::collections::HashSet;

use bytes::Bytes;
use pushcast_common::id::{InvalidId, check_app, check_id};
use pushcast_proto::{
    connectnode::v1::{Everyone, Message, UserIds, message::Target},
    pushmanager::v1::{
        Ack, BroadcastRequest, PushItem, PushToRoomRequest, PushToUserRequest, PushToUsersRequest, push_item,
    },
};
use tonic::Status;
use tonic_types::FieldViolation;

use crate::{api::Api, push::Push, refusal};

const MAX_USERS: usize = 1000;
const MAX_URI_BYTES: usize = 256;
const MAX_REQUEST_ID_BYTES: usize = 64;

/// A push that may become one.
pub(crate) type Checked = Result<Push, Box<Status>>;

/// The fields all pushes have.
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

/// A push to a room.
pub(crate) fn room(request: PushToRoomRequest, max_content: usize) -> Checked {
    let PushToRoomRequest { app, room_id, content, uri, request_id, ack } = request;
    let mut violations = Violations::default();
    violations.id(check_id("room_id", &room_id));
    let common = Common { app, content, uri, request_id, ack };
    finish(Api::PushToRoom, Target::RoomId(room_id), common, max_content, violations)
}

/// A push to one user.
pub(crate) fn user(request: PushToUserRequest, max_content: usize) -> Checked {
    let PushToUserRequest { app, user_id, content, uri, request_id, ack } = request;
    let mut violations = Violations::default();
    violations.id(check_id("user_id", &user_id));
    let common = Common { app, content, uri, request_id, ack };
    finish(Api::PushToUser, Target::UserId(user_id), common, max_content, violations)
}

/// A push to several users; an id given twice counts once.
pub(crate) fn users(request: PushToUsersRequest, max_content: usize) -> Checked {
    let PushToUsersRequest { app, mut user_ids, content, uri, request_id, ack } = request;
    let mut violations = Violations::default();
    if user_ids.is_empty() {
        violations.add("user_ids", "user_ids must not be empty");
    }
    if user_ids.len() > MAX_USERS {
        let n_users = user_ids.len();
        violations.add("user_ids", format!("{n_users} users are given, at most {MAX_USERS} are allowed"));
    } else {
        for (index, user_id) in user_ids.iter().enumerate() {
            if let Err(invalid) = check_id("user_id", user_id) {
                violations.add(format!("user_ids[{index}]"), invalid.to_string());
            }
        }
        let mut seen = HashSet::with_capacity(user_ids.len());
        let first_of_its_kind: Vec<bool> = user_ids.iter().map(|id| seen.insert(id.as_str())).collect();
        drop(seen);
        let mut keep = first_of_its_kind.into_iter();
        user_ids.retain(|_| keep.next().unwrap_or(true));
    }
    let common = Common { app, content, uri, request_id, ack };
    let target = Target::UserIds(UserIds { ids: user_ids });
    finish(Api::PushToUsers, target, common, max_content, violations)
}

/// A push to everyone of a tenant, or of all.
pub(crate) fn broadcast(request: BroadcastRequest, max_content: usize) -> Checked {
    let BroadcastRequest { app, all_apps, content, uri, request_id, ack } = request;
    let mut violations = Violations::default();
    if all_apps && !app.is_empty() {
        violations.add("app", "app must be empty with all_apps");
    }
    let common = Common { app, content, uri, request_id, ack };
    let target = Target::Everyone(Everyone { all_apps });
    finish(Api::Broadcast, target, common, max_content, violations)
}

/// An item of a stream. Also says which rpc it stands for, if it stands for one.
pub(crate) fn item(item: PushItem, max_content: usize) -> (Option<Api>, Checked) {
    use push_item::Push as Item;

    match item.push {
        Some(Item::ToRoom(request)) => (Some(Api::PushToRoom), room(request, max_content)),
        Some(Item::ToUser(request)) => (Some(Api::PushToUser), user(request, max_content)),
        Some(Item::ToUsers(request)) => (Some(Api::PushToUsers), users(request, max_content)),
        Some(Item::Broadcast(request)) => (Some(Api::Broadcast), broadcast(request, max_content)),
        None => {
            let violation = FieldViolation::new("push", "one of the four pushes must be given");
            (None, Err(Box::new(refusal::invalid(vec![violation]))))
        }
    }
}

fn finish(
    api: Api,
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
    let request_hash =
        if request_id.is_empty() { Bytes::new() } else { request_hash(&app, &request_id, &target, &content) };
    let message =
        Message { app, target: Some(target), content, uri, request_id, request_hash, ..Message::default() };
    Ok(Push { api, message, accepted_only })
}

/// 128 bits that retries of a push share through every manager and that nothing else has. Every part is
/// preceded by its length, so no two pushes spell the same bytes.
fn request_hash(app: &str, request_id: &str, target: &Target, content: &[u8]) -> Bytes {
    let mut hasher = blake3::Hasher::new();
    let mut part = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    part(app.as_bytes());
    part(request_id.as_bytes());
    match target {
        Target::RoomId(id) => {
            part(b"room");
            part(id.as_bytes());
        }
        Target::UserId(id) => {
            part(b"user");
            part(id.as_bytes());
        }
        Target::UserIds(users) => {
            part(b"users");
            part(&(users.ids.len() as u64).to_le_bytes());
            users.ids.iter().for_each(|id| part(id.as_bytes()));
        }
        Target::Control(_) => part(b"control"),
        Target::Everyone(everyone) => part(if everyone.all_apps { b"all apps" } else { b"everyone" }),
    }
    part(content);
    Bytes::copy_from_slice(&hasher.finalize().as_bytes()[..16])
}

#[cfg(test)]
mod tests {
    use tonic_types::StatusExt as _;

    use super::*;

    fn fields(checked: Checked) -> Vec<String> {
        let status = checked.unwrap_err();
        assert_eq!(status.code(), tonic::Code::InvalidArgument);
        let details = status.get_error_details();
        details.bad_request().unwrap().field_violations.iter().map(|v| v.field.clone()).collect()
    }

    fn to_room() -> PushToRoomRequest {
        PushToRoomRequest { room_id: "r".into(), ..PushToRoomRequest::default() }
    }

    #[test]
    fn every_bad_field_is_named() {
        let request = PushToRoomRequest {
            app: "a\n".into(),
            room_id: String::new(),
            content: Bytes::from_static(b"12345"),
            uri: "x".repeat(257),
            request_id: "y".repeat(65),
            ack: 9,
        };
        assert_eq!(fields(room(request, 4)), ["room_id", "app", "content", "uri", "request_id", "ack"]);
        let request = BroadcastRequest { app: "a".into(), all_apps: true, ..BroadcastRequest::default() };
        assert_eq!(fields(broadcast(request, 4)), ["app"]);
        let (api, checked) = item(PushItem::default(), 4);
        assert_eq!((api, fields(checked)), (None, vec!["push".to_owned()]));
    }

    #[test]
    fn users_are_bounded_named_one_by_one_and_counted_once() {
        let ask = |user_ids: Vec<String>| {
            users(PushToUsersRequest { user_ids, ..PushToUsersRequest::default() }, 4)
        };
        assert_eq!(fields(ask(vec![])), ["user_ids"]);
        assert_eq!(fields(ask(vec!["u".into(); 1001])), ["user_ids"]);
        assert_eq!(fields(ask(vec!["u".into(), String::new(), "\t".into()])), ["user_ids[1]", "user_ids[2]"]);
        let push = ask(vec!["b".into(), "a".into(), "b".into()]).unwrap();
        assert_eq!(push.message.target, Some(Target::UserIds(UserIds { ids: vec!["b".into(), "a".into()] })));
    }

    #[test]
    fn retries_share_a_hash_and_nothing_else_does() {
        let hash = |edit: &dyn Fn(&mut PushToRoomRequest)| {
            let mut request = PushToRoomRequest { request_id: "1".into(), ..to_room() };
            edit(&mut request);
            room(request, 100).unwrap().message.request_hash
        };
        let plain = hash(&|_| {});
        assert_eq!(plain.len(), 16);
        assert_eq!(hash(&|r| r.ack = 2), plain);
        assert_ne!(hash(&|r| r.request_id = "2".into()), plain);
        assert_ne!(hash(&|r| r.app = "a".into()), plain);
        assert_ne!(hash(&|r| r.room_id = "s".into()), plain);
        assert_ne!(hash(&|r| r.content = Bytes::from_static(b"c")), plain);
        assert!(hash(&|r| r.request_id.clear()).is_empty());
        let request = PushToUserRequest { user_id: "r".into(), request_id: "1".into(), ..Default::default() };
        assert_ne!(user(request, 100).unwrap().message.request_hash, plain);
    }

    #[test]
    fn limits_are_reached_not_crossed() {
        let request = PushToRoomRequest {
            content: Bytes::from_static(b"1234"),
            uri: "x".repeat(256),
            request_id: "y".repeat(64),
            ack: 2,
            ..to_room()
        };
        assert!(room(request, 4).unwrap().accepted_only);
    }
}
