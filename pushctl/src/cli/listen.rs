//! `pushctl listen`.

use pushcast_proto::client::v1::Push;
use pushctl::{
    client::{ConnectError, Options, content},
    format::Format,
    session::{Session, SessionError, SessionEvent},
};

use super::{
    arguments::{FormatArgument, ListenArguments},
    output::{Misuse, print, readable, remark},
};

pub(super) async fn run(arguments: ListenArguments) -> anyhow::Result<()> {
    let ListenArguments { url, rooms, user, app, json, format } = arguments;
    let format = match format {
        FormatArgument::Json => Format::Json,
        FormatArgument::Protobuf => Format::Protobuf,
    };
    let mut session = Session::new(Options { url, app, user_id: user, rooms, format, ..Options::default() });
    loop {
        let event = session.next().await.map_err(|error| match error {
            SessionError::Connect(ConnectError::BadUrl { .. }) => Misuse(error.to_string()).into(),
            error => anyhow::Error::from(error),
        })?;
        match event {
            SessionEvent::Push(push) if json => print(&serde_json::to_string(&push)?)?,
            SessionEvent::Push(push) => print(&describe(&push))?,
            SessionEvent::Connected(connected) => remark(&format!(
                "connected to {} as {}, rooms: {}",
                connected.node_id,
                connected.user_id,
                listed(&connected.rooms)
            )),
            SessionEvent::Rooms(rooms) => remark(&format!(
                "rooms changed by the server, joined: {}, left: {}",
                listed(&rooms.joined),
                listed(&rooms.left)
            )),
            SessionEvent::Error(error) => remark(&format!("{}: {}", error.code, error.message)),
            SessionEvent::Interrupted { cause, retry_in } => {
                remark(&format!("{cause} - next try in {:.1} s", retry_in.as_secs_f64()));
            }
            SessionEvent::Heartbeat(_) => {}
        }
    }
}

fn listed(rooms: &[String]) -> String {
    if rooms.is_empty() { "none".to_owned() } else { rooms.join(", ") }
}

/// Whom it came for, its uri if it has one, and the content.
fn describe(push: &Push) -> String {
    let target = match (push.room_id.as_str(), push.user_id.as_str()) {
        ("", "") => "everyone".to_owned(),
        ("", user) => format!("user {user}"),
        (room, _) => format!("room {room}"),
    };
    let uri = if push.uri.is_empty() { String::new() } else { format!(" ({})", push.uri) };
    format!("{target}{uri}: {}", readable(content(push)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_push_says_whom_it_came_for() {
        let push = Push { room_id: "r1".to_owned(), text: "hello".to_owned(), ..Push::default() };
        assert_eq!(describe(&push), "room r1: hello");
        let push = Push { uri: "chat/Message".to_owned(), content: b"hello".to_vec(), ..Push::default() };
        assert_eq!(describe(&push), "everyone (chat/Message): hello");
    }
}
