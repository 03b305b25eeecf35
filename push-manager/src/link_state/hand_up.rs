//! Controls that a node hands up: what is believed of them.

use pushcast_common::id::{check_app, check_id};
use pushcast_proto::connectnode::v1::{
    Control, HandUp, Message,
    control::{Action, Whose},
    message::Target,
};

use super::LinkError;

/// Longest reason of a Kick in bytes: as much as a WebSocket's close frame holds, less its code.
pub(crate) const MAX_REASON_BYTES: usize = 120;

/// The message to log: app and control, and nothing else that the node wrote.
pub(super) fn checked(hand_up: HandUp) -> Result<Message, LinkError> {
    let Message { app, target, .. } = hand_up.message.ok_or(LinkError::BadHandUp("message"))?;
    let Some(Target::Control(control)) = target else {
        return Err(LinkError::BadHandUp("control"));
    };
    if check_app(&app).is_err() {
        return Err(LinkError::BadHandUp("app"));
    }
    check(&control)?;
    Ok(Message { app, target: Some(Target::Control(control)), ..Message::default() })
}

fn check(control: &Control) -> Result<(), LinkError> {
    match &control.whose {
        Some(Whose::UserId(user)) if check_id("user_id", user).is_err() => {
            return Err(LinkError::BadHandUp("user_id"));
        }
        Some(Whose::UserId(_) | Whose::ConnectionId(_)) => {}
        None => return Err(LinkError::BadHandUp("whose")),
    }
    match &control.action {
        Some(Action::Join(room) | Action::Leave(room)) if check_id("room_id", room).is_err() => {
            Err(LinkError::BadHandUp("room_id"))
        }
        Some(Action::Kick(kick)) if kick.reason.len() > MAX_REASON_BYTES => {
            Err(LinkError::BadHandUp("reason"))
        }
        // Generations are those of one connection.
        Some(Action::Claim(_)) if !matches!(control.whose, Some(Whose::ConnectionId(_))) => {
            Err(LinkError::BadHandUp("connection_id"))
        }
        Some(_) => Ok(()),
        None => Err(LinkError::BadHandUp("action")),
    }
}
