//! Counts the messages in what a socket read, without looking at a byte it need not.

use crate::wire;

/// How a server puts messages on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Counting {
    /// No framing: so many bytes are a message.
    Bytes(u32),
    /// One message in a WebSocket frame; frames smaller than this are heartbeats and the like.
    Frames(u32),
    /// A frame holds one or many messages of the same size each, which a first message tells; it is at least this.
    InFrames(u32),
}

/// Longest header of a frame from a server: 2 bytes and 8 of length. Servers do not mask.
const HEADER: usize = 10;

/// Where one socket is in its stream.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Deframer {
    /// Bytes of the current frame's payload, or of the current message, that are still to come.
    rest: u64,
    /// The current frame's size.
    size: u64,
    header: [u8; HEADER],
    header_len: u8,
}

impl Deframer {
    /// Calls `frame` with the payload's size for each frame that is complete with these bytes.
    fn frames(&mut self, mut bytes: &[u8], mut frame: impl FnMut(u64)) {
        loop {
            if self.rest > 0 {
                let here = self.rest.min(bytes.len() as u64);
                self.rest -= here;
                bytes = &bytes[here as usize..];
                if self.rest > 0 {
                    return;
                }
                frame(self.size);
            }
            loop {
                let Some((&byte, after)) = bytes.split_first() else { return };
                bytes = after;
                self.header[usize::from(self.header_len)] = byte;
                self.header_len += 1;
                if let Some((_, size)) = wire::frame_sizes(&self.header[..usize::from(self.header_len)]) {
                    self.header_len = 0;
                    self.size = size;
                    self.rest = size;
                    break;
                }
            }
            if self.rest == 0 {
                frame(0);
            }
        }
    }

    /// How many messages are complete with these bytes. `size` is that of one message, where frames hold several.
    pub(crate) fn messages(&mut self, counting: Counting, size: u64, bytes: &[u8]) -> u64 {
        let mut messages = 0;
        match counting {
            Counting::Bytes(each) => {
                let all = self.size + bytes.len() as u64;
                messages = all / u64::from(each);
                self.size = all % u64::from(each);
            }
            Counting::Frames(least) => {
                self.frames(bytes, |frame| messages += u64::from(frame >= u64::from(least)));
            }
            // What is smaller than a message beside it in the frame is a ping.
            Counting::InFrames(_) => self.frames(bytes, |frame| messages += frame / size.max(1)),
        }
        messages
    }

    /// The largest payload of a frame that is complete with these bytes.
    pub(crate) fn largest(&mut self, bytes: &[u8]) -> u64 {
        let mut largest = 0;
        self.frames(bytes, |frame| largest = largest.max(frame));
        largest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(size: usize) -> Vec<u8> {
        let mut bytes = match size {
            0..=125 => vec![0x82, size as u8],
            126..=0xffff => [&[0x82, 126][..], &(size as u16).to_be_bytes()].concat(),
            _ => [&[0x82, 127][..], &(size as u64).to_be_bytes()].concat(),
        };
        // Payload that looks like headers.
        bytes.extend(std::iter::repeat_n(0x7f, size));
        bytes
    }

    /// Cut everywhere, the count is the same.
    fn counted(counting: Counting, size: u64, stream: &[u8]) -> u64 {
        let mut whole = Deframer::default();
        let count = whole.messages(counting, size, stream);
        for chunk in 1..stream.len().min(300) {
            let mut pieces = Deframer::default();
            let sum: u64 = stream.chunks(chunk).map(|piece| pieces.messages(counting, size, piece)).sum();
            assert_eq!(sum, count, "in pieces of {chunk} bytes");
        }
        count
    }

    #[test]
    fn frames_are_counted_however_they_are_cut() {
        let stream = [frame(128), frame(40), frame(0), frame(70_000), frame(125), frame(190)].concat();
        assert_eq!(counted(Counting::Frames(128), 0, &stream), 3);
    }

    #[test]
    fn several_messages_may_share_a_frame() {
        let stream = [frame(144), frame(8 * 144), frame(6), frame(3 * 144 + 6)].concat();
        assert_eq!(counted(Counting::InFrames(128), 144, &stream), 12);
    }

    #[test]
    fn without_framing_bytes_are_counted() {
        assert_eq!(counted(Counting::Bytes(184), 0, &[1; 184 * 5 + 7]), 5);
    }

    #[test]
    fn the_first_message_tells_its_size() {
        let stream = [frame(40), frame(187)].concat();
        assert_eq!(Deframer::default().largest(&stream), 187);
    }
}
