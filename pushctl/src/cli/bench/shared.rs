//! What the sockets of a swarm have in common: none of them keeps a copy.

use std::rc::Rc;

use pushcast_proto::client::v1::{ClientFrame, Pong, ServerFrame, client_frame};
use pushctl::format::Format;

use super::{head::masked, marker::Marker, wire::Counts};

/// What the sockets of a swarm share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) counts: Rc<Counts>,
    pub(super) marker: Marker,
    format: Format,
    /// The answer to a heartbeat, as bytes.
    pub(super) pong: Vec<u8>,
}

impl Shared {
    pub(super) fn new(format: Format, marker: Marker) -> Self {
        let frame = ClientFrame { id: 0, frame: Some(client_frame::Frame::Pong(Pong {})) };
        let opcode = match format {
            Format::Json => 0x1,
            Format::Protobuf => 0x2,
        };
        let pong = masked(opcode, &format.encode(&frame).into_data());
        Self { counts: Default::default(), marker, format, pong }
    }

    /// A frame of a node, or why it is none.
    pub(super) fn decode(&self, payload: &[u8]) -> Result<ServerFrame, String> {
        match self.format {
            Format::Json => serde_json::from_slice(payload).map_err(|error| error.to_string()),
            Format::Protobuf => prost::Message::decode(payload).map_err(|error| error.to_string()),
        }
    }
}
