//! The four pushes.

use std::collections::HashSet;

use pushcast_common::id::check_id;
use pushcast_proto::{
    connectnode::v1::{Everyone, UserIds, message::Target},
    pushmanager::v1::{
        BroadcastRequest, PushItem, PushToRoomRequest, PushToUserRequest, PushToUsersRequest, push_item,
    },
};
use tonic_types::FieldViolation;

use super::{Checked, Common, Violations, finish};
use crate::{api::Api, refusal};

const MAX_USERS: usize = 1000;

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

#[cfg(test)]
mod tests {
    use bytes::Bytes;
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
    fn only_a_request_id_gives_a_push_an_identity_of_its_own() {
        let message = |request_id: &str, ack: i32| {
            let request = PushToRoomRequest { request_id: request_id.into(), ack, ..to_room() };
            room(request, 100).unwrap().message
        };
        let plain = message("", 0);
        assert!(plain.request_hash.is_empty() && plain.request_key.is_empty());
        let named = message("1", 0);
        assert_eq!((named.request_hash.len(), named.request_key.len()), (16, 16));
        assert_eq!(message("1", 2), named);
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
