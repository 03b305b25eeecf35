//! The two wire formats of one schema.

use pushcast_proto::client::v1::{ClientFrame, ServerFrame};
use tokio_tungstenite::tungstenite::Message;

/// How frames are written on the socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Format {
    /// Text frames of JSON, subprotocol `pushcast.v1.json`.
    #[default]
    Json,
    /// Binary frames of protobuf, subprotocol `pushcast.v1.protobuf`.
    Protobuf,
}

/// A frame that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// A text frame is not the JSON of a server frame.
    #[error("a text frame is not a server frame: {0}")]
    Json(#[from] serde_json::Error),
    /// A binary frame is not the protobuf of a server frame.
    #[error("a binary frame is not a server frame: {0}")]
    Protobuf(#[from] prost::DecodeError),
}

impl Format {
    /// The name this format has in the WebSocket upgrade.
    pub const fn subprotocol(self) -> &'static str {
        match self {
            Self::Json => "pushcast.v1.json",
            Self::Protobuf => "pushcast.v1.protobuf",
        }
    }

    /// The frame as a WebSocket message of this format.
    pub fn encode(self, frame: &ClientFrame) -> Message {
        match self {
            Self::Json => Message::text(
                serde_json::to_string(frame).expect("strings, numbers and maps keyed by strings are JSON"),
            ),
            Self::Protobuf => Message::binary(prost::Message::encode_to_vec(frame)),
        }
    }
}

/// Reads a data message of either format; `None` for pings, pongs and closes, which are no frames of ours.
pub fn decode(message: &Message) -> Result<Option<ServerFrame>, DecodeError> {
    match message {
        Message::Text(text) => Ok(Some(serde_json::from_str(text)?)),
        Message::Binary(bytes) => Ok(Some(prost::Message::decode(bytes.clone())?)),
        Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use pushcast_proto::client::v1::{Join, client_frame::Frame, server_frame};

    use super::*;

    #[test]
    fn json_uses_the_names_of_the_proto() {
        let frame = ClientFrame { id: 2, frame: Some(Frame::Join(Join { rooms: vec!["r2".to_owned()] })) };
        let message = Format::Json.encode(&frame);
        assert_eq!(message, Message::text(r#"{"id":2,"join":{"rooms":["r2"]}}"#));
    }

    #[test]
    fn json_of_the_contract_is_read() {
        let text =
            r#"{"push":{"message_id":"m-17","manager":"00","seq":"17","room_id":"r1","text":"hi","new":1}}"#;
        let frame = decode(&Message::text(text)).expect("valid").expect("a frame");
        let Some(server_frame::Frame::Push(push)) = frame.frame else { panic!("no push: {frame:?}") };
        assert_eq!((push.seq, push.room_id.as_str(), push.text.as_str()), (17, "r1", "hi"));
    }

    #[test]
    fn protobuf_is_read_back() {
        let frame = ServerFrame { id: 7, frame: None };
        let message = Message::binary(prost::Message::encode_to_vec(&frame));
        assert_eq!(decode(&message).expect("valid"), Some(frame));
    }

    #[test]
    fn garbage_is_an_error() {
        assert!(decode(&Message::text("{")).is_err());
        assert!(decode(&Message::binary(vec![0xff; 3])).is_err());
    }
}
