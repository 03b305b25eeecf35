//! Controls: joins, leaves and kicks that a business server asks for.

use pushcast_common::id::check_id;
use pushcast_proto::{
    connectnode::v1::{
        self as node, Control,
        control::{Action, Whose},
        message::Target,
    },
    pushmanager::v1::{
        JoinRoomRequest, KickRequest, LeaveRoomRequest, join_room_request, kick_request, leave_room_request,
    },
};

use super::{Checked, Common, Violations, finish};
use crate::{api::Rpc, link_state::MAX_REASON_BYTES};

/// What a client reads when the caller gives no reason.
const DEFAULT_REASON: &str = "kicked";

/// Puts connections into a room.
pub(crate) fn join_room(request: JoinRoomRequest) -> Checked {
    use join_room_request::Whose as Asked;

    let JoinRoomRequest { app, whose, room_id, request_id, ack } = request;
    let mut violations = Violations::default();
    let whose = violations.whose(whose, |asked| match asked {
        Asked::UserId(id) => Who::User(id),
        Asked::ConnectionId(id) => Who::Connection(id),
    });
    violations.id(check_id("room_id", &room_id));
    let common = Common { app, request_id, ack, ..Common::default() };
    control(Rpc::JoinRoom, whose, Action::Join(room_id), common, violations)
}

/// Takes connections out of a room.
pub(crate) fn leave_room(request: LeaveRoomRequest) -> Checked {
    use leave_room_request::Whose as Asked;

    let LeaveRoomRequest { app, whose, room_id, request_id, ack } = request;
    let mut violations = Violations::default();
    let whose = violations.whose(whose, |asked| match asked {
        Asked::UserId(id) => Who::User(id),
        Asked::ConnectionId(id) => Who::Connection(id),
    });
    violations.id(check_id("room_id", &room_id));
    let common = Common { app, request_id, ack, ..Common::default() };
    control(Rpc::LeaveRoom, whose, Action::Leave(room_id), common, violations)
}

/// Closes connections.
pub(crate) fn kick(request: KickRequest) -> Checked {
    use kick_request::Whose as Asked;

    let KickRequest { app, whose, mut reason, request_id, ack, reconnect } = request;
    let mut violations = Violations::default();
    let whose = violations.whose(whose, |asked| match asked {
        Asked::UserId(id) => Who::User(id),
        Asked::ConnectionId(id) => Who::Connection(id),
    });
    violations.short_text("reason", &reason, MAX_REASON_BYTES);
    if reason.is_empty() {
        DEFAULT_REASON.clone_into(&mut reason);
    }
    let common = Common { app, request_id, ack, ..Common::default() };
    control(Rpc::Kick, whose, Action::Kick(node::Kick { reason, reconnect }), common, violations)
}

fn control(
    rpc: Rpc,
    whose: Option<Whose>,
    action: Action,
    common: Common,
    violations: Violations,
) -> Checked {
    let target = Target::Control(Control { whose, action: Some(action) });
    finish(rpc, target, common, 0, violations)
}

/// Whose connections are meant, in the caller's words.
enum Who {
    User(String),
    Connection(String),
}

impl Violations {
    /// Exactly one user or connection; the proto allows no two.
    fn whose<W>(&mut self, asked: Option<W>, who: impl FnOnce(W) -> Who) -> Option<Whose> {
        match asked.map(who) {
            None => {
                self.add("user_id", "user_id or connection_id must be given");
                None
            }
            Some(Who::User(id)) => {
                self.id(check_id("user_id", &id));
                Some(Whose::UserId(id))
            }
            Some(Who::Connection(text)) => {
                let id = connection_id(&text);
                if id.is_none() {
                    self.add("connection_id", "connection_id must be 16 lower-case hex digits");
                }
                id.map(Whose::ConnectionId)
            }
        }
    }
}

/// Strict, so that one connection has one spelling.
fn connection_id(text: &str) -> Option<u64> {
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    (text.len() == 16 && text.bytes().all(is_digit)).then(|| u64::from_str_radix(text, 16).ok())?
}

#[cfg(test)]
mod tests {
    use tonic_types::StatusExt as _;

    use super::*;

    fn fields(checked: Checked) -> Vec<String> {
        let details = checked.unwrap_err().get_error_details();
        details.bad_request().unwrap().field_violations.iter().map(|v| v.field.clone()).collect()
    }

    fn controlled(checked: Checked) -> Control {
        match checked.unwrap().message.target {
            Some(Target::Control(control)) => control,
            other => panic!("{other:?}"),
        }
    }

    fn join(whose: Option<join_room_request::Whose>) -> JoinRoomRequest {
        JoinRoomRequest { whose, room_id: "r".into(), ..JoinRoomRequest::default() }
    }

    #[test]
    fn every_bad_field_is_named() {
        let request = JoinRoomRequest {
            app: "\n".into(),
            whose: None,
            room_id: String::new(),
            request_id: "x".repeat(65),
            ack: 3,
        };
        assert_eq!(fields(join_room(request)), ["user_id", "room_id", "app", "request_id", "ack"]);
        let request = LeaveRoomRequest {
            whose: Some(leave_room_request::Whose::UserId("\u{7}".into())),
            room_id: "x".repeat(129),
            ..LeaveRoomRequest::default()
        };
        assert_eq!(fields(leave_room(request)), ["user_id", "room_id"]);
        let request = KickRequest {
            whose: Some(kick_request::Whose::ConnectionId("1".into())),
            reason: format!("{}\n", "x".repeat(120)),
            ..KickRequest::default()
        };
        assert_eq!(fields(kick(request)), ["connection_id", "reason", "reason"]);
    }

    #[test]
    fn a_connection_has_one_spelling() {
        for bad in ["", "abc", "00000000000000AB", "+00000000000000a", "00000000000000000", "é0000000000000a"]
        {
            let request = join(Some(join_room_request::Whose::ConnectionId(bad.into())));
            assert_eq!(fields(join_room(request)), ["connection_id"], "{bad}");
        }
        let request = join(Some(join_room_request::Whose::ConnectionId("00000000000000ab".into())));
        let push = join_room(request).unwrap();
        assert_eq!((push.rpc, push.n_users()), (Rpc::JoinRoom, 0));
        let control =
            Control { whose: Some(Whose::ConnectionId(0xab)), action: Some(Action::Join("r".into())) };
        assert_eq!(push.message.target, Some(Target::Control(control)));
    }

    #[test]
    fn a_kick_without_a_reason_has_one_and_is_a_retry_of_the_one_that_says_it() {
        let ask = |reason: &str| KickRequest {
            whose: Some(kick_request::Whose::UserId("u".into())),
            reason: reason.into(),
            request_id: "1".into(),
            reconnect: true,
            ..KickRequest::default()
        };
        let expected = Action::Kick(node::Kick { reason: "kicked".into(), reconnect: true });
        assert_eq!(controlled(kick(ask(""))).action, Some(expected));
        let hash = |reason| kick(ask(reason)).unwrap().message.request_hash;
        assert_eq!(hash(""), hash("kicked"));
        assert_ne!(hash(""), hash("spam"));
        assert!(kick(ask(&"x".repeat(120))).is_ok());
    }
}
