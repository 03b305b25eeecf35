//! One answer, as each rpc spells it.

use pushcast_proto::pushmanager::v1::{
    BroadcastResponse, JoinRoomResponse, KickResponse, LeaveRoomResponse, PushAnswer, PushToRoomResponse,
    PushToUserResponse, PushToUsersResponse,
};

pub(crate) fn room_response(answer: PushAnswer) -> PushToRoomResponse {
    let PushAnswer { message_id, nodes, acked, delivered_nodes, recipients, pending_nodes, .. } = answer;
    PushToRoomResponse { message_id, nodes, acked, delivered_nodes, recipients, pending_nodes }
}

pub(crate) fn user_response(answer: PushAnswer) -> PushToUserResponse {
    let PushAnswer { message_id, nodes, acked, delivered_nodes, recipients, pending_nodes, .. } = answer;
    PushToUserResponse { message_id, nodes, acked, delivered_nodes, recipients, pending_nodes }
}

pub(crate) fn users_response(answer: PushAnswer) -> PushToUsersResponse {
    PushToUsersResponse {
        message_id: answer.message_id,
        nodes: answer.nodes,
        acked: answer.acked,
        delivered_nodes: answer.delivered_nodes,
        recipients: answer.recipients,
        pending_nodes: answer.pending_nodes,
        recipients_by_user: answer.recipients_by_user,
    }
}

pub(crate) fn broadcast_response(answer: PushAnswer) -> BroadcastResponse {
    let PushAnswer { message_id, nodes, acked, delivered_nodes, recipients, pending_nodes, .. } = answer;
    BroadcastResponse { message_id, nodes, acked, delivered_nodes, recipients, pending_nodes }
}

pub(crate) fn join_response(answer: PushAnswer) -> JoinRoomResponse {
    let PushAnswer { message_id, nodes, acked, delivered_nodes, recipients, pending_nodes, .. } = answer;
    JoinRoomResponse { message_id, nodes, acked, delivered_nodes, recipients, pending_nodes }
}

pub(crate) fn leave_response(answer: PushAnswer) -> LeaveRoomResponse {
    let PushAnswer { message_id, nodes, acked, delivered_nodes, recipients, pending_nodes, .. } = answer;
    LeaveRoomResponse { message_id, nodes, acked, delivered_nodes, recipients, pending_nodes }
}

pub(crate) fn kick_response(answer: PushAnswer) -> KickResponse {
    let PushAnswer { message_id, nodes, acked, delivered_nodes, recipients, pending_nodes, .. } = answer;
    KickResponse { message_id, nodes, acked, delivered_nodes, recipients, pending_nodes }
}
