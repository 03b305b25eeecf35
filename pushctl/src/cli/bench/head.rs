//! What stands in front of a payload: the headers of a node's frames, and frames of ours.

/// The node broke RFC 6455, or does what no node of ours does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Broken(&'static str);

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A frame of the contract, in JSON or protobuf.
    Data,
    Close,
    Ping,
    Pong,
}

/// A frame's header (RFC 6455, 5.2).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) kind: Kind,
    /// Of the header.
    pub(super) len: usize,
    /// Of the payload.
    pub(super) payload: u64,
}

impl Head {
    /// The header that these bytes begin with; none while it is cut.
    pub(super) fn read(bytes: &[u8]) -> Result<Option<Self>, Broken> {
        let &[first, second, ..] = bytes else { return Ok(None) };
        let kind = match first {
            0x81 | 0x82 => Kind::Data,
            0x88 => Kind::Close,
            0x89 => Kind::Ping,
            0x8a => Kind::Pong,
            0x00..=0x02 | 0x80 => return Err(Broken("it sent a message in pieces")),
            _ => return Err(Broken("it sent a frame of no known kind")),
        };
        if second & 0x80 != 0 {
            return Err(Broken("it sent a masked frame"));
        }
        let extended = |len: usize| {
            let bytes = bytes.get(2..len)?;
            Some((len, bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))))
        };
        let head = match second {
            126 => extended(4),
            127 => extended(10),
            short => Some((2, u64::from(short))),
        };
        let Some((len, payload)) = head else { return Ok(None) };
        if kind != Kind::Data && payload > 125 {
            return Err(Broken("it sent a control frame that is too long"));
        }
        Ok(Some(Self { kind, len, payload }))
    }
}

/// A frame of ours: masked, as a client's has to be, with a mask of zeros, since nothing here is anybody's secret.
pub(super) fn masked(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode];
    // Nothing we send is longer.
    match payload.len() {
        short @ 0..=125 => frame.push(0x80 | short as u8),
        long => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(long as u16).to_be_bytes());
        }
    }
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(payload);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_frames_are_what_a_server_reads() {
        assert_eq!(masked(0x1, b"ab"), [0x81, 0x82, 0, 0, 0, 0, b'a', b'b']);
        let long = masked(0x2, &[7; 200]);
        assert_eq!(long[..8], [0x82, 0xfe, 0, 200, 0, 0, 0, 0]);
        assert_eq!(long.len(), 208);
    }
}
